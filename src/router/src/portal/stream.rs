//! A customer's connection, plain or by TLS. One type for both, so that what is served over it is in the program once.

use super::secure;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp};
use tokio_rustls::server::TlsStream;

/// The connection.
pub enum Stream {
    /// Plain HTTP.
    Plain(TcpStream),
    /// HTTPS. Both halves are one thing to TLS; they are polled by one task, one after the other.
    Secure(Box<RefCell<TlsStream<TcpStream>>>),
}

/// The half that is read.
pub enum ReadHalf<'a> {
    /// Plain HTTP.
    Plain(tcp::ReadHalf<'a>),
    /// HTTPS.
    Secure(&'a RefCell<TlsStream<TcpStream>>),
}

/// The half that is written.
pub enum WriteHalf<'a> {
    /// Plain HTTP.
    Plain(tcp::WriteHalf<'a>),
    /// HTTPS.
    Secure(&'a RefCell<TlsStream<TcpStream>>),
}

impl Stream {
    /// Both halves.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match self {
            Self::Plain(stream) => {
                let (reading, writing) = stream.split();
                (ReadHalf::Plain(reading), WriteHalf::Plain(writing))
            }
            Self::Secure(stream) => (ReadHalf::Secure(stream), WriteHalf::Secure(stream)),
        }
    }
}

impl AsyncRead for ReadHalf<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_read(cx, buf),
            Self::Secure(stream) => secure::read(stream, cx, buf),
        }
    }
}

impl AsyncWrite for WriteHalf<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_write(cx, buf),
            Self::Secure(stream) => secure::write(stream, cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_flush(cx),
            Self::Secure(stream) => secure::flush(stream, cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_shutdown(cx),
            Self::Secure(stream) => secure::shutdown(stream, cx),
        }
    }
}
