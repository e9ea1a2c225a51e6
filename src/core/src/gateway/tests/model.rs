//! A reference model beside the rules, under random stories: lost, doubled and reordered messages, kills, power cuts.
//!
//! The model is as simple as the promise: what was paid for is what was served. It counts minutes. For a package that
//! limits time alone, at every moment: minutes paid = minutes used while the gate was open + minutes left. Where paid time goes on
//! through outages, some of it is missing there: never more than the outages were long, nor than there was when they began.

use super::world::*;
use crate::gateway::CHECKPOINT_EVERY;
use crate::message::{DownBody, Outcome, PaymentUpdate, Reason};
use crate::record::Record;
use crate::request::{Answer, Refusal, Request, VoucherStatus};
use crate::settings::{Outage, Settings};
use crate::step::Input;
use crate::tree::BTreeSet;
use crate::units::{Mac, OrderId, Shillings};
use crate::voucher::VoucherCode;
use proptest::prelude::*;

const DEVICES: u8 = 4;
const VOUCHERS: usize = 6;

#[derive(Debug, Clone)]
enum Event {
    /// A device asks for an hour, or for a slow hour: those two follow each other.
    Pay(u8, bool),
    /// The n-th order's money arrives (again), under one of two receipts.
    Paid(usize, bool),
    Failed(usize),
    /// Money arrives for an order that nobody remembers; enough of it, or an amount for which there is nothing.
    Forgotten(u8, bool),
    /// Money arrives that is too little for the n-th order.
    Underpaid(usize),
    /// The operator serves the n-th of what waits: to this device, or to the one that asked.
    Serve(usize, Option<u8>),
    /// The router's own clock is set to something, or is not set.
    Clock(Option<u64>),
    /// Somebody vouches for it, with the right time.
    ClockIsSet,
    Logout(u8),
    /// The device logs in with the credentials of the n-th order.
    Login(u8, usize),
    Pass(u64),
    Arrives(u8),
    Leaves(u8),
    Kick(u8),
    Killed,
    /// The daemon is gone for so long.
    Dead(u64),
    PowerCut(u64),
    Reconnect,
    RelayGone,
    /// A device types the n-th voucher's code: half of them the operator's, half the relay's.
    Redeem(u8, usize),
    /// The relay sends its vouchers (again).
    Vouchers,
}

fn event() -> impl Strategy<Value = Event> {
    let device = 0..DEVICES;
    prop_oneof![
        4 => (device.clone(), any::<bool>()).prop_map(|(d, slow)| Event::Pay(d, slow)),
        6 => (0..12usize, prop::bool::weighted(0.9)).prop_map(|(n, first)| Event::Paid(n, first)),
        2 => (0..12usize).prop_map(Event::Failed),
        1 => (device.clone(), any::<bool>()).prop_map(|(d, enough)| Event::Forgotten(d, enough)),
        1 => (0..12usize).prop_map(Event::Underpaid),
        2 => (0..8usize, prop::option::of(device.clone())).prop_map(|(n, d)| Event::Serve(n, d)),
        1 => prop::option::of(1_700_000_000_000..2_100_000_000_000u64).prop_map(Event::Clock),
        1 => Just(Event::ClockIsSet),
        2 => device.clone().prop_map(Event::Logout),
        2 => (device.clone(), 0..12usize).prop_map(|(d, n)| Event::Login(d, n)),
        4 => (1..90 * MINUTE).prop_map(Event::Pass),
        2 => device.clone().prop_map(Event::Arrives),
        2 => device.clone().prop_map(Event::Leaves),
        3 => (device.clone(), 0..VOUCHERS).prop_map(|(d, n)| Event::Redeem(d, n)),
        1 => Just(Event::Vouchers),
        1 => device.prop_map(Event::Kick),
        1 => Just(Event::Killed),
        1 => (1..90 * MINUTE).prop_map(Event::Dead),
        1 => (1..5 * HOUR).prop_map(Event::PowerCut),
        2 => Just(Event::Reconnect),
        1 => Just(Event::RelayGone),
    ]
}

const fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, n])
}

/// Only a package that limits nothing but time, so that the model's sum is exact.
struct Story {
    world: World,
    settings: Settings,
    orders: Vec<(OrderId, u8)>,
    /// Served.
    receipts: BTreeSet<String>,
    /// Booked, and waiting for the operator.
    waiting: BTreeSet<String>,
    codes: Vec<VoucherCode>,
    redeemed: BTreeSet<usize>,
    used: u64,
    /// What outages may have cost, at most.
    outages: u64,
    /// How long the daemon was gone, in all.
    dead: u64,
}

impl Story {
    fn new(outage: Outage) -> Self {
        let settings = Settings { outage, ..settings() };
        let mut world = World::new();
        world.step(Input::Reconfigured(settings.clone()));
        world.connect();
        for device in 0..DEVICES {
            world.arrives(mac(device), 100 + device);
        }
        let (receipts, waiting) = (BTreeSet::new(), BTreeSet::new());
        let mut codes = world.vouchers("aaaaaa", "hour", 3);
        codes.extend(made_vouchers("bbbbbb", "slow", 3, None).1);
        assert_eq!(codes.len(), VOUCHERS);
        let redeemed = BTreeSet::new();
        Self { world, settings, orders: Vec::new(), receipts, waiting, codes, redeemed, used: 0, outages: 0, dead: 0 }
    }

    /// Time passes in pieces, so that the model can see who is in the gate meanwhile.
    fn pass(&mut self, milliseconds: u64) {
        let end = self.world.at + milliseconds;
        while self.world.at < end {
            let due = self.world.gateway.poll_timeout().map_or(end, |due| due.0.clamp(self.world.at + 1, end));
            let length = due - self.world.at;
            self.use_up(length);
            self.world.pass(length);
        }
    }

    /// The devices in the gate use what the kernel lets them.
    fn use_up(&mut self, length: u64) {
        for account in self.world.gate.values() {
            let until = account.until.expect("the package limits time");
            self.used += until.0.saturating_sub(self.world.at).min(length);
        }
    }

    fn happens(&mut self, event: &Event) {
        match *event {
            Event::Pay(device, slow) => {
                if let Answer::Payment(view) = self.world.try_pay(mac(device), if slow { "slow" } else { "hour" })
                    && !self.orders.iter().any(|(id, _)| *id == view.payment)
                {
                    self.orders.push((view.payment, device));
                }
            }
            Event::Paid(n, first) => {
                if let Some((order, device)) = self.orders.get(n).cloned() {
                    let receipt = format!("RCPT{n:04}{}", if first { "A" } else { "B" });
                    self.receipts.insert(receipt.clone());
                    self.tell(&order, device, Outcome::Paid { receipt: receipt.parse().unwrap(), amount: Shillings(10) });
                }
            }
            Event::Failed(n) => {
                if let Some((order, device)) = self.orders.get(n).cloned() {
                    self.tell(&order, device, Outcome::Failed { reason: Reason::Cancelled });
                }
            }
            Event::Forgotten(device, enough) => {
                let receipt = format!("LOST{device:04}{}", if enough { "A" } else { "B" });
                if self.receipts.contains(&receipt) {
                    return;
                }
                let order = format!("{}{device:0>25}", if enough { 'a' } else { 'b' }).parse().unwrap();
                let amount = Shillings(if enough { 10 } else { 11 });
                // A package that nobody remembers: what it was is said by the amount, or by nothing.
                self.tell_of(&order, "week", device, Outcome::Paid { receipt: receipt.parse().unwrap(), amount });
                let books = if enough { &mut self.receipts } else { &mut self.waiting };
                books.insert(receipt);
                if enough && !self.orders.iter().any(|(id, _)| *id == order) {
                    self.orders.push((order, device));
                }
            }
            Event::Underpaid(n) => {
                if let Some((order, device)) = self.orders.get(n).cloned() {
                    let receipt = format!("RCPT{n:04}U");
                    self.tell(&order, device, Outcome::Paid { receipt: receipt.parse().unwrap(), amount: Shillings(9) });
                    if !self.receipts.contains(&receipt) {
                        self.waiting.insert(receipt);
                    }
                }
            }
            Event::Serve(n, device) => {
                let all: Vec<String> = self.waiting.union(&self.receipts).cloned().collect();
                let Some(receipt) = all.get(n).cloned() else { return };
                let package = Some("hour".parse().unwrap());
                let ask = Request::Serve { receipt: receipt.parse().unwrap(), package, device: device.map(mac) };
                match self.world.ask(ask) {
                    Answer::Served(_) => assert!(self.waiting.remove(&receipt) && self.receipts.insert(receipt)),
                    Answer::Refused(Refusal::AlreadyServed) => assert!(self.receipts.contains(&receipt)),
                    other => panic!("{other:?}"),
                }
            }
            Event::Clock(wall) => self.world.wall = wall,
            Event::ClockIsSet => {
                self.world.wall = Some(self.world.truth);
                assert_eq!(self.world.ask(Request::ClockIsSet), Answer::Done);
            }
            Event::Logout(device) => drop(self.world.ask(Request::Logout { device: mac(device) })),
            Event::Login(device, n) => {
                if let Some((order, payer)) = self.orders.get(n).cloned() {
                    let view = self.world.status(mac(payer), &order);
                    if view.password.is_some() {
                        self.world.login(mac(device), &view);
                    }
                }
            }
            Event::Pass(milliseconds) => self.pass(milliseconds),
            Event::Arrives(device) => self.world.arrives(mac(device), 100 + device),
            Event::Leaves(device) => self.world.leaves(mac(device), 100 + device),
            Event::Kick(device) => drop(self.world.ask(Request::Kick { target: crate::request::Target::Device(mac(device)) })),
            Event::Killed => self.world.killed(),
            Event::Dead(length) => {
                self.use_up(length);
                self.dead += length;
                self.world.dead(length);
            }
            Event::PowerCut(length) => {
                self.used -= self.forgotten_by_a_power_cut();
                self.outages += self.cost_of_an_outage(length);
                self.world.power_cut(length, self.settings.clone());
            }
            Event::Reconnect => self.world.connect(),
            Event::Redeem(device, n) => match self.world.redeem(mac(device), self.codes[n]) {
                Answer::Redeemed(_) => assert!(self.redeemed.insert(n), "voucher {n} was redeemed twice"),
                Answer::Refused(Refusal::VoucherUsed) => assert!(self.redeemed.contains(&n), "voucher {n} was lost"),
                Answer::Refused(Refusal::UnknownVoucher) => assert!(n >= 3, "voucher {n} was forgotten"),
                Answer::Refused(Refusal::TooManyRequests { .. }) => {}
                other => panic!("{other:?}"),
            },
            Event::Vouchers => drop(self.world.relay(DownBody::Vouchers(made_vouchers("bbbbbb", "slow", 3, None).0))),
            Event::RelayGone => drop(self.world.step(Input::RelayPresence { online: false })),
        }
    }

    /// What the customers get back: the time since it was last written down: a checkpoint long at most, while the daemon is there.
    fn forgotten_by_a_power_cut(&self) -> u64 {
        // By what is stored, and nothing else: the rest is gone with the power.
        let records = self.world.records();
        let last = records.iter().find_map(|record| match record {
            Record::Checkpoint(checkpoint) => Some(checkpoint),
            _ => None,
        });
        let running = records.iter().filter_map(|record| match record {
            Record::Account(account) => account.clock.ran_until(last).map(|(_, until)| self.world.now().monotonic.since(until).0),
            _ => None,
        });
        running.inspect(|forgotten| assert!(*forgotten <= CHECKPOINT_EVERY.0 + self.dead)).sum()
    }

    /// What an outage that begins now takes off the time of those who are online, at most.
    fn cost_of_an_outage(&self, length: u64) -> u64 {
        if self.settings.outage == Outage::Pause {
            return 0;
        }
        let now = self.world.now().monotonic;
        let running = self.world.gateway.accounts.values().filter(|account| !account.online.is_empty());
        let costs = running.map(|account| {
            let queued: u64 = account.purchases.iter().skip(1).map(|purchase| purchase.limits.time.unwrap().0).sum();
            let left = account.clock.left(now).unwrap().0 + queued;
            // What is forgotten comes on both sides: given back, and part of the outage.
            let forgotten = CHECKPOINT_EVERY.0 + self.dead;
            (length + forgotten).min(left + forgotten)
        });
        costs.sum()
    }

    fn tell(&mut self, order: &OrderId, device: u8, outcome: Outcome) {
        self.tell_of(order, "hour", device, outcome);
    }

    fn tell_of(&mut self, order: &OrderId, package: &str, device: u8, outcome: Outcome) {
        let update = PaymentUpdate {
            order: order.clone(),
            package: package.parse().unwrap(),
            device: mac(device),
            phone: PHONE.parse().unwrap(),
            outcome,
        };
        self.world.relay(DownBody::Payment(update));
    }

    fn holds(&mut self) {
        let at = self.world.at;
        // The kernel has what the rules want, and a daemon that starts now would want the same.
        let desired = self.world.gateway.desired_gate();
        let kernel: Vec<_> = self.world.gate.values().cloned().collect();
        let mut sorted = desired.clone();
        sorted.sort_by_key(|account| account.id);
        assert_eq!(sorted, kernel);
        let restarted =
            crate::gateway::Gateway::load(self.settings.clone(), self.world.records(), self.world.boot.clone(), self.world.now());
        let who = |gate: Vec<crate::gate::GateAccount>| -> Vec<_> {
            gate.into_iter().map(|a| (a.id, a.until, a.data_end, a.devices.into_keys().collect::<Vec<_>>())).collect()
        };
        assert_eq!(who(restarted.desired_gate()), who(desired));
        // Nobody passes who has nothing left, nor more devices than were paid for, nor a device twice.
        let mut seen = BTreeSet::new();
        for account in self.world.gate.values() {
            assert!(account.until.unwrap().0 > at);
            assert_eq!(account.devices.len(), 1);
            assert!(account.devices.keys().all(|mac| seen.insert(*mac)));
        }
        // Each receipt is in the books once, and is service, once, or waits and says so.
        let Answer::Payments(payments) = self.world.ask(Request::Payments) else { panic!() };
        let booked: Vec<String> = payments.iter().filter_map(|p| p.receipt.as_ref().map(ToString::to_string)).collect();
        assert_eq!(booked.iter().cloned().collect::<BTreeSet<_>>(), self.receipts.union(&self.waiting).cloned().collect());
        assert_eq!(booked.len(), self.receipts.len() + self.waiting.len());
        let waiting = payments.iter().filter(|p| p.unserved.is_some()).filter_map(|p| p.receipt.as_ref().map(ToString::to_string));
        assert_eq!(waiting.collect::<BTreeSet<_>>(), self.waiting);
        assert!(payments.iter().all(|p| p.receipt.is_none() || p.username.is_some() != p.unserved.is_some()));
        let used = self.world.voucher_list().iter().filter(|voucher| voucher.status == VoucherStatus::Used).count();
        assert_eq!(used, self.redeemed.len());
        let left: u64 = self
            .world
            .gateway
            .accounts
            .values()
            .map(|account| {
                let queued: u64 = account.purchases.iter().skip(1).map(|p| p.limits.time.unwrap().0).sum();
                queued
                    + account.clock.left(self.world.now().monotonic).map_or(0, |left| if account.purchases.is_empty() { 0 } else { left.0 })
            })
            .sum();
        let paid = HOUR * u64::try_from(self.receipts.len() + self.redeemed.len()).unwrap();
        match self.settings.outage {
            Outage::Pause => assert_eq!(left + self.used, paid, "paid = used + left"),
            Outage::Run => {
                let missing = paid.checked_sub(left + self.used).expect("nobody has more than was paid for");
                assert!(missing <= self.outages, "{missing} ms are missing, the outages were {} ms", self.outages);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn what_was_paid_for_is_what_was_served(events in prop::collection::vec(event(), 1..60)) {
        let mut story = Story::new(Outage::Pause);
        for event in &events {
            story.happens(event);
            story.holds();
        }
    }

    #[test]
    fn outages_cost_what_they_were_long_at_most(events in prop::collection::vec(event(), 1..60)) {
        let mut story = Story::new(Outage::Run);
        for event in &events {
            story.happens(event);
            story.holds();
        }
    }
}
