//! What operators see.

use super::Gateway;
use crate::ledger::LedgerEntry;
use crate::order::OrderState;
use crate::request::{AccountView, Failures, OnlineView, OperatorPaymentView, PaymentStatus, SessionView, StatusView};
use crate::time::{Now, Wall};
use crate::units::{Millis, PackageId};

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// When the operator served an entry, and as what.
fn served_later(entry: &LedgerEntry) -> Option<(Option<Wall>, PackageId)> {
    let waited = entry.waited.as_ref()?;
    Some((waited.served_at, waited.served_as.clone()?))
}

/// What goes on at the router, as far as it decides when something else is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Business {
    /// Payments under way.
    pub payments_pending: u32,
    /// Devices online.
    pub devices_online: u32,
    /// Whether the relay answered since the connection was made; true where there is no relay in the config.
    pub relay_answers: bool,
    /// What time it is, where anybody knows.
    pub time: Option<Wall>,
}

impl Gateway {
    /// What goes on now.
    #[must_use]
    pub fn business(&self, now: Now) -> Business {
        Business {
            payments_pending: count(self.orders.pending()),
            devices_online: count(self.accounts.devices_online()),
            relay_answers: !self.settings.relay || self.link.can_pay(),
            time: self.time(now),
        }
    }

    /// Whether payments are possible.
    pub(super) fn can_pay(&self) -> bool {
        self.settings.relay && self.link.can_pay()
    }

    pub(super) fn status(&self, now: Now) -> StatusView {
        StatusView {
            name: self.settings.name.to_string(),
            version: self.settings.version.clone(),
            running_for: now.monotonic.since(self.started),
            clock: now.wall,
            gate: true,
            flow_offload: None,
            certificate: None,
            broker: self.link.connected(),
            payments: self.can_pay(),
            devices_online: count(self.accounts.devices_online()),
            accounts_open: count(self.accounts.values().filter(|account| account.open(now.monotonic)).count()),
            payments_pending: count(self.orders.pending()),
            outbox: count(self.outbox.len()),
            accounting: self.settings.radius.as_ref().map(|_| count(self.radius.waiting_accounting())),
            accounting_refused: count(self.radius.refused_accounting()),
            unserved: count(self.ledger.values().filter(|entry| entry.unserved().is_some()).count()),
            suspicions: self.suspicions.count(),
            failures: Failures::default(),
            update: None,
        }
    }

    pub(super) fn sessions(&self, now: Now) -> Vec<OnlineView> {
        let online = self.accounts.values().flat_map(|account| account.online.iter().map(move |(mac, online)| (account, *mac, online)));
        online
            .map(|(account, mac, online)| {
                let own = account.traffic.get(&mac).copied().unwrap_or_default();
                let session = SessionView { bytes_up: own.up, bytes_down: own.down, ..self.session_view(account, (mac, online), now) };
                OnlineView { mac, addresses: self.neighbours.addresses_of(mac).into_iter().collect(), session }
            })
            .collect()
    }

    pub(super) fn account_views(&self, now: Now) -> Vec<AccountView> {
        self.accounts
            .values()
            .map(|account| {
                let traffic = account.traffic_sum();
                AccountView {
                    username: self.shown_name(&account.username),
                    phone: account.phone,
                    package: account.package_in_use().clone(),
                    online: u8::try_from(account.online.len()).unwrap_or(u8::MAX),
                    devices: account.device_limit(),
                    seconds_remaining: account.clock.left(now.monotonic).map(Millis::as_seconds_ceil),
                    bytes_remaining: account.data_left(),
                    queued: count(account.purchases.len().saturating_sub(1)),
                    open: account.open(now.monotonic),
                    bytes_up: traffic.up,
                    bytes_down: traffic.down,
                }
            })
            .collect()
    }

    /// All orders, and money for orders that this router does not know; newest first.
    pub(super) fn payment_views(&self) -> Vec<OperatorPaymentView> {
        let mut views: Vec<OperatorPaymentView> = self
            .orders
            .values()
            .map(|order| {
                let mut view = OperatorPaymentView {
                    payment: order.id.clone(),
                    created_at: order.created,
                    device: Some(order.device),
                    phone: order.phone.into(),
                    package: order.package.id.clone(),
                    price: Some(order.package.price),
                    status: PaymentStatus::Pending,
                    reason: None,
                    receipt: None,
                    amount: None,
                    username: None,
                    unserved: None,
                    served_at: None,
                };
                match &order.state {
                    OrderState::Pending => {}
                    OrderState::Failed { reason } => (view.status, view.reason) = (PaymentStatus::Failed, Some(*reason)),
                    OrderState::Expired => view.status = PaymentStatus::Expired,
                    OrderState::Paid { receipt, amount, account } => {
                        (view.status, view.receipt, view.amount) = (PaymentStatus::Paid, Some(receipt.clone()), Some(*amount));
                        view.username = Some(account.clone());
                        if let Some((at, package)) = self.ledger.get(receipt).and_then(served_later) {
                            (view.served_at, view.package) = (at, package);
                        }
                    }
                    OrderState::Unserved { receipt, amount } => {
                        (view.status, view.receipt, view.amount) = (PaymentStatus::Paid, Some(receipt.clone()), Some(*amount));
                        view.unserved = self.ledger.get(receipt).and_then(LedgerEntry::unserved);
                    }
                }
                view
            })
            .collect();
        // One line a receipt: a second payment of one order, and money whose order or package nobody knows here.
        let shown: crate::tree::BTreeSet<_> = views.iter().filter_map(|view| view.receipt.clone()).collect();
        views.extend(self.ledger.values().filter(|entry| !shown.contains(&entry.receipt)).map(|entry| OperatorPaymentView {
            payment: entry.order.clone(),
            created_at: entry.at,
            device: entry.waited.as_ref().and_then(|waited| waited.device),
            phone: entry.phone,
            package: served_later(entry).map_or_else(|| entry.package.clone(), |(_, package)| package),
            price: None,
            status: PaymentStatus::Paid,
            reason: None,
            receipt: Some(entry.receipt.clone()),
            amount: Some(entry.amount),
            username: entry.account.clone(),
            unserved: entry.unserved(),
            served_at: served_later(entry).and_then(|(at, _)| at),
        }));
        views.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.payment.cmp(&b.payment)));
        views
    }
}
