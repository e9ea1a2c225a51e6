//! The ledger: every shilling that arrived, once, and what became of it. Entries are only ever added; one that waits for the
//! operator gets its account once, and keeps what it waited for. They are forgotten a quarter after what they paid for is
//! served (`gateway/pruning.rs`).

use crate::account::PurchaseNumber;
use crate::payer::Payer;
use crate::time::{Day, Wall};
use crate::units::{Mac, OrderId, PackageId, Receipt, Shillings, Username};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Money that arrived. The receipt is the entry's key: a second one for the same receipt cannot exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// M-Pesa's receipt.
    pub receipt: Receipt,
    /// The order that it paid; the receipt in small letters where it was paid by hand.
    pub order: OrderId,
    /// Who paid.
    pub phone: Payer,
    /// What for.
    pub package: PackageId,
    /// What arrived.
    pub amount: Shillings,
    /// When it was entered.
    pub at: Option<Wall>,
    /// The account that has it; null for money that waits for the operator.
    pub account: Option<Username>,
    /// Which of that account's purchases it bought, or added to. Nothing where an earlier program
    /// entered it: those did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purchase: Option<PurchaseNumber>,
    /// What kept it from being served when it came, and what the operator made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<Box<Waited>>,
    /// Since when it is known to be of no more use; it is forgotten some time after that (`gateway/pruning.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Day>,
}

/// Money that could not be served when it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// Why not.
    pub why: Unserved,
    /// The device that asked, where one did.
    pub device: Option<Mac>,
    /// When the operator served it, by the router's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_at: Option<Wall>,
    /// The package that it was served as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_as: Option<PackageId>,
}

/// Why money is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Unserved {
    /// Less came than the package costs.
    Underpaid {
        /// What it costs.
        price: Shillings,
    },
    /// The price list has neither the package that was bought nor one at this price.
    NoPackage,
    /// No account could be made.
    NoAccount,
    /// It was told of so late that it may have been served, and forgotten, before.
    Forgotten,
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Underpaid { price } => write!(f, "too little: the package costs KSh {price}"),
            Self::NoPackage => f.write_str("the price list has no such package, and none at this price"),
            Self::NoAccount => f.write_str("no account could be made for it"),
            Self::Forgotten => f.write_str("it came so late that it may have been served before"),
        }
    }
}

impl LedgerEntry {
    /// Why it waits for the operator; nothing where it is served.
    #[must_use]
    pub fn unserved(&self) -> Option<Unserved> {
        let waits = self.account.is_none();
        waits.then(|| self.waited.as_ref().map_or(Unserved::NoPackage, |waited| waited.why))
    }
}
