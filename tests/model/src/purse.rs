//! What one account was paid for, as pots in a row, and what the kernel gave of it. It knows nothing of clocks, checkpoints and
//! counters: time and bytes that passed come out of the first pot that has any left.

use lango_core::account::Purchase;
use lango_core::package::Limits;
use std::collections::VecDeque;

/// A quota stops up to so many bytes short of its end.
const SHORT: u64 = 65_536;

/// One purchase, or several alike that run as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pot {
    /// What it held.
    pub limits: Limits,
    /// Milliseconds out of it.
    pub time: u64,
    /// Bytes out of it.
    pub data: u64,
    /// Milliseconds more than was bought: a power cut forgot the end of the purchase before it.
    pub extra: u64,
}

impl Pot {
    const fn full(limits: Limits) -> Self {
        Self { limits, time: 0, data: 0, extra: 0 }
    }

    /// Milliseconds in it; nothing where they are not limited.
    #[must_use]
    pub fn time_left(&self) -> Option<u64> {
        self.limits.time.map(|time| (time.0 + self.extra).saturating_sub(self.time))
    }

    /// The same for bytes.
    #[must_use]
    pub fn data_left(&self) -> Option<u64> {
        self.limits.data.map(|data| data.0.saturating_sub(self.data))
    }

    fn is_over(&self, loose: Loose) -> bool {
        self.time_left().is_some_and(|left| left <= loose.time) || self.data_left().is_some_and(|left| left <= SHORT + loose.bytes)
    }
}

/// How much the rules and the kernel may disagree, because the program died between the store and the gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loose {
    /// Milliseconds.
    pub time: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What was left when the kernel said that nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Milliseconds or bytes.
    So(u64),
    /// There was no limit.
    All,
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::So(left) => write!(f, "{left}"),
            Self::All => f.write_str("no limit, and all"),
        }
    }
}

/// An account's pots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purse {
    /// First to be used first.
    pub pots: VecDeque<Pot>,
    /// Service that nobody paid for.
    pub free: Loose,
    /// Since when the first pot has nothing left, or the kernel lets nothing more pass, and the pot stands there still.
    pub over_since: Option<u64>,
    /// Since when the kernel lets nothing more pass.
    pub stopped_since: Option<u64>,
}

impl Purse {
    /// Somebody was online for so long, until `at`.
    pub fn pass_time(&mut self, length: u64, at: u64) {
        let mut rest = length;
        for pot in &mut self.pots {
            let take = pot.time_left().unwrap_or(u64::MAX).min(rest);
            pot.time += take;
            rest -= take;
            if rest == 0 {
                break;
            }
        }
        self.free.time += rest;
        self.note(at);
    }

    /// So many bytes passed, at that moment.
    pub fn pass_bytes(&mut self, bytes: u64, at: u64) {
        let mut rest = bytes;
        for pot in &mut self.pots {
            let take = pot.data_left().unwrap_or(u64::MAX).min(rest);
            pot.data += take;
            rest -= take;
            if rest == 0 {
                break;
            }
        }
        self.free.bytes += rest;
        self.note(at);
    }

    fn note(&mut self, at: u64) {
        self.over_since = if self.is_over() { self.over_since.or(Some(at)) } else { None };
    }

    fn is_over(&self) -> bool {
        self.pots.front().is_some_and(|pot| pot.time_left() == Some(0) || pot.data_left() == Some(0))
    }

    /// The kernel lets nothing more pass. Nothing where that is right: the first pot is used up, a packet short of it or less. What has no
    /// limit is never used up.
    pub fn stop(&mut self, by_data: bool, at: u64) -> Option<Left> {
        self.stopped_since.get_or_insert(at);
        let first = self.pots.front()?;
        let (left, short) = if by_data { (first.data_left(), SHORT) } else { (first.time_left(), 0) };
        left.map_or(Some(Left::All), |left| (left > short).then_some(Left::So(left)))
    }

    /// Milliseconds in all pots that limit them.
    #[must_use]
    pub fn time_left(&self) -> u64 {
        self.pots.iter().filter_map(Pot::time_left).sum()
    }

    /// Bytes in all pots that limit them.
    #[must_use]
    pub fn data_left(&self) -> u64 {
        self.pots.iter().filter_map(Pot::data_left).sum()
    }

    /// The purse after these were paid for and the rules say that the account has these purchases: pots may be gone that are
    /// over, and no other; what was paid for is there, and nothing else.
    #[must_use]
    pub fn became(&self, paid: &[Limits], purchases: &VecDeque<Purchase>, loose: Loose) -> Option<Self> {
        (0..=self.pots.len()).find_map(|gone| {
            if !self.pots.iter().take(gone).all(|pot| pot.is_over(loose)) {
                return None;
            }
            let mut pots: VecDeque<Pot> = self.pots.iter().skip(gone).copied().collect();
            paid.iter().for_each(|limits| put(&mut pots, *limits));
            // What was paid for may be over at once, where something else had been used of it before anybody noticed.
            while pots.len() > purchases.len() && pots.front().is_some_and(|pot| pot.is_over(loose)) {
                pots.pop_front();
            }
            let same = pots.iter().map(|pot| pot.limits).eq(purchases.iter().map(|purchase| purchase.limits));
            if !same {
                return None;
            }
            // Where nothing came and nothing went, what is over is over as long as it was: accounts are written each minute.
            let stays = gone == 0 && paid.is_empty() && pots.len() == self.pots.len();
            let [over_since, stopped_since] = [self.over_since, self.stopped_since].map(|since| since.filter(|_| stays));
            Some(Self { pots, free: self.free, over_since, stopped_since })
        })
    }

    /// The same pots, with so much left in the first one, and all others full.
    #[must_use]
    pub fn with(purchases: &VecDeque<Purchase>) -> Self {
        Self { pots: purchases.iter().map(|purchase| Pot::full(purchase.limits)).collect(), ..Self::default() }
    }
}

/// Puts what was bought into the last pot, where that holds the like, or into one of its own.
fn put(pots: &mut VecDeque<Pot>, limits: Limits) {
    let alike = |pot: &&mut Pot| {
        let (a, b) = (pot.limits, limits);
        let speeds = (a.down, a.up, a.devices) == (b.down, b.up, b.devices);
        speeds && a.time.is_some() == b.time.is_some() && a.data.is_some() == b.data.is_some()
    };
    match pots.back_mut().filter(alike) {
        Some(pot) => {
            pot.limits.time = pot.limits.time.zip(limits.time).map(|(a, b)| a.plus(b));
            pot.limits.data = pot.limits.data.zip(limits.data).map(|(a, b)| a.plus(b));
        }
        None => pots.push_back(Pot::full(limits)),
    }
}
