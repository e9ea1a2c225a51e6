//! The access token: one for all relays, because each request for one makes the earlier one useless. It lies on a shelf that
//! all of them see, and who wants a new one takes the lease first.

use super::{read, told, wire};
use crate::clock;
use lango_core::time::Wall;
use reqwest::Client;
use std::time::Duration;
use tokio::sync::Mutex;

/// A token is renewed so long before its end, in milliseconds.
const EARLY: u64 = 60_000;
/// No token is believed to be good for longer.
const LONGEST: u64 = 24 * 3_600_000;
/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A lease lasts a little longer than the request that it is for: who died with it holds up the others no longer than that.
const LEASE: u64 = 12_000;
/// How often those who wait for another relay's token look for it.
const LOOK: Duration = Duration::from_millis(50);

/// Where the token is kept, for all relays. `account` says whose token, `holder` which relay.
pub trait TokenShelf: Send + Sync {
    /// The token, while it is good.
    fn token(&self, account: &str, now: Wall) -> impl Future<Output = anyhow::Result<Option<String>>> + Send;
    /// Takes the right to ask for a new one until `until`. `false`: another has it, or there is a good token.
    fn lease(&self, account: &str, holder: &str, now: Wall, until: Wall) -> impl Future<Output = anyhow::Result<bool>> + Send;
    /// Puts a new one there, and gives the lease back.
    fn keep(&self, account: &str, holder: &str, token: &str, good_until: Wall) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Gives the lease back without one.
    fn release(&self, account: &str, holder: &str) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// This token was refused. Where another has taken its place already, that one stays.
    fn forget(&self, account: &str, refused: &str) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// The one token.
pub(super) struct Tokens<S> {
    http: Client,
    url: String,
    authorization: String,
    /// The consumer key: tokens are the app's.
    account: String,
    holder: String,
    shelf: S,
    /// One at a time looks: within a process nobody asks for a second one, and the shelf is asked once.
    looking: Mutex<()>,
}

impl<S: TokenShelf> Tokens<S> {
    pub(super) fn new(http: Client, base_url: &str, authorization: String, account: String, holder: String, shelf: S) -> Self {
        let url = format!("{base_url}/oauth/v1/generate?grant_type=client_credentials");
        Self { http, url, authorization, account, holder, shelf, looking: Mutex::new(()) }
    }

    /// A token that is good for a minute or more, or why there is none.
    pub(super) async fn get(&self) -> Result<String, String> {
        let _one = self.looking.lock().await;
        let lost = |error: anyhow::Error| format!("no token: {error:#}");
        // A holder that died gives the lease back by time; one that lives has a token by then, or has said why not.
        let give_up = tokio::time::Instant::now() + Duration::from_millis(2 * LEASE);
        loop {
            let now = clock::now();
            if let Some(token) = self.shelf.token(&self.account, now).await.map_err(lost)? {
                return Ok(token);
            }
            if self.shelf.lease(&self.account, &self.holder, now, Wall(now.0.saturating_add(LEASE))).await.map_err(lost)? {
                break;
            }
            if tokio::time::Instant::now() >= give_up {
                return Err("no token: another relay asks for one and gets none".to_owned());
            }
            tokio::time::sleep(LOOK).await;
        }
        let (asked, answer) = (clock::now(), self.ask().await);
        match answer {
            Ok(token) => {
                // A token that is shorter-lived than a minute is used, and asked for again soon.
                let lifetime = token.expires_in.saturating_mul(1_000).min(LONGEST);
                let good_for = lifetime.saturating_sub(EARLY).max(lifetime / 2);
                self.shelf.keep(&self.account, &self.holder, &token.text, Wall(asked.0.saturating_add(good_for))).await.map_err(lost)?;
                Ok(token.text)
            }
            Err(why) => {
                if let Err(error) = self.shelf.release(&self.account, &self.holder).await {
                    log::warn!("daraja: the token's lease could not be given back, and runs out: {error:#}");
                }
                Err(why)
            }
        }
    }

    async fn ask(&self) -> Result<wire::Token, String> {
        let request = self.http.get(&self.url).timeout(TIMEOUT).header("authorization", &self.authorization);
        let answer = read(request.send().await.map_err(told)?).await?;
        if !answer.status.is_success() {
            let status = answer.status.as_u16();
            match status {
                429 | 500.. => log::warn!("daraja: no token now (HTTP {status})"),
                _ => log::error!("daraja: no token (HTTP {status}): check consumer_key and consumer_secret"),
            }
            return Err(format!("no token: HTTP {status}"));
        }
        wire::read_token(&answer.body).map_err(|error| format!("no token: {error}"))
    }

    /// Daraja refused this token.
    pub(super) async fn forget(&self, refused: &str) {
        if let Err(error) = self.shelf.forget(&self.account, refused).await {
            log::warn!("daraja: a refused token could not be put away: {error:#}");
        }
    }
}
