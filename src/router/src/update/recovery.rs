//! How a router goes on with an update that a start finds: a trial, or what a power cut left.

use super::{Updates, Work};
use lango_core::units::Seconds;
use lango_core::update::{self, Found, Kind, Recovery, Report, State};

impl Updates {
    /// A trial whose release nobody knows any more is one all the same: a program that works is not to be put back for a file's sake. All else
    /// ends. Only of what offer it was is still known, from a file of its own: the relay is told how it goes and how it ended.
    pub(super) fn go_on_blindly(&mut self, found: Found) -> Option<Report> {
        match update::recover_blindly(found) {
            Recovery::Try => {
                log::warn!("update: this program is on trial, and what release it is cannot be told");
                self.work = Work::Trial(None);
                self.standing.now(State::Trying, None).report()
            }
            Recovery::Ended(state, reason) => self.end(state, reason),
            Recovery::Rest | Recovery::Fetch | Recovery::Apply => None,
        }
    }

    pub(super) fn go_on(&mut self, found: Found) -> Option<Report> {
        let state = self.standing.state?;
        // Of one whose release is lost only an end is kept, and that asks for no kind.
        let kind = self.standing.manifest.as_ref().map_or(Kind::Program, |manifest| manifest.kind);
        let objection = self.objection(None);
        match update::recover(kind, state, found) {
            Recovery::Rest => {
                self.clear_away();
                // Between writing it down and handing it to the store the power may have gone: the relay bears to hear it twice.
                self.standing.report()
            }
            // Somebody took its key or the whole section out meanwhile.
            Recovery::Fetch | Recovery::Apply if objection.is_some() => self.end(State::Failed, objection),
            Recovery::Fetch => self.fetch_where_there_is_room(None),
            Recovery::Apply => {
                // It may have to wait for its hour, and until then the old program is on no trial.
                if let Err(cause) = self.files.carry_out(update::confirm(kind), Seconds::ZERO) {
                    log::warn!("update: {cause}");
                }
                self.work = Work::Ready(None);
                None
            }
            Recovery::Try => {
                self.work = Work::Trial(None);
                if state == State::Trying {
                    return None;
                }
                log::info!("update: {} is on trial", self.name());
                self.now(State::Trying, None)
            }
            Recovery::Ended(state, reason) => self.end(state, reason),
        }
    }
}
