//! The gateway: all rules of a router in one state machine.
//!
//! [`Gateway::handle`] takes what happened and gives back what is to be done, in order. It never waits, and it never
//! learns the outcome of an effect but as another input. What it decided is durable before anybody sees it: the first
//! effect of a step is always [`Effect::Persist`], and where that fails the gateway is thrown away and loaded again.

mod accounts;
mod deposits;
mod devices;
mod link;
mod mistyped;
mod neighbours;
mod notices;
mod operator;
mod orders;
mod outage;
mod outbox;
mod payments;
mod pruning;
mod radius;
mod readings;
mod receipts;
mod serving;
mod sessions;
mod suspicions;
#[cfg(test)]
mod tests;
mod vouchers;

use crate::account::{Account, Checkpoint};
use crate::gate::{GateAccount, GateChange, GateDevice, GateId};
use crate::ledger::LedgerEntry;
use crate::limiter::{Guard, Limiter};
use crate::message::Up;
use crate::outage::{Owed, TrueTime};
use crate::radius::{RadiusOrder, SessionId};
use crate::record::{Change, Counters, Device, Key, Record};
use crate::request::{Answer, AskId, Refusal, Request};
use crate::settings::Settings;
use crate::step::{Effect, Entropy, Input};
use crate::time::{BootId, Monotonic, Now};
use crate::tree::{BTreeMap, BTreeSet};
use crate::units::{Mac, MessageId, Millis, OrderId, Receipt, Username};
use crate::update::Offer;
use crate::voucher::{BatchId, VoucherHash};
use std::net::IpAddr;

pub use operator::Business;
pub use sessions::{CHECKPOINT_EVERY, WRITTEN_TOGETHER};

/// Failed and forgotten orders are kept this long, for the operator.
const KEEP_DEAD_ORDERS: Millis = Millis::from_minutes(24 * 60);

/// The rules' whole state.
#[derive(Debug, Clone)]
pub struct Gateway {
    settings: Settings,
    boot: BootId,
    started: Monotonic,

    // What the store keeps.
    orders: orders::Orders,
    accounts: accounts::Accounts,
    devices: BTreeMap<Mac, Device>,
    outbox: outbox::Outbox,
    ledger: BTreeMap<Receipt, LedgerEntry>,
    counters: Counters,
    /// The last one, of this boot or of an earlier one.
    last_checkpoint: Option<Checkpoint>,
    /// What the time was in this boot, or in the last one in which anybody knew.
    true_time: Option<TrueTime>,
    /// What accounts owe for an outage whose length is not known yet.
    owed: BTreeMap<Username, Owed>,
    vouchers: vouchers::Vouchers,
    radius: radius::Radius,

    // What is learnt anew after each start.
    neighbours: neighbours::Neighbours,
    suspicions: suspicions::Suspicions,
    link: link::Link,
    notices: notices::Notices,
    pay_tries: Limiter,
    login_tries: Limiter,
    reclaims: receipts::Reclaims,
    /// Failed logins on one account, of devices that never were on it.
    account_tries: Limiter<GateId>,
    voucher_tries: Guard,
    seen: devices::Seen,
    pruning: pruning::Pruning,
    next_checkpoint: Option<Monotonic>,
    readings: readings::Readings,
    checkpoint_wanted: bool,
    /// The account with which the checkpoint that is being written goes on in the next step.
    writing: Option<GateId>,
    stopping: bool,

    step: Pending,
}

/// What the step under way has changed and wants done.
#[derive(Debug, Clone, Default)]
struct Pending {
    orders: BTreeSet<OrderId>,
    accounts: BTreeSet<Username>,
    devices: BTreeSet<Mac>,
    outbox: BTreeSet<u64>,
    ledger: BTreeSet<Receipt>,
    counters: bool,
    checkpoint: bool,
    true_time: bool,
    owed: BTreeSet<Username>,
    radius_sessions: BTreeSet<SessionId>,
    accounting: BTreeSet<u64>,
    accounted_boot: bool,
    radius: Vec<RadiusOrder>,
    vouchers: BTreeSet<VoucherHash>,
    batches: BTreeSet<BatchId>,
    gate: BTreeMap<GateId, Option<Username>>,
    read_usage: bool,
    probe: BTreeSet<(Mac, IpAddr)>,
    updates: Vec<(MessageId, Offer)>,
    publish: Vec<Up>,
    replies: Vec<(AskId, Answer)>,
    changed: BTreeSet<OrderId>,
    log: Vec<String>,
}

impl Gateway {
    /// The state that the store holds, as it is at the start of the daemon.
    ///
    /// After another boot (a power cut) nobody is online: accounts stand still with what is left of them, and their
    /// devices go online by themselves as they are seen. The first step that follows makes that durable.
    #[must_use]
    pub fn load(settings: Settings, records: impl IntoIterator<Item = Record>, boot: BootId, now: Now) -> Self {
        let notices = notices::Notices::new(&settings, now);
        let mut gateway = Self {
            settings,
            boot,
            started: now.monotonic,
            orders: orders::Orders::default(),
            accounts: accounts::Accounts::default(),
            devices: BTreeMap::new(),
            outbox: outbox::Outbox::default(),
            ledger: BTreeMap::new(),
            counters: Counters { next_gate: 1, next_seq: 1, forgotten_until: None },
            last_checkpoint: None,
            true_time: None,
            owed: BTreeMap::new(),
            vouchers: vouchers::Vouchers::default(),
            radius: radius::Radius::default(),
            neighbours: neighbours::Neighbours::default(),
            suspicions: suspicions::Suspicions::default(),
            link: link::Link::default(),
            notices,
            pay_tries: payments::tries(),
            login_tries: sessions::tries(),
            reclaims: receipts::Reclaims::default(),
            account_tries: devices::account_tries(),
            voucher_tries: vouchers::tries(),
            seen: devices::Seen::default(),
            pruning: pruning::Pruning::default(),
            next_checkpoint: None,
            readings: readings::Readings::default(),
            checkpoint_wanted: false,
            writing: None,
            stopping: false,
            step: Pending::default(),
        };
        for record in records {
            match record {
                Record::Order(order) => gateway.orders.insert(order),
                Record::Account(account) => gateway.accounts.insert(account),
                Record::Device(device) => drop(gateway.devices.insert(device.mac, device)),
                Record::Outbox(up) => gateway.outbox.insert(up),
                Record::Ledger(entry) => drop(gateway.ledger.insert(entry.receipt.clone(), entry)),
                Record::Counters(counters) => gateway.counters = counters,
                Record::Checkpoint(checkpoint) => gateway.last_checkpoint = Some(checkpoint),
                Record::TrueTime(time) => gateway.true_time = Some(time),
                Record::Owed(owed) => drop(gateway.owed.insert(owed.username.clone(), owed)),
                Record::RadiusSession(session) => gateway.radius.load_session(*session),
                Record::Accounting(accounting) => gateway.radius.load_accounting(*accounting),
                Record::AccountedBoot(boot) => gateway.radius.load_boot(boot),
                Record::Batch(batch) => gateway.vouchers.insert_batch(batch),
                Record::Voucher(voucher) => {
                    gateway.vouchers.remember(&voucher, now, &gateway.boot);
                    gateway.vouchers.insert(voucher);
                }
            }
        }
        gateway.wake_up_after_outage(now);
        gateway.radius_loaded(now);
        gateway.fold_old_devices();
        let written = gateway.accounts.oldest_written(gateway.last_checkpoint.as_ref());
        gateway.next_checkpoint = written.map(|written| written.after(gateway.settings.checkpoint));
        gateway.schedule_checkpoint(now);
        if gateway.accounts.values().any(|account| !account.online.is_empty() && account.data_left().is_some()) {
            gateway.readings.begin(gateway.accounts.devices_online(), now.monotonic);
        }
        gateway
    }

    /// What follows from one thing that happened: effects, to be carried out in this order.
    pub fn handle(&mut self, input: Input, now: Now, entropy: &Entropy) -> Vec<Effect> {
        self.tell_of_near_ends(now);
        self.radius.begin_step(entropy);
        let (mut all_counted, mut last_counts) = (false, Vec::new());
        let writes_down = matches!(input, Input::Tick | Input::Usage(_));
        match input {
            Input::Tick => {}
            Input::Ask(ask, Request::Reclaim { device, receipt, phone }) => self.reclaim(ask, device, receipt, phone, now, entropy),
            Input::Ask(ask, Request::Login { device, username, password, replace }) => {
                self.log_in(ask, device, username, password, replace, now);
            }
            Input::Ask(ask, request) => {
                let answer = self.answer(request, now, entropy);
                self.step.replies.push((ask, answer));
            }
            Input::Relay(down) => self.relay_says(down, now, entropy),
            Input::Link { connected } => self.link_changed(connected, now, entropy),
            Input::RelayPresence { online } => self.relay_presence(online, now, entropy),
            Input::Neighbour { mac, address, present } => self.neighbour(mac, address, present, now),
            Input::Lan { here, served } => self.lan(here, served, now),
            Input::NewAddress { mac, address } => self.sent_from(mac, address, now),
            Input::ForeignAddress { mac, address } => self.sends_as_another(mac, address, now),
            Input::Port { mac, port } => self.came_by(mac, &port, now),
            Input::Usage(usage) => {
                let most = self.count(&usage, now);
                self.all_counted(most, now);
                self.radius_counted(&usage, now);
                self.radius_all_counted(now);
                all_counted = true;
            }
            Input::LastCounts(usage) => {
                self.count(&usage, now);
                self.radius_counted(&usage, now);
                last_counts = usage;
            }
            Input::Depleted(id) => self.depleted(id, now),
            Input::Radius(event) => self.radius_event(event, now, entropy),
            Input::Update(report) => self.update_stands(report),
            Input::Reconfigured(settings) => {
                // The next one is as soon as the new settings promise.
                self.next_checkpoint = self.next_checkpoint.map(|at| at.min(now.monotonic.after(settings.checkpoint)));
                self.settings = settings;
                self.notices.reconfigured(&self.settings, now);
                self.radius_reconfigured(now);
            }
            Input::Flushed => self.radius_off(now),
            Input::Stopping => {
                self.stopping = true;
                self.next_checkpoint = self.next_checkpoint.map(|_| now.monotonic);
            }
        }
        // Time passed, whatever the input was: nothing that is due waits for a tick of its own.
        self.end_what_is_due(all_counted, &last_counts, now);
        self.radius_due(now);
        self.expire_orders(now);
        self.look_at_doubts(now);
        self.checkpoint(now);
        self.step.read_usage |= self.readings.ask(now.monotonic);
        if writes_down {
            self.write_down();
        }
        self.doubt_the_relay(now, entropy);
        self.say_hello_again(now, entropy);
        self.give_up_reclaims(now);
        self.finish(now)
    }

    /// When [`Input::Tick`] is wanted at the latest; nothing where only inputs can change anything.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let (ends, orders, doubts) = (self.accounts.next_end(), self.orders.next_given_up(), self.neighbours.next_look());
        let at_once = self.writing.map(|_| Monotonic(0));
        let (link, near, reclaims) = (self.link.timeout(), self.next_near_end(), self.reclaims.timeout());
        let timers =
            [at_once, ends, orders, doubts, self.next_checkpoint, self.readings.due(), link, near, reclaims, self.radius.timeout()];
        timers.into_iter().flatten().min()
    }

    /// The whole gate as it should be now: what a daemon that starts compares the kernel with.
    #[must_use]
    pub fn desired_gate(&self) -> Vec<GateAccount> {
        self.accounts.values().filter_map(|account| self.gate_account(account)).collect()
    }

    /// The same while nothing can be stored: what the rules hold may not be durable, so that nobody is in it who was not let in
    /// before.
    #[must_use]
    pub fn desired_gate_unstored(&self, in_force: impl Fn(GateId) -> bool) -> Vec<GateAccount> {
        let mut desired = self.desired_gate();
        desired.retain(|account| in_force(account.id));
        desired
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn answer(&mut self, request: Request, now: Now, entropy: &Entropy) -> Answer {
        match request {
            Request::Packages => Answer::Packages(self.settings.packages.clone()),
            Request::Pay { device, package, phone, language } => self.pay(device, &package, phone, language, now, entropy),
            Request::PaymentStatus { device, order } => self.payment_status(device, &order, now),
            Request::GiveUp { device, order } => self.give_up(device, &order, now),
            Request::LatestPayment { device } => Answer::LatestPayment(self.latest_payment(device, now)),
            // They answer by themselves, perhaps later: see `handle`.
            Request::Login { .. } | Request::Reclaim { .. } => Answer::Refused(Refusal::NoAnswer),
            Request::Redeem { device, code } => self.redeem(device, &code, now, entropy),
            Request::Mistyped { device, what } => self.mistyped(device, what, now),
            Request::MyAccount { device } => Answer::MyAccount(self.my_account(device, now)),
            Request::LogoutOther { device, other } => self.logout_other(device, other, now),
            Request::Logout { device } => self.logout(device, now),
            Request::CheckSession { device } => Answer::CheckSession(self.session_of(device, now)),
            Request::Start { device } => Answer::Start(Box::new(self.start(device, now))),
            Request::Status => Answer::Status(self.status(now)),
            Request::Sessions => Answer::Sessions(self.sessions(now)),
            Request::Accounts => Answer::Accounts(self.account_views(now)),
            Request::Payments => Answer::Payments(self.payment_views()),
            Request::Grant { device, package } => self.grant(device, &package, now, entropy),
            Request::AddVouchers(new) => self.add_vouchers(new, now),
            Request::Vouchers => Answer::Vouchers(self.voucher_views(now)),
            Request::RevokeVouchers { which } => self.revoke_vouchers(which, now),
            Request::Kick { target } => self.kick(&target, now),
            Request::Serve { receipt, package, device } => self.serve(&receipt, package.as_ref(), device, now, entropy),
            Request::ClockIsSet => self.clock_is_set(now),
        }
    }

    fn gate_account(&self, account: &Account) -> Option<GateAccount> {
        if account.online.is_empty() {
            return None;
        }
        let limits = account.limits()?;
        let devices = account.online.keys().map(|mac| {
            let device = GateDevice {
                addresses: self.neighbours.addresses_of(*mac),
                held: self.neighbours.held_of(*mac),
                traffic: account.traffic.get(mac).copied().unwrap_or_default(),
            };
            (*mac, device)
        });
        let (until, data_end) = account.held();
        Some(GateAccount {
            id: account.id,
            until,
            data_end,
            used: account.used(),
            down: limits.down,
            up: limits.up,
            devices: devices.collect(),
        })
    }

    fn touch_account(&mut self, username: &Username) {
        self.step.accounts.insert(username.clone());
    }

    fn touch_gate(&mut self, username: &Username) {
        if let Some(account) = self.accounts.get(username) {
            self.step.gate.insert(account.id, Some(username.clone()));
        }
    }

    /// Whether every index is what a walk over everything gives.
    #[cfg(test)]
    fn assert_indexed(&self) {
        self.accounts.assert_indexed();
        self.orders.assert_indexed();
        self.outbox.assert_indexed();
        self.vouchers.assert_indexed();
    }

    fn log(&mut self, line: String) {
        self.step.log.push(line);
    }

    /// Turns what the step left behind into effects, in the order in which they must happen.
    fn finish(&mut self, now: Now) -> Vec<Effect> {
        self.schedule_checkpoint(now);
        let step = std::mem::take(&mut self.step);
        let mut changes = Vec::new();
        let order = |id: &OrderId| self.orders.get(id).cloned().map(Record::Order).ok_or_else(|| Key(format!("order/{id}")));
        changes.extend(step.orders.iter().map(|id| change(order(id))));
        let account = |name: &Username| self.accounts.get(name).cloned().map(Record::Account).ok_or_else(|| Key(format!("account/{name}")));
        changes.extend(step.accounts.iter().map(|name| change(account(name))));
        let device = |mac: &Mac| self.devices.get(mac).cloned().map(Record::Device).ok_or_else(|| Key(format!("device/{mac}")));
        changes.extend(step.devices.iter().map(|mac| change(device(mac))));
        let message = |seq: &u64| self.outbox.get(*seq).cloned().map(Record::Outbox).ok_or_else(|| Record::outbox_key(*seq));
        changes.extend(step.outbox.iter().map(|seq| change(message(seq))));
        let entry = |of: &Receipt| self.ledger.get(of).cloned().map(Record::Ledger).ok_or_else(|| Key(format!("ledger/{of}")));
        changes.extend(step.ledger.iter().map(|receipt| change(entry(receipt))));
        let batch = |id: &BatchId| self.vouchers.batch(*id).cloned().map(Record::Batch).ok_or_else(|| Record::batch_key(*id));
        changes.extend(step.batches.iter().map(|id| change(batch(id))));
        let voucher = |hash: &VoucherHash| self.vouchers.get(hash).cloned().map(Record::Voucher).ok_or_else(|| Record::voucher_key(*hash));
        changes.extend(step.vouchers.iter().map(|hash| change(voucher(hash))));
        step.accounts.iter().for_each(|name| self.accounts.written(name));
        let session = |id: &SessionId| {
            let session = self.radius.session(id).cloned();
            session.map(|session| Record::RadiusSession(Box::new(session))).ok_or_else(|| Record::radius_session_key(id))
        };
        changes.extend(step.radius_sessions.iter().map(|id| change(session(id))));
        let told = |seq: &u64| {
            let told = self.radius.accounting(*seq).cloned();
            told.map(|told| Record::Accounting(Box::new(told))).ok_or_else(|| Record::accounting_key(*seq))
        };
        changes.extend(step.accounting.iter().map(|seq| change(told(seq))));
        if step.accounted_boot {
            let boot = self.radius.boot().cloned().map(Record::AccountedBoot);
            changes.push(change(boot.ok_or_else(|| Key("accounted_boot".to_owned()))));
        }
        if step.counters {
            changes.push(Change::Put(Box::new(Record::Counters(self.counters.clone()))));
        }
        if let (true, Some(time)) = (step.true_time, &self.true_time) {
            changes.push(Change::Put(Box::new(Record::TrueTime(time.clone()))));
        }
        let owed = |name: &Username| self.owed.get(name).cloned().map(Record::Owed).ok_or_else(|| Record::owed_key(name));
        changes.extend(step.owed.iter().map(|name| change(owed(name))));
        let gate: Vec<GateChange> = step
            .gate
            .into_iter()
            .map(|(id, username)| {
                let account = username.and_then(|name| self.accounts.get(&name)).and_then(|account| self.gate_account(account));
                account.map_or(GateChange::Remove(id), GateChange::Set)
            })
            .collect();
        if gate.iter().any(|change| matches!(change, GateChange::Set(account) if account.data_end.is_some())) {
            self.readings.begin(self.accounts.devices_online(), now.monotonic);
        } else if self.accounts.devices_online() == 0 {
            self.readings.nobody();
        }

        if let (true, Some(checkpoint)) = (step.checkpoint, &self.last_checkpoint) {
            changes.push(Change::Put(Box::new(Record::Checkpoint(checkpoint.clone()))));
        }

        // With a write that is due anyway: until then they would be told again after a crash, which servers expect.
        let is_written = !changes.is_empty() || self.stopping;
        changes.extend(self.radius.arrived(is_written).into_iter().map(|seq| Change::Delete(Record::accounting_key(seq))));

        let mut effects = Vec::new();
        if !changes.is_empty() {
            effects.push(Effect::Persist(changes));
        }
        if !gate.is_empty() {
            effects.push(Effect::Gate(gate));
        }
        if step.read_usage {
            effects.push(Effect::ReadUsage);
        }
        effects.extend(step.probe.into_iter().map(|(mac, address)| Effect::Probe { mac, address }));
        effects.extend(step.radius.into_iter().map(Effect::Radius));
        effects.extend(step.updates.into_iter().map(|(id, offer)| Effect::Update(id, offer)));
        effects.extend(step.publish.into_iter().map(Effect::Publish));
        effects.extend(step.replies.into_iter().map(|(ask, answer)| Effect::Reply(ask, answer)));
        effects.extend(step.changed.into_iter().map(Effect::PaymentChanged));
        effects.extend(step.log.into_iter().map(Effect::Log));
        effects
    }
}

/// What became of a touched thing: kept as it is now, or forgotten.
fn change(now: Result<Record, Key>) -> Change {
    now.map_or_else(Change::Delete, |record| Change::Put(Box::new(record)))
}
