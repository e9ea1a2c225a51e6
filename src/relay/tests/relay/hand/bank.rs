//! A relay between its routers and the lab's Safaricom, which is strict about Daraja's forms and knows what it really moved.

use super::super::broker::Broker;
use super::super::program::Program;
use super::super::router::{Router, request};
use super::super::{free_port, until};
use lango_core::message::{Deposit, DownBody, Found, Outcome, ReceiptQuery, UpBody};
use lango_core::units::{MessageId, Shillings};
use lango_lab::safaricom::Safaricom;
use lango_lab::safaricom::daraja::Merchant;
use lango_lab::safaricom::org;
use serde_json::Value;
use std::collections::HashMap;
use tempfile::TempDir;

pub const PHONE: &str = "254712345678";

/// A relay between its routers and Safaricom.
pub struct Bank {
    pub relay: Program,
    pub broker: Broker,
    pub safaricom: Safaricom,
    pub routers: HashMap<&'static str, Router>,
    _folder: TempDir,
}

impl Bank {
    /// A pay bill that has its addresses registered.
    pub async fn new(names: &[&'static str]) -> Self {
        Self::with(names, None).await
    }

    pub async fn with(names: &[&'static str], till: Option<&str>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let mut broker = Broker::new(folder.path());
        let transaction_type = if till.is_some() { "CustomerBuyGoodsOnline" } else { "CustomerPayBillOnline" };
        let merchant = Merchant {
            consumer_key: "key".to_owned(),
            consumer_secret: "secret".to_owned(),
            shortcode: "174379".to_owned(),
            passkey: "passkey".to_owned(),
            party_b: till.unwrap_or("174379").to_owned(),
            transaction_type: transaction_type.to_owned(),
        };
        let address = ([127, 0, 0, 1], free_port()).into();
        let safaricom = Safaricom::start(None, address, merchant).unwrap();
        let mut account = format!(
            "transaction_type = \"{transaction_type}\"\ninitiator = \"{}\"\nsecurity_credential = \"{}\"\n",
            org::INITIATOR,
            org::credential()
        );
        if let Some(till) = till {
            account += &format!("till = \"{till}\"\n");
        }
        let mut relay = Program::new(folder.path(), &broker.url(), &format!("http://{address}"), &account);
        let credentials: Vec<_> = names.iter().map(|name| (*name, relay.add_router(name))).collect();
        credentials.iter().for_each(|(name, credentials)| broker.add_user(name, &credentials.password));
        broker.set_acl(&relay.command(&["router", "acl"]).stdout);
        broker.start();
        relay.start().await;
        let mut routers = HashMap::new();
        for (name, credentials) in credentials {
            let mut router = Router::connect(name, &credentials, broker.port).await;
            router.presence("online").await;
            router.fence().await;
            routers.insert(name, router);
        }
        let bank = Self { relay, broker, safaricom, routers, _folder: folder };
        bank.ok(&["c2b", "register"]);
        bank
    }

    pub fn router(&mut self, name: &'static str) -> &mut Router {
        self.routers.get_mut(name).unwrap()
    }

    pub fn ok(&self, words: &[&str]) -> String {
        let printed = self.relay.command(words);
        assert_eq!(printed.code, 0, "{words:?}: {}", printed.stderr);
        printed.stdout
    }

    /// Refused, with this code and words.
    pub fn refused(&self, words: &[&str], code: i32, said: &str) {
        let printed = self.relay.command(words);
        assert!(printed.code == code && printed.stderr.contains(said), "{words:?}: {} {}", printed.code, printed.stderr);
    }

    pub fn rows(&self) -> Vec<Value> {
        serde_json::from_str(&self.ok(&["payments", "--json"])).unwrap()
    }

    pub async fn row_until(&self, receipt: &str, key: &str, value: &str) -> Value {
        until(&format!("{key} of {receipt} to be {value}"), async || {
            self.rows().into_iter().find(|row| row["mpesa_receipt"] == receipt && row.pointer(key).is_some_and(|is| is == value))
        })
        .await
    }

    /// A customer of this router's is prompted, and does what Safaricom's script says.
    pub fn asks(&mut self, name: &'static str, order: &str) {
        self.router(name).say(UpBody::PaymentRequest(request(order)));
    }

    /// The receipt of the newest money.
    pub async fn receipt(&self) -> String {
        until("money", async || self.safaricom.money().pop().map(|paid| paid.receipt)).await
    }

    pub fn asks_about(&mut self, name: &'static str, receipt: &str, phone: &str) -> MessageId {
        let query: MessageId = format!("query-{receipt}-{phone}").to_ascii_lowercase().parse().unwrap();
        let body = ReceiptQuery { query: query.clone(), receipt: receipt.parse().unwrap(), phone: phone.parse().unwrap() };
        self.router(name).say(UpBody::ReceiptQuery(body));
        query
    }

    pub async fn found(&mut self, name: &'static str, receipt: &str, phone: &str) -> Found {
        let query = self.asks_about(name, receipt, phone);
        loop {
            if let DownBody::Receipt(answer) = self.router(name).next().await.body {
                assert_eq!(answer.query, query);
                return answer.found;
            }
        }
    }

    /// The next deposit that a router is told of, which it acknowledges.
    pub async fn deposit(&mut self, name: &'static str) -> Deposit {
        loop {
            let down = self.router(name).next().await;
            if let DownBody::Deposit(deposit) = down.body {
                self.router(name).say(UpBody::Ack { of: vec![down.id] });
                return deposit;
            }
        }
    }

    /// Whatever else a router is told until it has said hello: deposits, by their receipts.
    pub async fn more_deposits(&mut self, name: &'static str) -> Vec<String> {
        let router = self.router(name);
        let nonce: MessageId = "the-end".parse().unwrap();
        router.say(UpBody::Hello { nonce: nonce.clone(), version: "1".to_owned() });
        let mut seen = Vec::new();
        loop {
            match router.next().await.body {
                DownBody::Deposit(deposit) => seen.push(deposit.receipt.to_string()),
                DownBody::Welcome { nonce: answer } if answer == nonce => return seen,
                _ => {}
            }
        }
    }
}

pub fn paid(receipt: &str) -> Outcome {
    Outcome::Paid { receipt: receipt.parse().unwrap(), amount: Shillings(10) }
}
