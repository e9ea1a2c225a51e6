//! A router's root folder with the package in it, in which its scripts run under a real shell with the real `uci`. What there is only on a
//! router (procd, ubus, dnsmasq, the program itself) is a recorder that writes to `/calls`.
#![allow(dead_code, reason = "each of the tests uses some of it")]

use crate::common::{package, repository, run, text};
use lango_images::board::Board;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// OpenWrt's own shell, and a stricter one.
pub const SHELLS: [&str; 2] = ["busybox", "dash"];

const LANGO: &str = "#!/bin/sh\necho \"lango $*\" >>/calls\ncase $1 in\ngarden) cat /garden ;;\nflush) [ ! -e /mistakes ] ;;\nesac\n";

/// Recorders, by their paths.
const STUBS: [(&str, &str); 10] = [
    ("etc/init.d/dnsmasq", "#!/bin/sh\necho \"dnsmasq $*\" >>/calls\n"),
    ("stubs/dnsmasq", "#!/bin/sh\ncat /dnsmasq-version\n"),
    ("sbin/wifi", "#!/bin/sh\necho \"wifi $*\" >>/calls\n"),
    ("stubs/jsonfilter", "#!/bin/sh\ncat\n"),
    ("stubs/logger", "#!/bin/sh\necho \"logger $*\" >>/calls\n"),
    // No table is there.
    ("stubs/nft", "#!/bin/sh\n[ \"$1\" = list ] || echo \"nft $*\" >>/calls\n"),
    ("stubs/pidof", "#!/bin/sh\n[ -e \"/running/$1\" ]\n"),
    ("stubs/sleep", "#!/bin/sh\necho \"sleep $*\" >>/calls\nrm -f /running/lango\n"),
    // Status of an interface: what the test put there; a call of anything else is written down.
    (
        "stubs/ubus",
        "#!/bin/sh\ncase \"$*\" in\n*network.interface.*) cat \"/netifd/$3\" 2>/dev/null ;;\n*) echo \"ubus $*\" >>/calls ;;\nesac\n",
    ),
    ("etc/rc.d/README", ""),
];

/// The root folder.
pub struct Router {
    root: TempDir,
    /// The network namespace that its shell runs in; the machine's own for what touches no network.
    network: Option<String>,
}

impl Router {
    /// A router of this model as it is after its first start, before anybody's first-boot scripts ran.
    pub fn new(shell: &str, board: &Board) -> Self {
        assert_eq!(run("id", &["-u"]).trim(), "0", "these tests change their root folder: run them as root (make test does)");
        let router = Self { root: tempfile::tempdir().unwrap(), network: None };
        let files = package(LANGO.as_bytes()).files;
        files.write(&router.path("")).unwrap();
        // As opkg writes it down.
        router.put("usr/lib/opkg/info/lango.list", &files.files().map(|(path, _)| format!("/{path}\n")).collect::<String>());
        router.install_programs(shell);
        for (path, content) in STUBS {
            router.program(path, content);
        }
        // Debian's busybox runs its own applets before it looks anywhere else.
        router.put("stubs.sh", "pidof() { /stubs/pidof \"$@\"; }\nsleep() { /stubs/sleep \"$@\"; }\nlogger() { /stubs/logger \"$@\"; }\n");
        for folder in ["dev", "tmp/.uci", "proc", "running", "netifd", "sys/class/net/eth0"] {
            fs::create_dir_all(router.path(folder)).unwrap();
        }
        run("mknod", &[text(&router.path("dev/null")), "c", "1", "3"]);
        let openwrt = repository().join("images/tests/openwrt");
        for (from, to) in [("rc.common", "etc/rc.common"), ("functions.sh", "lib/functions.sh")] {
            router.program(to, &format!("#!/bin/sh\n. /stubs.sh\n{}", fs::read_to_string(openwrt.join(from)).unwrap()));
        }
        // As in an image, and as the package's own script leaves it.
        for link in ["S18lango", "K10lango", "S96lango-late"] {
            symlink(format!("../init.d/{}", &link[3..]), router.path("etc/rc.d").join(link)).unwrap();
        }
        for name in ["dhcp", "firewall", "system", "wireless"] {
            fs::copy(openwrt.join(name), router.path("etc/config").join(name)).unwrap();
        }
        router.put("etc/config/network", &network(board));
        router.put(
            "etc/config/dropbear",
            "\nconfig dropbear\n\toption PasswordAuth 'on'\n\toption RootPasswordAuth 'on'\n\toption Port '22'\n\n",
        );
        router.put("sys/class/net/eth0/address", "94:83:c4:a1:b2:c3\n");
        router.put("proc/mounts", "overlayfs:/overlay / overlay rw,noatime,lowerdir=/,upperdir=/overlay/upper,workdir=/overlay/work 0 0\n");
        router.put("garden", "nftset=/example.com/4#inet#lango#garden4,6#inet#lango#garden6\n");
        router.put("dnsmasq-version", "Dnsmasq version 2.90\nCompile time options: IPv6 no-DBus nftset no-auth\n");
        router
    }

    /// From now on its shell runs in this network namespace, with the real `nft`.
    pub fn connect(&mut self, namespace: &str) {
        self.copy_with_libraries(&which("nft"), "usr/sbin/nft");
        fs::remove_file(self.path("stubs/nft")).unwrap();
        self.network = Some(namespace.to_owned());
    }

    fn install_programs(&self, shell: &str) {
        for (name, to) in [("busybox", "bin/busybox"), ("dash", "bin/dash")] {
            self.copy_with_libraries(&which(name), to);
        }
        let uci = std::env::var_os("LANGO_UCI")
            .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/lango/tools/bin/uci"), PathBuf::from);
        assert!(uci.is_file(), "{} is not there: tools/setup.sh packages", uci.display());
        self.copy_with_libraries(&uci, "sbin/uci");
        symlink(shell, self.path("bin/sh")).unwrap();
        for applet in run("busybox", &["--list"]).lines().filter(|applet| !["sh", "busybox"].contains(applet)) {
            let _there_already = symlink("busybox", self.path("bin").join(applet));
        }
    }

    fn copy_with_libraries(&self, program: &Path, to: &str) {
        self.make_folder_of(to);
        fs::copy(program, self.path(to)).unwrap();
        // It says "not a dynamic executable" of a static one, and fails.
        let output = Command::new("ldd").arg(program).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        for library in said.split_whitespace().filter(|word| word.starts_with('/')) {
            self.make_folder_of(&library[1..]);
            fs::copy(library, self.path(&library[1..])).unwrap();
        }
    }

    /// A path in it.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.path().join("root").join(path)
    }

    fn make_folder_of(&self, path: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
    }

    /// Writes a file.
    pub fn put(&self, path: &str, content: &str) {
        self.make_folder_of(path);
        fs::write(self.path(path), content).unwrap();
    }

    /// The same of a program.
    pub fn program(&self, path: &str, content: &str) {
        self.put(path, content);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Reads a file.
    pub fn get(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Runs a line in its shell; it must end well. Gives what it said.
    pub fn sh(&self, line: &str) -> String {
        let mut command = Command::new(if self.network.is_some() { "ip" } else { "chroot" });
        if let Some(network) = &self.network {
            command.args(["netns", "exec", network, "chroot"]);
        }
        let output = command
            .arg(self.path(""))
            .args(["/bin/sh", "-c", &format!(". /stubs.sh; {line}")])
            .env_clear()
            .env("PATH", "/stubs:/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{line}: {}\n{said}", output.status);
        said
    }

    /// What was called since this was asked the last time, a line each.
    pub fn calls(&self) -> Vec<String> {
        let path = self.path("calls");
        let calls = fs::read_to_string(&path).unwrap_or_default();
        let _not_there = fs::remove_file(path);
        calls.lines().map(str::to_owned).collect()
    }

    /// Whether this was called; asking leaves it.
    pub fn calls_contain(&self, call: &str) -> bool {
        fs::read_to_string(self.path("calls")).unwrap_or_default().lines().any(|line| line == call)
    }

    /// An option, by the real parser; nothing where there is none.
    pub fn uci(&self, option: &str) -> String {
        self.sh(&format!("uci -q get '{option}' || true")).trim_end().to_owned()
    }

    /// All of its configuration, to be compared.
    pub fn configuration(&self) -> Vec<(String, String)> {
        let mut names: Vec<_> =
            fs::read_dir(self.path("etc/config")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.into_iter().map(|name| (name.clone(), self.get(&format!("etc/config/{name}")))).collect()
    }
}

fn which(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not there: tools/setup.sh packages"))
}

/// `/etc/config/network`, as OpenWrt's config_generate writes it for a board with DSA.
fn network(board: &Board) -> String {
    let bridge = |name: &str, ports: &[String]| {
        let ports: String = ports.iter().map(|port| format!("\tlist ports '{port}'\n")).collect();
        format!("config device\n\toption name '{name}'\n\toption type 'bridge'\n{ports}\n")
    };
    let (lan, wan) = (&board.interfaces.lan, &board.interfaces.wan);
    let mut text = format!(
        "\nconfig interface 'loopback'\n\toption device 'lo'\n\toption proto 'static'\n\toption ipaddr '127.0.0.1'\n\toption netmask '255.0.0.0'\n\n\
         config globals 'globals'\n\toption ula_prefix 'fd12:3456:789a::/48'\n\n{}\
         config interface 'lan'\n\toption device 'br-lan'\n\toption proto 'static'\n\toption ipaddr '192.168.1.1'\n\toption netmask '255.255.255.0'\n\
         \toption ip6assign '60'\n\n",
        bridge("br-lan", lan)
    );
    if wan.len() > 1 {
        text += &bridge("br-wan", wan);
    }
    if let Some(first) = wan.first() {
        let device = if wan.len() > 1 { "br-wan" } else { first };
        text += &format!(
            "config interface 'wan'\n\toption device '{device}'\n\toption proto 'dhcp'\n\nconfig interface 'wan6'\n\toption device '{device}'\n\toption proto 'dhcpv6'\n\n"
        );
    }
    text
}
