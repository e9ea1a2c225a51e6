//! Panics of real processes: each is a test program started by another one, which panics and takes its own place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod process;

use lango::restart::PANICKED;
use lango_core::restart::{OFTEN, Panicked, Part};
use lango_core::time::Monotonic;
use process::{Ended, start};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The lines that the process wrote, one at each of its starts.
fn starts(ended: &Ended) -> Vec<&str> {
    ended.out.lines().filter(|line| line.starts_with("start ")).collect()
}

/// It panicked once, and the process that took its place knows of it, in the same place, with nothing left behind.
fn once(what: &str, said: &str) -> Ended {
    let ended = start(what, Path::new(""));
    let [first, second] = *starts(&ended) else { panic!("{what}: {ended:?}") };
    let pid = ended.pid;
    // What started the tests may have left some open.
    let open = first.strip_prefix(&format!("start {pid}: nothing, timers 50000, ")).expect(first);
    assert_eq!(second, format!("start {pid}: {said}, timers 50000, {open}"), "{what}: {ended:?}");
    assert_eq!(ended.code, Some(0), "{what}: {ended:?}");
    assert!(ended.error.contains("; starting again"), "{what}: {ended:?}");
    ended
}

#[test]
fn each_part_is_known_to_the_program_that_takes_the_place() {
    once("store, opening", "StoreOpening 1");
    once("a thread of sled's, opening", "StoreOpening 1");
    once("store, opened", "Store 1");
    once("store", "Store 1");
    once("a thread of sled's", "Store 1");
    once("broker", "Broker 1");
    once("request", "Request 1");
    once("other", "Other 1");
    once("another thread", "Other 1");
    once("behind a request", "Other 1");
}

#[test]
fn two_that_panic_at_once_are_one_start() {
    let ended = start("all at once", Path::new(""));
    assert_eq!((ended.code, starts(&ended).len()), (Some(0), 2), "{ended:?}");
    assert_eq!(ended.error.matches("starting again").count(), 1, "{ended:?}");
}

#[test]
fn what_somebody_sent_is_nowhere() {
    let ended = once("a secret", "Request 1");
    assert!(!ended.out.contains("1234") && !ended.error.contains("1234"), "{ended:?}");
    assert!(ended.error.contains("process.rs:") && ended.error.contains("no reason given"), "{ended:?}");
    let ended = once("request", "Request 1");
    assert!(ended.error.contains("a request gave up (") && ended.error.contains("told to"), "{ended:?}");
}

#[test]
fn one_that_panics_for_ever_ends() {
    let ended = start("for ever", Path::new(""));
    assert_eq!(ended.code, Some(70), "{ended:?}");
    assert_eq!(starts(&ended).len(), OFTEN + 1);
    assert!(starts(&ended).last().unwrap().contains(&format!(": Other {OFTEN}, ")), "{ended:?}");
    assert!(ended.error.contains("too often in a minute"), "{ended:?}");
}

#[test]
fn another_program_in_its_place_is_not_its_to_start() {
    let place = tempfile::tempdir().unwrap();
    let ended = start("replaced", place.path());
    assert_eq!((ended.code, starts(&ended).len()), (Some(70), 1), "{ended:?}");
    assert!(ended.error.contains("another program in its place"), "{ended:?}");
}

#[test]
fn one_on_trial_is_the_start_scripts_to_count() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("trial"), "600").unwrap();
    let ended = start("on trial", place.path());
    assert_eq!((ended.code, starts(&ended).len()), (Some(70), 1), "{ended:?}");
    assert!(ended.error.contains("it is on trial"), "{ended:?}");
    fs::remove_file(place.path().join("trial")).unwrap();
    assert_eq!(starts(&start("on trial", place.path())).len(), 2, "its trial is over");
}

#[test]
fn one_that_was_told_to_stop_ends() {
    let ended = start("stopping", Path::new(""));
    assert_eq!((ended.code, starts(&ended).len()), (Some(70), 1), "{ended:?}");
    assert!(ended.error.contains("it was told to stop"), "{ended:?}");
}

#[test]
fn a_broker_whose_bytes_it_was_is_left_alone_for_a_while() {
    let ended = once("broker, and connect", "Broker 1");
    assert!(ended.error.contains("gave up on what it sent; trying again in "), "{ended:?}");
    // The first wait is between half a second and a whole one.
    let connected = ended.out.lines().find_map(|line| line.strip_prefix("connected after ")).expect("it connects");
    assert!((500..20_000).contains(&connected.parse::<u32>().unwrap()), "{connected} ms");
}

#[test]
fn a_store_on_which_the_engine_panicked_is_told_as_damaged_and_not_opened_again() {
    let place = tempfile::tempdir().unwrap();
    let (store, config) = (place.path().join("store"), place.path().join("lango"));
    let text = format!(
        "config gateway 'main'\n\toption name 'kibera-7'\n\toption lan 'br-lan'\n\toption wan 'wan'\n\toption store '{}'\n\toption control '{}'\n\
         config package 'hour'\n\toption label '1 hour'\n\toption price '10'\n\toption minutes '60'\n",
        store.display(),
        place.path().join("lango.sock").display()
    );
    fs::write(&config, text).unwrap();
    let panicked = Panicked::after(None, Part::StoreOpening, "segment.rs:112: it has no page", Monotonic(1)).unwrap();
    // One that opens it after all runs for ever, and with a gate: it shall be in nobody's way.
    let program = ["30", "unshare", "--net", env!("CARGO_BIN_EXE_lango"), "run", "--config"];
    let output = Command::new("timeout").args(program).arg(&config).env(PANICKED, panicked.to_text()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{error}");
    let told = format!("the store {} is damaged: the engine gave up (segment.rs:112: it has no page): put a backup", store.display());
    assert!(error.contains(&told), "{error}");
    assert!(!store.exists(), "it was not touched");
}
