//! The router's side of the tests, and the waiting for conditions.

use super::broker::PASSWORD;
use super::relay::public_key;
use lango::sync::{Broker, Sync, SyncConfig, SyncEvent, SyncHandle};
use lango_core::message::{Down, Up, UpBody, VERSION};
use lango_core::units::Password;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

/// Runs a test's steps where tasks of this thread alone may be started.
pub async fn locally(steps: impl Future<Output = ()>) {
    super::logbook::open();
    LocalSet::new().run_until(steps).await;
}

/// Fails where it takes longer than any of this may take.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.unwrap_or_else(|_| panic!("it never came: {what}"))
}

/// Waits until it is so.
pub async fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "it never came: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A config that works.
pub fn config(port: u16) -> SyncConfig {
    SyncConfig {
        broker: Broker { host: "127.0.0.1".to_owned(), port, tls: false },
        username: "kibera-7".to_owned(),
        password: Password::new(PASSWORD).unwrap(),
        ca: None,
        relay_key: public_key(),
        router: "kibera-7".parse().unwrap(),
    }
}

/// A message of the router's.
pub fn up(seq: u64) -> Up {
    Up {
        v: VERSION,
        id: format!("u-{seq}").parse().unwrap(),
        seq,
        body: UpBody::Hello { nonce: format!("n-{seq}").parse().unwrap(), version: "0.1.0".to_owned() },
    }
}

/// A router with its sync.
pub struct Router {
    pub handle: SyncHandle,
    pub events: Receiver<SyncEvent>,
}

impl Router {
    pub fn start(config: SyncConfig) -> Self {
        let (handle, events) = Sync::start(config);
        Self { handle, events }
    }

    /// The next event.
    pub async fn next(&mut self) -> SyncEvent {
        within("an event of sync's", self.events.recv()).await.expect("sync lives")
    }

    /// The next event must be this one.
    pub async fn expect(&mut self, event: SyncEvent) {
        assert_eq!(self.next().await, event);
    }

    /// The next event must be this message.
    pub async fn expect_message(&mut self, down: Down) {
        self.expect(SyncEvent::Message(down)).await;
    }
}
