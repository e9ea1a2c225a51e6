//! Money at a till, of which queries tell without a receipt: served once, whatever else fits.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn at_a_till_a_prompts_money_waits_for_its_own_result_and_hand_money_goes_by_the_number() {
    let mut bank = Bank::with(&["kibera-7", "kibera-8"], Some("5251234")).await;
    bank.safaricom.everybody(Customer::who(Answer::Pays).delivered(Delivery::Held));
    bank.asks("kibera-8", "till00000000aaaa");
    let receipt = bank.receipt().await;
    assert!(bank.safaricom.confirms(&receipt));
    bank.row_until(&receipt, "/state", "held").await;
    bank.refused(&["reverse", &receipt, "--yes"], 69, "wait until that is decided");
    bank.safaricom.release_callbacks();
    assert_eq!(bank.router("kibera-8").outcome("till00000000aaaa").await, paid(&receipt));
    until("the deposit to be that payment's", async || (bank.rows().len() == 1).then_some(())).await;
    // A prompt whose callback is lost: the number, the amount and the time tell whose it is.
    bank.safaricom.everybody(Customer::who(Answer::Pays).delivered(Delivery::Lost));
    bank.asks("kibera-8", "till11111111aaaa");
    until("the second money", async || (bank.safaricom.money().len() == 2).then_some(())).await;
    let receipt = bank.receipt().await;
    until("the push's answer", async || {
        bank.rows().iter().any(|row| row["payment"] == "till11111111aaaa" && row["state"] == "prompted").then_some(())
    })
    .await;
    bank.ok(&["retry", "till11111111aaaa"]);
    let Outcome::Paid { .. } = bank.router("kibera-8").outcome("till11111111aaaa").await else { panic!("paid") };
    assert!(bank.safaricom.confirms(&receipt));
    assert_eq!(bank.row_until(&receipt, "/status", "paid").await["payment"], "till11111111aaaa");
    // Now by hand: nobody is prompted, and the number was at that router last.
    bank.safaricom.masks(Masking::Whole);
    let by_hand = bank.safaricom.pays_by_hand(PHONE, "", 20).paid.unwrap().receipt;
    let deposit = bank.deposit("kibera-8").await;
    assert_eq!((deposit.receipt.as_str(), deposit.payer.text().as_str(), deposit.word), (by_hand.as_str(), PHONE, None));
    // A number that is shown in part is nobody's for sure.
    bank.safaricom.masks(Masking::Masked);
    let waits = bank.safaricom.pays_by_hand(PHONE, "", 20).paid.unwrap().receipt;
    assert_eq!(bank.row_until(&waits, "/status", "waiting").await["look_at"], "it has no account number");
}

/// The prompts of a till, each paid, each found by a query that has no receipt.
async fn paid_by_query(bank: &mut Bank, name: &'static str, orders: &[&str]) {
    bank.safaricom.everybody(Customer::who(Answer::Pays).delivered(Delivery::Lost));
    for order in orders {
        let before = bank.safaricom.money().len();
        bank.asks(name, order);
        until("the money", async || (bank.safaricom.money().len() == before + 1).then_some(())).await;
        until("the push's answer", async || {
            bank.rows().iter().any(|row| row["payment"] == *order && row["state"] == "prompted").then_some(())
        })
        .await;
        bank.ok(&["retry", order]);
        let Outcome::Paid { receipt, .. } = bank.router(name).outcome(order).await else { panic!("{order} is paid") };
        assert!(receipt.as_str().starts_with('Q'), "{receipt}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tills_money_that_queries_told_of_is_served_once_whatever_else_fits() {
    let mut bank = Bank::with(&["kibera-7", "kibera-8"], Some("5251234")).await;
    // The same number, the same price: cancelled once, then paid twice, and no callback came.
    bank.safaricom.everybody(Customer::who(Answer::Cancels));
    bank.asks("kibera-7", "cancel000000aaaa");
    assert!(matches!(bank.router("kibera-7").outcome("cancel000000aaaa").await, Outcome::Failed { .. }));
    paid_by_query(&mut bank, "kibera-7", &["first0000000aaaa", "second000000aaaa"]).await;
    let receipts: Vec<String> = bank.safaricom.money().into_iter().map(|paid| paid.receipt).collect();
    for receipt in receipts.iter().rev() {
        assert!(bank.safaricom.confirms(receipt) && bank.safaricom.confirms(receipt));
    }
    let orders: Vec<String> = {
        let mut found = Vec::new();
        for receipt in &receipts {
            found.push(bank.row_until(receipt, "/channel", "prompt").await["payment"].as_str().unwrap().to_owned());
        }
        found.sort();
        found
    };
    assert_eq!(orders, ["first0000000aaaa", "second000000aaaa"]);
    assert_eq!(bank.more_deposits("kibera-7").await, [""; 0], "their money was served by the queries' word");
    // One more, by hand: the prompt that was cancelled is the only one left, and now it is paid.
    let more = bank.safaricom.pays_by_hand(PHONE, "", 10).paid.unwrap().receipt;
    assert_eq!(bank.router("kibera-7").outcome("cancel000000aaaa").await, paid(&more));
    let sums = bank.ok(&["payments", "--sums", "--csv"]);
    assert!(sums.contains(",kibera-7,3,30,0\n"), "{sums}");
    assert_eq!(bank.more_deposits("kibera-7").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_after_its_payment_had_other_money_brings_more_money() {
    let mut bank = Bank::with(&["kibera-7", "kibera-8"], Some("5251234")).await;
    bank.safaricom.masks(Masking::Whole);
    bank.safaricom.everybody(Customer::who(Answer::Pays).delivered(Delivery::Held));
    bank.asks("kibera-7", "late00000000aaaa");
    let own = bank.receipt().await;
    until("the push's answer", async || bank.rows().iter().any(|row| row["state"] == "prompted").then_some(())).await;
    bank.ok(&["retry", "late00000000aaaa"]);
    let Outcome::Paid { receipt: stand_in, .. } = bank.router("kibera-7").outcome("late00000000aaaa").await else { panic!("paid") };
    assert_eq!(stand_in.as_str().len(), 12);
    // Paid once more by hand, at once: what comes first is taken for the prompt's.
    let more = bank.safaricom.pays_by_hand(PHONE, "", 10).paid.unwrap().receipt;
    assert_eq!(bank.row_until(&more, "/channel", "prompt").await["payment"], "late00000000aaaa");
    bank.safaricom.release_callbacks();
    let deposit = bank.deposit("kibera-7").await;
    assert_eq!((deposit.receipt.as_str(), deposit.amount), (own.as_str(), Shillings(10)));
    assert!(bank.safaricom.confirms(&own) && bank.safaricom.confirms(&more));
    let sums = bank.ok(&["payments", "--sums", "--csv"]);
    assert!(sums.contains(",kibera-7,2,20,0\n"), "{sums}");
    assert_eq!(bank.more_deposits("kibera-7").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_away_as_paid_by_hand_is_not_served_again_when_a_query_says_paid() {
    let mut bank = Bank::with(&["kibera-7", "kibera-8"], Some("5251234")).await;
    bank.safaricom.masks(Masking::Whole);
    // Two prompts that Safaricom calls cancelled; what it says of one later is that it was paid.
    bank.safaricom.everybody(Customer::who(Answer::Cancels));
    for order in ["one000000000aaaa", "two000000000aaaa"] {
        bank.asks("kibera-7", order);
        assert!(matches!(bank.router("kibera-7").outcome(order).await, Outcome::Failed { .. }));
    }
    let given = bank.safaricom.pays_by_hand(PHONE, "", 10).paid.unwrap().receipt;
    assert_eq!(bank.deposit("kibera-7").await.receipt.as_str(), given);
    bank.safaricom.queries_say(0);
    bank.ok(&["retry", "two000000000aaaa"]);
    assert_eq!(bank.router("kibera-7").outcome("two000000000aaaa").await, paid(&given), "the same receipt, which is served once");
    let row = bank.row_until(&given, "/channel", "prompt").await;
    assert_eq!((row["payment"].as_str(), row["receipt"].as_str()), (Some("two000000000aaaa"), Some(given.as_str())));
    // The other one, too: of its money nobody told, so it is more money.
    bank.ok(&["retry", "one000000000aaaa"]);
    let Outcome::Paid { receipt, .. } = bank.router("kibera-7").outcome("one000000000aaaa").await else { panic!("paid") };
    assert_eq!(receipt.as_str().len(), 12);
    let sums = bank.ok(&["payments", "--sums", "--csv"]);
    assert!(sums.contains(",kibera-7,2,20,1\n"), "{sums}");
    // The day's list has that money once, too.
    let day = sums.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    let list = bank.ok(&["payments", "--day", &day, "--csv"]);
    assert_eq!(list.lines().filter(|line| line.contains(",paid,")).count(), 2, "{list}");
}
