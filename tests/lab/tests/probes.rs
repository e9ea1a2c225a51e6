//! Every system's own check, before and after payment: the redirect that makes it show the portal, then its maker's answer.

use lango_lab::Lab;
use lango_lab::checks::CHECKS;
use lango_lab::world::PORTAL;

#[test]
fn every_system_shows_the_portal_and_after_payment_finds_itself_online() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    let asks = |check: &lango_lab::checks::Check| {
        let answer = phone.http("GET", &format!("http://{}{}", check.host, check.target), &[], b"");
        answer.unwrap_or_else(|e| panic!("{}: {e:#}", check.system))
    };
    let portal = format!("{PORTAL}/");
    let page = format!("<!doctype html><title>Wi-Fi</title><a href=\"{portal}\">{portal}</a>\n");
    for check in CHECKS {
        let answer = asks(check);
        let seen = (answer.status, answer.header("location"), answer.header("cache-control"), answer.text());
        assert_eq!(seen, (302, Some(portal.as_str()), Some("no-store"), page.clone()), "{}", check.system);
    }
    assert_eq!(lab.internet().packets_from_customers().unwrap(), (0, 0), "nobody else was asked");

    let captive = phone.get("/captive-portal/api").value();
    assert_eq!((&captive["captive"], captive["user-portal-url"].as_str()), (&true.into(), Some(portal.as_str())));
    phone.await_paid(&phone.pay("hour", "0712345678"));
    for check in CHECKS {
        let answer = asks(check);
        assert_eq!((answer.status, answer.text().as_str()), (check.status, check.body), "{}", check.system);
    }
    let captive = phone.get("/captive-portal/api").value();
    assert!(captive["captive"] == false && captive["seconds-remaining"].as_u64().is_some_and(|left| (3_000..=3_600).contains(&left)));
    assert!(captive["bytes-remaining"].as_u64().is_some_and(|left| left < 5_000_000), "the checks were counted: {captive}");

    // Offline again, captive again.
    phone.post("/api/hotspot/logout", &serde_json::json!({}));
    assert!(CHECKS.iter().all(|check| asks(check).status == 302));
}
