//! Tracked connections of devices that left the gate: they are deleted, so that nothing forwarded for them stays.
//!
//! `message` and `purge` are pure; `table` speaks with the kernel. Why it is done so is decision 11.

pub mod message;
mod purge;
mod table;

pub use table::Purged;

use super::Gate;
use super::plan::Targets;
use super::set::Key;
use super::view::View;
use crate::netlink::socket::NetlinkError;
use lango_core::time::Monotonic;
use lango_core::tree::{BTreeMap, BTreeSet};
use lango_core::units::{Mac, Millis};
use purge::{Purge, Whose, forwardable};
use std::net::IpAddr;

/// How long connections stay after the end of their device. A stream that is in use sends within that time (TCP repeats
/// after a second at the latest, unless it has been repeating for a while already), and what it sends is answered by a
/// reset at our chain, whose way back leads through the entry: through NAT, too, and whatever the firewall does with
/// what comes to the router itself. Who buys again within it keeps the connections.
const GRACE: Millis = Millis::from_seconds(3);

/// Ends of the same second are dealt with together, in one reading of the table.
const TOGETHER: u64 = 1_000;

/// Whose connections are to go.
#[derive(Debug, Default)]
pub(super) struct Departed {
    /// Addresses that left the gate, and when their connections go.
    due: BTreeMap<IpAddr, Due>,
    /// Whether something may have ended, or begun, while nobody was there.
    unseen: Unseen,
}

#[derive(Debug, Clone, Copy)]
struct Due {
    at: Monotonic,
    /// It is in the gate, as another device's: whose connections these are is not the one who is there now.
    moved: bool,
}

/// What happened while no daemon, or no table of ours, was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unseen {
    /// Nothing that is not dealt with.
    Nothing,
    /// The gate was opened, and is not reconciled yet.
    Opened { new_rules: bool },
    /// The gate is as it should be, and the connections are not: they are to be cleaned then. With new rules, there may be
    /// offloaded ones that our rules never saw.
    ToClean { new_rules: bool, at: Monotonic },
}

impl Default for Unseen {
    fn default() -> Self {
        Self::Opened { new_rules: false }
    }
}

/// Who is reached under which address, before a change.
pub(super) type Holders = BTreeMap<IpAddr, Mac>;

/// Connections to delete. It takes tens of milliseconds where there are ten thousands of connections: it is for a thread
/// of its own, in the gate's network namespace, so that nobody's access waits for it.
#[derive(Debug)]
pub struct Cleaning {
    purge: Purge,
    customers: Vec<String>,
}

impl Cleaning {
    /// Does it.
    ///
    /// # Errors
    /// When the kernel refuses, or does not tell of its connections over netlink (`kmod-nf-conntrack-netlink` on OpenWrt).
    pub fn run(&self) -> Result<Purged, NetlinkError> {
        table::purge(&self.purge, &self.customers)
    }
}

impl Departed {
    /// The rules are in place; what they replaced did not see everything.
    pub(super) fn rules_replaced(&mut self) {
        self.unseen = match self.unseen {
            Unseen::Nothing | Unseen::ToClean { .. } => Unseen::ToClean { new_rules: true, at: Monotonic(0) },
            Unseen::Opened { .. } => Unseen::Opened { new_rules: true },
        };
    }

    /// The gate is as it should be.
    pub(super) fn reconciled(&mut self) {
        if let Unseen::Opened { new_rules } = self.unseen {
            self.unseen = Unseen::ToClean { new_rules, at: Monotonic(0) };
        }
    }

    /// Flow offload came. What is in use is put on it by its next packet, where our rules did not see it begin.
    pub(super) fn offload_came(&mut self, now: Monotonic) {
        if self.unseen == Unseen::Nothing {
            self.unseen = Unseen::ToClean { new_rules: true, at: now.after(GRACE) };
        }
    }

    /// Notes who left by a change.
    pub(super) fn note(&mut self, before: &Holders, after: &View, now: Monotonic) {
        // What is only on the wire is not forwarded.
        for (address, mac) in before.iter().filter(|(address, _)| forwardable(**address)) {
            match holder(after, *address).filter(|_| passing(after, *address)) {
                Some(same) if same == *mac => {}
                Some(_) => drop(self.due.insert(*address, Due { at: now, moved: true })),
                None => {
                    let at = Monotonic(now.after(GRACE).0.next_multiple_of(TOGETHER));
                    self.due.entry(*address).or_insert(Due { at, moved: false });
                }
            }
        }
    }
}

/// Who is reached under an address of the targets, or under one that they are to have.
pub(super) fn holders(view: &View, targets: &Targets<'_>) -> Holders {
    let had = targets.iter().flat_map(|(id, _)| view.keys_of(*id)).filter_map(|key| match key {
        Key::Address(address) => Some(address),
        Key::Mac(_) | Key::Pair(..) => None,
    });
    let get = targets.iter().filter_map(|(_, account)| *account).flat_map(|account| account.devices.values());
    let get = get.flat_map(|device| device.addresses.iter().copied());
    had.chain(get).filter_map(|address| Some((address, holder(view, address)?))).collect()
}

/// Who is reached under an address. What leads to a counter has no end by itself: it is there until the end is dealt with.
fn holder(view: &View, address: IpAddr) -> Option<Mac> {
    view.counts.get(&Key::Address(address)).copied().flatten().map(|counter| counter.mac)
}

fn passing(view: &View, address: IpAddr) -> bool {
    view.passes.contains_key(&Key::Address(address))
}

impl Gate {
    /// When [`Gate::cleaning`] has something to do.
    #[must_use]
    pub fn cleaning_due(&self) -> Option<Monotonic> {
        let unseen = match self.departed.unseen {
            Unseen::ToClean { at, .. } => Some(at),
            Unseen::Nothing | Unseen::Opened { .. } => None,
        };
        unseen.into_iter().chain(self.departed.due.values().map(|due| due.at)).min()
    }

    /// The connections that are to be deleted now: of devices that left the gate a few seconds ago and did not come back;
    /// and after [`Gate::reconcile`], where something went unseen, those of all customers who may not pass.
    pub fn cleaning(&mut self, now: Monotonic) -> Option<Cleaning> {
        let whose = if let Unseen::ToClean { new_rules, at } = self.departed.unseen
            && at <= now
        {
            self.departed.unseen = Unseen::Nothing;
            let addresses = self.view.passes.keys().filter_map(|key| match key {
                Key::Address(address) => Some(*address),
                Key::Mac(_) | Key::Pair(..) => None,
            });
            Whose::AllBut { passing: addresses.collect(), offloaded: new_rules }
        } else {
            let mut ended = BTreeSet::new();
            self.departed.due.retain(|address, due| {
                if due.at <= now && (due.moved || !passing(&self.view, *address)) {
                    ended.insert(*address);
                }
                due.at > now
            });
            if ended.is_empty() {
                return None;
            }
            Whose::Of(ended)
        };
        Some(Cleaning { purge: Purge { whose, garden: self.garden.keys().copied().collect() }, customers: self.config.lan.clone() })
    }
}
