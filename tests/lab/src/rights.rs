//! The right to build a lab: as root, or as an ordinary user in a user namespace of one's own; and nothing left behind.

use crate::tool;
use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, Once, OnceLock};

/// All names of the lab on this machine begin so; then the process id follows.
pub const PREFIX: &str = "lango-lab-";
const INSIDE: &str = "LANGO_LAB_INSIDE";
const SOCKETS: &str = "LANGO_LAB_SOCKETS";

/// Gets the rights. As an ordinary user it starts the whole program again inside a user namespace and does not return.
///
/// # Errors
/// When there is no way: one sentence that says what to do.
pub fn ensure() -> Result<()> {
    once(&[])
}

fn once(sockets: &[TcpListener]) -> Result<()> {
    static ONCE: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    ONCE.get_or_init(|| obtain(sockets).map_err(|e| format!("{e:#}"))).clone().map_err(anyhow::Error::msg)
}

/// As [`ensure`], with listening sockets of the machine's own network, where a person's browser is. They are bound
/// before the rights are got, because a user namespace's network is another one.
///
/// # Errors
/// As [`ensure`], and when an address is taken.
pub fn ensure_with_sockets(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    if std::env::var_os(INSIDE).is_some() {
        let inherited = inherited_sockets()?;
        ensure()?;
        return Ok(inherited);
    }
    let mut sockets = Vec::new();
    for address in addresses {
        let socket = TcpListener::bind(address)
            .with_context(|| format!("{address} is taken: end the program that listens there (is another demo running?)"))?;
        sockets.push(socket);
    }
    once(&sockets)?;
    Ok(sockets)
}

fn obtain(sockets: &[TcpListener]) -> Result<()> {
    tool::check_all()?;
    if std::env::var_os(INSIDE).is_some() {
        mount(Some("lango-lab"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).context("mounting a private /run")?;
        std::fs::create_dir("/run/netns").context("making /run/netns")?;
    } else if !Uid::effective().is_root() {
        return start_again_in_user_namespace(sockets);
    }
    sweep_and_watch();
    let probe = format!("{PREFIX}{}-probe", std::process::id());
    tool::run("ip", ["netns", "add", &probe])
        .context("this root may not make network namespaces (a container without CAP_SYS_ADMIN and CAP_NET_ADMIN?); run it on a real or virtual machine")?;
    tool::run("ip", ["netns", "del", &probe])?;
    Ok(())
}

/// How a person looks into a namespace of this lab from another terminal.
#[must_use]
pub fn way_in() -> String {
    if std::env::var_os(INSIDE).is_some() {
        format!("nsenter -t {} -U -m --preserve-credentials /sbin/ip netns exec", std::process::id())
    } else {
        "sudo ip netns exec".to_owned()
    }
}

fn start_again_in_user_namespace(sockets: &[TcpListener]) -> Result<()> {
    const WAY_OUT: &str = "run it as root (sudo), or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), \
                           sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)";
    let allowed = tool::run("unshare", ["-Urnm", "true"]);
    if let Err(refused) = allowed {
        bail!(
            "the lab needs network namespaces, and this kernel does not let an ordinary user make them; {WAY_OUT}. The kernel said: {refused:#}"
        );
    }
    let mut numbers = Vec::new();
    for socket in sockets {
        // Not closed by exec: it is handed down.
        nix::fcntl::fcntl(socket, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
        numbers.push(socket.as_raw_fd().to_string());
    }
    let mut command = tool::command("unshare", ["-Urnm"])?;
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(INSIDE, "1").env(SOCKETS, numbers.join(","));
    Err(command.exec()).with_context(|| format!("starting again in a user namespace; {WAY_OUT}"))
}

#[allow(unsafe_code)]
fn inherited_sockets() -> Result<Vec<TcpListener>> {
    static TAKEN: Once = Once::new();
    let mut sockets = Vec::new();
    let mut result = Ok(());
    TAKEN.call_once(|| {
        for number in std::env::var(SOCKETS).unwrap_or_default().split(',').filter(|n| !n.is_empty()) {
            match number.parse() {
                // SAFETY: `start_again_in_user_namespace` of this very program left the descriptor open over exec for
                // us and wrote its number; `TAKEN` lets nobody take it twice.
                Ok(number) => sockets.push(TcpListener::from(unsafe { OwnedFd::from_raw_fd(number) })),
                Err(_) => result = Err(anyhow::anyhow!("{SOCKETS} holds {number:?}, not a number")),
            }
        }
    });
    result.map(|()| sockets)
}

static LIVE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes a lab's name, so that Ctrl-C removes it, too.
pub fn register(name: &str) {
    LIVE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(name.to_owned());
}

/// Removes everything of the lab of that name from the machine: processes, namespaces, files.
pub fn remove(name: &str) {
    remove_namespaces(&format!("{name}-"));
    let _ = std::fs::remove_dir_all(folder(name));
    LIVE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).retain(|live| live != name);
}

/// Removes every lab of this process.
pub fn remove_live() {
    let live = LIVE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    for name in live {
        remove(&name);
    }
}

/// The folder of the lab of that name.
#[must_use]
pub fn folder(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(name)
}

fn remove_namespaces(prefix: &str) {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    let names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).filter(|n| n.starts_with(prefix)).collect();
    for name in &names {
        let inside = tool::run("ip", ["netns", "pids", name]).unwrap_or_default();
        for pid in inside.lines().filter_map(|line| line.trim().parse::<i32>().ok()) {
            // Our own threads may still be inside: they are ours to end, not to kill.
            if pid.unsigned_abs() != std::process::id() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
    for name in &names {
        let _ = tool::run("ip", ["netns", "del", name]);
    }
}

/// Removes what labs left that can no longer do so themselves, and from now on catches the signals that end a program.
fn sweep_and_watch() {
    let mut owners = Vec::new();
    for folder in ["/run/netns".as_ref(), std::env::temp_dir().as_path()] {
        let Ok(entries) = std::fs::read_dir::<&Path>(folder) else { continue };
        for name in entries.flatten().filter_map(|e| e.file_name().into_string().ok()) {
            let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
            // A lab of our own number is an earlier process's: we have made none yet.
            if let Some(pid) = owner.filter(|pid| *pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists()) {
                owners.push((pid, name));
            }
        }
    }
    for (pid, name) in owners {
        remove_namespaces(&format!("{PREFIX}{pid}-"));
        let _ = std::fs::remove_dir_all(std::env::temp_dir().join(name));
    }
    let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];
    let mut signals = signal_hook::iterator::Signals::new(signals).expect("these signals can be caught");
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for at_exit in AT_EXIT.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..) {
                at_exit();
            }
            remove_live();
            let code = END.load(Ordering::Relaxed);
            std::process::exit(if code < 0 { 128 + signal } else { code });
        }
    });
}

static END: AtomicI32 = AtomicI32::new(-1);

/// From now on a signal is the wished-for end: the program's exit code is 0 then.
pub fn a_signal_is_a_good_end() {
    END.store(0, Ordering::Relaxed);
}

type AtExit = Box<dyn FnOnce() + Send>;
static AT_EXIT: Mutex<Vec<AtExit>> = Mutex::new(Vec::new());

/// Runs `work` before a signal ends the program: to put a terminal back as it was.
pub fn at_signal(work: impl FnOnce() + Send + 'static) {
    AT_EXIT.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(Box::new(work));
}
