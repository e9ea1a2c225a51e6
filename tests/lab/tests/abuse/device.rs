//! A bad device: the addresses that it gives itself, how it speaks to the portal, and what it got for it.

use lango_lab::phone::Phone;
use lango_lab::world::{PORTAL_PORT, ROUTER4, ROUTER6};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the portal is called over HTTPS, and its port there.
pub const NAME: &str = "kibera-7.hs.example.org";
pub const SECURE_PORT: u16 = 8443;
/// How long each bad thread rests between two deeds: they share the router's processors here, which real ones do not.
const REST: Duration = Duration::from_millis(6);
/// Further addresses that each bad device gives itself, in IPv4 and in IPv6; in IPv4 such as DHCP gives to nobody.
const ADDRESSES: u8 = 3;
/// Longer than the portal holds anybody who says nothing.
const PATIENCE: i64 = 9;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    Plain,
    Secure,
}

/// What came of a deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// An HTTP answer.
    Status(u16),
    /// The portal ended the connection without an answer.
    Closed,
    /// TLS was agreed on, and nothing more was wanted.
    Agreed,
    /// TLS was not agreed on.
    NotAgreed,
}

/// All that bad devices got, by what they did: none of what is expected may be missing, or the test shows less than it says.
#[derive(Default)]
pub struct Tally(Mutex<BTreeMap<(&'static str, Door, Outcome), u64>>);

impl Tally {
    pub fn count(&self, kind: &'static str, door: Door, outcome: Outcome, times: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((kind, door, outcome)).or_default() += times;
    }

    pub fn of(&self, kind: &'static str, door: Door, outcome: Outcome) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(kind, door, outcome)).copied().unwrap_or_default()
    }

    /// One line a kind and door.
    pub fn told(&self) -> String {
        let (all, mut lines) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), Vec::<(_, String)>::new());
        for ((kind, door, outcome), times) in &*all {
            let word = match outcome {
                Outcome::Status(status) => format!("{status}: {times}"),
                other => format!("{other:?}: {times}"),
            };
            match lines.last_mut().filter(|(of, _)| *of == (kind, door)) {
                Some((_, line)) => *line += &format!(", {word}"),
                None => lines.push(((kind, door), format!("{kind} ({door:?}): {word}"))),
            }
        }
        lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n    ")
    }
}

/// What all bad devices have in common.
pub struct Street {
    pub over: AtomicBool,
    pub tally: Tally,
    pub trust: Arc<ClientConfig>,
}

/// One bad device, which does one kind of thing.
pub struct Bad<'a> {
    pub kind: &'static str,
    pub phone: &'a Phone,
    pub street: &'a Street,
    own: Vec<IpAddr>,
}

impl<'a> Bad<'a> {
    pub fn new(kind: &'static str, number: u8, phone: &'a Phone, street: &'a Street) -> Self {
        let mut own = vec![IpAddr::V4(phone.lease().address)];
        for n in 0..ADDRESSES {
            let four = format!("10.77.0.{}", 3 + number * ADDRESSES + n);
            let six = format!("2001:db8:77::bad:{number}:{n}");
            for words in
                [&["addr", "add", &format!("{four}/24"), "dev", "eth0"][..], &["addr", "add", &format!("{six}/64"), "dev", "eth0", "nodad"]]
            {
                phone.namespace.ip(words).unwrap_or_else(|e| panic!("{e:#}"));
            }
            own.extend([four.parse::<IpAddr>().unwrap(), six.parse().unwrap()]);
        }
        Self { kind, phone, street, own }
    }

    /// Does something over and over from each of its addresses in turn, until the day is over. To be called inside its namespace.
    pub fn again(&self, mut deed: impl FnMut(IpAddr, usize)) {
        for turn in 0.. {
            if self.street.over.load(Ordering::Relaxed) {
                return;
            }
            deed(self.own[turn % self.own.len()], turn);
            std::thread::sleep(REST);
        }
    }

    pub fn count(&self, door: Door, outcome: Outcome) {
        self.street.tally.count(self.kind, door, outcome, 1);
    }

    /// A connection by that door, agreed on TLS where that is spoken there; counted where it did not come about.
    pub fn open(&self, from: IpAddr, door: Door) -> Option<Wire> {
        let agreed = match door {
            Door::Plain => dial(from, PORTAL_PORT).map(Wire::Plain),
            Door::Secure => {
                dial(from, SECURE_PORT).and_then(|stream| agree(&self.street.trust, stream)).map(|wire| Wire::Secure(Box::new(wire)))
            }
        };
        if agreed.is_none() {
            self.count(door, if door == Door::Plain { Outcome::Closed } else { Outcome::NotAgreed });
        }
        agreed
    }

    /// Says something on a connection of its own, and counts what it got.
    pub fn say(&self, from: IpAddr, door: Door, bytes: &[u8]) -> Option<Outcome> {
        let mut wire = self.open(from, door)?;
        // The portal may have heard enough before all of it is said.
        let _cut = wire.write_all(bytes).and_then(|()| wire.flush());
        let outcome = wire.outcome();
        self.count(door, outcome);
        Some(outcome)
    }
}

/// A connection to the portal from one of a device's addresses.
pub fn dial(from: IpAddr, port: u16) -> Option<TcpStream> {
    let (family, to) = match from {
        IpAddr::V4(_) => (AddressFamily::Inet, ROUTER4),
        IpAddr::V6(_) => (AddressFamily::Inet6, ROUTER6),
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).ok()?;
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(PATIENCE)).ok()?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE)).ok()?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0))).ok()?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(to.parse().ok()?, port))).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// Agrees on TLS, and believes the lab's authority alone.
pub fn agree(trust: &Arc<ClientConfig>, mut stream: TcpStream) -> Option<StreamOwned<ClientConnection, TcpStream>> {
    let mut session = client(trust);
    while session.is_handshaking() {
        session.complete_io(&mut stream).ok()?;
    }
    Some(StreamOwned::new(session, stream))
}

pub fn client(trust: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(trust.clone(), NAME.try_into().unwrap()).unwrap()
}

/// Plain, or by TLS.
pub enum Wire {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(stream) => &stream.sock,
        }
    }

    /// What is answered now: a status, or the end.
    pub fn outcome(&mut self) -> Outcome {
        let mut status = [0; 12];
        let read = self.read_exact(&mut status).ok();
        let status = read.and_then(|()| std::str::from_utf8(&status).ok()?.strip_prefix("HTTP/1.1 ")?.parse().ok());
        status.map_or(Outcome::Closed, Outcome::Status)
    }

    /// Whether there is anything to be read: an answer, or the end.
    pub fn has_word(&self) -> bool {
        let tcp = self.tcp();
        tcp.set_nonblocking(true).unwrap();
        let peeked = tcp.peek(&mut [0]);
        tcp.set_nonblocking(false).unwrap();
        !peeked.is_err_and(|cause| cause.kind() == ErrorKind::WouldBlock)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Secure(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Secure(stream) => stream.write(bytes),
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}
