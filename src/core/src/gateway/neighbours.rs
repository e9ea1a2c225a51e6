//! Who is on the LAN: which device has which address, by either.

use crate::few::FewSet;
use crate::time::Monotonic;
use crate::tree::{BTreeMap, BTreeSet};
use crate::units::{Mac, Millis};
use std::net::{IpAddr, Ipv4Addr};

/// Addresses remembered at most; the kernel's own neighbour table is far smaller (gc_thresh3: 1024).
const REMEMBERED: usize = 16_384;

/// Under which device an address was seen last, and whether the kernel still holds it for reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    mac: Mac,
    present: bool,
}

/// Addresses remembered of each device, at most: a phone has one of IPv4 and a handful of IPv6 at a time.
const EACH: usize = 64;

/// How long the kernel needs at most to find out that nobody answers: three questions, a second apart, and some room.
const ASKED_FOR: Millis = Millis::from_seconds(5);

/// A second address whose first one answers is looked at again after this long: the first may have gone since.
const ASKED_AGAIN_AFTER: Millis = Millis::from_seconds(60);

/// First addresses asked after at once, at most.
const ASKED_AT_ONCE: usize = 4;

/// Second addresses remembered at most, of all devices and of each.
const DOUBTED: usize = 1024;
const DOUBTED_EACH: usize = 8;

/// A device's second IPv4 address, while its first may still be in use. A phone has one: it may have got another, or somebody
/// else may have copied its MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doubt {
    mac: Mac,
    /// Whether it waits, and is not the device's as yet: the gate drops what comes from it.
    held: bool,
    since: Monotonic,
    look: Monotonic,
}

/// Addresses of which a phone has one. IPv6 ones it makes itself as it likes, and link-local ones too.
const fn only_one(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if !v4.is_link_local())
}

/// A second address of which nothing showed in time that the first is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) mac: Mac,
    pub(super) address: IpAddr,
    /// The first one: it is to be asked again.
    pub(super) first: IpAddr,
    pub(super) held: bool,
}

/// What a look at the doubts gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// The doubts that are due and stand.
    pub(super) due: Vec<Due>,
    /// Devices whose addresses, or which of them wait, are others now.
    pub(super) changed: Vec<Mac>,
}

/// A device under an address, there or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) mac: Mac,
    pub(super) address: IpAddr,
    pub(super) present: bool,
}

/// What the kernel knew before the rules did, in the order in which it is to be taken in: of two devices with the same MAC, or of
/// two addresses of one, the first that is told is the one that the other has to wait for.
///
/// Each address is told once: it is thousands. But a device that was served at several IPv4 addresses goes on so, and for that
/// all of them must be known before the first is there.
pub(super) fn sights(here: Vec<(Mac, IpAddr)>, served: Vec<(Mac, IpAddr)>) -> impl Iterator<Item = Sight> {
    let (here, served) = (BTreeSet::from_iter(here), BTreeSet::from_iter(served));
    let mut several: BTreeMap<Mac, bool> = BTreeMap::new();
    for (mac, _) in served.iter().filter(|(_, address)| only_one(*address)) {
        several.entry(*mac).and_modify(|several| *several = true).or_insert(false);
    }
    let before = |known: &&(Mac, IpAddr)| !here.contains(known) || several.get(&known.0).is_some_and(|several| *several);
    let asleep = served.iter().filter(before).map(|known| (*known, false));
    // Whoever was served comes before a newcomer.
    let present = here.intersection(&served).chain(here.difference(&served)).map(|known| (*known, true));
    let all: Vec<_> = asleep.chain(present).collect();
    all.into_iter().map(|((mac, address), present)| Sight { mac, address, present })
}

/// What follows from a sight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Followed {
    /// Devices whose addresses, or which of them wait, are others now.
    pub(super) changed: Vec<Mac>,
    /// Who had the address before.
    pub(super) loser: Option<Mac>,
    /// Addresses of the device that the kernel is to ask whether anybody answers there.
    pub(super) probe: Vec<IpAddr>,
}

/// The LAN's devices and their addresses.
///
/// An address that is not present any more stays its device's until another claims it: a phone that sleeps is not a phone
/// that left, and answers to it must find the gate open before the kernel asks for its MAC again.
#[derive(Debug, Clone, Default)]
pub(super) struct Neighbours {
    by_address: BTreeMap<IpAddr, Seen>,
    by_device: BTreeMap<Mac, FewSet<IpAddr>>,
    /// How many of the addresses are not present: without any, there is no room to be made, and a flood costs no search.
    absent: usize,
    doubts: BTreeMap<IpAddr, Doubt>,
}

impl Neighbours {
    /// Takes note of what was seen. `paid` where the device is online: its second IPv4 address waits then until the first
    /// is known to be gone.
    pub(super) fn seen(&mut self, mac: Mac, address: IpAddr, present: bool, paid: bool, now: Monotonic) -> Followed {
        let mut waited = None;
        if let Some(doubt) = self.doubts.get(&address).copied().filter(|doubt| doubt.held) {
            match (doubt.mac == mac, present) {
                (true, true) | (false, false) => return Followed::default(), // it still waits; late news
                (true, false) => {
                    self.doubts.remove(&address);
                    return Followed { changed: vec![mac], ..Followed::default() };
                }
                (false, true) => {
                    self.doubts.remove(&address);
                    waited = Some(doubt.mac);
                }
            }
        }
        let before = self.by_address.get(&address).copied();
        if !present && before.is_some_and(|seen| seen.mac != mac) {
            return Followed::default(); // another device has it now
        }
        let came = present && before.is_none_or(|seen| seen.mac != mac || !seen.present);
        let mut followed = self.take_in(mac, address, present, came && paid, now);
        followed.changed.extend(waited.filter(|waited| !followed.changed.contains(waited)));
        followed
    }

    /// Takes note that a paid device sent from an address that nobody is known by. That it is still here is for neighbour
    /// discovery to say; that its first address may be in use has to be asked all the same, or a copy would only have to send.
    pub(super) fn sent(&mut self, mac: Mac, address: IpAddr, now: Monotonic) -> Followed {
        if self.doubts.contains_key(&address) || self.by_address.contains_key(&address) {
            return Followed::default(); // late news
        }
        self.take_in(mac, address, false, true, now)
    }

    /// Notes whose an address is, unless it has to wait because `came` is to be doubted.
    fn take_in(&mut self, mac: Mac, address: IpAddr, present: bool, came: bool, now: Monotonic) -> Followed {
        let before = self.by_address.get(&address).copied();
        let loser = before.map(|seen| seen.mac).filter(|loser| *loser != mac);
        let probe: Vec<IpAddr> =
            if came && only_one(address) { self.others_present(mac, address).take(ASKED_AT_ONCE).collect() } else { Vec::new() };
        let new = before.is_none_or(|seen| seen.mac != mac);
        if !probe.is_empty() {
            let doubts = self.doubts.values().filter(|doubt| doubt.mac == mac).count();
            let held = new;
            if doubts >= DOUBTED_EACH && held {
                return Followed::default(); // a phone has no nine
            }
            if self.doubts.len() < DOUBTED && doubts < DOUBTED_EACH {
                self.doubts.insert(address, Doubt { mac, held, since: now, look: now.after(ASKED_FOR) });
                if held {
                    let mut changed = vec![mac];
                    if let Some(loser) = loser {
                        changed.push(loser);
                        self.by_address.remove(&address);
                        self.absent -= usize::from(before.is_some_and(|seen| !seen.present));
                        self.forget(loser, address);
                        self.release_where_alone(loser, &mut changed);
                    }
                    return Followed { changed, loser, probe };
                }
            }
        }
        if before.is_none() && self.by_address.len() >= REMEMBERED && !self.make_room() {
            return Followed::default();
        }
        if new && !self.make_room_at(mac) {
            return Followed::default();
        }
        self.by_address.insert(address, Seen { mac, present });
        self.absent += usize::from(!present);
        self.absent -= usize::from(before.is_some_and(|seen| !seen.present));
        let mut changed = Vec::new();
        if new {
            if let Some(loser) = loser {
                self.forget(loser, address);
                changed.push(loser);
                self.release_where_alone(loser, &mut changed);
            }
            self.by_device.entry(mac).or_default().insert(address);
            changed.push(mac);
        }
        if !present && only_one(address) {
            self.doubts.remove(&address);
            self.release_where_alone(mac, &mut changed);
        }
        changed.dedup();
        Followed { changed, loser, probe }
    }

    /// The device's other IPv4 addresses that are present.
    fn others_present(&self, mac: Mac, address: IpAddr) -> impl Iterator<Item = IpAddr> {
        // IPv4 addresses sort before IPv6 ones.
        let all = self.by_device.get(&mac).into_iter().flatten().copied().take_while(IpAddr::is_ipv4);
        let all = all.filter(move |other| only_one(*other) && *other != address);
        all.filter(|other| self.by_address.get(other).is_some_and(|seen| seen.present))
    }

    /// Where none of a device's IPv4 addresses is present any more, the one that waited longest takes their place.
    fn release_where_alone(&mut self, mac: Mac, changed: &mut Vec<Mac>) {
        if self.doubts.is_empty() {
            return;
        }
        // Without a second one beside it, there is nothing to doubt about an address.
        let alone: Vec<IpAddr> = self.doubts_of(mac, false).filter(|address| self.others_present(mac, *address).next().is_none()).collect();
        for address in alone {
            self.doubts.remove(&address);
        }
        let longest = self.doubts_of(mac, true).min_by_key(|address| self.doubts.get(address).map(|doubt| doubt.since));
        if let Some(address) = longest.filter(|address| self.others_present(mac, *address).next().is_none()) {
            self.release(mac, address);
            changed.push(mac);
        }
    }

    fn doubts_of(&self, mac: Mac, held: bool) -> impl Iterator<Item = IpAddr> {
        self.doubts.iter().filter(move |(_, doubt)| doubt.mac == mac && doubt.held == held).map(|(address, _)| *address)
    }

    fn release(&mut self, mac: Mac, address: IpAddr) {
        self.doubts.remove(&address);
        if self.by_address.len() < REMEMBERED || self.make_room() {
            self.by_address.insert(address, Seen { mac, present: true });
            self.by_device.entry(mac).or_default().insert(address);
        }
    }

    /// All that waits is the device's from now on: it has just paid, or logged in, and may have done so from any of them.
    pub(super) fn release_all(&mut self, mac: Mac, now: Monotonic) {
        if self.doubts.is_empty() {
            return;
        }
        for address in self.doubts_of(mac, true).collect::<Vec<_>>() {
            self.release(mac, address);
            self.doubts.insert(address, Doubt { mac, held: false, since: now, look: now.after(ASKED_FOR) });
        }
    }

    /// A device that is offline is doubted no more.
    pub(super) fn trust(&mut self, mac: Mac, now: Monotonic) {
        self.release_all(mac, now);
        self.doubts.retain(|_, doubt| doubt.mac != mac);
    }

    /// When the next doubt is to be looked at.
    pub(super) fn next_look(&self) -> Option<Monotonic> {
        self.doubts.values().map(|doubt| doubt.look).min()
    }

    /// The doubts that are due: nothing showed in time that the first address is gone. One that waits goes on waiting.
    pub(super) fn due(&mut self, now: Monotonic) -> Looked {
        let due: Vec<(IpAddr, Doubt)> = self.doubts.iter().filter(|(_, d)| d.look <= now).map(|(a, d)| (*a, *d)).collect();
        let mut looked = Looked::default();
        for (address, mut doubt) in due {
            self.doubts.remove(&address);
            let Some(first) = self.others_present(doubt.mac, address).next() else {
                // Nothing is beside it any more: there is nothing to wait for.
                if doubt.held {
                    self.release(doubt.mac, address);
                    looked.changed.push(doubt.mac);
                }
                continue;
            };
            if doubt.held {
                doubt.look = now.after(ASKED_AGAIN_AFTER);
                self.doubts.insert(address, doubt);
            }
            looked.due.push(Due { mac: doubt.mac, address, first, held: doubt.held });
        }
        looked
    }

    /// The addresses of a device that wait.
    pub(super) fn held_of(&self, device: Mac) -> FewSet<Ipv4Addr> {
        let v4 = |address| match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None, // of those none waits
        };
        self.doubts_of(device, true).filter_map(v4).collect()
    }

    /// All addresses of a device, present or not.
    pub(super) fn addresses_of(&self, device: Mac) -> FewSet<IpAddr> {
        self.by_device.get(&device).cloned().unwrap_or_default()
    }

    /// Whose address it is, present or not.
    pub(super) fn device_at(&self, address: IpAddr) -> Option<Mac> {
        self.by_address.get(&address).map(|seen| seen.mac)
    }

    /// Whether a device is on the LAN now.
    pub(super) fn is_here(&self, device: Mac) -> bool {
        self.present_of(device).next().is_some()
    }

    /// Where the kernel holds a device for present.
    pub(super) fn present_of(&self, device: Mac) -> impl Iterator<Item = IpAddr> {
        let addresses = self.by_device.get(&device).into_iter().flatten().copied();
        addresses.filter(|address| self.by_address.get(address).is_some_and(|seen| seen.present))
    }

    fn forget(&mut self, mac: Mac, address: IpAddr) {
        if let Some(addresses) = self.by_device.get_mut(&mac) {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.by_device.remove(&mac);
            }
        }
    }

    /// Forgets an address of a device that has too many, one that is not present: a device that makes addresses up takes no
    /// room from others.
    fn make_room_at(&mut self, mac: Mac) -> bool {
        let Some(addresses) = self.by_device.get(&mac).filter(|addresses| addresses.len() >= EACH) else { return true };
        let absent = addresses.iter().find(|address| self.by_address.get(address).is_some_and(|seen| !seen.present)).copied();
        let Some(absent) = absent else { return false };
        self.by_address.remove(&absent);
        self.absent -= 1;
        self.forget(mac, absent);
        true
    }

    fn make_room(&mut self) -> bool {
        if self.absent == 0 {
            return false;
        }
        self.absent = 0;
        let gone: Vec<(IpAddr, Mac)> = self.by_address.iter().filter(|(_, seen)| !seen.present).map(|(a, seen)| (*a, seen.mac)).collect();
        for (address, mac) in gone {
            self.by_address.remove(&address);
            self.forget(mac, address);
        }
        self.by_address.len() < REMEMBERED
    }
}

#[cfg(test)]
mod tests {
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
}
