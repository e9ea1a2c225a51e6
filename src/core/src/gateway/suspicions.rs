//! Signs that a paid device's address is another's, too. They are told, in plain words and rarely; nobody is cut off by one.

use super::Gateway;
use super::neighbours::Looked;
use crate::time::{Monotonic, Now};
use crate::tree::BTreeMap;
use crate::units::{Mac, Millis};
use std::net::IpAddr;

/// A device that roams changes its port once or twice. One whose address two stations send from changes it all the time: so
/// many changes in [`TURNS_WITHIN`] are told.
const TURNS: usize = 4;
const TURNS_WITHIN: Millis = Millis::from_seconds(60);

/// An address that came back to the one who had it, so soon after it was another's, was not given away by DHCP.
const CLAIMED_BACK_WITHIN: Millis = Millis::from_minutes(10);

/// An address that went from one device to another, by a new lease, is known within this time: what lasts longer is no change
/// of hands.
const SETTLES: Millis = Millis::from_seconds(2);

/// Foreign senders that were quiet for so long begin anew.
const QUIET: Millis = Millis::from_seconds(60);

/// A device is told of again only after this long.
const TOLD_EVERY: Millis = Millis::from_minutes(10);

/// Devices and addresses remembered at most, of each kind. Only those of paid devices are.
const REMEMBERED: usize = 1024;

/// What was noticed lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Suspicions {
    ports: BTreeMap<Mac, Turns>,
    /// Who had an address before the one that has it, and when it changed hands.
    claims: BTreeMap<IpAddr, (Mac, Monotonic)>,
    /// Who sends from an address that is another's: since when, and when last.
    foreign: BTreeMap<(Mac, IpAddr), (Monotonic, Monotonic)>,
    told: BTreeMap<Mac, Monotonic>,
    /// How many were told, since the start.
    count: u32,
}

/// A device's changes of port.
#[derive(Debug, Clone, Default)]
struct Turns {
    port: String,
    before: String,
    at: [Option<Monotonic>; TURNS],
}

/// Makes room for one more: what is older than `keep` goes, and all of it where that is not enough.
fn make_room<K: Ord, V>(map: &mut BTreeMap<K, V>, keep: impl Fn(&V) -> bool) {
    if map.len() >= REMEMBERED {
        map.retain(|_, value| keep(value));
        if map.len() >= REMEMBERED {
            map.clear();
        }
    }
}

impl Suspicions {
    /// A device came in by a port. Gives the two ports between which it goes back and forth, where it does.
    fn came_by(&mut self, mac: Mac, port: &str, now: Monotonic) -> Option<(String, String)> {
        if !self.ports.contains_key(&mac) {
            make_room(&mut self.ports, |turns| turns.at[TURNS - 1].is_some_and(|at| now.since(at) < TURNS_WITHIN));
        }
        let turns = self.ports.entry(mac).or_default();
        if turns.port == port {
            return None;
        }
        turns.before = std::mem::replace(&mut turns.port, port.to_owned());
        if turns.before.is_empty() {
            return None; // where it was before is not known: that is no change
        }
        turns.at.rotate_left(1);
        turns.at[TURNS - 1] = Some(now);
        let first = turns.at[0]?;
        (now.since(first) < TURNS_WITHIN).then(|| (turns.before.clone(), turns.port.clone()))
    }

    /// An address went from one device to another. Gives whether it had been the other's just before.
    fn changed_hands(&mut self, address: IpAddr, from: Mac, to: Mac, now: Monotonic) -> bool {
        let fresh = |(_, at): &(Mac, Monotonic)| now.since(*at) < CLAIMED_BACK_WITHIN;
        make_room(&mut self.claims, fresh);
        let before = self.claims.insert(address, (from, now));
        before.is_some_and(|before| before.0 == to && fresh(&before))
    }

    /// A device sent from an address that is another's. Gives whether it has been doing so for long enough to mean it.
    fn sent_as_another(&mut self, mac: Mac, address: IpAddr, now: Monotonic) -> bool {
        if !self.foreign.contains_key(&(mac, address)) {
            make_room(&mut self.foreign, |(_, last)| now.since(*last) < QUIET);
        }
        let (since, last) = self.foreign.entry((mac, address)).or_insert((now, now));
        if now.since(*last) >= QUIET {
            *since = now;
        }
        *last = now;
        now.since(*since) >= SETTLES
    }

    /// Whether a device is to be told of now.
    fn tell(&mut self, mac: Mac, now: Monotonic) -> bool {
        let lately = |at: &Monotonic| now.since(*at) < TOLD_EVERY;
        if self.told.get(&mac).is_some_and(lately) {
            return false;
        }
        make_room(&mut self.told, |at| now.since(*at).0 < 2 * TOLD_EVERY.0);
        self.told.insert(mac, now);
        self.count = self.count.saturating_add(1);
        true
    }

    /// Whether a device was told of lately: as long as two have its address, it is told of again before this is over.
    pub(super) fn is_suspected(&self, mac: Mac, now: Monotonic) -> bool {
        self.told.get(&mac).is_some_and(|at| now.since(*at).0 < 2 * TOLD_EVERY.0)
    }

    /// How many were told since the start.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }
}

impl Gateway {
    fn suspect(&mut self, mac: Mac, line: String, now: Now) {
        if self.suspicions.tell(mac, now.monotonic) {
            self.log(line);
        }
    }

    /// A bridge of the customers' saw a device come in by a port.
    pub(super) fn came_by(&mut self, mac: Mac, port: &str, now: Now) {
        if self.account_online(mac).is_none() {
            return;
        }
        if let Some((one, other)) = self.suspicions.came_by(mac, port, now.monotonic) {
            let line = format!("suspicion: {mac} shows up on {one} and {other} in turns; its address may be copied");
            self.suspect(mac, line, now);
        }
    }

    /// An address that one device had is another's now. A single time is what DHCP does; back and forth is not.
    pub(super) fn changed_hands(&mut self, address: IpAddr, from: Mac, to: Mac, now: Now) {
        let Some(paid) = [to, from].into_iter().find(|mac| self.account_online(*mac).is_some()) else { return };
        if self.suspicions.changed_hands(address, from, to, now.monotonic) {
            let line = format!("suspicion: {address} is claimed by {from} and {to} in turns; one may pose as the other");
            self.suspect(paid, line, now);
        }
    }

    /// The kernel refused what a paid device sent from an address that is another's.
    pub(super) fn sends_as_another(&mut self, mac: Mac, address: IpAddr, now: Now) {
        let owner = self.neighbours.device_at(address).filter(|owner| *owner != mac);
        if let Some(owner) = owner
            && self.suspicions.sent_as_another(mac, address, now.monotonic)
        {
            let line = format!("suspicion: {mac} sends as {address}, which is the address of {owner}; what it sends so goes nowhere");
            self.suspect(mac, line, now);
        }
    }

    /// Second addresses whose first was asked after: that one still answers, or nothing said that it does not.
    pub(super) fn look_at_doubts(&mut self, now: Now) {
        let Looked { due, changed } = self.neighbours.due(now.monotonic);
        self.addresses_changed(changed);
        for doubt in due {
            let (mac, address, first) = (doubt.mac, doubt.address, doubt.first);
            let what = if doubt.held { "is not served" } else { "is served, too" };
            if doubt.held {
                self.step.probe.insert((mac, first));
            }
            let line = format!("suspicion: {mac} is there as {first} and as {address}, which {what}; its address may be copied");
            self.suspect(mac, line, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    #[test]
    fn who_roams_and_who_is_in_two_places() {
        // (seconds and port of each sight, whether the last one is told)
        for (sights, told) in [
            (&[(0, "lan1")][..], false),
            (&[(0, "lan1"), (1, "lan2"), (2, "lan1"), (3, "lan2")], false),
            (&[(0, "lan1"), (1, "lan2"), (2, "lan1"), (3, "lan2"), (4, "lan1")], true),
            (&[(0, "lan1"), (1, "lan2"), (2, "lan2"), (3, "lan2"), (4, "lan2"), (5, "lan2")], false),
            (&[(0, "lan1"), (20, "lan2"), (40, "lan1"), (60, "lan2"), (79, "lan1")], true),
            (&[(0, "lan1"), (20, "lan2"), (40, "lan1"), (60, "lan2"), (80, "lan1")], false),
            (&[(0, "lan1"), (20, "lan2"), (40, "lan1"), (60, "lan2"), (80, "lan1"), (99, "lan3")], true),
        ] {
            let mut suspicions = Suspicions::default();
            let mut last = None;
            for (second, port) in sights {
                last = suspicions.came_by(A, port, Monotonic(second * 1_000));
                assert_eq!(suspicions.came_by(B, "lan1", Monotonic(second * 1_000)), None, "another stays where it is");
            }
            assert_eq!(last.is_some(), told, "{sights:?}");
        }
    }

    #[test]
    fn an_address_that_comes_back_was_not_given_away() {
        let address: IpAddr = [10, 0, 0, 1].into();
        for (changes, told) in [
            (&[(0, A, B)][..], false),
            (&[(0, A, B), (5, B, A)], true),
            (&[(0, A, B), (600, B, A)], false),
            (&[(0, A, B), (5, B, Mac([2; 6]))], false),
        ] {
            let mut suspicions = Suspicions::default();
            let mut last = false;
            for (second, from, to) in changes {
                last = suspicions.changed_hands(address, *from, *to, Monotonic(second * 1_000));
            }
            assert_eq!(last, told, "{changes:?}");
        }
    }

    #[test]
    fn who_sends_as_another_and_who_has_a_new_lease() {
        let address: IpAddr = [10, 0, 0, 1].into();
        // (seconds of each packet that was refused, whether the last one is told)
        for (packets, told) in
            [(&[0][..], false), (&[0, 1], false), (&[0, 1, 2], true), (&[0, 59, 61], true), (&[0, 60, 61], false), (&[0, 60, 61, 62], true)]
        {
            let mut suspicions = Suspicions::default();
            let seen: Vec<bool> = packets.iter().map(|second| suspicions.sent_as_another(A, address, Monotonic(second * 1_000))).collect();
            assert_eq!(seen.last(), Some(&told), "{packets:?}");
        }
    }

    #[test]
    fn each_device_is_told_of_once_in_a_while_and_memory_is_bounded() {
        let mut suspicions = Suspicions::default();
        let told: Vec<bool> = [0, 1, 599, 600, 601].map(|second| suspicions.tell(A, Monotonic(second * 1_000))).into();
        assert_eq!(told, [true, false, false, true, false]);
        for n in 0..5_000u32 {
            let [a, b, c, d] = n.to_be_bytes();
            let mac = Mac([2, a | 1, b, c, d, 0]);
            suspicions.came_by(mac, "lan1", Monotonic(700_000));
            suspicions.changed_hands(IpAddr::from(n.to_be_bytes()), mac, A, Monotonic(700_000));
            suspicions.sent_as_another(A, IpAddr::from(n.to_be_bytes()), Monotonic(700_000));
            suspicions.tell(mac, Monotonic(700_000));
        }
        assert!(suspicions.ports.len() <= REMEMBERED && suspicions.claims.len() <= REMEMBERED && suspicions.told.len() <= REMEMBERED);
        assert!(suspicions.foreign.len() <= REMEMBERED);
        assert_eq!(suspicions.count(), 5_002);
    }
}
