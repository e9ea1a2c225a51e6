//! A router's side of the messages: says hello, asks for payments, believes nothing without the relay's signature.

use super::program::Credentials;
use super::{PATIENCE, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lango_core::message::{Down, DownBody, Outcome, PaymentRequest, PaymentUpdate, Sealed, Up, UpBody};
use lango_core::time::Wall;
use lango_core::units::{MessageId, RouterName, Shillings};
use ring::signature::{ED25519, UnparsedPublicKey};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

pub struct Router {
    pub name: RouterName,
    pub client: AsyncClient,
    inbox: mpsc::UnboundedReceiver<Down>,
    /// What the presence topic says, and how often it turned to online.
    pub presence: Arc<Mutex<(String, usize)>>,
    seq: u64,
}

pub fn now() -> Wall {
    Wall(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

/// The tests' customer.
pub fn request(order: &str) -> PaymentRequest {
    PaymentRequest {
        order: order.parse().unwrap(),
        package: "hour".parse().unwrap(),
        label: "1 hour".to_owned(),
        amount: Shillings(10),
        phone: "0712345678".parse().unwrap(),
        device: "02:00:5e:10:00:01".parse().unwrap(),
        asked_at: Some(now()),
    }
}

impl Router {
    pub async fn connect(name: &str, credentials: &Credentials, port: u16) -> Self {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_credentials(name, &credentials.password).set_clean_session(false).set_keep_alive(Duration::from_secs(5));
        let (client, mut events) = AsyncClient::new(options, 1_000);
        events.network_options.set_tcp_nodelay(true);
        let key = STANDARD.decode(&credentials.relay_key).unwrap();
        let (name, down, presence) =
            (name.parse::<RouterName>().unwrap(), format!("lango/v1/{name}/down/"), Arc::new(Mutex::new((String::new(), 0))));
        let (to_inbox, inbox) = mpsc::unbounded_channel();
        let (me, there, speaker) = (name.clone(), Arc::clone(&presence), client.clone());
        tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        speaker.try_subscribe(format!("{down}#"), QoS::AtLeastOnce).unwrap();
                        speaker.try_subscribe("lango/v1/relay/presence", QoS::AtLeastOnce).unwrap();
                    }
                    Ok(Event::Incoming(Packet::Publish(message))) if message.topic == "lango/v1/relay/presence" => {
                        let (mut there, text) = (there.lock().unwrap(), String::from_utf8(message.payload.to_vec()).unwrap());
                        there.1 += usize::from(text == "online" && there.0 != "online");
                        there.0 = text;
                    }
                    Ok(Event::Incoming(Packet::Publish(message))) => {
                        let sealed = Sealed::from_json(&message.payload).unwrap();
                        let signature = STANDARD.decode(&sealed.signature).unwrap();
                        UnparsedPublicKey::new(&ED25519, &key).verify(&sealed.signed_bytes(), &signature).expect("a signature that holds");
                        let down_message = sealed.open(&me).unwrap();
                        assert_eq!(message.topic, format!("{down}{}", down_message.body.topic()));
                        if to_inbox.send(down_message).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        Self { name, client, inbox, presence, seq: 0 }
    }

    /// Publishes whatever bytes.
    pub fn publish(&self, kind: &str, payload: impl Into<Vec<u8>>) {
        self.client.try_publish(format!("lango/v1/{}/up/{kind}", self.name), QoS::AtLeastOnce, false, payload.into()).unwrap();
    }

    /// Says something; gives back the message's id.
    pub fn say(&mut self, body: UpBody) -> MessageId {
        self.seq += 1;
        let id: MessageId = format!("{}-{}", body.topic().replace('_', "-"), self.seq).parse().unwrap();
        self.say_as(&id, body);
        id
    }

    pub fn say_as(&self, id: &MessageId, body: UpBody) {
        let kind = body.topic();
        self.publish(kind, Up { v: 1, id: id.clone(), seq: self.seq, body }.to_json());
    }

    /// A new customer asks; gives back the order.
    pub fn ask(&mut self) -> String {
        let order = format!("{:0>26}", format!("order{}", self.seq));
        self.say(UpBody::PaymentRequest(request(&order)));
        order
    }

    pub async fn next(&mut self) -> Down {
        tokio::time::timeout(PATIENCE, self.inbox.recv())
            .await
            .expect("the relay said nothing")
            .expect("the router's task ended: see its panic")
    }

    /// Says hello until it is answered; gives back all payment updates that came before the answer. What the relay had to
    /// say before the hello has come by then: its messages keep their order.
    pub async fn fence(&mut self) -> Vec<PaymentUpdate> {
        let mut updates = Vec::new();
        loop {
            let nonce: MessageId = format!("nonce-{}", self.seq).parse().unwrap();
            self.say(UpBody::Hello { nonce: nonce.clone(), version: "1.0".to_owned() });
            let answered = tokio::time::timeout(Duration::from_secs(3), async {
                loop {
                    match self.next().await.body {
                        DownBody::Welcome { nonce: answer } if answer == nonce => return,
                        DownBody::Payment(update) => updates.push(update),
                        _ => {}
                    }
                }
            });
            if answered.await.is_ok() {
                return updates;
            }
        }
    }

    /// The next payment update, whatever else comes before it.
    pub async fn update(&mut self) -> (MessageId, PaymentUpdate) {
        loop {
            let down = self.next().await;
            if let DownBody::Payment(update) = down.body {
                return (down.id, update);
            }
        }
    }

    /// The next payment update's outcome, which is acknowledged.
    pub async fn outcome(&mut self, order: &str) -> Outcome {
        let (id, update) = self.update().await;
        self.say(UpBody::Ack { of: vec![id] });
        assert_eq!((update.order.as_str(), update.package.as_str()), (order, "hour"));
        assert_eq!((update.phone.digits().as_str(), update.device.to_string().as_str()), ("254712345678", "02:00:5e:10:00:01"));
        update.outcome
    }

    /// Waits until the presence topic says this.
    pub async fn presence(&self, text: &str) {
        until(&format!("presence {text}"), async || (self.presence.lock().unwrap().0 == text).then_some(())).await;
    }
}
