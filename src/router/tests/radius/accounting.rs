//! Sessions as they are told, seen in FreeRADIUS' own table.

use crate::world::{Adapter, alone, config, inside, server, session};
use lango_core::radius::{AccountingEvent, TerminateCause};
use lango_lab::freeradius::{ACCT_PORT, AUTH_PORT, FreeRadius, Options};
use radius::core::packet::Packet;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

#[test]
fn a_session_s_life_is_one_row() {
    let radius = FreeRadius::alone(Options::default());
    inside(&radius.namespace, async || {
        let mut config = config(vec![server("127.0.0.1", AUTH_PORT)]);
        config.accounting = vec![server("127.0.0.1", ACCT_PORT)];
        let mut adapter = Adapter::start(config);
        // One after the other, as the rules do; what is of another session beside it.
        adapter.tell(1, AccountingEvent::On);
        assert_eq!(adapter.acknowledged().await, 1);
        adapter.tell(2, AccountingEvent::Start(session("one", 0, 0, 0)));
        adapter.tell(4, AccountingEvent::Start(session("two", 0, 0, 0)));
        let mut both = [adapter.acknowledged().await, adapter.acknowledged().await];
        both.sort_unstable();
        assert_eq!(both, [2, 4]);
        adapter.tell(3, AccountingEvent::Interim(session("one", 300, 1_000, 5_000_000_000)));
        assert_eq!(adapter.acknowledged().await, 3);
        adapter
            .tell(5, AccountingEvent::Stop { session: session("one", 600, 2_000, 9_000_000_000), cause: TerminateCause::SessionTimeout });
        assert_eq!(adapter.acknowledged().await, 5);
    });
    let rows = radius.sessions();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let one = rows.iter().find(|row| row["acctsessionid"] == "one").unwrap();
    for (column, value) in [
        ("username", "nemo"),
        ("nasipaddress", "192.0.2.7"),
        ("nasportid", "kibera-7"),
        ("calledstationid", "02-00-5E-10-00-01:Lango"),
        ("callingstationid", "02-00-5E-10-00-0B"),
        ("acctterminatecause", "Session-Timeout"),
    ] {
        assert_eq!(one[column], value, "{one}");
    }
    for (column, value) in [("acctinputoctets", 2_000_u64), ("acctoutputoctets", 9_000_000_000), ("acctsessiontime", 600)] {
        assert_eq!(one[column].as_u64(), Some(value), "{column} of {one}");
    }
    // The router stops: what was open is closed.
    inside(&radius.namespace, async || {
        let mut config = config(vec![server("127.0.0.1", AUTH_PORT)]);
        config.accounting = vec![server("127.0.0.1", ACCT_PORT)];
        let mut adapter = Adapter::start(config);
        adapter.tell(6, AccountingEvent::Off { cause: TerminateCause::AdminReboot });
        assert_eq!(adapter.acknowledged().await, 6);
    });
    assert!(radius.sessions().iter().all(|row| !row["acctstoptime"].is_null()), "{:?}", radius.sessions());
}

/// The same octets within a round, and a packet of its own with the time that has passed in the next.
#[test]
fn accounting_is_tried_until_a_server_has_it() {
    alone(async || {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut config = config(vec![server("127.0.0.1", 1)]);
        config.accounting = vec![server("127.0.0.1", socket.local_addr().unwrap().port())];
        let secret = config.secret.clone();
        let mut adapter = Adapter::start(config);
        adapter.tell(1, AccountingEvent::Start(session("one", 0, 0, 0)));
        let mut packets: Vec<Vec<u8>> = Vec::new();
        let mut buffer = [0; 4096];
        let (mut packet, from) = loop {
            let (length, from) = timeout(Duration::from_secs(20), socket.recv_from(&mut buffer)).await.unwrap().unwrap();
            if packets.first().is_some_and(|first| first[1] != buffer[1]) {
                break (buffer[..length].to_vec(), from);
            }
            packets.push(buffer[..length].to_vec());
        };
        assert!(packets.len() >= 2 && packets.iter().all(|again| *again == packets[0]), "{}", packets.len());
        assert!(Packet::is_authentic_request(&packet, &secret));
        let delay = |packet: &[u8]| {
            u32::from_be_bytes(Packet::decode(packet, &secret).unwrap().lookup(41).unwrap().encode_bytes().try_into().unwrap())
        };
        assert!(delay(&packets[0]) <= 1 && delay(&packet) >= 6, "{} {}", delay(&packets[0]), delay(&packet));
        // Nothing but its acknowledgement ends it.
        packet[0] = 5;
        socket.send_to(&packet, from).await.unwrap();
        assert!(timeout(Duration::from_millis(300), adapter.events.recv()).await.is_err(), "a forged acknowledgement was taken");
        packet[0] = 4;
        let request = Packet::decode(&packet, &secret).unwrap();
        socket.send_to(&request.make_response_packet(radius::core::code::Code::AccountingResponse).encode().unwrap(), from).await.unwrap();
        assert_eq!(adapter.acknowledged().await, 1);
    });
}
