//! A panic of the program that runs, as it is built: it takes its own place, as the same process, and nobody's access changes by that.
//!
//! The panic is a real one, of a router without room for one more thread: the kernel refuses its stack, and what wanted the thread panics.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::tool;
use lango_lab::wait::until_true;
use std::time::Duration;

const SILENCE: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(20);

/// A thread's stack is larger than this, and what the program asks for in between is not.
const ROOM: u64 = 1024 * 1024;

/// Bytes of addresses that a process has taken.
fn taken(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("it runs");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The names of its threads.
fn threads(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // One may end meanwhile.
    tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok()).map(|name| name.trim().to_owned()).collect()
}

fn limit(pid: u32, bytes: &str) {
    tool::run("prlimit", ["--pid", &pid.to_string(), &format!("--as={bytes}:")]).unwrap();
}

#[test]
fn a_panic_is_a_start_and_nobody_s_access_changes() {
    let lab = Lab::start();
    let (phone, other, unpaid) = (lab.joined_phone(), lab.joined_phone(), lab.joined_phone());
    phone.await_paid(&phone.pay("day", "0712345678"));
    lab.lango.command(&["grant", &other.mac, "day"]).unwrap();
    // Other builds than the routers' would keep the stack of a thread that ended, for the next.
    lab.lango.program.terminate().unwrap();
    lab.lango.program.under(["env", "GLIBC_TUNABLES=glibc.pthread.stack_cache_size=0"].map(str::to_owned).to_vec());
    lab.lango.start().unwrap();
    lab.lango.await_payments().unwrap();
    let pid = lab.lango.program.pid().expect("it runs");
    // One that had something to do at the start waits for more of the same, and would take it.
    until_true("no thread but those that always run", SOON, || threads(pid).iter().all(|name| name != "tokio-rt-worker")).unwrap();
    let mut probe = phone.probe(false);
    limit(pid, &(taken(pid) + ROOM).to_string());

    // Its connections are to be deleted, and that is work for a thread of its own.
    lab.lango.command(&["kick", &other.mac]).unwrap();
    until_true("the panic", SOON, || lab.lango.program.log().contains("; starting again")).unwrap();
    limit(pid, "unlimited");
    until_true("the program in its own place", SOON, || lab.lango.status().is_ok()).unwrap();

    let log = lab.lango.program.log();
    let said = log.lines().find(|line| line.contains("; starting again")).unwrap();
    assert!(said.starts_with("error: ") && said.contains("src/router/src/daemon/cleaning.rs:"), "{said}");
    assert!(lab.lango.program.running() && lab.lango.program.pid() == Some(pid), "the same process goes on");
    lab.lango.await_payments().unwrap();
    probe.stop();
    let sent = probe.sent().len() as u64;
    until_true("the last datagram", SOON, || lab.internet().last_arrival(probe.id).map(|(n, _)| n + 1) == Some(sent)).unwrap();
    assert_eq!(lab.internet().arrivals(probe.id).len() as u64, sent, "who has paid lost nothing by it");
    assert!(!unpaid.udp_echo((HOST4, ECHO).into(), SILENCE) && !other.udp_echo((HOST4, ECHO).into(), SILENCE), "and nobody else is let in");
    // It sells on.
    unpaid.await_paid(&unpaid.pay("hour", "0712000111"));
    assert!(unpaid.udp_echo((HOST4, ECHO).into(), SOON));
    lab.money_is_service();
}
