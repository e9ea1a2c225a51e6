//! A router with a release key, and what its operator has: releases that Debian's `signify-openbsd` signs, a web server over TLS, and in
//! place of procd somebody who starts again what has ended.

use lango_lab::Lab;
use lango_lab::process::Program;
use lango_lab::programs;
use lango_lab::releases::Releases;
use lango_lab::tool;
use lango_lab::wait::until_true;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A fetch, and the half minute in which a new program has to work, on a busy machine.
pub const LONG: Duration = Duration::from_secs(240);
pub const BOARD: &str = "lab,box";

pub struct Site {
    pub lab: Lab,
    pub releases: Releases,
    folder: PathBuf,
    /// What updates keep.
    pub updates: PathBuf,
    pub program: PathBuf,
    /// By which words the start script is started: where the files are.
    pub environment: Vec<String>,
    /// The program as it is shipped, without what only debuggers want.
    pub shipped: Vec<u8>,
}

pub fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// The service's command.
pub fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/files/usr/libexec/lango/start").canonicalize().unwrap()
}

impl Site {
    /// A router whose program was started by the start script, with a release key in its config.
    pub fn start() -> Self {
        let mut lab = Lab::start();
        let folder = lab.world.folder.join("releases");
        let updates = lab.world.folder.join("update");
        let sbin = lab.world.folder.join("sbin");
        for folder in [&folder, &updates, &sbin] {
            std::fs::create_dir(folder).unwrap();
        }
        let program = sbin.join("lango");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        tool::run("strip", ["-o", &text(&program), &text(&programs::find("lango").unwrap())]).unwrap();
        let shipped = std::fs::read(&program).unwrap();
        assert!(shipped.len() < 16 << 20, "no router takes a program of {} bytes: build it with --profile lab", shipped.len());
        let releases = Releases::new(&lab.world.cloud, &folder, &target(), BOARD).unwrap();
        std::fs::write(folder.join("ca.pem"), &releases.ca).unwrap();
        let key = &releases.key;
        let section = format!(
            "\nconfig update 'update'\n\tlist key '{key}'\n\toption board '{BOARD}'\n\toption ca '{}'\n\toption trial '1'\n",
            folder.join("ca.pem").display()
        );
        lab.lango.configure(|config| config.to_owned() + &section).unwrap();
        lab.lango.program.terminate().unwrap();
        let args = ["run", "--config", lab.lango.config.to_str().unwrap()];
        lab.lango.program = Program::new(&lab.world.router, &script(), &args, &lab.world.folder.join("lango.log"));
        let path = format!("PATH={}:{}", text(&folder), std::env::var("PATH").unwrap());
        let variables = [format!("LANGO_PROGRAM={}", text(&program)), format!("LANGO_UPDATES={}", text(&updates)), path];
        let environment = [vec!["env".to_owned()], variables.to_vec()].concat();
        lab.lango.program.under(environment.clone());
        lab.lango.start().unwrap();
        lab.lango.await_payments().unwrap();
        Self { lab, releases, folder, updates, program, environment, shipped }
    }

    /// As procd does: what has ended is started again.
    pub fn tend(&self) {
        if let Some(pid) = self.lab.lango.program.pid() {
            std::fs::write(self.folder.join("pid"), pid.to_string()).unwrap();
        }
        // A service that was stopped is not started again.
        if self.folder.join("stopped").exists() {
            return;
        }
        if !self.lab.lango.program.running() {
            self.lab.lango.program.kill9();
            self.lab.lango.program.start().unwrap();
        }
    }

    pub fn until(&self, what: &str, patience: Duration, mut holds: impl FnMut(&Self) -> bool) {
        until_true(what, patience, || {
            self.tend();
            holds(self)
        })
        .unwrap_or_else(|e| panic!("{e:#}\n{:?}\n{}", self.update(), self.lab.lango.program.tail(40)));
    }

    /// A new program that is another file and does the same.
    pub fn newer(&self) -> Vec<u8> {
        [self.shipped.as_slice(), b"\nnewer\n"].concat()
    }

    pub fn manifest(&self, file: &[u8], number: u64) -> String {
        self.releases.manifest(&self.lab.relay, file, number).unwrap()
    }

    /// Stand-ins for OpenWrt's `ubus`, `sysupgrade` and service, which cannot be had here: they write down what they were asked.
    /// sysupgrade goes by our own hook, which stops the service as procd does: the process that was started gets its signal, whatever
    /// it has become. An image that got in place takes with it what sysupgrade does not keep.
    pub fn openwrt(&self, valid: bool, takes: bool) {
        let said = self.folder.join("asked");
        let _ = std::fs::remove_file(&said);
        let folder = self.folder.display();
        for (name, file) in [("hook", "upgrade/lango.sh"), ("functions", "functions/lango.sh")] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/files/lib").join(file);
            let script = std::fs::read_to_string(path).unwrap();
            let script = script.replace("/etc/init.d/lango", &format!("{folder}/service"));
            std::fs::write(self.folder.join(name), script.replace("/lib/functions/lango.sh", &format!("{folder}/functions"))).unwrap();
        }
        let service = format!(
            "case $1 in\nstop) : >{folder}/stopped; kill -TERM $(cat {folder}/pid); for _ in $(seq 100); do \
             [ -e /proc/$(cat {folder}/pid)/exe ] || break; command sleep 0.1; done ;;\nstart) rm -f {folder}/stopped ;;\nesac"
        );
        let then = if takes { format!("rm {}.before-image; rm {folder}/stopped", self.program.display()) } else { "exit 1".to_owned() };
        let upgrades = format!(
            "pidof() {{ [ -e /proc/$(cat {folder}/pid)/exe ]; }}\nsleep() {{ command sleep 1; }}\nCONF_BACKUP_LIST=0 CONF_BACKUP= sysupgrade_init_conffiles=\n\
             . {folder}/hook\n: >{folder}/list\nfor hook in $sysupgrade_init_conffiles; do $hook {folder}/list; done\n\
             echo packed >>{said}\n{then}",
            said = said.display()
        );
        for (name, does) in [
            ("ubus", format!("echo '{{ \"tests\": {{ \"fwtool_signature\": true }}, \"valid\": {valid}, \"forceable\": true }}'")),
            ("sysupgrade", upgrades),
            ("service", service),
        ] {
            let path = self.folder.join(name);
            let notes = if name == "service" { String::new() } else { format!("echo \"{name} $*\" >>{}\n", said.display()) };
            std::fs::write(&path, format!("#!/bin/sh\n{notes}{does}\n")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    pub fn asked_of_openwrt(&self) -> String {
        std::fs::read_to_string(self.folder.join("asked")).unwrap_or_default()
    }

    /// Signs, and offers it to the router.
    pub fn offer_text(&self, manifest: &str, key: &str) {
        self.releases.offer(&self.lab.relay, manifest, key).unwrap();
    }

    pub fn offer(&self, file: &[u8], number: u64) {
        self.offer_text(&self.manifest(file, number), "release");
    }

    /// What the relay knows of the router's update.
    pub fn update(&self) -> Value {
        self.releases.update(&self.lab.relay).unwrap()
    }

    pub fn stands(&self, number: u64, state: &str, reason: Option<&str>) -> bool {
        let update = self.update();
        update["number"] == number && update["state"] == state && update["reason"] == serde_json::json!(reason)
    }

    pub fn installed(&self) -> Vec<u8> {
        std::fs::read(&self.program).unwrap()
    }

    /// What lies around: beside the program, and in the folder of what is kept.
    pub fn lies(&self) -> [String; 2] {
        [self.program.parent().unwrap(), &self.updates].map(|folder| {
            let mut names: Vec<String> =
                std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names.join(" ")
        })
    }

    /// Nothing of an update lies around.
    pub fn is_clear(&self) -> bool {
        self.lies() == ["lango", "floor offer standing"]
    }

    /// A customer who comes now is served, also where one program gives way to another meanwhile.
    pub fn sells(&self) {
        self.until("payments to be possible", LONG, |site| site.lab.lango.status().is_ok_and(|status| status["payments"] == true));
        let phone = self.lab.joined_phone();
        let mut payment = None;
        self.until("a payment to be taken", LONG, |_| {
            let wanted = json!({"package": "hour", "phone": "0712345678"});
            let answer = phone.try_portal("POST", "/api/payments", Some(&wanted)).ok().filter(|answer| answer.status == 202);
            payment = answer.and_then(|answer| Some(format!("/api/payments/{}/status", answer.value()["payment"].as_str()?)));
            payment.is_some()
        });
        self.until("who has paid to be online", LONG, |_| {
            let answer = payment.as_ref().and_then(|path| phone.try_portal("GET", path, None).ok()).filter(|answer| answer.status == 200);
            answer.is_some_and(|answer| answer.value()["connected"] == true)
        });
        let mut payments = None;
        self.until("the books", LONG, |site| {
            payments = site.lab.lango.payments().ok();
            payments.is_some()
        });
        lango_lab::lab::money_is_service(&self.lab.safaricom.money(), &payments.unwrap());
    }
}
