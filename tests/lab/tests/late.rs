//! Money that comes when nobody waits for it any more: to a phone that is away, and to a router that has lost its memory.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::phone::Phone;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::{until, until_true};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_millis(300);

fn online(phone: &Phone) -> bool {
    phone.udp_echo((HOST4, ECHO).into(), SILENCE)
}

/// The router's row of the money that this number paid.
fn row(lab: &Lab, number: &str) -> Value {
    until("the money to arrive at the router", SOON, || {
        let receipt = lab.safaricom.last_prompt(number)?.paid?.receipt;
        let payments = lab.lango.payments().ok()?;
        payments.as_array()?.iter().find(|row| row["receipt"] == receipt.as_str()).cloned()
    })
    .unwrap()
}

#[test]
fn money_for_a_phone_that_left_waits_for_it() {
    let lab = Lab::start();
    lab.safaricom.everybody(Customer::manual());
    let (phone, other) = (lab.joined_phone(), lab.joined_phone());
    let payment = phone.pay("hour", "0712345678");
    lab.safaricom.await_prompt("0712345678", SOON).unwrap();
    phone.leave();
    // The kernel notices at the next question; a router's would, too, some time after.
    lab.world.router.ip(&["neigh", "flush", "dev", "br-lan"]).unwrap();
    lab.safaricom.answer("0712345678", Answer::Pays).unwrap();
    assert!(row(&lab, "0712345678")["username"].is_string());
    assert_eq!(lab.lango.sessions().unwrap().as_array().map(Vec::len), Some(0), "its time does not run without it");
    lab.lango.program.kill9();
    lab.lango.start().unwrap();
    phone.join();
    until_true("it to be online without a tap", SOON, || online(&phone)).unwrap();
    let session = phone.session().unwrap();
    assert!(session["seconds_remaining"].as_u64() >= Some(3_590), "{session}");
    assert_eq!(phone.payment(&payment)["status"], "paid");
    assert!(!online(&other));
    lab.money_is_service();
}

#[test]
fn a_router_that_lost_its_memory_serves_what_it_can_and_shows_the_rest() {
    let lab = Lab::start();
    lab.safaricom.everybody(Customer::manual());
    let (renamed, gone) = (lab.joined_phone(), lab.joined_phone());
    let payment = renamed.pay("day", "0712000001");
    gone.pay("hour", "0712000002");
    for number in ["0712000001", "0712000002"] {
        lab.safaricom.await_prompt(number, SOON).unwrap();
    }
    // Its flash is gone, and another price list is in force when the money comes.
    lab.lango.program.kill9();
    std::fs::remove_dir_all(lab.world.folder.join("store")).unwrap();
    lab.lango
        .configure(|config| {
            config.replace("config package 'day'", "config package 'whole_day'").replace("option price '10'", "option price '15'")
        })
        .unwrap();
    lab.lango.start().unwrap();
    lab.lango.await_payments().unwrap();
    for number in ["0712000001", "0712000002"] {
        lab.safaricom.answer(number, Answer::Pays).unwrap();
    }
    until_true("the first to be online: another package costs what it paid", SOON, || online(&renamed)).unwrap();
    assert_eq!(row(&lab, "0712000001")["package"], "whole_day");
    assert_eq!(renamed.payment(&payment)["status"], "paid", "and its page goes on");
    let waits = row(&lab, "0712000002");
    assert_eq!(
        (&waits["username"], &waits["unserved"]["why"], &waits["unserved"]["price"]),
        (&Value::Null, &"underpaid".into(), &15.into()),
        "{waits}"
    );
    assert!(!online(&gone));

    // The operator sees it, with what can be done.
    let receipt = waits["receipt"].as_str().unwrap();
    let told = lab.lango.command(&["payments"]).unwrap();
    for words in ["paid, NOT SERVED", &format!("{receipt}: too little: the package costs KSh 15"), "lango serve RECEIPT PACKAGE"] {
        assert!(told.contains(words), "no {words:?} in\n{told}");
    }
    assert_eq!(lab.lango.status().unwrap()["unserved"], 1);
    let refused = lab.lango.output(&["serve", receipt]).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(65) && said.contains(&format!("lango serve {receipt} PACKAGE")), "{said}");
    let told = lab.lango.command(&["serve", &receipt.to_lowercase(), "hour"]).unwrap();
    assert!(told.contains(&format!("{receipt} is served as hour")) && told.contains("is online"), "{told}");
    until_true("the second to be online", SOON, || online(&gone)).unwrap();
    for _ in 0..2 {
        let again = lab.lango.output(&["serve", receipt, "hour"]).unwrap();
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(again.status.code() == Some(65) && said.contains("is served already"), "{said}");
        lab.lango.program.kill9();
        lab.lango.start().unwrap();
    }
    assert_eq!(lab.lango.status().unwrap()["unserved"], 0);
    assert!(row(&lab, "0712000002")["served_at"].is_string());
    until_true("both to be online", SOON, || online(&gone) && online(&renamed)).unwrap();
    lab.money_is_service();
    let log = lab.lango.program.log();
    assert!(!log.contains("712000002") && !log.contains("password"), "the log tells too much");
}
