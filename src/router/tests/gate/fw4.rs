//! Beside OpenWrt's firewall: its reload, its restart and its stop.

use crate::conntrack::{settled, tracked};
use crate::traffic::{Server, Stream, connection, is_reset, refused, socket_address, tcp_ask, udp_ask};
use crate::world::{Host, INTERNET4, INTERNET6, Listening, World, account, eventually, now, of, within_seconds};
use lango::gate::{GateEvent, GateEvents};
use lango_core::gate::{GateAccount, GateChange, GateId, Traffic};
use lango_core::units::Bytes;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// The longest that our table may be away.
const BACK_WITHIN: Duration = Duration::from_millis(100);

impl World {
    /// In the place of the tests' stand-in, what fw4 makes.
    fn with_fw4() -> Self {
        let world = Self::new();
        world.nft(Host::Router, "delete table ip standin");
        world.nft(Host::Router, "delete table inet standin");
        world.reload_fw4();
        world
    }

    fn reload_fw4(&self) {
        self.nft(Host::Router, include_str!("fw4.nft"));
    }

    /// `/etc/init.d/firewall stop`: every table goes.
    fn stop_fw4(&self) {
        let tables = self.nft(Host::Router, "list tables");
        self.nft(Host::Router, &tables.lines().map(|table| format!("delete {table}\n")).collect::<String>());
    }

    /// What the kernel says of the gate, from now on.
    pub fn gate_events(&self) -> Listening<(GateEvent, Instant)> {
        self.listen(async |ready, heard| {
            let mut events = GateEvents::open().unwrap();
            ready();
            while let Ok(event) = events.next().await {
                heard.send((event, Instant::now())).unwrap();
            }
        })
    }
}

/// How long this thread could have run and did not, because the processor had others' work; nothing where the kernel does not tell.
fn waited_for_the_processor() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(told.split_whitespace().nth(1).and_then(|waited| waited.parse().ok()).unwrap_or(0))
}

fn paid_passes_and_unpaid_not(world: &World, what: &str) {
    for address in [INTERNET4, INTERNET6] {
        let ask = |host| world.within(host, || udp_ask(socket_address(address, 4000), b"x"));
        assert_eq!(ask(Host::Phone1).unwrap_or_else(|e| panic!("paid, {address}, {what}: {e}")), b"ex");
        assert!(refused(&ask(Host::Phone2)), "unpaid, {address}, {what}");
        let tcp = |host| world.within(host, || tcp_ask(socket_address(address, 443)));
        assert_eq!(tcp(Host::Phone1).unwrap_or_else(|e| panic!("paid, TCP, {address}, {what}: {e}")), "internet");
        assert!(refused(&tcp(Host::Phone2)), "unpaid, TCP, {address}, {what}");
    }
}

fn servers(world: &World) -> Vec<Server> {
    let both = [INTERNET4, INTERNET6].into_iter();
    both.flat_map(|address| {
        [
            Server::udp(world, Host::Internet, socket_address(address, 4000), "e"),
            Server::tcp(world, Host::Internet, socket_address(address, 443), "internet"),
        ]
    })
    .collect()
}

#[test]
fn a_reload_touches_nobody() {
    let world = World::with_fw4();
    let events = world.gate_events();
    let mut gate = world.gate();
    let _servers = servers(&world);
    let desired = GateAccount { until: within_seconds(60), data_end: Some(Bytes(50_000_000)), ..account(1, &[1]) };
    gate.apply(&[GateChange::Set(desired)], now()).unwrap();
    paid_passes_and_unpaid_not(&world, "before");
    let counted = of(&gate.usage().unwrap(), 1, 1);
    let stream = Stream::start(&world, Host::Phone1, socket_address(INTERNET4, 4000), Duration::from_millis(1), 100);
    for _ in 0..5 {
        world.reload_fw4();
    }
    let streamed = stream.stop();
    assert_eq!(streamed.lost(), [0u64; 0], "of {}", streamed.sent);
    let sent = Traffic { up: Bytes(counted.up.0 + streamed.sent * 128), down: Bytes(counted.down.0 + streamed.sent * 129) };
    assert_eq!(of(&gate.usage().unwrap(), 1, 1), sent);
    paid_passes_and_unpaid_not(&world, "after a reload");
    // fw4's own stop, without the service's: its table alone goes, and comes again.
    world.nft(Host::Router, "delete table inet fw4");
    assert!(refused(&world.within(Host::Phone2, || udp_ask(socket_address(INTERNET6, 4000), b"x"))));
    world.reload_fw4();
    paid_passes_and_unpaid_not(&world, "after its table came again");
    assert!(events.try_recv().is_err(), "nothing happened to our table");
}

#[test]
fn after_a_stop_the_table_is_back_at_once_with_what_is_left() {
    let world = World::with_fw4();
    let events = world.gate_events();
    let mut gate = world.gate();
    let _servers = servers(&world);
    let (until, limit) = (within_seconds(60), 1_000_000);
    let mut desired = GateAccount { until, data_end: Some(Bytes(limit)), ..account(1, &[1]) };
    let begun = Instant::now();
    gate.reconcile(std::slice::from_ref(&desired), now()).unwrap();
    let first = begun.elapsed();
    println!("put in for the first time within {first:?}");
    let mut times = Vec::new();
    for round in 0..5 {
        paid_passes_and_unpaid_not(&world, "before a stop");
        // What the books have: what was read last is what goes on.
        let used = of(&gate.usage().unwrap(), 1, 1);
        desired.used = used.total();
        desired.devices.values_mut().for_each(|device| device.traffic = used);
        let begun = Instant::now();
        let (back, waited) = std::thread::scope(|scope| {
            let waited = waited_for_the_processor();
            // The command ends some time after the kernel did what it asks for, and a daemon does not wait for that.
            scope.spawn(|| world.stop_fw4());
            let (event, heard) = events.recv_timeout(Duration::from_secs(5)).unwrap();
            assert_eq!(event, GateEvent::TableGone);
            gate.reconcile(std::slice::from_ref(&desired), now()).unwrap();
            (heard.elapsed(), waited_for_the_processor() - waited)
        });
        times.push((back, back.saturating_sub(waited)));
        println!(
            "round {round}: {back:?} after it was heard, {waited:?} of it for other programs; {:?} after the command",
            begun.elapsed()
        );
        assert!(refused(&world.within(Host::Phone2, || udp_ask(socket_address(INTERNET6, 4000), b"x"))), "round {round}");
        let installed = &gate.installed()[&GateId(1)];
        assert_eq!(installed.data_end, Some(Bytes(limit)));
        assert!(installed.until.unwrap().0.abs_diff(until.unwrap().0) < 100, "the end is the one that was");
        assert_eq!(of(&gate.usage().unwrap(), 1, 1), used, "the counters go on");
        world.reload_fw4();
    }
    // What other programs on this machine took of it is not the gate's, in any round; and half of them are in time whatever those do.
    times.sort_unstable();
    assert!(
        times[2].0 <= BACK_WITHIN && times.iter().all(|time| time.1 <= BACK_WITHIN),
        "the table is back after {times:?}; the first time took {first:?}"
    );
    // The limit is what it was: not one byte more for all the stops.
    let mut left = of(&gate.usage().unwrap(), 1, 1).total().0;
    while world.within(Host::Phone1, || udp_ask(socket_address(INTERNET6, 4000), &[0; 1000])).is_ok() {
        left += 1048 + 1049;
    }
    assert!(left <= limit && left + 2 * 1049 > limit, "{left} of {limit} bytes");
}

#[test]
fn what_began_while_the_gate_was_away_is_forgotten_when_it_is_back() {
    let world = World::with_fw4();
    let mut gate = settled(&world);
    world.nft(Host::Router, "delete table inet lango");
    let desired = [account(1, &[1])];
    let mut paid = connection(&world, Host::Phone1, socket_address(INTERNET4, 4001));
    let mut unpaid = connection(&world, Host::Phone2, socket_address(INTERNET4, 4002));
    gate.reconcile(&desired, now()).unwrap();
    let cleaning = gate.cleaning(now()).expect("the table was away");
    assert_eq!(world.within(Host::Router, || cleaning.run()).unwrap().deleted, 1);
    assert_eq!(tracked(&world, &["src=10.77.0.12", "dport=4002"]), [""; 0]);
    unpaid.0.write_all(b"x").unwrap();
    assert!(is_reset(&mut unpaid.0));
    paid.0.write_all(b"x").unwrap();
    paid.1.read_exact(&mut [0]).unwrap();
    assert_eq!(tracked(&world, &["src=10.77.0.11", "dport=4001"]).len(), 1);
    eventually("nothing is left to do", || gate.cleaning_due().is_none().then_some(()));
}
