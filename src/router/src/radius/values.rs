//! Texts that servers write limits in: speeds as `RouterOS` has them, and moments. Pure.

use lango_core::time::Wall;
use lango_core::units::{Kbps, Mac};

/// Bits a second as kilobits: never 0 where there was any, for that would be something else. 0 is no limit, as `CoovaChilli`
/// and `RouterOS` have it.
#[must_use]
pub fn speed(bits: u64) -> Option<Kbps> {
    (bits > 0).then(|| Kbps((bits / 1_000).max(1)))
}

/// Mikrotik-Rate-Limit: `RX[/TX]`, and bursts and priorities behind a space, which have no meaning here. RX is from the device;
/// without TX both are the same. Nothing where it cannot be read.
#[must_use]
pub fn rate_limit(text: &str) -> Option<(Option<Kbps>, Option<Kbps>)> {
    let rates = text.split_ascii_whitespace().next()?;
    let (up, down) = rates.split_once('/').unwrap_or((rates, rates));
    Some((speed(bits(up)?), speed(bits(down)?)))
}

fn bits(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (text.get(..text.len() - 1)?, 1_000),
        b'M' | b'm' => (text.get(..text.len() - 1)?, 1_000_000),
        b'G' | b'g' => (text.get(..text.len() - 1)?, 1_000_000_000),
        _ => (text, 1),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit)
}

/// A moment as ISO 8601 has it, as `2026-12-18T19:00:00+03:00`; with `Z`, `+0300` or `+03` as well. Without a zone it is in UTC:
/// the router knows of no other.
#[must_use]
pub fn moment(text: &str) -> Option<Wall> {
    let text = text.trim();
    let (local, zone) = text.split_at_checked(19)?;
    let Wall(local) = Wall::from_rfc3339(&format!("{}Z", local.replacen(' ', "T", 1)))?;
    let ahead = match zone.split_at_checked(1) {
        None | Some(("Z" | "z", "")) => return Some(Wall(local)),
        Some(("+", zone)) => i64::try_from(offset(zone)?).ok()?,
        Some(("-", zone)) => -i64::try_from(offset(zone)?).ok()?,
        Some(_) => return None,
    };
    local.checked_add_signed(-ahead).map(Wall)
}

/// Milliseconds that a zone is away from UTC.
fn offset(zone: &str) -> Option<u64> {
    let digits: String = if zone.len() == 5 && zone.as_bytes().get(2) == Some(&b':') { zone.replacen(':', "", 1) } else { zone.to_owned() };
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: u64 = digits.get(..2)?.parse().ok()?;
    let minutes: u64 = digits.get(2..).filter(|minutes| !minutes.is_empty()).map_or(Some(0), |minutes| minutes.parse().ok())?;
    (hours <= 14 && minutes < 60).then_some((hours * 60 + minutes) * 60_000)
}

/// A device's address in whatever form a server writes it: twelve hex digits, and `-`, `:` or `.` between them.
#[must_use]
pub fn station(text: &str) -> Option<Mac> {
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | ':' | '.')).collect();
    if digits.len() != 12 || !digits.is_ascii() {
        return None;
    }
    let pairs: Vec<&str> = (0..6).filter_map(|index| digits.get(2 * index..2 * index + 2)).collect();
    pairs.join(":").parse().ok()
}

/// What a customer may be shown of a server's text: without control characters and what turns the direction of writing, on one
/// line, and not without end.
#[must_use]
pub fn shown(texts: &[Vec<u8>]) -> Option<String> {
    const MOST: usize = 240;
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut line = String::new();
    for word in texts.iter().map(|text| String::from_utf8_lossy(text)).flat_map(|text| {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(|c| !turns(*c)).collect();
        clean.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    }) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    let end = line.char_indices().nth(MOST).map_or(line.len(), |(end, _)| end);
    line.truncate(end);
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_as_routeros_writes_them() {
        let k = |speed| Some(Kbps(speed));
        for (text, read) in [
            ("512k/2M", Some((k(512), k(2_000)))),
            ("1M", Some((k(1_000), k(1_000)))),
            ("2M/4M 3M/6M 1M/2M 10/10 8 1M/1M", Some((k(2_000), k(4_000)))),
            ("128000/64000", Some((k(128), k(64)))),
            ("1/999", Some((k(1), k(1)))),
            ("0/5M", Some((None, k(5_000)))),
            ("1G/1G", Some((k(1_000_000), k(1_000_000)))),
            ("", None),
            ("fast", None),
            ("-1/1", None),
            ("1M/", None),
            ("k", None),
            ("99999999999999999999", None),
            ("18446744073709551615G", None),
        ] {
            assert_eq!(rate_limit(text), read, "{text}");
        }
    }

    #[test]
    fn moments_with_and_without_a_zone() {
        for (text, utc) in [
            ("2001-12-18T19:00:00+00:00", Some("2001-12-18T19:00:00Z")),
            ("2026-11-22T22:30:00+03:00", Some("2026-11-22T19:30:00Z")),
            ("2026-11-22T22:30:00-0130", Some("2026-11-23T00:00:00Z")),
            ("2026-11-22T22:30:00+03", Some("2026-11-22T19:30:00Z")),
            ("2026-11-22T22:30:00Z", Some("2026-11-22T22:30:00Z")),
            ("2026-11-22T22:30:00", Some("2026-11-22T22:30:00Z")),
            ("2026-11-22 22:30:00", Some("2026-11-22T22:30:00Z")),
            ("2026-11-22", None),
            ("2026-11-22T25:00:00Z", None),
            ("2026-11-22T22:30:00+", None),
            ("2026-11-22T22:30:00+3", None),
            ("2026-11-22T22:30:00+99:00", None),
            ("2026-11-22T22:30:00 EAT", None),
            ("tomorrow, at the same time as today", None),
            ("1970-01-01T00:00:00+01:00", None),
        ] {
            assert_eq!(moment(text).map(Wall::to_rfc3339).as_deref(), utc, "{text}");
        }
    }

    #[test]
    fn devices_as_servers_write_them() {
        for text in ["02-00-5E-10-00-0B", "02:00:5e:10:00:0b", "02005e10000b", "0200.5e10.000b"] {
            assert_eq!(station(text), "02:00:5e:10:00:0b".parse().ok(), "{text}");
        }
        for text in ["", "02-00-5E-10-00", "02-00-5E-10-00-0G", "é2005e1000b", "ff-ff-ff-ff-ff-ff"] {
            assert_eq!(station(text), None, "{text}");
        }
    }

    #[test]
    fn messages_for_customers_are_one_clean_line() {
        let shown_of = |texts: &[&[u8]]| shown(&texts.iter().map(|text| text.to_vec()).collect::<Vec<_>>());
        assert_eq!(shown_of(&[b"Your time\r\n", b" is up\x1b[31m.\0"]).as_deref(), Some("Your time is up [31m."));
        assert_eq!(shown_of(&[]), None);
        assert_eq!(shown_of(&[b"\n\t "]), None);
        assert_eq!(shown_of(&["\u{202e}abc".as_bytes()]).as_deref(), Some("abc"));
        assert_eq!(shown_of(&[&[b'x'; 250], &[b'y'; 250]]).unwrap().chars().count(), 240);
        assert_eq!(shown_of(&[&[0xff, b'a']]).as_deref(), Some("\u{fffd}a"));
    }
}
