//! Classes that the kernel is still to be told of, and how many of them at a time. Pure.
//!
//! To make or delete a class, the kernel walks over all that are there: ten thousand take it ten seconds. So they are dealt
//! with in portions, and whoever calls is back after some milliseconds.

use super::plan::Class;
use lango_core::tree::BTreeSet;
use std::time::Duration;

/// The processor time that a portion is to take, at most.
const PORTION_TAKES: Duration = Duration::from_millis(10);

/// Classes of the first portion, when nothing is known yet of how fast this kernel is.
const AT_FIRST: usize = 16;

/// Classes of a portion, at most.
const AT_MOST: usize = 1_024;

/// What is to be dealt with.
#[derive(Debug)]
pub struct Backlog {
    /// Of accounts that came, went or changed just now.
    first: BTreeSet<Class>,
    /// What may wait for those.
    rest: BTreeSet<Class>,
    portion: usize,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { first: BTreeSet::new(), rest: BTreeSet::new(), portion: AT_FIRST }
    }
}

impl Backlog {
    /// These come before all others, also before those that came first until now.
    pub fn add_first(&mut self, classes: &BTreeSet<Class>) {
        self.rest.append(&mut self.first);
        self.first.extend(classes);
    }

    /// These come when there is nothing else.
    pub fn add(&mut self, classes: impl IntoIterator<Item = Class>) {
        self.rest.extend(classes);
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.rest.is_empty()
    }

    /// Takes the next portion, of those that come first alone where `hurry`.
    pub fn take(&mut self, hurry: bool) -> BTreeSet<Class> {
        let mut portion = BTreeSet::new();
        while portion.len() < self.portion {
            let next = self.first.pop_first().or_else(|| if hurry { None } else { self.rest.pop_first() });
            let Some(class) = next else { break };
            self.rest.remove(&class);
            portion.insert(class);
        }
        portion
    }

    /// Learns what processor time so many took.
    pub fn took(&mut self, classes: usize, time: Duration) {
        // A portion that is not full says little: what is there to be done for one class is done for many.
        if classes < self.portion && time < PORTION_TAKES {
            return;
        }
        let fits = classes as u128 * PORTION_TAKES.as_nanos() / time.as_nanos().max(1);
        // Never twice as many at once: the first of a hundred may be the only ones that were cheap.
        self.portion = usize::try_from(fits).unwrap_or(AT_MOST).clamp(1, (self.portion * 2).min(AT_MOST));
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(numbers: std::ops::Range<u16>) -> BTreeSet<Class> {
        numbers.map(Class::nth).collect()
    }

    #[test]
    fn who_comes_now_does_not_wait_for_thousands() {
        let mut backlog = Backlog::default();
        backlog.add(classes(0..1_000));
        backlog.add_first(&classes(990..993));
        assert_eq!(backlog.take(true), classes(990..993));
        assert_eq!(backlog.take(true), BTreeSet::new());
        backlog.add_first(&classes(1_500..1_600));
        backlog.add_first(&classes(2_000..2_001));
        let portion = backlog.take(false);
        assert_eq!(portion, classes(0..15).union(&classes(2_000..2_001)).copied().collect(), "a portion is filled");
        let mut all = 3 + portion.len();
        while !backlog.is_empty() {
            all += backlog.take(false).len();
        }
        assert_eq!(all, 1_101, "each once");
    }

    #[test]
    fn portions_take_some_milliseconds_whatever_a_class_costs() {
        for (microseconds, expected) in [(1, AT_MOST), (65, 153), (1_800, 5), (20_000, 1)] {
            let mut backlog = Backlog::default();
            backlog.add(classes(0..20_000));
            let mut longest = 0;
            for number in 0..20 {
                let classes = backlog.take(false).len();
                backlog.took(classes, Duration::from_micros(microseconds * classes as u64));
                // But for the first ones, which cannot know.
                longest = longest.max(if number == 0 { 0 } else { classes });
            }
            assert_eq!(longest, expected, "{microseconds} µs each");
        }
        let mut backlog = Backlog::default();
        backlog.took(1, Duration::from_nanos(1));
        assert_eq!(backlog.portion, AT_FIRST, "one alone says nothing");
        backlog.took(0, Duration::ZERO);
        backlog.took(1, Duration::from_secs(1));
        assert_eq!(backlog.portion, 1);
    }
}
