//! Money that was paid by hand, without a prompt: it becomes service once, by its receipt, or a row that the operator sees.
//!
//! Nobody waits on a page for it, and no device asked. So it goes to the account that the account number names, else to the
//! one of the paying phone, else to a new one, whose owner comes with the receipt (`receipts`) or with the credentials.

use super::Gateway;
use super::notices::Sold;
use super::pruning::Told;
use crate::ledger::{LedgerEntry, Unserved, Waited};
use crate::message::{Deposit, PaymentUpdate};
use crate::order::OrderState;
use crate::package::Package;
use crate::step::Entropy;
use crate::time::{Now, Wall};
use crate::units::{Mac, Msisdn, OrderId, PackageId, Receipt, Shillings, Username};

/// What stands in the ledger as the package of money that no package fits.
const NO_PACKAGE: &str = "none";

/// Letters and digits alone, in capitals: people type the rest as they like.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase()
}

/// Under which id a deposit stands among the payments: its receipt's.
fn id_of(receipt: &Receipt) -> Option<OrderId> {
    receipt.as_str().to_ascii_lowercase().parse().ok()
}

impl Gateway {
    /// The relay says that somebody paid by hand.
    pub(super) fn deposit_arrived(&mut self, deposit: &Deposit, told_at: Wall, now: Now, entropy: &Entropy) {
        if self.may_be_forgotten(&deposit.receipt, told_at) {
            return self.keep_deposit(deposit, now);
        }
        // Somebody may be waiting for just this, with the receipt in hand: then it is for that device.
        let device = self.reclaims.device_that_waits_for(&deposit.receipt, deposit.payer);
        self.deposit(deposit, device, None, now, entropy);
        self.answer_reclaims(now);
    }

    fn keep_deposit(&mut self, deposit: &Deposit, now: Now) {
        let (Some(order), Ok(package)) = (id_of(&deposit.receipt), NO_PACKAGE.parse()) else { return };
        let (receipt, payer, amount) = (deposit.receipt.clone(), deposit.payer, deposit.amount);
        self.keep_for_the_operator(Told { receipt, order, payer, package, amount, device: None }, now);
    }

    /// Serves a deposit, unless its receipt is in the ledger. `device` is the one that came with the receipt, `phone` the number
    /// that the relay vouches for, where M-Pesa told no whole one.
    pub(super) fn deposit(&mut self, deposit: &Deposit, device: Option<Mac>, phone: Option<Msisdn>, now: Now, entropy: &Entropy) {
        if self.ledger.contains_key(&deposit.receipt) {
            return;
        }
        let Some(order) = id_of(&deposit.receipt) else { return };
        let phone = deposit.payer.phone().or(phone);
        let package = self.package_for(deposit).cloned();
        let mut waited = package.is_none().then_some(Unserved::NoPackage);
        let mut purchase = None;
        let account = package.as_ref().and_then(|package| {
            let Some(username) = self.account_for(deposit, phone, device, package, now, entropy) else {
                waited = Some(Unserved::NoAccount);
                return None;
            };
            let device = device.or_else(|| self.device_to_serve(&username));
            purchase = match device {
                Some(device) => self.credit(&username, device, phone, package, now),
                None => self.credit_account(&username, phone, package, now),
            };
            self.tell_of_sale(&Sold {
                username: &username,
                package,
                phone,
                device,
                order: Some(&order),
                receipt: Some(&deposit.receipt),
                language: None,
            });
            Some(username)
        });
        let Some(none) = NO_PACKAGE.parse::<PackageId>().ok() else { return };
        let entry = LedgerEntry {
            receipt: deposit.receipt.clone(),
            order,
            phone: phone.map_or(deposit.payer, Into::into),
            package: package.map_or(none, |package| package.id),
            amount: deposit.amount,
            at: now.wall,
            account: account.clone(),
            purchase,
            waited: waited.map(|why| Box::new(Waited { why, device, served_at: None, served_as: None })),
            idle_since: None,
        };
        self.step.ledger.insert(deposit.receipt.clone());
        self.ledger.insert(deposit.receipt.clone(), entry);
        match account {
            Some(username) => self.log(format!("deposit: paid by hand, account {username}")),
            None => self.log("deposit: money paid by hand could not be served; see `lango payments`".to_owned()),
        }
    }

    /// What a deposit buys: the named package at its price; else the first in the list that costs just this; else the named one,
    /// if more than its price was paid. Anything else is the operator's to decide: a guess would give away or keep too much.
    fn package_for(&self, deposit: &Deposit) -> Option<&Package> {
        let word = deposit.word.as_deref().map(plain);
        let named = word.and_then(|word| self.settings.packages.iter().find(|package| plain(package.id.as_str()) == word));
        self.settings.package_paid(named.map(|package| &package.id), deposit.amount)
    }

    fn account_for(
        &mut self,
        deposit: &Deposit,
        phone: Option<Msisdn>,
        device: Option<Mac>,
        package: &Package,
        now: Now,
        entropy: &Entropy,
    ) -> Option<Username> {
        let word = deposit.word.as_deref().map(plain);
        let named = word.and_then(|word| self.accounts.values().find(|account| plain(account.username.as_str()) == word));
        if let Some(account) = named {
            return Some(account.username.clone());
        }
        if let (Some(device), Some(phone)) = (device, phone) {
            return self.account_to_credit(device, Some(phone), package, entropy);
        }
        // Of a number that is shown in part there may be several owners: it never opens another's account.
        let mine = phone.and_then(|phone| self.account_of_phone(phone, now));
        mine.or_else(|| self.new_account(phone, package, entropy))
    }

    /// The device that goes online by a deposit on this account: its only one, if none is online.
    fn device_to_serve(&self, username: &Username) -> Option<Mac> {
        if self.accounts.get(username).is_some_and(|account| !account.online.is_empty()) {
            return None;
        }
        let mut bound = self.devices.values().filter(|device| device.account.as_ref() == Some(username));
        match (bound.next(), bound.next()) {
            (Some(only), None) => Some(only.mac),
            _ => None,
        }
    }

    /// The money of an order came as a deposit before: it is served, and now we know for which device.
    pub(super) fn paid_by_a_deposit(&mut self, update: &PaymentUpdate, receipt: &Receipt, amount: Shillings, now: Now) {
        let Some(entry) = self.ledger.get(receipt).filter(|entry| Some(&entry.order) == id_of(receipt).as_ref()) else { return };
        let account = entry.account.clone();
        let Some(order) = self.orders.get(&update.order) else { return };
        if matches!(order.state, OrderState::Paid { .. } | OrderState::Unserved { .. }) {
            return;
        }
        let device = order.device;
        self.withdraw_request(&update.order);
        let receipt = receipt.clone();
        let Some(username) = account else { return self.set_order(&update.order, OrderState::Unserved { receipt, amount }, now) };
        self.set_order(&update.order, OrderState::Paid { receipt, amount, account: username.clone() }, now);
        if self.account_online(device).is_some() || !self.accounts.get(&username).is_some_and(|account| account.open(now.monotonic)) {
            return;
        }
        if self.neighbours.is_here(device) {
            self.make_room(&username, device, now);
            self.open_session(&username, device, now);
        } else {
            self.bind(device, Some(&username), true);
        }
    }
}
