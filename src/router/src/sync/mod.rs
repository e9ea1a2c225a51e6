//! Sync with the relay: MQTT 3.1.1 over a broker. One task, which connects again for as long as it lives.
//!
//! What must arrive is the core's to keep and to send again (docs/decisions/0006-sync.md); nothing is queued here beyond
//! what the present connection takes.

mod cause;
mod config;
mod connection;
pub mod letter;
mod poll;
mod quiet;
mod task;

pub mod topics;

pub use config::{Broker, SyncConfig};

use lango_core::message::{Down, Up};
use std::cell::Cell;
use std::rc::Rc;
use task::{Command, Task};
use tokio::sync::{mpsc, oneshot};

/// Messages that wait for the connection at most. Beyond it they are dropped, and asked for again.
const WAITING: usize = 256;

/// Events that wait for the core at most. Beyond it the broker waits.
const EVENTS: usize = 64;

/// What comes from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncEvent {
    /// The broker is there and listens for us: what the relay answers from now on will come. Send the hello and all that
    /// is not acknowledged.
    Connected,
    /// It is no longer.
    Disconnected,
    /// Still connected, but more was published at once than could wait, and some of it was dropped: send all that is not
    /// acknowledged again. Comes when there is room again, and not before a few seconds have passed since the last one.
    Resync,
    /// Whether a relay is there, as the broker knows it.
    Presence(bool),
    /// What the relay says: signed by it, and for this router. It may be an old message that comes again.
    Message(Down),
}

/// The task that holds the connection.
#[derive(Debug)]
pub struct Sync;

impl Sync {
    /// Starts it on the current [`tokio::task::LocalSet`]: call it inside one. It ends with [`SyncHandle::stop`]. When the
    /// handle or the receiver is dropped it ends without a word to the broker, which then says `offline` for us.
    #[must_use]
    pub fn start(config: SyncConfig) -> (SyncHandle, mpsc::Receiver<SyncEvent>) {
        let (publish, publishes) = mpsc::channel(WAITING);
        let (command, commands) = mpsc::unbounded_channel();
        let (event, events) = mpsc::channel(EVENTS);
        let overflowed = Rc::new(Cell::new(false));
        let failures = Rc::new(Failures::default());
        tokio::task::spawn_local(Task::new(config, publishes, commands, event, Rc::clone(&overflowed), Rc::clone(&failures)).run());
        (SyncHandle { publish, command, overflowed, failures }, events)
    }
}

/// What went wrong since the start, counted.
#[derive(Debug, Default)]
struct Failures {
    unsent: Cell<u32>,
    refused: Cell<u32>,
}

fn count(failures: &Cell<u32>) {
    failures.set(failures.get().saturating_add(1));
}

/// What the core's side holds of it.
#[derive(Debug)]
pub struct SyncHandle {
    publish: mpsc::Sender<Up>,
    command: mpsc::UnboundedSender<Command>,
    overflowed: Rc<Cell<bool>>,
    failures: Rc<Failures>,
}

impl SyncHandle {
    /// How many messages could not be handed to the broker, and how many that came from it were refused.
    #[must_use]
    pub fn failures(&self) -> (u32, u32) {
        (self.failures.unsent.get(), self.failures.refused.get())
    }

    /// Publishes in the order of the calls; never waits. Without a connection it is dropped: [`SyncEvent::Connected`] asks
    /// for all that matters. Where too much waits it is dropped, and [`SyncEvent::Resync`] follows.
    pub fn publish(&self, up: Up) {
        match self.publish.try_send(up) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                count(&self.failures.unsent);
                self.overflowed.set(true);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => log::debug!("sync: it has ended; a message is not sent"),
        }
    }

    /// Goes on with another config. The connection is made anew where anything changed.
    pub fn reconfigure(&self, config: SyncConfig) {
        if self.command.send(Command::Reconfigure(Box::new(config))).is_err() {
            log::debug!("sync: it has ended; the new config is not used");
        }
    }

    /// Tries at once where it waits to try again: what kept the broker away may be gone. It changes nothing for a connection.
    pub fn try_now(&self) {
        if self.command.send(Command::TryNow).is_err() {
            log::debug!("sync: it has ended; nothing is tried");
        }
    }

    /// Says that the router goes offline, and ends. Takes about a second where the broker does not answer.
    pub async fn stop(self) {
        let (done, stopped) = oneshot::channel();
        if self.command.send(Command::Stop(done)).is_ok() {
            // An error says that the task has ended: that is what is wanted.
            let _ = stopped.await;
        }
    }
}
