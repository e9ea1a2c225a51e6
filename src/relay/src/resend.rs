//! Results are sent until the router acknowledges them: at once, when the router or we come back, and by time.

use crate::engine::Engine;
use lango_core::units::{MessageId, RouterName};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an acknowledgement is waited for before the same is sent again.
const AGAIN: Duration = Duration::from_secs(30);
/// After so many times a router is most likely off: the broker keeps what was sent, and its hello brings the rest.
const OFTEN: u32 = 20;
/// How often it is sent from then on: a router that is off for weeks must not fill the broker's queue.
const SELDOM: Duration = Duration::from_secs(3_600);

/// What was sent when. In memory only: after a restart everything is sent again.
#[derive(Default)]
pub struct Resend {
    sent: Mutex<HashMap<MessageId, Sent>>,
}

#[derive(Clone, Copy)]
struct Sent {
    at: Instant,
    times: u32,
}

impl Sent {
    fn is_due(self, now: Instant) -> bool {
        now.duration_since(self.at) >= if self.times < OFTEN { AGAIN } else { SELDOM }
    }
}

impl Resend {
    /// This message was sent now, for the first time or once more.
    pub fn sent(&self, id: &MessageId) {
        let mut sent = self.lock();
        let times = sent.get(id).map_or(0, |sent| sent.times).saturating_add(1);
        sent.insert(id.clone(), Sent { at: Instant::now(), times });
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose messages are sent again.
pub enum Whose {
    /// Everybody's: we come back.
    All,
    /// One router's: it comes back.
    Of(RouterName),
    /// Those whose time has come.
    Due,
}

impl Engine {
    /// Sends again what is not acknowledged.
    pub async fn send_again(&self, whose: Whose) {
        if !self.publisher.is_connected() {
            return;
        }
        let router = if let Whose::Of(router) = &whose { Some(router) } else { None };
        let messages = match self.ledger.unacknowledged(router).await {
            Ok(messages) => messages,
            Err(error) => return log::error!("results could not be sent again: {error:#}"),
        };
        if router.is_none() {
            // What is acknowledged needs no memory.
            self.resend.lock().retain(|id, _| messages.iter().any(|message| message.id == *id));
        }
        let now = Instant::now();
        for message in messages {
            let sent = self.resend.lock().get(&message.id).copied();
            if matches!(whose, Whose::Due) && sent.is_some_and(|sent| !sent.is_due(now)) {
                continue;
            }
            self.resend.sent(&message.id);
            self.publisher.publish(&message.topic, message.payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn often_at_first_then_seldom() {
        let start = Instant::now();
        for (times, seconds, due) in [(1, 29, false), (1, 30, true), (19, 30, true), (20, 30, false), (20, 3_599, false), (20, 3_600, true)]
        {
            assert_eq!(Sent { at: start, times }.is_due(start + Duration::from_secs(seconds)), due, "{times} {seconds}");
        }
    }
}
