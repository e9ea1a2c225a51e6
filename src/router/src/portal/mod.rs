//! The captive portal: HTTP for customers' phones, and the pages that they see (docs/portal.md).
//!
//! The daemon implements [`Backend`] and runs [`serve`] on the current-thread runtime, inside a `LocalSet` (connections
//! are `spawn_local` tasks; a panic in one costs that connection and nothing else). What of the config the portal needs
//! comes as [`PortalConfig`] through a watch channel, so that a SIGHUP takes effect with the next request. A name
//! (`portal_host`) and an address are the same to it: it answers at the address at which it was reached, too.
//!
//! | file | what it does |
//! | --- | --- |
//! | `head`, `route` | pure: what a request says and asks |
//! | `desk` | asks the backend, and sends each request to its call or page |
//! | `api`, `pages`, `events` | the calls, the pages, the event stream |
//! | `site`, `view`, `template`, `language`, `top`, `gzip`, `reply` | pure: pages and answers from values |
//! | `colour`, `logo`, `overrides` | pure: what an operator may put in our place |
//! | `own` | reads it from its files |
//! | `exchange`, `socket` | picoserve: one request, one connection |
//! | `stream`, `secure` | a connection, plain or by TLS; how TLS begins |

mod api;
pub mod colour;
mod desk;
mod events;
mod exchange;
mod gzip;
pub mod head;
pub mod language;
mod logo;
mod overrides;
pub mod own;
mod pages;
mod reply;
pub mod route;
mod secure;
mod site;
mod socket;
mod stream;
mod template;
mod top;
mod view;

pub use secure::Secure;
pub use site::{Own, Site};
pub use top::TEXTS;

use lango_core::request::{Answer, Request};
use lango_core::tree::BTreeMap;
use lango_core::units::{Mac, OrderId};
use rustls::ServerConfig;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use stream::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What the portal needs of the rest of the program.
pub trait Backend: 'static {
    /// The core's answer. [`lango_core::request::Refusal::NotStored`] where the daemon is stopping.
    fn ask(&self, request: Request) -> impl Future<Output = Answer>;
    /// The device that has this address on the customers' LAN; none where no neighbour has it.
    fn device_of(&self, address: IpAddr) -> impl Future<Output = Option<Mac>>;
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
    /// Connections at once. Read when the portal starts.
    pub connections: usize,
    /// Connections at once of one address; more are closed unanswered. Read when the portal starts.
    pub per_address: usize,
    /// Of `connections`, those over HTTPS: each costs more memory. Read when the portal starts.
    pub secure_connections: usize,
    /// For a client to agree on TLS, all in all.
    pub handshake: Duration,
    /// For a whole request to arrive, from its first byte.
    pub read: Duration,
    /// For a request to begin, on a new connection and on a kept one.
    pub idle: Duration,
    /// A connection that is older than this may have been made before its device was online.
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
    let limits = config.borrow().limits.clone();
    let (stop, stopping) = watch::channel(false);
    let places = Arc::new(Semaphore::new(limits.connections));
    let desk = Rc::new(desk::Desk::new(backend, config, stopping, places.clone(), limits.connections));
    let hall = Hall { desk, crowd: Crowd::default(), places: places.clone() };
    tokio::select! {
        () = shutdown => {}
        () = hall.welcome(&doors.plain, None, &limits) => {}
        () = hall.welcome_securely(doors.secure.as_ref(), &limits) => {}
    }
    drop(doors);
    stop.send_replace(true);
    // A place is given back when its connection ends, so all of them together are the end of all.
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    if timeout(limits.stop, places.acquire_many(all)).await.is_err() {
        log::info!("portal: {} connections were cut off", limits.connections.saturating_sub(places.available_permits()));
    }
}

/// What all connections share, by whichever door they came.
struct Hall<B> {
    desk: Rc<desk::Desk<B>>,
    crowd: Crowd,
    places: Arc<Semaphore>,
}

/// What a door that speaks TLS has besides.
type Inner<'a> = (&'a watch::Receiver<Option<Arc<ServerConfig>>>, Arc<Semaphore>);

impl<B: Backend> Hall<B> {
    /// Takes connections in, for ever.
    async fn welcome(&self, listener: &TcpListener, inner: Option<Inner<'_>>, limits: &Limits) {
        loop {
            let secure_place = match &inner {
                Some((_, places)) => places.clone().acquire_owned().await.ok(),
                None => None,
            };
            match accept(listener, &self.places).await {
                Ok((stream, peer, place)) => {
                    let tls = match &inner {
                        None => None,
                        Some((config, _)) => match &*config.borrow() {
                            Some(config) => Some(config.clone()),
                            None => continue, // the connection is closed: there is no certificate to answer with
                        },
                    };
                    if let Some(guest) = self.crowd.enter(peer.ip().to_canonical(), limits.per_address) {
                        let desk = self.desk.clone();
                        tokio::task::spawn_local(async move {
                            connection(desk, stream, peer, tls).await;
                            drop((place, secure_place, guest));
                        });
                    }
                }
                Err(cause) => {
                    log::warn!("portal: no connection can be accepted: {cause}");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// The same for HTTPS, where there is any.
    async fn welcome_securely(&self, secure: Option<&Secure>, limits: &Limits) {
        let Some(secure) = secure else { return std::future::pending().await };
        let places = Arc::new(Semaphore::new(limits.secure_connections));
        self.welcome(&secure.listener, Some((&secure.config, places)), limits).await;
    }
}

/// The place comes first: who finds none waits in the kernel's queue, and costs us nothing there.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

async fn connection<B: Backend>(desk: Rc<desk::Desk<B>>, stream: TcpStream, peer: SocketAddr, tls: Option<Arc<ServerConfig>>) {
    let limits = desk.config().limits.clone();
    let Ok(local) = stream.local_addr() else { return };
    // Without it each answer waits for the client's acknowledgement of the one before: 44 ms instead of 0.2.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let line = Rc::new(socket::Line::new(Instant::now() + limits.connection));
    let overdue = async {
        // The end may be put off while we sleep, by a stream of events.
        while Instant::now() < line.end() {
            sleep_until(line.end()).await;
        }
    };
    let conversation = async {
        let stream = match tls {
            None => Some(Stream::Plain(stream)),
            Some(config) => secure::agreed(stream, config, &limits).await,
        };
        if let Some(stream) = stream {
            exchange::converse(desk, stream, peer.ip().to_canonical(), local.ip().to_canonical(), line.clone(), &limits).await;
        }
    };
    tokio::select! {
        () = conversation => {}
        () = overdue => {}
        () = line.cutting() => {}
    }
}

/// Who is connected, and how often.
#[derive(Clone, Default)]
struct Crowd(Rc<RefCell<HashMap<IpAddr, usize>>>);

struct Guest(Crowd, IpAddr);

impl Crowd {
    fn enter(&self, address: IpAddr, most: usize) -> Option<Guest> {
        let mut crowd = self.0.borrow_mut();
        let count = crowd.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Guest(self.clone(), address))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut crowd = self.0.0.borrow_mut();
        if let Some(count) = crowd.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                crowd.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_crowd_of_one_address_is_held_back_and_forgotten() {
        let crowd = Crowd::default();
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = crowd.enter(a, 2);
        let second = crowd.enter(a, 2);
        assert!(first.is_some() && second.is_some() && crowd.enter(a, 2).is_none());
        assert!(crowd.enter(b, 2).is_some(), "a neighbour is not held back");
        drop(first);
        assert!(crowd.enter(a, 2).is_some());
        drop(second);
        assert!(crowd.0.borrow().is_empty());
    }
}
