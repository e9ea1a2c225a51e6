//! A thousand phones log in at once after a power cut of the street: the real portal of the real router, a real FreeRADIUS that is asked
//! of each and told of each. Everybody gets in by doing what the portal says, and nobody else notices.

use lango_lab::Lab;
use lango_lab::crowd::{Crowd, Device, ask};
use lango_lab::freeradius::{FreeRadius, Options, Tables};
use lango_lab::http::Response;
use lango_lab::lab::figure;
use lango_lab::postgres;
use lango_lab::wait::{until, until_true};
use lango_lab::world::{CLOUD4, ROUTER_WAN4};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// Who logs in.
const STORM: u16 = 1_000;
/// Who comes with a voucher meanwhile, one after the other.
const VOUCHERS: u16 = 20;
/// Who buys meanwhile, one after the other.
const PAYERS: u16 = 5;
/// Who only looks at pages meanwhile.
const LOOKER: Device = Device(STORM + VOUCHERS + PAYERS);
const ALL: u16 = LOOKER.0 + 1;

const SECRET: &str = "lab-radius-secret";
const SOON: Duration = Duration::from_secs(20);
/// After so long customers give it up, whatever the machine does besides.
const PATIENCE: Duration = Duration::from_secs(60);
/// No storm lasts longer, on however slow a machine: half a minute is what customers bear.
const STORM_AT_MOST: Duration = Duration::from_secs(120);
/// Between two page views of one who only looks.
const LOOKS_EVERY: Duration = Duration::from_millis(20);
/// Everybody else's half, and 99 of a hundred. What they take is printed: it is the machine's time as well, which may do other things. Here
/// is where a customer would notice the storm.
const HALF: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(20);
/// What 128 who wait, 256 connections and 1,000 sessions may take at most.
const MEMORY_KIB: u64 = 24 * 1024;

/// How a customer got in.
#[derive(Debug, Default, Clone, Copy)]
struct Entered {
    /// After how long, with all tries.
    after: Duration,
    /// The longest time that one try took.
    longest: Duration,
    /// How often the portal said "in a moment".
    turned_away: u32,
    /// How often it said that the server does not answer.
    offline: u32,
    /// How often there was no answer at all.
    dropped: u32,
}

/// Logs in and does what the portal says, until it is in.
fn logs_in(device: Device) -> Entered {
    let (began, mut entered) = (Instant::now(), Entered::default());
    let body = json!({"username": user(device), "password": "secret"});
    loop {
        let tried = Instant::now();
        let answer = ask(device, "POST", "/api/hotspot/login", Some(&body));
        entered.longest = entered.longest.max(tried.elapsed());
        assert!(began.elapsed() < STORM_AT_MOST, "{device:?} is not in after {:?}: {entered:?}, {answer:?}", began.elapsed());
        let wait = match answer {
            Ok(answer) if answer.status == 200 => break,
            Ok(answer) if answer.status == 429 => {
                entered.turned_away += 1;
                answer.header("retry-after").and_then(|seconds| seconds.parse().ok()).unwrap_or_else(|| panic!("no Retry-After"))
            }
            Ok(answer) if answer.error_code().as_deref() == Some("login_offline") => {
                entered.offline += 1;
                5 // "in a minute"
            }
            Ok(answer) => panic!("{device:?}: {} {}", answer.status, answer.text()),
            Err(_) => {
                entered.dropped += 1;
                1
            }
        };
        std::thread::sleep(Duration::from_secs(wait)); // as the portal told it
    }
    Entered { after: began.elapsed(), ..entered }
}

fn user(device: Device) -> String {
    format!("storm{:04}", device.0)
}

/// Shortest to longest; the half, the 99th of a hundred, and the last.
fn spread(mut times: Vec<Duration>) -> (Duration, Duration, Duration) {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    (at(50), at(99), at(100))
}

fn in_words(what: &str, times: Vec<Duration>) -> (Duration, Duration, Duration) {
    let (count, (half, most, worst)) = (times.len(), spread(times));
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    figure(&format!("{what}: {count}; p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms", ms(half), ms(most), ms(worst)));
    (half, most, worst)
}

/// KiB of a process, as `/proc` has them: `VmRSS` or `VmHWM`.
fn memory(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_else(|| panic!("no {field} in {text}"));
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// The lab with its crowd, and a FreeRADIUS that knows everybody in it.
fn lab() -> (Lab, FreeRadius, Crowd) {
    let lab = Lab::start();
    let clients = vec![(ROUTER_WAN4.to_owned(), SECRET.to_owned())];
    // On SQLite, which has one writer at a time, the server itself refuses right passwords when sessions are being written for long.
    let tables = Tables::Postgres(postgres::database());
    let options = Options { address: CLOUD4.to_owned(), clients, tables, verbose: false, ..Options::default() };
    let server = FreeRadius::new(&lab.world.cloud, &lab.world.folder, options).unwrap_or_else(|e| panic!("{e:#}"));
    let rows: Vec<String> = (0..STORM).map(|n| format!("('{}', 'Cleartext-Password', ':=', 'secret')", user(Device(n)))).collect();
    server.execute(&format!("INSERT INTO radcheck (username, attribute, op, value) VALUES {};", rows.join(","))).unwrap();
    server.start().unwrap_or_else(|e| panic!("{e:#}"));
    let crowd = Crowd::join(&lab.world, ALL).unwrap_or_else(|e| panic!("{e:#}"));
    let section =
        format!("\nconfig radius 'radius'\n\tlist server '{CLOUD4}:1812'\n\tlist accounting '{CLOUD4}:1813'\n\toption secret '{SECRET}'\n");
    lab.lango.configure(|text| text.to_owned() + &section).unwrap();
    lab.lango.program.signal(Signal::SIGHUP).unwrap();
    until_true("the config to be in force", SOON, || lab.lango.program.log().contains("read again and in force")).unwrap();
    (lab, server, crowd)
}

fn vouchers(lab: &Lab) -> Vec<String> {
    let printed = lab.lango.command(&["vouchers", "create", "day", &VOUCHERS.to_string(), "--json"]).unwrap();
    let batch: Value = serde_json::from_str(&printed).unwrap();
    batch["vouchers"].as_array().unwrap().iter().map(|voucher| voucher["code"].as_str().unwrap().to_owned()).collect()
}

/// Whoever only looks stops looking, by whatever way this goes.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn must(answer: anyhow::Result<Response>, status: u16) -> Value {
    let answer = answer.unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(answer.status, status, "{}", answer.text());
    answer.value()
}

/// Buys, and gives back how long the portal took to answer, and how long until the device was online.
fn buys(device: Device) -> (Duration, Duration) {
    let began = Instant::now();
    let body = json!({"package": "day", "phone": format!("07120{:05}", device.0)});
    let payment = must(ask(device, "POST", "/api/payments", Some(&body)), 202)["payment"].as_str().unwrap().to_owned();
    let answered = began.elapsed();
    let path = format!("/api/payments/{payment}/status");
    until("the payment", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(50)); // a page's pace
        let payment = must(ask(device, "GET", &path, None), 200);
        (payment["status"] != "pending").then(|| assert_eq!(payment["connected"], true, "{payment}"))
    })
    .unwrap();
    (answered, began.elapsed())
}

#[test]
fn a_thousand_log_in_at_the_server_s_pace_and_nobody_else_notices() {
    let (lab, server, crowd) = lab();
    let codes = vouchers(&lab);
    let pid = lab.lango.program.pid().unwrap();
    must(crowd.run(|| ask(LOOKER, "GET", "/api/packages", None)), 200);
    let before = memory(pid, "VmRSS");

    let (start, over) = (RwLock::new(()), AtomicBool::new(false));
    let (entered, pages, redeemed, bought) = crowd.run(|| {
        std::thread::scope(|scope| {
            // All begin when all are there; and all end, whatever fails.
            let ends = Ends(&over);
            let closed = start.write();
            let storm: Vec<_> = (0..STORM)
                .map(|n| {
                    let thread = std::thread::Builder::new().stack_size(256 * 1024);
                    let start = &start;
                    let logs_in = move || {
                        drop(start.read());
                        logs_in(Device(n))
                    };
                    thread.spawn_scoped(scope, logs_in).unwrap()
                })
                .collect();
            let looker = scope.spawn(|| {
                drop(start.read());
                let mut times = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let page = ask(LOOKER, "GET", "/", None).unwrap_or_else(|e| panic!("{e:#}"));
                    times.push(began.elapsed());
                    assert_eq!(page.status, 200);
                    std::thread::sleep(LOOKS_EVERY); // a customer's pace
                }
                times
            });
            let redeemers = scope.spawn(|| {
                drop(start.read());
                let redeems = |(n, code): (u16, &String)| {
                    let began = Instant::now();
                    must(ask(Device(STORM + n), "POST", "/api/vouchers/redeem", Some(&json!({"code": code}))), 200);
                    began.elapsed()
                };
                (0..).zip(&codes).map(redeems).collect::<Vec<_>>()
            });
            let buyers = scope.spawn(|| {
                drop(start.read());
                (0..PAYERS).map(|n| buys(Device(STORM + VOUCHERS + n))).collect::<Vec<_>>()
            });
            drop(closed);
            let entered: Vec<_> = storm.into_iter().map(ScopedJoinHandle::join).collect();
            drop(ends);
            let others = (looker.join(), redeemers.join(), buyers.join());
            // Each has said what went wrong.
            let failed = entered.iter().filter(|one| one.is_err()).count();
            assert_eq!(failed, 0, "so many of {STORM} did not get in");
            let entered: Vec<Entered> = entered.into_iter().flatten().collect();
            (entered, others.0.unwrap(), others.1.unwrap(), others.2.unwrap())
        })
    });
    let (after, most) = (memory(pid, "VmRSS"), memory(pid, "VmHWM"));
    let all = entered.iter().map(|one| one.after).max().unwrap();
    let sum = |of: fn(&Entered) -> u32| entered.iter().map(of).sum::<u32>();
    figure(&format!(
        "{STORM} were in after {:.1} s ({:.0} a second), {} times told to come again, {} times that the server does not answer, {} times not answered",
        all.as_secs_f64(),
        f64::from(STORM) / all.as_secs_f64(),
        sum(|one| one.turned_away),
        sum(|one| one.offline),
        sum(|one| one.dropped)
    ));
    in_words("until a customer was in, with all tries", entered.iter().map(|one| one.after).collect());
    in_words("the longest try of each", entered.iter().map(|one| one.longest).collect());
    let page = in_words("others' pages meanwhile", pages);
    let voucher = in_words("others' vouchers meanwhile", redeemed);
    let (asked, paid): (Vec<_>, Vec<_>) = bought.into_iter().unzip();
    let payment = in_words("others' payments, until the portal had taken them", asked);
    in_words("others' payments, from the tap until online (Safaricom and the broker in it)", paid);
    figure(&format!("lango: {before} KiB before, {most} KiB at most, {after} KiB with {} online", STORM + VOUCHERS + PAYERS));
    for (what, (half, most, worst)) in [("pages", page), ("vouchers", voucher), ("payments", payment)] {
        assert!(half < HALF && most < MOST && worst < PATIENCE, "{what}: p50 {half:?}, p99 {most:?}, worst {worst:?}");
    }
    assert!(most < before + MEMORY_KIB, "{before} KiB became {most}");

    // Everybody of the storm has one row, and it is open; those who paid here have one, too.
    let accounted = Instant::now();
    let rows = until("one open row for each", STORM_AT_MOST, || {
        let counted = server.query("SELECT COUNT(*) AS n FROM radacct WHERE acctstoptime IS NULL").ok()?;
        (counted[0]["n"] == json!(STORM + VOUCHERS + PAYERS)).then(|| server.sessions())
    })
    .unwrap_or_else(|e| panic!("{e:#}: {:?}", server.query("SELECT COUNT(*) AS n FROM radacct")));
    figure(&format!("the last was accounted {:.1} s after the last was in", accounted.elapsed().as_secs_f64()));
    assert_eq!(rows.len(), usize::from(STORM + VOUCHERS + PAYERS), "somebody has two rows");
    let mut stations: Vec<&str> = rows.iter().map(|row| row["callingstationid"].as_str().unwrap()).collect();
    stations.sort_unstable();
    stations.dedup();
    assert_eq!(stations.len(), rows.len(), "a device has two rows");
    assert_eq!(lab.lango.status().unwrap()["accounting"], 0);
    lab.money_is_service();
}
