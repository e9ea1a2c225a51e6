//! The portal beside a bare epoll server on the same topology: how many it answers and how quickly, whom slow clients hold up, and what
//! open connections cost in memory.

use crate::bare::{Answers, Bare};
use crate::bench::megabytes;
use crate::daemon::PORTAL_PORT;
use crate::device::{INTERNET, ROUTER};
use crate::figures::Samples;
use crate::forwarding::{Comparison, compare};
use crate::load::Load;
use crate::network::Network;
use crate::plan::Plan;
use crate::report::{Figure, Report};
use crate::rest;
use anyhow::{Context as _, Result, bail, ensure};
use lango_lab::net::Namespace;
use lango_lab::wait::{until, until_true};
use std::cell::RefCell;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

/// How many ask at once.
const CROWDS: [u32; 2] = [10, 50];
/// Clients that hold their connections, and connections of which the memory is looked at.
const SLOW: u32 = 200;
const OPEN: u32 = 1_000;
/// As many of one phone as the portal serves it at once, and those of them that have their answer and stay.
const OF_ONE_PHONE: u32 = 16;
const STAY: u32 = 2;

const BARE_REDIRECT_PORT: u16 = 9_001;
const BARE_PAGE_PORT: u16 = 9_002;
const PATIENCE: Duration = Duration::from_secs(10);

/// What a phone's own check asks for, of a host on the internet.
const PROBE: &str = "GET /generate_204 HTTP/1.1\r\nHost: connectivitycheck.gstatic.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/60.0.3112.32 Safari/537.36\r\n\
    Accept-Encoding: gzip\r\n";
/// What its sheet asks for then.
const PAGE: &str = "GET / HTTP/1.1\r\nHost: portal.lan:8088\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (Linux; Android 14; K) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate\r\nAccept-Language: sw-KE,sw;q=0.9,en-US;q=0.8,en;q=0.7\r\n";

/// Measures all of it: the daemon runs in the gated network, nothing but masquerading in the plain one.
///
/// # Errors
/// When something is not answered as it should be.
pub fn run(plan: &Plan, plain: &Network, gated: &Network, daemon: u32, report: &mut Report) -> Result<()> {
    let files = descriptors(daemon)?;
    let redirects = answers(&gated.phones[0], SocketAddrV4::new(INTERNET, 80), PROBE).context("the portal's redirect")?;
    let pages = answers(&gated.phones[0], SocketAddrV4::new(ROUTER, PORTAL_PORT), PAGE).context("the portal's page")?;
    let length = pages.kept.len() as f64 / 1e3;
    report.set("page", 0, Figure::new(length, format!("{length:.1} KB")));
    // The captive devices' port 80, as the gate redirects it.
    plain.router.nft(&format!(
        "table ip bare {{
	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
		iifname \"br-lan\" tcp dport 80 redirect to :{BARE_REDIRECT_PORT}
	}}
}}
"
    ))?;
    for host in plain.phones.iter().chain(&gated.phones) {
        // Connections that ended are remembered by the other end; there is one of each number only.
        host.sysctl("net/ipv4/ip_local_port_range", "1024 65535")?;
    }
    for router in [&plain.router, &gated.router] {
        // Connection tracking remembers who has gone for two minutes, and these are more in that time than its table holds.
        router.sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1")?;
        // Redirects and pages end at one port of the portal's, and at two of the bare server's: a phone's number that comes again for a page
        // within a minute of its redirect is taken for the old connection's, and its SYN is lost for a second.
        router.sysctl("net/ipv4/tcp_max_tw_buckets", "0")?;
    }
    let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
    let redirects = Bare::start(&plain.router, any(BARE_REDIRECT_PORT), redirects)?;
    let pages = Bare::start(&plain.router, any(BARE_PAGE_PORT), pages)?;

    for crowd in CROWDS {
        for (kept, lines) in [
            (true, ["redirects-kept", "redirects-kept-processor", "redirects-kept-times"]),
            (false, ["redirects-each", "redirects-each-processor", "redirects-each-times"]),
        ] {
            let target = SocketAddrV4::new(INTERNET, 80);
            let ask = Ask { text: PROBE, status: "HTTP/1.1 302", bare: (target, redirects.id()), portal: (target, daemon) };
            ask.measure(plan, plain, gated, crowd, kept, report, lines)?;
        }
        for (kept, lines) in [
            (true, ["pages-kept", "pages-kept-processor", "pages-kept-times"]),
            (false, ["pages-each", "pages-each-processor", "pages-each-times"]),
        ] {
            let [bare, portal] = [BARE_PAGE_PORT, PORTAL_PORT].map(|port| SocketAddrV4::new(ROUTER, port));
            let ask = Ask { text: PAGE, status: "HTTP/1.1 200", bare: (bare, pages.id()), portal: (portal, daemon) };
            ask.measure(plan, plain, gated, crowd, kept, report, lines)?;
        }
    }
    slow(plan, gated, report)?;
    memory(gated, daemon, files, report)
}

/// The same question to both.
struct Ask {
    text: &'static str,
    status: &'static str,
    /// Where it listens, and its thread.
    bare: (SocketAddrV4, u32),
    portal: (SocketAddrV4, u32),
}

impl Ask {
    #[allow(clippy::too_many_arguments)] // two networks, one way to ask, and where the figures go
    fn measure(
        &self,
        plan: &Plan,
        plain: &Network,
        gated: &Network,
        crowd: u32,
        kept: bool,
        report: &mut Report,
        [rate, processor, times]: [&'static str; 3],
    ) -> Result<()> {
        let request = format!("{}Connection: {}\r\n\r\n", self.text, if kept { "keep-alive" } else { "close" });
        let took = [RefCell::new(Vec::new()), RefCell::new(Vec::new())];
        let cost = [RefCell::new(Vec::new()), RefCell::new(Vec::new())];
        let waits = [RefCell::new(Vec::new()), RefCell::new(Vec::new())];
        let ask = |network: &Network, (target, thread): (SocketAddrV4, u32), side: usize| {
            let load = Load {
                phones: &network.phones,
                target,
                request: request.as_bytes(),
                status: self.status,
                connections: crowd as usize,
                kept,
            };
            let before = rest::share(thread)?;
            let answered = load.run(plan)?;
            let after = rest::share(thread)?;
            let for_each = |part: Duration| part.as_secs_f64() * 1e6 / answered.all.max(1) as f64;
            cost[side].borrow_mut().push(for_each(after.used.saturating_sub(before.used)));
            waits[side].borrow_mut().push(for_each(after.waited.saturating_sub(before.waited)));
            took[side].borrow_mut().extend(answered.times);
            Ok(answered.rate)
        };
        let compared = compare(plan, None, || ask(plain, self.bare, 0), || ask(gated, self.portal, 1)).context(rate)?;
        let Comparison { plain: bare, gated: portal, ratio, .. } = compared;
        let text = format!("{ratio:.2} ({:.1} / {:.1} thousand)", portal / 1e3, bare / 1e3);
        report.set(rate, crowd, Figure::new(ratio, text));
        let [bare, portal] = cost.map(RefCell::into_inner);
        let ratio = bare.iter().zip(&portal).map(|(bare, portal)| bare / portal).collect::<Samples>().median();
        let median = |all: Vec<f64>| all.into_iter().collect::<Samples>().median();
        let [bare, portal] = [bare, portal].map(median);
        let [bare_waits, waits] = waits.map(|all| median(all.into_inner()));
        let text = format!("{ratio:.2} ({portal:.1} / {bare:.1} µs, after a wait of {waits:.1} / {bare_waits:.1})");
        report.set(processor, crowd, Figure::new(ratio, text));
        let [bare, portal] = took.map(|took| took.into_inner().into_iter().collect::<Samples>());
        let of = |samples: &Samples| format!("{:.2} / {:.2} ms", samples.median(), samples.quantile(0.99));
        report.set(times, crowd, Figure::new(portal.median(), format!("{} ({})", of(&portal), of(&bare))));
        Ok(())
    }
}

/// What is answered to who keeps its connection, and to who asks for its end.
fn answers(phone: &Namespace, target: SocketAddrV4, text: &str) -> Result<Answers> {
    Ok(Answers { kept: fetch(phone, target, text, "keep-alive")?, closed: fetch(phone, target, text, "close")? })
}

/// One request; the whole answer, as it came.
fn fetch(phone: &Namespace, target: SocketAddrV4, text: &str, connection: &str) -> Result<Vec<u8>> {
    let mut stream = connect(phone, target)?;
    stream.write_all(format!("{text}Connection: {connection}\r\n\r\n").as_bytes())?;
    let (mut answer, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let length = stream.read(&mut piece)?;
        ensure!(length > 0, "it was closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..length]);
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&answer[..end]).into_owned();
            let body = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).context("no Content-Length")?;
            if answer.len() >= end + 4 + body.parse::<usize>()? {
                return Ok(answer);
            }
        }
    }
}

fn connect(phone: &Namespace, target: SocketAddrV4) -> Result<TcpStream> {
    let stream =
        phone.run(|| TcpStream::connect_timeout(&target.into(), PATIENCE)).with_context(|| format!("{} to {target}", phone.name()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What who holds a place says: nothing, half of a request, or a form of which the rest never comes.
const HOLDING: [&str; 3] = [
    "",
    PAGE,
    "POST /login HTTP/1.1\r\nHost: portal.lan:8088\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 40\r\n\r\nusername=",
];
/// What who has its page and stays said.
const STAYING: &str = "GET / HTTP/1.1\r\nHost: portal.lan:8088\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\n\r\n";

/// So many connections, spread over the phones, that say these things in turn.
fn hold(phones: &[Namespace], count: u32, says: &[&str]) -> Result<Vec<TcpStream>> {
    let (target, mut held) = (SocketAddrV4::new(ROUTER, PORTAL_PORT), Vec::new());
    let of_each = count.div_ceil(u32::try_from(phones.len())?);
    for phone in phones {
        let part = of_each.min(count - u32::try_from(held.len())?);
        let streams =
            phone.run(|| (0..part).map(|_| TcpStream::connect_timeout(&target.into(), PATIENCE)).collect::<Result<Vec<_>, _>>())?;
        held.extend(streams);
    }
    for (mut stream, said) in held.iter().zip(says.iter().cycle()).filter(|(_, said)| !said.is_empty()) {
        // Of who has more than its share the oldest were closed.
        let _closed = stream.write_all(said.as_bytes());
    }
    Ok(held)
}

/// How many of them are still open, seen from their own side. What was answered is read.
fn still_open(held: &[TcpStream]) -> Result<u32> {
    let mut open = 0;
    let mut piece = [0; 16 * 1024];
    for mut stream in held {
        stream.set_nonblocking(true)?;
        open += loop {
            match stream.read(&mut piece) {
                Ok(1..) => {}
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => break 1,
                Ok(0) | Err(_) => break 0,
            }
        };
        stream.set_nonblocking(false)?;
    }
    Ok(open)
}

/// A phone that wants the page while others hold their connections.
fn slow(plan: &Plan, gated: &Network, report: &mut Report) -> Result<()> {
    let Some((good, others)) = gated.phones.split_last() else { bail!("no phones") };
    // As many of each as a device may have, but the one or two with which it has its page and stays; 15 phones hold 210.
    let each = OF_ONE_PHONE - STAY;
    let phones = u32::try_from(others.len())?;
    let count = SLOW.min(each * phones);
    let target = SocketAddrV4::new(ROUTER, PORTAL_PORT);
    let mut took = Vec::new();
    for crowd in [0, count] {
        let mut times = Vec::new();
        while times.len() < plan.grants as usize {
            // They are let go after five seconds, and come again. Who has its page is not kept where places are rare.
            let staying = hold(others, if crowd > 0 { STAY * phones } else { 0 }, &[STAYING])?;
            let held = hold(others, if crowd > 0 { each * phones } else { 0 }, &HOLDING)?;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(2) && times.len() < plan.grants as usize {
                times.push(first_byte(good, target)?);
            }
            // What is closed never opens again: so many held all the time.
            let open = still_open(&held)?;
            ensure!(open >= crowd, "{open} held their connections, and what is measured needs {crowd}");
            drop(staying);
        }
        took.push(times.into_iter().collect::<Samples>());
    }
    for (crowd, samples) in [0, count].into_iter().zip(took) {
        let text = format!("{:.2} / {:.2} / {:.1} ms", samples.median(), samples.quantile(0.99), samples.worst());
        report.set("first-byte", crowd, Figure::new(samples.worst(), text));
    }
    Ok(())
}

/// From the beginning of a connection to the first byte of the page.
fn first_byte(phone: &Namespace, target: SocketAddrV4) -> Result<Duration> {
    phone.run(|| {
        let begun = Instant::now();
        let mut stream = TcpStream::connect_timeout(&target.into(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{PAGE}Connection: close\r\n\r\n").as_bytes())?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        let took = begun.elapsed();
        ensure!(&status == b"HTTP/1.1 200", "it is {}", String::from_utf8_lossy(&status));
        stream.read_to_end(&mut Vec::new())?;
        Ok(took)
    })
}

/// How many files, sockets among them, a process has open.
fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// What the daemon has in RAM before, with many connections, and when they are gone; without any it has so many files open.
fn memory(gated: &Network, daemon: u32, files: usize, report: &mut Report) -> Result<()> {
    let gone = || descriptors(daemon).is_ok_and(|now| now <= files);
    until_true("the connections before to be gone", PATIENCE, gone)?;
    let before = rest::memory(daemon)?;
    report.set("portal-memory", 0, megabytes(before));
    let held = hold(&gated.phones, OPEN, &["", PAGE, STAYING])?;
    let inside = until("the portal to have taken in who came", PATIENCE, || {
        let now = descriptors(daemon).ok()?;
        let open = u32::try_from(now.checked_sub(files)?).ok()?;
        (open >= 3 * OF_ONE_PHONE).then_some(open)
    })?;
    let open = still_open(&held)?;
    let open = format!(" ({} of them are kept)", open.max(inside));
    report.set("portal-memory", OPEN, megabytes(rest::memory(daemon)?).and(&open));
    drop(held);
    until_true("the connections to be gone", PATIENCE, gone)?;
    report.set("portal-memory-after", OPEN, megabytes(rest::memory(daemon)?));
    Ok(())
}
