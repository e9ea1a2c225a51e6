//! One step of the core: what comes in, and what is to be done. All of it can be written down and replayed.

use crate::gate::{GateChange, Usage};
use crate::message::{Down, Up};
use crate::radius::{RadiusEvent, RadiusOrder};
use crate::record::Change;
use crate::request::{Answer, AskId, Request};
use crate::settings::Settings;
use crate::time::Now;
use crate::units::{Mac, MessageId, OrderId};
use crate::update::{Offer, Report};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Randomness for one step, from the operating system. Ids and credentials are cut from it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entropy(pub [u8; 32]);

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(***)") // passwords come from it
    }
}

/// A line of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub now: Now,
    /// With which randomness.
    pub entropy: Entropy,
    /// What happened.
    pub input: Input,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Time passed: the moment of `poll_timeout` came.
    Tick,
    /// Somebody asks.
    Ask(AskId, Request),
    /// The relay said something; its signature is checked already.
    Relay(Down),
    /// The connection to the broker came or went.
    Link {
        /// Whether it is there.
        connected: bool,
    },
    /// The broker says whether a relay is there (its presence topic).
    RelayPresence {
        /// Whether it is.
        online: bool,
    },
    /// A device was seen under an address on the LAN, or is no longer.
    Neighbour {
        /// The device.
        mac: Mac,
        /// Its address.
        address: IpAddr,
        /// False where the kernel forgot it.
        present: bool,
    },
    /// What the kernel knows of the LAN, told once to rules that begin anew: after a start, or from a store that was lost. In no
    /// order: which of it is taken in first is for the rules to say.
    Lan {
        /// Who is there now, by the kernel's neighbour table.
        here: Vec<(Mac, IpAddr)>,
        /// By which addresses the gate in force lets devices be reached, whether they are there or sleep.
        served: Vec<(Mac, IpAddr)>,
    },
    /// A bridge of the customers' saw a device come in by this port, by another than before.
    Port {
        /// The device.
        mac: Mac,
        /// The port's name, as `lan2`.
        port: String,
    },
    /// The kernel let a packet of a paid device pass that came from an address which it does not know.
    NewAddress {
        /// The device.
        mac: Mac,
        /// The address.
        address: IpAddr,
    },
    /// The kernel refused a packet of a paid device, which came from an address that it has down for another.
    ForeignAddress {
        /// Who sent it.
        mac: Mac,
        /// From which address.
        address: IpAddr,
    },
    /// The kernel's counters were read: all that it counts, nothing where they could not be read.
    Usage(Vec<Usage>),
    /// What the kernel counted last for devices that are in the gate no more: nothing is told of all others.
    LastCounts(Vec<Usage>),
    /// The kernel says that an account's quota is used up.
    Depleted(crate::gate::GateId),
    /// A RADIUS server answered, or orders something.
    Radius(RadiusEvent),
    /// How an update stands now, for the relay.
    Update(Report),
    /// The operator changed the config.
    Reconfigured(Settings),
    /// The operator took the gate out of the kernel; what it counted until then came before.
    Flushed,
    /// The daemon is about to stop: what was used is to be made durable now.
    Stopping,
}

/// What is to be done, in this order within one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Make it durable first. If that fails, nothing of the rest may happen.
    Persist(Vec<Change>),
    /// Then change the kernel, in one transaction.
    Gate(Vec<GateChange>),
    /// Read the kernel's counters and hand them in as [`Input::Usage`].
    ReadUsage,
    /// Let the kernel ask whether the device still answers under this address. If it does not, that comes as
    /// [`Input::Neighbour`]; if it does, nothing comes.
    Probe {
        /// The device.
        mac: Mac,
        /// One of its addresses.
        address: IpAddr,
    },
    /// Ask or tell a RADIUS server.
    Radius(RadiusOrder),
    /// The relay offers an update: judge it, and hand in what is made of it as [`Input::Update`]; nothing, and it comes again.
    Update(MessageId, Offer),
    /// Send to the relay; what must arrive is in the outbox and will be asked for again.
    Publish(Up),
    /// Tell the asker.
    Reply(AskId, Answer),
    /// Tell whoever watches this payment that it changed.
    PaymentChanged(OrderId),
    /// One line for the log. Holds no phone number, password or amount.
    Log(String),
}
