//! What the package is: its name, what it needs, its scripts and its files, for one package architecture.

use crate::tree::Tree;
use anyhow::Context as _;
use std::path::Path;

/// The package's name.
pub const NAME: &str = "lango";

/// Where the program lies.
pub const PROGRAM: &str = "usr/sbin/lango";

/// What the gate needs of OpenWrt. The program itself is static and needs no library.
const DEPENDS: [&str; 7] = [
    "ca-bundle",                 // the relay's broker is asked for its certificate
    "kmod-nf-conntrack-netlink", // connections of who is not online any more go (docs/gate.md)
    "kmod-nfnetlink-log",        // new addresses of paid devices are learnt with their first packet
    "kmod-nft-core",             // sets, maps, quotas, counters, limits, the packet log
    "kmod-nft-nat",              // captive devices' port 80 is redirected
    "kmod-sched-core",           // HTB: packages with a speed
    "nftables",                  // `nft`, with JSON (fw4's) or without: the start script closes the gate by it
];

/// Files that are no plain 0644.
const MODES: [(&str, u32); 5] = [
    // Passwords and keys are in it.
    ("etc/config/lango", 0o600),
    ("etc/init.d/lango", 0o755),
    ("etc/init.d/lango-late", 0o755),
    ("etc/uci-defaults/90-lango", 0o755),
    // procd starts it as a program.
    ("usr/libexec/lango/start", 0o755),
];

/// What runs on the router when the package comes and goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripts {
    /// When its files are there; also after an upgrade, with `PKG_UPGRADE=1`.
    pub after_install: String,
    /// Before its files go; also before an upgrade, where opkg does that.
    pub before_removal: String,
    /// When its files are gone.
    pub after_removal: String,
}

/// A package for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, in the form that both opkg and apk take: `0.1.0-r1`.
    pub version: String,
    /// OpenWrt's name of the package architecture, as `aarch64_cortex-a53`.
    pub architecture: String,
    /// Packages that it needs.
    pub depends: Vec<String>,
    /// One line, or more.
    pub description: String,
    /// SPDX.
    pub license: String,
    /// Who answers for it.
    pub maintainer: String,
    /// Where it comes from.
    pub url: String,
    /// Files that are the operator's to change: an upgrade keeps them.
    pub conffiles: Vec<String>,
    /// What runs when it comes and goes.
    pub scripts: Scripts,
    /// What is in it.
    pub files: Tree,
}

impl Package {
    /// Puts the package together from the repository's `images` folder and a program.
    ///
    /// # Errors
    /// When a file cannot be read, or the version is none that OpenWrt takes.
    pub fn read(images: &Path, architecture: &str, release: u32, program: Vec<u8>) -> anyhow::Result<Self> {
        let script = |name: &str| {
            let path = images.join("scripts").join(name);
            std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
        };
        let mut files = Tree::read(&images.join("files"), &MODES)?;
        files.add(PROGRAM, 0o755, program);
        Ok(Self {
            name: NAME.to_owned(),
            version: version(env!("CARGO_PKG_VERSION"), release)?,
            architecture: architecture.to_owned(),
            depends: DEPENDS.map(str::to_owned).to_vec(),
            description: "Prepaid Wi-Fi: captive portal, M-Pesa payments over a relay, vouchers,\nand a gate in the kernel that ends what was paid for.".to_owned(),
            license: "MIT OR Apache-2.0".to_owned(),
            maintainer: "The Lango authors".to_owned(),
            url: "lango".to_owned(),
            conffiles: vec!["etc/config/lango".to_owned()],
            scripts: Scripts {
                after_install: script("postinst")?,
                before_removal: script("prerm")?,
                after_removal: script("postrm")?,
            },
            files,
        })
    }
}

/// A version of ours as OpenWrt writes it: apk refuses `1.2.3-rc1` and takes `1.2.3_rc1`, and both want a release behind.
///
/// # Errors
/// When there is no way to write it.
pub fn version(ours: &str, release: u32) -> anyhow::Result<String> {
    let (numbers, before) = ours.split_once('-').map_or((ours, None), |(numbers, before)| (numbers, Some(before)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    anyhow::ensure!(numbers.split('.').count() == 3 && numbers.split('.').all(digits), "the version {ours} is not MAJOR.MINOR.PATCH");
    let Some(before) = before else { return Ok(format!("{numbers}-r{release}")) };
    let (kind, number) = before.split_once('.').unwrap_or((before, ""));
    anyhow::ensure!(
        ["alpha", "beta", "rc"].contains(&kind) && (number.is_empty() || digits(number)),
        "the version {ours} cannot be written as OpenWrt's: only -alpha, -beta and -rc, with .NUMBER behind, can stand behind the numbers"
    );
    Ok(format!("{numbers}_{kind}{number}-r{release}"))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_written_as_both_formats_take_them() {
        for (ours, theirs) in [("0.1.0", "0.1.0-r1"), ("1.20.3-rc.2", "1.20.3_rc2-r1"), ("2.0.0-beta", "2.0.0_beta-r1")] {
            assert_eq!(version(ours, 1).unwrap(), theirs);
        }
        for refused in ["1.0", "1.0.x", "v1.0.0", "1.0.0-nightly", "1.0.0-rc.x", "1.0.0+build"] {
            assert!(version(refused, 1).is_err(), "{refused}");
        }
    }
}
