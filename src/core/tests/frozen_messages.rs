//! The messages' bytes, frozen (docs/protocol.md). **If this test fails, do not change the test**: routers and relays in the
//! field speak exactly this, and are updated at different times. A new field must be one that old readers may ignore, and
//! that new readers do without.
#![allow(clippy::unwrap_used)] // a test says what is wrong by stopping

use lango_core::message::{
    Down, DownBody, MAX_PAYLOAD, Malformed, Outcome, PaymentRequest, PaymentUpdate, REQUEST_FRESH_FOR, Reason, SIGNATURE_CONTEXT, Sealed,
    Up, UpBody, VERSION,
};
use lango_core::notice::{AccountNotice, End, Ended, Expiring};
use lango_core::time::Wall;
use lango_core::units::{Bytes, Kbps, Password, Seconds, Shillings};
use lango_core::voucher::{MOST_IN_A_MESSAGE, NewVouchers};

const ORDER: &str = "0kq3v9x1c7mzp2w8tdl5hb6ny4";

fn up(id: &str, seq: u64, body: UpBody) -> Up {
    Up { v: VERSION, id: id.parse().unwrap(), seq, body }
}

fn down(body: DownBody) -> Down {
    Down {
        v: VERSION,
        id: "5f0c6bd0a7f14f7b9e0d3c2b1a009988".parse().unwrap(),
        seq: 42,
        router: "kibera-7".parse().unwrap(),
        at: Wall(1_795_340_999_000),
        body,
    }
}

fn request(asked_at: Option<Wall>) -> UpBody {
    UpBody::PaymentRequest(PaymentRequest {
        order: ORDER.parse().unwrap(),
        package: "hour".parse().unwrap(),
        label: "1 hour".to_owned(),
        amount: Shillings(10),
        phone: "0712345678".parse().unwrap(),
        device: "02:00:5E:10:00:01".parse().unwrap(),
        asked_at,
    })
}

fn payment(outcome: Outcome) -> DownBody {
    DownBody::Payment(PaymentUpdate {
        order: ORDER.parse().unwrap(),
        package: "hour".parse().unwrap(),
        device: "02:00:5e:10:00:01".parse().unwrap(),
        phone: "254712345678".parse().unwrap(),
        outcome,
    })
}

#[test]
fn what_a_router_says() {
    for (message, topic, bytes) in [
        (
            up("hello-7", 7, UpBody::Hello { nonce: "3xk9".parse().unwrap(), version: "0.1.0".to_owned() }),
            "hello",
            r#"{"v":1,"id":"hello-7","seq":7,"type":"hello","nonce":"3xk9","version":"0.1.0"}"#,
        ),
        (
            up("pay-0kq3v9x1c7mzp2w8tdl5hb6ny4-1", 7, request(Some(Wall(1_795_340_997_500)))),
            "payment_request",
            concat!(
                r#"{"v":1,"id":"pay-0kq3v9x1c7mzp2w8tdl5hb6ny4-1","seq":7,"type":"payment_request","order":"0kq3v9x1c7mzp2w8tdl5hb6ny4","#,
                r#""package":"hour","label":"1 hour","amount":10,"phone":"254712345678","device":"02:00:5e:10:00:01","asked_at":1795340997500}"#
            ),
        ),
        (
            up("pay-0kq3v9x1c7mzp2w8tdl5hb6ny4-2", 8, request(None)),
            "payment_request",
            concat!(
                r#"{"v":1,"id":"pay-0kq3v9x1c7mzp2w8tdl5hb6ny4-2","seq":8,"type":"payment_request","order":"0kq3v9x1c7mzp2w8tdl5hb6ny4","#,
                r#""package":"hour","label":"1 hour","amount":10,"phone":"254712345678","device":"02:00:5e:10:00:01","asked_at":null}"#
            ),
        ),
        (
            up("ack-9", 9, UpBody::Ack { of: vec!["5f0c6bd0a7f14f7b9e0d3c2b1a009988".parse().unwrap(), "b".parse().unwrap()] }),
            "ack",
            r#"{"v":1,"id":"ack-9","seq":9,"type":"ack","of":["5f0c6bd0a7f14f7b9e0d3c2b1a009988","b"]}"#,
        ),
    ] {
        assert_eq!(String::from_utf8(message.to_json()).unwrap(), bytes);
        assert_eq!(Up::from_json(bytes.as_bytes()).unwrap(), message);
        assert_eq!(message.body.topic(), topic);
    }
}

fn account() -> AccountNotice {
    AccountNotice {
        username: "ab8bd7nu".parse().unwrap(),
        password: Password::new("k7m2p9").unwrap(),
        phone: Some("0712345678".parse().unwrap()),
        package: "hour".parse().unwrap(),
        label: "1 hour".to_owned(),
        seconds: Some(Seconds(3_600)),
        bytes: Some(Bytes(500_000_000)),
        down_kbps: Some(Kbps(5_000)),
        up_kbps: Some(Kbps(2_000)),
        devices: 1,
        order: Some(ORDER.parse().unwrap()),
        receipt: Some("NLJ7RT61SV".parse().unwrap()),
        language: Some("sw".parse().unwrap()),
        online: true,
    }
}

#[test]
fn what_a_router_says_of_accounts() {
    let bare = AccountNotice {
        phone: None,
        seconds: None,
        bytes: None,
        down_kbps: None,
        up_kbps: None,
        order: None,
        receipt: None,
        language: None,
        online: false,
        ..account()
    };
    let (username, phone) = (account().username, account().phone.unwrap());
    for (message, topic, bytes) in [
        (
            up("account-7", 7, UpBody::Account(account())),
            "account",
            concat!(
                r#"{"v":1,"id":"account-7","seq":7,"type":"account","username":"ab8bd7nu","password":"k7m2p9","phone":"254712345678","#,
                r#""package":"hour","label":"1 hour","seconds":3600,"bytes":500000000,"down_kbps":5000,"up_kbps":2000,"devices":1,"#,
                r#""order":"0kq3v9x1c7mzp2w8tdl5hb6ny4","receipt":"NLJ7RT61SV","language":"sw","online":true}"#
            ),
        ),
        (
            up("account-8", 8, UpBody::Account(bare)),
            "account",
            concat!(
                r#"{"v":1,"id":"account-8","seq":8,"type":"account","username":"ab8bd7nu","password":"k7m2p9","phone":null,"#,
                r#""package":"hour","label":"1 hour","seconds":null,"bytes":null,"down_kbps":null,"up_kbps":null,"devices":1,"#,
                r#""order":null,"receipt":null,"language":null,"online":false}"#
            ),
        ),
        (
            up(
                "expiring-9",
                9,
                UpBody::Expiring(Expiring { username: username.clone(), phone, seconds_left: Seconds(600), at: Wall(1_795_340_997_500) }),
            ),
            "expiring",
            r#"{"v":1,"id":"expiring-9","seq":9,"type":"expiring","username":"ab8bd7nu","phone":"254712345678","seconds_left":600,"at":1795340997500}"#,
        ),
        (
            up("ended-10", 10, UpBody::Ended(Ended { username: username.clone(), phone, by: End::Time, at: Wall(1_795_340_997_500) })),
            "ended",
            r#"{"v":1,"id":"ended-10","seq":10,"type":"ended","username":"ab8bd7nu","phone":"254712345678","by":"time","at":1795340997500}"#,
        ),
        (
            up("ended-11", 11, UpBody::Ended(Ended { username, phone, by: End::Data, at: Wall(1_795_340_997_500) })),
            "ended",
            r#"{"v":1,"id":"ended-11","seq":11,"type":"ended","username":"ab8bd7nu","phone":"254712345678","by":"data","at":1795340997500}"#,
        ),
    ] {
        assert_eq!(String::from_utf8(message.to_json()).unwrap(), bytes);
        assert_eq!(message.body.topic(), topic);
        assert_eq!(Up::from_json(bytes.as_bytes()).unwrap(), message);
        let shown = format!("{message:?}");
        assert!(!shown.contains("712345678") && !shown.contains("k7m2p9"), "{shown}");
    }
}

#[test]
fn what_the_relay_says() {
    const HEAD: &str = r#"{"v":1,"id":"5f0c6bd0a7f14f7b9e0d3c2b1a009988","seq":42,"router":"kibera-7","at":1795340999000,"type":"#;
    const PAYMENT: &str =
        r#""payment","order":"0kq3v9x1c7mzp2w8tdl5hb6ny4","package":"hour","device":"02:00:5e:10:00:01","phone":"254712345678","status":"#;
    let failed = |reason, name: &str| (payment(Outcome::Failed { reason }), "payment", format!(r#"{PAYMENT}"failed","reason":"{name}"}}"#));
    for (body, topic, tail) in [
        (DownBody::Welcome { nonce: "3xk9".parse().unwrap() }, "welcome", r#""welcome","nonce":"3xk9"}"#.to_owned()),
        (DownBody::Ack { of: vec!["hello-7".parse().unwrap()] }, "ack", r#""ack","of":["hello-7"]}"#.to_owned()),
        (DownBody::Stale { order: ORDER.parse().unwrap() }, "stale", r#""stale","order":"0kq3v9x1c7mzp2w8tdl5hb6ny4"}"#.to_owned()),
        (
            payment(Outcome::Paid { receipt: "NLJ7RT61SV".parse().unwrap(), amount: Shillings(10) }),
            "payment",
            format!(r#"{PAYMENT}"paid","receipt":"NLJ7RT61SV","amount":10}}"#),
        ),
        (
            DownBody::Vouchers(NewVouchers {
                batch: "k7m2p9".parse().unwrap(),
                package: "hour".parse().unwrap(),
                salt: "kibera-7".parse().unwrap(),
                expires: Some(Wall(1_826_876_999_000)),
                first: 1,
                hashes: vec!["00112233445566778899aabbccddeeff".parse().unwrap(), "ffeeddccbbaa99887766554433221100".parse().unwrap()],
            }),
            "vouchers",
            concat!(
                r#""vouchers","batch":"k7m2p9","package":"hour","salt":"kibera-7","expires":1826876999000,"first":1,"#,
                r#""hashes":["00112233445566778899aabbccddeeff","ffeeddccbbaa99887766554433221100"]}"#
            )
            .to_owned(),
        ),
        failed(Reason::Cancelled, "cancelled"),
        failed(Reason::WrongPin, "wrong_pin"),
        failed(Reason::InsufficientBalance, "insufficient_balance"),
        failed(Reason::NoResponse, "no_response"),
        failed(Reason::Limit, "limit"),
        failed(Reason::Busy, "busy"),
        failed(Reason::Other, "other"),
    ] {
        let message = down(body);
        let bytes = format!("{HEAD}{tail}");
        assert_eq!(message.to_json(), bytes);
        assert_eq!(message.body.topic(), topic);
        // In its envelope and out of it again.
        let sealed = message.seal(bytes, "c2lnbmF0dXJl".to_owned());
        let read = Sealed::from_json(&sealed.to_json()).unwrap();
        assert_eq!(read.open(&"kibera-7".parse().unwrap()).unwrap(), message);
    }
}

#[test]
fn the_envelope_and_what_is_signed() {
    let message = down(DownBody::Welcome { nonce: "3xk9".parse().unwrap() });
    let sealed = message.seal(message.to_json(), "c2lnbmF0dXJl".to_owned());
    let bytes = concat!(
        r#"{"v":1,"id":"5f0c6bd0a7f14f7b9e0d3c2b1a009988","seq":42,"signed":"{\"v\":1,\"id\":\"5f0c6bd0a7f14f7b9e0d3c2b1a009988\",\"seq\":42,"#,
        r#"\"router\":\"kibera-7\",\"at\":1795340999000,\"type\":\"welcome\",\"nonce\":\"3xk9\"}","signature":"c2lnbmF0dXJl"}"#
    );
    assert_eq!(String::from_utf8(sealed.to_json()).unwrap(), bytes);
    assert_eq!(SIGNATURE_CONTEXT, b"lango/v1/down\n");
    let signed = concat!(
        "lango/v1/down\n",
        r#"{"v":1,"id":"5f0c6bd0a7f14f7b9e0d3c2b1a009988","seq":42,"router":"kibera-7","at":1795340999000,"type":"welcome","nonce":"3xk9"}"#
    );
    assert_eq!(sealed.signed_bytes(), signed.as_bytes());
}

#[test]
fn the_numbers_that_both_sides_rely_on() {
    assert_eq!((VERSION, MAX_PAYLOAD, REQUEST_FRESH_FOR), (1, 16_384, 90_000));
}

/// The largest message of vouchers is far from the largest that is read.
#[test]
fn a_whole_message_of_vouchers_fits() {
    let hashes = vec!["00112233445566778899aabbccddeeff".parse().unwrap(); usize::from(MOST_IN_A_MESSAGE)];
    let name = "n".repeat(63);
    let new = NewVouchers {
        batch: "k7m2p9".parse().unwrap(),
        package: "p".repeat(32).parse().unwrap(),
        salt: name.parse().unwrap(),
        expires: Some(Wall(u64::MAX)),
        first: 64_000,
        hashes,
    };
    let message = Down { router: name.parse().unwrap(), ..down(DownBody::Vouchers(new)) };
    let sealed = message.seal(message.to_json(), "A".repeat(88));
    assert!(sealed.to_json().len() < MAX_PAYLOAD / 10 * 6, "{}", sealed.to_json().len());
}

/// What a later version adds must not make this one deaf.
#[test]
fn unknown_fields_are_left_alone() {
    let bytes = br#"{"v":1,"id":"hello-7","seq":7,"type":"hello","nonce":"3xk9","version":"0.9.0","battery":80}"#;
    assert_eq!(
        Up::from_json(bytes).unwrap(),
        up("hello-7", 7, UpBody::Hello { nonce: "3xk9".parse().unwrap(), version: "0.9.0".to_owned() })
    );
}

#[test]
fn what_is_no_message_is_refused() {
    for bytes in [
        "",
        "null",
        "[]",
        r#"{"v":1}"#,
        r#"{"v":1,"id":"hello-7","seq":7,"type":"order_pizza"}"#,
        r#"{"v":1,"id":"HELLO","seq":7,"type":"ack","of":[]}"#,
        r#"{"v":1,"id":"ack-1","seq":-7,"type":"ack","of":[]}"#,
        r#"{"v":1,"id":"ack-1","seq":7,"type":"ack"}"#,
        r#"{"v":1,"id":"ack-1","seq":7,"type":"ack","of":[]} and more"#,
    ] {
        assert!(matches!(Up::from_json(bytes.as_bytes()), Err(Malformed::Json(_))), "{bytes} was taken");
    }
    assert!(matches!(Up::from_json(br#"{"v":2,"anything":"else"}"#), Err(Malformed::Version(2))));
    assert!(matches!(Up::from_json(&[b' '; MAX_PAYLOAD + 1]), Err(Malformed::TooLarge(_))));
}

#[test]
fn an_envelope_that_says_other_than_what_was_signed_is_refused() {
    let message = down(DownBody::Ack { of: Vec::new() });
    let me = "kibera-7".parse().unwrap();
    let sealed = message.seal(message.to_json(), String::new());
    assert!(matches!(sealed.open(&"kibera-8".parse().unwrap()), Err(Malformed::Mismatch("router"))));
    let other_id = Sealed { id: "another".parse().unwrap(), ..sealed.clone() };
    assert!(matches!(other_id.open(&me), Err(Malformed::Mismatch("id"))));
    let other_seq = Sealed { seq: 43, ..sealed };
    assert!(matches!(other_seq.open(&me), Err(Malformed::Mismatch("seq"))));
}

/// A number in clear is needed on the wire; nothing else may show it.
#[test]
fn a_message_shows_no_phone_number_when_it_is_logged() {
    let shown = format!("{:?} {:?}", request(None), payment(Outcome::Failed { reason: Reason::Other }));
    assert!(!shown.contains("712345678"), "{shown}");
}
