//! A portal on the loopback, and what is behind it: a stand-in for the daemon that keeps packages, payments and accounts in
//! memory and answers as the core does. Phones are addresses in 127.0.0.0/8: the one that a client binds to is the one that
//! the portal sees.

use lango::portal::{Backend, Doors, Limits, Own, PortalConfig, SecureName, Site, serve};
use lango_core::account::Purchase;
use lango_core::language::Language;
use lango_core::message::Reason;
use lango_core::package::{self, Package};
use lango_core::request::{
    Answer, Failures, MyAccountView, MyDeviceView, PaymentStatus, PaymentView, ReceiptView, RedeemedView, Refusal, Request, SessionView,
    StartView, StatusView, Typed,
};
use lango_core::time::Wall;
use lango_core::tree::BTreeMap;
use lango_core::units::{Bytes, Kbps, Mac, Millis, OrderId, PackageId, Password, Seconds, Shillings};
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::{JoinHandle, LocalSet};

/// The phone that most tests use.
pub const PHONE: &str = "127.0.0.2";
/// Another one.
pub const OTHER_PHONE: &str = "127.0.0.3";
/// An address that is no neighbour.
pub const STRANGER: &str = "127.0.0.1";

/// What the portal is called over HTTPS, where it has a certificate.
pub const SECURE_HOST: &str = "kibera-7.hs.example.org";

/// The one good voucher.
pub const VOUCHER: &str = "ABCD-EFGH-JKMN";

/// What the stand-in keeps.
pub struct Shop {
    pub packages: RefCell<Vec<Package>>,
    pub payments: RefCell<Vec<(Mac, PaymentView)>>,
    pub sessions: RefCell<BTreeMap<Mac, SessionView>>,
    pub online: Cell<bool>,
    /// Answers every request with this, where it is set.
    pub refuses: Cell<Option<Refusal>>,
    /// The language of the customer who asked to pay last.
    pub spoken: Cell<Option<Language>>,
    pub panics: Cell<bool>,
    /// While it is set nothing is answered: those who asked wait.
    pub busy: watch::Sender<bool>,
    /// Who waits for that.
    waiting: watch::Sender<usize>,
    /// How often it was asked whether a device is online.
    pub looks: Cell<u32>,
    /// What was bought last by those who have nothing left.
    pub used_up: RefCell<BTreeMap<Mac, PackageId>>,
    /// What devices call themselves.
    pub names: RefCell<BTreeMap<Mac, String>>,
    /// Who has an address that is not its first owner's any more.
    pub moved: RefCell<BTreeMap<IpAddr, Mac>>,
    /// Whose each address is as last heard, where something was.
    pub heard: RefCell<BTreeMap<IpAddr, Mac>>,
    /// How often it was asked for the start page.
    pub starts: Cell<u32>,
    /// Whether what it holds is not stored yet: then the start page must be asked for.
    pub unsettled: Cell<bool>,
    /// What waits on the account behind what is in use.
    pub queued: RefCell<Vec<Purchase>>,
    /// What was paid for the account.
    pub receipts: RefCell<Vec<ReceiptView>>,
    /// When sessions end, by the router's clock.
    pub until: Cell<Option<Wall>>,
    /// Whether there are vouchers.
    pub vouchers: Cell<bool>,
    /// Whether the device has mistyped too often already.
    pub tired: Cell<bool>,
    /// Whether the one good voucher is used.
    pub redeemed: Cell<bool>,
    changes: broadcast::Sender<OrderId>,
}

#[derive(Clone)]
pub struct Handle(pub Rc<Shop>);

pub fn mac(address: IpAddr) -> Mac {
    let IpAddr::V4(address) = address else { panic!("the tests speak IPv4") };
    let [a, b, c, d] = address.octets();
    Mac([2, 0, a, b, c, d])
}

pub fn phone() -> Mac {
    mac(PHONE.parse().unwrap())
}

impl Shop {
    pub fn new() -> Rc<Self> {
        let package = |id: &str, label: &str, price, minutes: Option<u64>, megabytes: Option<u64>, down: Option<u64>, devices| Package {
            id: id.parse().unwrap(),
            label: label.to_owned(),
            price: Shillings(price),
            limits: package::Limits {
                time: minutes.map(Millis::from_minutes),
                data: megabytes.map(Bytes::from_megabytes),
                down: down.map(Kbps),
                up: down.map(|down| Kbps(down / 2)),
                devices,
            },
        };
        Rc::new(Self {
            packages: RefCell::new(vec![
                package("hour", "1 hour", 10, Some(60), Some(500), Some(5_000), 1),
                package("day", "Day & night <all>", 50, Some(1_440), None, Some(5_000), 1),
                package("bundle", "2 GB", 100, None, Some(2_000), None, 2),
                package("month", "Family month", 1_500, Some(43_200), Some(100_000), Some(20_000), 5),
            ]),
            payments: RefCell::default(),
            sessions: RefCell::default(),
            online: Cell::new(true),
            refuses: Cell::new(None),
            panics: Cell::new(false),
            busy: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
            looks: Cell::new(0),
            spoken: Cell::new(None),
            used_up: RefCell::default(),
            names: RefCell::default(),
            moved: RefCell::default(),
            heard: RefCell::new([PHONE, OTHER_PHONE].map(|address| address.parse().unwrap()).map(|address| (address, mac(address))).into()),
            starts: Cell::new(0),
            unsettled: Cell::new(false),
            queued: RefCell::default(),
            receipts: RefCell::default(),
            until: Cell::new(None),
            vouchers: Cell::new(false),
            tired: Cell::new(false),
            redeemed: Cell::new(false),
            changes: broadcast::channel(16).0,
        })
    }

    pub fn session(&self, username: &str) -> SessionView {
        SessionView {
            username: username.parse().unwrap(),
            package: "hour".parse().unwrap(),
            started_at: Some(Wall::EARLIEST),
            seconds_remaining: Some(Seconds(3_540)),
            bytes_remaining: Some(Bytes(499_000_000)),
            bytes_up: Bytes(120_000),
            bytes_down: Bytes(880_000),
            devices: 1,
            until: self.until.get(),
            seconds_in_all: Some(Seconds(3_540)),
            bytes_in_all: Some(Bytes(499_000_000)),
        }
    }

    /// Changes a payment and tells whoever watches it.
    pub fn change(&self, order: &OrderId, change: impl FnOnce(&mut PaymentView)) {
        change(&mut self.payments.borrow_mut().iter_mut().find(|(_, view)| view.payment == *order).unwrap().1);
        self.tell(order);
    }

    pub fn tell(&self, order: &OrderId) {
        // Nobody may be watching.
        let _ = self.changes.send(order.clone());
    }

    pub fn pay(&self, order: &OrderId) {
        let device = self.payments.borrow().iter().find(|(_, view)| view.payment == *order).unwrap().0;
        self.sessions.borrow_mut().insert(device, self.session("kito42"));
        self.change(order, |view| {
            view.status = PaymentStatus::Paid;
            view.receipt = Some("NLJ7RT61SV".parse().unwrap());
            view.connected = true;
            view.before = Some(0);
            view.username = Some("kito42".parse().unwrap());
            view.password = Some(Password::new("k7m2p9").unwrap());
        });
    }

    pub fn fail(&self, order: &OrderId, reason: Reason) {
        self.change(order, |view| {
            view.status = PaymentStatus::Failed;
            view.reason = Some(reason);
        });
    }

    pub fn watchers(&self) -> usize {
        self.changes.receiver_count()
    }

    /// Waits until so many have asked while it was busy.
    pub async fn asked(&self, so_many: usize) {
        let mut waiting = self.waiting.subscribe();
        let all = waiting.wait_for(|waiting| *waiting >= so_many);
        tokio::time::timeout(crate::client::PATIENCE, all).await.expect("they do not ask").unwrap();
    }

    fn answer(&self, request: Request) -> Answer {
        if let Some(refusal) = self.refuses.get() {
            return Answer::Refused(refusal);
        }
        match request {
            Request::Packages => Answer::Packages(self.packages.borrow().clone()),
            Request::Status => Answer::Status(StatusView {
                name: "kibera-7".to_owned(),
                version: "0.1.0".to_owned(),
                running_for: Millis(1),
                clock: None,
                gate: true,
                flow_offload: None,
                update: None,
                certificate: None,
                broker: self.online.get(),
                payments: self.online.get(),
                devices_online: 0,
                accounts_open: 0,
                payments_pending: 0,
                outbox: 0,
                accounting: None,
                accounting_refused: 0,
                unserved: 0,
                suspicions: 0,
                failures: Failures::default(),
            }),
            Request::Pay { .. } if !self.online.get() => Answer::Refused(Refusal::PaymentsOffline),
            Request::Pay { device, package, phone, language } => {
                self.spoken.set(language);
                let Some(package) = self.packages.borrow().iter().find(|known| known.id == package).cloned() else {
                    return Answer::Refused(Refusal::UnknownPackage);
                };
                let mut payments = self.payments.borrow_mut();
                let same = |(owner, view): &&(Mac, PaymentView)| {
                    *owner == device && view.status == PaymentStatus::Pending && view.package.as_ref() == Some(&package)
                };
                if let Some((_, view)) = payments.iter().find(same) {
                    return Answer::Payment(view.clone());
                }
                let view = PaymentView {
                    payment: format!("{:0>26}", payments.len() + 1).parse().unwrap(),
                    status: PaymentStatus::Pending,
                    reason: None,
                    receipt: None,
                    connected: false,
                    username: None,
                    password: None,
                    package: Some(package),
                    phone: Some(phone),
                    given_up: false,
                    before: None,
                };
                payments.push((device, view.clone()));
                Answer::Payment(view)
            }
            Request::PaymentStatus { device, order } => {
                let payments = self.payments.borrow();
                let found = payments.iter().find(|(owner, view)| *owner == device && view.payment == order);
                found.map_or(Answer::Refused(Refusal::UnknownPayment), |(_, view)| Answer::Payment(view.clone()))
            }
            Request::GiveUp { device, order } => {
                let mut payments = self.payments.borrow_mut();
                let found = payments.iter_mut().find(|(owner, view)| *owner == device && view.payment == order);
                found.map_or(Answer::Refused(Refusal::UnknownPayment), |(_, view)| {
                    if view.status == PaymentStatus::Pending {
                        (view.status, view.given_up) = (PaymentStatus::Expired, true);
                    }
                    Answer::Payment(view.clone())
                })
            }
            Request::Login { device, username, password, replace } => {
                let refusal = match (username.as_str(), password.reveal()) {
                    ("kito42", "k7m2p9") => {
                        let session = self.session("kito42");
                        self.sessions.borrow_mut().insert(device, session.clone());
                        return Answer::Session(session);
                    }
                    ("full", _) if replace => {
                        self.sessions.borrow_mut().insert(device, self.session("full"));
                        return Answer::Session(self.session("full"));
                    }
                    ("full", _) => Refusal::DeviceLimit,
                    ("empty", _) => Refusal::Expired,
                    ("eager", _) => Refusal::TooManyRequests { retry_after: Seconds(90) },
                    _ => Refusal::BadCredentials,
                };
                Answer::Refused(refusal)
            }
            Request::Reclaim { device, receipt, phone } => match (receipt.as_str(), phone.digits().as_str()) {
                ("NLJ7RT61SV", "254712345678") => {
                    let session = self.session("kito42");
                    self.sessions.borrow_mut().insert(device, session.clone());
                    Answer::Session(session)
                }
                ("RKL51ZDR4F", _) => Answer::Refused(Refusal::NotServed),
                ("RKL51ZDR4G", _) => Answer::Refused(Refusal::NoAnswer),
                _ => Answer::Refused(Refusal::UnknownReceipt),
            },
            Request::Logout { device } => match self.sessions.borrow_mut().remove(&device) {
                Some(_) => Answer::Done,
                None => Answer::Refused(Refusal::NotOnline),
            },
            Request::Redeem { device, code } => {
                let refusal = match code.reveal().as_str() {
                    VOUCHER if !self.redeemed.replace(true) => {
                        let session = self.session("vera77");
                        self.sessions.borrow_mut().insert(device, session.clone());
                        return Answer::Redeemed(RedeemedView { session, password: Password::new("v7m2p9").unwrap() });
                    }
                    VOUCHER => Refusal::VoucherUsed,
                    "EXPR-EDXX-XXXX" => Refusal::VoucherExpired,
                    "REVK-EDXX-XXXX" => Refusal::VoucherRevoked,
                    "EAGE-RXXX-XXXX" => Refusal::TooManyRequests { retry_after: Seconds(90) },
                    _ => Refusal::UnknownVoucher,
                };
                Answer::Refused(refusal)
            }
            Request::Mistyped { .. } if self.tired.get() => Answer::Refused(Refusal::TooManyRequests { retry_after: Seconds(90) }),
            Request::Mistyped { what, .. } => Answer::Refused(match what {
                Typed::Voucher => Refusal::UnknownVoucher,
                Typed::Receipt => Refusal::UnknownReceipt,
                Typed::Credentials => Refusal::BadCredentials,
            }),
            Request::MyAccount { device } => Answer::MyAccount(self.sessions.borrow().get(&device).map(|session| {
                let same = |(_, other): &(&Mac, &SessionView)| other.username == session.username;
                let view = |mac: &Mac| MyDeviceView {
                    device: *mac,
                    this: *mac == device,
                    online_since: Some(Wall::EARLIEST),
                    bytes_up: Bytes(1),
                    bytes_down: Bytes(2_000_000),
                };
                MyAccountView {
                    session: session.clone(),
                    password: (session.username.as_str() == "vera77").then(|| Password::new("v7m2p9").unwrap()),
                    devices_at_most: 3,
                    devices: self.sessions.borrow().iter().filter(same).map(|(mac, _)| view(mac)).collect(),
                    queued: self.queued.borrow().clone(),
                    receipts: self.receipts.borrow().clone(),
                }
            })),
            Request::LogoutOther { device, other } => {
                let mut sessions = self.sessions.borrow_mut();
                let name = |mac| sessions.get(mac).map(|session| session.username.clone());
                if name(&device).is_none() || name(&device) != name(&other) {
                    return Answer::Refused(Refusal::NotOnline);
                }
                sessions.remove(&other);
                Answer::Done
            }
            Request::CheckSession { device } => {
                self.looks.set(self.looks.get() + 1);
                Answer::CheckSession(self.sessions.borrow().get(&device).cloned())
            }
            Request::Start { device } => {
                self.starts.set(self.starts.get() + 1);
                let latest = |device| self.payments.borrow().iter().rev().find(|(owner, _)| *owner == device).map(|(_, view)| view.clone());
                let number = |device| {
                    let payments = self.payments.borrow();
                    payments.iter().rev().find(|(owner, view)| *owner == device && !view.given_up).and_then(|(_, view)| view.phone)
                };
                Answer::Start(Box::new(StartView {
                    session: device.and_then(|device| self.sessions.borrow().get(&device).cloned()),
                    latest: device.and_then(latest),
                    used_up: device.and_then(|device| self.used_up.borrow().get(&device).cloned()),
                    packages: self.packages.borrow().clone(),
                    payments: self.online.get(),
                    vouchers: self.vouchers.get(),
                    phone: device.and_then(number),
                }))
            }
            operator => panic!("customers do not ask {operator:?}"),
        }
    }
}

impl Backend for Handle {
    async fn ask(&self, request: Request) -> Answer {
        // As with the daemon, the answer comes from another task's turn.
        tokio::task::yield_now().await;
        assert!(!self.0.panics.get(), "this handler was told to panic");
        if *self.0.busy.borrow() {
            self.0.waiting.send_modify(|waiting| *waiting += 1);
            self.0.busy.subscribe().wait_for(|busy| !busy).await.expect("it is there as long as we are");
        }
        self.0.answer(request)
    }
    fn common_start<T>(&self, device: Mac, look: impl FnOnce(&[Package], bool) -> T) -> Option<T> {
        let shop = &self.0;
        let has_own = |device| {
            shop.sessions.borrow().contains_key(&device)
                || shop.payments.borrow().iter().any(|(owner, _)| *owner == device)
                || shop.used_up.borrow().contains_key(&device)
        };
        let asks = shop.unsettled.get() || shop.refuses.get().is_some() || shop.panics.get() || has_own(device);
        (!asks).then(|| look(&shop.packages.borrow(), shop.online.get()))
    }
    fn device_heard(&self, address: IpAddr) -> Option<Mac> {
        self.0.heard.borrow().get(&address).copied()
    }
    async fn device_of(&self, address: IpAddr) -> Option<Mac> {
        if let Some(owner) = self.0.moved.borrow().get(&address) {
            return Some(*owner);
        }
        (address != STRANGER.parse::<IpAddr>().unwrap()).then(|| mac(address))
    }
    async fn names(&self) -> BTreeMap<Mac, String> {
        self.0.names.borrow().clone()
    }
    fn payment_changes(&self) -> broadcast::Receiver<OrderId> {
        self.0.changes.subscribe()
    }
}

/// A portal that runs.
pub struct World {
    pub address: SocketAddr,
    pub shop: Rc<Shop>,
    pub config: watch::Sender<PortalConfig>,
    pub stop: Option<oneshot::Sender<()>>,
    pub portal: JoinHandle<()>,
}

/// Runs a test inside what the portal needs: one thread, and tasks that stay on it.
pub fn within(limits: Limits, test: impl AsyncFnOnce(World)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        test(World::open(listener, limits)).await;
    });
}

impl World {
    pub fn open(doors: impl Into<Doors>, limits: Limits) -> Self {
        let doors = doors.into();
        let address = doors.plain.local_addr().unwrap();
        let https = doors.secure.as_ref().map(|secure| {
            let port = secure.listener.local_addr().unwrap().port();
            SecureName { host: SECURE_HOST.to_owned(), url: format!("https://{SECURE_HOST}:{port}/") }
        });
        let shop = Shop::new();
        let (config, watched) = watch::channel(PortalConfig {
            site: Arc::new(Site::new(Own::default())),
            name: "Mama's <Wi-Fi> & Café".to_owned(),
            host: "portal.lan".to_owned(),
            port: address.port(),
            https,
            limits,
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let backend = Handle(shop.clone());
        let portal = tokio::task::spawn_local(serve(doors, watched, backend, async {
            let _ = stopped.await;
        }));
        Self { address, shop, config, stop: Some(stop), portal }
    }

    pub fn url(&self) -> String {
        format!("http://portal.lan:{}/", self.address.port())
    }

    /// Connects from a phone's address.
    pub async fn connect(&self, from: &str) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }
}
