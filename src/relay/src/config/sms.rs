//! `[sms]`: who sends texts to customers.

use super::{Checker, raw};
use crate::sms::gateway::{Config, Provider};
use crate::sms::words;
use lango_core::language::Language;
use toml::Spanned;
use url::Url;

/// More than any one hotspot sells in a day.
const DAILY: u64 = 2_000;

impl Checker<'_> {
    /// Nothing where no SMS are wanted, and where something is wrong: the mistakes tell which.
    pub(super) fn sms(&mut self, sms: &raw::Sms) -> Option<Config> {
        let name = sms.provider.get_ref().as_str();
        let (provider, usual) = match name {
            "none" => return None,
            "africastalking" => (Provider::AfricasTalking, "https://api.africastalking.com"),
            "twilio" => (Provider::Twilio, "https://api.twilio.com"),
            _ => {
                self.wrong(&sms.provider, "provider must be \"africastalking\", \"twilio\" or \"none\"");
                return None;
            }
        };
        let username = self.needed(sms, sms.username.as_ref(), "username");
        let api_key = self.needed(sms, sms.api_key.as_ref(), "api_key").and_then(|key| self.password(key, "api_key"));
        if let Some(account) = username.filter(|account| provider == Provider::Twilio && !is_sid(account.get_ref(), "AC")) {
            self.wrong(
                account,
                "username must be the account's SID, as Twilio's console shows it: AC and 32 hex digits; api_key is its auth token",
            );
        }
        let sender = match (&sms.sender, provider) {
            (None, Provider::Twilio) => {
                self.wrong(
                    &sms.provider,
                    "provider \"twilio\" needs sender = \"…\": a number of yours, a name, or a messaging service (MG…)",
                );
                None
            }
            (None, Provider::AfricasTalking) => None,
            (Some(sender), _) => {
                if !is_sender(sender.get_ref(), provider) {
                    self.wrong(sender, wanted(provider));
                }
                Some(sender.get_ref().clone())
            }
        };
        let base_url = self.gateway_url(sms.base_url.as_ref(), usual);
        let language = match &sms.language {
            None => "en".parse().ok(),
            Some(text) => {
                let known = text.get_ref().parse().ok().filter(|language: &Language| words::speaks(*language));
                if known.is_none() {
                    self.wrong(text, "language must be \"en\" or \"sw\": it is for customers whose own is not known");
                }
                known
            }
        };
        let only_waiting = match sms.credentials.as_ref().map(|text| (text, text.get_ref().as_str())) {
            None | Some((_, "always")) => false,
            Some((_, "waiting")) => true,
            Some((text, _)) => {
                self.wrong(text, "credentials must be \"always\", or \"waiting\" (only for those who did not go online at once)");
                false
            }
        };
        let daily = sms.daily.as_ref().map_or(DAILY, |daily| *daily.get_ref());
        if let Some(none) = sms.daily.as_ref().filter(|daily| *daily.get_ref() == 0) {
            self.wrong(none, "daily must be at least 1, in digits: the most texts that one router may have sent within a day; without any: provider = \"none\"");
        }
        let username = username?.get_ref().clone();
        Some(Config { provider, base_url: base_url?, username, api_key: api_key?, sender, language: language?, only_waiting, daily })
    }

    fn needed<'a>(&mut self, sms: &raw::Sms, value: Option<&'a Spanned<String>>, key: &str) -> Option<&'a Spanned<String>> {
        let given = value.filter(|text| !text.get_ref().is_empty());
        if given.is_none() {
            self.wrong(&sms.provider, format!("provider \"{}\" needs {key} = \"…\"", sms.provider.get_ref()));
        }
        given
    }

    fn gateway_url(&mut self, value: Option<&Spanned<String>>, usual: &str) -> Option<String> {
        let Some(value) = value else { return Some(usual.to_owned()) };
        let text = value.get_ref().trim_end_matches('/');
        let plain =
            |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.username().is_empty();
        if Url::parse(text).is_ok_and(|url| plain(&url)) {
            return Some(text.to_owned());
        }
        self.wrong(value, format!("base_url must be the SMS gateway's address, as \"{usual}\""));
        None
    }
}

fn is_sid(text: &str, kind: &str) -> bool {
    text.strip_prefix(kind).is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_sender(text: &str, provider: Provider) -> bool {
    // What a phone can show (3GPP TS 23.040: 11 characters), and a short code or number in digits.
    let name = (1..=11).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b" -_.&".contains(&b));
    let number =
        text.strip_prefix('+').is_some_and(|digits| (8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()));
    match provider {
        Provider::AfricasTalking => name,
        Provider::Twilio => name || number || is_sid(text, "MG"),
    }
}

fn wanted(provider: Provider) -> &'static str {
    match provider {
        Provider::AfricasTalking => {
            "sender must be the registered name or short code, at most 11 characters; leave it out for the gateway's own"
        }
        Provider::Twilio => {
            "sender must be a number of yours as \"+15005550006\", a name of at most 11 characters, or a messaging service's SID (MG…)"
        }
    }
}
