//! Orders by FreeRADIUS' own client, and by strangers.

use crate::world::{Adapter, SECRET, alone, config, inside, server};
use lango_core::radius::{DynamicOrder, DynamicRequest, ErrorCause, RadiusEvent, RadiusOrder};
use lango_core::units::Seconds;
use lango_lab::freeradius::{AUTH_PORT, Answer, FreeRadius, Options, radclient};
use lango_lab::net::Namespace;
use radius::core::avp::AVP;
use radius::core::code::Code;
use radius::core::packet::Packet;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

async fn ordered(from: &Namespace, kind: &'static str, secret: &'static str, pairs: &'static str, seconds: u64) -> Option<Answer> {
    let from = from.clone();
    let asked = move || radclient(&from, "127.0.0.1:3799", kind, secret, pairs, seconds).unwrap();
    tokio::task::spawn_blocking(asked).await.unwrap()
}

#[test]
fn sessions_are_ended_and_changed_by_radclient() {
    let radius = FreeRadius::alone(Options::default());
    radius.user("nemo", "arctangent", &[], &[]).unwrap();
    inside(&radius.namespace, async || {
        let mut config = config(vec![server("127.0.0.1", AUTH_PORT)]);
        config.coa_port = Some(3799);
        let mut adapter = Adapter::start(config);
        // Once it has asked, it knows the server's address.
        adapter.ask("nemo", "arctangent").await;

        let order = async |adapter: &mut Adapter, kind, pairs, outcome| {
            let carried_out = async {
                let RadiusEvent::Dynamic(id, request) = adapter.event().await else { panic!("another event") };
                adapter.handle.order(RadiusOrder::Answer(id, outcome));
                request
            };
            let (answer, request) = tokio::join!(ordered(&radius.namespace, kind, SECRET, pairs, 10), carried_out);
            (answer.expect("an answer"), request)
        };
        let (answer, DynamicRequest { which, order: done }) =
            order(&mut adapter, "disconnect", "Acct-Session-Id=one,User-Name=nemo,Message-Authenticator=0x00", Ok(())).await;
        assert_eq!((answer.code.as_str(), done), ("Disconnect-ACK", DynamicOrder::Disconnect));
        assert_eq!((which.session.as_deref(), which.user.as_deref()), (Some("one"), Some("nemo")));
        let gone = Err(ErrorCause::SessionContextNotFound);
        let (answer, request) = order(&mut adapter, "coa", "Acct-Session-Id=one,Session-Timeout=60,Mikrotik-Rate-Limit=1M", gone).await;
        assert_eq!((answer.code.as_str(), answer.get("Error-Cause")), ("CoA-NAK", Some("Session-Context-Not-Found")));
        let DynamicOrder::Change(change) = request.order else { panic!("{request:?}") };
        assert_eq!(change.time, Some(Seconds(60)));

        for (kind, pairs, code, cause) in [
            ("disconnect", "Event-Timestamp=0", None, None),
            ("disconnect", "Acct-Session-Id=one,NAS-Identifier=other", Some("Disconnect-NAK"), Some("NAS-Identification-Mismatch")),
            ("disconnect", "Framed-MTU=1", Some("Disconnect-NAK"), Some("Unsupported-Attribute")),
            ("coa", "Session-Timeout=60", Some("CoA-NAK"), Some("Missing-Attribute")),
        ] {
            let answer = ordered(&radius.namespace, kind, SECRET, pairs, 2).await;
            let got = answer.as_ref().map(|answer| answer.code.as_str());
            assert_eq!((got, answer.as_ref().and_then(|answer| answer.get("Error-Cause"))), (code, cause), "{pairs}");
        }
        assert_eq!(ordered(&radius.namespace, "disconnect", "another", "Acct-Session-Id=one", 2).await, None);
        assert!(adapter.events.try_recv().is_err(), "one of these came to the rules");
    });
}

fn disconnect(identifier: u8) -> Vec<u8> {
    let mut packet = Packet::new_with_identifier(Code::DisconnectRequest, SECRET.as_bytes(), identifier);
    packet.add(AVP::from_string(44, "one"));
    packet.encode().unwrap()
}

#[test]
fn an_order_that_comes_again_is_carried_out_once_and_one_of_a_stranger_never() {
    alone(async || {
        let asked = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let free = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mut config = config(vec![server("127.0.0.1", asked.local_addr().unwrap().port())]);
        config.coa_port = Some(free);
        let mut adapter = Adapter::start(config);
        adapter.question("nemo", lango_core::radius::Credential::Mac);
        let mut buffer = [0; 4096];
        timeout(Duration::from_secs(10), asked.recv_from(&mut buffer)).await.unwrap().unwrap();

        let stranger = UdpSocket::bind("127.0.0.9:0").await.unwrap();
        stranger.send_to(&disconnect(1), ("127.0.0.1", free)).await.unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..3 {
            server.send_to(&disconnect(2), ("127.0.0.1", free)).await.unwrap();
        }
        let RadiusEvent::Dynamic(id, _) = adapter.event().await else { panic!("another event") };
        adapter.handle.order(RadiusOrder::Answer(id, Ok(())));
        let mut answers = Vec::new();
        let answer = async |answers: &mut Vec<Vec<u8>>| {
            let mut buffer = [0; 4096];
            let length = timeout(Duration::from_secs(10), server.recv(&mut buffer)).await.unwrap().unwrap();
            answers.push(buffer[..length].to_vec());
        };
        answer(&mut answers).await;
        server.send_to(&disconnect(2), ("127.0.0.1", free)).await.unwrap();
        answer(&mut answers).await;
        assert_eq!((answers[0][0], answers[0] == answers[1]), (41, true));
        // The next event is that of another order: none of those came twice, nor the stranger's.
        server.send_to(&disconnect(3), ("127.0.0.1", free)).await.unwrap();
        let RadiusEvent::Dynamic(other, _) = adapter.event().await else { panic!("another event") };
        assert_eq!(other.0, id.0 + 1);
    });
}
