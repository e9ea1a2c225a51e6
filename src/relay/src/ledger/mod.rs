//! The ledger: the relay's database. One SQL for SQLite and (later) PostgreSQL, through `sqlx::Any`: numbered
//! parameters, TEXT and BIGINT, and a `revision` on each payment in place of locks, so that two writers, or two
//! relays, can never both act on the same state.

mod callbacks;
mod outbox;
mod payments;
mod routers;

pub use callbacks::StoredCallback;
pub use outbox::{Message, Sequences};
pub use payments::{Key, NewRequest};
pub use routers::Router;

use anyhow::{Context, bail};
use lango_core::time::Wall;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyPool, ConnectOptions, Executor, Row, Transaction};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

const SCHEMA: &str = include_str!("schema.sql");
/// The schema's version, in SQLite's `user_version`. A database of a later version is refused, not guessed at.
const SCHEMA_VERSION: i64 = 1;

/// The open database.
#[derive(Clone)]
pub struct Ledger {
    pool: AnyPool,
}

/// A transaction that means to write. Dropped without [`Change::commit`] it changes nothing.
pub struct Change {
    tx: Transaction<'static, Any>,
}

impl Change {
    /// Makes it durable: when this returns, a power cut does not undo it.
    ///
    /// # Errors
    /// When the database cannot; then nothing of it happened.
    pub async fn commit(self) -> anyhow::Result<()> {
        self.tx.commit().await.context("the ledger could not store a change")
    }
}

impl Ledger {
    /// Opens the SQLite database at `path`, and makes it where there is none.
    ///
    /// # Errors
    /// When it cannot be opened, is damaged, or is of a later version.
    pub async fn open(path: &Path) -> anyhow::Result<Self> {
        sqlx::any::install_default_drivers();
        let shown = path.display();
        // Made by us and not by SQLite: it holds customers' numbers and the routers' passwords.
        let made = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        drop(made.with_context(|| format!("the ledger {shown} cannot be opened"))?);
        let mut url = url::Url::parse("sqlite:///").context("an address for SQLite")?;
        url.set_path(&path.to_string_lossy());
        let options = AnyConnectOptions::from_str(url.as_str())?.log_statements(log::LevelFilter::Off);
        let pool = AnyPoolOptions::new()
            // SQLite has one writer. A second connection would only wait for the first.
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(20))
            .after_connect(|connection, _| {
                Box::pin(async move {
                    for pragma in [
                        "PRAGMA busy_timeout = 5000",
                        "PRAGMA journal_mode = WAL",
                        // NORMAL would lose the last commits in a power cut: commits after which we say 200 and ack.
                        "PRAGMA synchronous = FULL",
                    ] {
                        connection.execute(pragma).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .with_context(|| format!("the ledger {shown} cannot be opened"))?;
        let ledger = Self { pool };
        ledger.prepare().await.with_context(|| format!("the ledger {shown} cannot be used"))?;
        Ok(ledger)
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        let mut change = self.begin().await?;
        let version: i64 = sqlx::query("PRAGMA user_version").fetch_one(&mut *change.tx).await?.try_get(0)?;
        if version > SCHEMA_VERSION {
            bail!("it was written by a newer lango-relay (schema {version}, this program knows {SCHEMA_VERSION}): install that one again");
        }
        if version < SCHEMA_VERSION {
            sqlx::raw_sql(SCHEMA).execute(&mut *change.tx).await?;
            sqlx::raw_sql("PRAGMA user_version = 1").execute(&mut *change.tx).await?;
        }
        change.commit().await
    }

    /// Begins a change; others wait.
    ///
    /// # Errors
    /// When the database cannot be had.
    pub async fn begin(&self) -> anyhow::Result<Change> {
        // IMMEDIATE: a transaction that first reads and then writes must not find another writer in between.
        Ok(Change { tx: self.pool.begin_with("BEGIN IMMEDIATE").await.context("the ledger is busy or gone")? })
    }

    /// Closes the database, its log merged into it.
    pub async fn close(&self) {
        self.pool.close().await;
    }
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
