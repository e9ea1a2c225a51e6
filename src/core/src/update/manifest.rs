//! What a release says of itself: a few lines, signed as they are.
//!
//! ```text
//! lango-update 1
//! kind program
//! version 0.2.0
//! number 20261123
//! target armv7-unknown-linux-musleabihf
//! size 2841234
//! sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
//! url https://updates.example.org/lango-0.2.0-armv7
//! ```
//! Each line once and in this order, `board` as often as wanted, ended by a line feed. There is one way to write a manifest: what
//! is read is written again as the same bytes, or it is refused.

use super::Standing;
use crate::time::Wall;
use std::fmt::{self, Write as _};

/// The largest manifest that is read, in bytes.
pub const MAX_MANIFEST: usize = 4 * 1024;

/// The largest program, in bytes.
const MAX_PROGRAM: u64 = 16 * 1024 * 1024;
/// The largest image, in bytes.
const MAX_IMAGE: u64 = 256 * 1024 * 1024;
/// Boards that one manifest names at most.
const MAX_BOARDS: usize = 32;

/// What is updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The program alone.
    Program,
    /// The whole firmware, by OpenWrt's sysupgrade.
    Image,
}

impl Kind {
    /// As the manifest has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Image => "image",
        }
    }
}

/// Where a file is had from: HTTPS, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// A DNS name or an IPv4 address.
    pub host: String,
    /// 443 where none is given.
    pub port: u16,
    /// From the first `/` on, with the query.
    pub path: String,
}

impl Url {
    /// Reads `https://HOST[:PORT]/PATH`; nothing where it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text, 512)
    }

    /// Where a redirection from here leads (RFC 9110, 10.2.2): an address, or a part of one that this one completes (RFC 3986, 5.2).
    /// Storage for large files signs its addresses, which makes them long.
    #[must_use]
    pub fn elsewhere(&self, location: &str) -> Option<Self> {
        let text = location.split_once('#').map_or(location, |(text, _)| text);
        if text.starts_with("https://") {
            return Self::read(text, 2_048);
        }
        if let Some(rest) = text.strip_prefix("//") {
            return Self::read(&format!("https://{rest}"), 2_048);
        }
        let before_query = text.split('?').next().unwrap_or_default();
        // Another scheme than ours, or something with a colon that would have to be written as `./a:b`.
        if text.is_empty() || before_query.split('/').next().is_some_and(|first| first.contains(':')) {
            return None;
        }
        let here = self.path.split('?').next().unwrap_or_default();
        let path = match text.as_bytes().first() {
            Some(b'/') => text.to_owned(),
            Some(b'?') => format!("{here}{text}"),
            _ => format!("{}/{text}", here.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        let there = Self { path: without_dots(&path), ..self.clone() };
        Self::read(&there.to_string(), 2_048)
    }

    fn read(text: &str, most: usize) -> Option<Self> {
        let rest = text.strip_prefix("https://").filter(|_| text.len() <= most)?;
        let (authority, path) = rest.split_at(rest.find('/')?);
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, number(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0 && *port != 443)?),
            None => (authority, 443),
        };
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'\'' | b'<' | b'>' | b'\\');
        let fits = host.len() <= 253 && host.split('.').all(label) && path.bytes().all(plain);
        fits.then(|| Self { host: host.to_owned(), port, path: path.to_owned() })
    }
}

/// A path without its `.` and `..`; the query stays as it is.
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(part) = rest.next() {
        let last = rest.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    parts.pop();
                }
                if last {
                    parts.push("");
                }
            }
            part => parts.push(part),
        }
    }
    format!("/{}{query}", parts.join("/"))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            443 => write!(f, "https://{}{}", self.host, self.path),
            port => write!(f, "https://{}:{port}{}", self.host, self.path),
        }
    }
}

/// What a release says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What is updated.
    pub kind: Kind,
    /// For people: 1 to 32 letters, digits and `.+~_-`.
    pub version: String,
    /// Grows from release to release, over both kinds; from 1 to 2^64 - 2. What orders releases is this, never [`Manifest::version`].
    pub number: u64,
    /// A program's: what it was built for, in rustc's words.
    pub target: Option<String>,
    /// Boards that it is for, as `/tmp/sysinfo/board_name` has them. A program's may be none: every board of its target.
    pub boards: Vec<String>,
    /// The file's bytes.
    pub size: u64,
    /// The file's SHA-256.
    pub sha256: [u8; 32],
    /// Where the file is.
    pub url: Url,
    /// After this moment (to the second) a router does not begin with it any more.
    pub until: Option<Wall>,
}

/// Why a text is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAManifest {
    /// Its first line is not ours, or a later program's.
    #[error("its first line must be `lango-update 1`; another number there is a later program's")]
    Head,
    /// A line is missing, not as it must be, or not where it must be.
    #[error("its line `{0}` is missing, wrong, or not in its place")]
    Line(&'static str),
    /// Something is behind it, or it is written in another way than ours.
    #[error("there is more in it than belongs there")]
    More,
    /// Larger than [`MAX_MANIFEST`].
    #[error("it is larger than {MAX_MANIFEST} bytes")]
    TooLarge,
}

/// The lines that are left.
struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Lines<'a> {
    /// The value of the next line, where that is `key`'s.
    fn take(&mut self, key: &str) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        let value = line.strip_prefix(key)?.strip_prefix(' ')?;
        self.rest = rest;
        Some(value)
    }

    fn need<T>(&mut self, key: &'static str, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, NotAManifest> {
        self.take(key).and_then(read).ok_or(NotAManifest::Line(key))
    }
}

/// Digits only, and none too many in front: each number is written in one way.
pub(super) fn number(text: &str) -> Option<u64> {
    let written = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| written)
}

fn word(text: &str, most: usize, also: &str) -> Option<String> {
    let fits = (1..=most).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c));
    fits.then(|| text.to_owned())
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let lower = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())?;
    }
    lower.then_some(bytes)
}

impl Manifest {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none, or is not written as [`Manifest::to_text`] writes it.
    pub fn parse(text: &str) -> Result<Self, NotAManifest> {
        if text.len() > MAX_MANIFEST {
            return Err(NotAManifest::TooLarge);
        }
        let mut lines = Lines { rest: text };
        if lines.take("lango-update") != Some("1") {
            return Err(NotAManifest::Head);
        }
        let kind = lines.need("kind", |kind| match kind {
            "program" => Some(Kind::Program),
            "image" => Some(Kind::Image),
            _ => None,
        })?;
        let version = lines.need("version", |text| word(text, 32, ".+~_-"))?;
        let number = lines.need("number", |text| number(text).filter(|number| (1..Standing::CLOSED).contains(number)))?;
        let target = match kind {
            Kind::Program => Some(lines.need("target", |text| word(text, 64, "._-"))?),
            Kind::Image => None,
        };
        let mut boards = Vec::new();
        while let Some(board) = lines.take("board") {
            boards.push(word(board, 64, ",._+-").filter(|_| boards.len() < MAX_BOARDS).ok_or(NotAManifest::Line("board"))?);
        }
        if kind == Kind::Image && boards.is_empty() {
            return Err(NotAManifest::Line("board"));
        }
        let most = if kind == Kind::Program { MAX_PROGRAM } else { MAX_IMAGE };
        let size = lines.need("size", |text| self::number(text).filter(|size| (1..=most).contains(size)))?;
        let sha256 = lines.need("sha256", sha256)?;
        let url = lines.need("url", Url::parse)?;
        let until = match lines.take("until") {
            Some(text) => Some(Wall::from_rfc3339(text).ok_or(NotAManifest::Line("until"))?),
            None => None,
        };
        if !lines.rest.is_empty() {
            return Err(NotAManifest::More);
        }
        let manifest = Self { kind, version, number, target, boards, size, sha256, url, until };
        if manifest.to_text() == text { Ok(manifest) } else { Err(NotAManifest::More) }
    }

    /// Its text: what is signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("lango-update 1\nkind {}\nversion {}\nnumber {}\n", self.kind.name(), self.version, self.number);
        for (key, values) in [("target", self.target.as_slice()), ("board", self.boards.as_slice())] {
            for value in values {
                text.extend([key, " ", value, "\n"]);
            }
        }
        // Writing into memory cannot fail.
        let _ = write!(text, "size {}\nsha256 {}\nurl {}\n", self.size, Hex(&self.sha256), self.url);
        if let Some(until) = self.until {
            text.extend(["until ", &until.to_rfc3339(), "\n"]);
        }
        text
    }
}

/// Bytes as hex digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
