//! Updates over the air: what was offered to whom, and the router's latest word.

use super::{Change, Ledger, parsed, to_db, wall};
use crate::updates::{OFFERED, is_news};
use anyhow::Context;
use lango_core::time::Wall;
use lango_core::units::{MessageId, RouterName};
use lango_core::update::{Reason, Report};
use sqlx::Row;
use sqlx::any::AnyRow;

/// An offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The message that makes it.
    pub offer: MessageId,
    /// To whom.
    pub router: RouterName,
    /// `program` or `image`.
    pub kind: String,
    /// For people.
    pub version: String,
    /// The release's number.
    pub number: u64,
    /// The manifest's SHA-256, as hex digits.
    pub digest: String,
    /// When it was made.
    pub offered_at: Wall,
    /// [`OFFERED`], or the name of the router's latest [`lango_core::update::State`].
    pub state: String,
    /// The router's reason, by its name.
    pub reason: Option<String>,
    /// Since when it stands so.
    pub state_at: Wall,
}

impl Offered {
    /// The reason for people; its name where a later router has one that this program does not know.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        let reason = self.reason.as_deref()?;
        Some(match Reason::named(reason) {
            Some(known) => known.told(),
            None => reason,
        })
    }
}

fn offered(row: &AnyRow) -> anyhow::Result<Offered> {
    Ok(Offered {
        offer: parsed(row, "offer")?,
        router: parsed(row, "router")?,
        kind: row.try_get("kind")?,
        version: row.try_get("version")?,
        number: row.try_get::<String, _>("number")?.parse().context("the ledger's column number is damaged")?,
        digest: row.try_get("digest")?,
        offered_at: wall(row, "offered_at")?,
        state: row.try_get("state")?,
        reason: row.try_get("reason")?,
        state_at: wall(row, "state_at")?,
    })
}

impl Ledger {
    /// All offers, in the order in which they were made.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn updates(&self) -> anyhow::Result<Vec<Offered>> {
        let rows = sqlx::query("SELECT * FROM updates ORDER BY offered_at, offer").fetch_all(&self.pool).await?;
        rows.iter().map(offered).collect()
    }

    /// A router's word about an offer, which is not made again then. `false`: there was no such offer to it.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn update_is(&self, router: &RouterName, report: &Report, now: Wall) -> anyhow::Result<bool> {
        let (offer, state) = (report.offer.as_str(), report.state);
        let mut change = self.begin().await?;
        let known = sqlx::query("SELECT state FROM updates WHERE offer = $1 AND router = $2").bind(offer).bind(router.as_str());
        let Some(row) = known.fetch_optional(&mut *change.tx).await? else { return Ok(false) };
        if is_news(&row.try_get::<String, _>("state")?, state) {
            let update = sqlx::query("UPDATE updates SET state = $2, reason = $3, state_at = $4 WHERE offer = $1");
            let update = update.bind(offer).bind(state.name()).bind(report.reason.map(Reason::name)).bind(to_db(now));
            update.execute(&mut *change.tx).await?;
        }
        change.answer(router, &report.offer, state.name(), now).await?;
        change.commit().await?;
        Ok(true)
    }
}

impl Change {
    /// Writes an offer down. One of the same release to the same router that was not answered yet gives way to it.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn offer_update(&mut self, new: &Offered) -> anyhow::Result<()> {
        sqlx::query("DELETE FROM updates WHERE router = $1 AND digest = $2 AND state = $3")
            .bind(new.router.as_str())
            .bind(&new.digest)
            .bind(OFFERED)
            .execute(&mut *self.tx)
            .await?;
        sqlx::query(
            "INSERT INTO updates (offer, router, kind, version, number, digest, offered_at, state, reason, state_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(new.offer.as_str())
        .bind(new.router.as_str())
        .bind(&new.kind)
        .bind(&new.version)
        .bind(new.number.to_string())
        .bind(&new.digest)
        .bind(to_db(new.offered_at))
        .bind(&new.state)
        .bind(new.reason.as_deref())
        .bind(to_db(new.state_at))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
