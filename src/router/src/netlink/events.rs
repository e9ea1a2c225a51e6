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
}

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
        Ok(Self { socket, buffer: vec![0; RECEIVE_BUFFER] })
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
            let mut ready = self.socket.readable().await?;
            let buffer = &mut self.buffer;
            let read = ready.try_io(|socket| Socket::receive(socket.as_raw_fd(), buffer).map_err(io::Error::from));
            match read {
                Ok(Ok(length)) => return Ok(Heard::Datagram(self.buffer.get(..length).unwrap_or_default())),
                Ok(Err(error)) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::ENOBUFS | Errno::EMSGSIZE) => return Ok(Heard::Overrun),
                    _ => return Err(error),
                },
                Err(_would_block) => {}
            }
        }
    }
}
