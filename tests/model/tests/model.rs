//! The model for a fixed, short number of runs; and the stand-in for the relay's ledger beside the real one.

use lango_model::lies::ALL;
use lango_model::run::{Setting, report};

/// Some seconds in a debug build. `cargo run --release -p lango-model -- --seconds 60` goes further.
#[test]
fn money_in_is_service_out() {
    let setting = Setting::new(false).unwrap();
    for seed in 1..=250 {
        if let Err(failed) = setting.seed(seed) {
            panic!("{}", report(seed, &failed));
        }
    }
}

/// Every invariant is seen failing: a bug that is planted on purpose is found, by the words that it must be found by.
#[test]
fn every_lie_is_found() {
    let setting = Setting::new(false).unwrap();
    let missed: Vec<String> = ALL.iter().filter_map(|row| setting.finds(row, 2_000).err()).collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn the_page_tells_of_every_lie() {
    let page = include_str!("../../../docs/chaos.md");
    for row in ALL {
        let line = format!("| {} | {} |", row.what, row.found_by);
        assert!(page.contains(&line), "docs/chaos.md lacks: {line}");
    }
}

#[test]
fn the_model_s_ledger_is_the_real_one_s_equal() {
    let setting = Setting::new(true).unwrap();
    for seed in 1..=15 {
        if let Err(failed) = setting.seed(seed) {
            panic!("{}", report(seed, &failed));
        }
    }
}
