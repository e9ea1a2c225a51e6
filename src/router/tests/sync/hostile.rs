//! What must change nothing: messages that are not the relay's, and brokers that are none.

use super::broker::Broker;
use super::logbook;
use super::relay::{Relay, down, sealed};
use super::router::{Router, config, locally, soon, within};
use lango::sync::SyncEvent;
use lango_core::message::{Down, MAX_PAYLOAD, Sealed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::spawn_local;

#[tokio::test]
async fn what_the_relay_did_not_say_changes_nothing() {
    locally(async {
        let broker = Broker::start(None).await;
        let relay = Relay::connect(&broker).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        let good = sealed(&down(1));
        let mathare = Down { router: "mathare-1".parse().unwrap(), ..down(2) };
        let payloads = [
            b"garbage".to_vec(),
            vec![],
            vec![0xff; 5_000],
            vec![b'['; MAX_PAYLOAD],
            vec![b' '; MAX_PAYLOAD + 1],
            vec![b' '; 3 * MAX_PAYLOAD],
            Sealed { signed: good.signed.replace("n-1", "n-7"), ..good.clone() }.to_json(),
            Sealed { signature: sealed(&down(3)).signature, ..good.clone() }.to_json(),
            Sealed { signature: "AAAA".to_owned(), ..good.clone() }.to_json(),
            Sealed { id: "m-9".parse().unwrap(), ..good.clone() }.to_json(),
            Sealed { seq: 9, ..good }.to_json(),
            sealed(&mathare).to_json(),
        ];
        let refused = u32::try_from(payloads.len()).unwrap();
        for payload in payloads {
            relay.publish("lango/v1/kibera-7/down/welcome", false, payload).await;
        }
        // The broker keeps the order: when this one is there, the others were, and the connection is the same.
        relay.say(&down(4)).await;
        router.expect_message(down(4)).await;
        assert_eq!(router.handle.failures(), (0, refused), "each is counted");
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_garbage_is_a_few_lines() {
    locally(async {
        let broker = Broker::start(None).await;
        let relay = Relay::connect(&broker).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        let before = logbook::lines(&["refused"]).len();
        for _ in 0..1_000 {
            relay.publish("lango/v1/kibera-7/down/welcome", false, "{\"v\":1,\"flood\":").await;
        }
        relay.say(&down(1)).await;
        router.expect_message(down(1)).await;
        // Other tests of this process refuse things, too.
        assert!(logbook::lines(&["refused"]).len() < before + 50);
    })
    .await;
}

#[tokio::test]
async fn a_packet_that_is_too_large_to_take_does_not_come_for_ever() {
    locally(async {
        let broker = Broker::start(None).await;
        let relay = Relay::connect(&broker).await;
        let mut router = Router::start(config(broker.port));
        router.expect(SyncEvent::Connected).await;
        relay.publish("lango/v1/kibera-7/down/welcome", false, vec![b'x'; 500_000]).await;
        router.expect(SyncEvent::Disconnected).await;
        let url = format!("mqtt://127.0.0.1:{}", broker.port);
        soon("a line about it", || !logbook::lines(&[&url, "packet of 5000"]).is_empty()).await;
        router.expect(SyncEvent::Connected).await;
        relay.say(&down(1)).await;
        router.expect_message(down(1)).await;
    })
    .await;
}

/// CONNACK: accepted, no session (MQTT 3.1.1, 3.2).
const CONNACK: &[u8] = &[0x20, 2, 0, 0];

/// SUBACK of packet 1: QoS 1 for both (3.9).
const SUBACK: &[u8] = &[0x90, 4, 0, 1, 1, 1];

#[tokio::test]
async fn whatever_a_broker_sends_the_next_connection_is_made() {
    let scripts: &[(&str, &[&[u8]])] = &[
        ("nothing at all", &[]),
        ("another protocol", &[b"HTTP/1.1 400 Bad Request\r\n\r\n"]),
        ("no such packet type", &[&[0x00, 0]]),
        ("a SUBACK without codes", &[CONNACK, &[0x90, 2, 0, 1]]),
        ("a SUBACK that refuses", &[CONNACK, &[0x90, 4, 0, 1, 0x80, 0x80]]),
        ("an acknowledgement of nothing", &[CONNACK, &[0x40, 2, 0, 9]]),
        ("an acknowledgement of packet 65535", &[CONNACK, &[0x40, 2, 0xff, 0xff]]),
        ("a QoS that is none", &[CONNACK, &[0x36, 5, 0, 1, b'a', 0, 1]]),
        ("packet id 0", &[CONNACK, &[0x32, 5, 0, 1, b'a', 0, 0]]),
        ("a topic longer than its packet", &[CONNACK, &[0x30, 4, 0xff, 0xff, b'a', b'b']]),
        ("a client's packet", &[CONNACK, &[0x82, 6, 0, 1, 0, 1, b'a', 0]]),
        ("a length without end", &[CONNACK, &[0x30, 0xff, 0xff, 0xff, 0xff, 0xff]]),
        ("a huge packet", &[CONNACK, &[0x30, 0xff, 0xff, 0xff, 0x7f]]),
        ("a second CONNACK", &[CONNACK, CONNACK]),
        ("half a packet", &[CONNACK, &[0x30, 20, 0]]),
    ];
    locally(async {
        let mut all = Vec::new();
        for (what, script) in scripts {
            all.push(spawn_local(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let mut router = Router::start(config(listener.local_addr().unwrap().port()));
                let (mut first, _) = within("a connection", listener.accept()).await.unwrap();
                let mut packet = [0; 1024];
                assert_ne!(within("the first packet", first.read(&mut packet)).await.unwrap(), 0, "{what}");
                for bytes in *script {
                    first.write_all(bytes).await.unwrap();
                }
                first.shutdown().await.unwrap();
                let (mut second, _) = within(what, listener.accept()).await.unwrap();
                second.write_all(CONNACK).await.unwrap();
                second.write_all(SUBACK).await.unwrap();
                router.expect(SyncEvent::Connected).await;
            }));
        }
        for test in all {
            test.await.unwrap();
        }
    })
    .await;
}
