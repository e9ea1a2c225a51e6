//! The files of an update, and the steps that change them, each durable before the next one begins.

use lango_core::units::{MessageId, Seconds};
use lango_core::update::{self, Found, Kind, Place, Room, Standing, Step};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Starts that the start script counts (`images/files/usr/libexec/lango/start`).
const STARTS: u8 = 3;

/// Where what is kept lies if the start script says nothing else.
const FOLDER: &str = "/etc/lango/update";

/// Where images are fetched to: memory, not flash. In a folder of our own: everybody may write to the one around it.
const IMAGE: &str = "/tmp/lango-update/image";

/// What [`Standing`] needs at most, in bytes: a manifest and some lines.
const MAX_STANDING: u64 = 8 * 1024;

/// What the id of a message needs at most, with its line's end, in bytes.
const MAX_OFFER: u64 = 128;

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The program that is started.
    program: PathBuf,
    /// Where what is kept lies.
    folder: PathBuf,
}

impl Files {
    /// Of that program, and with that folder.
    #[must_use]
    pub fn new(program: PathBuf, folder: Option<PathBuf>) -> Self {
        Self { program, folder: folder.unwrap_or_else(|| PathBuf::from(FOLDER)) }
    }

    /// Where a program is fetched to: beside the one that runs, so that it is moved there in one step.
    #[must_use]
    pub fn new_program(&self) -> PathBuf {
        self.beside("new")
    }

    /// Where an image is fetched to.
    #[must_use]
    pub fn image(&self) -> &'static Path {
        Path::new(IMAGE)
    }

    /// Makes the folder that images are fetched to, or finds it as it was made.
    ///
    /// # Errors
    /// When it cannot be made, or is somebody else's.
    pub fn prepare_image(&self) -> io::Result<()> {
        own_folder(self.image().parent().unwrap_or(Path::new("/")))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.program.clone().into_os_string();
        path.push(".");
        path.push(ending);
        path.into()
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn paths(&self, place: Place) -> Vec<PathBuf> {
        match place {
            Place::Program => vec![self.program.clone()],
            Place::Old => vec![self.beside("old")],
            Place::New => vec![self.new_program()],
            // Beside the program: in the folder sysupgrade would keep it.
            Place::BeforeImage => vec![self.beside("before-image")],
            Place::Trial => vec![self.kept("trial")],
            Place::Starts => (1..=STARTS).map(|start| self.kept(&format!("start.{start}"))).collect(),
            Place::Overdue => vec![self.kept("overdue")],
            Place::UndoneCrashed => vec![self.kept("undone-crashed")],
            Place::UndoneOverdue => vec![self.kept("undone-overdue")],
        }
    }

    /// Carries steps out, each durable before the next. `trial` is how long one may take, for the start script.
    ///
    /// # Errors
    /// When the system refuses one; the steps before it are done, and none after it.
    pub fn carry_out(&self, steps: &[Step], trial: Seconds) -> io::Result<()> {
        steps.iter().try_for_each(|step| self.one(*step, trial))
    }

    fn one(&self, step: Step, trial: Seconds) -> io::Result<()> {
        match step {
            Step::Remove(place) => self.paths(place).iter().try_for_each(|path| remove(path)),
            Step::Mark(place) => self.paths(place).iter().try_for_each(|path| write(path, format!("{trial}\n").as_bytes())),
            Step::Link(from, to) => self.pair(from, to, |from, to| fs::hard_link(from, to)),
            Step::Rename(from, to) => self.pair(from, to, |from, to| fs::rename(from, to)),
            Step::Executable(place) => self.paths(place).iter().try_for_each(|path| {
                let file = File::open(path)?;
                file.set_permissions(fs::Permissions::from_mode(0o755))?;
                file.sync_all()
            }),
        }
    }

    fn pair(&self, from: Place, to: Place, change: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
        for (from, to) in self.paths(from).iter().zip(self.paths(to)) {
            change(from, &to)?;
            sync_folder_of(&to)?;
        }
        Ok(())
    }

    /// What lies there.
    #[must_use]
    pub fn found(&self) -> Found {
        let is = |place| self.paths(place).iter().any(|path| path.exists());
        Found {
            new: is(Place::New),
            old: is(Place::Old),
            trial: is(Place::Trial),
            undone_crashed: is(Place::UndoneCrashed),
            undone_overdue: is(Place::UndoneOverdue),
            overdue: is(Place::Overdue),
            before_image: is(Place::BeforeImage),
        }
    }

    /// What is kept; nothing was ever kept where there is no file.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    pub fn standing(&self) -> io::Result<Standing> {
        let mut text = String::new();
        match File::open(self.kept("standing")).and_then(|file| file.take(MAX_STANDING).read_to_string(&mut text)) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(Standing::default()),
            Err(cause) => Err(cause),
            Ok(_) => Standing::parse(&text).map_err(io::Error::other),
        }
    }

    /// The highest number that was ever accepted: in a file of its own, so that what becomes of the other one opens no way back to
    /// older releases. 0 where there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read: then nobody knows what may be accepted.
    pub fn floor(&self) -> io::Result<u64> {
        let mut text = String::new();
        match File::open(self.kept("floor")).and_then(|file| file.take(32).read_to_string(&mut text)) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(0),
            Err(cause) => Err(cause),
            Ok(_) => text.strip_suffix('\n').and_then(|number| number.parse().ok()).ok_or(ErrorKind::InvalidData.into()),
        }
    }

    /// What was offered last, in the message of that id: in a file of its own, which any program reads that ever ran here. It tells the relay
    /// how a trial ended where the other file is of no use. Nothing where it cannot be read.
    #[must_use]
    pub fn offer(&self) -> Option<MessageId> {
        let mut text = String::new();
        File::open(self.kept("offer")).ok()?.take(MAX_OFFER).read_to_string(&mut text).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    }

    /// Keeps it.
    ///
    /// # Errors
    /// When it could not be written; then what was kept before stays.
    pub fn keep(&self, standing: &Standing) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        // Before the other: a cut between the two costs a number, and opens nothing. One that cannot be read is not written over.
        if self.floor().is_ok_and(|floor| floor < standing.floor) {
            write(&self.kept("floor"), format!("{}\n", standing.floor).as_bytes())?;
        }
        if let Some(offer) = &standing.offer
            && self.offer().as_ref() != Some(offer)
        {
            write(&self.kept("offer"), format!("{offer}\n").as_bytes())?;
        }
        write(&self.kept("standing"), standing.to_text().as_bytes())
    }

    /// What room there is for a release of so many bytes, in place of what was fetched of one before: flash for a program, memory for an image.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn room(&self, kind: Kind, size: u64) -> io::Result<Room> {
        let (free, old) = match kind {
            Kind::Program => (self.free_flash()?.saturating_add(taken(&self.new_program())), fs::metadata(&self.program)?.len()),
            Kind::Image => {
                let available = available(&fs::read_to_string("/proc/meminfo")?).ok_or(ErrorKind::InvalidData)?;
                (available.saturating_add(taken(self.image())), 0)
            }
        };
        Ok(Room { needed: update::needed(kind, size, old), free })
    }

    fn free_flash(&self) -> io::Result<u64> {
        let system = nix::sys::statvfs::statvfs(self.program.parent().unwrap_or(Path::new("/")))?;
        Ok((system.blocks_available() as u64).saturating_mul(system.fragment_size() as u64))
    }
}

/// What a file takes of where it lies, in bytes; nothing where it is not there, or a way to elsewhere.
fn taken(path: &Path) -> u64 {
    // stat(2): in units of 512.
    fs::symlink_metadata(path).map_or(0, |found| if found.is_file() { found.blocks().saturating_mul(512) } else { 0 })
}

/// `MemAvailable`, in bytes (proc(5)).
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(cause),
        Ok(()) => sync_folder_of(path),
    }
}

/// Writes a file so that it is there whole, or as it was.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder_of(path)
}

fn own_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    let why = format!("{} is not a folder that only lango may write to: remove it", path.display());
    Err(io::Error::new(ErrorKind::PermissionDenied, why))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_may_write_to_is_none_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let (own, way) = (folder.path().join("own"), folder.path().join("way"));
        own_folder(&own).unwrap();
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);
        own_folder(&own).unwrap();
        std::os::unix::fs::symlink(&own, &way).unwrap();
        assert!(own_folder(&way).is_err(), "it leads elsewhere");
        fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(own_folder(&own).is_err(), "others may write to it");
        std::os::unix::fs::chown(&own, Some(1), None).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(own_folder(&own).is_err(), "it is another's");
    }

    #[test]
    fn free_memory_as_the_kernel_tells_it() {
        let text = "MemTotal:         126348 kB\nMemFree:           40000 kB\nMemAvailable:      80000 kB\n";
        assert_eq!(available(text), Some(81_920_000));
        for odd in ["", "MemAvailable:", "MemAvailable: 5", "MemAvailable: x kB", "MemAvailable: 18446744073709551615 kB"] {
            assert_eq!(available(odd), None, "{odd}");
        }
    }
}
