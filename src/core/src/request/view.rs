//! What answers carry: how payments, sessions, accounts, vouchers and the router itself look to those who ask.

use crate::account::Purchase;
use crate::ledger::Unserved;
use crate::message::Reason;
use crate::package::Package;
use crate::payer::Payer;
use crate::time::Wall;
use crate::tree::BTreeSet;
use crate::units::{Bytes, Mac, Millis, Msisdn, OrderId, PackageId, Password, Receipt, Seconds, Shillings, Username};
use crate::update;
use crate::voucher::BatchId;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How a payment stands, for the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// The prompt is under way or waits for the PIN.
    Pending,
    /// The money arrived.
    Paid,
    /// No money moved.
    Failed,
    /// Nothing was heard in time. Money that still arrives is served.
    Expired,
}

/// A payment, for the device that pays: the JSON of `GET /api/payments/ID/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentView {
    /// Its id.
    pub payment: OrderId,
    /// Where it stands.
    pub status: PaymentStatus,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// M-Pesa's receipt, once paid.
    pub receipt: Option<Receipt>,
    /// Whether the device is online now.
    pub connected: bool,
    /// The account's name; shown for five minutes after payment.
    pub username: Option<Username>,
    /// Its password; shown for five minutes after payment.
    pub password: Option<Password>,
    /// What is bought. Not part of the contract's JSON.
    #[serde(skip)]
    pub package: Option<Package>,
    /// Whose M-Pesa pays. Not part of the contract's JSON.
    #[serde(skip)]
    pub phone: Option<Msisdn>,
    /// Whether the customer waits for it no longer, having mistyped the number. Not part of the contract's JSON.
    #[serde(skip)]
    pub given_up: bool,
    /// How many purchases come before what was bought, on the account that the device is online with: 0 where it is in use. Nothing where it
    /// is used up, where the device is not online on that account, and of money that a program entered that kept no number of it. Not part of the contract's JSON.
    #[serde(skip)]
    pub before: Option<usize>,
}

/// A session, as the contract's `SESSION`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// The account.
    pub username: Username,
    /// The package in use, which the limits below are of.
    pub package: PackageId,
    /// Since when the device is online; null while the router's clock is not set.
    #[serde(with = "rfc3339")]
    pub started_at: Option<Wall>,
    /// Time left; null without a time limit.
    pub seconds_remaining: Option<Seconds>,
    /// Data left, up and down together; null without a data limit.
    pub bytes_remaining: Option<Bytes>,
    /// What this account's devices sent.
    pub bytes_up: Bytes,
    /// What this account's devices received.
    pub bytes_down: Bytes,
    /// Devices online on the account.
    pub devices: u8,
    /// When the time that is left ends, where it has an end and the router's clock is set. Not part of the contract's JSON.
    #[serde(skip)]
    pub until: Option<Wall>,
    /// Time until the device is captive again, with what waits behind the package in use as far as this device may use it, too; nothing where
    /// that has no end. Not part of the contract's JSON.
    #[serde(skip)]
    pub seconds_in_all: Option<Seconds>,
    /// The same for data.
    #[serde(skip)]
    pub bytes_in_all: Option<Bytes>,
}

/// How the router is, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// The router's name.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// How long since the daemon started.
    pub running_for: Millis,
    /// The wall clock, where it is set.
    #[serde(with = "rfc3339")]
    pub clock: Option<Wall>,
    /// Whether the gate is in the kernel; false after `lango flush`. The rules always want it there: the daemon, which
    /// alone knows better, corrects this.
    pub gate: bool,
    /// Flow offload, where it is on. The rules know nothing of it: the daemon says so here.
    pub flow_offload: Option<FlowOffload>,
    /// The portal's certificate; nothing without HTTPS. The daemon says so here, too.
    pub certificate: Option<CertificateView>,
    /// Whether the broker is connected.
    pub broker: bool,
    /// Whether the relay answered, so that payments can be had.
    pub payments: bool,
    /// Devices online.
    pub devices_online: u32,
    /// Accounts that have something left.
    pub accounts_open: u32,
    /// Payments under way.
    pub payments_pending: u32,
    /// Messages that the relay has not acknowledged.
    pub outbox: u32,
    /// What accounting servers are to be told yet; nothing without a RADIUS section.
    pub accounting: Option<u32>,
    /// How much of that servers refuse, while they take other things; it is tried twice an hour.
    pub accounting_refused: u32,
    /// Money that arrived and could not be served: look at `lango payments`.
    pub unserved: u32,
    /// How often a paid device's address was suspected to be copied, or taken by another, since the daemon started: the log
    /// says which.
    pub suspicions: u32,
    /// What failed since the daemon started. The rules know nothing of it: the daemon says so here.
    pub failures: Failures,
    /// The last update over the air. The rules know nothing of it: the daemon says so here.
    #[serde(default)]
    pub update: Option<UpdateView>,
}

/// An update over the air, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateView {
    /// Its version.
    pub version: String,
    /// Its number.
    pub number: u64,
    /// How it stands.
    pub state: update::State,
    /// Why it failed, or was rolled back.
    pub reason: Option<update::Reason>,
}

/// What failed outside, counted since the daemon started; the log says more of each. All of it is tried again but what was
/// refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Changes of the gate that the kernel did not take.
    pub gate: u32,
    /// Changes that could not be stored, and did not happen.
    pub store: u32,
    /// Messages that could not be handed to the broker.
    pub unsent: u32,
    /// Messages from the broker that were refused: not the relay's, not for this router, or not understood.
    pub refused: u32,
}

/// Flow offload: connections that are on it pass by the firewall, and by the gate's counting and limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowOffload {
    /// Where it is set: family, table and name of each flowtable, as `inet fw4 ft`.
    pub flowtables: Vec<String>,
    /// The interfaces that it is on.
    pub devices: BTreeSet<String>,
    /// Whether the hardware does it.
    pub hardware: bool,
    /// Whether the gate keeps customers' connections out of it. Where not, limits are not exact.
    pub customers_kept_out: bool,
}

/// The portal's certificate for HTTPS, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// Until when it is good; null where there is none, and nobody is answered over HTTPS.
    #[serde(with = "rfc3339")]
    pub good_until: Option<Wall>,
    /// Whole days until then, 0 where it is over; null where the router's clock does not say.
    pub days_left: Option<u64>,
}

/// One device online, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnlineView {
    /// The device.
    pub mac: Mac,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its session; the bytes are this device's own.
    #[serde(flatten)]
    pub session: SessionView,
}

/// One account, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Its name.
    pub username: Username,
    /// The phone that paid last.
    pub phone: Option<Msisdn>,
    /// The package in use, or the one bought last where nothing is left.
    pub package: PackageId,
    /// Devices online.
    pub online: u8,
    /// Devices that may be.
    pub devices: u8,
    /// Time left of what runs now.
    pub seconds_remaining: Option<Seconds>,
    /// Data left of what runs now.
    pub bytes_remaining: Option<Bytes>,
    /// Purchases that begin when what runs now is used up.
    pub queued: u32,
    /// Whether anything is left.
    pub open: bool,
    /// What its devices sent.
    pub bytes_up: Bytes,
    /// What its devices received.
    pub bytes_down: Bytes,
}

/// One payment, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorPaymentView {
    /// Its id.
    pub payment: OrderId,
    /// When the customer asked.
    #[serde(with = "rfc3339")]
    pub created_at: Option<Wall>,
    /// Who asked; null where the router does not know the order.
    pub device: Option<Mac>,
    /// Who pays.
    pub phone: Payer,
    /// What is bought; where the operator served it later, as what.
    pub package: PackageId,
    /// Its price then; null where the router does not know the order.
    pub price: Option<Shillings>,
    /// Where it stands.
    pub status: PaymentStatus,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// M-Pesa's receipt.
    pub receipt: Option<Receipt>,
    /// What arrived.
    pub amount: Option<Shillings>,
    /// The account that it went to; null for money that arrived and is not served yet.
    pub username: Option<Username>,
    /// Why money that arrived is not served; null where it is, or none came.
    pub unserved: Option<Unserved>,
    /// When the operator served what had waited, by the router's clock.
    #[serde(with = "rfc3339")]
    pub served_at: Option<Wall>,
}

/// Money that was served by the operator: what the customer must be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedView {
    /// Which.
    pub receipt: Receipt,
    /// The account that has it.
    pub username: Username,
    /// Its password.
    pub password: Password,
    /// What was served.
    pub package: PackageId,
    /// The device that it is for, where one is known.
    pub device: Option<Mac>,
    /// Whether that is online now; otherwise it goes online as soon as it is seen.
    pub online: bool,
}

/// What a voucher became, for the device that redeemed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeemedView {
    /// Its session.
    pub session: SessionView,
    /// The account's password, for another device or another day.
    pub password: Password,
}

/// An account, for a device that is online on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MyAccountView {
    /// The device's session.
    pub session: SessionView,
    /// The password; for five minutes after the device redeemed a voucher.
    pub password: Option<Password>,
    /// How many devices may be online at once.
    pub devices_at_most: u8,
    /// Those that are, in the order in which they came.
    pub devices: Vec<MyDeviceView>,
    /// What begins when what is in use is used up, in its order.
    pub queued: Vec<Purchase>,
    /// What was paid for it, the newest first; the last few.
    #[serde(skip)]
    pub receipts: Vec<ReceiptView>,
}

/// A payment that is on one's own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptView {
    /// M-Pesa's receipt.
    pub receipt: Receipt,
    /// What was bought, as the price list called it then.
    pub label: String,
    /// What was paid.
    pub amount: Shillings,
    /// When it arrived; nothing where the router's clock was not set then.
    pub at: Option<Wall>,
}

/// A device online on one's own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MyDeviceView {
    /// The device.
    pub device: Mac,
    /// Whether it is the one that asks.
    pub this: bool,
    /// Since when it is online; null while the router's clock is not set.
    #[serde(with = "rfc3339")]
    pub online_since: Option<Wall>,
    /// What it sent on this account.
    pub bytes_up: Bytes,
    /// What it received on this account.
    pub bytes_down: Bytes,
}

/// Vouchers that were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchView {
    /// Their batch.
    pub batch: BatchId,
    /// What each is good for.
    pub package: Package,
    /// Until when they can be redeemed; null: for ever.
    #[serde(with = "rfc3339")]
    pub expires_at: Option<Wall>,
    /// The number of the first one.
    pub first: u16,
    /// How many.
    pub count: u16,
}

/// Where a voucher stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoucherStatus {
    /// It can be redeemed.
    Unused,
    /// It was redeemed.
    Used,
    /// Its time is over.
    Expired,
    /// The operator took it back.
    Revoked,
}

/// One voucher, for the operator. Its code is nowhere but on its paper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoucherView {
    /// Its batch.
    pub batch: BatchId,
    /// Its number in that.
    pub number: u16,
    /// What it is good for.
    pub package: PackageId,
    /// The package's price when it was made; null where the package was not for sale here then.
    pub price: Option<Shillings>,
    /// Where it stands.
    pub status: VoucherStatus,
    /// When it came to this router.
    #[serde(with = "rfc3339")]
    pub made_at: Option<Wall>,
    /// Until when it can be redeemed; null: for ever.
    #[serde(with = "rfc3339")]
    pub expires_at: Option<Wall>,
    /// When it was used, revoked, or expired.
    #[serde(with = "rfc3339")]
    pub ended_at: Option<Wall>,
    /// The account that has it.
    pub username: Option<Username>,
    /// Who redeemed it.
    pub device: Option<Mac>,
}

/// Times as people and programs read them: RFC 3339, or null.
pub mod rfc3339 {
    use crate::time::Wall;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// As RFC 3339 text, or null.
    ///
    /// # Errors
    /// Only the serialiser's own.
    pub fn serialize<S: Serializer>(wall: &Option<Wall>, s: S) -> Result<S::Ok, S::Error> {
        wall.map(Wall::to_rfc3339).serialize(s)
    }
    /// From RFC 3339 text in UTC to the second, or null.
    ///
    /// # Errors
    /// When it is no such text.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Wall>, D::Error> {
        let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
        Wall::from_rfc3339(&text).map(Some).ok_or_else(|| serde::de::Error::custom("a time must be as 2026-11-22T09:30:00Z"))
    }
}
