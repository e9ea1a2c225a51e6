//! Fetches a file over HTTPS: as many bytes as were signed for and not one more, hashed on their way to where they are kept. What
//! broke off goes on where it was.

use super::head::{self, Body, MAX_HEAD, No};
use crate::retry::Retry;
use lango_core::update::{Reason, Url};
use ring::digest::{Context, SHA256};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Redirections that are followed.
const ELSEWHERE: u8 = 3;

/// How patient it is.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For a connection, and for the answer's head.
    pub answer: Duration,
    /// In each such time so many bytes at least must come.
    pub pace: (Duration, u64),
    /// Tries in a row that bring less than that.
    pub tries: u8,
    /// Between them.
    pub retry: Retry,
    /// For all of it.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let retry = Retry::new(Duration::from_secs(5), Duration::from_secs(900), Duration::MAX);
        // Some hours in all. A line that brings a kilobyte a second brings a program within an hour.
        Self {
            answer: Duration::from_secs(30),
            pace: (Duration::from_secs(30), 30_000),
            tries: 20,
            retry,
            total: Duration::from_secs(86_400),
        }
    }
}

/// What is fetched, and to where.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// From where.
    pub url: Url,
    /// How many bytes.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// Where they are kept. What lies there is replaced.
    pub path: PathBuf,
}

/// The file so far.
struct Fetched {
    file: File,
    have: u64,
    /// What may still be written, thrown away again or not: flash wears out.
    may_write: u64,
    hash: Context,
}

impl Fetched {
    async fn begin_again(&mut self) -> io::Result<()> {
        self.file.seek(io::SeekFrom::Start(0)).await?;
        self.file.set_len(0).await?;
        (self.have, self.hash) = (0, Context::new(&SHA256));
        Ok(())
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), End> {
        let Some(left) = self.may_write.checked_sub(bytes.len() as u64) else {
            log::warn!("update: the server began the file again and again; giving up");
            return Err(End::Never(Reason::Unreachable));
        };
        self.may_write = left;
        disk(self.write(bytes).await)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.hash.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }
}

enum End {
    /// The connection is of no more use.
    Broken(String),
    Never(Reason),
}

impl From<io::Error> for End {
    fn from(cause: io::Error) -> Self {
        Self::Broken(cause.to_string())
    }
}

impl From<No> for End {
    fn from(no: No) -> Self {
        match no {
            No::NotNow => Self::Broken("the server has no answer that is of use".to_owned()),
            No::Never(reason) => Self::Never(reason),
        }
    }
}

/// A failure of our own files is never the server's.
fn disk<T>(done: io::Result<T>) -> Result<T, End> {
    done.map_err(|cause| {
        log::warn!("update: it cannot be kept: {cause}");
        End::Never(if cause.kind() == io::ErrorKind::StorageFull { Reason::NoRoom } else { Reason::Disk })
    })
}

/// Fetches it. When this returns without an error the file is whole, checked and durable; it cannot be run yet.
///
/// # Errors
/// Why it is not to be had. What was fetched is removed.
pub async fn fetch(wanted: &Wanted, tls: Arc<ClientConfig>, patience: Patience) -> Result<(), Reason> {
    let done = timeout(patience.total, fetch_to(wanted, tls, patience)).await.unwrap_or_else(|_| {
        log::warn!("update: {} takes too long to give the file; giving up", wanted.url.host);
        Err(Reason::Unreachable)
    });
    if done.is_err() {
        // It may not be there at all. At once: left to another thread it might come after this fetch was given up, and take the next one's.
        let _ = std::fs::remove_file(&wanted.path);
    }
    done
}

async fn fetch_to(wanted: &Wanted, tls: Arc<ClientConfig>, mut patience: Patience) -> Result<(), Reason> {
    // What lies there may be another's, or a way to elsewhere: never written through. Both at once, as above.
    let _ = std::fs::remove_file(&wanted.path);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&wanted.path);
    let mut fetched = match disk(file) {
        Ok(file) => Fetched { file: File::from_std(file), have: 0, may_write: wanted.size.saturating_mul(2), hash: Context::new(&SHA256) },
        Err(End::Never(reason)) => return Err(reason),
        Err(End::Broken(_)) => return Err(Reason::Disk),
    };
    let mut tries = 0;
    loop {
        let had = fetched.have;
        match attempt(wanted, &tls, &patience, &mut fetched).await {
            Ok(()) => break,
            Err(End::Never(reason)) => return Err(reason),
            Err(End::Broken(cause)) => {
                if fetched.have.saturating_sub(had) >= patience.pace.1 {
                    tries = 0;
                    patience.retry.reset();
                }
                tries += 1;
                if tries >= patience.tries {
                    log::warn!("update: {} does not give the file: {cause}; giving up", wanted.url.host);
                    return Err(Reason::Unreachable);
                }
                let wait = patience.retry.failed(Duration::ZERO, dice());
                let (have, size) = (fetched.have, wanted.size);
                log::info!(
                    "update: {}: {cause}; {have} of {size} bytes are here, trying again in {:.1} s",
                    wanted.url.host,
                    wait.as_secs_f32()
                );
                tokio::time::sleep(wait).await;
            }
        }
    }
    if fetched.hash.finish().as_ref() != wanted.sha256 {
        return Err(Reason::WrongHash);
    }
    fetched.file.sync_all().await.map_err(|_| Reason::Disk)?;
    let folder = wanted.path.parent().unwrap_or(Path::new("/"));
    let durable = async { File::open(folder).await?.sync_all().await };
    durable.await.map_err(|_| Reason::Disk)
}

async fn attempt(wanted: &Wanted, tls: &Arc<ClientConfig>, patience: &Patience, fetched: &mut Fetched) -> Result<(), End> {
    let mut url = wanted.url.clone();
    for _ in 0..=ELSEWHERE {
        let late = |_| End::Broken("it does not answer".to_owned());
        let answered = async {
            let mut stream = connect(&url, tls).await?;
            stream.write_all(head::request(&url, fetched.have).as_bytes()).await?;
            stream.flush().await?;
            let mut bytes = Vec::new();
            loop {
                if let Some((length, body)) = head::read(&bytes, &url, wanted.size, fetched.have)? {
                    return Ok((stream, bytes.split_off(length), body));
                }
                let mut more = [0; 1_024];
                match stream.read(&mut more).await? {
                    0 => return Err(End::Broken("it closed the connection".to_owned())),
                    count => bytes.extend_from_slice(more.get(..count).unwrap_or_default()),
                }
                debug_assert!(bytes.len() <= MAX_HEAD + 1_024);
            }
        };
        let (mut stream, first, body) = timeout(patience.answer, answered).await.map_err(late)??;
        match body {
            Body::Elsewhere(other) => {
                url = other;
                continue;
            }
            Body::Whole => disk(fetched.begin_again().await)?,
            Body::Rest => {}
        }
        return take_body(wanted, patience, fetched, &mut stream, first).await;
    }
    Err(End::Never(Reason::Unreachable))
}

async fn connect(url: &Url, tls: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(url.host.clone()).map_err(io::Error::other)?;
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
    TlsConnector::from(Arc::clone(tls)).connect(name, stream).await
}

async fn take_body(
    wanted: &Wanted,
    patience: &Patience,
    fetched: &mut Fetched,
    stream: &mut TlsStream<TcpStream>,
    first: Vec<u8>,
) -> Result<(), End> {
    let (time, least) = patience.pace;
    let mut bytes = first;
    let (mut due, mut had) = (Instant::now() + time, fetched.have);
    loop {
        // No more is taken than was signed for, whatever follows.
        let room = usize::try_from(wanted.size - fetched.have).unwrap_or(usize::MAX);
        bytes.truncate(room);
        fetched.take(&bytes).await?;
        if fetched.have == wanted.size {
            return disk(fetched.file.flush().await);
        }
        if fetched.have - had >= least {
            (due, had) = (Instant::now() + time, fetched.have);
        }
        bytes.resize(16 * 1_024, 0);
        let slow = |_| End::Broken("it is too slow".to_owned());
        match tokio::time::timeout_at(due, stream.read(&mut bytes)).await.map_err(slow)?? {
            0 => return Err(End::Broken("the file broke off".to_owned())),
            count => bytes.truncate(count),
        }
    }
}

/// A number for [`Retry::failed`]; without randomness all routers wait alike.
fn dice() -> u16 {
    crate::clock::entropy().map_or(0, |entropy| u16::from_le_bytes([entropy.0[0], entropy.0[1]]))
}
