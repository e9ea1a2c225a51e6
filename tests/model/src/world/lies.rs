//! Where the world itself lies ([`crate::lies`]): of messages, of what customers type, and in the relays' ledger.

use super::World;
use crate::books::Entry;
use crate::lies::{Lie, nobodys};
use lango_core::message::{Down, DownBody, Outcome};
use lango_core::record::Record;
use lango_core::step;
use lango_core::time::{BootId, Monotonic};
use lango_core::units::{MessageId, Shillings};
use lango_core::voucher::{Used, Voucher, VoucherCode, VoucherState};
use lango_relay::ledger::{Deposit, Stage};
use lango_relay::payment::schedule::stand_in_receipt;

impl World {
    /// What a router is told in place of this. Nothing: it does not hear of it.
    pub(super) fn falsified(&mut self, router: usize, down: Down) -> Option<Down> {
        let liar = self.liar.clone();
        let is_money = matches!(&down.body, DownBody::Deposit(_))
            || matches!(&down.body, DownBody::Payment(update) if matches!(update.outcome, Outcome::Paid { .. }));
        let listens = self.routers[router].runs() && self.routers[router].net;
        if !is_money || !listens {
            let is_result = matches!(&down.body, DownBody::Payment(_) | DownBody::Stale { .. }) && listens;
            return (!(is_result && liar.tells(Lie::NoOutcome))).then_some(down);
        }
        let mut down = down;
        if liar.tells(Lie::AcknowledgedForNothing) {
            self.books.acknowledged(&down.router, &[down.id], self.wall());
            return None;
        }
        if liar.tells(Lie::TwoRouters) {
            let other = &mut self.routers[1 - router];
            let told = Down { router: other.name.clone(), ..down.clone() };
            other.step(step::Input::Relay(told), self.now);
        }
        if let DownBody::Payment(update) = &mut down.body
            && let Outcome::Paid { receipt, .. } = &mut update.outcome
        {
            if liar.tells(Lie::OtherReceipt) {
                *receipt = nobodys();
            }
            if liar.tells(Lie::OrderTwice) {
                let own = std::mem::replace(receipt, nobodys());
                let id: MessageId = format!("lie-{}", liar.told()).parse().unwrap();
                let again = Down { id, ..down.clone() };
                self.routers[router].step(step::Input::Relay(again), self.now);
                if let DownBody::Payment(update) = &mut down.body
                    && let Outcome::Paid { receipt, .. } = &mut update.outcome
                {
                    *receipt = own;
                }
            }
        }
        Some(down)
    }

    /// The code for which a router takes what was typed.
    pub(super) fn taken_for(&self, number: usize, typed: VoucherCode, voucher: Option<&Voucher>) -> VoucherCode {
        let lie = match voucher.map(|voucher| &voucher.state) {
            None => Lie::GuestsCode,
            Some(VoucherState::Used(_)) => Lie::UsedCodeWelcome,
            Some(_) => return typed,
        };
        let is_good = |made: &&crate::vouchers::Made| {
            made.router == number && self.voucher(number, made.hash).is_some_and(|voucher| voucher.state == VoucherState::Unused)
        };
        let good = self.vouchers.made.iter().find(is_good);
        good.filter(|_| self.liar.tells(lie)).map_or(typed, |made| made.code)
    }

    /// What is false in the books from now on.
    pub(super) fn lie(&mut self) {
        let liar = self.liar.clone();
        let paid = self.books.money.iter().find(|(_, entry)| entry.key.is_some()).map(|(receipt, entry)| (receipt.clone(), entry.clone()));
        if let Some((receipt, entry)) = paid {
            let prompt = self.safaricom.prompts.iter().find(|prompt| Some(&prompt.key) == entry.key.as_ref());
            let both = prompt.and_then(|prompt| Some([prompt.receipt.clone()?, stand_in_receipt(&prompt.checkout)?]));
            let other = both.and_then(|both| both.into_iter().find(|other| *other != receipt));
            if let Some(other) = other.clone().filter(|_| liar.tells_once(Lie::LedgerTwice)) {
                self.books.money.insert(other, entry.clone());
            }
            if let Some(other) = other.filter(|_| liar.tells_once(Lie::LedgerTwiceUnnamed)) {
                self.books.money.insert(other, Entry { key: None, ..entry });
            }
            if liar.tells_once(Lie::LedgerInvents) {
                self.books.money.insert(nobodys(), Entry { key: None, router: None, amount: Shillings(10) });
            }
        }
        let deposit = self.books.deposits().next().cloned();
        if let Some(deposit) = deposit.filter(|_| liar.tells_once(Lie::DepositInvented)) {
            let invented = Deposit { receipt: nobodys(), stage: Stage::Held, due: None, ..deposit };
            self.books.settle(&invented, None).expect("it is in no book yet");
        }
        let told = self.routers.iter().flat_map(|router| router.money()).next().map(|entry| entry.receipt.clone());
        if let Some(receipt) = told.filter(|_| liar.tells_once(Lie::LedgerLoses)) {
            self.books.money.remove(&receipt);
        }
        for router in &mut self.routers {
            let account = router.accounts().next().map(|account| account.username.clone());
            let unused = router.store.values_mut().find_map(|record| match record {
                Record::Voucher(voucher) if voucher.state == VoucherState::Unused => Some(voucher),
                _ => None,
            });
            if let (Some(account), Some(voucher)) = (account, unused)
                && liar.tells_once(Lie::VoucherForgedUsed)
            {
                let device = lango_core::units::Mac([2, 0, 0, 0, 0, 0]);
                voucher.state =
                    VoucherState::Used(Box::new(Used { at: None, boot: BootId::from("none"), since: Monotonic(0), account, device }));
            }
        }
    }
}
