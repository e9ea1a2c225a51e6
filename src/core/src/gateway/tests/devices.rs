//! Several devices on one account: who comes on, who gives way, and what they see of each other.

use super::world::*;
use crate::account::{Account, DEVICES_KEPT, FOLDED};
use crate::gate::{Traffic, Usage};
use crate::request::{Answer, MyAccountView, PaymentView, Refusal, Request};
use crate::step::Input;
use crate::units::{Bytes, Mac, Password};

const CAROL: Mac = Mac([2, 0, 0, 0, 0, 0xc]);
const DAVE: Mac = Mac([2, 0, 0, 0, 0, 0xd]);

fn replace(world: &mut World, device: Mac, view: &PaymentView) -> Answer {
    let (username, password) = (view.username.clone().unwrap(), view.password.clone().unwrap());
    world.ask(Request::Login { device, username, password, replace: true })
}

fn account(world: &mut World, device: Mac) -> Option<MyAccountView> {
    match world.ask(Request::MyAccount { device }) {
        Answer::MyAccount(account) => account,
        other => panic!("{other:?}"),
    }
}

/// Alice, Bob and Carol on Alice's account for three.
fn family() -> (World, PaymentView) {
    let mut world = World::ready();
    for (device, host) in [(BOB, 101), (CAROL, 102), (DAVE, 103)] {
        world.arrives(device, host);
    }
    let view = world.buys(ALICE, "family", "NLJ7RT61SV");
    for device in [BOB, CAROL] {
        world.pass(1_000);
        world.login(device, &view);
    }
    (world, view)
}

fn uses(world: &mut World, device: Mac, bytes: u64) {
    let id = world.in_gate(device).unwrap().id;
    world.step(Input::Usage(vec![Usage { id, mac: device, traffic: Traffic { up: Bytes(bytes), down: Bytes(0) } }]));
}

#[test]
fn what_is_left_in_all_is_what_this_device_may_use() {
    let (mut world, _) = family();
    let minutes = |world: &mut World| {
        [ALICE, BOB, CAROL].map(|device| world.session(device).map(|session| session.seconds_in_all.unwrap().0.div_ceil(60)))
    };
    assert_eq!(minutes(&mut world), [Some(60); 3]);
    // An hour for one device, the first of the three; what comes behind it for three is hers alone, too: the others went.
    for package in ["slow", "family"] {
        world.ask(Request::Grant { device: ALICE, package: package.parse().unwrap() });
    }
    assert_eq!(minutes(&mut world), [Some(180), Some(60), Some(60)]);
    world.ask(Request::Logout { device: ALICE });
    assert_eq!(minutes(&mut world), [None, Some(180), Some(60)], "who came next is the first now");
    world.pass(HOUR);
    assert_eq!(minutes(&mut world), [None, Some(120), None], "as it was told");
}

#[test]
fn the_device_seen_longest_ago_gives_way_when_asked() {
    type Before = fn(&mut World);
    let cases: [(&str, Before, Mac); 5] = [
        ("all came and did nothing since", |_| {}, ALICE),
        ("the first one goes on using it", |w| uses(w, ALICE, 1), BOB),
        (
            "all used it, and the last one longest ago",
            |w| {
                for device in [CAROL, ALICE, BOB] {
                    uses(w, device, 1);
                    w.pass(1_000);
                }
            },
            CAROL,
        ),
        (
            "one has left the Wi-Fi",
            |w| {
                uses(w, BOB, 1);
                w.leaves(BOB, 101);
            },
            BOB,
        ),
        (
            "the daemon started again, and one was seen since",
            |w| {
                w.killed();
                w.pass(1_000);
                uses(w, ALICE, 1);
                uses(w, BOB, 1);
            },
            CAROL,
        ),
    ];
    for (what, before, gone) in cases {
        let (mut world, view) = family();
        world.pass(1_000);
        before(&mut world);
        world.pass(1_000);
        assert_eq!(world.login(DAVE, &view), Answer::Refused(Refusal::DeviceLimit), "{what}: nobody gives way unasked");
        assert!(matches!(replace(&mut world, DAVE, &view), Answer::Session(_)), "{what}");
        for device in [ALICE, BOB, CAROL, DAVE] {
            assert_eq!(world.in_gate(device).is_some(), device != gone, "{what}: {device}");
        }
        // Who gave way does not come back by itself.
        world.arrives(gone, 200);
        assert!(world.in_gate(gone).is_none(), "{what}");
    }
}

#[test]
fn nobody_gives_way_to_wrong_credentials_or_where_there_is_room() {
    let (mut world, view) = family();
    let (username, password) = (view.username.clone().unwrap(), Password::new("wrong").unwrap());
    let wrong = Request::Login { device: DAVE, username, password, replace: true };
    assert_eq!(world.ask(wrong), Answer::Refused(Refusal::BadCredentials));
    assert!(matches!(replace(&mut world, BOB, &view), Answer::Session(_)), "it is online itself");
    assert_eq!(account(&mut world, ALICE).unwrap().devices.len(), 3);
    world.pass(HOUR);
    assert_eq!(replace(&mut world, DAVE, &view), Answer::Refused(Refusal::Expired));
}

#[test]
fn an_account_shows_its_devices_to_them_alone() {
    let (mut world, _) = family();
    world.used(BOB, 7, 9);
    let shown = account(&mut world, BOB).unwrap();
    let devices: Vec<_> = shown.devices.iter().map(|d| (d.device, d.this, d.bytes_up.0, d.bytes_down.0)).collect();
    assert_eq!(devices, [(ALICE, false, 0, 0), (BOB, true, 7, 9), (CAROL, false, 0, 0)]);
    assert_eq!((shown.devices_at_most, shown.session.devices), (3, 3));
    assert_eq!(account(&mut world, DAVE), None);
}

#[test]
fn a_device_logs_out_others_of_its_account_and_nobody_else_s() {
    let (mut world, _) = family();
    let dave = world.buys(DAVE, "hour", "UJ22T8IYOU");
    for (device, other, done) in [(ALICE, BOB, true), (ALICE, BOB, false), (ALICE, DAVE, false), (BOB, ALICE, false), (CAROL, ALICE, true)]
    {
        let expected = if done { Answer::Done } else { Answer::Refused(Refusal::NotOnline) };
        assert_eq!(world.ask(Request::LogoutOther { device, other }), expected, "{device} {other}");
    }
    assert!(world.in_gate(CAROL).is_some() && world.in_gate(DAVE).is_some() && dave.connected);
    assert!(world.in_gate(ALICE).is_none() && world.in_gate(BOB).is_none());
}

#[test]
fn logging_out_keeps_what_is_left_for_all() {
    let (mut world, view) = family();
    world.pass(10 * MINUTE);
    for device in [ALICE, BOB, CAROL] {
        world.ask(Request::Logout { device });
    }
    world.pass(5 * HOUR);
    assert!(matches!(world.login(DAVE, &view), Answer::Session(_)));
    let left = world.session(DAVE).unwrap().seconds_remaining.unwrap().0;
    assert_eq!(left, 3_600 - 600 - 2, "the seconds before Carol came, and ten minutes");
}

#[test]
fn guesses_at_an_account_are_limited_and_its_own_devices_are_not() {
    let (mut world, view) = family();
    let username = view.username.clone().unwrap();
    let stranger = |n: u8| Mac([2, 0, 0, 0, 9, n]);
    let wrong = |world: &mut World, device| {
        let password = Password::new("wrong").unwrap();
        world.ask(Request::Login { device, username: username.clone(), password, replace: false })
    };
    for n in 0..20 {
        assert_eq!(wrong(&mut world, stranger(n)), Answer::Refused(Refusal::BadCredentials), "each with a new address");
    }
    assert!(matches!(wrong(&mut world, stranger(20)), Answer::Refused(Refusal::TooManyRequests { .. })));
    world.ask(Request::Logout { device: BOB });
    assert!(matches!(world.login(BOB, &view), Answer::Session(_)), "a device that was on it");
    let other = world.buys(DAVE, "hour", "UJ22T8IYOU");
    world.ask(Request::Logout { device: DAVE });
    assert!(matches!(world.login(stranger(21), &other), Answer::Session(_)), "another account");
    world.pass(10 * MINUTE);
    assert_eq!(wrong(&mut world, stranger(22)), Answer::Refused(Refusal::BadCredentials));
}

/// A phone with a new address at each visit, on one account: `visits` of them, each of which uses 1,000 bytes and goes.
fn visits(world: &mut World, view: &PaymentView, first: u8, visits: u8) {
    for n in first..first + visits {
        let phone = Mac([2, 0, 0, 0, 1, n]);
        world.arrives(phone, 150 + n);
        replace(world, phone, view);
        // The kernel counts on from what it is given to begin with.
        let begun = world.in_gate(phone).unwrap().devices.get(&phone).unwrap().traffic;
        world.used(phone, begun.up.0 + 400, begun.down.0 + 600);
        world.ask(Request::Logout { device: phone });
        world.leaves(phone, 150 + n);
    }
}

fn stored(world: &World) -> Account {
    let account = world.records().into_iter().find_map(|record| match record {
        crate::record::Record::Account(account) => Some(account),
        _ => None,
    });
    account.unwrap()
}

#[test]
fn what_many_addresses_used_becomes_one_sum_after_a_power_cut_and_never_before() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "mega", "NLJ7RT61SV");
    world.used(ALICE, 5_000, 0);
    visits(&mut world, &view, 0, 20);
    assert_eq!((stored(&world).traffic.len(), stored(&world).used()), (21, Bytes(25_000)));
    // The program dies, and the kernel counts on: each total is needed, because a device that comes back goes on from there.
    world.killed();
    world.step(Input::Tick);
    assert_eq!((stored(&world).traffic.len(), stored(&world).used()), (21, Bytes(25_000)));
    visits(&mut world, &view, 3, 1);
    assert_eq!((stored(&world).traffic.len(), stored(&world).used()), (21, Bytes(26_000)));
    replace(&mut world, ALICE, &view);
    let left = world.session(ALICE).map(|session| session.bytes_remaining);
    assert!(left.is_some());

    world.power_cut(60_000, settings());
    let account = stored(&world);
    assert_eq!(account.traffic.len(), DEVICES_KEPT / 2 + 1);
    assert_eq!(account.used(), Bytes(26_000), "nothing is lost of what was used, and nothing counted twice");
    assert!(account.traffic.contains_key(&FOLDED));
    world.arrives(ALICE, 100);
    world.login(ALICE, &view);
    assert_eq!(world.session(ALICE).map(|session| session.bytes_remaining), left, "what is left is what was left");

    // One whose total is in the sum comes back, and the kernel counts it from nothing.
    visits(&mut world, &view, 0, 1);
    assert_eq!(stored(&world).used(), Bytes(27_000));
    // Again and again: the account does not grow.
    for round in 0..5 {
        visits(&mut world, &view, 30 + round * 10, 10);
        world.power_cut(60_000, settings());
        assert!(stored(&world).traffic.len() <= DEVICES_KEPT);
    }
    assert_eq!(stored(&world).used(), Bytes(77_000));
}

#[test]
fn a_program_that_died_in_the_boot_of_the_fold_finds_it_done() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "mega", "NLJ7RT61SV");
    visits(&mut world, &view, 0, 20);
    world.power_cut(60_000, settings());
    visits(&mut world, &view, 0, 20);
    let before = stored(&world);
    world.killed();
    world.step(Input::Tick);
    assert_eq!(stored(&world), before, "counted in this boot: nothing of it is folded in this boot");
}

#[test]
fn totals_of_a_program_that_knew_no_sums_are_folded_a_boot_later() {
    let boot = |text: &str| crate::time::BootId::from(text);
    let totals = |count: u8| (0..count).map(|n| (Mac([2, 0, 0, 0, 0, n]), Traffic { up: Bytes(1), down: Bytes(2) })).collect();
    let mut world = World::ready();
    world.buys(ALICE, "mega", "NLJ7RT61SV");
    let account = |count| Account { traffic: totals(count), ..stored(&world) };
    //         totals, counted in, loaded in; totals afterwards, and in which boot they were counted
    let cases = [
        (8, None, "b", 8, None),
        (9, None, "b", 9, Some("b")),
        (9, Some("b"), "b", 9, Some("b")),
        (9, Some("a"), "b", 5, None),
        (200, Some("a"), "b", 5, None),
        (8, Some("a"), "b", 8, None),
    ];
    for (count, counted_in, loaded_in, left, then) in cases {
        let mut account = Account { counted_in: counted_in.map(|text| Box::new(boot(text))), ..account(count) };
        let used = account.used();
        let folded = account.fold(&boot(loaded_in), |_| Some(0));
        let counted_in = account.counted_in.as_deref().map(|boot| boot.as_str().to_owned());
        assert_eq!((account.traffic.len(), counted_in.as_deref()), (left, then), "{count} {counted_in:?}");
        assert_eq!((folded, account.used()), (left < usize::from(count), used));
    }
    // Who is worth most stays one by one, and who must stay does.
    let mut account = Account { counted_in: Some(Box::new(boot("a"))), ..account(20) };
    account.fold(&boot("b"), |mac| (mac.0[5] != 7).then_some(u8::from(mac.0[5] == 13)));
    assert!([7, 13].iter().all(|n| account.traffic.contains_key(&Mac([2, 0, 0, 0, 0, *n]))), "{:?}", account.traffic);
}

#[test]
fn who_comes_back_with_nothing_left_is_told_what_it_was() {
    let used_up = |world: &mut World, device| match world.ask(Request::Start { device: Some(device) }) {
        Answer::Start(start) => start.used_up.map(|package| package.to_string()),
        other => panic!("{other:?}"),
    };
    let mut world = World::ready();
    world.arrives(BOB, 101);
    assert_eq!(used_up(&mut world, ALICE), None, "it never had anything");
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    assert_eq!(used_up(&mut world, ALICE), None, "it is online");
    world.ask(Request::Logout { device: ALICE });
    assert_eq!(used_up(&mut world, ALICE), None, "something is left");
    world.login(ALICE, &view);
    world.pass(60 * 60 * 1_000);
    world.step(Input::Tick);
    assert_eq!(used_up(&mut world, ALICE).as_deref(), Some("hour"));
    assert_eq!(used_up(&mut world, BOB), None, "it is nobody else's");
    world.buys(ALICE, "hour", "NLJ7RT62SV");
    assert_eq!(used_up(&mut world, ALICE), None, "it has bought again");
}

#[test]
fn the_start_page_is_told_in_one_what_each_question_is() {
    let mut world = World::ready();
    world.arrives(BOB, 101);
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    for device in [None, Some(ALICE), Some(BOB)] {
        for connected in [true, false] {
            world.step(Input::Link { connected });
            let Answer::Start(start) = world.ask(Request::Start { device }) else { panic!("no start") };
            assert_eq!(Answer::Packages(start.packages.clone()), world.ask(Request::Packages));
            let Answer::Status(status) = world.ask(Request::Status) else { panic!("no status") };
            assert_eq!(start.payments, status.payments);
            if let Some(device) = device {
                let common = world.gateway.common_start(device, world.now()).map(|(packages, payments)| (packages.to_vec(), payments));
                assert_eq!(common, start.is_common().then(|| (start.packages.clone(), start.payments)));
                assert_eq!(common.is_none(), device == ALICE);
            }
            let Some(device) = device else {
                assert_eq!((start.session, start.latest, start.used_up), (None, None, None));
                continue;
            };
            assert_eq!(start.session.is_some(), device == ALICE);
            assert_eq!(Answer::CheckSession(start.session), world.ask(Request::CheckSession { device }));
            assert_eq!(Answer::LatestPayment(start.latest), world.ask(Request::LatestPayment { device }));
        }
    }
}

#[test]
fn what_everybody_sees_is_told_of_nobody_who_has_something_of_its_own() {
    // What it has: a session, a payment that is worth telling of, a package that is used up; then whether it sees what everybody does.
    let seen = |world: &mut World| {
        let Answer::Start(start) = world.ask(Request::Start { device: Some(ALICE) }) else { panic!("no start") };
        let common = world.gateway.common_start(ALICE, world.now()).is_some();
        assert_eq!(common, start.is_common(), "{start:?}");
        (start.session.is_some(), start.latest.is_some(), start.used_up.is_some(), common)
    };
    let mut world = World::ready();
    assert_eq!(seen(&mut world), (false, false, false, true), "it has nothing");
    let order = world.pay(ALICE, "hour");
    assert_eq!(seen(&mut world), (false, true, false, false), "its prompt is out");
    world.failed(&order, ALICE, crate::message::Reason::Cancelled);
    assert_eq!(seen(&mut world), (false, true, false, false), "it is told why it failed");
    world.pass(24 * 60 * 60 * 1_000);
    world.step(Input::Tick);
    assert_eq!(seen(&mut world), (false, false, false, true), "that is long ago");
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    assert_eq!(seen(&mut world), (true, true, false, false), "it is online, and its payment is fresh");
    world.pass(30 * 60 * 1_000);
    world.step(Input::Tick);
    assert_eq!(seen(&mut world), (true, false, false, false), "it is online, and what it paid is no news");
    world.ask(Request::Logout { device: ALICE });
    assert_eq!(seen(&mut world), (false, false, false, true), "it is offline, and something is left");
    world.login(ALICE, &view);
    world.pass(60 * 60 * 1_000);
    world.step(Input::Tick);
    assert_eq!(seen(&mut world), (false, false, true, false), "all is used up");
}
