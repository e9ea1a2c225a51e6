//! The engine: the only file that knows sled (0.34.7), and what must be done around it (docs/decisions/0005-store.md).
//!
//! `flush` alone is never enough: sled calls `sync_file_range` there, which writes neither the file's length nor the
//! disk's own cache. `sync_data` on the same file comes after it, always, before anyone is told that a change is there.

use super::error::{StoreError, gave_up};
use super::folder::Folder;
use super::form::{self, Digest, FORMAT, Joiner, MARKER, Marked, Marker, Stored};
use crate::restart;
use lango_core::record::{Change, Reader, Record, Unreadable};
use lango_core::tree::BTreeMap;
use nix::libc::c_ulong;
use std::any::Any;
use std::fs::{File, TryLockError};
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Enough for the pages that are written again and again; all records are read once, at the start.
const CACHE: u64 = 1 << 20;

/// Never to be changed: sled refuses a store that was made with another.
const SEGMENT: usize = 128 << 10;

/// An open store, of one thread.
pub struct Engine {
    // Dropped in this order: sled ends before another program may begin.
    tree: sled::Db,
    /// sled's file. Kept open: the kernel tells of a failed write-back only those who had the file open then.
    file: File,
    digest: Digest,
    folder: Folder,
}

impl Engine {
    /// Opens or makes the store; gives back all that is in it too, by key.
    ///
    /// # Errors
    /// When it cannot be used; see [`StoreError`].
    pub fn open(folder: Folder) -> Result<(Self, Vec<Record>), StoreError> {
        let made = folder.made()?;
        if let Some(format) = made.filter(|format| *format > FORMAT) {
            return Err(StoreError::Later { path: folder.path().to_owned(), format });
        }
        folder.clear_half_written()?;
        let _opening = restart::Opening::begin();
        let tree = open_tree(&folder)?;
        let file = File::open(folder.path().join("db")).map_err(|cause| folder.failed(cause))?;

        let mut joiner = Joiner::default();
        let mut records = Records::default();
        let mut digest = Digest::default();
        let mut marker = None;
        let read = guarded(|| {
            for entry in tree.iter() {
                let (key, piece) = entry.map_err(|cause| cause.to_string())?;
                if key == MARKER {
                    marker = Some(Marked::read(&piece).map_err(|cause| format!("its marker: {cause}"))?);
                } else {
                    digest.add(&key, &piece);
                    records.extend(joiner.push(&key, &piece)?);
                }
            }
            Ok(())
        });
        read.map_err(|cause| folder.damaged(cause))?;
        records.extend(joiner.finish());

        match marker {
            Some(Marked::Later { v }) => return Err(StoreError::Later { path: folder.path().to_owned(), format: v }),
            Some(Marked::Ours(marker)) if marker.digest != digest => {
                return Err(folder.damaged("its entries are not those that were written last"));
            }
            Some(Marked::Ours(_)) => {}
            None if made.is_some() => return Err(folder.damaged("it was in use, and now it is empty")),
            None if records.any() => return Err(folder.damaged("it is not a store of lango's")),
            None => {}
        }
        let records = records.finish()?;

        let mut engine = Self { tree, file, digest, folder };
        if marker.is_none() {
            engine.write(iter::empty(), true).and_then(|()| engine.sync()).map_err(|cause| StoreError::Write { cause })?;
        }
        engine.folder.sync()?;
        if made.is_none() {
            engine.folder.note_made()?;
        }
        Ok((engine, records))
    }

    /// Ends, and waits until the store can be opened again.
    ///
    /// Work that sled gave to its own threads may hold its file, and so its lock, a moment longer than the tree lives. The wait is
    /// the kernel's: a sleep would be an hour long on this thread ([`let_timers_be_late`]).
    pub fn close(self) {
        let Self { tree, file, folder, .. } = self;
        drop(tree);
        if let Err(cause) = file.lock() {
            log::debug!("store: whether its file is let go of cannot be told: {cause}");
        }
        drop((file, folder));
    }

    /// Applies changes, all or none. They are not durable before [`Engine::sync`].
    ///
    /// # Errors
    /// What failed. Nobody knows then what is in the store: use it no more.
    pub fn apply(&mut self, changes: Vec<Change>) -> Result<(), String> {
        let key = |change: &Change| match change {
            Change::Put(record) => record.key().0,
            Change::Delete(key) => key.0.clone(),
        };
        let last: BTreeMap<String, Change> = changes.into_iter().map(|change| (key(&change), change)).collect();
        // Each is encoded when its turn comes, and gone after it: a checkpoint may be of thousands.
        let values = last.into_iter().map(|(key, change)| match change {
            Change::Put(record) => (key, Some(record.encode())),
            Change::Delete(_) => (key, None),
        });
        self.write(values, false)
    }

    /// Writes these values (nothing: deletes them), and the marker with them. What is there already is not written again,
    /// to spare the flash; `changed` says that the marker is to be written in any case.
    fn write(&mut self, values: impl Iterator<Item = (String, Option<Vec<u8>>)>, mut changed: bool) -> Result<(), String> {
        guarded(|| {
            let mut batch = sled::Batch::default();
            let mut digest = self.digest;
            for (key, value) in values {
                let mut new = value.map(|value| form::cut(&key, &value)).unwrap_or_default();
                let first = self.tree.get(&key).map_err(said)?.map(|piece| Ok((sled::IVec::from(key.as_bytes()), piece)));
                for entry in first.into_iter().chain(self.tree.scan_prefix(form::further_pieces_of(&key))) {
                    let (key, old) = entry.map_err(said)?;
                    if new.get(&*key).is_some_and(|piece| *piece == *old) {
                        new.remove(&*key);
                        continue;
                    }
                    changed = true;
                    digest.remove(&key, &old);
                    if !new.contains_key(&*key) {
                        batch.remove(key);
                    }
                }
                for (key, piece) in new {
                    changed = true;
                    digest.add(&key, &piece);
                    batch.insert(key, piece);
                }
            }
            if !changed {
                return Ok(());
            }
            let marker = serde_json::to_vec(&Marker { v: FORMAT, digest }).map_err(|cause| cause.to_string())?;
            batch.insert(MARKER, marker);
            self.tree.apply_batch(batch).map_err(said)?;
            self.digest = digest;
            Ok(())
        })
    }

    /// Makes everything that was applied durable.
    ///
    /// # Errors
    /// What failed. A second try would say yes although the data are gone (the kernel forgets a failed write): use the
    /// store no more.
    pub fn sync(&mut self) -> Result<(), String> {
        guarded(|| {
            self.tree.flush().map_err(said)?;
            self.file.sync_data().map_err(|cause| cause.to_string())
        })
    }
}

/// Records as they are read. Each is decoded at once: the text of all of them beside what it says is much on a router.
#[derive(Default)]
struct Records {
    reader: Reader,
    whole: Vec<Record>,
    /// The first that cannot be decoded. What lost entries or is of a later format is told as that, whatever is in it.
    unreadable: Option<Unreadable>,
}

impl Records {
    fn extend(&mut self, stored: Option<Stored>) {
        if let (Some((key, value)), None) = (stored, &self.unreadable) {
            match self.reader.read(&key, &value) {
                Ok(record) => self.whole.push(record),
                Err(unreadable) => self.unreadable = Some(unreadable),
            }
        }
    }

    const fn any(&self) -> bool {
        !self.whole.is_empty() || self.unreadable.is_some()
    }

    fn finish(self) -> Result<Vec<Record>, Unreadable> {
        self.unreadable.map_or(Ok(self.whole), Err)
    }
}

fn open_tree(folder: &Folder) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(folder.path())
        .cache_capacity(CACHE)
        .segment_size(SEGMENT)
        .flush_every_ms(None) // this thread says when
        .mode(sled::Mode::LowSpace)
        .use_compression(false);
    // A program that knows nothing of the folder's lock may have sled's own.
    if File::open(folder.path().join("db")).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock))) {
        return Err(StoreError::Busy { path: folder.path().to_owned() });
    }
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(tree)) => Ok(tree),
        Ok(Err(sled::Error::Io(cause))) => Err(folder.failed(cause)),
        Ok(Err(cause)) => Err(folder.damaged(cause.to_string())),
        Err(panic) => Err(folder.damaged(panicked(&*panic))),
    }
}

/// Lets timers wake this thread, and those that it makes, late: by as much as an hour (on 32-bit machines by what the kernel
/// takes there, 4 s). sled's seven threads wait for work a second at a time, and would wake an idle router up seven times a
/// second; work itself wakes them at once. Only for a thread that waits for no time.
#[allow(clippy::unnecessary_fallible_conversions, clippy::useless_conversion, reason = "it is another type on 32-bit machines")]
pub fn let_timers_be_late() {
    const AN_HOUR: u64 = 3_600_000_000_000;
    let nanoseconds = c_ulong::try_from(AN_HOUR).unwrap_or(c_ulong::MAX);
    if let Err(cause) = nix::sys::prctl::set_timerslack(nanoseconds) {
        log::debug!("store: its threads wake up each second: {cause}");
    }
}

fn said(cause: sled::Error) -> String {
    cause.to_string()
}

/// sled panics on some damage and on some failed writes. In a program that starts again from a panic ([`restart`]) nothing comes of it here;
/// in all others nothing of theirs may end of it.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    // Text that it put together may hold whole pages, with numbers and passwords in them.
    gave_up(panic.downcast_ref::<&str>().copied().unwrap_or("no reason given"))
}
