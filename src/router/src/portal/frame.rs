//! Where a request ends, and whether it is one: looked at before anything else reads it. Pure.
//!
//! Strict where a second reader could understand something else (RFC 9112 sections 2.2, 3, 5.1, 5.2 and 6.3): what is not plain is
//! refused, and the connection ends. Whoever wants to hide a request within another finds no two readers that disagree.

use super::head::{Head, Reading, Unreadable};

/// The largest head, in bytes, with the empty line that ends it.
pub const MAX_HEAD: usize = 8 * 1024;

/// Headers of one request at most.
pub const MAX_HEADERS: usize = 100;

/// A head that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it says.
    pub head: Head,
    /// Where the body begins.
    pub begins: usize,
    /// The body's length, in bytes: at most [`super::head::MAX_BODY`].
    pub body: usize,
}

/// Why what arrived is no request that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// More than [`MAX_HEAD`] bytes, or more than [`MAX_HEADERS`] headers.
    TooLong,
    /// Something else.
    Unreadable(Unreadable),
}

const MALFORMED: Fault = Fault::Unreadable(Unreadable::Malformed);

/// Finds the head that `bytes` begin with; none where it has not all arrived. `looked_at` is how far earlier calls looked, and begins
/// with 0.
///
/// # Errors
/// When the bytes cannot become a request.
pub fn find(bytes: &[u8], looked_at: &mut usize) -> Result<Option<Frame>, Fault> {
    // Nobody waits for more of what cannot become a request: a TLS handshake, or noise.
    if bytes.first().is_some_and(|first| !is_token(*first)) {
        return Err(MALFORMED);
    }
    let Some(begins) = end_of_head(bytes, *looked_at) else {
        *looked_at = bytes.len();
        return if bytes.len() < MAX_HEAD { Ok(None) } else { Err(Fault::TooLong) };
    };
    if begins > MAX_HEAD {
        return Err(Fault::TooLong);
    }
    let (line, mut rest) = first_line(&bytes[..begins]).ok_or(MALFORMED)?;
    let [method, target, version] = request_line(line).ok_or(MALFORMED)?;
    let mut reading = Reading::begin(method, target, version);
    let mut headers = 0;
    while let Some((line, later)) = first_line(rest).filter(|(line, _)| !line.is_empty()) {
        if headers == MAX_HEADERS {
            return Err(Fault::TooLong);
        }
        let (name, value) = header(line).ok_or(MALFORMED)?;
        reading.header(name, value);
        (rest, headers) = (later, headers + 1);
    }
    let (head, body) = reading.end().map_err(Fault::Unreadable)?;
    let body = usize::try_from(body).map_err(|_| Fault::Unreadable(Unreadable::TooLarge))?;
    Ok(Some(Frame { head, begins, body }))
}

/// Behind the first empty line. Lines end with LF, with or without CR before it (RFC 9112 section 2.2).
fn end_of_head(bytes: &[u8], looked_at: usize) -> Option<usize> {
    // An end of a line just before may be the first of the two.
    let mut at = looked_at.saturating_sub(2);
    while let Some(line) = line_feed(bytes.get(at..)?) {
        at += line + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// The first line without its end, and what follows it.
fn first_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = bytes.split_at_checked(line_feed(bytes)? + 1)?;
    let line = &line[..line.len() - 1];
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

/// Three words of visible ASCII with one space between them.
fn request_line(line: &[u8]) -> Option<[&str; 3]> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.bytes().all(|byte| matches!(byte, b' '..=b'~')))?;
    let mut words = line.split(' ');
    let all = [words.next()?, words.next()?, words.next()?];
    let plain = words.next().is_none() && all.iter().all(|word| !word.is_empty()) && all[0].bytes().all(is_token);
    // A fragment is never sent (RFC 9112 section 3.2.1).
    (plain && !all[1].contains('#')).then_some(all)
}

/// A name, a colon right behind it, and a value; a line that begins with a space would be the rest of the one before, and is none.
fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = line.iter().position(|byte| !is_token(*byte)).filter(|length| *length > 0)?;
    let (name, value) = line.split_at(length);
    let value = value.strip_prefix(b":").filter(|value| is_plain(value))?;
    Some((name, value.trim_ascii()))
}

/// RFC 9110 section 5.6.2.
const fn is_token(byte: u8) -> bool {
    TOKENS[byte as usize]
}

/// Every byte of every request is looked at, so it is looked up what it is.
static TOKENS: [bool; 256] = {
    let (mut all, mut byte) = ([false; 256], 0);
    while byte < 128 {
        all[byte] = matches!(
            byte as u8,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'z' | b'|' | b'~' | b'0'..=b'9' | b'A'..=b'Z'
        );
        byte += 1;
    }
    all
};

/// Bytes that are looked at together.
const WORD: usize = size_of::<usize>();

/// The same byte in each place of a word.
const fn each(byte: u8) -> usize {
    usize::MAX / 255 * byte as usize
}

/// Whether one of a word's bytes is less than `limit`, which is 128 at most.
const fn has_less(word: usize, limit: u8) -> bool {
    word.wrapping_sub(each(limit)) & !word & each(128) != 0
}

/// Where the first line ends.
fn line_feed(bytes: &[u8]) -> Option<usize> {
    let without = |word: &&[u8; WORD]| !has_less(usize::from_ne_bytes(**word) ^ each(b'\n'), 1);
    let before = bytes.as_chunks().0.iter().take_while(without).count() * WORD;
    bytes[before..].iter().position(|byte| *byte == b'\n').map(|at| before + at)
}

/// Whether all of them may be in a header's value: no control bytes but tabs.
fn is_plain(bytes: &[u8]) -> bool {
    let each_is = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
    let (words, rest) = bytes.as_chunks::<WORD>();
    let is_odd = |bytes: &[u8; WORD]| {
        let word = usize::from_ne_bytes(*bytes);
        has_less(word, b' ') || has_less(word ^ each(0x7f), 1)
    };
    each_is(rest) && words.iter().all(|word| !is_odd(word) || each_is(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Option<Frame>, Fault> {
        find(text, &mut 0)
    }

    #[test]
    fn a_request_is_found_however_it_arrives() {
        let text = b"POST /login?x=1 HTTP/1.1\r\nHost: portal.lan\r\nX-Odd: caf\xc3\xa9 \xff\t\r\nContent-Length: 3\r\n\r\na=bGET";
        let whole = all(text).unwrap().unwrap();
        assert_eq!((whole.begins, whole.body), (text.len() - 6, 3));
        assert_eq!((whole.head.method.as_str(), whole.head.path.as_str(), whole.head.host.as_str()), ("POST", "/login", "portal.lan"));
        let mut looked_at = 0;
        for length in 0..whole.begins {
            assert_eq!(find(&text[..length], &mut looked_at), Ok(None), "{length}");
        }
        assert_eq!(find(&text[..whole.begins], &mut looked_at).unwrap().unwrap(), whole);
        for (text, begins) in [(&b"GET / HTTP/1.1\n\nmore"[..], 16), (b"GET / HTTP/1.1\r\nA:\n\r\n", 21), (b"GET / HTTP/1.1\n\r\n", 17)] {
            assert_eq!(all(text).unwrap().unwrap().begins, begins);
        }
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        for text in [
            &b"\r\n\r\n"[..],
            b" GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01",
            b"\0",
            b"GET /\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1 \r\n\r\n",
            b"GET\t/\tHTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1 extra\r\n\r\n",
            b"GET /# HTTP/1.1\r\n\r\n",
            b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
            b"GET /\0 HTTP/1.1\r\n\r\n",
            b"G@T / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\n: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n more\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\0\r\n\r\n",
            b"GET / HTTP/1.1\r\nX\xc3\xa9: x\r\n\r\n",
            b"GET / HTTP/1.1\r\n\x0c\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        ] {
            assert_eq!(all(text), Err(MALFORMED), "{}", String::from_utf8_lossy(text));
        }
        for (text, fault) in [
            (&b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"[..], Unreadable::Chunked),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n", Unreadable::Malformed),
            (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding:\tCHUNKED\r\n\r\n", Unreadable::Chunked),
            (b"POST / HTTP/1.1\r\nContent-Length: 8193\r\n\r\n", Unreadable::TooLarge),
            (b"POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n", Unreadable::TooLarge),
            (b"POST / HTTP/1.1\r\nContent-Length: 3 3\r\n\r\n", Unreadable::Length),
        ] {
            assert_eq!(all(text), Err(Fault::Unreadable(fault)), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn bytes_are_the_same_looked_at_together() {
        let plain = |byte: u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        for length in 1..3 * WORD {
            for at in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    assert_eq!(is_plain(&bytes), plain(byte), "{bytes:?}");
                    assert_eq!(line_feed(&bytes), (byte == b'\n').then_some(at), "{bytes:?}");
                    // What carries from one byte into the next must not hide it, nor be taken for one.
                    bytes.fill(byte);
                    bytes[at] = b'\n';
                    assert_eq!(line_feed(&bytes), Some(if byte == b'\n' { 0 } else { at }), "{bytes:?}");
                    assert!(!is_plain(&bytes));
                }
            }
        }
    }

    #[test]
    fn a_head_has_an_end() {
        let lines = |count| [&b"GET / HTTP/1.1\r\n"[..], &b"a:b\n".repeat(count), b"\r\n"].concat();
        assert!(all(&lines(MAX_HEADERS)).unwrap().is_some());
        assert_eq!(all(&lines(MAX_HEADERS + 1)), Err(Fault::TooLong));
        let long = |length: usize| [b"GET /", &vec![b'a'; length - 18][..], b" HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(long(MAX_HEAD).len(), MAX_HEAD);
        assert!(all(&long(MAX_HEAD)).unwrap().is_some());
        assert_eq!(all(&long(MAX_HEAD + 1)), Err(Fault::TooLong));
        assert_eq!(all(&long(MAX_HEAD + 1)[..MAX_HEAD]), Err(Fault::TooLong));
        assert_eq!(all(&long(MAX_HEAD)[..MAX_HEAD - 1]), Ok(None));
    }
}
