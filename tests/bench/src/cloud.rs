//! What a router in the field is connected to: a broker over TLS, and a relay behind it.

use crate::network::Network;
use anyhow::{Context as _, Result};
use lango_lab::broker::Broker;
use lango_lab::relay::Relay;
use lango_lab::safaricom::daraja::Merchant;
use lango_lab::world::CLOUD4;

/// The certificates that a router trusts where nothing else is said, on this machine (package ca-certificates).
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Mosquitto and the shipped `lango-relay`, on the internet host.
pub struct Cloud {
    /// The router's config section, as the relay prints it.
    pub section: String,
    // The relay ends first.
    _relay: Relay,
    _broker: Broker,
}

impl Cloud {
    /// Starts both.
    ///
    /// # Errors
    /// When one of them does not start, or the machine has no certificates.
    pub fn start(network: &Network, router: &str) -> Result<Self> {
        network.internet.ip(&["addr", "add", &format!("{CLOUD4}/24"), "dev", "eth0"])?;
        let broker = Broker::new(&network.internet, &network.folder)?;
        // Nothing is paid here: Safaricom is not asked.
        let relay = Relay::new(&network.internet, &network.folder, &Merchant::sandbox(), &broker)?;
        let credentials = relay.add_router(router, &broker)?;
        broker.start()?;
        relay.start()?;
        // What a router holds of certificates is not one, but all that its system trusts; the lab's authority is one more.
        let trusted = network.folder.join("trusted.pem");
        let system = std::fs::read_to_string(SYSTEM_ROOTS).with_context(|| SYSTEM_ROOTS.to_owned())?;
        std::fs::write(&trusted, system + &std::fs::read_to_string(&broker.ca)?)?;
        let section = credentials.section.replace(&broker.ca.display().to_string(), &trusted.display().to_string());
        Ok(Self { section, _relay: relay, _broker: broker })
    }
}
