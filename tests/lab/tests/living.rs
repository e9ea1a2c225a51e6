//! Living with others on the router: a firewall that takes every table away, what the kernel tracks of a customer's
//! connections, and a program that is replaced under a thousand customers.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4, HOST6};
use lango_lab::lab::figure;
use lango_lab::phone::Probe;
use lango_lab::wait::{until, until_true};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const SILENCE: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(20);
const ROUNDS: usize = 5;

/// The longest that the gate may be away after somebody deleted it, and the longest that a new daemon may take.
const BACK_WITHIN: Duration = Duration::from_millis(100);

/// What is measured here is measured alone.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn arrived(lab: &Lab, probe: &Probe) -> usize {
    lab.internet().arrivals(probe.id).len()
}

/// The numbers of a probe's datagrams that never arrived, once it has stopped.
fn lost(lab: &Lab, probe: &mut Probe) -> (usize, usize) {
    probe.stop();
    let sent = probe.sent().len();
    until_true("the last datagram", SOON, || lab.internet().last_arrival(probe.id).is_some_and(|(n, _)| n + 1 == sent as u64)).unwrap();
    let mut numbers: Vec<u64> = lab.internet().arrivals(probe.id).iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    (sent - numbers.len(), sent)
}

#[test]
fn every_table_deleted_and_the_gate_is_back_at_once() {
    let _alone = alone();
    let lab = Lab::start();
    let (phone, unpaid) = (lab.joined_phone(), lab.joined_phone());
    phone.await_paid(&phone.pay("day", "0712345678"));
    // The first answer may come sooner than its address is learnt.
    until_true("an answer over IPv6", SOON, || phone.udp_echo((HOST6, ECHO).into(), SILENCE)).unwrap();
    let before = phone.session().unwrap();
    let left = |session: &serde_json::Value| session["seconds_remaining"].as_u64().unwrap();
    let began = Instant::now();
    // In IPv6: without the firewall's NAT, IPv4 has no way back.
    let mut paid = phone.probe(true);
    let outsider = unpaid.probe(true);
    let mut gaps = Vec::new();
    for round in 0..ROUNDS {
        let so_far = arrived(&lab, &paid);
        until_true("the traffic to flow", SOON, || arrived(&lab, &paid) > so_far + 100).unwrap();
        let leaked = arrived(&lab, &outsider);
        let flushed = Instant::now();
        lab.world.router.exec("nft", &["flush", "ruleset"]).unwrap();
        let commanded = flushed.elapsed();
        until_true("the gate to be back", SOON, || lab.lango.gate().is_ok()).unwrap();
        assert!(!unpaid.udp_echo((HOST6, ECHO).into(), SILENCE), "round {round}");
        // How long it was away is what got through meanwhile says: a datagram a millisecond.
        let through = lab.internet().arrivals(outsider.id).split_off(leaked);
        let gap = match (through.first(), through.last()) {
            (Some((_, first)), Some((_, last))) => *last - *first,
            _ => Duration::ZERO,
        };
        figure(&format!("away for {gap:.1?} ({} datagrams of who has not paid); nft itself took {commanded:.1?}", through.len()));
        gaps.push(gap);
    }
    assert_eq!(lab.lango.program.log().matches("somebody removed our table").count(), ROUNDS);
    assert!(gaps.iter().all(|gap| *gap <= BACK_WITHIN), "the gate was away for {gaps:?}");
    // A packet that is in the chains in the very instant of the deletion may be refused, and no other.
    let (lost, sent) = lost(&lab, &mut paid);
    figure(&format!("{lost} of {sent} datagrams of who has paid were lost by {ROUNDS} deletions"));
    assert!(lost <= 2 * ROUNDS, "{lost} of {sent} datagrams of who has paid were lost");
    let session = phone.session().unwrap();
    let passed = left(&before) - left(&session);
    assert!(passed.abs_diff(began.elapsed().as_secs()) <= 1, "{passed} s went by for {:?}: {session}", began.elapsed());
    lab.world.router.nft(include_str!("../src/router.nft")).unwrap();
    assert!(phone.udp_echo((HOST4, ECHO).into(), SOON) && !unpaid.udp_echo((HOST4, ECHO).into(), SILENCE));
}

/// Tracked connections of the router whose lines hold all of these words.
fn tracked(lab: &Lab, words: &[&str]) -> Vec<String> {
    let list = lab.world.router.run(|| std::fs::read_to_string("/proc/thread-self/net/nf_conntrack")).unwrap();
    list.lines().filter(|line| words.iter().all(|word| format!("{line} ").contains(&format!("{word} ")))).map(str::to_owned).collect()
}

#[test]
fn nothing_that_was_forwarded_stays_after_the_end() {
    let _alone = alone();
    let lab = Lab::start();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    let mut streams: Vec<_> = [std::net::IpAddr::V4(HOST4), std::net::IpAddr::V6(HOST6)]
        .into_iter()
        .flat_map(|host| [phone.connect((host, ECHO).into(), SOON).unwrap(), phone.connect((host, ECHO).into(), SOON).unwrap()])
        .collect();
    for stream in &mut streams {
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
    }
    let port = format!("dport={ECHO}");
    assert_eq!(tracked(&lab, &["tcp", &port, "ESTABLISHED"]).len(), 4);
    let mut page = phone
        .connect((lango_lab::world::ROUTER4.parse::<std::net::IpAddr>().unwrap(), lango_lab::world::PORTAL_PORT).into(), SOON)
        .unwrap();
    lab.lango.command(&["kick", &phone.mac]).unwrap();
    let ended = Instant::now();
    // One of each is in use at the end, the other says nothing until it is forgotten.
    for stream in streams.iter_mut().step_by(2) {
        let error = stream.write_all(b"hello").and_then(|()| stream.read_exact(&mut [0; 5])).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    until_true("nothing to be tracked any more", SOON, || tracked(&lab, &["tcp", &port]).is_empty()).unwrap();
    figure(&format!("the last tracked connection went {:.1?} after the end", ended.elapsed()));
    assert!(ended.elapsed() <= Duration::from_secs(5), "it took {:?}", ended.elapsed());
    for stream in streams.iter_mut().skip(1).step_by(2) {
        let error = stream.write_all(b"hello").and_then(|()| stream.read_exact(&mut [0; 5])).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    // The page that was open is answered on the same connection.
    page.write_all(b"GET / HTTP/1.1\r\nhost: portal.lan\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = page.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Whether the daemon answers a question on its control socket.
fn answers(control: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(control) else { return false };
    let mut first = [0; 1];
    stream.set_read_timeout(Some(SOON)).is_ok()
        && stream.write_all(b"{\"ask\":\"status\"}\n").is_ok()
        && stream.read_exact(&mut first).is_ok()
}

#[test]
fn a_thousand_sessions_are_taken_over_after_kill_9_without_a_loss() {
    const SESSIONS: u32 = 1_000;
    let _alone = alone();
    let lab = Lab::start();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    // Devices that are there as far as the router knows: their neighbour entries.
    lab.world.router.ip(&["addr", "add", "10.78.0.1/16", "dev", "br-lan"]).unwrap();
    let device = |n: u32| (format!("02:00:5e:20:{:02x}:{:02x}", n >> 8, n & 0xff), format!("10.78.{}.{}", 1 + (n >> 8), n & 0xff));
    let entries =
        (1..SESSIONS).map(device).map(|(mac, address)| format!("neigh replace {address} lladdr {mac} dev br-lan nud permanent\n"));
    lab.world.router.exec_with_input("ip", &["-batch", "-"], entries.collect::<String>().as_bytes()).unwrap();
    for n in 1..SESSIONS {
        lab.lango.command(&["grant", &device(n).0, "day"]).unwrap();
    }
    let online = || lab.lango.status().ok().and_then(|status| status["devices_online"].as_u64());
    until_true("all to be online", SOON, || online() == Some(u64::from(SESSIONS))).unwrap();
    let mut probe = phone.probe(false);
    let control = lab.world.folder.join("lango.sock");
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let so_far = arrived(&lab, &probe);
        until_true("the traffic to flow", SOON, || arrived(&lab, &probe) > so_far + 300).unwrap();
        lab.lango.program.kill9();
        let told = lab.lango.program.log().len();
        let started = Instant::now();
        lab.lango.program.start().unwrap();
        // From before the process is made until it answers, which it does when it has taken over.
        while !answers(&control) {
            assert!(started.elapsed() < SOON && lab.lango.program.running(), "{}", lab.lango.program.tail(20));
            std::thread::sleep(Duration::from_micros(200));
        }
        let took = started.elapsed();
        let log = || lab.lango.program.log().split_off(told);
        let told = || log().lines().find(|line| line.contains("accounts are in force")).map(str::to_owned);
        let line = until("the daemon to say that it took over", SOON, told).unwrap();
        let numbers: Vec<u64> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
        assert_eq!(numbers[0], u64::from(SESSIONS), "{line}");
        figure(&format!("{SESSIONS} sessions: it answers after {took:.1?}; taken over {} ms after its start by its own count", numbers[1]));
        times.push(Duration::from_millis(numbers[1]));
    }
    let (lost, sent) = lost(&lab, &mut probe);
    assert_eq!((lost, online()), (0, Some(u64::from(SESSIONS))), "datagrams lost of {sent}, and devices online");
    figure(&format!("0 of {sent} datagrams of a stream of 1,000 a second were lost by {ROUNDS} kills and starts"));
    // By the daemon's own count, from its first line of code on: `make bench` adds what the system needs to make the process of the
    // program that routers get, and judges that.
    let worst = times.iter().max().unwrap();
    assert!(*worst <= BACK_WITHIN, "it took {times:?} (a debug build takes far longer than what is shipped)");
    until("the daemon to answer", SOON, || lab.lango.sessions().ok()).unwrap();
}
