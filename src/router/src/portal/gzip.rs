//! A gzip file (RFC 1952) of parts that were compressed when the program was built, and others that are only stored.
//! Pure. The tail of a page is a few kilobytes: a compressor would cost more flash than it saves on a local Wi-Fi.

use std::borrow::Cow;

/// The largest stored block (RFC 1951 section 3.2.4).
const BLOCK: usize = 0xffff;

/// No name, no time, made on Unix (RFC 1952 section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];

/// The parts of the file, in order. Each of `packed` must end on a byte boundary with a block that is not the last one;
/// `length` and `crc` are those of what all of them hold.
#[must_use]
pub fn file(packed: &[Cow<'static, [u8]>], length: usize, crc: u32, tail: &[u8]) -> Vec<Cow<'static, [u8]>> {
    let mut end = Vec::with_capacity(tail.len() + 16);
    store(&mut end, tail, true);
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

/// `bytes` as stored blocks behind what is in `out`, the last of them marked as the file's last where it is.
pub fn store(out: &mut Vec<u8>, bytes: &[u8], last: bool) {
    let mut blocks = bytes.chunks(BLOCK).peekable();
    if blocks.peek().is_none() && last {
        out.extend_from_slice(&[1, 0, 0, 0xff, 0xff]); // an empty last block
    }
    while let Some(block) = blocks.next() {
        // At most BLOCK bytes, so it fits.
        let size = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(last && blocks.peek().is_none()));
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&(!size).to_le_bytes());
        out.extend_from_slice(block);
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
            store(&mut own, &tail, false);
            let packed = [Cow::Borrowed(deflated), Cow::Owned(own), Cow::Borrowed(deflated)];
            let whole = [head.as_bytes(), &tail, head.as_bytes()].concat();
            let file = file(&packed, whole.len(), crc32(0, &whole), &tail).concat();
            let mut unpacked = Vec::new();
            GzDecoder::new(&file[..]).read_to_end(&mut unpacked).expect("it is a gzip file");
            assert_eq!(unpacked, [whole, tail].concat(), "{tail_length}");
        }
    }
}
