//! Folders for the files that this program makes itself: what is missing above them is made for their owner alone.

use anyhow::{Context, bail};
use nix::unistd::{AccessFlags, eaccess};
use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The folder that a file is in, or is to be in.
#[must_use]
pub fn of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the folders that are missing above `file`, each with mode 700, so that they outlast a power cut.
///
/// # Errors
/// When one of them cannot be made.
pub fn make_for(file: &Path) -> anyhow::Result<()> {
    let folder = of(file);
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    for folder in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(folder) {
            // Another program that starts at this moment was quicker.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
            made => made.with_context(|| format!("the folder {} cannot be made", folder.display()))?,
        }
        File::open(of(folder))?.sync_all()?;
    }
    Ok(())
}

/// Looks whether `file` could be made, with the folders above it, and makes nothing.
///
/// # Errors
/// With what stands in the way.
pub fn could_make(file: &Path) -> anyhow::Result<()> {
    let folder = of(file);
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let shown = there.display();
    if !there.is_dir() {
        bail!("{shown} is no folder");
    }
    let what = if there == folder { "a file" } else { "a folder" };
    eaccess(there, AccessFlags::W_OK | AccessFlags::X_OK).with_context(|| format!("{what} cannot be made in {shown} by this user"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_missing_is_made_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let file = home.path().join("a/b/c.key");
        could_make(&file).unwrap();
        assert!(!home.path().join("a").exists(), "looking makes nothing");
        for _ in 0..2 {
            make_for(&file).unwrap();
            for folder in ["a", "a/b"] {
                assert_eq!(std::fs::metadata(home.path().join(folder)).unwrap().permissions().mode() & 0o777, 0o700, "{folder}");
            }
        }
        assert_eq!(std::fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o755, "what was there stays as it is");
        assert!(!file.exists());
        could_make(&file).unwrap();
    }

    #[test]
    fn what_cannot_be_made_is_told() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a/b/c.key");
        std::fs::write(home.path().join("a"), "").unwrap();
        let told = could_make(&file).unwrap_err().to_string();
        assert!(told.ends_with("/a is no folder"), "{told}");
        assert!(make_for(&file).is_err());
        // Not even root may here.
        let told = make_for(Path::new("/proc/lango/c.key")).unwrap_err().to_string();
        assert_eq!(told, "the folder /proc/lango cannot be made");
    }
}
