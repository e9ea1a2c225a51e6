//! Accounts that roam: what was bought at one router, in the tables of a RADIUS server that the others ask. `rule` says what the rows
//! are (pure), `tables` writes them, and here is when: after a purchase is in the ledger, and before its router is told that it may
//! forget it.

pub mod commands;
pub mod rule;
pub mod tables;

use crate::clock;
use crate::engine::Engine;
use crate::ledger::{Ledger, Place, Purchase, Standing};
use crate::payment::schedule;
use lango_core::message::DownBody;
use lango_core::notice::AccountNotice;
use lango_core::time::Wall;
use lango_core::units::{MessageId, RouterName};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tables::{Tables, Written};
use tokio::sync::{Notify, watch};

/// Purchases that are looked at in one go.
const AT_ONCE: u32 = 100;
/// The writer looks into the ledger at least so often: another relay may have stored something and died.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A purchase that cannot be written, while others can, is tried again after so long, in milliseconds.
const TRY_AGAIN: u64 = 60_000;
/// How often accounts are looked for that are of no more use.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
/// So many of them are looked at in one go. Between two FreeRADIUS writes, and what is bought comes first.
const FORGET_AT_ONCE: u32 = 50;

/// `[radius_sql]`.
pub struct Config {
    /// The RADIUS server's database.
    pub place: Place,
    /// How often routers are to send interim updates, in seconds.
    pub interim: u32,
    /// Where it stands in the config's file.
    pub line: usize,
}

/// The RADIUS server's tables, and what is to be written there.
pub struct Radius {
    /// The tables.
    pub tables: Tables,
    /// Tells the writer that there is something.
    new: Notify,
    /// Whether that the database is away was told already.
    away: AtomicBool,
}

impl Radius {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { tables: Tables::new(config.place, config.interim), new: Notify::new(), away: AtomicBool::new(false) }
    }
}

impl Engine {
    /// Stores a purchase for the RADIUS server, where accounts roam. `true`: it is there already, or never will be, and the router may
    /// forget it.
    ///
    /// # Errors
    /// When it could not be stored.
    pub(crate) async fn for_radius(&self, router: &RouterName, id: &MessageId, notice: &AccountNotice) -> anyhow::Result<bool> {
        // Without tables of its own this relay leaves what is bought to one that has them: they share the ledger.
        if self.radius.is_none() && self.ledger.accounts_roam_since().await?.is_none() {
            return Ok(true);
        }
        let now = clock::now();
        let standing = self.ledger.add_purchase(router, &cause(id, notice), id, notice, now, now).await?;
        match (standing, &self.radius) {
            (Standing::Waiting, Some(radius)) => radius.new.notify_one(),
            (Standing::Waiting, None) => {
                log::warn!("radius: {} of router {router} waits in the ledger for a relay that has [radius_sql]", notice.username);
            }
            (Standing::Written | Standing::Refused, _) => {}
        }
        Ok(standing != Standing::Waiting)
    }
}

/// Says to all relays on this ledger that accounts roam, where this one writes them. Where it cannot, and others do, that is told.
///
/// # Errors
/// When the ledger cannot be used.
pub async fn announce(ledger: &Ledger, has_tables: bool) -> anyhow::Result<()> {
    if has_tables {
        return ledger.accounts_roam(clock::now()).await;
    }
    if let Some(since) = ledger.accounts_roam_since().await? {
        log::error!("{}", without_tables(since));
    }
    Ok(())
}

/// What is wrong with a relay that has no `[radius_sql]` where accounts roam.
fn without_tables(since: Wall) -> String {
    format!(
        "radius: accounts of this ledger roam since {}, and this relay has no [radius_sql]: what routers tell it of purchases waits for a relay \
         that has. Give it the section that the others have; or, if accounts are to roam no more: `option roaming '0'` on every router, then \
         `lango-relay radius off`",
        since.to_rfc3339()
    )
}

/// What makes a purchase this one. Money is told of once, whatever the message is called. Else it is the message and the account: a
/// router that lost its memory counts its messages from one again, but makes other names.
#[must_use]
pub fn cause(id: &MessageId, notice: &AccountNotice) -> String {
    match &notice.receipt {
        Some(receipt) => format!("receipt {receipt}"),
        None => format!("{id} {}", notice.username),
    }
}

/// Writes what waits, until `stops`. Nothing else of the relay waits for it.
pub async fn run(engine: Arc<Engine>, mut stops: watch::Receiver<()>) {
    let Some(radius) = &engine.radius else {
        let _ = stops.changed().await;
        return;
    };
    let (mut failures, mut forget_at) = (0, Instant::now());
    loop {
        let wait = match write_due(&engine, radius).await {
            Ok(count) => {
                if radius.away.swap(false, Ordering::AcqRel) {
                    log::info!("radius: the database {} can be used again", radius.tables.place());
                }
                failures = 0;
                if count == 0 && forget_at <= Instant::now() && !forget_some(&engine, radius).await {
                    forget_at = Instant::now() + FORGET_EVERY;
                }
                if count == AT_ONCE as usize { Duration::ZERO } else { LOOK_AGAIN }
            }
            Err(error) => {
                // Once: it may be away for days.
                if !radius.away.swap(true, Ordering::AcqRel) {
                    log::error!("radius: what was bought waits (`lango-relay radius list`), and routers keep it: {error:#}");
                }
                failures += 1;
                Duration::from_millis(schedule::reconnect(failures))
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // A database that is away is not asked at each purchase.
            () = radius.new.notified(), if failures == 0 => {}
            _ = stops.changed() => return,
        }
    }
}

/// Gives back how many were looked at.
async fn write_due(engine: &Engine, radius: &Radius) -> anyhow::Result<usize> {
    if radius.tables.look().await? {
        let again = engine.ledger.write_purchases_again(clock::now()).await?;
        radius.tables.is_known();
        log::warn!(
            "radius: {} is another file than before: {again} purchases are written there again, where they are not in",
            radius.tables.place()
        );
    }
    let due = engine.ledger.due_purchases(clock::now(), AT_ONCE).await?;
    if due.is_empty() && radius.away.load(Ordering::Acquire) {
        // Nothing says whether it is back but asking.
        radius.tables.check().await?;
    }
    for purchase in &due {
        match write(engine, radius, purchase).await {
            Ok(()) => {}
            // One purchase alone must not hold up the others; a database that is away holds up all of them.
            Err(error) => {
                radius.tables.check().await?;
                let (now, note) = (clock::now(), format!("{error:#}"));
                log::error!("radius: a purchase for {} of router {} could not be written: {note}", purchase.username, purchase.router);
                let again = Some(Wall(now.0.saturating_add(TRY_AGAIN)));
                engine.ledger.settle_purchase(&purchase.router, &purchase.cause, Standing::Waiting, Some(&note), again, now).await?;
            }
        }
    }
    Ok(due.len())
}

/// Writes one purchase, notes that, and only then lets its router forget it.
async fn write(engine: &Engine, radius: &Radius, purchase: &Purchase) -> anyhow::Result<()> {
    let Purchase { router, cause, username, notice: Some(notice), .. } = purchase else { return Ok(()) };
    let written = radius.tables.write(router, cause, notice, purchase.made_at.0 / 1_000).await?;
    let (standing, note) = match &written {
        Written::Now | Written::Before => (Standing::Written, None),
        Written::Refused(why) => (Standing::Refused, Some(&**why)),
    };
    engine.ledger.settle_purchase(router, cause, standing, note, None, clock::now()).await?;
    match note {
        None if written == Written::Now => log::info!("radius: {username} of router {router} roams"),
        None => {}
        Some(why) => log::error!("radius: a purchase for {username} of router {router} does not roam: {why}"),
    }
    if purchase.standing == Standing::Written {
        return Ok(()); // its router was told when it was written first
    }
    // The message may have another name by now, which it was told under meanwhile.
    let message = engine.ledger.purchase(router, cause).await?.map_or_else(|| purchase.message.clone(), |purchase| purchase.message);
    engine.say(router, DownBody::Ack { of: vec![message] }).await;
    Ok(())
}

/// The one place where accounts are forgotten: those that are used up, a quarter after they were last of use. Gives back whether there may be
/// more to look at.
async fn forget_some(engine: &Engine, radius: &Radius) -> bool {
    let round = async {
        let now = clock::now().0 / 1_000;
        let due = radius.tables.due(now, FORGET_AT_ONCE).await?;
        for username in &due {
            if radius.tables.forget(username, now).await? {
                engine.ledger.forget_purchases(&username.parse()?).await?;
                log::info!("radius: {username} is forgotten: used up, a quarter ago");
            }
        }
        anyhow::Ok(due.len() == FORGET_AT_ONCE as usize)
    };
    round.await.unwrap_or_else(|error| {
        log::warn!("radius: old accounts are left for the next time: {error:#}");
        false
    })
}

#[cfg(test)]
mod tests;
