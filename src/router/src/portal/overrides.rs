//! What an operator's folder may put in the place of our pages, style, script and texts, and what is wrong with it. Pure: texts in,
//! mistakes out. Nothing here makes a page unsafe that the template or the policy keeps safe: it tells what would not work.

use super::language::Language;
use super::site::Site;
use super::template::{Templates, tags};
use crate::config::uci::Fault;
use lango_core::tree::{BTreeMap, BTreeSet};
use serde_json::{Map, Value};
use strsim::osa_distance;

/// The longest text, in characters: a paragraph.
const LONGEST: usize = 600;

/// A page in the place of ours; `language` says which texts there are.
#[must_use]
pub fn page(name: &str, text: &str, language: &Language) -> Vec<Fault> {
    if let Err(fault) = Templates::default().add(name, text) {
        let said = fault.to_string();
        let what = said.split_once(": ").map_or(said.as_str(), |(_, what)| what);
        return vec![Fault::new(line(fault.line()), what, "each {{#name}} or {{^name}} needs its {{/name}}, and each {{ its }}")];
    }
    let ours: Vec<&str> = Site::templates().iter().map(|(name, _)| *name).chain(["page"]).collect();
    let (values, texts) = (values(), keys(language));
    let mut faults = Vec::new();
    for (at, kind, name) in tags(text) {
        let (what, name, known) = match (kind, name.strip_prefix("t.")) {
            ('!', _) => continue,
            ('>', _) => ("there is no template", name, &ours),
            (_, Some(key)) => ("there is no text", key, &texts),
            (_, None) => ("no page gives the value", name, &values),
        };
        if !known.contains(&name) {
            faults.push(Fault::new(line(at), format!("{what} '{name}'"), near(name, known)));
        }
    }
    faults.extend(marks(text, &PAGE_MARKS));
    faults.extend(elsewhere(text, &["src=", "src ="], ELSEWHERE.1));
    for (index, row) in text.lines().enumerate() {
        if row.split([' ', '\t']).any(|word| word.to_ascii_lowercase().starts_with("on") && word.contains('=')) {
            faults.push(Fault::new(line(index + 1), SCRIPTED.0, SCRIPTED.1));
        }
    }
    for (at, kind, part) in tags(text) {
        if kind == '>' && (part == "layout" || (part == "page" && name != "layout")) {
            faults.push(Fault::new(line(at), format!("'{part}' cannot stand in a page: the layout is around it"), "take it out"));
        }
    }
    if name == "layout" && !tags(text).any(|(_, kind, name)| kind == '>' && name == "page") {
        faults.push(Fault::new(1, "the layout holds no page", "write {{>page}} where the page shall stand"));
    }
    faults.sort_by_key(|fault| fault.line);
    faults
}

/// Templates that hold themselves, through others or at once: each would be written over and over in itself. `own` are the operator's, in
/// the place of ours.
#[must_use]
pub fn circles(own: &[(String, String)]) -> Vec<(String, Fault)> {
    let ours = Site::templates().iter().copied();
    let all: BTreeMap<&str, &str> = ours.chain(own.iter().map(|(name, text)| (name.as_str(), text.as_str()))).collect();
    let parts = |name: &str| all.get(name).into_iter().flat_map(|text| tags(text)).filter(|(_, kind, _)| *kind == '>');
    let leads_to = |from: &str, to: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(name) = next.pop() {
            if name == to {
                return true;
            }
            if seen.insert(name.clone()) {
                next.extend(parts(&name).map(|(.., part)| part.to_owned()));
            }
        }
        false
    };
    let circle = |(name, _): &(String, String)| {
        let (at, _, part) = parts(name).find(|(.., part)| leads_to(part, name))?;
        let through = if part == name { String::new() } else { format!(" by way of '{part}'") };
        Some((name.clone(), Fault::new(line(at), format!("'{name}' holds itself{through}"), "take {{>…}} out of one of them")))
    };
    own.iter().filter_map(circle).collect()
}

type Mark = (&'static str, &'static str, &'static str);

const SCRIPTED: (&str, &str) =
    ("browsers run no script that stands in a page here", "put it into script.js, and let it find elements by data-… attributes");
const STYLED: (&str, &str) = ("browsers take no style that stands in a page here", "put it into style.css, and name it by class=\"…\"");
const ELSEWHERE: (&str, &str) =
    ("nothing can be loaded from elsewhere: the phone is not online yet", "leave it out; `option logo` is for a picture");
const UNQUOTED: (&str, &str) = ("a value stands in an attribute without quotes", "write it as name=\"{{value}}\"");

/// In a page, in small letters.
const PAGE_MARKS: [Mark; 9] = [
    ("={{", UNQUOTED.0, UNQUOTED.1),
    ("= {{", UNQUOTED.0, UNQUOTED.1),
    ("<script", SCRIPTED.0, SCRIPTED.1),
    ("javascript:", SCRIPTED.0, SCRIPTED.1),
    ("<style", STYLED.0, STYLED.1),
    (" style=", STYLED.0, STYLED.1),
    ("srcset=", ELSEWHERE.0, ELSEWHERE.1),
    ("<iframe", ELSEWHERE.0, ELSEWHERE.1),
    ("<link", ELSEWHERE.0, ELSEWHERE.1),
];

/// A style in the place of ours.
#[must_use]
pub fn style(text: &str) -> Vec<Fault> {
    let mut faults = marks(
        text,
        &[
            ("</style", "this would end the style", "take it out: this file has rules alone"),
            ("@import", ELSEWHERE.0, "copy the rules into this file"),
            ("@font-face", ELSEWHERE.0, "name fonts that phones have"),
        ],
    );
    faults.extend(elsewhere(text, &["url("], "leave it out, or write a small picture as url(data:…)"));
    faults.sort_by_key(|fault| fault.line);
    faults
}

/// A script in the place of ours.
#[must_use]
pub fn script(text: &str) -> Vec<Fault> {
    // WHATWG HTML, 13.2.5.4: behind the second the first does not end the element any more.
    marks(
        text,
        &[
            ("</script", "this would end the script", "write it as '<\\/script', or take it out"),
            ("<!--", "in a page this begins a comment", "write it as '<\\!--', or take it out"),
        ],
    )
}

fn marks(text: &str, marks: &[Mark]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, row) in text.lines().enumerate() {
        let row = row.to_ascii_lowercase();
        let found = marks.iter().filter(|(mark, ..)| row.contains(mark));
        faults.extend(found.map(|(_, what, right)| Fault::new(line(index + 1), *what, *right)));
    }
    faults
}

/// Addresses of other hosts behind one of the marks, in quotes or without.
fn elsewhere(text: &str, marks: &[&str], right: &str) -> Vec<Fault> {
    let remote = |rest: &str| {
        let address = rest.trim_start_matches([' ', '\t', '"', '\'']);
        ["http:", "https:", "//"].iter().any(|begin| address.starts_with(begin))
    };
    let mut faults = Vec::new();
    for (index, row) in text.lines().enumerate() {
        let row = row.to_ascii_lowercase();
        if marks.iter().any(|mark| row.split(mark).skip(1).any(remote)) {
            faults.push(Fault::new(line(index + 1), ELSEWHERE.0, right));
        }
    }
    faults
}

/// Texts in the place of some of a language's.
///
/// # Errors
/// All that is wrong with them.
pub fn texts(language: &Language, file: &str) -> Result<Map<String, Value>, Vec<Fault>> {
    let read: Map<String, Value> = serde_json::from_str(file).map_err(|cause| {
        // The cause names its line itself; ours is where it is looked for.
        let said = cause.to_string();
        let what = said.split(" at line ").next().unwrap_or_default();
        vec![Fault::new(line(cause.line()), format!("this is no JSON object: {what}"), "write it as { \"key\": \"text\", … }")]
    })?;
    let known = keys(language);
    let mut faults = Vec::new();
    for (key, value) in &read {
        let at = file.lines().position(|row| row.contains(&format!("\"{key}\""))).map_or(1, |index| line(index + 1));
        if !known.contains(&key.as_str()) {
            faults.push(Fault::new(at, format!("there is no text '{key}'"), near(key, &known)));
            continue;
        }
        let text = value.as_str().unwrap_or_default();
        if text.trim().is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control) {
            faults.push(Fault::new(
                at,
                format!("'{key}' is no text"),
                format!("it must be 1 to {LONGEST} characters on one line, in quotes"),
            ));
            continue;
        }
        let (ours, theirs) = (placeholders(language.text(key)), placeholders(text));
        if let Some(other) = theirs.difference(&ours).next() {
            let right = match ours.is_empty() {
                true => "take it out: this text has no values".to_owned(),
                false => format!("it may hold {}", ours.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")),
            };
            faults.push(Fault::new(at, format!("'{key}' holds {{{other}}}, which nothing fills in"), right));
        } else if let Some(lacking) = ours.difference(&theirs).next() {
            // A price without its amount would be the promise of something else.
            faults.push(Fault::new(at, format!("'{key}' lacks {{{lacking}}}"), format!("ours is \"{}\"", language.text(key))));
        }
    }
    faults.sort_by_key(|fault| fault.line);
    if faults.is_empty() { Ok(read) } else { Err(faults) }
}

fn placeholders(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)).collect()
}

/// Every value that our own pages use: a test holds that each of them is given.
fn values() -> Vec<&'static str> {
    let all = Site::templates().iter().flat_map(|(_, text)| tags(text));
    let values = all.filter(|(_, kind, name)| !matches!(kind, '>' | '!') && !name.starts_with("t."));
    let mut names: Vec<&str> = values.map(|(.., name)| name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn keys(language: &Language) -> Vec<&str> {
    language.texts().as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// What the writer of an unknown word may have meant.
#[must_use]
pub fn near(word: &str, known: &[&str]) -> String {
    match known.iter().map(|name| (osa_distance(word, name), *name)).min() {
        Some((distance, name)) if distance <= name.len().div_ceil(3) => format!("did you mean '{name}'?"),
        _ if known.len() <= 20 => format!("known are {}", known.join(", ")),
        _ => "web/ in the sources has all that are known".to_owned(),
    }
}

fn line(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::language::Languages;
    use super::*;

    fn told(faults: &[Fault]) -> Vec<String> {
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mistake_in_a_page_has_its_line() {
        let languages = Languages::embedded();
        let of = |name: &str, text: &str| told(&page(name, text, languages.at(0)));
        let needs = "each {{#name}} or {{^name}} needs its {{/name}}, and each {{ its }}";
        for (text, expected) in [
            ("<h1>{{heading}}</h1>\n<p>{{text}}</p>{{! a note}}\n{{>keys}}<a href=\"{{here}}\">{{t.log_in}}</a>", vec![]),
            ("a\n{{#package}}", vec![format!("2: the section package is not closed by its own name; {needs}")]),
            ("{{x", vec![format!("1: a {{{{ has no }}}}; {needs}")]),
            ("{{{heading}}}", vec![format!("1: \"{{heading\" is not a name; {needs}")]),
            ("\n\n<p>{{pricee}}</p>", vec!["3: no page gives the value 'pricee'; did you mean 'price'?".to_owned()]),
            ("{{t.log_im}}", vec!["1: there is no text 'log_im'; did you mean 'log_in'?".to_owned()]),
            ("{{>kees}}", vec!["1: there is no template 'kees'; did you mean 'keys'?".to_owned()]),
            ("<a href={{here}}>", vec![format!("1: {}; {}", UNQUOTED.0, UNQUOTED.1)]),
            ("<SCRIPT>x</SCRIPT>", vec![format!("1: {}; {}", SCRIPTED.0, SCRIPTED.1)]),
            ("<b\nonclick=\"x\">", vec![format!("2: {}; {}", SCRIPTED.0, SCRIPTED.1)]),
            ("<p style=\"x\">", vec![format!("1: {}; {}", STYLED.0, STYLED.1)]),
            ("{{>page}}", vec!["1: 'page' cannot stand in a page: the layout is around it; take it out".to_owned()]),
            ("\n{{>layout}}", vec!["2: 'layout' cannot stand in a page: the layout is around it; take it out".to_owned()]),
            ("<img src=\"/logo.png\"><img src=\"data:image/png;base64,AA\">", vec![]),
        ] {
            assert_eq!(of("error", text), expected, "{text}");
        }
        for source in
            ["\"https://example.org/x.png\"", "'http://example.org/x'", "https://example.org/x.png", "//example.org/x", "\" HTTPS://x\""]
        {
            let text = format!("<img src={source}>");
            assert_eq!(of("error", &text), [format!("1: {}; {}", ELSEWHERE.0, ELSEWHERE.1)], "{text}");
        }
        assert_eq!(of("layout", "<body></body>"), ["1: the layout holds no page; write {{>page}} where the page shall stand"]);
        // Ours would all be taken.
        for (name, text) in Site::templates() {
            assert_eq!(of(name, text), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn nothing_holds_itself() {
        let own = |pages: &[(&str, &str)]| pages.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<Vec<_>>();
        let of = |pages: &[(&str, &str)]| circles(&own(pages)).iter().map(|(name, fault)| format!("{name}:{fault}")).collect::<Vec<_>>();
        let right = "take {{>…}} out of one of them";
        assert_eq!(
            of(&[("packages", "a\n{{>packages}}{{>packages}}{{>packages}}")]),
            [format!("packages:2: 'packages' holds itself; {right}")]
        );
        assert_eq!(
            of(&[("facts", "{{>keys}}"), ("keys", "\n{{>facts}}"), ("error", "{{>facts}}")]),
            [
                format!("facts:1: 'facts' holds itself by way of 'keys'; {right}"),
                format!("keys:2: 'keys' holds itself by way of 'facts'; {right}")
            ]
        );
        assert_eq!(of(&[("packages", "{{>facts}}{{>facts}}"), ("error", "{{>facts}}")]), Vec::<String>::new());
        let ours: Vec<_> = Site::templates().to_vec();
        assert_eq!(of(&ours), Vec::<String>::new());
    }

    #[test]
    fn styles_and_scripts() {
        let styles = |text: &str| style(text).iter().map(|fault| fault.line).collect::<Vec<_>>();
        for (text, lines) in [
            ("body{color:red}\na{background:url(data:image/png;base64,AA)}", vec![]),
            ("a{}\n</STYLE><script>", vec![2]),
            ("@import \"https://example.org/x.css\";", vec![1]),
            ("a{background:url(https://example.org/x.png)}", vec![1]),
            ("a{}\nb{background:url( //example.org/x.png)}", vec![2]),
            ("a{background:url(\"//example.org/x.png\")}", vec![1]),
            ("@font-face{src:url('http://example.org/x.woff')}", vec![1, 1]),
        ] {
            assert_eq!(styles(text), lines, "{text}");
        }
        assert_eq!(styles(include_str!("../../../../web/style.css")), Vec::<u32>::new());
        let scripts = |text: &str| script(text).iter().map(|fault| fault.line).collect::<Vec<_>>();
        for (text, lines) in [("var a = 1;", vec![]), ("x\n'</Script>'", vec![2]), ("<!-- x", vec![1])] {
            assert_eq!(scripts(text), lines, "{text}");
        }
        for ours in [
            include_str!("../../../../web/script.js"),
            include_str!("../../../../web/login.js"),
            include_str!("../../../../web/follow.js"),
            include_str!("../../../../web/live.js"),
        ] {
            assert_eq!(scripts(ours), Vec::<u32>::new());
        }
    }

    #[test]
    fn every_mistake_in_texts_has_its_line() {
        let languages = Languages::embedded();
        let of = |text: &str| texts(languages.at(0), text).map(|texts| texts.len()).map_err(|faults| told(&faults));
        let long = format!("{{\"pay\": \"{}\"}}", "x".repeat(LONGEST + 1));
        let no_text = "it must be 1 to 600 characters on one line, in quotes";
        for (text, expected) in [
            ("{}", Ok(0)),
            ("{\"pay\": \"Lipa {price}\", \"log_in\": \"Enter\"}", Ok(2)),
            ("{\"pay\": \"Cheap\"}", Err("1: 'pay' lacks {price}; ours is \"Pay {price}\"".to_owned())),
            ("{\n\"log_on\": \"x\"}", Err("2: there is no text 'log_on'; did you mean 'log_in'?".to_owned())),
            ("{\"pay\": \"Pay {amount}\"}", Err("1: 'pay' holds {amount}, which nothing fills in; it may hold {price}".to_owned())),
            (
                "{\"log_in\": \"{x}\"}",
                Err("1: 'log_in' holds {x}, which nothing fills in; take it out: this text has no values".to_owned()),
            ),
            ("{\"pay\": 1}", Err(format!("1: 'pay' is no text; {no_text}"))),
            ("{\"pay\": \" \"}", Err(format!("1: 'pay' is no text; {no_text}"))),
            (&long, Err(format!("1: 'pay' is no text; {no_text}"))),
        ] {
            assert_eq!(of(text), expected.map_err(|told| vec![told]), "{text}");
        }
        for broken in ["", "[]", "{\n\"pay\": \"x\",\n}", "\"x\""] {
            let said = of(broken).expect_err(broken).concat();
            assert!(said.contains("this is no JSON object") && said.contains("write it as"), "{said}");
        }
        assert!(of("{\n\"pay\": \"x\",\n}").expect_err("a comma too many").concat().starts_with("3: "));
    }
}
