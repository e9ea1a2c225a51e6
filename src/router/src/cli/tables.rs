//! Answers as tables for people, and as JSON for programs.

use super::Ask;
use super::indent::indented;
use crate::control::wire::{Command, DaemonCommand};
use crate::gate::SWITCH_OFFLOAD_OFF;
use lango_core::package::{Listed, Package};
use lango_core::request::{
    AccountView, Answer, CertificateView, Failures, FlowOffload, OnlineView, OperatorPaymentView, PaymentStatus, Request, ServedView,
    SessionView, StatusView, UpdateView, VoucherStatus, VoucherView,
};
use lango_core::time::Wall;
use lango_core::units::{Bytes, Kbps, Millis, Seconds};

/// The answer's value alone, as indented JSON.
pub fn json(answer: &Answer) -> serde_json::Result<String> {
    let text = match answer {
        Answer::Packages(packages) => serde_json::to_string(&packages.iter().map(Listed::from).collect::<Vec<_>>()),
        Answer::Session(session) => serde_json::to_string(session),
        Answer::Status(status) => serde_json::to_string(status),
        Answer::Sessions(sessions) => serde_json::to_string(sessions),
        Answer::Accounts(accounts) => serde_json::to_string(accounts),
        Answer::Payments(payments) => serde_json::to_string(payments),
        Answer::Served(served) => serde_json::to_string(served),
        Answer::Vouchers(vouchers) => serde_json::to_string(vouchers),
        Answer::VouchersRevoked(revoked) => return Ok(format!("{{\"revoked\":{revoked}}}\n")),
        Answer::Done => Ok("{}".to_owned()),
        other => serde_json::to_string(other),
    }?;
    Ok(indented(&text) + "\n")
}

/// The answer for people.
pub fn text(answer: &Answer, ask: &Ask) -> String {
    match answer {
        Answer::Packages(packages) => packages_table(packages),
        Answer::Status(status) => status_text(status),
        Answer::Sessions(sessions) if sessions.is_empty() => "Nobody is online.\n".to_owned(),
        Answer::Sessions(sessions) => sessions_table(sessions),
        Answer::Accounts(accounts) if accounts.is_empty() => "There is no account yet.\n".to_owned(),
        Answer::Accounts(accounts) => accounts_table(accounts),
        Answer::Payments(payments) if payments.is_empty() => "There is no payment yet.\n".to_owned(),
        Answer::Payments(payments) => payments_table(payments) + &what_waits(payments),
        Answer::Vouchers(vouchers) if vouchers.is_empty() => "There is no voucher yet.\n".to_owned(),
        Answer::Vouchers(vouchers) => vouchers_table(vouchers),
        Answer::VouchersRevoked(0) => format!("Nothing of {} was unused: nothing is changed.\n", ask.subject),
        Answer::VouchersRevoked(revoked) => format!("{revoked} of {} can be redeemed no more.\n", ask.subject),
        Answer::Session(session) => granted(session, &ask.subject),
        Answer::Served(served) => told_of_service(served),
        Answer::Done => match &ask.command {
            Command::Daemon(DaemonCommand::Flush) => {
                "The gate is removed from the kernel, and stays out until lango starts again: everyone passes.\n".to_owned()
            }
            Command::Rules(Request::Grant { .. }) => format!("{} is away; it goes online as soon as it is seen.\n", ask.subject),
            Command::Rules(Request::Kick { .. }) => format!("{} is offline; what is left stays on the account.\n", ask.subject),
            Command::Rules(Request::ClockIsSet) => String::new(), // a script asks, which logs what it prints
            Command::Rules(_) => "Done.\n".to_owned(),
        },
        // Nothing that the command line asks for.
        other => json(other).unwrap_or_default(),
    }
}

/// Columns as wide as their widest cell, two spaces between.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(head.to_vec());
    text.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    text
}

const NONE: &str = "-";

fn or_none<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), show)
}

fn time(seconds: Seconds) -> String {
    let Seconds(all) = seconds;
    match (all / 86_400, all / 3_600 % 24, all / 60 % 60, all % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s:02} s"),
        (0, h, m, _) => format!("{h} h {m:02} min"),
        (d, h, ..) => format!("{d} d {h:02} h"),
    }
}

#[allow(clippy::cast_precision_loss)] // shown with one decimal
fn data(bytes: Bytes) -> String {
    let Bytes(n) = bytes;
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}

fn rate(kbps: Kbps) -> String {
    format!("{kbps} kbit/s")
}

fn packages_table(packages: &[Package]) -> String {
    let rows: Vec<Vec<String>> = packages
        .iter()
        .map(|package| {
            let limits = &package.limits;
            vec![
                package.id.to_string(),
                package.label.clone(),
                format!("KSh {}", package.price),
                or_none(limits.time, |t| time(Millis::as_seconds_ceil(t))),
                or_none(limits.data, data),
                or_none(limits.down, rate),
                or_none(limits.up, rate),
                limits.devices.to_string(),
            ]
        })
        .collect();
    table(&["PACKAGE", "LABEL", "PRICE", "TIME", "DATA", "DOWN", "UP", "DEVICES"], &rows)
}

fn vouchers_table(vouchers: &[VoucherView]) -> String {
    let rows: Vec<Vec<String>> = vouchers
        .iter()
        .map(|voucher| {
            let status = match voucher.status {
                VoucherStatus::Unused => "unused",
                VoucherStatus::Used => "used",
                VoucherStatus::Expired => "expired",
                VoucherStatus::Revoked => "revoked",
            };
            vec![
                format!("{}/{}", voucher.batch, voucher.number),
                voucher.package.to_string(),
                or_none(voucher.price, |price| format!("KSh {price}")),
                status.to_owned(),
                or_none(voucher.ended_at, Wall::to_rfc3339),
                or_none(voucher.username.as_ref(), ToString::to_string),
                or_none(voucher.device, |device| device.to_string()),
                or_none(voucher.made_at, Wall::to_rfc3339),
                or_none(voucher.expires_at, Wall::to_rfc3339),
            ]
        })
        .collect();
    table(&["VOUCHER", "PACKAGE", "PRICE", "STATE", "SINCE", "USERNAME", "DEVICE", "MADE", "GOOD UNTIL"], &rows)
}

fn status_text(status: &StatusView) -> String {
    let yes = |value: bool, yes: &str, no: &str| if value { yes.to_owned() } else { no.to_owned() };
    let lines = [
        ("Router", format!("{}, lango {}", status.name, status.version)),
        ("Running for", time(status.running_for.as_seconds_ceil())),
        ("Clock", status.clock.map_or_else(|| "not set yet".to_owned(), lango_core::time::Wall::to_rfc3339)),
        ("Gate", yes(status.gate, "in force", "REMOVED from the kernel: everyone passes, until lango starts again")),
        ("Flow offload", offload_text(status.flow_offload.as_ref())),
        ("Certificate", certificate_text(status.certificate.as_ref())),
        ("Broker", yes(status.broker, "connected", "not connected")),
        ("Payments", yes(status.payments, "possible", "not possible now; all else works")),
        ("Devices online", status.devices_online.to_string()),
        ("Accounts open", status.accounts_open.to_string()),
        ("Payments pending", status.payments_pending.to_string()),
        ("Unsent messages", status.outbox.to_string()),
        (
            "RADIUS",
            status.accounting.map_or_else(
                || "not configured".to_owned(),
                |waiting| match (waiting, status.accounting_refused) {
                    (0, _) => "nothing waits".to_owned(),
                    (waiting, 0) => format!("{waiting} accounting messages wait for a server"),
                    (waiting, refused) => format!("{waiting} accounting messages wait for a server; servers REFUSE {refused} of them"),
                },
            ),
        ),
        (
            "Unserved money",
            if status.unserved == 0 { "none".to_owned() } else { format!("{} payments: see `lango payments`", status.unserved) },
        ),
        ("Failures", failures_text(status.failures)),
        ("Update", status.update.as_ref().map_or_else(|| "none yet".to_owned(), update_text)),
        ("Suspicions", if status.suspicions == 0 { "none".to_owned() } else { format!("{}: see the log", status.suspicions) }),
    ];
    lines.iter().map(|(name, value)| format!("{name:<17} {value}\n")).collect()
}

fn update_text(update: &UpdateView) -> String {
    let why = update.reason.map(|reason| format!(": {}", reason.told())).unwrap_or_default();
    format!("{} (number {}) {}{why}", update.version, update.number, update.state.name().replace('_', " "))
}

fn failures_text(failures: Failures) -> String {
    let Failures { gate, store, unsent, refused } = failures;
    let counts =
        [(gate, "changes of the gate"), (store, "changes not stored"), (unsent, "messages not sent"), (refused, "messages refused")];
    let told: Vec<String> = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{what}: {count}")).collect();
    if told.is_empty() { "none".to_owned() } else { format!("{}; see the log", told.join(", ")) }
}

fn offload_text(offload: Option<&FlowOffload>) -> String {
    let Some(offload) = offload else { return "off".to_owned() };
    let devices: Vec<&str> = offload.devices.iter().map(String::as_str).collect();
    let on = format!("on for {}{}", devices.join(", "), if offload.hardware { ", in hardware" } else { "" });
    if offload.customers_kept_out {
        on + "; customers' connections are kept out of it"
    } else {
        format!("{on}: LIMITS ARE NOT EXACT; switch it off: `{SWITCH_OFFLOAD_OFF}`")
    }
}

fn certificate_text(certificate: Option<&CertificateView>) -> String {
    let Some(certificate) = certificate else { return "no HTTPS".to_owned() };
    let Some(until) = certificate.good_until else { return "NONE that is right: nobody is answered over HTTPS; see the log".to_owned() };
    let until = until.to_rfc3339();
    match certificate.days_left {
        Some(0) => format!("good until {until}: RENEW IT NOW"),
        Some(1) => format!("good until {until}, 1 day more"),
        Some(days) => format!("good until {until}, {days} days more"),
        None => format!("good until {until}"),
    }
}

fn sessions_table(sessions: &[OnlineView]) -> String {
    let rows: Vec<Vec<String>> = sessions
        .iter()
        .map(|online| {
            let addresses: Vec<String> = online.addresses.iter().map(ToString::to_string).collect();
            vec![
                online.mac.to_string(),
                if addresses.is_empty() { NONE.to_owned() } else { addresses.join(",") },
                online.session.username.to_string(),
                online.session.package.to_string(),
                or_none(online.session.seconds_remaining, time),
                or_none(online.session.bytes_remaining, data),
                data(online.session.bytes_up),
                data(online.session.bytes_down),
            ]
        })
        .collect();
    table(&["DEVICE", "ADDRESSES", "ACCOUNT", "PACKAGE", "TIME LEFT", "DATA LEFT", "UP", "DOWN"], &rows)
}

fn accounts_table(accounts: &[AccountView]) -> String {
    let rows: Vec<Vec<String>> = accounts
        .iter()
        .map(|account| {
            vec![
                account.username.to_string(),
                or_none(account.phone, |phone| phone.to_string()),
                account.package.to_string(),
                if account.open { "open" } else { "used up" }.to_owned(),
                format!("{}/{}", account.online, account.devices),
                if account.open { or_none(account.seconds_remaining, time) } else { NONE.to_owned() },
                if account.open { or_none(account.bytes_remaining, data) } else { NONE.to_owned() },
                account.queued.to_string(),
                data(account.bytes_up),
                data(account.bytes_down),
            ]
        })
        .collect();
    table(&["ACCOUNT", "PHONE", "PACKAGE", "STATE", "ONLINE", "TIME LEFT", "DATA LEFT", "QUEUED", "UP", "DOWN"], &rows)
}

fn payments_table(payments: &[OperatorPaymentView]) -> String {
    let rows: Vec<Vec<String>> = payments
        .iter()
        .map(|payment| {
            let status = match (payment.status, payment.username.is_some()) {
                (PaymentStatus::Paid, false) => "paid, NOT SERVED".to_owned(),
                (PaymentStatus::Paid, true) => "paid".to_owned(),
                (PaymentStatus::Pending, _) => "pending".to_owned(),
                (PaymentStatus::Expired, _) => "expired".to_owned(),
                (PaymentStatus::Failed, _) => or_none(payment.reason, |reason| format!("failed: {}", plain(reason))),
            };
            vec![
                or_none(payment.created_at, lango_core::time::Wall::to_rfc3339),
                payment.phone.to_string(),
                payment.package.to_string(),
                amount(payment),
                status,
                or_none(payment.receipt.as_ref(), ToString::to_string),
                or_none(payment.username.as_ref(), ToString::to_string),
                or_none(payment.device, |mac| mac.to_string()),
                payment.payment.to_string(),
            ]
        })
        .collect();
    table(&["TIME", "PHONE", "PACKAGE", "AMOUNT", "STATUS", "RECEIPT", "ACCOUNT", "DEVICE", "PAYMENT"], &rows)
}

fn amount(payment: &OperatorPaymentView) -> String {
    match (payment.amount, payment.price) {
        (Some(amount), Some(price)) if amount > price => format!("KSh {amount}, {} too much", amount.minus(price)),
        (amount, price) => or_none(amount.or(price), |amount| format!("KSh {amount}")),
    }
}

/// What is not served, why, and what can be done about it.
fn what_waits(payments: &[OperatorPaymentView]) -> String {
    let waiting = payments.iter().filter_map(|payment| Some((payment.receipt.as_ref()?, payment.unserved?)));
    let lines: String = waiting.map(|(receipt, why)| format!("  {receipt}: {why}\n")).collect();
    if lines.is_empty() {
        return lines;
    }
    format!(
        "\nNot served:\n{lines}Serve each with `lango serve RECEIPT PACKAGE`: it goes to the device that asked, or to another with \
         `--device MAC`.\n"
    )
}

fn told_of_service(served: &ServedView) -> String {
    let ServedView { receipt, username, password, package, device, online } = served;
    let whom = match (device, online) {
        (Some(device), true) => format!("{device} is online"),
        (Some(device), false) => format!("{device} is away, and goes online as soon as it is seen"),
        (None, _) => "it waits on the account".to_owned(),
    };
    // Nobody else tells the customer: the page of this payment is long closed.
    format!(
        "{receipt} is served as {package} on account {username}: {whom}.\nOther devices log in with {username} and {}.\n",
        password.reveal()
    )
}

const fn plain(reason: lango_core::message::Reason) -> &'static str {
    use lango_core::message::Reason;
    match reason {
        Reason::Cancelled => "cancelled",
        Reason::WrongPin => "wrong PIN",
        Reason::InsufficientBalance => "not enough money",
        Reason::NoResponse => "no response",
        Reason::Limit => "M-Pesa limit",
        Reason::Busy => "busy",
        Reason::Other => "other",
    }
}

fn granted(session: &SessionView, device: &str) -> String {
    let left = [session.seconds_remaining.map(time), session.bytes_remaining.map(data)];
    let left: Vec<String> = left.into_iter().flatten().collect();
    format!("{device} is online on account {}, with {} left.\n", session.username, left.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::ledger::Unserved;
    use lango_core::units::Shillings;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".to_owned(), "long cell".to_owned()], vec!["longer".to_owned(), "b".to_owned()]];
        assert_eq!(table(&["ONE", "TWO"], &rows), "ONE     TWO\na       long cell\nlonger  b\n");
    }

    #[test]
    fn flow_offload_is_told_with_what_to_do() {
        let on = |hardware, customers_kept_out| FlowOffload {
            flowtables: vec!["inet fw4 ft".to_owned()],
            devices: ["lan1".to_owned(), "wan".to_owned()].into(),
            hardware,
            customers_kept_out,
        };
        assert_eq!(offload_text(None), "off");
        assert_eq!(offload_text(Some(&on(false, true))), "on for lan1, wan; customers' connections are kept out of it");
        let told = offload_text(Some(&on(true, false)));
        assert!(told.starts_with("on for lan1, wan, in hardware: LIMITS ARE NOT EXACT; switch it off: `uci set firewall."), "{told}");
    }

    #[test]
    fn the_certificate_is_told_with_its_days() {
        let of = |days_left| {
            let good_until = Some(Wall::from_rfc3339("2026-05-30T00:00:00Z").unwrap());
            certificate_text(Some(&CertificateView { good_until, days_left }))
        };
        assert_eq!(certificate_text(None), "no HTTPS");
        assert!(certificate_text(Some(&CertificateView { good_until: None, days_left: None })).starts_with("NONE that is right"));
        for (days, told) in [(Some(13), ", 13 days more"), (Some(1), ", 1 day more"), (Some(0), ": RENEW IT NOW"), (None, "")] {
            assert_eq!(of(days), format!("good until 2026-05-30T00:00:00Z{told}"));
        }
    }

    fn payment(amount: u64, unserved: Option<Unserved>) -> OperatorPaymentView {
        OperatorPaymentView {
            payment: "0123456789bcdfghjkmnpqrstv".parse().unwrap(),
            created_at: None,
            device: None,
            phone: "0712345678".parse().unwrap(),
            package: "hour".parse().unwrap(),
            price: Some(Shillings(10)),
            status: PaymentStatus::Paid,
            reason: None,
            receipt: Some("NLJ7RT61SV".parse().unwrap()),
            amount: Some(Shillings(amount)),
            username: unserved.is_none().then(|| "k7m2p9qr".parse().unwrap()),
            unserved,
            served_at: None,
        }
    }

    #[test]
    fn money_that_waits_is_told_with_why_and_what_to_do() {
        let price = Shillings(10);
        for (amount, unserved, shown) in [
            (10, None, &["KSh 10  paid "][..]),
            (12, None, &["KSh 12, 2 too much  paid "]),
            (
                9,
                Some(Unserved::Underpaid { price }),
                &["KSh 9 ", "NOT SERVED", "NLJ7RT61SV: too little: the package costs KSh 10\n", "lango serve"],
            ),
            (10, Some(Unserved::NoPackage), &["NLJ7RT61SV: the price list has no such package, and none at this price\n"]),
        ] {
            let payments = vec![payment(amount, unserved)];
            let ask = Ask { command: Command::Rules(Request::Payments), subject: String::new() };
            let told = text(&Answer::Payments(payments.clone()), &ask);
            assert!(shown.iter().all(|shown| told.contains(shown)), "{told}");
            assert_eq!(told.contains("Not served:"), unserved.is_some(), "{told}");
            let json: serde_json::Value = serde_json::from_str(&json(&Answer::Payments(payments)).unwrap()).unwrap();
            let why = unserved.map(|_| json[0]["unserved"]["why"].as_str().unwrap());
            assert_eq!(json[0]["unserved"].is_null(), why.is_none(), "{json}");
        }
    }

    #[test]
    fn failures_are_told_by_their_kind() {
        let none = Failures::default();
        for (failures, told) in [
            (none, "none"),
            (Failures { gate: 2, ..none }, "changes of the gate: 2; see the log"),
            (
                Failures { store: 1, unsent: 3, refused: 4, ..none },
                "changes not stored: 1, messages not sent: 3, messages refused: 4; see the log",
            ),
        ] {
            assert_eq!(failures_text(failures), told);
        }
    }

    #[test]
    fn lengths_and_amounts_as_people_say_them() {
        for (seconds, told) in [(59, "59 s"), (61, "1 min 01 s"), (3_600, "1 h 00 min"), (90_000, "1 d 01 h")] {
            assert_eq!(time(Seconds(seconds)), told);
        }
        for (bytes, told) in [(999, "999 B"), (1_500, "1.5 kB"), (500_000_000, "500.0 MB"), (2_000_000_000, "2.0 GB")] {
            assert_eq!(data(Bytes(bytes)), told);
        }
    }
}
