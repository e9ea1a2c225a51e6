//! Messages about tracked connections and the router's own addresses (linux/netfilter/nfnetlink_conntrack.h,
//! linux/if_addr.h). Pure.

use crate::netlink::codec::{Attribute, Malformed, Message, Writer, u32_at};
use std::net::IpAddr;

/// `NFNL_SUBSYS_CTNETLINK`, in a message type's high byte.
const SUBSYSTEM: u16 = 1 << 8;
/// `IPCTNL_MSG_CT_NEW`: what a dump's answers are.
#[cfg(test)]
const NEW: u16 = SUBSYSTEM;
/// `IPCTNL_MSG_CT_GET`
pub const GET: u16 = SUBSYSTEM | 1;
/// `IPCTNL_MSG_CT_DELETE`
pub const DELETE: u16 = SUBSYSTEM | 2;
/// `RTM_GETADDR`
pub const GET_ADDRESS: u16 = 22;

/// Length of `struct nfgenmsg`, in bytes.
const HEADER: usize = 4;
/// Length of `struct ifaddrmsg`, in bytes.
const ADDRESS_HEADER: usize = 8;

/// `AF_INET`, `AF_INET6`
const IP4: u8 = 2;
const IP6: u8 = 10;

/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
/// `CTA_STATUS`, `CTA_ID`, `CTA_ZONE`, `CTA_FILTER`
const STATUS: u16 = 3;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// `CTA_TUPLE_IP`
const TUPLE_ADDRESSES: u16 = 1;
/// `CTA_FILTER_ORIG_FLAGS`, `CTA_FILTER_REPLY_FLAGS`
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
/// `CTA_FILTER_F_CTA_IP_SRC` (the kernel's own nf_internals.h): look at the source's address alone.
const BY_SOURCE: u32 = 1;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// `IFA_ADDRESS`, `IFA_LOCAL`
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;

/// `IPS_OFFLOAD`, `IPS_HW_OFFLOAD`: packets of this connection pass by the chains.
const OFFLOADED: u32 = 1 << 14 | 1 << 15;

/// One direction's ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Who sends.
    pub source: IpAddr,
    /// Who is sent to.
    pub destination: IpAddr,
}

/// A tracked connection, as the kernel describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// As the first packet came in, before any NAT.
    pub original: Ends,
    /// As an answer comes in: its source is who really answers.
    pub reply: Ends,
    /// Whether its packets pass by the chains (flow offload).
    pub offloaded: bool,
    family: u8,
    /// What the kernel finds it by, word for word.
    tuple: &'a [u8],
    id: &'a [u8],
    zone: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    /// Reads one of a dump; nothing where it is of no IP.
    ///
    /// # Errors
    /// When it lacks what every connection has.
    pub fn read(message: &Message<'a>) -> Result<Option<Self>, Malformed> {
        let family = *message.payload.first().ok_or(Malformed::Length)?;
        let (mut tuple, mut reply, mut status, mut id, mut zone) = (None, None, None, None, None);
        for attribute in message.attributes(HEADER)? {
            let attribute = attribute?;
            match attribute.kind {
                ORIGINAL => tuple = Some(attribute),
                REPLY => reply = Some(attribute),
                STATUS => status = attribute.be32(),
                ID => id = Some(attribute.value),
                ZONE => zone = Some(attribute.value),
                _ => {}
            }
        }
        let tuple = tuple.ok_or(Malformed::Missing("connection's tuple"))?;
        let reply = reply.ok_or(Malformed::Missing("connection's reply tuple"))?;
        let (Some(original), Some(reply)) = (ends(tuple, family)?, ends(reply, family)?) else { return Ok(None) };
        let id = id.ok_or(Malformed::Missing("connection's number"))?;
        Ok(Some(Self { original, reply, offloaded: status.unwrap_or(0) & OFFLOADED != 0, family, tuple: tuple.value, id, zone }))
    }

    /// Writes the body of the request to delete it, and no other that may have come in its place.
    ///
    /// The tuple must always be there: without one the kernel deletes every connection of the machine.
    pub fn write_deletion(&self, writer: &mut Writer) {
        writer.raw(&[self.family, 0, 0, 0]);
        writer.attribute(ORIGINAL | NESTED, self.tuple);
        writer.attribute(ID, self.id);
        if let Some(zone) = self.zone {
            writer.attribute(ZONE, zone);
        }
    }
}

fn ends(tuple: Attribute<'_>, family: u8) -> Result<Option<Ends>, Malformed> {
    let addresses = tuple.nested().find(TUPLE_ADDRESSES)?.ok_or(Malformed::Missing("connection's addresses"))?;
    let (source, destination) = match family {
        IP4 => (1, 2), // CTA_IP_V4_SRC, CTA_IP_V4_DST
        IP6 => (3, 4), // CTA_IP_V6_SRC, CTA_IP_V6_DST
        _ => return Ok(None),
    };
    let end = |kind| Ok::<_, Malformed>(addresses.nested().find(kind)?.and_then(|found| address(found.value)));
    let missing = Malformed::Missing("connection's addresses");
    Ok(Some(Ends { source: end(source)?.ok_or(missing)?, destination: end(destination)?.ok_or(missing)? }))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Which connections are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// All.
    All,
    /// Those that this address began.
    BegunBy(IpAddr),
    /// Those that this address answers.
    AnsweredBy(IpAddr),
}

impl Question {
    /// Writes the body of the request. Kernels before 5.8 tell all connections, whatever is asked: the answers must be
    /// looked through in any case.
    pub fn write(self, writer: &mut Writer) {
        let (address, tuple, filter) = match self {
            Self::All => return writer.raw(&[0; HEADER]),
            Self::BegunBy(address) => (address, ORIGINAL, FILTER_ORIGINAL),
            Self::AnsweredBy(address) => (address, REPLY, FILTER_REPLY),
        };
        writer.raw(&[if address.is_ipv4() { IP4 } else { IP6 }, 0, 0, 0]);
        writer.nest(tuple, |w| {
            w.nest(TUPLE_ADDRESSES, |w| match address {
                IpAddr::V4(address) => w.attribute(1, &address.octets()),
                IpAddr::V6(address) => w.attribute(3, &address.octets()),
            });
        });
        // In the machine's order, unlike all else here.
        writer.nest(FILTER, |w| w.attribute(filter, &BY_SOURCE.to_ne_bytes()));
    }
}

/// An address of the router itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub address: IpAddr,
    /// How many of its bits are the network's.
    pub prefix: u8,
    /// The interface's index.
    pub interface: u32,
}

impl OwnAddress {
    /// Writes the body of the request for all of them.
    pub fn write_question(writer: &mut Writer) {
        writer.raw(&[0; ADDRESS_HEADER]);
    }

    /// Reads one of a dump; nothing where it is of no IP.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn read(message: &Message<'_>) -> Result<Option<Self>, Malformed> {
        let prefix = *message.payload.get(1).ok_or(Malformed::Length)?;
        let interface = u32_at(message.payload, 4).ok_or(Malformed::Length)?;
        let attributes = message.attributes(ADDRESS_HEADER)?;
        // On a point-to-point interface ADDRESS is the other end's.
        let own = attributes.clone().find(LOCAL)?.or(attributes.find(ADDRESS)?);
        Ok(own.and_then(|own| address(own.value)).map(|address| Self { address, prefix, interface }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::codec::Messages;

    /// A masqueraded TCP connection, as Linux 6.18 told it; little-endian.
    const ENTRY: &[&[u8]] = &[
        &[180, 0, 0, 0, 0, 1, 2, 0, 9, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0],
        &[52, 0, 1, 0x80, 20, 0, 1, 0x80, 8, 0, 1, 0, 10, 77, 0, 11, 8, 0, 2, 0, 192, 0, 2, 1],
        &[28, 0, 2, 0x80, 5, 0, 1, 0, 6, 0, 0, 0, 6, 0, 2, 0, 0xc0, 1, 0, 0, 6, 0, 3, 0, 1, 0xbb, 0, 0],
        &[52, 0, 2, 0x80, 20, 0, 1, 0x80, 8, 0, 1, 0, 192, 0, 2, 1, 8, 0, 2, 0, 192, 0, 2, 2],
        &[28, 0, 2, 0x80, 5, 0, 1, 0, 6, 0, 0, 0, 6, 0, 2, 0, 1, 0xbb, 0, 0, 6, 0, 3, 0, 0xc0, 1, 0, 0],
        &[8, 0, 3, 0, 0, 0, 1, 0x8e],
        &[8, 0, 12, 0, 0xde, 0xad, 0xbe, 0xef],
        &[8, 0, 7, 0, 0, 6, 0x97, 0x7f],
        &[8, 0, 8, 0, 0, 0, 0, 0],
        &[8, 0, 11, 0, 0, 0, 0, 1],
        &[6, 0, 18, 0, 0, 5, 0, 0],
        &[8, 0, 99, 0, 0, 0, 0, 0],
    ];

    fn entry() -> Vec<u8> {
        let mut bytes = ENTRY.concat();
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<Entry<'_>>, Malformed> {
        Entry::read(&Messages::new(bytes).next().ok_or(Malformed::Length)??)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_connection_is_read_and_its_deletion_is_about_it_alone() {
        let bytes = entry();
        let found = read(&bytes).unwrap().unwrap();
        assert_eq!(found.original, Ends { source: ip("10.77.0.11"), destination: ip("192.0.2.1") });
        assert_eq!(found.reply, Ends { source: ip("192.0.2.1"), destination: ip("192.0.2.2") });
        assert!(!found.offloaded);
        let mut writer = Writer::new();
        writer.message(DELETE, 0, 7, |w| found.write_deletion(w));
        let expected: &[&[u8]] = &[&[88, 0, 0, 0, 2, 1, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0], ENTRY[1], ENTRY[2], ENTRY[3], ENTRY[7], ENTRY[11]];
        assert_eq!(writer.finish().unwrap(), expected.concat());
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn offload_shows_in_the_status() {
        let at = ENTRY[..6].concat().len() + 4;
        for (status, offloaded) in [(0x0000_018e_u32, false), (0x0000_418e, true), (0x0000_818e, true), (0x0001_018e, false)] {
            let mut bytes = entry();
            bytes[at..at + 4].copy_from_slice(&status.to_be_bytes());
            assert_eq!(read(&bytes).unwrap().unwrap().offloaded, offloaded, "{status:x}");
        }
    }

    #[test]
    fn a_connection_without_a_tuple_or_a_number_is_refused() {
        // Without the tuple, its deletion would be that of every connection.
        for kind in [ORIGINAL, REPLY, ID] {
            let bytes = entry();
            let message = Messages::new(&bytes).next().unwrap().unwrap();
            let mut writer = Writer::new();
            writer.message(NEW, 0, 1, |w| {
                w.raw(&[IP4, 0, 0, 0]);
                for attribute in message.attributes(HEADER).unwrap().flatten().filter(|attribute| attribute.kind != kind) {
                    w.attribute(attribute.kind, attribute.value);
                }
            });
            assert!(matches!(read(&writer.finish().unwrap()), Err(Malformed::Missing(_))), "without {kind}");
        }
        let mut other = entry();
        other[16] = 12; // no IP
        assert_eq!(read(&other), Ok(None));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn questions_are_as_the_kernel_reads_them() {
        let written = |question: Question| {
            let mut writer = Writer::new();
            question.write(&mut writer);
            writer.finish().unwrap()
        };
        assert_eq!(written(Question::All), [0; 4]);
        let begun: &[&[u8]] =
            &[&[2, 0, 0, 0], &[16, 0, 1, 0x80, 12, 0, 1, 0x80, 8, 0, 1, 0, 10, 77, 0, 11], &[12, 0, 25, 0x80, 8, 0, 1, 0, 1, 0, 0, 0]];
        assert_eq!(written(Question::BegunBy(ip("10.77.0.11"))), begun.concat());
        let answered: &[&[u8]] = &[
            &[10, 0, 0, 0],
            &[28, 0, 2, 0x80, 24, 0, 1, 0x80, 20, 0, 3, 0, 0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11],
            &[12, 0, 25, 0x80, 8, 0, 2, 0, 1, 0, 0, 0],
        ];
        assert_eq!(written(Question::AnsweredBy(ip("fd77::11"))), answered.concat());
    }

    #[test]
    fn the_router_s_own_addresses_are_read() {
        let told = |attributes: &[(u16, &[u8])]| {
            let mut writer = Writer::new();
            writer.message(20, 0, 1, |w| {
                w.raw(&[&[IP4, 24, 0, 0][..], &3u32.to_ne_bytes()].concat());
                attributes.iter().for_each(|(kind, value)| w.attribute(*kind, value));
            });
            let bytes = writer.finish().unwrap();
            OwnAddress::read(&Messages::new(&bytes).next().unwrap().unwrap())
        };
        let own = |address: &str| Ok(Some(OwnAddress { address: ip(address), prefix: 24, interface: 3 }));
        assert_eq!(told(&[(ADDRESS, &[10, 77, 0, 1]), (LOCAL, &[10, 77, 0, 1])]), own("10.77.0.1"));
        assert_eq!(told(&[(ADDRESS, &[198, 51, 100, 1]), (LOCAL, &[198, 51, 100, 2])]), own("198.51.100.2"), "point to point");
        assert_eq!(told(&[(ADDRESS, &[0xfd; 16])]), own("fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd"));
        assert_eq!(told(&[(ADDRESS, &[1, 2, 3])]), Ok(None));
        assert_eq!(told(&[]), Ok(None));
    }

    #[test]
    fn hostile_bytes_never_panic() {
        let bytes = entry();
        for at in 0..bytes.len() {
            let _ = read(&bytes[..at]);
            for value in [0, 1, 3, 4, 5, 8, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(Some(entry)) = read(&changed) {
                    let mut writer = Writer::new();
                    entry.write_deletion(&mut writer);
                    assert!(writer.finish().unwrap().len() > 12);
                }
                for message in Messages::new(&changed).flatten() {
                    let _ = OwnAddress::read(&message);
                }
            }
        }
    }
}
