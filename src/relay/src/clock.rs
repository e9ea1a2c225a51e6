//! The relay's clock: the one place that reads it.

use lango_core::time::Wall;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now. A machine whose clock is before 1970 is told as 1970; everything is stale to it, and nobody is prompted.
#[must_use]
pub fn now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
