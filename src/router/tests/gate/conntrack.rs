//! What stays of a device's connections after its end: nothing that was forwarded.

use crate::traffic::{Server, connection, is_reset, refused, socket_address, udp_ask, udp_to};
use crate::world::{Host, INTERNET4, INTERNET6, PORTAL_PORT, ROUTER4, World, account, addresses, eventually, mac, now, within_seconds};
use lango::gate::{Gate, Purged};
use lango_core::gate::{GateAccount, GateChange, GateDevice, GateId};
use lango_core::time::Monotonic;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::time::Instant;

/// The lines of the router's own list of tracked connections that name all of these.
pub fn tracked(world: &World, words: &[&str]) -> Vec<String> {
    let list = world.within(Host::Router, || std::fs::read_to_string("/proc/thread-self/net/nf_conntrack"));
    let list = list.expect("the tests of the gate need a kernel that lists connections (CONFIG_NF_CONNTRACK_PROCFS)");
    // Both IPs are written without abbreviations there.
    let lines = list.lines().map(|line| format!("{line} ").replace("0000:", "0:").replace(":0", ":"));
    lines.filter(|line| words.iter().all(|word| line.contains(&format!("{word} ")))).collect()
}

/// Deletes what is due at that moment.
fn clean(world: &World, gate: &mut Gate, at: Monotonic) -> Option<Purged> {
    let cleaning = gate.cleaning(at)?;
    Some(world.within(Host::Router, || cleaning.run()).unwrap())
}

/// A gate that has cleaned up what it found when it came.
pub fn settled(world: &World) -> Gate {
    let mut gate = world.gate();
    gate.reconcile(&[], now()).unwrap();
    clean(world, &mut gate, now()).expect("a gate that takes over cleans up");
    assert_eq!(gate.cleaning_due(), None);
    gate
}

const PHONE4: &str = "src=10.77.0.11";
const TO_INTERNET4: &str = "src=192.0.2.1";

#[test]
fn both_ends_of_open_connections_are_reset_and_the_portal_s_goes_on() {
    let world = World::new();
    let mut gate = settled(&world);
    let paid = [GateChange::Set(account(1, &[1])), GateChange::Set(account(2, &[2]))];
    gate.apply(&paid, now()).unwrap();
    let portal = world.within(Host::Router, || TcpListener::bind(socket_address(ROUTER4, PORTAL_PORT)).unwrap());
    let mut page = world.within(Host::Phone1, || std::net::TcpStream::connect(socket_address(ROUTER4, PORTAL_PORT)).unwrap());
    let (mut server, _) = portal.accept().unwrap();
    let mut still_open = || {
        let mut word = [0; 4];
        page.write_all(b"ask?").unwrap();
        server.read_exact(&mut word).unwrap();
        server.write_all(b"page").unwrap();
        page.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"page");
    };
    still_open();
    let other = connection(&world, Host::Phone2, socket_address(INTERNET4, 4900));
    for (port, address) in [(4001, INTERNET4), (4002, INTERNET6)] {
        // Four connections: two that are in use at the end, and two that are not.
        let mut open: Vec<_> = (0..4).map(|n| connection(&world, Host::Phone1, socket_address(address, port + n * 10))).collect();
        gate.apply(&[GateChange::Remove(GateId(1))], now()).unwrap();
        let ended = now();
        let due = gate.cleaning_due().expect("the connections are to go");
        assert!((3_000..=4_001).contains(&due.since(ended).0), "{} ms after the end", due.since(ended).0);
        assert_eq!(clean(&world, &mut gate, Monotonic(due.0 - 1)), None, "not before that");
        open[0].0.write_all(b"still there?").unwrap();
        assert!(is_reset(&mut open[0].0), "the phone learns it at its next packet ({address})");
        open[1].1.write_all(b"still there?").unwrap();
        assert!(is_reset(&mut open[1].1), "the far end learns it at its next packet ({address})");
        let purged = clean(&world, &mut gate, due).expect("they go");
        assert_eq!((purged.deleted, purged.held), (4, 0), "{purged:?}");
        open[2].0.write_all(b"still there?").unwrap();
        assert!(is_reset(&mut open[2].0), "the phone learns it after that, too ({address})");
        open[3].1.write_all(b"still there?").unwrap();
        assert!(is_reset(&mut open[3].1), "and so does the far end: of the router itself, or of the gate ({address})");
        still_open();
        assert_eq!(gate.cleaning_due(), None);
        gate.apply(&paid, now()).unwrap();
    }
    assert_eq!(tracked(&world, &[PHONE4, TO_INTERNET4]), [""; 0]);
    assert_eq!(tracked(&world, &[PHONE4, "dst=10.77.0.1", "dport=8088"]).len(), 1, "the page's own is there");
    assert_eq!(tracked(&world, &["src=10.77.0.12", TO_INTERNET4, "dport=4900"]).len(), 1, "nobody else lost one");
    drop(other);
}

#[test]
fn a_stream_of_datagrams_ends_and_begins_anew_with_the_next_purchase() {
    let world = World::new();
    let mut gate = settled(&world);
    let servers = [INTERNET4, INTERNET6].map(|address| Server::udp(&world, Host::Internet, socket_address(address, 4000), "e"));
    let dns = Server::udp(&world, Host::Router, socket_address(ROUTER4, 53), "d");
    let streams = [INTERNET4, INTERNET6].map(|address| world.within(Host::Phone1, || udp_to(socket_address(address, 4000))));
    let passes = |stream: &UdpSocket| {
        let mut buffer = [0; 8];
        stream.send(b"x").and_then(|_| stream.recv(&mut buffer)).is_ok()
    };
    let local = streams[0].local_addr().unwrap().port();
    let entry = || tracked(&world, &[PHONE4, "dport=4000", &format!("sport={local}")]);
    gate.apply(&[GateChange::Set(account(1, &[1]))], now()).unwrap();
    world.within(Host::Phone1, || udp_ask(socket_address(ROUTER4, 53), b"x")).unwrap();
    assert!(streams.iter().all(passes));
    assert_eq!(entry().len(), 1);
    gate.apply(&[GateChange::Remove(GateId(1))], now()).unwrap();
    // The first may tell a refusal that is still under way; nothing passes in any case.
    let served = || servers.iter().map(Server::served).sum::<u64>();
    let before = served();
    assert!(!streams.iter().any(passes) && !streams.iter().any(passes));
    let due = gate.cleaning_due().unwrap();
    assert_eq!(clean(&world, &mut gate, due).unwrap().deleted, 2);
    assert!(!streams.iter().any(passes));
    assert_eq!((served(), entry()), (before, vec![]));
    assert_eq!(tracked(&world, &[PHONE4, "dport=53"]).len(), 1, "what goes to the router itself stays");
    gate.apply(&[GateChange::Set(account(1, &[1]))], now()).unwrap();
    assert!(streams.iter().all(|stream| eventually("it passes again", || passes(stream).then_some(true))));
    assert_eq!(entry().len(), 1, "a new one");
    drop(dns);
}

#[test]
fn who_buys_again_at_once_keeps_the_connections() {
    let world = World::new();
    let mut gate = settled(&world);
    gate.apply(&[GateChange::Set(account(1, &[1]))], now()).unwrap();
    let (mut near, mut far) = connection(&world, Host::Phone1, socket_address(INTERNET4, 4001));
    gate.apply(&[GateChange::Remove(GateId(1))], now()).unwrap();
    gate.apply(&[GateChange::Set(account(2, &[1]))], now()).unwrap();
    let due = gate.cleaning_due().unwrap();
    assert_eq!(clean(&world, &mut gate, due), None);
    assert_eq!(gate.cleaning_due(), None);
    let mut word = [0; 5];
    near.write_all(b"hello").unwrap();
    far.read_exact(&mut word).unwrap();
    assert_eq!(tracked(&world, &[PHONE4, "dport=4001"]).len(), 1);
}

#[test]
fn an_address_that_another_device_got_begins_anew_at_once() {
    let world = World::new();
    let mut gate = settled(&world);
    let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
    gate.apply(&[GateChange::Set(account(1, &[1])), GateChange::Set(account(2, &[2]))], now()).unwrap();
    world.within(Host::Phone1, || udp_ask(socket_address(INTERNET4, 4000), b"x")).unwrap();
    assert_eq!(tracked(&world, &[PHONE4, "dport=4000"]).len(), 1);
    // Phone 2 now has the address that phone 1 had.
    let mut second = account(2, &[]);
    second.devices.insert(mac(2), GateDevice { addresses: addresses(1), ..GateDevice::default() });
    let mut first = account(1, &[]);
    first.devices.insert(mac(1), GateDevice { addresses: addresses(2), ..GateDevice::default() });
    gate.apply(&[GateChange::Set(first), GateChange::Set(second)], now()).unwrap();
    assert!(gate.cleaning_due().unwrap() <= now());
    assert_eq!(clean(&world, &mut gate, now()).unwrap().deleted, 1);
    assert_eq!(tracked(&world, &[PHONE4, "dport=4000"]), [""; 0]);
    assert_eq!(gate.cleaning_due(), None);
}

#[test]
fn what_ended_while_nobody_ran_is_cleaned_by_who_takes_over() {
    let world = World::new();
    let mut gate = settled(&world);
    let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
    let _portal = Server::udp(&world, Host::Router, socket_address(ROUTER4, 53), "d");
    let ends = GateAccount { until: Some(now().after(lango_core::units::Millis(700))), ..account(1, &[1]) };
    let stays = GateAccount { until: within_seconds(60), ..account(2, &[2]) };
    gate.apply(&[GateChange::Set(ends), GateChange::Set(stays.clone())], now()).unwrap();
    drop(gate);
    let asking = [Host::Phone1, Host::Phone2, Host::Router].map(|host| world.within(host, || udp_to(socket_address(INTERNET4, 4000))));
    let ask = |socket: &UdpSocket| socket.send(b"x").and_then(|_| socket.recv(&mut [0; 8]));
    assert!(asking.iter().all(|socket| ask(socket).is_ok()));
    world.within(Host::Phone1, || udp_ask(socket_address(ROUTER4, 53), b"x")).unwrap();
    eventually("it ends", || refused(&ask(&asking[0])).then_some(()));
    assert_eq!(tracked(&world, &["dport=4000"]).len(), 3);
    let mut gate = world.gate();
    assert_eq!(gate.cleaning_due(), None, "not before it is known who may pass");
    gate.reconcile(&[stays], now()).unwrap();
    let purged = clean(&world, &mut gate, now()).unwrap();
    assert_eq!(purged.deleted, 1, "{purged:?}");
    assert_eq!(tracked(&world, &[PHONE4, "dport=4000"]), [""; 0]);
    assert_eq!(tracked(&world, &["dport=4000"]).len(), 2, "who may pass and the router itself lost none");
    assert_eq!(tracked(&world, &[PHONE4, "dport=53"]).len(), 1);
    // The account that ended is dealt with as any other that ends; nothing of it is there any more.
    if let Some(due) = gate.cleaning_due() {
        assert_eq!(clean(&world, &mut gate, due).map(|purged| purged.deleted), Some(0));
    }
}

#[test]
fn one_device_among_twenty_thousand_connections() {
    const CONNECTIONS: u32 = 20_000;
    let world = World::new();
    let mut gate = settled(&world);
    let both = [GateChange::Set(account(1, &[1])), GateChange::Set(account(2, &[2]))];
    gate.apply(&both, now()).unwrap();
    // Phone 2 has all of them but one.
    world.within(Host::Phone2, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for number in 0..CONNECTIONS {
            let port = 1_024 + u16::try_from(number).unwrap();
            // The far end refuses, now and then that is heard here.
            while socket.send_to(b"x", socket_address(INTERNET4, port)).is_err() {}
        }
    });
    let count = || -> u32 {
        let path = "/proc/sys/net/netfilter/nf_conntrack_count";
        world.within(Host::Router, || std::fs::read_to_string(path)).unwrap().trim().parse().unwrap()
    };
    eventually("they are tracked", || (count() >= CONNECTIONS).then_some(()));
    let ends = |gate: &mut Gate, id: u32, expected: u64| {
        gate.apply(&[GateChange::Remove(GateId(id))], now()).unwrap();
        let (cleaning, tracked) = (gate.cleaning(gate.cleaning_due().unwrap()).unwrap(), count());
        let begun = Instant::now();
        let purged = world.within(Host::Router, || cleaning.run()).unwrap();
        println!("{} connections told of {tracked}, {} deleted, within {:?}", purged.seen, purged.deleted, begun.elapsed());
        assert_eq!(purged.deleted, expected);
        purged.seen
    };
    // With few addresses the kernel itself looks for them; with many, all are told.
    for more in [0u8, 6] {
        let mut first = account(1, &[1]);
        first.devices.get_mut(&mac(1)).unwrap().addresses.extend((0..more).map(|n| IpAddr::from([10, 77, 0, 100 + n])));
        gate.apply(&[GateChange::Set(first)], now()).unwrap();
        let socket = world.within(Host::Phone1, || udp_to(socket_address(INTERNET4, 4000)));
        socket.send(b"x").unwrap();
        eventually("it is tracked", || (tracked(&world, &[PHONE4, "dport=4000"]).len() == 1).then_some(()));
        let seen = ends(&mut gate, 1, 1);
        assert!((seen >= u64::from(CONNECTIONS)) == (more > 0), "{seen} were told");
    }
    ends(&mut gate, 2, u64::from(CONNECTIONS));
}
