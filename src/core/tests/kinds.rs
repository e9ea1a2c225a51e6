//! Records and answers are read by hand, kind by kind: as serde would read them, and no kind is forgotten.

use lango_core::record::Record;
use lango_core::request::{Answer, Refusal};
use lango_core::units::Seconds;

/// The kinds that serde knows, which it tells of when it meets another.
fn kinds(refused: &serde_json::Error) -> Vec<String> {
    let told = refused.to_string();
    let kinds: Vec<String> = told.split('`').skip(1).step_by(2).skip(1).map(str::to_owned).collect();
    assert!(kinds.len() > 10, "{told}");
    kinds
}

#[test]
fn every_kind_of_record_is_read() {
    let read = |kind: &str| {
        let text = format!(r#"{{"v":1,"record":"{kind}","value":null}}"#);
        Record::decode("key", text.as_bytes()).unwrap_err().to_string()
    };
    for kind in kinds(&serde_json::from_str::<Record>(r#"{"record":"none of them","value":null}"#).unwrap_err()) {
        assert!(!read(&kind).contains("nobody knows"), "{kind}: {}", read(&kind));
    }
    assert!(read("none of them").contains("nobody knows"), "{}", read("none of them"));
}

#[test]
fn every_kind_of_answer_is_read() {
    for kind in kinds(&serde_json::from_str::<Answer>(r#"{"answer":"none of them","value":null}"#).unwrap_err()) {
        let text = format!(r#"{{"answer":"{kind}","value":null}}"#);
        if let Err(refused) = Answer::from_json(text.as_bytes()) {
            assert!(!refused.to_string().contains("nobody knows"), "{kind}: {refused}");
        }
    }
    assert!(Answer::from_json(br#"{"answer":"none of them"}"#).unwrap_err().to_string().contains("nobody knows"));
}

#[test]
fn answers_come_back() {
    let answers = [
        Answer::Packages(Vec::new()),
        Answer::LatestPayment(None),
        Answer::CheckSession(None),
        Answer::Start(Box::default()),
        Answer::Done,
        Answer::Sessions(Vec::new()),
        Answer::Accounts(Vec::new()),
        Answer::Payments(Vec::new()),
        Answer::MyAccount(None),
        Answer::Vouchers(Vec::new()),
        Answer::VouchersRevoked(7),
        Answer::Refused(Refusal::TooManyRequests { retry_after: Seconds(9) }),
    ];
    for answer in answers {
        let text = serde_json::to_vec(&answer).unwrap();
        assert_eq!(Answer::from_json(&text).unwrap(), answer);
        assert_eq!(serde_json::from_slice::<Answer>(&text).unwrap(), answer);
    }
    for text in ["", "{}", "null", r#"{"answer":"packages"}"#, r#"{"answer":"vouchers_revoked","value":-1}"#, r#"{"answer":"done"} x"#] {
        assert!(Answer::from_json(text.as_bytes()).is_err(), "{text} was taken");
    }
}
