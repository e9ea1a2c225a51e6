//! Vouchers: made, taken in, redeemed once, taken back.

use super::Gateway;
use super::radius::is_remote;
use crate::account::Account;
use crate::limiter::Guard;
use crate::order::CREDENTIALS_SHOWN_FOR;
use crate::package::Package;
use crate::request::{Answer, BatchView, RedeemedView, Refusal, VoucherStatus, VoucherView};
use crate::step::Entropy;
use crate::time::{Monotonic, Now, Wall};
use crate::tree::{BTreeMap, BTreeSet};
use crate::units::{Mac, Millis, PackageId, Password, RouterName, Username};
use crate::voucher::{Batch, BatchId, MOST_AT_ONCE, NewVouchers, Used, Voucher, VoucherCode, VoucherHash, VoucherState, Which};

/// Vouchers kept at most, whatever their state: about a megabyte of memory.
pub(super) const KEPT_AT_MOST: usize = 10_000;

/// Failed codes of a device in each window; and what all devices together may fail in ten minutes before each is
/// held to two tries in that time (docs/decisions/0019-vouchers.md).
pub(super) const fn tries() -> Guard {
    Guard::new(8, Millis::from_minutes(2), 60, 2, Millis::from_minutes(10))
}

/// All vouchers, and their batches.
#[derive(Debug, Clone, Default)]
pub(super) struct Vouchers {
    by_hash: BTreeMap<VoucherHash, Voucher>,
    batches: BTreeMap<BatchId, Batch>,
    /// How many vouchers of each batch are kept, and how many of those are not used.
    left: BTreeMap<BatchId, (usize, usize)>,
    /// What was redeemed lately, and when: the newest last.
    lately: Vec<(Monotonic, VoucherHash)>,
}

/// What became of vouchers that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Now,
    /// They are here already, or were.
    Before,
    /// They could not be redeemed any more, or make no sense.
    TooLate,
    /// There is no room.
    Full,
}

impl Vouchers {
    pub(super) fn get(&self, hash: &VoucherHash) -> Option<&Voucher> {
        self.by_hash.get(hash)
    }

    pub(super) fn batch(&self, id: BatchId) -> Option<&Batch> {
        self.batches.get(&id)
    }

    pub(super) fn insert(&mut self, voucher: Voucher) {
        self.remove(&voucher.hash);
        let (kept, unused) = self.left.entry(voucher.batch).or_default();
        *kept += 1;
        *unused += usize::from(voucher.state == VoucherState::Unused);
        self.by_hash.insert(voucher.hash, voucher);
    }

    pub(super) fn insert_batch(&mut self, batch: Batch) {
        self.batches.insert(batch.id, batch);
    }

    pub(super) fn remove(&mut self, hash: &VoucherHash) {
        let Some(voucher) = self.by_hash.remove(hash) else { return };
        let Some((kept, unused)) = self.left.get_mut(&voucher.batch) else { return };
        *kept -= 1;
        *unused -= usize::from(voucher.state == VoucherState::Unused);
        if *kept == 0 {
            self.left.remove(&voucher.batch);
        }
    }

    pub(super) fn remove_batch(&mut self, id: BatchId) {
        self.batches.remove(&id);
    }

    /// Whether no voucher of a batch is kept any more.
    pub(super) fn is_empty(&self, id: BatchId) -> bool {
        !self.left.contains_key(&id)
    }

    /// Vouchers after that one, in the order of their hashes.
    pub(super) fn after(&self, hash: Option<VoucherHash>) -> impl Iterator<Item = &Voucher> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_hash.range((hash.map_or(Unbounded, Excluded), Unbounded)).map(|(_, voucher)| voucher)
    }

    /// Batches from that one on.
    pub(super) fn batches_after(&self, id: BatchId) -> impl Iterator<Item = &Batch> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.batches.range((Excluded(id), Unbounded)).map(|(_, batch)| batch)
    }

    fn find(&self, code: &VoucherCode) -> Option<&Voucher> {
        // All were made under the router's name of then: there is one, or two where it was renamed. Each costs a hash.
        let salts: BTreeSet<&RouterName> = self.batches.values().map(|batch| &batch.salt).collect();
        salts.into_iter().find_map(|salt| self.by_hash.get(&code.hash(salt)).filter(|voucher| self.is_of(voucher, salt)))
    }

    fn is_of(&self, voucher: &Voucher, salt: &RouterName) -> bool {
        self.batches.get(&voucher.batch).is_some_and(|batch| batch.salt == *salt)
    }

    /// Takes note of what was redeemed, in this boot, before a start.
    pub(super) fn remember(&mut self, voucher: &Voucher, now: Now, boot: &crate::time::BootId) {
        if let VoucherState::Used(used) = &voucher.state
            && used.boot == *boot
            && now.monotonic.since(used.since) < CREDENTIALS_SHOWN_FOR
        {
            self.lately.push((used.since, voucher.hash));
        }
    }

    /// Whether the index is what a walk over all vouchers gives.
    #[cfg(test)]
    pub(super) fn assert_indexed(&self) {
        let mut left: BTreeMap<BatchId, (usize, usize)> = BTreeMap::new();
        for voucher in self.by_hash.values() {
            let (kept, unused) = left.entry(voucher.batch).or_default();
            (*kept, *unused) = (*kept + 1, *unused + usize::from(voucher.state == VoucherState::Unused));
        }
        assert_eq!(self.left, left);
        assert!(self.by_hash.values().all(|voucher| self.batches.contains_key(&voucher.batch)), "a voucher without its batch");
    }
}

impl Gateway {
    /// The operator's command made vouchers.
    pub(super) fn add_vouchers(&mut self, new: NewVouchers, now: Now) -> Answer {
        let Some(package) = self.settings.package(&new.package).cloned() else {
            return Answer::Refused(Refusal::UnknownPackage);
        };
        let view = BatchView { batch: new.batch, package, expires_at: new.expires, first: new.first, count: count(new.hashes.len()) };
        match self.take_vouchers(new, now) {
            Taken::Now => Answer::VouchersAdded(view),
            Taken::Full => Answer::Refused(Refusal::VouchersFull),
            // The same six characters were drawn before: drawn again they are others.
            Taken::Before | Taken::TooLate => Answer::Refused(Refusal::NotStored),
        }
    }

    /// The relay pushed vouchers. `false`: not taken, and not to be acknowledged; it will send them again.
    pub(super) fn relay_vouchers(&mut self, new: NewVouchers, now: Now) -> bool {
        let (batch, sold) = (new.batch, self.settings.package(&new.package).is_some());
        if self.time(now).is_none() {
            return false; // whether they are good any more cannot be told
        }
        let (package, hashes) = (new.package.clone(), new.hashes.len());
        match self.take_vouchers(new, now) {
            Taken::Now => {
                self.log(format!("vouchers: batch {batch}, {hashes} for {package}, from the relay"));
                if !sold {
                    self.log(format!("vouchers: batch {batch} is for {package}, which is not for sale here: add it to the config"));
                }
                true
            }
            Taken::Before => true,
            Taken::TooLate => {
                self.log(format!("vouchers: batch {batch} of the relay is not taken: it has expired, or makes no sense"));
                true
            }
            Taken::Full => {
                self.log(format!("vouchers: batch {batch} of the relay finds no room: there are {KEPT_AT_MOST} already; revoke some"));
                false
            }
        }
    }

    fn take_vouchers(&mut self, new: NewVouchers, now: Now) -> Taken {
        let NewVouchers { batch: id, package, salt, expires, first, hashes } = new;
        let sensible = first > 0 && !hashes.is_empty() && hashes.len() <= usize::from(MOST_AT_ONCE);
        if !sensible || first.checked_add(count(hashes.len())).is_none() || self.is_past(expires, now) {
            return Taken::TooLate;
        }
        let mut batch = self.vouchers.batch(id).cloned().unwrap_or_else(|| Batch {
            id,
            offer: self.settings.package(&package).cloned(),
            package,
            salt,
            made: now.wall,
            expires,
            parts: Vec::new(),
            idle_since: None,
        });
        if batch.parts.contains(&first) {
            return Taken::Before;
        }
        if self.vouchers.by_hash.len() + hashes.len() > KEPT_AT_MOST {
            return Taken::Full;
        }
        batch.parts.push(first);
        self.vouchers.insert_batch(batch);
        self.step.batches.insert(id);
        for (number, hash) in (first..).zip(hashes) {
            if self.vouchers.get(&hash).is_none() {
                self.vouchers.insert(Voucher { hash, batch: id, number, state: VoucherState::Unused, idle_since: None });
                self.step.vouchers.insert(hash);
            }
        }
        Taken::Now
    }

    /// A device redeems a code: the voucher, what it gives and who has it change together, or nothing does.
    pub(super) fn redeem(&mut self, device: Mac, code: &VoucherCode, now: Now, entropy: &Entropy) -> Answer {
        // Before the hash, which costs something.
        if let Err(retry_after) = self.voucher_tries.check(device, now.monotonic) {
            return Answer::Refused(Refusal::TooManyRequests { retry_after });
        }
        let Some(voucher) = self.vouchers.find(code).cloned() else {
            if self.voucher_tries.count(device, now.monotonic) {
                self.log(format!("vouchers: many wrong codes, the last from {device}; each device has two tries in ten minutes now"));
            }
            return Answer::Refused(Refusal::UnknownVoucher);
        };
        let package = match self.offer_of(&voucher, now) {
            Ok(package) => package,
            Err(refusal) => {
                self.voucher_tries.count_alone(device, now.monotonic);
                return Answer::Refused(refusal);
            }
        };
        let Some(username) = self.account_for_voucher(device, &package, entropy) else {
            return Answer::Refused(Refusal::NotStored);
        };
        self.credit(&username, device, None, &package, now);
        // Who asks is here, whatever the neighbour table says.
        if !self.neighbours.is_here(device) {
            self.make_room(&username, device, now);
            self.open_session(&username, device, now);
        }
        self.tell_of_gift(&username, &package, device);
        let used = Used { at: now.wall, boot: self.boot.clone(), since: now.monotonic, account: username.clone(), device };
        let (batch, number, hash) = (voucher.batch, voucher.number, voucher.hash);
        self.vouchers.insert(Voucher { state: VoucherState::Used(Box::new(used)), ..voucher });
        self.step.vouchers.insert(hash);
        self.vouchers.lately.retain(|(since, _)| now.monotonic.since(*since) < CREDENTIALS_SHOWN_FOR);
        self.vouchers.lately.push((now.monotonic, hash));
        self.log(format!("vouchers: {batch}/{number} redeemed by {device} for {}, account {username}", package.id));
        let password = self.accounts.get(&username).map(|account| account.password.clone());
        match (self.session_of(device, now), password) {
            (Some(session), Some(password)) => Answer::Redeemed(RedeemedView { session, password }),
            _ => Answer::Refused(Refusal::NotStored),
        }
    }

    /// Whether there is a voucher that could be redeemed now. Nothing is counted through for it.
    pub(super) fn vouchers_can_be_redeemed(&self, now: Now) -> bool {
        let open = self.vouchers.left.iter().filter(|(_, (_, unused))| *unused > 0);
        open.filter_map(|(id, _)| self.vouchers.batch(*id)).any(|batch| {
            let gives = batch.offer.is_some() || self.settings.package(&batch.package).is_some();
            gives && !self.is_past(batch.expires, now)
        })
    }

    /// What an unused voucher gives.
    fn offer_of(&self, voucher: &Voucher, now: Now) -> Result<Package, Refusal> {
        match voucher.state {
            VoucherState::Unused => {}
            VoucherState::Used(_) => return Err(Refusal::VoucherUsed),
            VoucherState::Revoked { .. } => return Err(Refusal::VoucherRevoked),
        }
        let batch = self.vouchers.batch(voucher.batch).ok_or(Refusal::UnknownVoucher)?;
        if self.is_past(batch.expires, now) {
            return Err(Refusal::VoucherExpired);
        }
        batch.offer.clone().or_else(|| self.settings.package(&batch.package).cloned()).ok_or(Refusal::UnknownPackage)
    }

    /// As for what is bought: the account that the device is online with. Else, since no phone number tells whose an account
    /// is, the one that it used last, where no other device ever used that; else a new one.
    fn account_for_voucher(&mut self, device: Mac, package: &Package, entropy: &Entropy) -> Option<Username> {
        let online = self.account_online(device).filter(|online| !is_remote(online));
        if online.is_none() {
            let last = self.devices.get(&device).and_then(|device| device.account.as_ref()).and_then(|name| self.accounts.get(name));
            let alone = |account: &&Account| {
                !is_remote(&account.username) && account.traffic.keys().chain(account.online.keys()).all(|mac| *mac == device)
            };
            return match last.filter(alone) {
                Some(account) => Some(account.username.clone()),
                None => self.new_account(None, package, entropy),
            };
        }
        online
    }

    /// The operator takes back what is not used yet.
    pub(super) fn revoke_vouchers(&mut self, which: Which, now: Now) -> Answer {
        let all: Vec<Voucher> = self.meant(which).cloned().collect();
        if all.is_empty() {
            return Answer::Refused(Refusal::UnknownVoucher);
        }
        let unused: Vec<Voucher> = all.into_iter().filter(|voucher| voucher.state == VoucherState::Unused).collect();
        let revoked = count(unused.len());
        for voucher in unused {
            self.step.vouchers.insert(voucher.hash);
            self.vouchers.insert(Voucher { state: VoucherState::Revoked { at: now.wall }, ..voucher });
        }
        self.log(format!("vouchers: {revoked} of batch {} revoked by the operator", which.batch));
        Answer::VouchersRevoked(revoked)
    }

    /// The relay has the operator's word to take back what is not used yet. Gives back how many of what it means are revoked now, and
    /// how many were redeemed.
    pub(super) fn relay_revokes(&mut self, which: Which, now: Now) -> (u16, u16) {
        if self.meant(which).any(|voucher| voucher.state == VoucherState::Unused) {
            self.revoke_vouchers(which, now);
        }
        let revoked = self.meant(which).filter(|voucher| matches!(voucher.state, VoucherState::Revoked { .. })).count();
        let used = self.meant(which).filter(|voucher| matches!(voucher.state, VoucherState::Used(_))).count();
        (count(revoked), count(used))
    }

    fn meant(&self, which: Which) -> impl Iterator<Item = &Voucher> {
        let meant = move |voucher: &&Voucher| voucher.batch == which.batch && which.number.is_none_or(|number| number == voucher.number);
        self.vouchers.by_hash.values().filter(meant)
    }

    /// All vouchers for the operator, the newest batch first.
    pub(super) fn voucher_views(&self, now: Now) -> Vec<VoucherView> {
        let mut views: Vec<VoucherView> = self.vouchers.by_hash.values().filter_map(|voucher| self.voucher_view(voucher, now)).collect();
        views.sort_by(|a, b| b.made_at.cmp(&a.made_at).then_with(|| (a.batch, a.number).cmp(&(b.batch, b.number))));
        views
    }

    fn voucher_view(&self, voucher: &Voucher, now: Now) -> Option<VoucherView> {
        let batch = self.vouchers.batch(voucher.batch)?;
        let mut view = VoucherView {
            batch: voucher.batch,
            number: voucher.number,
            package: PackageId::clone(&batch.package),
            price: batch.offer.as_ref().map(|offer| offer.price),
            status: VoucherStatus::Unused,
            made_at: batch.made,
            expires_at: batch.expires,
            ended_at: None,
            username: None,
            device: None,
        };
        match &voucher.state {
            VoucherState::Unused if self.is_past(batch.expires, now) => {
                (view.status, view.ended_at) = (VoucherStatus::Expired, batch.expires)
            }
            VoucherState::Unused => {}
            VoucherState::Used(used) => {
                (view.status, view.ended_at) = (VoucherStatus::Used, used.at);
                (view.username, view.device) = (Some(used.account.clone()), Some(used.device));
            }
            VoucherState::Revoked { at } => (view.status, view.ended_at) = (VoucherStatus::Revoked, *at),
        }
        Some(view)
    }

    /// The password of the account that a device redeemed a voucher on in the last five minutes.
    pub(super) fn voucher_password(&self, device: Mac, account: &Username, now: Now) -> Option<Password> {
        let fresh = |since: &Monotonic| now.monotonic.since(*since) < CREDENTIALS_SHOWN_FOR;
        let redeemed = self.vouchers.lately.iter().filter(|(since, _)| fresh(since)).filter_map(|(_, hash)| self.vouchers.get(hash));
        let mut its = redeemed.filter_map(|voucher| if let VoucherState::Used(used) = &voucher.state { Some(used) } else { None });
        let used = its.find(|used| used.device == device && used.account == *account)?;
        self.accounts.get(&used.account).map(|account| account.password.clone())
    }

    /// Whether that moment is past. Where nobody knows the time it is not: a customer does not pay for our clock.
    pub(super) fn is_past(&self, moment: Option<Wall>, now: Now) -> bool {
        moment.zip(self.time(now)).is_some_and(|(moment, now)| moment <= now)
    }

    /// The relay's clock, which is set, before our own, which may not be.
    pub(super) fn time(&self, now: Now) -> Option<Wall> {
        self.link.relay_time(now.monotonic).or(now.wall)
    }
}

fn count(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
