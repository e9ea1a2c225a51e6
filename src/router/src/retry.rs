//! When to try again: the one policy of this program for everything outside that fails and comes back. Pure: the caller
//! has the clock and the dice.

use std::time::Duration;

/// Doubling waits with jitter, and back to the first wait after a success that lasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    first: Duration,
    most: Duration,
    stable: Duration,
    failures: u32,
}

impl Retry {
    /// Waits of at most `first` after the first failure, and of at most `most` after many. What worked for at least
    /// `stable` is a success: its failure is a first one again. What worked for less is not, or a peer that takes a
    /// connection and drops it at once would be asked every second for ever.
    #[must_use]
    pub const fn new(first: Duration, most: Duration, stable: Duration) -> Self {
        Self { first, most, stable, failures: 0 }
    }

    /// A connection over the internet: 1 s to 60 s, and a minute makes a success.
    #[must_use]
    pub const fn of_a_connection() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(60), Duration::from_secs(60))
    }

    /// How long to wait now that it failed, having worked for `worked` (zero where it never did).
    ///
    /// `dice` is any number, evenly spread. The wait lies between half of the doubled one and all of it: a street full of
    /// routers that lost the same broker does not come back to it in the same moment.
    pub fn failed(&mut self, worked: Duration, dice: u16) -> Duration {
        if worked >= self.stable {
            self.failures = 0;
        }
        let doubled = self.first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(self.most);
        self.failures = self.failures.saturating_add(1).min(u32::BITS);
        let half = doubled / 2;
        half + half.mul_f64(f64::from(dice) / f64::from(u16::MAX))
    }

    /// Forgets the failures: what is tried next has nothing to do with what failed.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn waits_double_up_to_the_most() {
        let mut retry = Retry::new(S(1), S(60), S(60));
        let waits: Vec<_> = (0..9).map(|_| retry.failed(Duration::ZERO, u16::MAX).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn jitter_takes_away_up_to_half() {
        for (dice, milliseconds) in [(0, 500), (u16::MAX / 5, 600), (u16::MAX, 1_000)] {
            let mut retry = Retry::new(S(1), S(60), S(60));
            assert_eq!(retry.failed(Duration::ZERO, dice).as_millis(), milliseconds, "dice {dice}");
        }
    }

    #[test]
    fn only_what_lasted_was_a_success() {
        for (worked, then) in [(S(0), 8), (S(59), 8), (S(60), 1), (S(3_600), 1)] {
            let mut retry = Retry::new(S(1), S(60), S(60));
            for _ in 0..3 {
                retry.failed(Duration::ZERO, 0);
            }
            assert_eq!(retry.failed(worked, u16::MAX).as_secs(), then, "worked for {worked:?}");
        }
    }

    #[test]
    fn years_of_failures_overflow_nothing() {
        let mut retry = Retry::new(S(1), S(60), S(60));
        for _ in 0..100_000 {
            assert!(retry.failed(Duration::ZERO, u16::MAX) <= S(60));
        }
        assert_eq!(retry.failed(Duration::ZERO, u16::MAX), S(60));
        retry.reset();
        assert_eq!(retry.failed(Duration::ZERO, u16::MAX), S(1));
    }
}
