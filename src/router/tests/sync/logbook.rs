//! What the program logged, for the tests to read.

use std::sync::{Mutex, Once};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Logbook;

impl log::Log for Logbook {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("lango")
    }
    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.lock().unwrap().push(record.args().to_string());
        }
    }
    fn flush(&self) {}
}

/// Begins to write down.
pub fn open() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Logbook).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
}

/// The lines so far that hold all of these.
pub fn lines(with: &[&str]) -> Vec<String> {
    let lines = LINES.lock().unwrap();
    lines.iter().filter(|line| with.iter().all(|text| line.contains(text))).cloned().collect()
}
