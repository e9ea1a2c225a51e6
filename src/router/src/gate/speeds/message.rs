//! rtnetlink's messages about queueing disciplines and classes (linux/rtnetlink.h, linux/pkt_sched.h). Pure.

use super::plan::{Class, Kind, Leaf, Shape};
use crate::netlink::codec::{Attribute, CREATE, Malformed, Message, REPLACE, Writer, i32_at, u32_at};

/// `RTM_NEWLINK`
pub const NEW_LINK: u16 = 16;
/// `RTM_GETLINK`
pub const GET_LINK: u16 = 18;
/// `RTM_NEWQDISC`
pub const NEW_DISCIPLINE: u16 = 36;
/// `RTM_DELQDISC`
pub const DELETE_DISCIPLINE: u16 = 37;
/// `RTM_GETQDISC`
pub const GET_DISCIPLINE: u16 = 38;
/// `RTM_NEWTCLASS`
const NEW_CLASS: u16 = 40;
/// `RTM_DELTCLASS`
const DELETE_CLASS: u16 = 41;
/// `RTM_GETTCLASS`
pub const GET_CLASS: u16 = 42;

/// Length of `struct tcmsg`, in bytes.
const HEADER: usize = 20;
/// Length of `struct ifinfomsg`, in bytes.
const LINK_HEADER: usize = 16;
/// `IFLA_IFNAME`, `IFLA_QDISC`
const LINK_NAME: u16 = 3;
const LINK_DISCIPLINE: u16 = 6;
/// `TC_H_ROOT`
const ROOT: u32 = u32::MAX;
/// `TCA_KIND`, `TCA_OPTIONS`
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
/// `TCA_HTB_PARMS`, `TCA_HTB_INIT`, `TCA_HTB_DIRECT_QLEN`
const HTB_CLASS: u16 = 1;
const HTB_START: u16 = 2;
const HTB_DIRECT_LENGTH: u16 = 5;
/// The kind of our root.
const HTB: &str = "htb";

/// The handle of our queueing discipline: how our own is told from any other. `tc` shows it as `4c61:` ("La").
pub const HANDLE: u32 = 0x4c61_0000;

/// Packets without a class that may wait at our root. An interface of PPP has a length of 3 of its own, which would drop
/// the traffic of everybody who has no speed.
const UNSHAPED_PACKETS: u32 = 1_000;

/// A link, as far as speeds go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: i32,
    /// Whether HTB is at its root, ours or another's.
    pub htb: bool,
}

/// A queueing discipline as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discipline {
    /// The link's index.
    pub index: i32,
    /// Its kind, as `htb`.
    pub kind: String,
    /// Its handle; zero where the kernel itself put it there.
    pub handle: u32,
    /// Whether it is a link's own, and not that of a class.
    pub root: bool,
}

impl Discipline {
    /// Whether it is our root.
    #[must_use]
    pub fn ours(&self) -> bool {
        self.root && self.handle == HANDLE && self.kind == HTB
    }
}

/// A class of ours as the kernel describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Bytes a second.
    pub rate: u32,
    /// The kind of its queue, where that is ours: HTB gives every class one of its own, of a thousand packets.
    pub queue: Option<Kind>,
}

fn header(writer: &mut Writer, index: i32, handle: u32, parent: u32) {
    writer.raw(&[0; 4]); // AF_UNSPEC, padding
    writer.raw(&index.to_ne_bytes());
    writer.raw(&handle.to_ne_bytes());
    writer.raw(&parent.to_ne_bytes());
    writer.raw(&[0; 4]);
}

fn numbers(writer: &mut Writer, kind: u16, values: &[u32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    writer.attribute(kind, &bytes);
}

/// Asks for a link by its name.
pub fn link(writer: &mut Writer, name: &str) {
    writer.raw(&[0; LINK_HEADER]);
    writer.text(LINK_NAME, name);
}

/// Asks for all queueing disciplines.
pub fn all_disciplines(writer: &mut Writer) {
    header(writer, 0, 0, 0);
}

/// Asks for a link's root, whatever it is.
pub fn any_root(writer: &mut Writer, index: i32) {
    header(writer, index, 0, ROOT);
}

/// Asks for all classes of our root.
pub fn all_classes(writer: &mut Writer, index: i32) {
    header(writer, index, 0, HANDLE);
}

/// Our root: HTB, where what leads to no class passes as if it was not there.
pub fn root(writer: &mut Writer, index: i32) {
    header(writer, index, HANDLE, ROOT);
    writer.text(KIND, HTB);
    writer.nest(OPTIONS, |w| {
        // struct tc_htb_glob: version 3; rate to quantum, not used; default class 0: none
        numbers(w, HTB_START, &[3, 10, 0, 0, 0]);
        numbers(w, HTB_DIRECT_LENGTH, &[UNSHAPED_PACKETS]);
    });
}

/// Names our root, to delete it.
pub fn no_root(writer: &mut Writer, index: i32) {
    header(writer, index, HANDLE, ROOT);
}

/// A class, made or changed.
fn class(writer: &mut Writer, index: i32, class: Class, shape: &Shape) {
    header(writer, index, class.id(), HANDLE);
    writer.text(KIND, HTB);
    // struct tc_ratespec: no table of times (that is what the link layer says), no overhead
    let rate = || {
        let mut bytes = vec![0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&shape.rate.to_ne_bytes());
        bytes
    };
    let mut parameters = [rate(), rate()].concat(); // rate and ceiling: nothing is borrowed
    for value in [shape.burst_ticks, shape.burst_ticks, shape.quantum, 0, 0] {
        parameters.extend_from_slice(&value.to_ne_bytes());
    }
    writer.nest(OPTIONS, |w| w.attribute(HTB_CLASS, &parameters));
}

/// Names a class, to delete it.
fn no_class(writer: &mut Writer, index: i32, class: Class) {
    header(writer, index, class.id(), 0);
}

/// A change of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is made, or gets another rate.
    Class(Class, Shape),
    /// Its queue is made or changed.
    Leaf(Class, Leaf),
    /// It is deleted, with its queue.
    Gone(Class),
}

impl Change {
    /// The class.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Class(class, _) | Self::Leaf(class, _) | Self::Gone(class) => *class,
        }
    }

    /// The message's kind and flags.
    #[must_use]
    pub const fn header(&self) -> (u16, u16) {
        match self {
            Self::Class(..) => (NEW_CLASS, CREATE),
            Self::Leaf(..) => (NEW_DISCIPLINE, CREATE | REPLACE),
            Self::Gone(_) => (DELETE_CLASS, 0),
        }
    }

    /// Writes what follows the header.
    pub fn body(&self, writer: &mut Writer, index: i32) {
        match self {
            Self::Class(id, shape) => class(writer, index, *id, shape),
            Self::Leaf(class, queue) => leaf(writer, index, *class, queue),
            Self::Gone(class) => no_class(writer, index, *class),
        }
    }
}

/// A class's queue, made or changed.
fn leaf(writer: &mut Writer, index: i32, class: Class, leaf: &Leaf) {
    let handle = if matches!(leaf, Leaf::Bytes { new: true, .. }) { class.plain_handle() } else { 0 };
    header(writer, index, handle, class.id());
    match *leaf {
        Leaf::FqCodel { target_microseconds, interval_microseconds, flows, packets, memory_bytes } => {
            writer.text(KIND, Kind::FqCodel.name());
            writer.nest(OPTIONS, |w| {
                numbers(w, 1, &[target_microseconds]); // TCA_FQ_CODEL_TARGET
                numbers(w, 2, &[packets]); // TCA_FQ_CODEL_LIMIT
                numbers(w, 3, &[interval_microseconds]); // TCA_FQ_CODEL_INTERVAL
                if let Some(flows) = flows {
                    numbers(w, 5, &[flows]); // TCA_FQ_CODEL_FLOWS
                }
                numbers(w, 9, &[memory_bytes]); // TCA_FQ_CODEL_MEMORY_LIMIT
            });
        }
        Leaf::Bytes { most, .. } => {
            writer.text(KIND, Kind::Bytes.name());
            numbers(writer, OPTIONS, &[most]); // struct tc_fifo_qopt
        }
    }
}

/// The link that a message describes.
///
/// # Errors
/// When it cannot be read.
pub fn link_in(message: &Message<'_>) -> Result<Option<Link>, Malformed> {
    if message.kind != NEW_LINK {
        return Ok(None);
    }
    let index = i32_at(message.payload, 4).ok_or(Malformed::Length)?;
    let kind = message.attributes(LINK_HEADER)?.find(LINK_DISCIPLINE)?;
    Ok(Some(Link { index, htb: kind.and_then(|kind| kind.text()) == Some(HTB) }))
}

/// The queueing discipline that a message describes.
///
/// # Errors
/// When it cannot be read.
pub fn discipline_in(message: &Message<'_>) -> Result<Option<Discipline>, Malformed> {
    if message.kind != NEW_DISCIPLINE {
        return Ok(None);
    }
    let kind = message.attributes(HEADER)?.find(KIND)?.and_then(|kind| kind.text());
    Ok(Some(Discipline {
        index: i32_at(message.payload, 4).ok_or(Malformed::Length)?,
        handle: u32_at(message.payload, 8).ok_or(Malformed::Length)?,
        root: u32_at(message.payload, 12).ok_or(Malformed::Length)? == ROOT,
        kind: kind.unwrap_or_default().to_owned(),
    }))
}

/// The class of ours that a message describes.
///
/// # Errors
/// When it cannot be read.
pub fn class_in(message: &Message<'_>) -> Result<Option<(Class, Made)>, Malformed> {
    let handle = u32_at(message.payload, 8).ok_or(Malformed::Length)?;
    if message.kind != NEW_CLASS || handle & 0xffff_0000 != HANDLE {
        return Ok(None);
    }
    let queue = match u32_at(message.payload, 16).ok_or(Malformed::Length)? {
        0 => None,
        // What the kernel named. An older version's plain queues as well, where it has no other: it will say so.
        0x8000_0000.. => Some(Kind::FqCodel),
        _ => Some(Kind::Bytes),
    };
    let options = message.attributes(HEADER)?.find(OPTIONS)?.ok_or(Malformed::Missing("class's options"))?;
    let parameters: Attribute<'_> = options.nested().find(HTB_CLASS)?.ok_or(Malformed::Missing("class's rate"))?;
    let rate = u32_at(parameters.value, 8).ok_or(Malformed::Length)?;
    Ok(Some((Class::from_id(handle), Made { rate, queue })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::codec::Messages;
    use lango_core::units::Kbps;

    fn message(kind: u16, body: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.message(kind, 0, 0, body);
        writer.finish().unwrap()
    }

    fn read<T>(bytes: &[u8], how: impl Fn(&Message<'_>) -> Result<T, Malformed>) -> Result<T, Malformed> {
        how(&Messages::new(bytes).next().unwrap()?)
    }

    #[test]
    fn bytes_are_what_the_kernel_s_headers_say() {
        if cfg!(target_endian = "big") {
            return;
        }
        let made = message(NEW_CLASS, |w| class(w, 7, Class::from_id(0x4c61_0008), &Shape::of(Kbps(2_000))));
        let expected: &[&[u8]] = &[
            &[0, 0, 0, 0, 7, 0, 0, 0, 0x08, 0, 0x61, 0x4c, 0, 0, 0x61, 0x4c, 0, 0, 0, 0],
            &[8, 0, 1, 0, b'h', b't', b'b', 0],
            &[52, 0, 2, 0x80, 48, 0, 1, 0],
            &[0, 1, 0, 0, 0, 0, 0, 0, 0x64, 0x01, 0x04, 0], // 262,500 bytes a second
            &[0, 1, 0, 0, 0, 0, 0, 0, 0x64, 0x01, 0x04, 0],
        ];
        let expected = expected.concat();
        let body = &made[16..];
        assert_eq!(&body[..expected.len()], expected);
        for (new, handle) in [(true, [0, 0, 2, 0]), (false, [0; 4])] {
            let made = message(NEW_DISCIPLINE, |w| leaf(w, 7, Class::from_id(0x4c61_0009), &Leaf::Bytes { most: 32_768, new }));
            let expected: &[&[u8]] = &[
                &[0, 0, 0, 0, 7, 0, 0, 0],
                &handle,
                &[0x09, 0, 0x61, 0x4c, 0, 0, 0, 0],
                &[10, 0, 1, 0, b'b', b'f', b'i', b'f', b'o', 0, 0, 0],
                &[8, 0, 2, 0, 0, 0x80, 0, 0],
            ];
            assert_eq!(&made[16..], expected.concat());
        }
        let queue = Leaf::FqCodel { target_microseconds: 1, interval_microseconds: 2, flows: Some(3), packets: 4, memory_bytes: 5 };
        let made = message(NEW_DISCIPLINE, |w| leaf(w, 7, Class::from_id(0x4c61_0008), &queue));
        let expected: &[&[u8]] = &[
            &[13, 0, 1, 0],
            b"fq_codel\0\0\0\0",
            &[44, 0, 2, 0x80],
            &[8, 0, 1, 0, 1, 0, 0, 0], // TCA_FQ_CODEL_TARGET
            &[8, 0, 2, 0, 4, 0, 0, 0], // TCA_FQ_CODEL_LIMIT
            &[8, 0, 3, 0, 2, 0, 0, 0], // TCA_FQ_CODEL_INTERVAL
            &[8, 0, 5, 0, 3, 0, 0, 0], // TCA_FQ_CODEL_FLOWS
            &[8, 0, 9, 0, 5, 0, 0, 0], // TCA_FQ_CODEL_MEMORY_LIMIT
        ];
        assert_eq!(&made[16 + 20..], expected.concat());
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = message(NEW_DISCIPLINE, |w| root(w, 3));
        let found = read(&bytes, discipline_in).unwrap().unwrap();
        assert_eq!(found, Discipline { index: 3, kind: "htb".into(), handle: HANDLE, root: true });
        assert!(found.ours());
        assert!(!Discipline { handle: 0x8001_0000, ..found.clone() }.ours());
        assert!(!Discipline { kind: "hfsc".into(), ..found.clone() }.ours());
        assert!(!Discipline { root: false, ..found }.ours());
        let shape = Shape::of(Kbps(512));
        let bytes = message(NEW_CLASS, |w| class(w, 3, Class::from_id(HANDLE | 9), &shape));
        for (leaf, queue) in [(0, None), (0x8001_0000, Some(Kind::FqCodel)), (0x0002_0000, Some(Kind::Bytes))] {
            let mut bytes = bytes.clone();
            bytes[16 + 16..][..4].copy_from_slice(&u32::to_ne_bytes(leaf));
            let expected = (Class::from_id(HANDLE | 9), Made { rate: shape.rate, queue });
            assert_eq!(read(&bytes, class_in), Ok(Some(expected)));
        }
        let mut foreign = bytes;
        foreign[16 + 8..][..4].copy_from_slice(&0x0001_0009u32.to_ne_bytes());
        assert_eq!(read(&foreign, class_in), Ok(None), "another's");
        let bytes = message(NEW_LINK, |w| link(w, "br-lan"));
        assert_eq!(read(&bytes, link_in), Ok(Some(Link { index: 0, htb: false })));
    }

    #[test]
    fn hostile_bytes_are_refused_and_never_panic() {
        let whole = [
            message(NEW_DISCIPLINE, |w| root(w, 3)),
            message(NEW_CLASS, |w| class(w, 3, Class::from_id(HANDLE | 9), &Shape::of(Kbps(512)))),
            message(NEW_LINK, |w| link(w, "br-lan")),
        ];
        for bytes in whole {
            for at in 0..bytes.len() {
                let _ = read(&bytes[..at.max(1)], discipline_in);
                for value in [0, 1, 2, 3, 4, 5, 0x10, 0x7f, 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] = value;
                    for message in Messages::new(&changed).filter_map(Result::ok) {
                        let _ = (discipline_in(&message), class_in(&message), link_in(&message));
                    }
                }
            }
        }
        let short = message(NEW_CLASS, |w| w.raw(&[0; 8]));
        assert_eq!(read(&short, class_in), Err(Malformed::Length));
    }
}
