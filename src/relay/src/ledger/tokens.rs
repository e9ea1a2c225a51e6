//! Daraja's one access token, shared by all relays: it is kept here, and one at a time may ask for a new one.

use super::{Ledger, to_db};
use crate::daraja::TokenShelf;
use lango_core::time::Wall;
use sqlx::Row;

impl TokenShelf for Ledger {
    async fn token(&self, account: &str, now: Wall) -> anyhow::Result<Option<String>> {
        let row = sqlx::query("SELECT token FROM tokens WHERE account = $1 AND good_until > $2");
        let row = row.bind(account).bind(to_db(now)).fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.try_get("token")).transpose()?)
    }

    async fn lease(&self, account: &str, holder: &str, now: Wall, until: Wall) -> anyhow::Result<bool> {
        let first = sqlx::query(
            "INSERT INTO tokens (account, token, good_until, lease, lease_until) VALUES ($1, '', 0, '', 0) ON CONFLICT (account) DO NOTHING",
        );
        first.bind(account).execute(&self.pool).await?;
        let lease = sqlx::query(
            "UPDATE tokens SET lease = $2, lease_until = $4 WHERE account = $1 AND good_until <= $3 AND (lease_until <= $3 OR lease = $2)",
        );
        let done = lease.bind(account).bind(holder).bind(to_db(now)).bind(to_db(until)).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn keep(&self, account: &str, holder: &str, token: &str, good_until: Wall) -> anyhow::Result<()> {
        // Without the lease, which ran out meanwhile, this token is not the last one any more.
        let keep =
            sqlx::query("UPDATE tokens SET token = $3, good_until = $4, lease = '', lease_until = 0 WHERE account = $1 AND lease = $2");
        keep.bind(account).bind(holder).bind(token).bind(to_db(good_until)).execute(&self.pool).await?;
        Ok(())
    }

    async fn release(&self, account: &str, holder: &str) -> anyhow::Result<()> {
        let release = sqlx::query("UPDATE tokens SET lease = '', lease_until = 0 WHERE account = $1 AND lease = $2");
        release.bind(account).bind(holder).execute(&self.pool).await?;
        Ok(())
    }

    async fn forget(&self, account: &str, refused: &str) -> anyhow::Result<()> {
        let forget = sqlx::query("UPDATE tokens SET good_until = 0 WHERE account = $1 AND token = $2");
        forget.bind(account).bind(refused).execute(&self.pool).await?;
        Ok(())
    }
}
