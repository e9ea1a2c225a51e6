//! Kills, power cuts, and phones that are away.

use super::world::*;
use crate::gate::{GateId, Traffic, Usage};
use crate::gateway::{Gateway, WRITTEN_TOGETHER};
use crate::record::{Change, Record};
use crate::request::{Answer, PaymentStatus, Request};
use crate::step::{Effect, Entropy, Input};
use crate::units::{Bytes, Mac, Millis, Seconds};

#[test]
fn a_daemon_that_starts_again_wants_the_gate_that_it_left() {
    let mut world = World::ready();
    world.buys(ALICE, "both", "NLJ7RT61SV");
    world.pass(10 * MINUTE);
    let left = world.gateway.desired_gate();
    world.killed();
    world.arrives(ALICE, 100);
    assert_eq!(world.gateway.desired_gate(), left);
    assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(50 * 60)));
}

#[test]
fn what_ended_while_the_daemon_was_dead_has_ended() {
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.at += 2 * HOUR;
    world.killed();
    assert_eq!(world.session(ALICE), None);
    assert!(world.gateway.desired_gate().is_empty());
}

#[test]
fn a_payment_in_flight_survives_a_kill() {
    let mut world = World::ready();
    let order = world.pay(ALICE, "hour");
    world.killed();
    assert_eq!(world.status(ALICE, &order).status, PaymentStatus::Pending);
    world.arrives(ALICE, 100);
    world.connect();
    world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
    assert!(world.in_gate(ALICE).is_some());
}

#[test]
fn a_step_that_was_not_stored_did_not_happen() {
    let mut world = World::ready();
    let order = world.pay(ALICE, "hour");
    let store = world.store.clone();
    world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
    assert_eq!(world.gateway.desired_gate_unstored(|_| false), [], "nor is anybody let in by it meanwhile");
    assert_eq!(world.gateway.desired_gate_unstored(|_| true), world.gateway.desired_gate());
    world.store = store; // the disk was full: the daemon throws the gateway away and loads what is there
    world.killed();
    assert_eq!(world.status(ALICE, &order).status, PaymentStatus::Pending);
    assert!(world.gateway.desired_gate().is_empty());
    world.arrives(ALICE, 100);
    world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
    assert_eq!(world.in_gate(ALICE).unwrap().until.unwrap().0, world.at + HOUR, "and the resent message grants once");
}

#[test]
fn paid_time_stands_still_while_the_power_is_off() {
    let mut world = World::ready();
    world.buys(ALICE, "both", "NLJ7RT61SV");
    world.used(ALICE, 1_000_000, 9_000_000);
    world.pass(10 * MINUTE);
    world.power_cut(8 * HOUR, settings());
    assert!(world.gateway.desired_gate().is_empty(), "nobody is there yet");
    world.pass(5 * MINUTE); // access points and phones take their time
    world.arrives(ALICE, 100);
    let session = world.session(ALICE).expect("online again without a tap");
    assert_eq!(session.seconds_remaining, Some(Seconds(50 * 60)));
    assert_eq!(session.bytes_remaining, Some(Bytes(90_000_000)));
    assert_eq!(world.in_gate(ALICE).unwrap().devices.get(&ALICE).unwrap().traffic.total(), Bytes(10_000_000));
}

#[test]
fn a_power_cut_forgets_at_most_a_checkpoint_and_in_the_customer_s_favour() {
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.pass(10 * MINUTE + 59_000);
    world.power_cut(HOUR, settings());
    world.arrives(ALICE, 100);
    let left = world.session(ALICE).unwrap().seconds_remaining.unwrap().0;
    assert!((49 * 60..=50 * 60).contains(&left), "{left}");
    assert!(left > 49 * 60, "not less than what was left when the power went");
}

#[test]
fn a_daemon_that_is_killed_again_and_again_writes_down_what_was_used_all_the_same() {
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    for _ in 0..20 {
        world.pass(50_000);
        world.killed();
    }
    world.power_cut(HOUR, settings());
    world.arrives(ALICE, 100);
    let left = world.session(ALICE).unwrap().seconds_remaining.unwrap().0;
    assert!(
        (3600 - 1000..=3600 - 1000 + 60).contains(&left),
        "{left}: a power cut forgets a checkpoint's time, not what was used since the first kill"
    );
}

#[test]
fn the_same_holds_where_only_data_counts() {
    let mut world = World::ready();
    world.buys(ALICE, "mega", "NLJ7RT61SV");
    world.pass(MINUTE);
    for _ in 0..3 {
        world.pass(40_000);
        // It starts again, and nobody knows when what is counted was written: not in a minute, but now.
        world.gateway = Gateway::load(settings(), world.records(), world.boot.clone(), world.now());
        let effects = world.gateway.handle(Input::Tick, world.now(), &Entropy([7; 32]));
        assert!(effects.contains(&Effect::ReadUsage), "{effects:?}");
        let written = world.step(Input::Usage(vec![Usage {
            id: world.in_gate(ALICE).unwrap().id,
            mac: ALICE,
            traffic: Traffic { up: Bytes(world.at), down: Bytes(0) },
        }]));
        assert!(written.iter().any(|effect| matches!(effect, Effect::Persist(_))), "{written:?}");
        world.arrives(ALICE, 100);
    }
}

#[test]
fn how_much_a_power_cut_forgets_is_the_operator_s_to_say() {
    for (checkpoint, online_for, left) in [(10, 605, 3_000), (60, 605, 3_000), (60, 659, 3_000), (600, 1_190, 3_000), (3_600, 600, 3_600)] {
        let settings = crate::settings::Settings { checkpoint: Millis::from_seconds(checkpoint), ..settings() };
        let mut world = World::ready();
        world.step(Input::Reconfigured(settings.clone()));
        world.buys(ALICE, "hour", "NLJ7RT61SV");
        world.pass(online_for * 1_000);
        world.power_cut(HOUR, settings);
        world.arrives(ALICE, 100);
        assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(left)), "every {checkpoint} s, cut after {online_for} s");
    }
    // Said while somebody is online, it holds from then on.
    let mut world = World::ready();
    let every = |seconds| crate::settings::Settings { checkpoint: Millis::from_seconds(seconds), ..settings() };
    world.step(Input::Reconfigured(every(3_600)));
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.step(Input::Reconfigured(every(30)));
    world.pass(31_000);
    world.power_cut(HOUR, every(30));
    world.arrives(ALICE, 100);
    assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(3_570)));
}

#[test]
fn money_waits_for_a_phone_that_is_away() {
    for how in ["asleep", "power cut"] {
        let mut world = World::ready();
        let order = world.pay(ALICE, "hour");
        match how {
            "asleep" => world.leaves(ALICE, 100),
            _ => world.power_cut(MINUTE, settings()),
        }
        world.paid(&order, "hour", ALICE, "NLJ7RT61SV", 10);
        assert!(world.gate.is_empty(), "{how}: its time does not run without it");
        world.pass(5 * HOUR);
        world.killed();
        world.arrives(ALICE, 100);
        assert_eq!(world.in_gate(ALICE).expect(how).until.unwrap().0, world.at + HOUR, "{how}");
    }
}

#[test]
fn who_was_kicked_does_not_come_back_by_itself() {
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.ask(Request::Kick { target: crate::request::Target::Device(ALICE) });
    world.leaves(ALICE, 100);
    world.arrives(ALICE, 100);
    assert!(world.gate.is_empty());
}

#[test]
fn a_replaced_phone_does_not_push_out_the_one_that_took_its_place() {
    let mut world = World::ready();
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.power_cut(MINUTE, settings());
    world.arrives(BOB, 101);
    assert!(matches!(world.login(BOB, &view), Answer::Refused(_)) || world.in_gate(BOB).is_some());
    world.arrives(ALICE, 100);
    assert_eq!(world.gate.len(), 1);
}

#[test]
fn usage_is_written_once_a_checkpoint_however_often_it_is_read() {
    let mut world = World::ready();
    world.buys(ALICE, "mega", "NLJ7RT61SV");
    let id = world.in_gate(ALICE).unwrap().id;
    for n in 1..100 {
        let traffic = crate::gate::Traffic { up: Bytes(n), down: Bytes(n) };
        let effects = world.step(Input::Usage(vec![crate::gate::Usage { id, mac: ALICE, traffic }]));
        assert!(effects.is_empty(), "{effects:?}");
    }
    world.at += MINUTE;
    assert_eq!(world.step(Input::Tick), [Effect::ReadUsage]);
    let last = crate::gate::Usage { id: crate::gate::GateId(77), mac: BOB, traffic: Traffic { up: Bytes(9), down: Bytes(9) } };
    assert_eq!(world.step(Input::LastCounts(vec![last])), [], "the others are not read yet");
    assert!(matches!(world.step(Input::Usage(Vec::new())).as_slice(), [Effect::Persist(_)]));
}

#[test]
fn a_daemon_that_stops_writes_down_what_was_used() {
    let mut world = World::ready();
    assert_eq!(world.step(Input::Stopping), [], "nobody is online");
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.pass(30_000);
    assert_eq!(world.step(Input::Stopping), [Effect::ReadUsage]);
    world.step(Input::Usage(Vec::new()));
    world.power_cut(HOUR, settings());
    world.arrives(ALICE, 100);
    assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(3600 - 30)));
}

#[test]
fn a_checkpoint_writes_down_what_was_counted_and_once_that_time_ran() {
    let mut world = World::ready();
    world.arrives(BOB, 101);
    world.buys(ALICE, "hour", "NLJ7RT61SV"); // its time runs
    world.buys(BOB, "mega", "UJ22T8IYOU"); // only data counts
    let [alice, bob] = [ALICE, BOB].map(|device| format!("account/{}", world.session(device).unwrap().username));
    let nothing = |_: &mut World| {};
    // Who has just bought data is looked at some times more before the first checkpoint.
    world.pass(30_000);
    for (what, happens, written) in [
        ("nobody uses anything", nothing as fn(&mut World), &["checkpoint"][..]),
        ("one uses something", |world| world.used(BOB, 1, 2), &[&bob, "checkpoint"]),
        ("the same is counted again", |world| world.used(BOB, 1, 2), &["checkpoint"]),
        ("the other uses something", |world| world.used(ALICE, 1, 0), &[&alice, "checkpoint"]),
        ("nobody's time runs any more", |world| drop(world.ask(Request::Logout { device: ALICE })), &[]),
        ("data alone is used", |world| world.used(BOB, 2, 2), &[&bob]),
    ] {
        happens(&mut world);
        let due = world.gateway.poll_timeout().expect("a checkpoint");
        world.pass(due.0 - world.at - 1);
        world.at += 1;
        assert!(world.step(Input::Tick).contains(&Effect::ReadUsage), "{what}");
        let effects = world.step(Input::Usage(Vec::new()));
        let changes = effects.iter().flat_map(|effect| match effect {
            Effect::Persist(changes) => changes.as_slice(),
            other => panic!("{what}: {other:?}"),
        });
        let keys = changes.map(|change| match change {
            Change::Put(record) => record.key().0,
            Change::Delete(key) => panic!("{what}: {key:?} is deleted"),
        });
        assert_eq!(keys.collect::<Vec<_>>(), written, "{what}");
    }
}

#[test]
fn what_a_power_cut_forgets() {
    // Online from 0:00 on, away and back where the line says so, until the power goes.
    let hour = 60 * 60;
    for (what, minutes_online, away_for, seconds_more, left) in [
        ("before the first checkpoint: all of it", 0, 0, 59, hour),
        ("at a checkpoint: nothing", 10, 0, 0, hour - 600),
        ("after one: what came since", 10, 0, 59, hour - 600),
        ("back before the checkpoint: what came since it was back", 10, 1, 30, hour - 600),
        ("back and gone on through a checkpoint", 10, 1, 150, hour - 600 - 120),
        ("long away, back for a moment", 10, 300, 5, hour - 600),
    ] {
        let mut world = World::ready();
        let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
        world.pass(minutes_online * MINUTE);
        if away_for > 0 {
            world.ask(Request::Logout { device: ALICE });
            world.pass(away_for * MINUTE);
            world.login(ALICE, &view);
        }
        world.pass(seconds_more * 1_000);
        world.power_cut(HOUR, settings());
        world.arrives(ALICE, 100);
        assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(left)), "{what}");
        // Gone again at once: what was noted in another boot says nothing of this one.
        world.power_cut(HOUR, settings());
        world.arrives(ALICE, 100);
        assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(left)), "{what}, twice");
    }
}

#[test]
fn a_store_of_before_there_were_checkpoints_is_read_as_ever() {
    let mut world = World::ready();
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    world.pass(10 * MINUTE);
    world.store.remove("checkpoint").expect("a checkpoint");
    world.power_cut(HOUR, settings());
    world.arrives(ALICE, 100);
    assert_eq!(world.session(ALICE).unwrap().seconds_remaining, Some(Seconds(60 * 60)), "to the customer's favour");
}

#[test]
fn a_checkpoint_of_many_is_written_in_steps_that_others_need_not_wait_for() {
    let (most, more) = (WRITTEN_TOGETHER, WRITTEN_TOGETHER + 1);
    for (what, used, stops, steps) in [
        ("nobody used anything", 0, false, &[1][..]),
        ("as many as go together", most, false, &[most + 1]),
        ("one more", more, false, &[most + 1, 1]),
        ("one more, and the daemon stops", more, true, &[more + 1]),
    ] {
        let mut world = World::ready();
        world.buys(ALICE, "both", "NLJ7RT61SV");
        let alice = world.records().into_iter().find_map(|record| match record {
            Record::Account(account) => Some(account),
            _ => None,
        });
        // As many more as her, on devices of their own.
        let mut usage = Vec::new();
        for n in 0..used {
            let mut account = alice.clone().expect("an account");
            let mac = Mac([2, 7, 0, 0, u8::try_from(n >> 8).unwrap(), u8::try_from(n & 0xff).unwrap()]);
            account.username = format!("copy{n}").parse().unwrap();
            account.id = GateId(1_000 + u32::try_from(n).unwrap());
            account.online = account.online.values().map(|online| (mac, online.clone())).collect();
            usage.push(Usage { id: account.id, mac, traffic: Traffic { up: Bytes(1), down: Bytes(1) } });
            world.store.insert(format!("account/{}", account.username), Record::Account(account).encode());
        }
        world.killed();
        assert_eq!(world.step(Input::Usage(usage)), [], "{what}");
        world.at += if stops { 1 } else { MINUTE };
        assert_eq!(world.step(if stops { Input::Stopping } else { Input::Tick }), [Effect::ReadUsage], "{what}");
        let written = |effects: Vec<Effect>| match effects.as_slice() {
            [Effect::Persist(changes)] => changes.len(),
            other => panic!("{what}: {other:?}"),
        };
        let mut seen = vec![written(world.step(Input::Usage(Vec::new())))];
        while world.gateway.poll_timeout().is_some_and(|due| due.0 <= world.at) {
            // Somebody else comes in between, and is served.
            assert!(matches!(world.ask(Request::Packages), Answer::Packages(_)), "{what}");
            seen.extend(world.gateway.poll_timeout().filter(|due| due.0 <= world.at).map(|_| written(world.step(Input::Tick))));
        }
        assert_eq!(seen, steps, "{what}");
        let kept = world.records().into_iter().filter(|record| matches!(record, Record::Account(account) if account.used() == Bytes(2)));
        assert_eq!(kept.count(), used, "{what}: all of it is stored");
    }
}
