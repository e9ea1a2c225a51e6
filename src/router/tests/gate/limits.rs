//! Limits of time and data, as the kernel alone enforces them, and what it counts.

use crate::traffic::{Server, Stream, connection, is_reset, refused, socket_address, tcp_ask, udp_ask, udp_to};
use crate::world::{Host, INTERNET4, INTERNET6, World, account, addresses, eventually, ip, mac, now, of, total, within_seconds};
use lango::gate::GateEvent;
use lango_core::gate::{GateAccount, GateChange, GateDevice, GateId, Traffic};
use lango_core::units::{Bytes, Millis};
use std::io::{ErrorKind, Write};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// The most that a cut may be short by: one super-packet.
const SHORT_BY: u64 = 65_536;

fn limited(id: u32, phones: &[u8], data_end: u64) -> GateAccount {
    GateAccount { data_end: Some(Bytes(data_end)), ..account(id, phones) }
}

#[test]
fn both_directions_are_counted_to_the_byte_and_handed_back_at_the_end() {
    let world = World::new();
    let mut gate = world.gate();
    let _servers = [INTERNET4, INTERNET6].map(|address| Server::udp(&world, Host::Internet, socket_address(address, 4000), "e"));
    gate.apply(&[GateChange::Set(account(1, &[1])), GateChange::Set(account(2, &[2]))], now()).unwrap();
    for _ in 0..10 {
        world.within(Host::Phone1, || udp_ask(socket_address(INTERNET4, 4000), &[0; 100])).unwrap();
        world.within(Host::Phone2, || udp_ask(socket_address(INTERNET6, 4000), &[0; 100])).unwrap();
    }
    // Headers of IPv4 and UDP are 28 bytes, of IPv6 and UDP 48; the server's answer is one byte longer.
    let first = Traffic { up: Bytes(10 * 128), down: Bytes(10 * 129) };
    let second = Traffic { up: Bytes(10 * 148), down: Bytes(10 * 149) };
    let usage = gate.usage().unwrap();
    assert_eq!((of(&usage, 1, 1), of(&usage, 2, 2)), (first, second));
    let last = gate.apply(&[GateChange::Remove(GateId(1))], now()).unwrap();
    assert_eq!(last.len(), 1);
    assert_eq!(of(&last, 1, 1), first);
    assert!(refused(&world.within(Host::Phone1, || udp_ask(socket_address(INTERNET4, 4000), &[0; 100]))));
    // Until the store has them, the last counts can be read again; taken up again, the account goes on from there.
    assert_eq!(of(&gate.usage().unwrap(), 1, 1), first);
    let again = account(1, &[1]);
    gate.apply(&[GateChange::Set(again)], now()).unwrap();
    world.within(Host::Phone1, || udp_ask(socket_address(INTERNET4, 4000), &[0; 100])).unwrap();
    assert_eq!(of(&gate.usage().unwrap(), 1, 1), Traffic { up: Bytes(11 * 128), down: Bytes(11 * 129) });
    // Objects of those who went a minute ago go at the next change.
    gate.apply(&[GateChange::Remove(GateId(1))], now()).unwrap();
    gate.apply(&[], now().after(Millis::from_seconds(61))).unwrap();
    let rest = gate.usage().unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(of(&rest, 2, 2), second);
}

#[test]
fn counters_begin_with_what_was_counted_before() {
    let world = World::new();
    let mut gate = world.gate();
    let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
    let before = Traffic { up: Bytes(5_000_000_000), down: Bytes(7) };
    let device = GateDevice { addresses: addresses(1), traffic: before, ..GateDevice::default() };
    let mut given = account(1, &[]);
    given.devices.insert(mac(1), device);
    given.used = before.total();
    gate.apply(&[GateChange::Set(given)], now()).unwrap();
    world.within(Host::Phone1, || udp_ask(socket_address(INTERNET4, 4000), &[0; 100])).unwrap();
    assert_eq!(of(&gate.usage().unwrap(), 1, 1), Traffic { up: Bytes(5_000_000_128), down: Bytes(136) });
}

/// Two phones on one account, one sending and one being sent to, as fast as they can, until nothing passes any more.
fn exhaust(world: &World, gate: &mut lango::gate::Gate, id: u32) -> u64 {
    // A download by phone 2, and beside it all that phone 1 can send.
    let (mut near, mut far) = connection(world, Host::Phone2, socket_address(INTERNET6, 4001));
    let internet = socket_address(INTERNET4, 4000);
    let under_way = Arc::new(Barrier::new(2));
    let both = under_way.clone();
    let blast = world.spawn(Host::Phone1, move || {
        let socket = udp_to(internet);
        let begun = Instant::now();
        // Both shall have their part of it, whichever thread the machine runs first.
        (0..500).for_each(|_| assert_eq!(socket.send(&[0; 1400]).unwrap(), 1400));
        both.wait();
        while begun.elapsed() < Duration::from_secs(8) {
            match socket.send(&[0; 1400]) {
                // Refused: the router says so.
                Err(e) if matches!(e.kind(), ErrorKind::HostUnreachable | ErrorKind::PermissionDenied) => return,
                _ => {}
            }
        }
        panic!("the limit never came");
    });
    let download = world.spawn(Host::Internet, move || {
        under_way.wait();
        let block = vec![0; 1 << 16];
        while far.write_all(&block).is_ok() {}
    });
    let drain = std::thread::spawn(move || std::io::copy(&mut near, &mut std::io::sink()));
    blast.join().unwrap();
    let counted = |gate: &mut lango::gate::Gate| {
        let usage = gate.usage().unwrap();
        assert!(usage.iter().all(|u| u.id == GateId(id)));
        total(&usage)
    };
    let mut last = counted(gate);
    let settled = eventually("the counters stand still", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = counted(gate);
        (std::mem::replace(&mut last, now) == now).then_some(now)
    });
    download.join().unwrap();
    let _ = drain.join();
    settled
}

#[test]
fn the_data_limit_is_one_for_all_devices_and_both_ways_and_never_passed() {
    let world = World::new();
    let mut gate = world.gate();
    let _sink = world.within(Host::Internet, || std::net::UdpSocket::bind(socket_address(INTERNET4, 4000)).unwrap());
    let limit = 6_000_000;
    gate.apply(&[GateChange::Set(limited(1, &[1, 2], limit))], now()).unwrap();
    let counted = exhaust(&world, &mut gate, 1);
    assert!(counted <= limit && counted + SHORT_BY >= limit, "{counted} of {limit} bytes passed");
    let usage = gate.usage().unwrap();
    assert!(of(&usage, 1, 1).up.0 > 500_000, "phone 1 used its part: {usage:?}");
    assert!(of(&usage, 1, 2).down.0 > 500_000, "phone 2 used its part: {usage:?}");
    assert_eq!(gate.depleted().unwrap().into_iter().collect::<Vec<_>>(), [GateId(1)]);
    // Bought again when nothing was left: what was refused meanwhile is not counted against the customer.
    for limit in [9_000_000, 12_000_000] {
        let mut more = limited(1, &[1, 2], limit);
        more.used = Bytes(total(&gate.usage().unwrap()));
        let usage = gate.usage().unwrap();
        for (phone, device) in [1, 2].iter().zip(more.devices.values_mut()) {
            device.traffic = of(&usage, 1, *phone);
        }
        let begun = total(&usage);
        gate.apply(&[GateChange::Set(more)], now()).unwrap();
        assert!(gate.depleted().unwrap().is_empty());
        assert_eq!(total(&gate.usage().unwrap()), begun, "the counters go on");
        let counted = exhaust(&world, &mut gate, 1);
        assert!(counted <= limit && counted + SHORT_BY >= limit, "{counted} of {limit} bytes passed");
    }
}

#[test]
fn the_kernel_says_when_the_data_is_used_up() {
    let world = World::new();
    let heard = world.gate_events();
    let mut gate = world.gate();
    let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
    gate.apply(&[GateChange::Set(limited(77, &[1], 1_000))], now()).unwrap();
    for _ in 0..20 {
        let _ = world.within(Host::Phone1, || udp_ask(socket_address(INTERNET4, 4000), &[0; 100]));
    }
    assert_eq!(gate.depleted().unwrap(), [GateId(77)].into(), "who asks is told at once, by every kernel");
    let told = || heard.recv_timeout(Duration::from_secs(5)).map(|(event, _)| event);
    let event = told().or_else(|_| {
        println!("this kernel tells of it with the next change only");
        gate.apply(&[GateChange::Set(account(78, &[2]))], now()).unwrap();
        told()
    });
    assert_eq!(event.expect("no event came"), GateEvent::Depleted(GateId(77)));
    assert!(total(&gate.usage().unwrap()) <= 1_000);
}

#[test]
fn time_ends_by_itself_with_nobody_running() {
    let world = World::new();
    let mut gate = world.gate();
    let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
    let length = Duration::from_millis(1_500);
    let begun = Instant::now();
    let until = Some(now().after(Millis(1_500)));
    gate.apply(&[GateChange::Set(GateAccount { until, ..account(1, &[1]) })], now()).unwrap();
    drop(gate);
    let stream = Stream::start(&world, Host::Phone1, socket_address(INTERNET4, 4000), Duration::from_millis(5), 50);
    eventually("the end is past", || (begun.elapsed() > length + Duration::from_millis(500)).then_some(()));
    let streamed = stream.stop();
    let last = streamed.back.last().expect("it passed before").1.duration_since(begun);
    assert!(last <= length + Duration::from_millis(100), "the last packet came back after {last:?}");
    assert!(last >= length - Duration::from_millis(100), "the last packet came back after {last:?} already");
    // An account that ended by itself: taking it away finds nothing to take out, and yet hands back what it counted.
    let mut gate = world.gate();
    let counted = gate.apply(&[GateChange::Remove(GateId(1))], now()).unwrap();
    assert_eq!(of(&counted, 1, 1).down, Bytes(streamed.back.len() as u64 * (50 + 1 + 28)));
    // And put in again at once, while its old elements are not collected yet, it passes.
    let until = within_seconds(60);
    gate.apply(&[GateChange::Set(GateAccount { until, ..account(1, &[1]) })], now()).unwrap();
    world.within(Host::Phone1, || udp_ask(socket_address(INTERNET4, 4000), b"x")).unwrap();
}

#[test]
fn time_ends_at_one_moment_for_all_devices_and_both_families() {
    let world = World::new();
    let mut gate = world.gate();
    let _servers = [INTERNET4, INTERNET6].map(|address| Server::udp(&world, Host::Internet, socket_address(address, 4000), "e"));
    let length = Duration::from_millis(2_000);
    let begun = Instant::now();
    let until = Some(now().after(Millis(2_000)));
    gate.apply(&[GateChange::Set(GateAccount { until, ..account(1, &[1, 2]) })], now()).unwrap();
    drop(gate);
    let streams = [(Host::Phone1, INTERNET4), (Host::Phone1, INTERNET6), (Host::Phone2, INTERNET4), (Host::Phone2, INTERNET6)]
        .map(|(phone, address)| Stream::start(&world, phone, socket_address(address, 4000), Duration::from_millis(5), 50));
    eventually("the end is past", || (begun.elapsed() > length + Duration::from_millis(500)).then_some(()));
    let ends = streams.map(|stream| stream.stop().back.last().expect("it passed before").1.duration_since(begun));
    println!("the last packets came back after {ends:.1?}");
    let bound = Duration::from_millis(100);
    for end in ends {
        assert!(end.abs_diff(length) <= bound, "one of {ends:?} is not {length:?}");
    }
    assert!(*ends.iter().max().unwrap() - *ends.iter().min().unwrap() <= bound, "not at one moment: {ends:?}");
}

#[test]
fn a_moment_is_no_eternity() {
    let world = World::new();
    let mut gate = world.gate();
    let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
    // The kernel takes a timeout that rounds to no tick at all for none. An end in the past, or in this millisecond, must
    // not let anybody pass for ever.
    for length in [0, 1, 3, 9, 11] {
        let until = Some(now().after(Millis(length)));
        gate.apply(&[GateChange::Set(GateAccount { until, ..account(1, &[1]) })], now()).unwrap();
        eventually("it ends", || refused(&world.within(Host::Phone1, || udp_ask(socket_address(INTERNET4, 4000), b"x"))).then_some(()));
        let asked = world.within(Host::Phone1, || udp_ask(socket_address(INTERNET4, 4000), b"x"));
        assert!(refused(&asked), "{length} ms: {asked:?}");
    }
}

#[test]
fn sessions_that_come_and_go_at_the_moment_of_their_end_never_fail() {
    let world = World::new();
    let mut gate = world.gate();
    // The end of an element and the change of it race here, a hundred times, each a little differently.
    for round in 0..100u64 {
        let until = Some(now().after(Millis(25)));
        gate.apply(&[GateChange::Set(GateAccount { until, ..account(1, &[1, 2]) })], now()).unwrap();
        std::thread::sleep(Duration::from_micros(20_000 + round * 300)); // the race itself, not a wait for anything
        let change = match round % 3 {
            0 => GateChange::Remove(GateId(1)),
            1 => GateChange::Set(GateAccount { until: within_seconds(5), ..account(1, &[1]) }),
            _ => GateChange::Set(account(2, &[2])),
        };
        gate.apply(&[change], now()).unwrap();
        gate.apply(&[GateChange::Remove(GateId(1)), GateChange::Remove(GateId(2))], now()).unwrap();
        assert!(gate.installed().is_empty());
    }
}

#[test]
fn open_tcp_connections_are_reset_each_way_after_the_end() {
    let world = World::new();
    let mut gate = world.gate();
    for (port, address) in [(4001, INTERNET4), (4002, INTERNET6)] {
        gate.apply(&[GateChange::Set(account(1, &[1]))], now()).unwrap();
        let (mut near, far) = connection(&world, Host::Phone1, socket_address(address, port));
        let (near2, mut far2) = connection(&world, Host::Phone1, socket_address(address, port + 10));
        gate.apply(&[GateChange::Remove(GateId(1))], now()).unwrap();
        near.write_all(b"still there?").unwrap();
        assert!(is_reset(&mut near), "the phone learns it at its next packet ({address})");
        far2.write_all(b"still there?").unwrap();
        assert!(is_reset(&mut far2), "the far end learns it at its next packet ({address})");
        drop((far, near2));
    }
    let _server = Server::tcp(&world, Host::Internet, socket_address(INTERNET4, 443), "internet");
    assert!(refused(&world.within(Host::Phone1, || tcp_ask(socket_address(INTERNET4, 443)))));
}

#[test]
fn open_tcp_connections_are_reset_after_the_end_whatever_conntrack_still_knows() {
    let world = World::new();
    let mut gate = world.gate();
    ip(&format!("-n {} route add 10.77.0.0/24 via 192.0.2.2", world.name(Host::Internet)));
    for (port, address, translated) in [(4000, INTERNET4, true), (4001, INTERNET4, false), (4002, INTERNET6, false)] {
        if !translated && address == INTERNET4 {
            // From here on IPv4 takes the way that IPv6 takes.
            world.nft(Host::Router, "delete table ip standin");
        }
        gate.apply(&[GateChange::Set(account(1, &[1]))], now()).unwrap();
        let (mut near, far) = connection(&world, Host::Phone1, socket_address(address, port));
        let (near2, mut far2) = connection(&world, Host::Phone1, socket_address(address, port + 10));
        gate.apply(&[GateChange::Remove(GateId(1))], now()).unwrap();
        world.forget_connections();
        far2.write_all(b"still there?").unwrap();
        assert!(is_reset(&mut far2), "the far end learns it at its next packet ({address})");
        near.write_all(b"still there?").unwrap();
        assert!(is_reset(&mut near), "the phone learns it at its next packet ({address})");
        drop((far, near2));
        // What is new, and what is no TCP, still finds nobody there.
        let phone = if address == INTERNET4 { "10.77.0.11" } else { "fd77::11" };
        let asked = world.within(Host::Internet, || udp_ask(socket_address(phone, 7000), b"anyone?"));
        assert!(!refused(&asked) && asked.is_err(), "UDP from outside: {asked:?}");
        let begun =
            world.within(Host::Internet, || std::net::TcpStream::connect_timeout(&socket_address(phone, 7000), Duration::from_millis(300)));
        assert_eq!(begun.unwrap_err().kind(), ErrorKind::TimedOut, "TCP from outside");
    }
}

#[test]
fn buying_again_under_traffic_loses_no_packet_and_no_byte() {
    let world = World::new();
    let mut gate = world.gate();
    let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
    let mut bought = GateAccount { until: within_seconds(20), ..limited(1, &[1], 1_000_000) };
    gate.apply(&[GateChange::Set(bought.clone())], now()).unwrap();
    let stream = Stream::start(&world, Host::Phone1, socket_address(INTERNET4, 4000), Duration::from_millis(1), 100);
    for round in 0..40u64 {
        std::thread::sleep(Duration::from_millis(25)); // the pace of the changes; the stream goes on meanwhile
        bought.until = within_seconds(20 + round);
        bought.data_end = Some(Bytes(1_000_000 + round * 100_000));
        match round % 4 {
            1 => drop(bought.devices.insert(mac(2), GateDevice { addresses: addresses(2), ..GateDevice::default() })),
            3 => drop(bought.devices.remove(&mac(2))),
            _ => {}
        }
        gate.apply(&[GateChange::Set(bought.clone())], now()).unwrap();
    }
    let streamed = stream.stop();
    assert!(streamed.sent > 900, "only {} were sent", streamed.sent);
    assert_eq!(streamed.lost(), [0u64; 0], "of {}", streamed.sent);
    assert_eq!(of(&gate.usage().unwrap(), 1, 1), Traffic { up: Bytes(streamed.sent * 128), down: Bytes(streamed.sent * 129) });
}

#[test]
fn a_device_that_changes_its_account_is_on_the_new_one_only() {
    let world = World::new();
    let mut gate = world.gate();
    let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
    gate.apply(&[GateChange::Set(account(1, &[1, 2]))], now()).unwrap();
    world.within(Host::Phone1, || udp_ask(socket_address(INTERNET4, 4000), &[0; 100])).unwrap();
    let counted = gate.apply(&[GateChange::Set(account(2, &[1])), GateChange::Set(account(1, &[2]))], now()).unwrap();
    assert_eq!(of(&counted, 1, 1), Traffic { up: Bytes(128), down: Bytes(129) });
    world.within(Host::Phone1, || udp_ask(socket_address(INTERNET4, 4000), &[0; 100])).unwrap();
    world.within(Host::Phone2, || udp_ask(socket_address(INTERNET4, 4000), &[0; 50])).unwrap();
    let usage = gate.usage().unwrap();
    assert_eq!(of(&usage, 2, 1), Traffic { up: Bytes(128), down: Bytes(129) });
    assert_eq!(of(&usage, 1, 2), Traffic { up: Bytes(78), down: Bytes(79) });
}
