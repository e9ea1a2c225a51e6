//! Replies: what they allow, and what is no permission.

use super::*;
use crate::radius::mschap;
use radius::core::avp::AVP;

const SECRET: &[u8] = b"s";

fn accept(attributes: Vec<AVP>) -> Packet {
    let mut packet = Packet::new(Code::AccessAccept, SECRET);
    packet.extend(attributes);
    packet
}

fn allowed(attributes: Vec<AVP>) -> Authorization {
    authorization(&accept(attributes)).unwrap()
}

fn vendor(vendor: Vendor, number: u8, value: u32) -> AVP {
    vendor_attribute(vendor, number, &value.to_be_bytes())
}

#[test]
fn what_is_not_said_is_not_known() {
    assert_eq!(allowed(vec![]), Authorization::default());
    assert_eq!(allowed(vec![AVP::from_u32(200, 1), AVP::from_bytes(VENDOR_SPECIFIC, &[0, 0, 0, 9, 1])]), Authorization::default());
}

#[test]
fn every_attribute_has_its_place() {
    let said = allowed(vec![
        AVP::from_u32(SESSION_TIMEOUT, 3_600),
        AVP::from_u32(IDLE_TIMEOUT, 300),
        AVP::from_u32(ACCT_INTERIM_INTERVAL, 10),
        AVP::from_bytes(CLASS, b"a"),
        AVP::from_bytes(CLASS, &[0, 0xff]),
        AVP::from_string(REPLY_MESSAGE, "Welcome\r"),
        AVP::from_string(REPLY_MESSAGE, "back."),
        AVP::from_string(FILTER_ID, "no package"),
        AVP::from_string(FILTER_ID, "hour"),
        AVP::from_string(USER_NAME, "jane@home"),
        vendor(WISPR, WISPR_BANDWIDTH_MAX_UP, 999),
        vendor(WISPR, WISPR_BANDWIDTH_MAX_DOWN, 2_000_000),
        vendor_attribute(WISPR, WISPR_SESSION_TERMINATE_TIME, b"2026-11-22T12:49:59+03:00"),
        vendor(CHILLISPOT, CHILLISPOT_MAX_INPUT_OCTETS, 1),
        vendor(CHILLISPOT, CHILLISPOT_MAX_OUTPUT_OCTETS, 2),
        vendor(CHILLISPOT, CHILLISPOT_MAX_TOTAL_OCTETS, 3),
    ]);
    let expected = Authorization {
        time: Some(Seconds(3_600)),
        ends_at: Some(Wall(1_795_340_999_000)),
        idle: Some(Seconds(300)),
        interim: Some(Seconds(60)),
        total: Some(Bytes(3)),
        up: Some(Bytes(1)),
        down: Some(Bytes(2)),
        up_speed: Some(Kbps(1)),
        down_speed: Some(Kbps(2_000)),
        package: Some("hour".parse().unwrap()),
        class: vec![b"a".to_vec(), vec![0, 0xff]],
        user: Some("jane@home".parse().unwrap()),
        message: Some("Welcome back.".into()),
    };
    assert_eq!(said, expected);
}

#[test]
fn gigawords_come_in_any_order_and_alone() {
    let limits = allowed(vec![
        vendor(MIKROTIK, MIKROTIK_TOTAL_LIMIT_GIGAWORDS, 2),
        vendor(MIKROTIK, MIKROTIK_TOTAL_LIMIT, 5),
        vendor(MIKROTIK, MIKROTIK_RECV_LIMIT_GIGAWORDS, 1),
        vendor(MIKROTIK, MIKROTIK_XMIT_LIMIT, 7),
    ]);
    assert_eq!((limits.total, limits.up, limits.down), (Some(Bytes(8_589_934_597)), Some(Bytes(4_294_967_296)), Some(Bytes(7))));
}

#[test]
fn the_lesser_of_two_counts_and_0_is_no_limit() {
    let said = allowed(vec![
        vendor(WISPR, WISPR_BANDWIDTH_MAX_UP, 3_000_000),
        vendor_attribute(MIKROTIK, MIKROTIK_RATE_LIMIT, b"2M/4M"),
        vendor(CHILLISPOT, CHILLISPOT_BANDWIDTH_MAX_UP, 2_500),
        vendor(CHILLISPOT, CHILLISPOT_BANDWIDTH_MAX_DOWN, 3_500),
        vendor(CHILLISPOT, CHILLISPOT_MAX_TOTAL_OCTETS, 1_000),
        vendor(MIKROTIK, MIKROTIK_TOTAL_LIMIT, 900),
        vendor(CHILLISPOT, CHILLISPOT_MAX_INPUT_OCTETS, 0),
        vendor(WISPR, WISPR_BANDWIDTH_MAX_DOWN, 0),
        AVP::from_u32(SESSION_TIMEOUT, 0),
    ]);
    assert_eq!((said.up_speed, said.down_speed, said.total), (Some(Kbps(2_000)), Some(Kbps(3_500)), Some(Bytes(900))));
    assert_eq!((said.up, said.time), (None, None));
}

#[test]
fn a_limit_that_cannot_be_read_is_no_permission() {
    for attribute in [
        AVP::from_bytes(SESSION_TIMEOUT, &[0, 0, 1]),
        AVP::from_bytes(IDLE_TIMEOUT, &[]),
        AVP::from_bytes(ACCT_INTERIM_INTERVAL, &[0; 5]),
        vendor_attribute(WISPR, WISPR_BANDWIDTH_MAX_UP, &[1]),
        vendor_attribute(WISPR, WISPR_SESSION_TERMINATE_TIME, b"soon"),
        vendor_attribute(CHILLISPOT, CHILLISPOT_MAX_TOTAL_OCTETS, &[0; 8]),
        vendor_attribute(MIKROTIK, MIKROTIK_TOTAL_LIMIT, &[]),
        vendor_attribute(MIKROTIK, MIKROTIK_RATE_LIMIT, &[0xff]),
        AVP::from_bytes(VENDOR_SPECIFIC, &[0, 0, 55, 42, 1, 9]),
    ] {
        assert!(outcome(&accept(vec![attribute.clone()]), None).is_err(), "{attribute:?}");
    }
}

#[test]
fn rejections_with_their_reason() {
    let rejected = |code, attributes| {
        let mut packet = Packet::new(code, SECRET);
        packet.extend(attributes);
        outcome(&packet, None).unwrap()
    };
    let error = vendor_attribute(MICROSOFT, MS_CHAP_ERROR, b"\x01E=691 R=0 C=00 V=3 M=Wrong password");
    for (code, attributes, message) in [
        (Code::AccessReject, vec![], None),
        (Code::AccessReject, vec![AVP::from_string(REPLY_MESSAGE, "Used up")], Some("Used up")),
        (Code::AccessReject, vec![error.clone()], Some("Wrong password")),
        (Code::AccessReject, vec![error, AVP::from_string(REPLY_MESSAGE, "No")], Some("No")),
        (Code::AccessReject, vec![AVP::from_bytes(VENDOR_SPECIFIC, &[1])], None),
        (Code::AccessChallenge, vec![AVP::from_string(REPLY_MESSAGE, "Token?")], Some("Token?")),
    ] {
        assert_eq!(rejected(code, attributes), AccessOutcome::Reject { message: message.map(str::to_owned) });
    }
}

#[test]
fn with_mschapv2_a_server_shows_that_it_knows_the_password() {
    let proof = mschap::mschapv2(&[1; 16], &[2; 16], "nemo", "arctangent").success;
    let success = |text: &str| vendor_attribute(MICROSOFT, MS_CHAP2_SUCCESS, format!("\x01{text}").as_bytes());
    let judged = |attributes| outcome(&accept(attributes), Some(&proof));
    assert!(matches!(judged(vec![success(&proof)]), Ok(AccessOutcome::Accept(_))));
    assert!(matches!(judged(vec![success(&format!("{proof} M=OK"))]), Ok(AccessOutcome::Accept(_))));
    for wrong in [
        vec![],
        vec![success("S=00")],
        vec![success("")],
        vec![success(&proof.to_lowercase())],
        vec![vendor_attribute(MICROSOFT, MS_CHAP2_SUCCESS, b"")],
    ] {
        assert_eq!(judged(wrong), Err(Unusable::NoProof));
    }
}
