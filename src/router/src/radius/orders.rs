//! Servers' orders on their way to the rules, and the answers on their way back.

use super::dynamic::{Cache, Key, Known, Named, read};
use super::packet::answer_order;
use crate::clock;
use lango_core::radius::{DynamicId, ErrorCause, RadiusEvent};
use lango_core::time::Monotonic;
use lango_core::tree::BTreeMap;
use radius::core::packet::Packet;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// The way on which an answer goes back.
#[derive(Clone)]
pub enum Sender {
    /// The socket that the order came by.
    Datagram(Rc<UdpSocket>, SocketAddr),
    /// The connection that it came by.
    Stream(mpsc::Sender<Vec<u8>>),
}

impl Sender {
    fn send(&self, bytes: Vec<u8>) {
        // What is lost is asked for again, and answered from memory.
        match self {
            Self::Datagram(socket, to) => drop(socket.try_send_to(&bytes, *to)),
            Self::Stream(packets) => drop(packets.try_send(bytes)),
        }
    }
}

struct Open {
    packet: Packet,
    key: Key,
    sender: Sender,
    since: Monotonic,
}

/// Where orders are taken and answered, whichever way they come.
pub struct Desk {
    named: Named,
    events: mpsc::Sender<RadiusEvent>,
    cache: RefCell<Cache>,
    open: RefCell<BTreeMap<DynamicId, Open>>,
    next: Cell<u64>,
}

impl Desk {
    /// A desk that hands orders to `events`.
    pub fn new(named: Named, events: mpsc::Sender<RadiusEvent>) -> Rc<Self> {
        Rc::new(Self { named, events, cache: RefCell::default(), open: RefCell::default(), next: Cell::new(0) })
    }

    /// Takes an order from somebody who may order.
    pub fn take(&self, bytes: &[u8], secret: &[u8], source: SocketAddr, sender: &Sender) {
        let now = clock::now();
        let (packet, request) = match read(bytes, secret, &self.named, now.wall) {
            Ok(order) => order,
            Err(cause) => {
                log::warn!("radius: an order from {source} is dropped: {cause}");
                return;
            }
        };
        let key = Key::of(&packet, source);
        self.open.borrow_mut().retain(|_, open| open.since.after(Cache::ABANDONED_AFTER) > now.monotonic);
        match self.cache.borrow_mut().take(&key, now.monotonic) {
            Known::New => {}
            Known::Answered(answer) => return sender.send(answer),
            Known::Working => return,
            Known::Full => {
                log::warn!("radius: an order from {source} is dropped: too many are being carried out");
                return;
            }
        }
        match request {
            Err(cause) => self.reply(&packet, &key, sender, Err(cause)),
            Ok(request) => {
                let id = DynamicId(self.next.get());
                self.next.set(id.0 + 1);
                if self.events.try_send(RadiusEvent::Dynamic(id, request)).is_err() {
                    self.cache.borrow_mut().forget(&key); // the server asks again
                    return;
                }
                self.open.borrow_mut().insert(id, Open { packet, key, sender: sender.clone(), since: now.monotonic });
            }
        }
    }

    /// Answers an order that the rules have carried out, or not.
    pub fn answer(&self, id: DynamicId, outcome: Result<(), ErrorCause>) {
        let open = self.open.borrow_mut().remove(&id);
        match open {
            Some(open) => self.reply(&open.packet, &open.key, &open.sender, outcome),
            None => log::debug!("radius: an answer to no order"),
        }
    }

    fn reply(&self, order: &Packet, key: &Key, sender: &Sender, outcome: Result<(), ErrorCause>) {
        match answer_order(order, outcome) {
            Ok(answer) => {
                self.cache.borrow_mut().answered(key, &answer);
                sender.send(answer);
            }
            Err(cause) => {
                log::warn!("radius: an order from {} gets no answer: {cause}", key.source);
                self.cache.borrow_mut().forget(key);
            }
        }
    }
}
