//! DER (ITU-T X.690), written and never read: as much of it as a certificate request is made of. Pure.

/// `BOOLEAN` and what else a request has none of are not here.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// Tags that a structure gives to its own parts (X.690 section 8.14).
const CONTEXT: u8 = 0x80;
const CONTEXT_CONSTRUCTED: u8 = 0xa0;

/// A value with its tag and its length in front: the shortest form of it (section 10.1).
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let zeros = length.iter().take_while(|byte| **byte == 0).count();
            let digits = length.get(zeros..).unwrap_or_default();
            // At most eight digits, which fit.
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
            out.extend(digits);
        }
    }
    out.extend(content);
    out
}

/// `SEQUENCE` of values that are written already.
#[must_use]
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

/// `SET` of one value: of several the order would matter (section 11.6).
#[must_use]
pub fn set_of_one(part: &[u8]) -> Vec<u8> {
    value(SET, part)
}

/// `INTEGER` from 0 to 127.
#[must_use]
pub fn small_integer(number: u8) -> Vec<u8> {
    value(INTEGER, &[number & 0x7f])
}

/// `OBJECT IDENTIFIER`, given as its encoded arcs (section 8.19).
#[must_use]
pub fn object(encoded_arcs: &[u8]) -> Vec<u8> {
    value(OBJECT_IDENTIFIER, encoded_arcs)
}

/// `BIT STRING` of whole bytes.
#[must_use]
pub fn bits(bytes: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], bytes].concat())
}

/// `OCTET STRING`.
#[must_use]
pub fn octets(bytes: &[u8]) -> Vec<u8> {
    value(OCTET_STRING, bytes)
}

/// `UTF8String`.
#[must_use]
pub fn text(text: &str) -> Vec<u8> {
    value(UTF8_STRING, text.as_bytes())
}

/// `[NUMBER] IMPLICIT` of a plain value, for numbers from 0 to 30.
#[must_use]
pub fn tagged(number: u8, content: &[u8]) -> Vec<u8> {
    value(CONTEXT | (number & 0x1f), content)
}

/// The same of a constructed one.
#[must_use]
pub fn tagged_constructed(number: u8, content: &[u8]) -> Vec<u8> {
    value(CONTEXT_CONSTRUCTED | (number & 0x1f), content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_the_standard_has_them() {
        assert_eq!(small_integer(0), [0x02, 0x01, 0x00]);
        assert_eq!(small_integer(127), [0x02, 0x01, 0x7f]);
        // X.690 section 8.19.5: { 2 999 3 }.
        assert_eq!(object(&[0x88, 0x37, 0x03]), [0x06, 0x03, 0x88, 0x37, 0x03]);
        assert_eq!(sequence(&[]), [0x30, 0x00]);
        assert_eq!(sequence(&[&small_integer(5), &octets(&[1, 2])]), [0x30, 0x07, 0x02, 0x01, 0x05, 0x04, 0x02, 0x01, 0x02]);
        assert_eq!(set_of_one(&sequence(&[])), [0x31, 0x02, 0x30, 0x00]);
        // X.690 section 8.6.4.2, but of whole bytes.
        assert_eq!(bits(&[0x0a, 0x3b]), [0x03, 0x03, 0x00, 0x0a, 0x3b]);
        assert_eq!(text("Jones"), [0x0c, 0x05, b'J', b'o', b'n', b'e', b's']);
        assert_eq!(tagged(2, b"a"), [0x82, 0x01, b'a']);
        assert_eq!(tagged_constructed(0, &[]), [0xa0, 0x00]);
    }

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        for (length, head) in [
            (0, &[0x04, 0x00][..]),
            (127, &[0x04, 0x7f]),
            (128, &[0x04, 0x81, 0x80]),
            (255, &[0x04, 0x81, 0xff]),
            (256, &[0x04, 0x82, 0x01, 0x00]),
            (65_536, &[0x04, 0x83, 0x01, 0x00, 0x00]),
        ] {
            let written = octets(&vec![7; length]);
            assert_eq!((written.get(..head.len()), written.len()), (Some(head), head.len() + length), "{length}");
        }
    }
}
