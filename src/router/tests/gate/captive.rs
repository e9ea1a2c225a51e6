//! What a device that has not paid reaches, and what not.

use crate::traffic::{Server, refused, socket_address, tcp_ask, udp_ask};
use crate::world::{Host, INTERNET4, INTERNET6, PORTAL_PORT, ROUTER4, ROUTER6, World, account, ip, now};
use lango_core::gate::{GateChange, GateId};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, socket};
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

/// The internet host in both IPs, and the router.
const BOTH: [(&str, &str); 2] = [(INTERNET4, ROUTER4), (INTERNET6, ROUTER6)];

/// What tunnels are made of, by IP's protocol numbers: IPv4 in IP, IPv6 in IP (6in4), GRE, ESP.
const TUNNELS: [u8; 4] = [4, 41, 47, 50];

/// Sends a packet with this header of IP, out of `eth0`.
fn send_raw(packet: &[u8]) {
    if packet[0] >> 4 == 4 {
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).unwrap();
        let to = SocketAddrV4::new(<[u8; 4]>::try_from(&packet[16..20]).unwrap().into(), 0);
        sendto(raw.as_raw_fd(), packet, &SockaddrIn::from(to), MsgFlags::empty()).unwrap();
    } else {
        let raw = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).unwrap();
        let to: [u8; 16] = packet[24..40].try_into().unwrap();
        let link = nix::net::if_::if_nametoindex("eth0").unwrap();
        sendto(raw.as_raw_fd(), packet, &SockaddrIn6::from(SocketAddrV6::new(to.into(), 0, 0, link)), MsgFlags::empty()).unwrap();
    }
}

/// A packet of that protocol, both addresses of the same IP.
fn packet(from: &str, to: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = |header: usize| u16::try_from(payload.len() + header).unwrap().to_be_bytes();
    match (from.parse().unwrap(), to.parse().unwrap()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = length(20);
            [&[0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0], from.octets().as_slice(), &to.octets(), payload].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = length(0);
            [&[0x60, 0, 0, 0, high, low, protocol, 255], from.octets().as_slice(), &to.octets(), payload].concat()
        }
        _ => panic!("{from} and {to}"),
    }
}

/// The beginning of each kind of tunnel to the internet host: in IPv4 and in IPv6.
fn tunnels(world: &World, phone: Host, number: u8) -> u64 {
    let ways = [(format!("10.77.0.1{number}"), INTERNET4), (format!("fd77::1{number}"), INTERNET6)];
    world.within(phone, || {
        for (from, to) in &ways {
            // What is inside is a packet of its own where it is to be one, of the IP that the outer one is not.
            let inside = packet("10.9.9.1", "10.9.9.2", 17, &[0, 7, 0, 7, 0, 8, 0, 0]);
            let inside6 = packet("fd99::1", "fd99::2", 17, &[0, 7, 0, 7, 0, 8, 0, 0]);
            for protocol in TUNNELS {
                let payload = match protocol {
                    4 => inside.clone(),
                    41 => inside6.clone(),
                    47 => [&[0, 0, 8, 0], inside.as_slice()].concat(),
                    _ => [&[0, 0, 1, 0, 0, 0, 0, 1], [7; 32].as_slice()].concat(),
                };
                send_raw(&packet(from, to, protocol, &payload));
            }
        }
    });
    (ways.len() * TUNNELS.len()) as u64
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
    tunnels(&world, Host::Phone1, 1);
    // Another customer's way past the same router, made after all that, shows that what was sent has been dealt with.
    gate.apply(&[GateChange::Set(account(2, &[2]))], now()).unwrap();
    let marks = || {
        BOTH.map(|(to, _)| assert_eq!(world.within(Host::Phone2, || udp_ask(socket_address(to, 4000), b"x")).unwrap(), b"ex")).len() as u64
    };
    let own = marks();
    assert_eq!(world.arrived() - own, 0, "nothing of a captive device's may arrive");
    for (internet, _) in BOTH {
        assert_eq!(world.within(Host::Phone2, || udp_ask(socket_address(internet, 4000), b"x")).unwrap(), b"ex");
        assert_eq!(world.within(Host::Phone2, || udp_ask(socket_address(internet, 4000), &[7; 5000])).unwrap().len(), 5001);
        assert_eq!(world.within(Host::Phone2, || tcp_ask(socket_address(internet, 443))).unwrap(), "internet");
        assert!(world.ping(Host::Phone2, internet, "56") && world.ping(Host::Phone2, internet, "4000"));
    }
    let before = world.arrived();
    let sent = tunnels(&world, Host::Phone2, 2);
    let own = marks();
    assert_eq!(world.arrived() - before, sent + own, "each of a paid device's tunnel packets is one that arrives");
    drop(servers);
}

#[test]
fn the_router_s_own_time_and_dhcp6_are_for_everybody_and_time_outside_is_not() {
    const NTP: u16 = 123;
    let world = World::new();
    let mut gate = world.gate();
    let _router = [(ROUTER4, NTP), (ROUTER6, NTP), (ROUTER6, 547)]
        .map(|(router, port)| Server::udp(&world, Host::Router, socket_address(router, port), "router "));
    let outside = BOTH.map(|(internet, _)| Server::udp(&world, Host::Internet, socket_address(internet, NTP), "internet "));
    let ask = |to: &str, port| world.within(Host::Phone1, || udp_ask(socket_address(to, port), b"?"));
    for paid in [false, true] {
        if paid {
            gate.apply(&[GateChange::Set(account(1, &[1]))], now()).unwrap();
        }
        for (router, port) in [(ROUTER4, NTP), (ROUTER6, NTP), (ROUTER6, 547)] {
            assert_eq!(ask(router, port).unwrap(), b"router ?", "{router}:{port}, paid: {paid}");
        }
        // Its neighbours among the ports are none of the customers'.
        for (router, port) in [(ROUTER4, 122), (ROUTER4, 124), (ROUTER6, 546), (ROUTER6, 548)] {
            assert!(refused(&ask(router, port)), "{router}:{port}, paid: {paid}");
        }
        for (internet, _) in BOTH {
            let asked = ask(internet, NTP);
            assert!(
                if paid { asked.as_deref().ok() == Some(b"internet ?") } else { refused(&asked) },
                "{internet}, paid: {paid}: {asked:?}"
            );
        }
        assert_eq!(outside.iter().map(Server::served).sum::<u64>(), if paid { 2 } else { 0 });
    }
}

/// An `ICMPv6` message with its checksum, in a packet that came over no router.
fn icmp6(from: &str, to: &str, message: &[u8]) -> Vec<u8> {
    let mut whole = packet(from, to, 58, message);
    let pseudo = [&whole[8..40], &u32::try_from(message.len()).unwrap().to_be_bytes(), &[0, 0, 0, 58], message].concat();
    let sum: u32 = pseudo.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    whole[42..44].copy_from_slice(&checksum.to_be_bytes());
    whole
}

#[test]
fn a_customer_s_advertisements_and_redirects_turn_nothing_at_the_router() {
    const PHONE: &str = "fe80::5eff:fe10:1";
    let world = World::new();
    let mut gate = world.gate();
    gate.apply(&[GateChange::Set(account(2, &[2]))], now()).unwrap();
    // It believes advertisements, although it forwards: as a router does that has its own way out by them.
    world.within(Host::Router, || {
        std::fs::write("/proc/sys/net/ipv6/conf/br-lan/accept_ra", "2").unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/br-lan/accept_redirects", "1").unwrap();
    });
    // What stays on the bridge is not the gate's to stop: the neighbour believes nobody.
    world.within(Host::Phone2, || std::fs::write("/proc/sys/net/ipv6/conf/eth0/accept_ra", "0").unwrap());
    // A router for half an hour, which has a prefix for an hour, for addresses to be made of.
    let prefix: std::net::Ipv6Addr = "2001:db8:bad::".parse().unwrap();
    let hour = 3_600u32.to_be_bytes();
    let option = [&[3, 4, 64, 0xc0], hour.as_slice(), &hour, &[0; 4], &prefix.octets()].concat();
    let advertisement = [&[134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0], option.as_slice()].concat();
    // To the internet host by the phone.
    let octets = |address: &str| address.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let redirect = [&[137, 0, 0, 0, 0, 0, 0, 0], octets(PHONE).as_slice(), &octets(INTERNET6)].concat();
    let send = || {
        world.within(Host::Phone1, || {
            for to in ["ff02::1", "fe80::5eff:fe10:fe"] {
                send_raw(&icmp6(PHONE, to, &advertisement));
                send_raw(&icmp6(PHONE, to, &redirect));
            }
        });
        // The router answers this after it dealt with those.
        assert!(world.ping(Host::Phone1, ROUTER6, "56"));
    };
    let router = world.name(Host::Router);
    let shown = |what: &str| {
        let out = std::process::Command::new("ip").args(["-6", "-n", &router]).args(what.split(' ')).output().unwrap();
        // The seconds that something is good for still are not the same each time.
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines().map(|line| line.split(" expires ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let state = || (shown("route show table all"), shown("addr show"), shown("route get 2001:db8:1::1"));
    let taken = || {
        let counted = world.within(Host::Router, || std::fs::read_to_string("/proc/thread-self/net/snmp6")).unwrap();
        ["Icmp6InRouterAdvertisements", "Icmp6InRedirects"].map(|name| {
            let line = counted.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        })
    };
    send();
    let (before, heard) = (state(), taken());
    send();
    assert_eq!((state(), taken()), (before.clone(), heard), "nothing of it was even heard");
    assert_eq!(heard, [0, 0]);
    assert!(world.ping(Host::Phone2, INTERNET6, "56"), "and the router forwards as before");
    // Without the gate the same ones are heard and believed: what was sent is what it should be.
    gate.flush().unwrap();
    send();
    assert_eq!(taken(), [2, 2]);
    let routes = state().0;
    assert!(routes != before.0 && routes.iter().any(|line| line.contains("default via fe80::5eff:fe10:1")), "{routes:?}");
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
