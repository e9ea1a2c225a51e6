//! Credentials that were bought at one router, as a second one asks for them: router, relay and FreeRADIUS as they are shipped, money by
//! the simulated Safaricom, and FreeRADIUS's own client in the second router's place.

use lango_lab::freeradius::{Answer, FreeRadius};
use lango_lab::router::PACKAGES;
use lango_lab::wait::until_true;
use lango_lab::{Lab, phone::Phone};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(20);
const ONE: &str = "02-00-5E-00-00-01";
const TWO: &str = "02-00-5E-00-00-02";

fn buy(lab: &Lab, phone: &Phone) -> (String, String) {
    let paid = phone.await_paid(&phone.pay("hour", "0712345678"));
    let text = |key: &str| paid[key].as_str().unwrap_or_else(|| panic!("no {key}: {paid}")).to_owned();
    until_true("the relay to acknowledge the purchase", SOON, || lab.lango.status().is_ok_and(|status| status["outbox"] == 0))
        .unwrap_or_else(|e| panic!("{e:#}\n{}", lab.relay.program.tail(30)));
    (text("username"), text("password"))
}

/// As the second router asks.
fn login(radius: &FreeRadius, (username, password): &(String, String), device: &str) -> Answer {
    radius.login(&format!("User-Name={username},User-Password={password},Calling-Station-Id={device},NAS-Identifier=kibera-8"))
}

/// As the second router tells.
fn session(radius: &FreeRadius, username: &str, state: &str, seconds: u64, bytes: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    radius.account(&format!(
        "User-Name={username},Acct-Session-Id=1,Acct-Status-Type={state},Calling-Station-Id={ONE},NAS-Identifier=kibera-8,\
         NAS-IP-Address=10.77.0.1,Acct-Session-Time={seconds},Acct-Input-Octets={bytes},Acct-Output-Octets=0,Event-Timestamp={now}"
    ));
}

fn told<'a>(answer: &'a Answer, names: &[&str]) -> Vec<Option<&'a str>> {
    names.iter().map(|name| answer.get(name)).collect()
}

#[test]
fn what_was_bought_at_one_router_is_had_at_the_next_with_what_is_left() {
    let (lab, radius) = Lab::roaming(PACKAGES);
    let phone = lab.joined_phone();
    let credentials = buy(&lab, &phone);
    let limits = ["Session-Timeout", "Mikrotik-Total-Limit", "ChilliSpot-Max-Total-Octets", "Acct-Interim-Interval"];
    let fresh = login(&radius, &credentials, ONE);
    assert_eq!(fresh.code, "Access-Accept", "{fresh:?}");
    assert_eq!(told(&fresh, &limits), [Some("3600"), Some("5000000"), Some("5000000"), Some("300")]);

    let username = credentials.0.clone();
    session(&radius, &username, "Start", 0, 0);
    session(&radius, &username, "Interim-Update", 600, 1_000_000);
    let refused = login(&radius, &credentials, TWO);
    assert!(refused.code == "Access-Reject" && refused.get("Reply-Message").is_some_and(|why| why.contains("devices")), "{refused:?}");
    session(&radius, &username, "Stop", 1_200, 5_000_000);
    let empty = login(&radius, &credentials, TWO);
    assert!(empty.code == "Access-Reject" && empty.get("Reply-Message").is_some_and(|why| why.contains("data")), "{empty:?}");

    // The database is away while more is bought: online at once all the same, and there when it is back.
    let file = radius.folder.join("radius.db");
    let hidden = radius.folder.join("hidden.db");
    radius.stop().unwrap();
    lab.relay.program.terminate().unwrap();
    std::fs::rename(&file, &hidden).unwrap();
    lab.relay.start().unwrap();
    lab.lango.await_payments().unwrap();
    let paid = phone.await_paid(&phone.pay("hour", "0712345678"));
    assert_eq!(paid["username"], *username, "the same account");
    until_true("the relay to say that it waits", SOON, || lab.relay.program.log().contains("radius: what was bought waits")).unwrap();
    assert_ne!(lab.lango.status().unwrap()["outbox"], 0);
    std::fs::rename(&hidden, &file).unwrap();
    radius.start().unwrap();
    until_true("the purchase to be written", SOON, || lab.lango.status().is_ok_and(|status| status["outbox"] == 0))
        .unwrap_or_else(|e| panic!("{e:#}\n{}", lab.relay.program.tail(30)));
    let more = login(&radius, &credentials, TWO);
    assert_eq!((&*more.code, told(&more, &limits[..2])), ("Access-Accept", vec![Some("6000"), Some("5000000")]), "{more:?}");

    let list: Value = serde_json::from_str(&lab.relay.command(&["radius", "list", "--json"]).unwrap()).unwrap();
    let account = &list["accounts"][0];
    assert_eq!(
        (&account["username"], &account["seconds_used"], &account["bytes_used"]),
        (&Value::from(username), &1_200.into(), &5_000_000.into()),
        "{list}"
    );
    let log = lab.relay.program.log();
    assert!(!log.contains(&credentials.1), "{log}");
    lab.money_is_service();
}
