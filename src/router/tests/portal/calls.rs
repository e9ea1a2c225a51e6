//! The calls of the contract.

use crate::client::{Wire, get, post, post_json, raw};
use crate::world::{OTHER_PHONE, PHONE, STRANGER, World, phone, within};
use lango::portal::Limits;
use lango_core::message::Reason;
use lango_core::request::Refusal;
use lango_core::units::{OrderId, Seconds};
use serde_json::{Value, json};
use std::time::Duration;

const BUY: &str = r#"{"package":"hour","phone":"0712345678"}"#;

async fn bought(world: &World) -> OrderId {
    let answer = post_json(world, PHONE, "/api/payments", BUY).await;
    assert_eq!(answer.status, 202);
    answer.json()["payment"].as_str().unwrap().parse().unwrap()
}

#[test]
fn packages() {
    within(Limits::default(), async |world| {
        // The price list needs no device.
        for from in [PHONE, STRANGER] {
            let answer = get(&world, from, "/api/packages").await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
            assert_eq!(
                answer.json()["packages"][0],
                json!({"id": "hour", "label": "1 hour", "price": 10, "minutes": 60, "megabytes": 500, "down_kbps": 5000, "up_kbps": 2500, "devices": 1})
            );
            assert_eq!(answer.json()["packages"][2]["minutes"], Value::Null);
        }
    });
}

#[test]
fn a_payment_from_asking_to_paid() {
    within(Limits::default(), async |world| {
        let answer = post_json(&world, PHONE, "/api/payments", BUY).await;
        let order: OrderId = answer.json()["payment"].as_str().unwrap().parse().unwrap();
        assert_eq!((answer.status, answer.json()), (202, json!({"payment": order, "status": "pending"})));
        assert_eq!(bought(&world).await, order, "the same device asking again gets the same id");

        let path = format!("/api/payments/{order}/status");
        let pending = json!({"payment": order, "status": "pending", "reason": null, "receipt": null, "connected": false, "username": null, "password": null});
        assert_eq!(get(&world, PHONE, &path).await.json(), pending);
        world.shop.pay(&order);
        let paid = json!({"payment": order, "status": "paid", "reason": null, "receipt": "NLJ7RT61SV", "connected": true, "username": "kito42", "password": "k7m2p9"});
        assert_eq!(get(&world, PHONE, &path).await.json(), paid);
        for (from, path, status, code) in [
            (OTHER_PHONE, path.as_str(), 404, "unknown_payment"),
            (STRANGER, &path, 403, "unknown_device"),
            (PHONE, "/api/payments/0000000000000000000000000z/status", 404, "unknown_payment"),
            (PHONE, "/api/payments/..%2f..%2fetc/status", 404, "unknown_payment"),
            (PHONE, "/api/payments//status", 404, "unknown_payment"),
        ] {
            let answer = get(&world, from, path).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{from} {path}");
            assert!(!answer.text().contains("k7m2p9"));
        }
    });
}

#[test]
fn payments_that_are_refused() {
    within(Limits::default(), async |world| {
        for (body, status, code) in [
            (r#"{"package":"hour","phone":"0812345678"}"#, 422, "bad_phone"),
            (r#"{"package":"hour","phone":""}"#, 422, "bad_phone"),
            (r#"{"package":"year","phone":"0712345678"}"#, 422, "unknown_package"),
            (r#"{"package":"../hour","phone":"0712345678"}"#, 422, "unknown_package"),
            (r#"{"package":"hour"}"#, 400, "bad_request"),
            (r#"{"package":"hour","phone":712345678}"#, 400, "bad_request"),
            ("", 400, "bad_request"),
            ("{", 400, "bad_request"),
            ("null", 400, "bad_request"),
        ] {
            let answer = post_json(&world, PHONE, "/api/payments", body).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
        }
        let stranger = post_json(&world, STRANGER, "/api/payments", BUY).await;
        assert_eq!((stranger.status, stranger.code().as_str()), (403, "unknown_device"));
        world.shop.online.set(false);
        let offline = post_json(&world, PHONE, "/api/payments", BUY).await;
        assert_eq!((offline.status, offline.code().as_str()), (503, "payments_offline"));
        for (refusal, status, code, retry) in [
            (Refusal::TooManyRequests { retry_after: Seconds(30) }, 429, "too_many_requests", Some("30")),
            (Refusal::NotStored, 503, "not_stored", None),
        ] {
            world.shop.refuses.set(Some(refusal));
            let answer = post_json(&world, PHONE, "/api/payments", BUY).await;
            assert_eq!((answer.status, answer.code().as_str(), answer.header("retry-after")), (status, code, retry));
        }
        assert!(world.shop.payments.borrow().is_empty(), "nothing was asked of anybody");
    });
}

#[test]
fn events_follow_a_payment_and_end_with_it() {
    within(Limits { heartbeat: Duration::from_millis(50), ..Limits::default() }, async |world| {
        for paid in [true, false] {
            let order = bought(&world).await;
            let mut wire = Wire::open(&world, PHONE).await;
            wire.send(format!("GET /api/payments/{order}/events HTTP/1.1\r\nHost: portal.lan\r\n\r\n").as_bytes()).await;
            let head = String::from_utf8(wire.until(b"\r\n\r\n").await.unwrap()).unwrap();
            assert!(
                head.starts_with("HTTP/1.1 200")
                    && head.contains("Content-Type: text/event-stream\r\n")
                    && head.contains("Connection: close\r\n"),
                "{head}"
            );
            let event = async |wire: &mut Wire| {
                // Signs of life may come between events.
                loop {
                    let block = String::from_utf8(wire.until(b"\n\n").await.unwrap()).unwrap();
                    if let Some(data) = block.strip_prefix("data: ") {
                        break serde_json::from_str::<Value>(data).unwrap();
                    }
                    assert_eq!(block, ":\n\n");
                }
            };
            assert_eq!(event(&mut wire).await["status"], "pending");
            assert_eq!(wire.until(b"\n\n").await.unwrap(), b":\n\n", "a sign of life");
            // Another payment's change, and one that changes nothing, are no events.
            world.shop.tell(&"other".parse().unwrap());
            world.shop.tell(&order);
            if paid {
                world.shop.pay(&order);
            } else {
                world.shop.fail(&order, Reason::WrongPin);
            }
            let last = event(&mut wire).await;
            let expected = if paid { json!(["paid", null, "kito42"]) } else { json!(["failed", "wrong_pin", null]) };
            assert_eq!(json!([last["status"], last["reason"], last["username"]]), expected);
            assert_eq!(wire.until_closed().await, b"", "the stream ends with the payment");
            // Once it is decided, the stream is one event.
            let mut late = Wire::open(&world, PHONE).await;
            late.send(format!("GET /api/payments/{order}/events HTTP/1.1\r\nHost: portal.lan\r\n\r\n").as_bytes()).await;
            late.until(b"\r\n\r\n").await.unwrap();
            assert_eq!(event(&mut late).await, last);
            assert_eq!(late.until_closed().await, b"");
            world.shop.payments.borrow_mut().clear();
        }
        assert_eq!(get(&world, OTHER_PHONE, "/api/payments/00000000000000000000000001/events").await.code(), "unknown_payment");
    });
}

#[test]
fn a_watcher_that_leaves_is_forgotten() {
    within(Limits::default(), async |world| {
        let order = bought(&world).await;
        let mut wire = Wire::open(&world, PHONE).await;
        wire.send(format!("GET /api/payments/{order}/events HTTP/1.1\r\nHost: portal.lan\r\n\r\n").as_bytes()).await;
        wire.until(b"\n\n").await.unwrap();
        assert_eq!(world.shop.watchers(), 1);
        drop(wire);
        tokio::time::timeout(crate::client::PATIENCE, async {
            while world.shop.watchers() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the watcher stays");
    });
}

#[test]
fn logging_in_and_out() {
    within(Limits::default(), async |world| {
        let check = async || post(&world, PHONE, "/api/hotspot/check-session", "", "").await.json();
        assert_eq!(check().await, json!({"active": false}));
        let login = post_json(&world, PHONE, "/api/hotspot/login", r#"{"username":" kito42 ","password":"k7m2p9"}"#).await;
        let session = json!({
            "username": "kito42", "package": "hour", "started_at": "2026-01-01T00:00:00Z", "seconds_remaining": 3540, "bytes_remaining": 499_000_000,
            "bytes_up": 120_000, "bytes_down": 880_000, "devices": 1
        });
        assert_eq!((login.status, login.json()), (200, json!({"session": session})));
        assert_eq!(check().await, json!({"active": true, "session": session}));
        for _ in 0..2 {
            let logout = post(&world, PHONE, "/api/hotspot/logout", "", "").await;
            assert_eq!(logout.status, 200, "who is offline already is what they want to be");
            assert_eq!(check().await, json!({"active": false}));
        }
        for (body, status, code, retry) in [
            (r#"{"username":"kito42","password":"wrong"}"#, 401, "bad_credentials", None),
            (r#"{"username":"","password":""}"#, 401, "bad_credentials", None),
            (r#"{"username":"a b","password":"x"}"#, 401, "bad_credentials", None),
            (r#"{"username":"full","password":"x"}"#, 403, "device_limit", None),
            (r#"{"username":"empty","password":"x"}"#, 403, "expired", None),
            (r#"{"username":"eager","password":"x"}"#, 429, "too_many_requests", Some("90")),
            (r#"{"username":"kito42"}"#, 400, "bad_request", None),
        ] {
            let answer = post_json(&world, PHONE, "/api/hotspot/login", body).await;
            assert_eq!((answer.status, answer.code().as_str(), answer.header("retry-after")), (status, code, retry), "{body}");
        }
        for path in ["/api/hotspot/login", "/api/hotspot/logout", "/api/hotspot/check-session"] {
            let answer = post_json(&world, STRANGER, path, r#"{"username":"kito42","password":"k7m2p9"}"#).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "unknown_device"));
        }
    });
}

#[test]
fn vouchers() {
    within(Limits::default(), async |world| {
        let redeem = async |from, body| post_json(&world, from, "/api/vouchers/redeem", body).await;
        for (body, status, code, retry) in [
            (r#"{"code":"XXXX-XXXX-XXXX"}"#, 404, "unknown_voucher", None),
            (r#"{"code":"1234"}"#, 404, "unknown_voucher", None),
            (r#"{"code":""}"#, 404, "unknown_voucher", None),
            (r#"{"code":"EXPR-EDXX-XXXX"}"#, 403, "voucher_expired", None),
            (r#"{"code":"REVK-EDXX-XXXX"}"#, 403, "voucher_revoked", None),
            (r#"{"code":"EAGE-RXXX-XXXX"}"#, 429, "too_many_requests", Some("90")),
            (r#"{"code":17}"#, 400, "bad_request", None),
            ("{}", 400, "bad_request", None),
        ] {
            let answer = redeem(PHONE, body).await;
            assert_eq!((answer.status, answer.code().as_str(), answer.header("retry-after")), (status, code, retry), "{body}");
        }
        assert_eq!(redeem(STRANGER, r#"{"code":"ABCD-EFGH-JKMN"}"#).await.code(), "unknown_device");
        let answer = redeem(PHONE, r#"{"code":" abcdefgh-jkmn "}"#).await;
        let json = answer.json();
        assert_eq!((answer.status, &json["session"]["username"], &json["password"]), (200, &json!("vera77"), &json!("v7m2p9")));
        let again = redeem(PHONE, r#"{"code":"ABCD-EFGH-JKMN"}"#).await;
        assert_eq!((again.status, again.code().as_str()), (409, "voucher_used"));
    });
}

#[test]
fn what_has_not_even_the_form_is_a_try_too() {
    within(Limits::default(), async |world| {
        world.shop.tired.set(true);
        for (path, body, form_path, form) in [
            ("/api/vouchers/redeem", r#"{"code":"ZZZZZZZZ"}"#, "/voucher", "code=ZZZZZZZZ"),
            ("/api/vouchers/redeem", r#"{"code":"ABCD-EFGH-JKMN-P"}"#, "/voucher", "code=ABCD-EFGH-JKMN-P"),
            ("/api/hotspot/login", r#"{"username":"a b","password":"x"}"#, "/login", "username=a+b&password=x"),
            ("/api/payments/reclaim", r#"{"receipt":"NLJ7-RT61","phone":"0712345678"}"#, "/receipt", "receipt=NLJ7-RT61&phone=0712345678"),
        ] {
            let answer = post_json(&world, PHONE, path, body).await;
            let told = (answer.status, answer.code().as_str().to_owned(), answer.header("retry-after").map(str::to_owned));
            assert_eq!(told, (429, "too_many_requests".to_owned(), Some("90".to_owned())), "{path} {body}");
            let page = post(&world, PHONE, form_path, "", form).await;
            assert_eq!((page.status, page.header("retry-after")), (429, Some("90")), "{form_path}");
        }
    });
}

#[test]
fn devices_of_an_account() {
    within(Limits::default(), async |world| {
        let offline = get(&world, PHONE, "/api/hotspot/devices").await;
        assert_eq!((offline.status, offline.code().as_str()), (404, "not_online"));
        let full = post_json(&world, PHONE, "/api/hotspot/login", r#"{"username":"full","password":"x","replace":false}"#).await;
        assert_eq!((full.status, full.code().as_str()), (403, "device_limit"));
        for from in [PHONE, OTHER_PHONE] {
            let login = post_json(&world, from, "/api/hotspot/login", r#"{"username":"full","password":"x","replace":true}"#).await;
            assert_eq!(login.status, 200);
        }
        let list = get(&world, PHONE, "/api/hotspot/devices").await.json();
        let (mine, other) = (phone(), crate::world::mac(OTHER_PHONE.parse().unwrap()));
        let device = |mac, this| json!({"device": mac, "this": this, "online_since": "2026-01-01T00:00:00Z", "bytes_up": 1, "bytes_down": 2_000_000});
        assert_eq!(list, json!({"devices": [device(mine, true), device(other, false)], "devices_at_most": 3}));
        let log_out = async |from, device: &str| {
            let body = json!({"device": device}).to_string();
            post_json(&world, from, "/api/hotspot/devices/logout", &body).await
        };
        for (from, device, status) in [
            (STRANGER, other.to_string(), 403),
            (PHONE, "nonsense".to_owned(), 404),
            (PHONE, other.to_string(), 200),
            (PHONE, other.to_string(), 404),
            (OTHER_PHONE, mine.to_string(), 404),
        ] {
            assert_eq!(log_out(from, &device).await.status, status, "{from} {device}");
        }
    });
}

#[test]
fn other_sites_pages_can_do_nothing() {
    within(Limits::default(), async |world| {
        world.shop.sessions.borrow_mut().insert(phone(), world.shop.session("kito42"));
        for path in ["/api/hotspot/logout", "/api/payments", "/api/vouchers/redeem", "/logout", "/buy/hour", "/voucher", "/account/logout"]
        {
            for from in [
                "Origin: http://evil.example\r\n",
                "Origin: null\r\n",
                "Referer: http://evil.example/\r\n",
                "Sec-Fetch-Site: cross-site\r\n",
            ] {
                let answer = post(&world, PHONE, path, &format!("{from}Content-Type: text/plain\r\n"), BUY).await;
                assert_eq!(answer.status, 403, "{path} {from}");
            }
        }
        let port = world.address.port();
        let typed =
            post(&world, PHONE, "/api/payments", &format!("Origin: http://portal.lan:{port}\r\nContent-Type: text/plain\r\n"), BUY).await;
        assert_eq!((typed.status, typed.code().as_str()), (415, "unsupported_media_type"));
        assert!(world.shop.payments.borrow().is_empty() && !world.shop.sessions.borrow().is_empty());
        // A program names no origin; what curl says by itself is good enough.
        let curl = post(&world, PHONE, "/api/payments", "Content-Type: application/x-www-form-urlencoded\r\n", BUY).await;
        assert_eq!(curl.status, 202);
    });
}

#[test]
fn the_captive_portal_api() {
    within(Limits::default(), async |world| {
        let url = world.url();
        let answer = get(&world, PHONE, "/captive-portal/api").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/captive+json")));
        assert_eq!(answer.json(), json!({"captive": true, "user-portal-url": url}));
        assert!(answer.header("cache-control").unwrap().contains("private"));
        let mut session = world.shop.session("kito42");
        world.shop.sessions.borrow_mut().insert(phone(), session.clone());
        assert_eq!(
            get(&world, PHONE, "/captive-portal/api").await.json(),
            json!({"captive": false, "user-portal-url": url, "can-extend-session": true, "seconds-remaining": 3540, "bytes-remaining": 499_000_000})
        );
        // Until the device is captive: with what waits. The contract's SESSION is of the package in use.
        (session.seconds_in_all, session.bytes_in_all) = (Some(Seconds(7_140)), None);
        world.shop.sessions.borrow_mut().insert(phone(), session.clone());
        let state = get(&world, PHONE, "/captive-portal/api").await.json();
        assert_eq!((&state["seconds-remaining"], state.get("bytes-remaining")), (&json!(7_140), None));
        let session_now = post_json(&world, PHONE, "/api/hotspot/check-session", "").await.json()["session"].clone();
        assert_eq!((&session_now["seconds_remaining"], session_now.as_object().unwrap().len()), (&json!(3_540), 8), "{session_now}");
        // There is a way to go on: something is sold and can be paid for, or there are vouchers.
        for (payments, packages, vouchers, can) in [
            (true, true, true, true),
            (true, true, false, true),
            (false, true, false, false),
            (true, false, false, false),
            (false, false, true, true),
        ] {
            world.shop.online.set(payments);
            let sold = if packages { Vec::new() } else { world.shop.packages.take() };
            world.shop.vouchers.set(vouchers);
            let state = get(&world, PHONE, "/captive-portal/api").await.json();
            assert_eq!(state["can-extend-session"], can, "payments {payments}, packages {packages}, vouchers {vouchers}");
            if !packages {
                world.shop.packages.replace(sold);
            }
        }
        world.shop.online.set(true);
        (session.seconds_remaining, session.bytes_remaining) = (None, None);
        (session.seconds_in_all, session.bytes_in_all) = (None, None);
        world.shop.sessions.borrow_mut().insert(phone(), session);
        assert_eq!(
            get(&world, PHONE, "/captive-portal/api").await.json(),
            json!({"captive": false, "user-portal-url": url, "can-extend-session": true})
        );
        assert_eq!(get(&world, STRANGER, "/captive-portal/api").await.code(), "unknown_device");
    });
}

#[test]
fn methods_and_paths_that_are_not() {
    within(Limits::default(), async |world| {
        for (method, path, allow) in [
            ("POST", "/api/packages", "GET, HEAD"),
            ("GET", "/api/payments", "POST"),
            ("OPTIONS", "/api/payments", "POST"),
            ("DELETE", "/api/hotspot/logout", "POST"),
            ("PUT", "/", "GET, HEAD"),
            ("BREW", "/login", "GET, HEAD, POST"),
        ] {
            let answer = raw(&world, PHONE, &format!("{method} {path} HTTP/1.1\r\nHost: portal.lan\r\n\r\n")).await;
            assert_eq!(
                (answer.status, answer.header("allow"), answer.code().as_str()),
                (405, Some(allow), "method_not_allowed"),
                "{method} {path}"
            );
        }
        let answer = get(&world, PHONE, "/api/nothing").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    });
}

#[test]
fn head_is_get_without_its_body() {
    within(Limits::default(), async |world| {
        let order = bought(&world).await;
        for path in [
            "/",
            "/login",
            "/api/packages",
            &format!("/api/payments/{order}/status"),
            &format!("/api/payments/{order}/events"),
            "/captive-portal/api",
            "/nowhere",
        ] {
            // Two on one connection: a body that came after all would be taken for the second answer.
            let mut wire = Wire::open(&world, PHONE).await;
            wire.send(
                format!(
                    "HEAD {path} HTTP/1.1\r\nHost: portal.lan\r\n\r\nHEAD {path} HTTP/1.1\r\nHost: portal.lan\r\nConnection: close\r\n\r\n"
                )
                .as_bytes(),
            )
            .await;
            let head = wire.answer(true).await.unwrap();
            let again = wire.answer(true).await.unwrap();
            assert_eq!(head.status, again.status, "{path}");
            assert_eq!(wire.until_closed().await, b"", "{path}");
            if !path.ends_with("/events") {
                let get = raw(&world, PHONE, &format!("GET {path} HTTP/1.1\r\nHost: portal.lan\r\n\r\n")).await;
                assert_eq!(
                    (get.status, get.header("content-length"), get.header("content-type")),
                    (head.status, head.header("content-length"), head.header("content-type")),
                    "{path}"
                );
            }
        }
    });
}

#[test]
fn a_new_config_takes_effect_with_the_next_request() {
    within(Limits::default(), async |world| {
        world.config.send_modify(|config| config.host = "wifi.lan".to_owned());
        let answer = raw(&world, PHONE, "GET / HTTP/1.1\r\nHost: portal.lan\r\n\r\n").await;
        assert_eq!((answer.status, answer.header("location")), (302, Some(format!("http://wifi.lan:{}/", world.address.port()).as_str())));
        assert_eq!(raw(&world, PHONE, "GET / HTTP/1.1\r\nHost: wifi.lan\r\n\r\n").await.status, 200);
    });
}

#[test]
fn a_receipt_gets_its_session() {
    within(Limits::default(), async |world| {
        for (receipt, phone, status, code) in [
            ("NLJ7RT61SV", "0722222222", 404, "unknown_receipt"),
            ("RKL51ZDR4F", "0712345678", 409, "not_served"),
            ("RKL51ZDR4G", "0712345678", 503, "no_answer"),
            ("no", "0712345678", 404, "unknown_receipt"),
            ("", "0712345678", 404, "unknown_receipt"),
            ("NLJ7RT61SV", "07", 422, "bad_phone"),
        ] {
            let body = json!({"receipt": receipt, "phone": phone}).to_string();
            let answer = post_json(&world, PHONE, "/api/payments/reclaim", &body).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{receipt} {phone}");
            // The page says the same in words, and keeps what was typed.
            let form = format!("receipt={receipt}&phone={phone}");
            let page = post(&world, PHONE, "/receipt", "", &form).await;
            assert!(page.status == status && page.text().contains("role=\"alert\"") && page.text().contains(receipt), "{}", page.text());
        }
        // As it stands in M-Pesa's message, and as people type it.
        for receipt in ["NLJ7RT61SV", " nlj7rt61sv Confirmed. Ksh10.00 paid to"] {
            let body = json!({"receipt": receipt, "phone": "0712 345 678"}).to_string();
            let answer = post_json(&world, PHONE, "/api/payments/reclaim", &body).await;
            assert_eq!((answer.status, &answer.json()["session"]["username"]), (200, &json!("kito42")));
        }
        let done = post(&world, PHONE, "/receipt", "", "receipt=nlj7rt61sv&phone=0712345678").await;
        assert_eq!((done.status, done.header("location").map(|to| to.ends_with("/account"))), (303, Some(true)));
        assert!(get(&world, PHONE, "/login").await.text().contains("href=\"/receipt"));
        assert_eq!(get(&world, PHONE, "/receipt?lang=sw").await.status, 200);
        assert_eq!(post_json(&world, PHONE, "/api/payments/reclaim", "{}").await.status, 400);
    });
}
