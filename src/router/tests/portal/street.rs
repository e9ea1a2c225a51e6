//! What the street throws at it: garbage, floods, trickles and tricks. A good customer is served throughout.

use crate::client::{PATIENCE, Wire, get, raw};
use crate::world::{OTHER_PHONE, PHONE, within};
use lango::portal::Limits;
use std::time::Duration;
use tokio::time::Instant;

fn quick() -> Limits {
    let short = Duration::from_millis(300);
    Limits { read: short, idle: short, drain: short, ..Limits::default() }
}

#[test]
fn bodies_that_are_too_large_are_refused_at_once() {
    within(Limits::default(), async |world| {
        for length in ["8193", "1000000000", "4294967295", "99999999999999999999999"] {
            let mut wire = Wire::open(&world, PHONE).await;
            let begun = Instant::now();
            wire.send(format!("POST /api/payments HTTP/1.1\r\nHost: portal.lan\r\nContent-Length: {length}\r\n\r\n{{").as_bytes()).await;
            let answer = wire.answer(false).await.unwrap();
            assert_eq!((answer.status, answer.code().as_str(), answer.header("connection")), (413, "too_large", Some("close")), "{length}");
            assert!(begun.elapsed() < Duration::from_secs(2), "the body is not waited for");
            assert_eq!(wire.until_closed().await, b"");
        }
        // The largest that is read.
        let body = format!("{{\"package\":\"hour\",\"phone\":\"0712345678\",\"x\":\"{}\"}}", "x".repeat(8192 - 50));
        let body = format!("{body}{}", " ".repeat(8192 - body.len()));
        assert_eq!(crate::client::post_json(&world, PHONE, "/api/payments", &body).await.status, 202);
    });
}

#[test]
fn an_absurd_length_leads_to_no_second_request() {
    within(Limits::default(), async |world| {
        // picoserve adds the length to its position: that wraps in a release build, and panics in a debug build.
        let mut wire = Wire::open(&world, PHONE).await;
        let smuggled = "GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n";
        wire.send(
            format!("POST /api/payments HTTP/1.1\r\nHost: portal.lan\r\nContent-Length: {}\r\n\r\n{smuggled}{smuggled}", usize::MAX)
                .as_bytes(),
        )
        .await;
        let answers = String::from_utf8(wire.until_closed().await).unwrap();
        assert!(answers.is_empty() || answers.starts_with("HTTP/1.1 413"), "{answers}");
        assert_eq!(answers.matches("HTTP/1.1").count(), usize::from(!answers.is_empty()), "{answers}");
        assert_eq!(get(&world, PHONE, "/").await.status, 200);
    });
}

#[test]
fn a_body_in_chunks_ends_the_connection() {
    within(Limits::default(), async |world| {
        for coding in ["chunked", "gzip, chunked", "identity"] {
            let mut wire = Wire::open(&world, PHONE).await;
            // Read as a second request it would ask for the packages.
            let smuggled = "GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n";
            wire.send(
                format!("POST /api/payments HTTP/1.1\r\nHost: portal.lan\r\nTransfer-Encoding: {coding}\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n{smuggled}", smuggled.len()).as_bytes(),
            )
            .await;
            let answer = wire.answer(false).await.unwrap();
            assert_eq!((answer.status, answer.code().as_str(), answer.header("connection")), (411, "length_required", Some("close")));
            assert_eq!(wire.until_closed().await, b"", "nothing more is answered");
        }
    });
}

#[test]
fn lengths_that_are_none_or_two_end_the_connection() {
    within(Limits::default(), async |world| {
        for headers in [
            "Content-Length: -1",
            "Content-Length: 0x10",
            "Content-Length: 2, 2",
            "Content-Length: 2\r\nContent-Length: 40",
            "Content-Length:",
            "Host: other",
        ] {
            let mut wire = Wire::open(&world, PHONE).await;
            wire.send(format!("POST /api/payments HTTP/1.1\r\nHost: portal.lan\r\n{headers}\r\n\r\n{{}}GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n").as_bytes()).await;
            let answer = wire.answer(false).await.unwrap();
            assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{headers}");
            assert_eq!(wire.until_closed().await, b"", "{headers}");
        }
    });
}

#[test]
fn requests_in_a_row_are_answered_in_their_order() {
    within(Limits::default(), async |world| {
        let mut wire = Wire::open(&world, PHONE).await;
        let body = r#"{"package":"hour","phone":"0712345678"}"#;
        let (get, post) = (
            "GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n".to_owned(),
            format!(
                "POST /api/payments HTTP/1.1\r\nHost: portal.lan\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
        let bad = "POST /api/payments HTTP/1.1\r\nHost: portal.lan\r\nContent-Length: 3\r\n\r\nxxx".to_owned();
        let all = [&get, &post, &bad, &get, &post].into_iter().cloned().collect::<String>();
        // In pieces that respect nothing.
        for piece in all.as_bytes().chunks(7) {
            wire.send(piece).await;
        }
        for status in [200, 202, 400, 200, 202] {
            assert_eq!(wire.answer(false).await.unwrap().status, status);
        }
    });
}

#[test]
fn garbage_is_refused_and_harms_nobody() {
    within(quick(), async |world| {
        let long = "a".repeat(20_000);
        let zeros = "\0".repeat(9_000);
        let requests: Vec<Vec<u8>> = vec![
            b"\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            b"GET\r\n\r\n".to_vec(),
            b"GET / HTTP/1.1 extra\r\n\r\n".to_vec(),
            b"GET / HTTP/1.1\r\nno colon here\r\n\r\n".to_vec(),
            b"GET / HTTP/9.9\r\nHost: portal.lan\r\n\r\n".to_vec(),
            b"GET /\xff\xfe HTTP/1.1\r\nHost: portal.lan\r\n\r\n".to_vec(),
            b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            format!("GET /{long} HTTP/1.1\r\nHost: portal.lan\r\n\r\n").into_bytes(),
            format!("GET / HTTP/1.1\r\nHost: portal.lan\r\nX: {long}\r\n\r\n").into_bytes(),
            format!("GET / HTTP/1.1\r\nHost: portal.lan\r\nX: {zeros}\r\n\r\n").into_bytes(),
            [b"GET / HTTP/1.1\r\nHost: portal.lan\r\n", &b"a: b\r\n".repeat(1_000)[..], b"\r\n"].concat(),
            (0..=255).cycle().take(30_000).collect(),
        ];
        for request in requests {
            let mut wire = Wire::open(&world, PHONE).await;
            // The portal may have closed before all of it was sent.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut wire.stream, &request).await;
            let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
            let answer = String::from_utf8_lossy(&wire.until_closed().await).into_owned();
            // A host that is no text is another host, and gets the redirect that any of those gets.
            let expected = if shown.contains("Host: \u{fffd}") { &["302"][..] } else { &["400", "431"] };
            assert!(expected.iter().any(|status| answer.starts_with(&format!("HTTP/1.1 {status}"))), "{shown:?}: {answer}");
            assert_eq!(get(&world, OTHER_PHONE, "/api/packages").await.status, 200);
        }
    });
}

#[test]
fn a_trickle_is_cut_off() {
    within(quick(), async |world| {
        // Headers that never end, a body that never comes, and a peer that goes on talking after the last answer.
        for begin in [
            "GET / HTTP/1.1\r\nHost: portal.lan\r\nX: ",
            "POST /api/payments HTTP/1.1\r\nHost: portal.lan\r\nContent-Length: 4000\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let begun = Instant::now();
            let mut wire = Wire::open(&world, PHONE).await;
            wire.send(begin.as_bytes()).await;
            let cut = async {
                loop {
                    // It is the trickle itself that takes its time.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    if tokio::io::AsyncWriteExt::write_all(&mut wire.stream, b"a").await.is_err() {
                        break;
                    }
                }
            };
            tokio::time::timeout(PATIENCE, cut).await.expect("the trickle is not cut off");
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
    });
}

#[test]
fn who_says_nothing_is_let_go() {
    within(quick(), async |world| {
        assert_eq!(Wire::open(&world, PHONE).await.until_closed().await, b"");
        // A connection that is kept is let go, too, and no connection lives for ever.
        let mut kept = Wire::open(&world, PHONE).await;
        kept.send(b"GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n").await;
        assert_eq!(kept.answer(false).await.unwrap().status, 200);
        assert_eq!(kept.until_closed().await, b"");
    });
    within(Limits { connection: Duration::from_millis(400), ..Limits::default() }, async |world| {
        let mut busy = Wire::open(&world, PHONE).await;
        let begun = Instant::now();
        loop {
            if tokio::io::AsyncWriteExt::write_all(&mut busy.stream, b"GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n")
                .await
                .is_err()
                || busy.answer(false).await.is_none()
            {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "a connection that is never idle lives for ever");
        }
    });
}

#[test]
fn events_may_last_longer_than_anything_else_and_end_too() {
    let (short, long, heartbeat) = (Duration::from_millis(300), Duration::from_millis(900), Duration::from_millis(50));
    within(Limits { connection: short, stream: long, heartbeat, ..Limits::default() }, async |world| {
        let body = r#"{"package":"hour","phone":"0712345678"}"#;
        let payment = crate::client::post_json(&world, PHONE, "/api/payments", body).await.json()["payment"].as_str().unwrap().to_owned();
        let begun = Instant::now();
        let mut wire = Wire::open(&world, PHONE).await;
        wire.send(format!("GET /api/payments/{payment}/events HTTP/1.1\r\nHost: portal.lan\r\n\r\n").as_bytes()).await;
        let heard = wire.until_closed().await;
        assert!(heard.starts_with(b"HTTP/1.1 200") && begun.elapsed() >= long, "it ended after {:?}", begun.elapsed());
    });
}

#[test]
fn behind_a_stream_of_events_nothing_is_answered() {
    within(Limits::default(), async |world| {
        let body = r#"{"package":"hour","phone":"0712345678"}"#;
        let payment = crate::client::post_json(&world, PHONE, "/api/payments", body).await.json()["payment"].as_str().unwrap().to_owned();
        world.shop.pay(&payment.parse().unwrap());
        let begun = Instant::now();
        let mut wire = Wire::open(&world, PHONE).await;
        wire.send(format!("GET /api/payments/{payment}/events HTTP/1.1\r\nHost: portal.lan\r\n\r\n").as_bytes()).await;
        wire.until(b"\r\n\r\n").await.unwrap();
        wire.until(b"\n\n").await.unwrap();
        // The payment is decided, so that was the last event. What comes now would be read by nobody but picoserve.
        wire.send(b"GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n").await;
        assert_eq!(String::from_utf8_lossy(&wire.until_closed().await), "");
        assert!(begun.elapsed() < Duration::from_secs(3), "its place was kept for {:?}", begun.elapsed());
    });
}

#[test]
fn one_address_cannot_take_all_places() {
    within(Limits { connections: 8, per_address: 4, ..Limits::default() }, async |world| {
        let asks = b"GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n";
        let mut crowd = Vec::new();
        for _ in 0..4 {
            let mut wire = Wire::open(&world, PHONE).await;
            wire.send(asks).await;
            wire.answer(false).await.unwrap();
            crowd.push(wire);
        }
        // Its next one takes the place of the oldest, which waits for nothing but a request; the others stay.
        for _ in 0..2 {
            let mut wire = Wire::open(&world, PHONE).await;
            wire.send(asks).await;
            assert_eq!(wire.answer(false).await.expect("who asks is answered").status, 200);
            crowd.push(wire);
            assert_eq!(crowd.remove(0).until_closed().await, b"");
        }
        for wire in &mut crowd {
            wire.send(asks).await;
            assert_eq!(wire.answer(false).await.expect("it was kept").status, 200);
        }
        // While each is being answered there is nothing to give way.
        world.shop.busy.send_replace(true);
        for wire in &mut crowd {
            wire.send(asks).await;
        }
        world.shop.asked(4).await;
        assert_eq!(Wire::open(&world, PHONE).await.until_closed().await, b"", "the fifth is closed unanswered");
        world.shop.busy.send_replace(false);
        for wire in &mut crowd {
            assert_eq!(wire.answer(false).await.expect("who is being answered is not cut off").status, 200);
        }
        assert_eq!(get(&world, OTHER_PHONE, "/api/packages").await.status, 200, "a neighbour is served");
        drop(crowd);
        let served = async {
            loop {
                let mut wire = Wire::open(&world, PHONE).await;
                wire.send(asks).await;
                if wire.answer(false).await.is_some() {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, served).await.expect("places are given back");
    });
}

#[test]
fn who_holds_most_places_gives_way() {
    within(Limits { connections: 12, per_address: 6, ..Limits::default() }, async |world| {
        // Two devices hold all places, more than is fair (`portal/crowd.rs`), one of them with requests that never end and one with streams of events.
        let body = r#"{"package":"hour","phone":"0712345678"}"#;
        let payment = crate::client::post_json(&world, PHONE, "/api/payments", body).await.json()["payment"].as_str().unwrap().to_owned();
        let mut streams = Vec::new();
        for _ in 0..6 {
            let mut wire = Wire::open(&world, PHONE).await;
            wire.send(format!("GET /api/payments/{payment}/events HTTP/1.1\r\nHost: portal.lan\r\n\r\n").as_bytes()).await;
            wire.until(b"\n\n").await.unwrap();
            streams.push(wire);
        }
        let mut slow = Vec::new();
        for _ in 0..6 {
            let mut wire = Wire::open(&world, OTHER_PHONE).await;
            wire.send(b"GET / HTTP/1.1\r\nHost: ").await;
            slow.push(wire);
        }
        let begun = Instant::now();
        let mut guests = Vec::new();
        for phone in 10..18 {
            let mut wire = Wire::open(&world, &format!("127.0.0.{phone}")).await;
            wire.send(b"GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n").await;
            assert_eq!(wire.answer(false).await.expect("every new device is served").status, 200);
            guests.push(wire);
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        // Of each device's the last to come is there still, and is served: nobody is cut off who has no more than others.
        let (mut last_slow, mut last_stream) = (slow.pop().unwrap(), streams.pop().unwrap());
        last_slow.send(b"portal.lan\r\n\r\n").await;
        assert_eq!(last_slow.answer(false).await.expect("the slow one's last connection is there").status, 200);
        world.shop.pay(&payment.parse().unwrap());
        let told = last_stream.until(b"\n\n").await.expect("the last stream is there");
        assert!(String::from_utf8_lossy(&told).contains("\"paid\""), "{}", String::from_utf8_lossy(&told));
        // The first to come went for the guests' sake, without a word, and while they were served: this is not the end of anybody's time.
        for first in [slow.remove(0), streams.remove(0)] {
            assert_eq!(first.until_closed().await, b"", "the oldest goes first");
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    });
}

#[test]
fn whether_a_device_is_online_is_asked_once_in_a_while_and_not_at_each_request() {
    let fresh = Duration::from_millis(200);
    within(Limits { fresh, ..Limits::default() }, async |world| {
        let probe = b"GET /generate_204 HTTP/1.1\r\nHost: connectivitycheck.gstatic.com\r\n\r\n";
        let begun = Instant::now();
        let mut wire = Wire::open(&world, PHONE).await;
        let mut asked = 0;
        while world.shop.looks.get() < 3 {
            wire.send(probe).await;
            assert_eq!(wire.answer(false).await.unwrap().status, 302);
            asked += 1;
            assert!(begun.elapsed() < PATIENCE, "nobody looks");
        }
        assert!(begun.elapsed() >= fresh * 3, "the third look after {:?}", begun.elapsed());
        assert!(asked >= 10, "{asked} requests, and three of them were looked at");
        // Who pays is noticed at the next request, however soon that comes: to be sent to the portal now would be to be bound to it.
        let looks = world.shop.looks.get();
        world.shop.sessions.borrow_mut().insert(crate::world::phone(), world.shop.session("kito42"));
        wire.send(probe).await;
        assert!(wire.until_closed().await.is_empty());
        assert_eq!(world.shop.looks.get(), looks + 1);
    });
}

#[test]
fn who_asks_whether_to_send_its_body_is_told() {
    within(quick(), async |world| {
        let body = r#"{"package":"hour","phone":"0712345678"}"#;
        let head =
            |length| format!("POST /api/payments HTTP/1.1\r\nHost: portal.lan\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
        let mut wire = Wire::open(&world, PHONE).await;
        wire.send(head(body.len()).as_bytes()).await;
        assert_eq!(wire.until(b"\r\n\r\n").await.unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
        wire.send(body.as_bytes()).await;
        assert_eq!(wire.answer(false).await.unwrap().status, 202);
        let mut wire = Wire::open(&world, PHONE).await;
        wire.send(head(9_000).as_bytes()).await;
        assert_eq!(wire.answer(false).await.unwrap().status, 413, "or told not to");
        // One that does not come is not waited for longer than any other.
        let mut wire = Wire::open(&world, PHONE).await;
        wire.send(head(body.len()).as_bytes()).await;
        wire.until(b"\r\n\r\n").await.unwrap();
        let answer = wire.answer(false).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str(), answer.header("connection")), (408, "too_slow", Some("close")));
    });
}

#[test]
fn where_places_are_rare_nobody_keeps_one_between_requests() {
    within(Limits { connections: 4, per_address: 4, ..Limits::default() }, async |world| {
        let mut kept = Vec::new();
        for expected in ["keep-alive", "keep-alive", "close"] {
            let mut wire = Wire::open(&world, PHONE).await;
            wire.send(b"GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n").await;
            assert_eq!(wire.answer(false).await.unwrap().header("connection"), Some(expected));
            kept.push(wire);
        }
    });
}

#[test]
fn a_panic_costs_one_connection() {
    within(Limits::default(), async |world| {
        world.shop.panics.set(true);
        let mut wire = Wire::open(&world, PHONE).await;
        wire.send(b"GET / HTTP/1.1\r\nHost: portal.lan\r\n\r\n").await;
        assert!(wire.answer(false).await.is_none(), "the connection is gone");
        world.shop.panics.set(false);
        assert_eq!(get(&world, PHONE, "/").await.status, 200);
    });
}

#[test]
fn stopping_lets_answers_finish_and_streams_end() {
    within(Limits::default(), async |mut world| {
        let order =
            crate::client::post_json(&world, PHONE, "/api/payments", r#"{"package":"hour","phone":"0712345678"}"#).await.json()["payment"]
                .as_str()
                .unwrap()
                .to_owned();
        let mut stream = Wire::open(&world, PHONE).await;
        stream.send(format!("GET /api/payments/{order}/events HTTP/1.1\r\nHost: portal.lan\r\n\r\n").as_bytes()).await;
        stream.until(b"\n\n").await.unwrap();
        let mut kept = Wire::open(&world, OTHER_PHONE).await;
        kept.send(b"GET /api/packages HTTP/1.1\r\nHost: portal.lan\r\n\r\n").await;
        kept.answer(false).await.unwrap();
        world.stop.take().unwrap().send(()).unwrap();
        assert_eq!(stream.until_closed().await, b"");
        assert_eq!(kept.until_closed().await, b"");
        tokio::time::timeout(PATIENCE, &mut world.portal).await.expect("the portal stops").unwrap();
        assert!(tokio::net::TcpStream::connect(world.address).await.is_err(), "nobody listens any more");
    });
}

#[test]
fn a_good_customer_is_served_while_others_hold_their_connections() {
    within(Limits { connections: 64, per_address: 16, ..quick() }, async |world| {
        let mut slow = Vec::new();
        for phone in 10..13 {
            for _ in 0..16 {
                let mut wire = Wire::open(&world, &format!("127.0.0.{phone}")).await;
                wire.send(b"GET / HTTP/1.1\r\nHost: ").await;
                slow.push(wire);
            }
        }
        let begun = Instant::now();
        assert_eq!(get(&world, PHONE, "/").await.status, 200);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        drop(slow);
        assert_eq!(raw(&world, PHONE, "GET / HTTP/1.1\r\nHost: portal.lan\r\n\r\n").await.status, 200);
    });
}
