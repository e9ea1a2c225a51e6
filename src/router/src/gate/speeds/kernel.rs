//! The talk with the kernel about roots, classes and their queues.

use super::message::{self, Change, Discipline, Link, Made};
use super::plan::{Class, Kind, Leaf, Shape};
use crate::netlink::codec::{CREATE, ECHO, EXCLUSIVE};
use crate::netlink::socket::{NetlinkError, Refusal, Socket};
use lango_core::tree::BTreeMap;
use lango_core::units::Kbps;
use nix::errno::Errno;

/// What is at an interface's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// It was not looked at, or has to be looked at again.
    Unknown,
    /// There is no such interface.
    Absent,
    /// What the system itself puts there.
    Default {
        /// The link's.
        index: i32,
    },
    /// Something that an operator put there, which is not ours to replace; or the kernel refuses ours. It was said in the log.
    Off {
        /// The link's.
        index: i32,
    },
    /// Ours, with these classes.
    Ours {
        /// The link's.
        index: i32,
        /// As last known.
        classes: BTreeMap<Class, Made>,
    },
}

impl Root {
    /// How many classes have `fq_codel`.
    #[must_use]
    pub fn fair(&self) -> usize {
        match self {
            Self::Ours { classes, .. } => classes.values().filter(|made| made.queue == Some(Kind::FqCodel)).count(),
            _ => 0,
        }
    }

    /// The classes that are there.
    #[must_use]
    pub fn classes(&self) -> Vec<Class> {
        match self {
            Self::Ours { classes, .. } => classes.keys().copied().collect(),
            _ => Vec::new(),
        }
    }
}

/// Makes our root where there is none of anybody's.
///
/// # Errors
/// When the kernel refuses.
pub fn make_root(socket: &mut Socket, index: i32) -> Result<(), NetlinkError> {
    socket.change(message::NEW_DISCIPLINE, CREATE | EXCLUSIVE, |w| message::root(w, index))
}

/// Makes these classes and their queues, or changes them in place; those that are so already are not touched. What was done
/// is noted in `classes`, and what the kernel refused is given back. `queue` is the kind of queue that the kernel has, once
/// that is known; so many new ones may be `fq_codel` as `room` says. What is there keeps its kind, or its packets would be lost.
///
/// # Errors
/// When it is not known what the kernel did.
pub fn set(
    socket: &mut Socket,
    (index, classes): (i32, &mut BTreeMap<Class, Made>),
    wanted: &[(Class, Kbps)],
    queue: &mut Option<Kind>,
    mut room: usize,
) -> Result<Vec<(Change, Refusal)>, NetlinkError> {
    let mut changed: Vec<(Class, Kbps, Kind)> = Vec::with_capacity(wanted.len());
    for (class, speed) in wanted {
        let made = classes.get(class);
        let kind = match made.and_then(|made| made.queue) {
            Some(_) if made.is_some_and(|made| made.rate == Shape::of(*speed).rate) => continue,
            Some(kind) => kind,
            None if room == 0 => Kind::Bytes,
            None => {
                room -= 1;
                Kind::FqCodel
            }
        };
        changed.push((*class, *speed, kind));
    }
    // One class finds out whether the kernel has the better queue: it looks for the module at each that is asked for.
    if queue.is_none()
        && let Some(at) = changed.iter().position(|(.., kind)| *kind == Kind::FqCodel)
    {
        let first = changed.swap_remove(at);
        let refused = send(socket, (index, classes), &[first])?;
        if refused.is_empty() {
            *queue = Some(Kind::FqCodel);
        } else {
            if matches!(refused.first(), Some((Change::Leaf(..), refusal)) if refusal.errno == Errno::ENOENT) {
                log::info!("speeds: this kernel has no fq_codel (kmod-sched-core on OpenWrt); queues are plain, and of 100 ms");
                *queue = Some(Kind::Bytes);
            }
            // It is told, and done or refused, with the others.
            changed.push(first);
        }
    }
    if *queue == Some(Kind::Bytes) {
        changed.iter_mut().for_each(|(.., kind)| *kind = Kind::Bytes);
    }
    send(socket, (index, classes), &changed)
}

/// Gives these classes plain queues in the place of what they have; what waits there is lost, as when a queue is full. Gives those that
/// keep what they have, and why.
///
/// # Errors
/// When it is not known what the kernel did.
pub fn make_plain(
    socket: &mut Socket,
    (index, classes): (i32, &mut BTreeMap<Class, Made>),
    demoted: &[(Class, Kbps)],
) -> Result<Vec<(Class, Refusal)>, NetlinkError> {
    let changes: Vec<_> = demoted.iter().map(|(class, speed)| Change::Leaf(*class, Leaf::of(Kind::Bytes, *speed, true))).collect();
    let mut refused: BTreeMap<usize, Refusal> = change_each(socket, index, &changes)?.into_iter().collect();
    let mut kept = Vec::new();
    for (at, (class, _)) in demoted.iter().enumerate() {
        if let Some(refusal) = refused.remove(&at) {
            kept.push((*class, refusal));
        } else if let Some(made) = classes.get_mut(class) {
            made.queue = Some(Kind::Bytes);
        }
    }
    Ok(kept)
}

fn send(
    socket: &mut Socket,
    (index, classes): (i32, &mut BTreeMap<Class, Made>),
    wanted: &[(Class, Kbps, Kind)],
) -> Result<Vec<(Change, Refusal)>, NetlinkError> {
    let mut changes = Vec::with_capacity(2 * wanted.len());
    for (class, speed, kind) in wanted {
        let new = classes.get(class).is_none_or(|made| made.queue.is_none());
        changes.extend([Change::Class(*class, Shape::of(*speed)), Change::Leaf(*class, Leaf::of(*kind, *speed, new))]);
    }
    let mut refusals: BTreeMap<usize, Refusal> = change_each(socket, index, &changes)?.into_iter().collect();
    let mut refused: Vec<(Change, Refusal)> = Vec::new();
    for (at, change) in changes.into_iter().enumerate() {
        match (change, refusals.remove(&at)) {
            (Change::Class(class, Shape { rate, .. }), None) => {
                classes.entry(class).and_modify(|made| made.rate = rate).or_insert(Made { rate, queue: None });
            }
            (Change::Leaf(class, leaf), None) => {
                classes.entry(class).and_modify(|made| made.queue = Some(leaf.kind()));
            }
            (Change::Gone(_), None) => {}
            // Without its class there is nothing that could have a queue: that says nothing about the queue.
            (Change::Leaf(class, _), Some(_)) if refused.last().is_some_and(|(before, _)| before.class() == class) => {}
            (change, Some(refusal)) => refused.push((change, refusal)),
        }
    }
    Ok(refused)
}

/// Deletes classes; one that is not there any more is no error. Gives those that stay, and why.
///
/// # Errors
/// When it is not known what the kernel did.
pub fn remove(socket: &mut Socket, index: i32, gone: &[Class]) -> Result<BTreeMap<Class, Refusal>, NetlinkError> {
    let refusals = change_each(socket, index, &gone.iter().copied().map(Change::Gone).collect::<Vec<_>>())?;
    let stay = refusals.into_iter().filter(|(_, refusal)| !matches!(refusal.errno, Errno::ENOENT | Errno::ENODEV));
    Ok(stay.filter_map(|(at, refusal)| Some((*gone.get(at)?, refusal))).collect())
}

fn change_each(socket: &mut Socket, index: i32, changes: &[Change]) -> Result<Vec<(usize, Refusal)>, NetlinkError> {
    socket.change_each(changes, Change::header, |writer, change| change.body(writer, index))
}

/// Looks at an interface.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn look_at(socket: &mut Socket, name: &str) -> Result<Root, NetlinkError> {
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

/// The link of this name.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn link(socket: &mut Socket, name: &str) -> Result<Option<Link>, NetlinkError> {
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
pub fn flush(socket: &mut Socket) -> Result<(), NetlinkError> {
    for index in roots(socket)?.iter().filter(|found| found.ours()).map(|found| found.index) {
        match socket.change(message::DELETE_DISCIPLINE, 0, |w| message::no_root(w, index)) {
            Err(error) if !error.is(Errno::ENOENT) && !error.is(Errno::ENODEV) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
