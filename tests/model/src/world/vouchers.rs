//! Vouchers: made on a router or in the cloud, redeemed, tried wrong, taken back.

use super::World;
use crate::sold::PACKAGES;
use crate::vouchers::{Made, batch, code};
use lango_core::message::DownBody;
use lango_core::record::Record;
use lango_core::request::{Answer, Refusal, Request};
use lango_core::units::PackageId;
use lango_core::voucher::{NewVouchers, Voucher, VoucherHash, VoucherState, Which};
use lango_relay::ledger::Message;

/// The cloud's vouchers are good for so long, in milliseconds: no run lasts that long.
const GOOD_FOR: u64 = 365 * 86_400_000;

impl World {
    pub(super) fn make_vouchers(&mut self, number: usize, package: u8, count: u8, cloud: bool) {
        let name = self.routers[number].name.clone();
        let first = self.vouchers.made.len();
        let codes: Vec<_> = (first..first + usize::from(count)).map(|n| code(n, &name)).collect();
        let package: PackageId = PACKAGES[usize::from(package) % PACKAGES.len()].parse().unwrap();
        let id = batch(self.vouchers.batches.len());
        let expires = cloud.then(|| lango_core::time::Wall(self.wall().0 + GOOD_FOR));
        let hashes = codes.iter().map(|(_, hash)| *hash).collect();
        let new = NewVouchers { batch: id, package, salt: name.clone(), expires, first: 1, hashes };
        let kept = if cloud {
            let order = format!("vouchers{id}{:05}", 1).parse().unwrap();
            let down = self.down(&name, DownBody::Vouchers(new));
            let topic = format!("lango/v1/{name}/down/vouchers");
            let message =
                Message { id: down.id.clone(), router: name, order, seq: down.seq, topic, payload: down.to_json(), made_at: down.at };
            self.books.post(message, self.wall());
            true
        } else {
            matches!(self.routers[number].ask(Request::AddVouchers(new), self.now), Some(Answer::VouchersAdded(_)))
        };
        self.vouchers.batches.push((number, id));
        self.vouchers.made.extend(codes.into_iter().map(|(code, hash)| Made { code, hash, router: number, kept, redeemed: 0 }));
    }

    /// A customer tries a code at a router: its own, or another one's.
    pub(super) fn redeem(&mut self, number: usize, device: u8, n: usize, wrong: bool) -> Result<(), String> {
        let count = self.vouchers.made.len();
        // The newest are the likeliest to be good still.
        let which = (count > 0 && !wrong).then(|| count - 1 - n % count);
        let typed = which.map_or_else(|| code(899, &self.routers[number].name).0, |which| self.vouchers.made[which].code);
        let before = which.and_then(|which| self.voucher(self.vouchers.made[which].router, self.vouchers.made[which].hash).cloned());
        let device = self.routers[number].mac(device);
        let typed = self.taken_for(number, typed, before.as_ref());
        let answer = self.routers[number].ask(Request::Redeem { device, code: typed }, self.now);
        let here = which.filter(|which| self.vouchers.made[*which].router == number);
        let state = before.filter(|_| here.is_some()).map(|voucher| voucher.state);
        let right = match &answer {
            Some(Answer::Redeemed(_)) => state == Some(VoucherState::Unused),
            Some(Answer::Refused(Refusal::UnknownVoucher)) => state.is_none(),
            Some(Answer::Refused(Refusal::VoucherUsed)) => matches!(state, Some(VoucherState::Used(_))),
            Some(Answer::Refused(Refusal::VoucherRevoked)) => matches!(state, Some(VoucherState::Revoked { .. })),
            // What a batch of an unsold package is good for nobody knows; nobody had it in the price list when it came.
            Some(Answer::Refused(Refusal::UnknownPackage)) => state == Some(VoucherState::Unused),
            // It died before it could say anything, or the customer has tried too often.
            None | Some(Answer::Refused(Refusal::TooManyRequests { .. })) => true,
            Some(_) => false,
        };
        if !right {
            return Err(format!("voucher {which:?} was {state:?} at {}, and the customer is told {answer:?}", self.routers[number].name));
        }
        if let (Some(Answer::Redeemed(_)), Some(which)) = (&answer, here) {
            self.vouchers.made[which].redeemed += 1;
            if self.vouchers.made[which].redeemed > 1 {
                return Err(format!("voucher {which} became service {} times", self.vouchers.made[which].redeemed));
            }
        }
        Ok(())
    }

    pub(super) fn revoke(&mut self, number: usize, n: usize) {
        let mine: Vec<_> = self.vouchers.batches.iter().filter(|(router, _)| *router == number).map(|(_, batch)| *batch).collect();
        if let Some(batch) = mine.get(n % mine.len().max(1)) {
            let which = Which { batch: *batch, number: None };
            self.routers[number].ask(Request::RevokeVouchers { which }, self.now);
        }
    }

    /// What a router keeps of a voucher.
    #[must_use]
    pub fn voucher(&self, router: usize, hash: VoucherHash) -> Option<&Voucher> {
        match self.routers[router].store.get(&Record::voucher_key(hash).0) {
            Some(Record::Voucher(voucher)) => Some(voucher),
            _ => None,
        }
    }
}
