//! A crowd: thousands of devices near the router, each with an Ethernet address and an IPv4 address of its own, in one namespace.
//!
//! Their connections are the kernel's. What one sends leaves with its own Ethernet address, and what is for one of them is taken in,
//! by two rules on the cable: so a thousand devices cost a thousand addresses, and no thousand interfaces.

use crate::http::{self, Response};
use crate::net::Namespace;
use crate::tool;
use crate::world::{PORTAL_PORT, World};
use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The router's address in the crowd's network.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);

/// The router's Ethernet address on the customers' side.
const ROUTER_MAC: &str = "02:00:5e:ff:00:01";

/// Customers wait so long for a page.
const PATIENCE: Duration = Duration::from_secs(60);

/// One of the crowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device(pub u16);

impl Device {
    /// Its Ethernet address.
    #[must_use]
    pub fn mac(self) -> String {
        let [high, low] = self.0.to_be_bytes();
        format!("02:00:00:5e:{high:02x}:{low:02x}")
    }

    /// Its address: none ends in 0 or 255.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 78, 1 + (self.0 / 250) as u8, 1 + (self.0 % 250) as u8)
    }
}

/// Devices 0, 1, …
pub struct Crowd {
    /// Where they are.
    pub namespace: Namespace,
}

impl Crowd {
    /// So many devices join the router's Wi-Fi.
    ///
    /// # Errors
    /// When the kernel or `nft` refuses something.
    pub fn join(world: &World, devices: u16) -> Result<Self> {
        let (router, name) = (&world.router, world.router.name().replace("-router", "-crowd"));
        let namespace = Namespace::create(&name)?;
        router.ip(&["addr", "add", &format!("{ROUTER}/16"), "dev", "br-lan"])?;
        router.ip(&["link", "add", "crowd", "type", "veth", "peer", "name", "eth0", "netns", namespace.name()])?;
        router.ip(&["link", "set", "crowd", "master", "br-lan", "up"])?;
        // No word of IPv6, and none of its own Ethernet address.
        namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
        namespace.sysctl("net/ipv4/conf/all/arp_ignore", "8")?;
        namespace.ip(&["link", "set", "eth0", "up"])?;
        let (mut own, mut known, mut sent) = (String::new(), String::new(), String::new());
        for device in (0..devices).map(Device) {
            let (address, mac) = (device.address(), device.mac());
            writeln!(own, "addr add {address}/16 dev eth0")?;
            // As ARP would have it; for good, so that none is forgotten meanwhile.
            writeln!(known, "neigh replace {address} lladdr {mac} dev br-lan nud permanent")?;
            write!(sent, "{address} : {mac}, ")?;
        }
        writeln!(own, "neigh replace {ROUTER} lladdr {ROUTER_MAC} dev eth0 nud permanent")?;
        let batch = |host: &Namespace, lines: &str| tool::run_with_input("ip", ["-n", host.name(), "-batch", "-"], lines.as_bytes());
        batch(&namespace, &own).context("the crowd's addresses")?;
        namespace.nft(&format!(
            "table netdev crowd {{\n\tmap macs {{\n\t\ttype ipv4_addr : ether_addr\n\t\telements = {{ {sent} }}\n\t}}\n\
             \tchain out {{\n\t\ttype filter hook egress device \"eth0\" priority 0\n\t\tether saddr set ip saddr map @macs\n\t}}\n\
             \tchain in {{\n\t\ttype filter hook ingress device \"eth0\" priority 0\n\t\tmeta pkttype set host\n\t}}\n}}\n"
        ))?;
        batch(router, &known).context("telling the router where the crowd is")?;
        Ok(Self { namespace })
    }

    /// Runs `work` where they are: threads that it starts are there, too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.run(work)
    }
}

/// A connection of a device to the portal. Only inside [`Crowd::run`].
///
/// # Errors
/// When there is none.
fn portal(device: Device) -> Result<TcpStream> {
    let open = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Linux takes it for connecting, too.
    let patience = TimeVal::seconds(i64::try_from(PATIENCE.as_secs())?);
    setsockopt(&open, sockopt::SendTimeout, &patience)?;
    setsockopt(&open, sockopt::ReceiveTimeout, &patience)?;
    bind(open.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(device.address(), 0)))?;
    connect(open.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(ROUTER, PORTAL_PORT))).context("connecting")?;
    let stream = TcpStream::from(open);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks the portal as a device, with a connection of its own. Only inside [`Crowd::run`].
///
/// # Errors
/// When no answer comes.
pub fn ask(device: Device, method: &str, path: &str, body: Option<&Value>) -> Result<Response> {
    let host = format!("{ROUTER}:{PORTAL_PORT}");
    let body = body.map(Value::to_string).unwrap_or_default();
    let headers = [("host", host.as_str()), ("content-type", "application/json"), ("connection", "close")];
    http::exchange(portal(device)?, &http::request(method, path, &headers, body.as_bytes()), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_device_is_another_one() {
        let all = || (0..10_000).map(Device);
        assert_eq!(all().map(Device::mac).collect::<HashSet<_>>().len(), 10_000);
        assert_eq!(all().map(Device::address).collect::<HashSet<_>>().len(), 10_000);
        assert!(!all().any(|device| device.address() == ROUTER));
    }
}
