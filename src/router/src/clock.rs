//! The machine's clocks and randomness, as the core's types. The only place of the router program that reads them.

use lango_core::step::Entropy;
use lango_core::time::{BootId, Monotonic, Now, Wall};
use nix::time::{ClockId, clock_gettime};
use ring::rand::{SecureRandom, SystemRandom};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoEntropy;

/// The time since this boot, suspended time included (`CLOCK_BOOTTIME`), in milliseconds.
#[must_use]
pub fn monotonic() -> Monotonic {
    // It cannot fail: Linux has this clock since 2.6.39, and the address is the library's own.
    let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    Monotonic(u64::try_from(since_boot.as_millis()).unwrap_or(u64::MAX))
}

/// The processor time that the calling thread has used (`CLOCK_THREAD_CPUTIME_ID`): what others do meanwhile is not in it.
#[must_use]
pub fn processor() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// This moment, by both clocks.
#[must_use]
pub fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { monotonic: monotonic(), wall: Wall::if_plausible(u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)) }
}

/// Which boot this is.
///
/// # Errors
/// When `/proc` is not there.
pub fn boot_id() -> io::Result<BootId> {
    Ok(BootId::from(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim()))
}

/// Randomness for one step of the core.
///
/// # Errors
/// When the system gives none.
pub fn entropy() -> Result<Entropy, NoEntropy> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoEntropy)?;
    Ok(Entropy(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_and_is_this_boot_s() {
        let (first, second) = (monotonic(), monotonic());
        assert!(first.0 > 0 && second >= first);
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert_eq!(boot_id().unwrap().as_str().len(), 36);
        assert!(now().wall.is_some(), "the machine that tests has its clock set");
    }

    #[test]
    fn randomness_is_not_the_same_twice() {
        assert_ne!(entropy().unwrap().0, entropy().unwrap().0);
    }
}
