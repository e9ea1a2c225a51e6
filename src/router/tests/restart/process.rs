//! The process that panics, and what is seen of it.

use lango::restart::{Opening, guard, heard, stopping, within};
use lango::sync::{Broker, Sync, SyncConfig};
use lango_core::restart::Part;
use lango_core::units::Password;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub pid: u32,
    pub code: Option<i32>,
    pub out: String,
    pub error: String,
}

/// Starts the process, and waits for its end.
pub fn start(what: &str, place: &Path) -> Ended {
    let mut program = std::env::current_exe().unwrap();
    if what == "replaced" {
        let copy = place.join("lango");
        fs::copy(&program, &copy).unwrap();
        program = copy;
    }
    let mut child = Command::new(program)
        .args(["--ignored", "--exact", "--nocapture", "process::the_process_itself"])
        .env("LANGO_TEST_WHAT", what)
        .env("LANGO_TEST_PLACE", place)
        .env_remove(lango::restart::PANICKED)
        .env("LANGO_UPDATES", place)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let mut stderr = child.stderr.take().unwrap();
    let errors = thread::spawn(move || {
        let mut error = String::new();
        stderr.read_to_string(&mut error).unwrap();
        error
    });
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    Ended { pid, code: child.wait().unwrap().code(), out, error: errors.join().unwrap() }
}

/// Those beyond standard input, output and error, and the one that lists them.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 4
}

fn slack() -> String {
    fs::read_to_string("/proc/self/timerslack_ns").unwrap().trim().to_owned()
}

#[test]
#[ignore = "the process that the other tests start"]
fn the_process_itself() {
    let what = std::env::var("LANGO_TEST_WHAT").expect("only the other tests start this one");
    let place = PathBuf::from(std::env::var_os("LANGO_TEST_PLACE").unwrap());
    lango::logger::start();
    guard();
    let parts = [Part::StoreOpening, Part::Store, Part::Request, Part::Other];
    let broker = what.starts_with("broker") && std::env::var(lango::restart::PANICKED).is_ok();
    let before = parts.into_iter().find_map(heard);
    let said = match &before {
        Some(panicked) => format!("{:?} {}", panicked.part, panicked.in_a_row),
        // The sync is to hear of it.
        None if broker => "Broker 1".to_owned(),
        None => "nothing".to_owned(),
    };
    println!("\nstart {}: {said}, timers {}, {} descriptors", process::id(), slack(), descriptors());
    assert!(parts.into_iter().all(|part| heard(part).is_none()), "it is heard once");
    if broker && what == "broker, and connect" {
        println!("connected after {}", connects());
    }
    if (before.is_some() || broker) && what != "for ever" {
        process::exit(0);
    }
    let _left_open = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), fs::File::open("/dev/null").unwrap());
    panics(&what, &place);
    process::exit(9);
}

fn panics(what: &str, place: &Path) {
    let told_to = || {
        if true {
            panic!("told to")
        }
    };
    let on = |name: &str, work: Box<dyn FnOnce() + Send>| {
        drop(thread::Builder::new().name(name.to_owned()).spawn(work).unwrap().join());
    };
    match what {
        "store" => on(
            "store",
            Box::new(|| {
                nix::sys::prctl::set_timerslack(3_600_000_000_000).unwrap();
                panic!("told to");
            }),
        ),
        "a thread of sled's" => on("sled-io-3", Box::new(told_to)),
        "another thread" => on("tokio-rt-worker", Box::new(told_to)),
        "broker" | "broker, and connect" => within(Part::Broker, told_to),
        "request" => within(Part::Request, told_to),
        "a secret" => {
            let pin = std::hint::black_box(1234);
            within(Part::Request, || panic!("the PIN is {pin}"));
        }
        "behind a request" => {
            within(Part::Request, || ());
            told_to();
        }
        "other" | "for ever" | "on trial" => told_to(),
        "stopping" => {
            stopping();
            told_to();
        }
        "replaced" => {
            fs::File::create(place.join("new")).unwrap().write_all(b"another").unwrap();
            fs::rename(place.join("new"), place.join("lango")).unwrap();
            told_to();
        }
        "all at once" => {
            let all = Arc::new(Barrier::new(8));
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let all = Arc::clone(&all);
                    thread::spawn(move || {
                        all.wait();
                        panic!("told to");
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
        "store, opening" | "a thread of sled's, opening" => {
            let _opening = Opening::begin();
            on(if what.starts_with("store") { "store" } else { "sled-io-3" }, Box::new(told_to));
        }
        "store, opened" => {
            drop(Opening::begin());
            on("store", Box::new(told_to));
        }
        other => panic!("no such process: {other}"),
    }
}

/// Milliseconds until the sync connects.
fn connects() -> u128 {
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = door.local_addr().unwrap().port();
    let began = Instant::now();
    let connected = thread::spawn(move || {
        door.accept().unwrap();
        began.elapsed().as_millis()
    });
    let config = SyncConfig {
        broker: Broker { host: "127.0.0.1".to_owned(), port, tls: false },
        username: "kibera-7".to_owned(),
        password: Password::new("secret").unwrap(),
        ca: None,
        relay_key: [7; 32],
        router: "kibera-7".parse().unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let (_sync, mut events) = Sync::start(config);
        while !connected.is_finished() {
            drop(tokio::time::timeout(std::time::Duration::from_millis(20), events.recv()).await);
        }
        connected.join().unwrap()
    })
}
