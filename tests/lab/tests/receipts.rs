//! Money that came without a prompt, and receipts that are brought to the portal: from Safaricom to packets that pass.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::router::NAME;
use lango_lab::safaricom::org::Masking;
use lango_lab::wait::until_true;
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn served(lab: &Lab, receipt: &str) -> Option<Value> {
    let payments = lab.lango.payments().unwrap();
    let list = payments.as_array().or_else(|| payments["payments"].as_array()).unwrap().clone();
    list.into_iter().find(|payment| payment["receipt"] == receipt)
}

#[test]
fn who_paid_by_hand_comes_with_the_receipt_and_is_online() {
    let lab = Lab::start();
    lab.relay.command(&["c2b", "register"]).unwrap();
    lab.safaricom.masks(Masking::Whole);
    lab.safaricom.validates(true);
    let by_hand = lab.safaricom.pays_by_hand("0712345678", &format!("{} hour", NAME.to_uppercase()), 10);
    let receipt = by_hand.paid.unwrap().receipt;
    until_true("the router to serve it", SOON, || served(&lab, &receipt).is_some_and(|row| row["username"].is_string())).unwrap();
    let phone = lab.joined_phone();
    assert!(!phone.udp_echo((HOST4, ECHO).into(), Duration::from_millis(300)), "nothing without the receipt");
    let wrong = phone.post("/api/payments/reclaim", &json!({"receipt": receipt, "phone": "0712345679"}));
    assert_eq!((wrong.status, wrong.error_code().as_deref()), (404, Some("unknown_receipt")), "{}", wrong.text());
    let right = phone.post("/api/payments/reclaim", &json!({"receipt": receipt, "phone": "0712345678"}));
    assert_eq!((right.status, right.value()["session"]["package"].as_str()), (200, Some("hour")), "{}", right.text());
    assert!(phone.udp_echo((HOST4, ECHO).into(), SOON));
    // Safaricom says it again, and the customer's other phone has changed its address.
    assert!(lab.safaricom.confirms(&receipt));
    let other = lab.joined_phone();
    assert_eq!(other.post("/api/payments/reclaim", &json!({"receipt": receipt, "phone": "0712345678"})).status, 200);
    assert!(other.udp_echo((HOST4, ECHO).into(), SOON));
    assert!(!phone.udp_echo((HOST4, ECHO).into(), Duration::from_millis(300)), "the session moved");
    assert!(phone.session().is_none());
    lab.money_is_service();
}

#[test]
fn a_receipt_that_nobody_was_told_of_is_looked_up_while_the_customer_waits() {
    let lab = Lab::start();
    lab.relay.command(&["c2b", "register"]).unwrap();
    lab.safaricom.loses_confirmations(true);
    let receipt = lab.safaricom.pays_by_hand("0712345678", NAME, 10).paid.unwrap().receipt;
    let phone = lab.joined_phone();
    let found = phone.post("/api/payments/reclaim", &json!({"receipt": receipt, "phone": "0712345678"}));
    assert_eq!(found.status, 200, "{}\n{}", found.text(), lab.relay.program.tail(30));
    assert!(phone.udp_echo((HOST4, ECHO).into(), SOON));
    assert_eq!(lab.safaricom.status_asked(), [receipt]);
    lab.money_is_service();
    // Nobody is there to ask: what is known here still works, and the rest is said plainly.
    lab.broker.program.kill9();
    until_true("the router to notice", SOON, || lab.lango.status().is_ok_and(|status| status["payments"] == false)).unwrap();
    let unknown = phone.post("/api/payments/reclaim", &json!({"receipt": "RKL51ZDR4F", "phone": "0712345678"}));
    assert_eq!((unknown.status, unknown.error_code().as_deref()), (503, Some("no_answer")), "{}", unknown.text());
    assert!(lab.safaricom.refusals().is_empty(), "{:?}", lab.safaricom.refusals());
}

#[test]
fn a_prompt_s_money_told_twice_is_served_once_and_its_receipt_moves_the_session() {
    let lab = Lab::start();
    lab.relay.command(&["c2b", "register"]).unwrap();
    let phone = lab.joined_phone();
    let paid = phone.await_paid(&phone.pay("hour", "0712345678"));
    let receipt = paid["receipt"].as_str().unwrap().to_owned();
    assert!(lab.safaricom.confirms(&receipt));
    let other = lab.joined_phone();
    let moved = other.post("/api/payments/reclaim", &json!({"receipt": receipt, "phone": "0712 345 678"}));
    assert_eq!((moved.status, &moved.value()["session"]["username"]), (200, &paid["username"]), "{}", moved.text());
    assert!(other.udp_echo((HOST4, ECHO).into(), SOON));
    assert!(phone.session().is_none());
    lab.money_is_service();
}
