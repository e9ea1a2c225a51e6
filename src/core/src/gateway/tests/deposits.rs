//! Money paid by hand, and receipts that are brought to the router.

use super::world::*;
use crate::gate::GateAccount;
use crate::message::{Deposit, DownBody, Found, PaidOrder, ReceiptAnswer, UpBody};
use crate::request::{Answer, AskId, PaymentStatus, Refusal, Request, SessionView};
use crate::step::{Effect, Input};
use crate::units::{Mac, MessageId, Seconds, Shillings};

const RECEIPT: &str = "RKL51ZDR4F";

fn deposit(receipt: &str, amount: u64, payer: &str, word: Option<&str>) -> Deposit {
    Deposit {
        receipt: receipt.parse().unwrap(),
        amount: Shillings(amount),
        payer: payer.parse().unwrap(),
        word: word.map(str::to_owned),
        paid_at: None,
    }
}

fn answer_in(effects: &[Effect]) -> Option<Answer> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, answer) => Some(answer.clone()),
        _ => None,
    })
}

impl World {
    fn deposit(&mut self, receipt: &str, amount: u64, payer: &str, word: Option<&str>) -> Vec<Effect> {
        self.relay(DownBody::Deposit(deposit(receipt, amount, payer, word)))
    }

    /// The answer, if it comes at once; and the question to the relay, if there is one.
    fn reclaim(&mut self, device: Mac, receipt: &str, phone: &str) -> (Option<Answer>, Option<MessageId>) {
        let request = Request::Reclaim { device, receipt: receipt.parse().unwrap(), phone: phone.parse().unwrap() };
        let effects = self.step(Input::Ask(AskId(7_000), request));
        let query = effects.iter().find_map(|effect| match effect {
            Effect::Publish(up) => match &up.body {
                UpBody::ReceiptQuery(query) => Some(query.query.clone()),
                _ => None,
            },
            _ => None,
        });
        (answer_in(&effects), query)
    }

    fn reclaimed(&mut self, device: Mac, receipt: &str, phone: &str) -> SessionView {
        match self.reclaim(device, receipt, phone) {
            (Some(Answer::Session(session)), None) => session,
            other => panic!("expected a session at once, got {other:?}"),
        }
    }

    fn found(&mut self, query: MessageId, found: Found) -> Option<Answer> {
        answer_in(&self.relay(DownBody::Receipt(ReceiptAnswer { query, found })))
    }

    fn unserved(&mut self) -> u32 {
        match self.ask(Request::Status) {
            Answer::Status(status) => status.unserved,
            other => panic!("{other:?}"),
        }
    }

    fn accounts(&mut self) -> Vec<crate::request::AccountView> {
        match self.ask(Request::Accounts) {
            Answer::Accounts(accounts) => accounts,
            other => panic!("{other:?}"),
        }
    }
}

fn refused(refusal: Refusal) -> (Option<Answer>, Option<MessageId>) {
    (Some(Answer::Refused(refusal)), None)
}

#[test]
fn which_package_an_amount_buys() {
    // hour and three slow ones cost 10, mega 20, both 30, family 50.
    for (amount, word, package) in [
        (10, None, Some("hour")),
        (10, Some("SLOWMEGA"), Some("slow_mega")),
        (10, Some("slow"), Some("slow")),
        (20, None, Some("mega")),
        // What was named costs less, and another costs just this.
        (20, Some("HOUR"), Some("mega")),
        (25, Some("HOUR"), Some("hour")),
        (25, Some("JANE"), None),
        (5, Some("HOUR"), None),
        (40, None, None),
        (0, None, None),
    ] {
        let mut world = World::ready();
        world.deposit(RECEIPT, amount, "254712345678", word);
        let accounts = world.accounts();
        let got: Vec<&str> = accounts.iter().map(|account| account.package.as_str()).collect();
        assert_eq!(got, package.into_iter().collect::<Vec<_>>(), "{amount} {word:?}");
        // Never nothing.
        assert_eq!(world.unserved(), u32::from(package.is_none()));
        let Answer::Payments(rows) = world.ask(Request::Payments) else { panic!() };
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].amount, rows[0].receipt.as_ref().unwrap().as_str()), (Some(Shillings(amount)), RECEIPT));
    }
}

#[test]
fn a_deposit_is_served_once_whatever_comes_again() {
    let mut world = World::ready();
    let effects = world.deposit(RECEIPT, 10, "254712345678", None);
    assert!(matches!(effects[0], Effect::Persist(_)), "durable before it is acknowledged: {effects:?}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Publish(up) if matches!(up.body, UpBody::Ack { .. }))));
    world.killed();
    let again = world.deposit(RECEIPT, 10, "254712345678", None);
    assert!(again.iter().any(|effect| matches!(effect, Effect::Publish(up) if matches!(up.body, UpBody::Ack { .. }))), "{again:?}");
    assert_eq!(world.accounts().len(), 1);
    assert_eq!(world.accounts()[0].seconds_remaining, Some(Seconds(3_600)));
}

#[test]
fn a_deposit_extends_the_phones_account_and_brings_its_only_device_online() {
    let mut world = World::ready();
    let username = world.buys(ALICE, "hour", "NLJ7RT61SV").username.unwrap();
    world.deposit(RECEIPT, 10, "254712345678", None);
    assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(7_200)));
    world.pass(3 * HOUR);
    assert!(world.session(ALICE).is_none());
    world.deposit("RKL51ZDR4G", 10, "254712345678", None);
    assert_eq!(world.session(ALICE).unwrap().username, username, "it is there, and online again");
    // A neighbour's number that is shown in part fits, and opens nobody else's account.
    world.deposit("RKL51ZDR4H", 10, "2547*****678", None);
    assert_eq!(world.accounts().len(), 2);
    // By name anybody may pay for anybody.
    world.deposit("RKL51ZDR4J", 10, "254799999999", Some(&username.as_str().to_uppercase()));
    assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(7_200)));
}

#[test]
fn the_same_receipt_as_payment_and_deposit_in_either_order_is_served_once() {
    for deposit_first in [true, false] {
        let mut world = World::ready();
        let order = world.pay(ALICE, "hour");
        if deposit_first {
            world.deposit("NLJ7RT61SV", 10, "254712345678", None);
        }
        world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
        world.deposit("NLJ7RT61SV", 10, "254712345678", None);
        world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
        let view = world.status(ALICE, &order);
        assert_eq!((view.status, view.connected), (PaymentStatus::Paid, true), "{deposit_first}");
        assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(3_600)));
        assert_eq!(world.accounts().len(), 1);
        let Answer::Payments(rows) = world.ask(Request::Payments) else { panic!() };
        assert_eq!(rows.len(), 1, "one row a receipt: {rows:?}");
    }
}

#[test]
fn a_receipt_brings_the_session_to_a_new_address() {
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.pass(20 * MINUTE);
    world.arrives(BOB, 101);
    assert_eq!(world.reclaim(BOB, "NLJ7RT61SV", "0722222222"), refused(Refusal::UnknownReceipt), "not who paid");
    let session = world.reclaimed(BOB, "NLJ7RT61SV", PHONE);
    assert_eq!(session.seconds_remaining, Some(Seconds(2_400)), "what was left of it");
    let devices = |gate: Option<&GateAccount>| gate.map(|account| account.devices.len());
    assert_eq!((devices(world.in_gate(ALICE)), devices(world.in_gate(BOB))), (None, Some(1)));
    // Again, it is there already.
    world.reclaimed(BOB, "NLJ7RT61SV", PHONE);
    world.pass(HOUR);
    assert_eq!(world.reclaim(BOB, "NLJ7RT61SV", PHONE), refused(Refusal::Expired));
}

#[test]
fn a_masked_payer_comes_with_the_receipt() {
    let mut world = World::ready();
    world.deposit(RECEIPT, 10, "2547*****678", None);
    assert_eq!(world.reclaim(ALICE, RECEIPT, "0712345679"), refused(Refusal::UnknownReceipt));
    assert_eq!(world.reclaimed(ALICE, RECEIPT, PHONE).seconds_remaining, Some(Seconds(3_600)));
    // No package fits: it waits, and says so.
    world.deposit("RKL51ZDR4G", 11, "2547*****678", None);
    assert_eq!(world.reclaim(ALICE, "RKL51ZDR4G", PHONE), refused(Refusal::NotServed));
}

#[test]
fn what_this_router_does_not_know_the_relay_is_asked() {
    let mut world = World::ready();
    let (at_once, query) = world.reclaim(ALICE, "NLJ7RT61SV", PHONE);
    assert_eq!(at_once, None);
    let query = query.unwrap();
    assert_eq!(world.found("another".parse().unwrap(), Found::Unknown), None, "an answer to nothing that was asked");
    assert_eq!(world.found(query.clone(), Found::Unknown), Some(Answer::Refused(Refusal::UnknownReceipt)));
    assert_eq!(world.found(query, Found::Unknown), None, "once");

    // An order of a store that is lost, under a stand-in receipt: served now, once.
    let paid = PaidOrder {
        order: "0kq3v9x1c7mzp2w8tdl5hb6ny4".parse().unwrap(),
        package: "hour".parse().unwrap(),
        device: BOB,
        phone: PHONE.parse().unwrap(),
        receipt: "QABCDEFGHIJK".parse().unwrap(),
        amount: Shillings(10),
    };
    for left in [3_600, 3_000] {
        let query = world.reclaim(ALICE, "NLJ7RT61SV", PHONE).1.unwrap();
        let Some(Answer::Session(session)) = world.found(query, Found::Payment(paid.clone())) else { panic!("a session") };
        assert_eq!(session.seconds_remaining, Some(Seconds(left)));
        world.pass(10 * MINUTE);
    }
    assert_eq!(world.accounts().len(), 1);
    // Known here by now, under the name that it got.
    world.reclaimed(ALICE, "QABCDEFGHIJK", PHONE);
}

#[test]
fn the_relay_hands_over_money_that_waited_and_safaricom_may_take_a_moment() {
    let mut world = World::ready();
    let query = world.reclaim(ALICE, RECEIPT, PHONE).1.unwrap();
    let given = Found::Deposit(deposit(RECEIPT, 10, "************", None));
    let Some(Answer::Session(session)) = world.found(query, given) else { panic!("a session") };
    assert_eq!(session.seconds_remaining, Some(Seconds(3_600)));
    // The stored message says it again, without the number.
    world.deposit(RECEIPT, 10, "************", None);
    assert_eq!(world.accounts().len(), 1);
    world.reclaimed(ALICE, RECEIPT, PHONE);

    let query = world.reclaim(BOB, "RKL51ZDR4G", PHONE).1.unwrap();
    world.arrives(BOB, 101);
    assert_eq!(world.found(query, Found::Asking), None);
    let answer = answer_in(&world.deposit("RKL51ZDR4G", 10, "2547*****678", None));
    assert!(matches!(answer, Some(Answer::Session(_))), "{answer:?}");
    assert!(world.session(BOB).is_some());
}

#[test]
fn nobody_waits_for_long_and_nobody_tries_often() {
    let mut world = World::ready();
    let answered = |effects: Vec<Effect>| answer_in(&effects);
    world.reclaim(ALICE, "NLJ7RT61SV", PHONE);
    world.at += 4_999;
    assert_eq!(answered(world.step(Input::Tick)), None);
    world.at += 1;
    assert_eq!(world.gateway.poll_timeout(), Some(world.now().monotonic));
    assert_eq!(answered(world.step(Input::Tick)), Some(Answer::Refused(Refusal::NoAnswer)));
    for _ in 0..5 {
        assert!(world.reclaim(ALICE, "NLJ7RT61SV", PHONE).1.is_some());
        world.at += 5_000;
        world.step(Input::Tick);
    }
    let (answer, query) = world.reclaim(ALICE, "NLJ7RT61SV", PHONE);
    assert!(matches!(answer, Some(Answer::Refused(Refusal::TooManyRequests { .. }))) && query.is_none(), "{answer:?}");
    assert!(world.reclaim(BOB, "NLJ7RT61SV", PHONE).1.is_some(), "a neighbour may");
    world.step(Input::Link { connected: false });
    assert_eq!(world.reclaim(BOB, "NLJ7RT61SV", PHONE), refused(Refusal::NoAnswer), "nobody is there to ask");
}

#[test]
fn nobody_takes_all_the_places_of_those_who_wait_for_the_relay() {
    let mut world = World::ready();
    let device = |n: u8| crate::units::Mac([2, 0, 0, 0, 9, n]);
    let receipt = |n: u8| format!("NLJ7RT{n:04}");
    let held = (Some(Answer::Refused(Refusal::TooManyRequests { retry_after: Seconds(5) })), None);
    // Two of each device, and eight devices are all that there is room for.
    for n in 0..8 {
        let query = world.reclaim(device(n), &receipt(n), PHONE).1;
        assert!(query.is_some() && world.reclaim(device(n), &receipt(100 + n), PHONE).1.is_some(), "device {n}");
        assert_eq!(world.reclaim(device(n), &receipt(200 + n), PHONE), held, "device {n}");
    }
    assert_eq!(world.reclaim(device(8), &receipt(8), PHONE), held, "all places are taken");
    // When they have their answer, there is room again.
    world.at += 5_000;
    world.step(Input::Tick);
    let query = world.reclaim(device(0), &receipt(0), PHONE).1.unwrap();
    assert!(world.reclaim(device(0), &receipt(1), PHONE).1.is_some());
    assert_eq!(world.reclaim(device(0), &receipt(2), PHONE), held);
    assert_eq!(world.found(query, Found::Unknown), Some(Answer::Refused(Refusal::UnknownReceipt)));
    assert!(world.reclaim(device(0), &receipt(2), PHONE).1.is_some(), "a place is free again");
}

#[test]
fn a_number_is_not_found_out_with_a_receipt_that_was_read() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    let stranger = |n: u8| crate::units::Mac([2, 0, 0, 0, 9, n]);
    for n in 0..20 {
        assert_eq!(world.reclaim(stranger(n), "NLJ7RT61SV", "0722222222"), refused(Refusal::UnknownReceipt), "each with a new address");
    }
    let held = |answer: (Option<Answer>, Option<MessageId>)| matches!(answer.0, Some(Answer::Refused(Refusal::TooManyRequests { .. })));
    assert!(held(world.reclaim(stranger(20), "NLJ7RT61SV", "0722222222")));
    assert!(held(world.reclaim(stranger(21), "NLJ7RT61SV", PHONE)), "nor is it told now whether a number is the right one");
    // Its own device is not held to that, nor does it keep anybody from logging in.
    world.reclaimed(ALICE, "NLJ7RT61SV", PHONE);
    assert!(matches!(world.login(stranger(22), &view), Answer::Refused(Refusal::DeviceLimit)), "the password was right");
    // And the other way: wrong passwords keep nobody from coming with a receipt.
    let mut world = World::ready();
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    for n in 0..21 {
        let (username, password) = (view.username.clone().unwrap(), crate::units::Password::new("wrong").unwrap());
        world.ask(Request::Login { device: stranger(n), username, password, replace: false });
    }
    world.arrives(BOB, 101);
    world.reclaimed(BOB, "NLJ7RT61SV", PHONE);
}

#[test]
fn nor_by_asking_the_relay_for_a_receipt_that_this_router_does_not_know() {
    let mut world = World::ready();
    let stranger = |n: u8| crate::units::Mac([2, 0, 0, 0, 9, n]);
    let held = |answer: (Option<Answer>, Option<MessageId>)| {
        matches!(answer.0, Some(Answer::Refused(Refusal::TooManyRequests { .. }))) && answer.1.is_none()
    };
    for n in 0..20 {
        let query = world.reclaim(stranger(n), RECEIPT, "0722222222").1.unwrap();
        assert_eq!(world.found(query, Found::Unknown), Some(Answer::Refused(Refusal::UnknownReceipt)), "each with a new address");
    }
    assert!(held(world.reclaim(stranger(20), RECEIPT, "0722222222")));
    assert!(held(world.reclaim(stranger(21), RECEIPT, PHONE)), "nor is it told now whether a number is the right one");
    assert!(world.reclaim(stranger(22), "RKL51ZDR4G", PHONE).1.is_some(), "another receipt is another's");
    world.pass(10 * MINUTE);
    assert!(world.reclaim(stranger(21), RECEIPT, PHONE).1.is_some());

    // Money that waits, and of which this router knows who paid: the same.
    let mut world = World::ready();
    world.deposit(RECEIPT, 11, "2547*****678", None);
    for n in 0..20 {
        assert_eq!(world.reclaim(stranger(n), RECEIPT, "0722222222"), refused(Refusal::UnknownReceipt));
    }
    assert!(held(world.reclaim(stranger(20), RECEIPT, PHONE)));
}

#[test]
fn a_phone_that_sleeps_on_one_account_and_paid_by_hand_for_another_is_on_one_of_them() {
    let mut world = World::ready();
    let codes = world.vouchers("k7m2p9", "hour", 1);
    assert!(matches!(world.redeem(ALICE, codes[0]), Answer::Redeemed(_)));
    let first = world.session(ALICE).unwrap().username;
    world.leaves(ALICE, 100);
    // M-Pesa shows some digits: it becomes an account of its own, for the phone that comes with the receipt.
    let (None, Some(query)) = world.reclaim(ALICE, RECEIPT, "0712345678") else { panic!("the relay is asked") };
    world.deposit(RECEIPT, 10, "2547*****678", None);
    world.found(query, Found::Deposit(deposit(RECEIPT, 10, "2547*****678", None)));
    let second = world.session(ALICE).expect("online by what was paid").username;
    assert_ne!(first, second);
    let on: Vec<&GateAccount> = world.gate.values().filter(|account| account.devices.contains_key(&ALICE)).collect();
    assert_eq!(on.len(), 1, "{on:?}");
}
