//! Money without a prompt, and money that goes back.

use super::*;

fn deposit(receipt: &str, stage: Stage) -> Deposit {
    Deposit {
        receipt: receipt.parse().unwrap(),
        stage,
        router: None,
        account: "Kibera 7".to_owned(),
        word: None,
        payer: "2547*****678".parse().unwrap(),
        hash: None,
        amount: Shillings(10),
        channel: "c2b".to_owned(),
        completed_at: Some(NOW),
        at: NOW,
        due: None,
        order: None,
        note: None,
    }
}

#[tokio::test]
async fn a_deposit_is_entered_once_and_its_money_stays() {
    let both = both();
    for ledger in both.open().await {
        let waiting = deposit("RKL51ZDR4F", Stage::Waiting);
        for first in [true, false] {
            let mut change = ledger.begin().await.unwrap();
            let entered = change.add_deposit(&waiting).await;
            if first {
                change.book_deposit(&waiting, NOW).await.unwrap();
                change.commit().await.unwrap();
            } else {
                assert!(is_collision(&entered.unwrap_err()));
            }
        }
        assert_eq!(ledger.deposit(&waiting.receipt).await.unwrap(), Some(waiting.clone()));
        assert!(ledger.receipt_is_booked(&waiting.receipt).await.unwrap());
        let [entry] = &*ledger.entries(NOW, Wall(NOW.0 + 1)).await.unwrap() else { panic!("it is in the books") };
        assert_eq!((entry.router.as_ref(), entry.amount), (None, Shillings(10)));
        // Given to a router it is that one's for ever; what was paid never changes.
        let mut given = Deposit { stage: Stage::Given, router: Some("kibera-7".parse().unwrap()), ..waiting.clone() };
        let mut change = ledger.begin().await.unwrap();
        change.settle_deposit(&given).await.unwrap();
        change.commit().await.unwrap();
        given.router = Some("kibera-8".parse().unwrap());
        let mut change = ledger.begin().await.unwrap();
        assert!(change.settle_deposit(&given).await.is_err());
        drop(change);
        for text in ["UPDATE deposits SET amount = 20", "DELETE FROM deposits", "UPDATE posts SET kind = 'x'", "DELETE FROM reversals"] {
            let mut change = ledger.begin().await.unwrap();
            change.claim_reversal(&"RKL51ZDR4G".parse().unwrap(), Shillings(1), false, &CallbackSecret::new().unwrap(), NOW).await.unwrap();
            let post = "INSERT INTO posts (id, kind, subject, at, body) VALUES ('a', 'c2b', '', 1, '')";
            sqlx::raw_sql(post).execute(&mut *change.tx).await.unwrap();
            assert!(sqlx::raw_sql(text).execute(&mut *change.tx).await.is_err(), "{text}");
        }
    }
}

#[tokio::test]
async fn a_reversal_is_claimed_once_and_only_a_failure_makes_way_for_another() {
    let both = both();
    for ledger in both.open().await {
        let receipt: Receipt = "RKL51ZDR4F".parse().unwrap();
        let claim = async |served| {
            let secret = CallbackSecret::new().unwrap();
            let mut change = ledger.begin().await.unwrap();
            let claimed = change.claim_reversal(&receipt, Shillings(10), served, &secret, NOW).await.unwrap();
            change.commit().await.unwrap();
            claimed.then(|| secret.reveal().to_owned())
        };
        let first = claim(false).await.unwrap();
        assert_eq!(claim(false).await, None);
        let state =
            async |secret: &str, state: &str| ledger.reversal_is(secret, state, Some("21"), None, NOW).await.unwrap().unwrap().state;
        assert_eq!(state(&first, "accepted").await, "accepted");
        assert_eq!(state(&first, "doubt").await, "doubt");
        assert_eq!(claim(false).await, None, "in doubt it is never sent again");
        assert_eq!(state(&first, "failed").await, "failed");
        let second = claim(true).await.unwrap();
        // The result may come before the answer to the request.
        assert_eq!(state(&second, "done").await, "done");
        for later in ["accepted", "failed", "doubt"] {
            assert_eq!(state(&second, later).await, "done", "{later}");
        }
        assert_eq!(claim(false).await, None);
        assert_eq!(ledger.reversals().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn what_a_router_has_not_acknowledged_is_taken_back_and_told_again_when_its_reversal_fails() {
    let both = both();
    for ledger in both.open().await {
        let router: RouterName = "kibera-7".parse().unwrap();
        ledger.add_router(&router, &lango_core::units::Password::new("a").unwrap(), NOW).await.unwrap();
        let receipt: Receipt = "RKL51ZDR4F".parse().unwrap();
        let message = Message {
            id: "m-1".parse().unwrap(),
            router: router.clone(),
            order: "rkl51zdr4f".parse().unwrap(),
            seq: 1,
            topic: "t".to_owned(),
            payload: "p".to_owned(),
            made_at: NOW,
        };
        let secret = CallbackSecret::new().unwrap();
        let mut change = ledger.begin().await.unwrap();
        change.post(&message, false).await.unwrap();
        change.claim_reversal(&receipt, Shillings(10), true, &secret, NOW).await.unwrap();
        assert!(change.take_back(&router, &message.order, NOW).await.unwrap());
        change.commit().await.unwrap();
        assert_eq!(ledger.claim(&Which::All, "a", NOW).await.unwrap(), []);
        ledger.reversal_is(secret.reveal(), "failed", Some("1"), None, NOW).await.unwrap();
        assert_eq!(ledger.claim(&Which::All, "b", NOW).await.unwrap(), std::slice::from_ref(&message));
        ledger.acknowledged(&router, std::slice::from_ref(&message.id), NOW).await.unwrap();
        assert_eq!(ledger.claim(&Which::All, "c", NOW).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_reversal_that_nobody_heard_the_end_of_is_settled_by_another_word_and_counts_once() {
    let both = both();
    for ledger in both.open().await {
        let receipt: Receipt = "RKL51ZDR4F".parse().unwrap();
        let claim = async || {
            let secret = CallbackSecret::new().unwrap();
            let mut change = ledger.begin().await.unwrap();
            assert!(change.claim_reversal(&receipt, Shillings(10), false, &secret, NOW).await.unwrap());
            change.commit().await.unwrap();
            secret
        };
        let stands = async || ledger.reversal_of(&receipt).await.unwrap().map(|reversal| (reversal.state, reversal.code)).unwrap();
        let first = claim().await;
        let about = ledger.secret_about_reversal(&receipt, NOW).await.unwrap();
        assert_eq!(ledger.secret_about_reversal(&receipt, NOW).await.unwrap().reveal(), about.reveal(), "one address for all questions");
        assert_eq!(ledger.asked_with(&about).await.unwrap(), Some(PostKind::AboutReversal));
        assert_eq!(ledger.asked_with(&first).await.unwrap(), Some(PostKind::Reversal));
        assert_eq!(ledger.reversal_asked_about(about.reveal()).await.unwrap().as_ref(), Some(&receipt));
        assert_eq!(ledger.reversal_asked_about(first.reveal()).await.unwrap(), None);
        ledger.said_of_reversed(&receipt, "Completed").await.unwrap();
        assert_eq!(stands().await, ("claimed".to_owned(), Some("Completed".to_owned())));
        // Forgotten, and claimed anew; then the first one ends well after all. Only one may be done.
        ledger.settle_reversal(&receipt, "failed", "the operator's word", NOW).await.unwrap();
        assert_eq!(stands().await.0, "failed");
        let second = claim().await;
        crate::reversing::ended(&ledger, first.reveal(), "done", Some("0"), None).await.unwrap();
        let all = ledger.reversals().await.unwrap();
        let mut found: Vec<_> = all.iter().map(|reversal| (reversal.state.as_str(), reversal.code.as_deref())).collect();
        found.sort_unstable();
        assert_eq!(found, [("claimed", None), ("failed", Some("done after it was forgotten"))]);
        crate::reversing::ended(&ledger, second.reveal(), "done", Some("0"), Some("RKL51ZDR4G")).await.unwrap();
        ledger.settle_reversal(&receipt, "failed", "the operator's word", NOW).await.unwrap();
        ledger.said_of_reversed(&receipt, "x").await.unwrap();
        assert!(ledger.reversals().await.unwrap().iter().any(|reversal| reversal.state == "done" && reversal.code.as_deref() == Some("0")));
    }
}
