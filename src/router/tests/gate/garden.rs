//! The walled garden's addresses: what dnsmasq adds and what the daemon adds, side by side in the same sets.

use crate::traffic::{Server, refused, socket_address, tcp_ask};
use crate::world::{Host, INTERNET4, World, eventually, now};
use std::collections::BTreeMap;
use std::net::IpAddr;

const SIX_HOURS: u64 = 21_600;
const QUARTER: u64 = 900;

/// What the kernel has, as `nft` prints it: each address and the seconds that it still has.
pub fn garden(world: &World) -> BTreeMap<IpAddr, u64> {
    let mut found = BTreeMap::new();
    for set in ["garden4", "garden6"] {
        let text = world.nft(Host::Router, &format!("list set inet lango {set}"));
        let Some((_, elements)) = text.split_once("elements = {") else { continue };
        for element in elements.split_once('}').unwrap().0.split(',') {
            let mut words = element.split_whitespace();
            let address = words.next().unwrap().parse().unwrap();
            found.insert(address, seconds(words.last().unwrap()));
        }
    }
    found
}

/// As `nft` prints times: `5h59m59s996ms`.
fn seconds(text: &str) -> u64 {
    let text = text.replace("ms", "x");
    let (mut total, mut number) = (0, 0);
    for letter in text.chars() {
        let unit = match letter {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            'x' => 0,
            digit => {
                number = number * 10 + u64::from(digit.to_digit(10).unwrap());
                continue;
            }
        };
        total += number * unit;
        number = 0;
    }
    total
}

/// As dnsmasq does it: no timeout is named.
fn dnsmasq_adds(world: &World, address: &str) {
    world.nft(Host::Router, &format!("add element inet lango garden4 {{ {address} }}"));
}

fn left(world: &World, address: &str, from: u64) {
    let garden = garden(world);
    let left = garden.get(&address.parse().unwrap()).unwrap_or_else(|| panic!("{address} is not in {garden:?}"));
    // A minute for a machine that builds beside.
    assert!((from - 60..=from).contains(left), "{address} has {left} seconds, {from} were to be");
}

#[test]
fn what_dnsmasq_adds_stays_for_hours_and_what_the_daemon_adds_is_renewed() {
    let world = World::new();
    let mut gate = world.gate();
    let ours: [IpAddr; 2] = [INTERNET4.parse().unwrap(), "2001:db8:9::9".parse().unwrap()];
    dnsmasq_adds(&world, "192.0.2.50");
    gate.renew_garden(&ours, now()).unwrap();
    left(&world, "192.0.2.50", SIX_HOURS);
    left(&world, INTERNET4, QUARTER);
    left(&world, "2001:db8:9::9", QUARTER);
    // An address of ours that is soon to end is given its whole time; nothing else is touched.
    world.nft(Host::Router, "flush set inet lango garden4");
    world.nft(Host::Router, &format!("add element inet lango garden4 {{ {INTERNET4} timeout 5m, 192.0.2.51 timeout 1h }}"));
    gate.renew_garden(&ours, now()).unwrap();
    left(&world, INTERNET4, QUARTER);
    left(&world, "192.0.2.51", 3_600);
    // One that dnsmasq put in, and that the daemon finds as well, is not made shorter.
    dnsmasq_adds(&world, "192.0.2.52");
    gate.renew_garden(&["192.0.2.52".parse().unwrap()], now()).unwrap();
    left(&world, "192.0.2.52", SIX_HOURS);
    // Neither does the daemon take out what it does not find any more: that ends by itself.
    gate.renew_garden(&[], now()).unwrap();
    assert_eq!(garden(&world).len(), 4);
    gate.empty_garden().unwrap();
    assert!(garden(&world).is_empty());
}

#[test]
fn an_address_that_nobody_renews_ends_by_itself_and_comes_again() {
    let world = World::new();
    let _gate = world.gate();
    let _server = Server::tcp(&world, Host::Internet, socket_address(INTERNET4, 443), "internet");
    let ask = || world.within(Host::Phone1, || tcp_ask(socket_address(INTERNET4, 443)));
    assert!(refused(&ask()));
    world.nft(Host::Router, &format!("add element inet lango garden4 {{ {INTERNET4} timeout 2s }}"));
    assert_eq!(ask().unwrap(), "internet");
    eventually("its end", || refused(&ask()).then_some(()));
    dnsmasq_adds(&world, INTERNET4);
    assert_eq!(ask().unwrap(), "internet");
}

#[test]
fn a_garden_that_was_filled_up_begins_anew() {
    let world = World::new();
    let mut gate = world.gate();
    let many = |range: std::ops::Range<u32>| {
        let addresses: Vec<String> = range.map(|number| IpAddr::from((0x0a00_0000 + number).to_be_bytes()).to_string()).collect();
        world.try_nft(Host::Router, &format!("add element inet lango garden4 {{ {} }}", addresses.join(", ")))
    };
    many(0..4_096).unwrap();
    many(4_096..4_097).unwrap_err();
    gate.renew_garden(&[INTERNET4.parse().unwrap()], now()).unwrap();
    left(&world, INTERNET4, QUARTER);
    assert_eq!(garden(&world).len(), 1);
    many(4_096..4_097).unwrap();
}
