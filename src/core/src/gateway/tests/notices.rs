//! What the relay is told of accounts: each sale once, and each end at most once.

use super::world::{ALICE, BOB, HOUR, MINUTE, World, settings};
use crate::account::Account;
use crate::gateway::Gateway;
use crate::message::{DownBody, Up, UpBody};
use crate::notice::{AccountNotice, End, Ended, Expiring};
use crate::record::Record;
use crate::settings::Settings;
use crate::step::Input;
use crate::units::{Bytes, Millis, Seconds};

fn telling(end_notice: Option<u64>) -> Settings {
    Settings { end_notice: end_notice.map(Millis::from_minutes), ..settings() }
}

/// A router that tells of ends so many minutes before.
fn ready(end_notice: Option<u64>) -> World {
    let mut world = World::ready();
    world.step(Input::Reconfigured(telling(end_notice)));
    world
}

fn sales(world: &World) -> Vec<AccountNotice> {
    let sale = |up: &Up| match &up.body {
        UpBody::Account(notice) => Some(notice.clone()),
        _ => None,
    };
    world.sent.iter().filter_map(sale).collect()
}

/// What was said of ends: seconds left, or by what it ended.
fn ends(world: &World) -> Vec<Result<u64, End>> {
    let end = |up: &Up| match &up.body {
        UpBody::Expiring(Expiring { seconds_left, .. }) => Some(Ok(seconds_left.0)),
        UpBody::Ended(Ended { by, .. }) => Some(Err(*by)),
        _ => None,
    };
    world.sent.iter().filter_map(end).collect()
}

fn stored_notices(world: &World) -> usize {
    world.records().iter().filter(|record| matches!(record, Record::Outbox(Up { body: UpBody::Account(_), .. }))).count()
}

fn account(world: &World) -> Account {
    let account = |record: Record| if let Record::Account(account) = record { Some(account) } else { None };
    world.records().into_iter().find_map(account).unwrap()
}

#[test]
fn a_sale_is_told_with_what_a_text_needs_and_until_the_relay_has_it() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "both", "RECEIPT001");
    let [told] = &*sales(&world) else { panic!("{:?}", world.sent) };
    assert_eq!((Some(&told.username), Some(&told.password)), (view.username.as_ref(), view.password.as_ref()));
    assert_eq!((told.phone.unwrap().digits().as_str(), told.label.as_str(), told.devices), ("254712345678", "both", 1));
    assert_eq!((told.seconds, told.bytes), (Some(Seconds(3_600)), Some(Bytes(100_000_000))));
    assert_eq!((told.order.as_ref(), told.receipt.as_ref().unwrap().as_str()), (Some(&view.payment), "RECEIPT001"));
    assert_eq!((told.language.unwrap().as_str(), told.online), ("sw", true));
    // Kept over a crash, sent again at the next welcome, and forgotten when the relay has it.
    world.killed();
    world.connect();
    assert_eq!(sales(&world).len(), 1);
    let id = world.sent.iter().find(|up| matches!(up.body, UpBody::Account(_))).unwrap().id.clone();
    world.relay(DownBody::Ack { of: vec![id] });
    assert_eq!(stored_notices(&world), 0);
}

#[test]
fn it_is_stored_in_the_step_that_sells_or_not_at_all() {
    let mut world = World::ready();
    let order = world.pay(ALICE, "hour");
    let before = world.records();
    world.paid(&order, "hour", ALICE, "RECEIPT001", 10);
    assert_eq!(stored_notices(&world), 1);
    // The store failed: the gateway is loaded as it was before, and the relay's result comes again.
    world.store = before.iter().map(|record| (record.key().0, record.encode())).collect();
    world.killed();
    world.paid(&order, "hour", ALICE, "RECEIPT001", 10);
    world.paid(&order, "hour", ALICE, "RECEIPT001", 10);
    assert_eq!((stored_notices(&world), sales(&world).len()), (1, 1));
}

#[test]
fn money_that_comes_late_is_told_as_waiting() {
    let mut world = World::ready();
    let order = world.pay(ALICE, "hour");
    world.leaves(ALICE, 100);
    world.pass(HOUR);
    world.paid(&order, "hour", ALICE, "RECEIPT001", 10);
    let [told] = &*sales(&world) else { panic!("{:?}", world.sent) };
    assert!(!told.online && told.language.is_some(), "{told:?}");
    // An order that this router does not know: it knows no language, either.
    world.paid(&"0000000000000000000000xyzt".parse().unwrap(), "hour", BOB, "RECEIPT002", 10);
    let told = sales(&world).pop().unwrap();
    assert_eq!((told.online, told.language, told.receipt.unwrap().as_str()), (false, None, "RECEIPT002"));
    // Money that could not be served has nothing to be told of.
    world.paid(&"0000000000000000000000xyzu".parse().unwrap(), "hour", BOB, "RECEIPT003", 1);
    assert_eq!(sales(&world).len(), 2);
}

#[test]
fn each_purchase_is_told_once_also_on_one_account() {
    let mut world = World::ready();
    let first = world.buys(ALICE, "hour", "RECEIPT001");
    let second = world.buys(ALICE, "hour", "RECEIPT002");
    assert_eq!(first.username, second.username);
    let told: Vec<_> = sales(&world).into_iter().map(|sale| sale.receipt.unwrap().to_string()).collect();
    assert_eq!(told, ["RECEIPT001", "RECEIPT002"]);
    let ids: crate::tree::BTreeSet<_> = world.sent.iter().map(|up| up.id.clone()).collect();
    assert_eq!(ids.len(), world.sent.len(), "two messages of one id");
}

#[test]
fn without_a_relay_nothing_is_kept_for_it() {
    let mut world = ready(Some(0));
    let order = world.pay(ALICE, "hour");
    world.step(Input::Reconfigured(Settings { relay: false, ..telling(Some(0)) }));
    world.paid(&order, "hour", ALICE, "RECEIPT001", 10);
    world.pass(2 * HOUR);
    assert!(sales(&world).is_empty() && ends(&world).is_empty());
}

#[test]
fn ends_are_told_only_where_that_is_wanted() {
    for (end_notice, told) in [(None, vec![]), (Some(0), vec![Err(End::Time)]), (Some(10), vec![Ok(600)])] {
        let mut world = ready(end_notice);
        world.buys(ALICE, "hour", "RECEIPT001");
        world.pass(2 * HOUR);
        assert!(world.session(ALICE).is_none());
        assert_eq!(ends(&world), told, "{end_notice:?}");
    }
}

#[test]
fn an_end_of_data_is_told_unless_the_end_of_time_was() {
    for (end_notice, used_at, told) in [
        (Some(0), 20, vec![Err(End::Data)]),
        (Some(10), 20, vec![Err(End::Data)]),
        // Ten minutes before the end it was said that it is near.
        (Some(10), 55, vec![Ok(600)]),
        (None, 20, vec![]),
    ] {
        let mut world = ready(end_notice);
        world.buys(ALICE, "both", "RECEIPT001");
        world.pass(used_at * MINUTE);
        world.used(ALICE, 1, 100_000_000);
        assert!(world.session(ALICE).is_none());
        world.pass(2 * HOUR);
        assert_eq!(ends(&world), told, "{end_notice:?}, used up after {used_at} minutes");
    }
}

#[test]
fn an_end_is_told_once_however_the_customer_comes_and_goes() {
    let mut world = ready(Some(10));
    let view = world.buys(ALICE, "hour", "RECEIPT001");
    world.pass(51 * MINUTE);
    assert_eq!(ends(&world), [Ok(600)]);
    for _ in 0..3 {
        world.ask(crate::request::Request::Logout { device: ALICE });
        world.pass(HOUR); // nobody is there: no step looks at anything
        world.login(ALICE, &view);
        world.pass(MINUTE);
    }
    world.killed();
    world.step(Input::Reconfigured(telling(Some(10))));
    world.connect();
    world.sent.clear();
    world.pass(HOUR);
    assert!(world.session(ALICE).is_none());
    assert_eq!(ends(&world), [], "told again after the crash; before it {:?}", account(&world).username);
}

#[test]
fn who_buys_more_is_told_of_the_new_end() {
    let mut world = ready(Some(10));
    world.buys(ALICE, "hour", "RECEIPT001");
    world.pass(55 * MINUTE);
    world.buys(ALICE, "hour", "RECEIPT002");
    // Another kind follows: what runs ends, but the customer's internet does not.
    world.buys(ALICE, "mega", "RECEIPT003");
    world.pass(3 * HOUR);
    assert_eq!(ends(&world), [Ok(600)]);
    world.used(ALICE, 1, 100_000_000);
    assert_eq!(ends(&world), [Ok(600), Err(End::Data)]);
}

#[test]
fn after_a_start_near_ends_are_left_alone() {
    let mut world = ready(Some(10));
    world.buys(ALICE, "hour", "RECEIPT001");
    world.pass(51 * MINUTE);
    world.gateway = Gateway::load(telling(Some(10)), world.records(), world.boot.clone(), world.now());
    world.step(Input::Tick);
    world.connect();
    world.sent.clear();
    world.pass(HOUR);
    assert_eq!(ends(&world), []);
}
