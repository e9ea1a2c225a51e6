//! The payment's rules as tables: given a state, when an event, then exactly this state and these actions.

use super::*;

const NOW: Wall = Wall(Wall::EARLIEST.0 + 1_000_000);
const CHECKOUT: &str = "ws_CO_191220191020363925";
const RECEIPT: &str = "NLJ7RT61SV";

fn payment(state: State) -> Payment {
    let prompted = state != State::Requested;
    let checkout = !matches!(state, State::Requested | State::Prompting);
    let paid = state == State::Paid;
    Payment {
        router: "kibera-7".parse().unwrap(),
        order: "0kq3v9x1c7mzp2w8tdl5hb6ny4".parse().unwrap(),
        package: "hour".parse().unwrap(),
        label: "1 hour".to_owned(),
        amount: Shillings(10),
        paid: paid.then_some(Shillings(10)),
        phone: "0712345678".parse().unwrap(),
        device: "02:00:5e:10:00:01".parse().unwrap(),
        asked_at: NOW,
        received_at: NOW,
        state,
        prompted_at: prompted.then_some(NOW),
        checkout: checkout.then(|| CHECKOUT.to_owned()),
        tries: 0,
        due: Some(NOW),
        code: None,
        receipt: paid.then(receipt),
        mpesa_receipt: paid.then(receipt),
        decided_at: None,
        flag: None,
    }
}

fn receipt() -> Receipt {
    RECEIPT.parse().unwrap()
}

fn after(milliseconds: u64) -> Wall {
    Wall(NOW.0 + milliseconds)
}

fn success() -> Callback {
    Callback {
        deposited: false,
        checkout: CHECKOUT.to_owned(),
        code: "0".to_owned(),
        amount: Some(Shillings(10)),
        receipt: Some(receipt()),
        completed_at: None,
        receipt_taken: false,
        request_taken: false,
        foreign_shortcode: false,
    }
}

fn failure(code: &str) -> Callback {
    Callback { code: code.to_owned(), amount: None, receipt: None, ..success() }
}

fn query(code: &str, missed: bool) -> Event {
    Event::Query { code: Some(code.to_owned()), missed }
}

fn told(reason: Reason) -> Vec<Action> {
    vec![Action::Tell(Outcome::Failed { reason })]
}

fn paid(receipt: Receipt) -> Vec<Action> {
    vec![Action::Book(receipt.clone()), Action::Tell(Outcome::Paid { receipt, amount: Shillings(10) })]
}

fn stand_in() -> Receipt {
    schedule::stand_in_receipt(CHECKOUT).unwrap()
}

const ALL: [State; 7] = [
    State::Requested,
    State::Prompting,
    State::Prompted,
    State::Confirmed,
    State::Paid,
    State::Failed(Reason::NoResponse),
    State::NeedsReview,
];

#[test]
fn the_way_of_every_day() {
    let step = payment(State::Requested).on(&Event::Due, NOW);
    assert_eq!((step.payment.state, &*step.actions), (State::Prompting, &[Action::Push][..]));
    assert_eq!(step.payment.prompted_at, Some(NOW));
    let step = step.payment.on(&Event::Push(PushAnswer::Accepted(CHECKOUT.to_owned())), after(300));
    assert_eq!((step.payment.state, &*step.actions), (State::Prompted, &[][..]));
    assert_eq!((step.payment.checkout.as_deref(), step.payment.due), (Some(CHECKOUT), Some(after(20_300))));
    let step = step.payment.on(&Event::Callback(success()), after(9_000));
    assert_eq!((step.payment.state, step.actions), (State::Paid, paid(receipt())));
    assert_eq!((step.payment.due, step.payment.decided_at), (None, Some(after(9_000))));
    let again = step.payment.on(&Event::Callback(success()), after(9_500));
    assert_eq!((again.verdict, &again.payment, &*again.actions), (Verdict::Known, &step.payment, &[][..]));
}

#[test]
fn what_a_push_comes_to() {
    let busy = |code: &str| PushAnswer::Busy(code.to_owned());
    for (answer, state, actions, due) in [
        (busy("500.003.02"), State::Requested, vec![], Some(after(1_000))),
        (PushAnswer::Unsent("connection refused".to_owned()), State::Requested, vec![], Some(after(1_000))),
        (PushAnswer::Refused(Reason::Busy, "500.001.1001".to_owned()), State::Failed(Reason::Busy), told(Reason::Busy), None),
        (PushAnswer::Refused(Reason::Other, "400.002.02".to_owned()), State::Failed(Reason::Other), told(Reason::Other), None),
        (PushAnswer::InDoubt("timeout".to_owned()), State::Prompting, vec![], Some(NOW)),
    ] {
        let step = payment(State::Prompting).on(&Event::Push(answer.clone()), NOW);
        assert_eq!((step.payment.state, step.actions, step.payment.due), (state, actions, due), "{answer:?}");
        assert!(step.payment.code.is_some(), "{answer:?}");
    }
}

#[test]
fn a_busy_daraja_is_asked_again_only_while_the_customer_waits() {
    let mut payment = payment(State::Requested);
    let (mut now, mut pushes) = (NOW, 0);
    while payment.state == State::Requested {
        let step = payment.on(&Event::Due, now);
        pushes += step.actions.iter().filter(|action| **action == Action::Push).count();
        payment = step.payment.on(&Event::Push(PushAnswer::Busy("500.003.03".to_owned())), now).payment;
        now = payment.due.unwrap_or(now);
    }
    assert_eq!((payment.state, payment.code.as_deref()), (State::Failed(Reason::Busy), Some("500.003.03")));
    assert_eq!(pushes, 7); // at 0, 1, 3, 7, 15, 31 and 63 s; 95 s would be too late
}

#[test]
fn nobody_is_prompted_late() {
    let late = payment(State::Requested).on(&Event::Due, after(REQUEST_FRESH_FOR + 1));
    assert_eq!((late.payment.state, late.actions), (State::Failed(Reason::Busy), told(Reason::Busy)));
}

#[test]
fn a_prompt_in_doubt_is_never_sent_again() {
    for milliseconds in [0, 1_000, 60_000, 899_999] {
        let step = payment(State::Prompting).on(&Event::Due, after(milliseconds));
        assert_eq!((step.payment.state, &*step.actions, step.payment.due), (State::Prompting, &[][..], Some(after(900_000))));
    }
    let step = payment(State::Prompting).on(&Event::Due, after(900_000));
    assert_eq!((step.payment.state, step.actions), (State::NeedsReview, told(Reason::Other)));
    assert!(step.payment.flag.is_some() && step.payment.due.is_none());
    // No event at all brings a push back, from any state in which a prompt may be out.
    for state in ALL.into_iter().filter(|state| *state != State::Requested) {
        for event in [
            Event::Due,
            Event::Retry,
            Event::Unreadable,
            Event::Callback(success()),
            Event::Callback(failure("424242")),
            query("4999", false),
            Event::Push(PushAnswer::InDoubt(String::new())),
        ] {
            let step = payment(state).on(&event, after(5_000_000));
            assert!(!step.actions.contains(&Action::Push), "{state:?} {event:?}");
            assert!(step.payment.state != State::Requested, "{state:?} {event:?}");
        }
    }
}

#[test]
fn a_success_counts_in_every_state_once() {
    for state in ALL {
        let step = payment(state).on(&Event::Callback(success()), after(5_000));
        match state {
            State::Requested => assert_eq!((step.verdict, step.payment.state), (Verdict::Mismatch("nobody was prompted yet"), state)),
            State::Paid => assert_eq!((step.verdict, &*step.actions), (Verdict::Known, &[][..])),
            _ => assert_eq!((step.payment.state, step.actions), (State::Paid, paid(receipt())), "{state:?}"),
        }
    }
    // Refused as busy, says the push; paid, says the callback of that same push: money is money.
    let refused = Payment { prompted_at: Some(NOW), ..payment(State::Requested) };
    assert_eq!(refused.on(&Event::Callback(success()), NOW).actions, paid(receipt()));
}

#[test]
fn a_callback_before_the_pushs_own_answer() {
    let early = payment(State::Prompting).on(&Event::Callback(success()), NOW);
    assert_eq!((early.payment.state, early.payment.checkout.as_deref()), (State::Paid, Some(CHECKOUT)));
    let answer = early.payment.on(&Event::Push(PushAnswer::Accepted(CHECKOUT.to_owned())), NOW);
    assert_eq!((answer.payment, answer.actions), (early.payment.clone(), vec![]));
    let other = early.payment.on(&Event::Push(PushAnswer::Accepted("ws_CO_2".to_owned())), NOW);
    assert_eq!((other.payment.state, other.payment.flag.is_some()), (State::Paid, true));
    for lost in [PushAnswer::InDoubt(String::new()), PushAnswer::Busy(String::new()), PushAnswer::Refused(Reason::Other, String::new())] {
        assert_eq!(early.payment.on(&Event::Push(lost), NOW).payment, early.payment);
    }
}

#[test]
fn a_failure_by_callback_or_query() {
    for (code, reason) in
        [("1032", Reason::Cancelled), ("2001", Reason::WrongPin), ("1", Reason::InsufficientBalance), ("1037", Reason::NoResponse)]
    {
        for event in [Event::Callback(failure(code)), query(code, false), query(code, true)] {
            let step = payment(State::Prompted).on(&event, NOW);
            assert_eq!((step.payment.state, step.actions), (State::Failed(reason), told(reason)), "{event:?}");
            assert_eq!((step.payment.code.as_deref(), step.payment.due), (Some(code), None));
        }
    }
    let early = payment(State::Prompting).on(&Event::Callback(failure("1032")), NOW);
    assert_eq!(early.actions, told(Reason::Cancelled));
}

#[test]
fn success_is_final() {
    for state in [State::Paid, State::Confirmed] {
        for event in [Event::Callback(failure("1032")), query("1032", false), query("424242", true), Event::Callback(failure("424242"))] {
            let step = payment(state).on(&event, after(5_000_000));
            assert_eq!((step.payment.state, &*step.actions), (state, &[][..]), "{state:?} {event:?}");
        }
    }
}

/// Before the push's own answer nobody knows the payment's request id; that of another payment it is not.
#[test]
fn a_request_that_is_another_payments_is_not_taken_before_the_pushs_answer() {
    let claimed = Callback { request_taken: true, ..success() };
    let early = payment(State::Prompting).on(&Event::Callback(claimed.clone()), NOW);
    assert_eq!((early.payment.state, early.verdict), (State::Prompting, Verdict::Mismatch("the request id is another payment's")));
    // Where the push's own answer has told the id, nobody else's claim counts.
    assert_eq!(payment(State::Prompted).on(&Event::Callback(claimed), NOW).payment.state, State::Paid);
}

/// Two relays see the same payment due: the second finds what the first has made of it.
#[test]
fn what_is_due_is_done_once() {
    for state in [State::Requested, State::Prompting, State::Prompted, State::Confirmed, State::NeedsReview] {
        let first = payment(state).on(&Event::Due, NOW);
        let second = first.payment.on(&Event::Due, NOW);
        assert_eq!((&second.payment, &*second.actions), (&first.payment, &[][..]), "{state:?}");
    }
}

#[test]
fn what_does_not_match_is_flagged_and_not_believed() {
    let cases = [
        (Callback { checkout: "ws_CO_2".to_owned(), ..success() }, "the request id is another payment's", " (receipt NLJ7RT61SV, KSh 10)"),
        (Callback { checkout: "ws_CO_2".to_owned(), ..failure("1032") }, "the request id is another payment's", ""),
        (Callback { amount: Some(Shillings(0)), ..success() }, "it names no amount in whole shillings", " (receipt NLJ7RT61SV, KSh 0)"),
        (Callback { amount: None, ..success() }, "it names no amount in whole shillings", " (receipt NLJ7RT61SV)"),
        (Callback { receipt: None, ..success() }, "it has no receipt", " (KSh 10)"),
        (Callback { receipt_taken: true, ..success() }, "the receipt is another payment's", " (receipt NLJ7RT61SV, KSh 10)"),
        (Callback { foreign_shortcode: true, ..success() }, "the shortcode is not ours", " (receipt NLJ7RT61SV, KSh 10)"),
    ];
    for (callback, what, money) in cases {
        let step = payment(State::Prompted).on(&Event::Callback(callback), NOW);
        assert_eq!((step.verdict, step.payment.state, &*step.actions), (Verdict::Mismatch(what), State::Prompted, &[][..]));
        assert_eq!((step.payment.flag, step.payment.due), (Some(format!("{what}{money}")), Some(NOW)));
    }
    let step = payment(State::Prompted).on(&Event::Unreadable, NOW);
    assert_eq!((step.payment.state, step.payment.flag.is_some()), (State::Prompted, true));
    let second = Callback { receipt: "NLJ7RT61SW".parse().ok(), ..success() };
    let step = payment(State::Paid).on(&Event::Callback(second), NOW);
    assert_eq!((step.payment.receipt, step.actions), (Some(receipt()), vec![]));
    assert_eq!(step.payment.flag.as_deref(), Some("a second receipt for a payment that is paid (receipt NLJ7RT61SW, KSh 10)"));
}

/// What arrived is booked and told as it is, whatever was asked for: what it is worth is the router's to say, as of money by hand.
#[test]
fn another_amount_than_was_asked_for_is_money_too() {
    let with = |amount: u64| Event::Callback(Callback { amount: Some(Shillings(amount)), ..success() });
    for (amount, said) in [
        (5, Some("KSh 5 came, and KSh 10 were asked for: what is too little waits on the router (`lango payments`, `lango serve`)")),
        (10, None),
        (25, Some("KSh 25 came, and KSh 10 were asked for: served as asked, KSh 15 are too much")),
    ] {
        for state in ALL.into_iter().filter(|state| !matches!(state, State::Requested | State::Paid)) {
            let step = payment(state).on(&with(amount), NOW);
            let told = Outcome::Paid { receipt: receipt(), amount: Shillings(amount) };
            assert_eq!((step.verdict, &*step.actions), (Verdict::Taken, &[Action::Book(receipt()), Action::Tell(told)][..]), "{state:?}");
            let Payment { state, amount: asked, paid, flag, .. } = step.payment;
            assert_eq!((state, asked, paid, flag.as_deref()), (State::Paid, Shillings(10), Some(Shillings(amount)), said));
        }
    }
    // Twice the same is nothing new; another sum under the same receipt is looked at, and serves nobody.
    let paid = payment(State::Prompted).on(&with(25), NOW).payment;
    assert_eq!((paid.on(&with(25), NOW).verdict, paid.arrived()), (Verdict::Known, Shillings(25)));
    let step = paid.on(&with(26), NOW);
    assert_eq!((step.payment.paid, &*step.actions), (Some(Shillings(25)), &[][..]));
    assert_eq!(step.payment.flag.as_deref(), Some("its receipt came with another amount before (receipt NLJ7RT61SV, KSh 26)"));
    // A query was quicker, and had no amount: its router has served what was asked for.
    let nameless = Payment { receipt: Some(stand_in()), mpesa_receipt: None, ..payment(State::Paid) };
    let step = nameless.on(&with(5), NOW);
    assert_eq!(step.actions, [Action::NameReceipt(receipt())]);
    assert_eq!((step.payment.receipt, step.payment.paid), (Some(stand_in()), Some(Shillings(5))));
    assert!(step.payment.flag.unwrap().starts_with("KSh 5 came, and KSh 10 were served"));
}

#[test]
fn an_unknown_code_is_neither_success_nor_failure() {
    let step = payment(State::Prompted).on(&Event::Callback(failure("424242")), NOW);
    assert_eq!((step.verdict, step.payment.state, step.payment.code.as_deref()), (Verdict::Undecided, State::Prompted, Some("424242")));
    // With no request id known so far, the callback's own lets it be asked for.
    let step = payment(State::Prompting).on(&Event::Callback(failure("424242")), NOW);
    assert_eq!((step.payment.state, step.payment.checkout.as_deref()), (State::Prompted, Some(CHECKOUT)));
    for (moment, state, actions) in [(899_999, State::Prompted, vec![]), (900_000, State::NeedsReview, told(Reason::Other))] {
        for event in [query("424242", false), query("4999", false), Event::Query { code: None, missed: true }] {
            let step = payment(State::Prompted).on(&event, after(moment));
            assert_eq!((step.payment.state, step.actions), (state, actions.clone()), "{event:?}");
        }
    }
}

#[test]
fn a_payment_without_a_callback_is_asked_for() {
    let step = payment(State::Prompted).on(&Event::Due, after(20_000));
    assert_eq!((step.actions, step.payment.tries, step.payment.due), (vec![Action::Query(CHECKOUT.to_owned())], 1, Some(after(35_000))));
    // Long after the window, as after a long outage, it is still asked before it is given up.
    let step = payment(State::Prompted).on(&Event::Due, after(4_000_000));
    assert_eq!((step.payment.state, step.actions), (State::Prompted, vec![Action::Query(CHECKOUT.to_owned())]));
}

#[test]
fn a_query_that_says_paid_gives_the_receipt_a_moment() {
    let step = payment(State::Prompted).on(&query("0", false), NOW);
    assert_eq!((step.payment.state, &*step.actions, step.payment.due), (State::Confirmed, &[][..], Some(after(3_000))));
    let with_receipt = step.payment.on(&Event::Callback(success()), after(100));
    assert_eq!(with_receipt.actions, paid(receipt()));
    let without = step.payment.on(&Event::Due, after(3_000));
    assert_eq!((without.payment.state, without.actions), (State::Paid, paid(stand_in())));
    // The receipt that comes later is noted, and the router is not told twice.
    let late = without.payment.on(&Event::Callback(success()), after(9_000));
    assert_eq!((late.payment.receipt, late.payment.mpesa_receipt), (Some(stand_in()), Some(receipt())));
    assert_eq!(late.actions, vec![Action::NameReceipt(receipt())]);
    // Where callbacks were missed, none is waited for.
    assert_eq!(payment(State::Prompted).on(&query("0", true), NOW).actions, paid(stand_in()));
}

#[test]
fn a_payment_under_review_is_still_found() {
    let step = payment(State::NeedsReview).on(&Event::Due, after(1_000_000));
    assert_eq!(step.actions, vec![Action::Query(CHECKOUT.to_owned())]);
    assert_eq!(payment(State::NeedsReview).on(&query("0", false), NOW).actions, paid(stand_in()));
    let failed = payment(State::NeedsReview).on(&query("1032", false), NOW);
    assert_eq!((failed.payment.state, &*failed.actions), (State::Failed(Reason::Cancelled), &[][..]));
}

#[test]
fn a_retry_asks_wherever_there_is_something_to_ask() {
    for (state, due) in [
        (State::Requested, NOW),
        (State::Prompting, NOW),
        (State::Prompted, after(7)),
        (State::NeedsReview, after(7)),
        (State::Failed(Reason::NoResponse), after(7)),
        (State::Paid, NOW),
    ] {
        let step = payment(state).on(&Event::Retry, after(7));
        assert_eq!((step.payment.due, &*step.actions, step.payment.state), (Some(due), &[][..], state), "{state:?}");
    }
    let step = payment(State::Failed(Reason::NoResponse)).on(&Event::Due, after(7));
    assert_eq!((step.actions, step.payment.due), (vec![Action::Query(CHECKOUT.to_owned())], None));
    assert_eq!(payment(State::Failed(Reason::NoResponse)).on(&query("0", false), NOW).actions, paid(stand_in()));
}

#[test]
fn whatever_is_due_is_moved_on() {
    for state in ALL {
        for milliseconds in [0, 95_000, 2_000_000, 200_000_000] {
            let now = after(milliseconds);
            let payment = Payment { due: Some(now), ..payment(state) };
            let step = payment.on(&Event::Due, now);
            assert!(step.payment.due.is_none_or(|due| due > now), "{state:?} at {milliseconds} would spin");
        }
    }
}

fn confirmation() -> Confirmation {
    Confirmation { receipt: receipt(), amount: Shillings(10), completed_at: None, receipt_taken: false }
}

#[test]
fn a_prompts_money_that_is_told_as_a_payment_by_hand() {
    for state in ALL {
        let step = payment(state).on(&Event::Confirmation(confirmation()), NOW);
        match state {
            // Nobody was prompted: it cannot be that prompt's. Or it is paid already, by other money.
            State::Requested | State::Paid => {
                assert_eq!((step.verdict, step.payment, &*step.actions), (Verdict::Known, payment(state), &[][..]))
            }
            _ => {
                assert_eq!((step.payment.state, step.actions), (State::Paid, paid(receipt())), "{state:?}");
                assert_eq!(step.payment.mpesa_receipt, Some(receipt()));
            }
        }
    }
    // A stand-in gets its name, and the router keeps what it knows.
    let nameless = Payment { receipt: Some(stand_in()), mpesa_receipt: None, ..payment(State::Paid) };
    let step = nameless.on(&Event::Confirmation(confirmation()), NOW);
    assert_eq!((step.payment.receipt, step.payment.mpesa_receipt), (Some(stand_in()), Some(receipt())));
    assert_eq!(step.actions, [Action::NameReceipt(receipt())]);
    for wrong in [Confirmation { amount: Shillings(11), ..confirmation() }, Confirmation { receipt_taken: true, ..confirmation() }] {
        let step = payment(State::Prompted).on(&Event::Confirmation(wrong), NOW);
        assert_eq!((step.verdict, step.payment, &*step.actions), (Verdict::Known, payment(State::Prompted), &[][..]));
    }
}

#[test]
fn a_callback_of_money_that_is_in_the_books_as_paid_by_hand_books_nothing() {
    let deposited = || Event::Callback(Callback { deposited: true, ..success() });
    for state in ALL {
        let step = payment(state).on(&deposited(), NOW);
        match state {
            State::Requested => assert!(matches!(step.verdict, Verdict::Mismatch(_))),
            State::Paid => assert_eq!((step.verdict, &*step.actions), (Verdict::Known, &[][..])),
            _ => {
                let told = vec![Action::Tell(Outcome::Paid { receipt: receipt(), amount: Shillings(10) })];
                assert_eq!((step.payment.state, step.actions), (State::Paid, told), "{state:?}");
            }
        }
    }
    // A query was quicker than both: the same money twice in the books is for a person to look at.
    let nameless = Payment { receipt: Some(stand_in()), mpesa_receipt: None, ..payment(State::Paid) };
    let step = nameless.on(&deposited(), NOW);
    assert!(matches!(step.verdict, Verdict::Mismatch(_)) && step.actions.is_empty() && step.payment.flag.is_some());
}
