//! `.apk` of version 3, the packages of OpenWrt from 25.12 on, and their index. The fields and their order are apk-tools' schemas
//! (src/apk_adb.h, src/apk_adb.c there).

use crate::adb::{self, Block, NULL, Schema, Value, Values};
use crate::keys::ApkKey;
use crate::package::Package;
use crate::tree::{File, Tree};
use ring::digest::{SHA256, digest};
use std::io;

/// A unique id has as many bytes as a SHA-1 had.
const UNIQUE_ID: usize = 20;

/// The file's name; an index expects it so.
#[must_use]
pub fn file_name(package: &Package) -> String {
    format!("{}-{}.apk", package.name, package.version)
}

/// A package, and what an index says of it.
#[derive(Debug, Clone)]
pub struct Written {
    /// The file.
    pub bytes: Vec<u8>,
    /// By which an index knows it: the SHA-256 of its block of values.
    pub identity: Vec<u8>,
}

/// The package's bytes, signed. `time` is when all in it was changed, in seconds since 1970.
///
/// # Errors
/// None that memory does not cause.
pub fn write(package: &Package, time: u64, key: &ApkKey) -> io::Result<Written> {
    let files = with_lists(package);
    let mut values = Values::new();
    // The id is the digest of the block in which it is still nothing.
    let (id, id_at) = values.own_blob(&[0; UNIQUE_ID]);
    let info = info(&mut values, package, files.size(), id, NULL);
    let (paths, contents) = paths(&mut values, &files, time);
    let scripts = scripts(&mut values, package);
    let root = values.object(&[info, paths, scripts]);
    let mut block = values.finish(root);
    let unique = digest(&SHA256, &block);
    block[id_at..id_at + UNIQUE_ID].copy_from_slice(&unique.as_ref()[..UNIQUE_ID]);

    let signature = key.sign(Schema::Package, &block)?;
    let data = contents.iter().map(|content| (Block::Data, content.as_slice()));
    let blocks = [(Block::Adb, block.as_slice()), (Block::Signature, &signature)].into_iter().chain(data);
    let bytes = adb::compressed(&adb::file(Schema::Package, blocks))?;
    Ok(Written { bytes, identity: digest(&SHA256, &block).as_ref().to_vec() })
}

/// The index of a feed with these packages, signed.
///
/// # Errors
/// None that memory does not cause.
pub fn index(packages: &[(&Package, &Written)], key: &ApkKey) -> io::Result<Vec<u8>> {
    let mut values = Values::new();
    let mut sorted: Vec<_> = packages.to_vec();
    sorted.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    let infos: Vec<Value> = sorted
        .into_iter()
        .map(|(package, written)| {
            let identity = values.blob(&written.identity);
            let size = values.int(written.bytes.len() as u64);
            info(&mut values, package, with_lists(package).size(), identity, size)
        })
        .collect();
    let infos = values.array(&infos);
    let root = values.object(&[NULL, infos]);
    let block = values.finish(root);
    let signature = key.sign(Schema::Index, &block)?;
    adb::compressed(&adb::file(Schema::Index, [(Block::Adb, block.as_slice()), (Block::Signature, &signature)]))
}

/// The files, and OpenWrt's own lists of them: its scripts know by these what there is to be enabled and to be kept.
fn with_lists(package: &Package) -> Tree {
    let mut files = package.files.clone();
    let list: String = package.files.files().map(|(path, _)| format!("/{path}\n")).collect();
    let conffiles: String = package.conffiles.iter().map(|path| format!("/{path}\n")).collect();
    let digests = package.conffiles.iter().filter_map(|path| Some((path, digest(&SHA256, &package.files.get(path)?.content))));
    let digests: String = digests.map(|(path, digest)| format!("/{path} {}\n", crate::keys::hex(digest.as_ref()))).collect();
    let own = format!("lib/apk/packages/{}", package.name);
    files.add(&format!("{own}.list"), 0o644, list);
    files.add(&format!("{own}.conffiles"), 0o644, conffiles);
    files.add(&format!("{own}.conffiles_static"), 0o644, digests);
    files
}

fn info(values: &mut Values, package: &Package, installed: u64, hashes: Value, file_size: Value) -> Value {
    let name = values.blob(package.name.as_bytes());
    let version = values.blob(package.version.as_bytes());
    let description = values.blob(package.description.lines().collect::<Vec<_>>().join(" ").as_bytes());
    let architecture = values.blob(package.architecture.as_bytes());
    let license = values.blob(package.license.as_bytes());
    let origin = values.blob(package.name.as_bytes());
    let maintainer = values.blob(package.maintainer.as_bytes());
    let url = values.blob(package.url.as_bytes());
    let installed = values.int(installed);
    let mut depends = package.depends.clone();
    depends.sort();
    let depends: Vec<Value> = depends
        .iter()
        .map(|name| {
            let name = values.blob(name.as_bytes());
            values.object(&[name])
        })
        .collect();
    let depends = values.array(&depends);
    values.object(&[
        name,
        version,
        hashes,
        description,
        architecture,
        license,
        origin,
        maintainer,
        url,
        NULL, // the repository's commit
        NULL, // the time of the build
        installed,
        file_size,
        NULL, // the provider's priority
        depends,
    ])
}

/// The folders with their files, and the data blocks of those that are not empty, in that order.
fn paths(values: &mut Values, files: &Tree, time: u64) -> (Value, Vec<Vec<u8>>) {
    let (mut paths, mut contents) = (Vec::new(), Vec::new());
    for (folder, path_index) in files.folders().iter().zip(1_u32..) {
        let mut entries = Vec::new();
        let within = files.files().filter_map(|(path, file)| Some((name_in(path, folder)?, file)));
        for ((name, file), file_index) in within.zip(1_u32..) {
            entries.push(entry(values, name, file, time));
            if !file.content.is_empty() {
                contents.push([&path_index.to_le_bytes(), &file_index.to_le_bytes(), file.content.as_slice()].concat());
            }
        }
        let name = values.blob(folder.as_bytes());
        let owner = owner(values, 0o755);
        let entries = values.array(&entries);
        paths.push(values.object(&[name, owner, entries]));
    }
    (values.array(&paths), contents)
}

/// The file's name, if it is in this folder itself.
fn name_in<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let rest = if folder.is_empty() { path } else { path.strip_prefix(folder)?.strip_prefix('/')? };
    (!rest.contains('/')).then_some(rest)
}

fn entry(values: &mut Values, name: &str, file: &File, time: u64) -> Value {
    let name = values.blob(name.as_bytes());
    let owner = owner(values, file.mode);
    let size = values.int(file.content.len() as u64);
    let time = values.int(time);
    let hash = values.blob(digest(&SHA256, &file.content).as_ref());
    values.object(&[name, owner, size, time, hash])
}

fn owner(values: &mut Values, mode: u32) -> Value {
    let mode = values.int(mode.into());
    let root = values.blob(b"root");
    values.object(&[mode, root, root])
}

fn scripts(values: &mut Values, package: &Package) -> Value {
    let scripts = &package.scripts;
    let after_install = values.blob(scripts.after_install.as_bytes());
    let before_removal = values.blob(scripts.before_removal.as_bytes());
    let after_removal = values.blob(scripts.after_removal.as_bytes());
    // opkg tells a script by its environment that it is an upgrade; apk by running another one.
    let upgraded = values.blob(scripts.after_install.replacen('\n', "\nexport PKG_UPGRADE=1\n", 1).as_bytes());
    values.object(&[NULL, NULL, after_install, before_removal, after_removal, NULL, upgraded])
}
