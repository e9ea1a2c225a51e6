//! What an hour costs in which nobody does anything: measured on a machine without cables, whose clock jumps where there is nothing to do.

use crate::machine::{Image, Kind, Machine, Written};
use crate::page::Figures;
use lango_lab::world::World;

/// Customers that are online in the second hour.
const CUSTOMERS: u32 = 20;
/// From its start on it has some things to write for the first time; seconds of its clock.
const SETTLED: u32 = 600;

/// Measures it; stops the run where it cannot.
pub fn run(image: &Image, figures: &mut Figures) {
    let world = World::build().unwrap_or_else(|e| panic!("{e:#}"));
    let machine = image
        .disk("idle", &[])
        .and_then(|disk| Machine::new(&world.router, image, &disk, &Kind::Alone))
        .unwrap_or_else(|e| panic!("{e:#}"));
    machine.on().unwrap_or_else(|e| panic!("{e:#}"));
    let sh = |line: &str| machine.sh(line).unwrap_or_else(|e| panic!("{e:#}"));
    sh("until lango status; do sleep 1; done");
    sh(&format!("sleep {SETTLED}"));
    let hour = || {
        let (before, at) = (written(&machine), uptime(&machine));
        sh("sleep 3600");
        let (after, took) = (written(&machine) - before, uptime(&machine) - at);
        assert!((3_600.0..3_660.0).contains(&took), "an hour took {took} s of the router's clock");
        after
    };
    let nobody = hour();
    figures.add("written to the flash in an hour without customers, not connected", say(nobody));
    machine.let_in(CUSTOMERS, "192.168.1").unwrap_or_else(|e| panic!("{e:#}"));
    sh("sleep 120");
    let online = hour();
    assert_eq!(machine.online().unwrap_or_else(|e| panic!("{e:#}")), u64::from(CUSTOMERS), "who went offline costs nothing");
    assert!(online.writes >= 50, "{online:?}: what was used is to be written down each minute");
    figures.add("the same hour with 20 customers online, who do nothing (`checkpoint` 60)", say(online));
    // A store that writes while nothing happens wears a flash out: this is what the figure is for.
    assert!(nobody.bytes < 1 << 20, "{nobody:?} in an hour in which nothing happened");
    assert!(online.bytes < 8 << 20, "{online:?} in an hour in which 20 customers did nothing");
}

fn written(machine: &Machine) -> Written {
    machine.written().unwrap_or_else(|e| panic!("{e:#}"))
}

fn uptime(machine: &Machine) -> f64 {
    machine.uptime().unwrap_or_else(|e| panic!("{e:#}"))
}

/// Bytes and writes, for the page.
pub fn say(written: Written) -> String {
    format!("{:.0} KiB in {} writes", written.bytes as f64 / 1024.0, written.writes)
}
