//! Texts to customers, with all parts real but Safaricom and the SMS gateway: what they say works, nobody waits for them, and
//! whatever the gateway does, each purchase is told of as it should be.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::phone::Phone;
use lango_lab::router::PACKAGES;
use lango_lab::safaricom::customer::{Answer, Customer, Delivery};
use lango_lab::sms::{Outcome, Provider};
use lango_lab::wait::{holds_for, until, until_true};
use lango_lab::world::PORTAL;
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// After a lost answer the gateway gets half a minute.
const AGAIN: Duration = Duration::from_secs(60);
const A_WHILE: Duration = Duration::from_secs(3);

/// The texts, as `lango-relay sms --json` shows them.
fn listed(lab: &Lab) -> Vec<Value> {
    let printed = lab.relay.command(&["sms", "--json"]).unwrap();
    serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}"))
}

fn await_status(lab: &Lab, phone: &str, status: &str) -> Value {
    let digits = format!("254{}", &phone[1..]);
    until(&format!("the text to {phone} to be {status}"), SOON, || {
        listed(lab).into_iter().find(|text| text["phone"] == *digits && text["status"] == status)
    })
    .unwrap_or_else(|e| panic!("{e:#}\n{:?}\n{}", listed(lab), lab.relay.program.tail(30)))
}

fn log_in(phone: &Phone, (username, password): &(String, String)) {
    let session = phone.post("/api/hotspot/login", &json!({"username": username, "password": password}));
    assert_eq!(session.status, 200, "{}", session.text());
    assert!(phone.udp_echo((HOST4, ECHO).into(), SOON));
}

/// Neither program's log holds what no log may.
fn logs_are_silent(lab: &Lab, phone: &str, (_, password): &(String, String)) {
    for log in [lab.relay.program.log(), lab.lango.program.log()] {
        assert!(!log.contains(password.as_str()) && !log.contains(&phone[1..]), "{log}");
    }
}

#[test]
fn who_pays_gets_a_text_whose_credentials_log_another_phone_in() {
    let lab = Lab::texting(Provider::AfricasTalking, PACKAGES);
    let sms = lab.sms.as_ref().unwrap();
    sms.reports_to(lab.relay.command(&["sms", "reports"]).unwrap().trim());
    let phone = lab.joined_phone();
    // A Swahili phone.
    let asked = json!({"package": "hour", "phone": "0712345678"}).to_string();
    let headers = [("content-type", "application/json"), ("accept-language", "sw-KE,sw;q=0.9")];
    let answer = phone.http("POST", &format!("{PORTAL}/api/payments"), &headers, asked.as_bytes()).unwrap().value();
    phone.await_paid(answer["payment"].as_str().unwrap());

    let text = sms.await_text("0712345678", SOON).unwrap();
    assert!(text.body.starts_with("Intaneti: 1 hour. Uko mtandaoni."), "{}", text.body);
    assert!(text.body.ends_with(&format!("Risiti {}", lab.safaricom.money()[0].receipt)), "{}", text.body);
    let credentials = text.credentials();
    let other = lab.joined_phone();
    assert!(!other.udp_echo((HOST4, ECHO).into(), Duration::from_millis(300)));
    assert_eq!(phone.post("/api/hotspot/logout", &json!({})).status, 200);
    log_in(&other, &credentials);

    let shown = await_status(&lab, "0712345678", "delivered");
    assert_eq!((shown["about"].as_str(), shown["language"].as_str(), shown["tries"].as_u64()), (Some("credentials"), Some("sw"), Some(1)));
    assert_eq!(shown["username"], *credentials.0);
    for printed in [lab.relay.command(&["sms"]).unwrap(), lab.relay.command(&["sms", "--json"]).unwrap()] {
        assert!(printed.contains("254712345678") && !printed.contains(&credentials.1), "{printed}");
    }
    // Crashes of either side make no second text of it.
    lab.relay.program.kill9();
    lab.lango.program.kill9();
    lab.relay.start().unwrap();
    lab.lango.start().unwrap();
    lab.lango.await_payments().unwrap();
    until_true("nothing to wait for the relay", SOON, || lab.lango.status().is_ok_and(|status| status["outbox"] == 0)).unwrap();
    holds_for("one text", A_WHILE, || sms.on_phone("0712345678").len() == 1).unwrap();
    assert_eq!(listed(&lab).len(), 1);
    assert!(sms.refusals().is_empty(), "{:?}", sms.refusals());
    logs_are_silent(&lab, "0712345678", &credentials);
    lab.money_is_service();
}

#[test]
fn late_money_is_told_with_how_to_use_it() {
    let lab = Lab::texting(Provider::AfricasTalking, PACKAGES);
    let sms = lab.sms.as_ref().unwrap();
    let phone = lab.joined_phone();
    lab.safaricom.everybody(Customer::who(Answer::Pays).delivered(Delivery::Held));
    let payment = phone.pay("hour", "0712345678");
    until_true("the PIN", SOON, || lab.safaricom.money().len() == 1).unwrap();
    lab.relay.await_prompted(&payment).unwrap();
    // The customer goes; the router is off when the money is told, and has not seen the phone when it is on again.
    phone.leave();
    lab.lango.program.kill9();
    lab.world.router.ip(&["neigh", "flush", "dev", "br-lan"]).unwrap();
    lab.safaricom.release_callbacks();
    until_true("the relay to have the money", SOON, || {
        lab.relay.payments().is_ok_and(|payments| payments.to_string().contains("\"status\":\"paid\""))
    })
    .unwrap();
    assert!(sms.on_phone("0712345678").is_empty());
    lab.lango.start().unwrap();

    let text = sms.await_text("0712345678", SOON).unwrap();
    assert!(text.body.starts_with("Internet: 1 hour, ready for you. Join the Wi-Fi."), "{}", text.body);
    let other = lab.joined_phone();
    log_in(&other, &text.credentials());
    lab.money_is_service();
}

#[test]
fn being_online_never_waits_for_the_gateway_and_what_it_missed_is_sent_when_it_is_back() {
    let lab = Lab::texting(Provider::Twilio, PACKAGES);
    let sms = lab.sms.as_ref().unwrap();
    sms.stop();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("hour", "0712345678"));
    assert!(phone.udp_echo((HOST4, ECHO).into(), SOON));
    until_true("a try that was in vain", SOON, || listed(&lab).iter().any(|text| text["code"] == "unreachable")).unwrap();
    // The relay that tried dies; the text does not.
    lab.relay.program.kill9();
    lab.relay.start().unwrap();
    sms.start().unwrap();
    let text = sms.await_text("0712345678", AGAIN).unwrap();
    assert!(text.body.starts_with("Internet: 1 hour. You are online."), "{}", text.body);
    await_status(&lab, "0712345678", "delivered");
    assert!(sms.reports().iter().all(|answer| *answer == Ok(200)), "{:?}", sms.reports());
    // Only Twilio's own reports are believed.
    let url = lab.relay.command(&["sms", "reports"]).unwrap();
    assert_eq!(sms.forge_report(url.trim(), "MessageSid=SM1&MessageStatus=failed").unwrap(), 403);
    assert_eq!(sms.forge_report(&format!("{}0", url.trim()), "MessageSid=SM1&MessageStatus=failed").unwrap(), 404);
    assert_eq!((sms.on_phone("0712345678").len(), sms.refusals()), (1, Vec::new()));
    logs_are_silent(&lab, "0712345678", &text.credentials());
    lab.money_is_service();
}

#[test]
fn whatever_the_gateway_does_is_seen_and_only_what_is_worth_it_is_tried_again() {
    for (provider, blacklisted, no_money, inactive) in
        [(Provider::AfricasTalking, 406, 405, "UserIsInactive"), (Provider::Twilio, 21610, 20003, "30003")]
    {
        let lab = Lab::texting(provider, PACKAGES);
        let sms = lab.sms.as_ref().unwrap();
        sms.reports_to(lab.relay.command(&["sms", "reports"]).unwrap().trim());
        for (number, outcomes) in [
            ("0712000001", vec![Outcome::Refused(blacklisted)]),
            ("0712000002", vec![Outcome::Undelivered(inactive)]),
            ("0712000003", vec![Outcome::Lost, Outcome::Lost]),
            ("0712000004", vec![Outcome::Broken]),
            ("0712000005", vec![Outcome::Unreported]),
        ] {
            sms.script(number, outcomes);
            let phone = lab.joined_phone();
            phone.await_paid(&phone.pay("hour", number));
        }
        // Refused for good: not tried again, and said in plain words.
        let refused = await_status(&lab, "0712000001", "failed");
        assert_eq!((refused["code"].as_str(), refused["tries"].as_u64()), (Some(&*blacklisted.to_string()), Some(1)), "{refused}");
        assert!(refused["reason"].as_str().unwrap().contains("opted out"), "{refused}");
        // Taken, and not delivered: the report says so. The operator sends it again.
        let undelivered = await_status(&lab, "0712000002", "failed");
        assert_eq!(undelivered["code"], inactive, "{undelivered}");
        let printed = lab.relay.command(&["retry", undelivered["sms"].as_str().unwrap()]).unwrap();
        assert!(printed.contains("sent") || printed.contains("delivered"), "{printed}");
        await_status(&lab, "0712000002", "delivered");
        await_status(&lab, "0712000005", "sent");
        // The answer was lost twice: two texts at most.
        let doubtful = until("the doubtful text to be given up", AGAIN, || {
            listed(&lab).into_iter().find(|text| text["phone"] == "254712000003" && text["status"] == "failed")
        })
        .unwrap();
        assert!(doubtful["reason"].as_str().unwrap().contains("may have arrived"), "{doubtful}");
        assert_eq!((sms.handed("0712000003"), sms.on_phone("0712000003").len()), (2, 2));
        // An HTTP 500 may or may not have sent it: once more, and no more than that.
        await_status(&lab, "0712000004", "delivered");
        assert_eq!((sms.handed("0712000004"), sms.handed("0712000001")), (2, 1));

        // Nothing goes out without credit: said once, and over by itself when there is some.
        sms.everybody(Outcome::Refused(no_money));
        let phone = lab.joined_phone();
        phone.await_paid(&phone.pay("hour", "0712000006"));
        until_true("the operator to see it", SOON, || {
            lab.relay
                .command(&["sms"])
                .is_ok_and(|printed| printed.starts_with("since ") && printed.contains("the SMS gateway sends nothing"))
        })
        .unwrap();
        until_true("a second try", SOON, || sms.handed("0712000006") >= 2).unwrap();
        assert_eq!(lab.relay.program.log().matches("the SMS gateway sends nothing").count(), 1);
        sms.everybody(Outcome::Delivered);
        await_status(&lab, "0712000006", "delivered");
        assert!(!lab.relay.command(&["sms"]).unwrap().contains("sends nothing"));
        assert!(sms.refusals().is_empty(), "{:?}", sms.refusals());
        lab.money_is_service();
    }
}

#[test]
fn an_end_is_told_where_the_operator_wants_it() {
    let lab = Lab::texting(Provider::AfricasTalking, PACKAGES);
    let sms = lab.sms.as_ref().unwrap();
    let config = std::fs::read_to_string(&lab.lango.config).unwrap();
    std::fs::write(&lab.lango.config, config.replace("\toption relay_key", "\toption end_notice '0'\n\toption relay_key")).unwrap();
    lab.lango.program.kill9();
    lab.lango.start().unwrap();
    lab.lango.await_payments().unwrap();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("hour", "0712345678"));
    sms.await_text("0712345678", SOON).unwrap();
    // Five megabytes, and no more.
    let got = phone.download(8_000_000, SOON).unwrap();
    assert!(got < 5_000_000, "{got}");
    let texts = until("the second text", SOON, || Some(sms.on_phone("0712345678")).filter(|texts| texts.len() == 2)).unwrap();
    assert!(texts[1].body.starts_with("Your internet data is used up."), "{}", texts[1].body);
    assert_eq!(await_status(&lab, "0712345678", "sent")["about"], "ended");
}
