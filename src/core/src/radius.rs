//! RADIUS as the rules see it: what a server is asked and says, what it is told of sessions, and what it orders (RFC 2865, 2866,
//! 5176). Nothing here knows of packets: the adapter turns these into attributes and back.

mod session;

use crate::gate::Traffic;
use crate::time::{BootId, Monotonic, Wall};
use crate::units::{Bytes, Kbps, Mac, PackageId, Password, Seconds, Username};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::str::FromStr;

pub use session::{RadiusSession, SessionState};

/// What the rules want of a RADIUS server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RadiusOrder {
    /// Ask whether somebody may go online. Every one is answered once, by [`RadiusEvent::Access`].
    Access(AccessRequest),
    /// Tell of a session. It is tried until a server has it, which [`RadiusEvent::Accounted`] says, or plainly takes others and not
    /// this, which [`RadiusEvent::Refused`] says. After either the adapter knows nothing of it any more.
    Account(Accounting),
    /// Answer a server's order.
    Answer(DynamicId, Result<(), ErrorCause>),
}

/// What came of it, and what servers order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RadiusEvent {
    /// What became of a question.
    Access(AccessId, AccessOutcome),
    /// A server has stored what it was told.
    Accounted {
        /// Which: [`Accounting::seq`].
        seq: u64,
    },
    /// Servers do not take this: they took others meanwhile, or it is the router's own word and long in vain, or it cannot be
    /// written as a packet at all. Nobody has it, and it is tried no more until it is given again.
    Refused {
        /// Which: [`Accounting::seq`].
        seq: u64,
    },
    /// This is tried in vain for long, and servers took nothing else meanwhile: they are away, or do not answer for just this. It is
    /// told once of each thing, which is tried on.
    InVain {
        /// Which: [`Accounting::seq`].
        seq: u64,
    },
    /// A server orders something; its secret and its time are checked already. Every one is answered by [`RadiusOrder::Answer`].
    Dynamic(DynamicId, DynamicRequest),
}

/// Ties an answer to its question; chosen by the rules, and not used twice in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccessId(pub u64);

/// Ties an answer to a server's order; chosen by the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DynamicId(pub u64);

/// Acct-Session-Id (RFC 2866 section 5.5): 12 digits and lower-case letters, made by the router; no two sessions share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub String);

/// Somebody wants to go online.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRequest {
    /// Which question it is.
    pub id: AccessId,
    /// The session that begins if the server agrees: Acct-Session-Id, here as in its accounting.
    pub session: SessionId,
    /// The device: Calling-Station-Id.
    pub device: Mac,
    /// Its IPv4 address, where one is known: Framed-IP-Address.
    pub address: Option<IpAddr>,
    /// User-Name.
    pub user: Username,
    /// How it shows who it is.
    pub credential: Credential,
}

/// How somebody shows who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// By a password.
    Password(Password),
    /// By the device's address, which is the user name as well (Service-Type Call-Check, RFC 2865 section 5.6).
    Mac,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessOutcome {
    /// Access-Accept.
    Accept(Box<Authorization>),
    /// Access-Reject, or a challenge that nobody here can answer.
    Reject {
        /// Reply-Message, for the customer.
        message: Option<String>,
    },
    /// No server gave an answer that can be believed, in time.
    NoAnswer,
}

/// What a session may: from an Access-Accept, or changed by a CoA-Request. What is `None` was not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// Session-Timeout (RFC 2865 section 5.27): how long the session may last, from its start.
    pub time: Option<Seconds>,
    /// WISPr-Session-Terminate-Time: when it is to end.
    pub ends_at: Option<Wall>,
    /// Idle-Timeout (RFC 2865 section 5.28).
    pub idle: Option<Seconds>,
    /// Acct-Interim-Interval (RFC 2869 section 5.16).
    pub interim: Option<Seconds>,
    /// Bytes up and down together: ChilliSpot-Max-Total-Octets, Mikrotik-Total-Limit with its Gigawords.
    pub total: Option<Bytes>,
    /// Bytes from the device: ChilliSpot-Max-Input-Octets, Mikrotik-Recv-Limit with its Gigawords.
    pub up: Option<Bytes>,
    /// Bytes to the device: ChilliSpot-Max-Output-Octets, Mikrotik-Xmit-Limit with its Gigawords.
    pub down: Option<Bytes>,
    /// Speed from the device: WISPr-Bandwidth-Max-Up, ChilliSpot-Bandwidth-Max-Up, Mikrotik-Rate-Limit.
    pub up_speed: Option<Kbps>,
    /// Speed to the device, likewise.
    pub down_speed: Option<Kbps>,
    /// Filter-Id (RFC 2865 section 5.11): the package whose limits count for what else was not said.
    pub package: Option<PackageId>,
    /// Class (RFC 2865 section 5.25), every one of them, to be sent with the accounting as it is.
    pub class: Vec<Vec<u8>>,
    /// User-Name (RFC 2865 section 5.1), where the server wants another one in the accounting.
    pub user: Option<Username>,
    /// Reply-Message, for the customer.
    pub message: Option<String>,
}

/// One thing that the accounting server is told. It is sent in the same words until it has it, but for Acct-Delay-Time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// Its number: they grow.
    pub seq: u64,
    /// The boot in which `at` is.
    pub boot: BootId,
    /// When it happened: Acct-Delay-Time is what passed since then.
    pub at: Monotonic,
    /// The same by the wall clock, where that is known: Event-Timestamp.
    pub at_wall: Option<Wall>,
    /// Servers refused it before. It holds nothing up, and is asked of them once, each time that it is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// What happened.
    pub event: AccountingEvent,
}

/// Acct-Status-Type (RFC 2866 section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum AccountingEvent {
    /// The router begins, and knows of no session before.
    On,
    /// The router ends, and all its sessions with it.
    Off {
        /// Why.
        cause: TerminateCause,
    },
    /// A session begins.
    Start(AccountedSession),
    /// A session goes on.
    Interim(AccountedSession),
    /// A session is over.
    Stop {
        /// Which.
        session: AccountedSession,
        /// Why.
        cause: TerminateCause,
    },
}

/// A session, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountedSession {
    /// Acct-Session-Id.
    pub id: SessionId,
    /// User-Name.
    pub user: Username,
    /// Calling-Station-Id.
    pub device: Mac,
    /// Framed-IP-Address, Framed-IPv6-Address (RFC 6911): as known when it was told.
    pub addresses: Vec<IpAddr>,
    /// Class, as the server gave it.
    pub class: Vec<Vec<u8>>,
    /// Whether a server let it in (Acct-Authentic RADIUS), or this router (Local).
    pub remote: bool,
    /// Acct-Session-Time.
    pub time: Seconds,
    /// Acct-Input-Octets is what the device sent (`up`), Acct-Output-Octets what it received, with their Gigawords.
    pub traffic: Traffic,
}

/// Acct-Terminate-Cause (RFC 2866 section 5.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TerminateCause {
    /// The customer logged out.
    UserRequest = 1,
    /// The device is gone.
    LostCarrier = 2,
    /// Nothing was sent or received for too long.
    IdleTimeout = 4,
    /// The time or the data is used up.
    SessionTimeout = 5,
    /// The operator, or a server's order, ended it.
    AdminReset = 6,
    /// The operator stops the router's program.
    AdminReboot = 7,
    /// The router ended it for a reason of its own.
    NasRequest = 10,
    /// The power went.
    NasReboot = 11,
    /// Another device took its place.
    PortPreempted = 13,
}

/// What a server orders (RFC 5176).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynamicRequest {
    /// Of which session.
    pub which: SessionMatch,
    /// What.
    pub order: DynamicOrder,
}

/// Names a session: all that is given must fit (RFC 5176 section 3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionMatch {
    /// User-Name.
    pub user: Option<String>,
    /// Acct-Session-Id.
    pub session: Option<String>,
    /// Calling-Station-Id.
    pub device: Option<Mac>,
    /// Framed-IP-Address or Framed-IPv6-Address.
    pub address: Option<IpAddr>,
}

/// What is ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DynamicOrder {
    /// Disconnect-Request.
    Disconnect,
    /// CoA-Request.
    Change(Box<Authorization>),
}

/// Error-Cause (RFC 5176 section 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCause {
    /// An attribute that is not honoured here.
    UnsupportedAttribute = 401,
    /// It does not say which session.
    MissingAttribute = 402,
    /// It is meant for another NAS.
    NasIdentificationMismatch = 403,
    /// It makes no sense.
    InvalidRequest = 404,
    /// Service-Type Authorize-Only, and the like.
    UnsupportedService = 405,
    /// A value that cannot be.
    InvalidAttributeValue = 407,
    /// This may not be done by a server.
    AdministrativelyProhibited = 501,
    /// There is no such session.
    SessionContextNotFound = 503,
    /// It could not be made durable.
    ResourcesUnavailable = 506,
}

/// How a device's address is written to servers, by example: `AA-BB-CC-DD-EE-FF` (RFC 3580 section 3.21), `aa:bb:cc:dd:ee:ff`,
/// `aabbccddeeff` and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationFormat {
    /// What stands between two octets.
    pub separator: Option<char>,
    /// Whether the digits above nine are capitals.
    pub capitals: bool,
}

impl Default for StationFormat {
    fn default() -> Self {
        Self { separator: Some('-'), capitals: true }
    }
}

impl StationFormat {
    /// The address in this form.
    #[must_use]
    pub fn write(self, mac: Mac) -> String {
        let mut text = String::with_capacity(17);
        for (index, octet) in mac.0.into_iter().enumerate() {
            if let (true, Some(separator)) = (index > 0, self.separator) {
                text.push(separator);
            }
            let written = if self.capitals { write!(text, "{octet:02X}") } else { write!(text, "{octet:02x}") };
            debug_assert!(written.is_ok(), "a String takes everything");
        }
        text
    }
}

impl FromStr for StationFormat {
    type Err = ();
    /// Reads an example of the form.
    fn from_str(example: &str) -> Result<Self, ()> {
        const OCTETS: Mac = Mac([0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);
        let forms =
            [Some('-'), Some(':'), None].into_iter().flat_map(|separator| [true, false].map(|capitals| Self { separator, capitals }));
        forms.into_iter().find(|form| form.write(OCTETS) == example).ok_or(())
    }
}

/// What the operator configured, as far as rules depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RadiusSettings {
    /// Whether there is an accounting server.
    pub accounting: bool,
    /// Between two interim updates, where the server does not say.
    pub interim: Seconds,
    /// Whether a device that comes is asked for by its address.
    pub mac_login: bool,
    /// Whether accounts that were bought here are the server's to judge, too: they are used up at other routers as well.
    pub roaming: bool,
    /// How a device's address is written.
    pub station_id: StationFormat,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_as_the_example_is() {
        let mac: Mac = "02:00:5e:10:00:0b".parse().unwrap();
        for (example, written) in [
            ("AA-BB-CC-DD-EE-FF", Some("02-00-5E-10-00-0B")),
            ("aa-bb-cc-dd-ee-ff", Some("02-00-5e-10-00-0b")),
            ("AA:BB:CC:DD:EE:FF", Some("02:00:5E:10:00:0B")),
            ("aa:bb:cc:dd:ee:ff", Some("02:00:5e:10:00:0b")),
            ("aabbccddeeff", Some("02005e10000b")),
            ("AABBCCDDEEFF", Some("02005E10000B")),
            ("aabb.ccdd.eeff", None),
            ("02:00:5e:10:00:0b", None),
            ("", None),
        ] {
            assert_eq!(example.parse::<StationFormat>().ok().map(|format| format.write(mac)).as_deref(), written, "{example}");
        }
        assert_eq!(StationFormat::default().write(mac), "02-00-5E-10-00-0B");
    }
}
