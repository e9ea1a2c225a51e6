//! The lines of the control socket: pure code, bytes to values and back.

use lango_core::request::{Answer, Request};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The longest question that is read, in bytes: a thousand vouchers' hashes are 35 KB.
pub const MAX_LINE: usize = 64 * 1024;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Command {
    /// One for the rules.
    Rules(Request),
    /// One for the daemon itself.
    Daemon(DaemonCommand),
}

/// A question for the daemon itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum DaemonCommand {
    /// Remove the gate from the kernel, and leave it out until the daemon starts again.
    Flush,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

// serde would read them, too, with all that it takes to read each kind of answer twice in it, and of question three times.

impl Command {
    /// A question from one line.
    ///
    /// # Errors
    /// When the line is no question.
    pub fn from_line(line: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Unread<'a> {
            ask: &'a str,
        }
        match serde_json::from_slice(line)? {
            Unread { ask: "flush" } => Ok(Self::Daemon(DaemonCommand::Flush)),
            Unread { .. } => serde_json::from_slice(line).map(Self::Rules),
        }
    }
}

impl Reply {
    /// An answer from one line.
    ///
    /// # Errors
    /// When the line is no answer.
    pub fn from_line(line: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Unread<'a> {
            is: &'a str,
            #[serde(borrow)]
            value: &'a RawValue,
        }
        let Unread { is, value } = serde_json::from_slice(line)?;
        let value = value.get().as_bytes();
        match is {
            "answer" => Answer::from_json(value).map(|answer| Self::Answer(Box::new(answer))),
            "failed" => serde_json::from_slice(value).map(Self::Failed),
            other => Err(serde::de::Error::custom(format_args!("nobody knows what {other:?} is"))),
        }
    }
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
            assert_eq!(Command::from_line(line.as_bytes()).unwrap(), command);
        }
        for line in ["", "{}", "{\"ask\":\"reboot\"}", "{\"ask\":\"grant\",\"device\":\"x\",\"package\":\"hour\"}", "null"] {
            assert!(Command::from_line(line.as_bytes()).is_err(), "{line} was taken");
        }
    }
    #[test]
    fn answers_as_lines() {
        for (reply, line) in [
            (Reply::Answer(Box::new(Answer::Done)), "{\"is\":\"answer\",\"value\":{\"answer\":\"done\"}}\n"),
            (
                Reply::Answer(Box::new(Answer::VouchersRevoked(3))),
                "{\"is\":\"answer\",\"value\":{\"answer\":\"vouchers_revoked\",\"value\":3}}\n",
            ),
            (Reply::Failed("a \"quoted\" cause".to_owned()), "{\"is\":\"failed\",\"value\":\"a \\\"quoted\\\" cause\"}\n"),
        ] {
            assert_eq!(String::from_utf8(to_line(&reply).unwrap()).unwrap(), line);
            assert_eq!(Reply::from_line(line.as_bytes()).unwrap(), reply);
        }
        for line in ["", "{}", "null", "{\"is\":\"answer\",\"value\":{\"answer\":\"vouchers_revoked\"}}", "{\"is\":\"else\",\"value\":1}"] {
            assert!(Reply::from_line(line.as_bytes()).is_err(), "{line} was taken");
        }
    }
}
