//! What the model's routers sell: each kind of limit alone and together, alike and unlike, so that purchases run as one and in a row.

use lango_core::package::{Limits, Package};
use lango_core::units::{Bytes, Kbps, Millis, PackageId, Shillings};

/// What packages are called.
pub const PACKAGES: [&str; 5] = ["hour", "slow", "short", "megs", "both"];

fn package(number: usize) -> Package {
    let minutes = |minutes| Some(Millis::from_minutes(minutes));
    let megabytes = |megabytes| Some(Bytes::from_megabytes(megabytes));
    let (time, data, devices) = match number {
        0 | 1 => (minutes(60), None, 1),
        2 => (minutes(10), None, 2),
        3 => (None, megabytes(50), 1),
        _ => (minutes(30), megabytes(20), 3),
    };
    Package {
        id: PACKAGES[number].parse().unwrap(),
        label: PACKAGES[number].to_owned(),
        price: Shillings(10 * (number as u64 + 1)),
        limits: Limits { time, data, down: (number == 1).then_some(Kbps(1_000)), up: None, devices },
    }
}

/// The price list: all, or without the first.
#[must_use]
pub fn list(all: bool) -> Vec<Package> {
    (usize::from(!all)..PACKAGES.len()).map(package).collect()
}

/// A package that is, or was, sold.
#[must_use]
pub fn find(id: &PackageId) -> Option<Package> {
    PACKAGES.iter().position(|known| *known == id.as_str()).map(package)
}
