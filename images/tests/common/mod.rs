//! What several of these tests need: a package of a small program, and programs that are run.
#![allow(dead_code, reason = "each of the tests uses some of it")]

use lango_images::package::Package;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The architecture of the package that the tests make.
pub const ARCHITECTURE: &str = "arm_cortex-a7_neon-vfpv4";

/// The repository's folder.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A package with the shipped files and this program.
pub fn package(program: &[u8]) -> Package {
    Package::read(Path::new(env!("CARGO_MANIFEST_DIR")), ARCHITECTURE, 1, program.to_vec()).unwrap()
}

/// Runs a program that must end well; gives what it said.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let (good, said) = attempt(program, arguments);
    assert!(good, "{program} {arguments:?}: {said}");
    said
}

/// Runs a program; gives whether it ended well, and what it said.
pub fn attempt(program: &str, arguments: &[&str]) -> (bool, String) {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error} (tools/setup.sh packages)"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
