//! A network namespace: a host of the lab.

use crate::tool;
use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::process::Command;
use std::sync::Arc;

/// A network namespace with a name. It is a handle: it does not remove the namespace when dropped, the lab does.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: Arc<str>,
}

impl Namespace {
    /// Makes it, with `lo` up.
    ///
    /// # Errors
    /// When the kernel refuses, or the name is taken.
    pub fn create(name: &str) -> Result<Self> {
        tool::run("ip", ["netns", "add", name])?;
        let namespace = Self { name: name.into() };
        // No waits for duplicate address detection, on no interface to come: the lab's addresses are unique.
        namespace.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` inside, on a thread of its own. Sockets that it opens stay inside, whichever thread uses them later.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let file = File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
                setns(file, CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("entering {path}: {e}"));
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip -n NAME args…`.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        tool::run("ip", ["-n", self.name()].iter().chain(args))
    }

    /// Loads a ruleset.
    ///
    /// # Errors
    /// When `nft` refuses it.
    pub fn nft(&self, ruleset: &str) -> Result<()> {
        self.exec_with_input("nft", &["-f", "-"], ruleset.as_bytes()).map(drop)
    }

    /// Runs a program inside to its end and gives back what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn exec(&self, program: &str, args: &[&str]) -> Result<String> {
        self.exec_with_input(program, args, b"")
    }

    /// The same, with something on its standard input.
    ///
    /// # Errors
    /// When it fails.
    pub fn exec_with_input(&self, program: &str, args: &[&str], input: &[u8]) -> Result<String> {
        let program = tool::path(program)?;
        let program = program.to_str().context("a program's path is text")?;
        tool::run_with_input("ip", ["netns", "exec", self.name(), program].iter().chain(args), input)
    }

    /// A command that will run inside. `ip netns exec` becomes the program itself, so its process id is the program's.
    ///
    /// # Errors
    /// When `ip` is not installed.
    pub fn command(&self, program: &std::path::Path, args: &[String]) -> Result<Command> {
        let mut command = tool::command("ip", ["netns", "exec", self.name()])?;
        command.arg(program).args(args);
        Ok(command)
    }

    /// Sets a network sysctl, as `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{key}");
        self.run(|| std::fs::write(&path, value)).with_context(|| format!("setting {key} in {}", self.name))
    }
}
