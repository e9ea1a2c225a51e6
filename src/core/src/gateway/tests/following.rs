//! From one purchase to the next: the kernel never refuses in between, whether the daemon is there, late or dead.

use super::world::*;
use crate::gate::{GateAccount, GateChange, Traffic, Usage};
use crate::step::{Effect, Input};
use crate::units::{Bytes, Kbps, Mac, Seconds};

const MB: u64 = 1_000_000;
const GRACE: u64 = 10 * MINUTE;

/// A router on which Alice bought these, one after the other, and is online.
fn bought(packages: &[&str]) -> World {
    let mut world = World::ready();
    for (n, package) in packages.iter().enumerate() {
        world.buys(ALICE, package, &format!("RCPT{n:04}"));
    }
    world
}

/// The one change of the gate that a step wants: the account, as it shall be from now on.
fn the_change(effects: &[Effect]) -> &GateAccount {
    let gate: Vec<_> = effects.iter().filter_map(|effect| if let Effect::Gate(changes) = effect { Some(changes) } else { None }).collect();
    let [changes] = gate.as_slice() else { panic!("not one change of the gate: {effects:?}") };
    let [GateChange::Set(account)] = changes.as_slice() else { panic!("not one account that goes on: {changes:?}") };
    assert!(account.devices.contains_key(&ALICE));
    account
}

fn reading(world: &World, device: Mac, down: u64) -> Input {
    let traffic = Traffic { up: Bytes::ZERO, down: Bytes(down) };
    Input::Usage(vec![Usage { id: world.in_gate(ALICE).unwrap().id, mac: device, traffic }])
}

#[test]
fn what_the_kernel_holds() {
    let (hour, mega) = (Some(HOUR), Some(100 * MB));
    for (packages, until, data_end) in [
        (&["hour"][..], hour, None),
        (&["mega"], None, mega),
        (&["both"], hour, mega),
        // What follows is held with it, as long as one end is left: then nobody is needed when the first one ends.
        (&["hour", "slow"], Some(2 * HOUR), None),
        (&["hour", "slow", "family"], Some(3 * HOUR), None),
        (&["mega", "slow_mega"], None, Some(200 * MB)),
        (&["both", "slow_both"], Some(2 * HOUR), Some(200 * MB)),
        (&["hour", "both"], Some(2 * HOUR), None),
        (&["both", "hour"], Some(2 * HOUR), None),
        (&["mega", "both"], None, Some(200 * MB)),
        (&["both", "mega"], None, Some(200 * MB)),
        (&["both", "mega", "hour"], None, Some(216 * MB)),
        // An hour, and data for ever after: both together have no end. A while more than the hour.
        (&["hour", "mega"], Some(HOUR + GRACE), None),
        (&["both", "hour", "mega"], Some(2 * HOUR + GRACE), None),
        (&["mega", "hour"], None, Some(116 * MB)),
        (&["mega", "hour", "both"], None, Some(116 * MB)),
    ] {
        let world = bought(packages);
        let account = world.in_gate(ALICE).unwrap();
        let held = (account.until.map(|until| until.0 - world.at), account.data_end.map(|end| end.0));
        assert_eq!(held, (until, data_end), "{packages:?}");
    }
}

#[test]
fn an_end_of_time_is_one_change_of_the_gate() {
    for (packages, until, data_end) in [
        (&["hour", "slow"][..], Some(HOUR), None),
        (&["hour", "slow_mega"], None, Some(130 * MB)),
        (&["both", "slow_mega"], None, Some(130 * MB)),
        (&["both", "slow"], Some(HOUR), None),
        (&["both", "slow_both"], Some(HOUR), Some(130 * MB)),
    ] {
        let mut world = bought(packages);
        world.used(ALICE, 10 * MB, 10 * MB); // what is counted when it ends is 10 MB more
        world.pass(HOUR - 1);
        assert_eq!(world.in_gate(ALICE).unwrap().down, None, "{packages:?}");
        assert!(world.in_gate(ALICE).unwrap().until.is_none_or(|until| until.0 > world.at + 1), "the kernel does not end it: {packages:?}");
        world.at += 1;
        let mut effects = world.step(Input::Tick);
        if effects.contains(&Effect::ReadUsage) && !effects.iter().any(|effect| matches!(effect, Effect::Gate(_))) {
            effects = world.step(reading(&world, ALICE, 20 * MB));
        }
        let account = the_change(&effects);
        assert_eq!(account.until.map(|until| until.0 - world.at), until, "{packages:?}");
        assert_eq!((account.down, account.up), (Some(Kbps(1_000)), Some(Kbps(500))), "{packages:?}");
        assert_eq!(account.data_end.map(|end| end.0), data_end, "the next one's data begins with what is counted now: {packages:?}");
    }
}

#[test]
fn an_end_of_data_is_one_change_of_the_gate() {
    // What was used beyond the first one's data is the next one's.
    for (packages, until, data_end) in [
        (&["mega", "slow_mega"][..], None, Some(200 * MB)),
        (&["mega", "slow_both"], Some(HOUR), Some(200 * MB)),
        (&["mega", "slow"], Some(HOUR), None),
        (&["both", "slow_both"], Some(HOUR), Some(200 * MB)),
        (&["both", "slow_mega"], None, Some(200 * MB)),
        (&["both", "slow"], Some(HOUR), None),
    ] {
        let mut world = bought(packages);
        world.pass(30 * MINUTE);
        assert!(world.in_gate(ALICE).unwrap().data_end.is_none_or(|end| end.0 > 105 * MB), "the kernel does not end it: {packages:?}");
        let effects = world.step(reading(&world, ALICE, 105 * MB));
        let account = the_change(&effects);
        assert_eq!(account.until.map(|until| until.0 - world.at), until, "{packages:?}");
        assert_eq!(account.data_end.map(|end| end.0), data_end, "{packages:?}");
        assert_eq!(account.down, Some(Kbps(1_000)));
    }
}

#[test]
fn all_that_one_reading_shows_to_be_used_up_ends_at_once() {
    let mut world = bought(&["mega", "slow_mega"]);
    world.step(reading(&world, ALICE, 200 * MB));
    assert!(world.gate.is_empty());
    let mut world = bought(&["mega", "slow_mega"]);
    let id = world.in_gate(ALICE).unwrap().id;
    world.step(reading(&world, ALICE, 200 * MB - 1_000));
    assert_eq!(world.session(ALICE).unwrap().bytes_remaining, Some(Bytes(1_000)));
    world.step(Input::Depleted(id));
    assert!(world.gate.is_empty(), "the kernel stopped short of the sum");
}

#[test]
fn nobody_waits_for_counters_that_do_not_come() {
    let of_another = || vec![Usage { id: crate::gate::GateId(77), mac: BOB, traffic: Traffic::default() }];
    let its_own = |world: &World| {
        let traffic = Traffic { up: Bytes::ZERO, down: Bytes(5 * MB) };
        vec![Usage { id: world.in_gate(ALICE).unwrap().id, mac: BOB, traffic }]
    };
    for (what, goes_on) in [("nothing", true), ("all but its own", true), ("its own last", true), ("another's last", false)] {
        let mut world = bought(&["hour", "mega"]);
        world.used(ALICE, 0, 5 * MB);
        world.pass(HOUR - 1);
        world.at += 1;
        assert!(world.step(Input::Tick).contains(&Effect::ReadUsage));
        assert_eq!(world.in_gate(ALICE).unwrap().data_end, None, "{what}: before the counters come");
        let effects = world.step(match what {
            "nothing" => Input::Usage(Vec::new()),
            "all but its own" => Input::Usage(of_another()),
            "its own last" => Input::LastCounts(its_own(&world)),
            _ => Input::LastCounts(of_another()),
        });
        assert_eq!(world.in_gate(ALICE).unwrap().data_end.is_some(), goes_on, "{what}");
        assert_eq!(effects.contains(&Effect::ReadUsage), !goes_on, "{what}: it is asked for again");
    }
}

#[test]
fn a_dead_daemon_cuts_nobody_off_and_gives_no_time_away() {
    for packages in [&["hour", "slow"][..], &["both", "slow"], &["hour", "slow_both"], &["hour", "slow", "family"]] {
        let mut world = bought(packages);
        world.pass(50 * MINUTE);
        world.used(ALICE, 0, 20 * MB);
        world.dead(30 * MINUTE);
        if packages.contains(&"slow_both") {
            world.step(reading(&world, ALICE, 60 * MB));
        }
        let session = world.session(ALICE).expect("online all the time");
        assert_eq!(session.seconds_remaining, Some(Seconds(40 * 60)), "the next one began when the first one ended: {packages:?}");
        assert_eq!(world.in_gate(ALICE).unwrap().down, Some(Kbps(1_000)));
        // Longer than the second one lasts.
        world.dead(45 * MINUTE);
        let left = (packages.len() == 3).then_some(Seconds(55 * 60));
        assert_eq!(world.session(ALICE).map(|session| session.seconds_remaining.unwrap()), left, "{packages:?}");
    }
}

#[test]
fn a_dead_daemon_gives_no_more_data_than_was_paid_for() {
    let mut world = bought(&["both", "slow_both"]);
    world.used(ALICE, 0, 30 * MB);
    world.used_unheard(ALICE, 0, 160 * MB); // what passes while the daemon is dead
    world.dead(70 * MINUTE);
    assert_eq!(world.session(ALICE).unwrap().bytes_remaining, Some(Bytes(40 * MB)));
    assert_eq!(world.in_gate(ALICE).unwrap().data_end, Some(Bytes(200 * MB)), "the sum, and not a byte more");
}
