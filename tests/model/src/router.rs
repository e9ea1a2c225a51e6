//! A router of the model: the real rules, a store, and a kernel that goes on by itself. What the daemon does is done here as it
//! does it (docs/house.md): effects in their order, and a crash between any two of them.

use crate::random::Random;
use lango_core::account::{Account, Clock};
use lango_core::gate::{GateAccount, GateChange, GateId};
use lango_core::gateway::{CHECKPOINT_EVERY, Gateway};
use lango_core::message::Up;
use lango_core::package::{Limits, Package};
use lango_core::record::{Change, Record};
use lango_core::request::{Answer, AskId, Request};
use lango_core::settings::{Outage, Settings};
use lango_core::step::{Effect, Entropy, Input};
use lango_core::time::{BootId, Monotonic, Now, Wall};
use lango_core::units::{Kbps, Mac, Millis, RouterName, Shillings};
use std::collections::BTreeMap;

/// What packages are called.
pub const PACKAGES: [&str; 3] = ["hour", "slow", "short"];
/// How long each is, in milliseconds.
const TIMES: [u64; 3] = [3_600_000, 3_600_000, 600_000];
/// Devices at each router.
pub const DEVICES: u8 = 4;
/// The wall clock of the cloud when all begins.
pub const DAWN: u64 = 1_795_340_000_000;

/// A router.
pub struct Router {
    /// Its name.
    pub name: RouterName,
    /// What the store has.
    pub store: BTreeMap<String, Record>,
    /// Whether the broker can be reached.
    pub net: bool,
    /// Whether something that it said, or was told, was lost on a connection that stayed.
    pub suffered: bool,
    /// Whether it has power.
    pub powered: bool,
    /// Its next step dies after so many effects.
    pub crash: Option<u8>,
    /// Its next write fails.
    pub store_fails: bool,
    /// What it says, for the broker.
    pub says: Vec<Up>,
    /// Whether nothing starts the program again by itself.
    pub stays_dead: bool,
    /// Devices that are there.
    pub here: [bool; DEVICES as usize],
    /// Its wall clock's distance from the cloud's, in milliseconds.
    pub clock: Option<i64>,
    /// Whether it sells all of its packages.
    pub sells_all: bool,
    gateway: Option<Gateway>,
    kernel: BTreeMap<GateId, GateAccount>,
    number: u8,
    boots: u64,
    booted_at: u64,
    asks: u64,
    random: Random,
    /// Time that was used, in milliseconds: the kernel let somebody pass.
    used: u64,
    /// How far the sum may be off, because the program died between the store and the gate.
    slack: u64,
    /// Accounts of which the kernel was not told because the program died; while it is dead their time is nobody's.
    untold: u64,
    /// Time that was not written down: the program was dead, or its writes failed.
    unwritten: u64,
    /// When the program died.
    dead_since: Option<u64>,
}

/// The packages of a router.
fn settings(name: &RouterName, all: bool) -> Settings {
    let package = |number: usize| Package {
        id: PACKAGES[number].parse().unwrap(),
        label: PACKAGES[number].to_owned(),
        price: Shillings(10 * (number as u64 + 1)),
        limits: Limits {
            time: Some(Millis(TIMES[number])),
            data: None,
            down: (number == 1).then_some(Kbps(1_000)),
            up: None,
            devices: if number == 2 { 2 } else { 1 },
        },
    };
    Settings {
        name: name.clone(),
        packages: (usize::from(!all)..PACKAGES.len()).map(package).collect(),
        outage: Outage::Pause,
        checkpoint: lango_core::gateway::CHECKPOINT_EVERY,
        relay: true,
        end_notice: None,
        version: "model".to_owned(),
    }
}

impl Router {
    /// A router that has just started for the first time.
    #[must_use]
    pub fn new(number: u8, seed: u64, now: u64) -> Self {
        let mut router = Self {
            name: format!("router-{number}").parse().unwrap(),
            store: BTreeMap::new(),
            net: true,
            suffered: false,
            powered: true,
            crash: None,
            store_fails: false,
            says: Vec::new(),
            stays_dead: false,
            here: [true; DEVICES as usize],
            clock: Some(0),
            sells_all: true,
            gateway: None,
            kernel: BTreeMap::new(),
            number,
            boots: 1,
            booted_at: now,
            asks: 0,
            random: Random::new(seed ^ u64::from(number)),
            used: 0,
            slack: 0,
            untold: 0,
            unwritten: 0,
            dead_since: None,
        };
        router.start(now);
        router
    }

    /// The address of one of its devices.
    #[must_use]
    pub fn mac(&self, device: u8) -> Mac {
        Mac([2, 0, 0, 0, self.number, device])
    }

    /// Whether the program runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.gateway.is_some()
    }

    /// The time, as the router sees it.
    fn now(&self, at: u64) -> Now {
        let wall = self.clock.and_then(|off| (DAWN + at).checked_add_signed(off)).and_then(Wall::if_plausible);
        Now { monotonic: self.monotonic(at), wall }
    }

    fn monotonic(&self, at: u64) -> Monotonic {
        Monotonic(5_000 + at - self.booted_at)
    }

    fn boot(&self) -> BootId {
        BootId::from(format!("boot-{}", self.boots).as_str())
    }

    /// When it wants to be woken.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        let due = self.gateway.as_ref()?.poll_timeout()?;
        Some((due.0 + self.booted_at).saturating_sub(5_000))
    }

    /// When the program is started again: procd does so after five seconds.
    #[must_use]
    pub fn starts_at(&self) -> Option<u64> {
        self.dead_since.filter(|_| self.powered && !self.stays_dead).map(|since| since + 5_000)
    }

    /// The program starts, where there is power.
    pub fn start(&mut self, at: u64) {
        if !self.powered {
            (self.powered, self.booted_at) = (true, at);
        }
        if self.gateway.is_some() {
            return;
        }
        self.stays_dead = false;
        let since = self.dead_since.take().map_or(0, |since| at - since.max(self.booted_at));
        self.unwritten += since;
        // As the store gives them: from their bytes.
        let records = self.store.iter().map(|(key, record)| Record::decode(key, &record.encode()).expect("what was written can be read"));
        let gateway = Gateway::load(settings(&self.name, self.sells_all), records.collect::<Vec<_>>(), self.boot(), self.now(at));
        self.gateway = Some(gateway);
        self.step(Input::Tick, at);
        for device in 0..DEVICES {
            if self.here[usize::from(device)] {
                self.seen(device, true, at);
            }
        }
        if let Some(gateway) = &self.gateway {
            self.kernel = gateway.desired_gate().into_iter().map(|account| (account.id, account)).collect();
            self.untold = 0;
        }
        if self.net {
            self.step(Input::Link { connected: true }, at);
        }
    }

    /// The program is killed.
    pub fn kill(&mut self, at: u64) {
        if self.gateway.take().is_some() {
            self.dead_since = Some(at);
        }
        self.crash = None;
    }

    /// The power goes: what was used and not written down is forgotten, in the customers' favour.
    ///
    /// # Errors
    /// When more is forgotten than may be.
    pub fn power_cut(&mut self, at: u64) -> Result<(), String> {
        if !self.powered {
            return Ok(());
        }
        self.kill(at);
        let dead = self.dead_since.map_or(0, |since| at - since);
        let before = self.left(at);
        (self.powered, self.booted_at) = (false, at);
        self.boots += 1;
        let after = self.left(at);
        self.kernel.clear();
        self.untold = 0;
        self.dead_since = Some(at);
        let accounts = self.accounts().count() as u64;
        let forgotten = after.saturating_sub(before);
        let most = accounts * (CHECKPOINT_EVERY.0 + dead + self.unwritten);
        self.unwritten = 0;
        if after + self.slack < before || forgotten > most {
            return Err(format!("{}: the power cut turned {before} ms left into {after}; at most {most} may be forgotten", self.name));
        }
        // What was forgotten beyond the kernel's own count is slack that was there already.
        let (used, over) = (self.used.saturating_sub(forgotten), forgotten.saturating_sub(self.used));
        self.used = used;
        self.slack += over;
        Ok(())
    }

    /// One step of the rules, carried out; the answer, where something was asked.
    pub fn step(&mut self, input: Input, at: u64) -> Option<Answer> {
        let now = self.now(at);
        let entropy = Entropy(std::array::from_fn(|_| u8::try_from(self.random.below(256)).unwrap_or(0)));
        let effects = self.gateway.as_mut()?.handle(input, now, &entropy);
        let crash = self.crash.take();
        let mut answer = None;
        let mut read_usage = false;
        for effect in effects {
            match effect {
                Effect::Persist(changes) => {
                    if crash == Some(0) {
                        self.kill(at);
                        return None;
                    }
                    if std::mem::take(&mut self.store_fails) {
                        // The daemon throws away what the rules hold and takes up what is stored.
                        self.unwritten += CHECKPOINT_EVERY.0;
                        self.kill(at);
                        self.start(at);
                        return None;
                    }
                    for change in changes {
                        match change {
                            Change::Put(record) => drop(self.store.insert(record.key().0, *record)),
                            Change::Delete(key) => drop(self.store.remove(&key.0)),
                        }
                    }
                }
                Effect::Gate(changes) => {
                    if crash.is_some_and(|after| after <= 1) {
                        self.untold += changes.len() as u64;
                        self.kill(at);
                        return None;
                    }
                    for change in changes {
                        match change {
                            GateChange::Set(account) => drop(self.kernel.insert(account.id, account)),
                            GateChange::Remove(id) => drop(self.kernel.remove(&id)),
                        }
                    }
                }
                Effect::ReadUsage => read_usage = true,
                Effect::Publish(up) => {
                    if crash.is_some() {
                        self.kill(at);
                        return None;
                    }
                    if self.net {
                        self.says.push(up);
                    }
                }
                Effect::Reply(_, reply) => answer = Some(reply),
                _ => {}
            }
        }
        if crash.is_some() {
            self.kill(at);
            return None;
        }
        if read_usage {
            self.step(Input::Usage(Vec::new()), at);
        }
        answer
    }

    /// Somebody asks.
    pub fn ask(&mut self, request: Request, at: u64) -> Option<Answer> {
        self.asks += 1;
        self.step(Input::Ask(AskId(self.asks), request), at)
    }

    /// A device comes or goes.
    pub fn seen(&mut self, device: u8, present: bool, at: u64) {
        self.here[usize::from(device)] = present;
        let address = [10, 77, self.number, 100 + device].into();
        self.step(Input::Neighbour { mac: self.mac(device), address, present }, at);
    }

    /// The operator sells other things.
    pub fn sells(&mut self, all: bool, at: u64) {
        self.sells_all = all;
        self.step(Input::Reconfigured(settings(&self.name, all)), at);
    }

    /// Time passes in the kernel: whoever is in the gate uses it.
    pub fn use_up(&mut self, from: u64, to: u64) {
        if !self.powered {
            return;
        }
        let (start, end) = (self.monotonic(from).0, self.monotonic(to).0);
        for account in self.kernel.values().filter(|account| !account.devices.is_empty()) {
            let until = account.until.map_or(end, |until| until.0.min(end));
            self.used += until.saturating_sub(start);
        }
        self.slack += self.untold * (to - from);
    }

    /// The accounts in the store.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.store.values().filter_map(|record| match record {
            Record::Account(account) => Some(account),
            _ => None,
        })
    }

    /// The money that the store has: receipt, order, and whether it was served.
    pub fn money(&self) -> impl Iterator<Item = &lango_core::ledger::LedgerEntry> {
        self.store.values().filter_map(|record| match record {
            Record::Ledger(entry) => Some(entry),
            _ => None,
        })
    }

    /// Time that is left on all accounts.
    fn left(&self, at: u64) -> u64 {
        let boot = self.boot();
        let now = self.monotonic(at);
        let noted = self.store.values().find_map(|record| match record {
            Record::Checkpoint(checkpoint) => Some(checkpoint),
            _ => None,
        });
        let of = |account: &Account| {
            let queued = || account.purchases.iter().skip(1).filter_map(|purchase| purchase.limits.time).map(|time| time.0).sum::<u64>();
            match (&account.clock, account.purchases.is_empty()) {
                (_, true) | (Clock::Unlimited, _) => 0,
                (Clock::Stopped { left }, _) => left.0 + queued(),
                (Clock::Running { boot: own, ends, .. }, _) if *own == boot => Monotonic(ends.0 + queued()).since(now).0,
                // Of another boot: what is written down, with the account or for all that ran then.
                (clock @ Clock::Running { ends, .. }, _) => clock.ran_until(noted).map_or(0, |(_, until)| ends.since(until).0) + queued(),
            }
        };
        self.accounts().map(of).sum()
    }

    /// The promises that hold at every moment.
    ///
    /// # Errors
    /// With what does not hold.
    pub fn check(&self, at: u64) -> Result<(), String> {
        let name = &self.name;
        if let Some(gateway) = &self.gateway {
            let mut desired = gateway.desired_gate();
            desired.sort_by_key(|account| account.id);
            if !desired.iter().eq(self.kernel.values()) {
                return Err(format!("{name}: the kernel has {:?} and should have {desired:?}", self.kernel));
            }
            let now = self.monotonic(at);
            let mut online: Vec<Mac> = Vec::new();
            for account in &desired {
                if account.until.is_none_or(|until| until <= now) {
                    return Err(format!("{name}: somebody passes who has nothing left: {account:?}"));
                }
                online.extend(account.devices.keys().copied());
            }
            let count = online.len();
            online.sort();
            online.dedup();
            if online.len() != count {
                return Err(format!("{name}: a device is in the gate twice"));
            }
        }
        let time = |id: &str| PACKAGES.iter().position(|known| *known == id).map_or(0, |number| TIMES[number]);
        let paid: u64 = self.money().filter(|entry| entry.account.is_some()).map(|entry| time(entry.package.as_str())).sum();
        let (used, left) = (self.used, self.left(at));
        if (used + left).abs_diff(paid) > self.slack {
            return Err(format!("{name}: paid {paid} ms, used {used}, left {left} (slack {})", self.slack));
        }
        Ok(())
    }

    /// What the operator is shown.
    pub fn payments(&mut self, at: u64) -> Vec<lango_core::request::OperatorPaymentView> {
        match self.ask(Request::Payments, at) {
            Some(Answer::Payments(views)) => views,
            other => panic!("payments were asked for, and the answer is {other:?}"),
        }
    }

    /// Requests that the relay has not acknowledged.
    #[must_use]
    pub fn outbox(&self) -> usize {
        self.store.values().filter(|record| matches!(record, Record::Outbox(_))).count()
    }
}
