//! Every board file is read, and what the build takes from it holds: the programs fit, and the table in board/README.md is theirs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

use lango_core::update::{Kind, needed};
use lango_images::board::{self, Board, Sizes, Updates};
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
    let promised =
        ["ax3000t", "bpi-r3", "ea8300", "emulated-aarch64", "emulated-armv7", "gl-mt3000", "hap-ac2", "nanopi-r2s", "rpi-4", "x86-64"];
    assert_eq!(ids, promised);
}

/// What a program is, and what is made of it: as recorded, and where nobody has yet, by what it may be at most.
fn sizes(rust_target: &str) -> Sizes {
    let sizes = fs::read_to_string(repository().join("tools/sizes.txt")).unwrap();
    let line = sizes.lines().find(|line| line.starts_with(rust_target)).unwrap();
    let numbers: Vec<u32> = line.split_whitespace().skip(1).map(|number| number.parse().unwrap()).collect();
    match numbers.as_slice() {
        [_, _, _, _, bytes, _, package, image] => Sizes { bytes: *bytes, image: *image, package: *package },
        // Pieces of 256 KiB take up to a sixteenth more than the whole, gzip up to a quarter more than xz.
        [_, ceiling, _, ceiling_xz] => Sizes { bytes: *ceiling, image: ceiling_xz + ceiling_xz / 16, package: ceiling_xz + ceiling_xz / 4 },
        _ => panic!("tools/sizes.txt: {line}"),
    }
}

/// What of a board's flash a program does not fit into, if anything.
fn too_little(board: &Board, sizes: Sizes) -> Option<String> {
    let (room, (takes, how)) = (u64::from(board.flash.program_kb) * 1000, board.flash.takes(sizes));
    (takes > room).then(|| format!("{}: {how} the program takes {takes} bytes, {room} are for it", board.name))
}

#[test]
fn the_programs_fit_into_what_the_flash_has_for_them() {
    for board in boards() {
        assert_eq!(too_little(&board, sizes(&board.rust_target)), None);
    }
}

#[test]
fn a_program_that_is_too_large_for_a_board_is_told() {
    let (small, sizes) = (board_named("hap-ac2"), Sizes { bytes: 2_850_860, image: 1_559_916, package: 1_842_072 });
    assert_eq!(too_little(&small, sizes), None);
    let told = |board: &Board, sizes| too_little(board, sizes).unwrap_or_default();
    assert!(told(&small, Sizes { image: 2_200_001, ..sizes }).contains("in an image the program takes 2200001 bytes, 2200000 are"));
    assert!(told(&small, Sizes { package: 1_955_557, ..sizes }).contains("as an installed package"));
    let large = board_named("ea8300");
    assert!(told(&large, Sizes { bytes: 17_000_000, ..sizes }).contains("while a new one is on trial"));
    assert!(told(&large, Sizes { bytes: 16_950_000, ..sizes }).is_empty());
}

#[test]
fn a_board_takes_new_programs_if_and_only_if_two_fit_into_its_flash() {
    let mut images_alone = Vec::new();
    for board in boards() {
        let sizes = sizes(&board.rust_target);
        let mut as_if = board.clone();
        as_if.flash.updates = Updates::Program;
        let by_the_router = too_little(&as_if, sizes).is_none();
        assert_eq!(board.flash.updates == Updates::Program, by_the_router, "{}: `updates` in its file is not what follows", board.name);
        if !by_the_router {
            // Nor would they where the router reckoned with what compression spares, and kept nothing for anything else.
            let least = board.flash.takes_on_trial_at_least(sizes);
            assert!(least > u64::from(board.flash.program_kb) * 1000, "{}: two programs take {least} bytes: they would fit", board.name);
            // They are fetched to memory instead, beside OpenWrt and the program: none is larger than the flash.
            let (image, left) = (u64::from(board.flash.size_mb) * 1_000_000, u64::from(board.memory.ram_mb - 70) * 1_000_000);
            assert!(needed(Kind::Image, image, 0) <= left, "{}: it could not take an image either", board.name);
            images_alone.push(board.id);
        }
    }
    assert_eq!(images_alone, ["hap-ac2"], "docs/updates.md names them");
}

#[test]
fn the_page_of_updates_names_the_boards_that_take_images_alone() {
    let page = fs::read_to_string(repository().join("docs/updates.md")).unwrap();
    for board in boards().iter().filter(|board| board.flash.updates == Updates::Image) {
        assert!(page.contains(&board.name), "{}", board.name);
    }
}

fn board_named(id: &str) -> Board {
    boards().into_iter().find(|board| board.id == id).unwrap()
}

/// What makers and OpenWrt say of each model: RAM and flash in megabytes, customers' ports, the way out.
#[test]
fn the_files_say_what_is_known_of_the_models() {
    let known: [(&str, u32, u32, &str, &str); 7] = [
        ("gl-mt3000", 512, 256, "eth1", "eth0"),
        ("ax3000t", 256, 128, "lan2 lan3 lan4", "wan"),
        ("bpi-r3", 2048, 8000, "lan1 lan2 lan3 lan4 sfp2", "sfp1 wan"),
        ("ea8300", 256, 256, "lan1 lan2 lan3 lan4", "wan"),
        ("hap-ac2", 128, 16, "lan1 lan2 lan3 lan4", "wan"),
        // A card is as large as somebody buys it; of the models with several memories the smallest is meant.
        ("nanopi-r2s", 1024, 4000, "eth1", "eth0"),
        ("rpi-4", 1024, 4000, "eth0", ""),
    ];
    for (id, ram, flash, lan, wan) in known {
        let board = board_named(id);
        let ports = (board.interfaces.lan.join(" "), board.interfaces.wan.join(" "));
        assert_eq!((board.memory.ram_mb, board.flash.size_mb, ports), (ram, flash, (lan.to_owned(), wan.to_owned())), "{id}");
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
fn programs_that_pages_name_are_where_they_are_built() {
    let targets: BTreeSet<String> = boards().into_iter().map(|board| board.rust_target).collect();
    let mut named = 0;
    for page in fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(text) = fs::read_to_string(&page) else { continue };
        for (at, before) in text.match_indices("out/router/") {
            let path: String = text[at + before.len()..].chars().take_while(|c| !c.is_whitespace() && !"`'\")".contains(*c)).collect();
            let Some(target) = path.strip_suffix("/lango") else { panic!("{}: out/router/{path} is no program", page.display()) };
            assert!(target == "*" || targets.contains(target), "{}: nothing is built into out/router/{path}", page.display());
            named += 1;
        }
    }
    assert!(named >= 2, "the pages of updates and packages name some");
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
program_kb = 2200
store_kb = 2500
updates = "image"
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
        ("store_kb = 2500", "store_kb = 4800", "the store takes more than the 5 MB that are free"),
        ("program_kb = 2200", "program_kb = 4000", "program_kb is 2200: what store_kb and the file system's own leave of 5 MB, not 4000"),
        ("\"nor\"", "\"nand\"", "program_kb is 2500"),
        ("\"image\"", "\"none\"", "unknown variant `none`"),
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

#[test]
fn each_file_says_where_its_names_were_looked_up() {
    for board in boards() {
        let text = fs::read_to_string(repository().join(format!("board/{}.toml", board.id))).unwrap();
        let (target, _) = board.openwrt.target.split_once('/').unwrap();
        let told = text.lines().find(|line| line.starts_with("# As OpenWrt ")).unwrap_or_default();
        let commit = told.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(commit, _)| commit);
        assert!(commit.len() >= 10 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}: no commit of OpenWrt", board.id);
        assert!(told.contains(&format!("target/linux/{target}: ")), "{}: {told}", board.id);
    }
}
