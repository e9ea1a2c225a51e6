//! How an image is ordered from OpenWrt's ImageBuilder: `make image` in its folder, with the package, the files that are laid over, and
//! what else the board needs.

use crate::board::{Board, FlashKind};
use crate::feed::Files;
use crate::keys::{APK_PUBLIC, Keys};
use crate::package::NAME;
use crate::tree::{Tree, write_file};
use anyhow::Context as _;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The formats that an ImageBuilder takes, one of them: opkg's to 24.10, apk's from 25.12 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.ipk`
    Ipk,
    /// `.apk`
    Apk,
}

/// Which format an ImageBuilder takes, by its `.config`; it must be the one for this board.
///
/// # Errors
/// When it is none, or one for another target.
pub fn format_of(board: &Board, imagebuilder: &Path) -> anyhow::Result<Format> {
    let path = imagebuilder.join(".config");
    let config =
        fs::read_to_string(&path).with_context(|| format!("{} cannot be read: is that the folder of an ImageBuilder?", path.display()))?;
    anyhow::ensure!(imagebuilder.join("Makefile").is_file(), "{} has no Makefile: that is no ImageBuilder", imagebuilder.display());
    let wanted = &board.openwrt.architecture;
    let value = |name: &str| {
        let told = config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        told.map_or("?", |value| value.trim_matches('"'))
    };
    let architecture = value("CONFIG_TARGET_ARCH_PACKAGES");
    // Several targets have the same package architecture, and their profiles' names are others'.
    let target = format!("{}/{}", value("CONFIG_TARGET_BOARD"), value("CONFIG_TARGET_SUBTARGET"));
    anyhow::ensure!(
        architecture == wanted && target == board.openwrt.target,
        "this ImageBuilder is for {target} ({architecture}): {} wants the one for {} ({wanted})",
        board.name,
        board.openwrt.target
    );
    Ok(if config.lines().any(|line| line == "CONFIG_USE_APK=y") { Format::Apk } else { Format::Ipk })
}

/// The arguments of `make`.
#[must_use]
pub fn arguments(board: &Board, files: &Path, images: &Path) -> Vec<OsString> {
    // The walled garden follows names with the large dnsmasq alone (docs/config.md).
    let packages = [NAME, "-dnsmasq", "dnsmasq-full"].into_iter().chain(board.openwrt.packages.iter().map(String::as_str));
    let join = |name: &str, path: &Path| {
        let mut argument = OsString::from(name);
        argument.push(path);
        argument
    };
    let mut arguments = vec![
        "image".into(),
        format!("PROFILE={}", board.openwrt.profile).into(),
        format!("PACKAGES={}", packages.collect::<Vec<_>>().join(" ")).into(),
        join("FILES=", files),
        join("BIN_DIR=", images),
        format!("EXTRA_IMAGE_NAME={NAME}").into(),
        "ADD_LOCAL_KEY=1".into(),
    ];
    if matches!(board.flash.kind, FlashKind::Emmc | FlashKind::Card | FlashKind::Disk) {
        // Megabytes; OpenWrt's own default leaves the store little.
        arguments.push("ROOTFS_PARTSIZE=256".into());
    }
    arguments
}

/// Orders the image: puts the package into the ImageBuilder's own feed, the files into `work/files`, and has the images written to
/// `work/images`.
///
/// # Errors
/// When the ImageBuilder is not for this board, or fails.
pub fn order(board: &Board, imagebuilder: &Path, feed: &Files, keys: &Keys, files: &Tree, work: &Path) -> anyhow::Result<()> {
    let format = format_of(board, imagebuilder)?;
    let imagebuilder = &imagebuilder.canonicalize()?;
    let ending = if format == Format::Apk { ".apk" } else { ".ipk" };
    let (name, content) = feed.iter().find(|(name, _)| name.ends_with(ending)).context("the package is not there")?;
    let packages = imagebuilder.join("packages");
    fs::create_dir_all(&packages)?;
    for entry in fs::read_dir(&packages)? {
        // An older one of ours would be another candidate.
        let old = entry?;
        let text = old.file_name().to_string_lossy().into_owned();
        if is_ours(&text) {
            fs::remove_file(old.path())?;
        }
    }
    write_file(&packages.join(name), 0o644, content)?;
    if format == Format::Apk {
        let folder = imagebuilder.join("keys");
        fs::create_dir_all(&folder)?;
        write_file(&folder.join(APK_PUBLIC), 0o644, keys.apk.public_pem()?.as_bytes())?;
    }
    fs::create_dir_all(work)?;
    // make runs in another folder.
    let work = work.canonicalize()?;
    let (files_folder, images) = (work.join("files"), work.join("images"));
    files.write(&files_folder)?;
    fs::create_dir_all(&images)?;
    let arguments = arguments(board, &files_folder, &images);
    // What make takes for its own from a make that called this.
    let mut make = Command::new("make");
    make.env_remove("MAKEFLAGS").env_remove("MFLAGS").env_remove("MAKELEVEL");
    let status = make.current_dir(imagebuilder).args(&arguments).status().context("make cannot be started")?;
    anyhow::ensure!(status.success(), "the ImageBuilder ended with {status}; what it said stands above");
    Ok(())
}

/// Whether a file's name is that of a package of ours, of any version: `lango_0.1.0-r1_….ipk`, `lango-0.1.0-r1.apk`. `lango-extra-1.apk` is
/// another's.
fn is_ours(file: &str) -> bool {
    let version = file.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(['_', '-']));
    version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn packages_of_ours_are_known_by_their_version() {
        for ours in [
            "lango_0.0.9-r1_x.ipk",
            "lango-0.1.0-r1.apk",
            "lango-2.0.0-r1.apk",
            "lango-10.2.0-r3.apk",
            "lango_2.0.0-r1_aarch64_generic.ipk",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for others in
            ["lango-extra-1.apk", "lango-extra_1_x.ipk", "langoust_1_x.ipk", "lango.apk", "kmod-lango_1_x.ipk", "lango_extra_1.ipk"]
        {
            assert!(!is_ours(others), "{others}");
        }
    }
}
