//! Speeds: a class of HTB for each account that has one, on the way to its devices and on the way out.
//!
//! `message` and `plan` are pure; `kernel` speaks with the kernel. Our table's maps mark packets with their class
//! (docs/gate.md); here the classes are made, changed and removed. Access is never refused because a speed cannot be held:
//! what fails is told in the log, and tried again at the next occasion.

mod kernel;
mod message;
mod plan;
#[cfg(test)]
mod tests;

pub use plan::Class;

use super::GateConfig;
use super::view::View;
use crate::netlink::socket::{Family, NetlinkError, Refusal, Socket};
use kernel::Root;
use lango_core::gate::{GateAccount, GateId};
use lango_core::time::Monotonic;
use lango_core::units::Kbps;
use message::Change;
use plan::{Book, Kind, Rates};
use std::collections::{BTreeMap, BTreeSet};

/// Which way an interface carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Towards {
    Customers,
    Internet,
}

/// An interface, as last known.
#[derive(Debug)]
struct Interface {
    name: String,
    towards: Towards,
    root: Root,
}

/// The classes, and who has which.
#[derive(Debug)]
pub struct Speeds {
    socket: Socket,
    book: Book,
    interfaces: Vec<Interface>,
    /// The kind of queue that this kernel has, once a class showed it.
    queue: Option<Kind>,
}

impl Speeds {
    /// Connects, in the network namespace of the calling thread. Nothing is changed yet.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub fn connect(config: &GateConfig) -> Result<Self, NetlinkError> {
        let lan: BTreeSet<&String> = config.lan.iter().collect();
        let interface = |(name, towards): (&String, Towards)| Interface { name: name.clone(), towards, root: Root::Unknown };
        let lan = lan.into_iter().map(|name| (name, Towards::Customers));
        let interfaces = lan.chain([(&config.wan, Towards::Internet)]).map(interface).collect();
        Ok(Self { socket: Socket::open(Family::Route)?, book: Book::default(), interfaces, queue: None })
    }

    /// The same as [`flush`], over the socket that is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn flush(&mut self) -> Result<(), NetlinkError> {
        kernel::flush(&mut self.socket)
    }

    /// Learns from our table who has which class.
    pub fn adopt(&mut self, view: &View) {
        self.book.adopt(view);
    }

    /// The classes of accounts, for the table's maps.
    pub fn classes(&self, ids: impl Iterator<Item = GateId>) -> BTreeMap<GateId, Class> {
        ids.filter_map(|id| Some((id, self.book.class(id)?))).collect()
    }

    /// Notes the speeds that these accounts shall have; nothing is changed in the kernel yet. Gives the classes that
    /// [`Self::settle`] is to look at.
    pub fn want<'a>(&mut self, targets: impl Iterator<Item = (GateId, Option<&'a GateAccount>)>, now: Monotonic) -> BTreeSet<Class> {
        self.book.want(targets, now)
    }

    /// Makes, changes and removes these classes as they are wanted. To be called when the table's maps are as they shall
    /// be: who paid does not wait for it (a packet whose class is not there yet passes without one), and what is removed
    /// is not in use any more.
    pub fn settle(&mut self, touched: &BTreeSet<Class>) {
        self.add(touched);
        for at in 0..self.interfaces.len() {
            self.remove(at, touched);
        }
    }

    /// The same for all classes, with the kernel looked at anew: those that are as they should be are not touched, and those
    /// that nobody has are removed.
    pub fn settle_all(&mut self) {
        self.interfaces.iter_mut().for_each(|interface| interface.root = Root::Unknown);
        self.look();
        let mut all = self.book.all();
        all.extend(self.interfaces.iter().flat_map(|interface| interface.root.classes()));
        self.settle(&all);
    }

    /// Looks whether the interfaces are still those that were set up. One that was made anew, or lost our root, gets it again
    /// with all its classes.
    pub fn look_after(&mut self) {
        let all = self.book.all();
        if all.is_empty() {
            return;
        }
        let mut changed = false;
        for interface in &mut self.interfaces {
            let link = match kernel::link(&mut self.socket, &interface.name) {
                Ok(link) => link,
                Err(error) => {
                    log::debug!("speeds: {} cannot be looked at: {error}", interface.name);
                    continue;
                }
            };
            let same = match (&interface.root, link) {
                (Root::Ours { index, .. }, Some(link)) => *index == link.index && link.htb,
                (Root::Off { index }, Some(link)) => *index == link.index,
                (Root::Absent, None) => true,
                _ => false,
            };
            if !same {
                interface.root = Root::Unknown;
                changed = true;
            }
        }
        if changed {
            self.add(&all);
        }
    }

    /// Brings what is known of the interfaces up to date.
    fn look(&mut self) {
        for interface in self.interfaces.iter_mut().filter(|interface| interface.root == Root::Unknown) {
            interface.root = match kernel::look_at(&mut self.socket, &interface.name) {
                Ok(root) => root,
                Err(error) => {
                    log::error!("speeds: cannot look at {}: {error}; speeds are not held there", interface.name);
                    continue;
                }
            };
        }
    }

    fn add(&mut self, touched: &BTreeSet<Class>) {
        // Nothing of the operator's system is changed before the first account has a speed.
        if touched.iter().all(|class| self.book.rates(*class).is_none()) {
            return;
        }
        self.look();
        for at in 0..self.interfaces.len() {
            let outcome = self.add_to(at, touched);
            let Some(interface) = self.interfaces.get_mut(at) else { continue };
            let name = &interface.name;
            match outcome.as_deref() {
                Ok([]) => continue,
                Ok([(first, refusal), others @ ..]) => {
                    let (class, more) = (first.class(), others.len());
                    log::error!("speeds: class {class} cannot be set on {name}, and {more} others: {refusal}; it is tried again");
                }
                Err(error) => log::error!("speeds: cannot be set on {name}: {error}; it is tried again"),
            }
            interface.root = Root::Unknown;
        }
    }

    /// Sets these classes on an interface; gives what the kernel refused.
    fn add_to(&mut self, at: usize, touched: &BTreeSet<Class>) -> Result<Vec<(Change, Refusal)>, NetlinkError> {
        let Some(interface) = self.interfaces.get_mut(at) else { return Ok(Vec::new()) };
        let towards = interface.towards;
        let wanted = |class: &Class| Some((*class, speed(self.book.rates(*class)?, towards)?));
        let mut wanted: Vec<(Class, Kbps)> = touched.iter().filter_map(wanted).collect();
        if let (Root::Default { index }, false) = (&interface.root, wanted.is_empty()) {
            let index = *index;
            if let Err(error) = kernel::make_root(&mut self.socket, index) {
                let name = &interface.name;
                log::error!("speeds: not held on {name}: {error}; the kernel needs HTB (kmod-sched-core on OpenWrt), then restart lango");
                interface.root = Root::Off { index };
                return Ok(Vec::new());
            }
            interface.root = Root::Ours { index, classes: BTreeMap::new() };
            // Those that came while there was nothing to hold them.
            let all = self.book.all();
            wanted = all.iter().filter_map(|class| Some((*class, speed(self.book.rates(*class)?, towards)?))).collect();
        }
        let Root::Ours { index, classes } = &mut interface.root else { return Ok(Vec::new()) };
        kernel::set(&mut self.socket, (*index, classes), &wanted, &mut self.queue)
    }

    fn remove(&mut self, at: usize, touched: &BTreeSet<Class>) {
        let Some(interface) = self.interfaces.get_mut(at) else { return };
        let towards = interface.towards;
        let Root::Ours { index, classes } = &mut interface.root else { return };
        let unused = |class: &&Class| match self.book.rates(**class) {
            None => true,
            // Adopted, and not yet told how fast.
            Some(rates) => rates != Rates::default() && speed(rates, towards).is_none(),
        };
        let gone: Vec<Class> = touched.iter().filter(|class| classes.contains_key(class)).filter(unused).copied().collect();
        match kernel::remove(&mut self.socket, *index, &gone) {
            Ok(stay) => {
                if let Some((class, refusal)) = stay.first_key_value() {
                    let (name, more) = (&interface.name, stay.len() - 1);
                    log::warn!("speeds: class {class}, that nobody needs, stays on {name} for now, and {more} others: {refusal}");
                }
                for class in gone.iter().filter(|class| !stay.contains_key(class)) {
                    classes.remove(class);
                }
            }
            Err(error) => {
                log::warn!("speeds: classes that nobody needs may stay on {} for now: {error}", interface.name);
                interface.root = Root::Unknown;
            }
        }
    }
}

const fn speed(rates: Rates, towards: Towards) -> Option<Kbps> {
    match towards {
        Towards::Customers => rates.down,
        Towards::Internet => rates.up,
    }
}

/// Takes our root, and all classes with it, from every interface that has it; the system puts its own there again.
///
/// # Errors
/// When the kernel refuses.
pub fn flush() -> Result<(), NetlinkError> {
    kernel::flush(&mut Socket::open(Family::Route)?)
}
