//! `lango-relay`: reads the command line and the config, does what is asked, and says with its exit code how it went.

use lango_relay::args::{self, Args, Command};
use lango_relay::bookkeeping::{self, Form};
use lango_relay::config::{self, Config};
use lango_relay::updates::words::Update;
use lango_relay::{check, commands, daemon, logger, operator, posts, radius, updates, vouchers};
use std::process::ExitCode;

/// Nothing failed, and the books differ: as diff(1) says it.
const DIFFERS: u8 = 1;
/// sysexits.h
const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const BUG: u8 = 70;
const NO_PERMISSION: u8 = 77;
const CONFIG: u8 = 78;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(wrong) => {
            eprintln!("lango-relay: {wrong}\n\n{}", args::HELP);
            return ExitCode::from(USAGE);
        }
    };
    match args.command.clone() {
        Command::Help => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Command::Version => {
            println!("lango-relay {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        // It needs no relay: who releases has none of its keys.
        Command::Update(Update::Manifest(release)) => {
            return match updates::manifest::print(&release) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("lango-relay: {error:#}");
                    ExitCode::from(exit_code(&error))
                }
            };
        }
        _ => {}
    }
    let config = match read_config(&args) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    // Everything that speaks TLS here does it with ring, which signs, too.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("lango-relay: a TLS library is installed already");
        return ExitCode::from(BUG);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lango-relay: the system gives no threads: {error}");
            return ExitCode::from(UNAVAILABLE);
        }
    };
    match runtime.block_on(execute(args, config)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DIFFERS),
        Err(error) => {
            eprintln!("lango-relay: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn read_config(args: &Args) -> Result<Config, ExitCode> {
    let shown = args.config.display();
    let text = std::fs::read_to_string(&args.config).map_err(|error| {
        eprintln!("lango-relay: the config {shown} cannot be read: {error} (another one: --config FILE)");
        ExitCode::from(if error.kind() == std::io::ErrorKind::PermissionDenied { NO_PERMISSION } else { CONFIG })
    })?;
    config::parse(&text).map_err(|mistakes| {
        for mistake in mistakes {
            // `check` is asked for them; to the others they are in the way.
            if args.command == Command::Check { println!("{shown}:{mistake}") } else { eprintln!("{shown}:{mistake}") }
        }
        ExitCode::from(CONFIG)
    })
}

/// Does what is asked; `false`: it went well, and the books differ.
async fn execute(args: Args, config: Config) -> anyhow::Result<bool> {
    let json = args.form == Form::Json;
    match args.command {
        Command::Run => {
            logger::start();
            daemon::run(config).await?;
        }
        Command::RouterAdd(name) => commands::router_add(&config, &name).await?,
        Command::RouterShow(name) => commands::router_show(&config, &name).await?,
        Command::RouterList => commands::router_list(&config, json).await?,
        Command::RouterAcl => commands::router_acl(&config).await?,
        Command::RouterRevoke(name) => commands::router_revoke(&config, &name).await?,
        Command::C2bRegister => operator::c2b_register(&config).await?,
        Command::Assign(receipt, router) => operator::assign(&config, &receipt, &router).await?,
        Command::Reverse { receipt, yes, served, word } => operator::reverse(&config, &receipt, yes, served, word).await?,
        Command::Posts => posts::list(&config, json).await?,
        Command::PostsDone(id) => posts::done(&config, &id).await?,
        Command::Payments if args.sums => bookkeeping::sums(&config, args.day.as_deref(), args.form).await?,
        Command::Payments => match &args.day {
            Some(day) => bookkeeping::day(&config, day, args.form).await?,
            None => commands::payments(&config, json).await?,
        },
        Command::Reconcile(path) => return bookkeeping::reconcile(&config, &path, args.day.as_deref()).await,
        Command::VouchersCreate(wanted) => vouchers::create(&config, &wanted, json).await?,
        Command::VouchersRevoke(router, which) => vouchers::revoke(&config, &router, which).await?,
        Command::RadiusList(router) => radius::commands::list(&config, router.as_ref(), json).await?,
        Command::RadiusSync(router) => radius::commands::sync(&config, router.as_ref()).await?,
        Command::RadiusOff { yes } => radius::commands::off(&config, yes).await?,
        Command::Update(Update::Offer(offering)) => updates::commands::offer(&config, &offering).await?,
        Command::Update(Update::List) => updates::commands::list(&config, json).await?,
        Command::KeyAccept => commands::key_accept(&config).await?,
        Command::Sms => lango_relay::sms::commands::list(&config, json).await?,
        Command::SmsReports => lango_relay::sms::commands::reports(&config)?,
        Command::Retry(payment) => commands::retry(&config, &payment).await?,
        // The config is good, or we were not here. What it names may not be.
        Command::Check => {
            let mistakes = check::look(&config).await?;
            for mistake in &mistakes {
                println!("{}:{mistake}", args.config.display());
            }
            if !mistakes.is_empty() {
                return Err(Misconfigured.into());
            }
        }
        Command::Help | Command::Version | Command::Update(Update::Manifest(_)) => {}
    }
    Ok(true)
}

/// The config's own words are fine, and what it names is not as it should be: said already.
#[derive(Debug, thiserror::Error)]
#[error("the config cannot be used as it is")]
struct Misconfigured;

fn exit_code(error: &anyhow::Error) -> u8 {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    if io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
        NO_PERMISSION
    } else if error.is::<Misconfigured>() {
        CONFIG
    } else if error.chain().any(|cause| cause.is::<commands::Misused>()) {
        USAGE
    } else {
        UNAVAILABLE
    }
}
