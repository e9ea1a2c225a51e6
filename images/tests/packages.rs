//! Packages and feeds are read back by programs that share nothing with their writer: gzip, GNU tar, signify, openssl, and a reader of apk's
//! format written in Python from apk-tools' documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod common;

use common::{ARCHITECTURE, attempt, package, repository, run, text};
use lango_images::feed::{self, Files};
use lango_images::keys::{APK_PUBLIC, Keys};
use lango_images::package::Package;
use lango_images::tree::Tree;
use lango_images::{apk, ipk};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const TIME: u64 = 1_795_409_162;

/// Long enough for a blob of each length's kind, and with every byte in it.
fn program() -> Vec<u8> {
    (0..200_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn made(folder: &Path) -> (Package, Keys, Files) {
    let (package, keys) = (package(&program()), Keys::generate().unwrap());
    let files = feed::make(&package, TIME, &keys).unwrap();
    feed::write(&files, &folder.join("feed")).unwrap();
    keys.write(&folder.join("keys")).unwrap();
    (package, keys, files)
}

/// What lies in a folder, as a tree with its modes.
fn found(folder: &Path, expected: &Tree) -> Tree {
    let mut tree = Tree::read(folder, &[]).unwrap();
    let modes: Vec<_> = tree.files().map(|(path, file)| (path.to_owned(), file.content.clone())).collect();
    for (path, content) in modes {
        let mode = fs::metadata(folder.join(&path)).unwrap().permissions().mode() & 0o7777;
        tree.add(&path, mode, content);
    }
    assert_eq!(
        tree.files().map(|(path, file)| (path, file.mode, file.content.len())).collect::<Vec<_>>(),
        expected.files().map(|(path, file)| (path, file.mode, file.content.len())).collect::<Vec<_>>()
    );
    tree
}

#[test]
fn an_ipk_is_what_gzip_and_gnu_tar_read() {
    let folder = tempfile::tempdir().unwrap();
    let (package, ..) = made(folder.path());
    let file = folder.path().join("feed").join(ipk::file_name(&package));
    assert_eq!(file.file_name().unwrap().to_str().unwrap(), format!("lango_0.1.0-r1_{ARCHITECTURE}.ipk"));
    run("gzip", &["--test", text(&file)]);
    // OpenWrt's own order.
    assert_eq!(run("tar", &["-tzf", text(&file)]), "./debian-binary\n./data.tar.gz\n./control.tar.gz\n");
    let (outer, data, control) = (folder.path().join("outer"), folder.path().join("data"), folder.path().join("control"));
    for folder in [&outer, &data, &control] {
        fs::create_dir(folder).unwrap();
    }
    run("tar", &["-xzf", text(&file), "-C", text(&outer)]);
    assert_eq!(fs::read(outer.join("debian-binary")).unwrap(), b"2.0\n");
    for (archive, to) in [("data.tar.gz", &data), ("control.tar.gz", &control)] {
        let archive = outer.join(archive);
        run("tar", &["--same-permissions", "-xzf", text(&archive), "-C", text(to)]);
        let listed = run("tar", &["--utc", "--full-time", "-tvzf", text(&archive)]);
        assert!(listed.lines().all(|line| line.contains(" root/root ") && line.contains("2026-11-23 04:46:02")), "{listed}");
        let numbers = run("tar", &["--numeric-owner", "-tvzf", text(&archive)]);
        assert!(numbers.lines().all(|line| line.contains(" 0/0 ")), "{numbers}");
        assert!(listed.lines().next().unwrap().ends_with(" ./"), "{listed}");
    }
    assert_eq!(found(&data, &package.files), package.files, "byte for byte");
    assert_eq!(fs::read_to_string(control.join("conffiles")).unwrap(), "/etc/config/lango\n");
    let told = fs::read_to_string(control.join("control")).unwrap();
    for line in ["Package: lango", "Version: 0.1.0-r1", &format!("Architecture: {ARCHITECTURE}")] {
        assert!(told.lines().any(|told| told == line), "{told}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        assert_eq!(fs::read(control.join(script)).unwrap(), fs::read(repository().join("images/scripts").join(script)).unwrap());
        assert_eq!(fs::metadata(control.join(script)).unwrap().permissions().mode() & 0o777, 0o755);
    }
}

#[test]
fn an_ipk_is_no_ar_and_has_no_pax_headers() {
    let folder = tempfile::tempdir().unwrap();
    let (package, ..) = made(folder.path());
    let file = folder.path().join("feed").join(ipk::file_name(&package));
    let (is_ar, said) = attempt("ar", &["t", text(&file)]);
    assert!(!is_ar, "{said}");
    for archive in ["./data.tar.gz", "./control.tar.gz"] {
        let bytes = std::process::Command::new("sh")
            .args(["-c", "tar -xzOf \"$0\" \"$1\" | gzip -dc", text(&file), archive])
            .output()
            .unwrap()
            .stdout;
        let mut at = 0;
        while bytes[at] != 0 {
            assert_eq!(&bytes[at + 257..at + 265], b"ustar  \0", "GNU's magic");
            let kind = bytes[at + 156];
            assert!(
                kind == b'0' || kind == b'5',
                "an entry of type {kind}: opkg installs nothing of such an archive, and says that all is well"
            );
            let size = std::str::from_utf8(&bytes[at + 124..at + 135]).unwrap();
            at += 512 + usize::from_str_radix(size, 8).unwrap().next_multiple_of(512);
        }
        assert_eq!(bytes.len() - at, 1024, "two empty blocks are the end");
    }
}

fn read_apk(file: &Path, key: &Path, to: Option<&Path>) -> (bool, String) {
    let reader = repository().join("images/tests/read_apk.py");
    attempt("python3", &[vec![text(&reader), text(file), text(key)], to.map(text).into_iter().collect()].concat())
}

#[test]
fn an_apk_is_what_another_reader_reads() {
    let folder = tempfile::tempdir().unwrap();
    let (package, ..) = made(folder.path());
    let (key, to) = (folder.path().join("keys").join(APK_PUBLIC), folder.path().join("root"));
    fs::create_dir(&to).unwrap();
    let file = folder.path().join("feed").join(apk::file_name(&package));
    assert_eq!(file.file_name().unwrap(), "lango-0.1.0-r1.apk");
    let (good, said) = read_apk(&file, &key, Some(&to));
    assert!(good, "{said}");
    for told in [
        "\"name\": \"lango\"",
        "\"version\": \"0.1.0-r1\"",
        &format!("\"arch\": \"{ARCHITECTURE}\""),
        "\"kmod-nft-core\"",
        "\"post-upgrade\"",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(said.contains("#!/bin/sh\\nexport PKG_UPGRADE=1\\n"), "an upgrade runs the same script, and tells it: {said}");
    // OpenWrt's own lists come on top.
    let list = |ending: &str| fs::read_to_string(to.join(format!("lib/apk/packages/lango.{ending}"))).unwrap();
    assert_eq!(list("list").lines().collect::<Vec<_>>(), package.files.files().map(|(path, _)| format!("/{path}")).collect::<Vec<_>>());
    assert_eq!(list("conffiles"), "/etc/config/lango\n");
    let digest = run("sha256sum", &[text(&repository().join("images/files/etc/config/lango"))]);
    assert_eq!(list("conffiles_static"), format!("/etc/config/lango {}\n", digest.split_whitespace().next().unwrap()));
    fs::remove_dir_all(to.join("lib/apk")).unwrap();
    assert_eq!(found(&to, &package.files), package.files, "byte for byte");
}

#[test]
fn an_apk_with_one_other_byte_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (package, ..) = made(folder.path());
    let key = folder.path().join("keys").join(APK_PUBLIC);
    let bytes = fs::read(folder.path().join("feed").join(apk::file_name(&package))).unwrap();
    let mut inner = Vec::new();
    flate2::read::DeflateDecoder::new(&bytes[4..]).read_to_end(&mut inner).unwrap();
    let at = |what: &[u8]| inner.windows(what.len()).position(|window| window == what).unwrap();
    for (place, told) in [(at(b"Prepaid"), "the signature is wrong"), (at(&program()[..64]) + 40, "is damaged")] {
        let mut forged = inner.clone();
        forged[place] ^= 1;
        let path = folder.path().join("forged.apk");
        fs::write(&path, lango_images::adb::compressed(&forged).unwrap()).unwrap();
        let (good, said) = read_apk(&path, &key, None);
        assert!(!good && said.contains(told), "{said}");
    }
    Keys::generate().unwrap().write(&folder.path().join("others")).unwrap();
    let (good, said) = read_apk(&folder.path().join("feed/packages.adb"), &folder.path().join("others").join(APK_PUBLIC), None);
    assert!(!good && said.contains("signed with another key"), "{said}");
}

#[test]
fn the_index_for_apk_names_the_package_by_its_identity() {
    let folder = tempfile::tempdir().unwrap();
    let (package, ..) = made(folder.path());
    let (feed, key) = (folder.path().join("feed"), folder.path().join("keys").join(APK_PUBLIC));
    let file = feed.join(apk::file_name(&package));
    let (good, said) = read_apk(&file, &key, None);
    assert!(good, "{said}");
    let identity = said.lines().find_map(|line| line.trim().strip_prefix("\"identity\": ")).unwrap().to_owned();
    let (good, index) = read_apk(&feed.join("packages.adb"), &key, None);
    assert!(good, "{index}");
    assert!(index.contains(&format!("\"hashes\": {identity}")), "{index}");
    assert!(index.contains(&format!("\"file-size\": {}", fs::metadata(&file).unwrap().len())), "{index}");
}

#[test]
fn the_index_for_opkg_says_what_is_there_and_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (package, keys, _) = made(folder.path());
    let feed = folder.path().join("feed");
    let listed = fs::read_to_string(feed.join("Packages")).unwrap();
    assert_eq!(run("gzip", &["-dc", text(&feed.join("Packages.gz"))]), listed);
    assert!(listed.ends_with("\n\n"), "an empty line ends a package");
    let fields: BTreeMap<&str, &str> = listed.lines().filter_map(|line| line.split_once(": ")).collect();
    let file = feed.join(fields["Filename"]);
    assert_eq!(fields["Size"], fs::metadata(&file).unwrap().len().to_string());
    assert_eq!(fields["SHA256sum"], run("sha256sum", &[text(&file)]).split_whitespace().next().unwrap());
    assert_eq!(fields["Depends"], package.depends.join(", "));

    let public = folder.path().join("keys").join(keys.usign.id());
    let (packages, signature) = (feed.join("Packages"), feed.join("Packages.sig"));
    let verify = |message: &Path| attempt("signify-openbsd", &["-V", "-p", text(&public), "-x", text(&signature), "-m", text(message)]);
    let (good, said) = verify(&packages);
    assert!(good, "{said}");
    let forged = folder.path().join("forged");
    fs::write(&forged, listed.replace("lango", "mango")).unwrap();
    let (good, said) = verify(&forged);
    assert!(!good && said.contains("signature verification failed"), "{said}");
    // The secret half is one that signify takes, too, and signs the same with.
    let (secret, again) = (folder.path().join("keys/lango-feed.sec"), folder.path().join("again"));
    run("signify-openbsd", &["-S", "-s", text(&secret), "-m", text(&packages), "-x", text(&again)]);
    let content = |path: &Path| fs::read_to_string(path).unwrap().lines().nth(1).unwrap().to_owned();
    assert_eq!(content(&again), content(&signature));
}

#[test]
fn the_same_sources_make_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (package, keys, files) = made(folder.path());
    let read_again = Keys::read(&folder.path().join("keys")).unwrap();
    assert_eq!(feed::make(&package, TIME, &read_again).unwrap(), files);
    let later = feed::make(&package, TIME + 1, &keys).unwrap();
    assert_ne!(later[0], files[0], "the time is in it");
}

#[test]
fn nobody_but_root_reads_the_configuration() {
    assert_eq!(package(b"x").files.get("etc/config/lango").unwrap().mode, 0o600);
}
