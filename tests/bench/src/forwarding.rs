//! What the router forwards with the gate, as a part of what it forwards without.

use crate::device::{Device, INTERNET, ROUTER_WAN};
use crate::figures::Samples;
use crate::network::Network;
use crate::plan::Plan;
use crate::traffic::Frames;
use anyhow::{Context as _, Result, ensure};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// TCP connections at a time, over all phones that carry some.
const CONNECTIONS: usize = 16;
/// Where small packets go that are only counted, and those that tell their way back.
const DISCARD: u16 = 7_001;
const RETURN: u16 = 7_002;
const PATIENCE: Duration = Duration::from_secs(5);

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the customers.
    Up,
    /// To the customers.
    Down,
}

/// Both routers, in turn.
pub struct Comparison {
    /// The medians: bits or packets a second.
    pub plain: f64,
    /// The same.
    pub gated: f64,
    /// The median of the ratios of windows next to each other.
    pub ratio: f64,
    /// Where that is in truth, as far as the windows tell ([`Samples::median_between`]).
    pub between: (f64, f64),
}

/// Measures in turn, so that what else the machine does falls on both; and goes on until it is clear whether the ratio is at least `aim`, where there
/// is one and the plan has more rounds.
///
/// # Errors
/// When one of them forwards nothing.
pub fn compare(
    plan: &Plan,
    aim: Option<f64>,
    mut plain: impl FnMut() -> Result<f64>,
    mut gated: impl FnMut() -> Result<f64>,
) -> Result<Comparison> {
    let mut pairs: Vec<(f64, f64)> = Vec::new();
    let ratios = |pairs: &[(f64, f64)]| pairs.iter().filter(|p| p.0 > 0.0).map(|p| p.1 / p.0).collect::<Samples>();
    for round in 0..plan.rounds.max(plan.rounds_at_most) {
        if round >= plan.rounds && round % plan.rounds == 0 {
            let (low, high) = ratios(&pairs).median_between();
            if aim.is_none_or(|aim| high < aim || aim <= low) {
                break;
            }
        }
        // Each goes first as often as the other.
        let pair = if round % 2 == 0 {
            let first = plain()?;
            (first, gated()?)
        } else {
            let first = gated()?;
            (plain()?, first)
        };
        pairs.push(pair);
    }
    // On a machine that does other things as well, one window may pass without a packet; not all of them.
    let sum = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>();
    ensure!(sum(|p| p.0) > 0.0 && sum(|p| p.1) > 0.0, "nothing was forwarded: {pairs:?} (plain, gated)");
    let median = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).collect::<Samples>().median();
    let ratios = ratios(&pairs);
    Ok(Comparison { plain: median(|p| p.0), gated: median(|p| p.1), ratio: ratios.median(), between: ratios.median_between() })
}

/// TCP of that many phones, in bits a second.
///
/// # Errors
/// When a connection cannot be made.
pub fn tcp(network: &Network, phones: usize, direction: Direction, plan: &Plan) -> Result<f64> {
    carry(network, phones, direction, |received| rate(plan, || Ok(received.load(Ordering::Relaxed) * 8)))
}

/// How long the packets of such connections are on average where they arrive, with their Ethernet headers, in bytes.
///
/// # Errors
/// When a connection cannot be made.
pub fn packet_length(network: &Network, phones: usize, direction: Direction, plan: &Plan) -> Result<f64> {
    let arrives_at = if direction == Direction::Up { &network.internet } else { &network.phones[0] };
    carry(network, phones, direction, |_| {
        arrives_at.run(|| {
            std::thread::sleep(plan.warm);
            let before = received()?;
            std::thread::sleep(plan.window);
            let after = received()?;
            ensure!(after.1 > before.1, "nothing arrived");
            Ok((after.0 - before.0) as f64 / (after.1 - before.1) as f64)
        })
    })
}

/// Lets connections of that many phones carry as much as they can while something is measured.
fn carry(network: &Network, phones: usize, direction: Direction, measured: impl FnOnce(&AtomicU64) -> Result<f64>) -> Result<f64> {
    let listener = network.internet.run(|| TcpListener::bind((INTERNET, 0)))?;
    let address = listener.local_addr()?;
    let mut ends = Vec::new();
    for number in 0..CONNECTIONS {
        let phone = &network.phones[number % phones];
        let near = phone.run(|| TcpStream::connect_timeout(&address, PATIENCE)).with_context(|| format!("TCP from {}", phone.name()))?;
        let (far, _) = listener.accept()?;
        ends.push(if direction == Direction::Up { (near, far) } else { (far, near) });
    }
    let received = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (from, to) in &ends {
            scope.spawn(|| send(from));
            scope.spawn(|| receive(to, &received));
        }
        let measured = measured(&received);
        for end in ends.iter().flat_map(|(from, to)| [from, to]) {
            let _reset_already = end.shutdown(std::net::Shutdown::Both);
        }
        measured
    })
}

fn send(mut stream: &TcpStream) {
    let block = vec![b'.'; 128 * 1024];
    while stream.write_all(&block).is_ok() {}
}

fn receive(mut stream: &TcpStream, received: &AtomicU64) {
    let mut block = vec![0; 128 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut block) {
        received.fetch_add(length as u64, Ordering::Relaxed);
    }
}

/// How fast a count grows, in a window.
fn rate(plan: &Plan, count: impl Fn() -> Result<u64>) -> Result<f64> {
    std::thread::sleep(plan.warm);
    let (begun, before) = (Instant::now(), count()?);
    std::thread::sleep(plan.window);
    let grown = count()? - before;
    Ok(grown as f64 / begun.elapsed().as_secs_f64())
}

/// Small packets of all devices in turn, each of another than the one before.
pub struct Spread<'a> {
    network: &'a Network,
    up: Frames,
    frames: Vec<Vec<u8>>,
    down: UdpSocket,
    /// What the router's masquerading made of each device.
    ways_back: Vec<SocketAddr>,
}

impl<'a> Spread<'a> {
    /// Makes each device known to the router's masquerading.
    ///
    /// # Errors
    /// When a device's packet does not come out.
    pub fn prepare(network: &'a Network, devices: &[Device]) -> Result<Self> {
        let (up, down) = (Frames::open(network)?, network.internet.run(|| UdpSocket::bind((INTERNET, RETURN)))?);
        // The discarded ones cost the receiver next to nothing.
        let discard = format!(
            "table ip discard {{
	chain early {{
		type filter hook prerouting priority raw; policy accept;
		udp dport {DISCARD} drop
	}}
}}
delete table ip discard
table ip discard {{
	chain early {{
		type filter hook prerouting priority raw; policy accept;
		udp dport {DISCARD} drop
	}}
}}
"
        );
        network.internet.nft(&discard)?;
        down.set_read_timeout(Some(PATIENCE))?;
        let mut ways_back = Vec::with_capacity(devices.len());
        let mut bytes = [0; 64];
        for device in devices {
            up.send(&device.frame(RETURN, device.0, 0))?;
            let (_, from) = down.recv_from(&mut bytes).with_context(|| format!("no packet of {} came out", device.mac()))?;
            ensure!(from.ip() == ROUTER_WAN, "{from} is not the router");
            ways_back.push(from);
        }
        let frames = devices.iter().map(|device| device.frame(DISCARD, device.0, 0)).collect();
        Ok(Self { network, up, frames, down, ways_back })
    }

    /// Packets a second.
    ///
    /// # Errors
    /// When they cannot be sent or counted.
    pub fn measure(&self, direction: Direction, plan: &Plan) -> Result<f64> {
        let over = AtomicBool::new(false);
        let arrives_at = if direction == Direction::Up { &self.network.internet } else { &self.network.crowd };
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| self.send(direction, &over));
            let rate = arrives_at.run(|| rate(plan, || Ok(received()?.1)));
            over.store(true, Ordering::Relaxed);
            sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            rate
        })
    }

    fn send(&self, direction: Direction, over: &AtomicBool) -> Result<()> {
        let payload = [0; 12];
        match direction {
            Direction::Up => {
                let mut frames = self.frames.iter().cycle().take_while(|_| !over.load(Ordering::Relaxed));
                frames.try_for_each(|frame| self.up.send(frame))
            }
            Direction::Down => {
                let mut ways = self.ways_back.iter().cycle().take_while(|_| !over.load(Ordering::Relaxed));
                ways.try_for_each(|to| self.down.send_to(&payload, to).map(drop)).context("sending down")
            }
        }
    }
}

/// Bytes and packets that `eth0` of this thread's namespace has received.
fn received() -> Result<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).context("there is no eth0")?;
    let mut numbers = line.split_whitespace().map_while(|word| word.parse().ok());
    numbers.next().zip(numbers.next()).with_context(|| format!("/proc/net/dev says {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ratio of each pair by its number; the aim, whether it goes on to the end, and what is made of it.
    #[test]
    fn it_is_measured_until_it_is_clear() {
        // Evenly over 0.08, whatever is left out at the end.
        let spread = |middle: f64| move |pair: u32| middle + f64::from(pair * 37 % 101) * 0.000_8 - 0.04;
        for (middle, aim, pairs) in
            [(1.0, None, 15), (1.0, Some(0.95), 15), (0.9, Some(0.95), 15), (0.97, Some(0.95), 60), (0.95, Some(0.95), 150)]
        {
            let (counted, ratio) = (std::cell::Cell::new(0), spread(middle));
            let gated = || {
                counted.set(counted.get() + 1);
                Ok(ratio(counted.get() - 1))
            };
            let compared = compare(&Plan::FULL, aim, || Ok(1.0), gated).unwrap();
            assert!((compared.ratio - middle).abs() < 0.01, "{middle}: {}", compared.ratio);
            assert!(compared.between.0 <= compared.ratio && compared.ratio <= compared.between.1, "{:?}", compared.between);
            assert_eq!(counted.get(), pairs, "{middle} beside {aim:?}");
        }
    }
}
