//! Updates over the air, whole: router and relay as they are shipped, a real broker, a web server over TLS, the start script under a
//! real shell, releases signed by Debian's `signify-openbsd`. In place of procd the test starts again what has ended.

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lango_lab::Lab;
use lango_lab::authority::Authority;
use lango_lab::downloads::{Downloads, Manner};
use lango_lab::process::Program;
use lango_lab::programs;
use lango_lab::tool;
use lango_lab::wait::until_true;
use lango_lab::world::CLOUD4;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A fetch, and the half minute in which a new program has to work, on a busy machine.
const LONG: Duration = Duration::from_secs(240);
/// A trial of a minute, and what comes after it.
const LONGER: Duration = Duration::from_secs(300);
const PORT: u16 = 8443;
const BOARD: &str = "lab,box";

struct Site {
    lab: Lab,
    server: Downloads,
    folder: PathBuf,
    program: PathBuf,
    /// The program as it is shipped, without what only debuggers want.
    shipped: Vec<u8>,
}

fn signify(arguments: &[&str], folder: &Path) {
    let output = std::process::Command::new("signify-openbsd").args(arguments).current_dir(folder).output();
    let output = output.expect("signify-openbsd is installed: apt-get install signify-openbsd, or tools/setup.sh");
    assert!(output.status.success(), "signify {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

impl Site {
    /// A router whose program was started by the start script, with a release key in its config.
    fn start() -> Self {
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
        let authority = Authority::new("The releases' authority").unwrap();
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        let server = Downloads::inside(&lab.world.cloud, &authority, CLOUD4, PORT).unwrap();
        for name in ["release", "stranger"] {
            let (public, secret) = (format!("{name}.pub"), format!("{name}.sec"));
            signify(&["-G", "-n", "-p", &public, "-s", &secret, "-c", name], &folder);
        }
        let key = std::fs::read_to_string(folder.join("release.pub")).unwrap().lines().nth(1).unwrap().to_owned();
        let section = format!(
            "\nconfig update 'update'\n\tlist key '{key}'\n\toption board '{BOARD}'\n\toption ca '{}'\n\toption trial '1'\n",
            folder.join("ca.pem").display()
        );
        lab.lango.configure(|config| config.to_owned() + &section).unwrap();
        lab.lango.program.terminate().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/files/usr/libexec/lango/start").canonicalize().unwrap();
        let args = ["run", "--config", lab.lango.config.to_str().unwrap()];
        lab.lango.program = Program::new(&lab.world.router, &script, &args, &lab.world.folder.join("lango.log"));
        let path = format!("PATH={}:{}", text(&folder), std::env::var("PATH").unwrap());
        let variables = [format!("LANGO_PROGRAM={}", text(&program)), format!("LANGO_UPDATES={}", text(&updates)), path];
        lab.lango.program.under([vec!["env".to_owned()], variables.to_vec()].concat());
        lab.lango.start().unwrap();
        lab.lango.await_payments().unwrap();
        Self { lab, server, folder, program, shipped }
    }

    /// As procd does: what has ended is started again.
    fn tend(&self) {
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

    fn until(&self, what: &str, patience: Duration, mut holds: impl FnMut(&Self) -> bool) {
        until_true(what, patience, || {
            self.tend();
            holds(self)
        })
        .unwrap_or_else(|e| panic!("{e:#}\n{:?}\n{}", self.update(), self.lab.lango.program.tail(40)));
    }

    /// A new program that is another file and does the same.
    fn newer(&self) -> Vec<u8> {
        [self.shipped.as_slice(), b"\nnewer\n"].concat()
    }

    fn manifest(&self, file: &[u8], number: u64) -> String {
        std::fs::write(self.folder.join("file"), file).unwrap();
        let (number, path, url) = (number.to_string(), self.folder.join("file"), format!("https://{CLOUD4}:{PORT}/lango"));
        let path = path.to_str().unwrap();
        let words =
            ["update", "manifest", path, "--version", "9.9", "--number", &number, "--target", &target(), "--board", BOARD, "--url", &url];
        self.lab.relay.command(&words).unwrap()
    }

    /// Stand-ins for OpenWrt's `ubus`, `sysupgrade` and service, which cannot be had here: they write down what they were asked.
    /// sysupgrade goes by our own hook, which stops the service as procd does: the process that was started gets its signal, whatever
    /// it has become. An image that got in place takes with it what sysupgrade does not keep.
    fn openwrt(&self, valid: bool, takes: bool) {
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

    fn asked_of_openwrt(&self) -> String {
        std::fs::read_to_string(self.folder.join("asked")).unwrap_or_default()
    }

    /// Signs, and offers it to the router.
    fn offer_text(&self, manifest: &str, key: &str) {
        std::fs::write(self.folder.join("manifest"), manifest).unwrap();
        signify(&["-S", "-s", &format!("{key}.sec"), "-m", "manifest"], &self.folder);
        let path = self.folder.join("manifest");
        self.lab.relay.command(&["update", "offer", path.to_str().unwrap(), lango_lab::router::NAME]).unwrap();
    }

    /// A secret key that is one's, under the name that another's has: its signatures name the key that the router knows.
    fn forge(&self, name_of: &str, key_of: &str) {
        let line = |key: &str| {
            let text = std::fs::read_to_string(self.folder.join(format!("{key}.sec"))).unwrap();
            STANDARD.decode(text.lines().nth(1).unwrap()).unwrap()
        };
        // signify(1)'s struct enckey: what it is for, 2 and 2; rounds, 4; salt, 16; checksum, 8; the name, 8; the key, 64.
        let (of_name, mut forged) = (line(name_of), line(key_of));
        assert_eq!((of_name.len(), forged.len()), (104, 104));
        forged[32..40].copy_from_slice(&of_name[32..40]);
        let text = format!("untrusted comment: forged\n{}\n", STANDARD.encode(forged));
        std::fs::write(self.folder.join("forged.sec"), text).unwrap();
    }

    fn offer(&self, file: &[u8], number: u64) {
        self.offer_text(&self.manifest(file, number), "release");
    }

    /// What the relay knows of the router's update.
    fn update(&self) -> Value {
        let all: Value = serde_json::from_str(&self.lab.relay.command(&["update", "list", "--json"]).unwrap()).unwrap();
        all[0]["update"].clone()
    }

    fn stands(&self, number: u64, state: &str, reason: Option<&str>) -> bool {
        let update = self.update();
        update["number"] == number && update["state"] == state && update["reason"] == serde_json::json!(reason)
    }

    fn installed(&self) -> Vec<u8> {
        std::fs::read(&self.program).unwrap()
    }

    /// Nothing of an update lies around.
    fn is_clear(&self) -> bool {
        let names = |folder: &Path| -> Vec<String> {
            let mut names: Vec<String> =
                std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        names(self.program.parent().unwrap()) == ["lango"] && names(&self.lab.world.folder.join("update")) == ["floor", "standing"]
    }

    /// A customer who comes now is served.
    fn sells(&self) {
        self.until("payments to be possible", LONG, |site| site.lab.lango.status().is_ok_and(|status| status["payments"] == true));
        let phone = self.lab.joined_phone();
        phone.await_paid(&phone.pay("hour", "0712345678"));
        self.lab.money_is_service();
    }
}

#[test]
fn a_new_program_takes_over_without_a_packet_lost() {
    let site = Site::start();
    let phone = site.lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    let mut probes = [phone.probe(false), phone.probe(true)];
    let newer = site.newer();
    // The line breaks twice on the way.
    site.server.serve(&newer, Manner::CutsAfter(newer.len() / 3 + 1));
    site.offer(&newer, 7);
    site.until("the new program to be confirmed", LONG, |site| site.stands(7, "confirmed", None));
    assert_eq!(site.server.asked().len(), 3, "{:?}", site.server.asked());
    assert!(site.installed() == newer, "another program is there");
    site.until("nothing to lie around", LONG, Site::is_clear);
    let pid = site.lab.lango.program.pid().unwrap();
    let runs = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert_eq!(runs, site.program, "the new program runs, in the old one's process");
    for probe in &mut probes {
        probe.stop();
        let sent = probe.sent().len() as u64;
        let arrived = || site.lab.internet().arrivals(probe.id).len() as u64;
        until_true("every datagram", Duration::from_secs(20), || arrived() == sent)
            .unwrap_or_else(|e| panic!("{e:#}: {} of {sent}", arrived()));
    }
    assert!(phone.session().is_some(), "its session goes on");
    let status = site.lab.lango.status().unwrap();
    assert_eq!((&status["update"]["number"], &status["update"]["state"]), (&7.into(), &"confirmed".into()), "{status}");
    site.sells();

    // What comes after it must be newer; told with the reason, and nothing is fetched.
    site.server.serve(&newer, Manner::Honest);
    let other = [newer.as_slice(), b"other"].concat();
    let good = site.manifest(&other, 8);
    for (what, manifest, key, reason) in [
        ("an older one", site.manifest(&other, 6), "release", "not_newer"),
        ("another one of the same number", site.manifest(&other, 7), "release", "not_newer"),
        ("one that a stranger signed", good.replace("number 8", "number 9"), "stranger", "unknown_key"),
        ("one that is too late", good.clone() + "until 2026-01-01T00:00:00Z\n", "release", "expired"),
        ("an image", good.replace("program", "image").replace(&format!("target {}\n", target()), ""), "release", "images_off"),
    ] {
        site.offer_text(&manifest, key);
        let refused = || (site.update()["state"] == "refused").then(|| site.update()["reason"].clone());
        until_true(what, LONG, || refused() == Some(reason.into())).with_context(|| format!("{what}: {}", site.update())).unwrap();
    }
    // What is for others is told, and is no news of this router.
    let last = site.update();
    for manifest in [good.replace(BOARD, "other,board"), good.replace(&target(), "mips-unknown-linux-musl")] {
        site.offer_text(&manifest, "release");
        until_true("the last word of it", LONG, || site.update() == last).unwrap();
    }
    // Under the name of the right key, by another one.
    site.forge("release", "stranger");
    site.offer_text(&good, "forged");
    let refused = || site.update()["state"] == "refused" && site.update()["reason"] == "forged";
    until_true("what is forged to be refused", LONG, refused).with_context(|| site.update().to_string()).unwrap();
    assert!(site.server.asked().is_empty(), "something was fetched");
    assert!(site.installed() == newer);
}

#[test]
fn what_is_not_the_file_that_was_signed_never_runs_and_may_come_again() {
    let site = Site::start();
    let newer = site.newer();
    let ran = site.installed();
    for (manner, reason) in [
        (Manner::Changes, "wrong_hash"),
        (Manner::Says(-1), "wrong_size"),
        (Manner::Says(1), "wrong_size"),
        (Manner::Status(404), "unreachable"),
    ] {
        site.server.serve(&newer, manner.clone());
        site.offer(&newer, 7);
        site.until(&format!("{manner:?} to be told"), LONG, |site| site.stands(7, "failed", Some(reason)));
        assert!(site.installed() == ran && !site.program.with_extension("new").exists(), "{manner:?}");
        site.sells();
    }
    // Under the name of the right key: nobody but its owner can sign with it.
    site.server.serve(&newer, Manner::Honest);
    site.offer(&newer, 7);
    site.until("the same release to be taken at last", LONG, |site| site.stands(7, "confirmed", None));
    assert!(site.installed() == newer);
    site.sells();
}

#[test]
fn a_program_that_ends_at_once_is_put_back() {
    let site = Site::start();
    let phone = site.lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    for (number, broken) in [(7, &b"#!/bin/sh\nexit 1\n"[..]), (8, &b"\x7fELF is not enough"[..])] {
        site.server.serve(broken, Manner::Honest);
        site.offer(broken, number);
        site.until("the old program to be back", LONG, |site| site.stands(number, "rolled_back", Some("crashed")));
        assert!(site.installed() == site.shipped, "another program is there");
        site.until("nothing to lie around", LONG, Site::is_clear);
        assert!(phone.session().is_some(), "its session goes on");
        site.sells();
    }
    // What was put back is not tried again.
    site.offer(b"\x7fELF is not enough", 8);
    site.until("it to be told again", LONG, |site| site.stands(8, "rolled_back", Some("crashed")));
}

#[test]
fn a_program_that_does_not_reach_the_relay_is_put_back() {
    let site = Site::start();
    let newer = site.newer();
    site.server.serve(&newer, Manner::Honest);
    site.offer(&newer, 7);
    until_true("the new program to be on trial", LONG, || {
        site.tend();
        site.installed() == newer
    })
    .unwrap();
    site.lab.broker.program.signal(Signal::SIGSTOP).unwrap();
    site.until("the old program to be back", LONGER, |site| site.installed() == site.shipped && site.lab.lango.status().is_ok());
    site.lab.broker.program.signal(Signal::SIGCONT).unwrap();
    site.until("the relay to hear of it", LONG, |site| site.stands(7, "rolled_back", Some("not_healthy")));
    site.sells();
}

#[test]
fn it_is_killed_again_and_again_and_one_of_the_two_runs_in_the_end() {
    let site = Site::start();
    let phone = site.lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    for (round, number) in (7..10).enumerate() {
        let newer = [site.shipped.as_slice(), number.to_string().as_bytes()].concat();
        let before = site.installed();
        site.server.serve(&newer, Manner::Honest);
        site.offer(&newer, number);
        // Twice, at moments that move through the offer, the fetch, the change and the trial.
        for blow in 0..2_u64 {
            let begun = Instant::now();
            let moment = Duration::from_millis(150 + 900 * blow + 1_100 * round as u64);
            until_true("the moment", LONG, || begun.elapsed() >= moment).unwrap();
            site.lab.lango.program.kill9();
            assert!(site.program.exists(), "no program is there");
            site.tend();
        }
        site.until("an end", LONGER, |site| site.stands(number, "confirmed", None) || site.stands(number, "rolled_back", Some("crashed")));
        let runs = site.installed();
        assert!(if site.update()["state"] == "confirmed" { runs == newer } else { runs == before }, "neither of the two");
        assert!(phone.session().is_some(), "its session goes on");
    }
    site.until("nothing to lie around", LONG, Site::is_clear);
    site.sells();
}

#[test]
fn an_image_is_handed_to_sysupgrade_when_nobody_is_online() {
    const ASKED: &str = "ubus call system validate_firmware_image {\"path\":\"/tmp/lango-update/image\"}\n";
    let site = Site::start();
    site.lab.lango.configure(|config| config.replace("option trial", "option images '1'\n\toption trial")).unwrap();
    site.lab.lango.program.signal(Signal::SIGHUP).unwrap();
    let phone = site.lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    let image = vec![7; 1_000_000];
    let manifest = |number: u64| {
        let program = site.manifest(&image, number);
        program.replace("kind program", "kind image").replace(&format!("target {}\n", target()), "")
    };
    site.server.serve(&image, Manner::Honest);

    site.openwrt(false, true);
    site.offer_text(&manifest(7), "release");
    site.until("an image of another board to be refused", LONG, |site| site.stands(7, "failed", Some("sysupgrade_refused")));
    assert_eq!(site.asked_of_openwrt(), ASKED);

    // The customer is online: it waits. It may be offered again, for it never ran.
    site.openwrt(true, false);
    site.offer_text(&manifest(7), "release");
    site.until("the image to be here and checked", LONG, |site| site.asked_of_openwrt() == ASKED);
    let waits = Instant::now();
    site.until("it to wait", LONG, |_| waits.elapsed() > Duration::from_secs(25));
    assert_eq!(site.asked_of_openwrt(), ASKED);
    phone.post("/api/hotspot/logout", &serde_json::json!({}));
    site.until("what sysupgrade does not take to be told", LONG, |site| site.stands(7, "failed", Some("sysupgrade_refused")));
    assert_eq!(site.asked_of_openwrt(), format!("{ASKED}sysupgrade /tmp/lango-update/image\npacked\n"));
    site.until("nothing to lie around", LONG, Site::is_clear);
    site.sells();

    site.openwrt(true, true);
    // Who bought just now is online.
    for session in site.lab.lango.sessions().unwrap().as_array().unwrap() {
        site.lab.lango.command(&["kick", session["mac"].as_str().unwrap()]).unwrap();
    }
    site.offer_text(&manifest(8), "release");
    site.until("the image to be confirmed", LONG, |site| site.stands(8, "confirmed", None));
    assert_eq!(site.asked_of_openwrt(), format!("{ASKED}sysupgrade /tmp/lango-update/image\npacked\n"));
    site.sells();
}
