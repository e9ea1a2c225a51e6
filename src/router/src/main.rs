//! `lango`: what is typed, and the exit code.

use lango::cli::{self, Job, exit};
use std::io::Write as _;
use std::process::ExitCode;

#[global_allocator]
static MEMORY: lango::memory::Memory = lango::memory::Memory;

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(mistake) => return end(&cli::Outcome { error: format!("lango: {mistake}\n"), code: exit::USAGE, ..cli::Outcome::default() }),
    };
    match &arguments.job {
        Job::Help => end(&cli::Outcome { out: cli::USAGE.to_owned(), ..cli::Outcome::default() }),
        Job::Version => {
            end(&cli::Outcome { out: concat!("lango ", env!("CARGO_PKG_VERSION"), "\n").to_owned(), ..cli::Outcome::default() })
        }
        Job::Check => end(&cli::check(arguments.config())),
        Job::Garden => end(&cli::garden(arguments.config())),
        Job::Certificate => end(&cli::certificate_status(arguments.config())),
        Job::RequestCertificate => end(&cli::request_certificate(arguments.config())),
        Job::MakeVouchers(wanted) => end(&cli::make_vouchers(arguments.config.as_deref(), wanted, arguments.json)),
        Job::Ask(ask) => end(&cli::ask(arguments.config.as_deref(), ask, arguments.json)),
        Job::Run => {
            lango::logger::start();
            lango::restart::guard();
            end(&cli::run(arguments.config()))
        }
    }
}

/// A reader that went away (`lango sessions | head`) is no failure of ours.
fn end(outcome: &cli::Outcome) -> ExitCode {
    let _reader_gone = std::io::stdout().write_all(outcome.out.as_bytes());
    let _reader_gone = std::io::stderr().write_all(outcome.error.as_bytes());
    ExitCode::from(outcome.code)
}
