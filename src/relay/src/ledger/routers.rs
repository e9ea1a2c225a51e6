//! The routers that are served: those that were added, and no others.

use super::{Ledger, maybe_wall, parsed, to_db, wall};
use lango_core::time::Wall;
use lango_core::units::{Password, RouterName};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A router of the fleet.
pub struct Router {
    /// Its name.
    pub name: RouterName,
    /// Its password at the broker.
    pub password: Password,
    /// When it was added.
    pub added_at: Wall,
    /// When it last said hello.
    pub hello_at: Option<Wall>,
    /// The version of its program.
    pub version: Option<String>,
    /// Whether the broker has it connected; nothing where it never was.
    pub online: Option<bool>,
    /// Since when that is so.
    pub online_at: Option<Wall>,
    /// Since when its keys are not good any more.
    pub revoked_at: Option<Wall>,
}

fn router(row: &AnyRow) -> anyhow::Result<Router> {
    Ok(Router {
        name: parsed(row, "name")?,
        password: Password::new(row.try_get("password")?)?,
        added_at: wall(row, "added_at")?,
        hello_at: maybe_wall(row, "hello_at")?,
        version: row.try_get("version")?,
        online: row.try_get::<Option<i64>, _>("online")?.map(|online| online != 0),
        online_at: maybe_wall(row, "online_at")?,
        revoked_at: maybe_wall(row, "revoked_at")?,
    })
}

impl Ledger {
    /// Adds a router, or gives one whose keys were revoked new ones. `false`: there is one of that name, and nothing was changed.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn add_router(&self, name: &RouterName, password: &Password, now: Wall) -> anyhow::Result<bool> {
        let insert = sqlx::query(
            "INSERT INTO routers (name, password, added_at, next_seq) VALUES ($1, $2, $3, 1) ON CONFLICT (name) DO UPDATE SET password = excluded.password, revoked_at = NULL WHERE routers.revoked_at IS NOT NULL",
        );
        let done = insert.bind(name.as_str()).bind(password.reveal()).bind(to_db(now)).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Revokes a router's keys. `false`: there is no such router, or they are revoked already.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn revoke_router(&self, name: &RouterName, now: Wall) -> anyhow::Result<bool> {
        let update = sqlx::query("UPDATE routers SET revoked_at = $2, online = 0 WHERE name = $1 AND revoked_at IS NULL");
        Ok(update.bind(name.as_str()).bind(to_db(now)).execute(&self.pool).await?.rows_affected() == 1)
    }

    /// All routers, by name.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn routers(&self) -> anyhow::Result<Vec<Router>> {
        sqlx::query("SELECT * FROM routers ORDER BY name").fetch_all(&self.pool).await?.iter().map(router).collect()
    }

    /// One router.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn router(&self, name: &RouterName) -> anyhow::Result<Option<Router>> {
        let row = sqlx::query("SELECT * FROM routers WHERE name = $1").bind(name.as_str()).fetch_optional(&self.pool).await?;
        row.as_ref().map(router).transpose()
    }

    /// Notes a router's hello.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn router_said_hello(&self, name: &RouterName, version: &str, now: Wall) -> anyhow::Result<()> {
        let update = sqlx::query("UPDATE routers SET hello_at = $2, version = $3 WHERE name = $1");
        update.bind(name.as_str()).bind(to_db(now)).bind(version).execute(&self.pool).await?;
        Ok(())
    }

    /// Notes whether a router is online. `false`: that was known, or there is no such router.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn router_is(&self, name: &RouterName, online: bool, now: Wall) -> anyhow::Result<bool> {
        let update = sqlx::query(
            "UPDATE routers SET online = $2, online_at = $3 WHERE name = $1 AND (online IS NULL OR online <> $2) AND revoked_at IS NULL",
        );
        let done = update.bind(name.as_str()).bind(i64::from(online)).bind(to_db(now)).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }
}

impl super::Change {
    /// Whether this router's keys are revoked, or there is none.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn router_is_revoked(&mut self, name: &RouterName) -> anyhow::Result<bool> {
        let row = sqlx::query("SELECT 1 FROM routers WHERE name = $1 AND revoked_at IS NULL").bind(name.as_str());
        Ok(row.fetch_optional(&mut *self.tx).await?.is_none())
    }
}
