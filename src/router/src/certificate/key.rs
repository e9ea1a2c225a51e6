//! The router's private key: made on it, and read by nobody else.

use super::request;
use crate::config::Https;
use crate::tls::{self, TlsError};
use anyhow::{Context as _, anyhow, bail};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

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
pub fn request(https: &Https) -> anyhow::Result<Request> {
    let random = SystemRandom::new();
    let path = &https.key;
    let (key, made) = match tls::key(path) {
        Ok(key) => (key.secret_der().to_vec(), false),
        Err(TlsError::Unreadable { cause, .. }) if cause.kind() == ErrorKind::NotFound => {
            let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(|_| anyhow!("no key can be made"))?;
            write(https, key.as_ref()).with_context(|| format!("the key {} cannot be written", path.display()))?;
            (key.as_ref().to_vec(), true)
        }
        Err(TlsError::Unreadable { cause, .. }) => bail!("the key {} cannot be read: {cause}", path.display()),
        Err(_) => bail!("{} is there and holds no private key: take it away, and run this again", path.display()),
    };
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key, &random)
        .map_err(|_| anyhow!("{} holds no key on P-256 in PKCS #8: take it away, and run this again", path.display()))?;
    let information = request::information(https.name.as_str(), pair.public_key().as_ref());
    let signature = pair.sign(&random, &information).map_err(|_| anyhow!("the request cannot be signed"))?;
    Ok(Request { pem: request::pem("CERTIFICATE REQUEST", &request::signed(&information, signature.as_ref())), made })
}

fn write(https: &Https, key: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = https.key.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Nobody else may read it from its first byte on, and nothing is written over what came meanwhile.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&https.key)?;
    file.write_all(request::pem("PRIVATE KEY", key).as_bytes())?;
    file.sync_all()
}
