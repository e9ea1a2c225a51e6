//! The shipped `lango-relay`, run as an operator runs it: a config file and its command line.

use crate::broker::{self, Broker, RELAY, RELAY_PASSWORD};
use crate::net::Namespace;
use crate::process::{PATIENCE, Program};
use crate::programs;
use crate::safaricom::daraja::Merchant;
use crate::safaricom::org;
use crate::wait::until_true;
use crate::world::{CLOUD4, SAFARICOM4};
use anyhow::{Context, Result};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where Safaricom's callbacks arrive.
pub const PORT: u16 = 8090;

/// The relay.
pub struct Relay {
    /// Its process.
    pub program: Program,
    cloud: Namespace,
    config: PathBuf,
    binary: PathBuf,
    ca: PathBuf,
}

/// A router's credentials, as `lango-relay router add` makes them.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The config section as it was printed, and the lab's certificate authority.
    pub section: String,
    /// The broker's user name.
    pub username: String,
    /// The broker's password.
    pub password: String,
}

impl Relay {
    /// Writes its config. [`Relay::start`] starts it.
    ///
    /// # Errors
    /// When it is not built, or the config cannot be written.
    pub fn new(cloud: &Namespace, folder: &Path, merchant: &Merchant, broker: &Broker) -> Result<Self> {
        Self::texting(cloud, folder, merchant, broker, "provider = \"none\"\n")
    }

    /// The same with these lines in `[sms]`.
    ///
    /// # Errors
    /// As [`Relay::new`].
    pub fn texting(cloud: &Namespace, folder: &Path, merchant: &Merchant, broker: &Broker, sms: &str) -> Result<Self> {
        let home = folder.join("relay");
        std::fs::create_dir(&home)?;
        let config = home.join("lango-relay.toml");
        std::fs::write(&config, config_text(&home, merchant, &broker.ca, sms))?;
        let binary = programs::find("lango-relay")?;
        let args = ["run", "--config", config.to_str().context("the lab's folder is text")?];
        let program = Program::new(cloud, &binary, &args, &folder.join("relay.log"));
        Ok(Self { program, cloud: cloud.clone(), config, binary, ca: broker.ca.clone() })
    }

    /// Adds lines to the end of its config, before its next start.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, lines: &str) -> Result<()> {
        let text = std::fs::read_to_string(&self.config)?;
        Ok(std::fs::write(&self.config, text + lines)?)
    }

    /// Starts it, and waits until it takes callbacks.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&self) -> Result<()> {
        self.program.start()?;
        let address = SocketAddr::new(CLOUD4.parse()?, PORT);
        self.program.ready_when("the relay to take callbacks", || {
            self.cloud.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(1))).is_ok()
        })
    }

    /// Runs its command line: `lango-relay ARGS --config FILE`; gives back what it printed.
    ///
    /// # Errors
    /// When it fails: with what it said.
    pub fn command(&self, args: &[&str]) -> Result<String> {
        let config = self.config.to_str().context("the lab's folder is text")?;
        let binary = self.binary.to_str().context("its path is text")?;
        self.cloud.exec(binary, &[args, &["--config", config]].concat())
    }

    /// The same by a clock that is so late: what was made a day ago, and runs out in a moment, cannot be had otherwise. The program is the
    /// shipped one; only what the system tells it of the time is another.
    ///
    /// # Errors
    /// As [`Relay::command`], and where this machine has no C compiler.
    pub fn command_earlier(&self, late: Duration, args: &[&str]) -> Result<String> {
        const CLOCK: &str = "#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, \"clock_gettime\");
  int done = real(clock, now);
  if (done == 0 && clock == CLOCK_REALTIME) now->tv_sec -= LATE;
  return done;
}
";
        let home = self.config.parent().context("the config lies in a folder")?;
        let (source, library) = (home.join("clock.c"), home.join(format!("clock-{}.so", late.as_secs())));
        std::fs::write(&source, CLOCK)?;
        let made = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", &format!("-DLATE={}L", late.as_secs()), "-o"])
            .args([&library, &source])
            .output()
            .context("cc")?;
        anyhow::ensure!(made.status.success(), "cc: {}", String::from_utf8_lossy(&made.stderr));
        let (config, binary) =
            (self.config.to_str().context("the lab's folder is text")?, self.binary.to_str().context("its path is text")?);
        let preload = format!("LD_PRELOAD={}", library.display());
        self.cloud.exec("env", &[&[&preload, binary], args, &["--config", config]].concat())
    }

    /// Makes a router's credentials, and does at the broker what the relay says is to be done there.
    ///
    /// # Errors
    /// When the relay refuses, or prints no config section.
    pub fn add_router(&self, name: &str, broker: &Broker) -> Result<Credentials> {
        let printed = self.command(&["router", "add", name])?;
        let start = printed.find("config relay").with_context(|| format!("no config section in {printed:?}"))?;
        let section = format!("{}\toption ca '{}'\n", &printed[start..], self.ca.display());
        let option = |name: &str| {
            let value =
                section.lines().find_map(|line| line.trim().strip_prefix("option ")?.strip_prefix(name)?.trim().strip_prefix('\''))?;
            Some(value.split('\'').next()?.to_owned())
        };
        let username = option("username").context("no user name in the printed section")?;
        let password = option("password").context("no password in the printed section")?;
        broker.add_user(&username, &password)?;
        broker.set_acl(&self.command(&["router", "acl"])?)?;
        Ok(Credentials { section, username, password })
    }

    /// Waits until the relay has stored that Safaricom took a payment's prompt.
    ///
    /// # Errors
    /// When it has not in time.
    pub fn await_prompted(&self, payment: &str) -> Result<()> {
        until_true("the relay to have the push's answer", PATIENCE, || {
            let payments = self.payments().unwrap_or_default();
            payments.as_array().into_iter().flatten().any(|p| p["payment"] == payment && p["state"] == "prompted")
        })
    }

    /// Its payments, as `lango-relay payments --json` prints them.
    ///
    /// # Errors
    /// When it fails.
    pub fn payments(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.command(&["payments", "--json"])?)?)
    }
}

fn config_text(home: &Path, merchant: &Merchant, ca: &Path, sms: &str) -> String {
    let Merchant { consumer_key, consumer_secret, shortcode, passkey, transaction_type, .. } = merchant;
    format!(
        r#"listen = "{CLOUD4}:{PORT}"
public_url = "http://{CLOUD4}:{PORT}"
database = "sqlite://{home}/relay.db"
signing_key = "{home}/signing.key"

[mqtt]
broker = "mqtts://{CLOUD4}:{broker}"
ca = "{ca}"
username = "{RELAY}"
password = "{RELAY_PASSWORD}"

[mpesa]
base_url = "http://{SAFARICOM4}"
consumer_key = "{consumer_key}"
consumer_secret = "{consumer_secret}"
shortcode = "{shortcode}"
passkey = "{passkey}"
transaction_type = "{transaction_type}"
initiator = "{initiator}"
security_credential = "{credential}"

[sms]
{sms}"#,
        home = home.display(),
        initiator = org::INITIATOR,
        credential = org::credential(),
        broker = broker::PORT,
        ca = ca.display(),
    )
}
