//! Sessions: devices that go online and offline on accounts, and what is left of those.

use super::Gateway;
use super::neighbours::{Followed, Sight, sights};
use crate::account::{Account, Checkpoint, Online};
use crate::gate::{GateId, Traffic, Usage};
use crate::limiter::Limiter;
use crate::order::OrderState;
use crate::radius::TerminateCause;
use crate::record::Device;
use crate::request::{Answer, Refusal, SessionView, Target};
use crate::step::Entropy;
use crate::time::{Monotonic, Now};
use crate::units::{Bytes, Mac, Millis, PackageId, Username};
use std::net::IpAddr;

/// How often what was used is made durable while somebody is online, where the operator says nothing else
/// ([`crate::settings::Settings::checkpoint`]): the flash is written at most this often.
pub const CHECKPOINT_EVERY: Millis = Millis::from_seconds(60);

/// Accounts that a checkpoint writes in one step, at most. Others go on being served between two of them, and what the store needs
/// for a moment to write a thousand at once would stay with the program for good.
pub const WRITTEN_TOGETHER: usize = 128;

/// Failed logins of a device in each window.
pub(super) const fn tries() -> Limiter {
    Limiter::new(8, Millis::from_minutes(2))
}

impl Gateway {
    pub(super) fn account_online(&self, device: Mac) -> Option<Username> {
        // The device's own record names the account that it used last; no other can have it online.
        let name = self.devices.get(&device)?.account.as_ref()?;
        self.accounts.get(name).filter(|account| account.online.contains_key(&device)).map(|account| account.username.clone())
    }

    pub(super) fn bind(&mut self, mac: Mac, account: Option<&Username>, waiting: bool) {
        self.devices.insert(mac, Device { mac, account: account.cloned(), waiting, idle_since: None });
        self.step.devices.insert(mac);
    }

    pub(super) fn logout(&mut self, device: Mac, now: Now) -> Answer {
        if let Some(username) = self.account_online(device) {
            self.close_session(&username, device, TerminateCause::UserRequest, now);
            self.log(format!("session: {device} logged out of {username}"));
        }
        Answer::Done
    }

    pub(super) fn grant(&mut self, device: Mac, package: &PackageId, now: Now, entropy: &Entropy) -> Answer {
        let Some(package) = self.settings.package(package).cloned() else {
            return Answer::Refused(Refusal::UnknownPackage);
        };
        // What the operator gives goes to the account that the device used last, whoever paid for that.
        let last = self.devices.get(&device).and_then(|device| device.account.clone());
        let phone = last.and_then(|name| self.accounts.get(&name)).and_then(|account| account.phone);
        let Some(username) = self.account_to_credit(device, phone, &package, entropy) else {
            return Answer::Refused(Refusal::NotStored);
        };
        self.log(format!("grant: {} for {device} by the operator, account {username}", package.id));
        self.credit(&username, device, None, &package, now);
        self.tell_of_gift(&username, &package, device);
        match self.session_of(device, now) {
            Some(session) => Answer::Session(session),
            None => Answer::Done, // it is away, and goes online when it is seen
        }
    }

    pub(super) fn kick(&mut self, target: &Target, now: Now) -> Answer {
        let sessions: Vec<(Username, Mac)> = match target {
            Target::Device(mac) => self.account_online(*mac).map(|username| (username, *mac)).into_iter().collect(),
            Target::Account(name) => {
                let online = self.accounts.get(name).map(|account| account.online.keys().copied().collect::<Vec<_>>());
                let here = online.unwrap_or_default().into_iter().map(|mac| (name.clone(), mac));
                here.chain(self.remote_sessions_of(name)).collect()
            }
        };
        if sessions.is_empty() {
            return Answer::Refused(Refusal::NotOnline);
        }
        for (username, mac) in sessions {
            self.close_session(&username, mac, TerminateCause::AdminReset, now);
            self.log(format!("session: {mac} on {username} ended by the operator"));
        }
        Answer::Done
    }

    /// Makes a place for a device that has just paid: whoever is online longest gives way.
    pub(super) fn make_room(&mut self, username: &Username, device: Mac, now: Now) {
        while let Some(account) = self.accounts.get(username) {
            let others = account.online.iter().filter(|(mac, _)| **mac != device);
            if others.clone().count() < usize::from(account.device_limit()) {
                return;
            }
            let Some(longest) = others.min_by_key(|(_, online)| online.since).map(|(mac, _)| *mac) else { return };
            self.close_session(username, longest, TerminateCause::PortPreempted, now);
            self.log(format!("session: {longest} on {username} gave way to {device}, which paid"));
        }
    }

    /// Lets a device online on an account that has something left.
    pub(super) fn open_session(&mut self, username: &Username, device: Mac, now: Now) {
        if let Some(before) = self.account_online(device).filter(|before| before != username) {
            self.close_session(&before, device, TerminateCause::UserRequest, now);
        }
        let boot = &self.boot;
        let opened = self.accounts.change(username, |account| {
            account.drop_used_up(now.monotonic, false);
            account.clock.start(now.monotonic, boot);
            account.online.get_or_insert_with(device, || Online { boot: boot.clone(), since: now.monotonic, since_wall: now.wall });
        });
        if opened.is_none() {
            return;
        }
        self.neighbours.release_all(device, now.monotonic);
        self.seen.note(device, now.monotonic);
        self.bind(device, Some(username), false);
        self.session_begins(username, device, now);
        self.touch_account(username);
        self.touch_gate(username);
        self.log(format!("session: {device} is online on {username}"));
    }

    /// Takes a device offline; what is left stays on the account. Its last counts come as usage when the kernel has let go.
    pub(super) fn close_session(&mut self, username: &Username, device: Mac, cause: TerminateCause, now: Now) {
        let closed = self.accounts.change(username, |account| {
            let closed = account.online.remove(&device);
            if account.online.is_empty() {
                account.clock.stop(now.monotonic);
            }
            closed
        });
        if closed.flatten().is_none() {
            return;
        }
        self.neighbours.trust(device, now.monotonic);
        self.seen.forget(device);
        self.bind(device, Some(username), false);
        self.session_ends(device, cause, now);
        self.touch_account(username);
        self.touch_gate(username);
    }

    pub(super) fn neighbour(&mut self, mac: Mac, address: IpAddr, present: bool, now: Now) {
        // A device has many addresses, and makes new ones: only the first one says that it came.
        let came = present && !self.neighbours.is_here(mac);
        self.sighted(mac, address, present, now);
        if came {
            self.came_back(mac, now);
        }
    }

    fn sighted(&mut self, mac: Mac, address: IpAddr, present: bool, now: Now) {
        let paid = self.account_online(mac).is_some();
        let followed = self.neighbours.seen(mac, address, present, paid, now.monotonic);
        self.follow(mac, address, followed, now);
        if paid && present {
            self.seen.note(mac, now.monotonic);
        }
        let waiting = self.devices.get(&mac).filter(|device| present && device.waiting).and_then(|device| device.account.clone());
        match waiting {
            Some(username) if self.back_on_remote(&username, mac, now) => {}
            Some(username) => self.welcome_back(&username, mac, now),
            None if present && !paid => self.device_came(mac, now),
            None => {}
        }
    }

    /// What the kernel knew before the rules did: nobody of these came just now.
    pub(super) fn lan(&mut self, here: Vec<(Mac, IpAddr)>, served: Vec<(Mac, IpAddr)>, now: Now) {
        for Sight { mac, address, present } in sights(here, served) {
            self.sighted(mac, address, present, now);
        }
    }

    pub(super) fn sent_from(&mut self, mac: Mac, address: IpAddr, now: Now) {
        if self.account_online(mac).is_some() {
            let followed = self.neighbours.sent(mac, address, now.monotonic);
            self.follow(mac, address, followed, now);
        }
    }

    fn follow(&mut self, mac: Mac, address: IpAddr, followed: Followed, now: Now) {
        self.addresses_changed(followed.changed);
        if let Some(loser) = followed.loser {
            self.changed_hands(address, loser, mac, now);
        }
        self.step.probe.extend(followed.probe.into_iter().map(|first| (mac, first)));
    }

    /// These devices have other addresses now, or others of theirs wait.
    pub(super) fn addresses_changed(&mut self, devices: Vec<Mac>) {
        for device in devices {
            if let Some(username) = self.account_online(device) {
                self.touch_gate(&username);
            }
        }
    }

    fn welcome_back(&mut self, username: &Username, mac: Mac, now: Now) {
        let free = self.accounts.get(username).filter(|account| account.open(now.monotonic));
        match free.map(|account| account.online.len() < usize::from(account.device_limit())) {
            Some(true) => self.open_session(username, mac, now),
            Some(false) if self.paid_last(username, mac) => {
                self.make_room(username, mac, now);
                self.open_session(username, mac, now);
            }
            // Another device took its place, or nothing is left: it may log in again itself.
            Some(false) | None => self.bind(mac, Some(username), false),
        }
    }

    /// Whether the device paid for the account after everybody who is online on it went online: who has just paid has a place.
    fn paid_last(&self, username: &Username, mac: Mac) -> bool {
        let paid = self.orders.of_device(mac).filter(|order| order.boot == self.boot).filter_map(|order| match &order.state {
            OrderState::Paid { account, .. } if account == username => Some(order.since),
            _ => None,
        });
        let online = self.accounts.get(username).and_then(|account| account.online.values().map(|online| online.since).max());
        paid.max() > online
    }

    /// Notes what the kernel counted. Gives back what the account with a data limit that moved most did since it was counted last.
    pub(super) fn count(&mut self, usage: &[Usage], now: Now) -> Bytes {
        // An account's devices come one after the other.
        let (mut most, mut of_account) = (Bytes::ZERO, (GateId(0), Bytes::ZERO));
        for Usage { id, mac, traffic } in usage {
            let mut moved = Bytes::ZERO;
            let count = |account: &mut Account| {
                let known = account.traffic.get_or_insert_with(*mac, Traffic::default);
                let newer = known.max(*traffic);
                let before = std::mem::replace(known, newer);
                let counted = before != newer;
                if account.data_left().is_some() {
                    moved = newer.total().minus(before.total());
                }
                account.note_counted(&self.boot);
                counted.then(|| account.online.contains_key(mac))
            };
            let counted = self.accounts.change_numbered(*id, count).flatten();
            of_account = (*id, if of_account.0 == *id { of_account.1.plus(moved) } else { moved });
            most = most.max(of_account.1);
            if counted == Some(true) {
                self.seen.note(*mac, now.monotonic);
                self.session_moved(*mac, now);
            }
            match counted {
                None => {}
                // Last counts of a device that is offline come once; those of one that is online at each checkpoint.
                Some(false) => self.step.accounts.extend(self.accounts.name_of(*id).cloned()),
                Some(true) => self.accounts.note_unwritten(*id),
            }
        }
        most
    }

    /// All counters were read, and are noted.
    pub(super) fn all_counted(&mut self, most: Bytes, now: Now) {
        self.readings.read(most, self.accounts.devices_online(), self.settings.checkpoint, now.monotonic);
        if std::mem::take(&mut self.checkpoint_wanted) {
            self.writing = Some(GateId(0));
            // Sessions of accounts without a limit of time are accounted by it, too.
            if self.accounts.clocks_running() || self.radius.has_open_sessions() {
                self.last_checkpoint = Some(Checkpoint { boot: self.boot.clone(), at: now.monotonic });
                self.step.checkpoint = true;
            }
        }
    }

    pub(super) fn depleted(&mut self, id: GateId, now: Now) {
        let account = self.accounts.name_of(id).and_then(|name| self.accounts.get(name)).filter(|account| !account.online.is_empty());
        // An event that was on its way while the limit was raised: the kernel was asked since, and there is plenty left.
        let near_the_end = |account: &&Account| account.data_left().is_some_and(|left| left.0 <= 65_536);
        if let Some(username) = account.filter(near_the_end).map(|account| account.username.clone()) {
            self.first_purchase_ended(&username, true, now);
        }
    }

    /// Ends what is used up. Just now all counters were read, or the last ones of some devices came.
    pub(super) fn end_what_is_due(&mut self, all_counted: bool, last_counts: &[Usage], now: Now) {
        for username in self.accounts.ended(now.monotonic) {
            let waits = self.accounts.get(&username).filter(|account| account.ends_by_counters()).map(|account| account.id);
            // A reading may fail, and the kernel may have lost this one: after it nothing more is to be learnt.
            if waits.is_some_and(|id| !all_counted && last_counts.iter().all(|last| last.id != id)) {
                self.step.read_usage = true;
                continue;
            }
            self.first_purchase_ended(&username, false, now);
        }
    }

    fn first_purchase_ended(&mut self, username: &Username, depleted: bool, now: Now) {
        let end = self.end_of(username, now);
        let boot = &self.boot;
        let goes_on = self.accounts.change(username, |account| {
            account.drop_used_up(now.monotonic, depleted);
            let goes_on = !account.purchases.is_empty();
            if goes_on {
                account.clock.start(now.monotonic, boot);
            }
            goes_on
        });
        match goes_on {
            None => return,
            Some(true) => {
                self.make_room_for_none(username, now);
                self.log(format!("session: {username} goes on with its next purchase"));
            }
            Some(false) => {
                let online = self.accounts.get(username).map(|account| account.online.keys().copied().collect::<Vec<_>>());
                for device in online.unwrap_or_default() {
                    self.close_session(username, device, TerminateCause::SessionTimeout, now);
                }
                self.tell_of_end(username, end, now);
                self.log(format!("session: {username} is used up"));
            }
        }
        self.touch_account(username);
        self.touch_gate(username);
    }

    /// The next purchase may allow fewer devices than the one before.
    pub(super) fn make_room_for_none(&mut self, username: &Username, now: Now) {
        while let Some(account) = self.accounts.get(username) {
            if account.online.len() <= usize::from(account.device_limit()) {
                return;
            }
            let Some(newest) = account.online.iter().max_by_key(|(_, online)| online.since).map(|(mac, _)| *mac) else { return };
            self.close_session(username, newest, TerminateCause::NasRequest, now);
        }
    }

    pub(super) fn schedule_checkpoint(&mut self, now: Now) {
        let somebody = self.accounts.devices_online() > 0;
        self.next_checkpoint = somebody.then(|| self.next_checkpoint.unwrap_or(now.monotonic.after(self.settings.checkpoint)));
    }

    pub(super) fn checkpoint(&mut self, now: Now) {
        if self.next_checkpoint.is_some_and(|at: Monotonic| at <= now.monotonic) {
            self.next_checkpoint = Some(now.monotonic.after(self.settings.checkpoint));
            self.checkpoint_wanted = true;
            self.step.read_usage = true;
            self.prune(now);
        }
    }

    /// Goes on with the checkpoint that is being written. Where the daemon stops there is no next step.
    pub(super) fn write_down(&mut self) {
        let Some(from) = self.writing else { return };
        let (accounts, next) = self.accounts.unwritten(from, if self.stopping { usize::MAX } else { WRITTEN_TOGETHER });
        self.step.accounts.extend(accounts);
        self.writing = next;
    }

    pub(super) fn session_of(&self, device: Mac, now: Now) -> Option<SessionView> {
        let account = self.accounts.get(&self.account_online(device)?)?;
        Some(self.session_view(account, (device, account.online.get(&device)?), now))
    }

    pub(super) fn session_view(&self, account: &Account, (device, online): (Mac, &Online), now: Now) -> SessionView {
        let traffic = account.traffic_sum();
        SessionView {
            username: self.shown_name(&account.username),
            package: account.package_in_use().clone(),
            started_at: online.since_wall.or_else(|| now.wall_at(online.since)),
            seconds_remaining: account.clock.left(now.monotonic).map(Millis::as_seconds_ceil),
            bytes_remaining: account.data_left(),
            bytes_up: traffic.up,
            bytes_down: traffic.down,
            devices: u8::try_from(account.online.len()).unwrap_or(u8::MAX),
            until: account.clock.ends().and_then(|ends| now.wall_at(ends)),
            seconds_in_all: account.time_in_all(device, now.monotonic).map(Millis::as_seconds_ceil),
            bytes_in_all: account.data_in_all(device),
        }
    }
}
