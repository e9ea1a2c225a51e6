//! The payment orders, and what must be found among them without a walk: those of a device, those that wait, and those that
//! have been kept long enough.
//!
//! An order can be changed in one place only, [`Orders::change`], which puts the indices right: no rule can forget to.

use super::KEEP_DEAD_ORDERS;
use crate::order::{Order, OrderState, PENDING_FOR};
use crate::time::Monotonic;
use crate::tree::{BTreeMap, BTreeSet};
use crate::units::{Mac, OrderId};

/// All orders.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    by_id: BTreeMap<OrderId, Order>,
    by_device: BTreeSet<(Mac, OrderId)>,
    /// When each pending order is given up.
    pending: BTreeSet<(Monotonic, OrderId)>,
    /// When each order of which nothing came is forgotten.
    dead: BTreeSet<(Monotonic, OrderId)>,
}

/// When a pending order is given up.
fn given_up(order: &Order) -> Option<Monotonic> {
    (order.state == OrderState::Pending).then(|| order.since.after(PENDING_FOR))
}

/// When an order of which nothing came is forgotten. Money is never forgotten.
fn forgotten(order: &Order) -> Option<Monotonic> {
    match order.state {
        OrderState::Failed { .. } | OrderState::Expired => Some(order.since.after(KEEP_DEAD_ORDERS)),
        OrderState::Pending | OrderState::Paid { .. } | OrderState::Unserved { .. } => None,
    }
}

fn due(set: &BTreeSet<(Monotonic, OrderId)>, at: Monotonic) -> Vec<OrderId> {
    set.iter().take_while(|(due, _)| *due <= at).map(|(_, id)| id.clone()).collect()
}

impl Orders {
    /// The order of that id.
    pub(super) fn get(&self, id: &OrderId) -> Option<&Order> {
        self.by_id.get(id)
    }

    /// All of them, by id.
    pub(super) fn values(&self) -> impl Iterator<Item = &Order> {
        self.by_id.values()
    }

    /// Those behind that one, by id.
    pub(super) fn after(&self, id: Option<&OrderId>) -> impl Iterator<Item = &Order> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_id.range::<OrderId, _>((id.map_or(Unbounded, Excluded), Unbounded)).map(|(_, order)| order)
    }

    /// Takes an order in, in place of the one of that id.
    pub(super) fn insert(&mut self, order: Order) {
        self.remove(&order.id.clone());
        self.by_device.insert((order.device, order.id.clone()));
        self.index(&order, true);
        self.by_id.insert(order.id.clone(), order);
    }

    /// Forgets an order.
    pub(super) fn remove(&mut self, id: &OrderId) {
        if let Some(order) = self.by_id.remove(id) {
            self.by_device.remove(&(order.device, order.id.clone()));
            self.index(&order, false);
        }
    }

    /// Changes an order. Gives back what `change` gives, or nothing where there is no such order.
    pub(super) fn change<T>(&mut self, id: &OrderId, change: impl FnOnce(&mut Order) -> T) -> Option<T> {
        let mut order = self.by_id.remove(id)?;
        self.index(&order, false);
        self.by_device.remove(&(order.device, order.id.clone()));
        let done = change(&mut order);
        self.insert(order);
        Some(done)
    }

    fn index(&mut self, order: &Order, there: bool) {
        for (set, at) in [(&mut self.pending, given_up(order)), (&mut self.dead, forgotten(order))] {
            let Some(at) = at else { continue };
            let key = (at, order.id.clone());
            if there {
                set.insert(key)
            } else {
                set.remove(&key)
            };
        }
    }

    /// A device's orders.
    pub(super) fn of_device(&self, device: Mac) -> impl Iterator<Item = &Order> {
        let mine = self.by_device.range((device, OrderId::before_all())..);
        mine.take_while(move |(mac, _)| *mac == device).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// How many wait.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// When the next pending one is given up.
    pub(super) fn next_given_up(&self) -> Option<Monotonic> {
        self.pending.first().map(|(at, _)| *at)
    }

    /// Pending orders that are to be given up at `at`.
    pub(super) fn to_give_up(&self, at: Monotonic) -> Vec<OrderId> {
        due(&self.pending, at)
    }

    /// Orders that are to be forgotten at `at`.
    pub(super) fn to_forget(&self, at: Monotonic) -> Vec<OrderId> {
        due(&self.dead, at)
    }

    /// Whether the indices are what a walk over all orders gives.
    #[cfg(test)]
    pub(super) fn assert_indexed(&self) {
        let all = || self.by_id.values();
        assert_eq!(self.by_device, all().map(|order| (order.device, order.id.clone())).collect());
        assert_eq!(self.pending, all().filter_map(|order| Some((given_up(order)?, order.id.clone()))).collect());
        assert_eq!(self.dead, all().filter_map(|order| Some((forgotten(order)?, order.id.clone()))).collect());
        for device in all().map(|order| order.device) {
            assert!(self.of_device(device).eq(all().filter(|order| order.device == device)));
        }
    }
}
