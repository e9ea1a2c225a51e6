//! M-Pesa's statement of an organisation's account, as the portal exports it (CSV), and what it says other than our books.
//! Pure.
//!
//! What is relied on: somewhere a line of headings with *Receipt No*, *Completion Time*, *Transaction Status* and *Paid In*; above
//! it whatever the portal writes. Columns are found by name, in any order; *A/C No* is used where it is there. Times are Nairobi's,
//! with the year first or last. Only completed rows that brought money count: fees and withdrawals are not in our books.

use crate::daraja::wire::reference;
use crate::ledger::{Entry, Reversal};
use crate::nairobi;
use lango_core::time::Wall;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Money that M-Pesa says has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// M-Pesa's receipt.
    pub receipt: String,
    /// When it was completed.
    pub completed_at: Wall,
    /// How much, in cents.
    pub cents: u64,
    /// What stands under *A/C No*.
    pub account: Option<String>,
}

/// Money that M-Pesa says has gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// M-Pesa's receipt of the withdrawal itself.
    pub receipt: String,
    /// When it was completed.
    pub completed_at: Wall,
    /// How much, in cents.
    pub cents: u64,
    /// What stands under *Details*, *Reason Type* and *Linked Transaction ID*, in capitals: a reversal names its money there.
    pub words: String,
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The money that came in, by receipt.
    pub rows: Vec<Row>,
    /// The first moment of its first day.
    pub from: Wall,
    /// The end of its last day.
    pub to: Wall,
    /// Rows that moved no money to us: other states, fees, withdrawals.
    pub others: usize,
    /// Those of them that took money from us; nothing where the statement has no such column.
    pub withdrawals: Option<Vec<Withdrawal>>,
}

/// Why a statement cannot be read. `line` counts from 1.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not the export that we know.
    #[error(
        "it has no line with the headings Receipt No, Completion Time, Transaction Status and Paid In: is it the organisation's statement, as CSV?"
    )]
    NoHeadings,
    /// No row at all: nothing says which days it is about.
    #[error("it has no rows, so nothing says which days it is about: give --day")]
    Empty,
    /// A row that cannot be understood must not be passed over: it may be money.
    #[error("line {line}: {what} is not readable")]
    Row {
        /// Where.
        line: u64,
        /// What.
        what: &'static str,
    },
    /// Not CSV.
    #[error("line {line}: this is no CSV")]
    Csv {
        /// Where.
        line: u64,
    },
}

struct Columns {
    receipt: usize,
    completed: usize,
    status: usize,
    paid_in: usize,
    account: Option<usize>,
    withdrawn: Option<usize>,
    words: Vec<usize>,
}

impl Columns {
    fn find(record: &csv::ByteRecord) -> Option<Self> {
        let names: Vec<String> = record.iter().map(plain).collect();
        let at = |name: &str| names.iter().position(|known| known == name);
        Some(Self {
            receipt: at("receiptno")?,
            completed: at("completiontime")?,
            status: at("transactionstatus")?,
            paid_in: at("paidin")?,
            account: at("acno").or_else(|| at("accountno")),
            withdrawn: at("withdrawn"),
            words: ["details", "reasontype", "linkedtransactionid"].iter().filter_map(|name| at(name)).collect(),
        })
    }
}

/// Letters and digits alone, in lower case: `Receipt No.` and `A/C No` are written in more than one way.
fn plain(cell: &[u8]) -> String {
    String::from_utf8_lossy(cell).chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// Reads a statement. `day` is the one that is meant, where the operator says so: other days' rows are left out.
///
/// # Errors
/// When it is no such statement, or a row of it cannot be understood.
pub fn read(bytes: &[u8], day: Option<(Wall, Wall)>) -> Result<Statement, Unreadable> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let (mut columns, mut rows, mut others) = (None::<Columns>, BTreeMap::<String, Row>::new(), 0);
    let mut withdrawals = Vec::new();
    let mut span: Option<(Wall, Wall)> = None;
    for record in reader.byte_records() {
        let record = record.map_err(|error| Unreadable::Csv { line: error.position().map_or(0, csv::Position::line) })?;
        let Some(columns) = &columns else {
            columns = Columns::find(&record);
            continue;
        };
        let line = record.position().map_or(0, csv::Position::line);
        let unreadable = |what| Unreadable::Row { line, what };
        let cell = |column: usize| record.get(column).map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).unwrap_or_default();
        let receipt = cell(columns.receipt).to_ascii_uppercase();
        if receipt.is_empty() {
            // Empty lines, and the sums at the end.
            continue;
        }
        let completed_at = time(&cell(columns.completed)).ok_or(unreadable("the completion time"))?;
        let cents = cents(&cell(columns.paid_in)).ok_or(unreadable("what was paid in"))?;
        if day.is_some_and(|(from, to)| completed_at < from || completed_at >= to) {
            continue;
        }
        span = Some(span.map_or((completed_at, completed_at), |(first, last)| (first.min(completed_at), last.max(completed_at))));
        let completed = cell(columns.status).eq_ignore_ascii_case("completed");
        // A withdrawal may be written with a minus.
        let gone = columns.withdrawn.map_or(Some(0), |column| self::cents(cell(column).trim_start_matches('-')));
        if let Some(gone) = gone.filter(|gone| *gone > 0 && completed) {
            let words = columns.words.iter().map(|column| cell(*column)).collect::<Vec<_>>().join(" ").to_ascii_uppercase();
            withdrawals.push(Withdrawal { receipt: receipt.clone(), completed_at, cents: gone, words });
        }
        if cents == 0 || !cell(columns.status).eq_ignore_ascii_case("completed") {
            others += 1;
            continue;
        }
        let account = columns.account.map(cell).filter(|text| !text.is_empty());
        let row = rows.entry(receipt.clone()).or_insert(Row { receipt, completed_at, cents: 0, account });
        row.cents = row.cents.saturating_add(cents);
    }
    let Some(columns) = columns else { return Err(Unreadable::NoHeadings) };
    let withdrawals = columns.withdrawn.map(|_| withdrawals);
    let whole = |(first, last): (Wall, Wall)| Some((nairobi::bounds(&nairobi::day(first))?.0, nairobi::bounds(&nairobi::day(last))?.1));
    let (from, to) = day.or(span.and_then(whole)).ok_or(Unreadable::Empty)?;
    Ok(Statement { rows: rows.into_values().collect(), from, to, others, withdrawals })
}

/// `2026-11-22 10:21:15`, `22-11-2026 10:21:15`, `22/11/2026 10:21`, `22/11/2026 10:21:15`.
fn time(text: &str) -> Option<Wall> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let parts: Vec<&str> = date.split(['-', '/', '.']).collect();
    let &[one, two, three] = parts.as_slice() else { return None };
    let (year, month, day) = if one.len() == 4 { (one, two, three) } else { (three, two, one) };
    let time = if time.matches(':').count() == 1 { format!("{time}:00") } else { time.to_owned() };
    nairobi::parse(&format!("{year}-{month:0>2}-{day:0>2} {time:0>8}"))
}

/// `1,000.00` and `1000` are 100,000 cents; nothing is none.
fn cents(text: &str) -> Option<u64> {
    let text: String = text.chars().filter(|c| *c != ',').collect();
    if text.is_empty() {
        return Some(0);
    }
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit()) || part.len() > 2 {
        return None;
    }
    let part: u64 = format!("{part:0<2}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(part)
}

/// One thing that the two say differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference<'a> {
    /// M-Pesa has it, we do not.
    TheirsAlone(&'a Row),
    /// We have it, M-Pesa does not.
    OursAlone(&'a Entry),
    /// Both have it, and not the same amount.
    Amount(&'a Row, &'a Entry),
}

/// Holds a statement against our entries, which may reach beyond its days: M-Pesa's clock and ours differ.
#[must_use]
pub fn compare<'a>(statement: &'a Statement, entries: &'a [Entry]) -> Vec<Difference<'a>> {
    let named: HashMap<&str, &Entry> = entries.iter().filter_map(|entry| Some((entry.mpesa_receipt.as_ref()?.as_str(), entry))).collect();
    // Of money that only a query told of we have no receipt, but M-Pesa has our reference as the account's number.
    let mut unnamed: HashMap<String, &Entry> = entries
        .iter()
        .filter(|entry| entry.mpesa_receipt.is_none())
        .filter_map(|entry| Some((reference(entry.key.as_ref()?.order.as_str()), entry)))
        .collect();
    let (mut differences, mut found) = (Vec::new(), HashSet::new());
    for row in &statement.rows {
        let by_account = || unnamed.remove(&row.account.as_ref()?.to_ascii_uppercase());
        match named.get(row.receipt.as_str()).copied().or_else(by_account) {
            None => differences.push(Difference::TheirsAlone(row)),
            Some(entry) => {
                found.insert(&entry.receipt);
                if entry.amount.0.checked_mul(100) != Some(row.cents) {
                    differences.push(Difference::Amount(row, entry));
                }
            }
        }
    }
    let ours = entries.iter().filter(|entry| (statement.from..statement.to).contains(&entry.at()) && !found.contains(&entry.receipt));
    differences.extend(ours.map(Difference::OursAlone));
    differences
}

/// One reversal that the two say differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReversalDifference<'a> {
    /// M-Pesa reversed something that we did not.
    TheirsAlone(&'a Withdrawal),
    /// It is done, says our ledger, and the statement has no such row.
    OursAlone(&'a Reversal),
    /// M-Pesa has done what our ledger does not know the end of.
    Ended(&'a Withdrawal, &'a Reversal),
    /// Another amount.
    Amount(&'a Withdrawal, &'a Reversal),
}

/// Holds the money that a statement says has gone against our reversals.
#[must_use]
pub fn compare_reversals<'a>(statement: &'a Statement, reversals: &'a [Reversal]) -> Vec<ReversalDifference<'a>> {
    let Some(withdrawals) = &statement.withdrawals else { return Vec::new() };
    let (mut differences, mut found) = (Vec::new(), HashSet::new());
    for row in withdrawals {
        let names = |reversal: &&Reversal| {
            reversal.state != "failed"
                && (reversal.reversal_receipt.as_deref() == Some(row.receipt.as_str()) || row.words.contains(reversal.receipt.as_str()))
        };
        match reversals.iter().find(names) {
            // A fee may name the money that it was for, too.
            Some(_) if row.words.contains("CHARGE") || row.words.contains("FEE") => {}
            Some(reversal) => {
                found.insert(&reversal.receipt);
                if reversal.amount.0.checked_mul(100) != Some(row.cents) {
                    differences.push(ReversalDifference::Amount(row, reversal));
                } else if reversal.state != "done" {
                    differences.push(ReversalDifference::Ended(row, reversal));
                }
            }
            None if row.words.contains("REVERS") => differences.push(ReversalDifference::TheirsAlone(row)),
            None => {}
        }
    }
    let within = |reversal: &&Reversal| {
        reversal.state == "done" && reversal.decided_at.is_some_and(|at| (statement.from..statement.to).contains(&at))
    };
    let missing = reversals.iter().filter(within).filter(|reversal| !found.contains(&reversal.receipt));
    differences.extend(missing.map(ReversalDifference::OursAlone));
    differences
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
