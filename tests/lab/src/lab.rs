//! The whole: the world with Lango in it. A test starts one and reads like a story.

use crate::broker::Broker;
use crate::freeradius::{self, FreeRadius};
use crate::internet::Internet;
use crate::phone::Phone;
use crate::relay::{Credentials, Relay};
use crate::router::{self, Lango};
use crate::safaricom::Safaricom;
use crate::safaricom::daraja::{Merchant, Paid};
use crate::sms::{Provider, SmsGateway};
use crate::world::{CLOUD4, SAFARICOM4, SMS4, World};
use anyhow::{Context, Result};
use serde_json::Value;
use std::net::SocketAddr;

/// The whole. Fields are dropped in this order: programs first, their world last.
pub struct Lab {
    /// The program on the router.
    pub lango: Lango,
    /// The program in the cloud.
    pub relay: Relay,
    /// The broker between them.
    pub broker: Broker,
    /// Who moves the money.
    pub safaricom: Safaricom,
    /// Who sends texts to customers, where anybody does.
    pub sms: Option<SmsGateway>,
    /// What the relay gave the router.
    pub credentials: Credentials,
    /// Everything else.
    pub world: World,
}

impl Lab {
    /// Everything started and payments possible, with the lab's packages; stops the test when it is not.
    #[must_use]
    pub fn start() -> Self {
        Self::selling(router::PACKAGES)
    }

    /// The same with other packages.
    #[must_use]
    pub fn selling(packages: &str) -> Self {
        Self::build(packages, &mut |_| {}).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Builds and starts everything; `tell` hears what is done at each step.
    ///
    /// # Errors
    /// When something does not start: with the end of its log.
    pub fn build(packages: &str, tell: &mut dyn FnMut(&str)) -> Result<Self> {
        Self::build_with(packages, None, tell)
    }

    /// Everything started, with these packages and with texts to customers by a simulated gateway.
    #[must_use]
    pub fn texting(provider: Provider, packages: &str) -> Self {
        Self::build_with(packages, Some(provider), &mut |_| {}).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Everything started, with these packages and with a FreeRADIUS beside the relay, which writes what is bought into its tables.
    #[must_use]
    pub fn roaming(packages: &str) -> (Self, FreeRadius) {
        let mut radius = None;
        let lab = Self::build_from(packages, None, Some(&mut radius), &mut |_| {}).unwrap_or_else(|e| panic!("{e:#}"));
        (lab, radius.expect("it was built"))
    }

    fn build_with(packages: &str, provider: Option<Provider>, tell: &mut dyn FnMut(&str)) -> Result<Self> {
        Self::build_from(packages, provider, None, tell)
    }

    fn build_from(
        packages: &str,
        provider: Option<Provider>,
        radius: Option<&mut Option<FreeRadius>>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        tell("hosts and cables: network namespaces, veth pairs, dnsmasq, the internet host");
        let world = World::build()?;
        tell("Safaricom (simulated)");
        let merchant = Merchant::sandbox();
        let safaricom = Safaricom::start(Some(&world.cloud), SocketAddr::new(SAFARICOM4.parse()?, 80), merchant.clone())?;
        tell("lango-relay router add: the router's credentials and the broker's access list");
        let broker = Broker::new(&world.cloud, &world.folder)?;
        let sms_address = SocketAddr::new(SMS4.parse()?, 80);
        let sms = provider.map(|provider| SmsGateway::new(&world.cloud, sms_address, provider));
        let relay = match &sms {
            Some(sms) => {
                sms.start()?;
                Relay::texting(&world.cloud, &world.folder, &merchant, &broker, &sms.section())?
            }
            None => Relay::new(&world.cloud, &world.folder, &merchant, &broker)?,
        };
        if let Some(place) = radius {
            let options = freeradius::Options { address: CLOUD4.to_owned(), ..Default::default() };
            let server = FreeRadius::new(&world.cloud, &world.folder, options)?;
            server.start()?;
            relay.configure(&format!("\n[radius_sql]\ndatabase = \"{}\"\n", server.database()))?;
            *place = Some(server);
        }
        let credentials = relay.add_router(router::NAME, &broker)?;
        tell("mosquitto, over TLS");
        broker.start()?;
        tell("lango-relay run");
        relay.start()?;
        tell("lango run, and its way to the relay");
        let lango = Lango::new(&world.router, &world.folder, &credentials.section, packages)?;
        lango.start()?;
        lango.await_payments().with_context(|| relay.program.tail(40))?;
        Ok(Self { lango, relay, broker, safaricom, sms, credentials, world })
    }

    /// A new phone near the router. It has joined nothing yet.
    #[must_use]
    pub fn phone(&self) -> Phone {
        self.world.phone()
    }

    /// A new phone that has joined.
    #[must_use]
    pub fn joined_phone(&self) -> Phone {
        let phone = self.phone();
        phone.join();
        phone
    }

    /// The internet host.
    #[must_use]
    pub fn internet(&self) -> &Internet {
        &self.world.internet
    }

    /// Compares what Safaricom moved with what the router served: each shilling once, and nothing without one.
    ///
    /// # Panics
    /// When they differ.
    pub fn money_is_service(&self) {
        money_is_service(&self.safaricom.money(), &self.lango.payments().unwrap_or_else(|e| panic!("{e:#}")));
    }
}

/// Compares what Safaricom moved with a router's payments, as it prints them: each shilling was served once, and nothing without one.
///
/// A payment of which only a query told has no M-Pesa receipt: the relay gives it one of its own, of twelve characters.
///
/// # Panics
/// When they differ.
pub fn money_is_service(money: &[Paid], payments: &Value) {
    let list = payments.as_array().or_else(|| payments["payments"].as_array()).unwrap_or_else(|| panic!("no list: {payments}"));
    let served: Vec<_> = list.iter().filter(|p| p["status"] == "paid").collect();
    assert!(served.iter().all(|p| p["username"].is_string()), "money that nobody has: {payments}");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut moved: Vec<_> = money.iter().map(|paid| (paid.phone.clone(), paid.amount)).collect();
    let mut given: Vec<_> = served.iter().map(|p| (text(&p["phone"]), p["amount"].as_u64().unwrap_or_default())).collect();
    moved.sort();
    given.sort();
    assert_eq!(moved, given, "left: who paid how much to Safaricom; right: what the router served");
    let mut receipts: Vec<_> = served.iter().map(|p| text(&p["receipt"])).collect();
    receipts.sort();
    receipts.dedup();
    assert_eq!(receipts.len(), served.len(), "a receipt was served twice: {payments}");
    let known = |receipt: &String| receipt.len() == 12 || money.iter().any(|paid| paid.receipt == *receipt);
    assert!(receipts.iter().all(known), "a receipt that Safaricom never gave: {payments}");
}

/// Prints a measured figure, of a test that passes, too (libtest keeps back what `println!` prints).
pub fn figure(text: &str) {
    // A closed standard output has no reader to tell.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("    {text}\n").as_bytes());
}
