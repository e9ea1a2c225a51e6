//! Speeds: a class of HTB for each account that has one, on the way to its devices and on the way out.
//!
//! `message`, `plan` and `backlog` are pure; `kernel` speaks with the kernel. Our table's maps mark packets with their class
//! (docs/gate.md); here the classes are made, changed and removed, some at a time. What a class is to be is looked up when its
//! turn comes, and compared with what the kernel has: whatever happened meanwhile, it becomes what it should be then. Access is
//! never refused because a speed cannot be held: what fails is told in the log, and tried again when the counters are read.

mod backlog;
mod early;
mod kernel;
mod message;
mod plan;
#[cfg(test)]
mod tests;

pub use plan::Class;

use super::view::View;
use super::{Gate, GateConfig};
use crate::clock;
use crate::netlink::socket::{Family, NetlinkError, Socket};
use backlog::Backlog;
use kernel::Root;
use lango_core::gate::{GateAccount, GateId};
use lango_core::time::Monotonic;
use lango_core::tree::{BTreeMap, BTreeSet};
use lango_core::units::Kbps;
use plan::{Book, Kind, Rates, Shape, fair_classes, memory_in};

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
    /// What went wrong since the backlog was empty.
    trouble: Option<Trouble>,
}

/// What cannot be done on an interface: it is told once, however many classes it is about.
#[derive(Debug)]
struct Trouble {
    first: String,
    others: usize,
}

impl Interface {
    fn fails(&mut self, times: usize, what: impl FnOnce() -> String) {
        match &mut self.trouble {
            Some(trouble) => trouble.others += times,
            None => self.trouble = Some(Trouble { first: what(), others: times.saturating_sub(1) }),
        }
    }

    /// Whether this class is not as it should be here.
    fn differs(&self, book: &Book, class: Class) -> bool {
        let wanted = book.rates(class).and_then(|rates| speed(rates, self.towards));
        match (&self.root, wanted) {
            (Root::Absent | Root::Off { .. }, _) | (Root::Unknown | Root::Default { .. }, None) => false,
            (Root::Unknown | Root::Default { .. }, Some(_)) => true,
            (Root::Ours { classes, .. }, None) => classes.contains_key(&class) && unused(book, class, self.towards),
            (Root::Ours { classes, .. }, Some(speed)) => {
                !classes.get(&class).is_some_and(|made| made.queue.is_some() && made.rate == Shape::of(speed).rate)
            }
        }
    }
}

/// The classes, and who has which.
#[derive(Debug)]
pub struct Speeds {
    socket: Socket,
    book: Book,
    interfaces: Vec<Interface>,
    /// The kind of queue that this kernel has, once a class showed it.
    queue: Option<Kind>,
    /// The machine's memory, in KiB.
    memory: Option<u64>,
    /// That some queues are plain for want of it was told.
    plain_told: bool,
    /// That some could not be made plain was told.
    kept_told: bool,
    backlog: Backlog,
    /// Classes that could not be set.
    failed: BTreeSet<Class>,
}

impl Speeds {
    /// Connects, in the network namespace of the calling thread. Nothing is changed yet.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub fn connect(config: &GateConfig) -> Result<Self, NetlinkError> {
        let lan: BTreeSet<&String> = config.lan.iter().collect();
        let interface = |(name, towards): (&String, Towards)| Interface { name: name.clone(), towards, root: Root::Unknown, trouble: None };
        let lan = lan.into_iter().map(|name| (name, Towards::Customers));
        let interfaces = lan.chain([(&config.wan, Towards::Internet)]).map(interface).collect();
        let socket = Socket::open(Family::Route)?;
        let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_in(&text));
        Ok(Self {
            socket,
            book: Book::default(),
            interfaces,
            queue: None,
            memory,
            plain_told: false,
            kept_told: false,
            backlog: Backlog::default(),
            failed: BTreeSet::new(),
        })
    }

    /// The same as [`flush`], over the socket that is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn flush(&mut self) -> Result<(), NetlinkError> {
        self.backlog.clear();
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

    /// Makes, changes and removes these classes as they are wanted, before all others that wait. To be called when the table's
    /// maps are as they shall be: who paid does not wait for it (a packet whose class is not there yet passes without one), and
    /// what is removed is not in use any more. What takes too long is left for [`Self::go_on`].
    pub fn settle(&mut self, touched: &BTreeSet<Class>) {
        self.backlog.add_first(touched);
        self.do_portion(true);
    }

    /// The same for all classes, with the kernel looked at anew: those that are as they should be are not touched, and those
    /// that nobody has are removed.
    pub fn settle_all(&mut self) {
        self.interfaces.iter_mut().for_each(|interface| interface.root = Root::Unknown);
        self.look_again();
        self.go_on();
    }

    /// Whether some classes are not yet as they should be.
    #[must_use]
    pub fn busy(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Deals with some of the classes that wait; it takes some milliseconds.
    pub fn go_on(&mut self) {
        self.do_portion(false);
    }

    /// Looks whether the interfaces are still those that were set up. One that was made anew, or lost our root, gets it again
    /// with all its classes. What failed is tried again.
    pub fn look_after(&mut self) {
        if self.book.is_empty() {
            return;
        }
        self.backlog.add(std::mem::take(&mut self.failed));
        if self.forget_changed() {
            self.look_again();
        }
    }

    /// Forgets what is known of interfaces that are not those any more, came, or went; gives back whether there was one.
    fn forget_changed(&mut self) -> bool {
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
        changed
    }

    /// Brings what is known of the interfaces up to date, and notes which classes are not as they should be there.
    fn look_again(&mut self) {
        self.look();
        let mut all = self.book.all();
        all.extend(self.interfaces.iter().flat_map(|interface| interface.root.classes()));
        all.retain(|class| self.interfaces.iter().any(|interface| interface.differs(&self.book, *class)));
        self.backlog.add(all);
    }

    fn look(&mut self) {
        for interface in self.interfaces.iter_mut().filter(|interface| interface.root == Root::Unknown) {
            match kernel::look_at(&mut self.socket, &interface.name) {
                Ok(root) => interface.root = root,
                Err(error) => interface.fails(1, || format!("it cannot be looked at: {error}")),
            }
        }
    }

    fn do_portion(&mut self, hurry: bool) {
        // Not by the clock on the wall: a busy machine would make portions small, and all of it take longer still.
        let began = clock::processor();
        let portion = self.backlog.take(hurry);
        if portion.is_empty() {
            return;
        }
        // Nothing of the operator's system is changed before the first account has a speed.
        if portion.iter().any(|class| self.book.rates(*class).is_some()) {
            self.look();
            (0..self.interfaces.len()).for_each(|at| self.add(at, &portion));
        }
        (0..self.interfaces.len()).for_each(|at| self.remove(at, &portion));
        self.backlog.took(portion.len(), clock::processor().saturating_sub(began));
        if self.backlog.is_empty() {
            self.tell();
        }
    }

    /// Says what went wrong. What is known of an interface where something did is not relied on any more.
    fn tell(&mut self) {
        for interface in &mut self.interfaces {
            let Some(Trouble { first, others }) = interface.trouble.take() else { continue };
            let more = if others > 0 { format!(", and {others} more like this") } else { String::new() };
            log::error!("speeds: not all are held on {}: {first}{more}; it is tried again", interface.name);
            interface.root = Root::Unknown;
        }
    }

    /// Sets these classes on an interface.
    fn add(&mut self, at: usize, portion: &BTreeSet<Class>) {
        let Some(interface) = self.interfaces.get_mut(at) else { return };
        let (book, towards) = (&self.book, interface.towards);
        let wanted = |class: &Class| Some((*class, speed(book.rates(*class)?, towards)?));
        let wanted: Vec<(Class, Kbps)> = portion.iter().filter_map(wanted).collect();
        if wanted.is_empty() {
            return;
        }
        if let Root::Default { index } = interface.root {
            if let Err(error) = kernel::make_root(&mut self.socket, index) {
                let name = &interface.name;
                log::error!("speeds: not held on {name}: {error}; the kernel needs HTB (kmod-sched-core on OpenWrt), then restart lango");
                interface.root = Root::Off { index };
                return;
            }
            interface.root = Root::Ours { index, classes: BTreeMap::new() };
            // Those that came while there was nothing to hold them.
            self.backlog.add(book.all().into_iter().filter(|class| !portion.contains(class)));
        }
        let (room, too_many) = self.room(wanted.len());
        let Some(interface) = self.interfaces.get_mut(at) else { return };
        let (index, classes) = match &mut interface.root {
            Root::Ours { index, classes } => (*index, classes),
            Root::Unknown => return self.failed.extend(portion),
            _ => return,
        };
        // No more at a time than are made: each that is made wants less than one.
        let fair = classes.iter().filter(|(_, made)| made.queue == Some(Kind::FqCodel)).map(|(class, _)| class);
        let demoted = fair.filter_map(|class| Some((*class, speed(self.book.rates(*class)?, towards)?)));
        let demoted: Vec<_> = demoted.take(too_many.min(wanted.len())).collect();
        let plain = kernel::make_plain(&mut self.socket, (index, classes), &demoted).map(|kept| {
            // They hold their speeds, and more memory than they should.
            if let Some((class, refusal)) = kept.first()
                && !std::mem::replace(&mut self.kept_told, true)
            {
                let (name, more) = (&interface.name, kept.len() - 1);
                log::warn!("speeds: class {class} on {name} cannot be given a plain queue, and {more} others: {refusal}; it keeps its own");
            }
        });
        match plain.and_then(|()| kernel::set(&mut self.socket, (index, classes), &wanted, &mut self.queue, room)) {
            Ok(refused) => {
                self.failed.extend(refused.iter().map(|(change, _)| change.class()));
                if let Some((change, refusal)) = refused.first() {
                    interface.fails(refused.len(), || format!("class {} cannot be set: {refusal}", change.class()));
                }
            }
            Err(error) => {
                self.failed.extend(portion);
                interface.fails(1, || format!("classes cannot be set: {error}"));
                interface.root = Root::Unknown; // what the kernel did of it is not known
            }
        }
    }

    /// How many of the classes that are to be made may have `fq_codel`, and how many that have it are to give it up.
    fn room(&mut self, new: usize) -> (usize, usize) {
        // On all interfaces, when nothing waits to be made any more; counted only where they may be too many.
        let most = self.interfaces.len() * self.book.count();
        if self.queue == Some(Kind::Bytes) || fair_classes(self.memory, most) == most {
            return (new, 0);
        }
        let classes = self.interfaces.iter().map(|interface| self.book.having(|rates| speed(rates, interface.towards).is_some())).sum();
        let allowed = fair_classes(self.memory, classes);
        if allowed < classes && !std::mem::replace(&mut self.plain_told, true) {
            log::info!("speeds: {classes} classes, and memory for {allowed} with fq_codel; the others get plain queues");
        }
        let fair: usize = self.interfaces.iter().map(|interface| interface.root.fair()).sum();
        (allowed.saturating_sub(fair), fair.saturating_sub(allowed))
    }

    fn remove(&mut self, at: usize, portion: &BTreeSet<Class>) {
        let Some(interface) = self.interfaces.get_mut(at) else { return };
        let towards = interface.towards;
        let Root::Ours { index, classes } = &mut interface.root else { return };
        let gone = portion.iter().filter(|class| classes.contains_key(class) && unused(&self.book, **class, towards));
        let gone: Vec<Class> = gone.copied().collect();
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

impl Gate {
    /// Whether classes of some accounts' speeds are still to be made, changed or removed: [`Gate::go_on_with_speeds`] does some of
    /// them, until there are none.
    #[must_use]
    pub fn busy_with_speeds(&self) -> bool {
        self.speeds.busy()
    }

    /// Sets some of the speeds that wait, within some milliseconds. What fails is told in the log, and tried again when the
    /// counters are read.
    pub fn go_on_with_speeds(&mut self) {
        self.speeds.go_on();
    }
}

/// Whether nobody needs a class this way.
fn unused(book: &Book, class: Class, towards: Towards) -> bool {
    // Adopted, and not yet told how fast: it is needed.
    book.rates(class).is_none_or(|rates| rates != Rates::default() && speed(rates, towards).is_none())
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
