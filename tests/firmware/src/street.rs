//! The lab's world with an emulated machine in the router's place: phones and internet are the lab's, by cables that end in its taps.

use crate::machine::{Image, Kind, Machine};
use anyhow::{Context, Result};
use lango_lab::broker::Broker;
use lango_lab::internet::{HOST4, HOST6, NAME};
use lango_lab::net::Namespace;
use lango_lab::relay::Relay;
use lango_lab::safaricom::Safaricom;
use lango_lab::safaricom::daraja::Merchant;
use lango_lab::world::{LAN, ROUTER_WAN4, ROUTER4, ROUTER6, SAFARICOM4, World};
use serde_json::Value;
use std::net::SocketAddr;

/// Seconds between two writes of what was used: the shortest that the configuration takes.
pub const CHECKPOINT: u64 = 10;
/// Where the certificate of the authority is that vouches for the broker.
pub const CA: &str = "/etc/lango/ca.pem";
/// What a phone asks to know whether it is captive.
pub const CHECK: &str = "http://connectivitycheck.gstatic.com/generate_204";
const CHECK_HOST: &str = "connectivitycheck.gstatic.com";

/// All of it. Fields are dropped in this order.
pub struct Street {
    /// The router.
    pub machine: Machine,
    /// Who asks for it.
    pub relay: Relay,
    /// Who moves the money.
    pub safaricom: Safaricom,
    /// Between relay and router.
    pub broker: Broker,
    /// Phones and internet.
    pub world: World,
}

impl Street {
    /// Builds everything; the router has no power yet.
    ///
    /// # Errors
    /// When something does not start.
    pub fn build(image: &Image) -> Result<Self> {
        let world = World::build()?;
        make_room(&world).context("the cables to the emulated router")?;
        let merchant = Merchant::sandbox();
        let safaricom = Safaricom::start(Some(&world.cloud), SocketAddr::new(SAFARICOM4.parse()?, 80), merchant.clone())?;
        let broker = Broker::new(&world.cloud, &world.folder)?;
        let relay = Relay::new(&world.cloud, &world.folder, &merchant, &broker)?;
        // A fleet that has one already: the relay's own lines are in the broker's access list.
        relay.add_router("westlands-1", &broker)?;
        broker.start()?;
        relay.start()?;
        let files = files(&broker).context("the router's own files")?;
        let disk = image.disk("router", &files)?;
        let machine = Machine::new(&world.router, image, &disk, &Kind::Connected)?;
        Ok(Self { machine, relay, safaricom, broker, world })
    }

    /// What `lango WHAT --json` prints on the router.
    ///
    /// # Errors
    /// When the program does not answer.
    pub fn lango(&self, what: &str) -> Result<Value> {
        let text = self.machine.sh(&format!("lango {what} --json"))?;
        serde_json::from_str(&text).with_context(|| format!("lango {what} --json printed {text:?}"))
    }

    /// Waits until payments are possible: broker and relay answered.
    ///
    /// # Errors
    /// When they do not.
    pub fn await_payments(&self) -> Result<()> {
        self.machine.until("payments to be possible", || self.lango("status").ok().filter(|status| status["payments"] == true)).map(drop)
    }

    /// Compares what Safaricom moved with what the router served: each shilling once, and nothing without one.
    ///
    /// # Errors
    /// When the router does not answer.
    pub fn money_is_service(&self) -> Result<usize> {
        let payments = self.lango("payments")?;
        lango_lab::lab::money_is_service(&self.safaricom.money(), &payments);
        Ok(self.safaricom.money().len())
    }
}

/// The router's namespace becomes two switches: one for the phones and the machine's first interface, one for the way out and its second.
fn make_room(world: &World) -> Result<()> {
    let place: &Namespace = &world.router;
    world.dnsmasq.kill9();
    place.exec("nft", &["delete", "table", "inet", "fw4"])?;
    place.sysctl("net/ipv4/ip_forward", "0")?;
    place.sysctl("net/ipv6/conf/all/forwarding", "0")?;
    place.ip(&["addr", "flush", "dev", LAN])?;
    place.ip(&["addr", "flush", "dev", "wan"])?;
    place.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
    place.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    place.ip(&["link", "add", "br-wan", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"])?;
    place.ip(&["link", "set", "br-wan", "up"])?;
    place.ip(&["link", "set", "wan", "master", "br-wan"])?;
    for (tap, switch) in [("lan-port", LAN), ("wan-port", "br-wan")] {
        place.ip(&["tuntap", "add", "dev", tap, "mode", "tap"])?;
        place.ip(&["link", "set", tap, "master", switch, "up"])?;
    }
    Ok(())
}

/// What is on this router besides its package: OpenWrt's configuration, where the lab has other addresses, and the authority that vouches for the
/// lab's broker. Lango's own is as the package brings it.
fn files(broker: &Broker) -> Result<Vec<(&'static str, String)>> {
    let interface = |name: &str, device: &str, options: &[(&str, &str)]| {
        let options: String = options.iter().map(|(name, value)| format!("\toption {name} '{value}'\n")).collect();
        format!(
            "config interface '{name}'\n\toption device '{device}'\n\toption proto 'static'\n\toption netmask '255.255.255.0'\n{options}\n"
        )
    };
    let network = format!(
        "config device\n\toption name '{LAN}'\n\toption type 'bridge'\n\tlist ports 'eth0'\n\n{}{}",
        interface("lan", LAN, &[("ipaddr", ROUTER4), ("ip6addr", &format!("{ROUTER6}/64"))]),
        interface(
            "wan",
            "eth1",
            &[("ipaddr", ROUTER_WAN4), ("gateway", "203.0.113.1"), ("ip6addr", "2001:db8:113::2/64"), ("ip6gw", "2001:db8:113::1")]
        ),
    );
    // OpenWrt's own, with names that the lab's internet has.
    let names: String =
        [CHECK_HOST, NAME].iter().map(|name| format!("\tlist address '/{name}/{HOST4}'\n\tlist address '/{name}/{HOST6}'\n")).collect();
    let dhcp = include_str!("../../../images/tests/openwrt/dhcp").replacen("config dnsmasq\n", &format!("config dnsmasq\n{names}"), 1);
    let ca_text = std::fs::read_to_string(&broker.ca)?;
    Ok(vec![("etc/config/network", network), ("etc/config/dhcp", dhcp), (&CA[1..], ca_text)])
}
