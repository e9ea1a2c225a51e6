//! RADIUS over TLS with a real FreeRADIUS that asks for the router's certificate.

use crate::world::{Adapter, accepted, config, inside, session};
use lango::radius::{Certificates, RadiusConfig, ServerConfig};
use lango_core::radius::{AccessOutcome, AccountingEvent};
use lango_lab::freeradius::{FreeRadius, Options, RADSEC_PORT};
use std::time::{Duration, Instant};

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
        let strangers = lango_lab::authority::Authority::new("Another authority").unwrap();
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
