//! The task around the connections: when to try again, and what the program tells it meanwhile.

use super::config::SyncConfig;
use super::connection::End;
use super::quiet::Quiet;
use super::{Failures, SyncEvent, count};
use crate::restart;
use crate::retry::Retry;
use lango_core::message::Up;
use lango_core::restart::Part;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::ClientConfig;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// One line at most in this time about what is refused.
const ABOUT_REFUSED: Duration = Duration::from_secs(10);

/// Said of a broker on whose bytes the MQTT library panicked.
pub(super) const GAVE_UP: &str = "the MQTT library gave up on what it sent";

/// What the program tells the task.
#[derive(Debug)]
pub enum Command {
    /// Another config.
    Reconfigure(Box<SyncConfig>),
    /// What kept the broker away may be gone: no waiting for the next try.
    TryNow,
    /// The end; says when it is reached.
    Stop(oneshot::Sender<()>),
}

/// The task's state from connection to connection.
pub struct Task {
    pub(super) config: SyncConfig,
    /// Read once a config: parsing the system's certificates takes a small router a while.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) publishes: mpsc::Receiver<Up>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) events: mpsc::Sender<SyncEvent>,
    pub(super) overflowed: Rc<Cell<bool>>,
    pub(super) failures: Rc<Failures>,
    /// Lines about what was refused.
    pub(super) refusals: Quiet,
    /// Whether the broker is to forget what it kept for us: it keeps a packet that we cannot take, and would send it at
    /// every connection again. What mattered in there the relay sends again by itself.
    pub(super) forget: bool,
    /// Whether the next failure is to count as a first one: it began before something got better.
    hurried: bool,
}

impl Task {
    /// A task that has yet to run.
    pub fn new(
        config: SyncConfig,
        publishes: mpsc::Receiver<Up>,
        commands: mpsc::UnboundedReceiver<Command>,
        events: mpsc::Sender<SyncEvent>,
        overflowed: Rc<Cell<bool>>,
        failures: Rc<Failures>,
    ) -> Self {
        let refusals = Quiet::new(ABOUT_REFUSED);
        Self { config, tls: None, publishes, commands, events, overflowed, failures, refusals, forget: false, hurried: false }
    }

    /// Connects, again and again, until told to stop.
    pub async fn run(mut self) {
        let mut retry = Retry::of_a_connection();
        // The program that ran before ended of what this broker sent: the waits go on from there.
        let mut first = restart::heard(Part::Broker).map(|panicked| {
            for _ in 1..panicked.in_a_row {
                retry.failed(Duration::ZERO, 0);
            }
            // It sends again what nobody took. What counts of it, the relay says again until it is answered.
            self.forget |= panicked.in_a_row > 1;
            End::Lost { cause: GAVE_UP.to_owned(), worked: Duration::ZERO }
        });
        loop {
            let mut end = match first.take() {
                Some(end) => end,
                None => self.connect().await,
            };
            if let End::Lost { cause, worked } = end {
                if std::mem::take(&mut self.hurried) {
                    retry.reset();
                }
                let wait = retry.failed(worked, dice());
                log::warn!("sync: the broker {}: {cause}; trying again in {:.1} s", self.config.broker, wait.as_secs_f32());
                let Some(told) = self.pause(wait).await else { continue };
                end = told;
            }
            match end {
                End::Reconfigure(config) => {
                    retry.reset();
                    self.tls = None;
                    self.config = *config;
                }
                End::Stop(done) => {
                    let _ = done.send(()); // nobody listens: nobody waits
                    return;
                }
                End::Abandoned => return,
                End::Hurried => retry.reset(),
                End::Lost { .. } => {}
            }
        }
    }

    /// Waits before the next try; cut short by what the program says.
    async fn pause(&mut self, wait: Duration) -> Option<End> {
        let end = Instant::now() + wait;
        loop {
            tokio::select! {
                () = sleep_until(end) => return None,
                Some(up) = self.publishes.recv() => self.dropped(&up),
                command = self.commands.recv() => match self.obey(command) {
                    Some(told) => return Some(told),
                    None if std::mem::take(&mut self.hurried) => return Some(End::Hurried),
                    None => continue,
                },
                () = self.events.closed() => return Some(End::Abandoned),
            }
        }
    }

    /// Notes that a message is not sent.
    pub(super) fn dropped(&self, up: &Up) {
        count(&self.failures.unsent);
        log::debug!("sync: not connected; message {} ({}) is not sent", up.id, up.body.topic());
    }

    /// What a command means; nothing where it changes nothing.
    pub(super) fn obey(&mut self, command: Option<Command>) -> Option<End> {
        match command {
            Some(Command::Reconfigure(config)) if *config == self.config => None,
            Some(Command::Reconfigure(config)) => Some(End::Reconfigure(config)),
            Some(Command::TryNow) => {
                self.hurried = true;
                None
            }
            Some(Command::Stop(done)) => Some(End::Stop(done)),
            None => Some(End::Abandoned),
        }
    }
}

/// A number for [`Retry::failed`].
fn dice() -> u16 {
    let mut bytes = [0; 2];
    // Without randomness all routers wait alike; that is no reason not to try again.
    let _ = SystemRandom::new().fill(&mut bytes);
    u16::from_le_bytes(bytes)
}
