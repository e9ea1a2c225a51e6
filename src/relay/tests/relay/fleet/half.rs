//! A fleet of which one relay alone has `[radius_sql]`: accounts roam all the same, and no relay says so too early.

use super::Fleet;
use crate::relay::radius::{acknowledged, sale};
use crate::relay::until;
use lango_lab::{freeradius, postgres};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")] // commands are waited for, and the relays' answers come meanwhile
async fn a_relay_without_the_tables_leaves_what_roams_to_one_that_has_them() {
    let (database, tables) = (postgres::database(), postgres::database());
    postgres::psql(&tables, &freeradius::schema("postgresql").unwrap()).unwrap();
    let plain = "transaction_type = \"CustomerPayBillOnline\"";
    let with_tables = format!("{plain}\n\n[radius_sql]\ndatabase = \"{tables}\"");
    let mut fleet = Fleet::of([&database, &database], None, [plain, &with_tables]).await;
    let written = || postgres::psql(&tables, "SELECT COUNT(*) FROM lango_purchases").unwrap().trim().parse::<u64>().unwrap();
    // Whichever of the two hears of it: what is acknowledged is written.
    for number in 0..20 {
        let id = fleet.router.say(sale(&format!("guest{number}"), Some(&format!("NLJ7RT6{number:03}"))));
        acknowledged(&mut fleet.router, &id).await;
        assert_eq!(written(), number + 1);
    }
    // The one that has the tables is away. The other one keeps what it hears, says why, and acknowledges nothing.
    assert_eq!(fleet.relays[1].stop().await, 0);
    let id = fleet.router.say(sale("late", Some("NLJ7RT6999")));
    let says = async || fleet.relays[0].log().contains("late of router kibera-7 waits in the ledger").then_some(());
    until("it to say that a purchase waits", says).await;
    let silent = tokio::time::timeout(Duration::from_secs(2), acknowledged(&mut fleet.router, &id)).await;
    assert!(silent.is_err(), "it was acknowledged while it was nowhere");
    fleet.relays[1].start().await;
    acknowledged(&mut fleet.router, &id).await;
    assert_eq!(written(), 21);
    // An operator hears of it before customers do.
    let check = fleet.relays[0].command(&["check"]);
    assert!(check.code == 78 && check.stdout.contains("no [radius_sql]"), "{} {}{}", check.code, check.stdout, check.stderr);
    assert_eq!(fleet.relays[1].command(&["check"]).code, 0);
    assert_eq!(fleet.relays[0].stop().await, 0);
    fleet.relays[0].start().await;
    assert!(fleet.relays[0].log().contains("this relay has no [radius_sql]"), "{}", fleet.relays[0].log());
    // Accounts are to roam no more: that is said, not guessed from a section that is missing.
    let refused = fleet.relays[1].command(&["radius", "off"]);
    assert!(refused.code == 64 && refused.stderr.contains("has [radius_sql]"), "{} {}", refused.code, refused.stderr);
    assert_eq!(fleet.relays[1].stop().await, 0);
    // Routers may go by the tables still: what is to be done first is said, and nothing is changed.
    let refused = fleet.relays[0].command(&["radius", "off"]);
    assert!(refused.code == 64 && refused.stderr.contains("tables: 21."), "{} {}", refused.code, refused.stderr);
    assert!(refused.stderr.contains("`option roaming '0'` on every router"), "{}", refused.stderr);
    assert_eq!(fleet.relays[0].command(&["check"]).code, 78, "it was refused, and done");
    assert_eq!(fleet.relays[0].command(&["radius", "off", "--yes"]).code, 0);
    let nothing = fleet.relays[0].command(&["radius", "off"]);
    assert!(nothing.code == 0 && nothing.stdout.contains("nothing to end"), "{} {}{}", nothing.code, nothing.stdout, nothing.stderr);
    let id = fleet.router.say(sale("local", Some("NLJ7RT6998")));
    acknowledged(&mut fleet.router, &id).await;
    assert_eq!(written(), 21);
    assert_eq!(fleet.relays[0].command(&["check"]).code, 0);
}
