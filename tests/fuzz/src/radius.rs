//! What RADIUS servers answer and order, and what others send in their name.

use super::choice;
use lango::radius::dynamic::{Named, read};
use lango::radius::packet::{answer_order, open_reply};
use lango::radius::{reply, values};
use lango_core::radius::{AccessOutcome, Authorization, ErrorCause};
use lango_core::time::Wall;
use radius::core::packet::Packet;

const SECRET: &[u8] = b"s";

/// What is kept of a server's texts is short, and one line.
fn clean(message: Option<&str>) {
    if let Some(text) = message {
        assert!(!text.is_empty() && text.chars().count() <= 240 && !text.chars().any(char::is_control), "{text:?}");
    }
}

fn sound(allowed: &Authorization) {
    clean(allowed.message.as_deref());
    let speeds = [allowed.up_speed, allowed.down_speed];
    assert!(speeds.into_iter().flatten().all(|speed| speed.0 > 0), "a limit of nothing: {allowed:?}");
    assert!([allowed.total, allowed.up, allowed.down].into_iter().flatten().all(|bytes| bytes.0 > 0), "a limit of nothing: {allowed:?}");
    assert!(allowed.interim.is_none_or(|interim| interim.0 >= 60));
}

pub(crate) fn radius(bytes: &[u8]) {
    let (what, bytes) = choice(bytes);
    // As it came over the wire: whoever does not know the secret is nobody.
    let mut question = vec![1, bytes.get(1).copied().unwrap_or_default(), 0, 20];
    question.extend([7; 16]);
    assert!(open_reply(&question, bytes, b"unguessable, for no fuzzer is that lucky", what & 1 == 1).is_err());
    let named = Named { identifier: "r".to_owned(), address: None };
    if let Ok((packet, request)) = read(bytes, SECRET, &named, (what & 2 == 2).then_some(Wall::EARLIEST)) {
        let outcome = request.map(|_| ());
        for outcome in [outcome, Err(ErrorCause::ResourcesUnavailable)] {
            if let Ok(answer) = answer_order(&packet, outcome) {
                assert!(Packet::is_authentic_response(&answer, bytes.get(..length(bytes)).unwrap_or(bytes), SECRET));
            }
        }
    }
    // As if it were believed.
    if let Ok(packet) = Packet::decode(bytes, SECRET) {
        match reply::outcome(&packet, (what & 4 == 4).then_some("S=00")) {
            Ok(AccessOutcome::Accept(allowed)) => sound(&allowed),
            Ok(AccessOutcome::Reject { message }) => clean(message.as_deref()),
            Ok(AccessOutcome::NoAnswer) => panic!("a packet is an answer"),
            Err(_) => {}
        }
        if let Ok(allowed) = reply::authorization(&packet) {
            sound(&allowed);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (values::moment(text), values::rate_limit(text), values::station(text));
    }
}

fn length(bytes: &[u8]) -> usize {
    bytes.get(2..4).and_then(|field| field.try_into().ok()).map_or(0, |field| usize::from(u16::from_be_bytes(field)))
}
