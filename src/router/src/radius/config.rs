//! What the adapter needs to be told.

use super::request::{Method, Nas};
use std::fmt;
use std::path::PathBuf;

/// A server's place, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// A name or an IP address, IPv6 without brackets.
    pub host: String,
    /// UDP port, or TCP port with TLS.
    pub port: u16,
    /// `RadSec`: RADIUS over TLS (RFC 6614).
    pub tls: bool,
    /// Whether its answers to questions must have a Message-Authenticator. (With TLS they need none.)
    pub must_sign: bool,
}

impl fmt::Display for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "radsec://" } else { "" };
        if self.host.contains(':') {
            write!(f, "{scheme}[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}{}:{}", self.host, self.port)
        }
    }
}

/// The certificates that TLS needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// A PEM file of certificates to trust, in place of the system's.
    pub ca: Option<PathBuf>,
    /// The router's own certificate and its key (PEM), where servers ask for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// The whole of it.
#[derive(Clone, PartialEq, Eq)]
pub struct RadiusConfig {
    /// Who is asked, first choice first.
    pub servers: Vec<ServerConfig>,
    /// Who is told of sessions, first choice first; none: nobody is, and nothing is acknowledged.
    pub accounting: Vec<ServerConfig>,
    /// Shared with the servers that are spoken to over UDP, and with those that order. Over TLS it is `radsec` (RFC 6614
    /// section 2.3).
    pub secret: Vec<u8>,
    /// How passwords are shown.
    pub method: Method,
    /// What every request says of the router.
    pub nas: Nas,
    /// The UDP port on which servers' orders are taken; none: over UDP none are.
    pub coa_port: Option<u16>,
    /// For TLS.
    pub certificates: Certificates,
}

impl fmt::Debug for RadiusConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RadiusConfig").field("servers", &self.servers).field("accounting", &self.accounting).finish_non_exhaustive()
    }
}
