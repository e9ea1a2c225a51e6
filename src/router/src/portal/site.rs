//! The site: templates and languages, and whole pages made from them. Pure.

use super::gzip;
use super::language::{Language, Languages, SCRIPT_HASH, STYLE_HASH};
use super::reply::{Problem, Reply};
use super::template::Templates;
use super::view;
use serde_json::{Value, json};
use std::borrow::Cow;

/// The templates that are in the binary.
const TEMPLATES: &[(&str, &str)] = &[
    ("layout", include_str!("../../../../web/pages/layout.html")),
    ("packages", include_str!("../../../../web/pages/packages.html")),
    ("facts", include_str!("../../../../web/pages/facts.html")),
    ("session", include_str!("../../../../web/pages/session.html")),
    ("buy", include_str!("../../../../web/pages/buy.html")),
    ("wait", include_str!("../../../../web/pages/wait.html")),
    ("done", include_str!("../../../../web/pages/done.html")),
    ("failed", include_str!("../../../../web/pages/failed.html")),
    ("login", include_str!("../../../../web/pages/login.html")),
    ("receipt", include_str!("../../../../web/pages/receipt.html")),
    ("voucher", include_str!("../../../../web/pages/voucher.html")),
    ("keys", include_str!("../../../../web/pages/keys.html")),
    ("account", include_str!("../../../../web/pages/account.html")),
    ("error", include_str!("../../../../web/pages/error.html")),
];

/// Templates and languages.
#[derive(Debug)]
pub struct Site {
    templates: Templates,
    languages: Languages,
}

/// Who looks at a page, and how.
pub struct Visit<'a> {
    /// The language that is spoken.
    pub language: &'a Language,
    /// Whether the language was chosen by a link, so that all further links carry it on.
    pub chosen: bool,
    /// Whether a gzip file may be answered.
    pub gzip: bool,
    /// The hotspot's name.
    pub name: String,
    /// The page's own path, made by us.
    pub here: String,
}

impl Visit<'_> {
    /// A path of ours with the language that was chosen.
    #[must_use]
    pub fn link(&self, path: &str) -> String {
        match (self.chosen, path.contains('?')) {
            (false, _) => path.to_owned(),
            (true, false) => format!("{path}?lang={}", self.language.head.language),
            (true, true) => format!("{path}&lang={}", self.language.head.language),
        }
    }
}

impl Site {
    /// The site that is in the binary.
    #[must_use]
    pub fn embedded() -> Self {
        let mut templates = Templates::default();
        for (name, text) in TEMPLATES {
            if let Err(fault) = templates.add(name, text) {
                // A test reads them all, so this is never seen.
                log::error!("portal: the template {name}: {fault}");
            }
        }
        Self { templates, languages: Languages::embedded() }
    }

    /// The languages.
    #[must_use]
    pub fn languages(&self) -> &Languages {
        &self.languages
    }

    /// A page: what `values` says, within the layout.
    #[must_use]
    pub fn page(&self, visit: &Visit<'_>, status: u16, page: &str, title: &str, values: Value) -> Reply {
        let head = visit.language.head;
        let languages: Vec<Value> = self
            .languages
            .iter()
            .map(|other| {
                let separator = if visit.here.contains('?') { '&' } else { '?' };
                json!({
                    "code": other.head.language,
                    "label": other.text("language_name"),
                    "href": format!("{}{separator}lang={}", visit.here, other.head.language),
                    "current": other.head.language == head.language,
                })
            })
            .collect();
        let mut all = json!({
            "name": visit.name,
            "title": title,
            "q": visit.link("").as_str(),
            "all": visit.link("?all=1").as_str(),
            "here": visit.link(&visit.here),
            "languages": languages,
        });
        if let (Some(all), Value::Object(values)) = (all.as_object_mut(), values) {
            all.extend(values);
        }
        let tail = self.templates.render("layout", page, &[&visit.language.scope, &all]);
        let policy = format!(
            "default-src 'none'; style-src {STYLE_HASH}; script-src {SCRIPT_HASH}; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        let mut reply = Reply::new(status, "text/html; charset=utf-8", Vec::new())
            .with("Cache-Control", "no-store")
            .with("Content-Security-Policy", policy)
            // Not no-referrer: a browser would then send its forms with "Origin: null".
            .with("Referrer-Policy", "same-origin")
            .with("X-Frame-Options", "DENY")
            .with("Content-Language", head.language)
            .with("Vary", "Accept-Language, Accept-Encoding");
        if visit.gzip {
            reply.body = gzip::file(head.deflated, head.plain.len(), head.crc, tail.as_bytes());
            reply.with("Content-Encoding", "gzip")
        } else {
            reply.body = vec![Cow::Borrowed(head.plain.as_bytes()), Cow::Owned(tail.into_bytes())];
            reply
        }
    }

    /// The page that says what cannot be done.
    #[must_use]
    pub fn problem(&self, visit: &Visit<'_>, problem: Problem) -> Reply {
        let heading = visit.language.text(if problem.status == 404 { "not_found_title" } else { "error_title" });
        let text = view::problem(visit.language, &problem);
        self.page(visit, problem.status, "error", heading, json!({"heading": heading, "text": text}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_templates_and_know_their_texts() {
        let site = Site::embedded();
        let mut read = Templates::default();
        for (name, text) in TEMPLATES {
            read.add(name, text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert!(!text.contains("={{") && !text.contains("= {{"), "{name}: an attribute with a value in it must be quoted");
        }
        let english = site.languages.choose(None, None);
        let mut used = 0;
        let sources = [include_str!("view.rs"), include_str!("pages.rs"), include_str!("site.rs")].concat();
        for name in read.names() {
            if let Some(key) = name.strip_prefix("t.") {
                assert!(english.texts().get(key).is_some(), "no text {key}");
                used += 1;
            } else {
                assert!(sources.contains(&format!("\"{name}\"")), "no page gives {name} to its template");
            }
        }
        assert!(used > 40);
    }

    #[test]
    fn every_text_is_used() {
        let sources = [include_str!("view.rs"), include_str!("pages.rs"), include_str!("language.rs"), include_str!("site.rs")].concat();
        let templates: String = TEMPLATES.iter().map(|(_, text)| *text).collect();
        let site = Site::embedded();
        for key in site.languages.choose(None, None).texts().as_object().unwrap().keys() {
            let stems = ["reason_", "advice_", "error_"]; // made from the core's own codes
            let used = templates.contains(&format!("{{{{t.{key}}}}}"))
                || sources.contains(&format!("\"{key}\""))
                || stems.iter().any(|stem| key.starts_with(stem));
            assert!(used, "the text {key} is used nowhere");
        }
    }

    #[test]
    fn a_page_is_light_safe_and_the_same_in_both_encodings() {
        let site = Site::embedded();
        for language in site.languages.iter() {
            let visit =
                |gzip| Visit { language, chosen: true, gzip, name: "<b>Mama's</b> & \"Wi-Fi\"".to_owned(), here: "/login".to_owned() };
            let page = |gzip| site.page(&visit(gzip), 200, "login", "Log in", json!({"username": "\"><script>"}));
            let plain = String::from_utf8(page(false).body.concat()).unwrap();
            let packed = page(true).body.concat();
            let mut unpacked = String::new();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).expect("it is a gzip file");
            assert_eq!(unpacked, plain);
            assert!(packed.len() < 14 * 1024, "{} bytes", packed.len());
            assert!(plain.starts_with(&format!("<!doctype html>\n<html lang=\"{}\">", language.head.language)));
            assert!(!plain.contains("<b>Mama") && !plain.contains("\"><script>"));
            assert!(plain.contains("value=\"&quot;&gt;&lt;script&gt;\""));
            // Nothing that the policy would refuse, and nothing from elsewhere.
            for refused in [" style=", " onclick=", " onload=", "javascript:", "src=", "@import", "url(", "https://"] {
                assert!(!plain.contains(refused), "{refused}");
            }
        }
    }

    #[test]
    fn links_carry_the_chosen_language_on() {
        let site = Site::embedded();
        let language = site.languages.choose(Some("sw"), None);
        let visit = |chosen| Visit { language, chosen, gzip: false, name: String::new(), here: "/".to_owned() };
        assert_eq!((visit(true).link("/"), visit(true).link("/?all=1")), ("/?lang=sw".to_owned(), "/?all=1&lang=sw".to_owned()));
        assert_eq!(visit(false).link("/?all=1"), "/?all=1");
    }
}
