//! Two relays on one PostgreSQL share the texts, and what one that is killed had in hand is sent by the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by stopping

use crate::relay::broker::Broker;
use crate::relay::program::Program;
use crate::relay::router::Router;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use lango_core::message::{DownBody, UpBody};
use lango_core::notice::AccountNotice;
use lango_core::package::{Limits, Package};
use lango_core::units::{MessageId, Password, Seconds, Shillings};
use lango_lab::{freeradius, postgres};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CUSTOMERS: usize = 60;
/// Texts that a relay has under way at once: so many may come twice when it is killed.
const AT_ONCE: usize = 8;
/// What a killed relay had in hand is free after a minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often each number was texted.
type Phones = Arc<Mutex<BTreeMap<String, usize>>>;

async fn take(State(phones): State<Phones>, headers: HeaderMap, body: String) -> (StatusCode, Json<Value>) {
    assert_eq!(headers.get("apikey").unwrap(), "key");
    let fields: BTreeMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    assert!(fields["message"].contains("password secret"), "{fields:?}");
    let id = {
        let mut phones = phones.lock().unwrap();
        *phones.entry(fields["to"].clone()).or_default() += 1;
        format!("ATPid_{}", phones.values().sum::<usize>())
    };
    tokio::time::sleep(Duration::from_millis(500)).await; // a gateway's pace: texts are under way when the relay is killed
    let recipient = json!({"statusCode": 101, "number": fields["to"], "status": "Success", "cost": "KES 0.8000", "messageId": id});
    (StatusCode::CREATED, Json(json!({"SMSMessageData": {"Message": "Sent to 1/1", "Recipients": [recipient]}})))
}

fn sale(number: usize) -> UpBody {
    let limits = Limits { time: None, data: None, down: None, up: None, devices: 1 };
    let package = Package { id: "hour".parse().unwrap(), label: "1 hour".to_owned(), price: Shillings(10), limits };
    let (username, password) = (format!("user{number}").parse().unwrap(), Password::new("secret").unwrap());
    UpBody::Account(AccountNotice {
        phone: Some(format!("07120000{number:02}").parse().unwrap()),
        receipt: Some(format!("NLJ7RT61{number:02}").parse().unwrap()),
        online: true,
        ..AccountNotice::of(username, password, &package)
    })
}

/// Says what is not acknowledged, as routers do, and listens for a while.
async fn work(router: &mut Router, open: &mut BTreeMap<MessageId, UpBody>, time: Duration) {
    for (id, body) in open.iter() {
        router.say_as(id, body.clone());
    }
    let end = Instant::now() + time;
    while Instant::now() < end && !open.is_empty() {
        if let Ok(down) = tokio::time::timeout(Duration::from_millis(50), router.next()).await
            && let DownBody::Ack { of } = down.body
        {
            of.iter().for_each(|id| drop(open.remove(id)));
        }
    }
}

/// A gateway, relays on one database that use it, and a router that has said hello.
struct World {
    phones: Phones,
    relays: Vec<Program>,
    router: Router,
    _broker: Broker,
    _folder: TempDir,
}

impl World {
    async fn new(names: &[&str], more: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let phones = Phones::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sms = format!("provider = \"africastalking\"\nbase_url = \"http://{address}\"\nusername = \"me\"\napi_key = \"key\"\n{more}");
        let routes = axum::Router::new().route("/version1/messaging", post(take)).with_state(Arc::clone(&phones));
        tokio::spawn(async move { axum::serve(listener, routes).await });

        let folder = tempfile::tempdir().unwrap();
        let (mut broker, database) = (Broker::new(folder.path()), postgres::database());
        let account = "transaction_type = \"CustomerPayBillOnline\"";
        let relay = |name: &&str| {
            let relay = Program::with_database(&folder.path().join(name), &database, &broker.url(), "http://127.0.0.1:1", account);
            let text = std::fs::read_to_string(&relay.config).unwrap();
            std::fs::write(&relay.config, text.replace("provider = \"none\"", &sms)).unwrap();
            relay
        };
        let mut relays: Vec<Program> = names.iter().map(relay).collect();
        let credentials = relays[0].add_router("kibera-7");
        broker.add_user("kibera-7", &credentials.password);
        broker.set_acl(&relays[0].command(&["router", "acl"]).stdout);
        broker.start();
        for name in &names[1..] {
            std::fs::copy(folder.path().join(names[0]).join("signing.key"), folder.path().join(name).join("signing.key")).unwrap();
        }
        for relay in &mut relays {
            relay.start().await;
        }
        let mut router = Router::connect("kibera-7", &credentials, broker.port).await;
        router.presence("online").await;
        router.fence().await;
        Self { phones, relays, router, _broker: broker, _folder: folder }
    }
}

fn sales(count: usize) -> BTreeMap<MessageId, UpBody> {
    (0..count).map(|number| (format!("account-{number}").parse().unwrap(), sale(number))).collect()
}

fn listed(relay: &Program) -> Vec<Value> {
    serde_json::from_str(&relay.command(&["sms", "--json"]).stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")] // commands are waited for, and the gateway goes on
async fn a_router_that_wants_too_many_texts_is_held() {
    let mut world = World::new(&["one"], "daily = 2").await;
    let (began, mut open) = (Instant::now(), sales(3));
    while !open.is_empty() || listed(&world.relays[0]).iter().any(|text| text["status"] == "queued") {
        work(&mut world.router, &mut open, Duration::from_millis(200)).await;
        assert!(began.elapsed() < PATIENCE, "{:?}", listed(&world.relays[0]));
    }
    let texts = listed(&world.relays[0]);
    let held: Vec<&Value> = texts.iter().filter(|text| text["code"] == "daily").collect();
    assert_eq!((texts.len(), held.len(), world.phones.lock().unwrap().len()), (3, 1, 2), "{texts:?}");
    let retried = world.relays[0].command(&["retry", held[0]["sms"].as_str().unwrap()]);
    assert!(retried.code == 0 && retried.stdout.contains(": sent"), "{}{}", retried.stdout, retried.stderr);
    assert_eq!(world.phones.lock().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")] // commands are waited for, and the gateway goes on
async fn of_two_relays_that_share_the_texts_one_may_be_killed() {
    let World { phones, mut relays, mut router, _broker, _folder } = World::new(&["one", "two"], "").await;
    let mut open = sales(CUSTOMERS);
    let (began, mut killed) = (Instant::now(), false);
    loop {
        work(&mut router, &mut open, Duration::from_millis(200)).await;
        let shared = relays.iter().all(|relay| relay.log().contains(": sent"));
        if !killed && shared && phones.lock().unwrap().len() < CUSTOMERS {
            relays[0].kill();
            killed = true;
        }
        if open.is_empty() && phones.lock().unwrap().len() == CUSTOMERS {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{} not acknowledged, texted: {:?}", open.len(), phones.lock().unwrap());
        // More than there was: nobody may be told twice of what is said twice.
        if open.is_empty() {
            open.insert("account-0".parse().unwrap(), sale(0));
        }
    }
    assert!(killed, "all was done before the relay was killed");
    let texts = loop {
        let texts = listed(&relays[1]);
        if texts.iter().all(|text| text["status"] == "sent") {
            break texts;
        }
        assert!(began.elapsed() < PATIENCE, "{texts:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(texts.len(), CUSTOMERS);
    let phones = phones.lock().unwrap();
    let twice = phones.values().filter(|times| **times == 2).count();
    assert!(phones.values().all(|times| *times <= 2) && twice <= AT_ONCE, "{phones:?}");
    println!("{CUSTOMERS} customers, one relay killed: {twice} texted twice, nobody missed");
}

#[tokio::test(flavor = "multi_thread")] // commands are waited for, and the relays go on
async fn of_two_relays_that_hear_the_same_purchase_a_hundred_times_one_adds_it_once() {
    let database = postgres::database();
    postgres::psql(&database, &freeradius::schema("postgresql").unwrap()).unwrap();
    let mut world = World::new(&["one", "two"], &format!("\n[radius_sql]\ndatabase = \"{database}\"\n")).await;
    let began = Instant::now();
    // The same purchase under a hundred names, and each name until it is acknowledged.
    let UpBody::Account(hour) = sale(0) else { panic!("a sale is an account's") };
    let hour = AccountNotice { seconds: Some(Seconds(3_600)), ..hour };
    let mut open: BTreeMap<MessageId, UpBody> =
        (0..100).map(|number| (format!("account-{number}").parse().unwrap(), UpBody::Account(hour.clone()))).collect();
    let (mut rounds, mut killed) = (0, false);
    while !open.is_empty() {
        work(&mut world.router, &mut open, Duration::from_millis(500)).await;
        rounds += 1;
        if !killed && open.len() < 100 {
            world.relays[0].kill();
            killed = true;
            world.relays[0].start().await;
        }
        assert!(began.elapsed() < PATIENCE, "{} not acknowledged after {rounds} rounds", open.len());
    }
    assert!(killed);
    let rows = postgres::psql(&database, "SELECT attribute, value FROM radcheck WHERE attribute = 'Lango-Max-Time'").unwrap();
    assert_eq!(rows.trim(), "Lango-Max-Time|3600");
    assert_eq!(postgres::psql(&database, "SELECT count(*) FROM lango_purchases").unwrap().trim(), "1");
    assert_eq!(postgres::psql(&database, "SELECT count(*) FROM radcheck").unwrap().trim(), "3");
}
