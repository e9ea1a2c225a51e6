//! The accounts, and what must be found among them without a walk: whose purchase ends next, who is online, and what is not
//! written down yet.
//!
//! An account can be changed in one place only, [`Accounts::change`], which puts the indices right: no rule can forget to.

use crate::account::{Account, Checkpoint, Clock};
use crate::gate::GateId;
use crate::time::Monotonic;
use crate::tree::{BTreeMap, BTreeSet};
use crate::units::Username;

/// All accounts.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    /// Boxed: a node of the map has room for eleven, and a third of them to a half stays empty.
    by_name: BTreeMap<Username, Box<Account>>,
    /// Whose number in the kernel is whose.
    names: BTreeMap<GateId, Username>,
    /// When the running purchase of each account that is online ends: of those that can end, the first first.
    ends: BTreeSet<(Monotonic, GateId)>,
    /// How many accounts are online and have their time running: as long as there is one, each checkpoint is noted.
    running: usize,
    /// Accounts of which more was counted than is written down.
    unwritten: BTreeSet<GateId>,
    devices_online: usize,
}

/// What the indices hold of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    ends: Option<Monotonic>,
    running: bool,
    devices_online: usize,
}

impl Entry {
    fn of(account: &Account) -> Self {
        let online = !account.online.is_empty();
        Self {
            ends: account.ends_at(),
            running: online && matches!(account.clock, Clock::Running { .. }),
            devices_online: account.online.len(),
        }
    }
}

impl Accounts {
    /// The account of that name.
    pub(super) fn get(&self, name: &Username) -> Option<&Account> {
        self.by_name.get(name).map(Box::as_ref)
    }

    /// All of them, by name.
    pub(super) fn values(&self) -> impl Iterator<Item = &Account> {
        self.by_name.values().map(Box::as_ref)
    }

    /// Those behind that one, by name.
    pub(super) fn after(&self, name: Option<&Username>) -> impl Iterator<Item = &Account> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_name.range::<Username, _>((name.map_or(Unbounded, Excluded), Unbounded)).map(|(_, account)| account.as_ref())
    }

    /// Forgets an account.
    pub(super) fn remove(&mut self, name: &Username) {
        let Some(account) = self.by_name.remove(name) else { return };
        self.index(account.id, Entry::of(&account), false);
        self.names.remove(&account.id);
        self.unwritten.remove(&account.id);
    }

    /// Until when it is written down what the accounts that are online used: of all of them, the longest ago. A program that is
    /// started again and again must not put its checkpoint off each time. Where no time runs, and only data counts, nobody
    /// noted when it was written: long ago.
    pub(super) fn oldest_written(&self, last: Option<&Checkpoint>) -> Option<Monotonic> {
        let online = self.values().filter(|account| !account.online.is_empty());
        online.map(|account| account.clock.ran_until(last).map_or(Monotonic(0), |(_, until)| until)).min()
    }

    /// The name of the account with that number.
    pub(super) fn name_of(&self, id: GateId) -> Option<&Username> {
        self.names.get(&id)
    }

    /// Takes an account in, in place of the one of that name.
    pub(super) fn insert(&mut self, mut account: Account) {
        account.purchases.shrink_to_fit();
        if let Some(before) = self.by_name.get(&account.username) {
            let (id, entry) = (before.id, Entry::of(before));
            self.index(id, entry, false);
            self.names.remove(&id);
        }
        self.index(account.id, Entry::of(&account), true);
        self.names.insert(account.id, account.username.clone());
        self.by_name.insert(account.username.clone(), Box::new(account));
    }

    /// Changes an account; its number and name stay. Gives back what `change` gives, or nothing where there is no such account.
    pub(super) fn change<T>(&mut self, name: &Username, change: impl FnOnce(&mut Account) -> T) -> Option<T> {
        let (id, before, after, done) = Self::changed(self.by_name.get_mut(name)?, change);
        self.reindex(id, before, after);
        Some(done)
    }

    /// The same for the account with that number.
    pub(super) fn change_numbered<T>(&mut self, id: GateId, change: impl FnOnce(&mut Account) -> T) -> Option<T> {
        let account = self.by_name.get_mut(self.names.get(&id)?)?;
        let (id, before, after, done) = Self::changed(account, change);
        self.reindex(id, before, after);
        Some(done)
    }

    fn changed<T>(account: &mut Account, change: impl FnOnce(&mut Account) -> T) -> (GateId, Entry, Entry, T) {
        let before = Entry::of(account);
        let done = change(account);
        account.purchases.shrink_to_fit(); // it makes room for four at a time, and most have one
        (account.id, before, Entry::of(account), done)
    }

    fn reindex(&mut self, id: GateId, before: Entry, after: Entry) {
        if before != after {
            self.index(id, before, false);
            self.index(id, after, true);
        }
    }

    fn index(&mut self, id: GateId, entry: Entry, there: bool) {
        fn put<T: Ord>(set: &mut BTreeSet<T>, value: T, there: bool) {
            if there {
                set.insert(value)
            } else {
                set.remove(&value)
            };
        }
        if let Some(at) = entry.ends {
            put(&mut self.ends, (at, id), there);
        }
        let running = usize::from(entry.running);
        (self.running, self.devices_online) = if there {
            (self.running + running, self.devices_online + entry.devices_online)
        } else {
            (self.running - running, self.devices_online - entry.devices_online)
        };
    }

    /// When the next running purchase ends.
    pub(super) fn next_end(&self) -> Option<Monotonic> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// When the first running purchase ends that ends later than that.
    pub(super) fn next_end_after(&self, after: Monotonic) -> Option<Monotonic> {
        self.ends.range(Self::later_than(after)..).next().map(|(at, _)| *at)
    }

    /// Accounts whose running purchase ends later than `after`, and not later than `until`.
    pub(super) fn ends_between(&self, after: Monotonic, until: Monotonic) -> Vec<Username> {
        let ends = self.ends.range(Self::later_than(after)..).take_while(|(at, _)| *at <= until);
        ends.filter_map(|(_, id)| self.names.get(id).cloned()).collect()
    }

    const fn later_than(after: Monotonic) -> (Monotonic, GateId) {
        (Monotonic(after.0.saturating_add(1)), GateId(0))
    }

    /// Accounts whose running purchase is used up at `at`.
    pub(super) fn ended(&self, at: Monotonic) -> Vec<Username> {
        let ended = self.ends.range(..=(at, GateId(u32::MAX)));
        ended.filter_map(|(_, id)| self.names.get(id).cloned()).collect()
    }

    /// How many devices are online.
    pub(super) const fn devices_online(&self) -> usize {
        self.devices_online
    }

    /// Takes note that more was counted for an account than is written down.
    pub(super) fn note_unwritten(&mut self, id: GateId) {
        self.unwritten.insert(id);
    }

    /// Takes note that an account is being written down as it is.
    pub(super) fn written(&mut self, name: &Username) {
        if let Some(account) = self.by_name.get(name) {
            self.unwritten.remove(&account.id);
        }
    }

    /// The accounts that a checkpoint has to write down, from that number on: something was counted. (That their time ran is noted
    /// once for all.) So many at most, and with which it goes on.
    pub(super) fn unwritten(&self, from: GateId, most: usize) -> (Vec<Username>, Option<GateId>) {
        let mut ids = self.unwritten.range(from..);
        (ids.by_ref().take(most).filter_map(|id| self.names.get(id).cloned()).collect(), ids.next().copied())
    }

    /// Whether any account's time runs.
    pub(super) const fn clocks_running(&self) -> bool {
        self.running > 0
    }

    /// Whether the indices are what a walk over all accounts gives.
    #[cfg(test)]
    pub(super) fn assert_indexed(&self) {
        let all = || self.by_name.values();
        assert_eq!(self.names, all().map(|account| (account.id, account.username.clone())).collect());
        let online = || all().filter(|account| !account.online.is_empty());
        assert_eq!(self.ends, online().filter_map(|account| Some((account.ends_at()?, account.id))).collect());
        assert_eq!(self.running, online().filter(|a| matches!(a.clock, Clock::Running { .. })).count());
        assert_eq!(self.devices_online, all().map(|account| account.online.len()).sum::<usize>());
        for at in self.ends.iter().map(|(at, _)| *at).chain([Monotonic(0), Monotonic(u64::MAX)]) {
            let mut ended = self.ended(at);
            ended.sort();
            let walked: Vec<Username> =
                online().filter(|account| account.first_is_used_up(at, false)).map(|account| account.username.clone()).collect();
            assert_eq!(ended, walked, "ended at {at:?}");
        }
    }
}
