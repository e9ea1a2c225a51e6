//! The values of single options: from text to a type that is valid, or the rule that it breaks. Pure.
//!
//! A rule is the end of the sentence "it must be …", so that every message says what would be right.

use super::settings::Support;
use crate::portal::TEXTS;
use crate::portal::colour::Colour;
use crate::radius::request::Method;
use base64::Engine as _;
use lango_core::radius::StationFormat;
use lango_core::update::{Hours, ReleaseKey};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

/// What a value must be.
pub(super) type Rule = &'static str;

/// A secret in clear. `Debug` hides it; it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// No secret at all, where none is needed.
    pub(super) fn none() -> Self {
        Self(String::new())
    }

    /// The secret in clear, for the one who sends it. Never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// The name of a network interface (Linux: 1 to 15 bytes, without `/`, `:` and white space; not `.` or `..`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface(String);

/// A DNS name in lower case, or an IPv4 address (RFC 1123 section 2.1; at most 253 characters).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
text!(Interface);
text!(HostName);

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A DNS name or an IP address, IPv6 without its brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// Where the MQTT broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// `mqtts://`: TLS; `mqtt://`: in clear, for a broker on the same machine or in a tunnel.
    pub tls: bool,
    /// Its host and port (8883 with TLS and 1883 without, where none is given).
    pub at: Endpoint,
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "mqtts" } else { "mqtt" }, self.at)
    }
}

pub(super) fn secret(text: &str) -> Result<Secret, Rule> {
    if text.len() > 128 || text.chars().any(char::is_control) {
        return Err("at most 128 bytes, on one line");
    }
    Ok(Secret(text.to_owned()))
}

/// A user name towards a server: RADIUS carries 253 bytes (RFC 2865 section 5), MQTT more.
pub(super) fn printable(text: &str) -> Result<String, Rule> {
    if text.len() > 253 || text.chars().any(char::is_control) {
        return Err("at most 253 bytes, on one line");
    }
    Ok(text.to_owned())
}

pub(super) fn label(text: &str) -> Result<String, Rule> {
    if text.trim().is_empty() || text.chars().count() > 40 || text.chars().any(char::is_control) {
        return Err("1 to 40 characters that customers can read");
    }
    Ok(text.to_owned())
}

pub(super) fn colour(text: &str) -> Result<Colour, Rule> {
    Colour::read(text).ok_or("a colour as #0a6b3b: a # and six hexadecimal digits, in quotes")
}

/// A number as its people write it. Short codes have three digits, and no number has more than fifteen (ITU-T E.164).
pub(super) fn support(text: &str) -> Result<Support, Rule> {
    const RULE: Rule = "a phone number, as 0712 345 678 or +254 712 345 678";
    let tel: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')')).collect();
    let digits = tel.strip_prefix('+').unwrap_or(&tel);
    if text.len() > 30 || !(3..=15).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RULE);
    }
    Ok(Support { tel, shown: text.trim().to_owned() })
}

/// A language's code, and the file that is in it.
pub(super) fn in_language(text: &str) -> Result<(String, PathBuf), Rule> {
    const RULE: Rule =
        "a language and a path from the root on, as en:/etc/lango/terms.en.txt; the languages are those of the portal: en, sw";
    let (code, file) = text.split_once(':').ok_or(RULE)?;
    if !TEXTS.iter().any(|(known, _)| *known == code) {
        return Err(RULE);
    }
    Ok((code.to_owned(), path(file).map_err(|_| RULE)?))
}

pub(super) fn switch(text: &str) -> Result<bool, Rule> {
    match text {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err("'1' (yes) or '0' (no)"),
    }
}

pub(super) fn interface(text: &str) -> Result<Interface, Rule> {
    let accepted = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    if text.len() > 15 || text == "." || text == ".." || !text.bytes().all(accepted) {
        return Err("a network interface's name, as br-lan (1 to 15 characters)");
    }
    Ok(Interface(text.to_owned()))
}

pub(super) fn host_name(text: &str) -> Result<HostName, Rule> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        return Err("a host's name or IPv4 address alone, as safaricom.co.ke: no http://, no port, no path, no *");
    }
    Ok(HostName(text.to_ascii_lowercase()))
}

/// A DNS name for which there can be a certificate: with a dot in it, and no address.
pub(super) fn dns_name(text: &str) -> Result<HostName, Rule> {
    let name = host_name(text).ok().filter(|name| name.0.contains('.') && name.0.parse::<IpAddr>().is_err());
    name.ok_or("the DNS name that the certificate is for, as kibera-7.hs.example.org: no address, no https://, no port, no *")
}

/// An absolute path.
pub(super) fn path(text: &str) -> Result<PathBuf, Rule> {
    if !text.starts_with('/') || text.chars().any(char::is_control) {
        return Err("a path from the root on, as /etc/lango/store");
    }
    Ok(PathBuf::from(text))
}

/// A unix socket's path: the kernel's address holds 107 bytes (`unix(7)`).
pub(super) fn socket_path(text: &str) -> Result<PathBuf, Rule> {
    path(text).ok().filter(|_| text.len() <= 107).ok_or("a path from the root on of at most 107 bytes, as /var/run/lango.sock")
}

/// Digits only: `parse` alone would take a leading plus.
pub(super) fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && range.contains(number))
}

pub(super) fn port(text: &str) -> Result<u16, Rule> {
    const RULE: Rule = "a port, 1 to 65535";
    number(text, 1..=65_535).and_then(|port| u16::try_from(port).ok()).ok_or(RULE)
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
fn endpoint(text: &str, default_port: u16) -> Option<Endpoint> {
    let (host, behind) = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, behind) = bracketed.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        (address.to_owned(), behind)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (host, behind) = text.split_at_checked(end)?;
        (host_name(host).ok()?.0, behind)
    };
    let port = if behind.is_empty() { default_port } else { port(behind.strip_prefix(':')?).ok()? };
    Some(Endpoint { host, port })
}

pub(super) fn broker(text: &str) -> Result<Broker, Rule> {
    const RULE: Rule = "mqtts://HOST:PORT or mqtt://HOST:PORT with nothing else in it (user name and password are options of their own)";
    let (tls, rest, port) = match (text.strip_prefix("mqtts://"), text.strip_prefix("mqtt://")) {
        (Some(rest), _) => (true, rest, 8883),
        (_, Some(rest)) => (false, rest, 1883),
        _ => return Err(RULE),
    };
    Ok(Broker { tls, at: endpoint(rest, port).ok_or(RULE)? })
}

/// A RADIUS server: in clear over UDP, or over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RadiusServer {
    /// `radsec://`: RADIUS over TLS (RFC 6614).
    pub tls: bool,
    /// Its host and port.
    pub at: Endpoint,
}

impl fmt::Display for RadiusServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.tls { "radsec://" } else { "" }, self.at)
    }
}

pub(super) fn radius_server(text: &str, default_port: u16) -> Result<RadiusServer, Rule> {
    const RULE: Rule = "HOST:PORT, as 192.0.2.10:1812 or [2001:db8::10]:1812, or radsec://HOST:PORT";
    let (tls, text, port) = match text.strip_prefix("radsec://") {
        Some(rest) => (true, rest, 2083),
        None => (false, text, default_port),
    };
    // A bare IPv6 address cannot carry a port, and so needs no brackets either.
    if let Ok(IpAddr::V6(address)) = text.parse() {
        return Ok(RadiusServer { tls, at: Endpoint { host: address.to_string(), port } });
    }
    Ok(RadiusServer { tls, at: endpoint(text, port).ok_or(RULE)? })
}

/// A host as the servers' list has it, without its port.
pub(super) fn radius_host(text: &str) -> Result<String, Rule> {
    let ip = text.parse::<IpAddr>().map(|address| address.to_string());
    ip.or_else(|_| host_name(text).map(|name| name.0)).map_err(|_| "a server's host as in 'server', without its port")
}

pub(super) fn method(text: &str) -> Result<Method, Rule> {
    match text {
        "pap" => Ok(Method::Pap),
        "chap" => Ok(Method::Chap),
        "mschapv2" => Ok(Method::MsChapV2),
        _ => Err("'pap', 'chap' or 'mschapv2'"),
    }
}

pub(super) fn address(text: &str) -> Result<IpAddr, Rule> {
    text.parse().map_err(|_| "an IP address, as 192.0.2.7")
}

pub(super) fn station_id(text: &str) -> Result<StationFormat, Rule> {
    text.parse().map_err(|()| "an example: AA-BB-CC-DD-EE-FF, AA:BB:CC:DD:EE:FF or AABBCCDDEEFF, or the same in small letters")
}

/// A text of a vendor's attribute, or one with an Ethernet address or an SSID beside it.
pub(super) fn short(text: &str) -> Result<String, Rule> {
    if text.len() > 200 || text.chars().any(char::is_control) {
        return Err("at most 200 bytes, on one line");
    }
    Ok(text.to_owned())
}

/// IEEE 802.11: at most 32 octets.
pub(super) fn ssid(text: &str) -> Result<String, Rule> {
    if text.len() > 32 || text.chars().any(char::is_control) {
        return Err("a network's name of at most 32 bytes");
    }
    Ok(text.to_owned())
}

pub(super) fn release_key(text: &str) -> Result<ReleaseKey, Rule> {
    const RULE: Rule = "the second line of the file that `usign -G -p` or `signify -G -p` wrote (56 characters that begin with RW)";
    ReleaseKey::parse(text).ok_or(RULE)
}

pub(super) fn board(text: &str) -> Result<String, Rule> {
    let accepted = |byte: u8| byte.is_ascii_alphanumeric() || b",._+-".contains(&byte);
    if text.len() > 64 || !text.bytes().all(accepted) {
        return Err("a board's name as in /tmp/sysinfo/board_name, as linksys,ea8300");
    }
    Ok(text.to_owned())
}

pub(super) fn hours(text: &str) -> Result<Hours, Rule> {
    Hours::parse(text).ok_or("two hours of the day in Nairobi's time, as 2-5 (0 to 24, over midnight as 23-4)")
}

pub(super) fn ed25519_key(text: &str) -> Result<[u8; 32], Rule> {
    const RULE: Rule = "the 44 characters that `lango-relay router add` printed (32 bytes in base64)";
    base64::engine::general_purpose::STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(RULE)
}
