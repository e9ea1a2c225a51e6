//! What a request's first lines say, as far as the portal goes by it. Pure: texts in, decisions out.

use std::borrow::Cow;
use std::net::IpAddr;

/// The largest body that is read, in bytes (contract: over 8 KiB gets 413).
pub const MAX_BODY: u64 = 8 * 1024;

/// A request without its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// As sent.
    pub method: String,
    /// Up to the `?`; as sent, percent signs and all.
    pub path: String,
    /// Behind the `?`.
    pub query: String,
    /// The host that is asked, in lower case, without port and final dot; empty where there is none.
    pub host: String,
    /// As sent.
    pub accept_language: Option<String>,
    /// Whether a gzip file may be answered.
    pub gzip: bool,
    /// Which states of what is asked for are there already (`If-None-Match`); as sent.
    pub known: Option<String>,
    /// What the body is said to be, in lower case and without parameters.
    pub content_type: Option<String>,
    /// Where the request says that it comes from.
    pub origin: Origin,
    /// Whether it came over HTTPS. Not read from it: who took it in says so.
    pub secure: bool,
    /// Whether its connection ends with the answer: it says so, or is of HTTP/1.0.
    pub close: bool,
    /// Whether the client waits for a word before it sends the body.
    pub expects: bool,
}

/// Where a request comes from, as browsers tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// It says nothing: a program, or a browser that was only followed a link.
    #[default]
    Unsaid,
    /// One of our pages.
    Ours,
    /// Another site's page.
    Foreign,
}

/// Why a request is not read any further. Each ends the connection: what follows cannot be told apart any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The body comes in pieces (`Transfer-Encoding`): not read here.
    Chunked,
    /// The body's length is not one number.
    Length,
    /// The body is too large.
    TooLarge,
    /// Two hosts, or no HTTP/1.
    Malformed,
}

/// Where a request is meant to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressee {
    /// This portal.
    Portal,
    /// Any other host: a captive device that has not found us yet.
    Elsewhere,
}

/// A header that says something to the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Host,
    TransferEncoding,
    ContentLength,
    ContentType,
    AcceptLanguage,
    AcceptEncoding,
    IfNoneMatch,
    Origin,
    Referer,
    FetchSite,
    Connection,
    Expect,
}

const KNOWN: &[(&[u8], Known)] = &[
    (b"host", Known::Host),
    (b"transfer-encoding", Known::TransferEncoding),
    (b"content-length", Known::ContentLength),
    (b"content-type", Known::ContentType),
    (b"accept-language", Known::AcceptLanguage),
    (b"accept-encoding", Known::AcceptEncoding),
    (b"if-none-match", Known::IfNoneMatch),
    (b"origin", Known::Origin),
    (b"referer", Known::Referer),
    (b"sec-fetch-site", Known::FetchSite),
    (b"connection", Known::Connection),
    (b"expect", Known::Expect),
];

/// A head that is being read, header by header.
#[derive(Debug)]
pub struct Reading<'a> {
    head: Head,
    host: Option<Cow<'a, str>>,
    origin: Option<Cow<'a, str>>,
    referer: Option<Cow<'a, str>>,
    fetch_site: Option<Cow<'a, str>>,
    length: Option<u64>,
    fault: Option<Unreadable>,
}

impl<'a> Reading<'a> {
    /// Reads a request line's parts.
    #[must_use]
    pub fn begin(method: &str, target: &str, version: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let close = version == "HTTP/1.0";
        let fault = (!close && version != "HTTP/1.1").then_some(Unreadable::Malformed);
        let head = Head { method: method.to_owned(), path: path.to_owned(), query: query.to_owned(), close, ..Head::default() };
        Self { head, host: None, origin: None, referer: None, fetch_site: None, length: None, fault }
    }

    /// Reads a header. Bytes that are no UTF-8 become U+FFFD.
    pub fn header(&mut self, name: &[u8], value: &'a [u8]) {
        // Names come in any case (RFC 9110 section 5.1).
        let Some((_, known)) = KNOWN.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)) else { return };
        let value = std::str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed);
        let head = &mut self.head;
        match known {
            Known::Host if self.host.is_some() => self.refuse(Unreadable::Malformed),
            Known::Host => self.host = Some(value),
            Known::TransferEncoding => self.refuse(Unreadable::Chunked),
            Known::ContentLength if self.length.is_some() || value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) => {
                self.refuse(Unreadable::Length);
            }
            // A number that is too large for any integer is a body that is too large.
            Known::ContentLength => self.length = Some(value.parse().unwrap_or(u64::MAX)),
            Known::ContentType => {
                head.content_type = Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
            }
            Known::AcceptLanguage => head.accept_language = Some(value.into_owned()),
            Known::AcceptEncoding => head.gzip |= accepts_gzip(&value),
            Known::IfNoneMatch => head.known = Some(value.into_owned()),
            Known::Origin => self.origin = Some(value),
            Known::Referer => self.referer = Some(value),
            Known::FetchSite => self.fetch_site = Some(value),
            Known::Connection => head.close |= value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close")),
            Known::Expect => head.expects |= value.eq_ignore_ascii_case("100-continue"),
        }
    }

    /// Whatever comes first says why.
    fn refuse(&mut self, why: Unreadable) {
        self.fault.get_or_insert(why);
    }

    /// The head, and the body's length.
    ///
    /// # Errors
    /// When the request cannot be read any further.
    pub fn end(self) -> Result<(Head, u64), Unreadable> {
        let Self { mut head, host, origin, referer, fetch_site, length, fault } = self;
        let length = length.unwrap_or(0);
        if let Some(fault) = fault.or((length > MAX_BODY).then_some(Unreadable::TooLarge)) {
            return Err(fault);
        }
        let authority = host.as_deref().unwrap_or_default();
        head.host = host_of(authority);
        head.origin = match (fetch_site.as_deref(), origin.or(referer).as_deref()) {
            (Some("same-origin"), _) => Origin::Ours,
            (Some("none") | None, None) => Origin::Unsaid,
            (Some("none") | None, Some(from)) if same_site(from, authority) => Origin::Ours,
            _ => Origin::Foreign,
        };
        Ok((head, length))
    }
}

impl Head {
    /// Reads a request line's parts and its headers. The second value is the body's length.
    ///
    /// # Errors
    /// When the request cannot be read any further.
    pub fn read<'a>(
        method: &str,
        target: &str,
        version: &str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(Self, u64), Unreadable> {
        let mut reading = Reading::begin(method, target, version);
        headers.for_each(|(name, value)| reading.header(name.as_bytes(), value.as_bytes()));
        reading.end()
    }

    /// Whether this portal is meant: by its own name, or by the address at which it was reached (`local`, which is asked for where the host
    /// is an address).
    #[must_use]
    pub fn addressee(&self, portal_host: &str, local: impl FnOnce() -> Option<IpAddr>) -> Addressee {
        let by_address = || {
            self.host.starts_with(|first: char| first == '[' || first.is_ascii_digit()).then_some(())?;
            let address = self.host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()?;
            Some(address.to_canonical() == local()?.to_canonical())
        };
        let named = || self.host.eq_ignore_ascii_case(portal_host) || by_address() == Some(true);
        if !self.host.is_empty() && self.path.starts_with('/') && named() { Addressee::Portal } else { Addressee::Elsewhere }
    }

    /// The value of a field of the query.
    #[must_use]
    pub fn asked(&self, name: &str) -> Option<String> {
        field(self.query.as_bytes(), name)
    }
}

/// The host of `host:port`, in lower case and without its final dot.
fn host_of(authority: &str) -> String {
    let host = match authority.rfind(':') {
        // An IPv6 address has colons of its own inside its brackets.
        Some(colon) if !authority.ends_with(']') => &authority[..colon],
        _ => authority,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether an `Origin` or `Referer` is of the host and port that the request went to.
fn same_site(from: &str, authority: &str) -> bool {
    let Some(rest) = from.strip_prefix("http://").or_else(|| from.strip_prefix("https://")) else { return false };
    rest.split('/').next().is_some_and(|site| !site.is_empty() && site.eq_ignore_ascii_case(authority))
}

/// A quality as in `q=0.8`, in thousandths (RFC 9110 section 12.4.2); more digits than three are left out. `None` where it is none.
///
/// Not by way of a number with a point: what reads any of those is 20 KB of flash, most of it a table that no compression makes less of.
pub(super) fn quality(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if !whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) || whole.len() + part.len() == 0 {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u16::MAX) };
    let thousandths = part.bytes().chain([b'0'; 3]).take(3).fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Some(whole.saturating_mul(1_000).saturating_add(thousandths))
}

fn accepts_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let mut fields = coding.split(';').map(str::trim);
        let gzip = fields.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        gzip && !fields.any(|field| field.strip_prefix("q=").is_some_and(|q| quality(q) == Some(0)))
    })
}

/// The first value of a field of an `application/x-www-form-urlencoded` text (WHATWG URL, section 5.1). Bytes that are no
/// UTF-8 become U+FFFD, so nothing that was sent is taken for something else.
#[must_use]
pub fn field(form: &[u8], name: &str) -> Option<String> {
    form.split(|b| *b == b'&').find_map(|pair| {
        let mut halves = pair.splitn(2, |b| *b == b'=');
        let (key, value) = (halves.next()?, halves.next().unwrap_or_default());
        (decoded(key) == name).then(|| decoded(value))
    })
}

fn decoded(text: &[u8]) -> String {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            (b'+', ..) => bytes.push(b' '),
            (other, ..) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &'static str)]) -> Result<(Head, u64), Unreadable> {
        Head::read("GET", "/a?b=c", "HTTP/1.1", headers.iter().copied())
    }

    #[test]
    fn qualities_are_read_in_thousandths() {
        for (text, thousandths) in [
            ("1", Some(1_000)),
            ("1.000", Some(1_000)),
            ("0", Some(0)),
            ("0.000", Some(0)),
            ("0.8", Some(800)),
            ("0.05", Some(50)),
            ("0.1239", Some(123)),
            (".5", Some(500)),
            ("0.", Some(0)),
            ("99999999", Some(u16::MAX)),
            ("", None),
            (".", None),
            ("1e3", None),
            ("-1", None),
            ("+1", None),
            ("0.5.5", None),
            ("0,5", None),
            ("NaN", None),
        ] {
            assert_eq!(quality(text), thousandths, "{text:?}");
        }
    }

    #[test]
    fn hosts_that_are_the_portal_and_hosts_that_are_not() {
        let local = "192.168.1.1".parse().unwrap();
        for (host, target, expected) in [
            ("portal.lan", "/", Addressee::Portal),
            ("PORTAL.lan.:8088", "/", Addressee::Portal),
            ("192.168.1.1", "/", Addressee::Portal),
            ("192.168.1.1:8088", "/", Addressee::Portal),
            ("[::ffff:192.168.1.1]:8088", "/", Addressee::Portal),
            ("192.168.1.2", "/", Addressee::Elsewhere),
            ("captive.apple.com", "/", Addressee::Elsewhere),
            ("portal.lan.example.org", "/", Addressee::Elsewhere),
            ("portal.lan@example.org", "/", Addressee::Elsewhere),
            ("", "/", Addressee::Elsewhere),
            ("portal.lan", "http://example.org/", Addressee::Elsewhere),
            ("portal.lan", "*", Addressee::Elsewhere),
        ] {
            let (head, _) = Head::read("GET", target, "HTTP/1.1", [("Host", host)].into_iter()).unwrap();
            assert_eq!(head.addressee("portal.lan", || Some(local)), expected, "{host} {target}");
        }
        let (head, _) = Head::read("GET", "/", "HTTP/1.1", [("Host", "[fe80::1]:8088")].into_iter()).unwrap();
        assert_eq!(head.addressee("portal.lan", || "fe80::1".parse().ok()), Addressee::Portal);
        let (head, _) = Head::read("GET", "/", "HTTP/1.0", std::iter::empty()).unwrap();
        assert_eq!(head.addressee("portal.lan", || Some(local)), Addressee::Elsewhere, "no host at all");
    }

    #[test]
    fn requests_that_are_not_read_any_further() {
        for (headers, fault) in [
            (&[("Transfer-Encoding", "chunked")][..], Unreadable::Chunked),
            (&[("transfer-encoding", "identity"), ("Content-Length", "3")], Unreadable::Chunked),
            (&[("Content-Length", "+5")], Unreadable::Length),
            (&[("Content-Length", "5, 5")], Unreadable::Length),
            (&[("Content-Length", "")], Unreadable::Length),
            (&[("Content-Length", "5"), ("content-length", "5")], Unreadable::Length),
            (&[("Content-Length", "8193")], Unreadable::TooLarge),
            (&[("Content-Length", "18446744073709551615")], Unreadable::TooLarge),
            (&[("Content-Length", "99999999999999999999999999")], Unreadable::TooLarge),
            (&[("Host", "a"), ("Host", "b")], Unreadable::Malformed),
        ] {
            assert_eq!(read(headers).unwrap_err(), fault, "{headers:?}");
        }
        assert_eq!(read(&[("Content-Length", "8192")]).unwrap().1, 8192);
        assert_eq!(Head::read("GET", "/", "HTTP/2.0", std::iter::empty()).unwrap_err(), Unreadable::Malformed);
    }

    #[test]
    fn where_a_request_comes_from() {
        for (headers, expected) in [
            (&[][..], Origin::Unsaid),
            (&[("Sec-Fetch-Site", "none")], Origin::Unsaid),
            (&[("Origin", "http://portal.lan:8088")], Origin::Ours),
            (&[("Referer", "http://portal.lan:8088/login")], Origin::Ours),
            (&[("Sec-Fetch-Site", "same-origin"), ("Origin", "http://127.0.0.1:8080")], Origin::Ours),
            (&[("Origin", "null")], Origin::Foreign),
            (&[("Origin", "http://portal.lan")], Origin::Foreign),
            (&[("Origin", "http://portal.lan:8088.example.org")], Origin::Foreign),
            (&[("Origin", "http://example.org"), ("Referer", "http://portal.lan:8088/")], Origin::Foreign),
            (&[("Referer", "http://example.org/http://portal.lan:8088/")], Origin::Foreign),
            (&[("Sec-Fetch-Site", "cross-site")], Origin::Foreign),
            (&[("Sec-Fetch-Site", "same-site"), ("Origin", "http://portal.lan:8088")], Origin::Foreign),
        ] {
            let mut all = vec![("Host", "portal.lan:8088")];
            all.extend_from_slice(headers);
            assert_eq!(read(&all).unwrap().0.origin, expected, "{headers:?}");
        }
    }

    #[test]
    fn encodings_and_types() {
        for (value, gzip) in [
            ("gzip", true),
            ("br, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("deflate", false),
            ("", false),
        ] {
            assert_eq!(read(&[("Accept-Encoding", value)]).unwrap().0.gzip, gzip, "{value}");
        }
        assert_eq!(
            read(&[("Content-Type", "Application/JSON; charset=utf-8")]).unwrap().0.content_type.as_deref(),
            Some("application/json")
        );
    }

    #[test]
    fn forms() {
        let form = b"phone=%2B254+712%20345&x=&y&phone=2&bad=%zz%4&utf=%ff%C3%A9&%70=q&__proto__=1";
        for (name, value) in [
            ("phone", Some("+254 712 345")),
            ("x", Some("")),
            ("y", Some("")),
            ("bad", Some("%zz%4")),
            ("utf", Some("\u{fffd}é")),
            ("p", Some("q")),
            ("none", None),
        ] {
            assert_eq!(field(form, name).as_deref(), value, "{name}");
        }
    }
}
