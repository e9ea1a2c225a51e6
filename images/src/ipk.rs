//! `.ipk`, the packages of opkg (OpenWrt to 24.10): a gzipped tar of `debian-binary`, `data.tar.gz` and `control.tar.gz`, in OpenWrt's
//! own order. The tars are GNU tars: with pax headers opkg installs nothing, and says that all went well.

use crate::package::Package;
use crate::tree::Tree;
use flate2::{Compression, GzBuilder};
use std::io::{self, Write as _};
use tar::{EntryType, Header};

/// The file's name.
#[must_use]
pub fn file_name(package: &Package) -> String {
    format!("{}_{}_{}.ipk", package.name, package.version, package.architecture)
}

/// The package's bytes. `time` is when all in it was changed, in seconds since 1970.
///
/// # Errors
/// None but a path that is too long for a tar header (99 bytes).
pub fn write(package: &Package, time: u64) -> io::Result<Vec<u8>> {
    let data = gzip(&tar_of(&package.files, time)?)?;
    let control = gzip(&tar_of(&control_files(package), time)?)?;
    let mut outer = Vec::new();
    for (name, content) in [("./debian-binary", b"2.0\n".as_slice()), ("./data.tar.gz", &data), ("./control.tar.gz", &control)] {
        append(&mut outer, name, EntryType::Regular, 0o644, time, content)?;
    }
    end(&mut outer);
    gzip(&outer)
}

/// What is known of the package: `control`, the files that are its owner's to change, and the scripts.
fn control_files(package: &Package) -> Tree {
    let mut files = Tree::default();
    files.add("control", 0o644, control(package));
    files.add("conffiles", 0o644, package.conffiles.iter().map(|path| format!("/{path}\n")).collect::<String>());
    files.add("postinst", 0o755, package.scripts.after_install.clone());
    files.add("prerm", 0o755, package.scripts.before_removal.clone());
    files.add("postrm", 0o755, package.scripts.after_removal.clone());
    files
}

/// The control file; a feed's index has it, too.
#[must_use]
pub fn control(package: &Package) -> String {
    let Package { name, version, architecture, license, maintainer, url, .. } = package;
    format!(
        "Package: {name}\nVersion: {version}\nDepends: {}\nSource: {url}\nLicense: {license}\nSection: net\nURL: {url}\nMaintainer: {maintainer}\n\
         Architecture: {architecture}\nInstalled-Size: {}\nDescription: {}\n",
        package.depends.join(", "),
        package.files.size(),
        package.description.lines().collect::<Vec<_>>().join("\n "),
    )
}

fn tar_of(files: &Tree, time: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let folders = files.folders().into_iter().map(|path| (path, None));
    let mut entries: Vec<_> = folders.chain(files.files().map(|(path, file)| (path.to_owned(), Some(file)))).collect();
    // A folder before what is in it.
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, file) in entries {
        match file {
            None if path.is_empty() => append(&mut bytes, "./", EntryType::Directory, 0o755, time, &[])?,
            None => append(&mut bytes, &format!("./{path}/"), EntryType::Directory, 0o755, time, &[])?,
            Some(file) => append(&mut bytes, &format!("./{path}"), EntryType::Regular, file.mode, time, &file.content)?,
        }
    }
    end(&mut bytes);
    Ok(bytes)
}

fn append(tar: &mut Vec<u8>, name: &str, kind: EntryType, mode: u32, time: u64, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    // The crate would take the `./` off, which opkg's own packages have.
    let field = &mut header.as_old_mut().name;
    let room = field.len() - 1;
    field
        .get_mut(..name.len().min(room + 1))
        .filter(|_| name.len() <= room)
        .map(|field| field.copy_from_slice(name.as_bytes()))
        .ok_or_else(|| io::Error::other(format!("{name} is longer than the {room} bytes that a tar header has for it")))?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root")?;
    header.set_groupname("root")?;
    header.set_mtime(time);
    header.set_size(content.len() as u64);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
    Ok(())
}

fn end(tar: &mut Vec<u8>) {
    tar.resize(tar.len() + 1024, 0);
}

/// Gzipped, without a name and without a time: the same bytes always.
pub(crate) fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}
