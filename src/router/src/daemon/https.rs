//! The portal's door for HTTPS, and the certificate that is shown there. It lies apart in the program (`rare.rs`).

use super::Daemon;
use crate::certificate::{Age, Certificate, RENEW_DAYS};
use crate::clock;
use crate::config::Https;
use crate::portal::Secure;
use lango_core::request::CertificateView;
use lango_core::time::Wall;
use rustls::ServerConfig;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often the log says that the certificate nears its end.
const TELL_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificate in force, and the way by which others reach the portal.
pub(super) struct Certificates {
    portal: watch::Sender<Option<Arc<ServerConfig>>>,
    in_force: Option<Certificate>,
    /// When the log says next how it is.
    told_next: Instant,
}

/// Opens the portal's door for HTTPS. Without a good certificate nobody is answered there until a reload finds one, and where another
/// program has the port there is no HTTPS; plain HTTP goes on: money must not wait for it.
pub(super) async fn listen(https: &Https) -> Option<(Certificates, Secure)> {
    let port = https.port;
    let listener = match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => listener,
        Err(cause) => {
            log::error!(
                "https: the portal cannot listen on port {port} ({cause}), and goes on without HTTPS: choose another `option port`, or stop \
                 what has it; then start lango again"
            );
            return None;
        }
    };
    let in_force = certificate(https);
    if in_force.is_none() {
        log::error!("https: nobody is answered on port {port} before a reload finds a certificate that is right");
    }
    let (portal, config) = watch::channel(in_force.as_ref().map(|certificate| certificate.config.clone()));
    Some((Certificates { portal, in_force, told_next: Instant::now() + TELL_EVERY }, Secure { listener, config }))
}

/// The portal's certificate as it is now, with what there is to say of it in the log.
fn certificate(https: &Https) -> Option<Certificate> {
    match Certificate::open(https) {
        Ok(certificate) => {
            let now = clock::now().wall;
            match certificate.untimely(now) {
                // Whoever asks judges by another clock than this one's.
                Some(wrong) => log::warn!("https: {wrong}"),
                None => log::info!("https: {}: {}", https.url(), certificate.told(now)),
            }
            Some(certificate)
        }
        Err(wrong) => {
            wrong.iter().for_each(|wrong| log::error!("https: {wrong}"));
            None
        }
    }
}

/// Whether a certificate takes the place of the one in force: not where the clock says that it is over or not good yet, and that the other is
/// good.
fn takes_the_place(new: &Certificate, in_force: Option<&Certificate>, now: Option<Wall>) -> bool {
    let good = |certificate: &Certificate| certificate.untimely(now).is_none();
    good(new) || !in_force.is_some_and(good)
}

impl Certificates {
    /// When the log has to say again how the certificate is.
    pub(super) fn due(&self) -> Instant {
        self.told_next
    }

    /// Says so once a day, where its end is near or past.
    pub(super) fn tell(&mut self) {
        if self.told_next > Instant::now() {
            return;
        }
        self.told_next = Instant::now() + TELL_EVERY;
        let (Some(certificate), now) = (&self.in_force, clock::now().wall) else { return };
        match certificate.age(now) {
            Age::Good(days) if days < RENEW_DAYS => log::warn!("https: {}", certificate.told(now)),
            _ => certificate.untimely(now).into_iter().for_each(|wrong| log::error!("https: {wrong}")),
        }
    }

    /// For `lango status`.
    pub(super) fn view(&self) -> CertificateView {
        let now = clock::now().wall;
        let days_left = self.in_force.as_ref().and_then(|certificate| match certificate.age(now) {
            Age::Good(days) => Some(days),
            Age::Over => Some(0),
            Age::Unknown | Age::Early => None,
        });
        CertificateView { good_until: self.in_force.as_ref().map(|certificate| certificate.until), days_left }
    }
}

impl Daemon {
    /// Takes the certificate as it is now for connections from now on. One that is not right is refused, and what was in force stays, its
    /// name as well.
    pub(super) fn renew_certificate(&mut self, old: Option<Https>) {
        let (Some(https), Some(certificates)) = (&self.config.https, &mut self.certificates) else { return };
        let new = certificate(https).filter(|new| takes_the_place(new, certificates.in_force.as_ref(), clock::now().wall));
        if let Some(new) = new {
            certificates.portal.send_replace(Some(new.config.clone()));
            certificates.in_force = Some(new);
        } else if certificates.in_force.is_some() {
            log::error!("https: the certificate is refused, what was in force stays");
            self.config.https = old;
        } else {
            log::error!("https: nobody is answered on port {} before a reload finds a certificate that is right", https.port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use lango_lab::authority::Authority;

    #[test]
    fn a_reload_takes_no_certificate_that_the_clock_refuses_for_one_that_is_good() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display();
        let text = format!(
            "config gateway\n\toption name r1\n\toption lan br-lan\n\toption wan wan\nconfig package day\n\toption label day\n\toption price 50\n\
             \toption minutes 1440\nconfig https\n\toption name r1.example.org\n\toption cert {place}/https.pem\n\toption key {place}/https.key\n"
        );
        let https = config::parse("lango", text.as_bytes()).unwrap().https.unwrap();
        let authority = Authority::new("The lab's authority").unwrap();
        let made = |from, until| {
            let (certificate, key) = authority.certify_between("r1.example.org", from, until).unwrap();
            std::fs::write(&https.cert, certificate).unwrap();
            std::fs::write(&https.key, key).unwrap();
            Certificate::open(&https).unwrap()
        };
        let (over, good, early) = (made((2026, 1, 1), (2026, 2, 1)), made((2026, 3, 1), (2026, 5, 30)), made((2026, 5, 1), (2026, 8, 1)));
        let april = Wall::from_rfc3339("2026-04-15T00:00:00Z");
        for (new, in_force, now, taken) in [
            (&over, Some(&good), april, false),
            (&early, Some(&good), april, false),
            (&good, Some(&good), april, true),
            (&good, Some(&over), april, true),
            // Nothing better is there: whoever asks judges by another clock.
            (&over, None, april, true),
            (&over, Some(&early), april, true),
            // A clock that nobody set says nothing.
            (&over, Some(&good), None, true),
        ] {
            assert_eq!(takes_the_place(new, in_force, now), taken, "{:?} for {:?}", new.until, in_force.map(|old| old.until));
        }
    }
}
