//! What was typed.

use super::vouchers::Wanted;
use crate::control::wire::{Command, DaemonCommand};
use lango_core::request::{Request, Target};
use lango_core::units::Mac;
use lango_core::voucher::{GOOD_FOR_DAYS, MOST_AT_ONCE};
use lexopt::prelude::{Long, Short, Value, ValueExt as _};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where OpenWrt keeps the configuration.
pub const DEFAULT_CONFIG: &str = "/etc/config/lango";

/// `lango --help`.
pub const USAGE: &str = "\
Lango: the gate of a prepaid Wi-Fi router.

  lango run                     run the gateway, in the foreground
  lango check                   look for mistakes in the configuration
  lango garden                  print what dnsmasq needs for the walled garden
  lango certificate             how the certificate for HTTPS is
  lango certificate request     make the key for it where there is none, and print what a CA is to sign

Of the running gateway (add --json for programs):
  lango status                  how it is
  lango sessions                who is online
  lango accounts                all accounts, and what is left on them
  lango payments                all payments, newest first
  lango packages                what is sold
  lango grant MAC PACKAGE       let a device online, as if it had bought the package
  lango serve RECEIPT [PACKAGE] [--device MAC]
                                serve money that waits, once; without PACKAGE: as what it pays for
  lango kick MAC|USERNAME       take a device, or all of an account's, offline
  lango clock-is-set            say that the router's clock is right, for the script that sets it
  lango vouchers create PACKAGE COUNT
                                make vouchers and print their codes, which nobody can do again
  lango vouchers list           all vouchers, and what became of them
  lango vouchers revoke BATCH   take back what is not used of a batch, or of BATCH/NUMBER
  lango flush                   remove the gate from the kernel, for uninstalling

Options:
  --config FILE                 the configuration; /etc/config/lango otherwise
  --days DAYS                   for how long vouchers can be redeemed; 365 otherwise
  --version                     the program's version
";

/// What was typed, understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The configuration's file, where one was named.
    pub config: Option<PathBuf>,
    /// Whether programs read the output.
    pub json: bool,
    /// What to do.
    pub job: Job,
}

impl Arguments {
    /// The configuration's file: the one that was named, or the usual one.
    #[must_use]
    pub fn config(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))
    }
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Job {
    /// Say how it is used.
    Help,
    /// Say the version.
    Version,
    /// Be the daemon.
    Run,
    /// Look at the configuration.
    Check,
    /// Print dnsmasq's lines for the walled garden.
    Garden,
    /// Say how the certificate is.
    Certificate,
    /// Print a request for one.
    RequestCertificate,
    /// Make vouchers.
    MakeVouchers(Wanted),
    /// Ask the daemon.
    Ask(Ask),
}

/// A question for the daemon, and what it is about.
#[derive(Debug, PartialEq, Eq)]
pub struct Ask {
    /// The question.
    pub command: Command,
    /// Whom or what it names.
    pub subject: String,
}

/// Understands what was typed, the program's own name left out.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, String> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut config, mut json, mut words) = (None, false, Vec::new());
    let (mut device, mut days, mut early) = (None, None, None);
    while let Some(argument) = parser.next().map_err(|cause| cause.to_string())? {
        match argument {
            Long("config") | Short('c') => config = Some(parser.value().map_err(|cause| cause.to_string())?.into()),
            Long("json") => json = true,
            Long("device") => {
                let mac = parser.value().and_then(|mac| mac.string()).map_err(|cause| cause.to_string())?;
                device = Some(mac.parse::<Mac>().map_err(|cause| format!("{mac}: {cause}"))?);
            }
            Long("days") => {
                let value = parser.value().map_err(|cause| cause.to_string())?;
                let good = value.to_str().and_then(|days| days.parse::<u16>().ok()).filter(|days| (1..=3_650).contains(days));
                days = Some(good.ok_or("--days takes a number from 1 to 3650")?);
            }
            Long("help") | Short('h') => early = Some(Job::Help),
            Long("version") | Short('V') => early = early.or(Some(Job::Version)),
            Value(word) => words.push(word.string().map_err(|cause| cause.to_string())?),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut job = match early {
        Some(job) => job,
        None => job(&words, device)?,
    };
    if device.is_some() && !matches!(&job, Job::Ask(Ask { command: Command::Rules(Request::Serve { .. }), .. })) {
        return Err("--device goes with `lango serve`".to_owned());
    }
    match (&mut job, days) {
        (_, None) => {}
        (Job::MakeVouchers(wanted), Some(days)) => wanted.days = days,
        _ => return Err("--days goes with `lango vouchers create`".to_owned()),
    }
    if json && !matches!(job, Job::Ask(_) | Job::MakeVouchers(_)) {
        return Err("--json goes with the commands that ask the running gateway".to_owned());
    }
    Ok(Arguments { config, json, job })
}

fn job(words: &[&str], device: Option<Mac>) -> Result<Job, String> {
    let ask = |request: Request| Job::Ask(Ask { command: Command::Rules(request), subject: String::new() });
    Ok(match words {
        [] => return Err(format!("say what to do\n\n{}", USAGE.trim_end())),
        ["help"] => Job::Help,
        ["run"] => Job::Run,
        ["check"] => Job::Check,
        ["garden"] => Job::Garden,
        ["certificate"] => Job::Certificate,
        ["certificate", "request"] => Job::RequestCertificate,
        ["status"] => ask(Request::Status),
        ["sessions"] => ask(Request::Sessions),
        ["accounts"] => ask(Request::Accounts),
        ["payments"] => ask(Request::Payments),
        ["packages"] => ask(Request::Packages),
        ["clock-is-set"] => ask(Request::ClockIsSet),
        ["flush"] => Job::Ask(Ask { command: Command::Daemon(DaemonCommand::Flush), subject: String::new() }),
        ["grant", mac, package] => {
            let device = mac.parse().map_err(|cause| format!("{mac}: {cause}"))?;
            let package = package.parse().map_err(|cause| format!("{package}: {cause}"))?;
            Job::Ask(Ask { command: Command::Rules(Request::Grant { device, package }), subject: (*mac).to_owned() })
        }
        ["kick", whom] => {
            let target = match whom.parse::<Mac>() {
                Ok(mac) => Target::Device(mac),
                Err(_) => Target::Account(whom.parse().map_err(|cause| format!("{whom}: {cause}"))?),
            };
            Job::Ask(Ask { command: Command::Rules(Request::Kick { target }), subject: (*whom).to_owned() })
        }
        ["serve", receipt, package @ ..] if package.len() < 2 => {
            let subject = receipt.to_ascii_uppercase(); // typed from a message, as people type
            let receipt = subject.parse().map_err(|cause| format!("{subject}: {cause}"))?;
            let package = package.first().map(|id| id.parse().map_err(|cause| format!("{id}: {cause}"))).transpose()?;
            Job::Ask(Ask { command: Command::Rules(Request::Serve { receipt, package, device }), subject })
        }
        ["serve", ..] => return Err("it is `lango serve RECEIPT [PACKAGE] [--device MAC]`".to_owned()),
        ["vouchers", "create", package, count] => {
            let package = package.parse().map_err(|cause| format!("{package}: {cause}"))?;
            let count = count.parse().ok().filter(|count| (1..=MOST_AT_ONCE).contains(count));
            let count = count.ok_or_else(|| format!("how many vouchers must be a number from 1 to {MOST_AT_ONCE}"))?;
            Job::MakeVouchers(Wanted { package, count, days: GOOD_FOR_DAYS })
        }
        ["vouchers", "list"] => ask(Request::Vouchers),
        ["vouchers", "revoke", which] => {
            let meant = which.parse().map_err(|cause| format!("{which}: {cause}"))?;
            Job::Ask(Ask { command: Command::Rules(Request::RevokeVouchers { which: meant }), subject: (*which).to_owned() })
        }
        ["vouchers", ..] => {
            return Err("it is `lango vouchers create PACKAGE COUNT`, `lango vouchers list` or `lango vouchers revoke BATCH`".to_owned());
        }
        ["certificate", ..] => return Err("it is `lango certificate` or `lango certificate request`".to_owned()),
        ["grant", ..] => return Err("it is `lango grant MAC PACKAGE`".to_owned()),
        ["kick", ..] => return Err("it is `lango kick MAC|USERNAME`".to_owned()),
        [
            known @ ("run" | "check" | "garden" | "status" | "sessions" | "accounts" | "payments" | "packages" | "clock-is-set" | "flush"),
            ..,
        ] => {
            return Err(format!("`lango {known}` takes no more words"));
        }
        [unknown, ..] => return Err(format!("there is no command `{unknown}`; `lango --help` lists them")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Arguments, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn commands_as_they_are_typed() {
        assert_eq!(typed("run").unwrap(), Arguments { config: None, json: false, job: Job::Run });
        assert_eq!(typed("run").unwrap().config(), Path::new("/etc/config/lango"));
        assert_eq!(typed("run --config /tmp/x").unwrap().config(), Path::new("/tmp/x"));
        assert_eq!(typed("--config=/tmp/x check").unwrap().job, Job::Check);
        assert_eq!(typed("garden -c /tmp/x").unwrap().job, Job::Garden);
        assert_eq!(typed("certificate").unwrap().job, Job::Certificate);
        assert_eq!(typed("certificate request -c /tmp/x").unwrap().job, Job::RequestCertificate);
        assert_eq!(typed("help").unwrap().job, Job::Help);
        assert_eq!(typed("run --help").unwrap().job, Job::Help);
        assert!(typed("sessions --json").unwrap().json);
        let Job::Ask(ask) = typed("grant 02:00:00:00:00:0A hour").unwrap().job else { panic!() };
        let request = Request::Grant { device: Mac([2, 0, 0, 0, 0, 10]), package: "hour".parse().unwrap() };
        assert_eq!(ask.command, Command::Rules(request));
        let Job::Ask(ask) = typed("serve nlj7rt61sv hour --device 02:00:00:00:00:0A").unwrap().job else { panic!() };
        let (receipt, device) = ("NLJ7RT61SV".parse().unwrap(), Some(Mac([2, 0, 0, 0, 0, 10])));
        assert_eq!(ask.command, Command::Rules(Request::Serve { receipt, package: Some("hour".parse().unwrap()), device }));
        let Job::Ask(ask) = typed("serve NLJ7RT61SV").unwrap().job else { panic!() };
        assert!(matches!(ask.command, Command::Rules(Request::Serve { package: None, device: None, .. })));
        let wanted = |days| Wanted { package: "hour".parse().unwrap(), count: 20, days };
        assert_eq!(typed("vouchers create hour 20 --json").unwrap().job, Job::MakeVouchers(wanted(365)));
        assert_eq!(typed("vouchers create hour 20 --days 30").unwrap().job, Job::MakeVouchers(wanted(30)));
        let Job::Ask(ask) = typed("vouchers revoke K7M2P9/17").unwrap().job else { panic!() };
        assert_eq!(ask.command, Command::Rules(Request::RevokeVouchers { which: "k7m2p9/17".parse().unwrap() }));
        let Job::Ask(ask) = typed("kick k7m2p9qr").unwrap().job else { panic!() };
        assert_eq!(ask.command, Command::Rules(Request::Kick { target: Target::Account("k7m2p9qr".parse().unwrap()) }));
    }

    #[test]
    fn nothing_typed_is_a_mistake_and_gets_the_help() {
        let told = typed("").unwrap_err();
        assert!(told.starts_with("say what to do\n\nLango:") && told.contains("lango kick"), "{told}");
    }

    #[test]
    fn mistakes_get_a_sentence() {
        for (line, told) in [
            ("fly", "there is no command `fly`; `lango --help` lists them"),
            ("certificate renew", "it is `lango certificate` or `lango certificate request`"),
            ("grant", "it is `lango grant MAC PACKAGE`"),
            ("grant nonsense hour", "nonsense: a MAC address must be six pairs of hex digits, as 02:00:5e:10:00:01"),
            ("serve", "it is `lango serve RECEIPT [PACKAGE] [--device MAC]`"),
            ("serve NLJ7RT61SV hour day", "it is `lango serve RECEIPT [PACKAGE] [--device MAC]`"),
            ("serve nope!", "NOPE!: an M-Pesa receipt must be 8 to 12 capital letters and digits, as NLJ7RT61SV"),
            ("kick k7m2p9qr --device 02:00:00:00:00:0a", "--device goes with `lango serve`"),
            ("status now", "`lango status` takes no more words"),
            ("run --json", "--json goes with the commands that ask the running gateway"),
            ("vouchers", "it is `lango vouchers create PACKAGE COUNT`, `lango vouchers list` or `lango vouchers revoke BATCH`"),
            ("vouchers create hour 0", "how many vouchers must be a number from 1 to 1000"),
            ("vouchers create hour 1001", "how many vouchers must be a number from 1 to 1000"),
            ("vouchers create hour 10 --days 0", "--days takes a number from 1 to 3650"),
            ("vouchers list --days 3", "--days goes with `lango vouchers create`"),
            ("vouchers revoke 17", "17: a batch of vouchers must be six letters and digits, as `lango vouchers list` shows them"),
            ("status --loud", "invalid option '--loud'"),
        ] {
            assert_eq!(typed(line).unwrap_err(), told);
        }
    }
}
