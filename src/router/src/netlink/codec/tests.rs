//! What is written is read again, and what is broken is refused.

use super::*;

fn sample() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.message(0x0a09, REQUEST | ACK, 7, |w| {
        w.raw(&[1, 0, 0, 0]);
        w.text(1, "lango");
        w.nest(2, |w| {
            w.be32(1, 0x0102_0304);
            w.be64(2, 5);
        });
    });
    writer.finish().unwrap()
}

#[test]
fn bytes_are_what_the_kernel_s_headers_say() {
    // Written out for little-endian machines, which all the supported routers are.
    let expected: &[&[u8]] = &[
        &[56, 0, 0, 0, 0x09, 0x0a, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0],
        &[10, 0, 1, 0, b'l', b'a', b'n', b'g', b'o', 0, 0, 0],
        &[24, 0, 2, 0x80],
        &[8, 0, 1, 0, 1, 2, 3, 4],
        &[12, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 5],
    ];
    if cfg!(target_endian = "little") {
        assert_eq!(sample(), expected.concat());
    }
}

#[test]
fn what_was_written_is_read() {
    let bytes = sample();
    let message = Messages::new(&bytes).next().unwrap().unwrap();
    assert_eq!((message.kind, message.flags, message.sequence), (0x0a09, REQUEST | ACK, 7));
    let name = message.attributes(4).unwrap().find(1).unwrap().unwrap();
    assert_eq!(name.text(), Some("lango"));
    let nest = message.attributes(4).unwrap().find(2).unwrap().unwrap();
    assert_eq!(nest.nested().find(1).unwrap().unwrap().be32(), Some(0x0102_0304));
    assert_eq!(nest.nested().find(2).unwrap().unwrap().be64(), Some(5));
    assert_eq!(nest.nested().find(2).unwrap().unwrap().be32(), None);
    assert_eq!(nest.nested().find(3), Ok(None));
}

/// Everything that a reader can be asked of these bytes.
fn read_all(bytes: &[u8]) -> usize {
    fn walk(attributes: Attributes<'_>, depth: usize) -> usize {
        attributes.take(10_000).map(|a| a.map_or(1, |a| if depth > 0 { walk(a.nested(), depth - 1) } else { 1 })).sum()
    }
    Messages::new(bytes)
        .take(10_000)
        .filter_map(Result::ok)
        .map(|m| {
            let _ = m.failure();
            m.attributes(4).map_or(0, |a| walk(a, 3))
        })
        .sum()
}

#[test]
fn every_truncation_is_refused_or_read_short_but_never_panics() {
    let bytes = sample();
    for length in 0..bytes.len() {
        let cut = &bytes[..length];
        assert!(Messages::new(cut).next().is_none_or(|m| m == Err(Malformed::Length)), "{length} bytes were taken");
        read_all(cut);
    }
}

#[test]
fn hostile_bytes_never_panic_and_never_loop() {
    let bytes = sample();
    for at in 0..bytes.len() {
        for value in [0, 1, 2, 3, 4, 15, 16, 17, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = value;
            read_all(&changed);
        }
    }
    // A small generator (xorshift) is enough here: the same bytes at each run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let noise: Vec<u8> = (0..64)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state % 23) as u8
            })
            .collect();
        read_all(&noise);
    }
}

#[test]
fn an_error_brings_the_kernel_s_words() {
    let mut writer = Writer::new();
    writer.message(ERROR, CAPPED | ACK_ATTRIBUTES, 3, |w| {
        w.raw(&(-16i32).to_ne_bytes());
        w.raw(&[0; HEADER]);
        w.text(ERROR_TEXT, "held by an element");
    });
    let bytes = writer.finish().unwrap();
    let message = Messages::new(&bytes).next().unwrap().unwrap();
    assert_eq!(message.failure(), Ok(Failure { errno: 16, text: Some("held by an element".into()) }));
    // Where the refused message is repeated whole, the text stands behind it.
    let mut writer = Writer::new();
    writer.message(ERROR, ACK_ATTRIBUTES, 3, |w| {
        w.raw(&(-2i32).to_ne_bytes());
        w.message(1, 0, 3, |w| w.raw(&[9; 8]));
        w.text(ERROR_TEXT, "no such element");
    });
    let bytes = writer.finish().unwrap();
    let message = Messages::new(&bytes).next().unwrap().unwrap();
    assert_eq!(message.failure().unwrap().text.as_deref(), Some("no such element"));
}

#[test]
fn what_outgrows_its_length_is_an_error() {
    let mut writer = Writer::new();
    writer.message(1, 0, 0, |w| w.nest(1, |w| (0..9_000).for_each(|_| w.be32(1, 0))));
    assert_eq!(writer.finish(), Err(TooLong));
}
