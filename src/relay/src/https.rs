//! How other services are called: over HTTPS, with certificates checked against the system's authorities.

use anyhow::Context;
use reqwest::{Client, redirect};
use std::time::Duration;

/// No service that is up takes longer to answer a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for the service of that name; `timeout` is what a whole call may take.
///
/// # Errors
/// When the system's certificates cannot be used.
pub fn client(service: &str, timeout: Duration) -> anyhow::Result<Client> {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        // Shorter than a server keeps idle connections: what moves money or is sent once must not start on one that is being closed.
        .pool_idle_timeout(Duration::from_secs(15))
        .redirect(redirect::Policy::none())
        .user_agent(concat!("lango-relay/", env!("CARGO_PKG_VERSION")))
        .build()
        .with_context(|| format!("no HTTPS to {service}: does this system have certificate authorities (Debian: ca-certificates)?"))
}
