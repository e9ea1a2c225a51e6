//! The portal's door for HTTPS, and the certificate that is shown there. It lies apart in the program (`rare.rs`).

use super::Daemon;
use crate::certificate::Certificate;
use crate::clock;
use crate::config::Https;
use crate::portal::Secure;
use anyhow::Context as _;
use rustls::ServerConfig;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The way by which certificates reach the portal.
pub(super) type Certificates = watch::Sender<Option<Arc<ServerConfig>>>;

/// Opens the portal's door for HTTPS. Without a good certificate nobody is answered there until a reload finds one, and plain HTTP goes
/// on: money must not wait for a certificate.
pub(super) async fn listen(https: &Https) -> anyhow::Result<(Certificates, Secure)> {
    let port = https.port;
    let listener = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        .await
        .with_context(|| format!("the portal cannot listen on port {port} for HTTPS: choose another `option port`, or stop what has it"))?;
    let certificate = certificate(https);
    if certificate.is_none() {
        log::error!("https: nobody is answered on port {port} before a reload finds a certificate that is right");
    }
    let (sender, config) = watch::channel(certificate);
    Ok((sender, Secure { listener, config }))
}

/// The portal's certificate as it is now, with what there is to say of it in the log.
fn certificate(https: &Https) -> Option<Arc<ServerConfig>> {
    match Certificate::open(https) {
        Ok(certificate) => {
            let now = clock::now().wall;
            match certificate.untimely(now) {
                // Whoever asks judges by another clock than this one's.
                Some(wrong) => log::warn!("https: {wrong}"),
                None => log::info!("https: {}: {}", https.url(), certificate.told(now)),
            }
            Some(certificate.config)
        }
        Err(wrong) => {
            wrong.iter().for_each(|wrong| log::error!("https: {wrong}"));
            None
        }
    }
}

impl Daemon {
    /// Takes the certificate as it is now for connections from now on. One that is not right is refused, and what was in force stays, its
    /// name as well.
    pub(super) fn renew_certificate(&mut self, old: Option<Https>) {
        let (Some(https), Some(portal)) = (&self.config.https, &self.certificates) else { return };
        match certificate(https) {
            Some(certificate) => {
                portal.send_replace(Some(certificate));
            }
            None => {
                log::error!("https: the certificate is refused, what was in force stays");
                self.config.https = old;
            }
        }
    }
}
