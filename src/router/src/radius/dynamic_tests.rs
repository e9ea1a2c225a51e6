//! Orders: whose are carried out, which sessions they name, and how they are answered.

use super::*;
use crate::radius::packet::{answer_order, open_reply};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lango_core::units::{Bytes, Seconds};
use md5::Md5;
use radius::core::avp::AVP;

const SECRET: &[u8] = b"of these two";
const NOW: Wall = Wall(1_795_340_999_000);

fn named() -> Named {
    Named { identifier: "kibera-7".into(), address: Some("192.0.2.7".parse().unwrap()) }
}

fn order(code: Code, attributes: Vec<AVP>) -> Vec<u8> {
    let mut packet = Packet::new_with_identifier(code, SECRET, 9);
    packet.extend(attributes);
    packet.encode().unwrap()
}

fn signed_order(code: Code, attributes: Vec<AVP>) -> Vec<u8> {
    let mut bytes = order(code, [vec![AVP::from_bytes(MESSAGE_AUTHENTICATOR, &[0; 16])], attributes].concat());
    bytes[4..20].fill(0);
    let signature = Hmac::<Md5>::new_from_slice(SECRET).unwrap().chain_update(&bytes).finalize().into_bytes();
    bytes[22..38].copy_from_slice(&signature);
    let body = Packet::decode(&bytes, SECRET).unwrap();
    // Encoding it again reckons the authenticator over the signature.
    body.encode().unwrap()
}

fn said(code: Code, attributes: Vec<AVP>) -> Result<DynamicRequest, ErrorCause> {
    read(&order(code, attributes), SECRET, &named(), Some(NOW)).unwrap().1
}

fn session() -> AVP {
    AVP::from_string(ACCT_SESSION_ID, "abc123def456")
}

#[test]
fn a_session_is_named_in_every_standard_way() {
    let request = said(
        Code::DisconnectRequest,
        vec![
            AVP::from_string(USER_NAME, "nemo"),
            session(),
            AVP::from_string(CALLING_STATION_ID, "02:00:5e:10:00:0b"),
            AVP::from_ipv4(FRAMED_IP_ADDRESS, &"10.77.0.11".parse().unwrap()),
            AVP::from_string(NAS_IDENTIFIER, "kibera-7"),
            AVP::from_ipv4(NAS_IP_ADDRESS, &"192.0.2.7".parse().unwrap()),
            AVP::from_u32(EVENT_TIMESTAMP, 1_795_340_999),
        ],
    )
    .unwrap();
    let which = SessionMatch {
        user: Some("nemo".into()),
        session: Some("abc123def456".into()),
        device: "02:00:5e:10:00:0b".parse().ok(),
        address: "10.77.0.11".parse().ok(),
    };
    assert_eq!(request, DynamicRequest { which, order: DynamicOrder::Disconnect });
}

#[test]
fn what_is_refused_and_why() {
    for (code, attributes, cause) in [
        (Code::DisconnectRequest, vec![], ErrorCause::MissingAttribute),
        (Code::DisconnectRequest, vec![session(), AVP::from_string(NAS_IDENTIFIER, "other")], ErrorCause::NasIdentificationMismatch),
        (
            Code::DisconnectRequest,
            vec![session(), AVP::from_ipv4(NAS_IP_ADDRESS, &"192.0.2.8".parse().unwrap())],
            ErrorCause::NasIdentificationMismatch,
        ),
        (Code::DisconnectRequest, vec![session(), AVP::from_u32(SESSION_TIMEOUT, 1)], ErrorCause::UnsupportedAttribute),
        (Code::DisconnectRequest, vec![AVP::from_string(CALLING_STATION_ID, "nobody")], ErrorCause::SessionContextNotFound),
        (Code::DisconnectRequest, vec![AVP::from_bytes(FRAMED_IP_ADDRESS, &[1])], ErrorCause::InvalidAttributeValue),
        (Code::CoARequest, vec![session(), AVP::from_u32(SERVICE_TYPE, 17)], ErrorCause::UnsupportedService),
        (Code::CoARequest, vec![session(), AVP::from_u32(200, 17)], ErrorCause::UnsupportedAttribute),
        (Code::CoARequest, vec![session(), AVP::from_bytes(SESSION_TIMEOUT, &[1])], ErrorCause::InvalidAttributeValue),
    ] {
        assert_eq!(said(code, attributes), Err(cause));
    }
}

#[test]
fn a_change_says_what_shall_be() {
    let request = said(
        Code::CoARequest,
        vec![
            session(),
            AVP::from_string(USER_NAME, "nemo"),
            AVP::from_u32(SESSION_TIMEOUT, 3_600),
            vendor_attribute(MIKROTIK, MIKROTIK_TOTAL_LIMIT, &1_000_u32.to_be_bytes()),
        ],
    )
    .unwrap();
    let DynamicOrder::Change(change) = request.order else { panic!("{request:?}") };
    assert_eq!((change.time, change.total, change.user), (Some(Seconds(3_600)), Some(Bytes(1_000)), None));
    assert_eq!(request.which.user.as_deref(), Some("nemo"));
}

#[test]
fn orders_of_strangers_and_old_ones_get_no_answer() {
    let good = signed_order(Code::DisconnectRequest, vec![session()]);
    let read_it = |bytes: &[u8], secret: &[u8]| read(bytes, secret, &named(), Some(NOW)).map(|(_, request)| request.is_ok());
    assert_eq!(read_it(&good, SECRET), Ok(true));
    assert_eq!(read_it(&good, b"another"), Err(Unbelievable::Authenticator.into()));
    for at in 0..good.len() {
        let mut touched = good.clone();
        touched[at] ^= 1;
        assert!(read_it(&touched, SECRET).is_err(), "octet {at} may be changed");
        assert!(read_it(&good[..at], SECRET).is_err());
    }
    // A signature that is wrong under an authenticator that is right.
    let mut wrong = signed_order(Code::DisconnectRequest, vec![session()]);
    wrong[22] ^= 1;
    let again = Packet::decode(&wrong, SECRET).unwrap().encode().unwrap();
    assert_eq!(read_it(&again, SECRET), Err(Unbelievable::MessageAuthenticator.into()));

    for (seconds, dropped) in [(0, false), (300, false), (301, true)] {
        for stamp in [1_795_340_999 - seconds, 1_795_340_999 + seconds] {
            let stamped = order(Code::DisconnectRequest, vec![session(), AVP::from_u32(EVENT_TIMESTAMP, stamp)]);
            assert_eq!(read_it(&stamped, SECRET), if dropped { Err(Dropped::Stale) } else { Ok(true) });
        }
    }
}

#[test]
fn answers_carry_their_cause_the_proxies_state_and_a_signature_where_there_was_one() {
    let states = || vec![AVP::from_bytes(PROXY_STATE, b"1"), AVP::from_bytes(PROXY_STATE, b"2")];
    for (bytes, signed) in [
        (signed_order(Code::CoARequest, [vec![session()], states()].concat()), true),
        (order(Code::DisconnectRequest, [vec![session()], states()].concat()), false),
    ] {
        let (packet, _) = read(&bytes, SECRET, &named(), Some(NOW)).unwrap();
        for (outcome, code) in [(Ok(()), bytes[0] + 1), (Err(ErrorCause::SessionContextNotFound), bytes[0] + 2)] {
            let answer = answer_order(&packet, outcome).unwrap();
            assert_eq!((answer[0], answer[1]), (code, 9));
            assert!(Packet::is_authentic_response(&answer, &bytes, SECRET));
            let read = Packet::decode(&answer, SECRET).unwrap();
            assert_eq!(first_number(&read, ERROR_CAUSE), Ok(outcome.err().map(|_| 503)));
            assert_eq!(read.lookup_all(PROXY_STATE).len(), 2);
            assert_eq!(read.lookup(MESSAGE_AUTHENTICATOR).is_some(), signed);
            if signed {
                // As a server checks it: with the order's authenticator, and zeros where it stands.
                let mut unsigned = answer.clone();
                unsigned[4..20].copy_from_slice(&bytes[4..20]);
                unsigned[22..38].fill(0);
                let expected = Hmac::<Md5>::new_from_slice(SECRET).unwrap().chain_update(&unsigned).finalize().into_bytes();
                assert_eq!(answer[22..38], expected[..]);
            }
        }
    }
}

/// FreeRADIUS' own packets of these kinds; whose secret they have nobody knows, so none is believed.
#[test]
fn captured_orders_are_read_and_not_believed() {
    for hex in [
        "28010026e1792d2b4ab349f1a4c0fcc733d091c1501258513d662847e5f8734a30dbdac8e4af",
        "2b0400265f18309be67cd6150fe4c3a0b93536c950122703ee367cd046d1dfbc5fe5b3cf5bbf",
    ] {
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        assert_eq!(numbers(&bytes).collect::<Vec<_>>(), [MESSAGE_AUTHENTICATOR]);
        assert_eq!(read(&bytes, b"secret", &named(), None).unwrap_err(), Dropped::Unbelievable(Unbelievable::Authenticator));
    }
    assert_eq!(open_reply(&[1; 20], &[2; 20], b"s", false).unwrap_err(), Unbelievable::Malformed);
}

#[test]
fn what_comes_again_is_answered_again_and_not_done_again() {
    const NEW: Monotonic = Monotonic(1_000_000);
    let mut cache = Cache::default();
    let key = |id: u8, port: u16| {
        let packet = Packet::decode(&[vec![40, id, 0, 20], vec![3; 16]].concat(), SECRET).unwrap();
        Key::of(&packet, SocketAddr::from(([192, 0, 2, 10], port)))
    };
    assert_eq!((cache.take(&key(1, 1), NEW), cache.take(&key(1, 1), NEW)), (Known::New, Known::Working));
    cache.answered(&key(1, 1), b"done");
    assert_eq!(cache.take(&key(1, 1), NEW), Known::Answered(b"done".to_vec()));
    assert_eq!((cache.take(&key(2, 1), NEW), cache.take(&key(1, 2), NEW)), (Known::New, Known::New), "another id, another source");
    cache.forget(&key(2, 1));
    assert_eq!(cache.take(&key(2, 1), NEW), Known::New);
    for port in 100..100 + 253 {
        assert_eq!(cache.take(&key(1, port), NEW), Known::New);
    }
    assert_eq!(cache.take(&key(1, 9_999), NEW), Known::New, "the answered one went for it");
    assert_eq!(cache.take(&key(1, 9_998), NEW), Known::Full);
}

/// The rules may have dropped it with their store.
#[test]
fn what_gets_no_answer_from_the_rules_is_given_to_them_again_and_takes_no_room() {
    let mut cache = Cache::default();
    let key = |port: u16| {
        let packet = Packet::decode(&[vec![40, 1, 0, 20], vec![3; 16]].concat(), SECRET).unwrap();
        Key::of(&packet, SocketAddr::from(([192, 0, 2, 10], port)))
    };
    for port in 0..256 {
        assert_eq!(cache.take(&key(port), Monotonic(1_000)), Known::New);
    }
    assert_eq!((cache.take(&key(7), Monotonic(30_999)), cache.take(&key(999), Monotonic(30_999))), (Known::Working, Known::Full));
    assert_eq!(cache.take(&key(7), Monotonic(31_000)), Known::New);
    assert_eq!(cache.take(&key(999), Monotonic(31_000)), Known::New);
    cache.answered(&key(7), b"done");
    assert_eq!(cache.take(&key(7), Monotonic(1_000_000)), Known::Answered(b"done".to_vec()), "an answer does not grow old");
}
