//! A router's power and clocks: its disk cut off as it is at some moment, another boot with an empty kernel, and a wall clock that
//! somebody sets, rightly or wrongly. The shipped program runs in it as on any machine: what it asks the system is what is changed.
//!
//! Another boot is another boot id (bound over the kernel's) and a time namespace in which the time since the boot begins anew. The
//! wall clock is libfaketime's. All of that is the program's alone; the machine's clocks stay as they are.

use crate::Lab;
use crate::net::Namespace;
use crate::process::Program;
use crate::router::Lango;
use crate::second::Second;
use crate::tool;
use crate::wait::until_true;
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For what takes no time on an idle machine.
const SOON: Duration = Duration::from_secs(30);

/// How long a machine is up when its programs start, in seconds.
const BOOTED_IN: u64 = 20;

/// Binds the boot id, and becomes the program that follows.
const WITH_BOOT_ID: &str = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";

/// A wall clock that is set by writing to a file.
#[derive(Debug, Clone)]
pub struct WallClock(PathBuf);

impl WallClock {
    /// One that stands at so many seconds before or after the true time, as `+3d`, `-20m`, `+0`.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn new(file: PathBuf, at: &str) -> Result<Self> {
        let clock = Self(file);
        clock.set(at)?;
        Ok(clock)
    }

    /// Sets it, while the program runs.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn set(&self, at: &str) -> Result<()> {
        // In one step: the program may read at any moment.
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{at}\n")).and_then(|()| std::fs::rename(&new, &self.0)).context("setting the wall clock")
    }

    /// What a program must be started under to go by it.
    ///
    /// # Errors
    /// When libfaketime is not installed.
    pub fn words(&self) -> Result<Vec<String>> {
        let variables = [
            ("LD_PRELOAD", library()?.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let env = tool::path("env")?.display().to_string();
        Ok([env].into_iter().chain(variables.map(|(name, value)| format!("{name}={value}"))).collect())
    }
}

/// libfaketime, in whichever architecture's folder it is.
fn library() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").context("/usr/lib")?.flatten();
    let found = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|path| path.is_file());
    found.context("libfaketime is not installed; on Debian: apt-get install libfaketime")
}

/// The disk and the clocks of a router. Unmounted when it goes: drop it before the lab.
pub struct Power<'a> {
    lango: &'a Lango,
    router: &'a Namespace,
    folder: PathBuf,
    image: PathBuf,
    boots: u32,
    /// The router's own clock.
    pub clock: WallClock,
}

impl<'a> Power<'a> {
    /// Puts the router's store on a disk of its own and starts it anew there, its clock right.
    ///
    /// # Panics
    /// When that cannot be had: it takes root, loop devices and libfaketime.
    #[must_use]
    pub fn of(lab: &'a Lab) -> Self {
        Self::at(&lab.lango, &lab.world.router, &lab.world.folder)
    }

    /// The same for the second router.
    ///
    /// # Panics
    /// As [`Power::of`].
    #[must_use]
    pub fn of_second(second: &'a Second) -> Self {
        Self::at(&second.lango, &second.router, &second.folder)
    }

    fn at(lango: &'a Lango, router: &'a Namespace, folder: &Path) -> Self {
        Self::build(lango, router, folder)
            .unwrap_or_else(|e| panic!("a router with a disk and clocks of its own (this takes root and loop devices): {e:#}"))
    }

    fn build(lango: &'a Lango, router: &'a Namespace, folder: &Path) -> Result<Self> {
        let folder = folder.join("power");
        std::fs::create_dir(&folder)?;
        let image = folder.join("image-0");
        std::fs::File::create(&image)?.set_len(32 << 20)?;
        tool::run("mkfs.ext4", ["-q", "-F", "-m", "0", text(&image)?])?;
        let clock = WallClock::new(folder.join("clock"), "+0")?;
        let mut power = Self { lango, router, folder, image, boots: 0, clock };
        std::fs::create_dir(power.disk())?;
        lango.program.terminate()?;
        power.mount()?;
        lango.configure(|config| {
            let moved = config.lines().map(|line| match line.trim().starts_with("option store ") {
                true => format!("\toption store '{}'\n", power.disk().join("store").display()),
                false => format!("{line}\n"),
            });
            moved.collect()
        })?;
        power.try_on("+0")?;
        Ok(power)
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    /// Its journal is only committed when a program asks for it: a power cut is not softened by a timer.
    fn mount(&self) -> Result<()> {
        tool::run("mount", ["-o", "loop,commit=600,noatime", text(&self.image)?, text(&self.disk())?]).map(drop)
    }

    /// The power goes, in this moment: the disk stays as it is, the rest of the machine's memory is gone.
    ///
    /// # Panics
    /// When a step of that fails.
    pub fn cut(&mut self) {
        self.try_cut().unwrap_or_else(|e| panic!("cutting the power: {e:#}"));
    }

    fn try_cut(&mut self) -> Result<()> {
        let program = &self.lango.program;
        stand_still(program)?;
        // A name of its own each time: a loop device that is slow to go would be used again, with what it had in memory.
        let copy = self.folder.join(format!("image-{}", self.boots));
        tool::run("cp", ["--sparse=always", text(&self.image)?, text(&copy)?])?;
        program.kill9();
        tool::run("umount", [text(&self.disk())?])?;
        std::fs::remove_file(&self.image)?;
        self.image = copy;
        let router = self.router;
        router.exec("nft", &["delete", "table", "inet", "lango"])?;
        router.exec("conntrack", &["-F"])?;
        router.ip(&["neigh", "flush", "dev", "br-lan"])?;
        self.mount()
    }

    /// The power is back: another boot, whose clock stands so far from the true time, as `+0`, `-3d`.
    ///
    /// # Panics
    /// When the router does not start.
    pub fn on(&mut self, clock: &str) {
        self.try_on(clock).unwrap_or_else(|e| panic!("the router's boot: {e:#}"));
    }

    fn try_on(&mut self, clock: &str) -> Result<()> {
        self.boots += 1;
        self.clock.set(clock)?;
        let boot_id = self.folder.join(format!("boot-{}", self.boots));
        std::fs::write(&boot_id, format!("00000000-0000-4000-8000-{:012}\n", self.boots))?;
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        let up: u64 = uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).context("/proc/uptime")?;
        let (unshare, shell) = (tool::path("unshare")?.display().to_string(), tool::path("sh")?.display().to_string());
        let offset = format!("-{}", up.saturating_sub(BOOTED_IN));
        let mut words = vec![unshare, "--mount".to_owned(), "--time".to_owned(), "--boottime".to_owned(), offset];
        words.extend([shell, "-c".to_owned(), WITH_BOOT_ID.to_owned(), text(&boot_id)?.to_owned()]);
        words.extend(self.clock.words()?);
        self.lango.program.under(words);
        self.lango.start()
    }
}

impl Drop for Power<'_> {
    fn drop(&mut self) {
        self.lango.program.kill9();
        let disk = self.disk();
        // Lazily where something still holds it: a failing test must not leave it to the machine.
        if tool::run("umount", [&disk]).is_err() {
            let _ = tool::run("umount", [Path::new("-l"), &disk]);
        }
    }
}

/// Stops every thread of it where it is.
fn stand_still(program: &Program) -> Result<()> {
    program.signal(Signal::SIGSTOP)?;
    let tasks = format!("/proc/{}/task", program.pid().context("it does not run")?);
    until_true("every thread of it to stand still", SOON, || {
        std::fs::read_dir(&tasks).is_ok_and(|tasks| {
            tasks.flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
            })
        })
    })
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the lab's folder is text")
}
