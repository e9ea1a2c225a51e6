//! An account's devices: who may come on to it, who gives way, and what they see of each other.

use super::Gateway;
use super::radius::is_remote;
use crate::account::{Account, DEVICES_KEPT};
use crate::gate::GateId;
use crate::limiter::Limiter;
use crate::package::Package;
use crate::radius::TerminateCause;
use crate::request::{Answer, MyAccountView, MyDeviceView, Refusal, StartView};
use crate::time::{Monotonic, Now};
use crate::tree::BTreeMap;
use crate::units::{Mac, Millis, PackageId, Password, Username};

/// Failed logins on one account in each window, of devices that never were on it. Its own devices are not held to this, so
/// that who knows a neighbour's user name cannot lock them out.
pub(super) const fn account_tries() -> Limiter<GateId> {
    Limiter::new(20, Millis::from_minutes(10))
}

/// When each device that is online was seen last: it came, or sent or received something that was counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(BTreeMap<Mac, Monotonic>);

impl Seen {
    pub(super) fn note(&mut self, device: Mac, now: Monotonic) {
        self.0.insert(device, now);
    }
    pub(super) fn forget(&mut self, device: Mac) {
        self.0.remove(&device);
    }
}

impl Gateway {
    pub(super) fn login(&mut self, device: Mac, username: &Username, password: &Password, replace: bool, now: Now) -> Answer {
        if let Err(retry_after) = self.login_tries.check(device, now.monotonic) {
            return Answer::Refused(Refusal::TooManyRequests { retry_after });
        }
        // Phones like to begin with a capital; made user names have none.
        let username: Username = username.as_str().to_ascii_lowercase().parse().unwrap_or_else(|_| username.clone());
        let stranger = self.accounts.get(&username).filter(|account| !self.was_on(device, account)).map(|account| account.id);
        if let Some(Err(retry_after)) = stranger.map(|id| self.account_tries.check(id, now.monotonic)) {
            return Answer::Refused(Refusal::TooManyRequests { retry_after });
        }
        let known = self.accounts.get(&username).filter(|account| !is_remote(&account.username) && account.password.matches(password));
        let Some(account) = known else {
            self.login_tries.count(device, now.monotonic);
            if let Some(id) = stranger {
                self.account_tries.count(id, now.monotonic);
            }
            return Answer::Refused(Refusal::BadCredentials);
        };
        if !account.open(now.monotonic) {
            return Answer::Refused(Refusal::Expired);
        }
        if !self.room_for(&username, device, replace, now) {
            return Answer::Refused(Refusal::DeviceLimit);
        }
        self.open_session(&username, device, now);
        self.session_of(device, now).map_or(Answer::Refused(Refusal::Expired), Answer::Session)
    }

    /// Makes sums of what many devices used in earlier boots. Who went offline with the power, and is expected back, is the last to
    /// go; what a RADIUS server is to be told of a device is reckoned with its total, so that stays.
    pub(super) fn fold_old_devices(&mut self) {
        let many = |account: &&Account| account.traffic.len() > DEVICES_KEPT;
        let names: Vec<Username> = self.accounts.values().filter(many).map(|account| account.username.clone()).collect();
        for name in names {
            let (devices, radius, boot) = (&self.devices, &self.radius, &self.boot);
            let worth = |mac: &Mac| {
                let last = devices.get(mac).filter(|device| device.account.as_ref() == Some(&name));
                let worth = last.map_or(0, |device| 1 + u8::from(device.idle_since.is_none()) + u8::from(device.waiting));
                (!radius.accounts_for(&name, *mac)).then_some(worth)
            };
            if self.accounts.change(&name, |account| account.fold(boot, worth)) == Some(true) {
                self.touch_account(&name);
            }
        }
    }

    pub(super) fn was_on(&self, device: Mac, account: &Account) -> bool {
        let used_last = self.devices.get(&device).and_then(|device| device.account.as_ref());
        used_last == Some(&account.username) || account.traffic.get(&device).is_some()
    }

    /// Whether there is room for a device; with `replace`, room is made: whoever was seen longest ago gives way.
    fn room_for(&mut self, username: &Username, device: Mac, replace: bool, now: Now) -> bool {
        while let Some(account) = self.accounts.get(username) {
            if account.has_room_for(device) {
                return true;
            }
            let others = account.online.iter().filter(|(mac, _)| **mac != device);
            // One that is not even on the Wi-Fi any more comes first, and what was not seen since a restart before what was.
            let seen = |mac: &Mac| (self.neighbours.is_here(*mac), self.seen.0.get(mac).copied());
            let longest = others.min_by_key(|(mac, online)| (seen(mac), online.since)).map(|(mac, _)| *mac);
            let Some(longest) = longest.filter(|_| replace) else { return false };
            self.close_session(username, longest, TerminateCause::PortPreempted, now);
            self.log(format!("session: {longest} on {username} gave way to {device}, as that asked"));
        }
        false
    }

    pub(super) fn my_account(&self, device: Mac, now: Now) -> Option<MyAccountView> {
        let account = self.accounts.get(&self.account_online(device)?)?;
        let mut online: Vec<_> = account.online.iter().collect();
        online.sort_by_key(|(_, online)| online.since);
        let devices = online.into_iter().map(|(mac, online)| {
            let own = account.traffic.get(mac).copied().unwrap_or_default();
            MyDeviceView {
                device: *mac,
                this: *mac == device,
                online_since: online.since_wall.or_else(|| now.wall_at(online.since)),
                bytes_up: own.up,
                bytes_down: own.down,
            }
        });
        Some(MyAccountView {
            session: self.session_of(device, now)?,
            password: self.voucher_password(device, &account.username, now),
            devices_at_most: account.device_limit(),
            devices: devices.collect(),
            queued: account.purchases.iter().skip(1).cloned().collect(),
            receipts: if self.may_be_copied(device, now) { Vec::new() } else { self.receipts_of(account, device) },
        })
    }

    fn used_up(&self, device: Mac, now: Now) -> Option<PackageId> {
        let used_last = self.devices.get(&device)?.account.as_ref()?;
        let account = self.accounts.get(used_last).filter(|account| !account.open(now.monotonic))?;
        self.account_online(device).is_none().then(|| account.package.clone())
    }

    /// What the portal's start page shows. Nothing is counted through for it, however many accounts and payments there are: every phone that comes asks this.
    pub(super) fn start(&self, device: Option<Mac>, now: Now) -> StartView {
        StartView {
            session: device.and_then(|device| self.session_of(device, now)),
            latest: device.and_then(|device| self.latest_payment(device, now)),
            used_up: device.and_then(|device| self.used_up(device, now)),
            packages: self.settings.packages.clone(),
            payments: self.can_pay(),
            vouchers: device.is_some() && self.vouchers_can_be_redeemed(now),
            phone: device.and_then(|device| self.number_of(device, now)),
        }
    }

    /// The price list, and whether payments are possible: all that the start page shows to a device for which there is nothing of its own.
    /// Where there is something, none: [`Request::Start`] tells what. It changes nothing, and what has not been stored yet is in it.
    #[must_use]
    pub fn common_start(&self, device: Mac, now: Now) -> Option<(&[Package], bool)> {
        // Of what `StartView::is_common` looks at; the views themselves are not made for it.
        let has_own =
            self.account_online(device).is_some() || self.latest_payment(device, now).is_some() || self.used_up(device, now).is_some();
        (!has_own).then(|| (self.settings.packages.as_slice(), self.can_pay()))
    }

    /// Who is online on an account may take its other devices offline; nobody else may.
    pub(super) fn logout_other(&mut self, device: Mac, other: Mac, now: Now) -> Answer {
        let Some(username) = self.account_online(device).filter(|mine| self.account_online(other).as_ref() == Some(mine)) else {
            return Answer::Refused(Refusal::NotOnline);
        };
        self.close_session(&username, other, TerminateCause::UserRequest, now);
        self.log(format!("session: {other} on {username} was logged out by {device}"));
        Answer::Done
    }
}
