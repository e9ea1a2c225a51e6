//! What accounting servers are to be told yet, in its order.
//!
//! One thing of a device is on its way at a time, and of so many devices at once; what concerns the whole router goes alone. So a
//! server hears of each device's sessions in the order in which they were, and a slow one is not flooded.

use crate::radius::{AccountedSession, Accounting, AccountingEvent, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// On their way at once.
const WINDOW: usize = 32;

/// Kept at most. A server that is away for longer than that many sessions loses the oldest.
pub(super) const KEPT: usize = 4_096;

#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    told: BTreeMap<u64, Accounting>,
    flying: BTreeSet<u64>,
    /// What has arrived, and is still in the store: it is deleted with the next write that is due anyway.
    pub(super) arrived: BTreeSet<u64>,
    next: u64,
}

const fn session(event: &AccountingEvent) -> Option<&AccountedSession> {
    match event {
        AccountingEvent::On | AccountingEvent::Off { .. } => None,
        AccountingEvent::Start(session) | AccountingEvent::Interim(session) | AccountingEvent::Stop { session, .. } => Some(session),
    }
}

fn id(event: &AccountingEvent) -> Option<&SessionId> {
    session(event).map(|session| &session.id)
}

/// Whether it is kept in the store. An interim update is not: a later one, or the end, says all that it says.
pub(super) const fn is_kept(event: &AccountingEvent) -> bool {
    !matches!(event, AccountingEvent::Interim(_))
}

impl Queue {
    /// What the store holds.
    pub(super) fn load(&mut self, accounting: Accounting) {
        self.next = self.next.max(accounting.seq + 1);
        self.told.insert(accounting.seq, accounting);
    }

    /// No number below this is given from now on: those of an earlier run may still be on their way.
    pub(super) fn begin_at(&mut self, least: u64) {
        self.next = self.next.max(least);
    }

    pub(super) fn len(&self) -> usize {
        self.told.len()
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Accounting> {
        self.told.get(&seq)
    }

    /// Adds something, in the place of an older interim update, or of what there is no room for. Gives back its number, and what is
    /// to be deleted from the store.
    pub(super) fn push(&mut self, make: impl FnOnce(u64) -> Accounting) -> (u64, Vec<u64>) {
        let seq = self.next;
        self.next += 1;
        let new = make(seq);
        let needless =
            |(seq, told): &(&u64, &Accounting)| !is_kept(&told.event) && !self.flying.contains(seq) && id(&told.event) == id(&new.event);
        let mut gone: Vec<u64> = self.told.iter().filter(needless).map(|(seq, _)| *seq).collect();
        if self.told.len() >= KEPT + gone.len() {
            gone.extend(self.told.keys().find(|seq| !self.flying.contains(seq)).copied());
        }
        gone.retain(|seq| self.told.remove(seq).is_some_and(|told| is_kept(&told.event)));
        self.told.insert(seq, new);
        (seq, gone)
    }

    /// A server has it. Gives back whether it was in the store.
    pub(super) fn remove(&mut self, seq: u64) -> bool {
        self.flying.remove(&seq);
        let kept = self.told.remove(&seq).is_some_and(|told| is_kept(&told.event));
        if kept {
            self.arrived.insert(seq);
        }
        kept
    }

    /// Whoever sent it before is gone: all of it begins anew.
    pub(super) fn begin_anew(&mut self) {
        self.flying.clear();
    }

    /// What may go on its way now.
    pub(super) fn next_to_send(&mut self) -> Vec<Accounting> {
        let (mut busy, mut send) = (BTreeSet::new(), Vec::new());
        for (seq, told) in &self.told {
            if self.flying.len() >= WINDOW {
                break;
            }
            let flies = self.flying.contains(seq);
            match session(&told.event) {
                None => {
                    // It goes alone, and nothing overtakes it.
                    if !flies && self.flying.is_empty() {
                        self.flying.insert(*seq);
                        send.push(told.clone());
                    }
                    break;
                }
                Some(session) => {
                    if busy.insert(session.device) && !flies {
                        self.flying.insert(*seq);
                        send.push(told.clone());
                    }
                }
            }
        }
        send
    }
}
