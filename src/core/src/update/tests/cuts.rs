//! The power goes between any two steps, once and again: a program is always there, and in the end it is the new one where that
//! works and the old one where it does not.
//!
//! A model of the start script (`images/files/usr/libexec/lango/start`) stands in here; the script itself is tried with real files
//! and the same cuts by the router's tests.

use crate::update::{
    Found, Kind, Manifest, Place, Reason, Recovery, Standing, State, Step, apply, confirm, discard, recover, recover_blindly,
};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Old,
    Works,
    /// Ends at once.
    Crashes,
    /// Runs, and never works.
    Hangs,
}

#[derive(Debug, Clone)]
struct Router {
    files: BTreeMap<Place, Program>,
    starts: u8,
    standing: Standing,
    /// Steps until the power goes; none: it stays.
    left: Option<u32>,
    steps: u32,
}

/// The power went.
struct Cut;

impl Router {
    fn with(new: Program, cut: Option<u32>) -> Self {
        let text = format!(
            "lango-update 1\nkind program\nversion 1\nnumber 7\ntarget t\nsize 3\nsha256 {}\nurl https://u.example/x\n",
            "00".repeat(32)
        );
        let standing = Standing::default().accepted("m".parse().unwrap(), Manifest::parse(&text).unwrap(), None);
        let files = BTreeMap::from([(Place::Program, Program::Old), (Place::New, new)]);
        Self { files, starts: 0, standing, left: cut, steps: 0 }
    }

    fn make(&mut self, place: Place, what: Program) {
        self.files.insert(place, what);
    }

    fn remove(&mut self, place: Place) {
        self.files.remove(&place);
    }

    /// One durable step.
    fn step(&mut self, change: impl FnOnce(&mut Self)) -> Result<(), Cut> {
        if self.left == Some(0) {
            self.left = None;
            return Err(Cut);
        }
        self.left = self.left.map(|left| left - 1);
        self.steps += 1;
        change(self);
        assert!(self.files.contains_key(&Place::Program), "no program is there");
        Ok(())
    }

    fn carry_out(&mut self, steps: &[Step]) -> Result<(), Cut> {
        for step in steps {
            self.step(|router| match *step {
                Step::Remove(Place::Starts) => router.starts = 0,
                Step::Remove(place) => router.remove(place),
                Step::Mark(place) => router.make(place, Program::Old),
                Step::Link(from, to) => {
                    assert!(!router.files.contains_key(&to), "{to:?} is taken");
                    router.files.insert(to, router.files[&from]);
                }
                Step::Rename(from, to) => {
                    let moved = router.files.remove(&from).expect("it is there");
                    router.files.insert(to, moved);
                }
                Step::Executable(place) => assert!(router.files.contains_key(&place)),
            })?;
        }
        Ok(())
    }

    fn keep(&mut self, state: State, reason: Option<Reason>) -> Result<(), Cut> {
        self.step(|router| router.standing = router.standing.now(state, reason))
    }

    fn found(&self) -> Found {
        let has = |place| self.files.contains_key(&place);
        Found {
            new: has(Place::New),
            old: has(Place::Old),
            trial: has(Place::Trial),
            undone_crashed: has(Place::UndoneCrashed),
            undone_overdue: has(Place::UndoneOverdue),
            overdue: has(Place::Overdue),
            before_image: has(Place::BeforeImage),
        }
    }

    /// The start script, until it runs the program.
    fn start_script(&mut self) -> Result<Program, Cut> {
        if self.files.contains_key(&Place::Trial) {
            let overdue = self.files.contains_key(&Place::Overdue);
            if overdue || self.starts >= 3 {
                if let Some(old) = self.files.get(&Place::Old).copied() {
                    let undone = if overdue { Place::UndoneOverdue } else { Place::UndoneCrashed };
                    self.step(|router| router.make(undone, Program::Old))?;
                    self.step(|router| {
                        router.files.remove(&Place::Old);
                        router.files.insert(Place::Program, old);
                    })?;
                }
                self.step(|router| router.remove(Place::Trial))?;
            } else {
                self.step(|router| router.starts += 1)?;
            }
        }
        Ok(self.files[&Place::Program])
    }

    /// From a start to the end of the program; true where nothing more will happen.
    fn run(&mut self) -> Result<bool, Cut> {
        let program = self.start_script()?;
        match program {
            Program::Crashes => return Ok(false),
            Program::Hangs => {
                self.step(|router| router.make(Place::Overdue, Program::Old))?;
                return Ok(false);
            }
            Program::Old | Program::Works => {}
        }
        let state = self.standing.state.expect("an update is known");
        match recover(Kind::Program, state, self.found()) {
            Recovery::Fetch => {
                // The file is there once more, whole.
                let new = if let Some(new) = self.files.get(&Place::New) { *new } else { panic!("it was never fetched") };
                self.step(|router| router.make(Place::New, new))?;
                self.keep(State::Applying, None)?;
                self.carry_out(apply(Kind::Program))?;
                Ok(false)
            }
            Recovery::Apply => {
                self.carry_out(apply(Kind::Program))?;
                Ok(false)
            }
            Recovery::Try => {
                self.keep(State::Trying, None)?;
                self.carry_out(confirm(Kind::Program))?;
                self.keep(State::Confirmed, None)?;
                self.carry_out(discard())?;
                Ok(true)
            }
            Recovery::Ended(state, reason) => {
                self.keep(state, reason)?;
                self.carry_out(discard())?;
                Ok(true)
            }
            Recovery::Rest => {
                self.carry_out(discard())?;
                Ok(true)
            }
        }
    }

    /// Until nothing more happens; the power comes back as often as it goes.
    fn settle(&mut self, mut cuts: Vec<u32>) {
        for _ in 0..40 {
            match self.run() {
                Ok(true) => return,
                Ok(false) => {}
                Err(Cut) => self.left = cuts.pop(),
            }
        }
        panic!("it never settles: {self:?}");
    }
}

fn check(router: &Router, new: Program, what: &str) {
    let (state, program) = (router.standing.state, router.files[&Place::Program]);
    let wanted: (&[State], Program) = match new {
        Program::Old | Program::Works => (&[State::Confirmed], Program::Works),
        Program::Crashes | Program::Hangs => (&[State::RolledBack], Program::Old),
    };
    // Cuts count as starts: three in a row look like a program that ends again and again, and the old one is the safe one.
    let gave_up = state == Some(State::RolledBack) && program == Program::Old;
    assert!((wanted.0.contains(&state.unwrap()) && program == wanted.1) || gave_up, "{what}: {state:?} with {program:?}");
    assert_eq!(router.files.len(), 1, "{what}: something lies around: {:?}", router.files);
}

#[test]
fn without_a_cut() {
    for (new, state, reason) in [
        (Program::Works, State::Confirmed, None),
        (Program::Crashes, State::RolledBack, Some(Reason::Crashed)),
        (Program::Hangs, State::RolledBack, Some(Reason::NotHealthy)),
    ] {
        let mut router = Router::with(new, None);
        router.settle(Vec::new());
        check(&router, new, "no cut");
        assert_eq!((router.standing.state, router.standing.reason), (Some(state), reason), "{new:?}");
    }
}

#[test]
fn one_cut_anywhere_changes_nothing() {
    for new in [Program::Works, Program::Crashes, Program::Hangs] {
        let mut whole = Router::with(new, None);
        whole.settle(Vec::new());
        for cut in 0..whole.steps {
            let mut router = Router::with(new, Some(cut));
            router.settle(Vec::new());
            check(&router, new, &format!("{new:?} cut before step {cut}"));
            assert_eq!(router.standing.state, whole.standing.state, "{new:?} cut before step {cut}");
        }
    }
}

#[test]
fn three_cuts_anywhere_leave_one_of_the_two() {
    for new in [Program::Works, Program::Crashes, Program::Hangs] {
        for first in 0..32 {
            for second in 0..32 {
                for third in 0..32 {
                    let mut router = Router::with(new, Some(first));
                    router.settle(vec![third, second]);
                    check(&router, new, &format!("{new:?} cut after {first}, {second} and {third} steps"));
                }
            }
        }
    }
}

#[test]
fn how_it_goes_on() {
    let nothing = Found::default();
    let here = |change: fn(&mut Found)| {
        let mut found = nothing;
        change(&mut found);
        found
    };
    use Recovery::{Apply, Ended, Fetch, Rest, Try};
    for (kind, state, found, wanted) in [
        (Kind::Program, State::Accepted, nothing, Fetch),
        (Kind::Program, State::Confirmed, here(|f| f.old = true), Rest),
        (Kind::Program, State::Applying, here(|f| (f.new, f.trial) = (true, true)), Apply),
        (Kind::Program, State::Applying, here(|f| (f.old, f.trial) = (true, true)), Try),
        (Kind::Program, State::Trying, here(|f| (f.old, f.trial) = (true, true)), Try),
        (Kind::Program, State::Trying, here(|f| f.old = true), Ended(State::Confirmed, None)),
        (Kind::Program, State::Trying, here(|f| f.undone_crashed = true), Ended(State::RolledBack, Some(Reason::Crashed))),
        (Kind::Program, State::Applying, here(|f| f.undone_overdue = true), Ended(State::RolledBack, Some(Reason::NotHealthy))),
        // Moved back, and no room to say so.
        (Kind::Program, State::Trying, here(|f| f.trial = true), Ended(State::RolledBack, Some(Reason::Crashed))),
        (Kind::Program, State::Trying, here(|f| (f.trial, f.overdue) = (true, true)), Ended(State::RolledBack, Some(Reason::NotHealthy))),
        // Not even moved back: it runs from beside its place.
        (
            Kind::Program,
            State::Trying,
            here(|f| (f.trial, f.old, f.undone_crashed) = (true, true, true)),
            Ended(State::RolledBack, Some(Reason::Crashed)),
        ),
        // A package was installed over it, whose scripts clear our marks away.
        (Kind::Program, State::Trying, nothing, Ended(State::Failed, Some(Reason::Replaced))),
        (Kind::Image, State::Applying, here(|f| f.before_image = true), Ended(State::Failed, Some(Reason::SysupgradeRefused))),
        (Kind::Image, State::Applying, nothing, Try),
        (Kind::Image, State::Trying, nothing, Try),
        (Kind::Image, State::Accepted, here(|f| f.before_image = true), Fetch),
        (Kind::Image, State::RolledBack, nothing, Rest),
    ] {
        assert_eq!(recover(kind, state, found), wanted, "{kind:?} {state:?} {found:?}");
    }
}

#[test]
fn how_it_goes_on_where_nobody_knows_what_it_was() {
    let here = |change: fn(&mut Found)| {
        let mut found = Found::default();
        change(&mut found);
        found
    };
    let unread = Recovery::Ended(State::Failed, Some(Reason::Disk));
    for (found, wanted) in [
        // Over long ago, not begun, or an image that got in place.
        (here(|_| {}), unread),
        (here(|f| f.before_image = true), unread),
        // Being fetched, or about to be put in place: what runs is the old one.
        (here(|f| f.new = true), unread),
        (here(|f| (f.new, f.old) = (true, true)), unread),
        (here(|f| (f.new, f.old, f.trial) = (true, true, true)), unread),
        (here(|f| (f.old, f.trial) = (true, true)), Recovery::Try),
        (here(|f| f.old = true), Recovery::Ended(State::Confirmed, None)),
        (here(|f| f.trial = true), Recovery::Ended(State::RolledBack, Some(Reason::Crashed))),
        (here(|f| f.undone_overdue = true), Recovery::Ended(State::RolledBack, Some(Reason::NotHealthy))),
    ] {
        assert_eq!(recover_blindly(found), wanted, "{found:?}");
    }
}
