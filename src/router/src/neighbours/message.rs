//! rtnetlink's messages about links and neighbours, as values (linux/rtnetlink.h, linux/neighbour.h). Pure.

use crate::netlink::codec::{Malformed, Message, Writer, i32_at, u16_at};
use lango_core::units::Mac;
use std::net::IpAddr;

/// `RTM_NEWLINK`
pub const NEW_LINK: u16 = 16;
/// `RTM_DELLINK`
pub const DELETE_LINK: u16 = 17;
/// `RTM_GETLINK`
pub const GET_LINK: u16 = 18;
/// `RTM_NEWNEIGH`
pub const NEW_NEIGHBOUR: u16 = 28;
/// `RTM_DELNEIGH`
pub const DELETE_NEIGHBOUR: u16 = 29;
/// `RTM_GETNEIGH`
pub const GET_NEIGHBOUR: u16 = 30;
/// `RTMGRP_LINK` and `RTMGRP_NEIGH`
pub const GROUPS: u32 = 0x1 | 0x4;

/// Length of `struct ifinfomsg`, in bytes.
const LINK_HEADER: usize = 16;
/// Length of `struct ndmsg`, in bytes.
const NEIGHBOUR_HEADER: usize = 12;
/// `AF_UNSPEC`, `AF_INET`, `AF_INET6`
const ANY: u8 = 0;
const INET: u8 = 2;
const INET6: u8 = 10;
/// `AF_BRIDGE`
const BRIDGE: u8 = 7;
/// `NUD_PROBE`: the kernel is to ask whether anybody is there.
const PROBE: u16 = 0x10;
/// `NUD_NOARP` and `NUD_PERMANENT`: set by hand, and never asked after; in a bridge's table the bridge's own addresses.
const FIXED: u16 = 0x40 | 0x80;
/// `NUD_REACHABLE`, `NUD_STALE`, `NUD_DELAY`, `NUD_PROBE`, `NUD_PERMANENT`: the states in which the address is known to be
/// the device's. Not `NUD_INCOMPLETE`, `NUD_FAILED` (nobody answered) or `NUD_NOARP` (nobody is asked).
const KNOWN: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;
/// `IFLA_IFNAME`
const LINK_NAME: u16 = 3;
/// `NDA_DST`
const ADDRESS: u16 = 1;
/// `NDA_LLADDR`
const DEVICE: u16 = 2;
/// `NDA_MASTER`
const MASTER: u16 = 9;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A link is there, under this name.
    Link {
        /// Its index.
        index: i32,
        /// Its name now.
        name: String,
    },
    /// A link is gone.
    LinkGone {
        /// Its index.
        index: i32,
    },
    /// Who has an address on a link.
    Neighbour {
        /// The link.
        index: i32,
        /// The address.
        address: IpAddr,
        /// Whose it is; nothing where nobody is known to have it.
        mac: Option<Mac>,
        /// Whether somebody set it by hand.
        fixed: bool,
    },
    /// A bridge saw a device come in by a port where it was not before.
    Port {
        /// The bridge.
        bridge: i32,
        /// The port.
        port: i32,
        /// The device.
        mac: Mac,
    },
}

/// Reads a message; nothing where it is of no concern here.
///
/// # Errors
/// When it is cut short.
pub fn read(message: &Message<'_>) -> Result<Option<Said>, Malformed> {
    let family = message.payload.first().copied().ok_or(Malformed::Length)?;
    Ok(match message.kind {
        // A bridge says NEWLINK and DELLINK of its ports, too, under a family of its own: those come and go as ports.
        NEW_LINK | DELETE_LINK if family == ANY => {
            let index = i32_at(message.payload, 4).ok_or(Malformed::Length)?;
            if message.kind == DELETE_LINK {
                return Ok(Some(Said::LinkGone { index }));
            }
            let name = message.attributes(LINK_HEADER)?.find(LINK_NAME)?.and_then(|a| a.text());
            name.map(|name| Said::Link { index, name: name.to_owned() })
        }
        NEW_NEIGHBOUR | DELETE_NEIGHBOUR if family == INET || family == INET6 => {
            let index = i32_at(message.payload, 4).ok_or(Malformed::Length)?;
            let state = u16_at(message.payload, 8).ok_or(Malformed::Length)?;
            let attributes = message.attributes(NEIGHBOUR_HEADER)?;
            let Some(address) = attributes.clone().find(ADDRESS)?.and_then(|a| ip(a.value)) else { return Ok(None) };
            let known = message.kind == NEW_NEIGHBOUR && state & KNOWN != 0;
            let mac = if known { attributes.find(DEVICE)?.and_then(|a| device(a.value)) } else { None };
            Some(Said::Neighbour { index, address, mac, fixed: state & FIXED != 0 })
        }
        // It is told once when a device is new to the bridge, and at each change of port (br_fdb_update in the kernel).
        NEW_NEIGHBOUR if family == BRIDGE => {
            let port = i32_at(message.payload, 4).ok_or(Malformed::Length)?;
            let state = u16_at(message.payload, 8).ok_or(Malformed::Length)?;
            let attributes = message.attributes(NEIGHBOUR_HEADER)?;
            let bridge = attributes.clone().find(MASTER)?.and_then(|a| i32_at(a.value, 0));
            let mac = attributes.find(DEVICE)?.and_then(|a| device(a.value)).filter(|_| state & FIXED == 0);
            bridge.zip(mac).map(|(bridge, mac)| Said::Port { bridge, port, mac })
        }
        _ => None,
    })
}

/// An address that one device can have.
fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    (!address.is_multicast() && !address.is_unspecified() && !address.is_loopback() && !broadcast).then_some(address)
}

/// A device's own Ethernet address: none of a group's, and not the zeros that stand for none.
fn device(bytes: &[u8]) -> Option<Mac> {
    let octets: [u8; 6] = bytes.try_into().ok()?;
    (octets[0] & 1 == 0 && octets != [0; 6]).then_some(Mac(octets))
}

/// The body of a request for all links.
pub fn all_links(writer: &mut Writer) {
    writer.raw(&[0; LINK_HEADER]);
}

/// The body of a request for all neighbours.
pub fn all_neighbours(writer: &mut Writer) {
    writer.raw(&[0; NEIGHBOUR_HEADER]);
}

/// The body of a request for one neighbour.
pub fn one_neighbour(writer: &mut Writer, index: i32, address: IpAddr) {
    neighbour(writer, index, address, 0);
}

/// The body of a request that lets the kernel ask a neighbour whether it is still there. Its address on the link stays as the
/// kernel has it.
pub fn ask_neighbour(writer: &mut Writer, index: i32, address: IpAddr) {
    neighbour(writer, index, address, PROBE);
}

fn neighbour(writer: &mut Writer, index: i32, address: IpAddr, state: u16) {
    let family = if address.is_ipv4() { INET } else { INET6 };
    writer.raw(&[family, 0, 0, 0]);
    writer.raw(&index.to_ne_bytes());
    writer.raw(&state.to_ne_bytes());
    writer.raw(&[0; 2]);
    match address {
        IpAddr::V4(address) => writer.attribute(ADDRESS, &address.octets()),
        IpAddr::V6(address) => writer.attribute(ADDRESS, &address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::codec::Messages;

    fn told_of(kind: u16, family: u8, state: u16, address: &[u8], device: &[u8]) -> Option<Said> {
        let mut writer = Writer::new();
        writer.message(kind, 0, 0, |w| {
            w.raw(&[family, 0, 0, 0]);
            w.raw(&5i32.to_ne_bytes());
            w.raw(&state.to_ne_bytes());
            w.raw(&[0; 2]);
            w.attribute(ADDRESS, address);
            w.attribute(DEVICE, device);
        });
        let bytes = writer.finish().unwrap();
        for length in 16..bytes.len() {
            // Cut short anywhere, with a length that agrees: read, or refused, never a panic.
            let mut cut = bytes[..length].to_vec();
            cut[..4].copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
            Messages::new(&cut).filter_map(Result::ok).for_each(|m| drop(read(&m)));
        }
        read(&Messages::new(&bytes).next().unwrap().unwrap()).unwrap()
    }

    #[test]
    fn what_the_states_mean() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let said = |mac, fixed| Some(Said::Neighbour { index: 5, address: "10.77.0.11".parse().unwrap(), mac, fixed });
        for (state, known) in [
            (0x02, true),
            (0x04, true),
            (0x08, true),
            (0x10, true),
            (0x80, true),
            (0x00, false),
            (0x01, false),
            (0x20, false),
            (0x40, false),
        ] {
            let read = told_of(NEW_NEIGHBOUR, INET, state, &[10, 77, 0, 11], &mac.0);
            assert_eq!(read, said(known.then_some(mac), state >= 0x40), "state {state:#x}");
        }
        assert_eq!(told_of(DELETE_NEIGHBOUR, INET, 0x02, &[10, 77, 0, 11], &mac.0), said(None, false));
        assert_eq!(told_of(NEW_NEIGHBOUR, INET, 0x02, &[10, 77, 0, 11], &[0; 6]), said(None, false));
        assert_eq!(told_of(NEW_NEIGHBOUR, INET, 0x02, &[10, 77, 0, 11], &[1, 0, 0x5e, 0, 0, 1]), said(None, false));
        assert_eq!(told_of(NEW_NEIGHBOUR, INET, 0x02, &[10, 77, 0, 11], &[]), said(None, false));
    }

    #[test]
    fn what_is_nobody_s_address_is_ignored() {
        let mut link_local = [0; 16];
        link_local[..2].copy_from_slice(&[0xfe, 0x80]);
        link_local[15] = 1;
        assert!(told_of(NEW_NEIGHBOUR, INET6, 0x02, &link_local, &[2, 0, 0, 0, 0, 1]).is_some());
        let mut multicast = link_local;
        multicast[0] = 0xff;
        for (family, address) in [
            (INET6, &multicast[..]),
            (INET, &[224, 0, 0, 1]),
            (INET, &[255; 4]),
            (INET, &[0; 4]),
            (INET, &[127, 0, 0, 1]),
            (INET, &[1, 2, 3]),
        ] {
            assert_eq!(told_of(NEW_NEIGHBOUR, family, 0x02, address, &[2, 0, 0, 0, 0, 1]), None, "{address:?}");
        }
        assert_eq!(told_of(NEW_NEIGHBOUR, 7, 0x02, &[10, 77, 0, 11], &[2, 0, 0, 0, 0, 1]), None, "no bridge is named");
    }

    #[test]
    fn a_bridge_tells_of_its_ports() {
        let told = |kind, state: u16, device: &[u8], master: &[u8]| {
            let mut writer = Writer::new();
            writer.message(kind, 0, 0, |w| {
                w.raw(&[BRIDGE, 0, 0, 0]);
                w.raw(&7i32.to_ne_bytes());
                w.raw(&state.to_ne_bytes());
                w.raw(&[0; 2]);
                w.attribute(DEVICE, device);
                w.attribute(MASTER, master);
            });
            let bytes = writer.finish().unwrap();
            read(&Messages::new(&bytes).next().unwrap().unwrap()).unwrap()
        };
        let (mac, bridge) = ([2, 0, 0, 0, 0, 1], 3i32.to_ne_bytes());
        assert_eq!(told(NEW_NEIGHBOUR, 0x02, &mac, &bridge), Some(Said::Port { bridge: 3, port: 7, mac: Mac(mac) }));
        for (kind, state, device, master) in [
            (DELETE_NEIGHBOUR, 0x02, &mac[..], &bridge[..]), // forgotten: it is nowhere else
            (NEW_NEIGHBOUR, 0x80, &mac, &bridge),            // the port's own address
            (NEW_NEIGHBOUR, 0x40, &mac, &bridge),            // set by hand
            (NEW_NEIGHBOUR, 0x02, &[1, 0, 0x5e, 0, 0, 1], &bridge),
            (NEW_NEIGHBOUR, 0x02, &mac, &[]),
        ] {
            assert_eq!(told(kind, state, device, master), None);
        }
    }

    #[test]
    fn links_come_and_go_but_a_bridge_s_ports_do_not() {
        let link = |kind, family| {
            let mut writer = Writer::new();
            writer.message(kind, 0, 0, |w| {
                w.raw(&[family, 0, 1, 0]);
                w.raw(&7i32.to_ne_bytes());
                w.raw(&[0; 8]);
                w.text(LINK_NAME, "br-lan");
            });
            let bytes = writer.finish().unwrap();
            read(&Messages::new(&bytes).next().unwrap().unwrap()).unwrap()
        };
        assert_eq!(link(NEW_LINK, 0), Some(Said::Link { index: 7, name: "br-lan".into() }));
        assert_eq!(link(DELETE_LINK, 0), Some(Said::LinkGone { index: 7 }));
        assert_eq!(link(DELETE_LINK, 7), None);
        assert_eq!(link(NEW_LINK, 7), None);
    }
}
