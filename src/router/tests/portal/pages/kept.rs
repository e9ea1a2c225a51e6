//! The start page, which is made once for many, and is nobody's own.

use super::{bought, hides, shows};
use crate::client::{Answer, Wire, get, get_with};
use crate::world::{OTHER_PHONE, PHONE, STRANGER, mac, phone, within};
use lango::portal::Limits;
use lango_core::request::{Refusal, SessionView};
use lango_core::units::{Seconds, Shillings};

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
