//! How much is measured: everything, or little of each so that this program does not rot.

use std::time::Duration;

/// Sizes and times of one run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many devices are online, in steps; the first is 1.
    pub fills: &'static [u32],
    /// Grants that are timed at each fill, on each store.
    pub grants: u32,
    /// Devices among those online that really carry TCP.
    pub phones: u32,
    /// Pairs of forwarding windows, plain and gated in turn. Where there is an aim and they do not tell, as many again …
    pub rounds: u32,
    /// … up to so many.
    pub rounds_at_most: u32,
    /// The same, of TCP with each packet by itself: where the processors are all that bounds it, pairs differ more.
    pub rounds_by_packet: u32,
    /// How long TCP may find its pace before a window.
    pub warm: Duration,
    /// How long is counted.
    pub window: Duration,
    /// `kill -9` and start again, so often.
    pub restarts: u32,
    /// How long the daemon is watched while nothing happens: at least a checkpoint's time.
    pub idle: Duration,
    /// How long it may take before that until what was asked of it last is done.
    pub settle: Duration,
    /// Whether an aim that is missed is an error.
    pub enforced: bool,
}

impl Plan {
    /// All of it, within an hour.
    pub const FULL: Self = Self {
        fills: &[1, 1_000, 10_000],
        grants: 200,
        phones: 16,
        rounds: 15,
        rounds_at_most: 150,
        rounds_by_packet: 300,
        warm: Duration::from_millis(100),
        window: Duration::from_millis(300),
        restarts: 7,
        idle: Duration::from_secs(60),
        settle: Duration::from_secs(30),
        enforced: true,
    };

    /// Little of each, within two minutes: whether it works, not how fast.
    pub const QUICK: Self = Self {
        fills: &[1, 300],
        grants: 20,
        phones: 7,
        rounds: 3,
        rounds_at_most: 6,
        rounds_by_packet: 6,
        warm: Duration::from_millis(100),
        window: Duration::from_millis(200),
        restarts: 2,
        idle: Duration::from_secs(3),
        settle: Duration::from_secs(5),
        enforced: false,
    };
}
