//! After a power cut: what was online stands still, and what the outage costs is settled when the time is known.
//!
//! Within a boot nothing is reckoned with a wall clock: sessions run by the monotonic one, which never steps. Only where
//! paid time goes on through outages must the length of one be known, and only clocks that somebody vouches for tell it
//! (docs/decisions/0021).

use super::Gateway;
use crate::account::{Account, Checkpoint};
use crate::order::OrderState;
use crate::outage::{Owed, TrueTime};
use crate::request::{Answer, Refusal};
use crate::settings::Outage;
use crate::time::{BootId, Monotonic, Now, Wall};
use crate::units::{Mac, Millis, OrderId, Username};

/// Two reckonings of the time that differ by less are the same: the one that is stored stays.
const SAME_TIME: Millis = Millis::from_seconds(5);

/// A clock that was just set by NTP may be slow by so much.
const CLOCK_IS_SET_WITHIN: Millis = Millis::from_seconds(1);

/// What a power cut left of an account.
struct Cut {
    devices: Vec<Mac>,
    /// The boot that it ended, and the last moment of that which is written down; nothing where no time ran.
    ran: Option<(BootId, Monotonic)>,
}

/// Stops an account as the power did: what a running clock used up since it was written down is the customer's.
fn cut(account: &mut Account, last: Option<&Checkpoint>) -> Cut {
    let ran = account.clock.ran_until(last).map(|(boot, until)| (boot.clone(), until));
    if let Some((_, until)) = &ran {
        account.clock.stop(*until);
    }
    Cut { devices: std::mem::take(&mut account.online).into_keys().collect(), ran }
}

impl Gateway {
    pub(super) fn wake_up_after_outage(&mut self, now: Now) {
        let of_another_boot = |account: &&Account| account.online.values().any(|online| online.boot != self.boot);
        let stopped: Vec<Username> = self.accounts.values().filter(of_another_boot).map(|account| account.username.clone()).collect();
        let mut owed_before = self.forget_old_debts();
        for username in stopped {
            let last = self.last_checkpoint.as_ref();
            let Some(Cut { devices, ran }) = self.accounts.change(&username, |account| cut(account, last)) else { continue };
            for mac in devices {
                self.bind(mac, Some(&username), true);
            }
            self.touch_account(&username);
            if let Some((boot, last)) = ran.filter(|_| self.settings.outage == Outage::Run) {
                let before = owed_before.iter().position(|owed| owed.username == username).map(|index| owed_before.swap_remove(index));
                self.owe(username, &boot, last, before, now.monotonic);
            }
        }
        let orders: Vec<OrderId> = self.orders.values().filter(|order| order.boot != self.boot).map(|order| order.id.clone()).collect();
        for id in orders {
            self.orders.change(&id, |order| {
                order.boot = self.boot.clone();
                // Whatever was shown for a while after it was decided has been shown long enough.
                order.since = if order.state == OrderState::Pending { now.monotonic } else { Monotonic(0) };
            });
            self.step.orders.insert(id);
        }
    }

    /// Takes out what is owed for outages before an earlier boot. Where nobody learnt in that boot what time it was, and the
    /// account was not online at its end, nobody ever will.
    fn forget_old_debts(&mut self) -> Vec<Owed> {
        let old: Vec<Username> = self.owed.values().filter(|owed| owed.boot != self.boot).map(|owed| owed.username.clone()).collect();
        self.step.owed.extend(old.iter().cloned());
        old.iter().filter_map(|username| self.owed.remove(username)).collect()
    }

    /// Notes that an account owes the outage that began in `boot`, at `last`, and is over now.
    fn owe(&mut self, username: Username, boot: &BootId, last: Monotonic, before: Option<Owed>, now: Monotonic) {
        let known = self.true_time.as_ref().filter(|time| time.boot == *boot).map(|time| time.latest(last));
        let owed = match (known, before) {
            (Some(since), _) => Owed { username, since, less: Millis::ZERO, boot: self.boot.clone(), until: now, bought: Millis::ZERO },
            // Nobody knew the time in that boot, but when the one before it ended: what is between is outage, but for that boot.
            (None, Some(before)) if before.boot == *boot => {
                Owed { less: before.less.plus(last.since(before.until)), boot: self.boot.clone(), until: now, ..before }
            }
            // Where no clock tells how long it was, the customer is not made to pay for it.
            (None, _) => return,
        };
        self.step.owed.insert(owed.username.clone());
        self.owed.insert(owed.username.clone(), owed);
    }

    /// Somebody whose clock is right says what time it is, `slack` later at most.
    pub(super) fn time_is_known(&mut self, wall: Wall, slack: Millis, now: Now) {
        if wall < Wall::EARLIEST {
            return;
        }
        let here = self.true_time.as_ref().filter(|time| time.boot == self.boot);
        if here.is_none_or(|time| time.earliest(now.monotonic).0.abs_diff(wall.0) > SAME_TIME.0) {
            self.true_time = Some(TrueTime { boot: self.boot.clone(), at: now.monotonic, wall, slack });
            self.step.true_time = true;
        }
        self.settle_outages(now);
    }

    fn settle_outages(&mut self, now: Now) {
        let Some(time) = self.true_time.clone() else { return };
        for (username, owed) in std::mem::take(&mut self.owed) {
            self.step.owed.insert(username.clone());
            if self.settings.outage == Outage::Pause {
                continue; // the operator thought better of it
            }
            let length = owed.length(&time);
            if self.accounts.change(&username, |account| account.charge(length, owed.bought, now.monotonic)).is_some() {
                // What runs now may allow fewer devices than what the outage used up.
                self.make_room_for_none(&username, now);
                self.touch_account(&username);
                self.touch_gate(&username);
                self.log(format!("outage: {} s of it are taken off the time of {username}", length.as_seconds_ceil()));
            }
        }
    }

    /// Time that is bought after an outage is not what the outage used up.
    pub(super) fn bought_after_outage(&mut self, username: &Username, time: Option<Millis>) {
        if let (Some(owed), Some(time)) = (self.owed.get_mut(username), time) {
            owed.bought = owed.bought.plus(time);
            self.step.owed.insert(username.clone());
        }
    }

    /// Whoever set the router's clock says that it is right now.
    pub(super) fn clock_is_set(&mut self, now: Now) -> Answer {
        let Some(wall) = now.wall else { return Answer::Refused(Refusal::ClockNotSet) };
        self.time_is_known(wall, CLOCK_IS_SET_WITHIN, now);
        Answer::Done
    }
}
