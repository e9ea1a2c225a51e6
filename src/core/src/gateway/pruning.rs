//! What is of no more use is forgotten after a while, so that the store does not grow for ever.
//!
//! A few things are looked at with each checkpoint, in a round that never ends. One that is of no more use gets the day on it;
//! one that is in use again loses it; one whose day is long enough ago is forgotten. So a single wrong look forgets nothing,
//! and what has money or time left, or waits for somebody, cannot be forgotten at all.

use super::Gateway;
use super::radius::is_remote;
use crate::ledger::{LedgerEntry, Unserved, Waited};
use crate::order::OrderState;
use crate::payer::Payer;
use crate::time::{Day, Now, Wall};
use crate::units::{Mac, OrderId, PackageId, Receipt, Shillings, Username};
use crate::voucher::{BatchId, VoucherHash, VoucherState};
use std::ops::Bound::{Excluded, Unbounded};

/// How long what is of no more use is kept, in days: a quarter's books, whenever in it they are asked for.
pub const KEPT_FOR_DAYS: u16 = 92;

/// So many things are looked at with each checkpoint.
const AT_ONCE: usize = 64;

/// Where the round is: the last thing that was looked at, of the kind that comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pruning {
    Accounts(Option<Username>),
    Devices(Option<Mac>),
    Orders(Option<OrderId>),
    Ledger(Option<Receipt>),
    Vouchers(Option<VoucherHash>),
    Batches(BatchId),
}

impl Default for Pruning {
    fn default() -> Self {
        Self::Accounts(None)
    }
}

/// What is to become of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    /// It stays, with this day on it from now on.
    Marked(Option<Day>),
    Forgotten,
}

fn fate(of_use: bool, idle_since: Option<Day>, today: Day) -> Fate {
    match idle_since {
        Some(_) if of_use => Fate::Marked(None),
        Some(day) if today.since(day) >= KEPT_FOR_DAYS => Fate::Forgotten,
        None if !of_use => Fate::Marked(Some(today)),
        Some(_) | None => Fate::Stays,
    }
}

impl Gateway {
    /// Looks at the next few things.
    pub(super) fn prune(&mut self, now: Now) {
        let Some(today) = self.sure_time(now).and_then(Day::of) else { return };
        self.pruning = match std::mem::take(&mut self.pruning) {
            Pruning::Accounts(last) => {
                self.prune_accounts(last.as_ref(), today, now).map_or(Pruning::Devices(None), |last| Pruning::Accounts(Some(last)))
            }
            Pruning::Devices(last) => self.prune_devices(last, today).map_or(Pruning::Orders(None), |last| Pruning::Devices(Some(last))),
            Pruning::Orders(last) => {
                self.prune_orders(last.as_ref(), today).map_or(Pruning::Ledger(None), |last| Pruning::Orders(Some(last)))
            }
            Pruning::Ledger(last) => {
                self.prune_ledger(last.as_ref(), today).map_or(Pruning::Vouchers(None), |last| Pruning::Ledger(Some(last)))
            }
            Pruning::Vouchers(last) => {
                self.prune_vouchers(last, today, now).map_or(Pruning::Batches(BatchId::FIRST), |last| Pruning::Vouchers(Some(last)))
            }
            Pruning::Batches(last) => self.prune_batches(last, today, now).map_or_else(Pruning::default, Pruning::Batches),
        };
    }

    /// A time that does not jump: the relay's, where there is one to come.
    fn sure_time(&self, now: Now) -> Option<Wall> {
        if self.settings.relay { self.link.relay_time(now.monotonic) } else { now.wall }
    }

    fn prune_accounts(&mut self, last: Option<&Username>, today: Day, now: Now) -> Option<Username> {
        let mut fates = Vec::new();
        for account in self.accounts.after(last).take(AT_ONCE) {
            // What a server let in, and did not come back after a power cut, is of no use to anybody else.
            let of_use = account.open(now.monotonic) && !is_remote(&account.username) || !account.online.is_empty();
            fates.push((account.username.clone(), fate(of_use, account.idle_since, today)));
        }
        let last = (fates.len() == AT_ONCE).then(|| fates.last().map(|(name, _)| name.clone())).flatten();
        for (name, fate) in fates {
            match fate {
                Fate::Stays => continue,
                Fate::Marked(day) => drop(self.accounts.change(&name, |account| account.idle_since = day)),
                Fate::Forgotten => {
                    self.accounts.remove(&name);
                    self.forget_waiting(&name);
                }
            }
            self.touch_account(&name);
        }
        last
    }

    /// A device is known for the account that it used last; one that is online, or goes online when it is seen, is of use.
    fn prune_devices(&mut self, last: Option<Mac>, today: Day) -> Option<Mac> {
        let mut fates = Vec::new();
        for device in self.devices.range((last.map_or(Unbounded, Excluded), Unbounded)).map(|(_, device)| device).take(AT_ONCE) {
            let of_use = device.waiting || self.account_online(device.mac).is_some();
            fates.push((device.mac, fate(of_use, device.idle_since, today)));
        }
        for (mac, fate) in &fates {
            match fate {
                Fate::Stays => continue,
                Fate::Marked(day) => self.devices.entry(*mac).and_modify(|device| device.idle_since = *day).key(),
                Fate::Forgotten => {
                    self.devices.remove(mac);
                    mac
                }
            };
            self.step.devices.insert(*mac);
        }
        fates.last().filter(|_| fates.len() == AT_ONCE).map(|(mac, _)| *mac)
    }

    /// Orders of which nothing came go after a day (`payments.rs`); what waits for the customer or the operator stays.
    fn prune_orders(&mut self, last: Option<&OrderId>, today: Day) -> Option<OrderId> {
        let mut fates = Vec::new();
        for order in self.orders.after(last).take(AT_ONCE) {
            let of_use = !matches!(order.state, OrderState::Paid { .. }) || self.outbox.request_for(&order.id).is_some();
            fates.push((order.id.clone(), fate(of_use, order.idle_since, today)));
        }
        for (id, fate) in &fates {
            match fate {
                Fate::Stays => continue,
                Fate::Marked(day) => drop(self.orders.change(id, |order| order.idle_since = *day)),
                Fate::Forgotten => self.orders.remove(id),
            }
            self.step.orders.insert(id.clone());
        }
        fates.last().filter(|_| fates.len() == AT_ONCE).map(|(id, _)| id.clone())
    }

    /// Money that nobody has is never forgotten.
    fn prune_ledger(&mut self, last: Option<&Receipt>, today: Day) -> Option<Receipt> {
        let mut fates = Vec::new();
        for entry in self.ledger.range::<Receipt, _>((last.map_or(Unbounded, Excluded), Unbounded)).map(|(_, entry)| entry).take(AT_ONCE) {
            fates.push((entry.receipt.clone(), entry.idle_since, fate(entry.account.is_none(), entry.idle_since, today)));
        }
        for (receipt, idle_since, fate) in &fates {
            match fate {
                Fate::Stays => continue,
                Fate::Marked(day) => drop(self.ledger.get_mut(receipt).map(|entry| entry.idle_since = *day)),
                Fate::Forgotten => {
                    self.ledger.remove(receipt);
                    self.counters.forgotten_until = self.counters.forgotten_until.max(*idle_since);
                    self.step.counters = true;
                }
            }
            self.step.ledger.insert(receipt.clone());
        }
        fates.last().filter(|_| fates.len() == AT_ONCE).map(|(receipt, ..)| receipt.clone())
    }

    fn prune_vouchers(&mut self, last: Option<VoucherHash>, today: Day, now: Now) -> Option<VoucherHash> {
        let mut fates = Vec::new();
        for voucher in self.vouchers.after(last).take(AT_ONCE) {
            let expires = self.vouchers.batch(voucher.batch).and_then(|batch| batch.expires);
            let of_use = voucher.state == VoucherState::Unused && !self.is_past(expires, now);
            fates.push((voucher.hash, fate(of_use, voucher.idle_since, today)));
        }
        for (hash, fate) in &fates {
            match fate {
                Fate::Stays => continue,
                Fate::Marked(day) => {
                    let marked = self.vouchers.get(hash).cloned().map(|voucher| crate::voucher::Voucher { idle_since: *day, ..voucher });
                    marked.into_iter().for_each(|voucher| self.vouchers.insert(voucher));
                }
                Fate::Forgotten => self.vouchers.remove(hash),
            }
            self.step.vouchers.insert(*hash);
        }
        fates.last().filter(|_| fates.len() == AT_ONCE).map(|(hash, _)| *hash)
    }

    /// A batch is kept as long as a message that brings it again could make vouchers of it that are good.
    fn prune_batches(&mut self, last: BatchId, today: Day, now: Now) -> Option<BatchId> {
        let mut fates = Vec::new();
        for batch in self.vouchers.batches_after(last).take(AT_ONCE) {
            let of_use = !self.vouchers.is_empty(batch.id) || !self.is_past(batch.expires, now);
            fates.push((batch.id, fate(of_use, batch.idle_since, today)));
        }
        for (id, fate) in &fates {
            match fate {
                Fate::Stays => continue,
                Fate::Marked(day) => {
                    let marked = self.vouchers.batch(*id).cloned().map(|batch| crate::voucher::Batch { idle_since: *day, ..batch });
                    marked.into_iter().for_each(|batch| self.vouchers.insert_batch(batch));
                }
                Fate::Forgotten => self.vouchers.remove_batch(*id),
            }
            self.step.batches.insert(*id);
        }
        fates.last().filter(|_| fates.len() == AT_ONCE).map(|(id, _)| *id)
    }

    /// Whether a receipt that is not in the ledger may be one that was forgotten: what the relay said in those days was
    /// served then, or it is so old that somebody has to look at it. The relay never says anything for so long without being
    /// heard; somebody who kept its messages might.
    pub(super) fn may_be_forgotten(&self, receipt: &Receipt, said_at: Wall) -> bool {
        let until = self.counters.forgotten_until;
        !self.ledger.contains_key(receipt) && until.is_some_and(|until| Day::of(said_at).is_none_or(|day| day <= until))
    }

    /// Money that may have been served already waits for the operator.
    pub(super) fn keep_for_the_operator(&mut self, told: Told, now: Now) {
        let Told { receipt, order, payer, package, amount, device } = told;
        self.log(format!("payment {order}: told again after {KEPT_FOR_DAYS} days or more, so it is not served; see `lango payments`"));
        let waited = Some(Box::new(Waited { why: Unserved::Forgotten, device, served_at: None, served_as: None }));
        let entry = LedgerEntry {
            receipt: receipt.clone(),
            order,
            phone: payer,
            package,
            amount,
            at: now.wall,
            account: None,
            purchase: None,
            waited,
            idle_since: None,
        };
        self.step.ledger.insert(receipt.clone());
        self.ledger.insert(receipt, entry);
    }
}

/// Money as the relay told of it.
pub(super) struct Told {
    pub(super) receipt: Receipt,
    pub(super) order: OrderId,
    pub(super) payer: Payer,
    pub(super) package: PackageId,
    pub(super) amount: Shillings,
    pub(super) device: Option<Mac>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_things() {
        let day = |n: u64| Day::of(Wall(n * 86_400_000)).unwrap();
        for (of_use, idle_since, today, expected) in [
            (true, None, 20_000, Fate::Stays),
            (false, None, 20_000, Fate::Marked(Some(day(20_000)))),
            (false, Some(20_000), 20_091, Fate::Stays),
            (false, Some(20_000), 20_092, Fate::Forgotten),
            (true, Some(20_000), 20_092, Fate::Marked(None)),
            // A clock that went back.
            (false, Some(20_000), 10_000, Fate::Stays),
        ] {
            assert_eq!(fate(of_use, idle_since.map(day), day(today)), expected, "{of_use} {idle_since:?} {today}");
        }
    }
}
