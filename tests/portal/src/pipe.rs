//! The DevTools protocol over two pipes: JSON, each message ended by a zero byte. No socket, so no namespace is in the way.

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, fcntl};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the browser may think about one call. Machines that build at the same time are slow.
const ANSWER: Duration = Duration::from_secs(60);

/// Where the browser reads its calls, and where it writes its answers (Chromium: `--remote-debugging-pipe`).
const READS: i32 = 3;
const WRITES: i32 = 4;

/// An event: whose (the session of a tab), its name, what it says.
#[derive(Debug, Clone)]
pub struct Event {
    /// The tab's session.
    pub session: String,
    /// As `Network.loadingFinished`.
    pub method: String,
    /// Its parameters.
    pub params: Value,
}

#[derive(Default)]
struct Heard {
    answers: HashMap<u64, Value>,
    events: Vec<Event>,
    over: bool,
}

/// The browser's end of the line is with the browser; this is ours.
pub struct Pipe {
    calls: Mutex<File>,
    next: AtomicU64,
    heard: Arc<(Mutex<Heard>, Condvar)>,
}

/// The two ends that a browser to be started gets.
pub struct Ends {
    reads: OwnedFd,
    writes: OwnedFd,
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A copy whose number is far from those that the browser wants, closed by exec.
fn aside(fd: impl AsFd) -> Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(100))?;
    #[allow(unsafe_code)]
    // SAFETY: fcntl made this descriptor just now, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

impl Pipe {
    /// Two pipes, and a thread that listens.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> Result<(Self, Ends)> {
        let (reads, calls) = std::io::pipe()?;
        let (answers, writes) = std::io::pipe()?;
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let listener = heard.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(answers);
            let mut message = Vec::new();
            // An error and the end of the pipe are one: the browser is gone.
            while let Ok(1..) = lines.read_until(0, &mut message) {
                let value: Value = serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message)).unwrap_or_default();
                message.clear();
                hear(&listener, value);
            }
            lock(&listener.0).over = true;
            listener.1.notify_all();
        });
        let ends = Ends { reads: aside(&reads)?, writes: aside(&writes)? };
        Ok((Self { calls: Mutex::new(File::from(OwnedFd::from(calls))), next: AtomicU64::new(1), heard }, ends))
    }

    /// Calls a method, of the browser or of the tab with this session, and waits for its answer.
    ///
    /// # Errors
    /// When the browser refuses, says nothing, or is gone.
    pub fn call(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&bytes)
            .with_context(|| format!("{method}: the browser is gone"))?;
        let began = Instant::now();
        let mut heard = lock(&self.heard.0);
        let answer = loop {
            if let Some(answer) = heard.answers.remove(&id) {
                break answer;
            }
            let left = ANSWER.saturating_sub(began.elapsed());
            if heard.over || left.is_zero() {
                bail!("{method}: {}", if heard.over { "the browser is gone" } else { "the browser does not answer" });
            }
            heard = self.heard.1.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        if !answer["error"].is_null() {
            bail!("{method}: {}", answer["error"]);
        }
        Ok(answer["result"].clone())
    }

    /// Takes what has happened in a tab since it was asked last.
    #[must_use]
    pub fn events(&self, session: &str) -> Vec<Event> {
        let mut heard = lock(&self.heard.0);
        let (mine, others) = std::mem::take(&mut heard.events).into_iter().partition(|event| event.session == session);
        heard.events = others;
        mine
    }
}

fn hear(heard: &(Mutex<Heard>, Condvar), mut value: Value) {
    let mut all = lock(&heard.0);
    if let Some(id) = value["id"].as_u64() {
        all.answers.insert(id, value);
        heard.1.notify_all();
    } else if let (Some(method), Some(session)) = (value["method"].as_str(), value["sessionId"].as_str()) {
        let (method, session) = (method.to_owned(), session.to_owned());
        all.events.push(Event { session, method, params: value["params"].take() });
    }
}

impl Ends {
    /// Gives them to the program that this command will start; and puts `resolver`, a file, over the machine's list of DNS
    /// servers, for that program alone: a phone asks whom DHCP named.
    ///
    /// # Errors
    /// When the machine has no such list.
    #[allow(unsafe_code)]
    pub fn give(self, command: &mut Command, resolver: &std::path::Path) -> Result<Held> {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        use std::ffi::CString;
        use std::os::unix::ffi::OsStrExt;
        let list = std::fs::canonicalize("/etc/resolv.conf").context("/etc/resolv.conf: the browser's own is put over it")?;
        let (resolver, list) = (CString::new(resolver.as_os_str().as_bytes())?, CString::new(list.as_os_str().as_bytes())?);
        // The standard library tells of a failed exec by a pipe of its own, which must not have the numbers that are given away.
        let mut low = Vec::new();
        while low.last().is_none_or(|file: &File| file.as_raw_fd() <= WRITES) {
            low.push(File::open("/dev/null")?);
        }
        let (reads, writes) = (self.reads.as_raw_fd(), self.writes.as_raw_fd());
        // SAFETY: between fork and exec only system calls are made (unshare, mount, dup2), with memory that was there before:
        // nix passes a C string on as it is.
        unsafe {
            command.pre_exec(move || {
                unshare(CloneFlags::CLONE_NEWNS)?;
                mount(
                    None::<&std::ffi::CStr>,
                    c"/",
                    None::<&std::ffi::CStr>,
                    MsFlags::MS_REC | MsFlags::MS_PRIVATE,
                    None::<&std::ffi::CStr>,
                )?;
                mount(Some(resolver.as_c_str()), list.as_c_str(), None::<&std::ffi::CStr>, MsFlags::MS_BIND, None::<&std::ffi::CStr>)?;
                nix::unistd::dup2_raw(std::os::fd::BorrowedFd::borrow_raw(reads), READS).map(std::mem::forget)?;
                nix::unistd::dup2_raw(std::os::fd::BorrowedFd::borrow_raw(writes), WRITES).map(std::mem::forget)?;
                Ok(())
            });
        }
        Ok(Held { _ends: self, _low: low })
    }
}

/// To be kept until the program is started, and dropped then: or the end of the browser would not be seen.
pub struct Held {
    _ends: Ends,
    _low: Vec<File>,
}
