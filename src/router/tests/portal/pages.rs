//! The pages as a phone without script walks them.

use crate::client::{Answer, Wire, get, get_with, post_form, post_json};
use crate::world::{OTHER_PHONE, PHONE, STRANGER, World, mac, phone, within};
use lango::config::settings::{Placed, Portal};
use lango::portal::{Limits, Own, Site, own};
use lango_core::account::Purchase;
use lango_core::message::Reason;
use lango_core::package;
use lango_core::request::{PaymentStatus, ReceiptView, Refusal, SessionView};
use lango_core::time::Wall;
use lango_core::units::{Kbps, Millis, OrderId, Seconds, Shillings};
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
        world.shop.packages.borrow_mut().clear();
        shows(&get(&world, PHONE, "/").await, &["There are no packages right now"]);
    });
}

#[test]
fn the_whole_portal_is_light() {
    within(Limits::default(), async |world| {
        let terms = vec![("en".to_owned(), "Be good to each other.".to_owned())];
        world.config.send_modify(|config| config.site = Arc::new(Site::new(Own { terms, ..Own::default() })));
        for language in ["en", "sw"] {
            let headers = format!("Accept-Encoding: gzip, deflate\r\nAccept-Language: {language}-KE\r\n");
            world.shop.sessions.borrow_mut().clear();
            // One of each kind, as full as it gets, but for the operator's own terms.
            let mut pages = Vec::new();
            let read = async |pages: &mut Vec<_>, kind: &str, path: &str| {
                pages.push((kind.to_owned(), get_with(&world, PHONE, path, &headers).await));
            };
            for (kind, path) in [
                ("packages", "/"),
                ("buy", "/buy/hour"),
                ("login", "/login"),
                ("receipt", "/receipt"),
                ("terms", "/terms"),
                ("error", "/pay/none"),
            ] {
                if kind == "packages" {
                    world.shop.payments.borrow_mut().clear();
                }
                read(&mut pages, kind, path).await;
            }
            let order = bought(&world).await;
            let payment = format!("/pay/{order}");
            read(&mut pages, "wait", &payment).await;
            world.shop.fail(&order, Reason::InsufficientBalance);
            read(&mut pages, "failed", &payment).await;
            world.shop.change(&order, |view| view.status = PaymentStatus::Expired);
            read(&mut pages, "expired", &payment).await;
            world.shop.pay(&order);
            read(&mut pages, "done", &payment).await;
            world.shop.sessions.borrow_mut().insert(mac(OTHER_PHONE.parse().unwrap()), world.shop.session("kito42"));
            let paid = ReceiptView {
                receipt: "NLJ7RT61SV".parse().unwrap(),
                label: "1 hour".to_owned(),
                amount: Shillings(10),
                at: Some(Wall::EARLIEST),
            };
            world.shop.receipts.replace(vec![paid; 5]);
            read(&mut pages, "account", "/account").await;
            let mut total = 0;
            for (path, page) in pages {
                assert_eq!(page.header("content-encoding"), Some("gzip"), "{path}");
                let plain = page.text();
                assert!(plain.contains(&format!("<html lang=\"{language}\">")) && plain.trim_end().ends_with("</html>"), "{path}");
                assert!(page.head.len() + page.body.len() <= 14 * 1024, "{path}: {} bytes", page.body.len());
                println!("{language} {path}: {} bytes, {} unpacked", page.body.len(), plain.len());
                total += page.body.len();
            }
            println!("{language}: {total} bytes");
            assert!(total <= 40 * 1024, "{language}: {total}");
        }
    });
}

#[test]
fn paying_and_getting_online() {
    within(Limits::default(), async |world| {
        let form = get(&world, PHONE, "/buy/hour").await;
        shows(&form, &["action=\"/buy/hour\"", "name=\"phone\"", "KSh 10", "Pay KSh 10", "<label for=\"phone\">"]);
        let order = bought(&world).await;
        let waiting = get(&world, PHONE, &format!("/pay/{order}")).await;
        shows(
            &waiting,
            &[
                "Look at your phone",
                "0712\u{a0}345\u{a0}678",
                "1 hour for KSh 10",
                &format!("data-follow=\"/api/payments/{order}\""),
                "<noscript><meta http-equiv=\"refresh\" content=\"3\"></noscript>",
            ],
        );
        // A sheet that comes back finds its payment, and who wants something else can still see it.
        let (location, _) = landed(&world, get(&world, PHONE, "/").await).await;
        assert_eq!(location, format!("/pay/{order}"));
        shows(&get(&world, PHONE, "/?all=1").await, &["A payment is waiting", &format!("href=\"/pay/{order}\""), "/buy/day"]);

        world.shop.pay(&order);
        let done = get(&world, PHONE, &format!("/pay/{order}")).await;
        shows(&done, &["You are online", "kito42", "k7m2p9", "NLJ7RT61SV", "59 minutes", "499 MB", "href=\"/account\""]);
        hides(&done, &["http-equiv"]);
        let home = get(&world, PHONE, "/").await;
        shows(&home, &["You are online", "59 minutes", "499 MB", "Buy more", "/buy/hour", "href=\"/account\"", "Your payment arrived"]);
        // Five minutes later the core shows no credentials any more.
        world.shop.change(&order, |view| (view.username, view.password) = (None, None));
        hides(&get(&world, PHONE, &format!("/pay/{order}")).await, &["k7m2p9", "kito42"]);
        let other = get(&world, OTHER_PHONE, &format!("/pay/{order}")).await;
        assert_eq!(other.status, 404);
        hides(&other, &["kito42", "NLJ7RT61SV"]);
    });
}

#[test]
fn what_was_bought_and_waits_is_shown_as_itself() {
    within(Limits::default(), async |world| {
        world.shop.until.set(Wall::from_rfc3339("2026-11-24T10:59:00Z"));
        let order = bought(&world).await;
        world.shop.pay(&order);
        let path = format!("/pay/{order}");
        for headers in ["", "Accept-Language: sw\r\n"] {
            // In use: what is left of it, and until when, in the page itself.
            let until = if headers.is_empty() { "<p class=\"soft\">Until" } else { "<p class=\"soft\">Hadi" };
            shows(&get_with(&world, PHONE, &path, headers).await, &["data-seconds=\"3540\"", until, "<b data-until>13:59</b>"]);
        }
        shows(&get(&world, PHONE, "/account").await, &["<p class=\"soft\">Until <b data-until>13:59</b>"]);
        // Behind something else: its own time and data, and nothing of what is in use, which the script would count down.
        world.shop.change(&order, |view| view.before = Some(1));
        let page = get(&world, PHONE, &path).await;
        shows(
            &page,
            &["You are online", "<h2>1 hour</h2>", "KSh 10", "<dd>1 hour</dd>", "<dd>500 MB</dd>", "It begins by itself", "NLJ7RT61SV"],
        );
        hides(&page, &["59 minutes", "499 MB", "data-units", "data-until", "13:59"]);
        shows(&get(&world, PHONE, &format!("{path}?lang=sw")).await, &["Kitaanza chenyewe"]);
        // Used up since.
        world.shop.change(&order, |view| view.before = None);
        let page = get(&world, PHONE, &path).await;
        shows(&page, &["<dd>1 hour</dd>"]);
        hides(&page, &["59 minutes", "It begins by itself"]);
        // A router whose clock is not set leaves it to the script.
        world.shop.until.set(None);
        world.shop.sessions.borrow_mut().insert(phone(), world.shop.session("kito42"));
        shows(&get(&world, PHONE, "/account").await, &["<p class=\"soft\" hidden>Until <b data-until></b>"]);
        // What ends on another day says so.
        let far = SessionView {
            seconds_remaining: Some(Seconds(90_000)),
            until: Wall::from_rfc3339("2026-11-24T21:05:00Z"),
            ..world.shop.session("kito42")
        };
        world.shop.sessions.borrow_mut().insert(phone(), far);
        shows(&get(&world, PHONE, "/account").await, &["Until <b data-until>Wed 25 Nov 00:05</b>"]);
    });
}

#[test]
fn the_number_is_remembered_for_the_device() {
    within(Limits::default(), async |world| {
        shows(&get(&world, PHONE, "/buy/day").await, &[" value=\"\" data-phone"]);
        let order = bought(&world).await;
        world.shop.pay(&order);
        shows(&get(&world, PHONE, "/buy/day").await, &[" value=\"0712 345 678\" data-phone"]);
        shows(&get(&world, OTHER_PHONE, "/buy/day").await, &[" value=\"\" data-phone"]);
        // What is typed comes before it.
        let page = post_form(&world, PHONE, "/buy/day", "phone=08123").await;
        shows(&page, &[" value=\"08123\" data-phone"]);
        // As it stands in the form, it is a number.
        let (location, page) = landed(&world, post_form(&world, PHONE, "/buy/day", "phone=0712+345+678").await).await;
        assert!(location.starts_with("/pay/"));
        shows(&page, &["0712\u{a0}345\u{a0}678"]);
        // One that was mistyped is not offered again; the one before it is.
        let (_, page) = landed(&world, post_form(&world, PHONE, "/buy/hour", "phone=0712000009").await).await;
        let wrong = page.text().split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
        let (_, page) = landed(&world, post_form(&world, PHONE, &wrong, "").await).await;
        shows(&page, &[" value=\"0712 345 678\" data-phone"]);
    });
}

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
fn paid_but_not_online() {
    within(Limits::default(), async |world| {
        let order = bought(&world).await;
        world.shop.pay(&order);
        world.shop.change(&order, |view| (view.connected, view.before) = (false, None));
        shows(
            &get(&world, PHONE, &format!("/pay/{order}")).await,
            &["this device is not online", "Log in with your user name", "k7m2p9", "href=\"/login\""],
        );
        world.shop.change(&order, |view| (view.username, view.password) = (None, None));
        shows(&get(&world, PHONE, &format!("/pay/{order}")).await, &["this device is not online", "show this page", "NLJ7RT61SV"]);
    });
}

#[test]
fn failures_say_why_and_are_one_tap_from_another_try() {
    within(Limits::default(), async |world| {
        for (reason, text) in [
            (Reason::Cancelled, "The payment was cancelled on the phone."),
            (Reason::WrongPin, "The M-Pesa PIN was wrong."),
            (Reason::InsufficientBalance, "There is not enough money in M-Pesa."),
            (Reason::NoResponse, "The phone did not answer in time."),
            (Reason::Limit, "because of a limit"),
            (Reason::Busy, "M-Pesa is busy"),
            (Reason::Other, "M-Pesa could not carry out the payment."),
        ] {
            let order = bought(&world).await;
            world.shop.fail(&order, reason);
            let page = get(&world, PHONE, &format!("/pay/{order}")).await;
            shows(&page, &[text, &format!("action=\"/pay/{order}/again\""), ">Try again with 0712\u{a0}345\u{a0}678<"]);
            hides(&page, &["712345678"]);
            shows(&get(&world, PHONE, "/").await, &["Your last payment did not go through", text]);
            let (location, page) = landed(&world, post_form(&world, PHONE, &format!("/pay/{order}/again"), "").await).await;
            assert_ne!(location, format!("/pay/{order}"));
            shows(&page, &["Look at your phone", "0712\u{a0}345\u{a0}678"]);
            let again: OrderId = location.strip_prefix("/pay/").unwrap().parse().unwrap();
            world.shop.change(&again, |view| view.status = PaymentStatus::Expired);
            shows(&get(&world, PHONE, &location).await, &["M-Pesa did not answer", "do not pay again", "Use another number"]);
        }
        assert_eq!(post_form(&world, OTHER_PHONE, "/pay/00000000000000000000000001/again", "").await.status, 404);
    });
}

#[test]
fn a_mistyped_number_is_put_right_at_once() {
    within(Limits::default(), async |world| {
        let order = bought(&world).await;
        let wrong = format!("/pay/{order}/wrong-number");
        shows(&get(&world, PHONE, &format!("/pay/{order}")).await, &[&format!("action=\"{wrong}\""), "Wrong number?"]);
        assert_eq!(post_form(&world, OTHER_PHONE, &wrong, "").await.status, 404);
        let (location, page) = landed(&world, post_form(&world, PHONE, &wrong, "").await).await;
        assert_eq!(location, "/buy/hour");
        shows(&page, &["M-Pesa phone number", " value=\"\" data-phone"]);
        hides(&page, &["712345678"]);
        // Who looks at it again is offered the right number first, and the mistyped one by name.
        let page = get(&world, PHONE, &format!("/pay/{order}")).await;
        shows(&page, &["You wanted another number", "Did M-Pesa send you a confirmation?"]);
        hides(&page, &["M-Pesa did not answer"]);
        let (text, buttons) = (
            page.text(),
            ["<a class=\"button\" href=\"/buy/hour\">Use another number", ">Check again", ">Try again with 0712\u{a0}345\u{a0}678"],
        );
        let at = buttons.map(|button| text.find(button).unwrap_or_else(|| panic!("{button} is not in {text}")));
        assert!(at.is_sorted(), "{at:?}");
        assert_eq!(text.matches("class=\"button\"").count(), 1, "one thing is to be done first");
        // Once it is paid there is nothing to put right, and the page says so by showing the payment.
        let paid = bought(&world).await;
        assert_ne!(paid, order);
        world.shop.pay(&paid);
        let (location, _) = landed(&world, post_form(&world, PHONE, &format!("/pay/{paid}/wrong-number"), "").await).await;
        assert_eq!(location, format!("/pay/{paid}"));
        let answer = post_json(&world, PHONE, &format!("/api/payments/{paid}/give-up"), "").await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("paid")));
    });
}

#[test]
fn a_number_that_is_none_is_shown_back_and_explained() {
    within(Limits::default(), async |world| {
        for (typed, shown) in [
            ("0812345678", "0812345678"),
            ("", ""),
            ("%22%3E%3Cscript%3E", "&quot;&gt;&lt;script&gt;"),
            (&"9".repeat(4_000), &"9".repeat(20)),
        ] {
            let page = post_form(&world, PHONE, "/buy/hour", &format!("phone={typed}")).await;
            assert_eq!(page.status, 422);
            shows(&page, &["This is not a Kenyan mobile number", "aria-invalid=\"true\"", &format!("value=\"{shown}\"")]);
        }
        assert!(world.shop.payments.borrow().is_empty());
    });
}

#[test]
fn when_payments_are_offline_the_page_says_so() {
    within(Limits::default(), async |world| {
        world.shop.online.set(false);
        let page = get(&world, PHONE, "/").await;
        shows(&page, &["M-Pesa payments are not possible right now", "href=\"/login\"", "KSh 10"]);
        hides(&page, &["href=\"/buy/"]);
        let refused = post_form(&world, PHONE, "/buy/hour", "phone=0712345678").await;
        assert_eq!(refused.status, 503);
        shows(&refused, &["M-Pesa payments are not possible right now"]);
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
fn going_online_with_a_voucher() {
    within(Limits::default(), async |world| {
        shows(&get(&world, PHONE, "/").await, &["href=\"/login#voucher\""]);
        let (location, form) = landed(&world, get(&world, PHONE, "/voucher").await).await;
        assert_eq!(location, "/login", "one page has both forms");
        shows(&form, &["action=\"/voucher\"", "name=\"code\"", "<label for=\"code\">", "id=\"voucher\""]);
        for (typed, status, text) in [
            ("", 404, "There is no voucher with this code"),
            ("%22%3E%3Cb%3E", 404, "There is no voucher with this code"),
            ("XXXX-XXXX-XXXX", 404, "There is no voucher with this code"),
            ("EXPR-EDXX-XXXX", 403, "has expired"),
            ("REVK-EDXX-XXXX", 403, "not good any more"),
            ("EAGE-RXXX-XXXX", 429, "Please wait 1 minute 30 seconds"),
        ] {
            let page = post_form(&world, PHONE, "/voucher", &format!("code={typed}")).await;
            assert_eq!(page.status, status, "{typed}");
            shows(&page, &[text, "name=\"code\""]);
            hides(&page, &["<b>"]);
        }
        let (location, page) = landed(&world, post_form(&world, PHONE, "/voucher", "code=abcd+efgh+jkmn").await).await;
        assert_eq!(location, "/account");
        shows(&page, &["You are online", "59 minutes", "vera77", "v7m2p9", "shown here for five minutes"]);
        hides(&page, &["Other devices"]);
        hides(&page, &["The voucher was added"]);
        world.shop.redeemed.set(false);
        let (location, page) = landed(&world, post_form(&world, PHONE, "/voucher", "code=ABCD-EFGH-JKMN").await).await;
        assert_eq!(location, "/account?said=voucher");
        shows(&page, &["role=\"status\"><p>The voucher was added to what you have."]);
        let again = post_form(&world, OTHER_PHONE, "/voucher", "code=ABCD-EFGH-JKMN").await;
        assert_eq!(again.status, 409);
        shows(&again, &["This voucher is used already", "value=\"ABCD-EFGH-JKMN\""]);
        shows(&get(&world, PHONE, "/login?lang=sw").await, &["Tumia vocha", "action=\"/voucher?lang=sw\""]);
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
        }
        world.shop.refuses.set(Some(Refusal::NotStored));
        let page = get(&world, PHONE, "/").await;
        assert_eq!(page.status, 503);
        shows(&page, &["could not save"]);
        world.shop.refuses.set(Some(Refusal::TooManyRequests { retry_after: Seconds(5) }));
        assert_eq!(get(&world, PHONE, "/account").await.status, 429);
        world.shop.refuses.set(None);
        world.shop.sessions.borrow_mut().insert(phone(), world.shop.session("kito42"));
        shows(&get(&world, PHONE, "/account").await, &["data-units=\"{&quot;day"]);
    });
}

#[test]
fn a_page_that_many_see_is_nobody_s_own_and_never_an_old_one() {
    within(Limits::default(), async |world| {
        let page = async |from| get(&world, from, "/").await;
        let first = page(PHONE).await;
        assert_eq!(first.body, page(OTHER_PHONE).await.body);
        assert_eq!(first.text(), page(PHONE).await.text(), "made before");

        // What is one device's own: a session, a payment, an account that is used up.
        world.shop.sessions.borrow_mut().insert(phone(), world.shop.session("kito42"));
        for _ in 0..2 {
            shows(&page(PHONE).await, &["59 minutes"]);
            assert_eq!(page(OTHER_PHONE).await.body, first.body);
        }
        world.shop.sessions.borrow_mut().clear();
        assert_eq!(page(PHONE).await.body, first.body, "and back");
        world.shop.used_up.borrow_mut().insert(phone(), "hour".parse().unwrap());
        for _ in 0..2 {
            shows(&page(PHONE).await, &["Buy “1 hour” again"]);
            assert_eq!(page(OTHER_PHONE).await.body, first.body);
        }
        world.shop.used_up.borrow_mut().clear();
        let order = bought(&world).await;
        for _ in 0..2 {
            assert_eq!(page(PHONE).await.header("location"), Some(format!("/pay/{order}").as_str()));
            assert_eq!(page(OTHER_PHONE).await.body, first.body);
        }
        assert!(page(STRANGER).await.text().contains("We do not see your phone"), "who is none of the LAN gets no links to buy");
        assert_eq!(page(OTHER_PHONE).await.body, first.body);

        // What is everybody's, and changes.
        world.shop.online.set(false);
        let offline = page(OTHER_PHONE).await;
        hides(&offline, &["href=\"/buy/hour\""]);
        assert_ne!(offline.body, first.body);
        world.shop.online.set(true);
        assert_eq!(page(OTHER_PHONE).await.body, first.body);
        world.shop.packages.borrow_mut()[0].price = lango_core::units::Shillings(15);
        let dearer = page(OTHER_PHONE).await;
        shows(&dearer, &["KSh 15"]);
        world.config.send_modify(|config| config.name = "Baba's".to_owned());
        shows(&page(OTHER_PHONE).await, &["Baba&#39;s", "KSh 15"]);
        hides(&page(OTHER_PHONE).await, &["Mama"]);

        // In each way to see it.
        for _ in 0..2 {
            let swahili = get_with(&world, OTHER_PHONE, "/", "Accept-Language: sw\r\n").await;
            shows(&swahili, &["<html lang=\"sw\">", "href=\"/buy/hour\""]);
            shows(&get(&world, OTHER_PHONE, "/?lang=sw").await, &["<html lang=\"sw\">", "href=\"/buy/hour?lang=sw\""]);
        }
        let plain = get(&world, OTHER_PHONE, "/?lang=en").await;
        let packed = get_with(&world, OTHER_PHONE, "/?lang=en", "Accept-Encoding: gzip\r\n").await;
        assert!(packed.header("content-encoding") == Some("gzip") && plain.header("content-encoding").is_none());
        assert_eq!(packed.text(), plain.text());
        shows(&plain, &["href=\"/buy/hour?lang=en\""]);
        let all = get(&world, PHONE, "/?all=1").await;
        assert_eq!(all.status, 200, "the payment that is open sends nobody away from here");
    });
}

/// The start page on a connection that is kept.
async fn again(wire: &mut Wire) -> Answer {
    wire.send(b"GET / HTTP/1.1\r\nHost: portal.lan\r\n\r\n").await;
    let page = wire.answer(false).await.expect("the connection is kept");
    assert_eq!(page.status, 200);
    page
}

#[test]
fn on_a_kept_connection_the_start_page_is_what_it_would_be_on_a_new_one() {
    within(Limits::default(), async |world| {
        let (shop, me) = (&world.shop, phone());
        let mut wire = Wire::open(&world, PHONE).await;
        shows(&again(&mut wire).await, &["KSh 10"]);
        shows(&again(&mut wire).await, &["KSh 10"]);
        assert_eq!(shop.starts.get(), 1, "what all see is asked for once");
        // Each change is seen by the next one who asks.
        shop.packages.borrow_mut()[0].price = Shillings(15);
        shows(&again(&mut wire).await, &["KSh 15"]);
        shop.online.set(false);
        hides(&again(&mut wire).await, &["href=\"/buy/hour\""]);
        shop.online.set(true);
        shows(&again(&mut wire).await, &["href=\"/buy/hour\""]);
        shop.used_up.borrow_mut().insert(me, "hour".parse().unwrap());
        shows(&again(&mut wire).await, &["Buy “1 hour” again"]);
        shop.used_up.borrow_mut().remove(&me);
        hides(&again(&mut wire).await, &["Buy “1 hour” again"]);
        shop.sessions.borrow_mut().insert(me, shop.session("kito42"));
        shows(&again(&mut wire).await, &["59 minutes"]);
        shop.sessions.borrow_mut().remove(&me);
        hides(&again(&mut wire).await, &["59 minutes"]);
        // What is not stored yet is waited for.
        let asked = shop.starts.get();
        shop.unsettled.set(true);
        shows(&again(&mut wire).await, &["KSh 15"]);
        shop.refuses.set(Some(Refusal::NotStored));
        wire.send(b"GET / HTTP/1.1\r\nHost: portal.lan\r\n\r\n").await;
        assert_eq!((wire.answer(false).await.unwrap().status, shop.starts.get()), (503, asked + 1));
    });
}

#[test]
fn whoever_takes_over_an_address_sees_nothing_of_who_had_it() {
    within(Limits::default(), async |world| {
        let (shop, me, other) = (&world.shop, phone(), mac(OTHER_PHONE.parse().unwrap()));
        let address = PHONE.parse().unwrap();
        let hand_over = |to| shop.moved.borrow_mut().insert(address, to);
        let of_other = SessionView { seconds_remaining: Some(Seconds(600)), ..shop.session("asha7") };
        shop.sessions.borrow_mut().insert(me, shop.session("kito42"));
        let mut wire = Wire::open(&world, PHONE).await;
        shows(&again(&mut wire).await, &["59 minutes"]);
        // That it is another one's was not heard yet.
        hand_over(other);
        for _ in 0..2 {
            hides(&again(&mut wire).await, &["59 minutes"]);
        }
        shop.sessions.borrow_mut().insert(other, of_other);
        let page = again(&mut wire).await;
        shows(&page, &["10 minutes"]);
        hides(&page, &["59 minutes"]);
        // Who had it has nothing: what all see is seen until the next word, and nobody's own.
        shop.sessions.borrow_mut().remove(&me);
        for _ in 0..2 {
            hides(&again(&mut wire).await, &["59 minutes", "10 minutes"]);
        }
        shop.heard.borrow_mut().insert(address, other);
        shows(&again(&mut wire).await, &["10 minutes"]);
        // Nothing was heard at all.
        shop.heard.borrow_mut().remove(&address);
        shows(&again(&mut wire).await, &["10 minutes"]);
        shop.sessions.borrow_mut().remove(&other);
        hides(&again(&mut wire).await, &["10 minutes"]);
    });
}
