//! The way to the relay: whether it is there, what time it has, and what waits to be acknowledged.

use super::Gateway;
use crate::credentials;
use crate::message::{Down, DownBody, Up, UpBody, VERSION, VouchersRevoked};
use crate::order::{Order, OrderState};
use crate::step::Entropy;
use crate::time::{Monotonic, Now, Wall};
use crate::units::{MessageId, Millis, OrderId};
use crate::update::Report;

/// A hello that nobody answered is another one after this long: who answers later than that tells an old time.
const HELLO_AGAIN: Millis = Millis::from_seconds(30);

/// The first hello is repeated before that, at first after this long and then after twice as long each time: a relay that comes a
/// moment after us did not hear it, and not every broker's list lets us see its presence.
const HELLO_REPEATED: Millis = Millis::from_seconds(2);

/// A relay that has a request for so long and does not say so is not there.
const ANSWERS_WITHIN: Millis = Millis::from_seconds(10);

/// The relay is asked at most so often for one order.
const ATTEMPTS: u8 = 4;

/// What is known of the way to the relay.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    connected: bool,
    /// What the presence topic says; a relay that never said anything may be there all the same.
    absent: bool,
    hello: Option<Hello>,
    welcomed: bool,
    /// The request that has waited longest for the relay's word since that was last heard, and until when it may.
    unanswered: Option<(MessageId, Monotonic)>,
    clock: Option<RelayClock>,
    /// Messages of this run that nobody keeps: a part of their ids.
    passing: u64,
}

#[derive(Debug, Clone)]
struct Hello {
    nonce: MessageId,
    /// Until when an answer to it counts; another one is said then.
    until: Monotonic,
    /// When it is said again; nothing where nobody is there to hear it.
    again_at: Option<Monotonic>,
    /// How long to wait after that.
    wait: Millis,
}

/// The relay's clock as it was at one moment of ours.
#[derive(Debug, Clone, Copy)]
struct RelayClock {
    theirs: Wall,
    ours: Monotonic,
}

impl Link {
    /// Whether a payment could be asked for now.
    pub(super) const fn can_pay(&self) -> bool {
        self.connected && self.welcomed && !self.absent
    }
    pub(super) const fn connected(&self) -> bool {
        self.connected
    }
    pub(super) fn timeout(&self) -> Option<Monotonic> {
        let unanswered = self.unanswered.as_ref().map(|(_, until)| *until);
        self.hello.as_ref().and_then(|hello| hello.again_at).into_iter().chain(unanswered).min()
    }
    /// The relay's time now, as reckoned from what it said last.
    pub(super) fn relay_time(&self, now: Monotonic) -> Option<Wall> {
        self.clock.map(|clock| Wall(clock.theirs.0.saturating_add(now.since(clock.ours).0)))
    }
}

impl Gateway {
    pub(super) fn link_changed(&mut self, connected: bool, now: Now, entropy: &Entropy) {
        self.link.connected = connected;
        self.link.welcomed = false;
        self.link.hello = None;
        self.link.unanswered = None;
        if connected {
            self.say_hello(HELLO_REPEATED, now, entropy);
        }
    }

    pub(super) fn relay_presence(&mut self, online: bool, now: Now, entropy: &Entropy) {
        self.link.absent = !online;
        // Even where a hello is on its way: a relay that only now subscribed, at a broker that forgot it, never got that.
        if online && self.link.connected && !self.link.welcomed {
            self.say_hello(HELLO_REPEATED, now, entropy);
        }
        if !online {
            self.link.welcomed = false;
            self.link.unanswered = None;
            // Nobody is there to answer: its presence will wake us. But what the broker keeps may be old, and a signed answer to
            // what was said already is better proof.
            if let Some(hello) = &mut self.link.hello {
                hello.again_at = None;
            }
        }
    }

    /// Says hello; once more after `wait`, where that is before another one is due.
    fn say_hello(&mut self, wait: Millis, now: Now, entropy: &Entropy) {
        let Some(nonce) = credentials::nonce(entropy) else { return };
        let until = now.monotonic.after(HELLO_AGAIN);
        let again_at = Some(now.monotonic.after(wait).min(until));
        self.link.hello = Some(Hello { nonce: nonce.clone(), until, again_at, wait });
        self.publish_hello(nonce);
    }

    fn publish_hello(&mut self, nonce: MessageId) {
        let version = self.settings.version.clone();
        self.publish_once(UpBody::Hello { nonce, version });
    }

    pub(super) fn say_hello_again(&mut self, now: Now, entropy: &Entropy) {
        let Some(hello) = self.link.hello.as_mut().filter(|hello| hello.again_at.is_some_and(|at| at <= now.monotonic)) else { return };
        if hello.until <= now.monotonic {
            return self.say_hello(HELLO_AGAIN, now, entropy);
        }
        // The same one: whichever of them is answered, its time is no older than the first.
        hello.wait = hello.wait.plus(hello.wait);
        hello.again_at = Some(now.monotonic.after(hello.wait).min(hello.until));
        let nonce = hello.nonce.clone();
        self.publish_hello(nonce);
    }

    /// Waits for the relay's word about a request. One at a time: what comes after it goes the same way.
    pub(super) fn expect_answer(&mut self, id: &MessageId, now: Now) {
        if self.link.can_pay() && self.link.unanswered.is_none() {
            self.link.unanswered = Some((id.clone(), now.monotonic.after(ANSWERS_WITHIN)));
        }
    }

    /// A relay that says nothing about a request is not there, whatever the broker keeps of it: nobody else is asked for money until it
    /// has answered a hello. What waits is sent again then.
    pub(super) fn doubt_the_relay(&mut self, now: Now, entropy: &Entropy) {
        if self.link.unanswered.take_if(|(_, until)| *until <= now.monotonic).is_some() {
            self.link.welcomed = false;
            self.log("relay: it does not answer; no payments until it does".to_owned());
            self.say_hello(HELLO_REPEATED, now, entropy);
        }
    }

    fn next_seq(&mut self) -> u64 {
        let seq = self.counters.next_seq;
        self.counters.next_seq = seq.saturating_add(1);
        self.step.counters = true;
        seq
    }

    /// Sends what need not arrive. It takes the number of the next message that is kept: a number of its own would cost a
    /// flash write, for something that nobody remembers.
    pub(super) fn publish_once(&mut self, body: UpBody) {
        let seq = self.counters.next_seq;
        self.link.passing += 1;
        let Ok(id) = format!("{}-{}-{}", body.topic().replace('_', "-"), self.started.0, self.link.passing).parse() else { return };
        self.step.publish.push(Up { v: VERSION, id, seq, body });
    }

    /// Sends what must arrive: kept until the relay says that it has it.
    pub(super) fn publish_durably(&mut self, id: MessageId, body: UpBody) {
        let up = Up { v: VERSION, id, seq: self.next_seq(), body };
        self.step.outbox.insert(up.seq);
        self.outbox.insert(up.clone());
        self.step.publish.push(up);
    }

    /// Takes a message out of the outbox, acknowledged or withdrawn.
    pub(super) fn forget_message(&mut self, id: &MessageId) {
        self.link.unanswered.take_if(|(waits, _)| waits == id);
        self.step.outbox.extend(self.outbox.remove(id));
    }

    /// The relay has it, and where it tells of a sale, so have RADIUS servers.
    fn acknowledged(&mut self, id: &MessageId) {
        if let Some(username) = self.outbox.sale_told_by(id).cloned()
            && self.accounts.get(&username).is_some_and(|account| (1..u8::MAX).contains(&account.untold))
        {
            self.accounts.change(&username, |account| account.untold -= 1);
            self.touch_account(&username);
        }
        self.forget_message(id);
    }

    /// Withdraws the request for an order, where the relay has not said that it has it.
    pub(super) fn withdraw_request(&mut self, order: &OrderId) {
        if let Some(id) = self.outbox.request_for(order).cloned() {
            self.forget_message(&id);
        }
    }

    pub(super) fn relay_says(&mut self, down: Down, now: Now, entropy: &Entropy) {
        let clock = RelayClock { theirs: down.at, ours: now.monotonic };
        match down.body {
            DownBody::Welcome { nonce } => {
                let Some(hello) = self.link.hello.take_if(|hello| hello.nonce == nonce && now.monotonic <= hello.until) else {
                    return; // an answer to an earlier hello: its time is old
                };
                // It was made after the hello was sent: so long ago at most.
                self.time_is_known(down.at, HELLO_AGAIN.minus(hello.until.since(now.monotonic)), now);
                self.link.welcomed = true;
                self.link.absent = false;
                self.link.clock = Some(clock);
                self.step.publish.extend(self.outbox.values().cloned());
                self.log("relay: it answers, payments are possible".to_owned());
            }
            DownBody::Ack { of } => of.iter().for_each(|id| self.acknowledged(id)),
            DownBody::Stale { order } => {
                self.link.clock = Some(clock);
                self.ask_again(&order, now);
            }
            DownBody::Payment(update) => {
                // It is the relay's word about the request, too, where the acknowledgement was lost.
                let asked = self.outbox.request_for(&update.order);
                self.link.unanswered.take_if(|(waits, _)| Some(&*waits) == asked);
                self.payment_told(update, down.at, now, entropy);
                self.answer_reclaims(now);
                self.publish_once(UpBody::Ack { of: vec![down.id] });
            }
            DownBody::Deposit(deposit) => {
                self.deposit_arrived(&deposit, down.at, now, entropy);
                self.publish_once(UpBody::Ack { of: vec![down.id] });
            }
            DownBody::Receipt(answer) => self.receipt_answered(answer, now, entropy),
            DownBody::Vouchers(new) => {
                if self.relay_vouchers(new, now) {
                    self.publish_once(UpBody::Ack { of: vec![down.id] });
                }
            }
            DownBody::RevokeVouchers(which) => {
                let (revoked, used) = self.relay_revokes(which, now);
                self.publish_once(UpBody::VouchersRevoked(VouchersRevoked { of: down.id, revoked, used }));
            }
            DownBody::Update(offer) => self.step.updates.push((down.id, offer)),
        }
    }

    /// How an update stands. One word about it waits for the relay's acknowledgement, the latest.
    pub(super) fn update_stands(&mut self, report: Report) {
        if !self.settings.relay {
            return; // it would wait for ever
        }
        let waiting = self.outbox.update().cloned();
        match waiting {
            Some(same) if same.body == UpBody::Update(report.clone()) => self.step.publish.push(same),
            other => {
                if let Some(older) = other {
                    self.forget_message(&older.id);
                }
                if let Ok(id) = format!("update-{}", self.counters.next_seq).parse() {
                    self.publish_durably(id, UpBody::Update(report));
                }
            }
        }
    }

    /// A request came too late to the relay, and nobody was prompted. Asks anew while the customer waits.
    fn ask_again(&mut self, id: &OrderId, now: Now) {
        self.withdraw_request(id);
        let again = |order: &&Order| order.state == OrderState::Pending && order.attempt < ATTEMPTS;
        if self.orders.get(id).filter(again).is_none() {
            return; // a pending order that may not be asked for again expires by itself
        }
        let asked = self.orders.change(id, |order| {
            order.attempt += 1;
            order.clone()
        });
        let Some(order) = asked else { return };
        self.step.orders.insert(id.clone());
        self.request_payment(&order, now);
    }
}
