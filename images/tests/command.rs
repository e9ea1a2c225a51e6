//! The program as it is called: what it refuses to do by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod common;

use common::{repository, text};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Calls it in the repository; gives whether it ended well, and what it said.
fn called(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lango-images"));
    let output = command.current_dir(repository()).env("SOURCE_DATE_EPOCH", "1").args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn program(folder: &Path, target: &str) {
    fs::create_dir_all(folder.join(target)).unwrap();
    fs::write(folder.join(target).join("lango"), "program").unwrap();
}

#[test]
fn keys_that_are_named_and_not_there_are_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let [keys, programs, out] = ["keys", "programs", "out"].map(|name| folder.path().join(name));
    program(&programs, "armv7-unknown-linux-musleabihf");
    let arguments = ["packages", "arm_cortex-a7_neon-vfpv4", "--keys", text(&keys), "--programs", text(&programs), "--out", text(&out)];
    let (good, said) = called(&arguments);
    assert!(!good && said.contains("makes new keys") && !keys.exists() && !out.exists(), "{said}");
    assert!(called(&["keys", text(&keys)]).0);
    let (good, said) = called(&arguments);
    assert!(good && out.join("arm_cortex-a7_neon-vfpv4").is_dir(), "{said}");
}

#[test]
fn packages_are_made_of_what_is_built_and_the_rest_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let [keys, programs, out] = ["keys", "programs", "out"].map(|name| folder.path().join(name));
    assert!(called(&["keys", text(&keys)]).0);
    let folders = ["--keys", text(&keys), "--programs", text(&programs), "--out", text(&out)];
    let (good, said) = called(&[&["packages", "--built"], &folders[..]].concat());
    assert!(!good && said.contains("no program is built"), "{said}");
    program(&programs, "armv7-unknown-linux-musleabihf");
    let (good, said) = called(&[&["packages", "--built"], &folders[..]].concat());
    assert!(
        good && said.contains("aarch64_cortex-a53: left out") && said.contains("lango_0.1.0-r1_arm_cortex-a7_neon-vfpv4.ipk"),
        "{said}"
    );
    assert!(out.join("arm_cortex-a15_neon-vfpv4").is_dir() && !out.join("aarch64_cortex-a53").exists());
    // Who asks for all gets all, or is told.
    let (good, said) = called(&[&["packages"], &folders[..]].concat());
    assert!(!good && said.contains("cannot be read: make router"), "{said}");
}

#[test]
fn an_image_that_nobody_would_get_into_is_refused_first() {
    let (good, said) = called(&["image", "hap-ac2", "/nowhere"]);
    assert!(!good && said.contains("nobody would get into this router"), "{said}");
    let (good, said) = called(&["image", "hap-ac2", "/nowhere", "--no-way-in"]);
    assert!(!good && said.contains("is that the folder of an ImageBuilder?"), "{said}");
}
