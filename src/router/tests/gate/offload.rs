//! Flow offload: seen when it is there, told when it comes and goes, and what was offloaded before our rules came begins
//! anew. On a kernel without flowtables, that it says so, and that none is seen.

use crate::conntrack::tracked;
use crate::traffic::{Server, socket_address, udp_to};
use crate::world::{Host, INTERNET4, World, account, eventually, now};
use lango::gate::GateEvent;
use std::time::Duration;

const FLOWTABLE: &str = "table inet fastpath {
    flowtable ft {
        hook ingress priority filter;
        devices = { lan1, wan};
    }
    chain forward {
        type filter hook forward priority filter + 10;
        meta l4proto { tcp, udp} flow add @ft
    }
}";

/// Switches it on, by bridge port and way out, as fw4 does; false where the kernel has none.
fn switch_on(world: &World) -> bool {
    match world.try_nft(Host::Router, FLOWTABLE) {
        Ok(_) => true,
        Err(refusal) => {
            assert!(refusal.contains("Could not process rule"), "it is the kernel that refuses: {refusal}");
            println!("this kernel has no flowtables: {}", refusal.lines().next().unwrap_or_default());
            let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
            assert!(!symbols.contains(" nf_flow_table_init"), "it has, and refused: {refusal}");
            false
        }
    }
}

#[test]
fn flow_offload_is_seen_while_it_is_there() {
    let world = World::new();
    let events = world.gate_events();
    let mut gate = world.gate();
    assert_eq!(gate.flow_offload().unwrap(), None);
    if !switch_on(&world) {
        assert_eq!(gate.flow_offload().unwrap(), None, "a kernel without it has none");
        assert!(events.try_recv().is_err(), "and tells of none");
        return;
    }
    let next = || events.recv_timeout(Duration::from_secs(5)).unwrap().0;
    assert_eq!(next(), GateEvent::Flowtables);
    let found = gate.flow_offload().unwrap().expect("it is on");
    assert_eq!(found.flowtables, ["inet fastpath ft"]);
    assert_eq!(found.devices, ["lan1".to_owned(), "wan".to_owned()].into());
    assert!(!found.hardware);
    world.nft(Host::Router, "delete table inet fastpath");
    assert_eq!(next(), GateEvent::Flowtables);
    assert_eq!(gate.flow_offload().unwrap(), None);
    // One that takes packets from nowhere does nothing.
    world.nft(Host::Router, "table ip idle { flowtable ft { hook ingress priority filter; } }");
    assert_eq!(gate.flow_offload().unwrap(), None);
}

#[test]
fn what_was_offloaded_before_our_rules_came_begins_anew() {
    let world = World::new();
    let on = switch_on(&world);
    let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
    let stream = world.within(Host::Phone1, || udp_to(socket_address(INTERNET4, 4000)));
    let passes = || stream.send(b"x").and_then(|_| stream.recv(&mut [0; 8])).is_ok();
    let offloaded = || tracked(&world, &["src=10.77.0.11", "dport=4000", "[OFFLOAD]"]).len();
    if on {
        eventually("it is offloaded", || (passes() && offloaded() == 1).then_some(()));
    } else {
        assert!(passes() && offloaded() == 0);
    }
    // The rule that puts connections on it goes: what is tried here is what it did before.
    if on {
        world.nft(Host::Router, "flush chain inet fastpath forward");
    }
    let mut gate = world.gate();
    gate.reconcile(&[account(1, &[1])], now()).unwrap();
    let cleaning = gate.cleaning(now()).expect("a gate that takes over cleans up");
    let purged = world.within(Host::Router, || cleaning.run()).unwrap();
    assert_eq!((purged.deleted, purged.held), (u64::from(on), 0), "what is not offloaded, and paid, stays: {purged:?}");
    assert!(passes());
    assert_eq!(offloaded(), 0);
    assert!(gate.usage().unwrap()[0].traffic.total().0 > 0, "it passes in sight of the gate");
    drop(gate);
    // Seen again by the next daemon, whose rules are the same: nothing of who may pass is touched.
    let gate = settled_again(&world);
    assert!(passes() && offloaded() == 0);
    drop(gate);
}

fn settled_again(world: &World) -> lango::gate::Gate {
    let mut gate = world.gate();
    gate.reconcile(&[account(1, &[1])], now()).unwrap();
    let cleaning = gate.cleaning(now()).expect("a gate that takes over cleans up");
    assert_eq!(world.within(Host::Router, || cleaning.run()).unwrap().deleted, 0);
    gate
}
