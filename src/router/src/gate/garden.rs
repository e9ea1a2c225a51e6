//! The walled garden's addresses: those that the daemon looks up, renewed each time, and those that dnsmasq adds by itself.
//!
//! What dnsmasq put in is never taken out and never made shorter: it knows the subdomains that customers ask for, we do not.

use super::nft::{Request, TABLE, delete_element, empty_set, ensure_element};
use super::set::{Key, Set};
use super::{Gate, GateError, cannot};
use lango_core::time::Monotonic;
use lango_core::tree::BTreeMap;
use lango_core::units::Millis;
use nix::errno::Errno;
use std::net::IpAddr;

/// How long an address of ours stays that is not renewed: the look-ups of every five minutes may fail twice.
const OWN: Millis = Millis::from_seconds(15 * 60);

/// What stays so long needs no renewal yet.
const LONG_ENOUGH: Millis = Millis::from_seconds(12 * 60);

/// The shortest timeout that is asked for: the kernel takes none for the set's own.
const SHORTEST: Millis = Millis(20);

/// The line of dnsmasq's configuration by which it puts the addresses of this host and of all hosts below it into the garden
/// when they are asked for. The name is one that the configuration takes: letters, digits, hyphens and dots.
#[must_use]
pub fn dnsmasq_line(host: &str) -> String {
    let (four, six) = (Set::Garden4.name(), Set::Garden6.name());
    format!("nftset=/{host}/4#inet#{TABLE}#{four},6#inet#{TABLE}#{six}")
}

/// What puts these back into an empty table, each until its own end.
pub(super) fn put_back(known: &BTreeMap<IpAddr, Option<Monotonic>>, now: Monotonic) -> impl Iterator<Item = Request> + '_ {
    let alive = known.iter().filter(move |(_, until)| until.is_none_or(|until| until > now));
    alive.map(move |(address, until)| {
        // No end is somebody's own doing, by hand; in a new table it gets the set's.
        let timeout = until.map(|until| until.since(now).max(SHORTEST).0);
        ensure_element(set_of(*address), &Key::Address(*address).bytes(), timeout)
    })
}

/// Puts an address in with our own time, whether it is there or not: kernels before 6.12 do not change an element's timeout.
fn renew(address: IpAddr) -> [Request; 3] {
    let (set, key) = (set_of(address), Key::Address(address).bytes());
    let put = ensure_element(set, &key, Some(OWN.0));
    // It may end before the kernel comes to it, and what is not there cannot be deleted: so it is put in first.
    [put.clone(), delete_element(set, &key), put]
}

const fn set_of(address: IpAddr) -> Set {
    match address {
        IpAddr::V4(_) => Set::Garden4,
        IpAddr::V6(_) => Set::Garden6,
    }
}

impl Gate {
    /// Lets captive devices reach these addresses, for a quarter of an hour from now on. Others that they may reach stay until
    /// their own end. A garden that is full is emptied first.
    ///
    /// # Errors
    /// When the kernel refuses, or our table is gone; nothing is changed then.
    pub fn renew_garden(&mut self, addresses: &[IpAddr], now: Monotonic) -> Result<(), GateError> {
        self.garden = self.kernel.garden().map_err(cannot("read the walled garden"))?;
        let enough = now.after(LONG_ENOUGH);
        let stays = |address: &IpAddr| self.garden.get(address).is_some_and(|until| until.is_none_or(|until| until >= enough));
        let mut due: Vec<IpAddr> = addresses.iter().copied().filter(|address| !stays(address)).collect();
        let requests: Vec<Request> = due.iter().copied().flat_map(renew).collect();
        match self.kernel.transact(requests.iter()) {
            Err(refused) if refused.error.is(Errno::ENFILE) => {
                log::warn!("gate: the walled garden is full of addresses that dnsmasq put in; it is emptied and begins anew");
                let emptied = [Set::Garden4, Set::Garden6].map(empty_set).into_iter();
                let requests: Vec<Request> = emptied.chain(addresses.iter().copied().flat_map(renew)).collect();
                self.kernel.transact(requests.iter()).map_err(|r| cannot("fill the walled garden anew")(r.error))?;
                self.garden.clear();
                due = addresses.to_vec();
            }
            done => done.map_err(|r| cannot("fill the walled garden")(r.error))?,
        }
        self.garden.extend(due.into_iter().map(|address| (address, Some(now.after(OWN)))));
        Ok(())
    }

    /// Takes every address out of the garden: for a name that is not to be reached any more. Nobody knows which were its own.
    ///
    /// # Errors
    /// When the kernel refuses, or our table is gone; nothing is changed then.
    pub fn empty_garden(&mut self) -> Result<(), GateError> {
        let requests = [Set::Garden4, Set::Garden6].map(empty_set);
        self.garden.clear(); // whatever the kernel says: it is not to be put back
        self.kernel.transact(requests.iter()).map_err(|r| cannot("empty the walled garden")(r.error))
    }

    /// Takes note of an address that came into the garden, so that it is put back with a table that somebody deletes.
    pub fn garden_grew(&mut self, address: IpAddr, until: Option<Monotonic>, now: Monotonic) {
        // The kernel holds no more than that in both sets; what ended there is known here still.
        if self.garden.len() >= [Set::Garden4, Set::Garden6].iter().filter_map(|set| set.bounds()).map(|b| b.most as usize).sum() {
            self.garden.retain(|_, until| until.is_none_or(|until| until > now));
        }
        self.garden.insert(address, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dnsmasq_is_told_both_sets() {
        assert_eq!(dnsmasq_line("safaricom.co.ke"), "nftset=/safaricom.co.ke/4#inet#lango#garden4,6#inet#lango#garden6");
    }

    #[test]
    fn what_is_put_back_has_its_own_end_and_what_ended_is_not() {
        let now = Monotonic(1_000_000);
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let known = BTreeMap::from([
            (address(1), Some(Monotonic(1_060_000))),
            (address(2), Some(now)),
            (address(3), None),
            (address(4), Some(Monotonic(1_000_001))),
        ]);
        let put = |last, timeout| ensure_element(Set::Garden4, &[192, 0, 2, last], timeout);
        let expected = [put(1, Some(60_000)), put(3, None), put(4, Some(20))];
        assert_eq!(put_back(&known, now).collect::<Vec<_>>(), expected);
    }
}
