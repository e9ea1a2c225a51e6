//! Who has which address on the customers' interfaces, as last heard. Pure.

use super::NeighbourEvent;
use super::message::Said;
use lango_core::tree::{BTreeMap, BTreeSet};
use lango_core::units::Mac;
use std::net::IpAddr;

/// The table.
#[derive(Debug, Clone, Default)]
pub struct Table {
    wanted: BTreeSet<String>,
    /// The wanted interfaces that are there, by their indexes: one that is made anew gets another.
    links: BTreeMap<i32, String>,
    /// All interfaces' names: a bridge's ports are told by their indexes.
    names: BTreeMap<i32, String>,
    neighbours: BTreeMap<(IpAddr, i32), Mac>,
}

/// What followed from a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// Who came and went.
    pub events: Vec<NeighbourEvent>,
    /// Who came in by which port of a wanted bridge.
    pub port: Option<(Mac, String)>,
    /// A wanted interface appeared: its neighbours must be asked for.
    pub appeared: bool,
}

impl Table {
    /// A table for these interfaces, whether they are there already or not.
    pub fn new(interfaces: &[String]) -> Self {
        Self { wanted: interfaces.iter().cloned().collect(), ..Self::default() }
    }

    /// The indexes of the interfaces that are there.
    pub fn links(&self) -> impl Iterator<Item = i32> + '_ {
        self.links.keys().copied()
    }

    /// The interfaces on which a device has an address, and their names.
    pub fn links_of(&self, mac: Mac, address: IpAddr) -> impl Iterator<Item = (i32, &str)> {
        let there = self.links.iter().filter(move |(index, _)| self.neighbours.get(&(address, **index)) == Some(&mac));
        there.map(|(index, name)| (*index, name.as_str()))
    }

    /// Everybody that is known.
    pub fn known(&self) -> impl Iterator<Item = (Mac, IpAddr)> + '_ {
        self.neighbours.iter().map(|((address, _), mac)| (*mac, *address))
    }

    /// Who has an address; nothing where two interfaces disagree, as they may about link-local ones.
    pub fn mac_of(&self, address: IpAddr) -> Option<Mac> {
        agreed(self.neighbours.range((address, i32::MIN)..=(address, i32::MAX)).map(|(_, mac)| *mac))
    }

    /// Takes in a message.
    pub fn hear(&mut self, said: Said) -> Followed {
        match said {
            Said::Link { index, name } => {
                self.names.insert(index, name.clone());
                let ours = self.wanted.contains(&name);
                match self.links.get(&index) {
                    Some(_) if !ours => Followed { events: self.forget(index), ..Followed::default() }, // renamed
                    None if ours => {
                        self.links.insert(index, name);
                        Followed { appeared: true, ..Followed::default() }
                    }
                    _ => Followed::default(),
                }
            }
            Said::LinkGone { index } => {
                self.names.remove(&index);
                Followed { events: self.forget(index), ..Followed::default() }
            }
            Said::Port { bridge, port, mac } if self.links.contains_key(&bridge) => {
                Followed { port: self.names.get(&port).map(|name| (mac, name.clone())), ..Followed::default() }
            }
            Said::Neighbour { index, address, mac, .. } if self.links.contains_key(&index) => {
                let before = match mac {
                    Some(mac) => self.neighbours.insert((address, index), mac),
                    None => self.neighbours.remove(&(address, index)),
                };
                if before == mac {
                    return Followed::default();
                }
                let event = |present| move |mac| NeighbourEvent { mac, address, present };
                let gone = before.map(event(false));
                Followed { events: gone.into_iter().chain(mac.map(event(true))).collect(), ..Followed::default() }
            }
            Said::Neighbour { .. } | Said::Port { .. } => Followed::default(),
        }
    }

    /// Takes in all that there is, after events were lost: what is not among it is gone.
    pub fn hear_all(&mut self, links: Vec<Said>, neighbours: Vec<Said>) -> Vec<NeighbourEvent> {
        let there: BTreeSet<i32> =
            links.iter().filter_map(|said| if let Said::Link { index, .. } = said { Some(*index) } else { None }).collect();
        self.names.retain(|index, _| there.contains(index));
        let gone: Vec<i32> = self.links().filter(|index| !there.contains(index)).collect();
        let mut events: Vec<NeighbourEvent> = gone.into_iter().flat_map(|index| self.forget(index)).collect();
        for said in links {
            events.extend(self.hear(said).events);
        }
        let mut missing: BTreeSet<(IpAddr, i32)> = self.neighbours.keys().copied().collect();
        for said in &neighbours {
            if let Said::Neighbour { index, address, .. } = said {
                missing.remove(&(*address, *index));
            }
        }
        let missing = missing.into_iter().map(|(address, index)| Said::Neighbour { index, address, mac: None, fixed: false });
        for said in missing.chain(neighbours) {
            events.extend(self.hear(said).events);
        }
        events
    }

    fn forget(&mut self, index: i32) -> Vec<NeighbourEvent> {
        self.links.remove(&index);
        let (gone, rest) = std::mem::take(&mut self.neighbours).into_iter().partition(|((_, i), _)| *i == index);
        self.neighbours = rest;
        let gone: BTreeMap<(IpAddr, i32), Mac> = gone;
        gone.into_iter().map(|((address, _), mac)| NeighbourEvent { mac, address, present: false }).collect()
    }
}

/// The one device that all answers name; nothing where there is none, or more than one.
pub fn agreed(mut answers: impl Iterator<Item = Mac>) -> Option<Mac> {
    let first = answers.next()?;
    answers.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn link(index: i32, name: &str) -> Said {
        Said::Link { index, name: name.into() }
    }
    fn at(index: i32, address: &str, mac: Option<Mac>) -> Said {
        Said::Neighbour { index, address: address.parse().unwrap(), mac, fixed: false }
    }
    /// Events as short lines.
    fn shown(events: &[NeighbourEvent]) -> String {
        let line = |e: &NeighbourEvent| format!("{}{} {}", if e.present { '+' } else { '-' }, e.mac.0[5], e.address);
        events.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn who_comes_who_goes_and_who_is_none_of_ours() {
        let mut table = Table::new(&["br-lan".into(), "wlan1".into()]);
        for (said, events, appeared) in [
            (at(3, "10.0.0.1", Some(A)), "", false), // the interface is not known yet
            (link(2, "wan"), "", false),
            (at(2, "192.0.2.1", Some(B)), "", false),
            (link(3, "br-lan"), "", true),
            (link(3, "br-lan"), "", false),
            (at(3, "10.0.0.1", Some(A)), "+1 10.0.0.1", false),
            (at(3, "10.0.0.1", Some(A)), "", false),
            (at(3, "fe80::1", Some(A)), "+1 fe80::1", false),
            (at(3, "10.0.0.1", Some(B)), "-1 10.0.0.1, +2 10.0.0.1", false),
            (at(3, "10.0.0.9", None), "", false),
            (at(3, "10.0.0.1", None), "-2 10.0.0.1", false),
            (at(3, "10.0.0.1", Some(B)), "+2 10.0.0.1", false),
            (Said::LinkGone { index: 3 }, "-2 10.0.0.1, -1 fe80::1", false),
            (at(3, "10.0.0.1", Some(B)), "", false),
            (link(8, "br-lan"), "", true), // made anew
            (at(8, "10.0.0.1", Some(B)), "+2 10.0.0.1", false),
            (link(8, "old-lan"), "-2 10.0.0.1", false), // renamed
        ] {
            let followed = table.hear(said.clone());
            assert_eq!((shown(&followed.events).as_str(), followed.appeared), (events, appeared), "{said:?}");
        }
        assert_eq!(table.known().count(), 0);
    }

    #[test]
    fn after_events_were_lost_the_difference_is_told() {
        let mut table = Table::new(&["br-lan".into(), "wlan1".into()]);
        for said in
            [link(3, "br-lan"), link(4, "wlan1"), at(3, "10.0.0.1", Some(A)), at(3, "10.0.0.2", Some(B)), at(4, "10.1.0.1", Some(A))]
        {
            table.hear(said);
        }
        let events =
            table.hear_all(vec![link(3, "br-lan"), link(5, "wlan1")], vec![at(3, "10.0.0.2", Some(A)), at(5, "10.1.0.2", Some(B))]);
        assert_eq!(shown(&events), "-1 10.1.0.1, -1 10.0.0.1, -2 10.0.0.2, +1 10.0.0.2, +2 10.1.0.2");
        assert_eq!(table.known().count(), 2);
    }

    #[test]
    fn ports_are_told_by_name_and_only_those_of_ours() {
        let mut table = Table::new(&["br-lan".into()]);
        let port = |bridge, port| Said::Port { bridge, port, mac: A };
        for (said, told) in [
            (link(3, "br-lan"), None),
            (link(7, "lan2"), None),
            (port(3, 7), Some("lan2")),
            (port(4, 7), None), // a bridge that is none of ours
            (port(3, 8), None), // a port whose name was not heard
            (link(7, "wlan0"), None),
            (port(3, 7), Some("wlan0")),
            (Said::LinkGone { index: 7 }, None),
            (port(3, 7), None),
        ] {
            assert_eq!(table.hear(said.clone()).port, told.map(|name| (A, name.to_owned())), "{said:?}");
        }
    }

    #[test]
    fn an_address_that_two_claim_is_nobody_s() {
        let mut table = Table::new(&["br-lan".into(), "wlan1".into()]);
        for said in [link(3, "br-lan"), link(4, "wlan1"), at(3, "fe80::1", Some(A)), at(4, "fe80::2", Some(B))] {
            table.hear(said);
        }
        let mac_of = |table: &Table, address: &str| table.mac_of(address.parse().unwrap());
        assert_eq!((mac_of(&table, "fe80::1"), mac_of(&table, "fe80::2"), mac_of(&table, "fe80::3")), (Some(A), Some(B), None));
        table.hear(at(4, "fe80::1", Some(A)));
        assert_eq!(mac_of(&table, "fe80::1"), Some(A), "one device on two interfaces");
        table.hear(at(4, "fe80::1", Some(B)));
        assert_eq!(mac_of(&table, "fe80::1"), None);
    }
}
