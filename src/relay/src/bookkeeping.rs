//! The operator's books: a day's payments, the sums of days and routers, and M-Pesa's statement held against them.

use crate::clock;
use crate::commands::{Misused, as_object, deposit_object, deposit_status, existing, noted, status, table};
use crate::config::Config;
use crate::ledger::{Deposit, Entry, Reversal};
use crate::nairobi;
use crate::payment::Payment;
use crate::statement::{self, Difference, ReversalDifference, Row, Withdrawal};
use anyhow::Context;
use lango_core::time::Wall;
use lango_core::units::Receipt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// For whom it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// People.
    Table,
    /// Programs.
    Json,
    /// Spreadsheets.
    Csv,
}

fn bounds(day: &str) -> anyhow::Result<(Wall, Wall)> {
    const DAY: u64 = 24 * 3_600_000;
    let now = clock::now();
    let found = match day {
        "today" => nairobi::bounds(&nairobi::day(now)),
        "yesterday" => nairobi::bounds(&nairobi::day(Wall(now.0.saturating_sub(DAY)))),
        day => nairobi::bounds(day),
    };
    Ok(found.ok_or_else(|| Misused(format!("--day {day}: a day is written as {}, or as `today` or `yesterday`", nairobi::day(now))))?)
}

/// Lists the payments of one day in Nairobi: those whose money came on it, and those asked for on it of which none came.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn day(config: &Config, day: &str, form: Form) -> anyhow::Result<()> {
    let (from, to) = bounds(day)?;
    let ledger = existing(config).await?;
    let payments = ledger.payments_between(from, to).await?;
    let mut by_hand = ledger.deposits_between(from, to).await?;
    // The payment that it turned out to be is among the payments.
    by_hand.retain(|deposit| deposit.order.is_none());
    let reversals = ledger.reversals().await?;
    let mut lines: Vec<[String; 10]> = payments.iter().map(|(at, payment)| line(*at, payment, &reversals)).collect();
    lines.extend(by_hand.iter().map(|deposit| deposit_line(deposit, &reversals)));
    lines.sort();
    match form {
        Form::Json => println!(
            "{}",
            Value::from(
                payments.iter().map(|(_, payment)| as_object(payment)).chain(by_hand.iter().map(deposit_object)).collect::<Vec<_>>()
            )
        ),
        Form::Csv => print!("{}", csv_of(&HEAD, lines.into_iter())?),
        Form::Table => {
            print!("{}", table(HEAD.map(str::to_ascii_uppercase).each_ref().map(String::as_str), lines.into_iter()));
            println!();
            print!(
                "{}",
                table(SUMS_HEAD.map(str::to_ascii_uppercase).each_ref().map(String::as_str), sum(&ledger.entries(from, to).await?))
            );
        }
    }
    Ok(())
}

const HEAD: [&str; 10] = ["time", "router", "payment", "package", "ksh", "phone", "status", "receipt", "mpesa_receipt", "note"];

fn deposit_line(deposit: &Deposit, reversals: &[Reversal]) -> [String; 10] {
    [
        nairobi::text(deposit.completed_at.unwrap_or(deposit.at)),
        deposit.router.as_ref().map(ToString::to_string).unwrap_or_default(),
        "by hand".to_owned(),
        deposit.word.clone().unwrap_or_default(),
        deposit.amount.to_string(),
        deposit.payer.text(),
        deposit_status(deposit.stage).to_owned(),
        deposit.receipt.to_string(),
        deposit.receipt.to_string(),
        noted(deposit.note.clone().unwrap_or_default(), Some(&deposit.receipt), reversals),
    ]
}

fn line(at: Wall, payment: &Payment, reversals: &[Reversal]) -> [String; 10] {
    let text = |receipt: &Option<Receipt>| receipt.as_ref().map(ToString::to_string).unwrap_or_default();
    [
        nairobi::text(at),
        payment.router.to_string(),
        payment.order.to_string(),
        payment.package.to_string(),
        payment.arrived().to_string(),
        payment.phone.digits(),
        status(payment.state).to_owned(),
        text(&payment.receipt),
        text(&payment.mpesa_receipt),
        noted(payment.flag.clone().or_else(|| payment.reason_name()).unwrap_or_default(), payment.mpesa_receipt.as_ref(), reversals),
    ]
}

/// Lists what came in by day and router, for one day or for all.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn sums(config: &Config, day: Option<&str>, form: Form) -> anyhow::Result<()> {
    let (from, to) = day.map_or(Ok((Wall(0), Wall(u64::MAX))), bounds)?;
    let entries = existing(config).await?.entries(from, to).await?;
    match form {
        Form::Csv => print!("{}", csv_of(&SUMS_HEAD, sum(&entries).filter(|line| line[1] != ALL))?),
        Form::Table => print!("{}", table(SUMS_HEAD.map(str::to_ascii_uppercase).each_ref().map(String::as_str), sum(&entries))),
        Form::Json => {
            let number = |text: &String| text.parse::<u64>().unwrap_or_default();
            let object = |line: [String; 5]| {
                let [day, router, payments, ksh, unnamed] = &line;
                json!({"day": day, "router": router, "payments": number(payments), "ksh": number(ksh), "without_mpesa_receipt": number(unnamed)})
            };
            println!("{}", Value::from(sum(&entries).filter(|line| line[1] != ALL).map(object).collect::<Vec<_>>()));
        }
    }
    Ok(())
}

const SUMS_HEAD: [&str; 5] = ["day", "router", "payments", "ksh", "without_mpesa_receipt"];
/// In place of a router's name: no router can be called so.
const ALL: &str = "(all)";
/// Money by hand of which nobody knows for which router it is.
const NOBODY: &str = "(waiting)";

/// Day, router, payments, shillings, and how many of them have no receipt of M-Pesa's; each day's sum after its routers.
fn sum(entries: &[Entry]) -> impl Iterator<Item = [String; 5]> {
    let mut sums: BTreeMap<(String, bool, String), (u64, u64, u64)> = BTreeMap::new();
    for entry in entries {
        let day = nairobi::day(entry.at());
        let router = entry.router.as_ref().map_or_else(|| NOBODY.to_owned(), ToString::to_string);
        for key in [(day.clone(), false, router), (day, true, ALL.to_owned())] {
            let (payments, shillings, unnamed) = sums.entry(key).or_default();
            *payments += 1;
            *shillings = shillings.saturating_add(entry.amount.0);
            *unnamed += u64::from(entry.mpesa_receipt.is_none());
        }
    }
    sums.into_iter().map(|((day, _, router), (payments, shillings, unnamed))| {
        [day, router, payments.to_string(), shillings.to_string(), unnamed.to_string()]
    })
}

fn csv_of<const N: usize>(head: &[&str; N], lines: impl Iterator<Item = [String; N]>) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(head)?;
    for line in lines {
        writer.write_record(line)?;
    }
    Ok(String::from_utf8(writer.into_inner().context("a list in memory")?)?)
}

/// Holds M-Pesa's statement against the ledger, and prints what differs. `false`: something does.
///
/// # Errors
/// When the statement or the ledger cannot be read.
pub async fn reconcile(config: &Config, path: &Path, day: Option<&str>) -> anyhow::Result<bool> {
    /// M-Pesa's clock and ours, and callbacks that come late: so far around the statement our entries are looked at.
    const AROUND: u64 = 24 * 3_600_000;
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("the statement {shown} cannot be read"))?;
    let statement =
        statement::read(&bytes, day.map(bounds).transpose()?).map_err(|error| Misused(format!("the statement {shown}: {error}")))?;
    let ledger = existing(config).await?;
    let around = (Wall(statement.from.0.saturating_sub(AROUND)), Wall(statement.to.0.saturating_add(AROUND)));
    let mut entries = ledger.entries(around.0, around.1).await?;
    for row in &statement.rows {
        let known = entries.iter().any(|entry| entry.mpesa_receipt.as_ref().is_some_and(|receipt| receipt.as_str() == row.receipt));
        if let Some(receipt) = row.receipt.parse().ok().filter(|_| !known) {
            entries.extend(ledger.entry_of(&receipt).await?);
        }
    }
    let reversals = ledger.reversals().await?;
    let (differences, reversed) = (statement::compare(&statement, &entries), statement::compare_reversals(&statement, &reversals));
    let theirs = statement.rows.iter().fold(0u64, |sum, row| sum.saturating_add(row.cents));
    let own: Vec<&Entry> = entries.iter().filter(|entry| (statement.from..statement.to).contains(&entry.at())).collect();
    let ours = own.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.amount.0.saturating_mul(100)));
    println!("from {} to {} (Nairobi)", nairobi::text(statement.from), nairobi::text(statement.to));
    println!(
        "M-Pesa: {} payments, KSh {}; not looked at: {} rows (fees, withdrawals, not completed)",
        statement.rows.len(),
        shillings(theirs),
        statement.others
    );
    println!("ledger: {} payments, KSh {}", own.len(), shillings(ours));
    if differences.is_empty() && reversed.is_empty() {
        println!("nothing differs");
        return Ok(true);
    }
    let rows = differences.iter().map(difference).chain(reversed.iter().map(reversal_difference));
    println!("\n{}", table(["WHAT", "TIME", "RECEIPT", "M-PESA", "LEDGER", "PAYMENT"], rows).trim_end());
    println!("\n{} differences", differences.len() + reversed.len());
    Ok(false)
}

fn shillings(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn reversal_difference(difference: &ReversalDifference<'_>) -> [String; 6] {
    let ours = |reversal: &Reversal| [format!("-{}.00", reversal.amount), format!("reversal of {} ({})", reversal.receipt, reversal.state)];
    let row = |what: &str, row: &Withdrawal, [ledger, payment]: [String; 2]| {
        let gone = format!("-{}", shillings(row.cents));
        [what.to_owned(), nairobi::text(row.completed_at), row.receipt.clone(), gone, ledger, payment]
    };
    match difference {
        ReversalDifference::TheirsAlone(withdrawal) => row("M-Pesa alone", withdrawal, ["-".to_owned(), "a reversal".to_owned()]),
        ReversalDifference::Ended(withdrawal, reversal) => row("reversed after all", withdrawal, ours(reversal)),
        ReversalDifference::Amount(withdrawal, reversal) => row("amounts differ", withdrawal, ours(reversal)),
        ReversalDifference::OursAlone(reversal) => {
            let [ledger, payment] = ours(reversal);
            let receipt = reversal.reversal_receipt.clone().unwrap_or_else(|| reversal.receipt.to_string());
            let time = nairobi::text(reversal.decided_at.unwrap_or(reversal.at));
            ["ledger alone".to_owned(), time, receipt, "-".to_owned(), ledger, payment]
        }
    }
}

fn difference(difference: &Difference<'_>) -> [String; 6] {
    let theirs = |row: &Row| [nairobi::text(row.completed_at), row.receipt.clone(), shillings(row.cents)];
    let own =
        |entry: &Entry| (format!("{}.00", entry.amount), entry.key.as_ref().map_or_else(|| "by hand".to_owned(), ToString::to_string));
    let none = || "-".to_owned();
    match difference {
        Difference::TheirsAlone(row) => {
            let [time, receipt, amount] = theirs(row);
            ["M-Pesa alone".to_owned(), time, receipt, amount, none(), none()]
        }
        Difference::Amount(row, entry) => {
            let ([time, receipt, amount], (ours, payment)) = (theirs(row), own(entry));
            ["amounts differ".to_owned(), time, receipt, amount, ours, payment]
        }
        Difference::OursAlone(entry) => {
            let ((ours, payment), receipt) = (own(entry), entry.mpesa_receipt.as_ref().unwrap_or(&entry.receipt));
            ["ledger alone".to_owned(), nairobi::text(entry.at()), receipt.to_string(), none(), ours, payment]
        }
    }
}
