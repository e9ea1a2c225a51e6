//! Reversals, claimed before they are sent; and the questions to Safaricom about receipts.

use super::{Change, Ledger, maybe_wall, parsed, to_db, unsigned, wall};
use crate::secret::CallbackSecret;
use anyhow::Context;
use lango_core::time::Wall;
use lango_core::units::{Msisdn, Receipt, RouterName, Shillings};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Money on its way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversal {
    /// The receipt of the money.
    pub receipt: Receipt,
    /// All of it.
    pub amount: Shillings,
    /// Whether a router may have served it.
    pub served: bool,
    /// `claimed`, `accepted`, `done`, `failed` or `doubt`.
    pub state: String,
    /// What Safaricom said last.
    pub code: Option<String>,
    /// The reversal's own receipt.
    pub reversal_receipt: Option<String>,
    /// When it was claimed.
    pub at: Wall,
    /// When it ended.
    pub decided_at: Option<Wall>,
}

fn reversal(row: &AnyRow) -> anyhow::Result<Reversal> {
    Ok(Reversal {
        receipt: parsed(row, "receipt")?,
        amount: Shillings(unsigned(row, "amount")?),
        served: unsigned(row, "served")? != 0,
        state: row.try_get("state")?,
        code: row.try_get("code")?,
        reversal_receipt: row.try_get("reversal_receipt")?,
        at: wall(row, "at")?,
        decided_at: maybe_wall(row, "decided_at")?,
    })
}

/// The name of a secret that is about a receipt's reversal begins so.
const ABOUT_REVERSAL: &str = "reversal of ";

/// A question to Safaricom about a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusAsk {
    /// The receipt.
    pub receipt: Receipt,
    /// Whose customer came with it.
    pub router: RouterName,
    /// Who paid, as the customer says.
    pub phone: Msisdn,
}

impl Ledger {
    /// The reversals, newest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn reversals(&self) -> anyhow::Result<Vec<Reversal>> {
        sqlx::query("SELECT * FROM reversals ORDER BY at DESC, secret").fetch_all(&self.pool).await?.iter().map(reversal).collect()
    }

    /// The newest reversal of this receipt.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn reversal_of(&self, receipt: &Receipt) -> anyhow::Result<Option<Reversal>> {
        let row = sqlx::query("SELECT * FROM reversals WHERE receipt = $1 ORDER BY at DESC, state LIMIT 1").bind(receipt.as_str());
        row.fetch_optional(&self.pool).await?.as_ref().map(reversal).transpose()
    }

    /// Stores how a reversal stands. One that is done stays done.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn reversal_is(
        &self,
        secret: &str,
        state: &str,
        code: Option<&str>,
        reversal_receipt: Option<&str>,
        now: Wall,
    ) -> anyhow::Result<Option<Reversal>> {
        let mut change = self.begin().await?;
        sqlx::query(
            "UPDATE reversals SET state = $2, code = COALESCE($3, code), reversal_receipt = COALESCE($4, reversal_receipt), decided_at = $5
             WHERE secret = $1 AND state <> 'done' AND (state <> 'failed' OR $2 = 'done') AND NOT ($2 = 'accepted' AND state <> 'claimed')",
        )
        .bind(secret)
        .bind(state)
        .bind(code)
        .bind(reversal_receipt)
        .bind(matches!(state, "done" | "failed").then(|| to_db(now)))
        .execute(&mut *change.tx)
        .await?;
        let row = sqlx::query("SELECT * FROM reversals WHERE secret = $1").bind(secret).fetch_optional(&mut *change.tx).await?;
        let after = row.as_ref().map(reversal).transpose()?;
        if let Some(failed) = after.as_ref().filter(|after| after.state == "failed") {
            // The money is still here: its router is told again what it was not told to the end.
            change.tell_again(&failed.receipt, now).await?;
        }
        change.commit().await?;
        Ok(after)
    }

    /// The secret of the address at which Safaricom says what became of this receipt's money: made at the first question about
    /// its reversal, and the same ever after.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn secret_about_reversal(&self, receipt: &Receipt, now: Wall) -> anyhow::Result<CallbackSecret> {
        let (new, name) = (CallbackSecret::new()?, format!("{ABOUT_REVERSAL}{receipt}"));
        let insert = sqlx::query("INSERT INTO secrets (name, secret, at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING");
        insert.bind(&name).bind(new.reveal()).bind(to_db(now)).execute(&self.pool).await?;
        let row = sqlx::query("SELECT secret FROM secrets WHERE name = $1").bind(&name).fetch_one(&self.pool).await?;
        CallbackSecret::parse(row.try_get("secret")?).context("the ledger's column secret is damaged")
    }

    /// The receipt whose reversal an answer at this address is about.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn reversal_asked_about(&self, secret: &str) -> anyhow::Result<Option<Receipt>> {
        let row = sqlx::query("SELECT name FROM secrets WHERE secret = $1").bind(secret).fetch_optional(&self.pool).await?;
        let name: Option<String> = row.map(|row| row.try_get("name")).transpose()?;
        name.as_deref()
            .and_then(|name| name.strip_prefix(ABOUT_REVERSAL))
            .map(|receipt| receipt.parse().context("a damaged name"))
            .transpose()
    }

    /// Ends the open reversal of a receipt, by another word than its own result.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn settle_reversal(&self, receipt: &Receipt, state: &str, code: &str, now: Wall) -> anyhow::Result<()> {
        let row = sqlx::query("SELECT secret FROM reversals WHERE receipt = $1 AND state NOT IN ('done', 'failed')").bind(receipt.as_str());
        if let Some(row) = row.fetch_optional(&self.pool).await? {
            self.reversal_is(row.try_get("secret")?, state, Some(code), None, now).await?;
        }
        Ok(())
    }

    /// Notes what was said of the money of a receipt whose reversal is open; it stays so.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn said_of_reversed(&self, receipt: &Receipt, said: &str) -> anyhow::Result<()> {
        let update = sqlx::query("UPDATE reversals SET code = $2 WHERE receipt = $1 AND state NOT IN ('done', 'failed')");
        update.bind(receipt.as_str()).bind(said).execute(&self.pool).await?;
        Ok(())
    }

    /// Notes something on one reversal, whatever its state.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn note_on_reversal(&self, secret: &str, note: &str) -> anyhow::Result<()> {
        sqlx::query("UPDATE reversals SET code = $2 WHERE secret = $1").bind(secret).bind(note).execute(&self.pool).await?;
        Ok(())
    }

    /// Notes a question, unless the same receipt was asked for within `again`, or this router had `at_most` in the last ten
    /// minutes. `None`: it is not asked.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn ask_status(&self, ask: &StatusAsk, secret: &CallbackSecret, again: u64, at_most: u64, now: Wall) -> anyhow::Result<bool> {
        let mut change = self.begin().await?;
        let before = |age: u64| to_db(Wall(now.0.saturating_sub(age)));
        let same = sqlx::query("SELECT 1 FROM status_asks WHERE receipt = $1 AND at > $2").bind(ask.receipt.as_str()).bind(before(again));
        if same.fetch_optional(&mut *change.tx).await?.is_some() {
            return Ok(false);
        }
        let row = sqlx::query("SELECT CAST(COUNT(*) AS BIGINT) AS asks FROM status_asks WHERE router = $1 AND at > $2");
        let row = row.bind(ask.router.as_str()).bind(before(600_000)).fetch_one(&mut *change.tx).await?;
        if unsigned(&row, "asks")? >= at_most {
            return Ok(false);
        }
        sqlx::query("INSERT INTO status_asks (secret, receipt, router, phone, at, state) VALUES ($1, $2, $3, $4, $5, 'asked')")
            .bind(secret.reveal())
            .bind(ask.receipt.as_str())
            .bind(ask.router.as_str())
            .bind(ask.phone.digits())
            .bind(to_db(now))
            .execute(&mut *change.tx)
            .await?;
        change.commit().await?;
        Ok(true)
    }

    /// Whether an answer about this receipt is still awaited, and was asked for within `within`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn status_is_asked(&self, receipt: &Receipt, within: u64, now: Wall) -> anyhow::Result<bool> {
        let row = sqlx::query("SELECT 1 FROM status_asks WHERE receipt = $1 AND at > $2 AND state = 'asked'");
        let row = row.bind(receipt.as_str()).bind(to_db(Wall(now.0.saturating_sub(within))));
        Ok(row.fetch_optional(&self.pool).await?.is_some())
    }

    /// The question that has this secret.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn status_ask(&self, secret: &str) -> anyhow::Result<Option<StatusAsk>> {
        let row = sqlx::query("SELECT * FROM status_asks WHERE secret = $1").bind(secret).fetch_optional(&self.pool).await?;
        row.map(|row| Ok(StatusAsk { receipt: parsed(&row, "receipt")?, router: parsed(&row, "router")?, phone: parsed(&row, "phone")? }))
            .transpose()
    }

    /// Stores how a question ended.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn status_is(&self, secret: &str, state: &str, code: Option<&str>, now: Wall) -> anyhow::Result<()> {
        let update = sqlx::query("UPDATE status_asks SET state = $2, code = $3, decided_at = $4 WHERE secret = $1");
        update.bind(secret).bind(state).bind(code).bind(to_db(now)).execute(&self.pool).await?;
        Ok(())
    }
}

impl Change {
    /// Claims the reversal of a receipt: from here on nobody else sends one, unless this one fails. `false`: somebody has.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn claim_reversal(
        &mut self,
        receipt: &Receipt,
        amount: Shillings,
        served: bool,
        secret: &CallbackSecret,
        now: Wall,
    ) -> anyhow::Result<bool> {
        if self.is_reversed(receipt).await? {
            return Ok(false);
        }
        sqlx::query("INSERT INTO reversals (secret, receipt, amount, served, state, at) VALUES ($1, $2, $3, $4, 'claimed', $5)")
            .bind(secret.reveal())
            .bind(receipt.as_str())
            .bind(i64::try_from(amount.0).context("an amount beyond all amounts")?)
            .bind(i64::from(served))
            .bind(to_db(now))
            .execute(&mut *self.tx)
            .await?;
        Ok(true)
    }

    /// Whether this money was sent back, or may have been.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn is_reversed(&mut self, receipt: &Receipt) -> anyhow::Result<bool> {
        let row = sqlx::query("SELECT 1 FROM reversals WHERE receipt = $1 AND state <> 'failed'").bind(receipt.as_str());
        Ok(row.fetch_optional(&mut *self.tx).await?.is_some())
    }
}
