//! What is told of sessions: each thing until a server has it, those of one session in their order.

use super::client::Pool;
use super::request::{self, Nas};
use super::server::{Blame, Silence};
use crate::retry::Retry;
use lango_core::radius::{Accounting, AccountingEvent, RadiusEvent, SessionId};
use lango_core::time::{BootId, Now};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// So much waits here at most. Beyond it the oldest still goes first, and what came last is left to its order being given again.
pub const WAITING: usize = 1024;

/// So many things, of as many sessions, are on their way at once.
const AT_ONCE: usize = 8;

/// So long all servers together are asked in one round.
const ROUND: Duration = Duration::from_secs(8);

/// What a thing is about: two of the same are not sent at once.
fn session(told: &Accounting) -> Option<&SessionId> {
    match &told.event {
        AccountingEvent::On | AccountingEvent::Off { .. } => None,
        AccountingEvent::Start(session) | AccountingEvent::Interim(session) | AccountingEvent::Stop { session, .. } => Some(&session.id),
    }
}

/// The things that wait, and those on their way.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Rc<Accounting>>,
    on_the_way: Vec<Rc<Accounting>>,
}

impl Queue {
    /// Takes a thing, unless it is here already or there is no room.
    fn put(&mut self, told: Accounting) {
        let known = self.on_the_way.iter().chain(&self.waiting).any(|known| known.seq == told.seq);
        if known || self.waiting.len() >= WAITING {
            return;
        }
        self.waiting.push_back(Rc::new(told));
    }

    /// The next that may go: none of a session of which something is on its way or waits before it; the router's own beginning
    /// and end by themselves.
    fn next(&mut self) -> Option<Rc<Accounting>> {
        if self.on_the_way.len() >= AT_ONCE || self.on_the_way.iter().any(|told| session(told).is_none()) {
            return None;
        }
        let mut before: Vec<&SessionId> = self.on_the_way.iter().filter_map(|told| session(told)).collect();
        let mut found = None;
        // Not the whole queue each time: with so many before it, a thing's turn comes.
        for (index, told) in self.waiting.iter().take(4 * AT_ONCE).enumerate() {
            match session(told) {
                None => {
                    found = (index == 0 && self.on_the_way.is_empty()).then_some(index);
                    break;
                }
                Some(id) if before.contains(&id) => {}
                Some(_) => {
                    found = Some(index);
                    break;
                }
            }
            before.extend(session(told));
        }
        let told = self.waiting.remove(found?)?;
        self.on_the_way.push(Rc::clone(&told));
        Some(told)
    }

    fn done(&mut self, seq: u64) {
        self.on_the_way.retain(|told| told.seq != seq);
    }
}

/// What the sending of accounting needs.
pub struct Teller {
    /// Who is told.
    pub pool: Pool,
    /// Who tells.
    pub nas: Rc<Nas>,
    /// This boot.
    pub boot: BootId,
    /// Where acknowledgements go.
    pub events: mpsc::Sender<RadiusEvent>,
}

/// Tells what comes, until nothing more can come.
pub async fn run(teller: Teller, mut orders: mpsc::UnboundedReceiver<Accounting>) {
    let teller = Rc::new(teller);
    let mut queue = Queue::default();
    let mut tasks: JoinSet<u64> = JoinSet::new();
    loop {
        while let Some(told) = queue.next() {
            tasks.spawn_local(tell(Rc::clone(&teller), told));
        }
        tokio::select! {
            order = orders.recv() => match order {
                Some(told) => queue.put(told),
                None => return,
            },
            Some(done) = tasks.join_next() => if let Ok(seq) = done {
                queue.done(seq);
                if teller.events.send(RadiusEvent::Accounted { seq }).await.is_err() {
                    return;
                }
            },
        }
    }
}

/// Tells one thing until a server has it. Each round is a packet of its own, for Acct-Delay-Time grows (RFC 5080 section 2.2.1).
async fn tell(teller: Rc<Teller>, told: Rc<Accounting>) -> u64 {
    let mut retry = Retry::of_a_connection();
    loop {
        let end = Instant::now() + ROUND;
        let asked = teller
            .pool
            .ask(end, Blame::Server, |sending| request::accounting(&teller.nas, &told, delay(&told, &teller.boot, sending.now), sending))
            .await;
        match asked {
            Ok(_) => return told.seq,
            Err(Silence::Unencodable(cause)) => {
                // No later try would be another: whoever holds it must not wait for it for ever.
                log::warn!("radius: accounting {} cannot be told: {cause}", told.seq);
                return told.seq;
            }
            Err(_) => sleep(retry.failed(Duration::ZERO, dice(told.seq))).await,
        }
    }
}

/// Spreads the waits of what waits for the same server.
fn dice(seq: u64) -> u16 {
    u16::try_from(seq.wrapping_mul(0x9e37_79b9) >> 8 & 0xffff).unwrap_or_default()
}

/// Seconds since it happened; by the wall clock where that was before this boot, and nothing where nobody knows.
fn delay(told: &Accounting, boot: &BootId, now: Now) -> Option<u32> {
    let milliseconds = if told.boot == *boot { now.monotonic.since(told.at).0 } else { now.wall?.0.saturating_sub(told.at_wall?.0) };
    Some(u32::try_from(milliseconds / 1_000).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::gate::Traffic;
    use lango_core::radius::AccountedSession;
    use lango_core::time::{Monotonic, Wall};
    use lango_core::units::Seconds;

    fn told(seq: u64, session: &str) -> Accounting {
        let event = match session {
            "" => AccountingEvent::On,
            _ => AccountingEvent::Interim(AccountedSession {
                id: SessionId(session.into()),
                user: "nemo".parse().unwrap(),
                device: "02:00:5e:10:00:0b".parse().unwrap(),
                addresses: vec![],
                class: vec![],
                remote: true,
                time: Seconds(0),
                traffic: Traffic::default(),
            }),
        };
        Accounting { seq, boot: BootId::from("this"), at: Monotonic(5_000), at_wall: None, event }
    }

    fn gone(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.next()).map(|told| told.seq).collect()
    }

    #[test]
    fn a_session_s_things_go_one_by_one_and_the_router_s_alone() {
        let mut queue = Queue::default();
        for (seq, session) in [(1, ""), (2, "a"), (3, "a"), (4, "b"), (5, ""), (6, "c")] {
            queue.put(told(seq, session));
        }
        queue.put(told(4, "b"));
        assert_eq!(gone(&mut queue), [1]);
        queue.done(1);
        assert_eq!(gone(&mut queue), [2, 4]);
        queue.done(4);
        assert_eq!(gone(&mut queue), [0; 0], "3 waits for 2, and 5 for both");
        queue.done(2);
        assert_eq!(gone(&mut queue), [3]);
        queue.done(3);
        assert_eq!(gone(&mut queue), [5]);
        queue.done(5);
        assert_eq!(gone(&mut queue), [6]);
    }

    #[test]
    fn it_is_bounded() {
        let mut queue = Queue::default();
        for seq in 0..5_000 {
            queue.put(told(seq, &seq.to_string()));
        }
        assert_eq!((queue.waiting.len(), gone(&mut queue).len()), (WAITING, AT_ONCE));
    }

    #[test]
    fn how_long_ago_it_was() {
        let now = |wall| Now { monotonic: Monotonic(65_900), wall };
        let (this, other) = (BootId::from("this"), BootId::from("other"));
        assert_eq!(delay(&told(1, "a"), &this, now(None)), Some(60));
        assert_eq!(delay(&told(1, "a"), &other, now(Some(Wall::EARLIEST))), None);
        let dated = Accounting { at_wall: Some(Wall(Wall::EARLIEST.0 + 1_000)), ..told(1, "a") };
        assert_eq!(delay(&dated, &other, now(Some(Wall(Wall::EARLIEST.0 + 91_000)))), Some(90));
        assert_eq!(delay(&dated, &other, now(Some(Wall::EARLIEST))), Some(0), "a clock that went back");
        assert_eq!(delay(&dated, &other, now(None)), None);
    }
}
