//! The JSON of what an organisation asks with an initiator: what became of a transaction, and its reversal. Both are answered
//! later, at addresses that go with the question. Pure. Facts: the portal's TransactionStatus and Reversal.

use super::c2b::money;
use super::wire::{RECEIPT_MIN, Unreadable, code, from_timestamp, scalar, to_json};
use lango_core::payer::Payer;
use lango_core::time::Wall;
use lango_core::units::{Receipt, Shillings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The operator of the organisation's account in whose name we ask.
#[derive(Clone, PartialEq, Eq)]
pub struct Initiator {
    /// Its name on the M-Pesa organisation portal.
    pub name: String,
    /// Its password, encrypted for Safaricom (docs/relay.md says how).
    pub credential: String,
}

/// Where the answer is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// The result.
    pub result: String,
    /// That Safaricom did not come to it.
    pub timeout: String,
}

/// The body of `/mpesa/transactionstatus/v1/query`.
#[must_use]
pub fn status_body(initiator: &Initiator, shortcode: &str, receipt: &Receipt, reply: &ReplyTo) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body<'a> {
        initiator: &'a str,
        security_credential: &'a str,
        #[serde(rename = "CommandID")]
        command: &'static str,
        #[serde(rename = "TransactionID")]
        receipt: &'a str,
        party_a: &'a str,
        identifier_type: &'static str,
        #[serde(rename = "ResultURL")]
        result: &'a str,
        #[serde(rename = "QueueTimeOutURL")]
        timeout: &'a str,
        remarks: &'static str,
        occasion: &'static str,
    }
    to_json(&Body {
        initiator: &initiator.name,
        security_credential: &initiator.credential,
        command: "TransactionStatusQuery",
        receipt: receipt.as_str(),
        party_a: shortcode,
        // An organisation's shortcode.
        identifier_type: "4",
        result: &reply.result,
        timeout: &reply.timeout,
        remarks: "OK",
        occasion: "OK",
    })
}

/// The body of `/mpesa/reversal/v1/request`.
#[must_use]
pub fn reversal_body(initiator: &Initiator, shortcode: &str, receipt: &Receipt, amount: Shillings, reply: &ReplyTo) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body<'a> {
        initiator: &'a str,
        security_credential: &'a str,
        #[serde(rename = "CommandID")]
        command: &'static str,
        #[serde(rename = "TransactionID")]
        receipt: &'a str,
        amount: String,
        receiver_party: &'a str,
        // Daraja's own spelling.
        reciever_identifier_type: &'static str,
        #[serde(rename = "ResultURL")]
        result: &'a str,
        #[serde(rename = "QueueTimeOutURL")]
        timeout: &'a str,
        remarks: &'static str,
    }
    to_json(&Body {
        initiator: &initiator.name,
        security_credential: &initiator.credential,
        command: "TransactionReversal",
        receipt: receipt.as_str(),
        amount: amount.to_string(),
        receiver_party: shortcode,
        reciever_identifier_type: "11",
        result: &reply.result,
        timeout: &reply.timeout,
        remarks: "Payment reversal",
    })
}

/// What came to a result's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgResult {
    /// The result code, as `0`, `21`, `R000002`.
    pub code: String,
    /// The transaction that the request itself made: a reversal's own receipt.
    pub transaction: Option<String>,
    parameters: Vec<(String, String)>,
}

/// A transaction as Safaricom describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its receipt.
    pub receipt: Receipt,
    /// How much.
    pub amount: Shillings,
    /// Whether there was something below a shilling.
    pub cents: bool,
    /// Who paid.
    pub payer: Payer,
    /// Who got it: the number that its name begins with.
    pub receiver: String,
    /// When it was completed.
    pub completed_at: Option<Wall>,
}

/// Reads a result's body.
///
/// # Errors
/// When it is none.
pub fn read_result(body: &[u8]) -> Result<OrgResult, Unreadable> {
    #[derive(Deserialize)]
    struct Outer {
        #[serde(rename = "Result")]
        result: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(rename = "ResultCode", default)]
        code: Value,
        #[serde(rename = "TransactionID", default)]
        transaction: Value,
        #[serde(rename = "ResultParameters", default)]
        parameters: Value,
    }
    let outer: Outer = serde_json::from_slice(body)?;
    let inner = outer.result.ok_or(Unreadable::Missing("Result"))?;
    // One parameter comes without its list.
    let listed = inner.parameters.get("ResultParameter");
    let one = |item: &Value| Some((scalar(item.get("Key")?)?, scalar(item.get("Value")?)?));
    let parameters = match listed {
        Some(Value::Array(items)) => items.iter().filter_map(one).collect(),
        Some(item) => one(item).into_iter().collect(),
        None => Vec::new(),
    };
    Ok(OrgResult { code: code(&inner.code).ok_or(Unreadable::Missing("ResultCode"))?, transaction: code(&inner.transaction), parameters })
}

impl OrgResult {
    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// What it says of the transaction that was asked about.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.all("TransactionStatus").next()
    }

    /// The transaction that it describes, if that is completed and says who paid whom.
    #[must_use]
    pub fn described(&self) -> Option<Described> {
        if self.code != "0" || self.all("TransactionStatus").next() != Some("Completed") {
            return None;
        }
        // The portal's sample has two debit parties: of which it is not said who paid. Such a thing is nobody's proof.
        let one = |key| {
            let mut values = self.all(key);
            values.next().filter(|_| values.next().is_none())
        };
        let number = |party: &str| party.split([' ', '-']).next().unwrap_or_default().to_owned();
        let (payer, receiver) = (number(one("DebitPartyName")?), number(one("CreditPartyName")?));
        let (amount, cents) = money(one("Amount")?)?;
        let receipt = self.all("ReceiptNo").next().filter(|text| text.len() >= RECEIPT_MIN)?;
        Some(Described {
            receipt: receipt.parse().ok()?,
            amount,
            cents,
            payer: payer.parse().unwrap_or(Payer::UNKNOWN),
            receiver,
            completed_at: self.all("FinalisedTime").next().and_then(from_timestamp),
        })
    }
}

/// How a reversal stands after a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reversed {
    /// The money is back at its payer.
    Done,
    /// No money moved, and none will by this request.
    Failed,
    /// Nobody told us what this code means.
    Doubt,
}

/// What a reversal's result code says.
#[must_use]
pub fn reversed(code: &str) -> Reversed {
    match code {
        // R000001: it was reversed before, by whomever.
        "0" | "R000001" => Reversed::Done,
        "1" | "11" | "21" | "2001" | "2006" | "2028" | "8006" | "R000002" => Reversed::Failed,
        _ => Reversed::Doubt,
    }
}

#[cfg(test)]
#[path = "org_tests.rs"]
mod tests;
