//! Updates over the air, as the daemon has them: between the rules, who speak with the relay, and the adapter with its files.

use super::recovery::Storage;
use super::{Daemon, Sources};
use crate::clock;
use crate::update::{Ended, Next};
use lango_core::step::Input;
use lango_core::units::MessageId;
use lango_core::update::Offer;
use std::collections::VecDeque;

impl Daemon {
    /// What the relay offers; what is made of it goes through the rules.
    pub(super) fn update_offered(&mut self, id: MessageId, offer: &Offer, inputs: &mut VecDeque<Input>) {
        let time = self.rules.get().business(clock::now()).time;
        inputs.extend(self.updates.offered(id, offer, time).map(Input::Update));
    }

    /// A fetch ended.
    pub(super) fn update_fetched(&mut self, ended: Ended, inputs: &mut VecDeque<Input>) {
        inputs.extend(self.updates.fetched(ended).map(Input::Update));
    }

    /// Whether the time has come for what was fetched, and whether what is on trial works. True where this program is to end for
    /// another one.
    pub(super) async fn look_at_update(&mut self, sources: &Sources) -> anyhow::Result<bool> {
        let open = matches!(self.storage, Storage::Open(_));
        let gate = self.gate.is_some() && self.gate_again.is_none();
        let portal = sources.portal_task.as_ref().is_some_and(|(_, serving)| !serving.is_finished());
        let business = self.rules.get().business(clock::now());
        match self.updates.look(business, open && gate && portal) {
            Next::Nothing => {}
            Next::Tell(report) => self.step(VecDeque::from([Input::Update(report)])).await?,
            Next::BeginImage(report) => {
                self.step(VecDeque::from([Input::Update(report)])).await?;
                if let Some(report) = self.updates.begin_image() {
                    self.step(VecDeque::from([Input::Update(report)])).await?;
                }
            }
            Next::GiveWay(report, successor) => {
                self.step(VecDeque::from([Input::Update(report)])).await?;
                self.successor = Some(successor);
            }
        }
        Ok(self.successor.is_some())
    }
}
