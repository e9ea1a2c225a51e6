//! Who is on the LAN: the kernel's own neighbour tables (ARP, IPv6 neighbour discovery) on the customers' interfaces.
//!
//! `message` and `table` are pure. Interfaces may come later, go, and come again under the same name.

pub mod message;
mod table;

use crate::netlink::codec::{Malformed, Message, Messages};
use crate::netlink::events::{Events, Heard};
use crate::netlink::socket::{Family, NetlinkError, Socket};
use lango_core::units::Mac;
use message::{GET_LINK, GET_NEIGHBOUR, GROUPS, NEW_NEIGHBOUR, Said, all_links, all_neighbours, ask_neighbour, one_neighbour, read};
use nix::errno::Errno;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use table::{Table, agreed};

/// How long to wait before a socket that failed is opened anew.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// So many changes of port are told in a second at most: two stations that send as one may cause thousands.
const PORTS_A_SECOND: u32 = 50;

/// A device was seen under an address, or the kernel no longer knows it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourEvent {
    /// The device.
    pub mac: Mac,
    /// Its address, IPv4 or IPv6 (link-local ones, too).
    pub address: IpAddr,
    /// False where the kernel forgot it, found it gone, or found another device there. A phone that sleeps is such a one.
    pub present: bool,
}

/// What is told of the customers' interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// A device came or went.
    Neighbour(NeighbourEvent),
    /// A bridge saw a device come in by a port where it was not before.
    Port {
        /// The device.
        mac: Mac,
        /// The port's name.
        port: String,
    },
}

#[derive(Debug)]
struct Shared {
    table: Table,
    socket: Socket,
    /// Whether something was or may have been lost: all must be read anew, and until then the table is not gone by.
    stale: bool,
}

/// Hears who comes and goes.
#[derive(Debug)]
pub struct Neighbours {
    shared: Rc<RefCell<Shared>>,
    events: Option<Events>,
    waiting: VecDeque<Sight>,
    /// How many more changes of port are told, and until when.
    ports: (u32, Instant),
}

/// Where the kernel has what it does to find a neighbour, a folder for each interface.
const SETTINGS: &str = "/proc/sys/net/ipv4/neigh";

/// How it is to ask whether somebody still answers, on the interfaces on which it was asked to.
const ASKED_SO: [(&str, &str); 2] = [("ucast_solicit", "1"), ("mcast_resolicit", "2")];

/// What the kernel has for every interface where nobody says otherwise (`arp_tbl`). In a network namespace it does not show that.
const OF_THE_KERNEL: [&str; 2] = ["3", "0"];

/// Lets the kernel ask for neighbours as it does on every interface, where a daemon of ours had set it otherwise: one that was killed kept
/// no note, so they are known by having exactly our values. In the network namespace of the calling thread.
pub fn put_back() {
    let read = |link: &str, name: &str| std::fs::read_to_string(format!("{SETTINGS}/{link}/{name}"));
    let Ok(links) = std::fs::read_dir(SETTINGS) else { return };
    for link in links.filter_map(|link| link.ok()?.file_name().into_string().ok()).filter(|link| link != "default") {
        if ASKED_SO.iter().all(|(name, value)| read(&link, name).is_ok_and(|found| found.trim() == *value)) {
            for ((name, _), of_the_kernel) in ASKED_SO.into_iter().zip(OF_THE_KERNEL) {
                let value = read("default", name).unwrap_or_else(|_| of_the_kernel.to_owned());
                if let Err(cause) = std::fs::write(format!("{SETTINGS}/{link}/{name}"), value) {
                    log::warn!("neighbours: {name} of {link} stays as it is: {cause}");
                }
            }
        }
    }
}

impl Neighbours {
    /// Begins to listen on these interfaces, in the network namespace of the calling thread, and reads who is there
    /// already ([`Neighbours::known`]). Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(interfaces: &[String]) -> Result<Self, NetlinkError> {
        let events = Events::open(Family::Route, GROUPS)?;
        let shared = Shared { table: Table::new(interfaces), socket: Socket::open(Family::Route)?, stale: false };
        let shared = Rc::new(RefCell::new(shared));
        shared.borrow_mut().read_all()?;
        Ok(Self { shared, events: Some(events), waiting: VecDeque::new(), ports: (PORTS_A_SECOND, Instant::now()) })
    }

    /// Everybody that is known now. What [`Neighbours::next`] tells is what changes after.
    #[must_use]
    pub fn known(&self) -> Vec<(Mac, IpAddr)> {
        self.shared.borrow().table.known().collect()
    }

    /// A handle for looking up who has an address.
    #[must_use]
    pub fn cache(&self) -> Cache {
        Cache { shared: self.shared.clone() }
    }

    /// Lets the kernel ask whether a device is still there under an address. If nobody answers within three seconds, that is
    /// told like any event; an answer is not.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn probe(&mut self, mac: Mac, address: IpAddr) -> Result<(), NetlinkError> {
        let mut shared = self.shared.borrow_mut();
        let links: Vec<(i32, String)> = shared.table.links_of(mac, address).map(|(index, name)| (index, name.to_owned())).collect();
        links.into_iter().try_for_each(|(index, name)| shared.probe(index, &name, address))
    }

    /// Waits for the next event. Nothing is lost when the waiting is given up. Failures are made good here, with a line
    /// in the log.
    pub async fn next(&mut self) -> Sight {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            if let Err(error) = self.wait().await {
                log::warn!("neighbours: {error}; listening anew");
                self.events = None;
                // Whatever happens meanwhile is not heard.
                self.shared.borrow_mut().stale = true;
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }

    async fn wait(&mut self) -> Result<(), NetlinkError> {
        let events = match &mut self.events {
            Some(events) => events,
            None => self.events.insert(Events::open(Family::Route, GROUPS)?),
        };
        if let Some(all) = self.shared.borrow_mut().read_if_stale()? {
            self.waiting.extend(all.into_iter().map(Sight::Neighbour));
            return Ok(());
        }
        match events.next().await.map_err(|source| NetlinkError::Socket { doing: "receive from", source })? {
            Heard::Overrun => self.shared.borrow_mut().stale = true,
            Heard::Datagram(datagram) => {
                let mut shared = self.shared.borrow_mut();
                for said in Messages::new(datagram).filter_map(Result::ok).filter_map(|m| read(&m).ok().flatten()) {
                    let followed = shared.table.hear(said);
                    shared.stale |= followed.appeared;
                    self.waiting.extend(followed.events.into_iter().map(Sight::Neighbour));
                    let Some((mac, port)) = followed.port else { continue };
                    if self.ports.1.elapsed() >= Duration::from_secs(1) {
                        self.ports = (PORTS_A_SECOND, Instant::now());
                    }
                    if self.ports.0 > 0 {
                        self.ports.0 -= 1;
                        self.waiting.push_back(Sight::Port { mac, port });
                    }
                }
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Reads all anew where that must be; then the table is gone by again.
    fn read_if_stale(&mut self) -> Result<Option<Vec<NeighbourEvent>>, NetlinkError> {
        if !self.stale {
            return Ok(None);
        }
        let all = self.read_all()?;
        self.stale = false;
        Ok(Some(all))
    }

    fn read_all(&mut self) -> Result<Vec<NeighbourEvent>, NetlinkError> {
        let each = |found: &mut Vec<Said>, message: &Message<'_>| -> Result<(), Malformed> {
            found.extend(read(message)?);
            Ok(())
        };
        let links = self.socket.dump(GET_LINK, all_links, Vec::new, each)?;
        let neighbours = self.socket.dump(GET_NEIGHBOUR, all_neighbours, Vec::new, each)?;
        Ok(self.table.hear_all(links, neighbours))
    }

    fn probe(&mut self, index: i32, link: &str, address: IpAddr) -> Result<(), NetlinkError> {
        // An entry that an operator set by hand is never asked after, and must stay what it is.
        if ask(&mut self.socket, index, address)?.is_none_or(|(_, fixed)| fixed) {
            return Ok(());
        }
        // The kernel asks the Ethernet address that it knows, three times. Where another station sends from that address,
        // too, the bridge takes the question to whichever sent last. So: once there, and then everybody, twice.
        for (name, value) in ASKED_SO {
            if let Err(cause) = std::fs::write(format!("{SETTINGS}/{link}/{name}"), value) {
                log::debug!("neighbours: {name} of {link} stays as it is: {cause}");
            }
        }
        // Neither made where it is not there any more, nor given another device (no flags for those).
        let asked = self.socket.change(NEW_NEIGHBOUR, 0, |w| ask_neighbour(w, index, address));
        // It is being looked for already, and nobody answered so far.
        let unknown = asked.as_ref().is_err_and(|error| error.is(Errno::EINVAL));
        if unknown { Ok(()) } else { gone_is_none(asked).map(|_| ()) }
    }
}

/// Asks the kernel who has an address on a link, and whether somebody set that by hand.
fn ask(socket: &mut Socket, index: i32, address: IpAddr) -> Result<Option<(Mac, bool)>, NetlinkError> {
    let mut found = None;
    let asked = socket.ask(
        GET_NEIGHBOUR,
        |w| one_neighbour(w, index, address),
        |message| {
            if let Some(Said::Neighbour { mac, fixed, .. }) = read(message)? {
                found = mac.map(|mac| (mac, fixed));
            }
            Ok(())
        },
    );
    gone_is_none(asked).map(|asked| asked.and(found))
}

/// No such neighbour, or no such link any more, is an answer.
fn gone_is_none(asked: Result<(), NetlinkError>) -> Result<Option<()>, NetlinkError> {
    match asked {
        Err(error) if error.is(Errno::ENOENT) || error.is(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(Some(())),
    }
}

/// Looks up who has an address. Cheap to clone; of one thread only.
#[derive(Debug, Clone)]
pub struct Cache {
    shared: Rc<RefCell<Shared>>,
}

impl Cache {
    /// The device that has this address now on a customers' interface; nothing where the kernel knows none.
    ///
    /// The kernel is asked each time, which takes microseconds: what was heard last may be an event behind, and who
    /// takes another's address must not be taken for that other, not for a moment. What was heard serves where the
    /// kernel cannot be asked.
    #[must_use]
    pub fn mac_of(&self, address: IpAddr) -> Option<Mac> {
        let address = address.to_canonical(); // a socket for both IPs shows IPv4 as ::ffff:a.b.c.d
        let Shared { table, socket, .. } = &mut *self.shared.borrow_mut();
        let asked: Result<Vec<_>, _> = table.links().map(|index| ask(socket, index, address)).collect();
        match asked {
            Ok(answers) => agreed(answers.into_iter().flatten().map(|(mac, _)| mac)),
            Err(error) => {
                log::warn!("neighbours: the kernel cannot be asked: {error}");
                table.mac_of(address)
            }
        }
    }

    /// The device that had this address when something was heard of it last: for what does no harm an event behind. None, too, while events
    /// cannot be heard: nobody could say how far behind that were.
    #[must_use]
    pub fn heard(&self, address: IpAddr) -> Option<Mac> {
        let shared = self.shared.borrow();
        if shared.stale { None } else { shared.table.mac_of(address.to_canonical()) }
    }
}
