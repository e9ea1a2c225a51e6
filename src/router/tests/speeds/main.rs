//! Speeds on the real kernel: what TCP gets, how long others wait meanwhile, and that nothing stays behind.
//!
//! They measure, so they run one at a time, and not beside the gate's other tests. Needs root.
//! Which queue the classes have depends on the kernel: `fq_codel`, or `bfifo` where it has none. Both must pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod flow;
mod many;
#[path = "../gate/traffic.rs"]
#[allow(dead_code, reason = "shared with the gate's other tests, which use the rest")]
mod traffic;
#[path = "../gate/world.rs"]
#[allow(dead_code, reason = "shared with the gate's other tests, which use the rest")]
mod world;

use crate::flow::{Flow, Way, measure, one_within_five_percent, probe, unharmed, within_five_percent};
use crate::traffic::{Server, Stream, connection, socket_address, udp_to};
use crate::world::{Host, INTERNET4, INTERNET6, World, account, addresses, config, eventually, ip, mac, now, within_seconds};
use lango::gate::{self, Gate, GateConfig};
use lango_core::gate::{GateAccount, GateChange, GateDevice, GateId};
use lango_core::units::{Bytes, Kbps, Mac};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

static ALONE: Mutex<()> = Mutex::new(());

/// A world of one's own, with nobody else measuring meanwhile.
fn alone() -> (MutexGuard<'static, ()>, World) {
    // A test that failed has left nothing behind that concerns the next one.
    (ALONE.lock().unwrap_or_else(PoisonError::into_inner), World::new())
}

fn with_speed(account: GateAccount, down: Option<u64>, up: Option<u64>) -> GateAccount {
    GateAccount { down: down.map(Kbps), up: up.map(Kbps), ..account }
}

fn tc(world: &World, arguments: &str) -> String {
    let output = Command::new("tc").args(["-n", &world.name(Host::Router)]).args(arguments.split_whitespace()).output();
    let output = output.expect("the tests of the gate need tc (package iproute2)");
    assert!(output.status.success(), "`tc {arguments}` failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The roots of the two interfaces.
fn roots(world: &World) -> [String; 2] {
    ["br-lan", "wan"].map(|link| tc(world, &format!("qdisc show dev {link} root")))
}

/// Classes and their rates, without what they counted.
fn classes(world: &World, link: &str) -> Vec<String> {
    let mut found: Vec<_> = tc(world, &format!("class show dev {link}")).lines().map(str::to_owned).collect();
    found.retain(|line| line.starts_with("class htb 4c61:"));
    found.sort();
    found
}

/// The kind of queue that the only class has.
fn queue(world: &World, link: &str) -> String {
    let text = tc(world, &format!("qdisc show dev {link}"));
    let found = text.lines().find(|line| line.contains("parent 4c61:8")).unwrap_or_else(|| panic!("no queue of ours in {text}"));
    found.split_whitespace().nth(1).unwrap().to_owned()
}

/// The handle of that queue, which another one in its place would not have.
fn queue_handle(world: &World, link: &str) -> String {
    let text = tc(world, &format!("qdisc show dev {link}"));
    let found = text.lines().find(|line| line.contains("parent 4c61:8")).unwrap_or_else(|| panic!("no queue of ours in {text}"));
    found.split_whitespace().nth(2).unwrap().to_owned()
}

/// The packets that went through the only class.
fn class_counted(world: &World, link: &str) -> u32 {
    let text = tc(world, &format!("-s class show dev {link}"));
    let sent = text.split_whitespace().skip_while(|word| *word != "Sent").nth(3);
    sent.unwrap_or_else(|| panic!("no class of ours: {text}")).parse().unwrap()
}

fn internet(port: u16) -> SocketAddr {
    socket_address(INTERNET4, port)
}

#[test]
fn tcp_gets_its_speed_others_wait_little_and_a_second_customer_is_unharmed() {
    let (_alone, world) = alone();
    let mut gate = world.gate();
    let _echo = Server::udp(&world, Host::Internet, internet(4000), "e");
    let first = with_speed(account(1, &[1]), Some(2_000), Some(2_000));
    gate.apply(&[GateChange::Set(first), GateChange::Set(account(2, &[2]))], now()).unwrap();
    for (port, way, name) in [(4001, Way::Down, "down"), (4002, Way::Up, "up")] {
        let slow = Flow::start(&world, Host::Phone1, internet(port), way);
        let free = Flow::start(&world, Host::Phone2, internet(port + 10), way);
        slow.settle(500_000);
        let stop = Arc::new(AtomicBool::new(false));
        let own = probe(&world, Host::Phone1, internet(4000), &stop);
        let others = probe(&world, Host::Phone2, internet(4000), &stop);
        let measured = one_within_five_percent(name, &[&slow, &free], 2_000.0);
        stop.store(true, Ordering::Relaxed);
        let (own, others) = (own.join().unwrap(), others.join().unwrap());
        unharmed(&format!("the second customer {name}"), measured[1]);
        let (median, most) = (own[own.len() / 2], own[own.len() * 95 / 100]);
        let beside = others[others.len() / 2];
        println!(
            "{name} under load: the customer's own packets wait {median:.1} ms, 95 % at most {most:.1} ms; the other's {beside:.1} ms"
        );
        // One queue of 32 KiB takes 125 ms; where flows take turns, a few packets of the others are waited for.
        let turns = queue(&world, if way == Way::Down { "br-lan" } else { "wan" }) == "fq_codel";
        let (half, nearly_all) = if turns { (40.0, 80.0) } else { (150.0, 200.0) };
        assert!(median < half && most < nearly_all, "{name}: {median:.1} ms, 95 % within {most:.1} ms");
        assert!(beside < 50.0, "{name}: the second customer waits {beside:.1} ms");
        slow.end();
        free.end();
    }
}

#[test]
fn speeds_change_on_a_live_connection_and_go() {
    let (_alone, world) = alone();
    let mut gate = world.gate();
    let set = |gate: &mut gate::Gate, down| gate.apply(&[GateChange::Set(with_speed(account(1, &[1]), down, None))], now()).unwrap();
    set(&mut gate, Some(2_000));
    let flow = Flow::start(&world, Host::Phone1, socket_address(INTERNET6, 4001), Way::Down);
    flow.settle(500_000);
    one_within_five_percent("IPv6", &[&flow], 2_000.0);
    set(&mut gate, Some(6_000));
    flow.settle(1_500_000);
    one_within_five_percent("more", &[&flow], 6_000.0);
    set(&mut gate, Some(1_000));
    flow.settle(400_000);
    one_within_five_percent("less", &[&flow], 1_000.0);
    assert_eq!((classes(&world, "br-lan").len(), classes(&world, "wan").len()), (1, 0));
    set(&mut gate, None);
    flow.settle(5_000_000);
    unharmed("no speed any more", measure(&[&flow])[0]);
    assert_eq!(classes(&world, "br-lan"), [""; 0]);
    flow.end();
    gate.apply(&[GateChange::Set(with_speed(account(1, &[1]), Some(2_000), Some(500)))], now()).unwrap();
    assert_eq!((classes(&world, "br-lan").len(), classes(&world, "wan").len()), (1, 1));
    gate.apply(&[GateChange::Remove(GateId(1))], now()).unwrap();
    assert_eq!((classes(&world, "br-lan").len(), classes(&world, "wan").len()), (0, 0), "gone with the session");
}

#[test]
fn a_speed_that_changes_loses_no_packet() {
    let (_alone, world) = alone();
    let mut gate = world.gate();
    let _echo = Server::udp(&world, Host::Internet, internet(4000), "e");
    // The next package begins: another speed, another end, another limit, all at once.
    let set = |gate: &mut gate::Gate, speed, megabytes: u64| {
        let limits =
            GateAccount { until: within_seconds(60 + megabytes), data_end: Some(Bytes(megabytes * 1_000_000)), ..account(1, &[1]) };
        gate.apply(&[GateChange::Set(with_speed(limits, speed, speed))], now()).unwrap();
    };
    set(&mut gate, Some(2_000), 100);
    let handles = || ["br-lan", "wan"].map(|link| queue_handle(&world, link));
    let before = handles();
    // 880 kbit/s with its headers, there and back: below each of the speeds.
    let stream = Stream::start(&world, Host::Phone1, internet(4000), Duration::from_millis(5), 500);
    let passed = |packets: u64| {
        let sent = |link| u64::from(class_counted(&world, link));
        let before = [sent("br-lan"), sent("wan")];
        eventually("packets pass", || (sent("br-lan") >= before[0] + packets && sent("wan") >= before[1] + packets).then_some(()));
    };
    passed(20);
    for round in 0..8 {
        for (speed, megabytes) in [(5_000, 200), (1_500, 300), (50_000, 400), (2_000, 500)] {
            set(&mut gate, Some(speed), megabytes + round);
            passed(10);
        }
    }
    assert_eq!(handles(), before, "the queues are the same ones: changed in place");
    // To a package without a speed, and back.
    set(&mut gate, None, 600);
    set(&mut gate, Some(3_000), 700);
    passed(20);
    let streamed = stream.stop();
    let lost = streamed.lost();
    println!("{} packets there and back over 34 changes, {} lost", streamed.sent, lost.len());
    assert!(streamed.sent >= 360, "{}", streamed.sent);
    assert_eq!(lost, [0u64; 0]);
}

#[test]
fn an_account_s_devices_share_its_speed() {
    let (_alone, world) = alone();
    let mut gate = world.gate();
    gate.apply(&[GateChange::Set(with_speed(account(1, &[1, 2]), None, Some(4_000)))], now()).unwrap();
    let first = Flow::start(&world, Host::Phone1, internet(4001), Way::Up);
    let second = Flow::start(&world, Host::Phone2, internet(4002), Way::Up);
    // Which of the two gets more is the queue's affair: bfifo may let one wait long.
    eventually("they flow", || (first.bytes() + second.bytes() > 500_000).then_some(()));
    within_five_percent("together", &[&first, &second], &[4_000.0], |both| vec![both[0] + both[1]]);
    first.end();
    second.end();
}

#[test]
fn two_customers_have_a_speed_each() {
    let (_alone, world) = alone();
    let mut gate = world.gate();
    let desired = [with_speed(account(1, &[1]), Some(2_000), None), with_speed(account(2, &[2]), Some(5_000), None)];
    gate.reconcile(&desired, now()).unwrap();
    let first = Flow::start(&world, Host::Phone1, internet(4001), Way::Down);
    let second = Flow::start(&world, Host::Phone2, internet(4002), Way::Down);
    first.settle(500_000);
    second.settle(1_000_000);
    within_five_percent("each", &[&first, &second], &[2_000.0, 5_000.0], <[f64]>::to_vec);
    first.end();
    second.end();
}

#[test]
fn a_daemon_that_starts_leaves_classes_alone_and_changes_only_the_difference() {
    let (_alone, world) = alone();
    let mut gate = world.gate();
    let one = with_speed(account(1, &[1]), Some(2_000), Some(2_000));
    gate.reconcile(&[one.clone(), with_speed(account(2, &[2]), Some(3_000), None)], now()).unwrap();
    let flow = Flow::start(&world, Host::Phone1, internet(4001), Way::Down);
    flow.settle(300_000);
    drop(gate);
    let kept = |link: &str| classes(&world, link).into_iter().filter(|line| !line.contains("rate 3150")).collect::<Vec<_>>();
    let before = (roots(&world), kept("br-lan"), kept("wan"));
    let sent = || {
        let text = tc(&world, "-s class show dev br-lan classid 4c61:8");
        text.split_whitespace().skip_while(|word| *word != "Sent").nth(1).unwrap().parse::<u64>().unwrap()
    };
    let counted = sent();
    assert!(counted > 300_000, "{counted} bytes went through the class");
    // A class that nobody has, as one that stayed of a crash.
    tc(&world, "class add dev br-lan parent 4c61: classid 4c61:99 htb rate 1mbit");
    let mut gate = world.gate();
    gate.reconcile(std::slice::from_ref(&one), now()).unwrap();
    assert_eq!((roots(&world), classes(&world, "br-lan"), classes(&world, "wan")), before, "the same handles, of the queues, too");
    assert!(sent() >= counted, "it went on counting");
    flow.settle(300_000);
    one_within_five_percent("after it", &[&flow], 2_000.0);
    // Another speed is told while nobody ran.
    drop(gate);
    let mut gate = world.gate();
    gate.reconcile(&[with_speed(one, Some(4_000), None)], now()).unwrap();
    flow.settle(1_000_000);
    one_within_five_percent("changed meanwhile", &[&flow], 4_000.0);
    assert_eq!(classes(&world, "wan"), [""; 0]);
    flow.end();
}

#[test]
fn with_the_table_gone_the_classes_stay_and_are_used_again() {
    let (_alone, world) = alone();
    let mut gate = world.gate();
    let desired = [with_speed(account(1, &[1]), Some(2_000), None), with_speed(account(2, &[2]), Some(3_000), None)];
    gate.reconcile(&desired, now()).unwrap();
    let before = (classes(&world, "br-lan"), world.nft(Host::Router, "list map inet lango down_class4"));
    world.nft(Host::Router, "delete table inet lango");
    gate.reconcile(&desired, now()).unwrap();
    assert_eq!((classes(&world, "br-lan"), world.nft(Host::Router, "list map inet lango down_class4")), before);
}

#[test]
fn without_speeds_no_interface_is_touched_and_flush_leaves_nothing() {
    let (_alone, world) = alone();
    let before = roots(&world);
    let mut gate = world.gate();
    gate.reconcile(&[account(1, &[1])], now()).unwrap();
    assert_eq!(roots(&world), before, "nobody has a speed");
    gate.apply(&[GateChange::Set(with_speed(account(1, &[1]), Some(2_000), Some(2_000)))], now()).unwrap();
    assert!(roots(&world).iter().all(|root| root.contains("qdisc htb 4c61: root")), "{:?}", roots(&world));
    gate.flush().unwrap();
    assert_eq!(roots(&world), before);
    // The same without a daemon.
    let mut gate = world.gate();
    gate.reconcile(&[with_speed(account(1, &[1]), Some(2_000), Some(2_000))], now()).unwrap();
    drop(gate);
    world.within(Host::Router, gate::flush).unwrap();
    assert_eq!(roots(&world), before);
    assert_eq!(classes(&world, "br-lan"), [""; 0]);
}

#[test]
fn where_speeds_are_expected_the_first_one_finds_the_interfaces_ready() {
    let (_alone, world) = alone();
    let before = roots(&world);
    let mut gate = world.gate();
    gate.expect_speeds();
    assert!(roots(&world).iter().all(|root| root.contains("qdisc htb 4c61: root")), "{:?}", roots(&world));
    // A root that was exchanged for another one, which costs packets, would not have these classes any more.
    let marker = |link| classes(&world, link).iter().any(|class| class.contains(" 4c61:77 "));
    let same = || ["br-lan", "wan"].into_iter().all(marker);
    for link in ["br-lan", "wan"] {
        tc(&world, &format!("class add dev {link} parent 4c61: classid 4c61:77 htb rate 1mbit"));
    }
    assert!(same());
    gate.apply(&[GateChange::Set(with_speed(account(1, &[1]), Some(2_000), Some(2_000)))], now()).unwrap();
    assert!(same() && classes(&world, "br-lan").len() == 2, "the first speed");
    drop(gate);
    let mut gate = world.gate();
    gate.expect_speeds();
    assert!(same() && classes(&world, "br-lan").len() == 2, "a daemon that starts again");
    gate.flush().unwrap();
    assert_eq!(roots(&world), before);
}

#[test]
fn an_interface_that_comes_later_is_ready_once_that_is_told() {
    let (_alone, world) = alone();
    ip(&format!("-n {} link del br-lan", world.name(Host::Router)));
    let mut gate = world.gate();
    gate.expect_speeds();
    tc(&world, "class add dev wan parent 4c61: classid 4c61:77 htb rate 1mbit");
    world.make_bridge();
    assert!(!roots(&world)[0].contains("4c61:"), "{:?}", roots(&world));
    gate.expect_speeds();
    assert!(roots(&world)[0].contains("qdisc htb 4c61: root"), "{:?}", roots(&world));
    assert!(classes(&world, "wan").iter().any(|class| class.contains(" 4c61:77 ")), "the one that was ready was not exchanged");
    gate.flush().unwrap();
}

#[test]
fn what_an_operator_put_there_stays() {
    let (_alone, world) = alone();
    tc(&world, "qdisc add dev wan root handle 7: pfifo limit 500");
    let before = roots(&world);
    let mut gate = world.gate();
    gate.reconcile(&[with_speed(account(1, &[1]), Some(2_000), Some(2_000))], now()).unwrap();
    assert_eq!(roots(&world)[1], before[1]);
    assert_eq!(classes(&world, "br-lan").len(), 1, "the other interface holds its speed");
    let flow = Flow::start(&world, Host::Phone1, internet(4001), Way::Up);
    flow.settle(5_000_000);
    unharmed("up", measure(&[&flow])[0]);
    flow.end();
    gate.flush().unwrap();
    assert_eq!(roots(&world), before);
}

/// What the daemon's loop does when it has nothing else to do.
fn finish(gate: &mut Gate) {
    while gate.busy_with_speeds() {
        gate.go_on_with_speeds();
    }
}

/// What it does at each reading of the counters, and after it.
fn look_after(gate: &mut Gate) {
    gate.usage().unwrap();
    finish(gate);
}

#[test]
fn an_interface_that_was_made_anew_has_its_speeds_again_at_the_next_look() {
    let (_alone, world) = alone();
    let mut gate = world.gate();
    let desired = [with_speed(account(1, &[1]), Some(2_000), None), with_speed(account(2, &[2]), Some(3_000), None)];
    gate.reconcile(&desired, now()).unwrap();
    let before = classes(&world, "br-lan").len();
    let router = world.name(Host::Router);
    ip(&format!("-n {router} link del br-lan"));
    gate.usage().unwrap();
    // Somebody comes while it is away: that is no error.
    gate.apply(&[GateChange::Set(with_speed(account(3, &[]), Some(3_000), None))], now()).unwrap();
    gate.apply(&[GateChange::Set(with_speed(account(1, &[1]), Some(4_000), None))], now()).unwrap();
    world.make_bridge();
    assert_eq!(classes(&world, "br-lan"), [""; 0]);
    look_after(&mut gate);
    assert_eq!(classes(&world, "br-lan").len(), before);
    let flow = Flow::start(&world, Host::Phone1, internet(4001), Way::Down);
    flow.settle(500_000);
    one_within_five_percent("again", &[&flow], 4_000.0);
    flow.end();
    // Somebody takes our root away.
    tc(&world, "qdisc del dev br-lan root");
    look_after(&mut gate);
    assert_eq!(classes(&world, "br-lan").len(), before);
    // An interface that is not there yet: the gate works without it.
    let mut other = world.try_gate(GateConfig { wan: "ppp9".into(), ..config() }).unwrap();
    other.reconcile(&[with_speed(account(1, &[1]), Some(4_000), Some(64))], now()).unwrap();
    assert_eq!(classes(&world, "br-lan").len(), 1);
}
