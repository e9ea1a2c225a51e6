//! From one purchase to the next on a live session: the rules and the real kernel together let every packet pass.

use crate::traffic::{Server, Stream, socket_address, udp_to};
use crate::world::{Host, INTERNET4, World, addresses, mac};
use lango::clock;
use lango::gate::Gate;
use lango_core::gateway::Gateway;
use lango_core::package::{Limits, Package};
use lango_core::request::{AskId, Request};
use lango_core::settings::{Outage, Settings};
use lango_core::step::{Effect, Input};
use lango_core::units::{Bytes, Kbps, Millis, Shillings};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Time of each purchase that has an end of it, in milliseconds.
const TIME: u64 = 1_500;
/// Data of each purchase that has an end of it, in bytes.
const DATA: u64 = 600_000;
/// A datagram of the stream there and back, headers included: the answer is one byte longer.
const THERE_AND_BACK: u64 = (500 + 28) + (501 + 28);

/// Data of another one.
const FIVE_MEGABYTES: u64 = 5_000_000;

fn package(id: &str, time: bool, data: bool, speed: bool) -> Package {
    let rate = speed.then_some(Kbps(20_000));
    let (time, data) = (time.then_some(Millis(TIME)), data.then_some(Bytes(DATA)));
    let limits = Limits { time, data, down: rate, up: rate, devices: 1 };
    Package { id: id.parse().unwrap(), label: id.into(), price: Shillings(10), limits }
}

/// The rules and the gate, joined as the daemon joins them.
struct Router {
    gateway: Gateway,
    gate: Gate,
    changes: u32,
}

impl Router {
    fn open(world: &World) -> Self {
        let packages = vec![
            package("time", true, false, false),
            package("time_slow", true, false, true),
            package("data", false, true, false),
            package("data_slow", false, true, true),
            Package {
                limits: Limits { data: Some(Bytes(FIVE_MEGABYTES)), ..package("five", false, true, false).limits },
                ..package("five", false, true, false)
            },
        ];
        let settings = Settings {
            name: "test".parse().unwrap(),
            packages,
            outage: Outage::Pause,
            checkpoint: lango_core::gateway::CHECKPOINT_EVERY,
            relay: false,
            end_notice: None,
            radius: None,
            version: "0".into(),
        };
        let gateway = Gateway::load(settings, [], clock::boot_id().unwrap(), clock::now());
        let mut gate = world.gate();
        gate.expect_speeds();
        let mut router = Self { gateway, gate, changes: 0 };
        for address in addresses(1) {
            router.step(Input::Neighbour { mac: mac(1), address, present: true });
        }
        router
    }

    fn buy(&mut self, package: &str) {
        self.step(Input::Ask(AskId(1), Request::Grant { device: mac(1), package: package.parse().unwrap() }));
    }

    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.gateway.handle(input, clock::now(), &clock::entropy().unwrap()) {
                match effect {
                    Effect::Gate(changes) => {
                        self.changes += 1;
                        inputs.push_back(Input::LastCounts(self.gate.apply(&changes, clock::monotonic()).unwrap()));
                    }
                    Effect::ReadUsage => inputs.push_back(Input::Usage(self.gate.usage().unwrap())),
                    _ => {}
                }
            }
        }
    }

    /// The daemon does what is due, for so long.
    fn runs(&mut self, milliseconds: u64) {
        let end = Instant::now() + Duration::from_millis(milliseconds);
        while Instant::now() < end {
            let due = self.gateway.poll_timeout().map_or(Millis(1_000), |at| at.since(clock::monotonic()));
            std::thread::sleep(Duration::from_millis(due.0).min(end.saturating_duration_since(Instant::now())));
            if self.gateway.poll_timeout().is_some_and(|at| at <= clock::monotonic()) {
                self.step(Input::Tick);
            }
        }
    }
}

#[test]
fn an_end_of_time_between_two_purchases_costs_no_packet() {
    // What follows, and whether the daemon is dead from before the end of the first until long after.
    for (follows, dead) in [("time_slow", false), ("time_slow", true), ("data_slow", false), ("data_slow", true)] {
        let world = World::new();
        let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
        let mut router = Router::open(&world);
        router.buy("time");
        router.buy(follows);
        let (began, changes) = (Instant::now(), router.changes);
        let stream = Stream::start(&world, Host::Phone1, socket_address(INTERNET4, 4000), Duration::from_millis(4), 500);
        if dead {
            std::thread::sleep(Duration::from_millis(TIME + 500));
            router.step(Input::Tick);
        } else {
            router.runs(TIME + 500);
        }
        let streamed = stream.stop();
        assert_eq!(streamed.lost(), [0u64; 0], "of {}; {follows}, dead: {dead}", streamed.sent);
        assert!(streamed.sent > TIME / 5 && began.elapsed() > Duration::from_millis(TIME), "the end was passed");
        assert_eq!(router.changes, changes + 1, "one change of the gate; {follows}, dead: {dead}");
    }
}

#[test]
fn two_purchases_of_data_give_their_sum_and_not_a_packet_more() {
    for reads in [false, true] {
        let world = World::new();
        let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
        let mut router = Router::open(&world);
        router.buy("data");
        router.buy("data_slow");
        let stream = Stream::start(&world, Host::Phone1, socket_address(INTERNET4, 4000), Duration::from_millis(1), 500);
        // Some pages ask for the counters meanwhile, or nobody does: the first one's end shows in them, or not at all.
        for _ in 0..25 {
            std::thread::sleep(Duration::from_millis(100));
            if reads {
                let usage = router.gate.usage().unwrap();
                router.step(Input::Usage(usage));
            }
        }
        let streamed = stream.stop();
        let back = u64::try_from(streamed.back.len()).unwrap();
        assert!(streamed.sent > 2 * DATA / THERE_AND_BACK, "enough was sent: {}", streamed.sent);
        // One that went up may have been the last that fitted.
        assert!(back <= 2 * DATA / THERE_AND_BACK && back + 2 > 2 * DATA / THERE_AND_BACK, "{back} came back; counters read: {reads}");
        let whole: Vec<u64> = streamed.lost().into_iter().filter(|lost| *lost < back).collect();
        assert_eq!(whole, [0u64; 0], "nothing is lost before the sum is used up; counters read: {reads}");
    }
}

/// Sends until so many bytes have passed, there and back; gives how many did.
fn moves(socket: &std::net::UdpSocket, bytes: u64) -> u64 {
    let mut passed = 0;
    // Headers of IPv4 and UDP are 28 bytes, and the answer is one byte longer.
    while passed < bytes && socket.send(&[0; 1_400]).and_then(|_| socket.recv(&mut [0; 2_000])).is_ok() {
        passed += 1_428 + 1_429;
    }
    passed
}

#[test]
fn a_table_that_goes_gives_away_what_was_moved_since_the_last_reading_and_that_is_a_second_s_worth() {
    let world = World::new();
    let _server = Server::udp(&world, Host::Internet, socket_address(INTERNET4, 4000), "e");
    let mut router = Router::open(&world);
    router.buy("five");
    let socket = world.within(Host::Phone1, || udp_to(socket_address(INTERNET4, 4000)));
    let mut passed = moves(&socket, 2_000_000);
    // Nobody asks for a page, and the daemon does what is due: a reading, long before the next checkpoint.
    router.runs(2_500);
    for round in 1..=2 {
        world.nft(Host::Router, "delete table inet lango");
        let desired = router.gateway.desired_gate();
        router.gate.reconcile(&desired, clock::monotonic()).unwrap();
        let used = desired[0].used.0;
        assert_eq!(used, passed, "round {round}: the books have all that passed");
        passed += moves(&socket, 300_000);
        router.runs(8_500);
    }
    passed += moves(&socket, u64::MAX);
    assert!(passed <= FIVE_MEGABYTES && passed + 2 * 1_429 > FIVE_MEGABYTES, "{passed} bytes passed of {FIVE_MEGABYTES}");
    // What was moved in the moment before is given away, and not a packet more.
    let usage = router.gate.usage().unwrap();
    router.step(Input::Usage(usage));
    router.buy("five");
    let mut again = moves(&socket, 400_000);
    world.nft(Host::Router, "delete table inet lango");
    let desired = router.gateway.desired_gate();
    router.gate.reconcile(&desired, clock::monotonic()).unwrap();
    again += moves(&socket, u64::MAX);
    // The exchange that passes a mark, and the bytes that were left of the package before.
    let most = FIVE_MEGABYTES + 400_000 + 2 * (1_428 + 1_429);
    assert!(again > FIVE_MEGABYTES && again <= most, "{again} bytes passed of {FIVE_MEGABYTES}, with 400,000 to be given away");
}
