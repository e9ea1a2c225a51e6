//! The steps with real files, stopped after each of them; the start script then starts what lies there, and the rules say how it
//! goes on.

use crate::guard::{Router, SHELLS};
use lango::update::files::Files;
use lango_core::units::Seconds;
use lango_core::update::{Found, Kind, Manifest, Reason, Recovery, Standing, State, apply, confirm, discard, recover};
use std::fs;

fn files(router: &Router) -> Files {
    Files::new(router.path("lango"), Some(router.path("update")))
}

fn manifest(kind: &str) -> Manifest {
    let of = if kind == "program" { "target t" } else { "board b" };
    let text =
        format!("lango-update 1\nkind {kind}\nversion 1\nnumber 7\n{of}\nsize 3\nsha256 {}\nurl https://u.example/x\n", "00".repeat(32));
    Manifest::parse(&text).unwrap()
}

fn fetched() -> Router {
    let router = Router::new(SHELLS[0]);
    router.put("lango.new", "new");
    router
}

#[test]
fn a_program_is_put_in_place_whatever_step_the_power_goes_before() {
    let steps = apply(Kind::Program);
    for done in 0..=steps.len() {
        let router = fetched();
        let files = files(&router);
        files.carry_out(&steps[..done], Seconds(77)).unwrap();
        assert_eq!(router.start(), if done == steps.len() { "new" } else { "old" }, "after {done} steps");
        let how = recover(Kind::Program, State::Applying, files.found());
        if done < steps.len() {
            assert_eq!(how, Recovery::Apply, "after {done} steps");
            files.carry_out(steps, Seconds(77)).unwrap();
        }
        assert_eq!(recover(Kind::Program, State::Applying, files.found()), Recovery::Try);
        assert_eq!(fs::read_to_string(router.path("update/trial")).unwrap(), "77\n");
        // From here three starts, of which the first may have been counted above.
        assert_eq!(router.start(), "new");
        assert_eq!(router.start(), "new");
    }
}

#[test]
fn a_trial_ends_well_whatever_step_the_power_goes_before() {
    let (first, then) = (confirm(Kind::Program), discard());
    for done in 0..=first.len() + then.len() {
        let router = fetched();
        let files = files(&router);
        files.carry_out(apply(Kind::Program), Seconds(600)).unwrap();
        assert_eq!(router.start(), "new");
        files.carry_out(&first[..done.min(first.len())], Seconds::ZERO).unwrap();
        // Written down between the two.
        let state = if done > first.len() { State::Confirmed } else { State::Trying };
        files.carry_out(&then[..done.saturating_sub(first.len())], Seconds::ZERO).unwrap();
        assert_eq!(router.start(), "new", "after {done} steps");
        let wanted = match (done, state) {
            (0, _) => Recovery::Try,
            (_, State::Trying) => Recovery::Ended(State::Confirmed, None),
            _ => Recovery::Rest,
        };
        assert_eq!(recover(Kind::Program, state, files.found()), wanted, "after {done} steps");
        files.carry_out(first, Seconds::ZERO).unwrap();
        files.carry_out(then, Seconds::ZERO).unwrap();
        for _ in 0..5 {
            assert_eq!(router.start(), "new");
        }
        assert_eq!(files.found(), Found::default());
        assert_eq!(router.marks(), Vec::<String>::new());
    }
}

#[test]
fn what_the_start_script_put_back_is_known_afterwards() {
    for shell in SHELLS {
        let router = Router::new(shell);
        router.put("lango.new", "new");
        let files = files(&router);
        files.carry_out(apply(Kind::Program), Seconds(600)).unwrap();
        let started: Vec<String> = (0..4).map(|_| router.start()).collect();
        assert_eq!(started, ["new", "new", "new", "old"]);
        let ended = recover(Kind::Program, State::Trying, files.found());
        assert_eq!(ended, Recovery::Ended(State::RolledBack, Some(Reason::Crashed)));
        files.carry_out(discard(), Seconds::ZERO).unwrap();
        assert_eq!((files.found(), router.start()), (Found::default(), "old".to_owned()));
        // Another one is not held to what the last one did.
        router.put("lango.new", "newer");
        files.carry_out(apply(Kind::Program), Seconds(600)).unwrap();
        assert_eq!((0..3).map(|_| router.start()).collect::<Vec<_>>(), ["newer", "newer", "newer"]);
    }
}

#[test]
fn an_image_leaves_its_mark_where_sysupgrade_keeps_nothing() {
    let router = Router::new(SHELLS[0]);
    let files = files(&router);
    files.carry_out(apply(Kind::Image), Seconds(600)).unwrap();
    assert!(router.path("lango.before-image").exists());
    assert_eq!(router.marks(), Vec::<String>::new(), "the folder is kept");
    let failed = Recovery::Ended(State::Failed, Some(Reason::SysupgradeRefused));
    assert_eq!(recover(Kind::Image, State::Applying, files.found()), failed);
    fs::remove_file(router.path("lango.before-image")).unwrap();
    assert_eq!(recover(Kind::Image, State::Applying, files.found()), Recovery::Try);
}

#[test]
fn what_is_kept_is_whole_or_as_it_was() {
    let router = Router::new(SHELLS[0]);
    let files = files(&router);
    assert_eq!(files.standing().unwrap(), Standing::default());
    let standing = Standing::default().accepted("m-1".parse().unwrap(), manifest("image"), None);
    files.keep(&standing).unwrap();
    // The power went while the next one was written.
    fs::write(router.path("update/standing.part"), "lango-upd").unwrap();
    assert_eq!(files.standing().unwrap(), standing);
    let later = standing.now(State::Confirmed, None);
    files.keep(&later).unwrap();
    assert_eq!(files.standing().unwrap(), later);
    fs::write(router.path("update/standing"), "rubbish").unwrap();
    assert!(files.standing().is_err());
    // The number is kept apart, and never goes down.
    assert_eq!(files.floor().unwrap(), 7);
    files.keep(&Standing::default()).unwrap();
    assert_eq!(files.floor().unwrap(), 7);
    fs::write(router.path("update/floor"), "").unwrap();
    assert!(files.floor().is_err());
    files.keep(&later).unwrap();
    assert!(files.floor().is_err(), "what nobody could read is not written over");
    assert_eq!(files.standing().unwrap(), later);
}

#[test]
fn room_is_asked_for_before() {
    let router = Router::new(SHELLS[0]);
    let files = files(&router);
    for kind in [Kind::Program, Kind::Image] {
        assert!(files.room(kind, 1_000).unwrap().is_enough(), "{kind:?}");
        assert!(!files.room(kind, u64::MAX).unwrap().is_enough(), "{kind:?}");
    }
}
