//! Who has which address, told by lines of what was seen.

use super::*;

const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn at(host: u8) -> IpAddr {
    [10, 0, 0, host].into()
}

/// The indices fit each other, and what waits is nobody's.
fn whole(lan: &Neighbours) {
    assert!(lan.by_address.len() <= REMEMBERED && lan.doubts.len() <= DOUBTED);
    assert_eq!(lan.by_address.len(), lan.by_device.values().map(FewSet::len).sum::<usize>());
    assert_eq!(lan.absent, lan.by_address.values().filter(|seen| !seen.present).count());
    assert!(lan.doubts.iter().all(|(address, doubt)| doubt.held != lan.addresses_of(doubt.mac).contains(address)));
}

#[test]
fn an_address_goes_from_one_device_to_another() {
    let mut lan = Neighbours::default();
    let (one, two) = (at(1), at(2));
    for (mac, address, present, changed) in [
        (A, one, true, vec![A]),
        (A, one, true, vec![]),
        (A, one, false, vec![]), // asleep
        (A, two, true, vec![A]),
        (B, one, true, vec![A, B]),
        (A, one, false, vec![]), // late news of what is another's now
        (B, two, false, vec![]), // and of what never was one's own
    ] {
        assert_eq!(lan.seen(mac, address, present, true, Monotonic(0)).changed, changed, "{mac} {address} {present}");
        whole(&lan);
    }
    assert_eq!((lan.addresses_of(A), lan.addresses_of(B)), ([two].into(), [one].into()));
    assert!(lan.is_here(A) && lan.is_here(B));
    lan.seen(A, two, false, true, Monotonic(0));
    assert!(!lan.is_here(A));
    assert_eq!(lan.addresses_of(A), [two].into());
}

#[test]
fn a_second_address_waits_until_the_first_is_gone() {
    // A sight is `+host` or `-host` of device A, `b+host` of B; what is asked, what A has then, and what waits.
    for (sights, paid, asked, has, waits) in [
        ("+1", true, "", "1", ""),
        ("+1 +2", true, "1", "1", "2"),
        ("+1 +2", false, "", "1 2", ""),
        ("+1 +2 -1", true, "1", "1 2", ""), // it moved; the old one is kept as a sleeper's is
        ("+1 -1 +2", true, "", "1 2", ""),
        ("+1 +2 -2 -1", true, "1", "1", ""),
        ("+1 +2 +3 -1", true, "1 1", "1 2", "3"), // the one that waited longest
        ("+1 +2 +3 -1 -2", true, "1 1", "1 2 3", ""),
        ("+1 +2 b+1", true, "1", "2", ""), // the first became another's
        ("+1 +2 b+2", true, "1", "1", ""),
        ("b+2 +1 +2", true, "1", "1", "2"), // the second one was another's: it is not any more, as the kernel says
        ("+1 -1 +2 +1", true, "2", "1 2", ""), // both were its own before: nobody is cut off
    ] {
        let mut lan = Neighbours::default();
        let mut probed = Vec::new();
        for (second, sight) in (0..).zip(sights.split(' ')) {
            let (mac, sight) = sight.strip_prefix('b').map_or((A, sight), |sight| (B, sight));
            let (present, host) = (sight.starts_with('+'), sight[1..].parse().unwrap());
            let before = [A, B].map(|mac| (mac, lan.addresses_of(mac), lan.held_of(mac)));
            let followed = lan.seen(mac, at(host), present, paid, Monotonic(second * 1_000));
            for (mac, had, held) in before {
                let other = lan.addresses_of(mac) != had || lan.held_of(mac) != held;
                assert_eq!(followed.changed.contains(&mac), other, "{mac} in {sights} at {second}: what changed is told");
            }
            probed.extend(followed.probe);
            whole(&lan);
        }
        let hosts = |addresses: &mut dyn Iterator<Item = IpAddr>| {
            addresses.map(|a| a.to_string().rsplit('.').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(hosts(&mut probed.into_iter()), asked, "{sights}");
        assert_eq!(hosts(&mut lan.addresses_of(A).into_iter()), has, "{sights}");
        assert_eq!(hosts(&mut lan.held_of(A).into_iter().map(IpAddr::V4)), waits, "{sights}");
    }
}

#[test]
fn what_the_kernel_knew_is_taken_in_so_that_everybody_goes_on_as_before() {
    // Who is there and who was served, as letter and host; the sights in their order; what A and B have then.
    for (what, here, served, order, a, b) in [
        ("nothing", "", "", "", "", ""),
        ("a device that is there", "a1", "a1", "+a1", "1", ""),
        ("one that sleeps", "", "a1", "-a1", "1", ""),
        ("one that has not paid", "b1", "", "+b1", "", "1"),
        ("a new lease while nobody looked", "a2", "a1", "-a1 +a2", "1 2", ""),
        ("who was served first comes first", "a1 a2", "a2", "+a2 +a1", "2", ""),
        ("in whatever order it is told", "a2 a1", "a2", "+a2 +a1", "2", ""),
        ("served at two, and at one of them now", "a1", "a1 a2", "-a1 -a2 +a1", "1 2", ""),
        ("served at two that both are there", "a1 a2", "a1 a2", "-a1 -a2 +a1 +a2", "1 2", ""),
        ("a third one waits", "a1 a2 a3", "a1 a2", "-a1 -a2 +a1 +a2 +a3", "1 2", ""),
        ("an address that became another's", "b1", "a1", "-a1 +b1", "", "1"),
        ("two devices", "b2 a1", "a1 b2", "+a1 +b2", "1", "2"),
        ("link-local ones are any number", "a1 a200", "a1 a200 a201", "-a201 +a1 +a200", "1 200 201", ""),
    ] {
        let known = |text: &str| -> Vec<(Mac, IpAddr)> {
            let one = |word: &str| {
                let host: u8 = word[1..].parse().unwrap();
                (if word.starts_with('a') { A } else { B }, if host < 200 { at(host) } else { [169, 254, 0, host].into() })
            };
            text.split_whitespace().map(one).collect()
        };
        let host = |address: IpAddr| address.to_string().rsplit('.').next().unwrap().to_owned();
        let mut lan = Neighbours::default();
        let mut told = Vec::new();
        for Sight { mac, address, present } in sights(known(here), known(served)) {
            let (sign, letter) = (if present { '+' } else { '-' }, if mac == A { 'a' } else { 'b' });
            told.push(format!("{sign}{letter}{}", host(address)));
            lan.seen(mac, address, present, true, Monotonic(0));
            whole(&lan);
        }
        let has = |mac| lan.addresses_of(mac).into_iter().map(host).collect::<Vec<_>>().join(" ");
        assert_eq!((told.join(" ").as_str(), has(A).as_str(), has(B).as_str()), (order, a, b), "{what}");
    }
}

#[test]
fn addresses_that_are_made_at_will_never_wait() {
    let mut lan = Neighbours::default();
    for address in ["10.0.0.1", "169.254.7.7", "fe80::1", "2001:db8::1", "2001:db8::2"] {
        let followed = lan.seen(A, address.parse().unwrap(), true, true, Monotonic(0));
        assert_eq!((followed.changed, followed.probe), (vec![A], vec![]), "{address}");
    }
}

#[test]
fn a_first_address_that_answers_is_asked_again_in_a_while() {
    let mut lan = Neighbours::default();
    lan.seen(A, at(1), true, true, Monotonic(0));
    lan.seen(A, at(2), true, true, Monotonic(1_000));
    assert_eq!(lan.next_look(), Some(Monotonic(6_000)));
    let due = Due { mac: A, address: at(2), first: at(1), held: true };
    assert_eq!((lan.due(Monotonic(5_999)).due, lan.due(Monotonic(6_000)).due), (vec![], vec![due]));
    assert_eq!(lan.next_look(), Some(Monotonic(66_000)));
    lan.release_all(A, Monotonic(7_000));
    assert_eq!(lan.addresses_of(A), [at(1), at(2)].into(), "who pays is served, from whichever it paid");
    whole(&lan);
    assert_eq!(lan.due(Monotonic(12_000)).due, [Due { held: false, ..due }]);
    assert_eq!(lan.next_look(), None);
}

#[test]
fn a_flood_of_addresses_is_bounded() {
    let mut lan = Neighbours::default();
    for n in 0..40_000u32 {
        let mac = Mac([2, 2, 0, 0, (n >> 13).to_be_bytes()[3], (n >> 5).to_be_bytes()[3]]);
        lan.seen(mac, IpAddr::from(n.to_be_bytes()), n % 2 == 0, n % 3 == 0, Monotonic(u64::from(n)));
    }
    whole(&lan);
    assert_eq!(lan.by_address.len(), REMEMBERED);
    for n in 0..4_000u32 {
        let mac = Mac([2, 1, 0, 0, n.to_be_bytes()[2], n.to_be_bytes()[3]]);
        lan.seen(mac, IpAddr::from((n << 8).to_be_bytes()), true, true, Monotonic(u64::from(n)));
        lan.seen(mac, IpAddr::from((n << 8 | 1).to_be_bytes()), true, true, Monotonic(u64::from(n)));
    }
    whole(&lan);
    lan.due(Monotonic(1 << 40));
    whole(&lan);
}

#[test]
fn a_device_that_makes_addresses_up_takes_no_room_from_others() {
    let mut lan = Neighbours::default();
    let made_up = |n: u32| IpAddr::from(std::net::Ipv6Addr::from(u128::from(n) | 0xfd77 << 112));
    lan.seen(A, at(1), true, true, Monotonic(0));
    for n in 0..10_000 {
        let followed = lan.sent(A, made_up(n), Monotonic(0));
        assert_eq!(followed.changed, [A], "the newest is served");
        assert!(lan.addresses_of(A).contains(&made_up(n)) && lan.addresses_of(A).contains(&at(1)));
    }
    assert_eq!(lan.addresses_of(A).len(), EACH);
    whole(&lan);
    // Those that the kernel holds for reachable stay; then it is enough.
    for n in 0..10_000 {
        lan.seen(A, made_up(n), true, true, Monotonic(0));
    }
    assert_eq!(lan.addresses_of(A).len(), EACH);
    assert_eq!(lan.sent(A, made_up(20_000), Monotonic(0)), Followed::default());
    lan.seen(B, at(2), true, true, Monotonic(0));
    assert_eq!(lan.addresses_of(B), [at(2)].into());
    whole(&lan);
}
