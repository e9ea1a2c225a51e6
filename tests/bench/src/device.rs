//! The devices, and the frames that they send. Pure.

use lango_core::units::Mac;
use std::net::Ipv4Addr;

/// The router's Ethernet address on the customers' side.
pub const ROUTER_MAC: Mac = Mac([2, 0, 0x5e, 0xff, 0, 1]);
/// The router's IP address there, in a network of 65,534.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The router's address on the way out.
pub const ROUTER_WAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The host on the internet.
pub const INTERNET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

const ETHERNET: usize = 14;
const IP: usize = 20;
const UDP: usize = 8;
/// What is before the payload.
const HEADERS: usize = ETHERNET + IP + UDP;
/// A probe and a number.
pub const PAYLOAD: usize = 12;

/// A customer's device, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device(pub u32);

impl Device {
    /// Its Ethernet address.
    pub const fn mac(self) -> Mac {
        let [a, b, c, d] = self.0.to_be_bytes();
        Mac([2, a, b, 0x5e, c, d])
    }

    /// Its address: none ends in 0 or 255, and none is the router's.
    ///
    /// # Panics
    /// From 63,500 devices on.
    pub const fn address(self) -> Ipv4Addr {
        let (net, host) = (1 + self.0 / 250, 1 + self.0 % 250);
        assert!(net < 255, "there is room for 63,500 devices");
        Ipv4Addr::new(10, 77, net as u8, host as u8)
    }

    /// The port that it sends from: another one for each of the first 40,000, so that masquerading need not look for a free one.
    const fn port(self) -> u16 {
        20_000 + (self.0 % 40_000) as u16
    }

    /// A datagram of its to the internet host, as it is on the wire. The last bytes are the probe and the number.
    pub fn frame(self, port: u16, probe: u32, number: u64) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEADERS + PAYLOAD);
        frame.extend(ROUTER_MAC.0);
        frame.extend(self.mac().0);
        frame.extend([0x08, 0x00]);
        let length = (IP + UDP + PAYLOAD) as u16;
        frame.extend([0x45, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]); // not to be cut, 64 hops, UDP; the sum follows
        frame.extend(self.address().octets());
        frame.extend(INTERNET.octets());
        let sum = checksum(&frame[ETHERNET..]);
        frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
        frame.extend(self.port().to_be_bytes());
        frame.extend(port.to_be_bytes());
        frame.extend(((UDP + PAYLOAD) as u16).to_be_bytes());
        frame.extend([0, 0]); // no sum, which IPv4 allows (RFC 768)
        frame.extend(payload(probe, number));
        frame
    }
}

/// What a datagram carries.
pub fn payload(probe: u32, number: u64) -> [u8; PAYLOAD] {
    let mut bytes = [0; PAYLOAD];
    bytes[..4].copy_from_slice(&probe.to_be_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Probe and number of a datagram; nothing where it is none of ours.
pub fn parse(payload: &[u8]) -> Option<(u32, u64)> {
    let (probe, number) = payload.split_at_checked(4)?;
    Some((u32::from_be_bytes(probe.try_into().ok()?), u64::from_be_bytes(number.try_into().ok()?)))
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_device_is_another_one() {
        let macs: HashSet<[u8; 6]> = (0..20_000).map(|n| Device(n).mac().0).collect();
        let addresses: HashSet<Ipv4Addr> = (0..20_000).map(|n| Device(n).address()).collect();
        assert_eq!((macs.len(), addresses.len()), (20_000, 20_000));
        assert!(!addresses.contains(&ROUTER));
    }

    #[test]
    fn a_frame_byte_by_byte() {
        let frame = Device(3).frame(7_000, 5, 0x0102);
        #[rustfmt::skip]
        let expected = [
            2, 0, 0x5e, 0xff, 0, 1,  2, 0, 0, 0x5e, 0, 3,  8, 0,
            0x45, 0, 0, 40,  0, 0, 0x40, 0,  64, 17, 0xae, 0x73,  10, 77, 1, 4,  192, 0, 2, 1,
            0x4e, 0x23, 0x1b, 0x58, 0, 20, 0, 0,
            0, 0, 0, 5,  0, 0, 0, 0, 0, 0, 1, 2,
        ];
        assert_eq!(frame[..24], expected[..24]);
        assert_eq!(frame[26..], expected[26..]);
        assert_eq!(checksum(&frame[ETHERNET..ETHERNET + IP]), 0, "the sum over a header with its sum is nothing");
        assert_eq!(parse(&frame[HEADERS..]), Some((5, 0x0102)));
        assert_eq!(parse(&[1, 2, 3]), None);
    }

    #[test]
    fn the_sum_of_the_standard() {
        // RFC 1071, section 3: the sum of these is ddf2.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }
}
