//! A feed: a folder for one package architecture, with the package in both formats, the indexes and their signatures.

use crate::keys::Keys;
use crate::package::Package;
use crate::tree::write_file;
use crate::{apk, ipk};
use anyhow::Context as _;
use ring::digest::{SHA256, digest};
use std::fs;
use std::path::Path;

/// A feed's files, by name.
pub type Files = Vec<(String, Vec<u8>)>;

/// Makes a feed. `time` is when all in it was changed, in seconds since 1970.
///
/// # Errors
/// When a format cannot hold the package.
pub fn make(package: &Package, time: u64, keys: &Keys) -> anyhow::Result<Files> {
    let as_ipk = ipk::write(package, time).context("the .ipk cannot be written")?;
    let as_apk = apk::write(package, time, &keys.apk).context("the .apk cannot be written")?;
    let listed = listing(package, &as_ipk);
    let packages_adb = apk::index(&[(package, &as_apk)], &keys.apk)?;
    Ok(vec![
        (ipk::file_name(package), as_ipk),
        ("Packages.gz".to_owned(), ipk::gzip(listed.as_bytes())?),
        ("Packages.sig".to_owned(), keys.usign.sign(listed.as_bytes()).into_bytes()),
        ("Packages".to_owned(), listed.into_bytes()),
        (apk::file_name(package), as_apk.bytes),
        ("packages.adb".to_owned(), packages_adb),
    ])
}

/// opkg's index: the control file, and what to fetch.
fn listing(package: &Package, as_ipk: &[u8]) -> String {
    let control = ipk::control(package);
    let (before, description) = control.split_once("Description: ").unwrap_or((&control, ""));
    let (file, size, sha256) = (ipk::file_name(package), as_ipk.len(), crate::keys::hex(digest(&SHA256, as_ipk).as_ref()));
    format!("{before}Filename: {file}\nSize: {size}\nSHA256sum: {sha256}\nDescription: {description}\n")
}

/// Writes a feed's folder, in place of what was in it.
///
/// # Errors
/// When that cannot be done.
pub fn write(files: &Files, folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} cannot be made anew", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    files.iter().try_for_each(|(name, content)| write_file(&folder.join(name), 0o644, content))
}
