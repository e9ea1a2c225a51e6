//! The way to the broker over TLS: a certificate authority of one's own is enough, and another's certificate is refused.

use super::broker::Broker;
use super::program::Program;
use super::until;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;

/// An authority of its own.
pub fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_configured_authority_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::new(folder.path());
    let (ours, another) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("cert.pem"), certificate.pem()).unwrap();
    fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    fs::write(path("ca.pem"), another.pem()).unwrap();
    broker.configure(&format!("certfile {}\nkeyfile {}", path("cert.pem"), path("key.pem")));
    let url = format!("mqtts://localhost:{}", broker.port);
    let mut relay = Program::new(folder.path(), &url, "http://127.0.0.1:1", "transaction_type = \"CustomerPayBillOnline\"");
    let text = fs::read_to_string(&relay.config).unwrap();
    fs::write(&relay.config, text.replace("[mqtt]", &format!("[mqtt]\nca = \"{}\"", path("ca.pem")))).unwrap();
    relay.command(&["router", "add", "kibera-7"]);
    broker.set_acl(&relay.command(&["router", "acl"]).stdout);
    broker.start();
    relay.start().await;
    until("the refusal of another's certificate", async || {
        (relay.log().contains("not connected") && relay.log().contains("certificate")).then_some(())
    })
    .await;
    assert!(!relay.log().contains("info broker: connected to"), "{}", relay.log());
    assert_eq!(relay.stop().await, 0);
    fs::write(path("ca.pem"), ours.pem()).unwrap();
    relay.start().await;
    until("the connection over TLS", async || relay.log().contains("info broker: connected to").then_some(())).await;
    assert_eq!(relay.stop().await, 0);
    // What is no certificate at all is said at the start.
    fs::write(path("ca.pem"), "nothing").unwrap();
    let refused = relay.command(&["run"]);
    assert!(refused.code == 69 && refused.stderr.contains("holds no certificate"), "{}", refused.stderr);
}
