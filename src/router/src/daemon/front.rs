//! What the portal sees of the daemon: a way to ask, and a way to hear of payments that changed.

use super::rules::Rules;
use crate::neighbours::Cache;
use crate::portal::Backend;
use lango_core::package::Package;
use lango_core::request::{Answer, Refusal, Request};
use lango_core::tree::BTreeMap;
use lango_core::units::{Mac, OrderId};
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use tokio::sync::{broadcast, mpsc, oneshot};

/// A customer's question on its way to the loop.
pub type Ask = (Request, oneshot::Sender<Answer>);

/// Handed to the portal.
#[derive(Clone)]
pub struct Front {
    asks: mpsc::Sender<Ask>,
    rules: Rc<Rules>,
    neighbours: Cache,
    changes: broadcast::Sender<OrderId>,
    leases: PathBuf,
}

impl Front {
    pub fn new(asks: mpsc::Sender<Ask>, rules: Rc<Rules>, neighbours: Cache, changes: broadcast::Sender<OrderId>, leases: PathBuf) -> Self {
        Self { asks, rules, neighbours, changes, leases }
    }
}

impl Backend for Front {
    async fn ask(&self, request: Request) -> Answer {
        let (asker, answer) = oneshot::channel();
        // A loop that is gone stores nothing any more.
        if self.asks.send((request, asker)).await.is_err() {
            return Answer::Refused(Refusal::NotStored);
        }
        answer.await.unwrap_or(Answer::Refused(Refusal::NotStored))
    }

    fn common_start<T>(&self, device: Mac, look: impl FnOnce(&[Package], bool) -> T) -> Option<T> {
        self.rules.common_start(device, look)
    }

    async fn device_of(&self, address: IpAddr) -> Option<Mac> {
        self.neighbours.mac_of(address)
    }

    fn device_heard(&self, address: IpAddr) -> Option<Mac> {
        self.neighbours.heard(address)
    }

    /// Read at once: the file lies in RAM, and is asked for by a page that few open.
    async fn names(&self) -> BTreeMap<Mac, String> {
        crate::leases::names(&self.leases)
    }

    fn payment_changes(&self) -> broadcast::Receiver<OrderId> {
        self.changes.subscribe()
    }
}
