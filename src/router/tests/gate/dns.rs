//! What a device that has not paid gets out of the router's DNS.

use crate::traffic::{Server, socket_address, tcp_ask, udp_ask, udp_to};
use crate::world::{Host, ROUTER4, ROUTER6, World, account, ip, now};
use lango_core::gate::GateChange;
use std::net::UdpSocket;
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
