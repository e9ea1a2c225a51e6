//! The bytes of stored RADIUS sessions, and of what accounting servers are to be told, frozen. **If this test fails, do not change the
//! test**: routers in the field have this in their flash.
#![allow(clippy::unwrap_used)] // a test says what is wrong by stopping

use lango_core::record::{Reader, Record};

const RECORDS: [(&str, &str); 10] = [
    (
        "radius/0kq3v9x1c7mz",
        r#"{"v":1,"record":"radius_session","value":{"id":"0kq3v9x1c7mz","device":"02:00:5e:10:00:02","account":"crc7ugrv","user":"crc7ugrv","boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","since":5400000,"base":{"up":10,"down":20},"state":{"is":"open"}}}"#,
    ),
    (
        "radius/0kq3v9x1c7mz",
        r#"{"v":1,"record":"radius_session","value":{"id":"0kq3v9x1c7mz","device":"02:00:5e:10:00:02","account":"~0kq3v9x1c7mz","user":"ann@isp","credential":{"password":"secret"},"class":[[1,255],[2]],"interim":60,"idle":600,"up":1000,"down":2000,"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","since":5400000,"base":{"up":0,"down":0},"state":{"is":"ending","cause":"idle_timeout","at":5500000,"at_wall":1795340999000}}}"#,
    ),
    (
        "radius/0kq3v9x1c7mz",
        r#"{"v":1,"record":"radius_session","value":{"id":"0kq3v9x1c7mz","device":"02:00:5e:10:00:02","account":"~0kq3v9x1c7mz","user":"02-00-5E-10-00-02","credential":"mac","boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","since":5400000,"base":{"up":0,"down":0},"state":{"is":"waiting"}}}"#,
    ),
    (
        "accounting/00000000000000000007",
        r#"{"v":1,"record":"accounting","value":{"seq":7,"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","at":5400000,"at_wall":null,"event":{"is":"on"}}}"#,
    ),
    (
        "accounting/00000000000000000008",
        r#"{"v":1,"record":"accounting","value":{"seq":8,"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","at":5400000,"at_wall":1795340999000,"event":{"is":"start","id":"0kq3v9x1c7mz","user":"ann@isp","device":"02:00:5e:10:00:02","addresses":["10.77.0.5","fd77::5"],"class":[[1,255]],"remote":true,"time":0,"traffic":{"up":0,"down":0}}}}"#,
    ),
    (
        "accounting/00000000000000000009",
        r#"{"v":1,"record":"accounting","value":{"seq":9,"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","at":5400000,"at_wall":null,"event":{"is":"stop","session":{"id":"0kq3v9x1c7mz","user":"ann@isp","device":"02:00:5e:10:00:02","addresses":[],"class":[],"remote":false,"time":3600,"traffic":{"up":1,"down":2}},"cause":"nas_reboot"}}}"#,
    ),
    (
        "accounting/00000000000000000010",
        r#"{"v":1,"record":"accounting","value":{"seq":10,"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","at":5400000,"at_wall":null,"event":{"is":"off","cause":"admin_reboot"}}}"#,
    ),
    (
        "accounting/00000000000000000011",
        r#"{"v":1,"record":"accounting","value":{"seq":11,"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","at":5400000,"at_wall":null,"event":{"is":"stop","session":{"id":"0kq3v9x1c7mz","user":"ann@isp","device":"02:00:5e:10:00:02","addresses":[],"class":[],"remote":true,"time":3600,"traffic":{"up":1,"down":2}},"cause":"user_request"}}}"#,
    ),
    (
        "accounting/00000000000000000012",
        r#"{"v":1,"record":"accounting","value":{"seq":12,"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","at":5400000,"at_wall":null,"refused":true,"event":{"is":"stop","session":{"id":"0kq3v9x1c7mz","user":"ann@isp","device":"02:00:5e:10:00:02","addresses":[],"class":[],"remote":false,"time":3600,"traffic":{"up":1,"down":2}},"cause":"nas_reboot"}}}"#,
    ),
    ("accounted_boot", r#"{"v":1,"record":"accounted_boot","value":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988"}"#),
];

#[test]
fn sessions_and_accounting_are_read_and_written_as_ever() {
    let mut reader = Reader::default();
    for (key, text) in RECORDS {
        for record in [Record::decode(key, text.as_bytes()).unwrap(), reader.read(key, text.as_bytes()).unwrap()] {
            assert_eq!(String::from_utf8(record.encode()).unwrap(), text);
            assert_eq!(record.key().0, key);
        }
    }
}
