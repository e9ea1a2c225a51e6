//! Who is connected, how often, and who gives way where places are rare.

use super::Limits;
use super::socket::{Line, State};
use lango_core::tree::BTreeMap;
use lango_core::units::Mac;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Who has no more than so many is not cut off in the middle of an answer: whoever comes then waits, in the kernel's queue.
const FAIR: usize = 4;

/// Who has just come, and holds few places, is heard before anybody cuts it off.
const FRESH: Duration = Duration::from_secs(1);

/// Whose a connection is. A device has as many IPv6 addresses as it likes, so they all count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A device of the LAN.
    Device(Mac),
    /// An address that no device is known to have.
    Address(IpAddr),
}

/// All connections, by whichever door they came. Whoever has to go is none of them from that moment on: nobody waits for its place.
/// Where nobody can be asked to go, one waits for [`Self::room`].
#[derive(Debug, Clone)]
pub struct Crowd(Rc<Guests>);

#[derive(Debug)]
struct Guests {
    all: RefCell<BTreeMap<u64, Entry>>,
    next: Cell<u64>,
    emptied: Notify,
    left: Notify,
    most: usize,
    most_of_one: usize,
    most_secure: usize,
}

#[derive(Debug)]
struct Entry {
    who: Who,
    line: Rc<Line>,
    secure: bool,
}

/// A connection's entry, for as long as it is kept.
#[derive(Debug)]
pub struct Guest(Crowd, u64);

impl Crowd {
    /// With room for as many as `limits` say.
    pub fn new(limits: &Limits) -> Self {
        Self(Rc::new(Guests {
            all: RefCell::default(),
            next: Cell::new(0),
            emptied: Notify::new(),
            left: Notify::new(),
            most: limits.connections,
            most_of_one: limits.per_address,
            most_secure: limits.secure_connections,
        }))
    }

    /// Lets a connection in. Where its owner has as many as it may have, one of its own gives way ([`who_of_its_own`]); none is let in
    /// where each of these is being answered. Where all places are taken, or all of those over HTTPS for one of them, somebody gives way.
    pub fn enter(&self, who: Who, line: Rc<Line>, secure: bool) -> Option<Guest> {
        let mut all = self.0.all.borrow_mut();
        if all.values().filter(|other| other.who == who).count() >= self.0.most_of_one {
            let own = who_of_its_own(&all, who)?;
            cut(&mut all, own);
        }
        if secure && self.0.is_full_of_secure(&all) {
            make_room(&mut all, |other| other.secure);
        }
        if all.len() >= self.0.most {
            make_room(&mut all, |_| true);
        }
        let number = self.0.next.replace(self.0.next.get() + 1);
        all.insert(number, Entry { who, line, secure });
        Some(Guest(self.clone(), number))
    }

    /// Waits until there is a place for one more by that door, or somebody to give way. Those who are in the middle of an answer, and
    /// hold few places, keep theirs: a crowd of customers who all wait for a login server is no reason to cut one of them off.
    pub async fn room(&self, secure: bool) {
        loop {
            let left = self.0.left.notified();
            if self.0.has_room(secure) {
                return;
            }
            // Those who have just come grow old without a word.
            let _ = timeout(FRESH / 10, left).await;
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.all.borrow().len()
    }

    /// Whether more than half of the places are taken.
    pub fn is_half_full(&self) -> bool {
        self.len() > self.0.most - self.0.most / 2
    }

    /// Waits until nobody is there any more.
    pub async fn emptied(&self) {
        while self.len() > 0 {
            self.0.emptied.notified().await;
        }
    }
}

impl Guests {
    fn has_room(&self, secure: bool) -> bool {
        let all = self.all.borrow();
        (!secure || !self.is_full_of_secure(&all) || who_gives_way(&all, |other| other.secure).is_some())
            && (all.len() < self.most || who_gives_way(&all, |_| true).is_some())
    }

    fn is_full_of_secure(&self, all: &BTreeMap<u64, Entry>) -> bool {
        all.values().filter(|other| other.secure).count() >= self.most_secure
    }
}

/// Which of those connections goes for another one's sake: of whoever has the most of them, the one that is worth least
/// ([`super::socket::State`]), and of those the oldest. So nobody who takes many places keeps out who needs one. None where each of
/// them is being answered and nobody has more than a fair number.
fn who_gives_way(all: &BTreeMap<u64, Entry>, among: impl Fn(&Entry) -> bool) -> Option<u64> {
    let mut counts = BTreeMap::<Who, usize>::new();
    all.values().filter(|entry| among(entry)).for_each(|entry| *counts.entry(entry.who).or_default() += 1);
    let count = |entry: &Entry| counts.get(&entry.who).copied().unwrap_or_default();
    all.iter()
        .filter(|(_, entry)| among(entry) && (count(entry) > FAIR || may_be_cut(&entry.line)))
        .max_by_key(|(_, entry)| (count(entry), Reverse((entry.line.state(), entry.line.begun()))))
        .map(|(number, _)| *number)
}

/// Which connection of a device goes for a new one of the same device: one that has its last answer and is only not closed yet, for a
/// phone that asks for the next thing at once has done nothing wrong; else the oldest on which nothing of a request has arrived yet, as those are
/// that a browser keeps in stock; else the oldest stream of events, and then the oldest on which a request is arriving. Never one that is being answered.
fn who_of_its_own(all: &BTreeMap<u64, Entry>, who: Who) -> Option<u64> {
    let worth = |line: &Line| match line.state() {
        State::Leaving => Some(0),
        State::Agreeing | State::Waiting => Some(1),
        State::Streaming => Some(2),
        State::Arriving => Some(3),
        State::Answering => None,
    };
    let own = all.iter().filter(|(_, other)| other.who == who);
    own.filter_map(|(number, other)| Some(((worth(&other.line)?, other.line.begun()), *number))).min().map(|(_, number)| number)
}

fn may_be_cut(line: &Line) -> bool {
    match line.state() {
        State::Leaving | State::Streaming => true,
        State::Agreeing | State::Waiting | State::Arriving => line.begun().elapsed() >= FRESH,
        State::Answering => false,
    }
}

fn make_room(all: &mut BTreeMap<u64, Entry>, among: impl Fn(&Entry) -> bool) {
    if let Some(number) = who_gives_way(all, among) {
        cut(all, number);
    }
}

fn cut(all: &mut BTreeMap<u64, Entry>, number: u64) {
    if let Some(entry) = all.remove(&number) {
        entry.line.cut();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let guests = &self.0.0;
        let mut all = guests.all.borrow_mut();
        all.remove(&self.1);
        guests.left.notify_waiters();
        if all.is_empty() {
            guests.emptied.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const A: Who = Who::Device(Mac([2, 0, 0, 0, 0, 1]));
    const B: Who = Who::Device(Mac([2, 0, 0, 0, 0, 2]));
    const C: Who = Who::Address(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3)));

    const D: Who = Who::Device(Mac([2, 0, 0, 0, 0, 4]));

    fn crowd(connections: usize, per_address: usize, secure_connections: usize) -> Crowd {
        Crowd::new(&Limits { connections, per_address, secure_connections, ..Limits::default() })
    }

    fn line(state: State) -> Rc<Line> {
        let old = Instant::now() - FRESH;
        Rc::new(Line::new(old, old, state))
    }

    #[test]
    fn a_crowd_of_one_device_is_held_back_and_forgotten() {
        let crowd = crowd(9, 2, 9);
        let first = crowd.enter(A, line(State::Answering), false);
        let second = crowd.enter(A, line(State::Answering), true);
        assert!(first.is_some() && second.is_some() && crowd.enter(A, line(State::Waiting), false).is_none());
        assert!(crowd.enter(B, line(State::Waiting), false).is_some(), "a neighbour is not held back");
        drop(first);
        assert!(crowd.enter(A, line(State::Waiting), false).is_some());
        drop(second);
        assert!(crowd.0.all.borrow().is_empty());
    }

    #[test]
    fn a_device_s_own_idle_connection_gives_way_to_its_new_one() {
        use State::{Agreeing, Answering, Arriving, Leaving, Streaming, Waiting};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            // A device's connections in the order in which they began, and which of them is cut for its next one.
            for (states, gone) in [
                (&[Waiting, Waiting, Waiting][..], Some(0)),
                (&[Answering, Waiting, Waiting], Some(1)),
                (&[Waiting, Waiting, Leaving], Some(2)),
                (&[Streaming, Answering, Waiting], Some(2)),
                (&[Streaming, Waiting, Agreeing], Some(1)),
                (&[Agreeing, Waiting, Streaming], Some(0)),
                (&[Answering, Streaming, Streaming], Some(1)),
                (&[Arriving, Streaming, Waiting], Some(2)),
                (&[Arriving, Arriving, Streaming], Some(2)),
                (&[Answering, Arriving, Arriving], Some(1)),
                (&[Answering, Answering, Answering], None),
            ] {
                let crowd = crowd(9, states.len(), 9);
                let neighbour = line(Waiting);
                let _neighbour = crowd.enter(B, neighbour.clone(), false).unwrap();
                let inside: Vec<_> = (0..)
                    .zip(states)
                    .map(|(second, state)| {
                        let begun = Instant::now() - Duration::from_secs(9) + Duration::from_secs(second);
                        let line = Rc::new(Line::new(begun, begun, *state));
                        (crowd.enter(A, line.clone(), false).unwrap(), line)
                    })
                    .collect();
                let more = crowd.enter(A, line(Waiting), false);
                assert_eq!((more.is_some(), crowd.len()), (gone.is_some(), states.len() + 1), "{states:?}: its place is free at once");
                for (index, (_, line)) in inside.iter().enumerate() {
                    let cut = timeout(Duration::ZERO, line.cutting()).await.is_ok();
                    assert_eq!(cut, gone == Some(index), "{states:?}: {index}");
                }
                assert!(timeout(Duration::ZERO, neighbour.cutting()).await.is_err(), "a neighbour's are none of its own");
            }
        });
    }

    #[test]
    fn who_has_most_gives_way_first() {
        use State::{Agreeing, Answering, Arriving, Leaving, Streaming, Waiting};
        // Connections in the order in which they came, which of them is cut for one more, and which for one more over HTTPS.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for (guests, gone, gone_of_secure) in [
                (&[(A, Waiting, false), (B, Waiting, true), (B, Waiting, false)][..], 1, 1),
                (&[(A, Leaving, true), (B, Answering, false), (B, Streaming, false), (C, Waiting, false)], 2, 0),
                (&[(A, Answering, true), (B, Waiting, true), (C, Leaving, false)], 2, 1),
                (&[(A, Answering, false), (B, Streaming, true), (C, Waiting, false)], 2, 1),
                (&[(A, Waiting, true), (B, Waiting, true), (C, Waiting, false)], 0, 0),
                (&[(A, Answering, false), (A, Answering, false), (B, Waiting, true)], 2, 2),
                (&[(A, Leaving, true), (B, Agreeing, true), (C, Waiting, false)], 1, 1),
                (&[(A, Arriving, true), (B, Streaming, false), (C, Waiting, true)], 2, 2),
            ] {
                let secure = guests.iter().filter(|(_, _, secure)| *secure).count();
                for (more_secure, cut) in [(false, gone), (true, gone_of_secure)] {
                    let crowd = crowd(if more_secure { 99 } else { guests.len() }, 9, if more_secure { secure } else { 99 });
                    let mut inside = Vec::new();
                    for (second, (who, state, secure)) in (0..).zip(guests) {
                        let begun = Instant::now() - Duration::from_secs(9) + Duration::from_secs(second);
                        let line = Rc::new(Line::new(begun, begun, *state));
                        inside.push((crowd.enter(*who, line.clone(), *secure).unwrap(), line));
                    }
                    let one_more = crowd.enter(D, line(State::Waiting), more_secure);
                    assert!(one_more.is_some() && crowd.len() == guests.len(), "its place is free at once");
                    let mut gone = Vec::new();
                    for (index, (_, line)) in inside.iter().enumerate() {
                        if timeout(Duration::ZERO, line.cutting()).await.is_ok() {
                            gone.push(index);
                        }
                    }
                    assert_eq!(gone, [cut], "{guests:?}");
                    drop((inside, one_more));
                    timeout(Duration::from_secs(9), crowd.emptied()).await.expect("nobody is left");
                }
            }
        });
    }

    #[test]
    fn nobody_who_is_being_answered_is_cut_off_for_one_more_who_waits_instead() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let crowd = crowd(6, 9, 9);
            let lines = [A, A, B, B, C, D].map(|who| {
                let line = line(State::Answering);
                (crowd.enter(who, line.clone(), false).unwrap(), line)
            });
            assert!(timeout(Duration::ZERO, crowd.room(false)).await.is_err(), "each is in the middle of something");
            lines[3].1.is_now(State::Waiting);
            assert!(timeout(Duration::ZERO, crowd.room(false)).await.is_ok());
            lines[3].1.is_now(State::Answering);
            let fresh = Rc::new(Line::new(Instant::now(), Instant::now(), State::Waiting));
            assert!(!may_be_cut(&fresh), "it has not even been heard");
            let waits = crowd.room(false);
            let [.., (last, _)] = lines;
            let ends = async {
                tokio::task::yield_now().await;
                drop(last);
            };
            timeout(Duration::from_secs(9), async { tokio::join!(waits, ends) }).await.expect("a place is free");
        });
    }

    #[test]
    fn who_holds_more_than_a_fair_number_is_cut_off_whatever_it_does() {
        let crowd = crowd(6, 9, 9);
        let line = line(State::Answering);
        let inside: Vec<_> = [A, A, A, A, A, B].map(|who| crowd.enter(who, line.clone(), false).unwrap()).into();
        let more = crowd.enter(C, line.clone(), false);
        assert!(more.is_some() && crowd.len() == inside.len());
    }
}
