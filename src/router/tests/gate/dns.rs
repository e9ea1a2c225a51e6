//! What a device that has not paid gets out of the router's DNS.

use crate::traffic::{Server, Stream, socket_address, tcp_ask, udp_ask, udp_to};
use crate::world::{Host, ROUTER4, ROUTER6, World, account, ip, now};
use lango_core::gate::GateChange;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

const BOTH: [&str; 2] = [ROUTER4, ROUTER6];

/// Sends questions as fast as it can, and takes what is answered until it has been quiet for a while.
fn ask_all(world: &World, phone: Host, router: &str, count: usize, size: usize) -> (usize, usize) {
    world.within(phone, || {
        let socket = udp_to(socket_address(router, 53));
        let (mut answers, mut bytes, mut buffer) = (0, 0, [0; 2_000]);
        for _ in 0..count {
            socket.send(&vec![1; size]).unwrap();
        }
        while let Ok(length) = socket.recv(&mut buffer) {
            answers += 1;
            bytes += length;
        }
        (answers, bytes)
    })
}

/// What a limit lets pass within a time, in bytes: the kernel's bucket holds the burst and what one second brings, and is full at
/// the beginning.
fn bucket(burst: u64, each_second: u64, time: Duration) -> u64 {
    burst + each_second + (each_second as f64 * time.as_secs_f64()).ceil() as u64
}

#[test]
fn questions_are_limited_by_device_and_nobody_else_is_harmed() {
    let world = World::new();
    let mut gate = world.gate();
    for (router, headers) in [(ROUTER4, 28), (ROUTER6, 48)] {
        let server = Server::udp(&world, Host::Router, socket_address(router, 53), "");
        let tcp = Server::tcp(&world, Host::Router, socket_address(router, 53), "dns");
        let begun = Instant::now();
        ask_all(&world, Host::Phone1, router, 3_000, 60);
        let most = bucket(16_384, 1_024, begun.elapsed()) / (60 + headers);
        // Of both IPs together: what the first round took, the second one has not.
        let least = if router == ROUTER4 { 150 } else { 1 };
        let served = server.served();
        assert!((least..=most).contains(&served), "{served} questions of 3000 came through, {least} to {most} were to be: {router}");
        // The neighbour, who has not paid either, is answered at once, and over TCP.
        for _ in 0..20 {
            assert_eq!(world.within(Host::Phone2, || udp_ask(socket_address(router, 53), b"?")).unwrap(), b"?");
        }
        assert_eq!(world.within(Host::Phone2, || tcp_ask(socket_address(router, 53))).unwrap(), "dns");
        // Who has paid asks as he likes, with his data for the bound.
        gate.apply(&[GateChange::Set(account(2, &[2]))], now()).unwrap();
        for _ in 0..600 {
            assert_eq!(world.within(Host::Phone2, || udp_ask(socket_address(router, 53), &[1; 60])).unwrap(), [1; 60]);
        }
        gate.apply(&[GateChange::Remove(lango_core::gate::GateId(2))], now()).unwrap();
        drop((server, tcp));
    }
}

#[test]
fn answers_are_limited_so_that_a_tunnel_is_not_worth_having() {
    let world = World::new();
    let mut gate = world.gate();
    for router in BOTH {
        // Small questions, and all that fits into an answer: what a tunnel does.
        let socket = world.within(Host::Router, || UdpSocket::bind(socket_address(router, 53)).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let server = world.spawn(Host::Router, move || {
            let mut buffer = [0; 2_000];
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                if let Ok((_, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&[2; 1_200], from);
                }
            }
        });
        let begun = Instant::now();
        let (answers, bytes) = ask_all(&world, Host::Phone1, router, 60, 20);
        let most = bucket(32_768, 2_048, begun.elapsed());
        assert!((20..60).contains(&answers) && bytes as u64 <= most, "{answers} answers, {bytes} bytes, {most} at most: {router}");
        let (others, _) = ask_all(&world, Host::Phone2, router, 20, 20);
        assert_eq!(others, 20, "the neighbour is not harmed");
        gate.apply(&[GateChange::Set(account(1, &[1]))], now()).unwrap();
        assert_eq!(ask_all(&world, Host::Phone1, router, 60, 20).0, 60, "who has paid is not limited");
        gate.apply(&[GateChange::Remove(lango_core::gate::GateId(1))], now()).unwrap();
        drop(stop);
        server.join().unwrap();
    }
}

/// Takes whoever connects; the first one is given back.
fn accepted(listener: &TcpListener, address: SocketAddr, world: &World, phone: Host) -> (TcpStream, TcpStream) {
    let near = world.within(phone, || TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap());
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    }
    (near, far)
}

/// What comes out of a connection within a time, in bytes, while all is put into it that it takes.
fn carried(mut from: TcpStream, mut to: TcpStream, time: Duration) -> u64 {
    let begun = Instant::now();
    let writer = std::thread::spawn(move || {
        while begun.elapsed() < time {
            match from.write(&[7; 16_384]) {
                Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                _ => {}
            }
        }
        from
    });
    let (mut bytes, mut buffer) = (0, vec![0; 65_536]);
    while begun.elapsed() < time {
        bytes += to.read(&mut buffer).unwrap_or(0) as u64;
    }
    drop(writer.join().unwrap());
    bytes
}

#[test]
fn a_tunnel_over_tcp_to_port_53_is_not_worth_having_either() {
    const LONG: Duration = Duration::from_secs(4);
    let world = World::new();
    let mut gate = world.gate();
    for router in BOTH {
        let address = socket_address(router, 53);
        let listener = world.within(Host::Router, || TcpListener::bind(address).unwrap());
        // Up: questions without an end. One connection's limit is what the device asks elsewhere, too.
        let begun = Instant::now();
        let (near, far) = accepted(&listener, address, &world, Host::Phone1);
        let up = carried(near, far, LONG);
        let most = bucket(16_384, 1_024, begun.elapsed());
        // Of both IPs together: what the first round took, the second one has not.
        let least = if router == ROUTER4 { 4_096 } else { 1 };
        println!("{up} bytes up, {most} at most: {router}");
        assert!((least..=most).contains(&up), "{up} bytes came up, {least} to {most} were to be: {router}");
        // Down, to the neighbour, who has asked little so far: answers without an end.
        let begun = Instant::now();
        let (near, far) = accepted(&listener, address, &world, Host::Phone2);
        let down = carried(far, near, LONG);
        let most = bucket(32_768, 2_048, begun.elapsed());
        println!("{down} bytes down, {most} at most: {router}");
        assert!((8_192..=most).contains(&down), "{down} bytes came down, {most} at most: {router}");
        // Who has paid is not limited: more than either would have let pass.
        gate.apply(&[GateChange::Set(account(1, &[1]))], now()).unwrap();
        for upward in [true, false] {
            let (near, far) = accepted(&listener, address, &world, Host::Phone1);
            let bytes = if upward { carried(near, far, LONG / 4) } else { carried(far, near, LONG / 4) };
            assert!(bytes > 200_000, "{bytes} bytes of who has paid: {router}");
        }
        gate.apply(&[GateChange::Remove(lango_core::gate::GateId(1))], now()).unwrap();
    }
}

#[test]
fn where_there_is_no_room_for_more_askers_they_share_and_nobody_is_locked_out() {
    let world = World::new();
    let _gate = world.gate();
    // As many devices as there is room for, made up by somebody.
    let made_up: Vec<String> = (0..4_096).map(|n| format!("02:aa:00:00:{:02x}:{:02x} timeout 1h", n / 256, n % 256)).collect();
    world.nft(Host::Router, &format!("add element inet lango asking {{ {} }}", made_up.join(", ")));
    let server = Server::udp(&world, Host::Router, socket_address(ROUTER4, 53), "");
    let begun = Instant::now();
    ask_all(&world, Host::Phone1, ROUTER4, 5_000, 60);
    let most = bucket(65_536, 51_200, begun.elapsed()) / 88;
    let served = server.served();
    println!("{served} of 5000, {most} at most");
    // More than one would have of its own, and far less than it asked.
    assert!((400..=most).contains(&served), "{served} questions of 5000 came through, {most} at most");
    let listed = world.nft(Host::Router, "list set inet lango asking");
    assert!(!listed.contains("02:00:5e:10:00:01") && listed.matches("02:aa:").count() == 4_096, "there is no room");
    // While the one asks and asks, the other one gets its answers, if not all of them at once.
    let flood = Stream::start(&world, Host::Phone1, socket_address(ROUTER4, 53), Duration::from_millis(1), 60);
    let begun = Instant::now();
    let answered = (0..20).filter(|_| world.within(Host::Phone2, || udp_ask(socket_address(ROUTER4, 53), b"?")).is_ok()).count();
    let asked = flood.stop();
    println!(
        "{answered} of 20 were answered within {:?} beside {} others, {} of them answered",
        begun.elapsed(),
        asked.sent,
        asked.back.len()
    );
    assert!(answered >= 5, "{answered} of 20 were answered beside {} others", asked.sent);
}

#[test]
fn addresses_that_are_made_up_are_not_answered_for_long() {
    let world = World::new();
    let _gate = world.gate();
    let _servers = BOTH.map(|router| Server::udp(&world, Host::Router, socket_address(router, 53), ""));
    let phone = world.name(Host::Phone1);
    let ask = |from: &str, router: &str, milliseconds: u64| {
        world.within(Host::Phone1, || {
            let socket = UdpSocket::bind(socket_address(from, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(milliseconds))).unwrap();
            socket.send_to(b"?", socket_address(router, 53)).unwrap();
            socket.recv(&mut [0; 10]).is_ok()
        })
    };
    assert!(ask("10.77.0.11", ROUTER4, 5_000) && ask("fd77::11", ROUTER6, 5_000));
    for number in 100..106 {
        let own = [(format!("10.77.0.{number}"), 24, ROUTER4), (format!("fd77::{number}"), 64, ROUTER6)];
        for (address, length, router) in own {
            let nodad = if length == 64 { " nodad" } else { "" };
            ip(&format!("-n {phone} addr add {address}/{length} dev eth0{nodad}"));
            // Six in all: the two that were there, and four of these twelve.
            let one_of_six = number < 102;
            assert_eq!(ask(&address, router, if one_of_six { 5_000 } else { 300 }), one_of_six, "{address}");
        }
    }
    assert!(ask("10.77.0.11", ROUTER4, 5_000) && ask("fd77::11", ROUTER6, 5_000), "who was there first is answered as before");
    assert!(world.within(Host::Phone2, || udp_ask(socket_address(ROUTER4, 53), b"?")).is_ok());
}
