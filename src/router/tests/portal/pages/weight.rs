//! How much the pages weigh.

use super::bought;
use crate::client::get_with;
use crate::world::{OTHER_PHONE, PHONE, mac, within};
use lango::portal::{Limits, Own, Site};
use lango_core::message::Reason;
use lango_core::request::{PaymentStatus, ReceiptView};
use lango_core::time::Wall;
use lango_core::units::Shillings;
use std::sync::Arc;

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
