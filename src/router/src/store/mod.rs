//! The store: what must outlive a power cut. A thread of its own owns the engine; the loop never waits for the flash.
//!
//! A change that was acknowledged is on the disk; one batch is there whole or not at all; and a store that cannot keep
//! that promise any more says so at each further change instead of going on.

mod engine;
mod error;
mod folder;
pub mod form;
mod writer;

pub use error::StoreError;

use engine::Engine;
use folder::Folder;
use lango_core::record::{Change, Record};
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use tokio::sync::oneshot;
use writer::Job;

/// The open store. Dropped, it writes what it has and closes behind the caller's back; [`Store::close`] waits for that.
#[derive(Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

impl Store {
    /// Opens the store in the folder `path`, makes it where there is none, and gives back all its records by key.
    /// Blocks until all is read: call it before the loop runs.
    ///
    /// # Errors
    /// When the folder cannot be used, another program has it, or what is in it is damaged or of a later program.
    pub fn open(path: &Path) -> Result<(Self, Vec<Record>), StoreError> {
        let failed = |cause| StoreError::Folder { path: path.to_owned(), cause };
        let folder = Folder::take(path)?;
        let (jobs, queue) = mpsc::channel();
        let (opened, records) = mpsc::sync_channel(1);
        // The engine is opened where it is used: the threads that it makes have that thread's habits.
        let work = move || {
            engine::let_timers_be_late();
            match Engine::open(folder) {
                Ok((mut engine, records)) => {
                    if opened.send(Ok(records)).is_ok() {
                        writer::run(&mut engine, &queue);
                    }
                    engine.close();
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        };
        let thread = thread::Builder::new().name("store".to_owned()).spawn(work).map_err(failed)?;
        match records.recv() {
            Ok(Ok(records)) => Ok((Self { jobs, thread }, records)),
            refused => {
                // Its folder is free again once the thread is gone.
                let _ = thread.join();
                Err(match refused {
                    Ok(Err(error)) => error,
                    _ => StoreError::Write { cause: "its thread has ended".to_owned() },
                })
            }
        }
    }

    /// Makes these changes, all together or none; they are durable when this returns. Changes are made in the order in
    /// which this was called. A caller that stops waiting does not take them back.
    ///
    /// # Errors
    /// [`StoreError::Write`], and from then on always.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.ask(|done| Job::Commit { changes, durable: true, done }).await
    }

    /// The same, but durable only with the next [`Store::commit`] or [`Store::close`]: a power cut takes it away, whole.
    /// For what is only worth a write now and then, to spare the flash.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn commit_relaxed(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.ask(|done| Job::Commit { changes, durable: false, done }).await
    }

    /// Makes durable what is not yet, and closes the store.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn close(self) -> Result<(), StoreError> {
        let closed = self.ask(Job::Close).await;
        // It has answered after its last work; what it still does is to let go of the files.
        let _ = self.thread.join();
        closed
    }

    async fn ask(&self, job: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) -> Job) -> Result<(), StoreError> {
        let ended = || StoreError::Write { cause: "its thread has ended".to_owned() };
        let (done, answer) = oneshot::channel();
        self.jobs.send(job(done)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}
