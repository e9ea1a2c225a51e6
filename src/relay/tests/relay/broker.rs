//! A real mosquitto on a port of its own, with passwords and an access list, and without persistence: what it forgets
//! when it is killed must not be missed.

use super::free_port;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub const RELAY: &str = "relay";
pub const RELAY_PASSWORD: &str = "the-relays-own";

pub struct Broker {
    pub port: u16,
    folder: PathBuf,
    child: Option<Child>,
}

impl Broker {
    pub fn new(folder: &Path) -> Self {
        let folder = folder.join("broker");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("passwd"), "").unwrap();
        fs::write(folder.join("acl"), "").unwrap();
        let broker = Self { port: free_port(), folder, child: None };
        broker.configure("");
        broker.add_user(RELAY, RELAY_PASSWORD);
        broker
    }

    /// Writes its config with more lines for its listener.
    pub fn configure(&self, listener: &str) {
        let folder = self.folder.display();
        let text = format!(
            "user root\nallow_anonymous false\npersistence false\npassword_file {folder}/passwd\nacl_file {folder}/acl\n\
             log_dest stderr\nset_tcp_nodelay true\nlistener {} 127.0.0.1\n{listener}\n",
            self.port
        );
        fs::write(self.folder.join("mosquitto.conf"), text).unwrap();
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub fn add_user(&self, name: &str, password: &str) {
        let mut command = Command::new("mosquitto_passwd");
        command.args(["-b".as_ref(), self.folder.join("passwd").as_os_str(), name.as_ref(), password.as_ref()]).stderr(Stdio::null());
        let status = command.status().expect("mosquitto_passwd is needed: apt-get install mosquitto");
        assert!(status.success());
    }

    pub fn remove_user(&self, name: &str) {
        let mut command = Command::new("mosquitto_passwd");
        command.args(["-D".as_ref(), self.folder.join("passwd").as_os_str(), name.as_ref()]).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
    }

    /// As `systemctl reload mosquitto`.
    pub fn reload(&self) {
        let child = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-HUP", &child]).status().unwrap().success());
    }

    pub fn set_acl(&self, text: &str) {
        fs::write(self.folder.join("acl"), text).unwrap();
    }

    pub fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.folder.join("mosquitto.conf")).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("mosquitto is needed: apt-get install mosquitto"));
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the broker's log\n{}", self.log());
        }
    }
}
