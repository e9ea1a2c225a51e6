//! Texts to customers in the ledger: each stored before it is sent, claimed by whoever sends it, and settled by what the
//! gateway said.

use super::place::Kind as Database;
use super::{Ledger, maybe_parsed, maybe_wall, parsed, to_db, unsigned, wall};
use crate::sms::rule::{Alert, Handed, Kind, Next, Report, Why};
use anyhow::Context;
use lango_core::language::Language;
use lango_core::time::Wall;
use lango_core::units::{Msisdn, OrderId, Receipt, RouterName, Username};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A text that is to be sent.
pub struct NewText<'a> {
    /// Its id, for operators.
    pub id: &'a str,
    /// The router that wants it sent.
    pub router: &'a RouterName,
    /// What it is told for: the same is never told twice.
    pub cause: &'a str,
    /// What it is about.
    pub kind: Kind,
    /// The account.
    pub username: &'a Username,
    /// To whom.
    pub phone: Msisdn,
    /// In which language.
    pub language: Language,
    /// The order that was paid, if there was one.
    pub order: Option<&'a OrderId>,
    /// The money's receipt, if there was any.
    pub receipt: Option<&'a Receipt>,
    /// The words. Never for a log.
    pub body: &'a str,
    /// Why it is kept and not sent, where that is so.
    pub held: Option<Why>,
}

/// A text as it stands. Its words are shown to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its id.
    pub id: String,
    /// The router that wanted it sent.
    pub router: RouterName,
    /// What it is about.
    pub kind: Kind,
    /// The account.
    pub username: Username,
    /// To whom.
    pub phone: Msisdn,
    /// In which language.
    pub language: Language,
    /// The order that was paid.
    pub order: Option<OrderId>,
    /// The money's receipt.
    pub receipt: Option<Receipt>,
    /// When it was stored.
    pub made_at: Wall,
    /// Since when it is tried: an operator's `retry` begins anew.
    pub since: Wall,
    /// `queued`, `sent`, `delivered` or `failed`.
    pub state: String,
    /// How often it was tried.
    pub tries: u32,
    /// How often it was handed over without knowing that it was in vain.
    pub sends: u32,
    /// When it is tried next.
    pub due: Option<Wall>,
    /// The gateway's code for what happened last.
    pub code: Option<String>,
    /// In plain words.
    pub note: Option<String>,
    /// When the gateway took it.
    pub sent_at: Option<Wall>,
    /// When it was delivered, or failed.
    pub decided_at: Option<Wall>,
}

/// A text that is claimed, and its words.
pub struct Claimed {
    /// The text.
    pub text: Text,
    /// The words. Never for a log.
    pub body: String,
}

impl Text {
    /// What the rules need of it.
    #[must_use]
    pub fn handed(&self) -> Handed {
        Handed { kind: self.kind, since: self.since, tries: self.tries, sends: self.sends }
    }
}

fn text(row: &AnyRow) -> anyhow::Result<Text> {
    let kind: String = row.try_get("kind")?;
    Ok(Text {
        id: row.try_get("id")?,
        router: parsed(row, "router")?,
        kind: Kind::named(&kind).context("the ledger holds a text of a kind that this program does not know")?,
        username: parsed(row, "username")?,
        phone: parsed(row, "phone")?,
        language: parsed(row, "language")?,
        order: maybe_parsed(row, "order_id")?,
        receipt: maybe_parsed(row, "receipt")?,
        made_at: wall(row, "made_at")?,
        since: wall(row, "since")?,
        state: row.try_get("state")?,
        tries: small(row, "tries")?,
        sends: small(row, "sends")?,
        due: maybe_wall(row, "due")?,
        code: row.try_get("code")?,
        note: row.try_get("note")?,
        sent_at: maybe_wall(row, "sent_at")?,
        decided_at: maybe_wall(row, "decided_at")?,
    })
}

fn small(row: &AnyRow, column: &str) -> sqlx::Result<u32> {
    Ok(u32::try_from(unsigned(row, column)?).unwrap_or(u32::MAX))
}

// $1 the claim, $2 when it ends, $3 now, $4 how many at most.
macro_rules! claim {
    ($free:literal) => {
        concat!(
            "UPDATE texts SET claim = $1, due = $2, tries = tries + 1, sends = sends + 1 WHERE id IN ",
            "(SELECT id FROM texts WHERE due <= $3 ORDER BY due LIMIT $4",
            $free,
            ")"
        )
    };
}

impl Ledger {
    /// Stores a text, due at once. `false`: this cause is known, and nothing was changed.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn add_text(&self, new: &NewText<'_>, now: Wall) -> anyhow::Result<bool> {
        let mut change = self.begin().await?;
        let insert = sqlx::query(
            "INSERT INTO texts (id, router, cause, kind, username, phone, language, order_id, receipt, body, made_at, since, state, tries,
             sends, due, code, note, decided_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, 0, 0, $13, $14, $15, $16)
             ON CONFLICT (router, cause) DO NOTHING",
        );
        let done = insert
            .bind(new.id)
            .bind(new.router.as_str())
            .bind(new.cause)
            .bind(new.kind.name())
            .bind(new.username.as_str())
            .bind(new.phone.digits())
            .bind(new.language.as_str())
            .bind(new.order.map(OrderId::as_str))
            .bind(new.receipt.map(Receipt::as_str))
            .bind(new.body)
            .bind(to_db(now))
            .bind(if new.held.is_some() { "failed" } else { "queued" })
            .bind(new.held.is_none().then(|| to_db(now)))
            .bind(new.held.as_ref().map(|why| why.code.as_str()))
            .bind(new.held.as_ref().map(|why| why.words.as_str()))
            .bind(new.held.is_some().then(|| to_db(now)))
            .execute(&mut *change.tx)
            .await?;
        change.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// How many texts a router had stored since then, sent or not.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn texts_since(&self, router: &RouterName, since: Wall) -> anyhow::Result<u64> {
        let row = sqlx::query("SELECT CAST(COUNT(*) AS BIGINT) AS texts FROM texts WHERE router = $1 AND made_at >= $2");
        let row = row.bind(router.as_str()).bind(to_db(since)).fetch_one(&self.pool).await?;
        Ok(unsigned(&row, "texts")?)
    }

    /// In which language this account was told something last.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn language_of(&self, router: &RouterName, username: &Username) -> anyhow::Result<Option<Language>> {
        let row = sqlx::query("SELECT language FROM texts WHERE router = $1 AND username = $2 ORDER BY made_at DESC LIMIT 1");
        let row = row.bind(router.as_str()).bind(username.as_str()).fetch_optional(&self.pool).await?;
        row.map(|row| parsed(&row, "language")).transpose()
    }

    /// Claims what is due until `until`: nobody else sends it before that. It counts as handed over from here on: a relay
    /// that dies with it may have sent it. `claim` is a new name for each call.
    ///
    /// # Errors
    /// When the ledger cannot be written; then nothing is claimed.
    pub async fn claim_texts(&self, claim: &str, most: u32, now: Wall, until: Wall) -> anyhow::Result<Vec<Claimed>> {
        // Most of the time nothing is due, and a look costs less than a change.
        let due = sqlx::query("SELECT id FROM texts WHERE due <= $1 LIMIT 1").bind(to_db(now)).fetch_optional(&self.pool).await?;
        if due.is_none() || most == 0 {
            return Ok(Vec::new());
        }
        let mut change = self.begin().await?;
        let update = sqlx::query(match self.kind {
            Database::Sqlite => claim!(""),
            Database::Postgres => claim!(" FOR UPDATE SKIP LOCKED"),
        });
        update.bind(claim).bind(to_db(until)).bind(to_db(now)).bind(i64::from(most)).execute(&mut *change.tx).await?;
        let rows = sqlx::query("SELECT * FROM texts WHERE claim = $1 AND due = $2 ORDER BY made_at, id");
        let rows = rows.bind(claim).bind(to_db(until)).fetch_all(&mut *change.tx).await?;
        let claimed = |row: &AnyRow| {
            let body: Option<String> = row.try_get("body")?;
            Ok(Claimed { text: text(row)?, body: body.unwrap_or_default() })
        };
        let texts = rows.iter().map(claimed).collect::<anyhow::Result<_>>()?;
        change.commit().await?;
        Ok(texts)
    }

    /// Stores what became of a claimed text. `false`: the claim ran out, and somebody else has it by now.
    ///
    /// # Errors
    /// When it could not be stored: the text counts as handed over, and is due when the claim ends.
    pub async fn settle_text(&self, id: &str, claim: &str, next: &Next, now: Wall) -> anyhow::Result<bool> {
        let done = match next {
            // The gateway has it: whoever claimed it meanwhile need not send it any more.
            Next::Sent(gateway_id) => {
                let update = sqlx::query(
                    "UPDATE texts SET state = 'sent', due = NULL, claim = NULL, gateway_id = $3, code = NULL, note = NULL, sent_at = $4
                     WHERE id = $1 AND (claim = $2 OR state = 'queued')",
                );
                update.bind(id).bind(claim).bind(gateway_id.as_deref()).bind(to_db(now)).execute(&self.pool).await?
            }
            Next::Again { due, counts, why } => {
                let update = sqlx::query(
                    "UPDATE texts SET due = $3, claim = NULL, sends = sends - $4, code = $5, note = $6
                     WHERE id = $1 AND claim = $2 AND state = 'queued'",
                );
                let update = update.bind(id).bind(claim).bind(to_db(*due)).bind(i64::from(!counts)).bind(&why.code).bind(&why.words);
                update.execute(&self.pool).await?
            }
            Next::Failed(why) => {
                let update = sqlx::query(
                    "UPDATE texts SET state = 'failed', due = NULL, claim = NULL, code = $3, note = $4, decided_at = $5
                     WHERE id = $1 AND claim = $2 AND state = 'queued'",
                );
                update.bind(id).bind(claim).bind(&why.code).bind(&why.words).bind(to_db(now)).execute(&self.pool).await?
            }
        };
        Ok(done.rows_affected() == 1)
    }

    /// Stores what a delivery report says. What is delivered stays so. `false`: no text of ours has that id.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn text_reported(&self, gateway_id: &str, report: &Report, now: Wall) -> anyhow::Result<bool> {
        let known = sqlx::query("SELECT id FROM texts WHERE gateway_id = $1").bind(gateway_id).fetch_optional(&self.pool).await?;
        if known.is_none() {
            return Ok(false);
        }
        match report {
            Report::Underway => {}
            Report::Delivered => {
                let update = sqlx::query(
                    "UPDATE texts SET state = 'delivered', due = NULL, body = NULL, code = NULL, note = NULL, decided_at = $2
                     WHERE gateway_id = $1 AND state <> 'delivered'",
                );
                update.bind(gateway_id).bind(to_db(now)).execute(&self.pool).await?;
            }
            Report::Failed(why) => {
                let update = sqlx::query(
                    "UPDATE texts SET state = 'failed', due = NULL, code = $2, note = $3, decided_at = $4
                     WHERE gateway_id = $1 AND state = 'sent'",
                );
                update.bind(gateway_id).bind(&why.code).bind(&why.words).bind(to_db(now)).execute(&self.pool).await?;
            }
        }
        Ok(true)
    }

    /// All texts, newest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn texts(&self) -> anyhow::Result<Vec<Text>> {
        let rows = sqlx::query("SELECT * FROM texts ORDER BY made_at DESC, id").fetch_all(&self.pool).await?;
        rows.iter().map(text).collect()
    }

    /// One text.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn text(&self, id: &str) -> anyhow::Result<Option<Text>> {
        let row = sqlx::query("SELECT * FROM texts WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(text).transpose()
    }

    /// An operator wants a text sent, whatever became of it before. `false`: its words are forgotten.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn send_text_again(&self, id: &str, now: Wall) -> anyhow::Result<bool> {
        let update = sqlx::query(
            "UPDATE texts SET state = 'queued', sends = 0, since = $2, due = $2, claim = NULL, gateway_id = NULL, code = NULL, note = NULL,
             sent_at = NULL, decided_at = NULL WHERE id = $1 AND body IS NOT NULL",
        );
        Ok(update.bind(id).bind(to_db(now)).execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Forgets the words of texts that were made before `until` and that nobody is to send any more.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn forget_words(&self, until: Wall) -> anyhow::Result<()> {
        let update = sqlx::query("UPDATE texts SET body = NULL WHERE body IS NOT NULL AND due IS NULL AND made_at < $1");
        update.bind(to_db(until)).execute(&self.pool).await?;
        Ok(())
    }

    /// Takes note that the gateway sends nothing. `true`: nobody knew before.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn raise_alert(&self, alert: Alert, code: &str, now: Wall) -> anyhow::Result<bool> {
        let insert = sqlx::query("INSERT INTO text_alerts (name, at, code) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING");
        Ok(insert.bind(alert.name()).bind(to_db(now)).bind(code).execute(&self.pool).await?.rows_affected() == 1)
    }

    /// The gateway took a text: there is nothing to look at any more, and what waited for that is due. `true`: there was.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn lower_alerts(&self, now: Wall) -> anyhow::Result<bool> {
        if self.alerts().await?.is_empty() {
            return Ok(false);
        }
        let mut change = self.begin().await?;
        let lowered = sqlx::query("DELETE FROM text_alerts").execute(&mut *change.tx).await?.rows_affected() > 0;
        let waiting = sqlx::query("UPDATE texts SET due = $1 WHERE due > $1 AND claim IS NULL");
        waiting.bind(to_db(now)).execute(&mut *change.tx).await?;
        change.commit().await?;
        Ok(lowered)
    }

    /// Why the gateway sends nothing at present, since when, and its code.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn alerts(&self) -> anyhow::Result<Vec<(Alert, Wall, String)>> {
        let rows = sqlx::query("SELECT name, at, code FROM text_alerts ORDER BY at, name").fetch_all(&self.pool).await?;
        let mut alerts = Vec::new();
        for row in &rows {
            let name: String = row.try_get("name")?;
            if let Some(alert) = Alert::ALL.into_iter().find(|alert| alert.name() == name) {
                alerts.push((alert, wall(row, "at")?, row.try_get("code")?));
            }
        }
        Ok(alerts)
    }
}
