//! A router of the model: the real rules, a store, and a kernel that goes on by itself. What the daemon does is done here as it
//! does it (docs/house.md): effects in their order, and a crash between any two of them.

use crate::kernel::{Kernel, Passed};
use crate::lies::{Liar, Lie};
use crate::random::Random;
use crate::service::{Moment, Service, Store};
use crate::sold;
use lango_core::account::Account;
use lango_core::gate::{GateAccount, GateChange, Usage};
use lango_core::gateway::{CHECKPOINT_EVERY, Gateway};
use lango_core::message::Up;
use lango_core::record::{Change, Record};
use lango_core::request::{Answer, AskId, Request};
use lango_core::settings::{Outage, Settings};
use lango_core::step::{Effect, Entropy, Input};
use lango_core::time::{BootId, Monotonic, Now, Wall};
use lango_core::units::{Mac, RouterName};

/// Devices at each router.
pub const DEVICES: u8 = 4;
/// The wall clock of the cloud when all begins.
pub const DAWN: u64 = 1_795_340_000_000;

/// A router.
pub struct Router {
    /// Its name.
    pub name: RouterName,
    /// What the store has.
    pub store: Store,
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
    /// What was paid for on its accounts, and what was given.
    pub service: Service,
    /// What was answered, in its order.
    pub answers: Vec<(AskId, Answer)>,
    liar: Liar,
    gateway: Option<Gateway>,
    kernel: Kernel,
    /// Since when the program runs.
    runs_since: u64,
    number: u8,
    boots: u64,
    booted_at: u64,
    asks: u64,
    visitors: u16,
    random: Random,
    /// Time that was not written down: the program was dead, or its writes failed.
    unwritten: u64,
    /// When the program died.
    dead_since: Option<u64>,
    /// Whether the program is at its start, and has not compared the gate yet.
    taking_over: bool,
}

/// What its configuration says. The second router lets paid time go on while it is off.
fn settings(name: &RouterName, number: u8, all: bool) -> Settings {
    Settings {
        name: name.clone(),
        packages: sold::list(all),
        outage: if number == 1 { Outage::Run } else { Outage::Pause },
        checkpoint: CHECKPOINT_EVERY,
        relay: true,
        end_notice: None,
        radius: None,
        version: "model".to_owned(),
    }
}

impl Router {
    /// A router that has just started for the first time.
    #[must_use]
    pub fn new(number: u8, seed: u64, now: u64, liar: Liar) -> Self {
        let mut router = Self {
            name: format!("router-{number}").parse().unwrap(),
            store: Store::new(),
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
            service: Service::default(),
            answers: Vec::new(),
            liar,
            gateway: None,
            kernel: Kernel::default(),
            runs_since: now,
            number,
            boots: 1,
            booted_at: now,
            asks: 0,
            visitors: 0,
            random: Random::new(seed ^ u64::from(number)),
            unwritten: 0,
            dead_since: None,
            taking_over: false,
        };
        router.start(now);
        router
    }

    /// The address of one of its devices.
    #[must_use]
    pub fn mac(&self, device: u8) -> Mac {
        Mac([2, 0, 0, 0, self.number, device])
    }

    /// An address that nobody had yet; some come a second time.
    pub fn visitor(&mut self) -> Mac {
        self.visitors = (self.visitors + 1) % 30;
        Mac([2, 0, 0, 0, self.number, 100 + u8::try_from(self.visitors).unwrap_or(0)])
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

    fn moment(&self, at: u64) -> Moment {
        Moment { at, boot: self.boot(), monotonic: self.monotonic(at) }
    }

    fn boot(&self) -> BootId {
        BootId::from(format!("boot-{}", self.boots).as_str())
    }

    /// When it wants to be woken.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        let mut due = self.gateway.as_ref()?.poll_timeout()?;
        if self.liar.tells(Lie::NobodyWakes) {
            return None;
        }
        if self.liar.tells(Lie::EndOfTimeUnnoticed) {
            due = self.kernel.accounts().filter_map(|account| account.until).min()?;
        }
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
        (self.stays_dead, self.runs_since) = (false, at);
        let since = self.dead_since.take().unwrap_or(at);
        self.unwritten += at - since.max(self.booted_at);
        self.service.was_off(&self.store, at - since, &self.boot());
        let unsure: Vec<_> = self.service.unsure().cloned().collect();
        for record in self.store.values_mut() {
            if let Record::Account(account) = record
                && unsure.contains(&account.username)
                && self.liar.tells(Lie::CrashCosts)
            {
                account.clock.take(lango_core::units::Millis::from_minutes(10));
            }
        }
        self.service.program_starts(&self.store, &self.kernel, &self.moment(at));
        // As the store gives them: from their bytes.
        let records = self.store.iter().map(|(key, record)| Record::decode(key, &record.encode()).expect("what was written can be read"));
        let settings = settings(&self.name, self.number, self.sells_all);
        self.gateway = Some(Gateway::load(settings, records.collect::<Vec<_>>(), self.boot(), self.now(at)));
        // The daemon learns what the kernel and the LAN know before it changes anything there; a crash meanwhile changes nothing.
        self.taking_over = true;
        self.step(Input::Tick, at);
        for device in 0..DEVICES {
            if self.here[usize::from(device)] {
                self.seen(device, true, at);
            }
        }
        self.step(Input::Usage(self.kernel.usage()), at);
        for id in self.kernel.depleted() {
            self.step(Input::Depleted(id), at);
        }
        self.taking_over = false;
        if let Some(gateway) = &self.gateway {
            let last = self.kernel.reconcile(self.liar.desired(gateway.desired_gate()));
            self.service.kernel_has_heard();
            if !last.is_empty() {
                self.step(Input::LastCounts(last), at);
            }
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
        (self.crash, self.taking_over) = (None, false);
    }

    /// The power goes: what was used and not written down is forgotten, in the customers' favour.
    pub fn power_cut(&mut self, at: u64) {
        if !self.powered {
            return;
        }
        self.kill(at);
        let dead = self.dead_since.map_or(0, |since| at - since.max(self.booted_at));
        self.service.was_off(&self.store, dead, &self.boot());
        (self.powered, self.booted_at) = (false, at);
        self.boots += 1;
        self.kernel = Kernel::default();
        self.dead_since = Some(at);
        let unwritten = std::mem::take(&mut self.unwritten) + dead;
        self.service.power_went(&self.store, &self.kernel, unwritten, self.number == 1, &self.moment(at));
    }

    /// One step of the rules, carried out; the answer, where something was asked.
    pub fn step(&mut self, input: Input, at: u64) -> Option<Answer> {
        let input = self.liar.input(input)?;
        let now = self.now(at);
        let entropy = Entropy(std::array::from_fn(|_| u8::try_from(self.random.below(256)).unwrap_or(0)));
        let mut effects = self.gateway.as_mut()?.handle(input, now, &entropy);
        self.liar.effects(&mut effects, &self.store);
        let crash = self.crash.take();
        let mut answer = None;
        let mut follow = Vec::new();
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
                    self.write(changes, at);
                }
                Effect::Gate(changes) => {
                    if crash.is_some_and(|after| after <= 1) || self.taking_over {
                        self.service.unheard(changes.iter().map(|change| match change {
                            GateChange::Set(account) => account.id,
                            GateChange::Remove(id) => *id,
                        }));
                    }
                    if crash.is_some_and(|after| after <= 1) {
                        self.kill(at);
                        return None;
                    }
                    if !self.taking_over {
                        let changes: Vec<GateChange> = changes.into_iter().map(|change| self.shared(change)).collect();
                        let last: Vec<Usage> = changes.into_iter().flat_map(|change| self.kernel.change(change)).collect();
                        if !last.is_empty() {
                            follow.push(Input::LastCounts(last));
                        }
                    }
                }
                Effect::ReadUsage => follow.push(Input::Usage(self.kernel.usage())),
                Effect::Publish(up) => {
                    if crash.is_some() {
                        self.kill(at);
                        return None;
                    }
                    if self.net {
                        self.says.push(up);
                    }
                }
                Effect::Reply(ask, reply) => {
                    self.answers.push((ask, reply.clone()));
                    answer = Some(reply);
                }
                _ => {}
            }
        }
        if crash.is_some() {
            self.kill(at);
            return None;
        }
        for input in follow {
            self.step(input, at);
        }
        answer
    }

    /// As a lie has it, a device of another account passes on this one, too.
    fn shared(&self, change: GateChange) -> GateChange {
        let GateChange::Set(mut account) = change else { return change };
        let other = self.kernel.accounts().find(|other| other.id != account.id).and_then(|other| other.devices.iter().next());
        if let Some((mac, device)) = other
            && self.liar.tells(Lie::GateSharesDevice)
        {
            account.devices.insert(*mac, device.clone());
        }
        GateChange::Set(account)
    }

    fn write(&mut self, changes: Vec<Change>, at: u64) {
        self.service.written(&self.store, &changes, &self.kernel, &self.moment(at));
        for change in changes {
            match change {
                Change::Put(record) => drop(self.store.insert(record.key().0, *record)),
                Change::Delete(key) => drop(self.store.remove(&key.0)),
            }
        }
    }

    /// A device sends, or is sent, so many packets.
    pub fn forward(&mut self, device: u8, up: bool, packets: u64, at: u64) {
        if !self.powered || !self.here[usize::from(device)] {
            return;
        }
        self.forward_of(self.mac(device), up, packets, at);
    }

    /// The same for any device that is there.
    pub fn forward_of(&mut self, mac: Mac, up: bool, packets: u64, at: u64) {
        if !self.powered {
            return;
        }
        let now = self.monotonic(at);
        let Some(Passed { id, bytes, depleted, ended }) = self.kernel.forward(mac, up, packets, now) else { return };
        self.service.bytes_passed(id, bytes, at);
        if depleted || ended {
            self.service.stopped(id, depleted, at);
        }
        if depleted && self.runs() {
            self.step(Input::Usage(self.kernel.usage()), at);
            self.step(Input::Depleted(id), at);
        }
    }

    /// Somebody asks.
    pub fn ask(&mut self, request: Request, at: u64) -> Option<Answer> {
        if request.needs_usage() {
            self.step(Input::Usage(self.kernel.usage()), at);
        }
        self.asks += 1;
        self.step(Input::Ask(AskId(self.asks), request), at)
    }

    /// The number of the last question.
    #[must_use]
    pub fn last_ask(&self) -> AskId {
        AskId(self.asks)
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
        self.step(Input::Reconfigured(settings(&self.name, self.number, all)), at);
    }

    /// Time passes in the kernel: whoever is in the gate uses it.
    pub fn use_up(&mut self, from: u64, to: u64) {
        if self.powered {
            self.service.time_passed(&self.kernel, &self.moment(from), &self.moment(to));
        }
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

    /// The promises that hold at every moment.
    ///
    /// # Errors
    /// With what does not hold.
    pub fn check(&self, at: u64) -> Result<(), String> {
        let name = &self.name;
        if let Some(gateway) = &self.gateway {
            // What was counted so far is the kernel's to know.
            let plain = |account: &GateAccount| {
                let devices: Vec<_> = account.devices.iter().map(|(mac, device)| (*mac, device.addresses.clone())).collect();
                (account.id, account.until, account.data_end, account.down, account.up, devices)
            };
            let mut online: Vec<Mac> = self.kernel.accounts().flat_map(|account| account.devices.keys().copied()).collect();
            let count = online.len();
            online.sort();
            online.dedup();
            if online.len() != count {
                return Err(format!("{name}: a device is in the gate twice"));
            }
            let own = gateway.desired_gate();
            let mut desired = self.liar.desired(own.clone());
            desired.sort_by_key(|account| account.id);
            if !desired.iter().map(plain).eq(self.kernel.accounts().map(plain)) {
                return Err(format!("{name}: the kernel has {:?} and should have {desired:?}", self.kernel));
            }
            let now = self.monotonic(at);
            for account in &own {
                if account.until.is_some_and(|until| until <= now) {
                    return Err(format!("{name}: somebody passes who has nothing left: {account:?}"));
                }
            }
        }
        let runs_since = self.gateway.is_some().then_some(self.runs_since);
        self.service.check(&self.store, &self.kernel, runs_since, &self.moment(at)).map_err(|why| format!("{name}: {why}"))
    }

    /// What the operator is shown.
    pub fn payments(&mut self, at: u64) -> Vec<lango_core::request::OperatorPaymentView> {
        match self.ask(Request::Payments, at) {
            Some(Answer::Payments(views)) => self.liar.views(views),
            other => panic!("payments were asked for, and the answer is {other:?}"),
        }
    }

    /// Requests that the relay has not acknowledged.
    #[must_use]
    pub fn outbox(&self) -> usize {
        self.store.values().filter(|record| matches!(record, Record::Outbox(_))).count()
    }
}
