//! The reference of one router: what was paid for on each account, as the store's changes tell it, held against what the kernel
//! gave. Money and vouchers become service once, and all of it; what a crash or a power cut may cost either side is bounded.

use crate::kernel::Kernel;
use crate::purse::{Loose, Purse};
use crate::sold;
use lango_core::account::{Account, Checkpoint, Clock};
use lango_core::gate::{GateId, Traffic};
use lango_core::gateway::CHECKPOINT_EVERY;
use lango_core::package::Limits;
use lango_core::record::{Change, Record};
use lango_core::time::{BootId, Monotonic};
use lango_core::units::{Mac, Username};
use lango_core::voucher::VoucherState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The records of a store.
pub type Store = BTreeMap<String, Record>;

/// A clock that the relay's welcome sets is late by half a minute at most, before an outage and after it, and one that is nearly the
/// same is left as it is.
const CLOCK_SLACK: u64 = 2 * 30_000 + 5_000;

/// Where and when.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Milliseconds since all began.
    pub at: u64,
    /// The boot.
    pub boot: BootId,
    /// The boot's own clock.
    pub monotonic: Monotonic,
}

/// What an account's time has to pay for, because the router was off and paid time goes on.
#[derive(Debug, Clone, Copy, Default)]
struct Owing {
    /// At most, in milliseconds.
    most: u64,
    /// Outages since it was settled last.
    outages: u32,
    /// Milliseconds bought since the last.
    bought: u64,
}

/// The reference.
#[derive(Debug, Default)]
pub struct Service {
    purses: BTreeMap<Username, Purse>,
    names: BTreeMap<GateId, Username>,
    /// Accounts of which store and kernel may know different things until the program has started again.
    unsure: BTreeSet<Username>,
    loose: Loose,
    /// Bytes that passed lately: what a power cut may forget.
    recent: BTreeMap<Username, VecDeque<(u64, u64)>>,
    owing: BTreeMap<Username, Owing>,
    wrong: Option<String>,
    /// Vouchers that became service.
    pub vouchers: u64,
}

fn accounts(store: &Store) -> impl Iterator<Item = &Account> {
    store.values().filter_map(|record| match record {
        Record::Account(account) => Some(account),
        _ => None,
    })
}

/// What the store has as the last checkpoint.
fn noted(store: &Store) -> Option<&Checkpoint> {
    match store.get("checkpoint") {
        Some(Record::Checkpoint(checkpoint)) => Some(checkpoint),
        _ => None,
    }
}

/// Milliseconds left of the first purchase, where they are limited, and how long ago it ended.
fn clock_left(account: &Account, store: &Store, now: &Moment) -> Option<(u64, u64)> {
    match &account.clock {
        Clock::Unlimited => None,
        Clock::Stopped { left } => Some((left.0, 0)),
        Clock::Running { boot, ends, .. } if *boot == now.boot => Some((ends.since(now.monotonic).0, now.monotonic.since(*ends).0)),
        // Of another boot: what is written down, with the account or for all that ran then.
        clock @ Clock::Running { ends, .. } => Some((clock.ran_until(noted(store)).map_or(0, |(_, until)| ends.since(until).0), 0)),
    }
}

/// Bytes that passed on an account, ever: what it knows, and what was counted since.
fn total(account: &Account, kernel: &Kernel) -> u64 {
    let known = account.traffic.iter().map(|(mac, traffic)| (*mac, *traffic));
    let mut all: BTreeMap<Mac, Traffic> = known.collect();
    for usage in kernel.usage().iter().filter(|usage| usage.id == account.id) {
        let traffic = all.entry(usage.mac).or_default();
        *traffic = traffic.max(usage.traffic);
    }
    all.values().map(|traffic| traffic.total().0).sum()
}

/// The purse as the rules have it.
fn purse_of(account: &Account, store: &Store, kernel: &Kernel, now: &Moment) -> Purse {
    let mut purse = Purse::with(&account.purchases);
    if purse.pots.is_empty() {
        return purse;
    }
    if let Some((left, ago)) = clock_left(account, store, now) {
        let first = purse.pots.front().and_then(|pot| pot.limits.time).map_or(0, |time| time.0);
        if let Some(pot) = purse.pots.front_mut() {
            pot.extra = left.saturating_sub(first);
        }
        purse.pass_time(first.saturating_sub(left) + ago, now.at);
    }
    purse.pass_bytes(total(account, kernel).saturating_sub(account.data_start.0), now.at);
    purse.free = Loose::default();
    purse
}

impl Service {
    fn complain(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    /// A batch is about to be written: what it says was paid for is paid for from now on.
    pub fn written(&mut self, store: &Store, changes: &[Change], kernel: &Kernel, now: &Moment) {
        let mut paid: BTreeMap<Username, Vec<Limits>> = BTreeMap::new();
        let mut settled = Vec::new();
        for change in changes {
            match change {
                Change::Put(record) => match self.what_is_paid(store, changes, record) {
                    Ok(Some((username, limits))) => paid.entry(username).or_default().push(limits),
                    Ok(None) => {}
                    Err(why) => self.complain(why),
                },
                Change::Delete(key) => {
                    if let Some(name) = key.0.strip_prefix("owed/") {
                        settled.extend(name.parse::<Username>());
                    }
                }
            }
        }
        for (username, limits) in &paid {
            if let Some(owing) = self.owing.get_mut(username) {
                owing.bought += limits.iter().filter_map(|limits| limits.time).map(|time| time.0).sum::<u64>();
            }
        }
        for change in changes {
            let Change::Put(record) = change else { continue };
            let Record::Account(account) = &**record else { continue };
            self.names.insert(account.id, account.username.clone());
            let paid = paid.remove(&account.username).unwrap_or_default();
            let is_settled = settled.contains(&account.username);
            self.account_is(account, &paid, is_settled, store, kernel, now);
        }
        if let Some(username) = paid.keys().next() {
            self.complain(format!("money or a voucher went to {username}, and the account is not written with it"));
        }
        for username in settled {
            self.owing.remove(&username);
        }
    }

    /// Whether a record is money or a voucher that has just become service: whose, and which.
    fn what_is_paid(&mut self, store: &Store, changes: &[Change], record: &Record) -> Result<Option<(Username, Limits)>, String> {
        let before = store.get(&record.key().0);
        let (username, package) = match (record, before) {
            (Record::Ledger(entry), Some(Record::Ledger(before))) if before.account.is_some() => {
                if entry.account != before.account {
                    return Err(format!("{}: money that was served went from {:?} to {:?}", entry.receipt, before.account, entry.account));
                }
                return Ok(None);
            }
            (Record::Ledger(entry), _) => {
                let Some(username) = &entry.account else { return Ok(None) };
                let served_as = entry.waited.as_ref().and_then(|waited| waited.served_as.clone());
                let by_the_operator = served_as.is_some();
                let package = served_as.unwrap_or_else(|| entry.package.clone());
                let price = sold::find(&package).map(|package| package.price);
                if !by_the_operator && price.is_none_or(|price| price > entry.amount) {
                    return Err(format!("{}: KSh {} became {package}, which costs {price:?}", entry.receipt, entry.amount));
                }
                (username.clone(), package)
            }
            (Record::Voucher(voucher), before) => {
                let was = match before {
                    Some(Record::Voucher(before)) => Some(&before.state),
                    _ => None,
                };
                let VoucherState::Used(used) = &voucher.state else {
                    return match was {
                        Some(VoucherState::Used(_)) => Err(format!("voucher {} was used, and is {:?}", voucher.number, voucher.state)),
                        _ => Ok(None),
                    };
                };
                match was {
                    Some(VoucherState::Used(before)) if before.account == used.account => return Ok(None),
                    Some(VoucherState::Used(_) | VoucherState::Revoked { .. }) | None => {
                        return Err(format!("voucher {} became service, and was {was:?} before", voucher.number));
                    }
                    Some(VoucherState::Unused) => self.vouchers += 1,
                }
                let put = changes.iter().find_map(|change| match change {
                    Change::Put(record) => match &**record {
                        Record::Batch(batch) if batch.id == voucher.batch => Some(batch),
                        _ => None,
                    },
                    Change::Delete(_) => None,
                });
                let kept = store.values().find_map(|record| match record {
                    Record::Batch(batch) if batch.id == voucher.batch => Some(batch),
                    _ => None,
                });
                let Some(batch) = put.or(kept) else { return Err(format!("voucher {} has no batch", voucher.number)) };
                (used.account.clone(), batch.package.clone())
            }
            _ => return Ok(None),
        };
        let package = sold::find(&package).ok_or_else(|| format!("{package} was never sold"))?;
        Ok(Some((username, package.limits)))
    }

    fn account_is(&mut self, account: &Account, paid: &[Limits], settled: bool, store: &Store, kernel: &Kernel, now: &Moment) {
        let username = &account.username;
        let purse = self.purses.get(username).cloned().unwrap_or_default();
        let loose = self.loose_of(username);
        let purse = if let (true, Some(owing)) = (settled, self.owing.get(username).copied()) {
            match self.charged(&purse, owing, paid, account, store, kernel, now) {
                Ok(purse) => purse,
                Err(why) => return self.complain(format!("{username}: {why}")),
            }
        } else {
            match purse.became(paid, &account.purchases, loose) {
                Some(purse) => purse,
                None => {
                    let purchases = &account.purchases;
                    return self.complain(format!("{username}: had {purse:?}, paid {paid:?}, and has {purchases:?}"));
                }
            }
        };
        self.purses.insert(username.clone(), purse);
    }

    /// An outage was settled: time is taken away, no more than it was long, and nothing that was bought after it.
    #[allow(clippy::too_many_arguments)] // all that the rules had
    fn charged(
        &self,
        before: &Purse,
        owing: Owing,
        paid: &[Limits],
        account: &Account,
        store: &Store,
        kernel: &Kernel,
        now: &Moment,
    ) -> Result<Purse, String> {
        let after = purse_of(account, store, kernel, now);
        let paid: u64 = paid.iter().filter_map(|limits| limits.time).map(|time| time.0).sum();
        let (had, has) = (before.time_left() + paid, after.time_left());
        let taken = had.saturating_sub(has);
        let loose = self.loose_of(&account.username).time;
        if has + loose < owing.bought.min(had) {
            return Err(format!("outages took of what was bought after them: {has} ms left of {had}, {} bought since", owing.bought));
        }
        if taken > owing.most + loose {
            return Err(format!("outages of {} ms took {taken} ms of {had}", owing.most));
        }
        // An unlimited purchase lets none of what is behind it be used up.
        let in_a_row = before.pots.iter().all(|pot| pot.limits.time.is_some());
        let least = (owing.most.saturating_sub(CLOCK_SLACK)).min(had.saturating_sub(owing.bought));
        if owing.outages == 1 && in_a_row && taken + loose < least && taken > 0 {
            return Err(format!("an outage of {} ms took {taken} ms of {had}", owing.most));
        }
        Ok(after)
    }

    fn loose_of(&self, username: &Username) -> Loose {
        if self.unsure.contains(username) { self.loose } else { Loose::default() }
    }

    /// The program died when the store knew of changes that the kernel never heard of.
    pub fn unheard(&mut self, ids: impl Iterator<Item = GateId>) {
        let names: Vec<Username> = ids.filter_map(|id| self.names.get(&id).cloned()).collect();
        self.unsure.extend(names);
    }

    /// Time passed in the kernel, until `now`.
    pub fn time_passed(&mut self, kernel: &Kernel, from: &Moment, now: &Moment) {
        for account in kernel.accounts().filter(|account| !account.devices.is_empty()) {
            let until = account.until.map_or(now.monotonic, |until| until.min(now.monotonic));
            let Some(purse) = self.names.get(&account.id).and_then(|name| self.purses.get_mut(name)) else { continue };
            purse.pass_time(until.since(from.monotonic).0, now.at);
        }
        if !self.unsure.is_empty() {
            self.loose.time += now.at - from.at;
        }
    }

    /// Bytes passed on an account.
    pub fn bytes_passed(&mut self, id: GateId, bytes: u64, at: u64) {
        let Some(name) = self.names.get(&id) else { return };
        if let Some(purse) = self.purses.get_mut(name) {
            purse.pass_bytes(bytes, at);
        }
        self.recent.entry(name.clone()).or_default().push_back((at, bytes));
        if self.unsure.contains(name) {
            self.loose.bytes += bytes;
        }
    }

    /// The kernel lets nothing more pass on an account: not before what was paid for first is used up.
    pub fn stopped(&mut self, id: GateId, by_data: bool, at: u64) {
        let Some(name) = self.names.get(&id).filter(|name| !self.unsure.contains(*name)) else { return };
        if let Some(left) = self.purses.get_mut(name).and_then(|purse| purse.stop(by_data, at)) {
            let what = if by_data { "data" } else { "time" };
            self.complain(format!("{}: it was stopped at its end of {what} with {left} left", name.clone()));
        }
    }

    /// Accounts of which store and kernel may know different things.
    pub fn unsure(&self) -> impl Iterator<Item = &Username> {
        self.unsure.iter()
    }

    /// The program did not run for so long: to an account that a power cut stopped, the outage lasts until that is written down.
    pub fn was_off(&mut self, store: &Store, off: u64, boot: &BootId) {
        for account in accounts(store) {
            if matches!(&account.clock, Clock::Running { boot: own, .. } if own != boot)
                && let Some(owing) = self.owing.get_mut(&account.username)
            {
                owing.most += off;
            }
        }
    }

    /// The program starts in the boot in which it died: what it cost either side that the kernel was not told is known, and over.
    pub fn program_starts(&mut self, store: &Store, kernel: &Kernel, now: &Moment) {
        for account in accounts(store) {
            if !self.unsure.contains(&account.username) {
                continue;
            }
            let purse = purse_of(account, store, kernel, now);
            if let Some(before) = self.purses.insert(account.username.clone(), purse.clone()) {
                let (time, bytes) = (before.time_left().abs_diff(purse.time_left()), before.data_left().abs_diff(purse.data_left()));
                if time > self.loose.time || bytes > self.loose.bytes {
                    self.complain(format!("{}: a crash turned {before:?} into {purse:?}; at most {:?}", account.username, self.loose));
                }
            }
        }
        self.loose = Loose::default();
    }

    /// The kernel has what the program wants.
    pub fn kernel_has_heard(&mut self) {
        self.unsure.clear();
        self.loose = Loose::default();
    }

    /// The power went: what was used and not written down, since that long ago, is forgotten, in the customers' favour.
    pub fn power_went(&mut self, store: &Store, kernel: &Kernel, unwritten: u64, time_goes_on: bool, now: &Moment) {
        let within = CHECKPOINT_EVERY.0 + unwritten;
        for account in accounts(store) {
            let purse = purse_of(account, store, kernel, now);
            let loose = self.loose_of(&account.username);
            let lately: u64 =
                self.recent.get(&account.username).into_iter().flatten().filter(|(t, _)| t + within >= now.at).map(|(_, b)| b).sum();
            let before = self.purses.insert(account.username.clone(), purse.clone()).unwrap_or_default();
            let (time, bytes) = (before.time_left(), before.data_left());
            let (time_now, bytes_now) = (purse.time_left(), purse.data_left());
            // What was over and not yet taken away has its rest again where it is forgotten that it was over.
            let lost = time_now + loose.time < time || bytes_now + loose.bytes < bytes;
            let forgotten = time_now.saturating_sub(time) > within + loose.time || bytes_now.saturating_sub(bytes) > lately + loose.bytes;
            if lost || forgotten {
                self.complain(format!(
                    "{}: the power cut turned {before:?} into {purse:?}; at most {within} ms and {lately} bytes may be forgotten ({loose:?})",
                    account.username
                ));
            }
            if time_goes_on && !account.online.is_empty() {
                let owing = self.owing.entry(account.username.clone()).or_default();
                owing.most += time_now.saturating_sub(time) + loose.time;
                owing.outages += 1;
                // What was bought before this one is its own to use up.
                owing.bought = 0;
            }
        }
        self.recent.clear();
        self.unsure.clear();
        self.loose = Loose::default();
    }

    /// Holds every account against what was paid for. `late`: since when the program runs, where it does.
    ///
    /// # Errors
    /// With what does not hold.
    pub fn check(&self, store: &Store, kernel: &Kernel, runs_since: Option<u64>, now: &Moment) -> Result<(), String> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone());
        }
        if let Some(stranger) = kernel.accounts().find(|in_force| accounts(store).all(|account| account.id != in_force.id)) {
            return Err(format!("{stranger:?} is in the gate, and in no record"));
        }
        for account in accounts(store) {
            let username = &account.username;
            let Some(purse) = self.purses.get(username) else { return Err(format!("{username}: nobody paid for it")) };
            let (loose, rules) = (self.loose_of(username), purse_of(account, store, kernel, now));
            if purse.free.time > loose.time || purse.free.bytes > loose.bytes {
                return Err(format!("{username}: {:?} of service that nobody paid for ({loose:?})", purse.free));
            }
            for (place, (ours, theirs)) in purse.pots.iter().zip(&rules.pots).enumerate() {
                let off = |a: Option<u64>, b: Option<u64>| a.unwrap_or(0).abs_diff(b.unwrap_or(0));
                let (time, data) = (off(ours.time_left(), theirs.time_left()), off(ours.data_left(), theirs.data_left()));
                if time > loose.time || data > loose.bytes {
                    return Err(format!("{username}: purchase {place} is {theirs:?}, and should be {ours:?} ({loose:?}); {account:?}"));
                }
            }
            let late = |since: u64| runs_since.is_some_and(|runs| now.at > since.max(runs) + CHECKPOINT_EVERY.0);
            let serves = kernel.accounts().any(|in_force| in_force.id == account.id);
            if let Some(since) = [purse.over_since, purse.stopped_since].into_iter().flatten().min().filter(|since| serves && late(*since))
            {
                return Err(format!("{username}: its first purchase was used up at {since}, and nobody noticed: {purse:?}"));
            }
            let most = account.purchases.front().map_or(0, |purchase| purchase.limits.devices);
            let devices = kernel.accounts().find(|in_force| in_force.id == account.id).map_or(0, |in_force| in_force.devices.len());
            if devices > usize::from(most) && runs_since.is_some() {
                return Err(format!("{username}: {devices} devices are online, of {most}"));
            }
            // Who is online on it, as the store has it, passes, and nobody else does.
            let in_force = kernel.accounts().find(|in_force| in_force.id == account.id);
            let passing: Vec<&Mac> = in_force.into_iter().flat_map(|in_force| in_force.devices.keys()).collect();
            if runs_since.is_some() && !account.online.keys().eq(passing.iter().copied()) {
                return Err(format!("{username}: {passing:?} pass on it, and {:?} are online", account.online));
            }
        }
        Ok(())
    }
}
