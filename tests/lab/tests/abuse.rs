//! A day of abuse in half a minute: four devices, with many addresses each, do to the portal whatever the street knows, all at once. A
//! good customer's phone is served within a second throughout, and pays and goes online in the middle of it. Afterwards the router is as
//! it was: memory, file descriptors, log.

use lango_lab::Lab;
use lango_lab::http::Response;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::lab::figure;
use lango_lab::net::Namespace;
use lango_lab::phone::Phone;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::{until, until_true};
use lango_lab::world::{PORTAL_PORT, ROUTER4, ROUTER6};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);
/// What a customer's answer may take.
const PROMISED: Duration = Duration::from_secs(1);
/// Between two looks of his.
const PACE: Duration = Duration::from_millis(20);
/// How long it goes on at least.
const DAY: Duration = Duration::from_secs(25);
/// What the day may leave behind in memory, in KiB, and in the log.
const GROWS: u64 = 4 * 1024;
const LINES: usize = 100;
/// How long each bad thread rests between two deeds.
const REST: Duration = Duration::from_millis(6);
/// Further addresses that each bad device gives itself, in IPv4 and in IPv6; in IPv4 such as DHCP gives to nobody.
const ADDRESSES: u8 = 11;

/// What the bad devices have done, by kind: none of it may be nothing, or the test shows less than it says.
#[derive(Default)]
struct Deeds {
    connections: AtomicU64,
    garbage: AtomicU64,
    tricks: AtomicU64,
    slow: AtomicU64,
    unread: AtomicU64,
    pipelines: AtomicU64,
    posts: AtomicU64,
    refused: AtomicU64,
    streams: AtomicU64,
    resets: AtomicU64,
}

/// One bad device.
struct Bad<'a> {
    phone: &'a Phone,
    own: Vec<IpAddr>,
    over: &'a AtomicBool,
    deeds: &'a Deeds,
}

impl<'a> Bad<'a> {
    fn new(phone: &'a Phone, number: u8, over: &'a AtomicBool, deeds: &'a Deeds) -> Self {
        let mut own = vec![IpAddr::V4(phone.lease().address)];
        for n in 0..ADDRESSES {
            let four = format!("10.77.0.{}", 3 + number * ADDRESSES + n);
            let six = format!("2001:db8:77::bad:{number}:{n}");
            add(&phone.namespace, &format!("{four}/24"), false);
            add(&phone.namespace, &format!("{six}/64"), true);
            own.extend([four.parse::<IpAddr>().unwrap(), six.parse().unwrap()]);
        }
        Self { phone, own, over, deeds }
    }

    /// Does something over and over from each of its addresses in turn, until the day is over. To be called inside its namespace.
    fn again(&self, mut deed: impl FnMut(IpAddr, u64)) {
        for turn in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            deed(self.own[turn % self.own.len()], turn as u64);
            // They share the router's processors here, which real ones do not.
            std::thread::sleep(REST);
        }
    }
}

fn add(host: &Namespace, address: &str, six: bool) {
    let words = ["addr", "add", address, "dev", "eth0", "nodad"];
    host.ip(&words[..if six { 6 } else { 5 }]).unwrap_or_else(|e| panic!("{e:#}"));
}

/// A connection to the portal from one of a device's addresses. Who is refused comes again.
fn connect(from: IpAddr) -> Option<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt};
    use std::os::fd::AsRawFd as _;
    let (family, to) = match from {
        IpAddr::V4(_) => (AddressFamily::Inet, SocketAddr::new(ROUTER4.parse().ok()?, PORTAL_PORT)),
        IpAddr::V6(_) => (AddressFamily::Inet6, SocketAddr::new(ROUTER6.parse().ok()?, PORTAL_PORT)),
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).ok()?;
    setsockopt(&socket, sockopt::SendTimeout, &nix::sys::time::TimeVal::new(2, 0)).ok()?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &nix::sys::time::TimeVal::new(2, 0)).ok()?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0))).ok()?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).ok()?;
    Some(TcpStream::from(socket))
}

/// Says something on a connection of its own, and gives the status that it got.
fn say(from: IpAddr, bytes: &[u8]) -> Option<u16> {
    let mut stream = connect(from)?;
    stream.write_all(bytes).ok()?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).ok()?;
    std::str::from_utf8(&status[9..]).ok()?.parse().ok()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    // Whom it says to speak for is nobody's business.
    let lies = "X-Forwarded-For: 10.77.0.2\r\nForwarded: for=10.77.0.2\r\nX-Real-IP: 10.77.0.2\r\n";
    format!("POST {path} HTTP/1.1\r\nHost: portal.lan:8088\r\n{lies}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Noise, and what looks like a request from afar: everything must be refused, or answered with a redirect or an error.
fn tricks() -> Vec<Vec<u8>> {
    let portal = "Host: portal.lan:8088\r\n";
    let smuggled = "GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n";
    let mut all: Vec<Vec<u8>> = vec![
        b"GET /\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        format!("GET / HTTP/1.1\r\n{portal}X: {}\r\n\r\n", "a".repeat(60_000)).into_bytes(),
        format!("GET /{} HTTP/1.1\r\n{portal}\r\n", "a".repeat(60_000)).into_bytes(),
        format!("GET / HTTP/1.1\r\n{portal}{}\r\n", "a: b\r\n".repeat(9_000)).into_bytes(),
        [format!("GET / HTTP/1.1\r\n{portal}X: ").as_bytes(), &b"\0a".repeat(3_900), b"\r\n\r\n"].concat(),
        format!("GET http://example.org/ HTTP/1.1\r\n{portal}\r\n").into_bytes(),
        b"GET / HTTP/1.1\r\nHost: portal.lan@example.org\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: portal.lan\r\nHost: example.org\r\n\r\n".to_vec(),
        format!("POST /login HTTP/1.1\r\n{portal}Expect: 100-continue\r\nContent-Length: 8192\r\n\r\n").into_bytes(),
        format!("POST /login HTTP/1.1\r\n{portal}Content-Length: 18446744073709551615\r\n\r\n{smuggled}").into_bytes(),
        format!("POST /login HTTP/1.1\r\n{portal}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}").into_bytes(),
    ];
    for coding in ["chunked", "Chunked", "\tchunked", "chunked ", "x, chunked", "chunked\x0b", "\"chunked\""] {
        for name in ["Transfer-Encoding", "transfer-ENCODING", "Transfer-Encoding ", " Transfer-Encoding"] {
            for chunk in ["0\r\n\r\n", "ffffffffffffffff\r\n", "-1\r\n", "0x5\r\n", "5;a=b\r\nhello\r\n0\r\n\r\n"] {
                all.push(format!("POST /login HTTP/1.1\r\n{portal}{name}: {coding}\r\n\r\n{chunk}{smuggled}").into_bytes());
            }
        }
    }
    for path in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/buy/%00",
        "/buy/..%2f..",
        "/pay/%",
        "//example.org/",
        "/%0d%0aSet-Cookie:a=b",
        "/?lang=%0d%0aX:y",
    ] {
        all.push(format!("GET {path} HTTP/1.1\r\n{portal}\r\n").into_bytes());
    }
    all
}

/// Everything that bad devices do, each on a thread of its own, inside their namespace.
fn run<'scope>(scope: &'scope std::thread::Scope<'scope, '_>, bad: &'scope Bad<'scope>, username: &'scope str, guesses: bool) {
    let count = |deed: &AtomicU64| {
        deed.fetch_add(1, Ordering::Relaxed);
    };
    let deeds = bad.deeds;
    let start = move |deed: Box<dyn Fn() + Send + 'scope>| {
        scope.spawn(move || bad.phone.namespace.run(deed));
    };
    if guesses {
        // Guesses: passwords of a neighbour's account, vouchers, receipts; and prompts on other people's phones.
        start(Box::new(move || {
            bad.again(|from, turn| {
                let guess = match turn % 4 {
                    0 => post("/api/hotspot/login", &json!({"username": username, "password": format!("guess{turn}")}).to_string()),
                    1 => post("/api/vouchers/redeem", &json!({"code": format!("ABCD-EFGH-{turn:04}")}).to_string()),
                    2 => post(
                        "/api/payments/reclaim",
                        &json!({"receipt": format!("NLJ7RT{:04}", turn % 10_000), "phone": "0712345678"}).to_string(),
                    ),
                    _ => post("/api/payments", &json!({"package": "hour", "phone": format!("0799{:06}", turn % 1_000_000)}).to_string()),
                };
                count(&deeds.posts);
                if say(from, &guess) == Some(429) {
                    count(&deeds.refused);
                }
            });
        }));
        return;
    }
    // Connections that say nothing, as many as it gets, from all addresses.
    start(Box::new(move || {
        let mut held = VecDeque::new();
        bad.again(|from, _| {
            if let Some(stream) = connect(from) {
                held.push_back(stream);
                count(&deeds.connections);
            }
            if held.len() > 200 {
                held.pop_front();
            }
        });
    }));
    start(Box::new(move || {
        let mut noise: u64 = 0x9e37_79b9_7f4a_7c15;
        bad.again(|from, _| {
            let bytes: Vec<u8> = (0..2_000)
                .map(|_| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (noise >> 56) as u8
                })
                .collect();
            let status = say(from, &bytes);
            assert!(status.is_none_or(|status| (400..500).contains(&status)), "noise got {status:?}");
            count(&deeds.garbage);
        });
    }));
    start(Box::new(move || {
        let tricks = tricks();
        bad.again(|from, turn| {
            let trick = &tricks[turn as usize % tricks.len()];
            let status = say(from, trick);
            let fine =
                status.is_none_or(|status| status == 100 || (300..500).contains(&status) || trick.windows(6).any(|w| w == b"?lang="));
            assert!(fine, "{:?} got {status:?}", String::from_utf8_lossy(&trick[..trick.len().min(120)]));
            count(&deeds.tricks);
        });
    }));
    // Heads and bodies that come a byte at a time.
    start(Box::new(move || {
        let begins =
            ["GET / HTTP/1.1\r\nHost: portal.lan\r\nX: ", "POST /login HTTP/1.1\r\nHost: portal.lan\r\nContent-Length: 8000\r\n\r\n"];
        let mut trickles: Vec<TcpStream> = Vec::new();
        bad.again(|from, turn| {
            if trickles.len() < 60
                && let Some(mut stream) = connect(from)
                && stream.write_all(begins[turn as usize % 2].as_bytes()).is_ok()
            {
                trickles.push(stream);
            }
            trickles.retain_mut(|stream| stream.write_all(b"a").is_ok());
            count(&deeds.slow);
        });
    }));
    // Many requests at once, and answers that nobody reads.
    start(Box::new(move || {
        let flood = "GET / HTTP/1.1\r\nHost: portal.lan:8088\r\nAccept-Encoding: gzip\r\n\r\n".repeat(300);
        let mut unread = VecDeque::new();
        bad.again(|from, turn| {
            let Some(mut stream) = connect(from) else { return };
            let _closed = stream.write_all(flood.as_bytes());
            if turn % 2 == 0 {
                unread.push_back(stream);
                if unread.len() > 8 {
                    unread.pop_front();
                }
                count(&deeds.unread);
            } else {
                let _all = stream.take(200_000).read_to_end(&mut Vec::new());
                count(&deeds.pipelines);
            }
        });
    }));
    // Events of a payment of its own, on as many connections as it gets.
    start(Box::new(move || {
        let answer = bad.phone.try_portal("POST", "/api/payments", Some(&json!({"package": "hour", "phone": "0799999999"})));
        let Some(id) = answer.ok().and_then(|answer| answer.value()["payment"].as_str().map(str::to_owned)) else { return };
        let mut streams = VecDeque::new();
        bad.again(|from, _| {
            if let Some(mut stream) = connect(from)
                && stream.write_all(format!("GET /api/payments/{id}/events HTTP/1.1\r\nHost: portal.lan\r\n\r\n").as_bytes()).is_ok()
            {
                streams.push_back(stream);
                if streams.len() > 100 {
                    streams.pop_front();
                }
                count(&deeds.streams);
            }
        });
    }));
    // Half-closed connections, and some that end with a reset in the middle of an answer.
    start(Box::new(move || {
        bad.again(|from, turn| {
            let Some(mut stream) = connect(from) else { return };
            let _closed = stream.write_all(b"GET / HTTP/1.1\r\nHost: portal.lan:8088\r\n\r\n");
            if turn % 2 == 0 {
                let _half = stream.shutdown(std::net::Shutdown::Write);
                let _some = stream.read(&mut [0; 100]);
            }
            // Closing with the answer unread is a reset.
            drop(stream);
            count(&deeds.resets);
        });
    }));
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

#[test]
fn a_good_customer_is_served_within_a_second_through_a_day_of_abuse() {
    let lab = Lab::start();
    // Prompts on other people's phones are not answered by them.
    lab.safaricom.everybody(Customer::manual());
    for number in ["0712345678", "0722345678"] {
        lab.safaricom.customer(number, Customer::who(Answer::Pays));
    }
    let (good, neighbour) = (lab.joined_phone(), lab.joined_phone());
    let bad_phones = [lab.joined_phone(), lab.joined_phone(), lab.joined_phone(), lab.joined_phone()];
    let account = neighbour.await_paid(&neighbour.pay("day", "0722345678"));
    let credentials = json!({"username": account["username"], "password": account["password"]});
    let username = account["username"].as_str().unwrap();

    let pid = lab.lango.program.pid().unwrap();
    until_true("the portal to be at rest", SOON, || good.session().is_none()).unwrap();
    let (files, before, lines) = (descriptors(pid), memory(pid), lab.lango.program.log().lines().count());

    let (over, deeds, mut promise) = (AtomicBool::new(false), Deeds::default(), Promise(Vec::new()));
    let all: Vec<Bad> = (0..).zip(&bad_phones).map(|(number, phone)| Bad::new(phone, number, &over, &deeds)).collect();
    let mut highest = 0;
    std::thread::scope(|scope| {
        let _ending = Ending(&over);
        // One only guesses: those who take all the places that they may have are not even heard.
        all.iter().enumerate().for_each(|(number, bad)| run(scope, bad, username, number == 0));
        let begun = Instant::now();
        let mut look = |promise: &mut Promise| {
            let page = promise.kept("the page", || ask(&good, "GET", "/", None));
            assert!(page.status == 200 && page.text().contains("</html>"), "{}", page.status);
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

    for (deed, least) in [
        (&deeds.connections, 1_000),
        (&deeds.garbage, 100),
        (&deeds.tricks, 300),
        (&deeds.slow, 100),
        (&deeds.unread, 20),
        (&deeds.pipelines, 20),
        (&deeds.posts, 100),
        (&deeds.refused, 30),
        (&deeds.streams, 100),
        (&deeds.resets, 100),
    ] {
        assert!(deed.load(Ordering::Relaxed) >= least, "{:?} in {:?}", deed, deeds.all());
    }
    promise.0.sort();
    let (middle, worst) = (promise.0[promise.0.len() / 2].0, *promise.0.last().unwrap());
    figure(&format!(
        "{} answers to good customers: {middle:.1?} median, {:.1?} at most ({}); {:?}",
        promise.0.len(),
        worst.0,
        worst.1,
        deeds.all()
    ));

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

impl Deeds {
    fn all(&self) -> [(&'static str, u64); 10] {
        let of = |deed: &AtomicU64| deed.load(Ordering::Relaxed);
        [
            ("connections", of(&self.connections)),
            ("garbage", of(&self.garbage)),
            ("tricks", of(&self.tricks)),
            ("slow", of(&self.slow)),
            ("unread", of(&self.unread)),
            ("pipelines", of(&self.pipelines)),
            ("posts", of(&self.posts)),
            ("refused", of(&self.refused)),
            ("streams", of(&self.streams)),
            ("resets", of(&self.resets)),
        ]
    }
}
