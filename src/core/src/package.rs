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

/// A package as the price list's JSON has it (contract: `GET /api/packages`): in the units of the configuration.
#[derive(Debug, Serialize)]
pub struct Listed<'a> {
    id: &'a PackageId,
    label: &'a str,
    price: Shillings,
    minutes: Option<u64>,
    megabytes: Option<u64>,
    down_kbps: Option<Kbps>,
    up_kbps: Option<Kbps>,
    devices: u8,
}

impl<'a> From<&'a Package> for Listed<'a> {
    fn from(Package { id, label, price, limits }: &'a Package) -> Self {
        Self {
            id,
            label,
            price: *price,
            minutes: limits.time.map(|time| time.0 / Millis::from_minutes(1).0),
            megabytes: limits.data.map(|data| data.0 / Bytes::from_megabytes(1).0),
            down_kbps: limits.down,
            up_kbps: limits.up,
            devices: limits.devices,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_list_s_json_is_the_contract_s() {
        let all = Limits {
            time: Some(Millis::from_minutes(60)),
            data: Some(Bytes::from_megabytes(500)),
            down: Some(Kbps(5_000)),
            up: Some(Kbps(2_000)),
            devices: 1,
        };
        let none = Limits { time: None, data: None, down: None, up: None, devices: 3 };
        for (limits, written) in [
            (all, r#""minutes":60,"megabytes":500,"down_kbps":5000,"up_kbps":2000,"devices":1}"#),
            (none, r#""minutes":null,"megabytes":null,"down_kbps":null,"up_kbps":null,"devices":3}"#),
        ] {
            let hour = Package { id: "hour".parse().unwrap(), label: "1 hour".to_owned(), price: Shillings(10), limits };
            let expected = format!(r#"{{"id":"hour","label":"1 hour","price":10,{written}"#);
            assert_eq!(serde_json::to_string(&Listed::from(&hour)).unwrap(), expected);
        }
    }
}
