//! The demo's words on the terminal.

use lango_lab::world::World;
use lango_lab::{process, rights};
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

fn paint(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

pub fn heading(text: &str) {
    println!("\n{}", paint("1", text));
}

pub fn step(number: u32, text: &str) {
    println!("\n{} {}", paint("1;32", &format!("{number}.")), paint("1", text));
}

/// The demo's own sentence.
pub fn say(text: &str) {
    println!("   {text}");
}

/// What a real part said, word for word.
pub fn quote(who: &str, text: &str) {
    for line in text.trim_end().lines() {
        println!("   {} {line}", paint("2", &format!("{who} │")));
    }
}

pub fn progress(elapsed: Duration, what: &str) {
    println!("   [{:4.1} s] {what}", elapsed.as_secs_f64());
}

pub fn failure(error: &anyhow::Error) {
    eprintln!("\n{} {error:#}", paint("1;31", "Not seen:"));
}

/// Prints the ends of the logs.
pub fn logs(folder: &Path) {
    for name in ["lango.log", "relay.log", "broker.log", "dnsmasq.log"] {
        eprintln!("{}", process::tail(&folder.join(name), 25));
    }
}

pub fn your_turn(browser: &str, phone: &str, world: &World) {
    heading("Now it is your turn");
    say(&format!("http://{browser}  is the portal: your browser is a phone of that LAN. Buy a package, with any Kenyan number."));
    say(&format!("http://{phone}  is that phone's screen: the M-PESA prompt appears there."));
    say("Here in the terminal: p pays, c cancels, w types a wrong PIN, q ends. Ctrl-C ends, too, and leaves nothing behind.");
    say(&format!("To look around: {} {} /usr/sbin/nft list table inet lango", rights::way_in(), world.router.name()));
    say(&format!("Logs and files: {}", world.folder.display()));
}
