//! The world without Lango: hosts, cables, addresses, DHCP, DNS, the internet and Safaricom.
//!
//! ```text
//! phone ─┐
//! phone ─┼─ br-lan [router] wan ── isp [internet 198.51.100.10] cloud ── [cloud: broker, relay, Safaricom]
//! phone ─┘ 10.77.0.1/24            203.0.113.0/24                        192.0.2.0/24
//! ```

use crate::dnsmasq;
use crate::internet::{HOST4, HOST6, Internet};
use crate::net::Namespace;
use crate::phone::Phone;
use crate::process::Program;
use crate::rights;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// The router's address on the customers' LAN.
pub const ROUTER4: &str = "10.77.0.1";
/// The same in IPv6.
pub const ROUTER6: &str = "2001:db8:77::1";
/// The customers' interface on every router.
pub const LAN: &str = "br-lan";
/// The router's address on the way out.
pub const ROUTER_WAN4: &str = "203.0.113.2";
/// The second router's, where there is one: another place, another provider.
pub const SECOND_WAN4: &str = "203.0.114.2";
/// Where broker and relay are.
pub const CLOUD4: &str = "192.0.2.10";
/// Where Safaricom is.
pub const SAFARICOM4: &str = "192.0.2.20";
/// Where the SMS gateway is.
pub const SMS4: &str = "192.0.2.30";
/// The portal's port.
pub const PORTAL_PORT: u16 = 8088;
/// The portal, as its pages call it.
pub const PORTAL: &str = "http://portal.lan:8088";

/// The world. Everything of it is removed from the machine when it is dropped.
pub struct World {
    /// The DHCP, DNS and router advertisement server.
    pub dnsmasq: Program,
    /// The internet host.
    pub internet: Internet,
    /// The router, with `br-lan` and `wan`.
    pub router: Namespace,
    /// The host of broker, relay and Safaricom.
    pub cloud: Namespace,
    /// Where all files and logs are.
    pub folder: PathBuf,
    name: String,
    phones: AtomicU32,
    _cleaner: Cleaner,
}

/// Removes the lab when it goes, on a panic half-way through the construction as well.
struct Cleaner(String);

impl Drop for Cleaner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_logs(&rights::folder(&self.0));
        }
        rights::remove(&self.0);
    }
}

fn print_logs(folder: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut logs: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    for log in logs {
        eprint!("{}", crate::process::tail(&log, 60));
    }
}

impl World {
    /// Builds it.
    ///
    /// # Errors
    /// When rights or programs are missing: the message says what to do.
    pub fn build() -> Result<Self> {
        static LABS: AtomicU32 = AtomicU32::new(1);
        rights::ensure()?;
        let name = format!("{}{}-{}", rights::PREFIX, std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        rights::register(&name);
        let cleaner = Cleaner(name.clone());
        let folder = rights::folder(&name);
        std::fs::create_dir(&folder).with_context(|| format!("{}", folder.display()))?;

        let router = Namespace::create(&format!("{name}-router"))?;
        let internet = Namespace::create(&format!("{name}-internet"))?;
        let cloud = Namespace::create(&format!("{name}-cloud"))?;
        cables(&router, &internet, &cloud).context("laying the cables")?;
        internet.nft(include_str!("internet.nft")).context("the internet host's counters")?;
        let dnsmasq = dnsmasq::start(&router, &folder)?;
        let internet = Internet::start(&internet).context("the internet host")?;
        Ok(Self { dnsmasq, internet, router, cloud, folder, name, phones: AtomicU32::new(1), _cleaner: cleaner })
    }

    /// The host of a second router, with a LAN and a way out of its own.
    pub(crate) fn second_router(&self) -> Result<Namespace> {
        let router = Namespace::create(&format!("{}-second", self.name))?;
        lay(&router, &self.internet.namespace, &SECOND)?;
        Ok(router)
    }

    /// A new phone near the router. It has joined nothing yet.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn phone(&self) -> Phone {
        let number = self.phones.fetch_add(1, Ordering::Relaxed);
        self.try_phone(number).unwrap_or_else(|e| panic!("phone {number}: {e:#}"))
    }

    fn try_phone(&self, number: u32) -> Result<Phone> {
        let name = format!("phone{number}");
        let namespace = Namespace::create(&format!("{}-{name}", self.name))?;
        let mac = format!("02:00:5e:{:02x}:{:02x}:{:02x}", number >> 16 & 0xff, number >> 8 & 0xff, number & 0xff);
        self.router.ip(&["link", "add", &name, "type", "veth", "peer", "name", "eth0", "address", &mac, "netns", namespace.name()])?;
        plug(&self.router, &name)?;
        namespace.sysctl("net/ipv6/conf/eth0/accept_ra", "1")?;
        namespace.sysctl("net/ipv6/conf/eth0/router_solicitation_delay", "0")?;
        namespace.sysctl("net/ipv6/conf/eth0/router_solicitation_interval", "1")?;
        Phone::new(&name, namespace, &mac, &self.folder)
    }
}

/// Connects a cable that ends on a router with its LAN.
pub(crate) fn plug(router: &Namespace, cable: &str) -> Result<()> {
    router.ip(&["link", "set", cable, "master", LAN, "up"]).map(drop)
}

/// What is different between two routers. In IPv4 their LANs are the same.
struct Site {
    mac: &'static str,
    lan6: &'static str,
    isp: &'static str,
    wan4: &'static str,
    wan6: &'static str,
}

const FIRST: Site = Site { mac: "02:00:5e:ff:00:01", lan6: "2001:db8:77", isp: "isp", wan4: "203.0.113", wan6: "2001:db8:113" };
const SECOND: Site = Site { mac: "02:00:5e:ff:00:02", lan6: "2001:db8:78", isp: "isp2", wan4: "203.0.114", wan6: "2001:db8:114" };

/// A router's LAN, and its way to the internet host.
fn lay(router: &Namespace, internet: &Namespace, site: &Site) -> Result<()> {
    let Site { mac, lan6, isp, wan4, wan6 } = site;
    router.sysctl("net/ipv4/ip_forward", "1")?;
    router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    router.ip(&["link", "add", LAN, "address", mac, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"])?;
    router.ip(&["link", "set", LAN, "up"])?;
    router.ip(&["addr", "add", &format!("{ROUTER4}/24"), "dev", LAN])?;
    router.ip(&["addr", "add", &format!("{lan6}::1/64"), "dev", LAN, "nodad"])?;

    router.ip(&["link", "add", "wan", "type", "veth", "peer", "name", isp, "netns", internet.name()])?;
    router.ip(&["link", "set", "wan", "up"])?;
    router.ip(&["addr", "add", &format!("{wan4}.2/24"), "dev", "wan"])?;
    router.ip(&["addr", "add", &format!("{wan6}::2/64"), "dev", "wan", "nodad"])?;
    internet.ip(&["link", "set", isp, "up"])?;
    internet.ip(&["addr", "add", &format!("{wan4}.1/24"), "dev", isp])?;
    internet.ip(&["addr", "add", &format!("{wan6}::1/64"), "dev", isp, "nodad"])?;
    router.ip(&["route", "add", "default", "via", &format!("{wan4}.1")])?;
    router.ip(&["-6", "route", "add", "default", "via", &format!("{wan6}::1")])?;
    internet.ip(&["-6", "route", "add", &format!("{lan6}::/64"), "via", &format!("{wan6}::2")])?;
    router.nft(include_str!("router.nft")).context("the router's own firewall")
}

fn cables(router: &Namespace, internet: &Namespace, cloud: &Namespace) -> Result<()> {
    internet.sysctl("net/ipv4/ip_forward", "1")?;
    internet.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    lay(router, internet, &FIRST)?;
    internet.ip(&["addr", "add", &format!("{HOST4}/32"), "dev", "lo"])?;
    internet.ip(&["addr", "add", &format!("{HOST6}/128"), "dev", "lo", "nodad"])?;

    internet.ip(&["link", "add", "cloud", "type", "veth", "peer", "name", "eth0", "netns", cloud.name()])?;
    internet.ip(&["link", "set", "cloud", "up"])?;
    internet.ip(&["addr", "add", "192.0.2.1/24", "dev", "cloud"])?;
    cloud.ip(&["link", "set", "eth0", "up"])?;
    for address in [CLOUD4, SAFARICOM4, SMS4] {
        cloud.ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
    }
    cloud.ip(&["route", "add", "default", "via", "192.0.2.1"])?;
    Ok(())
}
