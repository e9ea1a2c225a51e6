//! Log lines that strangers cause: one now and then, with a count of those kept back. Pure: the caller has the clock.

use std::time::{Duration, Instant};

/// Lets a line through every so often.
#[derive(Debug)]
pub struct Quiet {
    every: Duration,
    last: Option<Instant>,
    kept_back: u64,
}

impl Quiet {
    /// At most a line in `every`.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Self { every, last: None, kept_back: 0 }
    }

    /// Whether a line may be written now; if so, how many were kept back since the last one.
    pub fn may_say(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < self.every) {
            self.kept_back = self.kept_back.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_and_a_number() {
        let start = Instant::now();
        let mut quiet = Quiet::new(Duration::from_secs(10));
        let at = |second| start + Duration::from_secs(second);
        let said: Vec<_> = [0, 1, 9, 10, 11, 30].map(|second| quiet.may_say(at(second))).into();
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
