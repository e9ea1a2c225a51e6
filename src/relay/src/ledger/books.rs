//! The money that arrived, as it is held against M-Pesa's own statement.

use super::deposits::Deposit;
use super::payments::key;
use super::{Key, Ledger, maybe_parsed, maybe_wall, parsed, to_db, unsigned, wall};
use lango_core::time::Wall;
use lango_core::units::{Receipt, RouterName, Shillings};
use sqlx::any::AnyRow;

/// Money that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the router was told as the receipt.
    pub receipt: Receipt,
    /// M-Pesa's own; nothing where only a query told of the money.
    pub mpesa_receipt: Option<Receipt>,
    /// Which payment it is; nothing where there was no prompt.
    pub key: Option<Key>,
    /// Whose it is; nothing where nobody knows yet.
    pub router: Option<RouterName>,
    /// How much.
    pub amount: Shillings,
    /// When M-Pesa completed it, where it said so.
    pub completed_at: Option<Wall>,
    /// When it was entered here.
    pub entered_at: Wall,
}

impl Entry {
    /// The moment that decides on its day: M-Pesa's own where it is known.
    #[must_use]
    pub fn at(&self) -> Wall {
        self.completed_at.unwrap_or(self.entered_at)
    }
}

fn entry(row: &AnyRow) -> anyhow::Result<Entry> {
    Ok(Entry {
        receipt: parsed(row, "receipt")?,
        mpesa_receipt: maybe_parsed(row, "mpesa_receipt")?,
        router: Some(key(row)?.router),
        key: Some(key(row)?),
        amount: Shillings(unsigned(row, "amount")?),
        completed_at: maybe_wall(row, "completed_at")?,
        entered_at: wall(row, "at")?,
    })
}

impl From<Deposit> for Entry {
    fn from(deposit: Deposit) -> Self {
        Self {
            mpesa_receipt: Some(deposit.receipt.clone()),
            receipt: deposit.receipt,
            key: None,
            router: deposit.router,
            amount: deposit.amount,
            completed_at: deposit.completed_at,
            entered_at: deposit.at,
        }
    }
}

impl Ledger {
    /// The money that arrived in `[from, to)`, in its order.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn entries(&self, from: Wall, to: Wall) -> anyhow::Result<Vec<Entry>> {
        let rows = sqlx::query(
            "SELECT l.receipt, l.router, l.order_id, l.phone, l.package, l.amount, l.at, r.receipt AS mpesa_receipt, r.completed_at
             FROM ledger l LEFT JOIN receipts r ON r.entry = l.receipt
             WHERE COALESCE(r.completed_at, l.at) >= $1 AND COALESCE(r.completed_at, l.at) < $2
             ORDER BY COALESCE(r.completed_at, l.at), l.receipt",
        );
        let rows = rows.bind(to_db(from)).bind(to_db(to)).fetch_all(&self.pool).await?;
        let mut entries = rows.iter().map(entry).collect::<anyhow::Result<Vec<_>>>()?;
        entries.extend(self.deposits_between(from, to).await?.into_iter().map(Entry::from));
        entries.sort_by_key(|entry| (entry.at(), entry.receipt.clone()));
        Ok(entries)
    }

    /// The money that has this receipt of M-Pesa's.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn entry_of(&self, receipt: &Receipt) -> anyhow::Result<Option<Entry>> {
        let row = sqlx::query(
            "SELECT l.receipt, l.router, l.order_id, l.phone, l.package, l.amount, l.at, r.receipt AS mpesa_receipt, r.completed_at
             FROM receipts r JOIN ledger l ON l.receipt = r.entry WHERE r.receipt = $1",
        );
        if let Some(row) = row.bind(receipt.as_str()).fetch_optional(&self.pool).await? {
            return entry(&row).map(Some);
        }
        Ok(self.deposit(receipt).await?.filter(|deposit| deposit.stage != super::Stage::Payment).map(Entry::from))
    }

    /// The payment whose money has this receipt: M-Pesa's own, or what its router was told.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn payment_with_receipt(&self, receipt: &Receipt) -> anyhow::Result<Option<crate::payment::Payment>> {
        let row = sqlx::query("SELECT * FROM payments WHERE receipt = $1 OR mpesa_receipt = $1 LIMIT 1").bind(receipt.as_str());
        row.fetch_optional(&self.pool).await?.as_ref().map(super::payments::payment).transpose()
    }
}
