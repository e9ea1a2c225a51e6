//! The pages as a phone without script walks them.

mod account;
mod kept;
mod paying;
mod vouchers;
mod weight;

use crate::client::{Answer, get, get_with, post_form};
use crate::world::{OTHER_PHONE, PHONE, STRANGER, World, phone, within};
use lango::config::settings::{Placed, Portal};
use lango::portal::{Limits, Site, own};
use lango_core::request::Refusal;
use lango_core::units::{Kbps, OrderId, Seconds};
use std::sync::Arc;

/// Follows the redirect that a form answers with.
async fn landed(world: &World, answer: Answer) -> (String, Answer) {
    assert_eq!((answer.status, answer.header("cache-control")), (303, Some("no-store")));
    let location = answer.header("location").unwrap().to_owned();
    assert!(location.starts_with('/') && !location.starts_with("//"), "{location}");
    let page = get(world, PHONE, &location).await;
    (location, page)
}

async fn bought(world: &World) -> OrderId {
    let (location, page) = landed(world, post_form(world, PHONE, "/buy/hour", "phone=0712+345+678").await).await;
    assert_eq!(page.status, 200);
    location.strip_prefix("/pay/").unwrap().parse().unwrap()
}

fn shows(page: &Answer, texts: &[&str]) {
    let text = page.text();
    for expected in texts {
        assert!(text.contains(expected), "{expected:?} is not in {}", &text[text.find("<main").unwrap_or(0)..]);
    }
}

fn hides(page: &Answer, texts: &[&str]) {
    let text = page.text();
    let body = &text[text.find("<body").unwrap_or(0)..];
    for unwanted in texts {
        assert!(!body.contains(unwanted), "{unwanted:?} is in {body}");
    }
}

#[test]
fn the_packages_page() {
    within(Limits::default(), async |world| {
        let page = get(&world, PHONE, "/").await;
        assert_eq!(
            (page.status, page.header("content-type"), page.header("cache-control")),
            (200, Some("text/html; charset=utf-8"), Some("no-store"))
        );
        shows(
            &page,
            &[
                "Mama&#39;s &lt;Wi-Fi&gt; &amp; Café",
                "KSh 10",
                "KSh 1,500",
                "1 hour",
                "500 MB",
                "up to 5 Mbps",
                "href=\"/buy/hour\"",
                "Pay KSh 50",
                "Day &amp; night &lt;all&gt;",
                "No limit",
                "href=\"/login\"",
                "30 days",
                "100 GB",
            ],
        );
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-")
                && policy.contains("frame-ancestors 'none'")
                && !policy.contains("unsafe"),
            "{policy}"
        );
        for (header, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("x-frame-options", "DENY"),
            ("content-language", "en"),
        ] {
            assert_eq!(page.header(header), Some(value));
        }
    });
}

#[test]
fn where_nothing_is_sold_the_first_page_says_what_can_be_done() {
    within(Limits::default(), async |world| {
        world.shop.packages.borrow_mut().clear();
        for online in [true, false] {
            world.shop.online.set(online);
            let page = get(&world, PHONE, "/").await;
            let links = ["href=\"/login\"", "href=\"/login#voucher\"", "href=\"/receipt\""];
            shows(
                &page,
                &[&["With a voucher or a user name you can go online.", "ask the people who run this hotspot"][..], &links].concat(),
            );
            // Nothing of what cannot be done here.
            hides(&page, &["Choose a package", "M-Pesa payments are not possible"]);
            shows(&get(&world, PHONE, "/?lang=sw").await, &["Ukiwa na vocha au jina la mtumiaji", "waulize wenye hotspot hii"]);
        }
        world.shop.sessions.borrow_mut().insert(phone(), world.shop.session("kito42"));
        let page = get(&world, PHONE, "/").await;
        shows(&page, &["You are online", "59 minutes"]);
        hides(&page, &["No package is for sale", "Buy more"]);
    });
}

#[test]
fn a_speed_is_told_where_sending_alone_is_slowed_down() {
    within(Limits::default(), async |world| {
        let package = |down, up| {
            let limits = &mut world.shop.packages.borrow_mut()[0].limits;
            (limits.down, limits.up) = (down, up);
        };
        package(Some(Kbps(5_000)), Some(Kbps(2_000)));
        shows(&get(&world, PHONE, "/").await, &["<dd>up to 5 Mbps</dd>"]);
        package(None, Some(Kbps(2_000)));
        shows(&get(&world, PHONE, "/").await, &["<dd>up to 2 Mbps for sending</dd>"]);
        shows(&get(&world, PHONE, "/?lang=sw").await, &["<dd>hadi 2 Mbps kutuma</dd>"]);
    });
}

#[test]
fn who_comes_back_with_nothing_left_is_one_tap_from_buying_again() {
    within(Limits::default(), async |world| {
        hides(&get(&world, PHONE, "/").await, &["is used up"]);
        world.shop.used_up.borrow_mut().insert(phone(), "hour".parse().unwrap());
        let page = get(&world, PHONE, "/").await;
        shows(&page, &["is used up. Buy a package", "href=\"/buy/hour\">Buy “1 hour” again</a>", "Pay KSh 10"]);
        shows(&get(&world, PHONE, "/?lang=sw").await, &["href=\"/buy/hour?lang=sw\">Nunua tena “1 hour”</a>"]);
        hides(&get(&world, OTHER_PHONE, "/").await, &["is used up"]);
        // What is not sold any more, and what cannot be paid for now, is not offered.
        world.shop.used_up.borrow_mut().insert(phone(), "gone".parse().unwrap());
        let page = get(&world, PHONE, "/").await;
        shows(&page, &["is used up"]);
        hides(&page, &["again</a>"]);
        world.shop.used_up.borrow_mut().insert(phone(), "hour".parse().unwrap());
        world.shop.online.set(false);
        hides(&get(&world, PHONE, "/").await, &["again</a>"]);
    });
}

#[test]
fn the_logo_is_served_as_a_picture_and_kept() {
    within(Limits::default(), async |world| {
        let none = get(&world, PHONE, "/logo/0").await;
        assert_eq!((none.status, none.header("location")), (302, Some(world.url().as_str())));
        hides(&get(&world, PHONE, "/").await, &["<img", "tel:", "/terms"]);

        let folder = tempfile::tempdir().unwrap();
        let picture = "<svg xmlns=\"http://www.w3.org/2000/svg\"/>";
        std::fs::write(folder.path().join("logo.svg"), picture).unwrap();
        let portal = Portal { logo: Some(Placed { value: folder.path().join("logo.svg"), line: 1 }), ..Portal::default() };
        let site = Arc::new(Site::new(own::read("lango", &portal).unwrap()));
        world.config.send_modify(|config| config.site = site);

        let page = get(&world, PHONE, "/").await;
        let text = page.text();
        let path = text.split("<img src=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a picture").to_owned();
        assert!(page.header("content-security-policy").unwrap().contains("img-src 'self' data:;"));
        let logo = get(&world, PHONE, &path).await;
        assert_eq!((logo.status, logo.text().as_str(), logo.header("content-type")), (200, picture, Some("image/svg+xml")));
        assert_eq!(logo.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert!(
            logo.header("content-security-policy").unwrap().contains("sandbox") && logo.header("x-content-type-options") == Some("nosniff")
        );
        let tag = logo.header("etag").unwrap();
        let again = get_with(&world, PHONE, &path, &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
    });
}

#[test]
fn the_language_is_the_phone_s_and_can_be_switched() {
    within(Limits::default(), async |world| {
        let swahili = "Accept-Language: sw-KE,sw;q=0.9,en;q=0.5\r\n";
        let page = get_with(&world, PHONE, "/", swahili).await;
        assert_eq!(page.header("content-language"), Some("sw"));
        shows(&page, &["<html lang=\"sw\">", "Ingia mtandaoni", "saa 1", "Lipa KSh 10", "href=\"/?lang=en\"", "href=\"/buy/hour\""]);
        // A choice is carried on by every link and form, and by what a form leads to.
        let chosen = get(&world, PHONE, "/?lang=sw").await;
        shows(&chosen, &["Ingia mtandaoni", "href=\"/buy/hour?lang=sw\"", "href=\"/login?lang=sw\""]);
        shows(
            &get(&world, PHONE, "/buy/hour?lang=sw").await,
            &["action=\"/buy/hour?lang=sw\"", "href=\"/buy/hour?lang=en\"", "href=\"/?all=1&amp;lang=sw\""],
        );
        let (location, page) = landed(&world, post_form(&world, PHONE, "/buy/hour?lang=sw", "phone=0712345678").await).await;
        assert!(location.ends_with("?lang=sw"), "{location}");
        shows(&page, &["Tazama simu yako"]);
        assert_eq!(world.shop.spoken.get().unwrap().as_str(), "sw", "texts to the phone are in it, too");
        shows(&get_with(&world, PHONE, "/login?lang=en", swahili).await, &["User name"]);
    });
}

#[test]
fn problems_have_a_page_too() {
    within(Limits::default(), async |world| {
        shows(&get(&world, STRANGER, "/").await, &["We do not see your phone on this Wi-Fi", "KSh 10"]);
        hides(&get(&world, STRANGER, "/").await, &["href=\"/buy/"]);
        for (from, path, status, text) in [
            (PHONE, "/buy/year", 422, "This package is not for sale"),
            (PHONE, "/pay/none", 404, "This device has no such payment"),
            (STRANGER, "/account", 403, "We do not see your phone"),
            (STRANGER, "/buy/hour", 403, "We do not see your phone"),
        ] {
            let page = get(&world, from, path).await;
            assert_eq!((page.status, page.header("content-type")), (status, Some("text/html; charset=utf-8")), "{path}");
            shows(&page, &[text, "href=\"/?all=1\""]);
            assert_eq!(
                page.text().contains("href=\"/login\""),
                status == 404,
                "{path}: where the text speaks of logging in, the way to it is there"
            );
        }
        world.shop.refuses.set(Some(Refusal::NotStored));
        let page = get(&world, PHONE, "/").await;
        assert_eq!(page.status, 503);
        shows(&page, &["could not save"]);
        world.shop.refuses.set(Some(Refusal::TooManyRequests { retry_after: Seconds(5) }));
        assert_eq!(get(&world, PHONE, "/account").await.status, 429);
        world.shop.refuses.set(None);
        world.shop.sessions.borrow_mut().insert(phone(), world.shop.session("kito42"));
        shows(&get(&world, PHONE, "/account").await, &["data-units=\"{&quot;bytes&quot;:499000000,&quot;day&quot;"]);
    });
}
