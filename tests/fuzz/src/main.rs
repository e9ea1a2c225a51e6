//! The fuzzer: libFuzzer brings `main`, and the target's name comes in `LANGO_FUZZ_TARGET`. `tools/fuzz.sh` builds and runs it.
#![no_main]

use lango_fuzz::Target;
use std::sync::OnceLock;

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("LANGO_FUZZ_TARGET").unwrap_or_default();
        lango_fuzz::target(&name).unwrap_or_else(|| {
            eprintln!("LANGO_FUZZ_TARGET is '{name}'; it must be one of: {}", lango_fuzz::names().join(" "));
            std::process::exit(64);
        })
    });
    target(bytes);
});
