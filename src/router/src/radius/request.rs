//! What is sent: Access-Requests and Accounting-Requests. Pure: randomness and time are handed in.

use super::dictionary::*;
use super::mschap;
use super::packet::{Unencodable, bare, seal, signed};
use lango_core::radius::{AccessRequest, AccountedSession, Accounting, AccountingEvent, Credential, StationFormat};
use lango_core::time::{Now, Wall};
use lango_core::units::Bytes;
use radius::core::avp::AVP;
use radius::core::code::Code;
use radius::core::packet::Packet;
use std::net::IpAddr;

/// How a password is shown to the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// In User-Password, hidden by the secret (RFC 2865 section 5.2): works with passwords that the server has hashed.
    #[default]
    Pap,
    /// By a digest (RFC 2865 section 5.3): the server must have it in clear.
    Chap,
    /// RFC 2759: the server has it in clear, or its NT hash, and shows in turn that it has.
    MsChapV2,
}

/// What every request says of the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nas {
    /// NAS-Identifier.
    pub identifier: String,
    /// NAS-IP-Address, where the operator gave one; otherwise it is the one that the packet is sent from.
    pub address: Option<IpAddr>,
    /// Called-Station-Id, whole.
    pub called_station: String,
    /// How devices' addresses are written.
    pub station: StationFormat,
    /// WISPr-Location-ID.
    pub location_id: Option<String>,
    /// WISPr-Location-Name.
    pub location_name: Option<String>,
}

/// What belongs to the one sending of a request.
#[derive(Debug, Clone, Copy)]
pub struct Sending<'a> {
    /// Identifier (RFC 2865 section 3).
    pub identifier: u8,
    /// The secret shared with this server.
    pub secret: &'a [u8],
    /// Request Authenticator (RFC 2865 section 3): random, and never used twice. An Accounting-Request reckons its own.
    pub authenticator: [u8; 16],
    /// The address that it is sent from.
    pub from: Option<IpAddr>,
    /// When.
    pub now: Now,
}

/// The randomness of one Access-Request's method.
#[derive(Debug, Clone, Copy)]
pub struct Challenge {
    /// The router's challenge.
    pub own: [u8; 16],
    /// The peer's, which the router makes in the customer's place.
    pub peer: [u8; 16],
}

/// An Access-Request's bytes, and what MS-CHAP2-Success must say if it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The packet.
    pub bytes: Vec<u8>,
    /// With MS-CHAPv2: the proof that the server has to give.
    pub proof: Option<String>,
}

/// The identifier within CHAP-Password and MS-CHAP2-Response: one challenge is used once, so any will do.
const CHAP_IDENTIFIER: u8 = 1;

/// At most so many Framed-IPv6-Addresses go into a packet: phones make themselves new ones without end.
const MOST_IPV6: usize = 8;

/// An Access-Request.
///
/// # Errors
/// When it does not fit into a packet.
pub fn access(
    nas: &Nas,
    method: Method,
    request: &AccessRequest,
    sending: Sending<'_>,
    challenge: &Challenge,
) -> Result<Question, Unencodable> {
    let mut packet = signed(Code::AccessRequest, sending.identifier, sending.secret, &sending.authenticator)?;
    let user = request.user.as_str();
    packet.add(text(USER_NAME, user));
    let (password, service) = match &request.credential {
        Credential::Password(password) => (password.reveal(), 1),
        Credential::Mac => (user, 10),
    };
    let mut proof = None;
    match method {
        Method::Pap => {
            let hidden = AVP::from_user_password(USER_PASSWORD, password.as_bytes(), sending.secret, packet.get_authenticator());
            packet.add(hidden.map_err(|cause| Unencodable::of(&cause))?);
        }
        Method::Chap => {
            packet.add(AVP::from_bytes(CHAP_PASSWORD, &mschap::chap(CHAP_IDENTIFIER, password.as_bytes(), &challenge.own)));
            packet.add(AVP::from_bytes(CHAP_CHALLENGE, &challenge.own));
        }
        Method::MsChapV2 => {
            let response = mschap::mschapv2(&challenge.own, &challenge.peer, user, password);
            packet.add(vendor_attribute(MICROSOFT, MS_CHAP_CHALLENGE, &challenge.own));
            let value = [&[CHAP_IDENTIFIER, 0][..], &challenge.peer, &[0; 8], &response.nt].concat();
            packet.add(vendor_attribute(MICROSOFT, MS_CHAP2_RESPONSE, &value));
            proof = Some(response.success);
        }
    }
    packet.add(AVP::from_u32(SERVICE_TYPE, service));
    add_nas(&mut packet, nas, sending.from);
    packet.add(text(CALLING_STATION_ID, &nas.station.write(request.device)));
    add_addresses(&mut packet, request.address.as_slice());
    packet.add(text(ACCT_SESSION_ID, &request.session.0));
    add_timestamp(&mut packet, sending.now.wall);
    Ok(Question { bytes: seal(&packet)?, proof })
}

/// An Accounting-Request.
///
/// `delay` is what passed since it happened, in seconds; nothing where nobody knows.
///
/// # Errors
/// When it does not fit into a packet.
pub fn accounting(nas: &Nas, told: &Accounting, delay: Option<u32>, sending: Sending<'_>) -> Result<Vec<u8>, Unencodable> {
    let mut packet = bare(Code::AccountingRequest, sending.identifier, sending.secret, &sending.authenticator)?;
    let (status, cause) = match &told.event {
        AccountingEvent::Start(_) => (1, None),
        AccountingEvent::Stop { cause, .. } => (2, Some(*cause)),
        AccountingEvent::Interim(_) => (3, None),
        AccountingEvent::On => (7, None),
        AccountingEvent::Off { cause } => (8, Some(*cause)),
    };
    packet.add(AVP::from_u32(ACCT_STATUS_TYPE, status));
    add_nas(&mut packet, nas, sending.from);
    match &told.event {
        AccountingEvent::On | AccountingEvent::Off { .. } => {
            // RFC 2866 section 5.5: it is in every request; here it names no session.
            packet.add(text(ACCT_SESSION_ID, &format!("nas{:09}", told.seq % 1_000_000_000)));
        }
        AccountingEvent::Start(session) => add_session(&mut packet, nas, session, false),
        AccountingEvent::Interim(session) | AccountingEvent::Stop { session, .. } => add_session(&mut packet, nas, session, true),
    }
    if let Some(cause) = cause {
        packet.add(AVP::from_u32(ACCT_TERMINATE_CAUSE, cause as u32));
    }
    // What happened when is known by the wall clock, or by what passed since.
    let at = told.at_wall.or_else(|| Some(Wall(sending.now.wall?.0.saturating_sub(u64::from(delay?) * 1_000))));
    add_timestamp(&mut packet, at);
    if let Some(delay) = delay {
        packet.add(AVP::from_u32(ACCT_DELAY_TIME, delay));
    }
    seal(&packet)
}

/// A Status-Server: whether somebody is there (RFC 5997).
///
/// # Errors
/// When it does not fit into a packet.
pub fn status(nas: &Nas, sending: Sending<'_>) -> Result<Vec<u8>, Unencodable> {
    let mut packet = signed(Code::StatusServer, sending.identifier, sending.secret, &sending.authenticator)?;
    packet.add(text(NAS_IDENTIFIER, &nas.identifier));
    seal(&packet)
}

fn add_nas(packet: &mut Packet, nas: &Nas, from: Option<IpAddr>) {
    packet.add(text(NAS_IDENTIFIER, &nas.identifier));
    match nas.address.or(from).map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => packet.add(AVP::from_ipv4(NAS_IP_ADDRESS, &address)),
        Some(IpAddr::V6(address)) => packet.add(AVP::from_ipv6(NAS_IPV6_ADDRESS, &address)),
        None => {}
    }
    // RFC 2865 section 5.41: Wireless - IEEE 802.11.
    packet.add(AVP::from_u32(NAS_PORT_TYPE, 19));
    packet.add(text(CALLED_STATION_ID, &nas.called_station));
    if let Some(id) = &nas.location_id {
        packet.add(vendor_attribute(WISPR, WISPR_LOCATION_ID, id.as_bytes()));
    }
    if let Some(name) = &nas.location_name {
        packet.add(vendor_attribute(WISPR, WISPR_LOCATION_NAME, name.as_bytes()));
    }
}

fn add_session(packet: &mut Packet, nas: &Nas, session: &AccountedSession, counted: bool) {
    packet.add(text(ACCT_SESSION_ID, &session.id.0));
    packet.add(text(USER_NAME, session.user.as_str()));
    packet.add(text(CALLING_STATION_ID, &nas.station.write(session.device)));
    add_addresses(packet, &session.addresses);
    for class in &session.class {
        packet.add(AVP::from_bytes(CLASS, class));
    }
    // RFC 2866 section 5.6: RADIUS, or Local.
    packet.add(AVP::from_u32(ACCT_AUTHENTIC, if session.remote { 1 } else { 2 }));
    if counted {
        packet.add(AVP::from_u32(ACCT_SESSION_TIME, u32::try_from(session.time.0).unwrap_or(u32::MAX)));
        add_octets(packet, ACCT_INPUT_OCTETS, ACCT_INPUT_GIGAWORDS, session.traffic.up);
        add_octets(packet, ACCT_OUTPUT_OCTETS, ACCT_OUTPUT_GIGAWORDS, session.traffic.down);
    }
}

fn add_octets(packet: &mut Packet, octets: u8, gigawords: u8, Bytes(count): Bytes) {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
    packet.add(AVP::from_u32(octets, half(count)));
    packet.add(AVP::from_u32(gigawords, half(count >> 32)));
}

fn add_addresses(packet: &mut Packet, addresses: &[IpAddr]) {
    let mut room = MOST_IPV6;
    let mut named = false;
    for address in addresses {
        match address {
            IpAddr::V4(address) if !named => {
                packet.add(AVP::from_ipv4(FRAMED_IP_ADDRESS, address));
                named = true;
            }
            // What never leaves the link says nothing to a server.
            IpAddr::V6(address) if room > 0 && !address.is_unicast_link_local() => {
                packet.add(AVP::from_ipv6(FRAMED_IPV6_ADDRESS, address));
                room -= 1;
            }
            _ => {}
        }
    }
}

fn add_timestamp(packet: &mut Packet, at: Option<Wall>) {
    if let Some(seconds) = at.and_then(|at| u32::try_from(at.0 / 1_000).ok()) {
        packet.add(AVP::from_u32(EVENT_TIMESTAMP, seconds));
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
