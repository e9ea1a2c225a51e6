//! What the kernel tells of our table, as values. Pure.

use super::names::{CounterName, QuotaName};
use super::nft::{FAMILY, GENERIC_HEADER, OBJECT_COUNTER, OBJECT_QUOTA, QUOTA_DEPLETED, TABLE, attribute};
use super::set::{Key, Set};
use super::speeds::Class;
use crate::netlink::codec::{Attribute, Malformed, Message, u32_at};
use lango_core::time::Monotonic;
use lango_core::units::Millis;

/// What one quota says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaState {
    /// Which.
    pub name: QuotaName,
    /// Its limit, in bytes.
    pub limit: u64,
    /// Whether it was hit.
    pub hit: bool,
}

/// An object as the kernel describes it, in a dump or an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// A quota.
    Quota(QuotaState),
    /// A counter and its bytes.
    Counter(CounterName, u64),
}

/// An element as the kernel describes it. Thousands of them are read one after the other: none takes memory of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// What it is found by.
    pub key: Key,
    /// What it leads to.
    pub to: To,
    /// When it ends.
    pub until: Option<Monotonic>,
}

/// What an element leads to; nothing where that is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// A quota.
    Quota(Option<QuotaName>),
    /// A counter.
    Counter(Option<CounterName>),
    /// A class.
    Class(Option<Class>),
    /// To nothing: it is in a set.
    Nothing,
}

impl Element {
    /// Reads one of a set's, at `now`: the kernel tells how long it still has. Nothing where its key is of a kind that we do not make.
    ///
    /// # Errors
    /// When it has no key.
    pub fn read(item: Attribute<'_>, set: Set, now: Monotonic) -> Result<Option<Self>, Malformed> {
        let key = item.nested().find(attribute::ELEMENT_KEY)?.ok_or(Malformed::Missing("element's key"))?;
        let key = key.nested().find(attribute::DATA_VALUE)?.ok_or(Malformed::Missing("element's key"))?;
        let object = item.nested().find(attribute::ELEMENT_OBJECT)?.and_then(|object| object.text());
        let to = if set.marks() {
            let data = item.nested().find(attribute::ELEMENT_DATA)?;
            let class = data.map(|data| data.nested().find(attribute::DATA_VALUE)).transpose()?.flatten();
            To::Class(class.and_then(|class| u32_at(class.value, 0)).map(Class::from_id))
        } else {
            match set.object() {
                Some(OBJECT_QUOTA) => To::Quota(object.and_then(|name| name.parse().ok())),
                Some(_) => To::Counter(object.and_then(|name| name.parse().ok())),
                None => To::Nothing,
            }
        };
        let left = item.nested().find(attribute::ELEMENT_EXPIRATION)?.and_then(|a| a.be64());
        Ok(Key::from_bytes(key.value).map(|key| Self { key, to, until: left.map(|left| now.after(Millis(left))) }))
    }
}

/// Whether a message is about our table. All of nftables' messages have the table's name as attribute 1.
///
/// # Errors
/// When it cannot be read.
pub fn ours(message: &Message<'_>) -> Result<bool, Malformed> {
    // The family: an `ip` or `netdev` table may have the same name.
    Ok(message.payload.first() == Some(&FAMILY) && named_as_ours(message)?)
}

fn named_as_ours(message: &Message<'_>) -> Result<bool, Malformed> {
    let name = message.attributes(GENERIC_HEADER)?.find(attribute::TABLE_NAME)?;
    Ok(name.and_then(|n| n.text()) == Some(TABLE))
}

/// The object of ours that a message describes.
///
/// # Errors
/// When it cannot be read.
pub fn object_in(message: &Message<'_>) -> Result<Option<Object>, Malformed> {
    // The family is not looked at: the event of a quota that was hit has the packet's (IPv4 or IPv6), not the table's.
    if !named_as_ours(message)? {
        return Ok(None);
    }
    let attributes = message.attributes(GENERIC_HEADER)?;
    let name = attributes.clone().find(attribute::OBJECT_NAME)?.and_then(|a| a.text()).unwrap_or_default();
    let kind = attributes.clone().find(attribute::OBJECT_TYPE)?.and_then(|a| a.be32());
    let Some(data) = attributes.find(attribute::OBJECT_DATA)? else { return Ok(None) };
    Ok(match kind {
        Some(OBJECT_COUNTER) => {
            let bytes = data.nested().find(attribute::COUNTER_BYTES)?.and_then(|a| a.be64());
            let bytes = bytes.ok_or(Malformed::Missing("counter's bytes"))?;
            name.parse().ok().map(|name| Object::Counter(name, bytes))
        }
        Some(OBJECT_QUOTA) => {
            let limit = data.nested().find(attribute::QUOTA_BYTES)?.and_then(|a| a.be64());
            let limit = limit.ok_or(Malformed::Missing("quota's bytes"))?;
            let flags = data.nested().find(attribute::QUOTA_FLAGS)?.and_then(|a| a.be32()).unwrap_or(0);
            let hit = flags & QUOTA_DEPLETED != 0;
            name.parse().ok().map(|name| Object::Quota(QuotaState { name, limit, hit }))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::nft::{Request, add_counter, add_element, add_quota, message};
    use super::*;
    use crate::gate::names::Direction;
    use crate::netlink::codec::{Messages, Writer};
    use lango_core::gate::GateId;
    use lango_core::units::Mac;

    fn bytes(request: &Request) -> Vec<u8> {
        let mut writer = Writer::new();
        request.write(&mut writer, 0, 0);
        writer.finish().unwrap()
    }

    fn object(request: &Request) -> Result<Option<Object>, Malformed> {
        object_in(&Messages::new(&bytes(request)).next().unwrap().unwrap())
    }

    /// The kernel describes objects by the same attributes by which they are made.
    #[test]
    fn objects_are_read_as_they_are_made() {
        let name = QuotaName { id: GateId(3), serial: 1 };
        assert_eq!(object(&add_quota(name, 10, 4)), Ok(Some(Object::Quota(QuotaState { name, limit: 10, hit: false }))));
        let name = CounterName { id: GateId(3), mac: Mac([2, 0, 0, 0, 0, 1]), direction: Direction::Down };
        assert_eq!(object(&add_counter(&name, 77)), Ok(Some(Object::Counter(name, 77))));
    }

    #[test]
    fn what_lacks_something_is_refused_and_what_is_not_ours_is_nothing() {
        let made = |table: &str, name: &str, kind: u32, data: bool| {
            Request::new(message::NEW_OBJECT, 0, |w| {
                w.text(attribute::OBJECT_TABLE, table);
                w.text(attribute::OBJECT_NAME, name);
                w.be32(attribute::OBJECT_TYPE, kind);
                if data {
                    w.nest(attribute::OBJECT_DATA, |_| {});
                }
            })
        };
        for (table, name, kind, data, expected) in [
            (TABLE, "q3.0", OBJECT_QUOTA, true, Err(Malformed::Missing("quota's bytes"))),
            (TABLE, "u3-020000000001", OBJECT_COUNTER, true, Err(Malformed::Missing("counter's bytes"))),
            (TABLE, "q3.0", OBJECT_QUOTA, false, Ok(None)),
            (TABLE, "q3.0", 9, true, Ok(None)),
            ("fw4", "q3.0", OBJECT_QUOTA, true, Ok(None)),
        ] {
            assert_eq!(object(&made(table, name, kind, data)), expected, "{table} {name} {kind}");
        }
        assert_eq!(object(&add_quota(QuotaName { id: GateId(3), serial: 0 }, 1, 0)).map(|o| o.is_some()), Ok(true));
    }

    #[test]
    fn elements_are_read_with_the_end_in_our_time() {
        let request = add_element(Set::UpQuota, &[2, 0, 0, 0, 0, 1], Some(60_000), Some("q3.0"));
        let bytes = bytes(&request);
        let message = Messages::new(&bytes).next().unwrap().unwrap();
        let list = message.attributes(GENERIC_HEADER).unwrap().find(attribute::ELEMENTS).unwrap().unwrap();
        let item = list.nested().next().unwrap().unwrap();
        let key = Key::Mac(Mac([2, 0, 0, 0, 0, 1]));
        let mut element = Element { key, to: To::Quota(Some(QuotaName { id: GateId(3), serial: 0 })), until: None };
        assert_eq!(Element::read(item, Set::UpQuota, Monotonic(5)), Ok(Some(element)), "how long it was given is not how long it has");
        let mut writer = Writer::new();
        writer.nest(attribute::LIST_ITEM, |w| {
            w.nest(attribute::ELEMENT_KEY, |w| w.attribute(attribute::DATA_VALUE, &key.bytes()));
            w.be64(attribute::ELEMENT_EXPIRATION, 1_000);
            w.text(attribute::ELEMENT_OBJECT, "q3.0");
        });
        let bytes = writer.finish().unwrap();
        let mut whole = Writer::new();
        whole.message(0, 0, 0, |w| w.raw(&bytes));
        let whole = whole.finish().unwrap();
        let message = Messages::new(&whole).next().unwrap().unwrap();
        let item = message.attributes(0).unwrap().next().unwrap().unwrap();
        element.until = Some(Monotonic(1_005));
        assert_eq!(Element::read(item, Set::UpQuota, Monotonic(5)), Ok(Some(element)));
        let empty = Attribute { kind: 1, value: &[] };
        assert_eq!(Element::read(empty, Set::UpQuota, Monotonic(5)), Err(Malformed::Missing("element's key")));
    }
}
