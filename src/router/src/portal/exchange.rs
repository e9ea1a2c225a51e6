//! One connection: its requests are read and looked at here. What goes elsewhere, and what is no request, is answered at once; the rest
//! goes through picoserve to the desk.

use super::desk::{Desk, Outcome};
use super::frame::{self, Fault, Frame};
use super::head::{Addressee, Head, Unreadable};
use super::kept::Asked;
use super::reply::{Problem, Reply};
use super::socket::{Line, Socket, State, farewell, receive, send};
use super::{Backend, Limits, events};
use picoserve::io::{Read, Write};
use picoserve::request::{Path, Request as ReadRequest, RequestParts};
use picoserve::response::custom::CustomResponse;
use picoserve::response::{Content, IntoResponse as _, Response, ResponseWriter, StatusCode};
use picoserve::routing::{PathRouterService, Router};
use picoserve::{Config, ResponseSent, Server, Timeouts};
use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

/// What a client sends so that it need not send a body in vain (RFC 9110 section 10.1.1).
const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Where a connection comes from, and where it came in.
#[derive(Debug, Clone, Copy)]
pub struct Ends<L> {
    /// The client's address.
    pub peer: IpAddr,
    /// Tells at which address it reached us.
    pub local: L,
    /// Whether by HTTPS.
    pub secure: bool,
}

/// Serves the requests of one connection, one after the other.
pub async fn converse<B, S, L>(desk: Rc<Desk<B>>, stream: S, ends: Ends<L>, line: Rc<Line>, limits: &Limits)
where
    B: Backend,
    S: AsyncRead + AsyncWrite + Unpin,
    L: Fn(&S) -> Option<IpAddr>,
{
    let Ends { peer, local, secure } = ends;
    let mut shared = RefCell::new(stream);
    let mut stopping = std::pin::pin!(desk.stopping());
    let mut fresh_until = line.begun() + limits.fresh;
    let mut redirected = false;
    // What has arrived and is not answered yet.
    let mut inbox = Vec::new();
    loop {
        line.is_now(State::Waiting);
        let stream = shared.get_mut();
        if inbox.is_empty() {
            inbox = Vec::new();
            let began = tokio::select! {
                biased;
                began = begins(stream, &mut inbox, &line, limits.idle, secure) => began,
                () = stopping.as_mut() => break,
            };
            if !matches!(began, Ok(1..)) {
                break;
            }
        }
        let mut looked_at = 0;
        let read = match whole(&desk, &inbox, &mut looked_at) {
            Some(read) => read,
            None => {
                line.is_now(State::Arriving);
                match Box::pin(timeout(limits.read, request(stream, &mut inbox, &mut looked_at, limits))).await {
                    Ok(Some(read)) => read,
                    Ok(None) => return,
                    Err(_) => Err(Problem::TOO_SLOW),
                }
            }
        };
        line.is_now(State::Answering);
        let (asked, length) = match read {
            Ok(read) => read,
            Err(problem) => {
                // Where this request ends is not known, so whatever follows must not be taken for the next one.
                if send(stream, &Reply::problem(problem).wire(true), limits.write).await {
                    line.is_now(State::Leaving);
                    Box::pin(farewell(stream, limits.drain)).await;
                }
                return;
            }
        };
        let head = &asked.head;
        let made = if head.addressee(desk.config().host_of(secure), || local(stream)) == Addressee::Elsewhere {
            // Browsers keep connections, and have spare ones. One that was made before payment still ends here: closed without a word, the
            // request goes out again on a new one (RFC 9110 section 9.2.2), which the gate lets through. Never so on a new one: a browser
            // shows an error then.
            if Instant::now() >= fresh_until || redirected && !desk.has_nothing(peer) {
                if desk.is_online(peer).await {
                    break;
                }
                fresh_until = Instant::now() + limits.fresh;
            }
            redirected = true;
            let closes = head.close || desk.crowded();
            Some((desk.redirect(secure, head.method == "HEAD", closes), closes))
        } else if head.method == "GET" && head.path == "/" {
            let closes = head.close || desk.crowded();
            let spoken = asked.spoken.get().unwrap_or_else(|| desk.spoken_by(head));
            asked.spoken.set(Some(spoken));
            let page = match desk.kept_start(head, spoken, peer, closes) {
                Some(page) => page,
                None => Box::pin(desk.sent_start(head, peer, closes)).await,
            };
            Some((page, closes))
        } else {
            None
        };
        let closes = if let Some((bytes, closes)) = made {
            if !send(stream, &bytes, limits.write).await {
                return;
            }
            if head.close && inbox.len() == length {
                // It said itself that it sends nothing more, so nothing can cross the answer.
                break;
            }
            closes
        } else {
            if !Box::pin(answered(&desk, &shared, (peer, secure), &line, limits, &inbox[..length])).await {
                return;
            }
            head.close || line.closes()
        };
        if closes {
            line.is_now(State::Leaving);
            Box::pin(farewell(shared.get_mut(), limits.drain)).await;
            return;
        }
        inbox.drain(..length);
        if desk.is_stopping() {
            break;
        }
    }
    if secure {
        line.is_now(State::Leaving);
        // TLS has a word for the end (RFC 8446 section 6.1): without it a client cannot tell it from an answer that somebody cut short.
        let _ = timeout(limits.drain, shared.get_mut().shutdown()).await;
    }
}

/// Waits for a request to begin; 0 where none does.
async fn begins<S: AsyncRead + Unpin>(
    stream: &mut S,
    inbox: &mut Vec<u8>,
    line: &Line,
    idle: Duration,
    secure: bool,
) -> std::io::Result<usize> {
    if secure {
        // It is told that it ends, so nobody may drop it: it has a timer of its own.
        return timeout(idle, receive(stream, inbox)).await.unwrap_or(Ok(0));
    }
    line.waits_until(Some(Instant::now() + idle));
    let began = receive(stream, inbox).await;
    line.waits_until(None);
    began
}

/// A request, and its length with its body.
type Request = Result<(Rc<Asked>, usize), Problem>;

/// The request that `inbox` begins with; none where it has not all arrived.
fn whole<B: Backend>(desk: &Desk<B>, inbox: &[u8], looked_at: &mut usize) -> Option<Request> {
    if let Some(asked) = desk.kept().head(inbox) {
        return Some(Ok((asked, inbox.len())));
    }
    let Frame { head, begins, body } = match frame::find(inbox, looked_at) {
        Ok(found) => found?,
        Err(fault) => return Some(Err(problem_of(fault))),
    };
    let length = begins + body;
    if inbox.len() < length {
        return None;
    }
    let asked = Rc::new(Asked::from(head));
    if inbox.len() == begins {
        desk.kept().keep_head(inbox, &asked);
    }
    Some(Ok((asked, length)))
}

/// Reads until `inbox` begins with a whole request; nothing where the client went away.
async fn request<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    inbox: &mut Vec<u8>,
    looked_at: &mut usize,
    limits: &Limits,
) -> Option<Request> {
    let (head, begins, body) = loop {
        match frame::find(inbox, looked_at) {
            Ok(Some(Frame { head, begins, body })) => break (head, begins, body),
            Ok(None) => {}
            Err(fault) => return Some(Err(problem_of(fault))),
        }
        if receive(stream, inbox).await.ok()? == 0 {
            return None;
        }
    };
    let length = begins + body;
    if head.expects && inbox.len() < length && !send(stream, GO_ON, limits.write).await {
        return None;
    }
    while inbox.len() < length {
        if receive(stream, inbox).await.ok()? == 0 {
            return None;
        }
    }
    Some(Ok((Rc::new(head.into()), length)))
}

fn problem_of(fault: Fault) -> Problem {
    match fault {
        Fault::TooLong => Problem::HEAD_TOO_LARGE,
        Fault::Unreadable(Unreadable::Chunked) => Problem::CHUNKED,
        Fault::Unreadable(Unreadable::TooLarge) => Problem::TOO_LARGE,
        Fault::Unreadable(Unreadable::Length) => Problem::new(400, "bad_request", "the Content-Length must be one number"),
        Fault::Unreadable(Unreadable::Malformed) => Problem::new(400, "bad_request", "this is no HTTP/1.1 request"),
    }
}

/// Hands a request to picoserve; `false` where its answer could not be sent.
async fn answered<B, S>(
    desk: &Rc<Desk<B>>,
    stream: &RefCell<S>,
    (peer, secure): (IpAddr, bool),
    line: &Rc<Line>,
    limits: &Limits,
    request: &[u8],
) -> bool
where
    B: Backend,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let read = length(limits.read);
    let timeouts =
        Timeouts { start_read_request: read, persistent_start_read_request: read, read_request: read, write: length(limits.write) };
    let config = Config::new(timeouts).keep_connection_alive();
    let app = Router::from_service(Exchange { desk: desk.clone(), peer, secure, line: line.clone() });
    let mut buffer = vec![0; request.len()];
    Server::new_tokio(&app, &config, &mut buffer).serve(Socket { request, stream, line }).await.is_ok()
}

fn length(duration: Duration) -> picoserve::time::Duration {
    picoserve::time::Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

struct Exchange<B> {
    desk: Rc<Desk<B>>,
    peer: IpAddr,
    secure: bool,
    line: Rc<Line>,
}

impl<B: Backend> PathRouterService for Exchange<B> {
    async fn call_path_router_service<R: Read, W: ResponseWriter<Error = R::Error>>(
        &self,
        _state: &(),
        _parameters: (),
        _path: Path<'_>,
        mut request: ReadRequest<'_, R>,
        writer: W,
    ) -> Result<ResponseSent, W::Error> {
        let bodiless = request.parts.method() == "HEAD";
        let (outcome, asked_to_close) = match read(&mut request).await {
            Some((mut head, body)) => {
                head.secure = self.secure;
                (self.desk.answer(&head, &body, self.peer).await, head.close)
            }
            // It was whole when it came here.
            None => (Outcome::Reply(Reply::problem(Problem::BAD_REQUEST).last()), true),
        };
        let connection = request.body_connection.finalize().await?;
        match outcome {
            Outcome::Reply(reply) => {
                let close = reply.close || asked_to_close || self.desk.crowded();
                let Reply { status, kind, headers, body, .. } = reply;
                if close {
                    self.line.close_after_this();
                }
                self.line.hold(true);
                let content = Whole { kind, parts: body, bodiless, line: self.line.clone() };
                Response::new(StatusCode::new(status), content)
                    .with_headers(headers.as_slice())
                    .with_headers(Some(("Connection", if close { "close" } else { "keep-alive" })))
                    .write_to(connection, writer)
                    .await
            }
            Outcome::Events(watch) => {
                self.line.ends_at(Instant::now() + self.desk.config().limits.stream);
                self.line.is_now(State::Streaming);
                self.line.close_after_this();
                let stream = events::Stream { desk: self.desk.clone(), watch };
                // picoserve itself says that the connection ends with it.
                let sent = CustomResponse::build(StatusCode::OK)
                    .with_header("Content-Type", "text/event-stream")
                    .with_header("Cache-Control", "no-store")
                    .with_header("X-Content-Type-Options", "nosniff")
                    .with_body(stream)
                    .write_to(connection, writer)
                    .await;
                // But it reads on, and must not come to a request that was not looked at: from here on there is nothing more to be read.
                self.line.is_now(State::Leaving);
                sent
            }
        }
    }
}

/// The request as picoserve reads it.
async fn read<R: Read>(request: &mut ReadRequest<'_, R>) -> Option<(Head, Vec<u8>)> {
    let (head, length) = head_of(request.parts).ok()?;
    if length == 0 {
        return Some((head, Vec::new()));
    }
    let body = request.body_connection.body().read_all().await.ok()?;
    Some((head, body.to_vec()))
}

fn head_of(parts: RequestParts<'_>) -> Result<(Head, u64), Unreadable> {
    let headers: Vec<(Cow<'_, str>, Cow<'_, str>)> = parts
        .headers()
        .iter()
        .map(|(name, value)| (String::from_utf8_lossy(name.as_raw()), String::from_utf8_lossy(value.as_raw())))
        .collect();
    let query = parts.query().map_or("", |query| query.0);
    let target = [parts.path().encoded(), "?", query].concat();
    Head::read(parts.method(), &target, parts.http_version(), headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref())))
}

/// A body whose length is known.
struct Whole {
    kind: &'static str,
    parts: Vec<Cow<'static, [u8]>>,
    /// The answer to a HEAD: everything but the body (RFC 9110 section 9.3.2).
    bodiless: bool,
    line: Rc<Line>,
}

impl Content for Whole {
    fn content_type(&self) -> &'static str {
        self.kind
    }
    fn content_length(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
    async fn write_content<W: Write>(self, mut writer: W) -> Result<(), W::Error> {
        if !self.bodiless {
            for part in &self.parts {
                writer.write_all(part).await?;
            }
        }
        // picoserve flushes next, and that is the one that counts.
        self.line.hold(false);
        Ok(())
    }
}
