//! Who paid, as far as M-Pesa tells: a whole number, one of which it shows some digits, or nothing. Pure.

use crate::units::{Invalid, Msisdn};
use serde::{Deserialize, Serialize, de};
use std::fmt;
use std::str::FromStr;

/// Digits of a number: `254` and nine more.
const LENGTH: usize = 12;
/// A number of which fewer of the last digits are shown fits too many people.
const TELLING: usize = 3;

/// Twelve places, each a digit or unknown: `254712345678`, `2547*****678`, or twelve stars.
///
/// M-Pesa masks the numbers of those who pay by hand, in more than one way (`2547 ***** 126`, `25470****149`). `Debug` and
/// `Display` show no more than a masked number does; [`Payer::text`] gives it whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Payer([u8; LENGTH]);

impl Payer {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self([b'*'; LENGTH]);

    /// All twelve places, as it is stored and sent.
    #[must_use]
    pub fn text(self) -> String {
        self.0.iter().map(|place| char::from(*place)).collect()
    }

    /// The number, where all of it is known.
    #[must_use]
    pub fn phone(self) -> Option<Msisdn> {
        self.text().parse().ok()
    }

    /// Whether nothing at all is known.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        self == Self::UNKNOWN
    }

    /// Whether this may well be the number: all that is shown agrees, and the last digits are shown.
    #[must_use]
    pub fn matches(self, phone: Msisdn) -> bool {
        let digits = phone.digits();
        let shown_last = self.0.iter().rev().take_while(|place| place.is_ascii_digit()).count();
        shown_last >= TELLING && self.0.iter().zip(digits.bytes()).all(|(place, digit)| *place == b'*' || *place == digit)
    }
}

impl From<Msisdn> for Payer {
    fn from(phone: Msisdn) -> Self {
        let mut places = [b'*'; LENGTH];
        for (place, digit) in places.iter_mut().zip(phone.digits().bytes()) {
            *place = digit;
        }
        Self(places)
    }
}

impl FromStr for Payer {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: Invalid =
            Invalid { what: "a payer's number", rule: "a mobile number, or one with some digits as '*', as 2547*****678" };
        if text.len() > 32 {
            return Err(RULE);
        }
        if let Ok(phone) = text.parse::<Msisdn>() {
            return Ok(phone.into());
        }
        let mut shown = String::new();
        for c in text.trim().trim_start_matches('+').chars() {
            match c {
                '0'..='9' | '*' => shown.push(c),
                'x' | 'X' => shown.push('*'),
                ' ' | '-' => {}
                _ => return Err(RULE),
            }
        }
        // How many stars stand there says little: what counts is which digits it begins and ends with.
        let (Some(first), Some(last)) = (shown.find('*'), shown.rfind('*')) else { return Err(RULE) };
        let (mut begins, ends) = (shown[..first].to_owned(), &shown[last + 1..]);
        if let Some(national) = begins.strip_prefix('0') {
            begins = format!("254{national}");
        }
        let fits = begins.len() + ends.len() < LENGTH && (begins.is_empty() || "254".starts_with(&begins) || begins.starts_with("254"));
        if !fits || shown[first..=last].bytes().any(|b| b != b'*') {
            return Err(RULE);
        }
        let mut places = [b'*'; LENGTH];
        places.iter_mut().zip(begins.bytes()).for_each(|(place, digit)| *place = digit);
        places.iter_mut().rev().zip(ends.bytes().rev()).for_each(|(place, digit)| *place = digit);
        Ok(Self(places))
    }
}

impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phone() {
            Some(phone) => phone.fmt(f),
            None => f.write_str(&self.text()),
        }
    }
}

impl fmt::Debug for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Payer {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text())
    }
}
impl<'de> Deserialize<'de> for Payer {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_m_pesa_shows_them() {
        for (text, places) in [
            ("254712345678", "254712345678"),
            ("0712345678", "254712345678"),
            ("2547 ***** 126", "2547*****126"),
            ("25470****149", "25470****149"),
            ("254****149", "254******149"),
            ("07XX XXX 149", "2547*****149"),
            ("*********149", "*********149"),
            ("************", "************"),
        ] {
            assert_eq!(text.parse::<Payer>().unwrap().text(), places, "{text}");
        }
        for text in ["", "1", "2557*****126", "2547**3**126", "254712345678*", "a*1", "0812345678"] {
            assert!(text.parse::<Payer>().is_err(), "{text}");
        }
    }

    #[test]
    fn who_it_may_be() {
        for (payer, phone, fits) in [
            ("254712345678", "0712345678", true),
            ("254712345678", "0712345679", false),
            ("2547*****678", "0712345678", true),
            ("2547*****678", "0112345678", false),
            ("2547*****679", "0712345678", false),
            // Two digits are one in a hundred.
            ("2547******78", "0712345678", false),
            ("************", "0712345678", false),
        ] {
            assert_eq!(payer.parse::<Payer>().unwrap().matches(phone.parse().unwrap()), fits, "{payer} {phone}");
        }
        assert_eq!("2547*****678".parse::<Payer>().unwrap().phone(), None);
        assert!(Payer::UNKNOWN.is_unknown());
    }

    #[test]
    fn no_log_holds_a_number() {
        let payer: Payer = "254712345678".parse().unwrap();
        assert_eq!(format!("{payer} {payer:?}"), "2547*****678 2547*****678");
        assert_eq!(serde_json::to_string(&payer).unwrap(), r#""254712345678""#, "whole where it must be");
    }
}
