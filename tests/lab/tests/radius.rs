//! RADIUS on the whole path: phones that log in with accounts of a real FreeRADIUS, what that is told of every session, and its orders.

use lango_lab::Lab;
use lango_lab::freeradius::{FreeRadius, Options, RADSEC_PORT, radclient};
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::lab::figure;
use lango_lab::phone::Phone;
use lango_lab::power::Power;
use lango_lab::wait::{holds_for, until, until_true};
use lango_lab::world::{CLOUD4, ROUTER_WAN4};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_millis(300);
/// Servers are asked again after two seconds, and given up some time later.
const GIVEN_UP: Duration = Duration::from_secs(20);
const SECRET: &str = "lab-radius-secret";
const COA_PORT: u16 = 3799;

/// The lab, with a FreeRADIUS in the cloud, and the router set to ask it.
fn lab(options: &str) -> (Lab, FreeRadius) {
    lab_with(None, |_| format!("\tlist server '{CLOUD4}:1812'\n\tlist accounting '{CLOUD4}:1813'\n{options}"))
}

/// The same with the server's way, and what else the router is told.
fn lab_with(radsec: Option<bool>, options: impl FnOnce(&FreeRadius) -> String) -> (Lab, FreeRadius) {
    let lab = Lab::start();
    let clients = vec![(ROUTER_WAN4.to_owned(), SECRET.to_owned())];
    let server = Options { address: CLOUD4.to_owned(), clients, radsec, ..Options::default() };
    let server = FreeRadius::new(&lab.world.cloud, &lab.world.folder, server).unwrap_or_else(|e| panic!("{e:#}"));
    server.start().unwrap_or_else(|e| panic!("{e:#}"));
    let section = format!("\nconfig radius 'radius'\n\toption secret '{SECRET}'\n\toption coa_port '{COA_PORT}'\n{}", options(&server));
    lab.lango.configure(|text| text.to_owned() + &section).unwrap();
    lab.lango.program.signal(Signal::SIGHUP).unwrap();
    until_true("the config to be in force", SOON, || lab.lango.program.log().contains("read again and in force")).unwrap();
    (lab, server)
}

fn login(phone: &Phone, username: &str, password: &str) -> (u16, Value) {
    let answer = phone.post("/api/hotspot/login", &json!({"username": username, "password": password}));
    (answer.status, answer.value())
}

fn online(phone: &Phone) -> bool {
    phone.udp_echo((HOST4, ECHO).into(), SILENCE)
}

/// The sessions that the server knows of a user, once they are as wanted.
fn rows(server: &FreeRadius, user: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let of = |user: &str| server.sessions().into_iter().filter(|row| row["username"] == user).collect::<Vec<_>>();
    until("the server's table", SOON, || Some(of(user)).filter(|rows| wanted(rows))).unwrap_or_else(|e| panic!("{e:#}: {:?}", of(user)))
}

fn closed(rows: &[Value]) -> bool {
    !rows.is_empty() && rows.iter().all(|row| !row["acctstoptime"].is_null())
}

#[test]
fn a_login_by_the_server_is_served_and_accounted_to_the_byte() {
    let (lab, server) = lab("");
    server.user("ann@isp", "secret", &[], &[("Session-Timeout", "600")]).unwrap();
    let phone = lab.joined_phone();
    assert!(!online(&phone));
    let (status, said) = login(&phone, "ann@isp", "secret");
    assert_eq!((status, &said["session"]["username"]), (200, &json!("ann@isp")), "{said}");
    assert!(said["session"]["seconds_remaining"].as_u64().is_some_and(|left| (595..=600).contains(&left)), "{said}");
    assert!(online(&phone));
    assert_eq!(phone.download(500_000, SOON).unwrap(), 500_000);

    phone.post("/api/hotspot/logout", &json!({}));
    let ended = rows(&server, "ann@isp", closed);
    let [row] = ended.as_slice() else { panic!("{ended:?}") };
    assert!(!online(&phone));
    let down = row["acctoutputoctets"].as_u64().unwrap();
    let up = row["acctinputoctets"].as_u64().unwrap();
    figure(&format!("500000 bytes were downloaded; the server was told {down} down and {up} up"));
    assert!((500_000..550_000).contains(&down) && (1_000..50_000).contains(&up), "{row}");
    assert_eq!(row["acctterminatecause"], "User-Request");
    let station = phone.mac.to_uppercase().replace(':', "-");
    assert_eq!(row["callingstationid"], station.as_str());

    // What the server says of a wrong password and of one who is barred is what the customer reads.
    server.user("barred", "secret", &[("Auth-Type", "Reject")], &[("Reply-Message", "Visit the office, please.")]).unwrap();
    assert_eq!(login(&phone, "ann@isp", "wrong").0, 401);
    let (status, said) = login(&phone, "barred", "secret");
    assert_eq!((status, &said["error"]["code"]), (401, &json!("bad_credentials")), "{said}");
    assert!(!lab.lango.program.log().contains("secret"), "a password in the log");
    lab.money_is_service();
}

#[test]
fn what_is_bought_here_never_waits_for_a_server_and_its_accounting_catches_up() {
    let (lab, server) = lab("");
    until_true("the router to be announced", SOON, || lab.lango.program.running() && server.program.log().contains("Accounting-On"))
        .unwrap();
    server.stop().unwrap();
    let phone = lab.joined_phone();
    let paid = phone.await_paid(&phone.pay("day", "0712345678"));
    let (username, password) = (paid["username"].as_str().unwrap(), paid["password"].as_str().unwrap());
    assert!(online(&phone));
    phone.post("/api/hotspot/logout", &json!({}));
    let asked = Instant::now();
    let (status, said) = login(&phone, username, password);
    assert_eq!(status, 200, "{said}");
    assert!(asked.elapsed() < Duration::from_secs(1), "it waited {:?}", asked.elapsed());
    // Whom only the server knows hears that it is away, in a bearable time.
    let asked = Instant::now();
    let (status, said) = login(&lab.joined_phone(), "ann@isp", "secret");
    assert_eq!((status, &said["error"]["code"]), (503, &json!("login_offline")), "{said}");
    assert!(asked.elapsed() < GIVEN_UP, "it waited {:?}", asked.elapsed());
    // The program is killed, and the server comes back.
    lab.lango.program.kill9();
    lab.lango.start().unwrap();
    phone.post("/api/hotspot/logout", &json!({}));
    server.start().unwrap();
    let told = rows(&server, username, |rows| rows.len() == 2 && closed(rows));
    assert!(told.iter().all(|row| row["acctterminatecause"] == "User-Request"), "{told:?}");
    lab.money_is_service();
}

#[test]
fn the_server_orders_other_limits_and_an_end() {
    let (lab, server) = lab("");
    orders(&lab, &server);
}

#[test]
fn what_is_asked_over_tls_is_ordered_over_udp() {
    let (lab, server) = lab_with(Some(true), |server| {
        let folder = &server.folder;
        server.authority.write(folder, "router", "kibera-7").unwrap();
        let (at, folder) = (format!("radsec://{CLOUD4}:{RADSEC_PORT}"), folder.display());
        format!(
            "\tlist server '{at}'\n\tlist accounting '{at}'\n\toption ca '{folder}/ca.pem'\n\toption cert '{folder}/router.pem'\n\
             \toption key '{folder}/router.key'\n"
        )
    });
    orders(&lab, &server);
}

/// Ann logs in, and is given more and then nothing by whoever runs the server.
fn orders(lab: &Lab, server: &FreeRadius) {
    server.user("ann", "secret", &[], &[("Session-Timeout", "600")]).unwrap();
    let phone = lab.joined_phone();
    assert_eq!(login(&phone, "ann", "secret").0, 200);
    let session = rows(server, "ann", |rows| rows.len() == 1)[0]["acctsessionid"].as_str().unwrap().to_owned();
    let router = format!("{ROUTER_WAN4}:{COA_PORT}");
    let order = |kind: &str, secret: &str, pairs: &str| {
        let seconds = if secret == SECRET { 10 } else { 2 };
        radclient(&lab.world.cloud, &router, kind, secret, pairs, seconds).unwrap()
    };
    let code = |answer: Option<lango_lab::freeradius::Answer>| {
        answer.map(|answer| (answer.code.clone(), answer.get("Error-Cause").map(str::to_owned)))
    };
    let left = || phone.session().unwrap()["seconds_remaining"].as_u64().unwrap();

    let longer = format!("Acct-Session-Id={session},User-Name=ann,Session-Timeout=3600,WISPr-Bandwidth-Max-Down=2000000");
    assert_eq!(order("coa", "not-the-secret", &longer), None, "it answered to a wrong secret");
    assert!(left() <= 600);
    assert_eq!(code(order("coa", SECRET, &longer)), Some(("CoA-ACK".to_owned(), None)));
    assert!((3_500..=3_600).contains(&left()), "{}", left());
    let another = format!("Acct-Session-Id={session},User-Name=bob,Session-Timeout=10");
    assert_eq!(code(order("coa", SECRET, &another)).unwrap().0, "CoA-NAK");
    assert_eq!(code(order("disconnect", SECRET, "User-Name=bob")).unwrap().0, "Disconnect-NAK");
    assert!(online(&phone));
    assert_eq!(code(order("disconnect", SECRET, &format!("Acct-Session-Id={session}"))), Some(("Disconnect-ACK".to_owned(), None)));
    assert!(!online(&phone));
    let ended = rows(server, "ann", closed);
    assert_eq!(ended[0]["acctterminatecause"], "Admin-Reset");
}

#[test]
fn a_power_cut_leaves_no_open_row_and_who_was_online_comes_back() {
    let (lab, server) = lab("");
    let mut power = Power::of(&lab); // a disk of its own, with nothing on it yet
    lab.lango.await_payments().unwrap();
    server.user("ann", "secret", &[("Simultaneous-Use", "1")], &[("Session-Timeout", "86400")]).unwrap();
    let phones = [lab.joined_phone(), lab.joined_phone()];
    assert_eq!(login(&phones[0], "ann", "secret").0, 200);
    let paid = phones[1].await_paid(&phones[1].pay("day", "0712345678"));
    let username = paid["username"].as_str().unwrap();
    for user in ["ann", username] {
        rows(&server, user, |rows| rows.len() == 1);
    }
    power.cut();
    power.on("+0");
    // Seen again, both are online again by themselves; the server has one open row of each, and it is the new one.
    for phone in &phones {
        until_true("the phone to be online again", GIVEN_UP, || online(phone)).unwrap();
    }
    for user in ["ann", username] {
        let rows = rows(&server, user, |rows| rows.len() == 2 && rows.iter().filter(|row| row["acctstoptime"].is_null()).count() == 1);
        assert_eq!(rows[0]["acctterminatecause"], "NAS-Reboot", "{rows:?}");
        assert!(rows[1]["acctstoptime"].is_null(), "{rows:?}");
    }
    holds_for("nobody to be thrown out", Duration::from_secs(1), || phones.iter().all(online)).unwrap();
    lab.money_is_service();
}
