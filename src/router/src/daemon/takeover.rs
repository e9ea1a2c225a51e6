//! What the daemon has in common with the kernel after a start, a lost event or a deleted table: what is there is learnt, and the
//! gate is made what it should be.

use super::recovery::Storage;
use super::{AGAIN, Daemon, last_counts};
use crate::clock;
use crate::gate::Gate;
use lango_core::step::Input;
use std::collections::VecDeque;
use tokio::time::Instant;

impl Daemon {
    /// What the rules do not keep and the kernel and the broker still know.
    pub(super) fn relearn(&mut self, inputs: &mut VecDeque<Input>) {
        let served = self.gate.as_ref().map(Gate::addresses).unwrap_or_default();
        inputs.push_back(Input::Lan { here: self.neighbours.known(), served });
        self.look_for_ends(inputs);
        if self.connected {
            inputs.push_back(Input::Link { connected: true });
        }
    }

    /// What the kernel counted, and whose data ended, while nobody listened.
    pub(super) fn look_for_ends(&mut self, inputs: &mut VecDeque<Input>) {
        self.read_usage(inputs);
        match self.gate.as_mut().map(Gate::depleted) {
            None => {}
            Some(Ok(depleted)) => inputs.extend(depleted.into_iter().map(Input::Depleted)),
            Some(Err(cause)) => log::warn!("gate: the quotas could not be read: {cause}"),
        }
    }

    /// Makes the kernel's gate what it should be, whatever happened to it; tried again a little later where that fails.
    pub(super) fn restore_gate(&mut self, inputs: &mut VecDeque<Input>) {
        self.gate_compared_next = false;
        let Some(gate) = &mut self.gate else { return };
        let desired = if matches!(self.storage, Storage::Lost { .. }) {
            let installed = gate.installed();
            self.rules.get().desired_gate_unstored(|id| installed.contains_key(&id))
        } else {
            self.rules.get().desired_gate()
        };
        // An open gate puts its table back together with the accounts, so that no connection of who paid is reset between.
        let reconciled = gate.reconcile(&desired, clock::now().monotonic);
        let restored = reconciled.and_then(|last| gate.renew_garden(self.garden.addresses(), clock::monotonic()).map(|()| last));
        match restored {
            Ok(last) => {
                self.gate_again = None;
                last_counts(last, inputs);
            }
            Err(cause) => {
                log::error!("gate: it cannot be put right: {cause}; trying again");
                self.failures.gate += 1;
                self.gate_again = Some(Instant::now() + AGAIN);
            }
        }
    }
}
