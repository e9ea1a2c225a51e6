//! Who is on the LAN: which device has which address, by either.

use crate::units::Mac;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Addresses remembered at most; the kernel's own neighbour table is far smaller (gc_thresh3: 1024).
const REMEMBERED: usize = 16_384;

/// Under which device an address was seen last, and whether the kernel still holds it for reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    mac: Mac,
    present: bool,
}

/// The LAN's devices and their addresses.
///
/// An address that is not present any more stays its device's until another claims it: a phone that sleeps is not a phone
/// that left, and answers to it must find the gate open before the kernel asks for its MAC again.
#[derive(Debug, Clone, Default)]
pub(super) struct Neighbours {
    by_address: BTreeMap<IpAddr, Seen>,
    by_device: BTreeMap<Mac, BTreeSet<IpAddr>>,
    /// How many of the addresses are not present: without any, there is no room to be made, and a flood costs no search.
    absent: usize,
}

impl Neighbours {
    /// Takes note of what was seen. Gives back the devices whose addresses are others now.
    pub(super) fn seen(&mut self, mac: Mac, address: IpAddr, present: bool) -> Vec<Mac> {
        let before = self.by_address.get(&address).copied();
        if !present && before.is_some_and(|seen| seen.mac != mac) {
            return Vec::new(); // another device has it now
        }
        if before.is_none() && self.by_address.len() >= REMEMBERED && !self.make_room() {
            return Vec::new();
        }
        self.by_address.insert(address, Seen { mac, present });
        self.absent += usize::from(!present);
        self.absent -= usize::from(before.is_some_and(|seen| !seen.present));
        if before.is_some_and(|seen| seen.mac == mac) {
            return Vec::new();
        }
        let loser = before.map(|seen| seen.mac);
        if let Some(loser) = loser {
            self.forget(loser, address);
        }
        self.by_device.entry(mac).or_default().insert(address);
        loser.into_iter().chain([mac]).collect()
    }

    /// All addresses of a device, present or not.
    pub(super) fn addresses_of(&self, device: Mac) -> BTreeSet<IpAddr> {
        self.by_device.get(&device).cloned().unwrap_or_default()
    }

    /// Whether a device is on the LAN now.
    pub(super) fn is_here(&self, device: Mac) -> bool {
        let mut addresses = self.by_device.get(&device).into_iter().flatten();
        addresses.any(|address| self.by_address.get(address).is_some_and(|seen| seen.present))
    }

    fn forget(&mut self, mac: Mac, address: IpAddr) {
        if let Some(addresses) = self.by_device.get_mut(&mac) {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.by_device.remove(&mac);
            }
        }
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

    #[test]
    fn an_address_goes_from_one_device_to_another() {
        let mut lan = Neighbours::default();
        let (one, two): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        for (mac, address, present, changed) in [
            (A, one, true, vec![A]),
            (A, one, true, vec![]),
            (A, one, false, vec![]), // asleep
            (A, two, true, vec![A]),
            (B, one, true, vec![A, B]),
            (A, one, false, vec![]), // late news of what is another's now
            (B, two, false, vec![]), // and of what never was one's own
        ] {
            assert_eq!(lan.seen(mac, address, present), changed, "{mac} {address} {present}");
        }
        assert_eq!((lan.addresses_of(A), lan.addresses_of(B)), ([two].into(), [one].into()));
        assert!(lan.is_here(A) && lan.is_here(B));
        lan.seen(A, two, false);
        assert!(!lan.is_here(A));
        assert_eq!(lan.addresses_of(A), [two].into());
    }

    #[test]
    fn a_flood_of_addresses_is_bounded() {
        let mut lan = Neighbours::default();
        for n in 0..40_000u32 {
            lan.seen(A, IpAddr::from(n.to_be_bytes()), n % 2 == 0);
        }
        assert!(lan.by_address.len() <= REMEMBERED);
        assert_eq!(lan.by_address.len(), lan.by_device.values().map(BTreeSet::len).sum::<usize>());
        assert_eq!(lan.absent, lan.by_address.values().filter(|seen| !seen.present).count());
    }
}
