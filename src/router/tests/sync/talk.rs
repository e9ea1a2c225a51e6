//! Router and relay on good terms.

use super::broker::Broker;
use super::relay::{Relay, down};
use super::router::{Router, config, locally, up, within};
use lango::sync::SyncEvent;
use lango_core::message::UpBody;
use rumqttc::QoS;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

#[tokio::test]
async fn a_hello_is_answered() {
    locally(async {
        let broker = Broker::start(None).await;
        let mut relay = Relay::connect(&broker).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        router.handle.publish(up(1));
        let (publish, heard) = relay.hear().await;
        assert_eq!((publish.topic.as_str(), publish.qos, publish.retain), ("lango/v1/kibera-7/up/hello", QoS::AtLeastOnce, false));
        assert_eq!(heard, up(1));
        relay.say(&down(1)).await;
        router.expect_message(down(1)).await;
        within("the end", router.handle.stop()).await;
    })
    .await;
}

#[tokio::test]
async fn no_message_waits_for_the_next() {
    locally(async {
        let broker = Broker::start(None).await;
        let mut relay = Relay::connect(&broker).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        let mut trips = Vec::new();
        for n in 1..=41 {
            let asked = Instant::now();
            router.handle.publish(up(n));
            relay.hear().await;
            relay.say(&down(n)).await;
            router.expect_message(down(n)).await;
            trips.push(asked.elapsed());
        }
        trips.sort();
        println!("there and back, median of 41: {:?}", trips[20]);
        // Where the router, the broker or the relay leaves Nagle's algorithm on, it is 43 ms or twice that.
        assert!(trips[20] < Duration::from_millis(20), "{:?}", trips[20]);
    })
    .await;
}

#[tokio::test]
async fn what_is_published_keeps_its_order() {
    locally(async {
        let broker = Broker::start(None).await;
        let mut relay = Relay::connect(&broker).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        for seq in 1..=200 {
            router.handle.publish(up(seq));
        }
        for seq in 1..=200 {
            assert_eq!(relay.hear().await.1, up(seq));
        }
    })
    .await;
}

#[tokio::test]
async fn more_than_can_wait_is_asked_for_again() {
    locally(async {
        let broker = Broker::start(None).await;
        let mut relay = Relay::connect(&broker).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        for seq in 1..=2_000 {
            router.handle.publish(up(seq));
        }
        router.expect(SyncEvent::Resync).await;
        // What came is the beginning, whole and in order.
        router.handle.publish(up(9_999));
        let mut expected = 1;
        loop {
            let heard = relay.hear().await.1.seq;
            if heard == 9_999 {
                break;
            }
            assert_eq!(heard, expected);
            expected += 1;
        }
        assert!((100..2_000).contains(&expected), "{expected}");
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_large_message_is_not_sent_and_hinders_none() {
    locally(async {
        let broker = Broker::start(None).await;
        let mut relay = Relay::connect(&broker).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        let ids = (0..2_000).map(|n| format!("message-{n}").parse().unwrap()).collect();
        router.handle.publish(lango_core::message::Up { body: UpBody::Ack { of: ids }, ..up(1) });
        router.handle.publish(up(2));
        assert_eq!(relay.hear().await.1, up(2));
        assert_eq!(router.handle.failures(), (1, 0), "it is counted");
    })
    .await;
}

#[tokio::test]
async fn the_relay_s_presence_is_told() {
    locally(async {
        let broker = Broker::start(None).await;
        let relay = Relay::connect(&broker).await;
        relay.publish("lango/v1/relay/presence", true, "online").await;
        // The broker has it for sure when what came after it came back.
        let mut first = Router::start(config(broker.port));
        first.expect(SyncEvent::Connected).await;
        first.expect(SyncEvent::Presence(true)).await;
        relay.publish("lango/v1/relay/presence", true, "perhaps").await;
        relay.publish("lango/v1/relay/presence", true, "offline").await;
        first.expect(SyncEvent::Presence(false)).await;
    })
    .await;
}

#[tokio::test]
async fn what_was_said_to_a_router_that_was_off_comes_after_the_connection() {
    locally(async {
        let broker = Broker::start(None).await;
        let relay = Relay::connect(&broker).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        within("the end", router.handle.stop()).await;
        for seq in 1..=50 {
            relay.say(&down(seq)).await;
        }
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        for seq in 1..=50 {
            router.expect_message(down(seq)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_router_is_online_while_it_runs() {
    locally(async {
        let broker = Broker::start(None).await;
        let mut relay = Relay::connect(&broker).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        relay.hear_presence("online").await;
        within("the end", router.handle.stop()).await;
        relay.hear_presence("offline").await;
        // It is kept there for a relay that comes later.
        let mut later = Relay::connect(&broker).await;
        later.hear_presence("offline").await;
    })
    .await;
}

#[tokio::test]
async fn the_broker_says_offline_for_a_router_that_fell_silent() {
    locally(async {
        let broker = Broker::start(None).await;
        let mut relay = Relay::connect(&broker).await;
        // All its tasks vanish at once, as a killed process does.
        let process = LocalSet::new();
        process
            .run_until(async {
                let mut router = Router::start(config(broker.port));
                router.expect(SyncEvent::Connected).await;
                relay.hear_presence("online").await;
                std::mem::forget(router);
            })
            .await;
        drop(process);
        relay.hear_presence("offline").await;
    })
    .await;
}

#[tokio::test]
async fn a_handle_that_is_dropped_ends_the_task() {
    locally(async {
        let broker = Broker::start(None).await;
        let mut relay = Relay::connect(&broker).await;
        let Router { handle, mut events } = Router::start(config(broker.port));
        assert_eq!(within("the connection", events.recv()).await, Some(SyncEvent::Connected));
        drop(handle);
        relay.hear_presence("offline").await;
        assert_eq!(within("the end of events", events.recv()).await, None);
    })
    .await;
}
