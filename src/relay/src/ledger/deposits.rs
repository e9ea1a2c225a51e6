//! Money without a prompt: its rows, and whose it may be.

use super::payments::payment;
use super::place::Kind;
use super::{Change, Ledger, maybe_parsed, maybe_wall, to_db, unsigned, wall};
use crate::payment::Payment;
use anyhow::{Context, bail};
use lango_core::payer::Payer;
use lango_core::time::Wall;
use lango_core::units::{Msisdn, OrderId, Receipt, RouterName, Shillings};
use sqlx::Row;
use sqlx::any::AnyRow;

/// What is known of a deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It may be the money of a prompt that is open.
    Held,
    /// It is a prompt's money: that payment has it.
    Payment,
    /// Nobody knows for which router it is.
    Waiting,
    /// A router has it, or is told until it has.
    Given,
}

const STAGES: [(&str, Stage); 4] =
    [("held", Stage::Held), ("payment", Stage::Payment), ("waiting", Stage::Waiting), ("given", Stage::Given)];

impl Stage {
    /// Its name, in the ledger and for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        STAGES.iter().find(|(_, stage)| *stage == self).map_or("waiting", |(name, _)| name)
    }
}

/// Money that came without a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    /// M-Pesa's receipt.
    pub receipt: Receipt,
    /// Where it stands.
    pub stage: Stage,
    /// Whose it is.
    pub router: Option<RouterName>,
    /// The account number as it was typed.
    pub account: String,
    /// What stood behind the router's name in it.
    pub word: Option<String>,
    /// Who paid.
    pub payer: Payer,
    /// SHA-256 of the payer's number in hex digits, where M-Pesa told no more.
    pub hash: Option<String>,
    /// How much; what there was below a shilling is left out, and noted.
    pub amount: Shillings,
    /// How we know: `c2b`, `status`, or `callback` where a prompt's own receipt was another's before.
    pub channel: String,
    /// When M-Pesa completed it.
    pub completed_at: Option<Wall>,
    /// When it was stored here.
    pub at: Wall,
    /// When it is looked at again, while it is held.
    pub due: Option<Wall>,
    /// The payment that it turned out to be.
    pub order: Option<OrderId>,
    /// What an operator should know.
    pub note: Option<String>,
}

const FOREIGN: &str = "it was paid to shortcode ";

impl Deposit {
    /// The note of one that was paid to a shortcode which is not ours.
    #[must_use]
    pub fn foreign_note(shortcode: &str) -> String {
        format!("{FOREIGN}{shortcode}, which is not in the config")
    }

    /// Whether it was paid to a shortcode that was not ours.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.starts_with(FOREIGN))
    }
}

fn deposit(row: &AnyRow) -> anyhow::Result<Deposit> {
    let name: String = row.try_get("state")?;
    let Some((_, stage)) = STAGES.iter().find(|(known, _)| *known == name) else {
        bail!("the ledger holds a deposit in a state that this program does not know")
    };
    Ok(Deposit {
        receipt: super::parsed(row, "receipt")?,
        stage: *stage,
        router: maybe_parsed(row, "router")?,
        account: row.try_get("account")?,
        word: row.try_get("word")?,
        payer: super::parsed(row, "payer")?,
        hash: row.try_get("hash")?,
        amount: Shillings(unsigned(row, "amount")?),
        channel: row.try_get("channel")?,
        completed_at: maybe_wall(row, "completed_at")?,
        at: wall(row, "at")?,
        due: maybe_wall(row, "due")?,
        order: maybe_parsed(row, "order_id")?,
        note: row.try_get("note")?,
    })
}

impl Ledger {
    /// All deposits, newest first, but those that turned out to be a prompt's money.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn deposits(&self) -> anyhow::Result<Vec<Deposit>> {
        let rows = sqlx::query(
            "SELECT * FROM deposits WHERE state <> 'payment' AND NOT (state = 'given' AND order_id IS NOT NULL) ORDER BY at DESC, receipt",
        );
        let rows = rows.fetch_all(&self.pool).await?;
        rows.iter().map(deposit).collect()
    }

    /// Those whose money counts in `[from, to)`, in their order.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn deposits_between(&self, from: Wall, to: Wall) -> anyhow::Result<Vec<Deposit>> {
        let rows = sqlx::query(
            "SELECT * FROM deposits WHERE state IN ('waiting', 'given') AND COALESCE(completed_at, at) >= $1 AND COALESCE(completed_at, at) < $2
             ORDER BY COALESCE(completed_at, at), receipt",
        );
        rows.bind(to_db(from)).bind(to_db(to)).fetch_all(&self.pool).await?.iter().map(deposit).collect()
    }

    /// The deposit with this receipt.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn deposit(&self, receipt: &Receipt) -> anyhow::Result<Option<Deposit>> {
        let row = sqlx::query("SELECT * FROM deposits WHERE receipt = $1").bind(receipt.as_str()).fetch_optional(&self.pool).await?;
        row.as_ref().map(deposit).transpose()
    }

    /// Deposits that were held and are to be looked at again.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn held(&self, now: Wall) -> anyhow::Result<Vec<Deposit>> {
        let rows = sqlx::query("SELECT * FROM deposits WHERE state = 'held' AND due <= $1 ORDER BY due LIMIT 100");
        rows.bind(to_db(now)).fetch_all(&self.pool).await?.iter().map(deposit).collect()
    }

    /// Whether this receipt of M-Pesa's is in the books, by whatever way.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn receipt_is_booked(&self, receipt: &Receipt) -> anyhow::Result<bool> {
        let row = sqlx::query("SELECT 1 FROM receipts WHERE receipt = $1").bind(receipt.as_str());
        Ok(row.fetch_optional(&self.pool).await?.is_some())
    }

    /// The payments that were prompted with this reference.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn payments_by_reference(&self, reference: &str) -> anyhow::Result<Vec<Payment>> {
        let rows = sqlx::query("SELECT * FROM payments WHERE substr(order_id, 1, 12) = $1 ORDER BY received_at DESC LIMIT 20");
        rows.bind(reference.to_ascii_lowercase()).fetch_all(&self.pool).await?.iter().map(payment).collect()
    }

    /// The payments of this amount that were prompted in `[from, to]`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn payments_prompted(&self, amount: Shillings, (from, to): (Wall, Wall)) -> anyhow::Result<Vec<Payment>> {
        let rows = sqlx::query("SELECT * FROM payments WHERE amount = $1 AND prompted_at >= $2 AND prompted_at <= $3 ORDER BY prompted_at");
        let rows = rows.bind(i64::try_from(amount.0).unwrap_or(i64::MAX)).bind(to_db(from)).bind(to_db(to));
        rows.fetch_all(&self.pool).await?.iter().map(payment).collect()
    }

    /// The router at which this number was asked to pay last.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn router_of_phone(&self, phone: Msisdn) -> anyhow::Result<Option<RouterName>> {
        let row = sqlx::query("SELECT router FROM payments WHERE phone = $1 ORDER BY received_at DESC LIMIT 1").bind(phone.digits());
        row.fetch_optional(&self.pool).await?.map(|row| super::parsed(&row, "router")).transpose()
    }

    /// All numbers that were ever asked to pay.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn phones(&self) -> anyhow::Result<Vec<Msisdn>> {
        let rows = sqlx::query("SELECT DISTINCT phone FROM payments").fetch_all(&self.pool).await?;
        rows.iter().map(|row| super::parsed(row, "phone")).collect()
    }
}

impl Change {
    /// A deposit; in PostgreSQL others wait for this change's end from here on.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn deposit(&mut self, receipt: &Receipt) -> anyhow::Result<Option<Deposit>> {
        let row = sqlx::query(match self.kind {
            Kind::Sqlite => "SELECT * FROM deposits WHERE receipt = $1",
            Kind::Postgres => "SELECT * FROM deposits WHERE receipt = $1 FOR UPDATE",
        });
        row.bind(receipt.as_str()).fetch_optional(&mut *self.tx).await?.as_ref().map(deposit).transpose()
    }

    /// As [`Ledger::payments_prompted`]; in PostgreSQL whoever would change one of them waits for this change's end.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn payments_prompted(&mut self, amount: Shillings, (from, to): (Wall, Wall)) -> anyhow::Result<Vec<Payment>> {
        let rows = sqlx::query(match self.kind {
            Kind::Sqlite => {
                "SELECT * FROM payments WHERE amount = $1 AND prompted_at >= $2 AND prompted_at <= $3 ORDER BY prompted_at, router, order_id"
            }
            Kind::Postgres => {
                "SELECT * FROM payments WHERE amount = $1 AND prompted_at >= $2 AND prompted_at <= $3 ORDER BY prompted_at, router, order_id
                 FOR UPDATE"
            }
        });
        let rows = rows.bind(i64::try_from(amount.0).unwrap_or(i64::MAX)).bind(to_db(from)).bind(to_db(to));
        rows.fetch_all(&mut *self.tx).await?.iter().map(payment).collect()
    }

    /// Money by hand of this amount that was told of from `since` on, is in the books, and is no prompt's; and whether it was sent
    /// back, or was to be. In PostgreSQL whoever would change it waits for this change's end.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn free_deposits(&mut self, amount: Shillings, since: Wall) -> anyhow::Result<Vec<(Deposit, bool)>> {
        let rows = sqlx::query(match self.kind {
            Kind::Sqlite => {
                "SELECT * FROM deposits WHERE state IN ('waiting', 'given') AND order_id IS NULL AND amount = $1 AND at >= $2 ORDER BY receipt"
            }
            Kind::Postgres => {
                "SELECT * FROM deposits WHERE state IN ('waiting', 'given') AND order_id IS NULL AND amount = $1 AND at >= $2 ORDER BY receipt
                 FOR UPDATE"
            }
        });
        let rows = rows.bind(i64::try_from(amount.0).unwrap_or(i64::MAX)).bind(to_db(since)).fetch_all(&mut *self.tx).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let deposit = deposit(row)?;
            let reversed = self.is_reversed(&deposit.receipt).await?;
            found.push((deposit, reversed));
        }
        Ok(found)
    }

    /// Stores a deposit that is not there yet.
    ///
    /// # Errors
    /// When its receipt is there already, or the ledger cannot be written.
    pub async fn add_deposit(&mut self, deposit: &Deposit) -> anyhow::Result<()> {
        sqlx::query(
            "INSERT INTO deposits (receipt, state, router, account, word, payer, hash, amount, channel, completed_at, at, due, order_id, note)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(deposit.receipt.as_str())
        .bind(deposit.stage.name())
        .bind(deposit.router.as_ref().map(RouterName::as_str))
        .bind(&deposit.account)
        .bind(deposit.word.as_deref())
        .bind(deposit.payer.text())
        .bind(deposit.hash.as_deref())
        .bind(i64::try_from(deposit.amount.0).context("an amount beyond all amounts")?)
        .bind(&deposit.channel)
        .bind(deposit.completed_at.map(to_db))
        .bind(to_db(deposit.at))
        .bind(deposit.due.map(to_db))
        .bind(deposit.order.as_ref().map(OrderId::as_str))
        .bind(deposit.note.as_deref())
        .execute(&mut *self.tx)
        .await
        .context("a deposit could not be entered")?;
        Ok(())
    }

    /// Stores where a deposit stands now.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn settle_deposit(&mut self, deposit: &Deposit) -> anyhow::Result<()> {
        sqlx::query("UPDATE deposits SET state = $2, router = $3, word = $4, due = $5, order_id = $6, note = $7 WHERE receipt = $1")
            .bind(deposit.receipt.as_str())
            .bind(deposit.stage.name())
            .bind(deposit.router.as_ref().map(RouterName::as_str))
            .bind(deposit.word.as_deref())
            .bind(deposit.due.map(to_db))
            .bind(deposit.order.as_ref().map(OrderId::as_str))
            .bind(deposit.note.as_deref())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Whether this receipt of M-Pesa's is in the books.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn receipt_in_books(&mut self, receipt: &Receipt) -> anyhow::Result<bool> {
        let row = sqlx::query("SELECT 1 FROM receipts WHERE receipt = $1").bind(receipt.as_str());
        Ok(row.fetch_optional(&mut *self.tx).await?.is_some())
    }

    /// Enters a deposit's receipt into the books, once over all channels.
    ///
    /// # Errors
    /// When it is there already, or the ledger cannot be written.
    pub async fn book_deposit(&mut self, deposit: &Deposit, now: Wall) -> anyhow::Result<()> {
        sqlx::query("INSERT INTO receipts (receipt, entry, channel, completed_at, at) VALUES ($1, $1, $2, $3, $4)")
            .bind(deposit.receipt.as_str())
            .bind(&deposit.channel)
            .bind(deposit.completed_at.map(to_db))
            .bind(to_db(now))
            .execute(&mut *self.tx)
            .await
            .context("a receipt could not be entered")?;
        Ok(())
    }
}
