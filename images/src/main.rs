//! `lango-images`: boards, packages, feeds, and images for routers. `make packages` and `make image` call it.

use anyhow::Context as _;
use lango_images::board::{self, Board};
use lango_images::feed::{self, Files};
use lango_images::keys::Keys;
use lango_images::package::Package;
use lango_images::provision::{self, Provision};
use lango_images::recipe;
use lexopt::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const HELP: &str = "\
lango-images: what goes onto routers. To be run in the repository's folder.

lango-images boards                       the boards, and what follows from their memory and flash
lango-images targets                      rustc's names of all processors that a board has
lango-images keys FOLDER                  new keys for feeds; whoever has the secret halves can put any program onto the routers
lango-images packages [ARCHITECTURE…]     a signed feed for each package architecture, into out/packages
    --built           only for those whose program is there; the others are named
lango-images tree ARCHITECTURE FOLDER     the package's files, as they lie on a router
lango-images image BOARD IMAGEBUILDER     has OpenWrt's ImageBuilder make an image, into out/images/BOARD
    --router FILE     what `lango-relay router add NAME` printed: name, password and keys of this router
    --ca FILE         the certificates that vouch for the relay's broker (PEM), where the system's do not
    --release-key F   the public half of the key that releases are signed with (docs/updates.md): without it no update comes over the air
    --name NAME       the router's name, where there is no relay
    --ssh-keys FILE   public SSH keys that may look after the router, and with them:
    --manage-from A   from where: an address or ADDRESS/PREFIX on the way out. SSH takes these keys alone then, and no password
    --no-way-in       in place of the two: who looks after it comes another way (a VPN, a port of its own)
    --country CODE    where the radios are, for what they may send (KE)
    --feed ADDRESS    where updates come from: the folder with the architectures' feeds
Everywhere:
    --keys FOLDER     the feed's keys (out/keys; made there, and nowhere else, if there are none)
    --programs FOLDER programs, as TARGET/lango (out/router)
    --out FOLDER      where it goes
    --release N       the package's release (1)
SOURCE_DATE_EPOCH: when all in the packages was changed, in seconds since 1970; the same bytes come of the same time.
";

#[derive(Default)]
struct Arguments {
    words: Vec<String>,
    options: BTreeMap<String, String>,
}

const OPTIONS: [&str; 12] =
    ["router", "ca", "release-key", "name", "ssh-keys", "manage-from", "country", "feed", "keys", "programs", "out", "release"];
/// Those that have no value.
const SWITCHES: [&str; 2] = ["built", "no-way-in"];

impl Arguments {
    fn read() -> Result<Self, lexopt::Error> {
        let mut parser = lexopt::Parser::from_env();
        let mut arguments = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => arguments.words = vec!["help".to_owned()],
                Long(name) if OPTIONS.contains(&name) => {
                    let name = name.to_owned();
                    arguments.options.insert(name, parser.value()?.string()?);
                }
                Long(name) if SWITCHES.contains(&name) => {
                    arguments.options.insert(name.to_owned(), String::new());
                }
                Value(word) => arguments.words.push(word.string()?),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(arguments)
    }

    fn path(&self, option: &str, default: &str) -> PathBuf {
        self.options.get(option).map_or(default, String::as_str).into()
    }

    fn get(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(String::as_str)
    }

    fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }

    fn text(&self, option: &str) -> anyhow::Result<Option<String>> {
        let read = |path: &String| fs::read_to_string(path).with_context(|| format!("{path} cannot be read"));
        self.options.get(option).map(read).transpose()
    }
}

fn main() -> std::process::ExitCode {
    let usage = |error: &dyn std::fmt::Display| {
        eprint!("lango-images: {error}\n\n{HELP}");
        // sysexits: usage.
        std::process::ExitCode::from(64)
    };
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let words: Vec<&str> = arguments.words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["help"] => say(HELP),
        ["boards"] => boards().and_then(|boards| say(&board::table(&boards))),
        ["targets"] => boards().and_then(|boards| say(&targets(&boards))),
        ["keys", folder] => new_keys(Path::new(folder)),
        ["packages", architectures @ ..] => packages(&arguments, architectures),
        ["tree", architecture, folder] => boards()
            .and_then(|boards| package(&arguments, &boards, architecture))
            .and_then(|package| package.files.write(Path::new(folder))),
        ["image", board, imagebuilder] => image(&arguments, board, Path::new(imagebuilder)),
        _ => return usage(&"that is no command of it"),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lango-images: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn boards() -> anyhow::Result<Vec<Board>> {
    Board::read_all(Path::new("board"))
}

fn targets(boards: &[Board]) -> String {
    let targets: std::collections::BTreeSet<&str> = boards.iter().map(|board| board.rust_target.as_str()).collect();
    targets.into_iter().map(|target| format!("{target}\n")).collect()
}

fn new_keys(folder: &Path) -> anyhow::Result<()> {
    Keys::generate()?.write(folder)?;
    say(&format!(
        "The keys are in {}. Keep the secret halves (*.sec, *.pem) where nobody gets at them; routers get the public ones.\n",
        folder.display()
    ))
}

fn keys(arguments: &Arguments) -> anyhow::Result<Keys> {
    let folder = arguments.path("keys", "out/keys");
    if !folder.exists() {
        // New keys in place of those that were meant would make packages that no router takes.
        anyhow::ensure!(!arguments.has("keys"), "{0} is not there: `lango-images keys {0}` makes new keys", folder.display());
        new_keys(&folder)?;
    }
    Keys::read(&folder)
}

fn time() -> anyhow::Result<u64> {
    let told =
        "SOURCE_DATE_EPOCH is to say when the sources were changed: the commit's time, in seconds since 1970 (git log -1 --format=%ct)";
    std::env::var("SOURCE_DATE_EPOCH").context(told)?.parse().context(told)
}

fn program(arguments: &Arguments, boards: &[Board], architecture: &str) -> anyhow::Result<PathBuf> {
    let board = boards.iter().find(|board| board.openwrt.architecture == architecture);
    let board = board.with_context(|| format!("no board has the package architecture {architecture}"))?;
    Ok(arguments.path("programs", "out/router").join(&board.rust_target).join("lango"))
}

fn package(arguments: &Arguments, boards: &[Board], architecture: &str) -> anyhow::Result<Package> {
    let path = program(arguments, boards, architecture)?;
    let program = fs::read(&path).with_context(|| format!("{} cannot be read: make router", path.display()))?;
    let release = arguments.options.get("release").map_or(Ok(1), |release| release.parse()).context("--release wants a number")?;
    Package::read(Path::new("images"), architecture, release, program)
}

fn packages(arguments: &Arguments, wanted: &[&str]) -> anyhow::Result<()> {
    let (boards, time) = (boards()?, time()?);
    let out = arguments.path("out", "out/packages");
    let mut architectures: Vec<&str> = boards.iter().map(|board| board.openwrt.architecture.as_str()).collect();
    if !wanted.is_empty() {
        architectures = wanted.to_vec();
    }
    architectures.sort_unstable();
    architectures.dedup();
    if arguments.has("built") {
        let mut built = Vec::new();
        for architecture in architectures {
            let program = program(arguments, &boards, architecture)?;
            if program.is_file() {
                built.push(architecture);
            } else {
                say(&format!("{architecture}: left out, {} is not built\n", program.display()))?;
            }
        }
        anyhow::ensure!(!built.is_empty(), "no program is built: make router");
        architectures = built;
    }
    let keys = keys(arguments)?;
    for architecture in architectures {
        let package = package(arguments, &boards, architecture)?;
        let files = feed::make(&package, time, &keys)?;
        let folder = out.join(architecture);
        feed::write(&files, &folder)?;
        package.files.write(&folder.join("root"))?;
        for (name, content) in packed(&files) {
            say(&format!("{:>9} bytes  {}\n", content.len(), folder.join(name).display()))?;
        }
    }
    keys.write_public(&out.join("keys"))
}

fn packed(files: &Files) -> impl Iterator<Item = &(String, Vec<u8>)> {
    files.iter().filter(|(name, _)| name.ends_with(".ipk") || name.ends_with(".apk"))
}

fn image(arguments: &Arguments, id: &str, imagebuilder: &Path) -> anyhow::Result<()> {
    let boards = boards()?;
    let board = boards.iter().find(|board| board.id == id).with_context(|| {
        let known: Vec<&str> = boards.iter().map(|board| board.id.as_str()).collect();
        format!("there is no board {id}: {} are known", known.join(", "))
    })?;
    let [relay, ca, release_key, ssh_keys] = ["router", "ca", "release-key", "ssh-keys"].map(|option| arguments.text(option));
    let (relay, ca, release_key, ssh_keys) = (relay?, ca?, release_key?, ssh_keys?);
    let mut provision = Provision {
        relay: relay.as_deref(),
        ca: ca.as_deref(),
        now: i64::try_from(
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).context("this machine's clock is before 1970")?.as_secs(),
        )?,
        release_key: release_key.as_deref(),
        name: arguments.get("name"),
        ssh_keys: ssh_keys.as_deref(),
        manage_from: arguments.get("manage-from"),
        no_way_in: arguments.has("no-way-in"),
        country: arguments.get("country"),
        feed: None,
    };
    // Before anything is made: whether somebody gets in, and whether it is the right one.
    provision.way_in()?;
    recipe::format_of(board, imagebuilder)?;
    let (keys, package) = (keys(arguments)?, package(arguments, &boards, &board.openwrt.architecture)?);
    let template = package.files.get("etc/config/lango").context("the package has no configuration")?;
    provision.feed = arguments.get("feed").map(|address| (address, &keys));
    let files = provision::files(board, std::str::from_utf8(&template.content)?, &provision)?;
    let work = arguments.path("out", "out/images").join(id);
    recipe::order(board, imagebuilder, &feed::make(&package, time()?, &keys)?, &keys, &files, &work)?;
    say(&format!("The images are in {}\n", work.join("images").display()))
}
