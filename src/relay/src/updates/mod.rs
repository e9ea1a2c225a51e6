//! Updates over the air, from the relay's side: an offer is kept and sent as every message is, and what routers say of it is written
//! down. The release key is not here, and never is: the relay hands on what others have signed (docs/updates.md).

pub mod commands;
pub mod manifest;
pub mod words;

use crate::clock;
use crate::engine::Engine;
use lango_core::message::DownBody;
use lango_core::units::{MessageId, RouterName};
use lango_core::update::{Report, State};
use std::sync::atomic::Ordering;

/// What a ledger's row says before the router said anything.
pub const OFFERED: &str = "offered";

/// Whether `next` is news where `known` is written down: words may overtake each other on their way, and an end is an end.
#[must_use]
pub fn is_news(known: &str, next: State) -> bool {
    let rank = |state: &str| match state {
        "offered" => 0,
        "accepted" => 1,
        "applying" => 2,
        "trying" => 3,
        _ => 4,
    };
    // A router whose file of it is damaged says that it failed, also of what ended otherwise long before.
    let ran = matches!(known, "confirmed" | "rolled_back");
    rank(next.name()) >= rank(known) && !(ran && next == State::Failed)
}

impl Engine {
    /// A router says how an update stands.
    pub async fn update_said(&self, router: &RouterName, id: MessageId, report: &Report) {
        match self.ledger.update_is(router, report, clock::now()).await {
            Ok(known) => {
                let why = report.reason.map(|reason| format!(": {}", reason.told())).unwrap_or_default();
                let unknown = if known { "" } else { ", of which the ledger knows nothing" };
                log::info!("router {router}: the update is {}{why}{unknown}", report.state.name());
                self.say(router, DownBody::Ack { of: vec![id] }).await;
            }
            // Not acknowledged: the router sends it again.
            Err(error) => {
                self.missed.store(true, Ordering::Release);
                log::error!("router {router}: how the update stands could not be stored: {error:#}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_news() {
        for (known, next, news) in [
            ("offered", State::Refused, true),
            ("offered", State::Accepted, true),
            ("accepted", State::Accepted, true),
            ("trying", State::Accepted, false),
            ("trying", State::RolledBack, true),
            ("confirmed", State::Trying, false),
            ("failed", State::Accepted, false), // another try is another offer
            ("rolled_back", State::Confirmed, true),
            ("trying", State::Failed, true),
            ("failed", State::Failed, true),
            ("confirmed", State::Failed, false),
            ("rolled_back", State::Failed, false),
        ] {
            assert_eq!(is_news(known, next), news, "{known} {next:?}");
        }
    }
}
