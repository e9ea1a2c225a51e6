//! The bytes of stored vouchers, and of what tells when a thing may be forgotten, frozen. **If this test fails, do not change
//! the test**: routers in the field have this in their flash.
#![allow(clippy::unwrap_used)] // a test says what is wrong by stopping

use lango_core::message::{Down, DownBody, Up, UpBody, VERSION, VouchersRevoked};
use lango_core::record::{Reader, Record};
use lango_core::time::Wall;

const RECORDS: [(&str, &str); 9] = [
    (
        "batch/k7m2p9",
        r#"{"v":1,"record":"batch","value":{"id":"k7m2p9","package":"hour","offer":{"id":"hour","label":"1 hour","price":10,"limits":{"time":3600000,"data":null,"down":5000,"up":2000,"devices":1}},"salt":"kibera-7","made":1795340999000,"expires":1826876999000,"parts":[1,201]}}"#,
    ),
    (
        "batch/aaaaaa",
        r#"{"v":1,"record":"batch","value":{"id":"aaaaaa","package":"gone","offer":null,"salt":"kibera-7","made":null,"expires":null,"parts":[1],"idle_since":20779}}"#,
    ),
    (
        "voucher/00112233445566778899aabbccddeeff",
        r#"{"v":1,"record":"voucher","value":{"hash":"00112233445566778899aabbccddeeff","batch":"k7m2p9","number":17,"state":{"is":"unused"}}}"#,
    ),
    (
        "voucher/00112233445566778899aabbccddeeff",
        r#"{"v":1,"record":"voucher","value":{"hash":"00112233445566778899aabbccddeeff","batch":"k7m2p9","number":17,"state":{"is":"used","at":1795340999000,"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","since":5400000,"account":"crc7ugrv","device":"02:00:5e:10:00:02"},"idle_since":20779}}"#,
    ),
    (
        "voucher/ffeeddccbbaa99887766554433221100",
        r#"{"v":1,"record":"voucher","value":{"hash":"ffeeddccbbaa99887766554433221100","batch":"k7m2p9","number":18,"state":{"is":"revoked","at":null}}}"#,
    ),
    ("counters", r#"{"v":1,"record":"counters","value":{"next_gate":7,"next_seq":9}}"#),
    ("counters", r#"{"v":1,"record":"counters","value":{"next_gate":7,"next_seq":9,"forgotten_until":20779}}"#),
    ("device/02:00:5e:10:00:02", r#"{"v":1,"record":"device","value":{"mac":"02:00:5e:10:00:02","account":"crc7ugrv","waiting":true}}"#),
    (
        "device/02:00:5e:10:00:02",
        r#"{"v":1,"record":"device","value":{"mac":"02:00:5e:10:00:02","account":null,"waiting":false,"idle_since":20779}}"#,
    ),
];

#[test]
fn vouchers_are_read_and_written_as_ever() {
    let mut reader = Reader::default();
    for (key, text) in RECORDS {
        for record in [Record::decode(key, text.as_bytes()).unwrap(), reader.read(key, text.as_bytes()).unwrap()] {
            assert_eq!(String::from_utf8(record.encode()).unwrap(), text);
            assert_eq!(record.key().0, key);
        }
    }
}

#[test]
fn vouchers_are_revoked_by_the_relay() {
    for (which, tail) in [("k7m2p9", r#""batch":"k7m2p9","number":null}"#), ("k7m2p9/17", r#""batch":"k7m2p9","number":17}"#)] {
        let message = Down {
            v: VERSION,
            id: "5f0c6bd0a7f14f7b9e0d3c2b1a009988".parse().unwrap(),
            seq: 42,
            router: "kibera-7".parse().unwrap(),
            at: Wall(1_795_340_999_000),
            body: DownBody::RevokeVouchers(which.parse().unwrap()),
        };
        let bytes = format!(
            "{}{tail}",
            r#"{"v":1,"id":"5f0c6bd0a7f14f7b9e0d3c2b1a009988","seq":42,"router":"kibera-7","at":1795340999000,"type":"revoke_vouchers","#
        );
        assert_eq!(message.to_json(), bytes);
        assert_eq!(message.body.topic(), "revoke_vouchers");
        assert_eq!(message.seal(bytes, String::new()).open(&"kibera-7".parse().unwrap()).unwrap(), message);
    }
    let body = UpBody::VouchersRevoked(VouchersRevoked { of: "5f0c6bd0a7f14f7b9e0d3c2b1a009988".parse().unwrap(), revoked: 17, used: 3 });
    assert_eq!(body.topic(), "vouchers_revoked");
    let up = Up { v: VERSION, id: "vouchers-revoked-5-1".parse().unwrap(), seq: 7, body };
    let bytes = concat!(
        r#"{"v":1,"id":"vouchers-revoked-5-1","seq":7,"type":"vouchers_revoked","of":"5f0c6bd0a7f14f7b9e0d3c2b1a009988","#,
        r#""revoked":17,"used":3}"#
    );
    assert_eq!(String::from_utf8(up.to_json()).unwrap(), bytes);
    assert_eq!(Up::from_json(bytes.as_bytes()).unwrap(), up);
}
