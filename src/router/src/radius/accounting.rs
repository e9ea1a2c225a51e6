//! What is told of sessions: each thing until a server has it.
//!
//! The order is the rules': of one device they give nothing before they hear that the last thing arrived, or is long in vain, and what
//! concerns the whole router alone. So what is here at once may go at once.

use super::client::Pool;
use super::request::{self, Nas};
use super::server::{Blame, Silence};
use crate::retry::Retry;
use lango_core::radius::{Accounting, AccountingEvent, RadiusEvent};
use lango_core::time::{BootId, Now};
use lango_core::tree::BTreeSet;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// So many things are on their way at once.
const AT_ONCE: usize = 8;

/// After so many rounds, each while other things were acknowledged, it is the thing that servers do not take (a row that cannot be
/// stored) and not the servers that are away: some five minutes. Nothing goes beside the router's own words, so of those each round
/// counts, and the rules find out which it was. Of all else they are told after as many rounds that it is tried in vain: it may be the
/// only thing that they have given, and its servers may never answer for it.
const REFUSED_AFTER: u32 = 10;

/// How long things are tried, and how often.
#[derive(Debug, Clone)]
struct Pace {
    /// So long all servers together are asked in one round.
    round: Duration,
    /// Between rounds.
    retry: Retry,
}

const PACE: Pace = Pace { round: Duration::from_secs(8), retry: Retry::of_a_connection() };

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

struct Work {
    teller: Teller,
    pace: Pace,
    room: Semaphore,
    /// How many things servers have acknowledged.
    acknowledged: Cell<u64>,
}

/// Whether servers do not take one thing, or are away: they are there where others are acknowledged.
#[derive(Debug)]
struct Doubt {
    acknowledged: u64,
    rounds: u32,
    /// All rounds that were in vain.
    in_vain: u32,
}

impl Doubt {
    const fn new(acknowledged: u64) -> Self {
        Self { acknowledged, rounds: 0, in_vain: 0 }
    }

    /// A round was in vain, in which it was alone or not, and so many things are acknowledged by now. Gives back whether the thing is
    /// refused.
    fn failed(&mut self, acknowledged: u64, alone: bool) -> bool {
        self.in_vain = self.in_vain.saturating_add(1);
        if alone || acknowledged != self.acknowledged {
            self.acknowledged = acknowledged;
            self.rounds = self.rounds.saturating_add(1);
        }
        self.rounds >= REFUSED_AFTER
    }
}

/// Tells what comes, until nothing more can come.
pub async fn run(teller: Teller, orders: mpsc::UnboundedReceiver<Accounting>) {
    run_at(PACE, teller, orders).await;
}

async fn run_at(pace: Pace, teller: Teller, mut orders: mpsc::UnboundedReceiver<Accounting>) {
    let events = teller.events.clone();
    let work = Rc::new(Work { teller, pace, room: Semaphore::new(AT_ONCE), acknowledged: Cell::new(0) });
    let mut here = BTreeSet::new();
    let mut tasks: JoinSet<(u64, RadiusEvent)> = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(told) => if here.insert(told.seq) {
                    tasks.spawn_local(tell(Rc::clone(&work), told));
                },
                None => return,
            },
            Some(done) = tasks.join_next() => if let Ok((seq, event)) = done {
                // Before the rules hear of it: they may give it again at once.
                here.remove(&seq);
                // Nobody takes it: the daemon stops.
                let _ = events.send(event).await;
            },
        }
    }
}

/// What became of a round.
enum Round {
    Acknowledged,
    InVain,
    /// No later one would be another.
    Impossible,
}

/// Tells one thing until a server has it, or plainly takes others and not this. Each round is a packet of its own, for
/// Acct-Delay-Time grows (RFC 5080 section 2.2.1).
async fn tell(work: Rc<Work>, told: Accounting) -> (u64, RadiusEvent) {
    let seq = told.seq;
    let alone = matches!(told.event, AccountingEvent::On | AccountingEvent::Off { .. });
    let mut retry = work.pace.retry.clone();
    let mut doubt = Doubt::new(work.acknowledged.get());
    loop {
        match work.round(&told, &doubt).await {
            Round::Acknowledged => return (seq, RadiusEvent::Accounted { seq }),
            Round::Impossible => break,
            Round::InVain if told.refused || doubt.failed(work.acknowledged.get(), alone) => break,
            Round::InVain => {
                if doubt.in_vain == REFUSED_AFTER {
                    // Nobody takes it: the daemon stops.
                    let _ = work.teller.events.send(RadiusEvent::InVain { seq }).await;
                }
                sleep(retry.failed(Duration::ZERO, dice(seq))).await;
            }
        }
    }
    if !told.refused {
        let (what, id) = in_words(&told.event);
        log::warn!("radius: servers do not take {what}{id}");
    }
    (seq, RadiusEvent::Refused { seq })
}

/// What it is, and of which session.
fn in_words(event: &AccountingEvent) -> (&'static str, &str) {
    match event {
        AccountingEvent::On => ("that the router begins (Accounting-On)", ""),
        AccountingEvent::Off { .. } => ("that the router ends (Accounting-Off)", ""),
        AccountingEvent::Start(session) => ("the start of session ", &session.id.0),
        AccountingEvent::Interim(session) => ("an interim update of session ", &session.id.0),
        AccountingEvent::Stop { session, .. } => ("the stop of session ", &session.id.0),
    }
}

impl Work {
    async fn round(&self, told: &Accounting, doubt: &Doubt) -> Round {
        let Ok(_room) = self.room.acquire().await else { return Round::InVain };
        let Teller { pool, nas, boot, .. } = &self.teller;
        let blame = if doubt.rounds == 0 && !told.refused { Blame::Server } else { Blame::Question };
        let end = Instant::now() + self.pace.round;
        match pool.ask(end, blame, |sending| request::accounting(nas, told, delay(told, boot, sending.now), sending)).await {
            Ok(_) => {
                self.acknowledged.set(self.acknowledged.get() + 1);
                Round::Acknowledged
            }
            Err(Silence::Unencodable(cause)) => {
                log::warn!("radius: accounting {} cannot be told: {cause}", told.seq);
                Round::Impossible
            }
            Err(_) => Round::InVain,
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
    use crate::radius::server::Server;
    use crate::radius::server::tests::{nas, server};
    use lango_core::gate::Traffic;
    use lango_core::radius::{AccountedSession, SessionId};
    use lango_core::time::{Monotonic, Wall};
    use lango_core::units::Seconds;
    use radius::core::code::Code;
    use radius::core::packet::Packet;

    fn told(seq: u64, session: &str) -> Accounting {
        let event = match session {
            "" => AccountingEvent::On,
            _ => AccountingEvent::Start(AccountedSession {
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
        Accounting { seq, boot: BootId::from("this"), at: Monotonic(5_000), at_wall: None, refused: false, event }
    }

    #[test]
    fn one_thing_is_refused_where_others_are_taken_round_after_round() {
        let mut doubt = Doubt::new(7);
        assert!((0..1_000).all(|_| !doubt.failed(7, false)), "the servers may be away");
        let refused: Vec<bool> = (8..18).map(|acknowledged| doubt.failed(acknowledged, false)).collect();
        assert_eq!(refused.iter().position(|refused| *refused), Some(9));
        assert!(doubt.failed(17, false), "and stays so");
        let mut own = Doubt::new(7);
        assert_eq!((0..20).position(|_| own.failed(7, true)), Some(9), "beside it nothing is taken");
    }

    /// A quick teller, and its server.
    struct Telling {
        server: Rc<Server>,
        packets: mpsc::Receiver<Vec<u8>>,
        orders: mpsc::UnboundedSender<Accounting>,
        done: mpsc::Receiver<RadiusEvent>,
        running: tokio::task::JoinHandle<()>,
    }

    impl Telling {
        fn begin() -> Self {
            let millis = Duration::from_millis;
            let pace = Pace { round: millis(50), retry: Retry::new(millis(1), millis(2), Duration::MAX) };
            let (server, packets) = server(false);
            let (events, done) = mpsc::channel(64);
            let teller = Teller { pool: Pool(vec![Rc::clone(&server)]), nas: Rc::new(nas()), boot: BootId::from("this"), events };
            let (orders, received) = mpsc::unbounded_channel();
            let running = tokio::task::spawn_local(run_at(pace, teller, received));
            Self { server, packets, orders, done, running }
        }
    }

    fn acknowledge(server: &Server, request: &[u8]) {
        let response = Packet::decode(request, b"secret").unwrap().make_response_packet(Code::AccountingResponse);
        server.received(&response.encode().unwrap(), None);
    }

    #[tokio::test]
    async fn what_a_server_never_acknowledges_is_refused_and_asked_once_when_it_is_given_again() {
        let work = async {
            let Telling { server, mut packets, orders, mut done, running } = Telling::begin();
            let acknowledge = |request: &[u8]| acknowledge(&server, request);
            // Twice: it is here already.
            orders.send(told(0, "bad")).unwrap();
            orders.send(told(0, "bad")).unwrap();
            let (mut rounds, mut accounted, mut refused) = (0, Vec::new(), Vec::new());
            while refused.is_empty() {
                tokio::select! {
                    request = packets.recv() => match request.unwrap() {
                        // Each time it is sent something else is told, too.
                        request if session_of(&request) == "bad" => {
                            rounds += 1;
                            orders.send(told(rounds, "good")).unwrap();
                        }
                        request => acknowledge(&request),
                    },
                    event = done.recv() => match event {
                        Some(RadiusEvent::Accounted { seq }) => accounted.push(seq),
                        Some(RadiusEvent::Refused { seq }) => refused.push(seq),
                        // It may be one round later that others were taken.
                        Some(RadiusEvent::InVain { seq: 0 }) => {}
                        other => panic!("{other:?}"),
                    },
                }
            }
            assert!(rounds >= u64::from(REFUSED_AFTER) && !accounted.contains(&0), "{rounds} {accounted:?}");
            assert_eq!(refused, [0]);
            assert!(server.is_up(), "others are acknowledged by it");
            // Given again as refused it is one round, whatever else is taken; and one that is taken is taken.
            for takes in [false, true] {
                orders.send(Accounting { refused: true, ..told(0, "bad") }).unwrap();
                let mut asked = 0;
                let event = loop {
                    tokio::select! {
                        request = packets.recv() => {
                            let request = request.unwrap();
                            if session_of(&request) != "bad" || takes {
                                acknowledge(&request);
                            }
                            asked += usize::from(session_of(&request) == "bad");
                        }
                        event = done.recv() => match event.unwrap() {
                            RadiusEvent::Accounted { seq } if seq != 0 => {}
                            event => break event,
                        },
                    }
                };
                assert_eq!(asked, 1);
                assert_eq!(event, if takes { RadiusEvent::Accounted { seq: 0 } } else { RadiusEvent::Refused { seq: 0 } });
            }
            running.abort();
        };
        tokio::task::LocalSet::new().run_until(work).await;
    }

    #[tokio::test]
    async fn the_only_thing_there_is_tried_on_and_the_rules_hear_that_it_is_in_vain() {
        let work = async {
            let Telling { server, mut packets, orders, mut done, running } = Telling::begin();
            let acknowledge = |request: &[u8]| acknowledge(&server, request);
            orders.send(told(0, "unknown")).unwrap();
            assert_eq!(done.recv().await, Some(RadiusEvent::InVain { seq: 0 }));
            // Something else goes beside it and is taken, while it is tried on.
            orders.send(told(1, "known")).unwrap();
            let (mut after, mut asked) = (Vec::new(), 0);
            while after.is_empty() || asked == 0 {
                tokio::select! {
                    request = packets.recv() => match request.unwrap() {
                        request if session_of(&request) == "known" => acknowledge(&request),
                        _ => asked += usize::from(!after.is_empty()),
                    },
                    event = done.recv() => after.push(event.unwrap()),
                }
            }
            assert_eq!(after, [RadiusEvent::Accounted { seq: 1 }]);
            // And a server that answers for it after all has it. It is told once that it is in vain.
            while after.len() < 2 {
                tokio::select! {
                    request = packets.recv() => acknowledge(&request.unwrap()),
                    event = done.recv() => after.push(event.unwrap()),
                }
            }
            assert_eq!(after[1], RadiusEvent::Accounted { seq: 0 });
            running.abort();
        };
        tokio::task::LocalSet::new().run_until(work).await;
    }

    fn session_of(request: &[u8]) -> String {
        Packet::decode(request, b"secret").unwrap().lookup(44).unwrap().encode_string().unwrap()
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
