//! What servers order (RFC 5176): read, and remembered so that an order that comes again is not carried out again. Pure.

use super::dictionary::*;
use super::packet::{Unbelievable, numbers, open_order};
use super::reply;
use super::values::station;
use lango_core::radius::{DynamicOrder, DynamicRequest, ErrorCause, SessionMatch};
use lango_core::time::{Monotonic, Wall};
use lango_core::units::Millis;
use radius::core::avp::AVPType;
use radius::core::code::Code;
use radius::core::packet::Packet;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How far an order's Event-Timestamp may be from now (RFC 5176 section 6.3).
const WINDOW_SECONDS: u64 = 300;

/// What the router is called, as far as orders may name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// NAS-Identifier.
    pub identifier: String,
    /// NAS-IP-Address, where the operator gave one; any is taken otherwise, for behind NAT a server knows another one.
    pub address: Option<IpAddr>,
}

/// Why an order is dropped without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// It may be anybody's.
    #[error(transparent)]
    Unbelievable(#[from] Unbelievable),
    /// Its Event-Timestamp is too far from now: somebody may send it again.
    #[error("its Event-Timestamp is more than 300 s from now; are both clocks set?")]
    Stale,
}

/// An order that is to be answered: with its packet, and what it says, or why it is refused.
pub type Order = (Packet, Result<DynamicRequest, ErrorCause>);

/// Reads an order.
///
/// # Errors
/// When it gets no answer.
pub fn read(bytes: &[u8], secret: &[u8], named: &Named, now: Option<Wall>) -> Result<Order, Dropped> {
    let packet = open_order(bytes, secret)?;
    if let (Ok(Some(stamp)), Some(now)) = (first_number(&packet, EVENT_TIMESTAMP), now)
        && (now.0 / 1_000).abs_diff(u64::from(stamp)) > WINDOW_SECONDS
    {
        return Err(Dropped::Stale);
    }
    let numbers: Vec<AVPType> = numbers(bytes).collect();
    let request = request(&packet, &numbers, named);
    Ok((packet, request))
}

/// What names the router or the session, or goes with any order.
const ALWAYS: [AVPType; 14] = [
    USER_NAME,
    NAS_IP_ADDRESS,
    FRAMED_IP_ADDRESS,
    CALLED_STATION_ID,
    CALLING_STATION_ID,
    NAS_IDENTIFIER,
    PROXY_STATE,
    ACCT_SESSION_ID,
    EVENT_TIMESTAMP,
    MESSAGE_AUTHENTICATOR,
    NAS_IPV6_ADDRESS,
    FRAMED_IPV6_ADDRESS,
    // What it is to be told to the customer or in the accounting: the rules have words of their own.
    REPLY_MESSAGE,
    ACCT_TERMINATE_CAUSE,
];

/// What a CoA-Request may change.
const CHANGES: [AVPType; 6] = [FILTER_ID, CLASS, VENDOR_SPECIFIC, SESSION_TIMEOUT, IDLE_TIMEOUT, ACCT_INTERIM_INTERVAL];

fn request(packet: &Packet, numbers: &[AVPType], named: &Named) -> Result<DynamicRequest, ErrorCause> {
    let change = packet.get_code() == Code::CoARequest;
    if numbers.contains(&SERVICE_TYPE) {
        return Err(ErrorCause::UnsupportedService); // Authorize Only (RFC 5176 section 3.2)
    }
    // Acknowledging what is not done would be a lie (RFC 5176 section 3).
    if numbers.iter().any(|number| !(ALWAYS.contains(number) || change && CHANGES.contains(number))) {
        return Err(ErrorCause::UnsupportedAttribute);
    }
    let which = which(packet, named)?;
    if !change {
        return Ok(DynamicRequest { which, order: DynamicOrder::Disconnect });
    }
    let mut change = reply::authorization(packet).map_err(|_| ErrorCause::InvalidAttributeValue)?;
    // Here it says which session, not what it is to be called.
    change.user = None;
    Ok(DynamicRequest { which, order: DynamicOrder::Change(Box::new(change)) })
}

fn which(packet: &Packet, named: &Named) -> Result<SessionMatch, ErrorCause> {
    const WRONG: ErrorCause = ErrorCause::InvalidAttributeValue;
    let string = |of| packet.lookup(of).map(|avp| avp.encode_string().map_err(|_| WRONG)).transpose();
    if string(NAS_IDENTIFIER)?.is_some_and(|identifier| identifier != named.identifier) {
        return Err(ErrorCause::NasIdentificationMismatch);
    }
    let nas = address(packet, NAS_IP_ADDRESS, NAS_IPV6_ADDRESS)?;
    if let (Some(told), Some(own)) = (nas, named.address)
        && told != own
    {
        return Err(ErrorCause::NasIdentificationMismatch);
    }
    let device = match string(CALLING_STATION_ID)? {
        // What is no device's address is that of no session.
        Some(text) => Some(station(&text).ok_or(ErrorCause::SessionContextNotFound)?),
        None => None,
    };
    let address = address(packet, FRAMED_IP_ADDRESS, FRAMED_IPV6_ADDRESS)?;
    let which = SessionMatch { user: string(USER_NAME)?, session: string(ACCT_SESSION_ID)?, device, address };
    if which == SessionMatch::default() { Err(ErrorCause::MissingAttribute) } else { Ok(which) }
}

fn address(packet: &Packet, v4: AVPType, v6: AVPType) -> Result<Option<IpAddr>, ErrorCause> {
    let wrong = |_| ErrorCause::InvalidAttributeValue;
    if let Some(avp) = packet.lookup(v4) {
        let octets: [u8; 4] = avp.encode_bytes().try_into().map_err(wrong)?;
        return Ok(Some(Ipv4Addr::from(octets).into()));
    }
    let Some(avp) = packet.lookup(v6) else { return Ok(None) };
    let octets: [u8; 16] = avp.encode_bytes().try_into().map_err(wrong)?;
    Ok(Some(Ipv6Addr::from(octets).into()))
}

/// What tells an order from every other: its source, identifier and authenticator (RFC 5176 section 2.3, RFC 5080 section 2.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it came from.
    pub source: SocketAddr,
    /// Identifier and authenticator.
    mark: [u8; 17],
}

impl Key {
    /// The key of a packet.
    #[must_use]
    pub fn of(packet: &Packet, source: SocketAddr) -> Self {
        let mut mark = [packet.get_identifier(); 17];
        mark.iter_mut().skip(1).zip(packet.get_authenticator()).for_each(|(place, octet)| *place = *octet);
        Self { source, mark }
    }
}

/// What is known of an order that comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It is new, and remembered from now on.
    New,
    /// It is being carried out: its answer will come.
    Working,
    /// It was answered, just so.
    Answered(Vec<u8>),
    /// There is no room: more is being carried out than can be remembered.
    Full,
}

struct Taken {
    key: Key,
    at: Monotonic,
    answer: Option<Vec<u8>>,
}

/// The orders that came last, with their answers.
#[derive(Default)]
pub struct Cache(VecDeque<Taken>);

impl Cache {
    /// So many are remembered: the oldest that is answered goes for a new one.
    pub const ROOM: usize = 256;

    /// What is not answered for so long never will be: the rules dropped it (their store was away). It may come again.
    pub const ABANDONED_AFTER: Millis = Millis::from_seconds(30);

    /// Looks an order up that came at `now`, and remembers it where it is new.
    pub fn take(&mut self, key: &Key, now: Monotonic) -> Known {
        self.0.retain(|taken| taken.answer.is_some() || taken.at.after(Self::ABANDONED_AFTER) > now);
        if let Some(taken) = self.0.iter().find(|taken| taken.key == *key) {
            return taken.answer.clone().map_or(Known::Working, Known::Answered);
        }
        if self.0.len() >= Self::ROOM {
            let Some(oldest) = self.0.iter().position(|taken| taken.answer.is_some()) else { return Known::Full };
            self.0.remove(oldest);
        }
        self.0.push_back(Taken { key: key.clone(), at: now, answer: None });
        Known::New
    }

    /// Remembers the answer.
    pub fn answered(&mut self, key: &Key, answer: &[u8]) {
        if let Some(taken) = self.0.iter_mut().find(|taken| taken.key == *key) {
            taken.answer = Some(answer.to_vec());
        }
    }

    /// Forgets an order that could not be taken: it may come again.
    pub fn forget(&mut self, key: &Key) {
        self.0.retain(|taken| taken.key != *key);
    }
}

#[cfg(test)]
#[path = "dynamic_tests.rs"]
mod tests;
