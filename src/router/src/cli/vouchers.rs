//! `lango vouchers create`: makes the codes, has the daemon keep their hashes, and only then prints them. The codes are nowhere
//! else, and never were: the daemon never sees them.

use super::{Outcome, control, exit, told, unanswered};
use crate::clock;
use crate::control::client;
use crate::control::wire::Command;
use lango_core::request::{Answer, BatchView, Request};
use lango_core::time::Wall;
use lango_core::units::{PackageId, RouterName};
use lango_core::voucher::{BatchId, NewVouchers, VoucherCode, slips};
use serde_json::json;
use std::path::Path;

/// Which vouchers are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What each is good for.
    pub package: PackageId,
    /// How many.
    pub count: u16,
    /// For how many days they can be redeemed.
    pub days: u16,
}

const ANOTHER: &str = "lango answered something else: is the running program another version than this one?";

/// Makes vouchers and prints them. `config` is the configuration's file, where one was named.
#[must_use]
pub fn make(config: Option<&Path>, wanted: &Wanted, as_json: bool) -> Outcome {
    let status = Command::Rules(Request::Status);
    let socket = match control(config, &status) {
        Ok(socket) => socket,
        Err(outcome) => return outcome,
    };
    // The router's name as it runs: the file may have another one by now, or mistakes.
    let router: RouterName = match client::ask(&socket, &status).map(|answer| match answer {
        Answer::Status(status) => status.name.parse().ok(),
        _ => None,
    }) {
        Ok(Some(name)) => name,
        Ok(None) => return Outcome::failed(exit::SOFTWARE, ANOTHER),
        Err(error) => return unanswered(&error, config),
    };
    let drawn = (0..wanted.count).map(|_| clock::entropy().ok().as_ref().and_then(VoucherCode::from_entropy));
    let (Some(codes), Ok(entropy)) = (drawn.collect::<Option<Vec<_>>>(), clock::entropy()) else {
        return Outcome::failed(exit::UNAVAILABLE, "the system gives no random numbers");
    };
    let new = NewVouchers {
        batch: BatchId::from_entropy(&entropy),
        package: wanted.package.clone(),
        salt: router.clone(),
        // A router whose clock is not set yet cannot say when; such vouchers stay good.
        expires: clock::now().wall.map(|now| Wall(now.0.saturating_add(u64::from(wanted.days) * 86_400_000))),
        first: 1,
        hashes: codes.iter().map(|code| code.hash(&router)).collect(),
    };
    match client::ask(&socket, &Command::Rules(Request::AddVouchers(new))) {
        Ok(Answer::VouchersAdded(batch)) => {
            let out = if as_json { in_json(&batch, &codes) } else { on_paper(&batch, &codes, router.as_str()) };
            Outcome { out, ..Outcome::default() }
        }
        Ok(Answer::Refused(refusal)) => Outcome::failed(exit::DATA, told(refusal, "")),
        Ok(_) => Outcome::failed(exit::SOFTWARE, ANOTHER),
        Err(error) => unanswered(&error, config),
    }
}

fn in_json(batch: &BatchView, codes: &[VoucherCode]) -> String {
    let vouchers: Vec<_> = (batch.first..).zip(codes).map(|(number, code)| json!({"number": number, "code": code.reveal()})).collect();
    let all = json!({
        "batch": batch.batch,
        "package": batch.package.id,
        "price": batch.package.price,
        "expires_at": batch.expires_at.map(Wall::to_rfc3339),
        "vouchers": vouchers,
    });
    super::indent::indented(&all.to_string()) + "\n"
}

fn on_paper(batch: &BatchView, codes: &[VoucherCode], router: &str) -> String {
    let title = format!("Wi-Fi {router}: {}, KSh {}", batch.package.label, batch.package.price);
    slips(&title, batch.batch, batch.first, batch.expires_at, codes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::package::{Limits, Package};
    use lango_core::units::{Millis, Shillings};

    fn batch() -> (BatchView, [VoucherCode; 2]) {
        let limits = Limits { time: Some(Millis::from_minutes(60)), data: None, down: None, up: None, devices: 1 };
        let package = Package { id: "hour".parse().unwrap(), label: "1 hour".to_owned(), price: Shillings(10), limits };
        let batch = BatchView { batch: "k7m2p9".parse().unwrap(), package, expires_at: Some(Wall(1_826_876_999_000)), first: 1, count: 2 };
        (batch, ["ABCD-EFGH-JKMN".parse().unwrap(), "2345-6789-XYZW".parse().unwrap()])
    }

    #[test]
    fn slips_and_json() {
        let (batch, codes) = batch();
        let paper = on_paper(&batch, &codes, "kibera-7");
        assert!(
            paper.contains("\n  Wi-Fi kibera-7: 1 hour, KSh 10\n\n      2345-6789-XYZW\n\n  No. k7m2p9/2, good until 2027-11-22\n"),
            "{paper}"
        );
        let written: serde_json::Value = serde_json::from_str(&in_json(&batch, &codes)).unwrap();
        assert_eq!(
            written,
            json!({
                "batch": "k7m2p9", "package": "hour", "price": 10, "expires_at": "2027-11-22T09:49:59Z",
                "vouchers": [{"number": 1, "code": "ABCD-EFGH-JKMN"}, {"number": 2, "code": "2345-6789-XYZW"}],
            })
        );
    }

    #[test]
    fn the_largest_batch_fits_into_a_question() {
        let hashes = vec!["00112233445566778899aabbccddeeff".parse().unwrap(); usize::from(lango_core::voucher::MOST_AT_ONCE)];
        let new = NewVouchers {
            batch: "k7m2p9".parse().unwrap(),
            package: "p".repeat(32).parse().unwrap(),
            salt: "n".repeat(63).parse().unwrap(),
            expires: Some(Wall(u64::MAX)),
            first: 1,
            hashes,
        };
        let line = crate::control::wire::to_line(&Command::Rules(Request::AddVouchers(new.clone()))).unwrap();
        assert!(line.len() < crate::control::wire::MAX_LINE, "{}", line.len());
        assert_eq!(Command::from_line(&line).unwrap(), Command::Rules(Request::AddVouchers(new)));
    }
}
