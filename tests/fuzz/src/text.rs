//! Files that people write: both configs, and M-Pesa's statement.

use lango_relay::statement;
use std::collections::BTreeSet;

/// A mistake must be in a line that is there; no mistake means a config that says the same when it is read again.
pub(crate) fn router_config(bytes: &[u8]) {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    match lango::config::parse("lango", bytes) {
        Ok(config) => {
            let again = lango::config::parse("lango", bytes).expect("the same bytes were a config a moment ago");
            assert_eq!(format!("{config:?}"), format!("{again:?}"));
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a reason");
            for mistake in mistakes {
                let said = mistake.to_string();
                let line = said.strip_prefix("lango:").and_then(|rest| rest.split(':').next()).and_then(|line| line.parse::<usize>().ok());
                assert!(line.is_some_and(|line| line >= 1 && line <= lines), "of {lines} lines: {said}");
                assert!(!said.contains('\n') && !said.contains('\u{1b}'), "{said:?} would upset a terminal");
            }
        }
    }
}

pub(crate) fn relay_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(mistakes) = lango_relay::config::parse(text) {
        assert!(!mistakes.is_empty(), "refused without a reason");
        let lines = text.split('\n').count();
        for mistake in mistakes {
            assert!((1..=lines).contains(&mistake.line), "of {lines} lines: {mistake}");
        }
    }
}

/// No row is lost and none is counted twice: as many as there are receipts. Held against empty books, each row that brought
/// money is a difference.
pub(crate) fn statement(bytes: &[u8]) {
    let Ok(read) = statement::read(bytes, None) else { return };
    let receipts: BTreeSet<String> = read.rows.iter().map(|row| row.receipt.to_string()).collect();
    assert_eq!(receipts.len(), read.rows.len(), "a receipt twice");
    assert!(statement::compare(&read, &[]).len() <= read.rows.len());
}
