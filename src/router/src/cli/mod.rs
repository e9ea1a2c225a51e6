//! The command line: what was typed, what is asked of the daemon, and what people read.

mod arguments;
mod certificate;
mod indent;
mod tables;
mod vouchers;

pub use arguments::{Arguments, Ask, DEFAULT_CONFIG, Job, USAGE, parse};
pub use certificate::{check, request as request_certificate, status as certificate_status};
pub use vouchers::{Wanted, make as make_vouchers};

use crate::config::{self, Config, LoadError};
use crate::control::client::{self, ClientError};
use crate::control::wire::{Command, DaemonCommand};
use crate::gate::GateError;
use crate::netlink::socket::NetlinkError;
use crate::store::StoreError;
use lango_core::request::{Answer, Refusal};
use nix::errno::Errno;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Exit codes of sysexits.
pub mod exit {
    /// It worked.
    pub const OK: u8 = 0;
    /// What was typed makes no sense.
    pub const USAGE: u8 = 64;
    /// What was typed does not exist, or cannot be had now.
    pub const DATA: u8 = 65;
    /// What is needed is not to be had: no daemon runs, another one does, another program has a port, the kernel lacks something.
    pub const UNAVAILABLE: u8 = 69;
    /// A bug.
    pub const SOFTWARE: u8 = 70;
    /// The store or another file cannot be read or written, or what is in it is damaged.
    pub const IO: u8 = 74;
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
    let error = match crate::daemon::run(path) {
        Ok(None) => return Outcome::default(),
        // It does not come back from there but with an error.
        Ok(Some(successor)) => anyhow::Error::new(successor.take_over()).context("the update cannot be started"),
        Err(error) => error,
    };
    Outcome { code: code_of(&error), error: format!("error: {error:#}\n"), ..Outcome::default() }
}

/// What a failure is to a script. What is none of those here is a bug.
fn code_of(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of_cause).unwrap_or(exit::SOFTWARE)
}

fn code_of_cause(cause: &(dyn Error + 'static)) -> Option<u8> {
    if let Some(cause) = cause.downcast_ref() {
        return Some(code_of_config(cause));
    }
    if let Some(cause) = cause.downcast_ref::<StoreError>() {
        return Some(match cause {
            StoreError::Busy { .. } => exit::UNAVAILABLE,
            StoreError::NoFolder { .. } => exit::CONFIG,
            StoreError::Folder { cause, .. } => code_of_io(cause),
            StoreError::Damaged { .. } | StoreError::Later { .. } | StoreError::Record(_) | StoreError::Write { .. } => exit::IO,
        });
    }
    if let Some(cause) = cause.downcast_ref::<GateError>() {
        return match cause {
            GateError::NotPermitted => Some(exit::PERMISSION),
            GateError::TableGone => Some(exit::UNAVAILABLE),
            GateError::Kernel { .. } => None, // by what the kernel said
        };
    }
    match cause.downcast_ref::<NetlinkError>() {
        Some(refused @ NetlinkError::Refused(_)) if refused.is(Errno::EPERM) => Some(exit::PERMISSION),
        Some(NetlinkError::Socket { source, .. }) if source.kind() == ErrorKind::PermissionDenied => Some(exit::PERMISSION),
        Some(NetlinkError::Malformed(_) | NetlinkError::TooLong(_)) => None,
        Some(_) => Some(exit::UNAVAILABLE),
        None => cause.downcast_ref().map(code_of_io),
    }
}

fn code_of_config(error: &LoadError) -> u8 {
    match error {
        LoadError::Unreadable { cause, .. } if cause.kind() == ErrorKind::PermissionDenied => exit::PERMISSION,
        LoadError::Unreadable { .. } | LoadError::Mistakes { .. } => exit::CONFIG,
    }
}

fn code_of_io(cause: &io::Error) -> u8 {
    match cause.kind() {
        ErrorKind::PermissionDenied => exit::PERMISSION,
        ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable => exit::UNAVAILABLE,
        _ => exit::IO,
    }
}

/// `lango garden`: a line of dnsmasq's configuration for each name of the walled garden, with no daemon asked.
#[must_use]
pub fn garden(path: &Path) -> Outcome {
    let config = match configured(path) {
        Ok(config) => config,
        Err(outcome) => return outcome,
    };
    Outcome { out: garden_lines(&config), ..Outcome::default() }
}

fn garden_lines(config: &Config) -> String {
    // An address is nothing that anybody asks DNS for: the daemon alone lets it in.
    let names = config.gateway.allow.iter().filter(|host| host.as_str().parse::<Ipv4Addr>().is_err());
    names.map(|host| crate::gate::dnsmasq_line(host.as_str()) + "\n").collect()
}

fn configured(path: &Path) -> Result<Config, Outcome> {
    config::load(path).map_err(|error| match error {
        LoadError::Unreadable { .. } => Outcome::failed(code_of_config(&error), error),
        LoadError::Mistakes { .. } => Outcome { error: format!("{error}\n"), code: exit::CONFIG, out: String::new() },
    })
}

/// A command that the running daemon answers. `config` is the configuration's file, where one was named.
#[must_use]
pub fn ask(config: Option<&Path>, ask: &Ask, json: bool) -> Outcome {
    let control = match control(config, &ask.command) {
        Ok(control) => control,
        Err(outcome) => return outcome,
    };
    match client::ask(&control, &ask.command) {
        Ok(Answer::Refused(refusal)) => Outcome::failed(exit::DATA, told(refusal, &ask.subject)),
        Ok(answer) => show(&answer, ask, json),
        Err(ClientError::NotRunning(_)) if ask.command == Command::Daemon(DaemonCommand::Flush) => flush_without_daemon(),
        Err(error) => unanswered(&error, config),
    }
}

/// The socket to ask on. The daemon goes on with what it has while a mistake is in the file, and somebody may have to be taken offline just
/// then: only a file that was named and cannot be read is one mistake too many. Removing the gate is nothing that a file has a say in.
fn control(config: Option<&Path>, command: &Command) -> Result<PathBuf, Outcome> {
    match (config::control_of(config.unwrap_or(Path::new(DEFAULT_CONFIG))), config) {
        (Ok(control), _) => Ok(control),
        (Err(cause), Some(path)) if *command != Command::Daemon(DaemonCommand::Flush) => {
            let error = LoadError::Unreadable { path: path.to_owned(), cause };
            Err(Outcome::failed(code_of_config(&error), error))
        }
        (Err(_), _) => Ok(config::CONTROL.into()),
    }
}

/// Where no daemon runs, the configuration may be why.
fn unanswered(error: &ClientError, config: Option<&Path>) -> Outcome {
    let code = match error {
        ClientError::NotRunning(_) => exit::UNAVAILABLE,
        ClientError::NotAllowed(_) => exit::PERMISSION,
        // The daemon went away meanwhile, or is busy with something that takes too long. What it said wrong is another thing.
        ClientError::Broken(_, cause) if cause.kind() != ErrorKind::InvalidData => exit::UNAVAILABLE,
        ClientError::Broken(..) => exit::SOFTWARE,
        ClientError::Failed(_) => exit::UNAVAILABLE,
    };
    let mut outcome = Outcome::failed(code, error);
    let path = config.unwrap_or(Path::new(DEFAULT_CONFIG));
    let why = match (error, config::load(path)) {
        (ClientError::NotRunning(_), Err(LoadError::Mistakes { .. })) => {
            let named = config.map(|path| format!(" --config {}", path.display())).unwrap_or_default();
            format!("{} has mistakes, with which it does not start: `lango check{named}` tells them", path.display())
        }
        (ClientError::NotRunning(_), Err(error @ LoadError::Unreadable { .. })) => error.to_string(),
        _ => return outcome,
    };
    outcome.error.extend(["lango: ", &why, "\n"]);
    outcome
}

fn told(refusal: Refusal, subject: &str) -> String {
    match refusal {
        Refusal::UnknownPackage => "there is no such package; `lango packages` lists them".to_owned(),
        Refusal::UnknownReceipt => format!("no money came here with the receipt {subject}; `lango payments` lists what came"),
        Refusal::AlreadyServed => format!("{subject} is served already; `lango payments` says to which account"),
        Refusal::NoPackageFits => {
            format!("no package costs what was paid: say which it shall be, `lango serve {subject} PACKAGE`; `lango packages` lists them")
        }
        Refusal::NotOnline => format!("{subject} is not online; `lango sessions` lists who is"),
        Refusal::UnknownVoucher => format!("there is no voucher {subject}; `lango vouchers list` lists them"),
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
        Ok(()) => {
            crate::neighbours::put_back();
            Outcome { out: "The gate is removed from the kernel.\n".to_owned(), ..Outcome::default() }
        }
        Err(error) => {
            let error = anyhow::Error::new(error);
            let code = if nix::unistd::geteuid().is_root() { code_of(&error) } else { exit::PERMISSION };
            Outcome::failed(code, error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wire::{Reply, to_line};
    use lango_core::request::Request;
    use lango_core::units::Mac;
    use std::io::{BufRead as _, BufReader, Write as _};

    #[test]
    fn the_gate_is_removed_whatever_the_configuration_says() {
        let gone = Some(Path::new("/nowhere/lango"));
        assert_eq!(control(gone, &Command::Daemon(DaemonCommand::Flush)), Ok("/var/run/lango.sock".into()));
        let refused = control(gone, &Command::Rules(Request::ClockIsSet)).unwrap_err();
        assert!(refused.code == exit::CONFIG && refused.error.contains("cannot be read"), "{refused:?}");
    }

    /// `anyhow`'s contexts stand before all of them, as where they come from.
    #[test]
    fn a_failure_has_its_exit_code() {
        let io = |kind: ErrorKind| anyhow::Error::new(io::Error::from(kind));
        let in_store = |kind: ErrorKind| StoreError::Folder { path: "/etc/lango/store".into(), cause: kind.into() };
        let store = || PathBuf::from("/etc/lango/store");
        let cause = || "rubbish".to_owned();
        let kernel = |source| anyhow::Error::new(GateError::Kernel { doing: "make the table", source });
        let refused = |errno| NetlinkError::Refused(vec![crate::netlink::socket::Refusal { sequence: 1, errno, text: None }]);
        for (error, code) in [
            (anyhow::Error::new(LoadError::Mistakes { mistakes: Vec::new() }), exit::CONFIG),
            (LoadError::Unreadable { path: store(), cause: ErrorKind::NotFound.into() }.into(), exit::CONFIG),
            (LoadError::Unreadable { path: store(), cause: ErrorKind::PermissionDenied.into() }.into(), exit::PERMISSION),
            // Another daemon at the control socket, another program at the portal's port.
            (io(ErrorKind::AddrInUse), exit::UNAVAILABLE),
            (io(ErrorKind::PermissionDenied), exit::PERMISSION),
            (io(ErrorKind::StorageFull), exit::IO),
            (StoreError::Busy { path: store() }.into(), exit::UNAVAILABLE),
            (StoreError::NoFolder { path: store() }.into(), exit::CONFIG),
            (in_store(ErrorKind::PermissionDenied).into(), exit::PERMISSION),
            (in_store(ErrorKind::ReadOnlyFilesystem).into(), exit::IO),
            (StoreError::Damaged { path: store(), cause: cause() }.into(), exit::IO),
            (StoreError::Later { path: store(), format: 9 }.into(), exit::IO),
            (StoreError::Write { cause: cause() }.into(), exit::IO),
            (GateError::NotPermitted.into(), exit::PERMISSION),
            (kernel(refused(Errno::EOPNOTSUPP)), exit::UNAVAILABLE),
            (refused(Errno::EPERM).into(), exit::PERMISSION),
            (anyhow::anyhow!("what nobody thought of"), exit::SOFTWARE),
        ] {
            let error = error.context("lango cannot start");
            assert_eq!(code_of(&error), code, "{error:#}");
        }
    }

    #[test]
    fn who_runs_is_asked_whatever_mistakes_are_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, socket) = (folder.path().join("lango"), folder.path().join("sock"));
        std::fs::write(&path, format!("config gateway\n\toption control {}\n\toption nmae 'x\n", socket.display())).unwrap();
        let kick = Command::Rules(Request::Kick { target: lango_core::request::Target::Device(Mac([2, 0, 0, 0, 0, 10])) });
        let kick = Ask { command: kick, subject: "02:00:00:00:00:0a".to_owned() };
        let gone = ask(Some(&path), &kick, false);
        assert_eq!((gone.code, gone.error.lines().count()), (exit::UNAVAILABLE, 2), "{gone:?}");
        let hint = format!("lango: {0} has mistakes, with which it does not start: `lango check --config {0}` tells them", path.display());
        assert_eq!(gone.error.lines().last(), Some(hint.as_str()));

        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            BufReader::new(&stream).read_until(b'\n', &mut asked).unwrap();
            stream.write_all(&to_line(&Reply::Answer(Box::new(Answer::Done))).unwrap()).unwrap();
            Command::from_line(&asked).unwrap()
        });
        let done = ask(Some(&path), &kick, false);
        assert_eq!((done.code, done.error.as_str()), (exit::OK, ""), "{done:?}");
        assert_eq!(daemon.join().unwrap(), kick.command);
    }

    #[test]
    fn dnsmasq_gets_a_line_for_each_name_and_none_for_addresses() {
        let text = "config gateway 'main'
	option name 'kibera-7'
	option lan 'br-lan'
	option wan 'wan'
	list allow 'Safaricom.co.ke'
	list allow '192.0.2.1'
	list allow 'pay.example.org'
config package 'hour'
	option label '1 hour'
	option price '10'
	option minutes '60'
";
        let lines = |text: &str| config::parse("lango", text.as_bytes()).map(|config| garden_lines(&config));
        let sets = "4#inet#lango#garden4,6#inet#lango#garden6";
        assert_eq!(lines(text).unwrap(), format!("nftset=/safaricom.co.ke/{sets}\nnftset=/pay.example.org/{sets}\n"));
        // What would say something else to dnsmasq is no name.
        for bad in ["a/b", "a#b", "a,b", "a b", "a\nserver=192.0.2.1", "#", "*.a", ""] {
            assert!(lines(&text.replace("pay.example.org", bad)).is_err(), "{bad:?} was taken");
        }
    }
}
