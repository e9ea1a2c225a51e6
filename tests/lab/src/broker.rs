//! The MQTT broker: Debian's mosquitto, with a password for each router and an ACL that holds it to its own name.

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
pub const PORT: u16 = 1883;
/// The relay's user name.
pub const RELAY: &str = "relay";
/// The relay's password.
pub const RELAY_PASSWORD: &str = "lab-relay-password";

/// The user that may hear everything: the lab's own, no operator has it.
const EAR: &str = "lab-ear";
const EAR_PASSWORD: &str = "lab-ear-password";

/// `pattern` lines put the user's own name in place of `%u`.
const ACL: &str = "\
user relay
topic read lango/v1/+/up/#
topic write lango/v1/+/down/#
topic write lango/v1/relay/presence

user lab-ear
topic read lango/v1/#

pattern write lango/v1/%u/up/#
pattern read lango/v1/%u/down/#
pattern read lango/v1/relay/presence
";

/// The broker.
pub struct Broker {
    /// Its process.
    pub program: Program,
    cloud: Namespace,
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
        let (config, acl, passwords) = (home.join("mosquitto.conf"), home.join("acl"), home.join("passwords"));
        std::fs::write(&acl, ACL)?;
        std::fs::write(&passwords, "")?;
        // set_tcp_nodelay: without it a small message can wait 40 ms for the acknowledgement of the one before it.
        let text = format!(
            "listener {PORT} {CLOUD4}\nallow_anonymous false\npassword_file {}\nacl_file {}\npersistence true\n\
             persistence_location {}/\nautosave_interval 1\nset_tcp_nodelay true\nuser root\nlog_dest stderr\n",
            passwords.display(),
            acl.display(),
            home.display()
        );
        std::fs::write(&config, text)?;
        let args = ["-c", config.to_str().context("the lab's folder is text")?];
        let program = Program::new(cloud, &tool::path("mosquitto")?, &args, &folder.join("broker.log"));
        let broker = Self { program, cloud: cloud.clone(), passwords };
        broker.add_user(RELAY, RELAY_PASSWORD)?;
        broker.add_user(EAR, EAR_PASSWORD)?;
        Ok(broker)
    }

    /// Gives a router its password; a running broker reads its file again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_user(&self, name: &str, password: &str) -> Result<()> {
        let file = self.passwords.to_str().context("the lab's folder is text")?;
        tool::run("mosquitto_passwd", ["-b", file, name, password])?;
        if self.program.running() {
            self.program.signal(Signal::SIGHUP)?;
        }
        Ok(())
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
        let port = PORT.to_string();
        let args = ["-h", CLOUD4, "-p", &port, "-V", "5", "-u", user, "-P", password, "-q", "1", "-t", topic, "-s"];
        // It says that it was refused, and exits with 0 all the same.
        let mut command = from.command(&tool::path("mosquitto_pub")?, &args.map(str::to_owned))?;
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
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
        let port = PORT.to_string();
        let args = ["-h", CLOUD4, "-p", &port, "-u", EAR, "-P", EAR_PASSWORD, "-q", "1", "-t", "lango/v1/#", "-F", "%t %p"];
        let program = Program::new(&self.cloud, &tool::path("mosquitto_sub")?, &args, &folder.join("messages.log"));
        program.start()?;
        program.ready_when("the relay's presence on the broker", || program.log().contains("lango/v1/relay/presence "))?;
        Ok(program)
    }
}
