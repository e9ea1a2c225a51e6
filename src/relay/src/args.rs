//! The command line, read into a command. Pure.

use crate::bookkeeping::Form;
use crate::reversing::Word;
use crate::updates::words::{self, Update};
use crate::vouchers::Wanted;
use lango_core::units::{Invalid, RouterName};
use lango_core::voucher::{GOOD_FOR_DAYS, MOST_AT_ONCE, Which};
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
lango-relay router revoke NAME  its keys are good for nothing from now on; `router add` gives it new ones
lango-relay payments            the payments, newest first; with --day the day's, and its sums
lango-relay payments --sums     what came in, by day and router
lango-relay reconcile FILE      M-Pesa's own statement (CSV) held against the ledger: 1 if anything differs
lango-relay sms                 the texts to customers, newest first
lango-relay sms reports         the address for the SMS gateway's delivery reports
lango-relay retry ID            asks Safaricom about a payment now, or sends a text again (sms-…)
lango-relay c2b register        has Safaricom send payments by hand here
lango-relay assign RECEIPT ROUTER   says for which router money by hand is that waits
lango-relay reverse RECEIPT --yes   sends money back to who paid it; --served: even if a router may have served it
lango-relay reverse RECEIPT     asks what became of a reversal of which nobody knows the end; sends nothing
lango-relay reverse RECEIPT --done|--forget --yes
                                takes your word for it, after a look into M-Pesa's statement
lango-relay posts               what Safaricom told of money that could not be read
lango-relay posts done ID       you have seen to it
lango-relay vouchers create ROUTER PACKAGE COUNT
                                makes vouchers for a router, and prints their codes, which nobody can do again
lango-relay vouchers revoke ROUTER BATCH[/NUMBER]
                                takes back what is not used of them; says how many were
lango-relay radius list         the accounts that roam, what is left of them, and what waits to be written
lango-relay radius off          accounts are to roam no more: without a relay that has [radius_sql] nothing waits for one;
                                --yes: even if accounts stand in the tables, when no router's accounts roam any more
lango-relay radius sync         writes all that was bought into the RADIUS server's tables again (a new database)
lango-relay update manifest FILE --version V --number N --url URL
                                prints what is to be signed of a program (--target T) or an image (--board B); docs/updates.md
lango-relay update offer MANIFEST ROUTER… | --all [--percent N]
                                offers it to routers, with the signature in MANIFEST.sig; --key FILE looks at that first
lango-relay update list         what runs on each router, what was offered to it, and what became of that
lango-relay key accept          has the ledger take this machine's signing key, after the old one was lost

--config FILE   the config (default /etc/lango-relay.toml)
--day DAY       with `payments` and `reconcile`: a day in Nairobi, as 2026-11-22, today or yesterday
--router NAME   with `radius`: that router's accounts alone
--days DAYS     with `vouchers create`: for how long they can be redeemed (default 365)
--json          with `payments`, `posts`, `sms`, `router list`, `update list` and `vouchers create`: for programs
--csv           with `payments --day` and `payments --sums`: for spreadsheets
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
    /// Revoke a router's keys.
    RouterRevoke(RouterName),
    /// Have Safaricom send payments by hand here.
    C2bRegister,
    /// Money by hand is that router's.
    Assign(String, RouterName),
    /// Send money back.
    Reverse {
        /// The receipt.
        receipt: String,
        /// Whether it is meant.
        yes: bool,
        /// Whether it is meant even if it was served.
        served: bool,
        /// How it ended, as the operator knows.
        word: Option<Word>,
    },
    /// List what could not be read.
    Posts,
    /// One of that is seen to.
    PostsDone(String),
    /// List the payments.
    Payments,
    /// Hold M-Pesa's statement against the ledger.
    Reconcile(PathBuf),
    /// Make vouchers for a router.
    VouchersCreate(Wanted),
    /// Take vouchers back.
    VouchersRevoke(RouterName, Which),
    /// List the accounts that roam.
    RadiusList(Option<RouterName>),
    /// Write them again.
    RadiusSync(Option<RouterName>),
    /// Accounts roam no more.
    RadiusOff {
        /// Whether it is meant even if accounts stand in the tables.
        yes: bool,
    },
    /// Updates over the air.
    Update(Update),
    /// Have the ledger take this machine's signing key.
    KeyAccept,
    /// Ask about a payment now: `ORDER` or `ROUTER/ORDER`; or send a text again: `sms-…`.
    Retry(String),
    /// List the texts.
    Sms,
    /// Print where delivery reports are to arrive.
    SmsReports,
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
    /// For whom it is written.
    pub form: Form,
    /// One day alone, as it was written.
    pub day: Option<String>,
    /// Sums in place of the payments.
    pub sums: bool,
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// With what is wrong, in a sentence.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut parser = lexopt::Parser::from_args(arguments.into_iter().collect::<Vec<_>>());
    let (mut config, mut words) = (PathBuf::from(CONFIG), Vec::new());
    let (mut json, mut csv, mut sums, mut day, mut days) = (false, false, false, None, None);
    let (mut yes, mut served, mut ended) = (false, false, None);
    let mut router = None;
    let (mut all, mut of_updates) = (false, Vec::new());
    let mut special = None;
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('c') | Long("config") => config = parser.value().map_err(|error| error.to_string())?.into(),
            Long("json") => json = true,
            Long("csv") => csv = true,
            Long("sums") => sums = true,
            Long("yes") => yes = true,
            Long("served") => served = true,
            Long("done") => ended = Some(Word::Done),
            Long("forget") => ended = Some(Word::Forget),
            Long("day") => {
                let text = parser.value().map_err(|error| error.to_string())?;
                day = Some(text.into_string().map_err(|_| "an argument is not UTF-8".to_owned())?);
            }
            Long("router") => {
                let text = parser.value().map_err(|error| error.to_string())?;
                let text = text.into_string().map_err(|_| "an argument is not UTF-8".to_owned())?;
                router = Some(text.parse::<RouterName>().map_err(|invalid| invalid.to_string())?);
            }
            Long("days") => {
                let text = parser.value().map_err(|error| error.to_string())?;
                let good = text.to_str().and_then(|days| days.parse::<u16>().ok()).filter(|days| (1..=3_650).contains(days));
                days = Some(good.ok_or("--days takes a number from 1 to 3650")?);
            }
            Long("all") => all = true,
            Long(option) if words::WITH_VALUE.contains(&option) && words.first().is_some_and(|word| word == "update") => {
                let option = option.to_owned();
                let text = parser.value().map_err(|error| error.to_string())?;
                of_updates.push((option, text.into_string().map_err(|_| "an argument is not UTF-8".to_owned())?));
            }
            Short('h') | Long("help") => special = Some(Command::Help),
            Short('V') | Long("version") => special = Some(Command::Version),
            Value(word) => words.push(word.into_string().map_err(|_| "an argument is not UTF-8".to_owned())?),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let mut command = match special {
        Some(command) => command,
        None => match &*words.iter().map(String::as_str).collect::<Vec<_>>() {
            ["update", words @ ..] => Command::Update(words::read(words, of_updates, all)?),
            _ if all => return Err("--all is for `update offer`".to_owned()),
            words => command(words)?,
        },
    };
    match &mut command {
        Command::Reverse { yes: meant, served: even, word, .. } => (*meant, *even, *word) = (yes, served, ended),
        Command::RadiusOff { yes: meant } if !served && ended.is_none() => *meant = yes,
        Command::Help | Command::Version => {}
        _ if ended.is_some() => return Err("--done and --forget are for `reverse`".to_owned()),
        _ if yes || served => return Err("--yes is for `reverse` and `radius off`, --served for `reverse`".to_owned()),
        _ => {}
    }
    let asked = matches!(command, Command::Help | Command::Version);
    match (&mut command, days) {
        (Command::VouchersCreate(wanted), Some(days)) => wanted.days = days,
        (_, Some(_)) if !asked => return Err("--days is for `vouchers create`".to_owned()),
        _ => {}
    }
    match (&mut command, router) {
        (Command::RadiusList(wanted) | Command::RadiusSync(wanted), router) => *wanted = router,
        (_, Some(_)) if !asked => return Err("--router is for `radius list` and `radius sync`".to_owned()),
        _ => {}
    }
    let has_json = matches!(
        command,
        Command::Payments | Command::Posts | Command::RouterList | Command::Sms | Command::RadiusList(_) | Command::VouchersCreate(_)
    ) || command == Command::Update(Update::List);
    if json && !asked && !has_json {
        return Err(
            "--json is for `payments`, `posts`, `sms`, `router list`, `radius list`, `update list` and `vouchers create`".to_owned()
        );
    }
    if sums && !asked && command != Command::Payments {
        return Err("--sums is for `payments`".to_owned());
    }
    if day.is_some() && !asked && !matches!(command, Command::Payments | Command::Reconcile(_)) {
        return Err("--day is for `payments` and `reconcile`".to_owned());
    }
    if csv && !asked && (command != Command::Payments || !(sums || day.is_some())) {
        return Err("--csv is for `payments --day DAY` and `payments --sums`".to_owned());
    }
    let form = match (json, csv) {
        (true, true) => return Err("--json or --csv, not both".to_owned()),
        (true, false) => Form::Json,
        (false, true) => Form::Csv,
        (false, false) => Form::Table,
    };
    Ok(Args { command, config, form, day, sums })
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
        ["router", "revoke", router] => Command::RouterRevoke(name(router)?),
        ["c2b", "register"] => Command::C2bRegister,
        ["assign", receipt, router] => Command::Assign((*receipt).to_owned(), name(router)?),
        ["reverse", receipt] => Command::Reverse { receipt: (*receipt).to_owned(), yes: false, served: false, word: None },
        ["posts"] => Command::Posts,
        ["posts", "done", id] => Command::PostsDone((*id).to_owned()),
        ["payments"] => Command::Payments,
        ["reconcile", statement] => Command::Reconcile(statement.into()),
        ["vouchers", "create", router, package, count] => {
            let count = count.parse().ok().filter(|count| (1..=MOST_AT_ONCE).contains(count));
            let count = count.ok_or_else(|| format!("how many vouchers must be a number from 1 to {MOST_AT_ONCE}"))?;
            let package = package.parse().map_err(|invalid: Invalid| invalid.to_string())?;
            Command::VouchersCreate(Wanted { router: name(router)?, package, count, days: GOOD_FOR_DAYS })
        }
        ["vouchers", "revoke", router, which] => {
            Command::VouchersRevoke(name(router)?, which.parse().map_err(|invalid: Invalid| invalid.to_string())?)
        }
        ["radius", "list"] => Command::RadiusList(None),
        ["radius", "sync"] => Command::RadiusSync(None),
        ["radius", "off"] => Command::RadiusOff { yes: false },
        ["key", "accept"] => Command::KeyAccept,
        ["retry", payment] => Command::Retry((*payment).to_owned()),
        ["sms"] => Command::Sms,
        ["sms", "reports"] => Command::SmsReports,
        ["help"] => Command::Help,
        [] => return Err("say what to do".to_owned()),
        ["router", ..] => {
            return Err("it is `router add NAME`, `router show NAME`, `router list`, `router acl` or `router revoke NAME`".to_owned());
        }
        ["reconcile", ..] => return Err("it is `reconcile FILE`, with M-Pesa's statement as CSV".to_owned()),
        ["c2b", ..] => return Err("it is `c2b register`".to_owned()),
        ["assign", ..] => return Err("it is `assign RECEIPT ROUTER`".to_owned()),
        ["reverse", ..] => return Err("it is `reverse RECEIPT --yes`".to_owned()),
        ["vouchers", ..] => return Err("it is `vouchers create ROUTER PACKAGE COUNT` or `vouchers revoke ROUTER BATCH`".to_owned()),
        ["radius", ..] => return Err("it is `radius list`, `radius sync` or `radius off`".to_owned()),
        ["key", ..] => return Err("it is `key accept`".to_owned()),
        ["posts", ..] => return Err("it is `posts` or `posts done ID`".to_owned()),
        ["sms", ..] => return Err("it is `sms` or `sms reports`".to_owned()),
        ["retry", ..] => {
            return Err(
                "it is `retry PAYMENT` or `retry SMS`, with an id that `lango-relay payments` or `lango-relay sms` shows".to_owned()
            );
        }
        [first @ ("run" | "check" | "payments" | "help"), second, ..] => return Err(format!("`{first}` takes no \"{second}\"")),
        [first, ..] => return Err(format!("there is no command \"{first}\"")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::updates::commands::{Offering, Whom};

    fn read(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn command_lines() {
        let name: RouterName = "kibera-7".parse().unwrap();
        let vouchers = |days| {
            Command::VouchersCreate(Wanted { router: "kibera-7".parse().unwrap(), package: "hour".parse().unwrap(), count: 20, days })
        };
        let offer =
            |whom, key: Option<&str>| Command::Update(Update::Offer(Offering { manifest: "m".into(), key: key.map(PathBuf::from), whom }));
        let reverse = |yes, served, word| Command::Reverse { receipt: "NLJ7RT61SV".to_owned(), yes, served, word };
        for (line, command) in [
            ("run", Command::Run),
            ("check", Command::Check),
            ("router add kibera-7", Command::RouterAdd(name.clone())),
            ("router show kibera-7", Command::RouterShow(name)),
            ("router list --json", Command::RouterList),
            ("router acl", Command::RouterAcl),
            ("router revoke kibera-7", Command::RouterRevoke("kibera-7".parse().unwrap())),
            ("c2b register", Command::C2bRegister),
            ("assign NLJ7RT61SV kibera-7", Command::Assign("NLJ7RT61SV".to_owned(), "kibera-7".parse().unwrap())),
            ("reverse NLJ7RT61SV", reverse(false, false, None)),
            ("reverse NLJ7RT61SV --yes --served", reverse(true, true, None)),
            ("reverse NLJ7RT61SV --done --yes", reverse(true, false, Some(Word::Done))),
            ("reverse NLJ7RT61SV --forget", reverse(false, false, Some(Word::Forget))),
            ("posts --json", Command::Posts),
            ("posts done 0f0f", Command::PostsDone("0f0f".to_owned())),
            ("payments --json", Command::Payments),
            ("payments --day 2026-11-22 --csv", Command::Payments),
            ("payments --sums --json", Command::Payments),
            ("reconcile a.csv --day 2026-11-22", Command::Reconcile("a.csv".into())),
            ("radius list --json", Command::RadiusList(None)),
            ("radius off", Command::RadiusOff { yes: false }),
            ("radius off --yes", Command::RadiusOff { yes: true }),
            ("radius sync --router kibera-7", Command::RadiusSync(Some("kibera-7".parse().unwrap()))),
            ("key accept", Command::KeyAccept),
            ("vouchers create kibera-7 hour 20 --json", vouchers(365)),
            ("vouchers create kibera-7 hour 20 --days 30", vouchers(30)),
            ("vouchers revoke kibera-7 k7m2p9/17", Command::VouchersRevoke("kibera-7".parse().unwrap(), "k7m2p9/17".parse().unwrap())),
            ("update list --json", Command::Update(Update::List)),
            ("update offer m kibera-7 --key k.pub", offer(Whom::Named(vec!["kibera-7".parse().unwrap()]), Some("k.pub"))),
            ("update offer m --all", offer(Whom::All { percent: 100 }, None)),
            ("update offer m --all --percent 10", offer(Whom::All { percent: 10 }, None)),
            ("retry kibera-7/abc", Command::Retry("kibera-7/abc".to_owned())),
            ("sms", Command::Sms),
            ("sms --json", Command::Sms),
            ("sms reports", Command::SmsReports),
            ("retry sms-0f0f", Command::Retry("sms-0f0f".to_owned())),
            ("help", Command::Help),
            ("run --help", Command::Help),
            ("--version", Command::Version),
        ] {
            assert_eq!(read(line).map(|args| args.command), Ok(command), "{line}");
        }
        let made = read(
            "update manifest f --version 1 --number 7 --target t --url https://u.example/f --board a --board b --until 2027-01-31T00:00:00Z",
        );
        let Ok(Args { command: Command::Update(Update::Manifest(release)), .. }) = made else { panic!("{made:?}") };
        assert_eq!((release.version.as_str(), release.number, release.boards.len(), release.until.is_some()), ("1", 7, 2, true));
        let args = read("--config /tmp/a.toml payments").unwrap();
        assert_eq!((args.config, args.form, args.day, args.sums), (PathBuf::from("/tmp/a.toml"), Form::Table, None, false));
        let args = read("payments --sums --csv --day 2026-11-22").unwrap();
        assert_eq!((args.form, args.day.as_deref(), args.sums), (Form::Csv, Some("2026-11-22"), true));
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
            ("reverse", "reverse RECEIPT"),
            ("assign NLJ7RT61SV", "assign RECEIPT ROUTER"),
            ("c2b", "c2b register"),
            ("payments --yes", "for `reverse` and `radius off`"),
            ("radius sync --yes", "for `reverse` and `radius off`"),
            ("radius off --yes --served", "--served for `reverse`"),
            ("radius off --forget", "are for `reverse`"),
            ("payments --forget", "are for `reverse`"),
            ("posts gone", "posts done ID"),
            ("vouchers", "vouchers create ROUTER PACKAGE COUNT"),
            ("vouchers create kibera-7 hour 1001", "from 1 to 1000"),
            ("vouchers create kibera-7 hour 0", "from 1 to 1000"),
            ("vouchers create relay hour 5", "the relay's own name"),
            ("vouchers create kibera-7 an-hour 5", "a package's id"),
            ("vouchers revoke kibera-7 batch-1", "a batch of vouchers"),
            ("run --days 3", "--days is for"),
            ("run --json", "--json is for"),
            ("sms send", "`sms reports`"),
            ("payments --csv", "--csv is for"),
            ("payments --csv --json --sums", "not both"),
            ("router list --day 2026-11-22", "--day is for"),
            ("run --sums", "--sums is for"),
            ("reconcile", "reconcile FILE"),
            ("key", "key accept"),
            ("update", "update offer MANIFEST"),
            ("update offer m", "say to whom"),
            ("update offer m kibera-7 --all", "not both"),
            ("update offer m kibera-7 --percent 5", "not both"),
            ("update offer m --all --percent 0", "from 1 to 100"),
            ("update offer m a/b", "letters, digits"),
            ("update offer m kibera-7 --url x", "--url is not for"),
            ("update manifest f --version 1 --number 7", "--url is missing"),
            ("update manifest f --version 1 --number x --url https://u/", "--number takes digits"),
            ("update manifest f --version 1 --version 2 --number 7", "--version is there twice"),
            ("update manifest f --version 1 --number 7 --url http://u/", "https://HOST/PATH"),
            ("update manifest f --version 1 --number 7 --url https://u/ --until soon", "--until takes"),
            ("payments --all", "--all is for"),
            ("run --url x", "invalid option"),
            ("radius", "`radius sync`"),
            ("radius sync --json", "--json is for"),
            ("payments --router kibera-7", "--router is for"),
            ("run --config", "missing argument"),
            ("run --fast", "--fast"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
