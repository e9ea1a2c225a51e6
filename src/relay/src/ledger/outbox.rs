//! Results that a router has not acknowledged, and the numbers of what is said to each router.

use super::{Change, Ledger, to_db, unsigned, wall};
use anyhow::Context;
use lango_core::time::Wall;
use lango_core::units::{MessageId, OrderId, RouterName};
use sqlx::Row;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A message that is sent until it is acknowledged, always with the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Whom it is for.
    pub router: RouterName,
    /// Which payment it is about.
    pub order: OrderId,
    /// Its number.
    pub seq: u64,
    /// The whole topic.
    pub topic: String,
    /// A sealed message, as JSON.
    pub payload: String,
    /// When it was made.
    pub made_at: Wall,
}

impl Ledger {
    /// What is not acknowledged, oldest first: of one router, or of all.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn unacknowledged(&self, router: Option<&RouterName>) -> anyhow::Result<Vec<Message>> {
        let rows = match router {
            Some(router) => {
                let rows = sqlx::query("SELECT * FROM outbox WHERE done_at IS NULL AND router = $1 ORDER BY seq");
                rows.bind(router.as_str()).fetch_all(&self.pool).await?
            }
            None => sqlx::query("SELECT * FROM outbox WHERE done_at IS NULL ORDER BY made_at, router, seq").fetch_all(&self.pool).await?,
        };
        let message = |row| -> anyhow::Result<Message> {
            Ok(Message {
                id: super::parsed(row, "id")?,
                router: super::parsed(row, "router")?,
                order: super::parsed(row, "order_id")?,
                seq: unsigned(row, "seq")?,
                topic: row.try_get("topic")?,
                payload: row.try_get("payload")?,
                made_at: wall(row, "made_at")?,
            })
        };
        rows.iter().map(message).collect()
    }

    /// The router has these messages: they are never sent again. Ids that are no such messages of that router's say nothing.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn acknowledged(&self, router: &RouterName, ids: &[MessageId], now: Wall) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        for id in ids {
            let update = sqlx::query("UPDATE outbox SET done_at = $3 WHERE id = $1 AND router = $2 AND done_at IS NULL");
            update.bind(id.as_str()).bind(router.as_str()).bind(to_db(now)).execute(&mut *change.tx).await?;
        }
        change.commit().await
    }
}

impl Change {
    /// Keeps a message until it is acknowledged. What was still to be said about the same payment is superseded by it.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn post(&mut self, message: &Message) -> anyhow::Result<()> {
        let update = sqlx::query("UPDATE outbox SET done_at = $3 WHERE router = $1 AND order_id = $2 AND done_at IS NULL");
        update.bind(message.router.as_str()).bind(message.order.as_str()).bind(to_db(message.made_at)).execute(&mut *self.tx).await?;
        sqlx::query("INSERT INTO outbox (id, router, order_id, seq, topic, payload, made_at) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(message.id.as_str())
            .bind(message.router.as_str())
            .bind(message.order.as_str())
            .bind(i64::try_from(message.seq).unwrap_or(i64::MAX))
            .bind(&message.topic)
            .bind(&message.payload)
            .bind(to_db(message.made_at))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}

/// Numbers for what is said to each router. They are reserved in blocks, so that an answer that need not be stored costs
/// no write, and no number is given twice, not even after a crash or by two relays.
#[derive(Default)]
pub struct Sequences {
    reserved: Mutex<HashMap<RouterName, std::ops::Range<u64>>>,
}

/// So many numbers are reserved at once; a restart skips what is left of them.
const BLOCK: u64 = 1_000;

impl Sequences {
    /// The next number for a router.
    ///
    /// # Errors
    /// When none could be reserved.
    pub async fn next(&self, ledger: &Ledger, router: &RouterName) -> anyhow::Result<u64> {
        self.ensure(ledger, router).await?;
        self.take(router).context("a block of numbers was used up at once")
    }

    /// Sees to it that there is a number to [`Sequences::take`]: within a change there is no other connection to reserve with.
    ///
    /// # Errors
    /// When none could be reserved.
    pub async fn ensure(&self, ledger: &Ledger, router: &RouterName) -> anyhow::Result<()> {
        if self.lock().get(router).is_some_and(|numbers| !numbers.is_empty()) {
            return Ok(());
        }
        let row = sqlx::query("UPDATE routers SET next_seq = next_seq + $2 WHERE name = $1 RETURNING next_seq")
            .bind(router.as_str())
            .bind(i64::try_from(BLOCK).unwrap_or(i64::MAX))
            .fetch_optional(&ledger.pool)
            .await?
            .with_context(|| format!("router {router} is not in the ledger"))?;
        let end = unsigned(&row, "next_seq")?;
        self.lock().insert(router.clone(), end.saturating_sub(BLOCK)..end);
        Ok(())
    }

    /// A number that is reserved already, if there is one.
    #[must_use]
    pub fn take(&self, router: &RouterName) -> Option<u64> {
        self.lock().get_mut(router)?.next()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RouterName, std::ops::Range<u64>>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
