//! The command line: what was typed, what is asked of the daemon, and what people read.

mod arguments;
mod tables;

pub use arguments::{Arguments, Ask, Job, USAGE, parse};

use crate::config::{self, LoadError};
use crate::control::client::{self, ClientError};
use crate::control::wire::{Command, DaemonCommand};
use lango_core::request::{Answer, Refusal};
use std::path::Path;

/// Exit codes of sysexits.
pub mod exit {
    /// It worked.
    pub const OK: u8 = 0;
    /// What was typed makes no sense.
    pub const USAGE: u8 = 64;
    /// What was typed does not exist, or cannot be had now.
    pub const DATA: u8 = 65;
    /// No daemon runs.
    pub const UNAVAILABLE: u8 = 69;
    /// A bug, or the machine failed us.
    pub const SOFTWARE: u8 = 70;
    /// Not allowed.
    pub const PERMISSION: u8 = 77;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
}

/// What a command printed and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub error: String,
    /// The exit code.
    pub code: u8,
}

impl Outcome {
    fn failed(code: u8, error: impl std::fmt::Display) -> Self {
        Self { out: String::new(), error: format!("lango: {error}\n"), code }
    }
}

/// `lango run`: returns when the daemon has stopped.
#[must_use]
pub fn run(path: &Path) -> Outcome {
    let Err(error) = crate::daemon::run(path) else { return Outcome::default() };
    let code = if error.is::<LoadError>() {
        exit::CONFIG
    } else if error.chain().any(denied) {
        exit::PERMISSION
    } else {
        exit::SOFTWARE
    };
    Outcome { error: format!("error: {error:#}\n"), code, ..Outcome::default() }
}

fn denied(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<std::io::Error>().is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied)
}

/// `lango check`.
#[must_use]
pub fn check(path: &Path) -> Outcome {
    let (lines, code) = config::check(path);
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    if code == exit::OK { Outcome { out: text, ..Outcome::default() } } else { Outcome { error: text, code, out: String::new() } }
}

/// A command that the running daemon answers.
#[must_use]
pub fn ask(config_path: &Path, ask: &Ask, json: bool) -> Outcome {
    let config = match config::load(config_path) {
        Ok(config) => config,
        Err(error @ LoadError::Unreadable { .. }) => return Outcome::failed(exit::CONFIG, error),
        Err(error) => return Outcome { error: format!("{error}\n"), code: exit::CONFIG, out: String::new() },
    };
    match client::ask(&config.gateway.control, &ask.command) {
        Ok(Answer::Refused(refusal)) => Outcome::failed(exit::DATA, told(refusal, ask)),
        Ok(answer) => show(&answer, ask, json),
        Err(ClientError::NotRunning(_)) if ask.command == Command::Daemon(DaemonCommand::Flush) => flush_without_daemon(),
        Err(error) => {
            let code = match error {
                ClientError::NotRunning(_) => exit::UNAVAILABLE,
                ClientError::NotAllowed(_) => exit::PERMISSION,
                ClientError::Broken(..) | ClientError::Failed(_) => exit::SOFTWARE,
            };
            Outcome::failed(code, error)
        }
    }
}

fn told(refusal: Refusal, ask: &Ask) -> String {
    match refusal {
        Refusal::UnknownPackage => "there is no such package; `lango packages` lists them".to_owned(),
        Refusal::NotOnline => format!("{} is not online; `lango sessions` lists who is", ask.subject),
        other => other.to_string(),
    }
}

fn show(answer: &Answer, ask: &Ask, json: bool) -> Outcome {
    match if json { tables::json(answer) } else { Ok(tables::text(answer, ask)) } {
        Ok(out) => Outcome { out, ..Outcome::default() },
        Err(cause) => Outcome::failed(exit::SOFTWARE, cause),
    }
}

/// Uninstalling stops the daemon first: the gate is then removed without it.
fn flush_without_daemon() -> Outcome {
    match crate::gate::flush() {
        Ok(()) => Outcome { out: "The gate is removed from the kernel.\n".to_owned(), ..Outcome::default() },
        Err(error) => Outcome::failed(if nix::unistd::geteuid().is_root() { exit::SOFTWARE } else { exit::PERMISSION }, error),
    }
}
