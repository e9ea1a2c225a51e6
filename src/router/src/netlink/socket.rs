//! Netlink sockets: blocking requests with the kernel's answer.
//!
//! The kernel answers within the call that sends, so a blocking request costs microseconds and may be made from the
//! program's one thread. The receive timeout is there for a kernel that loses an answer, which would hang it for good.

use super::codec::{self, DUMP, DUMP_INTERRUPTED, Failure, Malformed, Message, Messages, REQUEST, Writer};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockopt, recvmsg, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::{self, IoSliceMut};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// The kernel sends dumps in pieces of at most 32 KiB; an event or an error is smaller.
pub(super) const RECEIVE_BUFFER: usize = 64 * 1024;
/// What may wait unread in the kernel, in bytes: events of a large change come faster than they are read.
const KERNEL_RECEIVE_BUFFER: usize = 2 * 1024 * 1024;
/// How long an answer may take, in seconds.
const ANSWER_WITHIN: i64 = 5;
/// How many changes go in one datagram. If the kernel refused every one of them, the refusals would still fit into the
/// smallest receive buffer that a socket of ours can have.
const TOGETHER: usize = 128;
/// How often a dump is begun again because what it shows changed meanwhile.
const DUMP_TRIES: u32 = 10;

// Lets the kernel say in words what it refuses, and repeat the refused message by its header only.
nix::setsockopt_impl!(ExtendedAck, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, bool, sockopt::SetBool);
nix::setsockopt_impl!(CappedAck, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, bool, sockopt::SetBool);
/// An option of netlink sockets: errors carry the kernel's words.
#[derive(Clone, Copy)]
struct ExtendedAck;
/// An option of netlink sockets: errors do not repeat the refused message.
#[derive(Clone, Copy)]
struct CappedAck;

/// Which part of the kernel a socket speaks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, neighbours.
    Route,
    /// nftables.
    Netfilter,
}

/// One message that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The refused message's sequence number.
    pub sequence: u32,
    /// Why.
    pub errno: Errno,
    /// The kernel's own words, where it gave some.
    pub text: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{} ({text})", self.errno.desc()),
            None => f.write_str(self.errno.desc()),
        }
    }
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused it; at least one refusal.
    #[error("the kernel refused it: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Refused(Vec<Refusal>),
    /// Answers were lost because they were not read in time: what the kernel has must be read anew.
    #[error("answers of the kernel were lost (ENOBUFS)")]
    Overrun,
    /// What is dumped changed at every try.
    #[error("the kernel's state changed while it was read, {DUMP_TRIES} times in a row")]
    Unsteady,
    /// The kernel's answer is none.
    #[error("the kernel's answer cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// The request is longer than netlink can carry.
    #[error(transparent)]
    TooLong(#[from] codec::TooLong),
    /// The socket failed.
    #[error("cannot {doing} a netlink socket: {source}")]
    Socket {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl NetlinkError {
    /// Whether the kernel refused with this number.
    #[must_use]
    pub fn is(&self, errno: Errno) -> bool {
        matches!(self, Self::Refused(refusals) if refusals.iter().any(|r| r.errno == errno))
    }
}

fn failed(doing: &'static str) -> impl Fn(Errno) -> NetlinkError {
    move |errno| NetlinkError::Socket { doing, source: errno.into() }
}

/// A netlink socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    /// Made at the first answer, and anew after a dump: a socket that only hears events needs none.
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket for requests, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn open(family: Family) -> Result<Self, NetlinkError> {
        let socket = Self::new(family, 0, SockFlag::empty())?;
        setsockopt(&socket.fd, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_WITHIN)).map_err(failed("set up"))?;
        Ok(socket)
    }

    pub(super) fn new(family: Family, groups: u32, flags: SockFlag) -> Result<Self, NetlinkError> {
        let protocol = match family {
            Family::Route => SockProtocol::NetlinkRoute,
            Family::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        let fd = socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC | flags, protocol).map_err(failed("open"))?;
        // Beyond the system's limit where we have the right to (CAP_NET_ADMIN); as much as we get otherwise.
        if setsockopt(&fd, sockopt::RcvBufForce, &KERNEL_RECEIVE_BUFFER).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &KERNEL_RECEIVE_BUFFER).map_err(failed("set up"))?;
        }
        // These came with Linux 4.12 and 4.3; without them errors only say less.
        let _ = setsockopt(&fd, ExtendedAck, &true);
        let _ = setsockopt(&fd, CappedAck, &true);
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(failed("bind"))?;
        Ok(Self { fd, sequence: 1, buffer: Vec::new() })
    }

    /// Makes room for one request of so many bytes; gives how many it can have. Without rights over the whole machine
    /// (root of a user namespace only) the system's own limit stays.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn reserve(&mut self, bytes: usize) -> Result<usize, NetlinkError> {
        if setsockopt(&self.fd, sockopt::SndBufForce, &bytes).is_err() {
            setsockopt(&self.fd, sockopt::SndBuf, &bytes).map_err(failed("set up"))?;
        }
        // The kernel doubles what is asked for, takes messages up to that less 32 bytes (netlink_sendmsg), and tells the
        // doubled number. Half of it is what was asked for, and leaves room.
        let granted = getsockopt(&self.fd, sockopt::SndBuf).map_err(failed("set up"))?;
        Ok(bytes.min(granted / 2))
    }

    /// Sequence numbers for so many messages; gives the first.
    pub fn sequences(&mut self, count: u32) -> u32 {
        // Zero is for events.
        if self.sequence.checked_add(count).is_none() {
            self.sequence = 1;
        }
        let first = self.sequence;
        self.sequence = self.sequence.saturating_add(count);
        first
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        loop {
            match sendto(self.fd.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed("send to")(errno)),
            }
        }
    }

    /// Receives one datagram of the kernel's into the buffer; gives its length.
    pub(super) fn receive(fd: RawFd, buffer: &mut [u8]) -> Result<usize, Errno> {
        loop {
            let mut parts = [IoSliceMut::new(buffer)];
            let (bytes, from, flags) = match recvmsg::<NetlinkAddr>(fd, &mut parts, None, MsgFlags::empty()) {
                Ok(received) => (received.bytes, received.address.map(|a| a.pid()), received.flags),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
            };
            // Another process may write to our port; only port 0 is the kernel.
            if from == Some(0) {
                return if flags.contains(MsgFlags::MSG_TRUNC) { Err(Errno::EMSGSIZE) } else { Ok(bytes) };
            }
        }
    }

    /// Reads the answers with these sequence numbers until `done` says so.
    fn answers(
        &mut self,
        mut each: impl FnMut(&Message<'_>) -> Result<bool, NetlinkError>,
        ours: &RangeInclusive<u32>,
    ) -> Result<(), NetlinkError> {
        if self.buffer.is_empty() {
            // Asked for as zeros, and not filled with them: a short answer touches one page of it.
            self.buffer = vec![0; RECEIVE_BUFFER];
        }
        loop {
            let length = match Self::receive(self.fd.as_raw_fd(), &mut self.buffer) {
                Ok(length) => length,
                Err(Errno::ENOBUFS) => return Err(NetlinkError::Overrun),
                Err(errno) => return Err(failed("receive from")(errno)),
            };
            let mut done = false;
            for message in Messages::new(self.buffer.get(..length).unwrap_or_default()) {
                let message = message?;
                if !ours.contains(&message.sequence) {
                    continue; // the late answer of a request that timed out
                }
                if message.kind == codec::OVERRUN {
                    return Err(NetlinkError::Overrun);
                }
                done |= each(&message)?;
            }
            if done {
                return Ok(());
            }
        }
    }

    /// Sends a dump request (its family's header and attributes written by `body`) and hands each answer to `each`.
    /// Where what is dumped changes meanwhile, it is begun again: `restart` is called before each try.
    ///
    /// # Errors
    /// When the kernel refuses, or `each` cannot read an answer.
    pub fn dump<T>(
        &mut self,
        kind: u16,
        body: impl Fn(&mut Writer),
        restart: impl Fn() -> T,
        mut each: impl FnMut(&mut T, &Message<'_>) -> Result<(), Malformed>,
    ) -> Result<T, NetlinkError> {
        for _ in 0..DUMP_TRIES {
            let mut found = restart();
            let sequence = self.sequences(1);
            let mut writer = Writer::new();
            writer.message(kind, REQUEST | DUMP, sequence, &body);
            self.send(&writer.finish()?)?;
            let mut interrupted = false;
            self.answers(
                |message| {
                    interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                    match message.kind {
                        codec::DONE => Ok(true),
                        codec::ERROR => refusal(message).map_or(Ok(true), |r| Err(NetlinkError::Refused(vec![r?]))),
                        _ => each(&mut found, message).map(|()| false).map_err(NetlinkError::from),
                    }
                },
                &(sequence..=sequence),
            )?;
            if !interrupted {
                // It was filled by that. What follows are short answers, for hours maybe.
                self.buffer = Vec::new();
                return Ok(found);
            }
        }
        Err(NetlinkError::Unsteady)
    }

    /// Sends one request and hands its answers to `each`, until the kernel acknowledges it.
    ///
    /// # Errors
    /// When the kernel refuses, or `each` cannot read an answer.
    pub fn request(
        &mut self,
        kind: u16,
        body: impl FnOnce(&mut Writer),
        each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), NetlinkError> {
        self.request_with(kind, 0, body, each)
    }

    /// Sends one request that is answered by one message or refused, as those for a single thing are, and hands the answer to `each`.
    /// The kernel is not asked to acknowledge it besides: that would be one more message to read.
    ///
    /// # Errors
    /// When the kernel refuses, or `each` cannot read the answer.
    pub fn ask(
        &mut self,
        kind: u16,
        body: impl FnOnce(&mut Writer),
        mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), NetlinkError> {
        let sequence = self.sequences(1);
        let mut writer = Writer::new();
        writer.message(kind, REQUEST, sequence, body);
        self.send(&writer.finish()?)?;
        self.answers(
            |message| match message.kind {
                codec::ERROR => refusal(message).map_or(Ok(true), |r| Err(NetlinkError::Refused(vec![r?]))),
                _ => each(message).map(|()| true).map_err(NetlinkError::from),
            },
            &(sequence..=sequence),
        )
    }

    /// Sends one request that changes something, with these flags, and waits until the kernel acknowledges it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn change(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Writer)) -> Result<(), NetlinkError> {
        self.request_with(kind, flags, body, |_| Ok(()))
    }

    /// The same as [`Self::request`], with these flags.
    ///
    /// # Errors
    /// When the kernel refuses, or `each` cannot read an answer.
    pub fn request_with(
        &mut self,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Writer),
        mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), NetlinkError> {
        let sequence = self.sequences(1);
        let mut writer = Writer::new();
        writer.message(kind, REQUEST | codec::ACK | flags, sequence, body);
        self.send(&writer.finish()?)?;
        self.answers(
            |message| match message.kind {
                codec::ERROR => refusal(message).map_or(Ok(true), |r| Err(NetlinkError::Refused(vec![r?]))),
                _ => each(message).map(|()| false).map_err(NetlinkError::from),
            },
            &(sequence..=sequence),
        )
    }

    /// Sends changes that are independent of each other, many in one datagram: a kind, flags and a body for each. The kernel
    /// does them in their order, and one that it refuses keeps it from none of the others. Gives the refusals, each with the
    /// index of its change.
    ///
    /// # Errors
    /// When it is not known what the kernel did.
    pub fn change_each<T>(
        &mut self,
        changes: &[T],
        header: impl Fn(&T) -> (u16, u16),
        body: impl Fn(&mut Writer, &T),
    ) -> Result<Vec<(usize, Refusal)>, NetlinkError> {
        let mut refused = Vec::new();
        for (chunk, begin) in changes.chunks(TOGETHER).zip((0..).step_by(TOGETHER)) {
            let count = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            let first = self.sequences(count);
            let last = first + (count - 1);
            let mut writer = Writer::new();
            for (change, sequence) in chunk.iter().zip(first..) {
                let (kind, flags) = header(change);
                // Refusals come unasked; that all is done is said by the last one's acknowledgement.
                let acknowledged = if sequence == last { codec::ACK } else { 0 };
                writer.message(kind, REQUEST | acknowledged | flags, sequence, |w| body(w, change));
            }
            match self.transact(&writer.finish()?, &(first..=last), last) {
                Ok(()) => {}
                Err(NetlinkError::Refused(refusals)) => {
                    refused.extend(refusals.into_iter().map(|refusal| (begin + (refusal.sequence - first) as usize, refusal)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    /// Sends many messages at once, of which the one numbered `acknowledged`, the last, asks for an acknowledgement.
    ///
    /// # Errors
    /// With every refusal that the kernel gave. nftables does nothing of a transaction then.
    pub fn transact(&mut self, bytes: &[u8], sequences: &RangeInclusive<u32>, acknowledged: u32) -> Result<(), NetlinkError> {
        self.send(bytes)?;
        let mut refusals = Vec::new();
        // The kernel queues all its answers, in the messages' order, before the call that sends returns. So once the
        // acknowledgement or the first refusal is read, whatever else there is can be read without waiting.
        self.answers(
            |message| {
                if message.kind == codec::ERROR {
                    match refusal(message) {
                        Some(refusal) => refusals.push(refusal?),
                        None if message.sequence != acknowledged => return Ok(false),
                        None => {}
                    }
                    return Ok(true);
                }
                Ok(false)
            },
            sequences,
        )?;
        loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let read = recvmsg::<NetlinkAddr>(self.fd.as_raw_fd(), &mut parts, None, MsgFlags::MSG_DONTWAIT);
            let length = match read {
                Ok(received) if received.address.is_some_and(|from| from.pid() == 0) => received.bytes,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => break,
                Err(Errno::ENOBUFS) => return Err(NetlinkError::Overrun),
                Err(errno) => return Err(failed("receive from")(errno)),
            };
            for message in Messages::new(self.buffer.get(..length).unwrap_or_default()) {
                let message = message?;
                if message.kind == codec::ERROR
                    && sequences.contains(&message.sequence)
                    && let Some(refusal) = refusal(&message)
                {
                    refusals.push(refusal?);
                }
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(NetlinkError::Refused(refusals)) }
    }
}

/// What an `NLMSG_ERROR` refuses; nothing where it is an acknowledgement.
fn refusal(message: &Message<'_>) -> Option<Result<Refusal, Malformed>> {
    match message.failure() {
        Ok(Failure { errno: 0, .. }) => None,
        Ok(Failure { errno, text }) => Some(Ok(Refusal { sequence: message.sequence, errno: Errno::from_raw(errno), text })),
        Err(malformed) => Some(Err(malformed)),
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
