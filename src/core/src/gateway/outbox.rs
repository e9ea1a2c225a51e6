//! The messages that the relay has not acknowledged, by their number, their id and the order that they ask for.
//!
//! Requests for money are as many as there are customers who wait for a prompt, and each is withdrawn when its order ends; none is
//! ever dropped here. Notices wait for a relay that may never take them, being older than this program: of those only so many
//! are kept, and what is missed least goes first. No service and no money hangs on a notice: the account is on the router. Where
//! accounts roam, notices of sales are what other routers serve by, and none of them is dropped.

use crate::message::{Up, UpBody};
use crate::tree::{BTreeMap, BTreeSet};
use crate::units::{MessageId, OrderId, Username};

/// Notices kept at most: what one connection takes at once, and some 100 KB of flash.
pub(super) const NOTICES_AT_MOST: usize = 256;

/// What waits to be acknowledged.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    by_seq: BTreeMap<u64, Up>,
    by_id: BTreeMap<MessageId, u64>,
    /// The request for each order: there is one at most, the one before is withdrawn first.
    requests: BTreeMap<OrderId, u64>,
    /// The numbers of the notices.
    notices: BTreeSet<u64>,
}

/// The account that a notice is about, and whether it tells of a sale.
const fn notice_of(up: &Up) -> Option<(&Username, bool)> {
    match &up.body {
        UpBody::Account(notice) => Some((&notice.username, true)),
        UpBody::Expiring(notice) => Some((&notice.username, false)),
        UpBody::Ended(notice) => Some((&notice.username, false)),
        _ => None,
    }
}

const fn order_of(up: &Up) -> Option<&OrderId> {
    match &up.body {
        UpBody::PaymentRequest(request) => Some(&request.order),
        _ => None,
    }
}

impl Outbox {
    pub(super) fn get(&self, seq: u64) -> Option<&Up> {
        self.by_seq.get(&seq)
    }

    /// All of it, in the order in which it was made.
    pub(super) fn values(&self) -> impl Iterator<Item = &Up> {
        self.by_seq.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_seq.len()
    }

    pub(super) fn insert(&mut self, up: Up) {
        self.by_id.insert(up.id.clone(), up.seq);
        if let Some(order) = order_of(&up) {
            self.requests.insert(order.clone(), up.seq);
        }
        if notice_of(&up).is_some() {
            self.notices.insert(up.seq);
        }
        self.by_seq.insert(up.seq, up);
    }

    /// The notice that is to go, where there are too many: the oldest about an end, which comes too late soon anyway; else the
    /// oldest of a sale on an account of which a later one tells, with the same credentials; else the oldest of all. Of sales none,
    /// where all of them are to be `told`.
    pub(super) fn one_too_many(&self, told: bool) -> Option<&MessageId> {
        if self.notices.len() <= NOTICES_AT_MOST {
            return None;
        }
        let notices = || self.notices.iter().filter_map(|seq| self.by_seq.get(seq)).filter_map(|up| Some((notice_of(up)?, &up.id)));
        if let Some((_, id)) = notices().find(|((_, sale), _)| !sale) {
            return Some(id);
        }
        if told {
            return None;
        }
        let newest: BTreeMap<&Username, &MessageId> = notices().map(|((username, _), id)| (username, id)).collect();
        let told_later = notices().find(|((username, _), id)| newest.get(username).is_some_and(|newest| newest != id));
        told_later.or_else(|| notices().next()).map(|(_, id)| id)
    }

    /// The account whose sale this message tells of.
    pub(super) fn sale_told_by(&self, id: &MessageId) -> Option<&Username> {
        let (username, sale) = notice_of(self.by_seq.get(self.by_id.get(id)?)?)?;
        sale.then_some(username)
    }

    /// Takes a message out; gives back its number.
    pub(super) fn remove(&mut self, id: &MessageId) -> Option<u64> {
        let seq = self.by_id.remove(id)?;
        self.notices.remove(&seq);
        let up = self.by_seq.remove(&seq)?;
        if let Some(order) = order_of(&up).filter(|order| self.requests.get(order) == Some(&seq)) {
            self.requests.remove(order);
        }
        Some(seq)
    }

    /// The word about an update; there is one at most.
    pub(super) fn update(&self) -> Option<&Up> {
        self.by_seq.values().find(|up| matches!(up.body, UpBody::Update(_)))
    }

    /// The message that asks for an order.
    pub(super) fn request_for(&self, order: &OrderId) -> Option<&MessageId> {
        Some(&self.by_seq.get(self.requests.get(order)?)?.id)
    }

    /// Whether the indices are what a walk over all messages gives.
    #[cfg(test)]
    pub(super) fn assert_indexed(&self) {
        assert_eq!(self.by_id, self.by_seq.values().map(|up| (up.id.clone(), up.seq)).collect());
        assert_eq!(self.notices, self.by_seq.values().filter(|up| notice_of(up).is_some()).map(|up| up.seq).collect());
        assert_eq!(self.requests, self.by_seq.values().filter_map(|up| Some((order_of(up)?.clone(), up.seq))).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{PaymentRequest, VERSION};
    use crate::notice::{AccountNotice, End, Ended, Expiring};
    use crate::time::Wall;
    use crate::units::{Password, Seconds};
    use proptest::prelude::*;

    fn up(seq: u64, body: UpBody) -> Up {
        Up { v: VERSION, id: format!("{}-{seq}", body.topic().replace('_', "-")).parse().unwrap(), seq, body }
    }

    fn username(number: u16) -> Username {
        format!("user{number}").parse().unwrap()
    }

    fn body(kind: u8, number: u16, seq: u64) -> UpBody {
        let (username, phone, at) = (username(number), "0712345678".parse().unwrap(), Wall::EARLIEST);
        match kind {
            0 => UpBody::PaymentRequest(PaymentRequest {
                order: format!("{seq:0>13}").parse().unwrap(),
                package: "hour".parse().unwrap(),
                label: "1 hour".to_owned(),
                amount: crate::units::Shillings(10),
                phone,
                device: "02:00:5e:10:00:01".parse().unwrap(),
                asked_at: None,
            }),
            1 => UpBody::Expiring(Expiring { username, phone, seconds_left: Seconds(60), at }),
            2 => UpBody::Ended(Ended { username, phone, by: End::Time, at }),
            _ => UpBody::Account(AccountNotice {
                username,
                password: Password::new("secret").unwrap(),
                phone: None,
                package: "hour".parse().unwrap(),
                label: "1 hour".to_owned(),
                seconds: None,
                bytes: None,
                down_kbps: None,
                up_kbps: None,
                devices: 1,
                order: None,
                receipt: None,
                language: None,
                online: true,
            }),
        }
    }

    /// What is kept, as a plain list: kind, account, number.
    #[derive(Default)]
    struct Reference(Vec<(u8, u16, u64)>);

    impl Reference {
        fn drop_one(&mut self) {
            let notices: Vec<usize> = (0..self.0.len()).filter(|at| self.0[*at].0 != 0).collect();
            let end = notices.iter().copied().find(|at| matches!(self.0[*at].0, 1 | 2));
            let again = |at: usize| self.0[at + 1..].iter().any(|(kind, account, _)| *kind == 3 && *account == self.0[at].1);
            let older = notices.iter().copied().find(|at| again(*at));
            self.0.remove(end.or(older).unwrap_or(notices[0]));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Whatever comes and is acknowledged in whatever order: requests stay until they are withdrawn or acknowledged, and of the
        /// notices those that are missed most.
        #[test]
        fn what_is_kept_is_bounded_and_money_is_never_dropped(
            steps in proptest::collection::vec((0_u8..12, 0_u16..400, any::<u16>()), 0..900)
        ) {
            let (mut outbox, mut reference) = (Outbox::default(), Reference::default());
            for (seq, (kind, account, which)) in (1..).zip(steps) {
                if kind == 11 {
                    // An acknowledgement, of anything.
                    if !reference.0.is_empty() {
                        let (_, _, seq) = reference.0.remove(usize::from(which) % reference.0.len());
                        let id = outbox.get(seq).unwrap().id.clone();
                        prop_assert_eq!(outbox.remove(&id), Some(seq));
                    }
                } else {
                    let kind = kind.min(3);
                    outbox.insert(up(seq, body(kind, account, seq)));
                    reference.0.push((kind, account, seq));
                    let mut dropped = 0;
                    while let Some(id) = outbox.one_too_many(false).cloned() {
                        prop_assert!(!id.as_str().starts_with("payment-request"), "money was dropped");
                        outbox.remove(&id);
                        reference.drop_one();
                        dropped += 1;
                    }
                    prop_assert!(dropped <= 1);
                }
                prop_assert_eq!(outbox.values().map(|up| up.seq).collect::<Vec<_>>(), reference.0.iter().map(|(_, _, seq)| *seq).collect::<Vec<_>>());
                let notices = reference.0.iter().filter(|(kind, _, _)| *kind != 0).count();
                prop_assert!(notices <= NOTICES_AT_MOST);
            }
            outbox.assert_indexed();
        }
    }

    #[test]
    fn what_goes_first() {
        let mut outbox = Outbox::default();
        let mut seq = 0;
        let mut add = |outbox: &mut Outbox, kind, account| {
            seq += 1;
            outbox.insert(up(seq, body(kind, account, seq)));
        };
        add(&mut outbox, 3, 1_000); // told again below
        add(&mut outbox, 3, 1_001);
        add(&mut outbox, 0, 0);
        add(&mut outbox, 1, 1_002);
        for account in 0..253 {
            add(&mut outbox, 3, account);
        }
        assert_eq!(outbox.one_too_many(false), None);
        let mut gone = Vec::new();
        for (kind, account) in [(3, 1_000), (0, 0), (3, 1_003), (3, 1_004)] {
            add(&mut outbox, kind, account);
            while let Some(id) = outbox.one_too_many(false).cloned() {
                gone.push(outbox.remove(&id).unwrap());
            }
        }
        // About an end; the sale on an account of which a later one tells; the oldest.
        assert_eq!(gone, [4, 1, 2]);
        assert_eq!(outbox.len(), NOTICES_AT_MOST + 2, "and both requests");
    }
}
