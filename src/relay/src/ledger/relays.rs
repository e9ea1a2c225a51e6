//! The relays that work on one ledger: who is there, and the key that all of them sign with.

use super::place::Kind;
use super::{Ledger, to_db, unsigned};
use anyhow::{Context, bail};
use lango_core::time::Wall;
use sqlx::Row;

/// A relay that was not seen for so long is taken for gone, in milliseconds. It says so every 5 s.
const GONE_AFTER: u64 = 15_000;
/// Its row is kept for a day, for those who look.
const KEPT_FOR: u64 = 24 * 3_600_000;

impl Ledger {
    /// A relay says that it is there.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn relay_is_here(&self, id: &str, now: Wall) -> anyhow::Result<()> {
        let insert = sqlx::query(
            "INSERT INTO relays (id, started_at, seen_at) VALUES ($1, $2, $2) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
        );
        insert.bind(id).bind(to_db(now)).execute(&self.pool).await?;
        let old = sqlx::query("DELETE FROM relays WHERE seen_at < $1").bind(to_db(Wall(now.0.saturating_sub(KEPT_FOR))));
        old.execute(&self.pool).await?;
        Ok(())
    }

    /// A relay says good-bye.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn relay_leaves(&self, id: &str) -> anyhow::Result<()> {
        sqlx::query("DELETE FROM relays WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// Whether another relay than `id` works on this ledger at present.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn others_are_here(&self, id: &str, now: Wall) -> anyhow::Result<bool> {
        let row = sqlx::query("SELECT CAST(COUNT(*) AS BIGINT) AS relays FROM relays WHERE id <> $1 AND seen_at >= $2");
        let row = row.bind(id).bind(to_db(Wall(now.0.saturating_sub(GONE_AFTER)))).fetch_one(&self.pool).await?;
        Ok(unsigned(&row, "relays")? > 0)
    }

    /// Sees to it that what is signed with this public key is believed by this ledger's routers: they know the key that
    /// was there first. A second machine that made a key of its own would talk to nobody.
    ///
    /// # Errors
    /// When it is another one.
    pub async fn expect_key(&self, public_key: &str, now: Wall) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        if self.kind == Kind::Postgres {
            // Two machines that start for the first time at once: one of them is the first.
            sqlx::raw_sql("LOCK TABLE signing_keys IN EXCLUSIVE MODE").execute(&mut *change.tx).await?;
        }
        let rows = sqlx::query("SELECT public_key FROM signing_keys").fetch_all(&mut *change.tx).await?;
        let known: Vec<String> = rows.iter().map(|row| row.try_get("public_key")).collect::<Result<_, _>>()?;
        if known.iter().any(|known| known == public_key) {
            return Ok(());
        }
        if !known.is_empty() {
            bail!(
                "this machine's signing key is not the one that this ledger's routers know: copy signing_key from the machine where the first \
                 relay runs. If that key is lost or was seen by others, and every router gets a new relay_key: `lango-relay key accept`"
            );
        }
        change.add_key(public_key, now).await?;
        change.commit().await
    }

    /// From now on this key's signatures are meant, too.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn accept_key(&self, public_key: &str, now: Wall) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        change.add_key(public_key, now).await?;
        change.commit().await
    }
}

impl super::Change {
    async fn add_key(&mut self, public_key: &str, now: Wall) -> anyhow::Result<()> {
        let insert = sqlx::query("INSERT INTO signing_keys (public_key, at) VALUES ($1, $2) ON CONFLICT (public_key) DO NOTHING");
        insert.bind(public_key).bind(to_db(now)).execute(&mut *self.tx).await.context("the key could not be stored")?;
        Ok(())
    }
}
