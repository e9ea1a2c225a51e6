//! Time as the core sees it: handed in, never read.

use crate::units::Millis;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::sync::Arc;

/// Milliseconds since this boot, suspended time included (Linux `CLOCK_BOOTTIME`). It never steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// This moment and `length` more.
    #[must_use]
    pub const fn after(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length.0))
    }
    /// How long from `earlier` to this moment; zero when `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub u64);

impl Wall {
    /// No router runs this program before 2026: an earlier clock is one that nobody has set yet.
    pub const EARLIEST: Self = Self(1_767_225_600_000);

    /// The clock's reading, or nothing where it was plainly never set (a router without an RTC, before NTP).
    #[must_use]
    pub fn if_plausible(unix_milliseconds: u64) -> Option<Self> {
        (unix_milliseconds >= Self::EARLIEST.0).then_some(Self(unix_milliseconds))
    }

    /// Reads what [`Wall::to_rfc3339`] writes: UTC, to the second.
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let wall = Self((days_from_civil(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000);
        // Written back it must be the same text: that refuses every field out of range and every other form.
        (wall.to_rfc3339() == text).then_some(wall)
    }

    /// RFC 3339 in UTC, to the second, as `2026-11-22T09:30:00Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let seconds = self.0 / 1_000;
        let (days, in_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil_from_days(days);
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", in_day / 3_600, in_day / 60 % 60, in_day % 60)
    }
}

/// A day in UTC: days since 1970, from 1 on. Two bytes, because thousands of things are kept with theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(std::num::NonZeroU16);

impl Day {
    /// The day of a moment; nothing for 1970-01-01 and from 2149-06-07 on.
    #[must_use]
    pub fn of(moment: Wall) -> Option<Self> {
        u16::try_from(moment.0 / 86_400_000).ok().and_then(std::num::NonZeroU16::new).map(Self)
    }

    /// Whole days from `earlier` to this one; 0 where that is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u16 {
        self.0.get().saturating_sub(earlier.0.get())
    }
}

/// Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar.
/// The calendar is turned so that a year begins in March and the leap day ends it.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days since 0000-03-01
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// The inverse of [`civil_from_days`], from 1970 on.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let march_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (march_year / 400, march_year % 400);
    let march_month = (month + 9) % 12;
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * 146_097 + of_era).checked_sub(719_468)
}

/// Which boot of the router a [`Monotonic`] belongs to (Linux `/proc/sys/kernel/random/boot_id`).
/// Everything that is online holds one, so copies share their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootId(Arc<str>);

impl BootId {
    /// The kernel's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Shares the text of `last` where it is the same, and becomes the last one where it is not.
    pub fn share(&mut self, last: &mut Option<Self>) {
        match last {
            Some(last) if last == self => self.clone_from(last),
            _ => *last = Some(self.clone()),
        }
    }
}

impl From<&str> for BootId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Serialize for BootId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BootId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(d).map(|text| Self(text.as_ref().into()))
    }
}

/// The moment in which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Always known; limits are reckoned by it.
    pub monotonic: Monotonic,
    /// Unknown until the clock was set; only shown and compared, never reckoned with where [`Now::monotonic`] can be.
    pub wall: Option<Wall>,
}

impl Now {
    /// The wall time at another moment of this boot, where the clock is known.
    #[must_use]
    pub fn wall_at(self, moment: Monotonic) -> Option<Wall> {
        let wall = self.wall?;
        Some(if moment >= self.monotonic {
            Wall(wall.0.saturating_add(moment.since(self.monotonic).0))
        } else {
            Wall(wall.0.saturating_sub(self.monotonic.since(moment).0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_at_the_calendar_s_corners() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_799_999, "2000-02-29T23:59:59Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00Z"),
            (1_795_340_999_000, "2026-11-22T09:49:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Wall(milliseconds).to_rfc3339(), text);
            assert_eq!(Wall::from_rfc3339(text), Some(Wall(milliseconds / 1_000 * 1_000)));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "2026-11-22", "2026-02-30T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T09:30:00+03:00", "1969-12-31T23:59:59Z"]
        {
            assert_eq!(Wall::from_rfc3339(text), None, "{text} was taken");
        }
    }

    #[test]
    fn a_clock_that_nobody_set_is_no_clock() {
        assert_eq!(Wall::if_plausible(12_000), None);
        assert_eq!(Wall::if_plausible(1_767_225_600_000), Some(Wall::EARLIEST));
    }
}
