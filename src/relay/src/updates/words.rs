//! The words of `lango-relay update …`, read into a command. Pure.

use super::commands::{Offering, Whom};
use super::manifest::Release;
use lango_core::time::Wall;
use lango_core::units::RouterName;
use lango_core::update::Url;
use std::path::PathBuf;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// Print what is to be signed.
    Manifest(Release),
    /// Offer what was signed.
    Offer(Offering),
    /// Say where each router is.
    List,
}

/// Options that have a value, as they were written; several `--board`.
pub const WITH_VALUE: [&str; 8] = ["version", "number", "target", "board", "url", "until", "percent", "key"];

const IT_IS: &str = "it is `update manifest FILE --version V --number N --url URL`, with `--target T` for a program or `--board B` for an image, \
    `update offer MANIFEST ROUTER…`, `update offer MANIFEST --all [--percent N]`, or `update list`";

/// Takes options away.
struct Options(Vec<(String, String)>);

impl Options {
    fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(known, _)| known == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    fn one(&mut self, name: &str) -> Result<Option<String>, String> {
        let mut all = self.all(name);
        match all.len() {
            0 | 1 => Ok(all.pop()),
            _ => Err(format!("--{name} is there twice")),
        }
    }

    fn need(&mut self, name: &str, what: &str) -> Result<String, String> {
        self.one(name)?.ok_or_else(|| format!("--{name} is missing: {what}"))
    }

    fn nothing_left(self) -> Result<(), String> {
        self.0.first().map_or(Ok(()), |(name, _)| Err(format!("--{name} is not for this `update` command; {IT_IS}")))
    }
}

/// Reads them: the words behind `update`, the options, and whether `--all` was there.
///
/// # Errors
/// With what is wrong, in a sentence.
pub fn read(words: &[&str], options: Vec<(String, String)>, all: bool) -> Result<Update, String> {
    let mut options = Options(options);
    let update = match words {
        ["list"] if !all => Update::List,
        ["manifest", file] if !all => Update::Manifest(Release {
            file: PathBuf::from(file),
            version: options.need("version", "for people, as 0.2.0")?,
            number: options
                .need("number", "higher than that of every release before, as 20261123")?
                .parse()
                .map_err(|_| "--number takes digits")?,
            target: options.one("target")?,
            boards: options.all("board"),
            url: Url::parse(&options.need("url", "where routers get the file, as https://updates.example.org/lango")?)
                .ok_or("--url takes https://HOST/PATH, in small letters and without :443")?,
            until: options
                .one("until")?
                .map(|text| Wall::from_rfc3339(&text).ok_or("--until takes a moment in UTC, as 2027-01-31T00:00:00Z"))
                .transpose()?,
        }),
        ["offer", manifest, routers @ ..] => {
            let percent = options.one("percent")?.map(|text| text.parse::<u8>().ok().filter(|percent| (1..=100).contains(percent)));
            let whom = match (routers, all, percent) {
                (_, _, Some(None)) => return Err("--percent takes a number from 1 to 100".to_owned()),
                ([], true, percent) => Whom::All { percent: percent.flatten().unwrap_or(100) },
                ([_, ..], false, None) => {
                    let names = routers.iter().map(|name| name.parse::<RouterName>().map_err(|invalid| invalid.to_string()));
                    Whom::Named(names.collect::<Result<_, _>>()?)
                }
                ([], false, _) => return Err("say to whom: routers by name, or --all".to_owned()),
                _ => return Err("routers by name, or --all with or without --percent; not both".to_owned()),
            };
            Update::Offer(Offering { manifest: PathBuf::from(manifest), key: options.one("key")?.map(PathBuf::from), whom })
        }
        _ => return Err(IT_IS.to_owned()),
    };
    options.nothing_left()?;
    Ok(update)
}
