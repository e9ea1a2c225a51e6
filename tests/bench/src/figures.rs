//! Medians and other figures of many measurements. Pure.

use std::time::Duration;

/// Many measurements of one thing, in order of size.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

impl FromIterator<Duration> for Samples {
    /// In milliseconds.
    fn from_iter<I: IntoIterator<Item = Duration>>(values: I) -> Self {
        values.into_iter().map(|time| time.as_secs_f64() * 1e3).collect()
    }
}

impl Samples {
    /// The smallest value that at least this part of them does not exceed (nearest rank).
    ///
    /// # Panics
    /// When nothing was measured.
    pub fn quantile(&self, part: f64) -> f64 {
        assert!(!self.0.is_empty(), "nothing was measured");
        let rank = (part * self.0.len() as f64).ceil().max(1.0) as usize;
        self.0[rank.min(self.0.len()) - 1]
    }

    /// The middle one; of an even number the mean of both in the middle.
    pub fn median(&self) -> f64 {
        let (count, middle) = (self.0.len(), self.0.len() / 2);
        if count == 0 || count % 2 == 1 { self.quantile(0.5) } else { (self.0[middle - 1] + self.0[middle]) / 2.0 }
    }

    /// Between which of them the middle is of all that could be measured so, 999 times of 1,000 (by rank: nothing is taken for granted of how they
    /// spread). Of few that cannot be said: the smallest and the largest. Whoever looks again and again until it is clear, of twelve ratios, is wrong
    /// in one run of a few where it is 95 times of 100.
    pub fn median_between(&self) -> (f64, f64) {
        let count = self.0.len() as f64;
        let below = ((count - 3.29 * count.sqrt()) / 2.0).floor().max(1.0);
        (self.quantile((below - 0.5) / count), self.quantile((count - below + 0.5) / count))
    }

    /// The largest.
    pub fn worst(&self) -> f64 {
        self.quantile(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ranks are those of the sign test's tables.
    #[test]
    fn where_the_middle_lies() {
        for (count, low, high) in [(1, 1.0, 1.0), (5, 1.0, 5.0), (15, 1.0, 15.0), (100, 33.0, 68.0), (300, 121.0, 180.0)] {
            let samples: Samples = (1..=count).map(f64::from).collect();
            assert_eq!(samples.median_between(), (low, high), "of {count}");
        }
    }

    #[test]
    fn middles_and_ends() {
        for (values, median, p99, worst) in [
            (vec![3.0], 3.0, 3.0, 3.0),
            (vec![4.0, 1.0], 2.5, 4.0, 4.0),
            (vec![9.0, 1.0, 5.0], 5.0, 9.0, 9.0),
            ((1..=200).rev().map(f64::from).collect(), 100.5, 198.0, 200.0),
        ] {
            let samples: Samples = values.iter().copied().collect();
            assert_eq!((samples.median(), samples.quantile(0.99), samples.worst()), (median, p99, worst), "{values:?}");
        }
        let times: Samples = [Duration::from_micros(1_500)].into_iter().collect();
        assert_eq!(times.median(), 1.5);
    }
}
