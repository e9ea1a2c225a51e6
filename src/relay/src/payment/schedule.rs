//! When what is tried again, and for how long: the relay's one place for it. Pure.

use lango_core::time::Wall;
use lango_core::units::Receipt;
use ring::digest::{SHA256, digest};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// How long a payment without a result stays open, in milliseconds. A prompt lives for about a minute.
const WINDOW: u64 = 15 * MINUTE;
/// How long after the prompt a payment under review is still asked for: Daraja was seen to be away for hours.
const REVIEW: u64 = 24 * 60 * MINUTE;
/// How long a callback may take longer than the query that saw the same success.
const GRACE: u64 = 3 * SECOND;

/// The end of the time in which a payment prompted at `prompted` must be decided.
#[must_use]
pub const fn window_end(prompted: Wall) -> Wall {
    Wall(prompted.0.saturating_add(WINDOW))
}

/// Until when the callback of a payment that a query called paid is waited for.
#[must_use]
pub const fn callback_grace(now: Wall) -> Wall {
    Wall(now.0.saturating_add(GRACE))
}

/// A moment from now: for a question that something gave reason to ask.
#[must_use]
pub const fn soon(now: Wall) -> Wall {
    Wall(now.0.saturating_add(2 * SECOND))
}

/// When a push that was refused for now is sent again, after `tries` refusals before this one.
#[must_use]
pub fn push_again(tries: u32, now: Wall) -> Wall {
    Wall(now.0.saturating_add(SECOND << tries.min(5)))
}

/// When a payment is asked for next, after `tries` queries; `None` when it is asked for no more. The first waits for
/// the customer to type; then often while the customer looks at the page, and ever more seldom.
#[must_use]
pub fn next_query(prompted: Wall, tries: u32, now: Wall) -> Option<Wall> {
    const STEPS: [u64; 8] = [20, 15, 15, 20, 30, 45, 60, 90];
    let end = window_end(prompted);
    if now < end {
        let step = STEPS.get(tries as usize).copied().unwrap_or(120) * SECOND;
        return Some(Wall(now.0.saturating_add(step)).min(end));
    }
    let again = Wall(now.0.saturating_add(10 * MINUTE));
    (again.0 <= prompted.0.saturating_add(REVIEW)).then_some(again)
}

/// A receipt for a payment of which only a query told: queries have none, and the router knows money by its receipt.
/// It has twelve characters and begins with `Q`; M-Pesa's own have ten. The same id gives the same receipt.
#[must_use]
pub fn stand_in_receipt(checkout: &str) -> Option<Receipt> {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = digest(&SHA256, checkout.as_bytes());
    let tail = hash.as_ref().iter().take(11).map(|byte| char::from(LETTERS[usize::from(byte & 31)]));
    let text: String = std::iter::once('Q').chain(tail).collect();
    text.parse().ok()
}

/// How long to wait before trying again what failed `failures` times in a row, for connections of our own, in milliseconds.
#[must_use]
pub fn reconnect(failures: u32) -> u64 {
    (100u64 << failures.min(6)).min(5 * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_come_often_at_first_end_with_the_window_and_go_on_for_a_day_under_review() {
        let prompted = Wall::EARLIEST;
        let after = |milliseconds| Wall(prompted.0 + milliseconds);
        let (mut now, mut seconds) = (prompted, Vec::new());
        for tries in 0.. {
            now = next_query(prompted, tries, now).unwrap();
            seconds.push((now.0 - prompted.0) / SECOND);
            if now >= window_end(prompted) {
                break;
            }
        }
        assert_eq!(seconds, [20, 35, 50, 70, 100, 145, 205, 295, 415, 535, 655, 775, 895, 900]);
        assert_eq!(next_query(prompted, 14, after(WINDOW)), Some(after(WINDOW + 10 * MINUTE)));
        assert_eq!(next_query(prompted, 200, after(REVIEW)), None);
    }

    #[test]
    fn a_refused_push_backs_off() {
        let waits: Vec<u64> = (0..8).map(|tries| push_again(tries, Wall(0)).0 / SECOND).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32]);
    }

    #[test]
    fn a_stand_in_is_a_receipt_that_m_pesa_never_makes() {
        let receipt = stand_in_receipt("ws_CO_191220191020363925").unwrap();
        assert_eq!(Some(&receipt), stand_in_receipt("ws_CO_191220191020363925").as_ref());
        assert_ne!(Some(&receipt), stand_in_receipt("ws_CO_191220191020363926").as_ref());
        assert_eq!((receipt.as_str().len(), receipt.as_str().as_bytes()[0]), (12, b'Q'));
    }

    #[test]
    fn reconnecting_waits_five_seconds_at_most() {
        let waits: Vec<u64> = (0..9).map(reconnect).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
    }
}
