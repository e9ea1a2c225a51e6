//! How records lie in the store: values cut into small pieces, and one marker that vouches for all of them. Pure.
//!
//! Pieces: sled keeps up to sixteen neighbouring values in one page, and a page over 32 KiB goes to a file of its own that
//! sled never syncs. With no value over [`PIECE`] bytes no page ever gets there, however many devices an account has.
//!
//! The marker: its digest is a sum over all pieces, so a change adds and takes away only what it touches. A store from
//! which an entry vanished, or in which an old one came back, no longer agrees with it and is not used.

use lango_core::tree::BTreeMap;
use serde::{Deserialize, Serialize};

/// The layout described here. A store of a later one is refused.
pub const FORMAT: u8 = 1;

/// The marker's key: it begins with a byte that no record's key has.
pub const MARKER: &[u8] = b"\0lango";

/// The most bytes of a value under one key of the engine.
pub const PIECE: usize = 1024;

/// What [`MARKER`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// [`FORMAT`] at the time of writing.
    pub v: u8,
    /// Over all pieces of all records.
    pub digest: Digest,
}

/// A marker as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// Of this format.
    Ours(Marker),
    /// Of another one: what else it holds is not for this program to judge.
    Later {
        /// Which.
        v: u8,
    },
}

impl Marked {
    /// Reads what is under [`MARKER`].
    ///
    /// # Errors
    /// When it is no marker.
    pub fn read(value: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u8,
        }
        match serde_json::from_slice(value)? {
            Versioned { v } if v != FORMAT => Ok(Self::Later { v }),
            Versioned { .. } => serde_json::from_slice(value).map(Self::Ours),
        }
    }
}

/// A sum over a set of pieces, in whatever order they came. It finds damage, not malice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(u64);

impl Digest {
    /// Takes a piece into the sum.
    pub fn add(&mut self, key: &[u8], piece: &[u8]) {
        self.0 = self.0.wrapping_add(hash(key, piece));
    }
    /// Takes a piece that was added out of it again.
    pub fn remove(&mut self, key: &[u8], piece: &[u8]) {
        self.0 = self.0.wrapping_sub(hash(key, piece));
    }
}

fn hash(key: &[u8], piece: &[u8]) -> u64 {
    let mut sha = ring::digest::Context::new(&ring::digest::SHA256);
    sha.update(&u64::try_from(key.len()).unwrap_or(u64::MAX).to_le_bytes()); // so that no other pair has the same bytes
    sha.update(key);
    sha.update(piece);
    sha.finish().as_ref().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The bytes between a record's key and a further piece's number. No record's key holds them, so the pieces follow their
/// record before any other key.
const FURTHER: u8 = 0;

/// The beginning of the keys of all pieces of a record but the first.
#[must_use]
pub fn further_pieces_of(key: &str) -> Vec<u8> {
    let mut prefix = key.as_bytes().to_vec();
    prefix.push(FURTHER);
    prefix
}

/// Cuts a value into pieces: the first under the record's own key, the others behind it.
#[must_use]
pub fn cut(key: &str, value: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut pieces = BTreeMap::from([(key.as_bytes().to_vec(), value.get(..PIECE).unwrap_or(value).to_vec())]);
    for (number, piece) in (0_u32..).zip(value.chunks(PIECE)).skip(1) {
        let mut piece_key = further_pieces_of(key);
        piece_key.extend_from_slice(&number.to_be_bytes());
        pieces.insert(piece_key, piece.to_vec());
    }
    pieces
}

/// A record as it is stored: its key and its value.
pub type Stored = (String, Vec<u8>);

/// Puts records together again from pieces in the order of their keys.
#[derive(Debug, Default)]
pub struct Joiner {
    last: Option<Stored>,
    next: u32,
}

impl Joiner {
    /// Takes the next piece; gives back the record before, where this one begins another.
    ///
    /// # Errors
    /// When it is no piece, or not the one that should come.
    pub fn push(&mut self, key: &[u8], piece: &[u8]) -> Result<Option<Stored>, String> {
        let odd = || format!("the entry {} is out of place", key.escape_ascii());
        let Some(at) = key.iter().position(|byte| *byte == FURTHER) else {
            let key = String::from_utf8(key.to_vec()).map_err(|_| odd())?;
            self.next = 1;
            return Ok(self.last.replace((key, piece.to_vec())));
        };
        let (record, number) = (key.get(..at).ok_or_else(odd)?, key.get(at + 1..).ok_or_else(odd)?);
        match &mut self.last {
            Some((last, value)) if last.as_bytes() == record && number == self.next.to_be_bytes() => {
                value.extend_from_slice(piece);
                self.next += 1;
                Ok(None)
            }
            _ => Err(odd()),
        }
    }

    /// The last record.
    #[must_use]
    pub fn finish(self) -> Option<Stored> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(pieces: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Vec<Stored>, String> {
        let mut joiner = Joiner::default();
        let mut whole = Vec::new();
        for (key, piece) in pieces {
            whole.extend(joiner.push(&key, &piece)?);
        }
        whole.extend(joiner.finish());
        Ok(whole)
    }

    #[test]
    fn values_of_every_length_come_back_whole() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 300 * PIECE + 7] {
            let value: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let pieces = cut("account/a", &value);
            assert!(pieces.values().all(|piece| piece.len() <= PIECE));
            assert_eq!(pieces.len(), length.div_ceil(PIECE).max(1), "{length} bytes");
            // Neighbours whose keys begin alike must not come in between.
            let mut all = cut("account/", b"before");
            all.extend(pieces);
            all.extend(cut("account/a!", b"behind"));
            let joined = join(all).unwrap();
            assert_eq!(joined[1], ("account/a".to_owned(), value), "{length} bytes");
            assert_eq!(joined.len(), 3);
        }
    }

    #[test]
    fn a_missing_piece_is_noticed() {
        let whole = cut("account/a", &[7; 5 * PIECE]);
        for missing in whole.keys().take(4) {
            let mut rest = whole.clone();
            rest.remove(missing);
            assert!(join(rest).is_err(), "{}", missing.escape_ascii());
        }
        // The last one is not: the digest is there for that.
        let mut digests = [Digest::default(), Digest::default()];
        whole.iter().for_each(|(key, piece)| digests[0].add(key, piece));
        whole.iter().take(4).for_each(|(key, piece)| digests[1].add(key, piece));
        assert_ne!(digests[0], digests[1]);
    }

    #[test]
    fn the_digest_is_of_the_set_not_of_its_history() {
        let mut one = Digest::default();
        one.add(b"a", b"1");
        one.add(b"b", b"2");
        let mut other = Digest::default();
        other.add(b"b", b"old");
        other.add(b"a", b"1");
        other.remove(b"b", b"old");
        assert_ne!(one, other);
        other.add(b"b", b"2");
        assert_eq!(one, other);
        let mut shifted = Digest::default();
        shifted.add(b"ab", b"");
        let mut unshifted = Digest::default();
        unshifted.add(b"a", b"b");
        assert_ne!(shifted, unshifted);
    }

    #[test]
    fn the_marker_s_bytes_are_frozen() {
        // If this fails, don't change the test: routers in the field have this in their flash.
        let mut digest = Digest::default();
        digest.add(b"counters", b"{}");
        let marker = Marker { v: FORMAT, digest };
        assert_eq!(serde_json::to_string(&marker).unwrap(), "{\"v\":1,\"digest\":3074454917897416037}");
    }
}
