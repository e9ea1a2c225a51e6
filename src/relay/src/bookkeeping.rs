//! The operator's books: a day's payments, the sums of days and routers, and M-Pesa's statement held against them.

use crate::clock;
use crate::commands::{Misused, as_object, existing, status, table};
use crate::config::Config;
use crate::ledger::Entry;
use crate::nairobi;
use crate::payment::Payment;
use crate::statement::{self, Difference, Row};
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
    Ok(nairobi::bounds(day).ok_or_else(|| Misused(format!("--day {day}: a day is written as {}", nairobi::day(clock::now()))))?)
}

/// Lists the payments of one day in Nairobi: those whose money came on it, and those asked for on it of which none came.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn day(config: &Config, day: &str, form: Form) -> anyhow::Result<()> {
    let (from, to) = bounds(day)?;
    let ledger = existing(config).await?;
    let payments = ledger.payments_between(from, to).await?;
    match form {
        Form::Json => println!("{}", Value::from(payments.iter().map(|(_, payment)| as_object(payment)).collect::<Vec<_>>())),
        Form::Csv => print!("{}", csv_of(&HEAD, payments.iter().map(|(at, payment)| line(*at, payment)))?),
        Form::Table => {
            print!(
                "{}",
                table(HEAD.map(str::to_ascii_uppercase).each_ref().map(String::as_str), payments.iter().map(|(at, p)| line(*at, p)))
            );
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

fn line(at: Wall, payment: &Payment) -> [String; 10] {
    let text = |receipt: &Option<Receipt>| receipt.as_ref().map(ToString::to_string).unwrap_or_default();
    [
        nairobi::text(at),
        payment.router.to_string(),
        payment.order.to_string(),
        payment.package.to_string(),
        payment.amount.to_string(),
        payment.phone.digits(),
        status(payment.state).to_owned(),
        text(&payment.receipt),
        text(&payment.mpesa_receipt),
        payment.flag.clone().or_else(|| payment.reason_name()).unwrap_or_default(),
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

/// Day, router, payments, shillings, and how many of them have no receipt of M-Pesa's; each day's sum after its routers.
fn sum(entries: &[Entry]) -> impl Iterator<Item = [String; 5]> {
    let mut sums: BTreeMap<(String, bool, String), (u64, u64, u64)> = BTreeMap::new();
    for entry in entries {
        let day = nairobi::day(entry.at());
        for key in [(day.clone(), false, entry.key.router.to_string()), (day, true, ALL.to_owned())] {
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
    let differences = statement::compare(&statement, &entries);
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
    if differences.is_empty() {
        println!("nothing differs");
        return Ok(true);
    }
    println!("\n{}", table(["WHAT", "TIME", "RECEIPT", "M-PESA", "LEDGER", "PAYMENT"], differences.iter().map(difference)).trim_end());
    println!("\n{} differences", differences.len());
    Ok(false)
}

fn shillings(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn difference(difference: &Difference<'_>) -> [String; 6] {
    let theirs = |row: &Row| [nairobi::text(row.completed_at), row.receipt.clone(), shillings(row.cents)];
    let own = |entry: &Entry| (format!("{}.00", entry.amount), entry.key.to_string());
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
