//! A request whose handler panics, in a process that starts again from a panic: the same process serves the next one.

use crate::world::{PHONE, within};
use lango::portal::Limits;
use lango::restart::{PANICKED, guard, heard};
use lango_core::restart::Part;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the portal sends a phone that asks for the start page, until it closes.
fn start_page(port: u16) -> String {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let at = |host: &str, port| SockaddrIn::from(SocketAddrV4::new(host.parse().unwrap(), port));
    bind(socket.as_raw_fd(), &at(PHONE, 0)).unwrap();
    connect(socket.as_raw_fd(), &at("127.0.0.1", port)).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: portal.lan\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // One whose process ends may be reset.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_panic_in_a_request_is_a_moment_without_a_portal() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "restarted::the_process_itself"])
        .env("LANGO_TEST_PORTAL", "1")
        .env_remove(PANICKED)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let process = Killed(process);
    // The process, how often in a row a request has panicked, and the portal's port.
    let mut served = || -> (u32, u32, u16) {
        let line = lines.find_map(|line| line.strip_prefix("serving ").map(str::to_owned)).expect("it serves");
        let mut numbers = line.split(' ').map(|number| number.parse::<u32>().unwrap());
        let mut next = || numbers.next().unwrap();
        (next(), next(), u16::try_from(next()).unwrap())
    };
    let (pid, panics, port) = served();
    assert_eq!((pid, panics), (process.0.id(), 0));
    let began = Instant::now();
    assert_eq!(start_page(port), "", "no answer to what panics");
    let (pid, panics, port) = served();
    assert_eq!((pid, panics), (process.0.id(), 1), "it is the same process");
    let page = start_page(port);
    println!("a page {:?} after the request that panicked", began.elapsed());
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("1 hour"), "{page}");
}

#[test]
#[ignore = "the process that the other test starts"]
fn the_process_itself() {
    std::env::var("LANGO_TEST_PORTAL").expect("only the other test starts this one");
    lango::logger::start();
    guard();
    let panics = heard(Part::Request).map_or(0, |panicked| panicked.in_a_row);
    within(Limits::default(), async |world| {
        world.shop.panics.set(panics == 0);
        println!("\nserving {} {panics} {}", std::process::id(), world.address.port());
        std::future::pending::<()>().await;
    });
}
