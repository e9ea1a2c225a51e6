//! The relay's config: TOML in, a valid [`Config`] out, or every mistake with its line.

mod raw;
mod sms;

use crate::daraja::Credentials;
use crate::daraja::c2b::ResponseType;
use crate::daraja::org::Initiator;
use crate::daraja::wire::{Account, Merchant};
use crate::ledger::Place;
use crate::sources::{Network, Sources};
use lango_core::units::Password;
use raw::{Digits, Mpesa, Mqtt, Raw};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use toml::Spanned;
use url::Url;

/// Words that Daraja refuses in a callback's address (portal, MpesaExpressSimulate), in whatever case.
const FORBIDDEN_WORDS: [&str; 8] = ["m-pesa", "mpesa", "safaricom", "exe", "exec", "cmd", "sql", "query"];

/// A config that can be used.
pub struct Config {
    /// Where callbacks arrive.
    pub listen: SocketAddr,
    /// How Safaricom reaches that, without a slash at the end.
    pub public_url: String,
    /// Where the ledger is.
    pub database: Place,
    /// The signing key's file.
    pub signing_key: PathBuf,
    /// The broker.
    pub broker: Broker,
    /// What routers are told as the broker's address.
    pub public_broker: String,
    /// M-Pesa.
    pub mpesa: Credentials,
    /// From where callbacks are taken.
    pub callbacks: Sources,
    /// Who sends texts to customers, where they are sent.
    pub sms: Option<crate::sms::gateway::Config>,
    /// The RADIUS server's database, for accounts that roam.
    pub radius: Option<crate::radius::Config>,
    /// Where in the file things are named that are looked at later.
    pub lines: Lines,
}

/// Lines of the config, from 1.
pub struct Lines {
    /// Of `database`.
    pub database: usize,
    /// Of `signing_key`.
    pub signing_key: usize,
}

/// The broker and our account there.
pub struct Broker {
    /// Its address, as configured.
    pub url: String,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
    /// A certificate authority of its own, in PEM; the system's otherwise.
    pub ca: Option<PathBuf>,
    /// Our user name. Our client id is made of it.
    pub username: String,
    /// Our password.
    pub password: Password,
}

/// One thing that is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// In words for the operator.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.text)
    }
}

struct Checker<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

/// Reads a config.
///
/// # Errors
/// With every mistake that was found.
pub fn parse(text: &str) -> Result<Config, Vec<Mistake>> {
    let mut checker = Checker { text, mistakes: Vec::new() };
    let raw: Raw = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            // serde names what is wrong and, for an unknown key, the known ones; over several lines at times.
            checker.mistake(at, error.message().split_whitespace().collect::<Vec<_>>().join(" "));
            return Err(checker.mistakes);
        }
    };
    match checker.check(&raw) {
        Some(config) if checker.mistakes.is_empty() => Ok(config),
        _ => Err(checker.mistakes),
    }
}

impl Checker<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    fn mistake(&mut self, offset: usize, text: impl Into<String>) {
        let line = self.line(offset);
        self.mistakes.push(Mistake { line, text: text.into() });
    }

    fn wrong<T>(&mut self, value: &Spanned<T>, text: impl Into<String>) {
        self.mistake(value.span().start, text);
    }

    /// All parts are looked at before any of them stops it.
    fn check(&mut self, raw: &Raw) -> Option<Config> {
        let broker = self.broker(&raw.mqtt);
        let public_broker = match &raw.mqtt.public_broker {
            Some(url) => self.broker_url(url, "public_broker").map(|_| url.get_ref().clone()),
            None => Some(raw.mqtt.broker.get_ref().clone()),
        };
        let mpesa = self.mpesa(&raw.mpesa);
        let public_url = self.public_url(&raw.public_url, raw.mpesa.base_url.get_ref());
        let listen = raw.listen.get_ref().parse().ok();
        if listen.is_none() {
            self.wrong(&raw.listen, "listen must be an address and a port, as \"0.0.0.0:8090\"");
        }
        let database = self.database(&raw.database);
        let signing_key = self.path(&raw.signing_key, "signing_key");
        let callbacks = raw.callbacks.as_ref().map(|callbacks| self.callbacks(callbacks)).unwrap_or_default();
        let sms = match &raw.sms {
            Some(sms) => self.sms(sms),
            None => None,
        };
        let radius = raw.radius_sql.as_ref().and_then(|radius| self.radius(radius));
        Some(Config {
            listen: listen?,
            public_url: public_url?,
            database: database?,
            signing_key: signing_key?,
            broker: broker?,
            public_broker: public_broker?,
            mpesa: mpesa?,
            callbacks,
            sms,
            radius,
            lines: Lines { database: self.line(raw.database.span().start), signing_key: self.line(raw.signing_key.span().start) },
        })
    }

    fn path(&mut self, value: &Spanned<String>, key: &str) -> Option<PathBuf> {
        if value.get_ref().is_empty() {
            self.wrong(value, format!("{key} must be the path of a file, as \"/var/lib/lango-relay/signing.key\""));
            return None;
        }
        Some(PathBuf::from(value.get_ref()))
    }

    fn database(&mut self, value: &Spanned<String>) -> Option<Place> {
        Place::parse(value.get_ref()).map_err(|wrong| self.wrong(value, wrong)).ok()
    }

    fn radius(&mut self, radius: &raw::RadiusSql) -> Option<crate::radius::Config> {
        let interim = match &radius.interim {
            None => 300,
            Some(value) if (60..=3_600).contains(value.get_ref()) => *value.get_ref(),
            Some(value) => {
                self.wrong(value, "interim must be 60 to 3600: how many seconds routers wait between two interim updates");
                300
            }
        };
        let line = self.line(radius.database.span().start);
        Some(crate::radius::Config { place: self.database(&radius.database)?, interim, line })
    }

    fn callbacks(&mut self, callbacks: &raw::Callbacks) -> Sources {
        let mut networks = |values: &[Spanned<String>], key: &str| -> Vec<Network> {
            let read = |value: &Spanned<String>| match value.get_ref().parse() {
                Ok(network) => Some(network),
                Err(wanted) => {
                    self.wrong(value, format!("{key} must be a list; each is {wanted}"));
                    None
                }
            };
            values.iter().filter_map(read).collect()
        };
        let near = ["127.0.0.0/8", "::1"].iter().filter_map(|text| text.parse().ok()).collect();
        Sources {
            from: networks(&callbacks.sources, "sources"),
            proxies: callbacks.proxies.as_ref().map_or(near, |proxies| networks(proxies, "proxies")),
        }
    }

    /// The base of the callback addresses: Daraja refuses more addresses than it says.
    fn public_url(&mut self, value: &Spanned<String>, daraja: &str) -> Option<String> {
        let text = value.get_ref().trim_end_matches('/');
        let url = match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.fragment().is_none() => {
                url
            }
            _ => {
                self.wrong(value, "public_url must be the address at which Safaricom reaches this program, as \"https://pay.example.org\"");
                return None;
            }
        };
        let lower = text.to_ascii_lowercase();
        if lower != text {
            self.wrong(value, "public_url must be in lower case: Safaricom refuses callback addresses with capitals");
        } else if let Some(word) = FORBIDDEN_WORDS.iter().find(|word| lower.contains(**word)) {
            self.wrong(
                value,
                format!("public_url must not contain \"{word}\": Safaricom refuses callback addresses with that word in them"),
            );
        } else if url.scheme() == "http" && daraja.starts_with("https:") {
            self.wrong(value, "public_url must begin with https://: Safaricom calls back over TLS only");
        } else {
            return Some(text.to_owned());
        }
        None
    }

    fn broker_url(&mut self, value: &Spanned<String>, key: &str) -> Option<(String, u16, bool)> {
        let url = Url::parse(value.get_ref()).ok();
        let parts = url.as_ref().and_then(|url| {
            let tls = match url.scheme() {
                "mqtts" => true,
                "mqtt" => false,
                _ => return None,
            };
            let bare = url.username().is_empty() && url.password().is_none() && matches!(url.path(), "" | "/") && url.query().is_none();
            // Brackets are a URL's way to write IPv6 addresses, not a connection's.
            let host = url.host_str().filter(|_| bare)?.trim_matches(['[', ']']).to_owned();
            Some((host, url.port().unwrap_or(if tls { 8883 } else { 1883 }), tls))
        });
        if parts.is_none() {
            self.wrong(
                value,
                format!("{key} must be a broker's address, as \"mqtts://mqtt.example.org:8883\" (or \"mqtt://…\" without TLS)"),
            );
        }
        parts
    }

    fn broker(&mut self, mqtt: &Mqtt) -> Option<Broker> {
        let parts = self.broker_url(&mqtt.broker, "broker");
        let username = mqtt.username.get_ref();
        let name_holds =
            !username.is_empty() && username.len() <= 64 && username.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !name_holds {
            self.wrong(&mqtt.username, "username must be 1 to 64 letters, digits, '-', '_' or '.': it is also the client id at the broker");
        }
        let password = self.password(&mqtt.password, "password");
        let ca = match &mqtt.ca {
            Some(path) => Some(self.path(path, "ca")?),
            None => None,
        };
        let (host, port, tls) = parts?;
        if let Some(path) = mqtt.ca.as_ref().filter(|_| !tls) {
            self.wrong(path, "ca is of use with an mqtts:// broker only: change the broker's address, or leave it out");
        }
        Some(Broker {
            url: mqtt.broker.get_ref().clone(),
            host,
            port,
            tls,
            ca,
            username: username.clone(),
            password: password.filter(|_| name_holds)?,
        })
    }

    fn password(&mut self, value: &Spanned<String>, key: &str) -> Option<Password> {
        let password = Password::new(value.get_ref()).ok();
        if password.is_none() {
            self.wrong(value, format!("{key} must be 1 to 128 characters"));
        }
        password
    }

    fn digits(&mut self, value: &Spanned<Digits>, what: &str, from: usize, to: usize) -> Option<String> {
        let text = &value.get_ref().0;
        let good = (from..=to).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        if !good {
            self.wrong(value, format!("{what} must be {from} to {to} digits, as \"174379\""));
        }
        good.then(|| text.clone())
    }

    fn mpesa(&mut self, mpesa: &Mpesa) -> Option<Credentials> {
        let text = mpesa.base_url.get_ref().trim_end_matches('/');
        let base = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none());
        if base.is_none() {
            self.wrong(
                &mpesa.base_url,
                "base_url must be Daraja's address: \"https://api.safaricom.co.ke\", or \"https://sandbox.safaricom.co.ke\" for trials",
            );
        }
        let shortcode = self.digits(&mpesa.shortcode, "shortcode", 5, 7);
        let consumer_secret = self.password(&mpesa.consumer_secret, "consumer_secret");
        for (value, key) in [(&mpesa.consumer_key, "consumer_key"), (&mpesa.passkey, "passkey")] {
            if value.get_ref().is_empty() || !value.get_ref().bytes().all(|b| b.is_ascii_graphic()) {
                self.wrong(value, format!("{key} must be as the Daraja portal shows it, without spaces"));
            }
        }
        let account = match (mpesa.transaction_type.get_ref().as_str(), &mpesa.till) {
            ("CustomerPayBillOnline", None) => Some(Account::PayBill),
            ("CustomerPayBillOnline", Some(till)) => {
                self.wrong(till, "till belongs to transaction_type = \"CustomerBuyGoodsOnline\": change that, or leave the till out");
                None
            }
            ("CustomerBuyGoodsOnline", Some(till)) => self.digits(till, "till", 5, 8).map(|till| Account::BuyGoods { till }),
            ("CustomerBuyGoodsOnline", None) => {
                self.wrong(&mpesa.transaction_type, "CustomerBuyGoodsOnline needs till = \"…\", the till number that gets the money");
                None
            }
            _ => {
                self.wrong(&mpesa.transaction_type, "transaction_type must be \"CustomerPayBillOnline\" or \"CustomerBuyGoodsOnline\"");
                None
            }
        };
        let initiator = match (&mpesa.initiator, &mpesa.security_credential) {
            (None, None) => None,
            (Some(name), Some(credential)) => {
                let clean = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
                if !clean(name.get_ref()) {
                    self.wrong(name, "initiator must be the operator's name on the M-Pesa organisation portal, without spaces");
                }
                if !clean(credential.get_ref()) || credential.get_ref().len() < 100 {
                    let wanted = "security_credential must be the initiator's password, encrypted with Safaricom's certificate, in base64 \
                                  (docs/relay.md says how it is made)";
                    self.wrong(credential, wanted);
                }
                Some(Initiator { name: name.get_ref().clone(), credential: credential.get_ref().clone() })
            }
            (Some(only), None) => {
                self.wrong(only, "initiator needs security_credential, too");
                None
            }
            (None, Some(only)) => {
                self.wrong(only, "security_credential needs initiator, too");
                None
            }
        };
        let c2b_default = match &mpesa.c2b_default {
            None => ResponseType::default(),
            Some(value) => match value.get_ref().as_str() {
                "Completed" => ResponseType::Completed,
                "Cancelled" => ResponseType::Cancelled,
                _ => {
                    self.wrong(value, "c2b_default must be \"Completed\" or \"Cancelled\"");
                    ResponseType::default()
                }
            },
        };
        Some(Credentials {
            initiator,
            c2b_default,
            base_url: base.map(|_| text.to_owned())?,
            consumer_key: mpesa.consumer_key.get_ref().clone(),
            consumer_secret: consumer_secret?,
            merchant: Merchant { shortcode: shortcode?, passkey: mpesa.passkey.get_ref().clone(), account: account? },
        })
    }
}

#[cfg(test)]
mod tests;
