//! What happens when: made from the seed alone, before anything runs.

use lango_lab::safaricom::customer::{Answer, Customer, Delivery, PushAnswer, When};
use std::time::Duration;

/// Numbers that are the same for the same seed (SplitMix64).
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `bound`, which is not 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("a place in a list")]
    }
}

/// By which way a customer comes to what was bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Pays on the portal's page.
    Prompt,
    /// Pays by hand and comes with the receipt; Safaricom tells of it so many times.
    ByHand {
        /// How often.
        told: u8,
        /// Whether the account number names the router; otherwise the money waits for its receipt.
        named: bool,
    },
    /// Redeems a voucher that the router made.
    Voucher,
    /// Redeems a voucher that the cloud made.
    CloudVoucher,
}

/// How a payment is scripted: the customer, and what becomes of Safaricom's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What the table calls it.
    pub name: &'static str,
    /// The script.
    pub customer: Customer,
    /// Whether the phone leaves the Wi-Fi as soon as it has asked, and comes back later.
    pub leaves: bool,
    /// Which way it goes.
    pub way: Way,
    /// How often it comes, beside the others.
    weight: u64,
}

const fn after(answer: Answer, milliseconds: u64) -> Customer {
    Customer { when: When::After(Duration::from_millis(milliseconds)), ..Customer::who(answer) }
}

const fn kind(weight: u64, name: &'static str, customer: Customer) -> Kind {
    Kind { name, customer, leaves: false, way: Way::Prompt, weight }
}

const fn other(weight: u64, name: &'static str, way: Way) -> Kind {
    Kind { way, ..kind(weight, name, Customer::who(Answer::Pays)) }
}

/// All kinds.
pub const KINDS: [Kind; 23] = [
    kind(5, "paid", after(Answer::Pays, 300)),
    kind(4, "paid, slowly", after(Answer::Pays, 4_000)),
    Kind { leaves: true, ..kind(3, "paid, phone away", after(Answer::Pays, 2_000)) },
    kind(3, "paid, callback doubled", after(Answer::Pays, 500).delivered(Delivery::Twice)),
    kind(3, "paid, callback late", after(Answer::Pays, 200).delivered(Delivery::Delayed(Duration::from_secs(12)))),
    kind(2, "paid, callback after the query", after(Answer::Pays, 200).delivered(Delivery::Delayed(Duration::from_secs(27)))),
    kind(3, "paid, callback lost", after(Answer::Pays, 500).delivered(Delivery::Lost)),
    kind(2, "paid, push answer lost", after(Answer::Pays, 1_000).pushed(PushAnswer::Lost)),
    kind(
        1,
        "paid, push answer lost, callback late",
        after(Answer::Pays, 200).pushed(PushAnswer::Lost).delivered(Delivery::Delayed(Duration::from_secs(9))),
    ),
    kind(1, "paid, push answer and callback lost", after(Answer::Pays, 500).pushed(PushAnswer::Lost).delivered(Delivery::Lost)),
    kind(2, "paid, busy before", after(Answer::Pays, 300).pushed(PushAnswer::BusyTimes(2))),
    kind(2, "cancelled", after(Answer::Cancels, 500)),
    kind(1, "cancelled, callback lost", after(Answer::Cancels, 500).delivered(Delivery::Lost)),
    kind(1, "cancelled, callback doubled", after(Answer::Cancels, 500).delivered(Delivery::Twice)),
    kind(2, "wrong PIN", after(Answer::WrongPin, 800)),
    kind(2, "not enough money", after(Answer::NoMoney, 300)),
    kind(2, "no answer", Customer::who(Answer::NeverAnswers)),
    kind(1, "limit", after(Answer::Code(17), 300)),
    other(4, "by hand", Way::ByHand { told: 1, named: true }),
    other(2, "by hand, told twice", Way::ByHand { told: 2, named: true }),
    other(2, "by hand, naming nobody", Way::ByHand { told: 1, named: false }),
    other(3, "voucher of the router", Way::Voucher),
    other(3, "voucher of the cloud", Way::CloudVoucher),
];

/// One customer's wish.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Its number, from 0.
    pub number: u64,
    /// When, in milliseconds from the start of the storm.
    pub at: u64,
    /// Which of the phones.
    pub phone: usize,
    /// Which package.
    pub package: &'static str,
    /// Which kind, in [`KINDS`].
    pub kind: usize,
}

impl Wish {
    /// The M-Pesa number that pays: no two wishes have the same.
    pub fn msisdn(&self) -> String {
        format!("0712{:06}", self.number)
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of a router's program.
    KillRouter(usize),
    /// The power of a router goes.
    PowerCut(usize),
    /// A router's uplink carries nothing.
    CutOff(usize),
    /// A router's uplink loses every third packet.
    Lossy(usize),
    /// `kill -9` of a relay.
    KillRelay(usize),
    /// A relay stands still.
    StallRelay(usize),
    /// `kill -9` of the broker.
    KillBroker,
    /// The broker stands still.
    StallBroker,
    /// `kill -9` of the database, all of its processes.
    KillDatabase,
    /// The database stands still.
    StallDatabase,
    /// Another program takes a token: the relays' is invalid.
    Token,
    /// The next queries get no answer.
    SilentQueries,
}

/// A fault at its time.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    /// When, in milliseconds from the start of the storm.
    pub at: u64,
    /// What.
    pub fault: Fault,
    /// For how long, in milliseconds.
    pub length: u64,
}

/// The whole.
pub struct Plan {
    /// Who wants what, by time.
    pub wishes: Vec<Wish>,
    /// What goes wrong, by time.
    pub troubles: Vec<Trouble>,
}

/// The plan of a seed.
pub fn plan(seed: u64, payments: u64, phones: usize, routers: usize, relays: usize, storm: u64) -> Plan {
    let mut dice = Dice::new(seed);
    let weights: u64 = KINDS.iter().map(|kind| kind.weight).sum();
    let mut wishes: Vec<Wish> = (0..payments)
        .map(|number| {
            // Each kind at least once where there are enough; the rest by weight.
            let kind = if (number as usize) < KINDS.len() { number as usize } else { pick(dice.below(weights)) };
            let at = dice.below(storm);
            let phone = (number as usize) % phones;
            // Some phones buy data alone, the others time: so what an account must have left is a sum of one thing.
            let package = dice.one(&["day", "two", "week"]);
            Wish { number, at, phone, package: if phone % 5 == 4 { "data" } else { package }, kind }
        })
        .collect();
    wishes.sort_by_key(|wish| wish.at);
    let mut troubles = Vec::new();
    let mut at = 1_500;
    // The kinds of faults come in turn, in a new order each time: none is left out of a short run.
    let mut turn: Vec<u64> = Vec::new();
    while at + 1_000 < storm {
        if turn.is_empty() {
            turn = (0..12).collect();
        }
        let which = turn.remove(dice.below(turn.len() as u64) as usize);
        let (router, relay) = (dice.below(routers as u64) as usize, dice.below(relays as u64) as usize);
        let (fault, most) = match which {
            0 => (Fault::KillRouter(router), 3_000),
            1 => (Fault::PowerCut(router), 5_000),
            2 => (Fault::CutOff(router), 9_000),
            3 => (Fault::Lossy(router), 10_000),
            4 => (Fault::KillRelay(relay), 5_000),
            5 => (Fault::StallRelay(relay), 5_000),
            6 => (Fault::KillBroker, 3_000),
            7 => (Fault::StallBroker, 4_000),
            8 => (Fault::KillDatabase, 3_000),
            9 => (Fault::StallDatabase, 4_000),
            10 => (Fault::Token, 1),
            _ => (Fault::SilentQueries, 1),
        };
        troubles.push(Trouble { at, fault, length: dice.below(most) });
        at += 800 + dice.below(4_000);
    }
    Plan { wishes, troubles }
}

fn pick(mut at: u64) -> usize {
    for (number, kind) in KINDS.iter().enumerate() {
        if at < kind.weight {
            return number;
        }
        at -= kind.weight;
    }
    0
}
