//! The portal over HTTPS, on the loopback: the same portal, at a door of its own, which nobody can block for others.

use crate::client::{PATIENCE, get};
use crate::world::{OTHER_PHONE, PHONE, SECURE_HOST, World, mac, phone};
use lango::portal::{Doors, Limits, Secure};
use lango::tls;
use lango_lab::authority::Authority;
use rustls::ServerConfig;
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The door, and who made its certificate.
struct Door {
    address: SocketAddr,
    certificate: watch::Sender<Option<Arc<ServerConfig>>>,
    authority: Authority,
    folder: tempfile::TempDir,
}

fn certificate(authority: &Authority, folder: &Path, host: &str) -> Arc<ServerConfig> {
    authority.write(folder, "own", host).unwrap();
    tls::server_config(tls::chain(&folder.join("own.pem")).unwrap(), tls::key(&folder.join("own.key")).unwrap()).unwrap()
}

fn within(limits: Limits, test: impl AsyncFnOnce(World, Door)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (authority, folder) = (Authority::new("The lab's authority").unwrap(), tempfile::tempdir().unwrap());
        let (sender, config) = watch::channel(Some(certificate(&authority, folder.path(), SECURE_HOST)));
        let world = World::open(Doors { plain, secure: Some(Secure { listener, config }) }, limits);
        test(world, Door { address, certificate: sender, authority, folder }).await;
    });
}

impl Door {
    async fn connect(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn agree(&self, stream: TcpStream, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let ca = self.folder.path().join("ca.pem");
        let connector = TlsConnector::from(tls::client_config(Some(&ca), None).unwrap());
        timeout(PATIENCE, connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream))
            .await
            .expect("neither agreed nor refused")
    }

    async fn open(&self, from: &str) -> TlsStream<TcpStream> {
        self.agree(self.connect(from).await, SECURE_HOST).await.unwrap()
    }
}

/// Head and body of an answer whose length is told.
async fn ask(stream: &mut TlsStream<TcpStream>, host: &str, path: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    timeout(PATIENCE, async {
        loop {
            let text = String::from_utf8_lossy(&got).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap_or("0").parse::<usize>().unwrap();
                if body.len() >= length {
                    return (head.to_owned(), body.to_owned());
                }
            }
            assert!(stream.read_buf(&mut got).await.unwrap() > 0, "closed after {text:?}");
        }
    })
    .await
    .expect("no whole answer")
}

/// How long until the portal hangs up.
async fn hangs_up(stream: &mut TcpStream, since: Instant) -> Duration {
    // It was cut off: by an end or by a reset.
    while timeout(PATIENCE, stream.read(&mut [0; 512])).await.expect("nobody hangs up").is_ok_and(|length| length > 0) {}
    since.elapsed()
}

#[test]
fn the_api_and_the_pages_are_those_of_plain_http_with_addresses_of_their_own() {
    within(Limits::default(), async |world, door| {
        let url = format!("https://{SECURE_HOST}:{}/", door.address.port());
        let mut stream = door.open(PHONE).await;
        let host = format!("{SECURE_HOST}:{}", door.address.port());
        let (head, body) = ask(&mut stream, &host, "/captive-portal/api").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("Content-Type: application/captive+json"), "{head}");
        assert!(head.contains("Cache-Control: private"), "{head}");
        assert_eq!(body, format!(r#"{{"captive":true,"user-portal-url":"{url}"}}"#));
        world.shop.sessions.borrow_mut().insert(phone(), world.shop.session("kito42"));
        let (_, body) = ask(&mut stream, &host, "/captive-portal/api").await;
        let state: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&state["captive"], &state["user-portal-url"], &state["seconds-remaining"]),
            (&false.into(), &url.as_str().into(), &3540.into())
        );

        // A large page, on the same connection, and twice.
        for _ in 0..2 {
            let (head, body) = ask(&mut stream, &host, "/").await;
            assert!(head.starts_with("HTTP/1.1 200") && body.contains("</html>") && body.len() > 8_000, "{head}");
            assert!(
                !head.to_ascii_lowercase().contains("strict-transport-security"),
                "a name that once had it could never do without again"
            );
        }
        // A logo that is another one by now, too.
        for (host, path) in [(host.as_str(), "/favicon.ico"), ("elsewhere.example.org", "/"), (host.as_str(), "/logo/0a1b")] {
            let mut stream = door.open(OTHER_PHONE).await;
            let (head, _) = ask(&mut stream, host, path).await;
            assert!(
                head.starts_with("HTTP/1.1 302") && head.lines().any(|line| line == format!("Location: {url}")),
                "{host}{path}: {head}"
            );
        }
        // Plain HTTP goes on as it was.
        let answer = get(&world, OTHER_PHONE, "/captive-portal/api").await;
        assert_eq!(answer.json(), serde_json::json!({"captive": true, "user-portal-url": world.url()}));
        assert!(door.agree(door.connect(PHONE).await, "kibera-8.hs.example.org").await.is_err(), "the certificate is for one name");
    });
}

#[test]
fn who_does_not_agree_on_tls_in_time_is_cut_off_however_it_trickles() {
    let limits = Limits { handshake: Duration::from_millis(500), ..Limits::default() };
    within(limits, async |_world, door| {
        let hello = client_hello(&door).await;
        assert!(hello.len() > 100);
        let (half, limit) = (&hello[..hello.len() / 2], Duration::from_secs(3));
        for sent in [&b""[..], &hello[..3], half, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
            let began = Instant::now();
            let mut stream = door.connect(PHONE).await;
            stream.write_all(sent).await.unwrap();
            let after = hangs_up(&mut stream, began).await;
            assert!(after < limit, "{} bytes: {after:?}", sent.len());
        }
        let began = Instant::now();
        let mut stream = door.connect(PHONE).await;
        for byte in half {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(50)).await; // the trickle's pace
        }
        let after = hangs_up(&mut stream, began).await;
        assert!(after < limit && Duration::from_millis(50) * u32::try_from(half.len()).unwrap() > limit, "{after:?}");
        let mut stream = door.open(PHONE).await;
        assert!(ask(&mut stream, SECURE_HOST, "/api/packages").await.0.starts_with("HTTP/1.1 200"));
    });
}

/// What a client says first.
async fn client_hello(door: &Door) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    let mut hello = vec![0; 2048];
    tokio::select! {
        _ = door.agree(stream, SECURE_HOST) => panic!("nobody answered it"),
        length = peer.read(&mut hello) => hello.truncate(length.unwrap()),
    }
    hello
}

#[test]
fn silent_clients_hold_out_neither_plain_http_nor_https_for_long() {
    let limits = Limits { connections: 6, secure_connections: 4, handshake: Duration::from_secs(1), ..Limits::default() };
    within(limits, async |world, door| {
        let began = Instant::now();
        let mut silent = Vec::new();
        for address in ["127.0.0.11", "127.0.0.12"] {
            for _ in 0..8 {
                silent.push(door.connect(address).await);
            }
        }
        for _ in 0..20 {
            assert_eq!(get(&world, PHONE, "/api/packages").await.status, 200);
        }
        assert!(began.elapsed() < Duration::from_secs(2), "plain HTTP waited for silent clients: {:?}", began.elapsed());
        // Four at a time are cut off, and then it is this one's turn.
        let mut stream = door.open(PHONE).await;
        assert!(ask(&mut stream, SECURE_HOST, "/api/packages").await.0.starts_with("HTTP/1.1 200"));
        for stream in &mut silent {
            hangs_up(stream, began).await;
        }
    });
}

#[test]
fn a_new_certificate_is_for_new_connections_and_none_answers_nobody() {
    within(Limits::default(), async |_world, door| {
        let mut old = door.open(PHONE).await;
        assert!(ask(&mut old, SECURE_HOST, "/api/packages").await.0.starts_with("HTTP/1.1 200"));
        let before = old.get_ref().1.peer_certificates().unwrap()[0].clone();
        door.certificate.send_replace(Some(certificate(&door.authority, door.folder.path(), SECURE_HOST)));
        let new = door.open(PHONE).await;
        assert_ne!(new.get_ref().1.peer_certificates().unwrap()[0], before);
        assert!(ask(&mut old, SECURE_HOST, "/api/packages").await.0.starts_with("HTTP/1.1 200"), "the connection from before goes on");
        door.certificate.send_replace(None);
        assert!(door.agree(door.connect(PHONE).await, SECURE_HOST).await.is_err());
        assert!(ask(&mut old, SECURE_HOST, "/api/packages").await.0.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn a_connection_that_ends_says_so_in_tls() {
    let limits = Limits { idle: Duration::from_millis(300), fresh: Duration::ZERO, ..Limits::default() };
    within(limits, async |world, door| {
        world.shop.sessions.borrow_mut().insert(mac(OTHER_PHONE.parse().unwrap()), world.shop.session("kito42"));
        let ours = format!("Host: {SECURE_HOST}\r\n");
        for (phone, request, answered) in [
            (PHONE, format!("GET / HTTP/1.1\r\n{ours}Connection: close\r\n\r\n"), true),
            (PHONE, format!("GET /api/packages HTTP/1.1\r\n{ours}Connection: close\r\n\r\n"), true),
            // It is kept, and nothing more comes.
            (PHONE, format!("GET / HTTP/1.1\r\n{ours}\r\n"), true),
            (PHONE, String::new(), false),
            (PHONE, "no request\r\n\r\n".to_owned(), true),
            // It is online: the gate lets it through on a new connection.
            (OTHER_PHONE, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_owned(), false),
        ] {
            let mut stream = door.open(phone).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("nobody hangs up");
            assert!(end.is_ok(), "{request:?}: cut short ({end:?})");
            assert_eq!(answer.starts_with(b"HTTP/1.1 "), answered, "{request:?}");
        }
    });
}

#[test]
fn a_device_agrees_on_tls_at_its_pace_and_its_neighbour_at_once() {
    let every = Duration::from_millis(300);
    within(Limits { handshakes: 3, handshake_every: every, ..Limits::default() }, async |world, door| {
        let began = Instant::now();
        let mut kept = Vec::new();
        for number in 0..6_u32 {
            kept.push(door.open(PHONE).await);
            assert!(began.elapsed() >= every * number.saturating_sub(2), "number {number} after {:?}", began.elapsed());
        }
        // Some wait for their turn; the others are not even heard.
        let flood = Instant::now();
        let mut silent = Vec::new();
        for _ in 0..9 {
            silent.push(door.connect(PHONE).await);
        }
        let after = hangs_up(&mut silent.pop().unwrap(), flood).await;
        assert!(after < Duration::from_secs(2), "it was let in, to be cut off after {after:?}");
        // Neither is a neighbour held back, nor what this one has agreed on, nor plain HTTP.
        let asked = Instant::now();
        let mut neighbour = door.open(OTHER_PHONE).await;
        assert!(ask(&mut neighbour, SECURE_HOST, "/api/packages").await.0.starts_with("HTTP/1.1 200"));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        for stream in &mut kept {
            assert!(ask(stream, SECURE_HOST, "/api/packages").await.0.starts_with("HTTP/1.1 200"));
        }
        assert_eq!(get(&world, PHONE, "/api/packages").await.status, 200);
        // It may again when it has waited.
        drop(silent);
        timeout(PATIENCE, async { while door.agree(door.connect(PHONE).await, SECURE_HOST).await.is_err() {} }).await.expect("never again");
    });
}
