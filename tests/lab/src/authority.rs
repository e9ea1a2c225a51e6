//! A certificate authority of the lab's own: whoever speaks TLS in the lab does so with a certificate from one.

use crate::tool;
use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
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
        Ok(Self(CertifiedIssuer::self_signed(named(name)?, KeyPair::generate()?)?))
    }

    /// One that this one vouches for.
    ///
    /// # Errors
    /// As [`Self::new`]'s.
    pub fn below(&self, name: &str) -> Result<Self> {
        Ok(Self(CertifiedIssuer::signed_by(named(name)?, KeyPair::generate()?, &self.0)?))
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

    /// The same, good between two days: year, month and day.
    ///
    /// # Errors
    /// When the name is none.
    pub fn certify_between(&self, host: &str, from: (i32, u8, u8), until: (i32, u8, u8)) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        Ok((params.signed_by(&key, &self.0)?.pem(), key.serialize_pem()))
    }

    /// Signs somebody's request for a certificate (PEM), for the names that it asks for and so many days, as OpenSSL does it. Its files
    /// are put into `folder`.
    ///
    /// # Errors
    /// When OpenSSL does not take the request.
    pub fn sign(&self, request: &str, days: u32, folder: &Path) -> Result<String> {
        let (ca, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        fs::write(&ca, self.pem())?;
        fs::write(&key, self.0.key().serialize_pem())?;
        let (ca, key, days) = (ca.to_str().context("a path is text")?, key.to_str().context("a path is text")?, days.to_string());
        let args = ["x509", "-req", "-CA", ca, "-CAkey", key, "-CAcreateserial", "-copy_extensions", "copy", "-days", &days];
        tool::run_with_input("openssl", args, request.as_bytes())
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

fn named(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(params)
}
