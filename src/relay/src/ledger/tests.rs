//! The ledger on a real SQLite file and on a real PostgreSQL: the same tests on both.

use super::*;
use crate::daraja::TokenShelf;
use crate::payment::{Event, Payment, PushAnswer, State};
use crate::secret::CallbackSecret;
use lango_core::message::PaymentRequest;
use lango_core::units::{Receipt, RouterName, Shillings};
use lango_lab::postgres;

mod database;
mod deposits;
mod texts;

const NOW: Wall = Wall(Wall::EARLIEST.0 + 5);

/// A new ledger on each database.
struct Both {
    places: [Place; 2],
    _folder: tempfile::TempDir,
}

fn both() -> Both {
    let folder = tempfile::tempdir().unwrap();
    let places = [Place::Sqlite(folder.path().join("relay.db")), Place::parse(&postgres::database()).unwrap()];
    Both { places, _folder: folder }
}

impl Both {
    /// Both, open.
    async fn open(&self) -> [Ledger; 2] {
        [Ledger::open(&self.places[0]).await.unwrap(), Ledger::open(&self.places[1]).await.unwrap()]
    }
}

fn heard(event: &str) -> Heard<'_> {
    Heard { event, said: Some("1032".to_owned()), callback: None, verdict: "taken" }
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
    let both = both();
    for ledger in both.open().await {
        let secret = add(&ledger, "aaaa").await;
        assert_eq!(ledger.by_secret(&secret).await.unwrap(), Some(key("aaaa")));
        assert_eq!(ledger.by_secret(&CallbackSecret::new().unwrap()).await.unwrap(), None);
        assert_eq!(ledger.due(NOW).await.unwrap(), [(key("aaaa"), true)]);
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
}

#[tokio::test]
async fn what_is_not_committed_did_not_happen() {
    let both = both();
    for ledger in both.open().await {
        add(&ledger, "aaaa").await;
        let mut change = ledger.begin().await.unwrap();
        let (payment, revision) = change.payment(&key("aaaa")).await.unwrap();
        change.save(&payment.on(&Event::Due, NOW).payment, revision).await.unwrap();
        drop(change);
        assert_eq!(ledger.payments().await.unwrap()[0].state, State::Requested);
    }
}

#[tokio::test]
async fn money_is_entered_once() {
    let both = both();
    for ledger in both.open().await {
        add(&ledger, "aaaa").await;
        add(&ledger, "bbbb").await;
        let receipt: Receipt = "NLJ7RT61SV".parse().unwrap();
        let mut change = ledger.begin().await.unwrap();
        let (mut payment, _) = change.payment(&key("aaaa")).await.unwrap();
        payment.mpesa_receipt = Some(receipt.clone());
        assert!(!change.receipt_taken(&receipt, &key("aaaa")).await.unwrap());
        change.book(&payment, &receipt, None, NOW).await.unwrap();
        assert!(!change.receipt_taken(&receipt, &key("aaaa")).await.unwrap());
        assert!(change.receipt_taken(&receipt, &key("bbbb")).await.unwrap());
        change.commit().await.unwrap();
        let mut change = ledger.begin().await.unwrap();
        let (mut other, _) = change.payment(&key("bbbb")).await.unwrap();
        other.mpesa_receipt = Some(receipt.clone());
        let again = change.book(&other, &receipt, None, NOW).await.err().unwrap();
        assert!(is_collision(&again), "{again:#}");
    }
}

#[tokio::test]
async fn callbacks_wait_until_they_are_worked_on() {
    let both = both();
    for ledger in both.open().await {
        let body = vec![0, 159, 146, 150]; // no UTF-8: kept as it came
        let stored = StoredCallback { id: "c1".to_owned(), key: key("aaaa"), shortcode: None, body: body.clone() };
        ledger.keep_callback(&stored, NOW).await.unwrap();
        assert!(ledger.open_callbacks(Wall(NOW.0 - 1)).await.unwrap().is_empty());
        assert_eq!(ledger.open_callbacks(NOW).await.unwrap()[0].body, body);
        let mut change = ledger.begin().await.unwrap();
        assert!(change.take_callback("c1").await.unwrap());
        drop(change);
        assert_eq!(ledger.open_callbacks(NOW).await.unwrap().len(), 1, "who took it died before the end");
        for first in [true, false] {
            let mut change = ledger.begin().await.unwrap();
            assert_eq!(change.take_callback("c1").await.unwrap(), first, "two worked on it");
            change.commit().await.unwrap();
        }
        assert!(ledger.open_callbacks(NOW).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn messages_wait_for_their_own_router() {
    let both = both();
    for ledger in both.open().await {
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
            change.post(&message, true).await.unwrap();
        }
        change.commit().await.unwrap();
        let claim = async |which: Which, now: Wall| ledger.claim(&which, &crate::secret::row_id().unwrap(), now).await.unwrap();
        let both_of_them = [message("m2", "bbbb"), message("m3", "aaaa")];
        // m3 says the newer word about aaaa. Who posted them sends them first.
        assert_eq!(claim(Which::Due, Wall(NOW.0 + 29_999)).await, []);
        let later = Wall(NOW.0 + 30_000);
        assert_eq!(claim(Which::Due, later).await, both_of_them);
        assert_eq!(claim(Which::Due, later).await, [], "claimed twice");
        assert_eq!(claim(Which::Of(router.clone()), later).await, both_of_them, "its router asks: at once");
        assert_eq!(claim(Which::Of("other".parse().unwrap()), later).await, []);
        assert_eq!(claim(Which::All, later).await, both_of_them);
        assert_eq!(claim(Which::Due, Wall(later.0 + 30_000)).await, both_of_them, "who claimed them died");
        let ids = ["m2".parse().unwrap(), "m9".parse().unwrap()];
        ledger.acknowledged(&"other".parse().unwrap(), &ids, NOW).await.unwrap();
        assert_eq!(ledger.unacknowledged().await.unwrap(), 2, "another router acknowledged it");
        ledger.acknowledged(&router, &ids, NOW).await.unwrap();
        ledger.acknowledged(&router, &ids, NOW).await.unwrap();
        assert_eq!(claim(Which::Of(router.clone()), later).await, [message("m3", "aaaa")]);
        let ends = sqlx::query("SELECT id, how FROM messages_ended ORDER BY id").fetch_all(&ledger.pool).await.unwrap();
        let ends: Vec<(String, String)> = ends.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(ends, [("m1".into(), "superseded".into()), ("m2".into(), "acknowledged".into())]);
        let mut change = ledger.begin().await.unwrap();
        change.post(&message("m4", "cccc"), false).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(claim(Which::Due, NOW).await, [message("m4", "cccc")], "who made it cannot send it");
        ledger.acknowledged(&router, &["m4".parse().unwrap()], NOW).await.unwrap();
        // Often at first, then once an hour: 20 times it was sent by now, this one included, and the one when its router asked.
        let mut now = later;
        for _ in 1..20 {
            now = Wall(now.0 + 60_000);
            assert_eq!(claim(Which::Due, now).await.len(), 1);
        }
        assert_eq!(claim(Which::Due, Wall(now.0 + 3_599_999)).await, []);
        now = Wall(now.0 + 3_600_000);
        assert_eq!(claim(Which::Due, now).await.len(), 1);
        // Its router comes back, and does not take it yet, because it does not know the time: not an hour, but half a minute.
        for _ in 0..40 {
            assert_eq!(claim(Which::Of(router.clone()), now).await.len(), 1);
        }
        assert_eq!(claim(Which::Due, Wall(now.0 + 29_999)).await, []);
        assert_eq!(claim(Which::Due, Wall(now.0 + 30_000)).await.len(), 1);
    }
}

#[tokio::test]
async fn numbers_are_never_given_twice() {
    let both = both();
    for ledger in both.open().await {
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
}

#[tokio::test]
async fn a_request_id_belongs_to_one_payment() {
    let both = both();
    for ledger in both.open().await {
        let mut change = ledger.begin().await.unwrap();
        assert!(!change.request_taken("ws_CO_1", &key("aaaa")).await.unwrap());
        change.name_request("ws_CO_1", &key("aaaa"), NOW).await.unwrap();
        change.name_request("ws_CO_1", &key("bbbb"), NOW).await.unwrap();
        assert!(!change.request_taken("ws_CO_1", &key("aaaa")).await.unwrap());
        assert!(change.request_taken("ws_CO_1", &key("bbbb")).await.unwrap());
    }
}

#[tokio::test]
async fn every_word_is_in_the_history_in_its_order() {
    let both = both();
    for ledger in both.open().await {
        add(&ledger, "aaaa").await;
        let mut change = ledger.begin().await.unwrap();
        let (payment, revision) = change.payment(&key("aaaa")).await.unwrap();
        change.record(&payment, revision + 1, heard("query"), NOW).await.unwrap();
        change.commit().await.unwrap();
        let rows = sqlx::query("SELECT event, heard FROM history ORDER BY revision").fetch_all(&ledger.pool).await.unwrap();
        let rows: Vec<(String, Option<String>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(rows, [("request".to_owned(), None), ("query".to_owned(), Some("1032".to_owned()))]);
        let mut change = ledger.begin().await.unwrap();
        let again = change.record(&payment, revision + 1, heard("push"), NOW).await.err().unwrap();
        assert!(is_collision(&again), "two words at one place: {again:#}");
    }
}

#[tokio::test]
async fn one_at_a_time_asks_for_a_token() {
    let both = both();
    let at = |seconds: u64| Wall(NOW.0 + seconds * 1_000);
    for shelf in both.open().await {
        assert_eq!(shelf.token("app", NOW).await.unwrap(), None);
        assert!(shelf.lease("app", "one", NOW, at(12)).await.unwrap());
        assert!(!shelf.lease("app", "two", at(11), at(23)).await.unwrap());
        assert!(shelf.lease("another app", "two", NOW, at(12)).await.unwrap());
        // The holder died: its lease runs out, and its late answer counts for nothing.
        assert!(shelf.lease("app", "two", at(12), at(24)).await.unwrap());
        shelf.keep("app", "one", "late", at(3_600)).await.unwrap();
        assert_eq!(shelf.token("app", at(13)).await.unwrap(), None);
        shelf.keep("app", "two", "t1", at(3_600)).await.unwrap();
        assert_eq!(shelf.token("app", at(13)).await.unwrap().as_deref(), Some("t1"));
        assert!(!shelf.lease("app", "one", at(14), at(26)).await.unwrap(), "there is a good one");
        // Refused; but only that one is put away.
        shelf.forget("app", "t0").await.unwrap();
        assert!(shelf.token("app", at(13)).await.unwrap().is_some());
        shelf.forget("app", "t1").await.unwrap();
        assert_eq!(shelf.token("app", at(13)).await.unwrap(), None);
        assert!(shelf.lease("app", "one", at(14), at(26)).await.unwrap());
        shelf.release("app", "one").await.unwrap();
        assert!(shelf.lease("app", "two", at(14), at(26)).await.unwrap());
        shelf.keep("app", "two", "t2", at(100)).await.unwrap();
        assert_eq!(shelf.token("app", at(100)).await.unwrap(), None, "it has run out");
    }
}

#[tokio::test]
async fn who_is_there_and_whose_signature_counts() {
    let both = both();
    for ledger in both.open().await {
        ledger.relay_is_here("one", NOW).await.unwrap();
        assert!(!ledger.others_are_here("one", NOW).await.unwrap());
        ledger.relay_is_here("two", Wall(NOW.0 + 5_000)).await.unwrap();
        assert!(ledger.others_are_here("one", Wall(NOW.0 + 20_000)).await.unwrap());
        assert!(!ledger.others_are_here("one", Wall(NOW.0 + 20_001)).await.unwrap(), "silent for 15 s");
        ledger.relay_is_here("two", Wall(NOW.0 + 20_001)).await.unwrap();
        assert!(ledger.others_are_here("one", Wall(NOW.0 + 20_001)).await.unwrap());
        ledger.relay_leaves("two").await.unwrap();
        assert!(!ledger.others_are_here("one", Wall(NOW.0 + 20_001)).await.unwrap());
        ledger.expect_key("first", NOW).await.unwrap();
        ledger.expect_key("first", NOW).await.unwrap();
        let error = ledger.expect_key("second", NOW).await.err().unwrap();
        assert!(error.to_string().contains("copy signing_key"), "{error}");
        ledger.accept_key("second", NOW).await.unwrap();
        ledger.expect_key("second", NOW).await.unwrap();
    }
}

#[tokio::test]
async fn money_counts_for_the_day_on_which_m_pesa_moved_it() {
    let both = both();
    for ledger in both.open().await {
        let (day, next) = (Wall(NOW.0 + 1_000), Wall(NOW.0 + 2_000));
        for (order, receipt, named, completed_at) in
            [("aaaa", "NLJ7RT61SA", true, Some(NOW)), ("bbbb", "NLJ7RT61SB", true, None), ("cccc", "QAAAAAAAAAAA", false, None)]
        {
            add(&ledger, order).await;
            let mut change = ledger.begin().await.unwrap();
            let (mut payment, _) = change.payment(&key(order)).await.unwrap();
            let receipt: Receipt = receipt.parse().unwrap();
            payment.mpesa_receipt = named.then(|| receipt.clone());
            change.book(&payment, &receipt, completed_at, day).await.unwrap();
            change.commit().await.unwrap();
        }
        let of = async |from, to| {
            let entries = ledger.entries(from, to).await.unwrap();
            entries.iter().map(|entry| (entry.key.as_ref().unwrap().order.to_string(), entry.mpesa_receipt.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(of(NOW, day).await, [("aaaa".to_owned(), true)]);
        assert_eq!(of(day, next).await, [("bbbb".to_owned(), true), ("cccc".to_owned(), false)]);
        assert_eq!(of(next, Wall(u64::MAX)).await, []);
        let found = ledger.entry_of(&"NLJ7RT61SA".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((found.at(), found.amount), (NOW, Shillings(10)));
        assert_eq!(ledger.entry_of(&"QAAAAAAAAAAA".parse().unwrap()).await.unwrap(), None);
    }
}

/// Writers at once: each word gets its place, none is lost, and nobody acts on a state that is not any more.
#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once() {
    let both = both();
    for (ledger, place) in both.open().await.iter().zip(&both.places) {
        add(ledger, "aaaa").await;
        let other = Ledger::open(place).await.unwrap();
        let mut tasks = Vec::new();
        for number in 0..16 {
            let ledger = if number % 2 == 0 { ledger.clone() } else { other.clone() };
            tasks.push(tokio::spawn(async move {
                for _ in 0..5 {
                    let mut change = ledger.begin().await.unwrap();
                    let (payment, revision) = change.payment(&key("aaaa")).await.unwrap();
                    assert!(change.save(&Payment { tries: payment.tries + 1, ..payment.clone() }, revision).await.unwrap());
                    change.record(&payment, revision + 1, heard("query"), NOW).await.unwrap();
                    change.commit().await.unwrap();
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(ledger.payments().await.unwrap()[0].tries, 80);
    }
}

#[tokio::test]
async fn a_router_whose_keys_are_revoked_is_told_nothing_until_it_has_new_ones() {
    let both = both();
    for ledger in both.open().await {
        let router: RouterName = "kibera-7".parse().unwrap();
        let password = |text: &str| lango_core::units::Password::new(text).unwrap();
        assert!(ledger.add_router(&router, &password("old"), NOW).await.unwrap());
        let message = Message {
            id: "m-1".parse().unwrap(),
            router: router.clone(),
            order: "aaaa".parse().unwrap(),
            seq: 1,
            topic: "t".to_owned(),
            payload: "p".to_owned(),
            made_at: NOW,
        };
        let mut change = ledger.begin().await.unwrap();
        change.post(&message, false).await.unwrap();
        change.commit().await.unwrap();
        assert!(ledger.revoke_router(&router, NOW).await.unwrap());
        assert!(!ledger.revoke_router(&router, NOW).await.unwrap());
        assert!(!ledger.router_is(&router, true, NOW).await.unwrap());
        for which in [Which::All, Which::Of(router.clone()), Which::Due] {
            assert_eq!(ledger.claim(&which, "a", NOW).await.unwrap(), [], "{which:?}");
        }
        assert!(ledger.add_router(&router, &password("new"), NOW).await.unwrap());
        assert!(!ledger.add_router(&router, &password("newer"), NOW).await.unwrap());
        assert_eq!(ledger.router(&router).await.unwrap().unwrap().password.reveal(), "new");
        assert_eq!(ledger.claim(&Which::All, "b", NOW).await.unwrap(), [message], "what it is owed");
    }
}
