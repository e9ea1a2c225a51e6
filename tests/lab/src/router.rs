//! The shipped `lango`, run as OpenWrt runs it: a UCI config file and its command line.

use crate::dnsmasq;
use crate::net::Namespace;
use crate::process::{PATIENCE, Program};
use crate::programs;
use crate::wait::until_true;
use crate::world::{PORTAL_PORT, ROUTER4};
use anyhow::{Context, Result};
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

/// The router's name in its fleet.
pub const NAME: &str = "kibera-7";

/// What the lab's router sells. The hour has little data, so that its end can be seen.
pub const PACKAGES: &str = "
config package 'hour'
	option label '1 hour'
	option price '10'
	option minutes '60'
	option megabytes '5'

config package 'minute'
	option label '1 minute'
	option price '5'
	option minutes '1'

config package 'day'
	option label '1 day'
	option price '50'
	option minutes '1440'
";

/// The router's program.
pub struct Lango {
    /// Its process.
    pub program: Program,
    /// Its config file.
    pub config: PathBuf,
    router: Namespace,
    binary: PathBuf,
}

impl Lango {
    /// Writes its config. [`Lango::start`] starts it.
    ///
    /// # Errors
    /// When it is not built, or the config cannot be written.
    pub fn new(router: &Namespace, folder: &Path, relay_section: &str, packages: &str) -> Result<Self> {
        Self::named(NAME, router, folder, relay_section, packages)
    }

    /// The same for a router of another name.
    ///
    /// # Errors
    /// As [`Lango::new`].
    pub fn named(name: &str, router: &Namespace, folder: &Path, relay_section: &str, packages: &str) -> Result<Self> {
        let config = folder.join("lango.uci");
        std::fs::write(&config, config_text(name, folder, relay_section, packages))?;
        let binary = programs::find("lango")?;
        let args = ["run", "--config", config.to_str().context("the lab's folder is text")?];
        let program = Program::new(router, &binary, &args, &folder.join("lango.log"));
        Ok(Self { program, config, router: router.clone(), binary })
    }

    /// Starts it, and waits until its portal takes connections.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&self) -> Result<()> {
        self.program.start()?;
        let address = SocketAddr::new(ROUTER4.parse()?, PORTAL_PORT);
        self.program.ready_when("the portal to take connections", || {
            self.router.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(1))).is_ok()
        })
    }

    /// Waits until payments are possible: broker and relay answered.
    ///
    /// # Errors
    /// When they do not in time.
    pub fn await_payments(&self) -> Result<()> {
        until_true("payments to be possible (broker and relay answered)", PATIENCE, || self.status().is_ok_and(|s| s["payments"] == true))
            .with_context(|| self.program.tail(40))
    }

    /// Runs `lango ARGS --config FILE` on the router.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub fn output(&self, args: &[&str]) -> Result<Output> {
        let config = self.config.to_str().context("the lab's folder is text")?;
        let args: Vec<String> = args.iter().chain(&["--config", config]).map(|&a| a.to_owned()).collect();
        Ok(self.router.command(&self.binary, &args)?.output()?)
    }

    /// The same, and gives back what it printed.
    ///
    /// # Errors
    /// When it fails: with what it said.
    pub fn command(&self, args: &[&str]) -> Result<String> {
        let output = self.output(args)?;
        anyhow::ensure!(output.status.success(), "lango {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Changes its configuration; it reads it at its next start, or when it is told to.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn configure(&self, change: impl FnOnce(&str) -> String) -> Result<()> {
        let text = std::fs::read_to_string(&self.config)?;
        Ok(std::fs::write(&self.config, change(&text))?)
    }

    fn json(&self, what: &str) -> Result<Value> {
        let text = self.command(&[what, "--json"])?;
        serde_json::from_str(&text).with_context(|| format!("lango {what} --json printed {text:?}"))
    }

    /// `lango status --json`.
    ///
    /// # Errors
    /// When the daemon does not run.
    pub fn status(&self) -> Result<Value> {
        self.json("status")
    }

    /// `lango sessions --json`.
    ///
    /// # Errors
    /// When the daemon does not run.
    pub fn sessions(&self) -> Result<Value> {
        self.json("sessions")
    }

    /// `lango payments --json`.
    ///
    /// # Errors
    /// When the daemon does not run.
    pub fn payments(&self) -> Result<Value> {
        self.json("payments")
    }

    /// The gate, as the kernel has it: `nft list table inet lango`.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn gate(&self) -> Result<String> {
        self.router.exec("nft", &["list", "table", "inet", "lango"])
    }
}

fn config_text(name: &str, folder: &Path, relay_section: &str, packages: &str) -> String {
    format!(
        "config gateway 'main'
	option name '{name}'
	option lan 'br-lan'
	option wan 'wan'
	option portal_port '{PORTAL_PORT}'
	option portal_host 'portal.lan'
	option store '{folder}/store'
	option control '{folder}/lango.sock'
	option leases '{leases}'

{relay_section}
{packages}",
        folder = folder.display(),
        leases = dnsmasq::leases(folder).display(),
    )
}
