//! Brokers that die, passwords that are wrong, configs that change.

use super::broker::Broker;
use super::relay::{Relay, down};
use super::router::{Router, config, locally, soon, up, within};
use super::{broker::PASSWORD, logbook};
use lango::sync::{SyncConfig, SyncEvent};
use lango_core::units::Password;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_killed_broker_is_found_again_and_everything_is_sent_again() {
    locally(async {
        let mut broker = Broker::start(None).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        for round in 0..3 {
            router.handle.publish(up(round * 10 + 1));
            broker.kill();
            router.expect(SyncEvent::Disconnected).await;
            // Nobody may count on this one.
            router.handle.publish(up(round * 10 + 2));
            broker.restart().await;
            let mut relay = Relay::connect(&broker).await;
            router.expect(SyncEvent::Connected).await;
            // As the core does: all that nobody acknowledged, in its order.
            for seq in [1, 2, 3] {
                router.handle.publish(up(round * 10 + seq));
            }
            for seq in [1, 2, 3] {
                assert_eq!(relay.hear().await.1, up(round * 10 + seq));
            }
            relay.say(&down(round)).await;
            router.expect_message(down(round)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_comes_later_is_found() {
    locally(async {
        let mut broker = Broker::start(None).await;
        broker.kill();
        let mut router = Router::start(config(broker.port));
        let url = format!("mqtt://127.0.0.1:{}", broker.port);
        soon("a line about it", || !logbook::lines(&[&url, "refused", "trying again"]).is_empty()).await;
        broker.restart().await;
        router.expect(SyncEvent::Connected).await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_said_and_tried_again() {
    locally(async {
        let broker = Broker::start(None).await;
        let wrong = SyncConfig { password: Password::new("wrong-secret").unwrap(), ..config(broker.port) };
        let mut router = Router::start(wrong);
        let url = format!("mqtt://127.0.0.1:{}", broker.port);
        soon("three tries", || logbook::lines(&[&url, "user name or password", "lango-relay router add"]).len() >= 3).await;
        assert!(logbook::lines(&["wrong-secret"]).is_empty() && logbook::lines(&[PASSWORD]).is_empty());
        // The right one is not made to wait for the next try, which is seconds away.
        let told = Instant::now();
        router.handle.reconfigure(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    })
    .await;
}

/// As after `lango clock-is-set`: with a wrong clock no certificate of the broker's was valid.
#[tokio::test]
async fn whoever_waits_to_try_again_tries_at_once_when_told_and_a_connection_stays() {
    locally(async {
        let mut broker = Broker::start(None).await;
        broker.kill();
        let mut router = Router::start(config(broker.port));
        let url = format!("mqtt://127.0.0.1:{}", broker.port);
        // Waits of one, two, four seconds at most, and of eight now: four at least.
        soon("four tries", || logbook::lines(&[&url, "refused", "trying again"]).len() >= 4).await;
        broker.restart().await;
        let told = Instant::now();
        router.handle.try_now();
        router.expect(SyncEvent::Connected).await;
        assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
        router.handle.try_now();
        let relay = Relay::connect(&broker).await;
        relay.say(&down(1)).await;
        router.expect_message(down(1)).await;
    })
    .await;
}

#[tokio::test]
async fn a_new_config_is_used_and_the_same_one_changes_nothing() {
    locally(async {
        let (first, second) = (Broker::start(None).await, Broker::start(None).await);
        let mut relay = Relay::connect(&first).await;
        let mut router = Router::start(config(first.port));
        router.expect(SyncEvent::Connected).await;
        router.handle.reconfigure(config(first.port));
        relay.say(&down(1)).await;
        router.expect_message(down(1)).await;
        router.handle.reconfigure(config(second.port));
        router.expect(SyncEvent::Disconnected).await;
        relay.hear_presence("offline").await;
        router.expect(SyncEvent::Connected).await;
        let relay = Relay::connect(&second).await;
        relay.say(&down(2)).await;
        router.expect_message(down(2)).await;
    })
    .await;
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_broker_that_is_away() {
    locally(async {
        let mut broker = Broker::start(None).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        broker.kill();
        router.expect(SyncEvent::Disconnected).await;
        let asked = Instant::now();
        within("the end", router.handle.stop()).await;
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    })
    .await;
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_core_that_listens_no_more() {
    locally(async {
        let broker = Broker::start(None).await;
        let relay = Relay::connect(&broker).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        // More than fits, and nobody takes it.
        for seq in 1..=200 {
            relay.say(&down(seq)).await;
        }
        soon("the events are full", || router.events.len() == router.events.max_capacity()).await;
        within("the end", router.handle.stop()).await;
    })
    .await;
}
