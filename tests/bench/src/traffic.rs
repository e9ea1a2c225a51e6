//! Streams of small packets, and who notes when they arrive.

use crate::device::{Device, INTERNET, parse};
use crate::network::Network;
use anyhow::{Context, Result};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrIn, recvmsg, sendto, setsockopt, socket, sockopt,
};
use std::collections::HashMap;
use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where probes go.
pub const PORT: u16 = 7_000;

/// How often those who wait for the end look whether it has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The time of day, by the clock that the kernel stamps packets with.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A socket that sends frames as they are.
pub struct Frames {
    socket: OwnedFd,
    to: LinkAddr,
}

impl Frames {
    /// On the crowd's interface.
    ///
    /// # Errors
    /// When the rights are missing.
    pub fn open(network: &Network) -> Result<Self> {
        network.crowd.run(|| {
            let interfaces = nix::ifaddrs::getifaddrs().context("the crowd's interfaces")?;
            let link = interfaces.filter(|i| i.flags.contains(InterfaceFlags::IFF_UP) && i.interface_name == "eth0");
            let to = link.filter_map(|i| i.address?.as_link_addr().copied()).next().context("the crowd has no interface")?;
            // Of no protocol: it only sends.
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).context("a socket for frames")?;
            Ok(Self { socket, to })
        })
    }

    /// Sends one.
    ///
    /// # Errors
    /// When the system refuses; a full queue is waited for.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        sendto(self.socket.as_raw_fd(), frame, &self.to, MsgFlags::empty()).context("sending a frame").map(drop)
    }
}

/// A device that sends numbered datagrams at an even pace, on a thread of its own, until it is dropped.
pub struct Stream {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Stream {
    /// Begins. `probe` tells its datagrams from others'.
    ///
    /// # Errors
    /// As [`Frames::open`].
    pub fn start(network: &Network, device: Device, probe: u32, every: Duration) -> Result<Self> {
        let frames = Frames::open(network)?;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), sent.clone());
        let thread = std::thread::spawn(move || {
            // Sleeps end when they should, not up to 50 µs later.
            nix::sys::prctl::set_timerslack(1)?;
            let begun = Instant::now();
            for number in 0u64.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                frames.send(&device.frame(PORT, probe, number))?;
                counted.store(number + 1, Ordering::Release);
                let due = every.mul_f64((number + 1) as f64);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            Ok(())
        });
        Ok(Self { stop, sent, thread: Some(thread) })
    }

    /// How many it has sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Ends it; how many it sent in all.
    ///
    /// # Errors
    /// When sending failed meanwhile.
    pub fn stop(mut self) -> Result<u64> {
        self.end()?;
        Ok(self.sent())
    }

    fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Numbers of a probe's datagrams, and when the kernel received them.
type Arrivals = HashMap<u32, Vec<(u64, Duration)>>;

/// The internet host's end of the streams.
pub struct Sink {
    arrivals: Arc<Mutex<Arrivals>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Listens.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub fn start(network: &Network) -> Result<Self> {
        let socket = network.internet.run(|| UdpSocket::bind((INTERNET, PORT))).context("the internet host's socket")?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).context("stamps of the kernel's clock")?;
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        let (arrivals, stop) = (Arc::new(Mutex::new(Arrivals::new())), Arc::new(AtomicBool::new(false)));
        let (noted, stopped) = (arrivals.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some((probe, number, at)) = receive(&socket) {
                    lock(&noted).entry(probe).or_default().push((number, at));
                }
            }
        });
        Ok(Self { arrivals, stop, thread: Some(thread) })
    }

    /// When the probe's first datagram arrived.
    pub fn first(&self, probe: u32) -> Option<Duration> {
        lock(&self.arrivals).get(&probe).and_then(|all| all.iter().map(|(_, at)| *at).min())
    }

    /// How many different datagrams of the probe arrived.
    pub fn count(&self, probe: u32) -> u64 {
        let numbers = lock(&self.arrivals).get(&probe).map(|all| all.iter().map(|(n, _)| *n).collect::<std::collections::HashSet<_>>());
        numbers.unwrap_or_default().len() as u64
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(arrivals: &Mutex<Arrivals>) -> MutexGuard<'_, Arrivals> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn receive(socket: &UdpSocket) -> Option<(u32, u64, Duration)> {
    let mut bytes = [0; 64];
    let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).ok()?;
    let stamp = received.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
        _ => None,
    });
    let length = received.bytes;
    let (probe, number) = parse(bytes.get(..length)?)?;
    Some((probe, number, stamp?))
}
