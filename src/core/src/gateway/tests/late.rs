//! Money that comes late, wrong, twice, or for something that nobody remembers: it is served once, or waits and says why.

use super::world::*;
use crate::message::{DownBody, Outcome, PaymentUpdate};
use crate::record::Change;
use crate::request::{Answer, PaymentStatus, Refusal, Request, ServedView};
use crate::settings::Settings;
use crate::step::{Effect, Input};
use crate::units::{Mac, Millis, OrderId, Shillings};

const FORGOTTEN: &str = "0123456789bcdfghjkmnpqrstv";
const OTHER_PHONE: &str = "0722000999";
/// A phone's new address.
const ALICE_ANEW: Mac = Mac([2, 0, 0, 0, 0, 0xaa]);

fn forgotten() -> OrderId {
    FORGOTTEN.parse().unwrap()
}

/// The relay says that this phone paid so much for this package of this device.
fn paid(world: &mut World, order: &OrderId, package: &str, device: Mac, phone: &str, receipt: &str, amount: u64) -> Vec<Effect> {
    let outcome = Outcome::Paid { receipt: receipt.parse().unwrap(), amount: Shillings(amount) };
    let (package, phone) = (package.parse().unwrap(), phone.parse().unwrap());
    world.relay(DownBody::Payment(PaymentUpdate { order: order.clone(), package, device, phone, outcome }))
}

fn late(world: &mut World, order: &OrderId, receipt: &str, amount: u64) {
    paid(world, order, "hour", ALICE, PHONE, receipt, amount);
}

fn selling(change: impl Fn(&mut Settings)) -> Settings {
    let mut settings = settings();
    change(&mut settings);
    settings
}

fn name(mac: Mac) -> &'static str {
    match mac {
        ALICE => "alice",
        BOB => "bob",
        ALICE_ANEW => "anew",
        _ => "?",
    }
}

/// The accounts in their order, with the end of the phone's number, the minutes bought and left, and who is online; then the
/// money, with what became of it.
fn books(world: &mut World) -> String {
    let at = world.now().monotonic;
    let mut accounts: Vec<_> = world.gateway.accounts.values().cloned().collect();
    accounts.sort_by_key(|account| account.id);
    let accounts: Vec<String> = accounts
        .iter()
        .map(|account| {
            let queued: u64 = account.purchases.iter().skip(1).filter_map(|purchase| purchase.limits.time).map(|time| time.0).sum();
            let left = account.clock.left(at).unwrap_or(Millis::ZERO).0 + queued;
            let online: Vec<&str> = account.online.keys().map(|mac| name(*mac)).collect();
            let phone = account.phone.map_or("-".to_owned(), |phone| phone.digits()[9..].to_owned());
            format!("{phone} {} [{}]", left / MINUTE, online.join(" "))
        })
        .collect();
    let Answer::Payments(mut payments) = world.ask(Request::Payments) else { panic!() };
    payments.retain(|payment| payment.receipt.is_some());
    payments.sort_by_key(|payment| payment.receipt.clone());
    let money: Vec<String> = payments
        .iter()
        .map(|payment| {
            assert_eq!(payment.status, PaymentStatus::Paid);
            assert_eq!(payment.username.is_none(), payment.unserved.is_some(), "served, or a reason");
            let receipt = payment.receipt.as_ref().unwrap();
            payment.unserved.map_or_else(|| format!("{receipt} {}", payment.package), |why| format!("{receipt} waits, {why}"))
        })
        .collect();
    format!("{} / {}", accounts.join(", "), money.join(", "))
}

#[test]
fn money_that_is_not_as_it_was_expected() {
    type Story = fn(&mut World, &OrderId);
    // Alice asked for the hour at KSh 10 with the phone 678; then …
    let stories: &[(&str, Story, &str)] = &[
        ("as expected", |w, o| late(w, o, "RCPT0001", 10), "678 60 [alice] / RCPT0001 hour"),
        ("underpaid", |w, o| late(w, o, "RCPT0001", 9), " / RCPT0001 waits, too little: the package costs KSh 10"),
        ("overpaid: the package, and the row shows what came", |w, o| late(w, o, "RCPT0001", 25), "678 60 [alice] / RCPT0001 hour"),
        (
            "of another phone: the money is that phone's, the device goes online",
            |w, o| {
                paid(w, o, "hour", ALICE, OTHER_PHONE, "RCPT0001", 10);
            },
            "999 60 [alice] / RCPT0001 hour",
        ),
        (
            "for another device than asked: the order knows better",
            |w, o| {
                paid(w, o, "hour", BOB, PHONE, "RCPT0001", 10);
            },
            "678 60 [alice] / RCPT0001 hour",
        ),
        (
            "for another package than asked: the order knows better",
            |w, o| {
                paid(w, o, "family", ALICE, PHONE, "RCPT0001", 10);
            },
            "678 60 [alice] / RCPT0001 hour",
        ),
        (
            "prompted twice by mishap, both paid: both are served",
            |w, o| {
                late(w, o, "RCPT0001", 10);
                late(w, o, "RCPT0002", 10);
            },
            "678 120 [alice] / RCPT0001 hour, RCPT0002 hour",
        ),
        (
            "too little, and then all of it",
            |w, o| {
                late(w, o, "RCPT0001", 1);
                late(w, o, "RCPT0002", 10);
            },
            "678 60 [alice] / RCPT0001 waits, too little: the package costs KSh 10, RCPT0002 hour",
        ),
        (
            "all of it, and then too little",
            |w, o| {
                late(w, o, "RCPT0001", 10);
                late(w, o, "RCPT0002", 1);
            },
            "678 60 [alice] / RCPT0001 hour, RCPT0002 waits, too little: the package costs KSh 10",
        ),
        (
            "too little, twice",
            |w, o| {
                late(w, o, "RCPT0001", 1);
                late(w, o, "RCPT0002", 2);
            },
            " / RCPT0001 waits, too little: the package costs KSh 10, RCPT0002 waits, too little: the package costs KSh 10",
        ),
        (
            "a day later, the router rebooted meanwhile",
            |w, o| {
                w.pass(20 * HOUR);
                w.power_cut(4 * HOUR, settings());
                w.arrives(ALICE, 100);
                late(w, o, "RCPT0001", 10);
            },
            "678 60 [alice] / RCPT0001 hour",
        ),
        (
            "two days later: the order is forgotten",
            |w, o| {
                w.pass(48 * HOUR);
                w.step(Input::Tick);
                assert_eq!(w.gateway.orders.get(o), None);
                late(w, o, "RCPT0001", 10);
            },
            "678 60 [alice] / RCPT0001 hour",
        ),
        (
            "the page closed, the phone asleep",
            |w, o| {
                w.leaves(ALICE, 100);
                late(w, o, "RCPT0001", 10);
                w.pass(3 * HOUR);
            },
            "678 60 [] / RCPT0001 hour",
        ),
        (
            "the phone asleep, and back",
            |w, o| {
                w.leaves(ALICE, 100);
                late(w, o, "RCPT0001", 10);
                w.pass(3 * HOUR);
                w.arrives(ALICE, 100);
            },
            "678 60 [alice] / RCPT0001 hour",
        ),
        (
            "the phone came back under another address: it waits on the account",
            |w, o| {
                w.leaves(ALICE, 100);
                w.arrives(ALICE_ANEW, 102);
                late(w, o, "RCPT0001", 10);
            },
            "678 60 [] / RCPT0001 hour",
        ),
        (
            "the device went online on an account of its own phone meanwhile: that goes on longer",
            |w, o| {
                w.buys(ALICE, "slow", "RCPT0000");
                late(w, o, "RCPT0001", 10);
            },
            "678 120 [alice] / RCPT0000 slow, RCPT0001 hour",
        ),
        (
            "the device went online on another's account meanwhile: that goes on longer, as its page shows",
            |w, o| {
                let view = w.buys(BOB, "family", "RCPT0000");
                w.login(ALICE, &view);
                paid(w, o, "hour", ALICE, OTHER_PHONE, "RCPT0001", 10);
            },
            "999 120 [alice bob] / RCPT0000 family, RCPT0001 hour",
        ),
        (
            "the power went while it was online on what another phone paid, and it is not seen yet: that goes on longer",
            |w, o| {
                paid(w, &forgotten(), "family", ALICE, OTHER_PHONE, "RCPT0000", 50);
                w.power_cut(HOUR, settings());
                late(w, o, "RCPT0001", 10);
                w.arrives(ALICE, 100);
            },
            "678 120 [alice] / RCPT0000 family, RCPT0001 hour",
        ),
        (
            "the device has an account of the same phone, which is used up",
            |w, o| {
                w.buys(ALICE, "slow", "RCPT0000");
                w.pass(HOUR);
                late(w, o, "RCPT0001", 10);
            },
            "678 60 [alice] / RCPT0000 slow, RCPT0001 hour",
        ),
        (
            "the device has an account that another phone paid for: another one",
            |w, o| {
                w.buys(ALICE, "slow", "RCPT0000");
                w.ask(Request::Logout { device: ALICE });
                paid(w, o, "hour", ALICE, OTHER_PHONE, "RCPT0001", 10);
            },
            "678 60 [], 999 60 [alice] / RCPT0000 slow, RCPT0001 hour",
        ),
        (
            "the phone has an account, with another device: another one",
            |w, o| {
                w.buys(BOB, "hour", "RCPT0000");
                late(w, o, "RCPT0001", 10);
            },
            "678 60 [bob], 678 60 [alice] / RCPT0000 hour, RCPT0001 hour",
        ),
        (
            "all places of the account are taken: who has just paid is online",
            |w, o| {
                let view = w.buys(ALICE, "slow", "RCPT0000");
                w.ask(Request::Logout { device: ALICE });
                w.login(BOB, &view);
                late(w, o, "RCPT0001", 10);
            },
            "678 120 [alice] / RCPT0000 slow, RCPT0001 hour",
        ),
        (
            "all places are taken while the phone sleeps: the one in it goes on until then",
            |w, o| {
                let view = w.buys(ALICE, "slow", "RCPT0000");
                w.leaves(ALICE, 100);
                w.ask(Request::Logout { device: ALICE });
                w.login(BOB, &view);
                w.pass(1);
                late(w, o, "RCPT0001", 10);
                w.pass(30 * MINUTE - 1);
            },
            "678 90 [bob] / RCPT0000 slow, RCPT0001 hour",
        ),
        (
            "and who has paid has the place when it wakes up",
            |w, o| {
                let view = w.buys(ALICE, "slow", "RCPT0000");
                w.leaves(ALICE, 100);
                w.ask(Request::Logout { device: ALICE });
                w.login(BOB, &view);
                w.pass(1);
                late(w, o, "RCPT0001", 10);
                w.pass(30 * MINUTE - 1);
                w.killed();
                w.arrives(ALICE, 100);
            },
            "678 90 [alice] / RCPT0000 slow, RCPT0001 hour",
        ),
        (
            "but not from a device that logged in after the money came",
            |w, o| {
                w.leaves(ALICE, 100);
                late(w, o, "RCPT0001", 10);
                let view = w.status(ALICE, o);
                w.pass(1);
                w.login(BOB, &view);
                w.arrives(ALICE, 100);
            },
            "678 60 [bob] / RCPT0001 hour",
        ),
        (
            "the package is gone from the price list: the order keeps it",
            |w, o| {
                w.step(Input::Reconfigured(selling(|s| s.packages.retain(|p| p.id.as_str() != "hour"))));
                late(w, o, "RCPT0001", 10);
            },
            "678 60 [alice] / RCPT0001 hour",
        ),
        (
            "the package has another price: the order keeps it",
            |w, o| {
                w.step(Input::Reconfigured(selling(|s| s.packages[0].price = Shillings(15))));
                late(w, o, "RCPT0001", 10);
            },
            "678 60 [alice] / RCPT0001 hour",
        ),
        (
            "the package has fewer minutes: the order keeps it",
            |w, o| {
                w.step(Input::Reconfigured(selling(|s| s.packages[0].limits.time = Some(Millis::from_minutes(10)))));
                late(w, o, "RCPT0001", 10);
            },
            "678 60 [alice] / RCPT0001 hour",
        ),
    ];
    for (what, story, expected) in stories {
        let mut world = World::ready();
        world.arrives(BOB, 101);
        let order = world.pay(ALICE, "hour");
        world.pass(1);
        story(&mut world, &order);
        assert_eq!(books(&mut world), *expected, "{what}");
        // Told again, and again after a kill, it changes nothing.
        for receipt in ["RCPT0001", "RCPT0002"].into_iter().filter(|receipt| expected.contains(*receipt)) {
            late(&mut world, &order, receipt, 10);
            world.killed();
            late(&mut world, &order, receipt, 10);
        }
        assert_eq!(books(&mut world), *expected, "{what}, told again");
    }
}

#[test]
fn money_for_an_order_that_nobody_remembers() {
    type List = fn(&mut Settings);
    // The relay says: so much came, for the package of that name.
    let cases: &[(&str, List, &str, u64, &str)] = &[
        ("as it was", |_| {}, "hour", 10, "678 60 [alice] / RCPT0001 hour"),
        ("renamed", |s| s.packages[0].id = "one_hour".parse().unwrap(), "hour", 10, "678 60 [alice] / RCPT0001 one_hour"),
        ("gone, and others cost as much: the first of them", |s| drop(s.packages.remove(0)), "hour", 10, "678 60 [alice] / RCPT0001 slow"),
        (
            "gone, and none costs as much",
            |_| {},
            "week",
            35,
            " / RCPT0001 waits, the price list has no such package, and none at this price",
        ),
        (
            "dearer now, and another costs what was paid",
            |s| s.packages[0].price = Shillings(15),
            "hour",
            10,
            "678 60 [alice] / RCPT0001 slow",
        ),
        ("dearer now, and none costs as much", |_| {}, "family", 45, " / RCPT0001 waits, too little: the package costs KSh 50"),
        ("cheaper now", |_| {}, "family", 60, "678 60 [alice] / RCPT0001 family"),
        ("two at that price: the one that was bought", |_| {}, "slow", 10, "678 60 [alice] / RCPT0001 slow"),
    ];
    for (what, list, package, amount, expected) in cases {
        let mut world = World::ready();
        world.step(Input::Reconfigured(selling(list)));
        paid(&mut world, &forgotten(), package, ALICE, PHONE, "RCPT0001", *amount);
        assert_eq!(books(&mut world), *expected, "{what}");
        world.killed();
        paid(&mut world, &forgotten(), package, ALICE, PHONE, "RCPT0001", *amount);
        assert_eq!(books(&mut world), *expected, "{what}, told again");
    }
    // A device that was never seen: it waits on the account, which is the phone's.
    let mut world = World::ready();
    paid(&mut world, &forgotten(), "hour", BOB, PHONE, "RCPT0001", 10);
    assert_eq!(books(&mut world), "678 60 [] / RCPT0001 hour");
    let view = world.status(BOB, &forgotten());
    assert!(matches!(world.login(ALICE, &view), Answer::Session(_)), "its credentials are good for any device");
}

fn serve(world: &mut World, receipt: &str, package: Option<&str>, device: Option<Mac>) -> Answer {
    world.ask(Request::Serve { receipt: receipt.parse().unwrap(), package: package.map(|id| id.parse().unwrap()), device })
}

fn served(world: &mut World, receipt: &str, package: Option<&str>, device: Option<Mac>) -> ServedView {
    match serve(world, receipt, package, device) {
        Answer::Served(served) => served,
        other => panic!("not served: {other:?}"),
    }
}

/// Alice paid too little for an hour.
fn waiting() -> (World, OrderId) {
    let mut world = World::ready();
    world.arrives(BOB, 101);
    let order = world.pay(ALICE, "hour");
    late(&mut world, &order, "RCPT0001", 9);
    (world, order)
}

#[test]
fn what_waits_is_served_as_the_operator_says() {
    let cheaper = selling(|s| s.packages[0].price = Shillings(9));
    for (what, list, package, device, expected) in [
        ("as a package that is named", settings(), Some("hour"), None, "678 60 [alice] / RCPT0001 hour"),
        ("to another device", settings(), Some("hour"), Some(BOB), "678 60 [bob] / RCPT0001 hour"),
        ("by the price list, once that has something", cheaper, None, None, "678 60 [alice] / RCPT0001 hour"),
    ] {
        let (mut world, order) = waiting();
        world.step(Input::Reconfigured(list));
        let served = served(&mut world, "RCPT0001", package, device);
        assert_eq!(books(&mut world), expected, "{what}");
        let (status, username) = (world.status(ALICE, &order), served.username.clone());
        assert_eq!(
            (status.status, status.username, served.online),
            (PaymentStatus::Paid, Some(username), true),
            "{what}: its page shows it"
        );
        let Answer::Payments(payments) = world.ask(Request::Payments) else { panic!() };
        assert!(payments[0].served_at.is_some() && payments[0].amount == Some(Shillings(9)), "{what}: {payments:?}");
    }
}

#[test]
fn what_waits_is_served_once() {
    let (mut world, order) = waiting();
    let ask = Request::Serve { receipt: "RCPT0001".parse().unwrap(), package: Some("hour".parse().unwrap()), device: None };
    let effects = world.step(Input::Ask(crate::request::AskId(900), ask));
    // All of it is in one change of the store, before anything else happens.
    let [Effect::Persist(changes), Effect::Gate(_), ..] = effects.as_slice() else { panic!("{effects:?}") };
    let kinds: Vec<String> = changes
        .iter()
        .map(|change| match change {
            Change::Put(record) => record.key().0.split('/').next().unwrap().to_owned(),
            Change::Delete(key) => panic!("{key:?} is deleted"),
        })
        .collect();
    assert_eq!(kinds, ["order", "account", "device", "outbox", "ledger", "counters"]);
    for again in [Some("hour"), Some("family"), None] {
        assert_eq!(serve(&mut world, "RCPT0001", again, Some(BOB)), Answer::Refused(Refusal::AlreadyServed));
        world.killed();
    }
    late(&mut world, &order, "RCPT0001", 9);
    assert_eq!(books(&mut world), "678 60 [alice] / RCPT0001 hour");
    // What was never stored did not happen, and is served when it is asked for again.
    let (mut world, _) = waiting();
    let before = world.store.clone();
    served(&mut world, "RCPT0001", Some("hour"), None);
    world.store = before;
    world.killed();
    assert_eq!(books(&mut world), " / RCPT0001 waits, too little: the package costs KSh 10");
    served(&mut world, "RCPT0001", Some("hour"), None);
    assert_eq!(books(&mut world), "678 60 [alice] / RCPT0001 hour");
}

#[test]
fn what_cannot_be_served_stays_as_it_is() {
    let (mut world, _) = waiting();
    for (receipt, package, refusal) in [
        ("NLJ7RT61SV", None, Refusal::UnknownReceipt),
        ("RCPT0001", Some("week"), Refusal::UnknownPackage),
        ("RCPT0001", None, Refusal::NoPackageFits),
    ] {
        assert_eq!(serve(&mut world, receipt, package, None), Answer::Refused(refusal));
    }
    assert_eq!(books(&mut world), " / RCPT0001 waits, too little: the package costs KSh 10");
    world.buys(BOB, "hour", "RCPT0002");
    assert_eq!(serve(&mut world, "RCPT0002", None, None), Answer::Refused(Refusal::AlreadyServed));
}

#[test]
fn what_waits_for_a_device_that_is_away() {
    let mut world = World::ready();
    paid(&mut world, &forgotten(), "week", BOB, PHONE, "RCPT0001", 35);
    let served = served(&mut world, "RCPT0001", Some("hour"), None);
    assert_eq!((served.device, served.online), (Some(BOB), false));
    assert_eq!(books(&mut world), "678 60 [] / RCPT0001 hour");
    world.arrives(BOB, 101);
    assert_eq!(books(&mut world), "678 60 [bob] / RCPT0001 hour");
}
