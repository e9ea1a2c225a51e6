//! The shipped `lango-relay`, its config, and its command line.

use super::broker::{RELAY, RELAY_PASSWORD};
use super::{free_port, on_postgres, until};
use lango_lab::postgres;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Program {
    pub port: u16,
    pub config: PathBuf,
    folder: PathBuf,
    database: String,
    child: Option<Child>,
}

/// What a command printed.
pub struct Printed {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// What `router add` gave.
#[derive(Clone)]
pub struct Credentials {
    pub password: String,
    pub relay_key: String,
}

impl Program {
    pub fn new(folder: &Path, broker: &str, daraja: &str, account: &str) -> Self {
        let database = if on_postgres() { postgres::database() } else { format!("sqlite://{}/relay/relay.db", folder.display()) };
        Self::with_database(&folder.join("relay"), &database, broker, daraja, account)
    }

    /// The same in a folder that is made for it, with this database.
    pub fn with_database(folder: &Path, database: &str, broker: &str, daraja: &str, account: &str) -> Self {
        fs::create_dir(folder).unwrap();
        let folder = folder.to_owned();
        let (port, home, config) = (free_port(), folder.display(), folder.join("lango-relay.toml"));
        let text = format!(
            r#"listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}/"
database = "{database}"
signing_key = "{home}/signing.key"

[mqtt]
broker = "{broker}"
username = "{RELAY}"
password = "{RELAY_PASSWORD}"

[mpesa]
base_url = "{daraja}"
consumer_key = "key"
consumer_secret = "secret"
shortcode = "174379"
passkey = "passkey"
{account}

[sms]
provider = "none"
"#
        );
        fs::write(&config, text).unwrap();
        Self { port, config, folder, database: database.to_owned(), child: None }
    }

    /// Starts it, and waits until it takes callbacks.
    pub async fn start(&mut self) {
        self.spawn();
        let address = ("127.0.0.1", self.port);
        until("the relay to take callbacks", async || tokio::net::TcpStream::connect(address).await.ok()).await;
    }

    pub fn spawn(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lango-relay"));
        command.arg("run").arg("--config").arg(&self.config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM; gives back the exit code when it has stopped.
    pub async fn stop(&mut self) -> i32 {
        let mut child = self.child.take().unwrap();
        let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(told.success());
        until("the relay to stop", async || child.try_wait().unwrap()).await.code().unwrap()
    }

    pub fn command(&self, words: &[&str]) -> Printed {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lango-relay"));
        let output = command.args(words).arg("--config").arg(&self.config).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Printed { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub fn add_router(&self, name: &str) -> Credentials {
        let printed = self.command(&["router", "add", name]);
        assert_eq!(printed.code, 0, "{}", printed.stderr);
        let option = |key: &str| {
            let start = format!("\toption {key} '");
            printed.stdout.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix('\'')).unwrap().to_owned()
        };
        assert_eq!(option("username"), name);
        Credentials { password: option("password"), relay_key: option("relay_key") }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The database, for questions that no command answers.
    pub fn database(&self) -> &str {
        &self.database
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the relay's log\n{}", self.log());
        }
    }
}
