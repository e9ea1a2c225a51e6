//! What a program that panics leaves to the one that takes its place: which part it was in, how often that was, and when it is too often.

use crate::time::Monotonic;
use crate::units::Millis;

/// So many panics within [`OFTEN_WITHIN`] are started again from. One more, and it is for whoever watches the program to wait a while.
pub const OFTEN: usize = 10;

/// See [`OFTEN`].
pub const OFTEN_WITHIN: Millis = Millis(60_000);

/// A panic this long after one of the same part is a first one again.
const IN_A_ROW_WITHIN: Millis = Millis(10 * 60_000);

/// The longest that is kept of what a panic said, in bytes.
const LONGEST: usize = 300;

/// The part of the program that panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The store's engine, while the store was opened and read: it is damaged.
    StoreOpening,
    /// The store's engine, at work.
    Store,
    /// The MQTT library, over what a broker sent.
    Broker,
    /// A customer's request, or an operator's own portal in it.
    Request,
    /// Anything else.
    Other,
}

impl Part {
    const ALL: [Self; 5] = [Self::StoreOpening, Self::Store, Self::Broker, Self::Request, Self::Other];

    const fn word(self) -> &'static str {
        match self {
            Self::StoreOpening => "opening",
            Self::Store => "store",
            Self::Broker => "broker",
            Self::Request => "request",
            Self::Other => "other",
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StoreOpening | Self::Store => "the store's engine",
            Self::Broker => "the MQTT library",
            Self::Request => "a request",
            Self::Other => "the program",
        }
    }
}

/// A panic, as the program that is started in its place hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    /// Where in the program.
    pub part: Part,
    /// How often in a row, this one included; each within ten minutes of the one before.
    pub in_a_row: u32,
    /// When, of all parts: those of the last [`OFTEN_WITHIN`], the earliest first.
    at: Vec<Monotonic>,
    /// What it said, in one line. Never anything that a customer or the relay sent: the caller leaves that out.
    pub said: String,
}

impl Panicked {
    /// A panic of now, after the one that this program was started from, if it was. Nothing where there are too many.
    #[must_use]
    pub fn after(before: Option<&Self>, part: Part, said: &str, now: Monotonic) -> Option<Self> {
        let mut at: Vec<Monotonic> = before.map(|before| before.at.clone()).unwrap_or_default();
        let last = at.last().copied();
        at.retain(|at| now.since(*at) < OFTEN_WITHIN);
        if at.len() >= OFTEN {
            return None;
        }
        at.push(now);
        let in_a_row = before
            .filter(|before| before.part == part && last.is_some_and(|last| now.since(last) < IN_A_ROW_WITHIN))
            .map_or(1, |before| before.in_a_row.saturating_add(1));
        Some(Self { part, in_a_row, at, said: one_line(said) })
    }

    /// As text: what [`Panicked::read`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let at: Vec<String> = self.at.iter().map(|at| at.0.to_string()).collect();
        format!("{} {} {} {}", self.part.word(), self.in_a_row, at.join(","), self.said)
    }

    /// Reads it; nothing where it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.splitn(4, ' ');
        let word = words.next()?;
        let part = Part::ALL.into_iter().find(|part| part.word() == word)?;
        let in_a_row = words.next()?.parse().ok()?;
        let at = words.next()?.split(',').map(|at| at.parse().map(Monotonic)).collect::<Result<Vec<_>, _>>().ok()?;
        (at.len() <= OFTEN).then_some(())?;
        Some(Self { part, in_a_row, at, said: one_line(words.next()?) })
    }
}

/// Without what ends a line or a variable of the environment, and not longer than anybody reads.
fn one_line(said: &str) -> String {
    let mut line: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = (0..=LONGEST.min(line.len())).rev().find(|end| line.is_char_boundary(*end)).unwrap_or_default();
    line.truncate(end);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for part in Part::ALL {
            let first = Panicked::after(None, part, "node.rs:12:5: it is no page", Monotonic(1_000)).unwrap();
            let second = Panicked::after(Some(&first), part, "", Monotonic(2_000)).unwrap();
            for panicked in [first, second] {
                assert_eq!(Panicked::read(&panicked.to_text()), Some(panicked));
            }
        }
        for text in ["", "store", "store 1", "store x 5 said", "store 1 x said", "store 1 5", "shop 1 5 said", "store 1 5,,6 said"] {
            assert_eq!(Panicked::read(text), None, "{text}");
        }
    }

    #[test]
    fn what_it_said_is_one_short_line() {
        let said = |text: &str| Panicked::after(None, Part::Other, text, Monotonic(0)).unwrap().said;
        assert_eq!(said("one\ntwo\0three\r"), "one two three ");
        assert_eq!(said(&"é".repeat(400)), "é".repeat(150));
        assert_eq!(said(&format!("x{}", "é".repeat(400))).len(), 299);
    }

    #[test]
    fn too_many_in_a_minute_are_not_started_from() {
        let mut before = None;
        for n in 0..OFTEN as u64 {
            before = Panicked::after(before.as_ref(), Part::ALL[n as usize % 5], "", Monotonic(n * 1_000));
            assert!(before.is_some(), "{n}");
        }
        let last = before.as_ref();
        assert_eq!(Panicked::after(last, Part::Other, "", Monotonic(59_999)), None);
        // A minute after the first there is room for one again, and for one alone.
        let next = Panicked::after(last, Part::Other, "", Monotonic(60_000)).unwrap();
        assert_eq!(next.at.len(), OFTEN);
        assert_eq!(Panicked::after(Some(&next), Part::Other, "", Monotonic(60_999)), None);
    }

    #[test]
    fn those_in_a_row_are_of_one_part_and_near_each_other() {
        let minutes = |minutes: u64| Monotonic(minutes * 60_000);
        let mut before = None;
        for (part, at, in_a_row) in [
            (Part::Broker, 0, 1),
            (Part::Broker, 9, 2),
            (Part::Broker, 18, 3),
            (Part::Broker, 28, 1),
            (Part::Request, 29, 1),
            (Part::Broker, 30, 1),
        ] {
            before = Panicked::after(before.as_ref(), part, "", minutes(at));
            assert_eq!(before.as_ref().unwrap().in_a_row, in_a_row, "at {at}");
        }
    }
}
