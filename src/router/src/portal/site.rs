//! The site: templates and languages, and whole pages made from them. Pure.

use super::gzip;
use super::language::{Language, Languages};
use super::logo::Logo;
use super::reply::{Problem, Reply};
use super::template::Templates;
use super::top::{Inlined, Needs, Top};
use super::view;
use crate::config::settings::Support;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

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
    ("terms", include_str!("../../../../web/pages/terms.html")),
    ("error", include_str!("../../../../web/pages/error.html")),
];

/// What an operator has made of it (`own.rs` reads and checks it); nothing: as it is in the binary.
#[derive(Debug, Default)]
pub struct Own {
    /// Style and script.
    pub inlined: Inlined,
    /// Pages in the place of ours, by their names, and known to be templates.
    pub pages: Vec<(String, String)>,
    /// Texts in the place of ours, by language.
    pub texts: Vec<(String, Map<String, Value>)>,
    /// The picture beside the hotspot's name.
    pub logo: Option<Logo>,
    /// Whom customers call.
    pub support: Option<Support>,
    /// What they accept by paying, by language; the first is for those of a language that has none.
    pub terms: Vec<(String, String)>,
}

/// Templates, languages and what else pages are made from.
#[derive(Debug)]
pub struct Site {
    templates: Templates,
    languages: Languages,
    inlined: Inlined,
    /// For each language one for each of [`Needs`], made when it is needed first.
    tops: Vec<[OnceLock<Top>; Needs::KINDS]>,
    logo: Option<Logo>,
    support: Option<Support>,
    terms: Vec<(String, String)>,
}

/// Who looks at a page, and how.
pub struct Visit {
    site: Arc<Site>,
    /// The language's place.
    place: usize,
    /// Whether the language was chosen by a link, so that all further links carry it on.
    chosen: bool,
    /// Whether a gzip file may be answered.
    gzip: bool,
    /// The hotspot's name.
    name: String,
    /// The page's own path, made by us.
    here: String,
}

impl Site {
    /// The site that is in the binary, with what the operator has put into its place.
    #[must_use]
    pub fn new(own: Own) -> Self {
        let mut templates = Templates::default();
        let ours = TEMPLATES.iter().copied();
        for (name, text) in ours.chain(own.pages.iter().map(|(name, text)| (name.as_str(), text.as_str()))) {
            if let Err(fault) = templates.add(name, text) {
                // A test reads all of ours, and the operator's were read before: this is never seen.
                log::error!("portal: the template {name}: {fault}");
            }
        }
        let mut languages = Languages::embedded();
        for (code, texts) in own.texts {
            languages.replace(&code, texts);
        }
        let tops = languages.iter().map(|_| [const { OnceLock::new() }; Needs::KINDS]).collect();
        Self { templates, languages, inlined: own.inlined, tops, logo: own.logo, support: own.support, terms: own.terms }
    }

    /// Our own pages' templates, by name.
    pub(super) fn templates() -> &'static [(&'static str, &'static str)] {
        TEMPLATES
    }

    /// In which language somebody reads who says what languages they read: its place, and whether a link chose it. Two who look at one page
    /// may differ in this, and in the encoding.
    #[must_use]
    pub fn spoken(&self, asked: Option<&str>, accept_language: Option<&str>) -> (usize, bool) {
        let place = self.languages.chosen(asked, accept_language);
        (place, asked.is_some_and(|asked| asked.eq_ignore_ascii_case(self.languages.at(place).code)))
    }

    /// The head of pages in the language of that place.
    fn top(&self, place: usize, needs: Needs) -> Option<&Top> {
        let top = self.tops.get(place)?.get(needs.place())?;
        Some(top.get_or_init(|| self.inlined.top(self.languages.at(place).code, needs)))
    }

    /// What browsers take on a page with this head, and nothing else.
    fn policy(&self, top: &Top) -> String {
        let Top { styles, scripts, .. } = top;
        let pictures = if self.logo.is_some() { "'self' data:" } else { "data:" };
        format!(
            "default-src 'none'; style-src{styles}; script-src{scripts}; connect-src 'self'; img-src {pictures}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
    }

    /// The picture beside the hotspot's name.
    #[must_use]
    pub fn logo(&self) -> Option<&Logo> {
        self.logo.as_ref()
    }

    /// The operator's terms in that language, or in the first in which there are any.
    fn terms(&self, language: &Language) -> Option<&str> {
        let own = self.terms.iter().find(|(code, _)| code.eq_ignore_ascii_case(language.code));
        own.or(self.terms.first()).map(|(_, text)| text.as_str())
    }
}

impl Visit {
    /// Of someone who says what languages they read: by a link (`asked`), or by the phone.
    #[must_use]
    pub fn new(site: Arc<Site>, asked: Option<&str>, accept_language: Option<&str>, gzip: bool, name: String, here: String) -> Self {
        let (place, chosen) = site.spoken(asked, accept_language);
        Self { site, place, chosen, gzip, name, here }
    }

    /// The language that is spoken.
    #[must_use]
    pub fn language(&self) -> &Language {
        self.site.languages.at(self.place)
    }

    /// A path of ours with the language that was chosen.
    #[must_use]
    pub fn link(&self, path: &str) -> String {
        match (self.chosen, path.contains('?')) {
            (false, _) => path.to_owned(),
            (true, false) => format!("{path}?lang={}", self.language().code),
            (true, true) => format!("{path}&lang={}", self.language().code),
        }
    }

    /// A page: what `values` says, within the layout.
    #[must_use]
    pub fn page(&self, status: u16, page: &str, title: &str, values: Value) -> Reply {
        let (site, spoken) = (&*self.site, self.language());
        let languages: Vec<Value> = site
            .languages
            .iter()
            .map(|other| {
                let separator = if self.here.contains('?') { '&' } else { '?' };
                json!({
                    "code": other.code,
                    "label": other.text("language_name"),
                    "href": format!("{}{separator}lang={}", self.here, other.code),
                    "current": other.code == spoken.code,
                })
            })
            .collect();
        let call = |support: &Support| json!({"tel": support.tel, "call": spoken.fill("help_call", &[("phone", &support.shown.replace(' ', "\u{a0}"))])});
        let mut all = json!({
            "name": self.name,
            "title": title,
            "q": self.link("").as_str(),
            "all": self.link("?all=1").as_str(),
            "here": self.link(&self.here),
            "languages": languages,
            "logo": site.logo.as_ref().map(Logo::path),
            "support": site.support.as_ref().map(call),
            "terms": !site.terms.is_empty(),
            // What the form before did; only pages that a form leads to say it.
            "said": null,
        });
        if let (Some(all), Value::Object(values)) = (all.as_object_mut(), values) {
            all.extend(values);
        }
        let tail = site.templates.render("layout", page, &[&spoken.scope, &all]);
        let mut reply = Reply::new(status, "text/html; charset=utf-8", Vec::new())
            .with("Cache-Control", "no-store")
            // Not no-referrer: a browser would then send its forms with "Origin: null".
            .with("Referrer-Policy", "same-origin")
            .with("X-Frame-Options", "DENY")
            .with("Content-Language", spoken.code)
            .with("Vary", "Accept-Language, Accept-Encoding");
        let Some(top) = site.top(self.place, Needs::of(&tail)) else { return reply };
        reply = reply.with("Content-Security-Policy", site.policy(top));
        if self.gzip {
            reply.body = gzip::file(&top.packed, top.length, top.crc, tail.as_bytes());
            reply.with("Content-Encoding", "gzip")
        } else {
            reply.body.clone_from(&top.plain);
            reply.body.push(Cow::Owned(tail.into_bytes()));
            reply
        }
    }

    /// The operator's terms, where there are any.
    #[must_use]
    pub fn terms_page(&self) -> Option<Reply> {
        let text = self.site.terms(self.language())?;
        // Windows ends its lines otherwise; what stands between empty lines is a paragraph.
        let text = text.replace("\r\n", "\n");
        let paragraphs = text.split("\n\n").map(str::trim).filter(|text| !text.is_empty()).map(|text| json!({ "text": text }));
        let values = json!({"paragraphs": paragraphs.collect::<Vec<_>>()});
        Some(self.page(200, "terms", self.language().text("terms"), values))
    }

    /// The page that says what cannot be done.
    #[must_use]
    pub fn problem(&self, problem: &Problem) -> Reply {
        let language = self.language();
        let heading = language.text(if problem.status == 404 { "not_found_title" } else { "error_title" });
        let text = view::problem(language, problem);
        // That text speaks of logging in.
        let login = problem.code == "unknown_payment";
        self.page(problem.status, "error", heading, json!({"heading": heading, "text": text, "login_link": login}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_templates_and_know_their_texts() {
        let site = Site::new(Own::default());
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
        let site = Site::new(Own::default());
        for key in site.languages.choose(None, None).texts().as_object().unwrap().keys() {
            let stems = ["reason_", "advice_", "error_"]; // made from the core's own codes
            let used = templates.contains(&format!("{{{{t.{key}}}}}"))
                || sources.contains(&format!("\"{key}\""))
                || stems.iter().any(|stem| key.starts_with(stem));
            assert!(used, "the text {key} is used nowhere");
        }
    }

    fn visit(site: &Arc<Site>, asked: Option<&str>, gzip: bool, here: &str) -> Visit {
        Visit::new(site.clone(), asked, None, gzip, "<b>Mama's</b> & \"Wi-Fi\"".to_owned(), here.to_owned())
    }

    fn unpacked(reply: Reply) -> String {
        let mut unpacked = String::new();
        let packed = reply.body.concat();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).expect("it is a gzip file");
        unpacked
    }

    #[test]
    fn a_page_is_light_safe_and_the_same_in_both_encodings() {
        let site = Arc::new(Site::new(Own::default()));
        for code in site.languages.iter().map(|language| language.code) {
            let page = |gzip| visit(&site, Some(code), gzip, "/login").page(200, "login", "Log in", json!({"username": "\"><script>"}));
            let plain = String::from_utf8(page(false).body.concat()).unwrap();
            assert_eq!(unpacked(page(true)), plain);
            let weight = page(true).body.concat().len();
            assert!(weight < 14 * 1024, "{weight} bytes");
            assert!(plain.starts_with(&format!("<!doctype html>\n<html lang=\"{code}\">")));
            assert!(!plain.contains("<b>Mama") && !plain.contains("\"><script>"));
            assert!(plain.contains("value=\"&quot;&gt;&lt;script&gt;\""));
            // Nothing that the policy would refuse, and nothing from elsewhere.
            for refused in [" style=", " onclick=", " onload=", "javascript:", "src=", "@import", "url(", "https://"] {
                assert!(!plain.contains(refused), "{refused}");
            }
        }
    }

    #[test]
    fn templates_of_the_operator_bring_what_they_have_something_for() {
        let page = |template: &str, inlined: Inlined| {
            let own = Own { inlined, pages: vec![("error".to_owned(), template.to_owned())], ..Own::default() };
            let reply = visit(&Arc::new(Site::new(own)), None, false, "/").problem(&lango_core::request::Refusal::Expired.into());
            let policy = reply.headers.iter().find(|(name, _)| *name == "Content-Security-Policy").unwrap().1.clone();
            (String::from_utf8(reply.body.concat()).unwrap(), policy)
        };
        // A line of each part of ours, as docs/branding.md names them.
        let parts = [".hint{", ".steps{", "var lango=", "l.login=", "new EventSource", "check-session"];
        for (template, expected) in [
            ("<p class=\"hint steps\">{{text}}</p>", [false, false, false, false, false, false]),
            ("<form method=\"post\" action=\"/logout\"><button>{{text}}</button></form>", [false, false, true, false, false, false]),
            ("<form method=\"post\" action=\"/voucher\"><input name=\"code\">{{text}}</form>", [true, false, true, false, false, false]),
            (
                "<form method=\"post\" data-next=\"/account\"><input name=\"username\">{{text}}</form>",
                [true, false, true, true, false, false],
            ),
            (
                "<ol class=\"steps\" data-follow=\"/api/payments/1\" data-next=\"/\"><li>{{text}}</ol>",
                [false, true, true, false, true, false],
            ),
            ("<p data-units=\"{}\">{{text}}</p>", [false, false, true, false, false, true]),
        ] {
            let (ours, _) = page(template, Inlined::default());
            assert_eq!(parts.map(|part| ours.contains(part)), expected, "{template}");
            // What is the operator's own is there in any case, whole, and nothing of ours.
            let inlined =
                Inlined { style: Some(".mine{}".to_owned()), script: Some("mine();".to_owned()), more: Some(".more{}".to_owned()) };
            let (own, policy) = page(template, inlined);
            assert_eq!(parts.map(|part| own.contains(part)), [false; 6], "{template}");
            for inside in ["<style>.mine{}</style>", "<style>.more{}</style>", "<script>mine();</script>"] {
                assert!(own.contains(inside), "{inside} is not in {own}");
            }
            // Two styles and a script by their hashes, and nothing else; asked is the router alone.
            assert_eq!(policy.matches("'sha256-").count(), 3, "{policy}");
            assert!(policy.contains("connect-src 'self';") && !policy.contains("unsafe"), "{policy}");
        }
    }

    #[test]
    fn what_the_operator_put_in_our_place_is_in_the_page_and_in_the_policy() {
        let own = Own {
            inlined: Inlined {
                style: Some("body{color:red}".to_owned()),
                script: Some("var mine;".to_owned()),
                more: Some(":root{--go:#123456}".to_owned()),
            },
            pages: vec![("error".to_owned(), "<h1>Mine: {{text}}</h1>".to_owned())],
            texts: vec![("sw".to_owned(), Map::from_iter([("error_expired".to_owned(), json!("<i>Umekwisha"))]))],
            support: Some(Support { tel: "0712345678".to_owned(), shown: "0712 345 678".to_owned() }),
            terms: vec![("sw".to_owned(), "Moja & <b>\r\n\r\n\nMbili\nTatu\n".to_owned())],
            logo: None,
        };
        let site = Arc::new(Site::new(own));
        let reply = || visit(&site, Some("sw"), true, "/").problem(&lango_core::request::Refusal::Expired.into());
        let headers = reply().headers;
        let policy = &headers.iter().find(|(name, _)| *name == "Content-Security-Policy").unwrap().1;
        let page = unpacked(reply());
        for (element, inside) in [("style", "body{color:red}"), ("script", "var mine;"), ("style", ":root{--go:#123456}")] {
            assert!(page.contains(&format!("<{element}>{inside}</{element}>")), "{inside} is not in {page}");
            let hash = base64::Engine::encode(
                &base64::engine::general_purpose::STANDARD,
                ring::digest::digest(&ring::digest::SHA256, inside.as_bytes()),
            );
            assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");
        }
        assert_eq!(policy.matches("sha256-").count(), 3, "ours are not in it any more: {policy}");
        assert!(page.contains("<h1>Mine: &lt;i&gt;Umekwisha</h1>"), "{page}");
        assert!(page.contains("href=\"tel:0712345678\"") && page.contains("0712\u{a0}345\u{a0}678"));
        assert!(page.contains("href=\"/terms?lang=sw\""));
        for code in ["sw", "en"] {
            let terms = unpacked(visit(&site, Some(code), true, "/terms").terms_page().unwrap());
            assert!(terms.contains("<p>Moja &amp; &lt;b&gt;</p>\n<p>Mbili\nTatu</p>"), "{terms}");
        }
        assert!(visit(&Arc::new(Site::new(Own::default())), None, true, "/terms").terms_page().is_none());
    }

    #[test]
    fn links_carry_the_chosen_language_on() {
        let site = Arc::new(Site::new(Own::default()));
        let chosen = visit(&site, Some("sw"), false, "/");
        assert_eq!((chosen.link("/"), chosen.link("/?all=1")), ("/?lang=sw".to_owned(), "/?all=1&lang=sw".to_owned()));
        assert_eq!(visit(&site, None, false, "/").link("/?all=1"), "/?all=1");
        assert_eq!(visit(&site, Some("xx"), false, "/").link("/"), "/", "what is none of ours is not carried on");
    }
}
