//! A real PostgreSQL of the tests' own: Debian's programs, a data folder under the temporary one, a unix socket and no network.
//! One server for all tests of a process, a database for each. It ends with the process, however that ends.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

const MISSING: &str = "PostgreSQL is needed: tools/setup.sh installs it (Debian: postgresql)";

/// Ends the server and removes its folder when its standard input does: the test's process holds the other end, and lets go of
/// it even when it is killed. $1: pg_ctl, $2: the folder.
const WATCH: &str = r#"read -r _; "$1" stop -s -m immediate -D "$2/data"; rm -rf "$2""#;

/// Whom the server runs as: it refuses root.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// A server.
pub struct Postgres {
    folder: PathBuf,
    programs: PathBuf,
    user: Option<User>,
    options: String,
    next: AtomicUsize,
    _watch: Child,
}

/// The server, started by whoever comes first.
///
/// # Panics
/// When it does not start.
pub fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(Postgres::start)
}

/// A new, empty database's address.
///
/// # Panics
/// When the server does not make it.
#[must_use]
pub fn database() -> String {
    server().database()
}

impl Postgres {
    /// A server of one's own; it ends when this is dropped.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        // No network at all.
        Self::with("-c listen_addresses=", &[])
    }

    /// The same with other options, and with files of its own in the data folder, which it alone can read.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn with(options: &str, files: &[(&str, String)]) -> Self {
        let programs = programs();
        let folder = std::env::temp_dir().join(format!("lango-pg-{}-{:x}", std::process::id(), rand_name()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let user = (fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() == 0).then(postgres_user);
        if let Some(user) = user {
            chown(&folder, Some(user.uid), Some(user.gid)).unwrap();
        }
        let mut watch = Command::new("sh");
        watch.args(["-c".as_ref(), WATCH.as_ref(), "watch".as_ref(), programs.join("pg_ctl").as_os_str(), folder.as_os_str()]);
        watch.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let watch = as_user(&mut watch, user).spawn().unwrap();
        let server = Self { folder, programs, user, options: options.to_owned(), next: AtomicUsize::new(1), _watch: watch };
        server.run("initdb", &["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-D", "data"]);
        for (name, text) in files {
            let path = server.folder.join("data").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if let Some(user) = server.user {
                chown(&path, Some(user.uid), Some(user.gid)).unwrap();
            }
        }
        server.start_again();
        server
    }

    /// Starts it, after [`Postgres::kill`] too.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        let folder = self.folder.display();
        // No waiting for the disk: what is tried here is what processes lose, not what power cuts do.
        let options = format!("-k {folder} -c fsync=off -c max_connections=200 -c shared_buffers=32MB {}", self.options);
        self.run("pg_ctl", &["start", "-s", "-w", "-D", "data", "-l", "log", "-o", &options]);
    }

    /// All of its processes, at once and without a word.
    ///
    /// # Panics
    /// When they do not end.
    pub fn kill(&self) {
        self.run("pg_ctl", &["stop", "-s", "-m", "immediate", "-D", "data"]);
    }

    /// A new, empty database's address.
    ///
    /// # Panics
    /// When the server does not make it.
    #[must_use]
    pub fn database(&self) -> String {
        let name = format!("relay{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.run("createdb", &["-h", &self.folder.display().to_string(), "-U", "postgres", &name]);
        format!("postgres://postgres@localhost/{name}?host={}", self.folder.display())
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    fn run(&self, program: &str, args: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.args(args).current_dir(&self.folder).stdin(Stdio::null());
        // Into a file: the server inherits what it is given, and a pipe would never end.
        let said = self.folder.join(format!("{program}.log"));
        let file = fs::File::options().create(true).append(true).open(&said).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let status = as_user(&mut command, self.user).status().expect(MISSING);
        let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        assert!(status.success(), "{program}: {}\n{}", fs::read_to_string(said).unwrap_or_default(), log());
    }
}

/// Runs SQL on a database of such a server; gives back what it printed, without headers.
///
/// # Errors
/// When the server refuses it.
pub fn psql(database: &str, sql: &str) -> Result<String> {
    let output = Command::new(programs().join("psql"))
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql])
        .output()
        .context(MISSING)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn as_user(command: &mut Command, user: Option<User>) -> &mut Command {
    match user {
        Some(user) => command.gid(user.gid).uid(user.uid).env("HOME", "/nonexistent"),
        None => command,
    }
}

/// Debian keeps them off the PATH: /usr/lib/postgresql/VERSION/bin. The newest is taken.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let mut found: Vec<PathBuf> = versions.filter(|path| path.join("initdb").exists()).collect();
    found.sort_by_key(|path| path.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse::<u32>().ok()));
    found.pop().expect(MISSING)
}

/// The user that Debian's package makes.
fn postgres_user() -> User {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect(MISSING);
    let number = |field: usize| line.split(':').nth(field).and_then(|text| text.parse().ok()).expect("a line of /etc/passwd");
    User { uid: number(2), gid: number(3) }
}

fn rand_name() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}
