//! How often a device may try: so many times in a window, each device for itself.

use crate::time::Monotonic;
use crate::tree::{BTreeMap, BTreeSet};
use crate::units::{Mac, Millis, Seconds};

/// Devices remembered at most. A flood of made-up addresses pushes out the oldest windows, never the router's memory.
const REMEMBERED: usize = 4096;

/// Counts tries of devices, or of something else that is told apart.
#[derive(Debug, Clone)]
pub struct Limiter<K = Mac> {
    window: Millis,
    at_most: u16,
    tries: BTreeMap<K, (Monotonic, u16)>,
    /// The windows by their beginning, the oldest first.
    windows: BTreeSet<(Monotonic, K)>,
}

impl<K: Clone + Ord> Limiter<K> {
    /// At most `at_most` tries a device in each `window`.
    #[must_use]
    pub const fn new(at_most: u16, window: Millis) -> Self {
        Self { window, at_most, tries: BTreeMap::new(), windows: BTreeSet::new() }
    }

    /// Whether the device may try now; otherwise how long it has to wait.
    ///
    /// # Errors
    /// The time until its window ends.
    pub fn check(&self, device: K, now: Monotonic) -> Result<(), Seconds> {
        match self.tries.get(&device) {
            Some((began, count)) if now.since(*began) < self.window && *count >= self.at_most => {
                Err(self.window.minus(now.since(*began)).as_seconds_ceil())
            }
            _ => Ok(()),
        }
    }

    /// Counts one try of the device.
    pub fn count(&mut self, device: K, now: Monotonic) {
        if self.tries.len() >= REMEMBERED
            && !self.tries.contains_key(&device)
            && let Some((_, oldest)) = self.windows.pop_first()
        {
            self.tries.remove(&oldest);
        }
        let entry = self.tries.entry(device.clone()).or_insert((now, 0));
        if now.since(entry.0) >= self.window {
            self.windows.remove(&(entry.0, device.clone()));
            *entry = (now, 0);
        }
        self.windows.insert((entry.0, device));
        entry.1 = entry.1.saturating_add(1);
    }
}

/// Counts failed tries at one secret that is the same for everybody, as the voucher codes are.
///
/// A device's address is cheap to change, so devices are held to something together, too; but never by shutting the door: when
/// all have failed too often, each is held to fewer tries. Who has failed less than that is heard, whatever others do.
#[derive(Debug, Clone)]
pub struct Guard {
    each: Limiter,
    strict: Limiter,
    all: Limiter<()>,
}

impl Guard {
    /// At most `each` failures a device in each `window`; and at most `strict` in each `long` window when all together have
    /// failed `all` times in it.
    #[must_use]
    pub const fn new(each: u16, window: Millis, all: u16, strict: u16, long: Millis) -> Self {
        Self { each: Limiter::new(each, window), strict: Limiter::new(strict, long), all: Limiter::new(all, long) }
    }

    /// Whether the device may try now; otherwise how long it has to wait.
    ///
    /// # Errors
    /// The time until its window ends.
    pub fn check(&self, device: Mac, now: Monotonic) -> Result<(), Seconds> {
        self.each.check(device, now)?;
        if self.all.check((), now).is_err() { self.strict.check(device, now) } else { Ok(()) }
    }

    /// Counts what is no guess at the secret, but a wrong try all the same: for the device alone.
    pub fn count_alone(&mut self, device: Mac, now: Monotonic) {
        self.each.count(device, now);
    }

    /// Counts a failure of the device. `true`: it is the one from which on all are held to fewer.
    pub fn count(&mut self, device: Mac, now: Monotonic) -> bool {
        self.each.count(device, now);
        self.strict.count(device, now);
        let before = self.all.check((), now).is_ok();
        self.all.count((), now);
        before && self.all.check((), now).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_limited_and_its_neighbour_is_not() {
        let (a, b) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let mut limiter = Limiter::new(3, Millis(60_000));
        for at in [0, 10, 20] {
            assert_eq!(limiter.check(a, Monotonic(at)), Ok(()));
            limiter.count(a, Monotonic(at));
        }
        assert_eq!(limiter.check(a, Monotonic(1_000)), Err(Seconds(59)));
        assert_eq!(limiter.check(b, Monotonic(1_000)), Ok(()));
        assert_eq!(limiter.check(a, Monotonic(60_000)), Ok(()));
        limiter.count(a, Monotonic(60_000));
        assert_eq!(limiter.check(a, Monotonic(60_001)), Ok(()));
    }

    #[test]
    fn who_guesses_is_slowed_and_who_is_right_is_heard() {
        let device = |n: u8| Mac([2, 0, 0, 0, 0, n]);
        let mut guard = Guard::new(3, Millis(1_000), 4, 1, Millis(10_000));
        assert!(![1, 1, 1].into_iter().any(|n| guard.count(device(n), Monotonic(0))));
        // device, at, and how long it has to wait
        for (n, at, wait) in [(1, 0, Some(1)), (1, 1_000, None), (2, 0, None)] {
            assert_eq!(guard.check(device(n), Monotonic(at)).err().map(|s| s.0), wait, "device {n} at {at}");
        }
        assert!(guard.count(device(2), Monotonic(100)), "the fourth failure in all");
        assert!(!guard.count(device(4), Monotonic(100)), "told once");
        for (n, at, wait) in [(1, 2_000, Some(8)), (2, 2_000, Some(9)), (3, 2_000, None), (1, 10_000, None), (2, 10_000, None)] {
            assert_eq!(guard.check(device(n), Monotonic(at)).err().map(|s| s.0), wait, "device {n} at {at}");
        }
    }

    #[test]
    fn a_flood_of_addresses_is_bounded() {
        let mut limiter = Limiter::new(1, Millis(60_000));
        for n in 0..10_000u32 {
            let [a, b, c, d] = n.to_be_bytes();
            let device = Mac([2, 0, a, b, c, d]);
            limiter.count(device, Monotonic(u64::from(n)));
            assert!(limiter.check(device, Monotonic(u64::from(n))).is_err(), "the newest is remembered");
        }
        assert_eq!((limiter.tries.len(), limiter.windows.len()), (REMEMBERED, REMEMBERED));
        assert!(limiter.tries.iter().all(|(mac, (began, _))| limiter.windows.contains(&(*began, *mac))));
    }
}
