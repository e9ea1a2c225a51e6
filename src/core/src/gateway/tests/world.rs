//! A world for the stories: it carries effects out as the daemon does, and remembers what was said.

use crate::gate::{GateAccount, GateChange, GateId, Traffic, Usage};
use crate::gateway::Gateway;
use crate::message::{Down, DownBody, Outcome, PaymentUpdate, Reason, Up, UpBody, VERSION};
use crate::package::{Limits, Package};
use crate::radius::RadiusOrder;
use crate::record::{Change, Record};
use crate::request::{Answer, AskId, PaymentView, Request, SessionView, VoucherView};
use crate::settings::{Outage, Settings};
use crate::step::{Effect, Entropy, Input};
use crate::time::{BootId, Monotonic, Now, Wall};
use crate::tree::BTreeMap;
use crate::units::{Bytes, Kbps, Mac, Millis, OrderId, RouterName, Shillings};
use crate::voucher::{NewVouchers, VoucherCode};

pub const ALICE: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
pub const BOB: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
pub const PHONE: &str = "0712345678";
pub const MINUTE: u64 = 60_000;
pub const HOUR: u64 = 60 * MINUTE;

pub struct World {
    pub gateway: Gateway,
    pub store: BTreeMap<String, Vec<u8>>,
    pub gate: BTreeMap<GateId, GateAccount>,
    /// What the kernel counted for each device in the gate.
    pub counted: BTreeMap<(GateId, Mac), Traffic>,
    pub sent: Vec<Up>,
    /// What RADIUS servers were asked and told.
    pub radius: Vec<RadiusOrder>,
    /// The settings with which the rules begin anew.
    pub settings: Settings,
    pub log: Vec<String>,
    pub at: u64,
    /// The router's own clock, right or wrong.
    pub wall: Option<u64>,
    /// What time it is: the relay's clock.
    pub truth: u64,
    pub boot: BootId,
    /// The kernel's neighbour table.
    neighbours: BTreeMap<u8, (Mac, bool)>,
    asks: u64,
    dice: u64,
    relay_seq: u64,
}

pub fn package(id: &str, price: u64, minutes: Option<u64>, megabytes: Option<u64>, devices: u8) -> Package {
    Package {
        id: id.parse().unwrap(),
        label: id.to_owned(),
        price: Shillings(price),
        limits: Limits {
            time: minutes.map(Millis::from_minutes),
            data: megabytes.map(Bytes::from_megabytes),
            down: None,
            up: None,
            devices,
        },
    }
}

/// Vouchers, and their codes.
pub fn made_vouchers(batch: &str, package: &str, many: u8, expires: Option<u64>) -> (NewVouchers, Vec<VoucherCode>) {
    let salt: RouterName = "kibera-7".parse().unwrap();
    let name: Vec<usize> = batch.bytes().map(usize::from).collect();
    let byte = |i: usize, n: u8| u8::try_from((name[i % 6] * 7 + i * 37 + usize::from(n) * (1 + i % 5)) % 256).unwrap();
    let code = |n: u8| VoucherCode::from_entropy(&Entropy(std::array::from_fn(|i| byte(i, n)))).unwrap();
    let codes: Vec<VoucherCode> = (0..many).map(code).collect();
    let hashes = codes.iter().map(|code| code.hash(&salt)).collect();
    let expires = expires.map(Wall);
    (NewVouchers { batch: batch.parse().unwrap(), package: package.parse().unwrap(), salt, expires, first: 1, hashes }, codes)
}

fn slow(package: Package) -> Package {
    Package { limits: Limits { down: Some(Kbps(1_000)), up: Some(Kbps(500)), ..package.limits }, ..package }
}

pub fn settings() -> Settings {
    Settings {
        name: "kibera-7".parse().unwrap(),
        packages: vec![
            package("hour", 10, Some(60), None, 1),
            package("mega", 20, None, Some(100), 1),
            package("both", 30, Some(60), Some(100), 1),
            package("family", 50, Some(60), None, 3),
            slow(package("slow", 10, Some(60), None, 1)),
            slow(package("slow_mega", 10, None, Some(100), 1)),
            slow(package("slow_both", 10, Some(60), Some(100), 1)),
        ],
        outage: Outage::Pause,
        checkpoint: crate::gateway::CHECKPOINT_EVERY,
        relay: true,
        end_notice: None,
        radius: None,
        version: "0.1.0".to_owned(),
    }
}

impl World {
    /// A router that just started, with nothing known and nobody there.
    pub fn new() -> Self {
        let boot = BootId::from("boot-1");
        let now = Now { monotonic: Monotonic(10_000), wall: Some(Wall(1_795_340_000_000)) };
        Self {
            gateway: Gateway::load(settings(), [], boot.clone(), now),
            store: BTreeMap::new(),
            gate: BTreeMap::new(),
            counted: BTreeMap::new(),
            sent: Vec::new(),
            radius: Vec::new(),
            settings: settings(),
            log: Vec::new(),
            at: 10_000,
            wall: Some(1_795_340_000_000),
            truth: 1_900_000_010_000, // the relay's clock is not ours
            boot,
            neighbours: BTreeMap::new(),
            asks: 0,
            dice: 0,
            relay_seq: 0,
        }
    }

    /// Online with the relay, and Alice's phone on the Wi-Fi.
    pub fn ready() -> Self {
        let mut world = Self::new();
        world.connect();
        world.arrives(ALICE, 100);
        world
    }

    pub fn now(&self) -> Now {
        Now { monotonic: Monotonic(self.at), wall: self.wall.map(Wall) }
    }

    /// One step; its effects are carried out, and given back.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        self.dice += 1;
        let mut seed = self.dice.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let entropy = Entropy(std::array::from_fn(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            u8::try_from(seed >> 56).unwrap()
        }));
        if let Input::Usage(usage) | Input::LastCounts(usage) = &input {
            self.counted.extend(usage.iter().map(|usage| ((usage.id, usage.mac), usage.traffic)));
        }
        let effects = self.gateway.handle(input, self.now(), &entropy);
        self.gateway.assert_indexed(); // in every story, the model's random ones, too
        self.carry_out(&effects);
        effects
    }

    fn carry_out(&mut self, effects: &[Effect]) {
        let rank = |effect: &Effect| match effect {
            Effect::Persist(_) => 0,
            Effect::Gate(_) => 1,
            Effect::ReadUsage => 2,
            Effect::Probe { .. } => 3,
            Effect::Radius(_) | Effect::Update(..) => 4,
            Effect::Publish(_) => 5,
            Effect::Reply(..) => 6,
            Effect::PaymentChanged(_) => 7,
            Effect::Log(_) => 8,
        };
        assert!(effects.is_sorted_by_key(rank), "effects out of order: {effects:?}");
        for effect in effects {
            match effect {
                Effect::Persist(changes) => {
                    for change in changes {
                        match change {
                            Change::Put(record) => drop(self.store.insert(record.key().0, record.encode())),
                            Change::Delete(key) => drop(self.store.remove(&key.0)),
                        }
                    }
                }
                Effect::Gate(changes) => {
                    for change in changes {
                        match change {
                            GateChange::Set(account) => drop(self.gate.insert(account.id, account.clone())),
                            GateChange::Remove(id) => drop(self.gate.remove(id)),
                        }
                    }
                }
                Effect::Radius(order) => self.radius.push(order.clone()),
                Effect::Publish(up) => self.sent.push(up.clone()),
                Effect::Log(line) => {
                    // Whole or masked; a made user name may well have a 254 in it.
                    let numbers = ["712345678", "722000999", "2547*"];
                    assert!(!numbers.iter().any(|number| line.contains(number)), "a phone number in the log: {line}");
                    self.log.push(line.clone());
                }
                Effect::ReadUsage | Effect::Probe { .. } | Effect::Update(..) | Effect::Reply(..) | Effect::PaymentChanged(_) => {}
            }
        }
    }

    /// Time passes; whatever is due on the way happens when it is due.
    pub fn pass(&mut self, milliseconds: u64) {
        let end = self.at + milliseconds;
        while let Some(due) = self.gateway.poll_timeout().filter(|due| due.0 <= end) {
            self.jump_to(due.0.max(self.at));
            let effects = self.step(Input::Tick);
            if effects.contains(&Effect::ReadUsage) {
                self.read();
            }
        }
        self.jump_to(end);
    }

    fn jump_to(&mut self, at: u64) {
        self.wall = self.wall.map(|wall| wall + (at - self.at));
        self.truth += at - self.at;
        self.at = at;
    }

    pub fn ask(&mut self, request: Request) -> Answer {
        self.asks += 1;
        let ask = AskId(self.asks);
        let effects = self.step(Input::Ask(ask, request));
        let reply = effects.into_iter().find_map(|effect| match effect {
            Effect::Reply(to, answer) if to == ask => Some(answer),
            _ => None,
        });
        reply.expect("every question gets an answer")
    }

    pub fn arrives(&mut self, mac: Mac, host: u8) {
        self.seen(mac, host, true);
    }

    pub fn leaves(&mut self, mac: Mac, host: u8) {
        self.seen(mac, host, false);
    }

    fn seen(&mut self, mac: Mac, host: u8, present: bool) {
        self.neighbours.insert(host, (mac, present));
        self.step(Input::Neighbour { mac, address: [10, 77, 0, host].into(), present });
    }

    /// The broker connects, and the relay answers the hello.
    pub fn connect(&mut self) {
        self.connect_slowly(0);
    }

    /// The same, but the answer takes so long, and tells the time at which it was made: at once.
    pub fn connect_slowly(&mut self, milliseconds: u64) {
        let effects = self.step(Input::Link { connected: true });
        let nonce = effects.iter().find_map(|effect| match effect {
            Effect::Publish(Up { body: UpBody::Hello { nonce, .. }, .. }) => Some(nonce.clone()),
            _ => None,
        });
        let made = self.truth;
        self.pass(milliseconds);
        let now = std::mem::replace(&mut self.truth, made);
        self.relay(DownBody::Welcome { nonce: nonce.expect("a hello at each connection") });
        self.truth = now;
    }

    pub fn relay(&mut self, body: DownBody) -> Vec<Effect> {
        self.relay_seq += 1;
        let down = Down {
            v: VERSION,
            id: format!("m-{}", self.relay_seq).parse().unwrap(),
            seq: self.relay_seq,
            router: "kibera-7".parse().unwrap(),
            at: Wall(self.truth),
            body,
        };
        self.step(Input::Relay(down))
    }

    pub fn pay(&mut self, device: Mac, package: &str) -> OrderId {
        match self.try_pay(device, package) {
            Answer::Payment(view) => view.payment,
            other => panic!("expected a payment, got {other:?}"),
        }
    }

    pub fn try_pay(&mut self, device: Mac, package: &str) -> Answer {
        let language = Some("sw".parse().unwrap());
        self.ask(Request::Pay { device, package: package.parse().unwrap(), phone: PHONE.parse().unwrap(), language })
    }

    /// Safaricom confirmed it, says the relay.
    pub fn paid(&mut self, order: &OrderId, package: &str, device: Mac, receipt: &str, amount: u64) -> Vec<Effect> {
        self.outcome(order, package, device, Outcome::Paid { receipt: receipt.parse().unwrap(), amount: Shillings(amount) })
    }

    pub fn failed(&mut self, order: &OrderId, device: Mac, reason: Reason) -> Vec<Effect> {
        self.outcome(order, "hour", device, Outcome::Failed { reason })
    }

    fn outcome(&mut self, order: &OrderId, package: &str, device: Mac, outcome: Outcome) -> Vec<Effect> {
        let (package, phone) = (package.parse().unwrap(), PHONE.parse().unwrap());
        self.relay(DownBody::Payment(PaymentUpdate { order: order.clone(), package, device, phone, outcome }))
    }

    /// The device buys the package and it is paid at once.
    pub fn buys(&mut self, device: Mac, package: &str, receipt: &str) -> PaymentView {
        let order = self.pay(device, package);
        self.paid(&order, package, device, receipt, 1_000);
        self.status(device, &order)
    }

    pub fn status(&mut self, device: Mac, order: &OrderId) -> PaymentView {
        match self.ask(Request::PaymentStatus { device, order: order.clone() }) {
            Answer::Payment(view) => view,
            other => panic!("expected a payment, got {other:?}"),
        }
    }

    pub fn session(&mut self, device: Mac) -> Option<SessionView> {
        match self.ask(Request::CheckSession { device }) {
            Answer::CheckSession(session) => session,
            other => panic!("expected a session, got {other:?}"),
        }
    }

    pub fn login(&mut self, device: Mac, view: &PaymentView) -> Answer {
        let (username, password) = (view.username.clone().unwrap(), view.password.clone().unwrap());
        self.ask(Request::Login { device, username, password, replace: false })
    }

    /// The operator makes so many vouchers, as `lango vouchers create` does.
    pub fn vouchers(&mut self, batch: &str, package: &str, many: u8) -> Vec<VoucherCode> {
        let (new, codes) = made_vouchers(batch, package, many, None);
        let answer = self.ask(Request::AddVouchers(new));
        assert!(matches!(answer, Answer::VouchersAdded(_)), "{answer:?}");
        codes
    }

    pub fn redeem(&mut self, device: Mac, code: VoucherCode) -> Answer {
        self.ask(Request::Redeem { device, code })
    }

    pub fn voucher_list(&mut self) -> Vec<VoucherView> {
        let Answer::Vouchers(list) = self.ask(Request::Vouchers) else { panic!("no list") };
        list
    }

    /// The kernel counted so many bytes in all for the device.
    pub fn used(&mut self, device: Mac, up: u64, down: u64) {
        let id = self.gate.values().find(|account| account.devices.contains_key(&device)).expect("a device in the gate").id;
        let traffic = Traffic { up: Bytes(up), down: Bytes(down) };
        self.step(Input::Usage(vec![Usage { id, mac: device, traffic }]));
    }

    /// The same, and the daemon does not hear of it before it reads the counters next.
    pub fn used_unheard(&mut self, device: Mac, up: u64, down: u64) {
        let id = self.in_gate(device).expect("a device in the gate").id;
        self.counted.insert((id, device), Traffic { up: Bytes(up), down: Bytes(down) });
    }

    pub fn in_gate(&self, device: Mac) -> Option<&GateAccount> {
        self.gate.values().find(|account| account.devices.contains_key(&device))
    }

    pub fn records(&self) -> Vec<Record> {
        self.store.iter().map(|(key, value)| Record::decode(key, value).expect("what was written can be read")).collect()
    }

    /// `kill -9`: the daemon starts again from the store, in the same boot; the kernel keeps its gate.
    pub fn killed(&mut self) {
        self.gateway = Gateway::load(self.settings.clone(), self.records(), self.boot.clone(), self.now());
        self.sent.clear();
        self.radius.clear();
        self.begin();
        // The daemon hands in what the gate and the neighbour table of the kernel still know.
        let present = self.neighbours.iter().filter(|(_, (_, present))| *present);
        let here = present.map(|(host, (mac, _))| (*mac, [10, 77, 0, *host].into())).collect();
        let devices = self.gate.values().flat_map(|account| account.devices.iter());
        let served = devices.flat_map(|(mac, device)| device.addresses.iter().map(|address| (*mac, *address))).collect();
        self.step(Input::Lan { here, served });
    }

    /// The daemon is gone for so long: time passes, the kernel goes on with what it holds, and nobody listens.
    pub fn dead(&mut self, milliseconds: u64) {
        self.jump_to(self.at + milliseconds);
        self.killed();
    }

    /// The power goes, and comes back after so long: another boot, an empty kernel, nobody seen yet.
    pub fn power_cut(&mut self, milliseconds: u64, settings: Settings) {
        self.wall = self.wall.map(|wall| wall + milliseconds);
        self.truth += milliseconds;
        self.at = 5_000; // with what the machine needed until the daemon ran
        self.boot = BootId::from(format!("{}+", self.boot.as_str()).as_str());
        self.gate.clear();
        self.counted.clear();
        self.neighbours.clear();
        self.sent.clear();
        self.radius.clear();
        self.gateway = Gateway::load(settings, self.records(), self.boot.clone(), self.now());
        self.begin();
    }

    /// What a daemon does first: what is due is done, and where the rules want the counters for it they get them.
    fn begin(&mut self) {
        let effects = self.step(Input::Tick);
        if effects.contains(&Effect::ReadUsage) {
            self.read();
        }
    }

    /// The daemon reads the kernel's counters: of who is in the gate.
    fn read(&mut self) {
        let devices = self.gate.values().flat_map(|account| account.devices.keys().map(|mac| (account.id, *mac)));
        let counted = devices.filter_map(|key| self.counted.get(&key).map(|traffic| (key, *traffic)));
        let usage = counted.map(|((id, mac), traffic)| Usage { id, mac, traffic }).collect();
        self.step(Input::Usage(usage));
    }

    pub fn requests_sent(&self) -> usize {
        self.sent.iter().filter(|up| matches!(up.body, UpBody::PaymentRequest(_))).count()
    }
}
