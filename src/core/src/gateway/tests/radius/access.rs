//! Who is let in by a server, and whom the router lets in itself.

use super::*;

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
    let (again, older) = asks(&mut world, ALICE, "ann", "wrong");
    assert_eq!(again, None, "asked twice");
    let not_by_itself = Answer::Refused(Refusal::TooManyRequests { retry_after: Seconds(10) });
    assert_eq!(older, Some(not_by_itself), "the page's script comes again below ten seconds");
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
    // Online elsewhere, as far as the server knows; before it heard that the last session here is over, that may be this one.
    for all_heard in [false, true] {
        if all_heard {
            world.pass(MINUTE);
            told(&mut world);
        }
        let (request, _) = asks(&mut world, ALICE, user.as_str(), password.reveal());
        let refused = AccessOutcome::Reject { message: Some("You are already logged in".to_owned()) };
        let answer = server_says(&mut world, request.unwrap().id, refused).unwrap();
        assert_eq!(matches!(answer, Answer::Denied(_)), all_heard, "{answer:?}");
        world.ask(Request::Logout { device: ALICE });
    }
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
            (None, Some(Answer::Refused(Refusal::Crowded { .. }))) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asked, 128, "half of the portal's places stay for others");
    // Who was bought for here is not held up by any of it.
    assert!(world.buys(ALICE, "hour", "NLJ7RT61SV").connected);
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
