//! Programs of the system, found and run with argument vectors: no shell, no strings put together.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What the lab uses, and the Debian package that has it.
pub const NEEDED: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("dnsmasq", "dnsmasq-base"),
    ("mosquitto", "mosquitto"),
    ("mosquitto_passwd", "mosquitto"),
    ("mosquitto_pub", "mosquitto-clients"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("udhcpc", "udhcpc"),
    ("ping", "iputils-ping"),
    ("unshare", "util-linux"),
    ("conntrack", "conntrack"),
    ("mkfs.ext4", "e2fsprogs"),
    ("faketime", "faketime"),
];

/// What only some tests use: asked for where it is wanted.
const WANTED_BY_SOME: &[(&str, &str)] = &[
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("freeradius", "freeradius"),
    ("radclient", "freeradius-utils"),
    ("sqlite3", "sqlite3"),
    ("chromium", "chromium"),
    ("certutil", "libnss3-tools"),
];

/// The program's full path. An ordinary user's PATH often lacks the `sbin` directories, where most of them are.
///
/// # Errors
/// When it is not installed; the message names the package.
pub fn path(name: &str) -> Result<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    if let Some(found) = std::env::split_paths(&search).chain(sbin).map(|dir| dir.join(name)).find(|p| p.is_file()) {
        return Ok(found);
    }
    match NEEDED.iter().chain(WANTED_BY_SOME).find(|(program, _)| *program == name) {
        Some((_, package)) => bail!("{name} is not installed; on Debian: apt-get install {package}"),
        None => bail!("{name} is not installed"),
    }
}

/// Fails with one sentence that names all that is missing.
///
/// # Errors
/// When something is missing.
pub fn check_all() -> Result<()> {
    let mut packages: Vec<_> = NEEDED.iter().filter(|(program, _)| path(program).is_err()).map(|(_, package)| *package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    bail!("the lab needs programs that are not installed; on Debian: apt-get install {}", packages.join(" "))
}

/// A command of that program, not started yet.
///
/// # Errors
/// When it is not installed.
pub fn command<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Result<Command> {
    let mut command = Command::new(path(name)?);
    command.args(args);
    Ok(command)
}

/// Runs it to its end and gives back what it printed.
///
/// # Errors
/// When it is not installed or failed; the message has what it said.
pub fn run<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Result<String> {
    run_with_input(name, args, b"")
}

/// The same, with `input` on its standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>, input: &[u8]) -> Result<String> {
    let mut command = command(name, args)?;
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{shown} could not be started"))?;
    // A program that ends without reading its input is judged by its exit code.
    let _ = child.stdin.take().expect("it was asked for").write_all(input);
    let output = child.wait_with_output().with_context(|| format!("{shown} was lost"))?;
    if !output.status.success() {
        bail!("{shown} failed: {}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
