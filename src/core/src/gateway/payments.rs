//! Payments: from the wish to buy to money that became service, once.

use super::Gateway;
use super::notices::Sold;
use super::pruning::Told;
use super::radius::is_remote;
use crate::account::{Account, Clock, PurchaseNumber};
use crate::credentials;
use crate::few::FewMap;
use crate::gate::GateId;
use crate::language::Language;
use crate::ledger::{LedgerEntry, Unserved, Waited};
use crate::limiter::Limiter;
use crate::message::{Outcome, PaymentRequest, PaymentUpdate, Reason, UpBody};
use crate::order::{CREDENTIALS_SHOWN_FOR, Order, OrderState};
use crate::package::Package;
use crate::radius::TerminateCause;
use crate::request::{Answer, PaymentStatus, PaymentView, ReceiptView, Refusal};
use crate::step::Entropy;
use crate::time::{Monotonic, Now, Wall};
use crate::tree::BTreeSet;
use crate::units::{Bytes, Mac, Millis, Msisdn, OrderId, PackageId, Receipt, Shillings, Username};
use std::collections::VecDeque;

/// So many receipts are on the account's page.
const RECEIPTS_SHOWN: usize = 5;

/// By which orders are compared: those that were decided in an earlier boot have no moment in this one ([`Order::since`] is 0), and are older
/// than all that have, whatever their clock said.
const fn newness(order: &Order, at: Option<Wall>) -> (bool, Option<Wall>, Monotonic) {
    (order.since.0 > 0, at, order.since)
}

/// A device may start so many payments in each window: each is a prompt on somebody's phone.
pub(super) const fn tries() -> Limiter {
    Limiter::new(6, Millis::from_minutes(5))
}

impl Gateway {
    pub(super) fn pay(
        &mut self,
        device: Mac,
        package: &PackageId,
        phone: Msisdn,
        language: Option<Language>,
        now: Now,
        entropy: &Entropy,
    ) -> Answer {
        let Some(package) = self.settings.package(package).cloned() else {
            return Answer::Refused(Refusal::UnknownPackage);
        };
        let same = |order: &&Order| order.state == OrderState::Pending && order.package.id == package.id;
        if let Some(order) = self.orders.of_device(device).find(same) {
            return Answer::Payment(self.payment_view(order, now));
        }
        if !self.settings.relay || !self.link.can_pay() {
            return Answer::Refused(Refusal::PaymentsOffline);
        }
        if let Err(retry_after) = self.pay_tries.check(device, now.monotonic) {
            return Answer::Refused(Refusal::TooManyRequests { retry_after });
        }
        let Some(id) = credentials::order_id(entropy) else {
            return Answer::Refused(Refusal::NotStored);
        };
        self.pay_tries.count(device, now.monotonic);
        let order = Order {
            id,
            device,
            phone,
            package,
            created: now.wall,
            boot: self.boot.clone(),
            since: now.monotonic,
            attempt: 1,
            language,
            state: OrderState::Pending,
            given_up: false,
            idle_since: None,
        };
        self.step.orders.insert(order.id.clone());
        self.orders.insert(order.clone());
        self.request_payment(&order, now);
        self.log(format!("payment {}: asked by {device} for {}", order.id, order.package.id));
        Answer::Payment(self.payment_view(&order, now))
    }

    pub(super) fn request_payment(&mut self, order: &Order, now: Now) {
        let Ok(message) = format!("pay-{}-{}", order.id, order.attempt).parse::<crate::units::MessageId>() else { return };
        let body = UpBody::PaymentRequest(PaymentRequest {
            order: order.id.clone(),
            package: order.package.id.clone(),
            label: order.package.label.clone(),
            amount: order.package.price,
            phone: order.phone,
            device: order.device,
            asked_at: self.link.relay_time(now.monotonic),
        });
        self.expect_answer(&message, now);
        self.publish_durably(message, body);
    }

    /// The relay told how a payment ended, at a time of its clock.
    pub(super) fn payment_told(&mut self, update: PaymentUpdate, told_at: Wall, now: Now, entropy: &Entropy) {
        match update.outcome {
            Outcome::Paid { receipt, amount } if self.may_be_forgotten(&receipt, told_at) => {
                let (payer, device) = (update.phone.into(), Some(update.device));
                self.keep_for_the_operator(Told { receipt, order: update.order, payer, package: update.package, amount, device }, now);
            }
            Outcome::Paid { .. } | Outcome::Failed { .. } => self.payment_update(update, now, entropy),
        }
    }

    pub(super) fn payment_update(&mut self, update: PaymentUpdate, now: Now, entropy: &Entropy) {
        match update.outcome {
            Outcome::Failed { reason } => self.payment_failed(&update.order, reason, now),
            Outcome::Paid { ref receipt, amount } => {
                if self.ledger.contains_key(receipt) {
                    // This money is served already, or waits for the operator.
                    return self.paid_by_a_deposit(&update, receipt, amount, now);
                }
                self.money_arrived(&update, receipt.clone(), amount, now, entropy);
            }
        }
    }

    fn payment_failed(&mut self, id: &OrderId, reason: Reason, now: Now) {
        let Some(order) = self.orders.get(id) else { return };
        match order.state {
            OrderState::Pending | OrderState::Expired => {}
            // Success is final, and a first reason stays.
            OrderState::Paid { .. } | OrderState::Unserved { .. } | OrderState::Failed { .. } => return,
        }
        self.set_order(id, OrderState::Failed { reason }, now);
        self.log(format!("payment {id}: failed, {reason:?}"));
    }

    fn money_arrived(&mut self, update: &PaymentUpdate, receipt: Receipt, amount: Shillings, now: Now, entropy: &Entropy) {
        let known = self.orders.get(&update.order).cloned();
        let wanted = match &known {
            // What was bought is what was offered then, whatever has become of the price list.
            Some(order) if amount >= order.package.price => Ok(order.package.clone()),
            Some(order) => Err(Unserved::Underpaid { price: order.package.price }),
            None => self.settings.package_paid(Some(&update.package), amount).cloned().ok_or_else(|| {
                let price = self.settings.package(&update.package).map(|package| package.price);
                price.map_or(Unserved::NoPackage, |price| Unserved::Underpaid { price })
            }),
        };
        let device = known.as_ref().map_or(update.device, |order| order.device);
        let served = wanted.and_then(|package| {
            let username = self.account_to_credit(device, Some(update.phone), &package, entropy).ok_or(Unserved::NoAccount)?;
            let purchase = self.credit(&username, device, Some(update.phone), &package, now);
            Ok((username, package, purchase))
        });
        // An order that this router forgot, or never had: the relay says what was bought, for which device and number.
        let order = known.or_else(|| {
            let (_, package, _) = served.as_ref().ok()?;
            Some(Order {
                id: update.order.clone(),
                device,
                phone: update.phone,
                package: package.clone(),
                created: now.wall,
                boot: self.boot.clone(),
                since: now.monotonic,
                attempt: 0,
                language: None,
                state: OrderState::Pending,
                given_up: false,
                idle_since: None,
            })
        });
        let account = served.as_ref().ok().map(|(username, ..)| username.clone());
        if let Ok((username, package, _)) = &served {
            self.tell_of_sale(&Sold {
                username,
                package,
                phone: Some(update.phone),
                device: Some(device),
                order: Some(&update.order),
                receipt: Some(&receipt),
                language: order.as_ref().and_then(|order| order.language),
            });
        }
        let entry = LedgerEntry {
            receipt: receipt.clone(),
            order: update.order.clone(),
            phone: update.phone.into(),
            package: served.as_ref().map_or_else(|_| update.package.clone(), |(_, package, _)| package.id.clone()),
            amount,
            at: now.wall,
            account: account.clone(),
            purchase: served.as_ref().ok().and_then(|(.., purchase)| *purchase),
            waited: served.err().map(|why| Box::new(Waited { why, device: Some(device), served_at: None, served_as: None })),
            idle_since: None,
        };
        self.step.ledger.insert(receipt.clone());
        self.ledger.insert(receipt.clone(), entry);
        if let Some(order) = order {
            self.withdraw_request(&order.id);
            let id = order.id.clone();
            // A second payment for an order that was paid already is served like the first; the order shows the first.
            let shown_already = matches!(order.state, OrderState::Paid { .. });
            if self.orders.get(&id).is_none() {
                self.orders.insert(order);
            }
            if !shown_already {
                let state = match account.clone() {
                    Some(account) => OrderState::Paid { receipt, amount, account },
                    None => OrderState::Unserved { receipt, amount },
                };
                self.set_order(&id, state, now);
            }
        }
        match account {
            Some(username) => self.log(format!("payment {}: paid, account {username}", update.order)),
            None => self.log(format!("payment {}: money arrived that could not be served; see `lango payments`", update.order)),
        }
    }

    pub(super) fn set_order(&mut self, id: &OrderId, state: OrderState, now: Now) {
        let boot = &self.boot;
        let set = |order: &mut Order| (order.state, order.since, order.boot) = (state, now.monotonic, boot.clone());
        if self.orders.change(id, set).is_some() {
            self.step.orders.insert(id.clone());
            self.step.changed.insert(id.clone());
        }
    }

    /// Which account gets what a device bought: the one that it is online with, or goes online with as soon as it is seen; else the one that it used last, if the same
    /// phone paid for it; else a new one. So buying again extends, and a second device that the same phone pays for has an
    /// account of its own.
    pub(super) fn account_to_credit(
        &mut self,
        device: Mac,
        phone: Option<Msisdn>,
        package: &Package,
        entropy: &Entropy,
    ) -> Option<Username> {
        // What a server lets in ends with its session, and is nobody's to buy on.
        if let Some(online) = self.account_online(device).filter(|online| !is_remote(online)) {
            return Some(online);
        }
        let record = self.devices.get(&device);
        let last = record.and_then(|device| device.account.as_ref()).and_then(|name| self.accounts.get(name));
        // Right after a power cut money may be quicker than the phone that was online when the power went.
        let waits = record.is_some_and(|device| device.waiting);
        let last = last.filter(|account| !is_remote(&account.username));
        if let Some(account) = last.filter(|account| account.phone == phone || (waits && !account.purchases.is_empty())) {
            return Some(account.username.clone());
        }
        self.new_account(phone, package, entropy)
    }

    /// A new account with nothing on it yet.
    pub(super) fn new_account(&mut self, phone: Option<Msisdn>, package: &Package, entropy: &Entropy) -> Option<Username> {
        let username = credentials::username(entropy, |name| self.accounts.get(name).is_some())?;
        let account = Account {
            username: username.clone(),
            password: credentials::password(entropy)?,
            id: GateId(self.counters.next_gate),
            phone,
            package: package.id.clone(),
            purchases: VecDeque::new(),
            taken_away: 0,
            clock: Clock::Unlimited,
            traffic: FewMap::new(),
            data_start: Bytes::ZERO,
            online: FewMap::new(),
            idle_since: None,
            untold: 0,
            counted_in: None,
        };
        self.counters.next_gate = self.counters.next_gate.wrapping_add(1).max(1);
        self.step.counters = true;
        self.accounts.insert(account);
        Some(username)
    }

    /// Puts a purchase on an account, and its buyer online: now if it is here, else as soon as it is seen. Gives back which of the
    /// account's purchases it is.
    pub(super) fn credit(
        &mut self,
        username: &Username,
        device: Mac,
        phone: Option<Msisdn>,
        package: &Package,
        now: Now,
    ) -> Option<PurchaseNumber> {
        let purchase = self.credit_account(username, phone, package, now);
        if self.neighbours.is_here(device) {
            self.make_room(username, device, now);
            self.open_session(username, device, now);
        } else {
            // Away, and perhaps still online on another account, as a phone that sleeps is: it is on one at a time.
            if let Some(before) = self.account_online(device).filter(|before| before != username) {
                self.close_session(&before, device, TerminateCause::UserRequest, now);
            }
            self.bind(device, Some(username), true);
            self.log(format!("session: {device} is away; it goes online on {username} when it is seen"));
        }
        purchase
    }

    /// Puts a purchase on an account, and lets who is online on it go on. Gives back which of the account's purchases it is.
    pub(super) fn credit_account(
        &mut self,
        username: &Username,
        phone: Option<Msisdn>,
        package: &Package,
        now: Now,
    ) -> Option<PurchaseNumber> {
        let boot = &self.boot;
        let last = self.accounts.get(username).and_then(|account| self.settings.package(&account.package)).map(|package| package.limits);
        let purchase = self.accounts.change(username, |account| {
            let first = account.purchases.is_empty() && account.used() == Bytes::ZERO;
            let like = first || last.is_some_and(|last| last.adds_to(&package.limits));
            account.untold = if like { account.untold.saturating_add(1) } else { u8::MAX };
            let purchase = account.buy(package.id.clone(), package.limits, now.monotonic);
            account.phone = phone.or(account.phone);
            // A purchase may have taken the place of one that was just used up, whose clock stands still.
            if !account.online.is_empty() {
                account.clock.start(now.monotonic, boot);
            }
            purchase
        });
        self.bought_after_outage(username, package.limits.time);
        self.bought_meanwhile(username);
        self.touch_account(username);
        self.touch_gate(username);
        purchase
    }

    pub(super) fn expire_orders(&mut self, now: Now) {
        for id in self.orders.to_give_up(now.monotonic) {
            self.wait_no_longer(&id, now);
            self.log(format!("payment {id}: nothing was heard in time"));
        }
        for id in self.orders.to_forget(now.monotonic) {
            self.orders.remove(&id);
            self.step.orders.insert(id);
        }
    }

    /// Money that still comes for it is served.
    fn wait_no_longer(&mut self, id: &OrderId, now: Now) {
        // A request that the relay never took must not prompt anybody long after the customer gave up.
        self.withdraw_request(id);
        self.set_order(id, OrderState::Expired, now);
    }

    pub(super) fn give_up(&mut self, device: Mac, id: &OrderId, now: Now) -> Answer {
        if self.orders.get(id).is_some_and(|order| order.device == device && order.state == OrderState::Pending) {
            self.wait_no_longer(id, now);
            self.orders.change(id, |order| order.given_up = true);
            self.log(format!("payment {id}: given up by {device}"));
        }
        self.payment_status(device, id, now)
    }

    pub(super) fn payment_status(&self, device: Mac, id: &OrderId, now: Now) -> Answer {
        match self.orders.get(id).filter(|order| order.device == device) {
            Some(order) => Answer::Payment(self.payment_view(order, now)),
            None => Answer::Refused(Refusal::UnknownPayment),
        }
    }

    pub(super) fn latest_payment(&self, device: Mac, now: Now) -> Option<PaymentView> {
        let of_use = |order: &Order| !order.given_up || matches!(order.state, OrderState::Paid { .. } | OrderState::Unserved { .. });
        let fresh = |order: &&Order| order.state == OrderState::Pending || (self.decided_lately(order, now) && of_use(order));
        let mine = self.orders.of_device(device).filter(fresh);
        // What is still open comes before what is decided, the newest first.
        let newest = mine.max_by_key(|order| (order.state == OrderState::Pending, order.since))?;
        Some(self.payment_view(newest, now))
    }

    /// How many purchases come before what an order bought ([`PaymentView::before`]).
    fn before(&self, order: &Order) -> Option<usize> {
        let OrderState::Paid { receipt, account: name, .. } = &order.state else { return None };
        let account = self.accounts.get(name).filter(|_| self.account_online(order.device).as_ref() == Some(name))?;
        account.place_of(self.ledger.get(receipt)?.purchase?)
    }

    /// The number that a device asked to pay from last; not one that it gave up as mistyped. None while somebody else seems to have its
    /// address, too (docs/decisions/0050).
    pub(super) fn number_of(&self, device: Mac, now: Now) -> Option<Msisdn> {
        if self.may_be_copied(device, now) {
            return None;
        }
        let meant = self.orders.of_device(device).filter(|order| !order.given_up);
        meant.max_by_key(|order| newness(order, order.created)).map(|order| order.phone)
    }

    /// Whether somebody else seems to have a device's address, too: it was told of, or one of its addresses is held meanwhile.
    pub(super) fn may_be_copied(&self, device: Mac, now: Now) -> bool {
        self.suspicions.is_suspected(device, now.monotonic) || !self.neighbours.held_of(device).is_empty()
    }

    /// What was paid for an account by the devices that are known to have used it, the newest first.
    pub(super) fn receipts_of(&self, account: &Account, asker: Mac) -> Vec<ReceiptView> {
        let devices = account.traffic.keys().copied().chain(account.online.keys().copied()).chain([asker]).collect::<BTreeSet<Mac>>();
        let orders = devices.iter().flat_map(|device| self.orders.of_device(*device));
        let mut paid: Vec<_> = orders
            .filter_map(|order| match &order.state {
                OrderState::Paid { receipt, amount, account: of } if *of == account.username => {
                    let at = self.ledger.get(receipt).and_then(|entry| entry.at);
                    Some((newness(order, at), at, order, receipt, *amount))
                }
                _ => None,
            })
            .collect();
        paid.sort_by_key(|(age, ..)| std::cmp::Reverse(*age));
        let shown = paid.into_iter().take(RECEIPTS_SHOWN);
        let view = |(_, at, order, receipt, amount): (_, _, &Order, &Receipt, _)| {
            let label = order.package.label.clone();
            ReceiptView { receipt: receipt.clone(), label, amount, at }
        };
        shown.map(view).collect()
    }

    fn decided_lately(&self, order: &Order, now: Now) -> bool {
        order.boot == self.boot && order.since.0 > 0 && now.monotonic.since(order.since) < CREDENTIALS_SHOWN_FOR
    }

    fn payment_view(&self, order: &Order, now: Now) -> PaymentView {
        let mut view = PaymentView {
            payment: order.id.clone(),
            status: PaymentStatus::Pending,
            reason: None,
            receipt: None,
            connected: self.account_online(order.device).is_some(),
            username: None,
            password: None,
            package: Some(order.package.clone()),
            phone: Some(order.phone),
            given_up: order.given_up,
            before: self.before(order),
        };
        match &order.state {
            OrderState::Pending => {}
            OrderState::Failed { reason } => {
                view.status = PaymentStatus::Failed;
                view.reason = Some(*reason);
            }
            OrderState::Expired => {
                view.status = PaymentStatus::Expired;
                view.reason = Some(Reason::NoResponse);
            }
            OrderState::Unserved { receipt, .. } => {
                view.status = PaymentStatus::Paid;
                view.receipt = Some(receipt.clone());
            }
            OrderState::Paid { receipt, account, .. } => {
                view.status = PaymentStatus::Paid;
                view.receipt = Some(receipt.clone());
                if let Some(account) = self.accounts.get(account).filter(|_| self.decided_lately(order, now)) {
                    view.username = Some(account.username.clone());
                    view.password = Some(account.password.clone());
                }
            }
        }
        view
    }
}
