//! The package's scripts under real shells, with the real `uci`: first boot, service, hotplug, sysupgrade, upgrade and removal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

#[path = "../common/mod.rs"]
mod common;
mod dnsmasq;
mod first_boot;
mod package;
#[path = "../common/router.rs"]
mod router;
mod service;
mod sysupgrade;

use common::repository;
use lango_images::board::Board;
use router::{Router, SHELLS};
use std::fs;

const FIRST_BOOT: &str = ". /etc/uci-defaults/90-lango";

fn boards() -> Vec<Board> {
    Board::read_all(&repository().join("board")).unwrap()
}

fn board(id: &str) -> Board {
    boards().into_iter().find(|board| board.id == id).unwrap()
}

/// For tests that the model does not matter to.
fn both() -> impl Iterator<Item = Router> {
    let board = board("ax3000t");
    SHELLS.into_iter().map(move |shell| Router::new(shell, &board))
}

/// The program itself reads what the scripts wrote.
fn assert_in_order(router: &Router) {
    let (said, code) = lango::config::check(&router.path("etc/config/lango"));
    assert!(code == 0 && said.iter().all(|line| line.contains("in order")), "{said:?}");
}

/// Runs one of the package's scripts as opkg does.
fn script(router: &Router, name: &str, variable: &str) -> String {
    let argument = if name == "postinst" { "configure" } else { "remove" };
    let path = format!("usr/lib/opkg/info/lango.{name}");
    router.program(&path, &fs::read_to_string(repository().join("images/scripts").join(name)).unwrap());
    router.sh(&format!("{variable} /{path} {argument}"))
}

/// What a trial of an update leaves lying there (docs/updates.md).
const TRIAL: [&str; 7] = [
    "etc/lango/update/trial",
    "etc/lango/update/start.1",
    "etc/lango/update/start.2",
    "etc/lango/update/start.3",
    "etc/lango/update/overdue",
    "usr/sbin/lango.old",
    "usr/sbin/lango.new",
];
