//! What a customer does in the portal, from the phone's browser.

use crate::http::Response;
use crate::phone::Phone;
use crate::wait::until;
use crate::world::PORTAL;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a customer of the lab waits for a payment's outcome.
pub const PAYMENT: Duration = Duration::from_secs(30);
/// How often the page asks.
const ASK_EVERY: Duration = Duration::from_millis(50);

impl Phone {
    /// A page or call of the portal.
    ///
    /// # Errors
    /// When the portal does not answer.
    pub fn try_portal(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response> {
        let headers: &[(&str, &str)] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
        let body = body.map_or(String::new(), Value::to_string);
        self.http(method, &format!("{PORTAL}{path}"), headers, body.as_bytes())
    }

    /// `GET` from the portal; stops the test where it does not answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Response {
        self.try_portal("GET", path, None).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// `POST` to the portal; stops the test where it does not answer.
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.try_portal("POST", path, Some(body)).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Chooses a package and types an M-Pesa number; gives back the payment's id.
    pub fn pay(&self, package: &str, number: &str) -> String {
        let answer = self.post("/api/payments", &json!({"package": package, "phone": number}));
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.value()["payment"].as_str().unwrap_or_else(|| panic!("no payment in {}", answer.text())).to_owned()
    }

    /// Where a payment stands.
    #[must_use]
    pub fn payment(&self, id: &str) -> Value {
        let answer = self.get(&format!("/api/payments/{id}/status"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.value()
    }

    /// Waits until a payment is decided.
    ///
    /// # Errors
    /// When it is pending all the time.
    pub fn try_await_payment(&self, id: &str, limit: Duration) -> Result<Value> {
        let mut last = Value::Null;
        until("the payment's outcome", limit, || {
            std::thread::sleep(ASK_EVERY); // a page's pace: nobody hammers the portal
            // A portal that is just being started again is asked again.
            let answer = self.try_portal("GET", &format!("/api/payments/{id}/status"), None).ok()?;
            last = answer.value();
            (last["status"] != "pending" && answer.status == 200).then(|| last.clone())
        })
        .with_context(|| format!("the portal said last: {last}"))
    }

    /// Waits until a payment is paid and the phone online; stops the test when it is not.
    pub fn await_paid(&self, id: &str) -> Value {
        let payment = self.try_await_payment(id, PAYMENT).unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!((payment["status"].as_str(), payment["connected"].as_bool()), (Some("paid"), Some(true)), "{payment}");
        payment
    }

    /// Waits until a payment has failed; gives back the reason.
    pub fn await_failed(&self, id: &str) -> String {
        let payment = self.try_await_payment(id, PAYMENT).unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!((payment["status"].as_str(), payment["connected"].as_bool()), (Some("failed"), Some(false)), "{payment}");
        payment["reason"].as_str().unwrap_or_else(|| panic!("no reason in {payment}")).to_owned()
    }

    /// Its session, if it has one.
    #[must_use]
    pub fn session(&self) -> Option<Value> {
        let answer = self.post("/api/hotspot/check-session", &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let value = answer.value();
        (value["active"] == true).then(|| value["session"].clone())
    }
}
