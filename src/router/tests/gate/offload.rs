//! Flow offload: seen when it is there, told when it comes and goes, what was offloaded before our rules came begins anew, and
//! what comes while it is on is counted and cut. On a kernel without flowtables, that it says so, and that none is seen.

use crate::conntrack::tracked;
use crate::traffic::{Server, connection, socket_address, udp_to};
use crate::world::{Host, INTERNET4, INTERNET6, World, account, eventually, now, of};
use lango::gate::{Gate, GateEvent};
use lango_core::gate::{GateAccount, GateChange, GateId, Traffic};
use lango_core::units::Bytes;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
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

/// Set by the emulated router's start (tools/kernel-init.sh): its kernel has flowtables, and a test that did without would show nothing.
const MUST_HAVE: &str = "LANGO_FLOWTABLES";

/// Switches it on, by bridge port and way out, as fw4 does; false where the kernel has none.
fn switch_on(world: &World) -> bool {
    match world.try_nft(Host::Router, FLOWTABLE) {
        Ok(_) => true,
        Err(refusal) => {
            assert!(std::env::var_os(MUST_HAVE).is_none(), "this kernel shall have flowtables ({MUST_HAVE} is set): {refusal}");
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

/// The most that a cut may be short by: one super-packet.
const SHORT_BY: u64 = 65_536;

/// A connection between the first phone and the internet host, over which each side tells the other.
enum Flow {
    Udp { socket: UdpSocket, _server: Server },
    Tcp { near: TcpStream, far: TcpStream },
}

impl Flow {
    fn open(world: &World, tcp: bool, to: SocketAddr) -> Self {
        if tcp {
            let (near, far) = connection(world, Host::Phone1, to);
            Self::Tcp { near, far }
        } else {
            let server = Server::udp(world, Host::Internet, to, "e");
            Self::Udp { socket: world.within(Host::Phone1, || udp_to(to)), _server: server }
        }
    }

    /// A kilobyte up, and as much down; false when it did not pass.
    fn exchange(&mut self) -> bool {
        let mut block = [0; 2_000];
        match self {
            Self::Udp { socket, .. } => socket.send(&block[..1_000]).and_then(|_| socket.recv(&mut block)).is_ok(),
            Self::Tcp { near, far } => {
                let passes = |from: &mut TcpStream, to: &mut TcpStream| {
                    let mut there = [0; 1_000];
                    from.write_all(&[7; 1_000]).and_then(|()| to.read_exact(&mut there)).is_ok()
                };
                passes(near, far) && passes(far, near)
            }
        }
    }
}

/// What the first phone sent to the internet host's addresses and had from them, by its own kernel's count.
fn count_at_the_phone(world: &World) {
    world.nft(
        Host::Phone1,
        &format!(
            "table inet seen {{ counter up {{ }}
               counter down {{ }}
               chain output {{ type filter hook output priority filter;
                 ip daddr {INTERNET4} counter name up
                 ip6 daddr {INTERNET6} counter name up }}
               chain input {{ type filter hook input priority filter;
                 ip saddr {INTERNET4} counter name down
                 ip6 saddr {INTERNET6} counter name down }} }}"
        ),
    );
}

fn counted_at_the_phone(world: &World) -> Traffic {
    let bytes = |name: &str| {
        let text = world.nft(Host::Phone1, &format!("list counter inet seen {name}"));
        Bytes(text.split_whitespace().skip_while(|word| *word != "bytes").nth(1).unwrap().parse().unwrap())
    };
    Traffic { up: bytes("up"), down: bytes("down") }
}

const KINDS: [(u16, bool, &str); 4] =
    [(4000, false, INTERNET4), (4100, true, INTERNET4), (4200, false, INTERNET6), (4300, true, INTERNET6)];

fn offloaded_to(world: &World, port: u16) -> usize {
    tracked(world, &[&format!("dport={port}"), "[OFFLOAD]"]).len()
}

fn since(earlier: Traffic, later: Traffic) -> Traffic {
    Traffic { up: Bytes(later.up.0 - earlier.up.0), down: Bytes(later.down.0 - earlier.down.0) }
}

/// Begins an account with a data limit, in the place of the one before.
fn buy(gate: &mut Gate, id: u32, limit: u64) {
    let bought = GateAccount { data_end: Some(Bytes(limit)), ..account(id, &[1]) };
    gate.apply(&[GateChange::Remove(GateId(id - 1)), GateChange::Set(bought)], now()).unwrap();
}

#[test]
fn with_it_on_all_that_a_paid_device_sends_is_counted_and_cut() {
    let world = World::new();
    let on = switch_on(&world);
    count_at_the_phone(&world);
    let mut gate = world.gate();
    let limit = 1_000_000;
    for (id, (port, tcp, address)) in (1..).zip(KINDS) {
        let kind = format!("{}, {address}", if tcp { "TCP" } else { "UDP" });
        let before = counted_at_the_phone(&world);
        buy(&mut gate, id, limit);
        let mut flow = Flow::open(&world, tcp, socket_address(address, port));
        (0..100).for_each(|number| assert!(flow.exchange(), "{kind}: {number} of 100"));
        // A last acknowledgement may still be under way.
        let counted = eventually("what the phone's kernel counted is what the gate did", || {
            let counted = of(&gate.usage().unwrap(), id, 1);
            (counted == since(before, counted_at_the_phone(&world))).then_some(counted)
        });
        assert!(counted.up.0 > 100_000 && counted.down.0 > 100_000, "{kind}: {counted:?}");
        // A listing of a table that changes meanwhile may miss one.
        let entries = || tracked(&world, &[&format!("dport={port}")]).len();
        eventually("it is tracked", || (flow.exchange() && entries() == 1).then_some(()));
        assert_eq!(tracked(&world, &["[OFFLOAD]"]), [""; 0], "{kind}");
        let exchanged = (0..1_000).take_while(|_| flow.exchange()).count();
        let total = of(&gate.usage().unwrap(), id, 1).total().0;
        assert!(total <= limit && total + SHORT_BY >= limit, "{kind}: {total} of {limit} bytes passed, {exchanged} exchanges more");
        assert_eq!(tracked(&world, &["[OFFLOAD]"]), [""; 0], "{kind}, at the end");
        println!("{kind}: {total} of {limit} bytes passed, none of them offloaded{}", if on { "" } else { " (this kernel cannot)" });
    }
}

/// The control of the test above: nothing but the two rules keeps connections out of the flowtable that is on there.
#[test]
fn without_the_two_rules_of_the_gate_it_would_pass_uncounted() {
    let world = World::new();
    if !switch_on(&world) {
        println!("skipped: what flow offload does without the gate's rules; it is tried on the emulated router (make test-kernel)");
        return;
    }
    count_at_the_phone(&world);
    let mut gate = world.gate();
    for chain in ["upward", "downward"] {
        world.delete_rules(chain, "ct expectation set \"whole\"");
    }
    let limit = 300_000;
    for (id, (port, tcp, address)) in (1..).zip(KINDS) {
        let kind = format!("{}, {address}", if tcp { "TCP" } else { "UDP" });
        buy(&mut gate, id, limit);
        let mut flow = Flow::open(&world, tcp, socket_address(address, port));
        eventually("it is offloaded", || (flow.exchange() && offloaded_to(&world, port) == 1).then_some(()));
        let before = counted_at_the_phone(&world);
        (0..200).for_each(|number| assert!(flow.exchange(), "{kind}: {number} of 200, past its limit"));
        let passed = since(before, counted_at_the_phone(&world)).total().0;
        let counted = of(&gate.usage().unwrap(), id, 1).total().0;
        assert!(passed > limit && counted < limit / 2, "{kind}: {passed} bytes passed, and {counted} were counted");
        println!("{kind}: without the rules {passed} bytes passed, and {counted} were counted");
    }
}
