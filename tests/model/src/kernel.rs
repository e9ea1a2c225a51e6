//! The kernel of a router of the model: who passes, until when and up to which byte. It counts, and goes on by itself while the
//! program is dead; what it does with a change is what `src/router/src/gate/plan.rs` has the real one do.

use lango_core::gate::{GateAccount, GateChange, GateId, Traffic, Usage};
use lango_core::time::Monotonic;
use lango_core::units::{Bytes, Mac};
use std::collections::BTreeMap;

/// What passes at once, in bytes: a packet as large as the kernel makes them passes whole, or not at all.
pub const PACKET: u64 = 60_000;

/// The kernel.
#[derive(Debug, Default)]
pub struct Kernel {
    accounts: BTreeMap<GateId, GateAccount>,
    /// Running totals. They outlive the account's place in the gate, and the program.
    counters: BTreeMap<(GateId, Mac), Traffic>,
    /// What each quota consumed.
    consumed: BTreeMap<GateId, u64>,
}

/// What became of a device's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// On which account.
    pub id: GateId,
    /// Bytes that passed.
    pub bytes: u64,
    /// Whether the quota stopped the rest.
    pub depleted: bool,
    /// Whether nothing passed because the time is over.
    pub ended: bool,
}

impl Kernel {
    /// The accounts in the gate.
    pub fn accounts(&self) -> impl Iterator<Item = &GateAccount> {
        self.accounts.values()
    }

    /// What all counters hold.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        self.counters.iter().map(|((id, mac), traffic)| Usage { id: *id, mac: *mac, traffic: *traffic }).collect()
    }

    /// What one holds.
    #[must_use]
    pub fn counted(&self, id: GateId, mac: Mac) -> Traffic {
        self.counters.get(&(id, mac)).copied().unwrap_or_default()
    }

    /// Makes a change; gives back the last counts of devices that went.
    pub fn change(&mut self, change: GateChange) -> Vec<Usage> {
        let (id, account) = match change {
            GateChange::Set(account) => (account.id, Some(account)),
            GateChange::Remove(id) => (id, None),
        };
        let before: Vec<Mac> = self.accounts.get(&id).into_iter().flat_map(|account| account.devices.keys().copied()).collect();
        if let Some(account) = account {
            self.set(account);
        } else {
            self.accounts.remove(&id);
            self.consumed.remove(&id);
        }
        let stays = |mac: &Mac| self.accounts.get(&id).is_some_and(|account| account.devices.contains_key(mac));
        before.into_iter().filter(|mac| !stays(mac)).map(|mac| Usage { id, mac, traffic: self.counted(id, mac) }).collect()
    }

    fn set(&mut self, account: GateAccount) {
        let mut used = account.used.0;
        for (mac, device) in account.devices.iter() {
            let counter = self.counters.entry((account.id, *mac)).or_insert(device.traffic);
            *counter = counter.max(device.traffic);
            used += counter.total().0 - device.traffic.total().0;
        }
        self.consumed.entry(account.id).or_insert(used);
        self.accounts.insert(account.id, account);
    }

    /// Makes the whole gate as it should be; gives back the last counts of devices that went.
    pub fn reconcile(&mut self, desired: Vec<GateAccount>) -> Vec<Usage> {
        let gone: Vec<GateId> = self.accounts.keys().filter(|id| desired.iter().all(|account| account.id != **id)).copied().collect();
        let changes = gone.into_iter().map(GateChange::Remove).chain(desired.into_iter().map(GateChange::Set));
        changes.collect::<Vec<_>>().into_iter().flat_map(|change| self.change(change)).collect()
    }

    /// The accounts whose quota lets no further packet pass.
    #[must_use]
    pub fn depleted(&self) -> Vec<GateId> {
        let spent = |account: &&GateAccount| account.data_end.is_some_and(|end| self.room(account.id, end) < PACKET);
        self.accounts.values().filter(spent).map(|account| account.id).collect()
    }

    fn room(&self, id: GateId, end: Bytes) -> u64 {
        end.0.saturating_sub(self.consumed.get(&id).copied().unwrap_or_default())
    }

    /// A device sends, or is sent, so many packets.
    pub fn forward(&mut self, mac: Mac, up: bool, packets: u64, now: Monotonic) -> Option<Passed> {
        let account = self.accounts.values().find(|account| account.devices.contains_key(&mac))?;
        if account.until.is_some_and(|until| until <= now) {
            return Some(Passed { id: account.id, bytes: 0, depleted: false, ended: true });
        }
        let (id, room) = (account.id, account.data_end.map_or(u64::MAX, |end| self.room(account.id, end)));
        let fit = packets.min(room / PACKET);
        let bytes = fit * PACKET;
        *self.consumed.entry(id).or_default() += bytes;
        let counter = self.counters.entry((id, mac)).or_default();
        let way = if up { &mut counter.up } else { &mut counter.down };
        *way = way.plus(Bytes(bytes));
        Some(Passed { id, bytes, depleted: fit < packets, ended: false })
    }
}
