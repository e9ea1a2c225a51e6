//! New IPv6 addresses of paid devices: the kernel logs the first packets that come from one, and this hears them.
//!
//! A phone makes itself new IPv6 addresses as it likes (RFC 8981). The router's neighbour table learns one only when the
//! router has something to send to it, and the answers to what came from it are refused before that: they are addressed
//! to somebody unknown. So the rules log such a packet to a group of ours (`ruleset`), and the address is known a
//! moment later.

use super::nft::GENERIC_HEADER;
use crate::netlink::codec::{ERROR, Malformed, Message, Messages, REQUEST, Writer, u16_at};
use crate::netlink::events::{Events, Heard};
use crate::netlink::socket::{Family, NetlinkError};
use lango_core::units::Mac;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

/// Our group of the kernel's packet log. ulogd's habit is to use small numbers.
pub const GROUP: u16 = 7_788;

/// Bytes of each packet that are asked for: the IPv6 header.
pub const HEADER6: u32 = 40;

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

/// Hears new addresses.
#[derive(Debug)]
pub struct NewAddresses {
    events: Events,
    waiting: VecDeque<(Mac, IpAddr)>,
}

impl NewAddresses {
    /// Begins to listen, in the network namespace of the calling thread. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the system gives no socket. That the kernel has no packet log, or somebody else has our group, shows at
    /// [`NewAddresses::next`].
    pub fn open() -> Result<Self, NetlinkError> {
        let events = Events::open(Family::Netfilter, 0)?;
        events.tell(&listen()?)?;
        Ok(Self { events, waiting: VecDeque::new() })
    }

    /// Waits for the next device and its new address. Nothing is lost when the waiting is given up.
    ///
    /// # Errors
    /// When the kernel refuses to log, or the socket fails: new addresses are then learnt from neighbour discovery alone.
    pub async fn next(&mut self) -> io::Result<(Mac, IpAddr)> {
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
fn sender(message: &Message<'_>) -> Result<Option<(Mac, IpAddr)>, Malformed> {
    if message.kind != PACKET {
        return Ok(None);
    }
    let (mut mac, mut address) = (None, None);
    for attribute in message.attributes(GENERIC_HEADER)? {
        let attribute = attribute?;
        match attribute.kind {
            HARDWARE_ADDRESS if u16_at(attribute.value, 0) == Some(6u16.to_be()) => {
                mac = attribute.value.get(4..10).and_then(|octets| octets.try_into().ok()).map(Mac);
            }
            PAYLOAD if attribute.value.first().is_some_and(|first| first >> 4 == 6) => {
                let octets: Option<[u8; 16]> = attribute.value.get(8..24).and_then(|octets| octets.try_into().ok());
                address = octets.map(Ipv6Addr::from).filter(|address| !address.is_multicast() && !address.is_unspecified());
            }
            _ => {}
        }
    }
    Ok(mac.zip(address.map(IpAddr::V6)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(hardware: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.message(PACKET, 0, 0, |w| {
            w.raw(&[10, 0, 0x1e, 0x6c]);
            w.attribute(HARDWARE_ADDRESS, hardware);
            w.attribute(PAYLOAD, payload);
        });
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Option<(Mac, IpAddr)> {
        sender(&Messages::new(bytes).next().unwrap().unwrap()).unwrap()
    }

    #[test]
    fn who_sent_a_logged_packet() {
        let hardware = [0, 6, 0, 0, 2, 0, 0x5e, 0x10, 0, 1, 0, 0];
        let mut header = [0; 40];
        header[0] = 0x60;
        header[8..24].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        let found = ("02:00:5e:10:00:01".parse().unwrap(), "2001:db8::7".parse().unwrap());
        assert_eq!(read(&logged(&hardware, &header)), Some(found));
        for (hardware, payload, why) in [
            (&hardware[..8], &header[..], "an address cut short"),
            (&[0, 8, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], &header[..], "no Ethernet"),
            (&hardware[..], &header[..23], "a header cut short"),
            (&hardware[..], &[0x45; 40][..], "IPv4"),
            (&hardware[..], &[0x60; 0][..], "nothing"),
        ] {
            assert_eq!(read(&logged(hardware, payload)), None, "{why}");
        }
    }
}
