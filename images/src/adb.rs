//! ADB, the container of apk version 3: one block of linked values, signatures of it, and the files' data behind it
//! (apk-tools, doc/apk-v3.5.scd). Little-endian; what points, points from the block's beginning.

use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::collections::HashMap;
use std::io::Write as _;

/// A value's tag: four bits of type, 28 bits that are the value or where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(u32);

/// Nothing; a field that is left out.
pub const NULL: Value = Value(0);

const INT: u32 = 0x1000_0000;
const INT_32: u32 = 0x2000_0000;
const INT_64: u32 = 0x3000_0000;
const BLOB_8: u32 = 0x8000_0000;
const BLOB_16: u32 = 0x9000_0000;
const BLOB_32: u32 = 0xa000_0000;
const ARRAY: u32 = 0xd000_0000;
const OBJECT: u32 = 0xe000_0000;

/// The block of values while it is written. What was written already is pointed to, not written again.
#[derive(Debug)]
pub struct Values {
    bytes: Vec<u8>,
    known: HashMap<(usize, Vec<u8>), u32>,
}

impl Default for Values {
    fn default() -> Self {
        Self::new()
    }
}

impl Values {
    /// An empty block: its header, of version 0, with no root yet.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; 8], known: HashMap::new() }
    }

    /// Bytes, or text.
    pub fn blob(&mut self, content: &[u8]) -> Value {
        let (kind, align, bytes) = match Self::sized(content) {
            Some(sized) => sized,
            None => return NULL,
        };
        Value(kind | self.place(align, bytes))
    }

    /// Bytes that nothing else points to, so that they can be changed afterwards; the second is where they lie.
    pub fn own_blob(&mut self, content: &[u8]) -> (Value, usize) {
        let (kind, align, bytes) = match Self::sized(content) {
            Some(sized) => sized,
            None => return (NULL, 0),
        };
        let (before, at) = (bytes.len() - content.len(), self.append(align, &bytes));
        (Value(kind | at), at as usize + before)
    }

    /// A number.
    pub fn int(&mut self, number: u64) -> Value {
        match u32::try_from(number) {
            Ok(small) if small < INT => Value(INT | small),
            Ok(middle) => Value(INT_32 | self.place(4, middle.to_le_bytes().to_vec())),
            Err(_) => Value(INT_64 | self.place(4, number.to_le_bytes().to_vec())),
        }
    }

    /// An object: its fields from the first on, [`NULL`] for what it does not have.
    pub fn object(&mut self, fields: &[Value]) -> Value {
        self.slots(OBJECT, fields)
    }

    /// An array. apk wants objects in it to be in the order of their first fields.
    pub fn array(&mut self, items: &[Value]) -> Value {
        self.slots(ARRAY, items)
    }

    /// The finished block.
    #[must_use]
    pub fn finish(mut self, root: Value) -> Vec<u8> {
        self.bytes[4..8].copy_from_slice(&root.0.to_le_bytes());
        self.bytes
    }

    fn sized(content: &[u8]) -> Option<(u32, usize, Vec<u8>)> {
        let (kind, length) = match content.len() {
            0 => return None,
            length @ 1..=0xff => (BLOB_8, vec![length as u8]),
            length @ 0x100..=0xffff => (BLOB_16, (length as u16).to_le_bytes().to_vec()),
            length => (BLOB_32, (length as u32).to_le_bytes().to_vec()),
        };
        Some((kind, length.len(), [&length, content].concat()))
    }

    fn slots(&mut self, kind: u32, values: &[Value]) -> Value {
        let used = values.iter().rposition(|value| *value != NULL).map_or(0, |last| last + 1);
        if used == 0 {
            return NULL;
        }
        let count = used as u32 + 1;
        let bytes = std::iter::once(count).chain(values[..used].iter().map(|value| value.0)).flat_map(u32::to_le_bytes).collect();
        Value(kind | self.place(4, bytes))
    }

    fn place(&mut self, align: usize, bytes: Vec<u8>) -> u32 {
        if let Some(at) = self.known.get(&(align, bytes.clone())) {
            return *at;
        }
        let at = self.append(align, &bytes);
        self.known.insert((align, bytes), at);
        at
    }

    fn append(&mut self, align: usize, bytes: &[u8]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(align), 0);
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        at
    }
}

/// What an ADB file holds, as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// A package.
    Package,
    /// A feed's index.
    Index,
}

impl Schema {
    /// Its four bytes; signatures cover them, too.
    #[must_use]
    pub fn bytes(self) -> [u8; 4] {
        match self {
            Self::Package => *b"pckg",
            Self::Index => *b"indx",
        }
    }
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Values.
    Adb = 0,
    /// A signature of the values.
    Signature = 1,
    /// A file's content.
    Data = 2,
}

/// A whole file, as it is before it is compressed: header, then the blocks.
#[must_use]
pub fn file<'a>(schema: Schema, blocks: impl IntoIterator<Item = (Block, &'a [u8])>) -> Vec<u8> {
    let mut bytes = [*b"ADB.", schema.bytes()].concat();
    for (block, content) in blocks {
        // Files of a gigabyte would need another header; what is packed here is some megabytes.
        let size = ((block as u32) << 30) | (content.len() as u32 + 4);
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

/// The file as it is on disk: "ADBd", and the rest deflated, without zlib's header.
///
/// # Errors
/// None that memory does not cause.
pub fn compressed(file: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(b"ADBd".to_vec(), Compression::best());
    encoder.write_all(file)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_where_their_tags_say() {
        let mut values = Values::new();
        let name = values.blob(b"lango");
        let again = values.blob(b"lango");
        assert_eq!(name, again, "what is there is not written again");
        assert_eq!(values.int(5), Value(0x1000_0005));
        let number = values.int(0x1234_5678);
        let root = values.object(&[name, NULL, number, NULL]);
        let bytes = values.finish(root);
        let expected: &[u8] = &[
            0, 0, 0, 0, 0x14, 0, 0, 0xe0, // header; the root is an object at 0x14
            5, b'l', b'a', b'n', b'g', b'o', 0, 0, // 8: a blob, and padding
            0x78, 0x56, 0x34, 0x12, // 16: a number of 32 bits
            4, 0, 0, 0, 8, 0, 0, 0x80, 0, 0, 0, 0, 16, 0, 0, 0x20, // 20: itself and three fields; the last one is left out
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_object_of_nothing_is_nothing() {
        assert_eq!(Values::new().object(&[NULL, NULL]), NULL);
        assert_eq!(Values::new().blob(b""), NULL);
    }

    #[test]
    fn long_blobs_and_numbers_have_longer_headers() {
        let mut values = Values::new();
        values.blob(&[7; 256]);
        values.int(1 << 40);
        let bytes = values.finish(NULL);
        assert_eq!(bytes[8..10], [0, 1]);
        assert_eq!(bytes[268..276], (1_u64 << 40).to_le_bytes(), "aligned to 4");
    }

    #[test]
    fn blocks_are_padded_to_eight() {
        let bytes = file(Schema::Index, [(Block::Adb, &[1, 2, 3][..]), (Block::Signature, &[9; 4][..])]);
        let expected: &[u8] = b"ADB.indx\x07\0\0\0\x01\x02\x03\0\x08\0\0\x40\x09\x09\x09\x09";
        assert_eq!(bytes, expected);
    }
}
