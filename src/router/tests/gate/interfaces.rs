//! Two customers' interfaces, and what goes from one to the other.

use crate::traffic::{Server, refused, socket_address, tcp_ask, udp_ask};
use crate::world::{Host, INTERNET4, INTERNET6, PORTAL_PORT, World, account, config, ip, mac, now, of, total};
use lango::gate::{Gate, GateConfig};
use lango_core::gate::{GateAccount, GateChange, GateDevice};
use lango_core::units::Bytes;

/// Phone 2 on an interface of its own, with addresses of its own.
fn second_interface(world: &World) {
    let [router, phone, internet] = [Host::Router, Host::Phone2, Host::Internet].map(|host| world.name(host));
    ip(&format!("-n {router} link set lan2 nomaster"));
    ip(&format!("-n {router} addr add 10.78.0.1/24 dev lan2"));
    ip(&format!("-n {router} addr add fd78::1/64 dev lan2 nodad"));
    ip(&format!("-n {phone} addr flush dev eth0"));
    ip(&format!("-n {phone} addr add 10.78.0.12/24 dev eth0"));
    ip(&format!("-n {phone} addr add fd78::12/64 dev eth0 nodad"));
    ip(&format!("-n {phone} route replace default via 10.78.0.1"));
    ip(&format!("-6 -n {phone} route replace default via fd78::1"));
    ip(&format!("-n {internet} route add fd78::/64 via 2001:db8:1::2"));
}

fn open(world: &World, isolate: bool) -> Gate {
    let lan = vec!["br-lan".to_owned(), "lan2".to_owned()];
    world.try_gate(GateConfig { lan, isolate, ..config() }).unwrap()
}

/// Phone 2 as it is on its own interface.
fn elsewhere() -> GateDevice {
    GateDevice { addresses: ["10.78.0.12", "fd78::12"].map(|a| a.parse().unwrap()).into(), ..GateDevice::default() }
}

#[test]
fn both_interfaces_are_captive_and_an_account_is_one_on_both() {
    let world = World::new();
    second_interface(&world);
    let mut gate = open(&world, true);
    let _servers = [INTERNET4, INTERNET6].map(|to| Server::udp(&world, Host::Internet, socket_address(to, 4000), "e"));
    let _portal = Server::tcp(&world, Host::Router, socket_address("::", PORTAL_PORT), "portal");
    for phone in [Host::Phone1, Host::Phone2] {
        for internet in [INTERNET4, INTERNET6] {
            assert_eq!(world.within(phone, || tcp_ask(socket_address(internet, 80))).unwrap(), "portal", "{phone:?}");
            let asked = world.within(phone, || udp_ask(socket_address(internet, 4000), b"x"));
            assert!(refused(&asked), "{phone:?} to {internet}: {asked:?}");
        }
    }
    assert_eq!(world.arrived(), 0);
    let mut family = GateAccount { data_end: Some(Bytes(3_000)), ..account(1, &[1]) };
    family.devices.insert(mac(2), elsewhere());
    gate.apply(&[GateChange::Set(family.clone())], now()).unwrap();
    // 257 bytes there and back, 297 of IPv6: what one of them uses, the other one has no more.
    let mut passed = 0;
    for _ in 0..10 {
        for (phone, internet) in [(Host::Phone1, INTERNET4), (Host::Phone2, INTERNET6)] {
            passed += usize::from(world.within(phone, || udp_ask(socket_address(internet, 4000), &[0; 100])).is_ok());
        }
    }
    let usage = gate.usage().unwrap();
    assert!((10..=11).contains(&passed), "{passed} of 3000 bytes: {usage:?}");
    assert!(total(&usage) <= 3_000 && of(&usage, 1, 1).total().0 > 1_000 && of(&usage, 1, 2).total().0 > 1_000, "{usage:?}");
    // It moves to the other interface, with other addresses there, and goes on with what is bought.
    let router = world.name(Host::Router);
    let phone = world.name(Host::Phone2);
    ip(&format!("-n {router} link set lan2 master br-lan"));
    ip(&format!("-n {phone} addr flush dev eth0"));
    ip(&format!("-n {phone} addr add 10.77.0.12/24 dev eth0"));
    ip(&format!("-n {phone} addr add fd77::12/64 dev eth0 nodad"));
    ip(&format!("-n {phone} route replace default via 10.77.0.1"));
    ip(&format!("-6 -n {phone} route replace default via fd77::1"));
    family.data_end = None;
    family.devices = account(1, &[1, 2]).devices;
    gate.apply(&[GateChange::Set(family)], now()).unwrap();
    for internet in [INTERNET4, INTERNET6] {
        assert_eq!(world.within(Host::Phone2, || udp_ask(socket_address(internet, 4000), b"x")).unwrap(), b"ex", "{internet}");
    }
}

#[test]
fn customers_of_two_interfaces_reach_each_other_only_where_that_is_wanted_and_paid() {
    let world = World::new();
    second_interface(&world);
    let mut other = account(2, &[]);
    other.devices.insert(mac(2), elsewhere());
    let one = account(1, &[1]);
    let servers = ["10.78.0.12", "fd78::12"].map(|to| Server::udp(&world, Host::Phone2, socket_address(to, 7000), "phone "));
    let back = Server::udp(&world, Host::Phone1, socket_address("10.77.0.11", 7000), "phone ");
    let ask = |phone: Host, to: &str| world.within(phone, || udp_ask(socket_address(to, 7000), b"?"));
    for (isolate, accounts, reached) in [
        (true, vec![one.clone(), other.clone()], false),
        (false, vec![], false),
        (false, vec![one.clone()], false),
        (false, vec![other.clone()], false),
        (false, vec![one, other], true),
    ] {
        let mut gate = open(&world, isolate);
        gate.reconcile(&accounts, now()).unwrap();
        for (phone, to) in [(Host::Phone1, "10.78.0.12"), (Host::Phone1, "fd78::12"), (Host::Phone2, "10.77.0.11")] {
            let asked = ask(phone, to);
            let paid = accounts.len();
            assert_eq!(asked.is_ok(), reached, "isolate {isolate}, {paid} have paid, {phone:?} to {to}: {asked:?}");
            assert!(reached || refused(&asked), "it is told: {asked:?}");
        }
        assert_eq!(total(&gate.usage().unwrap()), 0, "what stays here is not counted");
    }
    assert_eq!(servers.iter().map(Server::served).sum::<u64>() + back.served(), 3, "what was refused never arrived");
}
