//! The daemon: the only loop, and the only place that knows all adapters.
//!
//! What the adapters report becomes inputs of the rules; what the rules want is carried out in order: durable first,
//! then the kernel, then everybody who is to know. Questions that wait while the flash is written go through the rules
//! together, and cost one write together.

mod batch;
mod cleaning;
mod events;
mod front;
mod garden;
mod https;
mod offload;
mod portions;
mod radius;
mod recovery;
mod reload;
mod rules;
mod start;
mod takeover;
mod update;

use crate::clock;
use crate::config::{self, Config};
use crate::control::wire;
use crate::gate::{Gate, GateEvent, GateEvents, Sender};
use crate::neighbours::{self, NeighbourEvent, Neighbours, Sight};
use crate::portal::PortalConfig;
use crate::sync::{SyncEvent, SyncHandle};
use crate::update::{Successor, Updates};
use anyhow::Context as _;
use batch::Batch;
use events::{Event, Sources, waiting};
use lango_core::gate::Usage;
use lango_core::request::{Answer, AskId, Failures, FlowOffload, Request};
use lango_core::step::Input;
use lango_core::time::BootId;
use lango_core::tree::BTreeMap;
use lango_core::units::OrderId;
use recovery::Storage;
use rules::Rules;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

/// Questions that are answered together at most: one flash write serves them all.
const TOGETHER: usize = 64;

/// Reading the kernel's counters for pages takes at most one part in this of the daemon's time: with few sessions every
/// page is exact to the packet, with thousands it may be a moment old: so many times as long as the reading took.
pub const USAGE_SHARE: u32 = 20;

/// What failed outside is tried again after this long.
const AGAIN: Duration = Duration::from_secs(1);

/// Whoever waits for an answer of the rules.
enum Asker {
    Portal(oneshot::Sender<Answer>),
    Control(oneshot::Sender<wire::Reply>),
}

impl Asker {
    /// An asker that went away meanwhile is nobody to tell.
    fn tell(self, answer: Answer) {
        match self {
            Self::Portal(asker) => drop(asker.send(answer)),
            Self::Control(asker) => drop(asker.send(wire::Reply::Answer(Box::new(answer)))),
        }
    }
}

struct Daemon {
    config_path: PathBuf,
    config: Config,
    boot: BootId,
    rules: Rc<Rules>,
    storage: Storage,
    /// Nothing after `lango flush`: it stays out until the daemon starts again.
    gate: Option<Gate>,
    gate_again: Option<Instant>,
    /// The whole gate is compared next: single changes need not be made before.
    gate_compared_next: bool,
    cleaner: cleaning::Cleaner,
    portions: portions::Portions,
    /// What failed so far, but for what the sync counts.
    failures: Failures,
    /// Flow offload as last told.
    offload: Option<FlowOffload>,
    /// Until when the counters as read are fresh enough for a page.
    usage_fresh: Option<Instant>,
    neighbours: Neighbours,
    sync: Option<SyncHandle>,
    connected: bool,
    radius: radius::Radius,
    askers: BTreeMap<AskId, Asker>,
    last_ask: u64,
    watchers: broadcast::Sender<OrderId>,
    portal_config: watch::Sender<PortalConfig>,
    /// The certificate, on its way to the portal; none: there is no HTTPS.
    certificates: Option<https::Certificates>,
    garden: garden::Garden,
    updates: Updates,
    /// What takes this program's place when it has stopped.
    successor: Option<Successor>,
}

/// Runs until it is told to stop, or is to end for another program, which it gives back. The gate stays in the kernel as it is then.
///
/// # Errors
/// When it cannot start, or what it did last cannot be stored when it stops.
pub fn run(config_path: &Path) -> anyhow::Result<Option<Successor>> {
    let (config, own, mistakes) = config::load_to_start(config_path)?;
    for mistake in &mistakes {
        log::error!("portal: {mistake}");
    }
    if !mistakes.is_empty() {
        log::error!("portal: what has mistakes is left out, the portal's own is shown in its place");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot start")?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let (mut daemon, mut sources) = start::start(config_path, config, own).await?;
        // A task as the portal's connections are: else all that it waits for would be looked at with each thing that happens on any of them.
        let serving = tokio::task::spawn_local(async move { daemon.serve(&mut sources).await.map(|()| daemon.successor) });
        serving.await.context("the daemon's loop broke off")?
    })
}

impl Daemon {
    async fn serve(&mut self, sources: &mut Sources) -> anyhow::Result<()> {
        loop {
            match self.next(sources).await {
                Event::Stop(why) => {
                    log::info!("lango: {why}; stopping, the gate stays as it is");
                    return self.stop(sources).await;
                }
                Event::Reload => sources.sync = self.reload(sources.sync.take()).await?,
                Event::Deaf(cause) => {
                    log::error!("gate: the kernel's events cannot be heard: {cause}; listening anew");
                    tokio::time::sleep(AGAIN).await;
                    sources.gate = GateEvents::open().context("the kernel's gate events cannot be heard")?;
                    let mut inputs = VecDeque::new();
                    self.take_in(Event::Gate(GateEvent::Overrun), &mut inputs);
                    self.step(inputs).await?;
                }
                event => {
                    let mut inputs = VecDeque::new();
                    self.take_in(event, &mut inputs);
                    // Whoever asked meanwhile is served by the same flash write.
                    while inputs.len() < TOGETHER {
                        let Some(event) = waiting(sources) else { break };
                        self.take_in(event, &mut inputs);
                    }
                    if self.storage.due().is_some_and(|due| due <= Instant::now()) {
                        self.reopen_store(&mut inputs).await;
                    }
                    self.step(inputs).await?;
                    if self.updates.due().is_some_and(|due| due <= Instant::now()) && self.look_at_update(sources).await? {
                        log::info!("lango: stopping for the update, the gate stays as it is");
                        return self.stop(sources).await;
                    }
                }
            }
        }
    }

    /// Turns an event into inputs of the rules; what concerns the daemon alone is done here.
    fn take_in(&mut self, event: Event, inputs: &mut VecDeque<Input>) {
        match event {
            Event::Stop(_) | Event::Reload | Event::Deaf(_) => {} // the loop's own
            Event::Due => {
                if self.gate_again.take_if(|at| *at <= Instant::now()).is_some() {
                    self.restore_gate(inputs);
                }
                self.cleaner.start(self.gate.as_mut());
                if self.portions.at_last(self.gate.as_ref()).is_some_and(|at| at <= Instant::now()) {
                    self.portions.go_on(self.gate.as_mut());
                }
                if let Some(certificates) = &mut self.certificates {
                    certificates.tell();
                }
                if self.radius.try_again() {
                    inputs.push_back(Input::Reconfigured(self.config.settings()));
                }
                inputs.push_back(Input::Tick);
            }
            Event::Idle => self.portions.go_on(self.gate.as_mut()),
            Event::Gate(GateEvent::Depleted(id)) => {
                // The counters first: they tell how far the account really got.
                self.read_usage(inputs);
                inputs.push_back(Input::Depleted(id));
            }
            Event::Gate(GateEvent::TableGone) => {
                if self.gate.is_some() {
                    log::warn!("gate: somebody removed our table from the kernel; putting it back");
                    self.restore_gate(inputs);
                }
            }
            Event::Gate(GateEvent::Flowtables) => self.look_for_offload(),
            Event::Gate(GateEvent::Garden { address, until }) => {
                if let Some(gate) = &mut self.gate {
                    gate.garden_grew(address, until, clock::monotonic());
                }
            }
            Event::Gate(GateEvent::Overrun) => {
                // One of the events that were lost may have told that our table is gone.
                self.restore_gate(inputs);
                self.look_for_ends(inputs);
                self.look_for_offload();
            }
            Event::Sight(Sight::Neighbour(NeighbourEvent { mac, address, present })) => {
                inputs.push_back(Input::Neighbour { mac, address, present });
            }
            Event::Sight(Sight::Port { mac, port }) => inputs.push_back(Input::Port { mac, port }),
            Event::Sender(Sender { mac, address, foreign: true }) => inputs.push_back(Input::ForeignAddress { mac, address }),
            Event::Sender(Sender { mac, address, foreign: false }) => inputs.push_back(Input::NewAddress { mac, address }),
            Event::Sync(event) => self.sync_said(event, inputs),
            Event::Radius(event) => inputs.push_back(Input::Radius(event)),
            Event::Portal(request, asker) => self.ask(request, Asker::Portal(asker), inputs),
            Event::Control(wire::Command::Rules(request), asker) => self.ask(request, Asker::Control(asker), inputs),
            Event::Control(wire::Command::Daemon(wire::DaemonCommand::Flush), asker) => {
                self.read_usage(inputs);
                let reply = self.flush();
                if self.gate.is_none() {
                    inputs.push_back(Input::Flushed);
                }
                drop(asker.send(reply));
            }
            Event::Garden(found) => {
                let Some(addresses) = self.garden.resolved(found) else { return };
                if let Some(Err(cause)) = self.gate.as_mut().map(|gate| gate.renew_garden(addresses, clock::monotonic())) {
                    log::warn!("gate: the walled garden could not be changed: {cause}");
                    self.failures.gate += 1;
                    self.gate_again = Some(Instant::now() + AGAIN);
                }
            }
            Event::Cleaned(outcome) => self.cleaner.tell(outcome),
            Event::Fetched(ended) => self.update_fetched(ended, inputs),
        }
    }

    fn sync_said(&mut self, event: SyncEvent, inputs: &mut VecDeque<Input>) {
        match event {
            SyncEvent::Connected | SyncEvent::Resync => {
                self.connected = true;
                inputs.push_back(Input::Link { connected: true });
            }
            SyncEvent::Disconnected => {
                self.connected = false;
                inputs.push_back(Input::Link { connected: false });
            }
            SyncEvent::Presence(online) => inputs.push_back(Input::RelayPresence { online }),
            SyncEvent::Message(down) => inputs.push_back(Input::Relay(down)),
        }
    }

    fn ask(&mut self, request: Request, asker: Asker, inputs: &mut VecDeque<Input>) {
        if matches!(self.storage, Storage::Lost { .. }) {
            return self.answer_without_store(&request, asker);
        }
        if request.needs_usage() && self.usage_fresh.is_none_or(|until| until <= Instant::now()) {
            self.look_for_ends(inputs);
        }
        if let (Request::ClockIsSet, Some(sync)) = (&request, &self.sync) {
            // With a clock that was wrong no certificate of the broker's was valid.
            sync.try_now();
        }
        self.last_ask += 1;
        let id = AskId(self.last_ask);
        self.askers.insert(id, asker);
        inputs.push_back(Input::Ask(id, request));
    }

    fn read_usage(&mut self, inputs: &mut VecDeque<Input>) {
        let began = Instant::now();
        let usage = match self.gate.as_mut().map(Gate::usage) {
            None => Vec::new(),
            Some(Ok(usage)) => usage,
            Some(Err(cause)) => {
                log::warn!("gate: the counters could not be read: {cause}");
                Vec::new()
            }
        };
        self.usage_fresh = Some(Instant::now() + began.elapsed() * USAGE_SHARE);
        inputs.push_back(Input::Usage(usage));
    }

    /// Takes inputs through the rules and carries out what follows, and what follows from that.
    async fn step(&mut self, mut inputs: VecDeque<Input>) -> anyhow::Result<()> {
        self.rules.settle(false);
        // Without a store nothing is decided that could not be kept; it is learnt again when the store is back.
        while matches!(self.storage, Storage::Open(_)) && !inputs.is_empty() {
            let mut batch = Batch::default();
            for input in inputs.drain(..) {
                batch.add(self.rules.handle(input)?);
            }
            self.carry_out(batch, &mut inputs).await?;
        }
        self.rules.settle(matches!(self.storage, Storage::Open(_)));
        Ok(())
    }

    async fn carry_out(&mut self, mut batch: Batch, inputs: &mut VecDeque<Input>) -> anyhow::Result<()> {
        if !batch.persist.is_empty() {
            let changes = std::mem::take(&mut batch.persist);
            let Storage::Open(store) = &self.storage else { return Ok(()) };
            if let Err(cause) = store.commit(changes).await {
                self.lose_store(&cause, inputs).await;
                return Ok(());
            }
        }
        let gate = batch.take_gate();
        if !gate.is_empty() && !self.gate_compared_next {
            let now = clock::now().monotonic;
            match self.gate.as_mut().map(|open| open.apply(&gate, now)) {
                None => {} // flushed by the operator
                Some(Ok(last)) => last_counts(last, inputs),
                Some(Err(cause)) => {
                    // It is durable, and must become true: the whole gate is compared and put right, now or a little later.
                    log::error!("gate: {cause}; comparing it with what should be");
                    self.failures.gate += 1;
                    self.restore_gate(inputs);
                }
            }
        }
        if batch.read_usage {
            // Older kernels keep to themselves that somebody's data ended, until somebody changes a table (docs/kernels.md).
            self.look_for_ends(inputs);
        }
        // After a flush the kernel's settings are the system's again, and are not touched.
        for (mac, address) in batch.probe.into_iter().filter(|_| self.gate.is_some()) {
            if let Err(cause) = self.neighbours.probe(mac, address) {
                log::warn!("neighbours: the kernel does not ask whether {mac} is still at {address}: {cause}");
            }
        }
        batch.radius.into_iter().for_each(|order| self.radius.order(order));
        for (id, offer) in &batch.updates {
            self.update_offered(id.clone(), offer, inputs);
        }
        if let Some(sync) = &self.sync {
            batch.publish.into_iter().for_each(|up| sync.publish(up));
        }
        for (ask, mut answer) in batch.replies {
            if let Answer::Status(status) = &mut answer {
                status.gate = self.gate.is_some();
                status.flow_offload.clone_from(&self.offload);
                status.failures = self.failures();
                status.update = self.updates.view();
                status.certificate = self.certificates.as_ref().map(https::Certificates::view);
            }
            if let Some(asker) = self.askers.remove(&ask) {
                asker.tell(answer);
            }
        }
        for order in batch.changed {
            let _nobody_watches = self.watchers.send(order);
        }
        batch.log.iter().for_each(|line| log::info!("{line}"));
        Ok(())
    }

    fn flush(&mut self) -> wire::Reply {
        match self.gate.as_mut().map_or(Ok(()), Gate::flush) {
            Ok(()) => {
                (self.gate, self.gate_again) = (None, None);
                neighbours::put_back();
                log::warn!("gate: removed from the kernel by the operator, until lango starts again");
                wire::Reply::Answer(Box::new(Answer::Done))
            }
            Err(cause) => wire::Reply::Failed(format!("the gate could not be removed: {cause}")),
        }
    }

    fn failures(&self) -> Failures {
        let (unsent, refused) = self.sync.as_ref().map_or((0, 0), SyncHandle::failures);
        Failures { unsent: self.failures.unsent + unsent, refused: self.failures.refused + refused, ..self.failures }
    }

    async fn stop(&mut self, sources: &mut Sources) -> anyhow::Result<()> {
        crate::restart::stopping();
        // Answers under way are finished by the loop first; then nobody new is let in.
        if let Some((stop, serving)) = sources.portal_task.take() {
            drop(stop);
            while let Some(event) = waiting(sources) {
                let mut inputs = VecDeque::new();
                self.take_in(event, &mut inputs);
                self.step(inputs).await?;
            }
            sources.portal.close();
            let _ended = serving.await;
        }
        self.step(VecDeque::from([Input::Stopping])).await?;
        if let Some(sync) = self.sync.take() {
            sync.stop().await;
        }
        if let Storage::Open(store) = std::mem::replace(&mut self.storage, Storage::Lost { again: Instant::now(), told: true }) {
            store.close().await?;
        }
        match std::fs::remove_file(&self.config.gateway.control) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => log::warn!("control: the socket stays behind: {cause}"),
            Ok(()) | Err(_) => {}
        }
        Ok(())
    }
}

fn last_counts(last: Vec<Usage>, inputs: &mut VecDeque<Input>) {
    if !last.is_empty() {
        inputs.push_back(Input::LastCounts(last));
    }
}
