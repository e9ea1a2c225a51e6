//! The config's form, key by key, as serde reads it. An unknown key is a mistake: most likely a known one, misspelt.

use serde::Deserialize;
use toml::Spanned;

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
    pub(super) shortcode: Spanned<String>,
    pub(super) passkey: Spanned<String>,
    pub(super) transaction_type: Spanned<String>,
    pub(super) till: Option<Spanned<String>>,
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
