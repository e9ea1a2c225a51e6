//! Flow offload: flowtables of whomever, as the kernel has them. Pure.
//!
//! A connection that is put on a flowtable passes by all chains, ours among them: its bytes are not counted, and no limit
//! stops it. OpenWrt's fw4 makes one where `flow_offloading` is set.

use super::nft::{GENERIC_HEADER, SUBSYSTEM};
use crate::netlink::codec::{Malformed, Message, Writer};
use lango_core::tree::BTreeSet;
use std::fmt;

/// `NFT_MSG_NEWFLOWTABLE`, `NFT_MSG_DELFLOWTABLE`
const NEW: u16 = SUBSYSTEM | 22;
const DELETED: u16 = SUBSYSTEM | 24;
/// `NFT_MSG_GETFLOWTABLE`
pub const GET: u16 = SUBSYSTEM | 23;

/// `NFTA_FLOWTABLE_TABLE`, `NFTA_FLOWTABLE_NAME`, `NFTA_FLOWTABLE_HOOK`, `NFTA_FLOWTABLE_FLAGS`
const TABLE: u16 = 1;
const NAME: u16 = 2;
const HOOK: u16 = 3;
const FLAGS: u16 = 7;
/// `NFTA_FLOWTABLE_HOOK_DEVS`
const HOOK_DEVICES: u16 = 3;
/// `NFT_FLOWTABLE_HW_OFFLOAD`
const HARDWARE: u32 = 1;

/// How an operator switches it off, on OpenWrt.
pub const SWITCH_OFFLOAD_OFF: &str = "uci set firewall.@defaults[0].flow_offloading=0; uci commit firewall; service firewall restart";

/// One flowtable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flowtable {
    /// Its table's family, as `nft` calls it.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// The interfaces that it takes packets from. Without one it does nothing.
    pub devices: BTreeSet<String>,
    /// Whether the hardware does it.
    pub hardware: bool,
}

impl fmt::Display for Flowtable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.name)
    }
}

/// Writes the body of the request for all flowtables, of every family.
pub fn write_question(writer: &mut Writer) {
    writer.raw(&[0; GENERIC_HEADER]);
}

/// Whether a message of the kernel's tells of a flowtable that came, changed or went.
#[must_use]
pub const fn is_change(message: &Message<'_>) -> bool {
    matches!(message.kind, NEW | DELETED)
}

/// Reads one of a dump.
///
/// # Errors
/// When it has no name.
pub fn read(message: &Message<'_>) -> Result<Flowtable, Malformed> {
    let (mut table, mut name, mut flags, mut devices) = (None, None, 0, BTreeSet::new());
    for attribute in message.attributes(GENERIC_HEADER)? {
        let attribute = attribute?;
        match attribute.kind {
            TABLE => table = attribute.text(),
            NAME => name = attribute.text(),
            FLAGS => flags = attribute.be32().unwrap_or(0),
            HOOK => {
                if let Some(list) = attribute.nested().find(HOOK_DEVICES)? {
                    for device in list.nested() {
                        devices.extend(device?.text().map(str::to_owned));
                    }
                }
            }
            _ => {}
        }
    }
    let (table, name) = table.zip(name).ok_or(Malformed::Missing("flowtable's name"))?;
    Ok(Flowtable {
        family: family(message.payload.first().copied().unwrap_or(0)),
        table: table.to_owned(),
        name: name.to_owned(),
        devices,
        hardware: flags & HARDWARE != 0,
    })
}

/// The names that `nft` has for `NFPROTO_…`.
const fn family(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::codec::Messages;

    /// `table inet fw4 { flowtable ft { hook ingress priority filter; devices = { lan1, wan }; flags offload; } }`, as the
    /// kernel's nf_tables_fill_flowtable_info writes it; little-endian.
    const TOLD: &[&[u8]] = &[
        &[100, 0, 0, 0, 22, 10, 2, 0, 9, 0, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 7],
        &[8, 0, 1, 0, b'f', b'w', b'4', 0],
        &[7, 0, 2, 0, b'f', b't', 0, 0],
        &[8, 0, 4, 0, 0, 0, 0, 2],
        &[8, 0, 7, 0, 0, 0, 0, 1],
        &[44, 0, 3, 0, 8, 0, 1, 0, 0, 0, 0, 0, 8, 0, 2, 0, 0, 0, 0, 0],
        &[24, 0, 3, 0, 9, 0, 1, 0, b'l', b'a', b'n', b'1', 0, 0, 0, 0, 8, 0, 1, 0, b'w', b'a', b'n', 0],
    ];

    fn told() -> Vec<u8> {
        let mut bytes = TOLD.concat();
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_flowtable_is_read_as_the_kernel_tells_it() {
        let bytes = told();
        let message = Messages::new(&bytes).next().unwrap().unwrap();
        assert!(is_change(&message), "an event has the same form");
        let found = read(&message).unwrap();
        assert_eq!(found.to_string(), "inet fw4 ft");
        assert_eq!((found.devices, found.hardware), (["lan1".to_owned(), "wan".to_owned()].into(), true));
    }

    #[test]
    fn every_family_has_its_name_and_a_flowtable_needs_one() {
        for (number, expected) in [(1, "inet"), (2, "ip"), (5, "netdev"), (7, "bridge"), (10, "ip6"), (77, "unknown")] {
            let made = |name: &str| {
                let mut writer = Writer::new();
                writer.message(NEW, 0, 1, |w| {
                    w.raw(&[number, 0, 0, 0]);
                    w.text(TABLE, "t");
                    if !name.is_empty() {
                        w.text(NAME, name);
                    }
                });
                let bytes = writer.finish().unwrap();
                read(&Messages::new(&bytes).next().unwrap().unwrap())
            };
            let found = made("f").unwrap();
            assert_eq!((found.family, found.devices.len(), found.hardware), (expected, 0, false));
            assert_eq!(made(""), Err(Malformed::Missing("flowtable's name")));
        }
    }

    #[test]
    fn hostile_bytes_never_panic() {
        let bytes = told();
        for at in 0..bytes.len() {
            for value in [0, 1, 3, 4, 5, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                for message in Messages::new(&changed).flatten().chain(Messages::new(&bytes[..at]).flatten()) {
                    let _ = read(&message);
                }
            }
        }
    }
}
