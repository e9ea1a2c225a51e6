//! Log lines on standard error, one an event. The system's log daemon adds the time and the program's name.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::Write as _;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What libraries have to say is of interest when it is a warning.
        metadata.level() <= Level::Warn || metadata.target().starts_with("lango")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = record.level().as_str().to_ascii_lowercase();
        // One event is one line, whatever is in it. A log that cannot be written has nobody left to tell.
        let line = record.args().to_string().replace(['\n', '\r'], " ");
        let _unwritable = writeln!(std::io::stderr().lock(), "{level}: {line}");
    }

    fn flush(&self) {}
}

/// Starts logging. `LANGO_LOG=debug` in the environment says more.
pub fn start() {
    let level = match std::env::var("LANGO_LOG").as_deref() {
        Ok("debug") => LevelFilter::Debug,
        Ok("warn") => LevelFilter::Warn,
        _ => LevelFilter::Info,
    };
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}
