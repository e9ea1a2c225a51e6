//! Nairobi's time: M-Pesa's days, statements and timestamps are in it. UTC+3, without summer time. Pure.

use lango_core::time::Wall;

const OFFSET: u64 = 3 * 3_600_000;
const DAY: u64 = 24 * 3_600_000;

/// `2026-11-22 12:30:00`.
#[must_use]
pub fn text(wall: Wall) -> String {
    Wall(wall.0.saturating_add(OFFSET)).to_rfc3339().replace('T', " ").trim_end_matches('Z').to_owned()
}

/// Reads what [`text`] writes.
#[must_use]
pub fn parse(text: &str) -> Option<Wall> {
    let (date, time) = text.split_once(' ')?;
    let utc = Wall::from_rfc3339(&format!("{date}T{time}Z"))?;
    utc.0.checked_sub(OFFSET).map(Wall)
}

/// `2026-11-22`: the day of a moment.
#[must_use]
pub fn day(wall: Wall) -> String {
    text(wall).chars().take(10).collect()
}

/// The day `2026-11-22`, from its first moment to the next day's.
#[must_use]
pub fn bounds(day: &str) -> Option<(Wall, Wall)> {
    let from = parse(&format!("{day} 00:00:00"))?;
    Some((from, Wall(from.0.saturating_add(DAY))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_day_in_nairobi() {
        let (from, to) = bounds("2026-11-22").unwrap();
        assert_eq!((from.to_rfc3339().as_str(), to.to_rfc3339().as_str()), ("2026-11-21T21:00:00Z", "2026-11-22T21:00:00Z"));
        assert_eq!((day(from).as_str(), day(Wall(to.0 - 1)).as_str(), day(to).as_str()), ("2026-11-22", "2026-11-22", "2026-11-23"));
        assert_eq!((text(from).as_str(), parse("2026-11-22 00:00:00")), ("2026-11-22 00:00:00", Some(from)));
        for text in ["", "2026-11-22", "2026-02-30 00:00:00", "2026-11-22T00:00:00", "22-11-2026 00:00:00", "1970-01-01 00:00:00"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for day in ["", "today", "2026-13-01", "2026-11-22 ", "2026-1-1"] {
            assert_eq!(bounds(day), None, "{day}");
        }
    }
}
