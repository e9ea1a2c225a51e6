//! Customers, a router and the internet, in network namespaces joined by veth pairs.
//!
//! ```text
//! phone 0 ─┐
//!    …     ├─ br-lan [router] wan ── eth0 [internet 192.0.2.1]
//! crowd   ─┘ 10.77.0.1/16 masquerades
//! ```
//!
//! The phones are devices 0, 1, … with sockets of their own; all other devices are frames that the crowd sends. There are two
//! of these networks: one router only masquerades, in the other Lango runs as well.

use crate::device::{Device, INTERNET, ROUTER, ROUTER_MAC, ROUTER_WAN};
use anyhow::{Context, Result};
use lango_core::units::Mac;
use lango_lab::net::Namespace;
use lango_lab::{rights, tool};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What both routers do, with Lango or without.
const MASQUERADE: &str = "table ip plain {
	chain srcnat {
		type nat hook postrouting priority srcnat; policy accept;
		oifname \"wan\" masquerade
	}
}
";

/// One of the two networks. All of it goes when it is dropped, and when a signal ends the program.
pub struct Network {
    /// The router.
    pub router: Namespace,
    /// The host on the internet.
    pub internet: Namespace,
    /// Devices 0, 1, …
    pub phones: Vec<Namespace>,
    /// Where frames of all other devices come from.
    pub crowd: Namespace,
    /// Files of this network, on the disk.
    pub folder: PathBuf,
    _cleaner: Cleaner,
}

/// Removes the network, when its construction fails half-way as well.
struct Cleaner(String);

impl Drop for Cleaner {
    fn drop(&mut self) {
        rights::remove(&self.0);
    }
}

impl Network {
    /// Builds it with so many phones.
    ///
    /// # Errors
    /// When rights or programs are missing: the message says what to do.
    pub fn build(phones: u32) -> Result<Self> {
        static BUILT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{}{}-{}", rights::PREFIX, std::process::id(), BUILT.fetch_add(1, Ordering::Relaxed));
        rights::register(&name);
        let cleaner = Cleaner(name.clone());
        let folder = rights::folder(&name);
        std::fs::create_dir(&folder).with_context(|| format!("{}", folder.display()))?;
        let host = |what: &str| Namespace::create(&format!("{name}-{what}"));
        let (router, internet, crowd) = (host("router")?, host("internet")?, host("crowd")?);
        let phones = (0..phones).map(|number| host(&format!("phone{number}"))).collect::<Result<Vec<_>>>()?;

        router.sysctl("net/ipv4/ip_forward", "1")?;
        // What stays on the bridge stays out of the firewall, as on OpenWrt; not every kernel has this at all.
        let _no_such_thing = router.sysctl("net/bridge/bridge-nf-call-iptables", "0");
        let mac = ROUTER_MAC.to_string();
        // It forgets nobody meanwhile: it tells of each, and that was hundreds of wake-ups five minutes after the devices that were timed.
        let bridge = ["type", "bridge", "forward_delay", "0", "mcast_snooping", "0", "ageing_time", "360000"];
        router.ip(&[&["link", "add", "br-lan", "address", &mac], bridge.as_slice()].concat())?;
        router.ip(&["link", "set", "br-lan", "up"])?;
        router.ip(&["addr", "add", &format!("{ROUTER}/16"), "dev", "br-lan"])?;
        router.ip(&["link", "add", "wan", "type", "veth", "peer", "name", "eth0", "netns", internet.name()])?;
        router.ip(&["link", "set", "wan", "up"])?;
        router.ip(&["addr", "add", &format!("{ROUTER_WAN}/24"), "dev", "wan"])?;
        internet.ip(&["link", "set", "eth0", "up"])?;
        internet.ip(&["addr", "add", &format!("{INTERNET}/24"), "dev", "eth0"])?;
        for (number, phone) in (0..).zip(&phones) {
            let (port, mac) = (format!("phone{number}"), Device(number).mac().to_string());
            let peer = ["peer", "name", "eth0", "address", &mac, "netns", phone.name()];
            join(&router, &port, &peer)?;
            quiet(phone)?;
            phone.ip(&["addr", "add", &format!("{}/16", Device(number).address()), "dev", "eth0"])?;
            phone.ip(&["route", "add", "default", "via", &ROUTER.to_string()])?;
        }
        join(&router, "crowd", &["peer", "name", "eth0", "netns", crowd.name()])?;
        quiet(&crowd)?;
        router.nft(MASQUERADE).context("the router's masquerading")?;
        Ok(Self { router, internet, phones, crowd, folder, _cleaner: cleaner })
    }

    /// Tells the router where these devices are, as ARP would have; for good, so that none is forgotten meanwhile.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn neighbours(&self, devices: impl IntoIterator<Item = (Ipv4Addr, Mac)>) -> Result<()> {
        let mut batch = String::new();
        for (address, mac) in devices {
            let _infallible = writeln!(batch, "neigh replace {address} lladdr {mac} dev br-lan nud permanent");
        }
        tool::run_with_input("ip", ["-n", self.router.name(), "-batch", "-"], batch.as_bytes())
            .context("telling the router its neighbours")?;
        Ok(())
    }

    /// Lets phones and the internet host put together so many packets of a TCP connection at most; 1: each goes by itself.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn packets_together(&self, most: u32) -> Result<()> {
        let mut hosts = self.phones.iter().chain([&self.internet]);
        hosts.try_for_each(|host| host.ip(&["link", "set", "eth0", "gso_max_segs", &most.to_string()]).map(drop))
    }
}

fn join(router: &Namespace, port: &str, peer: &[&str]) -> Result<()> {
    let words = [&["link", "add", port, "type", "veth"], peer].concat();
    router.ip(&words)?;
    router.ip(&["link", "set", port, "master", "br-lan", "up"])?;
    Ok(())
}

/// No word of IPv6 of its own: what is measured shall be all that happens.
fn quiet(host: &Namespace) -> Result<()> {
    host.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
    host.ip(&["link", "set", "eth0", "up"]).map(drop)
}

/// A folder in memory, for the store whose writes cost nothing; removed when dropped, and when a signal ends the program.
pub struct Memory(PathBuf);

impl Memory {
    /// Makes it, and removes what runs that were killed left of theirs.
    ///
    /// # Errors
    /// When there is no memory file system.
    pub fn folder() -> Result<Self> {
        let shared = Path::new("/dev/shm");
        for entry in std::fs::read_dir(shared).context("/dev/shm is no memory file system here")?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(rights::PREFIX).and_then(|pid| pid.parse::<u32>().ok());
            if owner.is_some_and(|pid| pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let folder = shared.join(format!("{}{}", rights::PREFIX, std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("{}", folder.display()))?;
        let at_signal = folder.clone();
        rights::at_signal(move || drop(std::fs::remove_dir_all(at_signal)));
        Ok(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
