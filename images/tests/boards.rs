//! Every board file is read, and what the build takes from it holds: the programs fit, and the table in board/README.md is theirs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

use lango_images::board::{self, Board, FlashKind};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn boards() -> Vec<Board> {
    Board::read_all(&repository().join("board")).unwrap()
}

#[test]
fn the_boards_are_those_that_are_promised() {
    let ids: Vec<String> = boards().into_iter().map(|board| board.id).collect();
    let promised = ["ax3000t", "bpi-r3", "ea8300", "emulated-aarch64", "emulated-armv7", "gl-mt3000", "hap-ac2", "nanopi-r2s", "rpi-4"];
    assert_eq!(ids, promised);
}

/// What an image and an installed package make of a program, in bytes: as recorded, and where nobody has yet, by what it may be at most.
fn sizes(rust_target: &str) -> (u32, u32) {
    let sizes = fs::read_to_string(repository().join("tools/sizes.txt")).unwrap();
    let line = sizes.lines().find(|line| line.starts_with(rust_target)).unwrap();
    let numbers: Vec<u32> = line.split_whitespace().skip(1).map(|number| number.parse().unwrap()).collect();
    match numbers.as_slice() {
        [_, _, _, _, _, _, package, image] => (*image, *package),
        // Pieces of 256 KiB take up to a sixteenth more than the whole, gzip up to a quarter more than xz.
        [_, _, _, ceiling_xz] => (ceiling_xz + ceiling_xz / 16, ceiling_xz + ceiling_xz / 4),
        _ => panic!("tools/sizes.txt: {line}"),
    }
}

#[test]
fn the_programs_fit_into_what_the_flash_has_for_them() {
    for board in boards() {
        let (image, package) = sizes(&board.rust_target);
        let room = board.flash.program_kb * 1000;
        assert!(image <= room, "{}: an image has {image} bytes of it, {room} have room", board.name);
        if board.flash.kind == FlashKind::Nor {
            // As tools/sizes.sh reckons.
            let installed = package + package / 8;
            assert!(installed <= room, "{}: installed later it takes {installed} bytes, {room} have room", board.name);
        }
    }
}

#[test]
fn every_processor_that_is_built_for_has_a_board_and_the_other_way_round() {
    let makefile = fs::read_to_string(repository().join("Makefile")).unwrap();
    let targets = makefile.lines().find_map(|line| line.strip_prefix("TARGETS ?= ")).unwrap();
    let built: BTreeSet<&str> = targets.split_whitespace().collect();
    let boards = boards();
    assert_eq!(boards.iter().map(|board| board.rust_target.as_str()).collect::<BTreeSet<_>>(), built);
}

#[test]
fn the_page_shows_what_the_files_say() {
    let page = fs::read_to_string(repository().join("board/README.md")).unwrap();
    let table = board::table(&boards());
    assert!(page.contains(&table), "board/README.md has another table than `lango-images boards` prints:\n{table}");
}

const FINE: &str = r#"
name = "N"
board_name = "n,n"
rust_target = "armv7-unknown-linux-musleabihf"
[openwrt]
target = "ipq40xx/generic"
profile = "n"
architecture = "arm_cortex-a7_neon-vfpv4"
[interfaces]
lan = ["lan1", "lan2"]
wan = ["wan"]
[memory]
ram_mb = 128
[flash]
kind = "nor"
size_mb = 16
free_mb = 5
program_kb = 1600
store_kb = 2500
"#;

#[test]
fn what_does_not_go_together_is_told() {
    Board::parse("n", FINE).unwrap();
    for (from, to, told) in [
        ("ram_mb", "rammb", "unknown field `rammb`"),
        ("ram_mb = 128", "ram_mb = 128\nspeed = 1", "unknown field `speed`"),
        ("profile = \"n\"\n", "", "missing field `profile`"),
        ("\"nor\"", "\"rom\"", "unknown variant `rom`"),
        ("ipq40xx/generic", "ipq40xx/new", "target ipq40xx/new is unknown"),
        ("arm_cortex-a7_neon-vfpv4", "aarch64_generic", "packages of target ipq40xx/generic are for arm_cortex-a7_neon-vfpv4"),
        ("armv7-unknown-linux-musleabihf", "aarch64-unknown-linux-musl", "are built as armv7-unknown-linux-musleabihf"),
        ("[\"wan\"]", "[\"lan2\"]", "an interface is named twice"),
        ("[\"wan\"]", "[]", "either `wan` names ports, or `added_wan`"),
        ("[\"wan\"]", "[\"a name\"]", "is no interface's name"),
        ("[\"wan\"]", "[\"sixteen_letters_\"]", "is no interface's name"),
        ("[\"lan1\", \"lan2\"]", "[]", "there is no lan interface"),
        ("free_mb = 5", "free_mb = 16", "cannot be free of 16 MB"),
        ("store_kb = 2500", "store_kb = 4000", "more than the 5 MB that are free"),
        ("ram_mb = 128", "ram_mb = 64", "too little for a hundred customers"),
    ] {
        let text = FINE.replacen(from, to, 1);
        assert_ne!(text, FINE, "{from}");
        let error = format!("{:#}", Board::parse("n", &text).unwrap_err());
        assert!(error.contains(told), "{to}: {error}");
    }
}

#[test]
fn limits_follow_from_the_memory() {
    for (ram, connections, accounts) in [(128, 32768, 803), (256, 65536, 2857), (2048, 262_144, 32767)] {
        let limits = Board::parse("n", &FINE.replace("ram_mb = 128", &format!("ram_mb = {ram}"))).unwrap().limits();
        assert_eq!((limits.connections, limits.accounts), (connections, accounts), "{ram} MB");
    }
}
