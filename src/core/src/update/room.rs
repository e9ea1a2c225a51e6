//! What a release needs where it is put: flash for a program, memory for an image.

use super::Kind;

/// Flash that is left for everything else, in bytes.
const SPARE_FLASH: u64 = 512 * 1024;

/// Memory that is left for everything else while an image lies there, in bytes.
const SPARE_MEMORY: u64 = 24 * 1024 * 1024;

/// What must be free for a release, and what is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What must be.
    pub needed: u64,
    /// What is.
    pub free: u64,
}

impl Room {
    /// Whether it is put there.
    #[must_use]
    pub const fn is_enough(self) -> bool {
        self.free >= self.needed
    }
}

/// What must be free for a release of `size` bytes: flash for a program, beside the one of `old` bytes; memory for an image.
///
/// A program's flash is reckoned as if nothing were compressed. Flash's file systems compress, each in its way, and nobody knows beforehand what
/// they make of it: jffs2 says how many bytes of the chip are free, UBIFS what would fit if nothing could be compressed. The old one counts
/// a second time: in an image it lies in the part that is never written, and gets its second name by a copy.
#[must_use]
pub const fn needed(kind: Kind, size: u64, old: u64) -> u64 {
    match kind {
        Kind::Program => size.saturating_add(old).saturating_add(SPARE_FLASH),
        Kind::Image => size.saturating_add(SPARE_MEMORY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_needs_flash_twice_and_an_image_memory_once() {
        for (kind, size, old, expected) in [
            (Kind::Program, 2_850_860, 2_850_860, 6_226_008),
            (Kind::Program, 1, 0, 524_289),
            (Kind::Image, 12_000_000, 2_850_860, 37_165_824),
            (Kind::Program, u64::MAX, 1, u64::MAX),
            (Kind::Image, u64::MAX, 1, u64::MAX),
        ] {
            assert_eq!(needed(kind, size, old), expected, "{kind:?} of {size} beside {old}");
        }
    }

    #[test]
    fn a_byte_less_is_not_enough() {
        assert!(Room { needed: 6_226_008, free: 6_226_008 }.is_enough());
        assert!(!Room { needed: 6_226_008, free: 6_226_007 }.is_enough());
    }
}
