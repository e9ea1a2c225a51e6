//! The reference: money in, service out. What must hold at every moment, and what must hold when everything is mended.

use crate::books::Entry;
use crate::safaricom::Hand;
use crate::world::World;
use lango_core::units::{Msisdn, Receipt, Shillings};
use lango_core::voucher::VoucherState;
use lango_relay::ledger::{Key, Stage};
use lango_relay::payment::State;
use lango_relay::payment::schedule::stand_in_receipt;
use std::collections::{BTreeMap, BTreeSet};

/// What became of the money of one run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// Prompts.
    pub prompts: u64,
    /// Payments that Safaricom took.
    pub taken: u64,
    /// Of those: served, once.
    pub served: u64,
    /// Of those: the router's operator sees it, unserved.
    pub unserved: u64,
    /// Of those: the cloud's operator sees it.
    pub review: u64,
    /// Paid by hand: the cloud's operator sees that it waits.
    pub waiting: u64,
    /// Paid by hand, and only M-Pesa's statement knows.
    pub untold: u64,
    /// Vouchers that became service.
    pub vouchers: u64,
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.prompts += other.prompts;
        self.taken += other.taken;
        self.served += other.served;
        self.unserved += other.unserved;
        self.review += other.review;
        self.waiting += other.waiting;
        self.untold += other.untold;
        self.vouchers += other.vouchers;
    }
}

/// What holds at every moment, whatever has just happened.
///
/// # Errors
/// With what does not hold.
pub fn always(world: &World) -> Result<(), String> {
    let mut prompted = BTreeSet::new();
    for prompt in &world.safaricom.prompts {
        if !prompted.insert(&prompt.key) {
            return Err(format!("{}: its customer was prompted twice", prompt.key));
        }
    }
    money(world)?;
    for router in &world.routers {
        router.check(world.now)?;
    }
    vouchers(world)
}

/// Whose money: payments of one number and one amount cannot be told apart by it, so they are counted (`payment::till` of the
/// relay).
type Class = (Msisdn, Shillings);

/// The class of a payment. Where somebody paid that much by hand and nobody is told who, it may be anybody's.
fn class_of(world: &World, phone: Msisdn, amount: Shillings) -> Class {
    let nameless = world.safaricom.hands.iter().find(|hand| hand.shown == 2 && hand.amount == amount);
    (nameless.map_or(phone, |hand| hand.phone), amount)
}

/// What Safaricom took, by receipt, and by what a query's stand-in would be.
fn taken(world: &World) -> BTreeMap<Receipt, Class> {
    let mut taken = BTreeMap::new();
    for prompt in &world.safaricom.prompts {
        let Some(receipt) = prompt.receipt.clone() else { continue };
        taken.extend(stand_in_receipt(&prompt.checkout).map(|stand_in| (stand_in, class_of(world, prompt.phone, prompt.amount))));
        taken.insert(receipt, class_of(world, prompt.phone, prompt.amount));
    }
    taken.extend(world.safaricom.hands.iter().map(|hand| (hand.receipt.clone(), class_of(world, hand.phone, hand.amount))));
    taken
}

/// How often Safaricom took each.
fn counted(world: &World) -> BTreeMap<Class, u64> {
    let mut counted = BTreeMap::new();
    let prompts =
        world.safaricom.prompts.iter().filter(|prompt| prompt.receipt.is_some()).map(|prompt| class_of(world, prompt.phone, prompt.amount));
    for class in prompts.chain(world.safaricom.hands.iter().map(|hand| class_of(world, hand.phone, hand.amount))) {
        *counted.entry(class).or_default() += 1;
    }
    counted
}

/// The ledger has no money that Safaricom has not, and a router none that the ledger has not; neither has more of it.
fn money(world: &World) -> Result<(), String> {
    let (taken, counted) = (taken(world), counted(world));
    let mut booked: BTreeMap<Class, u64> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    for (receipt, entry) in &world.books.money {
        let Some(class) = taken.get(receipt).filter(|(_, amount)| *amount == entry.amount) else {
            return Err(format!("the ledger has money, {receipt}, that Safaricom never took"));
        };
        *booked.entry(*class).or_default() += 1;
        if entry.key.as_ref().is_some_and(|key| !keys.insert(key)) {
            return Err(format!("{:?}: its money is in the ledger twice", entry.key));
        }
    }
    if let Some((class, count)) = booked.iter().find(|(class, count)| counted.get(class).copied().unwrap_or(0) < **count) {
        return Err(format!("{class:?} is in the ledger {count} times, and Safaricom took it {:?} times", counted.get(class)));
    }
    let (mut receipts, mut served) = (BTreeSet::new(), BTreeSet::new());
    for router in &world.routers {
        for entry in router.money() {
            let key = Key { router: router.name.clone(), order: entry.order.clone() };
            if !receipts.insert(&entry.receipt) {
                return Err(format!("{}: two routers have this money", entry.receipt));
            }
            if !served.insert(key.clone()) {
                return Err(format!("{key}: its money was served twice"));
            }
            let in_the_books = world.books.money.get(&entry.receipt);
            let mine = |booked: &&Entry| booked.router.as_ref() == Some(&router.name) && booked.amount == entry.amount;
            if in_the_books.filter(mine).is_none_or(|booked| booked.key.as_ref().is_some_and(|own| *own != key)) {
                return Err(format!("{key}: the router has money, {}, that the ledger has not: {in_the_books:?}", entry.receipt));
            }
        }
    }
    Ok(())
}

/// A voucher whose customer was told that it became service did; one that was sold is there.
fn vouchers(world: &World) -> Result<(), String> {
    for (number, made) in world.vouchers.made.iter().enumerate() {
        let kept = world.voucher(made.router, made.hash);
        let is_used = kept.is_some_and(|voucher| matches!(voucher.state, VoucherState::Used(_)));
        if made.redeemed > 0 && !is_used {
            return Err(format!("voucher {number} was redeemed, and is {kept:?}"));
        }
    }
    Ok(())
}

/// What holds when everything is mended and has found its end.
///
/// # Errors
/// With what does not hold.
pub fn in_the_end(world: &mut World) -> Result<Sums, String> {
    let mut sums = Sums { prompts: world.safaricom.prompts.len() as u64, ..Sums::default() };
    let mut shown: BTreeMap<Receipt, bool> = BTreeMap::new();
    let now = world.now;
    for router in &mut world.routers {
        for view in router.payments(now) {
            if let Some(receipt) = view.receipt {
                let served = view.username.is_some();
                if shown.insert(receipt.clone(), served).is_some() {
                    return Err(format!("{}: `lango payments` shows it twice: {receipt}", router.name));
                }
            } else if view.status == lango_core::request::PaymentStatus::Pending {
                return Err(format!("{}/{}: still pending when all is over", router.name, view.payment));
            }
        }
        if router.outbox() > 0 {
            return Err(format!("{}: requests wait to be acknowledged when all is over", router.name));
        }
    }
    let (taken, counted) = (taken(world), counted(world));
    let mut found: BTreeMap<Class, u64> = BTreeMap::new();
    for (receipt, served) in &shown {
        let Some(class) = taken.get(receipt) else { return Err(format!("{receipt}: `lango payments` shows money that nobody paid")) };
        *found.entry(*class).or_default() += 1;
        if *served { sums.served += 1 } else { sums.unserved += 1 }
    }
    // What no router has and an operator of the cloud sees, or only M-Pesa's statement, because nobody was ever told of it.
    for deposit in world.books.deposits() {
        let Some(class) = taken.get(&deposit.receipt) else { return Err(format!("{}: a deposit of nobody", deposit.receipt)) };
        match deposit.stage {
            Stage::Waiting => {
                *found.entry(*class).or_default() += 1;
                sums.waiting += 1;
            }
            Stage::Given if !shown.contains_key(&deposit.receipt) => {
                return Err(format!("{}: given to a router, which does not have it", deposit.receipt));
            }
            Stage::Held => return Err(format!("{}: still held when all is over", deposit.receipt)),
            Stage::Given | Stage::Payment => {}
        }
    }
    for hand in world.safaricom.hands.iter().filter(|hand| !hand.told) {
        *found.entry(class_of(world, hand.phone, hand.amount)).or_default() += 1;
        sums.untold += 1;
    }
    for payment in world.books.payments().filter(|payment| payment.state == State::NeedsReview) {
        let class = class_of(world, payment.phone, payment.amount);
        if counted.get(&class) > found.get(&class) {
            *found.entry(class).or_default() += 1;
            sums.review += 1;
        }
    }
    sums.taken = counted.values().sum();
    for (class, count) in &counted {
        let found = found.get(class).copied().unwrap_or(0);
        // A prompt's receipt that nobody was ever told, while somebody paid the same by hand: that money passes for the prompt's,
        // and only the statement shows that there was more (`lango-relay reconcile`).
        let fits = |hand: &&Hand| class_of(world, hand.phone, hand.amount) == *class;
        let by_hand = world.safaricom.hands.iter().filter(fits).any(|hand| hand.told);
        let unnamed = |receipt: &Receipt| taken.get(receipt) == Some(class) && !world.books.is_booked(receipt);
        let unnamed =
            world.safaricom.prompts.iter().filter_map(|prompt| prompt.receipt.as_ref()).filter(|receipt| unnamed(receipt)).count() as u64;
        let statement = count.saturating_sub(found).min(if by_hand { unnamed } else { 0 });
        sums.untold += statement;
        if found + statement != *count {
            return Err(format!("{class:?}: Safaricom took it {count} times, and {found} are served or seen"));
        }
    }
    for payment in world.books.payments() {
        if let (State::Paid, Some(receipt)) = (payment.state, &payment.receipt)
            && !shown.contains_key(receipt)
        {
            return Err(format!("{}: paid, and its router does not have it", payment.key()));
        }
    }
    for payment in world.books.payments() {
        if matches!(payment.state, State::Requested | State::Prompting | State::Prompted | State::Confirmed) {
            return Err(format!("{}: undecided when all is over: {:?}", payment.key(), payment.state));
        }
    }
    if world.books.unacknowledged() > 0 {
        return Err("results wait to be acknowledged when all is over".to_owned());
    }
    let mut used = 0;
    for (number, made) in world.vouchers.made.iter().enumerate() {
        match world.voucher(made.router, made.hash) {
            Some(voucher) => used += u64::from(matches!(voucher.state, VoucherState::Used(_))),
            None if made.kept => return Err(format!("voucher {number} was sold, and its router does not know it")),
            None => {}
        }
    }
    sums.vouchers = world.routers.iter().map(|router| router.service.vouchers).sum();
    if sums.vouchers != used {
        return Err(format!("{used} vouchers are used, and {} became service", sums.vouchers));
    }
    world.books.compare();
    Ok(sums)
}
