//! What is sold: a package, and the limits that it gives.

use crate::units::{Bytes, Kbps, Millis, PackageId, Shillings};
use serde::{Deserialize, Serialize};

/// Limits of what was bought. `None` is "no such limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time online; it runs while at least one of the account's devices is online.
    pub time: Option<Millis>,
    /// Bytes up and down together, of all devices of the account.
    pub data: Option<Bytes>,
    /// Speed towards the device.
    pub down: Option<Kbps>,
    /// Speed from the device.
    pub up: Option<Kbps>,
    /// Devices online at once on one account; at least 1.
    pub devices: u8,
}

impl Limits {
    /// Whether two purchases can run as one, their time and data simply added: they limit the same things, at the same
    /// speeds. Others are used one after the other, because a sum of unlike limits would give away what nobody paid for
    /// (an hour without a data limit must not lift the data limit of a month).
    #[must_use]
    pub fn adds_to(&self, other: &Self) -> bool {
        self.time.is_some() == other.time.is_some()
            && self.data.is_some() == other.data.is_some()
            && (self.down, self.up, self.devices) == (other.down, other.up, other.devices)
    }
}

/// One line of the price list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// The name of its UCI section.
    pub id: PackageId,
    /// What customers read, as `1 hour`.
    pub label: String,
    /// Its price.
    pub price: Shillings,
    /// What it gives.
    pub limits: Limits,
}
