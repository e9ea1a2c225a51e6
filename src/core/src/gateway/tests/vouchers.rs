//! A voucher is service, exactly once, and only to who has its code.

use super::world::*;
use crate::message::{Down, DownBody, Up, UpBody};
use crate::request::{Answer, Refusal, Request, Typed, VoucherStatus};
use crate::step::{Effect, Input};
use crate::time::Wall;
use crate::units::{Mac, Seconds};

const DAY: u64 = 24 * HOUR;

fn refused(refusal: Refusal) -> Answer {
    Answer::Refused(refusal)
}

fn acknowledged(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Publish(Up { body: UpBody::Ack { .. }, .. })))
}

#[test]
fn a_code_is_an_hour_without_the_cloud() {
    let mut world = World::new();
    world.arrives(ALICE, 100);
    let codes = world.vouchers("k7m2p9", "hour", 2);
    assert!(world.gate.is_empty());
    let Answer::Redeemed(redeemed) = world.redeem(ALICE, codes[0]) else { panic!() };
    assert_eq!(redeemed.session.seconds_remaining, Some(Seconds(3_600)));
    assert_eq!(world.in_gate(ALICE).unwrap().until.unwrap().0, world.at + HOUR);
    // The account is like any other: its credentials let another day or another device in.
    world.ask(Request::Logout { device: ALICE });
    let login = Request::Login { device: BOB, username: redeemed.session.username, password: redeemed.password, replace: false };
    assert!(matches!(world.ask(login), Answer::Session(_)));
    let stored: String = world.store.values().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    for code in codes {
        let plain = code.reveal().replace('-', "");
        assert!(!stored.contains(&code.reveal()) && !stored.contains(&plain), "a code is in the store");
        assert!(!world.log.iter().any(|line| line.contains(&plain) || line.contains(&code.reveal())), "a code is in the log");
    }
}

#[test]
fn what_is_redeemed_is_durable_in_one_piece_before_anybody_sees_it() {
    let mut world = World::ready();
    let code = world.vouchers("k7m2p9", "hour", 1)[0];
    let before = world.store.clone();
    let effects = world.step(Input::Ask(crate::request::AskId(900), Request::Redeem { device: ALICE, code }));
    let persists = effects.iter().filter(|effect| matches!(effect, Effect::Persist(_))).count();
    assert!(persists == 1 && matches!(effects[0], Effect::Persist(_)) && matches!(effects[1], Effect::Gate(_)), "{effects:?}");
    // The power went before that was written: nothing happened, and the code is still good. After it: it is used.
    let after = std::mem::replace(&mut world.store, before);
    world.killed();
    assert!(matches!(world.redeem(ALICE, code), Answer::Redeemed(_)));
    world.store = after;
    world.killed();
    assert_eq!(world.redeem(BOB, code), refused(Refusal::VoucherUsed));
    assert_eq!(world.in_gate(ALICE).unwrap().until.unwrap().0, world.at + HOUR);
}

#[test]
fn each_answer_that_there_is() {
    let mut world = World::ready();
    let good = world.vouchers("aaaaaa", "hour", 3);
    world.ask(Request::RevokeVouchers { which: "aaaaaa/2".parse().unwrap() });
    let clock = 1_900_000_000_000; // the relay's, which counts before ours
    let (soon, expired) = made_vouchers("bbbbbb", "hour", 1, Some(clock + DAY));
    world.ask(Request::AddVouchers(soon));
    let (_, unknown) = made_vouchers("cccccc", "hour", 1, None);
    world.pass(DAY);
    for (device, code, answer, why) in [
        (ALICE, good[0], None, "a good one"),
        (ALICE, good[0], Some(Refusal::VoucherUsed), "the same again"),
        (BOB, good[0], Some(Refusal::VoucherUsed), "the same by another"),
        (ALICE, good[1], Some(Refusal::VoucherRevoked), "taken back"),
        (ALICE, expired[0], Some(Refusal::VoucherExpired), "a day too late"),
        (ALICE, unknown[0], Some(Refusal::UnknownVoucher), "nobody's"),
        (BOB, good[2], None, "another good one"),
    ] {
        match (world.redeem(device, code), answer) {
            (Answer::Redeemed(_), None) => {}
            (told, expected) => assert_eq!(Some(told), expected.map(Answer::Refused), "{why}"),
        }
    }
    let list: Vec<_> = world.voucher_list().into_iter().map(|v| (v.batch.to_string(), v.number, v.status)).collect();
    let expected = [
        ("aaaaaa", 1, VoucherStatus::Used),
        ("aaaaaa", 2, VoucherStatus::Revoked),
        ("aaaaaa", 3, VoucherStatus::Used),
        ("bbbbbb", 1, VoucherStatus::Expired),
    ];
    assert_eq!(list, expected.map(|(batch, number, status)| (batch.to_owned(), number, status)));
}

#[test]
fn where_nobody_knows_the_time_no_voucher_has_expired() {
    let mut world = World::new();
    let (new, codes) = made_vouchers("k7m2p9", "hour", 1, Some(1_795_340_000_000 + DAY));
    world.ask(Request::AddVouchers(new));
    world.wall = None;
    world.pass(2 * DAY);
    assert!(matches!(world.redeem(ALICE, codes[0]), Answer::Redeemed(_)));
}

/// Which account a voucher goes to.
#[test]
fn a_voucher_extends_what_is_the_device_s_own() {
    // What the device did before, and whether its account gets the voucher.
    type Before = fn(&mut World) -> String;
    let bought = |world: &mut World| world.buys(ALICE, "hour", "NLJ7RT61SV").username.unwrap().to_string();
    let cases: [(&str, Before, bool); 5] = [
        ("it is online", |w| w.buys(ALICE, "hour", "NLJ7RT61SV").username.unwrap().to_string(), true),
        (
            "it logged out",
            |w| {
                let view = w.buys(ALICE, "hour", "NLJ7RT61SV");
                w.ask(Request::Logout { device: ALICE });
                view.username.unwrap().to_string()
            },
            true,
        ),
        (
            "its hour is over",
            |w| {
                let view = w.buys(ALICE, "hour", "NLJ7RT61SV");
                w.pass(2 * HOUR);
                view.username.unwrap().to_string()
            },
            true,
        ),
        (
            "it is a guest, online on another's account",
            |w| {
                let view = w.buys(BOB, "family", "NLJ7RT61SV");
                w.login(ALICE, &view);
                view.username.unwrap().to_string()
            },
            true,
        ),
        (
            "it was a guest on another's account",
            |w| {
                w.arrives(BOB, 101);
                let view = w.buys(BOB, "family", "NLJ7RT61SV");
                w.login(ALICE, &view);
                w.ask(Request::Logout { device: ALICE });
                view.username.unwrap().to_string()
            },
            false,
        ),
    ];
    for (what, before, same) in cases {
        let mut world = World::ready();
        let code = world.vouchers("k7m2p9", "hour", 1)[0];
        let account = before(&mut world);
        let Answer::Redeemed(redeemed) = world.redeem(ALICE, code) else { panic!("{what}") };
        assert_eq!(redeemed.session.username.as_str() == account, same, "{what}");
    }
    let mut world = World::ready();
    let code = world.vouchers("k7m2p9", "hour", 1)[0];
    bought(&mut world);
    world.pass(10 * MINUTE);
    world.redeem(ALICE, code);
    assert_eq!(world.in_gate(ALICE).unwrap().until.unwrap().0, world.at + 110 * MINUTE);
}

#[test]
fn what_was_printed_stays_what_it_was() {
    let mut world = World::ready();
    let codes = world.vouchers("k7m2p9", "hour", 2);
    let mut changed = settings();
    changed.packages[0].limits.time = Some(crate::units::Millis::from_minutes(1));
    world.step(Input::Reconfigured(changed.clone()));
    world.redeem(ALICE, codes[0]);
    assert_eq!(world.in_gate(ALICE).unwrap().until.unwrap().0, world.at + HOUR, "the package was changed");
    changed.packages.remove(0);
    changed.name = "kibera-8".parse().unwrap();
    world.step(Input::Reconfigured(changed));
    assert!(matches!(world.redeem(BOB, codes[1]), Answer::Redeemed(_)), "the package is not sold any more, and the router has a new name");
}

#[test]
fn the_relay_s_vouchers_are_taken_once_and_acknowledged() {
    let mut world = World::ready();
    let clock = 1_900_000_000_000;
    let (new, codes) = made_vouchers("k7m2p9", "hour", 3, Some(clock + 400 * DAY));
    let effects = world.relay(DownBody::Vouchers(new.clone()));
    assert!(matches!(effects[0], Effect::Persist(_)) && acknowledged(&effects), "{effects:?}");
    assert!(matches!(world.redeem(ALICE, codes[0]), Answer::Redeemed(_)));
    for _ in 0..2 {
        let effects = world.relay(DownBody::Vouchers(new.clone()));
        assert!(acknowledged(&effects) && !effects.iter().any(|effect| matches!(effect, Effect::Persist(_))), "{effects:?}");
        world.killed();
        world.connect();
    }
    assert_eq!(world.redeem(BOB, codes[0]), refused(Refusal::VoucherUsed));
    let (part, more) = made_vouchers("dddddd", "hour", 2, None);
    let part = crate::voucher::NewVouchers { batch: new.batch, first: 4, ..part };
    assert!(acknowledged(&world.relay(DownBody::Vouchers(part))));
    assert!(matches!(world.redeem(BOB, more[1]), Answer::Redeemed(_)), "another part of the same batch");
    assert_eq!(world.voucher_list().len(), 5);
}

#[test]
fn the_relay_takes_back_what_is_not_used_and_hears_the_same_each_time() {
    let mut world = World::ready();
    let (new, codes) = made_vouchers("k7m2p9", "hour", 4, Some(1_900_000_000_000 + 400 * DAY));
    world.relay(DownBody::Vouchers(new.clone()));
    assert!(matches!(world.redeem(ALICE, codes[0]), Answer::Redeemed(_)));
    let told = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Publish(Up { body: UpBody::VouchersRevoked(said), .. }) => Some((said.revoked, said.used)),
            _ => None,
        })
    };
    for (which, before, after) in
        [("k7m2p9/1", (0, 1), (0, 1)), ("k7m2p9/2", (1, 0), (1, 0)), ("k7m2p9", (3, 1), (3, 1)), ("aaaaaa", (0, 0), (0, 0))]
    {
        let effects = world.relay(DownBody::RevokeVouchers(which.parse().unwrap()));
        assert_eq!(told(&effects), Some(before), "{which}");
        let stored = matches!(effects[0], Effect::Persist(_));
        assert_eq!(stored, before.0 > 0, "{which}: durable before it is said");
        // Lost, asked again, after a crash: nothing changes, and nothing is written.
        world.killed();
        world.connect();
        let effects = world.relay(DownBody::RevokeVouchers(which.parse().unwrap()));
        assert_eq!(told(&effects), Some(after), "{which}");
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Persist(_))), "{effects:?}");
    }
    // Its own message, late: they stay what they are.
    assert!(acknowledged(&world.relay(DownBody::Vouchers(new))));
    assert_eq!(world.redeem(BOB, codes[3]), refused(Refusal::VoucherRevoked));
    assert_eq!(world.redeem(BOB, codes[0]), refused(Refusal::VoucherUsed));
    assert!(matches!(world.ask(Request::CheckSession { device: ALICE }), Answer::CheckSession(Some(_))), "what it became stays");
}

#[test]
fn vouchers_of_the_relay_that_make_no_sense_now() {
    let clock = 1_900_000_000_000;
    // For which package, until when, the first number; taken, acknowledged
    for (package, expires, first, taken, acked, why) in [
        ("hour", Some(clock + DAY), 1, true, true, "as they should be"),
        ("gone", Some(clock + DAY), 1, true, true, "of a package that is not for sale yet"),
        ("hour", Some(clock - DAY), 1, false, true, "expired"),
        ("hour", Some(clock + DAY), 0, false, true, "without a number"),
        ("hour", Some(clock + DAY), 65_535, false, true, "with numbers that do not exist"),
    ] {
        let mut world = World::ready();
        let (new, codes) = made_vouchers("k7m2p9", package, 3, expires);
        let effects = world.relay(DownBody::Vouchers(crate::voucher::NewVouchers { first, ..new }));
        assert_eq!((world.voucher_list().len() == 3, acknowledged(&effects)), (taken, acked), "{why}");
        if package == "gone" {
            assert_eq!(world.redeem(ALICE, codes[0]), refused(Refusal::UnknownPackage));
            let mut selling = settings();
            selling.packages.push(super::world::package("gone", 10, Some(60), None, 1));
            world.step(Input::Reconfigured(selling));
            assert!(matches!(world.redeem(ALICE, codes[0]), Answer::Redeemed(_)), "it is not lost by that");
        }
    }
    // A router that does not know the time yet leaves them to the relay.
    let mut world = World::new();
    world.wall = None;
    let effects = world.relay(DownBody::Vouchers(made_vouchers("k7m2p9", "hour", 3, Some(clock)).0));
    assert!(!acknowledged(&effects) && world.voucher_list().is_empty());
}

#[test]
fn there_is_room_for_so_many() {
    let mut world = World::ready();
    let hash = |n: u32| format!("{n:032x}").parse().unwrap();
    let (like, _) = made_vouchers("aaaaaa", "hour", 1, None);
    for n in 0..10u32 {
        let batch = format!("aaaaa{n}").parse().unwrap();
        let hashes = (n * 1_000..(n + 1) * 1_000).map(hash).collect();
        let answer = world.ask(Request::AddVouchers(crate::voucher::NewVouchers { batch, hashes, ..like.clone() }));
        assert!(matches!(answer, Answer::VouchersAdded(_)), "{answer:?}");
    }
    assert_eq!(world.ask(Request::AddVouchers(like.clone())), refused(Refusal::VouchersFull));
    let effects = world.relay(DownBody::Vouchers(like.clone()));
    assert!(!acknowledged(&effects), "the relay keeps them");
    world.killed();
    assert_eq!(world.voucher_list().len(), 10_000);
    let hashes = vec![hash(77_777); 1_001];
    let many = crate::voucher::NewVouchers { hashes, ..like.clone() };
    assert_eq!(world.ask(Request::AddVouchers(many)), refused(Refusal::NotStored));
    let unsold = crate::voucher::NewVouchers { package: "none".parse().unwrap(), ..like };
    assert_eq!(world.ask(Request::AddVouchers(unsold)), refused(Refusal::UnknownPackage));
}

#[test]
fn a_batch_is_taken_back_but_for_what_is_used() {
    let mut world = World::ready();
    let codes = world.vouchers("k7m2p9", "hour", 3);
    world.redeem(ALICE, codes[0]);
    assert_eq!(world.ask(Request::RevokeVouchers { which: "k7m2p9".parse().unwrap() }), Answer::VouchersRevoked(2));
    assert_eq!(world.ask(Request::RevokeVouchers { which: "k7m2p9".parse().unwrap() }), Answer::VouchersRevoked(0));
    for nothing in ["aaaaaa", "k7m2p9/4"] {
        let which = nothing.parse().unwrap();
        assert_eq!(world.ask(Request::RevokeVouchers { which }), refused(Refusal::UnknownVoucher));
    }
    world.killed();
    assert_eq!(world.redeem(BOB, codes[1]), refused(Refusal::VoucherRevoked));
    assert!(world.in_gate(ALICE).is_some(), "what is used stays");
}

#[test]
fn who_redeemed_sees_the_password_for_five_minutes() {
    let mut world = World::ready();
    world.arrives(BOB, 101);
    let code = world.vouchers("k7m2p9", "family", 1)[0];
    let Answer::Redeemed(redeemed) = world.redeem(ALICE, code) else { panic!() };
    let password = |world: &mut World, device| match world.ask(Request::MyAccount { device }) {
        Answer::MyAccount(account) => account.unwrap().password,
        other => panic!("{other:?}"),
    };
    let (username, known) = (redeemed.session.username, redeemed.password);
    world.ask(Request::Login { device: BOB, username, password: known.clone(), replace: false });
    world.killed();
    assert_eq!(password(&mut world, ALICE), Some(known));
    assert_eq!(password(&mut world, BOB), None, "a device that logged in");
    world.pass(5 * MINUTE);
    assert_eq!(password(&mut world, ALICE), None);
}

#[test]
fn guessers_are_slowed_and_no_neighbour_pays_for_it() {
    let mut world = World::ready();
    let codes = world.vouchers("k7m2p9", "hour", 3);
    let mut wrong = (0..=255u8).flat_map(|n| made_vouchers(&format!("z{n:05}"), "hour", 1, None).1).cycle();
    let unknown = refused(Refusal::UnknownVoucher);
    let mut guess = |world: &mut World, device| world.redeem(device, wrong.next().unwrap());
    let device = |n: u8| Mac([2, 0, 0, 0, 1, n]);
    // One device: eight tries in two minutes, and then not even the right code.
    for _ in 0..8 {
        assert_eq!(guess(&mut world, device(1)), unknown);
    }
    assert!(matches!(world.redeem(device(1), codes[0]), Answer::Refused(Refusal::TooManyRequests { .. })));
    assert!(matches!(world.redeem(ALICE, codes[0]), Answer::Redeemed(_)), "its neighbour's right one");
    // A device that takes a new address for each two tries: once all have failed sixty times each has two, ...
    for n in 2..=27 {
        assert_eq!(guess(&mut world, device(n)), unknown);
        assert_eq!(guess(&mut world, device(n)), unknown);
    }
    for n in [30, 31] {
        assert_eq!(guess(&mut world, device(n)), unknown);
        assert_eq!(guess(&mut world, device(n)), unknown);
        assert!(matches!(guess(&mut world, device(n)), Answer::Refused(Refusal::TooManyRequests { .. })));
    }
    assert_eq!(world.log.iter().filter(|line| line.contains("many wrong codes")).count(), 1);
    // ... and who types it wrong once is heard all the same.
    assert_eq!(guess(&mut world, BOB), unknown);
    assert!(matches!(world.redeem(BOB, codes[1]), Answer::Redeemed(_)));
    world.pass(10 * MINUTE);
    assert!(matches!(world.redeem(device(1), codes[2]), Answer::Redeemed(_)), "that passes, too");
}

#[test]
fn codes_of_a_wrong_length_count_as_wrong_ones_and_hold_no_neighbour_to_less() {
    let mut world = World::ready();
    let codes = world.vouchers("k7m2p9", "hour", 2);
    let short = |world: &mut World, device| world.ask(Request::Mistyped { device, what: Typed::Voucher });
    // Wrong ones of both kinds are counted together, and a few of them are no harm.
    for _ in 0..7 {
        assert_eq!(short(&mut world, ALICE), refused(Refusal::UnknownVoucher));
    }
    assert!(matches!(world.redeem(ALICE, codes[0]), Answer::Redeemed(_)), "who mistypes seven times and then does not");
    assert_eq!(short(&mut world, ALICE), refused(Refusal::UnknownVoucher));
    assert!(matches!(world.redeem(ALICE, codes[1]), Answer::Refused(Refusal::TooManyRequests { .. })));
    // Hundreds of them from all over: nobody guesses, so nobody is held to two tries.
    for n in 0..200 {
        assert_eq!(short(&mut world, Mac([2, 0, 0, 0, 1, n])), refused(Refusal::UnknownVoucher));
    }
    for _ in 0..3 {
        assert_eq!(short(&mut world, BOB), refused(Refusal::UnknownVoucher));
    }
    assert!(matches!(world.redeem(BOB, codes[1]), Answer::Redeemed(_)));
    assert!(!world.log.iter().any(|line| line.contains("many wrong codes")));
}

#[test]
fn a_used_code_is_no_guess_and_is_not_asked_about_for_ever() {
    let mut world = World::ready();
    let codes = world.vouchers("k7m2p9", "hour", 2);
    world.redeem(BOB, codes[0]);
    for n in 0..100 {
        let device = Mac([2, 0, 0, 0, 1, n]);
        assert_eq!(world.redeem(device, codes[0]), refused(Refusal::VoucherUsed));
    }
    for _ in 0..8 {
        assert_eq!(world.redeem(ALICE, codes[0]), refused(Refusal::VoucherUsed));
    }
    assert!(matches!(world.redeem(ALICE, codes[0]), Answer::Refused(Refusal::TooManyRequests { .. })));
    assert!(!world.log.iter().any(|line| line.contains("many wrong codes")));
}

#[test]
fn a_message_kept_for_years_brings_no_voucher_back() {
    let mut world = World::ready();
    let clock = 1_900_000_000_000;
    let (new, codes) = made_vouchers("k7m2p9", "hour", 1, Some(clock + 300 * DAY));
    let old = Down {
        v: 1,
        id: "old".parse().unwrap(),
        seq: 1,
        router: "kibera-7".parse().unwrap(),
        at: Wall(clock),
        body: DownBody::Vouchers(new),
    };
    world.step(Input::Relay(old.clone()));
    world.redeem(ALICE, codes[0]);
    world.arrives(BOB, 101);
    for days in [100, 200, 300, 100] {
        // Somebody is online now and then, or there is no checkpoint in which anything could be forgotten.
        world.pass(days * DAY);
        world.connect();
        world.ask(Request::Grant { device: BOB, package: "hour".parse().unwrap() });
        world.pass(HOUR);
        world.step(Input::Relay(old.clone()));
        let answer = world.redeem(BOB, codes[0]);
        assert!(matches!(answer, Answer::Refused(Refusal::VoucherUsed | Refusal::UnknownVoucher)), "after {days} more days: {answer:?}");
    }
    assert!(world.voucher_list().is_empty());
    assert!(!world.store.keys().any(|key| key.starts_with("voucher/") || key.starts_with("batch/")), "{:?}", world.store.keys());
}
