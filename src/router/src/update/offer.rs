//! What the relay offers, and the fetch of what is accepted.

use super::check::fetch_checked;
use super::{Ended, Updates, Work, verify};
use lango_core::time::Wall;
use lango_core::units::MessageId;
use lango_core::update::{self, Judged, Kind, Offer, Reason, Report, Room, Signature, Standing, State};
use std::io;
use std::path::PathBuf;
use tokio::time::Instant;

impl Updates {
    /// The relay offers something. Gives back what it is told; nothing, and it offers it again.
    pub fn offered(&mut self, id: MessageId, offer: &Offer, time: Option<Wall>) -> Option<Report> {
        if self.closed {
            log::warn!("update: an offer is refused: the highest number that was accepted cannot be read");
            return Some(Report { offer: id, state: State::Refused, reason: Some(Reason::Disk) });
        }
        // Judged once that is over: what it leaves behind would be taken for the next one's.
        if self.standing.manifest.is_none() && matches!(self.work, Work::Trial(_)) {
            return None;
        }
        let judged = update::judge(&self.standing, &id, offer, &self.facts(time), verify);
        match judged {
            Judged::Refused(reason) => {
                log::warn!("update: an offer is refused: {}", reason.told());
                Some(Report { offer: id, state: State::Refused, reason: Some(reason) })
            }
            Judged::Later => None,
            Judged::Again => {
                // What becomes of it is told of the offer that the relay knows.
                if self.standing.offer.as_ref() != Some(&id) && !self.keep(Standing { offer: Some(id), ..self.standing.clone() }) {
                    return None;
                }
                self.standing.report()
            }
            Judged::Accepted(manifest) => {
                self.stop_working();
                if !self.keep(self.standing.accepted(id, manifest, Signature::parse(&offer.signature))) {
                    return None;
                }
                log::info!("update: {} is accepted", self.name());
                let told = self.standing.report();
                self.fetch_where_there_is_room(told)
            }
        }
    }

    /// Begins the fetch, of what was accepted just now or before a restart. The relay hears `told`, or why it ended already.
    pub(super) fn fetch_where_there_is_room(&mut self, told: Option<Report>) -> Option<Report> {
        match self.room() {
            Ok(room) if room.is_enough() => {
                self.fetch();
                told
            }
            Ok(Room { needed, free }) => {
                // The numbers tell a router that is full now from a model that is too small for ever.
                log::warn!("update: {needed} bytes must be free for it, {free} are (docs/updates.md)");
                self.end(State::Failed, Some(Reason::NoRoom))
            }
            Err(cause) => {
                log::warn!("update: nobody knows how much room there is: {cause}");
                self.end(State::Failed, Some(Reason::Disk))
            }
        }
    }

    fn room(&self) -> io::Result<Room> {
        let manifest = self.standing.manifest.as_ref().ok_or(io::ErrorKind::NotFound)?;
        self.files.room(manifest.kind, manifest.size)
    }

    pub(super) fn path(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Program => self.files.new_program(),
            Kind::Image => self.files.image().to_owned(),
        }
    }

    pub(super) fn stop_working(&mut self) {
        if let Work::Fetching(task) | Work::Checking(task, _) = std::mem::replace(&mut self.work, Work::Nothing) {
            task.abort();
        }
    }

    fn fetch(&mut self) {
        let Some(manifest) = &self.standing.manifest else { return };
        let (kind, number, ended) = (manifest.kind, manifest.number, self.ended.clone());
        let (manifest, path, files) = (manifest.clone(), self.path(kind), self.files.clone());
        let ca = self.settings.as_ref().and_then(|settings| settings.ca.clone());
        let patience = self.patience.clone();
        let task = tokio::task::spawn_local(async move {
            let prepared = if kind == Kind::Image { files.prepare_image() } else { Ok(()) };
            let outcome = if let Err(cause) = prepared {
                log::error!("update: {cause}");
                Err(Reason::Disk)
            } else {
                fetch_checked(manifest, path, ca.as_deref(), patience).await
            };
            // Nobody listens: the daemon stops.
            let _ = ended.send(Ended { number, outcome }).await;
        });
        self.work = Work::Fetching(task.abort_handle());
    }

    /// A fetch ended.
    pub fn fetched(&mut self, ended: Ended) -> Option<Report> {
        if self.standing.manifest.as_ref().is_none_or(|manifest| manifest.number != ended.number) {
            return None; // another one was accepted meanwhile
        }
        match (ended.outcome, &self.work) {
            (Ok(()), Work::Checking(_, since)) => {
                (self.work, self.look) = (Work::Checked(*since), Instant::now());
                None
            }
            (Ok(()), _) => {
                log::info!("update: {} is here", self.name());
                (self.work, self.look) = (Work::Ready(None), Instant::now());
                None
            }
            (Err(reason), _) => self.end(State::Failed, Some(reason)),
        }
    }
}
