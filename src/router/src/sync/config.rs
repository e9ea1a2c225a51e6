//! What a connection to the relay needs.

use lango_core::units::{Password, RouterName};
use std::fmt;
use std::path::PathBuf;

/// The broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// A name or an IPv4 address. (An IPv6 address works without TLS only: the MQTT library asks the certificate for it
    /// in brackets.)
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether it speaks TLS: without it the password and what customers buy pass in clear.
    pub tls: bool,
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.tls { "mqtts" } else { "mqtt" }, self.host, self.port)
    }
}

/// What a connection to the relay needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncConfig {
    /// Where the broker is.
    pub broker: Broker,
    /// Who we are there.
    pub username: String,
    /// The proof.
    pub password: Password,
    /// The file (PEM) with the CA that signed the broker's certificate; the system's otherwise.
    pub ca: Option<PathBuf>,
    /// The relay's Ed25519 public key: what is not signed with it is not the relay's.
    pub relay_key: [u8; 32],
    /// This router's name: the MQTT client's id, and a part of its topics.
    pub router: RouterName,
}
