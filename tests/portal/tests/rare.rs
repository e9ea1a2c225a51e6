//! The pages that few customers meet, in each language, with script and without, and every one examined: all that M-Pesa may say, and its
//! silence; too many tries; what waits its turn; another site's form; a router that sells nothing, and one whose login server is silent.

use lango_lab::Lab;
use lango_portal_tests::audit::audit;
use lango_portal_tests::own::sell_nothing;
use lango_portal_tests::texts::Texts;
use lango_portal_tests::walks::{PACKAGES, Walk};
use std::time::Duration;

#[test]
fn what_few_customers_meet_in_each_language_with_and_without_script() {
    lango_portal_tests::audit::axe().unwrap_or_else(|e| panic!("{e:#}"));
    let lab = Lab::selling(PACKAGES);
    lab.safaricom.prompts_live(Duration::from_secs(600));
    let texts = Texts::all();
    let forgotten: Vec<_> = Walk::each(&lab, &texts).map(|walk| walk.forget()).collect();
    std::thread::scope(|scope| {
        for (walk, forgotten) in Walk::each(&lab, &texts).zip(&forgotten) {
            scope.spawn(move || {
                let mut look = |name: &str, tab: &lango_portal_tests::tab::Tab<'_>| {
                    audit(&format!("{} {name}", walk.language()), tab);
                };
                walk.reasons(&mut look);
                walk.besides(&mut look);
                walk.expired(forgotten, &mut look);
            });
        }
    });
    lab.money_is_service();
    // Behind that: it is money that nobody has.
    lab.relay.command(&["c2b", "register"]).unwrap_or_else(|e| panic!("{e:#}"));
    for walk in Walk::each(&lab, &texts) {
        walk.odd_money(&mut |name, tab| {
            audit(&format!("{} {name}", walk.language()), tab);
        });
    }

    let whole = sell_nothing(&lab).unwrap_or_else(|e| panic!("{e:#}"));
    for walk in Walk::each(&lab, &texts) {
        walk.nothing_sold(&mut |name, tab| {
            audit(&format!("{} {name}", walk.language()), tab);
        });
    }
    whole.back(&lab).unwrap_or_else(|e| panic!("{e:#}"));
}
