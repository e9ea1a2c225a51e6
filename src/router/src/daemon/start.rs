//! How the daemon starts: it takes over what the kernel has and what the store holds, and only then listens.

use super::front::Front;
use super::radius::Radius;
use super::recovery::Storage;
use super::rules::Rules;
use super::{Daemon, Event, Sources, cleaning, garden, https, portions};
use crate::clock;
use crate::config::Config;
use crate::control;
use crate::gate::{Gate, GateConfig, GateEvent, GateEvents, Senders, Whole};
use crate::neighbours::Neighbours;
use crate::portal::{self, Doors, Own, PortalConfig, SecureName, Site};
use crate::restart;
use crate::store::{Store, StoreError};
use crate::sync::{Broker, Sync, SyncConfig};
use crate::update::{Started, Updates};
use anyhow::Context as _;
use lango_core::gateway::Gateway;
use lango_core::request::Failures;
use lango_core::restart::Part;
use lango_core::step::Input;
use lango_core::tree::BTreeMap;
use lango_core::units::Password;
use std::collections::VecDeque;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;

/// Questions and changes that may wait; more make their askers wait.
const QUEUE: usize = 256;

/// Starts everything. Whoever was online stays so: the gate in the kernel is compared, not made anew.
pub(super) async fn start(config_path: &Path, mut config: Config, own: Own) -> anyhow::Result<(Daemon, Sources)> {
    let began = Instant::now();
    let terminate = signal(SignalKind::terminate()).context("signals cannot be heard")?;
    let interrupt = signal(SignalKind::interrupt()).context("signals cannot be heard")?;
    let reload = signal(SignalKind::hangup()).context("signals cannot be heard")?;
    let boot = clock::boot_id().context("/proc does not say which boot this is")?;

    // The socket first: it tells a second daemon that there is one, before anything is touched.
    let (control_asks, control) = mpsc::channel(QUEUE);
    control::serve(&config.gateway.control, control_asks)
        .await
        .with_context(|| format!("the control socket {} cannot be made", config.gateway.control.display()))?;

    // Not opened once more at once: whoever watches this program has it do so after a while.
    if let Some(panicked) = restart::heard(Part::StoreOpening) {
        return Err(StoreError::gave_up(&config.gateway.store, &panicked.said).into());
    }
    let (store, records) = Store::open(&config.gateway.store)?;
    log::debug!("start: the store with {} records is open after {:?}", records.len(), began.elapsed());
    let gate_events = GateEvents::open().context("the kernel's gate events cannot be heard")?;
    let senders = Senders::open().inspect_err(|cause| log::warn!("gate: the kernel's packet log cannot be heard: {cause}")).ok();
    // Before the gate, which lets customers reach the port: never another program behind it.
    let (certificates, secure) = match &config.https {
        Some(https) => https::listen(https).await.unzip(),
        None => (None, None),
    };
    if certificates.is_none() {
        config.https = None;
    }
    let mut gate = Gate::open(gate_config(&config, senders.is_some())).context("the gate cannot be opened")?;
    if sells_speeds(&config) {
        gate.expect_speeds();
    }
    log::debug!("start: the gate is open after {:?}", began.elapsed());
    let lan: Vec<String> = config.gateway.lan.iter().map(ToString::to_string).collect();
    let neighbours = Neighbours::open(&lan).context("the neighbours cannot be heard")?;
    let rules = Rc::new(Rules::new(Gateway::load(config.settings(), records, boot.clone(), clock::now())));

    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, config.gateway.portal_port));
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("the portal cannot listen on port {}: choose another `option portal_port`, or stop what has it", config.gateway.portal_port)
    })?;

    let (portal_asks, portal) = mpsc::channel(QUEUE);
    let (watchers, _) = broadcast::channel(QUEUE);
    let front = Front::new(portal_asks, rules.clone(), neighbours.cache(), watchers.clone(), config.gateway.leases.clone());
    let (portal_config, seen_by_portal) = watch::channel(portal_config_of(&config, own));
    let (garden, garden_found) = garden::Garden::start(&config.gateway.allow);
    let (sync, sync_events) = sync_config(&config)?.map(Sync::start).unzip();

    let (radius_events, radius_said) = mpsc::channel(QUEUE);
    let mut radius = Radius::new(radius_events);
    radius.reconfigure(&config).await;

    let (fetches, fetched) = mpsc::channel(1);
    let (updates, update_told) = Updates::start(config.update.clone(), Started::by_environment(), fetches);

    let mut daemon = Daemon {
        config_path: config_path.to_owned(),
        config,
        boot,
        rules,
        storage: Storage::Open(store),
        gate: Some(gate),
        gate_again: None,
        gate_compared_next: true,
        cleaner: cleaning::Cleaner::default(),
        portions: portions::Portions::default(),
        failures: Failures::default(),
        offload: None,
        usage_fresh: None,
        neighbours,
        sync,
        connected: false,
        radius,
        askers: BTreeMap::new(),
        last_ask: 0,
        watchers,
        portal_config,
        certificates,
        garden,
        updates,
        successor: None,
    };
    // A table of another version goes in one transaction while nobody listens, and nobody loses a packet by that.
    let listening = if daemon.gate.as_ref().is_some_and(Gate::is_to_be_replaced) {
        drop(gate_events);
        None
    } else {
        Some(gate_events)
    };
    daemon.take_over(update_told.map(Input::Update)).await?;
    let gate_events = match listening {
        Some(gate_events) => gate_events,
        None => {
            let gate_events = GateEvents::open().context("the kernel's gate events cannot be heard")?;
            // What happened while nobody listened was not told: it is looked for, as after lost events.
            let mut inputs = VecDeque::new();
            daemon.take_in(Event::Gate(GateEvent::Overrun), &mut inputs);
            daemon.step(inputs).await?;
            gate_events
        }
    };

    let accounts = daemon.gate.as_ref().map_or(0, |gate| gate.installed().len());
    log::info!("gate: {accounts} accounts are in force, {} ms after the start", began.elapsed().as_millis());
    let (stop_portal, portal_stops) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::task::spawn_local(portal::serve(Doors { plain: listener, secure }, seen_by_portal, front, async move {
        let _stopped_or_gone = portal_stops.await;
    }));
    log::info!(
        "lango {} runs as {}: portal on port {}, {} packages",
        env!("CARGO_PKG_VERSION"),
        daemon.config.gateway.name,
        daemon.config.gateway.portal_port,
        daemon.config.packages.len()
    );
    let sources = Sources {
        terminate,
        interrupt,
        reload,
        gate: gate_events,
        senders,
        sync: sync_events,
        radius: radius_said,
        portal,
        control,
        garden: garden_found,
        fetched,
        portal_task: Some((stop_portal, serving)),
    };
    Ok((daemon, sources))
}

impl Daemon {
    /// The kernel's gate and counters are taken over before anybody is served; and what else is known from the start is told.
    async fn take_over(&mut self, known: Option<Input>) -> anyhow::Result<()> {
        let mut inputs = VecDeque::from([Input::Tick]);
        inputs.extend(known);
        self.relearn(&mut inputs);
        self.step(inputs).await?;
        let mut inputs = VecDeque::new();
        self.restore_gate(&mut inputs);
        self.look_for_offload();
        self.step(inputs).await
    }
}

/// Whether a package has a speed.
pub(super) fn sells_speeds(config: &Config) -> bool {
    config.packages.iter().any(|package| package.limits.down.is_some() || package.limits.up.is_some())
}

pub(super) fn gate_config(config: &Config, learn: bool) -> GateConfig {
    GateConfig {
        lan: config.gateway.lan.iter().map(ToString::to_string).collect(),
        wan: config.gateway.wan.to_string(),
        portal_port: config.gateway.portal_port,
        https_port: config.https.as_ref().map(|https| https.port),
        isolate: config.gateway.isolate,
        learn,
        whole: Whole::default(),
    }
}

pub(super) fn portal_config_of(config: &Config, own: Own) -> PortalConfig {
    PortalConfig {
        name: config.portal.name.clone().unwrap_or_else(|| config.gateway.name.to_string()),
        site: Arc::new(Site::new(own)),
        host: config.gateway.portal_host.to_string(),
        port: config.gateway.portal_port,
        https: config.https.as_ref().map(|https| SecureName { host: https.name.to_string(), url: https.url() }),
        limits: portal::Limits::default(),
    }
}

/// What the sync needs of the config, where that names a relay.
pub(super) fn sync_config(config: &Config) -> anyhow::Result<Option<SyncConfig>> {
    let Some(relay) = &config.relay else { return Ok(None) };
    Ok(Some(SyncConfig {
        broker: Broker { host: relay.broker.at.host.clone(), port: relay.broker.at.port, tls: relay.broker.tls },
        username: relay.username.clone(),
        password: Password::new(relay.password.reveal())?,
        ca: relay.ca.clone(),
        relay_key: relay.relay_key,
        router: config.gateway.name.clone(),
    }))
}

/// What a changed config can do only at a start, because open sockets and files hang on it.
pub(super) fn only_at_start(old: &Config, new: &Config) -> Vec<&'static str> {
    let (a, b) = (&old.gateway, &new.gateway);
    let changed = [
        (a.lan != b.lan, "`lan`"),
        (a.wan != b.wan, "`wan`"),
        (a.portal_port != b.portal_port, "`portal_port`"),
        (a.isolate != b.isolate, "`isolate`"),
        (a.store != b.store, "`store`"),
        (a.control != b.control, "`control`"),
        (old.https.as_ref().map(|https| https.port) != new.https.as_ref().map(|https| https.port), "the port for HTTPS"),
        (a.leases != b.leases, "`leases`"),
    ];
    changed.into_iter().filter(|(changed, _)| *changed).map(|(_, what)| what).collect()
}

/// The new config, but for what [`only_at_start`] names: that stays as it runs.
pub(super) fn keep_what_only_starts(old: &Config, mut new: Config) -> Config {
    new.gateway.lan.clone_from(&old.gateway.lan);
    new.gateway.wan.clone_from(&old.gateway.wan);
    new.gateway.portal_port = old.gateway.portal_port;
    new.gateway.isolate = old.gateway.isolate;
    new.gateway.store.clone_from(&old.gateway.store);
    new.gateway.control.clone_from(&old.gateway.control);
    match (&old.https, &mut new.https) {
        (Some(old), Some(new)) => new.port = old.port,
        (old, new) => new.clone_from(old),
    }
    new.gateway.leases.clone_from(&old.gateway.leases);
    new
}
