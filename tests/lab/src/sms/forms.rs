//! The two gateways' forms, held to strictly: what a real one would refuse is refused here.

use crate::http::{Request, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::BTreeMap;
use url::form_urlencoded::{Serializer, parse};

/// Which gateway is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Africa's Talking.
    AfricasTalking,
    /// Twilio.
    Twilio,
}

/// The lab's account at Africa's Talking.
pub const USERNAME: &str = "lab";
/// Its key there.
pub const API_KEY: &str = "atsk_lab_0123456789";
/// The lab's account at Twilio.
pub const ACCOUNT: &str = "AC0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
/// Its token there.
pub const TOKEN: &str = "lab-auth-token";
/// The registered sender.
pub const SENDER: &str = "HOTSPOT";

/// What a gateway made of a text: its own code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It has it.
    Taken,
    /// Refused with this code.
    Code(u32),
    /// HTTP 500.
    Broken,
}

/// A text as it was handed over.
#[derive(Debug, Clone)]
pub struct Handed {
    /// Digits, without the plus.
    pub to: String,
    /// The words.
    pub body: String,
    /// Where its reports go, where the text says so.
    pub report_to: Option<String>,
}

/// Reads a request as the gateway would.
///
/// # Errors
/// With its refusal.
pub fn read(provider: Provider, request: &Request) -> Result<Handed, Response> {
    let fields: BTreeMap<String, String> = parse(&request.body).into_owned().collect();
    let form = request.header("content-type") == Some("application/x-www-form-urlencoded");
    let known: &[&str] = match provider {
        Provider::AfricasTalking => &["username", "to", "message", "from", "bulkSMSMode"],
        Provider::Twilio => &["To", "From", "Body", "StatusCallback"],
    };
    if !form || request.method != "POST" || fields.keys().any(|key| !known.contains(&&**key)) {
        return Err(Response::new(400, "text/plain", format!("a form with {known:?} is wanted")));
    }
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let (to, from, body) = match provider {
        Provider::AfricasTalking => {
            if request.path() != "/version1/messaging" || request.header("accept") != Some("application/json") {
                return Err(Response::new(404, "text/plain", "not here"));
            }
            if request.header("apikey") != Some(API_KEY) || field("username") != USERNAME {
                return Err(Response::new(401, "text/plain", "The supplied authentication is invalid"));
            }
            (field("to"), field("from"), field("message"))
        }
        Provider::Twilio => {
            if request.path() != format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json") {
                return Err(twilio_error(404, 20404));
            }
            let basic = format!("Basic {}", STANDARD.encode(format!("{ACCOUNT}:{TOKEN}")));
            if request.header("authorization") != Some(&*basic) {
                return Err(twilio_error(401, 20003));
            }
            (field("To"), field("From"), field("Body"))
        }
    };
    let Some(digits) = to.strip_prefix('+').filter(|digits| digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit())) else {
        return Err(answer(provider, &to, Said::Code(if provider == Provider::Twilio { 21211 } else { 403 }), ""));
    };
    if from != SENDER {
        return Err(match provider {
            Provider::AfricasTalking => whole("InvalidSenderId"),
            Provider::Twilio => twilio_error(400, 21606),
        });
    }
    Ok(Handed { to: digits.to_owned(), body, report_to: fields.get("StatusCallback").cloned() })
}

fn whole(message: &str) -> Response {
    Response::json(201, &json!({"SMSMessageData": {"Message": message, "Recipients": []}}))
}

fn twilio_error(status: u16, code: u32) -> Response {
    let more = format!("https://www.twilio.com/docs/errors/{code}");
    Response::json(status, &json!({"code": code, "message": "refused", "more_info": more, "status": status}))
}

/// What the gateway answers.
#[must_use]
pub fn answer(provider: Provider, to: &str, said: Said, id: &str) -> Response {
    match (provider, said) {
        (_, Said::Broken) => Response::new(500, "text/plain", "Internal Server Error"),
        (Provider::AfricasTalking, said) => {
            let (sum, code, status, cost, id) = match said {
                Said::Code(code) => ("Sent to 0/1 Total Cost: 0", code, "Refused", "0", "None"),
                _ => ("Sent to 1/1 Total Cost: KES 0.8000", 101, "Success", "KES 0.8000", id),
            };
            let recipient = json!({"statusCode": code, "number": format!("+{to}"), "status": status, "cost": cost, "messageId": id});
            Response::json(201, &json!({"SMSMessageData": {"Message": sum, "Recipients": [recipient]}}))
        }
        (Provider::Twilio, Said::Taken) => {
            Response::json(201, &json!({"sid": id, "status": "queued", "error_code": null, "error_message": null}))
        }
        (Provider::Twilio, Said::Code(code)) => twilio_error(400, code),
    }
}

/// A delivery report's body; a code where it was not delivered.
#[must_use]
pub fn report(provider: Provider, to: &str, id: &str, failed: Option<&str>) -> String {
    let mut form = Serializer::new(String::new());
    let to = format!("+{to}");
    match provider {
        Provider::AfricasTalking => {
            form.append_pair("id", id).append_pair("status", if failed.is_some() { "Failed" } else { "Success" });
            form.append_pair("phoneNumber", &to).append_pair("networkCode", "63902").append_pair("retryCount", "0");
            if let Some(reason) = failed {
                form.append_pair("failureReason", reason);
            }
        }
        Provider::Twilio => {
            form.append_pair("MessageSid", id).append_pair("MessageStatus", if failed.is_some() { "undelivered" } else { "delivered" });
            form.append_pair("To", &to).append_pair("From", SENDER).append_pair("AccountSid", ACCOUNT);
            if let Some(code) = failed {
                form.append_pair("ErrorCode", code);
            }
        }
    }
    form.finish()
}

/// `X-Twilio-Signature` of a report.
#[must_use]
pub fn signature(url: &str, body: &str) -> String {
    let fields: BTreeMap<String, String> = parse(body.as_bytes()).into_owned().collect();
    let text = fields.iter().fold(url.to_owned(), |text, (key, value)| text + key + value);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TOKEN.as_bytes());
    STANDARD.encode(ring::hmac::sign(&key, text.as_bytes()))
}
