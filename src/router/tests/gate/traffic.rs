//! Traffic for the gate's tests, by ordinary sockets.

use crate::world::{Host, World};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(300);

pub fn socket_address(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), port)
}

fn any(like: SocketAddr) -> SocketAddr {
    SocketAddr::new(if like.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) }, 0)
}

/// A UDP socket that drops nothing by itself: on a slow machine its reader may not run for a while, and what it loses then would
/// look like a loss on the way.
fn patient(bound: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(bound).unwrap();
    setsockopt(&socket, RcvBufForce, &(8 << 20)).unwrap();
    socket
}

/// A UDP socket that sends to and hears from one place only.
pub fn udp_to(to: SocketAddr) -> UdpSocket {
    let socket = patient(any(to));
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(SHORT)).unwrap();
    socket
}

/// Sends until the answer or the refusal comes: gives what was answered, or why it was refused.
pub fn udp_ask(to: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = udp_to(to);
    let mut buffer = [0; 65536];
    socket.send(question)?;
    let length = socket.recv(&mut buffer)?;
    Ok(buffer[..length].to_vec())
}

/// The first words that a TCP server says.
pub fn tcp_ask(to: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Whether an attempt was answered by a refusal, and not by silence.
pub fn refused<T: std::fmt::Debug>(result: &io::Result<T>) -> bool {
    match result {
        Ok(_) => false,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// A server beside the test, until dropped.
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Datagrams, or connections.
    pub served: Arc<AtomicU64>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Server {
    /// Sends every datagram back, with its own name before it.
    pub fn udp(world: &World, host: Host, address: SocketAddr, name: &'static str) -> Self {
        let socket = world.within(host, || patient(address));
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self::run(world, host, move |stop, served| {
            let mut buffer = [0; 65536];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    served.fetch_add(1, Ordering::Relaxed);
                    let _ = socket.send_to(&[name.as_bytes(), &buffer[..length]].concat(), from);
                }
            }
        })
    }

    /// Says its name to everyone who connects, and hangs up.
    pub fn tcp(world: &World, host: Host, address: SocketAddr, name: &'static str) -> Self {
        let listener = world.within(host, || TcpListener::bind(address).unwrap());
        listener.set_nonblocking(true).unwrap();
        Self::run(world, host, move |stop, served| {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((mut stream, _)) => {
                        served.fetch_add(1, Ordering::Relaxed);
                        let _ = stream.write_all(name.as_bytes());
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        })
    }

    fn run(world: &World, host: Host, act: impl FnOnce(&AtomicBool, &AtomicU64) + Send + 'static) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop_too, served_too) = (stop.clone(), served.clone());
        let thread = world.spawn(host, move || act(&stop_too, &served_too));
        Self { stop, thread: Some(thread), served }
    }

    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

/// A phone that sends numbered datagrams at an even pace to a server that sends them back, and notes what came back.
pub struct Stream {
    stop: Arc<AtomicBool>,
    every: Duration,
    sender: Option<JoinHandle<(Instant, u64)>>,
    receiver: Option<JoinHandle<Vec<(u64, Instant)>>>,
}

/// What a stream was.
pub struct Streamed {
    /// When the first was sent; each of the others was not sent before it was due.
    pub begun: Instant,
    pub every: Duration,
    pub sent: u64,
    /// Numbers that came back, and when.
    pub back: Vec<(u64, Instant)>,
}

impl Stream {
    pub fn start(world: &World, host: Host, to: SocketAddr, every: Duration, size: usize) -> Self {
        let socket = world.within(host, || udp_to(to));
        let stop = Arc::new(AtomicBool::new(false));
        let (sending, stopped) = (socket.try_clone().unwrap(), stop.clone());
        let sender = world.spawn(host, move || {
            let begun = Instant::now();
            let mut number = 0u64;
            let mut datagram = vec![0; size];
            while !stopped.load(Ordering::Relaxed) {
                datagram[..8].copy_from_slice(&number.to_be_bytes());
                let _ = sending.send(&datagram);
                number += 1;
                let due = every * u32::try_from(number).unwrap();
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            (begun, number)
        });
        let stopped = stop.clone();
        let receiver = world.spawn(host, move || {
            let mut back = Vec::new();
            let mut buffer = [0; 65536];
            loop {
                match socket.recv(&mut buffer) {
                    // The server's name is one byte long in these streams.
                    Ok(length) if length >= 9 => back.push((u64::from_be_bytes(buffer[1..9].try_into().unwrap()), Instant::now())),
                    // Quiet for as long as a receive may take, after the end: nothing is under way any more.
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock) && stopped.load(Ordering::Relaxed) => return back,
                    _ => {}
                }
            }
        });
        Self { stop, every, sender: Some(sender), receiver: Some(receiver) }
    }

    pub fn stop(mut self) -> Streamed {
        self.stop.store(true, Ordering::Relaxed);
        let (begun, sent) = self.sender.take().unwrap().join().unwrap();
        Streamed { begun, every: self.every, sent, back: self.receiver.take().unwrap().join().unwrap() }
    }
}

impl Streamed {
    pub fn lost(&self) -> Vec<u64> {
        let back: std::collections::BTreeSet<u64> = self.back.iter().map(|(number, _)| *number).collect();
        (0..self.sent).filter(|number| !back.contains(number)).collect()
    }

    /// How many came back of those that were sent after this moment.
    pub fn passed_after(&self, moment: Instant) -> usize {
        self.back.iter().filter(|(number, _)| self.due(*number) > moment).count()
    }

    /// How many did not.
    pub fn lost_after(&self, moment: Instant) -> usize {
        self.lost().into_iter().filter(|number| self.due(*number) > moment).count()
    }

    fn due(&self, number: u64) -> Instant {
        self.begun + self.every * u32::try_from(number).unwrap()
    }
}

/// A TCP connection between a phone and the internet host, both ends in hand.
pub fn connection(world: &World, phone: Host, server: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = world.within(Host::Internet, || TcpListener::bind(server).unwrap());
    let near = world.within(phone, || TcpStream::connect_timeout(&server, Duration::from_secs(2)).unwrap());
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.set_nodelay(true).unwrap();
    }
    (near, far)
}

/// Whether a TCP connection's end has learnt that it was reset.
pub fn is_reset(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    matches!(stream.read(&mut byte), Err(e) if e.kind() == ErrorKind::ConnectionReset)
}
