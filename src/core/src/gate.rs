//! The desired gate: which devices the kernel is to let pass, until when and how much. The adapter makes it so.

use crate::few::{FewMap, FewSet};
use crate::time::Monotonic;
use crate::units::{Bytes, Kbps, Mac};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// An account's number in the kernel: part of its objects' names, so that a daemon that starts again can tell whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GateId(pub u32);

/// Bytes that a device sent and received on one account, since the account exists.
///
/// These are running totals, not differences: the kernel's counters are created with what was counted before, so that
/// reading one twice, or not at all before a crash, counts nothing twice and forgets nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// From the device.
    pub up: Bytes,
    /// To the device.
    pub down: Bytes,
}

impl Traffic {
    /// Both directions together: what a data limit counts.
    #[must_use]
    pub const fn total(self) -> Bytes {
        self.up.plus(self.down)
    }
    /// The larger of each direction: totals never go back.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { up: Bytes(self.up.0.max(other.up.0)), down: Bytes(self.down.0.max(other.down.0)) }
    }
}

/// One device in the gate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateDevice {
    /// All the addresses by which it is known on the LAN, IPv4 and IPv6.
    pub addresses: FewSet<IpAddr>,
    /// Addresses from which it sends, too, while another of its own is in use: what comes from them is dropped until it is known
    /// whose they are. None of them is in `addresses`.
    #[serde(default, skip_serializing_if = "FewSet::is_empty")]
    pub held: FewSet<Ipv4Addr>,
    /// What its counters start with, where they do not exist yet.
    pub traffic: Traffic,
}

/// One account in the gate: its devices share one end of time and one data limit, which the kernel enforces by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateAccount {
    /// Its number in the kernel.
    pub id: GateId,
    /// When its devices stop passing, to the millisecond.
    pub until: Option<Monotonic>,
    /// The running total ([`Traffic::total`] over all devices that ever used the account) at which its devices stop passing.
    pub data_end: Option<Bytes>,
    /// The running total so far, with that of devices which are not online now: what the quota's consumption starts with.
    pub used: Bytes,
    /// Speed towards the devices, together.
    pub down: Option<Kbps>,
    /// Speed from the devices, together.
    pub up: Option<Kbps>,
    /// The devices that are online.
    pub devices: FewMap<Mac, GateDevice>,
}

/// A change of the desired gate. Each says how it shall be afterwards, so that applying one twice does no harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GateChange {
    /// The account shall pass, just so.
    Set(GateAccount),
    /// No device of the account shall pass. The kernel's last counts come back.
    Remove(GateId),
}

/// What the kernel counted for one device of an account: running totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The account.
    pub id: GateId,
    /// The device.
    pub mac: Mac,
    /// Its running totals.
    pub traffic: Traffic,
}
