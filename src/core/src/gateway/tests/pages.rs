//! What the portal's pages show of payments, besides the contract: receipts, the number, what waits, until when.

use super::world::*;
use crate::request::{Answer, MyAccountView, Request, StartView};
use crate::step::Input;
use crate::time::Wall;
use crate::units::{Mac, Msisdn, Password, Username};

fn account(world: &mut World, device: Mac) -> MyAccountView {
    match world.ask(Request::MyAccount { device }) {
        Answer::MyAccount(Some(account)) => account,
        other => panic!("{other:?}"),
    }
}

fn start(world: &mut World, device: Mac) -> StartView {
    match world.ask(Request::Start { device: Some(device) }) {
        Answer::Start(view) => *view,
        other => panic!("{other:?}"),
    }
}

fn login(world: &mut World, device: Mac, (username, password): &(Username, Password)) {
    let (username, password) = (username.clone(), password.clone());
    let answer = world.ask(Request::Login { device, username, password, replace: true });
    assert!(matches!(answer, Answer::Session(_)), "{answer:?}");
}

#[test]
fn an_account_has_its_last_five_receipts_the_newest_first() {
    let mut world = World::ready();
    world.arrives(BOB, 101);
    let receipts = |world: &mut World, device| {
        let shown = account(world, device).receipts.into_iter();
        shown.map(|paid| (paid.receipt.to_string(), paid.label, paid.amount.0, paid.at)).collect::<Vec<_>>()
    };
    let began = world.wall.unwrap();
    let paid = world.buys(ALICE, "hour", "NLJ7RT61S0");
    assert_eq!(receipts(&mut world, ALICE), [("NLJ7RT61S0".to_owned(), "hour".to_owned(), 1_000, Some(Wall(began)))]);
    // A payment that failed has no receipt, and what another device paid for another account is nobody's business.
    let failed = world.pay(ALICE, "both");
    world.failed(&failed, ALICE, crate::message::Reason::Cancelled);
    world.buys(BOB, "mega", "UJ22T8IYO0");
    for n in 1..=5 {
        world.pass(MINUTE);
        world.buys(ALICE, "family", &format!("NLJ7RT61S{n}"));
    }
    let codes = |world: &mut World, device| receipts(world, device).into_iter().map(|(receipt, ..)| receipt).collect::<Vec<_>>();
    let newest: Vec<String> = (1..=5).rev().map(|n| format!("NLJ7RT61S{n}")).collect();
    assert_eq!(codes(&mut world, ALICE), newest);
    assert_eq!(receipts(&mut world, ALICE)[0], (newest[0].clone(), "family".to_owned(), 1_000, Some(Wall(began + 5 * MINUTE))));
    assert_eq!(codes(&mut world, BOB), ["UJ22T8IYO0"]);
    // After a start, with a clock that is behind, what is bought then is the newest all the same.
    world.power_cut(MINUTE, settings());
    world.wall = None;
    world.connect();
    world.arrives(ALICE, 100);
    let last = world.buys(ALICE, "hour", "NLJ7RT61S6");
    assert_eq!(last.username, paid.username);
    assert_eq!(receipts(&mut world, ALICE)[0], ("NLJ7RT61S6".to_owned(), "hour".to_owned(), 1_000, None));
    assert_eq!(codes(&mut world, ALICE)[1..], newest[..4]);
    // Another device on the account sees what was paid for it, by one that used it.
    world.used(ALICE, 1, 1);
    world.arrives(BOB, 101);
    let keys = (paid.username.unwrap(), paid.password.unwrap());
    login(&mut world, BOB, &keys);
    assert_eq!(codes(&mut world, BOB)[0], "NLJ7RT61S6");
    assert!(!codes(&mut world, BOB).contains(&"UJ22T8IYO0".to_owned()), "what it paid for its own account is not of this one");
}

#[test]
fn a_device_s_number_is_the_one_it_meant_last() {
    let mut world = World::ready();
    world.arrives(BOB, 101);
    let asks = |world: &mut World, number: &str, package: &str| {
        world.pass(1_000);
        let phone: Msisdn = number.parse().unwrap();
        match world.ask(Request::Pay { device: ALICE, package: package.parse().unwrap(), phone, language: None }) {
            Answer::Payment(view) => view.payment,
            other => panic!("{other:?}"),
        }
    };
    let number = |world: &mut World, device| start(world, device).phone.map(|phone| phone.digits());
    let known = |digits: &str| Some(digits.to_owned());
    assert_eq!(number(&mut world, ALICE), None);
    let first = asks(&mut world, "0712000001", "hour");
    assert_eq!(number(&mut world, ALICE), known("254712000001"));
    world.paid(&first, "hour", ALICE, "NLJ7RT61SV", 10);
    let mistyped = asks(&mut world, "0712000002", "mega");
    assert_eq!(number(&mut world, ALICE), known("254712000002"));
    world.ask(Request::GiveUp { device: ALICE, order: mistyped.clone() });
    assert_eq!(number(&mut world, ALICE), known("254712000001"), "a mistyped number is not offered again");
    // Whoever owns that number pays: it is still not this device's.
    world.paid(&mistyped, "mega", ALICE, "UJ22T8IYOU", 20);
    assert_eq!(number(&mut world, ALICE), known("254712000001"));
    // An older one that nobody answers, and that is decided later, is not newer for that.
    asks(&mut world, "0712000003", "both");
    let last = asks(&mut world, "0712000004", "hour");
    world.paid(&last, "hour", ALICE, "UJ22T8IYO1", 10);
    world.pass(HOUR);
    assert_eq!(number(&mut world, ALICE), known("254712000004"));
    world.power_cut(MINUTE, settings());
    assert_eq!(number(&mut world, ALICE), known("254712000004"));
    assert_eq!(number(&mut world, BOB), None, "and nobody else's");
    assert!(start(&mut world, BOB).is_common());
}

#[test]
fn the_number_is_not_shown_while_two_seem_to_have_the_address() {
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    assert!(start(&mut world, ALICE).phone.is_some());
    world.step(Input::Neighbour { mac: ALICE, address: [10, 77, 0, 101].into(), present: true });
    assert_eq!(start(&mut world, ALICE).phone, None, "from the first moment on");
    assert!(account(&mut world, ALICE).receipts.is_empty());
    world.pass(5_000);
    assert_eq!(start(&mut world, ALICE).phone, None);
    world.pass(15 * MINUTE);
    assert_eq!(start(&mut world, ALICE).phone, None, "as long as it goes on");
}

#[test]
fn what_was_paid_for_is_in_use_or_waits_behind_so_many() {
    let mut world = World::ready();
    let hour = world.buys(ALICE, "hour", "NLJ7RT61S0");
    assert_eq!(hour.before, Some(0));
    world.pass(1_000);
    let slow = world.buys(ALICE, "slow", "NLJ7RT61S1");
    world.pass(1_000);
    assert_eq!(slow.before, Some(1));
    let again = world.buys(ALICE, "hour", "NLJ7RT61S2");
    assert_eq!(again.before, Some(2), "the same again waits behind what is unlike");
    let places = |world: &mut World| [&hour, &slow, &again].map(|view| world.status(ALICE, &view.payment).before);
    assert_eq!(places(&mut world), [Some(0), Some(1), Some(2)]);
    world.pass(HOUR);
    assert_eq!(places(&mut world), [None, Some(0), Some(1)], "what is used up does not wait");
    world.pass(HOUR);
    assert_eq!(places(&mut world), [None, None, Some(0)], "nor is it in use again with the next of its kind");
    // Offline, or on another account, nothing of it is in use.
    world.ask(Request::Logout { device: ALICE });
    assert_eq!(places(&mut world)[2], None);
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61S0");
    assert_eq!(world.buys(ALICE, "hour", "NLJ7RT61S1").before, Some(0), "the same twice is one");
}

#[test]
fn each_payment_is_told_of_its_own_purchase() {
    let mut world = World::ready();
    let bought = |world: &mut World, package: &str, receipt: &str| {
        world.pass(1_000);
        world.buys(ALICE, package, receipt).payment
    };
    let hour = bought(&mut world, "hour", "NLJ7RT61S0");
    let slow = bought(&mut world, "slow", "NLJ7RT61S1");
    world.pass(1_000);
    world.ask(Request::Grant { device: ALICE, package: "hour".parse().unwrap() });
    let slow_again = bought(&mut world, "slow", "NLJ7RT61S2");
    let run_as_one = bought(&mut world, "slow", "NLJ7RT61S3");
    let places = |world: &mut World| [&hour, &slow, &slow_again, &run_as_one].map(|order| world.status(ALICE, order).before);
    assert_eq!(places(&mut world), [Some(0), Some(1), Some(3), Some(3)], "an operator's gift stands between");
    world.pass(HOUR);
    assert_eq!(places(&mut world), [None, Some(0), Some(2), Some(2)]);
    world.killed();
    world.connect();
    world.pass(HOUR);
    assert_eq!(places(&mut world), [None, None, Some(1), Some(1)], "it is in the store");
    world.pass(2 * HOUR);
    assert_eq!(places(&mut world), [None, None, Some(0), Some(0)], "two hours that run as one");
    world.pass(2 * HOUR);
    assert_eq!(places(&mut world), [None; 4]);
    // The account goes on, and so do its numbers.
    assert_eq!(world.buys(ALICE, "hour", "NLJ7RT61S4").before, Some(0));
    assert_eq!(places(&mut world), [None; 4]);
}

#[test]
fn of_money_that_an_earlier_program_entered_no_place_is_told() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "hour", "NLJ7RT61S0");
    for value in world.store.values_mut() {
        let text = String::from_utf8(value.clone()).unwrap();
        *value = text.replace(r#","purchase":1"#, "").into_bytes();
    }
    world.killed();
    world.connect();
    assert_eq!(world.status(ALICE, &view.payment).before, None);
    assert_eq!(world.buys(ALICE, "slow", "NLJ7RT61S1").before, Some(1), "what comes now is");
}

#[test]
fn a_session_says_until_when_and_what_is_left_in_all() {
    let mut world = World::ready();
    let seen = |world: &mut World| {
        let session = world.session(ALICE).unwrap();
        let now = world.wall.unwrap_or_default();
        let minutes = |seconds: crate::units::Seconds| seconds.0 / 60;
        let until = session.until.map(|until| (until.0 - now) / MINUTE);
        (until, session.seconds_in_all.map(minutes), session.bytes_in_all.map(|bytes| bytes.0 / 1_000_000))
    };
    world.buys(ALICE, "hour", "NLJ7RT61S0");
    assert_eq!(seen(&mut world), (Some(60), Some(60), None));
    world.buys(ALICE, "slow", "NLJ7RT61S1");
    world.pass(10 * MINUTE);
    assert_eq!(seen(&mut world), (Some(50), Some(110), None), "what waits is there, too, until nothing is left");
    world.buys(ALICE, "slow_mega", "NLJ7RT61S2");
    assert_eq!(seen(&mut world), (Some(50), None, None), "and what ends by data alone has no end of time");
    world.wall = None;
    assert_eq!(seen(&mut world).0, None, "nobody knows what time it is");
    let mut world = World::ready();
    world.buys(ALICE, "both", "NLJ7RT61S0");
    world.buys(ALICE, "slow_both", "NLJ7RT61S1");
    assert_eq!(seen(&mut world), (Some(60), Some(120), Some(200)));
}

#[test]
fn whether_a_voucher_could_be_redeemed() {
    let mut world = World::ready();
    assert!(!start(&mut world, ALICE).vouchers);
    let codes = world.vouchers("k7m2p9", "hour", 2);
    for code in codes {
        assert!(start(&mut world, ALICE).vouchers);
        world.redeem(ALICE, code);
    }
    assert!(!start(&mut world, ALICE).vouchers, "all are used");
    let (new, _) = made_vouchers("z00001", "hour", 1, Some(world.truth + HOUR));
    world.ask(Request::AddVouchers(new));
    assert!(start(&mut world, ALICE).vouchers);
    world.killed();
    assert!(start(&mut world, ALICE).vouchers);
    world.connect();
    world.pass(HOUR);
    assert!(!start(&mut world, ALICE).vouchers, "their time is over");
}
