//! The ledger on a real SQLite file.

use super::*;
use crate::payment::{Event, PushAnswer, State};
use crate::secret::CallbackSecret;
use lango_core::message::PaymentRequest;
use lango_core::units::{Receipt, RouterName, Shillings};

const NOW: Wall = Wall(Wall::EARLIEST.0 + 5);

async fn ledger(folder: &tempfile::TempDir) -> Ledger {
    Ledger::open(&folder.path().join("relay.db")).await.unwrap()
}

fn key(order: &str) -> Key {
    Key { router: "kibera-7".parse().unwrap(), order: order.parse().unwrap() }
}

async fn add(ledger: &Ledger, order: &str) -> CallbackSecret {
    let request = PaymentRequest {
        order: order.parse().unwrap(),
        package: "hour".parse().unwrap(),
        label: "1 hour".to_owned(),
        amount: Shillings(10),
        phone: "0712345678".parse().unwrap(),
        device: "02:00:5e:10:00:01".parse().unwrap(),
        asked_at: Some(NOW),
    };
    let secret = CallbackSecret::new().unwrap();
    let new = NewRequest { key: &key(order), request: &request, asked_at: NOW, secret: &secret };
    assert!(ledger.add_request(new, NOW).await.unwrap());
    let other = CallbackSecret::new().unwrap();
    let again = NewRequest { key: &key(order), request: &request, asked_at: NOW, secret: &other };
    assert!(!ledger.add_request(again, NOW).await.unwrap(), "a known request was stored twice");
    secret
}

#[tokio::test]
async fn a_payment_survives_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder).await;
    let secret = add(&ledger, "aaaa").await;
    assert_eq!(ledger.by_secret(&secret).await.unwrap(), Some(key("aaaa")));
    assert_eq!(ledger.by_secret(&CallbackSecret::new().unwrap()).await.unwrap(), None);
    assert_eq!(ledger.due(NOW).await.unwrap(), [key("aaaa")]);
    for event in [
        Event::Due,
        Event::Push(PushAnswer::Accepted("ws_CO_1".to_owned())),
        Event::Unreadable,
        Event::Query { code: Some("1032".to_owned()), missed: false },
    ] {
        let mut change = ledger.begin().await.unwrap();
        let (payment, revision) = change.payment(&key("aaaa")).await.unwrap();
        let step = payment.on(&event, NOW);
        assert!(change.save(&step.payment, revision).await.unwrap());
        assert!(!change.save(&step.payment, revision).await.unwrap(), "an old revision was written");
        change.commit().await.unwrap();
        let (stored, _) = ledger.begin().await.unwrap().payment(&key("aaaa")).await.unwrap();
        assert_eq!(stored, step.payment, "{event:?}");
    }
    let [payment] = &*ledger.payments().await.unwrap() else { panic!("one payment") };
    assert_eq!((payment.state_name(), payment.reason_name().as_deref()), ("failed", Some("cancelled")));
    assert_eq!(ledger.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn what_is_not_committed_did_not_happen() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder).await;
    add(&ledger, "aaaa").await;
    let mut change = ledger.begin().await.unwrap();
    let (payment, revision) = change.payment(&key("aaaa")).await.unwrap();
    change.save(&payment.on(&Event::Due, NOW).payment, revision).await.unwrap();
    drop(change);
    assert_eq!(ledger.payments().await.unwrap()[0].state, State::Requested);
}

#[tokio::test]
async fn money_is_entered_once() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder).await;
    add(&ledger, "aaaa").await;
    add(&ledger, "bbbb").await;
    let receipt: Receipt = "NLJ7RT61SV".parse().unwrap();
    let mut change = ledger.begin().await.unwrap();
    let (mut payment, _) = change.payment(&key("aaaa")).await.unwrap();
    payment.mpesa_receipt = Some(receipt.clone());
    assert!(!change.receipt_taken(&receipt, &key("aaaa")).await.unwrap());
    change.book(&payment, &receipt, NOW).await.unwrap();
    assert!(!change.receipt_taken(&receipt, &key("aaaa")).await.unwrap());
    assert!(change.receipt_taken(&receipt, &key("bbbb")).await.unwrap());
    change.commit().await.unwrap();
    let mut change = ledger.begin().await.unwrap();
    let (mut other, _) = change.payment(&key("bbbb")).await.unwrap();
    other.mpesa_receipt = Some(receipt.clone());
    assert!(change.book(&other, &receipt, NOW).await.is_err());
}

#[tokio::test]
async fn callbacks_wait_until_they_are_worked_on() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder).await;
    let body = vec![0, 159, 146, 150]; // no UTF-8: kept as it came
    let stored = StoredCallback { id: "c1".to_owned(), key: key("aaaa"), shortcode: None, body: body.clone() };
    ledger.keep_callback(&stored, NOW).await.unwrap();
    assert!(ledger.open_callbacks(Wall(NOW.0 - 1)).await.unwrap().is_empty());
    assert_eq!(ledger.open_callbacks(NOW).await.unwrap()[0].body, body);
    let mut change = ledger.begin().await.unwrap();
    change.callback_done("c1", "taken", NOW).await.unwrap();
    change.commit().await.unwrap();
    assert!(ledger.open_callbacks(NOW).await.unwrap().is_empty());
}

#[tokio::test]
async fn messages_wait_for_their_own_router() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder).await;
    let router: RouterName = "kibera-7".parse().unwrap();
    let message = |id: &str, order: &str| Message {
        id: id.parse().unwrap(),
        router: router.clone(),
        order: order.parse().unwrap(),
        seq: 1,
        topic: "t".to_owned(),
        payload: "p".to_owned(),
        made_at: NOW,
    };
    let mut change = ledger.begin().await.unwrap();
    for message in [message("m1", "aaaa"), message("m2", "bbbb"), message("m3", "aaaa")] {
        change.post(&message).await.unwrap();
    }
    change.commit().await.unwrap();
    // m3 says the newer word about aaaa.
    assert_eq!(ledger.unacknowledged(None).await.unwrap(), [message("m2", "bbbb"), message("m3", "aaaa")]);
    let ids = ["m2".parse().unwrap(), "m9".parse().unwrap()];
    ledger.acknowledged(&"other".parse().unwrap(), &ids, NOW).await.unwrap();
    assert_eq!(ledger.unacknowledged(Some(&router)).await.unwrap().len(), 2, "another router acknowledged it");
    ledger.acknowledged(&router, &ids, NOW).await.unwrap();
    assert_eq!(ledger.unacknowledged(Some(&router)).await.unwrap(), [message("m3", "aaaa")]);
}

#[tokio::test]
async fn numbers_are_never_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder).await;
    let router: RouterName = "kibera-7".parse().unwrap();
    let sequences = Sequences::default();
    assert!(sequences.next(&ledger, &router).await.is_err(), "a router that was never added has no numbers");
    assert!(ledger.add_router(&router, &crate::secret::password().unwrap(), NOW).await.unwrap());
    assert!(!ledger.add_router(&router, &crate::secret::password().unwrap(), NOW).await.unwrap());
    let mut given = Vec::new();
    for _ in 0..1_001 {
        given.push(sequences.next(&ledger, &router).await.unwrap());
    }
    assert_eq!(given, (1..=1_001).collect::<Vec<_>>());
    assert!(Sequences::default().next(&ledger, &router).await.unwrap() > 1_001, "another process would give them again");
}

#[tokio::test]
async fn a_later_programs_ledger_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = ledger(&folder).await;
    sqlx::raw_sql("PRAGMA user_version = 2").execute(&first.pool).await.unwrap();
    first.close().await;
    let error = Ledger::open(&folder.path().join("relay.db")).await.err().unwrap();
    assert!(format!("{error:#}").contains("newer lango-relay"), "{error:#}");
}

#[tokio::test]
async fn commits_are_as_durable_as_sqlite_makes_them_and_nobody_else_reads_them() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder).await;
    let pragma = async |text: &'static str| sqlx::query(text).fetch_one(&ledger.pool).await.unwrap();
    assert_eq!(pragma("PRAGMA journal_mode").await.get::<String, _>(0), "wal");
    assert_eq!(pragma("PRAGMA synchronous").await.get::<i64, _>(0), 2, "2 is FULL");
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}
