//! What an outage costs where paid time goes on while the router is off: reckoned with clocks that are right, and with no other.

use crate::account::Account;
use crate::time::{BootId, Monotonic, Wall};
use crate::units::{Millis, Username};
use serde::{Deserialize, Serialize};

/// What the time really was at one moment of a boot, as somebody says whose clock is right. The router's own clock is not
/// taken for that by itself: without a battery it begins at 1970, or at the newest file's date, which looks as good as any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrueTime {
    /// The boot in which `at` is.
    pub boot: BootId,
    /// That moment.
    pub at: Monotonic,
    /// The time then, at the earliest.
    pub wall: Wall,
    /// How much later it may have been.
    pub slack: Millis,
}

impl TrueTime {
    /// The time at another moment of the same boot, at the earliest.
    #[must_use]
    pub const fn earliest(&self, moment: Monotonic) -> Wall {
        let after = self.wall.0.saturating_add(moment.since(self.at).0);
        Wall(after.saturating_sub(self.at.since(moment).0))
    }

    /// The same, at the latest.
    #[must_use]
    pub const fn latest(&self, moment: Monotonic) -> Wall {
        Wall(self.earliest(moment).0.saturating_add(self.slack.0))
    }
}

/// Time that an account owes for an outage whose length is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// Whose.
    pub username: Username,
    /// When the power went, at the latest.
    pub since: Wall,
    /// How much of the time since then was no outage: boots that ended before anybody learnt what time it was.
    pub less: Millis,
    /// The boot in which `until` is.
    pub boot: BootId,
    /// When the outage was over.
    pub until: Monotonic,
    /// Time bought since: the outage used up none of it.
    pub bought: Millis,
}

impl Owed {
    /// How long the outage was, at the least, now that the time of this boot is known.
    #[must_use]
    pub const fn length(&self, time: &TrueTime) -> Millis {
        Millis(time.earliest(self.until).0.saturating_sub(self.since.0)).minus(self.less)
    }
}

impl Account {
    /// Takes away what an outage used up at `at`, at most what was there when the power went.
    pub fn charge(&mut self, outage: Millis, bought_since: Millis, at: Monotonic) {
        let mut rest = Millis(outage.0.min(self.time_ahead(at).minus(bought_since).0));
        while let Some(left) = self.clock.left(at).filter(|_| !rest.is_zero()) {
            self.clock.take(Millis(left.0.min(rest.0)));
            rest = rest.minus(left);
            // What is used up at the end of this is ended as ever; only what the outage went through is ended here.
            if !rest.is_zero() && !self.drop_used_up(at, false) {
                return;
            }
        }
    }

    /// The time of what was bought, up to the first purchase that has no end of time: while that runs, no time does.
    fn time_ahead(&self, at: Monotonic) -> Millis {
        let Some(left) = self.clock.left(at) else { return Millis::ZERO };
        let following = self.purchases.iter().skip(1).map_while(|purchase| purchase.limits.time);
        following.fold(left, Millis::plus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_at_other_moments_of_a_boot() {
        let time = TrueTime { boot: BootId::from("b"), at: Monotonic(5_000), wall: Wall(1_000_000), slack: Millis(40) };
        for (moment, earliest) in [(5_000, 1_000_000), (6_500, 1_001_500), (0, 995_000)] {
            assert_eq!(time.earliest(Monotonic(moment)), Wall(earliest));
            assert_eq!(time.latest(Monotonic(moment)), Wall(earliest + 40));
        }
    }
}
