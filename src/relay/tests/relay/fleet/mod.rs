//! Two relays on one PostgreSQL and one broker: they share the work, and whichever dies, nothing is lost and nothing done twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by stopping

use crate::relay::broker::Broker;
use crate::relay::daraja::{Answer, Daraja, Push};
use crate::relay::program::Program;
use crate::relay::router::{Router, request};
use crate::relay::{failed, paid, until};
use gate::{Gate, Target};
use lango_core::message::{DownBody, Outcome, UpBody};
use lango_core::units::MessageId;
use lango_lab::postgres::{self, Postgres};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tempfile::TempDir;

mod gate;
mod half;
mod storm;

struct Fleet {
    relays: Vec<Program>,
    broker: Broker,
    daraja: Daraja,
    router: Router,
    http: reqwest::Client,
    folder: TempDir,
}

impl Fleet {
    /// Two relays, and a router that has said hello.
    async fn new(databases: [&str; 2]) -> Self {
        Self::with(databases, None).await
    }

    /// The second one's way to the broker goes through a gate, if there is one.
    async fn with(databases: [&str; 2], gate: Option<&mut Gate>) -> Self {
        Self::of(databases, gate, ["transaction_type = \"CustomerPayBillOnline\""; 2]).await
    }

    /// The same, each relay with its own lines at the end of `[mpesa]`.
    async fn of(databases: [&str; 2], gate: Option<&mut Gate>, lines: [&str; 2]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let mut broker = Broker::new(folder.path());
        let daraja = Daraja::start().await;
        let relay =
            |name: &str, database, url: &str, lines| Program::with_database(&folder.path().join(name), database, url, &daraja.url, lines);
        let second = match gate {
            Some(gate) => {
                gate.open_to(Target::Port(broker.port)).await;
                format!("mqtt://127.0.0.1:{}", gate.port)
            }
            None => broker.url(),
        };
        let mut relays = vec![relay("one", databases[0], &broker.url(), lines[0]), relay("two", databases[1], &second, lines[1])];
        let credentials = relays[0].add_router("kibera-7");
        broker.add_user("kibera-7", &credentials.password);
        broker.set_acl(&relays[0].command(&["router", "acl"]).stdout);
        broker.start();
        // A second machine with a key of its own would be believed by nobody: it does not start.
        let refused = relays[1].command(&["run"]);
        assert!(refused.code == 69 && refused.stderr.contains("copy signing_key"), "{}", refused.stderr);
        std::fs::copy(folder.path().join("one/signing.key"), folder.path().join("two/signing.key")).unwrap();
        for relay in &mut relays {
            relay.start().await;
        }
        let router = Router::connect("kibera-7", &credentials, broker.port).await;
        let mut fleet = Self { relays, broker, daraja, router, http: reqwest::Client::new(), folder };
        fleet.router.presence("online").await;
        for relay in &fleet.relays {
            until("both relays at the broker", async || relay.log().contains("broker: connected").then_some(())).await;
        }
        fleet.router.fence().await;
        fleet
    }

    /// Posts a callback as a proxy in front of the relays passes it on: to the first of them that answers, whichever prompted.
    async fn call_back(&self, first: usize, push: &Push, body: &str) -> bool {
        let path = push.callback.split_once("/callback/").unwrap().1;
        for number in [first % 2, (first + 1) % 2] {
            let url = format!("http://127.0.0.1:{}/callback/{path}", self.relays[number].port);
            if self.http.post(url).body(body.to_owned()).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
        }
        false
    }

    fn payments(&self) -> HashMap<String, Value> {
        let printed = self.relays[0].command(&["payments", "--json"]);
        let all: Vec<Value> = serde_json::from_str(&printed.stdout).unwrap_or_else(|_| panic!("{}", printed.stderr));
        all.into_iter().map(|payment| (payment["payment"].as_str().unwrap().to_owned(), payment)).collect()
    }

    /// What M-Pesa's own statement says, held against the ledger by the program itself.
    fn reconcile(&self, taken: &BTreeMap<String, Taken>) -> (i32, String) {
        let now = lango_relay::nairobi::text(lango_relay::clock::now());
        let mut text = "Receipt No.,Completion Time,Details,Transaction Status,Paid In,Withdrawn,Balance,A/C No.\n".to_owned();
        for (order, taken) in taken {
            let account = lango_relay::daraja::wire::reference(order);
            text.push_str(&format!("{},{now},Pay Bill,Completed,10.00,,,{account}\n", taken.receipt));
        }
        let path = self.folder.path().join("statement.csv");
        std::fs::write(&path, text).unwrap();
        let printed = self.relays[0].command(&["reconcile", path.to_str().unwrap()]);
        assert!(printed.code <= 1, "{}", printed.stderr);
        (printed.code, printed.stdout)
    }
}

/// Money that Safaricom took.
struct Taken {
    receipt: String,
    called_back: bool,
}

/// A router as the program on it is one: says hello when the relay's presence turns to online, says again at each welcome
/// what was not answered, acknowledges every result.
#[derive(Default)]
struct Desk {
    turns: usize,
    hellos: usize,
    open: BTreeMap<String, MessageId>,
    /// Receipts by order, as told; a message that comes twice counts once.
    paid: BTreeMap<String, Vec<String>>,
    failed: BTreeMap<String, usize>,
    seen: HashMap<MessageId, ()>,
}

impl Desk {
    fn ask(&mut self, router: &mut Router, order: &str) {
        let id = router.say(UpBody::PaymentRequest(request(order)));
        self.open.insert(order.to_owned(), id);
    }

    /// Does what a router does for so long.
    async fn work(&mut self, router: &mut Router, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let turns = router.presence.lock().unwrap().1;
            if turns != self.turns {
                (self.turns, self.hellos) = (turns, self.hellos + 1);
                let nonce = format!("hello-{turns}").parse().unwrap();
                router.say(UpBody::Hello { nonce, version: "1.0".to_owned() });
            }
            let Ok(down) = tokio::time::timeout(Duration::from_millis(10), router.next()).await else { continue };
            match down.body {
                DownBody::Welcome { .. } => {
                    for (order, id) in &self.open {
                        router.say_as(id, UpBody::PaymentRequest(request(order)));
                    }
                }
                DownBody::Ack { of } => self.open.retain(|_, id| !of.contains(id)),
                DownBody::Deposit(_) | DownBody::Receipt(_) => panic!("nobody pays by hand here"),
                DownBody::Vouchers(_) | DownBody::RevokeVouchers(_) => panic!("nobody makes vouchers here"),
                DownBody::Update(_) => panic!("nobody offers updates here"),
                DownBody::Stale { order } => panic!("{order} was asked for too late: nothing here takes that long"),
                DownBody::Payment(update) => {
                    router.say(UpBody::Ack { of: vec![down.id.clone()] });
                    let order = update.order.to_string();
                    self.open.remove(&order);
                    if self.seen.insert(down.id, ()).is_none() {
                        match update.outcome {
                            Outcome::Paid { receipt, .. } => self.paid.entry(order).or_default().push(receipt.to_string()),
                            Outcome::Failed { .. } => *self.failed.entry(order).or_default() += 1,
                        }
                    }
                }
            }
        }
    }

    /// Does so until something holds.
    async fn work_until(&mut self, router: &mut Router, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}; open: {:?}", self.open);
            self.work(router, Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_share_the_work() {
    let database = postgres::database();
    let mut fleet = Fleet::new([&database, &database]).await;
    let mut desk = Desk::default();
    let shares = |fleet: &Fleet| fleet.relays.iter().map(|relay| relay.log().matches(": asked for hour").count()).collect::<Vec<_>>();
    // Which of the two gets what is the broker's turn: one that is connected may not have subscribed yet.
    let mut orders = 0;
    while shares(&fleet).iter().any(|&share| share < 4) {
        assert!(orders < 240, "one relay is left out: {:?}", shares(&fleet));
        let wave = orders..orders + 24;
        for number in wave.clone() {
            desk.ask(&mut fleet.router, &format!("{number:03}share0000000000"));
        }
        for number in wave {
            let push = fleet.daraja.next_push().await;
            assert!(fleet.call_back(number, &push, &paid(&push.checkout, 10, &format!("NLJ7RT6{number:03}"))).await);
        }
        orders += 24;
        desk.work_until(&mut fleet.router, "all to be paid", |desk| desk.paid.len() == orders).await;
    }
    assert!(desk.paid.values().all(|receipts| receipts.len() == 1), "{:?}", desk.paid);
    assert_eq!((fleet.daraja.pushes(), fleet.daraja.tokens()), (orders, (1, 0)), "one prompt each, and one token for both relays");
    // Both are told about a presence; a router that goes is offline, once.
    until("the router to be online", async || fleet.relays[0].command(&["router", "list"]).stdout.contains("kibera-7").then_some(())).await;
    // What is due is asked for by one of them.
    let order = "query0000000000".to_owned();
    desk.ask(&mut fleet.router, &order);
    let push = fleet.daraja.next_push().await;
    fleet.daraja.result(&push.checkout, "0");
    desk.work_until(&mut fleet.router, "the request's acknowledgement", |desk| desk.open.is_empty()).await;
    until("the push's answer", async || (fleet.payments()[&order]["state"] == "prompted").then_some(())).await;
    assert_eq!(fleet.relays[1].command(&["retry", &order]).code, 0);
    desk.work_until(&mut fleet.router, "the query's result", |desk| desk.paid.contains_key(&order)).await;
    assert_eq!(fleet.daraja.queries(), [push.checkout]);
    assert_eq!(desk.failed, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_there_while_one_of_them_is() {
    let database = postgres::database();
    let mut fleet = Fleet::new([&database, &database]).await;
    let turns = |fleet: &Fleet| fleet.router.presence.lock().unwrap().1;
    for (way, number) in [("kill", 0), ("stop", 1), ("kill", 1), ("stop", 0)] {
        let before = turns(&fleet);
        match way {
            "kill" => fleet.relays[number].kill(),
            _ => assert_eq!(fleet.relays[number].stop().await, 0),
        }
        // It goes and comes at once: that is what has routers say again what the dead one may have taken with it.
        until("the other one to say that it is there", async || (turns(&fleet) > before).then_some(())).await;
        fleet.router.presence("online").await;
        assert_eq!(fleet.router.fence().await, []);
        fleet.relays[number].start().await;
        let log = &fleet.relays[number];
        until("it to be back", async || (log.log().matches("broker: connected").count() > number).then_some(())).await;
        fleet.router.fence().await;
    }
    fleet.relays[0].kill();
    fleet.relays[1].kill();
    fleet.router.presence("offline").await;
}

/// Whoever asks for the token dies in the middle: the other one does not wait for ever, and nobody is prompted twice.
#[tokio::test(flavor = "multi_thread")]
async fn killed_with_a_push_under_way_the_other_does_not_push_again() {
    let database = postgres::database();
    let mut fleet = Fleet::new([&database, &database]).await;
    let mut desk = Desk::default();
    fleet.daraja.answers([Answer::Hold]);
    desk.ask(&mut fleet.router, "held0000000000");
    let push = fleet.daraja.next_push().await;
    let number = usize::from(!fleet.relays[0].log().contains("held0000000000: asked for"));
    fleet.relays[number].kill();
    desk.work(&mut fleet.router, Duration::from_millis(500)).await;
    assert_eq!(fleet.payments()["held0000000000"]["state"], "prompting");
    // Its callback comes to the other one, which never heard the push's answer.
    assert!(fleet.call_back(number, &push, &paid(&push.checkout, 10, "NLJ7RT61SV")).await);
    desk.work_until(&mut fleet.router, "the result", |desk| desk.paid.contains_key("held0000000000")).await;
    assert_eq!(fleet.daraja.pushes(), 1);
}

/// The database goes away and comes back: what was said meanwhile is said again, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_goes_away_and_comes_back() {
    let server = Postgres::start();
    let database = server.database();
    let mut fleet = Fleet::new([&database, &database]).await;
    let mut desk = Desk::default();
    desk.ask(&mut fleet.router, "before0000000000");
    let push = fleet.daraja.next_push().await;
    desk.work_until(&mut fleet.router, "the acknowledgement", |desk| desk.open.is_empty()).await;
    until("the push's answer", async || (fleet.payments()["before0000000000"]["state"] == "prompted").then_some(())).await;
    server.kill();
    assert!(!fleet.call_back(0, &push, &paid(&push.checkout, 10, "NLJ7RT61SV")).await, "a callback was answered that is stored nowhere");
    fleet.daraja.result(&push.checkout, "0");
    desk.ask(&mut fleet.router, "during0000000000");
    until("a relay that could not store the request", async || {
        fleet
            .relays
            .iter()
            .any(|relay| relay.log().contains("the ledger is busy or gone") || relay.log().contains("router kibera-7: "))
            .then_some(())
    })
    .await;
    server.start_again();
    desk.work_until(&mut fleet.router, "the request's acknowledgement", |desk| desk.open.is_empty()).await;
    let second = fleet.daraja.next_push().await;
    assert!(fleet.call_back(1, &second, &paid(&second.checkout, 10, "NLJ7RT61SW")).await);
    desk.work_until(&mut fleet.router, "both to be paid", |desk| desk.paid.len() == 2).await;
    assert_eq!(fleet.daraja.pushes(), 2);
}

/// A relay that is cut off from the database, and from nothing else, leaves the routers to the other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_its_database_steps_aside() {
    let database = postgres::database();
    let mut gate = Gate::new();
    gate.open_to(Target::Socket(postgres::server().socket())).await;
    let through = database.replace("localhost", &format!("127.0.0.1:{}", gate.port));
    let through = format!("{}?sslmode=disable", through.split_once('?').unwrap().0);
    let mut fleet = Fleet::new([&database, &through]).await;
    let mut desk = Desk::default();
    gate.shut();
    let relay = &fleet.relays[1];
    until("it to step aside", async || relay.log().contains("is left to the other relays").then_some(())).await;
    // The first of them may still come to it: they are said again. After that it is asked for nothing.
    let mut before = 0;
    for batch in 0..2 {
        before = fleet.relays[1].log().len();
        for number in 0..10 {
            desk.ask(&mut fleet.router, &format!("{batch}{number:02}aside0000000000"));
        }
        desk.work_until(&mut fleet.router, "all acknowledgements", |desk| desk.open.is_empty()).await;
    }
    assert!(!fleet.relays[1].log()[before..].contains("router kibera-7"), "it was still asked: {}", &fleet.relays[1].log()[before..]);
    gate.open_again();
    let relay = &fleet.relays[1];
    until("it to be back", async || relay.log().contains("is heard again").then_some(())).await;
    until("it to take its part", async || {
        fleet.router.say(UpBody::Hello { nonce: "part".parse().unwrap(), version: "1.0".to_owned() });
        fleet.relays[1].log()[before..].contains("router kibera-7: hello").then_some(())
    })
    .await;
}

/// A callback comes to a relay that has no broker at that moment: another one tells the router.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_its_broker_leaves_the_result_to_another() {
    let database = postgres::database();
    let mut gate = Gate::new();
    let mut fleet = Fleet::with([&database, &database], Some(&mut gate)).await;
    let mut desk = Desk::default();
    desk.ask(&mut fleet.router, "nobroker0000000000");
    let push = fleet.daraja.next_push().await;
    desk.work_until(&mut fleet.router, "the acknowledgement", |desk| desk.open.is_empty()).await;
    gate.shut();
    let relay = &fleet.relays[1];
    until("it to lose the broker", async || relay.log().contains("broker: not connected").then_some(())).await;
    let called = Instant::now();
    assert!(fleet.call_back(1, &push, &paid(&push.checkout, 10, "NLJ7RT61SV")).await);
    desk.work_until(&mut fleet.router, "the result", |desk| desk.paid.contains_key("nobroker0000000000")).await;
    assert!(called.elapsed() < Duration::from_secs(20), "it waited for the one that could not send it: {:?}", called.elapsed());
    assert!(!relay_took(&fleet.relays[0]) && relay_took(&fleet.relays[1]), "the callback came to the one without a broker");
}

fn relay_took(relay: &Program) -> bool {
    relay.log().contains("nobroker0000000000: paid")
}

/// Over a network the books travel by TLS: only a server that an authority vouches for is believed.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_proves_who_it_is() {
    use crate::relay::tls::authority;
    use rcgen::{CertificateParams, KeyPair};
    let (ours, another) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let port = crate::relay::free_port();
    let options = format!("-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on");
    let server = Postgres::with(&options, &[("server.crt", certificate.pem()), ("server.key", key.serialize_pem())]);
    let folder = tempfile::tempdir().unwrap();
    let ca = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (right, wrong) = (ca("right.pem", ours.pem()), ca("wrong.pem", another.pem()));
    for (number, (name, query, taken)) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={right}"), true),
        ("localhost", format!("sslmode=verify-full&sslrootcert={wrong}"), false),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={right}"), false),
        ("localhost", "sslmode=verify-full".to_owned(), false),
    ]
    .into_iter()
    .enumerate()
    {
        let database = format!("postgres://postgres@{name}:{port}/postgres?{query}");
        let account = "transaction_type = \"CustomerPayBillOnline\"";
        let home = folder.path().join(number.to_string());
        let relay = Program::with_database(&home, &database, "mqtt://127.0.0.1:1", "http://127.0.0.1:1", account);
        let printed = relay.command(&["router", "add", &format!("kibera-{number}")]);
        assert_eq!(printed.code == 0, taken, "{database}: {}", printed.stderr);
        assert!(taken || printed.stderr.contains("certificate"), "{}", printed.stderr);
    }
    drop(server);
}
