//! What a payment hears, and what follows from it.

use super::Payment;
use lango_core::message::{Outcome, Reason};
use lango_core::time::Wall;
use lango_core::units::{Receipt, Shillings};

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushAnswer {
    /// Accepted, under this CheckoutRequestID.
    Accepted(String),
    /// Refused for now, and no prompt was made: try again. With what was said.
    Busy(String),
    /// It never left this machine: try again. With what went wrong.
    Unsent(String),
    /// Refused for good, and no prompt was made.
    Refused(Reason, String),
    /// The answer was lost, or said nothing: a prompt may be out.
    InDoubt(String),
}

/// A callback, read and held against what the ledger knows of receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// CheckoutRequestID.
    pub checkout: String,
    /// ResultCode.
    pub code: String,
    /// What arrived.
    pub amount: Option<Shillings>,
    /// M-Pesa's receipt.
    pub receipt: Option<Receipt>,
    /// When M-Pesa completed it, as it says.
    pub completed_at: Option<Wall>,
    /// Whether the receipt is in the books for another payment.
    pub receipt_taken: bool,
    /// Whether the receipt is in the books as money that came without a prompt, for this router or for nobody yet.
    pub deposited: bool,
    /// Whether the request is in the books for another payment.
    pub request_taken: bool,
    /// Whether it named a shortcode that is not ours.
    pub foreign_shortcode: bool,
}

/// The money of this payment, told by another way than its callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// M-Pesa's receipt.
    pub receipt: Receipt,
    /// What arrived.
    pub amount: Shillings,
    /// When M-Pesa completed it, as it says.
    pub completed_at: Option<Wall>,
    /// Whether the receipt is in the books already.
    pub receipt_taken: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The moment of [`Payment::due`] came.
    Due,
    /// The push ended.
    Push(PushAnswer),
    /// Somebody who knew the payment's secret posted a result.
    Callback(Callback),
    /// Safaricom told of a payment by hand, which turns out to be this one's money.
    Confirmation(Confirmation),
    /// Somebody who knew the secret posted what is no result.
    Unreadable,
    /// A query ended.
    Query {
        /// The transaction's result code; none where Daraja had no answer.
        code: Option<String>,
        /// Whether callbacks could not be received for a while since the prompt: then none is waited for.
        missed: bool,
    },
    /// The operator wants it looked at now.
    Retry,
}

/// What is to be done. `Tell` and `Book` become durable together with the new state; the rest follows after that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send the prompt. Only ever after [`State::Prompting`] is durable.
    Push,
    /// Ask Daraja about this CheckoutRequestID.
    Query(String),
    /// Tell the router, until it acknowledges it.
    Tell(Outcome),
    /// Enter the money that arrived.
    Book(Receipt),
    /// Note that the money that is booked has this receipt at M-Pesa.
    NameReceipt(Receipt),
}

/// What was made of an event, for the log and for the stored callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counted.
    Taken,
    /// It said nothing new.
    Known,
    /// Its code means nothing to us.
    Undecided,
    /// It is not believed: this does not match.
    Mismatch(&'static str),
}

/// The outcome of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The payment after it.
    pub payment: Payment,
    /// What is to be done.
    pub actions: Vec<Action>,
    /// What was made of it.
    pub verdict: Verdict,
}

impl Step {
    pub(super) fn taken(payment: Payment, actions: Vec<Action>) -> Self {
        Self { payment, actions, verdict: Verdict::Taken }
    }
    /// It changes nothing.
    #[must_use]
    pub fn nothing(payment: &Payment, verdict: Verdict) -> Self {
        Self { payment: payment.clone(), actions: Vec::new(), verdict }
    }
}
