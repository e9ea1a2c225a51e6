//! Whose address a packet says it comes from.

use crate::traffic::{Server, socket_address, udp_ask};
use crate::world::{Host, INTERNET4, INTERNET6, Listening, World, account, eventually, ip, mac, now, of};
use lango::gate::{Sender, Senders};
use lango_core::gate::{GateAccount, GateChange};
use lango_core::units::Bytes;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What is heard of senders at the router.
fn listen(world: &World) -> Listening<Sender> {
    world.listen(async |ready, heard| {
        let mut senders = Senders::open().unwrap();
        ready();
        while let Ok(sender) = senders.next().await {
            heard.send(sender).unwrap();
        }
    })
}

/// Phone 2 takes an address that it does not answer for: what it sends from it goes out all the same.
fn takes(world: &World, address: &str) {
    let phone = world.name(Host::Phone2);
    world.within(Host::Phone2, || std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1").unwrap());
    let nodad = if address.contains(':') { " nodad" } else { "" };
    ip(&format!("-n {phone} addr add {address} dev lo{nodad}"));
}

fn send(world: &World, from: &str, to: &str) {
    world.within(Host::Phone2, || {
        let socket = UdpSocket::bind(socket_address(from, 0)).unwrap();
        socket.send_to(&[0; 100], socket_address(to, 4000)).unwrap();
    });
}

#[test]
fn a_paid_device_sends_with_no_other_one_s_address() {
    let world = World::new();
    let heard = listen(&world);
    let mut gate = world.gate();
    let _servers = [INTERNET4, INTERNET6].map(|to| Server::udp(&world, Host::Internet, socket_address(to, 4000), "e"));
    gate.apply(&[GateChange::Set(account(1, &[1])), GateChange::Set(account(2, &[2]))], now()).unwrap();
    for (victim, to) in [("10.77.0.11", INTERNET4), ("fd77::11", INTERNET6)] {
        takes(&world, victim);
        let before = world.arrived();
        let counted = gate.usage().unwrap();
        for _ in 0..5 {
            send(&world, victim, to);
        }
        for _ in 0..5 {
            let told = heard.recv_timeout(Duration::from_secs(5)).unwrap();
            assert_eq!(told, Sender { mac: mac(2), address: victim.parse().unwrap(), foreign: true });
        }
        // Its own address goes on; that answer also shows that what was sent before has been dealt with.
        assert_eq!(world.within(Host::Phone2, || udp_ask(socket_address(to, 4000), b"x")).unwrap(), b"ex");
        assert_eq!(world.arrived(), before + 1, "of six packets one arrived: {to}");
        let after = gate.usage().unwrap();
        assert_eq!(of(&after, 1, 1), of(&counted, 1, 1), "the other one's data is not touched");
        let used = of(&after, 2, 2).total().0 - of(&counted, 2, 2).total().0;
        assert!(used < 150, "what was refused is not counted: {used} bytes");
        // The owner is not disturbed.
        assert_eq!(world.within(Host::Phone1, || udp_ask(socket_address(to, 4000), b"x")).unwrap(), b"ex");
    }
    assert_eq!(heard.try_iter().count(), 0, "nothing else was told");
}

#[test]
fn a_new_address_passes_is_told_and_is_answered_once_it_is_known() {
    let world = World::new();
    let heard = listen(&world);
    let mut gate = world.gate();
    let servers = [INTERNET4, INTERNET6].map(|to| Server::udp(&world, Host::Internet, socket_address(to, 4000), "e"));
    let mut given = GateAccount { data_end: Some(Bytes(1_000_000)), ..account(2, &[2]) };
    gate.apply(&[GateChange::Set(given.clone())], now()).unwrap();
    let phone = world.name(Host::Phone2);
    for (number, (new, old, to)) in [("10.77.0.99", "10.77.0.12", INTERNET4), ("fd77::99", "fd77::12", INTERNET6)].into_iter().enumerate() {
        let rest = if to == INTERNET4 { "24 dev eth0" } else { "64 dev eth0 nodad" };
        ip(&format!("-n {phone} addr add {new}/{rest}"));
        send(&world, new, to);
        let told = heard.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(told, Sender { mac: mac(2), address: new.parse().unwrap(), foreign: false });
        given.devices.get_mut(&mac(2)).unwrap().addresses.insert(new.parse().unwrap());
        gate.apply(&[GateChange::Set(given.clone())], now()).unwrap();
        for address in [new, old] {
            let answer = world.within(Host::Phone2, || {
                let socket = UdpSocket::bind(socket_address(address, 0)).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                socket.send_to(b"x", socket_address(to, 4000)).unwrap();
                let mut buffer = [0; 10];
                socket.recv(&mut buffer).map(|length| buffer[..length].to_vec())
            });
            assert_eq!(answer.unwrap(), b"ex", "from {address}");
        }
        assert_eq!(servers[number].served(), 3, "the first one passed, too");
    }
    assert_eq!(heard.try_iter().count(), 0, "what is known is not told");
}

#[test]
fn a_device_that_nobody_learns_of_sends_little_from_new_addresses() {
    // No daemon listens: what is new stays so. Nobody is answered there, so that it is no customer's loss.
    let world = World::new();
    let mut gate = world.gate();
    gate.apply(&[GateChange::Set(account(1, &[1])), GateChange::Set(account(2, &[2]))], now()).unwrap();
    let phone = world.name(Host::Phone2);
    let _servers = [INTERNET4, INTERNET6].map(|to| Server::udp(&world, Host::Internet, socket_address(to, 4000), "e"));
    // They do not answer: what is refused on the way back is not to be seen here.
    let _silent = [INTERNET4, INTERNET6].map(|to| world.within(Host::Internet, || UdpSocket::bind(socket_address(to, 4001)).unwrap()));
    let begun = Instant::now();
    for number in 0..10 {
        for (new, to) in [(format!("10.77.0.{}", 100 + number), INTERNET4), (format!("fd77::1:{number}"), INTERNET6)] {
            let rest = if to == INTERNET4 { "24 dev eth0" } else { "64 dev eth0 nodad" };
            ip(&format!("-n {phone} addr add {new}/{rest}"));
            world.within(Host::Phone2, || {
                let socket = UdpSocket::bind(socket_address(&new, 0)).unwrap();
                for _ in 0..100 {
                    let _ = socket.send_to(&[0; 1_000], socket_address(to, 4001));
                }
            });
        }
    }
    // Its own address shows that what was sent before has been dealt with, and is not held to that.
    for (from, to) in [("10.77.0.12", INTERNET4), ("fd77::12", INTERNET6)] {
        for _ in 0..100 {
            let answer = world.within(Host::Phone2, || {
                let socket = UdpSocket::bind(socket_address(from, 0)).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                socket.send_to(&[0; 1_000], socket_address(to, 4000)).unwrap();
                socket.recv(&mut [0; 2_000])
            });
            assert_eq!(answer.unwrap(), 1_001, "from {from}");
        }
    }
    let most = (65_536 + 1_024 + 1_024 * (begun.elapsed().as_secs() + 1)) / 1_028;
    let arrived = world.arrived() - 200;
    assert!((10..=most).contains(&arrived), "{arrived} of 2000 arrived, {most} at most");
    let counted = of(&gate.usage().unwrap(), 2, 2).up.0;
    assert!(counted <= (arrived + 200) * 1_048, "what was refused is not counted: {counted} bytes, {arrived} arrived");
    // Another device's new address has its own room.
    ip(&format!("-n {} addr add 10.77.0.99/24 dev eth0", world.name(Host::Phone1)));
    let before = world.arrived();
    world.within(Host::Phone1, || {
        let socket = UdpSocket::bind(socket_address("10.77.0.99", 0)).unwrap();
        socket.send_to(&[0; 1_000], socket_address(INTERNET4, 4001)).unwrap();
    });
    eventually("the other one's first packet", || (world.arrived() == before + 1).then_some(()));
}

#[test]
fn a_device_that_floods_from_new_addresses_keeps_nobody_else_s_from_being_told() {
    let world = World::new();
    let heard = listen(&world);
    let mut gate = world.gate();
    gate.apply(&[GateChange::Set(account(1, &[1])), GateChange::Set(account(2, &[2]))], now()).unwrap();
    ip(&format!("-n {} addr add fd77::99/64 dev eth0 nodad", world.name(Host::Phone1)));
    ip(&format!("-n {} addr add fd77::66/64 dev eth0 nodad", world.name(Host::Phone2)));
    let (sent, over, begun) = (AtomicU32::new(0), AtomicBool::new(false), Instant::now());
    let mut of_the_flood = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            world.within(Host::Phone2, || {
                let socket = UdpSocket::bind(socket_address("fd77::66", 0)).unwrap();
                while !over.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(30) {
                    let _ = socket.send_to(b"x", socket_address(INTERNET6, 4000));
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        // Far more than all devices together are told of in that time.
        eventually("the flood", || (sent.load(Ordering::Relaxed) > 5_000).then_some(()));
        world.within(Host::Phone1, || {
            let socket = UdpSocket::bind(socket_address("fd77::99", 0)).unwrap();
            socket.send_to(b"x", socket_address(INTERNET6, 4000)).unwrap();
        });
        let until = Instant::now() + Duration::from_secs(3);
        let told = loop {
            match heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Sender { mac: from, .. }) if from == mac(2) => of_the_flood += 1,
                told => break told,
            }
        };
        over.store(true, Ordering::Relaxed);
        assert_eq!(told, Ok(Sender { mac: mac(1), address: "fd77::99".parse().unwrap(), foreign: false }));
    });
    let most = 20 + 10 * (begun.elapsed().as_secs() + 1);
    assert!((1..=most).contains(&of_the_flood), "{of_the_flood} of {} were told, {most} at most", sent.into_inner());
}

#[test]
fn data_used_up_is_no_foreign_address() {
    let world = World::new();
    let heard = listen(&world);
    let mut gate = world.gate();
    gate.apply(&[GateChange::Set(GateAccount { data_end: Some(Bytes(10)), ..account(2, &[2]) })], now()).unwrap();
    let asked = world.within(Host::Phone2, || udp_ask(socket_address(INTERNET4, 4000), b"anyone?"));
    assert!(crate::traffic::refused(&asked), "{asked:?}");
    assert_eq!(heard.try_iter().count(), 0);
    assert_eq!(of(&gate.usage().unwrap(), 2, 2).up, Bytes(0));
}
