//! picoserve's socket over tokio's, as it should be (docs/decisions/0004-portal-socket.md): answers leave in one piece, and
//! a client that does not go away after the last answer is cut off at one deadline, however it trickles.

use super::stream::{ReadHalf, Stream, WriteHalf};
use picoserve::io::{Read, Write, embedded_io_async as eio};
use picoserve::mem::{BorrowedBuffer, BorrowedCursor};
use picoserve::{Timeouts, Timer, TokioRuntime};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes of an answer that are gathered before they are sent.
const WRITE_BUFFER: usize = 4 * 1024;

/// The most that is read from a client after the last answer, so that a flood does not become work.
const DRAIN: usize = 64 * 1024;

/// What the handler of a request says to its connection, past picoserve.
#[derive(Debug)]
pub struct Line {
    end: Cell<Instant>,
    held: Cell<bool>,
    deaf: Cell<bool>,
    last: Notify,
    cut: Notify,
}

impl Line {
    /// For a connection that must be over at `end`.
    #[must_use]
    pub fn new(end: Instant) -> Self {
        Self { end: Cell::new(end), held: Cell::new(false), deaf: Cell::new(false), last: Notify::new(), cut: Notify::new() }
    }
    /// When it must be over.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.end.get()
    }
    /// Puts the end off, or not.
    pub fn ends_at(&self, end: Instant) {
        self.end.set(end);
    }
    /// While held, what is written is gathered: picoserve flushes between head and body.
    pub fn hold(&self, held: bool) {
        self.held.set(held);
    }
    /// From now on the client is not listened to any more: to picoserve it looks as if it had closed its side, so a body
    /// that nobody wants is not waited for.
    pub fn stop_reading(&self) {
        self.deaf.set(true);
    }
    /// The answer under way is the last one.
    pub fn close_after_this(&self) {
        self.last.notify_one();
    }
    /// The connection is over now, with no answer.
    pub fn cut(&self) {
        self.cut.notify_one();
    }
    /// Waits for [`Line::cut`].
    pub async fn cutting(&self) {
        self.cut.notified().await;
    }
    /// Waits for [`Line::close_after_this`].
    pub async fn closing(&self) {
        self.last.notified().await;
    }
}

/// A connection for picoserve.
pub struct Socket {
    /// The connection.
    pub stream: Stream,
    /// What its handler says to it.
    pub line: Rc<Line>,
    /// For the client to take the last answer and close.
    pub drain: Duration,
}

/// What went wrong with a connection.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Broken(#[from] std::io::Error);

impl eio::Error for Broken {
    fn kind(&self) -> eio::ErrorKind {
        eio::ErrorKind::Other
    }
}

/// The half that is read.
pub struct Reading<'a> {
    half: ReadHalf<'a>,
    line: Rc<Line>,
}

/// The half that is written.
pub struct Writing<'a> {
    half: BufWriter<WriteHalf<'a>>,
    line: Rc<Line>,
}

impl eio::ErrorType for Reading<'_> {
    type Error = Broken;
}

impl Read for Reading<'_> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Broken> {
        if self.line.deaf.get() {
            return Ok(0);
        }
        Ok(self.half.read(buf).await?)
    }
}

impl eio::ErrorType for Writing<'_> {
    type Error = Broken;
}

impl eio::Write for Writing<'_> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Broken> {
        self.half.write_all(buf).await?;
        Ok(buf.len())
    }
    async fn flush(&mut self) -> Result<(), Broken> {
        if !self.line.held.get() {
            self.half.flush().await?;
        }
        Ok(())
    }
}

impl Write for Writing<'_> {
    async fn write_with<F: FnOnce(BorrowedCursor<'_>) -> R, R>(&mut self, f: F) -> Result<R, Broken> {
        let mut bytes = [0; 256];
        let mut buffer = BorrowedBuffer::new(&mut bytes);
        let output = f(buffer.unfilled());
        self.half.write_all(buffer.filled()).await?;
        Ok(output)
    }
    async fn write_fmt(&mut self, args: std::fmt::Arguments<'_>) -> Result<(), Broken> {
        // picoserve's own formats again and again where its buffer is too small, and flushes in between.
        match args.as_str() {
            Some(text) => self.half.write_all(text.as_bytes()).await?,
            None => self.half.write_all(args.to_string().as_bytes()).await?,
        }
        Ok(())
    }
}

impl picoserve::io::Socket<TokioRuntime> for Socket {
    type Error = Broken;
    type ReadHalf<'a> = Reading<'a>;
    type WriteHalf<'a> = Writing<'a>;

    fn split(&mut self) -> (Reading<'_>, Writing<'_>) {
        let (reading, writing) = self.stream.split();
        let line = self.line.clone();
        (Reading { half: reading, line: line.clone() }, Writing { half: BufWriter::with_capacity(WRITE_BUFFER, writing), line })
    }

    /// As [`Socket::shutdown`]: even the client of a broken request should be able to read what was answered.
    async fn abort<T: Timer<TokioRuntime>>(self, timeouts: &Timeouts, timer: &T) -> Result<(), picoserve::Error<Broken>> {
        self.shutdown(timeouts, timer).await
    }

    async fn shutdown<T: Timer<TokioRuntime>>(mut self, _timeouts: &Timeouts, _timer: &T) -> Result<(), picoserve::Error<Broken>> {
        // Closing with bytes unread makes the kernel send a reset, which can overtake the answer: so they are read, until
        // one deadline that no trickle can put off.
        let (mut reading, mut writing) = self.stream.split();
        let farewell = async {
            tokio::io::AsyncWriteExt::shutdown(&mut writing).await?;
            let (mut scratch, mut total) = ([0; 512], 0);
            loop {
                match reading.read(&mut scratch).await? {
                    0 => return Ok(()),
                    more if total + more > DRAIN => return Ok(()),
                    more => total += more,
                }
            }
        };
        match tokio::time::timeout(self.drain, farewell).await {
            Ok(Err(cause)) => Err(picoserve::Error::Read(Broken(cause))),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}
