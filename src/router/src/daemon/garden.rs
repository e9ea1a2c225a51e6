//! The walled garden's host names, looked up now and then: the gate knows addresses only.
//!
//! This is all that there is where dnsmasq has no nftset, and what fills the garden before anybody asks where it has. A host
//! whose addresses change is followed within [`AGAIN`]; one that cannot be looked up keeps the ones it had.

use crate::config::values::HostName;
use lango_core::tree::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often names are looked up, and what was found is put into the gate anew, where it would end otherwise. Their own
/// lifetimes are not to be had from the system's resolver.
const AGAIN: Duration = Duration::from_secs(300);

/// After a look-up that failed for some name: the uplink may be back soon.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(15);

/// What was found, and of which hosts.
pub struct Found {
    hosts: Vec<HostName>,
    addresses: Vec<IpAddr>,
}

/// The garden as it was resolved last, and the hosts that it is made of.
pub struct Garden {
    hosts: watch::Sender<Vec<HostName>>,
    addresses: Vec<IpAddr>,
}

impl Garden {
    /// Looks hosts up from now on; what is found comes out of the receiver, each time. Without hosts nothing ever wakes.
    pub fn start(hosts: &[HostName]) -> (Self, mpsc::Receiver<Found>) {
        let (hosts, watched) = watch::channel(hosts.to_vec());
        let (found, addresses) = mpsc::channel(1);
        tokio::task::spawn_local(look_up(watched, found));
        (Self { hosts, addresses: Vec::new() }, addresses)
    }

    /// Other hosts from now on. Gives back whether one that was there is not any more: its addresses must go then, and
    /// nothing that was found is known until the next look-up, which begins at once.
    pub fn set_hosts(&mut self, hosts: &[HostName]) -> bool {
        let mut fewer = false;
        self.hosts.send_if_modified(|now| {
            let changed = now.as_slice() != hosts;
            fewer = now.iter().any(|host| !hosts.contains(host));
            hosts.clone_into(now);
            changed
        });
        if fewer {
            self.addresses.clear();
        }
        fewer
    }

    /// Remembers what was found, for a gate that has to be made anew, and gives it back; nothing where it was looked up
    /// before the hosts became others.
    pub fn resolved(&mut self, found: Found) -> Option<&[IpAddr]> {
        if *self.hosts.borrow() != found.hosts {
            return None;
        }
        self.addresses = found.addresses;
        Some(&self.addresses)
    }

    /// What was found last.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }
}

async fn look_up(mut hosts: watch::Receiver<Vec<HostName>>, found: mpsc::Sender<Found>) {
    let mut known: BTreeMap<HostName, Vec<IpAddr>> = BTreeMap::new();
    loop {
        let names = hosts.borrow_and_update().clone();
        known.retain(|name, _| names.contains(name));
        let mut again = AGAIN;
        for name in &names {
            match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(addresses) => drop(known.insert(name.clone(), addresses.map(|address| address.ip()).collect())),
                Err(cause) => {
                    log::debug!("garden: {name} cannot be looked up: {cause}");
                    again = AGAIN_AFTER_FAILURE;
                }
            }
        }
        let mut addresses: Vec<IpAddr> = known.values().flatten().copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        // The same as before, too: what is in the gate would end otherwise.
        if !addresses.is_empty() && found.send(Found { hosts: names.clone(), addresses }).await.is_err() {
            return; // the daemon stops
        }
        let changed = async {
            // Without hosts there is nothing to look up again: only other hosts wake this.
            if names.is_empty() { hosts.changed().await } else { tokio::time::timeout(again, hosts.changed()).await.unwrap_or(Ok(())) }
        };
        if changed.await.is_err() {
            return;
        }
    }
}
