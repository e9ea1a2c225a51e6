//! A store that cannot be written: what was not stored did not happen, and the rules begin again from what is stored.
//!
//! Until the store can be opened again nothing is decided: the kernel goes on with what it has, so that who has paid stays
//! online until the end of what was paid for, and everybody else is told to try again.

use super::{Asker, Daemon};
use crate::clock;
use crate::control::wire;
use crate::store::{Store, StoreError};
use lango_core::gateway::Gateway;
use lango_core::record::Record;
use lango_core::request::{Answer, Refusal, Request};
use lango_core::step::Input;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How often a store that cannot be opened is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A store that was just closed may need so many tries to be let go by the system.
const REOPENINGS: u32 = 20;

/// The store, or when it is tried again.
pub(super) enum Storage {
    Open(Store),
    Lost { again: Instant, told: bool },
}

impl Storage {
    /// When something is to be done about it.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self {
            Self::Open(_) => None,
            Self::Lost { again, .. } => Some(*again),
        }
    }
}

impl Daemon {
    /// A commit failed: the engine promises nothing any more, so it is closed and opened anew.
    pub(super) async fn lose_store(&mut self, cause: &StoreError, inputs: &mut VecDeque<Input>) {
        log::error!("store: {cause}; nothing of this step happens");
        self.failures.store += 1;
        inputs.clear();
        let lost = std::mem::replace(&mut self.storage, Storage::Lost { again: Instant::now(), told: false });
        if let Storage::Open(store) = lost {
            let _failed_already = store.close().await;
        }
        for asker in std::mem::take(&mut self.askers).into_values() {
            asker.tell(Answer::Refused(Refusal::NotStored));
        }
        self.reopen_store(inputs).await;
    }

    /// Opens a lost store where it can be, and lets the rules begin again from it.
    pub(super) async fn reopen_store(&mut self, inputs: &mut VecDeque<Input>) {
        match self.try_store().await {
            Ok((store, records)) => {
                self.storage = Storage::Open(store);
                self.rules.replace(Gateway::load(self.config.settings(), records, self.boot.clone(), clock::now()));
                log::info!("store: it is open again; going on from what it holds");
                inputs.push_back(Input::Tick);
                self.relearn(inputs);
                self.restore_gate(inputs);
            }
            Err(cause) => {
                // Said once: the tries that follow are no news.
                if !matches!(self.storage, Storage::Lost { told: true, .. }) {
                    log::error!("store: {cause}; until then nothing is sold, and who has paid stays online");
                }
                self.storage = Storage::Lost { again: Instant::now() + AGAIN, told: true };
            }
        }
    }

    async fn try_store(&self) -> Result<(Store, Vec<Record>), StoreError> {
        let mut opened = Store::open(&self.config.gateway.store);
        for _ in 0..REOPENINGS {
            if !matches!(opened, Err(StoreError::Busy { .. })) {
                break;
            }
            tokio::time::sleep(AGAIN / REOPENINGS).await;
            opened = Store::open(&self.config.gateway.store);
        }
        opened
    }

    /// What is asked while there is no store: the price list can be told, and nothing else is sure.
    pub(super) fn answer_without_store(&self, request: &Request, asker: Asker) {
        match (request, asker) {
            (Request::Packages, asker) => asker.tell(Answer::Packages(self.config.packages.clone())),
            (_, Asker::Control(asker)) => {
                let why = format!("the store {} cannot be used; the log says why", self.config.gateway.store.display());
                drop(asker.send(wire::Reply::Failed(why)));
            }
            (_, asker) => asker.tell(Answer::Refused(Refusal::NotStored)),
        }
    }
}
