//! What Safaricom posts beside payments' callbacks, stored as it came before it is answered; and the addresses that it knows.

use super::{Ledger, to_db};
use crate::secret::CallbackSecret;
use anyhow::{Context, bail};
use lango_core::time::Wall;
use sqlx::Row;
use sqlx::any::AnyRow;

/// What was posted where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A payment without a prompt.
    Confirmation,
    /// What Safaricom knows of a receipt.
    Status,
    /// How a reversal ended.
    Reversal,
    /// What Safaricom knows of money that may be on its way back.
    AboutReversal,
    /// Safaricom did not come to it.
    Timeout,
}

const KINDS: [(&str, Kind); 5] = [
    ("c2b", Kind::Confirmation),
    ("status", Kind::Status),
    ("reversal", Kind::Reversal),
    ("about_reversal", Kind::AboutReversal),
    ("timeout", Kind::Timeout),
];

/// A post that was stored.
pub struct StoredPost {
    /// Its id here.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// The secret of the address to which it came; for confirmations nothing.
    pub subject: String,
    /// The body, as it came.
    pub body: Vec<u8>,
}

fn stored(row: &AnyRow) -> anyhow::Result<StoredPost> {
    let name: String = row.try_get("kind")?;
    let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == name) else {
        bail!("the ledger holds a post of a kind that this program does not know")
    };
    Ok(StoredPost { id: row.try_get("id")?, kind: *kind, subject: row.try_get("subject")?, body: row.try_get("body")? })
}

impl Ledger {
    /// Keeps a post: when this returns it is durable, and may be answered with 200.
    ///
    /// # Errors
    /// When it could not be stored; then it must not be answered with 200.
    pub async fn keep_post(&self, post: &StoredPost, now: Wall) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        let name = KINDS.iter().find(|(_, kind)| *kind == post.kind).map_or("c2b", |(name, _)| name);
        let insert = sqlx::query("INSERT INTO posts (id, kind, subject, at, body) VALUES ($1, $2, $3, $4, $5)");
        insert.bind(&post.id).bind(name).bind(&post.subject).bind(to_db(now)).bind(post.body.as_slice()).execute(&mut *change.tx).await?;
        let insert = sqlx::query("INSERT INTO posts_open (id, at) VALUES ($1, $2)");
        insert.bind(&post.id).bind(to_db(now)).execute(&mut *change.tx).await?;
        change.commit().await
    }

    /// Posts that were stored before `until` and not worked on, the oldest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn open_posts(&self, until: Wall) -> anyhow::Result<Vec<StoredPost>> {
        let rows = sqlx::query(
            "SELECT p.id, p.kind, p.subject, p.body FROM posts_open o JOIN posts p ON p.id = o.id WHERE o.at <= $1 ORDER BY o.at LIMIT 1000",
        );
        rows.bind(to_db(until)).fetch_all(&self.pool).await?.iter().map(stored).collect()
    }

    /// Confirmations that were stored before `until` and not worked on, the oldest first, and when each came. Those that can be read
    /// are about to be.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn open_confirmations(&self, until: Wall) -> anyhow::Result<Vec<(Wall, StoredPost)>> {
        let rows = sqlx::query(
            "SELECT p.id, p.kind, p.subject, p.at, p.body FROM posts_open o JOIN posts p ON p.id = o.id WHERE p.kind = 'c2b' AND p.at <= $1
             ORDER BY p.at, p.id",
        );
        let rows = rows.bind(to_db(until)).fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((super::wall(row, "at")?, stored(row)?))).collect()
    }

    /// A post is left for later: nobody can work on it now.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn post_waits(&self, id: &str, until: Wall) -> anyhow::Result<()> {
        sqlx::query("UPDATE posts_open SET at = $2 WHERE id = $1").bind(id).bind(to_db(until)).execute(&self.pool).await?;
        Ok(())
    }

    /// All that follows from a post is stored. Until this it is worked on again after a crash, which changes nothing twice.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn post_is_done(&self, id: &str) -> anyhow::Result<()> {
        sqlx::query("DELETE FROM posts_open WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// The secret part of the addresses for payments without a prompt: made at the first call, the same ever after, because
    /// Safaricom takes an address once.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn c2b_secret(&self, now: Wall) -> anyhow::Result<CallbackSecret> {
        let new = CallbackSecret::new()?;
        let insert = sqlx::query("INSERT INTO secrets (name, secret, at) VALUES ('c2b', $1, $2) ON CONFLICT (name) DO NOTHING");
        insert.bind(new.reveal()).bind(to_db(now)).execute(&self.pool).await?;
        let row = sqlx::query("SELECT secret FROM secrets WHERE name = 'c2b'").fetch_one(&self.pool).await?;
        CallbackSecret::parse(row.try_get("secret")?).context("the ledger's column secret is damaged")
    }

    /// Whether this is that secret.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn is_c2b_secret(&self, secret: &CallbackSecret) -> anyhow::Result<bool> {
        let row = sqlx::query("SELECT 1 FROM secrets WHERE name = 'c2b' AND secret = $1").bind(secret.reveal());
        Ok(row.fetch_optional(&self.pool).await?.is_some())
    }

    /// What a result with this secret is about.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn asked_with(&self, secret: &CallbackSecret) -> anyhow::Result<Option<Kind>> {
        let found = |text: &'static str| sqlx::query(text).bind(secret.reveal().to_owned()).fetch_optional(&self.pool);
        if found("SELECT 1 FROM status_asks WHERE secret = $1").await?.is_some() {
            return Ok(Some(Kind::Status));
        }
        if found("SELECT 1 FROM reversals WHERE secret = $1").await?.is_some() {
            return Ok(Some(Kind::Reversal));
        }
        Ok(self.reversal_asked_about(secret.reveal()).await?.map(|_| Kind::AboutReversal))
    }
}
