//! What was bought on which account, as far as a RADIUS server's tables are to hold it: stored before it is written there, so that it
//! can be written again.

use super::{Ledger, parsed, to_db, wall};
use anyhow::Context;
use lango_core::notice::AccountNotice;
use lango_core::time::Wall;
use lango_core::units::{MessageId, RouterName, Username};
use sqlx::Row;
use sqlx::any::AnyRow;

/// How a purchase stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not in the RADIUS server's tables yet.
    Waiting,
    /// It is, durably.
    Written,
    /// It cannot be: an operator has to look.
    Refused,
}

impl Standing {
    /// Its name, for people, programs and the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Written => "written",
            Self::Refused => "refused",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Waiting, Self::Written, Self::Refused].into_iter().find(|standing| standing.name() == name)
    }
}

/// A purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// The router that told of it.
    pub router: RouterName,
    /// What makes it this one: money's receipt, or else the message and the account.
    pub cause: String,
    /// The message that is acknowledged when it is written.
    pub message: MessageId,
    /// The account.
    pub username: Username,
    /// What the router said; nothing once it is forgotten.
    pub notice: Option<AccountNotice>,
    /// When it was stored.
    pub made_at: Wall,
    /// How it stands.
    pub standing: Standing,
    /// Why it waits, or was refused.
    pub note: Option<String>,
}

fn purchase(row: &AnyRow) -> anyhow::Result<Purchase> {
    let (state, notice): (String, Option<String>) = (row.try_get("state")?, row.try_get("notice")?);
    Ok(Purchase {
        router: parsed(row, "router")?,
        cause: row.try_get("cause")?,
        message: parsed(row, "message")?,
        username: parsed(row, "username")?,
        // serde's own words could repeat a password.
        notice: notice.map(|text| serde_json::from_str(&text).ok().context("the ledger's column notice is damaged")).transpose()?,
        made_at: wall(row, "made_at")?,
        standing: Standing::named(&state).context("the ledger holds a purchase in a state that this program does not know")?,
        note: row.try_get("note")?,
    })
}

impl Ledger {
    /// Stores a purchase that a router tells of, to be written from `due` on by whoever comes to it; gives back how it stands. Of one that is known
    /// only the message is noted: it is the one to be acknowledged.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn add_purchase(
        &self,
        router: &RouterName,
        cause: &str,
        message: &MessageId,
        notice: &AccountNotice,
        now: Wall,
        due: Wall,
    ) -> anyhow::Result<Standing> {
        let mut change = self.begin().await?;
        let insert = sqlx::query(
            "INSERT INTO radius_purchases (router, cause, message, username, notice, made_at, state, due)
             VALUES ($1, $2, $3, $4, $5, $6, 'waiting', $7)
             ON CONFLICT (router, cause) DO UPDATE SET message = excluded.message",
        );
        insert
            .bind(router.as_str())
            .bind(cause)
            .bind(message.as_str())
            .bind(notice.username.as_str())
            .bind(serde_json::to_string(notice)?)
            .bind(to_db(now))
            .bind(to_db(due))
            .execute(&mut *change.tx)
            .await?;
        let row = sqlx::query("SELECT state FROM radius_purchases WHERE router = $1 AND cause = $2");
        let state: String = row.bind(router.as_str()).bind(cause).fetch_one(&mut *change.tx).await?.try_get(0)?;
        change.commit().await?;
        Standing::named(&state).context("the ledger holds a purchase in a state that this program does not know")
    }

    /// A purchase, if it is known.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn purchase(&self, router: &RouterName, cause: &str) -> anyhow::Result<Option<Purchase>> {
        let row = sqlx::query("SELECT * FROM radius_purchases WHERE router = $1 AND cause = $2").bind(router.as_str()).bind(cause);
        row.fetch_optional(&self.pool).await?.as_ref().map(purchase).transpose()
    }

    /// The purchases that wait and are due, in the order in which they came; so many at most.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn due_purchases(&self, now: Wall, most: u32) -> anyhow::Result<Vec<Purchase>> {
        let rows = sqlx::query("SELECT * FROM radius_purchases WHERE due <= $1 AND notice IS NOT NULL ORDER BY made_at, cause LIMIT $2");
        rows.bind(to_db(now)).bind(i64::from(most)).fetch_all(&self.pool).await?.iter().map(purchase).collect()
    }

    /// All of them in the order in which they came, or those that are not written.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn purchases(&self, unwritten_alone: bool) -> anyhow::Result<Vec<Purchase>> {
        let rows = match unwritten_alone {
            true => sqlx::query("SELECT * FROM radius_purchases WHERE state <> 'written' ORDER BY made_at, cause"),
            false => sqlx::query("SELECT * FROM radius_purchases ORDER BY made_at, cause"),
        };
        rows.fetch_all(&self.pool).await?.iter().map(purchase).collect()
    }

    /// Notes what became of a purchase. One that waits is due again then.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn settle_purchase(
        &self,
        router: &RouterName,
        cause: &str,
        standing: Standing,
        note: Option<&str>,
        due: Option<Wall>,
        now: Wall,
    ) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        let update =
            sqlx::query("UPDATE radius_purchases SET state = $3, note = $4, due = $5, done_at = $6 WHERE router = $1 AND cause = $2");
        update
            .bind(router.as_str())
            .bind(cause)
            .bind(standing.name())
            .bind(note)
            .bind(due.map(to_db))
            .bind((standing != Standing::Waiting).then(|| to_db(now)))
            .execute(&mut *change.tx)
            .await?;
        change.commit().await
    }

    /// Forgets the credentials of an account that is gone from the RADIUS server's tables. That its purchases were written stays known.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn forget_purchases(&self, username: &Username) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        let update = sqlx::query("UPDATE radius_purchases SET notice = NULL WHERE username = $1 AND state = 'written'");
        update.bind(username.as_str()).execute(&mut *change.tx).await?;
        change.commit().await
    }
}
