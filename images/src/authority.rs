//! The certificates of `--ca`, looked at before an image is made with them: a router that has wrong ones never reaches its broker, and
//! somebody would have to go there.

use anyhow::Context as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

/// What the router reads of such a file, in bytes.
const MAX_SIZE: usize = 1024 * 1024;

/// Checks that the file holds certificates alone (PEM, X.509), each of an authority and good now, and is no larger than a router reads. Stricter
/// than the router, which passes over what it cannot read in a bundle and holds nothing against an anchor. `now`: seconds since 1970.
///
/// # Errors
/// When there is none, or one of them is not that: which one, and what would be right.
pub fn check(pem: &str, now: i64) -> anyhow::Result<()> {
    anyhow::ensure!(
        pem.len() <= MAX_SIZE,
        "the file of --ca is larger than {} KiB, and routers read no more: give the certificate that signed the broker's alone",
        MAX_SIZE / 1024
    );
    anyhow::ensure!(!pem.contains("PRIVATE KEY"), "the file of --ca holds a private key: the certificates alone are wanted");
    let marks = ["-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"].map(|mark| pem.matches(mark).count());
    anyhow::ensure!(marks[0] > 0 && marks[0] == marks[1], "there is no certificate in the file of --ca (PEM)");
    let mut read = 0;
    for (number, der) in (1..).zip(CertificateDer::pem_slice_iter(pem.as_bytes())) {
        let which = || format!("certificate {number} in the file of --ca");
        let der = der.ok().with_context(|| format!("{} is damaged: its base64 cannot be read", which()))?;
        let (rest, certificate) = X509Certificate::from_der(&der)
            .ok()
            .with_context(|| format!("{} is damaged: it is no X.509 certificate. Copy the file again", which()))?;
        anyhow::ensure!(rest.is_empty(), "{} is damaged: something follows it. Copy the file again", which());
        fit(&certificate, now).with_context(which)?;
        read = number;
    }
    // What is between the marks is read, and nothing passed over.
    anyhow::ensure!(read == marks[0], "the file of --ca is damaged: of {} certificates {read} can be read", marks[0]);
    Ok(())
}

fn fit(certificate: &X509Certificate<'_>, now: i64) -> anyhow::Result<()> {
    let subject = certificate.subject();
    let authority = certificate.basic_constraints().ok().flatten().is_some_and(|constraints| constraints.value.ca)
        && certificate.key_usage().ok().is_some_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    anyhow::ensure!(
        authority,
        "{subject} is no authority: what is wanted is the certificate of who signed the broker's, and not the broker's own"
    );
    let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
    anyhow::ensure!(from.timestamp() <= now, "{subject} is good from {} on: is this machine's clock right?", day(from));
    anyhow::ensure!(until.timestamp() > now, "{subject} was good until {}: give the one that followed it", day(until));
    Ok(())
}

fn day(time: ASN1Time) -> String {
    let date = time.to_datetime().date();
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

#[cfg(test)]
mod tests {
    use super::{MAX_SIZE, check};
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};

    /// 2026-01-01.
    const NOW: i64 = 1_767_225_600;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::new(vec!["mqtt.example.org".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Example");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2025, 1, 1), date_time_ymd(2027, 1, 1));
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn told(pem: &str) -> String {
        check(pem, NOW).map_or_else(|error| format!("{error:#}"), |()| String::new())
    }

    #[test]
    fn authorities_that_are_good_now_are_taken() {
        let (one, other) = (certificate(|_| ()), certificate(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]));
        assert_eq!(told(&one), "");
        assert_eq!(told(&format!("What people write about it:\n{one}\r\n{other}")), "");
        assert_eq!(told(&format!("{one}{}", "\n".repeat(MAX_SIZE - one.len()))), "");
    }

    #[test]
    fn what_the_broker_could_never_be_known_by_is_told() {
        let good = certificate(|_| ());
        let body: String = good.lines().filter(|line| !line.starts_with('-')).collect();
        let wrapped = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let server = certificate(|params| params.is_ca = IsCa::ExplicitNoCa);
        for (pem, expected) in [
            (String::new(), "there is no certificate in the file of --ca"),
            ("hello".to_owned(), "there is no certificate in the file of --ca"),
            (good.replace("-----END CERTIFICATE-----", ""), "there is no certificate in the file of --ca"),
            (format!("{good}{}", "\n".repeat(MAX_SIZE - good.len() + 1)), "the file of --ca is larger than 1024 KiB"),
            (format!("{good}-----BEGIN PRIVATE KEY-----\n"), "holds a private key"),
            (wrapped("MIIB"), "certificate 1 in the file of --ca is damaged: it is no X.509 certificate"),
            (wrapped("?"), "certificate 1 in the file of --ca is damaged: its base64"),
            (format!("{good}{}", wrapped(&body[..body.len() / 8 * 4])), "certificate 2 in the file of --ca is damaged"),
            (server.clone(), "certificate 1 in the file of --ca: CN=Example is no authority"),
            (format!("{good}{server}"), "certificate 2 in the file of --ca: CN=Example is no authority"),
            (certificate(|params| params.is_ca = IsCa::NoCa), "is no authority"),
            (certificate(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]), "is no authority"),
            (certificate(|params| params.not_after = date_time_ymd(2025, 12, 31)), "CN=Example was good until 2025-12-31"),
            (certificate(|params| params.not_before = date_time_ymd(2026, 1, 2)), "CN=Example is good from 2026-01-02 on"),
        ] {
            assert!(told(&pem).contains(expected), "{expected}: {}\n{pem}", told(&pem));
        }
    }
}
