//! The internet: one host with web, echo and a sink that notes when each datagram arrived.

use crate::http::{self, Reply, Response, Server};
use crate::net::Namespace;
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The host's address, IPv4.
pub const HOST4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// The host's address, IPv6.
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0x10);
/// The host's name, known to the router's DNS.
pub const NAME: &str = "internet.test";
/// Echo, TCP and UDP (RFC 862).
pub const ECHO: u16 = 7;
/// The sink for [`Probe`](crate::phone::Probe)s (RFC 863: discard).
pub const SINK: u16 = 9;
/// Other ports on which it answers (echo): what a phone without a session may try.
pub const OTHERS: [u16; 4] = [22, 53, 443, 8080];

/// What its web server says to whoever asks for a page.
pub const PAGE: &str = "<title>The internet</title><h1>You are on the internet</h1>\n";

/// When each datagram of a probe arrived, by its number.
pub type Arrivals = Vec<(u64, Instant)>;

/// The host.
pub struct Internet {
    /// Where it lives.
    pub namespace: Namespace,
    arrivals: Arc<Mutex<HashMap<u64, Arrivals>>>,
    connections: Arc<AtomicU64>,
    _open: Open,
    _web: Vec<Server>,
}

/// The sockets that threads wait on, and the word that it is over.
#[derive(Default)]
struct Open {
    over: Arc<AtomicBool>,
    datagrams: Vec<UdpSocket>,
    listeners: Vec<TcpListener>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for socket in &self.datagrams {
            // It wakes its reader with a datagram to itself.
            let _ = socket.local_addr().and_then(|me| socket.send_to(b"over", me));
        }
        for listener in &self.listeners {
            // This ends a thread's accept (Linux: EINVAL).
            let _ = nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Internet {
    /// Starts its services in this namespace, which has its addresses.
    ///
    /// # Errors
    /// When a port cannot be had.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let arrivals = Arc::new(Mutex::new(HashMap::new()));
        let connections = Arc::new(AtomicU64::new(0));
        let mut web = Vec::new();
        let mut open = Open::default();
        for host in [IpAddr::V4(HOST4), IpAddr::V6(HOST6)] {
            let udp = |port| namespace.run(|| UdpSocket::bind((host, port))).with_context(|| format!("UDP {host} {port}"));
            let tcp = |port| namespace.run(|| TcpListener::bind((host, port))).with_context(|| format!("TCP {host} {port}"));
            let discard = udp(SINK)?;
            open.datagrams.push(discard.try_clone()?);
            sink(discard, arrivals.clone(), open.over.clone());
            for port in [ECHO].into_iter().chain(OTHERS) {
                let (datagrams, listener) = (udp(port)?, tcp(port)?);
                open.datagrams.push(datagrams.try_clone()?);
                open.listeners.push(listener.try_clone()?);
                echo_udp(datagrams, open.over.clone());
                echo_tcp(listener, connections.clone());
            }
            let counted = connections.clone();
            web.push(http::serve(tcp(80)?, move |request| {
                counted.fetch_add(1, Ordering::Relaxed);
                answer(request)
            }));
        }
        Ok(Self { namespace: namespace.clone(), arrivals, connections, _open: open, _web: web })
    }

    /// When this probe's datagrams arrived, in the order of their arrival.
    #[must_use]
    pub fn arrivals(&self, probe: u64) -> Arrivals {
        lock(&self.arrivals).get(&probe).cloned().unwrap_or_default()
    }

    /// The last arrival of this probe.
    #[must_use]
    pub fn last_arrival(&self, probe: u64) -> Option<(u64, Instant)> {
        lock(&self.arrivals).get(&probe).and_then(|all| all.last().copied())
    }

    /// How many TCP connections (and HTTP requests) it ever took.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Packets that came from the customers' router for anybody but the cloud: IPv4, then IPv6.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub fn packets_from_customers(&self) -> Result<(u64, u64)> {
        let text = self.namespace.exec("nft", &["-j", "list", "counters", "table", "inet", "lab"])?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        let count = |name: &str| {
            let all = json["nftables"].as_array()?;
            all.iter().find(|entry| entry["counter"]["name"] == name)?["counter"]["packets"].as_u64()
        };
        Ok((count("customers4").context("counter customers4")?, count("customers6").context("counter customers6")?))
    }
}

fn answer(request: &http::Request) -> Reply {
    if let Some(answer) = crate::checks::answer(request) {
        return Reply::Answer(answer);
    }
    if request.path() == "/generate_204" {
        return Reply::Answer(Response { status: 204, headers: Vec::new(), body: Vec::new() });
    }
    let Some(length) = request.path().strip_prefix("/bytes/").and_then(|n| n.parse::<usize>().ok()) else {
        return Reply::Answer(Response::new(200, "text/html", PAGE));
    };
    Reply::Raw(Box::new(move |stream| {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        let block = [b'.'; 16 * 1024];
        let mut left = length;
        // A customer whose data runs out does not get it all: that is what tests look at, not an error here.
        let mut result = stream.write_all(head.as_bytes());
        while left > 0 && result.is_ok() {
            let now = left.min(block.len());
            result = stream.write_all(&block[..now]);
            left -= now;
        }
    }))
}

fn sink(socket: UdpSocket, arrivals: Arc<Mutex<HashMap<u64, Arrivals>>>, over: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok(length) = socket.recv(&mut datagram) {
            let now = Instant::now();
            if over.load(Ordering::Relaxed) {
                break;
            }
            if let Some((probe, number)) = crate::phone::parse_probe(&datagram[..length]) {
                lock(&arrivals).entry(probe).or_default().push((number, now));
            }
        }
    });
}

fn echo_udp(socket: UdpSocket, over: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            if over.load(Ordering::Relaxed) {
                break;
            }
            // Echo is best effort, as the network is.
            let _ = socket.send_to(&datagram[..length], from);
        }
    });
}

fn echo_tcp(listener: TcpListener, connections: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            connections.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    });
}
