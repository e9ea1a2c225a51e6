//! The messages that the relay has not acknowledged, by their number, their id and the order that they ask for.

use crate::message::{Up, UpBody};
use crate::units::{MessageId, OrderId};
use std::collections::BTreeMap;

/// What waits to be acknowledged.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    by_seq: BTreeMap<u64, Up>,
    by_id: BTreeMap<MessageId, u64>,
    /// The request for each order: there is one at most, the one before is withdrawn first.
    requests: BTreeMap<OrderId, u64>,
}

const fn order_of(up: &Up) -> Option<&OrderId> {
    match &up.body {
        UpBody::PaymentRequest(request) => Some(&request.order),
        _ => None,
    }
}

impl Outbox {
    pub(super) fn get(&self, seq: u64) -> Option<&Up> {
        self.by_seq.get(&seq)
    }

    /// All of it, in the order in which it was made.
    pub(super) fn values(&self) -> impl Iterator<Item = &Up> {
        self.by_seq.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_seq.len()
    }

    pub(super) fn insert(&mut self, up: Up) {
        self.by_id.insert(up.id.clone(), up.seq);
        if let Some(order) = order_of(&up) {
            self.requests.insert(order.clone(), up.seq);
        }
        self.by_seq.insert(up.seq, up);
    }

    /// Takes a message out; gives back its number.
    pub(super) fn remove(&mut self, id: &MessageId) -> Option<u64> {
        let seq = self.by_id.remove(id)?;
        let up = self.by_seq.remove(&seq)?;
        if let Some(order) = order_of(&up).filter(|order| self.requests.get(order) == Some(&seq)) {
            self.requests.remove(order);
        }
        Some(seq)
    }

    /// The message that asks for an order.
    pub(super) fn request_for(&self, order: &OrderId) -> Option<&MessageId> {
        Some(&self.by_seq.get(self.requests.get(order)?)?.id)
    }

    /// Whether the indices are what a walk over all messages gives.
    #[cfg(test)]
    pub(super) fn assert_indexed(&self) {
        assert_eq!(self.by_id, self.by_seq.values().map(|up| (up.id.clone(), up.seq)).collect());
        assert_eq!(self.requests, self.by_seq.values().filter_map(|up| Some((order_of(up)?.clone(), up.seq))).collect());
    }
}
