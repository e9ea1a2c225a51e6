//! Messages between router and relay, the control socket's lines, and the store's records: what is read is written again, and
//! must then read as the same.

use lango::control::wire;
use lango::store::form::{Joiner, PIECE, cut};
use lango::sync::letter;
use lango_core::message::{Sealed, Up};
use lango_core::payer::Payer;
use lango_core::record::Record;
use lango_core::units::{Msisdn, RouterName};
use lango_core::voucher::VoucherCode;

/// A question of the operator's.
pub(crate) fn control(bytes: &[u8]) {
    let Ok(command) = wire::Command::from_line(bytes) else { return };
    let line = wire::to_line(&command).expect("a command can be written");
    let again = wire::Command::from_line(&line).expect("what was written can be read");
    assert_eq!(again, command);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "a line is one line");
}

/// What came down. The bytes are an envelope, or the text inside of one: no fuzzer finds a signature.
pub(crate) fn down(bytes: &[u8]) {
    let me: RouterName = "kibera-7".parse().expect("a name");
    // A key whose other half nobody has.
    assert!(letter::read(bytes, &[0x5a; 32], &me).is_err(), "believed without a signature");
    if let Ok(sealed) = Sealed::from_json(bytes) {
        assert_eq!(Sealed::from_json(&sealed.to_json()).expect("what was written can be read"), sealed);
        open(&sealed, &me);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(head) = serde_json::from_str::<Head>(text) else { return };
    let Ok(id) = head.id.parse() else { return };
    open(&Sealed { v: 1, id, seq: head.seq, signed: text.to_owned(), signature: String::new() }, &me);
}

#[derive(serde::Deserialize)]
struct Head {
    id: String,
    seq: u64,
}

fn open(sealed: &Sealed, me: &RouterName) {
    let Ok(down) = sealed.open(me) else { return };
    assert!(down.router == *me && down.id == sealed.id && down.seq == sealed.seq, "another's message");
    let again = down.seal(down.to_json(), String::new());
    assert_eq!(again.open(me).expect("what was written can be read"), down);
}

/// What a router said.
pub(crate) fn up(bytes: &[u8]) {
    let Ok(up) = Up::from_json(bytes) else { return };
    assert_eq!(Up::from_json(&up.to_json()).expect("what was written can be read"), up);
}

/// A value of the store.
pub(crate) fn record(bytes: &[u8]) {
    let Ok(record) = Record::decode("key", bytes) else { return };
    assert_eq!(Record::decode("key", &record.encode()).expect("what was written can be read"), record);
}

/// A record's pieces: as they were cut they come together again, and in any other order they are refused or read as what they
/// say, never as something else.
pub(crate) fn pieces(bytes: &[u8]) {
    let (at, rest) = crate::choice(bytes);
    let (key, value) = rest.split_at(usize::from(at).min(rest.len()));
    if let Ok(key) = std::str::from_utf8(key) {
        // No key of ours has the byte that marks a further piece.
        if !key.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) && !key.is_empty() {
            let cut = cut(key, value);
            assert!(cut.values().all(|piece| piece.len() <= PIECE));
            let mut joiner = Joiner::default();
            for (key, piece) in &cut {
                assert_eq!(joiner.push(key, piece), Ok(None));
            }
            assert_eq!(joiner.finish(), Some((key.to_owned(), value.to_vec())));
        }
    }
    let mut joiner = Joiner::default();
    let (mut given, mut got) = (0, 0);
    for piece in value.split(|byte| *byte == b'\n') {
        let (key, value) = piece.split_at(piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len()));
        given += value.len();
        match joiner.push(key, value) {
            Ok(whole) => got += whole.map_or(0, |(_, value)| value.len()),
            Err(_) => return,
        }
    }
    got += joiner.finish().map_or(0, |(_, value)| value.len());
    assert_eq!(got, given, "bytes were lost or made up");
}

/// What people type: a voucher's code, a phone number, and a payer as M-Pesa shows one. As it is kept it reads as the same.
pub(crate) fn typed(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(code) = text.parse::<VoucherCode>() {
        assert_eq!(code.reveal().parse::<VoucherCode>(), Ok(code));
    }
    if let Ok(phone) = text.parse::<Msisdn>() {
        assert_eq!(phone.digits().parse::<Msisdn>(), Ok(phone));
        assert!(Payer::from(phone).matches(phone), "a payer who is not who paid");
    }
    if let Ok(payer) = text.parse::<Payer>() {
        assert_eq!(payer.text().parse::<Payer>(), Ok(payer));
    }
}
