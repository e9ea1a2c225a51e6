//! Vouchers and shared accounts, with the real programs: made here and in the cloud, redeemed without it, once, whatever is killed.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::lab::figure;
use lango_lab::phone::Phone;
use lango_lab::wait::{until, until_true};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_millis(300);

const PACKAGES: &str = "
config package 'hour'
	option label '1 hour'
	option price '10'
	option minutes '60'

config package 'pair'
	option label '1 hour for two'
	option price '15'
	option minutes '60'
	option devices '2'
";

fn codes(printed: &str) -> Vec<String> {
    let batch: Value = serde_json::from_str(printed).unwrap_or_else(|e| panic!("{e}: {printed}"));
    batch["vouchers"].as_array().unwrap().iter().map(|voucher| voucher["code"].as_str().unwrap().to_owned()).collect()
}

fn make(lab: &Lab, package: &str, count: &str) -> Vec<String> {
    codes(&lab.lango.command(&["vouchers", "create", package, count, "--json"]).unwrap_or_else(|e| panic!("{e:#}")))
}

fn list(lab: &Lab) -> Vec<Value> {
    let printed = lab.lango.command(&["vouchers", "list", "--json"]).unwrap_or_else(|e| panic!("{e:#}"));
    serde_json::from_str(&printed).unwrap()
}

fn redeem(phone: &Phone, code: &str) -> (u16, Value) {
    let answer = phone.post("/api/vouchers/redeem", &json!({"code": code}));
    (answer.status, answer.value())
}

fn online(phone: &Phone) -> bool {
    phone.udp_echo((HOST4, ECHO).into(), SILENCE)
}

/// Whether any file below a folder holds a text.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return holds(&path, text);
        }
        std::fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn a_voucher_made_on_the_router_is_an_hour_without_any_cloud() {
    let lab = Lab::selling(PACKAGES);
    lab.relay.program.kill9();
    lab.broker.program.kill9();
    let (alice, bob) = (lab.joined_phone(), lab.joined_phone());
    let all = make(&lab, "hour", "4");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4);
    assert!(!online(&alice) && !online(&bob), "a voucher alone opens nothing");

    // As it is typed on a phone, in the form that works without script.
    let typed = format!("code={}", all[0].to_lowercase().replace('-', "+"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = alice.http("POST", &format!("{}/voucher", lango_lab::world::PORTAL), &form, typed.as_bytes()).unwrap();
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert!(alice.udp_echo((HOST4, ECHO).into(), SOON));
    let page = alice.get("/account").text();
    let username = alice.session().unwrap()["username"].as_str().unwrap().to_owned();
    assert!(page.contains(&username) && page.contains("class=\"keys\""), "the credentials are shown: {page}");

    for (phone, code, status, told) in [
        (&bob, all[0].as_str(), 409, "voucher_used"),
        (&bob, "ABCD-EFGH-JKMN", 404, "unknown_voucher"),
        (&bob, "nonsense", 404, "unknown_voucher"),
    ] {
        let (got, value) = redeem(phone, code);
        assert_eq!((got, value["error"]["code"].as_str()), (status, Some(told)), "{code}");
    }
    assert!(!online(&bob));
    // A second one extends the account.
    let (status, value) = redeem(&alice, &all[1]);
    assert_eq!((status, value["session"]["username"].as_str()), (200, Some(username.as_str())), "{value}");
    let left = value["session"]["seconds_remaining"].as_u64().unwrap();
    assert!((7_100..=7_200).contains(&left), "{left}");

    let third = list(&lab).iter().find(|voucher| voucher["number"] == 3).unwrap().clone();
    let name = format!("{}/3", third["batch"].as_str().unwrap());
    lab.lango.command(&["vouchers", "revoke", &name]).unwrap();
    assert_eq!(redeem(&bob, &all[2]).1["error"]["code"], "voucher_revoked");
    lab.lango.program.kill9();
    lab.lango.start().unwrap();
    assert_eq!(redeem(&bob, &all[0]).0, 409, "used is used after a kill, too");
    let states: Vec<Value> = list(&lab).into_iter().map(|voucher| voucher["status"].clone()).collect();
    assert_eq!(states, ["used", "used", "revoked", "unused"]);
    assert_eq!(redeem(&bob, &all[3]).0, 200);
    assert!(bob.udp_echo((HOST4, ECHO).into(), SOON));

    let table = lab.lango.command(&["vouchers", "list"]).unwrap();
    let paper = lab.lango.command(&["vouchers", "create", "pair", "2"]).unwrap();
    assert!(paper.contains("1 hour for two, KSh 15") && paper.matches("No. ").count() == 2, "{paper}");
    for code in &all {
        let plain = code.replace('-', "");
        assert!(!table.contains(code) && !lab.lango.program.log().contains(code), "a code is shown");
        assert!(!holds(&lab.world.folder.join("store"), code) && !holds(&lab.world.folder.join("store"), &plain), "a code is in the store");
    }
}

#[test]
fn a_voucher_is_redeemed_once_however_the_router_is_killed_meanwhile() {
    let lab = Lab::selling(PACKAGES);
    let phone = lab.joined_phone();
    let all = make(&lab, "hour", "8");
    let mut before = 0;
    for (round, code) in (0u64..).zip(&all) {
        // The kill comes a little later each time: before, within and after what the request does.
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| phone.try_portal("POST", "/api/vouchers/redeem", Some(&json!({"code": code}))));
            std::thread::sleep(Duration::from_millis(round * 4)); // what is varied, not a wait
            lab.lango.program.kill9();
            let _cut_off_or_answered = asked.join();
        });
        lab.lango.start().unwrap();
        let (status, value) = redeem(&phone, code);
        assert!(status == 200 || value["error"]["code"] == "voucher_used", "{value}");
        before += usize::from(status != 200);
        let expected = (round + 1) * 3_600;
        let left = phone.session().unwrap_or_else(|| panic!("voucher {round} is used, and nobody is online"))["seconds_remaining"]
            .as_u64()
            .unwrap();
        assert!((expected - 120..=expected).contains(&left), "after {} vouchers {left} s are left", round + 1);
        assert!(phone.udp_echo((HOST4, ECHO).into(), SOON));
    }
    assert!(list(&lab).iter().all(|voucher| voucher["status"] == "used"));
    figure(&format!("{before} of {} vouchers were used before the kill, the others only when asked again", all.len()));
}

#[test]
fn vouchers_made_in_the_cloud_are_good_at_their_router() {
    let lab = Lab::selling(PACKAGES);
    let phone = lab.joined_phone();
    let made = codes(&lab.relay.command(&["vouchers", "create", "kibera-7", "hour", "250", "--json"]).unwrap());
    assert_eq!(made.len(), 250);
    until("the router to have them all", SOON, || (list(&lab).len() == 250).then_some(())).unwrap();
    // What was pushed needs no cloud any more.
    lab.relay.program.kill9();
    lab.broker.program.kill9();
    assert_eq!(redeem(&phone, &made[249]).0, 200);
    assert!(phone.udp_echo((HOST4, ECHO).into(), SOON));
    assert_eq!(redeem(&phone, &made[249]).0, 409);
    // Made while the router is away: it gets them when it is back.
    lab.broker.start().unwrap();
    lab.relay.start().unwrap();
    lab.lango.program.kill9();
    let later = codes(&lab.relay.command(&["vouchers", "create", "kibera-7", "hour", "1", "--json"]).unwrap());
    lab.lango.start().unwrap();
    until_true("the router to have that one, too", SOON, || list(&lab).len() == 251).unwrap();
    assert_eq!(redeem(&phone, &later[0]).0, 200);
    let used = list(&lab).iter().filter(|voucher| voucher["status"] == "used").count();
    assert_eq!(used, 2);
}

#[test]
fn a_third_device_takes_the_place_of_the_one_seen_longest_ago() {
    let lab = Lab::selling(PACKAGES);
    let (alice, bob, carol) = (lab.joined_phone(), lab.joined_phone(), lab.joined_phone());
    let code = make(&lab, "pair", "1").remove(0);
    let (_, value) = redeem(&alice, &code);
    let (username, password) = (value["session"]["username"].clone(), value["password"].clone());
    let login = |phone: &Phone, replace: bool| {
        let answer = phone.post("/api/hotspot/login", &json!({"username": username, "password": password, "replace": replace}));
        (answer.status, answer.value())
    };
    assert_eq!(login(&bob, false).0, 200);
    let refused = login(&carol, false);
    assert_eq!((refused.0, refused.1["error"]["code"].as_str()), (403, Some("device_limit")));
    // Alice's phone leaves; Bob's is in use.
    alice.leave();
    assert!(bob.udp_echo((HOST4, ECHO).into(), SOON));
    until_true("the router to see that it is gone, or Bob used it since", SOON, || {
        bob.session().is_some_and(|session| session["bytes_up"].as_u64() > Some(0)) && online(&bob)
    })
    .unwrap();
    assert_eq!(login(&carol, true).0, 200);
    assert!(carol.udp_echo((HOST4, ECHO).into(), SOON) && online(&bob));
    let devices = bob.get("/api/hotspot/devices").value();
    let macs: BTreeSet<&str> = devices["devices"].as_array().unwrap().iter().map(|device| device["device"].as_str().unwrap()).collect();
    assert_eq!(macs, [bob.mac.as_str(), carol.mac.as_str()].into(), "{devices}");
    // Bob logs Carol's phone out; her own comes back with the credentials.
    let out = bob.post("/api/hotspot/devices/logout", &json!({"device": carol.mac}));
    assert_eq!(out.status, 200, "{}", out.text());
    assert!(carol.session().is_none() && !online(&carol) && online(&bob));
    assert_eq!(login(&carol, false).0, 200);
}
