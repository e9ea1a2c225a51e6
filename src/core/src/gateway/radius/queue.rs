//! What accounting servers are to be told yet, in its order.
//!
//! One thing of a device is on its way at a time, and of so many devices at once; what concerns the whole router goes alone. So a
//! server hears of each device's sessions in the order in which they were, and a slow one is not flooded.
//!
//! What servers refuse while they take others holds nothing up (docs/decisions/0031). A session's word stays and is tried now and then,
//! unless a later one says all that it says. The router's own word is passed by: first by one thing alone, which shows whether
//! servers are there at all; and only where they are, before and after, it is told no more. What is tried in vain for long, while
//! nothing else shows whether servers are there, is tried on, and neither keeps the router's own word from going nor is the only one to
//! go ahead of it: it may be of somebody whom servers never answer for.

use crate::radius::{AccountedSession, Accounting, AccountingEvent, SessionId};
use crate::time::Monotonic;
use crate::tree::{BTreeMap, BTreeSet};
use crate::units::{Millis, Username};

/// On their way at once.
const WINDOW: usize = 32;

/// Kept at most. A server that is away for longer than that many sessions loses the oldest.
pub(super) const KEPT: usize = 4_096;

/// What servers refused is tried again after so long; as soon as one of it is taken, all of it.
const REFUSED_AGAIN: Millis = Millis::from_minutes(30);

#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    told: BTreeMap<u64, Accounting>,
    flying: BTreeSet<u64>,
    /// What of that is on its way for long, and nothing else arrived meanwhile; and whether it holds up its own session alone.
    in_vain: BTreeMap<u64, bool>,
    /// What is told no more, and is still in the store: it is deleted with the next write that is due anyway.
    pub(super) stale: BTreeSet<u64>,
    /// When what was refused is tried again; what is not here, at once.
    again: BTreeMap<u64, Monotonic>,
    /// The router's own words that were refused.
    own: BTreeMap<u64, Own>,
    next: u64,
}

/// How it stands with a word of the router's own that was refused.
#[derive(Debug, Clone, Copy, Default)]
struct Own {
    /// Servers took something since it was refused first: they are there.
    shown: bool,
    /// Something behind it goes first, to show whether servers are there.
    passed: bool,
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

    /// How much of it servers refuse.
    pub(super) fn refused_len(&self) -> usize {
        self.told.values().filter(|told| told.refused).count()
    }

    /// Whether the end of a session of this user waits to be told.
    pub(super) fn has_an_end_of(&self, user: &Username) -> bool {
        self.told.values().any(|told| matches!(&told.event, AccountingEvent::Stop { session, .. } if session.user == *user))
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Accounting> {
        self.told.get(&seq)
    }

    /// Adds something, in the place of what it makes needless, or of what there is no room for: an older interim update, and a start that
    /// servers refuse. Gives back its number, and what is to be deleted from the store.
    pub(super) fn push(&mut self, make: impl FnOnce(u64) -> Accounting) -> (u64, Vec<u64>) {
        let seq = self.next;
        self.next += 1;
        let new = make(seq);
        let needless = |(seq, told): &(&u64, &Accounting)| {
            (told.refused || !is_kept(&told.event)) && !self.flying.contains(seq) && id(&told.event) == id(&new.event)
        };
        let mut gone: Vec<u64> = self.told.iter().filter(needless).map(|(seq, _)| *seq).collect();
        if self.told.len() >= KEPT + gone.len() {
            gone.extend(self.told.keys().find(|seq| !self.flying.contains(seq)).copied());
        }
        gone.retain(|seq| self.forget(*seq).is_some_and(|told| is_kept(&told.event)));
        self.told.insert(seq, new);
        (seq, gone)
    }

    /// It is on its way no more. Gives back whether it was.
    fn landed(&mut self, seq: u64) -> bool {
        self.in_vain.remove(&seq);
        self.flying.remove(&seq)
    }

    fn forget(&mut self, seq: u64) -> Option<Accounting> {
        self.landed(seq);
        self.again.remove(&seq);
        self.own.remove(&seq);
        self.told.remove(&seq)
    }

    /// The same, and it is to be deleted from the store some time.
    fn done_with(&mut self, seq: u64) -> Option<Accounting> {
        let told = self.forget(seq)?;
        if is_kept(&told.event) {
            self.stale.insert(seq);
        }
        Some(told)
    }

    /// A server has it. Gives back the router's own words that are told no more, because servers took this before and after them.
    pub(super) fn arrived(&mut self, seq: u64) -> Vec<AccountingEvent> {
        let Some(arrived) = self.done_with(seq) else { return Vec::new() };
        if arrived.refused {
            self.again.clear(); // what was wrong is mended
        }
        let passed: Vec<(u64, Own)> = self.own.iter().filter(|(_, own)| own.passed).map(|(seq, own)| (*seq, *own)).collect();
        let (over, back): (Vec<_>, Vec<_>) = passed.into_iter().partition(|(_, own)| own.shown);
        for (seq, _) in back {
            self.own.insert(seq, Own { shown: true, passed: false });
        }
        over.into_iter().filter_map(|(seq, _)| self.done_with(seq)).map(|told| told.event).collect()
    }

    /// Servers do not take it. Gives back its session where it stays, and is to be stored as refused.
    pub(super) fn refused(&mut self, seq: u64, now: Monotonic) -> Option<SessionId> {
        if !self.landed(seq) {
            return None;
        }
        let event = self.told.get(&seq)?.event.clone();
        let Some(session) = id(&event) else {
            self.own.entry(seq).or_default().passed = true;
            return None;
        };
        let later = self.told.range(seq + 1..).any(|(_, told)| id(&told.event) == Some(session));
        if later || !is_kept(&event) {
            self.done_with(seq); // a later one says all that it says
            return None;
        }
        self.again.insert(seq, now.after(REFUSED_AGAIN));
        let told = self.told.get_mut(&seq)?;
        (!std::mem::replace(&mut told.refused, true)).then(|| session.clone())
    }

    /// It is tried in vain for long, and is tried on; nothing else arrived meanwhile.
    pub(super) fn tried_in_vain(&mut self, seq: u64) {
        if self.flying.contains(&seq) {
            self.in_vain.insert(seq, false);
        }
    }

    /// Whether nothing is on its way but what is tried in vain.
    fn is_free(&self) -> bool {
        self.flying.len() == self.in_vain.len()
    }

    /// Whoever sent it before is gone: all of it begins anew.
    pub(super) fn begin_anew(&mut self) {
        self.flying.clear();
        self.in_vain.clear();
        self.again.clear();
        self.own.clear();
    }

    /// What may go on its way now, of all that was not refused.
    pub(super) fn next_to_send(&mut self) -> Vec<Accounting> {
        let send = self.look();
        let idle = send.is_empty() && self.is_free();
        if idle && self.own.values().any(|own| own.passed) {
            // Nothing is behind it that could go first.
            self.own.values_mut().for_each(|own| own.passed = false);
            return self.look();
        }
        send
    }

    fn look(&mut self) -> Vec<Accounting> {
        let (mut busy, mut held, mut send, mut alone) = (BTreeSet::new(), BTreeSet::new(), Vec::new(), false);
        // A word of the router's own waits: what is tried in vain takes no place.
        let waits = self.own_waits();
        // Of its session nothing else goes beside it.
        let tried = self.refused_flying().and_then(|told| id(&told.event)).cloned();
        for (seq, told) in &self.told {
            let flies = self.flying.contains(seq);
            match session(&told.event) {
                None if self.own.get(seq).is_some_and(|own| own.passed) => alone = true,
                None => {
                    // It goes alone, and nothing overtakes it.
                    if !flies && self.is_free() {
                        self.flying.insert(*seq);
                        send.push(told.clone());
                    }
                    break;
                }
                Some(_) if told.refused => {}
                Some(session) => {
                    // There may be no other device. From then on it stays so: others of it are on their way.
                    if let Some(passed) = self.in_vain.get_mut(seq) {
                        *passed |= waits;
                        if *passed {
                            held.insert(&session.id);
                            continue;
                        }
                    }
                    let beside = self.flying.len() - if waits { self.in_vain.len() } else { 0 };
                    if beside >= if alone { 1 } else { WINDOW } {
                        break;
                    }
                    let may_go = tried.as_ref() != Some(&session.id) && !held.contains(&session.id);
                    if may_go && busy.insert(session.device) && !flies {
                        self.flying.insert(*seq);
                        send.push(told.clone());
                    }
                }
            }
        }
        send
    }

    fn refused_flying(&self) -> Option<&Accounting> {
        self.flying.iter().filter_map(|seq| self.told.get(seq)).find(|told| told.refused)
    }

    /// Whether a word of the router's own is to be told.
    fn own_waits(&self) -> bool {
        self.told.values().any(|told| session(&told.event).is_none())
    }

    /// Whether what was refused waits for something else than the time.
    fn held_back(&self) -> bool {
        self.refused_flying().is_some() || self.own_waits()
    }

    /// The one thing of what was refused that is tried now, where accounting servers are told at all.
    pub(super) fn next_refused(&mut self, now: Monotonic, told_at_all: bool) -> Option<Accounting> {
        if !told_at_all {
            self.again.clear();
            return None;
        }
        if self.held_back() {
            return None;
        }
        let due = |(seq, told): &(&u64, &Accounting)| told.refused && self.again.get(seq).is_none_or(|at| *at <= now);
        let (seq, told) = self.told.iter().find(due)?;
        let (seq, told) = (*seq, told.clone());
        self.flying.insert(seq);
        Some(told)
    }

    /// When something of what was refused is tried again.
    pub(super) fn timeout(&self) -> Option<Monotonic> {
        let first = self.again.values().min().copied()?;
        (!self.held_back()).then_some(first)
    }
}
