//! The bytes of the ledger's entries, and of what is kept for outages, frozen. **If this test fails, do not change the test**: routers
//! in the field have this in their flash.
#![allow(clippy::unwrap_used)] // a test says what is wrong by stopping

use lango_core::ledger::Unserved;
use lango_core::record::{Reader, Record};
use lango_core::units::Shillings;

/// Written before it was kept which purchase it bought.
const SERVED: &str = r#"{"v":1,"record":"ledger","value":{"receipt":"NLJ7RT61SV","order":"0kq3v9x1c7mzp2w8tdl5hb6ny4","phone":"254712345678","package":"hour","amount":10,"at":1795340999000,"account":"ab8bd7nu"}}"#;
/// Written before reasons were kept.
const WAITS_AS_EVER: &str = r#"{"v":1,"record":"ledger","value":{"receipt":"NLJ7RT61SV","order":"0kq3v9x1c7mzp2w8tdl5hb6ny4","phone":"254712345678","package":"gone","amount":10,"at":null,"account":null}}"#;
const WAITS: &str = r#"{"v":1,"record":"ledger","value":{"receipt":"NLJ7RT61SV","order":"0kq3v9x1c7mzp2w8tdl5hb6ny4","phone":"254712345678","package":"hour","amount":9,"at":null,"account":null,"waited":{"why":{"why":"underpaid","price":10},"device":"02:00:5e:10:00:01"}}}"#;
const SERVED_LATER: &str = r#"{"v":1,"record":"ledger","value":{"receipt":"NLJ7RT61SV","order":"0kq3v9x1c7mzp2w8tdl5hb6ny4","phone":"254712345678","package":"gone","amount":9,"at":null,"account":"ab8bd7nu","waited":{"why":{"why":"no_package"},"device":null,"served_at":1795340999000,"served_as":"hour"}}}"#;
const SECOND_PURCHASE: &str = r#"{"v":1,"record":"ledger","value":{"receipt":"NLJ7RT61SV","order":"0kq3v9x1c7mzp2w8tdl5hb6ny4","phone":"254712345678","package":"hour","amount":10,"at":1795340999000,"account":"ab8bd7nu","purchase":2}}"#;
/// Written before it was kept who gave up waiting.
const ORDER: &str = r#"{"v":1,"record":"order","value":{"id":"0kq3v9x1c7mzp2w8tdl5hb6ny4","device":"02:00:5e:10:00:01","phone":"254712345678","package":{"id":"hour","label":"1 hour","price":10,"limits":{"time":3600000,"data":null,"down":null,"up":null,"devices":1}},"created":1795340999000,"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","since":5000,"attempt":1,"language":"sw","state":{"is":"expired"}}}"#;
const GIVEN_UP: &str = r#"{"v":1,"record":"order","value":{"id":"0kq3v9x1c7mzp2w8tdl5hb6ny4","device":"02:00:5e:10:00:01","phone":"254712345678","package":{"id":"hour","label":"1 hour","price":10,"limits":{"time":3600000,"data":null,"down":null,"up":null,"devices":1}},"created":1795340999000,"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","since":5000,"attempt":1,"state":{"is":"expired"},"given_up":true}}"#;
const TRUE_TIME: &str =
    r#"{"v":1,"record":"true_time","value":{"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","at":5000,"wall":1795340999000,"slack":40}}"#;
const OWED: &str = r#"{"v":1,"record":"owed","value":{"username":"ab8bd7nu","since":1795340999000,"less":0,"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","until":5000,"bought":3600000}}"#;

#[test]
fn money_and_outages_are_read_and_written_as_ever() {
    let mut reader = Reader::default();
    for (text, key) in [
        (SERVED, "ledger/NLJ7RT61SV"),
        (WAITS_AS_EVER, "ledger/NLJ7RT61SV"),
        (WAITS, "ledger/NLJ7RT61SV"),
        (SERVED_LATER, "ledger/NLJ7RT61SV"),
        (SECOND_PURCHASE, "ledger/NLJ7RT61SV"),
        (ORDER, "order/0kq3v9x1c7mzp2w8tdl5hb6ny4"),
        (GIVEN_UP, "order/0kq3v9x1c7mzp2w8tdl5hb6ny4"),
        (TRUE_TIME, "true_time"),
        (OWED, "owed/ab8bd7nu"),
    ] {
        let record = reader.read(key, text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(record.encode()).unwrap(), text);
        assert_eq!(record.key().0, key);
    }
}

#[test]
fn what_waits_has_a_reason_and_what_is_served_has_none() {
    for (text, why) in [
        (SERVED, None),
        (WAITS_AS_EVER, Some(Unserved::NoPackage)),
        (WAITS, Some(Unserved::Underpaid { price: Shillings(10) })),
        (SERVED_LATER, None),
    ] {
        let Record::Ledger(entry) = Record::decode("a", text.as_bytes()).unwrap() else { panic!("{text}") };
        assert_eq!(entry.unserved(), why);
    }
}

#[test]
fn an_order_of_old_was_not_given_up() {
    for (text, given_up) in [(ORDER, false), (GIVEN_UP, true)] {
        let Record::Order(order) = Record::decode("a", text.as_bytes()).unwrap() else { panic!("{text}") };
        assert_eq!(order.given_up, given_up);
    }
}
