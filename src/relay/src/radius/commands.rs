//! What an operator types about accounts that roam.

use super::tables::{Listed, NoSchema, Tables, Written};
use crate::clock;
use crate::commands::{Misused, existing, table};
use crate::config::{Config, Mistake};
use crate::ledger::{Ledger, Purchase, Standing};
use lango_core::time::Wall;
use lango_core::units::RouterName;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// So many accounts are read at once.
const PAGE: u32 = 500;

fn tables(config: &Config) -> anyhow::Result<Tables> {
    match &config.radius {
        Some(radius) => Ok(Tables::new(radius.place.clone(), radius.interim)),
        None => Err(Misused("no account roams: the config has no [radius_sql]".to_owned()).into()),
    }
}

/// `lango-relay check`: whether FreeRADIUS's tables are where the config says. Nothing: all is well.
///
/// # Errors
/// When the database cannot be reached.
pub async fn check(config: &Config) -> anyhow::Result<Option<Mistake>> {
    let Some(radius) = &config.radius else {
        let Some(ledger) = Ledger::open_existing(&config.database).await? else { return Ok(None) };
        let mistake = |since| Mistake { line: 1, text: super::without_tables(since) };
        return Ok(ledger.accounts_roam_since().await?.map(mistake));
    };
    match tables(config)?.check().await {
        Ok(()) => Ok(None),
        Err(error) if error.is::<NoSchema>() => Ok(Some(Mistake { line: radius.line, text: error.to_string() })),
        Err(error) => Err(error),
    }
}

/// `lango-relay radius off`: nothing waits any more for a relay that has `[radius_sql]`. Not while accounts stand in the tables, unless that
/// is meant: routers whose accounts roam judge by those tables, in which nothing new would stand.
///
/// # Errors
/// When this relay has it itself, accounts stand in the tables and it is not said to be meant, or the ledger cannot be used.
pub async fn off(config: &Config, yes: bool) -> anyhow::Result<()> {
    if config.radius.is_some() {
        return Err(Misused("accounts roam: the config has [radius_sql]. Take that out of every relay's config first".to_owned()).into());
    }
    let ledger = existing(config).await?;
    if ledger.accounts_roam_since().await?.is_some() && !yes {
        let accounts = ledger.roaming_accounts().await?;
        if accounts > 0 {
            return Err(Misused(still_there(accounts)).into());
        }
    }
    match ledger.accounts_stay().await? {
        true => println!("accounts roam no more. What waited is acknowledged when its router tells of it again, within minutes"),
        false => println!("accounts do not roam: there was nothing to end"),
    }
    Ok(())
}

fn still_there(accounts: i64) -> String {
    format!(
        "accounts in the RADIUS server's tables: {accounts}. A router with `option roaming '1'` goes by them, and what is bought from now on would \
         not be in: who buys on would be used up there, and lose what was paid. First `option roaming '0'` on every router; then \
         `lango-relay radius off --yes`"
    )
}

async fn all(tables: &Tables) -> anyhow::Result<Vec<Listed>> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = tables.accounts(&after, PAGE).await?;
        let full = page.len() == PAGE as usize;
        if let Some(last) = page.last() {
            after.clone_from(&last.username);
        }
        found.extend(page);
        if !full {
            return Ok(found);
        }
    }
}

/// Lists the accounts that roam with what is left of them, and what waits to be written.
///
/// # Errors
/// When the ledger cannot be read, or the RADIUS server's tables cannot: then what waits is shown first.
pub async fn list(config: &Config, router: Option<&RouterName>, as_json: bool) -> anyhow::Result<()> {
    let tables = tables(config)?;
    let waiting = existing(config).await?.purchases(true).await?;
    let waiting: Vec<&Purchase> = waiting.iter().filter(|purchase| router.is_none_or(|router| *router == purchase.router)).collect();
    if !as_json && !waiting.is_empty() {
        let rows = waiting.iter().map(|purchase| {
            [
                purchase.made_at.to_rfc3339(),
                purchase.router.to_string(),
                purchase.username.to_string(),
                purchase.standing.name().to_owned(),
                purchase.note.clone().unwrap_or_default(),
            ]
        });
        println!("{}", table(["BOUGHT", "ROUTER", "ACCOUNT", "STATUS", "NOTE"], rows));
    }
    let mut accounts = all(&tables).await?;
    accounts.retain(|account| router.is_none_or(|router| router.as_str() == account.router));
    if as_json {
        let waiting: Vec<Value> = waiting.into_iter().map(as_waiting).collect();
        println!("{}", json!({"accounts": accounts.iter().map(as_object).collect::<Vec<_>>(), "not_written": waiting}));
        return Ok(());
    }
    let left = |most: Option<u64>, used: u64| {
        most.map_or_else(|| "no limit".to_owned(), |most| format!("{} of {most}", most.saturating_sub(used)))
    };
    let rows = accounts.iter().map(|account| {
        [
            account.username.clone(),
            account.router.clone(),
            account.package.clone(),
            left(account.totals.seconds, account.used.seconds),
            left(account.totals.bytes, account.used.bytes),
            account.devices.to_string(),
            time(account.bought_at).unwrap_or_default(),
        ]
    });
    print!("{}", table(["ACCOUNT", "ROUTER", "PACKAGE", "SECONDS LEFT", "BYTES LEFT", "DEVICES", "BOUGHT"], rows));
    Ok(())
}

fn time(seconds: u64) -> Option<String> {
    (seconds > 0).then(|| Wall(seconds.saturating_mul(1_000)).to_rfc3339())
}

fn as_waiting(purchase: &Purchase) -> Value {
    json!({
        "router": purchase.router,
        "username": purchase.username,
        "cause": purchase.cause,
        "made_at": purchase.made_at.to_rfc3339(),
        "status": purchase.standing.name(),
        "note": purchase.note,
    })
}

fn as_object(account: &Listed) -> Value {
    json!({
        "username": account.username,
        "router": account.router,
        "package": account.package,
        "seconds": account.totals.seconds,
        "seconds_used": account.used.seconds,
        "bytes": account.totals.bytes,
        "bytes_used": account.used.bytes,
        "devices": account.devices,
        "bought_at": time(account.bought_at),
        "heard_at": time(account.used.last),
    })
}

/// Writes all purchases that are known, and puts the accounts' rows back: into a RADIUS server's new database, or where somebody changed
/// them. What is in already is not added again.
///
/// # Errors
/// When the ledger or the tables cannot be used.
pub async fn sync(config: &Config, router: Option<&RouterName>) -> anyhow::Result<()> {
    let tables = tables(config)?;
    tables.check().await?;
    let ledger = existing(config).await?;
    let (mut added, mut known, mut names) = (0_u64, 0_u64, BTreeSet::new());
    for purchase in ledger.purchases(false).await? {
        // Without its notice it is forgotten, and its account is over.
        let Some(notice) = purchase.notice.as_ref().filter(|_| router.is_none_or(|router| *router == purchase.router)) else { continue };
        let written = tables.write(&purchase.router, &purchase.cause, notice, purchase.made_at.0 / 1_000).await?;
        let (standing, note) = match &written {
            Written::Now | Written::Before => (Standing::Written, None),
            Written::Refused(why) => (Standing::Refused, Some(&**why)),
        };
        match &written {
            Written::Now => added += 1,
            Written::Before => known += 1,
            Written::Refused(why) => eprintln!("lango-relay: {} of router {}: {why}", purchase.username, purchase.router),
        }
        if purchase.standing != standing {
            ledger.settle_purchase(&purchase.router, &purchase.cause, standing, note, None, clock::now()).await?;
        }
        names.insert(purchase.username.to_string());
    }
    let mut restored = 0_u64;
    for name in &names {
        restored += u64::from(tables.restore(&name.parse()?).await?);
    }
    println!("{added} purchases added, {known} were there; the rows of {restored} accounts are as they should be");
    Ok(())
}
