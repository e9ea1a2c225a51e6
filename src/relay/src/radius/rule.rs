//! What a RADIUS server is to know of an account: pure. Its totals over all that was bought, and the rows that say so.

use lango_core::notice::AccountNotice;

/// Seconds and bytes; where there is none, there is no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Time online, from the account's beginning on, in seconds.
    pub seconds: Option<u64>,
    /// Data, up and down together, from its beginning on.
    pub bytes: Option<u64>,
}

/// Routers stop short of a limit by up to one packet of their kernels': what is less is none, here as in `docs/freeradius/lango.conf`.
const SHORT_BY: u64 = 65_536;

/// What an account has used so far, by the RADIUS server's own accounting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Time in which at least one device was online, in seconds.
    pub seconds: u64,
    /// Data, up and down together.
    pub bytes: u64,
    /// When something was last heard of a session: seconds since 1970; 0: never.
    pub last: u64,
}

/// A session of the accounting table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// When it was last heard of, or ended: seconds since 1970.
    pub stop: u64,
    /// How long it had lasted by then.
    pub seconds: u64,
    /// What went through it, up and down.
    pub bytes: u64,
}

impl Used {
    /// Of all sessions. Two devices in the same hour use up one hour, as on the router.
    #[must_use]
    pub fn of(sessions: &[Session]) -> Self {
        let mut spans: Vec<(u64, u64)> = sessions.iter().map(|s| (s.stop.saturating_sub(s.seconds), s.stop)).collect();
        spans.sort_unstable();
        let (mut seconds, mut seen) = (0_u64, 0);
        for (start, stop) in spans {
            seconds = seconds.saturating_add(stop.saturating_sub(start.max(seen)));
            seen = seen.max(stop);
        }
        let bytes = sessions.iter().fold(0_u64, |sum, session| sum.saturating_add(session.bytes));
        Self { seconds, bytes, last: seen }
    }

    /// Whether nothing is left of these that could be served.
    #[must_use]
    pub fn exhausts(self, totals: Totals) -> bool {
        totals.seconds.is_some_and(|most| self.seconds >= most)
            || totals.bytes.is_some_and(|most| self.bytes.saturating_add(SHORT_BY) >= most)
    }
}

/// An account that is used up is forgotten so long after it was last of use, in seconds: as on routers.
pub const KEPT_FOR: u64 = 92 * 86_400;

/// One that has something left can only be used up by sessions: it is looked at again after so long.
const LOOK_AGAIN: u64 = 7 * 86_400;

/// When to look again whether an account is of use, in seconds since 1970. Nothing: it is of none, and is forgotten.
#[must_use]
pub fn look_again(used: Used, totals: Totals, bought_at: u64, now: u64) -> Option<u64> {
    let over = used.last.max(bought_at).saturating_add(KEPT_FOR);
    match used.exhausts(totals) {
        true => Some(over).filter(|over| *over >= now),
        false => Some(now.saturating_add(LOOK_AGAIN)),
    }
}

/// The totals after one more purchase.
///
/// Purchases that limit the same things are summed. One that limits other things than what was there begins from what is used: a sum of
/// unlike limits would give away what nobody paid for, or take away what somebody did. What is used beyond what was bought is forgiven.
/// What has no limit at all stays so: it never ends, and nothing that is bought behind it may end it.
#[must_use]
pub fn add(before: Option<Totals>, used: Used, bought: Totals) -> Totals {
    if before == Some(Totals::default()) {
        return Totals::default();
    }
    let like =
        before.filter(|before| before.seconds.is_some() == bought.seconds.is_some() && before.bytes.is_some() == bought.bytes.is_some());
    let sum = |before: Option<u64>, used: u64, bought: Option<u64>| bought.map(|more| before.unwrap_or(0).max(used).saturating_add(more));
    let before = like.unwrap_or_default();
    Totals { seconds: sum(before.seconds, used.seconds, bought.seconds), bytes: sum(before.bytes, used.bytes, bought.bytes) }
}

/// What a purchase gives.
#[must_use]
pub fn bought(notice: &AccountNotice) -> Totals {
    Totals { seconds: notice.seconds.map(|seconds| seconds.0), bytes: notice.bytes.map(|bytes| bytes.0) }
}

/// What the rows of an account are made of: the newest purchase's own, and the totals.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The password, in clear: CHAP and MS-CHAPv2 cannot do with less.
    pub password: String,
    /// All that was bought.
    pub totals: Totals,
    /// Devices online at once.
    pub devices: u8,
    /// The speed towards the device, in kbit/s.
    pub down_kbps: Option<u64>,
    /// The speed from the device, in kbit/s.
    pub up_kbps: Option<u64>,
}

/// Attributes of `radcheck` that are ours. Others on the same account are the operator's, and stay.
pub const CHECK: [&str; 4] = ["Cleartext-Password", "Simultaneous-Use", "Lango-Max-Time", "Lango-Max-Octets"];
/// Attributes of `radreply` that are ours.
pub const REPLY: [&str; 3] = ["WISPr-Bandwidth-Max-Down", "WISPr-Bandwidth-Max-Up", "Acct-Interim-Interval"];

/// The check items, each with the operator `:=`.
#[must_use]
pub fn check_items(account: &Account) -> Vec<(&'static str, String)> {
    let Account { password, totals, devices, .. } = account;
    let mut items = vec![("Cleartext-Password", password.clone()), ("Simultaneous-Use", devices.to_string())];
    items.extend(totals.seconds.map(|seconds| ("Lango-Max-Time", seconds.to_string())));
    items.extend(totals.bytes.map(|bytes| ("Lango-Max-Octets", bytes.to_string())));
    items
}

/// The reply items, each with the operator `:=`. Speeds are in bit/s; one that 32 bits cannot say is as good as none.
#[must_use]
pub fn reply_items(account: &Account, interim: u32) -> Vec<(&'static str, String)> {
    let bits = |kbps: Option<u64>| kbps.and_then(|kbps| kbps.checked_mul(1_000)).filter(|bits| *bits <= u64::from(u32::MAX));
    let mut items = Vec::new();
    items.extend(bits(account.down_kbps).map(|bits| ("WISPr-Bandwidth-Max-Down", bits.to_string())));
    items.extend(bits(account.up_kbps).map(|bits| ("WISPr-Bandwidth-Max-Up", bits.to_string())));
    items.push(("Acct-Interim-Interval", interim.to_string()));
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(seconds: Option<u64>, bytes: Option<u64>) -> Totals {
        Totals { seconds, bytes }
    }

    #[test]
    fn what_is_summed() {
        let used = |seconds, bytes| Used { seconds, bytes, last: 0 };
        for (before, used, bought, after) in [
            // A new account, and one whose name had used something before it was forgotten.
            (None, used(0, 0), totals(Some(60), Some(500)), totals(Some(60), Some(500))),
            (None, used(40, 100), totals(Some(60), Some(500)), totals(Some(100), Some(600))),
            // Like ones are summed, whatever is used of them; what was used beyond them is forgiven.
            (Some(totals(Some(60), Some(500))), used(40, 100), totals(Some(60), Some(100)), totals(Some(120), Some(600))),
            (Some(totals(Some(60), None)), used(62, 9_999), totals(Some(60), None), totals(Some(122), None)),
            (Some(totals(None, Some(500))), used(9_999, 100), totals(None, Some(500)), totals(None, Some(1_000))),
            // Unlike ones begin from what is used: the hour without a data limit does not lift the month's.
            (Some(totals(Some(2_592_000), Some(5_000))), used(100, 200), totals(Some(3_600), None), totals(Some(3_700), None)),
            (Some(totals(Some(3_600), None)), used(3_600, 3_000), totals(Some(86_400), Some(1_000)), totals(Some(90_000), Some(4_000))),
            // Without limits.
            (Some(totals(Some(60), None)), used(10, 10), totals(None, None), totals(None, None)),
            (Some(totals(None, None)), used(10, 10), totals(Some(60), None), totals(None, None)),
            (Some(totals(Some(u64::MAX), None)), used(0, 0), totals(Some(60), None), totals(Some(u64::MAX), None)),
        ] {
            assert_eq!(add(before, used, bought), after, "{before:?} {used:?} {bought:?}");
        }
    }

    #[test]
    fn time_with_several_devices() {
        let session = |start: u64, stop: u64| Session { stop, seconds: stop - start, bytes: 7 };
        for (sessions, seconds) in [
            (vec![], 0),
            (vec![session(1_000, 1_600)], 600),
            (vec![session(1_000, 1_600), session(1_600, 1_700)], 700),
            (vec![session(1_000, 1_600), session(1_200, 1_300)], 600),
            (vec![session(2_000, 2_500), session(1_000, 2_200), session(1_600, 2_800), session(1_700, 1_900)], 1_800),
            (vec![session(1_000, 1_000)], 0),
            (vec![Session { stop: 0, seconds: 60, bytes: 7 }], 0),
        ] {
            let used = Used::of(&sessions);
            assert_eq!((used.seconds, used.bytes), (seconds, 7 * sessions.len() as u64), "{sessions:?}");
        }
        assert!(Used { seconds: 60, ..Used::default() }.exhausts(totals(Some(60), None)));
        assert!(Used { bytes: 500, ..Used::default() }.exhausts(totals(Some(60), Some(500))));
        assert!(!Used { seconds: 59, bytes: 934_463, last: 1 }.exhausts(totals(Some(60), Some(1_000_000))));
        assert!(Used { seconds: 59, bytes: 934_464, last: 1 }.exhausts(totals(Some(60), Some(1_000_000))));
        assert!(!Used { seconds: 59, bytes: 499, last: 1 }.exhausts(totals(None, None)));
    }

    #[test]
    fn when_an_account_is_looked_at_again() {
        const DAY: u64 = 86_400;
        let hour = totals(Some(3_600), None);
        for (seconds, last, bought_at, now, again) in [
            (3_600, 10 * DAY, 9 * DAY, 11 * DAY, Some(102 * DAY)),
            (3_600, 10 * DAY, 11 * DAY, 11 * DAY, Some(103 * DAY)),
            (3_600, 10 * DAY, 9 * DAY, 102 * DAY, Some(102 * DAY)),
            (3_600, 10 * DAY, 9 * DAY, 102 * DAY + 1, None),
            (3_599, 10 * DAY, 9 * DAY, 1_000 * DAY, Some(1_007 * DAY)),
            (0, 0, 9 * DAY, 1_000 * DAY, Some(1_007 * DAY)),
        ] {
            let used = Used { seconds, bytes: 0, last };
            assert_eq!(look_again(used, hour, bought_at, now), again, "{seconds} s used, at {now}");
        }
    }

    #[test]
    fn rows() {
        let full = Account {
            password: "secret".to_owned(),
            totals: totals(Some(3_600), Some(6_000_000_000)),
            devices: 2,
            down_kbps: Some(5_000),
            up_kbps: Some(4_294_968),
        };
        let text = |items: Vec<(&str, String)>| items.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>();
        assert_eq!(
            text(check_items(&full)),
            ["Cleartext-Password secret", "Simultaneous-Use 2", "Lango-Max-Time 3600", "Lango-Max-Octets 6000000000"]
        );
        assert_eq!(text(reply_items(&full, 300)), ["WISPr-Bandwidth-Max-Down 5000000", "Acct-Interim-Interval 300"]);
        let free = Account { totals: Totals::default(), down_kbps: None, up_kbps: Some(2_000), ..full };
        assert_eq!(text(check_items(&free)), ["Cleartext-Password secret", "Simultaneous-Use 2"]);
        assert_eq!(text(reply_items(&free, 60)), ["WISPr-Bandwidth-Max-Up 2000000", "Acct-Interim-Interval 60"]);
        for (name, _) in check_items(&free) {
            assert!(CHECK.contains(&name));
        }
        for (name, _) in reply_items(&free, 60) {
            assert!(REPLY.contains(&name));
        }
    }
}
