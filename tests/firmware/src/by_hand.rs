//! What docs/provisioning.md has an operator do away from the router: the shells on the relay and on the computer, with real files in them, and
//! the way in over the router's cable to the internet.

use crate::street::Street;
use anyhow::{Context, Result, ensure};
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::phone::Phone;
use lango_lab::router;
use lango_lab::world::{CLOUD4, ROUTER_WAN4, ROUTER4, SAFARICOM4};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The page's file of step 1.
const FILE: &str = "kibera-7.txt";
const SSH: u16 = 22;
/// How long a packet that is dropped is waited for.
const SILENCE: Duration = Duration::from_secs(3);

/// A shell, and the folder that it is in.
struct Shell {
    folder: PathBuf,
}

impl Shell {
    fn new(street: &Street, place: &str) -> Result<Self> {
        let folder = street.world.folder.join(format!("typed-{place}"));
        std::fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    fn run(&self, line: &str, input: &str) -> Result<()> {
        let script = format!("umask 022\n{line}");
        let mut child = Command::new("sh").args(["-c", &script]).current_dir(&self.folder).stdin(Stdio::piped()).spawn()?;
        child.stdin.take().context("it was asked for")?.write_all(input.as_bytes())?;
        let status = child.wait()?;
        ensure!(status.success(), "{line}: {status}");
        Ok(())
    }

    /// What is in the page's file. It has a password: nobody else may read it.
    fn file(&self) -> Result<String> {
        let path = self.folder.join(FILE);
        let mode = std::fs::metadata(&path).with_context(|| format!("there is no {}", path.display()))?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{} is for more than one: {mode:o}", path.display());
        Ok(std::fs::read_to_string(path)?)
    }
}

/// The operator's hands.
pub struct Hands<'a> {
    street: &'a Street,
    relay: Shell,
    computer: Shell,
}

impl<'a> Hands<'a> {
    /// At the relay's and at the computer's keyboard.
    pub fn new(street: &'a Street) -> Self {
        let shell = |place| Shell::new(street, place).unwrap_or_else(|e| panic!("{e:#}"));
        Self { street, relay: shell("relay"), computer: shell("computer") }
    }

    /// Types a line on the relay, where the broker is, too.
    pub fn on_relay(&self, line: &str) {
        self.try_on_relay(line).unwrap_or_else(|e| panic!("on the relay: {line}: {e:#}"));
    }

    fn try_on_relay(&self, line: &str) -> Result<()> {
        let Street { relay, broker, .. } = self.street;
        match line {
            "lango-relay router acl >/etc/mosquitto/acl" => broker.set_acl(&relay.command(&["router", "acl"])?),
            _ if line == format!("mosquitto_passwd /etc/mosquitto/passwd {}", router::NAME) => {
                let file = self.relay.file()?;
                let password = file.lines().find_map(|line| line.strip_prefix("\toption password '")?.strip_suffix('\''));
                broker.add_user(router::NAME, password.context("the file has no password")?)
            }
            // The lab's broker was told to read its files again with each of the two.
            "systemctl reload mosquitto" => Ok(()),
            _ => match line.split_once("lango-relay ") {
                Some((before, words)) => {
                    let (words, file) = words.split_once(" >").context("it goes into a file")?;
                    let printed = relay.command(&words.split(' ').collect::<Vec<_>>())?;
                    // The lab's own program in its place; the rest of the line is the shell's.
                    self.relay.run(&format!("{before}cat >{file}"), &printed)
                }
                None => self.relay.run(line, ""),
            },
        }
    }

    /// Types a line on the computer.
    pub fn on_computer(&self, line: &str) {
        self.try_on_computer(line).unwrap_or_else(|e| panic!("on the computer: {line}: {e:#}"));
    }

    /// A copy by `scp` has the mode that the file has, less the umask, as one by `cp`.
    fn try_on_computer(&self, line: &str) -> Result<()> {
        if line == format!("scp admin@relay.example.org:{FILE} .") {
            self.relay.file()?;
            self.computer.run(&format!("cp '{}' .", self.relay.folder.join(FILE).display()), "")
        } else if line == format!("scp -O {FILE} root@192.168.1.1:/tmp/") {
            let there = format!("/tmp/{FILE}");
            self.street.machine.write(&there, &self.computer.file()?)?;
            self.street.machine.sh(&format!("chmod 600 {there}")).map(drop)
        } else {
            ensure!(!line.contains("scp"), "the page copies something else");
            self.computer.run(line, "")
        }
    }

    /// The page ends with the router's password in one place more: the router.
    pub fn kept_nothing(&self) {
        let left: Vec<_> =
            [&self.relay, &self.computer].into_iter().map(|shell| shell.folder.join(FILE)).filter(|file| file.exists()).collect();
        assert!(left.is_empty(), "the router's password still lies in {left:?}");
        self.street.machine.sh(&format!("test ! -e /tmp/{FILE}")).unwrap_or_else(|e| panic!("{e:#}"));
    }
}

/// Somebody who answers where SSH would, for the emulated router has none; until it goes off.
pub fn listens(street: &Street) {
    let line = "netstat -lnt | grep -q ':22 ' || \
                setsid sh -c 'while :; do echo SSH-2.0-none | nc -l -p 22 || sleep 1; done' </dev/null >/dev/null 2>&1 &";
    street.machine.sh(line).unwrap_or_else(|e| panic!("{e:#}"));
}

/// Reads the first words of who answers there.
fn greeted(stream: std::io::Result<TcpStream>) -> Result<()> {
    let mut stream = stream?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut words = [0; 4];
    stream.read_exact(&mut words)?;
    ensure!(&words == b"SSH-", "somebody else answers: {words:?}");
    Ok(())
}

/// Whether SSH is answered on the customers' side.
///
/// # Errors
/// When it is not.
pub fn ssh_from_customers(phone: &Phone) -> Result<()> {
    greeted(phone.connect(SocketAddr::new(ROUTER4.parse()?, SSH), SILENCE))
}

/// A connection from that address of the cloud's.
fn from(street: &Street, address: &str, to: SocketAddr) -> Result<std::io::Result<TcpStream>> {
    street.world.cloud.ip(&["route", "replace", "default", "via", "192.0.2.1", "src", address])?;
    let stream = street.world.cloud.run(|| TcpStream::connect_timeout(&to, SILENCE));
    street.world.cloud.ip(&["route", "replace", "default", "via", "192.0.2.1"])?;
    Ok(stream)
}

/// Step 3's rule: SSH is answered to the page's own address, which is the cloud's, and to no other.
pub fn way_in(street: &Street) {
    try_way_in(street).unwrap_or_else(|e| panic!("the way in: {e:#}"));
}

fn try_way_in(street: &Street) -> Result<()> {
    listens(street);
    let router = SocketAddr::new(ROUTER_WAN4.parse()?, SSH);
    let let_in = || greeted(from(street, CLOUD4, router).ok()?).ok();
    street.machine.until("SSH to be answered to the page's address", let_in)?;
    // The other one is on the way, and its packets are dropped: a router that listens to nobody would refuse.
    let others = from(street, SAFARICOM4, SocketAddr::new(HOST4.into(), ECHO))??;
    ensure!(others.local_addr()?.ip() == SAFARICOM4.parse::<IpAddr>()?, "the other address is {:?}", others.local_addr());
    let refused = from(street, SAFARICOM4, router)?.err().context("SSH is answered to another address, too")?;
    ensure!(refused.kind() == ErrorKind::TimedOut, "another address: {refused}");
    street.machine.until("SSH to be answered again", let_in).map(drop)
}
