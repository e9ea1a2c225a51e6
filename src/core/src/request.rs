//! What customers (portal) and operators (control socket) ask, and what they are told. What an answer carries is in `view.rs`.

mod view;

pub use view::{
    AccountView, BatchView, CertificateView, Failures, FlowOffload, MyAccountView, MyDeviceView, OnlineView, OperatorPaymentView,
    PaymentStatus, PaymentView, ReceiptView, RedeemedView, ServedView, SessionView, StatusView, UpdateView, VoucherStatus, VoucherView,
    rfc3339,
};

use crate::language::Language;
use crate::package::Package;
use crate::units::{Mac, Msisdn, OrderId, PackageId, Password, Receipt, Seconds, Username};
use crate::voucher::{NewVouchers, VoucherCode, Which};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Ties an [`Answer`] to the asker that waits for it; chosen by the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AskId(pub u64);

/// What may be asked. A `device` is known by its address on the LAN, never by what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// The price list.
    Packages,
    /// Buy a package: prompts the phone.
    Pay {
        /// Who buys.
        device: Mac,
        /// What.
        package: PackageId,
        /// Whose M-Pesa pays.
        phone: Msisdn,
        /// What the customer reads.
        #[serde(default)]
        language: Option<Language>,
    },
    /// Where a payment of this device stands.
    PaymentStatus {
        /// Who asks.
        device: Mac,
        /// Which payment.
        order: OrderId,
    },
    /// Wait for this payment no longer: the number was mistyped, so another prompt may go out for the same package. Nothing is called
    /// back: a prompt that is answered all the same is money that arrived. A payment that is decided stays as it is.
    GiveUp {
        /// Who asks.
        device: Mac,
        /// Which payment.
        order: OrderId,
    },
    /// The device's newest payment that is pending, or was decided in the last five minutes:
    /// a portal sheet that was closed and comes back finds it by this.
    LatestPayment {
        /// Who asks.
        device: Mac,
    },
    /// Go online with credentials.
    Login {
        /// Who.
        device: Mac,
        /// As typed.
        username: Username,
        /// As typed.
        password: Password,
        /// Where as many devices as the package allows are online: whether the one that was seen longest ago gives way.
        #[serde(default)]
        replace: bool,
    },
    /// Go online with a voucher: what it gives is put on the device's account, or on a new one.
    Redeem {
        /// Who.
        device: Mac,
        /// As typed.
        code: VoucherCode,
    },
    /// What was typed cannot be what it is meant for: a wrong try of the device, and answered as one.
    Mistyped {
        /// Who.
        device: Mac,
        /// What it was to be. Never the words themselves.
        what: Typed,
    },
    /// What a device that is online may know of its account.
    MyAccount {
        /// Who asks.
        device: Mac,
    },
    /// Take another device of one's own account offline.
    LogoutOther {
        /// Who asks; it must be online on the same account.
        device: Mac,
        /// Whom it means.
        other: Mac,
    },
    /// "I have paid already": bring the receipt's session to this device. Answered as a login is, perhaps some seconds later.
    Reclaim {
        /// Who asks.
        device: Mac,
        /// As typed from M-Pesa's confirmation SMS.
        receipt: Receipt,
        /// Who paid, as typed.
        phone: Msisdn,
    },
    /// Go offline; what is left stays on the account.
    Logout {
        /// Who.
        device: Mac,
    },
    /// Is this device online?
    CheckSession {
        /// Who.
        device: Mac,
    },
    /// What the portal's start page shows, all of it at once.
    Start {
        /// Who looks at it; nothing: nobody whom the router knows.
        device: Option<Mac>,
    },
    /// Operator: how the router is.
    Status,
    /// Operator: who is online.
    Sessions,
    /// Operator: all accounts.
    Accounts,
    /// Operator: all payments, newest first.
    Payments,
    /// Operator: let a device online, as if it had bought the package.
    Grant {
        /// Who.
        device: Mac,
        /// What.
        package: PackageId,
    },
    /// Operator: vouchers were made; keep them.
    AddVouchers(NewVouchers),
    /// Operator: all vouchers, the newest first.
    Vouchers,
    /// Operator: take back vouchers that are not used yet.
    RevokeVouchers {
        /// Which.
        which: Which,
    },
    /// Operator: end a device's session, or all of an account's.
    Kick {
        /// Whose.
        target: Target,
    },
    /// Operator: serve money that waits.
    Serve {
        /// Which.
        receipt: Receipt,
        /// As what; what it pays for by the price list, otherwise.
        package: Option<PackageId>,
        /// To whom; to the device that asked, or else to the account of the phone that paid, otherwise.
        device: Option<Mac>,
    },
    /// Operator, or the script that sets the clock: the router's clock is right now.
    ClockIsSet,
}

impl Request {
    /// Whether its answer shows, or settles, what was used: the kernel's counters are to be read before it is handed in.
    #[must_use]
    pub const fn needs_usage(&self) -> bool {
        matches!(
            self,
            Self::Login { .. }
                | Self::Redeem { .. }
                | Self::Reclaim { .. }
                | Self::CheckSession { .. }
                | Self::MyAccount { .. }
                | Self::Start { device: Some(_) }
                | Self::Sessions
                | Self::Accounts
        )
    }
}

/// What a customer types to go online.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Typed {
    /// A voucher's code.
    Voucher,
    /// M-Pesa's receipt.
    Receipt,
    /// A user name with its password.
    Credentials,
}

/// Whom a kick means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// One device.
    Device(Mac),
    /// All devices of an account.
    Account(Username),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "snake_case")]
pub enum Answer {
    /// The price list, in the operator's order.
    Packages(Vec<Package>),
    /// To [`Request::Pay`], [`Request::PaymentStatus`], [`Request::GiveUp`].
    Payment(PaymentView),
    /// To [`Request::LatestPayment`].
    LatestPayment(Option<PaymentView>),
    /// To [`Request::Login`], [`Request::Grant`].
    Session(SessionView),
    /// To [`Request::CheckSession`].
    CheckSession(Option<SessionView>),
    /// To [`Request::Start`].
    Start(Box<StartView>),
    /// Done, and nothing to say.
    Done,
    /// To [`Request::Status`].
    Status(StatusView),
    /// To [`Request::Sessions`].
    Sessions(Vec<OnlineView>),
    /// To [`Request::Accounts`].
    Accounts(Vec<AccountView>),
    /// To [`Request::Payments`].
    Payments(Vec<OperatorPaymentView>),
    /// To [`Request::Serve`].
    Served(ServedView),
    /// To [`Request::Redeem`].
    Redeemed(RedeemedView),
    /// To [`Request::MyAccount`]; nothing where the device is not online.
    MyAccount(Option<MyAccountView>),
    /// To [`Request::AddVouchers`].
    VouchersAdded(BatchView),
    /// To [`Request::Vouchers`].
    Vouchers(Vec<VoucherView>),
    /// To [`Request::RevokeVouchers`]: how many were.
    VouchersRevoked(u16),
    /// It cannot be done; nothing was changed.
    Refused(Refusal),
    /// A server refused the user name or the password, and says this to the customer.
    Denied(String),
}

impl Answer {
    /// Reads what serde writes. As with the store's records (`record.rs`), what serde makes to read it is twice as large.
    ///
    /// # Errors
    /// When it is no answer.
    pub fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Unread<'a> {
            answer: &'a str,
            #[serde(borrow)]
            value: Option<&'a RawValue>,
        }
        let Unread { answer, value } = serde_json::from_slice(json)?;
        let value = value.map_or("null", RawValue::get).as_bytes();
        Ok(match answer {
            "packages" => Self::Packages(serde_json::from_slice(value)?),
            "payment" => Self::Payment(serde_json::from_slice(value)?),
            "latest_payment" => Self::LatestPayment(serde_json::from_slice(value)?),
            "session" => Self::Session(serde_json::from_slice(value)?),
            "check_session" => Self::CheckSession(serde_json::from_slice(value)?),
            "start" => Self::Start(serde_json::from_slice(value)?),
            "done" => Self::Done,
            "status" => Self::Status(serde_json::from_slice(value)?),
            "sessions" => Self::Sessions(serde_json::from_slice(value)?),
            "accounts" => Self::Accounts(serde_json::from_slice(value)?),
            "payments" => Self::Payments(serde_json::from_slice(value)?),
            "served" => Self::Served(serde_json::from_slice(value)?),
            "redeemed" => Self::Redeemed(serde_json::from_slice(value)?),
            "my_account" => Self::MyAccount(serde_json::from_slice(value)?),
            "vouchers_added" => Self::VouchersAdded(serde_json::from_slice(value)?),
            "vouchers" => Self::Vouchers(serde_json::from_slice(value)?),
            "vouchers_revoked" => Self::VouchersRevoked(serde_json::from_slice(value)?),
            "refused" => Self::Refused(serde_json::from_slice(value)?),
            "denied" => Self::Denied(serde_json::from_slice(value)?),
            other => return Err(serde::de::Error::custom(format_args!("nobody knows the answer {other:?}"))),
        })
    }
}

/// What there is for a device to see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartView {
    /// As to [`Request::CheckSession`].
    pub session: Option<SessionView>,
    /// As to [`Request::LatestPayment`].
    pub latest: Option<PaymentView>,
    /// What was bought last on the account that it was on last and that is used up; nothing where it is online, where something is left, or
    /// where nothing ever was.
    pub used_up: Option<PackageId>,
    /// As to [`Request::Packages`].
    pub packages: Vec<Package>,
    /// Whether payments are possible now, as to [`Request::Status`].
    pub payments: bool,
    /// Whether there are vouchers that can be redeemed.
    #[serde(skip)]
    pub vouchers: bool,
    /// The number that the device asked to pay from last, but for one that it said was mistyped.
    #[serde(skip)]
    pub phone: Option<Msisdn>,
}

impl StartView {
    /// Whether nothing that the start page shows is the device's own: then everybody who has nothing sees the same.
    #[must_use]
    pub const fn is_common(&self) -> bool {
        self.session.is_none() && self.latest.is_none() && self.used_up.is_none()
    }
}

/// Why something cannot be done: the `code` of the contract's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refusal {
    /// No such package.
    #[error("there is no such package")]
    UnknownPackage,
    /// The cloud cannot be reached; only payments need it.
    #[error("M-Pesa payments are not possible right now; logging in still is")]
    PaymentsOffline,
    /// Too often, too fast.
    #[error("too many requests")]
    TooManyRequests {
        /// When to try again.
        retry_after: Seconds,
    },
    /// As many customers wait for a login server as may at once; this one did nothing wrong.
    #[error("many customers are logging in at this moment")]
    Crowded {
        /// When to try again.
        retry_after: Seconds,
    },
    /// No such payment of this device.
    #[error("there is no such payment of this device")]
    UnknownPayment,
    /// Wrong user name or password; which of them is not told.
    #[error("the user name or the password is wrong")]
    BadCredentials,
    /// Only a RADIUS server knows this user name, and none answers.
    #[error("the login server does not answer; try again in a minute")]
    LoginOffline,
    /// As many devices as the package allows are online.
    #[error("as many devices as the package allows are online already")]
    DeviceLimit,
    /// No money with this receipt came from this number, or none at all.
    #[error("no payment with this receipt came from this number")]
    UnknownReceipt,
    /// The money is here, and no package fits it: the operator sees it.
    #[error("this payment arrived, and waits for the people who run the hotspot")]
    NotServed,
    /// Nobody who would know the receipt could be asked in time.
    #[error("the receipt could not be checked now; try again in a minute")]
    NoAnswer,
    /// Nothing is left on the account.
    #[error("the time or the data of this account is used up")]
    Expired,
    /// The one to be kicked is not online.
    #[error("no such device or account is online")]
    NotOnline,
    /// The money is service already.
    #[error("this payment is served already")]
    AlreadyServed,
    /// The price list has nothing for this amount.
    #[error("no package costs what was paid")]
    NoPackageFits,
    /// The clock is said to be right, and plainly is not.
    #[error("the router's clock stands before 2026: set it first")]
    ClockNotSet,
    /// No voucher has this code, or this name.
    #[error("there is no such voucher")]
    UnknownVoucher,
    /// It was redeemed before.
    #[error("this voucher is used already")]
    VoucherUsed,
    /// Its time to be redeemed is over.
    #[error("this voucher has expired")]
    VoucherExpired,
    /// The operator took it back.
    #[error("this voucher was revoked")]
    VoucherRevoked,
    /// As many vouchers are kept as there is room for.
    #[error("there are as many vouchers as the router keeps; revoke some that will not be sold, or make fewer")]
    VouchersFull,
    /// The record could not be stored, so nothing was done.
    #[error("the router could not store it, so nothing was changed; try again")]
    NotStored,
}
