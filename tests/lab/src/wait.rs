//! Waiting for a condition, never for a length of time.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks until `condition` gives something, at most for `limit`.
///
/// # Errors
/// When the time is over; the message says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = condition() {
            return Ok(found);
        }
        if began.elapsed() > limit {
            bail!("waited {limit:?} in vain: {what}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The same for a condition that is true or false.
///
/// # Errors
/// When the time is over.
pub fn until_true(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    until(what, limit, || condition().then_some(()))
}

/// Looks for the whole of `length` and fails as soon as `condition` no longer holds: for what must *not* happen.
///
/// # Errors
/// When it did not hold at some moment.
pub fn holds_for(what: &str, length: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < length {
        if !condition() {
            bail!("after {:?} it no longer held: {what}", began.elapsed());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
