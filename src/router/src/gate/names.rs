//! The names of our objects in the kernel. They say whose they are, so that a daemon that starts again can tell. Pure.
//!
//! Frozen: a later version must be able to read what an earlier one left in the kernel.

use lango_core::gate::GateId;
use lango_core::units::Mac;
use std::fmt;
use std::str::FromStr;

/// The text is not one of our names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotOurs;

/// The quota of an account: `q17.0`.
///
/// The serial counts the account's quotas. A quota that was hit is replaced and not mended: it went on counting the
/// packets that it refused, and it cannot be deleted as long as an element that ran out, but was not collected yet, holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaName {
    /// The account.
    pub id: GateId,
    /// Which of its quotas; the highest is the one in force.
    pub serial: u32,
}

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the device.
    Up,
    /// To the device.
    Down,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];
}

/// The counter of one device on an account, one way: `u17-02005e100001` up, `d17-02005e100001` down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterName {
    /// The account.
    pub id: GateId,
    /// The device.
    pub mac: Mac,
    /// Which way.
    pub direction: Direction,
}

impl fmt::Display for QuotaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}.{}", self.id.0, self.serial)
    }
}

impl fmt::Display for CounterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.direction {
            Direction::Up => 'u',
            Direction::Down => 'd',
        };
        write!(f, "{letter}{}-", self.id.0)?;
        self.mac.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl FromStr for QuotaName {
    type Err = NotOurs;
    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let (id, serial) = text.strip_prefix('q').and_then(|rest| rest.split_once('.')).ok_or(NotOurs)?;
        let name = Self { id: GateId(number(id)?), serial: number(serial)? };
        written_so(name, text)
    }
}

impl FromStr for CounterName {
    type Err = NotOurs;
    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let (direction, rest) = match text.strip_prefix('u') {
            Some(rest) => (Direction::Up, rest),
            None => (Direction::Down, text.strip_prefix('d').ok_or(NotOurs)?),
        };
        let (id, digits) = rest.split_once('-').ok_or(NotOurs)?;
        let mut octets = [0; 6];
        for (index, octet) in octets.iter_mut().enumerate() {
            let pair = digits.get(index * 2..index * 2 + 2).ok_or(NotOurs)?;
            *octet = u8::from_str_radix(pair, 16).map_err(|_| NotOurs)?;
        }
        written_so(Self { id: GateId(number(id)?), mac: Mac(octets), direction }, text)
    }
}

fn number(text: &str) -> Result<u32, NotOurs> {
    text.parse().map_err(|_| NotOurs)
}

/// Only the one way of writing a name is ours: no leading zeros, no signs, no capital letters.
fn written_so<T: fmt::Display>(name: T, text: &str) -> Result<T, NotOurs> {
    if name.to_string() == text { Ok(name) } else { Err(NotOurs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_frozen_and_short_enough() {
        let mac: Mac = "02:00:5e:10:00:0f".parse().unwrap();
        let quota = QuotaName { id: GateId(u32::MAX), serial: u32::MAX };
        let up = CounterName { id: GateId(u32::MAX), mac, direction: Direction::Up };
        let down = CounterName { id: GateId(17), mac, direction: Direction::Down };
        for (written, text) in [
            (quota.to_string(), "q4294967295.4294967295"),
            (up.to_string(), "u4294967295-02005e10000f"),
            (down.to_string(), "d17-02005e10000f"),
        ] {
            assert_eq!(written, text);
            assert!(text.len() <= 31, "older kernels take 31 characters");
        }
        assert_eq!("q4294967295.4294967295".parse(), Ok(quota));
        assert_eq!("u4294967295-02005e10000f".parse(), Ok(up));
        assert_eq!("d17-02005e10000f".parse(), Ok(down));
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        for text in ["", "q", "q1", "q1.", "q.1", "q01.0", "q+1.0", "q4294967296.0", "x1.0", "q1.0 "] {
            assert_eq!(text.parse::<QuotaName>(), Err(NotOurs), "{text}");
        }
        for text in ["", "u1", "u1-", "u1-02005e1000", "u1-02005e10000f0", "u1-02005E10000F", "w1-02005e10000f", "u1-é2005e10000f"] {
            assert_eq!(text.parse::<CounterName>(), Err(NotOurs), "{text}");
        }
    }
}
