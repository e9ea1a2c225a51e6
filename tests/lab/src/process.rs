//! A program of the lab: started in a namespace, its words in a file, ended and started again as a test wants.

use crate::net::Namespace;
use crate::wait::{until, until_true};
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// How long a program may take to be ready, or to end. Machines that build at the same time are slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A program with its arguments; running or not.
pub struct Program {
    namespace: Namespace,
    path: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    under: Mutex<Vec<String>>,
    child: Mutex<Option<Child>>,
}

impl Program {
    /// Prepares it; [`Program::start`] starts it. Everything it prints is added to `log`.
    #[must_use]
    pub fn new(namespace: &Namespace, path: &Path, args: &[&str], log: &Path) -> Self {
        let args = args.iter().map(|&a| a.to_owned()).collect();
        Self {
            namespace: namespace.clone(),
            path: path.to_owned(),
            args,
            log: log.to_owned(),
            under: Mutex::default(),
            child: Mutex::new(None),
        }
    }

    /// From its next start on it is started by these words, which must end by becoming it. None: by itself, as at first.
    pub fn under(&self, words: Vec<String>) {
        *self.under.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = words;
    }

    /// Starts it. Wait for its readiness by a condition afterwards.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&self) -> Result<()> {
        let mut child = self.child();
        if child.is_some() {
            bail!("{} runs already", self.path.display());
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log).with_context(|| format!("{}", self.log.display()))?;
        let mut words = self.under.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        words.push(self.path.to_str().context("its path is text")?.to_owned());
        words.extend(self.args.iter().cloned());
        let mut command = self.namespace.command(Path::new(&words[0]), &words[1..])?;
        // A group of its own: Ctrl-C in the terminal is for the lab, which then ends its programs in order.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        *child = Some(command.spawn().with_context(|| format!("{} could not be started", self.path.display()))?);
        Ok(())
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Its process id, if it was started and not ended by us.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// Whether it still runs.
    #[must_use]
    pub fn running(&self) -> bool {
        self.child().as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_none()))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.path.display()))?;
        kill(Pid::from_raw(pid.cast_signed()), signal).with_context(|| format!("{signal} to {}", self.path.display()))
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill9(&self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits until it has ended by itself.
    ///
    /// # Errors
    /// When it does not end within [`PATIENCE`].
    pub fn terminate(&self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let status = until(&format!("{} to end after SIGTERM", self.path.display()), PATIENCE, || {
            self.child().as_mut().and_then(|child| child.try_wait().ok().flatten())
        })?;
        *self.child() = None;
        Ok(status)
    }

    /// Waits until `condition` holds; gives up at once when the program ends.
    ///
    /// # Errors
    /// When it ended, or the time was over: with the end of its log.
    pub fn ready_when(&self, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
        let mut ended = false;
        until_true(what, PATIENCE, || {
            ended = !self.running();
            ended || condition()
        })
        .with_context(|| self.tail(40))?;
        if ended {
            bail!("{} ended instead ({what})\n{}", self.path.display(), self.tail(40));
        }
        Ok(())
    }

    /// All that it has printed so far, over all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines that it printed.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The last lines of a file, under its name.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    let text = File::open(path).and_then(std::io::read_to_string).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    format!("--- {} ---\n{}\n", path.display(), all[all.len().saturating_sub(lines)..].join("\n"))
}
