//! Statements as the portal writes them, and what is found in them.

use super::*;
use crate::ledger::Key;
use lango_core::units::Shillings;
use std::slice::from_ref;

const STATEMENT: &str = "\u{feff}\"Organization Name:\",\"KIBERA NET\"\r\n\
    \"Short Code:\",\"174379\"\r\n\
    \r\n\
    Receipt No.,Completion Time,Initiation Time,Details,Transaction Status,Paid In,Withdrawn,Balance,Balance Confirmed,Reason Type,Other Party Info,Linked Transaction ID,A/C No.\r\n\
    NLJ7RT61SA,22-11-2026 09:00:01,22-11-2026 08:59:58,\"Pay Bill from 2547***678 - JANE, DOE Acc. AAAA\",Completed,10.00,,\"1,010.00\",true,Pay Bill Online,2547***678 - JANE DOE,,AAAA\r\n\
    NLJ7RT61SA,22-11-2026 09:00:01,22-11-2026 08:59:58,Pay Bill Charge,Completed,,-0.05,\"1,009.95\",true,Charge,,,\r\n\
    NLJ7RT61SB,22-11-2026 10:00:00,22-11-2026 10:00:00,Pay Bill,Cancelled,10.00,,\"1,009.95\",true,Pay Bill Online,,,BBBB\r\n\
    NLJ7RT61SC,22-11-2026 11:00:00,22-11-2026 11:00:00,Pay Bill,Completed,\"1,000.00\",,\"2,009.95\",true,Pay Bill Online,,,cccc\r\n\
    NLJ7RT61SD,21-11-2026 23:59:59,21-11-2026 23:59:58,Pay Bill,Completed,20,,\"2,029.95\",true,Pay Bill Online,,,DDDD\r\n";

fn at(text: &str) -> Wall {
    nairobi::parse(text).unwrap()
}

fn entry(order: &str, receipt: Option<&str>, amount: u64, time: &str) -> Entry {
    let stand_in = format!("Q{:A<11}", order.to_ascii_uppercase());
    Entry {
        receipt: receipt.unwrap_or(&stand_in).parse().unwrap(),
        mpesa_receipt: receipt.map(|text| text.parse().unwrap()),
        key: Some(Key { router: "kibera-7".parse().unwrap(), order: order.parse().unwrap() }),
        router: Some("kibera-7".parse().unwrap()),
        amount: Shillings(amount),
        completed_at: Some(at(time)),
        entered_at: at(time),
    }
}

fn row(receipt: &str, time: &str, cents: u64, account: &str) -> Row {
    Row { receipt: receipt.to_owned(), completed_at: at(time), cents, account: Some(account.to_owned()) }
}

#[test]
fn what_came_in_is_read() {
    let statement = read(STATEMENT.as_bytes(), None).unwrap();
    assert_eq!(
        statement.rows,
        [
            row("NLJ7RT61SA", "2026-11-22 09:00:01", 1_000, "AAAA"),
            row("NLJ7RT61SC", "2026-11-22 11:00:00", 100_000, "cccc"),
            row("NLJ7RT61SD", "2026-11-21 23:59:59", 2_000, "DDDD"),
        ]
    );
    assert_eq!((statement.from, statement.to, statement.others), (at("2026-11-21 00:00:00"), at("2026-11-23 00:00:00"), 2));
    let day = read(STATEMENT.as_bytes(), nairobi::bounds("2026-11-22")).unwrap();
    assert_eq!((day.rows.len(), day.from, day.to), (2, at("2026-11-22 00:00:00"), at("2026-11-23 00:00:00")));
}

#[test]
fn columns_may_stand_otherwise() {
    let text = "Paid In,Transaction Status,Completion Time,Receipt No\n50,COMPLETED,2026-11-22 09:00:00,nlj7rt61sa\n";
    let statement = read(text.as_bytes(), None).unwrap();
    assert_eq!((statement.rows[0].receipt.as_str(), statement.rows[0].cents, &statement.rows[0].account), ("NLJ7RT61SA", 5_000, &None));
}

#[test]
fn what_is_no_statement_is_not_passed_over() {
    for (text, said) in [
        ("", "no line with the headings"),
        ("a,b\n1,2\n", "no line with the headings"),
        ("Receipt No.,Completion Time,Transaction Status,Paid In\n", "no rows"),
        ("Receipt No.,Completion Time,Transaction Status,Paid In\nNLJ7RT61SA,yesterday,Completed,10\n", "line 2: the completion time"),
        (
            "Receipt No.,Completion Time,Transaction Status,Paid In\nNLJ7RT61SA,2026-11-22 09:00:00,Completed,ten\n",
            "line 2: what was paid in",
        ),
    ] {
        let error = read(text.as_bytes(), None).err().unwrap();
        assert!(error.to_string().contains(said), "{text:?}: {error}");
    }
    // An empty day is a statement, too: all that we have of it is ours alone.
    let empty = read(b"Receipt No.,Completion Time,Transaction Status,Paid In\n", nairobi::bounds("2026-11-22")).unwrap();
    let ours = [entry("aaaa", Some("NLJ7RT61SA"), 10, "2026-11-22 09:00:00")];
    assert_eq!(compare(&empty, &ours), [Difference::OursAlone(&ours[0])]);
}

#[test]
fn times_and_amounts_as_they_are_written() {
    for text in ["2026-11-22 09:05:00", "22-11-2026 09:05:00", "22/11/2026 9:05:00", "22/11/2026 09:05", "2026-11-22T09:05:00"] {
        assert_eq!(time(text), Some(at("2026-11-22 09:05:00")), "{text}");
    }
    for text in ["", "22-11-2026", "11/22/2026 09:00:00", "2026-11-22 25:00:00"] {
        assert_eq!(time(text), None, "{text}");
    }
    for (text, expected) in [
        ("", Some(0)),
        ("0.00", Some(0)),
        ("10", Some(1_000)),
        ("10.5", Some(1_050)),
        ("1,234.56", Some(123_456)),
        ("-10", None),
        (".", None),
        ("1.234", None),
    ] {
        assert_eq!(cents(text), expected, "{text}");
    }
}

#[test]
fn what_the_two_say_differently() {
    let statement = read(STATEMENT.as_bytes(), None).unwrap();
    let agreed = [
        entry("aaaa", Some("NLJ7RT61SA"), 10, "2026-11-22 09:00:05"),
        // Only a query told of it: found by its reference, which M-Pesa has as the account's number.
        entry("cccc", None, 1_000, "2026-11-22 11:00:09"),
        entry("dddd", Some("NLJ7RT61SD"), 20, "2026-11-22 00:00:02"),
        // Of another day, which the statement says nothing about.
        entry("eeee", Some("NLJ7RT61SE"), 10, "2026-11-23 00:00:00"),
    ];
    assert_eq!(compare(&statement, &agreed), []);
    let ours = [
        entry("aaaa", Some("NLJ7RT61SA"), 20, "2026-11-22 09:00:05"),
        entry("cccc", Some("NLJ7RT61SF"), 1_000, "2026-11-22 11:00:09"),
        entry("gggg", None, 20, "2026-11-22 12:00:00"),
    ];
    assert_eq!(
        compare(&statement, &ours),
        [
            Difference::Amount(&statement.rows[0], &ours[0]),
            Difference::TheirsAlone(&statement.rows[1]),
            Difference::TheirsAlone(&statement.rows[2]),
            Difference::OursAlone(&ours[1]),
            Difference::OursAlone(&ours[2]),
        ]
    );
}

fn reversal(receipt: &str, state: &str, own: Option<&str>, amount: u64) -> Reversal {
    Reversal {
        receipt: receipt.parse().unwrap(),
        amount: Shillings(amount),
        served: false,
        state: state.to_owned(),
        code: None,
        reversal_receipt: own.map(str::to_owned),
        at: at("2026-11-22 12:00:00"),
        decided_at: (state == "done").then(|| at("2026-11-22 12:00:05")),
    }
}

#[test]
fn reversals_are_held_against_what_was_withdrawn() {
    let head = "Receipt No.,Completion Time,Details,Transaction Status,Paid In,Withdrawn,Linked Transaction ID\n";
    let line = |receipt: &str, words: &str, gone: &str, linked: &str| {
        format!("{receipt},22-11-2026 12:00:05,{words},Completed,,{gone},{linked}\n")
    };
    let (done, doubt) = (reversal("NLJ7RT61SA", "done", Some("SKE52PAWR9"), 10), reversal("NLJ7RT61SB", "doubt", None, 20));
    let rows: &[(String, &[Reversal], &[&str])] = &[
        (line("SKE52PAWR9", "Reversal", "-10.00", ""), from_ref(&done), &[]),
        (line("SKE52PAWRX", "Pay Bill reversal", "10.00", "NLJ7RT61SA"), from_ref(&done), &[]),
        (line("SKE52PAWR9", "Reversal of NLJ7RT61SA", "-11.00", ""), from_ref(&done), &["amount"]),
        (line("SKE52PAWR8", "Reversal", "-20.00", "NLJ7RT61SB"), from_ref(&doubt), &["ended"]),
        (line("SKE52PAWR8", "Reversal", "-20.00", ""), from_ref(&doubt), &["theirs"]),
        (line("SKE52PAWR8", "Business Payment to Customer", "-500.00", ""), from_ref(&done), &["ours"]),
        (line("NLJ7RT61SA", "Pay Bill Charge", "-0.05", "NLJ7RT61SA"), from_ref(&done), &["ours"]),
        (line("SKE52PAWR8", "Withdrawal to bank", "-500.00", ""), from_ref(&doubt), &[]),
    ];
    for (row, reversals, expected) in rows {
        let statement = read(format!("{head}{row}").as_bytes(), None).unwrap();
        let name = |difference: &ReversalDifference<'_>| match difference {
            ReversalDifference::TheirsAlone(_) => "theirs",
            ReversalDifference::OursAlone(_) => "ours",
            ReversalDifference::Ended(..) => "ended",
            ReversalDifference::Amount(..) => "amount",
        };
        assert_eq!(compare_reversals(&statement, reversals).iter().map(name).collect::<Vec<_>>(), *expected, "{row}");
    }
    // A statement without such a column says nothing about them.
    let statement =
        read(b"Receipt No,Completion Time,Transaction Status,Paid In\nNLJ7RT61SA,2026-11-22 09:00:00,Completed,10\n", None).unwrap();
    assert_eq!(compare_reversals(&statement, &[reversal("NLJ7RT61SA", "done", None, 10)]), []);
}
