//! What every system asks to find out whether it is captive (docs/portal.md): each gets the redirect that makes it show the portal.

use crate::client::{Wire, get, post_json, raw};
use crate::world::{PHONE, STRANGER, within};
use lango::portal::Limits;

/// Android, Samsung, Huawei, Xiaomi, Vivo, Oppo; Apple; Windows; Firefox; Chrome; Linux desktops; Kindle; by their makers' documents.
const PROBES: &[(&str, &str)] = &[
    ("connectivitycheck.gstatic.com", "/generate_204"),
    ("www.google.com", "/gen_204"),
    ("play.googleapis.com", "/generate_204"),
    ("clients3.google.com", "/generate_204"),
    ("connectivitycheck.android.com", "/generate_204"),
    ("connectivitycheck.platform.hicloud.com", "/generate_204"),
    ("connect.rom.miui.com", "/generate_204"),
    ("wifi.vivo.com.cn", "/generate_204"),
    ("connectivitycheck.oppomobile.com", "/generate_204"),
    ("captive.apple.com", "/hotspot-detect.html"),
    ("www.apple.com", "/library/test/success.html"),
    ("www.msftconnecttest.com", "/connecttest.txt"),
    ("www.msftconnecttest.com", "/redirect"),
    ("www.msftncsi.com", "/ncsi.txt"),
    ("edge-http.microsoft.com", "/captiveportal/generate_204"),
    ("detectportal.firefox.com", "/canonical.html"),
    ("detectportal.firefox.com", "/success.txt?ipv4"),
    ("www.gstatic.com", "/generate_204"),
    ("nmcheck.gnome.org", "/check_network_status.txt"),
    ("connectivity-check.ubuntu.com", "/"),
    ("fedoraproject.org", "/static/hotspot.txt"),
    ("ping.archlinux.org", "/nm-check.txt"),
    ("network-test.debian.org", "/nm"),
    ("networkcheck.kde.org", "/"),
    ("spectrum.s3.amazonaws.com", "/kindle-wifi/wifistub.html"),
    ("fireoscaptiveportal.com", "/generate_204"),
    ("1.1.1.1", "/"),
    ("192.0.2.7:8088", "/api/packages"),
    ("example.org", "/login"),
];

#[test]
fn every_probe_is_sent_to_the_portal() {
    within(Limits::default(), async |world| {
        for (host, path) in PROBES {
            for method in ["GET", "HEAD", "POST"] {
                let answer = raw(
                    &world,
                    PHONE,
                    &format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: CaptiveNetworkSupport-466 wispr\r\n\r\n"),
                )
                .await;
                assert_eq!(
                    (answer.status, answer.header("location"), answer.header("cache-control")),
                    (302, Some(world.url().as_str()), Some("no-store")),
                    "{method} {host}{path}"
                );
                // Android takes an empty or tiny body for a failure; a large one is wasted on a probe.
                assert!(method == "HEAD" || (5..300).contains(&answer.body.len()), "{}", answer.body.len());
            }
        }
    });
}

#[test]
fn the_portal_s_own_other_paths_lead_to_the_start() {
    within(Limits::default(), async |world| {
        for path in [
            "/generate_204",
            "/hotspot-detect.html",
            "/favicon.ico",
            "/wp-login.php",
            "//evil.example/",
            "/\\evil.example",
            "/%2e%2e/",
            "/pay",
            "/login/x",
        ] {
            let answer = raw(&world, PHONE, &format!("GET {path} HTTP/1.1\r\nHost: portal.lan\r\n\r\n")).await;
            assert_eq!((answer.status, answer.header("location")), (302, Some(world.url().as_str())), "{path}");
        }
    });
}

#[test]
fn nothing_of_the_request_comes_back() {
    within(Limits::default(), async |world| {
        for request in [
            "GET /\"><script>alert(1)</script> HTTP/1.1\r\nHost: x<script>alert(1)</script>\r\nUser-Agent: <script>alert(1)</script>\r\n\r\n",
            "GET http://evil.example/<script>alert(1)</script> HTTP/1.1\r\nHost: portal.lan\r\n\r\n",
            "GET /?lang=<script>alert(1)</script>&all=<script>alert(1)</script> HTTP/1.1\r\nHost: portal.lan\r\n\r\n",
            "GET /pay/<script>alert(1)</script> HTTP/1.1\r\nHost: portal.lan\r\n\r\n",
            "GET /buy/<script>alert(1)</script> HTTP/1.1\r\nHost: portal.lan\r\n\r\n",
            "GET /api/<script>alert(1)</script> HTTP/1.1\r\nHost: portal.lan\r\n\r\n",
            "<script>alert(1)</script> / HTTP/1.1\r\nHost: portal.lan\r\n\r\n",
        ] {
            let answer = raw(&world, PHONE, request).await;
            assert!(!format!("{}{}", answer.head, answer.text()).contains("alert(1)"), "{request}");
        }
    });
}

#[test]
fn a_request_without_a_host_is_captive_too() {
    within(Limits::default(), async |world| {
        for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: portal.lan\r\n\r\n"] {
            let answer = raw(&world, PHONE, request).await;
            assert_eq!((answer.status, answer.header("location")), (302, Some(world.url().as_str())), "{request}");
        }
        // Its own address is the portal, whatever its name.
        assert_eq!(raw(&world, STRANGER, "GET /api/packages HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n").await.status, 200);
    });
}

#[test]
fn a_connection_from_before_payment_is_closed_without_a_word() {
    within(Limits::default(), async |world| {
        let (request, mut wire) = ("GET /generate_204 HTTP/1.1\r\nHost: www.google.com\r\n\r\n", Wire::open(&world, PHONE).await);
        wire.send(request.as_bytes()).await;
        assert_eq!(wire.answer(false).await.unwrap().status, 302);
        post_json(&world, PHONE, "/api/hotspot/login", r#"{"username":"kito42","password":"k7m2p9"}"#).await;
        wire.send(request.as_bytes()).await;
        assert!(wire.until_closed().await.is_empty(), "so the browser asks again on a new connection, which passes the gate");
        // The portal itself stays where it is.
        assert_eq!(get(&world, PHONE, "/account").await.status, 200);
    });
}

#[test]
fn many_probes_on_one_connection() {
    within(Limits::default(), async |world| {
        let mut wire = Wire::open(&world, PHONE).await;
        for (host, path) in PROBES {
            wire.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
            let answer = wire.answer(false).await.unwrap();
            assert_eq!((answer.status, answer.header("connection")), (302, Some("keep-alive")));
        }
    });
}
