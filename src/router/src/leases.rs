//! dnsmasq's lease file, as far as it says what devices call themselves. A phone may call itself anything, so a name is made harmless
//! before anybody sees it.

use lango_core::tree::BTreeMap;
use lango_core::units::Mac;
use std::io::Read as _;
use std::path::Path;

/// Some thousand leases; more is no lease file.
const MAX_SIZE: u64 = 256 * 1024;
/// Characters of a name that are shown: enough to know one's own device by.
const SHOWN: usize = 32;

/// What devices call themselves, by the file as it is now. Nothing where it cannot be read: a name is an extra.
#[must_use]
pub fn names(file: &Path) -> BTreeMap<Mac, String> {
    let mut bytes = Vec::new();
    match std::fs::File::open(file).and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes)) {
        Ok(_) => read(&bytes),
        Err(_) => BTreeMap::new(),
    }
}

/// Reads the file: `END MAC ADDRESS NAME CLIENT-ID` a line, `*` for a name that was not said (dnsmasq's `lease.c`). The lines of
/// DHCPv6 have no MAC in that place, and are left out.
#[must_use]
pub fn read(bytes: &[u8]) -> BTreeMap<Mac, String> {
    let text = String::from_utf8_lossy(bytes);
    let named = text.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let mac = words.next()?.parse().ok()?;
        Some((mac, harmless(words.nth(1)?)?))
    });
    named.collect()
}

/// A name as it may be shown: one line of at most [`SHOWN`] characters, and nothing in it that is not seen or changes what stands
/// beside it. Nothing where nothing is left. Whoever puts it into a page escapes it there.
#[must_use]
pub fn harmless(name: &str) -> Option<String> {
    if name == "*" {
        return None;
    }
    let seen: String = name.chars().filter(|c| !hidden(*c)).take(SHOWN).collect();
    let shown = seen.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}

/// Controls, marks of writing direction (Unicode's Bidi_Control), characters without a width, line and paragraph separators, variation selectors,
/// tags, private ones, and what was no UTF-8.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{10ffff}')
        // Marks that stand above and below what is before them, as many as one likes.
        || matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_of_a_name_is_shown() {
        for (name, shown) in [
            ("Galaxy-A12", Some("Galaxy-A12")),
            ("Mama's phone", Some("Mama's phone")),
            ("simu-ya-Achieng\u{2019}", Some("simu-ya-Achieng\u{2019}")),
            ("*", None),
            ("", None),
            (" \t ", None),
            ("a\nb\u{0}c\u{1b}[31md\u{7f}\u{85}", Some("abc[31md")),
            // Right-to-left override: it would turn round what stands behind it.
            ("evil\u{202e}gpj.exe", Some("evilgpj.exe")),
            ("\u{2066}a\u{2069}\u{200f}b\u{61c}", Some("ab")),
            ("\u{200b}\u{200d}\u{feff}\u{2060}\u{ad}", None),
            ("a\u{2028}b", Some("ab")),
            ("Z\u{335}\u{336}\u{353}algo", Some("Zalgo")),
            ("<script>alert(1)</script>", Some("<script>alert(1)</script>")),
            ("0123456789012345678901234567890123456789", Some("01234567890123456789012345678901")),
            ("\u{fffd}x", Some("x")),
        ] {
            assert_eq!(harmless(name).as_deref(), shown, "{name:?}");
        }
    }

    #[test]
    fn lease_files() {
        let (one, two) = (Mac([2, 0, 0x5e, 0x10, 0, 1]), Mac([2, 0, 0x5e, 0x10, 0, 2]));
        for (file, expected) in [
            ("1763890000 02:00:5e:10:00:01 10.77.0.23 Galaxy-A12 01:02:00:5e:10:00:01\n", vec![(one, "Galaxy-A12")]),
            ("0 02:00:5e:10:00:01 10.77.0.23 a *\n0 02:00:5e:10:00:02 10.77.0.24 b *\n", vec![(one, "a"), (two, "b")]),
            // The newer of two.
            ("0 02:00:5e:10:00:01 10.77.0.23 a *\n0 02:00:5e:10:00:01 10.77.0.24 b *\n", vec![(one, "b")]),
            ("0 02:00:5e:10:00:01 10.77.0.23 * *\n", vec![]),
            ("duid 00:01:00:01:2c\n1763890000 1234 fd00::23 name 00:01\n\n0\n0 zz\n0 02:00:5e:10:00:01\n", vec![]),
            ("", vec![]),
        ] {
            let read = read(file.as_bytes());
            assert_eq!(read.iter().map(|(mac, name)| (*mac, name.as_str())).collect::<Vec<_>>(), expected, "{file}");
        }
        assert_eq!(read(b"0 02:00:5e:10:00:01 10.77.0.23 \xff\xfe *\n").len(), 0);
    }

    #[test]
    fn no_file_no_names() {
        assert!(names(Path::new("/nowhere/dhcp.leases")).is_empty());
    }
}
