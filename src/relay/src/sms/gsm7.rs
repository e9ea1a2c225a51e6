//! The alphabet of texts (GSM 03.38): what fits in one text, and what is left of other writing in it. Pure.

/// Septets in one text. A longer one is sent, and paid for, as several.
pub const ONE_TEXT: usize = 160;

const BASIC: &str =
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// These take two septets.
const EXTENDED: &str = "\u{c}^{}\\[~]|€";

/// How many septets a text takes; nothing where a character is not in the alphabet: such a text is sent in another one, of
/// which only 70 characters fit.
#[must_use]
pub fn septets(text: &str) -> Option<usize> {
    text.chars().try_fold(0, |sum, c| match c {
        _ if BASIC.contains(c) => Some(sum + 1),
        _ if EXTENDED.contains(c) => Some(sum + 2),
        _ => None,
    })
}

/// The same in the alphabet: for names that operators give, never for credentials.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' | '\u{a0}' => out.push(' '),
            _ if BASIC.contains(c) || EXTENDED.contains(c) => out.push(c),
            '‘' | '’' | '`' | '´' => out.push('\''),
            '“' | '”' | '„' | '«' | '»' => out.push('"'),
            '‐' | '‑' | '–' | '—' | '−' => out.push('-'),
            '…' => out.push_str("..."),
            '×' => out.push('x'),
            '•' | '·' => out.push('*'),
            'á' | 'â' | 'ã' => out.push('a'),
            'ê' | 'ë' => out.push('e'),
            'í' | 'î' | 'ï' => out.push('i'),
            'ó' | 'ô' | 'õ' => out.push('o'),
            'ú' | 'û' => out.push('u'),
            'ç' => out.push('c'),
            // Joiners and signs of direction, which nobody sees.
            '\u{200b}'..='\u{200f}' | '\u{fe0f}' | '\u{feff}' => {}
            _ => out.push('?'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_takes() {
        assert_eq!((BASIC.chars().count(), EXTENDED.chars().count()), (127, 10), "with the escape the table has 128");
        for (text, taken) in [("", Some(0)), ("abc", Some(3)), ("€5", Some(3)), ("[x]", Some(5)), ("é", Some(1)), ("ê", None), ("`", None)]
        {
            assert_eq!(septets(text), taken, "{text}");
        }
    }

    #[test]
    fn other_writing_becomes_the_alphabets() {
        for (text, told) in [("1 hour", "1 hour"), ("Kito’s – 2×", "Kito's - 2x"), ("saa…", "saa..."), ("☃", "?"), ("a\nb", "a b")]
        {
            assert_eq!(plain(text), told);
            assert!(septets(&plain(text)).is_some());
        }
    }
}
