//! A fetched release is put in place when its time has come, and watched until it works.

use super::check::holds;
use super::{Ended, LONGEST_SYSUPGRADE, LOOK, LOOK_SELDOM, Next, STEADY, Successor, Updates, Work};
use lango_core::gateway::Business;
use lango_core::units::{Millis, Seconds};
use lango_core::update::{self, Kind, Reason, Report, State};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

impl Updates {
    /// Looks whether the time has come to put it in place, or whether what runs works. `works`: the gate, the store and the portal
    /// do.
    pub fn look(&mut self, business: Business, works: bool) -> Next {
        let now = Instant::now();
        self.look = now + if matches!(self.work, Work::Trial(_) | Work::Sysupgrade(..)) { LOOK } else { LOOK_SELDOM };
        match self.work {
            Work::Ready(since) => self.ready(business, since, false),
            Work::Checked(since) => self.ready(business, Some(since), true),
            Work::Sysupgrade(ref mut child, since) => {
                // One that began well ends this program, after it has packed what is kept.
                let refused = child.try_wait().is_ok_and(|ended| ended.is_some_and(|status| !status.success()));
                if refused || now.duration_since(since) >= LONGEST_SYSUPGRADE {
                    return failed(self.end(State::Failed, Some(Reason::SysupgradeRefused)));
                }
                Next::Nothing
            }
            Work::Over(state, reason) => self.over(state, reason).map_or(Next::Nothing, Next::Tell),
            Work::Trial(since) => {
                let since = since.filter(|_| works && business.relay_answers).or((works && business.relay_answers).then_some(now));
                self.work = Work::Trial(since);
                if since.is_some_and(|since| now.duration_since(since) >= STEADY) { self.confirm() } else { Next::Nothing }
            }
            Work::Nothing | Work::Fetching(_) | Work::Checking(..) => Next::Nothing,
        }
    }

    /// Reads the file once more, beside everything else: a large one takes seconds.
    fn check(&mut self, since: Instant) {
        let Some(manifest) = self.standing.manifest.clone() else { return };
        let (path, number, ended) = (self.path(manifest.kind), manifest.number, self.ended.clone());
        let task = tokio::task::spawn_local(async move {
            let outcome = match holds(path, manifest).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Reason::WrongHash),
                Err(cause) => {
                    log::warn!("update: the file cannot be read: {cause}");
                    Err(Reason::Disk)
                }
            };
            // Nobody listens: the daemon stops.
            let _ = ended.send(Ended { number, outcome }).await;
        });
        self.work = Work::Checking(task.abort_handle(), since);
    }

    fn confirm(&mut self) -> Next {
        let kind = self.standing.manifest.as_ref().map_or(Kind::Program, |manifest| manifest.kind);
        if let Err(cause) = self.files.carry_out(update::confirm(kind), Seconds::ZERO) {
            log::error!("update: the trial cannot be ended: {cause}; trying again");
            return Next::Nothing;
        }
        self.end(State::Confirmed, None).map_or(Next::Nothing, Next::Tell)
    }

    /// `since`: since when it is allowed, as far as anybody looked; `checked`: just now.
    fn ready(&mut self, business: Business, since: Option<Instant>, checked: bool) -> Next {
        let (Some(manifest), Some(settings)) = (&self.standing.manifest, &self.settings) else { return Next::Nothing };
        let kind = manifest.kind;
        let Business { payments_pending, devices_online, time, .. } = business;
        let now = Instant::now();
        let since = update::is_allowed(kind, settings.hours, time, devices_online).then(|| since.unwrap_or(now));
        let ready = since.map_or(Duration::ZERO, |since| now.duration_since(since));
        let ready = Millis(u64::try_from(ready.as_millis()).unwrap_or(u64::MAX));
        self.work = Work::Ready(since);
        if !update::may_apply(kind, settings.hours, time, payments_pending, devices_online, ready) {
            return Next::Nothing;
        }
        let (script, trial) = (self.script.clone(), settings.trial);
        if let Some(reason) = self.objection(time) {
            return failed(self.end(State::Failed, Some(reason)));
        }
        if !checked {
            self.check(since.unwrap_or(now));
            return Next::Nothing;
        }
        log::info!("update: {} takes over", self.name());
        let told = match kind {
            Kind::Program => {
                let told = self.now(State::Applying, None);
                if told.is_some()
                    && let Err(cause) = self.files.carry_out(update::apply(kind), trial)
                    // Where it was moved already, and only that was not confirmed, there is no way but on: it is on trial.
                    && self.files.found().new
                {
                    log::error!("update: it cannot be put in place: {cause}");
                    return failed(self.end(State::Failed, Some(Reason::Disk)));
                }
                told
            }
            Kind::Image => match self.files.carry_out(update::apply(kind), trial) {
                Ok(()) => self.now(State::Applying, None),
                Err(cause) => {
                    log::error!("update: {cause}");
                    return failed(self.end(State::Failed, Some(Reason::Disk)));
                }
            },
        };
        match (told, kind, script) {
            (None, _, _) => Next::Nothing,
            (Some(told), Kind::Image, _) => Next::BeginImage(told),
            (Some(told), Kind::Program, Some(script)) => Next::GiveWay(told, Successor::Start(script)),
            // It was judged just now.
            (Some(_), Kind::Program, None) => failed(self.end(State::Failed, Some(Reason::NoGuard))),
        }
    }

    /// Hands the image to sysupgrade. This program runs and sells on until sysupgrade stops the service.
    pub fn begin_image(&mut self) -> Option<Report> {
        match sysupgrade(Path::new("sysupgrade"), self.files.image()) {
            Ok(child) => {
                (self.work, self.look) = (Work::Sysupgrade(child, Instant::now()), Instant::now());
                None
            }
            Err(cause) => {
                log::error!("update: sysupgrade cannot be started: {cause}");
                self.end(State::Failed, Some(Reason::SysupgradeRefused))
            }
        }
    }
}

fn failed(told: Option<Report>) -> Next {
    told.map_or(Next::Nothing, Next::Tell)
}

/// Never in this process's place: sysupgrade stops the service before it packs what is kept, and procd ends the process that it
/// started by its number. Nor with this process's output: procd closes that.
fn sysupgrade(program: &Path, image: &Path) -> io::Result<Child> {
    use std::os::unix::process::CommandExt as _;
    let quiet = Stdio::null;
    Command::new(program).arg(image).process_group(0).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn()
}
