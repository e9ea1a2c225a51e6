//! Speeds on the router without Lango, as an operator would set them by hand: what a class of HTB costs a packet is not the gate's.

use crate::device::Device;
use crate::network::Network;
use anyhow::{Context as _, Result, ensure};
use lango_lab::tool;
use std::fmt::Write as _;

/// Where speeds are held: towards the customers, and on the way out.
const INTERFACES: [&str; 2] = ["br-lan", "wan"];

/// As Lango makes them of 10 Gbit/s: 5 % more for the headers, 10 ms at once, 100 ms that wait.
const CLASS: &str = "htb rate 10500mbit ceil 10500mbit burst 13125000 cburst 13125000 quantum 1514";
const FAIR_QUEUE: &str = "fq_codel flows 64 limit 1000 memory_limit 4194304";
const PLAIN_QUEUE: &str = "bfifo limit 131250000";

/// A class for each device on a router without Lango, and the rules that mark its packets. They go when it is dropped.
pub struct Shaper {
    router: String,
    table: bool,
}

impl Shaper {
    /// Gives as many devices a class as the gate has given them, with the queue that it gives them on this kernel.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_up(plain: &Network, gated: &Network, online: u32) -> Result<Self> {
        let made = tool::run("tc", ["-n", gated.router.name(), "qdisc", "show", "dev", "wan"])?;
        let queue = if made.contains("fq_codel") { FAIR_QUEUE } else { PLAIN_QUEUE };
        let mut shaper = Self { router: plain.router.name().to_owned(), table: false };
        let mut batch = String::new();
        for interface in INTERFACES {
            let _infallible = writeln!(batch, "qdisc replace dev {interface} root handle 1: htb");
            for class in (0..online).map(Device).map(class) {
                let _infallible = writeln!(batch, "class add dev {interface} parent 1: classid 1:{class:x} {CLASS}");
                let _infallible = writeln!(batch, "qdisc add dev {interface} parent 1:{class:x} {queue}");
            }
        }
        tool::run_with_input("tc", ["-n", &shaper.router, "-batch", "-"], batch.as_bytes()).context("classes without Lango")?;
        let elements = |key: fn(Device) -> String| {
            let all: Vec<String> = (0..online).map(Device).map(|device| format!("{} : 1:{:x}", key(device), class(device))).collect();
            all.join(", ")
        };
        let (up, down) = (elements(|device| device.mac().to_string()), elements(|device| device.address().to_string()));
        let rules = format!(
            "table inet shaper {{
	map up {{
		type ether_addr : classid
		elements = {{ {up} }}
	}}
	map down {{
		type ipv4_addr : classid
		elements = {{ {down} }}
	}}
	chain forward {{
		type filter hook forward priority filter; policy accept;
		oifname \"br-lan\" meta priority set ip daddr map @down
		iifname \"br-lan\" meta priority set ether saddr map @up
	}}
}}
"
        );
        plain.router.nft(&rules).context("marks without Lango")?;
        shaper.table = true;
        Ok(shaper)
    }

    /// # Errors
    /// When nothing went through its classes: then it was plain NAT that was measured.
    pub fn ensure_used(&self) -> Result<()> {
        for interface in INTERFACES {
            let told = tool::run("tc", ["-n", &self.router, "-s", "class", "show", "dev", interface])?;
            let bytes = told.lines().filter_map(|line| line.trim().strip_prefix("Sent ")?.split(' ').next()?.parse::<u64>().ok());
            let sent: u64 = bytes.sum();
            ensure!(sent > 1_000_000, "{sent} bytes went through the classes of {interface} on the router without Lango");
        }
        Ok(())
    }
}

impl Drop for Shaper {
    fn drop(&mut self) {
        for interface in INTERFACES {
            let _not_made = tool::run("tc", ["-n", &self.router, "qdisc", "del", "dev", interface, "root"]);
        }
        if self.table {
            let delete = ["netns", "exec", &self.router, "nft", "delete", "table", "inet", "shaper"];
            let _gone_with_the_network = tool::run("ip", delete);
        }
    }
}

/// A device's class: none is 0, which is the root.
const fn class(device: Device) -> u32 {
    device.0 + 1
}
