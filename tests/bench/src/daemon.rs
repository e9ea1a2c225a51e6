//! The daemon on the router, and its control socket.

use crate::device::Device;
use crate::network::Network;
use anyhow::{Context, Result, bail, ensure};
use lango::control::wire::{Command, Reply, to_line};
use lango::gate::{GateConfig, Whole};
use lango_core::request::{Answer, OnlineView, Request};
use lango_core::units::PackageId;
use lango_lab::net::Namespace;
use lango_lab::process::{PATIENCE, tail};
use lango_lab::programs;
use lango_lab::wait::{until, until_true};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The portal's port.
pub const PORTAL_PORT: u16 = 8088;

/// The router's name.
pub const NAME: &str = "bench";

/// How long a start may take. It should take a tenth of a second; how long it does is for the table to say.
const START: Duration = Duration::from_secs(60);

/// What is sold here: limits that nothing here reaches, and the same with speeds that nothing here reaches.
const PACKAGES: &str = "
config package 'plain'
	option label '1 day'
	option price '50'
	option minutes '1440'
	option megabytes '1000000'

config package 'fast'
	option label '1 day, 10 Gbit/s'
	option price '60'
	option minutes '1440'
	option megabytes '1000000'
	option down_kbps '10000000'
	option up_kbps '10000000'
";

/// The gate as the daemon of [`Lango`] opens it: a gate opened beside it changes nothing.
pub fn gate_config() -> GateConfig {
    GateConfig {
        lan: vec!["br-lan".to_owned()],
        wan: "wan".to_owned(),
        portal_port: PORTAL_PORT,
        https_port: None,
        isolate: true,
        learn: true,
        whole: Whole::default(),
    }
}

/// The daemon, with a config of its own.
pub struct Lango {
    router: Namespace,
    binary: PathBuf,
    folder: PathBuf,
    relay: String,
    child: Option<Child>,
}

impl Lango {
    /// Prepares it; nothing runs yet.
    ///
    /// # Errors
    /// When it is not built.
    pub fn new(network: &Network) -> Result<Self> {
        let binary = programs::find("lango")?;
        Ok(Self { router: network.router.clone(), binary, folder: network.folder.clone(), relay: String::new(), child: None })
    }

    /// Gives it a relay, by this section of its config; from its next start on.
    pub fn set_relay(&mut self, section: &str) {
        section.clone_into(&mut self.relay);
    }

    /// Waits until it is connected with its relay, and has heard of it: payments are possible then.
    ///
    /// # Errors
    /// When that does not come.
    pub fn connected(&self) -> Result<()> {
        let mut control = self.control()?;
        until_true(
            "lango to be connected with its relay",
            PATIENCE,
            || matches!(control.ask(&Request::Status), Ok(Answer::Status(status)) if status.payments),
        )
        .with_context(|| self.tail())
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("lango.sock")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("lango.log")
    }

    /// Starts it on this store, and waits until it answers: the gate is taken over then. Gives how long that took, from
    /// before the process was made.
    ///
    /// # Errors
    /// When it does not: with the end of its log.
    pub fn start(&mut self, store: &Path) -> Result<Duration> {
        let config = self.folder.join("lango.uci");
        std::fs::write(&config, self.config(store))?;
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = std::process::Command::new(&self.binary);
        command.args(["run", "--config"]).arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C is for us; we end it then.
        command.process_group(0);
        let (begun, spawned) = self.router.run(|| (Instant::now(), command.spawn()));
        self.child = Some(spawned.with_context(|| format!("{} could not be started", self.binary.display()))?);
        while begun.elapsed() < START {
            if let Ok(mut control) = self.control() {
                control.ask(&Request::Status).with_context(|| self.tail())?;
                return Ok(begun.elapsed());
            }
            if self.child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some())) {
                bail!("lango ended instead of starting\n{}", self.tail());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        bail!("lango did not answer within {START:?}\n{}", self.tail());
    }

    fn config(&self, store: &Path) -> String {
        format!(
            "config gateway 'main'
	option name '{NAME}'
	option lan 'br-lan'
	option wan 'wan'
	option portal_port '{PORTAL_PORT}'
	option portal_host 'portal.lan'
	option store '{store}'
	option control '{control}'
	option leases '{leases}'
{PACKAGES}
{relay}",
            relay = self.relay,
            store = store.display(),
            control = self.socket().display(),
            leases = self.folder.join("leases").display(),
        )
    }

    fn tail(&self) -> String {
        tail(&self.log(), 20)
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).context("lango does not run")
    }

    /// A connection to its control socket. It is let go by the daemon after 10 s without a question.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn control(&self) -> Result<Control> {
        let stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(START))?;
        Ok(Control { stream: BufReader::new(stream), line: Vec::new() })
    }

    /// `kill -9`.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it as an upgrade does; the gate stays in the kernel.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
        let status = until("lango to end after SIGTERM", PATIENCE, || child.try_wait().ok().flatten())?;
        ensure!(status.success(), "lango ended with {status}\n{}", self.tail());
        Ok(())
    }

    /// Takes the gate out of the kernel; it stays out until the daemon starts again.
    ///
    /// # Errors
    /// When the daemon cannot.
    pub fn flush(&self) -> Result<()> {
        self.control()?.command(&Command::Daemon(lango::control::wire::DaemonCommand::Flush)).map(drop)
    }
}

impl Drop for Lango {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// A connection to the control socket: a JSON line a question, one an answer, and no process for each.
pub struct Control {
    stream: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Control {
    /// Asks the rules.
    ///
    /// # Errors
    /// When they refuse, or nobody answers.
    pub fn ask(&mut self, request: &Request) -> Result<Answer> {
        self.command(&Command::Rules(request.clone()))
    }

    /// Asks the rules, and reads the answer without looking at it; gives its length in bytes.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn raw(&mut self, request: &Request) -> Result<usize> {
        self.exchange(&Command::Rules(request.clone()))
    }

    fn exchange(&mut self, command: &Command) -> Result<usize> {
        let line = to_line(command)?;
        self.stream.get_mut().write_all(&line).context("asking lango")?;
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line).context("lango's answer")
    }

    fn command(&mut self, command: &Command) -> Result<Answer> {
        self.exchange(command)?;
        match Reply::from_line(&self.line).with_context(|| format!("lango answered {:?}", String::from_utf8_lossy(&self.line)))? {
            Reply::Answer(answer) => match *answer {
                Answer::Refused(why) => bail!("lango refused {command:?}: {why}"),
                answer => Ok(answer),
            },
            Reply::Failed(why) => bail!("lango failed: {why}"),
        }
    }

    /// `lango grant`: gives the device what is in the package. Tells whether it is online with it already: one that the
    /// router has not seen yet goes online when it is.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn grant(&mut self, device: Device, package: &PackageId) -> Result<bool> {
        match self.ask(&Request::Grant { device: device.mac(), package: package.clone() })? {
            Answer::Session(_) => Ok(true),
            Answer::Done => Ok(false),
            other => bail!("a grant was answered by {other:?}"),
        }
    }

    /// `lango sessions`: all that are online, with what they used.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn sessions(&mut self) -> Result<Vec<OnlineView>> {
        match self.ask(&Request::Sessions)? {
            Answer::Sessions(sessions) => Ok(sessions),
            other => bail!("the sessions were answered by {other:?}"),
        }
    }

    /// `lango kick`.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn kick(&mut self, device: Device) -> Result<()> {
        self.ask(&Request::Kick { target: lango_core::request::Target::Device(device.mac()) }).map(drop)
    }
}
