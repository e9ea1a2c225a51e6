//! Devices that send with another customer's address: told now and then, in bounded memory.

use lango_core::units::Mac;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Cases remembered at most. One that makes addresses up must not take the memory, nor fill the log.
const REMEMBERED: usize = 256;

/// A case is told again after this long at the earliest.
const AGAIN: Duration = Duration::from_secs(3_600);

/// An address that went from one device to another, by a new lease, is known within this time. What lasts longer is no
/// change of hands.
const SETTLES: Duration = Duration::from_secs(2);

/// What was quiet for so long begins anew.
const FORGOTTEN: Duration = Duration::from_secs(60);

struct Case {
    first: Instant,
    last: Instant,
    told: Option<Instant>,
}

/// Who was seen to do so.
#[derive(Default)]
pub struct Foreign {
    cases: BTreeMap<(Mac, IpAddr), Case>,
    /// How many cases were told since the daemon started.
    pub told: u64,
}

impl Foreign {
    /// Takes note of a packet that was refused. Gives back whether it is to be told.
    pub fn seen(&mut self, sender: Mac, address: IpAddr, now: Instant) -> bool {
        if !self.cases.contains_key(&(sender, address)) && self.cases.len() >= REMEMBERED {
            self.cases
                .retain(|_, case| now.duration_since(case.told.unwrap_or(case.last)) < if case.told.is_some() { AGAIN } else { FORGOTTEN });
            if self.cases.len() >= REMEMBERED {
                return false;
            }
        }
        let case = self.cases.entry((sender, address)).or_insert(Case { first: now, last: now, told: None });
        if now.duration_since(case.last) > FORGOTTEN {
            case.first = now;
        }
        case.last = now;
        let due = now.duration_since(case.first) >= SETTLES && case.told.is_none_or(|told| now.duration_since(told) >= AGAIN);
        if due {
            case.told = Some(now);
            self.told += 1;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn what_lasts_is_told_once_an_hour() {
        let (begin, address) = (Instant::now(), IpAddr::from([10, 0, 0, 1]));
        let mut foreign = Foreign::default();
        let mut seen = |seconds| foreign.seen(A, address, begin + Duration::from_secs(seconds));
        assert!(!seen(0), "it may be a lease that changed hands");
        assert!(!seen(1));
        assert!(seen(2));
        assert!((3..3_600).all(|second| !seen(second)), "told already");
        assert!(seen(3_602));
        assert!(!seen(8_000), "long quiet: it begins anew");
        assert!(seen(8_002));
        assert_eq!(foreign.told, 3);
    }

    #[test]
    fn one_that_makes_addresses_up_is_bounded_and_gives_way() {
        let begin = Instant::now();
        let mut foreign = Foreign::default();
        for number in 0..10_000u32 {
            assert!(!foreign.seen(A, IpAddr::from(number.to_be_bytes()), begin));
        }
        assert_eq!(foreign.cases.len(), REMEMBERED);
        let later = begin + FORGOTTEN;
        assert!(!foreign.seen(A, IpAddr::from([10, 0, 0, 1]), later));
        assert!(foreign.seen(A, IpAddr::from([10, 0, 0, 1]), later + SETTLES));
    }
}
