//! A flash of its own, that can be full or take nothing more.

use lango_lab::tool;
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::statvfs;
use std::path::PathBuf;

/// A small file system, which nobody but this test's thread and those that it starts see. It goes with them.
pub struct Flash(pub PathBuf, #[allow(dead_code, reason = "it is removed with this")] tempfile::TempDir);

impl Flash {
    /// So large, as `mount -t tmpfs -o size=` takes it.
    pub fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        unshare(CloneFlags::CLONE_NEWNS).expect("mounting takes root's rights: make test takes care of them");
        tool::run("mount", ["--make-rprivate", "/"]).unwrap();
        let path = folder.path().to_owned();
        tool::run("mount", ["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", path.to_str().unwrap()]).unwrap();
        Self(path, folder)
    }

    /// Bytes that can still be written.
    pub fn free(&self) -> u64 {
        let system = statvfs(&self.0).unwrap();
        system.blocks_available() * system.fragment_size()
    }

    /// Leaves no byte.
    pub fn fill(&self) {
        let free = usize::try_from(self.free()).unwrap();
        assert!(std::fs::write(self.0.join("ballast"), vec![7; free + 1]).is_err(), "writing fails when it is full");
    }

    /// Whether anything can be written.
    pub fn writable(&self, writable: bool) {
        let how = if writable { "remount,rw" } else { "remount,ro" };
        tool::run("mount", ["-o", how, self.0.to_str().unwrap()]).unwrap();
    }
}

impl Drop for Flash {
    fn drop(&mut self) {
        // Else its folder cannot be removed.
        let _ = tool::run("umount", ["-l", self.0.to_str().unwrap()]);
    }
}
