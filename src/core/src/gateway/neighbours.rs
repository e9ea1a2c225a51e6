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
mod tests;
