//! What a device that has not paid reaches, and what not.

use crate::traffic::{Server, refused, socket_address, tcp_ask, udp_ask};
use crate::world::{Host, INTERNET4, INTERNET6, PORTAL_PORT, ROUTER4, ROUTER6, World, account, ip, now};
use lango_core::gate::{GateChange, GateId};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket};
use std::os::fd::AsRawFd;

/// The internet host in both IPs, and the router.
const BOTH: [(&str, &str); 2] = [(INTERNET4, ROUTER4), (INTERNET6, ROUTER6)];

/// A GRE packet: a tunnel's beginning.
fn tunnel(from: [u8; 4], to: [u8; 4]) {
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).unwrap();
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 47, 0, 0];
    packet.extend(from);
    packet.extend(to);
    packet.extend([0, 0, 8, 0, 1, 2, 3, 4]);
    let [a, b, c, d] = to;
    sendto(raw.as_raw_fd(), &packet, &SockaddrIn::new(a, b, c, d, 0), MsgFlags::empty()).unwrap();
}

#[test]
fn a_captive_device_reaches_nothing_outside_by_any_protocol() {
    let world = World::new();
    let mut gate = world.gate();
    let servers: Vec<_> = BOTH
        .iter()
        .flat_map(|(internet, _)| {
            [
                Server::udp(&world, Host::Internet, socket_address(internet, 4000), "e"),
                Server::udp(&world, Host::Internet, socket_address(internet, 443), "e"),
                Server::tcp(&world, Host::Internet, socket_address(internet, 443), "internet"),
            ]
        })
        .collect();
    for (internet, _) in BOTH {
        for port in [4000, 443] {
            let asked = world.within(Host::Phone1, || udp_ask(socket_address(internet, port), b"anyone?"));
            assert!(refused(&asked), "UDP to {internet}:{port}: {asked:?}");
        }
        let fragmented = world.within(Host::Phone1, || udp_ask(socket_address(internet, 4000), &[7; 5000]));
        assert!(refused(&fragmented), "fragments to {internet}: {fragmented:?}");
        let asked = world.within(Host::Phone1, || tcp_ask(socket_address(internet, 443)));
        assert!(refused(&asked), "TCP to {internet}: {asked:?}");
        assert!(!world.ping(Host::Phone1, internet, "56"), "ICMP to {internet}");
        assert!(!world.ping(Host::Phone1, internet, "4000"), "fragmented ICMP to {internet}");
    }
    world.within(Host::Phone1, || tunnel([10, 77, 0, 11], [192, 0, 2, 1]));
    // Another customer's way past the same router, made after all that, shows that what was sent has been dealt with.
    gate.apply(&[GateChange::Set(account(2, &[2]))], now()).unwrap();
    assert_eq!(world.arrived(), 0, "nothing of a captive device's may arrive");
    for (internet, _) in BOTH {
        assert_eq!(world.within(Host::Phone2, || udp_ask(socket_address(internet, 4000), b"x")).unwrap(), b"ex");
        assert_eq!(world.within(Host::Phone2, || udp_ask(socket_address(internet, 4000), &[7; 5000])).unwrap().len(), 5001);
        assert_eq!(world.within(Host::Phone2, || tcp_ask(socket_address(internet, 443))).unwrap(), "internet");
        assert!(world.ping(Host::Phone2, internet, "56") && world.ping(Host::Phone2, internet, "4000"));
    }
    let before = world.arrived();
    world.within(Host::Phone2, || tunnel([10, 77, 0, 12], [192, 0, 2, 1]));
    assert_eq!(world.arrived(), before + 1, "a paid device's tunnel packet is one that arrives");
    drop(servers);
}

#[test]
fn port_80_and_dns_of_captive_devices_go_to_the_router() {
    let world = World::new();
    let mut gate = world.gate();
    let mut servers = Vec::new();
    for (internet, router) in BOTH {
        servers.push(Server::tcp(&world, Host::Internet, socket_address(internet, 80), "internet"));
        servers.push(Server::udp(&world, Host::Internet, socket_address(internet, 53), "internet "));
        servers.push(Server::tcp(&world, Host::Internet, socket_address(internet, 53), "internet"));
        servers.push(Server::udp(&world, Host::Router, socket_address(router, 53), "router "));
        servers.push(Server::tcp(&world, Host::Router, socket_address(router, 53), "router"));
    }
    servers.push(Server::tcp(&world, Host::Router, socket_address("::", PORTAL_PORT), "portal"));
    for (internet, router) in BOTH {
        let tcp = |to: &str, port| world.within(Host::Phone1, || tcp_ask(socket_address(to, port))).unwrap();
        assert_eq!(tcp(internet, 80), "portal");
        assert_eq!(tcp(router, 80), "portal");
        assert_eq!(tcp(router, PORTAL_PORT), "portal", "the portal's own port just works");
        assert_eq!(tcp(internet, 53), "router");
        let dns = |to: &str| world.within(Host::Phone1, || udp_ask(socket_address(to, 53), b"?")).unwrap();
        assert_eq!(dns(internet), b"router ?");
        assert_eq!(dns(router), b"router ?");
    }
    assert_eq!(world.arrived(), 0);
    gate.apply(&[GateChange::Set(account(1, &[1]))], now()).unwrap();
    for (internet, router) in BOTH {
        let tcp = |to: &str, port| world.within(Host::Phone1, || tcp_ask(socket_address(to, port))).unwrap();
        assert_eq!(tcp(internet, 80), "internet", "a paid device's port 80 is its own");
        assert_eq!(tcp(router, PORTAL_PORT), "portal");
        assert_eq!(world.within(Host::Phone1, || udp_ask(socket_address(internet, 53), b"?")).unwrap(), b"internet ?");
    }
    gate.apply(&[GateChange::Remove(GateId(1))], now()).unwrap();
    assert_eq!(world.within(Host::Phone1, || tcp_ask(socket_address(INTERNET4, 80))).unwrap(), "portal");
}

#[test]
fn nobody_among_the_customers_reaches_other_services_of_the_router() {
    let world = World::new();
    let mut gate = world.gate();
    let servers: Vec<_> = [ROUTER4, ROUTER6, "192.0.2.2", "2001:db8:1::2"]
        .iter()
        .flat_map(|router| {
            [
                Server::tcp(&world, Host::Router, socket_address(router, 22), "ssh"),
                Server::udp(&world, Host::Router, socket_address(router, 161), "snmp"),
            ]
        })
        .collect();
    gate.apply(&[GateChange::Set(account(2, &[2]))], now()).unwrap();
    for phone in [Host::Phone1, Host::Phone2] {
        for router in [ROUTER4, ROUTER6, "192.0.2.2", "2001:db8:1::2"] {
            let tcp = world.within(phone, || tcp_ask(socket_address(router, 22)));
            assert!(refused(&tcp), "{phone:?} to {router}: {tcp:?}");
            let udp = world.within(phone, || udp_ask(socket_address(router, 161), b"?"));
            assert!(refused(&udp), "{phone:?} to {router}: {udp:?}");
        }
        assert!(world.ping(phone, ROUTER4, "56") && world.ping(phone, ROUTER6, "56"));
    }
    assert!(servers.iter().all(|server| server.served() == 0));
    // From the other side, and from the router itself, they are none of our business.
    assert_eq!(world.within(Host::Internet, || tcp_ask(socket_address("192.0.2.2", 22))).unwrap(), "ssh");
    assert_eq!(world.within(Host::Router, || tcp_ask(socket_address(ROUTER4, 22))).unwrap(), "ssh");
    // What the router itself asks of a customer is answered.
    let phone_serves = Server::udp(&world, Host::Phone1, socket_address("10.77.0.11", 7000), "phone ");
    assert_eq!(world.within(Host::Router, || udp_ask(socket_address("10.77.0.11", 7000), b"?")).unwrap(), b"phone ?");
    drop(phone_serves);
}

#[test]
fn customers_do_not_reach_each_other_through_the_router() {
    let world = World::new();
    let mut gate = world.gate();
    gate.apply(&[GateChange::Set(account(1, &[1])), GateChange::Set(account(2, &[2]))], now()).unwrap();
    let server = Server::udp(&world, Host::Phone2, socket_address("10.77.0.12", 7000), "phone ");
    let ask = || world.within(Host::Phone1, || udp_ask(socket_address("10.77.0.12", 7000), b"?"));
    assert_eq!(ask().unwrap(), b"phone ?", "past the router, on the same wire, they can");
    ip(&format!("-n {} route add 10.77.0.12/32 via {ROUTER4}", world.name(Host::Phone1)));
    assert!(refused(&ask()));
    assert_eq!(server.served(), 1);
}

#[test]
fn nobody_outside_reaches_a_captive_device_or_hears_of_it() {
    let world = World::new();
    let mut gate = world.gate();
    let server = Server::udp(&world, Host::Phone1, socket_address("fd77::11", 7000), "phone ");
    let listener = Server::tcp(&world, Host::Phone1, socket_address("fd77::11", 7001), "phone");
    let ask = || world.within(Host::Internet, || udp_ask(socket_address("fd77::11", 7000), b"?"));
    let silence = ask().unwrap_err();
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock, "no answer at all");
    let connect = world.within(Host::Internet, || tcp_ask(socket_address("fd77::11", 7001))).unwrap_err();
    assert_eq!(connect.kind(), std::io::ErrorKind::TimedOut, "no answer at all");
    assert_eq!(server.served() + listener.served(), 0);
    gate.apply(&[GateChange::Set(account(1, &[1]))], now()).unwrap();
    assert_eq!(ask().unwrap(), b"phone ?", "a paid device is on the internet");
}

#[test]
fn the_walled_garden_is_open_to_all_and_nothing_beside_it() {
    let world = World::new();
    let mut gate = world.gate();
    let _servers = [
        Server::tcp(&world, Host::Internet, socket_address(INTERNET4, 443), "internet"),
        Server::tcp(&world, Host::Internet, socket_address(INTERNET4, 80), "internet"),
        Server::udp(&world, Host::Internet, socket_address(INTERNET6, 4000), "e"),
    ];
    gate.renew_garden(&[INTERNET4.parse().unwrap(), INTERNET6.parse().unwrap()], now()).unwrap();
    assert_eq!(world.within(Host::Phone1, || tcp_ask(socket_address(INTERNET4, 443))).unwrap(), "internet");
    assert_eq!(world.within(Host::Phone1, || tcp_ask(socket_address(INTERNET4, 80))).unwrap(), "internet");
    assert_eq!(world.within(Host::Phone1, || udp_ask(socket_address(INTERNET6, 4000), b"x")).unwrap(), b"ex");
    assert!(gate.usage().unwrap().is_empty(), "nothing of it is on anybody's account");
    gate.empty_garden().unwrap();
    assert!(refused(&world.within(Host::Phone1, || udp_ask(socket_address(INTERNET6, 4000), b"x"))));
    assert!(refused(&world.within(Host::Phone1, || tcp_ask(socket_address(INTERNET4, 443)))));
    gate.renew_garden(&[INTERNET4.parse().unwrap()], now()).unwrap();
    assert!(refused(&world.within(Host::Phone1, || udp_ask(socket_address(INTERNET6, 4000), b"x"))));
    assert_eq!(world.within(Host::Phone1, || tcp_ask(socket_address(INTERNET4, 443))).unwrap(), "internet");
}

#[test]
fn connections_are_kept_out_of_flowtables_and_expect_nothing() {
    let world = World::new();
    let mut gate = world.gate();
    let table = world.nft(Host::Router, "list table inet lango");
    assert!(table.contains("ct expectation whole {") && table.contains("size 0"), "the object: {table}");
    assert_eq!(table.matches("ct state related,new ct expectation set \"whole\"").count(), 2, "a rule each way: {table}");
    gate.apply(&[GateChange::Set(account(1, &[1]))], now()).unwrap();
    for (internet, _) in BOTH {
        let _udp = Server::udp(&world, Host::Internet, socket_address(internet, 4000), "e");
        let _tcp = Server::tcp(&world, Host::Internet, socket_address(internet, 443), "internet");
        assert_eq!(world.within(Host::Phone1, || udp_ask(socket_address(internet, 4000), b"x")).unwrap(), b"ex");
        assert_eq!(world.within(Host::Phone1, || tcp_ask(socket_address(internet, 443))).unwrap(), "internet");
        assert!(world.ping(Host::Phone1, internet, "56"));
    }
    // From outside, too, where no address is translated.
    let _phone = Server::udp(&world, Host::Phone1, socket_address("fd77::11", 7000), "phone ");
    assert_eq!(world.within(Host::Internet, || udp_ask(socket_address("fd77::11", 7000), b"?")).unwrap(), b"phone ?");
    let known = world.within(Host::Router, || std::fs::read_to_string("/proc/thread-self/net/nf_conntrack")).unwrap();
    assert!(known.lines().count() >= 7, "the connections were tracked: {known}");
    let expected = world.within(Host::Router, || std::fs::read_to_string("/proc/thread-self/net/nf_conntrack_expect")).unwrap();
    assert_eq!(expected, "", "no connection is expected");
}
