//! A copied Ethernet address while its owner is online: what the real kernel tells of it, and what the rules make of that.

use crate::traffic::{Server, socket_address, udp_ask};
use crate::world::{Host, INTERNET4, ROUTER4, World, config, ip, mac, now, of};
use lango::clock;
use lango::gate::{Gate, Senders};
use lango::neighbours::{Neighbours, Sight};
use lango_core::gate::{GateChange, Traffic};
use lango_core::gateway::Gateway;
use lango_core::package::{Limits, Package};
use lango_core::request::{Answer, AskId, Request};
use lango_core::settings::{Outage, Settings};
use lango_core::step::{Effect, Input};
use lango_core::units::{Millis, Shillings};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// The rules and the real neighbours, joined as the daemon joins them.
struct Router {
    gateway: Gateway,
    neighbours: Neighbours,
    /// The kernel's gate and its packet log, where a test has them.
    gate: Option<(Gate, Senders)>,
    served: BTreeSet<IpAddr>,
    /// Addresses that wait.
    held: BTreeSet<Ipv4Addr>,
    log: Vec<String>,
    ports: Vec<String>,
}

impl Router {
    fn open() -> Self {
        let limits = Limits { time: Some(Millis::from_minutes(60)), data: None, down: None, up: None, devices: 1 };
        let hour = Package { id: "hour".parse().unwrap(), label: "1 hour".into(), price: Shillings(10), limits };
        let settings = Settings {
            name: "test".parse().unwrap(),
            packages: vec![hour],
            outage: Outage::Pause,
            checkpoint: lango_core::gateway::CHECKPOINT_EVERY,
            relay: false,
            end_notice: None,
            radius: None,
            version: "0".into(),
        };
        let gateway = Gateway::load(settings, [], clock::boot_id().unwrap(), clock::now());
        let neighbours = Neighbours::open(&["br-lan".to_owned()]).unwrap();
        Self { gateway, neighbours, gate: None, served: BTreeSet::new(), held: BTreeSet::new(), log: Vec::new(), ports: Vec::new() }
    }

    /// Puts the gate into the kernel, with what the rules want there.
    fn guard(&mut self) {
        let mut gate = Gate::open(config()).unwrap();
        gate.reconcile(&self.gateway.desired_gate(), now()).unwrap();
        self.gate = Some((gate, Senders::open().unwrap()));
    }

    /// What the kernel counted of the owner's, in both directions.
    fn counted(&mut self) -> Traffic {
        let (gate, _) = self.gate.as_mut().unwrap();
        let id = self.gateway.desired_gate()[0].id;
        of(&gate.usage().unwrap(), id.0, 1)
    }

    fn step(&mut self, input: Input) {
        for effect in self.gateway.handle(input, clock::now(), &clock::entropy().unwrap()) {
            match effect {
                Effect::Gate(changes) => {
                    if let Some((gate, _)) = &mut self.gate {
                        gate.apply(&changes, now()).unwrap();
                    }
                    for change in changes {
                        let GateChange::Set(account) = change else { panic!("the owner is cut off") };
                        let owner = account.devices.get(&mac(1)).unwrap();
                        self.served = owner.addresses.iter().copied().filter(IpAddr::is_ipv4).collect();
                        self.held = owner.held.iter().copied().collect();
                    }
                }
                Effect::Probe { mac, address } => self.neighbours.probe(mac, address).unwrap(),
                Effect::Log(line) => self.log.push(line),
                _ => {}
            }
        }
    }

    /// Goes on until something is so.
    async fn until(&mut self, what: &str, seconds: u64, so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !so(self) {
            assert!(begun.elapsed() < Duration::from_secs(seconds), "waited in vain: {what}; {:?} {:?}", self.served, self.log);
            let due = self.gateway.poll_timeout().map_or(Millis(100), |at| at.since(clock::monotonic()));
            let senders = self.gate.as_mut().map(|(_, senders)| senders);
            let sender = async {
                match senders {
                    Some(senders) => senders.next().await.unwrap(),
                    None => std::future::pending().await,
                }
            };
            let happened = tokio::select! {
                sight = self.neighbours.next() => Some(Ok(sight)),
                sender = sender => Some(Err(sender)),
                () = tokio::time::sleep(Duration::from_millis(due.0.min(100))) => None,
            };
            let input = match happened {
                None => Input::Tick,
                Some(Err(sender)) => {
                    assert!(!sender.foreign, "{sender:?}");
                    Input::NewAddress { mac: sender.mac, address: sender.address }
                }
                Some(Ok(Sight::Neighbour(event))) => Input::Neighbour { mac: event.mac, address: event.address, present: event.present },
                Some(Ok(Sight::Port { mac, port })) => {
                    self.ports.push(format!("{mac} {port}"));
                    Input::Port { mac, port }
                }
            };
            self.step(input);
        }
    }

    fn suspicions(&self) -> Vec<&String> {
        self.log.iter().filter(|line| line.starts_with("suspicion: ")).collect()
    }
}

/// Phone 1 is online as 10.77.0.11; what follows happens on the router.
fn with_the_owner_online(act: impl AsyncFnOnce(&World, Router) + Send) {
    let world = World::new();
    let _server = Server::udp(&world, Host::Router, socket_address(ROUTER4, 4000), "r");
    say(&world, Host::Phone1);
    world.within(Host::Router, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut router = Router::open();
            for (mac, address) in router.neighbours.known() {
                router.step(Input::Neighbour { mac, address, present: true });
            }
            router.step(Input::Ask(AskId(1), Request::Grant { device: mac(1), package: "hour".parse().unwrap() }));
            assert_eq!(router.served, [address(11)].into());
            act(&world, router).await;
        });
    });
}

fn address(host: u8) -> IpAddr {
    [10, 77, 0, host].into()
}

fn say(world: &World, phone: Host) {
    world.within(phone, || udp_ask(socket_address(ROUTER4, 4000), b"hello")).unwrap();
}

/// A frame to everybody: it needs no answer, and none is lost where the other one hears it.
fn call(world: &World, phone: Host, from: u8) {
    world.within(phone, || {
        let socket = UdpSocket::bind((address(from), 0)).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"here", (address(255), 9)).unwrap();
    });
}

/// Phone 2 takes phone 1's Ethernet address, and has this IP address.
fn copy(world: &World, host: u8) {
    let phone = world.name(Host::Phone2);
    ip(&format!("-n {phone} link set eth0 address 02:00:5e:10:00:01"));
    if host != 12 {
        ip(&format!("-n {phone} addr add 10.77.0.{host}/24 dev eth0"));
    }
}

#[test]
fn two_that_send_as_one_from_two_ports_are_told_of() {
    with_the_owner_online(async |world, mut router| {
        copy(world, 12);
        for _ in 0..3 {
            for (phone, from, port) in [(Host::Phone2, 12, "lan2"), (Host::Phone1, 11, "lan1")] {
                call(world, phone, from);
                let line = format!("02:00:5e:10:00:01 {port}");
                router.until("the bridge tells of the port", 5, |router| router.ports.last() == Some(&line)).await;
            }
        }
        let told = router.suspicions();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("lan1") && told[0].contains("lan2"), "{told:?}");
        assert_eq!(router.served, [address(11)].into(), "the owner keeps what it has");
    });
}

#[test]
fn a_copy_with_an_address_of_its_own_is_not_served_while_the_owner_answers() {
    with_the_owner_online(async |world, mut router| {
        copy(world, 12);
        // The bridge takes what is for this Ethernet address to the copy now, which sent last; the owner is silent.
        say(world, Host::Phone2);
        // Longer than the kernel asks. That nothing comes of it is the outcome: the owner answered.
        let begun = Instant::now();
        router.until("the kernel asked", 10, |_| begun.elapsed() > Duration::from_secs(6)).await;
        // Told once, by whichever sign came first: the owner's answer makes the bridge change its port, too.
        assert_eq!(router.suspicions().len(), 1, "{:?}", router.suspicions());
        assert_eq!(router.served, [address(11)].into());
        assert!(router.neighbours.known().contains(&(mac(1), address(11))), "the owner answered: the kernel has it still");
        // The owner leaves. Nobody answers there any more, which the next question shows; that is asked within a minute.
        let phone = world.name(Host::Phone1);
        ip(&format!("-n {phone} link set eth0 down"));
        router.neighbours.probe(mac(1), address(11)).unwrap();
        router.until("the other one is a device like any", 5, |router| router.served.contains(&address(12))).await;
    });
}

/// Sends datagrams of 1,000 bytes (1,028 on the way) from one of phone 2's addresses to a port that does not answer, a millisecond
/// apart.
fn send_out(from: IpAddr, count: u32) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    for _ in 0..count {
        let _ = socket.send_to(&[0; 1_000], socket_address(INTERNET4, 4001));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The owner asks until the answer comes; how often it asked. The bridge takes an answer to whom it heard last with this Ethernet
/// address, and no gate can help that: where a frame of the copy's (the rest of what it sent, an ARP answer, an ICMP error) comes
/// between a question and its answer, the copy has the answer.
fn asked(world: &World, to: SocketAddr, question: &[u8], answer: &[u8]) -> u64 {
    for times in 1..=5 {
        match world.within(Host::Phone1, || udp_ask(to, question)) {
            Ok(heard) => {
                assert_eq!(heard, answer);
                return times;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }
    panic!("{to} did not answer the owner five times");
}

#[test]
fn what_a_copy_sends_outward_ends_on_nobody_s_account() {
    with_the_owner_online(async |world, mut router| {
        router.guard();
        let _internet = Server::udp(world, Host::Internet, socket_address(INTERNET4, 4000), "e");
        let _silent = world.within(Host::Internet, || UdpSocket::bind(socket_address(INTERNET4, 4001)).unwrap());
        let dns = Server::udp(world, Host::Router, socket_address(ROUTER4, 53), "");
        // The owner's own packets, which also show that what was sent before has been dealt with: how many, of 29 bytes up each.
        let owner = || asked(world, socket_address(INTERNET4, 4000), b"x", b"ex");
        copy(world, 12);
        let (before, begun) = (router.counted(), Instant::now());
        let sending = world.spawn(Host::Phone2, || send_out(address(12), 1_000));
        router.until("the copy has sent all of it", 60, |_| sending.is_finished()).await;
        sending.join().unwrap();
        assert_eq!((router.held.clone(), router.served.clone()), ([Ipv4Addr::new(10, 77, 0, 12)].into(), [address(11)].into()));
        // Until the daemon has heard of it the kernel itself lets no more pass than a customer needs.
        let most = (65_536 + 1_024 + 1_024 * (begun.elapsed().as_secs() + 1)) / 1_028;
        let own = owner();
        let (arrived, taken) = (world.arrived() - own, router.counted().up.0 - before.up.0 - own * 29);
        println!("{arrived} of 1000 arrived, {taken} bytes on the owner's account; {most} at most");
        assert!(
            arrived <= most && taken == arrived * 1_028,
            "{arrived} of 1000 arrived, {most} at most; {taken} bytes are on the owner's account"
        );
        // From then on nothing at all.
        let (all, taken) = (world.arrived(), router.counted().up.0);
        world.within(Host::Phone2, || send_out(address(12), 1_000));
        let own = owner();
        assert_eq!((world.arrived(), router.counted().up.0), (all + own, taken + own * 29), "the address is held");
        // Nor is the router's DNS a way: it is that of who has not paid.
        let begun = Instant::now();
        world.within(Host::Phone2, || {
            let socket = UdpSocket::bind((address(12), 0)).unwrap();
            for _ in 0..1_000 {
                socket.send_to(&[1; 60], socket_address(ROUTER4, 53)).unwrap();
            }
        });
        // The owner is as before: outward, inward, and at the DNS.
        let questions: u64 = (0..300).map(|_| asked(world, socket_address(ROUTER4, 53), b"?", b"?")).sum();
        let through = dns.served() - questions;
        let most = (16_384 + 1_024 + 1_024 * (begun.elapsed().as_secs() + 1)) / 88;
        assert!(through <= most, "{through} questions of 1000 came through, {most} at most");
        let packets: u64 = (0..50).map(|_| owner()).sum();
        assert_eq!(router.counted().up.0, taken + (own + packets) * 29, "the owner's own bytes, and no others");
        let again = questions - 300 + packets - 50;
        println!("{through} of the copy's 1000 questions came through; the owner asked {again} times of 350 anew");
        assert!(again <= 10, "the owner had to ask {again} times of 350 anew");
        // The owner leaves: the other one is a device like any, and nothing of the doubt is left in the kernel.
        let phone = world.name(Host::Phone1);
        ip(&format!("-n {phone} link set eth0 down"));
        router.neighbours.probe(mac(1), address(11)).unwrap();
        router.until("the other one is served", 10, |router| router.served.contains(&address(12))).await;
        assert!(!world.nft(Host::Router, "list set inet lango held4").contains("elements"));
        let served = world.within(Host::Phone2, || udp_ask(socket_address(INTERNET4, 4000), b"x"));
        assert_eq!(served.unwrap(), b"ex");
    });
}

#[test]
fn a_phone_with_a_new_lease_is_served_as_soon_as_the_kernel_knows_that_it_moved() {
    with_the_owner_online(async |world, mut router| {
        let phone = world.name(Host::Phone1);
        ip(&format!("-n {phone} addr del 10.77.0.11/24 dev eth0"));
        ip(&format!("-n {phone} addr add 10.77.0.31/24 dev eth0"));
        let begun = Instant::now();
        say(world, Host::Phone1);
        router.until("the new address is served", 10, |router| router.served.contains(&address(31))).await;
        assert!(begun.elapsed() < Duration::from_millis(4_500), "it took {:?}", begun.elapsed());
        println!("served after {:?}", begun.elapsed());
        assert!(router.suspicions().is_empty(), "{:?}", router.suspicions());
    });
}

#[test]
fn what_an_operator_set_by_hand_is_not_asked_after() {
    with_the_owner_online(async |world, mut router| {
        let name = world.name(Host::Router);
        ip(&format!("-n {name} neigh replace 10.77.0.11 lladdr 02:00:5e:10:00:01 nud permanent dev br-lan"));
        router.neighbours.probe(mac(1), address(11)).unwrap();
        let out = std::process::Command::new("ip").args(["-n", &name, "neigh", "show", "10.77.0.11"]).output().unwrap();
        let shown = String::from_utf8(out.stdout).unwrap();
        assert!(shown.contains("PERMANENT"), "{shown}");
        let asked = router.gateway.handle(Input::Ask(AskId(2), Request::Status), clock::now(), &clock::entropy().unwrap());
        assert!(asked.iter().any(|e| matches!(e, Effect::Reply(_, Answer::Status(status)) if status.suspicions == 0)), "{asked:?}");
    });
}
