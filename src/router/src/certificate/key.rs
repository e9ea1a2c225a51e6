//! The router's private key: made on it, and read by nobody else.

use super::request;
use crate::config::Https;
use crate::tls::{self, TlsError};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls_pki_types::PrivateKeyDer;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Why no request is made.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The key is there and cannot be read.
    #[error("the key {} cannot be read", path.display())]
    Unreadable {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A key was made and cannot be kept.
    #[error("the key {} cannot be written", path.display())]
    Unwritable {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// What is there is no key.
    #[error("{} is there and holds no private key on P-256 or P-384: take it away, and run this again", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// What is there is a key for HTTPS, but of a form for which requests are not made here.
    #[error(
        "the key {} can serve HTTPS, but requests are made for keys on P-256 in PKCS #8 only; make this one with: openssl req -new -key {} \
         -subj /CN={name} -addext subjectAltName=DNS:{name}", path.display(), path.display()
    )]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The name for which it would be.
        name: String,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness for a key or a signature")]
    NoRandomness,
}

/// A request for a certificate.
pub struct Request {
    /// For the CA (PEM).
    pub pem: String,
    /// Whether the key was made for it; else it was there.
    pub made: bool,
}

/// Makes a request for a certificate of the configured name and key. Where there is no key it is made; one that is there is never
/// replaced: the certificate in use would be good for nothing.
///
/// # Errors
/// When the key cannot be read or written, or is of another kind.
pub fn request(https: &Https) -> Result<Request, RequestError> {
    let random = SystemRandom::new();
    let path = &https.key;
    let (key, made) = match tls::key(path) {
        Ok(key) => (key, false),
        Err(TlsError::Unreadable { cause, .. }) if cause.kind() == ErrorKind::NotFound => {
            let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(|_| RequestError::NoRandomness)?;
            write(path, key.as_ref()).map_err(|cause| RequestError::Unwritable { path: path.clone(), cause })?;
            (PrivateKeyDer::Pkcs8(key.as_ref().to_vec().into()), true)
        }
        Err(TlsError::Unreadable { cause, .. }) => return Err(RequestError::Unreadable { path: path.clone(), cause }),
        Err(_) => return Err(RequestError::NoKey { path: path.clone() }),
    };
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_der(), &random).map_err(|_| {
        let path = path.clone();
        if tls::takes(&key) { RequestError::OtherKey { path, name: https.name.to_string() } } else { RequestError::NoKey { path } }
    })?;
    let information = request::information(https.name.as_str(), pair.public_key().as_ref());
    let signature = pair.sign(&random, &information).map_err(|_| RequestError::NoRandomness)?;
    Ok(Request { pem: request::pem("CERTIFICATE REQUEST", &request::signed(&information, signature.as_ref())), made })
}

/// Under its name it is there whole or not at all, also after a power cut, and nothing that came meanwhile is replaced.
fn write(path: &Path, key: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    // Nobody else may read it from its first byte on.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(request::pem("PRIVATE KEY", key).as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    linked?;
    File::open(folder)?.sync_all()
}
