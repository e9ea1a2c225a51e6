//! The whole: routers, relays, their ledger, the messages between them, and Safaricom; and what follows from one input.

mod hand;
mod lies;
mod messages;
mod relays;
mod vouchers;

use crate::books::Books;
use crate::input::{Fate, Input};
use crate::lies::{Liar, Lie};
use crate::relay::Relay;
use crate::router::{DAWN, DEVICES, Router};
use crate::safaricom::{Safaricom, Script};
use crate::sold::PACKAGES;
use crate::vouchers::Vouchers;
use lango_core::message::{Down, Outcome, Up};
use lango_core::request::{self, AskId, Request, Target};
use lango_core::step;
use lango_core::time::Wall;
use lango_core::units::OrderId;
use lango_relay::daraja::wire::reference;
use lango_relay::ledger::{Key, Message};
use lango_relay::payment::{Event, Payment};
use std::collections::{BTreeMap, VecDeque};

/// A relay's timer looks at what was left by others after so long.
const LEFT_AFTER: u64 = 5_000;
/// A call to Safaricom ends after so long, one way or the other.
const CALL: u64 = 35_000;
/// A relay that died less than this ago counts as being there.
const GONE_AFTER: u64 = 15_000;

/// One of an input's packets stands for so many: 2.4 MB, so that a few of them use up a package's data.
const PACKETS: u64 = 40;

/// A message under way.
#[derive(Debug, Clone)]
pub enum Packet {
    /// From a router.
    Up(usize, Up),
    /// To a router.
    Down(usize, Down),
}

/// The world.
pub struct World {
    /// Milliseconds since all began.
    pub now: u64,
    /// The routers.
    pub routers: Vec<Router>,
    /// The relays.
    pub relays: Vec<Relay>,
    /// Their ledger.
    pub books: Books,
    /// Safaricom.
    pub safaricom: Safaricom,
    /// Vouchers that were made, and what became of them.
    pub vouchers: Vouchers,
    /// What is under way.
    pub bus: VecDeque<Packet>,
    history: Vec<Packet>,
    scripts: BTreeMap<OrderId, Script>,
    /// Whether money by hand goes to a till: nobody types an account number there.
    till: bool,
    /// Who came with a receipt, by router and question; and whether with the number that paid.
    reclaims: BTreeMap<(usize, AskId), bool>,
    ids: u64,
    liar: Liar,
    /// How many effects, messages and changes there were: what a run has gone through.
    pub steps: u64,
}

impl World {
    /// Everything runs, and nothing has happened yet. One relay, or two on one ledger.
    #[must_use]
    pub fn new(seed: u64, relays: usize, books: Books, liar: &Liar) -> Self {
        let mut world = Self {
            now: 0,
            routers: (0..2).map(|number| Router::new(number, seed, 0, liar.clone())).collect(),
            relays: (0..relays).map(|_| Relay::default()).collect(),
            books,
            safaricom: Safaricom::default(),
            vouchers: Vouchers::default(),
            bus: VecDeque::new(),
            history: Vec::new(),
            scripts: BTreeMap::new(),
            till: seed.is_multiple_of(2),
            reclaims: BTreeMap::new(),
            ids: 0,
            liar: liar.clone(),
            steps: 0,
        };
        if seed % 4 < 2 {
            let till = |_: &Key| String::new();
            world.safaricom.tells_prompts = Some(if world.till { till } else { |key| reference(key.order.as_str()) });
        }
        for number in 0..relays {
            world.start_relay(number);
        }
        world.collect();
        world
    }

    fn wall(&self) -> Wall {
        Wall(DAWN + self.now)
    }

    fn is_shared(&self) -> bool {
        self.relays.len() > 1
    }

    /// What follows from one input.
    ///
    /// # Errors
    /// With what must not be.
    pub fn happens(&mut self, input: Input) -> Result<(), String> {
        let router_of = |n: u8| usize::from(n) % 2;
        let relays = self.relays.len();
        let relay_of = |n: u8| usize::from(n) % relays;
        match input {
            Input::Pass(length) => self.pass(length)?,
            Input::Flow(times) => {
                for _ in 0..times {
                    self.flow()?;
                }
            }
            Input::Pay { router, device, package, phone, does, after, callback } => {
                self.pay(router_of(router), device % DEVICES, package, phone, does, after, callback);
            }
            Input::Deliver(n, relay) => self.deliver(usize::from(n), relay_of(relay))?,
            Input::Lose(n) => {
                if let Some(packet) = self.take_packet(usize::from(n)) {
                    let (Packet::Up(router, _) | Packet::Down(router, _)) = packet;
                    self.routers[router].suffered = true;
                }
            }
            Input::Double(n) => {
                if let Some(packet) = self.bus.get(usize::from(n) % self.bus.len().max(1)).cloned() {
                    self.bus.push_back(packet);
                }
            }
            Input::Replay(n) => {
                if let Some(packet) = self.history.get(usize::from(n) % self.history.len().max(1)).cloned() {
                    self.bus.push_back(packet);
                }
            }
            Input::Callback(n, relay) => {
                if !self.safaricom.calls.is_empty() {
                    let call = self.safaricom.calls.remove(usize::from(n) % self.safaricom.calls.len());
                    self.call_back(&call, relay_of(relay))?;
                }
            }
            Input::Work(relay, n, answer) => self.work(relay_of(relay), usize::from(n), answer)?,
            Input::KillRelay(relay) => self.kill_relay(relay_of(relay)),
            Input::StartRelay(relay) => self.start_relay(relay_of(relay)),
            Input::Ledger(relay, trouble) => self.relays[relay_of(relay)].trouble = Some(trouble),
            Input::RelayLink(relay, connected) => self.link_relay(relay_of(relay), connected),
            Input::RouterLink(router, connected) => self.link_router(router_of(router), connected),
            Input::Crash(router, after) => self.routers[router_of(router)].crash = Some(after),
            Input::StoreFails(router) => self.routers[router_of(router)].store_fails = true,
            Input::Kill(router) => self.routers[router_of(router)].kill(self.now),
            Input::Dead(router) => {
                self.routers[router_of(router)].kill(self.now);
                self.routers[router_of(router)].stays_dead = true;
            }
            Input::Mend => {
                for number in 0..self.relays.len() {
                    self.start_relay(number);
                    if !self.relays[number].connected {
                        self.link_relay(number, true);
                    }
                }
                for number in 0..self.routers.len() {
                    self.start_router(number);
                    if !self.routers[number].net {
                        self.link_router(number, true);
                    }
                }
            }
            Input::PowerCut(router) => self.routers[router_of(router)].power_cut(self.now),
            Input::Start(router) => self.start_router(router_of(router)),
            Input::Clock(router, minutes) => self.routers[router_of(router)].clock = minutes.map(|minutes| i64::from(minutes) * 60_000),
            Input::Here(router, device, present) => {
                let router = &mut self.routers[router_of(router)];
                if router.powered {
                    router.seen(device % DEVICES, present, self.now);
                }
            }
            Input::Kick(router, device) => {
                let router = &mut self.routers[router_of(router)];
                let target = Target::Device(router.mac(device % DEVICES));
                router.ask(Request::Kick { target }, self.now);
            }
            Input::GiveUp(router, device) => {
                let router = &mut self.routers[router_of(router)];
                let device = router.mac(device % DEVICES);
                if let Some(request::Answer::LatestPayment(Some(view))) = router.ask(Request::LatestPayment { device }, self.now) {
                    router.ask(Request::GiveUp { device, order: view.payment }, self.now);
                }
            }
            Input::Logout(router, device) => {
                let router = &mut self.routers[router_of(router)];
                let device = router.mac(device % DEVICES);
                router.ask(Request::Logout { device }, self.now);
            }
            Input::Login(router, device, n, replace) => self.login(router_of(router), device % DEVICES, usize::from(n), replace),
            Input::LogoutOther(router, device, other) => {
                let router = &mut self.routers[router_of(router)];
                let (device, other) = (router.mac(device % DEVICES), router.mac(other % DEVICES));
                router.ask(Request::LogoutOther { device, other }, self.now);
            }
            Input::Use(router, device, up, packets) => {
                let packets = u64::from(packets) * PACKETS;
                self.routers[router_of(router)].forward(device % DEVICES, up, packets, self.now);
            }
            Input::Vouchers { router, package, count, cloud } => self.make_vouchers(router_of(router), package, count, cloud),
            Input::Redeem(router, device, n, wrong) => self.redeem(router_of(router), device % DEVICES, usize::from(n), wrong)?,
            Input::Revoke(router, n) => self.revoke(router_of(router), usize::from(n)),
            Input::Hand { router, amount, phone, account, shown, untold } => {
                self.pay_by_hand(router_of(router), amount, phone, account, shown, untold);
            }
            Input::Tell(n, relay) => {
                if !self.safaricom.tells.is_empty() {
                    let hand = self.safaricom.tells.remove(usize::from(n) % self.safaricom.tells.len());
                    self.tell(&hand, relay_of(relay));
                }
            }
            Input::Reclaim(router, device, n, right) => self.reclaim(router_of(router), device % DEVICES, usize::from(n), right),
            Input::Serve(router, n, package) => self.serve(router_of(router), usize::from(n), package),
            Input::Visits(router, n, count) => self.visits(router_of(router), usize::from(n), count),
            Input::Sell(router, all) => self.routers[router_of(router)].sells(all, self.now),
            Input::Retry(_, n) => {
                let keys: Vec<Key> = self.books.payments().map(Payment::key).collect();
                if let Some(key) = keys.get(usize::from(n) % keys.len().max(1)) {
                    self.books.apply(key, Event::Retry, None, self.wall(), false, &mut no_message)?;
                }
            }
        }
        self.collect();
        self.steps += 1;
        self.lie();
        self.look_at_answers()
    }

    /// What routers said goes to the broker.
    fn collect(&mut self) {
        for number in 0..self.routers.len() {
            for up in std::mem::take(&mut self.routers[number].says) {
                self.send(Packet::Up(number, up));
            }
        }
    }

    fn send(&mut self, packet: Packet) {
        self.steps += 1;
        self.history.push(packet.clone());
        self.bus.push_back(packet);
    }

    fn take_packet(&mut self, n: usize) -> Option<Packet> {
        self.bus.remove(n % self.bus.len().max(1))
    }

    #[allow(clippy::too_many_arguments)] // an input's own fields
    fn pay(&mut self, router: usize, device: u8, package: u8, phone: u8, does: u8, after: u8, callback: Fate) {
        let router = &mut self.routers[router];
        let request = Request::Pay {
            device: router.mac(device),
            package: PACKAGES[usize::from(package) % PACKAGES.len()].parse().unwrap(),
            phone: format!("07123456{:02}", 10 + phone % 90).parse().unwrap(),
            language: None,
        };
        if let Some(request::Answer::Payment(view)) = router.ask(request, self.now) {
            let code = match does % 10 {
                0..=5 => "0",
                6 => "1032",
                7 => "2001",
                8 => "1",
                _ => "1037",
            };
            let script = Script { code, after: u64::from(after) * 1_000, callback };
            self.scripts.entry(view.payment).or_insert(script);
        }
    }

    fn login(&mut self, router: usize, device: u8, n: usize, replace: bool) {
        let router = &mut self.routers[router];
        let accounts: Vec<_> = router.accounts().map(|account| (account.username.clone(), account.password.clone())).collect();
        if let Some((username, password)) = accounts.get(n % accounts.len().max(1)).cloned() {
            let device = router.mac(device);
            router.ask(Request::Login { device, username, password, replace }, self.now);
        }
    }

    /// A phone that takes a new address each time comes so often, uses two packets on the n-th account, and goes.
    fn visits(&mut self, router: usize, n: usize, count: u8) {
        let router = &mut self.routers[router];
        let accounts: Vec<_> = router.accounts().map(|account| (account.username.clone(), account.password.clone())).collect();
        let Some((username, password)) = accounts.get(n % accounts.len().max(1)).cloned() else { return };
        for _ in 0..count {
            let device = router.visitor();
            router.ask(Request::Login { device, username: username.clone(), password: password.clone(), replace: true }, self.now);
            router.forward_of(device, true, 2, self.now);
            router.ask(Request::Logout { device }, self.now);
        }
    }

    // Time.

    /// Time passes; whatever is due on the way happens when it is due.
    fn pass(&mut self, length: u64) -> Result<(), String> {
        let end = self.now + length;
        let mut at_once = 0;
        while let Some(due) = self.due().filter(|due| *due <= end) {
            at_once = if due <= self.now { at_once + 1 } else { 0 };
            if at_once > 1_000 {
                return Err("somebody wants to be woken again and again, and does nothing".to_owned());
            }
            self.jump(due.max(self.now));
            self.fire()?;
        }
        self.jump(end);
        Ok(())
    }

    fn jump(&mut self, to: u64) {
        for router in &mut self.routers {
            router.use_up(self.now, to);
        }
        self.now = to;
    }

    fn due(&self) -> Option<u64> {
        let routers = self.routers.iter().flat_map(|router| [router.due(), router.starts_at()]).flatten();
        let relays = self.relays.iter().filter(|relay| relay.runs).filter_map(|relay| self.relay_due(relay));
        routers.chain(relays).chain(self.safaricom.due()).min()
    }

    fn relay_due(&self, relay: &Relay) -> Option<u64> {
        if self.liar.tells(Lie::NothingIsDue) {
            return None;
        }
        let wall = |at: u64| at.saturating_sub(DAWN);
        let payments = self.books.next_due(|key| relay.preparing.contains(key)).map(wall);
        let messages = self.books.next_message().filter(|_| relay.connected).map(wall);
        let left = self.books.oldest_open().map(|at| wall(at) + LEFT_AFTER);
        let (held, posted) = self.books.next_of_hand();
        let (held, posted) = (held.map(wall), posted.map(|at| wall(at) + LEFT_AFTER));
        let tasks = relay.tasks.iter().map(|(at, _)| at + CALL).min();
        let asks = (!relay.asked).then_some(relay.started_at + GONE_AFTER);
        [payments, messages, left, held, posted, tasks, asks, relay.missed.map(|at| at + 2_000)].into_iter().flatten().min()
    }

    fn fire(&mut self) -> Result<(), String> {
        self.steps += 1;
        self.safaricom.pass(self.now);
        for number in 0..self.routers.len() {
            if self.routers[number].starts_at().is_some_and(|at| at <= self.now) {
                self.start_router(number);
            }
            if self.routers[number].due().is_some_and(|due| due <= self.now) {
                self.routers[number].step(step::Input::Tick, self.now);
            }
        }
        self.collect();
        for number in 0..self.relays.len() {
            if self.relays[number].runs && self.relay_due(&self.relays[number]).is_some_and(|due| due <= self.now) {
                self.look(number)?;
            }
        }
        self.collect();
        Ok(())
    }

    /// Everything is mended, and then so much time passes that everything must have found its end.
    ///
    /// # Errors
    /// With what must not be.
    pub fn settle(&mut self) -> Result<(), String> {
        for number in 0..self.relays.len() {
            self.relays[number].trouble = None;
            self.start_relay(number);
            if !self.relays[number].connected {
                self.link_relay(number, true);
            }
        }
        for number in 0..self.routers.len() {
            let router = &mut self.routers[number];
            (router.crash, router.store_fails) = (None, false);
            self.start_router(number);
            // Only whose connection was cut, or lost something, connects anew: the others must find to it by themselves.
            if !self.routers[number].net || self.routers[number].suffered {
                self.link_router(number, true);
            }
        }
        // 20 minutes: the window of a payment in doubt, and some more.
        for _ in 0..60 {
            for _ in 0..6 {
                self.flow()?;
            }
            self.pass(20_000)?;
        }
        for _ in 0..6 {
            self.flow()?;
        }
        Ok(())
    }
}

fn no_message(_: &Payment, _: &Outcome) -> Message {
    unreachable!("an operator's retry tells nobody anything")
}
