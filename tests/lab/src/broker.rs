//! The MQTT broker: Debian's mosquitto over TLS, with a password for each router and the access list that the relay prints.

use crate::authority::Authority;
use crate::net::Namespace;
use crate::process::Program;
use crate::tool;
use crate::world::CLOUD4;
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where it listens.
pub const PORT: u16 = 8883;
/// The relay's user name.
pub const RELAY: &str = "relay";
/// The relay's password.
pub const RELAY_PASSWORD: &str = "lab-relay-password";

/// The user that may hear everything: the lab's own, no operator has it.
const EAR: &str = "lab-ear";
const EAR_PASSWORD: &str = "lab-ear-password";

/// What the lab's own user may do, behind the list that the relay prints.
const EAR_ACL: &str = "\nuser lab-ear\ntopic read lango/v1/#\n";

/// The broker.
pub struct Broker {
    /// Its process.
    pub program: Program,
    /// The certificate authority's file, for those who connect.
    pub ca: PathBuf,
    cloud: Namespace,
    acl: PathBuf,
    passwords: PathBuf,
}

impl Broker {
    /// Prepares it, with the relay's password. [`Broker::start`] starts it.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn new(cloud: &Namespace, folder: &Path) -> Result<Self> {
        let home = folder.join("broker");
        std::fs::create_dir(&home)?;
        let file = |name: &str| home.join(name);
        let (config, acl, passwords, ca) = (file("mosquitto.conf"), file("acl"), file("passwords"), file("ca.pem"));
        std::fs::write(&acl, EAR_ACL)?;
        std::fs::write(&passwords, "")?;
        let (certificate, key) = (file("broker.pem"), file("broker.key"));
        Authority::new("The lab's certificate authority")?.write(&home, "broker", CLOUD4)?;
        // set_tcp_nodelay: without it a small message can wait 40 ms for the acknowledgement of the one before it.
        let text = format!(
            "listener {PORT} {CLOUD4}\ncertfile {}\nkeyfile {}\nallow_anonymous false\npassword_file {}\nacl_file {}\n\
             persistence true\npersistence_location {}/\nautosave_interval 1\nset_tcp_nodelay true\nuser root\nlog_dest stderr\n",
            certificate.display(),
            key.display(),
            passwords.display(),
            acl.display(),
            home.display()
        );
        std::fs::write(&config, text)?;
        let args = ["-c", config.to_str().context("the lab's folder is text")?];
        let program = Program::new(cloud, &tool::path("mosquitto")?, &args, &folder.join("broker.log"));
        let broker = Self { program, ca, cloud: cloud.clone(), acl, passwords };
        broker.add_user(RELAY, RELAY_PASSWORD)?;
        broker.add_user(EAR, EAR_PASSWORD)?;
        Ok(broker)
    }

    /// Sets the access list, as `lango-relay router acl` prints it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_acl(&self, list: &str) -> Result<()> {
        std::fs::write(&self.acl, format!("{list}{EAR_ACL}"))?;
        self.read_files_again()
    }

    fn read_files_again(&self) -> Result<()> {
        if self.program.running() {
            self.program.signal(Signal::SIGHUP)?;
        }
        Ok(())
    }

    /// Gives a router its password; a running broker reads its file again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_user(&self, name: &str, password: &str) -> Result<()> {
        let file = self.passwords.to_str().context("the lab's folder is text")?;
        tool::run("mosquitto_passwd", ["-b", file, name, password])?;
        self.read_files_again()
    }

    /// Starts it, and waits until it takes connections.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&self) -> Result<()> {
        self.program.start()?;
        let address = SocketAddr::new(CLOUD4.parse()?, PORT);
        self.program.ready_when("the broker to take connections", || {
            self.cloud.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(1))).is_ok()
        })
    }

    /// Publishes with mosquitto's own client (MQTT 5: it is told when the ACL refuses), from this host.
    ///
    /// # Errors
    /// When the broker refuses the user or the topic.
    pub fn publish(&self, from: &Namespace, user: &str, password: &str, topic: &str, payload: &[u8]) -> Result<()> {
        let (port, ca) = (PORT.to_string(), self.ca.display().to_string());
        let args = ["-h", CLOUD4, "-p", &port, "--cafile", &ca, "-V", "5", "-u", user, "-P", password, "-q", "1", "-t", topic];
        // Standard input must not be empty for it.
        let how = if payload.is_empty() { "-n" } else { "-s" };
        // It says that it was refused, and exits with 0 all the same.
        let mut command = from.command(&tool::path("mosquitto_pub")?, &args.map(str::to_owned))?;
        command.arg(how).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn()?;
        std::io::Write::write_all(&mut child.stdin.take().context("it was asked for")?, payload)?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(output.status.success() && !said.contains("failed"), "{topic}: {said}");
        Ok(())
    }

    /// Starts to write down every message on the broker, one a line: the topic, a blank, the payload.
    ///
    /// # Errors
    /// When the relay's presence, which the broker keeps, is not heard.
    pub fn listen(&self, folder: &Path) -> Result<Program> {
        let (port, ca) = (PORT.to_string(), self.ca.display().to_string());
        let args =
            ["-h", CLOUD4, "-p", &port, "--cafile", &ca, "-u", EAR, "-P", EAR_PASSWORD, "-q", "1", "-t", "lango/v1/#", "-F", "%t %p"];
        let program = Program::new(&self.cloud, &tool::path("mosquitto_sub")?, &args, &folder.join("messages.log"));
        program.start()?;
        program.ready_when("the relay's presence on the broker", || program.log().contains("lango/v1/relay/presence "))?;
        Ok(program)
    }
}
