//! Carrying out a plan: transactions, and what is learnt from the kernel's refusals.
//!
//! Elements end by themselves, at any moment: one that a plan takes out may be gone when the kernel comes to it, which then
//! refuses the whole transaction. So a refusal teaches what the kernel really has, and the rest is planned anew.

use super::names::CounterName;
use super::nft::{
    OBJECT_COUNTER, OBJECT_QUOTA, Request, add_class, add_counter, add_element, add_quota, delete_element, delete_object, set_limit,
};
use super::plan::{Facts, Op, Targets, plan};
use super::set::{Key, Set};
use super::speeds::Class;
use super::table::Table;
use super::view::{Pass, View};
use super::{Gate, GateError, KEEP_COUNTS_FOR, cannot, ruleset};
use crate::clock;
use crate::gate::kernel::Refused;
use crate::netlink::codec::HEADER;
use crate::netlink::socket::NetlinkError;
use lango_core::gate::GateId;
use lango_core::time::Monotonic;
use lango_core::tree::{BTreeMap, BTreeSet};
use nix::errno::Errno;

/// How often a plan is made anew before it is given up.
const TRIES: u32 = 6;

/// The shortest timeout that is asked for, in milliseconds. The kernel rounds down to its ticks of up to 10 ms, and takes
/// none for no end at all: an element that should live for 5 ms would let its device pass for ever.
const SHORTEST_TIMEOUT: u64 = 20;

/// The longest, in milliseconds: a hundred years.
const LONGEST_TIMEOUT: u64 = 100 * 365 * 86_400_000;

/// The most requests of one transaction, preparation and the last account's aside: 170 accounts with two addresses each. Where anybody
/// listens to what changes, and we do, the kernel makes 4 KiB of news of each request before it hands them out: three thousand
/// accounts at once would take 150 MB for a moment, which few routers have.
const MOST_REQUESTS: usize = 2_048;

/// The same while nobody listens, where a table of another version is replaced: the kernel makes no news then, and keeps a
/// few hundred bytes for each. More than three thousand accounts at once.
const MOST_UNHEARD: usize = 40_960;

/// What a transaction of so many may take, in bytes.
const LARGEST_UNHEARD: usize = 8 * 1024 * 1024;

/// What the beginning and the end of a transaction take, in bytes.
const BATCH_ENDS: usize = 2 * (HEADER + 4);

/// The message that does it. Ends are turned into timeouts here, as late as can be.
fn request(op: &Op, now: Monotonic) -> Request {
    let timeout = |until: Option<Monotonic>| until.map(|u| u.since(now).0.clamp(SHORTEST_TIMEOUT, LONGEST_TIMEOUT));
    match *op {
        Op::AddQuota { name, limit, consumed } => add_quota(name, limit, consumed),
        Op::SetLimit { name, limit } => set_limit(name, limit),
        Op::DeleteQuota(name) => delete_object(&name.to_string(), OBJECT_QUOTA),
        Op::AddCounter { name, bytes } => add_counter(&name, bytes),
        Op::DeleteCounter(name) => delete_object(&name.to_string(), OBJECT_COUNTER),
        Op::AddPass { key, quota, until } => add_element(key.quota_map(), &key.bytes(), timeout(until), Some(&quota.to_string())),
        Op::DeletePass(key) => delete_element(key.quota_map(), &key.bytes()),
        Op::AddCount { key, counter } => add_element(key.counter_map(), &key.bytes(), None, Some(&counter.to_string())),
        Op::DeleteCount(key) => delete_element(key.counter_map(), &key.bytes()),
        Op::AddClass { key, class } => add_class(key.class_map(), &key.bytes(), class),
        Op::DeleteClass(key) => delete_element(key.class_map(), &key.bytes()),
        Op::AddHeld(mac, address) => add_element(Set::Held4, &Key::Pair(mac, address.into()).bytes(), None, None),
        Op::DeleteHeld(mac, address) => delete_element(Set::Held4, &Key::Pair(mac, address.into()).bytes()),
        Op::AddPaid { mac, until } => add_element(Set::Paid, &mac.0, timeout(until), None),
        Op::DeletePaid(mac) => delete_element(Set::Paid, &mac.0),
    }
}

/// What a request takes in a transaction, in bytes.
fn bytes_of(request: &Request) -> usize {
    request.attributes.len() + HEADER + 4
}

/// One transaction being put together.
#[derive(Default)]
struct Transaction {
    requests: Vec<Request>,
    /// What each request does to accounts; nothing for the table's own.
    ops: Vec<Option<Op>>,
    bytes: usize,
}

impl Transaction {
    fn push(&mut self, request: Request, op: Option<Op>) {
        self.bytes += bytes_of(&request);
        self.requests.push(request);
        self.ops.push(op);
    }
}

/// What the table needs beside accounts. It is done in the same transaction as they are; where they take several, the first one
/// comes with rules that stop who is not known, and the last one with the final ones in their place.
#[derive(Debug, Default)]
pub(super) struct Preparation {
    /// Before the accounts: table, sets, chains without a rule.
    pub(super) frame: Vec<Request>,
    /// After the accounts. Where they take several transactions, the first one comes with those of `ruleset::rules_meanwhile`.
    pub(super) rules: Vec<Request>,
    /// The first transaction is in the kernel already.
    begun: bool,
    /// It takes the place of a table in which accounts are in force, and nobody listens: all of it goes in one transaction if that can be,
    /// so that nobody loses a packet.
    unheard: bool,
}

impl Preparation {
    /// Rules in a table that is there.
    pub(super) const fn of_rules(rules: Vec<Request>) -> Self {
        Self { frame: Vec::new(), rules, begun: false, unheard: false }
    }

    /// A frame and the rules in it.
    pub(super) const fn new(frame: Vec<Request>, rules: Vec<Request>, unheard: bool) -> Self {
        Self { frame, rules, begun: false, unheard }
    }

    /// All of it, where no account is to be put in.
    pub(super) fn into_requests(self) -> Vec<Request> {
        let Self { mut frame, rules, .. } = self;
        frame.extend(rules);
        frame
    }

    /// Whether there is nothing to be done.
    pub(super) const fn is_empty(&self) -> bool {
        self.frame.is_empty() && self.rules.is_empty()
    }
}

/// What was counted since a plan was made.
#[derive(Default)]
struct Since {
    /// What counters that went on hold, in bytes.
    counters: BTreeMap<CounterName, u64>,
    /// What accounts used meanwhile, in bytes.
    accounts: BTreeMap<GateId, u64>,
}

impl Since {
    /// Adds it to what an operation begins with; tells whether there was any.
    fn add_to(&self, op: &mut Op) -> bool {
        match op {
            Op::AddCounter { name, bytes } => self.counters.get(name).map(|counted| *bytes = (*bytes).max(*counted)).is_some(),
            Op::AddQuota { name, limit, consumed } => {
                self.accounts.get(&name.id).map(|used| *consumed = consumed.saturating_add(*used).min(*limit)).is_some()
            }
            _ => false,
        }
    }
}

impl Gate {
    /// Brings these accounts and keys in order.
    pub(super) fn carry_out(
        &mut self,
        targets: &Targets<'_>,
        keys: BTreeSet<Key>,
        facts: &mut Facts,
        now: Monotonic,
    ) -> Result<(), GateError> {
        self.carry_out_prepared(Preparation::default(), targets, keys, facts, now)
    }

    /// The same in a table that is prepared with it: in one transaction where they are few enough.
    pub(super) fn carry_out_prepared(
        &mut self,
        mut preparation: Preparation,
        targets: &Targets<'_>,
        keys: BTreeSet<Key>,
        facts: &mut Facts,
        now: Monotonic,
    ) -> Result<(), GateError> {
        let mut last = None;
        for _ in 0..TRIES {
            let now = now.max(clock::monotonic());
            for (id, _) in targets {
                let keys: Vec<Key> = self.view.keys_of(*id).collect();
                self.view.forget_ended(keys, now);
            }
            let groups = plan(&self.view, targets, keys.clone(), facts, now);
            match self.commit(&mut preparation, groups, facts) {
                Ok(()) => return Ok(()),
                Err(refused) => {
                    log::debug!("the gate's transaction is planned anew: {}", refused.error);
                    if preparation.is_empty() {
                        self.look_again(&refused, facts)?;
                    } else if preparation.begun {
                        preparation = self.begin_again(facts)?;
                    } else if std::mem::take(&mut preparation.unheard) {
                        // For want of memory, maybe: parts need less.
                        log::debug!("gate: the table goes in parts");
                    } else {
                        return Err(cannot("install the rules")(refused.error));
                    }
                    last = Some(refused.error);
                }
            }
        }
        Err(last.map_or(GateError::TableGone, cannot("change the accounts")))
    }

    fn commit(&mut self, preparation: &mut Preparation, groups: Vec<Vec<Op>>, facts: &mut Facts) -> Result<(), Refused> {
        let mut transaction = Transaction::default();
        for request in &preparation.frame {
            transaction.push(request.clone(), None);
        }
        let rules: usize = preparation.rules.iter().map(bytes_of).sum();
        let classes = groups.iter().flatten().any(|op| matches!(op, Op::AddClass { .. }));
        let marking = if classes && !self.marked { ruleset::marking() } else { Vec::new() };
        // Their chains come with the rules, where those are to be made.
        let (early, late) = if preparation.rules.is_empty() { (marking, Vec::new()) } else { (Vec::new(), marking) };
        for request in early {
            transaction.push(request, None);
        }
        let (most_requests, most_bytes) = if preparation.unheard {
            (MOST_UNHEARD, self.kernel.room_for(LARGEST_UNHEARD).map_err(Refused::whole)?)
        } else {
            (MOST_REQUESTS, self.kernel.largest())
        };
        // Who listens is told of every object that goes with the table, two counters a device and a quota, in the part that deletes it.
        let mut told = if self.table == Table::Foreign && !preparation.unheard && !preparation.frame.is_empty() {
            facts.counted.len().saturating_mul(3) / 2
        } else {
            0
        };
        let replaces = self.table == Table::Foreign && !preparation.begun && !preparation.frame.is_empty();
        let mut since = Since::default();
        for mut group in groups {
            for op in &mut group {
                since.add_to(op);
            }
            // Ends are counted from when the kernel hears of them: each part is put together just before it is sent.
            let now = clock::monotonic();
            let mut requests: Vec<_> = group.iter().map(|op| request(op, now)).collect();
            let bytes: usize = requests.iter().map(bytes_of).sum();
            let most = transaction.requests.len() + told + requests.len() > most_requests;
            // Rules come with it, if only with the first or the last one, which has a few more of them.
            if most || transaction.bytes + bytes + BATCH_ENDS + rules * 5 / 4 > most_bytes {
                let read_again = replaces && !preparation.begun;
                if read_again {
                    since = self.counted_since(&mut transaction, facts);
                }
                if !preparation.begun && !preparation.frame.is_empty() {
                    ruleset::rules_meanwhile(&self.config).into_iter().for_each(|request| transaction.push(request, None));
                }
                self.send(std::mem::take(&mut transaction), facts)?;
                self.marked |= classes && preparation.rules.is_empty();
                preparation.begun = true;
                told = 0;
                if read_again {
                    // This group was put together before what was counted since was known; never twice, for quotas are added to.
                    for (request_of, op) in requests.iter_mut().zip(&mut group) {
                        if since.add_to(op) {
                            *request_of = request(op, now);
                        }
                    }
                }
            }
            for (request, op) in requests.into_iter().zip(group) {
                transaction.push(request, Some(op));
            }
        }
        if preparation.begun && !preparation.frame.is_empty() {
            ruleset::clear_rules().into_iter().for_each(|request| transaction.push(request, None));
        }
        for request in preparation.rules.iter().chain(&late) {
            transaction.push(request.clone(), None);
        }
        if replaces && !preparation.begun {
            self.counted_since(&mut transaction, facts);
        }
        self.send(transaction, facts)?;
        self.marked |= classes;
        *preparation = Preparation::default();
        Ok(())
    }

    /// Reads the counters of a table that is about to go once more, and corrects what takes its place by what they counted since the plan was made: a
    /// busy router takes a while for a plan. What the kernel itself needs for the exchange stays uncounted. Where they cannot be read, what was
    /// read before serves, to the customers' gain.
    fn counted_since(&mut self, transaction: &mut Transaction, facts: &mut Facts) -> Since {
        let mut since = Since::default();
        for (name, bytes) in self.kernel.counters().unwrap_or_default() {
            let before = facts.counted.insert(name, bytes).unwrap_or_default();
            if bytes > before {
                since.counters.insert(name, bytes);
                *since.accounts.entry(name.id).or_default() += bytes - before;
            }
        }
        let now = clock::monotonic();
        for (request_of, op) in transaction.requests.iter_mut().zip(&mut transaction.ops) {
            if let Some(op) = op
                && since.add_to(op)
            {
                *request_of = request(op, now);
            }
        }
        since
    }

    /// What is to be done where a table was refused when a part of it was in the kernel already. That part stays until another takes
    /// its place: it stops who is not known.
    fn begin_again(&mut self, facts: &mut Facts) -> Result<Preparation, GateError> {
        self.view = View::default();
        (self.table, self.marked) = Self::look(&mut self.kernel, &self.config)?;
        match self.table {
            Table::Missing => {}
            Table::Foreign => facts.counted.extend(self.kernel.counters().map_err(cannot("read the counters"))?),
            Table::Ours { .. } => return Err(GateError::TableGone),
        }
        Ok(self.preparation())
    }

    fn send(&mut self, transaction: Transaction, facts: &mut Facts) -> Result<(), Refused> {
        let Transaction { requests, ops, .. } = transaction;
        match self.kernel.transact(requests.iter()) {
            Ok(()) => {
                ops.iter().flatten().for_each(|op| self.view.apply(op));
                Ok(())
            }
            Err(mut refused) => {
                // What is left in the list afterwards taught nothing.
                refused.by_index.retain(|(index, errno)| {
                    let op = index.and_then(|index| ops.get(index).copied().flatten());
                    !op.is_some_and(|op| self.learn(&op, *errno, facts))
                });
                Err(refused)
            }
        }
    }

    /// Corrects what we thought the kernel had, by what it refused; gives back whether that was possible.
    fn learn(&mut self, op: &Op, errno: Errno, facts: &mut Facts) -> bool {
        // An end that is like no other: what is there is not known, only that it is.
        let unknown = Some(Monotonic(u64::MAX));
        match (*op, errno) {
            (Op::DeletePass(key), Errno::ENOENT) => self.view.remove_pass(key),
            (Op::DeleteCount(key), Errno::ENOENT) => self.view.remove_count(key),
            (Op::DeletePaid(mac), Errno::ENOENT) => {
                self.view.paid.remove(&mac);
            }
            (Op::DeleteHeld(mac, address), Errno::ENOENT) => {
                self.view.held.remove(&(mac, address));
            }
            (Op::AddHeld(mac, address), Errno::EEXIST) => {
                self.view.held.insert((mac, address));
            }
            (Op::DeleteClass(key), Errno::ENOENT) => {
                self.view.classes.remove(&key);
            }
            (Op::AddClass { key, .. }, Errno::EEXIST) => {
                self.view.classes.insert(key, Class::UNKNOWN);
            }
            (Op::AddPass { key, .. }, Errno::EEXIST) => self.view.insert_pass(key, Pass { quota: None, end: unknown.into() }),
            (Op::AddCount { key, .. }, Errno::EEXIST) => self.view.insert_count(key, None),
            (Op::AddPaid { mac, .. }, Errno::EEXIST) => {
                self.view.paid.insert(mac, unknown.into());
            }
            (Op::AddCounter { name, .. }, Errno::EEXIST) => {
                self.view.counters.insert(name);
            }
            (Op::AddQuota { name, .. }, Errno::EEXIST) => {
                // Whatever it consumed, it is not what this account did: a new one is made beside it.
                self.view.quotas.insert(name, 0);
                facts.hit.insert(name.id);
            }
            _ => return false,
        }
        true
    }

    /// Reads the kernel anew where a refusal is not explained by what was learnt from it.
    fn look_again(&mut self, refused: &Refused, facts: &mut Facts) -> Result<(), GateError> {
        let explained = matches!(refused.error, NetlinkError::Refused(_)) && refused.by_index.is_empty();
        if explained {
            return Ok(());
        }
        if refused.by_index.iter().any(|(_, errno)| *errno == Errno::EPERM) {
            return Err(GateError::NotPermitted);
        }
        (self.table, self.marked) = Self::look(&mut self.kernel, &self.config)?;
        if matches!(self.table, Table::Missing | Table::Foreign) {
            return Err(GateError::TableGone);
        }
        let read = self.refresh()?;
        facts.hit.extend(read.hit);
        facts.counted.extend(read.counted);
        Ok(())
    }

    /// Deletes objects of accounts that went long enough ago. What cannot be deleted yet (an element that ended but was
    /// not collected still holds it) stays for the next time: the caller is never troubled.
    pub(super) fn sweep(&mut self, now: Monotonic) {
        let due = |since: &Monotonic| now >= since.after(KEEP_COUNTS_FOR);
        let ids: Vec<GateId> = self.left.iter().filter(|(_, since)| due(since)).map(|(id, _)| *id).collect();
        let mut ops: Vec<Op> = Vec::new();
        for id in &ids {
            ops.extend(self.view.left_counters(*id).map(Op::DeleteCounter));
            ops.extend(self.view.left_quotas(*id).map(Op::DeleteQuota));
        }
        // The rest waits for the next time.
        ops.truncate(MOST_REQUESTS);
        // The first try tells which of them are held, the second does the rest.
        for _ in 0..2 {
            let requests: Vec<Request> = ops.iter().map(|op| request(op, now)).collect();
            match self.kernel.transact(requests.iter()) {
                Ok(()) => {
                    ops.iter().for_each(|op| self.view.apply(op));
                    break;
                }
                Err(refused) => {
                    let refusals = &refused.by_index;
                    for (_, op) in ops.iter().enumerate().filter(|(at, _)| refusals.contains(&(Some(*at), Errno::ENOENT))) {
                        self.view.apply(op);
                    }
                    let mut at = 0..;
                    ops.retain(|_| at.next().is_some_and(|at| refusals.iter().all(|(index, _)| *index != Some(at))));
                    if refusals.iter().any(|(index, _)| index.is_none()) || refusals.is_empty() {
                        log::warn!("objects of ended sessions stay in the kernel for now: {}", refused.error);
                        break;
                    }
                }
            }
        }
        for id in ids {
            if self.view.left_counters(id).next().is_none() && self.view.left_quotas(id).next().is_none() {
                self.left.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_end_becomes_none_on_the_way_to_the_kernel() {
        let now = Monotonic(1_000_000);
        let mac = lango_core::units::Mac([2, 0, 0, 0, 0, 1]);
        for (until, timeout) in [
            (Some(0), Some(20)), // long past: the plan makes no such element, and if it did it would not stay
            (Some(1_000_000), Some(20)),
            (Some(1_000_001), Some(20)),
            (Some(1_000_019), Some(20)),
            (Some(1_000_021), Some(21)),
            (Some(4_600_000), Some(3_600_000)),
            (Some(u64::MAX), Some(LONGEST_TIMEOUT)),
            (None, None),
        ] {
            let made = request(&Op::AddPaid { mac, until: until.map(Monotonic) }, now);
            assert_eq!(made, add_element(Set::Paid, &mac.0, timeout, None), "until {until:?}");
        }
    }
}
