//! Headless Chromium in a phone's namespace, with a profile of its own.

use crate::pipe::Pipe;
use crate::tab::Tab;
use anyhow::{Context, Result};
use lango_lab::phone::Phone;
use lango_lab::wait::until;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// The end of a browser that was asked to close.
const CLOSES: Duration = Duration::from_secs(10);

/// What it is started with: no picture on a screen, no rights to lose, and nothing asked of its maker.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox", // as root there is none; it sees the lab's pages alone
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--metrics-recording-only",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--password-store=basic",
    "about:blank",
];

/// A browser.
pub struct Browser {
    child: Child,
    pipe: Pipe,
    folder: PathBuf,
}

impl Browser {
    /// Starts one on a phone that has joined.
    ///
    /// # Errors
    /// When it is not installed or does not start: with what it said.
    pub fn start(phone: &Phone, folder: &Path) -> Result<Self> {
        Self::launch(phone, folder, None)
    }

    /// The same where the phone trusts this authority (a PEM file) as it does the public ones.
    ///
    /// # Errors
    /// As [`Browser::start`].
    pub fn trusting(phone: &Phone, folder: &Path, authority: &Path) -> Result<Self> {
        Self::launch(phone, folder, Some(authority))
    }

    fn launch(phone: &Phone, folder: &Path, authority: Option<&Path>) -> Result<Self> {
        let folder = folder.join(format!("browser.{}", phone.name));
        std::fs::create_dir_all(&folder)?;
        let resolver = folder.join("resolv.conf");
        std::fs::write(&resolver, format!("nameserver {}\n", phone.lease().dns))?;
        if let Some(authority) = authority {
            trust(&folder, authority).context("the browser's list of authorities")?;
        }
        let mut args: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        args.insert(0, format!("--user-data-dir={}", folder.join("profile").display()));
        let mut command = phone.namespace.command(&lango_lab::tool::path("chromium")?, &args)?;
        let log = std::fs::File::create(folder.with_extension(format!("{}.log", phone.name)))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        // Nothing of a person's own.
        command
            .env("HOME", &folder)
            .env("XDG_CONFIG_HOME", &folder)
            .env("XDG_CACHE_HOME", &folder)
            .env_remove("DISPLAY")
            .env("LANG", "C.UTF-8");
        let (pipe, ends) = Pipe::new()?;
        let held = ends.give(&mut command, &resolver)?;
        let child = command.spawn().context("chromium could not be started")?;
        drop(held);
        let browser = Self { child, pipe, folder };
        browser.pipe.call(None, "Browser.getVersion", json!({})).with_context(|| browser.words())?;
        Ok(browser)
    }

    fn words(&self) -> String {
        let text = std::fs::read_dir(self.folder.parent().unwrap_or(Path::new("/"))).map(|entries| {
            let logs = entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "log"));
            logs.filter(|path| path.to_string_lossy().contains("browser.")).map(|path| lango_lab::process::tail(&path, 10)).collect()
        });
        text.unwrap_or_default()
    }

    /// The line to it.
    #[must_use]
    pub fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    /// A new tab, as a phone shows it: 360 × 640, read in this language, with script or without.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn tab(&self, language: &str, script: bool) -> Result<Tab<'_>> {
        Tab::open(self, language, script)
    }
}

/// Puts an authority where a browser looks for what the person at this machine trusts, below its home folder.
fn trust(home: &Path, authority: &Path) -> Result<()> {
    let folder = home.join(".pki/nssdb");
    std::fs::create_dir_all(&folder)?;
    let (list, authority) = (format!("sql:{}", folder.display()), authority.display().to_string());
    lango_lab::tool::run("certutil", ["-d", &list, "-N", "--empty-password"])?;
    lango_lab::tool::run("certutil", ["-d", &list, "-A", "-t", "C,,", "-n", "lab", "-i", &authority]).map(drop)
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.pipe.call(None, "Browser.close", json!({}));
        let _ = until("the browser's end", CLOSES, || self.child.try_wait().ok().flatten());
        // What it left behind, and itself where it did not listen.
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
