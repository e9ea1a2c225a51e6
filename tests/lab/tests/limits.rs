//! What was paid for ends sharply: at the byte and at the second, and open connections get a reset.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4, HOST6};
use lango_lab::lab::figure;
use lango_lab::wait::{until, until_true};
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// A packet passes while it still fits; with receive offloading a packet has up to 64 KiB.
const SUPER_PACKET: u64 = 65_536;

fn used(lab: &Lab) -> u64 {
    let accounts: serde_json::Value = serde_json::from_str(&lab.lango.command(&["accounts", "--json"]).unwrap()).unwrap();
    let list = accounts.as_array().or_else(|| accounts["accounts"].as_array()).unwrap();
    list.iter().map(|a| a["bytes_up"].as_u64().unwrap() + a["bytes_down"].as_u64().unwrap()).sum()
}

#[test]
fn the_data_ends_at_the_byte_with_the_daemon_alive_or_dead() {
    let lab = Lab::start();
    for dead in [false, true] {
        let phone = lab.joined_phone();
        let before = used(&lab);
        phone.await_paid(&phone.pay("hour", if dead { "0712000001" } else { "0712000002" }));
        if dead {
            lab.lango.program.kill9();
        }
        let got = phone.download(10_000_000, Duration::from_secs(3)).unwrap() as u64;
        assert!(got < 5_000_000 && got > 4_000_000, "{got} bytes came of 5 MB that were bought");
        assert!(
            !phone.tcp_echo((HOST4, ECHO).into(), Duration::from_millis(500))
                && !phone.udp_echo((HOST6, ECHO).into(), Duration::from_millis(500))
        );
        if dead {
            lab.lango.start().unwrap();
        }
        until_true("the session's end", SOON, || phone.session().is_none()).unwrap();
        let counted = used(&lab) - before;
        figure(&format!("5 MB, daemon {}: {got} bytes of payload came, {counted} bytes were counted", if dead { "dead" } else { "alive" }));
        assert!((5_000_000 - SUPER_PACKET..=5_000_000).contains(&counted), "{counted} bytes were counted of 5 MB");
    }
    lab.money_is_service();
}

#[test]
fn a_package_without_limits_goes_on_until_the_operator_ends_it() {
    let lab = Lab::selling("config package 'always'\n\toption label 'Always'\n\toption price '1000'\n\toption devices '2'\n");
    let check = lab.lango.command(&["check"]).unwrap();
    assert!(check.contains("package 'always' never ends") && check.contains(": in order. "), "{check}");
    let phone = lab.joined_phone();
    let listed = &phone.get("/api/packages").value()["packages"][0];
    assert!(listed["minutes"].is_null() && listed["megabytes"].is_null(), "{listed}");
    for (language, words) in [("en", "No limit"), ("sw", "Bila kikomo")] {
        assert_eq!(phone.get(&format!("/?all=1&lang={language}")).text().matches(words).count(), 2, "time and data, {language}");
    }
    phone.await_paid(&phone.pay("always", "0712345678"));
    let session = phone.session().unwrap();
    assert!(session["seconds_remaining"].is_null() && session["bytes_remaining"].is_null(), "{session}");
    let state = phone.get("/captive-portal/api").value();
    assert_eq!(state["captive"], false);
    assert!(state.get("seconds-remaining").is_none() && state.get("bytes-remaining").is_none(), "{state}");
    for (language, words) in [("en", "No limit"), ("sw", "Bila kikomo")] {
        assert_eq!(phone.get(&format!("/account?lang={language}")).text().matches(words).count(), 2, "time and data, {language}");
    }
    assert_eq!(phone.download(7_000_000, SOON).unwrap(), 7_000_000);
    lab.lango.program.kill9();
    assert!(phone.tcp_echo((HOST4, ECHO).into(), SOON), "the kernel holds it by itself");
    lab.lango.start().unwrap();
    assert!(phone.tcp_echo((HOST6, ECHO).into(), SOON));
    lab.lango.command(&["kick", &phone.mac]).unwrap();
    until_true("the phone's session to end", SOON, || phone.session().is_none()).unwrap();
    assert!(!phone.tcp_echo((HOST4, ECHO).into(), Duration::from_millis(500)));
    lab.money_is_service();
}

#[test]
fn open_connections_get_a_reset_each_way() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    for host in [std::net::IpAddr::V4(HOST4), std::net::IpAddr::V6(HOST6)] {
        let mut stream = phone.connect((host, ECHO).into(), SOON).unwrap();
        let mut answer = [0; 5];
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut answer).unwrap();
        lab.lango.command(&["kick", &phone.mac]).unwrap();
        until("the phone's session to end", SOON, || phone.session().is_none().then_some(())).unwrap();
        let error = stream.write_all(b"hello").and_then(|()| stream.read_exact(&mut answer)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{host}: {error}");
        lab.lango.command(&["grant", &phone.mac, "day"]).unwrap();
        assert!(phone.tcp_echo((host, ECHO).into(), SOON), "the operator's grant opens it again");
    }
}

#[test]
fn what_is_bought_again_is_added() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("hour", "0712345678"));
    assert_eq!(phone.download(2_000_000, SOON).unwrap(), 2_000_000);
    phone.await_paid(&phone.pay("hour", "0712345678"));
    // The kernel's counters are read for a page now and then: what was used shows a moment later.
    let shown = until("what was used to show", SOON, || phone.session().filter(|s| s["bytes_down"].as_u64() >= Some(2_000_000)));
    let session = shown.unwrap_or_else(|e| panic!("{e}: {:?}", phone.session()));
    let (seconds, bytes) = (session["seconds_remaining"].as_u64().unwrap(), session["bytes_remaining"].as_u64().unwrap());
    assert!((7_100..=7_200).contains(&seconds), "{session}");
    assert!((7_500_000..=8_000_000).contains(&bytes), "{session}");
    assert_eq!(phone.download(6_000_000, SOON).unwrap(), 6_000_000);
    lab.money_is_service();
}
