//! The attributes that are spoken here, by number, and vendors' attributes in and out of attribute 26. Pure.

use radius::core::avp::{AVP, AVPType};
use radius::core::packet::Packet;

macro_rules! attributes {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => { $($(#[$doc])* pub const $name: AVPType = $number;)* };
}

attributes! {
    /// RFC 2865 section 5.1.
    USER_NAME = 1;
    /// RFC 2865 section 5.2.
    USER_PASSWORD = 2;
    /// RFC 2865 section 5.3.
    CHAP_PASSWORD = 3;
    /// RFC 2865 section 5.4.
    NAS_IP_ADDRESS = 4;
    /// RFC 2865 section 5.6.
    SERVICE_TYPE = 6;
    /// RFC 2865 section 5.8.
    FRAMED_IP_ADDRESS = 8;
    /// RFC 2865 section 5.11.
    FILTER_ID = 11;
    /// RFC 2865 section 5.18.
    REPLY_MESSAGE = 18;
    /// RFC 2865 section 5.25.
    CLASS = 25;
    /// RFC 2865 section 5.26.
    VENDOR_SPECIFIC = 26;
    /// RFC 2865 section 5.27: seconds.
    SESSION_TIMEOUT = 27;
    /// RFC 2865 section 5.28: seconds.
    IDLE_TIMEOUT = 28;
    /// RFC 2865 section 5.30.
    CALLED_STATION_ID = 30;
    /// RFC 2865 section 5.31.
    CALLING_STATION_ID = 31;
    /// RFC 2865 section 5.32.
    NAS_IDENTIFIER = 32;
    /// RFC 2865 section 5.33.
    PROXY_STATE = 33;
    /// RFC 2866 section 5.1.
    ACCT_STATUS_TYPE = 40;
    /// RFC 2866 section 5.2: seconds.
    ACCT_DELAY_TIME = 41;
    /// RFC 2866 section 5.3: from the device.
    ACCT_INPUT_OCTETS = 42;
    /// RFC 2866 section 5.4: to the device.
    ACCT_OUTPUT_OCTETS = 43;
    /// RFC 2866 section 5.5.
    ACCT_SESSION_ID = 44;
    /// RFC 2866 section 5.6.
    ACCT_AUTHENTIC = 45;
    /// RFC 2866 section 5.7: seconds.
    ACCT_SESSION_TIME = 46;
    /// RFC 2866 section 5.10.
    ACCT_TERMINATE_CAUSE = 49;
    /// RFC 2869 section 5.1: how often the octets went over 2^32.
    ACCT_INPUT_GIGAWORDS = 52;
    /// RFC 2869 section 5.2.
    ACCT_OUTPUT_GIGAWORDS = 53;
    /// RFC 2869 section 5.3: seconds since 1970.
    EVENT_TIMESTAMP = 55;
    /// RFC 2865 section 5.40.
    CHAP_CHALLENGE = 60;
    /// RFC 2865 section 5.41.
    NAS_PORT_TYPE = 61;
    /// RFC 2869 section 5.14, RFC 3579 section 3.2.
    MESSAGE_AUTHENTICATOR = 80;
    /// RFC 2869 section 5.16: seconds.
    ACCT_INTERIM_INTERVAL = 85;
    /// RFC 3162 section 2.1.
    NAS_IPV6_ADDRESS = 95;
    /// RFC 5176 section 3.5.
    ERROR_CAUSE = 101;
    /// RFC 6911 section 3.1.
    FRAMED_IPV6_ADDRESS = 168;
}

/// A vendor's number (IANA private enterprise numbers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vendor(pub u32);

/// RFC 2548.
pub const MICROSOFT: Vendor = Vendor(311);
/// The Wi-Fi Alliance's roaming attributes.
pub const WISPR: Vendor = Vendor(14_122);
/// `CoovaChilli`'s.
pub const CHILLISPOT: Vendor = Vendor(14_559);
/// `RouterOS`'s.
pub const MIKROTIK: Vendor = Vendor(14_988);

attributes! {
    /// RFC 2548 section 2.1.5.
    MS_CHAP_ERROR = 2;
    /// RFC 2548 section 2.1.2.
    MS_CHAP_CHALLENGE = 11;
    /// RFC 2548 section 2.3.2.
    MS_CHAP2_RESPONSE = 25;
    /// RFC 2548 section 2.3.3.
    MS_CHAP2_SUCCESS = 26;

    /// `isocc=ke,cc=254,ac=20,network=…`.
    WISPR_LOCATION_ID = 1;
    /// `OPERATOR,PLACE`.
    WISPR_LOCATION_NAME = 2;
    /// Bits a second from the device.
    WISPR_BANDWIDTH_MAX_UP = 7;
    /// Bits a second to the device.
    WISPR_BANDWIDTH_MAX_DOWN = 8;
    /// ISO 8601.
    WISPR_SESSION_TERMINATE_TIME = 9;

    /// Octets from the device.
    CHILLISPOT_MAX_INPUT_OCTETS = 1;
    /// Octets to the device.
    CHILLISPOT_MAX_OUTPUT_OCTETS = 2;
    /// Octets both ways.
    CHILLISPOT_MAX_TOTAL_OCTETS = 3;
    /// Kilobits a second from the device.
    CHILLISPOT_BANDWIDTH_MAX_UP = 4;
    /// Kilobits a second to the device.
    CHILLISPOT_BANDWIDTH_MAX_DOWN = 5;

    /// Octets from the device.
    MIKROTIK_RECV_LIMIT = 1;
    /// Octets to the device.
    MIKROTIK_XMIT_LIMIT = 2;
    /// `RX[/TX]` and more, bits a second; RX is from the device.
    MIKROTIK_RATE_LIMIT = 8;
    /// With `MIKROTIK_RECV_LIMIT`: times 2^32.
    MIKROTIK_RECV_LIMIT_GIGAWORDS = 14;
    /// With `MIKROTIK_XMIT_LIMIT`.
    MIKROTIK_XMIT_LIMIT_GIGAWORDS = 15;
    /// Octets both ways.
    MIKROTIK_TOTAL_LIMIT = 17;
    /// With `MIKROTIK_TOTAL_LIMIT`.
    MIKROTIK_TOTAL_LIMIT_GIGAWORDS = 18;
}

/// An attribute that cannot be read as what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("attribute {0} cannot be read")]
pub struct Malformed(pub AVPType);

/// A vendor's attribute: its number and its value.
pub type VendorAttribute<'a> = (Vendor, AVPType, &'a [u8]);

/// The vendors' attributes of one attribute 26: one, or several of the same vendor (RFC 2865 section 5.26). Vendors that are
/// not known here may form theirs as they like, and are left out.
///
/// # Errors
/// When it is too short for a vendor, or a known vendor's attributes do not fill it.
pub fn vendor_attributes(value: &[u8]) -> Result<Vec<VendorAttribute<'_>>, Malformed> {
    const WRONG: Malformed = Malformed(VENDOR_SPECIFIC);
    let (vendor, mut rest) = value.split_first_chunk::<4>().ok_or(WRONG)?;
    let vendor = Vendor(u32::from_be_bytes(*vendor));
    if ![MICROSOFT, WISPR, CHILLISPOT, MIKROTIK].contains(&vendor) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    while let [number, length, ..] = *rest {
        let value = rest.get(2..usize::from(length)).ok_or(WRONG)?;
        found.push((vendor, number, value));
        rest = rest.get(usize::from(length)..).ok_or(WRONG)?;
    }
    if rest.is_empty() && !found.is_empty() { Ok(found) } else { Err(WRONG) }
}

/// A vendor's attribute as an attribute 26 of its own; a value of more than 247 bytes is cut there.
#[must_use]
pub fn vendor_attribute(vendor: Vendor, number: AVPType, value: &[u8]) -> AVP {
    let value = value.get(..247).unwrap_or(value);
    let mut bytes = vendor.0.to_be_bytes().to_vec();
    bytes.push(number);
    bytes.push(u8::try_from(value.len() + 2).unwrap_or(u8::MAX));
    bytes.extend_from_slice(value);
    AVP::from_bytes(VENDOR_SPECIFIC, &bytes)
}

/// A text as an attribute; what is over 253 bytes is cut, between characters.
#[must_use]
pub fn text(number: AVPType, text: &str) -> AVP {
    let end = (0..=text.len().min(253)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    AVP::from_string(number, text.get(..end).unwrap_or_default())
}

/// A number of four octets.
///
/// # Errors
/// When it has another length.
pub fn number(number: AVPType, value: &[u8]) -> Result<u32, Malformed> {
    value.try_into().map(u32::from_be_bytes).map_err(|_| Malformed(number))
}

/// The first attribute of a number that a packet has, as a number.
///
/// # Errors
/// When it has another length.
pub fn first_number(packet: &Packet, of: AVPType) -> Result<Option<u32>, Malformed> {
    packet.lookup(of).map(|avp| number(of, &avp.encode_bytes())).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_attributes_of_a_vendor_in_one() {
        let mut value = WISPR.0.to_be_bytes().to_vec();
        value.extend([7, 6, 0, 0, 0, 1, 8, 6, 0, 0, 0, 2, 9, 2]);
        assert_eq!(vendor_attributes(&value).unwrap(), [(WISPR, 7, &[0, 0, 0, 1][..]), (WISPR, 8, &[0, 0, 0, 2][..]), (WISPR, 9, &[][..])]);
        let one = vendor_attribute(MIKROTIK, MIKROTIK_RATE_LIMIT, b"1M/2M").encode_bytes();
        assert_eq!(vendor_attributes(&one).unwrap(), [(MIKROTIK, 8, &b"1M/2M"[..])]);
    }

    #[test]
    fn a_vendor_s_attributes_fill_theirs_or_are_refused() {
        for wrong in [
            &[][..],
            &[0, 0, 55],
            &[0, 0, 55, 42],
            &[0, 0, 55, 42, 1],
            &[0, 0, 55, 42, 1, 1],
            &[0, 0, 55, 42, 1, 0],
            &[0, 0, 55, 42, 1, 4, 1],
            &[0, 0, 55, 42, 1, 3, 1, 9],
        ] {
            let mut value = wrong.to_vec();
            if value.len() >= 4 {
                value[..4].copy_from_slice(&WISPR.0.to_be_bytes());
            }
            assert_eq!(vendor_attributes(&value), Err(Malformed(26)), "{wrong:?}");
        }
        assert_eq!(vendor_attributes(&[0, 0, 0, 9, 1]), Ok(vec![]), "Cisco's are Cisco's");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let written = text(18, &"é".repeat(200)).encode_string().unwrap();
        assert_eq!(written, "é".repeat(126));
        assert_eq!(vendor_attribute(WISPR, 1, &[b'x'; 300]).encode_bytes().len(), 253);
    }
}
