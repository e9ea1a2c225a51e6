//! A gzip file (RFC 1952) of parts that were compressed when the program was built, others that are only stored, and a tail.
//! Pure. The tail of a page is made on the router, and compressed by what can be done in a few lines.

use super::repeats::{self, Piece};
use std::borrow::Cow;

mod codes {
    include!(concat!(env!("OUT_DIR"), "/portal_codes.rs"));
}

/// The symbol behind the last byte.
const END: usize = 256;

/// The largest stored block (RFC 1951 section 3.2.4).
const BLOCK: usize = 0xffff;

/// A last block with nothing in it, in the codes that need no head (section 3.2.6).
const LAST: [u8; 2] = [3, 0];

/// No name, no time, made on Unix (RFC 1952 section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];

/// The parts of the file, in order. Each of `packed` must end on a byte boundary with a block that is not the last one;
/// `length` and `crc` are those of what all of them hold.
#[must_use]
pub fn file(packed: &[Cow<'static, [u8]>], length: usize, crc: u32, tail: &[u8]) -> Vec<Cow<'static, [u8]>> {
    let mut end = Vec::with_capacity(tail.len() + 16);
    squeeze(&mut end, tail);
    // In a script of which the codes know nothing it is more than it was.
    if end.len() > tail.len() + tail.len().div_ceil(BLOCK) * 5 + LAST.len() {
        end.clear();
        store(&mut end, tail);
        end.extend_from_slice(&LAST);
    }
    end.extend_from_slice(&crc32(crc, tail).to_le_bytes());
    // RFC 1952: the length modulo 2^32.
    let total = (length as u64).wrapping_add(tail.len() as u64) & 0xffff_ffff;
    end.extend_from_slice(&u32::try_from(total).unwrap_or(0).to_le_bytes());
    let mut parts = Vec::with_capacity(packed.len() + 2);
    parts.push(Cow::Borrowed(&HEADER[..]));
    parts.extend_from_slice(packed);
    parts.push(Cow::Owned(end));
    parts
}

/// `bytes` as stored blocks behind what is in `out`, of which none is the last.
pub fn store(out: &mut Vec<u8>, bytes: &[u8]) {
    for block in bytes.chunks(BLOCK) {
        // At most BLOCK bytes, so it fits.
        let size = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&(!size).to_le_bytes());
        out.extend_from_slice(block);
    }
}

/// `bytes` as one last block with codes that the build made for the portal's pages (RFC 1951 section 3.2.7): less than half of what they are, for
/// a page's worth of HTML, in some dozens of microseconds and two kilobytes of program. Other texts can be written with them too, in more bytes.
pub fn squeeze(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut bits = Bits { out, held: 0, count: 0 };
    for (value, count) in codes::OPENING {
        bits.put(u32::from(*value), u32::from(*count));
    }
    let code = |bits: &mut Bits<'_>, table: &[(u16, u8)], symbol: usize| {
        // Each has one; without it the file would not come out again, which the tests would see.
        let (code, length) = table.get(symbol).copied().unwrap_or_default();
        bits.put(u32::from(code), u32::from(length));
    };
    repeats::pieces(bytes, |piece| match piece {
        Piece::Byte(byte) => code(&mut bits, &codes::LETTERS, usize::from(byte)),
        Piece::Repeat { length, distance } => {
            for (table, (symbol, extra, width)) in
                [(&codes::LETTERS[..], repeats::length_symbol(length)), (&codes::DISTANCES[..], repeats::distance_symbol(distance))]
            {
                code(&mut bits, table, symbol);
                bits.put(extra, width);
            }
        }
    });
    code(&mut bits, &codes::LETTERS, END);
    bits.put(0, 7); // the rest of the last byte
}

/// Bits, the least significant first (RFC 1951 section 3.1.1).
struct Bits<'a> {
    out: &'a mut Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits<'_> {
    /// At most 16 of them.
    fn put(&mut self, bits: u32, count: u32) {
        self.held |= bits << self.count;
        self.count += count;
        while self.count >= 8 {
            self.out.push(self.held.to_le_bytes()[0]);
            self.held >>= 8;
            self.count -= 8;
        }
    }
}

/// The CRC-32 of RFC 1952 section 8, of `bytes` after those whose CRC is `crc`; four bits at a time.
#[must_use]
pub fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = table();
    let mut c = !crc;
    for &byte in bytes {
        c ^= u32::from(byte);
        c = TABLE[(c & 15) as usize] ^ (c >> 4);
        c = TABLE[(c & 15) as usize] ^ (c >> 4);
    }
    !c
}

const fn table() -> [u32; 16] {
    let mut table = [0u32; 16];
    let mut index = 0;
    while index < 16 {
        let mut c = index as u32;
        let mut bit = 0;
        while bit < 4 {
            c = if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 };
            bit += 1;
        }
        table[index] = c;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress, read::GzDecoder};
    use std::io::Read as _;

    #[test]
    fn the_checksum_is_the_standard_s() {
        assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(crc32(0, b"1234"), b"56789"), 0xcbf4_3926);
    }

    #[test]
    fn others_can_unpack_it() {
        let head = "<html>".repeat(50);
        let mut deflated = Vec::with_capacity(1_000);
        Compress::new(Compression::best(), false).compress_vec(head.as_bytes(), &mut deflated, FlushCompress::Sync).expect("it compresses");
        let deflated: &'static [u8] = deflated.leak();
        for tail_length in [0, 1, 5_000, BLOCK, BLOCK + 1, 200_000] {
            let tail: Vec<u8> = (0..tail_length).map(|n| b'a' + u8::try_from(n % 26).unwrap_or(0)).collect();
            // An operator's own style lies between them, stored.
            let mut own = Vec::new();
            store(&mut own, &tail);
            let packed = [Cow::Borrowed(deflated), Cow::Owned(own), Cow::Borrowed(deflated)];
            let whole = [head.as_bytes(), &tail, head.as_bytes()].concat();
            let file = file(&packed, whole.len(), crc32(0, &whole), &tail).concat();
            let mut unpacked = Vec::new();
            GzDecoder::new(&file[..]).read_to_end(&mut unpacked).expect("it is a gzip file");
            assert_eq!(unpacked, [whole, tail].concat(), "{tail_length}");
        }
    }

    #[test]
    fn whatever_is_squeezed_comes_out_again() {
        let unpacked = |bytes: &[u8]| {
            let file = file(&[], 0, 0, bytes).concat();
            let mut unpacked = Vec::new();
            GzDecoder::new(&file[..]).read_to_end(&mut unpacked).expect("it is a gzip file");
            assert_eq!(unpacked, bytes);
            file.len()
        };
        // Each byte; each length of a repetition; each distance at which the codes change, and those beyond the farthest.
        unpacked(&(0..=255).collect::<Vec<u8>>());
        for length in 0..600 {
            unpacked(&vec![b'x'; length]);
            unpacked(&[vec![b'x'; length], b"y".to_vec(), vec![b'x'; length]].concat());
        }
        let mut seed = 1u64;
        let mut noise = |length: usize| -> Vec<u8> {
            let next = |seed: &mut u64| {
                *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed.to_be_bytes()[0]
            };
            (0..length).map(|_| next(&mut seed)).collect()
        };
        for distance in (0..16).map(|power| 1usize << power).flat_map(|far| [far - 1, far, far + 1]).chain([24_576, 32_767, 32_768, 32_769])
        {
            let word = noise(12);
            unpacked(&[word.clone(), noise(distance.saturating_sub(12)), word].concat());
        }
        // Where the codes do not fit it is stored, in any number of blocks.
        for length in [1, 1_000, BLOCK, BLOCK + 1, 100_000] {
            let packed = unpacked(&noise(length));
            assert!(packed < length + 64, "{packed} of {length}");
        }
        let amharic = "የኢንተርኔት ጥቅል ይምረጡ። በኤም-ፔሳ ይክፈሉ፣ ወዲያውኑ ይገናኛሉ። ";
        for text in [amharic.to_owned(), amharic.chars().rev().collect::<String>() + amharic] {
            let packed = unpacked(text.as_bytes());
            assert!(packed < text.len() + 64, "{packed} of {}", text.len());
        }
        // A page's worth of HTML is less than half of what it was; by the codes that need no head (section 3.2.6) it was more.
        let html = include_bytes!("../../../../web/pages/login.html");
        assert!(unpacked(html) * 2 < html.len(), "{} of {}", unpacked(html), html.len());
    }
}
