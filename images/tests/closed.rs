//! What the router's start closes before the program runs, with the real `nft` between real networks: a boot without a daemon, whatever the
//! reason, leaves nobody online who has not paid.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod common;
#[path = "common/router.rs"]
mod router;

use common::{repository, run};
use lango_images::board::Board;
use router::{Router, SHELLS};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A phone, a router and a host of the internet: a network namespace each, removed with this.
struct World {
    prefix: String,
}

const HOSTS: [&str; 3] = ["phone", "router", "internet"];
const INTERNET: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
const PHONE: [&str; 2] = ["10.77.0.2", "fd77::2"];

impl World {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let world = Self { prefix: format!("lango-closed-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)) };
        let [phone, router, internet] = HOSTS.map(|host| world.name(host));
        for host in [&phone, &router, &internet] {
            ip(&format!("netns add {host}"));
        }
        ip(&format!("-n {router} link add br-lan type veth peer name eth0 netns {phone}"));
        ip(&format!("-n {router} link add wan type veth peer name eth0 netns {internet}"));
        for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            run("ip", &["netns", "exec", &router, "sysctl", "-qw", setting]);
        }
        for (host, device, addresses) in [
            (&phone, "eth0", ["10.77.0.2/24", "fd77::2/64"]),
            (&router, "br-lan", ["10.77.0.1/24", "fd77::1/64"]),
            (&router, "wan", ["192.0.2.2/24", "2001:db8::2/64"]),
            (&internet, "eth0", ["192.0.2.1/24", "2001:db8::1/64"]),
        ] {
            ip(&format!("-n {host} link set {device} up"));
            ip(&format!("-n {host} addr add {} dev {device}", addresses[0]));
            ip(&format!("-n {host} addr add {} dev {device} nodad", addresses[1]));
        }
        for (host, gateways) in [(&phone, ["10.77.0.1", "fd77::1"]), (&internet, ["192.0.2.2", "2001:db8::2"])] {
            for gateway in gateways {
                ip(&format!("-n {host} route add default via {gateway}"));
            }
        }
        world
    }

    fn name(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// Which of these addresses answer the host within a second.
    fn reaches<'a>(&self, host: &str, addresses: &[&'a str]) -> Vec<&'a str> {
        let asked = addresses.iter().map(|address| {
            let arguments = ["netns", "exec", &self.name(host), "ping", "-c", "1", "-W", "1", address];
            let child = Command::new("ip").args(arguments).stdout(Stdio::null()).spawn();
            (*address, child.expect("ping is not there: tools/setup.sh packages"))
        });
        let asked: Vec<_> = asked.collect();
        asked.into_iter().filter_map(|(address, mut child)| child.wait().unwrap().success().then_some(address)).collect()
    }

    /// A router with nothing in its way forwards both ways, as OpenWrt does.
    fn until_all_pass(&self) {
        let begun = Instant::now();
        while self.reaches("phone", &INTERNET) != INTERNET || self.reaches("internet", &PHONE) != PHONE {
            assert!(begun.elapsed() < Duration::from_secs(60), "the networks do not come up");
        }
    }

    fn nft(&self, arguments: &[&str]) -> String {
        run("ip", &[&["netns", "exec", &self.name("router"), "nft"], arguments].concat())
    }

    fn assert_closed(&self, what: &str) {
        assert_eq!(self.reaches("phone", &INTERNET), [""; 0], "{what}: a phone gets out");
        assert_eq!(self.reaches("internet", &PHONE), [""; 0], "{what}: a phone is reached");
        assert_eq!(self.reaches("phone", &["10.77.0.1", "fd77::1"]), ["10.77.0.1", "fd77::1"], "{what}: the router can be mended");
        assert_eq!(self.reaches("router", &INTERNET), INTERNET, "{what}: the router itself is online");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in HOSTS {
            let _gone = Command::new("ip").args(["netns", "del", &self.name(host)]).status();
        }
    }
}

fn ip(line: &str) {
    run("ip", &line.split_whitespace().collect::<Vec<_>>());
}

fn connected(shell: &str, world: &World) -> Router {
    let boards = Board::read_all(&repository().join("board")).unwrap();
    let mut router = Router::new(shell, boards.iter().find(|board| board.id == "ax3000t").unwrap());
    router.connect(&world.name("router"));
    router
}

#[test]
fn a_boot_without_a_daemon_forwards_nobody() {
    let world = World::new();
    let reasons: [(&str, &str); 5] = [
        ("procd starts it later", ":"),
        ("mistakes that the daemon ends over", "uci delete lango.main.wan; uci commit lango; rm /garden"),
        ("a file that nobody can read", "echo \"config gateway 'main\" >/etc/config/lango; rm /garden"),
        ("nothing is known", "echo \"config gateway 'main\" >/etc/config/lango; rm /etc/config/network /garden"),
        ("a name that is none", "uci set lango.main.lan='br-lan; accept'; uci commit lango; rm /garden"),
    ];
    for shell in SHELLS {
        for (reason, done) in reasons {
            let router = connected(shell, &world);
            world.until_all_pass();
            router.sh(done);
            router.sh("/etc/init.d/lango boot || true");
            world.assert_closed(&format!("{reason}, {shell}"));
            let told = router.calls().iter().any(|call| call.starts_with("logger") && call.ends_with("lango check"));
            assert_eq!(told, !router.path("garden").exists(), "{reason}: the log says what to do");
            world.nft(&["delete", "table", "inet", "lango"]);
        }
    }
}

#[test]
fn the_flash_that_is_not_ready_opens_nothing() {
    let world = World::new();
    for shell in SHELLS {
        let router = connected(shell, &world);
        world.until_all_pass();
        router.put("proc/mounts", "overlayfs:/tmp/root / overlay rw,upperdir=/tmp/root/upper 0 0\n");
        router.sh("/etc/init.d/lango boot");
        world.assert_closed(shell);
        world.nft(&["delete", "table", "inet", "lango"]);
    }
}

#[test]
fn a_gate_that_is_in_force_is_not_touched() {
    let world = World::new();
    for shell in SHELLS {
        let router = connected(shell, &world);
        world.nft(&["add table inet lango { comment \"Lango, layout 0\"; chain forward { type filter hook forward priority -10; }; }"]);
        let before = world.nft(&["-a", "list", "ruleset"]);
        for line in ["boot", "start", "reload", "restart"] {
            router.sh(&format!("/etc/init.d/lango {line}"));
            assert_eq!(world.nft(&["-a", "list", "ruleset"]), before, "{line}, {shell}");
        }
        world.nft(&["delete", "table", "inet", "lango"]);
    }
}

#[test]
fn a_daemon_that_was_told_to_open_the_gate_is_not_closed_over() {
    let world = World::new();
    for shell in SHELLS {
        let router = connected(shell, &world);
        router.put("running/lango", "");
        router.sh("/etc/init.d/lango start");
        assert_eq!(world.nft(&["list", "ruleset"]), "", "{shell}: it runs, and would not replace the table");
        router.sh("rm /running/lango; /etc/init.d/lango start");
        assert!(world.nft(&["list", "ruleset"]).contains("chain closed"), "{shell}");
        world.nft(&["delete", "table", "inet", "lango"]);
    }
}

#[test]
fn an_installation_by_hand_closes_nothing() {
    let world = World::new();
    for shell in SHELLS {
        let router = connected(shell, &world);
        router.sh("LANGO_INSTALLING=1 /etc/init.d/lango start");
        assert_eq!(world.nft(&["list", "ruleset"]), "", "{shell}");
    }
}
