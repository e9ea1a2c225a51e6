//! `RadSec`: RADIUS over TLS (RFC 6614): one connection for each server, made again whenever it ends.

use super::config::{Certificates, ServerConfig};
use super::packet::{HEADER, MAX_LENGTH};
use super::server::Server;
use super::udp::resolve;
use crate::retry::Retry;
use crate::tls;
use anyhow::Context as _;
use rustls_pki_types::ServerName;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// So long a connection may take until TLS is agreed on.
const CONNECT: Duration = Duration::from_secs(10);

/// So long a packet may take to be taken by the other side. A connection that stands still longer is given up.
const WRITE: Duration = Duration::from_secs(5);

/// A connection over which nothing was asked for so long is tried.
pub const IDLE: Duration = Duration::from_secs(20);

/// What lasted so long may be closed by the other side when nobody asks, and is made again at once.
const LASTED: Duration = Duration::from_secs(5);

/// What connects, by the operator's certificates.
///
/// # Errors
/// When they cannot be read.
pub fn connector(certificates: &Certificates) -> anyhow::Result<TlsConnector> {
    let own = certificates.own.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    let config = tls::client_config(certificates.ca.as_deref(), own).context("radius: RadSec")?;
    Ok(TlsConnector::from(config))
}

/// Holds the connection to a server, as long as it lives.
pub async fn serve(server: Rc<Server>, mut packets: mpsc::Receiver<Vec<u8>>, connector: TlsConnector) {
    let mut retry = Retry::of_a_connection();
    loop {
        let mut worked = Duration::ZERO;
        let cause = match timeout(CONNECT, connect(&server, &connector)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                let since = Instant::now();
                // What was to go over the last connection has been given up.
                while packets.try_recv().is_ok() {}
                server.connected(stream.get_ref().0.local_addr().ok().map(|address| address.ip()));
                let Some(cause) = carry(&server, stream, &mut packets).await else { return };
                let closed = cause.kind() == io::ErrorKind::UnexpectedEof && server.is_idle();
                server.disconnected();
                worked = since.elapsed();
                if closed && worked >= LASTED {
                    log::debug!("radius: {} closed the connection; connecting again", server.config);
                    retry.reset();
                    continue;
                }
                cause
            }
            Err(cause) => cause,
        };
        let wait = retry.failed(worked, u16::MAX);
        log::warn!("radius: {}: {cause}; connecting again in {:.0} s", server.config, wait.as_secs_f32());
        sleep(wait).await;
    }
}

async fn connect(server: &Server, connector: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let ServerConfig { host, .. } = &server.config;
    let name = ServerName::try_from(host.clone()).map_err(|cause| io::Error::new(io::ErrorKind::InvalidInput, cause))?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in resolve(server).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return connector.connect(name, stream).await;
            }
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

/// Sends and receives until the connection ends; gives back why, or nothing where nobody asks any more.
async fn carry(server: &Server, stream: TlsStream<TcpStream>, packets: &mut mpsc::Receiver<Vec<u8>>) -> Option<io::Error> {
    let (mut reading, mut writing) = split(stream);
    // Answers to orders go out by the same connection.
    let (answers, mut answered) = mpsc::channel(16);
    let receive = async {
        loop {
            match packet(&mut reading).await {
                Ok(packet) => server.received(&packet, Some(&answers)),
                Err(cause) => return cause,
            }
        }
    };
    let send = async {
        loop {
            let packet = tokio::select! {
                packet = packets.recv() => packet?,
                Some(answer) = answered.recv() => answer,
                // There was no answer in time: the other side may be gone without a word.
                () = server.renew.notified() => return Some(io::Error::new(io::ErrorKind::TimedOut, "it does not answer")),
            };
            let written = timeout(WRITE, async {
                writing.write_all(&packet).await?;
                writing.flush().await
            });
            if let Err(cause) = written.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                return Some(cause);
            }
        }
    };
    tokio::select! {
        cause = receive => Some(cause),
        end = send => end,
    }
}

/// The next packet: its length is in its header (RFC 6613 section 2.6.4). One that cannot be is the connection's end.
async fn packet(reading: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; HEADER];
    reading.read_exact(&mut packet).await?;
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    if !(HEADER..=MAX_LENGTH).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet of an impossible length"));
    }
    packet.resize(length, 0);
    reading.read_exact(packet.get_mut(HEADER..).unwrap_or_default()).await?;
    Ok(packet)
}
