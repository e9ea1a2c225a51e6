//! What the kernel says of our table by itself.

use super::answer::{Element, Object, object_in, ours};
use super::nft::{EVENT_GROUP, GENERIC_HEADER, SUBSYSTEM, attribute, message};
use super::offload;
use super::set::{Key, Set};
use crate::clock;
use crate::netlink::codec::{Malformed, Message, Messages};
use crate::netlink::events::{Events, Heard};
use crate::netlink::socket::{Family, NetlinkError};
use lango_core::gate::GateId;
use lango_core::time::Monotonic;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;

/// Something happened to our table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateEvent {
    /// The account's data limit was reached. It may come more than once for the same limit.
    Depleted(GateId),
    /// Our table was deleted, by whomever: nothing is enforced until [`super::Gate::reconcile`] is called.
    TableGone,
    /// A flowtable came, changed or went: ask [`super::Gate::flow_offload`].
    Flowtables,
    /// An address came into the walled garden, by us or by dnsmasq: tell [`super::Gate::garden_grew`].
    Garden {
        /// Which.
        address: IpAddr,
        /// When it ends.
        until: Option<Monotonic>,
    },
    /// Events were lost: call [`super::Gate::reconcile`] (the table may be gone) and ask [`super::Gate::depleted`].
    Overrun,
}

/// Hears what the kernel says of our table.
#[derive(Debug)]
pub struct GateEvents {
    events: Events,
    waiting: VecDeque<GateEvent>,
}

impl GateEvents {
    /// Begins to listen, in the network namespace of the calling thread. Must be called within a tokio runtime, and
    /// before [`super::Gate::open`], so that nothing between the two is missed.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { events: Events::open(Family::Netfilter, EVENT_GROUP)?, waiting: VecDeque::new() })
    }

    /// Waits for the next event. Nothing is lost when the waiting is given up.
    ///
    /// # Errors
    /// When the socket itself fails; open another one then, and treat it as [`GateEvent::Overrun`].
    pub async fn next(&mut self) -> io::Result<GateEvent> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            match self.events.next().await? {
                Heard::Overrun => return Ok(GateEvent::Overrun),
                Heard::Datagram(datagram) => self.waiting.extend(events_in(datagram)),
            }
        }
    }
}

/// Whether anybody in the network namespace of the calling thread hears what changes in nftables: us, `nft monitor`. The kernel makes
/// news for them then, 4 KiB for each request of a transaction. True where it cannot be known.
pub(super) fn somebody_listens() -> bool {
    std::fs::read_to_string("/proc/thread-self/net/netlink").map_or(true, |sockets| hear_changes(&sockets))
}

/// The same, by the kernel's list of netlink sockets: protocol 12 is netfilter's, and each has the groups that it hears as a bit mask.
fn hear_changes(sockets: &str) -> bool {
    sockets.lines().any(|socket| {
        let mut columns = socket.split_ascii_whitespace().skip(1);
        let (protocol, groups) = (columns.next(), columns.nth(1));
        protocol == Some("12")
            && groups.and_then(|groups| u32::from_str_radix(groups, 16).ok()).is_none_or(|groups| groups & EVENT_GROUP != 0)
    })
}

/// The events in a datagram. What cannot be read is none of ours: the kernel is the sender.
pub fn events_in(datagram: &[u8]) -> impl Iterator<Item = GateEvent> + '_ {
    Messages::new(datagram).filter_map(Result::ok).flat_map(|message| events(&message).unwrap_or_default())
}

fn events(read: &Message<'_>) -> Result<Vec<GateEvent>, Malformed> {
    if offload::is_change(read) {
        return Ok(vec![GateEvent::Flowtables]);
    }
    Ok(match read.kind.checked_sub(SUBSYSTEM) {
        Some(message::DELETE_TABLE) if ours(read)? => vec![GateEvent::TableGone],
        Some(message::NEW_OBJECT) => match object_in(read)? {
            Some(Object::Quota(quota)) if quota.hit => vec![GateEvent::Depleted(quota.name.id)],
            _ => Vec::new(),
        },
        Some(message::NEW_ELEMENT) if ours(read)? => garden_in(read)?,
        _ => Vec::new(),
    })
}

fn garden_in(read: &Message<'_>) -> Result<Vec<GateEvent>, Malformed> {
    let attributes = read.attributes(GENERIC_HEADER)?;
    let set = attributes.clone().find(attribute::ELEMENTS_SET)?.and_then(|name| name.text());
    let Some(garden) = [Set::Garden4, Set::Garden6].into_iter().find(|garden| set == Some(garden.name())) else {
        return Ok(Vec::new());
    };
    let Some(list) = attributes.find(attribute::ELEMENTS)? else { return Ok(Vec::new()) };
    let now = clock::monotonic();
    let mut found = Vec::new();
    for item in list.nested() {
        if let Some(Element { key: Key::Address(address), until, .. }) = Element::read(item?, garden, now)? {
            found.push(GateEvent::Garden { address, until });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn who_listens_is_read_from_the_list_of_sockets() {
        let listed = |sockets: &str| {
            super::hear_changes(&format!(
                "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n{sockets}"
            ))
        };
        assert!(!listed(""));
        let socket = |protocol: u32, groups: &str| {
            format!("00000000a1b2c3d4 {protocol:<3} 1234       {groups} 0        0        0     2        0        4242\n")
        };
        assert!(listed(&(socket(0, "00000000") + &socket(12, "00000040"))));
        assert!(listed(&socket(12, "00000041")), "and something else");
        assert!(listed(&socket(12, "?")), "not known");
        assert!(!listed(&(socket(12, "00000000") + &socket(12, "00000007") + &socket(0, "00000040"))), "connections, and links");
    }

    use super::super::nft::{Request, add_element, add_quota, delete_table};
    use super::*;
    use crate::gate::names::QuotaName;
    use crate::netlink::codec::Writer;

    fn heard(requests: &[Request]) -> Vec<GateEvent> {
        let mut writer = Writer::new();
        requests.iter().for_each(|request| request.write(&mut writer, 0, 0));
        events_in(&writer.finish().unwrap()).collect()
    }

    #[test]
    fn only_what_concerns_us_is_heard() {
        use super::super::nft::attribute::{OBJECT_DATA, OBJECT_NAME, OBJECT_TABLE, OBJECT_TYPE, QUOTA_BYTES, QUOTA_FLAGS};
        let quota = |table: &str, name: &str, flags: u32| {
            Request::new(message::NEW_OBJECT, 0, |w| {
                w.text(OBJECT_TABLE, table);
                w.text(OBJECT_NAME, name);
                w.be32(OBJECT_TYPE, 2);
                w.nest(OBJECT_DATA, |w| {
                    w.be64(QUOTA_BYTES, 10);
                    w.be32(QUOTA_FLAGS, flags);
                });
            })
        };
        let flowtable = |kind: u16| Request::new(kind, 0, |w| w.text(1, "fw4"));
        let foreign_table = Request::new(message::DELETE_TABLE, 0, |w| w.text(1, "fw4"));
        assert_eq!(
            heard(&[
                add_quota(QuotaName { id: GateId(3), serial: 0 }, 10, 0), // made, not hit
                quota("lango", "q3.0", 2),
                quota("lango", "mine", 2),
                quota("fw4", "q4.0", 2),
                foreign_table,
                flowtable(22),
                add_element(Set::Garden4, &[192, 0, 2, 1], None, None),
                add_element(Set::DownQuota4, &[192, 0, 2, 2], None, Some("q3.0")),
                add_element(Set::Answered4, &[192, 0, 2, 3], None, None),
                delete_table(),
                flowtable(24),
            ]),
            [
                GateEvent::Depleted(GateId(3)),
                GateEvent::Flowtables,
                GateEvent::Garden { address: IpAddr::from([192, 0, 2, 1]), until: None },
                GateEvent::TableGone,
                GateEvent::Flowtables
            ]
        );
    }

    #[test]
    fn hostile_bytes_are_no_event_and_no_panic() {
        let mut writer = Writer::new();
        add_quota(QuotaName { id: GateId(3), serial: 0 }, 10, 0).write(&mut writer, 0, 0);
        delete_table().write(&mut writer, 0, 0);
        add_element(Set::Garden6, &[1; 16], Some(1), None).write(&mut writer, 0, 0);
        let bytes = writer.finish().unwrap();
        for at in 0..bytes.len() {
            assert!(events_in(&bytes[..at]).count() <= 2);
            for value in [0, 1, 3, 4, 5, 0x10, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                assert!(events_in(&changed).count() <= 3);
            }
        }
    }
}
