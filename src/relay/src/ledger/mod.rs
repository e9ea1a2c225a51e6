//! The ledger: the relay's database. One SQL for SQLite and PostgreSQL, through `sqlx::Any`: numbered parameters, TEXT and
//! BIGINT, and a `revision` on each payment, so that two writers, or two relays, can never both act on the same state.
//! PostgreSQL's row locks come on top, where waiting is cheaper than trying again.

mod books;
mod callbacks;
mod deposits;
mod outbox;
mod payments;
mod place;
mod posts;
mod purchases;
mod relays;
mod reversals;
mod roaming;
mod routers;
mod texts;
mod tokens;
mod updates;

pub use books::Entry;
pub use callbacks::StoredCallback;
pub use deposits::{Deposit, Stage};
pub use outbox::{Message, Sequences, Which};
pub use payments::{Heard, Key, NewRequest};
pub use place::{Kind as DatabaseKind, Place, Unreached};
pub use posts::{Kind as PostKind, StoredPost};
pub use purchases::{Purchase, Standing};
pub use reversals::{Reversal, StatusAsk};
pub use routers::Router;
pub use texts::{Claimed, NewText, Text};
pub use updates::Offered;

use anyhow::{Context, bail};
use lango_core::time::Wall;
use place::Kind;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, Row, Transaction};
use std::str::FromStr;

/// What makes a version of the schema out of the one before it. Never changed once it was released.
struct Step {
    version: i64,
    common: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const STEPS: [Step; 7] = [
    Step {
        version: 2,
        common: include_str!("schema.sql"),
        sqlite: include_str!("schema_sqlite.sql"),
        postgres: include_str!("schema_postgres.sql"),
    },
    Step {
        version: 3,
        common: include_str!("schema_3.sql"),
        sqlite: include_str!("schema_3_sqlite.sql"),
        postgres: include_str!("schema_3_postgres.sql"),
    },
    // The same in both.
    Step { version: 4, common: include_str!("schema_4.sql"), sqlite: "", postgres: "" },
    Step { version: 5, common: include_str!("schema_5.sql"), sqlite: "", postgres: "" },
    Step { version: 6, common: include_str!("schema_6.sql"), sqlite: "", postgres: "" },
    Step { version: 7, common: include_str!("schema_7.sql"), sqlite: "", postgres: "" },
    Step { version: 8, common: include_str!("schema_8.sql"), sqlite: "", postgres: "" },
];
/// The first version that a later program can build on.
const SCHEMA_FIRST: i64 = STEPS[0].version;
/// The schema's version, which the database keeps. A database of a later version is refused, not guessed at.
const SCHEMA_VERSION: i64 = STEPS[STEPS.len() - 1].version;

/// The open database.
#[derive(Clone)]
pub struct Ledger {
    pool: AnyPool,
    kind: Kind,
}

/// A transaction that means to write. Dropped without [`Change::commit`] it changes nothing.
pub struct Change {
    tx: Transaction<'static, Any>,
    kind: Kind,
}

impl Change {
    /// Makes it durable: when this returns, a power cut does not undo it.
    ///
    /// # Errors
    /// When the database cannot; then nothing of it happened, unless the connection broke off in that very moment.
    pub async fn commit(self) -> anyhow::Result<()> {
        self.tx.commit().await.context("the ledger could not store a change")
    }
}

impl Ledger {
    /// Opens the database, and makes its tables where there are none.
    ///
    /// # Errors
    /// When it cannot be opened, is damaged, or is of another version.
    pub async fn open(place: &Place) -> anyhow::Result<Self> {
        let pool = place.connect().await.with_context(|| format!("the ledger {place} cannot be opened"))?;
        let ledger = Self { pool, kind: place.kind() };
        ledger.prepare().await.with_context(|| format!("the ledger {place} cannot be used"))?;
        Ok(ledger)
    }

    /// Opens the database, where its tables are there already.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub async fn open_existing(place: &Place) -> anyhow::Result<Option<Self>> {
        if !place.has_ledger().await.with_context(|| format!("the ledger {place} cannot be opened"))? {
            return Ok(None);
        }
        Self::open(place).await.map(Some)
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        let version: Option<i64> = match self.kind {
            Kind::Sqlite => sqlx::query("PRAGMA user_version").fetch_one(&mut *change.tx).await?.try_get(0)?,
            Kind::Postgres => {
                // Relays that start at once make the tables once. The number is no more than this lock's name.
                sqlx::raw_sql("DO $$ BEGIN PERFORM pg_advisory_xact_lock(717171004); END $$").execute(&mut *change.tx).await?;
                sqlx::raw_sql("CREATE TABLE IF NOT EXISTS relay_schema (version BIGINT NOT NULL)").execute(&mut *change.tx).await?;
                let row = sqlx::query("SELECT version FROM relay_schema").fetch_optional(&mut *change.tx).await?;
                row.map(|row| row.try_get(0)).transpose()?
            }
        };
        let before = match version {
            None | Some(0) => 0,
            Some(SCHEMA_VERSION) => return Ok(()),
            Some(known @ SCHEMA_FIRST..SCHEMA_VERSION) => known,
            Some(later) if later > SCHEMA_VERSION => {
                bail!("it was written by a newer lango-relay (schema {later}, this program knows {SCHEMA_VERSION}): install that one again")
            }
            Some(earlier) => bail!(
                "it was written by a lango-relay from before the first release (schema {earlier}): keep that file with that program, and give this one a new database"
            ),
        };
        for step in STEPS.iter().filter(|step| step.version > before) {
            let own = match self.kind {
                Kind::Sqlite => step.sqlite,
                Kind::Postgres => step.postgres,
            };
            sqlx::raw_sql(step.common).execute(&mut *change.tx).await?;
            sqlx::raw_sql(own).execute(&mut *change.tx).await?;
        }
        let now = match self.kind {
            Kind::Sqlite => format!("PRAGMA user_version = {SCHEMA_VERSION}"),
            Kind::Postgres => format!("DELETE FROM relay_schema; INSERT INTO relay_schema (version) VALUES ({SCHEMA_VERSION})"),
        };
        sqlx::raw_sql(sqlx::AssertSqlSafe(now)).execute(&mut *change.tx).await?;
        change.commit().await
    }

    /// Begins a change.
    ///
    /// # Errors
    /// When the database cannot be had.
    pub async fn begin(&self) -> anyhow::Result<Change> {
        let tx = match self.kind {
            // IMMEDIATE: a transaction that first reads and then writes must not find another writer in between.
            Kind::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Kind::Postgres => self.pool.begin().await,
        };
        Ok(Change { tx: tx.context("the ledger is busy or gone")?, kind: self.kind })
    }

    /// Whether other relays may work on it at the same time.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.kind == Kind::Postgres
    }

    /// Closes the database; SQLite merges its log into it.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Whether a change failed because another one came first: read again, it may well succeed.
#[must_use]
pub fn is_collision(error: &anyhow::Error) -> bool {
    let database = error.chain().find_map(|cause| cause.downcast_ref::<sqlx::Error>()).and_then(sqlx::Error::as_database_error);
    // 40001 and 40P01: PostgreSQL gave way to another transaction, or ended a deadlock.
    database.is_some_and(|error| error.is_unique_violation() || matches!(error.code().as_deref(), Some("40001" | "40P01")))
}

/// A time as the database has it. Beyond `i64` there is none.
fn to_db(wall: Wall) -> i64 {
    i64::try_from(wall.0).unwrap_or(i64::MAX)
}

fn unsigned(row: &AnyRow, column: &str) -> sqlx::Result<u64> {
    row.try_get::<i64, _>(column).map(|value| u64::try_from(value).unwrap_or_default())
}

fn wall(row: &AnyRow, column: &str) -> sqlx::Result<Wall> {
    unsigned(row, column).map(Wall)
}

fn maybe_wall(row: &AnyRow, column: &str) -> sqlx::Result<Option<Wall>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.and_then(|value| u64::try_from(value).ok()).map(Wall))
}

fn parsed<T: FromStr<Err = lango_core::units::Invalid>>(row: &AnyRow, column: &str) -> anyhow::Result<T> {
    row.try_get::<String, _>(column)?.parse().with_context(|| format!("the ledger's column {column} is damaged"))
}

fn maybe_parsed<T: FromStr<Err = lango_core::units::Invalid>>(row: &AnyRow, column: &str) -> anyhow::Result<Option<T>> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| text.parse().with_context(|| format!("the ledger's column {column} is damaged"))).transpose()
}

#[cfg(test)]
mod tests;
