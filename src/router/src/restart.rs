//! A panic ends this program, and this program takes its own place: same process, same arguments, nothing else of it. What it was
//! told of in between is one variable of the environment.
//!
//! Everything that counts is in the kernel and in the store, as for a program that is killed: a start costs open connections and a moment.
//! That is why the routers' programs need no tables for unwinding (docs/decisions/0055-panics.md).

use crate::clock;
use lango_core::restart::{Panicked, Part};
use nix::libc::c_ulong;
use std::cell::Cell;
use std::convert::Infallible;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// The variable that says what panicked, to the program that takes the place.
pub const PANICKED: &str = "LANGO_PANICKED";

/// What the start script said to the program that panicked, and not to this one.
const SAID_BY_THE_START_SCRIPT: &str = "LANGO_UNDONE";

/// Where the start script keeps what it knows of an update, by its own word.
const UPDATES: &str = "LANGO_UPDATES";

/// Where nothing can take the place: a bug (sysexits). Whoever watches the program starts it again after a while.
const SOFTWARE: i32 = 70;

/// What the kernel gives a process: the store's threads have given it up (`store/engine.rs`), and it would outlive them.
const TIMER_SLACK: c_ulong = 50_000;

thread_local! {
    /// The part that runs on this thread.
    static HERE: Cell<Part> = const { Cell::new(Part::Other) };
}

/// Set while the store is opened: its engine does some of that on threads of its own.
static OPENING: AtomicBool = AtomicBool::new(false);

/// Set by who was told to end: what panics on the way there ends as well, for the program that took its place would know nothing of it.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Set by the first panic. Others only wait for their end.
static ENDING: AtomicBool = AtomicBool::new(false);

/// What a panic starts from; empty in a program that ends by a panic, or unwinds.
static GUARD: OnceLock<Guard> = OnceLock::new();

struct Guard {
    /// This program. Another one in its place is for the start script to start.
    program: PathBuf,
    /// What this program was started from.
    before: Option<Panicked>,
    /// The same, until somebody has acted upon it.
    unheard: Mutex<Option<Panicked>>,
}

/// From here on a panic on any thread starts this program anew. To be called once, before there is any other thread.
pub fn guard() {
    let before = std::env::var(PANICKED).ok().and_then(|text| Panicked::read(&text));
    // Where /proc does not tell, a panic ends the program.
    let Ok(program) = std::env::current_exe() else { return };
    let unheard = Mutex::new(before.clone());
    if GUARD.set(Guard { program, before, unheard }).is_ok() {
        std::panic::set_hook(Box::new(panicked));
    }
}

/// What this program was started from, where it was that part; once.
pub fn heard(part: Part) -> Option<Panicked> {
    GUARD.get()?.unheard.lock().unwrap_or_else(PoisonError::into_inner).take_if(|panicked| panicked.part == part)
}

/// Does what is this part's: a panic in it is known as that part's. Of a future, each poll.
pub fn within<T>(part: Part, work: impl FnOnce() -> T) -> T {
    let _here = Here { before: HERE.replace(part) };
    work()
}

/// The program was told to end: from here on a panic is its end, too.
pub fn stopping() {
    STOPPING.store(true, Ordering::SeqCst);
}

/// The store is being opened, until this is dropped.
pub struct Opening(());

impl Opening {
    /// Begins.
    #[must_use]
    pub fn begin() -> Self {
        OPENING.store(true, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        OPENING.store(false, Ordering::SeqCst);
    }
}

struct Here {
    before: Part,
}

impl Drop for Here {
    fn drop(&mut self) {
        HERE.set(self.before);
    }
}

/// The store has a thread of its own, and its engine gives those that it makes a name.
fn part() -> Part {
    let stores = thread::current().name().is_some_and(|name| name == "store" || name.starts_with("sled"));
    match (stores, OPENING.load(Ordering::SeqCst)) {
        (true, true) => Part::StoreOpening,
        (true, false) => Part::Store,
        (false, _) => HERE.get(),
    }
}

/// The hook: it does not come back, so nothing is unwound in any build. A panic in here aborts, and whoever watches the program starts it.
fn panicked(panic: &PanicHookInfo<'_>) {
    if ENDING.swap(true, Ordering::SeqCst) {
        loop {
            thread::park();
        }
    }
    let part = part();
    let said = said(panic);
    let Err(why) = start_again(part, &said);
    let _unwritable = writeln!(std::io::stderr().lock(), "error: {} gave up ({said}); {why}", part.name());
    process::exit(SOFTWARE)
}

fn start_again(part: Part, said: &str) -> Result<Infallible, String> {
    let guard = GUARD.get().ok_or("nothing can take its place")?;
    if STOPPING.load(Ordering::SeqCst) {
        return Err("it was told to stop: ending".to_owned());
    }
    let next = Panicked::after(guard.before.as_ref(), part, said, clock::monotonic())
        .ok_or("that was too often in a minute: ending, to be started again later")?;
    // After an update over the air it is another program, which is the start script's to start and to watch.
    if std::env::current_exe().ok().as_ref() != Some(&guard.program) {
        return Err("there is another program in its place: ending, to be started by the start script".to_owned());
    }
    // The start script counts the starts of one on trial, and would not see this one.
    if std::env::var_os(UPDATES).is_some_and(|updates| Path::new(&updates).join("trial").exists()) {
        return Err("it is on trial: ending, to be started by the start script".to_owned());
    }
    // Of the calling thread, and through exec: the new program's timers would be late by an hour.
    nix::sys::prctl::set_timerslack(TIMER_SLACK).map_err(|cause| format!("timers would be late: {cause}"))?;
    let _unwritable = writeln!(std::io::stderr().lock(), "error: {} gave up ({}); starting again", part.name(), next.said);
    let mut arguments = std::env::args_os();
    let mut program = Command::new(&guard.program);
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    let cause = program.args(arguments).env(PANICKED, next.to_text()).env_remove(SAID_BY_THE_START_SCRIPT).exec();
    Err(format!("it cannot be started again: {cause}"))
}

/// What a panic says: where it was, and its text where that stands in the source as it is. Text that was put together may hold what somebody
/// sent, a password or a number; the store's engine puts whole pages into its own.
fn said(panic: &PanicHookInfo<'_>) -> String {
    let text = panic.payload().downcast_ref::<&str>().copied().unwrap_or("no reason given");
    match panic.location() {
        Some(place) => format!("{place}: {text}"),
        None => text.to_owned(),
    }
}
