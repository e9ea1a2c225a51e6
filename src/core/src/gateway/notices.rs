//! What the relay is told of accounts: what was sold on them, and, where the operator wants customers to hear of it, that it
//! ends. Nothing here waits for the relay, and nothing of a customer's service depends on it.

use super::Gateway;
use super::outbox::NOTICES_AT_MOST;
use crate::language::Language;
use crate::message::UpBody;
use crate::notice::{AccountNotice, End, Ended, Expiring};
use crate::package::Package;
use crate::settings::Settings;
use crate::time::{Monotonic, Now};
use crate::units::{Mac, Millis, Msisdn, OrderId, Receipt, Username};

/// Something that was sold and is on its account already.
pub(super) struct Sold<'a> {
    /// The account.
    pub(super) username: &'a Username,
    /// What was sold.
    pub(super) package: &'a Package,
    /// Who is to be told. Without a phone nobody is; where accounts roam, the relay is all the same.
    pub(super) phone: Option<Msisdn>,
    /// The device that it was bought for, where there is one.
    pub(super) device: Option<Mac>,
    /// The order that was paid.
    pub(super) order: Option<&'a OrderId>,
    /// The money's receipt.
    pub(super) receipt: Option<&'a Receipt>,
    /// What the buyer reads.
    pub(super) language: Option<Language>,
}

/// How far the ends of accounts were looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Notices {
    /// Whose time ends until then was told, or need not be.
    looked: Monotonic,
}

impl Notices {
    /// After a start. An account whose moment came while nobody looked is not told any more: it may have been told before.
    pub(super) fn new(settings: &Settings, now: Now) -> Self {
        let mut notices = Self::default();
        notices.reconfigured(settings, now);
        notices
    }

    /// After a change of the config, the same.
    pub(super) fn reconfigured(&mut self, settings: &Settings, now: Now) {
        self.looked = self.looked.max(now.monotonic.after(settings.end_notice.unwrap_or_default()));
    }
}

impl Gateway {
    /// Tells the relay what was sold: in the step that puts it on the account, so that either both are stored or neither is.
    /// Call it once a purchase, after the account has it and its device, if it is here, is online.
    pub(super) fn tell_of_sale(&mut self, sold: &Sold<'_>) {
        let Some(account) = self.accounts.get(sold.username).filter(|_| self.settings.relay && (sold.phone.is_some() || self.roaming()))
        else {
            return;
        };
        let online = match sold.device {
            Some(device) => account.online.contains_key(&device),
            None => !account.online.is_empty(),
        };
        let notice = AccountNotice {
            phone: sold.phone,
            order: sold.order.cloned(),
            receipt: sold.receipt.cloned(),
            language: sold.language,
            online,
            ..AccountNotice::of(account.username.clone(), account.password.clone(), sold.package)
        };
        self.publish_notice(UpBody::Account(notice));
    }

    /// The same of what no phone paid for: a voucher, a present. Nobody is told; where accounts roam, other routers are to serve it, too.
    pub(super) fn tell_of_gift(&mut self, username: &Username, package: &Package, device: Mac) {
        let device = Some(device);
        self.tell_of_sale(&Sold { username, package, phone: None, device, order: None, receipt: None, language: None });
    }

    /// Whether other routers serve the accounts that are sold here.
    pub(super) fn roaming(&self) -> bool {
        self.settings.radius.as_ref().is_some_and(|radius| radius.roaming)
    }

    /// Tells of accounts that pass the mark before their end, in this moment and while they are online. To be called before
    /// anything else of a step: an account that comes online beyond the mark has passed it already.
    pub(super) fn tell_of_near_ends(&mut self, now: Now) {
        let Some(before) = self.warning() else { return };
        let until = now.monotonic.after(before);
        for username in self.accounts.ends_between(self.notices.looked, until) {
            let Some(account) = self.accounts.get(&username) else { continue };
            // Where more was bought nothing ends yet.
            let (Some(phone), 1, Some(left)) = (account.phone, account.purchases.len(), account.clock.left(now.monotonic)) else {
                continue;
            };
            if let (false, Some(at)) = (left.is_zero(), self.link.relay_time(now.monotonic)) {
                self.publish_notice(UpBody::Expiring(Expiring { username, phone, seconds_left: left.as_seconds_ceil(), at }));
            }
        }
        self.notices.looked = self.notices.looked.max(until);
    }

    /// When the next account passes the mark before its end.
    pub(super) fn next_near_end(&self) -> Option<Monotonic> {
        let before = self.warning()?;
        let end = self.accounts.next_end_after(self.notices.looked)?;
        Some(Monotonic(end.0.saturating_sub(before.0)))
    }

    /// What ends an account that is about to be used up: to be asked before it is.
    pub(super) fn end_of(&self, username: &Username, now: Now) -> Option<(End, Option<Millis>)> {
        let left = self.accounts.get(username)?.clock.left(now.monotonic);
        Some(if left.is_some_and(Millis::is_zero) { (End::Time, left) } else { (End::Data, left) })
    }

    /// An account that was online is used up, by `end` as [`Gateway::end_of`] gave it.
    pub(super) fn tell_of_end(&mut self, username: &Username, end: Option<(End, Option<Millis>)>, now: Now) {
        let (Some(before), Some((by, left))) = (self.settings.end_notice, end) else { return };
        let Some(phone) = self.accounts.get(username).and_then(|account| account.phone) else { return };
        // A router that never heard the relay's time cannot say when.
        let Some(at) = self.link.relay_time(now.monotonic) else { return };
        // Beyond the mark it was told already that the end is near.
        if before.is_zero() || left.is_none_or(|left| left > before) {
            self.publish_notice(UpBody::Ended(Ended { username: username.clone(), phone, by, at }));
        }
    }

    /// How long before the end, where it is to be told before.
    fn warning(&self) -> Option<Millis> {
        self.settings.end_notice.filter(|before| !before.is_zero() && self.settings.relay)
    }

    fn publish_notice(&mut self, body: UpBody) {
        if !self.settings.relay {
            return; // it would wait for ever
        }
        if let Ok(id) = format!("{}-{}", body.topic(), self.counters.next_seq).parse() {
            self.publish_durably(id, body);
        }
        while let Some(id) = self.outbox.one_too_many(self.roaming()).cloned() {
            self.log(format!("relay: it takes no notices of accounts; more than {NOTICES_AT_MOST} wait, and {id} goes"));
            self.forget_message(&id);
        }
    }
}
