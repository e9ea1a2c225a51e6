//! The ledger: every shilling that arrived, once, and what became of it. Entries are only ever added.

use crate::time::Wall;
use crate::units::{Msisdn, OrderId, PackageId, Receipt, Shillings, Username};
use serde::{Deserialize, Serialize};

/// Money that arrived. The receipt is the entry's key: a second one for the same receipt cannot exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// M-Pesa's receipt.
    pub receipt: Receipt,
    /// The order that it paid.
    pub order: OrderId,
    /// Who paid.
    pub phone: Msisdn,
    /// What for.
    pub package: PackageId,
    /// What arrived.
    pub amount: Shillings,
    /// When it was entered.
    pub at: Option<Wall>,
    /// The account that has it; null for money that waits for the operator.
    pub account: Option<Username>,
}
