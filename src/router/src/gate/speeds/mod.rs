//! Speeds: a class of HTB for each account that has one, on the way to its devices and on the way out.
//!
//! `message` and `plan` are pure; this file speaks with the kernel. Our table's maps mark packets with their class
//! (docs/gate.md); here the classes are made, changed and removed. Access is never refused because a speed cannot be held:
//! what fails is told in the log, and tried again at the next occasion.

mod message;
mod plan;

pub use plan::Class;

use super::GateConfig;
use super::view::View;
use crate::netlink::codec::{CREATE, ECHO, EXCLUSIVE, REPLACE};
use crate::netlink::socket::{Family, NetlinkError, Socket};
use lango_core::gate::{GateAccount, GateId};
use lango_core::time::Monotonic;
use lango_core::units::Kbps;
use message::{Discipline, Link, Made};
use nix::errno::Errno;
use plan::{Book, Kind, Leaf, Rates, Shape};
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

/// What is at an interface's root.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Root {
    /// It was not looked at, or has to be looked at again.
    Unknown,
    /// There is no such interface.
    Absent,
    /// What the system itself puts there.
    Default { index: i32 },
    /// Something that an operator put there, which is not ours to replace; or the kernel refuses ours. It was said in the log.
    Off { index: i32 },
    /// Ours, with these classes.
    Ours { index: i32, classes: BTreeMap<Class, Made> },
}

/// The classes, and who has which.
#[derive(Debug)]
pub struct Speeds {
    socket: Socket,
    book: Book,
    interfaces: Vec<Interface>,
    leaf: Kind,
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
        Ok(Self { socket: Socket::open(Family::Route)?, book: Book::default(), interfaces, leaf: Kind::FqCodel })
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
            let link = match link(&mut self.socket, &interface.name) {
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
            interface.root = match look_at(&mut self.socket, &interface.name) {
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
            if let Err(error) = self.add_to(at, touched) {
                let Some(interface) = self.interfaces.get_mut(at) else { continue };
                log::error!("speeds: cannot be set on {}: {error}; it is tried again", interface.name);
                interface.root = Root::Unknown;
            }
        }
    }

    fn add_to(&mut self, at: usize, touched: &BTreeSet<Class>) -> Result<(), NetlinkError> {
        let Some(interface) = self.interfaces.get_mut(at) else { return Ok(()) };
        let towards = interface.towards;
        let wanted = |class: &Class| Some((*class, speed(self.book.rates(*class)?, towards)?));
        let mut wanted: Vec<(Class, Kbps)> = touched.iter().filter_map(wanted).collect();
        if let (Root::Default { index }, false) = (&interface.root, wanted.is_empty()) {
            let index = *index;
            if let Err(error) = self.socket.change(message::NEW_DISCIPLINE, CREATE | EXCLUSIVE, |w| message::root(w, index)) {
                let name = &interface.name;
                log::error!("speeds: not held on {name}: {error}; the kernel needs HTB (kmod-sched-core on OpenWrt), then restart lango");
                interface.root = Root::Off { index };
                return Ok(());
            }
            interface.root = Root::Ours { index, classes: BTreeMap::new() };
            // Those that came while there was nothing to hold them.
            let all = self.book.all();
            wanted = all.iter().filter_map(|class| Some((*class, speed(self.book.rates(*class)?, towards)?))).collect();
        }
        let Root::Ours { index, classes } = &mut interface.root else { return Ok(()) };
        for (class, speed) in wanted {
            let shape = Shape::of(speed);
            let made = classes.get(&class).copied();
            if made == Some(Made { rate: shape.rate, leaf: true }) {
                continue;
            }
            self.socket.change(message::NEW_CLASS, CREATE, |w| message::class(w, *index, class, &shape))?;
            let leaf = made.is_some_and(|made| made.leaf);
            classes.insert(class, Made { rate: shape.rate, leaf });
            self.leaf = set_leaf(&mut self.socket, self.leaf, *index, class, (speed, !leaf))?;
            classes.insert(class, Made { rate: shape.rate, leaf: true });
        }
        Ok(())
    }

    fn remove(&mut self, at: usize, touched: &BTreeSet<Class>) {
        let Some(interface) = self.interfaces.get_mut(at) else { return };
        let towards = interface.towards;
        let Root::Ours { index, classes } = &mut interface.root else { return };
        for class in touched {
            let unused = match self.book.rates(*class) {
                None => true,
                // Adopted, and not yet told how fast.
                Some(rates) => rates != Rates::default() && speed(rates, towards).is_none(),
            };
            if !unused || !classes.contains_key(class) {
                continue;
            }
            match self.socket.change(message::DELETE_CLASS, 0, |w| message::no_class(w, *index, *class)) {
                Ok(()) => {}
                Err(error) if error.is(Errno::ENOENT) || error.is(Errno::ENODEV) => {}
                Err(error) => {
                    log::warn!("speeds: a class that nobody needs stays on {} for now: {error}", interface.name);
                    continue;
                }
            }
            classes.remove(class);
        }
    }
}

impl Root {
    fn classes(&self) -> Vec<Class> {
        match self {
            Self::Ours { classes, .. } => classes.keys().copied().collect(),
            _ => Vec::new(),
        }
    }
}

const fn speed(rates: Rates, towards: Towards) -> Option<Kbps> {
    match towards {
        Towards::Customers => rates.down,
        Towards::Internet => rates.up,
    }
}

/// Makes or changes a class's queue (`new`: it has none); gives the kind that the kernel took.
fn set_leaf(socket: &mut Socket, kind: Kind, index: i32, class: Class, (speed, new): (Kbps, bool)) -> Result<Kind, NetlinkError> {
    let mut set = |kind| {
        let leaf = Leaf::of(kind, speed, new);
        socket.change(message::NEW_DISCIPLINE, CREATE | REPLACE, |w| message::leaf(w, index, class, &leaf))
    };
    match set(kind) {
        Ok(()) => Ok(kind),
        // The kernel does not know such a queue: it has no better one than that of bytes.
        Err(error) if kind == Kind::FqCodel && error.is(Errno::ENOENT) => {
            set(Kind::Bytes)?;
            log::info!("speeds: this kernel has no fq_codel (kmod-sched-core on OpenWrt); queues are plain, and of 100 ms");
            Ok(Kind::Bytes)
        }
        Err(error) => Err(error),
    }
}

fn look_at(socket: &mut Socket, name: &str) -> Result<Root, NetlinkError> {
    let Some(Link { index, .. }) = link(socket, name)? else { return Ok(Root::Absent) };
    match root(socket, index)? {
        Some(found) if found.ours() => {
            let classes = socket.dump(
                message::GET_CLASS,
                |w| message::all_classes(w, index),
                BTreeMap::new,
                |classes, m| {
                    classes.extend(message::class_in(m)?);
                    Ok(())
                },
            )?;
            Ok(Root::Ours { index, classes })
        }
        // What the system puts there by itself has no handle, of whatever kind it is.
        Some(Discipline { handle: 0, .. }) | None => Ok(Root::Default { index }),
        Some(found) => {
            let (kind, handle) = (&found.kind, found.handle >> 16);
            log::warn!(
                "speeds: {name} has a queueing discipline that is not ours ({kind} {handle:x}:), which stays; speeds are not held there. \
                 To have them held: tc qdisc del dev {name} root, then restart lango"
            );
            Ok(Root::Off { index })
        }
    }
}

fn link(socket: &mut Socket, name: &str) -> Result<Option<Link>, NetlinkError> {
    let mut found = None;
    let read = socket.request(
        message::GET_LINK,
        |w| message::link(w, name),
        |m| {
            found = message::link_in(m)?;
            Ok(())
        },
    );
    match read {
        Ok(()) => Ok(found),
        Err(error) if error.is(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is at a link's root. All others of a link are not asked for: there are as many as classes.
fn root(socket: &mut Socket, index: i32) -> Result<Option<Discipline>, NetlinkError> {
    let mut found = None;
    let read = socket.request_with(
        message::GET_DISCIPLINE,
        ECHO,
        |w| message::any_root(w, index),
        |m| {
            found = message::discipline_in(m)?;
            Ok(())
        },
    );
    match read {
        Ok(()) => Ok(found),
        // A link that is down has none, or one of the kernel's own that it does not show.
        Err(error) if error.is(Errno::ENOENT) || error.is(Errno::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The roots of all links.
fn roots(socket: &mut Socket) -> Result<Vec<Discipline>, NetlinkError> {
    socket.dump(message::GET_DISCIPLINE, message::all_disciplines, Vec::new, |found, m| {
        found.extend(message::discipline_in(m)?.filter(|discipline| discipline.root));
        Ok(())
    })
}

/// Takes our root, and all classes with it, from every interface that has it; the system puts its own there again.
///
/// # Errors
/// When the kernel refuses.
pub fn flush() -> Result<(), NetlinkError> {
    flush_over(&mut Socket::open(Family::Route)?)
}

impl Speeds {
    /// The same over the socket that is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn flush(&mut self) -> Result<(), NetlinkError> {
        flush_over(&mut self.socket)
    }
}

fn flush_over(socket: &mut Socket) -> Result<(), NetlinkError> {
    for index in roots(socket)?.iter().filter(|found| found.ours()).map(|found| found.index) {
        match socket.change(message::DELETE_DISCIPLINE, 0, |w| message::no_root(w, index)) {
            Err(error) if !error.is(Errno::ENOENT) && !error.is(Errno::ENODEV) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
