//! The language that a customer reads.

use crate::units::Invalid;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A language by its two letters (ISO 639-1), as `en` or `sw`: the names of the portal's files of texts. Which of them the
/// relay has texts in is the relay's to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language([u8; 2]);

impl Language {
    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // They are ASCII: nothing else is ever taken in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Language {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_lowercase() && b.is_ascii_lowercase() => Ok(Self([*a, *b])),
            _ => Err(Invalid { what: "a language", rule: "two lower-case letters, as en or sw" }),
        }
    }
}

impl Serialize for Language {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_letters_and_nothing_else() {
        let swahili: Language = "sw".parse().unwrap();
        assert_eq!((swahili.to_string().as_str(), serde_json::to_string(&swahili).unwrap().as_str()), ("sw", r#""sw""#));
        assert_eq!(serde_json::from_str::<Language>(r#""sw""#).unwrap(), swahili);
        for text in ["", "s", "SW", "swa", "s1", "é"] {
            assert!(text.parse::<Language>().is_err(), "{text}");
        }
    }
}
