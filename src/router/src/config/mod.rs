//! The router's configuration: read from OpenWrt's format, wholly checked, typed. docs/config.md says every option.
//!
//! `uci` knows the format, `read` what the sections mean, `values` what the single values may be; all three are pure.

mod options;
mod read;
pub mod settings;
pub mod uci;
pub mod values;

pub use settings::{Config, Gateway, Https, Radius, Relay, Update};

use crate::portal::{self, Own};
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Far more than a price list of any length; enough to stop a wrong path, as that of a device, from filling the memory.
const MAX_SIZE: u64 = 256 * 1024;

/// The control socket, where no other is configured.
pub const CONTROL: &str = "/var/run/lango.sock";

/// Exit code of a faulty configuration (sysexits: `EX_CONFIG`).
pub const EXIT_CONFIG: u8 = 78;

/// One mistake in a configuration. `Display`: `FILE:LINE: what is wrong, and what would be right`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named.
    pub file: String,
    /// Where, what is wrong, and what would be right.
    pub fault: uci::Fault,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.fault)
    }
}

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read.
    #[error("{}: it cannot be read ({cause}); name the right file with --config, and see that this user may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// It has mistakes: all of them, by line.
    #[error("{}", lines(mistakes))]
    Mistakes {
        /// The mistakes; at least one.
        mistakes: Vec<Mistake>,
    },
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Reads a configuration from its text. `file_name` is what messages call it.
///
/// # Errors
/// All the mistakes in it, by line.
pub fn parse(file_name: &str, text: &[u8]) -> Result<Config, Vec<Mistake>> {
    let (file, mut faults) = uci::parse(text);
    match read::config(&file) {
        Ok(config) if faults.is_empty() => return Ok(config),
        Ok(_) => {}
        Err(more) => faults.extend(more),
    }
    faults.sort_by_key(|fault| fault.line);
    Err(faults.into_iter().map(|fault| Mistake { file: file_name.to_owned(), fault }).collect())
}

/// Reads a configuration from its file.
///
/// # Errors
/// When the file cannot be read, or has mistakes.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    let text = read_file(path).map_err(|cause| LoadError::Unreadable { path: path.to_owned(), cause })?;
    parse(&path.display().to_string(), &text).map_err(|mistakes| LoadError::Mistakes { mistakes })
}

/// The same, and what it says of files that the portal is made from.
///
/// # Errors
/// When one of them cannot be read, or has mistakes.
pub fn load_whole(path: &Path) -> Result<(Config, Own), LoadError> {
    let config = load(path)?;
    match portal::own::read(&path.display().to_string(), &config.portal) {
        Ok(own) => Ok((config, own)),
        Err(mistakes) => Err(LoadError::Mistakes { mistakes }),
    }
}

/// The same for a start: no mistake in how the portal looks may keep a router from its gate. What has mistakes is left out, and the portal's
/// own stands in its place.
///
/// # Errors
/// When the configuration itself cannot be read, or has mistakes.
pub fn load_to_start(path: &Path) -> Result<(Config, Own, Vec<Mistake>), LoadError> {
    let config = load(path)?;
    let (own, mistakes) = portal::own::read_what_is_right(&path.display().to_string(), &config.portal);
    Ok((config, own, mistakes))
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(MAX_SIZE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(io::Error::other("it is larger than 256 KiB: that is no configuration"));
    }
    Ok(text)
}

/// The control socket that a configuration names, whatever else in it is wrong; the usual one where it names none that could be one. For
/// those who ask the daemon: what runs must be reached while a mistake is in the file.
///
/// # Errors
/// When the file cannot be read.
pub fn control_of(path: &Path) -> io::Result<PathBuf> {
    let (file, _) = uci::parse(&read_file(path)?);
    let mut options = file.sections.iter().filter(|section| section.kind == "gateway").flat_map(|section| &section.options);
    let named = options.find(|entry| entry.name == "control").and_then(|entry| entry.values.last());
    Ok(named.and_then(|named| values::socket_path(&named.text).ok()).unwrap_or_else(|| CONTROL.into()))
}

/// The line of an option of the only section of its type, or where that section begins: for what is found out later.
#[must_use]
pub fn line_of(path: &Path, kind: &str, option: &str) -> u32 {
    let (file, _) = uci::parse(&read_file(path).unwrap_or_default());
    let section = file.sections.iter().find(|section| section.kind == kind);
    let line = section.and_then(|section| section.options.iter().find(|entry| entry.name == option)).map(uci::Entry::line);
    line.or(section.map(|section| section.line)).unwrap_or(1)
}

/// What in a configuration without mistakes may not be meant. None where it cannot be read.
fn warnings(path: &Path) -> Vec<Mistake> {
    let (file, _) = uci::parse(&read_file(path).unwrap_or_default());
    let here = path.display().to_string();
    read::warnings(&file).into_iter().map(|fault| Mistake { file: here.clone(), fault }).collect()
}

/// `lango check`: what to print, a line each, and the exit code: 0, or 78 where something is wrong.
#[must_use]
pub fn check(path: &Path) -> (Vec<String>, u8) {
    match load_whole(path) {
        Ok((config, _)) => {
            let in_order = format!("{}: in order. {}", path.display(), summary(&config));
            (warnings(path).iter().map(ToString::to_string).chain([in_order]).collect(), 0)
        }
        Err(LoadError::Mistakes { mistakes }) => (mistakes.iter().map(ToString::to_string).collect(), EXIT_CONFIG),
        Err(error @ LoadError::Unreadable { .. }) => (vec![error.to_string()], EXIT_CONFIG),
    }
}

fn summary(config: &Config) -> String {
    let packages = match config.packages.len() {
        1 => "1 package".to_owned(),
        count => format!("{count} packages"),
    };
    let relay =
        config.relay.as_ref().map_or_else(|| "no relay: no M-Pesa payments".to_owned(), |relay| format!("relay over {}", relay.broker));
    let radius = if config.radius.is_some() { ", accounts by RADIUS" } else { "" };
    let https = config.https.as_ref().map(|https| format!(", {}", https.url())).unwrap_or_default();
    format!("Router {}, {packages}, {relay}{radius}{https}.", config.gateway.name)
}

#[cfg(test)]
mod tests;
