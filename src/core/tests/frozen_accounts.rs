//! The bytes of stored accounts and of the checkpoint of their clocks, frozen. **If this test fails, do not change the test**: routers in the field have this in
//! their flash.
#![allow(clippy::unwrap_used)] // a test says what is wrong by stopping

use lango_core::record::{Reader, Record};

const IDLE: &str = r#"{"v":1,"record":"account","value":{"username":"ab8bd7nu","password":"secret","id":7,"phone":null,"package":"day","purchases":[],"clock":{"is":"unlimited"},"traffic":{},"data_start":0,"online":{}}}"#;

const ONLINE: &str = r#"{"v":1,"record":"account","value":{"username":"crc7ugrv","password":"secret","id":8,"phone":"254712345678","package":"day","purchases":[{"package":"hour","limits":{"time":3600000,"data":null,"down":5000,"up":2000,"devices":2}},{"package":"day","limits":{"time":86400000,"data":500000000,"down":null,"up":null,"devices":2}}],"clock":{"is":"running","boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","ends":9000000,"as_of":5400000},"traffic":{"02:00:5e:10:00:01":{"up":17,"down":3},"02:00:5e:10:00:02":{"up":0,"down":9},"0a:00:00:00:00:01":{"up":1,"down":0}},"data_start":12,"online":{"02:00:5e:10:00:02":{"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","since":5000000,"since_wall":null},"0a:00:00:00:00:01":{"boot":"","since":1,"since_wall":1795340990000}}}}"#;

/// What stands there of earlier programs, which noted a moment by the wall clock that none ever read. They read an account without it as well.
const ONLINE_OF_OLD: &str = r#"{"v":1,"record":"account","value":{"username":"crc7ugrv","password":"secret","id":8,"phone":"254712345678","package":"day","purchases":[{"package":"hour","limits":{"time":3600000,"data":null,"down":5000,"up":2000,"devices":2}},{"package":"day","limits":{"time":86400000,"data":500000000,"down":null,"up":null,"devices":2}}],"clock":{"is":"running","boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","ends":9000000,"as_of":5400000,"as_of_wall":1795340999000},"traffic":{"02:00:5e:10:00:01":{"up":17,"down":3},"02:00:5e:10:00:02":{"up":0,"down":9},"0a:00:00:00:00:01":{"up":1,"down":0}},"data_start":12,"online":{"02:00:5e:10:00:02":{"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","since":5000000,"since_wall":null},"0a:00:00:00:00:01":{"boot":"","since":1,"since_wall":1795340990000}}}}"#;

const CHECKPOINT: &str = r#"{"v":1,"record":"checkpoint","value":{"boot":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988","at":5460000}}"#;

/// With the sum of what many devices used, and more of them since.
const MANY: &str = r#"{"v":1,"record":"account","value":{"username":"ab8bd7nu","password":"secret","id":7,"phone":null,"package":"day","purchases":[],"clock":{"is":"unlimited"},"traffic":{"00:00:5e:00:53:00":{"up":100,"down":200},"02:00:5e:10:00:01":{"up":1,"down":0}},"data_start":0,"online":{},"counted_in":"3f0c6bd0-a7f1-4f7b-9e0d-3c2b1a009988"}}"#;

/// Of whose purchases three were used up.
const USED_UP: &str = r#"{"v":1,"record":"account","value":{"username":"ab8bd7nu","password":"secret","id":7,"phone":null,"package":"day","purchases":[],"taken_away":3,"clock":{"is":"unlimited"},"traffic":{},"data_start":0,"online":{}}}"#;

#[test]
fn accounts_are_read_and_written_as_ever() {
    let mut reader = Reader::default();
    for text in [IDLE, ONLINE, ONLINE, CHECKPOINT, MANY, USED_UP] {
        for record in [Record::decode("account/a", text.as_bytes()).unwrap(), reader.read("account/a", text.as_bytes()).unwrap()] {
            assert_eq!(String::from_utf8(record.encode()).unwrap(), text);
        }
    }
}

#[test]
fn what_earlier_programs_noted_is_read_and_not_written_again() {
    let record = Record::decode("account/a", ONLINE_OF_OLD.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(record.encode()).unwrap(), ONLINE);
}
