//! Whether this ledger's accounts roam: one word for all relays that work on it, whatever each one's own config says.

use super::{Ledger, to_db, wall};
use lango_core::time::Wall;
use sqlx::Row;

impl Ledger {
    /// Since when accounts roam; nothing where they do not.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn accounts_roam_since(&self) -> anyhow::Result<Option<Wall>> {
        let row = sqlx::query("SELECT since FROM radius_since WHERE key = 1").fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(|row| wall(row, "since")).transpose()?)
    }

    /// Accounts roam, since now where they did not before.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn accounts_roam(&self, now: Wall) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        let insert = sqlx::query("INSERT INTO radius_since (key, since) VALUES (1, $1) ON CONFLICT (key) DO NOTHING");
        insert.bind(to_db(now)).execute(&mut *change.tx).await?;
        change.commit().await
    }

    /// How many accounts were written into the RADIUS server's tables and are not forgotten there.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn roaming_accounts(&self) -> anyhow::Result<i64> {
        let count = "SELECT COUNT(DISTINCT username) AS accounts FROM radius_purchases WHERE state = 'written' AND notice IS NOT NULL";
        Ok(sqlx::query(count).fetch_one(&self.pool).await?.try_get("accounts")?)
    }

    /// Accounts do not roam any more. Gives back whether they did.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn accounts_stay(&self) -> anyhow::Result<bool> {
        let mut change = self.begin().await?;
        let removed = sqlx::query("DELETE FROM radius_since").execute(&mut *change.tx).await?.rows_affected();
        change.commit().await?;
        Ok(removed > 0)
    }

    /// Everything that is known to be bought is due to be written again: the RADIUS server's tables may be older ones.
    /// Gives back how much that is.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn write_purchases_again(&self, now: Wall) -> anyhow::Result<u64> {
        let mut change = self.begin().await?;
        let update = sqlx::query("UPDATE radius_purchases SET due = $1 WHERE notice IS NOT NULL AND state = 'written'");
        let due = update.bind(to_db(now)).execute(&mut *change.tx).await?.rows_affected();
        change.commit().await?;
        Ok(due)
    }
}
