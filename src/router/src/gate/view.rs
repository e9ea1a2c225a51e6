//! What the kernel has of accounts, as last known. Pure.

use super::names::{CounterName, QuotaName};

use super::plan::Op;
use super::set::Key;
use super::speeds::Class;
use lango_core::few::FewSet;
use lango_core::gate::GateId;
use lango_core::time::Monotonic;
use lango_core::tree::{BTreeMap, BTreeSet};
use lango_core::units::Mac;
use std::fmt;
use std::net::Ipv4Addr;

/// When an element ends, if it does: in eight bytes wherever they lie, where an `Option<Monotonic>` takes sixteen, and there are four
/// of these for each device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct End([u32; 2]);

impl End {
    /// An element that does not end: no clock goes so far. The last moment of all is another thing: an end that nobody knows.
    const NEVER: u64 = u64::MAX - 1;

    /// When it ends.
    #[must_use]
    pub fn at(self) -> Option<Monotonic> {
        let Self([high, low]) = self;
        let at = u64::from(high) << 32 | u64::from(low);
        (at != Self::NEVER).then_some(Monotonic(at))
    }
}

impl From<Option<Monotonic>> for End {
    fn from(until: Option<Monotonic>) -> Self {
        let at = until.map_or(Self::NEVER, |until| until.0);
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
        Self([half(at >> 32), half(at)])
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at().fmt(f)
    }
}

/// An element that leads to a quota, and ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// The quota; nothing where it is none of ours.
    pub quota: Option<QuotaName>,
    /// When it ends.
    pub end: End,
}

/// What the kernel has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Elements of the maps to quotas.
    pub passes: BTreeMap<Key, Pass>,
    /// Elements of the maps to counters: to which; nothing where it is none of ours.
    pub counts: BTreeMap<Key, Option<CounterName>>,
    /// Elements of the set of those who may pass: when each ends.
    pub paid: BTreeMap<Mac, End>,
    /// Elements of the set of addresses that wait, each with the device that sends from there.
    pub held: BTreeSet<(Mac, Ipv4Addr)>,
    /// Elements of the maps to classes: to which.
    pub classes: BTreeMap<Key, Class>,
    /// Quotas and their limits in bytes.
    pub quotas: BTreeMap<QuotaName, u64>,
    /// Counters.
    pub counters: BTreeSet<CounterName>,
    /// The keys whose elements lead to an account.
    keys: BTreeMap<GateId, FewSet<Key>>,
}

impl View {
    /// Puts in an element that leads to a quota.
    pub fn insert_pass(&mut self, key: Key, pass: Pass) {
        self.remove_pass(key);
        self.passes.insert(key, pass);
        if let Some(quota) = pass.quota {
            self.keys.entry(quota.id).or_default().insert(key);
        }
    }

    /// Takes such an element out.
    pub fn remove_pass(&mut self, key: Key) {
        if let Some(Pass { quota: Some(quota), .. }) = self.passes.remove(&key) {
            self.unlink(quota.id, key);
        }
    }

    /// Puts in an element that leads to a counter.
    pub fn insert_count(&mut self, key: Key, counter: Option<CounterName>) {
        self.remove_count(key);
        self.counts.insert(key, counter);
        if let Some(counter) = counter {
            self.keys.entry(counter.id).or_default().insert(key);
        }
    }

    /// Takes such an element out.
    pub fn remove_count(&mut self, key: Key) {
        if let Some(Some(counter)) = self.counts.remove(&key) {
            self.unlink(counter.id, key);
        }
    }

    /// Forgets that a key leads to an account, unless another of its elements still does.
    fn unlink(&mut self, id: GateId, key: Key) {
        let still = self.passes.get(&key).and_then(|p| p.quota).is_some_and(|q| q.id == id)
            || self.counts.get(&key).copied().flatten().is_some_and(|c| c.id == id);
        if still {
            return;
        }
        if let Some(keys) = self.keys.get_mut(&id) {
            keys.remove(&key);
            if keys.is_empty() {
                self.keys.remove(&id);
            }
        }
    }

    /// The keys whose elements lead to an account.
    pub fn keys_of(&self, id: GateId) -> impl Iterator<Item = Key> + '_ {
        self.keys.get(&id).into_iter().flatten().copied()
    }

    /// The account to which a key leads.
    #[must_use]
    pub fn owner(&self, key: Key) -> Option<GateId> {
        let pass = self.passes.get(&key).and_then(|pass| pass.quota).map(|quota| quota.id);
        pass.or_else(|| self.counts.get(&key).copied().flatten().map(|counter| counter.id))
    }

    /// The addresses of a device that wait.
    pub fn held_of(&self, mac: Mac) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let all = (mac, Ipv4Addr::UNSPECIFIED)..=(mac, Ipv4Addr::BROADCAST);
        self.held.range(all).map(|(_, address)| *address)
    }

    /// Every key that has an element.
    #[must_use]
    pub fn all_keys(&self) -> BTreeSet<Key> {
        let paid = self.paid.keys().chain(self.held.iter().map(|(mac, _)| mac)).map(|mac| Key::Mac(*mac));
        self.passes.keys().chain(self.counts.keys()).chain(self.classes.keys()).copied().chain(paid).collect()
    }

    /// Every account of which anything is there.
    #[must_use]
    pub fn accounts(&self) -> BTreeSet<GateId> {
        let quotas = self.quotas.keys().map(|quota| quota.id);
        self.keys.keys().copied().chain(quotas).chain(self.counters.iter().map(|counter| counter.id)).collect()
    }

    /// An account's quotas, the one in force last.
    pub fn quotas_of(&self, id: GateId) -> impl DoubleEndedIterator<Item = (QuotaName, u64)> + '_ {
        let all = QuotaName { id, serial: 0 }..=QuotaName { id, serial: u32::MAX };
        self.quotas.range(all).map(|(name, limit)| (*name, *limit))
    }

    /// An account's quota in force, and its limit.
    #[must_use]
    pub fn quota_in_force(&self, id: GateId) -> Option<(QuotaName, u64)> {
        self.quotas_of(id).next_back()
    }

    /// An account's counters.
    pub fn counters_of(&self, id: GateId) -> impl Iterator<Item = CounterName> + '_ {
        use super::names::Direction;
        let first = CounterName { id, mac: Mac([0; 6]), direction: Direction::Up };
        self.counters.range(first..).take_while(move |counter| counter.id == id).copied()
    }

    /// An account's counters whose device is not on it any more.
    pub fn left_counters(&self, id: GateId) -> impl Iterator<Item = CounterName> + '_ {
        self.counters_of(id).filter(|counter| {
            let device = self.counts.get(&Key::Mac(counter.mac)).copied().flatten();
            device.is_none_or(|device| device.id != counter.id)
        })
    }

    /// An account's quotas to which no element leads.
    pub fn left_quotas(&self, id: GateId) -> impl Iterator<Item = QuotaName> + '_ {
        let held: BTreeSet<_> = self.keys_of(id).filter_map(|key| self.passes.get(&key)?.quota).collect();
        self.quotas_of(id).map(|(name, _)| name).filter(move |name| !held.contains(name))
    }

    /// Forgets the elements under these keys that ended before `now`: the kernel does not find them any more.
    pub fn forget_ended(&mut self, keys: impl IntoIterator<Item = Key>, now: Monotonic) {
        let ended = |end: End| end.at().is_some_and(|at| at <= now);
        for key in keys {
            if self.passes.get(&key).is_some_and(|pass| ended(pass.end)) {
                self.remove_pass(key);
            }
            if let Key::Mac(mac) = key
                && self.paid.get(&mac).is_some_and(|end| ended(*end))
            {
                self.paid.remove(&mac);
            }
        }
    }

    /// Does what the kernel did.
    pub fn apply(&mut self, op: &Op) {
        match *op {
            Op::AddQuota { name, limit, .. } | Op::SetLimit { name, limit } => {
                self.quotas.insert(name, limit);
            }
            Op::DeleteQuota(name) => {
                self.quotas.remove(&name);
            }
            Op::AddCounter { name, .. } => {
                self.counters.insert(name);
            }
            Op::DeleteCounter(name) => {
                self.counters.remove(&name);
            }
            Op::AddPass { key, quota, until } => self.insert_pass(key, Pass { quota: Some(quota), end: until.into() }),
            Op::DeletePass(key) => self.remove_pass(key),
            Op::AddCount { key, counter } => self.insert_count(key, Some(counter)),
            Op::DeleteCount(key) => self.remove_count(key),
            Op::AddClass { key, class } => {
                self.classes.insert(key, class);
            }
            Op::DeleteClass(key) => {
                self.classes.remove(&key);
            }
            Op::AddHeld(mac, address) => {
                self.held.insert((mac, address));
            }
            Op::DeleteHeld(mac, address) => {
                self.held.remove(&(mac, address));
            }
            Op::AddPaid { mac, until } => {
                self.paid.insert(mac, until.into());
            }
            Op::DeletePaid(mac) => {
                self.paid.remove(&mac);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_come_back_and_take_eight_bytes() {
        for until in [None, Some(0), Some(1 << 32), Some(u64::from(u32::MAX)), Some(0x0123_4567_89ab_cdef), Some(u64::MAX)] {
            let until = until.map(Monotonic);
            assert_eq!(End::from(until).at(), until);
        }
        assert_eq!((size_of::<End>(), align_of::<End>(), size_of::<Pass>()), (8, 4, 20));
    }
}
