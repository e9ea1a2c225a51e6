//! A web server with a file, over TLS: an honest one, or one that does what servers should not.

use crate::authority::Authority;
use crate::net::Namespace;
use anyhow::{Context, Result};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// The file, or the part of it that is asked for.
    Honest,
    /// The same, and it closes each connection after so many bytes.
    CutsAfter(usize),
    /// It always begins at the beginning, and closes each connection after so many bytes.
    KnowsNoRanges(usize),
    /// A byte a second.
    Trickles,
    /// It says so many bytes more or fewer than there are.
    Says(isize),
    /// One byte is another one.
    Changes,
    /// More follows than it said.
    AndMore,
    /// It answers with this status alone.
    Status(u16),
    /// The file is at this address.
    Elsewhere(String),
    /// It takes connections, and never says a word.
    Silent,
}

struct Shared {
    file: Mutex<Vec<u8>>,
    manner: Mutex<Manner>,
    /// The first byte that was asked for, each time.
    asked: Mutex<Vec<usize>>,
}

/// The server. It serves as long as the process lives.
pub struct Downloads {
    /// Its port.
    pub port: u16,
    shared: Arc<Shared>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Downloads {
    /// Starts it in a namespace, with a certificate for `host`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn inside(namespace: &Namespace, authority: &Authority, host: &str, port: u16) -> Result<Self> {
        let listener = namespace.run(|| TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))?;
        Self::on(listener, authority, host)
    }

    /// Starts it on this machine, at any port.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn here(authority: &Authority, host: &str) -> Result<Self> {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, authority, host)
    }

    fn on(listener: TcpListener, authority: &Authority, host: &str) -> Result<Self> {
        let (certificate, key) = authority.certify(host)?;
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?);
        let shared = Arc::new(Shared { file: Mutex::default(), manner: Mutex::new(Manner::Honest), asked: Mutex::default() });
        let port = listener.local_addr()?.port();
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, shared) = (Arc::clone(&config), Arc::clone(&serving));
                std::thread::spawn(move || {
                    // A client that goes away is nothing to tell.
                    let _ = serve(stream, config, &shared);
                });
            }
        });
        Ok(Self { port, shared })
    }

    /// The file from now on, and how it is served.
    pub fn serve(&self, file: &[u8], manner: Manner) {
        *locked(&self.shared.file) = file.to_vec();
        *locked(&self.shared.manner) = manner;
        locked(&self.shared.asked).clear();
    }

    /// From which byte on the file was asked for, each time since [`Downloads::serve`].
    #[must_use]
    pub fn asked(&self) -> Vec<usize> {
        locked(&self.shared.asked).clone()
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) -> Result<()> {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    let mut from = 0;
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            from = range.trim().trim_end_matches('-').parse().context("a range")?;
        }
        line.clear();
    }
    locked(&shared.asked).push(from);
    let (mut file, manner) = (locked(&shared.file).clone(), locked(&shared.manner).clone());
    let mut stream = stream.into_inner();
    let whole = file.len();
    if let Manner::Changes = manner {
        file[whole / 2] ^= 1;
    }
    if matches!(manner, Manner::KnowsNoRanges(_)) {
        from = 0;
    }
    let body = file.get(from..).unwrap_or_default();
    let mut say = |head: String, body: &[u8]| -> Result<()> {
        stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes())?;
        stream.write_all(body)?;
        stream.flush()?;
        Ok(())
    };
    let head = |length: usize| match from {
        0 => format!("200 OK\r\nContent-Length: {length}"),
        _ => format!("206 Partial Content\r\nContent-Length: {length}\r\nContent-Range: bytes {from}-{}/{whole}", whole - 1),
    };
    match manner {
        Manner::Honest | Manner::Changes => say(head(body.len()), body)?,
        Manner::CutsAfter(count) | Manner::KnowsNoRanges(count) => say(head(body.len()), &body[..count.min(body.len())])?,
        Manner::Says(more) => say(head(body.len().saturating_add_signed(more)), body)?,
        Manner::AndMore => say(head(body.len()), &[body, &[7; 100_000]].concat())?,
        Manner::Status(status) => say(format!("{status} Said\r\nContent-Length: 0"), &[])?,
        Manner::Elsewhere(url) => say(format!("302 Found\r\nLocation: {url}\r\nContent-Length: 0"), &[])?,
        Manner::Silent => std::thread::sleep(Duration::from_secs(600)),
        Manner::Trickles => {
            say(head(body.len()), &[])?;
            for byte in body {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}
