//! A copied address while its owner is online: noticed, told, and not served where that takes nothing from the owner.

use super::world::*;
use crate::request::{Answer, AskId, Request};
use crate::step::{Effect, Input};
use crate::units::Mac;
use std::net::IpAddr;

fn at(host: u8) -> IpAddr {
    [10, 77, 0, host].into()
}

/// Alice is online as host 100.
fn online() -> World {
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    world
}

fn served(world: &World, device: Mac) -> Vec<IpAddr> {
    world.in_gate(device).map(|account| account.devices.get(&device).unwrap().addresses.iter().copied().collect()).unwrap_or_default()
}

fn held(world: &World, device: Mac) -> Vec<IpAddr> {
    let account = world.in_gate(device);
    account.map(|account| account.devices.get(&device).unwrap().held.iter().copied().map(IpAddr::V4).collect()).unwrap_or_default()
}

fn suspicions(world: &mut World) -> (u32, usize) {
    let Answer::Status(status) = world.ask(Request::Status) else { panic!() };
    (status.suspicions, world.log.iter().filter(|line| line.starts_with("suspicion: ")).count())
}

fn seen(world: &mut World, mac: Mac, host: u8, present: bool) -> Vec<Effect> {
    world.step(Input::Neighbour { mac, address: at(host), present })
}

#[test]
fn a_second_address_is_served_when_the_first_is_gone_and_not_before() {
    let mut world = online();
    let effects = seen(&mut world, ALICE, 101, true);
    assert!(matches!(effects.as_slice(), [Effect::Gate(_), Effect::Probe { mac: ALICE, address }] if *address == at(100)), "{effects:?}");
    assert_eq!((served(&world, ALICE), held(&world, ALICE)), (vec![at(100)], vec![at(101)]), "the kernel drops what comes from it");
    // The kernel found the first one gone: the phone has a new lease.
    let effects = seen(&mut world, ALICE, 100, false);
    assert!(matches!(effects.as_slice(), [Effect::Gate(_)]), "{effects:?}");
    assert_eq!((served(&world, ALICE), held(&world, ALICE)), (vec![at(100), at(101)], vec![]));
    world.pass(HOUR / 2);
    assert_eq!(suspicions(&mut world), (0, 0));
}

#[test]
fn a_phone_whose_first_address_is_gone_already_waits_for_nothing() {
    let mut world = online();
    seen(&mut world, ALICE, 100, false);
    let effects = seen(&mut world, ALICE, 101, true);
    assert!(matches!(effects.as_slice(), [Effect::Gate(_)]), "{effects:?}");
    assert_eq!(served(&world, ALICE), [at(100), at(101)]);
}

#[test]
fn a_copy_is_told_of_and_not_served_and_its_owner_notices_nothing() {
    let mut world = online();
    seen(&mut world, ALICE, 101, true);
    let owner = world.in_gate(ALICE).unwrap().clone();
    assert_eq!((served(&world, ALICE), held(&world, ALICE)), (vec![at(100)], vec![at(101)]));
    world.pass(4_999);
    assert_eq!(suspicions(&mut world), (0, 0), "the kernel still asks");
    world.pass(1);
    assert_eq!(suspicions(&mut world), (1, 1));
    assert!(world.log.last().unwrap().contains("10.77.0.100") && world.log.last().unwrap().contains("10.77.0.101"));
    world.pass(9 * MINUTE);
    assert_eq!(suspicions(&mut world), (1, 1), "told once in ten minutes");
    world.pass(2 * MINUTE);
    assert_eq!(suspicions(&mut world), (2, 2));
    assert_eq!(world.in_gate(ALICE), Some(&owner));
    // Asked again each minute: once the owner left, the other one is a device like any.
    let due = world.gateway.poll_timeout().unwrap();
    world.at = due.0;
    let effects = world.step(Input::Tick);
    assert!(effects.iter().any(|e| matches!(e, Effect::Probe { .. })) || effects.contains(&Effect::ReadUsage), "{effects:?}");
    seen(&mut world, ALICE, 100, false);
    assert_eq!((served(&world, ALICE), held(&world, ALICE)), (vec![at(100), at(101)], vec![]));
}

#[test]
fn what_waits_is_held_in_the_kernel_no_longer_than_it_waits() {
    for (what, ends) in [
        ("it is gone", Input::Neighbour { mac: ALICE, address: at(101), present: false }),
        ("it is another's", Input::Neighbour { mac: BOB, address: at(101), present: true }),
        ("the owner paid again", Input::Ask(AskId(9), Request::Grant { device: ALICE, package: "hour".parse().unwrap() })),
        ("the owner is offline", Input::Ask(AskId(9), Request::Logout { device: ALICE })),
    ] {
        let mut world = online();
        seen(&mut world, ALICE, 101, true);
        assert_eq!(held(&world, ALICE), [at(101)], "{what}");
        world.step(ends);
        assert!(held(&world, ALICE).is_empty(), "{what}");
        assert_eq!(world.gateway.desired_gate(), world.gate.values().cloned().collect::<Vec<_>>(), "{what}: the kernel has heard of it");
    }
}

#[test]
fn who_pays_is_served_whatever_is_suspected() {
    let mut world = online();
    seen(&mut world, ALICE, 101, true);
    world.buys(ALICE, "hour", "UJ22T8IYOU");
    assert_eq!(served(&world, ALICE), [at(100), at(101)], "it may have paid from the second one");
    world.pass(5_000);
    assert_eq!(suspicions(&mut world), (1, 1), "and it is told all the same");
    // Two that share an address before anybody paid: which of them pays is not known either.
    let mut world = World::ready();
    seen(&mut world, ALICE, 101, true);
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    assert_eq!(served(&world, ALICE), [at(100), at(101)]);
}

#[test]
fn a_daemon_that_starts_again_takes_nothing_from_the_owner() {
    let mut world = online();
    seen(&mut world, ALICE, 99, true);
    // What the gate had comes first, then who is there (the daemon sees to that order).
    world.killed();
    assert!(served(&world, ALICE).contains(&at(100)));
}

#[test]
fn a_device_in_two_places_is_told_of() {
    let port = |world: &mut World, mac, name: &str| world.step(Input::Port { mac, port: name.to_owned() });
    let mut world = online();
    let before = world.gate.clone();
    for _ in 0..5 {
        for name in ["wlan0", "lan2"] {
            port(&mut world, ALICE, name);
            port(&mut world, BOB, name); // not paid: nobody's loss
            world.pass(1_000);
        }
    }
    assert_eq!(suspicions(&mut world), (1, 1));
    let line = world.log.iter().find(|line| line.starts_with("suspicion: ")).unwrap();
    assert!(line.contains("02:00:00:00:00:0a") && line.contains("wlan0") && line.contains("lan2"), "{line}");
    assert_eq!(world.gate, before, "nobody is cut off by a suspicion");
}

#[test]
fn an_address_that_is_claimed_back_is_told_of() {
    let mut world = online();
    seen(&mut world, BOB, 100, true);
    assert_eq!(suspicions(&mut world), (0, 0), "DHCP gives an address to another when its lease is over");
    world.pass(3_000);
    seen(&mut world, ALICE, 100, true);
    assert_eq!(suspicions(&mut world), (1, 1));
    assert_eq!(served(&world, ALICE), [at(100)]);
    assert!(world.log.last().unwrap().contains("10.77.0.100"), "{:?}", world.log.last());
}

#[test]
fn who_sends_as_another_is_told_of() {
    let mut world = online();
    world.buys(BOB, "hour", "UJ22T8IYOU");
    let before = world.gate.clone();
    let send = |world: &mut World, mac, host: u8| world.step(Input::ForeignAddress { mac, address: at(host) });
    for _ in 0..30 {
        send(&mut world, BOB, 100);
        send(&mut world, ALICE, 100); // late news: it is its own
        send(&mut world, ALICE, 250); // nobody's
        world.pass(100);
    }
    assert_eq!(suspicions(&mut world), (1, 1));
    let line = world.log.iter().find(|line| line.starts_with("suspicion: ")).unwrap();
    assert!(line.contains(&format!("{BOB} sends as 10.77.0.100")) && line.contains(&ALICE.to_string()), "{line}");
    assert_eq!(world.gate, before, "nobody is cut off by a suspicion");
}

#[test]
fn a_copy_that_sends_gets_no_further_than_one_that_is_seen() {
    let sent = |world: &mut World, host: u8| world.step(Input::NewAddress { mac: ALICE, address: at(host) });
    let mut world = online();
    let effects = sent(&mut world, 101);
    assert!(matches!(effects.as_slice(), [Effect::Gate(_), Effect::Probe { mac: ALICE, address }] if *address == at(100)), "{effects:?}");
    assert_eq!(held(&world, ALICE), [at(101)]);
    for _ in 0..20 {
        assert_eq!(sent(&mut world, 101), [], "each packet is not a question");
        assert_eq!(seen(&mut world, ALICE, 101, true), []);
    }
    assert_eq!(served(&world, ALICE), [at(100)]);
    world.pass(5_000);
    assert_eq!(suspicions(&mut world), (1, 1));
    seen(&mut world, ALICE, 100, false);
    assert_eq!(served(&world, ALICE), [at(100), at(101)]);
    // One whose first address is gone is served with its first packet; so is any address in IPv6; and who has not paid is nobody's.
    let mut world = online();
    seen(&mut world, ALICE, 100, false);
    sent(&mut world, 101);
    world.step(Input::NewAddress { mac: ALICE, address: "fd77::9".parse().unwrap() });
    world.step(Input::NewAddress { mac: BOB, address: at(102) });
    assert_eq!(served(&world, ALICE), [at(100), at(101), "fd77::9".parse().unwrap()]);
    // An address that is another's is not taken by sending from it.
    seen(&mut world, BOB, 102, true);
    sent(&mut world, 102);
    assert_eq!(served(&world, ALICE).len(), 3);
}

#[test]
fn a_copy_gains_nothing_by_a_daemon_that_starts_again() {
    let mut world = online();
    world.arrives(ALICE, 99); // the copy; its address sorts before the owner's
    assert_eq!(served(&world, ALICE), [at(100)]);
    world.killed();
    assert_eq!(served(&world, ALICE), [at(100)]);
    assert_eq!(world.gateway.desired_gate(), world.gate.values().cloned().collect::<Vec<_>>(), "nothing is changed in the kernel");
}
