//! A small ext4 file system in a file, and the waiting for conditions.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs a program that must succeed, and gives back what it said.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed (these tests need root and loop devices): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until it is so; fails after half a minute.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A mounted image. Unmounted when it goes.
pub struct Mounted {
    /// Where.
    pub at: PathBuf,
    /// The loop device's name, as `loop3`.
    pub device: String,
}

/// Makes an image with an empty ext4 of so many megabytes.
pub fn make_image(image: &Path, megabytes: u64) {
    File::create(image).unwrap().set_len(megabytes << 20).unwrap();
    run("mkfs.ext4", &["-q", "-F", "-m", "0", image.to_str().unwrap()]);
}

/// Mounts it. Its journal is only committed when a program asks for it: a power cut is not softened by a timer.
pub fn mount(image: &Path, at: &Path) -> Mounted {
    std::fs::create_dir_all(at).unwrap();
    run("mount", &["-o", "loop,commit=600,noatime", image.to_str().unwrap(), at.to_str().unwrap()]);
    let source = run("findmnt", &["-no", "SOURCE", at.to_str().unwrap()]);
    let device = source.trim().trim_start_matches("/dev/").to_owned();
    Mounted { at: at.to_owned(), device }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let at = self.at.to_str().unwrap();
        // Lazily where something still holds it: a failing test must not leave it to the machine.
        let unmounted = Command::new("umount").arg(at).status().is_ok_and(|status| status.success());
        if !unmounted {
            let _ = Command::new("umount").args(["-l", at]).status();
        }
    }
}

impl Mounted {
    /// Bytes written to the device so far.
    pub fn written(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/sys/block/{}/stat", self.device)).unwrap();
        stat.split_whitespace().nth(6).unwrap().parse::<u64>().unwrap() * 512 // sectors (kernel: block/stat.rst)
    }
}
