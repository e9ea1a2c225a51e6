//! Several devices on one account: who comes on, who gives way, and what they see of each other.

use super::world::*;
use crate::gate::{Traffic, Usage};
use crate::request::{Answer, MyAccountView, PaymentView, Refusal, Request};
use crate::step::Input;
use crate::units::{Bytes, Mac, Password};

const CAROL: Mac = Mac([2, 0, 0, 0, 0, 0xc]);
const DAVE: Mac = Mac([2, 0, 0, 0, 0, 0xd]);

fn replace(world: &mut World, device: Mac, view: &PaymentView) -> Answer {
    let (username, password) = (view.username.clone().unwrap(), view.password.clone().unwrap());
    world.ask(Request::Login { device, username, password, replace: true })
}

fn account(world: &mut World, device: Mac) -> Option<MyAccountView> {
    match world.ask(Request::MyAccount { device }) {
        Answer::MyAccount(account) => account,
        other => panic!("{other:?}"),
    }
}

/// Alice, Bob and Carol on Alice's account for three.
fn family() -> (World, PaymentView) {
    let mut world = World::ready();
    for (device, host) in [(BOB, 101), (CAROL, 102), (DAVE, 103)] {
        world.arrives(device, host);
    }
    let view = world.buys(ALICE, "family", "NLJ7RT61SV");
    for device in [BOB, CAROL] {
        world.pass(1_000);
        world.login(device, &view);
    }
    (world, view)
}

fn uses(world: &mut World, device: Mac, bytes: u64) {
    let id = world.in_gate(device).unwrap().id;
    world.step(Input::Usage(vec![Usage { id, mac: device, traffic: Traffic { up: Bytes(bytes), down: Bytes(0) } }]));
}

#[test]
fn the_device_seen_longest_ago_gives_way_when_asked() {
    type Before = fn(&mut World);
    let cases: [(&str, Before, Mac); 5] = [
        ("all came and did nothing since", |_| {}, ALICE),
        ("the first one goes on using it", |w| uses(w, ALICE, 1), BOB),
        (
            "all used it, and the last one longest ago",
            |w| {
                for device in [CAROL, ALICE, BOB] {
                    uses(w, device, 1);
                    w.pass(1_000);
                }
            },
            CAROL,
        ),
        (
            "one has left the Wi-Fi",
            |w| {
                uses(w, BOB, 1);
                w.leaves(BOB, 101);
            },
            BOB,
        ),
        (
            "the daemon started again, and one was seen since",
            |w| {
                w.killed();
                w.pass(1_000);
                uses(w, ALICE, 1);
                uses(w, BOB, 1);
            },
            CAROL,
        ),
    ];
    for (what, before, gone) in cases {
        let (mut world, view) = family();
        world.pass(1_000);
        before(&mut world);
        world.pass(1_000);
        assert_eq!(world.login(DAVE, &view), Answer::Refused(Refusal::DeviceLimit), "{what}: nobody gives way unasked");
        assert!(matches!(replace(&mut world, DAVE, &view), Answer::Session(_)), "{what}");
        for device in [ALICE, BOB, CAROL, DAVE] {
            assert_eq!(world.in_gate(device).is_some(), device != gone, "{what}: {device}");
        }
        // Who gave way does not come back by itself.
        world.arrives(gone, 200);
        assert!(world.in_gate(gone).is_none(), "{what}");
    }
}

#[test]
fn nobody_gives_way_to_wrong_credentials_or_where_there_is_room() {
    let (mut world, view) = family();
    let (username, password) = (view.username.clone().unwrap(), Password::new("wrong").unwrap());
    let wrong = Request::Login { device: DAVE, username, password, replace: true };
    assert_eq!(world.ask(wrong), Answer::Refused(Refusal::BadCredentials));
    assert!(matches!(replace(&mut world, BOB, &view), Answer::Session(_)), "it is online itself");
    assert_eq!(account(&mut world, ALICE).unwrap().devices.len(), 3);
    world.pass(HOUR);
    assert_eq!(replace(&mut world, DAVE, &view), Answer::Refused(Refusal::Expired));
}

#[test]
fn an_account_shows_its_devices_to_them_alone() {
    let (mut world, _) = family();
    world.used(BOB, 7, 9);
    let shown = account(&mut world, BOB).unwrap();
    let devices: Vec<_> = shown.devices.iter().map(|d| (d.device, d.this, d.bytes_up.0, d.bytes_down.0)).collect();
    assert_eq!(devices, [(ALICE, false, 0, 0), (BOB, true, 7, 9), (CAROL, false, 0, 0)]);
    assert_eq!((shown.devices_at_most, shown.session.devices), (3, 3));
    assert_eq!(account(&mut world, DAVE), None);
}

#[test]
fn a_device_logs_out_others_of_its_account_and_nobody_else_s() {
    let (mut world, _) = family();
    let dave = world.buys(DAVE, "hour", "UJ22T8IYOU");
    for (device, other, done) in [(ALICE, BOB, true), (ALICE, BOB, false), (ALICE, DAVE, false), (BOB, ALICE, false), (CAROL, ALICE, true)]
    {
        let expected = if done { Answer::Done } else { Answer::Refused(Refusal::NotOnline) };
        assert_eq!(world.ask(Request::LogoutOther { device, other }), expected, "{device} {other}");
    }
    assert!(world.in_gate(CAROL).is_some() && world.in_gate(DAVE).is_some() && dave.connected);
    assert!(world.in_gate(ALICE).is_none() && world.in_gate(BOB).is_none());
}

#[test]
fn logging_out_keeps_what_is_left_for_all() {
    let (mut world, view) = family();
    world.pass(10 * MINUTE);
    for device in [ALICE, BOB, CAROL] {
        world.ask(Request::Logout { device });
    }
    world.pass(5 * HOUR);
    assert!(matches!(world.login(DAVE, &view), Answer::Session(_)));
    let left = world.session(DAVE).unwrap().seconds_remaining.unwrap().0;
    assert_eq!(left, 3_600 - 600 - 2, "the seconds before Carol came, and ten minutes");
}

#[test]
fn guesses_at_an_account_are_limited_and_its_own_devices_are_not() {
    let (mut world, view) = family();
    let username = view.username.clone().unwrap();
    let stranger = |n: u8| Mac([2, 0, 0, 0, 9, n]);
    let wrong = |world: &mut World, device| {
        let password = Password::new("wrong").unwrap();
        world.ask(Request::Login { device, username: username.clone(), password, replace: false })
    };
    for n in 0..20 {
        assert_eq!(wrong(&mut world, stranger(n)), Answer::Refused(Refusal::BadCredentials), "each with a new address");
    }
    assert!(matches!(wrong(&mut world, stranger(20)), Answer::Refused(Refusal::TooManyRequests { .. })));
    world.ask(Request::Logout { device: BOB });
    assert!(matches!(world.login(BOB, &view), Answer::Session(_)), "a device that was on it");
    let other = world.buys(DAVE, "hour", "UJ22T8IYOU");
    world.ask(Request::Logout { device: DAVE });
    assert!(matches!(world.login(stranger(21), &other), Answer::Session(_)), "another account");
    world.pass(10 * MINUTE);
    assert_eq!(wrong(&mut world, stranger(22)), Answer::Refused(Refusal::BadCredentials));
}
