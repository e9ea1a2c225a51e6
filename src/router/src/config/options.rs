//! One section's options: taken by name, each with its rule; what is not taken is unknown. Pure.

use super::uci::{Entry, Fault, Section, Twice, Value};
use super::values::Rule;
use lango_core::tree::BTreeSet;
use strsim::osa_distance;

/// Whether a message may show the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// It may.
    Yes,
    /// It is or may hold a secret.
    Never,
}

/// Takes a section's options.
pub(super) struct Options<'a> {
    section: &'a Section,
    taken: BTreeSet<&'static str>,
    faults: Vec<Fault>,
}

impl<'a> Options<'a> {
    pub(super) fn of(section: &'a Section) -> Self {
        Self { section, taken: BTreeSet::new(), faults: Vec::new() }
    }

    /// The line of an option, the section's own where it is absent.
    pub(super) fn line_of(&self, name: &str) -> u32 {
        self.find(name).map_or(self.section.line, Entry::line)
    }

    pub(super) fn fault(&mut self, line: u32, what: impl Into<String>, right: impl Into<String>) {
        self.faults.push(Fault::new(line, what, right));
    }

    fn find(&self, name: &str) -> Option<&'a Entry> {
        self.section.options.iter().find(|entry| entry.name == name)
    }

    /// An option that may be absent. Also nothing where it is faulty: the fault is kept.
    pub(super) fn optional<T>(&mut self, name: &'static str, shown: Shown, parse: impl Fn(&str) -> Result<T, Rule>) -> Option<T> {
        self.taken.insert(name);
        let entry = self.find(name)?;
        if let Some(second) = entry.values.get(1) {
            let (first, line) = (self.section.line_of_first(entry), second.line);
            self.fault(
                line,
                format!("'{name}' has one value only, and this is a second one (line {first} has the first)"),
                "keep one of them",
            );
            return None;
        }
        if let Some(Twice { earlier, later }) = entry.replaced {
            self.fault(later, format!("'{name}' was set already in line {earlier}"), "keep one of the two lines");
        }
        self.value(name, entry.values.first()?, shown, &parse)
    }

    /// An option that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        shown: Shown,
        example: &str,
        parse: impl Fn(&str) -> Result<T, Rule>,
    ) -> Option<T> {
        if self.find(name).is_none() {
            self.missing(name, &format!("option {name} '{example}'"));
        }
        self.optional(name, shown, parse)
    }

    /// A list, given as `list` or, for a single value, as `option`.
    pub(super) fn list<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, Rule>) -> Vec<T> {
        self.placed(name, parse).into_iter().map(|(value, _)| value).collect()
    }

    /// The same, each value with its line.
    pub(super) fn placed<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, Rule>) -> Vec<(T, u32)> {
        self.taken.insert(name);
        let Some(entry) = self.find(name) else { return Vec::new() };
        if let Some(Twice { earlier, later }) = entry.replaced {
            self.fault(later, format!("'{name}' was set already in line {earlier}"), format!("write each as list {name} '…'"));
        }
        entry.values.iter().filter_map(|value| Some((self.value(name, value, Shown::Yes, &parse)?, value.line))).collect()
    }

    /// A list of at least one value.
    pub(super) fn required_list<T>(&mut self, name: &'static str, example: &str, parse: impl Fn(&str) -> Result<T, Rule>) -> Vec<T> {
        if self.find(name).is_none() {
            self.missing(name, &format!("list {name} '{example}'"));
        }
        self.list(name, parse)
    }

    /// Whether the option stands in the file, right or wrong.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn missing(&mut self, name: &str, example: &str) {
        let section = self.section.title();
        self.fault(self.section.line, format!("{section} has no '{name}'"), format!("add: {example}"));
    }

    fn value<T>(&mut self, name: &str, value: &Value, shown: Shown, parse: &impl Fn(&str) -> Result<T, Rule>) -> Option<T> {
        if value.text.is_empty() {
            self.fault(value.line, format!("'{name}' is empty"), "give it a value, or take the line out");
            return None;
        }
        match parse(&value.text) {
            Ok(parsed) => Some(parsed),
            Err(rule) => {
                let what = match shown {
                    Shown::Yes => format!("'{name}' is {}", excerpt(&value.text)),
                    Shown::Never => format!("'{name}' is not right (its value is not shown here)"),
                };
                self.fault(value.line, what, format!("it must be {rule}"));
                None
            }
        }
    }

    /// Ends the taking: gives the faults, those of unknown options included.
    pub(super) fn finish(mut self) -> Vec<Fault> {
        let known: Vec<&str> = self.taken.iter().copied().collect();
        for entry in &self.section.options {
            if !self.taken.contains(entry.name.as_str()) {
                let what = format!("{} has no option '{}'", self.section.title(), entry.name);
                self.faults.push(Fault::new(entry.line(), what, hint(&entry.name, &known)));
            }
        }
        self.faults
    }
}

impl Section {
    /// How messages call it.
    pub(super) fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{} '{name}'", self.kind),
            None => self.kind.clone(),
        }
    }

    fn line_of_first(&self, entry: &Entry) -> u32 {
        entry.values.first().map_or(self.line, |value| value.line)
    }
}

/// What the writer of an unknown word may have meant.
pub(super) fn hint(word: &str, known: &[&str]) -> String {
    let near = known.iter().map(|name| (osa_distance(word, name), *name)).min();
    match near {
        // A third of the word may be wrong; more is another word.
        Some((distance, name)) if distance <= name.len().div_ceil(3) => format!("did you mean '{name}'?"),
        _ => format!("known are {}", known.join(", ")),
    }
}

/// A value as a message shows it: on one line, and not without end.
fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}
