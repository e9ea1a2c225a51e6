//! A reference model beside the rules, under random stories: lost, doubled and reordered messages, kills, power cuts.
//!
//! The model is as simple as the promise: what was paid for is what was served. It counts minutes. For a package that
//! limits time alone, at every moment: minutes paid = minutes used while the gate was open + minutes left.

use super::world::*;
use crate::gateway::CHECKPOINT_EVERY;
use crate::message::{DownBody, Outcome, PaymentUpdate, Reason};
use crate::record::Record;
use crate::request::{Answer, Request};
use crate::step::Input;
use crate::units::{Mac, OrderId, Shillings};
use proptest::prelude::*;
use std::collections::BTreeSet;

const DEVICES: u8 = 4;

#[derive(Debug, Clone)]
enum Event {
    /// A device asks for an hour, or for a slow hour: those two follow each other.
    Pay(u8, bool),
    /// The n-th order's money arrives (again), under one of two receipts.
    Paid(usize, bool),
    Failed(usize),
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
}

fn event() -> impl Strategy<Value = Event> {
    let device = 0..DEVICES;
    prop_oneof![
        4 => (device.clone(), any::<bool>()).prop_map(|(d, slow)| Event::Pay(d, slow)),
        6 => (0..12usize, prop::bool::weighted(0.9)).prop_map(|(n, first)| Event::Paid(n, first)),
        2 => (0..12usize).prop_map(Event::Failed),
        2 => device.clone().prop_map(Event::Logout),
        2 => (device.clone(), 0..12usize).prop_map(|(d, n)| Event::Login(d, n)),
        4 => (1..90 * MINUTE).prop_map(Event::Pass),
        2 => device.clone().prop_map(Event::Arrives),
        2 => device.clone().prop_map(Event::Leaves),
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
    orders: Vec<(OrderId, u8)>,
    receipts: BTreeSet<String>,
    used: u64,
    /// How long the daemon was gone, in all.
    dead: u64,
}

impl Story {
    fn new() -> Self {
        let mut world = World::new();
        world.connect();
        for device in 0..DEVICES {
            world.arrives(mac(device), 100 + device);
        }
        Self { world, orders: Vec::new(), receipts: BTreeSet::new(), used: 0, dead: 0 }
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
                self.world.power_cut(length, settings());
            }
            Event::Reconnect => self.world.connect(),
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

    fn tell(&mut self, order: &OrderId, device: u8, outcome: Outcome) {
        let update = PaymentUpdate {
            order: order.clone(),
            package: "hour".parse().unwrap(),
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
        let restarted = crate::gateway::Gateway::load(settings(), self.world.records(), self.world.boot.clone(), self.world.now());
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
        // Each receipt is in the books once, and is service, once.
        let Answer::Payments(payments) = self.world.ask(Request::Payments) else { panic!() };
        let booked: Vec<String> = payments.iter().filter_map(|p| p.receipt.as_ref().map(ToString::to_string)).collect();
        assert_eq!(booked.iter().cloned().collect::<BTreeSet<_>>(), self.receipts);
        assert_eq!(booked.len(), self.receipts.len());
        assert!(payments.iter().all(|p| p.receipt.is_none() || p.username.is_some()));
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
        assert_eq!(left + self.used, HOUR * u64::try_from(self.receipts.len()).unwrap(), "paid = used + left");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn what_was_paid_for_is_what_was_served(events in prop::collection::vec(event(), 1..60)) {
        let mut story = Story::new();
        for event in &events {
            story.happens(event);
            story.holds();
        }
    }
}
