//! `lango-relay run`: starts all parts, keeps the time, and stops cleanly. The only file that knows all of them.

use crate::clock;
use crate::config::Config;
use crate::daraja::Daraja;
use crate::engine::{Engine, PUSHES};
use crate::http::{self, Receiver};
use crate::ledger::{Ledger, StoredCallback, StoredPost, Which};
use crate::mqtt::{self, Incoming};
use crate::payment::Event;
use crate::radius::{self, Radius};
use crate::secret;
use crate::signer::Signer;
use crate::sms::{self, Sms};
use anyhow::{Context, bail};
use axum::serve::ListenerExt;
use lango_core::time::Wall;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The timer looks into the ledger at least so often: an operator's `retry`, or another relay, may have written there.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Where prompts are being prepared the timer looks again after so long.
const PROMPTS_LATER: Duration = Duration::from_millis(100);
/// A stored callback that nobody has worked on for so long was left by somebody.
const LEFT_AFTER: u64 = 5_000;
/// How often this relay says in the ledger that it is there.
const SAY_HERE: Duration = Duration::from_secs(5);
/// After so long another relay that was killed just before this one's start is known to be gone.
const OTHERS_GONE: Duration = Duration::from_secs(30);
/// Pushes under way get so long to be answered. All parts of a clean stop together stay below 5 s.
const LAST_PUSHES: Duration = Duration::from_secs(2);
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or a part of it ends by itself.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signer = Signer::open(&config.signing_key)?;
    let ledger = Ledger::open(&config.database).await?;
    ledger.expect_key(&signer.public_key(), clock::now()).await?;
    radius::announce(&ledger, config.radius.is_some()).await?;
    // New at each start: what a relay that died has claimed is claimed by nobody.
    let id: String = secret::row_id()?.chars().take(12).collect();
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("callbacks cannot be received on {}", config.listen))?;
    let daraja = Daraja::new(&config.mpesa, ledger.clone(), &id)?;
    let (incoming_to, incoming) = mpsc::channel(4_096);
    let (publisher, connection) = mqtt::connection(&config.broker, ledger.is_shared().then_some(&*id), incoming_to)?;
    let sms = config.sms.map(|sms| Sms::new(sms, &config.public_url, &signer)).transpose()?;
    let radius = config.radius.map(Radius::new);
    let engine = Arc::new(Engine { sms, radius, ..Engine::new(ledger, daraja, publisher, signer, config.public_url.clone()) });

    let left = engine.ledger.open_callbacks(clock::now()).await?;
    let mut place = Place { id, started: Instant::now(), said: None, asked: false };
    place.look(&engine.ledger).await?;
    log::info!("started as {}: {} callbacks to work on", place.id, left.len());
    let id = place.id.clone();
    for callback in &left {
        work(&engine, callback).await;
    }

    let (worker_to, worker) = mpsc::channel(4_096);
    let (stop_http, http_stops) = oneshot::channel::<()>();
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|tcp| {
        // Answers are one small packet each.
        let _ = tcp.set_nodelay(true);
    });
    let routes = http::routes(Receiver { engine: Arc::clone(&engine), worker: worker_to, sources: Arc::new(config.callbacks) });
    let server = axum::serve(listener, routes.into_make_service_with_connect_info::<SocketAddr>()).with_graceful_shutdown(async {
        let _ = http_stops.await;
    });
    let leaving = Arc::new(AtomicBool::new(false));
    let mut http = tokio::spawn(async move { server.await });
    let mut broker = tokio::spawn(connection.run_for(config.broker.url.clone(), Arc::clone(&leaving)));
    let mut callbacks = tokio::spawn(work_all(Arc::clone(&engine), worker));
    let (stop, stops) = watch::channel(());
    let mut routers = tokio::spawn(listen(Arc::clone(&engine), incoming, stops.clone()));
    let mut texts = tokio::spawn(sms::run(Arc::clone(&engine), stops.clone()));
    let mut roaming = tokio::spawn(radius::run(Arc::clone(&engine), stops.clone()));
    let mut timer = tokio::spawn(keep_time(Arc::clone(&engine), place, stops));
    log::info!("callbacks are received on {address}");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = &mut http => bail!("the callback server ended by itself"),
        _ = &mut broker => bail!("the broker's connection ended by itself"),
        _ = &mut callbacks => bail!("the callbacks' worker ended by itself"),
        _ = &mut routers => bail!("the routers' listener ended by itself"),
        _ = &mut texts => bail!("the sender of texts ended by itself"),
        _ = &mut roaming => bail!("the RADIUS server's writer ended by itself"),
        _ = &mut timer => bail!("the timer ended by itself"),
    }
    log::info!("stopping");
    engine.stopping.store(true, Ordering::Release);
    // Both end between two events, never within one: what was stored is also begun.
    drop(stop);
    let _ = timeout(LAST_WORDS / 2, async { (timer.await.is_ok(), routers.await.is_ok(), roaming.await.is_ok()) }).await;
    // A push that is cut off here would stay in doubt: it gets the time that there is.
    let (pushes, _) = tokio::join!(timeout(LAST_PUSHES, engine.pushes.acquire_many(PUSHES)), timeout(LAST_PUSHES, texts));
    if pushes.is_err() {
        log::warn!("some pushes are not answered yet; their callbacks will tell");
    }
    let _ = stop_http.send(());
    // The server's end lets go of the worker's channel: the worker ends when it has done all.
    let _ = timeout(LAST_WORDS / 2, async { (http.await.is_ok(), callbacks.await.is_ok()) }).await;
    leaving.store(true, Ordering::Release);
    engine.publisher.leave();
    let _ = timeout(LAST_WORDS, broker).await;
    let _ = timeout(LAST_WORDS / 2, async {
        // A row that stays is taken for a relay that died, which is all the same after some seconds.
        let _ = engine.ledger.relay_leaves(&id).await;
        engine.ledger.close().await;
    })
    .await;
    log::info!("stopped");
    Ok(())
}

async fn work(engine: &Arc<Engine>, callback: &StoredCallback) {
    if let Err(error) = engine.work_on(callback).await {
        log::error!("payment {}: a callback waits to be worked on again: {error:#}", callback.key);
    }
}

/// Also what Safaricom posts to other addresses than a payment's.
pub(crate) async fn work_post(engine: &Arc<Engine>, post: &StoredPost) {
    if let Err(error) = engine.work_on_post(post).await {
        log::error!("what Safaricom posted waits to be worked on again: {error:#}");
    }
}

async fn work_all(engine: Arc<Engine>, mut worker: mpsc::Receiver<StoredCallback>) {
    while let Some(callback) = worker.recv().await {
        work(&engine, &callback).await;
    }
}

async fn listen(engine: Arc<Engine>, mut incoming: mpsc::Receiver<Incoming>, mut stops: watch::Receiver<()>) {
    let mut resend = interval(LOOK_AGAIN);
    resend.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = incoming.recv() => match event {
                Some(Incoming::Connected) => engine.send_again(Which::All).await,
                Some(Incoming::Presence { router, online }) => engine.router_is(&router, online).await,
                Some(Incoming::Message { router, payload }) => engine.router_says(&router, &payload).await,
                None => return,
            },
            _ = resend.tick() => engine.send_again(Which::Due).await,
            _ = stops.changed() => return,
        }
    }
}

/// This relay among those that work on the ledger.
struct Place {
    id: String,
    started: Instant,
    /// When it last said that it is there.
    said: Option<Instant>,
    /// Whether what was missed before its start was asked for.
    asked: bool,
}

impl Place {
    /// Says that this relay is there. Where none was before it, what Safaricom said meanwhile was said to nobody: it is asked
    /// again about all that is open. One that died a moment ago still counts as being there, and is seen to be gone later.
    async fn look(&mut self, ledger: &Ledger) -> anyhow::Result<()> {
        if self.said.is_some_and(|said| said.elapsed() < SAY_HERE) {
            return Ok(());
        }
        let now = clock::now();
        ledger.relay_is_here(&self.id, now).await?;
        self.said = Some(Instant::now());
        if !self.asked && !ledger.others_are_here(&self.id, now).await? {
            let open = ledger.ask_for_all_open(now).await?;
            log::info!("no other relay was there before: {open} payments to ask for");
            self.asked = true;
        }
        // Others that are still there by then were there all the time.
        self.asked |= self.started.elapsed() > OTHERS_GONE;
        Ok(())
    }
}

async fn keep_time(engine: Arc<Engine>, mut place: Place, mut stops: watch::Receiver<()>) {
    loop {
        let wait = match look(&engine, &mut place).await {
            Ok(wait) => {
                let back = engine.publisher.step_back();
                if engine.missed.swap(false, Ordering::AcqRel) || back {
                    engine.publisher.call_routers();
                }
                wait
            }
            Err(error) => {
                log::error!("the ledger cannot be used: {error:#}");
                engine.publisher.step_aside();
                // What came before that was noticed is said again to the others.
                if engine.missed.swap(false, Ordering::AcqRel) {
                    engine.publisher.call_routers();
                }
                LOOK_AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = engine.timer.notified() => {}
            _ = stops.changed() => return,
        }
    }
}

/// Lets happen what is due; gives back how long until something is due next.
async fn look(engine: &Arc<Engine>, place: &mut Place) -> anyhow::Result<Duration> {
    place.look(&engine.ledger).await?;
    let now = clock::now();
    let left = engine.ledger.open_callbacks(Wall(now.0.saturating_sub(LEFT_AFTER))).await?;
    for callback in &left {
        work(engine, callback).await;
    }
    for post in &engine.ledger.open_posts(Wall(now.0.saturating_sub(LEFT_AFTER))).await? {
        work_post(engine, post).await;
    }
    engine.look_at_held().await?;
    let (mut stuck, mut soonest) = (false, Duration::ZERO);
    for (key, is_prompt) in engine.ledger.due(now).await? {
        if is_prompt {
            // It goes its own way, and stays due until it has a token.
            engine.prompt(&key);
            soonest = PROMPTS_LATER;
            continue;
        }
        // One payment that cannot be moved on must not hold up the others.
        if let Err(error) = engine.apply(&key, Event::Due, None).await {
            log::error!("payment {key}: what is due could not be done: {error:#}");
            stuck = true;
        }
    }
    Ok(match engine.ledger.next_due().await? {
        Some(due) if !stuck => LOOK_AGAIN.min(Duration::from_millis(due.0.saturating_sub(clock::now().0))).max(soonest),
        _ => LOOK_AGAIN,
    })
}
