//! Results are sent until the router acknowledges them: at once, when the router or we come back, and by time. Who sends
//! one claims it in the ledger, so that of several relays one does.

use crate::clock;
use crate::engine::Engine;
use crate::ledger::Which;
use crate::secret;

impl Engine {
    /// Sends again what is not acknowledged.
    pub async fn send_again(&self, which: Which) {
        if !self.publisher.is_connected() {
            return;
        }
        let claimed = async { self.ledger.claim(&which, &secret::row_id()?, clock::now()).await };
        match claimed.await {
            Ok(messages) => {
                for message in messages {
                    self.publisher.publish(&message.topic, message.payload);
                }
            }
            Err(error) => log::error!("results could not be sent again: {error:#}"),
        }
    }
}
