//! Pages of who pays: before, meanwhile and behind.

use super::{bought, hides, landed, shows};
use crate::client::{get, get_with, post_form, post_json};
use crate::world::{OTHER_PHONE, PHONE, phone, within};
use lango::portal::Limits;
use lango_core::message::Reason;
use lango_core::request::{PaymentStatus, SessionView};
use lango_core::time::Wall;
use lango_core::units::{OrderId, Seconds};

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
