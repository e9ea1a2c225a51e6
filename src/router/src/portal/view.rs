//! What the templates show, from the core's answers. Pure.

use super::language::{self, Language};
use super::reply::Problem;
use super::site::Visit;
use lango_core::message::Reason;
use lango_core::package::Package;
use lango_core::request::{MyAccountView, PaymentStatus, PaymentView, SessionView};
use lango_core::tree::BTreeMap;
use lango_core::units::{Mac, Msisdn, PackageId, Seconds};
use serde_json::{Value, json};
use std::borrow::Cow;

/// A package, with the link that buys it where there is one.
#[must_use]
pub fn package(language: &Language, package: &Package, href: Option<String>) -> Value {
    let limits = &package.limits;
    let unlimited = || language.text("unlimited").to_owned();
    let time = limits.time.map_or_else(unlimited, |time| language.duration(time.as_seconds_ceil()));
    let data = limits.data.map_or_else(unlimited, language::data);
    let mut facts = vec![("fact_time", time), ("fact_data", data)];
    // What comes down is what people mean by speed. Where only sending is slowed down, that is what is slow.
    let speed = limits.down.map(|down| language.speed(down));
    let speed = speed.or_else(|| limits.up.map(|up| language.fill("speed_up", &[("speed", &language.speed(up))])));
    facts.extend(speed.map(|speed| ("fact_speed", speed)));
    facts.extend((limits.devices > 1).then(|| ("fact_devices", limits.devices.to_string())));
    let facts: Vec<Value> = facts.into_iter().map(|(name, value)| json!({"name": language.text(name), "value": value})).collect();
    let price = language.money(package.price);
    json!({
        "label": package.label,
        "price": price,
        "pay": language.fill("pay", &[("price", &price)]),
        "facts": facts,
        "href": href,
    })
}

/// What is left, as text for everybody and as numbers for the script.
#[must_use]
pub fn left(visit: &Visit, session: &SessionView) -> Value {
    let language = visit.language();
    let unlimited = || language.text("unlimited").to_owned();
    json!({
        "time": session.seconds_remaining.map_or_else(unlimited, |left| language.duration(left)),
        "seconds": session.seconds_remaining.map_or_else(String::new, |left| left.to_string()),
        "until": until(language, session),
        "data": session.bytes_remaining.map_or_else(unlimited, language::data),
        "data_live": session.bytes_remaining.is_some(),
        "units": units(language, session),
        "ended_href": visit.link("/?all=1"),
    })
}

/// What the script counts down with, and by what it knows that something else is in use; and where the router does not know when it ends, the
/// names by which the script says it.
fn units(language: &Language, session: &SessionView) -> String {
    let mut units = language.units();
    units["package"] = session.package.as_str().into();
    units["bytes"] = session.bytes_remaining.map(|left| left.0).into();
    if session.until.is_none() && session.seconds_remaining.is_some() {
        (units["days"], units["months"]) = (language.text("days").into(), language.text("months").into());
    }
    units.to_string()
}

/// From so many seconds on it is said on which day something ends; `web/live.js` has the same.
const FAR: u64 = 64_800;

/// When the time that is left ends; nothing where that is not known, or has no end.
fn until(language: &Language, session: &SessionView) -> Option<String> {
    Some(language.moment(session.until?, session.seconds_remaining?.0 > FAR))
}

/// A session.
#[must_use]
pub fn session(visit: &Visit, session: &SessionView, packages: &[Package]) -> Value {
    let language = visit.language();
    let mut view = left(visit, session);
    view["package_text"] = language.fill("package_is", &[("label", label(&session.package, packages))]).into();
    view["used"] =
        language.fill("used", &[("down", &language::data(session.bytes_down)), ("up", &language::data(session.bytes_up))]).into();
    view
}

/// What waits on one's account behind what is in use, where anything does.
#[must_use]
pub fn queued(language: &Language, account: &MyAccountView, packages: &[Package]) -> Value {
    let unlimited = || language.text("unlimited").to_owned();
    let list = account.queued.iter().map(|next| {
        let time = next.limits.time.map_or_else(unlimited, |time| language.duration(time.as_seconds_ceil()));
        let data = next.limits.data.map_or_else(unlimited, language::data);
        let facts = [("fact_time", time), ("fact_data", data)];
        let facts: Vec<Value> = facts.into_iter().map(|(name, value)| json!({"name": language.text(name), "value": value})).collect();
        json!({"label": label(&next.package, packages), "facts": facts})
    });
    let list: Vec<Value> = list.collect();
    if list.is_empty() { Value::Null } else { json!({"list": list}) }
}

/// What was paid for one's account, where anything was.
#[must_use]
pub fn receipts(language: &Language, account: &MyAccountView) -> Value {
    let list = account.receipts.iter().map(|paid| {
        // Its end alone: the customer has all of it in M-Pesa's message, and with all of it and the number a session is moved to another phone.
        let code = paid.receipt.to_string();
        json!({
            "receipt": format!("…{}", code.get(code.len().saturating_sub(4)..).unwrap_or_default()),
            "label": paid.label,
            "amount": language.money(paid.amount),
            "at": paid.at.map(|at| language.moment(at, true)),
        })
    });
    let list: Vec<Value> = list.collect();
    if list.is_empty() { Value::Null } else { json!({"list": list}) }
}

/// A package that is not sold any more is known by its id alone.
fn label<'a>(id: &'a PackageId, packages: &'a [Package]) -> &'a str {
    packages.iter().find(|package| package.id == *id).map_or(id.as_str(), |package| &package.label)
}

/// The other devices of one's account, where there are any.
#[must_use]
pub fn others(visit: &Visit, account: &MyAccountView, names: &BTreeMap<Mac, String>) -> Value {
    let language = visit.language();
    let others = account.devices.iter().filter(|device| !device.this);
    let shown: Vec<Value> = others
        .map(|device| {
            let (down, up) = (language::data(device.bytes_down), language::data(device.bytes_up));
            json!({"device": device.device, "known_as": known_as(device.device, names), "used": language.fill("used", &[("down", &down), ("up", &up)])})
        })
        .collect();
    let text = language.fill("others_text", &[("n", &account.devices_at_most.to_string())]);
    if shown.is_empty() { Value::Null } else { json!({"list": shown, "text": text}) }
}

/// How a customer knows a device: by what it calls itself, and the end of its address, for two may have one name; by the whole
/// address otherwise.
fn known_as(device: Mac, names: &BTreeMap<Mac, String>) -> String {
    let address = device.to_string();
    match names.get(&device) {
        Some(name) => format!("{name} (…{})", address.get(9..).unwrap_or_default()),
        None => address,
    }
}

/// One line on the start page about the newest payment; none where there is nothing to say.
#[must_use]
pub fn latest(visit: &Visit, payment: &PaymentView, online: bool) -> Option<Value> {
    let language = visit.language();
    let stem = match payment.status {
        PaymentStatus::Pending => "pending",
        PaymentStatus::Failed if !online => "failed",
        PaymentStatus::Expired if !online => "expired",
        PaymentStatus::Paid if payment.username.is_some() => "paid",
        PaymentStatus::Failed | PaymentStatus::Expired | PaymentStatus::Paid => return None,
    };
    let (text, link, kind) = match stem {
        "pending" => ("payment_pending", "payment_pending_link", ""),
        "failed" => ("payment_failed", "payment_failed_link", " bad"),
        "expired" => ("payment_expired", "payment_expired_link", ""),
        _ => ("payment_paid", "payment_paid_link", " good"),
    };
    Some(json!({
        "kind": kind,
        "text": language.fill(text, &[("reason", reason(language, payment.reason).0)]),
        "link": language.text(link),
        "href": visit.link(&format!("/pay/{}", payment.payment)),
    }))
}

/// Why a payment failed, and what to do.
#[must_use]
pub fn reason(language: &Language, reason: Option<Reason>) -> (&str, &str) {
    let (reason, advice) = match reason {
        Some(Reason::Cancelled) => ("reason_cancelled", "advice_cancelled"),
        Some(Reason::WrongPin) => ("reason_wrong_pin", "advice_wrong_pin"),
        Some(Reason::InsufficientBalance) => ("reason_insufficient_balance", "advice_insufficient_balance"),
        Some(Reason::NoResponse) => ("reason_no_response", "advice_no_response"),
        Some(Reason::Limit) => ("reason_limit", "advice_limit"),
        Some(Reason::Busy) => ("reason_busy", "advice_busy"),
        Some(Reason::Other) | None => ("reason_other", "advice_other"),
    };
    (language.text(reason), language.text(advice))
}

/// A number as people in Kenya write it: `0712 345 678`, never broken over lines.
#[must_use]
pub fn phone(phone: Msisdn) -> String {
    let digits = phone.digits();
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("0{}\u{a0}{}\u{a0}{}", part(3, 6), part(6, 9), part(9, 12))
}

/// A problem in the customer's words.
#[must_use]
pub fn problem(language: &Language, problem: &Problem) -> String {
    let text = |key| language.text(key).to_owned();
    match problem.code {
        "unknown_package" => text("error_unknown_package"),
        "payments_offline" => text("error_payments_offline"),
        "too_many_requests" => {
            let words = if problem.crowded { "error_crowded" } else { "error_too_many_requests" };
            language.fill(words, &[("wait", &language.duration(Seconds(problem.retry_after.unwrap_or(1))))])
        }
        "unknown_payment" => text("error_unknown_payment"),
        // A login server's own words are the customer's: they say what is wrong with an account that only it knows.
        "bad_credentials" => match &problem.message {
            Cow::Owned(words) => words.clone(),
            Cow::Borrowed(_) => text("error_bad_credentials"),
        },
        "login_offline" => text("error_login_offline"),
        "device_limit" => text("error_device_limit"),
        "unknown_receipt" => text("error_unknown_receipt"),
        "not_served" => text("error_not_served"),
        "no_answer" => text("error_no_answer"),
        "expired" => text("error_expired"),
        "unknown_voucher" => text("error_unknown_voucher"),
        "voucher_used" => text("error_voucher_used"),
        "voucher_expired" => text("error_voucher_expired"),
        "voucher_revoked" => text("error_voucher_revoked"),
        "not_stored" => text("error_not_stored"),
        "unknown_device" => text("unknown_device"),
        "cross_site" => text("error_cross_site"),
        "bad_phone" => text("bad_phone"),
        _ => text("error_bad_request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_known_by_its_name_and_the_end_of_its_address() {
        let (named, nameless) = (Mac([2, 0, 0x5e, 0x10, 0, 1]), Mac([2, 0, 0x5e, 0x10, 0, 2]));
        let names = BTreeMap::from([(named, "Galaxy-A12".to_owned())]);
        assert_eq!(known_as(named, &names), "Galaxy-A12 (…10:00:01)");
        assert_eq!(known_as(nameless, &names), "02:00:5e:10:00:02");
    }

    #[test]
    fn a_number_is_written_as_people_write_it() {
        assert_eq!(phone("+254712345678".parse().unwrap()), "0712\u{a0}345\u{a0}678");
        assert_eq!(phone("0112000009".parse().unwrap()), "0112\u{a0}000\u{a0}009");
    }
}
