//! HTTPS: the door of the portal at which TLS comes first. It lies apart in the program (`rare.rs`): a router without a certificate
//! runs none of it.

use super::Limits;
use super::stream::Stream;
use rustls::ServerConfig;
use std::future::Future;
use std::io::Result;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What of an answer waits inside TLS for the client, in bytes, at most; more waits before it.
const WAITING: usize = 16 * 1024;

/// Where HTTPS is spoken.
pub struct Secure {
    /// Where connections come in.
    pub listener: TcpListener,
    /// The certificate and its key; none: there is no good one now, and connections are closed. A new one counts for new connections.
    pub config: watch::Receiver<Option<Arc<ServerConfig>>>,
}

/// With what a connection's TLS is agreed on, and when that may begin ([`super::pace`]).
pub struct Agreement {
    /// The certificate and its key.
    pub config: Arc<ServerConfig>,
    /// Not before.
    pub turn: Instant,
}

/// Agrees on TLS with a client, which has [`Limits::handshake`] for all of it from its turn on; nothing where it did not.
///
/// In a box: else each plain connection would have room for it in memory.
pub fn agreed(stream: TcpStream, agreement: Agreement, limits: &Limits) -> Pin<Box<dyn Future<Output = Option<Stream>>>> {
    let limit = limits.handshake;
    Box::pin(async move {
        let Agreement { config, turn } = agreement;
        if turn > Instant::now() {
            sleep_until(turn).await;
        }
        let agreeing = TlsAcceptor::from(config).accept_with(stream, |session| session.set_buffer_limit(Some(WAITING)));
        // What goes wrong is the client's: it hung up, was too slow, knows no TLS of ours, or does not believe the certificate.
        let stream = timeout(limit, agreeing).await.ok()?.ok()?;
        Some(Stream::Secure(Box::new(stream)))
    })
}

// What `stream` does over TLS: here, and never inlined there, so that it lies apart with the rest.

type Tls = TlsStream<TcpStream>;

#[inline(never)]
pub fn read(stream: &mut Tls, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
    Pin::new(stream).poll_read(cx, buf)
}

#[inline(never)]
pub fn write(stream: &mut Tls, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
    Pin::new(stream).poll_write(cx, buf)
}

#[inline(never)]
pub fn flush(stream: &mut Tls, cx: &mut Context<'_>) -> Poll<Result<()>> {
    Pin::new(stream).poll_flush(cx)
}

#[inline(never)]
pub fn shutdown(stream: &mut Tls, cx: &mut Context<'_>) -> Poll<Result<()>> {
    Pin::new(stream).poll_shutdown(cx)
}
