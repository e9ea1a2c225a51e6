//! Who is on the LAN, as the real kernel tells it.

use crate::traffic::{Server, socket_address, udp_ask};
use crate::world::{Host, INTERNET4, ROUTER4, ROUTER6, World, ip, mac};
use lango::neighbours::{NeighbourEvent, Neighbours, Sight};
use lango_core::units::Mac;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

fn here(phone: u8, address: &str) -> NeighbourEvent {
    NeighbourEvent { mac: mac(phone), address: address.parse().unwrap(), present: true }
}

fn gone(phone: u8, address: &str) -> NeighbourEvent {
    NeighbourEvent { present: false, ..here(phone, address) }
}

/// Waits until all of these were told, whatever else is told meanwhile.
async fn hear(neighbours: &mut Neighbours, expected: &[NeighbourEvent]) {
    let mut missing: Vec<_> = expected.to_vec();
    while !missing.is_empty() {
        let event = tokio::time::timeout(Duration::from_secs(5), neighbours.next()).await;
        let event = event.unwrap_or_else(|_| panic!("not told: {missing:?}"));
        missing.retain(|m| Sight::Neighbour(*m) != event);
    }
}

#[test]
fn who_comes_is_told_and_found_by_address() {
    let world = World::new();
    let _servers = [ROUTER4, ROUTER6].map(|router| Server::udp(&world, Host::Router, socket_address(router, 4000), "r"));
    let _internet = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "i");
    let router = world.name(Host::Router);
    let say = |phone: Host| {
        for address in [ROUTER4, ROUTER6] {
            world.within(phone, || udp_ask(socket_address(address, 4000), b"hello")).unwrap();
        }
    };
    world.within(Host::Router, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lan = ["br-lan".to_owned(), "not-there-yet".to_owned()];
            let mut neighbours = Neighbours::open(&lan).unwrap();
            assert_eq!(known(&neighbours), []);
            let cache = neighbours.cache();
            let mac_of = |address: &str| cache.mac_of(address.parse().unwrap());

            say(Host::Phone1);
            // Who asks the portal is found at once, whether the event was heard already or not.
            assert_eq!(mac_of("10.77.0.11"), Some(mac(1)));
            assert_eq!(mac_of("::ffff:10.77.0.11"), Some(mac(1)));
            assert_eq!(mac_of("fd77::11"), Some(mac(1)));
            hear(&mut neighbours, &[here(1, "10.77.0.11"), here(1, "fd77::11")]).await;
            assert_eq!(mac_of("10.77.0.12"), None);
            say(Host::Phone2);
            hear(&mut neighbours, &[here(2, "10.77.0.12"), here(2, "fd77::12")]).await;

            // The way out has neighbours, too; they are no customers.
            world.within(Host::Router, || udp_ask(socket_address(INTERNET4, 4000), b"x")).unwrap();
            assert_eq!(mac_of(INTERNET4), None);
            // Nobody answers there: the kernel's note of that is no device.
            assert!(world.within(Host::Router, || udp_ask(socket_address("10.77.0.99", 4000), b"x")).is_err());
            assert_eq!(mac_of("10.77.0.99"), None);
            let everybody = [(2, "10.77.0.12"), (1, "10.77.0.11"), (1, "fd77::11"), (2, "fd77::12")];
            let everybody: BTreeSet<_> = everybody.iter().map(|(phone, address)| (mac(*phone), address.parse().unwrap())).collect();
            assert_eq!(known(&neighbours).into_iter().collect::<BTreeSet<_>>(), everybody);
            let second = Neighbours::open(&lan).unwrap();
            assert_eq!(known(&second), known(&neighbours), "who was there before is known from the start");

            // An address changes hands: found at once, and told.
            ip(&format!("-n {router} neigh replace 10.77.0.11 lladdr 02:00:5e:10:00:02 dev br-lan"));
            assert_eq!(mac_of("10.77.0.11"), Some(mac(2)));
            hear(&mut neighbours, &[gone(1, "10.77.0.11"), here(2, "10.77.0.11")]).await;
            ip(&format!("-n {router} neigh del 10.77.0.11 dev br-lan"));
            assert_eq!(mac_of("10.77.0.11"), None);
            hear(&mut neighbours, &[gone(2, "10.77.0.11")]).await;

            // The interface goes and comes again, as at `service network restart`.
            ip(&format!("-n {router} link set lan1 nomaster"));
            // A port that leaves a bridge says DELLINK, too: nobody is gone by that. Phone 2 is on the other one.
            say(Host::Phone2);
            ip(&format!("-n {router} neigh replace 10.77.0.50 lladdr 02:00:5e:10:00:05 dev br-lan"));
            hear(&mut neighbours, &[here(5, "10.77.0.50")]).await;
            assert_eq!(known(&neighbours).len(), 4);
            ip(&format!("-n {router} link del br-lan"));
            hear(&mut neighbours, &[gone(1, "fd77::11"), gone(2, "10.77.0.12"), gone(2, "fd77::12"), gone(5, "10.77.0.50")]).await;
            while !neighbours.known().is_empty() {
                let event = tokio::time::timeout(Duration::from_secs(5), neighbours.next()).await.expect("all are told to be gone");
                assert!(matches!(event, Sight::Neighbour(NeighbourEvent { present: false, .. })), "{event:?}");
            }
            assert_eq!(mac_of("fd77::11"), None);
            world.make_bridge();
            say(Host::Phone1);
            hear(&mut neighbours, &[here(1, "10.77.0.11"), here(1, "fd77::11")]).await;
            assert_eq!(mac_of("10.77.0.11"), Some(mac(1)));
        });
    });
}

/// All that is known, but for link-local addresses: when those show is up to the kernel.
fn known(neighbours: &Neighbours) -> Vec<(Mac, IpAddr)> {
    neighbours.known().into_iter().filter(|(_, address)| !address.to_string().starts_with("fe80")).collect()
}

fn address_of(sight: Sight) -> Option<IpAddr> {
    if let Sight::Neighbour(event) = sight { Some(event.address) } else { None }
}

/// Puts devices into the router's neighbour table, all at once.
fn flood(router: &str, numbers: std::ops::Range<u32>) {
    let lines = numbers.map(|n| {
        let [.., high, low] = n.to_be_bytes();
        format!("neigh replace 10.80.{high}.{low} lladdr 02:00:5e:20:{high:02x}:{low:02x} dev br-lan nud permanent\n")
    });
    let mut child = Command::new("ip").args(["-n", router, "-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.collect::<String>().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// How many events the kernel dropped since somebody's netlink socket in this network namespace was full.
fn dropped() -> u64 {
    let sockets = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let column = sockets.split_whitespace().position(|word| word == "Drops").unwrap();
    sockets.lines().skip(1).map(|line| line.split_whitespace().nth(column).unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn who_comes_while_events_are_being_lost_is_told_as_well() {
    const FLOOD: u32 = 1_000;
    const LATER: u32 = 200;
    let world = World::new();
    let router = world.name(Host::Router);
    world.within(Host::Router, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut neighbours = Neighbours::open(&["br-lan".to_owned()]).unwrap();
            // More than the socket holds while nobody reads it, and not many more: a small router has no memory for them.
            let mut all = 0;
            while dropped() == 0 {
                assert!(all < 60 * FLOOD, "the socket holds {all} events and more");
                flood(&router, all..all + FLOOD);
                all += FLOOD;
            }
            // The first that is told was read anew; these come after.
            let mut told = BTreeSet::new();
            while told.is_empty() {
                told.extend(address_of(neighbours.next().await));
            }
            flood(&router, all..all + LATER);
            while told.len() < (all + LATER) as usize {
                let event = tokio::time::timeout(Duration::from_secs(10), neighbours.next()).await;
                told.extend(address_of(event.unwrap_or_else(|_| panic!("only {} were told", told.len()))));
            }
        });
    });
}
