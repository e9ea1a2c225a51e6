//! The person's browser as a phone of the LAN: a reverse proxy whose connections are made from inside the phone.

use lango_lab::http::{self, Reply, Request, Response};
use lango_lab::phone::Phone;
use lango_lab::world::PORTAL;
use std::io::{BufReader, Read, Write};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(15);

/// The portal, as seen from that phone.
#[derive(Clone)]
pub struct Portal {
    phone: Arc<Phone>,
    /// How the browser calls this proxy.
    here: String,
}

impl Portal {
    pub fn new(phone: Arc<Phone>, here: &str) -> Self {
        Self { phone, here: format!("http://{here}") }
    }

    pub fn answer(&self, request: &Request) -> Reply {
        self.forward(request).unwrap_or_else(|e| {
            Reply::Answer(Response::new(502, "text/plain; charset=utf-8", format!("The portal does not answer: {e:#}\n")))
        })
    }

    fn forward(&self, request: &Request) -> anyhow::Result<Reply> {
        let authority = PORTAL.trim_start_matches("http://");
        let stream = self.phone.connect(self.phone.address_of(authority)?, PATIENCE)?;
        let mut headers = vec![("host".to_owned(), authority.to_owned()), ("connection".to_owned(), "close".to_owned())];
        for (name, value) in &request.headers {
            // No compression, so that links can be rewritten; the rest is between browser and portal.
            if !matches!(name.as_str(), "host" | "connection" | "accept-encoding" | "content-length") {
                headers.push((name.clone(), value.replace(&self.here, PORTAL)));
            }
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let mut sending = stream.try_clone()?;
        sending.write_all(&http::request(&request.method, &request.target, &headers, &request.body))?;
        let mut reader = BufReader::new(stream);
        let (status, headers) = http::read_response_head(&mut reader)?;
        let mut headers: http::Headers = headers.into_iter().map(|(name, value)| (name, value.replace(PORTAL, &self.here))).collect();
        let kind = headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.clone()).unwrap_or_default();
        if kind.starts_with("text/event-stream") {
            return Ok(Reply::Raw(Box::new(move |browser| stream_events(status, &headers, reader, browser))));
        }
        let mut body = if request.method == "HEAD" { Vec::new() } else { http::read_body(&mut reader, status, &headers)? };
        if kind.starts_with("text/") || kind.contains("json") || kind.contains("javascript") {
            body = String::from_utf8_lossy(&body).replace(PORTAL, &self.here).into_bytes();
        }
        headers.retain(|(name, _)| !matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection"));
        Ok(Reply::Answer(Response { status, headers, body }))
    }
}

/// Events go through as they come. The chunks of the portal, if there are any, go through with their own header.
fn stream_events(status: u16, headers: &http::Headers, mut portal: BufReader<std::net::TcpStream>, browser: &mut std::net::TcpStream) {
    let mut head = format!("HTTP/1.1 {status} OK\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let _ = portal.get_ref().set_read_timeout(Some(Duration::from_secs(300)));
    let mut block = [0; 4096];
    let mut written = browser.write_all(head.as_bytes());
    while written.is_ok() {
        match portal.read(&mut block) {
            Ok(length @ 1..) => written = browser.write_all(&block[..length]),
            _ => break,
        }
    }
}
