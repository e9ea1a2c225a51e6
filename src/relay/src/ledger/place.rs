//! Where the ledger is, and how the connection to it is set up, so that what is committed is durable.

use crate::folders;
use anyhow::Context;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, ConnectOptions, Connection, Executor};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// Which database. What is different between the two is decided by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// Where the ledger is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// A file on this machine: one relay.
    Sqlite(PathBuf),
    /// A server: one relay, or several at once.
    Postgres(Url),
}

/// A server that should answer by then is away.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Why a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    /// It does not answer.
    #[error("{0}")]
    Away(String),
    /// It answers, and does not take what the config says: the user, the password, the database's name.
    #[error("{0}")]
    Refused(String),
}

/// Without the password.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => write!(f, "postgres://{}{}", url.host_str().unwrap_or_default(), url.path()),
        }
    }
}

impl Place {
    /// Reads `sqlite:///absolute/path` or `postgres://…`.
    ///
    /// # Errors
    /// With what would be right.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "database must be \"sqlite://\" and the absolute path of a file, as \"sqlite:///var/lib/lango-relay/relay.db\", \
                              or \"postgres://USER:PASSWORD@HOST/DATABASE\"";
        if let Some(path) = text.strip_prefix("sqlite://") {
            let good = path.starts_with('/') && path.len() > 1 && !path.contains(['?', '#', '%']);
            return if good { Ok(Self::Sqlite(path.into())) } else { Err(WANTED) };
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "postgres" | "postgresql")).ok_or(WANTED)?;
        if url.path().trim_matches('/').is_empty() {
            return Err("database names no database of the server: \"postgres://USER:PASSWORD@HOST/DATABASE\"");
        }
        if url.fragment().is_some() {
            return Err("a '#' in database must be written %23");
        }
        Ok(Self::Postgres(url))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Postgres(_) => Kind::Postgres,
        }
    }

    pub(super) async fn has_ledger(&self) -> anyhow::Result<bool> {
        match self {
            Self::Sqlite(path) => Ok(std::fs::exists(path)?),
            Self::Postgres(url) => {
                sqlx::any::install_default_drivers();
                let pool = postgres(url).await?;
                let tables =
                    sqlx::query("SELECT tablename::text FROM pg_tables WHERE tablename = 'relay_schema' AND schemaname = current_schema()");
                let found = tables.fetch_optional(&pool).await?.is_some();
                pool.close().await;
                Ok(found)
            }
        }
    }

    /// Asks the server once, and waits 5 s at most; for a file this does nothing.
    ///
    /// # Errors
    /// With what is in the way.
    pub async fn reach(&self) -> Result<(), Unreached> {
        let Self::Postgres(url) = self else { return Ok(()) };
        sqlx::any::install_default_drivers();
        let options = postgres_options(url).map_err(|error| Unreached::Refused(format!("{self}: {error:#}")))?;
        // What else it may say (too many connections, it is starting) passes.
        let is_the_configs = |code: &str| code.starts_with("28") || code == "3D000";
        match timeout(ANSWERS_WITHIN, options.connect()).await {
            Ok(Ok(connection)) => {
                let _ = connection.close().await;
                Ok(())
            }
            Ok(Err(sqlx::Error::Database(error))) if error.code().is_some_and(|code| is_the_configs(&code)) => {
                Err(Unreached::Refused(format!("{self}: {}", error.message())))
            }
            Ok(Err(error)) => Err(Unreached::Away(format!("{self}: {error}"))),
            Err(_) => Err(Unreached::Away(format!("{self}: no answer within {} s", ANSWERS_WITHIN.as_secs()))),
        }
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<AnyPool> {
        sqlx::any::install_default_drivers();
        match self {
            Self::Sqlite(path) => sqlite(path).await,
            Self::Postgres(url) => postgres(url).await,
        }
    }
}

async fn sqlite(path: &Path) -> anyhow::Result<AnyPool> {
    // Made by us and not by SQLite: it holds customers' numbers and the routers' passwords.
    folders::make_for(path)?;
    drop(std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?);
    let mut url = Url::parse("sqlite:///").context("an address for SQLite")?;
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
        });
    Ok(pool.connect_with(options).await?)
}

/// How long one statement, a lock that it waits for, or a pause within a transaction may take. A relay that hangs must not
/// hold up the others for longer: the server ends what it began, and its locks are free.
const PATIENCE: &str = "SET statement_timeout = '20s'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '10s'";

fn postgres_options(url: &Url) -> anyhow::Result<AnyConnectOptions> {
    let mut url = url.clone();
    // Over a network the books travel by TLS, and the server proves who it is, unless the operator says otherwise.
    if !is_near(&url) && !url.query_pairs().any(|(key, _)| matches!(&*key, "sslmode" | "ssl-mode")) {
        url.query_pairs_mut().append_pair("sslmode", "verify-full");
    }
    if !url.query_pairs().any(|(key, _)| key == "application_name") {
        url.query_pairs_mut().append_pair("application_name", "lango-relay");
    }
    Ok(AnyConnectOptions::from_str(url.as_str())?.log_statements(log::LevelFilter::Off))
}

async fn postgres(url: &Url) -> anyhow::Result<AnyPool> {
    let options = postgres_options(url)?;
    let pool = AnyPoolOptions::new()
        .max_connections(8)
        // A connection that died with its server is found out before a change is begun on it.
        .test_before_acquire(true)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(PATIENCE).execute(&mut *connection).await?;
                // A commit that returns must be on the disk. What is stricter (a standby's disk, too) stays.
                let durable =
                    "DO $$ BEGIN IF current_setting('synchronous_commit') = 'off' THEN SET synchronous_commit = 'on'; END IF; END $$";
                sqlx::raw_sql(durable).execute(&mut *connection).await?;
                Ok(())
            })
        });
    match pool.connect_with(options.clone()).await {
        // A server that refuses connections is tried until then, and what it said is kept to itself.
        Err(error @ sqlx::Error::PoolTimedOut) => {
            let said = timeout(Duration::from_secs(1), options.connect()).await;
            let cause = said.ok().and_then(Result::err).unwrap_or(error);
            Err(anyhow::Error::from(cause).context("its server cannot be reached; start it, or correct `database` in the config"))
        }
        other => Ok(other?),
    }
}

/// Whether the server is on this machine: by a socket's path, or a loopback address.
fn is_near(url: &Url) -> bool {
    if let Some((_, host)) = url.query_pairs().find(|(key, _)| matches!(&**key, "host" | "hostaddr")) {
        return host.starts_with('/') || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    }
    // Of a scheme that is none of the web's the URL's own host is always a name, an address included.
    match url.host_str().map(|host| host.trim_matches(['[', ']']).to_ascii_lowercase()) {
        None => true,
        Some(host) => host == "localhost" || host.starts_with("%2f") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        assert!(Place::parse("sqlite:///var/lib/relay.db") == Ok(Place::Sqlite("/var/lib/relay.db".into())));
        for text in ["postgres://relay:secret@db.example.org/lango", "postgresql:///lango?host=/run/postgresql"] {
            let place = Place::parse(text).map_err(|wrong| format!("{text}: {wrong}")).unwrap();
            assert_eq!(place.kind(), Kind::Postgres);
            assert!(!place.to_string().contains("secret"), "{place}");
        }
        for text in
            ["relay.db", "sqlite://relay.db", "sqlite:///a?b", "mysql://a/b", "postgres://host", "postgres://host/", "postgres://u:a#b@h/d"]
        {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_on_this_machine() {
        for (text, near) in [
            ("postgres://localhost/lango", true),
            ("postgres://127.0.0.1:5433/lango", true),
            ("postgres://[::1]/lango", true),
            ("postgres://%2Frun%2Fpostgresql/lango", true),
            ("postgres:///lango?host=/run/postgresql", true),
            ("postgres://db.example.org/lango", false),
            ("postgres://192.0.2.1/lango", false),
            ("postgres:///lango?host=db.example.org", false),
        ] {
            assert_eq!(is_near(&Url::parse(text).unwrap()), near, "{text}");
        }
    }
}
