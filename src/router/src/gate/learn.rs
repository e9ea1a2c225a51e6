//! What the kernel logs of paid devices' packets: those from an address that is new, and those from another device's.
//!
//! A phone makes itself new IPv6 addresses as it likes (RFC 8981), and may get another IPv4 address with a new lease. The
//! router's neighbour table learns one only when the router has something to send to it, and the answers to what came from
//! it are refused before that: they are addressed to somebody unknown. So the rules log such a packet to a group of ours
//! (`ruleset`), and the address is known a moment later. A packet from an address that is another paid device's goes
//! nowhere; it is logged with a prefix.

use super::nft::GENERIC_HEADER;
use crate::netlink::codec::{ERROR, Malformed, Message, Messages, REQUEST, Writer, u16_at};
use crate::netlink::events::{Events, Heard};
use crate::netlink::socket::{Family, NetlinkError};
use lango_core::units::Mac;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Our group of the kernel's packet log. ulogd's habit is to use small numbers.
pub const GROUP: u16 = 7_788;

/// Bytes of each packet that are asked for: the IPv6 header; an IPv4 header's addresses are within.
pub const HEADER6: u32 = 40;

/// The prefix of what a device sent from another one's address.
pub const FOREIGN: &str = "foreign";

/// `NFNL_SUBSYS_ULOG`
const SUBSYSTEM: u16 = 4 << 8;
/// `NFULNL_MSG_PACKET`
const PACKET: u16 = SUBSYSTEM;
/// `NFULNL_MSG_CONFIG`
const CONFIG: u16 = SUBSYSTEM | 1;

/// `NFULA_HWADDR`
const HARDWARE_ADDRESS: u16 = 8;
/// `NFULA_PAYLOAD`
const PAYLOAD: u16 = 9;
/// `NFULA_PREFIX`
const PREFIX: u16 = 10;

/// A paid device that sent from an address that is not known for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The device.
    pub mac: Mac,
    /// Where it says it sends from.
    pub address: IpAddr,
    /// Whether the address is known for another paid device's. The packet was dropped then.
    pub foreign: bool,
}

/// Hears of such senders.
#[derive(Debug)]
pub struct Senders {
    events: Events,
    waiting: VecDeque<Sender>,
}

impl Senders {
    /// Begins to listen, in the network namespace of the calling thread. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the system gives no socket. That the kernel has no packet log, or somebody else has our group, shows at
    /// [`Senders::next`].
    pub fn open() -> Result<Self, NetlinkError> {
        let events = Events::open(Family::Netfilter, 0)?;
        events.tell(&listen()?)?;
        Ok(Self { events, waiting: VecDeque::new() })
    }

    /// Waits for the next one. Nothing is lost when the waiting is given up.
    ///
    /// # Errors
    /// When the kernel refuses to log, or the socket fails: new addresses are then learnt from ARP and neighbour discovery alone.
    pub async fn next(&mut self) -> io::Result<Sender> {
        loop {
            if let Some(found) = self.waiting.pop_front() {
                return Ok(found);
            }
            match self.events.next().await? {
                Heard::Overrun => {} // the next packet tells the same
                Heard::Datagram(datagram) => {
                    for message in Messages::new(datagram).flatten() {
                        if message.kind == ERROR {
                            let errno = message.failure().map_or(0, |failure| failure.errno);
                            if errno != 0 {
                                return Err(io::Error::from_raw_os_error(errno));
                            }
                        }
                        self.waiting.extend(sender(&message).ok().flatten());
                    }
                }
            }
        }
    }
}

/// The request to be told of our group's packets, each at once, and no more of it than its header.
fn listen() -> Result<Vec<u8>, NetlinkError> {
    let mut writer = Writer::new();
    writer.message(CONFIG, REQUEST, 1, |w| {
        let [high, low] = GROUP.to_be_bytes();
        w.raw(&[0, 0, high, low]);
        w.attribute(1, &[1]); // NFULA_CFG_CMD: NFULNL_CFG_CMD_BIND
        let [a, b, c, d] = HEADER6.to_be_bytes();
        w.attribute(2, &[a, b, c, d, 2, 0]); // NFULA_CFG_MODE: NFULNL_COPY_PACKET
        w.be32(5, 1); // NFULA_CFG_QTHRESH
    });
    Ok(writer.finish()?)
}

/// Who sent a logged packet; nothing where it is no such packet.
pub fn sender(message: &Message<'_>) -> Result<Option<Sender>, Malformed> {
    if message.kind != PACKET {
        return Ok(None);
    }
    let (mut mac, mut address, mut foreign) = (None, None, false);
    for attribute in message.attributes(GENERIC_HEADER)? {
        let attribute = attribute?;
        match attribute.kind {
            HARDWARE_ADDRESS if u16_at(attribute.value, 0) == Some(6u16.to_be()) => {
                mac = attribute.value.get(4..10).and_then(|octets| octets.try_into().ok()).map(Mac);
            }
            PAYLOAD => address = source(attribute.value),
            PREFIX => foreign = attribute.text() == Some(FOREIGN),
            _ => {}
        }
    }
    Ok(mac.zip(address).map(|(mac, address)| Sender { mac, address, foreign }))
}

/// The source address in an IP header, where one host can have it to itself.
fn source(header: &[u8]) -> Option<IpAddr> {
    match header.first()? >> 4 {
        4 => {
            let octets: [u8; 4] = header.get(12..16)?.try_into().ok()?;
            let address = Ipv4Addr::from(octets);
            let nobody = address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback();
            (!nobody).then_some(IpAddr::V4(address))
        }
        6 => {
            let octets: [u8; 16] = header.get(8..24)?.try_into().ok()?;
            let address = Ipv6Addr::from(octets);
            let nobody = address.is_unspecified() || address.is_multicast() || address.is_loopback();
            (!nobody).then_some(IpAddr::V6(address))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(hardware: &[u8], payload: &[u8], prefix: Option<&str>) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.message(PACKET, 0, 0, |w| {
            w.raw(&[10, 0, 0x1e, 0x6c]);
            w.attribute(HARDWARE_ADDRESS, hardware);
            w.attribute(PAYLOAD, payload);
            if let Some(prefix) = prefix {
                w.text(PREFIX, prefix);
            }
        });
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Option<Sender> {
        sender(&Messages::new(bytes).next().unwrap().unwrap()).unwrap()
    }

    fn header(source: &str) -> Vec<u8> {
        match source.parse().unwrap() {
            IpAddr::V4(address) => [&[0x45; 12], address.octets().as_slice(), &[0; 4]].concat(),
            IpAddr::V6(address) => [&[0x60; 8], address.octets().as_slice(), &[0; 16]].concat(),
        }
    }

    #[test]
    fn who_sent_a_logged_packet() {
        let hardware = [0, 6, 0, 0, 2, 0, 0x5e, 0x10, 0, 1, 0, 0];
        let mac = "02:00:5e:10:00:01".parse().unwrap();
        for address in ["2001:db8::7", "10.77.0.11", "fe80::1"] {
            for (prefix, foreign) in [(None, false), (Some("foreign"), true), (Some("other"), false)] {
                let found = Sender { mac, address: address.parse().unwrap(), foreign };
                assert_eq!(read(&logged(&hardware, &header(address), prefix)), Some(found));
            }
        }
        let header6 = header("2001:db8::7");
        for (hardware, payload, why) in [
            (&hardware[..8], header6.as_slice(), "an address cut short"),
            (&[0, 8, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], &header6, "no Ethernet"),
            (&hardware[..], &header6[..23], "a header cut short"),
            (&hardware[..], &header("10.0.0.1")[..15], "an IPv4 header cut short"),
            (&hardware[..], &header("0.0.0.0"), "nobody's address"),
            (&hardware[..], &header("224.0.0.1"), "everybody's address"),
            (&hardware[..], &header("127.0.0.1"), "the router's own"),
            (&hardware[..], &header("ff02::1"), "everybody's address"),
            (&hardware[..], &[0x50; 40][..], "no IP"),
            (&hardware[..], &[], "nothing"),
        ] {
            assert_eq!(read(&logged(hardware, payload, None)), None, "{why}");
        }
    }
}
