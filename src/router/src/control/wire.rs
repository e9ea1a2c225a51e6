//! The lines of the control socket: pure code, bytes to values and back.

use lango_core::request::{Answer, Request};
use serde::{Deserialize, Serialize};

/// The longest question that is read, in bytes: a thousand vouchers' hashes are 35 KB.
pub const MAX_LINE: usize = 64 * 1024;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// One for the rules.
    Rules(Request),
    /// One for the daemon itself.
    Daemon(DaemonCommand),
}

/// A question for the daemon itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum DaemonCommand {
    /// Remove the gate from the kernel, and leave it out until the daemon starts again.
    Flush,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "value", rename_all = "snake_case")]
pub enum Reply {
    /// The rules' answer, or the daemon's "done".
    Answer(Box<Answer>),
    /// It did not work.
    Failed(String),
}

/// A value as one line.
///
/// # Errors
/// Never for the types here; the serialiser's own otherwise.
pub fn to_line<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// A value from one line.
///
/// # Errors
/// When the line is no such value.
pub fn from_line<'a, T: Deserialize<'a>>(line: &'a [u8]) -> serde_json::Result<T> {
    serde_json::from_slice(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::request::Target;

    #[test]
    fn questions_as_lines() {
        for (command, line) in [
            (Command::Rules(Request::Status), "{\"ask\":\"status\"}\n"),
            (Command::Daemon(DaemonCommand::Flush), "{\"ask\":\"flush\"}\n"),
            (
                Command::Rules(Request::Kick { target: Target::Device("02:00:00:00:00:0a".parse().unwrap()) }),
                "{\"ask\":\"kick\",\"target\":{\"device\":\"02:00:00:00:00:0a\"}}\n",
            ),
        ] {
            assert_eq!(String::from_utf8(to_line(&command).unwrap()).unwrap(), line);
            assert_eq!(from_line::<Command>(line.as_bytes()).unwrap(), command);
        }
        for line in ["", "{}", "{\"ask\":\"reboot\"}", "{\"ask\":\"grant\",\"device\":\"x\",\"package\":\"hour\"}", "null"] {
            assert!(from_line::<Command>(line.as_bytes()).is_err(), "{line} was taken");
        }
    }
}
