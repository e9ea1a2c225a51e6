//! The command line's end of the control socket.

use super::wire::{Command, Reply, to_line};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("lango does not run: nothing answers on {}; start it with `lango run` (on OpenWrt: /etc/init.d/lango start)", .0.display())]
    NotRunning(PathBuf),
    /// Not allowed.
    #[error("{} may only be opened by its owner; run this as root", .0.display())]
    NotAllowed(PathBuf),
    /// It broke off.
    #[error("lango gave no answer on {}: {}", .0.display(), .1)]
    Broken(PathBuf, io::Error),
    /// The daemon could not do it.
    #[error("{0}")]
    Failed(String),
}

/// Asks the daemon, and waits for its answer.
///
/// # Errors
/// When no daemon runs there, it may not be asked, or it could not do it.
pub fn ask(socket: &Path, command: &Command) -> Result<lango_core::request::Answer, ClientError> {
    let broken = |cause: io::Error| ClientError::Broken(socket.to_owned(), cause);
    let mut stream = UnixStream::connect(socket).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            ClientError::NotRunning(socket.to_owned())
        }
        io::ErrorKind::PermissionDenied => ClientError::NotAllowed(socket.to_owned()),
        _ => broken(cause),
    })?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(broken)?;
    let line = to_line(command).map_err(|cause| broken(cause.into()))?;
    stream.write_all(&line).map_err(broken)?;
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut answer).map_err(broken)?;
    match Reply::from_line(&answer).map_err(|cause| broken(cause.into()))? {
        Reply::Answer(answer) => Ok(*answer),
        Reply::Failed(why) => Err(ClientError::Failed(why)),
    }
}
