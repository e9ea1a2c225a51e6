//! Money that could not be served when it came, and is served when the operator says how: once, by its receipt.

use super::Gateway;
use super::notices::Sold;
use crate::ledger::{Unserved, Waited};
use crate::order::OrderState;
use crate::request::{Answer, Refusal, ServedView};
use crate::step::Entropy;
use crate::time::Now;
use crate::units::{Mac, Msisdn, PackageId, Receipt, Username};

impl Gateway {
    /// Serves a receipt that waits: as this package, or as the one that it pays for by the price list of now; to this device, or
    /// to the one that asked, or to the account of the phone that paid. All of it is one change of the store.
    pub(super) fn serve(
        &mut self,
        receipt: &Receipt,
        package: Option<&PackageId>,
        device: Option<Mac>,
        now: Now,
        entropy: &Entropy,
    ) -> Answer {
        let Some(entry) = self.ledger.get(receipt).cloned() else { return Answer::Refused(Refusal::UnknownReceipt) };
        if entry.account.is_some() {
            return Answer::Refused(Refusal::AlreadyServed);
        }
        let package = match package {
            Some(id) => self.settings.package(id).ok_or(Refusal::UnknownPackage),
            None => self.settings.package_paid(Some(&entry.package), entry.amount).ok_or(Refusal::NoPackageFits),
        };
        let package = match package.cloned() {
            Ok(package) => package,
            Err(refusal) => return Answer::Refused(refusal),
        };
        let asked = entry.waited.as_ref().and_then(|waited| waited.device);
        let device = device.or(asked).or_else(|| self.orders.get(&entry.order).map(|order| order.device));
        let phone = entry.phone.phone();
        let username = match device {
            Some(device) => self.account_to_credit(device, phone, &package, entropy),
            None => phone.and_then(|phone| self.account_of_phone(phone, now)).or_else(|| self.new_account(phone, &package, entropy)),
        };
        let Some(username) = username else { return Answer::Refused(Refusal::NotStored) };
        let purchase = match device {
            Some(device) => self.credit(&username, device, phone, &package, now),
            None => self.credit_account(&username, phone, &package, now),
        };
        self.tell_of_sale(&Sold {
            username: &username,
            package: &package,
            phone,
            device,
            order: Some(&entry.order),
            receipt: Some(receipt),
            language: self.orders.get(&entry.order).and_then(|order| order.language),
        });
        if let Some(entry) = self.ledger.get_mut(receipt) {
            (entry.account, entry.purchase) = (Some(username.clone()), purchase);
            let waited =
                entry.waited.get_or_insert_with(|| Box::new(Waited { why: Unserved::NoPackage, device, served_at: None, served_as: None }));
            (waited.served_at, waited.served_as) = (now.wall, Some(package.id.clone()));
            self.step.ledger.insert(receipt.clone());
        }
        let shown = self
            .orders
            .get(&entry.order)
            .is_some_and(|order| matches!(&order.state, OrderState::Unserved { receipt: of_order, .. } if of_order == receipt));
        if shown {
            // Its page, if it is still open, shows the credentials now.
            self.set_order(
                &entry.order,
                OrderState::Paid { receipt: receipt.clone(), amount: entry.amount, account: username.clone() },
                now,
            );
        }
        self.log(format!("payment {}: served by the operator as {}, account {username}", entry.order, package.id));
        let Some(account) = self.accounts.get(&username) else { return Answer::Refused(Refusal::NotStored) };
        Answer::Served(ServedView {
            receipt: receipt.clone(),
            username: account.username.clone(),
            password: account.password.clone(),
            package: package.id,
            device,
            online: device.is_some_and(|device| account.online.contains_key(&device)),
        })
    }

    /// The account of that phone: one that is online before one that has something left, the newest of those.
    pub(super) fn account_of_phone(&self, phone: Msisdn, now: Now) -> Option<Username> {
        let mine = self.accounts.values().filter(|account| account.phone == Some(phone));
        let best = mine.max_by_key(|account| (!account.online.is_empty(), account.open(now.monotonic), account.id));
        best.map(|account| account.username.clone())
    }
}
