//! The gate's test world: two phones, a router, an internet host, each a network namespace of the real kernel's own, joined
//! by veth pairs. Made and removed by each test; nothing of the machine's own network is touched.

use lango::clock;
use lango::gate::{Gate, GateConfig, GateError, Whole};
use lango_core::few::FewSet;
use lango_core::gate::{GateAccount, GateDevice, GateId, Traffic, Usage};
use lango_core::time::Monotonic;
use lango_core::units::{Bytes, Mac, Millis};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::ops::Deref;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

pub const PORTAL_PORT: u16 = 8088;
pub const ROUTER4: &str = "10.77.0.1";
pub const ROUTER6: &str = "fd77::1";
pub const INTERNET4: &str = "192.0.2.1";
pub const INTERNET6: &str = "2001:db8:1::1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    Phone1,
    Phone2,
    Router,
    Internet,
}

const HOSTS: [Host; 4] = [Host::Phone1, Host::Phone2, Host::Router, Host::Internet];

pub struct World {
    prefix: String,
}

impl World {
    /// Makes the four hosts. Fails loudly where the rights or the tools are missing.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let world = Self { prefix: format!("lango-gate-{}-{number}", std::process::id()) };
        for host in HOSTS {
            ip(&format!("netns add {}", world.name(host)));
            world.within(host, || {
                // Addresses shall work at once: no duplicate detection. Every refusal shall be heard: no rate limit.
                sysctl("net/ipv6/conf/default/accept_dad", "0");
                sysctl("net/ipv6/conf/all/accept_dad", "0");
                sysctl("net/ipv6/conf/default/dad_transmits", "0");
                sysctl("net/ipv4/icmp_ratelimit", "0");
                sysctl("net/ipv4/icmp_msgs_per_sec", "100000");
                sysctl("net/ipv4/icmp_msgs_burst", "100000");
                sysctl("net/ipv6/icmp/ratelimit", "0");
                if host == Host::Router {
                    sysctl("net/ipv4/ip_forward", "1");
                    sysctl("net/ipv6/conf/all/forwarding", "1");
                    // What stays on the bridge stays out of the firewall, as on OpenWrt.
                    sysctl("net/bridge/bridge-nf-call-iptables", "0");
                    sysctl("net/bridge/bridge-nf-call-ip6tables", "0");
                }
            });
        }
        let [phone1, phone2, router, internet] = HOSTS.map(|host| world.name(host));
        for (number, phone) in [(1, &phone1), (2, &phone2)] {
            ip(&format!("-n {router} link add lan{number} type veth peer name eth0 netns {phone}"));
            ip(&format!("-n {phone} link set eth0 address 02:00:5e:10:00:0{number}"));
        }
        ip(&format!("-n {router} link add wan type veth peer name eth0 netns {internet}"));
        world.make_bridge();
        for link in ["lo", "lan1", "lan2", "wan"] {
            ip(&format!("-n {router} link set {link} up"));
        }
        ip(&format!("-n {router} addr add 192.0.2.2/24 dev wan"));
        ip(&format!("-n {router} addr add 2001:db8:1::2/64 dev wan nodad"));
        for host in [&phone1, &phone2, &internet] {
            ip(&format!("-n {host} link set lo up"));
            ip(&format!("-n {host} link set eth0 up"));
        }
        for (number, phone) in [(1, &phone1), (2, &phone2)] {
            ip(&format!("-n {phone} addr add 10.77.0.1{number}/24 dev eth0"));
            ip(&format!("-n {phone} addr add fd77::1{number}/64 dev eth0 nodad"));
            ip(&format!("-n {phone} route add default via {ROUTER4}"));
            ip(&format!("-n {phone} route add default via {ROUTER6}"));
        }
        ip(&format!("-n {internet} addr add {INTERNET4}/24 dev eth0"));
        ip(&format!("-n {internet} addr add {INTERNET6}/64 dev eth0 nodad"));
        ip(&format!("-n {internet} route add fd77::/64 via 2001:db8:1::2"));
        // Stands in for OpenWrt's fw4: masquerades, and accepts what is established before anything else.
        world.nft(
            Host::Router,
            "table ip standin { chain post { type nat hook postrouting priority srcnat; oifname \"wan\" masquerade; } }
             table inet standin { chain forward { type filter hook forward priority filter; ct state established accept; } }",
        );
        // What reaches the internet host from beyond the router, neighbour discovery aside.
        world.nft(
            Host::Internet,
            "table inet seen { counter arrived { }
               chain input { type filter hook input priority filter;
                 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } accept
                 iifname \"eth0\" counter name arrived } }",
        );
        world
    }

    /// Makes the customers' interface, with the phones' ports on it.
    pub fn make_bridge(&self) {
        let router = self.name(Host::Router);
        ip(&format!("-n {router} link add br-lan address 02:00:5e:10:00:fe type bridge"));
        ip(&format!("-n {router} addr add {ROUTER4}/24 dev br-lan"));
        ip(&format!("-n {router} addr add {ROUTER6}/64 dev br-lan nodad"));
        for port in ["lan1", "lan2"] {
            ip(&format!("-n {router} link set {port} master br-lan"));
        }
        ip(&format!("-n {router} link set br-lan up"));
    }

    pub fn name(&self, host: Host) -> String {
        format!("{}-{host:?}", self.prefix).to_lowercase()
    }

    fn path(&self, host: Host) -> String {
        format!("/run/netns/{}", self.name(host))
    }

    /// Runs something with the host's network.
    pub fn within<T: Send>(&self, host: Host, act: impl FnOnce() -> T + Send) -> T {
        let path = self.path(host);
        thread::scope(|scope| {
            let joined = scope.spawn(|| {
                enter(&path);
                act()
            });
            joined.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The same, beside the test.
    pub fn spawn<T: Send + 'static>(&self, host: Host, act: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let path = self.path(host);
        thread::spawn(move || {
            enter(&path);
            act()
        })
    }

    /// Hears something at the router beside the test, until what is given back is dropped. `hear` says when it listens, and tells
    /// what it hears.
    pub fn listen<T: Send + 'static>(&self, hear: impl AsyncFnOnce(&dyn Fn(), Sender<T>) + Send + 'static) -> Listening<T> {
        let (tell, heard) = channel();
        let (ready, opened) = channel();
        let (stop, stopped) = oneshot::channel();
        let thread = self.spawn(Host::Router, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let ready = move || ready.send(()).unwrap();
                tokio::select! {
                    () = hear(&ready, tell) => {}
                    _ = stopped => {}
                }
            });
        });
        opened.recv().unwrap();
        Listening { heard, stop: Some(stop), thread: Some(thread) }
    }

    pub fn nft(&self, host: Host, script: &str) -> String {
        self.try_nft(host, script).unwrap_or_else(|refusal| panic!("nft refused: {script}\n{refusal}"))
    }

    /// The same, where a kernel may refuse: with its words.
    pub fn try_nft(&self, host: Host, script: &str) -> Result<String, String> {
        let name = self.name(host);
        let mut child = Command::new("ip")
            .args(["netns", "exec", &name, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tests of the gate need ip and nft (packages iproute2 and nftables)");
        // nft wants a line's end before a closing brace; the scripts here read better without.
        child.stdin.take().unwrap().write_all(script.replace(" }", "\n}").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Takes those rules of one of our chains out that `nft` lists with these words.
    pub fn delete_rules(&self, chain: &str, words: &str) {
        let name = self.name(Host::Router);
        let listed = Command::new("ip").args(["netns", "exec", &name, "nft", "-a", "list", "chain", "inet", "lango", chain]).output();
        let listed = String::from_utf8(listed.expect("the tests of the gate need nft (package nftables)").stdout).unwrap();
        let handles: Vec<_> = listed.lines().filter(|line| line.contains(words)).filter_map(|line| line.rsplit_once("# handle ")).collect();
        assert!(!handles.is_empty(), "no rule has {words} in {listed}");
        for (_, handle) in handles {
            self.nft(Host::Router, &format!("delete rule inet lango {chain} handle {handle}"));
        }
    }

    /// Packets that arrived at the internet host from beyond the router.
    pub fn arrived(&self) -> u64 {
        let text = self.nft(Host::Internet, "list counter inet seen arrived");
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1).unwrap().parse().unwrap()
    }

    /// Makes the router's connection tracking forget all that it knows.
    pub fn forget_connections(&self) {
        for family in ["ipv4", "ipv6"] {
            let name = self.name(Host::Router);
            let done = Command::new("ip").args(["netns", "exec", &name, "conntrack", "-D", "-f", family]).output();
            let said = done.expect("the tests of the gate need conntrack (package conntrack)");
            let said = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(said.contains("flow entries have been deleted"), "conntrack -D: {said}");
        }
    }

    pub fn gate(&self) -> Gate {
        self.try_gate(config()).unwrap()
    }

    pub fn try_gate(&self, config: GateConfig) -> Result<Gate, GateError> {
        self.within(Host::Router, || Gate::open(config))
    }

    /// Whether a ping is answered.
    pub fn ping(&self, host: Host, address: &str, size: &str) -> bool {
        let name = self.name(host);
        let mut ping = Command::new("ip");
        ping.args(["netns", "exec", &name, "ping", "-c1", "-W1", "-n", "-q", "-s", size, address]);
        ping.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let delete = |host| drop(Command::new("ip").args(["netns", "del", &self.name(host)]).status());
        // The router goes first, and the kernel takes its time for that. When the others' links to it are gone, too, nothing of it is
        // at work beside the next test. A packet that waits for a neighbour that does not answer holds it for some seconds more:
        // that is the kernel's affair, and not waited for.
        delete(Host::Router);
        let links = || fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
        // One that could not even be made is not there.
        let linked = |host| fs::exists(self.path(host)).is_ok_and(|is| is) && self.within(host, links).contains("eth0");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) && [Host::Phone1, Host::Phone2, Host::Internet].into_iter().any(linked) {
            thread::sleep(Duration::from_millis(2));
        }
        HOSTS.into_iter().filter(|host| *host != Host::Router).for_each(delete);
    }
}

/// What is heard beside a test. Dropped, it listens no more: an open socket would keep the namespace alive, and news be made for it.
pub struct Listening<T> {
    heard: Receiver<T>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl<T> Deref for Listening<T> {
    type Target = Receiver<T>;

    fn deref(&self) -> &Receiver<T> {
        &self.heard
    }
}

impl<T> Drop for Listening<T> {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn config() -> GateConfig {
    GateConfig {
        lan: vec!["br-lan".into()],
        wan: "wan".into(),
        portal_port: PORTAL_PORT,
        https_port: None,
        isolate: true,
        learn: true,
        whole: Whole::default(),
    }
}

fn enter(path: &str) {
    setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
}

pub fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split_whitespace()).status();
    let done = done.expect("the tests of the gate need ip (package iproute2)");
    assert!(done.success(), "`ip {arguments}` failed: the tests of the gate make network namespaces, run them as root");
}

fn sysctl(name: &str, value: &str) {
    // Not every kernel has every one of them.
    let _ = fs::write(format!("/proc/sys/{name}"), value);
}

/// Waits until something is so; gives what it is.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

pub fn mac(number: u8) -> Mac {
    Mac([2, 0, 0x5e, 0x10, 0, number])
}

pub fn addresses(number: u8) -> FewSet<IpAddr> {
    [format!("10.77.0.1{number}"), format!("fd77::1{number}")].iter().map(|a| a.parse().unwrap()).collect()
}

pub fn now() -> Monotonic {
    clock::monotonic()
}

pub fn within_seconds(seconds: u64) -> Option<Monotonic> {
    Some(now().after(Millis::from_seconds(seconds)))
}

/// An account with these phones on it, without limits.
pub fn account(id: u32, phones: &[u8]) -> GateAccount {
    let device = |number: &u8| (mac(*number), GateDevice { addresses: addresses(*number), ..GateDevice::default() });
    GateAccount {
        id: GateId(id),
        until: None,
        data_end: None,
        used: Bytes::ZERO,
        down: None,
        up: None,
        devices: phones.iter().map(device).collect(),
    }
}

/// The traffic of one device in what was counted.
pub fn of(usage: &[Usage], id: u32, phone: u8) -> Traffic {
    let found: Vec<_> = usage.iter().filter(|u| u.id == GateId(id) && u.mac == mac(phone)).collect();
    assert_eq!(found.len(), 1, "one entry for phone {phone} on account {id} in {usage:?}");
    found[0].traffic
}

/// The sum over all devices.
pub fn total(usage: &[Usage]) -> u64 {
    usage.iter().map(|u| u.traffic.total().0).sum()
}
