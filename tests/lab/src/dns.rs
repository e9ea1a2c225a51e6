//! A stub resolver (RFC 1035): a phone asks the DNS server that DHCP gave it, not the machine's own.

use anyhow::{Context, Result, bail};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The record types that phones ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4.
    A = 1,
    /// IPv6.
    Aaaa = 28,
}

/// A query's bytes.
#[must_use]
pub fn query(id: u16, name: &str, kind: Kind) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]); // recursion desired, one question
    for label in name.trim_end_matches('.').split('.') {
        bytes.push(u8::try_from(label.len()).expect("a label has at most 63 letters"));
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, kind as u8, 0, 1]);
    bytes
}

/// The addresses in an answer to the query with that id.
///
/// # Errors
/// When it is no such answer.
pub fn addresses(id: u16, bytes: &[u8]) -> Result<Vec<IpAddr>> {
    let word = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    if word(0) != Some(id) || bytes.get(2).is_none_or(|flags| flags & 0x80 == 0) {
        bail!("not the answer to this query");
    }
    let code = bytes.get(3).context("too short")? & 0x0f;
    if code != 0 {
        bail!("the server answered with code {code}");
    }
    let mut at = 12;
    for _ in 0..word(4).context("too short")? {
        at = after_name(bytes, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..word(6).context("too short")? {
        at = after_name(bytes, at)?;
        let (kind, length) = (word(at).context("too short")?, usize::from(word(at + 8).context("too short")?));
        let data = bytes.get(at + 10..at + 10 + length).context("too short")?;
        match kind {
            1 => found.push(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(data)?))),
            28 => found.push(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(data)?))),
            _ => {}
        }
        at += 10 + length;
    }
    Ok(found)
}

fn after_name(bytes: &[u8], mut at: usize) -> Result<usize> {
    loop {
        match *bytes.get(at).context("too short")? {
            0 => return Ok(at + 1),
            pointer if pointer & 0xc0 == 0xc0 => return Ok(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_a_compressed_name() {
        let mut bytes = query(7, "portal.lan", Kind::A);
        bytes[2] = 0x85;
        bytes[7] = 1;
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 10, 77, 0, 1]);
        assert_eq!(addresses(7, &bytes).unwrap(), ["10.77.0.1".parse::<IpAddr>().unwrap()]);
        assert!(addresses(8, &bytes).is_err());
        for length in 0..bytes.len() {
            assert!(addresses(7, &bytes[..length]).is_err(), "{length} bytes were taken");
        }
    }
}
