//! Which build of the program is measured: the static one that routers get, or another.

use anyhow::{Context as _, Result};
use std::path::Path;

/// `PT_INTERP` of elf(5): the file names a loader, which brings the system's libraries.
const INTERPRETER: u32 = 3;

/// A program file.
pub struct Program {
    /// Whether it needs no loader and no library, as on routers.
    pub is_static: bool,
    /// Its length in bytes.
    bytes: u64,
}

impl Program {
    /// Looks at it.
    ///
    /// # Errors
    /// When it cannot be read, or is no program.
    pub fn look(path: &Path) -> Result<Self> {
        let file = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
        let interpreted = interpreted(&file).with_context(|| format!("{} is no program", path.display()))?;
        Ok(Self { is_static: !interpreted, bytes: file.len() as u64 })
    }

    /// In words, for the page.
    pub fn words(&self) -> String {
        let megabytes = self.bytes as f64 / 1e6;
        if self.is_static {
            format!("Lango is the static program of {megabytes:.1} MB that routers get, built for this processor")
        } else {
            "Lango is not the static program that routers get: its memory is another's".to_owned()
        }
    }
}

/// Whether an ELF file of this machine's byte order names an interpreter (elf(5): `e_phoff`, `e_phentsize`, `e_phnum`, `p_type`).
fn interpreted(file: &[u8]) -> Option<bool> {
    let number = |at: usize, length: usize| {
        let mut bytes = [0; 8];
        bytes.get_mut(..length)?.copy_from_slice(file.get(at..at.checked_add(length)?)?);
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    if file.get(..4)? != b"\x7fELF" {
        return None;
    }
    let (table, size, count) = match file.get(4)? {
        1 => (number(28, 4)?, number(42, 2)?, number(44, 2)?),
        2 => (number(32, 8)?, number(54, 2)?, number(56, 2)?),
        _ => return None,
    };
    let mut found = false;
    for entry in 0..count {
        found |= number(table.checked_add(entry * size)?, 4)? == INTERPRETER as usize;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, and a table of entries of these types.
    fn file(class: u8, types: &[u32]) -> Vec<u8> {
        let (table, size, at) = if class == 1 { (52_u32, 32_u16, [28, 42, 44]) } else { (64, 56, [32, 54, 56]) };
        let mut file = vec![0; table as usize + types.len() * usize::from(size)];
        file[..5].copy_from_slice(&[0x7f, b'E', b'L', b'F', class]);
        file[at[0]..at[0] + 4].copy_from_slice(&table.to_le_bytes());
        file[at[1]..at[1] + 2].copy_from_slice(&size.to_le_bytes());
        file[at[2]..at[2] + 2].copy_from_slice(&u16::try_from(types.len()).unwrap().to_le_bytes());
        for (entry, kind) in types.iter().enumerate() {
            let begin = table as usize + entry * usize::from(size);
            file[begin..begin + 4].copy_from_slice(&kind.to_le_bytes());
        }
        file
    }

    #[test]
    fn who_names_an_interpreter_is_not_static() {
        for (class, entry) in [(1, 32), (2, 56)] {
            assert_eq!(interpreted(&file(class, &[6, 1, 1, 7])), Some(false));
            assert_eq!(interpreted(&file(class, &[6, 3, 1])), Some(true));
            let whole = file(class, &[1, 3]);
            assert_eq!(interpreted(&whole[..whole.len() - entry + 3]), None, "cut off within the last type");
        }
        assert_eq!(interpreted(b"#!/bin/sh\nexit 0\n"), None);
        assert_eq!(interpreted(&file(3, &[])), None);
    }
}
