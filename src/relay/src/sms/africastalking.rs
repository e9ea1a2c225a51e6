//! Africa's Talking, on the wire: pure. HTTP's own status says little; what became of a text is in the recipient's code.

use super::rule::{Alert, Report, Verdict, Why};
use lango_core::units::Msisdn;
use serde::Deserialize;
use url::form_urlencoded::{Serializer, parse};

/// Where texts are posted to, behind the base address.
pub const PATH: &str = "/version1/messaging";

/// The body of a request.
#[must_use]
pub fn form(username: &str, sender: Option<&str>, to: Msisdn, body: &str) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("username", username).append_pair("to", &format!("+{}", to.digits())).append_pair("message", body);
    form.append_pair("bulkSMSMode", "1");
    if let Some(sender) = sender {
        form.append_pair("from", sender);
    }
    form.finish()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(rename = "SMSMessageData")]
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    #[serde(default)]
    message: String,
    #[serde(default)]
    recipients: Vec<Recipient>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    status_code: u32,
    #[serde(default)]
    message_id: String,
}

/// What an answer says.
#[must_use]
pub fn read(status: u16, body: &[u8]) -> Verdict {
    let http = |words: &str| Why::new(format!("HTTP {status}"), words);
    match status {
        200..=299 => {}
        429 => return Verdict::Later(http("too many texts at once")),
        503 => return Verdict::Later(http("the gateway is busy")),
        500..=599 => return Verdict::Doubt(http("the gateway failed")),
        401 => return Verdict::Blocked(Alert::Account, http("the gateway does not know this user name and key")),
        _ => return Verdict::Blocked(Alert::Account, http("the gateway refuses the request")),
    }
    let Ok(Answer { data }) = serde_json::from_slice::<Answer>(body) else {
        return Verdict::Doubt(http("the gateway's answer cannot be read"));
    };
    match data.recipients.first() {
        Some(recipient) => recipient_says(recipient),
        // The whole request was refused: the code stands where the sum of the costs would.
        None => whole(&data.message),
    }
}

fn recipient_says(recipient: &Recipient) -> Verdict {
    let code = recipient.status_code;
    let why = |words: &str| Why::new(code.to_string(), words);
    match code {
        100..=102 => Verdict::Accepted(Some(recipient.message_id.clone()).filter(|id| !matches!(&**id, "" | "None"))),
        401 => Verdict::Blocked(Alert::Account, why("the gateway holds the account for its risk (RiskHold)")),
        402 => Verdict::Blocked(Alert::Sender, why("the sender is not registered (InvalidSenderId)")),
        403 => Verdict::Refused(why("this is no phone number (InvalidPhoneNumber)")),
        404 => Verdict::Refused(why("this kind of number gets no texts (UnsupportedNumberType)")),
        405 => Verdict::Blocked(Alert::NoCredit, why("there is no credit (InsufficientBalance)")),
        406 => Verdict::Refused(why("the customer has opted out of texts (UserInBlacklist)")),
        407 => Verdict::Refused(why("no network takes it (CouldNotRoute)")),
        409 => Verdict::Refused(why("the customer does not want to be disturbed (DoNotDisturbRejection)")),
        500 => Verdict::Later(why("the gateway failed (InternalServerError)")),
        501 => Verdict::Later(why("the network failed (GatewayError)")),
        502 => Verdict::Later(why("the network did not take it (RejectedByGateway)")),
        _ => Verdict::Refused(why("a code that this program does not know")),
    }
}

fn whole(message: &str) -> Verdict {
    let code: String = message.chars().filter(char::is_ascii_alphabetic).take(40).collect();
    let why = |words: &str| Why::new(code.clone(), words);
    match &*code {
        "InvalidSenderId" => Verdict::Blocked(Alert::Sender, why("the sender is not registered")),
        "InsufficientBalance" => Verdict::Blocked(Alert::NoCredit, why("there is no credit")),
        "InternalServerError" | "GatewayError" => Verdict::Later(why("the gateway failed")),
        _ => Verdict::Refused(why("the gateway refuses the whole request")),
    }
}

/// A delivery report: the gateway's id for the text, and what it says.
#[must_use]
pub fn read_report(body: &[u8]) -> Option<(String, Report)> {
    let (mut id, mut status, mut reason) = (None, None, None);
    for (key, value) in parse(body) {
        match &*key {
            "id" => id = Some(value.into_owned()),
            "status" => status = Some(value.into_owned()),
            "failureReason" => reason = Some(value.into_owned()),
            _ => {}
        }
    }
    let report = match &*status? {
        "Success" | "Delivered" => Report::Delivered,
        status @ ("Rejected" | "Failed" | "DeliveryFailure" | "Undelivered" | "Expired") => {
            let code: String = reason.unwrap_or_else(|| status.to_owned()).chars().filter(char::is_ascii_graphic).take(40).collect();
            Report::Failed(Why::new(code, "the network could not deliver it"))
        }
        _ => Report::Underway,
    };
    Some((id.filter(|id| !id.is_empty())?, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request() {
        let to = "0712345678".parse().unwrap();
        assert_eq!(form("me", Some("HOTSPOT"), to, "a & b"), "username=me&to=%2B254712345678&message=a+%26+b&bulkSMSMode=1&from=HOTSPOT");
        assert!(!form("me", None, to, "a").contains("from"));
    }

    fn one(code: u32, id: &str) -> String {
        format!(
            r#"{{"SMSMessageData":{{"Message":"Sent to 1/1 Total Cost: KES 0.8000","Recipients":[{{"statusCode":{code},"number":"+254711000111","status":"…","cost":"KES 0.8000","messageId":"{id}"}}]}}}}"#
        )
    }

    #[test]
    fn answers() {
        let code = |verdict: &Verdict| match verdict {
            Verdict::Accepted(id) => format!("accepted {}", id.as_deref().unwrap_or("-")),
            Verdict::Later(why) => format!("later {}", why.code),
            Verdict::Doubt(why) => format!("doubt {}", why.code),
            Verdict::Refused(why) => format!("refused {}", why.code),
            Verdict::Blocked(alert, why) => format!("{} {}", alert.name(), why.code),
        };
        let empty = |message: &str| format!(r#"{{"SMSMessageData":{{"Message":"{message}","Recipients":[]}}}}"#);
        for (status, body, expected) in [
            (201, one(101, "ATPid_1"), "accepted ATPid_1"),
            (200, one(100, "ATPid_1"), "accepted ATPid_1"),
            (201, one(102, "None"), "accepted -"),
            (201, one(401, "None"), "account 401"),
            (201, one(402, "None"), "sender 402"),
            (201, one(403, "None"), "refused 403"),
            (201, one(404, "None"), "refused 404"),
            (201, one(405, "None"), "no_credit 405"),
            (201, one(406, "None"), "refused 406"),
            (201, one(407, "None"), "refused 407"),
            (201, one(409, "None"), "refused 409"),
            (201, one(500, "None"), "later 500"),
            (201, one(501, "None"), "later 501"),
            (201, one(502, "None"), "later 502"),
            (201, one(999, "None"), "refused 999"),
            (201, empty("InvalidSenderId"), "sender InvalidSenderId"),
            (201, empty("InsufficientBalance"), "no_credit InsufficientBalance"),
            (201, empty("No thanks, +254711000111"), "refused Nothanks"),
            (201, "<html>".to_owned(), "doubt HTTP 201"),
            (401, "The supplied authentication is invalid".to_owned(), "account HTTP 401"),
            (404, String::new(), "account HTTP 404"),
            (302, String::new(), "account HTTP 302"),
            (429, String::new(), "later HTTP 429"),
            (503, String::new(), "later HTTP 503"),
            (500, String::new(), "doubt HTTP 500"),
            (504, String::new(), "doubt HTTP 504"),
        ] {
            assert_eq!(code(&read(status, body.as_bytes())), expected, "{status} {body}");
        }
    }

    #[test]
    fn reports() {
        let failed = |code: &str| Report::Failed(Why::new(code, "the network could not deliver it"));
        for (body, expected) in [
            ("id=ATPid_1&status=Success&phoneNumber=%2B254711000111&networkCode=63902&retryCount=0", Some(("ATPid_1", Report::Delivered))),
            ("id=a&status=Delivered", Some(("a", Report::Delivered))),
            ("id=a&status=Failed&failureReason=UserIsInactive", Some(("a", failed("UserIsInactive")))),
            ("id=a&status=Rejected", Some(("a", failed("Rejected")))),
            ("id=a&status=Buffered", Some(("a", Report::Underway))),
            ("id=a&status=Submitted", Some(("a", Report::Underway))),
            ("id=a&status=Sent", Some(("a", Report::Underway))),
            ("id=&status=Success", None),
            ("status=Success", None),
            ("id=a", None),
            ("", None),
        ] {
            assert_eq!(read_report(body.as_bytes()), expected.map(|(id, report)| (id.to_owned(), report)), "{body}");
        }
        let _ = read_report(b"\xff%zz&&=&id");
    }
}
