//! The way to the broker: connects, stays connected, subscribes, says that the relay is there, hands on what comes in.
//! It knows topics, not what messages mean.

use crate::config::Broker;
use crate::payment::schedule;
use anyhow::{Context, bail};
use lango_core::units::RouterName;
use rumqttc::{AsyncClient, ClientError, Event, EventLoop, LastWill, MqttOptions, Packet, Publish, QoS, TlsConfiguration, Transport};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

const PRESENCE: &str = "lango/v1/relay/presence";
const FROM_ROUTERS: &str = "lango/v1/+/up/#";
const ROUTERS_PRESENCE: &str = "lango/v1/+/up/presence";
/// The largest packet that MQTT knows. A smaller bound would end the connection at each larger packet, and the broker
/// would send it again on the next: one router could keep the relay away from all others. What is too large is
/// refused one level higher; the broker's own limit (docs/relay.md) keeps it from coming at all.
const MAX_PACKET: usize = 268_435_455;
/// Messages that wait to be sent. What finds no room is sent again later, or asked for again.
const QUEUE: usize = 4_096;

/// What the connection tells.
pub enum Incoming {
    /// The broker has us: whatever must arrive is to be sent again.
    Connected,
    /// A router published.
    Message {
        /// Whose topic it was; the broker's ACL vouches for it.
        router: RouterName,
        /// What it said.
        payload: Vec<u8>,
    },
    /// A router came, or went: by its own word or by its last will.
    Presence {
        /// Which.
        router: RouterName,
        /// Whether it is there.
        online: bool,
    },
}

/// How several relays stand at one broker.
struct Fleet {
    /// The shared subscription: each message of a router goes to one of those who have it.
    share: String,
    /// Whether this relay has left that to the others, because it has no ledger to work with.
    aside: AtomicBool,
}

/// Sends.
#[derive(Clone)]
pub struct Publisher {
    client: AsyncClient,
    connected: Arc<AtomicBool>,
    fleet: Option<Arc<Fleet>>,
}

impl Publisher {
    /// Sends a message to a router, if there is a connection and room; never waits.
    pub fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        if !self.connected.load(Ordering::Acquire) {
            return;
        }
        if let Err(ClientError::Request(_) | ClientError::TryRequest(_)) = self.client.try_publish(topic, QoS::AtLeastOnce, false, payload)
        {
            log::warn!("broker: too much waits to be sent; a message is put off");
        }
    }

    /// Whether the broker has us.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Has every router say again what it has said: they do so when the relay's presence turns to online.
    pub fn call_routers(&self) {
        if self.is_connected() {
            for presence in ["offline", "online"] {
                let _ = self.client.try_publish(PRESENCE, QoS::AtLeastOnce, true, presence);
            }
        }
    }

    /// Takes nothing more from routers: the other relays get it. Without others nothing changes that a router could see.
    pub fn step_aside(&self) {
        let Some(fleet) = &self.fleet else { return };
        if !fleet.aside.swap(true, Ordering::AcqRel) && self.is_connected() {
            log::warn!("broker: what routers say is left to the other relays until the ledger can be used again");
            let _ = self.client.try_unsubscribe(&fleet.share);
        }
    }

    /// Takes its part again. `true`: it had stepped aside, and what was said meanwhile may have been said to nobody.
    #[must_use]
    pub fn step_back(&self) -> bool {
        let Some(fleet) = &self.fleet else { return false };
        let was = fleet.aside.swap(false, Ordering::AcqRel);
        if was && self.is_connected() {
            log::info!("broker: what routers say is heard again");
            let _ = self.client.try_subscribe(&fleet.share, QoS::AtLeastOnce);
        }
        was
    }

    /// Says good-bye: what waits is sent, routers are told that the relay is gone. Where others are, they say that one is there.
    pub fn leave(&self) {
        if self.is_connected() {
            let _ = self.client.try_publish(PRESENCE, QoS::AtLeastOnce, true, "offline");
        }
        let _ = self.client.try_disconnect();
    }
}

/// The topic of a message to a router.
#[must_use]
pub fn down_topic(router: &RouterName, kind: &str) -> String {
    format!("lango/v1/{router}/down/{kind}")
}

/// Whose topic `lango/v1/ROUTER/up/TYPE` is, and its type.
#[must_use]
pub fn router_of(topic: &str) -> Option<(RouterName, &str)> {
    let mut levels = topic.split('/');
    let prefix = (levels.next(), levels.next());
    let (name, direction) = (levels.next()?, levels.next());
    if prefix != (Some("lango"), Some("v1")) || direction != Some("up") {
        return None;
    }
    Some((name.parse().ok()?, levels.next()?))
}

/// The connection, to be driven by [`Connection::run_for`].
pub struct Connection {
    events: EventLoop,
    publisher: Publisher,
    incoming: mpsc::Sender<Incoming>,
}

/// Makes the connection ready; nothing is sent before it runs. `among` is this relay's name where several stand at the broker.
///
/// # Errors
/// When the certificate authority cannot be used.
pub fn connection(broker: &Broker, among: Option<&str>, incoming: mpsc::Sender<Incoming>) -> anyhow::Result<(Publisher, Connection)> {
    let id = among.map_or_else(|| broker.username.clone(), |name| format!("{}-{name}", broker.username));
    let mut options = MqttOptions::new(id, &broker.host, broker.port);
    options.set_credentials(&broker.username, broker.password.reveal());
    // Among others no session may outlive its relay: mosquitto goes on dealing messages to a session that nobody comes for.
    options.set_clean_session(among.is_some());
    options.set_keep_alive(Duration::from_secs(15));
    options.set_last_will(LastWill::new(PRESENCE, "offline", QoS::AtLeastOnce, true));
    options.set_max_packet_size(MAX_PACKET, MAX_PACKET);
    if broker.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls(broker)?))));
    }
    let (client, mut events) = AsyncClient::new(options, QUEUE);
    events.network_options.set_connection_timeout(10).set_tcp_nodelay(true);
    let share = format!("$share/{}/{FROM_ROUTERS}", broker.username);
    let fleet = among.map(|_| Arc::new(Fleet { share, aside: AtomicBool::new(false) }));
    let publisher = Publisher { client, connected: Arc::new(AtomicBool::new(false)), fleet };
    Ok((publisher.clone(), Connection { events, publisher, incoming }))
}

fn tls(broker: &Broker) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &broker.ca {
        Some(path) => {
            let shown = path.display();
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            for certificate in certificates.with_context(|| format!("the broker's ca {shown} cannot be read"))? {
                roots.add(certificate).with_context(|| format!("the broker's ca {shown} holds a certificate that cannot be used"))?;
            }
            if roots.is_empty() {
                bail!("the broker's ca {shown} holds no certificate (PEM, -----BEGIN CERTIFICATE-----)");
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                bail!("this system has no certificate authorities: install ca-certificates, or set ca in [mqtt]");
            }
        }
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

impl Connection {
    /// Stays connected until [`Publisher::leave`] was called and done.
    pub async fn run_for(mut self, broker: String, leaving: Arc<AtomicBool>) {
        let mut failures = 0;
        loop {
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    failures = 0;
                    log::info!("broker: connected to {broker}");
                    self.greet();
                }
                Ok(Event::Incoming(Packet::Publish(message))) if message.topic == PRESENCE => {
                    // Another relay went, or died. Routers shall see that one is there; and because they saw it go and come
                    // they say again what the other one may have taken with it.
                    if message.payload == "offline" && !leaving.load(Ordering::Acquire) {
                        let _ = self.publisher.client.try_publish(PRESENCE, QoS::AtLeastOnce, true, "online");
                    }
                }
                Ok(Event::Incoming(Packet::Publish(message))) => self.hand_on(message),
                Ok(Event::Incoming(Packet::SubAck(granted))) if granted.return_codes.contains(&rumqttc::SubscribeReasonCode::Failure) => {
                    log::error!("broker: it does not let this user subscribe to {FROM_ROUTERS}; see the ACL in docs/relay.md");
                }
                Ok(_) => {}
                Err(error) => {
                    let was_connected = self.publisher.connected.swap(false, Ordering::AcqRel);
                    if leaving.load(Ordering::Acquire) {
                        return;
                    }
                    // The first of a row of failures is news; the next ones are told now and then.
                    if was_connected || failures % 20 == 0 {
                        log::warn!("broker: not connected to {broker}: {error}");
                    }
                    tokio::time::sleep(Duration::from_millis(schedule::reconnect(failures))).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    fn greet(&self) {
        let client = &self.publisher.client;
        let subscribe = |filter: &str| client.try_subscribe(filter, QoS::AtLeastOnce);
        let subscribed = match &self.publisher.fleet {
            None => subscribe(FROM_ROUTERS),
            // What the broker keeps (presences) is not told to a shared subscription, and all relays must hear it.
            Some(fleet) => [Some(PRESENCE), Some(ROUTERS_PRESENCE), (!fleet.aside.load(Ordering::Acquire)).then_some(&*fleet.share)]
                .into_iter()
                .flatten()
                .try_for_each(subscribe),
        };
        let announced = client.try_publish(PRESENCE, QoS::AtLeastOnce, true, "online");
        if subscribed.is_err() || announced.is_err() {
            log::error!("broker: no room to subscribe; too much waits to be sent");
        }
        self.publisher.connected.store(true, Ordering::Release);
        if self.incoming.try_send(Incoming::Connected).is_err() {
            log::warn!("broker: what was to be sent again waits for the next time");
        }
    }

    fn hand_on(&self, message: Publish) {
        let Some((router, kind)) = router_of(&message.topic) else { return };
        let incoming = match kind {
            "presence" => Incoming::Presence { router, online: message.payload == "online" },
            _ => Incoming::Message { router, payload: message.payload.to_vec() },
        };
        if self.incoming.try_send(incoming).is_err() {
            log::warn!("broker: too much comes in; a message is left, its router will send it again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_is_the_topics() {
        for (topic, name) in [
            ("lango/v1/kibera-7/up/hello", Some("kibera-7 hello")),
            ("lango/v1/kibera-7/up/a/b", Some("kibera-7 a")),
            ("lango/v1/kibera-7/up", None),
            ("lango/v1/kibera-7/down/hello", None),
            ("lango/v2/kibera-7/up/hello", None),
            ("lango/v1/kibera 7/up/hello", None),
            ("lango/v1//up/hello", None),
            ("lango/v1", None),
        ] {
            assert_eq!(router_of(topic).map(|(name, kind)| format!("{name} {kind}")).as_deref(), name, "{topic}");
        }
    }
}
