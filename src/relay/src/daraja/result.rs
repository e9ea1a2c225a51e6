//! What Daraja's codes mean: the one place that says so. Codes only; their texts differ from channel to channel
//! (1037 is "No response from user." in a callback and "DS timeout user cannot be reached." in a query).

use super::Later;
use super::wire::{PushReply, read_push, response_code};
use crate::payment::PushAnswer;
use lango_core::message::Reason;

/// What a result code of a callback or a query says about the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The money moved.
    Success,
    /// No money moved, and none will.
    Failure(Reason),
    /// Safaricom is still at it.
    Pending,
    /// Nobody told us what this code means: neither success nor failure.
    Unknown,
}

/// The meaning of a result code, as text ("0", "1032", "SFC_IC0003").
#[must_use]
pub fn meaning(code: &str) -> Meaning {
    Meaning::Failure(match code {
        "0" => return Meaning::Success,
        "4999" => return Meaning::Pending,
        "1" => Reason::InsufficientBalance,
        "2" | "3" | "4" | "8" | "17" => Reason::Limit,
        "26" | "1001" => Reason::Busy,
        "1019" | "1036" | "1037" => Reason::NoResponse,
        "1031" | "1032" => Reason::Cancelled,
        "2001" => Reason::WrongPin,
        // No prompt came up (1025, 1101, 1102, 9999), the shortcode is set up wrongly (2028, SFC_IC0003),
        // or the customer's M-Pesa is locked (8006).
        "1025" | "1101" | "1102" | "2028" | "8006" | "9999" | "SFC_IC0003" => Reason::Other,
        _ => return Meaning::Unknown,
    })
}

/// Whether an error says that the token is not, or no longer, good.
#[must_use]
pub fn token_refused(http: u16, code: &str) -> bool {
    http == 401 || matches!(code, "404.001.03" | "400.003.01")
}

/// What a push without an acceptance came to. `code` is Daraja's `errorCode`, empty where the answer had none.
#[must_use]
pub fn push_refusal(http: u16, code: &str, message: &str) -> PushAnswer {
    let told = if code.is_empty() { format!("HTTP {http}") } else { code.to_owned() };
    match code {
        // Spike arrest, "System is busy", quota: refused before anything was done.
        "500.003.02" | "500.003.03" => PushAnswer::Busy(told),
        // One code, three meanings; only this text says that the same request may succeed in a minute.
        "500.001.1001" if message.to_ascii_lowercase().contains("lock") => PushAnswer::Refused(Reason::Busy, told),
        // "Internal Server Error" says nothing about how far it came.
        "500.003.1001" => PushAnswer::InDoubt(told),
        "" if http == 429 => PushAnswer::Busy(told),
        // A gateway's own error page: the request may have passed it.
        "" if !(400..500).contains(&http) => PushAnswer::InDoubt(told),
        // Words that nobody knows, of an error on their side: neither a success nor a failure. 500.001.1001 says what is wrong.
        _ if http >= 500 && code != "500.001.1001" => PushAnswer::InDoubt(told),
        _ => PushAnswer::Refused(Reason::Other, told),
    }
}

/// What the answer to something that is done later says.
#[must_use]
pub fn later(http: u16, body: &[u8]) -> Later {
    if (200..300).contains(&http) && response_code(body).as_deref() == Some("0") {
        return Later::Accepted;
    }
    let (code, message) = match read_push(body) {
        PushReply::NotAccepted { code, message } => (code, message),
        PushReply::Accepted { .. } => (String::new(), String::new()),
    };
    // Its words are Daraja's own (no customer's), and say what an operator needs: "Urls are already registered."
    let said: String = message.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).take(120).collect();
    let told = format!("{} {said}", if code.is_empty() { format!("HTTP {http}") } else { code.clone() }).trim().to_owned();
    match code.as_str() {
        "500.003.02" | "500.003.03" => Later::NotNow(told),
        "" if http == 429 => Later::NotNow(told),
        // One code for "Internal Server Error" and for refusals that say why.
        "500.003.1001" | "500.001.1001" if said.to_ascii_lowercase().contains("internal server error") => Later::InDoubt(told),
        "" if !(400..500).contains(&http) => Later::InDoubt(told),
        _ => Later::Refused(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_result_code() {
        use Meaning::{Failure, Pending, Success, Unknown};
        for (code, expected) in [
            ("0", Success),
            ("1", Failure(Reason::InsufficientBalance)),
            ("2", Failure(Reason::Limit)),
            ("3", Failure(Reason::Limit)),
            ("4", Failure(Reason::Limit)),
            ("8", Failure(Reason::Limit)),
            ("17", Failure(Reason::Limit)),
            ("26", Failure(Reason::Busy)),
            ("1001", Failure(Reason::Busy)),
            ("1019", Failure(Reason::NoResponse)),
            ("1036", Failure(Reason::NoResponse)),
            ("1037", Failure(Reason::NoResponse)),
            ("1031", Failure(Reason::Cancelled)),
            ("1032", Failure(Reason::Cancelled)),
            ("2001", Failure(Reason::WrongPin)),
            ("1025", Failure(Reason::Other)),
            ("1101", Failure(Reason::Other)),
            ("1102", Failure(Reason::Other)),
            ("2028", Failure(Reason::Other)),
            ("8006", Failure(Reason::Other)),
            ("9999", Failure(Reason::Other)),
            ("SFC_IC0003", Failure(Reason::Other)),
            ("4999", Pending),
            ("", Unknown),
            ("00", Unknown),
            ("15", Unknown),
            ("424242", Unknown),
        ] {
            assert_eq!(meaning(code), expected, "{code}");
        }
    }

    #[test]
    fn every_known_error_of_a_push() {
        let told = |code: &str| code.to_owned();
        for (http, code, message, expected) in [
            (500, "500.003.02", "Error Occurred: Spike Arrest Violation", PushAnswer::Busy(told("500.003.02"))),
            (500, "500.003.02", "System is busy. Please try again in few minutes.", PushAnswer::Busy(told("500.003.02"))),
            (500, "500.003.03", "Quota Violation", PushAnswer::Busy(told("500.003.03"))),
            (429, "", "", PushAnswer::Busy(told("HTTP 429"))),
            (
                500,
                "500.001.1001",
                "Unable to lock subscriber, a transaction is already in process for the current subscriber",
                PushAnswer::Refused(Reason::Busy, told("500.001.1001")),
            ),
            (500, "500.001.1001", "Wrong credentials", PushAnswer::Refused(Reason::Other, told("500.001.1001"))),
            (500, "500.001.1001", "Merchant does not exist", PushAnswer::Refused(Reason::Other, told("500.001.1001"))),
            (400, "400.002.02", "Bad Request - Invalid PhoneNumber", PushAnswer::Refused(Reason::Other, told("400.002.02"))),
            (404, "404.001.01", "Resource not found", PushAnswer::Refused(Reason::Other, told("404.001.01"))),
            (405, "405.001", "Method Not Allowed", PushAnswer::Refused(Reason::Other, told("405.001"))),
            (403, "", "", PushAnswer::Refused(Reason::Other, told("HTTP 403"))),
            (500, "500.003.1001", "Internal Server Error", PushAnswer::InDoubt(told("500.003.1001"))),
            (500, "500.009.4711", "Something new", PushAnswer::InDoubt(told("500.009.4711"))),
            (400, "400.009.4711", "Something new", PushAnswer::Refused(Reason::Other, told("400.009.4711"))),
            (502, "", "<html>", PushAnswer::InDoubt(told("HTTP 502"))),
            (200, "", "", PushAnswer::InDoubt(told("HTTP 200"))),
        ] {
            assert_eq!(push_refusal(http, code, message), expected, "{http} {code} {message}");
        }
    }

    #[test]
    fn what_is_done_later() {
        let error = |code: &str, message: &str| format!(r#"{{"requestId":"1","errorCode":"{code}","errorMessage":"{message}"}}"#);
        let accepted = r#"{"OriginatorConversationID":"1236-7134259-1","ConversationID":"AG_20210709_1234409f86436c583e3f","ResponseCode":"0",
            "ResponseDescription":"Accept the service request successfully."}"#;
        // The registration's own answers: with and without a capital.
        let registered = r#"{"OriginatorCoversationID":"7619-37765134-1","ResponseCode":"0","ResponseDescription":"success"}"#;
        for (http, body, expected) in [
            (200, accepted.to_owned(), Later::Accepted),
            (200, registered.to_owned(), Later::Accepted),
            (
                500,
                error("500.003.1001", "Urls are already registered."),
                Later::Refused("500.003.1001 Urls are already registered.".to_owned()),
            ),
            (500, error("500.003.1001", "Internal Server Error"), Later::InDoubt("500.003.1001 Internal Server Error".to_owned())),
            (500, error("500.003.02", "Spike Arrest Violation"), Later::NotNow("500.003.02 Spike Arrest Violation".to_owned())),
            (500, error("500.003.03", "Quota Violation"), Later::NotNow("500.003.03 Quota Violation".to_owned())),
            (
                400,
                error("400.002.02", "Bad Request - Invalid TransactionID"),
                Later::Refused("400.002.02 Bad Request - Invalid TransactionID".to_owned()),
            ),
            (200, r#"{"ResponseCode":"21"}"#.to_owned(), Later::Refused("21".to_owned())),
            (200, "<html>".to_owned(), Later::InDoubt("HTTP 200".to_owned())),
            (502, String::new(), Later::InDoubt("HTTP 502".to_owned())),
            (429, String::new(), Later::NotNow("HTTP 429".to_owned())),
        ] {
            assert_eq!(later(http, body.as_bytes()), expected, "{http} {body}");
        }
    }

    #[test]
    fn a_refused_token_is_known() {
        assert!(token_refused(404, "404.001.03"));
        assert!(token_refused(401, ""));
        assert!(!token_refused(404, "404.001.01"));
    }
}
