//! What does not end in money opens nothing, and the customer is told which it was and what to do.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4, HOST6};
use lango_lab::safaricom::customer::{Answer, Customer, Delivery, PushAnswer};
use lango_lab::wait::until_true;
use std::time::Duration;

const SILENCE: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_payment_that_fails_opens_nothing_and_says_which_it_was() {
    let lab = Lab::start();
    lab.safaricom.prompts_live(Duration::from_secs(2));
    // What the page must speak of, beside its advice to try again.
    for (number, customer, reason, word) in [
        ("0712000001", Customer::who(Answer::Cancels), "cancelled", "cancelled"),
        ("0712000002", Customer::who(Answer::WrongPin), "wrong_pin", "wrong"),
        ("0712000003", Customer::who(Answer::NoMoney), "insufficient_balance", "not enough money"),
        ("0712000004", Customer::who(Answer::NeverAnswers), "no_response", "did not answer"),
        ("0712000005", Customer::who(Answer::Code(17)), "limit", "limit"),
        ("0712000006", Customer::who(Answer::Code(2028)), "other", "not"),
    ] {
        lab.safaricom.customer(number, customer);
        let phone = lab.joined_phone();
        let payment = phone.pay("hour", number);
        assert_eq!(phone.await_failed(&payment), reason);
        let page = phone.get(&format!("/pay/{payment}"));
        let text = page.text();
        assert!(page.status == 200 && text.contains("<html"), "the page of a failed payment: {}", page.status);
        let advises = text.to_lowercase().contains("again") || text.to_lowercase().contains("top up");
        assert!(text.contains(word) && advises, "the page does not say {reason:?} and what to do:\n{text}");
        assert!(phone.session().is_none());
        assert!(
            !phone.udp_echo((HOST4, ECHO).into(), SILENCE) && !phone.udp_echo((HOST6, ECHO).into(), SILENCE),
            "{reason} opened the gate"
        );
    }
    assert_eq!(lab.internet().packets_from_customers().unwrap(), (0, 0));
    assert!(lab.safaricom.money().is_empty());
    lab.money_is_service();
    assert!(lab.safaricom.refusals().is_empty(), "{:?}", lab.safaricom.refusals());
}

#[test]
fn after_a_failure_the_same_phone_pays() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    lab.safaricom.customer("0712345678", Customer::who(Answer::WrongPin));
    assert_eq!(phone.await_failed(&phone.pay("hour", "0712345678")), "wrong_pin");
    lab.safaricom.customer("0712345678", Customer::who(Answer::Pays));
    phone.await_paid(&phone.pay("hour", "0712345678"));
    assert!(phone.udp_echo((HOST4, ECHO).into(), SOON));
    lab.money_is_service();
}

#[test]
fn pressing_pay_twice_asks_once_and_a_doubled_callback_is_served_once() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    lab.safaricom.customer("0712345678", Customer { delivery: Delivery::Twice, ..Customer::manual() });
    let payment = phone.pay("hour", "0712345678");
    assert_eq!(phone.pay("hour", "0712345678"), payment);
    lab.safaricom.await_prompt("0712345678", SOON).unwrap();
    assert_eq!(phone.pay("hour", "0712345678"), payment);
    lab.safaricom.answer("0712345678", Answer::Pays).unwrap();
    phone.await_paid(&payment);
    until_true("both callbacks", SOON, || lab.safaricom.last_prompt("0712345678").is_some_and(|p| p.done)).unwrap();
    let prompt = lab.safaricom.last_prompt("0712345678").unwrap();
    assert!(prompt.callbacks.iter().all(|c| c.outcome == Ok(200)) && prompt.callbacks.len() == 2, "{:?}", prompt.callbacks);
    assert_eq!(lab.safaricom.prompts().len(), 1);
    let session = phone.session().unwrap();
    assert!(session["seconds_remaining"].as_u64().unwrap() <= 3600, "an hour was bought, once: {session}");
    assert!(session["bytes_remaining"].as_u64().unwrap() <= 5_000_000, "5 MB were bought, once: {session}");
    lab.money_is_service();
}

#[test]
fn a_busy_safaricom_and_a_lost_answer_cost_nobody_a_payment() {
    let lab = Lab::start();
    // Busy once: the relay asks again by itself.
    let phone = lab.joined_phone();
    lab.safaricom.customer("0712000001", Customer::who(Answer::Pays).pushed(PushAnswer::BusyTimes(1)));
    phone.await_paid(&phone.pay("hour", "0712000001"));
    // The prompt is made, but the relay never hears that it was: the callback finds its payment all the same.
    let phone = lab.joined_phone();
    lab.safaricom.customer("0712000002", Customer::pays_after(Duration::from_millis(500)).pushed(PushAnswer::Lost));
    phone.await_paid(&phone.pay("hour", "0712000002"));
    // Another program of the merchant takes a token: the relay's is invalid, and it takes a new one.
    lab.safaricom.forget_token();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("hour", "0712000003"));
    assert_eq!(lab.safaricom.prompts().len(), 3);
    lab.money_is_service();
}
