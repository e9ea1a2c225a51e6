//! Devices that walk: one that left this router's Wi-Fi may be online at another router that asks the same servers. Back here, what it
//! used there is asked for and taken off. One that does not come back gives its place up (docs/decisions/0032).

use super::access::{Asked, Why};
use super::{Timer, is_remote};
use crate::gateway::Gateway;
use crate::radius::{AccessOutcome, Authorization, Credential, RadiusSession, SessionId, TerminateCause};
use crate::record::Device;
use crate::time::{Monotonic, Now};
use crate::tree::BTreeSet;
use crate::units::{Bytes, Mac, Millis, Username};
use std::net::IpAddr;

/// A device of which nothing was counted for so long is looked for. The kernel alone would hold one for present for days to which
/// nobody sends.
pub(super) const QUIET: Millis = Millis::from_seconds(60);

/// A device that is not on the Wi-Fi and sent nothing for so long is gone.
const GONE: Millis = Millis::from_minutes(10);

/// When devices are looked for next: all of them in the same moment, because the counters are read for each look.
pub(super) const fn next_look(now: Monotonic) -> Monotonic {
    Monotonic(now.after(QUIET).0.div_ceil(QUIET.0) * QUIET.0)
}

impl Gateway {
    /// Whether another router may serve the session's device meanwhile, or a server waits for its end.
    pub(super) fn may_walk(&self, session: &RadiusSession) -> bool {
        session.credential.is_some() || self.settings.radius.as_ref().is_some_and(|settings| settings.roaming)
    }

    /// The settings are others: sessions that were nobody's to walk with may be now.
    pub(super) fn look_for_walkers(&mut self, now: Now) {
        let looked_for: BTreeSet<&SessionId> =
            self.radius.timers.iter().filter(|(.., timer)| *timer == Timer::Gone).map(|(_, id, _)| id).collect();
        let open = self.radius.open.values().filter(|id| !looked_for.contains(id));
        let walks = |id: &&SessionId| self.radius.sessions.get(*id).is_some_and(|session| self.may_walk(session));
        for id in open.filter(walks).cloned().collect::<Vec<_>>() {
            self.set_timers(&id, now);
        }
    }

    /// Whoever is not on the Wi-Fi any more, and sent nothing for a while, is gone. Servers count on it: they may let nobody else in
    /// under that name. What was sold here goes on by itself when its device is back.
    pub(super) fn look_whether_gone(&mut self, id: &SessionId, account: &Username, device: Mac, now: Now) {
        if !self.radius.sessions.get(id).is_some_and(|session| self.may_walk(session)) {
            return; // the settings were others
        }
        let quiet_for = self.radius.moved.get(id).map_or(GONE, |moved| now.monotonic.since(*moved));
        let here: Vec<IpAddr> = self.neighbours.present_of(device).collect();
        if quiet_for >= GONE && here.is_empty() {
            self.close_session(account, device, TerminateCause::LostCarrier, now);
            if !is_remote(account) {
                self.wait_for(device, account);
            }
            self.log(format!("session: {device} on {} is gone", self.shown_name(account)));
            return;
        }
        if quiet_for >= QUIET {
            self.step.probe.extend(here.into_iter().map(|address| (device, address)));
        }
        self.radius.timers.insert((next_look(now.monotonic), id.clone(), Timer::Gone));
    }

    /// The account is the device's again when it is seen. Phones that have another address at each visit never come back with the old
    /// one: no more devices are waited for than may be online.
    fn wait_for(&mut self, device: Mac, account: &Username) {
        let places = self.accounts.get(account).map_or(1, |account| usize::from(account.device_limit()));
        let waits = |other: &&Device| other.waiting && other.mac != device && other.account.as_ref() == Some(account);
        let too_many: Vec<Mac> = self.devices.values().filter(waits).skip(places.saturating_sub(1)).map(|other| other.mac).collect();
        too_many.into_iter().for_each(|other| self.bind(other, Some(account), false));
        self.bind(device, Some(account), true);
    }

    /// A device that is online is on the Wi-Fi again. It is served at once; a server is asked what other routers left of it.
    pub(in crate::gateway) fn came_back(&mut self, device: Mac, now: Now) {
        // Servers may take this session for another device's, unless the operator says that accounts roam there.
        let roams = self.settings.radius.as_ref().is_some_and(|settings| settings.roaming);
        let open = self.radius.open.get(&device).filter(|_| roams);
        let Some(session) = open.and_then(|id| self.radius.sessions.get(id)) else { return };
        let account = session.account.clone();
        let asked = match &session.credential {
            Some(credential) => Some((session.user.clone(), credential.clone())),
            None => {
                self.known_to_servers(&account).map(|account| (account.username.clone(), Credential::Password(account.password.clone())))
            }
        };
        if let Some((user, credential)) = asked {
            self.ask_now_and_then(Why::Walked(account), device, user, credential, now);
        }
    }

    /// What a server said of a device that is back.
    pub(super) fn walked(&mut self, asked: &Asked, account: &Username, outcome: AccessOutcome, now: Now) {
        let device = asked.device;
        if self.account_online(device).as_ref() != Some(account) || !(is_remote(account) || asked.of_all) {
            return;
        }
        match outcome {
            AccessOutcome::Accept(granted) => self.take_what_others_used(account, &granted, now),
            // A server that does not know the account judges nothing, and what a server granted before it granted; its words are its
            // word. While it may still hold a device for online that ended here, it counts one too many.
            AccessOutcome::Reject { message: Some(_) } if !self.ended_unheard(account) => {
                self.close_session(account, device, TerminateCause::AdminReset, now);
                self.log(format!("radius: {device} was away, and the server does not let {} go on", self.shown_name(account)));
            }
            AccessOutcome::Reject { .. } | AccessOutcome::NoAnswer => {}
        }
    }

    /// Whether a session on the account ended of which servers have not heard yet.
    pub(super) fn ended_unheard(&self, account: &Username) -> bool {
        let of_account = |id: &SessionId| self.radius.sessions.get(id).is_some_and(|session| session.account == *account);
        self.radius.ending.iter().any(of_account) || self.radius.queue.has_an_end_of(account)
    }

    /// No more is left of an account than a server says, whoever is online on it. A server that has not heard yet what was used
    /// here gives nothing back.
    pub(super) fn take_what_others_used(&mut self, account: &Username, granted: &Authorization, now: Now) {
        let limits = if is_remote(account) {
            let limits = self.limits_of(granted, now);
            (limits.time, limits.data)
        } else {
            (granted.time.map(|time| Millis::from_seconds(time.0)), granted.total)
        };
        self.leave_at_most(account, limits.0, limits.1, now);
    }

    fn leave_at_most(&mut self, account: &Username, time: Option<Millis>, data: Option<Bytes>, now: Now) {
        if self.accounts.change(account, |account| account.leave_at_most(time, data, now.monotonic)) != Some(true) {
            return;
        }
        let over = self.accounts.get(account).filter(|account| account.purchases.is_empty());
        let online: Vec<Mac> = over.map(|account| account.online.keys().copied().collect()).unwrap_or_default();
        for device in online {
            self.close_session(account, device, TerminateCause::SessionTimeout, now);
            self.log(format!("session: {device} on {}: other routers used up what was left", self.shown_name(account)));
        }
        self.touch_account(account);
        self.touch_gate(account);
    }
}
