//! The codes by which the router compresses its pages (RFC 1951 section 3.2.7), fitted to the pages and the texts that it has. A part of
//! `build.rs`: counting and making codes for each page anew would cost the router more time and program than it saves bytes.

use super::repeats::{Piece, distance_symbol, length_symbol, pieces};
use std::fmt::Write as _;

/// The symbols of bytes, the end and lengths; and those of distances.
const LETTERS: usize = 286;
const DISTANCES: usize = 30;
/// The order in which the lengths of the codes are written that write lengths.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The codes as Rust: how a block opens, and the code of each symbol, turned round as they are written, with its length in bits.
pub fn source(samples: &[String]) -> Result<String, String> {
    // Everything can occur, if only in a name that somebody chose.
    let (mut letters, mut distances) = ([1u32; LETTERS], [1u32; DISTANCES]);
    let count = |counts: &mut [u32], symbol: usize| {
        if let Some(count) = counts.get_mut(symbol) {
            // What occurs in our pages is that much likelier than what does not.
            *count += 16;
        }
    };
    for sample in samples {
        pieces(sample.as_bytes(), |piece| match piece {
            Piece::Byte(byte) => count(&mut letters, usize::from(byte)),
            Piece::Repeat { length, distance } => {
                count(&mut letters, length_symbol(length).0);
                count(&mut distances, distance_symbol(distance).0);
            }
        });
        count(&mut letters, 256);
    }
    let (letters, distances) = (lengths(&letters, 15)?, lengths(&distances, 15)?);
    let mut code = String::from("/// How a last block opens: bits, and how many.\npub static OPENING: &[(u16, u8)] = &[\n");
    let (mut held, mut count) = (0u16, 0u8);
    for (value, more) in opening(&letters, &distances)? {
        if count + more > 16 {
            let _ = writeln!(code, "    ({held}, {count}),");
            (held, count) = (0, 0);
        }
        held |= value << count;
        count += more;
    }
    let _ = writeln!(code, "    ({held}, {count}),");
    code.push_str("];\n");
    for (name, lengths) in [("LETTERS", &letters), ("DISTANCES", &distances)] {
        let _ = writeln!(code, "/// By symbol.\npub static {name}: [(u16, u8); {}] = {:?};", lengths.len(), codes(lengths));
    }
    Ok(code)
}

/// How long each symbol's code is, the likelier the shorter (Huffman), and none longer than `most`.
fn lengths(counts: &[u32], most: u8) -> Result<Vec<u8>, String> {
    let mut counts = counts.to_vec();
    loop {
        // Those that are left to be joined: how likely, and which symbols are in it.
        let mut nodes: Vec<(u32, Vec<usize>)> =
            counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(symbol, count)| (*count, vec![symbol])).collect();
        let mut depths = vec![0u8; counts.len()];
        while nodes.len() > 1 {
            nodes.sort_by_key(|(count, symbols)| (std::cmp::Reverse(*count), symbols.len()));
            let (Some(one), Some(other)) = (nodes.pop(), nodes.pop()) else { return Err("two nodes are two".to_owned()) };
            let joined = [one.1, other.1].concat();
            for symbol in &joined {
                depths[*symbol] += 1;
            }
            nodes.push((one.0 + other.0, joined));
        }
        if depths.iter().all(|depth| *depth <= most) {
            // The same lengths, with equals beside each other: they are written in fewer bits.
            let mut sorted: Vec<u8> = depths.iter().copied().filter(|depth| *depth > 0).collect();
            sorted.sort_unstable();
            let mut symbols: Vec<usize> = (0..counts.len()).filter(|symbol| counts[*symbol] > 0).collect();
            symbols.sort_by_key(|symbol| (std::cmp::Reverse(counts[*symbol]), *symbol));
            let mut lengths = vec![0; counts.len()];
            for (symbol, length) in symbols.into_iter().zip(sorted) {
                lengths[symbol] = length;
            }
            return Ok(lengths);
        }
        // Flatter, until it fits.
        counts.iter_mut().for_each(|count| *count = count.div_ceil(2));
    }
}

/// The codes of these lengths (section 3.2.2), turned round: the most significant bit is written first.
fn codes(lengths: &[u8]) -> Vec<(u16, u8)> {
    let mut next = [0u16; 17];
    let mut code = 0u16;
    for length in 1..=15u8 {
        next[usize::from(length)] = code;
        code = code.wrapping_add(u16::try_from(lengths.iter().filter(|l| **l == length).count()).unwrap_or(0)) << 1;
    }
    let one = |length: &u8| {
        if *length == 0 {
            return (0, 0);
        }
        let code = next[usize::from(*length)];
        next[usize::from(*length)] += 1;
        (code.reverse_bits() >> (16 - length), *length)
    };
    lengths.iter().map(one).collect()
}

/// The head of a last block with these codes, as bits and how many of them (section 3.2.7).
fn opening(letters: &[u8], distances: &[u8]) -> Result<Vec<(u16, u8)>, String> {
    // What is written: a length, or a run of the one before (16), with how much longer it is than 3.
    let all = [letters, distances].concat();
    let mut written: Vec<(usize, u16)> = Vec::new();
    let mut rest = &all[..];
    while let Some((&length, _)) = rest.split_first() {
        let mut run = rest.iter().take_while(|other| **other == length).count();
        rest = &rest[run..];
        written.push((usize::from(length), 0));
        run -= 1;
        while run >= 3 {
            let part = run.min(6);
            written.push((16, u16::try_from(part - 3).unwrap_or(0)));
            run -= part;
        }
        written.extend((0..run).map(|_| (usize::from(length), 0)));
    }
    let mut counts = [0u32; 19];
    written.iter().for_each(|(symbol, _)| counts[*symbol] += 1);
    let lengths = lengths(&counts, 7)?;
    let codes = codes(&lengths);
    let used = ORDER.iter().rposition(|symbol| lengths[*symbol] > 0).ok_or("no lengths are written")? + 1;
    let small = |number: usize| u16::try_from(number).map_err(|cause| cause.to_string());
    // Last, with codes of its own; then how many there are of each.
    let mut bits = vec![(0b101, 3), (small(letters.len() - 257)?, 5), (small(distances.len() - 1)?, 5), (small(used - 4)?, 4)];
    bits.extend(ORDER[..used].iter().map(|symbol| (u16::from(lengths[*symbol]), 3)));
    for (symbol, more) in written {
        bits.push(codes[symbol]);
        bits.extend((symbol == 16).then_some((more, 2)));
    }
    Ok(bits)
}
