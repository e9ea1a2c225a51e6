//! Router models: one file each in `board`, and what of Lango's limits follows from it.

use anyhow::Context as _;
use lango_core::update::{Kind, needed};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A router model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// The file's name without `.toml`; how it is called for.
    #[serde(skip)]
    pub id: String,
    /// Maker and model, for people.
    pub name: String,
    /// What `/tmp/sysinfo/board_name` says on it: by this an update knows that it is meant.
    pub board_name: String,
    /// What rustc calls its processor.
    pub rust_target: String,
    /// What OpenWrt calls it.
    pub openwrt: OpenWrt,
    /// Its network interfaces.
    pub interfaces: Interfaces,
    /// Its memory.
    pub memory: Memory,
    /// Its flash.
    pub flash: Flash,
}

/// What OpenWrt calls it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenWrt {
    /// Target and subtarget, as `mediatek/filogic`.
    pub target: String,
    /// The ImageBuilder's profile.
    pub profile: String,
    /// The package architecture, as `aarch64_cortex-a53`.
    pub architecture: String,
    /// Packages that an image of it has besides.
    #[serde(default)]
    pub packages: Vec<String>,
}

/// Its network interfaces, as the kernel names them in OpenWrt's default configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interfaces {
    /// Ports to customers, in the bridge `br-lan` from the first boot on.
    pub lan: Vec<String>,
    /// Ports to the internet; several are in a bridge. None: a network adapter has to be added.
    pub wan: Vec<String>,
    /// Where there is none: what the adapter is called that is added.
    pub added_wan: Option<String>,
}

/// Its memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Megabytes of RAM; of models with several, the least.
    pub ram_mb: u32,
}

/// What kind of flash it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlashKind {
    /// NOR: small, written through jffs2.
    Nor,
    /// NAND: written through UBI.
    Nand,
    /// Soldered, with a controller of its own.
    Emmc,
    /// A memory card.
    Card,
    /// An emulated disk.
    Disk,
}

/// Its flash.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flash {
    /// What kind it is.
    pub kind: FlashKind,
    /// Megabytes in all; of cards, the least that one should have.
    pub size_mb: u32,
    /// Megabytes that OpenWrt's image with its drivers, the boot loader and its data leave.
    pub free_mb: u32,
    /// Kilobytes (1,000 bytes) that are the program's of that: what the store and the file system's own leave. In an image; on NOR also as an
    /// installed package; and, where it is updated by itself, while it is.
    pub program_kb: u32,
    /// Kilobytes (1,000 bytes) that the store may take of that.
    pub store_kb: u32,
    /// What of it is updated over the air.
    pub updates: Updates,
}

/// What is updated over the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Updates {
    /// The program by itself, and images where the operator allows them.
    Program,
    /// Images alone: the flash has no room for two programs.
    Image,
}

/// What jffs2 keeps of a NOR flash for itself, in kilobytes: four blocks of 64 KiB, rounded up. It needs them to clear others, and says so
/// of no byte before: `f_bavail` is without them.
const JFFS2_KB: u32 = 300;

/// A program as it is built and packed, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The program itself.
    pub bytes: u32,
    /// What an image makes of it.
    pub image: u32,
    /// What a package makes of it.
    pub package: u32,
}

impl Sizes {
    /// What jffs2 makes of the program, in bytes: it compresses 4 KiB at a time, which gives an eighth more than gzip makes of the whole.
    #[must_use]
    pub const fn on_jffs2(self) -> u32 {
        self.package + self.package / 8
    }
}

impl Flash {
    /// What the program takes of [`Flash::program_kb`] at most, in bytes, with what it is that takes so much. An update of the program is
    /// reckoned as the router itself does before it fetches one ([`lango_core::update::needed`]).
    #[must_use]
    pub fn takes(&self, sizes: Sizes) -> (u64, &'static str) {
        let mut most = (u64::from(sizes.image), "in an image");
        if self.kind == FlashKind::Nor {
            most = most.max((sizes.on_jffs2().into(), "as an installed package"));
        }
        if self.updates == Updates::Program {
            let trial = u64::from(sizes.image) + needed(Kind::Program, sizes.bytes.into(), sizes.bytes.into());
            most = most.max((trial, "while a new one is on trial"));
        }
        most
    }

    /// The same while a new program is on trial, in bytes, whatever is updated here: with all that compression spares, as nobody can know it
    /// beforehand, and with nothing to spare. Where this is more than [`Flash::program_kb`], no caution less would help.
    #[must_use]
    pub fn takes_on_trial_at_least(&self, sizes: Sizes) -> u64 {
        u64::from(sizes.image) + 2 * u64::from(sizes.on_jffs2().min(sizes.bytes))
    }

    /// What `program_kb` must be.
    const fn left_for_the_program(&self) -> Option<u32> {
        let own = if matches!(self.kind, FlashKind::Nor) { JFFS2_KB } else { 0 };
        (self.free_mb * 1000).checked_sub(self.store_kb + own)
    }
}

/// What follows for Lango.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections that the kernel may track (`nf_conntrack_max`).
    pub connections: u32,
    /// Accounts online at once, each with a speed both ways.
    pub accounts: u32,
}

/// OpenWrt itself with Wi-Fi, in megabytes: it runs in 64 MB, with nothing to spare.
const SYSTEM_MB: u32 = 64;
/// What a tracked connection takes, in bytes: 20,000 took 8 MB (docs/kernels.md).
const CONNECTION: u32 = 400;
/// The program with nobody online, in megabytes, rounded up: docs/bench.md.
const PROGRAM_MB: u32 = 6;
/// What an account online with a speed both ways takes, in bytes: 11 KB a class on each of two interfaces (docs/gate.md), 3.5 KB in the
/// program (docs/bench.md), the rest for its elements in the kernel's sets.
const ACCOUNT: u32 = 28_000;
/// The kernel has so many classes below one root.
const MOST_ACCOUNTS: u32 = 32_767;

impl Board {
    /// Reads a board's text.
    ///
    /// # Errors
    /// Where it is no such file, a key is unknown or missing, or its values do not go together; each with what would be right.
    pub fn parse(id: &str, text: &str) -> anyhow::Result<Self> {
        let mut board: Self = toml::from_str(text)?;
        board.id = id.to_owned();
        board.check()?;
        Ok(board)
    }

    /// Reads all boards of a folder, in the order of their names.
    ///
    /// # Errors
    /// When a file cannot be read or is wrong, when two boards have the same name, or when there is none.
    pub fn read_all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let told = || format!("{} cannot be read", folder.display());
        let mut paths = fs::read_dir(folder)
            .with_context(told)?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()
            .with_context(told)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        anyhow::ensure!(!paths.is_empty(), "{} has no board", folder.display());
        let mut names = BTreeSet::new();
        paths
            .iter()
            .map(|path| {
                let id = path.file_stem().unwrap_or_default().to_string_lossy();
                let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
                let board = Self::parse(&id, &text).with_context(|| path.display().to_string())?;
                anyhow::ensure!(
                    names.insert((board.board_name.clone(), board.rust_target.clone())),
                    "{}: another board is {}, too",
                    path.display(),
                    board.board_name
                );
                Ok(board)
            })
            .collect()
    }

    fn check(&self) -> anyhow::Result<()> {
        let OpenWrt { target, architecture, .. } = &self.openwrt;
        let known = architecture_of(target)
            .with_context(|| format!("target {target} is unknown: add it to images/src/board.rs with its package architecture"))?;
        anyhow::ensure!(architecture == known, "packages of target {target} are for {known}, not {architecture}");
        let built = rust_target_of(architecture).with_context(|| format!("for {architecture} there is no program"))?;
        anyhow::ensure!(self.rust_target == built, "programs for {architecture} are built as {built}, not {}", self.rust_target);

        let Interfaces { lan, wan, added_wan } = &self.interfaces;
        anyhow::ensure!(!lan.is_empty(), "there is no lan interface");
        anyhow::ensure!(wan.is_empty() == added_wan.is_some(), "either `wan` names ports, or `added_wan` the adapter that is added");
        let all: Vec<&String> = lan.iter().chain(wan).chain(added_wan).collect();
        for name in &all {
            let fine = (1..=15).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
            anyhow::ensure!(fine, "{name:?} is no interface's name");
        }
        anyhow::ensure!(all.iter().collect::<BTreeSet<_>>().len() == all.len(), "an interface is named twice");

        let Flash { size_mb, free_mb, program_kb, .. } = self.flash;
        anyhow::ensure!(free_mb < size_mb, "{free_mb} MB cannot be free of {size_mb} MB");
        let left =
            self.flash.left_for_the_program().with_context(|| format!("the store takes more than the {free_mb} MB that are free"))?;
        anyhow::ensure!(
            program_kb == left,
            "program_kb is {left}: what store_kb and the file system's own leave of {free_mb} MB, not {program_kb}"
        );
        anyhow::ensure!(self.limits().accounts >= 100, "{} MB of RAM are too little for a hundred customers", self.memory.ram_mb);
        Ok(())
    }

    /// What follows for Lango from its memory.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let ram = self.memory.ram_mb;
        // 256 a megabyte, as a power of two: the kernel's own table is one. A tenth of the memory, when it is full.
        let connections = 1 << (ram * 256).clamp(1 << 14, 1 << 18).ilog2();
        let taken = SYSTEM_MB + PROGRAM_MB + (connections * CONNECTION) / 1_000_000;
        // Half of what is left: the other half is for queues, Wi-Fi's buffers and what nobody thought of.
        let accounts = (u64::from(ram.saturating_sub(taken)) * 1_000_000 / 2 / u64::from(ACCOUNT)).min(MOST_ACCOUNTS.into()) as u32;
        Limits { connections, accounts }
    }
}

/// The boards as a table, for people and for board/README.md.
#[must_use]
pub fn table(boards: &[Board]) -> String {
    let mut text = String::from(
        "| file | model | target; package architecture | RAM | flash | accounts online | connections | program | store | updates |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for board in boards {
        let Limits { connections, accounts } = board.limits();
        let (openwrt, flash) = (&board.openwrt, &board.flash);
        let kind = match flash.kind {
            FlashKind::Nor => "NOR",
            FlashKind::Nand => "NAND",
            FlashKind::Emmc => "eMMC",
            FlashKind::Card => "card",
            FlashKind::Disk => "disk",
        };
        let updates = match flash.updates {
            Updates::Program => "program, image",
            Updates::Image => "image",
        };
        text += &format!(
            "| [`{id}`]({id}.toml) | {} | {}; {} | {} MB | {} MB {kind} | {accounts} | {connections} | {} KB | {} KB | {updates} |\n",
            board.name,
            openwrt.target,
            openwrt.architecture,
            board.memory.ram_mb,
            flash.size_mb,
            flash.program_kb,
            flash.store_kb,
            id = board.id,
        );
    }
    text
}

/// The package architecture of an OpenWrt target (its `CPU_TYPE` and `ARCH`).
fn architecture_of(target: &str) -> Option<&'static str> {
    Some(match target {
        "mediatek/filogic" => "aarch64_cortex-a53",
        "ipq40xx/generic" | "ipq40xx/mikrotik" => "arm_cortex-a7_neon-vfpv4",
        "rockchip/armv8" | "armsr/armv8" => "aarch64_generic",
        "bcm27xx/bcm2711" => "aarch64_cortex-a72",
        "armsr/armv7" => "arm_cortex-a15_neon-vfpv4",
        "x86/64" => "x86_64",
        _ => return None,
    })
}

/// What the program for a package architecture is built as.
fn rust_target_of(architecture: &str) -> Option<&'static str> {
    if architecture == "x86_64" {
        return Some("x86_64-unknown-linux-musl");
    }
    match architecture.split_once('_')? {
        ("aarch64", _) => Some("aarch64-unknown-linux-musl"),
        // The program uses VFPv3 with 16 registers, which every processor with any VFPv3 or newer has.
        ("arm", processor) if processor.starts_with("cortex-a") && processor.contains("vfpv") => Some("armv7-unknown-linux-musleabihf"),
        _ => None,
    }
}
