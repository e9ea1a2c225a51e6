//! What is done with files, as lists of steps: each is whole and durable before the next begins, so that a power cut leaves one of
//! the places between two steps, and [`recover`] says for each how it goes on.
//!
//! The program that runs is never without a file: the new one is moved over the old one's name in one step, and the old one has a
//! second name by then.

use super::{Kind, Reason, State};

/// A file that updates touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The program that is started.
    Program,
    /// The one before it, while the new one is on trial.
    Old,
    /// The new one, before it is moved to [`Place::Program`]. An image's file is elsewhere: it is large, and not kept.
    New,
    /// Says that the program is on trial: the start script counts its starts, and sees to it that it ends.
    Trial,
    /// A start of the trial was seen, one each; the start script makes them.
    Starts,
    /// The trial took too long; the start script's watch makes it.
    Overdue,
    /// The start script put the old program back because the new one ended again and again.
    UndoneCrashed,
    /// The same, because it did not work in time.
    UndoneOverdue,
    /// Lies where sysupgrade keeps nothing: while it is there the image did not get in place.
    BeforeImage,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Takes a file away, where it is.
    Remove(Place),
    /// Gives a file a second name; that name is free.
    Link(Place, Place),
    /// Makes a file that says something by being there.
    Mark(Place),
    /// Moves a file over another, in one step.
    Rename(Place, Place),
    /// Lets a file be run.
    Executable(Place),
}

/// What lies there.
// Each is a file that is there or not, whatever the others are.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// [`Place::New`].
    pub new: bool,
    /// [`Place::Old`].
    pub old: bool,
    /// [`Place::Trial`].
    pub trial: bool,
    /// [`Place::UndoneCrashed`].
    pub undone_crashed: bool,
    /// [`Place::UndoneOverdue`].
    pub undone_overdue: bool,
    /// [`Place::Overdue`].
    pub overdue: bool,
    /// [`Place::BeforeImage`].
    pub before_image: bool,
}

/// How a router goes on that has just started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// There is nothing to do but to clear away.
    Rest,
    /// The file is fetched (again).
    Fetch,
    /// What lies there is checked, and [`apply`] carried out from its beginning.
    Apply,
    /// What runs now is on trial, and has yet to prove that it works.
    Try,
    /// It is over: the state is told, and what lies around is cleared away.
    Ended(State, Option<Reason>),
}

const PROGRAM: [Step; 9] = [
    Step::Executable(Place::New),
    Step::Remove(Place::Starts),
    Step::Remove(Place::Overdue),
    Step::Remove(Place::UndoneCrashed),
    Step::Remove(Place::UndoneOverdue),
    Step::Remove(Place::Old),
    Step::Link(Place::Program, Place::Old),
    Step::Mark(Place::Trial),
    Step::Rename(Place::New, Place::Program),
];

/// Puts a checked file in place. The state [`State::Applying`] is durable before a program's, and after an image's.
#[must_use]
pub const fn apply(kind: Kind) -> &'static [Step] {
    match kind {
        Kind::Program => &PROGRAM,
        Kind::Image => &[Step::Mark(Place::BeforeImage)],
    }
}

/// Ends a trial that went well, before that is written down: from the first of these on the start script leaves the program alone.
/// [`Place::Old`] stays until [`discard`]: it tells a program that was confirmed from one that somebody replaced.
#[must_use]
pub const fn confirm(kind: Kind) -> &'static [Step] {
    match kind {
        Kind::Program => &[Step::Remove(Place::Trial)],
        Kind::Image => &[],
    }
}

/// Moves the old program back where the start script could not, before that is written down: it is what runs.
#[must_use]
pub const fn put_back() -> &'static [Step] {
    &[Step::Rename(Place::Old, Place::Program)]
}

/// Clears away what lies around, after it was written down how it ended.
#[must_use]
pub const fn discard() -> &'static [Step] {
    &[
        Step::Remove(Place::Trial),
        Step::Remove(Place::Starts),
        Step::Remove(Place::Overdue),
        Step::Remove(Place::New),
        Step::Remove(Place::Old),
        Step::Remove(Place::UndoneCrashed),
        Step::Remove(Place::UndoneOverdue),
        Step::Remove(Place::BeforeImage),
    ]
}

/// How it goes on after a start: from what was written down, and from what lies there.
#[must_use]
pub const fn recover(kind: Kind, state: State, found: Found) -> Recovery {
    let undone = match found {
        Found { undone_overdue: true, .. } => Some(Reason::NotHealthy),
        Found { undone_crashed: true, .. } => Some(Reason::Crashed),
        _ => None,
    };
    match (kind, state) {
        (_, State::Accepted) => Recovery::Fetch,
        (_, State::Refused | State::Failed | State::Confirmed | State::RolledBack) => Recovery::Rest,
        (Kind::Image, State::Applying | State::Trying) if found.before_image => {
            Recovery::Ended(State::Failed, Some(Reason::SysupgradeRefused))
        }
        (Kind::Image, State::Applying | State::Trying) => Recovery::Try,
        // While the new one still lies aside the old one runs, whatever else is there.
        (Kind::Program, State::Applying) if found.new => Recovery::Apply,
        (Kind::Program, State::Applying | State::Trying) => match (found.trial, found.old, undone) {
            (true, true, None) => Recovery::Try,
            // Where the old one still is beside it, what runs is the old one all the same: [`put_back`] comes first.
            (_, _, Some(reason)) => Recovery::Ended(State::RolledBack, Some(reason)),
            // It was moved back, and there was no room for the word of it.
            (true, false, None) if found.overdue => Recovery::Ended(State::RolledBack, Some(Reason::NotHealthy)),
            (true, false, None) => Recovery::Ended(State::RolledBack, Some(Reason::Crashed)),
            (false, true, None) => Recovery::Ended(State::Confirmed, None),
            (false, false, None) => Recovery::Ended(State::Failed, Some(Reason::Replaced)),
        },
    }
}

/// The same where what was written down cannot be read: from what lies there alone. It may have been an image, and it may have been over and told;
/// who hears of a failure then holds on to the end that he knows.
#[must_use]
pub const fn recover_blindly(found: Found) -> Recovery {
    match recover(Kind::Program, State::Trying, found) {
        // The old one runs.
        _ if found.new => Recovery::Ended(State::Failed, Some(Reason::Disk)),
        Recovery::Ended(State::Failed, _) => Recovery::Ended(State::Failed, Some(Reason::Disk)),
        known => known,
    }
}
