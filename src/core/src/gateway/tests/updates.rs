//! Updates, as far as the rules carry them between the relay and the router's adapter.

use super::world::World;
use crate::message::{DownBody, UpBody};
use crate::step::{Effect, Input};
use crate::update::{Offer, Reason, Report, State};

fn offer() -> Offer {
    Offer { manifest: "lango-update 1\n".to_owned(), signature: "RWQ=".to_owned() }
}

fn report(state: State, reason: Option<Reason>) -> Report {
    Report { offer: "m-1".parse().unwrap(), state, reason }
}

fn published(effects: &[Effect]) -> Vec<String> {
    let updates = effects.iter().filter_map(|effect| match effect {
        Effect::Publish(up) if matches!(up.body, UpBody::Update(_)) => Some(up.id.to_string()),
        _ => None,
    });
    updates.collect()
}

fn kept(world: &World) -> Vec<String> {
    world.store.keys().filter(|key| key.starts_with("outbox/")).cloned().collect()
}

#[test]
fn an_offer_is_handed_on_and_not_acknowledged() {
    let mut world = World::ready();
    let effects = world.relay(DownBody::Update(offer()));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Update(_, handed) if *handed == offer())), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Publish(up) if matches!(up.body, UpBody::Ack { .. }))), "{effects:?}");
}

#[test]
fn the_latest_word_waits_for_its_acknowledgement() {
    let mut world = World::ready();
    let first = published(&world.step(Input::Update(report(State::Accepted, None))));
    assert_eq!((first.len(), kept(&world).len()), (1, 1));
    // The offer came once more: the same word, and no write.
    let again = world.step(Input::Update(report(State::Accepted, None)));
    assert_eq!(published(&again), first);
    assert!(!again.iter().any(|effect| matches!(effect, Effect::Persist(_))), "{again:?}");
    let second = published(&world.step(Input::Update(report(State::Failed, Some(Reason::WrongHash)))));
    assert_ne!(second, first);
    assert_eq!(kept(&world).len(), 1, "the one before is of no use any more");
    world.relay(DownBody::Ack { of: vec![second[0].parse().unwrap()] });
    assert_eq!(kept(&world).len(), 0);
}

#[test]
fn it_is_said_again_after_a_restart_and_never_without_a_relay() {
    let mut world = World::ready();
    world.step(Input::Update(report(State::Trying, None)));
    world.killed();
    world.sent.clear();
    world.connect();
    assert!(world.sent.iter().any(|up| matches!(up.body, UpBody::Update(_))));
    let mut alone = World::new();
    alone.settings.relay = false;
    alone.step(Input::Reconfigured(alone.settings.clone()));
    alone.step(Input::Update(report(State::Trying, None)));
    assert_eq!(kept(&alone).len(), 0);
}
