//! A large table that is made anew, part after part: what passes meanwhile.

use crate::traffic::{Server, Stream, Streamed, refused, socket_address, udp_ask};
use crate::world::{Host, INTERNET4, World, account, eventually, now, within_seconds};
use lango_core::gate::{GateAccount, GateDevice, Traffic};
use lango_core::units::Mac;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The bit of `NFNLGRP_NFTABLES`.
const CHANGES_OF_TABLES: u32 = 1 << 6;
/// `NFT_MSG_NEWTABLE` of nftables.
const NEW_TABLE: u16 = 10 << 8;

/// When the kernel tells that a table came: its first part was in force then.
fn table_comes(world: &World) -> JoinHandle<Instant> {
    let kernel = world.within(Host::Router, || {
        let kernel = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkNetFilter).unwrap();
        setsockopt(&kernel, sockopt::RcvBufForce, &(4 << 20)).unwrap();
        bind(kernel.as_raw_fd(), &NetlinkAddr::new(0, CHANGES_OF_TABLES)).unwrap();
        kernel
    });
    std::thread::spawn(move || {
        let mut datagram = [0; 1 << 16];
        loop {
            let length = recv(kernel.as_raw_fd(), &mut datagram, MsgFlags::empty()).unwrap();
            let mut rest = &datagram[..length];
            while let Some((header, _)) = rest.split_at_checked(16) {
                if u16::from_ne_bytes([header[4], header[5]]) == NEW_TABLE {
                    return Instant::now();
                }
                let message = u32::from_ne_bytes(header[..4].try_into().unwrap());
                rest = rest.get((message as usize).next_multiple_of(4).max(16)..).unwrap_or_default();
            }
        }
    })
}

/// What became of two streams of a thousand packets a second while a table of a thousand accounts was put back.
struct Seen {
    /// Of a device that has paid.
    paid: Streamed,
    /// Of one that has not.
    unpaid: Streamed,
    /// The first part was in force.
    first_part: Instant,
    /// All of it was.
    done: Instant,
    taken: Duration,
}

/// Somebody deletes the table, and it is put back. The paid device is on the account with this number.
fn put_back(watched: u32) -> Seen {
    let world = World::new();
    let mut gate = world.gate();
    let servers = [4000, 4001].map(|port| Server::udp(&world, Host::Internet, socket_address(INTERNET4, port), "e"));
    let others = (1..1_000u32).map(|number| {
        let [.., high, low] = number.to_be_bytes();
        let addresses = [IpAddr::from([10, 78, high, low]), format!("fd78::{number:x}").parse().unwrap()].into();
        let device = GateDevice { addresses, traffic: Traffic::default() };
        GateAccount { until: within_seconds(3_600), devices: [(Mac([2, 1, 0, 0, high, low]), device)].into(), ..account(number, &[]) }
    });
    let desired: Vec<_> = others.chain([GateAccount { until: within_seconds(3_600), ..account(watched, &[1]) }]).collect();
    gate.reconcile(&desired, now()).unwrap();
    assert!(refused(&world.within(Host::Phone2, || udp_ask(socket_address(INTERNET4, 4001), b"x"))));
    let every = Duration::from_millis(1);
    let paid = Stream::start(&world, Host::Phone1, socket_address(INTERNET4, 4000), every, 100);
    let unpaid = Stream::start(&world, Host::Phone2, socket_address(INTERNET4, 4001), every, 100);
    let more = |server: usize| {
        let before = servers[server].served();
        eventually("it passes", || (servers[server].served() > before + 50).then_some(()));
    };
    more(0);
    let comes = table_comes(&world);
    world.nft(Host::Router, "delete table inet lango");
    // No table, no gate: both pass, as would be seen afterwards, too, if it were so.
    more(1);
    let begun = Instant::now();
    gate.reconcile(&desired, now()).unwrap();
    let done = Instant::now();
    more(0);
    let (paid, unpaid) = (paid.stop(), unpaid.stop());
    Seen { paid, unpaid, first_part: comes.join().unwrap(), done, taken: done - begun }
}

#[test]
fn from_its_first_part_on_nobody_passes_who_is_not_known() {
    for watched in [0, 2_000] {
        let Seen { paid, unpaid, first_part, done, taken } = put_back(watched);
        println!("account {watched}: put back in {taken:?}; the paid device lost {} of a thousand a second", paid.lost().len());
        assert!(!unpaid.back.is_empty(), "it passed while there was no table");
        assert_eq!(unpaid.passed_after(first_part), 0, "of {} of who has not paid", unpaid.sent);
        // Accounts come in the order of their numbers: the first is in the first part, the last in the last one.
        let known = if watched == 0 { first_part } else { done };
        assert_eq!(paid.lost_after(known), 0, "of {} of who has paid", paid.sent);
    }
}
