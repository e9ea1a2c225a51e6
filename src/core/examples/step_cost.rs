//! What one step of the rules costs with 1, 1,000 and 10,000 accounts online, and 10,000 old payments in the books:
//! `cargo run -p lango-core --profile lab --example step_cost`. Absolute times are this machine's; the ratio between the
//! columns is what matters.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)] // it measures, so it reads a clock

use lango_core::account::{Account, Clock, Online, Purchase};
use lango_core::gate::{GateId, Traffic, Usage};
use lango_core::gateway::Gateway;
use lango_core::message::{Down, DownBody, UpBody};
use lango_core::order::{Order, OrderState};
use lango_core::package::{Limits, Package};
use lango_core::record::{Device, Record};
use lango_core::request::{AskId, Request};
use lango_core::settings::{Outage, Settings};
use lango_core::step::{Effect, Entropy, Input};
use lango_core::time::{BootId, Monotonic, Now, Wall};
use lango_core::units::{Bytes, Mac, Millis, Password, Shillings};
use std::time::{Duration, Instant};

const OLD_ORDERS: u32 = 10_000;
const TIMES: u32 = 200;

fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    Mac([2, 0, a, b, c, d])
}

fn package() -> Package {
    let limits = Limits { time: Some(Millis::from_minutes(600)), data: Some(Bytes::from_megabytes(900)), down: None, up: None, devices: 1 };
    Package { id: "day".parse().unwrap(), label: "a day".to_owned(), price: Shillings(10), limits }
}

fn records(accounts: u32, boot: &BootId) -> Vec<Record> {
    let mut records = Vec::new();
    for n in 1..=accounts {
        let username = format!("user{n}").parse::<lango_core::units::Username>().unwrap();
        let online = Online { boot: boot.clone(), since: Monotonic(1_000), since_wall: None };
        records.push(Record::Account(Account {
            username: username.clone(),
            password: Password::new("secret").unwrap(),
            id: GateId(n),
            phone: None,
            package: package().id,
            purchases: [Purchase { package: package().id, limits: package().limits }].into(),
            taken_away: 0,
            clock: Clock::Running { boot: boot.clone(), ends: Monotonic(36_000_000 + u64::from(n)), as_of: Monotonic(1_000) },
            traffic: [(mac(n), Traffic::default())].into(),
            data_start: Bytes::ZERO,
            online: [(mac(n), online)].into(),
            idle_since: None,
            untold: 0,
            counted_in: None,
        }));
        records.push(Record::Device(Device { mac: mac(n), account: Some(username), waiting: false, idle_since: None }));
    }
    for n in 0..OLD_ORDERS {
        records.push(Record::Order(Order {
            id: format!("{n:026}").parse().unwrap(),
            device: mac(n),
            phone: "0712345678".parse().unwrap(),
            package: package(),
            created: None,
            boot: boot.clone(),
            since: Monotonic(1_000),
            attempt: 1,
            language: None,
            state: OrderState::Paid {
                receipt: format!("R{n:09}").parse().unwrap(),
                amount: Shillings(10),
                account: "user1".parse().unwrap(),
            },
            given_up: false,
            idle_since: None,
        }));
    }
    records
}

struct Bench {
    gateway: Gateway,
    at: u64,
}

impl Bench {
    fn new(accounts: u32) -> Self {
        let boot = BootId::from("boot");
        let settings = Settings {
            name: "bench".parse().unwrap(),
            packages: vec![package()],
            outage: Outage::Pause,
            checkpoint: Millis::from_seconds(60),
            relay: true,
            end_notice: None,
            radius: None,
            version: "0".to_owned(),
        };
        let now = Now { monotonic: Monotonic(2_000), wall: None };
        let gateway = Gateway::load(settings, records(accounts, &boot), boot, now);
        let mut bench = Self { gateway, at: 2_000 };
        let effects = bench.step(Input::Link { connected: true }).0;
        let hello = effects.into_iter().find_map(|effect| match effect {
            Effect::Publish(up) => match up.body {
                UpBody::Hello { nonce, .. } => Some(nonce),
                _ => None,
            },
            _ => None,
        });
        let body = DownBody::Welcome { nonce: hello.unwrap() };
        let (id, router) = ("w-1".parse().unwrap(), "bench".parse().unwrap());
        bench.step(Input::Relay(Down { v: lango_core::message::VERSION, id, seq: 1, router, at: Wall(1_900_000_000_000), body }));
        bench
    }

    fn step(&mut self, input: Input) -> (Vec<Effect>, Duration) {
        self.at += 1;
        let entropy = Entropy(std::array::from_fn(|i| {
            self.at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(u32::try_from(i).unwrap() * 7).to_le_bytes()[3]
        }));
        let now = Now { monotonic: Monotonic(self.at), wall: None };
        let began = Instant::now();
        let effects = self.gateway.handle(input, now, &entropy);
        let _next = self.gateway.poll_timeout(); // the daemon asks after each step
        (effects, began.elapsed())
    }

    /// The median, in microseconds.
    fn median(&mut self, input: impl Fn(u32) -> Input) -> f64 {
        let mut times: Vec<Duration> = (0..TIMES).map(|n| self.step(input(n)).1).collect();
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    }
}

fn main() {
    println!("{:<34}{:>12}{:>12}{:>12}", "median of one step, microseconds", 1, 1_000, 10_000);
    let mut benches = [1, 1_000, 10_000].map(|accounts| (accounts, Bench::new(accounts)));
    let mut row = |name: &str, input: &dyn Fn(u32, u32) -> Input| {
        let costs: Vec<String> =
            benches.iter_mut().map(|(accounts, bench)| format!("{:>12.1}", bench.median(|n| input(*accounts, n)))).collect();
        println!("{name:<34}{}", costs.concat());
    };
    row("Tick", &|_, _| Input::Tick);
    row("Ask(CheckSession)", &|_, _| Input::Ask(AskId(1), Request::CheckSession { device: mac(1) }));
    row("Ask(LatestPayment)", &|_, _| Input::Ask(AskId(1), Request::LatestPayment { device: mac(1) }));
    row("Ask(Pay), each device its first", &|_, n| {
        let phone = "0712345678".parse().unwrap();
        Input::Ask(AskId(1), Request::Pay { device: mac(1_000_000 + n), package: package().id, phone, language: None })
    });
    row("Ask(Grant)", &|_, n| Input::Ask(AskId(1), Request::Grant { device: mac(2_000_000 + n), package: package().id }));
    row("Neighbour, one that is known", &|_, _| Input::Neighbour { mac: mac(1), address: [10, 0, 0, 1].into(), present: true });
    row("Neighbour, new each time", &|_, n| Input::Neighbour {
        mac: mac(n),
        address: [10, 1, 0, u8::try_from(n % 250).unwrap()].into(),
        present: true,
    });
    row("Usage of all accounts", &|accounts, n| {
        let traffic = Traffic { up: Bytes(u64::from(n)), down: Bytes(u64::from(n)) };
        Input::Usage((1..=accounts).map(|account| Usage { id: GateId(account), mac: mac(account), traffic }).collect())
    });
}
