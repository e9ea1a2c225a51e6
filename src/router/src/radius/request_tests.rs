//! What goes out, octet by octet where RFCs give examples, and read back by the library where they do not.

use super::*;
use lango_core::gate::Traffic;
use lango_core::radius::{AccessId, SessionId, TerminateCause};
use lango_core::time::{BootId, Monotonic};
use lango_core::units::{Password, Seconds};

const SECRET: &[u8] = b"xyzzy5461";
const CHALLENGE: Challenge = Challenge { own: [7; 16], peer: [9; 16] };

fn nas() -> Nas {
    Nas {
        identifier: "kibera-7".into(),
        address: Some("192.0.2.7".parse().unwrap()),
        called_station: "02-00-5E-10-00-01:Lango".into(),
        station: StationFormat::default(),
        location_id: Some("isocc=ke,cc=254".into()),
        location_name: Some("Lango,Kibera".into()),
    }
}

fn sending() -> Sending<'static> {
    let now = Now { monotonic: Monotonic(90_000), wall: Some(Wall(1_795_340_999_000)) };
    Sending { identifier: 42, secret: SECRET, authenticator: [5; 16], from: Some("198.51.100.9".parse().unwrap()), now }
}

fn question(credential: Credential) -> AccessRequest {
    AccessRequest {
        id: AccessId(1),
        session: SessionId("abc123def456".into()),
        device: "02:00:5e:10:00:0b".parse().unwrap(),
        address: Some("10.77.0.11".parse().unwrap()),
        user: "nemo".parse().unwrap(),
        credential,
    }
}

fn asked(method: Method) -> (Packet, Question) {
    let credential = Credential::Password(Password::new("arctangent").unwrap());
    let question = access(&nas(), method, &question(credential), sending(), &CHALLENGE).unwrap();
    (Packet::decode(&question.bytes, SECRET).unwrap(), question)
}

fn text_of(packet: &Packet, of: u8) -> Option<String> {
    packet.lookup(of).map(|avp| avp.encode_string().unwrap())
}

fn number_of(packet: &Packet, of: u8) -> Option<u32> {
    first_number(packet, of).unwrap()
}

fn vendors(packet: &Packet) -> Vec<(Vendor, u8, Vec<u8>)> {
    let all = packet.lookup_all(VENDOR_SPECIFIC).into_iter().map(AVP::encode_bytes);
    all.flat_map(|value| vendor_attributes(&value).unwrap().into_iter().map(|(v, n, value)| (v, n, value.to_vec())).collect::<Vec<_>>())
        .collect()
}

#[test]
fn an_access_request_says_who_where_and_on_which_device() {
    let (packet, question) = asked(Method::Pap);
    assert_eq!((question.bytes[0], question.bytes[1]), (1, 42));
    assert_eq!(question.bytes[20..22], [MESSAGE_AUTHENTICATOR, 18], "Message-Authenticator is first");
    for (attribute, value) in [
        (USER_NAME, "nemo"),
        (NAS_IDENTIFIER, "kibera-7"),
        (CALLED_STATION_ID, "02-00-5E-10-00-01:Lango"),
        (CALLING_STATION_ID, "02-00-5E-10-00-0B"),
        (ACCT_SESSION_ID, "abc123def456"),
    ] {
        assert_eq!(text_of(&packet, attribute).as_deref(), Some(value));
    }
    for (attribute, value) in [
        (SERVICE_TYPE, 1),
        (NAS_PORT_TYPE, 19),
        (NAS_IP_ADDRESS, 0xc000_0207),
        (FRAMED_IP_ADDRESS, 0x0a4d_000b),
        (EVENT_TIMESTAMP, 1_795_340_999),
    ] {
        assert_eq!(number_of(&packet, attribute), Some(value), "{attribute}");
    }
    assert_eq!(vendors(&packet), [(WISPR, 1, b"isocc=ke,cc=254".to_vec()), (WISPR, 2, b"Lango,Kibera".to_vec())]);
    let password = packet.lookup(USER_PASSWORD).unwrap().encode_user_password(SECRET, packet.get_authenticator()).unwrap();
    assert_eq!((password.as_slice(), question.proof), (&b"arctangent"[..], None));
}

#[test]
fn what_is_signed_is_signed_over_all_of_it() {
    let (_, question) = asked(Method::Pap);
    let mut unsigned = question.bytes.clone();
    unsigned[22..38].fill(0);
    assert_eq!(ring_hmac_md5(&unsigned), question.bytes[22..38]);
}

/// HMAC-MD5 put together from its definition (RFC 2104).
fn ring_hmac_md5(bytes: &[u8]) -> [u8; 16] {
    use md5::{Digest as _, Md5};
    let mut key = [0; 64];
    key[..SECRET.len()].copy_from_slice(SECRET);
    let inner = Md5::new().chain_update(key.map(|octet| octet ^ 0x36)).chain_update(bytes).finalize();
    Md5::new().chain_update(key.map(|octet| octet ^ 0x5c)).chain_update(inner).finalize().into()
}

/// RFC 2865 section 7.1: how the password is hidden.
#[test]
fn passwords_are_hidden_as_the_rfc_s_example_is() {
    let authenticator = [0x0f, 0x40, 0x3f, 0x94, 0x73, 0x97, 0x80, 0x57, 0xbd, 0x83, 0xd5, 0xcb, 0x98, 0xf4, 0x22, 0x7a];
    let hidden = AVP::from_user_password(USER_PASSWORD, b"arctangent", SECRET, &authenticator).unwrap().encode_bytes();
    assert_eq!(hidden, [0x0d, 0xbe, 0x70, 0x8d, 0x93, 0xd4, 0x13, 0xce, 0x31, 0x96, 0xe4, 0x3f, 0x78, 0x2a, 0x0a, 0xee]);
}

#[test]
fn passwords_by_digest() {
    let (packet, question) = asked(Method::Chap);
    assert!(packet.lookup(USER_PASSWORD).is_none() && question.proof.is_none());
    assert_eq!(packet.lookup(CHAP_CHALLENGE).unwrap().encode_bytes(), [7; 16]);
    assert_eq!(packet.lookup(CHAP_PASSWORD).unwrap().encode_bytes(), mschap::chap(1, b"arctangent", &[7; 16]));

    let (packet, question) = asked(Method::MsChapV2);
    assert!(packet.lookup(USER_PASSWORD).is_none());
    let microsoft: Vec<_> = vendors(&packet).into_iter().filter(|(vendor, ..)| *vendor == MICROSOFT).collect();
    let expected = mschap::mschapv2(&[7; 16], &[9; 16], "nemo", "arctangent");
    assert_eq!(microsoft[0], (MICROSOFT, MS_CHAP_CHALLENGE, vec![7; 16]));
    assert_eq!(microsoft[1].2, [&[1, 0][..], &[9; 16], &[0; 8], &expected.nt].concat());
    assert_eq!(question.proof, Some(expected.success));
}

#[test]
fn a_device_alone_is_asked_for_by_its_address() {
    let question = access(&nas(), Method::Pap, &question(Credential::Mac), sending(), &CHALLENGE).unwrap();
    let packet = Packet::decode(&question.bytes, SECRET).unwrap();
    assert_eq!(number_of(&packet, SERVICE_TYPE), Some(10), "Call-Check");
    let password = packet.lookup(USER_PASSWORD).unwrap().encode_user_password(SECRET, packet.get_authenticator()).unwrap();
    assert_eq!(password, b"nemo", "the user name, which is the address, is the password");
}

#[test]
fn without_an_address_of_its_own_a_router_says_the_one_it_sends_from() {
    let mut nas = nas();
    nas.address = None;
    let packet = |from: &str| {
        let sending = Sending { from: Some(from.parse().unwrap()), ..sending() };
        Packet::decode(&access(&nas, Method::Pap, &question(Credential::Mac), sending, &CHALLENGE).unwrap().bytes, SECRET).unwrap()
    };
    assert_eq!(number_of(&packet("198.51.100.9"), NAS_IP_ADDRESS), Some(0xc633_6409));
    assert_eq!(number_of(&packet("::ffff:198.51.100.9"), NAS_IP_ADDRESS), Some(0xc633_6409));
    assert_eq!(packet("2001:db8::9").lookup(NAS_IPV6_ADDRESS).unwrap().encode_bytes()[15], 9);
}

fn told(event: AccountingEvent, delay: Option<u32>) -> Packet {
    let told = Accounting { seq: 12, boot: BootId::from("b"), at: Monotonic(60_000), at_wall: None, refused: false, event };
    let bytes = accounting(&nas(), &told, delay, sending()).unwrap();
    assert!(Packet::is_authentic_request(&bytes, SECRET));
    Packet::decode(&bytes, SECRET).unwrap()
}

fn session() -> AccountedSession {
    AccountedSession {
        id: SessionId("abc123def456".into()),
        user: "nemo".parse().unwrap(),
        device: "02:00:5e:10:00:0b".parse().unwrap(),
        addresses: ["fe80::1", "10.77.0.11", "10.77.0.12", "fd77::11"].map(|address| address.parse().unwrap()).to_vec(),
        class: vec![b"one".to_vec(), vec![0xff, 0]],
        remote: true,
        time: Seconds(1_800),
        traffic: Traffic { up: Bytes(5_000_000_000), down: Bytes(4_294_967_295) },
    }
}

#[test]
fn a_session_s_beginning_and_end() {
    let start = told(AccountingEvent::Start(session()), Some(30));
    assert_eq!(number_of(&start, ACCT_STATUS_TYPE), Some(1));
    assert_eq!((number_of(&start, ACCT_INPUT_OCTETS), number_of(&start, ACCT_AUTHENTIC)), (None, Some(1)));
    assert_eq!((number_of(&start, ACCT_DELAY_TIME), number_of(&start, EVENT_TIMESTAMP)), (Some(30), Some(1_795_340_969)));
    assert_eq!(start.lookup_all(CLASS).len(), 2);
    assert_eq!((start.lookup_all(FRAMED_IP_ADDRESS).len(), start.lookup_all(FRAMED_IPV6_ADDRESS).len()), (1, 1));

    let stop = told(
        AccountingEvent::Stop { session: AccountedSession { remote: false, ..session() }, cause: TerminateCause::SessionTimeout },
        None,
    );
    for (attribute, value) in [
        (ACCT_STATUS_TYPE, Some(2)),
        (ACCT_TERMINATE_CAUSE, Some(5)),
        (ACCT_SESSION_TIME, Some(1_800)),
        (ACCT_INPUT_OCTETS, Some(705_032_704)),
        (ACCT_INPUT_GIGAWORDS, Some(1)),
        (ACCT_OUTPUT_OCTETS, Some(u32::MAX)),
        (ACCT_OUTPUT_GIGAWORDS, Some(0)),
        (ACCT_AUTHENTIC, Some(2)),
        (ACCT_DELAY_TIME, None),
        (EVENT_TIMESTAMP, None),
    ] {
        assert_eq!(number_of(&stop, attribute), value, "{attribute}");
    }
    assert_eq!(number_of(&told(AccountingEvent::Interim(session()), Some(0)), ACCT_STATUS_TYPE), Some(3));
}

#[test]
fn the_router_s_beginning_and_end() {
    let on = told(AccountingEvent::On, Some(0));
    assert_eq!((number_of(&on, ACCT_STATUS_TYPE), text_of(&on, ACCT_SESSION_ID).as_deref()), (Some(7), Some("nas000000012")));
    assert!(on.lookup(USER_NAME).is_none() && on.lookup(CALLING_STATION_ID).is_none());
    let off = told(AccountingEvent::Off { cause: TerminateCause::AdminReboot }, Some(0));
    assert_eq!((number_of(&off, ACCT_STATUS_TYPE), number_of(&off, ACCT_TERMINATE_CAUSE)), (Some(8), Some(7)));
}

#[test]
fn what_is_too_long_is_refused_and_not_cut() {
    let mut long = session();
    long.class = vec![vec![1; 253]; 20];
    let told = Accounting {
        seq: 1,
        boot: BootId::from("b"),
        at: Monotonic(0),
        at_wall: None,
        refused: false,
        event: AccountingEvent::Start(long),
    };
    assert!(accounting(&nas(), &told, None, sending()).is_err());
}
