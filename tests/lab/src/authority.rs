//! A certificate authority of the lab's own: whoever speaks TLS in the lab does so with a certificate from one.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::path::Path;

/// The authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Makes it. A name of its own: with one name for both OpenSSL takes a server's certificate for its authority's.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// The authority's own certificate (PEM).
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a host's name or address, and its key (both PEM).
    ///
    /// # Errors
    /// When the name is none.
    pub fn certify(&self, host: &str) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![host.to_owned()])?.signed_by(&key, &self.0)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// Writes `ca.pem`, and `NAME.pem` with `NAME.key` for that host, into a folder.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path, name: &str, host: &str) -> Result<()> {
        let (certificate, key) = self.certify(host)?;
        fs::write(folder.join("ca.pem"), self.pem())?;
        fs::write(folder.join(format!("{name}.pem")), certificate)?;
        Ok(fs::write(folder.join(format!("{name}.key")), key)?)
    }
}
