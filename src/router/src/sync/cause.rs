//! Why a connection failed, in words that say what to do. Pure.

use super::config::SyncConfig;
use crate::tls::SYSTEM_ROOTS;
use lango_core::time::Wall;
use rumqttc::{ConnectReturnCode, ConnectionError, StateError, TlsError};
use rustls::CertificateError;
use std::path::Path;

/// Says it. `now` is the router's clock, which may be wrong: then that is the cause.
#[must_use]
pub fn explain(error: &ConnectionError, config: &SyncConfig, now: Wall) -> String {
    match error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized) => {
            "it refuses this router's user name or password: compare `option username` and `option password` with what \
             `lango-relay router add` printed"
                .to_owned()
        }
        ConnectionError::ConnectionRefused(code) => format!("it refuses the connection ({code:?})"),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => "it does not answer".to_owned(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "it has fallen silent".to_owned(),
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            "it closed the connection (does another router use this name?)".to_owned()
        }
        ConnectionError::MqttState(StateError::Deserialization(rumqttc::Error::PayloadSizeLimitExceeded(size))) => {
            format!("it sent a packet of {size} bytes, more than any message has")
        }
        ConnectionError::Io(cause) | ConnectionError::MqttState(StateError::Io(cause)) => io(cause, config, now),
        ConnectionError::MqttState(StateError::Deserialization(rumqttc::Error::Io(cause))) => io(cause, config, now),
        ConnectionError::Tls(TlsError::Io(cause)) => io(cause, config, now),
        ConnectionError::Tls(TlsError::TLS(cause)) => tls(cause, config, now),
        ConnectionError::Tls(TlsError::DNSName(_)) => "its name is none that a certificate can be for".to_owned(),
        other => other.to_string(),
    }
}

fn io(cause: &std::io::Error, config: &SyncConfig, now: Wall) -> String {
    // tokio-rustls hands rustls's errors up inside those of the system.
    match cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(cause) => tls(cause, config, now),
        None => cause.to_string(),
    }
}

fn tls(cause: &rustls::Error, config: &SyncConfig, now: Wall) -> String {
    let rustls::Error::InvalidCertificate(cause) = cause else {
        return format!("TLS fails: {cause}");
    };
    match cause {
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "its certificate is not valid yet at this router's time, {}: if that is not the time, set the clock (NTP)",
            now.to_rfc3339()
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "its certificate is no longer valid at this router's time, {}: if that is not the time, set the clock (NTP), \
             otherwise renew the certificate",
            now.to_rfc3339()
        ),
        // The second: another CA of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "its certificate is not signed by a CA of {}: set `option ca` to the file with the broker's CA",
            config.ca.as_deref().unwrap_or(Path::new(SYSTEM_ROOTS)).display()
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is for another name than {}", config.broker.host)
        }
        other => format!("its certificate is not accepted: {other}"),
    }
}
