//! The routers of the run, each with a LAN, a flash and phones of its own, and what can be done to them.

use crate::flash::Flash;
use anyhow::{Context, Result};
use lango_lab::net::Namespace;
use lango_lab::phone::Phone;
use lango_lab::process::Program;
use lango_lab::router::Lango;
use lango_lab::wait::until_true;
use lango_lab::world::World;
use lango_lab::{dnsmasq, programs, router};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What is sold: time alone, or data alone, and all of it adds up, so that what an account has is the sum of what was paid for.
pub const PACKAGES: &str = "
config package 'day'
	option label '1 day'
	option price '50'
	option minutes '1440'

config package 'two'
	option label '2 days'
	option price '90'
	option minutes '2880'

config package 'week'
	option label '1 week'
	option price '300'
	option minutes '10080'

config package 'data'
	option label '200 MB'
	option price '70'
	option megabytes '200'
";

/// Minutes of a package.
pub fn minutes(package: &str) -> u64 {
    match package {
        "day" => 1_440,
        "two" => 2_880,
        "week" => 10_080,
        "data" => 0,
        other => panic!("{other} is not sold"),
    }
}

/// Bytes of a package.
pub fn bytes(package: &str) -> u64 {
    if package == "data" { 200_000_000 } else { 0 }
}

/// Its price.
pub fn price(package: &str) -> u64 {
    match package {
        "day" => 50,
        "two" => 90,
        "week" => 300,
        "data" => 70,
        other => panic!("{other} is not sold"),
    }
}

/// A router.
pub struct Router {
    /// Its name in the fleet.
    pub name: String,
    /// Its program.
    pub lango: Lango,
    namespace: Namespace,
    uplink: String,
    internet: Namespace,
    prefix: String,
    folder: PathBuf,
    flash: Mutex<Flash>,
    boots: Mutex<u32>,
    _dnsmasq: Option<Program>,
}

/// A router's name.
pub fn name(number: usize) -> String {
    format!("street-{}", number + 1)
}

impl Router {
    /// The router of that number, with its program not started. The first is the lab's own.
    pub fn new(world: &World, number: usize, section: &str) -> Result<Self> {
        let prefix = world.router.name().trim_end_matches("-router").to_owned();
        let (namespace, uplink, folder, dnsmasq) = if number == 0 {
            (world.router.clone(), "isp".to_owned(), world.folder.clone(), None)
        } else {
            let folder = world.folder.join(format!("router{}", number + 1));
            std::fs::create_dir(&folder)?;
            let uplink = format!("isp{}", number + 1);
            let namespace = lay(&prefix, number, &uplink, &world.internet.namespace)?;
            let dnsmasq = dnsmasq::start(&namespace, &folder)?;
            (namespace, uplink, folder, Some(dnsmasq))
        };
        let flash = Flash::new(&folder)?;
        let mut lango = Lango::new(&namespace, &folder, section, PACKAGES)?;
        let name = name(number);
        let text = std::fs::read_to_string(&lango.config)?;
        let text = text.replace(&format!("'{}'", router::NAME), &format!("'{name}'"));
        let text = text.replace(&format!("'{}/store'", folder.display()), &format!("'{}/store'", flash.at().display()));
        std::fs::write(&lango.config, text)?;
        let boot = folder.join("boot_id");
        let binary = programs::find("lango")?;
        let args = ["as-boot", path(&boot)?, path(&binary)?, "run", "--config", path(&lango.config)?];
        lango.program = Program::new(&namespace, &std::env::current_exe()?, &args, &folder.join("lango.log"));
        let internet = world.internet.namespace.clone();
        let router = Self {
            name,
            lango,
            namespace,
            uplink,
            internet,
            prefix,
            folder,
            flash: Mutex::new(flash),
            boots: Mutex::new(0),
            _dnsmasq: dnsmasq,
        };
        router.boot()?;
        Ok(router)
    }

    /// Another boot from now on.
    fn boot(&self) -> Result<()> {
        let mut boots = self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        *boots += 1;
        std::fs::write(self.folder.join("boot_id"), format!("{:08x}-0000-4000-8000-000000000000\n", *boots))?;
        Ok(())
    }

    /// Starts its program, and waits until the portal is there.
    pub fn start(&self) -> Result<()> {
        if !self.lango.program.running() {
            self.lango.program.kill9(); // what ended by itself is not there any more
            self.lango.start()?;
        }
        Ok(())
    }

    /// The power goes at this moment. What is started afterwards knows only what the flash had.
    pub fn power_cut(&self) -> Result<()> {
        let mut flash = self.flash.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = self.lango.program.pid()
            && self.lango.program.running()
        {
            self.lango.program.signal(Signal::SIGSTOP)?;
            let tasks = format!("/proc/{pid}/task");
            until_true("every thread of the router's program to stand", Duration::from_secs(10), || {
                std::fs::read_dir(&tasks).is_ok_and(|tasks| {
                    tasks.flatten().all(|task| {
                        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
                    })
                })
            })?;
        }
        flash.copy()?;
        // A router without power forwards nothing; it does again when its gate is back.
        self.namespace.nft("table inet chaos_power { chain forward { type filter hook forward priority -300; policy drop; }; }")?;
        self.lango.program.kill9();
        let _ = self.namespace.exec("nft", &["delete", "table", "inet", "lango"]);
        self.namespace.ip(&["neigh", "flush", "dev", "br-lan"])?;
        flash.change()?;
        self.boot()
    }

    /// The power is back, and its program started.
    pub fn power_on(&self) -> Result<()> {
        self.start()?;
        self.namespace.exec("nft", &["delete", "table", "inet", "chaos_power"])?;
        Ok(())
    }

    fn table(&self) -> String {
        format!("chaos_{}", self.uplink)
    }

    /// The uplink loses what `which` says (an nftables expression; empty: everything), each way.
    pub fn spoil(&self, which: &str) -> Result<()> {
        let (table, uplink) = (self.table(), &self.uplink);
        self.internet.nft(&format!(
            "table inet {table} {{ chain in {{ type filter hook prerouting priority -310; iifname \"{uplink}\" {which} drop; }}; \
             chain out {{ type filter hook postrouting priority 310; oifname \"{uplink}\" {which} drop; }}; }}"
        ))
    }

    /// The uplink is as it was.
    pub fn mend(&self) -> Result<()> {
        self.internet.exec("nft", &["delete", "table", "inet", &self.table()]).map(drop)
    }

    /// A phone of this router's street. It has joined nothing yet.
    pub fn phone(&self, number: usize, router: usize) -> Result<Phone> {
        let label = format!("p{}x{}", router + 1, number + 1);
        let namespace = Namespace::create(&format!("{}-{label}", self.prefix))?;
        let mac = format!("02:00:5e:{:02x}:{:02x}:{:02x}", 0x80 + router, number >> 8 & 0xff, number & 0xff);
        self.namespace.ip(&["link", "add", &label, "type", "veth", "peer", "name", "eth0", "address", &mac, "netns", namespace.name()])?;
        self.namespace.ip(&["link", "set", &label, "master", "br-lan", "up"])?;
        namespace.sysctl("net/ipv6/conf/eth0/accept_ra", "1")?;
        namespace.sysctl("net/ipv6/conf/eth0/router_solicitation_delay", "0")?;
        namespace.sysctl("net/ipv6/conf/eth0/router_solicitation_interval", "1")?;
        Phone::new(&label, namespace, &mac, &self.folder)
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("the lab's folder is text")
}

/// A further router's namespace and cables: its LAN is as the first one's, its way out a network of its own.
fn lay(prefix: &str, number: usize, uplink: &str, internet: &Namespace) -> Result<Namespace> {
    let router = Namespace::create(&format!("{prefix}-router{}", number + 1))?;
    router.sysctl("net/ipv4/ip_forward", "1")?;
    router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    router.ip(&["link", "add", "br-lan", "address", "02:00:5e:ff:00:01", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"])?;
    router.ip(&["link", "set", "br-lan", "up"])?;
    router.ip(&["addr", "add", "10.77.0.1/24", "dev", "br-lan"])?;
    router.ip(&["addr", "add", "2001:db8:77::1/64", "dev", "br-lan", "nodad"])?;
    router.ip(&["link", "add", "wan", "type", "veth", "peer", "name", uplink, "netns", internet.name()])?;
    router.ip(&["link", "set", "wan", "up"])?;
    let third = 113 + number;
    router.ip(&["addr", "add", &format!("203.0.{third}.2/24"), "dev", "wan"])?;
    internet.ip(&["link", "set", uplink, "up"])?;
    internet.ip(&["addr", "add", &format!("203.0.{third}.1/24"), "dev", uplink])?;
    router.ip(&["route", "add", "default", "via", &format!("203.0.{third}.1")])?;
    router.nft(include_str!("../../lab/src/router.nft"))?;
    Ok(router)
}
