//! Updates over the air: what a release says of itself, whose word counts, what is refused, and what a router goes through from
//! an offer to a new program that works, or to the old one (docs/updates.md).
//!
//! Pure. Reading the key's signature is here; the mathematics of it, the files, and the network are the adapters'.

mod manifest;
mod offer;
mod plan;
mod room;
mod standing;
mod timing;
mod usign;

#[cfg(test)]
mod tests;

pub use manifest::{Kind, MAX_MANIFEST, Manifest, NotAManifest, Url};
pub use offer::{Facts, Judged, Offer, Reason, Report, State, judge, objection};
pub use plan::{Found, Place, Recovery, Step, apply, confirm, discard, put_back, recover, recover_blindly};
pub use room::{Room, needed};
pub use standing::{Standing, Unreadable};
pub use timing::{Hours, LONGEST_WAIT, is_allowed, may_apply};
pub use usign::{KeyId, ReleaseKey, Signature};
