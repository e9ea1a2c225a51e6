//! The program's memory: the system's allocator, but for large pieces, which the kernel gives and takes back itself.
//!
//! The C library keeps its books at the two ends of each piece. The store makes 41 pieces of 512 KiB that nobody ever uses, and with
//! books in them, two pages of each were in RAM (docs/decisions/0016-resting.md).
#![allow(unsafe_code)] // an allocator is; it holds no state, and each piece's layout says whose it is

use nix::libc;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

/// Pieces of so many bytes or more are the kernel's, where they are whole pages: what is rounded up wastes a page in 64 at most.
const LARGE: usize = 256 << 10;
/// The smallest page of any machine. Where pages are larger, the kernel rounds up by itself.
const PAGE: usize = 4 << 10;

/// The allocator.
#[derive(Debug, Clone, Copy)]
pub struct Memory;

/// Whether the kernel gives a piece itself. Only the layout may decide: it is all that is known when the piece is given back.
const fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.size().is_multiple_of(PAGE) && layout.align() <= PAGE
}

// SAFETY: each piece comes from `System` or from mmap(2), as `is_large` says of its layout, and goes back where it came from, because
// callers hand in the layout that they asked with. mmap's pieces begin at a page, so they are aligned for all of `is_large`, are
// filled with zeros, and overlap nothing.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's promise is the one that `System` wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if is_large(layout) {
            // SAFETY: the piece is one of `map`'s of this length, and the caller uses it no more. It cannot fail then.
            unsafe { libc::munmap(piece.cast(), layout.size()) };
            return;
        }
        // SAFETY: as above.
        unsafe { System.dealloc(piece, layout) }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` with this alignment makes a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_large(layout), is_large(wanted)) {
            // SAFETY: as above.
            (false, false) => unsafe { System.realloc(piece, layout, size) },
            (true, true) => {
                // SAFETY: the piece is one of `map`'s of this length; where it moves, the caller uses the old place no more.
                let moved = unsafe { libc::mremap(piece.cast(), layout.size(), size, libc::MREMAP_MAYMOVE) };
                if moved == libc::MAP_FAILED { ptr::null_mut() } else { moved.cast() }
            }
            _ => {
                // SAFETY: the new piece is another one, as long as what is copied; the old one is given back once, and only then.
                unsafe {
                    let new = self.alloc(wanted);
                    if !new.is_null() {
                        ptr::copy_nonoverlapping(piece, new, layout.size().min(size));
                        self.dealloc(piece, layout);
                    }
                    new
                }
            }
        }
    }
}

/// So many bytes of zeros from the kernel, none of them in RAM before it is touched; null where there are none.
fn map(bytes: usize) -> *mut u8 {
    let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new place that the kernel chooses touches nothing that is there.
    let piece = unsafe { libc::mmap(ptr::null_mut(), bytes, rights, kind, -1, 0) };
    if piece == libc::MAP_FAILED { ptr::null_mut() } else { piece.cast() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 8).unwrap()
    }

    #[test]
    fn large_room_is_not_in_ram_before_it_is_used() {
        let room = layout(2 * LARGE);
        // SAFETY: the piece is used within its length, and given back with its layout.
        unsafe {
            let piece = Memory.alloc_zeroed(room);
            assert!(!piece.is_null());
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap();
            let mut there = vec![0_u8; room.size() / page];
            let pages = |there: &mut Vec<u8>| {
                assert_eq!(libc::mincore(piece.cast(), room.size(), there.as_mut_ptr()), 0);
                there.iter().filter(|page| **page & 1 == 1).count()
            };
            assert_eq!(pages(&mut there), 0);
            piece.add(room.size() - 1).write(7);
            assert!(pages(&mut there) >= 1);
            Memory.dealloc(piece, room);
        }
    }

    #[test]
    fn what_is_in_a_piece_stays_when_it_grows_and_shrinks() {
        let sizes = [16, LARGE, 3 * LARGE, 3 * LARGE + 1, LARGE - 1, 2 * LARGE, 100, 5 * LARGE + PAGE, 1];
        // SAFETY: pieces are used within their lengths, and given back with the layout that they have then.
        unsafe {
            let (mut piece, mut now) = (Memory.alloc(layout(sizes[0])), layout(sizes[0]));
            for size in sizes {
                piece = Memory.realloc(piece, now, size);
                assert!(!piece.is_null() && piece.addr().is_multiple_of(8));
                let kept = now.size().min(size);
                if now.size() != sizes[0] || size != sizes[0] {
                    assert_eq!((piece.read(), piece.add(kept - 1).read()), (1, if kept == 1 { 1 } else { 2 }), "{} to {size}", now.size());
                }
                piece.write_bytes(2, size);
                piece.write(1);
                now = layout(size);
            }
            Memory.dealloc(piece, now);
        }
    }

    #[test]
    fn the_layout_alone_says_whose_a_piece_is() {
        for (bytes, align, large) in
            [(LARGE, 8, true), (LARGE - PAGE, 8, false), (LARGE + 1, 8, false), (LARGE + PAGE, PAGE, true), (LARGE, 2 * PAGE, false)]
        {
            assert_eq!(is_large(Layout::from_size_align(bytes, align).unwrap()), large, "{bytes} bytes, aligned to {align}");
        }
    }
}
