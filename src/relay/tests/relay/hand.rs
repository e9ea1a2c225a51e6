//! Money without a prompt, receipts, reversals, and keys that are revoked: against the lab's Safaricom, which is strict about
//! Daraja's forms and knows what it really moved.

mod bank;
mod till;

use super::router::Router;
use super::until;
use bank::{Bank, PHONE, paid};
use lango_core::message::{DownBody, Found, Outcome};
use lango_core::units::Shillings;
use lango_lab::safaricom::customer::{Answer, Customer, Delivery};
use lango_lab::safaricom::org::{Ending, Masking};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn money_by_hand_goes_to_the_router_that_the_account_number_names() {
    let mut bank = Bank::new(&["kibera-7", "kibera-8"]).await;
    let registered = bank.safaricom.registered().unwrap();
    assert!(registered.confirmation.ends_with("/confirmation") && registered.response_type == "Completed");
    bank.refused(&["c2b", "register"], 69, "URL Management");
    for (account, router, word) in [("KIBERA 7", "kibera-7", None), ("kibera8.hour", "kibera-8", Some("HOUR"))] {
        let by_hand = bank.safaricom.pays_by_hand(PHONE, account, 10);
        assert!(by_hand.confirmed && by_hand.validation.is_none());
        let receipt = by_hand.paid.unwrap().receipt;
        let deposit = bank.deposit(router).await;
        assert_eq!((deposit.receipt.as_str(), deposit.amount, deposit.word.as_deref()), (receipt.as_str(), Shillings(10), word));
        assert_eq!(deposit.payer.text(), "2547*****678");
        // The same once more, and again: nobody is told, and nothing is booked.
        assert!(bank.safaricom.confirms(&receipt) && bank.safaricom.confirms(&receipt));
        let row = bank.row_until(&receipt, "/status", "paid").await;
        assert_eq!((row["router"].as_str(), row["channel"].as_str(), row["account"].as_str()), (Some(router), Some("c2b"), Some(account)));
    }
    assert_eq!(bank.rows().len(), 2);
    assert_eq!(bank.more_deposits("kibera-7").await, [""; 0]);
    let sums = bank.ok(&["payments", "--sums", "--csv"]);
    assert!(sums.contains(",kibera-7,1,10,0\n") && sums.contains(",kibera-8,1,10,0\n"), "{sums}");
    let log = bank.relay.log();
    assert!(!log.contains("345678") && !log.contains(registered.confirmation.rsplit('/').nth(1).unwrap()), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_told_until_it_is_acknowledged_also_by_a_relay_that_was_killed() {
    let mut bank = Bank::new(&["kibera-7"]).await;
    bank.relay.kill();
    let lost = bank.safaricom.pays_by_hand(PHONE, "whatever", 10);
    assert!(!lost.confirmed);
    bank.relay.start().await;
    let receipt = lost.paid.unwrap().receipt;
    assert!(bank.safaricom.confirms(&receipt));
    let seen = loop {
        if let DownBody::Deposit(deposit) = bank.router("kibera-7").next().await.body {
            break deposit;
        }
    };
    // One router: whatever the account number, it is its own; the word may name a package.
    assert_eq!((seen.receipt.as_str(), seen.word.as_deref()), (receipt.as_str(), Some("WHATEVER")));
    bank.relay.kill();
    bank.relay.start().await;
    assert_eq!(bank.deposit("kibera-7").await, seen, "not acknowledged yet");
    bank.router("kibera-7").fence().await;
    assert_eq!(bank.more_deposits("kibera-7").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_turns_away_what_cannot_be_served() {
    let bank = Bank::new(&["kibera-7", "kibera-8"]).await;
    bank.safaricom.validates(true);
    for (account, amount, code) in
        [("Kibera 7", 10, "0"), ("kibera", 10, "C2B00012"), ("KIBERA 9", 10, "C2B00012"), ("kibera-8", 0, "C2B00013")]
    {
        let by_hand = bank.safaricom.pays_by_hand(PHONE, account, amount);
        assert_eq!((by_hand.validation.as_deref(), by_hand.paid.is_some()), (Some(code), code == "0"), "{account}");
    }
    let validation = bank.safaricom.registered().unwrap().validation;
    let post = async |url: &str, body: &str| {
        let response = reqwest::Client::new().post(url).body(body.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let foreign = r#"{"TransID":"RKTQDM7W6S","TransAmount":"10","BusinessShortCode":"600638","BillRefNumber":"kibera7","MSISDN":"1"}"#;
    assert_eq!(post(&validation, foreign).await.1, r#"{"ResultCode":"C2B00015","ResultDesc":"Rejected"}"#);
    assert_eq!(post(&validation, "no").await.1, r#"{"ResultCode":"C2B00016","ResultDesc":"Rejected"}"#);
    // Nobody else's address.
    let secret = validation.rsplit('/').nth(1).unwrap();
    let other = validation.replace(secret, "00000000000000000000000000000000");
    assert_eq!(post(&other, foreign).await.0, 404);
    assert_eq!(post(&other.replace("validation", "confirmation"), foreign).await.0, 404);
    assert_eq!(post(&validation.replace("/c2b/", "/result/").replace("/validation", ""), foreign).await.0, 404);
    assert_eq!(bank.rows().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompts_money_that_comes_again_as_c2b_is_one_payment() {
    let mut bank = Bank::new(&["kibera-7", "kibera-8"]).await;
    let pays = Customer::who(Answer::Pays);
    // After its callback.
    bank.asks("kibera-7", "after0000000aaaa");
    let receipt = bank.receipt().await;
    assert_eq!(bank.router("kibera-7").outcome("after0000000aaaa").await, paid(&receipt));
    assert!(bank.safaricom.confirms(&receipt));
    // In place of a callback that is lost.
    bank.safaricom.everybody(pays.delivered(Delivery::Lost));
    bank.asks("kibera-7", "place0000000aaaa");
    until("the second money", async || (bank.safaricom.money().len() == 2).then_some(())).await;
    let receipt = bank.receipt().await;
    assert!(bank.safaricom.confirms(&receipt));
    assert_eq!(bank.router("kibera-7").outcome("place0000000aaaa").await, paid(&receipt));
    // After a query that had no receipt: the router keeps the stand-in, the books get the name.
    bank.asks("kibera-7", "query0000000aaaa");
    until("the third money", async || (bank.safaricom.money().len() == 3).then_some(())).await;
    let receipt = bank.receipt().await;
    until("the push's answer", async || {
        bank.rows().iter().any(|row| row["payment"] == "query0000000aaaa" && row["state"] == "prompted").then_some(())
    })
    .await;
    bank.ok(&["retry", "query0000000aaaa"]);
    let Outcome::Paid { receipt: stand_in, .. } = bank.router("kibera-7").outcome("query0000000aaaa").await else { panic!("paid") };
    assert!(stand_in.as_str().starts_with('Q') && stand_in.as_str().len() == 12);
    assert!(bank.safaricom.confirms(&receipt) && bank.safaricom.confirms(&receipt));
    let row = bank.row_until(&receipt, "/status", "paid").await;
    assert_eq!((row["receipt"].as_str(), row["channel"].as_str()), (Some(stand_in.as_str()), Some("prompt")));
    // And before its callback.
    bank.safaricom.everybody(pays.delivered(Delivery::Held));
    bank.asks("kibera-7", "before000000aaaa");
    until("the fourth money", async || (bank.safaricom.money().len() == 4).then_some(())).await;
    let receipt = bank.receipt().await;
    assert!(bank.safaricom.confirms(&receipt));
    assert_eq!(bank.router("kibera-7").outcome("before000000aaaa").await, paid(&receipt));
    bank.safaricom.release_callbacks();
    // Its reference typed by hand is more money, and that router's.
    let again = bank.safaricom.pays_by_hand(PHONE, "BEFORE000000", 10).paid.unwrap().receipt;
    assert_eq!(bank.deposit("kibera-7").await.receipt.as_str(), again);
    assert_eq!(bank.more_deposits("kibera-7").await, [""; 0]);
    assert_eq!(bank.router("kibera-7").fence().await, []);
    assert_eq!(bank.rows().len(), 5);
    let all: u64 = bank.safaricom.money().iter().map(|paid| paid.amount).sum();
    assert!(bank.ok(&["payments", "--sums", "--csv"]).contains(&format!(",kibera-7,5,{all},")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_comes_after_its_money_was_given_away_is_told_and_not_booked_again() {
    let mut bank = Bank::new(&["kibera-7", "kibera-8"]).await;
    bank.safaricom.everybody(Customer::who(Answer::Pays).delivered(Delivery::Held));
    bank.asks("kibera-7", "given0000000aaaa");
    let receipt = bank.receipt().await;
    // Told with another account number than the prompt's, as a form that nobody has seen yet.
    let confirmation = bank.safaricom.registered().unwrap().confirmation;
    let body = format!(r#"{{"TransID":"{receipt}","TransAmount":"10.00","BillRefNumber":"who knows","MSISDN":"2547 ***** 678"}}"#);
    let response = reqwest::Client::new().post(&confirmation).body(body).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, r#"{"ResultCode":0,"ResultDesc":"Success"}"#));
    bank.row_until(&receipt, "/status", "waiting").await;
    bank.safaricom.release_callbacks();
    assert_eq!(bank.router("kibera-7").outcome("given0000000aaaa").await, paid(&receipt));
    let sums = bank.ok(&["payments", "--sums", "--csv"]);
    assert!(sums.contains(",kibera-7,1,10,0\n") && sums.lines().count() == 2, "{sums}");
    bank.refused(&["assign", &receipt, "kibera-8"], 64, "does not wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_whose_money_went_back_serves_nobody() {
    let mut bank = Bank::with(&["kibera-7", "kibera-8"], None).await;
    bank.safaricom.everybody(Customer::who(Answer::Pays).delivered(Delivery::Held));
    bank.asks("kibera-7", "back00000000aaaa");
    let receipt = bank.receipt().await;
    let confirmation = bank.safaricom.registered().unwrap().confirmation;
    let body = format!(r#"{{"TransID":"{receipt}","TransAmount":"10.00","BillRefNumber":"who knows","MSISDN":"2547 ***** 678"}}"#);
    assert_eq!(reqwest::Client::new().post(&confirmation).body(body).send().await.unwrap().status().as_u16(), 200);
    bank.row_until(&receipt, "/status", "waiting").await;
    assert!(bank.ok(&["reverse", &receipt, "--yes"]).contains("is back at who paid it"));
    bank.safaricom.release_callbacks();
    assert!(matches!(bank.router("kibera-7").outcome("back00000000aaaa").await, Outcome::Failed { .. }));
    let row = bank.rows().into_iter().find(|row| row["payment"] == "back00000000aaaa").unwrap();
    assert_eq!(row["state"], "needs_review");
    assert!(row["look_at"].as_str().unwrap().contains("went back to its payer"), "{row}");
    assert_eq!(bank.more_deposits("kibera-7").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_router_waits_for_the_operator_or_for_who_has_the_receipt() {
    let mut bank = Bank::new(&["kibera-7", "kibera-8"]).await;
    let one = bank.safaricom.pays_by_hand(PHONE, "JANE", 10).paid.unwrap().receipt;
    let other = bank.safaricom.pays_by_hand(PHONE, "JANE", 20).paid.unwrap().receipt;
    for receipt in [&one, &other] {
        assert_eq!(bank.row_until(receipt, "/status", "waiting").await["look_at"], "its account number is no router's name");
    }
    assert!(bank.ok(&["payments"]).contains("waiting"));
    bank.refused(&["assign", "RKL51ZDR4F", "kibera-8"], 64, "no money by hand");
    bank.refused(&["assign", &one, "kibera-9"], 64, "no router kibera-9");
    bank.ok(&["assign", &one.to_ascii_lowercase(), "kibera-8"]);
    assert_eq!(bank.deposit("kibera-8").await.receipt.as_str(), one);
    bank.refused(&["assign", &one, "kibera-7"], 64, "kibera-8");
    // Somebody comes to a router with the other one.
    assert_eq!(bank.found("kibera-7", &other, "0712345679").await, Found::Unknown, "not who paid");
    let Found::Deposit(deposit) = bank.found("kibera-7", &other, "0712345678").await else { panic!("it is found") };
    assert_eq!((deposit.receipt.as_str(), deposit.amount), (other.as_str(), Shillings(20)));
    bank.row_until(&other, "/router", "kibera-7").await;
    assert_eq!(bank.found("kibera-8", &other, "0712345678").await, Found::Unknown, "it is the other router's now");
    let Found::Deposit(_) = bank.found("kibera-7", &other, "0712345678").await else { panic!("again") };
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_prompts_are_found_for_who_paid_at_its_router() {
    let mut bank = Bank::new(&["kibera-7", "kibera-8"]).await;
    bank.safaricom.everybody(Customer::who(Answer::Pays).delivered(Delivery::Lost));
    bank.asks("kibera-7", "found0000000aaaa");
    let receipt = bank.receipt().await;
    until("the push's answer", async || bank.rows().iter().any(|row| row["state"] == "prompted").then_some(())).await;
    bank.ok(&["retry", "found0000000aaaa"]);
    let Outcome::Paid { receipt: stand_in, .. } = bank.router("kibera-7").outcome("found0000000aaaa").await else { panic!("paid") };
    assert!(bank.safaricom.confirms(&receipt));
    bank.row_until(&receipt, "/status", "paid").await;
    for known in [receipt.as_str(), stand_in.as_str()] {
        let Found::Payment(paid) = bank.found("kibera-7", known, "0712345678").await else { panic!("{known} is found") };
        assert_eq!((paid.order.as_str(), &paid.receipt, paid.amount), ("found0000000aaaa", &stand_in, Shillings(10)));
    }
    assert_eq!(bank.found("kibera-7", &receipt, "0712345679").await, Found::Unknown);
    assert_eq!(bank.found("kibera-8", &receipt, "0712345678").await, Found::Unknown);
    assert_eq!(bank.safaricom.status_asked(), [""; 0], "what is known is not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_nobody_knows_is_asked_about_and_its_money_is_booked() {
    let mut bank = Bank::new(&["kibera-7", "kibera-8"]).await;
    bank.safaricom.loses_confirmations(true);
    let receipt = bank.safaricom.pays_by_hand(PHONE, "kibera7", 10).paid.unwrap().receipt;
    assert_eq!(bank.found("kibera-8", &receipt, "0712345678").await, Found::Asking);
    let deposit = bank.deposit("kibera-8").await;
    assert_eq!((deposit.receipt.as_str(), deposit.payer.text().as_str()), (receipt.as_str(), PHONE));
    assert_eq!(bank.row_until(&receipt, "/status", "paid").await["channel"], "status");
    // Safaricom tells of it after all.
    assert!(bank.safaricom.confirms(&receipt));
    assert_eq!(bank.more_deposits("kibera-8").await, [""; 0]);
    // Another's money is booked, and not this customer's.
    let theirs = bank.safaricom.pays_by_hand("254722222222", "kibera7", 10).paid.unwrap().receipt;
    assert_eq!(bank.found("kibera-8", &theirs, "0712345678").await, Found::Asking);
    bank.row_until(&theirs, "/status", "waiting").await;
    // What does not exist is asked about once.
    assert_eq!(bank.found("kibera-7", "RKL51ZDR4F", "0712345678").await, Found::Asking);
    let begin = std::time::Instant::now();
    while bank.found("kibera-7", "RKL51ZDR4F", "0712345678").await != Found::Unknown {
        assert!(begin.elapsed() < super::PATIENCE, "Safaricom's answer changes nothing");
    }
    assert_eq!(bank.safaricom.status_asked(), [receipt.as_str(), &theirs, "RKL51ZDR4F"], "each once");
    assert_eq!(bank.found("kibera-7", "QABCDEFGHIJK", "0712345678").await, Found::Unknown, "no receipt of M-Pesa's");
    assert!(bank.safaricom.refusals().is_empty(), "{:?}", bank.safaricom.refusals());
}

#[tokio::test(flavor = "multi_thread")]
async fn money_goes_back_once_and_only_by_the_operator() {
    let mut bank = Bank::new(&["kibera-7", "kibera-8"]).await;
    let waits = bank.safaricom.pays_by_hand(PHONE, "JANE", 10).paid.unwrap().receipt;
    bank.row_until(&waits, "/status", "waiting").await;
    bank.refused(&["reverse", &waits], 64, "say --yes");
    bank.refused(&["reverse", "RKL51ZDR4F", "--yes"], 64, "no money with the receipt");
    assert!(bank.safaricom.reversals().is_empty());
    // Refused and failed: no money moved, so it may be tried again.
    bank.safaricom.reversals_end([Ending::Refused("400.002.02", "Bad Request - Invalid Initiator"), Ending::Code("1")]);
    bank.refused(&["reverse", &waits, "--yes"], 69, "no money moved");
    bank.refused(&["reverse", &waits, "--yes"], 69, "Safaricom's code 1");
    assert!(bank.ok(&["reverse", &waits, "--yes"]).contains("is back at who paid it"));
    let row = bank.row_until(&waits, "/reversal/state", "done").await;
    assert_eq!((row["reversal"]["served"].as_bool(), row["reversal"]["receipt"].as_str().map(str::len)), (Some(false), Some(10)));
    bank.refused(&["reverse", &waits, "--yes"], 64, "never sent twice");
    bank.refused(&["assign", &waits, "kibera-7"], 69, "on its way back");
    assert_eq!(bank.found("kibera-7", &waits, "0712345678").await, Found::Unknown);
    // A router may have served it: that must be said.
    let served = bank.safaricom.pays_by_hand(PHONE, "kibera-8", 20).paid.unwrap().receipt;
    bank.deposit("kibera-8").await;
    bank.refused(&["reverse", &served, "--yes"], 64, "say --served");
    // Nobody knows: it is never sent again.
    bank.safaricom.reversals_end([Ending::Timeout]);
    bank.refused(&["reverse", &served, "--yes", "--served"], 69, "in doubt");
    assert!(bank.ok(&["payments"]).contains("reversal doubt (timeout)"));
    // Asked again it is asked about. That the payment is completed proves nothing.
    bank.refused(&["reverse", &served, "--yes", "--served"], 69, "it was not sent again");
    bank.refused(&["reverse", &served], 69, "lango-relay reconcile");
    assert!(bank.ok(&["payments"]).contains("reversal doubt (Completed, asked "));
    bank.refused(&["reverse", &served, "--forget", "--yes"], 69, "ten minutes");
    bank.refused(&["reverse", &waits, "--done", "--yes"], 64, "no reversal that is open");
    bank.safaricom.status_says("Reversed");
    assert!(bank.ok(&["reverse", &served]).contains("is back at who paid it"));
    bank.refused(&["reverse", &served, "--yes", "--served"], 64, "never sent twice");
    let back: Vec<_> = bank.safaricom.reversals().into_iter().filter(|(_, _, back)| *back).collect();
    assert_eq!(back, [(waits, 10, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_whose_keys_are_revoked_is_not_heard_and_told_nothing() {
    let mut bank = Bank::new(&["kibera-7", "kibera-8"]).await;
    let revoked = bank.ok(&["router", "revoke", "kibera-7"]);
    assert!(revoked.contains("mosquitto_passwd -D /etc/mosquitto/passwd kibera-7"), "{revoked}");
    bank.refused(&["router", "revoke", "kibera-7"], 64, "no router kibera-7");
    bank.refused(&["router", "show", "kibera-7"], 64, "router add kibera-7");
    let acl = bank.ok(&["router", "acl"]);
    assert!(!acl.contains("kibera-7") && acl.contains("kibera-8"), "{acl}");
    bank.asks("kibera-7", "stolen000000aaaa");
    until("the refusal in the log", async || bank.relay.log().contains("its keys are revoked").then_some(())).await;
    // What the command says is to be done at the broker.
    bank.broker.remove_user("kibera-7");
    bank.broker.set_acl(&acl);
    bank.broker.reload();
    until("the broker to end its connection", async || bank.broker.log().contains("not authorised").then_some(())).await;
    // Not its own any more: the one that is left gets it.
    let receipt = bank.safaricom.pays_by_hand(PHONE, "kibera-7", 10).paid.unwrap().receipt;
    assert_eq!(bank.deposit("kibera-8").await.receipt.as_str(), receipt);
    assert!(bank.safaricom.prompts().is_empty());
    // Another device takes its place, with keys of its own.
    let fresh = bank.relay.add_router("kibera-7");
    bank.broker.add_user("kibera-7", &fresh.password);
    bank.broker.set_acl(&bank.ok(&["router", "acl"]));
    bank.broker.reload();
    let mut router = Router::connect("kibera-7", &fresh, bank.broker.port).await;
    router.fence().await;
    bank.routers.insert("kibera-7", router);
    bank.asks("kibera-7", "again0000000aaaa");
    let receipt = until("the money", async || bank.safaricom.money().into_iter().nth(1).map(|paid| paid.receipt)).await;
    assert_eq!(bank.router("kibera-7").outcome("again0000000aaaa").await, paid(&receipt));
    let similar = bank.relay.command(&["router", "add", "Kibera7"]);
    assert!(similar.code == 64 && similar.stderr.contains("too much like router kibera-7"), "{}", similar.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_shown_until_somebody_has_seen_to_it() {
    let bank = Bank::new(&["kibera-7"]).await;
    let confirmation = bank.safaricom.registered().unwrap().confirmation;
    let body = "{\"TransID\":\"RKL51ZDR4F\",\"Sum\":\"10.00\",\"Who\":\"2547\u{1b}[2J12345678\"}";
    let response = reqwest::Client::new().post(&confirmation).body(body).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let posts = || serde_json::from_str::<Vec<Value>>(&bank.ok(&["posts", "--json"])).unwrap();
    let post = until("the post", async || posts().pop()).await;
    assert_eq!(post["words"], body);
    let id = post["post"].as_str().unwrap().to_owned();
    let listed = bank.ok(&["posts"]);
    assert!(listed.contains(&id) && listed.contains("RKL51ZDR4F") && !listed.contains('\u{1b}'), "{listed}");
    assert!(bank.ok(&["payments"]).contains("1 of what Safaricom told of money could not be read"));
    assert!(!bank.relay.log().contains("RKL51ZDR4F"));
    bank.refused(&["posts", "done", "nothing"], 64, "there is no post nothing");
    bank.ok(&["posts", "done", &id]);
    assert_eq!(posts(), [] as [Value; 0]);
    assert!(!bank.ok(&["payments"]).contains("could not be read"));
}
