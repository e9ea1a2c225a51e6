//! What Safaricom and the SMS gateways send, or somebody in their names.

use crate::choice;
use lango_relay::daraja::wire::{self, PushReply, QueryReply};
use lango_relay::daraja::{c2b, org, result};
use lango_relay::sms::{africastalking, gsm7, twilio};

pub(crate) fn daraja(bytes: &[u8]) {
    let (kind, body) = choice(bytes);
    match kind % 8 {
        0 => {
            if let Ok(token) = wire::read_token(body) {
                assert!(token.text.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "no text for a header");
            }
        }
        1 => drop::<PushReply>(wire::read_push(body)),
        2 => drop::<QueryReply>(wire::read_query(body)),
        3 => drop(wire::read_callback(body)),
        5 => {
            if let Ok(paid) = c2b::read(body) {
                assert!((8..=12).contains(&paid.receipt.as_str().len()), "a receipt that no router takes");
            }
        }
        6 => drop(org::read_result(body)),
        7 => drop(result::later(if body.len() % 2 == 0 { 200 } else { 500 }, body)),
        _ => {
            let Ok(text) = std::str::from_utf8(body) else { return };
            if let Some(at) = wire::from_timestamp(text) {
                assert_eq!(wire::timestamp(at), text, "a time that reads as another");
            }
        }
    }
}

pub(crate) fn sms(bytes: &[u8]) {
    let (kind, body) = choice(bytes);
    let status = if kind & 8 == 0 { 201 } else { 500 };
    match kind % 5 {
        0 => drop(africastalking::read(status, body)),
        1 => drop(africastalking::read_report(body)),
        2 => drop(twilio::read(status, body)),
        3 => {
            drop(twilio::read_report(body));
            assert!(!twilio::is_signed("a token", "https://pay.example.org/", body, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="), "signed by nobody");
        }
        _ => {
            let Ok(text) = std::str::from_utf8(body) else { return };
            assert!(gsm7::septets(&gsm7::plain(text)).is_some(), "made plain, and still not to be sent");
        }
    }
}
