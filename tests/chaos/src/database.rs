//! A PostgreSQL server of the run's own, that can be killed and started again.

use anyhow::{Context, Result, bail};
use lango_lab::wait::until_true;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The server.
pub struct Database {
    folder: PathBuf,
    programs: PathBuf,
    user: User,
}

impl Database {
    /// A new one, with an empty database.
    pub fn start(folder: &Path) -> Result<Self> {
        let user = User::from_name("postgres")?.context("there is no user postgres; on Debian: apt-get install postgresql")?;
        let versions =
            std::fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed; on Debian: apt-get install postgresql")?;
        let programs = versions.flatten().map(|version| version.path().join("bin")).find(|bin| bin.join("initdb").exists());
        let programs = programs.context("there is no initdb; on Debian: apt-get install postgresql")?;
        let database = Self { folder: folder.join("postgres"), programs, user };
        std::fs::create_dir(&database.folder)?;
        chown(&database.folder, Some(database.user.uid), Some(database.user.gid))?;
        database.run("initdb", &["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-D", "data"])?;
        database.start_again()?;
        let socket = database.folder.display().to_string();
        database.run("createdb", &["-h", &socket, "-U", "postgres", "relay"])?;
        Ok(database)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/relay?host={}", self.folder.display())
    }

    /// Starts it, after a kill too.
    pub fn start_again(&self) -> Result<()> {
        // No waiting for the disk: what is tried here is what processes lose, not what power cuts in the cloud do.
        let options =
            format!("-k {} -c listen_addresses= -c fsync=off -c max_connections=60 -c shared_buffers=32MB", self.folder.display());
        self.run("pg_ctl", &["start", "-s", "-w", "-t", "50", "-D", "data", "-l", "log", "-o", &options])
    }

    fn processes(&self) -> Vec<Pid> {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        let Some(first) = file.lines().next().and_then(|line| line.trim().parse::<i32>().ok()) else { return Vec::new() };
        let children = std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent: i32 = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
            (parent == first).then_some(Pid::from_raw(pid))
        });
        std::iter::once(Pid::from_raw(first)).chain(children).collect()
    }

    /// A signal to all of its processes.
    pub fn signal(&self, signal: Signal) {
        for pid in self.processes() {
            let _ = kill(pid, signal); // one may have ended by itself meanwhile
        }
    }

    /// `kill -9` of all of its processes, and waits until they are gone.
    pub fn kill9(&self) -> Result<()> {
        let all = self.processes();
        for pid in &all {
            let _ = kill(*pid, Signal::SIGKILL); // as above
        }
        until_true("the database's processes to be gone", Duration::from_secs(20), || all.iter().all(|pid| is_gone(*pid)))?;
        // A dead process that nobody has fetched yet still counts as running for the next server: its files say so, and are wrong.
        for stale in ["data/postmaster.pid", ".s.PGSQL.5432.lock", ".s.PGSQL.5432"] {
            match std::fs::remove_file(self.folder.join(stale)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks something up, for people.
    pub fn ask(&self, sql: &str) -> Result<String> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-h", &self.folder.display().to_string(), "-U", "postgres", "-d", "relay", "-A", "-t", "-c", sql]);
        let output = command.stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        let mut command = Command::new(self.programs.join(program));
        // Into a file: the server inherits what it is given, and a pipe would never end.
        let said = self.folder.join(format!("{program}.log"));
        let file = std::fs::File::options().create(true).append(true).open(&said)?;
        command.args(args).current_dir(&self.folder).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        command.gid(self.user.gid.as_raw()).uid(self.user.uid.as_raw()).env("HOME", "/nonexistent").process_group(0);
        if !command.status()?.success() {
            bail!("{program}: {}", std::fs::read_to_string(said).unwrap_or_default());
        }
        Ok(())
    }
}

/// Dead, though nobody may have fetched it yet.
fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z') || rest.is_empty())
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.kill9();
    }
}
