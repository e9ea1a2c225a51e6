//! What stands in the kernel is what was asked for: as our own dump reads it, and as `nft` prints it.

use crate::world::{Host, World, account, addresses, mac, now, within_seconds};
use lango::gate::Installed;
use lango_core::gate::{GateAccount, GateChange, GateDevice, GateId, Traffic};
use lango_core::units::{Bytes, Kbps, Mac};
use std::time::Instant;

#[test]
fn nft_prints_the_table_as_documented() {
    let world = World::new();
    let mut gate = world.gate();
    let (down, up) = (Some(Kbps(5_000)), Some(Kbps(1_000)));
    let given = GateAccount { until: within_seconds(3_600), data_end: Some(Bytes(500_000_000)), down, up, ..account(17, &[1]) };
    gate.apply(&[GateChange::Set(given)], now()).unwrap();
    let printed = world.nft(Host::Router, "list table inet lango");
    if std::env::var_os("SHOW_TABLE").is_some() {
        println!("{printed}");
    }
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/gate.md")).unwrap();
    let documented: Vec<&str> = document.lines().skip_while(|l| *l != "```nft").skip(1).take_while(|l| *l != "```").collect();
    assert!(documented.len() > 40, "docs/gate.md shows the table");
    // Fingerprints, and the time that is left, are not the same each time.
    let steady = |line: &str| -> Option<String> {
        let line = line.trim();
        let line = line.split(" comment ").next()?;
        let mut words: Vec<&str> = line.split_whitespace().collect();
        while let Some(at) = words.iter().position(|word| ["timeout", "expires"].contains(word)).filter(|_| line.contains(" expires ")) {
            words.drain(at..at + 2);
        }
        let line = words.join(" ");
        (!line.is_empty() && !line.starts_with("comment ")).then_some(line)
    };
    let printed: Vec<_> = printed.lines().filter_map(steady).collect();
    let documented: Vec<_> = documented.into_iter().filter_map(steady).collect();
    assert_eq!(printed, documented);
}

#[test]
fn thousands_of_accounts_are_installed_and_read_back() {
    let world = World::new();
    // As the daemon does: where somebody listens, the kernel makes news of each change, which takes it many times the memory of the
    // change itself.
    let _listening = world.gate_events();
    let mut gate = world.gate();
    let count = 3_000u32;
    let until = within_seconds(3_600);
    let desired: Vec<GateAccount> = (0..count)
        .map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            let addresses = [format!("10.{a}.{b}.{c}"), format!("fd77::{number:x}")].map(|a| a.parse().unwrap());
            let device = GateDevice {
                addresses: addresses.into(),
                traffic: Traffic { up: Bytes(u64::from(number)), down: Bytes(1) },
                ..GateDevice::default()
            };
            let data_end = (number % 2 == 0).then_some(Bytes(1_000_000 + u64::from(number)));
            let devices = [(Mac([2, 1, 0, a, b, c]), device)].into();
            GateAccount { until, data_end, devices, ..account(number, &[]) }
        })
        .collect();
    let begun = Instant::now();
    gate.reconcile(&desired, now()).unwrap();
    println!("{count} accounts put in within {:?}", begun.elapsed());
    let begun = Instant::now();
    let mut gate = world.gate();
    println!("{count} accounts read back within {:?}", begun.elapsed());
    let installed = gate.installed();
    assert_eq!(installed.len(), count as usize);
    for wanted in &desired {
        let found = &installed[&wanted.id];
        let expected = Installed {
            until: found.until,
            data_end: wanted.data_end,
            devices: wanted.devices.keys().copied().collect(),
            addresses: wanted.devices.values().flat_map(|d| d.addresses.iter().copied()).collect(),
        };
        assert_eq!(*found, expected);
        assert!(found.until.unwrap().0.abs_diff(until.unwrap().0) < 1_000, "{:?} for {until:?}", found.until);
    }
    let usage = gate.usage().unwrap();
    assert_eq!(usage.len(), count as usize);
    assert!(usage.iter().all(|u| u.traffic == Traffic { up: Bytes(u64::from(u.id.0)), down: Bytes(1) }));
    // One more among thousands, and one less.
    let begun = Instant::now();
    gate.apply(&[GateChange::Set(account(count, &[1]))], now()).unwrap();
    println!("one more within {:?}", begun.elapsed());
    let counted = gate.apply(&[GateChange::Remove(GateId(7))], now()).unwrap();
    assert_eq!(counted.len(), 1);
    // The same again is found to be there.
    let mut kept: Vec<_> = desired.into_iter().filter(|a| a.id != GateId(7)).collect();
    kept.push(account(count, &[1]));
    let begun = Instant::now();
    gate.reconcile(&kept, now()).unwrap();
    println!("reconciled within {:?}", begun.elapsed());
    assert_eq!(gate.installed().len(), count as usize);
    gate.reconcile(&[], now()).unwrap();
    assert!(gate.installed().is_empty());
}

#[test]
fn what_waits_is_read_back_and_ends_with_its_account() {
    let world = World::new();
    let elements = || world.nft(Host::Router, "list set inet lango held4").matches("02:00:5e:10:00:01 . 10.77.0.99").count();
    let mut given = account(5, &[1, 2]);
    given.devices.get_mut(&mac(1)).unwrap().held.insert([10, 77, 0, 99].into());
    let without = GateAccount { devices: account(5, &[1, 2]).devices, ..given.clone() };
    let mut gate = world.gate();
    // A table that is made anew has it, too; and one that is taken over keeps it or loses it, as is wanted.
    gate.reconcile(std::slice::from_ref(&given), now()).unwrap();
    assert_eq!(elements(), 1);
    for (wanted, there) in [(vec![given.clone()], 1), (vec![without], 0), (vec![given.clone()], 1), (vec![], 0)] {
        let mut gate = world.gate();
        gate.reconcile(&wanted, now()).unwrap();
        assert_eq!(elements(), there, "{wanted:?}");
    }
    let mut gate = world.gate();
    for end in [GateChange::Set(account(5, &[2])), GateChange::Remove(GateId(5))] {
        gate.apply(&[GateChange::Set(given.clone())], now()).unwrap();
        assert_eq!(elements(), 1);
        gate.apply(std::slice::from_ref(&end), now()).unwrap();
        assert_eq!(elements(), 0, "{end:?}");
    }
}

#[test]
fn addresses_and_devices_come_and_go_one_by_one() {
    let world = World::new();
    let mut gate = world.gate();
    let mut given = account(5, &[1]);
    gate.apply(&[GateChange::Set(given.clone())], now()).unwrap();
    given.devices.get_mut(&mac(1)).unwrap().addresses.insert("fd77::abcd".parse().unwrap());
    given.devices.insert(mac(2), GateDevice { addresses: addresses(2), ..GateDevice::default() });
    gate.apply(&[GateChange::Set(given.clone())], now()).unwrap();
    let read = |world: &World| world.gate().installed();
    assert_eq!(read(&world)[&GateId(5)].addresses.len(), 5);
    assert_eq!(read(&world)[&GateId(5)].devices.len(), 2);
    given.devices.remove(&mac(1));
    let counted = gate.apply(&[GateChange::Set(given.clone())], now()).unwrap();
    assert_eq!(counted.iter().map(|u| u.mac).collect::<Vec<_>>(), [mac(1)], "the counts of the one who went");
    assert_eq!(read(&world)[&GateId(5)].addresses, addresses(2));
    // Applied twice it does no harm; of two changes in one list the last counts.
    gate.apply(&[GateChange::Set(given.clone())], now()).unwrap();
    gate.apply(&[GateChange::Remove(GateId(5)), GateChange::Set(given.clone())], now()).unwrap();
    assert_eq!(read(&world)[&GateId(5)].devices.len(), 1);
    gate.apply(&[GateChange::Set(given), GateChange::Remove(GateId(5))], now()).unwrap();
    gate.apply(&[GateChange::Remove(GateId(5))], now()).unwrap();
    assert!(read(&world).is_empty());
}
