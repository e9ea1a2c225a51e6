//! What Safaricom sends, or somebody in its name.

use crate::choice;
use lango_relay::daraja::wire::{self, PushReply, QueryReply};

pub(crate) fn daraja(bytes: &[u8]) {
    let (kind, body) = choice(bytes);
    match kind % 5 {
        0 => {
            if let Ok(token) = wire::read_token(body) {
                assert!(token.text.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "no text for a header");
            }
        }
        1 => drop::<PushReply>(wire::read_push(body)),
        2 => drop::<QueryReply>(wire::read_query(body)),
        3 => drop(wire::read_callback(body)),
        _ => {
            let Ok(text) = std::str::from_utf8(body) else { return };
            if let Some(at) = wire::from_timestamp(text) {
                assert_eq!(wire::timestamp(at), text, "a time that reads as another");
            }
        }
    }
}
