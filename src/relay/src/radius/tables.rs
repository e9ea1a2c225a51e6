//! The RADIUS server's own tables: FreeRADIUS's `radcheck`, `radreply`, `radusergroup` and `radacct`, and two of ours beside them, in
//! one database, so that one transaction holds both what was bought and that it is in.

use super::rule::{self, Account, CHECK, REPLY, Session, Totals, Used};
use crate::ledger::{DatabaseKind as Kind, Place};
use anyhow::{Context, bail};
use lango_core::notice::AccountNotice;
use lango_core::units::{RouterName, Username};
use sqlx::any::AnyRow;
use sqlx::error::DatabaseError;
use sqlx::{Any, AnyPool, Row, Transaction};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Mutex;

/// FreeRADIUS's own, and what we use of it.
const SCHEMA: [(&str, &str); 4] = [
    ("radcheck", "SELECT username, attribute, op, value FROM radcheck WHERE 1 = 0"),
    ("radreply", "SELECT username, attribute, op, value FROM radreply WHERE 1 = 0"),
    ("radusergroup", "SELECT username, groupname, priority FROM radusergroup WHERE 1 = 0"),
    (
        "radacct",
        "SELECT username, acctstarttime, acctupdatetime, acctstoptime, acctsessiontime, acctinputoctets, acctoutputoctets FROM radacct WHERE 1 = 0",
    ),
];

/// Ours: the accounts with their totals, and which purchases are in them. The second is never emptied: a router may tell of a purchase
/// again after years.
const OURS: [(&str, &str); 2] = [
    (
        "lango_accounts",
        "CREATE TABLE lango_accounts (username TEXT NOT NULL PRIMARY KEY, router TEXT NOT NULL, password TEXT NOT NULL, groupname TEXT NOT NULL,
         seconds BIGINT, bytes BIGINT, devices BIGINT NOT NULL, down_kbps BIGINT, up_kbps BIGINT, bought_at BIGINT NOT NULL,
         look_at BIGINT NOT NULL DEFAULT 0)",
    ),
    (
        "lango_purchases",
        "CREATE TABLE lango_purchases (router TEXT NOT NULL, cause TEXT NOT NULL, username TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (router, cause))",
    ),
];

/// When an account is to be looked at whether it is still of use: not in the tables of the first versions.
const LOOK_AT: &str = "ALTER TABLE lango_accounts ADD COLUMN look_at BIGINT NOT NULL DEFAULT 0";

/// Finds those; without it they are found all the same.
const LOOK_INDEX: &str = "CREATE INDEX IF NOT EXISTS lango_accounts_look ON lango_accounts (look_at)";

/// The database lacks a table, or a column of one.
#[derive(Debug, thiserror::Error)]
#[error(
    "database {place} has no {table} as FreeRADIUS makes it: load FreeRADIUS's own schema there (Debian: /etc/freeradius/3.0/mods-config/sql/main/{kind}/schema.sql)"
)]
pub struct NoSchema {
    place: String,
    table: &'static str,
    kind: &'static str,
}

/// What became of a purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is in, durably, since now.
    Now,
    /// It was in already.
    Before,
    /// The account is somebody else's.
    Refused(String),
}

/// An account as the tables have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub username: String,
    /// The router that sold it first.
    pub router: String,
    /// The package that was bought last: its group.
    pub package: String,
    /// All that was bought.
    pub totals: Totals,
    /// What is used of it.
    pub used: Used,
    /// Devices online at once.
    pub devices: u64,
    /// When something was bought last: seconds since 1970.
    pub bought_at: u64,
}

/// The tables.
pub struct Tables {
    place: Place,
    /// In seconds; routers are told to send interim updates so often.
    interim: u32,
    open: Mutex<Option<Open>>,
    /// Whether what is open now is another file than what was open before, and nobody has seen to that.
    replaced: AtomicBool,
}

/// What is open, and which file that is, where it is one.
struct Open {
    pool: AnyPool,
    file: Option<(u64, u64)>,
}

impl Tables {
    /// Nothing is connected before it is needed: the RADIUS server's database may come later than the relay.
    #[must_use]
    pub fn new(place: Place, interim: u32) -> Self {
        Self { place, interim, open: Mutex::new(None), replaced: AtomicBool::new(false) }
    }

    /// Where they are, without the password.
    #[must_use]
    pub fn place(&self) -> String {
        self.place.to_string()
    }

    async fn pool(&self) -> anyhow::Result<AnyPool> {
        let mut kept = self.open.lock().await;
        let file = self.file();
        if let Some(open) = kept.take_if(|open| open.file != file) {
            // A backup was put in its place, or it was taken away: what is written to the old one nobody reads.
            self.replaced.store(true, Ordering::Release);
            open.pool.close().await;
        }
        if let Some(open) = &*kept {
            return Ok(open.pool.clone());
        }
        // FreeRADIUS makes the file with its tables only where there is none yet.
        if matches!(self.place, Place::Sqlite(_)) && file.is_none() {
            bail!("there is no database {} yet: FreeRADIUS makes it when it starts first", self.place);
        }
        let pool = self.place.connect().await.with_context(|| format!("the RADIUS server's database {} cannot be reached", self.place))?;
        self.prepare(&pool).await?;
        *kept = Some(Open { pool: pool.clone(), file });
        Ok(pool)
    }

    /// Which file the database is at this moment: device and inode.
    fn file(&self) -> Option<(u64, u64)> {
        let Place::Sqlite(path) = &self.place else { return None };
        std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
    }

    /// Looks whether the database's file is still the one that was open before; opens the new one where it is not. `true`: it was
    /// replaced, until [`Tables::is_known`].
    ///
    /// # Errors
    /// When it was, and the new one cannot be used.
    pub async fn look(&self) -> anyhow::Result<bool> {
        let moved = self.open.lock().await.as_ref().is_some_and(|open| open.file != self.file());
        if moved {
            self.pool().await?;
        }
        Ok(self.replaced.load(Ordering::Acquire) && self.open.lock().await.is_some())
    }

    /// Somebody has seen to it that the new file gets what the old one had.
    pub fn is_known(&self) {
        self.replaced.store(false, Ordering::Release);
    }

    /// Looks whether FreeRADIUS's tables are there, and makes ours where they are not.
    async fn prepare(&self, pool: &AnyPool) -> anyhow::Result<()> {
        for (table, probe) in SCHEMA {
            match sqlx::raw_sql(probe).execute(pool).await {
                Ok(_) => {}
                Err(sqlx::Error::Database(error)) if is_missing(&*error) => {
                    let kind = match self.place.kind() {
                        Kind::Sqlite => "sqlite",
                        Kind::Postgres => "postgresql",
                    };
                    return Err(NoSchema { place: self.place.to_string(), table, kind }.into());
                }
                Err(error) => return Err(error).with_context(|| format!("the RADIUS server's database {} cannot be read", self.place)),
            }
        }
        for (table, create) in OURS {
            // Looked for first: who may not create tables may still use ours, which somebody else has made.
            let there = sqlx::query(match table {
                "lango_accounts" => "SELECT username FROM lango_accounts WHERE 1 = 0",
                _ => "SELECT cause FROM lango_purchases WHERE 1 = 0",
            });
            if there.fetch_optional(pool).await.is_ok() {
                continue;
            }
            let made = sqlx::raw_sql(create).execute(pool).await;
            // Two relays that start at once make it once.
            if made.is_err()
                && sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SELECT 1 FROM {table} WHERE 1 = 0"))).execute(pool).await.is_err()
            {
                made.with_context(|| {
                    format!("the table {table} cannot be made in {}: let the relay's user make tables there", self.place)
                })?;
            }
        }
        let probe = "SELECT look_at FROM lango_accounts WHERE 1 = 0";
        if sqlx::raw_sql(probe).execute(pool).await.is_err() {
            let added = sqlx::raw_sql(LOOK_AT).execute(pool).await;
            if added.is_err() && sqlx::raw_sql(probe).execute(pool).await.is_err() {
                added.with_context(|| format!("the table lango_accounts in {} needs a column: let its owner do {LOOK_AT}", self.place))?;
            }
        }
        // Only for speed: who may not make it does without.
        if let Err(error) = sqlx::raw_sql(LOOK_INDEX).execute(pool).await {
            log::debug!("radius: no index on lango_accounts: {error}");
        }
        Ok(())
    }

    /// Whether the database is there with FreeRADIUS's tables.
    ///
    /// # Errors
    /// [`NoSchema`] where a table is missing; something else where it cannot be reached.
    pub async fn check(&self) -> anyhow::Result<()> {
        let pool = self.pool().await?;
        // What was reached once may be gone by now.
        let asked = sqlx::raw_sql("SELECT 1 FROM radcheck WHERE 1 = 0").execute(&pool).await;
        asked.map(drop).with_context(|| format!("the RADIUS server's database {} cannot be read", self.place))
    }

    async fn begin(&self) -> anyhow::Result<Transaction<'static, Any>> {
        let pool = self.pool().await?;
        let begun = match self.place.kind() {
            Kind::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await,
            Kind::Postgres => pool.begin().await,
        };
        begun.with_context(|| format!("the RADIUS server's database {} is busy or gone", self.place))
    }

    /// Adds a purchase to its account, once, however often it comes and from however many relays: when this returns, its rows are durable.
    /// `at` in seconds since 1970.
    ///
    /// # Errors
    /// When the database cannot; then nothing of it happened, unless the connection broke off in that very moment.
    pub async fn write(&self, router: &RouterName, cause: &str, notice: &AccountNotice, at: u64) -> anyhow::Result<Written> {
        let mut tx = self.begin().await?;
        let (username, password) = (notice.username.as_str(), notice.password.reveal());
        let remembered = sqlx::query(
            "INSERT INTO lango_purchases (router, cause, username, at) VALUES ($1, $2, $3, $4) ON CONFLICT (router, cause) DO NOTHING",
        );
        let remembered = remembered.bind(router.as_str()).bind(cause).bind(username).bind(to_db(at)).execute(&mut *tx).await?;
        if remembered.rows_affected() == 0 {
            return Ok(Written::Before);
        }
        // Whoever else writes to this account waits here.
        let insert = sqlx::query(
            "INSERT INTO lango_accounts (username, router, password, groupname, devices, bought_at) VALUES ($1, $2, $3, '', 0, $4) ON CONFLICT (username) DO NOTHING",
        );
        let inserted = insert.bind(username).bind(router.as_str()).bind(password).bind(to_db(at)).execute(&mut *tx).await?;
        let is_new = inserted.rows_affected() == 1;
        let kept = self.kept(&mut tx, username).await?.context("an account that was just made is gone")?;
        if let Some(why) = self.is_anothers(&mut tx, &kept, is_new, router, notice).await? {
            return Ok(Written::Refused(why));
        }
        let used = Used::of(&self.sessions(&mut tx, username).await?);
        let totals = rule::add((!is_new).then_some(kept.totals), used, rule::bought(notice));
        let update = sqlx::query(
            "UPDATE lango_accounts SET password = $2, groupname = $3, seconds = $4, bytes = $5, devices = $6, down_kbps = $7, up_kbps = $8,
             bought_at = $9, look_at = $10 WHERE username = $1",
        );
        update
            .bind(username)
            .bind(password)
            .bind(notice.package.as_str())
            .bind(totals.seconds.map(to_db))
            .bind(totals.bytes.map(to_db))
            .bind(i64::from(notice.devices))
            .bind(notice.down_kbps.map(|speed| to_db(speed.0)))
            .bind(notice.up_kbps.map(|speed| to_db(speed.0)))
            .bind(to_db(at))
            .bind(to_db(at.saturating_add(rule::KEPT_FOR)))
            .execute(&mut *tx)
            .await?;
        self.put_rows(&mut tx, username, &kept.groupname).await?;
        tx.commit().await.with_context(|| format!("the RADIUS server's database {} could not store a purchase", self.place))?;
        // In the very moment in which it was replaced it went into the old one.
        if self.open.lock().await.as_ref().is_none_or(|open| open.file != self.file()) {
            bail!("the RADIUS server's database {} was replaced meanwhile", self.place);
        }
        Ok(Written::Now)
    }

    /// Puts an account's rows into FreeRADIUS's tables as ours have it. `false`: ours do not have it.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn restore(&self, username: &Username) -> anyhow::Result<bool> {
        let mut tx = self.begin().await?;
        let Some(kept) = self.kept(&mut tx, username.as_str()).await? else { return Ok(false) };
        self.put_rows(&mut tx, username.as_str(), &kept.groupname).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Why a purchase is not for the account of that name, where that is so.
    async fn is_anothers(
        &self,
        tx: &mut Transaction<'static, Any>,
        kept: &Kept,
        is_new: bool,
        router: &RouterName,
        notice: &AccountNotice,
    ) -> anyhow::Result<Option<String>> {
        if is_new {
            let query = "SELECT value FROM radcheck WHERE username = $1 AND attribute = 'Cleartext-Password' AND value <> $2";
            let other = sqlx::query(query).bind(notice.username.as_str()).bind(notice.password.reveal()).fetch_optional(&mut **tx).await?;
            return Ok(other.map(|_| "an account of that name is there, which lango-relay did not make".to_owned()));
        }
        // Credentials that roam may be bought on at any router; a name alone is no proof. A router's own accounts get new passwords.
        let anothers = kept.router != router.as_str() && kept.password != notice.password.reveal();
        Ok(anothers.then(|| format!("an account of that name is router {}'s, with another password", kept.router)))
    }

    /// The account as our table has it, locked against other writers.
    async fn kept(&self, tx: &mut Transaction<'static, Any>, username: &str) -> anyhow::Result<Option<Kept>> {
        let select = match self.place.kind() {
            Kind::Sqlite => "SELECT * FROM lango_accounts WHERE username = $1",
            Kind::Postgres => "SELECT * FROM lango_accounts WHERE username = $1 FOR UPDATE",
        };
        let row = sqlx::query(select).bind(username).fetch_optional(&mut **tx).await?;
        row.as_ref().map(kept).transpose()
    }

    async fn sessions(&self, tx: &mut Transaction<'static, Any>, username: &str) -> anyhow::Result<Vec<Session>> {
        // FreeRADIUS writes times as seconds since 1970 into SQLite.
        let select = match self.place.kind() {
            Kind::Sqlite => {
                "SELECT CAST(COALESCE(acctstoptime, acctupdatetime, acctstarttime, 0) AS INTEGER) AS stop,
                 CAST(COALESCE(acctsessiontime, 0) AS INTEGER) AS seconds,
                 CAST(COALESCE(acctinputoctets, 0) + COALESCE(acctoutputoctets, 0) AS INTEGER) AS bytes FROM radacct WHERE username = $1"
            }
            Kind::Postgres => {
                "SELECT CAST(EXTRACT(EPOCH FROM COALESCE(acctstoptime, acctupdatetime, acctstarttime, to_timestamp(0))) AS BIGINT) AS stop,
                 CAST(COALESCE(acctsessiontime, 0) AS BIGINT) AS seconds,
                 CAST(COALESCE(acctinputoctets, 0) + COALESCE(acctoutputoctets, 0) AS BIGINT) AS bytes FROM radacct WHERE username = $1"
            }
        };
        let rows = sqlx::query(select).bind(username).fetch_all(&mut **tx).await.context("radacct cannot be read")?;
        rows.iter()
            .map(|row| Ok(Session { stop: number(row, "stop")?, seconds: number(row, "seconds")?, bytes: number(row, "bytes")? }))
            .collect()
    }

    async fn put_rows(&self, tx: &mut Transaction<'static, Any>, username: &str, group_before: &str) -> anyhow::Result<()> {
        let kept = self.kept(tx, username).await?.context("an account that was just there is gone")?;
        remove_rows(tx, username, group_before).await?;
        let account = Account {
            password: kept.password,
            totals: kept.totals,
            devices: u8::try_from(kept.devices).unwrap_or(u8::MAX),
            down_kbps: kept.down_kbps,
            up_kbps: kept.up_kbps,
        };
        for (attribute, value) in rule::check_items(&account) {
            let insert = sqlx::query("INSERT INTO radcheck (username, attribute, op, value) VALUES ($1, $2, ':=', $3)");
            insert.bind(username).bind(attribute).bind(value).execute(&mut **tx).await?;
        }
        for (attribute, value) in rule::reply_items(&account, self.interim) {
            let insert = sqlx::query("INSERT INTO radreply (username, attribute, op, value) VALUES ($1, $2, ':=', $3)");
            insert.bind(username).bind(attribute).bind(value).execute(&mut **tx).await?;
        }
        // The same package again, or one that an operator's row names already.
        let delete = sqlx::query("DELETE FROM radusergroup WHERE username = $1 AND groupname = $2");
        delete.bind(username).bind(&kept.groupname).execute(&mut **tx).await?;
        let insert = sqlx::query("INSERT INTO radusergroup (username, groupname, priority) VALUES ($1, $2, 1)");
        insert.bind(username).bind(&kept.groupname).execute(&mut **tx).await?;
        Ok(())
    }

    /// The accounts in the order of their names, from after `after` on, so many at most; with what is used of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn accounts(&self, after: &str, most: u32) -> anyhow::Result<Vec<Listed>> {
        // Reads alone: nobody who writes waits for it.
        let mut tx = self.pool().await?.begin().await?;
        let rows = sqlx::query("SELECT * FROM lango_accounts WHERE username > $1 ORDER BY username LIMIT $2");
        let rows = rows.bind(after).bind(i64::from(most)).fetch_all(&mut *tx).await?;
        let mut accounts = Vec::with_capacity(rows.len());
        for row in &rows {
            let (username, kept): (String, _) = (row.try_get("username")?, kept(row)?);
            let used = Used::of(&self.sessions(&mut tx, &username).await?);
            let (router, package, totals, devices, bought_at) = (kept.router, kept.groupname, kept.totals, kept.devices, kept.bought_at);
            accounts.push(Listed { username, router, package, totals, used, devices, bought_at });
        }
        Ok(accounts)
    }

    /// Accounts that are to be looked at by now (seconds since 1970) whether they are still of use, the most overdue first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn due(&self, now: u64, most: u32) -> anyhow::Result<Vec<String>> {
        let rows = sqlx::query("SELECT username FROM lango_accounts WHERE look_at <= $1 ORDER BY look_at LIMIT $2");
        let rows = rows.bind(to_db(now)).bind(i64::from(most)).fetch_all(&self.pool().await?).await?;
        rows.iter().map(|row| Ok(row.try_get("username")?)).collect()
    }

    /// Removes an account that is used up, and of which nothing was bought or heard for [`rule::KEPT_FOR`] before `now` (seconds since 1970).
    /// `false`: it stays, and it is noted when to look again.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn forget(&self, username: &str, now: u64) -> anyhow::Result<bool> {
        let mut tx = self.begin().await?;
        let Some(kept) = self.kept(&mut tx, username).await? else { return Ok(false) };
        let used = Used::of(&self.sessions(&mut tx, username).await?);
        let again = rule::look_again(used, kept.totals, kept.bought_at, now);
        if let Some(again) = again {
            let update = sqlx::query("UPDATE lango_accounts SET look_at = $2 WHERE username = $1");
            update.bind(username).bind(to_db(again)).execute(&mut *tx).await?;
        } else {
            remove_rows(&mut tx, username, &kept.groupname).await?;
            sqlx::query("DELETE FROM lango_accounts WHERE username = $1").bind(username).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(again.is_none())
    }
}

/// An account of our table.
struct Kept {
    router: String,
    password: String,
    groupname: String,
    totals: Totals,
    devices: u64,
    down_kbps: Option<u64>,
    up_kbps: Option<u64>,
    bought_at: u64,
}

fn kept(row: &AnyRow) -> anyhow::Result<Kept> {
    Ok(Kept {
        router: row.try_get("router")?,
        password: row.try_get("password")?,
        groupname: row.try_get("groupname")?,
        totals: Totals { seconds: maybe_number(row, "seconds")?, bytes: maybe_number(row, "bytes")? },
        devices: number(row, "devices")?,
        down_kbps: maybe_number(row, "down_kbps")?,
        up_kbps: maybe_number(row, "up_kbps")?,
        bought_at: number(row, "bought_at")?,
    })
}

/// Ours go, an operator's stay.
async fn remove_rows(tx: &mut Transaction<'static, Any>, username: &str, group: &str) -> anyhow::Result<()> {
    for attribute in CHECK {
        sqlx::query("DELETE FROM radcheck WHERE username = $1 AND attribute = $2")
            .bind(username)
            .bind(attribute)
            .execute(&mut **tx)
            .await?;
    }
    for attribute in REPLY {
        sqlx::query("DELETE FROM radreply WHERE username = $1 AND attribute = $2")
            .bind(username)
            .bind(attribute)
            .execute(&mut **tx)
            .await?;
    }
    sqlx::query("DELETE FROM radusergroup WHERE username = $1 AND groupname = $2").bind(username).bind(group).execute(&mut **tx).await?;
    Ok(())
}

/// Whether a table or a column is not there (PostgreSQL: 42P01, 42703).
fn is_missing(error: &dyn DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("42P01" | "42703")) || error.message().contains("no such ")
}

fn number(row: &AnyRow, column: &str) -> sqlx::Result<u64> {
    row.try_get::<i64, _>(column).map(|value| u64::try_from(value).unwrap_or_default())
}

fn maybe_number(row: &AnyRow, column: &str) -> sqlx::Result<Option<u64>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.and_then(|value| u64::try_from(value).ok()))
}

fn to_db(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
