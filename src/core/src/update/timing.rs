//! When a fetched update is put in place.

use super::Kind;
use crate::time::Wall;
use crate::units::Millis;

/// Customers who are about to pay are waited for so long: what they paid is in the relay's hands, and comes after a restart as well.
pub const LONGEST_WAIT: Millis = Millis::from_minutes(10);

/// East Africa Time is this much ahead of UTC, all year.
const NAIROBI: u64 = 3 * 3_600_000;

/// Hours of the day, in East Africa Time: from the beginning of the first to the beginning of the second, over midnight where the
/// second is the lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: u8,
    to: u8,
}

impl Hours {
    /// Reads `2-5`: two different hours from 0 to 24.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let hour = |text: &str| super::manifest::number(text).and_then(|hour| u8::try_from(hour).ok());
        let (from, to) = (hour(from).filter(|hour| *hour < 24)?, hour(to).filter(|hour| *hour <= 24)?);
        (from != to).then_some(Self { from, to })
    }

    /// Whether a moment lies in them.
    #[must_use]
    pub fn hold(self, moment: Wall) -> bool {
        let hour = (moment.0.saturating_add(NAIROBI) / 3_600_000) % 24;
        let (from, to) = (u64::from(self.from), u64::from(self.to));
        if from < to { (from..to).contains(&hour) } else { hour >= from || hour < to }
    }
}

/// Whether hours and an empty house allow it; from then on customers who are about to pay are waited for.
#[must_use]
pub fn is_allowed(kind: Kind, hours: Option<Hours>, time: Option<Wall>, online: u32) -> bool {
    match (hours, kind) {
        // Where nobody knows the time it is none of the hours.
        (Some(hours), _) => time.is_some_and(|time| hours.hold(time)),
        // A program alone costs no customer a packet. An image is a restart of the router.
        (None, Kind::Program) => true,
        (None, Kind::Image) => online == 0,
    }
}

/// Whether the time has come. `pending` payments wait for a customer's PIN, `online` devices are online, and [`is_allowed`] has held
/// for `ready`.
#[must_use]
pub fn may_apply(kind: Kind, hours: Option<Hours>, time: Option<Wall>, pending: u32, online: u32, ready: Millis) -> bool {
    is_allowed(kind, hours, time, online) && (pending == 0 || ready >= LONGEST_WAIT)
}
