//! Whom servers' certificates must lead to: those in a file, of which nothing stays in memory. A system trusts 150 of them, some 200 KB, for one
//! connection that is made anew every few days; they are read when a server shows its certificate, one after the other.

use super::{MAX_SIZE, TlsError};
use crate::file;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io::BufReader;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use webpki::EndEntityCert;

/// Certificates between a server's own and a trusted one that are looked at; what follows is not there. The server says how many come, and each costs
/// time; more than six on one way rustls does not follow.
const MAX_BETWEEN: usize = 16;

/// Believes a certificate that leads to one in a file, as the file is at that moment. What is verified, and how, is rustls's own.
#[derive(Debug)]
pub struct Trust {
    path: PathBuf,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    /// Looks whether the file holds certificates at all.
    ///
    /// # Errors
    /// When it cannot be read, or holds none.
    pub fn new(path: &Path, algorithms: WebPkiSupportedAlgorithms) -> Result<Self, TlsError> {
        read(path, |_| false)?;
        Ok(Self { path: path.to_owned(), algorithms })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let intermediates = intermediates.get(..MAX_BETWEEN).unwrap_or(intermediates);
        // What signed one of these is named in it as its issuer, byte for byte. Others cannot help, nor can one that nobody can read.
        let shown: Vec<_> = iter::once(end_entity).chain(intermediates).filter_map(|shown| EndEntityCert::try_from(shown).ok()).collect();
        let named = |subject: &[u8]| shown.iter().any(|shown| shown.issuer() == subject);
        let roots = read(&self.path, named).map_err(|cause| OtherError(Arc::new(cause)))?;
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, intermediates, now, self.algorithms.all)?;
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Of the certificates of a PEM file those that are wanted, by their subject (DER, without its outer tag). A bundle with some that nobody can
/// read is still of use for the others.
fn read(path: &Path, wanted: impl Fn(&[u8]) -> bool) -> Result<RootCertStore, TlsError> {
    let unreadable = |cause| TlsError::Unreadable { path: path.to_owned(), cause };
    let file = file::open(path, MAX_SIZE).map_err(unreadable)?;
    let (mut roots, mut any, mut wrong) = (RootCertStore::empty(), false, None);
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(file)) {
        match certificate.map(|certificate| roots.add(certificate)) {
            Ok(Ok(())) => {
                any = true;
                roots.roots.pop_if(|root| !wanted(&root.subject));
            }
            Ok(Err(cause)) => wrong = Some(cause.to_string()),
            Err(pem::Error::Io(cause)) => return Err(unreadable(cause)),
            // The rest of a text that is no PEM is not PEM either.
            Err(cause) => {
                wrong = Some(cause.to_string());
                break;
            }
        }
    }
    if any { Ok(roots) } else { Err(TlsError::Empty { path: path.to_owned(), cause: wrong }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider;
    use lango_lab::authority::Authority;
    use rustls::CertificateError;
    use rustls::client::WebPkiServerVerifier;
    use std::time::Duration;

    fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
    }

    /// What comes of a chain (PEM, the server's own first) with what keeps nothing; it is what comes of it with rustls's own, which holds all
    /// that is in the file.
    fn verified(trusted: &[&str], shown: &str, name: &str) -> Result<(), Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, trusted.concat()).unwrap();
        let (shown, name) = (chain(shown), ServerName::try_from(name.to_owned()).unwrap());
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let verify = |verifier: &dyn ServerCertVerifier| verifier.verify_server_cert(&shown[0], &shown[1..], &name, &[], now).map(drop);

        let mut all = RootCertStore::empty();
        all.add_parsable_certificates(chain(&trusted.concat()));
        let whole = WebPkiServerVerifier::builder_with_provider(Arc::new(all), Arc::new(provider())).build().unwrap();
        let ours = Trust::new(&file, provider().signature_verification_algorithms).unwrap();
        assert_eq!(ours.supported_verify_schemes(), whole.supported_verify_schemes());
        let came = verify(&ours);
        assert_eq!(came, verify(&*whole));
        came
    }

    #[test]
    fn what_is_verified_is_as_if_all_of_the_file_were_kept() {
        let [ours, other, namesake] =
            ["The lab's authority", "Another one", "The lab's authority"].map(|name| Authority::new(name).unwrap());
        let below = ours.below("The lab's second authority").unwrap();
        let (host, years) = ("broker.example", ((2020, 1, 1), (2040, 1, 1)));
        let from = |authority: &Authority| authority.certify_between(host, years.0, years.1).unwrap().0;
        let (direct, further) = (from(&ours), from(&below) + &below.pem());
        let over = ours.certify_between(host, (2020, 1, 1), (2021, 1, 1)).unwrap().0;
        let (ours, other, namesake, below) = (ours.pem(), other.pem(), namesake.pem(), below.pem());
        let all: &[&str] = &[&other, &namesake, &ours];

        assert_eq!(verified(all, &direct, host), Ok(()));
        assert_eq!(verified(all, &further, host), Ok(()));
        // Who vouches for the server itself is in the file, and not who vouches for that one.
        assert_eq!(verified(&[&other, &below], &further, host), Ok(()));
        let refused = |trusted: &[&str], shown: &str, name: &str| match verified(trusted, shown, name) {
            Err(Error::InvalidCertificate(cause)) => cause,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&[&other], &direct, host), CertificateError::UnknownIssuer);
        assert_eq!(refused(&[&other], &further, host), CertificateError::UnknownIssuer);
        assert_eq!(refused(&[&namesake], &direct, host), CertificateError::BadSignature);
        assert!(matches!(refused(all, &over, host), CertificateError::ExpiredContext { .. }));
        assert!(matches!(refused(&[&other], &over, host), CertificateError::ExpiredContext { .. }));
        assert!(matches!(refused(all, &direct, "other.example"), CertificateError::NotValidForNameContext { .. }));
    }

    #[test]
    fn the_file_counts_as_it_is_when_a_server_shows_its_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let [old, new] = ["The old one", "The new one"].map(|name| Authority::new(name).unwrap());
        let shown = chain(&new.certify_between("broker.example", (2020, 1, 1), (2040, 1, 1)).unwrap().0);
        let name = ServerName::try_from("broker.example").unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        std::fs::write(&file, old.pem()).unwrap();
        let trust = Trust::new(&file, provider().signature_verification_algorithms).unwrap();
        let verify = || trust.verify_server_cert(&shown[0], &[], &name, &[], now).map(drop);
        assert_eq!(verify(), Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
        std::fs::write(&file, new.pem()).unwrap();
        assert_eq!(verify(), Ok(()));
        std::fs::remove_file(&file).unwrap();
        let said = verify().unwrap_err().to_string();
        assert!(said.contains("ca.pem cannot be read") && said.contains("option ca"), "{said}");
    }

    #[test]
    fn of_what_a_server_shows_only_so_much_is_looked_at() {
        let (ours, host) = (Authority::new("The lab's authority").unwrap(), "broker.example");
        let below = ours.below("The lab's second authority").unwrap();
        let own = below.certify_between(host, (2020, 1, 1), (2040, 1, 1)).unwrap().0;
        // Of no use for this one; as long as a name may be, and with every other's name in it.
        let useless = ours.below(&"The lab's authority".repeat(100)).unwrap().pem();
        let shown = |before: usize| own.clone() + &useless.repeat(before) + &below.pem();
        assert_eq!(verified(&[&ours.pem()], &shown(MAX_BETWEEN - 1), host), Ok(()));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), ours.pem()).unwrap();
        let trust = Trust::new(&folder.path().join("ca.pem"), provider().signature_verification_algorithms).unwrap();
        let (shown, name) = (chain(&shown(MAX_BETWEEN)), ServerName::try_from(host).unwrap());
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let came = trust.verify_server_cert(&shown[0], &shown[1..], &name, &[], now).map(drop);
        assert_eq!(came, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
    }
}
