//! Texts (SMS) to customers: what they bought and how to use it, and that it ends. `rule`, `words`, `gsm7` and the two
//! gateways' forms are pure; the ledger keeps each text until it is settled (`ledger/texts.rs`), so that it outlives every
//! relay; nobody's being online waits for any of this.

pub mod africastalking;
pub mod commands;
pub mod gateway;
pub mod gsm7;
pub mod notices;
pub mod reports;
pub mod rule;
pub mod twilio;
pub mod words;

use crate::clock;
use crate::engine::Engine;
use crate::ledger::Claimed;
use crate::secret;
use crate::signer::Signer;
use gateway::{Config, Gateway, TIMEOUT};
use lango_core::time::Wall;
use lango_core::units::Password;
use rule::{Next, Verdict, Why, next};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};

/// Texts under way at once.
const AT_ONCE: u32 = 8;
/// The ledger is looked into at least so often: another relay, or an operator, may have written there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A relay that has not settled a text by then is dead.
const LEASE: u64 = 60_000;
/// An outcome that the ledger does not take is tried again for so long: well within the lease.
const SETTLE_FOR: Duration = Duration::from_secs(20);
/// How often words that are of no more use are forgotten, and how old they get, in milliseconds.
const FORGET_EVERY: Duration = Duration::from_secs(600);
const WORDS_KEPT_FOR: u64 = 7 * 24 * 3_600_000;
/// Texts under way get so long at a clean stop.
const LAST_TEXTS: Duration = Duration::from_millis(1_800);

/// What texts need.
pub struct Sms {
    /// Who sends them.
    pub gateway: Gateway,
    /// The last part of the address at which delivery reports arrive.
    report_secret: Password,
    /// Told when there is a new text.
    new: Notify,
    places: Arc<Semaphore>,
}

impl Sms {
    /// From the config. The address for reports is one for all relays that share a signing key, and changes with it.
    ///
    /// # Errors
    /// When there is no HTTPS.
    pub fn new(config: Config, public_url: &str, signer: &Signer) -> anyhow::Result<Self> {
        let report_secret = Password::new(&signer.secret_for("sms reports"))?;
        let report_url = report_url(public_url, &report_secret);
        let gateway = Gateway::new(config, report_url)?;
        Ok(Self { gateway, report_secret, new: Notify::new(), places: Arc::new(Semaphore::new(AT_ONCE as usize)) })
    }
}

/// Where delivery reports arrive, from outside.
fn report_url(public_url: &str, secret: &Password) -> String {
    format!("{public_url}/callback/sms/{}", secret.reveal())
}

/// Sends what is due, until `stops`.
pub async fn run(engine: Arc<Engine>, mut stops: watch::Receiver<()>) {
    let Some(sms) = &engine.sms else {
        let _ = stops.changed().await;
        return;
    };
    let (mut well, mut forgotten) = (true, None::<Instant>);
    loop {
        let sent = send_due(&engine, sms).await;
        if forgotten.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
            forgotten = Some(Instant::now());
            if let Err(error) = engine.ledger.forget_words(Wall(clock::now().0.saturating_sub(WORDS_KEPT_FOR))).await {
                log::error!("sms: {error:#}");
            }
        }
        match &sent {
            // Once: the timer says what else the ledger does not do.
            Err(error) if well => log::error!("sms: the ledger cannot be used: {error:#}"),
            _ => {}
        }
        well = sent.is_ok();
        if matches!(sent, Ok(1..)) {
            continue; // there may be more
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = sms.new.notified() => {}
            _ = stops.changed() => break,
        }
    }
    if timeout(LAST_TEXTS, sms.places.acquire_many(AT_ONCE)).await.is_err() {
        log::warn!("sms: some texts are not settled yet; they may be sent a second time");
    }
}

/// Claims as many texts as there is room for, and lets each go its way; gives back how many.
async fn send_due(engine: &Arc<Engine>, sms: &Sms) -> anyhow::Result<usize> {
    // Room first: what is claimed is sent at once, long before the claim ends.
    let Ok(room) = Arc::clone(&sms.places).acquire_owned().await else { return Ok(0) };
    if engine.stopping.load(Ordering::Acquire) {
        return Ok(0); // what is claimed now would only wait for its claim's end
    }
    let most = u32::try_from(sms.places.available_permits()).unwrap_or(u32::MAX).saturating_add(1).min(AT_ONCE);
    let (claim, now) = (secret::row_id()?, clock::now());
    let texts = engine.ledger.claim_texts(&claim, most, now, Wall(now.0.saturating_add(LEASE))).await?;
    drop(room);
    let count = texts.len();
    for claimed in texts {
        let Ok(place) = Arc::clone(&sms.places).acquire_owned().await else { break };
        let (engine, claim) = (Arc::clone(engine), claim.clone());
        drop(tokio::spawn(async move {
            send(&engine, &claimed, &claim).await;
            drop(place);
        }));
    }
    Ok(count)
}

async fn send(engine: &Engine, claimed: &Claimed, claim: &str) {
    let (Some(sms), Claimed { text, body }) = (&engine.sms, claimed) else { return };
    let verdict = if text.sends > text.kind.sends() {
        // Whoever had it last died with it, and it may have arrived often enough.
        Verdict::Doubt(Why::new("no answer", "the relay that sent it died"))
    } else if rule::is_late(text.handed(), clock::now()) {
        Verdict::Refused(Why::new("late", "no relay came to it while it was of use"))
    } else if body.is_empty() {
        Verdict::Refused(Why::new("forgotten", "its words are forgotten"))
    } else {
        sms.gateway.send(text.phone, body).await
    };
    note(engine, &verdict).await;
    let next = next(text.handed(), verdict, clock::now());
    let began = Instant::now();
    let settled = loop {
        match engine.ledger.settle_text(&text.id, claim, &next, clock::now()).await {
            Err(_) if began.elapsed() < SETTLE_FOR => tokio::time::sleep(LOOK_AGAIN / 4).await,
            other => break other,
        }
    };
    match settled {
        Ok(true) => tell(&text.id, text.tries, &next),
        Ok(false) => log::warn!("sms {}: another relay has it by now", text.id),
        Err(error) => log::error!("sms {}: what became of it could not be stored, it may be sent a second time: {error:#}", text.id),
    }
}

/// What an operator has to do is said once, and that it is done, too.
async fn note(engine: &Engine, verdict: &Verdict) {
    let noted = match verdict {
        Verdict::Blocked(alert, why) => match engine.ledger.raise_alert(*alert, &why.code, clock::now()).await {
            Ok(true) => {
                log::error!("sms: {} ({}: {})", alert.words(), why.code, why.words);
                Ok(())
            }
            other => other.map(drop),
        },
        Verdict::Accepted(_) => match engine.ledger.lower_alerts(clock::now()).await {
            Ok(true) => {
                log::info!("sms: the gateway takes texts again");
                Ok(())
            }
            other => other.map(drop),
        },
        Verdict::Later(_) | Verdict::Doubt(_) | Verdict::Refused(_) => Ok(()),
    };
    if let Err(error) = noted {
        log::error!("sms: {error:#}");
    }
}

fn tell(id: &str, tries: u32, next: &Next) {
    match next {
        Next::Sent(_) => log::info!("sms {id}: sent"),
        // Each try of a gateway that is away for a day would fill the log.
        Next::Again { why, .. } if tries == 1 => log::warn!("sms {id}: not sent yet: {} ({})", why.words, why.code),
        Next::Again { .. } => {}
        Next::Failed(why) => log::warn!("sms {id}: failed: {} ({}); `lango-relay retry {id}` sends it again", why.words, why.code),
    }
}

// The timeout of one try and what settling may take stay within the lease, or a second relay would send the same text.
const _: () = assert!((TIMEOUT.as_millis() + SETTLE_FOR.as_millis()) < LEASE as u128);
