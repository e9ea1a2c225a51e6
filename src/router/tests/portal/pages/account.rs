//! Pages of who logs in, and of who is online.

use super::{hides, landed, shows};
use crate::client::{get, post_form, post_json};
use crate::world::{OTHER_PHONE, PHONE, phone, within};
use lango::portal::Limits;
use lango_core::account::Purchase;
use lango_core::package;
use lango_core::request::{ReceiptView, Refusal};
use lango_core::time::Wall;
use lango_core::units::{Millis, Seconds, Shillings};

#[test]
fn my_account_has_its_receipts() {
    within(Limits::default(), async |world| {
        world.shop.sessions.borrow_mut().insert(phone(), world.shop.session("kito42"));
        hides(&get(&world, PHONE, "/account").await, &["Your receipts"]);
        let paid = |receipt: &str, label: &str, amount, at| ReceiptView {
            receipt: receipt.parse().unwrap(),
            label: label.to_owned(),
            amount: Shillings(amount),
            at: Wall::from_rfc3339(at),
        };
        world
            .shop
            .receipts
            .replace(vec![paid("NLJ7RT61SV", "1 hour", 1_500, "2026-11-24T11:05:00Z"), paid("UJ22T8IYOU", "Day <all>", 50, "no clock")]);
        let page = get(&world, PHONE, "/account").await;
        shows(
            &page,
            &[
                "<h2>Your receipts</h2>",
                "<b>…61SV</b> KSh 1,500<br><span class=\"soft\">1 hour, Tue 24 Nov 14:05</span>",
                "<b>…IYOU</b> KSh 50<br><span class=\"soft\">Day &lt;all&gt;</span>",
            ],
        );
        shows(&get(&world, PHONE, "/account?lang=sw").await, &["Risiti zako", "Jnn 24 Nov 14:05"]);
    });
}

#[test]
fn logging_in_and_out() {
    within(Limits::default(), async |world| {
        shows(&get(&world, PHONE, "/login").await, &["name=\"username\"", "name=\"password\"", "<label for=\"username\">"]);
        let (location, _) = landed(&world, get(&world, PHONE, "/account").await).await;
        assert_eq!(location, "/", "who is offline has no account page");
        for (username, status, text) in [
            ("wrong", 401, "The user name or the password is wrong."),
            ("%3Cb%3E+x", 401, "The user name or the password is wrong."),
            ("full", 403, "As many devices as the package allows"),
            ("empty", 403, "used up"),
            ("eager", 429, "Please wait 1 minute 30 seconds"),
        ] {
            let page = post_form(&world, PHONE, "/login", &format!("username={username}&password=secret-x")).await;
            assert_eq!(page.status, status);
            shows(&page, &[text, "name=\"password\""]);
            hides(&page, &["secret-x", "<b>"]);
        }
        let (location, page) = landed(&world, post_form(&world, PHONE, "/login", "username=kito42&password=k7m2p9").await).await;
        assert_eq!(location, "/account");
        shows(&page, &["You are online", "59 minutes", "499 MB", "kito42", "action=\"/logout\"", "Package: 1 hour"]);
        hides(&page, &["k7m2p9"]);
        let (location, page) = landed(&world, post_form(&world, PHONE, "/logout", "").await).await;
        assert_eq!(location, "/?all=1&said=out");
        shows(&page, &["Get online", "role=\"status\"><p>You are logged out. What is left stays yours."]);
        // It is said once, to whom it is true for, and nothing else can be put into the page's mouth.
        let page = get(&world, PHONE, "/?all=1&said=out&lang=sw").await;
        shows(&page, &["Umetoka.", "href=\"/?all=1&amp;lang=en\""]);
        hides(&get(&world, OTHER_PHONE, "/?all=1").await, &["You are logged out"]);
        for said in ["said_out", "device_out", "<b>", "%3Cb%3E", "error_title", ""] {
            hides(&get(&world, PHONE, &format!("/?all=1&said={said}")).await, &["notice good", "<b>"]);
        }
        world.shop.sessions.borrow_mut().insert(phone(), world.shop.session("kito42"));
        hides(&get(&world, PHONE, "/?all=1&said=out").await, &["You are logged out"]);
        world.shop.sessions.borrow_mut().clear();
        assert!(world.shop.sessions.borrow().is_empty());
    });
}

#[test]
fn another_device_gives_way_without_script() {
    within(Limits::default(), async |world| {
        hides(&get(&world, PHONE, "/login").await, &["name=\"replace\""]);
        hides(&post_form(&world, PHONE, "/login", "username=wrong&password=x").await, &["name=\"replace\""]);
        let full = post_form(&world, PHONE, "/login", "username=full&password=secret-x").await;
        assert_eq!(full.status, 403);
        shows(
            &full,
            &[
                "value=\"full\"",
                "<button class=\"button plain\" name=\"replace\" value=\"1\" data-busy=\"Please wait …\">",
                "the device used longest ago",
            ],
        );
        let (location, _) = landed(&world, post_form(&world, PHONE, "/login", "username=full&password=secret-x&replace=1").await).await;
        assert_eq!(location, "/account");
    });
}

#[test]
fn in_a_crowd_the_page_says_when_to_come_again() {
    within(Limits::default(), async |world| {
        world.shop.refuses.set(Some(Refusal::Crowded { retry_after: Seconds(2) }));
        for (language, text) in [
            ("en", "Many people are logging in at this moment. Please wait 2 seconds and log in again."),
            ("sw", "Watu wengi wanaingia kwa wakati huu. Tafadhali subiri sekunde 2 kisha uingie tena."),
        ] {
            for (replace, keeps) in [("", false), ("&replace=1", true)] {
                let login = format!("username=kito42&password=k7m2p9{replace}");
                let page = post_form(&world, PHONE, &format!("/login?lang={language}"), &login).await;
                assert_eq!((page.status, page.header("retry-after")), (429, Some("2")));
                shows(&page, &[text, "value=\"kito42\""]);
                hides(&page, &["k7m2p9"]);
                assert_eq!(page.text().contains("name=\"replace\""), keeps, "the way to take a place is there for whom it was there");
            }
        }
        // Who tries too often is not in a crowd.
        world.shop.refuses.set(Some(Refusal::TooManyRequests { retry_after: Seconds(2) }));
        let page = post_form(&world, PHONE, "/login", "username=kito42&password=k7m2p9&replace=1").await;
        shows(&page, &["Too many tries. Please wait 2 seconds"]);
        hides(&page, &["name=\"replace\""]);
    });
}

#[test]
fn my_account_shows_its_other_devices_and_logs_them_out() {
    within(Limits::default(), async |world| {
        let other = crate::world::mac(OTHER_PHONE.parse().unwrap());
        for device in [phone(), other] {
            world.shop.sessions.borrow_mut().insert(device, world.shop.session("kito42"));
        }
        let page = get(&world, PHONE, "/account").await;
        shows(
            &page,
            &["Other devices on your account", "Up to 3 devices", "action=\"/account/logout\"", &format!("value=\"{other}\""), "2 MB down"],
        );
        hides(&page, &[&format!("value=\"{}\"", phone())]);
        // Twice: what left by itself meanwhile is what was wanted.
        for _ in 0..2 {
            let form = post_form(&world, PHONE, "/account/logout", &format!("device={}", other.to_string().replace(':', "%3A"))).await;
            let (location, page) = landed(&world, form).await;
            assert_eq!(location, "/account?said=device_out");
            shows(&page, &["role=\"status\"><p>The other device is logged out."]);
            hides(&page, &["Other devices"]);
        }
        assert_eq!(world.shop.sessions.borrow().keys().copied().collect::<Vec<_>>(), [phone()]);
    });
}

#[test]
fn my_account_shows_what_comes_next() {
    within(Limits::default(), async |world| {
        post_json(&world, PHONE, "/api/hotspot/login", r#"{"username":"kito42","password":"k7m2p9"}"#).await;
        hides(&get(&world, PHONE, "/account").await, &["What comes next"]);
        let limits = package::Limits { time: Some(Millis::from_minutes(90)), data: None, down: None, up: None, devices: 1 };
        let gone = Purchase { package: "gone".parse().unwrap(), limits };
        let day = world.shop.packages.borrow().iter().find(|package| package.id.as_str() == "day").cloned().unwrap();
        world.shop.queued.replace(vec![Purchase { package: day.id, limits: day.limits }, gone]);
        let page = get(&world, PHONE, "/account").await;
        shows(&page, &["What comes next", "begins by itself", "Day &amp; night", "gone", "1 hour 30 minutes", "No limit"]);
        shows(&get(&world, PHONE, "/account?lang=sw").await, &["Kinachofuata"]);
    });
}

#[test]
fn another_device_is_known_by_what_it_calls_itself_and_that_is_text_alone() {
    within(Limits::default(), async |world| {
        let other = crate::world::mac(OTHER_PHONE.parse().unwrap());
        for device in [phone(), other] {
            world.shop.sessions.borrow_mut().insert(device, world.shop.session("kito42"));
        }
        world.shop.names.borrow_mut().insert(other, "<img src=x onerror=alert(1)>".to_owned());
        let page = get(&world, PHONE, "/account").await;
        let end = other.to_string();
        shows(&page, &[&format!("<b>&lt;img src=x onerror=alert(1)&gt; (…{})</b>", &end[9..]), &format!("value=\"{other}\"")]);
        hides(&page, &["<img"]);
    });
}
