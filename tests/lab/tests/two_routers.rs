//! Accounts that roam between two real routers: router, relay, broker and FreeRADIUS as they are shipped, one phone that walks from
//! the one Wi-Fi to the other, and real bytes at both.

use lango_lab::freeradius::{ACCT_PORT, AUTH_PORT, FreeRadius};
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::lab::figure;
use lango_lab::net::Namespace;
use lango_lab::phone::Phone;
use lango_lab::power::Power;
use lango_lab::router::{Lango, PACKAGES};
use lango_lab::second::{self, Second};
use lango_lab::wait::{holds_for, until, until_true};
use lango_lab::world::CLOUD4;
use lango_lab::{Lab, router};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// Routers tell each minute what was used.
const TOLD: Duration = Duration::from_secs(90);
const SILENCE: Duration = Duration::from_millis(300);
/// What the hour has.
const BYTES: u64 = 5_000_000;
/// A limit of data is met short by one super-packet at most.
const SHORT: u64 = 64 * 1024;

/// For two devices at once.
const PAIR: &str = "
config package 'pair'
	option label '1 hour for two'
	option price '20'
	option minutes '60'
	option devices '2'
";

/// Two routers of one fleet, whose accounts roam.
struct Fleet {
    second: Second,
    radius: FreeRadius,
    lab: Lab,
}

impl Fleet {
    fn start() -> Self {
        let packages = format!("{PACKAGES}{PAIR}");
        let (lab, radius) = Lab::roaming(&packages);
        lab.relay.program.terminate().unwrap();
        lab.relay.configure("interim = 60\n").unwrap();
        lab.relay.start().unwrap();
        let second = Second::start(&lab, &packages).unwrap_or_else(|e| panic!("{e:#}"));
        let section = format!(
            "\nconfig radius 'radius'\n\tlist server '{CLOUD4}:{AUTH_PORT}'\n\tlist accounting '{CLOUD4}:{ACCT_PORT}'\n\
             \toption secret '{}'\n\toption interim '60'\n\toption roaming '1'\n",
            radius.secret()
        );
        for lango in [&lab.lango, &second.lango] {
            lango.configure(|text| text.to_owned() + &section).unwrap();
            lango.program.signal(Signal::SIGHUP).unwrap();
            until_true("the config to be in force", SOON, || lango.program.log().contains("read again and in force")).unwrap();
            lango.await_payments().unwrap();
        }
        Self { second, radius, lab }
    }

    fn home(&self) -> &Namespace {
        &self.lab.world.router
    }

    fn away(&self) -> &Namespace {
        &self.second.router
    }

    /// Buys at the first router; gives back the credentials when the RADIUS server knows them.
    fn buy(&self, phone: &Phone, package: &str) -> (String, String) {
        let paid = phone.await_paid(&phone.pay(package, "0712345678"));
        let text = |key: &str| paid[key].as_str().unwrap_or_else(|| panic!("no {key}: {paid}")).to_owned();
        let empty = |lango: &Lango| lango.status().is_ok_and(|status| status["outbox"] == 0);
        until_true("the purchase to be with the RADIUS server", SOON, || empty(&self.lab.lango))
            .unwrap_or_else(|e| panic!("{e:#}\n{}", self.lab.relay.program.tail(30)));
        (text("username"), text("password"))
    }

    /// The sessions of that router that the server knows, once they are as wanted.
    fn rows(&self, router: &str, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let of = || self.radius.sessions().into_iter().filter(|row| row["nasportid"] == router).collect::<Vec<_>>();
        until(what, TOLD, || Some(of()).filter(|rows| wanted(rows))).unwrap_or_else(|e| panic!("{e:#}: {:?}", of()))
    }

    /// All that the server knows to be used.
    fn used(&self) -> u64 {
        self.radius.sessions().iter().map(bytes).sum()
    }
}

fn bytes(row: &Value) -> u64 {
    row["acctinputoctets"].as_u64().unwrap_or(0) + row["acctoutputoctets"].as_u64().unwrap_or(0)
}

fn is_open(row: &Value) -> bool {
    row["acctstoptime"].is_null()
}

fn login(phone: &Phone, (username, password): &(String, String)) -> (u16, Value) {
    let answer = phone.post("/api/hotspot/login", &json!({"username": username, "password": password}));
    (answer.status, answer.value())
}

fn let_in(phone: &Phone, credentials: &(String, String)) -> Value {
    let (status, said) = login(phone, credentials);
    assert_eq!(status, 200, "{}: {said}", phone.name);
    is_online(phone);
    said["session"].clone()
}

fn refused(phone: &Phone, credentials: &(String, String), because: &str) {
    let (status, said) = login(phone, credentials);
    assert!((400..500).contains(&status) && said.to_string().contains(because), "{}: {status} {said}", phone.name);
    assert!(!online(phone), "{} is online", phone.name);
}

/// One packet: on a busy machine the answer to one may be late, so that alone proves only who is offline.
fn online(phone: &Phone) -> bool {
    phone.udp_echo((HOST4, ECHO).into(), SILENCE)
}

fn is_online(phone: &Phone) {
    until_true("the phone to be online", SOON, || online(phone)).unwrap_or_else(|e| panic!("{}: {e:#}", phone.name));
}

fn number(session: &Value, key: &str) -> u64 {
    session[key].as_u64().unwrap_or_else(|| panic!("no {key}: {session}"))
}

#[test]
fn a_phone_that_walks_has_what_is_left_and_what_it_used_elsewhere_is_off() {
    let fleet = Fleet::start();
    let phone = fleet.lab.joined_phone();
    let credentials = fleet.buy(&phone, "hour");
    assert_eq!(phone.download(1_000_000, SOON).unwrap(), 1_000_000);
    let at_home = fleet.rows(router::NAME, "what was used at home to be told", |rows| rows.iter().any(|row| bytes(row) >= 1_000_000));
    let told = bytes(&at_home[0]);

    // It is just carried away: at home it is online still, and keeps its place there. At the other router it is let in at once.
    second::walk(&phone, fleet.home(), fleet.away());
    assert!(!online(&phone), "the other router knows nothing of it yet");
    let session = let_in(&phone, &credentials);
    assert!(is_open(&fleet.rows(router::NAME, "one session", |rows| rows.len() == 1)[0]), "its place at home");
    assert_eq!(number(&session, "bytes_remaining"), BYTES - told);
    assert!((3_400..3_600).contains(&number(&session, "seconds_remaining")), "{session}");
    assert_eq!(phone.download(2_000_000, SOON).unwrap(), 2_000_000);

    // One device was paid for: another one has no place, at neither router.
    let other = fleet.lab.joined_phone();
    refused(&other, &credentials, "device");
    second::walk(&other, fleet.home(), fleet.away());
    refused(&other, &credentials, "devices");
    is_online(&phone);

    // Back at home it is online by itself, with what the other router left.
    phone.post("/api/hotspot/logout", &json!({}));
    let away = fleet.rows(second::NAME, "the session away to end", |rows| rows.len() == 1 && !is_open(&rows[0]));
    let away = bytes(&away[0]);
    assert!((2_000_000..2_200_000).contains(&away), "{away}");
    second::walk(&phone, fleet.away(), fleet.home());
    until_true("what was used away to be off at home", SOON, || {
        online(&phone) && phone.session().is_some_and(|session| number(&session, "bytes_remaining") <= BYTES - told - away)
    })
    .unwrap_or_else(|e| panic!("{e:#}: {:?}\n{}", phone.session(), fleet.lab.lango.program.tail(20)));
    // And not a byte more than was paid for is had in all.
    let last = phone.download(BYTES as usize, SOON).unwrap() as u64;
    assert!(1_000_000 + 2_000_000 + last <= BYTES, "{last}");
    fleet.rows(router::NAME, "the end at home", |rows| rows.iter().all(|row| !is_open(row)));
    let used = fleet.used();
    figure(&format!("{BYTES} bytes were bought; the two routers served {used} of them"));
    assert!((BYTES - 2 * SHORT..=BYTES).contains(&used), "{used}");
    refused(&phone, &credentials, "data");
    fleet.lab.money_is_service();
}

#[test]
fn what_is_used_up_at_one_router_is_used_up_at_the_other() {
    let fleet = Fleet::start();
    let phone = fleet.lab.joined_phone();
    let credentials = fleet.buy(&phone, "hour");
    phone.post("/api/hotspot/logout", &json!({}));
    fleet.rows(router::NAME, "the session at home to end", |rows| rows.len() == 1 && !is_open(&rows[0]));
    second::walk(&phone, fleet.home(), fleet.away());
    let_in(&phone, &credentials);
    let had = phone.download(2 * BYTES as usize, SOON).unwrap() as u64;
    assert!((BYTES / 2..=BYTES).contains(&had), "{had}");
    until_true("the end of it", SOON, || phone.session().is_none() && !online(&phone)).unwrap();
    fleet.rows(second::NAME, "the session away to end", |rows| rows.len() == 1 && !is_open(&rows[0]));
    assert!(fleet.used() <= BYTES, "{}", fleet.used());
    refused(&phone, &credentials, "data");
    // Another one, that was never here: the router that sold it asks, too.
    second::walk(&phone, fleet.away(), fleet.home());
    refused(&phone, &credentials, "data");
    refused(&fleet.lab.joined_phone(), &credentials, "data");
    // More is bought where it is needed, and had at once.
    fleet.buy(&phone, "hour");
    is_online(&phone);
    fleet.lab.money_is_service();
}

#[test]
fn of_two_that_were_paid_for_one_is_at_each_router_and_a_third_has_no_place() {
    let fleet = Fleet::start();
    let [first, second, third] = [(); 3].map(|()| fleet.lab.joined_phone());
    let credentials = fleet.buy(&first, "pair");
    second::walk(&second, fleet.home(), fleet.away());
    let_in(&second, &credentials);
    for (router, what) in [(router::NAME, "one to be online at home"), (second::NAME, "one to be online away")] {
        fleet.rows(router, what, |rows| rows.len() == 1 && is_open(&rows[0]));
    }
    refused(&third, &credentials, "devices");
    second::walk(&third, fleet.home(), fleet.away());
    refused(&third, &credentials, "devices");
    is_online(&first);
    is_online(&second);
    // One goes, and there is room, wherever it was.
    first.post("/api/hotspot/logout", &json!({}));
    fleet.rows(router::NAME, "the session at home to end", |rows| rows.len() == 1 && !is_open(&rows[0]));
    let_in(&third, &credentials);
    fleet.lab.money_is_service();
}

#[test]
fn a_power_cut_away_from_home_leaves_no_open_session_and_gives_nothing_away() {
    let fleet = Fleet::start();
    let mut power = Power::of_second(&fleet.second); // a disk of its own, with nothing on it yet
    fleet.second.lango.await_payments().unwrap();
    let phone = fleet.lab.joined_phone();
    let credentials = fleet.buy(&phone, "hour");
    phone.post("/api/hotspot/logout", &json!({}));
    fleet.rows(router::NAME, "the session at home to end", |rows| rows.len() == 1 && !is_open(&rows[0]));
    let before = fleet.used();
    second::walk(&phone, fleet.home(), fleet.away());
    let_in(&phone, &credentials);
    assert_eq!(phone.download(2_000_000, SOON).unwrap(), 2_000_000);
    let told = fleet.rows(second::NAME, "what was used away to be told", |rows| rows.iter().any(|row| bytes(row) >= 2_000_000));
    let told = bytes(&told[0]);

    power.cut();
    power.on("+0");
    // Seen again, it is asked for again with what was typed then, and goes on with what is left.
    until_true("the phone to be online again", SOON, || online(&phone)).unwrap_or_else(|e| panic!("{e:#}"));
    let rows = fleet.rows(second::NAME, "one session after the other", |rows| rows.len() == 2 && is_open(&rows[1]));
    assert!(!is_open(&rows[0]) && rows[0]["acctterminatecause"] == "NAS-Reboot", "{rows:?}");
    assert!(bytes(&rows[0]) >= told, "what was told once is forgotten: {rows:?}");
    let session = phone.session().unwrap();
    assert!(number(&session, "bytes_remaining") <= BYTES - before - told, "{session}");
    holds_for("nobody to be thrown out", Duration::from_secs(1), || phone.session().is_some()).unwrap();
    is_online(&phone);
    phone.post("/api/hotspot/logout", &json!({}));
    fleet.rows(second::NAME, "no session to be open", |rows| rows.iter().all(|row| !is_open(row)));

    // At home, what was used before the power cut is off, too.
    second::walk(&phone, fleet.away(), fleet.home());
    let session = let_in(&phone, &credentials);
    assert!(number(&session, "bytes_remaining") <= BYTES - before - told, "{session}");
    fleet.lab.money_is_service();
    drop(power);
}
