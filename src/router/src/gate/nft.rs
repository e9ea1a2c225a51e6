//! nftables' messages: numbers of the kernel's interface, and the requests that the gate makes. Pure.
//!
//! Numbers are those of linux/netfilter/nf_tables.h; they are the kernel's promise to programs and never change.

use super::names::{CounterName, QuotaName};
use super::set::{Bounds, KeyType, Set};
use super::speeds::Class;
use crate::netlink::codec::{APPEND, CREATE, EXCLUSIVE, Writer};

/// Our table.
pub const TABLE: &str = "lango";
/// `NFPROTO_INET`: IPv4 and IPv6 in one table.
pub const FAMILY: u8 = 1;
/// `NFNL_SUBSYS_NFTABLES`, in a message type's high byte.
pub const SUBSYSTEM: u16 = 10 << 8;
/// Length of `struct nfgenmsg`, in bytes.
pub const GENERIC_HEADER: usize = 4;
/// The group that hears every change of nftables (`NFNLGRP_NFTABLES`, 7), as a bit.
pub const EVENT_GROUP: u32 = 1 << 6;

/// Types of messages (`enum nf_tables_msg_types`).
pub mod message {
    #![allow(missing_docs)] // the kernel's own names, in lower case
    pub const NEW_TABLE: u16 = 0;
    pub const GET_TABLE: u16 = 1;
    pub const DELETE_TABLE: u16 = 2;
    pub const NEW_CHAIN: u16 = 3;
    pub const GET_CHAIN: u16 = 4;
    pub const DELETE_CHAIN: u16 = 5;
    pub const NEW_RULE: u16 = 6;
    pub const GET_RULE: u16 = 7;
    pub const DELETE_RULE: u16 = 8;
    pub const NEW_SET: u16 = 9;
    pub const NEW_ELEMENT: u16 = 12;
    pub const GET_ELEMENT: u16 = 13;
    pub const DELETE_ELEMENT: u16 = 14;
    pub const NEW_OBJECT: u16 = 18;
    pub const GET_OBJECT: u16 = 19;
    pub const DELETE_OBJECT: u16 = 20;
}

/// Attributes, as `THING_ATTRIBUTE`.
pub mod attribute {
    #![allow(missing_docs)] // the kernel's own names without their prefix
    pub const LIST_ITEM: u16 = 1;
    pub const DATA_VALUE: u16 = 1;
    pub const DATA_VERDICT: u16 = 2;
    pub const VERDICT_CODE: u16 = 1;
    pub const VERDICT_CHAIN: u16 = 2;
    pub const TABLE_NAME: u16 = 1;
    pub const TABLE_USERDATA: u16 = 6;
    pub const CHAIN_TABLE: u16 = 1;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const CHAIN_POLICY: u16 = 5;
    pub const CHAIN_TYPE: u16 = 7;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
    pub const RULE_TABLE: u16 = 1;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const RULE_USERDATA: u16 = 7;
    pub const EXPRESSION_NAME: u16 = 1;
    pub const EXPRESSION_DATA: u16 = 2;
    pub const SET_TABLE: u16 = 1;
    pub const SET_NAME: u16 = 2;
    pub const SET_FLAGS: u16 = 3;
    pub const SET_KEY_TYPE: u16 = 4;
    pub const SET_KEY_LENGTH: u16 = 5;
    pub const SET_DATA_TYPE: u16 = 6;
    pub const SET_DATA_LENGTH: u16 = 7;
    pub const SET_SIZE: u16 = 9;
    pub const SIZE: u16 = 1;
    pub const SET_ID: u16 = 10;
    pub const SET_TIMEOUT: u16 = 11;
    pub const SET_GC_INTERVAL: u16 = 12;
    pub const SET_USERDATA: u16 = 13;
    pub const SET_OBJECT_TYPE: u16 = 15;
    pub const ELEMENTS_TABLE: u16 = 1;
    pub const ELEMENTS_SET: u16 = 2;
    pub const ELEMENTS: u16 = 3;
    pub const ELEMENT_KEY: u16 = 1;
    pub const ELEMENT_DATA: u16 = 2;
    pub const ELEMENT_TIMEOUT: u16 = 4;
    pub const ELEMENT_EXPIRATION: u16 = 5;
    pub const ELEMENT_OBJECT: u16 = 9;
    pub const OBJECT_TABLE: u16 = 1;
    pub const OBJECT_NAME: u16 = 2;
    pub const OBJECT_TYPE: u16 = 3;
    pub const OBJECT_DATA: u16 = 4;
    pub const COUNTER_BYTES: u16 = 1;
    pub const COUNTER_PACKETS: u16 = 2;
    pub const QUOTA_BYTES: u16 = 1;
    pub const QUOTA_FLAGS: u16 = 2;
    pub const QUOTA_CONSUMED: u16 = 4;
    pub const EXPECTATION_FAMILY: u16 = 1;
    pub const EXPECTATION_TRANSPORT: u16 = 2;
    pub const EXPECTATION_PORT: u16 = 3;
    pub const EXPECTATION_TIMEOUT: u16 = 4;
    pub const EXPECTATION_SIZE: u16 = 5;
}

/// `NFT_OBJECT_COUNTER`
pub const OBJECT_COUNTER: u32 = 1;
/// `NFT_OBJECT_QUOTA`
pub const OBJECT_QUOTA: u32 = 2;
/// `NFT_OBJECT_CT_EXPECT`
pub const OBJECT_EXPECTATION: u32 = 9;
/// `NFT_QUOTA_F_DEPLETED`
pub const QUOTA_DEPLETED: u32 = 2;

/// `NFT_SET_MAP`
pub const SET_MAP: u32 = 0x8;
/// `NFT_SET_TIMEOUT`
pub const SET_TIMEOUT: u32 = 0x10;
/// `NFT_SET_EVAL`
pub const SET_DYNAMIC: u32 = 0x20;
/// `NFT_SET_OBJECT`
pub const SET_OBJECT: u32 = 0x40;

/// One message of a transaction, still without a sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its type, within nftables.
    pub kind: u16,
    /// Flags beside `NLM_F_REQUEST`.
    pub flags: u16,
    /// Its attributes.
    pub attributes: Vec<u8>,
}

impl Request {
    /// A request with the attributes that `body` writes.
    pub fn new(kind: u16, flags: u16, body: impl FnOnce(&mut Writer)) -> Self {
        // As much as an element takes, of which there are thousands; to grow to it in steps takes longer than to write it.
        let mut writer = Writer::with_capacity(128);
        body(&mut writer);
        // Everything written here is a name, a number, an address or a list that its maker keeps short.
        Self { kind, flags, attributes: writer.finish().unwrap_or_default() }
    }

    /// Lets a new rule be the first of its chain instead of the last.
    pub fn at_the_head(&mut self) {
        self.flags &= !APPEND;
    }

    /// Gives a new rule without a comment this one.
    pub fn comment_rule(&mut self, comment: &str) {
        let mut writer = Writer::new();
        writer.attribute(attribute::RULE_USERDATA, &comment_bytes(comment));
        self.attributes.extend(writer.finish().unwrap_or_default());
    }

    /// Writes it as a message.
    pub fn write(&self, writer: &mut Writer, flags: u16, sequence: u32) {
        writer.message(SUBSYSTEM | self.kind, self.flags | flags, sequence, |w| {
            w.raw(&[FAMILY, 0, 0, 0]);
            w.raw(&self.attributes);
        });
    }
}

/// Writes the header and the table's name: how every request for something in our table begins (all of them have the
/// table's name as attribute 1).
pub fn in_table(writer: &mut Writer) {
    writer.raw(&[FAMILY, 0, 0, 0]);
    writer.text(attribute::TABLE_NAME, TABLE);
}

/// Puts an element into a set or map.
#[must_use]
pub fn add_element(set: Set, key: &[u8], timeout_milliseconds: Option<u64>, object: Option<&str>) -> Request {
    element(message::NEW_ELEMENT, CREATE | EXCLUSIVE, set, |w| {
        w.nest(attribute::ELEMENT_KEY, |w| w.attribute(attribute::DATA_VALUE, key));
        if let Some(timeout) = timeout_milliseconds {
            w.be64(attribute::ELEMENT_TIMEOUT, timeout);
        }
        if let Some(object) = object {
            w.text(attribute::ELEMENT_OBJECT, object);
        }
    })
}

/// Puts an element into a set, or finds that it is there; what is there may stay as it is.
#[must_use]
pub fn ensure_element(set: Set, key: &[u8], timeout_milliseconds: Option<u64>) -> Request {
    Request { flags: CREATE, ..add_element(set, key, timeout_milliseconds, None) }
}

/// Puts an element that leads to a class into a map.
#[must_use]
pub fn add_class(set: Set, key: &[u8], class: Class) -> Request {
    element(message::NEW_ELEMENT, CREATE | EXCLUSIVE, set, |w| {
        w.nest(attribute::ELEMENT_KEY, |w| w.attribute(attribute::DATA_VALUE, key));
        // In the machine's order, as a packet's priority is.
        w.nest(attribute::ELEMENT_DATA, |w| w.attribute(attribute::DATA_VALUE, &class.id().to_ne_bytes()));
    })
}

/// Takes an element out.
#[must_use]
pub fn delete_element(set: Set, key: &[u8]) -> Request {
    element(message::DELETE_ELEMENT, 0, set, |w| {
        w.nest(attribute::ELEMENT_KEY, |w| w.attribute(attribute::DATA_VALUE, key));
    })
}

/// Takes all elements out.
#[must_use]
pub fn empty_set(set: Set) -> Request {
    Request::new(message::DELETE_ELEMENT, 0, |w| {
        w.text(attribute::ELEMENTS_TABLE, TABLE);
        w.text(attribute::ELEMENTS_SET, set.name());
    })
}

fn element(kind: u16, flags: u16, set: Set, body: impl FnOnce(&mut Writer)) -> Request {
    Request::new(kind, flags, |w| {
        w.text(attribute::ELEMENTS_TABLE, TABLE);
        w.text(attribute::ELEMENTS_SET, set.name());
        w.nest(attribute::ELEMENTS, |w| w.nest(attribute::LIST_ITEM, body));
    })
}

/// Makes a counter that has counted so many bytes already.
#[must_use]
pub fn add_counter(name: &CounterName, bytes: u64) -> Request {
    new_counter(&name.to_string(), bytes)
}

/// Makes a counter that nothing counts with, under a name that is no account's.
#[must_use]
pub fn add_idle_counter(name: &str) -> Request {
    new_counter(name, 0)
}

fn new_counter(name: &str, bytes: u64) -> Request {
    object(message::NEW_OBJECT, CREATE | EXCLUSIVE, name, OBJECT_COUNTER, |w| {
        w.nest(attribute::OBJECT_DATA, |w| {
            w.be64(attribute::COUNTER_BYTES, bytes);
            w.be64(attribute::COUNTER_PACKETS, 0);
        });
    })
}

/// Makes a quota of which so many bytes are consumed already. The kernel refuses more consumed than there is.
#[must_use]
pub fn add_quota(name: QuotaName, limit: u64, consumed: u64) -> Request {
    object(message::NEW_OBJECT, CREATE | EXCLUSIVE, &name.to_string(), OBJECT_QUOTA, |w| {
        w.nest(attribute::OBJECT_DATA, |w| {
            w.be64(attribute::QUOTA_BYTES, limit);
            w.be64(attribute::QUOTA_CONSUMED, consumed.min(limit));
        });
    })
}

/// Makes an object of connection tracking that expects no connection at all, or finds that it is there. What it is good
/// for is in decision 10. `family` is 2 (`NFPROTO_IPV4`) or 1 (`NFPROTO_INET`): it makes no difference to packets, but in a
/// table of both IPs newer kernels take only the first, and older ones only the second.
#[must_use]
pub fn add_expectation_of_nothing(name: &str, family: u16) -> Request {
    const TCP: u8 = 6;
    const DISCARD: u16 = 9;
    object(message::NEW_OBJECT, CREATE, name, OBJECT_EXPECTATION, |w| {
        w.nest(attribute::OBJECT_DATA, |w| {
            w.attribute(attribute::EXPECTATION_FAMILY, &family.to_be_bytes());
            w.attribute(attribute::EXPECTATION_TRANSPORT, &[TCP]);
            w.attribute(attribute::EXPECTATION_PORT, &DISCARD.to_be_bytes());
            w.attribute(attribute::EXPECTATION_TIMEOUT, &1_000u32.to_ne_bytes());
            // As many of them as a connection may have open: with none, the kernel stops before it makes one.
            w.attribute(attribute::EXPECTATION_SIZE, &[0]);
        });
    })
}

/// Changes a quota's limit; what is consumed of it stays.
#[must_use]
pub fn set_limit(name: QuotaName, limit: u64) -> Request {
    object(message::NEW_OBJECT, 0, &name.to_string(), OBJECT_QUOTA, |w| {
        w.nest(attribute::OBJECT_DATA, |w| w.be64(attribute::QUOTA_BYTES, limit));
    })
}

/// Deletes an object; refused (`EBUSY`) while an element leads to it.
#[must_use]
pub fn delete_object(name: &str, kind: u32) -> Request {
    object(message::DELETE_OBJECT, 0, name, kind, |_| {})
}

fn object(kind: u16, flags: u16, name: &str, object: u32, body: impl FnOnce(&mut Writer)) -> Request {
    Request::new(kind, flags, |w| {
        w.text(attribute::OBJECT_TABLE, TABLE);
        w.text(attribute::OBJECT_NAME, name);
        w.be32(attribute::OBJECT_TYPE, object);
        body(w);
    })
}

/// Makes our table, with a comment.
#[must_use]
pub fn add_table(comment: &str) -> Request {
    Request::new(message::NEW_TABLE, CREATE | EXCLUSIVE, |w| {
        w.text(attribute::TABLE_NAME, TABLE);
        w.attribute(attribute::TABLE_USERDATA, &comment_bytes(comment));
    })
}

/// Deletes our table and all that is in it.
#[must_use]
pub fn delete_table() -> Request {
    Request::new(message::DELETE_TABLE, 0, |w| w.text(attribute::TABLE_NAME, TABLE))
}

/// Deletes a chain of our table, with its rules.
#[must_use]
pub fn delete_chain(name: &str) -> Request {
    Request::new(message::DELETE_CHAIN, 0, |w| {
        w.text(attribute::CHAIN_TABLE, TABLE);
        w.text(attribute::CHAIN_NAME, name);
    })
}

/// Deletes all rules of our table; its chains stay.
#[must_use]
pub fn delete_rules() -> Request {
    Request::new(message::DELETE_RULE, 0, |w| w.text(attribute::RULE_TABLE, TABLE))
}

/// Makes a set or map. The number is one that only this transaction knows it by.
#[must_use]
pub fn add_set(set: Set, number: u32, collect_every_milliseconds: u32) -> Request {
    Request::new(message::NEW_SET, CREATE | EXCLUSIVE, |w| {
        let KeyType(kind, length) = set.key();
        let flags = if set.ends() { SET_TIMEOUT } else { 0 } | if set.object().is_some() { SET_OBJECT } else { 0 };
        let flags = flags | if set.marks() { SET_MAP } else { 0 };
        let flags = flags | if set.grows() { SET_DYNAMIC } else { 0 };
        w.text(attribute::SET_TABLE, TABLE);
        w.text(attribute::SET_NAME, set.name());
        w.be32(attribute::SET_FLAGS, flags);
        w.be32(attribute::SET_KEY_TYPE, kind);
        w.be32(attribute::SET_KEY_LENGTH, length);
        if set.marks() {
            w.be32(attribute::SET_DATA_TYPE, KeyType::CLASS.0);
            w.be32(attribute::SET_DATA_LENGTH, KeyType::CLASS.1);
        }
        if let Some(Bounds { most, .. }) = set.bounds() {
            w.nest(attribute::SET_SIZE, |w| w.be32(attribute::SIZE, most));
        }
        w.be32(attribute::SET_ID, number);
        if let Some(Bounds { milliseconds, .. }) = set.bounds() {
            w.be64(attribute::SET_TIMEOUT, milliseconds);
        }
        if let Some(object) = set.object() {
            w.be32(attribute::SET_OBJECT_TYPE, object);
        }
        if set.key() == KeyType::INTERFACE {
            // For `nft`, which prints names only where it is told that they are in the machine's byte order.
            w.attribute(attribute::SET_USERDATA, &[[0, 4].as_slice(), &1u32.to_ne_bytes()].concat());
        }
        if set.marks() {
            // The same for what they lead to.
            w.attribute(attribute::SET_USERDATA, &[[1, 4].as_slice(), &1u32.to_ne_bytes()].concat());
        }
        if set.ends() {
            w.be32(attribute::SET_GC_INTERVAL, collect_every_milliseconds);
        }
    })
}

/// Makes a chain, or finds that it is there; `hook` is (type, number, priority) where packets enter it by themselves.
#[must_use]
pub fn add_chain(name: &str, hook: Option<(&str, u32, i32)>) -> Request {
    Request::new(message::NEW_CHAIN, CREATE, |w| {
        w.text(attribute::CHAIN_TABLE, TABLE);
        w.text(attribute::CHAIN_NAME, name);
        if let Some((kind, number, priority)) = hook {
            w.nest(attribute::CHAIN_HOOK, |w| {
                w.be32(attribute::HOOK_NUMBER, number);
                w.be32(attribute::HOOK_PRIORITY, priority.cast_unsigned());
            });
            w.text(attribute::CHAIN_TYPE, kind);
            w.be32(attribute::CHAIN_POLICY, 1); // NF_ACCEPT
        }
    })
}

/// Puts a rule at a chain's end: its expressions as written by `expressions`.
#[must_use]
pub fn add_rule(chain: &str, expressions: &[u8], comment: Option<&str>) -> Request {
    Request::new(message::NEW_RULE, CREATE | APPEND, |w| {
        w.text(attribute::RULE_TABLE, TABLE);
        w.text(attribute::RULE_CHAIN, chain);
        w.nest(attribute::RULE_EXPRESSIONS, |w| w.raw(expressions));
        if let Some(comment) = comment {
            w.attribute(attribute::RULE_USERDATA, &comment_bytes(comment));
        }
    })
}

/// A comment as `nft` keeps it in user data: type 0, length, text with its ending zero.
fn comment_bytes(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(0);
    [&[0, length], comment.as_bytes(), &[0]].concat()
}

/// The comment in user data; nothing where it has none.
#[must_use]
pub fn comment_in(userdata: &[u8]) -> Option<&str> {
    let mut rest = userdata;
    while let [kind, length, tail @ ..] = rest {
        let (value, next) = tail.split_at_checked(usize::from(*length))?;
        if *kind == 0 {
            return std::str::from_utf8(value.strip_suffix(&[0])?).ok();
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_as_nft_writes_them() {
        assert_eq!(comment_bytes("hello"), b"\x00\x06hello\x00");
        assert_eq!(comment_in(b"\x00\x06hello\x00"), Some("hello"));
        assert_eq!(comment_in(b"\x07\x01x\x00\x06hello\x00"), Some("hello"));
        for bad in [&b""[..], b"\x00", b"\x00\x06hell", b"\x00\x00", b"\x07\x01x"] {
            assert_eq!(comment_in(bad), None);
        }
    }

    #[test]
    fn an_element_is_written_as_the_kernel_reads_it() {
        let request = add_element(Set::UpQuota, &[2, 0, 0x5e, 0x10, 0, 1], Some(60_000), Some("q1.0"));
        let expected: &[&[u8]] = &[
            &[10, 0, 1, 0],
            b"lango\0\0\0",
            &[13, 0, 2, 0],
            b"up_quota\0\0\0\0",
            &[48, 0, 3, 0x80],
            &[44, 0, 1, 0x80],
            &[16, 0, 1, 0x80, 10, 0, 1, 0, 2, 0, 0x5e, 0x10, 0, 1, 0, 0],
            &[12, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0xea, 0x60],
            &[9, 0, 9, 0],
            b"q1.0\0\0\0\0",
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(request.attributes, expected.concat());
        }
        assert_eq!((request.kind, request.flags), (message::NEW_ELEMENT, CREATE | EXCLUSIVE));
    }
}
