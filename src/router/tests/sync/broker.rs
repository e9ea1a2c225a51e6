//! A mosquitto of the test's own, on a port of its own.

use super::router::soon;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// The router's and the relay's passwords there.
pub const PASSWORD: &str = "a-password";

/// A running broker.
pub struct Broker {
    child: Child,
    pub port: u16,
    place: tempfile::TempDir,
}

/// What it presents to TLS clients.
pub struct Tls<'a> {
    pub certificate: &'a Path,
    pub key: &'a Path,
}

impl Broker {
    /// Starts one; it accepts connections when this returns.
    pub async fn start(tls: Option<Tls<'_>>) -> Self {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str| place.path().join(name).display().to_string();
        for (number, user) in ["relay", "kibera-7"].into_iter().enumerate() {
            let mut command = Command::new("mosquitto_passwd");
            if number == 0 {
                command.arg("-c");
            }
            assert!(command.args(["-b", &file("passwords"), user, PASSWORD]).status().expect("mosquitto is installed").success());
        }
        std::fs::write(
            file("acl"),
            "user relay\ntopic readwrite lango/v1/#\n\nuser kibera-7\ntopic write lango/v1/kibera-7/up/#\n\
             topic read lango/v1/kibera-7/down/#\ntopic read lango/v1/relay/presence\n",
        )
        .unwrap();
        let port = free_port();
        let tls = tls.map_or(String::new(), |tls| format!("certfile {}\nkeyfile {}\n", tls.certificate.display(), tls.key.display()));
        std::fs::write(
            file("conf"),
            format!(
                "listener {port} 127.0.0.1\n{tls}allow_anonymous false\nset_tcp_nodelay true\npassword_file {}\nacl_file {}\nuser root\n\
                 persistence true\npersistence_location {}/\nlog_dest file {}\n",
                file("passwords"),
                file("acl"),
                place.path().display(),
                file("log"),
            ),
        )
        .unwrap();
        let child = spawn(place.path());
        let mut broker = Self { child, port, place };
        broker.ready().await;
        broker
    }

    async fn ready(&mut self) {
        let port = self.port;
        soon("the broker listens", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                let log = std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default();
                panic!("mosquitto ended with {status}: {log}");
            }
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, with what it had on its disk.
    pub async fn restart(&mut self) {
        self.child = spawn(self.place.path());
        self.ready().await;
    }
}

/// A port that is free now, and below those that the kernel hands out by itself: one of these would be somebody's own end of a
/// connection before the broker has it.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = 10_000 + u16::try_from(std::process::id() % 20).unwrap() * 1_000;
    let next = || begin + NEXT.fetch_add(1, Ordering::Relaxed) % 1_000;
    std::iter::repeat_with(next).take(1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

fn spawn(place: &Path) -> Child {
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(place.join("conf")).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("mosquitto is installed")
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
