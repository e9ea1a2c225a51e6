//! The fixed head of every page: style and script inlined, as the build made them, or with an operator's own in their place. Pure.

use super::gzip;
use super::language::Language;
use base64::Engine as _;
use ring::digest;
use std::borrow::Cow;

/// What the build made of a style or a script.
#[derive(Debug)]
pub struct Part {
    /// As it is.
    pub plain: &'static str,
    /// With what stands around it in the head, as raw DEFLATE without an end.
    pub deflated: &'static [u8],
    /// The Content-Security-Policy's hash of `plain`.
    pub hash: &'static str,
}

mod built {
    use super::Part;
    include!(concat!(env!("OUT_DIR"), "/portal_head.rs"));
}
pub use built::TEXTS;

/// The head of all pages of one language.
#[derive(Debug)]
pub struct Top {
    /// As it is.
    pub plain: Vec<Cow<'static, [u8]>>,
    /// The same as DEFLATE blocks, of which none is the last.
    pub packed: Vec<Cow<'static, [u8]>>,
    /// How long `plain` is, in bytes.
    pub length: usize,
    /// The CRC-32 of `plain`.
    pub crc: u32,
}

/// What an operator has put in the place of ours, or beside it. Nothing of it may end the element that it stands in: `overrides` sees to that.
#[derive(Debug, Default)]
pub struct Inlined {
    /// In place of our style.
    pub style: Option<String>,
    /// In place of our script.
    pub script: Option<String>,
    /// Behind that style: colours, and rules of the operator's own.
    pub more: Option<String>,
}

impl Inlined {
    /// The Content-Security-Policy's sources for styles and for scripts.
    #[must_use]
    pub fn policy(&self) -> (String, String) {
        let of = |own: Option<&String>, built: &Part| own.map_or_else(|| built.hash.to_owned(), |own| hash(own));
        let mut styles = of(self.style.as_ref(), &built::STYLE);
        if let Some(more) = &self.more {
            styles.push(' ');
            styles.push_str(&hash(more));
        }
        (styles, of(self.script.as_ref(), &built::SCRIPT))
    }

    /// The head of a language's pages.
    #[must_use]
    pub fn top(&self, language: &Language) -> Top {
        let mut top = Top { plain: Vec::new(), packed: Vec::new(), length: 0, crc: 0 };
        top.store(format!("{}{}", built::OPENING, language.code));
        match &self.style {
            Some(own) => top.store(format!("{}{own}", built::BEFORE_STYLE)),
            None => top.take(&[built::BEFORE_STYLE, built::STYLE.plain], built::STYLE.deflated),
        }
        match &self.script {
            Some(own) => top.store(format!("{}{own}{}", built::BEFORE_SCRIPT, built::END)),
            None => top.take(&[built::BEFORE_SCRIPT, built::SCRIPT.plain, built::END], built::SCRIPT.deflated),
        }
        if let Some(more) = &self.more {
            top.store(format!("<style>{more}</style>\n"));
        }
        top
    }
}

impl Top {
    fn count(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.crc = gzip::crc32(self.crc, bytes);
    }

    /// What the build compressed.
    fn take(&mut self, plain: &[&'static str], deflated: &'static [u8]) {
        for text in plain {
            self.count(text.as_bytes());
            self.plain.push(Cow::Borrowed(text.as_bytes()));
        }
        self.packed.push(Cow::Borrowed(deflated));
    }

    /// What is not compressed: there is no compressor here.
    fn store(&mut self, text: String) {
        self.count(text.as_bytes());
        let mut stored = Vec::new();
        gzip::store(&mut stored, text.as_bytes(), false);
        self.packed.push(Cow::Owned(stored));
        self.plain.push(Cow::Owned(text.into_bytes()));
    }
}

/// A Content-Security-Policy's hash of an inline element (W3C CSP 3, section 2.3.1).
fn hash(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_build_s() {
        assert_eq!(hash(built::STYLE.plain), built::STYLE.hash);
        assert_eq!(hash(built::SCRIPT.plain), built::SCRIPT.hash);
        // By `openssl dgst -sha256 -binary | base64`.
        assert_eq!(hash(""), "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='");
    }
}
