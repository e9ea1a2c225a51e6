//! What happens outside, and in which order it is taken in.

use super::recovery::Storage;
use super::{Daemon, cleaning, front, garden, https};
use crate::clock;
use crate::control::{self, wire};
use crate::gate::{GateEvent, GateEvents, Sender, Senders};
use crate::neighbours::Sight;
use crate::sync::SyncEvent;
use crate::update::Ended;
use lango_core::radius::RadiusEvent;
use lango_core::request::{Answer, Request};
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// What happened outside.
pub(super) enum Event {
    Stop(&'static str),
    Reload,
    Gate(GateEvent),
    /// The kernel's gate events cannot be heard any more.
    Deaf(std::io::Error),
    Sight(Sight),
    Sender(Sender),
    Sync(SyncEvent),
    Radius(RadiusEvent),
    Portal(Request, oneshot::Sender<Answer>),
    Control(wire::Command, oneshot::Sender<wire::Reply>),
    Garden(garden::Found),
    Cleaned(cleaning::Outcome),
    /// An update is fetched, or is not to be had.
    Fetched(Ended),
    Due,
    /// There is nothing else to do.
    Idle,
}

/// Where it all comes from.
pub(super) struct Sources {
    pub terminate: Signal,
    pub interrupt: Signal,
    pub reload: Signal,
    pub gate: GateEvents,
    /// New and foreign addresses of paid devices; nothing where the kernel has no packet log.
    pub senders: Option<Senders>,
    pub sync: Option<mpsc::Receiver<SyncEvent>>,
    pub radius: mpsc::Receiver<RadiusEvent>,
    pub portal: mpsc::Receiver<front::Ask>,
    pub control: mpsc::Receiver<control::Ask>,
    pub garden: mpsc::Receiver<garden::Found>,
    pub fetched: mpsc::Receiver<Ended>,
    pub portal_task: Option<(oneshot::Sender<()>, tokio::task::JoinHandle<()>)>,
}

impl Daemon {
    /// The next thing that happens. Where several have, the first named here comes first: what stops or limits access
    /// before what asks for it, and the clock before questions, so that no flood of them holds back an end that is due.
    pub(super) async fn next(&mut self, sources: &mut Sources) -> Event {
        let (due, when_idle) = (self.wake_up_at(), self.portions.when_idle(self.gate.as_ref()));
        tokio::select! {
            biased;
            _ = sources.terminate.recv() => Event::Stop("told to stop"),
            _ = sources.interrupt.recv() => Event::Stop("interrupted"),
            event = sources.gate.next() => event.map_or_else(Event::Deaf, Event::Gate),
            () = sleep_until(due) => Event::Due,
            _ = sources.reload.recv() => Event::Reload,
            Some(event) = receive(&mut sources.sync) => Event::Sync(event),
            Some(event) = sources.radius.recv() => Event::Radius(event),
            sight = self.neighbours.next() => Event::Sight(sight),
            Some(sender) = next_sender(&mut sources.senders) => Event::Sender(sender),
            Some((command, asker)) = sources.control.recv() => Event::Control(command, asker),
            Some((request, asker)) = sources.portal.recv() => Event::Portal(request, asker),
            Some(found) = sources.garden.recv() => Event::Garden(found),
            outcome = self.cleaner.done() => Event::Cleaned(outcome),
            Some(ended) = sources.fetched.recv() => Event::Fetched(ended),
            () = sleep_until(when_idle) => Event::Idle,
        }
    }

    fn wake_up_at(&self) -> Option<Instant> {
        let rules = matches!(self.storage, Storage::Open(_))
            .then(|| self.rules.get().poll_timeout())
            .flatten()
            .map(|at| Instant::now() + Duration::from_millis(at.since(clock::now().monotonic).0));
        let gate = self.gate.as_ref();
        let others = [
            self.gate_again,
            self.radius.due(),
            self.storage.due(),
            self.cleaner.due(gate),
            self.portions.at_last(gate),
            self.updates.due(),
            self.certificates.as_ref().map(https::Certificates::due),
        ];
        rules.into_iter().chain(others.into_iter().flatten()).min()
    }
}

/// What has arrived already and need not be waited for.
pub(super) fn waiting(sources: &mut Sources) -> Option<Event> {
    if let Some(Ok(event)) = sources.sync.as_mut().map(mpsc::Receiver::try_recv) {
        return Some(Event::Sync(event));
    }
    if let Ok(event) = sources.radius.try_recv() {
        return Some(Event::Radius(event));
    }
    sources.portal.try_recv().ok().map(|(request, asker)| Event::Portal(request, asker))
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn next_sender(source: &mut Option<Senders>) -> Option<Sender> {
    let Some(open) = source else { return std::future::pending().await };
    match open.next().await {
        Ok(found) => Some(found),
        Err(cause) => {
            log::warn!(
                "gate: the kernel's packet log cannot be heard ({cause}); new addresses are learnt from ARP and neighbour discovery alone"
            );
            *source = None;
            None
        }
    }
}

/// The next event of the sync, where there is one at all.
async fn receive(sync: &mut Option<mpsc::Receiver<SyncEvent>>) -> Option<SyncEvent> {
    match sync {
        Some(sync) => sync.recv().await,
        None => std::future::pending().await,
    }
}
