//! A phone that has not paid and knows nothing of power cuts: it keeps the addresses that it got, and sends all the time. A counter on the
//! internet's side says whether anything of it ever got out.

use crate::street::Street;
use anyhow::{Context, Result};
use lango_lab::internet::{HOST4, HOST6};
use lango_lab::phone::Phone;
use lango_lab::world::{LAN, ROUTER4};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Nobody else sends there.
const PORT: u16 = 4_999;
/// Between two packets of each kind: a router that forwards for a moment forwards some.
const PACE: Duration = Duration::from_millis(20);
/// Before any address is rewritten or any packet dropped, so that also those count that a firewall, which is not there yet, would have dressed.
const COUNTER: &str = "table inet unpaid {
	counter got_out { }
	chain arrivals {
		type filter hook prerouting priority raw;
		udp dport 4999 counter name \"got_out\"
	}
}";

/// The phone. It sends until it is dropped.
pub struct Unpaid {
    /// Who it is.
    pub phone: Phone,
    sent: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Unpaid {
    /// Joins, and begins to send.
    ///
    /// # Errors
    /// When it gets no address, or the counter cannot be made.
    pub fn join(street: &Street) -> Result<Self> {
        street.world.internet.namespace.nft(COUNTER)?;
        let phone = street.world.phone();
        phone.try_join()?;
        // From the first moment on, not from the router's first answer to a question for its address: the bridge has its first port's.
        let router = street.machine.sh(&format!("cat /sys/class/net/{LAN}/address"))?;
        phone.namespace.ip(&["neigh", "replace", ROUTER4, "lladdr", router.trim(), "dev", "eth0", "nud", "permanent"])?;
        let gateways = phone.namespace.ip(&["-6", "route", "show", "default"])?;
        let gateway6 = gateways.split_whitespace().skip_while(|word| *word != "via").nth(1).context("no way out in IPv6")?.to_owned();
        phone.namespace.ip(&["neigh", "replace", &gateway6, "lladdr", router.trim(), "dev", "eth0", "nud", "permanent"])?;
        let sockets = [(phone.udp(false)?, HOST4.into()), (phone.udp(true)?, HOST6.into())];
        let (sent, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, ends) = (sent.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let took = |(socket, host): &(UdpSocket, std::net::IpAddr)| socket.send_to(b"let me out", (*host, PORT)).is_ok();
                counted.fetch_add(sockets.iter().filter(|socket| took(socket)).count() as u64, Ordering::Relaxed);
                std::thread::sleep(PACE); // the pace, not a wait
            }
        });
        Ok(Self { phone, sent, over, thread: Some(thread) })
    }

    /// Packets that its kernel took for the way out.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Packets of it that got out.
    ///
    /// # Errors
    /// When the counter cannot be read.
    pub fn got_out(&self, street: &Street) -> Result<u64> {
        let text = street.world.internet.namespace.exec("nft", &["-j", "list", "counters", "table", "inet", "unpaid"])?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        let all = json["nftables"].as_array().context("counters")?;
        all.iter().find_map(|entry| entry["counter"]["packets"].as_u64()).with_context(|| format!("no counter in {text}"))
    }

    /// Since it had sent so many, it has sent more, and nothing of it got out.
    pub fn is_kept_in(&self, street: &Street, since: u64, what: &str) {
        // A boot takes many seconds, in each of which it sends a hundred.
        let sent = self.sent() - since;
        assert!(sent > 200, "{what}: it sent {sent} packets, which say nothing");
        let out = self.got_out(street).unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!(out, 0, "{what}: packets of a phone that has not paid got out");
    }

    /// Whether packets of it get out at all: once it is online they do, and what was said before says something.
    pub fn gets_out(&self, street: &Street) -> bool {
        self.got_out(street).unwrap_or_else(|e| panic!("{e:#}")) > 0
    }
}

impl Drop for Unpaid {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
