//! An account: credentials, what was bought on them, and what of it is left.
//!
//! Time is kept as an end in this boot's monotonic time while the account runs, and as a length while it stands still.
//! Data is kept as a running total ([`Account::used`]) and the totals at which each purchase ends. So the kernel can be
//! given the same numbers at any time, any number of times.

use crate::few::FewMap;
use crate::gate::{GateId, Traffic};
use crate::package::Limits;
use crate::time::{BootId, Day, Monotonic, Wall};
use crate::units::{Bytes, Mac, Millis, Msisdn, PackageId, Password, Username};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::num::NonZeroU32;

/// How long the kernel lets an account pass beyond the end of what runs, where more was bought that has no end of time
/// itself: a daemon that was away for so long cuts nobody off.
pub const GRACE_TIME: Millis = Millis::from_minutes(10);

/// The same for data, where what was bought besides has no end of data.
pub const GRACE_DATA: Bytes = Bytes::from_megabytes(16);

/// So many devices' totals are kept one by one on an account; older ones become one sum ([`Account::fold`]), since a phone that takes a new
/// address at each visit would make its account grow for ever.
pub const DEVICES_KEPT: usize = 8;

/// Under this address [`Account::traffic`] has the sum: one for documentation (RFC 7042 section 2.1.2), which no device has. A program
/// that knows nothing of sums takes it for one.
pub const FOLDED: Mac = Mac([0x00, 0x00, 0x5e, 0x00, 0x53, 0x00]);

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub username: Username,
    /// Its password.
    pub password: Password,
    /// Its number in the kernel.
    pub id: GateId,
    /// The phone that paid last.
    pub phone: Option<Msisdn>,
    /// The package bought last.
    pub package: PackageId,
    /// What was bought, first to be used first; what is used up is taken away.
    pub purchases: VecDeque<Purchase>,
    /// How many were used up and taken away: the first one's [`PurchaseNumber`] is the one after.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub taken_away: u32,
    /// The first purchase's time.
    pub clock: Clock,
    /// What each device that used the account sent and received on it: running totals. Of devices of earlier boots that are too many
    /// there is a sum, under [`FOLDED`].
    pub traffic: FewMap<Mac, Traffic>,
    /// The running total at which the first purchase began to be used: its data ends this much and its own data later.
    pub data_start: Bytes,
    /// Devices that are online on it.
    pub online: FewMap<Mac, Online>,
    /// Since when it is known to be of no more use; it is forgotten some time after that (`gateway/pruning.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Day>,
    /// Purchases that the relay has not acknowledged; [`u8::MAX`] for good, where unlike things were bought on it. What RADIUS servers say
    /// is left of the account means nothing as long as there is one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untold: u8,
    /// Where there are more than [`DEVICES_KEPT`] totals: a boot after which none of them was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_in: Option<Box<BootId>>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
const fn is_zero(number: &u8) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
const fn is_none_yet(number: &u32) -> bool {
    *number == 0
}

/// Which of an account's purchases one is, from 1 on: it stays the same whatever is used up before it. What runs as one has one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PurchaseNumber(NonZeroU32);

/// Something bought, or several such that run as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    /// Which package it was.
    pub package: PackageId,
    /// What it gives in all.
    pub limits: Limits,
}

/// The time of an account's first purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Clock {
    /// There is no time limit.
    Unlimited,
    /// It stands still: nobody is online.
    Stopped {
        /// What is left.
        left: Millis,
    },
    /// It runs.
    Running {
        /// The boot in which `ends` and `as_of` are.
        boot: BootId,
        /// When it ends.
        ends: Monotonic,
        /// When it began to run: what a power cut may forget begins here or at the last [`Checkpoint`], whichever is later.
        as_of: Monotonic,
    },
}

/// Until when every clock that is stored as running is known to have run. One such for all of them: a minute of a thousand
/// accounts' time costs one small record, not a thousand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The boot in which `at` is; it tells nothing of clocks of another one.
    pub boot: BootId,
    /// That moment.
    pub at: Monotonic,
}

/// A device online on an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Online {
    /// The boot in which `since` is.
    pub boot: BootId,
    /// Since when.
    pub since: Monotonic,
    /// The same, for people.
    pub since_wall: Option<Wall>,
}

impl Clock {
    /// A clock with so much on it, standing still.
    #[must_use]
    pub fn stopped(time: Option<Millis>) -> Self {
        time.map_or(Self::Unlimited, |left| Self::Stopped { left })
    }

    /// What is left at `at`; nothing where there is no limit.
    #[must_use]
    pub fn left(&self, at: Monotonic) -> Option<Millis> {
        match self {
            Self::Unlimited => None,
            Self::Stopped { left } => Some(*left),
            Self::Running { ends, .. } => Some(ends.since(at)),
        }
    }

    /// When it ends by itself.
    #[must_use]
    pub fn ends(&self) -> Option<Monotonic> {
        match self {
            Self::Running { ends, .. } => Some(*ends),
            Self::Unlimited | Self::Stopped { .. } => None,
        }
    }

    /// Lets it run from `at` on.
    pub fn start(&mut self, at: Monotonic, boot: &BootId) {
        if let Self::Stopped { left } = *self {
            *self = Self::Running { boot: boot.clone(), ends: at.after(left), as_of: at };
        }
    }

    /// The boot in which it runs, and the last moment of which it is written down that it ran: when the power went, it was no
    /// earlier. Nothing where no time runs.
    #[must_use]
    pub fn ran_until(&self, last: Option<&Checkpoint>) -> Option<(&BootId, Monotonic)> {
        let Self::Running { boot, as_of, .. } = self else { return None };
        let later = last.filter(|last| last.boot == *boot && last.at > *as_of);
        Some((boot, later.map_or(*as_of, |last| last.at)))
    }

    /// Stops it at `at`.
    pub fn stop(&mut self, at: Monotonic) {
        if let Self::Running { ends, .. } = *self {
            *self = Self::Stopped { left: ends.since(at) };
        }
    }

    /// Takes time off it, running or not.
    pub fn take(&mut self, time: Millis) {
        match self {
            Self::Unlimited => {}
            Self::Stopped { left } => *left = left.minus(time),
            Self::Running { ends, .. } => *ends = Monotonic(ends.0.saturating_sub(time.0)),
        }
    }

    /// Adds time to it, running or not.
    pub fn add(&mut self, time: Millis) {
        match self {
            Self::Unlimited => {}
            Self::Stopped { left } => *left = left.plus(time),
            Self::Running { ends, .. } => *ends = ends.after(time),
        }
    }
}

impl Account {
    /// Takes no more memory than it needs; its boots' texts are those of `boot` where they are the same.
    pub fn share(&mut self, boot: &mut Option<BootId>) {
        self.purchases.shrink_to_fit(); // room is made for four at a time, and most have one
        if let Clock::Running { boot: own, .. } = &mut self.clock {
            own.share(boot);
        }
        self.online.values_mut().for_each(|online| online.boot.share(boot));
        if let Some(counted_in) = &mut self.counted_in {
            counted_in.share(boot);
        }
    }

    /// Bytes of all its devices, both directions, ever: a running total.
    #[must_use]
    pub fn used(&self) -> Bytes {
        self.traffic.values().fold(Bytes::ZERO, |sum, traffic| sum.plus(traffic.total()))
    }

    /// The same by direction.
    #[must_use]
    pub fn traffic_sum(&self) -> Traffic {
        self.traffic.values().fold(Traffic::default(), |sum, t| Traffic { up: sum.up.plus(t.up), down: sum.down.plus(t.down) })
    }

    /// Notes in which boot it was counted, where there are many totals.
    pub fn note_counted(&mut self, boot: &BootId) {
        let many = self.traffic.len() > DEVICES_KEPT;
        if !many {
            self.counted_in = None;
        } else if self.counted_in.as_deref() != Some(boot) {
            self.counted_in = Some(Box::new(boot.clone()));
        }
    }

    /// Makes one sum of the totals that are too many, but for `kept`, which says how much a device is to be kept. Gives back whether
    /// there were such. It must be in the store before the gate hears of the account.
    ///
    /// Only of an earlier boot's totals: the kernel of that boot is gone, with its counters. One that it still had would be counted
    /// again, from its whole total on.
    pub fn fold(&mut self, boot: &BootId, kept: impl Fn(&Mac) -> Option<u8>) -> bool {
        let earlier = self.counted_in.as_deref().is_some_and(|counted| counted != boot);
        if !earlier || self.traffic.len() <= DEVICES_KEPT {
            self.note_counted(boot); // a program that knew nothing of sums may have left many
            return false;
        }
        let mut devices: Vec<(Mac, u8)> =
            self.traffic.keys().filter(|mac| **mac != FOLDED).filter_map(|mac| Some((*mac, kept(mac)?))).collect();
        devices.sort_by_key(|(_, worth)| *worth);
        // Room is left, so that not each boot that follows has something to fold.
        let most = self.traffic.len() - DEVICES_KEPT / 2;
        let mut sum = self.traffic.remove(&FOLDED).unwrap_or_default();
        for (mac, _) in devices.iter().take(most) {
            let traffic = self.traffic.remove(mac).unwrap_or_default();
            sum = Traffic { up: sum.up.plus(traffic.up), down: sum.down.plus(traffic.down) };
        }
        self.traffic.insert(FOLDED, sum);
        self.note_counted(boot);
        true
    }

    /// What runs now, or would.
    #[must_use]
    pub fn limits(&self) -> Option<Limits> {
        self.purchases.front().map(|purchase| purchase.limits)
    }

    /// The package that runs now, or would: [`Account::limits`] are its. Where nothing is left, the one bought last.
    #[must_use]
    pub fn package_in_use(&self) -> &PackageId {
        self.purchases.front().map_or(&self.package, |purchase| &purchase.package)
    }

    /// How many purchases come before one; nothing where it is used up.
    #[must_use]
    pub fn place_of(&self, PurchaseNumber(number): PurchaseNumber) -> Option<usize> {
        let place = usize::try_from((number.get() - 1).checked_sub(self.taken_away)?).ok()?;
        (place < self.purchases.len()).then_some(place)
    }

    /// The number of the last purchase; of the next one to come where there is none.
    fn last_number(&self) -> PurchaseNumber {
        let waiting = u32::try_from(self.purchases.len().saturating_sub(1)).unwrap_or(u32::MAX);
        PurchaseNumber(NonZeroU32::MIN.saturating_add(self.taken_away).saturating_add(waiting))
    }

    /// The running total at which what runs now ends.
    #[must_use]
    pub fn data_end(&self) -> Option<Bytes> {
        Some(self.data_start.plus(self.limits()?.data?))
    }

    /// Data left of what runs now; nothing where there is no limit.
    #[must_use]
    pub fn data_left(&self) -> Option<Bytes> {
        Some(self.data_end()?.minus(self.used()))
    }

    /// What follows what runs now, as far as this device, which is online, stays so: where a purchase allows fewer than are online, those
    /// that came last go offline, and what comes after it is not theirs either.
    fn following(&self, device: Mac) -> impl Iterator<Item = Limits> + '_ {
        let came = |mac: &Mac| self.online.get(mac).map(|online| (online.since, *mac));
        let own = came(&device);
        let before = self.online.keys().filter(|other| came(other) < own).count();
        self.purchases.iter().skip(1).map(|purchase| purchase.limits).take_while(move |next| before < usize::from(next.devices.max(1)))
    }

    /// Time until this device, which is online, is so no more: that of what runs and of what follows it, one purchase after the other; nothing
    /// where one of them has no end of time.
    #[must_use]
    pub fn time_in_all(&self, device: Mac, at: Monotonic) -> Option<Millis> {
        self.following(device).try_fold(self.clock.left(at)?, |sum, next| Some(sum.plus(next.time?)))
    }

    /// The same for data.
    #[must_use]
    pub fn data_in_all(&self, device: Mac) -> Option<Bytes> {
        self.following(device).try_fold(self.data_left()?, |sum, next| Some(sum.plus(next.data?)))
    }

    /// Whether anything that was bought is left at `at`.
    #[must_use]
    pub fn open(&self, at: Monotonic) -> bool {
        match self.purchases.len() {
            0 => false,
            1 => !self.first_is_used_up(at, false),
            _ => true,
        }
    }

    /// Whether the first purchase is used up at `at`; `depleted` where the kernel says that the data is: it stops a
    /// packet short of the limit, so the counters alone would not tell.
    #[must_use]
    pub fn first_is_used_up(&self, at: Monotonic, depleted: bool) -> bool {
        let time_up = self.clock.left(at).is_some_and(Millis::is_zero);
        let data_up = self.data_left().is_some_and(|left| depleted || left.is_zero());
        time_up || data_up
    }

    /// Until when, and up to which running total, the kernel is to let the account pass: through as many of its purchases, in
    /// their order, as leave it an end at all. What the kernel holds must never end before what was paid for does, even
    /// where nobody is there to tell it of the next purchase (docs/decisions/0013).
    #[must_use]
    pub fn held(&self) -> (Option<Monotonic>, Option<Bytes>) {
        let (mut until, mut data_end) = (self.clock.ends(), self.data_end());
        for next in self.purchases.iter().skip(1).map(|purchase| purchase.limits) {
            let sums =
                (until.and_then(|until| Some(until.after(next.time?))), data_end.and_then(|data_end| Some(data_end.plus(next.data?))));
            if sums == (None, None) {
                return (until.map(|until| until.after(GRACE_TIME)), data_end.map(|data_end| data_end.plus(GRACE_DATA)));
            }
            (until, data_end) = sums;
        }
        (until, data_end)
    }

    /// Whether the kernel's counters must be read before what runs is taken for ended by its time: how much of the next
    /// purchase's data is used begins with what is counted then.
    #[must_use]
    pub fn ends_by_counters(&self) -> bool {
        let used_up = self.data_left().is_some_and(Bytes::is_zero);
        !used_up && self.purchases.iter().skip(1).any(|purchase| purchase.limits.data.is_some())
    }

    /// When what runs now ends, as far as is known: long ago where it is used up already, nothing while nobody is online or
    /// where time does not end it.
    #[must_use]
    pub fn ends_at(&self) -> Option<Monotonic> {
        if self.online.is_empty() {
            return None;
        }
        if self.first_is_used_up(Monotonic(0), false) { Some(Monotonic(0)) } else { self.clock.ends() }
    }

    /// Devices that may be online at once; at least one, so that an account which is used up can say so.
    #[must_use]
    pub fn device_limit(&self) -> u8 {
        self.limits().map_or(1, |limits| limits.devices.max(1))
    }

    /// Whether a device may be online beside the others that are.
    #[must_use]
    pub fn has_room_for(&self, device: Mac) -> bool {
        self.online.keys().filter(|mac| **mac != device).count() < usize::from(self.device_limit())
    }

    /// Takes away what is more than this of what is left: it was used elsewhere. Only where there is one purchase can it be told of
    /// which. Gives back whether anything was taken.
    pub fn leave_at_most(&mut self, time: Option<Millis>, data: Option<Bytes>, at: Monotonic) -> bool {
        let excess_time = time.and_then(|most| Some(self.clock.left(at)?.minus(most))).unwrap_or_default();
        let excess_data = data.and_then(|most| Some(self.data_left()?.minus(most))).unwrap_or_default();
        let [only] = self.purchases.make_contiguous() else { return false };
        if excess_time.is_zero() && excess_data.is_zero() {
            return false;
        }
        self.clock.take(excess_time);
        only.limits.data = only.limits.data.map(|data| data.minus(excess_data));
        self.drop_used_up(at, false);
        true
    }

    /// Adds a purchase: onto the last one where the two can run as one, behind it otherwise. Gives back which it is.
    pub fn buy(&mut self, package: PackageId, limits: Limits, at: Monotonic) -> PurchaseNumber {
        self.package = package.clone();
        self.idle_since = None;
        self.drop_used_up(at, false);
        let only_one = self.purchases.len() == 1;
        match self.purchases.back_mut() {
            Some(last) if last.limits.adds_to(&limits) => {
                last.package = package;
                let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
                last.limits.time = sum(last.limits.time.map(|t| t.0), limits.time.map(|t| t.0)).map(Millis);
                last.limits.data = sum(last.limits.data.map(|d| d.0), limits.data.map(|d| d.0)).map(Bytes);
                if let (true, Some(time)) = (only_one, limits.time) {
                    self.clock.add(time);
                }
            }
            Some(_) => self.purchases.push_back(Purchase { package, limits }),
            None => {
                self.clock = Clock::stopped(limits.time);
                self.data_start = self.used();
                self.purchases.push_back(Purchase { package, limits });
            }
        }
        self.last_number()
    }

    /// Takes away what is used up, and makes the next purchase the one that runs. Gives back whether anything was taken.
    ///
    /// The kernel lets an account pass from one purchase to the next ([`Account::held`]), whether this is called in that
    /// moment or much later. So a purchase that follows on an end of time begins at that end, its clock running; and one that
    /// follows on an end of data begins with what was used beyond it. Any other new clock stands still.
    pub fn drop_used_up(&mut self, at: Monotonic, depleted: bool) -> bool {
        let (before, mut depleted) = (self.purchases.len(), depleted);
        while !self.purchases.is_empty() && self.first_is_used_up(at, std::mem::take(&mut depleted)) {
            let used = self.used();
            self.data_start = self.data_end().map_or(used, |end| end.min(used));
            self.purchases.pop_front();
            self.taken_away = self.taken_away.saturating_add(1);
            let time = self.limits().and_then(|limits| limits.time);
            match (&mut self.clock, time) {
                (Clock::Running { ends, .. }, Some(time)) if *ends <= at => *ends = ends.after(time),
                (clock, time) => *clock = Clock::stopped(time),
            }
        }
        self.purchases.len() < before
    }
}
