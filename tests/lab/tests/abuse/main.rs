//! A day of abuse in half a minute: each kind of it has a device of its own, with many addresses, and all of them do to the portal what the
//! street knows at once, over plain HTTP and over HTTPS. What each got is counted, so that it is seen to arrive and to be held off by the limit that is
//! there for it. A good customer's phone is served within a second throughout, by both doors, and pays and goes online in the middle of
//! it. Afterwards the router is as it was: memory, file descriptors, log.

mod deeds;
mod device;

use deeds::{AT_TLS, BY_BOTH_DOORS, Deed};
use device::{Bad, Door, NAME, Outcome, SECURE_PORT, Street, Tally, agree, dial};
use lango_lab::Lab;
use lango_lab::authority::Authority;
use lango_lab::http::Response;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::lab::figure;
use lango_lab::phone::Phone;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::{until, until_true};
use lango_lab::world::{PORTAL_PORT, ROUTER4};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);
/// What a customer's answer may take.
const PROMISED: Duration = Duration::from_secs(1);
/// Between two looks of his, and between two over HTTPS: each of those agrees on TLS anew.
const PACE: Duration = Duration::from_millis(20);
const SECURE_PACE: Duration = Duration::from_millis(700);
/// How long it goes on at least.
const DAY: Duration = Duration::from_secs(25);
/// What the day may leave behind in memory, in KiB, and in the log.
const GROWS: u64 = 4 * 1024;
const LINES: usize = 100;

/// What a device may have of agreements on TLS: at once, and then one each so long (`portal/pace.rs`).
const HANDSHAKES: u64 = 16;
const HANDSHAKE_EVERY: Duration = Duration::from_millis(500);

/// What must be seen at least: which kind of abuse got what by which door. A few of each over HTTPS, where a device begins two connections a
/// second.
const EXPECTED: &[(&str, Door, Outcome, u64)] = &[
    ("garbage", Door::Plain, Outcome::Status(400), 100),
    ("garbage", Door::Plain, Outcome::Status(302), 20),
    ("garbage", Door::Secure, Outcome::Status(400), 10),
    ("large", Door::Plain, Outcome::Status(413), 50),
    ("large", Door::Plain, Outcome::Status(431), 50),
    ("large", Door::Secure, Outcome::Status(413), 8),
    ("large", Door::Secure, Outcome::Status(431), 8),
    ("chunks", Door::Plain, Outcome::Status(411), 50),
    ("chunks", Door::Plain, Outcome::Status(400), 50),
    ("chunks", Door::Secure, Outcome::Status(411), 8),
    ("slowloris", Door::Plain, Outcome::Status(408), 14),
    ("slowloris", Door::Secure, Outcome::Status(408), 7),
    // More than it may have: its oldest give way long before their time.
    ("silence", Door::Plain, Outcome::Closed, 100),
    ("silence", Door::Secure, Outcome::Closed, 5),
    ("floods", Door::Plain, Outcome::Status(200), 1_000),
    ("floods", Door::Secure, Outcome::Status(200), 100),
    ("streams", Door::Plain, Outcome::Status(200), 50),
    ("streams", Door::Secure, Outcome::Status(200), 6),
    ("guesses", Door::Plain, Outcome::Status(429), 50),
    ("guesses", Door::Plain, Outcome::Status(401), 1),
    ("guesses", Door::Plain, Outcome::Status(404), 1),
    ("guesses", Door::Plain, Outcome::Status(202), 1),
    ("guesses", Door::Secure, Outcome::Status(429), 5),
    ("garbage at TLS", Door::Secure, Outcome::NotAgreed, 30),
    ("half handshakes", Door::Secure, Outcome::Closed, 20),
    ("handshakes", Door::Secure, Outcome::Agreed, HANDSHAKES),
    ("handshakes", Door::Secure, Outcome::NotAgreed, 50),
];

/// The lab, with a certificate of an authority of its own for the portal; and whom its phones trust.
fn lab_with_https() -> (Lab, Arc<ClientConfig>) {
    let lab = Lab::start();
    let authority = Authority::new("The lab's authority").unwrap();
    authority.write(&lab.world.folder, "https", NAME).unwrap();
    let folder = lab.world.folder.display();
    let section = format!(
        "\nconfig https 'https'\n\toption name '{NAME}'\n\toption port '{SECURE_PORT}'\n\toption cert '{folder}/https.pem'\n\toption key '{folder}/https.key'\n"
    );
    lab.lango.configure(|text| text.to_owned() + &section).unwrap();
    // Its port is opened at the start.
    lab.lango.program.terminate().unwrap();
    lab.lango.start().unwrap();
    lab.lango.await_payments().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    (lab, Arc::new(config))
}

/// Everything that a bad device does, by these doors, each on a thread of its own inside its namespace.
fn run<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    bad: &'scope Bad<'scope>,
    deeds: &'static [Deed],
    doors: &'static [Door],
    username: &'scope str,
) {
    for door in doors {
        for deed in deeds {
            scope.spawn(move || bad.phone.namespace.run(|| deed(bad, *door, username)));
        }
    }
}

/// Ends the day, however the test ends: bad devices do not stop by themselves.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The customer's answers, and how long each took.
struct Promise(Vec<(Duration, &'static str)>);

impl Promise {
    fn kept<T>(&mut self, what: &'static str, ask: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let answer = ask();
        let took = begun.elapsed();
        assert!(took < PROMISED, "{what} took {took:?}");
        self.0.push((took, what));
        answer
    }
}

/// What a phone that knows of option 114 asks, on a connection of its own.
fn ask_securely(phone: &Phone, trust: &Arc<ClientConfig>, path: &str) -> String {
    let from = IpAddr::V4(phone.lease().address);
    let stream = phone.namespace.run(|| dial(from, SECURE_PORT)).unwrap_or_else(|| panic!("{path}: no connection"));
    let mut stream = agree(trust, stream).unwrap_or_else(|| panic!("{path}: TLS is not agreed on"));
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {NAME}:{SECURE_PORT}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_else(|e| panic!("{path}: cut short: {e}"));
    answer
}

/// A page or call of the portal, at its address: its name is looked up once and kept, as phones do.
fn ask(phone: &Phone, method: &str, path: &str, body: Option<&Value>) -> Response {
    let url = format!("http://{ROUTER4}:{PORTAL_PORT}{path}");
    let headers: &[(&str, &str)] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
    phone.http(method, &url, headers, body.map_or(String::new(), Value::to_string).as_bytes()).unwrap_or_else(|e| panic!("{path}: {e:#}"))
}

fn is_online(phone: &Phone) -> bool {
    ask(phone, "POST", "/api/hotspot/check-session", Some(&json!({}))).value()["active"] == true
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Resident memory, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// What the processor has worked for a process.
fn processor(pid: u32) -> Duration {
    let schedstat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_good_customer_is_served_within_a_second_through_a_day_of_abuse() {
    let (lab, trust) = lab_with_https();
    // Prompts on other people's phones are not answered by them.
    lab.safaricom.everybody(Customer::manual());
    for number in ["0712345678", "0722345678"] {
        lab.safaricom.customer(number, Customer::who(Answer::Pays));
    }
    let (good, neighbour) = (lab.joined_phone(), lab.joined_phone());
    let bad_phones: Vec<Phone> = BY_BOTH_DOORS.iter().chain(AT_TLS).map(|_| lab.joined_phone()).collect();
    let account = neighbour.await_paid(&neighbour.pay("day", "0722345678"));
    let credentials = json!({"username": account["username"], "password": account["password"]});
    let username = account["username"].as_str().unwrap();

    let pid = lab.lango.program.pid().unwrap();
    until_true("the portal to be at rest", SOON, || good.session().is_none()).unwrap();
    let worked = processor(pid);
    for _ in 0..HANDSHAKES {
        assert!(ask_securely(&neighbour, &trust, "/api/packages").starts_with("HTTP/1.1 200"));
    }
    let securely = processor(pid) - worked;
    for _ in 0..HANDSHAKES {
        assert_eq!(ask(&neighbour, "GET", "/api/packages", None).status, 200);
    }
    let plainly = processor(pid) - worked - securely;
    let micros = |all: Duration| all.as_micros() / u128::from(HANDSHAKES);
    figure(&format!(
        "the router's processor works {} µs for a call on its own connection over HTTPS, {} µs over plain HTTP",
        micros(securely),
        micros(plainly)
    ));
    let (files, before, lines) = (descriptors(pid), memory(pid), lab.lango.program.log().lines().count());

    let street = Street { over: AtomicBool::new(false), tally: Tally::default(), trust: trust.clone() };
    let kinds = || {
        BY_BOTH_DOORS
            .iter()
            .map(|kind| (kind, &[Door::Plain, Door::Secure][..]))
            .chain(AT_TLS.iter().map(|kind| (kind, &[Door::Secure][..])))
    };
    let all: Vec<Bad> =
        (0..).zip(kinds().zip(&bad_phones)).map(|(number, (((kind, _), _), phone))| Bad::new(kind, number, phone, &street)).collect();
    let (mut promise, mut highest, begun) = (Promise(Vec::new()), 0, Instant::now());
    std::thread::scope(|scope| {
        let _ending = Ending(&street.over);
        for (bad, ((_, deeds), doors)) in all.iter().zip(kinds()) {
            run(scope, bad, deeds, doors, username);
        }
        let mut looked_securely = begun;
        let mut look = |promise: &mut Promise| {
            let page = promise.kept("the page", || ask(&good, "GET", "/", None));
            assert!(page.status == 200 && page.text().contains("</html>"), "{}", page.status);
            if looked_securely.elapsed() >= SECURE_PACE {
                looked_securely = Instant::now();
                let page = promise.kept("the page over HTTPS", || ask_securely(&good, &trust, "/"));
                assert!(page.starts_with("HTTP/1.1 200") && page.contains("</html>"), "{page}");
            }
            highest = highest.max(memory(pid));
            // A customer's pace: thousands of connections a second would run out of port numbers, which is not what is looked for.
            std::thread::sleep(PACE);
        };
        let captive = |promise: &mut Promise| {
            let probe = promise.kept("the phone's own check", || good.http("GET", &format!("http://{HOST4}/generate_204"), &[], b""));
            assert_eq!(probe.unwrap().status, 302);
        };
        while begun.elapsed() < DAY / 3 {
            look(&mut promise);
            captive(&mut promise);
        }
        // The whole way: asks, pays, is online.
        let asked =
            promise.kept("asking to pay", || ask(&good, "POST", "/api/payments", Some(&json!({"package": "hour", "phone": "0712345678"}))));
        assert_eq!(asked.status, 202, "{}", asked.text());
        let id = asked.value()["payment"].as_str().unwrap().to_owned();
        let paid = until("the payment", SOON, || {
            let payment = promise.kept("the payment's status", || ask(&good, "GET", &format!("/api/payments/{id}/status"), None).value());
            (payment["status"] != "pending").then_some(payment)
        })
        .unwrap();
        assert_eq!((paid["status"].as_str(), paid["connected"].as_bool()), (Some("paid"), Some(true)), "{paid}");
        assert!(promise.kept("the internet", || good.tcp_echo((HOST4, ECHO).into(), PROMISED)));
        while begun.elapsed() < DAY * 2 / 3 {
            look(&mut promise);
            assert!(promise.kept("the session", || is_online(&good)));
        }
        let told = promise.kept("what is left, over HTTPS", || ask_securely(&neighbour, &trust, "/captive-portal/api"));
        assert!(told.contains("\"captive\":false"), "{told}");
        // Somebody has typed wrong passwords for this account all the time.
        let out = promise.kept("logging out", || ask(&neighbour, "POST", "/api/hotspot/logout", Some(&json!({}))));
        assert_eq!(out.status, 200, "{}", out.text());
        let login = promise.kept("logging in again", || ask(&neighbour, "POST", "/api/hotspot/login", Some(&credentials)));
        assert_eq!(login.status, 200, "{}", login.text());
        while begun.elapsed() < DAY {
            look(&mut promise);
            assert!(promise.kept("the neighbour's session", || is_online(&neighbour)));
        }
    });

    let (lasted, tally) = (begun.elapsed(), &street.tally);
    figure(&tally.told());
    let missing: Vec<_> = EXPECTED.iter().filter(|(kind, door, outcome, least)| tally.of(kind, *door, *outcome) < *least).collect();
    assert!(missing.is_empty(), "too few of {missing:?}");
    // However often it asks.
    let most = HANDSHAKES + (lasted.as_millis() / HANDSHAKE_EVERY.as_millis()) as u64 + 1;
    let agreed = tally.of("handshakes", Door::Secure, Outcome::Agreed);
    assert!(agreed <= most, "one device agreed on TLS {agreed} times in {lasted:?}");
    promise.0.sort();
    for over_https in [false, true] {
        let took: Vec<_> = promise.0.iter().filter(|(_, what)| what.ends_with("over HTTPS") == over_https).collect();
        let (middle, worst) = (took[took.len() / 2].0, took[took.len() - 1]);
        let door = if over_https { "over HTTPS" } else { "over plain HTTP" };
        figure(&format!("{} answers to good customers {door}: {middle:.1?} median, {:.1?} at most ({})", took.len(), worst.0, worst.1));
        assert!(took.len() >= 20, "{} {door}", took.len());
    }

    // The router is as it was.
    until_true("every connection to be gone", SOON, || descriptors(pid) <= files).unwrap();
    assert_eq!(lab.lango.program.pid(), Some(pid));
    assert!(lab.lango.program.running());
    let (after, log) = (memory(pid), lab.lango.program.log());
    let new: Vec<&str> = log.lines().skip(lines).collect();
    figure(&format!("memory {before} KiB before, {highest} KiB at most, {after} KiB after; {} lines in the log", new.len()));
    assert!(after <= before + GROWS, "{before} KiB before, {after} KiB after");
    assert!(new.len() <= LINES, "{} lines, as {:#?}", new.len(), &new[..40]);
    assert!(!log.contains("panicked"), "{}", lab.lango.program.tail(60));
    let clean = |line: &&&str| line.len() > 400 || line.bytes().any(|byte| byte < b' ') || line.contains("guess");
    assert_eq!(new.iter().find(clean), None, "what strangers send is not in the log");
    assert_eq!(good.session().map(|session| session["package"].clone()), Some(Value::from("hour")));
    lab.money_is_service();
}
