//! TLS towards the broker: rustls over ring, named here and not left to what the process has as its default.

use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::sign::SigningKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The system's certificates, where OpenWrt (package `ca-bundle`) and Debian keep them.
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

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
    /// rustls does not take what this program asks of it.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

fn if_missing(path: &Path) -> &'static str {
    if path == Path::new(SYSTEM_ROOTS) {
        "install the package ca-bundle (OpenWrt) or ca-certificates (Debian), or set `option ca`"
    } else {
        "set `option ca` to the file with the broker's CA"
    }
}

/// What to connect with: trusts the certificates in `ca`, or the system's.
///
/// # Errors
/// When they cannot be read.
pub fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let path = ca.unwrap_or(Path::new(SYSTEM_ROOTS));
    let pem = std::fs::read(path).map_err(|cause| TlsError::Unreadable { path: path.to_owned(), cause })?;
    let roots = roots(&pem).map_err(|cause| TlsError::Empty { path: path.to_owned(), cause })?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// ring's, but for keys of our own: brokers know a router by its user name, and all that signs with such keys is flash.
fn provider() -> CryptoProvider {
    CryptoProvider { key_provider: &NoKeys, ..rustls::crypto::ring::default_provider() }
}

/// No private key of a router's is for TLS.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("this program shows no certificate of its own".to_owned()))
    }
}

/// The certificates of a PEM text. A bundle with some that nobody can read is still of use for the others.
fn roots(pem: &[u8]) -> Result<RootCertStore, Option<String>> {
    let mut roots = RootCertStore::empty();
    let mut wrong = None;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        match certificate {
            Ok(certificate) => wrong = roots.add(certificate).err().map(|cause| cause.to_string()).or(wrong),
            // The rest of a text that is no PEM is not PEM either.
            Err(cause) => {
                wrong = Some(cause.to_string());
                break;
            }
        }
    }
    if roots.is_empty() { Err(wrong) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_certificates_are_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ca.pem");
        let missing = client_config(Some(&path)).unwrap_err().to_string();
        assert!(missing.contains("ca.pem") && missing.contains("option ca"), "{missing}");
        for text in [
            "",
            "rubbish",
            "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let empty = client_config(Some(&path)).unwrap_err();
            assert!(matches!(empty, TlsError::Empty { .. }), "{text:?}: {empty}");
        }
    }
}
