//! The talk with the kernel about tracked connections.

use super::message::{DELETE, Entry, GET, GET_ADDRESS, OwnAddress, Question};
use super::purge::{Purge, Router, Whose};
use crate::netlink::socket::{Family, NetlinkError, Socket};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

/// What a purge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Connections that were looked at.
    pub seen: u64,
    /// Connections that went.
    pub deleted: u64,
    /// Offloaded connections that the kernel does not give up (before 6.4, and before 5.15.113 and 6.1.30).
    pub held: u64,
}

/// Deletes what is to go, in one reading of the table. Nothing is gathered: each connection goes as it is read, so that
/// the memory needed is the same for ten and for sixty thousand.
///
/// # Errors
/// When the kernel refuses, or does not track connections over netlink (`kmod-nf-conntrack-netlink` on OpenWrt).
pub fn purge(purge: &Purge, customers: &[String]) -> Result<Purged, NetlinkError> {
    let router = router(customers)?;
    let mut reading = Socket::open(Family::Netfilter)?;
    let mut deleting = Socket::open(Family::Netfilter)?;
    let mut purged = Purged::default();
    for question in questions(purge) {
        let mut failed = None;
        reading.dump(
            GET,
            |w| question.write(w),
            || (),
            |(), message| {
                purged.seen += 1;
                let Some(entry) = Entry::read(message)?.filter(|entry| purge.takes(entry, &router)) else { return Ok(()) };
                match deleting.change(DELETE, 0, |w| entry.write_deletion(w)) {
                    Ok(()) => purged.deleted += 1,
                    Err(error) if error.is(Errno::ENOENT) => {} // it ended meanwhile
                    Err(error) if error.is(Errno::EBUSY) => purged.held += 1,
                    Err(error) => failed = Some(error),
                }
                Ok(())
            },
        )?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(purged)
}

/// Up to so many addresses, the kernel is asked for the connections of each: telling all of them costs more.
const ONE_BY_ONE: usize = 4;

fn questions(purge: &Purge) -> Vec<Question> {
    match &purge.whose {
        Whose::Of(addresses) if addresses.len() <= ONE_BY_ONE => {
            addresses.iter().flat_map(|address| [Question::BegunBy(*address), Question::AnsweredBy(*address)]).collect()
        }
        _ => vec![Question::All],
    }
}

fn router(customers: &[String]) -> Result<Router, NetlinkError> {
    let mut socket = Socket::open(Family::Route)?;
    let addresses = socket.dump(GET_ADDRESS, OwnAddress::write_question, Vec::new, |found, message| {
        found.extend(OwnAddress::read(message)?);
        Ok(())
    })?;
    let indexes = customers.iter().filter_map(|name| if_nametoindex(name.as_str()).ok()).collect();
    Ok(Router::new(&addresses, &indexes))
}
