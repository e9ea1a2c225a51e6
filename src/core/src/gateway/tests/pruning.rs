//! What is of no more use is forgotten after 92 days; what has money or time left, or waits, never is.

use super::world::*;
use crate::ledger::Unserved;
use crate::message::{Deposit, Down, DownBody, Outcome, PaymentUpdate};
use crate::request::{Answer, Request};
use crate::step::{Effect, Input};
use crate::time::Wall;
use crate::units::{Mac, Shillings};

const DAY: u64 = 24 * HOUR;
const BUSY: Mac = Mac([2, 0, 0, 0, 0, 0xee]);

/// A day on which somebody is online for an hour or two: the round of what is looked at goes on.
fn busy_day(world: &mut World) {
    world.connect();
    world.arrives(BUSY, 250);
    world.ask(Request::Grant { device: BUSY, package: "hour".parse().unwrap() });
    world.pass(DAY);
}

fn keys(world: &World, kind: &str) -> usize {
    let account = world.gateway.devices.get(&BUSY).and_then(|device| device.account.as_ref());
    let busy = [Some(BUSY.to_string()), account.map(ToString::to_string)];
    world.store.keys().filter(|key| key.starts_with(kind) && !busy.iter().flatten().any(|own| key.ends_with(own))).count()
}

#[test]
fn what_is_used_up_goes_after_ninety_two_days() {
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    let code = world.vouchers("k7m2p9", "hour", 1)[0];
    world.arrives(BOB, 101);
    world.redeem(BOB, code);
    let all = |world: &World| ["account/", "device/", "order/", "ledger/", "voucher/"].map(|kind| keys(world, kind));
    assert_eq!(all(&world), [2, 2, 1, 1, 1]);
    for day in 0..=91 {
        busy_day(&mut world);
        assert_eq!(all(&world), [2, 2, 1, 1, 1], "day {day}");
    }
    busy_day(&mut world);
    busy_day(&mut world);
    assert_eq!(all(&world), [0, 0, 0, 0, 0]);
    world.killed();
    assert_eq!(all(&world), [0, 0, 0, 0, 0]);
}

#[test]
fn what_has_something_left_or_waits_is_never_forgotten() {
    let mut world = World::ready();
    // An hour that was not begun: its device is away.
    let order = world.pay(BOB, "hour");
    world.paid(&order, "hour", BOB, "NLJ7RT61SV", 10);
    // Half an hour left.
    let left = world.buys(ALICE, "hour", "UJ22T8IYOU");
    world.pass(30 * MINUTE);
    world.ask(Request::Logout { device: ALICE });
    // Money that could not be served.
    world.paid(&"0123456789bcdfghjkmnpqrstv".parse().unwrap(), "gone", ALICE, "QWE7RT61SV", 7);
    // A voucher that nobody used.
    let code = world.vouchers("k7m2p9", "hour", 1)[0];
    for _ in 0..400 {
        busy_day(&mut world);
    }
    world.killed();
    let Answer::Status(status) = world.ask(Request::Status) else { panic!() };
    assert_eq!(status.unserved, 1);
    let login = Request::Login { device: ALICE, username: left.username.unwrap(), password: left.password.unwrap(), replace: false };
    assert!(matches!(world.ask(login), Answer::Session(_)));
    assert_eq!(world.session(ALICE).unwrap().seconds_remaining.unwrap().0, 1_800);
    world.arrives(BOB, 101);
    assert!(world.in_gate(BOB).is_some(), "it waited for its hour");
    assert!(matches!(world.redeem(Mac([2, 0, 0, 0, 0, 9]), code), Answer::Redeemed(_)));
}

#[test]
fn what_is_used_again_begins_anew() {
    let mut world = World::ready();
    let first = world.buys(ALICE, "hour", "NLJ7RT61SV");
    for _ in 0..80 {
        busy_day(&mut world);
    }
    world.connect();
    let second = world.buys(ALICE, "hour", "UJ22T8IYOU");
    assert_eq!(second.username, first.username);
    for _ in 0..80 {
        busy_day(&mut world);
    }
    assert_eq!((keys(&world, "account/"), keys(&world, "device/")), (1, 1));
    for _ in 0..14 {
        busy_day(&mut world);
    }
    assert_eq!((keys(&world, "account/"), keys(&world, "device/")), (0, 0));
}

#[test]
fn few_things_are_looked_at_in_one_step_and_none_where_the_time_is_not_sure() {
    let mut world = World::ready();
    for n in 0..200u8 {
        let device = Mac([2, 0, 0, 0, 2, n]);
        world.ask(Request::Grant { device, package: "hour".parse().unwrap() });
        // Never here: it waits, until the operator takes it away.
        world.gateway.devices.get_mut(&device).unwrap().waiting = false;
        let name = world.gateway.devices.get(&device).unwrap().account.clone().unwrap();
        world.gateway.accounts.change(&name, |account| account.purchases.clear());
    }
    let marked = |world: &World| world.gateway.accounts.values().filter(|account| account.idle_since.is_some()).count();
    world.step(Input::Link { connected: false });
    let mut fresh = World::new();
    std::mem::swap(&mut fresh.gateway, &mut world.gateway);
    let mut world = fresh;
    world.gateway.link = Default::default();
    world.arrives(BUSY, 250);
    world.ask(Request::Grant { device: BUSY, package: "family".parse().unwrap() });
    world.pass(30 * MINUTE);
    assert_eq!(marked(&world), 0, "the relay has not told the time yet");
    world.connect();
    world.pass(3 * MINUTE);
    let looked = marked(&world);
    assert!((1..=3 * 64).contains(&looked), "{looked}");
    world.pass(30 * MINUTE - 1);
    assert_eq!(marked(&world), 200);
}

/// Whoever kept the relay's messages for a quarter gets no second service for them, and a router that was off so long gets
/// what was paid meanwhile.
#[test]
fn a_receipt_that_was_forgotten_is_not_served_again() {
    let mut world = World::ready();
    let told = |order: &str, receipt: &str, at: u64| Down {
        v: 1,
        id: format!("m-{at}").parse().unwrap(),
        seq: 1,
        router: "kibera-7".parse().unwrap(),
        at: Wall(1_900_000_000_000 + at),
        body: DownBody::Payment(PaymentUpdate {
            order: order.parse().unwrap(),
            package: "hour".parse().unwrap(),
            device: ALICE,
            phone: PHONE.parse().unwrap(),
            outcome: Outcome::Paid { receipt: receipt.parse().unwrap(), amount: Shillings(10) },
        }),
    };
    let (first, order) = ("NLJ7RT61SV", "0123456789bcdfghjkmnpqrstv");
    let old = told(order, first, world.at);
    world.step(Input::Relay(old.clone()));
    assert!(world.in_gate(ALICE).is_some());
    for _ in 0..95 {
        busy_day(&mut world);
    }
    assert_eq!(keys(&world, "ledger/"), 0);
    world.killed();
    world.connect();
    let effects = world.step(Input::Relay(old));
    assert!(world.in_gate(ALICE).is_none() && !effects.iter().any(|effect| matches!(effect, Effect::Gate(_))), "{effects:?}");
    let Answer::Status(status) = world.ask(Request::Status) else { panic!() };
    assert_eq!(status.unserved, 1, "the operator sees it");
    // Paid a day after the first, told now: the router was away for it.
    world.step(Input::Relay(told("0123456789bcdfghjkmnpqrstw", "UJ22T8IYOU", 5 * DAY)));
    assert!(world.in_gate(ALICE).is_some());
}

/// The same for money that was paid by hand.
#[test]
fn a_deposit_that_was_forgotten_is_not_served_again() {
    let mut world = World::ready();
    let told = |receipt: &str, at: u64| Down {
        v: 1,
        id: format!("m-{at}").parse().unwrap(),
        seq: 1,
        router: "kibera-7".parse().unwrap(),
        at: Wall(1_900_000_000_000 + at),
        body: DownBody::Deposit(Deposit {
            receipt: receipt.parse().unwrap(),
            amount: Shillings(10),
            payer: PHONE.parse().unwrap(),
            word: None,
            paid_at: None,
        }),
    };
    let old = told("RKL51ZDR4F", world.at);
    world.step(Input::Relay(old.clone()));
    assert_eq!(keys(&world, "account/"), 1);
    // Its owner comes, and uses it up.
    let username = world.gateway.accounts.values().next().unwrap().username.clone();
    world.gateway.accounts.change(&username, |account| account.purchases.clear());
    for _ in 0..95 {
        busy_day(&mut world);
    }
    assert_eq!((keys(&world, "account/"), keys(&world, "ledger/")), (0, 0));
    world.step(Input::Relay(old.clone()));
    world.step(Input::Relay(old));
    let Answer::Payments(payments) = world.ask(Request::Payments) else { panic!() };
    let waiting: Vec<_> = payments.iter().filter_map(|payment| payment.unserved).collect();
    assert_eq!((keys(&world, "account/"), waiting), (0, vec![Unserved::Forgotten]));
    // Paid some days after the first, told now.
    world.step(Input::Relay(told("RKL51ZDR4G", 5 * DAY)));
    assert_eq!(keys(&world, "account/"), 1);
}
