//! What the portal sees of the daemon: a way to ask, and a way to hear of payments that changed.

use crate::neighbours::Cache;
use crate::portal::Backend;
use lango_core::request::{Answer, Refusal, Request};
use lango_core::units::{Mac, OrderId};
use std::net::IpAddr;
use tokio::sync::{broadcast, mpsc, oneshot};

/// A customer's question on its way to the loop.
pub type Ask = (Request, oneshot::Sender<Answer>);

/// Handed to the portal.
#[derive(Clone)]
pub struct Front {
    asks: mpsc::Sender<Ask>,
    neighbours: Cache,
    changes: broadcast::Sender<OrderId>,
}

impl Front {
    pub fn new(asks: mpsc::Sender<Ask>, neighbours: Cache, changes: broadcast::Sender<OrderId>) -> Self {
        Self { asks, neighbours, changes }
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

    async fn device_of(&self, address: IpAddr) -> Option<Mac> {
        self.neighbours.mac_of(address)
    }

    fn payment_changes(&self) -> broadcast::Receiver<OrderId> {
        self.changes.subscribe()
    }
}
