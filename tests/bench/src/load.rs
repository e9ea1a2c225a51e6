//! Who asks a server as fast as it answers: the same for the portal and for what it is compared with.

use crate::plan::Plan;
use anyhow::{Context as _, Result, bail, ensure};
use lango_lab::net::Namespace;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

/// Connections of one phone at most: half of what the portal allows one device, because those of the window before may not have been
/// seen to end when the next ones come.
const OF_ONE_PHONE: usize = 8;

/// Who does not answer for so long does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A way to ask.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// Where the connections come from.
    pub phones: &'a [Namespace],
    /// Where they go.
    pub target: SocketAddrV4,
    /// What is sent on each.
    pub request: &'a [u8],
    /// The status that each answer must have.
    pub status: &'a str,
    /// How many at once.
    pub connections: usize,
    /// Whether one connection carries many requests, one after the other, or each has its own, which the server ends.
    pub kept: bool,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Answered {
    /// Answers a second.
    pub rate: f64,
    /// All answers that came, before and after the window, too.
    pub all: usize,
    /// How long each took, from its sending (from the beginning of its connection, where each has its own) to its last byte.
    pub times: Vec<Duration>,
}

impl Load<'_> {
    /// Asks for a window's time.
    ///
    /// # Errors
    /// When an answer is wrong or missing.
    pub fn run(&self, plan: &Plan) -> Result<Answered> {
        let threads = self.connections.div_ceil(OF_ONE_PHONE).max(2).min(self.phones.len());
        ensure!(self.connections <= threads * OF_ONE_PHONE, "too few phones for {} connections", self.connections);
        let from = Instant::now() + plan.warm;
        let to = from + plan.window;
        let parts: Vec<Result<(Vec<Duration>, usize)>> = std::thread::scope(|scope| {
            let part = |number: usize| {
                let count = self.connections / threads + usize::from(number < self.connections % threads);
                let phone = &self.phones[number];
                scope.spawn(move || phone.run(|| self.ask(count, from, to)))
            };
            let all: Vec<_> = (0..threads).map(part).collect();
            all.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let (times, all): (Vec<_>, Vec<_>) = parts.into_iter().collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let times = times.concat();
        Ok(Answered { rate: times.len() as f64 / plan.window.as_secs_f64(), all: all.iter().sum(), times })
    }

    /// How long each took in the window, and how many there were before and after it, too.
    fn ask(&self, count: usize, from: Instant, to: Instant) -> Result<(Vec<Duration>, usize)> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut all = (0..count).map(|number| self.open(&epoll, number)).collect::<Result<Vec<_>>>()?;
        let (mut times, mut answered, mut events) = (Vec::new(), 0, [EpollEvent::empty(); 64]);
        while Instant::now() < to {
            let ready = epoll.wait(&mut events, EpollTimeout::try_from(PATIENCE)?)?;
            ensure!(ready > 0, "no answer within {PATIENCE:?}");
            for event in &events[..ready] {
                let number = usize::try_from(event.data())?;
                let (took, over) = all[number].goes_on(self)?;
                let now = Instant::now();
                answered += usize::from(took.is_some());
                if let Some(took) = took.filter(|_| now >= from && now < to) {
                    times.push(took);
                }
                if over {
                    all[number] = self.open(&epoll, number)?;
                }
            }
        }
        Ok((times, answered))
    }

    fn open(&self, epoll: &Epoll, number: usize) -> Result<Connection> {
        let began = Instant::now();
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        match connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrIn::from(self.target)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(cause) => bail!("a connection to {}: {cause}", self.target),
        }
        let stream = TcpStream::from(socket);
        // Told once for each change: it can be written to, and then whenever something arrives.
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        epoll.add(&stream, EpollEvent::new(flags, number as u64))?;
        Ok(Connection { stream, began, asked: false, left: None, head: Vec::new() })
    }
}

struct Connection {
    stream: TcpStream,
    began: Instant,
    asked: bool,
    /// Bytes of the answer that are still to come; nothing before its head is there.
    left: Option<usize>,
    head: Vec<u8>,
}

impl Connection {
    /// Asks, or reads what there is. Gives how long an answer took that is whole now, and whether the connection is over.
    fn goes_on(&mut self, load: &Load<'_>) -> Result<(Option<Duration>, bool)> {
        if !self.asked {
            match self.stream.write(load.request) {
                Ok(length) => ensure!(length == load.request.len(), "a request did not fit into an empty socket"),
                Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return Ok((None, false)),
                Err(cause) => bail!("asking {}: {cause}", load.target),
            }
            self.asked = true;
        }
        let (mut bytes, mut took) = ([0; 32 * 1024], None);
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    ensure!(!load.kept && self.left == Some(0), "{} closed a connection in the middle", load.target);
                    return Ok((took, true));
                }
                Ok(length) if self.take(&bytes[..length], load)? => took = Some(self.began.elapsed()),
                Ok(_) => {}
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => break,
                Err(cause) => bail!("an answer of {}: {cause}", load.target),
            }
            if load.kept && took.is_some() {
                // The next one at once: the socket is empty and can be written to, of which no event will tell.
                (self.left, self.began) = (None, Instant::now());
                self.head.clear();
                self.stream.write_all(load.request)?;
                break;
            }
        }
        Ok((took, false))
    }

    /// Takes what arrived; whether the answer is whole.
    fn take(&mut self, bytes: &[u8], load: &Load<'_>) -> Result<bool> {
        let left = match self.left {
            Some(left) => left.checked_sub(bytes.len()),
            None => {
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
                let head = std::str::from_utf8(&self.head[..end]).context("an answer's head is no text")?;
                ensure!(head.starts_with(load.status), "the answer is {head}");
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).context("no Content-Length")?;
                (length.parse::<usize>()? + end + 4).checked_sub(self.head.len())
            }
        };
        self.left = Some(left.context("more came than was asked for")?);
        Ok(left == Some(0))
    }
}
