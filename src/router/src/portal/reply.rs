//! Answers, before they are bytes: status, headers and body, and which refusal has which status. Pure.

use lango_core::request::Refusal;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt::Write as _;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub kind: &'static str,
    /// Further headers.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body, in parts.
    pub body: Vec<Cow<'static, [u8]>>,
    /// Whether nothing more is read on this connection.
    pub close: bool,
}

/// Something that a call cannot do, in the contract's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The contract's `code`.
    pub code: &'static str,
    /// For programmers; pages have their own texts, by `code`.
    pub message: Cow<'static, str>,
    /// Seconds until another try makes sense.
    pub retry_after: Option<u64>,
    /// It is so for the many, and not for what this customer did.
    pub crowded: bool,
}

impl Problem {
    /// With this status, code and message.
    #[must_use]
    pub const fn new(status: u16, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message: Cow::Borrowed(message), retry_after: None, crowded: false }
    }
    /// The body is not what the call takes.
    pub const BAD_REQUEST: Self = Self::new(400, "bad_request", "the body must be a JSON object with the fields that docs/portal.md names");
    /// The body came too slowly.
    pub const TOO_SLOW: Self = Self::new(408, "too_slow", "the request did not arrive in time");
    /// The body is too large.
    pub const TOO_LARGE: Self = Self::new(413, "too_large", "a body may have 8192 bytes at most");
    /// There is no end to the head.
    pub const HEAD_TOO_LARGE: Self = Self::new(431, "head_too_large", "a request's head may have 8192 bytes and 100 headers at most");
    /// The body comes in chunks.
    pub const CHUNKED: Self = Self::new(411, "length_required", "send the body with a Content-Length; chunked bodies are not read");
    /// The body is not JSON.
    pub const NOT_JSON: Self = Self::new(415, "unsupported_media_type", "send the body as application/json");
    /// Another site's page sent it.
    pub const CROSS_SITE: Self = Self::new(403, "cross_site", "requests from other sites' pages are refused");
    /// The peer is no device on the LAN.
    pub const UNKNOWN_DEVICE: Self = Self::new(403, "unknown_device", "this address belongs to no device on the hotspot's LAN");
    /// There is no such call.
    pub const NOT_FOUND: Self = Self::new(404, "not_found", "there is no such call");
    /// There is one, with another method.
    pub const WRONG_METHOD: Self = Self::new(405, "method_not_allowed", "this path takes only the methods in the Allow header");
    /// Not a phone number.
    pub const BAD_PHONE: Self = Self::new(422, "bad_phone", "the phone must be a Kenyan mobile number, as 0712345678");
    /// A login server refused the user name or the password, in these words.
    #[must_use]
    pub fn denied(words: String) -> Self {
        Self { message: Cow::Owned(words), ..Self::new(401, "bad_credentials", "") }
    }
    /// What the core answered fits to nothing that was asked.
    pub const INTERNAL: Self = Self::new(500, "internal", "the router made a mistake; its log says which");
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownPackage => Self::new(422, "unknown_package", "there is no such package"),
            Refusal::PaymentsOffline => {
                Self::new(503, "payments_offline", "M-Pesa payments are not possible right now; logging in still is")
            }
            Refusal::TooManyRequests { retry_after } => Self {
                retry_after: Some(retry_after.0.max(1)),
                ..Self::new(429, "too_many_requests", "too many requests; Retry-After says when to try again")
            },
            Refusal::Crowded { retry_after } => Self {
                retry_after: Some(retry_after.0.max(1)),
                crowded: true,
                ..Self::new(429, "too_many_requests", "many log in at this moment; Retry-After says when to try again")
            },
            Refusal::UnknownPayment => Self::new(404, "unknown_payment", "there is no such payment of this device"),
            Refusal::BadCredentials => Self::new(401, "bad_credentials", "the user name or the password is wrong"),
            Refusal::LoginOffline => Self::new(503, "login_offline", "the login server does not answer; try again in a minute"),
            Refusal::DeviceLimit => Self::new(403, "device_limit", "as many devices as the package allows are online already"),
            Refusal::UnknownReceipt => Self::new(404, "unknown_receipt", "no payment with this receipt came from this number"),
            Refusal::NotServed => {
                Self::new(409, "not_served", "the payment arrived, no package fits it, and the people who run the hotspot see it")
            }
            Refusal::NoAnswer => Self::new(503, "no_answer", "the receipt could not be checked now; try again in a minute"),
            Refusal::Expired => Self::new(403, "expired", "the time or the data of this account is used up"),
            Refusal::NotOnline => Self::new(404, "not_online", "the device is not online"),
            Refusal::AlreadyServed => Self::new(409, "already_served", "this payment is served already"),
            Refusal::NoPackageFits => Self::new(409, "no_package_fits", "no package costs what was paid"),
            Refusal::ClockNotSet => Self::new(409, "clock_not_set", "the router's clock is not set"),
            Refusal::UnknownVoucher => Self::new(404, "unknown_voucher", "there is no voucher with this code"),
            Refusal::VoucherUsed => Self::new(409, "voucher_used", "this voucher is used already"),
            Refusal::VoucherExpired => Self::new(403, "voucher_expired", "this voucher has expired"),
            Refusal::VoucherRevoked => Self::new(403, "voucher_revoked", "this voucher was revoked by the operator"),
            Refusal::VouchersFull => Self::new(503, "vouchers_full", "the router keeps as many vouchers as it can"),
            Refusal::NotStored => Self::new(503, "not_stored", "the router could not store it, so nothing was changed; try again"),
        }
    }
}

impl Reply {
    /// JSON, which nobody keeps.
    #[must_use]
    pub fn json(status: u16, body: &impl serde::Serialize) -> Self {
        // The views have text keys only and cannot fail; an empty object would be seen by every test.
        let body = serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec());
        Self::new(status, "application/json", body).with("Cache-Control", "no-store")
    }

    /// `{"error":{"code":…,"message":…}}`
    #[must_use]
    pub fn problem(problem: Problem) -> Self {
        let body: Value = json!({"error": {"code": problem.code, "message": problem.message}});
        let reply = Self::json(problem.status, &body);
        match problem.retry_after {
            Some(seconds) => reply.with("Retry-After", seconds.to_string()),
            None => reply,
        }
    }

    /// The wrong method was used; these are right.
    #[must_use]
    pub fn wrong_method(allowed: &'static str) -> Self {
        Self::problem(Problem::WRONG_METHOD).with("Allow", allowed)
    }

    /// Sends a browser to `location`: with 302 as the contract has it for captive devices, with 303 after a form.
    /// `location` is ours alone; nothing of the request may be in it.
    #[must_use]
    pub fn redirect(status: u16, location: String) -> Self {
        // Some captive checks look at the body, and it is all that a very old browser shows.
        let body = format!("<!doctype html><title>Wi-Fi</title><a href=\"{location}\">{location}</a>\n");
        Self::new(status, "text/html; charset=utf-8", body.into_bytes()).with("Cache-Control", "no-store").with("Location", location)
    }

    /// With this body and nothing else said.
    #[must_use]
    pub fn new(status: u16, kind: &'static str, body: Vec<u8>) -> Self {
        Self {
            status,
            kind,
            headers: vec![("X-Content-Type-Options", Cow::Borrowed("nosniff"))],
            body: vec![Cow::Owned(body)],
            close: false,
        }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The bytes of the whole answer, in the form that picoserve writes them in. For answers that are made before picoserve sees a request.
    #[must_use]
    pub fn wire(&self, close: bool) -> Vec<u8> {
        let mut bytes = self.head_wire(close);
        self.body.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    /// The same without the body: the answer to a HEAD.
    #[must_use]
    pub fn head_wire(&self, close: bool) -> Vec<u8> {
        let length: usize = self.body.iter().map(|part| part.len()).sum();
        let mut text = String::with_capacity(320 + length);
        let connection = if close { "close" } else { "keep-alive" };
        // A String takes everything.
        let _ = write!(text, "HTTP/1.1 {} \r\nContent-Type: {}\r\nContent-Length: {length}\r\n", self.status, self.kind);
        for (name, value) in self.headers.iter().map(|(name, value)| (*name, value.as_ref())).chain([("Connection", connection)]) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// As the last answer on its connection.
    #[must_use]
    pub fn last(mut self) -> Self {
        self.close = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::units::Seconds;

    #[test]
    fn refusals_have_the_contract_s_codes() {
        for (refusal, status, code) in [
            (Refusal::UnknownPackage, 422, "unknown_package"),
            (Refusal::PaymentsOffline, 503, "payments_offline"),
            (Refusal::TooManyRequests { retry_after: Seconds(7) }, 429, "too_many_requests"),
            (Refusal::UnknownPayment, 404, "unknown_payment"),
            (Refusal::BadCredentials, 401, "bad_credentials"),
            (Refusal::LoginOffline, 503, "login_offline"),
            (Refusal::DeviceLimit, 403, "device_limit"),
            (Refusal::UnknownReceipt, 404, "unknown_receipt"),
            (Refusal::NotServed, 409, "not_served"),
            (Refusal::NoAnswer, 503, "no_answer"),
            (Refusal::Expired, 403, "expired"),
            (Refusal::UnknownVoucher, 404, "unknown_voucher"),
            (Refusal::VoucherUsed, 409, "voucher_used"),
            (Refusal::VoucherExpired, 403, "voucher_expired"),
            (Refusal::VoucherRevoked, 403, "voucher_revoked"),
            (Refusal::VouchersFull, 503, "vouchers_full"),
            (Refusal::NotStored, 503, "not_stored"),
        ] {
            let problem = Problem::from(refusal);
            assert_eq!((problem.status, problem.code), (status, code));
            // The core's own name for it is the contract's.
            assert_eq!(serde_json::to_value(refusal).unwrap()["code"], code);
        }
        let reply = Reply::problem(Refusal::TooManyRequests { retry_after: Seconds(0) }.into());
        assert!(reply.headers.contains(&("Retry-After", "1".into())), "0 would be an invitation to a loop");
    }
}
