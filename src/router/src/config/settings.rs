//! The router's settings, typed. What is in here is valid.

use super::values::{Broker, HostName, Interface, RadiusServer, Secret};
use crate::portal::colour::Colours;
use crate::radius::request::Method;
use lango_core::package::Package;
use lango_core::radius::RadiusSettings;
use lango_core::settings::{Outage, Settings};
use lango_core::units::{Millis, RouterName, Seconds};
use lango_core::update::{Hours, ReleaseKey};
use std::net::IpAddr;
use std::path::PathBuf;

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The router itself.
    pub gateway: Gateway,
    /// The way to the cloud. Without it there are no M-Pesa payments; all else works.
    pub relay: Option<Relay>,
    /// A RADIUS server. Without it all accounts are local.
    pub radius: Option<Radius>,
    /// The portal over HTTPS as well. Without it: plain HTTP alone.
    pub https: Option<Https>,
    /// What the operator makes of the portal. Without the section it is as it comes.
    pub portal: Portal,
    /// Updates over the air. Without it all are refused.
    pub update: Option<Update>,
    /// What is sold, in the file's order.
    pub packages: Vec<Package>,
}

/// The router itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its name in the fleet.
    pub name: RouterName,
    /// The customers' interfaces: at least one, each once.
    pub lan: Vec<Interface>,
    /// The way out; none of `lan`.
    pub wan: Interface,
    /// The portal's TCP port.
    pub portal_port: u16,
    /// The name that the portal's pages use.
    pub portal_host: HostName,
    /// The database's directory.
    pub store: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// dnsmasq's lease file.
    pub leases: PathBuf,
    /// What a power cut does to paid time.
    pub outage: Outage,
    /// How often what was used is made durable; a power cut forgets at most this much.
    pub checkpoint: Seconds,
    /// Whether customers are kept from reaching each other through the router.
    pub isolate: bool,
    /// The walled garden: hosts that a captive device reaches.
    pub allow: Vec<HostName>,
}

/// The way to the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// The MQTT broker.
    pub broker: Broker,
    /// The router's user name there.
    pub username: String,
    /// The router's password there.
    pub password: Secret,
    /// A PEM file of certificates to trust, in place of the system's. Only with TLS.
    pub ca: Option<PathBuf>,
    /// The relay's Ed25519 public key: what is not signed with it is refused.
    pub relay_key: [u8; 32],
    /// How long before the end of what a customer has a text says so; zero: at the end; none: none does.
    pub end_notice: Option<Millis>,
}

/// The portal over HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Https {
    /// The name that its certificate is for: a DNS name.
    pub name: HostName,
    /// Its TCP port; not the gateway's `portal_port`.
    pub port: u16,
    /// Its certificate, and those that lead to its CA, a PEM file.
    pub cert: PathBuf,
    /// Its private key, a PEM file.
    pub key: PathBuf,
}

impl Https {
    /// Where customers find the portal by it.
    #[must_use]
    pub fn url(&self) -> String {
        match self.port {
            443 => format!("https://{}/", self.name),
            port => format!("https://{}:{port}/", self.name),
        }
    }
}

/// RADIUS servers, and what they are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Radius {
    /// Authentication servers, first choice first; at least one.
    pub servers: Vec<RadiusServer>,
    /// Accounting servers, first choice first; none: no accounting.
    pub accounting: Vec<RadiusServer>,
    /// The secret shared with all of them that are spoken to over UDP; empty where none is.
    pub secret: Secret,
    /// How passwords are shown to the server.
    pub method: Method,
    /// Whether answers must have a Message-Authenticator.
    pub require_message_authenticator: bool,
    /// Hosts of `servers` whose answers need none all the same.
    pub old_servers: Vec<String>,
    /// NAS-Identifier (RFC 2865 section 5.32).
    pub nas_identifier: String,
    /// NAS-IP-Address (RFC 2865 section 5.4); none: the one that the router sends from.
    pub nas_ip: Option<IpAddr>,
    /// Called-Station-Id but for the SSID; none: the Ethernet address of the customers' first interface.
    pub called_station_id: Option<String>,
    /// What Called-Station-Id ends with, behind a colon (RFC 3580 section 3.20).
    pub ssid: Option<String>,
    /// WISPr-Location-ID.
    pub location_id: Option<String>,
    /// WISPr-Location-Name.
    pub location_name: Option<String>,
    /// The UDP port on which disconnects are taken (RFC 5176); none: none are.
    pub coa_port: Option<u16>,
    /// A PEM file of certificates to trust, in place of the system's. Only with TLS.
    pub ca: Option<PathBuf>,
    /// The router's own certificate and key, PEM files. Only with TLS.
    pub own: Option<(PathBuf, PathBuf)>,
    /// As far as the rules depend on it.
    pub rules: RadiusSettings,
}

/// What the operator makes of the portal. What the files hold is checked where they are read (`portal/own.rs`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Portal {
    /// The hotspot's name, as customers read it; none: the router's.
    pub name: Option<String>,
    /// A picture beside it.
    pub logo: Option<Placed<PathBuf>>,
    /// The accent.
    pub colours: Option<Colours>,
    /// Whom customers call.
    pub support: Option<Support>,
    /// A text file for each language's code, each once.
    pub terms: Vec<Placed<(String, PathBuf)>>,
    /// A folder of templates and texts in the place of ours.
    pub templates: Option<Placed<PathBuf>>,
}

/// A value, and the line of the configuration that says it: what it names is looked at later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// The line, from 1.
    pub line: u32,
}

/// Whom customers call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    /// For a `tel:` link (RFC 3966): digits, and a plus in front where it was said.
    pub tel: String,
    /// As it was written.
    pub shown: String,
}

/// Updates over the air.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The release keys: what is not signed by one of them is refused. At least one.
    pub keys: Vec<ReleaseKey>,
    /// The board's name; none: as OpenWrt has it.
    pub board: Option<String>,
    /// Whether whole images are taken, too.
    pub images: bool,
    /// When it may be put in place; none: a program at once, an image when nobody is online.
    pub hours: Option<Hours>,
    /// A PEM file of certificates to trust, in place of the system's.
    pub ca: Option<PathBuf>,
    /// How long a new program has until it must work.
    pub trial: Seconds,
}

impl Config {
    /// As far as the rules depend on it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            name: self.gateway.name.clone(),
            packages: self.packages.clone(),
            outage: self.gateway.outage,
            checkpoint: Millis::from_seconds(self.gateway.checkpoint.0),
            relay: self.relay.is_some(),
            end_notice: self.relay.as_ref().and_then(|relay| relay.end_notice),
            radius: self.radius.as_ref().map(|radius| radius.rules.clone()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
