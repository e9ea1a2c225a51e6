//! The router's own certificate, with which the portal answers over HTTPS (docs/https.md): what is wrong with it, until when it is
//! good, and the key for it, which is made here and leaves the router never.
//!
//! | file | what it does |
//! | --- | --- |
//! | `der`, `request` | pure: a certificate request's bytes |
//! | `key` | makes the key, and the request for a certificate of it |

pub mod der;
pub mod key;
pub mod request;

use crate::config::Https;
use crate::tls::{self, TlsError};
use lango_core::time::Wall;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::{ParsedCertificate, ServerConfig};
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

/// With so many days left somebody should have renewed it.
pub const RENEW_DAYS: u64 = 14;

const DAY: u64 = 24 * 60 * 60 * 1_000;

/// Which of the section's options a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// `name`
    Name,
    /// `cert`
    Certificate,
    /// `key`
    Key,
}

/// What is wrong with certificate or key. `Display`: what is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where.
    pub about: About,
    /// What is wrong. Never a key's value.
    pub what: String,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.right)
    }
}

/// A certificate that fits its name and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// What TLS answers with.
    pub config: Arc<ServerConfig>,
    /// From when on it is good.
    pub from: Wall,
    /// Until when.
    pub until: Wall,
}

/// What the clock says to a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// The router's clock was never set.
    Unknown,
    /// It is not good yet.
    Early,
    /// It is good for so many whole days more.
    Good(u64),
    /// It is over.
    Over,
}

impl Certificate {
    /// Reads certificate and key, and looks at whether they belong together and to the name.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn open(https: &Https) -> Result<Self, Vec<Wrong>> {
        let chain = tls::chain(&https.cert).map_err(|cause| wrong_certificate(https, &cause));
        let key = tls::key(&https.key).map_err(|cause| wrong_key(https, &cause));
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err([key.err(), chain.err()].into_iter().flatten().collect()),
        };
        let (from, until) =
            chain.first().ok_or(Error::NoCertificatesPresented).and_then(validity).map_err(|cause| vec![unfit(https, &cause)])?;
        let misnamed = chain.first().and_then(|own| named(https, own).err());
        let config = tls::server_config(chain, key).map_err(|cause| unfit(https, &cause));
        match (config, misnamed) {
            (Ok(config), None) => Ok(Self { config, from, until }),
            (config, misnamed) => Err(misnamed.into_iter().chain(config.err()).collect()),
        }
    }

    /// What the clock says to it; none: nobody set the clock.
    #[must_use]
    pub fn age(&self, now: Option<Wall>) -> Age {
        match now {
            None => Age::Unknown,
            Some(now) if now < self.from => Age::Early,
            Some(now) if now > self.until => Age::Over,
            Some(now) => Age::Good((self.until.0 - now.0) / DAY),
        }
    }

    /// The same as what is wrong, where that is a fault.
    #[must_use]
    pub fn untimely(&self, now: Option<Wall>) -> Option<Wrong> {
        let wrong = |what, right: &str| Some(Wrong { about: About::Certificate, what, right: right.to_owned() });
        match (self.age(now), now) {
            (Age::Over, _) => wrong(format!("the certificate was good until {}", self.until.to_rfc3339()), RENEW),
            (Age::Early, Some(now)) => wrong(
                format!("the certificate is good from {} on, and the router's clock says {}", self.from.to_rfc3339(), now.to_rfc3339()),
                "set the clock right (NTP), or wait",
            ),
            _ => None,
        }
    }

    /// A sentence on how long it is good, for people.
    #[must_use]
    pub fn told(&self, now: Option<Wall>) -> String {
        let until = self.until.to_rfc3339();
        match self.age(now) {
            Age::Good(days) if days < RENEW_DAYS => format!("The certificate is good until {until}, {days} days more: {RENEW}."),
            Age::Good(days) => format!("The certificate is good until {until}, {days} days more."),
            Age::Unknown => format!("The certificate is good until {until}; the router's clock is not set."),
            Age::Early | Age::Over => format!("The certificate is good from {} until {until}.", self.from.to_rfc3339()),
        }
    }
}

/// What is wrong with who may read the key; nothing where it is root alone, or nobody can tell.
#[must_use]
pub fn exposed(https: &Https) -> Option<Wrong> {
    let mode = std::fs::metadata(&https.key).ok()?.mode() & 0o777;
    let path = https.key.display();
    (mode & 0o077 != 0).then(|| Wrong {
        about: About::Key,
        what: format!("others on this router may use the key {path} (its mode is {mode:o})"),
        right: format!("let root alone read it: chmod 600 {path}"),
    })
}

/// What to do about a certificate that ends.
const RENEW: &str = "have it renewed (`lango certificate request` prints what to sign)";

/// What to do where there is none.
const GET: &str =
    "have the request signed that `lango certificate request` prints, and put the certificate there, with those that lead to its CA";

fn wrong_certificate(https: &Https, cause: &TlsError) -> Wrong {
    let path = https.cert.display();
    let what = match cause {
        TlsError::Unreadable { cause, .. } => format!("the certificate {path} cannot be read ({cause})"),
        _ => format!("{path} holds no certificate (PEM, from -----BEGIN CERTIFICATE----- on)"),
    };
    Wrong { about: About::Certificate, what, right: GET.to_owned() }
}

fn wrong_key(https: &Https, cause: &TlsError) -> Wrong {
    let path = https.key.display();
    let (what, right) = match cause {
        TlsError::Unreadable { cause, .. } => (format!("the key {path} cannot be read ({cause})"), "make it: lango certificate request"),
        _ => (
            format!("{path} holds no private key (PEM, from -----BEGIN PRIVATE KEY----- on)"),
            "take the file away, and make one: lango certificate request",
        ),
    };
    Wrong { about: About::Key, what, right: right.to_owned() }
}

fn unfit(https: &Https, cause: &Error) -> Wrong {
    let (cert, key) = (https.cert.display(), https.key.display());
    let (about, what, right) = match cause {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => (
            About::Key,
            format!("{key} is not the key of the certificate in {cert}"),
            format!("have a certificate made for this key: {GET}"),
        ),
        Error::InvalidCertificate(cause) => (
            About::Certificate,
            format!("the first certificate in {cert} is none of a server: {}", in_words(cause)),
            "the router's own comes first, then those that lead to its CA".to_owned(),
        ),
        cause => (About::Key, format!("{key}: {cause}"), "take the file away, and make one: lango certificate request".to_owned()),
    };
    Wrong { about, what, right }
}

fn in_words(cause: &CertificateError) -> &'static str {
    match cause {
        CertificateError::BadEncoding => "it is damaged",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "it was made for another purpose",
        CertificateError::UnhandledCriticalExtension => "it asks for something that this program does not know",
        _ => "it may be a CA's own",
    }
}

/// A name as rustls writes it (`DnsName("…")`), as people do.
fn plain(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
    inside.map_or(name, |(inside, _)| inside).trim_matches('"')
}

/// Whether the certificate is for the name.
fn named(https: &Https, own: &CertificateDer<'_>) -> Result<(), Wrong> {
    let wrong = |names: &str| Wrong {
        about: About::Name,
        what: format!("the certificate in {} is not for {}{names}", https.cert.display(), https.name),
        right: "write the name that it is for, or have one made for this name (in its subjectAltName)".to_owned(),
    };
    let name = ServerName::try_from(https.name.as_str()).map_err(|_| wrong(""))?;
    let parsed = ParsedCertificate::try_from(own).map_err(|cause| unfit(https, &cause))?;
    verify_server_name(&parsed, &name).map_err(|cause| match cause {
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) if !presented.is_empty() => {
            wrong(&format!(", but for {}", presented.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")))
        }
        _ => wrong(""),
    })
}

/// From when until when a certificate is good.
///
/// What verifies certificates looks at that first, and says both moments where it is not now: so it is asked about a moment
/// before all, and about one behind all, and this program need not read certificates by itself.
fn validity(own: &CertificateDer<'_>) -> Result<(Wall, Wall), Error> {
    let parsed = ParsedCertificate::try_from(own)?;
    let nobody = RootCertStore::empty();
    let at = |seconds: u64| {
        let moment = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], moment, tls::signatures())
    };
    let from = match at(0) {
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => not_before,
        _ => UnixTime::since_unix_epoch(Duration::ZERO),
    };
    // The last second that a certificate can name (RFC 5280 section 4.1.2.5), and one more.
    const NEVER: u64 = 253_402_300_800;
    let until = match at(NEVER) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => not_after,
        _ => return Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
    };
    // Signed by nobody whom we know, and nothing else is wrong with it: that is how a server's certificate looks from here.
    match at(from.as_secs()) {
        Ok(()) | Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
        Err(cause) => return Err(cause),
    }
    let wall = |time: UnixTime| Wall(time.as_secs().saturating_mul(1_000));
    Ok((wall(from), wall(until)))
}

#[cfg(test)]
mod tests;
