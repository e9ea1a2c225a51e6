//! What the store keeps, and its form there: one key and one JSON value a record, each with its version.

use crate::account::{Account, Checkpoint};
use crate::ledger::LedgerEntry;
use crate::message::Up;
use crate::order::Order;
use crate::outage::{Owed, TrueTime};
use crate::radius::{Accounting, RadiusSession, SessionId};
use crate::time::{BootId, Day};
use crate::units::{Mac, Username};
use crate::voucher::{Batch, BatchId, Voucher, VoucherHash};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version of the values below. A store written by a later program is refused, not guessed at.
pub const VERSION: u8 = 1;

/// What a device is to us beyond its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Which.
    pub mac: Mac,
    /// The account that it bought or logged in to last.
    pub account: Option<Username>,
    /// Whether it goes online on that account by itself as soon as it is seen: its money arrived, or the power went,
    /// while it was away.
    pub waiting: bool,
    /// Since when it is known to be of no more use; it is forgotten some time after that (`gateway/pruning.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Day>,
}

/// Numbers that must never be given twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// The next [`crate::gate::GateId`].
    pub next_gate: u32,
    /// The next [`crate::message::Up::seq`].
    pub next_seq: u64,
    /// The latest day on which receipts that are forgotten now were known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten_until: Option<Day>,
}

/// One thing kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", content = "value", rename_all = "snake_case")]
pub enum Record {
    /// A payment order.
    Order(Order),
    /// An account.
    Account(Account),
    /// A device.
    Device(Device),
    /// A message that the relay has not acknowledged.
    Outbox(Up),
    /// Money that arrived.
    Ledger(LedgerEntry),
    /// Numbers.
    Counters(Counters),
    /// Until when the clocks that run are known to have run.
    Checkpoint(Checkpoint),
    /// What the time was in the last boot in which anybody knew.
    TrueTime(TrueTime),
    /// What an account owes for an outage whose length is not known yet.
    Owed(Owed),
    /// Vouchers that were made together.
    Batch(Batch),
    /// One of them.
    Voucher(Voucher),
    /// A session as RADIUS servers know it.
    RadiusSession(Box<RadiusSession>),
    /// What an accounting server is to be told yet.
    Accounting(Box<Accounting>),
    /// The last boot of which accounting servers are told.
    AccountedBoot(BootId),
}

/// Reads a store's records one after the other. They share what is the same in many of them.
#[derive(Debug, Default)]
pub struct Reader {
    boot: Option<BootId>,
}

impl Reader {
    /// Reads the next one.
    ///
    /// # Errors
    /// As [`Record::decode`].
    pub fn read(&mut self, key: &str, value: &[u8]) -> Result<Record, Unreadable> {
        let mut record = Record::decode(key, value)?;
        match &mut record {
            Record::Account(account) => account.share(&mut self.boot),
            Record::Order(order) => order.boot.share(&mut self.boot),
            Record::Checkpoint(checkpoint) => checkpoint.boot.share(&mut self.boot),
            Record::Voucher(voucher) => voucher.share(&mut self.boot),
            Record::Device(_) | Record::Outbox(_) | Record::Ledger(_) | Record::Counters(_) => {}
            Record::RadiusSession(session) => session.boot.share(&mut self.boot),
            Record::Accounting(accounting) => accounting.boot.share(&mut self.boot),
            Record::TrueTime(_) | Record::Owed(_) | Record::Batch(_) | Record::AccountedBoot(_) => {}
        }
        Ok(record)
    }
}

/// A record's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub String);

/// A change of the store. Those of one step take effect together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Keep this, in place of what had its key.
    Put(Box<Record>),
    /// Forget that.
    Delete(Key),
}

/// Why a stored value cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Written by a later program.
    #[error("the store's record {key} is of version {version}, this program reads {VERSION}: install the newer program again")]
    Version {
        /// Which.
        key: String,
        /// Its version.
        version: u8,
    },
    /// Damaged.
    #[error("the store's record {key} cannot be read: {cause}")]
    Damaged {
        /// Which.
        key: String,
        /// Why.
        cause: serde_json::Error,
    },
}

#[derive(Serialize)]
struct Written<'a> {
    v: u8,
    #[serde(flatten)]
    record: &'a Record,
}

#[derive(Deserialize)]
struct Version {
    v: u8,
}

/// A record whose value is not looked at yet. What serde makes for [`Record`] itself holds all that it takes to read each kind
/// twice, once for a value that stands before its kind's name: 0.1 MB of flash, for what is never written.
#[derive(Deserialize)]
struct Unread<'a> {
    record: &'a str,
    #[serde(borrow)]
    value: &'a RawValue,
}

impl Unread<'_> {
    fn read(&self) -> serde_json::Result<Record> {
        let value = self.value.get().as_bytes();
        Ok(match self.record {
            "order" => Record::Order(serde_json::from_slice(value)?),
            "account" => Record::Account(serde_json::from_slice(value)?),
            "device" => Record::Device(serde_json::from_slice(value)?),
            "outbox" => Record::Outbox(serde_json::from_slice(value)?),
            "ledger" => Record::Ledger(serde_json::from_slice(value)?),
            "counters" => Record::Counters(serde_json::from_slice(value)?),
            "checkpoint" => Record::Checkpoint(serde_json::from_slice(value)?),
            "true_time" => Record::TrueTime(serde_json::from_slice(value)?),
            "owed" => Record::Owed(serde_json::from_slice(value)?),
            "batch" => Record::Batch(serde_json::from_slice(value)?),
            "voucher" => Record::Voucher(serde_json::from_slice(value)?),
            "radius_session" => Record::RadiusSession(serde_json::from_slice(value)?),
            "accounting" => Record::Accounting(serde_json::from_slice(value)?),
            "accounted_boot" => Record::AccountedBoot(serde_json::from_slice(value)?),
            other => return Err(serde::de::Error::custom(format_args!("nobody knows the record {other:?}"))),
        })
    }
}

impl Record {
    /// Its key: no two records that live beside each other share one.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Order(order) => Key(format!("order/{}", order.id)),
            Self::Account(account) => Key(format!("account/{}", account.username)),
            Self::Device(device) => Key(format!("device/{}", device.mac)),
            Self::Outbox(up) => Self::outbox_key(up.seq),
            Self::Ledger(entry) => Key(format!("ledger/{}", entry.receipt)),
            Self::Counters(_) => Key("counters".to_owned()),
            Self::Checkpoint(_) => Key("checkpoint".to_owned()),
            Self::TrueTime(_) => Key("true_time".to_owned()),
            Self::Owed(owed) => Self::owed_key(&owed.username),
            Self::Batch(batch) => Self::batch_key(batch.id),
            Self::Voucher(voucher) => Self::voucher_key(voucher.hash),
            Self::RadiusSession(session) => Self::radius_session_key(&session.id),
            Self::Accounting(accounting) => Self::accounting_key(accounting.seq),
            Self::AccountedBoot(_) => Key("accounted_boot".to_owned()),
        }
    }

    /// The key of a session as RADIUS servers know it.
    #[must_use]
    pub fn radius_session_key(id: &SessionId) -> Key {
        Key(format!("radius/{}", id.0))
    }

    /// The key of what an accounting server is to be told; as text they sort as they were made.
    #[must_use]
    pub fn accounting_key(seq: u64) -> Key {
        Key(format!("accounting/{seq:020}"))
    }

    /// The key of what an account owes.
    #[must_use]
    pub fn owed_key(username: &Username) -> Key {
        Key(format!("owed/{username}"))
    }

    /// The key of a batch of vouchers.
    #[must_use]
    pub fn batch_key(id: BatchId) -> Key {
        Key(format!("batch/{id}"))
    }

    /// The key of a voucher.
    #[must_use]
    pub fn voucher_key(hash: VoucherHash) -> Key {
        Key(format!("voucher/{hash}"))
    }

    /// The key of the outbox entry with this sequence number; as text they sort as they were made.
    #[must_use]
    pub fn outbox_key(seq: u64) -> Key {
        Key(format!("outbox/{seq:020}"))
    }

    /// Its stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // It cannot fail: the maps' keys are all text. An empty value would be refused at the next start.
        serde_json::to_vec(&Written { v: VERSION, record: self }).unwrap_or_default()
    }

    /// Reads what [`Record::encode`] wrote.
    ///
    /// # Errors
    /// When it is damaged or of a later version.
    pub fn decode(key: &str, value: &[u8]) -> Result<Self, Unreadable> {
        let damaged = |cause| Unreadable::Damaged { key: key.to_owned(), cause };
        let Version { v } = serde_json::from_slice(value).map_err(damaged)?;
        if v != VERSION {
            return Err(Unreadable::Version { key: key.to_owned(), version: v });
        }
        serde_json::from_slice::<Unread<'_>>(value).and_then(|unread| unread.read()).map_err(damaged)
    }
}
