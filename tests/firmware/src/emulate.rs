//! `make emulate`, as people use it: the router boots from its script, a browser on this machine gets the portal's first page, and a line on its console
//! lets that browser in.

use crate::machine::{Image, PATIENCE};
use anyhow::{Context, Result, ensure};
use lango_lab::http::{self, Response};
use lango_lab::lab::figure;
use lango_lab::wait::until;
use serde_json::Value;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const ANSWER: Duration = Duration::from_secs(5);
/// What the script says is to be typed, with the address that the emulator's network gives this machine.
const LET_IN: &str = "lango grant 52:55:c0:a8:01:02 hour";

/// The script that runs, in a process group of its own; with it goes the emulator that it becomes.
struct Emulated(Child);

impl Drop for Emulated {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots it; stops the run where it is not as the script says.
pub fn run(image: &Image) {
    try_run(image).unwrap_or_else(|e| panic!("make emulate: {e:#}"));
}

fn try_run(image: &Image) -> Result<()> {
    // Fresh from its box, and beside the disk of who uses it.
    let folder = image.folder().join("emulate");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    // The script goes by the folder's name to the board's file.
    let folder = folder.join(image.folder().file_name().context("the image's folder has no name")?);
    std::fs::create_dir_all(&folder)?;
    for name in ["command", "kernel", "initrd", "rom"] {
        symlink(image.folder().canonicalize()?.join(name), folder.join(name))?;
    }
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let console = folder.join("console");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut child = Command::new(root.join("tools/emulate.sh"))
        .arg(&folder)
        .env("PORT", port.to_string())
        .current_dir(&root)
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(&console)?)
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut keyboard = child.stdin.take().context("it was asked for")?;
    let mut emulated = Emulated(child);
    let mut said = |what: &str, words: &str| await_words(&mut emulated, &console, what, words);
    said("its address to be told", &format!("http://127.0.0.1:{port} "))?;
    said("what lets this machine in to be told", LET_IN)?;
    said("the end of the boot", "the emulated router is up after")?;

    let page = until("the portal's first page", PATIENCE, || call(port, "GET", "/", "").ok().filter(|page| page.status == 200));
    let page = page.with_context(|| lango_lab::process::tail(&console, 40))?;
    ensure!(page.text().contains("1 hour"), "the first page sells nothing: {}", page.text());
    ensure!(session(port)?["active"] == false, "nobody has paid");
    // Enter, as the script says.
    keyboard.write_all(format!("\n{LET_IN}\n").as_bytes())?;
    until("this machine's session", PATIENCE, || session(port).ok().filter(|session| session["active"] == true))
        .with_context(|| lango_lab::process::tail(&console, 40))?;
    ensure!(emulated.0.try_wait()?.is_none(), "it ended by itself");
    figure("make emulate: its first page, and a session from its console");
    drop(emulated);
    ensure!(call(port, "GET", "/", "").is_err(), "somebody answers when it is off");
    Ok(std::fs::remove_dir_all(&folder)?)
}

fn await_words(emulated: &mut Emulated, console: &PathBuf, what: &str, words: &str) -> Result<()> {
    let said = || std::fs::read(console).map(|bytes| String::from_utf8_lossy(&bytes).contains(words)).unwrap_or(false);
    let mut ended = false;
    until(what, PATIENCE, || {
        ended = emulated.0.try_wait().is_ok_and(|status| status.is_some());
        (said() || ended).then_some(())
    })
    .with_context(|| lango_lab::process::tail(console, 40))?;
    ensure!(said(), "it ended before {what}: {}", lango_lab::process::tail(console, 40));
    Ok(())
}

fn call(port: u16, method: &str, path: &str, body: &str) -> Result<Response> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let host = format!("127.0.0.1:{port}");
    let mut headers = vec![("host", host.as_str()), ("connection", "close")];
    if !body.is_empty() {
        headers.push(("content-type", "application/json"));
    }
    http::exchange(stream, &http::request(method, path, &headers, body.as_bytes()), false)
}

fn session(port: u16) -> Result<Value> {
    let answer = call(port, "POST", "/api/hotspot/check-session", "{}")?;
    ensure!(answer.status == 200, "{}", answer.text());
    Ok(answer.value())
}
