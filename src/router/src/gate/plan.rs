//! What is to be done so that the kernel has what is wanted: the difference, and nothing else. Pure.

use super::names::{CounterName, Direction, QuotaName};
use super::set::Key;
use super::speeds::Class;
use super::view::{Pass, View};
use lango_core::gate::{GateAccount, GateId};
use lango_core::time::Monotonic;
use lango_core::tree::{BTreeMap, BTreeSet};
use lango_core::units::{Bytes, Mac};
use std::net::Ipv4Addr;

/// The limit of an account without one, so that every account passes by the same rule: 4 EiB. The kernel takes at most
/// 2^63 - 1, and what is consumed must not run over that.
pub const UNLIMITED: u64 = 1 << 62;

/// An end of time that is this near to the wanted one is left as it is, in milliseconds: the kernel counts in its own
/// ticks (10 ms on most routers), and a dump is read a moment after it was asked for.
pub const NEAR_ENOUGH: u64 = 250;

/// One change of the kernel: one message of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Make a quota of `limit` bytes, of which `consumed` are used already.
    AddQuota {
        /// Which.
        name: QuotaName,
        /// Bytes.
        limit: u64,
        /// Bytes.
        consumed: u64,
    },
    /// Change a quota's limit; what is consumed stays.
    SetLimit {
        /// Which.
        name: QuotaName,
        /// Bytes.
        limit: u64,
    },
    /// Delete a quota.
    DeleteQuota(QuotaName),
    /// Make a counter that counted so much already.
    AddCounter {
        /// Which.
        name: CounterName,
        /// Bytes.
        bytes: u64,
    },
    /// Delete a counter.
    DeleteCounter(CounterName),
    /// Let traffic of a key pass on a quota.
    AddPass {
        /// Whose.
        key: Key,
        /// On which.
        quota: QuotaName,
        /// Until when.
        until: Option<Monotonic>,
    },
    /// No longer.
    DeletePass(Key),
    /// Count traffic of a key.
    AddCount {
        /// Whose.
        key: Key,
        /// Where.
        counter: CounterName,
    },
    /// No longer.
    DeleteCount(Key),
    /// Mark traffic of a key with a class.
    AddClass {
        /// Whose.
        key: Key,
        /// With which.
        class: Class,
    },
    /// No longer.
    DeleteClass(Key),
    /// Drop what a device sends from this address.
    AddHeld(Mac, Ipv4Addr),
    /// No longer.
    DeleteHeld(Mac, Ipv4Addr),
    /// Take a device out of the captive portal.
    AddPaid {
        /// Which.
        mac: Mac,
        /// Until when.
        until: Option<Monotonic>,
    },
    /// No longer.
    DeletePaid(Mac),
}

/// What was read from the kernel's objects for this plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Accounts whose quota was hit. It counted what it refused, so a higher limit needs a new quota.
    pub hit: BTreeSet<GateId>,
    /// What counters hold, in bytes.
    pub counted: BTreeMap<CounterName, u64>,
    /// The classes that hold accounts' speeds.
    pub classes: BTreeMap<GateId, Class>,
}

/// How accounts shall be afterwards, each named once; nothing where no device of one shall pass. Where two want the same
/// device or address, the later one gets it.
pub type Targets<'a> = [(GateId, Option<&'a GateAccount>)];

struct Wanted {
    counter: CounterName,
    quota: QuotaName,
    until: Option<Monotonic>,
    class: Option<Class>,
}

/// Works out the difference. Each inner list belongs into one transaction; together they are what is to be done.
/// `keys` are further keys to bring in order beside those of the targets.
#[must_use]
pub fn plan(view: &View, targets: &Targets<'_>, keys: BTreeSet<Key>, facts: &Facts, now: Monotonic) -> Vec<Vec<Op>> {
    let mut groups: BTreeMap<GateId, Vec<Op>> = BTreeMap::new();
    let mut wanted: BTreeMap<Key, Wanted> = BTreeMap::new();
    let mut held: BTreeMap<(Mac, Ipv4Addr), GateId> = BTreeMap::new();
    let mut keys = keys;
    for (id, account) in targets {
        keys.extend(view.keys_of(*id));
        // An element whose time is up must not be made: to the kernel no time left means no end.
        let passes = |account: &&GateAccount| account.until.is_none_or(|until| until > now) && !account.devices.is_empty();
        let Some(account) = account.filter(passes) else { continue };
        let ops = groups.entry(*id).or_default();
        let quota = quota(view, account, facts, ops);
        for (mac, device) in account.devices.iter() {
            for direction in Direction::BOTH {
                let name = CounterName { id: *id, mac: *mac, direction };
                if !view.counters.contains(&name) {
                    let known = match direction {
                        Direction::Up => device.traffic.up,
                        Direction::Down => device.traffic.down,
                    };
                    let bytes = facts.counted.get(&name).copied().unwrap_or(0).max(known.0);
                    ops.push(Op::AddCounter { name, bytes });
                }
            }
            held.extend(device.held.iter().map(|address| ((*mac, *address), *id)));
            let addresses = device.addresses.iter().flat_map(|address| [Key::Address(*address), Key::Pair(*mac, *address)]);
            for key in std::iter::once(Key::Mac(*mac)).chain(addresses) {
                let counter = CounterName { id: *id, mac: *mac, direction: key.direction() };
                let speed = match key.direction() {
                    Direction::Up => account.up,
                    Direction::Down => account.down,
                };
                let class = speed.and_then(|_| facts.classes.get(id).copied());
                wanted.insert(key, Wanted { counter, quota, until: account.until, class });
            }
        }
    }
    keys.extend(wanted.keys().copied());
    let macs = keys.iter().filter_map(|key| if let Key::Mac(mac) = key { Some(*mac) } else { None });
    let there: BTreeSet<(Mac, Ipv4Addr)> = macs.flat_map(|mac| view.held_of(mac).map(move |address| (mac, address))).collect();
    for pair @ (mac, address) in &there {
        if !held.contains_key(pair) {
            let owner = view.owner(Key::Mac(*mac)).unwrap_or(GateId(0));
            groups.entry(owner).or_default().push(Op::DeleteHeld(*mac, *address));
        }
    }
    for (pair @ (mac, address), id) in &held {
        if !there.contains(pair) {
            groups.entry(*id).or_default().push(Op::AddHeld(*mac, *address));
        }
    }
    for key in keys {
        let wanted = wanted.get(&key);
        // An element that is to go belongs to nobody's group in particular; its old owner's is as good as any.
        let owner = wanted.map(|w| w.counter.id).or_else(|| view.owner(key));
        element(view, key, wanted, now, groups.entry(owner.unwrap_or(GateId(0))).or_default());
    }
    groups.into_values().filter(|ops| !ops.is_empty()).collect()
}

/// Which quota an account passes on, and what is to be done for it.
fn quota(view: &View, account: &GateAccount, facts: &Facts, ops: &mut Vec<Op>) -> QuotaName {
    let limit = account.data_end.map_or(UNLIMITED, |end| end.0.min(UNLIMITED));
    match view.quota_in_force(account.id) {
        Some((name, installed)) if installed == limit => name,
        Some((name, installed)) if limit < installed || !facts.hit.contains(&account.id) => {
            ops.push(Op::SetLimit { name, limit });
            name
        }
        in_force => {
            let serial = in_force.map_or(0, |(name, _)| name.serial.wrapping_add(1));
            let name = QuotaName { id: account.id, serial };
            ops.push(Op::AddQuota { name, limit, consumed: used(account, facts).0.min(limit) });
            name
        }
    }
}

/// What an account used in all: what the core knew, and what the counters counted since.
fn used(account: &GateAccount, facts: &Facts) -> Bytes {
    account.devices.iter().fold(account.used, |sum, (mac, device)| {
        let counted = |direction, known: Bytes| {
            let name = CounterName { id: account.id, mac: *mac, direction };
            Bytes(facts.counted.get(&name).copied().unwrap_or(0)).minus(known)
        };
        sum.plus(counted(Direction::Up, device.traffic.up)).plus(counted(Direction::Down, device.traffic.down))
    })
}

fn element(view: &View, key: Key, wanted: Option<&Wanted>, now: Monotonic, ops: &mut Vec<Op>) {
    let alive = |until: Option<Monotonic>| until.is_none_or(|until| until > now);
    let counted = view.counts.get(&key).copied();
    let wanted_count = wanted.filter(|_| key.counts());
    if counted != wanted_count.map(|w| Some(w.counter)) {
        if counted.is_some() {
            ops.push(Op::DeleteCount(key));
        }
        if let Some(wanted) = wanted_count {
            ops.push(Op::AddCount { key, counter: wanted.counter });
        }
    }
    let pass = view.passes.get(&key).filter(|pass| alive(pass.end.at()));
    let stays = |pass: &Pass, wanted: &Wanted| pass.quota == Some(wanted.quota) && near(pass.end.at(), wanted.until);
    match (pass, wanted) {
        (Some(pass), Some(wanted)) if stays(pass, wanted) => {}
        (pass, wanted) => {
            // Older kernels ignore a changed end without a word: taken out and put in, in one transaction, works on all.
            if pass.is_some() {
                ops.push(Op::DeletePass(key));
            }
            if let Some(wanted) = wanted {
                ops.push(Op::AddPass { key, quota: wanted.quota, until: wanted.until });
            }
        }
    }
    let class = view.classes.get(&key).copied();
    let wanted_class = wanted_count.and_then(|wanted| wanted.class);
    if class != wanted_class {
        if class.is_some() {
            ops.push(Op::DeleteClass(key));
        }
        if let Some(class) = wanted_class {
            ops.push(Op::AddClass { key, class });
        }
    }
    let Key::Mac(mac) = key else { return };
    let paid = view.paid.get(&mac).map(|end| end.at()).filter(|until| alive(*until));
    match (paid, wanted) {
        (Some(until), Some(wanted)) if near(until, wanted.until) => {}
        (paid, wanted) => {
            if paid.is_some() {
                ops.push(Op::DeletePaid(mac));
            }
            if let Some(wanted) = wanted {
                ops.push(Op::AddPaid { mac, until: wanted.until });
            }
        }
    }
}

fn near(a: Option<Monotonic>, b: Option<Monotonic>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.0.abs_diff(b.0) <= NEAR_ENOUGH,
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
