//! The operator's logo: what kind of picture it is, and how it is served. Pure.

use super::reply::Reply;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The largest logo, in bytes: it is a second of waiting on a bad day, and lies in the router's RAM.
pub const MAX_SIZE: usize = 16 * 1024;
/// What a PNG file begins with (W3C PNG, section 5.2).
const PNG: &[u8] = &[0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];

/// A picture, checked.
#[derive(Debug)]
pub struct Logo {
    kind: &'static str,
    bytes: Vec<u8>,
    /// Half of its SHA-256, in hexadecimal digits: another picture has another path.
    hash: String,
}

impl Logo {
    /// Takes a file's bytes.
    ///
    /// # Errors
    /// Where it is no such picture: what is wrong, and what would be right.
    pub fn new(bytes: Vec<u8>) -> Result<Self, (&'static str, &'static str)> {
        if bytes.len() > MAX_SIZE {
            return Err(("is larger than 16 KiB", "make it smaller: 128 pixels high are enough, and an SVG needs few bytes"));
        }
        let kind = if bytes.starts_with(PNG) { "image/png" } else { svg(&bytes)? };
        let mut hash = String::with_capacity(32);
        for byte in ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref().iter().take(16) {
            let _ = write!(hash, "{byte:02x}"); // a String takes everything
        }
        Ok(Self { kind, bytes, hash })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/logo/{}", self.hash)
    }

    /// The picture, for who asks for `hash` and has `known` already (`If-None-Match`). A page of before a reload asks for the one of
    /// before: it gets the new one, and does not keep it under the old one's path.
    #[must_use]
    pub fn reply(&self, hash: &str, known: Option<&str>) -> Reply {
        let tag = format!("\"{}\"", self.hash);
        let same = known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
        let keep = if hash == self.hash { "public, max-age=31536000, immutable" } else { "no-cache" };
        let body = if same { Vec::new() } else { self.bytes.clone() };
        Reply::new(if same { 304 } else { 200 }, self.kind, body)
            .with("Cache-Control", keep)
            .with("ETag", tag)
            // Opened by itself an SVG is a document: it may draw, and nothing else.
            .with(
                "Content-Security-Policy",
                Cow::Borrowed("default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"),
            )
    }
}

/// An SVG by its first element; one that wants to run something is none for us, although no browser would let it.
fn svg(bytes: &[u8]) -> Result<&'static str, (&'static str, &'static str)> {
    const NEITHER: (&str, &str) = ("is neither an SVG nor a PNG file by its first bytes", "save it as one of the two");
    let text = std::str::from_utf8(bytes).map_err(|_| NEITHER)?.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    let drawn = text.starts_with("<svg") || ((text.starts_with("<?xml") || text.starts_with("<!")) && text.contains("<svg"));
    if !drawn {
        return Err(NEITHER);
    }
    let runs = |mark: &str| text.contains(mark);
    let handler = text.split_ascii_whitespace().any(|word| word.starts_with("on") && word.contains('='));
    if runs("<script") || runs("javascript:") || runs("<foreignobject") || runs("<!entity") || handler {
        return Err((
            "holds a script, a handler, an entity or a foreign object",
            "save it as a plain SVG: shapes, colours and paths alone",
        ));
    }
    Ok("image/svg+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_logo() {
        let png = [PNG, b"rest"].concat();
        for (bytes, kind) in [
            (&png[..], Some("image/png")),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\"><path d=\"M0 0\"/></svg>", Some("image/svg+xml")),
            (b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- a shop -->\n<svg/>", Some("image/svg+xml")),
            (b"<!DOCTYPE svg><svg/>", Some("image/svg+xml")),
            (b"<svg><script>alert(1)</script></svg>", None),
            (b"<svg><SCRIPT href='x'/></svg>", None),
            (b"<svg onload=\"alert(1)\"/>", None),
            (b"<svg\nonload = 'x' onclick='y'/>", None),
            (b"<svg><a href=\"javascript:x()\"/></svg>", None),
            (b"<svg><foreignObject/></svg>", None),
            (b"<!DOCTYPE svg [<!ENTITY a \"b\">]><svg/>", None),
            (b"<html><svg/></html>", None),
            (b"GIF89a", None),
            (b"\x89PN", None),
            (b"", None),
        ] {
            let logo = Logo::new(bytes.to_vec());
            assert_eq!(logo.as_ref().ok().map(|logo| logo.kind), kind, "{}", String::from_utf8_lossy(bytes));
        }
        assert!(Logo::new([PNG, &[0; MAX_SIZE - 8]].concat()).is_ok());
        assert!(Logo::new([PNG, &[0; MAX_SIZE - 7]].concat()).is_err());
    }

    #[test]
    fn it_is_kept_as_long_as_it_is_the_same() {
        let logo = Logo::new(b"<svg/>".to_vec()).expect("it is one");
        let hash = logo.hash.clone();
        let header = |reply: &Reply, name: &str| reply.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
        let fresh = logo.reply(&hash, None);
        assert_eq!((fresh.status, fresh.body.concat().as_slice()), (200, &b"<svg/>"[..]));
        assert_eq!(header(&fresh, "Cache-Control").as_deref(), Some("public, max-age=31536000, immutable"));
        let tag = header(&fresh, "ETag").expect("it has one");
        for (known, status) in [(tag.as_str(), 304), (&format!("\"x\", W/{tag}"), 304), ("\"x\"", 200), ("", 200)] {
            let reply = logo.reply(&hash, Some(known));
            assert_eq!((reply.status, reply.body.concat().is_empty()), (status, status == 304), "{known}");
        }
        assert_eq!(header(&logo.reply("0000", None), "Cache-Control").as_deref(), Some("no-cache"));
    }
}
