//! Answers that are not the server's: none is believed, and the true one still is.

use crate::world::{Adapter, SECRET, alone, config, server};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lango_core::radius::{AccessOutcome, Credential, RadiusEvent};
use md5::Md5;
use radius::core::avp::AVP;
use radius::core::code::Code;
use radius::core::packet::Packet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

const FORGED: &str = "forged";

/// An answer as a server of that secret makes it, with a Message-Authenticator or without.
fn answer(request: &[u8], code: Code, message: &str, secret: &str, signed: bool) -> Vec<u8> {
    let mut packet = Packet::decode(request, secret.as_bytes()).unwrap().make_response_packet(code);
    if signed {
        packet.add(AVP::from_bytes(80, &[0; 16]));
    }
    packet.add(AVP::from_string(18, message));
    let mut bytes = packet.encode().unwrap();
    if signed {
        bytes[4..20].copy_from_slice(&request[4..20]);
        let signature = Hmac::<Md5>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&bytes).finalize().into_bytes();
        bytes[22..38].copy_from_slice(&signature);
        authenticate(request, &mut bytes);
    }
    bytes
}

/// Gives an answer the authenticator that fits it.
fn authenticate(request: &[u8], bytes: &mut [u8]) {
    use md5::Digest as _;
    bytes[4..20].copy_from_slice(&request[4..20]);
    let own = Md5::new().chain_update(&*bytes).chain_update(SECRET).finalize();
    bytes[4..20].copy_from_slice(&own);
}

/// All that somebody on the way may try.
fn forgeries(request: &[u8], earlier: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let good = || answer(request, Code::AccessAccept, FORGED, SECRET, true);
    let touched = |at: usize| {
        let mut bytes = good();
        bytes[at] ^= 1;
        bytes
    };
    let resealed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good();
        change(&mut bytes);
        authenticate(request, &mut bytes);
        bytes
    };
    let last = good().len() - 1;
    vec![
        ("nothing", vec![]),
        ("garbage", vec![0x55; 300]),
        ("a header alone", good()[..20].to_vec()),
        ("cut off", good()[..last].to_vec()),
        ("another authenticator", touched(4)),
        ("another identifier", touched(1)),
        ("a changed attribute", touched(last)),
        ("another secret's", answer(request, Code::AccessAccept, FORGED, "another", true)),
        ("replayed", earlier.to_vec()),
        ("without Message-Authenticator", answer(request, Code::AccessAccept, FORGED, SECRET, false)),
        ("a wrong Message-Authenticator", resealed(&|bytes| bytes[22] ^= 1)),
        (
            "two Message-Authenticators",
            resealed(&|bytes| {
                let second = bytes[20..38].to_vec();
                bytes.extend(second);
                let length = u16::try_from(bytes.len()).unwrap();
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
            }),
        ),
        ("an answer to accounting", resealed(&|bytes| bytes[0] = 5)),
        ("the question itself", request.to_vec()),
        ("an attribute of no length", resealed(&|bytes| bytes[39] = 0)),
        ("an attribute over the end", resealed(&|bytes| bytes[39] = 200)),
    ]
}

struct Forger(UdpSocket);

impl Forger {
    async fn asked(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 4096];
        let (length, from) = timeout(Duration::from_secs(15), self.0.recv_from(&mut buffer)).await.unwrap().unwrap();
        (buffer[..length].to_vec(), from)
    }
}

#[test]
fn no_forgery_is_believed_and_the_true_answer_is() {
    alone(async || {
        let forger = Forger(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let mut adapter = Adapter::start(config(vec![server("127.0.0.1", forger.0.local_addr().unwrap().port())]));
        // A true answer, to be replayed later.
        adapter.question("nemo", Credential::Mac);
        let (request, from) = forger.asked().await;
        let mut earlier = answer(&request, Code::AccessAccept, "true", SECRET, true);
        forger.0.send_to(&earlier, from).await.unwrap();
        assert!(matches!(adapter.event().await, RadiusEvent::Access(_, AccessOutcome::Accept(_))));

        let count = forgeries(&request, &earlier).len();
        for index in 0..count {
            let id = adapter.question("nemo", Credential::Mac);
            let (request, from) = forger.asked().await;
            earlier[1] = request[1];
            let (what, forgery) = forgeries(&request, &earlier).swap_remove(index);
            forger.0.send_to(&forgery, from).await.unwrap();
            let elsewhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            elsewhere.send_to(&answer(&request, Code::AccessAccept, FORGED, SECRET, true), from).await.unwrap();
            let no = answer(&request, Code::AccessReject, "true", SECRET, true);
            forger.0.send_to(&no, from).await.unwrap();
            let refused = AccessOutcome::Reject { message: Some("true".into()) };
            assert_eq!(adapter.event().await, RadiusEvent::Access(id, refused), "{what}");
        }
    });
}

#[test]
fn a_question_is_asked_again_in_the_same_words_and_answered_once() {
    alone(async || {
        let forger = Forger(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let mut adapter = Adapter::start(config(vec![server("127.0.0.1", forger.0.local_addr().unwrap().port())]));
        let id = adapter.question("nemo", Credential::Mac);
        let (first, _) = forger.asked().await;
        let (second, from) = forger.asked().await;
        assert_eq!(first, second);
        // Nobody answers in time; what comes later is too late.
        assert_eq!(adapter.event().await, RadiusEvent::Access(id, AccessOutcome::NoAnswer));
        let late = answer(&first, Code::AccessAccept, FORGED, SECRET, true);
        forger.0.send_to(&late, from).await.unwrap();
        let next = adapter.question("nemo", Credential::Mac);
        let (request, from) = loop {
            let (request, from) = forger.asked().await;
            if request[0] == 1 && request[4..20] != first[4..20] {
                break (request, from);
            }
        };
        forger.0.send_to(&late, from).await.unwrap();
        // Twice: the second one answers nothing any more.
        for _ in 0..2 {
            forger.0.send_to(&answer(&request, Code::AccessReject, "no", SECRET, true), from).await.unwrap();
        }
        assert_eq!(adapter.event().await, RadiusEvent::Access(next, AccessOutcome::Reject { message: Some("no".into()) }));
        assert!(timeout(Duration::from_millis(300), adapter.events.recv()).await.is_err());
    });
}

#[test]
fn with_the_handle_everything_ends() {
    alone(async || {
        let forger = Forger(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let Adapter { handle, mut events, .. } = {
            let mut adapter = Adapter::start(config(vec![server("127.0.0.1", forger.0.local_addr().unwrap().port())]));
            adapter.question("nemo", Credential::Mac);
            adapter
        };
        forger.asked().await;
        drop(handle);
        assert_eq!(timeout(Duration::from_secs(5), events.recv()).await.unwrap(), None);
    });
}
