//! Reads the files that an operator makes the portal's own with, and tells what is wrong with each, by its line.

use super::language::{Language, Languages};
use super::logo::{self, Logo};
use super::overrides;
use super::site::{Own, Site};
use crate::config::Mistake;
use crate::config::settings::{Placed, Portal};
use crate::config::uci::Fault;
use crate::file;
use std::fs;
use std::io;
use std::path::Path;

/// The largest file of the folder, and of the terms, in bytes: all of them lie in RAM.
const MAX_SIZE: usize = 32 * 1024;

/// All that the section `portal` names. `config` is what messages call the configuration's file.
///
/// # Errors
/// All the mistakes in the files, and those that cannot be read.
pub fn read(config: &str, portal: &Portal) -> Result<Own, Vec<Mistake>> {
    let (own, mistakes) = read_what_is_right(config, portal);
    if mistakes.is_empty() { Ok(own) } else { Err(mistakes) }
}

/// The same without what has mistakes, each file for itself, and the mistakes.
#[must_use]
pub fn read_what_is_right(config: &str, portal: &Portal) -> (Own, Vec<Mistake>) {
    let mut reader = Reader { config, mistakes: Vec::new() };
    let mut own = Own { support: portal.support.clone(), ..Own::default() };
    own.inlined.more = portal.colours.map(|colours| colours.style());
    if let Some(Placed { value, line }) = &portal.logo
        && let Some(bytes) = reader.named("logo", value, *line, logo::MAX_SIZE)
    {
        match Logo::new(bytes) {
            Ok(logo) => own.logo = Some(logo),
            Err((what, right)) => reader.refuse(*line, format!("'logo' names {}, which {what}", value.display()), right),
        }
    }
    for Placed { value: (language, path), line } in &portal.terms {
        let Some(bytes) = reader.named("terms", path, *line, MAX_SIZE) else { continue };
        match String::from_utf8(bytes) {
            Ok(text) if !text.trim().is_empty() => {
                own.terms.push((language.clone(), text.trim_start_matches('\u{feff}').to_owned()));
            }
            Ok(_) => reader.refuse(*line, format!("'terms' names {}, which is empty", path.display()), "write the terms into it"),
            Err(_) => reader.refuse(*line, format!("'terms' names {}, which is not UTF-8 text", path.display()), "save it in UTF-8"),
        }
    }
    if let Some(Placed { value, line }) = &portal.templates {
        reader.folder(value, *line, &mut own);
    }
    (own, reader.mistakes)
}

struct Reader<'a> {
    config: &'a str,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn refuse(&mut self, line: u32, what: impl Into<String>, right: impl Into<String>) {
        self.mistakes.push(Mistake { file: self.config.to_owned(), fault: Fault::new(line, what, right) });
    }

    fn tell(&mut self, path: &Path, faults: Vec<Fault>) {
        let file = path.display().to_string();
        self.mistakes.extend(faults.into_iter().map(|fault| Mistake { file: file.clone(), fault }));
    }

    /// A file that an option names.
    fn named(&mut self, option: &str, path: &Path, line: u32, most: usize) -> Option<Vec<u8>> {
        match file::read(path, most) {
            Ok(bytes) => Some(bytes),
            Err(cause) => {
                let what = format!("'{option}' names {}, which cannot be read ({cause})", path.display());
                self.refuse(line, what, "put the file there, or take the line out");
                None
            }
        }
    }

    /// A file of the folder; nothing where there is none.
    fn text(&mut self, path: &Path) -> Option<String> {
        let (what, right) = match file::read(path, MAX_SIZE).map(String::from_utf8) {
            Ok(Ok(text)) => return Some(plain(&text)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return None,
            Ok(Err(_)) => ("this file is not UTF-8 text".to_owned(), "save it in UTF-8"),
            Err(cause) => (format!("this file cannot be read ({cause})"), "put a readable file there, or take it away"),
        };
        self.tell(path, vec![Fault::new(1, what, right)]);
        None
    }

    fn folder(&mut self, folder: &Path, line: u32, own: &mut Own) {
        if !folder.is_dir() {
            return self.refuse(
                line,
                format!("'templates' names {}, which is no folder", folder.display()),
                "make it, or take the line out",
            );
        }
        let languages = Languages::embedded();
        let mut known = ["style.css", "more.css", "script.js"].map(str::to_owned).to_vec();
        for (name, _) in Site::templates() {
            let place = format!("pages/{name}.html");
            let path = folder.join(&place);
            known.push(place);
            let Some(text) = self.text(&path) else { continue };
            let faults = overrides::page(name, &text, languages.at(0));
            if faults.is_empty() {
                own.pages.push(((*name).to_owned(), text));
            }
            self.tell(&path, faults);
        }
        for (name, fault) in overrides::circles(&own.pages) {
            own.pages.retain(|(page, _)| *page != name);
            self.tell(&folder.join(format!("pages/{name}.html")), vec![fault]);
        }
        let (style, script) = (folder.join("style.css"), folder.join("script.js"));
        if let Some(more) = self.inlined(&folder.join("more.css"), overrides::style) {
            own.inlined.more.get_or_insert_default().push_str(&more);
        }
        own.inlined.style = self.inlined(&style, overrides::style);
        own.inlined.script = self.inlined(&script, overrides::script);
        for language in languages.iter() {
            let place = format!("locale/{}.json", language.code);
            self.texts(&folder.join(&place), language, own);
            known.push(place);
        }
        self.strangers(folder, &known);
    }

    fn inlined(&mut self, path: &Path, wrong: fn(&str) -> Vec<Fault>) -> Option<String> {
        let text = self.text(path)?;
        let faults = wrong(&text);
        let right = faults.is_empty();
        self.tell(path, faults);
        right.then_some(text)
    }

    fn texts(&mut self, path: &Path, language: &Language, own: &mut Own) {
        let Some(text) = self.text(path) else { return };
        match overrides::texts(language, &text) {
            Ok(texts) => own.texts.push((language.code.to_owned(), texts)),
            Err(faults) => self.tell(path, faults),
        }
    }

    /// A misspelt name must not silently be nothing.
    fn strangers(&mut self, folder: &Path, known: &[String]) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        for (inside, end) in [("", None), ("pages/", Some(".html")), ("locale/", Some(".json"))] {
            for entry in fs::read_dir(folder.join(inside)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let place = format!("{inside}{name}");
                // What editors and people leave beside it is theirs: only what could be meant is told.
                let meant = end
                    .map_or_else(|| name.ends_with(".css") || name.ends_with(".js") || name.ends_with(".html"), |end| name.ends_with(end));
                if meant && !known.contains(&place.as_str()) {
                    let right = overrides::near(&place, &known);
                    self.tell(&entry.path(), vec![Fault::new(1, "the portal has no such file", right)]);
                }
            }
        }
    }
}

/// As browsers read it: they drop a byte-order mark, and make one kind of line end of all, before they compare a style or a script with its
/// hash in the policy. (WHATWG HTML, 13.2.3.5)
fn plain(text: &str) -> String {
    text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n")
}
