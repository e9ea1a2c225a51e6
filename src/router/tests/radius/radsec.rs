//! RADIUS over TLS with a real FreeRADIUS that asks for the router's certificate, and with a server that closes what is idle.

use crate::world::{Adapter, SECRET, accepted, alone, config, inside, session};
use lango::radius::{Certificates, RadiusConfig, ServerConfig};
use lango_core::radius::{AccessOutcome, AccountingEvent, Credential, DynamicOrder, RadiusEvent, RadiusOrder};
use lango_lab::authority::Authority;
use lango_lab::freeradius::{FreeRadius, Options, RADSEC_PORT};
use radius::core::avp::AVP;
use radius::core::code::Code;
use radius::core::packet::Packet;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

#[test]
fn logins_and_accounting_over_tls_through_a_restart_of_the_server() {
    let radius = FreeRadius::alone(Options { radsec: Some(true), ..Options::default() });
    radius.user("nemo", "arctangent", &[], &[("Session-Timeout", "60")]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    radius.authority.write(folder.path(), "router", "kibera-7").unwrap();
    let over_tls = || -> RadiusConfig {
        let server = ServerConfig { host: "127.0.0.1".into(), port: RADSEC_PORT, tls: true, must_sign: true };
        let mut config = config(vec![server.clone()]);
        config.accounting = vec![server];
        config.secret = vec![];
        let own = Some((folder.path().join("router.pem"), folder.path().join("router.key")));
        config.certificates = Certificates { ca: Some(folder.path().join("ca.pem")), own };
        config
    };
    inside(&radius.namespace, async || {
        let mut adapter = Adapter::start(over_tls());
        assert!(accepted(adapter.ask("nemo", "arctangent").await).time.is_some());
        assert!(matches!(adapter.ask("nemo", "wrong").await, AccessOutcome::Reject { .. }));
        adapter.tell(1, AccountingEvent::Start(session("one", 0, 0, 0)));
        assert_eq!(adapter.acknowledged().await, 1);
        radius.stop().unwrap();
        assert_eq!(adapter.ask("nemo", "arctangent").await, AccessOutcome::NoAnswer);
        radius.start().unwrap();
        let began = Instant::now();
        while adapter.ask("nemo", "arctangent").await == AccessOutcome::NoAnswer {
            assert!(began.elapsed() < Duration::from_secs(60), "it never connected again");
        }

        // Whom the CA does not know, or who has no certificate, is nobody.
        let strangers = Authority::new("Another authority").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        strangers.write(elsewhere.path(), "router", "kibera-7").unwrap();
        let mut trusting = over_tls();
        trusting.certificates.ca = Some(elsewhere.path().join("ca.pem"));
        assert_eq!(Adapter::start(trusting).ask("nemo", "arctangent").await, AccessOutcome::NoAnswer);
        let mut nobody = over_tls();
        nobody.certificates.own = None;
        assert_eq!(Adapter::start(nobody).ask("nemo", "arctangent").await, AccessOutcome::NoAnswer);
    });
    assert_eq!(radius.sessions().len(), 1);
}

fn certain(authority: &Authority, folder: &std::path::Path) -> TlsAcceptor {
    authority.write(folder, "server", "127.0.0.1").unwrap();
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(tls))
}

/// A server of which the test decides when it answers and when it closes.
struct Closing {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Closing {
    /// With the configuration of a router that asks it.
    async fn with_its_config(tls: TlsAcceptor, folder: &Path) -> (Self, RadiusConfig) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut config = config(vec![ServerConfig { host: "127.0.0.1".into(), port, tls: true, must_sign: true }]);
        config.certificates = Certificates { ca: Some(folder.join("ca.pem")), own: None };
        (Self { listener, tls }, config)
    }

    async fn connection(&self) -> TlsStream<TcpStream> {
        let (stream, _) = timeout(Duration::from_secs(30), self.listener.accept()).await.expect("nobody connected").unwrap();
        self.tls.accept(stream).await.unwrap()
    }
}

/// Answers the next packet with yes, and gives back its code.
async fn answered(stream: &mut TlsStream<TcpStream>) -> u8 {
    let mut packet = vec![0; 20];
    timeout(Duration::from_secs(30), stream.read_exact(&mut packet)).await.expect("nobody asked").unwrap();
    packet.resize(usize::from(u16::from_be_bytes([packet[2], packet[3]])), 0);
    stream.read_exact(&mut packet[20..]).await.unwrap();
    let answer = Packet::decode(&packet, b"radsec").unwrap().make_response_packet(Code::AccessAccept).encode().unwrap();
    stream.write_all(&answer).await.unwrap();
    stream.flush().await.unwrap();
    packet[0]
}

#[test]
fn an_idle_connection_is_tried_and_one_that_is_closed_is_made_again() {
    let authority = Authority::new("The lab's authority").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tls = certain(&authority, folder.path());
    alone(async || {
        let (closing, config) = Closing::with_its_config(tls, folder.path()).await;
        let mut adapter = Adapter::start(config);
        let mut stream = closing.connection().await;
        let id = adapter.question("nemo", Credential::Mac);
        assert_eq!(answered(&mut stream).await, 1);
        assert!(matches!(adapter.event().await, RadiusEvent::Access(of, AccessOutcome::Accept(_)) if of == id));
        let since = Instant::now();
        assert_eq!(answered(&mut stream).await, 12, "Status-Server");
        let idle = since.elapsed().as_secs();
        assert!((19..29).contains(&idle), "before a FreeRADIUS closes it: {idle} s");

        stream.shutdown().await.unwrap();
        let closed = Instant::now();
        let mut stream = closing.connection().await;
        assert!(closed.elapsed() < Duration::from_millis(900), "at once: {:?}", closed.elapsed());
        // One that ends as it begins is a failure, or the two would do nothing else.
        stream.shutdown().await.unwrap();
        let closed = Instant::now();
        let mut stream = closing.connection().await;
        assert!(closed.elapsed() >= Duration::from_millis(900), "too soon: {:?}", closed.elapsed());
        let id = adapter.question("nemo", Credential::Mac);
        assert_eq!(answered(&mut stream).await, 1);
        assert!(matches!(adapter.event().await, RadiusEvent::Access(of, AccessOutcome::Accept(_)) if of == id));
    });
}

#[test]
fn orders_come_by_the_router_s_own_connection_and_by_no_other_secret() {
    let authority = Authority::new("The lab's authority").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tls = certain(&authority, folder.path());
    alone(async || {
        let (server, config) = Closing::with_its_config(tls, folder.path()).await;
        assert_eq!(config.coa_port, None);
        let mut adapter = Adapter::start(config);
        let mut stream = server.connection().await;
        let order = |secret: &[u8], identifier| {
            let mut packet = Packet::new_with_identifier(Code::DisconnectRequest, secret, identifier);
            packet.add(AVP::from_string(44, "one"));
            packet.encode().unwrap()
        };
        // The secret of RADIUS over UDP is none here.
        stream.write_all(&order(SECRET.as_bytes(), 1)).await.unwrap();
        // Twice, as one write: it is carried out once.
        let good = order(b"radsec", 2);
        stream.write_all(&[good.clone(), good].concat()).await.unwrap();
        stream.flush().await.unwrap();
        let RadiusEvent::Dynamic(id, request) = adapter.event().await else { panic!("another event") };
        assert_eq!((request.which.session.as_deref(), request.order), (Some("one"), DynamicOrder::Disconnect));
        adapter.handle.order(RadiusOrder::Answer(id, Ok(())));
        let mut answer = vec![0; 4];
        timeout(Duration::from_secs(30), stream.read_exact(&mut answer)).await.expect("no answer came").unwrap();
        assert_eq!((answer[0], answer[1]), (41, 2), "Disconnect-ACK, to the right one of them");
        assert!(adapter.events.try_recv().is_err(), "another of these came to the rules");
    });
}
