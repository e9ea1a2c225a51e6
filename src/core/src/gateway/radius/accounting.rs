//! Sessions as accounting servers know them: each one's start, what it used so far, and its end (RFC 2866).

use super::queue::is_kept;
use super::walking::next_look;
use super::{Timer, is_remote};
use crate::gate::{Traffic, Usage};
use crate::gateway::Gateway;
use crate::radius::{
    AccountedSession, Accounting, AccountingEvent, RadiusOrder, RadiusSession, RadiusSettings, SessionId, SessionState, TerminateCause,
};
use crate::time::{Monotonic, Now};
use crate::units::{Mac, Millis, Seconds, Username};

/// The kernel's last counts of a session that ended come at once, or not at all.
pub(super) const LAST_COUNTS_WITHIN: Millis = Millis::from_seconds(2);

/// What is to be looked at so soon, or told, goes along with what is due: the counters are read for all of them anyway.
const GOES_ALONG: Millis = Millis::from_seconds(5);

impl Gateway {
    /// A device is online on an account from now on.
    pub(in crate::gateway) fn session_begins(&mut self, account: &Username, device: Mac, now: Now) {
        let prepared = self.radius.prepared.take().filter(|session| session.device == device && session.account == *account);
        if prepared.is_some() {
            // A server let it in after the router's gate was removed: that the router ended is no longer so.
            self.announce(now);
        }
        // Where the router said that it goes, nothing begins before it says that it is there.
        let announced = |settings: &RadiusSettings| !settings.accounting || self.radius.accounted_boot.is_some();
        if !self.settings.radius.as_ref().is_some_and(announced) && prepared.is_none() {
            return;
        }
        if let Some(open) = self.radius.open.get(&device).and_then(|id| self.radius.sessions.get(id)) {
            if open.account == *account {
                return; // it was online before
            }
            let id = open.id.clone();
            self.end_session(&id, TerminateCause::UserRequest, now);
        }
        // The kernel never let go of it: what it counts from here on is the new session's.
        let same =
            |id: &&SessionId| self.radius.sessions.get(*id).is_some_and(|session| session.device == device && session.account == *account);
        if let Some(before) = self.radius.ending.iter().find(same).cloned() {
            self.stop(&before, now);
        }
        let base = self.accounts.get(account).and_then(|account| account.traffic.get(&device)).copied().unwrap_or_default();
        let mut session = prepared.unwrap_or_else(|| RadiusSession {
            id: self.radius.new_session_id(),
            device,
            account: account.clone(),
            user: account.clone(),
            credential: None,
            class: Vec::new(),
            interim: None,
            idle: None,
            up: None,
            down: None,
            boot: self.boot.clone(),
            since: now.monotonic,
            base,
            state: SessionState::Open,
        });
        (session.base, session.since) = (base, now.monotonic);
        let id = session.id.clone();
        self.radius.open.insert(device, id.clone());
        self.radius.sessions.insert(id.clone(), session);
        self.step.radius_sessions.insert(id.clone());
        self.tell_of_start(&id, now);
    }

    /// Tells that the router is there, where that was not told in this boot.
    pub(super) fn announce(&mut self, now: Now) -> bool {
        let told = self.settings.radius.as_ref().is_some_and(|settings| settings.accounting);
        let new = told && self.radius.accounted_boot.as_ref() != Some(&self.boot);
        if new {
            self.radius.accounted_boot = Some(self.boot.clone());
            self.step.accounted_boot = true;
            self.account(AccountingEvent::On, now);
        }
        new
    }

    pub(super) fn tell_of_start(&mut self, id: &SessionId, now: Now) {
        self.set_timers(id, now);
        if let Some(told) = self.accounted(id, now.monotonic) {
            self.account(AccountingEvent::Start(told), now);
        }
    }

    /// A device is offline from now on; what it used last is still to come.
    pub(in crate::gateway) fn session_ends(&mut self, device: Mac, cause: TerminateCause, now: Now) {
        if let Some(id) = self.radius.open.get(&device).cloned() {
            self.end_session(&id, cause, now);
        }
    }

    pub(super) fn end_session(&mut self, id: &SessionId, cause: TerminateCause, now: Now) {
        let Some(session) = self.radius.sessions.get_mut(id) else { return };
        session.state = SessionState::Ending { cause, at: now.monotonic, at_wall: now.wall };
        if self.radius.open.get(&session.device) == Some(id) {
            self.radius.open.remove(&session.device);
        }
        self.radius.moved.remove(id);
        self.radius.ending.insert(id.clone());
        self.step.radius_sessions.insert(id.clone());
    }

    /// Says a session's last word, and forgets it.
    pub(super) fn stop(&mut self, id: &SessionId, now: Now) {
        self.radius.ending.remove(id);
        let Some(SessionState::Ending { cause, at, at_wall }) = self.radius.sessions.get(id).map(|session| session.state.clone()) else {
            return;
        };
        if let Some(session) = self.accounted(id, at) {
            let then = Now { monotonic: at, wall: at_wall.or_else(|| now.wall_at(at)) };
            self.account(AccountingEvent::Stop { session, cause }, then);
        }
        self.forget_session(id);
    }

    pub(super) fn forget_session(&mut self, id: &SessionId) {
        let Some(session) = self.radius.sessions.remove(id) else { return };
        self.step.radius_sessions.insert(id.clone());
        self.radius.waiting.remove(&session.account);
        if is_remote(&session.account) {
            // It lived as long as its session.
            self.accounts.remove(&session.account);
            self.touch_account(&session.account);
            if self.devices.get(&session.device).is_some_and(|device| device.account.as_ref() == Some(&session.account)) {
                self.bind(session.device, None, false);
            }
        }
    }

    /// What the kernel counted: last words, and sessions that end by what they used.
    pub(in crate::gateway) fn radius_counted(&mut self, usage: &[Usage], now: Now) {
        let of = |gateway: &Self, usage: &Usage| gateway.accounts.name_of(usage.id).cloned();
        let last: Vec<SessionId> = self
            .radius
            .ending
            .iter()
            .filter(|id| {
                let session = self.radius.sessions.get(*id);
                session.is_some_and(|s| usage.iter().any(|usage| usage.mac == s.device && of(self, usage).as_ref() == Some(&s.account)))
            })
            .cloned()
            .collect();
        last.iter().for_each(|id| self.stop(id, now));
        self.look_at_directions(usage, now);
    }

    /// All counters were read: interim updates, and sessions that end by what they did not use.
    pub(in crate::gateway) fn radius_all_counted(&mut self, now: Now) {
        let until = now.monotonic.after(GOES_ALONG);
        let due: Vec<_> = self.radius.timers.iter().take_while(|(at, ..)| *at <= until).cloned().collect();
        for (at, id, timer) in due {
            if timer == Timer::Idle && at > now.monotonic {
                continue;
            }
            self.radius.timers.remove(&(at, id.clone(), timer));
            let Some(session) = self.radius.sessions.get(&id).filter(|session| session.state == SessionState::Open) else { continue };
            let (device, account) = (session.device, session.account.clone());
            match timer {
                Timer::Interim => {
                    if let Some(told) = self.accounted(&id, now.monotonic) {
                        self.account(AccountingEvent::Interim(told), now);
                    }
                    self.set_interim(&id, now.monotonic);
                }
                Timer::Gone => self.look_whether_gone(&id, &account, device, now),
                Timer::Idle => {
                    let Some((idle, moved)) = session.idle.zip(self.radius.moved.get(&id).copied()) else { continue };
                    let ends = moved.after(Millis::from_seconds(idle.0));
                    if ends > now.monotonic {
                        self.radius.timers.insert((ends, id, Timer::Idle));
                    } else {
                        self.close_session(&account, device, TerminateCause::IdleTimeout, now);
                        self.log(format!("session: {device} on {} sent and received nothing for {} s", self.shown_name(&account), idle.0));
                    }
                }
            }
        }
    }

    /// A device's counters moved.
    pub(in crate::gateway) fn session_moved(&mut self, device: Mac, now: Now) {
        if let Some(moved) = self.radius.open.get(&device).and_then(|id| self.radius.moved.get_mut(id)) {
            *moved = now.monotonic;
        }
    }

    /// Limits of one direction are a server's alone; the kernel holds their sum, and each is looked at when the counters are read.
    fn look_at_directions(&mut self, usage: &[Usage], now: Now) {
        for counted in usage {
            let Some(id) = self.radius.open.get(&counted.mac).cloned() else { continue };
            let Some(session) = self.radius.sessions.get(&id).filter(|session| session.up.is_some() || session.down.is_some()) else {
                continue;
            };
            let used = self.used_by(session);
            let over = session.up.is_some_and(|limit| used.up >= limit) || session.down.is_some_and(|limit| used.down >= limit);
            if over {
                let account = session.account.clone();
                self.close_session(&account, counted.mac, TerminateCause::SessionTimeout, now);
                self.log(format!("session: {} on {} has no data left", counted.mac, self.shown_name(&account)));
            }
        }
    }

    /// Sessions whose last counts do not come: what is known of them is told.
    pub(super) fn stop_without_counts(&mut self, now: Now) {
        let over = |id: &&SessionId| match self.radius.sessions.get(*id).map(|session| &session.state) {
            Some(SessionState::Ending { at, .. }) => at.after(LAST_COUNTS_WITHIN) <= now.monotonic,
            _ => true,
        };
        let over: Vec<SessionId> = self.radius.ending.iter().filter(over).cloned().collect();
        over.iter().for_each(|id| self.stop(id, now));
    }

    /// After a power cut: sessions of earlier boots ended with it, as far as is written down. Those that a server let in wait for
    /// their devices.
    pub(super) fn sessions_of_earlier_boots(&mut self) {
        let earlier: Vec<RadiusSession> = self
            .radius
            .sessions
            .values()
            .filter(|session| session.boot != self.boot && session.state != SessionState::Waiting)
            .cloned()
            .collect();
        for session in earlier {
            let (cause, at, wall) = match session.state {
                SessionState::Ending { cause, at, at_wall } => (cause, at, at_wall),
                SessionState::Open | SessionState::Waiting => {
                    let written = self.last_checkpoint.as_ref().filter(|last| last.boot == session.boot).map(|last| last.at);
                    (TerminateCause::NasReboot, written.unwrap_or(session.since).max(session.since), None)
                }
            };
            if let Some(told) = self.accounted(&session.id, at) {
                self.account_of(session.boot.clone(), AccountingEvent::Stop { session: told, cause }, Now { monotonic: at, wall });
            }
            if session.credential.is_some() && cause == TerminateCause::NasReboot {
                let waits = RadiusSession { state: SessionState::Waiting, ..session };
                self.step.radius_sessions.insert(waits.id.clone());
                self.radius.sessions.insert(waits.id.clone(), waits);
            } else {
                self.forget_session(&session.id);
            }
        }
    }

    pub(super) fn set_timers(&mut self, id: &SessionId, now: Now) {
        self.radius.timers.retain(|(_, of, _)| of != id);
        self.set_interim(id, now.monotonic);
        let Some(session) = self.radius.sessions.get(id) else { return };
        let (idle, walks) = (session.idle, self.may_walk(session));
        if idle.is_none() && !walks {
            self.radius.moved.remove(id);
            return;
        }
        let moved = *self.radius.moved.entry(id.clone()).or_insert(now.monotonic);
        if let Some(idle) = idle {
            self.radius.timers.insert((moved.after(Millis::from_seconds(idle.0)), id.clone(), Timer::Idle));
        }
        if walks {
            self.radius.timers.insert((next_look(now.monotonic), id.clone(), Timer::Gone));
        }
    }

    fn set_interim(&mut self, id: &SessionId, from: Monotonic) {
        let Some(settings) = self.settings.radius.as_ref().filter(|settings| settings.accounting) else { return };
        let every = self.radius.sessions.get(id).and_then(|session| session.interim).unwrap_or(settings.interim);
        self.radius.timers.insert((from.after(Millis::from_seconds(every.0)), id.clone(), Timer::Interim));
    }

    pub(super) fn used_by(&self, session: &RadiusSession) -> Traffic {
        let total = self.accounts.get(&session.account).and_then(|account| account.traffic.get(&session.device)).copied();
        let total = total.unwrap_or(session.base);
        Traffic { up: total.up.minus(session.base.up), down: total.down.minus(session.base.down) }
    }

    /// A session as it is told, at that moment.
    fn accounted(&self, id: &SessionId, at: Monotonic) -> Option<AccountedSession> {
        let session = self.radius.sessions.get(id)?;
        Some(AccountedSession {
            id: session.id.clone(),
            user: session.user.clone(),
            device: session.device,
            addresses: self.neighbours.addresses_of(session.device).iter().copied().collect(),
            class: session.class.clone(),
            remote: session.credential.is_some(),
            time: Seconds(at.since(session.since).0 / 1_000),
            traffic: self.used_by(session),
        })
    }

    /// Tells accounting servers of something that happened in this boot.
    pub(super) fn account(&mut self, event: AccountingEvent, at: Now) {
        self.account_of(self.boot.clone(), event, at);
    }

    fn account_of(&mut self, boot: crate::time::BootId, event: AccountingEvent, at: Now) {
        if self.settings.radius.as_ref().is_none_or(|settings| !settings.accounting) {
            return;
        }
        let kept = is_kept(&event);
        let (seq, gone) = self.radius.queue.push(|seq| Accounting { seq, boot, at: at.monotonic, at_wall: at.wall, refused: false, event });
        self.step.accounting.extend(gone);
        if kept {
            self.step.accounting.insert(seq);
        }
        self.account_next();
    }

    /// Sends what may go on its way.
    pub(super) fn account_next(&mut self) {
        if self.settings.radius.as_ref().is_some_and(|settings| settings.accounting) {
            let next = self.radius.queue.next_to_send();
            self.step.radius.extend(next.into_iter().map(RadiusOrder::Account));
        }
    }

    /// Tries again what servers refused, where it is time.
    pub(super) fn account_refused(&mut self, now: Now) {
        let told = self.settings.radius.as_ref().is_some_and(|settings| settings.accounting);
        let next = self.radius.queue.next_refused(now.monotonic, told);
        self.step.radius.extend(next.map(RadiusOrder::Account));
    }

    /// A server has it.
    pub(super) fn has_arrived(&mut self, seq: u64, now: Now) {
        for event in self.radius.queue.arrived(seq) {
            let what = if matches!(event, AccountingEvent::On) { "begins (Accounting-On)" } else { "ends (Accounting-Off)" };
            self.log(format!("radius: servers take others, but not that this router {what}: they are told no more of that"));
        }
        self.account_next();
        self.account_refused(now);
    }

    /// Servers take others, and not this.
    pub(super) fn is_refused(&mut self, seq: u64, now: Now) {
        if let Some(session) = self.radius.queue.refused(seq, now.monotonic) {
            self.step.accounting.insert(seq);
            self.log(format!("radius: servers take others, but not this word of session {}: it holds nothing up, and is kept", session.0));
        }
        self.account_next();
        self.account_refused(now);
    }
}
