//! Polling rumqttc with its panics: there are some, on packets that no sound broker sends. The program starts again from one, knows that it
//! was the broker's, and waits before it connects. What does not start again, tests above all, has it as a connection's end.

use crate::restart;
use lango_core::restart::Part;
use rumqttc::{ConnectionError, Event};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Why there are no more events on this connection.
pub enum Failure {
    /// It broke.
    Connection(Box<ConnectionError>),
    /// rumqttc panicked. What it holds is of no use any more.
    Panic,
}

/// The next event, or the end of the connection.
pub async fn unpanicked(poll: impl Future<Output = Result<Event, ConnectionError>>) -> Result<Event, Failure> {
    let mut poll = pin!(poll);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| restart::within(Part::Broker, || poll.as_mut().poll(context)))) {
        Ok(Poll::Ready(polled)) => Poll::Ready(polled.map_err(|error| Failure::Connection(Box::new(error)))),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(Err(Failure::Panic)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_like_another() {
        let panicking = async { if true { panic!("as rumqttc does") } else { Err(ConnectionError::RequestsDone) } };
        assert!(matches!(unpanicked(panicking).await, Err(Failure::Panic)));
        assert!(matches!(unpanicked(async { Err(ConnectionError::RequestsDone) }).await, Err(Failure::Connection(_))));
    }
}
