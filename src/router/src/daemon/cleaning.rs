//! Deleting the tracked connections of devices whose access ended: on a thread of its own, one at a time, so that a table of
//! sixty thousand connections holds up nobody's access.

use crate::clock;
use crate::gate::{Gate, Purged};
use crate::netlink::socket::NetlinkError;
use lango_core::time::Monotonic;
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

/// How one cleaning ended.
pub type Outcome = Result<Result<Purged, NetlinkError>, JoinError>;

/// Runs them.
#[derive(Default)]
pub struct Cleaner {
    running: Option<JoinHandle<Result<Purged, NetlinkError>>>,
    /// A kernel that cannot do it is spoken of once.
    refused: bool,
}

impl Cleaner {
    /// When the next one can begin.
    pub fn due(&self, gate: Option<&Gate>) -> Option<Instant> {
        let at: Monotonic = gate.filter(|_| self.running.is_none())?.cleaning_due()?;
        Some(Instant::now() + Duration::from_millis(at.since(clock::monotonic()).0))
    }

    /// Begins what is due.
    pub fn start(&mut self, gate: Option<&mut Gate>) {
        let Some(gate) = gate.filter(|_| self.running.is_none()) else { return };
        self.running = gate.cleaning(clock::monotonic()).map(|cleaning| tokio::task::spawn_blocking(move || cleaning.run()));
    }

    /// Waits for the end of the one that runs.
    pub async fn done(&mut self) -> Outcome {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let outcome = running.await;
        self.running = None;
        outcome
    }

    /// Says what is worth it.
    pub fn tell(&mut self, outcome: Outcome) {
        match outcome {
            Ok(Ok(purged)) => {
                self.refused = false;
                log::debug!("gate: {} of {} tracked connections that were looked at are deleted", purged.deleted, purged.seen);
                if purged.held > 0 {
                    log::warn!(
                        "gate: {} connections stay offloaded past the gate, which this kernel does not give up; they end when they are \
                         quiet for half a minute, or with `service firewall restart`",
                        purged.held
                    );
                }
            }
            Ok(Err(cause)) if !self.refused => {
                self.refused = true;
                log::warn!(
                    "gate: the tracked connections of devices whose access ended stay ({cause}); what passes is not touched by that. On \
                     OpenWrt, kmod-nf-conntrack-netlink lets them be deleted"
                );
            }
            Ok(Err(_)) => {}
            Err(cause) => log::error!("gate: deleting tracked connections failed: {cause}"),
        }
    }
}
