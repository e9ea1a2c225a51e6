//! OpenWrt's configuration format (UCI), read into sections and options with their line numbers. Pure: bytes in, values out.
//!
//! The rules are those of OpenWrt's own parser, as far as they decide what a file means: quotes of both kinds, which may
//! touch each other; a backslash takes the next character as it is, and at a line's end the value goes on in the next line;
//! `#` begins a comment wherever it stands outside quotes; keywords may be cut to their first letter, and stand without quotes; a named
//! section that comes again goes on; a later `option` replaces, one without a value changes nothing, a `list` adds. A test holds both
//! side by side (`images/tests/uci_peer.rs`). What is meant to differ is refused here and never read in another way:
//! - that parser stops at the first fault, this one goes on, so that all can be told at once;
//! - there a quoted value may hold line breaks: no setting has any, and a forgotten quote is told where it is and not a page further down;
//! - there a `;` outside quotes ends a statement in some places, and in others the rest of the line is dropped without a word;
//! - there an empty word behind a statement is nothing;
//! - lines that are not UTF-8, or hold unprintable characters.

use std::fmt;

/// Something wrong in the file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong. Never a secret's value.
    pub what: String,
    /// What would be right.
    pub right: String,
}

impl Fault {
    /// A fault in that line.
    pub fn new(line: u32, what: impl Into<String>, right: impl Into<String>) -> Self {
        Self { line, what: what.into(), right: right.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.line, self.what, self.right)
    }
}

/// A file's sections, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct File {
    /// The name given by a `package` statement, and its line.
    pub package: Option<Value>,
    /// The sections.
    pub sections: Vec<Section>,
}

/// One section.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// Its type: the word after `config`.
    pub kind: String,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Where it begins first.
    pub line: u32,
    /// Its options, each name once.
    pub options: Vec<Entry>,
}

/// An option or list of a section.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its values: one for an `option`, one or more for a `list`. May be empty texts.
    pub values: Vec<Value>,
    /// Set where an `option` of the same name stands in the same block twice. OpenWrt takes the later one that says something without a
    /// word; a person who wrote both has most likely made a mistake.
    pub replaced: Option<Twice>,
    /// Whether it is an `option` without a value: to OpenWrt it is not there.
    pub nothing: bool,
}

impl Entry {
    /// Where it was said last.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.values.last().map_or(0, |value| value.line)
    }
}

/// Two lines with an `option` of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twice {
    /// The line of the one that was there already.
    pub earlier: u32,
    /// The line of the one behind it: not always that of the value, for one that says nothing changes nothing.
    pub later: u32,
}

/// A text and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The text, with quotes and escapes taken away.
    pub text: String,
    /// Where it begins.
    pub line: u32,
}

/// Reads a file. What could be read is given back beside the faults; with a fault in it, nothing may be built on it.
#[must_use]
pub fn parse(bytes: &[u8]) -> (File, Vec<Fault>) {
    let mut faults = unreadable_lines(bytes);
    let text = String::from_utf8_lossy(bytes);
    let mut builder = Builder::default();
    let mut scanner = Scanner { text: &text, at: 0, line: 1 };
    while let Some(statement) = scanner.statement() {
        if let Err(fault) = statement.and_then(|words| builder.take(&words)) {
            faults.push(fault);
        }
    }
    faults.sort_by_key(|fault| fault.line);
    (builder.file, faults)
}

/// Lines that are no text, so that what stands in them cannot be meant.
fn unreadable_lines(bytes: &[u8]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (line, content) in (1u32..).zip(bytes.split(|&byte| byte == b'\n')) {
        match std::str::from_utf8(content) {
            Err(_) => faults.push(Fault::new(line, "this line is not UTF-8 text", "save the file in UTF-8")),
            Ok(content) if content.strip_suffix('\r').unwrap_or(content).chars().any(|c| c.is_control() && c != '\t') => {
                faults.push(Fault::new(line, "this line holds an unprintable character", "take it out: only text and tabs belong here"));
            }
            Ok(_) => {}
        }
    }
    faults
}

/// Turns statements into sections.
#[derive(Default)]
struct Builder {
    file: File,
    /// The section that options go to, and the line of the `config` that opened it last. `None` before the first section,
    /// and after a faulty `config`: then its options are left out without a fault of their own.
    open: Option<(usize, u32)>,
    skipping: bool,
}

impl Builder {
    fn take(&mut self, words: &[Value]) -> Result<(), Fault> {
        let Some((keyword, arguments)) = words.split_first() else { return Ok(()) };
        let line = keyword.line;
        match keyword.text.as_str() {
            "package" | "p" => self.package(line, arguments),
            "config" | "c" => {
                self.open = None;
                self.skipping = true;
                self.config(line, arguments)
            }
            "option" | "o" => self.option(line, arguments, false),
            "list" | "l" => self.option(line, arguments, true),
            _ => Err(unknown_word(line)),
        }
    }

    fn package(&mut self, line: u32, arguments: &[Value]) -> Result<(), Fault> {
        let [name] = arguments else {
            return Err(Fault::new(line, "package needs one name", "write package 'lango', or take the line out"));
        };
        if self.file.package.is_some() || !self.file.sections.is_empty() {
            return Err(Fault::new(line, "a second package begins here", "keep one program's settings in a file"));
        }
        self.file.package = Some(name.clone());
        Ok(())
    }

    fn config(&mut self, line: u32, arguments: &[Value]) -> Result<(), Fault> {
        let (kind, name) = match arguments {
            [kind] => (kind, None),
            [kind, name] => (kind, Some(name.text.as_str()).filter(|name| !name.is_empty())),
            _ => return Err(Fault::new(line, "config needs a type and at most one name", "write it as config package 'hour'")),
        };
        if kind.text.is_empty() || !kind.text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Fault::new(line, "the section's type is no word", "write it as config package 'hour'"));
        }
        if name.is_some_and(|name| !is_name(name)) {
            return Err(Fault::new(
                line,
                "the section's name has other characters than letters, digits and _",
                "choose a name such as two_hours",
            ));
        }
        let same_name = name.and_then(|name| self.file.sections.iter().position(|section| section.name.as_deref() == Some(name)));
        let index = match same_name {
            Some(index) => index,
            None => {
                self.file.sections.push(Section { kind: kind.text.clone(), name: name.map(str::to_owned), line, options: Vec::new() });
                self.file.sections.len() - 1
            }
        };
        if let Some(section) = self.file.sections.get(index).filter(|section| section.kind != kind.text) {
            let what = format!("a section of another type is named '{}', too (line {})", name.unwrap_or_default(), section.line);
            return Err(Fault::new(line, what, "give each its own name"));
        }
        self.open = Some((index, line));
        self.skipping = false;
        Ok(())
    }

    fn option(&mut self, line: u32, arguments: &[Value], list: bool) -> Result<(), Fault> {
        let keyword = if list { "list" } else { "option" };
        let (name, value) = match arguments {
            [name] => (name, Value { text: String::new(), line }),
            [name, value] => (name, value.clone()),
            [] => {
                return Err(Fault::new(line, format!("{keyword} needs a name and a value"), format!("write it as {keyword} NAME 'VALUE'")));
            }
            _ => return Err(Fault::new(line, "there are more words than a name and a value", "put the value into quotes")),
        };
        if !is_name(&name.text) {
            return Err(Fault::new(
                line,
                format!("the {keyword}'s name has other characters than letters, digits and _"),
                "write the name without quotes, dashes or dots",
            ));
        }
        let Some((index, block)) = self.open else {
            if self.skipping {
                return Ok(());
            }
            return Err(Fault::new(line, format!("this {keyword} stands before the first section"), "begin with config gateway 'main'"));
        };
        let Some(section) = self.file.sections.get_mut(index) else { return Ok(()) };
        let nothing = !list && value.text.is_empty();
        match section.options.iter_mut().find(|entry| entry.name == name.text) {
            None => section.options.push(Entry { name: name.text.clone(), values: vec![value], replaced: None, nothing }),
            Some(entry) if list && !entry.nothing => entry.values.push(value),
            Some(entry) => {
                if !list {
                    let earlier = entry.line();
                    entry.replaced = (earlier >= block).then_some(Twice { earlier, later: value.line });
                }
                // What was said before stays.
                if !nothing {
                    (entry.values, entry.nothing) = (vec![value], false);
                }
            }
        }
        Ok(())
    }
}

/// The word itself is not shown: it may be the rest of a password whose quotes are wrong.
fn unknown_word(line: u32) -> Fault {
    Fault::new(line, "this line begins with an unknown word", "it must begin with config, option or list, or with # for a comment")
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Cuts the text into statements of words. All its delimiters are ASCII, so it never stops inside a character.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn skip_while(&mut self, accept: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&accept) {
            self.next();
        }
    }

    /// The next statement's words; nothing at the end of the file.
    fn statement(&mut self) -> Option<Result<Vec<Value>, Fault>> {
        let mut words = Vec::new();
        loop {
            self.skip_while(|c| c.is_ascii_whitespace() && c != '\n');
            match self.peek() {
                None if words.is_empty() => return None,
                None => return Some(Ok(words)),
                Some('#') => self.skip_while(|c| c != '\n'),
                Some('\n') => {
                    self.next();
                    if !words.is_empty() {
                        return Some(Ok(words));
                    }
                }
                Some(';') => {
                    let fault = Fault::new(self.line, "a ; stands outside quotes", "begin a new line, or put the value into quotes");
                    self.skip_while(|c| c != '\n');
                    return Some(Err(fault));
                }
                Some(_) => match self.argument(words.is_empty()) {
                    Ok(word) => words.push(word),
                    Err(fault) => return Some(Err(fault)),
                },
            }
        }
    }

    /// A keyword stands as it is; what follows it may be quoted.
    fn argument(&mut self, keyword: bool) -> Result<Value, Fault> {
        let begin = self.at;
        let word = self.word()?;
        if keyword && self.text.get(begin..self.at) != Some(word.text.as_str()) {
            self.skip_while(|c| c != '\n');
            return Err(unknown_word(word.line));
        }
        Ok(word)
    }

    fn word(&mut self) -> Result<Value, Fault> {
        let line = self.line;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\'' | '"' => self.quoted(c, &mut text)?,
                '\\' => self.escaped(&mut text),
                '#' | ';' => break,
                c if c.is_ascii_whitespace() => break,
                c => {
                    text.push(c);
                    self.next();
                }
            }
        }
        Ok(Value { text, line })
    }

    fn quoted(&mut self, quote: char, text: &mut String) -> Result<(), Fault> {
        let line = self.line;
        self.next();
        while let Some(c) = self.peek().filter(|&c| c != '\n') {
            match c {
                c if c == quote => {
                    self.next();
                    return Ok(());
                }
                '\\' if quote == '"' => self.escaped(text),
                c => {
                    text.push(c);
                    self.next();
                }
            }
        }
        Err(Fault::new(line, format!("the quote {quote} is not closed on its line"), format!("put a second {quote} at the value's end")))
    }

    /// A backslash: the next character as it is; at a line's end, the value goes on in the next line.
    fn escaped(&mut self, text: &mut String) {
        self.next();
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\r\n")) {
            self.next();
        }
        match self.next() {
            Some('\n') | None => {}
            Some(c) => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
