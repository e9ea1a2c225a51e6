//! The command line, read into a command. Pure.

use lango_core::units::RouterName;
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
use std::path::PathBuf;

/// What `lango-relay help` says.
pub const HELP: &str = "\
lango-relay: asks M-Pesa for the money, keeps the ledger, and tells the routers

lango-relay run                 the daemon, in the foreground
lango-relay check               checks the config
lango-relay router add NAME     makes a router's credentials, and prints its config section
lango-relay router show NAME    prints that section again
lango-relay router list         the routers, and when each was last heard of
lango-relay router acl          the broker's access list for all of them
lango-relay payments            the payments, newest first
lango-relay retry PAYMENT       asks Safaricom about a payment now
lango-relay key accept          has the ledger take this machine's signing key, after the old one was lost

--config FILE   the config (default /etc/lango-relay.toml)
--json          with `payments` and `router list`: for programs
";

/// Where the config is unless said otherwise.
const CONFIG: &str = "/etc/lango-relay.toml";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The daemon.
    Run,
    /// Check the config.
    Check,
    /// Add a router.
    RouterAdd(RouterName),
    /// Print a router's section again.
    RouterShow(RouterName),
    /// List the routers.
    RouterList,
    /// Print the broker's access list.
    RouterAcl,
    /// List the payments.
    Payments,
    /// Have the ledger take this machine's signing key.
    KeyAccept,
    /// Ask about a payment now: `ORDER` or `ROUTER/ORDER`.
    Retry(String),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// What is to be done.
    pub command: Command,
    /// The config's path.
    pub config: PathBuf,
    /// For programs rather than for people.
    pub json: bool,
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// With what is wrong, in a sentence.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut parser = lexopt::Parser::from_args(arguments.into_iter().collect::<Vec<_>>());
    let (mut config, mut json, mut words) = (PathBuf::from(CONFIG), false, Vec::new());
    let mut special = None;
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('c') | Long("config") => config = parser.value().map_err(|error| error.to_string())?.into(),
            Long("json") => json = true,
            Short('h') | Long("help") => special = Some(Command::Help),
            Short('V') | Long("version") => special = Some(Command::Version),
            Value(word) => words.push(word.into_string().map_err(|_| "an argument is not UTF-8".to_owned())?),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let command = match special {
        Some(command) => command,
        None => command(&words.iter().map(String::as_str).collect::<Vec<_>>())?,
    };
    if json && !matches!(command, Command::Payments | Command::RouterList | Command::Help | Command::Version) {
        return Err("--json is for `payments` and `router list`".to_owned());
    }
    Ok(Args { command, config, json })
}

fn command(words: &[&str]) -> Result<Command, String> {
    let name = |text: &str| match text.parse::<RouterName>() {
        // Its topics would be among the relay's own.
        Ok(name) if name.as_str() != "relay" => Ok(name),
        Ok(_) => Err("a router cannot be called relay: that is the relay's own name".to_owned()),
        Err(invalid) => Err(invalid.to_string()),
    };
    Ok(match words {
        ["run"] => Command::Run,
        ["check"] => Command::Check,
        ["router", "add", router] => Command::RouterAdd(name(router)?),
        ["router", "show", router] => Command::RouterShow(name(router)?),
        ["router", "list"] => Command::RouterList,
        ["router", "acl"] => Command::RouterAcl,
        ["payments"] => Command::Payments,
        ["key", "accept"] => Command::KeyAccept,
        ["retry", payment] => Command::Retry((*payment).to_owned()),
        ["help"] => Command::Help,
        [] => return Err("say what to do".to_owned()),
        ["router", ..] => return Err("it is `router add NAME`, `router show NAME`, `router list` or `router acl`".to_owned()),
        ["key", ..] => return Err("it is `key accept`".to_owned()),
        ["retry", ..] => return Err("it is `retry PAYMENT`, with an id that `lango-relay payments` shows".to_owned()),
        [first @ ("run" | "check" | "payments" | "help"), second, ..] => return Err(format!("`{first}` takes no \"{second}\"")),
        [first, ..] => return Err(format!("there is no command \"{first}\"")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn command_lines() {
        let name: RouterName = "kibera-7".parse().unwrap();
        for (line, command) in [
            ("run", Command::Run),
            ("check", Command::Check),
            ("router add kibera-7", Command::RouterAdd(name.clone())),
            ("router show kibera-7", Command::RouterShow(name)),
            ("router list --json", Command::RouterList),
            ("router acl", Command::RouterAcl),
            ("payments --json", Command::Payments),
            ("key accept", Command::KeyAccept),
            ("retry kibera-7/abc", Command::Retry("kibera-7/abc".to_owned())),
            ("help", Command::Help),
            ("run --help", Command::Help),
            ("--version", Command::Version),
        ] {
            assert_eq!(read(line).map(|args| args.command), Ok(command), "{line}");
        }
        let args = read("--config /tmp/a.toml payments").unwrap();
        assert_eq!((args.config, args.json), (PathBuf::from("/tmp/a.toml"), false));
        assert_eq!(read("run").unwrap().config, PathBuf::from("/etc/lango-relay.toml"));
    }

    #[test]
    fn what_is_no_command() {
        for (line, said) in [
            ("", "say what to do"),
            ("go", "there is no command \"go\""),
            ("run fast", "`run` takes no \"fast\""),
            ("router", "router add NAME"),
            ("router add", "router add NAME"),
            ("router add a/b", "letters, digits"),
            ("router add relay", "the relay's own name"),
            ("retry", "retry PAYMENT"),
            ("key", "key accept"),
            ("run --json", "--json is for"),
            ("run --config", "missing argument"),
            ("run --fast", "--fast"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
