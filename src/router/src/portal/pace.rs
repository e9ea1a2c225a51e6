//! How often a device may begin to agree on TLS (docs/decisions/0044-handshakes.md). Pure: time is passed in.
//!
//! One agreement costs the processor several times what a page does, and a client nothing but a few packets. So each device has some in
//! advance, and then one each [`Limits::handshake_every`]: who asks more often waits for its turn, and who would wait too long is told so
//! at once, by the end of the connection. A neighbour does not notice.

use super::Limits;
use super::crowd::Who;
use lango_core::tree::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Devices remembered at most; one that has all in advance again needs no memory. A flood of made-up addresses pushes out those
/// who would be forgotten soonest.
const REMEMBERED: usize = 512;

/// Who waits at most for so many turns: longer than that no phone waits for a page.
const TURNS: u32 = 4;

/// What each device has left.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    in_advance: Duration,
    /// When each has all of them in advance again.
    whole_at: BTreeMap<Who, Instant>,
}

impl Pace {
    /// With as many as `limits` say.
    pub const fn new(limits: &Limits) -> Self {
        let (every, others) = (limits.handshake_every, limits.handshakes.saturating_sub(1));
        Self { every, in_advance: every.saturating_mul(others), whole_at: BTreeMap::new() }
    }

    /// When the one that asks now may begin; none where it would have to wait too long. That is not counted.
    pub fn turn(&mut self, who: Who, now: Instant) -> Option<Instant> {
        let whole = self.whole_at.get(&who).map_or(now, |whole| now.max(*whole));
        // As much as the time until then is longer than what there is in advance.
        let wait = whole.duration_since(now).saturating_sub(self.in_advance);
        if wait > self.every * TURNS {
            return None;
        }
        if self.whole_at.len() >= REMEMBERED && !self.whole_at.contains_key(&who) {
            self.forget(now);
        }
        self.whole_at.insert(who, whole + self.every);
        Some(now + wait)
    }

    /// The last one that was given to it was not begun.
    pub fn give_back(&mut self, who: Who) {
        if let Some(whole) = self.whole_at.get_mut(&who) {
            *whole -= self.every;
        }
    }

    fn forget(&mut self, now: Instant) {
        self.whole_at.retain(|_, whole| *whole > now);
        if self.whole_at.len() >= REMEMBERED
            && let Some(who) = self.whole_at.iter().min_by_key(|(_, whole)| **whole).map(|(who, _)| *who)
        {
            self.whole_at.remove(&who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::units::Mac;

    fn device(number: u32) -> Who {
        let [a, b, c, d] = number.to_be_bytes();
        Who::Device(Mac([2, 0, a, b, c, d]))
    }

    fn pace(handshakes: u32) -> Pace {
        Pace::new(&Limits { handshakes, handshake_every: Duration::from_millis(500), ..Limits::default() })
    }

    #[test]
    fn some_at_once_then_in_turn_and_no_more_than_can_wait() {
        let (mut pace, begin) = (pace(3), Instant::now());
        // Who asks, when, and how long it waits; all in milliseconds.
        for (who, at, waits) in [
            (1, 0, Some(0)),
            (1, 0, Some(0)),
            (1, 0, Some(0)),
            (1, 0, Some(500)),
            (1, 100, Some(900)),
            (1, 100, Some(1_400)),
            (1, 100, Some(1_900)),
            (1, 100, None),
            (1, 400, None),
            (2, 400, Some(0)),
            (1, 500, Some(2_000)),
            (1, 500, None),
            // What was refused is not counted: the last turn was at 2,500, and 500 later the next is due.
            (1, 3_000, Some(0)),
            (1, 3_000, Some(500)),
            // Rested: all in advance again, and no more than these.
            (1, 60_000, Some(0)),
            (1, 60_000, Some(0)),
            (1, 60_000, Some(0)),
            (1, 60_000, Some(500)),
        ] {
            let now = begin + Duration::from_millis(at);
            let turn = pace.turn(device(who), now).map(|turn| turn.duration_since(now).as_millis());
            assert_eq!(turn, waits, "device {who} at {at}");
        }
    }

    #[test]
    fn a_turn_that_was_not_begun_is_had_again() {
        let (mut pace, now) = (pace(1), Instant::now());
        for _ in 0..9 {
            assert_eq!(pace.turn(device(1), now), Some(now));
            pace.give_back(device(1));
        }
        assert_eq!(pace.turn(device(1), now), Some(now));
        assert_ne!(pace.turn(device(1), now), Some(now), "this one was begun");
        pace.give_back(device(2));
        assert_eq!(pace.turn(device(2), now), Some(now), "who had none has no more for it");
        assert_ne!(pace.turn(device(2), now), Some(now));
    }

    #[test]
    fn a_customer_s_pace_is_never_held_back() {
        let (mut pace, begin) = (pace(16), Instant::now());
        // The page and what comes with it, some at once, again and again.
        for (second, connections) in [(0, 6), (2, 6), (5, 6), (10, 6), (11, 2), (20, 16), (28, 16)] {
            let now = begin + Duration::from_secs(second);
            for _ in 0..connections {
                assert_eq!(pace.turn(device(1), now), Some(now), "in second {second}");
            }
        }
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_who_is_held_back_is_not_forgotten_for_it() {
        let (mut pace, begin) = (pace(2), Instant::now());
        while pace.turn(device(0), begin).is_some() {}
        for number in 1..10_000 {
            assert_eq!(pace.turn(device(number), begin), Some(begin));
        }
        assert_eq!(pace.whole_at.len(), REMEMBERED);
        assert_eq!(pace.turn(device(0), begin), None);
        let later = begin + Duration::from_secs(60);
        assert_eq!(pace.turn(device(10_000), later), Some(later));
        assert_eq!(pace.whole_at.len(), 1, "who has rested is forgotten");
    }
}
