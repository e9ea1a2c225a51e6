//! The effects of several steps, put together so that they cost one flash write and one kernel transaction.

use lango_core::gate::{GateChange, GateId};
use lango_core::message::Up;
use lango_core::radius::RadiusOrder;
use lango_core::record::Change;
use lango_core::request::{Answer, AskId};
use lango_core::step::Effect;
use lango_core::tree::BTreeMap;
use lango_core::units::{Mac, MessageId, OrderId};
use lango_core::update::Offer;
use std::net::IpAddr;

/// What several steps want done. All of their records become durable together, or none of the rest happens.
#[derive(Debug, Default)]
pub struct Batch {
    /// First: durable.
    pub persist: Vec<Change>,
    gate: BTreeMap<GateId, GateChange>,
    /// Third: read the counters.
    pub read_usage: bool,
    /// Then: ask whether devices are still there.
    pub probe: Vec<(Mac, IpAddr)>,
    /// Then: to RADIUS servers.
    pub radius: Vec<RadiusOrder>,
    /// Then: offers of updates, to be judged.
    pub updates: Vec<(MessageId, Offer)>,
    /// Then: to the relay.
    pub publish: Vec<Up>,
    /// Then: to the askers.
    pub replies: Vec<(AskId, Answer)>,
    /// Then: to those who watch payments.
    pub changed: Vec<OrderId>,
    /// Last: to the log.
    pub log: Vec<String>,
}

impl Batch {
    /// Adds the effects of the next step.
    pub fn add(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(changes) => self.persist.extend(changes),
                Effect::Gate(changes) => self.gate.extend(changes.into_iter().map(|change| {
                    // Each says how an account shall be afterwards: the last one holds.
                    let id = match &change {
                        GateChange::Set(account) => account.id,
                        GateChange::Remove(id) => *id,
                    };
                    (id, change)
                })),
                Effect::ReadUsage => self.read_usage = true,
                Effect::Probe { mac, address } => self.probe.push((mac, address)),
                Effect::Radius(order) => self.radius.push(order),
                Effect::Update(id, offer) => self.updates.push((id, offer)),
                Effect::Publish(up) => self.publish.push(up),
                Effect::Reply(ask, answer) => self.replies.push((ask, answer)),
                Effect::PaymentChanged(order) => self.changed.push(order),
                Effect::Log(line) => self.log.push(line),
            }
        }
    }

    /// Second: the kernel's changes, one an account.
    pub fn take_gate(&mut self) -> Vec<GateChange> {
        std::mem::take(&mut self.gate).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_an_account_holds() {
        let mut batch = Batch::default();
        let remove = |n| GateChange::Remove(GateId(n));
        batch.add(vec![Effect::Gate(vec![remove(2), remove(1)]), Effect::Log("a".to_owned())]);
        batch.add(vec![Effect::Gate(vec![remove(2)]), Effect::ReadUsage, Effect::Log("b".to_owned())]);
        assert_eq!(batch.take_gate(), [remove(1), remove(2)]);
        assert!(batch.read_usage);
        assert_eq!(batch.log, ["a", "b"]);
    }
}
