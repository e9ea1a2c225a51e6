//! Pages of who goes online with a voucher.

use super::{hides, landed, shows};
use crate::client::{get, post_form};
use crate::world::{OTHER_PHONE, PHONE, within};
use lango::portal::Limits;

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
