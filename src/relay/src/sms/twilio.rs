//! Twilio, on the wire: pure.

use super::rule::{Alert, Report, Verdict, Why};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lango_core::units::Msisdn;
use ring::hmac;
use serde::Deserialize;
use url::form_urlencoded::{Serializer, parse};

/// Where texts are posted to, behind the base address.
#[must_use]
pub fn path(account: &str) -> String {
    format!("/2010-04-01/Accounts/{account}/Messages.json")
}

/// The body of a request. A sender that begins with `MG` is a messaging service.
#[must_use]
pub fn form(sender: &str, to: Msisdn, body: &str, report_to: &str) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("To", &format!("+{}", to.digits()));
    form.append_pair(if is_service(sender) { "MessagingServiceSid" } else { "From" }, sender);
    form.append_pair("Body", body).append_pair("StatusCallback", report_to);
    form.finish()
}

fn is_service(sender: &str) -> bool {
    sender.len() == 34 && sender.starts_with("MG")
}

#[derive(Deserialize)]
struct Answer {
    sid: Option<String>,
    code: Option<u32>,
    error_code: Option<u32>,
}

/// What an answer says.
#[must_use]
pub fn read(status: u16, body: &[u8]) -> Verdict {
    let http = |words: &str| Why::new(format!("HTTP {status}"), words);
    let answer = serde_json::from_slice::<Answer>(body).ok();
    match status {
        200..=299 => match answer {
            Some(Answer { error_code: Some(code), .. }) => refusal(status, Some(code)),
            Some(Answer { sid: Some(sid), .. }) => Verdict::Accepted(Some(sid)),
            _ => Verdict::Doubt(http("the gateway's answer cannot be read")),
        },
        429 => Verdict::Later(http("too many texts at once")),
        503 => Verdict::Later(http("the gateway is busy")),
        500..=599 => Verdict::Doubt(http("the gateway failed")),
        _ => refusal(status, answer.and_then(|answer| answer.code)),
    }
}

fn refusal(status: u16, code: Option<u32>) -> Verdict {
    let Some(code) = code else {
        return Verdict::Blocked(Alert::Account, Why::new(format!("HTTP {status}"), "the gateway refuses the request"));
    };
    let why = Why::new(code.to_string(), words(code));
    match code {
        20003 | 20005 => Verdict::Blocked(Alert::Account, why),
        20429 => Verdict::Later(why),
        21408 | 21606 | 21609 | 21612 => Verdict::Blocked(Alert::Sender, why),
        _ => Verdict::Refused(why),
    }
}

fn words(code: u32) -> &'static str {
    match code {
        20003 => "the gateway does not know this account and token",
        20005 => "the account is not active",
        20429 => "too many texts at once",
        21211 => "this is no phone number",
        21408 => "the account may not text to this country: allow it at the gateway",
        21606 | 21612 => "the sender cannot text to this number",
        21609 => "the gateway does not take public_url for its reports",
        21610 => "the customer has opted out of texts",
        30003 => "the phone cannot be reached",
        30005 => "the network does not know this number",
        30006 => "this kind of number gets no texts",
        30007 => "the network took it for spam",
        _ => "see the gateway's list of codes",
    }
}

/// Whether a report is Twilio's: `X-Twilio-Signature` is base64(HMAC-SHA1(token, URL and all fields, sorted, key and value)).
#[must_use]
pub fn is_signed(token: &str, url: &str, body: &[u8], signature: &str) -> bool {
    let Ok(signature) = STANDARD.decode(signature) else { return false };
    hmac::verify(&key(token), signed(url, body).as_bytes(), &signature).is_ok()
}

fn key(token: &str) -> hmac::Key {
    // Twilio has no other; nothing but its own reports hangs on it.
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes())
}

fn signed(url: &str, body: &[u8]) -> String {
    let mut fields: Vec<_> = parse(body).collect();
    fields.sort();
    fields.iter().fold(url.to_owned(), |text, (key, value)| text + key + value)
}

/// A delivery report: the gateway's id for the text, and what it says.
#[must_use]
pub fn read_report(body: &[u8]) -> Option<(String, Report)> {
    let (mut id, mut status, mut code) = (None, None, None);
    for (key, value) in parse(body) {
        match &*key {
            "MessageSid" => id = Some(value.into_owned()),
            "MessageStatus" => status = Some(value.into_owned()),
            "ErrorCode" => code = value.parse::<u32>().ok(),
            _ => {}
        }
    }
    let report = match &*status? {
        "delivered" | "read" => Report::Delivered,
        status @ ("undelivered" | "failed" | "canceled") => Report::Failed(match code {
            Some(code) => Why::new(code.to_string(), words(code)),
            None => Why::new(status, "the network could not deliver it"),
        }),
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
        assert_eq!(
            form("+15005550006", to, "a & b", "https://pay.example.org/callback/sms/0f"),
            "To=%2B254712345678&From=%2B15005550006&Body=a+%26+b&StatusCallback=https%3A%2F%2Fpay.example.org%2Fcallback%2Fsms%2F0f"
        );
        let service = form("MG0123456789abcdef0123456789abcdef", to, "a", "u");
        assert!(service.contains("&MessagingServiceSid=MG0123") && !service.contains("From="), "{service}");
        assert_eq!(path("AC1"), "/2010-04-01/Accounts/AC1/Messages.json");
    }

    #[test]
    fn answers() {
        let error =
            |code: u32| format!(r#"{{"code":{code},"message":"…","more_info":"https://www.twilio.com/docs/errors/{code}","status":400}}"#);
        let kind = |verdict: &Verdict| match verdict {
            Verdict::Accepted(id) => format!("accepted {}", id.as_deref().unwrap_or("-")),
            Verdict::Later(why) => format!("later {}", why.code),
            Verdict::Doubt(why) => format!("doubt {}", why.code),
            Verdict::Refused(why) => format!("refused {}", why.code),
            Verdict::Blocked(alert, why) => format!("{} {}", alert.name(), why.code),
        };
        for (status, body, expected) in [
            (201, r#"{"sid":"SM1","status":"queued","error_code":null,"error_message":null}"#.to_owned(), "accepted SM1"),
            (201, r#"{"sid":"SM1","status":"failed","error_code":21610}"#.to_owned(), "refused 21610"),
            (201, "{}".to_owned(), "doubt HTTP 201"),
            (401, error(20003), "account 20003"),
            (429, error(20429), "later HTTP 429"),
            (400, error(20429), "later 20429"),
            (400, error(21211), "refused 21211"),
            (400, error(21408), "sender 21408"),
            (400, error(21606), "sender 21606"),
            (400, error(21612), "sender 21612"),
            (400, error(21609), "sender 21609"),
            (400, error(21610), "refused 21610"),
            (400, error(77777), "refused 77777"),
            (404, "nothing here".to_owned(), "account HTTP 404"),
            (500, error(20500), "doubt HTTP 500"),
            (503, String::new(), "later HTTP 503"),
        ] {
            assert_eq!(kind(&read(status, body.as_bytes())), expected, "{status} {body}");
        }
    }

    /// The example in Twilio's own documentation ("Security"), which its libraries are tested with, too.
    #[test]
    fn twilios_own_example() {
        let body = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
        assert!(is_signed("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", body.as_bytes(), "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
    }

    /// Computed once with Python's hmac and hashlib over the same fields in another order.
    #[test]
    fn a_signature_is_over_the_address_and_all_fields() {
        const URL: &str = "https://pay.example.org/callback/sms/0f0f";
        const BODY: &[u8] = b"To=%2B254712345678&MessageSid=SM1&MessageStatus=delivered&From=HOTSPOT&ErrorCode=";
        const SIGNATURE: &str = "qMebn32PfEszGR2JyRba8xjB5T8=";
        assert!(is_signed("token", URL, BODY, SIGNATURE));
        for (token, url, body, signature) in [
            ("other", URL, BODY, SIGNATURE),
            ("token", "https://pay.example.org/callback/sms/0f0e", BODY, SIGNATURE),
            ("token", URL, &BODY[1..], SIGNATURE),
            ("token", URL, b"", SIGNATURE),
            ("token", URL, BODY, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            ("token", URL, BODY, "no base64"),
            ("token", URL, BODY, ""),
        ] {
            assert!(!is_signed(token, url, body, signature), "{url} {signature}");
        }
    }

    #[test]
    fn reports() {
        for (body, expected) in [
            ("MessageSid=SM1&MessageStatus=delivered&To=%2B254711000111", Some(("SM1", Report::Delivered))),
            ("MessageSid=SM1&MessageStatus=sent", Some(("SM1", Report::Underway))),
            (
                "MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30003",
                Some(("SM1", Report::Failed(Why::new("30003", "the phone cannot be reached")))),
            ),
            ("MessageSid=SM1&MessageStatus=failed", Some(("SM1", Report::Failed(Why::new("failed", "the network could not deliver it"))))),
            ("MessageStatus=failed", None),
            ("MessageSid=SM1", None),
        ] {
            assert_eq!(read_report(body.as_bytes()), expected.map(|(id, report)| (id.to_owned(), report)), "{body}");
        }
    }
}
