//! A payment order: one wish of one device to buy one package.

use crate::language::Language;
use crate::message::Reason;
use crate::package::Package;
use crate::time::{BootId, Day, Monotonic, Wall};
use crate::units::{Mac, Millis, Msisdn, OrderId, Receipt, Shillings, Username};
use serde::{Deserialize, Serialize};

/// How long a customer waits for the outcome. A prompt lives about a minute and its callback takes up to half a minute
/// more; after that the page says so, and money that still comes is served all the same.
pub const PENDING_FOR: Millis = Millis::from_seconds(180);

/// How long the page of a paid order shows the credentials (contract: 5 minutes).
pub const CREDENTIALS_SHOWN_FOR: Millis = Millis::from_minutes(5);

/// A payment order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Who asked; the session goes to it.
    pub device: Mac,
    /// Who is asked to pay.
    pub phone: Msisdn,
    /// What is bought, as it was offered then: a price that changes meanwhile does not touch it.
    pub package: Package,
    /// When, for people.
    pub created: Option<Wall>,
    /// In which boot `since` was.
    pub boot: BootId,
    /// When it got its present state.
    pub since: Monotonic,
    /// How many times the relay was asked: a request that came to it too late is made anew.
    pub attempt: u8,
    /// What the customer reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Where it stands.
    pub state: OrderState,
    /// Whether the customer waits for it no longer, having mistyped the number: nobody is told about it again unless money comes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
    /// Since when it is known to be of no more use; it is forgotten some time after that (`gateway/pruning.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Day>,
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum OrderState {
    /// Asked, not decided.
    Pending,
    /// Money arrived and was served.
    Paid {
        /// M-Pesa's receipt.
        receipt: Receipt,
        /// What arrived.
        amount: Shillings,
        /// The account that has it.
        account: Username,
    },
    /// Money arrived and waits for the operator: `lango payments` shows it.
    Unserved {
        /// M-Pesa's receipt.
        receipt: Receipt,
        /// What arrived.
        amount: Shillings,
    },
    /// No money moved.
    Failed {
        /// Why.
        reason: Reason,
    },
    /// Nothing was heard in time.
    Expired,
}

impl OrderState {
    /// The account that has what was paid for.
    #[must_use]
    pub const fn account(&self) -> Option<&Username> {
        match self {
            Self::Paid { account, .. } => Some(account),
            Self::Pending | Self::Unserved { .. } | Self::Failed { .. } | Self::Expired => None,
        }
    }
}
