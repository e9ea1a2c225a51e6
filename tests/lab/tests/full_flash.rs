//! A flash that takes nothing more: what cannot be stored does not happen, and all else goes on.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::tool;
use lango_lab::wait::until_true;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// A flash of two megabytes, as a file system of its own.
struct Flash(PathBuf);

impl Flash {
    fn new(path: PathBuf) -> Self {
        std::fs::create_dir(&path).unwrap();
        tool::run("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", path.to_str().unwrap()]).unwrap();
        Self(path)
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    fn fill(&self) {
        // Writing fails when it is full: that is what is wanted.
        assert!(std::fs::write(self.ballast(), vec![7; 4 * 1024 * 1024]).is_err());
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Flash {
    fn drop(&mut self) {
        let _ = tool::run("umount", ["-l", self.0.to_str().unwrap()]);
    }
}

fn move_store(config: &Path, to: &Path) {
    let text = std::fs::read_to_string(config).unwrap();
    let moved: Vec<String> =
        text.lines()
            .map(|line| {
                if line.trim_start().starts_with("option store ") { format!("\toption store '{}'", to.display()) } else { line.to_owned() }
            })
            .collect();
    std::fs::write(config, moved.join("\n") + "\n").unwrap();
}

#[test]
fn what_cannot_be_stored_does_not_happen_and_all_else_goes_on() {
    let lab = Lab::start();
    let flash = Flash::new(lab.world.folder.join("flash"));
    lab.lango.program.terminate().unwrap();
    move_store(&lab.lango.config, &flash.0.join("store"));
    lab.lango.start().unwrap();
    lab.lango.await_payments().unwrap();
    let paid = lab.joined_phone();
    paid.await_paid(&paid.pay("day", "0712345678"));
    let other = lab.joined_phone();
    let buy = || other.post("/api/payments", &json!({"package": "day", "phone": "0722000111"}));

    flash.fill();
    let mut refused = buy();
    // The store has room of its own for a while.
    until_true("the flash to be full", SOON, || {
        refused = buy();
        refused.status != 202
    })
    .unwrap();
    assert_eq!((refused.status, refused.value()["error"]["code"].as_str().unwrap()), (503, "not_stored"), "{}", refused.text());
    assert!(paid.udp_echo((HOST4, ECHO).into(), SOON), "who has paid stays online");
    assert!(!other.udp_echo((HOST4, ECHO).into(), Duration::from_millis(500)), "and nobody else is");
    assert_eq!(other.get("/api/packages").status, 200, "the portal goes on");

    flash.empty();
    until_true("the store to take payments again", SOON, || buy().status == 202).unwrap();
    let id = other.pay("day", "0722000111");
    other.await_paid(&id);
    assert!(other.udp_echo((HOST4, ECHO).into(), SOON));
    assert!(paid.udp_echo((HOST4, ECHO).into(), SOON));
    let failures = lab.lango.status().unwrap()["failures"].clone();
    assert!(failures["store"].as_u64() >= Some(1), "the operator sees it, too: {failures}");
    lab.money_is_service();
}

#[test]
fn what_could_not_be_stored_is_not_let_in_when_the_gate_has_to_be_put_back() {
    let lab = Lab::start();
    let flash = Flash::new(lab.world.folder.join("flash"));
    lab.lango.program.terminate().unwrap();
    move_store(&lab.lango.config, &flash.0.join("store"));
    lab.lango.start().unwrap();
    lab.lango.await_payments().unwrap();
    let (paid, other) = (lab.joined_phone(), lab.joined_phone());
    paid.await_paid(&paid.pay("day", "0712345678"));
    flash.fill();
    until_true("a grant that cannot be stored", SOON, || {
        let granted = lab.lango.output(&["grant", &other.mac, "day"]).unwrap().status.success();
        if granted {
            let _ = lab.lango.output(&["kick", &other.mac]);
        }
        !granted
    })
    .unwrap();
    lab.world.router.exec("nft", &["delete", "table", "inet", "lango"]).unwrap();
    until_true("the gate to be put back", SOON, || lab.world.router.exec("nft", &["list", "table", "inet", "lango"]).is_ok()).unwrap();
    assert!(!other.udp_echo((HOST4, ECHO).into(), Duration::from_millis(500)), "nobody gets what is not on record");
    assert!(paid.udp_echo((HOST4, ECHO).into(), SOON), "and nobody loses what is");
}
