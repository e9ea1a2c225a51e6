//! Who is on the LAN: the kernel's own neighbour tables (ARP, IPv6 neighbour discovery) on the customers' interfaces.
//!
//! `message` and `table` are pure. Interfaces may come later, go, and come again under the same name.

mod message;
mod table;

use crate::netlink::codec::{Malformed, Message, Messages, Writer};
use crate::netlink::events::{Events, Heard};
use crate::netlink::socket::{Family, NetlinkError, Socket};
use lango_core::units::Mac;
use message::{GET_LINK, GET_NEIGHBOUR, GROUPS, Said, all_links, all_neighbours, one_neighbour, read};
use nix::errno::Errno;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use table::{Table, agreed};

/// How long to wait before a socket that failed is opened anew.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

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

#[derive(Debug)]
struct Shared {
    table: Table,
    socket: Socket,
}

/// Hears who comes and goes.
#[derive(Debug)]
pub struct Neighbours {
    shared: Rc<RefCell<Shared>>,
    events: Option<Events>,
    waiting: VecDeque<NeighbourEvent>,
    /// Whether all must be read anew, because something was or may have been lost.
    read_all: bool,
}

impl Neighbours {
    /// Begins to listen on these interfaces, in the network namespace of the calling thread, and reads who is there
    /// already ([`Neighbours::known`]). Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(interfaces: &[String]) -> Result<Self, NetlinkError> {
        let events = Events::open(Family::Route, GROUPS)?;
        let shared = Shared { table: Table::new(interfaces), socket: Socket::open(Family::Route)? };
        let shared = Rc::new(RefCell::new(shared));
        shared.borrow_mut().read_all()?;
        Ok(Self { shared, events: Some(events), waiting: VecDeque::new(), read_all: false })
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

    /// Waits for the next event. Nothing is lost when the waiting is given up. Failures are made good here, with a line
    /// in the log.
    pub async fn next(&mut self) -> NeighbourEvent {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            if let Err(error) = self.wait().await {
                log::warn!("neighbours: {error}; listening anew");
                self.events = None;
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }

    async fn wait(&mut self) -> Result<(), NetlinkError> {
        let events = match &mut self.events {
            Some(events) => events,
            None => {
                // Whatever happened meanwhile was not heard.
                self.read_all = true;
                self.events.insert(Events::open(Family::Route, GROUPS)?)
            }
        };
        if self.read_all {
            self.waiting.extend(self.shared.borrow_mut().read_all()?);
            self.read_all = false;
            return Ok(());
        }
        match events.next().await.map_err(|source| NetlinkError::Socket { doing: "receive from", source })? {
            Heard::Overrun => self.read_all = true,
            Heard::Datagram(datagram) => {
                let mut shared = self.shared.borrow_mut();
                for said in Messages::new(datagram).filter_map(Result::ok).filter_map(|m| read(&m).ok().flatten()) {
                    let followed = shared.table.hear(said);
                    self.waiting.extend(followed.events);
                    self.read_all |= followed.appeared;
                }
            }
        }
        Ok(())
    }
}

impl Shared {
    fn read_all(&mut self) -> Result<Vec<NeighbourEvent>, NetlinkError> {
        let each = |found: &mut Vec<Said>, message: &Message<'_>| -> Result<(), Malformed> {
            found.extend(read(message)?);
            Ok(())
        };
        let links = self.socket.dump(GET_LINK, all_links, Vec::new, each)?;
        let neighbours = self.socket.dump(GET_NEIGHBOUR, all_neighbours, Vec::new, each)?;
        Ok(self.table.hear_all(links, neighbours))
    }

    /// Asks the kernel who has an address on a link.
    fn ask(&mut self, index: i32, address: IpAddr) -> Result<Option<Mac>, NetlinkError> {
        let mut found = None;
        let body = |w: &mut Writer| one_neighbour(w, index, address);
        let asked = self.socket.request(GET_NEIGHBOUR, body, |message| {
            if let Some(Said::Neighbour { mac, .. }) = read(message)? {
                found = mac;
            }
            Ok(())
        });
        match asked {
            // No such neighbour; no such link any more.
            Err(error) if error.is(Errno::ENOENT) || error.is(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(found),
        }
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
        let mut shared = self.shared.borrow_mut();
        let links: Vec<i32> = shared.table.links().collect();
        let asked: Result<Vec<Option<Mac>>, _> = links.into_iter().map(|index| shared.ask(index, address)).collect();
        match asked {
            Ok(answers) => agreed(answers.into_iter().flatten()),
            Err(error) => {
                log::warn!("neighbours: the kernel cannot be asked: {error}");
                shared.table.mac_of(address)
            }
        }
    }
}
