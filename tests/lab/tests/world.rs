//! The lab itself: hosts are hosts, DHCP is DHCP, and without Lango everybody is online.

use lango_lab::dns::Kind;
use lango_lab::internet::{ECHO, HOST4, HOST6, NAME};
use lango_lab::wait::until_true;
use lango_lab::world::{ROUTER4, World};
use std::net::SocketAddr;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(3);

#[test]
fn a_phone_joins_and_reaches_the_internet_in_ipv4_and_ipv6() {
    let world = World::build().unwrap();
    let phone = world.phone();
    let lease = phone.join();
    assert_eq!(lease.router.to_string(), ROUTER4);
    assert_eq!(lease.portal_api, None, "option 114 is for routers with a certificate");
    assert_eq!(phone.resolve(NAME, Kind::A).unwrap(), [HOST4]);
    assert_eq!(phone.resolve(NAME, Kind::Aaaa).unwrap(), [HOST6]);
    assert!(world.dnsmasq.log().contains(&format!("DHCPACK(br-lan) {} {}", lease.address, phone.mac)));

    for host in [SocketAddr::from((HOST4, ECHO)), SocketAddr::from((HOST6, ECHO))] {
        assert!(phone.udp_echo(host, SOON), "UDP to {host}");
        assert!(phone.tcp_echo(host, SOON), "TCP to {host}");
        assert!(phone.ping(host.ip()), "ping to {host}");
    }
    assert!(phone.http("GET", "http://internet.test/", &[], b"").unwrap().text().contains("on the internet"));
    assert_eq!(phone.download(1_000_000, SOON).unwrap(), 1_000_000);
    let (four, six) = world.internet.packets_from_customers().unwrap();
    assert!(four > 10 && six > 5, "{four} {six}");
}

#[test]
fn a_probe_s_datagrams_arrive_each_once_and_in_order() {
    let world = World::build().unwrap();
    let phone = world.phone();
    phone.join();
    for six in [false, true] {
        let mut probe = phone.probe(six);
        until_true("500 datagrams", Duration::from_secs(20), || world.internet.arrivals(probe.id).len() >= 500).unwrap();
        probe.stop();
        until_true("the last one", SOON, || world.internet.last_arrival(probe.id).map(|(n, _)| n + 1) == Some(probe.sent().len() as u64))
            .unwrap();
        let numbers: Vec<u64> = world.internet.arrivals(probe.id).iter().map(|(number, _)| *number).collect();
        let all: Vec<u64> = (0..probe.sent().len() as u64).collect();
        assert_eq!(numbers, all);
    }
}

#[test]
fn two_worlds_beside_each_other_and_nothing_is_left_of_them() {
    let (one, two) = (World::build().unwrap(), World::build().unwrap());
    let (in_one, in_two) = (one.phone(), two.phone());
    let leases = [in_one.join(), in_two.join()];
    assert!(leases.iter().all(|lease| lease.router.to_string() == ROUTER4));
    let names: Vec<String> = [&one, &two].iter().flat_map(|w| [w.router.name().to_owned(), w.cloud.name().to_owned()]).collect();
    let folders = [one.folder.clone(), two.folder.clone()];
    drop((one, two));
    for name in names {
        assert!(!std::path::Path::new("/run/netns").join(&name).exists(), "{name} is left");
    }
    assert!(folders.iter().all(|folder| !folder.exists()));
}
