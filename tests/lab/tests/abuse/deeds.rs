//! What the street knows, one kind a device: each deed goes on until the day is over, by one door, inside its device's namespace.

use crate::device::{Bad, Door, Outcome, SECURE_PORT, Wire, client, dial};
use serde_json::json;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

/// A kind of abuse, and what a device does for it: by each door, on a thread of its own.
pub type Deed = for<'a> fn(&Bad<'a>, Door, username: &str);

/// Those that are tried by both doors. What they are called is what their answers are counted under.
pub const BY_BOTH_DOORS: &[(&str, &[Deed])] = &[
    ("garbage", &[garbage]),
    ("large", &[large]),
    ("chunks", &[chunks]),
    ("slowloris", &[slowloris]),
    ("silence", &[silence]),
    ("floods", &[floods, resets]),
    ("streams", &[streams]),
    ("guesses", &[guesses]),
];

/// Those that never get as far as HTTP. Who only agrees on TLS does so many times at once.
pub const AT_TLS: &[(&str, &[Deed])] =
    &[("garbage at TLS", &[tls_garbage]), ("half handshakes", &[half_handshakes]), ("handshakes", &[handshakes as Deed; 8])];

const PORTAL: &str = "Host: portal.lan:8088\r\n";
/// What would be answered 200 if it were ever taken for a request.
const SMUGGLED: &str = "GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n";

/// 2,000 bytes of noise, others each time.
fn noise(seed: &mut u64) -> Vec<u8> {
    let next = || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 56) as u8
    };
    // No text: a line of it could be one of a request.
    std::iter::once(0x80).chain(std::iter::repeat_with(next)).take(2_000).collect()
}

/// Asserts that the answer, where there is one, is the expected one: where places are rare somebody may go without.
fn got(bad: &Bad, said: &[u8], outcome: Option<Outcome>, expected: &[u16]) {
    let fine = match outcome {
        Some(Outcome::Status(status)) => expected.contains(&status),
        _ => true,
    };
    assert!(fine, "{}: {:?} got {outcome:?} and not {expected:?}", bad.kind, String::from_utf8_lossy(&said[..said.len().min(160)]));
}

fn garbage(bad: &Bad, door: Door, _: &str) {
    let no_requests: Vec<Vec<u8>> = vec![
        b"GET /\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        [format!("GET / HTTP/1.1\r\n{PORTAL}X: ").as_bytes(), &b"\0a".repeat(3_900), b"\r\n\r\n"].concat(),
        b"GET / HTTP/1.1\r\nHost: portal.lan\r\nHost: example.org\r\n\r\n".to_vec(),
        format!("GET  / HTTP/1.1\r\n{PORTAL}\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\n{PORTAL} folded\r\n\r\n").into_bytes(),
        format!("POST /login HTTP/1.1\r\n{PORTAL}Content-Length: -1\r\n\r\n{SMUGGLED}").into_bytes(),
        format!("POST /login HTTP/1.1\r\n{PORTAL}Content-Length: 2\r\nContent-Length: 40\r\n\r\n{SMUGGLED}").into_bytes(),
    ];
    // What is a request, and asks for what is not there.
    let paths =
        ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/buy/%00", "/buy/..%2f..", "/pay/%", "//example.org/", "/%0d%0aSet-Cookie:a=b"];
    let elsewhere =
        [format!("GET http://example.org/ HTTP/1.1\r\n{PORTAL}\r\n"), "GET / HTTP/1.1\r\nHost: portal.lan@example.org\r\n\r\n".to_owned()];
    let nothing: Vec<Vec<u8>> =
        paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\n{PORTAL}\r\n")).chain(elsewhere).map(String::into_bytes).collect();
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    bad.again(|from, turn| match turn % 4 {
        0 | 1 => {
            let said = noise(&mut seed);
            got(bad, &said, bad.say(from, door, &said), &[400]);
        }
        2 => {
            let said = &no_requests[turn / 4 % no_requests.len()];
            got(bad, said, bad.say(from, door, said), &[400]);
        }
        _ => {
            let said = &nothing[turn / 4 % nothing.len()];
            got(bad, said, bad.say(from, door, said), &[302, 303, 404, 422]);
        }
    });
}

/// Heads and bodies that are too large.
fn large(bad: &Bad, door: Door, _: &str) {
    let heads = [
        format!("GET / HTTP/1.1\r\n{PORTAL}X: {}\r\n\r\n", "a".repeat(60_000)),
        format!("GET /{} HTTP/1.1\r\n{PORTAL}\r\n", "a".repeat(60_000)),
        format!("GET / HTTP/1.1\r\n{PORTAL}{}\r\n", "a: b\r\n".repeat(9_000)),
        format!("GET / HTTP/1.1\r\n{PORTAL}{}\r\n", "a: b\r\n".repeat(120)),
    ];
    let bodies = ["8193", "1000000000", "18446744073709551615", "99999999999999999999999"]
        .map(|length| format!("POST /login HTTP/1.1\r\n{PORTAL}Content-Length: {length}\r\n\r\n{SMUGGLED}"));
    bad.again(|from, turn| {
        let (all, expected) = if turn % 2 == 0 { (&heads, 431) } else { (&bodies, 413) };
        let said = all[turn / 2 % all.len()].as_bytes();
        got(bad, said, bad.say(from, door, said), &[expected]);
    });
}

/// Bodies in chunks, and what looks like one to some and not to others.
fn chunks(bad: &Bad, door: Door, _: &str) {
    let mut all = vec![(
        format!("POST /login HTTP/1.1\r\n{PORTAL}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}").into_bytes(),
        411,
    )];
    for chunk in ["0\r\n\r\n", "ffffffffffffffff\r\n", "-1\r\n", "0x5\r\n", "5;a=b\r\nhello\r\n0\r\n\r\n"] {
        for coding in ["chunked", "Chunked", "\tchunked", "chunked ", "x, chunked", "chunked\x0b", "\"chunked\""] {
            for name in ["Transfer-Encoding", "transfer-ENCODING", "Transfer-Encoding ", " Transfer-Encoding"] {
                // No request with these at all, before anything is said of chunks.
                let odd = name.starts_with(' ') || name.ends_with(' ') || coding.ends_with('\x0b');
                let said = format!("POST /login HTTP/1.1\r\n{PORTAL}{name}: {coding}\r\n\r\n{chunk}{SMUGGLED}");
                all.push((said.into_bytes(), if odd { 400 } else { 411 }));
            }
        }
    }
    bad.again(|from, turn| {
        let (said, expected) = &all[turn % all.len()];
        got(bad, said, bad.say(from, door, said), &[*expected]);
    });
}

/// Heads and bodies that come a byte at a time.
fn slowloris(bad: &Bad, door: Door, _: &str) {
    let begins = ["GET / HTTP/1.1\r\nHost: portal.lan\r\nX: ", "POST /login HTTP/1.1\r\nHost: portal.lan\r\nContent-Length: 8000\r\n\r\n"];
    let mut trickles: Vec<Wire> = Vec::new();
    bad.again(|from, turn| {
        // Fewer than its places, so that it is the clock that ends them.
        if trickles.len() < 7
            && let Some(mut wire) = bad.open(from, door)
            && wire.write_all(begins[turn % 2].as_bytes()).is_ok()
        {
            trickles.push(wire);
        }
        trickles.retain_mut(|wire| {
            let goes_on = !wire.has_word() && wire.write_all(b"a").is_ok();
            if !goes_on {
                let outcome = wire.outcome();
                assert!(matches!(outcome, Outcome::Status(408) | Outcome::Closed), "a trickle got {outcome:?}");
                bad.count(door, outcome);
            }
            goes_on
        });
    });
}

/// Connections that say nothing, more than it may have, from all addresses.
fn silence(bad: &Bad, door: Door, _: &str) {
    let mut held = Vec::new();
    bad.again(|from, _| {
        if held.len() < 40 {
            held.extend(bad.open(from, door));
        }
        held.retain_mut(|wire: &mut Wire| {
            let over = wire.has_word();
            if over {
                let outcome = wire.outcome();
                assert_eq!(outcome, Outcome::Closed, "who says nothing is told nothing");
                bad.count(door, outcome);
            }
            !over
        });
    });
}

/// Many requests at once, of which some answers are read and some are not.
fn floods(bad: &Bad, door: Door, _: &str) {
    let flood = format!("GET / HTTP/1.1\r\n{PORTAL}Accept-Encoding: gzip\r\n\r\n").repeat(300);
    let flood = if door == Door::Secure { flood.replace("portal.lan:8088", crate::device::NAME) } else { flood };
    let mut unread = VecDeque::new();
    bad.again(|from, turn| {
        let Some(mut wire) = bad.open(from, door) else { return };
        let _closed = wire.write_all(flood.as_bytes());
        if turn % 4 == 0 {
            unread.push_back(wire);
            if unread.len() > 4 {
                unread.pop_front();
            }
        } else {
            let mut answers = Vec::new();
            let _all = wire.take(200_000).read_to_end(&mut answers);
            let times = answers.windows(12).filter(|window| window == b"HTTP/1.1 200").count();
            bad.street.tally.count(bad.kind, door, Outcome::Status(200), times as u64);
        }
    });
}

/// Half-closed connections, and some that end with a reset in the middle of an answer.
fn resets(bad: &Bad, door: Door, _: &str) {
    bad.again(|from, turn| {
        let Some(mut wire) = bad.open(from, door) else { return };
        let _closed = wire.write_all(b"GET / HTTP/1.1\r\nHost: portal.lan:8088\r\n\r\n");
        if turn % 2 == 0 {
            let _half = wire.tcp().shutdown(Shutdown::Write);
            let _some = wire.read(&mut [0; 100]);
        }
        // Closing with the answer unread is a reset.
    });
}

/// Events of a payment of its own, on more connections than it may have.
fn streams(bad: &Bad, door: Door, _: &str) {
    let wanted = json!({"package": "hour", "phone": "0799999999"});
    let answer = bad.phone.try_portal("POST", "/api/payments", Some(&wanted)).unwrap();
    let id = answer.value()["payment"].as_str().unwrap().to_owned();
    let host = if door == Door::Secure { crate::device::NAME } else { "portal.lan" };
    let asks = format!("GET /api/payments/{id}/events HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut streams = VecDeque::new();
    bad.again(|from, _| {
        let Some(mut wire) = bad.open(from, door) else { return };
        if wire.write_all(asks.as_bytes()).is_ok() {
            let outcome = wire.outcome();
            got(bad, asks.as_bytes(), Some(outcome), &[200]);
            bad.count(door, outcome);
            streams.push_back(wire);
            // Over HTTPS more than it may have; over plain HTTP few enough that its own do not push out those that wait to agree on TLS.
            if streams.len() > if door == Door::Plain { 8 } else { 20 } {
                streams.pop_front();
            }
        }
    });
}

/// Passwords of a neighbour's account, vouchers, receipts; and prompts on other people's phones.
fn guesses(bad: &Bad, door: Door, username: &str) {
    let post = |path: &str, body: &serde_json::Value| {
        let host = if door == Door::Secure { crate::device::NAME } else { "portal.lan:8088" };
        // Whom it says to speak for is nobody's business.
        let lies = "X-Forwarded-For: 10.77.0.2\r\nForwarded: for=10.77.0.2\r\nX-Real-IP: 10.77.0.2\r\n";
        let body = body.to_string();
        format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{lies}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    bad.again(|from, turn| {
        let (said, expected) = match turn % 4 {
            0 => (post("/api/hotspot/login", &json!({"username": username, "password": format!("guess{turn}")})), 401),
            1 => (post("/api/vouchers/redeem", &json!({"code": format!("ABCD-EFGH-{turn:04}")})), 404),
            2 => (post("/api/payments/reclaim", &json!({"receipt": format!("NLJ7RT{:04}", turn % 10_000), "phone": "0712345678"})), 404),
            _ => (post("/api/payments", &json!({"package": "hour", "phone": format!("0799{:06}", turn % 1_000_000)})), 202),
        };
        let outcome = bad.say(from, door, &said);
        got(bad, &said, outcome, &[expected, 429, 503]);
    });
}

/// What is no TLS.
fn tls_garbage(bad: &Bad, door: Door, _: &str) {
    let mut seed = 0x2545_f491_4f6c_dd1d;
    let record_of_nothing = [&b"\x16\x03\x01\x40\x00"[..], &[0; 16_384]].concat();
    bad.again(|from, turn| {
        let said = match turn % 4 {
            0 => noise(&mut seed),
            1 => format!("GET / HTTP/1.1\r\n{PORTAL}\r\n").into_bytes(),
            2 => record_of_nothing.clone(),
            // Every byte of a hello after the first lines is another one.
            _ => hello(bad).into_iter().enumerate().map(|(at, byte)| if at > 40 { !byte } else { byte }).collect(),
        };
        let Some(mut stream) = dial(from, SECURE_PORT) else { return bad.count(door, Outcome::Closed) };
        let _cut = stream.write_all(&said);
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(end.is_ok() || end.is_err_and(|cause| cause.kind() != std::io::ErrorKind::WouldBlock), "it is held for ever");
        assert!(!answer.windows(7).any(|window| window == b"HTTP/1."), "HTTP where TLS is spoken");
        bad.count(door, Outcome::NotAgreed);
    });
}

/// What a client says first.
fn hello(bad: &Bad) -> Vec<u8> {
    let (mut session, mut said) = (client(&bad.street.trust), Vec::new());
    session.write_tls(&mut said).unwrap();
    said
}

/// Connections that say nothing, half of what is said first, or all of that and no more: the router has done its part of the work then.
fn half_handshakes(bad: &Bad, door: Door, _: &str) {
    let mut held: Vec<TcpStream> = Vec::new();
    bad.again(|from, turn| {
        if held.len() < 12 {
            let Some(mut stream) = dial(from, SECURE_PORT) else { return bad.count(door, Outcome::Closed) };
            let said = hello(bad);
            let _closed = stream.write_all(&said[..[0, said.len() / 2, said.len()][turn % 3]]);
            stream.set_nonblocking(true).unwrap();
            held.push(stream);
        }
        held.retain_mut(|stream| {
            // What the router says is taken, and not answered.
            let over = loop {
                match stream.read(&mut [0; 4096]) {
                    Ok(1..) => {}
                    Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => break false,
                    Ok(0) | Err(_) => break true,
                }
            };
            if over {
                bad.count(door, Outcome::Closed);
            }
            !over
        });
    });
}

/// Agreements on TLS, one after the other, and nothing else: nothing is ever asked.
fn handshakes(bad: &Bad, door: Door, _: &str) {
    bad.again(|from, _| {
        if bad.open(from, door).is_some() {
            bad.count(door, Outcome::Agreed);
        }
    });
}
