//! HTTP/1.1, as little as the lab's hosts need: its client can also send what no honest client would.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Header lines in their order; names in lower case.
pub type Headers = Vec<(String, String)>;

fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// As `GET`.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Its header lines.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header line of that (lower case) name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// As 200.
    pub status: u16,
    /// Its header lines.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer of this type.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type".into(), content_type.into())], body: body.into() }
    }
    /// An answer in JSON.
    #[must_use]
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }
    /// The first header line of that (lower case) name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// The body as JSON; stops the test where it is none.
    #[must_use]
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("status {}, and no JSON ({e}): {}", self.status, self.text()))
    }
    /// The `code` of the contract's errors, where there is one.
    #[must_use]
    pub fn error_code(&self) -> Option<String> {
        let value: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(value["error"]["code"].as_str()?.to_owned())
    }
}

/// The bytes of a request with these header lines and the body's length.
#[must_use]
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        text += &format!("content-length: {}\r\n", body.len());
    }
    text += "\r\n";
    [text.as_bytes(), body].concat()
}

/// Sends these bytes and reads one answer. A sender that is refused early may fail to write the rest: the answer counts.
///
/// # Errors
/// When none comes.
pub fn exchange(mut stream: TcpStream, bytes: &[u8], is_head: bool) -> Result<Response> {
    let written = stream.write_all(bytes);
    let mut reader = BufReader::new(stream);
    match read_response(&mut reader, is_head) {
        Ok(response) => Ok(response),
        Err(read) => {
            written.context("sending the request")?;
            Err(read).context("reading the answer")
        }
    }
}

fn read_head(reader: &mut impl BufRead) -> Result<Option<(String, Headers)>> {
    let mut lines = Vec::new();
    let mut total = 0;
    loop {
        let mut line = String::new();
        let length = reader.take(16 * 1024).read_line(&mut line)?;
        total += length;
        if length == 0 {
            if lines.is_empty() {
                return Ok(None);
            }
            bail!("the connection ended within the header");
        }
        if total > 64 * 1024 {
            bail!("the header is too large");
        }
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let mut lines = lines.into_iter();
    let first = lines.next().context("no first line")?;
    let headers = lines.filter_map(|l| l.split_once(':').map(|(n, v)| (n.trim().to_lowercase(), v.trim().to_owned()))).collect();
    Ok(Some((first, headers)))
}

/// Reads one answer from a connection.
///
/// # Errors
/// When it is none, or the connection ends within it.
pub fn read_response(reader: &mut impl BufRead, is_head: bool) -> Result<Response> {
    let (status, headers) = read_response_head(reader)?;
    let body = if is_head { Vec::new() } else { read_body(reader, status, &headers)? };
    Ok(Response { status, headers, body })
}

/// Reads the body of an answer whose head was read.
///
/// # Errors
/// When the connection ends within it.
pub fn read_body(reader: &mut impl BufRead, status: u16, headers: &Headers) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if status == 204 || status == 304 || status < 200 {
        return Ok(body);
    }
    if header(headers, "transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16).context("a chunk's length")?;
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk)?;
            body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                return Ok(body);
            }
        }
    }
    if let Some(length) = header(headers, "content-length") {
        body = vec![0; length.parse().context("content-length")?];
        reader.read_exact(&mut body)?;
    } else {
        reader.read_to_end(&mut body)?;
    }
    Ok(body)
}

/// Reads an answer's status and header lines, and leaves its body: for streams.
///
/// # Errors
/// When it is none.
pub fn read_response_head(reader: &mut impl BufRead) -> Result<(u16, Headers)> {
    let (first, headers) = read_head(reader)?.context("the connection was closed without an answer")?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).with_context(|| format!("no HTTP answer: {first:?}"))?;
    Ok((status, headers))
}

/// What a handler does with a request.
pub enum Reply {
    /// Answers.
    Answer(Response),
    /// Closes the connection without an answer.
    HangUp,
    /// Writes what it likes, and closes.
    Raw(Box<dyn FnOnce(&mut TcpStream) + Send>),
}

/// A server; it stops listening when dropped.
pub struct Server {
    listener: TcpListener,
}

/// Serves `listener`, each connection on a thread of its own.
///
/// # Panics
/// When the listener cannot be cloned (no descriptors left).
pub fn serve(listener: TcpListener, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    let handler = Arc::new(handler);
    let accepting = listener.try_clone().expect("a descriptor is left");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = accepting.accept() {
            let handler = handler.clone();
            std::thread::spawn(move || {
                // What a peer does wrong ends its own connection.
                let _ = serve_connection(stream, &*handler);
            });
        }
    });
    Server { listener }
}

impl Drop for Server {
    fn drop(&mut self) {
        // This ends the thread's accept (Linux: EINVAL).
        let _ = nix::sys::socket::shutdown(std::os::fd::AsRawFd::as_raw_fd(&self.listener), nix::sys::socket::Shutdown::Both);
    }
}

fn serve_connection(stream: TcpStream, handler: &(impl Fn(&Request) -> Reply + ?Sized)) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some((first, headers)) = read_head(&mut reader)? {
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
        let mut body = Vec::new();
        if header(&headers, "transfer-encoding").is_some() {
            write_response(&mut writer, &Response::new(411, "text/plain", "say Content-Length"), false)?;
            bail!("a chunked body");
        }
        if let Some(length) = header(&headers, "content-length") {
            body = vec![0; length.parse::<usize>()?.min(1 << 20)];
            reader.read_exact(&mut body)?;
        }
        let close = header(&headers, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let request = Request { method, target, headers, body };
        match handler(&request) {
            Reply::Answer(response) => write_response(&mut writer, &response, request.method == "HEAD")?,
            Reply::HangUp => break,
            Reply::Raw(write) => {
                write(&mut writer);
                break;
            }
        }
        if close {
            break;
        }
    }
    let _ = writer.shutdown(Shutdown::Both);
    Ok(())
}

/// Writes an answer with its length.
///
/// # Errors
/// When the peer is gone.
pub fn write_response(writer: &mut impl Write, response: &Response, is_head: bool) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if response.status != 204 {
        head += &format!("content-length: {}\r\n", response.body.len());
    }
    head += "\r\n";
    let body: &[u8] = if is_head { &[] } else { &response.body };
    writer.write_all(&[head.as_bytes(), body].concat())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        302 => "Found",
        303 => "See Other",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_by_length_by_chunks_and_to_the_end() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nhello",
        ] {
            let response = read_response(&mut text.as_bytes(), false).unwrap();
            assert_eq!((response.status, response.text().as_str()), (200, "hello"));
        }
        assert!(read_response(&mut "SSH-2.0-x\r\n\r\n".as_bytes(), false).is_err());
        assert!(read_response(&mut "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel".as_bytes(), false).is_err());
    }

    #[test]
    fn a_server_answers_twice_on_one_connection_and_stops_when_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(listener, |request| Reply::Answer(Response::new(200, "text/plain", request.body.clone())));
        let mut stream = TcpStream::connect(address).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for body in ["one", "two"] {
            stream.write_all(&request("POST", "/", &[("host", "x")], body.as_bytes())).unwrap();
            assert_eq!(read_response(&mut reader, false).unwrap().text(), body);
        }
        drop(server);
        crate::wait::until_true("no more connections", Duration::from_secs(5), || TcpStream::connect(address).is_err()).unwrap();
    }
}
