//! What the daemon has in common with the kernel after a start, a lost event or a deleted table: what is there is learnt, and the
//! gate is made what it should be.

use super::recovery::Storage;
use super::{AGAIN, Daemon, last_counts};
use crate::clock;
use crate::gate::Gate;
use lango_core::step::Input;
use lango_core::units::Mac;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use tokio::time::Instant;

impl Daemon {
    /// What the rules do not keep and the kernel and the broker still know.
    pub(super) fn relearn(&mut self, inputs: &mut VecDeque<Input>) {
        let here: BTreeSet<(Mac, IpAddr)> = self.neighbours.known().into_iter().collect();
        let served: BTreeSet<(Mac, IpAddr)> = self.gate.iter().flat_map(Gate::addresses).collect();
        let mut ipv4s: BTreeMap<Mac, usize> = BTreeMap::new();
        for (mac, _) in served.iter().filter(|(_, address)| address.is_ipv4()) {
            *ipv4s.entry(*mac).or_default() += 1;
        }
        // Each address is told once: it is thousands. But a device that was served at several IPv4 addresses goes on so, and for
        // that the rules must know of all of them before the first is there.
        let before = |known: &&(Mac, IpAddr)| !here.contains(known) || ipv4s.get(&known.0).is_some_and(|count| *count > 1);
        let asleep = served.iter().filter(before).copied().map(|(mac, address)| Input::Neighbour { mac, address, present: false });
        // Whoever was served comes first: another one with the same MAC is the second, as before.
        let present = here.intersection(&served).chain(here.difference(&served)).copied();
        let present = present.map(|(mac, address)| Input::Neighbour { mac, address, present: true });
        inputs.extend(asleep.chain(present));
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
        let mut desired = self.gateway.desired_gate();
        if matches!(self.storage, Storage::Lost { .. }) {
            // The rules may hold what could not be stored: who was not in the gate before is not let in by that.
            let installed = gate.installed();
            desired.retain(|account| installed.contains_key(&account.id));
        }
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
                self.gate_again = Some(Instant::now() + AGAIN);
            }
        }
    }
}
