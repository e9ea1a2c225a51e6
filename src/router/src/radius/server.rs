//! One server: what is asked of it and not answered yet, whether it answers at all, and the believing of its answers.
//!
//! The sockets are in `udp` and `radsec`; both feed [`Server::received`].

use super::config::ServerConfig;
use super::orders::{Desk, Sender};
use super::packet::{Unencodable, open_reply};
use super::request::{self, Nas, Sending};
use crate::clock;
use lango_core::tree::BTreeMap;
use radius::core::packet::Packet;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

/// The most that is asked of one server at once; the others wait. FreeRADIUS has 32 threads as it comes. There are 256 identifiers,
/// so one that was given up is not used again at once.
const AT_ONCE: usize = 32;

/// So long a request waits for a socket or a connection that is being made.
const UNTIL_READY: Duration = Duration::from_secs(3);

/// Between two looks at a server that does not answer.
const PROBE_EVERY: Duration = Duration::from_secs(30);
const PROBE_WAIT: Duration = Duration::from_secs(3);

/// A server that knows no Status-Server is tried by a real request after so long.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);

/// One line at most in this time about answers that are not believed.
const ABOUT_UNBELIEVABLE: Duration = Duration::from_secs(60);

/// The secret of RADIUS over TLS (RFC 6614 section 2.3).
const RADSEC_SECRET: &[u8] = b"radsec";

/// No answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// Nothing that can be believed, in time.
    #[error("it does not answer")]
    NoAnswer,
    /// There is no way to it now.
    #[error("there is no connection to it")]
    NotConnected,
    /// The question cannot be asked at all.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// It cannot be asked so that only the server can answer.
    #[error(transparent)]
    NoEntropy(#[from] clock::NoEntropy),
}

/// Whom it is held against when there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The server: it is asked last from now on, and its socket is made anew.
    Server,
    /// The question: it may be one that this server never answers.
    Question,
}

struct Pending {
    request: Vec<u8>,
    reply: oneshot::Sender<Packet>,
}

/// One server.
pub struct Server {
    pub(super) config: ServerConfig,
    /// Shared with it.
    pub(super) secret: Vec<u8>,
    pending: RefCell<BTreeMap<u8, Pending>>,
    next: Cell<u8>,
    room: Semaphore,
    outgoing: mpsc::Sender<Vec<u8>>,
    /// The addresses that its name has, for orders that come from there.
    addresses: RefCell<Vec<IpAddr>>,
    from: Cell<Option<IpAddr>>,
    ready: watch::Sender<bool>,
    down_since: Cell<Option<Instant>>,
    /// When something came from it last that was believed.
    heard: Cell<Option<Instant>>,
    /// When it was asked something last, or its connection made.
    asked: Cell<Instant>,
    /// Whether it has ever answered a Status-Server.
    knows_status: Cell<bool>,
    /// Whoever holds the socket makes it anew when this is told: the name may lead elsewhere by now, or the way out is another.
    pub(super) renew: Notify,
    complained: Cell<Option<Instant>>,
    desk: Rc<Desk>,
}

impl Server {
    /// A server, and the packets that its socket is to send.
    pub fn new(config: ServerConfig, secret: &[u8], desk: Rc<Desk>) -> (Rc<Self>, mpsc::Receiver<Vec<u8>>) {
        let (outgoing, packets) = mpsc::channel(2 * AT_ONCE);
        let secret = if config.tls { RADSEC_SECRET } else { secret }.to_vec();
        let server = Self {
            config,
            secret,
            pending: RefCell::default(),
            next: Cell::new(0),
            room: Semaphore::new(AT_ONCE),
            outgoing,
            addresses: RefCell::default(),
            from: Cell::new(None),
            ready: watch::Sender::new(false),
            down_since: Cell::new(None),
            heard: Cell::new(None),
            asked: Cell::new(Instant::now()),
            knows_status: Cell::new(false),
            renew: Notify::new(),
            complained: Cell::new(None),
            desk,
        };
        (Rc::new(server), packets)
    }

    /// Whether it is to be asked before others.
    pub fn is_up(&self) -> bool {
        self.down_since.get().is_none()
    }

    /// Whether it has this address.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.borrow().contains(&address)
    }

    /// Notes what its name resolves to.
    pub fn resolved(&self, addresses: Vec<IpAddr>) {
        *self.addresses.borrow_mut() = addresses;
    }

    /// Notes that packets can be sent now, and from where.
    pub fn connected(&self, from: Option<IpAddr>) {
        // What was wanted of the last one is not wanted of this one.
        pin!(self.renew.notified()).enable();
        self.asked.set(Instant::now());
        self.from.set(from);
        self.ready.send_replace(true);
    }

    /// Notes that they cannot: what was asked over the connection gets no answer any more.
    pub fn disconnected(&self) {
        self.ready.send_replace(false);
        self.pending.borrow_mut().clear();
    }

    /// Whether nobody waits for an answer of it.
    pub fn is_idle(&self) -> bool {
        self.pending.borrow().is_empty()
    }

    /// Asks, and waits for an answer that can be believed. What `build` makes is sent once at the beginning and again at the
    /// end of each of `waits` but the last: the same octets. Over TLS it is sent once.
    ///
    /// # Errors
    /// When none came.
    pub async fn ask(
        &self,
        waits: &[Duration],
        blame: Blame,
        mut build: impl FnMut(Sending<'_>) -> Result<Vec<u8>, Unencodable>,
    ) -> Result<Packet, Silence> {
        let _room = self.room.acquire().await.map_err(|_| Silence::NotConnected)?;
        let began = Instant::now();
        let mut ready = self.ready.subscribe();
        if !matches!(timeout(UNTIL_READY, ready.wait_for(|ready| *ready)).await, Ok(Ok(_))) {
            self.failed(&Silence::NotConnected, began);
            return Err(Silence::NotConnected);
        }
        let identifier = self.free_identifier();
        let mut authenticator = [0; 16];
        SystemRandom::new().fill(&mut authenticator).map_err(|_| clock::NoEntropy)?;
        let bytes = build(Sending { identifier, secret: &self.secret, authenticator, from: self.from.get(), now: clock::now() })?;
        let (reply, mut answer) = oneshot::channel();
        self.pending.borrow_mut().insert(identifier, Pending { request: bytes.clone(), reply });
        let _given_up = GivenUp { server: self, identifier };
        let once = [waits.iter().sum()];
        for wait in if self.config.tls { &once[..] } else { waits } {
            self.asked.set(Instant::now());
            // Full: as if it had been lost on the way.
            let _ = self.outgoing.try_send(bytes.clone());
            match timeout(*wait, &mut answer).await {
                Ok(Ok(packet)) => {
                    self.answered();
                    return Ok(packet);
                }
                Ok(Err(_)) => {
                    self.failed(&Silence::NotConnected, began);
                    return Err(Silence::NotConnected);
                }
                Err(_) => {}
            }
        }
        if blame == Blame::Server {
            self.failed(&Silence::NoAnswer, began);
        }
        Err(Silence::NoAnswer)
    }

    fn free_identifier(&self) -> u8 {
        let pending = self.pending.borrow();
        let mut identifier = self.next.get();
        // At most `AT_ONCE` of 256 are taken.
        while pending.contains_key(&identifier) {
            identifier = identifier.wrapping_add(1);
        }
        self.next.set(identifier.wrapping_add(1));
        identifier
    }

    /// Takes a packet that came from it.
    pub fn received(&self, bytes: &[u8], answer_to: Option<&mpsc::Sender<Vec<u8>>>) {
        // Over TLS orders come by the same connection (RFC 6614 section 2.5).
        if let (Some(40 | 43), Some(answers)) = (bytes.first(), answer_to) {
            let source = SocketAddr::new(self.addresses.borrow().first().copied().unwrap_or(IpAddr::from([0; 4])), self.config.port);
            self.desk.take(bytes, &self.secret, source, &Sender::Stream(answers.clone()));
            return;
        }
        let Some(identifier) = bytes.get(1).copied() else { return };
        let believed = {
            let pending = self.pending.borrow();
            let Some(asked) = pending.get(&identifier) else {
                log::debug!("radius: {}: an answer that nobody waits for", self.config);
                return;
            };
            let question = asked.request.first() == Some(&1);
            open_reply(&asked.request, bytes, &self.secret, question && self.config.must_sign && !self.config.tls)
        };
        match believed {
            Ok(packet) => {
                self.heard.set(Some(Instant::now()));
                if let Some(asked) = self.pending.borrow_mut().remove(&identifier) {
                    // Whoever asked may be gone.
                    let _ = asked.reply.send(packet);
                }
            }
            Err(cause) => {
                let now = Instant::now();
                if self.complained.get().is_none_or(|last| now.duration_since(last) >= ABOUT_UNBELIEVABLE) {
                    self.complained.set(Some(now));
                    log::warn!("radius: {}: an answer is not believed: {cause}", self.config);
                }
            }
        }
    }

    fn answered(&self) {
        if self.down_since.take().is_some() {
            log::info!("radius: {} answers again", self.config);
        }
    }

    /// A question that was asked first at `began` has no answer. Where others were answered since, the question is at fault, and a
    /// new socket would only lose the answers that are on their way.
    fn failed(&self, cause: &Silence, began: Instant) {
        if self.heard.get().is_some_and(|heard| heard >= began) {
            return;
        }
        if self.down_since.get().is_none() {
            self.down_since.set(Some(Instant::now()));
            log::warn!("radius: {}: {cause}", self.config);
        }
        if *cause == Silence::NoAnswer {
            self.renew.notify_one();
        }
    }

    /// Looks after it while it does not answer: asks whether it is there again (RFC 5997), so that no customer has to wait for
    /// that to be found out.
    pub async fn watch(self: Rc<Self>, nas: Rc<Nas>) {
        loop {
            sleep(PROBE_EVERY).await;
            let Some(since) = self.down_since.get() else { continue };
            if !self.is_there(&nas, PROBE_WAIT).await && since.elapsed() >= FORGIVEN_AFTER {
                // It may not know the question.
                self.down_since.set(None);
            }
        }
    }

    /// Asks something over a connection that was idle for so long, for as long as there are connections. Without it servers close
    /// them (a FreeRADIUS as it comes after 30 s), and those that a NAT has forgotten are found out by a customer who waits.
    pub async fn keep_alive(self: Rc<Self>, nas: Rc<Nas>, idle: Duration) {
        let mut ready = self.ready.subscribe();
        while ready.wait_for(|ready| *ready).await.is_ok() {
            let rest = idle.saturating_sub(self.asked.get().elapsed());
            if rest.is_zero() {
                self.is_there(&nas, idle / 4).await;
                self.asked.set(Instant::now());
            } else {
                sleep(rest).await;
            }
        }
    }

    /// Asks by Status-Server. A connection does not end because its server does not know that.
    async fn is_there(&self, nas: &Nas, wait: Duration) -> bool {
        let blame = if self.config.tls && !self.knows_status.get() { Blame::Question } else { Blame::Server };
        let answered = self.ask(&[wait], blame, |sending| request::status(nas, sending)).await.is_ok();
        if answered {
            self.knows_status.set(true);
        }
        answered
    }
}

/// Ends the waiting for an answer, however it ended.
struct GivenUp<'a> {
    server: &'a Server,
    identifier: u8,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.server.pending.borrow_mut().remove(&self.identifier);
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
pub mod tests;
