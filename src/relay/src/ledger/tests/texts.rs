//! Texts: stored once a cause, sent by one relay at a time, settled by what the gateway said.

use super::*;
use crate::ledger::place::Kind as Database;
use crate::sms::rule::{Alert, Kind, Next, Report, Why};

const LATER: Wall = Wall(NOW.0 + 60_000);

async fn store(ledger: &Ledger, id: &str, cause: &str, kind: Kind, now: Wall) -> bool {
    let (router, username) = ("kibera-7".parse().unwrap(), "ab8bd7nu".parse().unwrap());
    let (order, receipt) = ("0kq3v9x1c7mzp2w8tdl5hb6ny4".parse().unwrap(), "NLJ7RT61SV".parse().unwrap());
    let new = NewText {
        id,
        router: &router,
        cause,
        kind,
        username: &username,
        phone: "0712345678".parse().unwrap(),
        language: "sw".parse().unwrap(),
        order: Some(&order),
        receipt: Some(&receipt),
        body: "user name ab8bd7nu, password k7m2p9",
        held: cause.starts_with("held").then(why),
    };
    ledger.add_text(&new, now).await.unwrap()
}

async fn claim(ledger: &Ledger, claim: &str, now: Wall) -> Vec<Claimed> {
    ledger.claim_texts(claim, 8, now, Wall(now.0 + 60_000)).await.unwrap()
}

async fn one(ledger: &Ledger, id: &str) -> Text {
    ledger.text(id).await.unwrap().unwrap()
}

fn why() -> Why {
    Why::new("405", "there is no credit")
}

#[tokio::test]
async fn a_text_is_stored_once_a_cause_and_comes_back_as_it_was() {
    let both = both();
    for ledger in both.open().await {
        assert!(store(&ledger, "sms-1", "receipt A", Kind::Credentials, NOW).await);
        assert!(!store(&ledger, "sms-2", "receipt A", Kind::Credentials, LATER).await, "told twice");
        assert!(store(&ledger, "sms-3", "ended-7 ab8bd7nu", Kind::Ended, LATER).await);
        let texts = ledger.texts().await.unwrap();
        assert_eq!(texts.iter().map(|text| text.id.as_str()).collect::<Vec<_>>(), ["sms-3", "sms-1"], "newest first");
        let text = &texts[1];
        assert_eq!((text.phone.digits().as_str(), text.language.as_str(), text.state.as_str()), ("254712345678", "sw", "queued"));
        assert_eq!((text.kind, text.made_at, text.due, text.tries, text.sends), (Kind::Credentials, NOW, Some(NOW), 0, 0));
        assert_eq!(text.receipt.as_ref().unwrap().as_str(), "NLJ7RT61SV");
        let (router, username) = ("kibera-7".parse().unwrap(), "ab8bd7nu".parse().unwrap());
        assert_eq!(ledger.language_of(&router, &username).await.unwrap().unwrap().as_str(), "sw");
        assert_eq!(ledger.language_of(&router, &"nobody".parse().unwrap()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_is_held_is_kept_and_counted_and_sent_when_the_operator_says_so() {
    let both = both();
    for ledger in both.open().await {
        store(&ledger, "sms-1", "receipt 1", Kind::Credentials, NOW).await;
        store(&ledger, "sms-2", "held 2", Kind::Credentials, LATER).await;
        let (router, other) = ("kibera-7".parse().unwrap(), "kibera-8".parse().unwrap());
        assert_eq!(ledger.texts_since(&router, NOW).await.unwrap(), 2);
        assert_eq!(ledger.texts_since(&router, LATER).await.unwrap(), 1);
        assert_eq!(ledger.texts_since(&other, NOW).await.unwrap(), 0);
        let held = one(&ledger, "sms-2").await;
        assert_eq!((held.state.as_str(), held.due, held.code.as_deref()), ("failed", None, Some("405")));
        assert_eq!(claim(&ledger, "a", LATER).await.len(), 1);
        assert!(ledger.send_text_again("sms-2", LATER).await.unwrap());
        assert_eq!(claim(&ledger, "b", LATER).await.len(), 1);
    }
}

#[tokio::test]
async fn one_relay_at_a_time_sends_a_text_and_one_that_dies_leaves_it_to_another() {
    let both = both();
    for ledger in both.open().await {
        for n in 0..5 {
            store(&ledger, &format!("sms-{n}"), &format!("receipt {n}"), Kind::Credentials, NOW).await;
        }
        assert_eq!(ledger.claim_texts("a", 2, NOW, LATER).await.unwrap().len(), 2);
        assert_eq!(claim(&ledger, "b", NOW).await.len(), 3, "what is left");
        assert!(claim(&ledger, "c", NOW).await.is_empty());
        assert!(claim(&ledger, "c", Wall(LATER.0 - 1)).await.is_empty());
        // Nobody settled any: all may have been sent once.
        let again = claim(&ledger, "c", LATER).await;
        assert_eq!(again.len(), 5);
        assert!(again.iter().all(|claimed| (claimed.text.tries, claimed.text.sends) == (2, 2) && claimed.body.contains("k7m2p9")));
        // The first relay was only slow: what it says counts where the gateway took it, and else nothing.
        let (first, second) = (again[0].text.id.clone(), again[1].text.id.clone());
        assert!(!ledger.settle_text(&first, "a", &Next::Failed(why()), LATER).await.unwrap());
        assert!(ledger.settle_text(&first, "a", &Next::Sent(Some("gw-1".to_owned())), LATER).await.unwrap());
        assert!(!ledger.settle_text(&first, "c", &Next::Sent(Some("gw-2".to_owned())), LATER).await.unwrap(), "sent is sent");
        assert!(ledger.settle_text(&second, "c", &Next::Failed(why()), LATER).await.unwrap());
        assert_eq!(one(&ledger, &second).await.state, "failed");
    }
}

#[tokio::test]
async fn relays_that_claim_at_once_never_get_the_same_text() {
    let both = both();
    for ledger in both.open().await {
        for n in 0..40 {
            store(&ledger, &format!("sms-{n:02}"), &format!("receipt {n}"), Kind::Credentials, NOW).await;
        }
        let relays = (0..8).map(|relay| {
            let ledger = ledger.clone();
            tokio::spawn(async move { claim(&ledger, &format!("relay-{relay}"), NOW).await })
        });
        let mut ids = Vec::new();
        for relay in relays.collect::<Vec<_>>() {
            ids.extend(relay.await.unwrap().into_iter().map(|claimed| claimed.text.id));
        }
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all, "a text was claimed twice");
        assert!(all >= 8, "{all}");
    }
}

#[tokio::test]
async fn what_is_tried_again_counts_only_where_it_may_have_arrived() {
    let both = both();
    for ledger in both.open().await {
        store(&ledger, "sms-1", "receipt 1", Kind::Credentials, NOW).await;
        claim(&ledger, "a", NOW).await;
        let again = |counts| Next::Again { due: LATER, counts, why: why() };
        assert!(ledger.settle_text("sms-1", "a", &again(false), NOW).await.unwrap());
        let text = one(&ledger, "sms-1").await;
        assert_eq!((text.state.as_str(), text.tries, text.sends, text.due), ("queued", 1, 0, Some(LATER)));
        assert_eq!((text.code.as_deref(), text.note.as_deref()), (Some("405"), Some("there is no credit")));
        assert!(claim(&ledger, "b", Wall(LATER.0 - 1)).await.is_empty());
        claim(&ledger, "b", LATER).await;
        ledger.settle_text("sms-1", "b", &again(true), NOW).await.unwrap();
        assert_eq!(one(&ledger, "sms-1").await.sends, 1);
    }
}

#[tokio::test]
async fn reports_move_a_text_forward_only() {
    let both = both();
    for ledger in both.open().await {
        for (id, gateway) in [("sms-1", "gw-1"), ("sms-2", "gw-2")] {
            store(&ledger, id, id, Kind::Credentials, NOW).await;
            claim(&ledger, id, NOW).await;
            ledger.settle_text(id, id, &Next::Sent(Some(gateway.to_owned())), NOW).await.unwrap();
        }
        let report = async |gateway: &str, report: Report| ledger.text_reported(gateway, &report, LATER).await.unwrap();
        assert!(!report("gw-9", Report::Delivered).await, "of no text of ours");
        assert!(report("gw-1", Report::Underway).await);
        assert_eq!(one(&ledger, "sms-1").await.state, "sent");
        assert!(report("gw-1", Report::Failed(why())).await);
        assert_eq!(one(&ledger, "sms-1").await.state, "failed");
        // Some networks think better of it. Nothing beats a delivery.
        for (said, state) in [(Report::Delivered, "delivered"), (Report::Failed(why()), "delivered"), (Report::Underway, "delivered")] {
            assert!(report("gw-1", said).await);
            assert_eq!(one(&ledger, "sms-1").await.state, state);
        }
        assert!(!ledger.send_text_again("sms-1", LATER).await.unwrap(), "a delivered text's words are forgotten");
        assert_eq!(one(&ledger, "sms-2").await.state, "sent");
    }
}

#[tokio::test]
async fn an_operator_s_retry_begins_anew_as_long_as_the_words_are_there() {
    let both = both();
    for ledger in both.open().await {
        store(&ledger, "sms-1", "receipt 1", Kind::Credentials, NOW).await;
        claim(&ledger, "a", NOW).await;
        ledger.settle_text("sms-1", "a", &Next::Failed(why()), NOW).await.unwrap();
        assert!(ledger.send_text_again("sms-1", LATER).await.unwrap());
        let text = one(&ledger, "sms-1").await;
        assert_eq!((text.state.as_str(), text.sends, text.since, text.due, text.code), ("queued", 0, LATER, Some(LATER), None));
        // What waits keeps its words however old it is.
        ledger.forget_words(Wall(LATER.0 + 1)).await.unwrap();
        let [claimed] = &*claim(&ledger, "b", LATER).await else { panic!("one text") };
        assert!(claimed.body.contains("k7m2p9"));
        ledger.settle_text("sms-1", "b", &Next::Sent(None), LATER).await.unwrap();
        ledger.forget_words(NOW).await.unwrap();
        assert!(ledger.send_text_again("sms-1", LATER).await.unwrap(), "not old enough to be forgotten");
        claim(&ledger, "c", LATER).await;
        ledger.settle_text("sms-1", "c", &Next::Sent(None), LATER).await.unwrap();
        ledger.forget_words(LATER).await.unwrap();
        assert!(!ledger.send_text_again("sms-1", LATER).await.unwrap());
        assert!(!ledger.send_text_again("sms-2", LATER).await.unwrap(), "there is none");
    }
}

#[tokio::test]
async fn an_alert_is_raised_once_and_what_waited_is_due_when_it_is_over() {
    let both = both();
    for ledger in both.open().await {
        store(&ledger, "sms-1", "receipt 1", Kind::Credentials, NOW).await;
        claim(&ledger, "a", NOW).await;
        ledger.settle_text("sms-1", "a", &Next::Again { due: LATER, counts: false, why: why() }, NOW).await.unwrap();
        assert!(!ledger.lower_alerts(NOW).await.unwrap());
        assert!(ledger.raise_alert(Alert::NoCredit, "405", NOW).await.unwrap());
        assert!(!ledger.raise_alert(Alert::NoCredit, "405", LATER).await.unwrap(), "said twice");
        assert!(ledger.raise_alert(Alert::Sender, "402", LATER).await.unwrap());
        let alerts = ledger.alerts().await.unwrap();
        assert_eq!(alerts, [(Alert::NoCredit, NOW, "405".to_owned()), (Alert::Sender, LATER, "402".to_owned())]);
        assert!(ledger.lower_alerts(NOW).await.unwrap());
        assert!(ledger.alerts().await.unwrap().is_empty());
        assert_eq!(claim(&ledger, "b", NOW).await.len(), 1);
    }
}

/// A ledger as the version before this one left it.
#[tokio::test]
async fn a_ledger_of_the_version_before_gets_its_new_tables_and_keeps_what_it_has() {
    let both = both();
    for place in &both.places {
        let ledger = Ledger::open(place).await.unwrap();
        add(&ledger, "aaaa").await;
        let back = match ledger.kind {
            Database::Sqlite => {
                "DROP TABLE texts; DROP TABLE text_alerts; DROP TABLE radius_purchases; DROP TABLE radius_since; DROP TABLE updates; ALTER TABLE payments DROP COLUMN paid; PRAGMA user_version = 3"
            }
            Database::Postgres => {
                "DROP TABLE texts; DROP TABLE text_alerts; DROP TABLE radius_purchases; DROP TABLE radius_since; DROP TABLE updates; ALTER TABLE payments DROP COLUMN paid; UPDATE relay_schema SET version = 3"
            }
        };
        sqlx::raw_sql(back).execute(&ledger.pool).await.unwrap();
        ledger.close().await;
        for _ in 0..2 {
            let ledger = Ledger::open(place).await.unwrap();
            assert_eq!(ledger.payments().await.unwrap().len(), 1);
            store(&ledger, "sms-1", "receipt 1", Kind::Credentials, NOW).await;
            assert_eq!(ledger.texts().await.unwrap().len(), 1);
            ledger.close().await;
        }
    }
}
