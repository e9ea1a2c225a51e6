//! Accounts that roam, and devices that walk between routers.

use super::world::*;
use crate::message::{DownBody, UpBody};
use crate::radius::{
    AccessOutcome, AccessRequest, AccountingEvent, Authorization, RadiusEvent, RadiusOrder, RadiusSettings, StationFormat, TerminateCause,
};
use crate::record::Record;
use crate::request::{Answer, AskId, Refusal, Request};
use crate::settings::Settings;
use crate::step::{Effect, Input};
use crate::units::{Bytes, Mac, Password, Seconds, Username};

const SOON: u64 = 2_000;

fn roaming(on: bool) -> Settings {
    let radius =
        RadiusSettings { accounting: true, interim: Seconds(300), mac_login: false, roaming: on, station_id: StationFormat::default() };
    Settings { radius: Some(radius), ..settings() }
}

/// Alice bought at this router, and servers know of it.
fn bought(package: &str) -> (World, Username, Password) {
    let mut world = World::ready();
    world.settings = roaming(true);
    world.step(Input::Reconfigured(world.settings.clone()));
    world.arrives(BOB, 101);
    let view = world.buys(ALICE, package, "NLJ7RT61SV");
    let of = world.sent.iter().filter(|up| matches!(up.body, UpBody::Account(_))).map(|up| up.id.clone()).collect();
    world.relay(DownBody::Ack { of });
    ended(&mut world);
    (world, view.username.unwrap(), view.password.unwrap())
}

/// The server's questions since the last look.
fn asked(world: &mut World) -> Vec<AccessRequest> {
    let question = |order| match order {
        RadiusOrder::Access(request) => Some(request),
        RadiusOrder::Account(_) | RadiusOrder::Answer(..) => None,
    };
    std::mem::take(&mut world.radius).into_iter().filter_map(question).collect()
}

/// Why sessions ended of which servers were told; all of that has arrived with this.
fn ended(world: &mut World) -> Vec<TerminateCause> {
    let mut causes = Vec::new();
    while let Some(order) = world.radius.pop() {
        if let RadiusOrder::Account(told) = order {
            world.step(Input::Radius(RadiusEvent::Accounted { seq: told.seq }));
            causes.extend(if let AccountingEvent::Stop { cause, .. } = told.event { Some(cause) } else { None });
        }
    }
    causes
}

fn answer(world: &mut World, request: &AccessRequest, outcome: AccessOutcome) -> Vec<Effect> {
    world.step(Input::Radius(RadiusEvent::Access(request.id, outcome)))
}

fn left(seconds: u64, bytes: u64) -> AccessOutcome {
    let granted = Authorization { time: Some(Seconds(seconds)), total: Some(Bytes(bytes)), ..Authorization::default() };
    AccessOutcome::Accept(Box::new(granted))
}

fn no(words: Option<&str>) -> AccessOutcome {
    AccessOutcome::Reject { message: words.map(str::to_owned) }
}

fn shown(world: &mut World, device: Mac) -> Option<(u64, u64)> {
    world.session(device).map(|session| (session.seconds_remaining.unwrap().0, session.bytes_remaining.unwrap().0))
}

#[test]
fn who_is_back_is_served_at_once_and_what_was_used_elsewhere_is_off() {
    let (mut world, user, _) = bought("both");
    let (_, data) = shown(&mut world, ALICE).unwrap();
    world.leaves(ALICE, 100);
    world.pass(5 * MINUTE);
    assert!(asked(&mut world).is_empty(), "nobody is asked for one who is not there");
    world.arrives(ALICE, 100);
    let questions = asked(&mut world);
    let [question] = questions.as_slice() else { panic!("{questions:?}") };
    assert_eq!((&question.user, question.device), (&user, ALICE));
    assert!(world.in_gate(ALICE).is_some(), "it waits for nobody");
    answer(&mut world, question, left(1_200, 40_000_000));
    assert_eq!(shown(&mut world, ALICE), Some((1_200, 40_000_000)));
    assert!(data > 40_000_000);
    assert_eq!(world.in_gate(ALICE).unwrap().data_end, Some(Bytes(40_000_000)), "the kernel holds it");
    // It flickers: servers are asked once a minute at most.
    world.leaves(ALICE, 100);
    world.arrives(ALICE, 100);
    assert!(asked(&mut world).is_empty());
    world.pass(MINUTE);
    world.leaves(ALICE, 100);
    world.arrives(ALICE, 100);
    // A server that has not heard what was used here gives nothing back; one that is away, or does not know the account, says nothing.
    let question = asked(&mut world).pop().unwrap();
    answer(&mut world, &question, left(3_000, 90_000_000));
    assert_eq!(shown(&mut world, ALICE).unwrap().1, 40_000_000);
    for outcome in [AccessOutcome::NoAnswer, no(None)] {
        world.pass(2 * MINUTE);
        world.leaves(ALICE, 100);
        world.arrives(ALICE, 100);
        let question = asked(&mut world).pop().unwrap();
        answer(&mut world, &question, outcome);
        assert!(world.in_gate(ALICE).is_some());
    }
}

#[test]
fn what_another_router_used_up_or_another_device_holds_ends_here() {
    for outcome in [left(0, 40_000_000), left(600, 0), no(Some("Your data is used up.")), no(Some("As many devices are online."))] {
        let (mut world, ..) = bought("both");
        world.leaves(ALICE, 100);
        world.pass(2 * MINUTE);
        world.arrives(ALICE, 100);
        let question = asked(&mut world).pop().unwrap();
        answer(&mut world, &question, outcome.clone());
        assert!(world.in_gate(ALICE).is_none() && world.session(ALICE).is_none(), "{outcome:?}");
    }
    // It logged out while the server was asked.
    let (mut world, ..) = bought("both");
    world.leaves(ALICE, 100);
    world.pass(2 * MINUTE);
    world.arrives(ALICE, 100);
    let question = asked(&mut world).pop().unwrap();
    world.ask(Request::Logout { device: ALICE });
    answer(&mut world, &question, no(Some("Your data is used up.")));
    assert!(world.session(ALICE).is_none());
}

#[test]
fn what_is_bought_while_a_server_is_asked_is_not_in_its_answer() {
    for outcome in [left(60, 1_000_000), no(Some("Your data is used up."))] {
        for heard in [false, true] {
            let (mut world, ..) = bought("both");
            let before = shown(&mut world, ALICE).unwrap();
            world.leaves(ALICE, 100);
            world.arrives(ALICE, 100);
            let question = asked(&mut world).pop().unwrap();
            world.buys(ALICE, "both", "UJ22T8IYOU");
            if heard {
                let of = world.sent.iter().filter(|up| matches!(up.body, UpBody::Account(_))).map(|up| up.id.clone()).collect();
                world.relay(DownBody::Ack { of });
            }
            answer(&mut world, &question, outcome.clone());
            let after = shown(&mut world, ALICE);
            assert!(after.is_some_and(|after| after.0 > before.0 && after.1 > before.1), "{after:?}, {outcome:?}, heard of: {heard}");
        }
    }
}

#[test]
fn one_that_does_not_come_back_gives_its_place_up_and_comes_back_by_itself() {
    let (mut world, ..) = bought("both");
    world.leaves(ALICE, 100);
    world.pass(9 * MINUTE);
    assert!(world.in_gate(ALICE).is_some());
    world.pass(3 * MINUTE);
    world.pass(SOON);
    assert!(world.in_gate(ALICE).is_none());
    assert_eq!(ended(&mut world), [TerminateCause::LostCarrier]);
    world.arrives(ALICE, 100);
    assert!(world.in_gate(ALICE).is_some(), "who has paid needs no login");
    let question = asked(&mut world).pop().unwrap();
    answer(&mut world, &question, left(1_200, 40_000_000));
    assert_eq!(shown(&mut world, ALICE), Some((1_200, 40_000_000)));
}

#[test]
fn a_quiet_device_is_looked_for_and_one_that_does_not_roam_is_left_alone() {
    let probes = |effects: &[Effect]| effects.iter().filter(|effect| matches!(effect, Effect::Probe { mac: ALICE, .. })).count();
    for (roams, looked_for) in [(true, 1), (false, 0)] {
        let (mut world, ..) = bought("both");
        world.settings = roaming(roams);
        world.step(Input::Reconfigured(world.settings.clone()));
        world.at += 2 * MINUTE;
        let mut effects = world.step(Input::Tick);
        effects.extend(world.step(Input::Usage(Vec::new())));
        assert_eq!(probes(&effects), looked_for, "roaming: {roams}");
        world.leaves(ALICE, 100);
        world.arrives(ALICE, 100);
        assert_eq!(asked(&mut world).len(), usize::from(roams), "roaming: {roams}");
        world.leaves(ALICE, 100);
        world.pass(15 * MINUTE);
        assert_eq!(world.in_gate(ALICE).is_none(), roams, "roaming: {roams}");
    }
}

#[test]
fn the_limit_of_devices_holds_over_all_routers() {
    // One of two is online here, and two others elsewhere, as far as the server knows.
    let (mut world, user, password) = bought("family");
    let login = Request::Login { device: BOB, username: user, password, replace: false };
    let effects = world.step(Input::Ask(AskId(9_000), login));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Reply(..))), "answered before the server did");
    let question = asked(&mut world).pop().unwrap();
    let effects = answer(&mut world, &question, no(Some("As many devices are online.")));
    let denied = |effect: &Effect| matches!(effect, Effect::Reply(_, Answer::Denied(words)) if words.contains("devices"));
    assert!(effects.iter().any(denied), "{effects:?}");
    assert!(world.in_gate(BOB).is_none() && world.in_gate(ALICE).is_some());
}

#[test]
fn a_place_that_is_taken_here_is_replaced_here_without_any_server() {
    let (mut world, username, password) = bought("both");
    let mut login = |replace| {
        let login = Request::Login { device: BOB, username: username.clone(), password: password.clone(), replace };
        let answer = world.ask(login);
        (answer, asked(&mut world).len(), world.in_gate(BOB).is_some(), world.in_gate(ALICE).is_some())
    };
    assert_eq!(login(false), (Answer::Refused(Refusal::DeviceLimit), 0, false, true));
    let (answer, questions, bob, alice) = login(true);
    assert!(matches!(answer, Answer::Session(_)), "{answer:?}");
    assert_eq!((questions, bob, alice), (0, true, false));
}

#[test]
fn only_who_was_away_is_asked_for() {
    let (mut world, ..) = bought("both");
    let other: std::net::IpAddr = "fd77::100".parse().unwrap();
    world.step(Input::Neighbour { mac: ALICE, address: other, present: true });
    assert!(asked(&mut world).is_empty(), "another address of a device that is there");
    world.killed();
    assert!(asked(&mut world).is_empty(), "a daemon that begins again finds them where they were");
    world.step(Input::Neighbour { mac: ALICE, address: other, present: false });
    world.leaves(ALICE, 100);
    world.arrives(ALICE, 100);
    assert_eq!(asked(&mut world).len(), 1);
}

#[test]
fn who_takes_a_place_is_not_put_out_because_of_the_one_that_had_it() {
    let (mut world, username, password) = bought("both");
    assert!(matches!(world.ask(Request::Login { device: BOB, username, password, replace: true }), Answer::Session(_)));
    for heard in [false, true] {
        world.leaves(BOB, 101);
        world.pass(2 * MINUTE);
        world.arrives(BOB, 101);
        let question = |order: &RadiusOrder| if let RadiusOrder::Access(request) = order { Some(request.clone()) } else { None };
        let question = world.radius.iter().find_map(question).unwrap();
        if heard {
            ended(&mut world);
        } else {
            world.radius.retain(|order| !matches!(order, RadiusOrder::Access(_)));
        }
        answer(&mut world, &question, no(Some("As many devices are online.")));
        assert_eq!(world.in_gate(BOB).is_some(), !heard, "its end is heard of: {heard}");
    }
}

#[test]
fn an_answer_about_an_hour_that_is_over_is_no_answer_about_the_next() {
    for outcome in [left(1, 100_000_000), no(Some("Your time is used up."))] {
        let (mut world, ..) = bought("hour");
        world.pass(HOUR - 3_000);
        world.leaves(ALICE, 100);
        world.arrives(ALICE, 100);
        let question = asked(&mut world).pop().unwrap();
        world.pass(4_000);
        assert!(world.in_gate(ALICE).is_none());
        world.buys(ALICE, "hour", "UJ22T8IYOU");
        let of = world.sent.iter().filter(|up| matches!(up.body, UpBody::Account(_))).map(|up| up.id.clone()).collect();
        world.relay(DownBody::Ack { of });
        answer(&mut world, &question, outcome.clone());
        assert_eq!(world.session(ALICE).and_then(|session| session.seconds_remaining), Some(Seconds(3_600)), "{outcome:?}");
    }
}

#[test]
fn phones_with_a_new_address_at_each_visit_are_not_all_waited_for() {
    let (mut world, username, password) = bought("both");
    for visit in 1..=5 {
        let device = Mac([2, 0, 0, 0, 1, visit]);
        world.arrives(device, 110 + visit);
        let login = Request::Login { device, username: username.clone(), password: password.clone(), replace: true };
        let effects = world.step(Input::Ask(AskId(9_000), login));
        if !effects.iter().any(|effect| matches!(effect, Effect::Reply(..))) {
            let question = asked(&mut world).pop().unwrap();
            answer(&mut world, &question, AccessOutcome::NoAnswer);
        }
        assert!(world.in_gate(device).is_some());
        world.leaves(device, 110 + visit);
        world.pass(12 * MINUTE);
        assert!(world.in_gate(device).is_none());
        let waits = world.records().iter().filter(|record| matches!(record, Record::Device(device) if device.waiting)).count();
        assert_eq!(waits, 1, "visit {visit}");
    }
}

#[test]
fn who_was_let_in_by_a_server_is_asked_for_likewise() {
    for (outcome, stays) in [(left(600, 1_000_000), true), (AccessOutcome::NoAnswer, true), (no(None), true), (no(Some("No.")), false)] {
        let (mut world, ..) = bought("both");
        let password = Password::new("secret").unwrap();
        let login = Request::Login { device: BOB, username: "ann@isp".parse().unwrap(), password, replace: false };
        world.step(Input::Ask(AskId(9_000), login));
        let question = asked(&mut world).pop().unwrap();
        answer(&mut world, &question, left(3_600, 5_000_000));
        world.leaves(BOB, 101);
        world.pass(2 * MINUTE);
        world.arrives(BOB, 101);
        let question = asked(&mut world).pop().unwrap();
        assert_eq!((question.user.as_str(), question.device), ("ann@isp", BOB));
        answer(&mut world, &question, outcome.clone());
        assert_eq!(world.in_gate(BOB).is_some(), stays, "{outcome:?}");
        if outcome == left(600, 1_000_000) {
            assert_eq!(shown(&mut world, BOB), Some((600, 1_000_000)));
        }
    }
}
