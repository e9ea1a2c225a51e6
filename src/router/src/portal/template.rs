//! Templates of the pages: the small part of Mustache that they need, over JSON values. Pure.
//!
//! `{{name}}` is always escaped: there is no form that is not, so no value can become markup. `{{#name}}…{{/name}}` renders
//! its inside once for `true`, a text or an object, once for each of a list, and not at all for what is missing, `null`,
//! `false`, `""` or `[]`; `{{^name}}…{{/name}}` is its opposite. `{{>name}}` is another template. Names are looked up from
//! the innermost object outwards; a missing one is empty. Attributes with values in them must be quoted.

use lango_core::tree::BTreeMap;
use serde_json::Value;
use std::fmt::Write as _;

/// How deep templates may contain each other.
const MAX_DEPTH: usize = 8;

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `{{` without its `}}`.
    #[error("line {0}: a {{{{ has no }}}}")]
    Open(usize),
    /// A section that is closed by another name, or never.
    #[error("line {0}: the section {1} is not closed by its own name")]
    Section(usize, String),
    /// A name with characters that no name has.
    #[error("line {0}: {1:?} is not a name")]
    Name(usize, String),
}

impl Fault {
    /// Where, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        match self {
            Self::Open(line) | Self::Section(line, _) | Self::Name(line, _) => *line,
        }
    }
}

/// What stands in the braces of a text that is a template: the line, the kind (`#`, `^`, `/`, `>`, `!`, or `=` for a value), and the name.
pub fn tags(text: &str) -> impl Iterator<Item = (usize, char, &str)> {
    let mut line = 1;
    text.split_inclusive("}}").filter_map(move |part| {
        let (before, tag) = part.split_once("{{").map_or((part, None), |(before, tag)| (before, tag.strip_suffix("}}")));
        line += before.matches('\n').count();
        let found = tag.map(|tag| {
            let (kind, name) = kind(tag);
            (line, kind, name)
        });
        line += tag.map_or(0, |tag| tag.matches('\n').count());
        found
    })
}

fn kind(tag: &str) -> (char, &str) {
    match tag.chars().next() {
        Some(kind @ ('#' | '^' | '/' | '>' | '!')) => (kind, tag[1..].trim()),
        _ => ('=', tag.trim()),
    }
}

#[derive(Debug)]
enum Node {
    Text(String),
    Value(String),
    Section { name: String, inverted: bool, inside: Vec<Node> },
    Partial(String),
}

/// Templates by name.
#[derive(Debug, Default)]
pub struct Templates(BTreeMap<String, Vec<Node>>);

impl Templates {
    /// Takes a template in, in place of one with the same name.
    ///
    /// # Errors
    /// When the text is no template; the line is in the message.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), Fault> {
        self.0.insert(name.to_owned(), parse(text)?);
        Ok(())
    }

    /// The text of `name` with the values filled in, of which the last count first. `{{>page}}` in it is the template `page`.
    #[must_use]
    pub fn render(&self, name: &str, page: &str, values: &[&Value]) -> String {
        let mut out = String::with_capacity(6 * 1024);
        self.write(&mut out, name, page, &mut values.to_vec(), 0);
        out
    }

    fn write<'a>(&'a self, out: &mut String, name: &str, page: &str, scopes: &mut Vec<&'a Value>, depth: usize) {
        if let Some(nodes) = self.0.get(name).filter(|_| depth < MAX_DEPTH) {
            self.nodes(out, nodes, page, scopes, depth);
        }
    }

    fn nodes<'a>(&'a self, out: &mut String, nodes: &'a [Node], page: &str, scopes: &mut Vec<&'a Value>, depth: usize) {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Value(name) => match look_up(scopes, name) {
                    Some(Value::String(text)) => escape(out, text),
                    Some(Value::Number(number)) => {
                        let _ = write!(out, "{number}"); // a String takes everything
                    }
                    _ => {}
                },
                Node::Partial(name) => {
                    let name = if name == "page" { page } else { name };
                    self.write(out, name, page, scopes, depth + 1);
                }
                Node::Section { name, inverted, inside } => {
                    let value = look_up(scopes, name).filter(|value| holds(value));
                    match (value, inverted) {
                        (None, true) => self.nodes(out, inside, page, scopes, depth),
                        (Some(Value::Array(items)), false) => {
                            for item in items {
                                scopes.push(item);
                                self.nodes(out, inside, page, scopes, depth);
                                scopes.pop();
                            }
                        }
                        (Some(value), false) => {
                            scopes.push(value);
                            self.nodes(out, inside, page, scopes, depth);
                            scopes.pop();
                        }
                        (Some(_), true) | (None, false) => {}
                    }
                }
            }
        }
    }

    /// Every name that any template uses.
    #[cfg(test)]
    pub fn names(&self) -> Vec<String> {
        fn collect(nodes: &[Node], into: &mut Vec<String>) {
            for node in nodes {
                match node {
                    Node::Text(_) | Node::Partial(_) => {}
                    Node::Value(name) => into.push(name.clone()),
                    Node::Section { name, inside, .. } => {
                        into.push(name.clone());
                        collect(inside, into);
                    }
                }
            }
        }
        let mut names = Vec::new();
        for nodes in self.0.values() {
            collect(nodes, &mut names);
        }
        names.sort();
        names.dedup();
        names
    }
}

fn holds(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Number(_) | Value::Object(_) => true,
    }
}

fn look_up<'a>(scopes: &[&'a Value], name: &str) -> Option<&'a Value> {
    let mut parts = name.split('.');
    let first = parts.next()?;
    let found = scopes.iter().rev().find_map(|scope| scope.get(first))?;
    parts.try_fold(found, |value, part| value.get(part))
}

/// The one way from a text to HTML, for content and for quoted attributes alike.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // HTML has no such characters (WHATWG HTML, 13.2.3.5); a parser may do anything with them.
            '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\x7f' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
}

fn parse(text: &str) -> Result<Vec<Node>, Fault> {
    let mut open: Vec<(String, bool, usize, Vec<Node>)> = Vec::new();
    let mut nodes = Vec::new();
    let mut rest = text;
    loop {
        let Some((before, after)) = rest.split_once("{{") else {
            push_text(&mut nodes, rest);
            break;
        };
        push_text(&mut nodes, before);
        let line = 1 + text[..text.len() - after.len()].matches('\n').count();
        let (tag, after) = after.split_once("}}").ok_or(Fault::Open(line))?;
        rest = after;
        let (kind, name) = kind(tag);
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        if kind != '!' && !is_name {
            return Err(Fault::Name(line, name.to_owned()));
        }
        match kind {
            '!' => {}
            '#' | '^' => open.push((name.to_owned(), kind == '^', line, std::mem::take(&mut nodes))),
            '/' => match open.pop() {
                Some((opened, inverted, _, outside)) if opened == name => {
                    let inside = std::mem::replace(&mut nodes, outside);
                    nodes.push(Node::Section { name: opened, inverted, inside });
                }
                _ => return Err(Fault::Section(line, name.to_owned())),
            },
            '>' => nodes.push(Node::Partial(name.to_owned())),
            _ => nodes.push(Node::Value(name.to_owned())),
        }
    }
    match open.pop() {
        Some((name, _, line, _)) => Err(Fault::Section(line, name)),
        None => Ok(nodes),
    }
}

/// Line ends and indentation are for the template's writer: one line end is kept of each run.
fn push_text(nodes: &mut Vec<Node>, text: &str) {
    let mut lean = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        if index == 0 {
            lean.push_str(if text.contains('\n') { line.trim_end() } else { line });
        } else {
            if !lean.ends_with('\n') {
                lean.push('\n');
            }
            lean.push_str(line.trim_start());
        }
    }
    if !lean.is_empty() {
        nodes.push(Node::Text(lean));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rendered(template: &str, values: Value) -> String {
        let mut templates = Templates::default();
        templates.add("main", template).expect("it is a template");
        templates.add("part", "[{{x}}]").expect("it is a template");
        templates.add("loop", "{{>loop}}.").expect("it is a template");
        templates.render("main", "part", &[&values])
    }

    #[test]
    fn what_is_rendered() {
        for (template, values, expected) in [
            ("a {{x}} b", json!({"x": "1"}), "a 1 b"),
            ("{{x}}{{y.z}}", json!({"x": 7, "y": {"z": "deep"}}), "7deep"),
            ("<{{missing}}>", json!({}), "<>"),
            ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", json!({"x": true}), "yes"),
            ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", json!({"x": ""}), "no"),
            ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", json!({"x": []}), "no"),
            ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", json!({"x": 0}), "yes"),
            ("{{#xs}}{{x}}{{y}};{{/xs}}", json!({"xs": [{"x": "1"}, {"x": "2"}], "y": "!"}), "1!;2!;"),
            ("{{#a}}{{x}}{{/a}}", json!({"a": {"x": "in"}, "x": "out"}), "in"),
            ("{{>part}}{{>page}}", json!({"x": "p"}), "[p][p]"),
            ("{{! a note }}a\n\n   b", json!({}), "a\nb"),
            ("<dd{{#x}} data-x{{/x}}>", json!({"x": true}), "<dd data-x>"),
        ] {
            assert_eq!(rendered(template, values), expected, "{template}");
        }
    }

    #[test]
    fn no_value_becomes_markup() {
        let nasty = "<script>alert('1')</script>\" onload=\"x&y\u{0}";
        assert_eq!(
            rendered("{{x}}", json!({ "x": nasty })),
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x&amp;y\u{fffd}"
        );
        assert_eq!(rendered("{{x}}", json!({"x": "{{y}}", "y": "z"})), "{{y}}", "a value is not a template");
        assert!(parse("{{{x}}}").is_err() && parse("{{&x}}").is_err(), "there is no unescaped form");
    }

    #[test]
    fn a_template_that_contains_itself_ends() {
        assert_eq!(rendered("{{>loop}}", json!({})).len(), MAX_DEPTH - 1);
    }

    #[test]
    fn what_stands_in_braces() {
        let found: Vec<_> = tags("a }} {{x}}\n{{#y}}\n\n{{! a\nnote }}{{/ y }}{{>z}}{{^y.z}}").collect();
        assert_eq!(found, [(1, '=', "x"), (2, '#', "y"), (4, '!', "a\nnote"), (5, '/', "y"), (5, '>', "z"), (5, '^', "y.z")]);
        assert_eq!(tags("no braces").count(), 0);
    }

    #[test]
    fn mistakes_name_their_line() {
        assert_eq!(parse("\n{{x").unwrap_err(), Fault::Open(2));
        assert_eq!(parse("{{#a}}\n{{/b}}").unwrap_err(), Fault::Section(2, "b".to_owned()));
        assert_eq!(parse("\n{{#a}}\n").unwrap_err(), Fault::Section(2, "a".to_owned()));
        assert_eq!(parse("{{ a b }}").unwrap_err(), Fault::Name(1, "a b".to_owned()));
    }
}
