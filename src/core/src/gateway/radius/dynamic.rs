//! What servers order of live sessions: an end, or other limits (RFC 5176).

use super::is_remote;
use crate::gateway::Gateway;
use crate::radius::{
    Authorization, DynamicId, DynamicOrder, DynamicRequest, ErrorCause, RadiusOrder, RadiusSession, SessionId, SessionMatch, SessionState,
    TerminateCause,
};
use crate::time::Now;
use crate::units::Millis;

impl Gateway {
    pub(super) fn ordered(&mut self, id: DynamicId, request: DynamicRequest, now: Now) {
        let done = self.obey(&request, now);
        self.step.radius.push(RadiusOrder::Answer(id, done));
    }

    fn obey(&mut self, request: &DynamicRequest, now: Now) -> Result<(), ErrorCause> {
        if request.which == SessionMatch::default() {
            return Err(ErrorCause::MissingAttribute);
        }
        let meant: Vec<SessionId> = self.radius.open.values().filter(|id| self.is_meant(id, &request.which)).cloned().collect();
        if meant.is_empty() {
            return Err(ErrorCause::SessionContextNotFound);
        }
        match &request.order {
            DynamicOrder::Disconnect => meant.iter().for_each(|id| self.disconnect(id, now)),
            DynamicOrder::Change(change) => {
                // All of them or none.
                let sold_here = |id: &SessionId| self.radius.sessions.get(id).is_some_and(|session| !is_remote(&session.account));
                let data = change.total.is_some() || change.up.is_some() || change.down.is_some();
                let takes = data || change.time.is_some() || change.ends_at.is_some();
                if takes && meant.iter().any(sold_here) {
                    return Err(ErrorCause::AdministrativelyProhibited);
                }
                if **change == Authorization::default() {
                    return Err(ErrorCause::UnsupportedAttribute);
                }
                if change.ends_at.is_some() && now.wall.is_none() {
                    return Err(ErrorCause::ResourcesUnavailable);
                }
                if change.package.as_ref().is_some_and(|id| self.settings.package(id).is_none()) {
                    return Err(ErrorCause::InvalidAttributeValue);
                }
                meant.iter().for_each(|id| self.change(id, change, now));
            }
        }
        Ok(())
    }

    fn is_meant(&self, id: &SessionId, which: &SessionMatch) -> bool {
        let Some(session) = self.radius.sessions.get(id).filter(|session| session.state == SessionState::Open) else { return false };
        which.user.as_ref().is_none_or(|user| *user == session.user.as_str())
            && which.session.as_ref().is_none_or(|id| *id == session.id.0)
            && which.device.is_none_or(|device| device == session.device)
            && which.address.is_none_or(|address| self.neighbours.addresses_of(session.device).contains(&address))
    }

    fn disconnect(&mut self, id: &SessionId, now: Now) {
        let Some(RadiusSession { account, device, .. }) = self.radius.sessions.get(id).cloned() else { return };
        self.close_session(&account, device, TerminateCause::AdminReset, now);
        self.log(format!("session: {device} ended by a RADIUS server"));
    }

    /// Other limits, in one change of the gate. What counts from the session's start does so still.
    fn change(&mut self, id: &SessionId, change: &Authorization, now: Now) {
        let Some(session) = self.radius.sessions.get_mut(id) else { return };
        session.interim = change.interim.or(session.interim);
        session.idle = change.idle.or(session.idle);
        session.up = change.up.or(session.up);
        session.down = change.down.or(session.down);
        if !change.class.is_empty() {
            session.class.clone_from(&change.class);
        }
        // The kernel holds the sum of both directions, unless a total is less.
        let directions = session.up.zip(session.down).map(|(up, down)| up.plus(down));
        let changed = change.total.is_some() || change.up.is_some() || change.down.is_some();
        let total = [change.total, directions].into_iter().flatten().min().filter(|_| changed);
        let (account, device, since) = (session.account.clone(), session.device, session.since);
        self.step.radius_sessions.insert(id.clone());
        self.set_timers(id, now);
        let package = change.package.as_ref().and_then(|id| self.settings.package(id)).cloned();
        let lasted = now.monotonic.since(since);
        let left = [
            change.time.map(|time| Millis::from_seconds(time.0).minus(lasted)),
            change.ends_at.zip(now.wall).map(|(ends, now)| Millis(ends.0.saturating_sub(now.0))),
        ];
        let left = left.into_iter().flatten().min();
        let boot = &self.boot;
        self.accounts.change(&account, |account| {
            if let Some(package) = &package {
                account.package = package.id.clone();
            }
            let Some(first) = account.purchases.front_mut() else { return };
            if let Some(package) = &package {
                first.package = package.id.clone();
            }
            let named = package.as_ref().map(|package| package.limits);
            first.limits.down = change.down_speed.or(named.and_then(|limits| limits.down)).or(first.limits.down);
            first.limits.up = change.up_speed.or(named.and_then(|limits| limits.up)).or(first.limits.up);
            first.limits.data = total.or(first.limits.data);
            if let Some(left) = left {
                first.limits.time = Some(lasted.plus(left));
                account.clock = crate::account::Clock::stopped(Some(left));
                account.clock.start(now.monotonic, boot);
            }
        });
        self.touch_account(&account);
        self.touch_gate(&account);
        self.log(format!("session: {device} has other limits, by a RADIUS server"));
    }
}
