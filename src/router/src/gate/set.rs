//! Our sets and maps: their names, what their elements are found by and lead to. Pure.

use super::names::Direction;
use super::nft::{OBJECT_COUNTER, OBJECT_QUOTA};
use lango_core::units::Mac;
use std::net::IpAddr;

/// A type of key, by the number that `nft` knows it by, and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyType(pub u32, pub u32);

impl KeyType {
    /// `ipv4_addr`
    pub const IPV4: Self = Self(7, 4);
    /// `ipv6_addr`
    pub const IPV6: Self = Self(8, 16);
    /// `ether_addr`
    pub const ETHER: Self = Self(9, 6);
    /// `ifname`
    pub const INTERFACE: Self = Self(41, 16);
    /// `classid`
    pub const CLASS: Self = Self(23, 4);
}

/// Our sets and maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// The customers' interfaces.
    Lan,
    /// Devices that may pass: what the NAT chain asks, so that no look-up there counts.
    Paid,
    /// Device to its account's quota.
    UpQuota,
    /// Device to its counter up.
    UpCounter,
    /// Address to the account's quota.
    DownQuota4,
    /// Address to its device's counter down.
    DownCounter4,
    /// Address to the account's quota.
    DownQuota6,
    /// Address to its device's counter down.
    DownCounter6,
    /// Device to the class that holds its account's speed.
    UpClass,
    /// Address to the class.
    DownClass4,
    /// Address to the class.
    DownClass6,
    /// The walled garden.
    Garden4,
    /// The walled garden.
    Garden6,
}

impl Set {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Lan,
        Self::Paid,
        Self::UpQuota,
        Self::UpCounter,
        Self::DownQuota4,
        Self::DownCounter4,
        Self::DownQuota6,
        Self::DownCounter6,
        Self::UpClass,
        Self::DownClass4,
        Self::DownClass6,
        Self::Garden4,
        Self::Garden6,
    ];

    /// Its name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Paid => "paid",
            Self::UpQuota => "up_quota",
            Self::UpCounter => "up_counter",
            Self::DownQuota4 => "down_quota4",
            Self::DownCounter4 => "down_counter4",
            Self::DownQuota6 => "down_quota6",
            Self::DownCounter6 => "down_counter6",
            Self::UpClass => "up_class",
            Self::DownClass4 => "down_class4",
            Self::DownClass6 => "down_class6",
            Self::Garden4 => "garden4",
            Self::Garden6 => "garden6",
        }
    }

    /// What its keys are.
    #[must_use]
    pub const fn key(self) -> KeyType {
        match self {
            Self::Lan => KeyType::INTERFACE,
            Self::Paid | Self::UpQuota | Self::UpCounter | Self::UpClass => KeyType::ETHER,
            Self::DownQuota4 | Self::DownCounter4 | Self::DownClass4 | Self::Garden4 => KeyType::IPV4,
            Self::DownQuota6 | Self::DownCounter6 | Self::DownClass6 | Self::Garden6 => KeyType::IPV6,
        }
    }

    /// What its elements lead to, where they do.
    #[must_use]
    pub const fn object(self) -> Option<u32> {
        match self {
            Self::UpQuota | Self::DownQuota4 | Self::DownQuota6 => Some(OBJECT_QUOTA),
            Self::UpCounter | Self::DownCounter4 | Self::DownCounter6 => Some(OBJECT_COUNTER),
            Self::Lan | Self::Paid | Self::UpClass | Self::DownClass4 | Self::DownClass6 | Self::Garden4 | Self::Garden6 => None,
        }
    }

    /// Whether its elements lead to a class.
    #[must_use]
    pub const fn marks(self) -> bool {
        matches!(self, Self::UpClass | Self::DownClass4 | Self::DownClass6)
    }

    /// Whether its elements end by themselves. Those that lead to counters do not, so that what was counted stays there
    /// to be read after the end.
    #[must_use]
    pub const fn ends(self) -> bool {
        matches!(self, Self::Paid | Self::UpQuota | Self::DownQuota4 | Self::DownQuota6)
    }
}

/// A device, or an address of one: what elements are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Traffic from it.
    Mac(Mac),
    /// Traffic to it.
    Address(IpAddr),
}

impl Key {
    /// Its bytes in an element.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Mac(mac) => mac.0.to_vec(),
            Self::Address(IpAddr::V4(address)) => address.octets().to_vec(),
            Self::Address(IpAddr::V6(address)) => address.octets().to_vec(),
        }
    }
    /// The key with these bytes; nothing for any other length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if let Ok(octets) = <[u8; 6]>::try_from(bytes) {
            return Some(Self::Mac(Mac(octets)));
        }
        if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
            return Some(Self::Address(IpAddr::from(octets)));
        }
        Some(Self::Address(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)))
    }
    /// The map that leads from it to a quota.
    #[must_use]
    pub const fn quota_map(self) -> Set {
        match self {
            Self::Mac(_) => Set::UpQuota,
            Self::Address(IpAddr::V4(_)) => Set::DownQuota4,
            Self::Address(IpAddr::V6(_)) => Set::DownQuota6,
        }
    }
    /// The map that leads from it to a counter.
    #[must_use]
    pub const fn counter_map(self) -> Set {
        match self {
            Self::Mac(_) => Set::UpCounter,
            Self::Address(IpAddr::V4(_)) => Set::DownCounter4,
            Self::Address(IpAddr::V6(_)) => Set::DownCounter6,
        }
    }
    /// The map that leads from it to a class.
    #[must_use]
    pub const fn class_map(self) -> Set {
        match self {
            Self::Mac(_) => Set::UpClass,
            Self::Address(IpAddr::V4(_)) => Set::DownClass4,
            Self::Address(IpAddr::V6(_)) => Set::DownClass6,
        }
    }
    /// Which way the bytes go that are found by it.
    #[must_use]
    pub const fn direction(self) -> Direction {
        match self {
            Self::Mac(_) => Direction::Up,
            Self::Address(_) => Direction::Down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_from_their_bytes() {
        for key in [
            Key::Mac("02:00:5e:10:00:01".parse().unwrap()),
            Key::Address("10.77.0.11".parse().unwrap()),
            Key::Address("fd77::11".parse().unwrap()),
        ] {
            assert_eq!(Key::from_bytes(&key.bytes()), Some(key));
            assert_eq!(key.bytes().len(), key.quota_map().key().1 as usize);
            assert_eq!(key.bytes().len(), key.counter_map().key().1 as usize);
            assert_eq!(key.bytes().len(), key.class_map().key().1 as usize);
        }
        assert_eq!(Key::from_bytes(&[1, 2, 3]), None);
    }
}
