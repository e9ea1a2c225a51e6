//! What a web server is asked, and the head of what it answers (RFC 9110, RFC 9112). Pure.

use lango_core::update::{Reason, Url};

/// A longer head is none of a file.
pub const MAX_HEAD: usize = 8 * 1024;

/// Lines that a head has at most.
const LINES: usize = 64;

/// What the answer's body is, of a file of which so many bytes are there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The file from its beginning.
    Whole,
    /// The rest of it.
    Rest,
    /// None: the file is elsewhere.
    Elsewhere(Url),
}

/// Why no body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum No {
    /// Perhaps later.
    NotNow,
    /// And never will be.
    Never(Reason),
}

/// The request for a file of which `have` bytes are there.
#[must_use]
pub fn request(url: &Url, have: u64) -> String {
    let Url { host, port, path } = url;
    let host = if *port == 443 { host.clone() } else { format!("{host}:{port}") };
    let range = if have == 0 { String::new() } else { format!("Range: bytes={have}-\r\n") };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lango/{}\r\nAccept-Encoding: identity\r\n{range}Connection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Reads the head of what `url` answered, as far as it is there: nothing, where more of it is wanted; else its length, and what follows it.
///
/// # Errors
/// When there is no file of `size` bytes behind it.
pub fn read(bytes: &[u8], url: &Url, size: u64, have: u64) -> Result<Option<(usize, Body)>, No> {
    let mut lines = [httparse::EMPTY_HEADER; LINES];
    let mut head = httparse::Response::new(&mut lines);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(_) | Err(_) => return Err(No::NotNow),
    };
    let value = |name: &str| {
        let mut all = head.headers.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
        let first = all.next().and_then(|line| str::from_utf8(line.value).ok()).map(str::trim);
        // Two that differ are a way to smuggle.
        first.filter(|_| all.next().is_none())
    };
    let has = |name: &str| head.headers.iter().any(|line| line.name.eq_ignore_ascii_case(name));
    let coded = has("transfer-encoding") || value("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"));
    let told = value("content-length").and_then(|length| length.parse::<u64>().ok());
    match (head.code.unwrap_or_default(), told) {
        // How long it is must be known before the first byte is taken.
        (200 | 206, _) if coded => Err(No::Never(Reason::Unreachable)),
        (200 | 206, None) => Err(No::Never(Reason::Unreachable)),
        (200, Some(told)) if told == size => Ok(Some((length, Body::Whole))),
        (206, Some(told)) if told == size.saturating_sub(have) && value("content-range") == Some(&range(have, size)) => {
            Ok(Some((length, Body::Rest)))
        }
        (200 | 206, Some(_)) => Err(No::Never(Reason::WrongSize)),
        (301 | 302 | 303 | 307 | 308, _) => {
            let url = value("location").and_then(|location| url.elsewhere(location)).ok_or(No::Never(Reason::Unreachable))?;
            Ok(Some((length, Body::Elsewhere(url))))
        }
        // Busy (429), or slow (408): it may have it the next time.
        (408 | 429 | 500..=599, _) => Err(No::NotNow),
        _ => Err(No::Never(Reason::Unreachable)),
    }
}

fn range(have: u64, size: u64) -> String {
    format!("bytes {have}-{}/{size}", size.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked() {
        let url = Url::parse("https://u.example:8443/a?b").unwrap();
        let text = request(&url, 0);
        assert!(text.starts_with("GET /a?b HTTP/1.1\r\nHost: u.example:8443\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(!text.contains("Range"));
        assert!(request(&url, 70).contains("\r\nRange: bytes=70-\r\n"));
    }

    #[test]
    fn what_is_answered() {
        let never = |reason| Err(No::Never(reason));
        let asked = Url::parse("https://v.example/a").unwrap();
        let url = Url::parse("https://v.example/b").unwrap();
        for (head, have, wanted) in [
            ("200 OK\r\nContent-Length: 100", 0, Ok(Some(Body::Whole))),
            ("200 OK\r\ncontent-length:100", 40, Ok(Some(Body::Whole))), // it knows no ranges
            ("206 Partial\r\nContent-Length: 60\r\nContent-Range: bytes 40-99/100", 40, Ok(Some(Body::Rest))),
            ("206 Partial\r\nContent-Length: 60\r\nContent-Range: bytes 40-99/101", 40, never(Reason::WrongSize)),
            ("206 Partial\r\nContent-Length: 60\r\nContent-Range: bytes 39-98/100", 40, never(Reason::WrongSize)),
            ("206 Partial\r\nContent-Length: 60", 40, never(Reason::WrongSize)),
            ("200 OK\r\nContent-Length: 101", 0, never(Reason::WrongSize)),
            ("200 OK\r\nContent-Length: 99", 0, never(Reason::WrongSize)),
            ("200 OK\r\nContent-Length: 100\r\nContent-Length: 99", 0, never(Reason::Unreachable)),
            ("200 OK\r\nContent-Length: many", 0, never(Reason::Unreachable)),
            ("200 OK", 0, never(Reason::Unreachable)),
            ("200 OK\r\nContent-Length: 100\r\nTransfer-Encoding: chunked", 0, never(Reason::Unreachable)),
            ("200 OK\r\nContent-Length: 100\r\nContent-Encoding: gzip", 0, never(Reason::Unreachable)),
            ("302 Found\r\nLocation: https://v.example/b", 0, Ok(Some(Body::Elsewhere(url.clone())))),
            ("302 Found\r\nLocation: b", 0, Ok(Some(Body::Elsewhere(url)))),
            ("302 Found\r\nLocation: http://v.example/b", 0, never(Reason::Unreachable)),
            ("302 Found", 0, never(Reason::Unreachable)),
            ("404 Not Found", 0, never(Reason::Unreachable)),
            ("416 Range Not Satisfiable", 40, never(Reason::Unreachable)),
            ("429 Too Many Requests", 0, Err(No::NotNow)),
            ("503 Service Unavailable", 0, Err(No::NotNow)),
            ("000 \x01", 0, Err(No::NotNow)),
        ] {
            let bytes = format!("HTTP/1.1 {head}\r\n\r\nbody");
            assert_eq!(read(bytes.as_bytes(), &asked, 100, have).map(|read| read.map(|(_, body)| body)), wanted, "{head}");
            // A part of it is a part of it.
            for end in 0..bytes.len() - 5 {
                let part = read(&bytes.as_bytes()[..end], &asked, 100, have);
                assert!(part == Ok(None) || part == Err(No::NotNow), "{head} until {end}: {part:?}");
            }
        }
        assert_eq!(read(&[b'a'; MAX_HEAD + 1], &asked, 100, 0), Err(No::NotNow));
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(63)) + "B: " + &"c".repeat(MAX_HEAD);
        assert_eq!(read(endless.as_bytes(), &asked, 100, 0), Err(No::NotNow));
        let (length, _) = read(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbody", &asked, 100, 0).unwrap().unwrap();
        assert_eq!(length, 40);
    }
}
