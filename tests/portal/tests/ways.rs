//! Every way through the portal in a real browser: in each language, with script and without, and every page examined.

use lango_lab::Lab;
use lango_lab::lab::figure;
use lango_lab::wait::until_true;
use lango_portal_tests::audit::audit;
use lango_portal_tests::texts::Texts;
use lango_portal_tests::walks::{PACKAGES, Walk};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// One of each kind of the portal's pages, as a customer meets them; those of a payment that failed, and of one that is waited for no longer,
/// differ. The terms are the operator's, and in `own.rs`; `src/router/tests/portal` weighs a page of them with all others.
const PORTAL: [&str; 10] =
    ["packages", "buy", "wait", "failed-cancelled", "given-up", "done", "account-others", "login", "receipt", "error"];
const SOON: Duration = Duration::from_secs(40);

#[test]
fn every_way_in_each_language_with_and_without_script() {
    lango_portal_tests::audit::axe().unwrap_or_else(|e| panic!("{e:#}"));
    let lab = Lab::selling(PACKAGES);
    lab.safaricom.prompts_live(Duration::from_secs(600));
    let texts = Texts::all();
    let began = Instant::now();
    let weights = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for script in [true, false] {
            let (lab, texts, weights) = (&lab, &texts, &weights);
            scope.spawn(move || {
                for (n, texts) in texts.iter().enumerate() {
                    let digit = 2 * n as u8 + u8::from(script);
                    Walk::new(lab, texts, script, digit).all(&mut |name, tab| {
                        let weight = audit(&format!("{} {name}", texts.language), tab);
                        weights.lock().unwrap().insert((texts.language, script, name.to_owned()), weight);
                    });
                }
            });
        }
    });
    figure(&format!("all ways: {} s", began.elapsed().as_secs()));
    lab.money_is_service();
    for texts in &texts {
        let weights = weights.lock().unwrap();
        let weighed = PORTAL.map(|page| (page, weights[&(texts.language, true, page.to_owned())]));
        figure(&format!("{}: {weighed:?}, in bytes, compressed", texts.language));
        assert!(weighed.iter().all(|(_, weight)| *weight > 1_000), "a page was not weighed");
        assert!(weighed.iter().map(|(_, weight)| weight).sum::<u64>() <= 40 * 1024, "the whole portal is heavier than 40 KB");
    }

    lab.broker.program.kill9();
    until_true("payments to be off", SOON, || lab.lango.status().is_ok_and(|status| status["payments"] == false)).unwrap();
    for texts in &texts {
        for script in [true, false] {
            Walk::new(&lab, texts, script, 9).offline(&mut |name, tab| {
                audit(&format!("{} {name}", texts.language), tab);
            });
        }
    }
    figure(&format!("with the broker dead as well: {} s", began.elapsed().as_secs()));
}
