//! A package's files, before they are anybody's format: paths, modes and contents. All belong to root.

use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// A file's content and mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Permission bits, as 0o644.
    pub mode: u32,
    /// What is in it.
    pub content: Vec<u8>,
}

/// Files by their paths, which have no slash in front: `etc/config/lango`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, File>);

impl Tree {
    /// The files below a folder. Their modes are said by the list of those that are no plain 0644: what a checkout or an umask made of
    /// them shall not matter.
    ///
    /// # Errors
    /// When something cannot be read, is no plain file, or when `modes` names a file that is not there.
    pub fn read(folder: &Path, modes: &[(&str, u32)]) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        tree.read_into(folder, "")?;
        for (path, mode) in modes {
            tree.0.get_mut(*path).with_context(|| format!("{} has no {path}", folder.display()))?.mode = *mode;
        }
        Ok(tree)
    }

    fn read_into(&mut self, folder: &Path, prefix: &str) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            let entry = entry?;
            let name = entry
                .file_name()
                .into_string()
                .ok()
                .with_context(|| format!("{}: no name that a package can have", entry.path().display()))?;
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.read_into(&entry.path(), &format!("{path}/"))?;
            } else {
                anyhow::ensure!(kind.is_file(), "{} is neither a file nor a folder", entry.path().display());
                let content = fs::read(entry.path()).with_context(|| format!("{} cannot be read", entry.path().display()))?;
                self.add(&path, 0o644, content);
            }
        }
        Ok(())
    }

    /// Puts a file in, in place of one that has its path.
    pub fn add(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.0.insert(path.to_owned(), File { mode, content: content.into() });
    }

    /// The files, in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &File)> {
        self.0.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&File> {
        self.0.get(path)
    }

    /// The folders that the files are in, each behind the one that it is in; the root folder is the first, as an empty path.
    #[must_use]
    pub fn folders(&self) -> BTreeSet<String> {
        let mut folders = BTreeSet::from([String::new()]);
        for path in self.0.keys() {
            folders.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
        }
        folders
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.values().map(|file| file.content.len() as u64).sum()
    }

    /// Writes the files below a folder, which is made anew.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("{} cannot be made anew", folder.display()))?;
        }
        for sub in self.folders() {
            fs::create_dir_all(folder.join(sub))?;
        }
        for (path, file) in &self.0 {
            write_file(&folder.join(path), file.mode, &file.content)?;
        }
        Ok(())
    }
}

/// Writes a file that nobody gets to see under a wider mode than its own, not even for a moment.
///
/// # Errors
/// When it cannot be written.
pub fn write_file(path: &Path, mode: u32, content: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    let told = || format!("{} cannot be written", path.display());
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).with_context(told)?;
    // Whatever the umask is, and also where the file was there already.
    file.set_permissions(fs::Permissions::from_mode(mode)).with_context(told)?;
    file.write_all(content).with_context(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_those_of_the_files_with_parents_first() {
        let mut tree = Tree::default();
        tree.add("usr/sbin/lango", 0o755, "x");
        tree.add("etc/config/lango", 0o600, "yy");
        assert_eq!(tree.folders().into_iter().collect::<Vec<_>>(), ["", "etc", "etc/config", "usr", "usr/sbin"]);
        assert_eq!(tree.size(), 3);
    }

    #[test]
    fn what_is_written_is_read_again_with_its_modes() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree::default();
        tree.add("a/b", 0o755, "program");
        tree.add("c", 0o600, "secret");
        tree.write(&folder.path().join("root")).unwrap();
        assert_eq!(fs::metadata(folder.path().join("root/c")).unwrap().permissions().mode() & 0o7777, 0o600);
        let read = Tree::read(&folder.path().join("root"), &[("a/b", 0o755), ("c", 0o600)]).unwrap();
        assert_eq!(read, tree);
        let error = Tree::read(&folder.path().join("root"), &[("gone", 0o755)]).unwrap_err();
        assert!(error.to_string().ends_with("has no gone"), "{error}");
    }
}
