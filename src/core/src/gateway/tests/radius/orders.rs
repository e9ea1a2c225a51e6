//! What servers order.

use super::*;

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
