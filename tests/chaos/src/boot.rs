//! A program that believes in another boot: the kernel's boot id is covered by a file, in a mount namespace of the program's own.

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Becomes the program: `FILE PROGRAM ARGS…`. Comes back only where it fails.
pub fn become_program(mut args: impl Iterator<Item = OsString>) -> Result<()> {
    let (Some(file), Some(program)) = (args.next(), args.next()) else { bail!("as-boot FILE PROGRAM ARGS") };
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace of its own")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>).context("keeping mounts to itself")?;
    mount(Some(&*file), BOOT_ID, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("covering the boot id")?;
    Err(std::process::Command::new(&program).args(args).exec()).with_context(|| format!("{}", program.display()))
}
