//! RADIUS: who a server lets in, what accounting servers are told of every session, and what servers order.
//!
//! What a server lets in is an account of its own for each session, which lives as long as that: the limits of RADIUS are a
//! session's (docs/decisions/0029). Its name in the rules begins with a character that no name has that is made here.

mod access;
mod accounting;
mod dynamic;
mod queue;
mod walking;

use super::Gateway;
use crate::radius::{AccessId, RadiusEvent, RadiusSession, SessionId, SessionState, TerminateCause};
use crate::step::Entropy;
use crate::time::{BootId, Monotonic, Now};
use crate::tree::{BTreeMap, BTreeSet};
use crate::units::{Mac, Username};
use access::Asked;
use queue::Queue;

/// The first character of the names of accounts that a server let in.
const REMOTE: char = '~';

/// Whether a server let it in, for one session.
pub(super) fn is_remote(account: &Username) -> bool {
    account.as_str().starts_with(REMOTE)
}

/// What is to be done about an open session, when its time comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Interim,
    Idle,
    Gone,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Radius {
    // What the store keeps.
    sessions: BTreeMap<SessionId, RadiusSession>,
    queue: Queue,
    accounted_boot: Option<BootId>,

    // Where to find sessions.
    open: BTreeMap<Mac, SessionId>,
    ending: BTreeSet<SessionId>,
    /// By the account.
    waiting: BTreeMap<Username, SessionId>,

    // What is learnt anew after each start.
    timers: BTreeSet<(Monotonic, SessionId, Timer)>,
    /// When something of a session was counted last, of those that may end by that.
    moved: BTreeMap<SessionId, Monotonic>,
    asked: BTreeMap<AccessId, Asked>,
    next_access: u64,
    /// When a device was asked for that did not ask itself.
    mac_asked: BTreeMap<Mac, Monotonic>,
    /// The session that begins with what is about to go online.
    prepared: Option<RadiusSession>,
    /// What makes this step's session ids unlike all others.
    salt: u64,
}

impl Radius {
    /// What the store holds, one by one.
    pub(super) fn load_session(&mut self, session: RadiusSession) {
        self.sessions.insert(session.id.clone(), session);
    }
    /// Whether a session of that device on that account is to be told of.
    pub(super) fn accounts_for(&self, account: &Username, device: Mac) -> bool {
        self.sessions.values().any(|session| session.device == device && session.account == *account)
    }
    pub(super) fn load_accounting(&mut self, accounting: crate::radius::Accounting) {
        self.queue.load(accounting);
    }
    pub(super) fn load_boot(&mut self, boot: BootId) {
        self.accounted_boot = Some(boot);
    }

    pub(super) fn session(&self, id: &SessionId) -> Option<&RadiusSession> {
        self.sessions.get(id)
    }
    pub(super) fn accounting(&self, seq: u64) -> Option<&crate::radius::Accounting> {
        self.queue.get(seq)
    }
    /// How much accounting servers are to be told yet.
    pub(super) fn waiting_accounting(&self) -> usize {
        self.queue.len()
    }
    /// How much of that servers refuse.
    pub(super) fn refused_accounting(&self) -> usize {
        self.queue.refused_len()
    }
    /// Whether any session is accounted now.
    pub(super) fn has_open_sessions(&self) -> bool {
        !self.open.is_empty()
    }
    pub(super) fn boot(&self) -> Option<&BootId> {
        self.accounted_boot.as_ref()
    }

    /// Randomness of the step that begins.
    pub(super) fn begin_step(&mut self, entropy: &Entropy) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&entropy.0[24..]);
        self.salt = u64::from_le_bytes(bytes);
    }

    /// An id that no session had: 60 bits.
    fn new_session_id(&mut self) -> SessionId {
        const DIGITS: &[u8; 32] = b"0123456789bcdfghjkmnpqrstvwxyzae";
        self.salt = self.salt.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let digit = |place: u32| char::from(DIGITS[usize::try_from(self.salt >> (5 * place) & 31).unwrap_or(0)]);
        SessionId((0..12).map(digit).collect())
    }

    /// What has arrived and is still stored, if it is time to delete it: with a write that is due anyway, or when it is much.
    pub(super) fn arrived(&mut self, is_written: bool) -> BTreeSet<u64> {
        if is_written || self.queue.stale.len() >= 64 { std::mem::take(&mut self.queue.stale) } else { BTreeSet::new() }
    }

    /// When something is due.
    pub(super) fn timeout(&self) -> Option<Monotonic> {
        let ending = self.ending.iter().filter_map(|id| match self.sessions.get(id)?.state {
            SessionState::Ending { at, .. } => Some(at.after(accounting::LAST_COUNTS_WITHIN)),
            SessionState::Open | SessionState::Waiting => None,
        });
        let timer = self.timers.first().map(|(at, ..)| *at);
        ending.chain(timer).chain(self.asked.values().map(|asked| asked.until)).chain(self.queue.timeout()).min()
    }
}

impl Gateway {
    pub(super) fn radius_event(&mut self, event: RadiusEvent, now: Now, entropy: &Entropy) {
        match event {
            RadiusEvent::Access(id, outcome) => self.access_answered(id, outcome, now, entropy),
            RadiusEvent::Accounted { seq } => self.has_arrived(seq, now),
            RadiusEvent::Refused { seq } => self.is_refused(seq, now),
            RadiusEvent::InVain { seq } => {
                self.radius.queue.tried_in_vain(seq);
                self.account_next();
            }
            RadiusEvent::Dynamic(id, request) => self.ordered(id, request, now),
        }
    }

    /// The settings are others, or are there for the first time.
    pub(super) fn radius_reconfigured(&mut self, now: Now) {
        self.radius.queue.begin_anew();
        self.look_for_walkers(now);
        self.radius_up(now);
        self.account_next();
        self.account_refused(now);
    }

    /// Takes up what the store held.
    pub(super) fn radius_loaded(&mut self, now: Now) {
        // Answers to questions of an earlier run of these rules may still come.
        self.radius.next_access = now.monotonic.0.saturating_mul(1_000);
        self.radius.queue.begin_at(now.monotonic.0.saturating_mul(1_000));
        self.sessions_of_earlier_boots();
        let kept: Vec<(SessionId, Mac, Username, SessionState)> =
            self.radius.sessions.values().map(|s| (s.id.clone(), s.device, s.account.clone(), s.state.clone())).collect();
        for (id, device, account, state) in kept {
            match state {
                SessionState::Open if self.account_online(device).as_ref() == Some(&account) => {
                    self.radius.open.insert(device, id.clone());
                    self.set_timers(&id, now);
                }
                SessionState::Open => self.end_session(&id, TerminateCause::NasRequest, now),
                SessionState::Ending { .. } => drop(self.radius.ending.insert(id)),
                SessionState::Waiting => drop(self.radius.waiting.insert(account, id)),
            }
        }
        self.radius_up(now);
        self.account_next();
        self.account_refused(now);
    }

    /// Tells accounting servers that the router is there, where they were not told in this boot, and gives every device that is online
    /// its session.
    fn radius_up(&mut self, now: Now) {
        if !self.settings.radius.as_ref().is_some_and(|settings| settings.accounting) {
            // What happens from here on nobody hears: where servers are told again one day, they are told anew.
            self.step.accounted_boot |= self.radius.accounted_boot.take().is_some();
        } else if self.announce(now) {
            let open: Vec<SessionId> = self.radius.open.values().cloned().collect();
            open.iter().for_each(|id| self.tell_of_start(id, now));
        }
        if self.settings.radius.is_none() {
            return;
        }
        let online: Vec<(Username, Mac)> =
            self.accounts.values().flat_map(|account| account.online.keys().map(|mac| (account.username.clone(), *mac))).collect();
        for (username, mac) in online {
            self.session_begins(&username, mac, now);
        }
    }

    /// The gate is gone, and nothing is counted any more: all sessions end for the servers. The next start announces the router anew.
    pub(super) fn radius_off(&mut self, now: Now) {
        let open: Vec<SessionId> = self.radius.open.values().cloned().collect();
        for id in open {
            if let Some(session) = self.radius.sessions.get(&id).filter(|session| is_remote(&session.account)).cloned() {
                self.close_session(&session.account, session.device, TerminateCause::AdminReboot, now);
            }
            self.end_session(&id, TerminateCause::AdminReboot, now);
            self.stop(&id, now);
        }
        if self.settings.radius.as_ref().is_some_and(|settings| settings.accounting) && self.radius.accounted_boot.take().is_some() {
            self.step.accounted_boot = true;
            self.account(crate::radius::AccountingEvent::Off { cause: TerminateCause::AdminReboot }, now);
        }
    }

    /// What is due by time alone.
    pub(super) fn radius_due(&mut self, now: Now) {
        self.stop_without_counts(now);
        self.give_up_asking(now);
        if self.radius.queue.timeout().is_some_and(|at| at <= now.monotonic) {
            self.account_refused(now);
        }
        if self.radius.timers.first().is_some_and(|(at, ..)| *at <= now.monotonic) {
            // Timers of sessions that are over are nobody's.
            let due: Vec<_> = self.radius.timers.iter().take_while(|(at, ..)| *at <= now.monotonic).cloned().collect();
            for timer in due {
                if self.radius.sessions.get(&timer.1).is_none_or(|session| session.state != SessionState::Open) {
                    self.radius.timers.remove(&timer);
                } else {
                    self.step.read_usage = true;
                }
            }
        }
    }

    /// The sessions of a name that servers let in.
    pub(super) fn remote_sessions_of(&self, user: &Username) -> Vec<(Username, Mac)> {
        let open = self.radius.open.values().filter_map(|id| self.radius.sessions.get(id));
        let remote = open.filter(|session| is_remote(&session.account) && session.user == *user);
        remote.map(|session| (session.account.clone(), session.device)).collect()
    }

    /// The name by which people know an account.
    pub(super) fn shown_name(&self, account: &Username) -> Username {
        if !is_remote(account) {
            return account.clone();
        }
        // Such an account has its first session's id in its name; it may have a later one where a power cut was between.
        let first = account.as_str().strip_prefix(REMOTE).map(|id| SessionId(id.to_owned()));
        let first = first.and_then(|id| self.radius.sessions.get(&id)).filter(|session| session.account == *account);
        let session = first.or_else(|| self.radius.sessions.values().find(|session| session.account == *account));
        session.map_or_else(|| account.clone(), |session| session.user.clone())
    }
}
