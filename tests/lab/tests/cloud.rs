//! The cloud fails: the relay between push and callback, the broker meanwhile, Safaricom's only callback. Money that
//! moved is granted once after they return, and what needs no cloud goes on.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::safaricom::customer::{Answer, Customer, Delivery, PushAnswer};
use lango_lab::wait::until_true;
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// The relay asks Safaricom some 20 s after the prompt, and then again and again.
const RECONCILED: Duration = Duration::from_secs(120);

#[test]
fn the_relay_is_killed_between_push_and_callback_and_the_broker_restarted() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    lab.safaricom.everybody(Customer::manual());
    let payment = phone.pay("hour", "0712345678");
    lab.safaricom.await_prompt("0712345678", SOON).unwrap();
    lab.relay.await_prompted(&payment).unwrap();
    lab.relay.program.kill9();
    lab.safaricom.answer("0712345678", Answer::Pays).unwrap();
    until_true("the callback to fail", SOON, || lab.safaricom.last_prompt("0712345678").is_some_and(|p| p.done)).unwrap();
    assert!(lab.safaricom.last_prompt("0712345678").unwrap().callbacks[0].outcome.is_err(), "nobody was there to take it");
    lab.broker.program.kill9();
    lab.broker.start().unwrap();
    lab.relay.start().unwrap();
    let paid = phone.try_await_payment(&payment, RECONCILED).unwrap();
    assert_eq!((paid["status"].as_str(), paid["connected"].as_bool()), (Some("paid"), Some(true)), "{paid}");
    assert!(phone.udp_echo((HOST4, ECHO).into(), SOON));
    lab.money_is_service();
}

/// The relay dies before it hears that there is a prompt: it never learns the prompt's id, and can ask for nothing. The
/// callback's own address says which payment it is.
#[test]
fn a_callback_that_the_relay_takes_after_its_return_is_granted_once() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    lab.safaricom.everybody(Customer { delivery: Delivery::Held, push: PushAnswer::Lost, ..Customer::manual() });
    let payment = phone.pay("hour", "0712345678");
    lab.safaricom.await_prompt("0712345678", SOON).unwrap();
    lab.relay.program.kill9();
    lab.safaricom.answer("0712345678", Answer::Pays).unwrap();
    lab.broker.program.kill9();
    lab.relay.start().unwrap();
    lab.safaricom.release_callbacks();
    until_true("the callback", SOON, || lab.safaricom.last_prompt("0712345678").is_some_and(|p| p.done)).unwrap();
    assert_eq!(lab.safaricom.last_prompt("0712345678").unwrap().callbacks[0].outcome, Ok(200), "it is stored without a broker, too");
    assert_eq!(phone.payment(&payment)["status"], "pending");
    lab.broker.start().unwrap();
    let paid = phone.try_await_payment(&payment, RECONCILED).unwrap();
    assert_eq!((paid["status"].as_str(), paid["connected"].as_bool()), (Some("paid"), Some(true)), "{paid}");
    lab.money_is_service();
}

#[test]
fn safaricom_s_only_callback_is_lost_and_the_relay_asks() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    lab.safaricom.everybody(Customer::who(Answer::Pays).delivered(Delivery::Lost));
    lab.safaricom.silence_queries(1);
    let payment = phone.pay("hour", "0712345678");
    let paid = phone.try_await_payment(&payment, RECONCILED).unwrap();
    assert_eq!((paid["status"].as_str(), paid["connected"].as_bool()), (Some("paid"), Some(true)), "{paid}");
    assert!(lab.safaricom.queries() >= 2);
    lab.money_is_service();
}

#[test]
fn without_the_cloud_only_payments_stop() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    let paid = phone.await_paid(&phone.pay("day", "0712345678"));
    lab.broker.program.kill9();
    until_true("the router to notice", SOON, || lab.lango.status().is_ok_and(|s| s["payments"] == false)).unwrap();
    let refused = phone.post("/api/payments", &json!({"package": "hour", "phone": "0712345678"}));
    assert_eq!((refused.status, refused.error_code().as_deref()), (503, Some("payments_offline")), "{}", refused.text());
    assert!(phone.udp_echo((HOST4, ECHO).into(), SOON));
    // Out, and in again with the credentials of the account.
    assert_eq!(phone.post("/api/hotspot/logout", &json!({})).status, 200);
    assert!(!phone.udp_echo((HOST4, ECHO).into(), Duration::from_millis(300)));
    let login = json!({"username": paid["username"], "password": paid["password"]});
    let session = phone.post("/api/hotspot/login", &login);
    assert_eq!(session.status, 200, "{}", session.text());
    assert!(phone.udp_echo((HOST4, ECHO).into(), SOON));
    let wrong = phone.post("/api/hotspot/login", &json!({"username": paid["username"], "password": "wrong"}));
    assert_eq!((wrong.status, wrong.error_code().as_deref()), (401, Some("bad_credentials")));
    // The cloud returns, and payments with it.
    lab.broker.start().unwrap();
    lab.lango.await_payments().unwrap();
    phone.await_paid(&phone.pay("day", "0712345678"));
    lab.money_is_service();
}

#[test]
fn a_relay_that_is_away_is_noticed() {
    let lab = Lab::start();
    lab.relay.program.kill9();
    until_true("the router to notice by the relay's last will", SOON, || lab.lango.status().is_ok_and(|s| s["payments"] == false)).unwrap();
    lab.relay.start().unwrap();
    lab.lango.await_payments().unwrap();
}

#[test]
fn a_router_that_is_away_is_noticed() {
    let lab = Lab::start();
    let is = |state: &str| lab.relay.command(&["router", "list"]).is_ok_and(|list| list.contains(state));
    until_true("the router to be online", SOON, || is("online since")).unwrap();
    lab.lango.program.kill9();
    until_true("the relay to notice by the router's last will", SOON, || is("offline since")).unwrap();
    lab.lango.start().unwrap();
    until_true("the router to be online again", SOON, || is("online since")).unwrap();
    lab.lango.program.terminate().unwrap();
    until_true("the relay to hear that it went", SOON, || is("offline since")).unwrap();
}
