//! Netlink's bytes: messages and attributes, written and read. Pure; no input can make it panic or read out of bounds.
//!
//! Headers and rtnetlink are in the machine's own byte order, nftables' numbers in the network's (linux/netlink.h,
//! linux/netfilter/nfnetlink.h).

/// Length of `struct nlmsghdr`, in bytes.
pub const HEADER: usize = 16;
/// Length of `struct nlattr`, in bytes.
const ATTRIBUTE_HEADER: usize = 4;
/// The largest attribute: its length field has 16 bits.
const MAX_ATTRIBUTE: usize = u16::MAX as usize;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// What is left of an attribute's type without the two flag bits.
const TYPE_MASK: u16 = 0x3fff;

/// `NLMSG_ERROR`: an error, or with the number 0 an acknowledgement.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
pub const DONE: u16 = 3;
/// `NLMSG_OVERRUN`: data was lost.
pub const OVERRUN: u16 = 4;

/// `NLM_F_REQUEST`
pub const REQUEST: u16 = 0x01;
/// `NLM_F_ACK`
pub const ACK: u16 = 0x04;
/// `NLM_F_ECHO`: what is told to listeners is told to the asker, too.
pub const ECHO: u16 = 0x08;
/// `NLM_F_DUMP_INTR`: what is dumped changed meanwhile.
pub const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_REPLACE`: change what exists.
pub const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: fail where it exists.
pub const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_DUMP`
pub const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`
pub const APPEND: u16 = 0x800;
/// `NLM_F_CAPPED` (in an error): the refused message is repeated by its header only.
const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS` (in an error): attributes follow.
const ACK_ATTRIBUTES: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`
const ERROR_TEXT: u16 = 1;

/// Why bytes are not netlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length says more than there is, or less than a header.
    #[error("a netlink length does not fit the bytes around it")]
    Length,
    /// Something that must be there is not.
    #[error("a netlink message lacks its {0}")]
    Missing(&'static str),
}

/// An attribute or a message became longer than its length field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a netlink attribute or message is too long")]
pub struct TooLong;

const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Writes messages one behind the other.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Writer {
    /// Nothing written yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), too_long: false }
    }

    /// Writes one message: its header, and what `body` writes.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]); // the port: the kernel fills in the sender's
        body(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or_else(|_| {
            self.too_long = true;
            0
        });
        self.put(start, &length.to_ne_bytes());
    }

    /// Writes bytes as they are: a family's own header. Their length must be a multiple of four.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes an attribute of bytes.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    /// Writes an attribute of text, with the ending zero that the kernel asks for.
    pub fn text(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    /// Writes a number of 32 bits in network order, as nftables has them.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Writes a number of 64 bits in network order.
    pub fn be64(&mut self, kind: u16, value: u64) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Writes an attribute that holds what `body` writes.
    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NESTED);
        body(self);
        self.close(start);
    }

    /// How much is written so far, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes.
    ///
    /// # Errors
    /// When an attribute or a message outgrew its length field.
    pub fn finish(self) -> Result<Vec<u8>, TooLong> {
        if self.too_long { Err(TooLong) } else { Ok(self.bytes) }
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        let [a, b] = kind.to_ne_bytes();
        self.bytes.extend_from_slice(&[0, 0, a, b]);
        start
    }

    fn close(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        if length > MAX_ATTRIBUTE {
            self.too_long = true;
        }
        self.put(start, &u16::try_from(length).unwrap_or(0).to_ne_bytes());
        let padding = padded(length) - length;
        if padding > 0 {
            self.bytes.extend_from_slice([0; 3].get(..padding).unwrap_or_default());
        }
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

/// A message as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`
    pub kind: u16,
    /// `nlmsg_flags`
    pub flags: u16,
    /// `nlmsg_seq`: the request's that it answers; zero in events.
    pub sequence: u32,
    /// `nlmsg_pid`: in events, the port of the socket whose request caused it; zero where it was none.
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// What an `NLMSG_ERROR` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The error's number; zero for an acknowledgement.
    pub errno: i32,
    /// The kernel's own words, where it gave some.
    pub text: Option<String>,
}

impl<'a> Message<'a> {
    /// The attributes behind a family's own header of `header` bytes.
    ///
    /// # Errors
    /// When the message is shorter than that header.
    pub fn attributes(&self, header: usize) -> Result<Attributes<'a>, Malformed> {
        Ok(Attributes { rest: self.payload.get(padded(header)..).ok_or(Malformed::Length)? })
    }

    /// Reads an `NLMSG_ERROR`'s payload.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn failure(&self) -> Result<Failure, Malformed> {
        let errno = i32_at(self.payload, 0).ok_or(Malformed::Length)?.checked_neg().ok_or(Malformed::Length)?;
        let mut text = None;
        if self.flags & ACK_ATTRIBUTES != 0 {
            let refused = u32_at(self.payload, 4).ok_or(Malformed::Length)? as usize;
            let repeated = if self.flags & CAPPED == 0 { refused.max(HEADER) } else { HEADER };
            let rest = self.payload.get(4..).and_then(|p| p.get(padded(repeated)..)).unwrap_or_default();
            for attribute in (Attributes { rest }) {
                let attribute = attribute?;
                if attribute.kind == ERROR_TEXT {
                    text = attribute.text().map(str::to_owned);
                }
            }
        }
        Ok(Failure { errno, text })
    }
}

/// Reads the messages of one datagram. After an error it ends.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// The messages in these bytes.
    #[must_use]
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let read = || {
            let length = u32_at(rest, 0)? as usize;
            let message = Message {
                kind: u16_at(rest, 4)?,
                flags: u16_at(rest, 6)?,
                sequence: u32_at(rest, 8)?,
                port: u32_at(rest, 12)?,
                payload: rest.get(HEADER..length)?,
            };
            Some((message, rest.get(padded(length)..).unwrap_or_default()))
        };
        Some(read().map_or(Err(Malformed::Length), |(message, left)| {
            self.rest = left;
            Ok(message)
        }))
    }
}

/// An attribute as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type, without the flag bits.
    pub kind: u16,
    /// What it holds.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes inside.
    #[must_use]
    pub fn nested(&self) -> Attributes<'a> {
        Attributes { rest: self.value }
    }
    /// Its text up to the ending zero; nothing where it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        let end = self.value.iter().position(|b| *b == 0).unwrap_or(self.value.len());
        std::str::from_utf8(self.value.get(..end)?).ok()
    }
    /// Its number of 32 bits in network order.
    #[must_use]
    pub fn be32(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.try_into().ok()?))
    }
    /// Its number of 64 bits in network order.
    #[must_use]
    pub fn be64(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.value.try_into().ok()?))
    }
}

/// Reads attributes one behind the other. After an error it ends.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The first attribute of a type.
    ///
    /// # Errors
    /// When the bytes are no attributes.
    pub fn find(self, kind: u16) -> Result<Option<Attribute<'a>>, Malformed> {
        for attribute in self {
            let attribute = attribute?;
            if attribute.kind == kind {
                return Ok(Some(attribute));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let read = || {
            let length = usize::from(u16_at(rest, 0)?);
            let attribute = Attribute { kind: u16_at(rest, 2)? & TYPE_MASK, value: rest.get(ATTRIBUTE_HEADER..length)? };
            Some((attribute, rest.get(padded(length)..).unwrap_or_default()))
        };
        Some(read().map_or(Err(Malformed::Length), |(attribute, left)| {
            self.rest = left;
            Ok(attribute)
        }))
    }
}

/// The number of 16 bits at a place, in the machine's byte order.
#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// The number of 32 bits at a place, in the machine's byte order.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The signed number of 32 bits at a place, in the machine's byte order.
#[must_use]
pub fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    u32_at(bytes, at).map(u32::cast_signed)
}

#[cfg(test)]
mod tests;
