//! What a server allows, read from an Access-Accept or a CoA-Request. Pure.
//!
//! Where two attributes say the same thing, the lesser counts. 0 is no limit, as `CoovaChilli` and `RouterOS` have it. What
//! is not known is ignored; what is known and cannot be read refuses the whole: a limit must not become none by a slip.

use super::dictionary::*;
use super::values::{moment, rate_limit, shown, speed};
use lango_core::radius::{AccessOutcome, Authorization};
use lango_core::time::Wall;
use lango_core::units::{Bytes, Kbps, Seconds};
use radius::core::avp::AVPType;
use radius::core::code::Code;
use radius::core::packet::Packet;

/// The least time between two interim updates (RFC 2869 section 5.16).
const LEAST_INTERIM: u32 = 60;

/// Why an answer that is a server's own is not acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// An attribute with another length or form than it must have.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Whoever accepted does not know the password (RFC 2759 section 5).
    #[error("it accepts without the proof that MS-CHAPv2 asks of it")]
    NoProof,
}

/// What became of a question. `proof` is what MS-CHAP2-Success must say.
///
/// # Errors
/// When the answer cannot be acted on.
pub fn outcome(packet: &Packet, proof: Option<&str>) -> Result<AccessOutcome, Unusable> {
    if packet.get_code() == Code::AccessAccept {
        let authorization = authorization(packet)?;
        return match proof {
            Some(proof) if !proven(packet, proof)? => Err(Unusable::NoProof),
            _ => Ok(AccessOutcome::Accept(Box::new(authorization))),
        };
    }
    let message = match message(packet) {
        None => chap_message(packet),
        message => message,
    };
    Ok(AccessOutcome::Reject { message })
}

/// Reply-Message, all of them in their order.
fn message(packet: &Packet) -> Option<String> {
    shown(&packet.lookup_all(REPLY_MESSAGE).into_iter().map(|avp| avp.encode_bytes()).collect::<Vec<_>>())
}

/// Microsoft's attributes of a number, behind their first octet, which is the identifier.
fn microsoft(packet: &Packet, wanted: AVPType) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut found = Vec::new();
    for avp in packet.lookup_all(VENDOR_SPECIFIC) {
        for (vendor, number, value) in vendor_attributes(&avp.encode_bytes())? {
            if (vendor, number) == (MICROSOFT, wanted) {
                found.push(value.get(1..).unwrap_or_default().to_vec());
            }
        }
    }
    Ok(found)
}

fn proven(packet: &Packet, proof: &str) -> Result<bool, Malformed> {
    Ok(microsoft(packet, MS_CHAP2_SUCCESS)?.iter().any(|text| text.get(..proof.len()) == Some(proof.as_bytes())))
}

/// The text behind `M=` in MS-CHAP-Error (RFC 2759 section 6).
fn chap_message(packet: &Packet) -> Option<String> {
    let error = microsoft(packet, MS_CHAP_ERROR).ok()?.into_iter().next()?;
    let text = String::from_utf8_lossy(&error).into_owned();
    shown(&[text.split_once("M=")?.1.as_bytes().to_vec()])
}

/// The lesser of what was said.
fn lesser<T: Ord>(known: &mut Option<T>, said: Option<T>) {
    *known = match (known.take(), said) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
}

/// A limit of octets whose halves come in two attributes.
#[derive(Default)]
struct Halves {
    low: Option<u32>,
    high: Option<u32>,
}

impl Halves {
    fn bytes(&self) -> Option<Bytes> {
        let bytes = u64::from(self.high.unwrap_or_default()) << 32 | u64::from(self.low.unwrap_or_default());
        (bytes > 0).then_some(Bytes(bytes))
    }
}

/// What a packet allows.
///
/// # Errors
/// When an attribute that is known cannot be read.
pub fn authorization(packet: &Packet) -> Result<Authorization, Malformed> {
    let seconds = |of| Ok(first_number(packet, of)?.filter(|seconds| *seconds > 0).map(|seconds| Seconds(u64::from(seconds))));
    let string = |avp: &radius::core::avp::AVP| avp.encode_string().ok();
    let mut allowed = Authorization {
        time: seconds(SESSION_TIMEOUT)?,
        idle: seconds(IDLE_TIMEOUT)?,
        interim: seconds(ACCT_INTERIM_INTERVAL)?.map(|interim| interim.max(Seconds(u64::from(LEAST_INTERIM)))),
        package: packet.lookup_all(FILTER_ID).into_iter().find_map(|avp| string(avp)?.parse().ok()),
        class: packet.lookup_all(CLASS).into_iter().map(|avp| avp.encode_bytes()).collect(),
        user: packet.lookup(USER_NAME).and_then(|avp| string(avp)?.parse().ok()),
        message: message(packet),
        ..Authorization::default()
    };
    let (mut up, mut down, mut total) = (Halves::default(), Halves::default(), Halves::default());
    for avp in packet.lookup_all(VENDOR_SPECIFIC) {
        for (vendor, of, value) in vendor_attributes(&avp.encode_bytes())? {
            let kilobits = || number(of, value).map(|kilobits| (kilobits > 0).then_some(Kbps(u64::from(kilobits))));
            let octets = || number(of, value).map(|octets| (octets > 0).then_some(Bytes(u64::from(octets))));
            match (vendor, of) {
                (WISPR, WISPR_BANDWIDTH_MAX_UP) => lesser(&mut allowed.up_speed, speed(number(of, value)?.into())),
                (WISPR, WISPR_BANDWIDTH_MAX_DOWN) => lesser(&mut allowed.down_speed, speed(number(of, value)?.into())),
                (WISPR, WISPR_SESSION_TERMINATE_TIME) => lesser(&mut allowed.ends_at, Some(end(of, value)?)),
                (CHILLISPOT, CHILLISPOT_MAX_INPUT_OCTETS) => lesser(&mut allowed.up, octets()?),
                (CHILLISPOT, CHILLISPOT_MAX_OUTPUT_OCTETS) => lesser(&mut allowed.down, octets()?),
                (CHILLISPOT, CHILLISPOT_MAX_TOTAL_OCTETS) => lesser(&mut allowed.total, octets()?),
                (CHILLISPOT, CHILLISPOT_BANDWIDTH_MAX_UP) => lesser(&mut allowed.up_speed, kilobits()?),
                (CHILLISPOT, CHILLISPOT_BANDWIDTH_MAX_DOWN) => lesser(&mut allowed.down_speed, kilobits()?),
                (MIKROTIK, MIKROTIK_RECV_LIMIT) => up.low = Some(number(of, value)?),
                (MIKROTIK, MIKROTIK_RECV_LIMIT_GIGAWORDS) => up.high = Some(number(of, value)?),
                (MIKROTIK, MIKROTIK_XMIT_LIMIT) => down.low = Some(number(of, value)?),
                (MIKROTIK, MIKROTIK_XMIT_LIMIT_GIGAWORDS) => down.high = Some(number(of, value)?),
                (MIKROTIK, MIKROTIK_TOTAL_LIMIT) => total.low = Some(number(of, value)?),
                (MIKROTIK, MIKROTIK_TOTAL_LIMIT_GIGAWORDS) => total.high = Some(number(of, value)?),
                (MIKROTIK, MIKROTIK_RATE_LIMIT) => {
                    let (up, down) = std::str::from_utf8(value).ok().and_then(rate_limit).ok_or(Malformed(of))?;
                    lesser(&mut allowed.up_speed, up);
                    lesser(&mut allowed.down_speed, down);
                }
                _ => {}
            }
        }
    }
    lesser(&mut allowed.up, up.bytes());
    lesser(&mut allowed.down, down.bytes());
    lesser(&mut allowed.total, total.bytes());
    Ok(allowed)
}

fn end(of: AVPType, value: &[u8]) -> Result<Wall, Malformed> {
    std::str::from_utf8(value).ok().and_then(moment).ok_or(Malformed(of))
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
