//! What is told of sessions: each thing until a server has it.
//!
//! The order is the rules': of one device they give nothing before they hear that the last thing arrived, and what concerns the
//! whole router alone. So what is here at once may go at once.

use super::client::Pool;
use super::request::{self, Nas};
use super::server::{Blame, Silence};
use crate::retry::Retry;
use lango_core::radius::{Accounting, AccountingEvent, RadiusEvent, SessionId};
use lango_core::time::{BootId, Now};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// So many things are on their way at once.
const AT_ONCE: usize = 8;

/// After so many rounds, each while other things were acknowledged, it is the thing that servers do not take (a row that cannot be
/// stored) and not the servers that are away: some five minutes.
const REFUSED_AFTER: u32 = 10;

/// So many that are refused go on being tried. Those beyond it are given up.
const REFUSED_AT_MOST: usize = 64;

/// How long things are tried, and how often.
#[derive(Debug, Clone)]
struct Pace {
    /// So long all servers together are asked in one round.
    round: Duration,
    /// Between rounds.
    retry: Retry,
    /// Between rounds of what is refused.
    refused: Retry,
}

const PACE: Pace = Pace {
    round: Duration::from_secs(8),
    retry: Retry::of_a_connection(),
    refused: Retry::new(Duration::from_secs(600), Duration::from_secs(3_600), Duration::MAX),
};

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
    refused: Cell<usize>,
}

/// Whether servers do not take one thing, or are away: they are there where others are acknowledged.
#[derive(Debug)]
struct Doubt {
    acknowledged: u64,
    rounds: u32,
}

impl Doubt {
    const fn new(acknowledged: u64) -> Self {
        Self { acknowledged, rounds: 0 }
    }

    /// A round was in vain, and so many things are acknowledged by now. Gives back whether the thing is refused.
    fn failed(&mut self, acknowledged: u64) -> bool {
        if acknowledged != self.acknowledged {
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
    let work = Rc::new(Work { teller, pace, room: Semaphore::new(AT_ONCE), acknowledged: Cell::new(0), refused: Cell::new(0) });
    let mut here = BTreeSet::new();
    let mut tasks: JoinSet<u64> = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(told) => if here.insert(told.seq) {
                    tasks.spawn_local(tell(Rc::clone(&work), told));
                },
                None => return,
            },
            Some(done) = tasks.join_next() => if let Ok(seq) = done {
                here.remove(&seq);
            },
        }
    }
}

/// Tells one thing until a server has it. Each round is a packet of its own, for Acct-Delay-Time grows (RFC 5080 section 2.2.1).
async fn tell(work: Rc<Work>, told: Accounting) -> u64 {
    let mut retry = work.pace.retry.clone();
    let mut doubt = Doubt::new(work.acknowledged.get());
    while !work.round(&told, &doubt).await {
        if doubt.failed(work.acknowledged.get())
            && let Some(what) = overtakable(&told.event)
        {
            work.overtaken(&told, what).await;
            return told.seq;
        }
        sleep(retry.failed(Duration::ZERO, dice(told.seq))).await;
    }
    work.settled(&told).await;
    told.seq
}

/// What it is and of which session, where later words may overtake it. Not so the router's own: a server that hears later that a
/// router began would close what began since.
fn overtakable(event: &AccountingEvent) -> Option<(&'static str, &SessionId)> {
    match event {
        AccountingEvent::On | AccountingEvent::Off { .. } => None,
        AccountingEvent::Start(session) => Some(("start", &session.id)),
        AccountingEvent::Interim(session) => Some(("interim update", &session.id)),
        AccountingEvent::Stop { session, .. } => Some(("stop", &session.id)),
    }
}

impl Work {
    /// Gives back whether nothing more is to be done.
    async fn round(&self, told: &Accounting, doubt: &Doubt) -> bool {
        let Ok(_room) = self.room.acquire().await else { return false };
        let Teller { pool, nas, boot, .. } = &self.teller;
        let blame = if doubt.rounds == 0 { Blame::Server } else { Blame::Question };
        let end = Instant::now() + self.pace.round;
        match pool.ask(end, blame, |sending| request::accounting(nas, told, delay(told, boot, sending.now), sending)).await {
            Ok(_) => {
                self.acknowledged.set(self.acknowledged.get() + 1);
                true
            }
            Err(Silence::Unencodable(cause)) => {
                // No later try would be another: whoever holds it must not wait for it for ever.
                log::warn!("radius: accounting {} cannot be told: {cause}", told.seq);
                true
            }
            Err(_) => false,
        }
    }

    /// The rules need not keep it any more, and what waits for it may go.
    async fn settled(&self, told: &Accounting) {
        // Nobody takes it: the daemon stops.
        let _ = self.teller.events.send(RadiusEvent::Accounted { seq: told.seq }).await;
    }

    /// Lets what waits behind it go, and tries it more rarely until the program ends.
    async fn overtaken(&self, told: &Accounting, (what, id): (&str, &SessionId)) {
        // An interim update that comes after later words would make less of what was used.
        let goes_on = !matches!(told.event, AccountingEvent::Interim(_)) && self.refused.get() < REFUSED_AT_MOST;
        let then = if goes_on { "it is tried about every hour until lango ends" } else { "it is given up" };
        log::warn!(
            "radius: servers acknowledge others, but not the {what} of session {}: it no longer holds up what follows; {then}",
            id.0
        );
        self.settled(told).await;
        if !goes_on {
            return;
        }
        self.refused.set(self.refused.get() + 1);
        let mut retry = self.pace.refused.clone();
        let doubt = Doubt { acknowledged: 0, rounds: REFUSED_AFTER };
        loop {
            sleep(retry.failed(Duration::ZERO, dice(told.seq))).await;
            if self.round(told, &doubt).await {
                break;
            }
        }
        self.refused.set(self.refused.get() - 1);
        log::info!("radius: the {what} of session {} is settled after all", id.0);
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
        Accounting { seq, boot: BootId::from("this"), at: Monotonic(5_000), at_wall: None, event }
    }

    #[test]
    fn one_thing_is_refused_where_others_are_taken_round_after_round() {
        let mut doubt = Doubt::new(7);
        assert!((0..1_000).all(|_| !doubt.failed(7)), "the servers may be away");
        let refused: Vec<bool> = (8..18).map(|acknowledged| doubt.failed(acknowledged)).collect();
        assert_eq!(refused.iter().position(|refused| *refused), Some(9));
        assert!(doubt.failed(17), "and stays so");
    }

    #[tokio::test]
    async fn what_a_server_never_acknowledges_holds_nothing_up_for_ever() {
        let millis = Duration::from_millis;
        let pace = Pace {
            round: millis(50),
            retry: Retry::new(millis(1), millis(2), Duration::MAX),
            refused: Retry::new(millis(300), millis(300), Duration::MAX),
        };
        let work = async {
            let (server, mut packets) = server(false);
            let (events, mut done) = mpsc::channel(64);
            let teller = Teller { pool: Pool(vec![Rc::clone(&server)]), nas: Rc::new(nas()), boot: BootId::from("this"), events };
            let (orders, received) = mpsc::unbounded_channel();
            let running = tokio::task::spawn_local(run_at(pace, teller, received));
            let acknowledge = |request: &[u8]| {
                let response = Packet::decode(request, b"secret").unwrap().make_response_packet(Code::AccountingResponse);
                server.received(&response.encode().unwrap(), None);
            };
            // Twice: it is here already.
            orders.send(told(0, "bad")).unwrap();
            orders.send(told(0, "bad")).unwrap();
            let (mut rounds, mut accounted) = (0, Vec::new());
            while accounted.last() != Some(&0) {
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
                        other => panic!("{other:?}"),
                    },
                }
            }
            assert!(accounted.len() > REFUSED_AFTER as usize, "{accounted:?}");
            assert!(server.is_up(), "others are acknowledged by it");
            // It goes on being tried; that it arrived then nobody is told a second time.
            let mut later = Vec::new();
            while later.last() != Some(&1_000) {
                tokio::select! {
                    request = packets.recv() => {
                        let request = request.unwrap();
                        acknowledge(&request);
                        if session_of(&request) == "bad" {
                            orders.send(told(1_000, "good")).unwrap();
                        }
                    }
                    event = done.recv() => match event {
                        Some(RadiusEvent::Accounted { seq }) => later.push(seq),
                        other => panic!("{other:?}"),
                    },
                }
            }
            assert!(!later.contains(&0), "{later:?}");
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
