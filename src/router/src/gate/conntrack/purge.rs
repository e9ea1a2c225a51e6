//! Which tracked connections are to go. Pure.
//!
//! Only what the router forwards: a phone's connection to the portal or to the router's DNS goes on, so that the page which
//! is open at the end of the paid time does not break. And never what goes to the walled garden, which is open to all.

use super::message::{Ends, Entry, OwnAddress};
use lango_core::tree::BTreeSet;
use std::net::IpAddr;

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network that an address of the router is in; nothing where it is none of devices: link-local ones are not
    /// forwarded, and one that is all of the address is no network.
    #[must_use]
    pub fn of(own: &OwnAddress) -> Option<Self> {
        let bits = if own.address.is_ipv4() { 32 } else { 128 };
        // A prefix of nothing would be the whole world.
        (forwardable(own.address) && (1..bits).contains(&own.prefix)).then_some(Self { address: own.address, prefix: own.prefix })
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(address)) => (own.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.prefix),
            (IpAddr::V6(own), IpAddr::V6(address)) => (own.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.prefix),
            _ => false,
        }
    }
}

/// Whether a router forwards to such an address at all.
#[must_use]
pub fn forwardable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => !(a.is_multicast() || a.is_broadcast() || a.is_unspecified() || a.is_loopback() || a.is_link_local()),
        IpAddr::V6(a) => !(a.is_multicast() || a.is_unspecified() || a.is_loopback() || a.is_unicast_link_local()),
    }
}

/// Whose connections are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those of these addresses.
    Of(BTreeSet<IpAddr>),
    /// Those of every address of the customers' networks but these, which may pass: what a gate that takes over cleans up.
    AllBut {
        /// The addresses that may pass.
        passing: BTreeSet<IpAddr>,
        /// Of these too, what is offloaded: it was so before our rules came, and is seen by none of them.
        offloaded: bool,
    },
}

/// What is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// Whose.
    pub whose: Whose,
    /// The walled garden.
    pub garden: BTreeSet<IpAddr>,
}

/// The router, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Router {
    /// Its own addresses.
    pub own: BTreeSet<IpAddr>,
    /// The customers' networks.
    pub networks: Vec<Network>,
}

impl Router {
    /// Puts it together; `customers` are the indexes of the customers' interfaces.
    #[must_use]
    pub fn new(addresses: &[OwnAddress], customers: &BTreeSet<u32>) -> Self {
        let of_customers = addresses.iter().filter(|own| customers.contains(&own.interface));
        Self { own: addresses.iter().map(|own| own.address).collect(), networks: of_customers.filter_map(Network::of).collect() }
    }
}

impl Purge {
    /// Whether a connection is to go.
    #[must_use]
    pub fn takes(&self, entry: &Entry<'_>, router: &Router) -> bool {
        let Ends { source: began, .. } = entry.original;
        // Who really answers, behind all NAT: the router itself where it redirected, the device where it forwards a port.
        let Ends { source: answers, .. } = entry.reply;
        [(began, answers), (answers, began)].into_iter().any(|(device, far)| {
            self.is_about(device, entry.offloaded, router)
                && forwardable(far)
                && !router.own.contains(&far)
                && !router.own.contains(&device)
                && !self.garden.contains(&far)
        })
    }

    fn is_about(&self, device: IpAddr, is_offloaded: bool, router: &Router) -> bool {
        match &self.whose {
            Whose::Of(devices) => devices.contains(&device),
            Whose::AllBut { passing, offloaded } => {
                router.networks.iter().any(|network| network.contains(device)) && (!passing.contains(&device) || *offloaded && is_offloaded)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::codec::{Messages, Writer};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
        addresses.iter().map(|address| ip(address)).collect()
    }

    fn own(address: &str, prefix: u8, interface: u32) -> OwnAddress {
        OwnAddress { address: ip(address), prefix, interface }
    }

    /// 10.77.0.0/24 and fd77::/64 are the customers' (interface 3), 10.9.0.0/24 is the operator's own (interface 4).
    fn router() -> Router {
        let addresses = [
            own("127.0.0.1", 8, 1),
            own("192.0.2.2", 24, 2),
            own("2001:db8:1::2", 64, 2),
            own("10.77.0.1", 24, 3),
            own("fd77::1", 64, 3),
            own("fe80::1", 64, 3),
            own("10.9.0.1", 24, 4),
        ];
        Router::new(&addresses, &[3].into())
    }

    /// Whether a connection goes, by the ends as they are written: who began, to whom; who answers, to whom.
    fn goes(whose: &Whose, [began, to, answers, back]: [&str; 4], offloaded: bool) -> bool {
        let mut writer = Writer::new();
        writer.message(0x100, 0, 1, |w| {
            let v4 = ip(began).is_ipv4();
            w.raw(&[if v4 { 2 } else { 10 }, 0, 0, 0]);
            for (kind, source, destination) in [(1, began, to), (2, answers, back)] {
                w.nest(kind, |w| {
                    w.nest(1, |w| {
                        for (kind, end) in [(1, source), (2, destination)] {
                            match ip(end) {
                                IpAddr::V4(address) => w.attribute(kind, &address.octets()),
                                IpAddr::V6(address) => w.attribute(kind + 2, &address.octets()),
                            }
                        }
                    });
                });
            }
            w.be32(3, if offloaded { 1 << 14 } else { 0 });
            w.be32(12, 7);
        });
        let bytes = writer.finish().unwrap();
        let message = Messages::new(&bytes).next().unwrap().unwrap();
        let purge = Purge { whose: whose.clone(), garden: set(&["192.0.2.99"]) };
        purge.takes(&Entry::read(&message).unwrap().unwrap(), &router())
    }

    const OUT_THROUGH_NAT: [&str; 4] = ["10.77.0.11", "192.0.2.1", "192.0.2.1", "192.0.2.2"];
    const OUT6: [&str; 4] = ["fd77::11", "2001:db8:1::1", "2001:db8:1::1", "fd77::11"];
    const IN6: [&str; 4] = ["2001:db8:1::1", "fd77::11", "fd77::11", "2001:db8:1::1"];
    const FORWARDED_PORT: [&str; 4] = ["192.0.2.1", "192.0.2.2", "10.77.0.11", "192.0.2.1"];
    const REDIRECTED_TO_PORTAL: [&str; 4] = ["10.77.0.11", "192.0.2.1", "10.77.0.1", "10.77.0.11"];
    const PORTAL: [&str; 4] = ["10.77.0.11", "10.77.0.1", "10.77.0.1", "10.77.0.11"];
    const PORTAL_BY_WAN_ADDRESS: [&str; 4] = ["10.77.0.11", "192.0.2.2", "192.0.2.2", "10.77.0.11"];
    const PINGED_BY_ROUTER: [&str; 4] = ["10.77.0.1", "10.77.0.11", "10.77.0.11", "10.77.0.1"];
    const GARDEN: [&str; 4] = ["10.77.0.11", "192.0.2.99", "192.0.2.99", "192.0.2.2"];
    const DISCOVERY: [&str; 4] = ["10.77.0.11", "224.0.0.251", "224.0.0.251", "10.77.0.11"];
    const DHCP: [&str; 4] = ["10.77.0.11", "255.255.255.255", "255.255.255.255", "10.77.0.11"];
    const DISCOVERY6: [&str; 4] = ["fd77::11", "ff02::fb", "ff02::fb", "fd77::11"];
    const OTHER_DEVICE: [&str; 4] = ["10.77.0.12", "192.0.2.1", "192.0.2.1", "192.0.2.2"];
    const OPERATOR: [&str; 4] = ["10.9.0.5", "192.0.2.1", "192.0.2.1", "192.0.2.2"];
    const ROUTER_ITSELF: [&str; 4] = ["192.0.2.2", "192.0.2.1", "192.0.2.1", "192.0.2.2"];

    #[test]
    fn what_is_forwarded_for_a_device_goes_and_nothing_else() {
        let whose = Whose::Of(set(&["10.77.0.11", "fd77::11"]));
        for (ends, expected) in [
            (OUT_THROUGH_NAT, true),
            (OUT6, true),
            (IN6, true),
            (FORWARDED_PORT, true),
            (REDIRECTED_TO_PORTAL, false),
            (PORTAL, false),
            (PORTAL_BY_WAN_ADDRESS, false),
            (PINGED_BY_ROUTER, false),
            (GARDEN, false),
            (DISCOVERY, false),
            (DHCP, false),
            (DISCOVERY6, false),
            (OTHER_DEVICE, false),
            (OPERATOR, false),
            (ROUTER_ITSELF, false),
        ] {
            assert_eq!(goes(&whose, ends, false), expected, "{ends:?}");
        }
    }

    #[test]
    fn a_gate_that_takes_over_cleans_the_customers_networks_only() {
        let whose = |offloaded| Whose::AllBut { passing: set(&["10.77.0.12"]), offloaded };
        for (ends, known_rules, new_rules, new_rules_and_offloaded) in [
            (OUT_THROUGH_NAT, true, true, true),
            (OUT6, true, true, true),
            (IN6, true, true, true),
            (FORWARDED_PORT, true, true, true),
            (OTHER_DEVICE, false, false, true),
            (PORTAL, false, false, false),
            (REDIRECTED_TO_PORTAL, false, false, false),
            (GARDEN, false, false, false),
            (DISCOVERY6, false, false, false),
            (OPERATOR, false, false, false),
            (ROUTER_ITSELF, false, false, false),
        ] {
            assert_eq!(goes(&whose(false), ends, true), known_rules, "{ends:?}");
            assert_eq!(goes(&whose(true), ends, false), new_rules, "{ends:?}");
            assert_eq!(goes(&whose(true), ends, true), new_rules_and_offloaded, "{ends:?}");
        }
    }

    #[test]
    fn networks_hold_what_they_hold() {
        for (address, prefix, other, expected) in [
            ("10.77.0.1", 24, "10.77.0.255", true),
            ("10.77.0.1", 24, "10.77.1.0", false),
            ("10.77.0.1", 31, "10.77.0.0", true),
            ("fd77::1", 64, "fd77::ffff", true),
            ("fd77::1", 64, "fd77:0:0:1::1", false),
            ("10.77.0.1", 24, "::ffff:10.77.0.1", false),
        ] {
            assert_eq!(Network::of(&own(address, prefix, 3)).unwrap().contains(ip(other)), expected, "{other} in {address}/{prefix}");
        }
        for (address, prefix) in [("10.77.0.1", 0), ("10.77.0.1", 32), ("10.77.0.1", 40), ("fe80::1", 64), ("fd77::1", 128)] {
            assert_eq!(Network::of(&own(address, prefix, 3)), None, "{address}/{prefix}");
        }
    }
}
