//! What may happen, as plain values: a run is a list of them, which can be printed, replayed and shortened.
//!
//! Numbers are taken modulo what is there (routers, messages under way, …), and what makes no sense at that moment does nothing:
//! so a list stays a story, whichever of its lines are left out.

use crate::random::Random;
use serde::{Deserialize, Serialize};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Milliseconds pass; whatever is due on the way happens when it is due.
    Pass(u64),
    /// Everything that is under way arrives, in order, so many times over.
    Flow(u8),
    /// A device at a router asks for a package; its customer will do this with the prompt, after so many seconds.
    Pay {
        /// Which router.
        router: u8,
        /// Which of its devices.
        device: u8,
        /// Which package.
        package: u8,
        /// Whose number.
        phone: u8,
        /// What the customer does: 0 to 5 pays, the rest fails in one way or another.
        does: u8,
        /// After so many seconds.
        after: u8,
        /// What becomes of Safaricom's callback.
        callback: Fate,
    },
    /// The n-th message under way arrives, at one of the relays.
    Deliver(u8, u8),
    /// The n-th message under way is lost.
    Lose(u8),
    /// The n-th message under way is doubled.
    Double(u8),
    /// The n-th message that ever was under way comes once more.
    Replay(u16),
    /// The n-th callback that waits is posted, to one of the relays.
    Callback(u8, u8),
    /// A relay does the n-th thing that it has begun; what it asks Safaricom meets this.
    Work(u8, u8, Answer),
    /// A relay is killed.
    KillRelay(u8),
    /// A relay starts.
    StartRelay(u8),
    /// A relay's next change of the ledger meets this.
    Ledger(u8, Trouble),
    /// A relay loses or finds the broker.
    RelayLink(u8, bool),
    /// A router loses or finds the broker.
    RouterLink(u8, bool),
    /// A router's next step dies after so many of its effects: 0 before it is durable, 1 before the gate, 2 before anybody is told.
    Crash(u8, u8),
    /// A router's next write fails.
    StoreFails(u8),
    /// The program on a router is killed between two steps, and starts again after some seconds.
    Kill(u8),
    /// The same, and it does not.
    Dead(u8),
    /// Everything is put right that somebody notices: programs run, lines are there.
    Mend,
    /// The power of a router goes.
    PowerCut(u8),
    /// A router has power, and its program starts.
    Start(u8),
    /// A router's wall clock is so many minutes off; nobody has set it at all where there is no number.
    Clock(u8, Option<i32>),
    /// A device is there, or is not.
    Here(u8, u8, bool),
    /// The operator ends a device's session.
    Kick(u8, u8),
    /// A device waits no longer for its newest payment.
    GiveUp(u8, u8),
    /// A device logs out.
    Logout(u8, u8),
    /// A device logs in on the n-th account; another gives way, where that is asked for.
    Login(u8, u8, u8, bool),
    /// A device logs another of its account out.
    LogoutOther(u8, u8, u8),
    /// A device sends, or else is sent, so much.
    Use(u8, u8, bool, u8),
    /// The operator makes vouchers on a router, or the cloud's operator for it: of a package, so many.
    Vouchers {
        /// Which router.
        router: u8,
        /// Which package.
        package: u8,
        /// How many.
        count: u8,
        /// Whether the cloud makes them.
        cloud: bool,
    },
    /// A device redeems the n-th code that was ever made for any router; or one that nobody made.
    Redeem(u8, u8, u8, bool),
    /// The operator takes the n-th batch of a router back.
    Revoke(u8, u8),
    /// Somebody pays by hand.
    Hand {
        /// At which router.
        router: u8,
        /// How much: a package's price, or none's.
        amount: u8,
        /// Who.
        phone: u8,
        /// What is typed as the account number: the router's name, with a package or without, nothing, nonsense, a prompt's reference.
        account: u8,
        /// How much of the payer's number Safaricom tells.
        shown: u8,
        /// Whether Safaricom never tells of it.
        untold: bool,
    },
    /// Safaricom tells the n-th thing that waits to be told of money without a prompt, to one of the relays.
    Tell(u8, u8),
    /// Somebody comes to a router with the n-th receipt, and with the number that paid or another one.
    Reclaim(u8, u8, u8, bool),
    /// The operator serves the n-th money that waits at a router, as a package.
    Serve(u8, u8, u8),
    /// The operator sells other things from now on: all, or without the first package.
    Sell(u8, bool),
    /// The operator has the relay look at the n-th payment again.
    Retry(u8, u8),
    /// A phone comes to a router so often, each time with an address that nobody has seen, logs in on the n-th account, uses something, and
    /// goes; or another phone does so.
    Visits(u8, u8, u8),
}

/// What becomes of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It comes.
    Once,
    /// It comes twice.
    Twice,
    /// It never comes.
    Never,
    /// One that says nothing (4999) comes before it.
    AfterAnother,
}

/// What a call to Safaricom meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is answered.
    Given,
    /// It arrives, and the answer is lost, or is an error all the same.
    Lost,
    /// It is refused for now, and does nothing.
    Busy,
    /// It never arrives.
    Unsent,
}

/// What a change of the ledger meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// The database is gone: nothing of it happens.
    Gone,
    /// It is stored, and the connection breaks before the relay hears so.
    Unheard,
    /// The relay dies just before.
    DiesBefore,
    /// The relay dies just after.
    DiesAfter,
}

/// A random story of that length.
#[must_use]
pub fn story(seed: u64, length: usize) -> Vec<Input> {
    let mut random = Random::new(seed);
    // Calm stories go far, stormy ones try corners: each has a temper of its own.
    let storm = random.below(4);
    (0..length).map(|_| one(&mut random, storm)).collect()
}

fn one(random: &mut Random, storm: u64) -> Input {
    let router = random.small(2);
    let relay = random.small(2);
    let device = random.small(4);
    if random.below(100) < 55 {
        return match random.below(29) {
            20 | 21 => Input::Use(router, device, random.below(2) == 0, random.small(8)),
            22 => Input::Login(router, device, random.small(8), random.below(2) == 0),
            25 | 26 => Input::Hand {
                router,
                amount: random.small(6),
                phone: random.small(6),
                account: random.small(7),
                shown: random.small(5),
                untold: random.below(8) == 0,
            },
            27 => Input::Tell(random.small(4), relay),
            28 => Input::Reclaim(router, device, random.small(12), random.below(5) > 0),
            23 => Input::Vouchers { router, package: random.small(5), count: 1 + random.small(3), cloud: random.below(2) == 0 },
            24 => Input::Redeem(router, device, random.small(12), random.below(12) == 0),
            0..=4 => Input::Pass(random.length()),
            5..=9 => Input::Flow(1 + random.small(3)),
            10..=13 => Input::Pay {
                router,
                device,
                package: random.small(5),
                phone: random.small(6),
                does: random.small(10),
                after: if random.below(2) == 0 { 0 } else { random.small(70) },
                callback: [Fate::Once, Fate::Once, Fate::Once, Fate::Twice, Fate::Never, Fate::AfterAnother][random.index(6)],
            },
            14 | 15 => Input::Deliver(random.small(8), relay),
            16 | 17 => Input::Callback(random.small(4), relay),
            _ => Input::Work(relay, random.small(4), answer(random, storm)),
        };
    }
    if random.below(4) > storm {
        return Input::Flow(1);
    }
    match random.below(45) {
        0 | 1 => Input::Lose(random.small(8)),
        2 | 3 => Input::Double(random.small(8)),
        4 | 5 => Input::Replay(random.small(255).into()),
        6 => Input::KillRelay(relay),
        7 | 8 => Input::StartRelay(relay),
        9 | 10 => Input::Ledger(relay, [Trouble::Gone, Trouble::Unheard, Trouble::DiesBefore, Trouble::DiesAfter][random.index(4)]),
        11 => Input::RelayLink(relay, random.below(3) > 0),
        12 | 13 => Input::RouterLink(router, random.below(3) > 0),
        14..=16 => Input::Crash(router, random.small(3)),
        17 => Input::StoreFails(router),
        18 => Input::Kill(router),
        19 => Input::PowerCut(router),
        20..=22 => Input::Start(router),
        23 => Input::Clock(router, (random.below(3) > 0).then(|| i32::from(random.small(200)) * 17 - 1_700)),
        24 | 25 => Input::Here(router, device, random.below(3) > 0),
        26 => Input::Kick(router, device),
        27 => Input::Logout(router, device),
        28 => Input::Login(router, device, random.small(8), random.below(2) == 0),
        29 => Input::Sell(router, random.below(4) > 0),
        30 => Input::Dead(router),
        31..=38 => Input::Mend,
        42 => Input::Serve(router, random.small(4), random.small(5)),
        40 => Input::Revoke(router, random.small(4)),
        41 => Input::Redeem(router, device, random.small(12), random.below(12) == 0),
        43 => Input::GiveUp(router, device),
        39 => Input::LogoutOther(router, device, random.small(4)),
        44 => Input::Visits(router, random.small(8), 3 + random.small(9)),
        _ => Input::Retry(relay, random.small(8)),
    }
}

fn answer(random: &mut Random, storm: u64) -> Answer {
    if random.below(4) > storm {
        return Answer::Given;
    }
    [Answer::Given, Answer::Given, Answer::Lost, Answer::Busy, Answer::Unsent][random.index(5)]
}
