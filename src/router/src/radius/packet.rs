//! Packets sealed and checked: authenticators and Message-Authenticator (RFC 2865 section 3, RFC 3579 section 3.2, RFC 5176
//! section 3). Pure.

use super::dictionary::{ERROR_CAUSE, MESSAGE_AUTHENTICATOR, PROXY_STATE};
use hmac::{Hmac, KeyInit, Mac as _};
use lango_core::radius::ErrorCause;
use md5::{Digest as _, Md5};
use radius::core::avp::AVP;
use radius::core::code::Code;
use radius::core::packet::Packet;
use std::ops::Range;

/// Code, identifier, length and authenticator.
pub const HEADER: usize = 20;

/// The longest packet (RFC 2865 section 3).
pub const MAX_LENGTH: usize = 4096;

const AUTHENTICATOR: Range<usize> = 4..HEADER;

/// What was asked does not fit into a packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it does not fit into a packet: {0}")]
pub struct Unencodable(String);

impl Unencodable {
    /// For the library's reason.
    pub(super) fn of(cause: &dyn std::fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

/// Why a packet is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unbelievable {
    /// Its lengths do not fit together.
    #[error("it is cut off or malformed")]
    Malformed,
    /// Another kind of packet, or another identifier, than what was asked for.
    #[error("it answers nothing that was asked")]
    Unasked,
    /// Somebody without the secret made it.
    #[error("its authenticator is wrong; is the secret the same on both sides?")]
    Authenticator,
    /// The same by its Message-Authenticator.
    #[error("its Message-Authenticator is wrong")]
    MessageAuthenticator,
    /// It has none, and must have one.
    #[error("it has no Message-Authenticator; update the server, or name it as old_server")]
    NoMessageAuthenticator,
}

/// A request without attributes. The library's own way would bring a generator of random numbers of its own into the program, for
/// the authenticator.
///
/// # Errors
/// Never: a header is a packet.
pub fn bare(code: Code, identifier: u8, secret: &[u8], authenticator: &[u8; 16]) -> Result<Packet, Unencodable> {
    const LENGTH: [u8; 2] = [0, HEADER as u8];
    let header = [&[code as u8, identifier][..], &LENGTH, authenticator].concat();
    Packet::decode(&header, secret).map_err(|cause| Unencodable::of(&cause))
}

/// The same with Message-Authenticator as its first attribute, to be filled by [`seal`].
///
/// # Errors
/// As [`bare`].
pub fn signed(code: Code, identifier: u8, secret: &[u8], authenticator: &[u8; 16]) -> Result<Packet, Unencodable> {
    let mut packet = bare(code, identifier, secret, authenticator)?;
    packet.add(AVP::from_bytes(MESSAGE_AUTHENTICATOR, &[0; 16]));
    Ok(packet)
}

/// A request's bytes.
///
/// # Errors
/// When an attribute or all of them together are too long.
pub fn seal(packet: &Packet) -> Result<Vec<u8>, Unencodable> {
    let mut bytes = packet.encode().map_err(|cause| Unencodable::of(&cause))?;
    if matches!(packet.get_code(), Code::AccessRequest | Code::StatusServer) {
        sign(&mut bytes, packet.get_secret());
    }
    Ok(bytes)
}

/// Fills the Message-Authenticator, where there is one, over the bytes as they are.
fn sign(bytes: &mut [u8], secret: &[u8]) {
    let place = message_authenticators(bytes).next();
    if let Some(at) = place {
        let signature = signature(bytes, secret);
        if let Some(place) = bytes.get_mut(at) {
            place.copy_from_slice(&signature);
        }
    }
}

fn signature(bytes: &[u8], secret: &[u8]) -> [u8; 16] {
    // It takes a key of any length: RFC 2104.
    Hmac::<Md5>::new_from_slice(secret).map(|hmac| hmac.chain_update(bytes).finalize().into_bytes().into()).unwrap_or_default()
}

/// Where the values of attributes are.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u8, Range<usize>)> {
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let (number, length) = (*bytes.get(at)?, usize::from(*bytes.get(at + 1)?));
        let value = at + 2..at + length;
        at += length.max(2);
        Some((number, value))
    })
}

/// The numbers of a packet's attributes, in their order.
pub fn numbers(bytes: &[u8]) -> impl Iterator<Item = u8> {
    attributes(whole(bytes).unwrap_or_default()).map(|(number, _)| number)
}

fn message_authenticators(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    attributes(bytes).filter(|(number, _)| *number == MESSAGE_AUTHENTICATOR).map(|(_, value)| value)
}

/// The packet without what stands behind its length, which is padding (RFC 2865 section 3).
fn whole(bytes: &[u8]) -> Result<&[u8], Unbelievable> {
    let length = bytes.get(2..4).and_then(|field| field.try_into().ok()).map(u16::from_be_bytes).ok_or(Unbelievable::Malformed)?;
    let length = usize::from(length);
    if (HEADER..=MAX_LENGTH).contains(&length) { bytes.get(..length).ok_or(Unbelievable::Malformed) } else { Err(Unbelievable::Malformed) }
}

/// Whether a packet has a Message-Authenticator that is right, reckoned with `authenticator` in place of its own.
fn check_signature(bytes: &[u8], authenticator: &[u8; 16], secret: &[u8]) -> Result<bool, Unbelievable> {
    let mut all = message_authenticators(bytes);
    let Some(at) = all.next() else { return Ok(false) };
    // A second one could be what the first was reckoned without.
    if at.len() != 16 || all.next().is_some() {
        return Err(Unbelievable::MessageAuthenticator);
    }
    let mut copy = bytes.to_vec();
    let stated: [u8; 16] = bytes.get(at.clone()).and_then(|stated| stated.try_into().ok()).ok_or(Unbelievable::Malformed)?;
    if let Some(place) = copy.get_mut(at) {
        place.fill(0);
    }
    if let Some(place) = copy.get_mut(AUTHENTICATOR) {
        place.copy_from_slice(authenticator);
    }
    let hmac = Hmac::<Md5>::new_from_slice(secret).map_err(|_| Unbelievable::MessageAuthenticator)?;
    hmac.chain_update(&copy).verify(&stated.into()).map(|()| true).map_err(|_| Unbelievable::MessageAuthenticator)
}

fn authenticator(bytes: &[u8]) -> Result<[u8; 16], Unbelievable> {
    bytes.get(AUTHENTICATOR).and_then(|field| field.try_into().ok()).ok_or(Unbelievable::Malformed)
}

/// A reply as a packet, if it answers this request and has the marks of somebody who knows the secret.
///
/// # Errors
/// When it is not to be believed: it is as if it had not come.
pub fn open_reply(request: &[u8], reply: &[u8], secret: &[u8], must_be_signed: bool) -> Result<Packet, Unbelievable> {
    let reply = whole(reply)?;
    let code = |bytes: &[u8]| bytes.first().copied().map_or(Code::Invalid, Code::from);
    let asked_for = match code(request) {
        Code::AccessRequest => matches!(code(reply), Code::AccessAccept | Code::AccessReject | Code::AccessChallenge),
        Code::AccountingRequest => code(reply) == Code::AccountingResponse,
        Code::StatusServer => matches!(code(reply), Code::AccessAccept | Code::AccountingResponse),
        _ => false,
    };
    if !asked_for || request.get(1) != reply.get(1) {
        return Err(Unbelievable::Unasked);
    }
    if !Packet::is_authentic_response(reply, request, secret) {
        return Err(Unbelievable::Authenticator);
    }
    let packet = Packet::decode(reply, secret).map_err(|_| Unbelievable::Malformed)?;
    let signed = check_signature(reply, &authenticator(request)?, secret)?;
    if must_be_signed && !signed { Err(Unbelievable::NoMessageAuthenticator) } else { Ok(packet) }
}

/// A CoA- or Disconnect-Request as a packet, if it was made with the secret.
///
/// # Errors
/// When it was not, or is something else: it is not answered then.
pub fn open_order(order: &[u8], secret: &[u8]) -> Result<Packet, Unbelievable> {
    let order = whole(order)?;
    if !matches!(order.first().copied().map(Code::from), Some(Code::CoARequest | Code::DisconnectRequest)) {
        return Err(Unbelievable::Unasked);
    }
    if !Packet::is_authentic_request(order, secret) {
        return Err(Unbelievable::Authenticator);
    }
    let packet = Packet::decode(order, secret).map_err(|_| Unbelievable::Malformed)?;
    check_signature(order, &[0; 16], secret)?;
    Ok(packet)
}

/// The answer to an order: ACK, or NAK with its Error-Cause; with Message-Authenticator where the order had one, and its
/// Proxy-States as they were (RFC 5176 section 3.1).
///
/// # Errors
/// When it does not fit into a packet.
pub fn answer_order(order: &Packet, outcome: Result<(), ErrorCause>) -> Result<Vec<u8>, Unencodable> {
    let code = match (order.get_code(), outcome) {
        (Code::CoARequest, Ok(())) => Code::CoAACK,
        (Code::CoARequest, Err(_)) => Code::CoANAK,
        (_, Ok(())) => Code::DisconnectACK,
        (_, Err(_)) => Code::DisconnectNAK,
    };
    let mut answer = order.make_response_packet(code);
    if order.lookup(MESSAGE_AUTHENTICATOR).is_some() {
        answer.add(AVP::from_bytes(MESSAGE_AUTHENTICATOR, &[0; 16]));
    }
    if let Err(cause) = outcome {
        answer.add(AVP::from_u32(ERROR_CAUSE, cause as u32));
    }
    answer.extend(order.lookup_all(PROXY_STATE).into_iter().cloned().collect());
    let mut bytes = answer.encode().map_err(|cause| Unencodable::of(&cause))?;
    // The signature is reckoned with the order's authenticator, and the answer's own over the signature.
    if let Some(place) = bytes.get_mut(AUTHENTICATOR) {
        place.copy_from_slice(order.get_authenticator());
    }
    sign(&mut bytes, order.get_secret());
    let own: [u8; 16] = Md5::new().chain_update(&bytes).chain_update(order.get_secret()).finalize().into();
    if let Some(place) = bytes.get_mut(AUTHENTICATOR) {
        place.copy_from_slice(&own);
    }
    Ok(bytes)
}
