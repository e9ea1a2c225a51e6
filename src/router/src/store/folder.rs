//! The store's folder: made once and for its owner alone, locked against a second program, and its entries on the disk.
//!
//! A file's own sync does not make its name durable; the folder's does. Without it a power cut soon after the first start
//! takes the whole store away.

use super::error::StoreError;
use super::form::FORMAT;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file that says that a store was completed here once, and in which format.
const MADE: &str = "format";

/// A locked folder. The lock goes with it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Locked (flock): the kernel frees it when the process ends, however it ends.
    directory: File,
}

impl Folder {
    /// Makes the folder where it is not there yet, and takes it for this process.
    ///
    /// # Errors
    /// [`StoreError::Folder`], [`StoreError::NoFolder`], [`StoreError::Busy`].
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let failed = |cause| StoreError::Folder { path: path.to_owned(), cause };
        make(path).map_err(|cause| match cause.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => StoreError::NoFolder { path: path.to_owned() },
            _ => failed(cause),
        })?;
        let directory = File::open(path).map_err(failed)?;
        match directory.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), directory }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format of the store that was completed here, if one ever was.
    ///
    /// # Errors
    /// [`StoreError::Folder`], or [`StoreError::Damaged`] where the file is not ours.
    pub fn made(&self) -> Result<Option<u8>, StoreError> {
        let path = self.path.join(MADE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(StoreError::Folder { path, cause }),
        };
        match text.strip_prefix("lango store, format ").and_then(|rest| rest.trim_end().parse().ok()) {
            Some(format) => Ok(Some(format)),
            // Cut off by a power cut before it was synced: the store was not completed then, or its marker says so.
            None if text.is_empty() => Ok(None),
            None => Err(self.damaged(format!("its file {MADE} is not lango's"))),
        }
    }

    /// Notes that the store is complete. Only after its first entries are durable.
    ///
    /// # Errors
    /// [`StoreError::Folder`].
    pub fn note_made(&self) -> Result<(), StoreError> {
        let write = || {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(self.path.join(MADE))?;
            writeln!(file, "lango store, format {FORMAT}")?;
            file.sync_all()?;
            self.directory.sync_all()
        };
        write().map_err(|cause| self.failed(cause))
    }

    /// Takes away half-written snapshots. sled 0.34.7 reads them as whole ones after a crash, and then refuses the store.
    ///
    /// # Errors
    /// [`StoreError::Folder`].
    pub fn clear_half_written(&self) -> Result<(), StoreError> {
        let clear = || {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with("snap.") && name.ends_with(".generating") {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        clear().map_err(|cause| self.failed(cause))
    }

    /// Makes the names of the folder's files durable, and what sled writes once without syncing it.
    ///
    /// # Errors
    /// [`StoreError::Folder`].
    pub fn sync(&self) -> Result<(), StoreError> {
        let sync = || {
            File::open(self.path.join("conf"))?.sync_all()?;
            File::open(self.path.join("blobs"))?.sync_all()?;
            self.directory.sync_all()
        };
        sync().map_err(|cause| self.failed(cause))
    }

    /// An error of the system's, in this folder.
    pub fn failed(&self, cause: io::Error) -> StoreError {
        StoreError::Folder { path: self.path.clone(), cause }
    }

    /// Damage that was found in this folder.
    pub fn damaged(&self, cause: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), cause: cause.into() }
    }
}

/// Makes the folder and those above it. What is made is synced in the folder above.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make(above)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(cause),
        _ => File::open(above)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_folder_is_its_owner_s_alone_and_of_one_program() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b/store");
        let folder = Folder::take(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(Folder::take(&path), Err(StoreError::Busy { .. })));
        drop(folder);
        Folder::take(&path).unwrap();
    }

    #[test]
    fn only_half_written_snapshots_go() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::take(place.path()).unwrap();
        for name in ["snap.0000000000000010", "snap.0000000000000020.generating", "db"] {
            fs::write(place.path().join(name), "x").unwrap();
        }
        folder.clear_half_written().unwrap();
        let mut left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["db", "snap.0000000000000010"]);
    }

    #[test]
    fn what_was_made_is_known_again() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::take(place.path()).unwrap();
        assert_eq!(folder.made().unwrap(), None);
        folder.note_made().unwrap();
        assert_eq!(folder.made().unwrap(), Some(FORMAT));
        fs::write(place.path().join(MADE), "lango store, format 9\n").unwrap();
        assert_eq!(folder.made().unwrap(), Some(9));
        fs::write(place.path().join(MADE), "other").unwrap();
        assert!(matches!(folder.made(), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_said() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        for inside in ["file", "file/store", "file/a/store"] {
            let error = Folder::take(&place.path().join(inside)).unwrap_err();
            assert!(matches!(error, StoreError::NoFolder { .. }), "{error}");
        }
        let long = place.path().join("x".repeat(300));
        let error = Folder::take(&long).unwrap_err();
        assert!(matches!(error, StoreError::Folder { .. }), "{error}");
    }
}
