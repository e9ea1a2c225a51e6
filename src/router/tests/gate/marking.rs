//! Packets are marked with classes from the first account with a speed on, and whatever happens to the rules.

use crate::world::{Host, World, account, config, now};
use lango::gate::GateConfig;
use lango_core::gate::{GateAccount, GateChange, GateId};
use lango_core::units::Kbps;
use std::process::Command;

#[test]
fn packets_are_marked_once_somebody_has_a_speed() {
    let world = World::new();
    let marks = || world.nft(Host::Router, "list table inet lango").matches("meta priority set").count();
    let rules = || world.nft(Host::Router, "list ruleset").matches("Lango, rules").count();
    let slow = |id, devices: &[u8]| GateAccount { down: Some(Kbps(5_000)), up: Some(Kbps(1_000)), ..account(id, devices) };
    let mut gate = world.gate();
    gate.apply(&[GateChange::Set(account(17, &[1]))], now()).unwrap();
    assert_eq!(marks(), 0, "nobody has a speed");
    gate.apply(&[GateChange::Set(slow(18, &[2]))], now()).unwrap();
    assert_eq!(marks(), 4, "up and down, IPv4 and IPv6, and new addresses");
    gate.apply(&[GateChange::Set(slow(17, &[1]))], now()).unwrap();
    assert_eq!(marks(), 4);
    // They stay when the last one goes, and a daemon that starts takes them for what they are.
    gate.apply(&[GateChange::Remove(GateId(17)), GateChange::Remove(GateId(18))], now()).unwrap();
    let handles = |chain: &str| {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &world.name(Host::Router), "nft", "-a", "list", "chain", "inet", "lango", chain]);
        let output = nft.output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        printed
            .lines()
            .filter(|line| line.contains("priority set"))
            .filter_map(|line| line.rsplit_once("handle "))
            .map(|(_, handle)| handle.to_owned())
            .collect::<Vec<_>>()
    };
    let before = handles("pass");
    assert_eq!(before.len(), 1);
    let mut gate = world.gate();
    assert_eq!((marks(), rules()), (4, 1));
    assert_eq!(handles("pass"), before, "nothing is replaced");
    gate.apply(&[GateChange::Set(slow(18, &[2]))], now()).unwrap();
    assert_eq!(marks(), 4);
    // Rules of another config, and a table that is put back.
    let mut gate = world.try_gate(GateConfig { portal_port: 8_089, ..config() }).unwrap();
    assert_eq!((marks(), rules()), (4, 1));
    for (desired, expected) in [(slow(18, &[2]), 4), (account(18, &[2]), 0)] {
        world.nft(Host::Router, "delete table inet lango");
        gate.reconcile(&[desired], now()).unwrap();
        assert_eq!(marks(), expected);
    }
    // A rule of them that somebody deleted.
    gate.apply(&[GateChange::Set(slow(18, &[2]))], now()).unwrap();
    world.nft(Host::Router, &format!("delete rule inet lango speed4 handle {}", handles("speed4")[0]));
    assert_eq!(marks(), 3);
    gate.reconcile(&[slow(18, &[2])], now()).unwrap();
    assert_eq!(marks(), 4);
}
