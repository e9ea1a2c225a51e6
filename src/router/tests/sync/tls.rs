//! TLS with a CA that the test makes: what is trusted, and what is said where it is not.

use super::broker::{Broker, Tls};
use super::logbook;
use super::router::{Router, config, locally, soon};
use lango::sync::{SyncConfig, SyncEvent};
use std::path::{Path, PathBuf};
use std::process::Command;

fn openssl(place: &Path, arguments: &str) {
    let output = Command::new("openssl").current_dir(place).args(arguments.split(' ')).output().expect("openssl is installed");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A CA, and a certificate of it for `san` that is valid between these times (ASN.1 UTCTime).
fn certificate(place: &Path, san: &str, from: &str, to: &str) {
    std::fs::write(
        place.join("ca.cnf"),
        format!(
            "[ca]\ndefault_ca=own\n[own]\ndatabase=index\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=any\n\
             x509_extensions=server\n[any]\ncommonName=supplied\n[server]\nsubjectAltName={san}\n[req]\ndistinguished_name=name\n\
             [name]\n[v3_ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
        ),
    )
    .unwrap();
    std::fs::write(place.join("index"), "").unwrap();
    std::fs::write(place.join("serial"), "01\n").unwrap();
    openssl(
        place,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 3650 -subj /CN=ca -config ca.cnf \
         -extensions v3_ca",
    );
    openssl(
        place,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=broker -config ca.cnf",
    );
    openssl(
        place,
        &format!(
            "ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -in server.csr -out server.pem -startdate {from} -enddate {to}"
        ),
    );
}

async fn broker(place: &Path) -> Broker {
    Broker::start(Some(Tls { certificate: &place.join("server.pem"), key: &place.join("server.key") })).await
}

fn config_with(port: u16, ca: Option<PathBuf>) -> SyncConfig {
    let plain = config(port);
    SyncConfig { broker: lango::sync::Broker { tls: true, ..plain.broker }, ca, ..plain }
}

const ALWAYS: (&str, &str) = ("200101000000Z", "491231235959Z");

#[tokio::test]
async fn a_broker_of_the_own_ca_is_trusted() {
    locally(async {
        let place = tempfile::tempdir().unwrap();
        certificate(place.path(), "IP:127.0.0.1", ALWAYS.0, ALWAYS.1);
        let broker = broker(place.path()).await;
        let mut router = Router::start(config_with(broker.port, Some(place.path().join("ca.pem"))));
        router.expect(SyncEvent::Connected).await;
        // Big enough for several TLS records on the way.
        for seq in 1..=100 {
            router.handle.publish(super::router::up(seq));
        }
        router.handle.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    let cases = [
        ("IP:127.0.0.1", ("200101000000Z", "210101000000Z"), "own", vec!["no longer valid", "set the clock"]),
        ("IP:127.0.0.1", ("480101000000Z", "491231235959Z"), "own", vec!["not valid yet", "set the clock"]),
        ("DNS:other.example", ALWAYS, "own", vec!["another name than 127.0.0.1"]),
        ("IP:127.0.0.1", ALWAYS, "other", vec!["not signed by a CA of", "option ca"]),
        ("IP:127.0.0.1", ALWAYS, "system", vec!["not signed by a CA of /etc/ssl/certs/ca-certificates.crt", "option ca"]),
        ("IP:127.0.0.1", ALWAYS, "missing", vec!["cannot be read", "option ca"]),
    ];
    locally(async {
        for (san, (from, to), ca, said) in cases {
            let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            certificate(place.path(), san, from, to);
            certificate(other.path(), san, from, to);
            let broker = broker(place.path()).await;
            let ca = match ca {
                "own" => Some(place.path().join("ca.pem")),
                "other" => Some(other.path().join("ca.pem")),
                "missing" => Some(place.path().join("missing.pem")),
                _ => None,
            };
            let router = Router::start(config_with(broker.port, ca));
            let url = format!("mqtts://127.0.0.1:{}", broker.port);
            let about: Vec<&str> = [url.as_str()].into_iter().chain(said).collect();
            soon(&format!("a line with {about:?}"), || !logbook::lines(&about).is_empty()).await;
            assert!(router.events.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_was_repaired_is_taken_at_the_next_try() {
    locally(async {
        let place = tempfile::tempdir().unwrap();
        certificate(place.path(), "IP:127.0.0.1", ALWAYS.0, ALWAYS.1);
        let broker = broker(place.path()).await;
        let ca = place.path().join("later.pem");
        let mut router = Router::start(config_with(broker.port, Some(ca.clone())));
        let url = format!("mqtts://127.0.0.1:{}", broker.port);
        soon("a line about it", || !logbook::lines(&[&url, "cannot be read"]).is_empty()).await;
        std::fs::copy(place.path().join("ca.pem"), ca).unwrap();
        router.expect(SyncEvent::Connected).await;
    })
    .await;
}
