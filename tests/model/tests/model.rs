//! The model for a fixed, short number of runs; and the stand-in for the relay's ledger beside the real one.

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

#[test]
fn the_model_s_ledger_is_the_real_one_s_equal() {
    let setting = Setting::new(true).unwrap();
    for seed in 1..=15 {
        if let Err(failed) = setting.seed(seed) {
            panic!("{}", report(seed, &failed));
        }
    }
}
