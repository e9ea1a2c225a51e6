//! The store's thread: changes in the order in which they came, one flush for all that wait.

use super::engine::Engine;
use super::error::StoreError;
use lango_core::record::Change;
use std::iter;
use std::mem;
use std::sync::mpsc::Receiver;
use tokio::sync::oneshot;

/// Whoever asked hears of it here.
type Done = oneshot::Sender<Result<(), StoreError>>;

/// What the thread is asked for.
#[derive(Debug)]
pub enum Job {
    /// Changes.
    Commit {
        /// Which, all or none.
        changes: Vec<Change>,
        /// Whether the answer must wait until they are on the disk.
        durable: bool,
        /// The asker.
        done: Done,
    },
    /// The end.
    Close(Done),
}

/// Works until told to close, or until nobody can ask any more.
pub fn run(engine: &mut Engine, jobs: &Receiver<Job>) {
    let mut writer = Writer { engine, failed: None, unsynced: false };
    while let Ok(first) = jobs.recv() {
        let mut waiting = Vec::new();
        for job in iter::once(first).chain(jobs.try_iter()) {
            match job {
                Job::Commit { changes, durable, done } => {
                    writer.apply(changes);
                    if durable {
                        waiting.push(done);
                    } else {
                        // Nobody waits for an answer that nobody listens to; so everywhere here.
                        let _ = done.send(writer.state());
                    }
                }
                Job::Close(done) => {
                    writer.sync();
                    waiting.push(done);
                    writer.answer(&mut waiting);
                    return;
                }
            }
        }
        if !waiting.is_empty() {
            writer.sync();
            writer.answer(&mut waiting);
        }
    }
    writer.sync();
    if let Err(error) = writer.state() {
        log::error!("{error}");
    }
}

struct Writer<'a> {
    engine: &'a mut Engine,
    /// Why nothing is written any more. Once set it stays: after a failed write no later success can be believed.
    failed: Option<String>,
    unsynced: bool,
}

impl Writer<'_> {
    fn apply(&mut self, changes: Vec<Change>) {
        if self.failed.is_none() {
            self.unsynced = true;
            self.failed = self.engine.apply(changes).err();
        }
    }

    fn sync(&mut self) {
        if self.failed.is_none() && mem::take(&mut self.unsynced) {
            self.failed = self.engine.sync().err();
        }
    }

    fn state(&self) -> Result<(), StoreError> {
        self.failed.clone().map_or(Ok(()), |cause| Err(StoreError::Write { cause }))
    }

    fn answer(&self, waiting: &mut Vec<Done>) {
        for done in waiting.drain(..) {
            let _ = done.send(self.state());
        }
    }
}
