//! Daraja's JSON, out and in. Pure: no I/O, no clock. Tolerant in what it reads (numbers come as numbers or as text),
//! and exact in what it writes: the types are those of the portal's own samples.

use crate::nairobi;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lango_core::time::Wall;
use lango_core::units::{Msisdn, Receipt, Shillings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The customer is shown it; Daraja: at most 12 letters and digits.
const REFERENCE_MAX: usize = 12;
/// Daraja: at most 13 characters.
const DESCRIPTION_MAX: usize = 13;
/// Longer codes and ids than any that Daraja was seen to send are cut: they go into the ledger and the log.
const CODE_MAX: usize = 24;
const ID_MAX: usize = 128;
/// M-Pesa's receipts have ten characters; a text much shorter is none.
pub(super) const RECEIPT_MIN: usize = 8;

/// Which way the money goes to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// `CustomerPayBillOnline`: the shortcode is the pay bill.
    PayBill,
    /// `CustomerBuyGoodsOnline`: the shortcode asks, the till gets the money.
    BuyGoods {
        /// The till number.
        till: String,
    },
}

/// Who asks: what every signed request needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Merchant {
    /// The shortcode that went live; 5 to 7 digits.
    pub shortcode: String,
    /// The passkey that belongs to it.
    pub passkey: String,
    /// Pay bill or till.
    pub account: Account,
}

/// One prompt to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Push {
    /// How much.
    pub amount: Shillings,
    /// Who pays, and whose phone is prompted.
    pub phone: Msisdn,
    /// Where the result is to go.
    pub callback_url: String,
    /// Made by [`reference`].
    pub reference: String,
    /// Made by [`description`].
    pub description: String,
}

/// The access token and how long it is good for, in seconds.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// For the `Authorization` header.
    pub text: String,
    /// Seconds from now.
    pub expires_in: u64,
}

/// Daraja's answer to a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushReply {
    /// The prompt is on its way.
    Accepted {
        /// Names the payment in queries and in its callback.
        checkout: String,
    },
    /// It was not taken, or nobody can say (`code` empty).
    NotAccepted {
        /// `errorCode`, or a `ResponseCode` other than 0.
        code: String,
        /// `errorMessage`.
        message: String,
    },
}

/// Daraja's answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryReply {
    /// The transaction's result code.
    Result(String),
    /// No answer about the transaction: the error's code, empty where there was none.
    Nothing(String),
}

/// A result that Safaricom sent to the callback URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StkCallback {
    /// Which request it is about.
    pub checkout: String,
    /// The result code.
    pub code: String,
    /// What arrived, where the metadata say it in whole shillings.
    pub amount: Option<Shillings>,
    /// M-Pesa's receipt, where it is one.
    pub receipt: Option<Receipt>,
    /// When M-Pesa completed it (`TransactionDate`), where it says so.
    pub completed_at: Option<Wall>,
}

/// Why an answer cannot be read. Never holds the answer itself: it may hold a customer's number.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or not of the form.
    #[error("not the JSON that Daraja sends (line {line}, column {column})")]
    Json {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// A part that must be there is not.
    #[error("it has no {0}")]
    Missing(&'static str),
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column() }
    }
}

/// `YYYYMMDDHHmmss` in East African time, as Daraja's own ids have it.
#[must_use]
pub fn timestamp(now: Wall) -> String {
    nairobi::text(now).chars().filter(char::is_ascii_digit).collect()
}

/// Reads a [`timestamp`].
#[must_use]
pub fn from_timestamp(text: &str) -> Option<Wall> {
    let part = |from: usize, to: usize| text.get(from..to);
    let date = format!("{}-{}-{}", part(0, 4)?, part(4, 6)?, part(6, 8)?);
    nairobi::parse(&format!("{date} {}:{}:{}", part(8, 10)?, part(10, 12)?, part(12, 14)?)).filter(|_| text.len() == 14)
}

/// The customer's reference for a payment: the first letters and digits of `id`, in capitals.
#[must_use]
pub fn reference(id: &str) -> String {
    id.chars().filter(char::is_ascii_alphanumeric).take(REFERENCE_MAX).collect::<String>().to_ascii_uppercase()
}

/// What is bought, in the letters that Daraja takes; never empty.
#[must_use]
pub fn description(label: &str) -> String {
    let plain: String = label.chars().filter(|c| c.is_ascii_alphanumeric() || *c == ' ').take(DESCRIPTION_MAX).collect();
    match plain.trim() {
        "" => "Internet".to_owned(),
        text => text.to_owned(),
    }
}

/// The value of the `Authorization` header for a token request.
#[must_use]
pub fn basic(consumer_key: &str, consumer_secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{consumer_key}:{consumer_secret}")))
}

impl Merchant {
    fn password(&self, timestamp: &str) -> String {
        STANDARD.encode([&self.shortcode, &self.passkey, timestamp].map(str::as_bytes).concat())
    }

    /// The body of `/mpesa/stkpush/v1/processrequest`.
    #[must_use]
    pub fn push_body(&self, push: &Push, now: Wall) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            business_short_code: Value,
            password: String,
            timestamp: &'a str,
            transaction_type: &'static str,
            amount: String,
            party_a: String,
            party_b: &'a str,
            phone_number: String,
            #[serde(rename = "CallBackURL")]
            callback_url: &'a str,
            account_reference: &'a str,
            transaction_desc: &'a str,
        }
        let timestamp = timestamp(now);
        let (transaction_type, party_b) = match &self.account {
            Account::PayBill => ("CustomerPayBillOnline", &self.shortcode),
            Account::BuyGoods { till } => ("CustomerBuyGoodsOnline", till),
        };
        to_json(&Body {
            business_short_code: self.shortcode.parse::<u64>().map_or_else(|_| Value::from(self.shortcode.as_str()), Value::from),
            password: self.password(&timestamp),
            timestamp: &timestamp,
            transaction_type,
            amount: push.amount.to_string(),
            party_a: push.phone.digits(),
            party_b,
            phone_number: push.phone.digits(),
            callback_url: &push.callback_url,
            account_reference: &push.reference,
            transaction_desc: &push.description,
        })
    }

    /// The body of `/mpesa/stkpushquery/v1/query`.
    #[must_use]
    pub fn query_body(&self, checkout: &str, now: Wall) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            business_short_code: &'a str,
            password: String,
            timestamp: &'a str,
            #[serde(rename = "CheckoutRequestID")]
            checkout: &'a str,
        }
        let timestamp = timestamp(now);
        to_json(&Body { business_short_code: &self.shortcode, password: self.password(&timestamp), timestamp: &timestamp, checkout })
    }

    /// Whether `shortcode`, as a callback's header names it, is this merchant's.
    #[must_use]
    pub fn is(&self, shortcode: &str) -> bool {
        shortcode == self.shortcode || matches!(&self.account, Account::BuyGoods { till } if shortcode == till)
    }
}

/// Reads the answer to a token request.
///
/// # Errors
/// When it holds no token.
pub fn read_token(body: &[u8]) -> Result<Token, Unreadable> {
    #[derive(Deserialize)]
    struct Body {
        access_token: Option<String>,
        #[serde(default)]
        expires_in: Value,
    }
    let body: Body = serde_json::from_slice(body)?;
    // It goes into a header as it is.
    let header = |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let text = body.access_token.filter(header).ok_or(Unreadable::Missing("access_token"))?;
    let expires_in = scalar(&body.expires_in).and_then(|seconds| seconds.parse().ok()).ok_or(Unreadable::Missing("expires_in"))?;
    Ok(Token { text, expires_in })
}

/// What every answer may hold; Apigee, the gateway in front of Daraja, has a form of its own for its refusals.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    #[serde(rename = "CheckoutRequestID")]
    checkout: Value,
    #[serde(rename = "ResponseCode")]
    response_code: Value,
    #[serde(rename = "ResultCode")]
    result_code: Value,
    #[serde(rename = "errorCode")]
    error_code: Value,
    #[serde(rename = "errorMessage")]
    error_message: Value,
}

impl Answer {
    /// A body that is not such JSON is an answer that says nothing.
    fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
    fn error(&self) -> Option<String> {
        code(&self.error_code)
    }
}

/// The `ResponseCode` of an answer that holds no error.
#[must_use]
pub fn response_code(body: &[u8]) -> Option<String> {
    let answer = Answer::read(body);
    if answer.error().is_some() { None } else { code(&answer.response_code) }
}

/// Reads the answer to a push, whatever its HTTP status.
#[must_use]
pub fn read_push(body: &[u8]) -> PushReply {
    let answer = Answer::read(body);
    let message = scalar(&answer.error_message).unwrap_or_default();
    match (answer.error(), code(&answer.response_code), id(&answer.checkout)) {
        (None, Some(zero), Some(checkout)) if zero == "0" => PushReply::Accepted { checkout },
        (None, Some(code), _) if code != "0" => PushReply::NotAccepted { code, message },
        (error, ..) => PushReply::NotAccepted { code: error.unwrap_or_default(), message },
    }
}

/// Reads the answer to a query, whatever its HTTP status.
#[must_use]
pub fn read_query(body: &[u8]) -> QueryReply {
    let answer = Answer::read(body);
    match (answer.error(), code(&answer.response_code), code(&answer.result_code)) {
        (None, Some(zero), Some(result)) if zero == "0" => QueryReply::Result(result),
        (error, ..) => QueryReply::Nothing(error.unwrap_or_default()),
    }
}

/// Reads a callback's body.
///
/// # Errors
/// When it is no STK callback.
pub fn read_callback(body: &[u8]) -> Result<StkCallback, Unreadable> {
    #[derive(Deserialize)]
    struct Outer {
        #[serde(rename = "Body")]
        body: Option<Middle>,
    }
    #[derive(Deserialize)]
    struct Middle {
        #[serde(rename = "stkCallback")]
        callback: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(rename = "CheckoutRequestID", default)]
        checkout: Value,
        #[serde(rename = "ResultCode", default)]
        result: Value,
        #[serde(rename = "CallbackMetadata", default)]
        metadata: Value,
    }
    let outer: Outer = serde_json::from_slice(body)?;
    let inner = outer.body.and_then(|middle| middle.callback).ok_or(Unreadable::Missing("Body.stkCallback"))?;
    let item = |name: &str| {
        let items = inner.metadata.get("Item")?.as_array()?;
        items.iter().find(|item| item.get("Name").and_then(Value::as_str) == Some(name))?.get("Value")
    };
    Ok(StkCallback {
        checkout: id(&inner.checkout).ok_or(Unreadable::Missing("CheckoutRequestID"))?,
        code: code(&inner.result).ok_or(Unreadable::Missing("ResultCode"))?,
        amount: item("Amount").and_then(shillings),
        receipt: item("MpesaReceiptNumber").and_then(scalar).filter(|text| text.len() >= RECEIPT_MIN).and_then(|text| text.parse().ok()),
        completed_at: item("TransactionDate").and_then(scalar).and_then(|text| from_timestamp(&text)),
    })
}

/// A number or a text, as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A code, kept to the letters that codes have: it goes into logs and tables.
pub(super) fn code(value: &Value) -> Option<String> {
    let text: String = scalar(value)?.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(CODE_MAX).collect();
    (!text.is_empty()).then_some(text)
}

/// An id of Daraja's: printable and of a sane length, or none.
pub(super) fn id(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    (!text.is_empty() && text.len() <= ID_MAX && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_owned())
}

/// `1`, `1.0`, `"1"` and `"1.00"` are one shilling; anything with cents is no amount that we asked for.
pub(super) fn shillings(value: &Value) -> Option<Shillings> {
    let text = scalar(value)?;
    let (whole, cents) = text.split_once('.').unwrap_or((&text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !cents.bytes().all(|b| b == b'0') {
        return None;
    }
    whole.parse().ok().map(Shillings)
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // It cannot fail: plain structs of text and numbers. An empty body would be refused, not obeyed.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
