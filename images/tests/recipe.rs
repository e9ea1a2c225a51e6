//! The ImageBuilder's recipe, against a stand-in (docs/decisions/0054-stand-ins.md): a folder with a Makefile that writes down how it is
//! called and what it finds there. The real ImageBuilder comes with nothing that these tests could install.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod common;

use common::{package, run, text};
use lango_images::board::Board;
use lango_images::feed;
use lango_images::keys::Keys;
use lango_images::provision::{self, Provision};
use lango_images::recipe;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const MAKEFILE: &str = "\
image:\n\
\t@{ echo 'PROFILE=$(PROFILE)'; echo 'PACKAGES=$(PACKAGES)'; echo 'EXTRA_IMAGE_NAME=$(EXTRA_IMAGE_NAME)'; \\\n\
\t  echo 'ROOTFS_PARTSIZE=$(ROOTFS_PARTSIZE)'; } >called\n\
\t@cp -a '$(FILES)' laid\n\
\t@ls packages >>called\n\
\t@test -d '$(BIN_DIR)' && touch '$(BIN_DIR)/firmware.bin'\n";

/// Who looks after the router comes a way that is nothing of the image's.
const ANOTHER_WAY: Provision<'_> = Provision {
    relay: None,
    ca: None,
    now: NOW,
    release_key: None,
    name: None,
    ssh_keys: None,
    manage_from: None,
    no_way_in: true,
    country: None,
    feed: None,
};

/// As signify writes one.
const RELEASE_KEY: &str = "untrusted comment: my releases public key\nRWQBAgMEBQYHCAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n";

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

/// An authority's.
fn certificate() -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

const PRINTED: &str = "# At the broker, once: its user, and what it may do (mosquitto's acl_file; then reload mosquitto):\n\
    #   mosquitto_passwd -b /etc/mosquitto/passwd kibera-7 s3cret\n#   user kibera-7\n# On the router, in /etc/config/lango:\n\
    config relay 'relay'\n\toption broker 'mqtts://mqtt.example.org:8883'\n\toption username 'kibera-7'\n\toption password 's3cret'\n\
    \toption relay_key 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='\n";

fn boards() -> Vec<Board> {
    Board::read_all(&common::repository().join("board")).unwrap()
}

fn imagebuilder(folder: &Path, target: &str, architecture: &str, apk: bool) -> PathBuf {
    let (target, subtarget) = target.split_once('/').unwrap();
    let path = folder.join("imagebuilder");
    fs::create_dir_all(path.join("packages")).unwrap();
    fs::write(path.join("Makefile"), MAKEFILE).unwrap();
    let format = if apk { "CONFIG_USE_APK=y" } else { "# CONFIG_USE_APK is not set" };
    let target = format!("CONFIG_TARGET_BOARD=\"{target}\"\nCONFIG_TARGET_SUBTARGET=\"{subtarget}\"");
    fs::write(path.join(".config"), format!("{target}\nCONFIG_TARGET_ARCH_PACKAGES=\"{architecture}\"\n{format}\n")).unwrap();
    path
}

/// Orders an image; gives what the stand-in wrote down.
fn ordered(board: &Board, apk: bool, provision: &Provision<'_>, folder: &Path) -> String {
    let (imagebuilder, keys) = (imagebuilder(folder, &board.openwrt.target, &board.openwrt.architecture, apk), Keys::generate().unwrap());
    for older in ["lango_0.0.9-r1_x.ipk", "lango-2.0.0-r1.apk"] {
        fs::write(imagebuilder.join("packages").join(older), "older").unwrap();
    }
    fs::write(imagebuilder.join("packages/lango-extra_1_x.ipk"), "another's").unwrap();
    let package = package(b"program");
    let template = String::from_utf8(package.files.get("etc/config/lango").unwrap().content.clone()).unwrap();
    let files = provision::files(board, &template, provision).unwrap();
    let feed = feed::make(&package, 1, &keys).unwrap();
    recipe::order(board, &imagebuilder, &feed, &keys, &files, &folder.join("work")).unwrap();
    assert!(folder.join("work/images/firmware.bin").is_file(), "the images land where they are said to");
    fs::read_to_string(imagebuilder.join("called")).unwrap()
}

#[test]
fn every_board_is_ordered_by_its_profile_with_what_it_needs() {
    for board in boards() {
        let folder = tempfile::tempdir().unwrap();
        let called = ordered(&board, false, &ANOTHER_WAY, folder.path());
        assert!(called.contains(&format!("PROFILE={}\n", board.openwrt.profile)), "{called}");
        let packages = called.lines().find_map(|line| line.strip_prefix("PACKAGES=")).unwrap();
        assert!(packages.starts_with("lango -dnsmasq dnsmasq-full"), "{packages}");
        assert!(board.openwrt.packages.iter().all(|package| packages.contains(package)), "{packages}");
        assert!(called.ends_with("lango-extra_1_x.ipk\nlango_0.1.0-r1_arm_cortex-a7_neon-vfpv4.ipk\n"), "the older one is gone: {called}");
        let sysctl = fs::read_to_string(folder.path().join("imagebuilder/laid/etc/sysctl.d/90-lango.conf")).unwrap();
        assert!(sysctl.contains(&format!("net.netfilter.nf_conntrack_max={}\n", board.limits().connections)), "{sysctl}");
        let script = folder.path().join("imagebuilder/laid/etc/uci-defaults/80-lango-image");
        run("dash", &["-n", text(&script)]);
        run("shellcheck", &[text(&script)]);
        let creates_wan = fs::read_to_string(&script).unwrap().contains("network.wan");
        assert_eq!(creates_wan, board.interfaces.wan.is_empty(), "{}", board.name);
        assert!(!folder.path().join("imagebuilder/laid/etc/config").exists(), "nothing is named: the package's own configuration");
    }
}

#[test]
fn newer_imagebuilders_get_the_other_format_and_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let board = &boards()[0];
    let called = ordered(board, true, &ANOTHER_WAY, folder.path());
    assert!(called.contains("\nlango-0.1.0-r1.apk\n"), "{called}");
    assert!(folder.path().join("imagebuilder/keys/lango-feed.pub.pem").is_file());
}

#[test]
fn a_router_of_a_fleet_has_its_name_and_keys_from_the_first_boot_on() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::generate().unwrap();
    let (ssh, certificate) = ("ssh-ed25519 AAAA operator\n", certificate());
    let provision = Provision {
        relay: Some(PRINTED),
        ca: Some(&certificate),
        release_key: Some(RELEASE_KEY),
        ssh_keys: Some(ssh),
        manage_from: Some("2001:db8::/64"),
        no_way_in: false,
        feed: Some(("https://feed.example.org/lango/", &keys)),
        ..ANOTHER_WAY
    };
    let board = boards().into_iter().find(|board| board.id == "hap-ac2").unwrap();
    ordered(&board, false, &provision, folder.path());
    let laid = |path: &str| folder.path().join("imagebuilder/laid").join(path);
    let config = fs::read_to_string(laid("etc/config/lango")).unwrap();
    assert!(config.contains("\toption name 'kibera-7'\n") && config.contains("\toption password 's3cret'\n"), "{config}");
    assert!(!config.contains("mosquitto_passwd"), "{config}");
    // Whom it believes the broker to, and whose updates it takes, as the program itself reads it.
    assert_eq!(fs::read_to_string(laid("etc/lango/ca.pem")).unwrap(), certificate);
    let read = lango::config::parse("lango", config.as_bytes()).unwrap();
    assert_eq!(read.relay.unwrap().ca.unwrap(), Path::new("/etc/lango/ca.pem"));
    let update = read.update.unwrap();
    assert_eq!(
        (update.keys.len(), update.board.as_deref(), update.images),
        (1, Some("mikrotik,hap-ac2"), true),
        "this board takes images alone"
    );
    for secret in ["etc/config/lango", "etc/dropbear/authorized_keys"] {
        assert_eq!(fs::metadata(laid(secret)).unwrap().permissions().mode() & 0o777, 0o600, "{secret}");
    }
    let script = fs::read_to_string(laid("etc/uci-defaults/80-lango-image")).unwrap();
    assert!(script.contains("hostname='kibera-7'"), "{script}");
    let architecture = "arm_cortex-a7_neon-vfpv4";
    assert_eq!(
        fs::read_to_string(laid("etc/opkg/customfeeds.conf")).unwrap(),
        format!("src/gz lango https://feed.example.org/lango/{architecture}\n")
    );
    assert_eq!(
        fs::read_to_string(laid("etc/apk/repositories.d/lango.list")).unwrap(),
        format!("https://feed.example.org/lango/{architecture}/packages.adb\n")
    );
    assert_eq!(fs::read_to_string(laid(&format!("etc/opkg/keys/{}", keys.usign.id()))).unwrap(), keys.usign.public_file());
}

#[test]
fn a_board_with_room_for_two_programs_takes_images_only_where_somebody_allows_them() {
    let (boards, template) = (boards(), String::from_utf8(package(b"x").files.get("etc/config/lango").unwrap().content.clone()).unwrap());
    for board in &boards {
        let provision = Provision { relay: Some(PRINTED), release_key: Some(RELEASE_KEY), ..ANOTHER_WAY };
        let files = provision::files(board, &template, &provision).unwrap();
        let config = &files.get("etc/config/lango").unwrap().content;
        let update = lango::config::parse("lango", config).unwrap().update.unwrap();
        assert_eq!((update.board.as_deref(), update.images), (Some(board.board_name.as_str()), board.id == "hap-ac2"), "{}", board.name);
    }
}

const fn with_keys_too() -> Provision<'static> {
    Provision { ssh_keys: Some("ssh-ed25519 AAAA operator\n"), ..ANOTHER_WAY }
}

#[test]
fn what_would_make_a_wrong_image_is_refused_before_anything_is_made() {
    let boards = boards();
    let (hap, template) = (boards.iter().find(|board| board.id == "hap-ac2").unwrap(), "\toption name 'lango'\n");
    let refused = |provision: &Provision<'_>| provision::files(hap, template, provision).unwrap_err().to_string();
    assert!(refused(&Provision { name: Some("a b"), ..ANOTHER_WAY }).contains("no router's name"));
    let two = Provision { relay: Some(PRINTED), name: Some("other"), ..ANOTHER_WAY };
    assert!(refused(&two).contains("is for router kibera-7"));
    assert!(refused(&Provision { ssh_keys: Some("-----BEGIN OPENSSH PRIVATE KEY-----\nssh-x\n"), ..ANOTHER_WAY }).contains("private"));
    assert!(refused(&Provision { ssh_keys: Some("hello"), ..ANOTHER_WAY }).contains("no public SSH key"));

    let certificate = certificate();
    for (ca, told) in [
        ("hello", "no certificate in the file of --ca"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "certificate 1 in the file of --ca is damaged"),
        ("-----BEGIN PRIVATE KEY-----\n", "holds a private key"),
    ] {
        assert!(refused(&Provision { relay: Some(PRINTED), ca: Some(ca), ..ANOTHER_WAY }).contains(told), "{ca}");
    }
    assert!(refused(&Provision { ca: Some(&certificate), ..ANOTHER_WAY }).contains("give --router FILE, too"));
    let named = format!("{PRINTED}\toption ca '/etc/ssl/broker.pem'\n");
    assert!(
        refused(&Provision { relay: Some(&named), ca: Some(&certificate), ..ANOTHER_WAY }).contains("names a file of certificates already")
    );
    assert!(refused(&Provision { release_key: Some(RELEASE_KEY), ..ANOTHER_WAY }).contains("give --router FILE, too"));
    for key in ["", "RWQ", "untrusted comment: x\nRWQBAgME\n", "untrusted comment: x secret key\nRWRCSwAA\n", "x' y"] {
        assert!(
            refused(&Provision { relay: Some(PRINTED), release_key: Some(key), ..ANOTHER_WAY }).contains("no public release key"),
            "{key}"
        );
    }

    // The gate closes the router to customers, and the firewall to the way out.
    assert!(refused(&Provision { no_way_in: false, ..with_keys_too() }).contains("nobody would get into this router"));
    assert!(refused(&Provision { no_way_in: false, ..ANOTHER_WAY }).contains("--no-way-in"));
    assert!(refused(&Provision { manage_from: Some("192.0.2.10"), no_way_in: false, ..ANOTHER_WAY }).contains("wants --ssh-keys"));
    assert!(refused(&Provision { manage_from: Some("192.0.2.10"), ..with_keys_too() }).contains("says that there is none"));
    for wrong in ["", "office", "192.0.2.10/33", "192.0.2.10/0", "0.0.0.0", "0.0.0.0/0", "::/0", "192.0.2.1'; reboot #", "2001:db8::/129"] {
        let provision = Provision { manage_from: Some(wrong), no_way_in: false, ..with_keys_too() };
        assert!(refused(&provision).contains("is no address that somebody comes from"), "{wrong}");
    }
    for wrong in ["", "ke", "KEN", "K'"] {
        assert!(refused(&Provision { country: Some(wrong), ..ANOTHER_WAY }).contains("no country's code"), "{wrong}");
    }

    let folder = tempfile::tempdir().unwrap();
    let error = recipe::format_of(hap, folder.path()).unwrap_err().to_string();
    assert!(error.contains("is that the folder of an ImageBuilder?"), "{error}");
    for (target, architecture) in [("ath79/generic", "mips_24kc"), ("ipq40xx/generic", "arm_cortex-a7_neon-vfpv4")] {
        let other = imagebuilder(folder.path(), target, architecture, false);
        let error = recipe::format_of(hap, &other).unwrap_err().to_string();
        let told = format!("this ImageBuilder is for {target} ({architecture}): MikroTik hAP ac² wants the one for ipq40xx/mikrotik");
        assert!(error.contains(&told), "{error}");
    }
}

#[test]
fn an_imagebuilder_that_fails_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let board = &boards()[0];
    let imagebuilder = imagebuilder(folder.path(), &board.openwrt.target, &board.openwrt.architecture, false);
    fs::write(imagebuilder.join("Makefile"), "image:\n\t@echo 'profile is unknown' >&2; exit 3\n").unwrap();
    let (package, keys) = (package(b"x"), Keys::generate().unwrap());
    let files = provision::files(board, "", &ANOTHER_WAY).unwrap();
    let feed = feed::make(&package, 1, &keys).unwrap();
    let error = recipe::order(board, &imagebuilder, &feed, &keys, &files, &folder.path().join("work")).unwrap_err().to_string();
    assert!(error.contains("the ImageBuilder ended with"), "{error}");
}
