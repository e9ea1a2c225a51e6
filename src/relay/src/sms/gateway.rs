//! The SMS gateway: the talking. What is said is in `africastalking` and `twilio`.

use super::rule::{Verdict, Why};
use super::{africastalking, twilio};
use crate::https;
use lango_core::language::Language;
use lango_core::units::{Msisdn, Password};
use reqwest::{Client, RequestBuilder};
use std::time::Duration;

/// How long an answer is waited for. Without one by then the text may have been sent.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// No answer comes near this; what is longer is not read to its end.
const MAX_ANSWER: usize = 64 * 1024;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Africa's Talking.
    AfricasTalking,
    /// Twilio.
    Twilio,
}

/// `[sms]`, where texts are sent.
pub struct Config {
    /// Who sends.
    pub provider: Provider,
    /// Where it is, without a slash at the end.
    pub base_url: String,
    /// The user name; at Twilio the account's SID.
    pub username: String,
    /// The key; at Twilio the account's token.
    pub api_key: Password,
    /// Who the text is from; the gateway's own where there is none.
    pub sender: Option<String>,
    /// For customers whose language nobody knows.
    pub language: Language,
    /// Only those get their credentials who did not go online with them at once.
    pub only_waiting: bool,
    /// The most texts that one router may have sent within a day.
    pub daily: u64,
}

/// The gateway.
pub struct Gateway {
    http: Client,
    /// As configured.
    pub config: Config,
    /// Where its reports arrive, from outside.
    pub report_url: String,
}

impl Gateway {
    /// A gateway that nobody has called yet.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn new(config: Config, report_url: String) -> anyhow::Result<Self> {
        let http = https::client("the SMS gateway", TIMEOUT)?;
        Ok(Self { http, config, report_url })
    }

    /// Hands a text over, once.
    pub async fn send(&self, to: Msisdn, body: &str) -> Verdict {
        let Config { provider, base_url, username, api_key, sender, .. } = &self.config;
        let sender = sender.as_deref();
        match provider {
            Provider::AfricasTalking => {
                let request = self.http.post(format!("{base_url}{}", africastalking::PATH));
                let request = request.header("apikey", api_key.reveal()).header("accept", "application/json");
                self.post(request, africastalking::form(username, sender, to, body), africastalking::read).await
            }
            Provider::Twilio => {
                let request = self.http.post(format!("{base_url}{}", twilio::path(username)));
                let request = request.basic_auth(username, Some(api_key.reveal()));
                self.post(request, twilio::form(sender.unwrap_or_default(), to, body, &self.report_url), twilio::read).await
            }
        }
    }

    async fn post(&self, request: RequestBuilder, form: String, read: fn(u16, &[u8]) -> Verdict) -> Verdict {
        let sent = request.header("content-type", "application/x-www-form-urlencoded").body(form).send().await;
        let mut response = match sent {
            Ok(response) => response,
            // The address names the account, and stays out of it.
            Err(error) if error.is_connect() => return Verdict::Later(Why::new("unreachable", "the gateway cannot be reached")),
            Err(error) if error.is_timeout() => return Verdict::Doubt(Why::new("no answer", "the gateway did not answer in time")),
            Err(_) => return Verdict::Doubt(Why::new("no answer", "the connection to the gateway broke")),
        };
        let (status, mut answer) = (response.status().as_u16(), Vec::new());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if answer.len() + chunk.len() <= MAX_ANSWER => answer.extend_from_slice(&chunk),
                Ok(None) => return read(status, &answer),
                Ok(Some(_)) | Err(_) => return Verdict::Doubt(Why::new("no answer", "the gateway's answer broke off")),
            }
        }
    }
}
