//! The walled garden's host names, looked up now and then: the gate knows addresses only.
//!
//! A host whose addresses change is followed within [`AGAIN`]; one that cannot be looked up keeps the ones it had.

use crate::config::values::HostName;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often names are looked up. Their own lifetimes are not to be had from the system's resolver.
const AGAIN: Duration = Duration::from_secs(300);

/// After a look-up that failed for some name: the uplink may be back soon.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(15);

/// The garden as it was resolved last, and the hosts that it is made of.
pub struct Garden {
    hosts: watch::Sender<Vec<HostName>>,
    addresses: Vec<IpAddr>,
}

impl Garden {
    /// Looks hosts up from now on; each new set of addresses comes out of the receiver. Without hosts nothing ever wakes.
    pub fn start(hosts: &[HostName]) -> (Self, mpsc::Receiver<Vec<IpAddr>>) {
        let (hosts, watched) = watch::channel(hosts.to_vec());
        let (found, addresses) = mpsc::channel(1);
        tokio::task::spawn_local(look_up(watched, found));
        (Self { hosts, addresses: Vec::new() }, addresses)
    }

    /// Other hosts from now on.
    pub fn set_hosts(&self, hosts: &[HostName]) {
        self.hosts.send_if_modified(|now| {
            let changed = now.as_slice() != hosts;
            hosts.clone_into(now);
            changed
        });
    }

    /// Remembers what was found, for a gate that has to be made anew.
    pub fn resolved(&mut self, addresses: Vec<IpAddr>) {
        self.addresses = addresses;
    }

    /// What was found last.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }
}

async fn look_up(mut hosts: watch::Receiver<Vec<HostName>>, found: mpsc::Sender<Vec<IpAddr>>) {
    let mut known: std::collections::BTreeMap<String, Vec<IpAddr>> = std::collections::BTreeMap::new();
    let mut told = Vec::new();
    loop {
        let names: Vec<String> = hosts.borrow_and_update().iter().map(ToString::to_string).collect();
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
        if addresses != told {
            told.clone_from(&addresses);
            if found.send(addresses).await.is_err() {
                return; // the daemon stops
            }
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
