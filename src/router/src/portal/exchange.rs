//! picoserve's side of the portal: one request read, one answer written.

use super::desk::{Desk, Outcome};
use super::head::{Head, Unreadable};
use super::reply::{Problem, Reply};
use super::socket::{Line, Socket};
use super::stream::Stream;
use super::{Backend, Limits, events};
use picoserve::io::{Read, Write};
use picoserve::request::{Path, Request, RequestParts};
use picoserve::response::custom::CustomResponse;
use picoserve::response::{Content, IntoResponse as _, Response, ResponseWriter, StatusCode};
use picoserve::routing::{PathRouterService, Router};
use picoserve::{Config, ResponseSent, Server, Timeouts};
use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// A request's head and body together have to fit: at least 8 KiB for the head.
const BUFFER: usize = 16 * 1024;

/// Serves the requests of one connection.
pub async fn converse<B: Backend>(desk: Rc<Desk<B>>, stream: Stream, peer: IpAddr, local: IpAddr, line: Rc<Line>, limits: &Limits) {
    let config = Config::new(Timeouts {
        start_read_request: length(limits.idle),
        persistent_start_read_request: length(limits.idle),
        read_request: length(limits.read),
        write: length(limits.write),
    })
    .keep_connection_alive();
    let secure = matches!(stream, Stream::Secure(_));
    let mut buffer = vec![0; BUFFER];
    let stopping = desk.stopping();
    let closing = line.clone();
    let last = async move {
        tokio::select! {
            () = closing.closing() => {}
            () = stopping => {}
        }
    };
    let app = Router::from_service(Exchange { desk, peer, local, secure, line: line.clone(), fresh_until: Instant::now() + limits.fresh });
    let socket = Socket { stream, line, drain: limits.drain };
    // What ends a connection early is the client's: it hung up, was too slow, or sent something that is no request.
    let _ = Server::new_tokio(&app, &config, &mut buffer).with_graceful_shutdown(last, length(limits.stop)).serve(socket).await;
}

fn length(duration: Duration) -> picoserve::time::Duration {
    picoserve::time::Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

struct Exchange<B> {
    desk: Rc<Desk<B>>,
    peer: IpAddr,
    local: IpAddr,
    secure: bool,
    line: Rc<Line>,
    fresh_until: Instant,
}

impl<B: Backend> PathRouterService for Exchange<B> {
    async fn call_path_router_service<R: Read, W: ResponseWriter<Error = R::Error>>(
        &self,
        _state: &(),
        _parameters: (),
        _path: Path<'_>,
        mut request: Request<'_, R>,
        writer: W,
    ) -> Result<ResponseSent, W::Error> {
        let bodiless = request.parts.method() == "HEAD";
        let outcome = match read(&mut request).await {
            Ok((mut head, body)) => {
                head.secure = self.secure;
                self.desk.answer(&head, &body, self.peer, self.local, Instant::now() >= self.fresh_until).await
            }
            Err(problem) => {
                // Where this request ends is not known, so whatever follows must not be taken for the next one.
                self.line.stop_reading();
                Outcome::Reply(Reply::problem(problem).last())
            }
        };
        let connection = request.body_connection.finalize().await?;
        match outcome {
            Outcome::Reply(reply) => {
                let close = reply.close || self.desk.crowded();
                let Reply { status, kind, headers, body, .. } = reply;
                if close {
                    self.line.close_after_this();
                }
                self.line.hold(true);
                let content = Whole { kind, parts: body, bodiless, line: self.line.clone() };
                Response::new(StatusCode::new(status), content)
                    .with_headers(headers.as_slice())
                    .with_headers(close.then_some(("Connection", "close")))
                    .write_to(connection, writer)
                    .await
            }
            Outcome::Nothing => {
                self.line.cut();
                std::future::pending().await
            }
            Outcome::Events(watch) => {
                self.line.ends_at(Instant::now() + self.desk.config().limits.stream);
                let stream = events::Stream { desk: self.desk.clone(), watch, line: self.line.clone() };
                CustomResponse::build(StatusCode::OK)
                    .with_header("Content-Type", "text/event-stream")
                    .with_header("Cache-Control", "no-store")
                    .with_header("X-Content-Type-Options", "nosniff")
                    .with_body(stream)
                    .write_to(connection, writer)
                    .await
            }
        }
    }
}

async fn read<R: Read>(request: &mut Request<'_, R>) -> Result<(Head, Vec<u8>), Problem> {
    let (head, length) = head_of(request.parts).map_err(|fault| match fault {
        Unreadable::Chunked => Problem::CHUNKED,
        Unreadable::TooLarge => Problem::TOO_LARGE,
        Unreadable::Length => Problem::new(400, "bad_request", "the Content-Length must be one number"),
        Unreadable::Malformed => Problem::new(400, "bad_request", "this is no HTTP/1.1 request"),
    })?;
    if length == 0 {
        return Ok((head, Vec::new()));
    }
    let body = request.body_connection.body();
    if !body.entire_body_fits_into_buffer() {
        return Err(Problem::TOO_LARGE);
    }
    match body.read_all().await {
        Ok(body) => Ok((head, body.to_vec())),
        Err(_) => Err(Problem::TOO_SLOW),
    }
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
