//! Whose money it is that names no prompt: a till's, which has no account number, or what was found by its receipt alone. Pure.
//!
//! Prompts of one amount, asked of one number at about one time, cannot be told apart by their money, and neither can what came
//! for them. So nothing here guesses which is which: it counts. Money that a query told of is served already, under a stand-in
//! receipt, and one of the receipts that fit is its own; what is left over is more money. The other way round, money that was
//! given away as paid by hand is not served once more when a query says of a prompt that it was paid.

use super::{Payment, State};
use crate::ledger::{Deposit, Stage};
use lango_core::time::Wall;
use lango_core::units::{Msisdn, Receipt, RouterName, Shillings};
use ring::digest::{SHA256, digest};

/// A payment by hand may be a prompt's that was sent so long before it, in milliseconds: clocks differ, and people go on by
/// hand where a prompt failed.
const BEFORE: u64 = 15 * 60_000;
/// So far Safaricom's clock may be from ours, in milliseconds.
const SLACK: u64 = 60_000;

/// Whose a deposit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// It is this payment's money.
    Payment(&'a Payment),
    /// It may be that of a prompt which is open: its own result is waited for.
    Perhaps,
    /// It is more money, from somebody whom this router prompted.
    Router(&'a RouterName),
    /// No prompt has to do with it, or prompts of several routers have.
    Nobody,
}

/// What a payment is of which only a query says that it was paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// Nobody else told of its money.
    Alone,
    /// This is its money; it is in the books.
    As(&'a Deposit),
    /// Its money may be what was served elsewhere, or went back: a person must look.
    InDoubt(&'static str),
}

/// SHA-256 of a number's twelve digits, as version 1 of the interface tells payers.
fn hash(phone: Msisdn) -> String {
    digest(&SHA256, phone.digits().as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether that number has this hash.
#[must_use]
pub fn is_hash_of(known: &str, phone: Msisdn) -> bool {
    known == hash(phone)
}

/// Whether that number may have paid it.
#[must_use]
pub fn may_be_of(deposit: &Deposit, phone: Msisdn) -> bool {
    deposit.payer.matches(phone) || deposit.hash.as_ref().is_some_and(|known| is_hash_of(known, phone))
}

/// The prompts that may be looked at for a deposit: those of `[from, to]`.
#[must_use]
pub fn prompted_within(deposit: &Deposit) -> (Wall, Wall) {
    let moment = deposit.completed_at.unwrap_or(deposit.at).0;
    // What was told before the prompt was sent is not its money.
    (Wall(moment.saturating_sub(BEFORE)), Wall(moment.saturating_add(SLACK).min(deposit.at.0)))
}

/// Whether nothing but number, amount and time tell whose a deposit is.
#[must_use]
pub fn names_nothing(deposit: &Deposit) -> bool {
    deposit.account.trim().is_empty()
}

/// A callback's receipt for a payment that had other money: more money of that number, which waits for whose it is.
#[must_use]
pub fn more_money(payment: &Payment, receipt: Receipt, amount: Shillings, completed_at: Option<Wall>, now: Wall) -> Deposit {
    Deposit {
        receipt,
        stage: Stage::Held,
        router: None,
        account: String::new(),
        word: None,
        payer: payment.phone.into(),
        hash: None,
        amount,
        channel: "callback".to_owned(),
        completed_at,
        at: now,
        due: Some(now),
        order: None,
        note: None,
    }
}

/// Whether M-Pesa completed it after a query told of this payment's money: then it is other money.
#[must_use]
pub fn is_later_money(deposit: &Deposit, payment: &Payment) -> bool {
    let told = payment.decided_at.unwrap_or(payment.received_at).0.saturating_add(SLACK);
    payment.state == State::Paid && deposit.completed_at.is_some_and(|at| at.0 > told)
}

fn fits(deposit: &Deposit, payment: &Payment) -> bool {
    let (from, to) = prompted_within(deposit);
    let in_time = payment.prompted_at.is_some_and(|prompted| from <= prompted && prompted <= to);
    let open = match payment.state {
        State::Paid => payment.mpesa_receipt.is_none() && !is_later_money(deposit, payment),
        _ => true,
    };
    in_time && open && payment.amount == deposit.amount && may_be_of(deposit, payment.phone)
}

/// Whose this deposit is, of these payments; those that do not fit are passed over. `patience`: prompts that are open may still
/// be waited for.
#[must_use]
pub fn whose<'a>(deposit: &Deposit, payments: &'a [Payment], patience: bool) -> Whose<'a> {
    let mut mine: Vec<&Payment> = payments.iter().filter(|payment| fits(deposit, payment)).collect();
    mine.sort_by_key(|payment| (payment.prompted_at, payment.key()));
    let open = |payment: &&&Payment| matches!(payment.state, State::Prompting | State::Prompted | State::Confirmed);
    if patience && mine.iter().any(|payment| open(&payment)) {
        return Whose::Perhaps;
    }
    // Served already, and without a receipt: the first of them has it from here on.
    if let Some(served) = mine.iter().find(|payment| payment.state == State::Paid) {
        return Whose::Payment(served);
    }
    let unknown: Vec<&Payment> = mine.iter().copied().filter(|payment| payment.state == State::NeedsReview || open(&payment)).collect();
    match (&*unknown, &*mine) {
        // Of the others Safaricom says that no money moved.
        ([one], _) | ([], [one]) => Whose::Payment(one),
        (_, [first, others @ ..]) if others.iter().all(|other| other.router == first.router) => Whose::Router(&first.router),
        _ => Whose::Nobody,
    }
}

/// What a payment is of which a query says that it was paid, and which has no receipt. `deposits`: what is in the books as paid by
/// hand, and whether it went back to its payer, or was to. Those that cannot be its money are passed over.
#[must_use]
pub fn by_query<'a>(payment: &Payment, deposits: &'a [(Deposit, bool)]) -> Told<'a> {
    let free = |deposit: &Deposit| {
        names_nothing(deposit) && deposit.order.is_none() && matches!(deposit.stage, Stage::Waiting | Stage::Given) && !deposit.is_foreign()
    };
    let mut fitting: Vec<&(Deposit, bool)> = deposits.iter().filter(|(deposit, _)| free(deposit) && fits(deposit, payment)).collect();
    // What nobody has been served for comes first, then by time.
    fitting
        .sort_by_key(|(deposit, _)| (deposit.stage == Stage::Given, deposit.completed_at.unwrap_or(deposit.at), deposit.receipt.clone()));
    let here = |deposit: &Deposit| deposit.stage == Stage::Waiting || deposit.router.as_ref() == Some(&payment.router);
    if let Some((deposit, _)) = fitting.iter().find(|(deposit, reversed)| !reversed && here(deposit)) {
        return Told::As(deposit);
    }
    match fitting.first() {
        None => Told::Alone,
        Some((_, true)) => Told::InDoubt("Safaricom says it is paid, but its money may be a payment by hand that went back to its payer"),
        Some((_, false)) => Told::InDoubt("Safaricom says it is paid, but its money may be a payment by hand that another router has"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const NOON: u64 = Wall::EARLIEST.0 + 720 * MINUTE;

    fn at(minute: u64) -> Wall {
        Wall(NOON + minute * MINUTE)
    }

    /// `router` is kibera-N; prompted at that minute. A stand-in was told of half a minute later.
    fn payment(order: &str, router: u8, minute: u64, state: State) -> Payment {
        let paid = state == State::Paid;
        Payment {
            router: format!("kibera-{router}").parse().unwrap(),
            order: format!("{order:0>13}").parse().unwrap(),
            package: "hour".parse().unwrap(),
            label: "1 hour".to_owned(),
            amount: Shillings(10),
            paid: paid.then_some(Shillings(10)),
            phone: "0712345678".parse().unwrap(),
            device: "02:00:5e:10:00:01".parse().unwrap(),
            asked_at: at(minute),
            received_at: at(minute),
            state,
            prompted_at: Some(at(minute)),
            checkout: Some(format!("ws_{order}")),
            tries: 0,
            due: None,
            code: None,
            receipt: paid.then(|| "QABCDEFGHIJK".parse().unwrap()),
            mpesa_receipt: None,
            decided_at: Some(Wall(at(minute).0 + MINUTE / 2)),
            flag: None,
        }
    }

    fn deposit(minute: u64) -> Deposit {
        Deposit {
            receipt: "RKL51ZDR4F".parse().unwrap(),
            stage: Stage::Held,
            router: None,
            account: String::new(),
            word: None,
            payer: "2547*****678".parse().unwrap(),
            hash: None,
            amount: Shillings(10),
            channel: "c2b".to_owned(),
            completed_at: Some(at(minute)),
            at: at(minute),
            due: None,
            order: None,
            note: None,
        }
    }

    const FAILED: State = State::Failed(lango_core::message::Reason::Cancelled);

    /// What came of it: a payment's order, a router, or a word.
    fn said(whose: Whose<'_>) -> String {
        match whose {
            Whose::Payment(payment) => payment.order.as_str().trim_start_matches('0').to_owned(),
            Whose::Router(router) => router.to_string(),
            Whose::Perhaps => "perhaps".to_owned(),
            Whose::Nobody => "nobody".to_owned(),
        }
    }

    #[test]
    fn whose_a_tills_money_is() {
        use State::{Confirmed, NeedsReview, Paid, Prompted};
        // Money that M-Pesa completed at minute 20; the prompts that its number had: order, router, minute, state.
        type Prompts<'a> = &'a [(&'a str, u8, u64, State)];
        let table: [(&str, Prompts<'_>, &str); 20] = [
            ("no prompt", &[], "nobody"),
            ("one that is open", &[("a", 7, 19, Prompted)], "perhaps"),
            ("one that is served without a receipt", &[("a", 7, 20, Paid)], "a"),
            ("one that failed", &[("a", 7, 19, FAILED)], "a"),
            ("one of which nobody knows", &[("a", 7, 19, NeedsReview)], "a"),
            ("one too long ago", &[("a", 7, 4, FAILED)], "nobody"),
            ("one prompted after it", &[("a", 7, 22, Prompted)], "nobody"),
            ("served, but known to be paid minutes before this money moved", &[("a", 7, 16, Paid)], "nobody"),
            ("cancelled once, then paid", &[("a", 7, 18, FAILED), ("b", 7, 20, Paid)], "b"),
            ("paid, then tried again", &[("a", 7, 19, Paid), ("b", 7, 20, FAILED)], "a"),
            ("paid, and one is open", &[("a", 7, 19, Paid), ("b", 7, 20, Prompted)], "perhaps"),
            ("paid, and one is about to be", &[("a", 7, 19, Paid), ("b", 8, 20, Confirmed)], "perhaps"),
            ("paid twice: the first first, however they are listed", &[("b", 7, 20, Paid), ("a", 7, 19, Paid)], "a"),
            ("paid twice, at two routers", &[("a", 8, 19, Paid), ("b", 7, 20, Paid)], "a"),
            ("nobody knows of one, the other failed", &[("a", 7, 18, FAILED), ("b", 7, 19, NeedsReview)], "b"),
            ("paid, and nobody knows of the other", &[("a", 7, 18, NeedsReview), ("b", 7, 20, Paid)], "b"),
            ("nobody knows of either", &[("a", 7, 18, NeedsReview), ("b", 7, 19, NeedsReview)], "kibera-7"),
            ("both failed", &[("a", 7, 18, FAILED), ("b", 7, 19, FAILED)], "kibera-7"),
            ("both failed, at two routers", &[("a", 7, 18, FAILED), ("b", 8, 19, FAILED)], "nobody"),
            ("nobody knows of either, at two routers", &[("a", 7, 18, NeedsReview), ("b", 8, 19, NeedsReview)], "nobody"),
        ];
        for (what, prompts, expected) in table {
            let payments: Vec<_> = prompts.iter().map(|(order, router, minute, state)| payment(order, *router, *minute, *state)).collect();
            assert_eq!(said(whose(&deposit(20), &payments, true)), expected, "{what}");
        }
    }

    #[test]
    fn what_does_not_fit_is_passed_over() {
        let served = payment("a", 7, 20, State::Paid);
        let fits = |deposit: &Deposit, payment: &Payment| said(whose(deposit, std::slice::from_ref(payment), true)) == "a";
        assert!(fits(&deposit(20), &served));
        assert!(!fits(&Deposit { amount: Shillings(20), ..deposit(20) }, &served));
        assert!(!fits(&Deposit { payer: "2547*****679".parse().unwrap(), ..deposit(20) }, &served));
        assert!(!fits(&Deposit { payer: lango_core::payer::Payer::UNKNOWN, ..deposit(20) }, &served), "nothing is known of who paid");
        assert!(
            !fits(&deposit(20), &Payment { mpesa_receipt: Some("NLJ7RT61SV".parse().unwrap()), ..served.clone() }),
            "it has its receipt"
        );
        assert!(!fits(&deposit(20), &Payment { prompted_at: None, ..served.clone() }));
        // Told before the prompt went out, whatever Safaricom's clock says.
        assert!(!fits(&Deposit { at: at(19), ..deposit(20) }, &served));
        // Where Safaricom said no time, ours counts, and word may come late.
        assert!(fits(&Deposit { completed_at: None, at: at(30), ..deposit(20) }, &served));
        let hashed = Some("7132104d6aae9c3fac82095a42c2817952bca48e09d98d5bf4ac08218982fb90".to_owned());
        assert!(fits(&Deposit { payer: lango_core::payer::Payer::UNKNOWN, hash: hashed, ..deposit(20) }, &served));
    }

    #[test]
    fn money_after_a_query_told_of_the_payment_is_other_money() {
        let served = payment("a", 7, 20, State::Paid);
        let told = served.decided_at.unwrap_or(served.received_at);
        let completed = |at: Option<Wall>| Deposit { completed_at: at, account: "A00000000000".to_owned(), ..deposit(35) };
        for (at, later) in [
            (None, false), // nobody knows when
            (Some(told), false),
            (Some(Wall(told.0 + SLACK)), false),
            (Some(Wall(told.0 + SLACK + 1)), true),
            (Some(at(55)), true),
        ] {
            assert_eq!(is_later_money(&completed(at), &served), later, "{at:?}");
        }
        // One that was never settled may still be paid by its reference, however late.
        let open = Payment { state: State::Prompted, ..served };
        assert!(!is_later_money(&completed(Some(at(55))), &open));
    }

    #[test]
    fn who_has_waited_long_enough_for_a_prompt_is_somebodys() {
        for (prompts, expected) in [
            (vec![payment("a", 7, 19, State::Prompted)], "a"),
            (vec![payment("a", 7, 19, State::Prompted), payment("b", 7, 20, State::Paid)], "b"),
            (vec![payment("a", 7, 18, State::Prompted), payment("b", 7, 19, State::Prompting)], "kibera-7"),
        ] {
            assert_eq!(said(whose(&deposit(20), &prompts, false)), expected);
        }
    }

    /// Two prompts that were paid and two confirmations, in whatever order: each is somebody's, and the third is more money.
    #[test]
    fn counts_that_match_settle_by_themselves() {
        let mut payments = vec![payment("a", 7, 19, State::Paid), payment("b", 8, 20, State::Paid), payment("c", 7, 18, FAILED)];
        let mut found = Vec::new();
        for receipt in ["RKL51ZDR4F", "RKL51ZDR4G", "RKL51ZDR4H", "RKL51ZDR4I"] {
            let money = Deposit { receipt: receipt.parse().unwrap(), ..deposit(20) };
            let whose = whose(&money, &payments, true);
            found.push(said(whose));
            if let Whose::Payment(Payment { order, .. }) = whose {
                let order = order.clone();
                let settled = payments.iter_mut().find(|payment| payment.order == order).unwrap();
                (settled.state, settled.mpesa_receipt) = (State::Paid, Some(money.receipt));
            }
        }
        assert_eq!(found, ["a", "b", "c", "nobody"]);
    }

    #[test]
    fn what_a_payment_is_that_only_a_query_tells_of() {
        let asked = payment("a", 7, 19, State::NeedsReview);
        let router = |number: u8| Some(format!("kibera-{number}").parse::<RouterName>().unwrap());
        let given = |receipt: &str, number: u8| Deposit {
            stage: Stage::Given,
            router: router(number),
            receipt: receipt.parse().unwrap(),
            ..deposit(20)
        };
        let waits = |receipt: &str| Deposit { stage: Stage::Waiting, receipt: receipt.parse().unwrap(), ..deposit(20) };
        let (one, two) = ("RKL51ZDR4F", "RKL51ZDR4G");
        let foreign = Deposit { note: Some(Deposit::foreign_note("600638")), ..waits(one) };
        for (what, deposits, expected) in [
            ("nothing came by hand", vec![], "alone"),
            ("this router served it as paid by hand", vec![(given(one, 7), false)], one),
            ("another router did", vec![(given(one, 8), false)], "another router"),
            ("it waits", vec![(waits(one), false)], one),
            ("one waits and one is served: who waits is served", vec![(given(one, 7), false), (waits(two), false)], two),
            ("one is another router's", vec![(given(one, 8), false), (given(two, 7), false)], two),
            ("it is another prompt's", vec![(Deposit { order: Some(asked.order.clone()), ..given(one, 7) }, false)], "alone"),
            ("it is held: it is looked at again, and finds this payment", vec![(deposit(20), false)], "alone"),
            ("it has an account number", vec![(Deposit { account: "x".to_owned(), ..given(one, 7) }, false)], "alone"),
            ("it is other people's", vec![(Deposit { payer: "2547*****679".parse().unwrap(), ..given(one, 7) }, false)], "alone"),
            ("it came long after", vec![(Deposit { completed_at: Some(at(40)), at: at(40), ..given(one, 7) }, false)], "alone"),
            (
                "it was told of before the prompt",
                vec![(Deposit { completed_at: Some(at(18)), at: at(18), ..given(one, 7) }, false)],
                "alone",
            ),
            ("it went back", vec![(given(one, 7), true)], "went back"),
            ("one went back, one is here", vec![(waits(one), true), (given(two, 7), false)], two),
            ("it was paid to somebody else", vec![(foreign, false)], "alone"),
        ] {
            let found = match by_query(&asked, &deposits) {
                Told::Alone => "alone".to_owned(),
                Told::As(deposit) => deposit.receipt.to_string(),
                Told::InDoubt(why) => why.to_owned(),
            };
            assert!(found.contains(expected), "{what}: {found}");
        }
    }

    #[test]
    fn a_hashed_number_is_that_of_its_twelve_digits() {
        // printf 254712345678 | sha256sum
        assert!(is_hash_of("7132104d6aae9c3fac82095a42c2817952bca48e09d98d5bf4ac08218982fb90", "0712345678".parse().unwrap()));
    }
}
