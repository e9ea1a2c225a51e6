//! A session as servers know it. It is kept in the store: neither a restart nor a power cut loses what is to be told of it.

use super::{Credential, SessionId, TerminateCause};
use crate::gate::Traffic;
use crate::time::{BootId, Monotonic, Wall};
use crate::units::{Bytes, Mac, Seconds, Username};
use serde::{Deserialize, Serialize};

/// A device's session on an account, from its start to its last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RadiusSession {
    /// Acct-Session-Id.
    pub id: SessionId,
    /// Whose.
    pub device: Mac,
    /// The account that it is on, by its name in the rules.
    pub account: Username,
    /// The name by which servers know that account.
    pub user: Username,
    /// By what a server let it in; nothing where this router did. After a power cut it is asked again with the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// Class, as the server gave it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class: Vec<Vec<u8>>,
    /// Between two interim updates, where the server said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interim: Option<Seconds>,
    /// After how long without a packet it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Seconds>,
    /// Bytes that the device may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<Bytes>,
    /// Bytes that it may receive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<Bytes>,
    /// The boot in which `since` is.
    pub boot: BootId,
    /// Since when.
    pub since: Monotonic,
    /// What the account's counters of this device said then.
    pub base: Traffic,
    /// Where it stands.
    pub state: SessionState,
}

/// Where a session stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum SessionState {
    /// The device is online.
    Open,
    /// It is over; the kernel's last counts are on their way.
    Ending {
        /// Why.
        cause: TerminateCause,
        /// When.
        at: Monotonic,
        /// The same by the wall clock.
        at_wall: Option<Wall>,
    },
    /// The power went, and servers were told so. The device goes online again when it is seen, if the server that let it in agrees.
    Waiting,
}
