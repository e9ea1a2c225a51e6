//! Updates over the air on a router that boots: what is forged, cut short, changed, old or for another board is refused; the power goes at steps of a
//! good one; and a program that ends at once is put back. Each time the router sells, and who has paid is online.

use crate::cuts::Customers;
use crate::machine::Image;
use crate::story::{SOON, number, online, sh};
use crate::street::Street;
use lango_lab::downloads::Manner;
use lango_lab::lab::figure;
use lango_lab::releases::Releases;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::tool;
use lango_lab::wait::until_true;
use std::cell::Cell;
use std::time::Duration;

/// A fetch and the half minute in which a new program has to work, on a machine that builds at the same time.
const LONG: Duration = Duration::from_secs(600);
const CA: &str = "/etc/lango/releases.pem";

/// Steps of an update. Where the power goes, for the router's shell: the program is stopped there, and then the router is off.
const STEPS: [(&str, &str); 4] = [
    ("half of it is written", "[ \"$(stat -c %s /usr/sbin/lango.new 2>/dev/null || echo 0)\" -ge HALF ]"),
    ("its trial is announced", "[ -e /etc/lango/update/trial ]"),
    ("it has the old one's name", "[ -e /usr/sbin/lango.old ] && [ ! -e /usr/sbin/lango.new ]"),
    ("its trial has ended", "[ -e /etc/lango/update/start.1 ] && [ ! -e /etc/lango/update/trial ]"),
];

/// The router, its operator's releases, and the customers.
struct Site<'a> {
    street: &'a Street,
    customers: &'a Customers,
    releases: Releases,
    /// What the router is.
    board: String,
    /// The program that the image has.
    shipped: Vec<u8>,
    /// Who comes next: a customer's number.
    next: Cell<u32>,
}

/// All of it.
pub fn run(street: &Street, image: &Image, customers: &Customers) {
    let site = Site::start(street, image, customers);
    site.refuses();
    let (mut runs, mut number) = (Vec::new(), 10);
    for (step, holds) in STEPS {
        number += 1;
        runs = site.loses_its_power(step, holds, number);
    }
    site.refuses_old(number);
    site.goes_back(&runs, number + 1);
}

impl<'a> Site<'a> {
    fn start(street: &'a Street, image: &Image, customers: &'a Customers) -> Self {
        let folder = street.world.folder.join("releases");
        std::fs::create_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let board = sh(street, "cat /tmp/sysinfo/board_name").trim().to_owned();
        let target = image.target().unwrap_or_else(|e| panic!("{e:#}"));
        let releases = Releases::new(&street.world.cloud, &folder, &target, &board).unwrap_or_else(|e| panic!("{e:#}"));
        let shipped = image.program().unwrap_or_else(|e| panic!("{e:#}"));
        // On the disk before the power goes: what an operator wrote in the last seconds may be an empty file after a cut.
        street.machine.write(CA, &releases.ca).unwrap_or_else(|e| panic!("{e:#}"));
        sh(
            street,
            &format!(
                "uci set lango.update=update; uci set lango.update.ca={CA}; uci add_list lango.update.key='{}'; uci commit lango; sync",
                releases.key
            ),
        );
        let reloads = || sh(street, "logread").matches("config: read again and in force").count();
        let before = reloads();
        sh(street, "lango check && service lango reload");
        until_true("the release key to be in force", SOON, || reloads() > before).unwrap_or_else(|e| panic!("{e:#}"));
        street.safaricom.everybody(Customer::who(Answer::Pays));
        Self { street, customers, releases, board, shipped, next: Cell::new(30) }
    }

    /// Another file that does the same.
    fn newer(&self, number: u64) -> Vec<u8> {
        [self.shipped.as_slice(), format!("\n{number}\n").as_bytes()].concat()
    }

    fn manifest(&self, file: &[u8], number: u64) -> String {
        self.releases.manifest(&self.street.relay, file, number).unwrap_or_else(|e| panic!("{e:#}"))
    }

    fn offer(&self, manifest: &str, key: &str) {
        self.releases.offer(&self.street.relay, manifest, key).unwrap_or_else(|e| panic!("{e:#}"));
    }

    /// Waits for the relay's last word of it.
    fn stands(&self, what: &str, number: u64, state: &str, reason: Option<&str>) {
        let update = || self.releases.update(&self.street.relay).unwrap_or_else(|e| panic!("{e:#}"));
        let wanted = |update: &serde_json::Value| {
            update["number"] == number && update["state"] == state && update["reason"] == serde_json::json!(reason)
        };
        until_true(what, LONG, || wanted(&update())).unwrap_or_else(|e| panic!("{e:#}: {}", update()));
    }

    /// That file is the program, on the flash.
    fn is_installed(&self, program: &[u8], what: &str) {
        // Its length and its sum tell it from every other one here.
        let sum = tool::run_with_input("md5sum", [""; 0], program).unwrap_or_else(|e| panic!("{e:#}"));
        let there = sh(self.street, "wc -c </usr/sbin/lango; md5sum </usr/sbin/lango");
        let wanted = format!("{} {sum}", program.len());
        assert!(there.split_whitespace().eq(wanted.split_whitespace()), "{what}: another program is there: {there}");
    }

    /// A customer who comes now is served, and who came before is online.
    fn sells(&self, what: &str) {
        self.street.await_payments().unwrap_or_else(|e| panic!("{what}: {e:#}"));
        let phone = self.street.world.phone();
        self.street.machine.until("an address by DHCP", || phone.try_join().ok()).unwrap_or_else(|e| panic!("{what}: {e:#}"));
        assert!(!online(&phone), "{what}: nobody has paid");
        phone.await_paid(&phone.pay("hour", &number(self.next.replace(self.next.get() + 1))));
        until_true("who has paid to be online", SOON, || online(&phone)).unwrap_or_else(|e| panic!("{what}: {e:#}"));
        self.customers.are_online(what);
        self.street.money_is_service().unwrap_or_else(|e| panic!("{what}: {e:#}"));
    }

    fn refuses(&self) {
        let newer = self.newer(5);
        let good = self.manifest(&newer, 5);
        self.releases.server.serve(&newer, Manner::Honest);
        self.releases.forge("release", "stranger").unwrap_or_else(|e| panic!("{e:#}"));
        // For another board: that is no news of this router. What is looked at after it is told.
        self.offer(&good.replace(&self.board, "other,board"), "release");
        for (key, reason) in [("forged", "forged"), ("stranger", "unknown_key")] {
            self.offer(&good, key);
            let told = || self.releases.update(&self.street.relay).is_ok_and(|update| update["reason"] == reason);
            until_true(&format!("{reason} to be told"), SOON, told).unwrap_or_else(|e| panic!("{e:#}"));
        }
        assert!(self.releases.server.asked().is_empty(), "something was fetched of what is refused");
        let (short, long) = (&newer[..newer.len() - 1_000], [newer.as_slice(), b"more"].concat());
        // No two of one reason after each other: the second would be told by the first.
        for (what, file, manner, reason) in [
            ("one that is cut short", short, Manner::Honest, "wrong_size"),
            ("one with another byte", newer.as_slice(), Manner::Changes, "wrong_hash"),
            ("one that is longer", long.as_slice(), Manner::Honest, "wrong_size"),
        ] {
            self.releases.server.serve(file, manner);
            self.offer(&good, "release");
            self.stands(what, 5, "failed", Some(reason));
        }
        self.is_installed(&self.shipped, "after all that is refused");
        self.sells("after all that is refused");
    }

    /// An update of that number, and the power goes at that step. Gives back the program that runs in the end.
    fn loses_its_power(&self, step: &str, holds: &str, number: u64) -> Vec<u8> {
        let newer = self.newer(number);
        let half = newer.len() / 2;
        let cut = holds.contains("HALF");
        self.releases.server.serve(&newer, if cut { Manner::CutsAfter(half + 65_536) } else { Manner::Honest });
        let said = format!("update {number} is stopped:");
        // What the shell does by itself: whatever it would have to start comes too late.
        let watch = format!(
            "p=$(pidof lango); until {}; do :; done; kill -STOP $p; echo \"{said}\" /usr/sbin/lango* /etc/lango/update/* >/dev/console",
            holds.replace("HALF", &half.to_string())
        );
        let machine = &self.street.machine;
        machine.write("/tmp/watch", &watch).unwrap_or_else(|e| panic!("{e:#}"));
        sh(self.street, "setsid sh /tmp/watch </dev/null >/dev/null 2>&1 &");
        self.offer(&self.manifest(&newer, number), "release");
        machine.until(step, || machine.console_has(&said).then_some(())).unwrap_or_else(|e| panic!("{e:#}"));
        machine.cut();
        figure(&format!("the power goes in an update: {step}"));
        self.releases.server.serve(&newer, Manner::Honest);
        self.customers.come_back(self.street, step);
        self.stands(&format!("the update to be confirmed, after the power went when {step}"), number, "confirmed", None);
        self.is_installed(&newer, step);
        self.sells(step);
        newer
    }

    /// What was accepted is not taken a second time, and neither is what came before it.
    fn refuses_old(&self, last: u64) {
        self.releases.server.serve(b"nothing", Manner::Honest);
        for old in [last, last - 1] {
            self.offer(&self.manifest(&self.newer(99), old), "release");
            self.stands("an old number to be refused", old, "refused", Some("not_newer"));
        }
        assert!(self.releases.server.asked().is_empty(), "an old one was fetched");
    }

    /// It ends at once: the start script puts the one before back.
    fn goes_back(&self, before: &[u8], number: u64) {
        let broken = b"#!/bin/sh\nexit 1\n";
        self.releases.server.serve(broken, Manner::Honest);
        self.offer(&self.manifest(broken, number), "release");
        self.stands("the program before to be back", number, "rolled_back", Some("crashed"));
        self.is_installed(before, "after a program that ends at once");
        self.sells("after a program that ends at once");
    }
}
