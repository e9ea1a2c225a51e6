//! A router's flash: a file system in a file, mounted by loop. A power cut copies the file as it is at that moment: what the file
//! system holds in memory alone is not in the copy.

use anyhow::Result;
use lango_lab::{rights, tool};
use std::path::{Path, PathBuf};

/// A mounted flash.
pub struct Flash {
    folder: PathBuf,
    copies: u32,
}

impl Flash {
    /// A new one, empty, in that folder.
    pub fn new(folder: &Path) -> Result<Self> {
        let flash = Self { folder: folder.to_owned(), copies: 0 };
        std::fs::create_dir_all(flash.at())?;
        std::fs::File::create(flash.image())?.set_len(32 << 20)?;
        tool::run("mkfs.ext4", ["-q".as_ref(), "-F".as_ref(), "-m".as_ref(), "0".as_ref(), flash.image().as_os_str()])?;
        flash.mount()?;
        let at = flash.at();
        // Ctrl-C drops nothing: the mount must not be left to the machine.
        rights::at_signal(move || drop(tool::run("umount", ["-l".as_ref(), at.as_os_str()])));
        Ok(flash)
    }

    /// Where it is mounted.
    pub fn at(&self) -> PathBuf {
        self.folder.join("flash")
    }

    // Its own name each time: a loop device that is slow to go would be used again, with what it had in memory.
    fn image(&self) -> PathBuf {
        self.folder.join(format!("flash-{}.img", self.copies))
    }

    fn mount(&self) -> Result<()> {
        // Its journal is only committed when a program asks for it: a power cut is not softened by a timer.
        let (image, at) = (self.image(), self.at());
        tool::run("mount", ["-o".as_ref(), "loop,commit=600,noatime".as_ref(), image.as_os_str(), at.as_os_str()])?;
        Ok(())
    }

    /// Copies it as it is. The program that writes to it stands still meanwhile.
    pub fn copy(&mut self) -> Result<()> {
        let old = self.image();
        self.copies += 1;
        tool::run("cp", ["--sparse=always".as_ref(), old.as_os_str(), self.image().as_os_str()])?;
        Ok(())
    }

    /// Mounts the copy in place of the old one, whose program is gone.
    pub fn change(&mut self) -> Result<()> {
        self.unmount()?;
        std::fs::remove_file(self.folder.join(format!("flash-{}.img", self.copies - 1)))?;
        self.mount()
    }

    fn unmount(&self) -> Result<()> {
        tool::run("umount", [self.at().as_os_str()]).map(drop)
    }
}

impl Drop for Flash {
    fn drop(&mut self) {
        if self.unmount().is_err() {
            // Lazily where something still holds it: a run that fails must not leave it to the machine.
            let _ = tool::run("umount", ["-l".as_ref(), self.at().as_os_str()]);
        }
    }
}
