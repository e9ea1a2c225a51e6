//! The relay's side, as far as sync meets it: it signs, and writes down what it hears.

use super::broker::{Broker, PASSWORD};
use super::router::within;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lango_core::message::{Down, DownBody, SIGNATURE_CONTEXT, Sealed, Up, VERSION};
use lango_core::time::Wall;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rumqttc::{AsyncClient, Event, MqttOptions, NetworkOptions, Packet, Publish, QoS};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[42; 32]).unwrap()
}

/// The key that a router must have.
pub fn public_key() -> [u8; 32] {
    key().public_key().as_ref().try_into().unwrap()
}

/// A message to the router of these tests.
pub fn down(seq: u64) -> Down {
    Down {
        v: VERSION,
        id: format!("m-{seq}").parse().unwrap(),
        seq,
        router: "kibera-7".parse().unwrap(),
        at: Wall(1_795_340_999_000),
        body: DownBody::Welcome { nonce: format!("n-{seq}").parse().unwrap() },
    }
}

/// As it goes over the wire.
pub fn sealed(down: &Down) -> Sealed {
    let text = down.to_json();
    let signature = STANDARD.encode(key().sign(&[SIGNATURE_CONTEXT, text.as_bytes()].concat()));
    down.seal(text, signature)
}

/// A relay that is connected.
pub struct Relay {
    pub client: AsyncClient,
    heard: mpsc::UnboundedReceiver<Publish>,
    task: AbortHandle,
}

impl Relay {
    /// Connects; it hears all routers when this returns.
    pub async fn connect(broker: &Broker) -> Self {
        let mut options = MqttOptions::new("relay", "127.0.0.1", broker.port);
        options.set_credentials("relay", PASSWORD).set_max_packet_size(1 << 20, 1 << 20).set_keep_alive(Duration::from_secs(60));
        let (client, mut event_loop) = AsyncClient::new(options, 16);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        event_loop.set_network_options(network);
        client.subscribe("lango/v1/+/up/#", QoS::AtLeastOnce).await.unwrap();
        let (hear, heard) = mpsc::unbounded_channel();
        let (listening, mut listens) = mpsc::channel(1);
        let task = spawn_local(async move {
            // Ends with the broker: a test that restarts it connects a new relay.
            while let Ok(event) = event_loop.poll().await {
                match event {
                    Event::Incoming(Packet::Publish(publish)) => drop(hear.send(publish)),
                    Event::Incoming(Packet::SubAck(_)) => drop(listening.try_send(())),
                    _ => {}
                }
            }
        })
        .abort_handle();
        within("the relay listens", listens.recv()).await;
        Self { client, heard, task }
    }

    /// Publishes bytes as they are.
    pub async fn publish(&self, topic: &str, retain: bool, payload: impl Into<Vec<u8>>) {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload).await.unwrap();
    }

    /// Says something to the router.
    pub async fn say(&self, down: &Down) {
        let topic = format!("lango/v1/kibera-7/down/{}", down.body.topic());
        self.publish(&topic, false, sealed(down).to_json()).await;
    }

    /// The next message of the router, presence aside.
    pub async fn hear(&mut self) -> (Publish, Up) {
        loop {
            let publish = within("the relay hears something", self.heard.recv()).await.expect("the relay is connected");
            if !publish.topic.ends_with("/up/presence") {
                let up = Up::from_json(&publish.payload).unwrap();
                return (publish, up);
            }
        }
    }

    /// Waits until the router's presence is this.
    pub async fn hear_presence(&mut self, presence: &str) {
        loop {
            let publish = within("the router's presence changes", self.heard.recv()).await.expect("the relay is connected");
            if publish.topic == "lango/v1/kibera-7/up/presence" && publish.payload == presence.as_bytes() {
                return;
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
