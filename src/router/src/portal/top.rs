//! The fixed head of every page: style and script inlined, as the build made them, or with an operator's own in their place. Pure.

use super::gzip;
use base64::Engine as _;
use ring::digest;
use std::borrow::Cow;

/// What the build made of a style or a script.
#[derive(Debug)]
pub struct Part {
    /// The element that it stands in.
    pub element: &'static str,
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

/// What a page has in it that wants a style or a script: pages carry what they have something for, and no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs(usize);

impl Needs {
    const FORM: usize = 1;
    const INPUT: usize = 2;
    const LOGIN: usize = 4;
    const FOLLOW: usize = 8;
    const LIVE: usize = 16;
    /// How many there are.
    pub const KINDS: usize = 32;

    /// Of a page's own part. What stands in it twice, as in a text, costs a needless part, and nothing else.
    #[must_use]
    pub fn of(page: &str) -> Self {
        let login = |form: &str| form.split('>').next().is_some_and(|tag| tag.contains("data-next"));
        let found = [
            (Self::FORM, page.contains("<form")),
            (Self::INPUT, page.contains("<input")),
            (Self::LOGIN, page.split("<form").skip(1).any(login)),
            (Self::FOLLOW, page.contains("data-follow")),
            (Self::LIVE, page.contains("data-units")),
        ];
        Self(found.iter().filter(|(_, there)| *there).map(|(need, _)| need).sum())
    }

    /// Its place among all of them.
    #[must_use]
    pub const fn place(self) -> usize {
        self.0
    }

    const fn has(self, need: usize) -> bool {
        self.0 & need != 0
    }
}

/// The head of all pages of one language that need the same.
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
    /// The Content-Security-Policy's sources for styles.
    pub styles: String,
    /// The same for scripts.
    pub scripts: String,
}

/// What an operator has put in the place of ours, or beside it. Nothing of it may end the element that it stands in: `overrides` sees to that.
#[derive(Debug, Default)]
pub struct Inlined {
    /// In place of our style, all parts of it.
    pub style: Option<String>,
    /// In place of our script, all parts of it; nobody knows what it does, so that every page has it.
    pub script: Option<String>,
    /// Behind that style: colours, and rules of the operator's own.
    pub more: Option<String>,
}

impl Inlined {
    /// The head of a language's pages that need this.
    #[must_use]
    pub fn top(&self, code: &str, needs: Needs) -> Top {
        let mut top = Top { plain: Vec::new(), packed: Vec::new(), length: 0, crc: 0, styles: String::new(), scripts: String::new() };
        top.store(format!("{}{code}", built::OPENING));
        if let Some(own) = &self.style {
            top.own("style", built::BEFORE, own);
        } else {
            top.take(built::BEFORE, &built::STYLE);
            for (need, part) in [(Needs::INPUT, &built::FORM), (Needs::FOLLOW, &built::WAIT)] {
                if needs.has(need) {
                    top.take("", part);
                }
            }
        }
        if let Some(more) = &self.more {
            top.own("style", "", more);
        }
        if let Some(own) = &self.script {
            top.own("script", "", own);
        } else {
            // The others call the first.
            let any = Needs::FORM | Needs::LOGIN | Needs::FOLLOW | Needs::LIVE;
            let parts =
                [(any, &built::SCRIPT), (Needs::LOGIN, &built::LOGIN), (Needs::FOLLOW, &built::FOLLOW), (Needs::LIVE, &built::LIVE)];
            for (need, part) in parts {
                if needs.has(need) {
                    top.take("", part);
                }
            }
        }
        if top.scripts.is_empty() {
            top.scripts.push_str(" 'none'");
        }
        top
    }
}

impl Top {
    fn count(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.crc = gzip::crc32(self.crc, bytes);
    }

    fn allow(&mut self, element: &str, hash: &str) {
        let sources = if element == "style" { &mut self.styles } else { &mut self.scripts };
        sources.push(' ');
        sources.push_str(hash);
    }

    /// What the build compressed, with what stands before it.
    fn take(&mut self, before: &'static str, part: &'static Part) {
        let around = if part.element == "style" { ["<style>", "</style>\n"] } else { ["<script>", "</script>\n"] };
        for text in [before, around[0], part.plain, around[1]] {
            self.count(text.as_bytes());
            self.plain.push(Cow::Borrowed(text.as_bytes()));
        }
        self.packed.push(Cow::Borrowed(part.deflated));
        self.allow(part.element, part.hash);
    }

    /// An operator's own.
    fn own(&mut self, element: &str, before: &str, text: &str) {
        self.store(format!("{before}<{element}>{text}</{element}>\n"));
        self.allow(element, &hash(text));
    }

    /// What is not compressed: blocks that others follow end where a byte does, and what is made here does not.
    fn store(&mut self, text: String) {
        self.count(text.as_bytes());
        let mut stored = Vec::new();
        gzip::store(&mut stored, text.as_bytes());
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
        for part in [&built::STYLE, &built::FORM, &built::WAIT, &built::SCRIPT, &built::LOGIN, &built::FOLLOW, &built::LIVE] {
            assert_eq!(hash(part.plain), part.hash);
        }
        // By `openssl dgst -sha256 -binary | base64`.
        assert_eq!(hash(""), "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='");
    }

    #[test]
    fn a_page_carries_what_it_has_something_for() {
        let parts = |page: &str, inlined: &Inlined| {
            let top = inlined.top("en", Needs::of(page));
            let text = String::from_utf8(top.plain.concat()).unwrap();
            assert_eq!((top.length, top.crc), (text.len(), gzip::crc32(0, text.as_bytes())));
            let known = [&built::FORM, &built::WAIT, &built::SCRIPT, &built::LOGIN, &built::FOLLOW, &built::LIVE];
            assert!(text.contains(built::STYLE.plain) || inlined.style.is_some());
            for part in known {
                let allowed = top.styles.contains(part.hash) || top.scripts.contains(part.hash);
                assert_eq!(text.contains(&format!("<{0}>{1}</{0}>", part.element, part.plain)), allowed);
            }
            known.map(|part| u8::from(text.contains(part.plain)))
        };
        let ours = Inlined::default();
        for (page, expected) in [
            ("<p>", [0, 0, 0, 0, 0, 0]),
            ("<form action=\"/logout\"><button>", [0, 0, 1, 0, 0, 0]),
            ("<form><input><p data-next=\"/\">", [1, 0, 1, 0, 0, 0]),
            ("<form method=\"post\" data-next=\"/account\"><input>", [1, 0, 1, 1, 0, 0]),
            ("<section data-follow=\"/api\"><form>", [0, 1, 1, 0, 1, 0]),
            ("<section data-units=\"{}\">", [0, 0, 1, 0, 0, 1]),
        ] {
            assert_eq!(parts(page, &ours), expected, "{page}");
        }
        assert_eq!(ours.top("en", Needs::default()).scripts, " 'none'");
        // An operator's own are in the place of all of ours, on every page.
        let own = Inlined { style: Some("b{}".to_owned()), script: Some("mine;".to_owned()), more: None };
        assert_eq!(parts("<section data-follow=\"/api\"><form><input>", &own), [0; 6]);
        let bare = String::from_utf8(own.top("en", Needs::default()).plain.concat()).unwrap();
        assert!(bare.ends_with("<style>b{}</style>\n<script>mine;</script>\n"), "{bare}");
    }
}
