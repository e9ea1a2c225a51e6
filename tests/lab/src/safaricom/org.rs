//! Payments without a prompt (C2B), Transaction Status and reversals: Daraja's forms, strictly, and what Safaricom does.
//!
//! Sources: developer.safaricom.co.ke, CustomerToBusiness, CustomerToBusinessRegisterURL, TransactionStatus, Reversal.

use super::daraja::{Paid, Refusal, callback_url_is_good, to_eat};
use super::{Inner, Safaricom, msisdn, now_unix, server};
use crate::http::{Reply, Request, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The initiator that the lab's organisation has.
pub const INITIATOR: &str = "labapi";

/// Its password, encrypted: only that it is long, and the right one, is checked here.
#[must_use]
pub fn credential() -> String {
    "TGFi".repeat(86)
}

/// How payers' numbers are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Masking {
    /// `2547 ***** 678` (version 2).
    #[default]
    Masked,
    /// As they are.
    Whole,
    /// Not at all.
    Missing,
}

/// How a reversal ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The money goes back.
    Done,
    /// With this code no money moves.
    Code(&'static str),
    /// It is not answered.
    Silent,
    /// Safaricom does not come to it.
    Timeout,
    /// It is refused at once, with the code and words.
    Refused(&'static str, &'static str),
}

/// The addresses that a shortcode has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Where payments are told.
    pub confirmation: String,
    /// Where they are asked about.
    pub validation: String,
    /// `Completed` or `Cancelled`.
    pub response_type: String,
}

/// A payment by hand.
#[derive(Debug, Clone)]
pub struct ByHand {
    /// Twelve digits.
    pub phone: String,
    /// What was typed as the account number.
    pub account: String,
    /// The money, where it moved.
    pub paid: Option<Paid>,
    /// What the validation said: `0`, or why not. None where it was not asked.
    pub validation: Option<String>,
    /// Whether the confirmation was answered with 200.
    pub confirmed: bool,
}

#[derive(Default)]
pub(super) struct Organisation {
    pub(super) registered: Option<Registered>,
    /// Whether external validation is switched on for the shortcode.
    validates: bool,
    masking: Masking,
    /// Whether confirmations get lost from now on.
    confirmations_lost: bool,
    pub(super) by_hand: Vec<ByHand>,
    status_asked: Vec<String>,
    status_says: Option<String>,
    endings: Vec<Ending>,
    reversals: Vec<(String, u64, bool)>,
}

impl Safaricom {
    /// Whether external validation is switched on.
    pub fn validates(&self, on: bool) {
        self.inner.lock().organisation.validates = on;
    }

    /// How payers' numbers are told from now on.
    pub fn masks(&self, masking: Masking) {
        self.inner.lock().organisation.masking = masking;
    }

    /// What Safaricom says of every payment that it is asked about from now on.
    pub fn status_says(&self, status: &str) {
        self.inner.lock().organisation.status_says = Some(status.to_owned());
    }

    /// Whether confirmations get lost from now on.
    pub fn loses_confirmations(&self, lost: bool) {
        self.inner.lock().organisation.confirmations_lost = lost;
    }

    /// How the next reversals end; after these, all are done.
    pub fn reversals_end(&self, endings: impl IntoIterator<Item = Ending>) {
        self.inner.lock().organisation.endings.extend(endings);
    }

    /// Everybody who tried to pay by hand, oldest first.
    #[must_use]
    pub fn by_hand(&self) -> Vec<ByHand> {
        self.inner.lock().organisation.by_hand.clone()
    }

    /// The registered addresses.
    #[must_use]
    pub fn registered(&self) -> Option<Registered> {
        self.inner.lock().organisation.registered.clone()
    }

    /// Receipts that were asked about.
    #[must_use]
    pub fn status_asked(&self) -> Vec<String> {
        self.inner.lock().organisation.status_asked.clone()
    }

    /// Reversals that were asked for: receipt, amount, and whether the money went back.
    #[must_use]
    pub fn reversals(&self) -> Vec<(String, u64, bool)> {
        self.inner.lock().organisation.reversals.clone()
    }

    /// Somebody pays by hand, from the phone's own M-Pesa menu; comes back when Safaricom has told of it, or has turned it away.
    ///
    /// # Panics
    /// When it is no phone number.
    pub fn pays_by_hand(&self, phone: &str, account: &str, amount: u64) -> ByHand {
        let inner = &self.inner;
        let phone = msisdn(phone);
        let receipt = server::receipt();
        let (registered, validates, lost) = {
            let state = inner.lock();
            let organisation = &state.organisation;
            (organisation.registered.clone(), organisation.validates, organisation.confirmations_lost)
        };
        let mut by_hand = ByHand { phone: phone.clone(), account: account.to_owned(), paid: None, validation: None, confirmed: false };
        let paid = Paid { receipt, amount, phone, at: now_unix() };
        if let Some(registered) = registered.as_ref().filter(|_| validates) {
            let body = inner.told(&paid, account, false);
            let answer = server::post_and_read(inner.place.as_ref(), &registered.validation, &inner.merchant.shortcode, body.as_bytes());
            let said = answer.ok().filter(|(status, _)| *status == 200).and_then(|(_, body)| {
                let answer: Value = serde_json::from_slice(&body).ok()?;
                answer["ResultCode"].as_str().map(str::to_owned)
            });
            let refused = said.as_ref().map_or(registered.response_type == "Cancelled", |code| code != "0");
            by_hand.validation = said;
            if refused {
                inner.lock().organisation.by_hand.push(by_hand.clone());
                return by_hand;
            }
        }
        by_hand.paid = Some(paid.clone());
        // The money has moved before anybody is told.
        inner.lock().organisation.by_hand.push(by_hand.clone());
        if !lost {
            by_hand.confirmed = inner.confirm(&paid, account);
        }
        by_hand
    }

    /// Tells of a prompt's money, or of money by hand, once more as a payment without a prompt: with C2B addresses registered
    /// Safaricom does so for prompts, too.
    ///
    /// # Panics
    /// When nobody paid with this receipt.
    pub fn confirms(&self, receipt: &str) -> bool {
        let (paid, account) = self.inner.found(receipt).expect("money with this receipt");
        self.inner.confirm(&paid, &account)
    }
}

impl Inner {
    /// Whose money this receipt is, and with which account number.
    fn found(&self, receipt: &str) -> Option<(Paid, String)> {
        let state = self.lock();
        let prompted = state.prompts.iter().find_map(|prompt| {
            let paid = prompt.paid.clone().filter(|paid| paid.receipt == receipt)?;
            let pay_bill = self.merchant.transaction_type == "CustomerPayBillOnline";
            Some((paid, if pay_bill { prompt.push.reference.clone() } else { String::new() }))
        });
        prompted.or_else(|| {
            let by_hand = state.organisation.by_hand.iter();
            by_hand.filter_map(|one| Some((one.paid.clone()?, one.account.clone()))).find(|(paid, _)| paid.receipt == receipt)
        })
    }

    fn confirm(&self, paid: &Paid, account: &str) -> bool {
        let registered = self.lock().organisation.registered.clone();
        let Some(registered) = registered else { return false };
        let body = self.told(paid, account, true);
        matches!(server::post(self.place.as_ref(), &registered.confirmation, &self.merchant.shortcode, body.as_bytes()), Ok(200))
    }

    /// Letter for letter as the portal's masked sample.
    fn told(&self, paid: &Paid, account: &str, confirmed: bool) -> String {
        let number = match self.lock().organisation.masking {
            Masking::Masked => format!("{} ***** {}", &paid.phone[..4], &paid.phone[9..]),
            Masking::Whole => paid.phone.clone(),
            Masking::Missing => String::new(),
        };
        let kind = if self.merchant.transaction_type == "CustomerPayBillOnline" { "Pay Bill" } else { "Customer Merchant Payment" };
        json!({
            "TransactionType": kind,
            "TransID": paid.receipt,
            "TransTime": to_eat(paid.at),
            "TransAmount": format!("{}.00", paid.amount),
            "BusinessShortCode": self.merchant.party_b,
            "BillRefNumber": account,
            "InvoiceNumber": "",
            "OrgAccountBalance": if confirmed { "25.00" } else { "" },
            "ThirdPartyTransID": "",
            "MSISDN": number,
            "FirstName": "NICHOLAS",
            "MiddleName": "",
            "LastName": "",
        })
        .to_string()
    }

    /// Sends a result, or that it was not come to, after the answer to the request.
    fn later(self: &Arc<Self>, url: String, body: Value) {
        let inner = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let _ = server::post(inner.place.as_ref(), &url, &inner.merchant.shortcode, body.to_string().as_bytes());
        });
    }
}

fn body_of(request: &Request) -> Result<Value, Refusal> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| Refusal::invalid("Request Payload"))?;
    if body.is_object() { Ok(body) } else { Err(Refusal::invalid("Request Payload")) }
}

/// A text that must be there and hold.
fn text(body: &Value, name: &str, holds: impl Fn(&str) -> bool) -> Result<String, Refusal> {
    body[name].as_str().filter(|text| holds(text)).map(str::to_owned).ok_or_else(|| Refusal::invalid(name))
}

pub(super) fn register(inner: &Inner, request: &Request) -> Result<Reply, Refusal> {
    let body = body_of(request)?;
    text(&body, "ShortCode", |code| code == inner.merchant.shortcode)?;
    let response_type = text(&body, "ResponseType", |kind| matches!(kind, "Completed" | "Cancelled"))?;
    let confirmation = text(&body, "ConfirmationURL", callback_url_is_good)?;
    let validation = text(&body, "ValidationURL", callback_url_is_good)?;
    let mut state = inner.lock();
    if state.organisation.registered.is_some() {
        return Err(Refusal::registered());
    }
    state.organisation.registered = Some(Registered { confirmation, validation, response_type });
    Ok(Reply::Answer(Response::json(
        200,
        // The misspelling is Daraja's.
        &json!({"OriginatorCoversationID": server::request_id(), "ResponseCode": "0", "ResponseDescription": "Success"}),
    )))
}

/// What status and reversal requests share; gives back where the result goes, and where that there is none.
fn initiated(inner: &Inner, body: &Value, command: &str) -> Result<(String, String, String), Refusal> {
    text(body, "CommandID", |text| text == command)?;
    text(body, "Initiator", |text| text == INITIATOR)?;
    text(body, "SecurityCredential", |text| text == credential())?;
    let receipt =
        text(body, "TransactionID", |text| text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()))?;
    let result = text(body, "ResultURL", callback_url_is_good)?;
    let timeout = text(body, "QueueTimeOutURL", callback_url_is_good)?;
    text(body, "Remarks", |text| (2..=100).contains(&text.len()))?;
    let _ = inner;
    Ok((receipt, result, timeout))
}

fn accepted() -> (Reply, String, String) {
    let (originator, conversation) = (server::request_id(), format!("AG_20261122_{}", server::random_text(20).to_lowercase()));
    let answer = json!({
        "OriginatorConversationID": originator,
        "ConversationID": conversation,
        "ResponseCode": "0",
        "ResponseDescription": "Accept the service request successfully.",
    });
    (Reply::Answer(Response::json(200, &answer)), originator, conversation)
}

pub(super) fn status(inner: &Arc<Inner>, request: &Request) -> Result<Reply, Refusal> {
    let body = body_of(request)?;
    let (receipt, result, _) = initiated(inner, &body, "TransactionStatusQuery")?;
    text(&body, "PartyA", |code| code == inner.merchant.shortcode)?;
    text(&body, "IdentifierType", |kind| kind == "4")?;
    inner.lock().organisation.status_asked.push(receipt.clone());
    let says = inner.lock().organisation.status_says.clone().unwrap_or_else(|| "Completed".to_owned());
    let (reply, originator, conversation) = accepted();
    let parameters = inner.found(&receipt).map(|(paid, _)| {
        json!({"ResultParameter": [
            {"Key": "DebitPartyName", "Value": format!("{} - NICHOLAS SONGOK", paid.phone)},
            {"Key": "CreditPartyName", "Value": format!("{} - LAB WIFI", inner.merchant.party_b)},
            {"Key": "OriginatorConversationID", "Value": server::request_id()},
            {"Key": "InitiatedTime", "Value": to_eat(paid.at).parse::<u64>().expect("digits")},
            {"Key": "DebitAccountType", "Value": "MMF Account For Customer"},
            {"Key": "DebitPartyCharges"},
            {"Key": "TransactionReason"},
            {"Key": "ReasonType", "Value": "Pay Bill Online"},
            {"Key": "TransactionStatus", "Value": says},
            {"Key": "FinalisedTime", "Value": to_eat(paid.at).parse::<u64>().expect("digits")},
            {"Key": "Amount", "Value": paid.amount},
            {"Key": "ConversationID", "Value": conversation},
            {"Key": "ReceiptNo", "Value": paid.receipt},
        ]})
    });
    let mut answer = json!({"Result": {
        "ConversationID": conversation,
        "OriginatorConversationID": originator,
        "ReferenceData": {"ReferenceItem": {"Key": "Occasion"}},
        "ResultCode": if parameters.is_some() { json!(0) } else { json!("R000002") },
        "ResultDesc": "The service request is processed successfully.",
        "ResultType": 0,
        "TransactionID": "MBN0000000",
    }});
    if let Some(parameters) = parameters {
        answer["Result"]["ResultParameters"] = parameters;
    }
    inner.later(result, answer);
    Ok(reply)
}

pub(super) fn reversal(inner: &Arc<Inner>, request: &Request) -> Result<Reply, Refusal> {
    let body = body_of(request)?;
    let (receipt, result, timeout) = initiated(inner, &body, "TransactionReversal")?;
    text(&body, "ReceiverParty", |code| code == inner.merchant.shortcode)?;
    text(&body, "RecieverIdentifierType", |kind| kind == "11")?;
    let amount: u64 = text(&body, "Amount", |text| text.parse::<u64>().is_ok())?.parse().map_err(|_| Refusal::invalid("Amount"))?;
    let found = inner.found(&receipt);
    let ending = {
        let mut state = inner.lock();
        let organisation = &mut state.organisation;
        let ending = if organisation.endings.is_empty() { Ending::Done } else { organisation.endings.remove(0) };
        if let Ending::Refused(code, message) = ending {
            return Err(Refusal::of(500, code, message));
        }
        let reversed = organisation.reversals.iter().any(|(known, _, back)| *known == receipt && *back);
        let ending = match (&found, ending) {
            (None, _) => Ending::Code("R000002"),
            (Some((paid, _)), _) if paid.amount != amount => Ending::Code("R000002"),
            (Some(_), Ending::Done) if reversed => Ending::Code("R000001"),
            (Some(_), ending) => ending,
        };
        organisation.reversals.push((receipt.clone(), amount, ending == Ending::Done));
        ending
    };
    let (reply, originator, conversation) = accepted();
    let own = server::receipt();
    let answer = |code: Value, parameters: Value| {
        json!({"Result": {
            "ResultType": 0,
            "ResultCode": code,
            "ResultDesc": "…",
            "OriginatorConversationID": originator,
            "ConversationID": conversation,
            "TransactionID": own,
            "ResultParameters": parameters,
            "ReferenceData": {"ReferenceItem": {"Key": "QueueTimeoutURL", "Value": "https://internal.example.org/reversalresults/v1/submit"}},
        }})
    };
    match ending {
        Ending::Done => {
            let parameters = json!({"ResultParameter": [
                {"Key": "DebitAccountBalance", "Value": "Utility Account|KES|7722179.62|7722179.62|0.00|0.00"},
                {"Key": "Amount", "Value": amount},
                {"Key": "TransCompletedTime", "Value": to_eat(now_unix()).parse::<u64>().expect("digits")},
                {"Key": "OriginalTransactionID", "Value": receipt},
                {"Key": "Charge", "Value": 0},
                {"Key": "CreditPartyPublicName", "Value": "254705912645 - NICHOLAS JOHN SONGOK"},
                {"Key": "DebitPartyPublicName", "Value": format!("{} - LAB WIFI", inner.merchant.shortcode)},
            ]});
            inner.later(result, answer(json!(0), parameters));
        }
        Ending::Code(code) => inner.later(result, answer(json!(code), Value::Null)),
        Ending::Timeout => inner.later(timeout, answer(json!("1"), Value::Null)),
        Ending::Silent | Ending::Refused(..) => {}
    }
    Ok(reply)
}
