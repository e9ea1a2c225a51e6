//! Netlink sockets that hear multicast groups: events to wait for.
#![allow(unsafe_code)] // one block: tokio asks for a proof that a watched descriptor stays open

use super::socket::{Family, NetlinkError, RECEIVE_BUFFER, Socket};
use nix::errno::Errno;
use nix::sys::socket::SockFlag;
use std::io;
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A netlink socket that hears multicast groups.
#[derive(Debug)]
pub struct Events {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
    /// There was an overrun, and what waited then is not read to its end yet.
    behind: bool,
}

/// Datagrams that are thrown away in one go; far more than wait in a socket.
const THROWN_AWAY: u32 = 100_000;

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A datagram of messages.
    Datagram(&'a [u8]),
    /// The kernel dropped events because they were not read in time: read anew what they are about.
    Overrun,
}

impl Events {
    /// Joins groups (a bit each: group number n is bit n-1), in the network namespace of the calling thread.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub fn open(family: Family, groups: u32) -> Result<Self, NetlinkError> {
        let socket = Socket::new(family, groups, SockFlag::SOCK_NONBLOCK)?;
        // SAFETY: `Socket` owns its descriptor from its making to its drop, never replaces it and lends it to nobody who
        // could close it; `AsyncFd` owns the `Socket`. So the descriptor is open, and the same, while it is watched.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|refused| NetlinkError::Socket { doing: "watch", source: refused.into() })?;
        Ok(Self { socket, buffer: vec![0; RECEIVE_BUFFER], behind: false })
    }

    /// Sends a request; what the kernel answers is heard like an event.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn tell(&self, request: &[u8]) -> Result<(), NetlinkError> {
        self.socket.get_ref().send(request)
    }

    /// Waits for the next datagram. Nothing is lost when the waiting is given up.
    ///
    /// # Errors
    /// When the socket itself fails.
    pub async fn next(&mut self) -> io::Result<Heard<'_>> {
        loop {
            if self.behind {
                self.behind = !self.empty();
                return Ok(Heard::Overrun);
            }
            let mut ready = self.socket.readable().await?;
            let buffer = &mut self.buffer;
            let read = ready.try_io(|socket| Socket::receive(socket.as_raw_fd(), buffer).map_err(io::Error::from));
            match read {
                Ok(Ok(length)) => return Ok(Heard::Datagram(self.buffer.get(..length).unwrap_or_default())),
                Ok(Err(error)) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::ENOBUFS | Errno::EMSGSIZE) => self.behind = true,
                    _ => return Err(error),
                },
                Err(_would_block) => {}
            }
        }
    }

    /// Throws away what waits; tells whether nothing is left.
    ///
    /// The kernel tells of an overrun once. Whatever comes after is dropped without a word until its queue was read empty
    /// (`netlink_overrun` and `netlink_rcv_wake` in net/netlink/af_netlink.c): what is read anew before that is not complete.
    fn empty(&mut self) -> bool {
        for _ in 0..THROWN_AWAY {
            match Socket::receive(self.socket.get_ref().as_raw_fd(), &mut self.buffer) {
                Ok(_) | Err(Errno::ENOBUFS | Errno::EMSGSIZE) => {}
                Err(_) => return true,
            }
        }
        false
    }
}
