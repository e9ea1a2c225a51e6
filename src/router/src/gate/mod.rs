//! The kernel gate: our own nftables table, which lets paid devices pass until their time or data ends, all by itself.
//!
//! `names`, `set`, `nft`, `answer`, `rule`, `ruleset`, `view`, `plan` and `offload` are pure; `kernel`, `transaction`, `table`, `events`,
//! `garden`, `speeds` and `conntrack` speak with the kernel.
//! What the table looks like and what it does is in docs/gate.md.

pub mod answer;
pub mod conntrack;
pub mod events;
mod garden;
mod kernel;
pub mod learn;
mod names;
mod nft;
pub mod offload;
mod plan;
mod rule;
mod ruleset;
mod set;
mod speeds;
mod table;
mod transaction;
mod view;

pub use conntrack::{Cleaning, Purged};
pub use events::{GateEvent, GateEvents};
pub use garden::dnsmasq_line;
pub use learn::{Sender, Senders};
pub use offload::SWITCH_OFFLOAD_OFF;
pub use ruleset::{GateConfig, Whole};
pub use set::Set;

use crate::clock;
use crate::netlink::socket::NetlinkError;
use conntrack::{Departed, holders};
use kernel::Kernel;
use lango_core::few::FewSet;
use lango_core::gate::{GateAccount, GateChange, GateId, Traffic, Usage};
use lango_core::request::FlowOffload;
use lango_core::time::Monotonic;
use lango_core::tree::{BTreeMap, BTreeSet};
use lango_core::units::{Bytes, Mac, Millis};
use names::{CounterName, Direction};
use nft::delete_table;
use nix::errno::Errno;
use plan::{Facts, UNLIMITED};
use set::Key;
use speeds::Speeds;
use std::net::IpAddr;
use table::{Table, ways};
use view::View;

/// How long objects stay after their account went, so that their last counts are in the store before they are gone.
const KEEP_COUNTS_FOR: Millis = Millis::from_seconds(60);

/// Why the gate could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// No right to change the firewall.
    #[error("no permission to change the firewall: run lango as root, or give it CAP_NET_ADMIN")]
    NotPermitted,
    /// Our table is not in the kernel, or is another version's.
    #[error("the table inet lango is not in the kernel as this program made it; the accounts must be put in anew")]
    TableGone,
    /// The kernel has no nftables, or lacks a part that we need.
    #[error("cannot {doing}: {source}; the kernel needs nftables with quota, counter, reject, NAT and redirect")]
    Kernel {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: NetlinkError,
    },
}

fn cannot(doing: &'static str) -> impl Fn(NetlinkError) -> GateError {
    move |source| {
        if source.is(Errno::EPERM) { GateError::NotPermitted } else { GateError::Kernel { doing, source } }
    }
}

/// An account as the kernel has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// When its devices stop passing; of several ends the first.
    pub until: Option<Monotonic>,
    /// The running total at which they stop passing.
    pub data_end: Option<Bytes>,
    /// Its devices.
    pub devices: FewSet<Mac>,
    /// Addresses of its devices.
    pub addresses: FewSet<IpAddr>,
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    kernel: Kernel,
    speeds: Speeds,
    table: Table,
    /// Whether the rules mark packets with classes.
    marked: bool,
    view: View,
    /// The walled garden as last known, and when each address ends.
    garden: BTreeMap<IpAddr, Option<Monotonic>>,
    /// Accounts that left something in the kernel, and since when.
    left: BTreeMap<GateId, Monotonic>,
    /// Who left the gate, and has tracked connections still.
    departed: Departed,
}

impl Gate {
    /// Connects, in the network namespace of the calling thread. Puts our table in where there is none, and our rules
    /// where they are others; accounts that are in it stay untouched. A table of another version's layout is left in
    /// force until [`Gate::reconcile`] replaces it, accounts and all, in one transaction.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(config: GateConfig) -> Result<Self, GateError> {
        let mut kernel = Kernel::connect().map_err(cannot("connect to the firewall"))?;
        let speeds = Speeds::connect(&config).map_err(cannot("connect to the interfaces' queues"))?;
        let (table, marked) = Self::look(&mut kernel, &config)?;
        let mut gate = Self {
            config,
            kernel,
            speeds,
            table,
            marked,
            view: View::default(),
            garden: BTreeMap::new(),
            left: BTreeMap::new(),
            departed: Departed::default(),
        };
        if table == Table::Foreign {
            // The maps have the same names in every version. A phone that sleeps, which the kernel's neighbours have forgotten, keeps the addresses
            // by which answers find it; and who had one comes before who takes it now.
            for (key, counter) in gate.kernel.known_addresses() {
                gate.view.insert_count(key, counter);
            }
        } else {
            gate.install()?;
            gate.rules_are_in_place();
            gate.refresh()?;
        }
        Ok(gate)
    }

    /// Reads everything anew.
    fn refresh(&mut self) -> Result<Facts, GateError> {
        let accounts = self.kernel.accounts().map_err(cannot("read the accounts"))?;
        self.garden = self.kernel.garden().map_err(cannot("read the walled garden"))?;
        // What was known goes first: the new maps take its place in memory. Beside it, they would leave holes as large as it was.
        self.view = View::default();
        self.view = accounts.view();
        self.speeds.adopt(&self.view);
        let in_force =
            |quota: &&answer::QuotaState| quota.hit && self.view.quota_in_force(quota.name.id).is_some_and(|(name, _)| name == quota.name);
        let hit = accounts.quotas.iter().filter(in_force).map(|quota| quota.name.id).collect();
        Ok(Facts { hit, counted: accounts.counted.iter().copied().collect(), ..Facts::default() })
    }

    /// The accounts that the kernel has, as last known.
    #[must_use]
    pub fn installed(&self) -> BTreeMap<GateId, Installed> {
        let mut accounts: BTreeMap<GateId, Installed> = BTreeMap::new();
        for (key, pass) in &self.view.passes {
            let Some(quota) = pass.quota else { continue };
            let account = accounts.entry(quota.id).or_default();
            account.until = match (account.until, pass.end.at()) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            let limit = self.view.quotas.get(&quota).copied().unwrap_or(UNLIMITED);
            account.data_end = (limit != UNLIMITED).then_some(Bytes(limit));
            match key {
                Key::Mac(mac) => account.devices.insert(*mac),
                Key::Address(address) => account.addresses.insert(*address),
                Key::Pair(..) => false, // both are told by themselves
            };
        }
        accounts
    }

    /// The addresses by which the kernel lets devices be reached, as last known: what a daemon that starts again can learn
    /// about devices that sleep.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Mac, IpAddr)> {
        let known = self.view.counts.iter().filter_map(|(key, counter)| match key {
            Key::Address(address) => counter.map(|counter| (counter.mac, *address)),
            Key::Mac(_) | Key::Pair(..) => None,
        });
        known.collect()
    }

    /// What the kernel counted, of every account that has anything there: running totals.
    ///
    /// # Errors
    /// When the kernel refuses, or our table is gone.
    pub fn usage(&mut self) -> Result<Vec<Usage>, GateError> {
        let counted = self.kernel.counters().map_err(cannot("read the counters"))?;
        self.sweep(clock::monotonic());
        self.speeds.look_after();
        Ok(usage(counted))
    }

    /// The accounts whose data limit is reached.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn depleted(&mut self) -> Result<BTreeSet<GateId>, GateError> {
        let quotas = self.kernel.quotas().map_err(cannot("read the quotas"))?;
        let in_force: BTreeMap<_, _> = quotas.iter().map(|quota| (quota.name.id, quota.hit)).collect();
        Ok(in_force.into_iter().filter_map(|(id, hit)| hit.then_some(id)).collect())
    }

    /// Flow offload, by which connections pass by all chains: nothing where there is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn flow_offload(&mut self) -> Result<Option<FlowOffload>, GateError> {
        let flowtables = self.kernel.flowtables().map_err(cannot("look for flow offload"))?;
        Ok((!flowtables.is_empty()).then(|| FlowOffload {
            flowtables: flowtables.iter().map(ToString::to_string).collect(),
            devices: flowtables.iter().flat_map(|flowtable| flowtable.devices.iter().cloned()).collect(),
            hardware: flowtables.iter().any(|flowtable| flowtable.hardware),
            customers_kept_out: self.config.whole != Whole::No,
        }))
    }

    /// Flow offload came: connections that began while our rules were not in place may be put on it by their next packet.
    /// They are looked for a few seconds later.
    pub fn flow_offload_came(&mut self, now: Monotonic) {
        self.departed.offload_came(now);
    }

    /// Makes these changes, in one transaction. Gives back the last counts of devices that went.
    ///
    /// The counters themselves stay for a minute, so that a crash before the counts are stored loses none:
    /// [`Gate::usage`] tells them again until then.
    ///
    /// # Errors
    /// When the kernel refuses; nothing is changed then. [`GateError::TableGone`]: call [`Gate::reconcile`].
    pub fn apply(&mut self, changes: &[GateChange], now: Monotonic) -> Result<Vec<Usage>, GateError> {
        if self.table == Table::Foreign || self.table == Table::Missing {
            return Err(GateError::TableGone);
        }
        // Of several changes of one account the last counts, and stands where the last one stood.
        let mut targets: Vec<(GateId, Option<&GateAccount>)> = Vec::with_capacity(changes.len());
        let mut seen = BTreeSet::new();
        for change in changes.iter().rev() {
            let (id, account) = match change {
                GateChange::Set(account) => (account.id, Some(account)),
                GateChange::Remove(id) => (*id, None),
            };
            if seen.insert(id) {
                targets.push((id, account));
            }
        }
        targets.reverse();
        let mut facts = self.facts(&targets)?;
        let touched = self.speeds.want(targets.iter().copied(), now);
        facts.classes = self.speeds.classes(targets.iter().map(|(id, _)| *id));
        let before = holders(&self.view, &targets);
        let carried_out = self.carry_out(&targets, BTreeSet::new(), &mut facts, now);
        // Of what failed, a part may have been done.
        self.departed.note(&before, &self.view, now);
        carried_out?;
        self.speeds.settle(&touched);
        let ids: Vec<GateId> = targets.iter().map(|(id, _)| *id).collect();
        let mut counted = Vec::new();
        for name in ids.iter().flat_map(|id| self.view.left_counters(*id)).collect::<Vec<_>>() {
            if let Some(bytes) = self.kernel.counter(name).map_err(cannot("read a counter"))? {
                counted.push((name, bytes));
            }
        }
        self.note_left(ids, now);
        self.sweep(now);
        Ok(usage(counted))
    }

    /// What must be known of the kernel's objects before these targets can be planned.
    fn facts(&mut self, targets: &plan::Targets<'_>) -> Result<Facts, GateError> {
        let mut facts = Facts::default();
        for account in targets.iter().filter_map(|(_, account)| *account) {
            let wanted = account.data_end.map_or(UNLIMITED, |end| end.0.min(UNLIMITED));
            match self.view.quota_in_force(account.id) {
                Some((_, installed)) if wanted <= installed => continue,
                Some((name, _)) => {
                    // Asked just before the change; a quota that is hit in the microseconds between keeps on counting what
                    // it refused then, to the customer's loss of those packets.
                    let quota = self.kernel.quota(name).map_err(cannot("read a quota"))?;
                    if quota.is_some_and(|quota| !quota.hit) {
                        continue;
                    }
                    facts.hit.insert(account.id);
                }
                None => {}
            }
            for name in self.view.counters_of(account.id).collect::<Vec<_>>() {
                if let Some(bytes) = self.kernel.counter(name).map_err(cannot("read a counter"))? {
                    facts.counted.insert(name, bytes);
                }
            }
        }
        Ok(facts)
    }

    /// Makes the kernel have exactly these accounts: the difference only, in one transaction or a few large ones, with our table
    /// put back where it is gone. What is as it should be is not touched, so that no packet is lost and counters go on. Gives
    /// back the last counts of accounts and devices that went.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn reconcile(&mut self, desired: &[GateAccount], now: Monotonic) -> Result<Vec<Usage>, GateError> {
        (self.table, self.marked) = Self::look(&mut self.kernel, &self.config)?;
        let mut facts = match self.table {
            Table::Ours { .. } => self.refresh()?,
            Table::Foreign => {
                // The names of objects are the same in every version; what it counted is taken over into new ones.
                self.view = View::default();
                // So are the garden's sets; a version that had none has nothing to take over.
                self.garden = self.kernel.garden().unwrap_or_default();
                let counted = self.kernel.counters().map_err(cannot("read the counters"))?;
                Facts { counted: counted.into_iter().collect(), ..Facts::default() }
            }
            Table::Missing => {
                self.view = View::default();
                Facts::default()
            }
        };
        let wanted: BTreeMap<GateId, &GateAccount> = desired.iter().map(|account| (account.id, account)).collect();
        let mut ids = self.view.accounts();
        ids.extend(wanted.keys());
        let targets: Vec<_> = ids.iter().map(|id| (*id, wanted.get(id).copied())).collect();
        let keys = self.view.all_keys();
        self.speeds.want(targets.iter().copied(), now);
        facts.classes = self.speeds.classes(targets.iter().map(|(id, _)| *id));
        let preparation = self.preparation();
        let held = holders(&self.view, &targets);
        if !preparation.is_empty() && !matches!(self.table, Table::Ours { .. }) {
            // The rules are not there before the accounts: connections would be reset in between.
            let wanted = self.config.clone();
            let mut done = Ok(());
            // It is made for the first way.
            let mut preparation = Some(preparation);
            for (learn, whole) in ways(&wanted) {
                (self.config.learn, self.config.whole) = (learn, whole);
                let preparation = preparation.take().unwrap_or_else(|| self.preparation());
                done = self.carry_out_prepared(preparation, &targets, keys.clone(), &mut facts, now);
                if done.is_ok() {
                    self.say_what_is_lacking(&wanted);
                    break;
                }
            }
            if done.is_err() {
                self.config = wanted;
            }
            done?;
            self.rules_are_in_place();
        } else {
            self.kernel.transact(preparation.into_requests().iter()).map_err(|r| cannot("install the rules")(r.error))?;
            self.rules_are_in_place();
            self.carry_out(&targets, keys, &mut facts, now)?;
        }
        self.departed.note(&held, &self.view, now);
        self.departed.reconciled();
        self.speeds.settle_all();
        let left: BTreeSet<_> = ids.iter().flat_map(|id| self.view.left_counters(*id)).collect();
        let mut counted = if left.is_empty() { Vec::new() } else { self.kernel.counters().map_err(cannot("read the counters"))? };
        counted.retain(|(name, _)| left.contains(name));
        // What a table of another version counted for devices that went is told here, for the last time.
        counted.extend(facts.counted.into_iter().filter(|(name, _)| !self.view.counters.contains(name)));
        self.note_left(ids, now);
        Ok(usage(counted))
    }

    /// Takes our table out of the kernel, and all that is in it, and the classes that hold speeds. It is no error when there
    /// is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn flush(&mut self) -> Result<(), GateError> {
        delete(&mut self.kernel)?;
        self.speeds.flush().map_err(cannot("remove the speeds"))
    }

    fn note_left(&mut self, ids: impl IntoIterator<Item = GateId>, now: Monotonic) {
        for id in ids {
            if self.view.left_counters(id).next().is_some() || self.view.left_quotas(id).next().is_some() {
                self.left.insert(id, now);
            } else {
                self.left.remove(&id);
            }
        }
    }
}

/// Takes our table out of the kernel where it is there, and the classes that hold speeds, without touching anything else.
///
/// # Errors
/// When the kernel refuses.
pub fn flush() -> Result<(), GateError> {
    delete(&mut Kernel::connect().map_err(cannot("connect to the firewall"))?)?;
    speeds::flush().map_err(cannot("remove the speeds"))
}

fn delete(kernel: &mut Kernel) -> Result<(), GateError> {
    match kernel.transact([delete_table()].iter()) {
        Err(refused) if !refused.error.is(Errno::ENOENT) => Err(cannot("delete our table")(refused.error)),
        _ => Ok(()),
    }
}

/// Counters, put together by account and device.
fn usage(counted: Vec<(CounterName, u64)>) -> Vec<Usage> {
    let mut totals: BTreeMap<(GateId, Mac), Traffic> = BTreeMap::new();
    for (name, bytes) in counted {
        let traffic = totals.entry((name.id, name.mac)).or_default();
        match name.direction {
            Direction::Up => traffic.up = Bytes(bytes),
            Direction::Down => traffic.down = Bytes(bytes),
        }
    }
    totals.into_iter().map(|((id, mac), traffic)| Usage { id, mac, traffic }).collect()
}
