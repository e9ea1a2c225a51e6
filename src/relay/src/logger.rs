//! Log lines to standard error, one an event: `2026-11-22T09:30:00Z info payment kibera-7/0kq3…: paid`.
//! No phone numbers, amounts, passwords, tokens or keys: no line is written from what they could be in.

use crate::clock;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::Write;

struct Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries may hold payloads in their chatter; only their warnings are of use to an operator.
        metadata.target().starts_with("lango_relay") || metadata.level() <= Level::Warn
    }
    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // One event, one line, whatever a peer put into an error's text.
        let text: String = record.args().to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let level = record.level().as_str().to_ascii_lowercase();
        // A closed standard error must not end the program.
        let _ = writeln!(std::io::stderr().lock(), "{} {level} {text}", clock::now().to_rfc3339());
    }
    fn flush(&self) {}
}

/// Turns logging on.
pub fn start() {
    if log::set_logger(&Lines).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}
