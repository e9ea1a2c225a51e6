//! When the counters are read besides at checkpoints: sooner while somebody with a data limit moves bytes. What was counted since the
//! last reading is all that is lost with the kernel's table, and is given away then.

use crate::time::Monotonic;
use crate::units::{Bytes, Millis};

/// What an account with a data limit may move between two readings, at the pace that it had before.
const GIVEN_AWAY: Bytes = Bytes(1_000_000);

/// Two readings are not closer, however much is moved: what one second carries is given away at most.
const SOONEST: Millis = Millis::from_seconds(1);

/// Reading takes the longer the more devices there are: some 60 µs for each on a router. It may take a part in thirty of the time.
const EACH_DEVICE: Millis = Millis(2);

/// Two readings are not further apart while anybody moves bytes: the pace may rise.
const MOVING: Millis = Millis::from_seconds(8);

/// What a phone moves in its sleep between two readings is no movement, in bytes.
const ASLEEP: u64 = 64 * 1024;

/// While nobody moves anything each distance is so many times the one before, until checkpoints alone are left: an idle router rests.
const REST: u64 = 4;

/// The plan of readings.
#[derive(Debug, Clone, Default)]
pub(super) struct Readings {
    due: Option<Monotonic>,
    /// When the last one was, and how far it was from the one before.
    last: Option<Monotonic>,
    distance: Millis,
    /// It was due, and is under way.
    asked: bool,
}

/// What two readings are apart at least, where so many devices are online.
fn soonest(devices: usize) -> Millis {
    SOONEST.max(Millis(EACH_DEVICE.0.saturating_mul(devices as u64)))
}

impl Readings {
    /// When the next one is due, beside checkpoints.
    pub(super) const fn due(&self) -> Option<Monotonic> {
        self.due
    }

    /// Whether one is to be made now.
    pub(super) fn ask(&mut self, now: Monotonic) -> bool {
        let due = self.due.take_if(|due| *due <= now).is_some();
        self.asked |= due;
        due
    }

    /// An account with a data limit begins, or has more: it is likely to be used at once.
    pub(super) fn begin(&mut self, devices: usize, now: Monotonic) {
        self.distance = soonest(devices);
        let soon = now.after(self.distance);
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
        self.last.get_or_insert(now);
    }

    /// Nobody is online.
    pub(super) fn nobody(&mut self) {
        *self = Self::default();
    }

    /// All counters were read: `most` is what the account with a data limit that moved most did since they were last.
    pub(super) fn read(&mut self, most: Bytes, devices: usize, checkpoint: Millis, now: Monotonic) {
        if most.0 > ASLEEP {
            let since = self.last.map_or(checkpoint, |last| now.since(last)).0.max(1);
            let lasts = u128::from(GIVEN_AWAY.0) * u128::from(since) / u128::from(most.0);
            self.distance = Millis(u64::try_from(lasts).unwrap_or(u64::MAX).min(MOVING.0)).max(soonest(devices));
        } else if self.asked {
            self.distance = Millis(self.distance.0.saturating_mul(REST));
        } else {
            // Somebody looked in between.
            return;
        }
        self.last = Some(now);
        let next = (self.distance < checkpoint).then(|| now.after(self.distance));
        // What nobody asked for puts nothing off: who has just begun has no pace yet, and is looked at as soon as that was planned.
        self.due = if std::mem::take(&mut self.asked) { next } else { self.due.into_iter().chain(next).min() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKPOINT: Millis = Millis::from_seconds(60);

    /// Reads whenever it is due, with so much moved each second; gives the distances.
    fn distances(readings: &mut Readings, mut at: u64, a_second: u64, devices: usize, many: usize) -> Vec<u64> {
        let mut found = Vec::new();
        while let Some(due) = readings.due().filter(|_| found.len() < many) {
            let passed = due.0 - at;
            found.push(passed);
            at = due.0;
            assert!(!readings.ask(Monotonic(at - 1)) && readings.ask(Monotonic(at)) && !readings.ask(Monotonic(at)), "once");
            readings.read(Bytes(a_second * passed / 1_000), devices, CHECKPOINT, Monotonic(at));
        }
        found
    }

    #[test]
    fn who_moves_is_read_as_soon_as_a_megabyte_may_have_passed() {
        for (a_second, devices, expected) in [
            (0, 1, [1_000, 4_000, 16_000].as_slice()), // and then checkpoints alone
            (1_000, 1, &[1_000, 4_000, 16_000]),       // in its sleep
            (100_000, 1, &[1_000, 8_000, 8_000, 8_000]),
            (250_000, 1, &[1_000, 4_000, 4_000, 4_000]),
            (1_000_000, 1, &[1_000, 1_000, 1_000, 1_000]),
            (100_000_000, 1, &[1_000, 1_000, 1_000, 1_000]),
            (100_000_000, 1_000, &[1_000, 2_000, 2_000, 2_000]),
            (100_000_000, 10_000, &[1_000, 20_000, 20_000, 20_000]),
            (100_000_000, 1_000_000, &[1_000]), // more often than checkpoints it cannot be
        ] {
            let mut readings = Readings::default();
            readings.begin(1, Monotonic(50_000));
            assert_eq!(distances(&mut readings, 50_000, a_second, devices, 4), expected, "{a_second} bytes a second, {devices} devices");
        }
    }

    #[test]
    fn who_begins_after_a_rest_is_seen_by_any_reading() {
        let mut readings = Readings::default();
        readings.begin(1, Monotonic(0));
        assert_eq!(distances(&mut readings, 0, 0, 1, 9).len(), 3);
        // A checkpoint or a page: 6 MB since the last reading, 39 s ago.
        readings.read(Bytes(6_000_000), 1, CHECKPOINT, Monotonic(60_000));
        assert_eq!(readings.due(), Some(Monotonic(66_500)));
        // A page that asks meanwhile puts nothing off.
        readings.read(Bytes(70_000), 1, CHECKPOINT, Monotonic(61_000));
        assert_eq!(readings.due(), Some(Monotonic(66_500)));
        assert!(readings.ask(Monotonic(66_500)));
        readings.read(Bytes(6_500_000), 1, CHECKPOINT, Monotonic(66_500));
        assert_eq!(readings.due(), Some(Monotonic(67_500)));
        // One that finds nothing before it is due puts nothing off; one that is due does.
        readings.read(Bytes(0), 1, CHECKPOINT, Monotonic(67_000));
        assert_eq!(readings.due(), Some(Monotonic(67_500)));
        assert!(readings.ask(Monotonic(67_600)));
        readings.read(Bytes(0), 1, CHECKPOINT, Monotonic(67_600));
        assert_eq!(readings.due(), Some(Monotonic(71_600)));
        // Who comes meanwhile waits for nobody's rest.
        readings.begin(1, Monotonic(68_000));
        assert_eq!(readings.due(), Some(Monotonic(69_000)));
        readings.nobody();
        assert_eq!(readings.due(), None);
    }
}
