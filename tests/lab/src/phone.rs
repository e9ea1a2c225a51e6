//! A phone: a real host on the customers' LAN, with DHCP, DNS, HTTP and traffic of its own.

use crate::dns::{self, Kind};
use crate::http::{self, Response};
use crate::net::Namespace;
use crate::tool;
use crate::wait::until;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a phone waits for an answer that should come.
const ANSWER: Duration = Duration::from_secs(15);

/// What DHCP gave.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The phone's address.
    pub address: Ipv4Addr,
    /// The way out.
    pub router: Ipv4Addr,
    /// Whom it asks for names.
    pub dns: Ipv4Addr,
    /// How long it may keep the address, in seconds.
    pub seconds: u64,
    /// Option 114 (RFC 8910): where the captive portal's API is.
    pub portal_api: Option<String>,
}

/// A phone.
pub struct Phone {
    /// What it is called.
    pub name: String,
    /// Where it lives.
    pub namespace: Namespace,
    /// Its hardware address.
    pub mac: String,
    folder: PathBuf,
    lease: Mutex<Option<Lease>>,
}

impl Phone {
    /// A phone in that namespace, which has an `eth0` with this hardware address. It has joined nothing yet.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn new(name: &str, namespace: Namespace, mac: &str, folder: &Path) -> Result<Self> {
        let script = folder.join("udhcpc.sh");
        if !script.exists() {
            // Written aside and moved: another phone may run it at this moment.
            let new = folder.join(format!("udhcpc.{name}"));
            std::fs::write(&new, include_str!("udhcpc.sh"))?;
            std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
            std::fs::rename(&new, &script)?;
        }
        Ok(Self { name: name.to_owned(), namespace, mac: mac.to_owned(), folder: folder.to_owned(), lease: Mutex::new(None) })
    }

    /// Joins the Wi-Fi: the link comes up, DHCP gives an IPv4 address, the router's advertisement an IPv6 one.
    ///
    /// # Errors
    /// When it gets none.
    pub fn try_join(&self) -> Result<Lease> {
        self.namespace.ip(&["link", "set", "eth0", "up"])?;
        let file = self.folder.join(format!("lease.{}", self.name));
        let _ = std::fs::remove_file(&file);
        let script = self.folder.join("udhcpc.sh");
        let args = ["-i", "eth0", "-f", "-q", "-n", "-t", "20", "-T", "1", "-O", "114", "-s"].map(str::to_owned);
        let mut command = self.namespace.command(&tool::path("udhcpc")?, &args)?;
        // What it calls itself.
        command
            .arg(script)
            .args(["-x", &format!("hostname:{}", self.name)])
            .env("LEASE_FILE", &file)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let output = command.output()?;
        if !output.status.success() {
            bail!("{} got no address: {}", self.name, String::from_utf8_lossy(&output.stderr));
        }
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("udhcpc left no lease: {}", String::from_utf8_lossy(&output.stderr)))?;
        let line = |n: usize| text.lines().nth(n).and_then(|l| l.split(' ').next()).unwrap_or_default();
        let lease = Lease {
            address: line(0).parse().context("the lease's address")?,
            router: line(1).parse().context("the lease's router")?,
            dns: line(2).parse().context("the lease's DNS server")?,
            seconds: line(3).parse().context("the lease's length")?,
            portal_api: from_hex(line(5)),
        };
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease.clone());
        until(&format!("an IPv6 address for {} by router advertisement", self.name), ANSWER, || self.address6())?;
        Ok(lease)
    }

    /// As [`Phone::try_join`]; stops the test when it fails.
    pub fn join(&self) -> Lease {
        self.try_join().unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Leaves the Wi-Fi: the link is down, the address forgotten.
    pub fn leave(&self) {
        self.namespace.ip(&["link", "set", "eth0", "down"]).unwrap_or_else(|e| panic!("{e:#}"));
        self.namespace.ip(&["addr", "flush", "dev", "eth0"]).unwrap_or_else(|e| panic!("{e:#}"));
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Its lease.
    ///
    /// # Panics
    /// When it has not joined.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_else(|| panic!("{} has not joined", self.name))
    }

    /// Its global IPv6 address, if it has one that can be used already.
    #[must_use]
    pub fn address6(&self) -> Option<Ipv6Addr> {
        let text = self.namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/if_inet6")).ok()?;
        text.lines().find_map(|line| {
            let mut fields = line.split_whitespace();
            let digits = fields.next()?;
            let (scope, flags) = (fields.nth(2)?, u8::from_str_radix(fields.next()?, 16).ok()?);
            let tentative = flags & 0x40 != 0;
            (line.ends_with("eth0") && scope == "00" && !tentative)
                .then(|| u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from_bits))
                .flatten()
        })
    }

    /// Asks the router's DNS.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn resolve(&self, name: &str, kind: Kind) -> Result<Vec<IpAddr>> {
        static ID: AtomicU64 = AtomicU64::new(1);
        let server = self.lease().dns;
        let socket = self.udp(false)?;
        for _ in 0..3 {
            let id = ID.fetch_add(1, Ordering::Relaxed) as u16;
            socket.send_to(&dns::query(id, name, kind), (server, 53))?;
            socket.set_read_timeout(Some(Duration::from_secs(3)))?;
            let mut answer = [0; 1500];
            if let Ok((length, _)) = socket.recv_from(&mut answer) {
                return dns::addresses(id, &answer[..length]).with_context(|| format!("{name} at {server}"));
            }
        }
        bail!("{server} did not answer for {name}")
    }

    /// A TCP connection from the phone.
    ///
    /// # Errors
    /// When it is refused, or nobody answers within `limit`.
    pub fn connect(&self, address: SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
        let stream = self.namespace.run(|| TcpStream::connect_timeout(&address, limit))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(stream)
    }

    /// An unbound UDP socket on the phone.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn udp(&self, six: bool) -> std::io::Result<UdpSocket> {
        let any: IpAddr = if six { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        self.namespace.run(|| UdpSocket::bind((any, 0)))
    }

    /// Whether a datagram to that echo service comes back within `limit`.
    #[must_use]
    pub fn udp_echo(&self, address: SocketAddr, limit: Duration) -> bool {
        let Ok(socket) = self.udp(address.is_ipv6()) else { return false };
        let mut answer = [0; 64];
        socket.set_read_timeout(Some(limit)).is_ok()
            && socket.send_to(b"anybody there?", address).is_ok()
            && socket.recv_from(&mut answer).is_ok_and(|(length, from)| &answer[..length] == b"anybody there?" && from == address)
    }

    /// Whether a TCP connection to that echo service comes about and carries something.
    #[must_use]
    pub fn tcp_echo(&self, address: SocketAddr, limit: Duration) -> bool {
        let Ok(mut stream) = self.connect(address, limit) else { return false };
        let mut answer = [0; 5];
        stream.set_read_timeout(Some(limit)).is_ok()
            && stream.write_all(b"hello").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && &answer == b"hello"
    }

    /// Whether an ICMP echo comes back within a second.
    #[must_use]
    pub fn ping(&self, address: IpAddr) -> bool {
        self.namespace.exec("ping", &["-c", "1", "-W", "1", &address.to_string()]).is_ok()
    }

    /// An HTTP request, as a browser would make it: the name is looked up in the router's DNS, IPv4.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn http(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
        let rest = url.strip_prefix("http://").with_context(|| format!("{url} is not http"))?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let address = self.address_of(authority)?;
        let mut all = vec![("host", authority), ("user-agent", "Mozilla/5.0 (Linux; Android 14; Lab)"), ("connection", "close")];
        all.extend(headers);
        let stream = self.connect(address, ANSWER).with_context(|| format!("{} to {address}", self.name))?;
        http::exchange(stream, &http::request(method, path, &all, body), method == "HEAD").with_context(|| format!("{method} {url}"))
    }

    /// Sends these bytes there, and gives back what came until the connection was closed, byte for byte.
    ///
    /// # Errors
    /// When nobody answers, or nobody closes it.
    pub fn exchange(&self, address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut stream = self.connect(address, ANSWER).with_context(|| format!("{} to {address}", self.name))?;
        stream.write_all(bytes)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).with_context(|| format!("{address} sent {}", String::from_utf8_lossy(&answer)))?;
        Ok(answer)
    }

    /// Looks up `HOST` or `HOST:PORT` as a browser would.
    ///
    /// # Errors
    /// When the name is not known.
    pub fn address_of(&self, authority: &str) -> Result<SocketAddr> {
        if let Ok(address) = authority.parse() {
            return Ok(address);
        }
        let (host, port) = authority.rsplit_once(':').and_then(|(h, p)| Some((h, p.parse().ok()?))).unwrap_or((authority, 80));
        let ip = match host.parse() {
            Ok(ip) => ip,
            Err(_) => self.resolve(host, Kind::A)?.first().copied().with_context(|| format!("{host} has no address"))?,
        };
        Ok(SocketAddr::new(ip, port))
    }

    /// Downloads so many bytes from the internet host; gives back how many came.
    ///
    /// # Errors
    /// When not even an answer came.
    pub fn download(&self, bytes: usize, patience: Duration) -> Result<usize> {
        let mut stream = self.connect(SocketAddr::from((crate::internet::HOST4, 80)), patience)?;
        stream.set_read_timeout(Some(patience))?;
        let target = format!("/bytes/{bytes}");
        stream.write_all(&http::request("GET", &target, &[("host", crate::internet::NAME), ("connection", "close")], b""))?;
        let mut reader = std::io::BufReader::new(stream);
        let (status, headers) = http::read_response_head(&mut reader)?;
        if status != 200 {
            bail!("status {status} {headers:?}");
        }
        let mut got = 0;
        let mut block = vec![0; 64 * 1024];
        // An end in the middle (reset, or silence) is what a used-up package looks like: the sum is the answer.
        while let Ok(length @ 1..) = reader.read(&mut block) {
            got += length;
        }
        Ok(got)
    }

    /// Starts sending a numbered datagram to the internet host each millisecond.
    ///
    /// # Panics
    /// When the phone has no socket.
    #[must_use]
    pub fn probe(&self, six: bool) -> Probe {
        static ID: AtomicU64 = AtomicU64::new(1);
        let id = ID.fetch_add(1, Ordering::Relaxed);
        let socket = self.udp(six).expect("a socket");
        let host: IpAddr = if six { crate::internet::HOST6.into() } else { crate::internet::HOST4.into() };
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (stopped, times) = (stop.clone(), sent.clone());
        let thread = std::thread::spawn(move || {
            let mut number: u64 = 0;
            while !stopped.load(Ordering::Relaxed) {
                let now = Instant::now();
                // Datagrams that the router refuses are part of the measurement.
                let _ = socket.send_to(&[id.to_be_bytes(), number.to_be_bytes()].concat(), (host, crate::internet::SINK));
                times.lock().unwrap_or_else(PoisonError::into_inner).push(now);
                number += 1;
                std::thread::sleep(Duration::from_millis(1)); // the pace, not a wait
            }
        });
        Probe { id, stop, sent, thread: Some(thread) }
    }
}

fn from_hex(digits: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = (0..digits.len() / 2).map(|i| u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok()).collect();
    String::from_utf8(bytes?).ok().filter(|text| !text.is_empty())
}

/// A stream of numbered datagrams, one a millisecond; it ends when dropped.
pub struct Probe {
    /// Its number, by which [`crate::internet::Internet`] knows its datagrams.
    pub id: u64,
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    /// When each datagram was sent; the index is its number.
    #[must_use]
    pub fn sent(&self) -> Vec<Instant> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops sending.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Probe and number of a probe's datagram.
#[must_use]
pub fn parse_probe(datagram: &[u8]) -> Option<(u64, u64)> {
    let (probe, number) = datagram.split_at_checked(8)?;
    Some((u64::from_be_bytes(probe.try_into().ok()?), u64::from_be_bytes(number.try_into().ok()?)))
}
