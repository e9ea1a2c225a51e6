//! The captive portal: HTTP for customers' phones, and the pages that they see (docs/portal.md).
//!
//! The daemon implements [`Backend`] and runs [`serve`] on the current-thread runtime, inside a `LocalSet` (connections
//! are `spawn_local` tasks; a panic in one is known as a request's, [`crate::restart`]). What of the config the portal needs
//! comes as [`PortalConfig`] through a watch channel, so that a SIGHUP takes effect with the next request. A name
//! (`portal_host`) and an address are the same to it: it answers at the address at which it was reached, too.
//!
//! | file | what it does |
//! | --- | --- |
//! | `frame`, `head`, `route` | pure: where a request ends, what it says and asks |
//! | `desk` | asks the backend, and sends each request to its call or page |
//! | `api`, `pages`, `events` | the calls, the pages, the event stream |
//! | `site`, `view`, `template`, `language`, `top`, `gzip`, `reply` | pure: pages and answers from values |
//! | `colour`, `logo`, `overrides` | pure: what an operator may put in our place |
//! | `own` | reads it from its files |
//! | `exchange`, `socket` | one connection: its requests, and picoserve |
//! | `crowd`, `pace` | who is connected, and who gives way; how often each may agree on TLS |
//! | `kept` | answers' bytes that are sent again |
//! | `stream`, `secure` | a connection, plain or by TLS; how TLS begins |

mod api;
pub mod colour;
mod crowd;
mod desk;
mod events;
mod exchange;
pub mod frame;
mod gzip;
pub mod head;
mod kept;
pub mod language;
mod logo;
mod overrides;
pub mod own;
mod pace;
mod pages;
mod repeats;
mod reply;
pub mod route;
mod secure;
mod site;
mod socket;
mod stream;
mod template;
mod top;
mod view;

pub use exchange::Ends;
pub use secure::Secure;
pub use site::{Own, Site};
pub use top::TEXTS;

use crate::restart;
use crowd::{Crowd, Who};
use lango_core::package::Package;
use lango_core::request::{Answer, Request};
use lango_core::restart::Part;
use lango_core::tree::BTreeMap;
use lango_core::units::{Mac, OrderId};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpNoDelay;
use pace::Pace;
use rustls::ServerConfig;
use secure::Agreement;
use socket::{Line, State};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use stream::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What the portal needs of the rest of the program.
pub trait Backend: 'static {
    /// The core's answer. [`lango_core::request::Refusal::NotStored`] where the daemon is stopping.
    fn ask(&self, request: Request) -> impl Future<Output = Answer>;
    /// What the start page shows to a device that has nothing of its own: `look` is told the packages, and whether payments are possible.
    /// It is as true as what [`Backend::ask`] would say now, and not waited for. None for other devices, and where it cannot be told at this
    /// moment: then [`Request::Start`] tells. A backend that always has to be asked says none.
    fn common_start<T>(&self, _device: Mac, _look: impl FnOnce(&[Package], bool) -> T) -> Option<T> {
        None
    }
    /// The device that has this address on the customers' LAN; none where no neighbour has it.
    fn device_of(&self, address: IpAddr) -> impl Future<Output = Option<Mac>>;
    /// The same as last heard, which may be a moment old: to count by, and to see that there is nothing of the device's own to show. What is its
    /// own is shown by [`Backend::device_of`] alone. None where nothing was heard.
    fn device_heard(&self, _address: IpAddr) -> Option<Mac> {
        None
    }
    /// What devices on the LAN call themselves, made harmless to look at ([`crate::leases::harmless`]); to be escaped like anything else.
    fn names(&self) -> impl Future<Output = BTreeMap<Mac, String>>;
    /// Names each payment that changed ([`lango_core::step::Effect::PaymentChanged`]) from now on. One channel for all
    /// payments: a stream that hears of its own asks again, and so does one that fell behind.
    fn payment_changes(&self) -> broadcast::Receiver<OrderId>;
}

/// What the portal needs of the config.
#[derive(Debug, Clone)]
pub struct PortalConfig {
    /// The hotspot's name, as customers read it.
    pub name: String,
    /// The name that the pages use: `portal_host`.
    pub host: String,
    /// The port at which customers reach it: `portal_port`, or 80.
    pub port: u16,
    /// Its name over HTTPS, and where customers find it by that; none: nobody does.
    pub https: Option<SecureName>,
    /// Its pages.
    pub site: Arc<Site>,
    /// How much one client may take.
    pub limits: Limits,
}

/// What the portal is called over HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureName {
    /// The name that the certificate is for.
    pub host: String,
    /// `https://…/`
    pub url: String,
}

impl PortalConfig {
    /// The portal's name, over HTTPS or plain.
    #[must_use]
    pub fn host_of(&self, secure: bool) -> &str {
        self.https.as_ref().filter(|_| secure).map_or(&self.host, |https| &https.host)
    }

    /// The portal's start, over HTTPS or plain.
    #[must_use]
    pub fn url_of(&self, secure: bool) -> String {
        self.https.as_ref().filter(|_| secure).map_or_else(|| self.url(), |https| https.url.clone())
    }

    /// Where captive devices are sent.
    #[must_use]
    pub fn url(&self) -> String {
        match (self.host.contains(':'), self.port) {
            (false, 80) => format!("http://{}/", self.host),
            (false, port) => format!("http://{}:{port}/", self.host),
            (true, port) => format!("http://[{}]:{port}/", self.host),
        }
    }
}

/// How much one client, and all of them together, may take. The defaults are for a router; tests shorten them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; for one more somebody gives way. Read when the portal starts.
    pub connections: usize,
    /// Connections at once of one device, whatever its addresses; for one more the oldest of its own that nobody answers on gives way. Read when
    /// the portal starts.
    pub per_address: usize,
    /// Of `connections`, those over HTTPS: each costs more memory; for one more of them one of them gives way. Read when the portal starts.
    pub secure_connections: usize,
    /// For a client to agree on TLS, all in all.
    pub handshake: Duration,
    /// Agreements on TLS that one device may begin at once, after a rest. Read when the portal starts.
    pub handshakes: u32,
    /// From then on it may begin one each so long; a few more wait for their turn, others are closed unanswered. Read when the portal starts.
    pub handshake_every: Duration,
    /// For a whole request to arrive, from its first byte.
    pub read: Duration,
    /// For a request to begin, on a new connection and on a kept one.
    pub idle: Duration,
    /// A connection that is older than this may have been made before its device was online, even if nothing was answered on it yet.
    pub fresh: Duration,
    /// For a part of an answer to be taken by the client.
    pub write: Duration,
    /// For a whole connection, whatever happens on it.
    pub connection: Duration,
    /// The same where payment events are sent on it.
    pub stream: Duration,
    /// Between two signs of life on an event stream.
    pub heartbeat: Duration,
    /// For a client to take the last answer and close, after we did.
    pub drain: Duration,
    /// For answers under way to be finished when the portal stops.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            per_address: 16,
            secure_connections: 64,
            handshake: Duration::from_secs(5),
            handshakes: 16,
            handshake_every: Duration::from_millis(500),
            read: Duration::from_secs(5),
            idle: Duration::from_secs(5),
            fresh: Duration::from_millis(100),
            write: Duration::from_secs(5),
            connection: Duration::from_secs(60),
            stream: Duration::from_secs(300),
            heartbeat: Duration::from_secs(15),
            drain: Duration::from_secs(1),
            stop: Duration::from_secs(2),
        }
    }
}

/// Where customers come in.
pub struct Doors {
    /// Plain HTTP.
    pub plain: TcpListener,
    /// HTTPS, where the router has a certificate.
    pub secure: Option<Secure>,
}

impl From<TcpListener> for Doors {
    fn from(plain: TcpListener) -> Self {
        Self { plain, secure: None }
    }
}

/// A door's certificate, where it speaks TLS.
type Certificate = watch::Receiver<Option<Arc<ServerConfig>>>;

/// The portal without its doors: serves connections one by one, whatever carries them.
pub struct Portal<B> {
    desk: Rc<desk::Desk<B>>,
    stop: watch::Sender<bool>,
    crowd: Crowd,
    pace: RefCell<Pace>,
    limits: Limits,
}

impl<B: Backend> Portal<B> {
    /// With the limits that the config has now.
    #[must_use]
    pub fn new(config: watch::Receiver<PortalConfig>, backend: B) -> Self {
        let limits = config.borrow().limits.clone();
        let (stop, stopping) = watch::channel(false);
        let (crowd, pace) = (Crowd::new(&limits), RefCell::new(Pace::new(&limits)));
        let desk = Rc::new(desk::Desk::new(backend, config, stopping, crowd.clone()));
        Self { desk, stop, crowd, pace, limits }
    }

    /// Serves the requests of one connection until it is over.
    pub async fn converse<S, L>(&self, stream: S, ends: Ends<L>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        L: Fn(&S) -> Option<IpAddr>,
    {
        let line = self.line(State::Waiting);
        let limits = self.desk.config().limits.clone();
        let conversation = pin!(exchange::converse(self.desk.clone(), stream, ends, line.clone(), &limits));
        until_over(&line, limits.idle, conversation).await;
    }

    fn line(&self, state: State) -> Rc<Line> {
        let now = Instant::now();
        Rc::new(Line::new(now, now + self.desk.config().limits.connection, state))
    }

    /// Takes connections in, for ever.
    async fn welcome(self: &Rc<Self>, listener: &TcpListener, certificate: Option<&Certificate>) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let tls = match certificate.map(|certificate| certificate.borrow().clone()) {
                        None => None,
                        Some(Some(config)) => Some(config),
                        Some(None) => continue, // the connection is closed: there is no certificate to answer with
                    };
                    let peer = peer.ip().to_canonical();
                    let device = match self.desk.backend.device_heard(peer) {
                        None => self.desk.backend.device_of(peer).await,
                        heard => heard,
                    };
                    let who = device.map_or(Who::Address(peer), Who::Device);
                    let tls = match tls {
                        None => None,
                        Some(config) => match self.pace.borrow_mut().turn(who, Instant::now()) {
                            Some(turn) => Some(Agreement { config, turn }),
                            None => continue, // it has had more than its share: before it takes a place of anybody's
                        },
                    };
                    self.crowd.room(tls.is_some()).await;
                    let (secure, line) = match &tls {
                        Some(_) => (true, self.line(State::Agreeing)),
                        None => (false, self.line(State::Waiting)),
                    };
                    let Some(guest) = self.crowd.enter(who, line.clone(), secure) else {
                        if secure {
                            self.pace.borrow_mut().give_back(who);
                        }
                        continue;
                    };
                    let portal = self.clone();
                    tokio::task::spawn_local(async move {
                        // In a box: the task itself is moved again and again while it is made and when it ends.
                        let idle = portal.desk.config().limits.idle;
                        let mut conversation = Box::pin(portal.connection(stream, peer, tls, line.clone()));
                        until_over(&line, idle, conversation.as_mut()).await;
                        drop(guest);
                    });
                }
                Err(cause) => {
                    log::warn!("portal: no connection can be accepted: {cause}");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// The same for HTTPS, where there is any.
    async fn welcome_securely(self: &Rc<Self>, secure: Option<&Secure>) {
        let Some(secure) = secure else { return std::future::pending().await };
        self.welcome(&secure.listener, Some(&secure.config)).await;
    }

    async fn connection(&self, stream: TcpStream, peer: IpAddr, tls: Option<Agreement>, line: Rc<Line>) {
        let limits = self.desk.config().limits.clone();
        let ends = Ends { peer, local: Stream::local, secure: tls.is_some() };
        let stream = match tls {
            None => Some(Stream::Plain(stream)),
            Some(agreement) => secure::agreed(stream, agreement, &limits).await,
        };
        if let Some(stream) = stream {
            exchange::converse(self.desk.clone(), stream, ends, line, &limits).await;
        }
    }
}

/// Serves the portal until `shutdown`; then lets answers under way finish, [`Limits::stop`] at most.
///
/// To be called inside a `LocalSet`. It does not fail: what goes wrong with one client is that client's, and a machine
/// that has no file descriptor left gets a moment's rest.
pub async fn serve<B: Backend>(
    doors: impl Into<Doors>,
    config: watch::Receiver<PortalConfig>,
    backend: B,
    shutdown: impl Future<Output = ()>,
) {
    let doors = doors.into();
    for door in std::iter::once(&doors.plain).chain(doors.secure.as_ref().map(|secure| &secure.listener)) {
        answer_at_once(door);
    }
    let portal = Rc::new(Portal::new(config, backend));
    tokio::select! {
        () = shutdown => {}
        () = portal.welcome(&doors.plain, None) => {}
        () = portal.welcome_securely(doors.secure.as_ref()) => {}
    }
    drop(doors);
    portal.stop.send_replace(true);
    if timeout(portal.limits.stop, portal.crowd.emptied()).await.is_err() {
        log::info!("portal: {} connections were cut off", portal.crowd.len());
    }
}

/// Without this an answer waits for the client's acknowledgement of the one before: 44 ms instead of 0.2. Linux gives it on to each connection
/// that comes in by the door.
fn answer_at_once(door: &TcpListener) {
    if let Err(cause) = setsockopt(door, TcpNoDelay, &true) {
        log::warn!("portal: answers will be slow: {cause}");
    }
}

/// Carries on with a connection until its time is over, or another one needs its place.
async fn until_over(line: &Line, idle: Duration, mut conversation: Pin<&mut impl Future<Output = ()>>) {
    let overdue = async {
        loop {
            let (now, over) = (Instant::now(), line.over());
            if over <= now {
                return;
            }
            // The end may be put off while we sleep, and no request waited for any more, or for longer: to look again then is cheaper than to
            // set a timer for each. It comes nearer by a wait for a request alone, and those are no shorter than this.
            let next = if line.state() == State::Streaming { over } else { over.min(now + idle) };
            Box::pin(sleep_until(next)).await;
        }
    };
    tokio::select! {
        biased;
        () = poll_fn(|context| restart::within(Part::Request, || conversation.as_mut().poll(context))) => {}
        () = overdue => {}
        () = line.cutting() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_from_their_door_that_answers_leave_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
            answer_at_once(&door);
            let _client = TcpStream::connect(door.local_addr().unwrap()).await.unwrap();
            assert!(door.accept().await.unwrap().0.nodelay().unwrap());
        });
    }

    #[test]
    fn where_captive_devices_are_sent() {
        for (host, port, url) in [
            ("portal.lan", 8088, "http://portal.lan:8088/"),
            ("portal.lan", 80, "http://portal.lan/"),
            ("fd00::1", 8088, "http://[fd00::1]:8088/"),
        ] {
            let config = PortalConfig {
                name: "x".to_owned(),
                site: Arc::new(Site::new(Own::default())),
                host: host.to_owned(),
                port,
                https: None,
                limits: Limits::default(),
            };
            assert_eq!((config.url(), config.url_of(true)), (url.to_owned(), url.to_owned()));
        }
    }
}
