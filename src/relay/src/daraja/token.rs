//! The access token: one for the whole process, because each request for one makes the earlier one useless.

use super::{read, told, wire};
use reqwest::Client;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A token is renewed so long before its end.
const EARLY: Duration = Duration::from_secs(60);

/// The one token.
pub(super) struct Tokens {
    http: Client,
    url: String,
    authorization: String,
    /// Held while a new one is fetched: those who come meanwhile wait for that one, and ask for none of their own.
    current: Mutex<Option<Held>>,
}

struct Held {
    text: String,
    good_until: Instant,
}

impl Tokens {
    pub(super) fn new(http: Client, base_url: &str, authorization: String) -> Self {
        let url = format!("{base_url}/oauth/v1/generate?grant_type=client_credentials");
        Self { http, url, authorization, current: Mutex::new(None) }
    }

    /// A token that is good for a minute or more, or why there is none.
    pub(super) async fn get(&self) -> Result<String, String> {
        let mut current = self.current.lock().await;
        if let Some(held) = current.as_ref().filter(|held| Instant::now() < held.good_until) {
            return Ok(held.text.clone());
        }
        *current = None;
        let asked = Instant::now();
        let response = self.http.get(&self.url).header("authorization", &self.authorization).send().await.map_err(told)?;
        let answer = read(response).await?;
        if !answer.status.is_success() {
            let status = answer.status.as_u16();
            match status {
                429 | 500.. => log::warn!("daraja: no token now (HTTP {status})"),
                _ => log::error!("daraja: no token (HTTP {status}): check consumer_key and consumer_secret"),
            }
            return Err(format!("no token: HTTP {status}"));
        }
        let token = wire::read_token(&answer.body).map_err(|error| format!("no token: {error}"))?;
        // A token that is shorter-lived than a minute is used, and asked for again soon.
        let lifetime = Duration::from_secs(token.expires_in);
        let good_until = asked + lifetime.saturating_sub(EARLY).max(lifetime / 2).min(Duration::from_secs(24 * 3_600));
        *current = Some(Held { text: token.text.clone(), good_until });
        Ok(token.text)
    }

    /// Daraja refused this token. Where another has taken its place already, that one stays.
    pub(super) async fn forget(&self, refused: &str) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|held| held.text == refused) {
            *current = None;
        }
    }
}
