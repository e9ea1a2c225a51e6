//! The messages between router and relay, and their frozen form on the wire (docs/protocol.md).
//!
//! Pure: bytes in, values out. Signing and checking signatures is the adapters' work, over the exact bytes that
//! [`Sealed::signed`] holds.

use crate::notice::{AccountNotice, Ended, Expiring};
use crate::payer::Payer;
use crate::time::Wall;
use crate::units::{Mac, MessageId, Msisdn, OrderId, PackageId, Receipt, RouterName, Shillings};
use crate::update::{Offer, Report};
use crate::voucher::{NewVouchers, Which};
use serde::{Deserialize, Serialize};

/// The version of all messages here. A reader refuses any other.
pub const VERSION: u8 = 1;

/// The largest payload that either side reads, in bytes.
pub const MAX_PAYLOAD: usize = 16 * 1024;

/// How long after [`PaymentRequest::asked_at`] the relay still sends a prompt to the customer's phone, in milliseconds:
/// a prompt that comes when the customer has given up is worse than none.
pub const REQUEST_FRESH_FOR: u64 = 90_000;

/// What the signature of a [`Sealed`] message is made over is this prefix and then the bytes of [`Sealed::signed`]:
/// a signature made for anything else can never pass for one of these.
pub const SIGNATURE_CONTEXT: &[u8] = b"lango/v1/down\n";

/// Why a payload is not a message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Larger than [`MAX_PAYLOAD`].
    #[error("the payload has {0} bytes; at most {MAX_PAYLOAD} are read")]
    TooLarge(usize),
    /// Not the JSON that it should be.
    #[error("the payload is not a message: {0}")]
    Json(#[from] serde_json::Error),
    /// Of a version that this program does not speak.
    #[error("the message is of version {0}; this program speaks version {VERSION}: update the older side")]
    Version(u8),
    /// Its envelope and its signed part disagree, or it is meant for another router.
    #[error("the message's {0} is not the one that was signed")]
    Mismatch(&'static str),
}

/// From router to relay, as JSON on `lango/v1/ROUTER/up/TYPE`. The broker's ACL vouches for the router's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Up {
    /// [`VERSION`].
    pub v: u8,
    /// The same each time that the message is sent again.
    pub id: MessageId,
    /// Counts the router's messages; never goes back while the router's store lives.
    pub seq: u64,
    /// What it says.
    #[serde(flatten)]
    pub body: UpBody,
}

/// What a router says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum UpBody {
    /// Sent at each connection. The relay answers with [`DownBody::Welcome`]; it is not stored and not acknowledged.
    Hello {
        /// Comes back in the answer, so that an old answer cannot pass for a new one.
        nonce: MessageId,
        /// The program's version, for the operator's list.
        version: String,
    },
    /// Asks for a prompt on the customer's phone. Stored and resent until the relay acknowledges it.
    PaymentRequest(PaymentRequest),
    /// Says that these messages of the relay are stored and acted on. Neither stored nor acknowledged: lost, it is asked
    /// for again by the relay's resending.
    Ack {
        /// Their ids.
        of: Vec<MessageId>,
    },
    /// Something was bought. Stored and resent until the relay acknowledges it, as are the two below.
    Account(AccountNotice),
    /// What a customer has ends soon.
    Expiring(Expiring),
    /// What a customer had is used up.
    Ended(Ended),
    /// A customer typed a receipt that the router does not know. Neither stored nor acknowledged: the relay answers at once
    /// with [`DownBody::Receipt`], or the customer tries again.
    ReceiptQuery(ReceiptQuery),
    /// Answers a [`DownBody::RevokeVouchers`], and acknowledges it. Neither stored nor acknowledged: lost, it is asked for again by
    /// the relay's resending.
    VouchersRevoked(VouchersRevoked),
    /// How an update stands that the relay offered; the first one of each answers the [`DownBody::Update`]. Stored and resent until
    /// the relay acknowledges it; a later one takes its place.
    Update(Report),
}

impl UpBody {
    /// The last level of its topic.
    #[must_use]
    pub fn topic(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::PaymentRequest(_) => "payment_request",
            Self::Ack { .. } => "ack",
            Self::Account(_) => "account",
            Self::Expiring(_) => "expiring",
            Self::Ended(_) => "ended",
            Self::ReceiptQuery(_) => "receipt_query",
            Self::VouchersRevoked(_) => "vouchers_revoked",
            Self::Update(_) => "update",
        }
    }
}

/// How vouchers stand that were to be revoked: the same each time that it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VouchersRevoked {
    /// The id of the message that asked for it.
    pub of: MessageId,
    /// How many of those that were meant are revoked now, by this or before.
    pub revoked: u16,
    /// How many of them had been redeemed: what they became stays.
    pub used: u16,
}

/// What became of the money with this receipt?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptQuery {
    /// Comes back in the answer, so that no other answer can pass for this one's.
    pub query: MessageId,
    /// As the customer typed it from the confirmation SMS.
    pub receipt: Receipt,
    /// Who paid, as the customer says: the relay tells nothing of another's money.
    pub phone: Msisdn,
}

/// A customer wants to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRequest {
    /// The order's id at the router.
    pub order: OrderId,
    /// What is bought.
    pub package: PackageId,
    /// Its name, for the customer's prompt.
    pub label: String,
    /// Its price.
    pub amount: Shillings,
    /// Who is asked to pay.
    pub phone: Msisdn,
    /// The paying device: comes back with the result, so that money finds it even where the router has lost its memory.
    pub device: Mac,
    /// When the customer asked, by the *relay's* clock as the router reckons it from the last welcome; null where it
    /// never had one. More than [`REQUEST_FRESH_FOR`] ago, or null: the relay prompts nobody and says [`DownBody::Stale`].
    pub asked_at: Option<Wall>,
}

/// From relay to router, as JSON on `lango/v1/ROUTER/down/TYPE`: a signed text in an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// [`VERSION`].
    pub v: u8,
    /// As in the signed part.
    pub id: MessageId,
    /// As in the signed part.
    pub seq: u64,
    /// A [`Down`] as JSON text: these exact bytes are what is signed, behind [`SIGNATURE_CONTEXT`].
    pub signed: String,
    /// Ed25519 (RFC 8032), base64 with padding.
    pub signature: String,
}

/// What the relay says, once its signature is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Down {
    /// [`VERSION`].
    pub v: u8,
    /// The same each time that the message is sent again.
    pub id: MessageId,
    /// Counts the relay's messages to this router.
    pub seq: u64,
    /// Whom it is for: a message for one router is refused by all others.
    pub router: RouterName,
    /// The relay's clock when it was first made.
    pub at: Wall,
    /// What it says.
    #[serde(flatten)]
    pub body: DownBody,
}

/// What the relay says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DownBody {
    /// Answers a hello: payments can be had, and this is the time ([`Down::at`]). Not acknowledged.
    Welcome {
        /// The hello's.
        nonce: MessageId,
    },
    /// These messages of the router are stored. Not acknowledged.
    Ack {
        /// Their ids.
        of: Vec<MessageId>,
    },
    /// The request came too old, or without a time, and nobody was prompted; [`Down::at`] is the time to reckon with.
    /// The request is done with: ask again as a new message, if the customer still waits. Not acknowledged.
    Stale {
        /// The order that was asked for.
        order: OrderId,
    },
    /// Where a payment stands. Stored and resent until the router acknowledges it, when it is final.
    Payment(PaymentUpdate),
    /// Somebody paid by hand, without a prompt. Stored and resent until the router acknowledges it.
    Deposit(Deposit),
    /// Answers a [`ReceiptQuery`]. Neither stored nor acknowledged.
    Receipt(ReceiptAnswer),
    /// Vouchers that can be redeemed at the router. Stored and resent until the router acknowledges it.
    Vouchers(NewVouchers),
    /// Vouchers that are not to be redeemed any more. Stored and resent until the router answers with [`VouchersRevoked`].
    RevokeVouchers(Which),
    /// Another program, or another image. Stored and resent until the router answers with [`UpBody::Update`].
    Update(Offer),
}

impl DownBody {
    /// The last level of its topic.
    #[must_use]
    pub fn topic(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "welcome",
            Self::Ack { .. } => "ack",
            Self::Stale { .. } => "stale",
            Self::Payment(_) => "payment",
            Self::Deposit(_) => "deposit",
            Self::Receipt(_) => "receipt",
            Self::Vouchers(_) => "vouchers",
            Self::RevokeVouchers(_) => "revoke_vouchers",
            Self::Update(_) => "update",
        }
    }
}

/// Money that somebody paid by hand, to the pay bill or the till.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// M-Pesa's receipt; exactly-once hangs on it.
    pub receipt: Receipt,
    /// What arrived.
    pub amount: Shillings,
    /// Who paid.
    pub payer: Payer,
    /// What stood behind the router's name in the account number, in capitals and digits: a package, a user name, or anything.
    pub word: Option<String>,
    /// When M-Pesa completed it, where it said so.
    pub paid_at: Option<Wall>,
}

/// The answer to a [`ReceiptQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptAnswer {
    /// The query's.
    pub query: MessageId,
    /// What is known.
    #[serde(flatten)]
    pub found: Found,
}

/// What is known of a receipt. Money that is named here is for this router to serve, once, if it has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Found {
    /// It paid an order of this router's.
    Payment(PaidOrder),
    /// It was paid by hand, and is this router's.
    Deposit(Deposit),
    /// Safaricom is asked, which takes a moment. If there is such money it comes as a [`Deposit`].
    Asking,
    /// Nobody knows it, or it is another's, or it was served elsewhere: which of them is not told.
    Unknown,
}

/// An order that was paid, with all that a router which lost its memory needs to serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidOrder {
    /// The order's id.
    pub order: OrderId,
    /// What was bought.
    pub package: PackageId,
    /// The device that asked then.
    pub device: Mac,
    /// Who paid.
    pub phone: Msisdn,
    /// The receipt under which the router was told of it: a stand-in, where the query's was not known yet.
    pub receipt: Receipt,
    /// What arrived.
    pub amount: Shillings,
}

/// Where a payment stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentUpdate {
    /// The order's id at the router.
    pub order: OrderId,
    /// What is bought.
    pub package: PackageId,
    /// The device that asked.
    pub device: Mac,
    /// Who pays.
    pub phone: Msisdn,
    /// Where it stands.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Where a payment stands. `paid` is final and beats everything before and after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// Safaricom confirmed the money.
    Paid {
        /// M-Pesa's receipt; exactly-once hangs on it.
        receipt: Receipt,
        /// What arrived.
        amount: Shillings,
    },
    /// No money moved.
    Failed {
        /// Why, in the customer's terms.
        reason: Reason,
    },
}

/// Why a payment failed: contract.md, `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The customer declined the prompt (Daraja 1032, 1031).
    Cancelled,
    /// The PIN was wrong (2001).
    WrongPin,
    /// Not enough money (1).
    InsufficientBalance,
    /// Nobody answered the prompt, or the phone could not be reached (1037, 1019, 1036).
    NoResponse,
    /// A limit of M-Pesa's (2, 3, 4, 8, 17).
    Limit,
    /// Another transaction is under way, or the system is busy (1001, 26, 500.001.1001 "unable to lock", 500.003.02).
    Busy,
    /// Anything else; the relay keeps the code for the operator.
    Other,
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Malformed> {
    /// Read first: what a later version looks like inside is not for this program to judge.
    #[derive(Deserialize)]
    struct Versioned {
        v: u8,
    }
    if payload.len() > MAX_PAYLOAD {
        return Err(Malformed::TooLarge(payload.len()));
    }
    let Versioned { v } = serde_json::from_slice(payload)?;
    if v != VERSION {
        return Err(Malformed::Version(v));
    }
    Ok(serde_json::from_slice(payload)?)
}

impl Up {
    /// Reads a payload.
    ///
    /// # Errors
    /// When it is no such message.
    pub fn from_json(payload: &[u8]) -> Result<Self, Malformed> {
        parse(payload)
    }
    /// Its bytes on the wire.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

impl Sealed {
    /// Reads a payload; nothing in it may be believed before its signature is checked.
    ///
    /// # Errors
    /// When it is no such message.
    pub fn from_json(payload: &[u8]) -> Result<Self, Malformed> {
        parse(payload)
    }
    /// Its bytes on the wire.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
    /// The bytes that the signature is made over.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        [SIGNATURE_CONTEXT, self.signed.as_bytes()].concat()
    }
    /// The message inside. Call it only after the signature over [`Sealed::signed_bytes`] held.
    ///
    /// # Errors
    /// When it is no message, is for another router, or its envelope says other than what was signed.
    pub fn open(&self, me: &RouterName) -> Result<Down, Malformed> {
        let down: Down = parse(self.signed.as_bytes())?;
        if down.router != *me {
            return Err(Malformed::Mismatch("router"));
        }
        if down.id != self.id {
            return Err(Malformed::Mismatch("id"));
        }
        if down.seq != self.seq {
            return Err(Malformed::Mismatch("seq"));
        }
        Ok(down)
    }
}

impl Down {
    /// The text to be signed, behind [`SIGNATURE_CONTEXT`].
    #[must_use]
    pub fn to_json(&self) -> String {
        // Serialising these types into memory cannot fail: no maps with other than text keys, no failing `Serialize`.
        String::from_utf8(to_json(self)).unwrap_or_default()
    }
    /// The envelope around the text that was signed.
    #[must_use]
    pub fn seal(&self, signed: String, signature: String) -> Sealed {
        Sealed { v: VERSION, id: self.id.clone(), seq: self.seq, signed, signature }
    }
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // As above: it cannot fail; an empty payload would be refused by every reader.
    serde_json::to_vec(value).unwrap_or_default()
}
