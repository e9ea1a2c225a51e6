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
    /// `ether_addr . ipv4_addr`; each part takes whole words of four bytes.
    pub const ETHER_IPV4: Self = Self(9 << 6 | 7, 12);
    /// `ether_addr . ipv6_addr`
    pub const ETHER_IPV6: Self = Self(9 << 6 | 8, 24);
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
    /// Device to its account's quota, whatever address it sends from.
    UpQuota,
    /// Device and the address that it sends from to the account's quota.
    UpQuota4,
    /// Device and the address that it sends from to the account's quota.
    UpQuota6,
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
    /// Device and an address that it sends from, where it is not known yet whose that is: what comes from there is dropped.
    Held4,
    /// Paid devices that send from an address that is new, each with how much more may go out so.
    Learning,
    /// The same devices, each with how many more of such packets may be told.
    Telling,
    /// The walled garden.
    Garden4,
    /// The walled garden.
    Garden6,
    /// Devices that have not paid and ask the router's DNS, each with what it may ask.
    Asking,
    /// The same devices, each with how many more addresses it may ask from.
    AskingAnew,
    /// Such a device and an address that it asks from.
    AskingFrom4,
    /// Such a device and an address that it asks from.
    AskingFrom6,
    /// Addresses that are answered, each with what it may be answered.
    Answered4,
    /// Addresses that are answered, each with what it may be answered.
    Answered6,
    /// A map with one element, that goes with a table of another version (`ruleset::leaving`). It is in no table of this one.
    Leaving,
}

/// The bounds of a set that others than we fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// As many elements at most.
    pub most: u32,
    /// How long each stays that is not renewed, and whose maker said nothing else.
    pub milliseconds: u64,
}

impl Set {
    /// All that our table has.
    pub const ALL: [Self; 24] = [
        Self::Lan,
        Self::Paid,
        Self::UpQuota,
        Self::UpQuota4,
        Self::UpQuota6,
        Self::UpCounter,
        Self::DownQuota4,
        Self::DownCounter4,
        Self::DownQuota6,
        Self::DownCounter6,
        Self::UpClass,
        Self::DownClass4,
        Self::DownClass6,
        Self::Held4,
        Self::Learning,
        Self::Telling,
        Self::Garden4,
        Self::Garden6,
        Self::Asking,
        Self::AskingAnew,
        Self::AskingFrom4,
        Self::AskingFrom6,
        Self::Answered4,
        Self::Answered6,
    ];

    /// Its name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Paid => "paid",
            Self::UpQuota => "up_quota",
            Self::UpQuota4 => "up_quota4",
            Self::UpQuota6 => "up_quota6",
            Self::UpCounter => "up_counter",
            Self::DownQuota4 => "down_quota4",
            Self::DownCounter4 => "down_counter4",
            Self::DownQuota6 => "down_quota6",
            Self::DownCounter6 => "down_counter6",
            Self::UpClass => "up_class",
            Self::DownClass4 => "down_class4",
            Self::DownClass6 => "down_class6",
            Self::Held4 => "held4",
            Self::Learning => "learning",
            Self::Telling => "telling",
            Self::Garden4 => "garden4",
            Self::Garden6 => "garden6",
            Self::Asking => "asking",
            Self::AskingAnew => "asking_anew",
            Self::AskingFrom4 => "asking_from4",
            Self::AskingFrom6 => "asking_from6",
            Self::Answered4 => "answered4",
            Self::Answered6 => "answered6",
            Self::Leaving => "leaving",
        }
    }

    /// What its keys are.
    #[must_use]
    pub const fn key(self) -> KeyType {
        match self {
            Self::Lan => KeyType::INTERFACE,
            Self::Paid
            | Self::UpQuota
            | Self::UpCounter
            | Self::UpClass
            | Self::Learning
            | Self::Telling
            | Self::Asking
            | Self::AskingAnew => KeyType::ETHER,
            Self::UpQuota4 | Self::Held4 | Self::AskingFrom4 => KeyType::ETHER_IPV4,
            Self::UpQuota6 | Self::AskingFrom6 => KeyType::ETHER_IPV6,
            Self::DownQuota4 | Self::DownCounter4 | Self::DownClass4 | Self::Garden4 | Self::Answered4 | Self::Leaving => KeyType::IPV4,
            Self::DownQuota6 | Self::DownCounter6 | Self::DownClass6 | Self::Garden6 | Self::Answered6 => KeyType::IPV6,
        }
    }

    /// What its elements lead to, where they do.
    #[must_use]
    pub const fn object(self) -> Option<u32> {
        match self {
            Self::UpQuota | Self::UpQuota4 | Self::UpQuota6 | Self::DownQuota4 | Self::DownQuota6 => Some(OBJECT_QUOTA),
            Self::UpCounter | Self::DownCounter4 | Self::DownCounter6 | Self::Leaving => Some(OBJECT_COUNTER),
            _ => None,
        }
    }

    /// Whether its elements lead to a class.
    #[must_use]
    pub const fn marks(self) -> bool {
        matches!(self, Self::UpClass | Self::DownClass4 | Self::DownClass6)
    }

    /// The bounds of a set that others than we fill: the kernel by its own rules, or dnsmasq (the walled garden).
    ///
    /// What an element still allows, of DNS or from a new address, is whole again before it ends, so that nobody gains by its end. There is room for
    /// every address that a thousand devices may ask from; more than that is somebody who makes devices up. An address of the
    /// walled garden stays for some hours: far longer than answers of DNS are remembered anywhere, and short enough that the
    /// addresses of large networks, which serve another name tomorrow, do not pile up.
    #[must_use]
    pub const fn bounds(self) -> Option<Bounds> {
        match self {
            Self::Learning => Some(Bounds { most: 16_384, milliseconds: 120_000 }),
            Self::Telling => Some(Bounds { most: 16_384, milliseconds: 60_000 }),
            Self::Asking => Some(Bounds { most: 4_096, milliseconds: 60_000 }),
            Self::AskingAnew => Some(Bounds { most: 4_096, milliseconds: 3_600_000 }),
            Self::AskingFrom4 | Self::AskingFrom6 => Some(Bounds { most: 8_192, milliseconds: 3_600_000 }),
            Self::Answered4 | Self::Answered6 => Some(Bounds { most: 8_192, milliseconds: 60_000 }),
            Self::Garden4 | Self::Garden6 => Some(Bounds { most: 4_096, milliseconds: 6 * 3_600_000 }),
            _ => None,
        }
    }

    /// Whether rules put elements into it.
    #[must_use]
    pub const fn grows(self) -> bool {
        self.bounds().is_some() && !matches!(self, Self::Garden4 | Self::Garden6)
    }

    /// Whether its elements end by themselves. Those that lead to counters do not, so that what was counted stays there
    /// to be read after the end.
    #[must_use]
    pub const fn ends(self) -> bool {
        self.bounds().is_some()
            || matches!(self, Self::Paid | Self::UpQuota | Self::UpQuota4 | Self::UpQuota6 | Self::DownQuota4 | Self::DownQuota6)
    }
}

/// A device, or an address of one, or both: what elements are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Traffic from it.
    Mac(Mac),
    /// Traffic to it.
    Address(IpAddr),
    /// Traffic from it that says it comes from this address. It leads to a quota only: what is counted and marked is the
    /// device's.
    Pair(Mac, IpAddr),
}

impl Key {
    /// Its bytes in an element.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Mac(mac) => mac.0.to_vec(),
            Self::Address(IpAddr::V4(address)) => address.octets().to_vec(),
            Self::Address(IpAddr::V6(address)) => address.octets().to_vec(),
            Self::Pair(mac, address) => [mac.0.as_slice(), &[0; 2], &Self::Address(address).bytes()].concat(),
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
        if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
            return Some(Self::Address(IpAddr::from(octets)));
        }
        let (mac, rest) = bytes.split_first_chunk::<6>()?;
        let address = match rest.split_first_chunk::<2>()?.1 {
            four @ [_, _, _, _] => IpAddr::from(<[u8; 4]>::try_from(four).ok()?),
            six => IpAddr::from(<[u8; 16]>::try_from(six).ok()?),
        };
        Some(Self::Pair(Mac(*mac), address))
    }
    /// The map that leads from it to a quota.
    #[must_use]
    pub const fn quota_map(self) -> Set {
        match self {
            Self::Mac(_) => Set::UpQuota,
            Self::Pair(_, IpAddr::V4(_)) => Set::UpQuota4,
            Self::Pair(_, IpAddr::V6(_)) => Set::UpQuota6,
            Self::Address(IpAddr::V4(_)) => Set::DownQuota4,
            Self::Address(IpAddr::V6(_)) => Set::DownQuota6,
        }
    }
    /// Whether it has elements of its own in the maps to counters and classes. A pair has not: its device has.
    #[must_use]
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Pair(..))
    }
    /// The map that leads from it to a counter.
    #[must_use]
    pub const fn counter_map(self) -> Set {
        match self {
            Self::Mac(_) | Self::Pair(..) => Set::UpCounter,
            Self::Address(IpAddr::V4(_)) => Set::DownCounter4,
            Self::Address(IpAddr::V6(_)) => Set::DownCounter6,
        }
    }
    /// The map that leads from it to a class.
    #[must_use]
    pub const fn class_map(self) -> Set {
        match self {
            Self::Mac(_) | Self::Pair(..) => Set::UpClass,
            Self::Address(IpAddr::V4(_)) => Set::DownClass4,
            Self::Address(IpAddr::V6(_)) => Set::DownClass6,
        }
    }
    /// Which way the bytes go that are found by it.
    #[must_use]
    pub const fn direction(self) -> Direction {
        match self {
            Self::Mac(_) | Self::Pair(..) => Direction::Up,
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
            Key::Pair("02:00:5e:10:00:01".parse().unwrap(), "10.77.0.11".parse().unwrap()),
            Key::Pair("02:00:5e:10:00:01".parse().unwrap(), "fd77::11".parse().unwrap()),
        ] {
            assert_eq!(Key::from_bytes(&key.bytes()), Some(key));
            assert_eq!(key.bytes().len(), key.quota_map().key().1 as usize);
            for map in [key.counter_map(), key.class_map()] {
                assert_eq!(key.bytes().len() == map.key().1 as usize, key.counts());
            }
        }
        for length in [0, 3, 5, 7, 8, 11, 13, 23, 25] {
            assert_eq!(Key::from_bytes(&vec![1; length]), None, "{length} bytes");
        }
    }
}
