//! The quantities of the field, one type each, parsed at the edge and valid ever after.

use crate::text::Text;
use serde::{Deserialize, Serialize, de};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Why a text is not the quantity that it should be. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct Invalid {
    /// The quantity, as a user knows it.
    pub what: &'static str,
    /// What would be accepted.
    pub rule: &'static str,
}

const fn invalid(what: &'static str, rule: &'static str) -> Invalid {
    Invalid { what, rule }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);
            /// The sum, at most the largest value.
            #[must_use]
            pub const fn plus(self, other: Self) -> Self { Self(self.0.saturating_add(other.0)) }
            /// The difference, at least zero.
            #[must_use]
            pub const fn minus(self, other: Self) -> Self { Self(self.0.saturating_sub(other.0)) }
            /// Whether nothing is left.
            #[must_use]
            pub const fn is_zero(self) -> bool { self.0 == 0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
    };
}

number! {
    /// Whole Kenya shillings. M-Pesa moves no cents from customers (Daraja, MpesaExpressSimulate: Amount).
    Shillings
}
number! {
    /// Octets as the kernel counts them: whole IP packets, headers included.
    Bytes
}
number! {
    /// Whole seconds, as customers and RADIUS count.
    Seconds
}
number! {
    /// Milliseconds: a length of time, as the kernel's timeouts count.
    Millis
}
number! {
    /// Kilobits (1,000 bits) a second.
    Kbps
}

impl Bytes {
    /// The price lists' unit: 1 MB = 1,000,000 bytes.
    #[must_use]
    pub const fn from_megabytes(megabytes: u64) -> Self {
        Self(megabytes.saturating_mul(1_000_000))
    }
}

impl Millis {
    /// `seconds` as milliseconds.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }
    /// `minutes` as milliseconds.
    #[must_use]
    pub const fn from_minutes(minutes: u64) -> Self {
        Self(minutes.saturating_mul(60_000))
    }
    /// Whole seconds; a started second counts as a whole one, so that nobody is told 0 while still online.
    #[must_use]
    pub const fn as_seconds_ceil(self) -> Seconds {
        Seconds(self.0.div_ceil(1_000))
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

/// An Ethernet address (EUI-48): what the gate knows a device by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: Invalid = invalid("a MAC address", "six pairs of hex digits, as 02:00:5e:10:00:01");
        let mut octets = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().ok_or(RULE)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(RULE);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| RULE)?;
        }
        // The group bit marks multicast and broadcast: no device sends from such an address (IEEE 802).
        if parts.next().is_some() || octets[0] & 1 == 1 || octets == [0; 6] {
            return Err(RULE);
        }
        Ok(Self(octets))
    }
}
as_text!(Mac);

/// A Kenyan mobile number as M-Pesa takes it: `2547XXXXXXXX` or `2541XXXXXXXX`.
///
/// Sub-prefixes are not checked: numbers are portable between networks.
/// `Debug` and `Display` show it masked, so that no log holds a customer's number; [`Msisdn::digits`] gives it whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msisdn(NonZeroU64);

impl Msisdn {
    /// The twelve digits, with the country code and without a plus.
    #[must_use]
    pub fn digits(self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        write!(f, "{}*****{}", digits.get(..4).unwrap_or_default(), digits.get(9..).unwrap_or_default())
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Msisdn {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: Invalid = invalid("a phone number", "a Kenyan mobile number, as 0712345678");
        if text.len() > 32 {
            return Err(RULE);
        }
        let mut digits = String::with_capacity(12);
        for (index, c) in text.trim().chars().enumerate() {
            match c {
                '0'..='9' => digits.push(c),
                '+' if index == 0 => {}
                ' ' | '-' | '(' | ')' | '\u{a0}' => {}
                _ => return Err(RULE),
            }
        }
        let subscriber = match digits.len() {
            10 => digits.strip_prefix('0'),
            12 => digits.strip_prefix("254"),
            9 => Some(digits.as_str()),
            _ => None,
        }
        .ok_or(RULE)?;
        if !subscriber.starts_with(['7', '1']) {
            return Err(RULE);
        }
        let number: u64 = subscriber.parse().map_err(|_| RULE)?;
        NonZeroU64::new(254_000_000_000 + number).map(Self).ok_or(RULE)
    }
}

impl Serialize for Msisdn {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.digits())
    }
}
impl<'de> Deserialize<'de> for Msisdn {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $max:literal, $accept:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Text);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str { self.0.as_str() }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }
        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                let accept: fn(u8) -> bool = $accept;
                if text.is_empty() || text.len() > $max || !text.bytes().all(accept) {
                    return Err(invalid($what, $rule));
                }
                Ok(Self(text.into()))
            }
        }
        as_text!($name);
    };
}

name! {
    /// A router's name in its fleet. Also its MQTT user name and a level of its topics, so it holds none of `/ + #`.
    RouterName, "a router's name", "1 to 63 letters, digits, '-' or '_'", 63,
    |b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}
name! {
    /// A package's id: the name of its UCI section.
    PackageId, "a package's id", "1 to 32 letters, digits or '_'", 32,
    |b| b.is_ascii_alphanumeric() || b == b'_'
}
name! {
    /// A payment order's id, made by the router: 26 digits and lower-case letters (130 bits of randomness).
    /// It is the `ID` of `/api/payments/ID` and the key by which router and relay speak of the payment.
    OrderId, "a payment's id", "26 digits or lower-case letters", 26,
    |b| b.is_ascii_digit() || b.is_ascii_lowercase()
}
impl OrderId {
    /// What sorts before every id: where a search for the ids of something begins. It is no id itself.
    pub(crate) const fn before_all() -> Self {
        Self(Text::empty())
    }
}

name! {
    /// The id of one message between router and relay; resending keeps it.
    MessageId, "a message's id", "1 to 40 digits, lower-case letters or '-'", 40,
    |b| b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'-'
}
name! {
    /// An M-Pesa receipt, as `NLJ7RT61SV`: what the customer's confirmation SMS begins with.
    Receipt, "an M-Pesa receipt", "8 to 12 capital letters and digits, as NLJ7RT61SV", 12,
    |b| b.is_ascii_digit() || b.is_ascii_uppercase()
}
name! {
    /// The name that a customer logs in with.
    Username, "a user name", "1 to 63 printable characters without spaces", 63,
    |b| b.is_ascii_graphic()
}

/// A password. `Debug` hides it; it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Text);

impl Password {
    /// Takes a password as typed.
    ///
    /// # Errors
    /// When it is empty or longer than RADIUS can carry (RFC 2865 section 5.2: 128 octets).
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > 128 {
            return Err(invalid("a password", "1 to 128 characters"));
        }
        Ok(Self(text.into()))
    }
    /// The password in clear, for those who must show or send it. Never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }
    /// Compares in a time that does not tell how much of it was right.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let (a, b) = (self.reveal().as_bytes(), other.reveal().as_bytes());
        let differing = a.iter().zip(b).fold(0u8, |acc, (x, y)| acc | (x ^ y));
        a.len() == b.len() && differing == 0
    }
}

impl Serialize for Password {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.reveal())
    }
}
impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(d).map(|text| Self(text.as_ref().into()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_numbers_as_people_type_them() {
        for (typed, digits) in [
            ("0712345678", "254712345678"),
            ("712345678", "254712345678"),
            ("+254 712 345-678", "254712345678"),
            ("254712345678", "254712345678"),
            (" 0112345678 ", "254112345678"),
            ("(0181) 234567", "254181234567"),
        ] {
            assert_eq!(typed.parse::<Msisdn>().expect(typed).digits(), digits);
        }
        for typed in ["", "07123", "07123456789", "0812345678", "0712a45678", "255712345678", "+", "٠٧١٢٣٤٥٦٧٨", "07+12345678"] {
            assert!(typed.parse::<Msisdn>().is_err(), "{typed} was taken");
        }
    }

    #[test]
    fn a_phone_number_is_masked_wherever_it_is_printed() {
        let phone: Msisdn = "0712345678".parse().unwrap();
        assert_eq!(format!("{phone} {phone:?}"), "2547*****678 2547*****678");
    }

    #[test]
    fn a_mac_is_a_device_s_own() {
        assert_eq!("02-00-5E-10-00-01".parse::<Mac>().unwrap().to_string(), "02:00:5e:10:00:01");
        for text in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:01:02",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "2:0:5e:10:0:1",
            "+2:00:5e:10:00:01",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text} was taken");
        }
    }

    #[test]
    fn passwords_hide_and_compare() {
        let password = Password::new("k7m2p9").unwrap();
        assert_eq!(format!("{password:?}"), "Password(***)");
        assert!(password.matches(&Password::new("k7m2p9").unwrap()));
        assert!(!password.matches(&Password::new("k7m2p").unwrap()));
        assert!(!password.matches(&Password::new("k7m2p8").unwrap()));
    }

    #[test]
    fn names_keep_to_their_alphabets() {
        assert!("kibera-7".parse::<RouterName>().is_ok());
        assert!("kibera/7".parse::<RouterName>().is_err());
        assert!("kibera+".parse::<RouterName>().is_err());
        assert!("NLJ7RT61SV".parse::<Receipt>().is_ok());
        assert!("nlj7rt61sv".parse::<Receipt>().is_err());
        assert!("hour".parse::<PackageId>().is_ok());
        assert!("an hour".parse::<PackageId>().is_err());
    }
}
