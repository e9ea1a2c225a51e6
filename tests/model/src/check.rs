//! The reference: money in, service out. What must hold at every moment, and what must hold when everything is mended.

use crate::world::World;
use lango_core::units::Receipt;
use lango_core::voucher::VoucherState;
use lango_relay::ledger::Key;
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
    // The ledger has no money that Safaricom has not, and none twice.
    let mut booked = BTreeSet::new();
    for (receipt, entry) in &world.books.money {
        let prompt = world.safaricom.prompts.iter().find(|prompt| prompt.key == entry.key);
        let real = prompt.and_then(|prompt| Some((prompt.receipt.clone()?, stand_in_receipt(&prompt.checkout), prompt.amount)));
        match real {
            Some((own, stand_in, amount)) if (own == *receipt || stand_in.as_ref() == Some(receipt)) && amount == entry.amount => {}
            _ => return Err(format!("{}: the ledger has money, {receipt}, that Safaricom never took", entry.key)),
        }
        if !booked.insert(&entry.key) {
            return Err(format!("{}: its money is in the ledger twice", entry.key));
        }
    }
    // A router has no money that the ledger has not, and none twice.
    for router in &world.routers {
        let mut orders = BTreeSet::new();
        for entry in router.money() {
            let key = Key { router: router.name.clone(), order: entry.order.clone() };
            if world.books.money.get(&entry.receipt).is_none_or(|booked| booked.key != key || booked.amount != entry.amount) {
                return Err(format!("{key}: the router has money, {}, that the ledger has not", entry.receipt));
            }
            if !orders.insert(&entry.order) {
                return Err(format!("{key}: its money was served twice"));
            }
        }
        router.check(world.now)?;
    }
    vouchers(world)
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
                    return Err(format!("{}: `lango payments` shows {receipt} twice", router.name));
                }
            } else if view.status == lango_core::request::PaymentStatus::Pending {
                return Err(format!("{}/{}: still pending when all is over", router.name, view.payment));
            }
        }
        if router.outbox() > 0 {
            return Err(format!("{}: requests wait to be acknowledged when all is over", router.name));
        }
    }
    for prompt in world.safaricom.prompts.iter().filter(|prompt| prompt.receipt.is_some()) {
        sums.taken += 1;
        let Some(payment) = world.books.payment(&prompt.key) else { return Err(format!("{}: money without a payment", prompt.key)) };
        match (payment.state, &payment.receipt) {
            (State::Paid, Some(receipt)) => match shown.get(receipt) {
                Some(true) => sums.served += 1,
                Some(false) => sums.unserved += 1,
                None => return Err(format!("{}: paid, and its router does not have it", prompt.key)),
            },
            (State::NeedsReview, _) => sums.review += 1,
            (state, _) => return Err(format!("{}: Safaricom took the money, and the relay says {state:?}", prompt.key)),
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
    if shown.len() as u64 != sums.served + sums.unserved {
        return Err(format!("the routers show {} receipts, and {} are accounted for", shown.len(), sums.served + sums.unserved));
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
