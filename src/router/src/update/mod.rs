//! Updates over the air: fetched, checked, put in place, and watched until they work (docs/updates.md). What is decided is the core's;
//! the last word, where a new program does not even start, is the start script's (`images/files/usr/libexec/lango/start`).

mod check;
pub mod fetch;
pub mod files;
pub mod head;
mod offer;
mod place;
mod recovery;
mod started;

pub use started::Started;

use crate::config::settings::Update as Settings;
use crate::restart::PANICKED;
use fetch::Patience;
use files::Files;
use lango_core::request::UpdateView;
use lango_core::time::Wall;
use lango_core::units::Seconds;
use lango_core::update::{self, Facts, Kind, Reason, Report, Standing, State};
use ring::signature::{ED25519, UnparsedPublicKey};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What this program was built for, in rustc's words.
pub const TARGET: &str = env!("LANGO_TARGET");

/// Where OpenWrt says what board it runs on.
const BOARD: &str = "/tmp/sysinfo/board_name";

/// A new program must have worked for so long without a break.
const STEADY: Duration = Duration::from_secs(30);

/// How often it is looked whether what runs works.
const LOOK: Duration = Duration::from_secs(1);

/// sysupgrade has ended this program by then, or never will.
const LONGEST_SYSUPGRADE: Duration = Duration::from_secs(600);

/// How often it is looked whether the time has come.
const LOOK_SELDOM: Duration = Duration::from_secs(20);

/// How a fetch ended, under the number of its release.
#[derive(Debug)]
pub struct Ended {
    number: u64,
    outcome: Result<(), Reason>,
}

/// What takes this program's place, once everything is stored.
#[derive(Debug)]
pub enum Successor {
    /// The start script, with this program's own arguments: it starts the new program.
    Start(PathBuf),
}

impl Successor {
    /// Becomes it. Returns only where that failed.
    #[must_use]
    pub fn take_over(&self) -> io::Error {
        use std::os::unix::process::CommandExt as _;
        match self {
            Self::Start(script) => Command::new(script).args(std::env::args_os().skip(1)).env_remove(PANICKED).exec(),
        }
    }
}

/// What came of a look.
#[derive(Debug)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// The relay is to be told.
    Tell(Report),
    /// It is to be told, and this program is to end for that one.
    GiveWay(Report, Successor),
    /// It is to be told, and then [`Updates::begin_image`] is due.
    BeginImage(Report),
}

/// What is under way.
enum Work {
    Nothing,
    Fetching(AbortHandle),
    /// It is here and was checked. Since when hours and an empty house allow it, if they do.
    Ready(Option<Instant>),
    /// The time has come: it is checked once more, for it may have lain there for hours. Since when it was allowed.
    Checking(AbortHandle, Instant),
    /// That went well.
    Checked(Instant),
    /// sysupgrade has the image since then; it ends this program when it wants to.
    Sysupgrade(Child, Instant),
    /// It runs. Since when everything works, if it does.
    Trial(Option<Instant>),
    /// It is over, and could not be written down yet: that is tried again.
    Over(State, Option<Reason>),
}

/// Updates over the air, at this router.
pub struct Updates {
    settings: Option<Settings>,
    files: Files,
    /// The start script, where it started this program.
    script: Option<PathBuf>,
    patience: Patience,
    board: Option<String>,
    standing: Standing,
    /// Nobody knows which numbers were accepted before: none is.
    closed: bool,
    work: Work,
    ended: mpsc::Sender<Ended>,
    look: Instant,
}

impl Updates {
    /// Begins with what lies there: a trial, or what a power cut left. Gives back what the relay is to be told, too.
    #[must_use]
    pub fn start(settings: Option<Settings>, started: Started, ended: mpsc::Sender<Ended>) -> (Self, Option<Report>) {
        let Started { script, files, undone, patience } = started;
        let (floor, standing) = (files.floor(), files.standing());
        // Every router that ever accepted something has the one where it has the other.
        let closed = floor.is_err()
            || (standing.is_err() && matches!(floor, Ok(0)))
            || standing.as_ref().is_ok_and(|standing| standing.floor == Standing::CLOSED);
        if closed {
            log::error!(
                "update: the highest number that was accepted cannot be read: nothing is accepted until somebody removes the files floor and standing"
            );
        }
        let lost = standing.is_err();
        let mut standing = standing.unwrap_or_else(|cause| {
            log::error!("update: what was kept of the last one cannot be read: {cause}");
            Standing { offer: files.offer(), ..Standing::default() }
        });
        // A file that can be read again, without the highest number in it, would open a way back to older releases.
        standing.floor = if lost && closed { Standing::CLOSED } else { standing.floor.max(floor.unwrap_or_default()) };
        let board = board(settings.as_ref());
        let mut found = files.found();
        // The start script's own word: on a full flash there is no file of it.
        match undone {
            Some(Reason::NotHealthy) => found.undone_overdue = true,
            Some(_) => found.undone_crashed = true,
            None => {}
        }
        let (work, look) = (Work::Nothing, Instant::now());
        let mut updates = Self { settings, files, script, patience, board, standing, closed, work, ended, look };
        let told = if lost { updates.go_on_blindly(found) } else { updates.go_on(found) };
        (updates, told)
    }

    /// Other settings from now on. What is under way and not to be any more by them ends; the relay is told.
    pub fn reconfigure(&mut self, settings: Option<Settings>) -> Option<Report> {
        self.board = board(settings.as_ref());
        self.settings = settings;
        match self.work {
            Work::Fetching(_) | Work::Ready(_) | Work::Checking(..) | Work::Checked(_) => {
                let reason = self.objection(None)?;
                self.end(State::Failed, Some(reason))
            }
            Work::Nothing | Work::Trial(_) | Work::Sysupgrade(..) | Work::Over(..) => None,
        }
    }

    fn facts(&self, time: Option<Wall>) -> Facts<'_> {
        Facts {
            keys: self.settings.as_ref().map_or(&[][..], |settings| &settings.keys),
            board: self.board.as_deref(),
            target: TARGET,
            images: self.settings.as_ref().is_some_and(|settings| settings.images),
            guarded: self.script.is_some(),
            time,
        }
    }

    /// Why what was accepted is not to be any more.
    fn objection(&self, time: Option<Wall>) -> Option<Reason> {
        update::objection(&self.standing, &self.facts(time), verify)
    }

    /// How it stands, for the operator.
    #[must_use]
    pub fn view(&self) -> Option<UpdateView> {
        let (manifest, state) = (self.standing.manifest.as_ref()?, self.standing.state?);
        Some(UpdateView { version: manifest.version.clone(), number: manifest.number, state, reason: self.standing.reason })
    }

    /// When [`Updates::look`] is wanted; nothing where there is nothing to look at.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        matches!(self.work, Work::Ready(_) | Work::Checked(_) | Work::Trial(_) | Work::Sysupgrade(..) | Work::Over(..)).then_some(self.look)
    }

    fn name(&self) -> String {
        self.standing.manifest.as_ref().map_or_else(
            || "a release whose name is lost".to_owned(),
            |manifest| format!("{} {} (number {})", manifest.kind.name(), manifest.version, manifest.number),
        )
    }

    /// Writes down how it stands now; the relay is told what is written down.
    fn now(&mut self, state: State, reason: Option<Reason>) -> Option<Report> {
        self.keep(self.standing.now(state, reason)).then(|| self.standing.report())?
    }

    fn keep(&mut self, standing: Standing) -> bool {
        match self.files.keep(&standing) {
            Ok(()) => self.standing = standing,
            Err(cause) => {
                log::error!("update: what became of it cannot be kept: {cause}");
                return false;
            }
        }
        true
    }

    fn end(&mut self, state: State, reason: Option<Reason>) -> Option<Report> {
        match reason {
            None => log::info!("update: {} is {}", self.name(), state.name()),
            Some(reason) => log::warn!("update: {} {}: {}", self.name(), state.name(), reason.told()),
        }
        self.stop_working();
        self.over(state, reason)
    }

    /// Writes down how it ended, or sees to it that this is tried again: it would stand in every other update's way.
    fn over(&mut self, state: State, reason: Option<Reason>) -> Option<Report> {
        self.look = Instant::now() + LOOK_SELDOM;
        self.work = Work::Over(state, reason);
        // The old program runs from beside its place where the start script could not move it.
        if state == State::RolledBack
            && self.files.found().old
            && let Err(cause) = self.files.carry_out(update::put_back(), Seconds::ZERO)
        {
            log::error!("update: the program before cannot be put back in its place, and runs from beside it: {cause}; trying again");
            return None;
        }
        if !self.keep(self.standing.now(state, reason)) {
            return None;
        }
        self.work = Work::Nothing;
        // Not before it is written down: it is told by what lies there otherwise.
        self.clear_away();
        self.standing.report()
    }

    fn clear_away(&self) {
        if let Err(cause) = self.files.carry_out(update::discard(), Seconds::ZERO) {
            log::warn!("update: what lies around cannot be removed: {cause}");
        }
        // What nobody knows any more may have been one.
        if self.standing.manifest.as_ref().is_none_or(|manifest| manifest.kind == Kind::Image) {
            // After a restart it is not there any more.
            let _ = std::fs::remove_file(self.files.image());
        }
    }
}

fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

fn board(settings: Option<&Settings>) -> Option<String> {
    let set = settings.and_then(|settings| settings.board.clone());
    set.or_else(|| std::fs::read_to_string(BOARD).ok().map(|name| name.trim().to_owned()))
}
