//! The relay as it is shipped, from outside: the real program, a real broker with its access list, a Daraja that the
//! tests script, and routers that check every signature. The ledger is SQLite here; `relay_postgres.rs` runs all of this once
//! more on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by stopping

pub(crate) mod broker;
mod commands;
mod crash;
pub(crate) mod daraja;
mod hand;
mod payments;
pub(crate) mod program;
pub(crate) mod radius;
pub(crate) mod router;
mod strangers;
pub mod tls;
mod updates;
mod vouchers;

use broker::Broker;
use daraja::{Daraja, Push};
use program::Program;
use router::Router;
use serde_json::Value;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine; nothing waits for its end where all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether this is the run on PostgreSQL.
fn on_postgres() -> bool {
    module_path!().starts_with("relay_postgres")
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Below those that the kernel hands out by itself: one of these would be somebody's own end of a connection before it is used.
    let begin = 10_000 + u16::try_from(std::process::id() % 20).unwrap() * 1_000;
    let next = || begin + NEXT.fetch_add(1, Ordering::Relaxed) % 1_000;
    std::iter::repeat_with(next).take(1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// Waits until `what` gives something.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Everything that a relay needs around it, and one router.
struct World {
    relay: Program,
    broker: Broker,
    daraja: Daraja,
    router: Router,
    http: reqwest::Client,
    _folder: TempDir,
}

impl World {
    /// A pay bill, a broker without TLS, a router that has said hello.
    async fn new() -> Self {
        Self::with("transaction_type = \"CustomerPayBillOnline\"").await
    }

    /// The same with other lines at the end of `[mpesa]`.
    async fn with(account: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let mut broker = Broker::new(folder.path());
        let daraja = Daraja::start().await;
        let mut relay = Program::new(folder.path(), &broker.url(), &daraja.url, account);
        let credentials = relay.add_router("kibera-7");
        broker.add_user("kibera-7", &credentials.password);
        broker.set_acl(&relay.command(&["router", "acl"]).stdout);
        broker.start();
        relay.start().await;
        let router = Router::connect("kibera-7", &credentials, broker.port).await;
        let mut world = Self { relay, broker, daraja, router, http: reqwest::Client::new(), _folder: folder };
        world.router.presence("online").await;
        world.router.fence().await;
        world
    }

    /// The customer asks; gives back the order and the push that Daraja got.
    async fn ask(&mut self) -> (String, Push) {
        let order = self.router.ask();
        let push = self.daraja.next_push().await;
        (order, push)
    }

    /// Posts a callback as Safaricom does; gives back the HTTP status.
    async fn call_back(&self, url: &str, body: impl Into<String>) -> u16 {
        let request = self.http.post(url).header("content-type", "application/json").body(body.into());
        request.send().await.unwrap().status().as_u16()
    }

    /// The payment as `lango-relay payments --json` shows it.
    fn payment(&self, order: &str) -> Option<Value> {
        let printed = self.relay.command(&["payments", "--json"]);
        let all: Vec<Value> = serde_json::from_str(&printed.stdout).unwrap();
        all.into_iter().find(|payment| payment["payment"] == order)
    }

    /// Waits until the payment has this value.
    async fn payment_until(&self, order: &str, key: &str, value: &str) -> Value {
        until(&format!("{key} of {order} to be {value}"), async || self.payment(order).filter(|payment| payment[key] == value)).await
    }
}

/// A success's callback.
pub(crate) fn paid(checkout: &str, amount: u64, receipt: &str) -> String {
    format!(
        r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"29115-34620561-1","CheckoutRequestID":"{checkout}","ResultCode":0,
        "ResultDesc":"The service request is processed successfully.","CallbackMetadata":{{"Item":[{{"Name":"Amount","Value":{amount}.00}},
        {{"Name":"MpesaReceiptNumber","Value":"{receipt}"}},{{"Name":"TransactionDate","Value":20191219102115}},
        {{"Name":"PhoneNumber","Value":254712345678}}]}}}}}}}}"#
    )
}

/// A failure's callback.
pub(crate) fn failed(checkout: &str, code: &str) -> String {
    format!(
        r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"1","CheckoutRequestID":"{checkout}","ResultCode":{code},"ResultDesc":"…"}}}}}}"#
    )
}
