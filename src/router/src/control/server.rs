//! The daemon's end of the control socket.

use super::wire::{Command, MAX_LINE, Reply, to_line};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// A question on its way to the daemon's loop.
pub type Ask = (Command, oneshot::Sender<Reply>);

/// A client that says nothing for this long is let go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens on `path`; questions go into `asks`. A socket that a dead daemon left behind is replaced, a living one's is not.
///
/// # Errors
/// When the socket cannot be made, or another daemon answers on it.
pub async fn serve(path: &Path, asks: mpsc::Sender<Ask>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another lango answers on it; stop that one first"));
    }
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    tokio::task::spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::task::spawn_local(connection(stream, asks.clone()))),
                // Out of descriptors, most likely: wait for some to come back instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(())
}

async fn connection(stream: UnixStream, asks: mpsc::Sender<Ask>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        match tokio::time::timeout(PATIENCE, (&mut read).take(limit).read_until(b'\n', &mut line)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => return,
        }
        let reply = match Command::from_line(&line) {
            Ok(command) => ask(command, &asks).await,
            Err(cause) => Reply::Failed(format!("that is no question of the control socket: {cause}")),
        };
        let Ok(line) = to_line(&reply) else { return };
        if write.write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn ask(command: Command, asks: &mpsc::Sender<Ask>) -> Reply {
    let (reply, answer) = oneshot::channel();
    let stopping = || Reply::Failed("lango is stopping; try again when it runs".to_owned());
    if asks.send((command, reply)).await.is_err() {
        return stopping();
    }
    answer.await.unwrap_or_else(|_| stopping())
}
