//! What is offered, what is made of it, and what the relay is told.

use super::{Kind, Manifest, ReleaseKey, Signature, Standing};
use crate::time::Wall;
use crate::units::MessageId;
use serde::{Deserialize, Serialize};

/// An update as the relay offers it: nothing of it may be believed before the release key's signature held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The manifest's text: these exact bytes are signed.
    pub manifest: String,
    /// The signature's line of base64.
    pub signature: String,
}

/// How an update stands at a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is not for this router, or not to be believed: nothing was done.
    Refused,
    /// It is fetched, and made to run when the time for that comes.
    Accepted,
    /// It could not be fetched or put in place. What ran before still runs, and the same may be offered again.
    Failed,
    /// It is fetched and checked, and about to run.
    Applying,
    /// It runs, and has yet to prove that it works.
    Trying,
    /// It works, and stays.
    Confirmed,
    /// It did not work: what ran before runs again. Another number is needed for another try.
    RolledBack,
}

impl State {
    /// Its name on the wire and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Accepted => "accepted",
            Self::Failed => "failed",
            Self::Applying => "applying",
            Self::Trying => "trying",
            Self::Confirmed => "confirmed",
            Self::RolledBack => "rolled_back",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        use State::{Accepted, Applying, Confirmed, Failed, Refused, RolledBack, Trying};
        [Refused, Accepted, Failed, Applying, Trying, Confirmed, RolledBack].into_iter().find(|state| state.name() == name)
    }

    /// Whether an accepted update is over.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Failed | Self::Confirmed | Self::RolledBack)
    }

    /// Whether an update is under way, and another has to wait.
    #[must_use]
    pub const fn is_busy(self) -> bool {
        matches!(self, Self::Applying | Self::Trying)
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident $name:literal $told:literal)*) => {
        /// Why an update was refused, or failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        impl Reason {
            /// Its name on the wire and in files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$reason => $name,)* }
            }
            /// For people.
            #[must_use]
            pub const fn told(self) -> &'static str {
                match self { $(Self::$reason => $told,)* }
            }
            /// The reason of that name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$reason),)* _ => None }
            }
        }
    };
}
reasons! {
    /// There is no `config update` section.
    Off "off" "updates are off: the router's config has no update section"
    /// It is no manifest of a form that this program knows.
    Malformed "malformed" "it is no manifest that this program can read"
    /// It is signed with a key that the router does not have.
    UnknownKey "unknown_key" "it is signed with a key that the router does not have"
    /// The signature is not that key's, or not over this manifest.
    Forged "forged" "its signature does not hold"
    /// It is for other boards, or the router does not know its own.
    OtherBoard "other_board" "it is for other boards than this router"
    /// It is built for another processor or system.
    OtherTarget "other_target" "it is built for another target than this router's program"
    /// Its number is not higher than the highest that was accepted.
    NotNewer "not_newer" "its number is not higher than the last one that this router accepted"
    /// Its last moment is over.
    Expired "expired" "its last moment is over"
    /// Images are off.
    ImagesOff "images_off" "images are off: the router's config does not allow them"
    /// The program was not started by its start script, which would put the old one back.
    NoGuard "no_guard" "the program was not started by its start script, and nobody would put the old one back"
    /// There is not enough flash, or memory for an image.
    NoRoom "no_room" "there is not enough room for it: a program takes flash beside the old one, an image takes memory"
    /// The file could not be had.
    Unreachable "unreachable" "the file could not be fetched"
    /// The file has another size than the manifest says.
    WrongSize "wrong_size" "the file has another size than the manifest says"
    /// The file has another SHA-256 than the manifest says.
    WrongHash "wrong_hash" "the file is not the one that was signed (SHA-256)"
    /// OpenWrt's sysupgrade says that the image is not for this router, or did not begin.
    SysupgradeRefused "sysupgrade_refused" "sysupgrade does not take it"
    /// A file could not be written, moved, found or read.
    Disk "disk" "a file could not be written, moved or read"
    /// The new program ended again and again.
    Crashed "crashed" "the new program ended again and again before it worked"
    /// The new program ran, and did not work in time.
    NotHealthy "not_healthy" "the new program did not work in time"
    /// Somebody put another program there meanwhile.
    Replaced "replaced" "somebody put another program in its place"
}

/// What the router says of an offer. Stored, and sent until the relay acknowledges it; the first one also answers the offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The id of the message that offered it.
    pub offer: MessageId,
    /// How it stands.
    pub state: State,
    /// Why, where something is wrong.
    pub reason: Option<Reason>,
}

/// What a router knows of itself that decides about an offer.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The release keys; none: updates are off.
    pub keys: &'a [ReleaseKey],
    /// The board's name; none where nobody knows it.
    pub board: Option<&'a str>,
    /// What this program was built for.
    pub target: &'a str,
    /// Whether images are allowed.
    pub images: bool,
    /// Whether the start script is there, which puts the old program back.
    pub guarded: bool,
    /// What time it is, where anybody knows.
    pub time: Option<Wall>,
}

/// What is made of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// Nothing is done, and this is why.
    Refused(Reason),
    /// The same one again: it stands as it stood.
    Again,
    /// Another one is on its way into its place: this one is not answered, and so comes again.
    Later,
    /// It is to be fetched.
    Accepted(Manifest),
}

/// Judges the offer of that id. `verify` says whether the bytes of the second argument carry the Ed25519 signature of the third by the key of
/// the first.
pub fn judge(
    standing: &Standing,
    id: &MessageId,
    offer: &Offer,
    facts: &Facts,
    verify: impl Fn(&[u8; 32], &[u8], &[u8; 64]) -> bool,
) -> Judged {
    match refusal(standing, id, offer, facts, verify) {
        Err(reason) => Judged::Refused(reason),
        Ok(judged) => judged,
    }
}

/// Judges what was accepted once more, before it is fetched again and before it runs: keys, images and the last moment may have
/// changed meanwhile. Where it is not to be any more, this is why.
pub fn objection(standing: &Standing, facts: &Facts, verify: impl Fn(&[u8; 32], &[u8], &[u8; 64]) -> bool) -> Option<Reason> {
    let manifest = standing.manifest.as_ref()?;
    let judged = if facts.keys.is_empty() {
        Err(Reason::Off)
    } else {
        let signature = standing.signature.as_ref().ok_or(Reason::UnknownKey);
        signature.and_then(|signature| is_signed(&manifest.to_text(), signature, facts.keys, verify))
    };
    judged.and_then(|()| is_wanted_now(manifest, facts)).err()
}

fn is_signed(
    manifest: &str,
    signature: &Signature,
    keys: &[ReleaseKey],
    verify: impl Fn(&[u8; 32], &[u8], &[u8; 64]) -> bool,
) -> Result<(), Reason> {
    let mut keys = keys.iter().filter(|key| key.id == signature.id).peekable();
    if keys.peek().is_none() {
        return Err(Reason::UnknownKey);
    }
    if !keys.any(|key| verify(&key.key, manifest.as_bytes(), &signature.bytes)) {
        return Err(Reason::Forged);
    }
    Ok(())
}

fn is_wanted_now(manifest: &Manifest, facts: &Facts) -> Result<(), Reason> {
    if manifest.until.zip(facts.time).is_some_and(|(until, now)| until < now) {
        return Err(Reason::Expired);
    }
    match manifest.kind {
        Kind::Image if !facts.images => Err(Reason::ImagesOff),
        Kind::Program if !facts.guarded => Err(Reason::NoGuard),
        _ => Ok(()),
    }
}

fn refusal(
    standing: &Standing,
    id: &MessageId,
    offer: &Offer,
    facts: &Facts,
    verify: impl Fn(&[u8; 32], &[u8], &[u8; 64]) -> bool,
) -> Result<Judged, Reason> {
    if facts.keys.is_empty() {
        return Err(Reason::Off);
    }
    // The signature first: until it holds nothing is looked at in what was signed.
    let signature = Signature::parse(&offer.signature).ok_or(Reason::Malformed)?;
    is_signed(&offer.manifest, &signature, facts.keys, verify)?;
    let manifest = Manifest::parse(&offer.manifest).map_err(|_| Reason::Malformed)?;
    if manifest.target.as_deref().is_some_and(|target| target != facts.target) {
        return Err(Reason::OtherTarget);
    }
    if !manifest.boards.is_empty() && !manifest.boards.iter().any(|board| Some(board.as_str()) == facts.board) {
        return Err(Reason::OtherBoard);
    }
    let known = standing.manifest.as_ref() == Some(&manifest);
    // What failed before it ran may be tried again where somebody offers it again. The same message once more is only the line's: it
    // would be fetched for as long as it comes. All else that is known is only told again.
    let tried_again = known && standing.state == Some(State::Failed) && standing.offer.as_ref() != Some(id);
    if known && !tried_again {
        return Ok(Judged::Again);
    }
    if manifest.number <= standing.floor && !tried_again {
        return Err(Reason::NotNewer);
    }
    is_wanted_now(&manifest, facts)?;
    if standing.state.is_some_and(State::is_busy) {
        return Ok(Judged::Later);
    }
    Ok(Judged::Accepted(manifest))
}
