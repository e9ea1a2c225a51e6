//! TLS towards the broker and RADIUS servers, and of the portal: rustls over ring, named here and not left to what the process has as its
//! default.

mod trust;

use crate::file;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SigningKey;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SignatureVerificationAlgorithm};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trust::Trust;

/// The system's certificates, where OpenWrt (package `ca-bundle`) and Debian keep them.
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The largest file with certificates or a key, in bytes: the system's are a quarter of it.
const MAX_SIZE: usize = 1024 * 1024;

/// Why no connection can be tried.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file with the certificates cannot be read.
    #[error("the certificates in {} cannot be read: {cause}: {}", path.display(), if_missing(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It holds no certificates.
    #[error("{} holds no certificates (PEM, from -----BEGIN CERTIFICATE----- on){}", path.display(), cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What is wrong in it, where anything is.
        cause: Option<String>,
    },
    /// It holds no key.
    #[error("{} holds no private key (PEM, from -----BEGIN PRIVATE KEY----- on): {cause}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        cause: String,
    },
    /// rustls does not take what this program asks of it.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

fn if_missing(path: &Path) -> &'static str {
    if path == Path::new(SYSTEM_ROOTS) {
        "install the package ca-bundle (OpenWrt) or ca-certificates (Debian), or set `option ca`"
    } else {
        "set `option ca` to the file with the server's CA"
    }
}

/// What to connect with: trusts the certificates in `ca`, or the system's, as they are when a server shows its own. `own` is a certificate, with
/// those that lead to its CA, and its key, for servers that ask who connects. No session is taken up again.
///
/// # Errors
/// When they cannot be read, or the key is not the certificate's.
pub fn client_config(ca: Option<&Path>, own: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let trust = Trust::new(ca.unwrap_or(Path::new(SYSTEM_ROOTS)), provider.signature_verification_algorithms)?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions()?;
    // "Dangerous" is who verifies by rules of its own; `Trust` has rustls's.
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(trust));
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => config.with_client_auth_cert(chain(certificate)?, self::key(key)?)?,
    };
    // Never another way: in a session that is taken up again a server shows no certificate, and a CA that was taken out of the file would be
    // trusted on. It costs a whole handshake where a connection is made anew.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// What to answer with: certificates, the server's own first, and its key. The same versions and ciphers as towards servers: others
/// would be in the program for this alone.
///
/// # Errors
/// When the key is not the certificate's.
pub fn server_config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let config = ServerConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
    // Nothing is kept of a connection that ended: a phone asks once in minutes.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Signatures that certificates may have.
#[must_use]
pub fn signatures() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    rustls::crypto::ring::default_provider().signature_verification_algorithms.all
}

/// The certificates of a PEM file: at least one.
///
/// # Errors
/// When there is none to be read.
pub fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let empty = |cause: Option<String>| TlsError::Empty { path: path.to_owned(), cause };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let chain = chain.map_err(|cause| empty(Some(cause.to_string())))?;
    if chain.is_empty() { Err(empty(None)) } else { Ok(chain) }
}

/// The private key of a PEM file.
///
/// # Errors
/// When there is none to be read.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|cause| TlsError::Key { path: path.to_owned(), cause: cause.to_string() })
}

/// Whether TLS can be spoken with this key.
#[must_use]
pub fn takes(key: &PrivateKeyDer<'_>) -> bool {
    rustls::crypto::ring::sign::any_ecdsa_type(key).is_ok()
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    file::read(path, MAX_SIZE).map_err(|cause| TlsError::Unreadable { path: path.to_owned(), cause })
}

/// ring's, but for keys of our own: of those, only ones on elliptic curves. What signs with RSA is 60 KB of flash, and a router's
/// certificate is made for it.
fn provider() -> CryptoProvider {
    CryptoProvider { key_provider: &CurveKeys, ..rustls::crypto::ring::default_provider() }
}

/// Loads keys on the curves P-256 and P-384.
#[derive(Debug)]
struct CurveKeys;

impl KeyProvider for CurveKeys {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        rustls::crypto::ring::sign::any_ecdsa_type(&key)
            .map_err(|_| rustls::Error::General("it is no ECDSA key on P-256 or P-384; make the certificate with such a one".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_lab::authority::Authority;
    use rustls::version::{TLS12, TLS13};
    use rustls::{CertificateError, ClientConnection, Connection, HandshakeKind, ServerConnection};
    use rustls_pki_types::ServerName;

    /// A connection, until neither side has more to say: with all tickets that the server gives. How it was agreed.
    fn connect(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<HandshakeKind, rustls::Error> {
        let name = ServerName::try_from("broker.example").unwrap();
        let mut client = Connection::Client(ClientConnection::new(Arc::clone(client), name).unwrap());
        let mut server = Connection::Server(ServerConnection::new(Arc::clone(server)).unwrap());
        while client.wants_write() || server.wants_write() {
            carry(&mut client, &mut server)?;
            carry(&mut server, &mut client)?;
        }
        Ok(client.handshake_kind().unwrap())
    }

    fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), rustls::Error> {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            to.read_tls(&mut bytes).unwrap();
            to.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn a_ca_that_was_taken_out_of_the_file_is_not_trusted_by_the_next_connection() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let [old, new] = ["The old one", "The new one"].map(|name| Authority::new(name).unwrap());
        old.write(folder.path(), "own", "broker.example").unwrap();
        let (chain, key) = (folder.path().join("own.pem"), folder.path().join("own.key"));
        for version in [&TLS12, &TLS13] {
            std::fs::write(&ca, old.pem()).unwrap();
            // One that would take sessions up again.
            let server = ServerConfig::builder_with_provider(Arc::new(provider())).with_protocol_versions(&[version]).unwrap();
            let server = server.with_no_client_auth().with_single_cert(super::chain(&chain).unwrap(), super::key(&key).unwrap());
            let (server, client) = (Arc::new(server.unwrap()), client_config(Some(&ca), None).unwrap());
            let mut takes_up = (*client).clone();
            takes_up.resumption = Resumption::default();
            let takes_up = Arc::new(takes_up);
            assert_eq!(connect(&takes_up, &server), Ok(HandshakeKind::Full), "{version:?}");
            for _ in 0..2 {
                assert_eq!(connect(&client, &server), Ok(HandshakeKind::Full), "{version:?}");
            }
            std::fs::write(&ca, new.pem()).unwrap();
            // That is what must not be.
            assert_eq!(connect(&takes_up, &server), Ok(HandshakeKind::Resumed), "{version:?}");
            let refused = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
            assert_eq!(connect(&client, &server), Err(refused), "{version:?}");
        }
    }

    #[test]
    fn files_without_certificates_are_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ca.pem");
        let missing = client_config(Some(&path), None).unwrap_err().to_string();
        assert!(missing.contains("ca.pem") && missing.contains("option ca"), "{missing}");
        for text in [
            "",
            "rubbish",
            "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let empty = client_config(Some(&path), None).unwrap_err();
            assert!(matches!(empty, TlsError::Empty { .. }), "{text:?}: {empty}");
        }
    }
}
