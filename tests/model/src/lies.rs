//! Bugs on purpose, one at a time: a layer between the rules and the model's world falsifies one kind of effect, input, answer,
//! message or record, and the reference must find each of them. An invariant that no lie ever breaks may be one that cannot fail.
//!
//! Nothing of the shipped programs knows of this: they are as they are, and lied about.

use lango_core::account::{Account, Clock};
use lango_core::gate::{GateAccount, GateChange, GateDevice};
use lango_core::package::Limits;
use lango_core::record::{Change, Record};
use lango_core::request::{OperatorPaymentView, PaymentStatus};
use lango_core::step::{Effect, Input};
use lango_core::time::{BootId, Monotonic};
use lango_core::units::{Bytes, Mac, Millis, PackageId, Receipt, Shillings, Username};
use lango_core::voucher::{Voucher, VoucherState};
use std::cell::Cell;
use std::rc::Rc;

use crate::kernel::PACKET;
use crate::service::Store;
use crate::sold;

/// A kind of bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is told in the table
pub enum Lie {
    VoucherStaysUnused,
    VoucherUnusedAgain,
    VoucherTwice,
    VoucherLeftOut,
    VoucherGone,
    VoucherNeverKept,
    VoucherForgedUsed,
    GuestsCode,
    UsedCodeWelcome,
    ServiceLeftOut,
    MoneyServedTwice,
    MoneyLeftOut,
    MoneyMoved,
    DearerPackage,
    FreePurchase,
    PurchaseDropped,
    MillisecondMore,
    MillisecondLess,
    ByteInvented,
    ByteForgotten,
    EndOfTimeLater,
    EndOfTimeSooner,
    EndOfDataLater,
    EndOfDataSooner,
    EndOfTimeInvented,
    EndOfDataInvented,
    EndOfDataUnnoticed,
    EndOfTimeUnnoticed,
    NobodyWakes,
    GateForgets,
    GateStranger,
    GateSharesDevice,
    GateLosesDevice,
    CheckpointsForgotten,
    CrashCosts,
    OutageTakesMore,
    OutageTakesHalf,
    OutageTakesLater,
    StrangersReceipt,
    PromptedTwice,
    LedgerInvents,
    LedgerTwice,
    LedgerTwiceUnnamed,
    LedgerLoses,
    TwoRouters,
    OrderTwice,
    OtherReceipt,
    AcknowledgedForNothing,
    ConfirmationLost,
    RequestsUnanswered,
    ResultsUnheard,
    NothingIsDue,
    DueForEver,
    ShownTwice,
    ShownInvented,
    NoOutcome,
    FoldedTooEarly,
    ShownPending,
    AccountForgotten,
    DepositInvented,
}

/// A receipt that nobody ever paid.
#[must_use]
pub fn nobodys() -> Receipt {
    "X999999999".parse().unwrap()
}

/// A lie, what it is, and by which words it must be found.
pub struct Row {
    /// Which.
    pub lie: Lie,
    /// In words.
    pub what: &'static str,
    /// A part of what the reference says when it finds it.
    pub found_by: &'static str,
    /// The first seed that is tried: with it, or with one of those that follow, the lie is told where it does harm.
    pub from: u64,
}

const fn row(lie: Lie, what: &'static str, found_by: &'static str) -> Row {
    Row { lie, what, found_by, from: 1 }
}

/// One that few stories give an occasion for.
const fn rare(from: u64, lie: Lie, what: &'static str, found_by: &'static str) -> Row {
    Row { lie, what, found_by, from }
}

/// All lies. docs/chaos.md has the same table, and `tests/model.rs` sees to it.
pub const ALL: &[Row] = &[
    row(Lie::VoucherStaysUnused, "a voucher became service, and its record does not say so", "had Purse"),
    row(Lie::VoucherUnusedAgain, "a voucher that was used can be used again", "was used, and is Unused"),
    row(Lie::VoucherTwice, "a voucher is served to a second account", "became service, and was Some(Used"),
    row(Lie::VoucherLeftOut, "a used voucher is forgotten", "was redeemed, and is None"),
    row(Lie::VoucherGone, "a voucher that was sold is forgotten", "was sold, and its router does not know it"),
    row(Lie::VoucherNeverKept, "a voucher that was sold never reaches the store", "was sold, and its router does not know it"),
    row(Lie::VoucherForgedUsed, "a voucher counts as used, and nobody has it", "vouchers are used, and"),
    row(Lie::GuestsCode, "a code that nobody made is told to be good", "and the customer is told"),
    row(Lie::UsedCodeWelcome, "a used code is told to have become service", "and the customer is told"),
    row(Lie::ServiceLeftOut, "money is entered as served, and its account is not written with it", "is not written with it"),
    row(Lie::MoneyServedTwice, "money is served twice on its account", "had Purse"),
    row(Lie::MoneyLeftOut, "money is served, and not entered", "had Purse"),
    row(Lie::MoneyMoved, "money that was served goes to another account", "money that was served went from"),
    row(Lie::DearerPackage, "money becomes a package that costs more", "which costs"),
    row(Lie::FreePurchase, "an account has a purchase that nobody paid for", "had Purse"),
    row(Lie::PurchaseDropped, "a purchase is taken away before its end", "had Purse"),
    row(Lie::AccountForgotten, "an account is forgotten that is online", "is in the gate, and in no record"),
    row(Lie::MillisecondMore, "an account that stands still gains a millisecond", "and should be"),
    row(Lie::MillisecondLess, "an account that stands still loses a millisecond", "and should be"),
    row(Lie::FoldedTooEarly, "totals become a sum while the kernel still counts on from them", "and should be"),
    row(Lie::ByteInvented, "one byte more is counted than passed", "and should be"),
    row(Lie::ByteForgotten, "one byte less is counted than passed", "the power cut turned"),
    rare(120, Lie::EndOfTimeLater, "the kernel is given an end a minute late", "of service that nobody paid for"),
    row(Lie::EndOfTimeSooner, "the kernel is given an end half an hour early", "was stopped at its end of time"),
    rare(180, Lie::EndOfDataLater, "the kernel is given ten packets more than were paid for", "of service that nobody paid for"),
    rare(180, Lie::EndOfDataSooner, "the kernel is given ten packets less than were paid for", "was stopped at its end of data"),
    row(Lie::EndOfTimeInvented, "the kernel is given an end of time where there is none", "at its end of time with no limit"),
    row(Lie::EndOfDataInvented, "the kernel is given an end of data where there is none", "at its end of data with no limit"),
    rare(180, Lie::EndOfDataUnnoticed, "nobody hears that a quota is used up", "and nobody noticed"),
    row(Lie::EndOfTimeUnnoticed, "the rules are woken when the kernel's end comes, not at the purchase's", "and nobody noticed"),
    row(Lie::NobodyWakes, "the rules are never woken", "somebody passes who has nothing left"),
    row(Lie::GateForgets, "a change of the gate is lost", "the kernel has"),
    row(Lie::GateStranger, "a device passes that never paid", "of 1"),
    row(Lie::GateSharesDevice, "a device passes on two accounts", "is in the gate twice"),
    row(Lie::GateLosesDevice, "a device that is online on an account does not pass", "pass on it"),
    row(Lie::CheckpointsForgotten, "checkpoints are not written", "the power cut turned"),
    rare(80, Lie::CrashCosts, "a crash costs an account ten minutes", "a crash turned"),
    row(Lie::OutageTakesMore, "an outage costs ten minutes more than it was long", "ms took"),
    rare(1035, Lie::OutageTakesHalf, "an outage costs half of its length", "ms took"),
    row(Lie::OutageTakesLater, "an outage costs what was bought after it", "took of what was bought after"),
    row(Lie::StrangersReceipt, "a receipt opens a session for another number", "for somebody who never paid"),
    row(Lie::PromptedTwice, "a push is sent twice", "was prompted twice"),
    row(Lie::LedgerInvents, "the ledger has a receipt of nobody's", "that Safaricom never took"),
    row(Lie::DepositInvented, "the relay knows of money by hand that nobody paid", "a deposit of nobody"),
    row(Lie::LedgerTwice, "a payment's money is entered under both of its receipts", "its money is in the ledger twice"),
    row(Lie::LedgerTwiceUnnamed, "a payment's money is entered again, as money without a prompt", "and Safaricom took it"),
    row(Lie::LedgerLoses, "the ledger loses what a router was told", "that the ledger has not"),
    row(Lie::TwoRouters, "one receipt is served at two routers", "two routers have this money"),
    row(Lie::OrderTwice, "one order's money is told under two receipts", "its money was served twice"),
    row(Lie::OtherReceipt, "a router is told a receipt that nobody paid", "that the ledger has not"),
    rare(225, Lie::AcknowledgedForNothing, "a router acknowledges money that it does not keep", "its router does not have it"),
    row(Lie::AcknowledgedForNothing, "a router acknowledges money by hand that it does not keep", "which does not have it"),
    row(Lie::ConfirmationLost, "a confirmation is answered, and not stored", "are served or seen"),
    row(Lie::RequestsUnanswered, "requests are never acknowledged", "requests wait to be acknowledged"),
    row(Lie::ResultsUnheard, "what routers acknowledge is never heard", "results wait to be acknowledged"),
    row(Lie::NothingIsDue, "the relays' timer never rings", "undecided when all is over"),
    row(Lie::NothingIsDue, "the relays' timer never rings, and money by hand waits for a prompt's word", "still held when all is over"),
    row(Lie::DueForEver, "the relays' timer does nothing", "woken again and again"),
    row(Lie::ShownTwice, "`lango payments` shows money twice", "shows it twice"),
    row(Lie::ShownInvented, "`lango payments` shows money of nobody's", "that nobody paid"),
    row(Lie::ShownPending, "`lango payments` shows a payment that failed as if it were open", "still pending"),
    row(Lie::NoOutcome, "routers are not told what failed, or came of a request", "results wait to be acknowledged"),
];

/// Who tells the lie, and counts how often.
#[derive(Debug, Clone, Default)]
pub struct Liar {
    lie: Option<Lie>,
    told: Rc<Cell<u64>>,
}

impl Liar {
    /// One that tells this lie, or none.
    #[must_use]
    pub fn new(lie: Option<Lie>) -> Self {
        Self { lie, told: Rc::default() }
    }

    /// How often it was told.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.told.get()
    }

    /// Whether this lie is to be told wherever it can be; it is told then.
    #[must_use]
    pub fn tells(&self, lie: Lie) -> bool {
        let tells = self.lie == Some(lie);
        self.told.set(self.told.get() + u64::from(tells));
        tells
    }

    /// The same for a lie that is told once.
    #[must_use]
    pub fn tells_once(&self, lie: Lie) -> bool {
        self.told.get() == 0 && self.tells(lie)
    }

    /// What the rules are told. Nothing: they do not hear of it.
    #[must_use]
    pub fn input(&self, mut input: Input) -> Option<Input> {
        match &mut input {
            Input::Usage(usage) | Input::LastCounts(usage) => {
                for counted in usage.iter_mut().filter(|counted| counted.traffic.down.0 > 0) {
                    if self.tells(Lie::ByteInvented) {
                        counted.traffic.down.0 += 1;
                    }
                    if self.tells(Lie::ByteForgotten) {
                        counted.traffic.down.0 -= 1;
                    }
                }
            }
            Input::Depleted(_) if self.tells(Lie::EndOfDataUnnoticed) => return None,
            _ => {}
        }
        Some(input)
    }

    /// What the rules want in the gate.
    pub fn gate(&self, account: &mut GateAccount) {
        match self.lie {
            Some(Lie::EndOfTimeLater) => account.until = account.until.map(|until| self.told_as(until.after(Millis(60_000)))),
            Some(Lie::EndOfTimeSooner) => {
                account.until = account.until.map(|until| self.told_as(Monotonic(until.0.saturating_sub(30 * 60_000))))
            }
            Some(Lie::EndOfDataLater) => account.data_end = account.data_end.map(|end| self.told_as(end.plus(Bytes(10 * PACKET)))),
            Some(Lie::EndOfDataSooner) => account.data_end = account.data_end.map(|end| self.told_as(end.minus(Bytes(10 * PACKET)))),
            Some(Lie::EndOfTimeInvented) if account.until.is_none() => account.until = Some(self.told_as(Monotonic(30 * 60_000))),
            Some(Lie::EndOfDataInvented) if account.data_end.is_none() => account.data_end = Some(self.told_as(Bytes(10 * PACKET))),
            Some(Lie::GateStranger) => drop(account.devices.insert(self.told_as(Mac([2, 0, 0, 0, 9, 9])), GateDevice::default())),
            Some(Lie::GateLosesDevice) => {
                let last = account.devices.keys().next_back().copied();
                last.map(|mac| account.devices.remove(&self.told_as(mac)));
            }
            _ => {}
        }
    }

    fn told_as<T>(&self, value: T) -> T {
        self.told.set(self.told.get() + 1);
        value
    }

    /// The whole gate as the rules want it.
    #[must_use]
    pub fn desired(&self, mut desired: Vec<GateAccount>) -> Vec<GateAccount> {
        desired.iter_mut().for_each(|account| self.gate(account));
        desired
    }

    /// What the operator is shown.
    #[must_use]
    pub fn views(&self, mut views: Vec<OperatorPaymentView>) -> Vec<OperatorPaymentView> {
        if let Some(paid) = views.iter().find(|view| view.receipt.is_some()).cloned() {
            if self.tells(Lie::ShownTwice) {
                views.push(paid);
            } else if self.tells(Lie::ShownInvented) {
                views.push(OperatorPaymentView { receipt: Some(nobodys()), ..paid });
            }
        }
        for view in views.iter_mut().filter(|view| view.receipt.is_none() && self.tells(Lie::ShownPending)) {
            view.status = PaymentStatus::Pending;
        }
        views
    }

    /// What the rules decided.
    pub fn effects(&self, effects: &mut Vec<Effect>, store: &Store) {
        let Some(lie) = self.lie else { return };
        if lie == Lie::GateForgets && effects.iter().any(|effect| matches!(effect, Effect::Gate(_))) && self.tells_once(lie) {
            effects.retain(|effect| !matches!(effect, Effect::Gate(_)));
        }
        for effect in effects {
            match effect {
                Effect::Persist(changes) => drop(self.changes(lie, changes, store)),
                Effect::Gate(changes) => {
                    for change in changes {
                        if let GateChange::Set(account) = change {
                            self.gate(account);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// One batch for the store. Nothing: this lie cannot be told of it.
    #[allow(clippy::too_many_lines)] // a list
    fn changes(&self, lie: Lie, changes: &mut Vec<Change>, store: &Store) -> Option<()> {
        match lie {
            Lie::VoucherStaysUnused => {
                served(changes, store).filter(|served| served.by_voucher)?;
                changes.retain(|change| !is_used_voucher(change));
            }
            Lie::VoucherUnusedAgain => {
                let voucher = used_vouchers(store).next().filter(|_| self.told() == 0)?;
                put(changes, Record::Voucher(Voucher { state: VoucherState::Unused, ..voucher.clone() }));
            }
            Lie::VoucherTwice => {
                let (mut voucher, batch) = used_vouchers(store).find_map(|voucher| {
                    let Record::Batch(batch) = store.values().find(|record| matches!(record, Record::Batch(b) if b.id == voucher.batch))?
                    else {
                        return None;
                    };
                    Some((voucher.clone(), batch.clone()))
                })?;
                let VoucherState::Used(used) = &mut voucher.state else { return None };
                let mut other = accounts(store).find(|account| account.username != used.account).filter(|_| self.told() == 0)?.clone();
                used.account = other.username.clone();
                let limits = sold::find(&batch.package)?.limits;
                other.buy(batch.package.clone(), limits, Monotonic(0));
                changes.retain(|change| !is_account(change, &other.username));
                put(changes, Record::Voucher(voucher));
                put(changes, Record::Account(other));
            }
            Lie::VoucherLeftOut => {
                let voucher = used_vouchers(store).next()?;
                changes.push(Change::Delete(Record::voucher_key(voucher.hash)));
            }
            Lie::VoucherGone => {
                let unused = |record: &&Record| matches!(record, Record::Voucher(voucher) if voucher.state == VoucherState::Unused);
                let record = store.values().find(unused)?;
                changes.push(Change::Delete(record.key()));
            }
            Lie::VoucherNeverKept => {
                let before = changes.len();
                changes.retain(|change| !matches!(change, Change::Put(record) if matches!(**record, Record::Voucher(_))));
                (changes.len() < before).then_some(())?;
            }
            Lie::ServiceLeftOut => {
                let served = served(changes, store)?;
                changes.retain(|change| !is_account(change, &served.account));
            }
            Lie::MoneyServedTwice => {
                let served = served(changes, store).filter(|served| !served.by_voucher)?;
                let limits = sold::find(&served.package)?.limits;
                account_of(changes, &served.account)?.buy(served.package, limits, Monotonic(0));
            }
            Lie::MoneyLeftOut => {
                served(changes, store).filter(|served| !served.by_voucher)?;
                changes.retain(|change| !matches!(change, Change::Put(record) if matches!(**record, Record::Ledger(_))));
            }
            Lie::MoneyMoved => {
                let mut entry = store.values().find_map(|record| match record {
                    Record::Ledger(entry) if entry.account.is_some() => Some(entry.clone()),
                    _ => None,
                })?;
                entry.account = Some(accounts(store).find(|account| entry.account.as_ref() != Some(&account.username))?.username.clone());
                put(changes, Record::Ledger(entry));
            }
            Lie::DearerPackage => {
                let entry = changes.iter_mut().find_map(|change| match change {
                    Change::Put(record) => match &mut **record {
                        Record::Ledger(entry) if entry.account.is_some() && entry.waited.is_none() && entry.amount < Shillings(50) => {
                            Some(entry)
                        }
                        _ => None,
                    },
                    Change::Delete(_) => None,
                })?;
                entry.package = PackageId::clone(&sold::list(true).last()?.id);
            }
            Lie::FreePurchase => {
                let account = written(changes).find(|account| !account.purchases.is_empty())?;
                let limits = Limits { devices: 9, ..account.limits()? };
                account.buy(account.package.clone(), limits, Monotonic(0));
            }
            Lie::PurchaseDropped => drop(written(changes).find_map(|account| account.purchases.pop_back())?),
            Lie::FoldedTooEarly => {
                let many = written(changes).find(|account| account.counted_in.is_some())?;
                many.counted_in = Some(Box::new(BootId::from("an earlier one")));
            }
            Lie::AccountForgotten => {
                let account = accounts(store).find(|account| !account.online.is_empty())?;
                changes.retain(|change| !is_account(change, &account.username));
                changes.push(Change::Delete(Record::Account(account.clone()).key()));
            }
            Lie::MillisecondMore | Lie::MillisecondLess => {
                let left = written(changes).find_map(|account| match &mut account.clock {
                    Clock::Stopped { left } if left.0 > 1 => Some(left),
                    _ => None,
                })?;
                left.0 = if lie == Lie::MillisecondMore { left.0 + 1 } else { left.0 - 1 };
            }
            Lie::CheckpointsForgotten => {
                let before = changes.len();
                changes.retain(|change| !matches!(change, Change::Put(record) if matches!(**record, Record::Checkpoint(_))));
                (changes.len() < before).then_some(())?;
            }
            Lie::OutageTakesMore | Lie::OutageTakesHalf | Lie::OutageTakesLater => {
                let settled = changes.iter().find_map(|change| match change {
                    Change::Delete(key) => key.0.strip_prefix("owed/")?.parse::<Username>().ok(),
                    Change::Put(_) => None,
                })?;
                let before = accounts(store).find(|account| account.username == settled)?.clock.clone();
                let account = account_of(changes, &settled)?;
                if let (Lie::OutageTakesHalf, Clock::Stopped { left: had }, Clock::Stopped { left }) = (lie, before, &mut account.clock) {
                    left.0 += had.0.saturating_sub(left.0) / 2;
                }
                if lie == Lie::OutageTakesMore {
                    account.clock.take(Millis::from_minutes(10));
                }
                if lie == Lie::OutageTakesLater {
                    account.purchases.clear();
                    account.clock = Clock::Unlimited;
                }
            }
            _ => return None,
        }
        self.told.set(self.told.get() + 1);
        Some(())
    }
}

/// What became service in a batch.
struct Served {
    account: Username,
    package: PackageId,
    by_voucher: bool,
}

fn served(changes: &[Change], store: &Store) -> Option<Served> {
    changes.iter().find_map(|change| {
        let Change::Put(record) = change else { return None };
        match (&**record, store.get(&record.key().0)) {
            (Record::Ledger(_), Some(Record::Ledger(before))) if before.account.is_some() => None,
            (Record::Ledger(entry), _) => {
                let as_served = entry.waited.as_ref().and_then(|waited| waited.served_as.clone());
                let package = as_served.unwrap_or_else(|| entry.package.clone());
                Some(Served { account: entry.account.clone()?, package, by_voucher: false })
            }
            (Record::Voucher(_), Some(Record::Voucher(before))) if before.state != VoucherState::Unused => None,
            (Record::Voucher(voucher), _) => {
                let VoucherState::Used(used) = &voucher.state else { return None };
                Some(Served { account: used.account.clone(), package: sold::list(true).first()?.id.clone(), by_voucher: true })
            }
            _ => None,
        }
    })
}

fn put(changes: &mut Vec<Change>, record: Record) {
    changes.push(Change::Put(Box::new(record)));
}

fn accounts(store: &Store) -> impl Iterator<Item = &Account> {
    store.values().filter_map(|record| match record {
        Record::Account(account) => Some(account),
        _ => None,
    })
}

fn used_vouchers(store: &Store) -> impl Iterator<Item = &Voucher> {
    store.values().filter_map(|record| match record {
        Record::Voucher(voucher) if matches!(voucher.state, VoucherState::Used(_)) => Some(voucher),
        _ => None,
    })
}

fn is_used_voucher(change: &Change) -> bool {
    matches!(change, Change::Put(record) if matches!(&**record, Record::Voucher(voucher) if matches!(voucher.state, VoucherState::Used(_))))
}

fn is_account(change: &Change, username: &Username) -> bool {
    matches!(change, Change::Put(record) if matches!(&**record, Record::Account(account) if account.username == *username))
}

fn written(changes: &mut [Change]) -> impl Iterator<Item = &mut Account> {
    changes.iter_mut().filter_map(|change| match change {
        Change::Put(record) => match &mut **record {
            Record::Account(account) => Some(account),
            _ => None,
        },
        Change::Delete(_) => None,
    })
}

fn account_of<'a>(changes: &'a mut [Change], username: &Username) -> Option<&'a mut Account> {
    written(changes).find(|account| account.username == *username)
}
