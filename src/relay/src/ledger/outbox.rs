//! Results that a router has not acknowledged, and the numbers of what is said to each router.

use super::place::Kind;
use super::{Change, Ledger, to_db, unsigned, wall};
use anyhow::Context;
use lango_core::time::Wall;
use lango_core::units::{MessageId, OrderId, Receipt, RouterName};
use sqlx::Row;
use sqlx::any::AnyRow;
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

/// How long whoever sends a message waits for its acknowledgement, in milliseconds; then anybody may send it again.
pub(super) const AGAIN: u64 = 30_000;
/// After so many times a router is most likely off: the broker keeps what was sent, and its hello brings the rest.
const OFTEN: u64 = 20;
/// How long it waits from then on: a router that is off for weeks must not fill the broker's queue.
const SELDOM: u64 = 3_600_000;
/// So many are claimed at once; the connection's own queue holds twice as many. The rest comes when it is due.
const BATCH: i64 = 2_000;

/// Whose messages are claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Everybody's, sent or not: the broker may have forgotten all of them.
    All,
    /// One router's: it comes back. They are sent often again from here on: it is there, whatever kept it from taking them before (one
    /// that did not know the time yet takes no vouchers).
    Of(RouterName),
    /// Those whose time has come, and which nobody else has claimed.
    Due,
}

impl Ledger {
    /// Claims messages to send them now, oldest first: nobody else sends them by time before the acknowledgement was waited
    /// for. `claim` is a new name for each call.
    ///
    /// # Errors
    /// When the ledger cannot be written; then nothing is claimed.
    pub async fn claim(&self, which: &Which, claim: &str, now: Wall) -> anyhow::Result<Vec<Message>> {
        // A row that another relay holds is that one's: it is passed by, not waited for.
        let (text, router) = match (which, self.kind) {
            (Which::All, Kind::Sqlite) => (CLAIM_ALL, None),
            (Which::All, Kind::Postgres) => (CLAIM_ALL_FREE, None),
            (Which::Of(router), Kind::Sqlite) => (CLAIM_OF, Some(router)),
            (Which::Of(router), Kind::Postgres) => (CLAIM_OF_FREE, Some(router)),
            (Which::Due, Kind::Sqlite) => (CLAIM_DUE, None),
            (Which::Due, Kind::Postgres) => (CLAIM_DUE_FREE, None),
        };
        let mut change = self.begin().await?;
        let update =
            sqlx::query(text).bind(claim).bind(to_db(Wall(now.0.saturating_add(AGAIN)))).bind(to_db(Wall(now.0.saturating_add(SELDOM))));
        let update = update.bind(i64::try_from(OFTEN).unwrap_or(i64::MAX)).bind(BATCH);
        let update = match (which, router) {
            (Which::Due, _) => update.bind(to_db(now)),
            (_, Some(router)) => update.bind(router.as_str()),
            _ => update,
        };
        if update.execute(&mut *change.tx).await?.rows_affected() == 0 {
            return Ok(Vec::new());
        }
        let rows =
            sqlx::query("SELECT m.* FROM outbox o JOIN messages m ON m.id = o.id WHERE o.claim = $1 ORDER BY m.made_at, m.router, m.seq");
        let rows = rows.bind(claim).fetch_all(&mut *change.tx).await?;
        let messages = rows.iter().map(message).collect::<anyhow::Result<_>>()?;
        change.commit().await?;
        Ok(messages)
    }

    /// The router has these messages: they are never sent again. Ids that are no such messages of that router's say nothing.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn acknowledged(&self, router: &RouterName, ids: &[MessageId], now: Wall) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        // In one order, whoever does it: two that wait for each other would be a deadlock.
        let mut ids: Vec<&str> = ids.iter().map(MessageId::as_str).collect();
        ids.sort_unstable();
        for id in ids {
            let delete = sqlx::query("DELETE FROM outbox WHERE id = $1 AND router = $2").bind(id).bind(router.as_str());
            if delete.execute(&mut *change.tx).await?.rows_affected() == 1 {
                change.end_message(id, "acknowledged", now).await?;
            }
        }
        change.commit().await
    }

    /// As [`Ledger::acknowledged`], of one message to which the router had something to say.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn answered(&self, router: &RouterName, id: &MessageId, said: &str, now: Wall) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        change.answer(router, id, said, now).await?;
        change.commit().await
    }

    /// How a message ended, if it did: `acknowledged`, `superseded`, `reversed`, or the router's answer.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn end_of_message(&self, id: &MessageId) -> anyhow::Result<Option<String>> {
        let row = sqlx::query("SELECT how FROM messages_ended WHERE id = $1").bind(id.as_str()).fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.try_get("how")).transpose()?)
    }

    /// Whether a router has still to take what was said under ids that begin so.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn any_open(&self, router: &RouterName, begins: &str) -> anyhow::Result<bool> {
        // Ids are small letters and digits: nothing in them is a pattern.
        let row = sqlx::query("SELECT 1 FROM outbox WHERE router = $1 AND order_id LIKE $2").bind(router.as_str());
        Ok(row.bind(format!("{begins}%")).fetch_optional(&self.pool).await?.is_some())
    }

    /// Whether any of these messages still waits for its acknowledgement.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn any_unacknowledged(&self, ids: &[&MessageId]) -> anyhow::Result<bool> {
        for id in ids {
            let row = sqlx::query("SELECT id FROM outbox WHERE id = $1").bind(id.as_str()).fetch_optional(&self.pool).await?;
            if row.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many messages wait for an acknowledgement.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn unacknowledged(&self) -> anyhow::Result<u64> {
        let row = sqlx::query("SELECT CAST(COUNT(*) AS BIGINT) AS messages FROM outbox").fetch_one(&self.pool).await?;
        Ok(unsigned(&row, "messages")?)
    }
}

// $1 the claim, $2 and $3 when it ends, $4 after how many times it is the later end, $5 how many at most.
macro_rules! claim {
    ($wanted:literal, $free:literal) => {
        claim!($wanted, $free, "times")
    };
    ($wanted:literal, $free:literal, $times:literal) => {
        concat!(
            "UPDATE outbox SET claim = $1, times = ",
            $times,
            " + 1, due = CASE WHEN ",
            $times,
            " + 1 < $4 THEN $2 ELSE $3 END ",
            // Who has no key any more is told nothing.
            "WHERE id IN (SELECT id FROM outbox WHERE router NOT IN (SELECT name FROM routers WHERE revoked_at IS NOT NULL) AND ",
            $wanted,
            " LIMIT $5",
            $free,
            ")"
        )
    };
}
const CLAIM_ALL: &str = claim!("due > 0 ORDER BY due", "");
const CLAIM_ALL_FREE: &str = claim!("due > 0 ORDER BY due", " FOR UPDATE SKIP LOCKED");
const CLAIM_OF: &str = claim!("router = $6 ORDER BY due", "", "CAST(0 AS BIGINT)");
const CLAIM_OF_FREE: &str = claim!("router = $6 ORDER BY due", " FOR UPDATE SKIP LOCKED", "CAST(0 AS BIGINT)");
const CLAIM_DUE: &str = claim!("due <= $6 ORDER BY due", "");
const CLAIM_DUE_FREE: &str = claim!("due <= $6 ORDER BY due", " FOR UPDATE SKIP LOCKED");

fn message(row: &AnyRow) -> anyhow::Result<Message> {
    Ok(Message {
        id: super::parsed(row, "id")?,
        router: super::parsed(row, "router")?,
        order: super::parsed(row, "order_id")?,
        seq: unsigned(row, "seq")?,
        topic: row.try_get("topic")?,
        payload: row.try_get("payload")?,
        made_at: wall(row, "made_at")?,
    })
}

impl Change {
    /// Keeps a message until it is acknowledged. What was still to be said about the same payment is superseded by it. With
    /// `claimed` it is the caller's to send, after the commit; otherwise anybody's, at once.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn post(&mut self, message: &Message, claimed: bool) -> anyhow::Result<()> {
        let (router, order) = (message.router.as_str(), message.order.as_str());
        let older = sqlx::query("SELECT id FROM outbox WHERE router = $1 AND order_id = $2 ORDER BY id").bind(router).bind(order);
        for row in older.fetch_all(&mut *self.tx).await? {
            let id: String = row.try_get("id")?;
            let delete = sqlx::query("DELETE FROM outbox WHERE id = $1").bind(&id);
            if delete.execute(&mut *self.tx).await?.rows_affected() == 1 {
                self.end_message(&id, "superseded", message.made_at).await?;
            }
        }
        sqlx::query("INSERT INTO messages (id, router, order_id, seq, topic, payload, made_at) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(message.id.as_str())
            .bind(router)
            .bind(order)
            .bind(i64::try_from(message.seq).unwrap_or(i64::MAX))
            .bind(&message.topic)
            .bind(&message.payload)
            .bind(to_db(message.made_at))
            .execute(&mut *self.tx)
            .await?;
        let due = to_db(Wall(message.made_at.0.saturating_add(if claimed { AGAIN } else { 0 })));
        let insert = sqlx::query("INSERT INTO outbox (id, router, order_id, times, due) VALUES ($1, $2, $3, 1, $4)");
        insert.bind(message.id.as_str()).bind(router).bind(order).bind(due).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Takes back what a router has not acknowledged about this payment or deposit. `false`: there is nothing to take back.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn take_back(&mut self, router: &RouterName, order: &OrderId, now: Wall) -> anyhow::Result<bool> {
        let open = sqlx::query("SELECT id FROM outbox WHERE router = $1 AND order_id = $2 ORDER BY id");
        let rows = open.bind(router.as_str()).bind(order.as_str()).fetch_all(&mut *self.tx).await?;
        for row in &rows {
            let id: String = row.try_get("id")?;
            sqlx::query("DELETE FROM outbox WHERE id = $1").bind(&id).execute(&mut *self.tx).await?;
            self.end_message(&id, "reversed", now).await?;
        }
        Ok(!rows.is_empty())
    }

    /// Sends again what was taken back about the money with this receipt.
    pub(super) async fn tell_again(&mut self, receipt: &Receipt, now: Wall) -> anyhow::Result<()> {
        sqlx::query(
            "INSERT INTO outbox (id, router, order_id, times, due) SELECT m.id, m.router, m.order_id, 1, $3 FROM messages m
             JOIN messages_ended e ON e.id = m.id WHERE e.how = 'reversed' AND (m.order_id = $1 OR EXISTS (SELECT 1 FROM receipts r
             JOIN ledger l ON l.receipt = r.entry WHERE r.receipt = $2 AND l.router = m.router AND l.order_id = m.order_id)
             OR EXISTS (SELECT 1 FROM deposits d WHERE d.receipt = $2 AND d.router = m.router AND d.order_id = m.order_id))
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(receipt.as_str().to_ascii_lowercase())
        .bind(receipt.as_str())
        .bind(to_db(now))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// The router has this message, and said something to it.
    pub(super) async fn answer(&mut self, router: &RouterName, id: &MessageId, said: &str, now: Wall) -> anyhow::Result<()> {
        let delete = sqlx::query("DELETE FROM outbox WHERE id = $1 AND router = $2").bind(id.as_str()).bind(router.as_str());
        if delete.execute(&mut *self.tx).await?.rows_affected() == 1 {
            self.end_message(id.as_str(), said, now).await?;
        }
        Ok(())
    }

    async fn end_message(&mut self, id: &str, how: &str, now: Wall) -> anyhow::Result<()> {
        // A message that was taken back and is sent again keeps its first end.
        let insert = sqlx::query("INSERT INTO messages_ended (id, at, how) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING");
        insert.bind(id).bind(to_db(now)).bind(how).execute(&mut *self.tx).await?;
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
