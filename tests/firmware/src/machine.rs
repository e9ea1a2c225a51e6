//! The emulated router as a machine: its image and disk, the emulator, a shell in it, and its power.

use anyhow::{Context, Result, bail, ensure};
use lango_images::board::Board;
use lango_lab::net::Namespace;
use lango_lab::process::{self, Program};
use lango_lab::tool;
use lango_lab::wait::until;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest that a line of shell may take on the router, and the longest that it may take to boot. Machines that build at the same
/// time are slow.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// How a machine's network and clock are.
pub enum Kind {
    /// Two taps in that namespace, `lan-port` and `wan-port`; its clock goes as the true one does.
    Connected,
    /// No cable anywhere. Its clock counts instructions, and jumps where there is nothing to do: an hour takes less than one.
    Alone,
}

/// What `tools/firmware.sh` made.
pub struct Image {
    folder: PathBuf,
    command: Vec<String>,
    board: Board,
}

impl Image {
    /// Reads what it is.
    ///
    /// # Errors
    /// When it was not made.
    pub fn at(folder: &Path) -> Result<Self> {
        let command = std::fs::read_to_string(folder.join("command"))
            .with_context(|| format!("there is no image in {}: make test-firmware makes it", folder.display()))?;
        let processor = folder.file_name().and_then(|name| name.to_str()).context("a folder's name is the router's processor")?;
        let boards = Board::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../board"))?;
        let board = boards.into_iter().find(|board| board.id == format!("emulated-{processor}"));
        let board = board.with_context(|| format!("there is no board/emulated-{processor}.toml"))?;
        Ok(Self { folder: folder.to_owned(), command: command.lines().map(str::to_owned).collect(), board })
    }

    /// The router's model: how large its memory and its flash are.
    #[must_use]
    pub const fn board(&self) -> &Board {
        &self.board
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The router's program, as the package brings it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn program(&self) -> Result<Vec<u8>> {
        let path = self.folder.join("program");
        std::fs::read(&path).with_context(|| format!("{}", path.display()))
    }

    /// What that was built for, as rustc calls it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn target(&self) -> Result<String> {
        let path = self.folder.join("target");
        Ok(std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?.trim().to_owned())
    }

    /// A disk for what the router writes, with these files on it already (below `/`), as an image that was made for this router has them.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn disk(&self, name: &str, files: &[(&str, String)]) -> Result<PathBuf> {
        let content = self.folder.join(format!("{name}.files"));
        if content.exists() {
            std::fs::remove_dir_all(&content)?;
        }
        std::fs::create_dir_all(content.join("upper"))?;
        for (path, text) in files {
            let path = content.join("upper").join(path);
            std::fs::create_dir_all(path.parent().context("a folder")?)?;
            std::fs::write(&path, text)?;
        }
        let disk = self.folder.join(format!("{name}.disk"));
        std::fs::File::create(&disk)?.set_len(u64::from(self.board.flash.free_mb) << 20)?;
        tool::run(
            "mkfs.ext4",
            ["-q".as_ref(), "-F".as_ref(), "-m".as_ref(), "0".as_ref(), "-d".as_ref(), content.as_os_str(), disk.as_os_str()],
        )?;
        std::fs::remove_dir_all(&content)?;
        Ok(disk)
    }
}

/// A router, with power or without.
pub struct Machine {
    emulator: Program,
    console: PathBuf,
    socket: PathBuf,
    shell: Mutex<Option<BufReader<UnixStream>>>,
    began: Mutex<Instant>,
}

impl Machine {
    /// Prepares it in that namespace, with that disk. It has no power yet. Its console is added to a file beside the image.
    ///
    /// # Errors
    /// When the emulator is not installed.
    pub fn new(namespace: &Namespace, image: &Image, disk: &Path, kind: &Kind) -> Result<Self> {
        let file = |name: &str| image.folder.join(name).display().to_string();
        let (console, socket) = (disk.with_extension("console"), disk.with_extension("shell"));
        std::fs::write(&console, "")?;
        let mut args: Vec<String> = image.command[1..].to_vec();
        let mut add = |words: &[&str]| args.extend(words.iter().map(|&word| word.to_owned()));
        add(&["-m", &image.board.memory.ram_mb.to_string(), "-nodefaults", "-display", "none", "-monitor", "none", "-no-reboot"]);
        add(&["-kernel", &file("kernel"), "-initrd", &file("initrd")]);
        add(&["-append", "console=ttyAMA0 quiet oops=panic panic=-1 log=console"]);
        add(&["-chardev", &format!("file,id=console,path={},append=on", console.display()), "-serial", "chardev:console"]);
        add(&["-device", "virtio-serial-device", "-device", "virtserialport,chardev=shell,name=shell"]);
        add(&["-chardev", &format!("socket,id=shell,path={},server=on,wait=off", socket.display())]);
        add(&["-drive", &format!("file={},if=none,id=rom,format=raw,readonly=on", file("rom"))]);
        // What the emulator was told to write is in the file, also when it is killed; it need not be on this machine's own disk.
        add(&["-drive", &format!("file={},if=none,id=overlay,format=raw,cache=unsafe", disk.display())]);
        for name in ["rom", "overlay"] {
            add(&["-device", &format!("virtio-blk-device,drive={name},serial={name}")]);
        }
        for (name, number) in [("lan", 1), ("wan", 2)] {
            let outside = match kind {
                Kind::Connected => format!("tap,id={name},ifname={name}-port,script=no,downscript=no"),
                Kind::Alone => format!("user,id={name},restrict=on"),
            };
            add(&["-netdev", &outside, "-device", &format!("virtio-net-device,netdev={name},mac=52:54:00:00:00:0{number}")]);
        }
        if matches!(kind, Kind::Alone) {
            add(&["-icount", "shift=2,sleep=off"]);
        }
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let emulator = Program::new(namespace, &tool::path(&image.command[0])?, &words, &disk.with_extension("emulator"));
        Ok(Self { emulator, console, socket, shell: Mutex::default(), began: Mutex::new(Instant::now()) })
    }

    /// Switches it on.
    ///
    /// # Errors
    /// When the emulator cannot be started.
    pub fn on(&self) -> Result<()> {
        let _ = std::fs::remove_file(&self.socket);
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.emulator.start()
    }

    /// The power goes, in this moment.
    pub fn cut(&self) {
        self.emulator.kill9();
        *self.shell.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts again by itself, as somebody told it on its own shell.
    ///
    /// # Errors
    /// When it does not go down.
    pub fn reboot(&self) -> Result<()> {
        self.sh("reboot")?;
        // The emulator ends where the machine would start again.
        lango_lab::wait::until_true("the router to go down", PATIENCE, || !self.emulator.running())?;
        self.cut();
        self.on()
    }

    /// Writes a file.
    ///
    /// # Errors
    /// When the router does not.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let bytes: String = text.bytes().map(|byte| format!("\\0{byte:03o}")).collect();
        self.sh(&format!("printf %b '{bytes}' >{path}")).map(drop)
    }

    /// How long it has had power.
    #[must_use]
    pub fn on_for(&self) -> Duration {
        self.began.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// What of this machine's processor the emulator has used since it was switched on: a measure that other work does not lengthen.
    ///
    /// # Errors
    /// When it does not run.
    pub fn processor(&self) -> Result<Duration> {
        let pid = self.emulator.pid().context("it has no power")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after = stat.rsplit(')').next().context("stat")?;
        // proc(5): utime and stime, in hundredths of a second.
        let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Whether its console has said that.
    #[must_use]
    pub fn console_has(&self, words: &str) -> bool {
        std::fs::read(&self.console).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(words))
    }

    /// Forgets what the console said so far, in [`Machine::console_has`]: the file begins anew, the old one is kept beside it.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn new_console(&self, name: &str) -> Result<()> {
        std::fs::rename(&self.console, self.console.with_extension(format!("console.{name}")))?;
        Ok(std::fs::write(&self.console, "")?)
    }

    /// Waits until that holds; gives up at once when the machine died.
    ///
    /// # Errors
    /// When it died, or the time was over.
    pub fn until<T>(&self, what: &str, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
        let mut died = false;
        let found = until(what, PATIENCE, || {
            died = !self.emulator.running();
            if died { Some(None) } else { condition().map(Some) }
        });
        if died {
            bail!("the emulated router went off by itself ({what})");
        }
        found?.context("it died")
    }

    /// Runs a line in its shell; it must end well. Gives what it said.
    ///
    /// # Errors
    /// When it fails, or the router does not answer.
    pub fn sh(&self, line: &str) -> Result<String> {
        self.try_sh(line).with_context(|| format!("on the router: {line}"))
    }

    fn try_sh(&self, line: &str) -> Result<String> {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        if shell.is_none() {
            let stream = self.until("the emulator's socket", || UnixStream::connect(&self.socket).ok())?;
            stream.set_read_timeout(Some(PATIENCE))?;
            *shell = Some(BufReader::new(stream));
        }
        let stream = shell.as_mut().context("it was made")?;
        stream.get_mut().write_all(format!("{line}\n").as_bytes())?;
        let mut head = String::new();
        stream.read_line(&mut head).context("no answer")?;
        let (status, length) = head.trim().split_once(' ').with_context(|| format!("an answer that begins with {head:?}"))?;
        let mut said = vec![0; length.trim().parse()?];
        stream.read_exact(&mut said)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(status == "0", "status {status}: {said}");
        Ok(said)
    }

    /// Waits for the clock of the router: so long by it, whatever it is here.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn uptime(&self) -> Result<f64> {
        let text = self.sh("cat /proc/uptime")?;
        text.split(' ').next().and_then(|seconds| seconds.parse().ok()).with_context(|| format!("/proc/uptime: {text}"))
    }

    /// Lets so many customers in who are near: neighbours for good, as the lab's crowd is, whom an operator gives a day. They do nothing.
    ///
    /// # Errors
    /// When they are not online then.
    pub fn let_in(&self, customers: u32, network: &str) -> Result<()> {
        let before = self.online()?;
        let each = format!(
            "mac=02:00:5e:aa:00:$(printf %02x $i); /sbin/ip neigh replace {network}.$((100 + i)) lladdr $mac dev br-lan nud permanent"
        );
        self.sh(&format!("for i in $(seq {customers}); do {each} && lango grant $mac day || exit 1; done"))?;
        // Who is near is told by the kernel, a moment later.
        self.until("everybody to be online", || self.online().ok().filter(|online| *online == before + u64::from(customers))).map(drop)
    }

    /// How many devices are online.
    ///
    /// # Errors
    /// When the program does not answer.
    pub fn online(&self) -> Result<u64> {
        let status: serde_json::Value = serde_json::from_str(&self.sh("lango status --json")?)?;
        status["devices_online"].as_u64().with_context(|| format!("lango status: {status}"))
    }

    /// What was written to its disk since it was switched on: bytes, writes and flushes (the kernel's Documentation/block/stat.rst).
    ///
    /// # Errors
    /// When it does not answer.
    pub fn written(&self) -> Result<Written> {
        let text =
            self.sh("sync; for file in /sys/block/vd*/serial; do [ \"$(cat $file)\" != overlay ] || cat ${file%serial}stat; done")?;
        let fields: Vec<u64> = text.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let field = |number: usize| fields.get(number).copied().with_context(|| format!("the disk's stat: {text}"));
        Ok(Written { bytes: field(6)? * 512, writes: field(4)?, flushes: field(15)? })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprint!("{}{}", self.emulator.tail(20), process::tail(&self.console, 60));
            eprintln!("The whole console is in {} (and earlier boots' beside it).", self.console.display());
        }
        self.cut();
    }
}

/// What a disk was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub bytes: u64,
    /// Writes, each of neighbouring sectors.
    pub writes: u64,
    /// How often it was to put all of it down for good.
    pub flushes: u64,
}

impl std::ops::Sub for Written {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        Self { bytes: self.bytes - before.bytes, writes: self.writes - before.writes, flushes: self.flushes - before.flushes }
    }
}
