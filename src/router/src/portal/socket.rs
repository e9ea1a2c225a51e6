//! What lies between a connection and picoserve (docs/decisions/0004-portal-socket.md, 0037-street.md): picoserve gets one whole request
//! that was looked at before, out of memory, and its answer leaves in one piece.

use picoserve::io::{Read, Write, embedded_io_async as eio};
use picoserve::mem::{BorrowedBuffer, BorrowedCursor};
use picoserve::{Timeouts, Timer, TokioRuntime};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::Instant;

/// What is read of a connection at once.
const PIECE: usize = 4 * 1024;

/// Room for a page's answer, so that it is not moved while it grows.
const ANSWER: usize = 8 * 1024;

/// The most that is read from a client after the last answer, so that a flood does not become work.
const DRAIN: usize = 64 * 1024;

/// What a connection is doing. The later ones are worth more: where places are rare, the first here goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It has not come to an agreement on TLS yet.
    Agreeing,
    /// It has its last answer.
    Leaving,
    /// Nothing of its next request has arrived yet.
    Waiting,
    /// A part of its next request has arrived.
    Arriving,
    /// Events are sent on it. Whoever loses them asks by polling.
    Streaming,
    /// A request of its is being answered.
    Answering,
}

/// What is known of a connection outside of its task, and what is said to it.
#[derive(Debug)]
pub struct Line {
    begun: Instant,
    end: Cell<Instant>,
    /// When the next request must have begun, where one is waited for.
    patience: Cell<Option<Instant>>,
    state: Cell<State>,
    held: Cell<bool>,
    last: Cell<bool>,
    cut: Cell<bool>,
    /// Who waits to be cut.
    waiting: RefCell<Option<Waker>>,
}

impl Line {
    /// For a connection that began then, and must be over at `end`.
    #[must_use]
    pub fn new(begun: Instant, end: Instant, state: State) -> Self {
        Self {
            begun,
            end: Cell::new(end),
            patience: Cell::new(None),
            state: Cell::new(state),
            held: Cell::new(false),
            last: Cell::new(false),
            cut: Cell::new(false),
            waiting: RefCell::default(),
        }
    }
    /// When it began.
    #[must_use]
    pub const fn begun(&self) -> Instant {
        self.begun
    }
    /// When it is over if nothing more happens on it.
    #[must_use]
    pub fn over(&self) -> Instant {
        self.patience.get().map_or(self.end.get(), |patience| patience.min(self.end.get()))
    }
    /// A request must have begun by then; or none is waited for any more.
    pub fn waits_until(&self, patience: Option<Instant>) {
        self.patience.set(patience);
    }
    /// Puts the end off, or not.
    pub fn ends_at(&self, end: Instant) {
        self.end.set(end);
    }
    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.get()
    }
    /// Says what it is doing now.
    pub fn is_now(&self, state: State) {
        self.state.set(state);
    }
    /// While held, what is written is gathered: picoserve flushes between head and body.
    pub fn hold(&self, held: bool) {
        self.held.set(held);
    }
    /// The answer under way is the last one.
    pub fn close_after_this(&self) {
        self.last.set(true);
    }
    /// Whether [`Line::close_after_this`] was said.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.last.get()
    }
    /// The connection is over now, with no answer: another one needs its place.
    pub fn cut(&self) {
        self.cut.set(true);
        let waiting = self.waiting.take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
    /// Waits for [`Line::cut`]. For one task: the connection's own.
    pub async fn cutting(&self) {
        poll_fn(|context| {
            if self.cut.get() {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.as_ref().is_some_and(|waiting| waiting.will_wake(context.waker())) {
                *waiting = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

/// Reads what has arrived, and adds it to `inbox`; 0 at the end. A connection on which nothing arrives holds no memory for it.
///
/// # Errors
/// The connection's.
pub async fn receive<S: AsyncRead + Unpin>(stream: &mut S, inbox: &mut Vec<u8>) -> std::io::Result<usize> {
    poll_fn(|context| {
        let mut piece = [std::mem::MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        Pin::new(&mut *stream).poll_read(context, &mut piece).map_ok(|()| {
            inbox.extend_from_slice(piece.filled());
            piece.filled().len()
        })
    })
    .await
}

/// Sends `bytes` within `limit`; `false` where the client did not take them.
pub async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8], limit: Duration) -> bool {
    // The kernel nearly always takes an answer at once: then there is nothing to wait for, and no timer to set.
    let at_once = poll_fn(|context| {
        let written = match Pin::new(&mut *stream).poll_write(context, bytes) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(_)) => return Poll::Ready(None),
            Poll::Pending => 0,
        };
        let flushed = written == bytes.len() && matches!(Pin::new(&mut *stream).poll_flush(context), Poll::Ready(Ok(())));
        Poll::Ready(Some((written, flushed)))
    });
    let (written, flushed) = match at_once.await {
        Some(done) => done,
        None => return false,
    };
    flushed || Box::pin(send_rest(stream, &bytes[written..], limit)).await
}

async fn send_rest<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8], limit: Duration) -> bool {
    let sent = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    matches!(tokio::time::timeout(limit, sent).await, Ok(Ok(())))
}

/// Ends a connection so that the last answer arrives: closing with bytes unread makes the kernel send a reset, which can overtake the
/// answer. So they are read, until one deadline that no trickle can put off.
pub async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, limit: Duration) {
    let said = async {
        stream.shutdown().await?;
        let (mut scratch, mut total) = ([0; 512], 0);
        while total <= DRAIN {
            match stream.read(&mut scratch).await? {
                0 => break,
                more => total += more,
            }
        }
        std::io::Result::Ok(())
    };
    // Whatever comes of it, the connection is over.
    let _ = tokio::time::timeout(limit, said).await;
}

/// One request, and the connection that its answer goes to.
pub struct Socket<'c, S> {
    /// The whole request, head and body.
    pub request: &'c [u8],
    /// The connection. Both halves only poll it, so neither holds it while it waits.
    pub stream: &'c RefCell<S>,
    /// What its handler says to it.
    pub line: &'c Line,
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

/// The request, to be read. Behind it is the end: to picoserve each request is its connection's last. Only while events are sent the
/// connection itself is listened to, so that it is noticed when the client goes away.
pub struct Reading<'a, S> {
    rest: &'a [u8],
    stream: &'a RefCell<S>,
    line: &'a Line,
}

/// The half that is written.
pub struct Writing<'a, S> {
    stream: &'a RefCell<S>,
    gathered: Vec<u8>,
    line: &'a Line,
}

impl<S> eio::ErrorType for Reading<'_, S> {
    type Error = Broken;
}

impl<S: AsyncRead + Unpin> Read for Reading<'_, S> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Broken> {
        if self.rest.is_empty() && self.line.state() == State::Streaming {
            let stream = self.stream;
            return Ok(poll_fn(|context| {
                let mut piece = ReadBuf::new(buf);
                Pin::new(&mut *stream.borrow_mut()).poll_read(context, &mut piece).map_ok(|()| piece.filled().len())
            })
            .await?);
        }
        let length = buf.len().min(self.rest.len());
        let (now, later) = self.rest.split_at(length);
        buf[..length].copy_from_slice(now);
        self.rest = later;
        Ok(length)
    }
}

impl<S> eio::ErrorType for Writing<'_, S> {
    type Error = Broken;
}

impl<S: AsyncWrite + Unpin> eio::Write for Writing<'_, S> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Broken> {
        self.gathered.extend_from_slice(buf);
        Ok(buf.len())
    }
    async fn flush(&mut self) -> Result<(), Broken> {
        if !self.line.held.get() {
            let mut sent = 0;
            while sent < self.gathered.len() {
                match poll_fn(|context| Pin::new(&mut *self.stream.borrow_mut()).poll_write(context, &self.gathered[sent..])).await? {
                    0 => return Err(Broken(std::io::ErrorKind::WriteZero.into())),
                    more => sent += more,
                }
            }
            self.gathered.clear();
            poll_fn(|context| Pin::new(&mut *self.stream.borrow_mut()).poll_flush(context)).await?;
        }
        Ok(())
    }
}

impl<S: AsyncWrite + Unpin> Write for Writing<'_, S> {
    async fn write_with<F: FnOnce(BorrowedCursor<'_>) -> R, R>(&mut self, f: F) -> Result<R, Broken> {
        let mut bytes = [0; 256];
        let mut buffer = BorrowedBuffer::new(&mut bytes);
        let output = f(buffer.unfilled());
        self.gathered.extend_from_slice(buffer.filled());
        Ok(output)
    }
    async fn write_fmt(&mut self, args: std::fmt::Arguments<'_>) -> Result<(), Broken> {
        // picoserve's own formats again and again where its buffer is too small, and flushes in between.
        Ok(std::io::Write::write_fmt(&mut self.gathered, args)?)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> picoserve::io::Socket<TokioRuntime> for Socket<'_, S> {
    type Error = Broken;
    type ReadHalf<'a>
        = Reading<'a, S>
    where
        Self: 'a;
    type WriteHalf<'a>
        = Writing<'a, S>
    where
        Self: 'a;

    fn split(&mut self) -> (Reading<'_, S>, Writing<'_, S>) {
        let (stream, line) = (self.stream, self.line);
        (Reading { rest: self.request, stream, line }, Writing { stream, gathered: Vec::with_capacity(ANSWER), line })
    }

    /// The connection may go on: that is for whoever handed in the request.
    async fn abort<T: Timer<TokioRuntime>>(self, _timeouts: &Timeouts, _timer: &T) -> Result<(), picoserve::Error<Broken>> {
        Ok(())
    }

    /// As [`Socket::abort`].
    async fn shutdown<T: Timer<TokioRuntime>>(self, _timeouts: &Timeouts, _timer: &T) -> Result<(), picoserve::Error<Broken>> {
        Ok(())
    }
}
