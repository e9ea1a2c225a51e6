//! `make demo`: one customer's way through the real parts, told in plain words; then the person's own turn.

mod browser;
mod keys;
mod prompt;
mod story;
mod tell;

use anyhow::{Context, Result};
use lango_lab::safaricom::customer::Customer;
use lango_lab::{Lab, http, programs, rights, router};
use lexopt::prelude::Long;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

const USAGE: &str = "\
lango-demo [--auto]

  --auto    ends by itself; exit code 0 only if every step was seen

The shipped programs are taken from the folder LANGO_BIN_DIR, or from beside this program.
";

/// Where the person's browser finds the portal, as a phone of the LAN does.
const BROWSER: &str = "127.0.0.1:8080";
/// Where it finds that phone's own screen.
const PHONE: &str = "127.0.0.1:8081";

fn main() {
    let auto = match arguments() {
        Ok(auto) => auto,
        Err(wrong) => {
            eprint!("{wrong}\n\n{USAGE}");
            std::process::exit(64);
        }
    };
    let result = run(auto);
    if let Err(error) = &result {
        tell::failure(error);
    }
    // A browser's connection may hold the lab a little longer: it is removed whoever holds it.
    rights::remove_live();
    std::process::exit(i32::from(result.is_err()));
}

fn arguments() -> Result<bool, lexopt::Error> {
    let mut auto = std::env::var("AUTO").is_ok_and(|value| !value.is_empty() && value != "0");
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("auto") => auto = true,
            Long("help") => {
                print!("{USAGE}");
                std::process::exit(0);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(auto)
}

fn run(auto: bool) -> Result<()> {
    programs::find("lango")?;
    programs::find("lango-relay")?;
    let addresses: &[SocketAddr] = &[BROWSER.parse()?, PHONE.parse()?];
    let sockets = rights::ensure_with_sockets(if auto { &[] } else { addresses })?;

    tell::heading("A Wi-Fi router, a customer's phone, the internet, and Safaricom: all on this machine");
    let began = Instant::now();
    let mut step = |what: &str| tell::progress(began.elapsed(), what);
    let lab = Lab::build(router::PACKAGES, &mut step)?;
    tell::progress(began.elapsed(), "all of it is up");
    let lab = Arc::new(lab);
    evening(auto, &lab, sockets).inspect_err(|_| tell::logs(&lab.world.folder))
}

fn evening(auto: bool, lab: &Arc<Lab>, sockets: Vec<TcpListener>) -> Result<()> {
    lab.safaricom.everybody(Customer::manual());
    let mut steps = story::customers_way(lab)?;

    let phone = Arc::new(lab.phone());
    phone.try_join().context("the second phone")?;
    let portal = browser::Portal::new(phone.clone(), BROWSER);
    let screen = prompt::Screen::new(lab.clone(), phone.clone());
    if auto {
        steps += story::persons_way(&portal, &screen, lab)?;
        tell::heading(&format!("Every one of the {steps} steps was seen"));
        return Ok(());
    }
    let mut servers = Vec::new();
    let mut sockets = sockets.into_iter();
    let (Some(first), Some(second)) = (sockets.next(), sockets.next()) else { anyhow::bail!("the browser's sockets are lost") };
    servers.push(http::serve(first, move |request| portal.answer(request)));
    let answering = screen.clone();
    servers.push(http::serve(second, move |request| answering.answer(request)));
    tell::your_turn(BROWSER, PHONE, &lab.world);
    rights::a_signal_is_a_good_end();
    let keys = keys::Keys::listen();
    let mut shown = String::new();
    loop {
        screen.announce(&mut shown);
        if keys.next(Duration::from_millis(200)).is_some_and(|key| !screen.key(key)) {
            return Ok(());
        }
    }
}
