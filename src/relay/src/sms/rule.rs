//! What follows from a gateway's answer: pure. A text is handed in again only where that can do no harm.

use lango_core::time::Wall;

/// What a gateway made of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has it. Its own id for it, where it gave one: delivery reports name it.
    Accepted(Option<String>),
    /// It has not, and may well take it later; or it could not be reached.
    Later(Why),
    /// It may have it: the answer was lost.
    Doubt(Why),
    /// It will not send this text, however often it is asked.
    Refused(Why),
    /// It sends none of ours before the operator has done something.
    Blocked(Alert, Why),
}

/// A gateway's code, and in plain words what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// As the gateway says it, or what came in its place.
    pub code: String,
    /// For the operator.
    pub words: String,
}

impl Why {
    /// Both.
    pub fn new(code: impl Into<String>, words: impl Into<String>) -> Self {
        Self { code: code.into(), words: words.into() }
    }
}

/// What an operator has to do before any text is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alert {
    /// There is no money on the account.
    NoCredit,
    /// The sender is not ours to use.
    Sender,
    /// The account, its key, or the address is wrong.
    Account,
}

impl Alert {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoCredit, Self::Sender, Self::Account];

    /// Its name in the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCredit => "no_credit",
            Self::Sender => "sender",
            Self::Account => "account",
        }
    }

    /// What to do.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoCredit => "the SMS gateway sends nothing: the account there has no credit; top it up",
            Self::Sender => {
                "the SMS gateway sends nothing: it refuses the sender; look at `sender` in [sms], and at the gateway's own page"
            }
            Self::Account => "the SMS gateway sends nothing: it refuses the account; look at `username`, `api_key` and `base_url` in [sms]",
        }
    }
}

/// What a text is about: how long it is worth sending, and how often it may arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was bought, and how to use it. Better twice than never.
    Credentials,
    /// It ends soon. Better never than twice.
    Expiring,
    /// It has ended. The same.
    Ended,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Credentials, Self::Expiring, Self::Ended];

    /// Its name, for people, programs and the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Expiring => "expiring",
            Self::Ended => "ended",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How often it is handed to the gateway without knowing that an earlier time was in vain.
    #[must_use]
    pub const fn sends(self) -> u32 {
        match self {
            Self::Credentials => 2,
            Self::Expiring | Self::Ended => 1,
        }
    }

    /// How long it is tried, in milliseconds.
    #[must_use]
    pub const fn worth_for(self) -> u64 {
        match self {
            Self::Credentials => 24 * 3_600_000,
            Self::Expiring | Self::Ended => 10 * 60_000,
        }
    }
}

/// A text that was handed to the gateway.
#[derive(Debug, Clone, Copy)]
pub struct Handed {
    /// What it is about.
    pub kind: Kind,
    /// Since when it is to be sent.
    pub since: Wall,
    /// How often it was tried, this time included.
    pub tries: u32,
    /// How often it was handed over without knowing that it was in vain, this time included.
    pub sends: u32,
}

/// How a text stands after that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The gateway has it; its delivery report will tell more.
    Sent(Option<String>),
    /// It is tried again.
    Again {
        /// When.
        due: Wall,
        /// Whether this time counts as one that may have arrived.
        counts: bool,
        /// Why it is not sent yet.
        why: Why,
    },
    /// It is not tried again.
    Failed(Why),
}

/// The first pause between two tries, in milliseconds; each is twice the one before.
const FIRST_PAUSE: u64 = 2_000;
/// The longest.
const LONGEST_PAUSE: u64 = 300_000;
/// After a lost answer: a gateway that is slow gets time to be done.
const AFTER_DOUBT: u64 = 30_000;

fn pause(tries: u32) -> u64 {
    FIRST_PAUSE.saturating_mul(1_u64.checked_shl(tries.saturating_sub(1).min(30)).unwrap_or(u64::MAX)).min(LONGEST_PAUSE)
}

/// Whether a text is too old to be of any use, however the gateway might take it.
#[must_use]
pub fn is_late(handed: Handed, now: Wall) -> bool {
    now.0.saturating_sub(handed.since.0) > handed.kind.worth_for()
}

/// What becomes of a text.
#[must_use]
pub fn next(handed: Handed, verdict: Verdict, now: Wall) -> Next {
    let again = |pause: u64, counts: bool, why: Why| {
        let due = Wall(now.0.saturating_add(pause));
        if due.0.saturating_sub(handed.since.0) > handed.kind.worth_for() {
            return Next::Failed(Why { words: format!("{}; it was tried until it was of no more use", why.words), ..why });
        }
        Next::Again { due, counts, why }
    };
    match verdict {
        Verdict::Accepted(id) => Next::Sent(id),
        Verdict::Refused(why) => Next::Failed(why),
        Verdict::Later(why) | Verdict::Blocked(_, why) => again(pause(handed.tries), false, why),
        Verdict::Doubt(why) if handed.sends < handed.kind.sends() => again(pause(handed.tries).max(AFTER_DOUBT), true, why),
        Verdict::Doubt(why) => Next::Failed(Why { words: format!("{}; it may have arrived, and is not sent again", why.words), ..why }),
    }
}

/// What a delivery report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The phone has it.
    Delivered,
    /// The phone will not get it.
    Failed(Why),
    /// It is on its way.
    Underway,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall(Wall::EARLIEST.0 + 100_000_000);

    fn why() -> Why {
        Why::new("x", "because")
    }

    fn handed(kind: Kind, tries: u32, sends: u32, age: u64) -> Handed {
        Handed { kind, since: Wall(NOW.0 - age), tries, sends }
    }

    #[test]
    fn what_is_worth_another_try() {
        let again = |pause: u64, counts: bool| Next::Again { due: Wall(NOW.0 + pause), counts, why: why() };
        let (credentials, ended) = (Kind::Credentials, Kind::Ended);
        for (text, verdict, expected) in [
            (handed(credentials, 1, 1, 0), Verdict::Accepted(Some("a".to_owned())), Some(Next::Sent(Some("a".to_owned())))),
            (handed(credentials, 1, 1, 0), Verdict::Refused(why()), Some(Next::Failed(why()))),
            (handed(credentials, 1, 1, 0), Verdict::Later(why()), Some(again(2_000, false))),
            (handed(credentials, 2, 1, 0), Verdict::Later(why()), Some(again(4_000, false))),
            (handed(credentials, 4, 1, 0), Verdict::Blocked(Alert::NoCredit, why()), Some(again(16_000, false))),
            (handed(credentials, 99, 1, 0), Verdict::Later(why()), Some(again(300_000, false))),
            // A day, and no more.
            (handed(credentials, 99, 1, 24 * 3_600_000 - 300_000), Verdict::Later(why()), Some(again(300_000, false))),
            (handed(credentials, 99, 1, 24 * 3_600_000 - 299_999), Verdict::Later(why()), None),
            // The answer is lost: credentials once more, an end not.
            (handed(credentials, 1, 1, 0), Verdict::Doubt(why()), Some(again(30_000, true))),
            (handed(credentials, 2, 2, 0), Verdict::Doubt(why()), None),
            (handed(ended, 1, 1, 0), Verdict::Doubt(why()), None),
            (handed(ended, 1, 1, 0), Verdict::Later(why()), Some(again(2_000, false))),
            (handed(ended, 9, 1, 600_000), Verdict::Later(why()), None),
        ] {
            let next = next(text, verdict.clone(), NOW);
            match expected {
                Some(expected) => assert_eq!(next, expected, "{text:?} {verdict:?}"),
                None => assert!(matches!(next, Next::Failed(_)), "{text:?} {verdict:?}: {next:?}"),
            }
        }
    }

    #[test]
    fn names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(kind));
        }
        assert_eq!(Kind::named("poem"), None);
    }
}
