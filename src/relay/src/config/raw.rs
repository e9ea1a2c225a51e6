//! The config's form, key by key, as serde reads it. An unknown key is a mistake: most likely a known one, misspelt.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use toml::Spanned;

/// A number that is a name: digits in quotes, and a whole number just as well, because people leave the quotes out.
pub(super) struct Digits(pub(super) String);

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Digits;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("digits, as \"174379\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Digits, E> {
                Ok(Digits(text.to_owned()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Digits, E> {
                Ok(Digits(number.to_string()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Digits, E> {
                Ok(Digits(number.to_string()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) listen: Spanned<String>,
    pub(super) public_url: Spanned<String>,
    pub(super) database: Spanned<String>,
    pub(super) signing_key: Spanned<String>,
    pub(super) mqtt: Mqtt,
    pub(super) mpesa: Mpesa,
    pub(super) callbacks: Option<Callbacks>,
    pub(super) sms: Option<Sms>,
    pub(super) radius_sql: Option<RadiusSql>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mqtt {
    pub(super) broker: Spanned<String>,
    pub(super) public_broker: Option<Spanned<String>>,
    pub(super) ca: Option<Spanned<String>>,
    pub(super) username: Spanned<String>,
    pub(super) password: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mpesa {
    pub(super) base_url: Spanned<String>,
    pub(super) consumer_key: Spanned<String>,
    pub(super) consumer_secret: Spanned<String>,
    pub(super) shortcode: Spanned<Digits>,
    pub(super) passkey: Spanned<String>,
    pub(super) transaction_type: Spanned<String>,
    pub(super) till: Option<Spanned<Digits>>,
    pub(super) initiator: Option<Spanned<String>>,
    pub(super) security_credential: Option<Spanned<String>>,
    pub(super) c2b_default: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Callbacks {
    pub(super) sources: Vec<Spanned<String>>,
    pub(super) proxies: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sms {
    pub(super) provider: Spanned<String>,
    pub(super) base_url: Option<Spanned<String>>,
    pub(super) username: Option<Spanned<String>>,
    pub(super) api_key: Option<Spanned<String>>,
    pub(super) sender: Option<Spanned<String>>,
    pub(super) language: Option<Spanned<String>>,
    pub(super) credentials: Option<Spanned<String>>,
    pub(super) daily: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RadiusSql {
    pub(super) database: Spanned<String>,
    pub(super) interim: Option<Spanned<u32>>,
}
