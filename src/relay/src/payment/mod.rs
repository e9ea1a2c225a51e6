//! One payment, from request to result: state × event → new state and what is to be done. Pure: no I/O, no clock.
//!
//! The rules that everything here serves: a customer is prompted once; success is final; what nobody understands is
//! neither success nor failure, is asked for until its window ends, and is then shown to the operator.

mod event;
pub mod schedule;
pub mod till;

use crate::daraja::result::{Meaning, meaning};
pub use event::{Action, Callback, Confirmation, Event, PushAnswer, Step, Verdict};
use lango_core::message::{Outcome, PaymentUpdate, REQUEST_FRESH_FOR, Reason};
use lango_core::time::Wall;
use lango_core::units::{Mac, Msisdn, OrderId, PackageId, Receipt, RouterName, Shillings};

/// What is said of a callback whose receipt is not the one that the payment has.
pub const SECOND_RECEIPT: &str = "a second receipt for a payment that is paid";
/// What is said of a callback whose receipt is in the books for somebody else's money.
pub const RECEIPT_TAKEN: &str = "the receipt is another payment's";

/// Where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Stored. No prompt is out: none was sent yet, or Daraja said that it sent none.
    Requested,
    /// A push is on its way, or was, and nobody knows what became of it. It is never sent again from here.
    Prompting,
    /// Daraja has it.
    Prompted,
    /// A query says that it is paid; the callback, which alone has the receipt, is given a moment.
    Confirmed,
    /// The money arrived. Final.
    Paid,
    /// No money moved, as far as Safaricom says. A success that comes later still wins.
    Failed(Reason),
    /// The window ended and nobody knows. The router was told that it failed; a success that comes later still wins.
    NeedsReview,
}

/// A payment as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Whose customer.
    pub router: RouterName,
    /// The order's id at the router.
    pub order: OrderId,
    /// What is bought.
    pub package: PackageId,
    /// Its name.
    pub label: String,
    /// What was asked for.
    pub amount: Shillings,
    /// What arrived, once that is known.
    pub paid: Option<Shillings>,
    /// Who pays.
    pub phone: Msisdn,
    /// The paying device.
    pub device: Mac,
    /// When the customer asked.
    pub asked_at: Wall,
    /// When it was stored here.
    pub received_at: Wall,
    /// Where it stands.
    pub state: State,
    /// When the (last) push was sent.
    pub prompted_at: Option<Wall>,
    /// Daraja's name for it, once known.
    pub checkout: Option<String>,
    /// Pushes refused for now, or queries made, in the present state.
    pub tries: u32,
    /// When something is to be done next.
    pub due: Option<Wall>,
    /// What Daraja said last, for the operator.
    pub code: Option<String>,
    /// What the router was told as the receipt.
    pub receipt: Option<Receipt>,
    /// M-Pesa's own receipt; differs from `receipt` where that had to be a stand-in.
    pub mpesa_receipt: Option<Receipt>,
    /// When it was decided.
    pub decided_at: Option<Wall>,
    /// What an operator should look at.
    pub flag: Option<String>,
}

impl Payment {
    /// The last moment at which a prompt may still be sent.
    #[must_use]
    pub const fn fresh_until(&self) -> Wall {
        Wall(self.asked_at.0.saturating_add(REQUEST_FRESH_FOR))
    }

    /// What arrived; before that is known, what was asked for.
    #[must_use]
    pub fn arrived(&self) -> Shillings {
        self.paid.unwrap_or(self.amount)
    }

    /// What the router is told.
    #[must_use]
    pub fn update(&self, outcome: Outcome) -> PaymentUpdate {
        PaymentUpdate { order: self.order.clone(), package: self.package.clone(), device: self.device, phone: self.phone, outcome }
    }

    /// What an event makes of this payment.
    #[must_use]
    pub fn on(&self, event: &Event, now: Wall) -> Step {
        match event {
            Event::Due => self.on_due(now),
            Event::Push(answer) => self.on_push(answer, now),
            Event::Callback(callback) => self.on_callback(callback, now),
            Event::Confirmation(confirmation) => self.on_confirmation(confirmation, now),
            Event::Unreadable => self.distrust("the callback is not readable", now),
            Event::Query { code, missed } => self.on_query(code.as_deref(), *missed, now),
            Event::Retry => self.on_retry(now),
        }
    }

    fn on_due(&self, now: Wall) -> Step {
        // Another relay was here first: what was due is done, and the next time is not yet.
        if self.due.is_none_or(|due| due > now) {
            return Step::nothing(self, Verdict::Known);
        }
        let mut next = self.clone();
        next.due = None;
        match self.state {
            State::Requested if now > self.fresh_until() => self.fail(Reason::Busy, self.code.clone(), now),
            State::Requested => {
                next.state = State::Prompting;
                next.prompted_at = Some(now);
                next.due = Some(schedule::window_end(now));
                Step::taken(next, vec![Action::Push])
            }
            State::Prompting => match self.window_end() {
                Some(end) if now < end => {
                    next.due = Some(end);
                    Step::taken(next, Vec::new())
                }
                _ => self.give_up(now),
            },
            State::Confirmed => match self.stand_in_receipt() {
                Some(receipt) => self.pay(receipt, None, self.amount, now),
                None => self.give_up(now),
            },
            State::Prompted | State::NeedsReview => {
                let Some(checkout) = self.checkout.clone() else { return Step::taken(next, Vec::new()) };
                next.tries = self.tries.saturating_add(1);
                next.due = schedule::next_query(self.prompted_at.unwrap_or(self.received_at), next.tries, now);
                Step::taken(next, vec![Action::Query(checkout)])
            }
            // A failed payment is due only where the operator asked for it: once.
            State::Failed(_) => Step::taken(next, self.checkout.clone().map(Action::Query).into_iter().collect()),
            State::Paid => Step::taken(next, Vec::new()),
        }
    }

    fn on_push(&self, answer: &PushAnswer, now: Wall) -> Step {
        let mut next = self.clone();
        match answer {
            PushAnswer::Accepted(checkout) => {
                match &self.checkout {
                    None => next.checkout = Some(checkout.clone()),
                    Some(known) if known == checkout => {}
                    Some(_) => return self.distrust("the push was accepted under another request id than the callback had", now),
                }
                if self.state == State::Prompting {
                    next.state = State::Prompted;
                    next.tries = 0;
                    next.due = schedule::next_query(now, 0, now);
                }
                Step::taken(next, Vec::new())
            }
            // A callback was quicker: what it said stands.
            _ if self.state != State::Prompting => Step::nothing(self, Verdict::Known),
            PushAnswer::Busy(code) | PushAnswer::Unsent(code) => {
                let again = schedule::push_again(self.tries, now);
                if again > self.fresh_until() {
                    return self.fail(Reason::Busy, Some(code.clone()), now);
                }
                next.state = State::Requested;
                next.tries = self.tries.saturating_add(1);
                next.code = Some(code.clone());
                next.due = Some(again);
                Step::taken(next, Vec::new())
            }
            PushAnswer::Refused(reason, code) => self.fail(*reason, Some(code.clone()), now),
            PushAnswer::InDoubt(code) => {
                next.code = Some(code.clone());
                Step::taken(next, Vec::new())
            }
        }
    }

    fn on_callback(&self, callback: &Callback, now: Wall) -> Step {
        if self.prompted_at.is_none() {
            return self.disbelieve("nobody was prompted yet", callback, now);
        }
        // The push's own answer is the better witness: where it has told the id, no other payment's claim counts.
        let foreign = self.checkout.as_ref().map_or(callback.request_taken, |known| *known != callback.checkout);
        if foreign {
            return self.disbelieve("the request id is another payment's", callback, now);
        }
        if callback.foreign_shortcode {
            return self.disbelieve("the shortcode is not ours", callback, now);
        }
        let mut known = self.clone();
        known.checkout = Some(callback.checkout.clone());
        match meaning(&callback.code) {
            Meaning::Success => {
                // Another amount than was asked for is money as well: what it is worth is its router's to say, as of all money.
                let Some(amount) = callback.amount.filter(|amount| !amount.is_zero()) else {
                    return self.disbelieve("it names no amount in whole shillings", callback, now);
                };
                let Some(receipt) = callback.receipt.clone() else { return self.disbelieve("it has no receipt", callback, now) };
                if callback.receipt_taken {
                    return self.disbelieve(RECEIPT_TAKEN, callback, now);
                }
                if callback.deposited && self.state != State::Paid {
                    return known.paid_with(receipt, amount, now);
                }
                if callback.deposited && self.mpesa_receipt.is_none() {
                    return self.disbelieve("its money is in the books as paid by hand, too", callback, now);
                }
                match &self.mpesa_receipt {
                    Some(known) if *known != receipt => self.disbelieve(SECOND_RECEIPT, callback, now),
                    Some(_) if self.arrived() != amount => self.disbelieve("its receipt came with another amount before", callback, now),
                    _ => known.money_confirmed(receipt, amount, now),
                }
            }
            Meaning::Failure(reason) => match self.state {
                State::Paid | State::Confirmed | State::Failed(_) => Step::nothing(self, Verdict::Known),
                State::Requested | State::Prompting | State::Prompted | State::NeedsReview => {
                    known.fail(reason, Some(callback.code.clone()), now)
                }
            },
            Meaning::Pending | Meaning::Unknown => {
                if matches!(self.state, State::Prompting | State::Prompted) {
                    known.state = State::Prompted;
                    known.code = Some(callback.code.clone());
                    known.due = Some(sooner(self.due, schedule::soon(now)));
                }
                Step { payment: known, actions: Vec::new(), verdict: Verdict::Undecided }
            }
        }
    }

    fn on_confirmation(&self, confirmation: &Confirmation, now: Wall) -> Step {
        let Confirmation { receipt, amount, receipt_taken, .. } = confirmation;
        if *receipt_taken || self.prompted_at.is_none() || *amount != self.amount {
            return Step::nothing(self, Verdict::Known);
        }
        if self.state == State::Paid && self.mpesa_receipt.is_some() {
            // Somebody paid once more by hand: other money, and not this payment's.
            return Step::nothing(self, Verdict::Known);
        }
        self.money_confirmed(receipt.clone(), *amount, now)
    }

    fn money_confirmed(&self, receipt: Receipt, amount: Shillings, now: Wall) -> Step {
        if self.state != State::Paid {
            return self.pay(receipt.clone(), Some(receipt), amount, now);
        }
        if self.mpesa_receipt.is_some() {
            return Step::nothing(self, Verdict::Known);
        }
        // A query was quicker and had no receipt. The router keeps the stand-in: two receipts would be served twice.
        let mut next = self.clone();
        if amount != self.arrived() {
            let before = self.arrived();
            next.flag = Some(format!("KSh {amount} came, and KSh {before} were served and are in the books: only a query had told of it"));
        }
        next.mpesa_receipt = Some(receipt.clone());
        next.paid = Some(amount);
        Step::taken(next, vec![Action::NameReceipt(receipt)])
    }

    /// What an operator is to know of another sum than the one that was asked for. Whether it is enough the router says, by its prices.
    fn difference(&self, amount: Shillings) -> Option<String> {
        let asked = self.amount;
        match amount.cmp(&asked) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => Some(format!(
                "KSh {amount} came, and KSh {asked} were asked for: what is too little waits on the router (`lango payments`, `lango serve`)"
            )),
            std::cmp::Ordering::Greater => Some(format!(
                "KSh {amount} came, and KSh {asked} were asked for: served as asked, KSh {} are too much",
                amount.minus(asked)
            )),
        }
    }

    fn on_query(&self, code: Option<&str>, missed: bool, now: Wall) -> Step {
        let mut next = self.clone();
        next.code = code.map(str::to_owned).or(next.code);
        match (code.map_or(Meaning::Pending, meaning), self.state) {
            (_, State::Paid | State::Confirmed | State::Requested | State::Prompting) => Step::nothing(self, Verdict::Known),
            (Meaning::Success, State::Prompted) if !missed => {
                next.state = State::Confirmed;
                next.due = Some(schedule::callback_grace(now));
                Step::taken(next, Vec::new())
            }
            (Meaning::Success, _) => match self.stand_in_receipt() {
                Some(receipt) => next.pay(receipt, None, self.amount, now),
                None => Step::nothing(self, Verdict::Known),
            },
            (Meaning::Failure(reason), State::Prompted | State::NeedsReview) => next.fail(reason, next.code.clone(), now),
            (Meaning::Pending | Meaning::Unknown, State::Prompted) if self.window_end().is_none_or(|end| now >= end) => next.give_up(now),
            _ => Step { payment: next, actions: Vec::new(), verdict: Verdict::Undecided },
        }
    }

    fn on_retry(&self, now: Wall) -> Step {
        if self.checkout.is_none() || self.state == State::Paid {
            return Step::nothing(self, Verdict::Known);
        }
        Step::taken(Self { due: Some(now), ..self.clone() }, Vec::new())
    }

    /// The money is here: the one way into [`State::Paid`].
    fn pay(&self, receipt: Receipt, mpesa_receipt: Option<Receipt>, amount: Shillings, now: Wall) -> Step {
        let mut next = self.clone();
        next.state = State::Paid;
        next.paid = Some(amount);
        next.flag = self.difference(amount).or(next.flag);
        next.code = Some("0".to_owned());
        next.receipt = Some(receipt.clone());
        next.mpesa_receipt = mpesa_receipt;
        next.decided_at = Some(now);
        next.due = None;
        let told = Outcome::Paid { receipt: receipt.clone(), amount };
        Step::taken(next, vec![Action::Book(receipt), Action::Tell(told)])
    }

    /// The money is here, and in the books as paid by hand: its router may have been told of it, and not yet whose prompt it was.
    #[must_use]
    pub fn paid_with(&self, receipt: Receipt, amount: Shillings, now: Wall) -> Step {
        let mut step = self.pay(receipt.clone(), Some(receipt), amount, now);
        step.actions.retain(|action| !matches!(action, Action::Book(_)));
        step
    }

    /// Safaricom says that it is paid, and `why` it may be served already all the same: a person must look.
    #[must_use]
    pub fn in_doubt(&self, why: &'static str, now: Wall) -> Step {
        let mut step = if self.state == State::NeedsReview { Step::taken(self.clone(), Vec::new()) } else { self.give_up(now) };
        step.payment.flag = Some(why.to_owned());
        step.payment.due = None;
        step
    }

    fn fail(&self, reason: Reason, code: Option<String>, now: Wall) -> Step {
        let mut next = self.clone();
        next.state = State::Failed(reason);
        next.code = code;
        next.decided_at = Some(now);
        next.due = None;
        // Of a payment under review the router heard already that it failed: its customer was told, and went on.
        let told = if self.state == State::NeedsReview { Vec::new() } else { vec![Action::Tell(Outcome::Failed { reason })] };
        Step::taken(next, told)
    }

    fn give_up(&self, now: Wall) -> Step {
        let mut next = self.clone();
        next.state = State::NeedsReview;
        next.flag = next.flag.or_else(|| Some("no answer within the window".to_owned()));
        next.decided_at = Some(now);
        next.due = next.checkout.is_some().then(|| schedule::next_query(self.prompted_at.unwrap_or(now), self.tries, now)).flatten();
        Step::taken(next, vec![Action::Tell(Outcome::Failed { reason: Reason::Other })])
    }

    /// Shows it to the operator, believes nothing, and asks Safaricom itself where that is possible.
    fn distrust(&self, what: &'static str, now: Wall) -> Step {
        let mut next = self.clone();
        next.flag = Some(what.to_owned());
        if self.state == State::Prompted {
            next.due = Some(sooner(self.due, schedule::soon(now)));
        }
        Step { payment: next, actions: Vec::new(), verdict: Verdict::Mismatch(what) }
    }

    /// As [`Payment::distrust`]; what money a callback told of is shown, too.
    fn disbelieve(&self, what: &'static str, callback: &Callback, now: Wall) -> Step {
        let mut step = self.distrust(what, now);
        if meaning(&callback.code) == Meaning::Success {
            let receipt = callback.receipt.as_ref().map(|receipt| format!("receipt {receipt}"));
            let amount = callback.amount.map(|amount| format!("KSh {amount}"));
            let told: Vec<String> = receipt.into_iter().chain(amount).collect();
            step.payment.flag = Some(if told.is_empty() { what.to_owned() } else { format!("{what} ({})", told.join(", ")) });
        }
        step
    }

    fn stand_in_receipt(&self) -> Option<Receipt> {
        self.checkout.as_deref().and_then(schedule::stand_in_receipt)
    }

    fn window_end(&self) -> Option<Wall> {
        self.prompted_at.map(schedule::window_end)
    }
}

fn sooner(due: Option<Wall>, other: Wall) -> Wall {
    due.map_or(other, |due| due.min(other))
}

#[cfg(test)]
mod tests;
