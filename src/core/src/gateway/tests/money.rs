//! Money that arrived is service that arrives, exactly once.

use super::world::*;
use crate::message::{DownBody, Reason, Up, UpBody};
use crate::request::{Answer, PaymentStatus, Refusal, Request};
use crate::step::{Effect, Input};
use crate::units::{Bytes, MessageId, OrderId, Seconds};

#[test]
fn a_phone_pays_and_is_online() {
    let mut world = World::ready();
    let order = world.pay(ALICE, "hour");
    assert_eq!(world.status(ALICE, &order).status, PaymentStatus::Pending);
    assert_eq!(world.requests_sent(), 1);
    assert!(world.gate.is_empty(), "nobody passes before the money is there");

    let effects = world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
    // Durable first, then the kernel, then what the relay is told and the acknowledgement, then the page.
    assert!(matches!(effects[0], Effect::Persist(_)), "{effects:?}");
    assert!(matches!(effects[1], Effect::Gate(_)), "{effects:?}");
    assert!(matches!(&effects[2], Effect::Publish(up) if matches!(up.body, UpBody::Account(_))), "{effects:?}");
    assert!(matches!(&effects[3], Effect::Publish(up) if matches!(up.body, UpBody::Ack { .. })), "{effects:?}");
    assert!(effects.contains(&Effect::PaymentChanged(order.clone())));

    let view = world.status(ALICE, &order);
    assert_eq!(view.status, PaymentStatus::Paid);
    assert!(view.connected);
    assert_eq!(view.receipt.as_ref().map(ToString::to_string).as_deref(), Some("NLJ7RT61SV"));
    let gate = world.in_gate(ALICE).expect("in the gate");
    assert_eq!(gate.until.map(|until| until.0), Some(world.at + HOUR));
    assert_eq!(gate.devices.get(&ALICE).unwrap().addresses, [[10, 77, 0, 100].into()].into());
    assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(3600)));
}

#[test]
fn asking_again_while_pending_is_the_same_payment() {
    let mut world = World::ready();
    let first = world.pay(ALICE, "hour");
    assert_eq!(world.pay(ALICE, "hour"), first);
    assert_ne!(world.pay(ALICE, "mega"), first);
    assert_eq!(world.requests_sent(), 2);
}

#[test]
fn nobody_else_sees_a_payment() {
    let mut world = World::ready();
    let order = world.buys(ALICE, "hour", "NLJ7RT61SV").payment;
    assert_eq!(world.ask(Request::PaymentStatus { device: BOB, order }), Answer::Refused(Refusal::UnknownPayment));
    assert_eq!(world.ask(Request::LatestPayment { device: BOB }), Answer::LatestPayment(None));
}

#[test]
fn credentials_are_shown_for_five_minutes() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    assert!(view.username.is_some() && view.password.is_some());
    world.pass(5 * MINUTE - 1);
    assert!(world.status(ALICE, &view.payment).password.is_some());
    world.pass(1);
    let later = world.status(ALICE, &view.payment);
    assert_eq!((later.username, later.password), (None, None));
    assert_eq!(later.status, PaymentStatus::Paid);
}

#[test]
fn the_same_money_told_twice_is_one_service() {
    let mut world = World::ready();
    let order = world.pay(ALICE, "hour");
    world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
    let until = world.in_gate(ALICE).unwrap().until;
    for _ in 0..3 {
        let effects = world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Persist(_) | Effect::Gate(_))), "{effects:?}");
        assert!(matches!(&effects[0], Effect::Publish(_)), "it is acknowledged again");
    }
    world.killed();
    world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
    assert_eq!(world.in_gate(ALICE).unwrap().until, until);
}

#[test]
fn two_receipts_for_one_order_are_two_services() {
    let mut world = World::ready();
    let order = world.pay(ALICE, "hour");
    world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
    world.paid(&order, "hour", ALICE, "UJ22T8IYOU", 10);
    assert_eq!(world.in_gate(ALICE).unwrap().until.unwrap().0, world.at + 2 * HOUR);
    let Answer::Payments(payments) = world.ask(Request::Payments) else { panic!() };
    assert_eq!(payments.len(), 2, "both are on the operator's list");
}

#[test]
fn success_is_final_and_beats_everything_before_it() {
    for before in ["nothing", "failed", "expired"] {
        let mut world = World::ready();
        let order = world.pay(ALICE, "hour");
        match before {
            "failed" => drop(world.failed(&order, ALICE, Reason::NoResponse)),
            "expired" => world.pass(4 * MINUTE),
            _ => {}
        }
        world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
        world.failed(&order, ALICE, Reason::Cancelled);
        assert_eq!(world.status(ALICE, &order).status, PaymentStatus::Paid, "after {before}");
        assert!(world.in_gate(ALICE).is_some(), "after {before}");
    }
}

#[test]
fn what_failed_opens_nothing_and_says_why() {
    for reason in
        [Reason::Cancelled, Reason::WrongPin, Reason::InsufficientBalance, Reason::NoResponse, Reason::Limit, Reason::Busy, Reason::Other]
    {
        let mut world = World::ready();
        let order = world.pay(ALICE, "hour");
        let effects = world.failed(&order, ALICE, reason);
        assert!(effects.contains(&Effect::PaymentChanged(order.clone())));
        let view = world.status(ALICE, &order);
        assert_eq!((view.status, view.reason), (PaymentStatus::Failed, Some(reason)));
        assert!(world.gate.is_empty());
        assert_ne!(world.pay(ALICE, "hour"), order, "one can try again at once");
    }
}

#[test]
fn what_nobody_answers_expires_by_itself() {
    let mut world = World::ready();
    let order = world.pay(ALICE, "hour");
    world.pass(3 * MINUTE - 1);
    assert_eq!(world.status(ALICE, &order).status, PaymentStatus::Pending);
    world.pass(1);
    assert_eq!(world.status(ALICE, &order).status, PaymentStatus::Expired);
    assert!(world.gate.is_empty());
    world.connect();
    assert_eq!(world.requests_sent(), 1, "a request that was given up is not sent again");
}

#[test]
fn money_for_an_order_that_the_router_forgot_becomes_an_account() {
    let mut world = World::ready();
    let forgotten = "0123456789bcdfghjkmnpqrstv".parse().unwrap();
    world.paid(&forgotten, "hour", ALICE, "NLJ7RT61SV", 10);
    assert!(world.in_gate(ALICE).is_some());
    assert_eq!(world.status(ALICE, &forgotten).status, PaymentStatus::Paid);
}

#[test]
fn money_that_cannot_be_served_is_seen_by_the_operator() {
    for (package, amount, why) in [("gone", 11, "an unknown package, and none at this price"), ("hour", 9, "too little")] {
        let mut world = World::ready();
        let order = "0123456789bcdfghjkmnpqrstv".parse().unwrap();
        world.paid(&order, package, ALICE, "NLJ7RT61SV", amount);
        assert!(world.gate.is_empty(), "{why}");
        world.killed();
        let Answer::Status(status) = world.ask(Request::Status) else { panic!() };
        assert_eq!(status.unserved, 1, "{why}");
        let Answer::Payments(payments) = world.ask(Request::Payments) else { panic!() };
        let seen: Vec<_> = payments.iter().map(|p| (p.receipt.clone().unwrap().to_string(), p.username.clone())).collect();
        assert_eq!(seen, [("NLJ7RT61SV".to_owned(), None)], "{why}");
    }
}

#[test]
fn a_price_that_changed_meanwhile_does_not_touch_the_order() {
    let mut world = World::ready();
    let order = world.pay(ALICE, "hour");
    let mut dearer = settings();
    dearer.packages[0].price = crate::units::Shillings(15);
    world.step(Input::Reconfigured(dearer));
    world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
    assert!(world.in_gate(ALICE).is_some());
}

#[test]
fn payments_need_the_relay_and_say_so() {
    let refused = Answer::Refused(Refusal::PaymentsOffline);
    let mut world = World::new();
    world.arrives(ALICE, 100);
    assert_eq!(world.try_pay(ALICE, "hour"), refused, "never connected");
    world.step(Input::Link { connected: true });
    assert_eq!(world.try_pay(ALICE, "hour"), refused, "the broker is there, the relay has not answered");
    world.connect();
    world.pay(ALICE, "hour");
    world.step(Input::RelayPresence { online: false });
    assert_eq!(world.try_pay(ALICE, "mega"), refused, "the relay is gone");
    let effects = world.step(Input::RelayPresence { online: true });
    assert!(effects.iter().any(|e| matches!(e, Effect::Publish(up) if matches!(up.body, UpBody::Hello { .. }))));
    world.connect();
    world.step(Input::Link { connected: false });
    assert_eq!(world.try_pay(ALICE, "mega"), refused, "the broker is gone");
    assert_eq!(world.ask(Request::Packages), Answer::Packages(settings().packages), "all else goes on");
}

#[test]
fn a_relay_that_comes_late_gets_a_hello_of_its_own() {
    let hellos = |effects: Vec<Effect>| {
        effects.iter().filter(|e| matches!(e, Effect::Publish(up) if matches!(up.body, UpBody::Hello { .. }))).count()
    };
    let mut world = World::new();
    assert_eq!(hellos(world.step(Input::RelayPresence { online: true })), 0, "nobody hears it yet");
    assert_eq!(hellos(world.step(Input::Link { connected: true })), 1);
    // The broker was killed and forgot the relay's subscription: the first hello reached nobody.
    assert_eq!(hellos(world.step(Input::RelayPresence { online: true })), 1);
    world.connect();
    assert_eq!(hellos(world.step(Input::RelayPresence { online: true })), 0, "it has answered");
    world.step(Input::RelayPresence { online: false });
    assert_eq!(hellos(world.step(Input::RelayPresence { online: true })), 1, "another one, or the same again");
    let effects: Vec<_> = (0..2).map(|_| world.step(Input::Link { connected: true })).collect();
    let ids: Vec<_> =
        effects.iter().flatten().filter_map(|e| if let Effect::Publish(up) = e { Some(up.id.clone()) } else { None }).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "each message has an id of its own: {ids:?}");
}

fn last_hello(world: &World) -> MessageId {
    let nonce = |up: &Up| if let UpBody::Hello { nonce, .. } = &up.body { Some(nonce.clone()) } else { None };
    world.sent.iter().rev().find_map(nonce).expect("a hello")
}

/// When each hello was said from here on, in seconds, and its nonce.
fn hellos_in(world: &mut World, seconds: u64) -> Vec<(u64, MessageId)> {
    let (mut said, mut before) = (Vec::new(), world.sent.len());
    for second in 1..=seconds {
        world.pass(1_000);
        let new = world.sent[before..].iter().filter_map(|up| if let UpBody::Hello { nonce, .. } = &up.body { Some(nonce) } else { None });
        said.extend(new.map(|nonce| (second, nonce.clone())));
        before = world.sent.len();
    }
    said
}

#[test]
fn a_hello_that_nobody_answers_is_repeated_soon_and_then_seldom() {
    let mut world = World::new();
    world.step(Input::Link { connected: true });
    let said = hellos_in(&mut world, 125);
    assert_eq!(said.iter().map(|(second, _)| *second).collect::<Vec<_>>(), [2, 6, 14, 30, 60, 90, 120]);
    assert!(said[..3].iter().all(|(_, nonce)| *nonce == said[0].1), "the same is repeated: an answer to any of them counts");
    assert!(said[2..].windows(2).all(|two| two[0].1 != two[1].1), "and after half a minute it is another one");
}

#[test]
fn a_relay_that_nobody_sees_come_is_found_within_moments() {
    let mut world = World::new();
    world.arrives(ALICE, 100);
    world.step(Input::Link { connected: true });
    let said = hellos_in(&mut world, 7);
    // It came after the first two hellos, and the broker's list hides its presence from us.
    world.relay(DownBody::Welcome { nonce: said[1].1.clone() });
    world.pay(ALICE, "hour");
    let id = world.sent.last().unwrap().id.clone();
    world.relay(DownBody::Ack { of: vec![id] });
    assert_eq!(hellos_in(&mut world, 100), [], "once it has answered, nothing is repeated");
}

#[test]
fn a_signed_answer_is_better_proof_than_what_the_broker_keeps() {
    let mut world = World::new();
    world.arrives(ALICE, 100);
    world.step(Input::Link { connected: true });
    world.step(Input::RelayPresence { online: false });
    let nonce = last_hello(&world);
    assert_eq!(hellos_in(&mut world, 5), [], "nobody seems to be there");
    world.relay(DownBody::Welcome { nonce });
    world.pay(ALICE, "hour");
    // But not half a minute later: by then its time would be old.
    world.step(Input::Link { connected: true });
    world.step(Input::RelayPresence { online: false });
    let nonce = last_hello(&world);
    world.pass(31_000);
    world.relay(DownBody::Welcome { nonce });
    assert_eq!(world.try_pay(ALICE, "mega"), Answer::Refused(Refusal::PaymentsOffline));
}

#[test]
fn a_relay_that_says_nothing_about_a_request_is_not_there() {
    let mut world = World::ready();
    let offline = Answer::Refused(Refusal::PaymentsOffline);
    let order = world.pay(ALICE, "hour");
    world.pass(9_999);
    world.pay(BOB, "hour");
    world.pass(1);
    assert_eq!(world.try_pay(ALICE, "mega"), offline);
    assert_eq!(world.status(ALICE, &order).status, PaymentStatus::Pending, "who has asked goes on waiting");
    let nonce = last_hello(&world);
    world.sent.clear();
    world.relay(DownBody::Welcome { nonce });
    assert_eq!(world.requests_sent(), 2, "what waits is sent again");
    world.pay(ALICE, "mega");
    // Each way in which a request is answered.
    let ids: Vec<_> = world.sent.iter().map(|up| up.id.clone()).collect();
    world.relay(DownBody::Ack { of: ids });
    world.pass(11_000);
    let both = world.pay(ALICE, "both");
    world.relay(DownBody::Stale { order: both.clone() });
    world.failed(&both, ALICE, Reason::Busy);
    world.pass(11_000);
    world.pay(ALICE, "family");
}

#[test]
fn a_request_is_resent_until_the_relay_has_it() {
    let mut world = World::ready();
    world.pay(ALICE, "hour");
    world.step(Input::Link { connected: false });
    world.connect();
    assert_eq!(world.requests_sent(), 2);
    world.killed();
    world.connect();
    assert_eq!(world.requests_sent(), 1, "after kill -9 too");
    let id = world.sent.iter().find(|up| matches!(up.body, UpBody::PaymentRequest(_))).unwrap().id.clone();
    world.relay(DownBody::Ack { of: vec![id] });
    world.sent.clear();
    world.connect();
    assert_eq!(world.requests_sent(), 0, "acknowledged is done");
}

#[test]
fn a_request_that_came_too_late_is_asked_anew_while_the_customer_waits() {
    let mut world = World::ready();
    let order = world.pay(ALICE, "hour");
    let first = world.sent.last().unwrap().id.clone();
    world.relay(DownBody::Stale { order: order.clone() });
    let second = world.sent.last().unwrap().clone();
    assert_ne!(second.id, first);
    let UpBody::PaymentRequest(request) = &second.body else { panic!("{second:?}") };
    assert_eq!(request.asked_at.map(|at| at.0), Some(1_900_000_000_000 + world.at), "in the relay's own time");
    world.pass(4 * MINUTE);
    world.sent.clear();
    world.relay(DownBody::Stale { order });
    assert_eq!(world.requests_sent(), 0, "nobody waits any more");
}

#[test]
fn an_old_answer_to_an_old_hello_counts_for_nothing() {
    let mut world = World::new();
    world.step(Input::Link { connected: true });
    world.relay(DownBody::Welcome { nonce: "old".parse().unwrap() });
    assert_eq!(world.try_pay(ALICE, "hour"), Answer::Refused(Refusal::PaymentsOffline));
}

#[test]
fn a_device_that_prompts_too_often_is_slowed_and_others_are_not() {
    let mut world = World::ready();
    for _ in 0..6 {
        let order = world.pay(ALICE, "hour");
        world.failed(&order, ALICE, Reason::Cancelled);
    }
    assert!(matches!(world.try_pay(ALICE, "hour"), Answer::Refused(Refusal::TooManyRequests { .. })));
    let order = world.pay(BOB, "hour");
    world.failed(&order, BOB, Reason::Cancelled);
    world.pass(5 * MINUTE);
    world.pay(ALICE, "hour");
}

#[test]
fn buying_again_extends() {
    let mut world = World::ready();
    let first = world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.pass(10 * MINUTE);
    let second = world.buys(ALICE, "hour", "UJ22T8IYOU");
    assert_eq!(first.username, second.username);
    assert_eq!(world.in_gate(ALICE).unwrap().until.unwrap().0, world.at + 110 * MINUTE);
}

#[test]
fn unlike_purchases_follow_each_other() {
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.buys(ALICE, "mega", "UJ22T8IYOU");
    let gate = world.in_gate(ALICE).unwrap();
    assert!(gate.until.is_some() && gate.data_end.is_none(), "the hour runs first");
    world.used(ALICE, 5_000_000, 5_000_000);
    world.pass(HOUR);
    let gate = world.in_gate(ALICE).expect("still online, on what was bought next");
    assert_eq!((gate.until, gate.data_end), (None, Some(Bytes(110_000_000))));
    world.used(ALICE, 10_000_000, 100_000_000);
    assert!(world.in_gate(ALICE).is_none());
}

#[test]
fn the_same_phone_pays_for_a_second_device() {
    let mut world = World::ready();
    world.arrives(BOB, 101);
    let alice = world.buys(ALICE, "hour", "NLJ7RT61SV");
    let bob = world.buys(BOB, "hour", "UJ22T8IYOU");
    assert_ne!(alice.username, bob.username);
    assert!(world.in_gate(ALICE).is_some() && world.in_gate(BOB).is_some());
}

#[test]
fn a_paying_device_takes_the_place_of_the_one_that_is_online() {
    let mut world = World::ready();
    world.arrives(BOB, 101);
    let bought = world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.ask(Request::Logout { device: ALICE });
    assert!(matches!(world.login(BOB, &bought), Answer::Session(_)));
    let again = world.buys(ALICE, "hour", "UJ22T8IYOU");
    assert_eq!(again.username, bought.username);
    assert!(again.connected, "who pays is online");
    assert!(world.in_gate(BOB).is_none());
}

#[test]
fn a_mistyped_number_is_given_up_and_its_money_is_served_all_the_same() {
    let mut world = World::ready();
    world.arrives(BOB, 101);
    let mistyped = world.pay(ALICE, "hour");
    assert_eq!(world.pay(ALICE, "hour"), mistyped, "one prompt at a time");
    let give_up = |world: &mut World, device, order: &OrderId| world.ask(Request::GiveUp { device, order: order.clone() });
    assert_eq!(give_up(&mut world, BOB, &mistyped), Answer::Refused(Refusal::UnknownPayment), "nobody gives up another's");
    assert_eq!(world.status(ALICE, &mistyped).status, PaymentStatus::Pending);
    for _ in 0..2 {
        let Answer::Payment(view) = give_up(&mut world, ALICE, &mistyped) else { panic!("refused") };
        assert_eq!(view.status, PaymentStatus::Expired);
    }
    let latest = |world: &mut World| match world.ask(Request::LatestPayment { device: ALICE }) {
        Answer::LatestPayment(view) => view.map(|view| (view.payment, view.status)),
        other => panic!("{other:?}"),
    };
    assert_eq!(latest(&mut world), None, "who gave it up is not told that nothing was heard of it");
    world.killed();
    world.connect();
    assert_eq!(latest(&mut world), None, "and after a restart neither");
    let view = world.status(ALICE, &mistyped);
    assert_eq!((view.status, view.given_up), (PaymentStatus::Expired, true));
    world.failed(&mistyped, ALICE, Reason::Cancelled);
    assert_eq!(world.status(ALICE, &mistyped).status, PaymentStatus::Failed);
    assert_eq!(latest(&mut world), None, "whoever was asked by mistake said no");
    let right = world.pay(ALICE, "hour");
    assert_ne!(right, mistyped);
    world.paid(&right, "hour", ALICE, "NLJ7RT61SV", 10);
    // What is decided is not given up.
    let Answer::Payment(view) = give_up(&mut world, ALICE, &right) else { panic!("refused") };
    assert_eq!(view.status, PaymentStatus::Paid);
    world.pass(1_000);
    world.paid(&mistyped, "hour", ALICE, "UJ22T8IYOU", 10);
    assert_eq!(world.status(ALICE, &mistyped).status, PaymentStatus::Paid);
    assert_eq!(latest(&mut world), Some((mistyped, PaymentStatus::Paid)), "money is told of");
}

#[test]
fn a_page_that_comes_back_finds_its_payment() {
    let mut world = World::ready();
    assert_eq!(world.ask(Request::LatestPayment { device: ALICE }), Answer::LatestPayment(None));
    let order = world.pay(ALICE, "hour");
    let latest = |world: &mut World| match world.ask(Request::LatestPayment { device: ALICE }) {
        Answer::LatestPayment(view) => view.map(|view| (view.payment, view.status)),
        other => panic!("{other:?}"),
    };
    assert_eq!(latest(&mut world), Some((order.clone(), PaymentStatus::Pending)));
    world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
    assert_eq!(latest(&mut world), Some((order.clone(), PaymentStatus::Paid)));
    world.killed();
    assert_eq!(latest(&mut world), Some((order, PaymentStatus::Paid)));
    world.pass(5 * MINUTE);
    assert_eq!(latest(&mut world), None);
}
