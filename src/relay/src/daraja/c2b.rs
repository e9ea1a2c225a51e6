//! The JSON of payments without a prompt (C2B): registering our addresses, what comes to them, and what a validation is
//! answered. Pure. Facts: the portal's CustomerToBusiness and CustomerToBusinessRegisterURL.

use super::wire::{RECEIPT_MIN, Unreadable, from_timestamp, scalar, to_json};
use lango_core::payer::Payer;
use lango_core::time::Wall;
use lango_core::units::{Receipt, Shillings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Account numbers have 20 characters at most; more of a longer one is not kept.
const ACCOUNT_MAX: usize = 64;

/// What M-Pesa does with a payment when our validation does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResponseType {
    /// It is completed: no customer is turned away because we are away.
    #[default]
    Completed,
    /// It is cancelled.
    Cancelled,
}

impl ResponseType {
    /// As Daraja spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// A payment by hand, asked about (validation) or told (confirmation): both have one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct C2b {
    /// M-Pesa's receipt (`TransID`).
    pub receipt: Receipt,
    /// Whole shillings.
    pub amount: Shillings,
    /// Whether there was something below a shilling.
    pub cents: bool,
    /// The account number as it was typed (`BillRefNumber`); empty at tills.
    pub account: String,
    /// Who paid.
    pub payer: Payer,
    /// SHA-256 of the payer's number, in hex digits, where that is all that was told (version 1).
    pub hash: Option<String>,
    /// To which shortcode.
    pub shortcode: Option<String>,
    /// When (`TransTime`).
    pub completed_at: Option<Wall>,
}

/// Why a payment by hand is turned away, by Safaricom's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Nobody has that account number.
    Account,
    /// It is no amount that could buy anything.
    Amount,
    /// It is not our shortcode.
    Shortcode,
    /// Anything else: what was sent cannot be read.
    Other,
}

impl Rejection {
    /// `C2B00012` and the like.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Account => "C2B00012",
            Self::Amount => "C2B00013",
            Self::Shortcode => "C2B00015",
            Self::Other => "C2B00016",
        }
    }
}

/// The answer to a validation.
#[must_use]
pub fn validation_answer(rejection: Option<Rejection>) -> String {
    match rejection {
        None => r#"{"ResultCode":"0","ResultDesc":"Accepted"}"#.to_owned(),
        Some(why) => format!(r#"{{"ResultCode":"{}","ResultDesc":"Rejected"}}"#, why.code()),
    }
}

/// The answer to a confirmation that is stored: always this.
pub const CONFIRMED: &str = r#"{"ResultCode":0,"ResultDesc":"Success"}"#;

/// The body of `/mpesa/c2b/v2/registerurl`.
#[must_use]
pub fn register_body(shortcode: &str, response: ResponseType, confirmation: &str, validation: &str) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body<'a> {
        short_code: &'a str,
        response_type: &'static str,
        #[serde(rename = "ConfirmationURL")]
        confirmation: &'a str,
        #[serde(rename = "ValidationURL")]
        validation: &'a str,
    }
    to_json(&Body { short_code: shortcode, response_type: response.name(), confirmation, validation })
}

/// Reads what came to a confirmation's or a validation's address.
///
/// # Errors
/// When it has no receipt or no amount: without these it is no money.
pub fn read(body: &[u8]) -> Result<C2b, Unreadable> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "PascalCase")]
    struct Body {
        #[serde(rename = "TransID")]
        receipt: Value,
        trans_time: Value,
        trans_amount: Value,
        business_short_code: Value,
        bill_ref_number: Value,
        #[serde(rename = "MSISDN")]
        msisdn: Value,
    }
    let body: Body = serde_json::from_slice(body)?;
    let receipt = scalar(&body.receipt).map(|text| text.to_ascii_uppercase()).filter(|text| text.len() >= RECEIPT_MIN);
    let receipt = receipt.and_then(|text| text.parse().ok()).ok_or(Unreadable::Missing("TransID"))?;
    let (amount, cents) = scalar(&body.trans_amount).and_then(|text| money(&text)).ok_or(Unreadable::Missing("TransAmount"))?;
    let number = scalar(&body.msisdn).unwrap_or_default();
    let hash = Some(number.to_ascii_lowercase()).filter(|text| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()));
    Ok(C2b {
        receipt,
        amount,
        cents,
        account: scalar(&body.bill_ref_number).unwrap_or_default().chars().filter(|c| !c.is_control()).take(ACCOUNT_MAX).collect(),
        // A form of masking that nobody told us of hides the payer, and not the money.
        payer: number.parse().unwrap_or(Payer::UNKNOWN),
        hash,
        shortcode: scalar(&body.business_short_code).filter(|text| !text.is_empty()).map(|text| text.chars().take(16).collect()),
        completed_at: scalar(&body.trans_time).and_then(|text| from_timestamp(&text)),
    })
}

/// Whole shillings, and whether there were cents: `10`, `10.00`, `10.50`.
pub(super) fn money(text: &str) -> Option<(Shillings, bool)> {
    let (whole, cents) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(cents) {
        return None;
    }
    Some((Shillings(whole.parse().ok()?), cents.bytes().any(|b| b != b'0')))
}

/// Whose account number that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named<'a, T> {
    /// One router's; and what stood behind its name, in capitals and digits.
    One(&'a T, Option<String>),
    /// Several are written alike.
    Several,
    /// Nobody's.
    Nobody,
}

/// Letters and digits alone, in capitals.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase()
}

/// Finds the router that an account number names: its name, in whatever letters and with or without its dashes, perhaps followed
/// by a space (or dot, star, slash) and one word more: `kibera-7`, `KIBERA7`, `Kibera 7 day`, `kibera7.jane`.
#[must_use]
pub fn named<'a, T>(account: &str, routers: &'a [T], name: impl Fn(&T) -> String) -> Named<'a, T> {
    let find = |text: &str| {
        let wanted = plain(text);
        let mut found = routers.iter().filter(|router| !wanted.is_empty() && plain(&name(router)) == wanted);
        (found.next(), found.next())
    };
    // The whole first, then ever less of it: the longest name is meant.
    let cuts = account.char_indices().filter(|(_, c)| !c.is_ascii_alphanumeric()).map(|(at, c)| (at, at + c.len_utf8())).rev();
    for (end, rest) in std::iter::once((account.len(), account.len())).chain(cuts) {
        match find(&account[..end]) {
            (Some(_), Some(_)) => return Named::Several,
            (Some(router), None) => return Named::One(router, Some(plain(&account[rest..])).filter(|word| !word.is_empty())),
            (None, _) => {}
        }
    }
    Named::Nobody
}

#[cfg(test)]
#[path = "c2b_tests.rs"]
mod tests;
