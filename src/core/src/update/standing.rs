//! What a router keeps of updates, in a file of its own: it must be readable where the store is not, and by a program that was
//! put back.
//!
//! ```text
//! lango-update-standing 1
//! floor 20261123
//! offer 5f0c6bd0a7f14f7b9e0d3c2b1a009988
//! state failed
//! reason wrong_hash
//! signature RWQ…
//! lango-update 1
//! …
//! ```
//! The manifest stands behind it as it was signed. `reason` and `signature` are there where there is one; only `floor`, where nothing was ever offered.
//! Where an update ended whose file could not be read, `release lost` stands in the place of the signature and the manifest.

use super::manifest::number;
use super::{Manifest, Reason, Report, Signature, State};
use crate::units::MessageId;
use std::fmt::Write as _;

/// In the place of a manifest that nobody knows any more.
const LOST: &str = "release lost\n";

/// The kept text is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is kept of updates cannot be read")]
pub struct Unreadable;

/// How updates stand at this router.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The highest number that was ever accepted: none that is not higher is accepted any more. [`Standing::CLOSED`]: nobody knows it.
    pub floor: u64,
    /// The message that offered the last one which was accepted.
    pub offer: Option<MessageId>,
    /// What it was; nothing where its file could not be read, and then it is over or on trial.
    pub manifest: Option<Manifest>,
    /// How it stands; never [`State::Refused`].
    pub state: Option<State>,
    /// Why it failed, or was rolled back.
    pub reason: Option<Reason>,
    /// What vouches for it, to be looked at again before it runs: a key may be taken out meanwhile.
    pub signature: Option<Signature>,
}

impl Standing {
    /// A floor that no release is above.
    pub const CLOSED: u64 = u64::MAX;

    /// After an offer was accepted.
    #[must_use]
    pub fn accepted(&self, offer: MessageId, manifest: Manifest, signature: Option<Signature>) -> Self {
        let floor = self.floor.max(manifest.number);
        Self { floor, offer: Some(offer), manifest: Some(manifest), state: Some(State::Accepted), reason: None, signature }
    }

    /// The same update, a step further.
    #[must_use]
    pub fn now(&self, state: State, reason: Option<Reason>) -> Self {
        Self { state: Some(state), reason, ..self.clone() }
    }

    /// What the relay is told; nothing where there was no update yet.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        Some(Report { offer: self.offer.clone()?, state: self.state?, reason: self.reason })
    }

    /// Reads what [`Standing::to_text`] wrote.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let standing = Self::read(text).ok_or(Unreadable)?;
        if standing.to_text() == text { Ok(standing) } else { Err(Unreadable) }
    }

    fn read(text: &str) -> Option<Self> {
        let (floor, mut rest) = text.strip_prefix("lango-update-standing 1\nfloor ")?.split_once('\n')?;
        let mut standing = Self { floor: number(floor)?, ..Self::default() };
        if rest.is_empty() {
            return Some(standing);
        }
        let mut take = |key: &str| {
            let (line, behind) = rest.split_once('\n')?;
            let value = line.strip_prefix(key)?;
            rest = behind;
            Some(value)
        };
        standing.offer = Some(take("offer ")?.parse().ok()?);
        standing.state = Some(State::named(take("state ")?).filter(|state| *state != State::Refused)?);
        standing.reason = match take("reason ") {
            Some(reason) => Some(Reason::named(reason)?),
            None => None,
        };
        if take(LOST.trim_end()).is_some() {
            return standing.state.is_some_and(State::is_end).then_some(standing);
        }
        standing.signature = match take("signature ") {
            Some(line) => Some(Signature::parse(line)?),
            None => None,
        };
        standing.manifest = Some(Manifest::parse(rest).ok()?);
        Some(standing)
    }

    /// Its text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("lango-update-standing 1\nfloor {}\n", self.floor);
        if let (Some(offer), Some(state)) = (&self.offer, self.state)
            && (self.manifest.is_some() || state.is_end())
        {
            // Writing into memory cannot fail.
            let _ = write!(text, "offer {offer}\nstate {}\n", state.name());
            if let Some(reason) = self.reason {
                text.extend(["reason ", reason.name(), "\n"]);
            }
            let Some(manifest) = &self.manifest else { return text + LOST };
            if let Some(signature) = &self.signature {
                text.extend(["signature ", &signature.to_line(), "\n"]);
            }
            text.push_str(&manifest.to_text());
        }
        text
    }
}
