//! What can go wrong with the store, said so that the reader knows what to do next.

use lango_core::record::Unreadable;
use std::path::{Path, PathBuf};

/// Why the store could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("another lango runs on the store {}: stop that one first, or set another `option store`", path.display())]
    Busy {
        /// The store's folder.
        path: PathBuf,
    },
    /// There is a file in the folder's place, or on the way to it.
    #[error("the store {} cannot be a folder: there is a file of that name, or on the way to it; name another `option store`", path.display())]
    NoFolder {
        /// The store's folder.
        path: PathBuf,
    },
    /// The folder or a file in it cannot be made, read or written.
    #[error("the store {} cannot be used: {cause}: see that its folder is there, is writable and has free space", path.display())]
    Folder {
        /// The store's folder, or the file in it.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It lost entries, or is no store.
    #[error(
        "the store {} is damaged: {cause}: put a backup of the folder in its place; without one move the folder away, and lango \
         begins an empty store (accounts and what is left on them are then gone; the relay still has every payment)",
        path.display()
    )]
    Damaged {
        /// The store's folder.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
    /// A later program wrote it.
    #[error(
        "the store {} is of format {format}, this program reads format {}: install the newer program again",
        path.display(),
        super::form::FORMAT
    )]
    Later {
        /// The store's folder.
        path: PathBuf,
        /// Its format.
        format: u8,
    },
    /// One of its records cannot be read.
    #[error(transparent)]
    Record(#[from] Unreadable),
    /// A change could not be made durable, now or earlier. Whether it is there nobody knows before the next start, so the
    /// store takes no more changes until then.
    #[error("the store cannot be written: {cause}: see that the flash has free space and no errors, then start lango again")]
    Write {
        /// What failed first.
        cause: String,
    },
}

impl StoreError {
    /// Its engine panicked while it was opened.
    #[must_use]
    pub fn gave_up(path: &Path, said: &str) -> Self {
        Self::Damaged { path: path.to_owned(), cause: gave_up(said) }
    }
}

/// What is told of an engine that panicked.
pub(super) fn gave_up(said: &str) -> String {
    format!("the engine gave up ({said})")
}
