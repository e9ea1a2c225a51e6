//! One connection to the broker, from the first packet to the end.
//!
//! rumqttc is used for one connection only and then thrown away, with what it had queued: it would send it again by
//! itself, before the core has said what is still wanted, and forgets it where the broker forgot the session.

use super::cause::explain;
use super::config::SyncConfig;
use super::poll::{Failure, unpanicked};
use super::task::{Command, GAVE_UP, Task};
use super::{SyncEvent, count};
use super::{letter, topics};
use crate::tls;
use lango_core::message::{MAX_PAYLOAD, Up};
use lango_core::time::Wall;
use rumqttc::Error::PayloadSizeLimitExceeded as TooLarge;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, NetworkOptions, Outgoing, Packet, Publish, QoS, StateError,
    SubscribeFilter, SubscribeReasonCode, TlsConfiguration, Transport,
};
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A dead connection is noticed in twice this, and the broker notices us gone in one and a half.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// For name, TCP, TLS and the broker's answer together, in seconds: a slow router on a bad line needs some.
const CONNECT_WITHIN: u64 = 15;

/// The largest packet that is read, so that somebody's large message costs no memory. More than [`MAX_PAYLOAD`], so that
/// what is a little too large is refused as a message, and the connection stays.
const MAX_PACKET: usize = 4 * MAX_PAYLOAD;

/// Messages handed to rumqttc beyond those under way.
const HANDED_OVER: usize = 16;

/// Messages that came before the broker said that it listens for us; a persistent session brings some at once.
const EARLY: usize = 256;

/// The core is asked to send everything again at most once in this time.
const RESYNC_EVERY: Duration = Duration::from_secs(5);

/// How long a clean end may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// It failed.
    Lost {
        /// Why, for the log.
        cause: String,
        /// How long it had worked.
        worked: Duration,
    },
    /// There is another config.
    Reconfigure(Box<SyncConfig>),
    /// There is no connection, and reason to try at once.
    Hurried,
    /// The program stops.
    Stop(oneshot::Sender<()>),
    /// Nobody is there to hear of anything.
    Abandoned,
}

/// What a connection knows of itself.
struct Live {
    client: AsyncClient,
    /// Since when the broker listens for us.
    since: Option<Instant>,
    /// A message that rumqttc had no room for. Nothing overtakes it.
    next: Option<Up>,
    early: Vec<SyncEvent>,
    resync_from: Instant,
}

impl Task {
    /// Connects and stays connected as long as it goes.
    pub(super) async fn connect(&mut self) -> End {
        let options = match self.options() {
            Ok(options) => options,
            Err(cause) => return End::Lost { cause: cause.to_string(), worked: Duration::ZERO },
        };
        let (client, mut event_loop) = AsyncClient::new(options, HANDED_OVER);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true); // a payment's way is short messages: none may wait for the next
        network.set_connection_timeout(CONNECT_WITHIN);
        event_loop.set_network_options(network);

        let mut live = Live { client, since: None, next: None, early: Vec::new(), resync_from: Instant::now() };
        let mut end = self.converse(&mut live, &mut event_loop).await;
        if live.since.is_some() {
            if matches!(end, End::Reconfigure(_) | End::Stop(_)) {
                self.say_goodbye(&live, &mut event_loop).await;
            }
            log::info!("sync: disconnected from {}", self.config.broker);
            // Not lost for another command: the core would think that it is connected for as long as no broker answers.
            while !matches!(end, End::Stop(_) | End::Abandoned) {
                match self.tell(SyncEvent::Disconnected).await {
                    Ok(()) => break,
                    Err(told) => end = told,
                }
            }
        }
        end
    }

    fn options(&mut self) -> Result<MqttOptions, tls::TlsError> {
        let SyncConfig { broker, username, password, ca, router, .. } = &self.config;
        let host = if broker.host.contains(':') { format!("[{}]", broker.host) } else { broker.host.clone() };
        let mut options = MqttOptions::new(router.as_str(), host, broker.port);
        options
            .set_credentials(username, password.reveal())
            .set_clean_session(self.forget)
            .set_keep_alive(KEEP_ALIVE)
            .set_max_packet_size(MAX_PACKET, MAX_PACKET)
            .set_last_will(LastWill::new(topics::presence(router), topics::OFFLINE, QoS::AtLeastOnce, true));
        if broker.tls {
            let config = match &self.tls {
                Some(config) => config.clone(),
                None => self.tls.insert(tls::client_config(ca.as_deref(), None)?).clone(),
            };
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
        }
        Ok(options)
    }

    /// The connection's life.
    async fn converse(&mut self, live: &mut Live, event_loop: &mut EventLoop) -> End {
        loop {
            let resync = live.resync_from.max(Instant::now());
            let wants_resync = live.since.is_some() && self.overflowed.get() && self.publishes.is_empty() && live.next.is_none();
            let polled = {
                // Polled to its end, whatever comes meanwhile: given up half way it forgets acknowledgements that it owes.
                let mut poll = pin!(unpanicked(event_loop.poll()));
                loop {
                    tokio::select! {
                        polled = &mut poll => break Some(polled),
                        Some(up) = self.publishes.recv(), if live.next.is_none() => self.publish(live, up),
                        () = sleep_until(resync), if wants_resync => break None,
                        command = self.commands.recv() => match self.obey(command) {
                            Some(end) => return end,
                            None => continue,
                        },
                        () = self.events.closed() => return End::Abandoned,
                    }
                }
            };
            let went_on = match polled {
                None => {
                    self.overflowed.set(false);
                    live.resync_from = Instant::now() + RESYNC_EVERY;
                    self.tell(SyncEvent::Resync).await
                }
                Some(Ok(event)) => self.hear(live, event).await,
                Some(Err(error)) => Err(self.lost(live, error)),
            };
            if let Err(end) = went_on {
                return end;
            }
            if let Some(up) = live.next.take() {
                self.publish(live, up);
            }
        }
    }

    /// Hands a message on, or keeps it as the next.
    fn publish(&self, live: &mut Live, up: Up) {
        if live.since.is_none() {
            return self.dropped(&up);
        }
        let payload = up.to_json();
        if payload.len() > MAX_PAYLOAD {
            count(&self.failures.unsent);
            log::error!("sync: message {} has {} bytes; the relay would not read it, and it is not sent", up.id, payload.len());
            return;
        }
        if live.client.try_publish(topics::up(&self.config.router, &up.body), QoS::AtLeastOnce, false, payload).is_err() {
            live.next = Some(up);
        }
    }

    async fn hear(&mut self, live: &mut Live, event: Event) -> Result<(), End> {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                let filter = |topic: String| SubscribeFilter::new(topic, QoS::AtLeastOnce);
                let filters = [filter(topics::all_down(&self.config.router)), filter(topics::RELAY_PRESENCE.to_owned())];
                // There is room: nothing else was handed over yet.
                live.client.try_subscribe_many(filters).map_err(|cause| self.broken(live, cause.to_string()))
            }
            Event::Incoming(Packet::SubAck(answer)) => {
                if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                    let cause = "it does not let this router listen to its own topics: see the broker's ACL";
                    return Err(self.broken(live, cause.to_owned()));
                }
                self.welcome(live).await
            }
            Event::Incoming(Packet::Publish(publish)) => match self.read(&publish) {
                Some(event) if live.since.is_some() => self.tell(event).await,
                Some(event) if live.early.len() < EARLY => {
                    live.early.push(event);
                    Ok(())
                }
                Some(_) => {
                    log::warn!("sync: more than {EARLY} messages came at once; the relay will send the others again");
                    Ok(())
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The broker listens for us now.
    async fn welcome(&mut self, live: &mut Live) -> Result<(), End> {
        log::info!("sync: connected to {}", self.config.broker);
        self.forget = false;
        live.since = Some(Instant::now());
        live.resync_from = Instant::now() + RESYNC_EVERY;
        // What was meant for the last connection the core sends again for this one.
        while let Ok(up) = self.publishes.try_recv() {
            self.dropped(&up);
        }
        self.overflowed.set(false);
        self.presence(live, topics::ONLINE).map_err(|cause| self.broken(live, cause))?;
        self.tell(SyncEvent::Connected).await?;
        for event in std::mem::take(&mut live.early) {
            self.tell(event).await?;
        }
        Ok(())
    }

    fn presence(&self, live: &Live, presence: &str) -> Result<(), String> {
        let topic = topics::presence(&self.config.router);
        live.client.try_publish(topic, QoS::AtLeastOnce, true, presence).map_err(|cause| cause.to_string())
    }

    /// What a packet says, where it may say anything.
    fn read(&mut self, publish: &Publish) -> Option<SyncEvent> {
        let read = if publish.topic == topics::RELAY_PRESENCE {
            match &*publish.payload {
                payload if payload == topics::ONLINE.as_bytes() => Ok(SyncEvent::Presence(true)),
                payload if payload == topics::OFFLINE.as_bytes() => Ok(SyncEvent::Presence(false)),
                _ => Err("the relay's presence is neither online nor offline".to_owned()),
            }
        } else if topics::is_down(&self.config.router, &publish.topic) {
            letter::read(&publish.payload, &self.config.relay_key, &self.config.router)
                .map(SyncEvent::Message)
                .map_err(|refused| refused.to_string())
        } else {
            Err("it came under a topic that was not asked for".to_owned())
        };
        read.map_err(|why| {
            count(&self.failures.refused);
            if let Some(kept_back) = self.refusals.may_say(std::time::Instant::now()) {
                let more = if kept_back > 0 { format!(" ({kept_back} more were refused before it)") } else { String::new() };
                log::warn!("sync: a message was refused: {why}{more}");
            }
        })
        .ok()
    }

    /// Hands an event to the core. While the core is busy the broker waits, but not the program's commands.
    async fn tell(&mut self, event: SyncEvent) -> Result<(), End> {
        let mut told = pin!(self.events.send(event));
        loop {
            tokio::select! {
                sent = &mut told => return sent.map_err(|_| End::Abandoned),
                command = self.commands.recv() => match command {
                    Some(Command::TryNow) => {}
                    Some(Command::Reconfigure(config)) if *config == self.config => {}
                    Some(Command::Reconfigure(config)) => return Err(End::Reconfigure(config)),
                    Some(Command::Stop(done)) => return Err(End::Stop(done)),
                    None => return Err(End::Abandoned),
                },
            }
        }
    }

    /// Goes offline in an orderly way: the broker hears it from us, and needs no last will.
    async fn say_goodbye(&self, live: &Live, event_loop: &mut EventLoop) {
        // No room means a connection that does not move: then the last will does it.
        if self.presence(live, topics::OFFLINE).is_err() || live.client.try_disconnect().is_err() {
            return;
        }
        let end = Instant::now() + GOODBYE;
        while let Ok(Ok(event)) = timeout_at(end, unpanicked(event_loop.poll())).await {
            if event == Event::Outgoing(Outgoing::Disconnect) {
                return;
            }
        }
    }

    fn lost(&mut self, live: &Live, error: Failure) -> End {
        let cause = match error {
            Failure::Connection(error) => {
                self.forget |= matches!(*error, ConnectionError::MqttState(StateError::Deserialization(TooLarge(_))));
                explain(&error, &self.config, clock())
            }
            Failure::Panic => GAVE_UP.to_owned(),
        };
        self.broken(live, cause)
    }

    fn broken(&self, live: &Live, cause: String) -> End {
        End::Lost { cause, worked: live.since.map_or(Duration::ZERO, |since| since.elapsed()) }
    }
}

/// The router's clock, as it is.
fn clock() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
