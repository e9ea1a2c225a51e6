//! What a router tells the relay of its customers' accounts, so that somebody outside the router can: by a text to the
//! phone that paid, or in a RADIUS server's tables (docs/protocol.md). Bodies of [`crate::message::UpBody`].

use crate::language::Language;
use crate::package::Package;
use crate::time::Wall;
use crate::units::{Bytes, Kbps, Msisdn, OrderId, PackageId, Password, Receipt, Seconds, Username};
use serde::{Deserialize, Serialize};

/// An account has something bought on it: a new account, or one that had something before. Stored and resent until the
/// relay acknowledges it; one a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountNotice {
    /// The account's name.
    pub username: Username,
    /// Its password.
    pub password: Password,
    /// Whose purchase it is; null where no phone was named.
    pub phone: Option<Msisdn>,
    /// What was bought.
    pub package: PackageId,
    /// Its name, for people.
    pub label: String,
    /// The time that this purchase gives; null: no such limit.
    pub seconds: Option<Seconds>,
    /// The data that it gives, up and down together; null: no such limit.
    pub bytes: Option<Bytes>,
    /// The speed towards the device; null: no such limit.
    pub down_kbps: Option<Kbps>,
    /// The speed from the device; null: no such limit.
    pub up_kbps: Option<Kbps>,
    /// Devices online at once.
    pub devices: u8,
    /// The order that was paid; null where there was none (a voucher, money without an order).
    pub order: Option<OrderId>,
    /// The money's receipt; null where no money moved by M-Pesa.
    pub receipt: Option<Receipt>,
    /// What the customer reads; null where nobody knows.
    pub language: Option<Language>,
    /// Whether the buyer's device went online with it at once; false: the purchase waits on the account.
    pub online: bool,
}

impl AccountNotice {
    /// What a package is to this message.
    #[must_use]
    pub fn of(username: Username, password: Password, package: &Package) -> Self {
        let limits = package.limits;
        Self {
            username,
            password,
            phone: None,
            package: package.id.clone(),
            label: package.label.clone(),
            seconds: limits.time.map(|time| Seconds(time.0 / 1_000)),
            bytes: limits.data,
            down_kbps: limits.down,
            up_kbps: limits.up,
            devices: limits.devices,
            order: None,
            receipt: None,
            language: None,
            online: false,
        }
    }
}

/// What is on an account ends soon, and nothing follows it. Where the operator wants customers to be told; once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiring {
    /// The account.
    pub username: Username,
    /// Whom to tell.
    pub phone: Msisdn,
    /// How long it still ran then.
    pub seconds_left: Seconds,
    /// When, by the relay's clock as the router reckons it: a text that comes much later says what is wrong by then.
    pub at: Wall,
}

/// An account is used up. Where the operator wants customers to be told; once, and not after an [`Expiring`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The account.
    pub username: Username,
    /// Whom to tell.
    pub phone: Msisdn,
    /// What it was that ended.
    pub by: End,
    /// When, as in [`Expiring::at`].
    pub at: Wall,
}

/// What ended an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its time.
    Time,
    /// Its data.
    Data,
}
