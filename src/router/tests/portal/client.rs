//! HTTP by hand: tests say what goes over the wire, byte for byte, and read what comes back.

use crate::world::World;
use serde_json::Value;
use std::io::Read as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found =
            self.head.lines().skip(1).filter_map(|line| line.split_once(": ")).filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value);
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }
    pub fn text(&self) -> String {
        let mut text = String::new();
        if self.header("content-encoding") == Some("gzip") {
            flate2::read::GzDecoder::new(&self.body[..]).read_to_string(&mut text).expect("it is a gzip file");
        } else {
            text = String::from_utf8(self.body.clone()).expect("it is UTF-8");
        }
        text
    }
    pub fn json(&self) -> Value {
        assert!(self.header("content-type").unwrap().contains("json"), "{}", self.head);
        assert!(self.header("cache-control").unwrap().contains("no-store"));
        serde_json::from_slice(&self.body).unwrap_or_else(|fault| panic!("{fault}: {}", self.text()))
    }
    /// The code of an error, which has the contract's form.
    pub fn code(&self) -> String {
        let json = self.json();
        assert!(json["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
        json["error"]["code"].as_str().unwrap().to_owned()
    }
}

/// Reads answers off a connection, one after the other.
pub struct Wire {
    pub stream: TcpStream,
    rest: Vec<u8>,
}

impl Wire {
    pub async fn open(world: &World, from: &str) -> Self {
        Self { stream: world.connect(from).await, rest: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads until `end` is in what came; gives back everything up to and with it. None where the portal closed before.
    pub async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.rest.windows(end.len()).position(|window| window == end) {
                return Some(self.rest.drain(..at + end.len()).collect());
            }
            let mut buffer = [0; 4096];
            match tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("the portal neither answers nor closes") {
                Ok(more @ 1..) => self.rest.extend_from_slice(&buffer[..more]),
                Ok(_) | Err(_) => return None,
            }
        }
    }

    pub async fn answer(&mut self, bodiless: bool) -> Option<Answer> {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await?).expect("a head is ASCII");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length: usize = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        if !bodiless {
            while self.rest.len() < length {
                let mut buffer = [0; 4096];
                let more = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("the body does not come").unwrap();
                assert!(more > 0, "the body is cut off");
                self.rest.extend_from_slice(&buffer[..more]);
            }
            answer.body = self.rest.drain(..length).collect();
        }
        Some(answer)
    }

    /// Everything until the portal closes.
    pub async fn until_closed(mut self) -> Vec<u8> {
        let _ = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut self.rest)).await.expect("the portal does not close");
        self.rest
    }
}

/// One request on a connection of its own.
pub async fn raw(world: &World, from: &str, request: &str) -> Answer {
    let mut wire = Wire::open(world, from).await;
    wire.send(request.as_bytes()).await;
    wire.answer(request.starts_with("HEAD")).await.expect("an answer")
}

pub async fn get_with(world: &World, from: &str, path: &str, headers: &str) -> Answer {
    raw(world, from, &format!("GET {path} HTTP/1.1\r\nHost: portal.lan:{}\r\n{headers}\r\n", world.address.port())).await
}

pub async fn get(world: &World, from: &str, path: &str) -> Answer {
    get_with(world, from, path, "").await
}

pub async fn post(world: &World, from: &str, path: &str, headers: &str, body: &str) -> Answer {
    let port = world.address.port();
    raw(world, from, &format!("POST {path} HTTP/1.1\r\nHost: portal.lan:{port}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()))
        .await
}

pub async fn post_json(world: &World, from: &str, path: &str, body: &str) -> Answer {
    post(world, from, path, "Content-Type: application/json\r\n", body).await
}

pub async fn post_form(world: &World, from: &str, path: &str, body: &str) -> Answer {
    let port = world.address.port();
    post(world, from, path, &format!("Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://portal.lan:{port}\r\n"), body).await
}
