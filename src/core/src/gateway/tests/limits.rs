//! No money, no service: time, data, devices, credentials.

use super::world::*;
use crate::gate::{GateId, Traffic, Usage};
use crate::request::{Answer, Refusal, Request, Target, Typed};
use crate::step::{Effect, Input};
use crate::units::{Bytes, Password, Seconds};

#[test]
fn time_ends_to_the_millisecond() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.pass(HOUR - 1);
    assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(1)));
    world.pass(1);
    assert_eq!(world.session(ALICE), None);
    assert!(world.gate.is_empty());
    assert_eq!(world.login(ALICE, &view), Answer::Refused(Refusal::Expired));
}

/// A router that sells what never ends, too.
fn selling_without_end() -> World {
    let mut world = World::ready();
    world.settings.packages.push(package("always", 1_000, None, None, 2));
    world.killed();
    world.connect();
    world
}

#[test]
fn without_limits_only_the_operator_ends_it() {
    let mut world = selling_without_end();
    let view = world.buys(ALICE, "always", "NLJ7RT61SV");
    let without_end = |world: &mut World| {
        let session = world.session(ALICE).unwrap();
        assert_eq!((session.seconds_remaining, session.bytes_remaining), (None, None));
        let account = world.in_gate(ALICE).unwrap();
        assert_eq!((account.until, account.data_end), (None, None));
    };
    without_end(&mut world);
    world.used(ALICE, 1 << 50, 1 << 50);
    world.pass(400 * 24 * HOUR);
    without_end(&mut world);
    world.killed();
    without_end(&mut world);
    world.power_cut(HOUR, world.settings.clone());
    world.arrives(ALICE, 100);
    without_end(&mut world);
    assert_eq!(world.ask(Request::Kick { target: Target::Device(ALICE) }), Answer::Done);
    assert!(world.gate.is_empty());
    assert_eq!(world.session(ALICE), None);
    // What is left stays on the account, here as with any other package; devices are limited as with any other.
    assert!(matches!(world.login(ALICE, &view), Answer::Session(_)));
    let device = |n| crate::units::Mac([2, 0, 0, 0, 1, n]);
    assert!(matches!(world.login(device(1), &view), Answer::Session(_)));
    assert_eq!(world.login(device(2), &view), Answer::Refused(Refusal::DeviceLimit));
}

#[test]
fn what_has_no_end_comes_after_what_was_bought_before_it_and_before_what_is_bought_later() {
    let mut world = selling_without_end();
    let queued = |world: &mut World| {
        let Answer::Accounts(accounts) = world.ask(Request::Accounts) else { panic!() };
        accounts[0].queued
    };
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.buys(ALICE, "always", "UJ22T8IYOU");
    assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(3_600)));
    assert!(world.in_gate(ALICE).unwrap().until.is_some(), "the hour has an end, with the daemon dead, too");
    world.pass(HOUR);
    assert_eq!(world.session(ALICE).unwrap().seconds_remaining, None);
    assert_eq!((world.in_gate(ALICE).unwrap().until, queued(&mut world)), (None, 0));
    // It waits, and costs nothing of what is had.
    world.buys(ALICE, "hour", "QWE7RT61SV");
    world.pass(10 * HOUR);
    assert_eq!((world.session(ALICE).unwrap().seconds_remaining, queued(&mut world)), (None, 1));
    world.buys(ALICE, "always", "ASD7RT61SV");
    world.killed();
    assert_eq!((world.in_gate(ALICE).unwrap().until, queued(&mut world)), (None, 2));
}

#[test]
fn data_ends_both_ways_together() {
    let mut world = World::ready();
    world.buys(ALICE, "mega", "NLJ7RT61SV");
    assert_eq!(world.in_gate(ALICE).unwrap().data_end, Some(Bytes(100_000_000)));
    world.used(ALICE, 40_000_000, 59_999_999);
    assert_eq!(world.session(ALICE).unwrap().bytes_remaining, Some(Bytes(1)));
    world.used(ALICE, 40_000_000, 60_000_000);
    assert!(world.gate.is_empty());
}

#[test]
fn whose_data_is_limited_is_read_sooner_than_at_checkpoints_while_bytes_move() {
    // (package, what the books have after a second, two and three, of a megabyte that was moved in each)
    for (package, expected) in [("mega", [1_000_000, 2_000_000, 3_000_000]), ("hour", [0, 0, 0])] {
        let mut world = World::ready();
        world.buys(ALICE, package, "NLJ7RT61SV");
        let id = world.in_gate(ALICE).unwrap().id;
        for (second, used) in (1..).zip(expected) {
            world.counted.insert((id, ALICE), Traffic { up: Bytes(0), down: Bytes(second * 1_000_000) });
            world.pass(1_000);
            assert_eq!(world.gateway.desired_gate()[0].used, Bytes(used), "{package}, second {second}");
        }
        // At rest there are some readings more, further and further apart, and then checkpoints alone.
        world.pass(60_000);
        assert_eq!(world.gateway.desired_gate()[0].used, Bytes(3_000_000), "{package}, after a checkpoint");
        let next = world.gateway.poll_timeout().unwrap();
        world.pass(HOUR / 2);
        let after = world.gateway.poll_timeout().unwrap();
        assert_eq!((after.0 - next.0) % 60_000, 0, "{package}: checkpoints alone");
    }
}

#[test]
fn another_s_last_counts_are_no_reading() {
    let mut world = World::ready();
    world.buys(ALICE, "mega", "NLJ7RT61SV");
    let account = world.in_gate(ALICE).unwrap().id;
    world.pass(10 * MINUTE);
    let (next, moved) = (world.gateway.poll_timeout(), Traffic { up: Bytes(0), down: Bytes(50_000_000) });
    world.step(Input::LastCounts(vec![Usage { id: account, mac: BOB, traffic: moved }]));
    assert_eq!(world.gateway.poll_timeout(), next, "it says nothing of the pace of who is online");
    world.step(Input::Usage(vec![Usage { id: account, mac: BOB, traffic: Traffic { up: Bytes(50_000_000), ..moved } }]));
    assert_ne!(world.gateway.poll_timeout(), next);
}

#[test]
fn the_kernel_says_that_the_data_is_used_up() {
    // (bytes counted when the event comes, whether the session ends by it)
    for (counted, ends) in [(99_990_000, true), (99_934_464, true), (99_934_463, false), (50_000_000, false)] {
        let mut world = World::ready();
        world.buys(ALICE, "mega", "NLJ7RT61SV");
        let id = world.in_gate(ALICE).unwrap().id;
        world.used(ALICE, 0, counted);
        world.step(Input::Depleted(id));
        assert_eq!(world.in_gate(ALICE).is_none(), ends, "at {counted} bytes");
    }
    let mut world = World::ready();
    assert!(world.step(Input::Depleted(GateId(77))).is_empty(), "an account that nobody knows");
}

#[test]
fn running_totals_never_go_back_and_never_count_twice() {
    let mut world = World::ready();
    world.buys(ALICE, "mega", "NLJ7RT61SV");
    for (up, down) in [(10, 20), (10, 20), (5, 30), (0, 0)] {
        world.used(ALICE, up, down);
    }
    let session = world.session(ALICE).unwrap();
    assert_eq!((session.bytes_up, session.bytes_down), (Bytes(10), Bytes(30)));
}

#[test]
fn the_last_counts_come_after_the_device_is_offline() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "mega", "NLJ7RT61SV");
    let id = world.in_gate(ALICE).unwrap().id;
    world.ask(Request::Logout { device: ALICE });
    let traffic = crate::gate::Traffic { up: Bytes(1_000_000), down: Bytes(9_000_000) };
    let effects = world.step(Input::LastCounts(vec![Usage { id, mac: ALICE, traffic }]));
    assert!(matches!(effects[0], Effect::Persist(_)), "they are kept at once");
    world.killed();
    world.login(ALICE, &view);
    assert_eq!(world.session(ALICE).unwrap().bytes_remaining, Some(Bytes(90_000_000)));
    assert_eq!(world.in_gate(ALICE).unwrap().used, Bytes(10_000_000), "the kernel's quota begins with them");
}

#[test]
fn logout_keeps_what_is_left() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.pass(10 * MINUTE);
    assert_eq!(world.ask(Request::Logout { device: ALICE }), Answer::Done);
    assert!(world.gate.is_empty());
    world.pass(5 * HOUR);
    let Answer::Session(session) = world.login(ALICE, &view) else { panic!() };
    assert_eq!(session.seconds_remaining, Some(Seconds(50 * 60)));
    assert_eq!(world.ask(Request::Logout { device: BOB }), Answer::Done, "who is not online can log out, too");
}

#[test]
fn as_many_devices_as_were_paid_for() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "family", "NLJ7RT61SV");
    let device = |n| crate::units::Mac([2, 0, 0, 0, 1, n]);
    assert!(matches!(world.login(device(1), &view), Answer::Session(_)));
    assert!(matches!(world.login(device(2), &view), Answer::Session(_)));
    assert_eq!(world.login(device(3), &view), Answer::Refused(Refusal::DeviceLimit));
    assert!(matches!(world.login(device(2), &view), Answer::Session(_)), "who is online already may log in again");
    assert_eq!(world.session(ALICE).unwrap().devices, 3);
    assert_eq!(world.gate.len(), 1, "one account, one limit");
    world.ask(Request::Logout { device: ALICE });
    assert!(matches!(world.login(device(3), &view), Answer::Session(_)));
    world.pass(HOUR);
    assert!(world.gate.is_empty(), "the hour is over for all of them");
}

#[test]
fn wrong_credentials_are_counted_a_device() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "family", "NLJ7RT61SV");
    let wrong = |world: &mut World| {
        let (username, password) = (view.username.clone().unwrap(), Password::new("wrong").unwrap());
        world.ask(Request::Login { device: BOB, username, password, replace: false })
    };
    for _ in 0..8 {
        assert_eq!(wrong(&mut world), Answer::Refused(Refusal::BadCredentials));
    }
    assert!(matches!(wrong(&mut world), Answer::Refused(Refusal::TooManyRequests { .. })));
    assert!(matches!(world.login(BOB, &view), Answer::Refused(Refusal::TooManyRequests { .. })), "nor the right ones now");
    assert!(matches!(world.login(ALICE, &view), Answer::Session(_)), "its neighbour is not locked out");
    world.pass(2 * MINUTE);
    assert!(matches!(world.login(BOB, &view), Answer::Session(_)));
}

#[test]
fn what_cannot_be_right_at_all_is_a_wrong_try_too() {
    let typed = |device, what| Request::Mistyped { device, what };
    for (what, tries, refusal) in [
        (Typed::Credentials, 8, Refusal::BadCredentials),
        (Typed::Voucher, 8, Refusal::UnknownVoucher),
        (Typed::Receipt, 6, Refusal::UnknownReceipt),
    ] {
        let mut world = World::ready();
        for _ in 0..tries {
            assert_eq!(world.ask(typed(ALICE, what)), Answer::Refused(refusal), "{what:?}");
        }
        let Answer::Refused(Refusal::TooManyRequests { retry_after }) = world.ask(typed(ALICE, what)) else { panic!("{what:?}") };
        assert!(retry_after.0 > 0, "{what:?}");
        assert_eq!(world.ask(typed(BOB, what)), Answer::Refused(refusal), "a neighbour");
        for other in [Typed::Credentials, Typed::Voucher, Typed::Receipt].into_iter().filter(|other| *other != what) {
            assert!(!matches!(world.ask(typed(ALICE, other)), Answer::Refused(Refusal::TooManyRequests { .. })), "each way in by itself");
        }
        world.pass(retry_after.0 * 1_000);
        assert!(!matches!(world.ask(typed(ALICE, what)), Answer::Refused(Refusal::TooManyRequests { .. })), "that passes");
    }
}

#[test]
fn a_user_name_typed_with_a_capital_is_the_same() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    let username = view.username.clone().unwrap().as_str().to_uppercase().parse().unwrap();
    let password = view.password.clone().unwrap();
    assert!(matches!(world.ask(Request::Login { device: ALICE, username, password, replace: false }), Answer::Session(_)));
}

#[test]
fn a_device_is_on_one_account_at_a_time() {
    let mut world = World::ready();
    world.arrives(BOB, 101);
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    let bob = world.buys(BOB, "hour", "UJ22T8IYOU");
    world.ask(Request::Logout { device: BOB });
    world.login(ALICE, &bob);
    assert_eq!(world.gate.len(), 1);
    assert_eq!(world.session(ALICE).map(|s| s.username), bob.username);
    let Answer::Accounts(accounts) = world.ask(Request::Accounts) else { panic!() };
    assert_eq!(accounts.iter().map(|a| a.online).sum::<u8>(), 1);
    assert!(accounts.iter().all(|a| a.open), "what is left on the first stays there");
}

#[test]
fn the_operator_grants_and_kicks() {
    let mut world = World::ready();
    let grant = Request::Grant { device: ALICE, package: "hour".parse().unwrap() };
    let Answer::Session(session) = world.ask(grant.clone()) else { panic!() };
    world.ask(grant);
    assert_eq!(world.in_gate(ALICE).unwrap().until.unwrap().0, world.at + 2 * HOUR, "granting again extends");
    assert_eq!(world.ask(Request::Kick { target: Target::Device(ALICE) }), Answer::Done);
    assert!(world.gate.is_empty());
    assert_eq!(world.ask(Request::Kick { target: Target::Device(ALICE) }), Answer::Refused(Refusal::NotOnline));
    assert_eq!(world.ask(Request::Kick { target: Target::Account(session.username) }), Answer::Refused(Refusal::NotOnline));
    let unknown = Request::Grant { device: ALICE, package: "gone".parse().unwrap() };
    assert_eq!(world.ask(unknown), Answer::Refused(Refusal::UnknownPackage));
}

#[test]
fn a_session_names_the_package_whose_limits_it_shows() {
    let mut world = World::ready();
    for package in ["mega", "both", "slow"] {
        world.ask(Request::Grant { device: ALICE, package: package.parse().unwrap() });
    }
    let seen = |world: &mut World| {
        let Answer::MyAccount(account) = world.ask(Request::MyAccount { device: ALICE }) else { panic!("no account") };
        let Answer::Accounts(accounts) = world.ask(Request::Accounts) else { panic!("no accounts") };
        let account = account.unwrap();
        let queued: Vec<String> = account.queued.iter().map(|next| next.package.to_string()).collect();
        assert_eq!((&accounts[0].package, accounts[0].queued), (&account.session.package, u32::try_from(queued.len()).unwrap()));
        let session = account.session;
        (session.package.to_string(), session.seconds_remaining.is_some(), session.bytes_remaining.is_some(), queued.join(" "))
    };
    assert_eq!(seen(&mut world), ("mega".to_owned(), false, true, "both slow".to_owned()));
    world.used(ALICE, 0, 100_000_000);
    assert_eq!(seen(&mut world), ("both".to_owned(), true, true, "slow".to_owned()));
    world.pass(HOUR);
    assert_eq!(seen(&mut world), ("slow".to_owned(), true, false, String::new()));
}

#[test]
fn an_address_belongs_to_one_device() {
    let mut world = World::ready();
    world.arrives(BOB, 101);
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.buys(BOB, "hour", "UJ22T8IYOU");
    world.step(Input::Neighbour { mac: ALICE, address: "2001:db8::a".parse().unwrap(), present: true });
    assert_eq!(world.in_gate(ALICE).unwrap().devices.get(&ALICE).unwrap().addresses.len(), 2);
    world.leaves(ALICE, 100);
    assert_eq!(world.in_gate(ALICE).unwrap().devices.get(&ALICE).unwrap().addresses.len(), 2, "a phone that sleeps keeps its address");
    world.leaves(BOB, 101);
    world.arrives(BOB, 100);
    assert_eq!(world.in_gate(ALICE).unwrap().devices.get(&ALICE).unwrap().addresses.len(), 1);
    assert_eq!(world.in_gate(BOB).unwrap().devices.get(&BOB).unwrap().addresses.len(), 2);
}

#[test]
fn nothing_happens_where_nothing_changed() {
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    assert_eq!(world.step(Input::Tick), []);
    assert_eq!(world.step(Input::Neighbour { mac: ALICE, address: [10, 77, 0, 100].into(), present: true }), []);
    world.pass(30 * MINUTE);
    assert_eq!(world.step(Input::Tick), []);
}
