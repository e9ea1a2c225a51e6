//! What of a text is a repetition of what stands before it (LZ77), in the terms of DEFLATE. Pure. A part of `build.rs`, too, which counts what
//! pages are made of: so nothing of the program's own stands here.

/// How many earlier places with the same beginning are looked at for the longest repetition; and in what is long, as an operator's terms may be:
/// anybody can ask for it, and all wait for one thread.
const LOOKS: usize = 24;
const LOOKS_IN_LONG: usize = 3;
/// From so many bytes on it is long.
const LONG: usize = 8 * 1024;
/// The shortest repetition that is looked for, and the longest and farthest that there can be (RFC 1951 section 3.2.5).
const SHORTEST: usize = 4;
const LONGEST: usize = 258;
const FARTHEST: usize = 32_768;

/// A piece of a text.
#[derive(Debug, Clone, Copy)]
pub enum Piece {
    /// A byte as it is.
    Byte(u8),
    /// The same as stands before it.
    Repeat {
        /// 4 to 258 bytes.
        length: usize,
        /// 1 to 32 768 bytes back.
        distance: usize,
    },
}

/// The pieces that make up `bytes`, one after the other.
pub fn pieces(bytes: &[u8], mut take: impl FnMut(Piece)) {
    // By four bytes' hash the last place where they began, and by place the one before; one more than the place, 0 being none.
    let mut last = [0u32; 512];
    let mut before = vec![0u32; bytes.len()];
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let (length, distance) = repetition(bytes, at, &last, &before);
        let step = if length >= SHORTEST {
            take(Piece::Repeat { length, distance });
            length
        } else {
            take(Piece::Byte(*byte));
            1
        };
        for place in at..at + step {
            let Some(slot) = hash(bytes, place).and_then(|hash| last.get_mut(hash)) else { break };
            if let Some(before) = before.get_mut(place) {
                *before = *slot;
            }
            *slot = u32::try_from(place + 1).unwrap_or(0);
        }
        at += step;
    }
}

fn hash(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + SHORTEST)?;
    let number = four.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
    usize::try_from(number.wrapping_mul(0x9e37_79b1) >> 23).ok()
}

/// The longest of the repetitions that begin here: its length, and how far back it is. (0, 0) where there is none.
fn repetition(bytes: &[u8], at: usize, last: &[u32], before: &[u32]) -> (usize, usize) {
    let mut best = (0, 0);
    let Some(mut next) = hash(bytes, at).and_then(|hash| last.get(hash)).copied() else { return best };
    for _ in 0..if bytes.len() < LONG { LOOKS } else { LOOKS_IN_LONG } {
        let Some(place) = (next as usize).checked_sub(1).filter(|place| at - place <= FARTHEST) else { break };
        let same = bytes.iter().skip(place).zip(bytes.iter().skip(at)).take(LONGEST).take_while(|(a, b)| a == b).count();
        if same > best.0 {
            best = (same, at - place);
        }
        next = before.get(place).copied().unwrap_or(0);
    }
    best
}

/// What stands for a length of 3 to 258: its symbol from 257 on, what is written behind that, and in how many bits.
#[must_use]
pub fn length_symbol(length: usize) -> (usize, u32, u32) {
    // The longest has a symbol of its own. All fit: lengths and distances are small.
    if length >= LONGEST {
        return (285, 0, 0);
    }
    let (step, extra, bits) = stepped(u32::try_from(length - 3).unwrap_or(0), 2);
    (257 + step as usize, extra, bits)
}

/// The same for a distance of 1 to 32 768, its symbols from 0 on.
#[must_use]
pub fn distance_symbol(distance: usize) -> (usize, u32, u32) {
    let (step, extra, bits) = stepped(u32::try_from(distance - 1).unwrap_or(0), 1);
    (step as usize, extra, bits)
}

/// Lengths and distances alike: codes in steps of `2^fine` each twice as wide as the step before, with the rest as extra bits.
fn stepped(value: u32, fine: u32) -> (u32, u32, u32) {
    let width = 32 - value.leading_zeros();
    if width <= fine + 1 {
        return (value, 0, 0);
    }
    let bits = width - fine - 1;
    ((bits << fine) + (value >> bits), value & ((1 << bits) - 1), bits)
}
