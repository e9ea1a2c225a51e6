//! Updates over the air, whole: router and relay as they are shipped, a real broker, a web server over TLS, the start script under a
//! real shell, releases signed by Debian's `signify-openbsd`. In place of procd the test starts again what has ended.

mod cuts;
mod site;

use anyhow::Context;
use lango_lab::downloads::Manner;
use lango_lab::wait::until_true;
use nix::sys::signal::Signal;
use site::{BOARD, LONG, Site, target};
use std::time::{Duration, Instant};

/// A trial of a minute, and what comes after it.
const LONGER: Duration = Duration::from_secs(300);

#[test]
fn a_new_program_takes_over_without_a_packet_lost() {
    let site = Site::start();
    let phone = site.lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    let mut probes = [phone.probe(false), phone.probe(true)];
    let newer = site.newer();
    // The line breaks twice on the way.
    site.releases.server.serve(&newer, Manner::CutsAfter(newer.len() / 3 + 1));
    site.offer(&newer, 7);
    site.until("the new program to be confirmed", LONG, |site| site.stands(7, "confirmed", None));
    assert_eq!(site.releases.server.asked().len(), 3, "{:?}", site.releases.server.asked());
    assert!(site.installed() == newer, "another program is there");
    site.until("nothing to lie around", LONG, Site::is_clear);
    let pid = site.lab.lango.program.pid().unwrap();
    let runs = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert_eq!(runs, site.program, "the new program runs, in the old one's process");
    for probe in &mut probes {
        probe.stop();
        let sent = probe.sent().len() as u64;
        let arrived = || site.lab.internet().arrivals(probe.id).len() as u64;
        until_true("every datagram", Duration::from_secs(20), || arrived() == sent)
            .unwrap_or_else(|e| panic!("{e:#}: {} of {sent}", arrived()));
    }
    assert!(phone.session().is_some(), "its session goes on");
    let status = site.lab.lango.status().unwrap();
    assert_eq!((&status["update"]["number"], &status["update"]["state"]), (&7.into(), &"confirmed".into()), "{status}");
    site.sells();

    // What comes after it must be newer; told with the reason, and nothing is fetched.
    site.releases.server.serve(&newer, Manner::Honest);
    let other = [newer.as_slice(), b"other"].concat();
    let good = site.manifest(&other, 8);
    for (what, manifest, key, reason) in [
        ("an older one", site.manifest(&other, 6), "release", "not_newer"),
        ("another one of the same number", site.manifest(&other, 7), "release", "not_newer"),
        ("one that a stranger signed", good.replace("number 8", "number 9"), "stranger", "unknown_key"),
        ("one that is too late", good.clone() + "until 2026-01-01T00:00:00Z\n", "release", "expired"),
        ("an image", good.replace("program", "image").replace(&format!("target {}\n", target()), ""), "release", "images_off"),
    ] {
        site.offer_text(&manifest, key);
        let refused = || (site.update()["state"] == "refused").then(|| site.update()["reason"].clone());
        until_true(what, LONG, || refused() == Some(reason.into())).with_context(|| format!("{what}: {}", site.update())).unwrap();
    }
    // What is for others is told, and is no news of this router.
    let last = site.update();
    for manifest in [good.replace(BOARD, "other,board"), good.replace(&target(), "mips-unknown-linux-musl")] {
        site.offer_text(&manifest, "release");
        until_true("the last word of it", LONG, || site.update() == last).unwrap();
    }
    // Under the name of the right key, by another one.
    site.releases.forge("release", "stranger").unwrap();
    site.offer_text(&good, "forged");
    let refused = || site.update()["state"] == "refused" && site.update()["reason"] == "forged";
    until_true("what is forged to be refused", LONG, refused).with_context(|| site.update().to_string()).unwrap();
    assert!(site.releases.server.asked().is_empty(), "something was fetched");
    assert!(site.installed() == newer);
    site.sells();
}

#[test]
fn what_is_not_the_file_that_was_signed_never_runs_and_may_come_again() {
    let site = Site::start();
    let newer = site.newer();
    let ran = site.installed();
    // No two of one reason after each other: the second would be told by the first.
    for (manner, reason) in [
        (Manner::Says(-1), "wrong_size"),
        (Manner::Changes, "wrong_hash"),
        (Manner::Says(1), "wrong_size"),
        (Manner::Status(404), "unreachable"),
    ] {
        site.releases.server.serve(&newer, manner.clone());
        site.offer(&newer, 7);
        site.until(&format!("{manner:?} to be told"), LONG, |site| site.stands(7, "failed", Some(reason)));
        assert!(site.installed() == ran && !site.program.with_extension("new").exists(), "{manner:?}");
        site.sells();
    }
    // Under the name of the right key: nobody but its owner can sign with it.
    site.releases.server.serve(&newer, Manner::Honest);
    site.offer(&newer, 7);
    site.until("the same release to be taken at last", LONG, |site| site.stands(7, "confirmed", None));
    assert!(site.installed() == newer);
    site.sells();
}

#[test]
fn a_program_that_ends_at_once_is_put_back() {
    let site = Site::start();
    let phone = site.lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    for (number, broken) in [(7, &b"#!/bin/sh\nexit 1\n"[..]), (8, &b"\x7fELF is not enough"[..])] {
        site.releases.server.serve(broken, Manner::Honest);
        site.offer(broken, number);
        site.until("the old program to be back", LONG, |site| site.stands(number, "rolled_back", Some("crashed")));
        assert!(site.installed() == site.shipped, "another program is there");
        site.until("nothing to lie around", LONG, Site::is_clear);
        assert!(phone.session().is_some(), "its session goes on");
        site.sells();
    }
    // What was put back is not tried again.
    site.offer(b"\x7fELF is not enough", 8);
    site.until("it to be told again", LONG, |site| site.stands(8, "rolled_back", Some("crashed")));
}

#[test]
fn a_program_that_does_not_reach_the_relay_is_put_back() {
    let site = Site::start();
    let newer = site.newer();
    site.releases.server.serve(&newer, Manner::Honest);
    site.offer(&newer, 7);
    until_true("the new program to be on trial", LONG, || {
        site.tend();
        site.installed() == newer
    })
    .unwrap();
    site.lab.broker.program.signal(Signal::SIGSTOP).unwrap();
    site.until("the old program to be back", LONGER, |site| site.installed() == site.shipped && site.lab.lango.status().is_ok());
    site.lab.broker.program.signal(Signal::SIGCONT).unwrap();
    site.until("the relay to hear of it", LONG, |site| site.stands(7, "rolled_back", Some("not_healthy")));
    site.sells();
}

#[test]
fn it_is_killed_again_and_again_and_one_of_the_two_runs_in_the_end() {
    let site = Site::start();
    let phone = site.lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    for (round, number) in (7..10).enumerate() {
        let newer = [site.shipped.as_slice(), number.to_string().as_bytes()].concat();
        let before = site.installed();
        site.releases.server.serve(&newer, Manner::Honest);
        site.offer(&newer, number);
        // Twice, at moments that move through the offer, the fetch, the change and the trial.
        for blow in 0..2_u64 {
            let begun = Instant::now();
            let moment = Duration::from_millis(150 + 900 * blow + 1_100 * round as u64);
            until_true("the moment", LONG, || begun.elapsed() >= moment).unwrap();
            site.lab.lango.program.kill9();
            assert!(site.program.exists(), "no program is there");
            site.tend();
        }
        site.until("an end", LONGER, |site| site.stands(number, "confirmed", None) || site.stands(number, "rolled_back", Some("crashed")));
        let runs = site.installed();
        assert!(if site.update()["state"] == "confirmed" { runs == newer } else { runs == before }, "neither of the two");
        assert!(phone.session().is_some(), "its session goes on");
    }
    site.until("nothing to lie around", LONG, Site::is_clear);
    site.sells();
}

#[test]
fn an_image_is_handed_to_sysupgrade_when_nobody_is_online() {
    const ASKED: &str = "ubus call system validate_firmware_image {\"path\":\"/tmp/lango-update/image\"}\n";
    let site = Site::start();
    site.lab.lango.configure(|config| config.replace("option trial", "option images '1'\n\toption trial")).unwrap();
    site.lab.lango.program.signal(Signal::SIGHUP).unwrap();
    let phone = site.lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    let image = vec![7; 1_000_000];
    let manifest = |number: u64| {
        let program = site.manifest(&image, number);
        program.replace("kind program", "kind image").replace(&format!("target {}\n", target()), "")
    };
    site.releases.server.serve(&image, Manner::Honest);

    site.openwrt(false, true);
    site.offer_text(&manifest(7), "release");
    site.until("an image of another board to be refused", LONG, |site| site.stands(7, "failed", Some("sysupgrade_refused")));
    assert_eq!(site.asked_of_openwrt(), ASKED);

    // The customer is online: it waits. It may be offered again, for it never ran.
    site.openwrt(true, false);
    site.offer_text(&manifest(7), "release");
    site.until("the image to be here and checked", LONG, |site| site.asked_of_openwrt() == ASKED);
    let waits = Instant::now();
    site.until("it to wait", LONG, |_| waits.elapsed() > Duration::from_secs(25));
    assert_eq!(site.asked_of_openwrt(), ASKED);
    phone.post("/api/hotspot/logout", &serde_json::json!({}));
    site.until("what sysupgrade does not take to be told", LONG, |site| site.stands(7, "failed", Some("sysupgrade_refused")));
    assert_eq!(site.asked_of_openwrt(), format!("{ASKED}sysupgrade /tmp/lango-update/image\npacked\n"));
    site.until("nothing to lie around", LONG, Site::is_clear);
    site.sells();

    site.openwrt(true, true);
    // Who bought just now is online.
    for session in site.lab.lango.sessions().unwrap().as_array().unwrap() {
        site.lab.lango.command(&["kick", session["mac"].as_str().unwrap()]).unwrap();
    }
    site.offer_text(&manifest(8), "release");
    site.until("the image to be confirmed", LONG, |site| site.stands(8, "confirmed", None));
    assert_eq!(site.asked_of_openwrt(), format!("{ASKED}sysupgrade /tmp/lango-update/image\npacked\n"));
    site.sells();
}
