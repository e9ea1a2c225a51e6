//! RADIUS: who is let in by a server, what servers are told, and what they order.

use super::world::*;
use crate::gate::{Traffic, Usage};
use crate::radius::{
    AccessId, AccessOutcome, AccessRequest, Accounting, AccountingEvent, Authorization, Credential, DynamicId, DynamicOrder,
    DynamicRequest, ErrorCause, RadiusEvent, RadiusOrder, RadiusSettings, SessionMatch, StationFormat,
};
use crate::request::{Answer, AskId, Refusal, Request, SessionView, Target};
use crate::settings::Settings;
use crate::step::{Effect, Input};
use crate::time::Wall;
use crate::units::{Bytes, Kbps, Mac, Password, Seconds};

const CAROL: Mac = Mac([2, 0, 0, 0, 0, 0xc]);

fn with_radius(change: impl FnOnce(&mut RadiusSettings)) -> Settings {
    let mut radius =
        RadiusSettings { accounting: true, interim: Seconds(300), mac_login: false, roaming: false, station_id: StationFormat::default() };
    change(&mut radius);
    Settings { radius: Some(radius), ..settings() }
}

fn ready(change: impl FnOnce(&mut RadiusSettings)) -> World {
    let mut world = World::ready();
    world.settings = with_radius(change);
    world.step(Input::Reconfigured(world.settings.clone()));
    world.arrives(BOB, 101);
    world
}

/// Asks, and gives back the server's question where there is one, and the answer where that comes at once.
fn asks(world: &mut World, device: Mac, username: &str, password: &str) -> (Option<AccessRequest>, Option<Answer>) {
    let (username, password) = (username.parse().unwrap(), Password::new(password).unwrap());
    let effects = world.step(Input::Ask(AskId(9_000), Request::Login { device, username, password, replace: false }));
    (question(&effects), reply(&effects))
}

fn question(effects: &[Effect]) -> Option<AccessRequest> {
    effects.iter().find_map(|effect| match effect {
        Effect::Radius(RadiusOrder::Access(request)) => Some(request.clone()),
        _ => None,
    })
}

fn reply(effects: &[Effect]) -> Option<Answer> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply(AskId(9_000), answer) => Some(answer.clone()),
        _ => None,
    })
}

fn server_says(world: &mut World, id: AccessId, outcome: AccessOutcome) -> Option<Answer> {
    reply(&world.step(Input::Radius(RadiusEvent::Access(id, outcome))))
}

fn accept(granted: Authorization) -> AccessOutcome {
    AccessOutcome::Accept(Box::new(granted))
}

fn seconds(time: u64) -> Authorization {
    Authorization { time: Some(Seconds(time)), ..Authorization::default() }
}

/// Ann logs in with a device, and the server grants this.
fn let_in(world: &mut World, device: Mac, granted: Authorization) -> SessionView {
    let (request, None) = asks(world, device, "Ann@isp", "secret") else { panic!("answered by itself") };
    match server_says(world, request.unwrap().id, accept(granted)) {
        Some(Answer::Session(session)) => session,
        other => panic!("{other:?}"),
    }
}

/// What servers were told since the last look; all of it has arrived with that.
fn told(world: &mut World) -> Vec<Accounting> {
    let mut all = Vec::new();
    loop {
        let orders = std::mem::take(&mut world.radius);
        let new: Vec<Accounting> = orders
            .into_iter()
            .filter_map(|order| match order {
                RadiusOrder::Account(accounting) => Some(accounting),
                RadiusOrder::Access(_) | RadiusOrder::Answer(..) => None,
            })
            .collect();
        if new.is_empty() {
            return all;
        }
        for accounting in new {
            world.step(Input::Radius(RadiusEvent::Accounted { seq: accounting.seq }));
            all.push(accounting);
        }
    }
}

/// The same in short: what, of whom, how long, how much up and down, and why.
fn heard(world: &mut World) -> Vec<String> {
    let line = |accounting: Accounting| match accounting.event {
        AccountingEvent::On => "on".to_owned(),
        AccountingEvent::Off { cause } => format!("off {cause:?}"),
        AccountingEvent::Start(session) => format!("start {}", session.user),
        AccountingEvent::Interim(session) => {
            format!("interim {} {} s {}/{}", session.user, session.time.0, session.traffic.up.0, session.traffic.down.0)
        }
        AccountingEvent::Stop { session, cause } => {
            format!("stop {} {} s {}/{} {cause:?}", session.user, session.time.0, session.traffic.up.0, session.traffic.down.0)
        }
    };
    told(world).into_iter().map(line).collect()
}

/// The kernel's last counts of a device that was just taken offline.
fn last_counts(world: &mut World, gate: crate::gate::GateId, device: Mac, up: u64, down: u64) {
    world.step(Input::Usage(vec![Usage { id: gate, mac: device, traffic: Traffic { up: Bytes(up), down: Bytes(down) } }]));
}

#[test]
fn a_server_lets_in_whom_this_router_does_not_know() {
    let mut world = ready(|_| {});
    assert_eq!(heard(&mut world), ["on"]);
    let (request, answer) = asks(&mut world, ALICE, "Ann@isp", "secret");
    let request = request.expect("a question");
    assert_eq!(answer, None, "answered before the server did");
    assert_eq!((request.user.as_str(), request.device, request.address), ("Ann@isp", ALICE, Some([10, 77, 0, 100].into())));
    assert_eq!(request.credential, Credential::Password(Password::new("secret").unwrap()));
    assert!(world.in_gate(ALICE).is_none());

    let granted = Authorization {
        time: Some(Seconds(600)),
        total: Some(Bytes(5_000_000)),
        down_speed: Some(Kbps(2_000)),
        class: vec![vec![1, 2, 3], vec![4]],
        user: Some("ann".parse().unwrap()),
        ..Authorization::default()
    };
    let Some(Answer::Session(session)) = server_says(&mut world, request.id, accept(granted)) else { panic!("not let in") };
    assert_eq!((session.username.as_str(), session.package.as_str()), ("ann", "radius"));
    assert_eq!((session.seconds_remaining, session.bytes_remaining), (Some(Seconds(600)), Some(Bytes(5_000_000))));
    let gate = world.in_gate(ALICE).expect("online").clone();
    assert_eq!((gate.data_end, gate.down, gate.up), (Some(Bytes(5_000_000)), Some(Kbps(2_000)), None));

    let all = told(&mut world);
    let [Accounting { event: AccountingEvent::Start(start), .. }] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((&start.id, start.user.as_str(), start.device, start.remote), (&request.session, "ann", ALICE, true));
    assert_eq!(
        (start.class.as_slice(), start.addresses.as_slice()),
        ([vec![1, 2, 3], vec![4]].as_slice(), [[10, 77, 0, 100].into()].as_slice())
    );

    // It ends by itself, to the second, and nothing of it stays.
    world.used(ALICE, 1_000, 2_000);
    world.pass(600_000);
    assert!(world.in_gate(ALICE).is_none());
    last_counts(&mut world, gate.id, ALICE, 1_500, 2_500);
    assert_eq!(heard(&mut world), ["interim ann 300 s 1000/2000", "stop ann 600 s 1500/2500 SessionTimeout"]);
    world.pass(MINUTE);
    assert!(!world.store.keys().any(|key| key.starts_with("account/") || key.starts_with("radius/")), "{:?}", world.store.keys());
}

#[test]
fn what_the_server_says_is_what_the_customer_hears() {
    for (outcome, expected) in [
        (AccessOutcome::Reject { message: None }, Answer::Refused(Refusal::BadCredentials)),
        (AccessOutcome::Reject { message: Some("Pay your bill".to_owned()) }, Answer::Denied("Pay your bill".to_owned())),
        (AccessOutcome::NoAnswer, Answer::Refused(Refusal::LoginOffline)),
        (accept(seconds(0)), Answer::Refused(Refusal::Expired)),
        (accept(Authorization { total: Some(Bytes(0)), ..Authorization::default() }), Answer::Refused(Refusal::Expired)),
        (accept(Authorization { ends_at: Some(Wall(1_795_330_000_000)), ..Authorization::default() }), Answer::Refused(Refusal::Expired)),
    ] {
        let mut world = ready(|_| {});
        let (request, _) = asks(&mut world, ALICE, "ann", "secret");
        assert_eq!(server_says(&mut world, request.unwrap().id, outcome.clone()), Some(expected), "{outcome:?}");
        assert!(world.in_gate(ALICE).is_none(), "{outcome:?}");
    }
    // An adapter that is gone with its questions keeps nobody waiting.
    let mut world = ready(|_| {});
    let (request, _) = asks(&mut world, ALICE, "ann", "secret");
    let due = world.gateway.poll_timeout().unwrap();
    world.at = due.0.max(world.at + 12_000);
    assert_eq!(reply(&world.step(Input::Tick)), Some(Answer::Refused(Refusal::LoginOffline)));
    assert_eq!(server_says(&mut world, request.unwrap().id, accept(seconds(600))), None, "too late");
    assert!(world.in_gate(ALICE).is_none());
}

#[test]
fn refusals_are_limited_and_a_double_tap_asks_once() {
    let mut world = ready(|_| {});
    let (request, _) = asks(&mut world, ALICE, "ann", "wrong");
    let (again, _) = asks(&mut world, ALICE, "ann", "wrong");
    assert_eq!(again, None, "asked twice");
    server_says(&mut world, request.unwrap().id, AccessOutcome::Reject { message: None });
    for _ in 0..7 {
        let (request, _) = asks(&mut world, ALICE, "ann", "wrong");
        server_says(&mut world, request.expect("a try is left").id, AccessOutcome::Reject { message: None });
    }
    let (request, answer) = asks(&mut world, ALICE, "ann", "right");
    assert!(request.is_none() && matches!(answer, Some(Answer::Refused(Refusal::TooManyRequests { .. }))), "{answer:?}");
    assert!(asks(&mut world, BOB, "ann", "right").0.is_some(), "a neighbour is locked out");
}

#[test]
fn a_package_that_the_server_names_fills_in_what_it_does_not_say() {
    let named = |name: &str| Authorization { package: Some(name.parse().unwrap()), ..Authorization::default() };
    for (granted, time, data, down) in [
        (named("slow_both"), Some(3_600), Some(100_000_000), Some(Kbps(1_000))),
        (Authorization { time: Some(Seconds(60)), ..named("slow_both") }, Some(60), Some(100_000_000), Some(Kbps(1_000))),
        (Authorization { down_speed: Some(Kbps(9)), ..named("slow_both") }, Some(3_600), Some(100_000_000), Some(Kbps(9))),
        (named("nothing_here"), None, None, None),
        (Authorization { up: Some(Bytes(7)), down: Some(Bytes(8)), ..Authorization::default() }, None, Some(15), None),
        (
            Authorization { time: Some(Seconds(90)), ends_at: Some(Wall(1_795_340_030_000)), ..Authorization::default() },
            Some(30),
            None,
            None,
        ),
    ] {
        let mut world = ready(|_| {});
        let session = let_in(&mut world, ALICE, granted.clone());
        assert_eq!((session.seconds_remaining, session.bytes_remaining), (time.map(Seconds), data.map(Bytes)), "{granted:?}");
        assert_eq!(world.in_gate(ALICE).unwrap().down, down, "{granted:?}");
    }
}

#[test]
fn what_is_bought_here_needs_no_server_and_is_accounted() {
    let mut world = ready(|_| {});
    let view = world.buys(ALICE, "both", "NLJ7RT61SV");
    let user = view.username.clone().unwrap();
    assert_eq!(heard(&mut world), ["on".to_owned(), format!("start {user}")]);
    let gate = world.in_gate(ALICE).unwrap().id;
    world.pass(10_000);
    world.used(ALICE, 10, 20);
    world.ask(Request::Logout { device: ALICE });
    assert_eq!(heard(&mut world), Vec::<String>::new(), "the last counts are still to come");
    last_counts(&mut world, gate, ALICE, 11, 22);
    assert_eq!(heard(&mut world), [format!("stop {user} 10 s 11/22 UserRequest")]);

    // The next session of the same account counts from there on.
    assert!(matches!(world.login(ALICE, &view), Answer::Session(_)));
    assert!(!world.radius.iter().any(|order| matches!(order, RadiusOrder::Access(_))), "a server was asked");
    world.used(ALICE, 111, 22);
    world.ask(Request::Kick { target: Target::Account(user.clone()) });
    world.pass(2_000); // no last counts come: what is known is told
    assert_eq!(heard(&mut world), [format!("start {user}"), format!("stop {user} 0 s 100/0 AdminReset")]);

    // A session that follows at once, so that the kernel never let go, begins where the one before ends.
    assert!(matches!(world.login(ALICE, &view), Answer::Session(_)));
    world.used(ALICE, 121, 22);
    world.ask(Request::Logout { device: ALICE });
    assert!(matches!(world.login(ALICE, &view), Answer::Session(_)));
    world.used(ALICE, 131, 22);
    world.step(Input::Ask(AskId(1), Request::Logout { device: ALICE }));
    world.pass(2_000);
    let start = format!("start {user}");
    let stop = format!("stop {user} 0 s 10/0 UserRequest");
    assert_eq!(heard(&mut world), [start.clone(), stop.clone(), start, stop]);
}

#[test]
fn sessions_go_on_idle_and_end_as_the_server_wants() {
    let mut world = ready(|_| {});
    heard(&mut world);
    let granted = Authorization { idle: Some(Seconds(120)), interim: Some(Seconds(60)), ..seconds(86_400) };
    let_in(&mut world, ALICE, granted);
    world.pass(50_000);
    world.used(ALICE, 5, 5);
    assert_eq!(heard(&mut world), ["start Ann@isp"]);
    world.pass(119_000);
    assert!(world.in_gate(ALICE).is_some(), "it ended too early");
    assert_eq!(heard(&mut world), ["interim Ann@isp 60 s 5/5", "interim Ann@isp 120 s 5/5"]);
    world.pass(1_000);
    assert!(world.in_gate(ALICE).is_none());
    world.pass(3_000);
    assert_eq!(heard(&mut world), ["stop Ann@isp 170 s 5/5 IdleTimeout"]);

    // One direction only.
    let_in(&mut world, ALICE, Authorization { up: Some(Bytes(1_000)), ..seconds(86_400) });
    world.used(ALICE, 999, 50_000);
    assert!(world.in_gate(ALICE).is_some());
    world.used(ALICE, 1_000, 50_000);
    assert!(world.in_gate(ALICE).is_none());
    world.pass(2_000);
    assert_eq!(heard(&mut world), ["start Ann@isp", "stop Ann@isp 0 s 1000/50000 SessionTimeout"]);
}

#[test]
fn after_a_power_cut_servers_hear_the_ends_first_then_the_router_and_no_row_stays_open() {
    let mut world = ready(|_| {});
    let_in(&mut world, BOB, Authorization { class: vec![vec![7]], ..seconds(3_600) });
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    let user = view.username.clone().unwrap();
    world.used(ALICE, 100, 200);
    heard(&mut world);
    world.pass(61_000); // a checkpoint
    world.used(ALICE, 1_000, 2_000);
    world.pass(20_000);
    world.power_cut(30_000, world.settings.clone());
    let heard_then = heard(&mut world);
    let (ends, rest) = heard_then.split_at(2);
    let mut ends = ends.to_vec();
    ends.sort();
    let mut expected = ["stop Ann@isp 60 s 0/0 NasReboot".to_owned(), format!("stop {user} 60 s 100/200 NasReboot")];
    expected.sort();
    assert_eq!(ends, expected);
    assert_eq!(rest, ["on"]);
    // Alice goes on by herself; for Bob the server is asked with what he typed.
    world.arrives(ALICE, 100);
    assert!(world.in_gate(ALICE).is_some());
    assert_eq!(heard(&mut world), [format!("start {user}")]);
    world.arrives(BOB, 101);
    let Some(RadiusOrder::Access(request)) = world.radius.last().cloned() else { panic!("nobody asked") };
    assert_eq!((request.user.as_str(), &request.credential), ("Ann@isp", &Credential::Password(Password::new("secret").unwrap())));
    assert!(world.in_gate(BOB).is_none());
    world.arrives(BOB, 101);
    assert_eq!(world.radius.iter().filter(|order| matches!(order, RadiusOrder::Access(_))).count(), 1, "asked twice");
    server_says(&mut world, request.id, accept(seconds(1_000)));
    assert_eq!(world.session(BOB).unwrap().seconds_remaining, Some(Seconds(1_000)));
    assert_eq!(heard(&mut world), ["start Ann@isp"]);
}

#[test]
fn who_was_let_in_before_a_power_cut_goes_on_without_a_server_and_not_against_it() {
    for (outcome, online) in [(AccessOutcome::NoAnswer, true), (AccessOutcome::Reject { message: None }, false)] {
        let mut world = ready(|_| {});
        let_in(&mut world, BOB, seconds(3_600));
        world.pass(600_000);
        heard(&mut world);
        world.power_cut(30_000, world.settings.clone());
        heard(&mut world);
        world.arrives(BOB, 101);
        let Some(RadiusOrder::Access(request)) = world.radius.last().cloned() else { panic!("nobody asked") };
        server_says(&mut world, request.id, outcome.clone());
        assert_eq!(world.in_gate(BOB).is_some(), online, "{outcome:?}");
        if online {
            assert_eq!(world.session(BOB).unwrap().seconds_remaining, Some(Seconds(3_000)));
            assert_eq!(heard(&mut world), ["start Ann@isp"]);
            world.pass(3_000_000);
            assert!(world.in_gate(BOB).is_none(), "it did not end");
        }
        world.pass(MINUTE);
        assert!(!world.store.keys().any(|key| key.starts_with("account/")), "{outcome:?}: {:?}", world.store.keys());
    }
}

#[test]
fn nothing_that_a_server_is_to_hear_is_lost_and_each_session_s_words_come_in_order() {
    let mut world = ready(|_| {});
    let user = world.buys(ALICE, "hour", "NLJ7RT61SV").username.unwrap();
    // The server is away: only the router's own word is on its way.
    assert!(matches!(world.radius.as_slice(), [RadiusOrder::Account(Accounting { event: AccountingEvent::On, .. })]), "{:?}", world.radius);
    for _ in 0..3 {
        world.pass(300_000); // interim updates replace each other
    }
    world.ask(Request::Logout { device: ALICE });
    world.pass(2_000);
    world.killed();
    assert!(matches!(world.radius.as_slice(), [RadiusOrder::Account(Accounting { event: AccountingEvent::On, .. })]), "{:?}", world.radius);
    let kept = world.store.keys().filter(|key| key.starts_with("accounting/")).count();
    assert_eq!(kept, 3, "on, start and stop; interim updates cost no flash");
    assert_eq!(heard(&mut world), ["on".to_owned(), format!("start {user}"), format!("stop {user} 900 s 0/0 UserRequest")]);
    // Arrived, they go with the next write.
    world.connect();
    world.buys(BOB, "hour", "NLJ7RT61SW");
    let kept = world.store.keys().filter(|key| key.starts_with("accounting/")).count();
    assert_eq!(kept, 1, "only Bob's start");
    // The same boot: the router is not announced again, and sessions go on under their names.
    let before: Vec<_> = told(&mut world);
    world.killed();
    assert_eq!(told(&mut world).len(), before.len(), "{before:?}"); // its arrival was not written down: told again
    world.pass(300_000);
    assert!(matches!(told(&mut world).as_slice(), [Accounting { event: AccountingEvent::Interim(_), .. }]));
}

#[test]
fn a_slow_server_is_not_flooded() {
    let mut world = ready(|_| {});
    heard(&mut world);
    let device = |n: u8| Mac([2, 0, 0, 0, 1, n]);
    for n in 0..40 {
        world.arrives(device(n), 110 + n);
        let (request, _) = asks(&mut world, device(n), "ann", "secret");
        server_says(&mut world, request.unwrap().id, accept(seconds(600)));
    }
    let flying = |world: &World| world.radius.iter().filter(|order| matches!(order, RadiusOrder::Account(_))).count();
    assert_eq!(flying(&world), 32);
    let Some(RadiusOrder::Account(first)) = world.radius.iter().find(|order| matches!(order, RadiusOrder::Account(_))).cloned() else {
        unreachable!()
    };
    world.step(Input::Radius(RadiusEvent::Accounted { seq: first.seq }));
    assert_eq!(flying(&world), 33, "as one arrives, the next goes");
}

#[test]
fn servers_order_what_concerns_their_sessions() {
    type Which = fn(&World) -> SessionMatch;
    let cases: [(&str, Which, Result<(), ErrorCause>); 9] = [
        ("by user", |_| SessionMatch { user: Some("Ann@isp".into()), ..SessionMatch::default() }, Ok(())),
        ("by device", |_| SessionMatch { device: Some(ALICE), ..SessionMatch::default() }, Ok(())),
        ("by address", |_| SessionMatch { address: Some([10, 77, 0, 100].into()), ..SessionMatch::default() }, Ok(())),
        ("by session", |w| SessionMatch { session: Some(session_id(w)), ..SessionMatch::default() }, Ok(())),
        (
            "by all",
            |w| SessionMatch {
                user: Some("Ann@isp".into()),
                session: Some(session_id(w)),
                device: Some(ALICE),
                address: Some([10, 77, 0, 100].into()),
            },
            Ok(()),
        ),
        (
            "all must fit",
            |w| SessionMatch { session: Some(session_id(w)), device: Some(BOB), ..SessionMatch::default() },
            Err(ErrorCause::SessionContextNotFound),
        ),
        ("another user", |_| SessionMatch { user: Some("bob".into()), ..SessionMatch::default() }, Err(ErrorCause::SessionContextNotFound)),
        (
            "another session",
            |_| SessionMatch { session: Some("x".into()), ..SessionMatch::default() },
            Err(ErrorCause::SessionContextNotFound),
        ),
        ("nobody named", |_| SessionMatch::default(), Err(ErrorCause::MissingAttribute)),
    ];
    for (what, which, expected) in cases {
        let mut world = ready(|_| {});
        let_in(&mut world, ALICE, seconds(600));
        heard(&mut world);
        let which = which(&world);
        let order = DynamicRequest { which, order: DynamicOrder::Disconnect };
        let effects = world.step(Input::Radius(RadiusEvent::Dynamic(DynamicId(5), order)));
        assert!(effects.contains(&Effect::Radius(RadiusOrder::Answer(DynamicId(5), expected))), "{what}: {effects:?}");
        assert_eq!(world.in_gate(ALICE).is_none(), expected.is_ok(), "{what}");
        world.pass(2_000);
        let heard = heard(&mut world);
        assert_eq!(heard.iter().any(|line| line.ends_with("AdminReset")), expected.is_ok(), "{what}: {heard:?}");
    }
}

fn session_id(world: &World) -> String {
    let key = world.store.keys().find_map(|key| key.strip_prefix("radius/")).expect("a session");
    key.to_owned()
}

#[test]
fn limits_change_while_a_session_goes_on() {
    let mut world = ready(|_| {});
    let_in(&mut world, ALICE, Authorization { total: Some(Bytes(1_000_000)), ..seconds(600) });
    world.used(ALICE, 1_000, 2_000);
    world.pass(100_000);
    let order = |world: &mut World, change: Authorization| {
        let which = SessionMatch { device: Some(ALICE), ..SessionMatch::default() };
        let order = DynamicRequest { which, order: DynamicOrder::Change(Box::new(change)) };
        let effects = world.step(Input::Radius(RadiusEvent::Dynamic(DynamicId(1), order)));
        effects.into_iter().find_map(|effect| match effect {
            Effect::Radius(RadiusOrder::Answer(_, answer)) => Some(answer),
            _ => None,
        })
    };
    // From the session's start, as at the login: 900 s, of which 100 have passed.
    assert_eq!(order(&mut world, Authorization { down_speed: Some(Kbps(64)), ..seconds(900) }), Some(Ok(())));
    let session = world.session(ALICE).unwrap();
    assert_eq!((session.seconds_remaining, session.bytes_remaining), (Some(Seconds(800)), Some(Bytes(997_000))));
    assert_eq!(world.in_gate(ALICE).unwrap().down, Some(Kbps(64)));
    assert_eq!(order(&mut world, Authorization { total: Some(Bytes(10_000)), ..Authorization::default() }), Some(Ok(())));
    assert_eq!(world.session(ALICE).unwrap().bytes_remaining, Some(Bytes(7_000)));
    let unknown = Authorization { package: Some("gold".parse().unwrap()), ..Authorization::default() };
    assert_eq!(order(&mut world, unknown), Some(Err(ErrorCause::InvalidAttributeValue)));
    // Less than has passed: it ends now.
    assert_eq!(order(&mut world, seconds(50)), Some(Ok(())));
    assert!(world.in_gate(ALICE).is_none());
    world.pass(2_000);
    assert!(heard(&mut world).last().unwrap().ends_with("SessionTimeout"));

    // What was sold here is not a server's to cut short; its speed is.
    world.buys(ALICE, "both", "NLJ7RT61SV");
    assert_eq!(order(&mut world, seconds(50)), Some(Err(ErrorCause::AdministrativelyProhibited)));
    assert_eq!(order(&mut world, Authorization { up_speed: Some(Kbps(64)), ..Authorization::default() }), Some(Ok(())));
    assert_eq!(world.in_gate(ALICE).unwrap().up, Some(Kbps(64)));
}

#[test]
fn an_account_that_roams_has_what_other_routers_left_of_it() {
    let mut world = ready(|radius| radius.roaming = true);
    let view = world.buys(ALICE, "both", "NLJ7RT61SV");
    let (user, password) = (view.username.clone().unwrap(), view.password.clone().unwrap());
    world.ask(Request::Logout { device: ALICE });
    // The relay has not said that servers know the purchase: nobody may take any of it away.
    let (request, answer) = asks(&mut world, ALICE, user.as_str(), password.reveal());
    assert!(request.is_none() && matches!(answer, Some(Answer::Session(_))), "{answer:?}");
    world.ask(Request::Logout { device: ALICE });
    let of = world.sent.iter().filter(|up| matches!(up.body, crate::message::UpBody::Account(_))).map(|up| up.id.clone()).collect();
    world.relay(crate::message::DownBody::Ack { of });

    let less = Authorization { total: Some(Bytes(40_000_000)), class: vec![vec![9]], ..seconds(1_200) };
    for (outcome, time, data) in [
        (accept(less), 1_200, 40_000_000),
        // A server that has not heard yet what was used here gives nothing back.
        (accept(Authorization { total: Some(Bytes(90_000_000)), ..seconds(3_000) }), 1_200, 40_000_000),
        // None answers: what was bought here is served here.
        (AccessOutcome::NoAnswer, 1_200, 40_000_000),
    ] {
        let (request, answer) = asks(&mut world, ALICE, user.as_str(), password.reveal());
        assert_eq!(answer, None);
        let Some(Answer::Session(session)) = server_says(&mut world, request.unwrap().id, outcome) else { panic!("refused") };
        assert_eq!((session.seconds_remaining, session.bytes_remaining), (Some(Seconds(time)), Some(Bytes(data))));
        world.ask(Request::Logout { device: ALICE });
    }
    // A server that does not know the account, or says no word, judges nothing: the password was right here.
    let (request, _) = asks(&mut world, ALICE, user.as_str(), password.reveal());
    let answer = server_says(&mut world, request.unwrap().id, AccessOutcome::Reject { message: None });
    assert!(matches!(answer, Some(Answer::Session(_))), "{answer:?}");
    world.ask(Request::Logout { device: ALICE });
    // Online elsewhere, as far as the server knows.
    let (request, _) = asks(&mut world, ALICE, user.as_str(), password.reveal());
    let refused = AccessOutcome::Reject { message: Some("You are already logged in".to_owned()) };
    assert_eq!(server_says(&mut world, request.unwrap().id, refused), Some(Answer::Denied("You are already logged in".to_owned())));
    // All of it was used elsewhere.
    let (request, _) = asks(&mut world, ALICE, user.as_str(), password.reveal());
    assert_eq!(server_says(&mut world, request.unwrap().id, accept(seconds(0))), Some(Answer::Refused(Refusal::Expired)));
}

#[test]
fn where_accounts_roam_the_relay_hears_of_every_sale() {
    for (roaming, told) in [(false, 0), (true, 300)] {
        let mut world = ready(|radius| radius.roaming = roaming);
        // Vouchers have no phone, and the relay acknowledges nothing.
        for batch in ["aaaaaa", "bbbbbb"] {
            for code in world.vouchers(batch, "hour", 150) {
                world.redeem(ALICE, code);
            }
        }
        let waiting = world
            .records()
            .into_iter()
            .filter(|record| matches!(record, crate::record::Record::Outbox(up) if matches!(up.body, crate::message::UpBody::Account(_))));
        assert_eq!(waiting.count(), told, "roaming {roaming}");
    }
}

#[test]
fn a_device_that_the_server_knows_by_its_address_is_online_as_it_comes() {
    let mut world = ready(|radius| (radius.mac_login, radius.station_id) = (true, "aabbccddeeff".parse().unwrap()));
    heard(&mut world);
    world.arrives(CAROL, 102);
    let Some(RadiusOrder::Access(request)) = world.radius.last().cloned() else { panic!("nobody asked") };
    assert_eq!((request.user.as_str(), &request.credential), ("02000000000c", &Credential::Mac));
    world.arrives(CAROL, 103);
    server_says(&mut world, request.id, accept(seconds(600)));
    assert!(world.in_gate(CAROL).is_some());
    assert_eq!(heard(&mut world), ["start 02000000000c"]);
    // One that it does not know is asked for again after a while, when it is seen.
    let asked = |world: &World| world.radius.iter().filter(|order| matches!(order, RadiusOrder::Access(_))).count();
    let dave = Mac([2, 0, 0, 0, 0, 0xd]);
    world.arrives(dave, 104);
    let Some(RadiusOrder::Access(request)) = world.radius.last().cloned() else { panic!("nobody asked") };
    server_says(&mut world, request.id, AccessOutcome::Reject { message: None });
    let before = asked(&world);
    world.arrives(dave, 104);
    assert_eq!(asked(&world), before);
    world.pass(60_000);
    world.arrives(dave, 104);
    assert_eq!(asked(&world), before + 1);
}

#[test]
fn what_a_server_let_in_is_nobody_s_to_buy_on() {
    let mut world = ready(|_| {});
    let_in(&mut world, ALICE, seconds(600));
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    let user = view.username.clone().unwrap();
    assert!(view.connected && user.as_str() != "Ann@isp");
    world.pass(2_000);
    let heard = heard(&mut world);
    assert_eq!(
        heard,
        ["on".to_owned(), "start Ann@isp".to_owned(), format!("start {user}"), "stop Ann@isp 0 s 0/0 UserRequest".to_owned()]
    );
    // And nobody logs in with the name that such an account has in the rules.
    let_in(&mut world, BOB, seconds(600));
    let inner = world.store.keys().find_map(|key| key.strip_prefix("account/~")).expect("an account").to_owned();
    let (request, _) = asks(&mut world, CAROL, &format!("~{inner}"), "secret");
    assert!(request.is_some(), "it was taken for an account of this router");
}

#[test]
fn a_storm_of_logins_is_bounded() {
    let mut world = ready(|_| {});
    let device = |n: u16| Mac([2, 0, 0, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
    let mut asked = 0;
    for n in 0..1_000 {
        match asks(&mut world, device(n), "ann", "secret") {
            (Some(_), None) => asked += 1,
            (None, Some(Answer::Refused(Refusal::TooManyRequests { .. }))) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asked, 128, "half of the portal's places stay for others");
    // Who was bought for here is not held up by any of it.
    assert!(world.buys(ALICE, "hour", "NLJ7RT61SV").connected);
}

#[test]
fn a_router_whose_gate_is_removed_says_so_and_is_announced_anew() {
    let mut world = ready(|_| {});
    let view = world.buys(ALICE, "hour", "NLJ7RT61SV");
    let user = view.username.clone().unwrap();
    let_in(&mut world, BOB, seconds(600));
    heard(&mut world);
    world.step(Input::Flushed);
    let mut all = heard(&mut world);
    assert_eq!(all.pop().as_deref(), Some("off AdminReboot"), "it is the last word");
    all.sort();
    let mut expected = [format!("stop {user} 0 s 0/0 AdminReboot"), "stop Ann@isp 0 s 0/0 AdminReboot".to_owned()];
    expected.sort();
    assert_eq!(all, expected);
    world.ask(Request::Packages); // a write, with which what has arrived goes
    world.buys(ALICE, "hour", "NLJ7RT61SW");
    world.killed();
    assert_eq!(heard(&mut world), ["on".to_owned(), format!("start {user}")]);
}

#[test]
fn a_server_that_knows_only_a_part_is_not_asked_what_is_left() {
    type Buys = fn(&mut World);
    let ack = |world: &mut World| {
        let of = world.sent.iter().filter(|up| matches!(up.body, crate::message::UpBody::Account(_))).map(|up| up.id.clone()).collect();
        world.relay(crate::message::DownBody::Ack { of });
    };
    let cases: [(&str, Buys, bool); 4] = [
        ("one purchase", |_| {}, true),
        ("the same again", |world| drop(world.buys(ALICE, "both", "NLJ7RT61SW")), true),
        ("something else behind it", |world| drop(world.buys(ALICE, "hour", "NLJ7RT61SW")), false),
        ("a present of the operator", |world| drop(world.ask(Request::Grant { device: ALICE, package: "both".parse().unwrap() })), true),
    ];
    for (what, buys, asked) in cases {
        let mut world = ready(|radius| radius.roaming = true);
        let view = world.buys(ALICE, "both", "NLJ7RT61SV");
        let (user, password) = (view.username.clone().unwrap(), view.password.clone().unwrap());
        buys(&mut world);
        world.ask(Request::Logout { device: ALICE });
        assert!(asks(&mut world, ALICE, user.as_str(), password.reveal()).0.is_none(), "{what}: before the relay has it");
        world.ask(Request::Logout { device: ALICE });
        ack(&mut world);
        assert_eq!(asks(&mut world, ALICE, user.as_str(), password.reveal()).0.is_some(), asked, "{what}");
    }
    // Sold before accounts roamed: no server ever heard of it.
    let mut world = ready(|_| {});
    world.ask(Request::Grant { device: ALICE, package: "both".parse().unwrap() });
    let view = world.buys(ALICE, "both", "NLJ7RT61SV");
    ack(&mut world);
    world.settings = with_radius(|radius| radius.roaming = true);
    world.step(Input::Reconfigured(world.settings.clone()));
    world.ask(Request::Logout { device: ALICE });
    let (user, password) = (view.username.unwrap(), view.password.unwrap());
    assert!(asks(&mut world, ALICE, user.as_str(), password.reveal()).0.is_none());
}

#[test]
fn who_paid_meanwhile_stays_on_what_was_paid() {
    for outcome in [AccessOutcome::NoAnswer, accept(seconds(60)), AccessOutcome::Reject { message: None }] {
        let mut world = ready(|_| {});
        let_in(&mut world, BOB, seconds(3_600));
        world.power_cut(30_000, world.settings.clone());
        world.connect();
        world.arrives(BOB, 101);
        let Some(RadiusOrder::Access(request)) = world.radius.iter().rfind(|order| matches!(order, RadiusOrder::Access(_))).cloned() else {
            panic!("nobody asked")
        };
        let paid = world.buys(BOB, "hour", "NLJ7RT61SV");
        assert!(paid.connected);
        server_says(&mut world, request.id, outcome.clone());
        assert_eq!(world.session(BOB).map(|session| session.username), paid.username, "{outcome:?}");
        world.pass(MINUTE);
        assert!(!world.store.keys().any(|key| key.starts_with("account/~")), "{outcome:?}: {:?}", world.store.keys());
    }
}

#[test]
fn whoever_left_the_wi_fi_gives_the_place_back() {
    let mut world = ready(|_| {});
    let_in(&mut world, ALICE, seconds(86_400));
    let_in(&mut world, BOB, seconds(86_400));
    world.leaves(ALICE, 100);
    world.pass(9 * MINUTE);
    assert!(world.in_gate(ALICE).is_some());
    world.pass(12 * MINUTE);
    world.pass(2_000);
    assert!(world.in_gate(ALICE).is_none() && world.in_gate(BOB).is_some(), "only who is gone");
    assert!(heard(&mut world).iter().any(|line| line.starts_with("stop Ann@isp") && line.ends_with("LostCarrier")));
}

#[test]
fn what_cannot_be_done_is_not_acknowledged() {
    let order = |world: &mut World, change: Authorization| {
        let which = SessionMatch { device: Some(ALICE), ..SessionMatch::default() };
        let order = DynamicRequest { which, order: DynamicOrder::Change(Box::new(change)) };
        world.step(Input::Radius(RadiusEvent::Dynamic(DynamicId(1), order))).into_iter().find_map(|effect| match effect {
            Effect::Radius(RadiusOrder::Answer(_, answer)) => Some(answer),
            _ => None,
        })
    };
    let mut world = ready(|_| {});
    world.buys(ALICE, "both", "NLJ7RT61SV");
    for change in [
        Authorization { up: Some(Bytes(1)), ..Authorization::default() },
        Authorization { down: Some(Bytes(1)), ..Authorization::default() },
        Authorization { ends_at: Some(Wall(1_795_340_030_000)), ..Authorization::default() },
    ] {
        assert_eq!(order(&mut world, change.clone()), Some(Err(ErrorCause::AdministrativelyProhibited)), "{change:?}");
    }
    assert_eq!(order(&mut world, Authorization::default()), Some(Err(ErrorCause::UnsupportedAttribute)));
    world.ask(Request::Logout { device: ALICE });

    // Both directions' limits raised: what the kernel holds is raised with them.
    let_in(&mut world, ALICE, Authorization { up: Some(Bytes(1_000)), down: Some(Bytes(1_000)), ..Authorization::default() });
    assert_eq!(world.in_gate(ALICE).unwrap().data_end, Some(Bytes(2_000)));
    let more = Authorization { up: Some(Bytes(5_000)), down: Some(Bytes(5_000)), ..Authorization::default() };
    assert_eq!(order(&mut world, more), Some(Ok(())));
    assert_eq!(world.in_gate(ALICE).unwrap().data_end, Some(Bytes(10_000)));

    // Until some hour, and nobody knows what time it is.
    world.wall = None;
    let until = Authorization { ends_at: Some(Wall(1_795_340_030_000)), ..Authorization::default() };
    assert_eq!(order(&mut world, until.clone()), Some(Err(ErrorCause::ResourcesUnavailable)));
    let (request, _) = asks(&mut world, BOB, "bob", "secret");
    assert_eq!(server_says(&mut world, request.unwrap().id, accept(until)), Some(Answer::Refused(Refusal::LoginOffline)));
}

#[test]
fn sessions_without_a_limit_of_time_are_told_in_full_after_a_power_cut() {
    let mut world = ready(|_| {});
    let_in(&mut world, ALICE, Authorization::default());
    heard(&mut world);
    world.used(ALICE, 10, 20);
    world.pass(130_000);
    world.power_cut(30_000, world.settings.clone());
    let heard = heard(&mut world);
    assert!(heard.iter().any(|line| line == "stop Ann@isp 120 s 10/20 NasReboot"), "{heard:?}");
}

#[test]
fn accounting_that_is_configured_while_somebody_is_online_hears_of_it() {
    let mut world = ready(|radius| radius.accounting = false);
    let user = world.buys(ALICE, "hour", "NLJ7RT61SV").username.unwrap();
    assert_eq!(heard(&mut world), [""; 0]);
    let set = |world: &mut World, accounting: bool| {
        world.settings = with_radius(|radius| radius.accounting = accounting);
        world.step(Input::Reconfigured(world.settings.clone()));
    };
    let begins = ["on".to_owned(), format!("start {user}")];
    set(&mut world, true);
    assert_eq!(heard(&mut world), begins);
    world.pass(300_000);
    assert_eq!(heard(&mut world), [format!("interim {user} 300 s 0/0")]);
    // Away and back in the same boot: what ended meanwhile is closed by the router's beginning.
    set(&mut world, false);
    set(&mut world, true);
    assert_eq!(heard(&mut world), begins);
}
