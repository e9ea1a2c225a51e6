//! What customers do, and what their routers are told.

use super::daraja::Answer;
use super::router::request;
use super::{World, failed, paid};
use lango_core::message::{DownBody, Outcome, Reason, UpBody};
use lango_core::units::Shillings;
use std::time::{Duration, Instant};

fn success(receipt: &str) -> Outcome {
    Outcome::Paid { receipt: receipt.parse().unwrap(), amount: Shillings(10) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_pays() {
    let mut world = World::new().await;
    let order = world.router.ask();
    let DownBody::Ack { of } = world.router.next().await.body else { panic!("the request is acknowledged first") };
    assert_eq!(of.len(), 1);
    let push = world.daraja.next_push().await;
    let sent = |key: &str| push.body[key].as_str().unwrap_or_default().to_owned();
    assert_eq!((push.body["BusinessShortCode"].as_u64(), sent("TransactionType").as_str()), (Some(174_379), "CustomerPayBillOnline"));
    assert_eq!((sent("Amount").as_str(), sent("PhoneNumber").as_str(), sent("PartyB").as_str()), ("10", "254712345678", "174379"));
    assert_eq!((sent("AccountReference").as_str(), sent("TransactionDesc").as_str()), ("000000000000", "1 hour"));
    world.payment_until(&order, "state", "prompted").await;
    assert_eq!(world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await, 200);
    assert_eq!(world.router.outcome(&order).await, success("NLJ7RT61SV"));
    let payment = world.payment(&order).unwrap();
    assert_eq!((&payment["status"], &payment["receipt"], &payment["amount"]), (&"paid".into(), &"NLJ7RT61SV".into(), &10.into()));
    // Nobody's number, amount or secret is in the log.
    let log = world.relay.log();
    let secret = push.callback.rsplit('/').next().unwrap();
    assert!(!log.contains("254712345678") && !log.contains(secret) && !log.contains("NLJ7RT61SV") && log.contains(&order), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_gets_the_money() {
    let mut world = World::with("transaction_type = \"CustomerBuyGoodsOnline\"\ntill = \"5251234\"").await;
    let (_, push) = world.ask().await;
    assert_eq!((push.body["TransactionType"].as_str(), push.body["PartyB"].as_str()), (Some("CustomerBuyGoodsOnline"), Some("5251234")));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_has_its_reason() {
    let mut world = World::new().await;
    for (code, reason) in [
        ("1032", Reason::Cancelled),
        ("\"1032\"", Reason::Cancelled),
        ("2001", Reason::WrongPin),
        ("1", Reason::InsufficientBalance),
        ("1037", Reason::NoResponse),
        ("1019", Reason::NoResponse),
        ("17", Reason::Limit),
        ("1001", Reason::Busy),
        ("\"SFC_IC0003\"", Reason::Other),
    ] {
        let (order, push) = world.ask().await;
        assert_eq!(world.call_back(&push.callback, failed(&push.checkout, code)).await, 200);
        assert_eq!(world.router.outcome(&order).await, Outcome::Failed { reason }, "{code}");
        assert_eq!(world.payment(&order).unwrap()["status"], "failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_after_a_failure_wins_and_nothing_beats_it() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    world.call_back(&push.callback, failed(&push.checkout, "1037")).await;
    assert_eq!(world.router.outcome(&order).await, Outcome::Failed { reason: Reason::NoResponse });
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    assert_eq!(world.router.outcome(&order).await, success("NLJ7RT61SV"));
    for body in [failed(&push.checkout, "1032"), paid(&push.checkout, 10, "NLJ7RT61SV"), paid(&push.checkout, 10, "NLJ7RT61SW")] {
        assert_eq!(world.call_back(&push.callback, body).await, 200);
    }
    let second = "a second receipt for a payment that is paid (receipt NLJ7RT61SW, KSh 10)";
    assert_eq!(world.payment_until(&order, "look_at", second).await["receipt"], "NLJ7RT61SV");
    assert_eq!(world.router.fence().await, []);
    // It is money all the same: it waits for the operator, once, however often it is told.
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SW")).await;
    let waits = world.payment_until("nlj7rt61sw", "status", "waiting").await;
    assert_eq!(waits["look_at"], format!("a second receipt for payment kibera-7/{order}, which is paid"));
    assert_eq!((&waits["receipt"], &waits["amount"], &waits["phone"]), (&"NLJ7RT61SW".into(), &10.into(), &"254712345678".into()));
    let given = world.relay.command(&["assign", "NLJ7RT61SW", "kibera-7"]);
    assert_eq!(given.code, 0, "{}", given.stderr);
    loop {
        if let DownBody::Deposit(deposit) = world.router.next().await.body {
            assert_eq!((deposit.receipt.as_str(), deposit.amount), ("NLJ7RT61SW", Shillings(10)));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_than_was_asked_for_is_told_as_it_came_and_shown() {
    let mut world = World::new().await;
    for (amount, receipt, said) in [(5, "NLJ7RT61SA", "what is too little waits"), (25, "NLJ7RT61SB", "KSh 15 are too much")] {
        let (order, push) = world.ask().await;
        for _ in 0..2 {
            assert_eq!(world.call_back(&push.callback, paid(&push.checkout, amount, receipt)).await, 200);
        }
        let told = Outcome::Paid { receipt: receipt.parse().unwrap(), amount: Shillings(amount) };
        assert_eq!(world.router.outcome(&order).await, told);
        let payment = world.payment(&order).unwrap();
        assert_eq!(
            (&payment["status"], &payment["receipt"], &payment["mpesa_receipt"]),
            (&"paid".into(), &receipt.into(), &receipt.into())
        );
        assert_eq!((&payment["amount"], &payment["asked_for"]), (&amount.into(), &10.into()));
        assert!(payment["look_at"].as_str().unwrap().contains(said), "{payment}");
        let table = world.relay.command(&["payments"]).stdout;
        let line = table.lines().find(|line| line.contains(&order)).unwrap();
        assert!(line.contains(&format!(" {amount} ")) && line.contains(receipt) && line.contains(said), "{line}");
    }
    assert_eq!(world.router.fence().await, []);
    let sums = world.relay.command(&["payments", "--sums", "--csv"]).stdout;
    assert!(sums.lines().filter_map(|line| line.split(',').nth(3)?.parse::<u64>().ok()).sum::<u64>() == 30, "{sums}");
    assert!(!world.relay.log().contains("NLJ7RT61S"), "{}", world.relay.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_twice_counts_once() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    let body = paid(&push.checkout, 10, "NLJ7RT61SV");
    let (one, two) = tokio::join!(world.call_back(&push.callback, body.clone()), world.call_back(&push.callback, body));
    assert_eq!((one, two), (200, 200));
    assert_eq!(world.router.outcome(&order).await, success("NLJ7RT61SV"));
    // A later failure marks that both are worked on: the worker keeps their order.
    world.call_back(&push.callback, paid(&push.checkout, 11, "NLJ7RT61SV")).await;
    world.payment_until(&order, "look_at", "its receipt came with another amount before (receipt NLJ7RT61SV, KSh 11)").await;
    assert_eq!(world.router.fence().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_again_prompts_nobody_again() {
    let mut world = World::new().await;
    let id = "pay-1".parse().unwrap();
    let body = UpBody::PaymentRequest(request("abc"));
    for _ in 0..3 {
        world.router.say_as(&id, body.clone());
        let DownBody::Ack { of } = world.router.next().await.body else { panic!("an acknowledgement") };
        assert_eq!(of, std::slice::from_ref(&id));
    }
    // Late, and under another id, it is still the request that is known.
    let mut late = request("abc");
    late.asked_at = None;
    world.router.say(UpBody::PaymentRequest(late));
    let DownBody::Ack { .. } = world.router.next().await.body else { panic!("an acknowledgement") };
    world.daraja.next_push().await;
    world.router.fence().await;
    assert_eq!(world.daraja.pushes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_request_prompts_nobody() {
    let mut world = World::new().await;
    for asked_at in [None, Some(0), Some(-91_000_i64), Some(120_000)] {
        let order = format!("stale{}", asked_at.unwrap_or(1).unsigned_abs());
        let mut stale = request(&order);
        stale.asked_at = match asked_at {
            None => None,
            Some(0) => Some(lango_core::time::Wall(0)),
            Some(offset) => stale.asked_at.and_then(|now| now.0.checked_add_signed(offset)).map(lango_core::time::Wall),
        };
        world.router.say(UpBody::PaymentRequest(stale));
        let down = world.router.next().await;
        let DownBody::Stale { order: told } = down.body else { panic!("stale: {asked_at:?}") };
        assert_eq!(told.as_str(), order);
        assert!(super::router::now().0.abs_diff(down.at.0) < 10_000, "the relay's time comes with it");
        assert!(world.payment(&order).is_none());
        // Asked anew, it is a request like any other.
        world.router.say(UpBody::PaymentRequest(request(&order)));
        world.daraja.next_push().await;
        let DownBody::Ack { .. } = world.router.next().await.body else { panic!("an acknowledgement") };
    }
    assert_eq!(world.daraja.pushes(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callback_comes_before_the_pushs_own_answer() {
    let mut world = World::new().await;
    world.daraja.answers([Answer::Hold]);
    let (order, push) = world.ask().await;
    assert_eq!(world.payment(&order).unwrap()["state"], "prompting");
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    assert_eq!(world.router.outcome(&order).await, success("NLJ7RT61SV"));
    world.daraja.release();
    assert_eq!(world.router.fence().await, []);
    assert_eq!(world.payment(&order).unwrap()["status"], "paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_push_answer_is_never_pushed_again_and_the_callback_resolves_it() {
    let mut world = World::new().await;
    world.daraja.answers([Answer::Lose]);
    let (order, push) = world.ask().await;
    let doubtful =
        super::until("the lost answer to be noted", async || world.payment(&order).filter(|payment| !payment["code"].is_null())).await;
    assert_eq!((&doubtful["state"], &doubtful["checkout_request_id"]), (&"prompting".into(), &serde_json::Value::Null));
    world.relay.kill();
    world.relay.start().await;
    world.router.fence().await;
    assert_eq!(world.payment(&order).unwrap()["state"], "prompting");
    let refused = world.relay.command(&["retry", &order]);
    assert!(refused.code == 69 && refused.stderr.contains("never confirmed a prompt"), "{}", refused.stderr);
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    assert_eq!(world.router.outcome(&order).await, success("NLJ7RT61SV"));
    assert_eq!(world.daraja.pushes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_daraja_is_asked_again() {
    let mut world = World::new().await;
    world.daraja.answers([
        Answer::Refuse(500, "500.003.02", "Error Occurred: Spike Arrest Violation"),
        Answer::Refuse(500, "500.003.03", "Quota Violation"),
    ]);
    let asked = Instant::now();
    let (order, push) = world.ask().await;
    assert!(asked.elapsed() >= Duration::from_secs(3), "it backs off: 1 s, then 2 s");
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    assert_eq!(world.router.outcome(&order).await, success("NLJ7RT61SV"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_daraja_refuses_is_told() {
    let mut world = World::new().await;
    for (status, code, message, reason) in [
        (400, "400.002.02", "Bad Request - Invalid PhoneNumber", Reason::Other),
        (500, "500.001.1001", "Wrong credentials", Reason::Other),
        (500, "500.001.1001", "Unable to lock subscriber, a transaction is already in process for the current subscriber", Reason::Busy),
    ] {
        world.daraja.answers([Answer::Refuse(status, code, message)]);
        let order = world.router.ask();
        assert_eq!(world.router.outcome(&order).await, Outcome::Failed { reason }, "{message}");
        assert_eq!(world.payment(&order).unwrap()["code"], code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_for_all_and_a_new_one_where_it_is_refused() {
    let mut world = World::new().await;
    for _ in 0..8 {
        world.router.ask();
    }
    for _ in 0..8 {
        world.daraja.next_push().await;
    }
    assert_eq!(world.daraja.tokens(), (1, 0), "eight pushes at once, one token");
    world.daraja.revoke_token();
    for _ in 0..4 {
        world.router.ask();
    }
    for _ in 0..4 {
        world.daraja.next_push().await;
    }
    assert_eq!(world.daraja.tokens().0, 2, "one of them fetched a new one, for all");
    assert_eq!(world.daraja.pushes(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_finds_what_no_callback_told() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    world.payment_until(&order, "state", "prompted").await;
    world.daraja.result(&push.checkout, "0");
    let retry = world.relay.command(&["retry", &order]);
    assert_eq!(retry.code, 0, "{}", retry.stderr);
    let Outcome::Paid { receipt, amount } = world.router.outcome(&order).await else { panic!("paid") };
    assert_eq!((receipt.as_str().len(), amount), (12, Shillings(10)), "a query has no receipt: a stand-in is told");
    // The callback comes after all: the receipt is noted, and the router hears nothing more.
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    let payment = world.payment_until(&order, "mpesa_receipt", "NLJ7RT61SV").await;
    assert_eq!(payment["receipt"], receipt.as_str());
    assert_eq!(world.router.fence().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_quicker_than_its_callback_waits_for_the_receipt() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    world.payment_until(&order, "state", "prompted").await;
    world.daraja.result(&push.checkout, 0);
    let retry = world.relay.command(&["retry", &format!("kibera-7/{order}")]);
    assert_eq!((retry.code, retry.stdout.trim()), (0, &*format!("kibera-7/{order}: pending")), "{}", retry.stderr);
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    assert_eq!(world.router.outcome(&order).await, success("NLJ7RT61SV"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_code_decides_nothing_and_the_query_does() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    world.daraja.result(&push.checkout, 1032);
    world.call_back(&push.callback, failed(&push.checkout, "424242")).await;
    assert_eq!(world.router.outcome(&order).await, Outcome::Failed { reason: Reason::Cancelled });
    assert_eq!(world.daraja.queries(), [push.checkout]);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_callback_to_broker_in_milliseconds() {
    let mut world = World::new().await;
    let mut times = Vec::new();
    for number in 0..20 {
        let (order, push) = world.ask().await;
        world.payment_until(&order, "state", "prompted").await;
        let body = paid(&push.checkout, 10, &format!("NLJ7RT61{number:02}"));
        let sent = Instant::now();
        world.call_back(&push.callback, body).await;
        world.router.outcome(&order).await;
        times.push(sent.elapsed());
    }
    times.sort();
    eprintln!("callback sent to result at the router: median {:?}, longest {:?}", times[10], times[19]);
    // Two durable commits and a broker lie between. The bound is for a busy machine; the figure is printed.
    assert!(times[10] < Duration::from_millis(100), "{times:?}");
}
