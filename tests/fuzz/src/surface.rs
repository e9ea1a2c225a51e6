//! The portal's whole surface: bytes of a connection in, answers out. The portal is the real one, from the first byte to the last; behind
//! it is a desk that answers from the core's types, with texts that would like to be more than texts. No socket, and nobody waits.

use lango::portal::frame::{self, Frame};
use lango::portal::head::{Addressee, Head};
use lango::portal::{Backend, Ends, Limits, Own, Portal, PortalConfig, SecureName, Site};
use lango_core::account::Purchase;
use lango_core::message::Reason;
use lango_core::package::{self, Package};
use lango_core::request::{
    Answer, Failures, MyAccountView, MyDeviceView, PaymentStatus, PaymentView, ReceiptView, RedeemedView, Refusal, Request, SessionView,
    StartView, StatusView,
};
use lango_core::time::Wall;
use lango_core::tree::BTreeMap;
use lango_core::units::{Bytes, Kbps, Mac, Millis, OrderId, Password, Seconds, Shillings};
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{broadcast, watch};

const PHONE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 9));
const OTHER_PHONE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 8));
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
const HOST: &str = "portal.lan";
const URL: &str = "http://portal.lan:8088/";
/// The same over HTTPS.
const SECURE_HOST: &str = "kibera-7.hs.example.org";
const SECURE_URL: &str = "https://kibera-7.hs.example.org:8443/";
/// The user names of the two devices, which nobody else may read.
const OWN: [&str; 2] = ["zq4own1", "zq4own2"];
/// In every text that a customer, an operator or a server may have written. It is markup, and the end of a header, if it ever comes through.
const NASTY: &str = "<i>x</i>\"'&{{name}}\r\nSet-Cookie: a=b\r\n\r\n";
/// What must not be in a page.
const RAW: &[u8] = b"<i>x";

/// All headers that the portal ever sends.
const HEADERS: &[&str] = &[
    "Allow",
    "Cache-Control",
    "Connection",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Security-Policy",
    "Content-Type",
    "Location",
    "Referrer-Policy",
    "Retry-After",
    "Vary",
    "X-Content-Type-Options",
    "X-Frame-Options",
];
const STATUSES: &[&str] =
    &["200", "202", "302", "303", "400", "401", "403", "404", "405", "408", "409", "411", "413", "415", "422", "429", "431", "500", "503"];

const FIRST: Mac = Mac([2, 0, 0, 0, 0, 9]);
const SECOND: Mac = Mac([2, 0, 0, 0, 0, 8]);

fn own(device: Mac) -> &'static str {
    OWN[usize::from(device == SECOND)]
}

/// What the desk says: chosen by the input's first byte.
#[derive(Clone)]
struct Desk(Rc<Cell<u8>>, broadcast::Sender<OrderId>);

impl Desk {
    fn package(id: &str) -> Package {
        Package {
            id: id.parse().expect("an id"),
            label: NASTY.to_owned(),
            price: Shillings(10),
            limits: package::Limits {
                time: Some(Millis::from_minutes(60)),
                data: Some(Bytes::from_megabytes(500)),
                down: Some(Kbps(5_000)),
                up: None,
                devices: 2,
            },
        }
    }

    fn session(device: Mac) -> SessionView {
        SessionView {
            username: own(device).parse().expect("a name"),
            package: "hour".parse().expect("an id"),
            started_at: Some(Wall::EARLIEST),
            seconds_remaining: Some(Seconds(3_540)),
            bytes_remaining: Some(Bytes(u64::MAX)),
            bytes_up: Bytes(0),
            bytes_down: Bytes(u64::MAX),
            devices: 1,
            until: Some(Wall(u64::MAX)),
            seconds_in_all: Some(Seconds(u64::MAX)),
            bytes_in_all: None,
        }
    }

    fn refusal(&self) -> Refusal {
        let retry_after = Seconds(u64::from(self.0.get()));
        match self.0.get() % 11 {
            0 => Refusal::TooManyRequests { retry_after },
            1 => Refusal::Crowded { retry_after },
            2 => Refusal::BadCredentials,
            3 => Refusal::DeviceLimit,
            4 => Refusal::Expired,
            5 => Refusal::UnknownReceipt,
            6 => Refusal::NotServed,
            7 => Refusal::VoucherUsed,
            8 => Refusal::LoginOffline,
            9 => Refusal::PaymentsOffline,
            _ => Refusal::NotStored,
        }
    }

    fn payment(&self, device: Mac, order: OrderId) -> PaymentView {
        let status = [PaymentStatus::Pending, PaymentStatus::Paid, PaymentStatus::Failed, PaymentStatus::Expired]
            [usize::from(self.0.get() >> 4 & 3)];
        let paid = status == PaymentStatus::Paid;
        PaymentView {
            payment: order,
            status,
            reason: (status == PaymentStatus::Failed).then_some(Reason::WrongPin),
            receipt: paid.then(|| "NLJ7RT61SV".parse().expect("a receipt")),
            connected: paid,
            username: paid.then(|| own(device).parse().expect("a name")),
            password: paid.then(|| Password::new("<i>x&\"'").expect("a password")),
            package: Some(Self::package("hour")),
            phone: "0712345678".parse().ok(),
            given_up: self.0.get() & 8 != 0,
            before: paid.then_some(usize::from(self.0.get() & 1)),
        }
    }
}

impl Backend for Desk {
    async fn ask(&self, request: Request) -> Answer {
        let (refuses, online) = (self.0.get() & 1 != 0, self.0.get() & 2 != 0);
        let order = || "0000000000000000000000000a".parse().expect("an order");
        match request {
            Request::Packages => Answer::Packages(vec![Self::package("hour"), Self::package("day")]),
            Request::Status => Answer::Status(StatusView {
                name: NASTY.to_owned(),
                version: String::new(),
                running_for: Millis(1),
                clock: None,
                gate: true,
                flow_offload: None,
                broker: true,
                payments: self.0.get() & 4 != 0,
                devices_online: 0,
                accounts_open: 0,
                payments_pending: 0,
                outbox: 0,
                accounting: None,
                accounting_refused: 0,
                unserved: 0,
                suspicions: 0,
                failures: Failures::default(),
                update: None,
                certificate: None,
            }),
            Request::CheckSession { device } => Answer::CheckSession(online.then(|| Self::session(device))),
            // Now and then all that a customer sees is refused.
            Request::Start { .. } if self.0.get() == 253 => Answer::Refused(Refusal::NotStored),
            Request::Start { device } => Answer::Start(Box::new(StartView {
                session: device.filter(|_| online).map(Self::session),
                latest: device.filter(|_| !refuses).map(|device| self.payment(device, order())),
                used_up: device.filter(|_| self.0.get() & 0x18 == 0x18).map(|_| "hour".parse().expect("an id")),
                packages: vec![Self::package("hour"), Self::package("day")],
                payments: self.0.get() & 4 != 0,
                vouchers: self.0.get() & 8 != 0,
                phone: device.and_then(|_| "0712345678".parse().ok()),
            })),
            Request::MyAccount { device } => Answer::MyAccount(online.then(|| MyAccountView {
                session: Self::session(device),
                password: Password::new("<i>x&\"'").ok(),
                devices_at_most: 2,
                devices: vec![
                    MyDeviceView { device, this: true, online_since: Some(Wall::EARLIEST), bytes_up: Bytes(1), bytes_down: Bytes(2) },
                    MyDeviceView { device: Mac([6; 6]), this: false, online_since: None, bytes_up: Bytes(1), bytes_down: Bytes(2) },
                ],
                queued: vec![Purchase { package: "gone".parse().expect("an id"), limits: Self::package("day").limits }],
                receipts: vec![ReceiptView {
                    receipt: "NLJ7RT61SV".parse().expect("a receipt"),
                    label: NASTY.to_owned(),
                    amount: Shillings(10),
                    at: Some(Wall::EARLIEST),
                }],
            })),
            _ if refuses => match self.0.get() {
                // A login server's own words.
                255 => Answer::Denied(NASTY.to_owned()),
                _ => Answer::Refused(self.refusal()),
            },
            Request::Pay { device, .. } => Answer::Payment(self.payment(device, order())),
            Request::PaymentStatus { device, order } | Request::GiveUp { device, order } => Answer::Payment(self.payment(device, order)),
            Request::Login { device, .. } | Request::Reclaim { device, .. } => Answer::Session(Self::session(device)),
            Request::Redeem { device, .. } => {
                Answer::Redeemed(RedeemedView { session: Self::session(device), password: Password::new("<i>x&\"'").expect("a password") })
            }
            Request::Mistyped { .. } => Answer::Refused(Refusal::UnknownVoucher),
            Request::Logout { .. } | Request::LogoutOther { .. } => Answer::Done,
            operators => panic!("customers do not ask {operators:?}"),
        }
    }
    async fn device_of(&self, address: IpAddr) -> Option<Mac> {
        (self.0.get() & 0xc0 != 0xc0).then_some(if address == PHONE { FIRST } else { SECOND })
    }
    async fn names(&self) -> BTreeMap<Mac, String> {
        BTreeMap::from([(Mac([6; 6]), "<i>x</i>\"'&".to_owned())])
    }
    fn payment_changes(&self) -> broadcast::Receiver<OrderId> {
        self.1.subscribe()
    }
}

struct World {
    runtime: tokio::runtime::Runtime,
    portal: Portal<Desk>,
    state: Rc<Cell<u8>>,
    _config: watch::Sender<PortalConfig>,
}

impl World {
    fn new() -> Self {
        let state = Rc::new(Cell::new(0));
        // Who is online is asked at each request: no connection is a new one.
        let limits = Limits { fresh: Duration::ZERO, ..Limits::default() };
        let site = Arc::new(Site::new(Own::default()));
        let https = Some(SecureName { host: SECURE_HOST.to_owned(), url: SECURE_URL.to_owned() });
        let config = PortalConfig { name: NASTY.to_owned(), host: HOST.to_owned(), port: 8088, https, site, limits };
        let (sender, config) = watch::channel(config);
        let desk = Desk(state.clone(), broadcast::channel(4).0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { runtime, portal: Portal::new(config, desk), state, _config: sender }
    }

    /// What is answered to these bytes, which arrive in pieces of that size; then the client has nothing more to say.
    fn answers(&self, bytes: &[u8], piece: usize, peer: IpAddr, secure: bool) -> Vec<u8> {
        let (client, server) = tokio::io::duplex(1 << 20);
        let (mut from, mut to) = tokio::io::split(client);
        let mut answers = Vec::new();
        let talk = async {
            let says = async {
                for piece in bytes.chunks(piece) {
                    // The portal may have closed before it heard all.
                    if to.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                let _closed = to.shutdown().await;
            };
            let ends = Ends { peer, local: |_: &_| Some(ROUTER), secure };
            tokio::join!(self.portal.converse(server, ends), says, async {
                from.read_to_end(&mut answers).await.expect("memory can be read")
            })
        };
        self.runtime.block_on(talk);
        answers
    }
}

/// The first byte is what the desk says, the second how the rest arrives: in pieces of what size, over HTTPS or plain, and from which device.
/// What the second device says the first one has said before it. The rest is all that one connection sends.
pub(crate) fn surface(bytes: &[u8]) {
    thread_local!(static WORLD: RefCell<Option<World>> = const { RefCell::new(None) });
    let [state, way, sent @ ..] = bytes else { return };
    let (secure, second, piece) = (way & 0x80 != 0, way & 0x40 != 0, usize::from(way & 0x3f));
    let piece = if piece == 0 { usize::MAX } else { piece };
    WORLD.with_borrow_mut(|world| {
        let world = world.get_or_insert_with(World::new);
        world.state.set(*state);
        for peer in [PHONE, OTHER_PHONE].into_iter().take(1 + usize::from(second)) {
            let answers = world.answers(sent, piece, peer, secure);
            check(sent, &answers, *state, secure);
            let other = OWN[usize::from(peer == PHONE)].as_bytes();
            let has_it = |bytes: &[u8]| bytes.windows(other.len()).any(|window| window == other);
            assert!(!has_it(&answers) || has_it(sent), "it reads what is another device's");
        }
    });
}

/// Reads the answers as a strict client does, beside the requests that they answer.
fn check(mut sent: &[u8], mut answers: &[u8], state: u8, secure: bool) {
    while !answers.is_empty() {
        if let Some(rest) = answers.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n") {
            answers = rest;
            continue;
        }
        let asked = frame::find(sent, &mut 0);
        let answer = Reading::of(answers);
        assert!(STATUSES.contains(&answer.status), "status {}", answer.status);
        let Ok(Some(Frame { head, begins, body })) = asked else {
            assert!(asked.is_err(), "half a request was answered: {}", answer.head);
            assert!(matches!(answer.status, "400" | "411" | "413" | "431") && answer.header("Connection") == Some("close"));
            assert_eq!(answer.json(), b"", "it went on behind a request that has no end");
            return;
        };
        assert!(sent.len() >= begins + body, "a body that had not come was answered");
        sent = &sent[begins + body..];
        answers = answer.fits(&head, state, secure);
        if answer.header("Connection") == Some("close") {
            assert_eq!(answers, b"", "it went on behind its last answer");
            return;
        }
    }
    // Nothing was said to what is left of it: it is half a request, or one that the gate will let through on a new connection.
    match frame::find(sent, &mut 0) {
        Ok(Some(Frame { head, begins, body })) if sent.len() >= begins + body => {
            let passes = is_online(state) && head.addressee(host(secure), || Some(ROUTER)) == Addressee::Elsewhere;
            assert!(passes, "silence to a whole request: {} {}", head.method, head.path);
        }
        Ok(_) => {}
        Err(fault) => panic!("silence to what is no request: {fault:?}"),
    }
}

const fn is_online(state: u8) -> bool {
    state & 2 != 0 && state & 0xc0 != 0xc0
}

const fn host(secure: bool) -> &'static str {
    if secure { SECURE_HOST } else { HOST }
}

struct Reading<'a> {
    status: &'a str,
    head: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    rest: &'a [u8],
}

impl<'a> Reading<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer's head ends");
        let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
        assert!(head.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n')), "{head}");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a status line").trim_end();
        let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line}"))).collect();
        for (at, (name, value)) in headers.iter().enumerate() {
            assert!(HEADERS.contains(name), "{name} is none of ours");
            assert!(!value.contains(['\r', '\n']) && !headers[..at].iter().any(|(other, _)| other == name), "{head}");
        }
        Self { status, head, headers, rest: &bytes[end + 4..] }
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// What is behind a body that must be JSON.
    fn json(&self) -> &'a [u8] {
        let length: usize = self.header("Content-Length").and_then(|length| length.parse().ok()).expect("a length");
        let (body, rest) = self.rest.split_at_checked(length).expect("a whole body");
        drop(serde_json::from_slice::<serde_json::Value>(body).expect("it is JSON"));
        rest
    }

    /// Whether the answer is one to that request; gives what is behind it.
    fn fits(&self, head: &Head, state: u8, secure: bool) -> &'a [u8] {
        let url = if secure { SECURE_URL } else { URL };
        assert_eq!(self.header("X-Content-Type-Options"), Some("nosniff"), "{}", self.head);
        let kind = self.header("Content-Type").expect("a type");
        if let Some(to) = self.header("Location") {
            let own = to == url || to.starts_with('/') && !to.starts_with("//") && to.bytes().all(|b| matches!(b, b'!'..=b'~'));
            assert!(own && matches!(self.status, "302" | "303"), "{}", self.head);
        }
        if head.addressee(host(secure), || Some(ROUTER)) == Addressee::Elsewhere {
            assert_eq!((self.status, self.header("Location")), ("302", Some(url)), "{} {}", head.method, head.path);
            assert!(!is_online(state), "who is online is not sent to the portal");
        }
        if kind == "text/event-stream" && head.method != "HEAD" {
            let events = std::str::from_utf8(self.rest).expect("events are text");
            assert!(events.split_inclusive("\n\n").all(|event| event.starts_with("data: {") && event.ends_with("}\n\n")), "{events}");
            return b"";
        }
        let length: usize = self.header("Content-Length").and_then(|length| length.parse().ok()).expect("a length");
        let length = if head.method == "HEAD" { 0 } else { length };
        let (body, rest) = self.rest.split_at_checked(length).expect("a whole body");
        if body.is_empty() {
            return rest;
        }
        match kind {
            "application/json" | "application/captive+json" => assert_eq!(self.json().len(), rest.len()),
            "text/html; charset=utf-8" => {
                // In gzip's answers, too: what is filled in is stored there as it is.
                assert!(!body.windows(RAW.len()).any(|window| window == RAW), "a text became markup");
                let page = self.header("Location").is_none();
                assert!(!page || self.header("Content-Security-Policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
                assert!(!page || self.header("X-Frame-Options") == Some("DENY"));
                assert_eq!(self.header("Content-Encoding").is_some(), page && head.gzip);
            }
            other => panic!("{other} is no type of ours"),
        }
        rest
    }
}
