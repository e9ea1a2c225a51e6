//! What accounting servers are told, in which order, and what becomes of what they do not take.

use super::*;

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

    // What another device did last says nothing of this one.
    let granted = Authorization { idle: Some(Seconds(120)), ..seconds(86_400) };
    let_in(&mut world, ALICE, granted);
    let gate = world.in_gate(ALICE).unwrap().id;
    world.at += 120_000;
    assert!(world.step(Input::Tick).contains(&Effect::ReadUsage));
    last_counts(&mut world, crate::gate::GateId(77), BOB, 1, 1);
    assert_eq!(world.in_gate(ALICE).map(|account| account.id), Some(gate), "ended for having done nothing, and nobody had looked");
    world.step(Input::Usage(Vec::new()));
    assert!(world.in_gate(ALICE).is_none());
    world.pass(3_000);
    heard(&mut world);

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
    // The rules go on without the gate. What is bought now is told when there is a gate again; whom a server lets in is that server's
    // to know, and it must not hear of a session at a router that ended.
    world.ask(Request::Packages); // a write, with which what has arrived goes
    let again = world.buys(ALICE, "hour", "NLJ7RT61SW");
    assert_eq!(heard(&mut world), [""; 0]);
    let_in(&mut world, BOB, seconds(600));
    assert_eq!(heard(&mut world), ["on", "start Ann@isp"]);
    world.ask(Request::Packages);
    world.killed();
    assert_eq!(again.username, Some(user.clone()));
    assert_eq!(heard(&mut world).last(), Some(&format!("start {user}")), "and the router is announced once");
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

/// All that is on its way and not answered yet, in short.
fn flying(world: &mut World) -> Vec<(u64, String)> {
    std::mem::take(&mut world.radius)
        .into_iter()
        .filter_map(|order| match order {
            RadiusOrder::Account(accounting) => Some((accounting.seq, line(accounting))),
            RadiusOrder::Access(_) | RadiusOrder::Answer(..) => None,
        })
        .collect()
}

fn takes(world: &mut World, seq: u64) {
    world.step(Input::Radius(RadiusEvent::Accounted { seq }));
}

fn refuses(world: &mut World, seq: u64) {
    world.step(Input::Radius(RadiusEvent::Refused { seq }));
}

fn refused(world: &mut World) -> (Option<u32>, u32) {
    match world.ask(Request::Status) {
        Answer::Status(status) => (status.accounting, status.accounting_refused),
        other => panic!("{other:?}"),
    }
}

/// The one thing that is on its way, which is what is expected.
fn only(world: &mut World, expected: &str) -> u64 {
    match flying(world).as_slice() {
        [(seq, what)] if what == expected => *seq,
        other => panic!("{expected}: {other:?}"),
    }
}

const HALF_AN_HOUR: u64 = 30 * MINUTE;

#[test]
fn a_stop_that_servers_refuse_holds_nothing_up_and_is_kept_until_one_takes_it() {
    let mut world = ready(|_| {});
    heard(&mut world);
    let_in(&mut world, ALICE, seconds(600));
    heard(&mut world);
    world.ask(Request::Logout { device: ALICE });
    world.pass(2_000);
    let stop = "stop Ann@isp 0 s 0/0 UserRequest";
    let seq = only(&mut world, stop);
    let_in(&mut world, ALICE, seconds(86_400));
    assert_eq!(flying(&mut world), [], "the device's next word waits for the one before");
    refuses(&mut world, seq);
    let start = only(&mut world, "start Ann@isp");
    takes(&mut world, start);
    assert_eq!(refused(&mut world), (Some(1), 1));
    // Over a restart, too: it is kept as what it is, and tried beside all else.
    world.killed();
    let again = flying(&mut world);
    assert!(again.contains(&(seq, stop.to_owned())), "{again:?}");
    for (other, _) in again.into_iter().filter(|(other, _)| *other != seq) {
        takes(&mut world, other);
    }
    refuses(&mut world, seq);
    assert_eq!(refused(&mut world), (Some(1), 1));
    flying(&mut world);
    world.pass(HALF_AN_HOUR - 1_000);
    assert!(!flying(&mut world).iter().any(|(other, _)| *other == seq), "it is tried too often");
    world.pass(1_000);
    assert!(flying(&mut world).iter().any(|(other, _)| *other == seq), "it is not tried again");
    takes(&mut world, seq);
    assert_eq!(refused(&mut world).1, 0);
    world.pass(2 * HALF_AN_HOUR);
    assert!(!flying(&mut world).iter().any(|(other, _)| *other == seq), "it was taken");
}

#[test]
fn a_start_that_servers_refuse_gives_way_to_the_end_which_says_all_of_it() {
    for too_late in [false, true] {
        let mut world = ready(|_| {});
        heard(&mut world);
        let_in(&mut world, ALICE, seconds(600));
        let start = only(&mut world, "start Ann@isp");
        if too_late {
            world.ask(Request::Logout { device: ALICE });
            world.pass(2_000);
            assert_eq!(flying(&mut world), [], "never before the start's fate is known");
            refuses(&mut world, start);
        } else {
            refuses(&mut world, start);
            assert_eq!(refused(&mut world), (Some(1), 1));
            world.ask(Request::Logout { device: ALICE });
            world.pass(2_000);
        }
        assert_eq!(heard(&mut world), ["stop Ann@isp 0 s 0/0 UserRequest"]);
        world.pass(3 * HALF_AN_HOUR);
        assert_eq!((flying(&mut world), refused(&mut world)), (vec![], (Some(0), 0)), "a start came after its end");
    }
}

#[test]
fn while_a_refused_start_is_tried_nothing_of_its_session_goes_beside_it() {
    let mut world = ready(|_| {});
    heard(&mut world);
    let_in(&mut world, ALICE, seconds(86_400));
    let start = only(&mut world, "start Ann@isp");
    refuses(&mut world, start);
    world.pass(200_000);
    world.pass(HALF_AN_HOUR - 200_000);
    // Its interim updates have taken its place long since.
    let update = flying(&mut world);
    assert!(update.iter().all(|(seq, what)| *seq != start && what.starts_with("interim")), "{update:?}");
    // One whose session says nothing more is tried alone.
    let mut world = ready(|_| {});
    heard(&mut world);
    let_in(&mut world, ALICE, Authorization { interim: Some(Seconds(86_400)), ..seconds(86_400) });
    let start = only(&mut world, "start Ann@isp");
    refuses(&mut world, start);
    world.pass(HALF_AN_HOUR);
    assert_eq!(only(&mut world, "start Ann@isp"), start);
    world.ask(Request::Logout { device: ALICE });
    world.pass(2_000);
    assert_eq!(flying(&mut world), []);
    refuses(&mut world, start);
    only(&mut world, "stop Ann@isp 1800 s 0/0 UserRequest");
}

#[test]
fn as_soon_as_one_is_taken_that_was_refused_all_are_tried() {
    let mut world = ready(|_| {});
    heard(&mut world);
    for device in [ALICE, BOB, CAROL] {
        let_in(&mut world, device, seconds(600));
        heard(&mut world);
        world.ask(Request::Logout { device });
        world.pass(2_000);
        let stop = only(&mut world, "stop Ann@isp 0 s 0/0 UserRequest");
        refuses(&mut world, stop);
    }
    assert_eq!(refused(&mut world), (Some(3), 3));
    world.pass(HALF_AN_HOUR - 10_000);
    assert_eq!(flying(&mut world).len(), 0);
    world.pass(10_000);
    // One at a time: what servers take comes first. The row is mended, and nobody waits for the next half hour.
    assert_eq!(told(&mut world).len(), 3);
    assert_eq!(refused(&mut world), (Some(0), 0));
}

#[test]
fn the_router_s_own_word_is_passed_by_where_servers_are_there_and_refuse_it() {
    let mut world = ready(|_| {});
    let on = only(&mut world, "on");
    let_in(&mut world, ALICE, seconds(600));
    let_in(&mut world, BOB, seconds(600));
    assert_eq!(flying(&mut world), [], "nothing overtakes it");
    refuses(&mut world, on);
    // One thing goes, and shows that a server is there: then it must be the word itself, once more, alone.
    let start = only(&mut world, "start Ann@isp");
    takes(&mut world, start);
    assert_eq!(only(&mut world, "on"), on);
    refuses(&mut world, on);
    let start = only(&mut world, "start Ann@isp");
    let_in(&mut world, CAROL, seconds(600));
    assert_eq!(flying(&mut world), []);
    takes(&mut world, start);
    assert_eq!(heard(&mut world), ["start Ann@isp"], "it is told no more, and all goes");
    world.ask(Request::Packages);
    world.buys(ALICE, "hour", "NLJ7RT61SV");
    assert!(!world.records().iter().any(|record| matches!(record, crate::record::Record::Accounting(told) if told.seq == on)));
}

#[test]
fn servers_that_were_only_away_hear_the_router_s_own_word_before_all_but_one() {
    let mut world = ready(|_| {});
    let on = only(&mut world, "on");
    for _ in 0..3 {
        refuses(&mut world, on);
        assert_eq!(only(&mut world, "on"), on, "nothing is behind it: it is tried on");
    }
    for device in [ALICE, BOB] {
        let_in(&mut world, device, seconds(600));
    }
    refuses(&mut world, on);
    let start = only(&mut world, "start Ann@isp");
    world.pass(86_000);
    assert_eq!(flying(&mut world), []);
    takes(&mut world, start);
    // However often it was refused before: nobody was there.
    assert_eq!(only(&mut world, "on"), on);
    takes(&mut world, on);
    assert_eq!(heard(&mut world), ["start Ann@isp"]);
}

/// Ten rounds, and nothing else was taken meanwhile: the adapter tries on.
fn in_vain(world: &mut World, seq: u64) {
    world.step(Input::Radius(RadiusEvent::InVain { seq }));
}

#[test]
fn where_a_server_ignores_the_router_s_own_word_one_that_it_never_answers_for_holds_nobody_up() {
    // The one whom it does not know, and another one: on another device, or on the same one later.
    for other in [BOB, ALICE] {
        let mut world = ready(|_| {});
        let on = only(&mut world, "on");
        let_in(&mut world, ALICE, seconds(600));
        if other == ALICE {
            world.ask(Request::Logout { device: ALICE });
            world.pass(2_000);
        }
        let_in(&mut world, other, Authorization { interim: Some(Seconds(60)), ..seconds(86_400) });
        refuses(&mut world, on);
        let unknown = only(&mut world, "start Ann@isp");
        in_vain(&mut world, unknown);
        let start = only(&mut world, "start Ann@isp");
        assert_ne!(start, unknown);
        takes(&mut world, start);
        assert_eq!(only(&mut world, "on"), on, "a server is there, and it goes, though one is still tried in vain");
        refuses(&mut world, on);
        assert!(flying(&mut world).iter().all(|(seq, _)| *seq == on), "there is nothing else to tell");
        world.pass(60_000);
        refuses(&mut world, on);
        let update = only(&mut world, "interim Ann@isp 60 s 0/0");
        takes(&mut world, update);
        world.pass(60_000);
        only(&mut world, "interim Ann@isp 120 s 0/0");
        // The router's own word is told no more. What is tried in vain can be refused now that others are taken, and is kept.
        refuses(&mut world, unknown);
        assert!(!flying(&mut world).iter().any(|(seq, _)| *seq == on));
        let left =
            world.records().into_iter().filter(|record| matches!(record, crate::record::Record::Accounting(told) if told.refused)).count();
        // A start gives way to its stop, which is the next that is told.
        assert_eq!(left, usize::from(other == BOB));
    }
}

#[test]
fn a_stop_that_a_server_never_answers_for_does_not_keep_the_router_from_being_announced() {
    let mut world = ready(|_| {});
    let_in(&mut world, ALICE, seconds(86_400));
    let_in(&mut world, BOB, seconds(86_400));
    heard(&mut world);
    world.pass(61_000);
    world.power_cut(30_000, world.settings.clone());
    let [first, second] = flying(&mut world).try_into().unwrap();
    assert!(first.1.starts_with("stop") && second.1.starts_with("stop"), "{first:?} {second:?}");
    in_vain(&mut world, first.0);
    assert_eq!(flying(&mut world), [], "ends go before it, as long as there is hope");
    takes(&mut world, second.0);
    let on = only(&mut world, "on");
    takes(&mut world, on);
    let_in(&mut world, BOB, seconds(600));
    assert_eq!(heard(&mut world), ["start Ann@isp"]);
    // It is not lost: a server that answers for it some time has it.
    assert_eq!(refused(&mut world), (Some(1), 0));
    takes(&mut world, first.0);
    assert_eq!(refused(&mut world), (Some(0), 0));
}

#[test]
fn however_many_are_tried_in_vain_the_router_s_own_word_goes_on() {
    let mut world = ready(|_| {});
    let on = only(&mut world, "on");
    for n in 0..40 {
        let device = Mac([2, 0, 0, 0, 1, n]);
        world.arrives(device, 110 + n);
        let_in(&mut world, device, seconds(86_400));
    }
    refuses(&mut world, on);
    for _ in 0..40 {
        let start = only(&mut world, "start Ann@isp");
        in_vain(&mut world, start);
    }
    // Nobody is left who could show that a server is there: the word itself is tried again.
    assert_eq!(only(&mut world, "on"), on);
    takes(&mut world, on);
    assert_eq!(flying(&mut world), [], "all are on their way already, each once");
}
