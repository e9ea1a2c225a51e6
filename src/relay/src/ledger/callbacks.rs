//! Callbacks in the ledger: stored as they came, before they are answered.

use super::{Change, Key, Ledger, parsed, to_db};
use lango_core::time::Wall;
use sqlx::Row;
use sqlx::any::AnyRow;

/// A callback that was stored.
pub struct StoredCallback {
    /// Its id here.
    pub id: String,
    /// The payment whose secret it knew.
    pub key: Key,
    /// What the header `Businessshortcode` said.
    pub shortcode: Option<String>,
    /// The body, as it came.
    pub body: Vec<u8>,
}

fn stored(row: &AnyRow) -> anyhow::Result<StoredCallback> {
    Ok(StoredCallback {
        id: row.try_get("id")?,
        key: Key { router: parsed(row, "router")?, order: parsed(row, "order_id")? },
        shortcode: row.try_get("shortcode")?,
        body: row.try_get("body")?,
    })
}

impl Ledger {
    /// Keeps a callback: when this returns it is durable, and may be answered with 200.
    ///
    /// # Errors
    /// When it could not be stored; then it must not be answered with 200.
    pub async fn keep_callback(&self, callback: &StoredCallback, now: Wall) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        let insert = sqlx::query("INSERT INTO callbacks (id, router, order_id, at, shortcode, body) VALUES ($1, $2, $3, $4, $5, $6)");
        insert
            .bind(&callback.id)
            .bind(callback.key.router.as_str())
            .bind(callback.key.order.as_str())
            .bind(to_db(now))
            .bind(callback.shortcode.as_deref())
            .bind(callback.body.as_slice())
            .execute(&mut *change.tx)
            .await?;
        let insert = sqlx::query("INSERT INTO callbacks_open (id, at) VALUES ($1, $2)");
        insert.bind(&callback.id).bind(to_db(now)).execute(&mut *change.tx).await?;
        change.commit().await
    }

    /// Callbacks that were stored before `until` and not worked on: those that a crash left, the oldest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn open_callbacks(&self, until: Wall) -> anyhow::Result<Vec<StoredCallback>> {
        let rows = sqlx::query(
            "SELECT c.id, c.router, c.order_id, c.shortcode, c.body FROM callbacks_open o JOIN callbacks c ON c.id = o.id
             WHERE o.at <= $1 ORDER BY o.at LIMIT 1000",
        );
        rows.bind(to_db(until)).fetch_all(&self.pool).await?.iter().map(stored).collect()
    }
}

impl Change {
    /// Takes a callback to work on it. `false`: somebody else has, or does at this moment and came first.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn take_callback(&mut self, id: &str) -> anyhow::Result<bool> {
        let done = sqlx::query("DELETE FROM callbacks_open WHERE id = $1").bind(id).execute(&mut *self.tx).await?;
        Ok(done.rows_affected() == 1)
    }
}
