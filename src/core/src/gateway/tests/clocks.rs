//! Clocks that are wrong, unset, or set while somebody is online: no session is lengthened or cut by them.

use super::world::*;
use crate::account::Clock;
use crate::record::Record;
use crate::request::{Answer, Refusal, Request};
use crate::settings::{Outage, Settings};
use crate::step::Input;
use crate::units::{Bytes, Seconds};

const DAY: u64 = 24 * HOUR;

fn run() -> Settings {
    Settings { outage: Outage::Run, ..settings() }
}

/// A router through whose outages paid time goes on; online with the relay, and Alice has bought these.
fn running(packages: &[&str]) -> World {
    let mut world = World::ready();
    world.step(Input::Reconfigured(run()));
    for (n, package) in packages.iter().enumerate() {
        world.buys(ALICE, package, &format!("RCPT{n:04}"));
    }
    world
}

fn minutes_left(world: &mut World) -> Option<u64> {
    world.session(ALICE).map(|session| session.seconds_remaining.map_or(0, |left| left.0 / 60))
}

/// The router's own clock from now on.
#[derive(Debug, Clone, Copy)]
enum OwnClock {
    Unset,
    Right,
    /// As sysfixtime sets it: the newest file's date, which is that of the last thing stored.
    OfTheNewestFile,
    DaysAhead,
    DaysBehind,
}

fn set(world: &mut World, clock: OwnClock, newest: u64) {
    world.wall = match clock {
        OwnClock::Unset => None,
        OwnClock::Right => Some(world.truth),
        OwnClock::OfTheNewestFile => Some(newest),
        OwnClock::DaysAhead => Some(world.truth + 3 * DAY),
        OwnClock::DaysBehind => Some(world.truth - 3 * DAY),
    };
}

const CLOCKS: [OwnClock; 5] = [OwnClock::Unset, OwnClock::Right, OwnClock::OfTheNewestFile, OwnClock::DaysAhead, OwnClock::DaysBehind];

#[test]
fn a_clock_that_is_set_while_somebody_is_online_changes_nothing() {
    for settings in [settings(), run()] {
        for (before, after) in CLOCKS.iter().flat_map(|before| CLOCKS.iter().map(move |after| (*before, *after))) {
            let mut world = World::ready();
            world.step(Input::Reconfigured(settings.clone()));
            let newest = world.truth;
            set(&mut world, before, newest);
            world.buys(ALICE, "hour", "NLJ7RT61SV");
            world.pass(10 * MINUTE);
            set(&mut world, after, newest);
            world.pass(20 * MINUTE);
            world.ask(Request::ClockIsSet);
            world.killed();
            assert_eq!(minutes_left(&mut world), Some(30), "{before:?}, then {after:?}");
            world.pass(30 * MINUTE - 1);
            assert!(world.session(ALICE).is_some(), "{before:?}, then {after:?}");
            world.pass(1);
            assert_eq!(world.session(ALICE), None, "{before:?}, then {after:?}");
        }
    }
}

#[test]
fn paid_time_stands_still_through_an_outage_whatever_the_clocks_say() {
    for (before, after) in CLOCKS.iter().flat_map(|before| CLOCKS.iter().map(move |after| (*before, *after))) {
        let mut world = World::ready();
        set(&mut world, before, 0);
        world.buys(ALICE, "hour", "NLJ7RT61SV");
        world.pass(10 * MINUTE);
        let newest = world.truth;
        world.power_cut(8 * HOUR, settings());
        set(&mut world, after, newest);
        world.arrives(ALICE, 100);
        assert_eq!(minutes_left(&mut world), Some(50), "{before:?}, then {after:?}");
        world.connect();
        world.ask(Request::ClockIsSet);
        world.pass(0);
        assert_eq!(minutes_left(&mut world), Some(50), "{before:?}, then {after:?}, and the time is known");
    }
}

#[test]
fn paid_time_goes_on_through_an_outage_by_the_relay_s_clock_alone() {
    for (before, after) in CLOCKS.iter().flat_map(|before| CLOCKS.iter().map(move |after| (*before, *after))) {
        let mut world = running(&["hour"]);
        set(&mut world, before, 0);
        world.pass(10 * MINUTE);
        let newest = world.truth;
        world.power_cut(20 * MINUTE, run());
        set(&mut world, after, newest);
        world.arrives(ALICE, 100);
        assert_eq!(minutes_left(&mut world), Some(50), "nobody knows yet how long it was: {before:?}, then {after:?}");
        world.pass(5 * MINUTE);
        world.connect();
        assert_eq!(minutes_left(&mut world), Some(25), "{before:?}, then {after:?}");
        assert_eq!(world.in_gate(ALICE).unwrap().until.unwrap().0, world.at + 25 * MINUTE, "the kernel knows it as well");
        // Said again, by anybody, it is not taken off again; nor after a kill.
        world.connect();
        world.killed();
        world.connect();
        assert_eq!(minutes_left(&mut world), Some(25), "{before:?}, then {after:?}");
        world.power_cut(40 * MINUTE, run());
        world.connect();
        world.arrives(ALICE, 100);
        assert_eq!(world.session(ALICE), None, "it ended meanwhile");
    }
}

#[test]
fn what_an_outage_costs_where_paid_time_goes_on() {
    let relay = |world: &mut World| world.connect();
    let nothing = |_: &mut World| {};
    // Alice buys these and is online for ten minutes; the power goes for so long; then …
    for (what, packages, outage, then, left) in [
        ("no clock: nothing", &["hour"][..], HOUR / 2, nothing as fn(&mut World), Some(50)),
        ("the relay's clock", &["hour"], HOUR / 2, relay, Some(20)),
        (
            "the router's own, once somebody vouches for it",
            &["hour"],
            HOUR / 2,
            |world| {
                world.wall = Some(world.truth);
                assert_eq!(world.ask(Request::ClockIsSet), Answer::Done);
            },
            Some(20),
        ),
        ("longer than what was left", &["hour"], HOUR, relay, None),
        ("through one purchase into the next", &["hour", "slow"], HOUR, relay, Some(50)),
        ("through all of them", &["hour", "slow"], 2 * HOUR, relay, None),
        ("into one of data, which no time uses up", &["hour", "mega"], 5 * HOUR, relay, Some(0)),
        ("of data alone", &["mega"], 5 * HOUR, relay, Some(0)),
        (
            "what was bought since is not touched",
            &["hour"],
            5 * HOUR,
            |world| {
                world.ask(Request::Grant { device: ALICE, package: "hour".parse().unwrap() });
                world.connect();
            },
            Some(60),
        ),
        (
            "nor what was used up and bought again",
            &["hour"],
            5 * HOUR,
            |world| {
                world.pass(50 * MINUTE);
                world.ask(Request::Grant { device: ALICE, package: "hour".parse().unwrap() });
                world.connect();
            },
            Some(60),
        ),
        (
            "half of it used before anybody knew",
            &["hour"],
            HOUR / 2,
            |world| {
                world.pass(10 * MINUTE);
                world.connect();
            },
            Some(10),
        ),
        (
            "the operator thought better of it",
            &["hour"],
            HOUR / 2,
            |world| {
                world.step(Input::Reconfigured(settings()));
                world.connect();
            },
            Some(50),
        ),
    ] {
        let mut world = running(packages);
        world.pass(10 * MINUTE);
        world.power_cut(outage, run());
        world.wall = None;
        world.arrives(ALICE, 100);
        then(&mut world);
        world.arrives(ALICE, 100);
        assert_eq!(minutes_left(&mut world), left, "{what}");
        let owed = world.store.keys().filter(|key| key.starts_with("owed/")).count();
        assert_eq!(owed, usize::from(what.starts_with("no clock")), "{what}");
    }
}

#[test]
fn several_outages_before_anybody_knows_the_time() {
    // After each of these the router is on for so long, with nobody who knows the time; the relay comes after the last.
    for (what, outages, left) in [
        ("one", &[(10, 0)][..], 40),
        ("two, online between", &[(10, 5), (10, 0)], 50 - 20 - 5),
        ("three, online between", &[(5, 5), (5, 5), (5, 0)], 50 - 15 - 10),
    ] {
        let mut world = running(&["hour"]);
        world.pass(10 * MINUTE);
        for (off, on) in outages {
            world.power_cut(off * MINUTE, run());
            world.wall = None;
            world.arrives(ALICE, 100);
            world.pass(on * MINUTE);
        }
        world.connect();
        let left_now = world.session(ALICE).unwrap().seconds_remaining.unwrap().0;
        // The five seconds that each start took are no outage of which anybody knows the end.
        assert!((left * 60..=left * 60 + 5 * 3).contains(&left_now), "{what}: {left_now} s, not {left} min");
    }
    // Away when the second one came: how much of the time was the first one, nobody will ever know.
    let mut world = running(&["hour"]);
    world.pass(10 * MINUTE);
    world.power_cut(10 * MINUTE, run());
    world.pass(5 * MINUTE);
    world.power_cut(10 * MINUTE, run());
    world.connect();
    world.arrives(ALICE, 100);
    assert_eq!(minutes_left(&mut world), Some(50), "in the customer's favour");
}

#[test]
fn a_boot_whose_time_nobody_knew_costs_nothing() {
    // Sold with the relay there, or by the operator; but the time of that boot is not known to anybody.
    let mut world = World::new();
    world.step(Input::Reconfigured(run()));
    world.arrives(ALICE, 100);
    world.ask(Request::Grant { device: ALICE, package: "hour".parse().unwrap() });
    world.pass(10 * MINUTE);
    world.power_cut(5 * HOUR, run());
    world.connect();
    world.arrives(ALICE, 100);
    assert_eq!(minutes_left(&mut world), Some(50));
}

#[test]
fn who_logged_out_before_the_outage_owes_nothing() {
    let mut world = running(&["hour"]);
    world.pass(10 * MINUTE);
    world.ask(Request::Logout { device: ALICE });
    world.power_cut(5 * HOUR, run());
    world.connect();
    world.arrives(ALICE, 100);
    assert_eq!(world.session(ALICE), None, "nor does it come back by itself");
    let clock = world.gateway.accounts.values().next().map(|account| account.clock.clone());
    assert!(matches!(clock, Some(Clock::Stopped { left }) if left.0 == 50 * MINUTE), "{clock:?}");
}

#[test]
fn a_relay_that_answers_late_takes_nothing_too_much() {
    // Its time may be as old as the hello that it answers: the outage is taken for the shortest that it can have been.
    let mut world = running(&["hour"]);
    world.pass(10 * MINUTE);
    world.power_cut(20 * MINUTE, run());
    world.arrives(ALICE, 100);
    world.connect_slowly(29_000);
    let left = world.session(ALICE).unwrap().seconds_remaining.unwrap();
    assert!(left >= Seconds(30 * 60 - 29) && left <= Seconds(30 * 60), "{left}");
    // And the next one for the shortest, too: it may have begun as late as that.
    world.power_cut(10 * MINUTE, run());
    world.connect();
    world.arrives(ALICE, 100);
    let after = world.session(ALICE).unwrap().seconds_remaining.unwrap();
    assert!(left.0 - after.0 <= 10 * 60 && left.0 - after.0 >= 9 * 60, "{left} and then {after}");
}

#[test]
fn a_clock_that_was_plainly_never_set_is_not_taken_for_right() {
    let mut world = running(&["hour"]);
    world.power_cut(20 * MINUTE, run());
    world.wall = None;
    assert_eq!(world.ask(Request::ClockIsSet), Answer::Refused(Refusal::ClockNotSet));
}

#[test]
fn data_is_the_same_after_an_outage_in_either_way() {
    for settings in [settings(), run()] {
        let mut world = running(&["both"]);
        world.step(Input::Reconfigured(settings.clone()));
        world.used(ALICE, 1_000_000, 9_000_000);
        world.pass(10 * MINUTE);
        world.power_cut(20 * MINUTE, settings);
        world.connect();
        world.arrives(ALICE, 100);
        assert_eq!(world.session(ALICE).unwrap().bytes_remaining, Some(Bytes(90_000_000)));
    }
}

#[test]
fn an_outage_that_used_up_a_purchase_for_three_leaves_no_three_on_one_for_one() {
    let mut world = running(&["family", "hour"]);
    let (username, password) = {
        let account = world.records().into_iter().find_map(|record| match record {
            Record::Account(account) => Some((account.username, account.password)),
            _ => None,
        });
        account.expect("Alice's account")
    };
    world.arrives(BOB, 101);
    let login = Request::Login { device: BOB, username, password, replace: false };
    assert!(matches!(world.ask(login), Answer::Session(_)));
    world.pass(50 * MINUTE);
    // Both are online again before anybody knows that the family's hour ended meanwhile.
    world.power_cut(30 * MINUTE, run());
    world.arrives(ALICE, 100);
    world.arrives(BOB, 101);
    assert!(world.session(ALICE).is_some() && world.session(BOB).is_some());
    world.connect();
    let online = [ALICE, BOB].map(|device| world.session(device).is_some());
    assert_eq!(online.into_iter().filter(|online| *online).count(), 1, "{online:?}");
    let account = world.in_gate(ALICE).or_else(|| world.in_gate(BOB)).unwrap();
    assert_eq!(account.devices.len(), 1);
}
