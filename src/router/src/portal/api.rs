//! The calls of the contract (docs/portal.md).

use super::Backend;
use super::desk::{Desk, Outcome};
use super::events::Watch;
use super::head::{Head, Origin};
use super::reply::{Problem, Reply};
use super::route::Call;
use lango_core::package::Listed;
use lango_core::request::{MyDeviceView, PaymentStatus, Refusal, Request, SessionView, Typed};
use lango_core::units::{Msisdn, OrderId, PackageId, Password, Receipt, Username};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::IpAddr;

#[derive(Deserialize)]
struct Purchase {
    package: String,
    phone: String,
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
    /// Whether another device gives way where there is no room.
    #[serde(default)]
    replace: bool,
}

#[derive(Deserialize)]
struct Redemption {
    code: String,
}

#[derive(Deserialize)]
struct Other {
    device: String,
}

#[derive(Deserialize)]
struct Reclaim {
    receipt: String,
    phone: String,
}

// What is answered. Written as it is: JSON in the memory first would be more work, and more program.

#[derive(Serialize)]
struct PriceList<'a> {
    packages: Vec<Listed<'a>>,
}

#[derive(Serialize)]
struct Begun<'a> {
    payment: &'a OrderId,
    status: PaymentStatus,
}

#[derive(Serialize)]
struct Entered {
    session: SessionView,
}

#[derive(Serialize)]
struct Active {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionView>,
}

#[derive(Serialize)]
struct Devices {
    devices: Vec<MyDeviceView>,
    devices_at_most: u8,
}

impl<B: Backend> Desk<B> {
    pub(super) async fn call(&self, call: Call, head: &Head, body: &[u8], peer: IpAddr) -> Outcome {
        match self.called(call, head, body, peer).await {
            Ok(outcome) => outcome,
            Err(problem) => Reply::problem(problem).into(),
        }
    }

    async fn called(&self, call: Call, head: &Head, body: &[u8], peer: IpAddr) -> Result<Outcome, Problem> {
        Ok(match call {
            Call::Packages => {
                let packages = self.packages().await?;
                Reply::json(200, &PriceList { packages: packages.iter().map(Listed::from).collect() }).into()
            }
            Call::Pay => {
                let Purchase { package, phone } = parsed(head, body)?;
                let device = self.device(peer).await?;
                let package = package.parse::<PackageId>().map_err(|_| Refusal::UnknownPackage)?;
                let phone = phone.parse::<Msisdn>().map_err(|_| Problem::BAD_PHONE)?;
                let view = self.money(Request::Pay { device, package, phone, language: self.spoken(head) }).await?;
                Reply::json(202, &Begun { payment: &view.payment, status: view.status }).into()
            }
            Call::Status { order } => {
                let device = self.device(peer).await?;
                let order = order.parse::<OrderId>().map_err(|_| Refusal::UnknownPayment)?;
                Reply::json(200, &self.payment(device, order).await?).into()
            }
            Call::GiveUp { order } => {
                let device = self.device(peer).await?;
                let order = order.parse::<OrderId>().map_err(|_| Refusal::UnknownPayment)?;
                Reply::json(200, &self.money(Request::GiveUp { device, order }).await?).into()
            }
            Call::Events { order } => {
                let device = self.device(peer).await?;
                let order = order.parse::<OrderId>().map_err(|_| Refusal::UnknownPayment)?;
                // Listened to before it is asked: what changes in between is not missed.
                let changes = self.backend.payment_changes();
                let first = self.payment(device, order.clone()).await?;
                if head.method == "HEAD" {
                    return Ok(Reply::new(200, "text/event-stream", Vec::new()).with("Cache-Control", "no-store").into());
                }
                Outcome::Events(Box::new(Watch { device, order, first, changes }))
            }
            Call::Login => {
                let Credentials { username, password, replace } = parsed(head, body)?;
                let device = self.device(peer).await?;
                let request = login(device, &username, &password, replace);
                Reply::json(200, &Entered { session: self.entry(request).await? }).into()
            }
            Call::Reclaim => {
                let Reclaim { receipt, phone } = parsed(head, body)?;
                let device = self.device(peer).await?;
                let request = reclaim(device, &receipt, &phone)?;
                Reply::json(200, &Entered { session: self.entry(request).await? }).into()
            }
            Call::Logout => {
                let device = self.device(peer).await?;
                self.leave(device).await?;
                Reply::json(200, &Active { active: false, session: None }).into()
            }
            Call::CheckSession => {
                let device = self.device(peer).await?;
                let session = self.session(device).await?;
                Reply::json(200, &Active { active: session.is_some(), session }).into()
            }
            Call::Redeem => {
                let Redemption { code } = parsed(head, body)?;
                let device = self.device(peer).await?;
                Reply::json(200, &self.redeemed(device, &code).await?).into()
            }
            Call::Devices => {
                let device = self.device(peer).await?;
                let account = self.my_account(device).await?.ok_or(Refusal::NotOnline)?;
                Reply::json(200, &Devices { devices: account.devices, devices_at_most: account.devices_at_most }).into()
            }
            Call::LogoutOther => {
                let Other { device: other } = parsed(head, body)?;
                let device = self.device(peer).await?;
                self.leave_for(device, &other).await?;
                Reply::json(200, &json!({})).into()
            }
            Call::Captive => {
                let device = self.device(peer).await?;
                self.captive(device, self.config().url_of(head.secure)).await?.into()
            }
        })
    }

    /// RFC 8908 section 5. The session's end is told, so that a phone warns before it comes.
    /// `url` is the portal's as the asker reached it: RFC 8908 wants an `https` one, and who asked without has no certificate to trust.
    async fn captive(&self, device: lango_core::units::Mac, url: String) -> Result<Reply, Problem> {
        let start = self.start(Some(device)).await?;
        let state = match &start.session {
            None => json!({"captive": true, "user-portal-url": url}),
            Some(session) => {
                // There must be a way to go on from here: something to buy and M-Pesa to pay with, or a voucher.
                let can_extend = (start.payments && !start.packages.is_empty()) || start.vouchers;
                let mut state = json!({"captive": false, "user-portal-url": url, "can-extend-session": can_extend});
                // Until the device is captive: what waits behind the package in use comes before that.
                if let Some(seconds) = session.seconds_in_all {
                    state["seconds-remaining"] = json!(seconds);
                }
                if let Some(bytes) = session.bytes_in_all {
                    state["bytes-remaining"] = json!(bytes);
                }
                state
            }
        };
        Ok(Reply::new(200, "application/captive+json", state.to_string().into_bytes()).with("Cache-Control", "private, no-store"))
    }
}

/// What cannot be anybody's name or password is as wrong as any other.
pub(super) fn login(device: lango_core::units::Mac, username: &str, password: &str, replace: bool) -> Request {
    match (username.trim().parse::<Username>(), Password::new(password.trim())) {
        (Ok(username), Ok(password)) => Request::Login { device, username, password, replace },
        _ => Request::Mistyped { device, what: Typed::Credentials },
    }
}

/// The first word counts: people paste the whole message of M-Pesa's.
pub(super) fn reclaim(device: lango_core::units::Mac, receipt: &str, phone: &str) -> Result<Request, Problem> {
    let phone = phone.parse::<Msisdn>().map_err(|_| Problem::BAD_PHONE)?;
    let word = receipt.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    Ok(match word.parse::<Receipt>() {
        Ok(receipt) => Request::Reclaim { device, receipt, phone },
        Err(_) => Request::Mistyped { device, what: Typed::Receipt },
    })
}

/// A page of another site can send a form but not JSON without our leave (CORS), which is never given: so what comes from a
/// page must say that it is JSON. A program that names no origin may leave the type away.
fn parsed<'a, T: Deserialize<'a>>(head: &Head, body: &'a [u8]) -> Result<T, Problem> {
    if head.content_type.as_deref() != Some("application/json") && head.origin != Origin::Unsaid {
        return Err(Problem::NOT_JSON);
    }
    serde_json::from_slice(body).map_err(|_| Problem::BAD_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_for_json() {
        let mut head = Head::default();
        assert!(parsed::<Purchase>(&head, br#"{"package":"hour","phone":"0712345678","more":1}"#).is_ok(), "a program");
        head.origin = Origin::Ours;
        assert_eq!(parsed::<Purchase>(&head, b"{}").err(), Some(Problem::NOT_JSON));
        head.content_type = Some("application/json".to_owned());
        for body in [
            &b""[..],
            b"{}",
            b"[]",
            b"null",
            b"{\"package\":\"hour\",\"phone\":712345678}",
            b"\xff",
            b"{\"package\":\"hour\",\"phone\":\"0712345678\"}x",
        ] {
            assert_eq!(parsed::<Purchase>(&head, body).err(), Some(Problem::BAD_REQUEST));
        }
        // Escapes and long texts: they are the customer's, not a limit of the parser's.
        let escaped = format!(r#"{{"username":"{}","password":"\u0041\"{}"}}"#, "u".repeat(60), "p".repeat(100));
        assert!(parsed::<Credentials>(&head, escaped.as_bytes()).is_ok());
    }
}
