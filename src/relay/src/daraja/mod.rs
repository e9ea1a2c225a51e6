//! Daraja, Safaricom's interface to M-Pesa: tokens, prompts, and questions about them. Its JSON is in `wire`, what its
//! codes mean in `result`; here is the talking.

pub mod c2b;
pub mod org;
pub mod result;
mod token;
pub mod wire;

use crate::clock;
use crate::https;
use crate::payment::PushAnswer;
use lango_core::units::{Password, Receipt, Shillings};
use org::{Initiator, ReplyTo};
use reqwest::{Client, StatusCode};
use std::time::Duration;
pub use token::TokenShelf;
use token::Tokens;
use wire::{Merchant, Push, PushReply, QueryReply};

/// How long an answer is waited for. A push without an answer is in doubt from then on.
const TIMEOUT: Duration = Duration::from_secs(30);
/// No answer of Daraja's comes near this; what is longer is not read to its end.
const MAX_ANSWER: usize = 64 * 1024;

/// Who we are to Daraja.
pub struct Credentials {
    /// Where Daraja is, without a slash at the end.
    pub base_url: String,
    /// The app's key.
    pub consumer_key: String,
    /// Its secret.
    pub consumer_secret: Password,
    /// Shortcode and passkey.
    pub merchant: Merchant,
    /// In whose name receipts are asked about and payments reversed.
    pub initiator: Option<Initiator>,
    /// What M-Pesa does with a payment by hand that we do not judge in time.
    pub c2b_default: c2b::ResponseType,
}

/// Daraja's answer to something that is done later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Later {
    /// It will be done, and told.
    Accepted,
    /// It was not taken: what was said.
    Refused(String),
    /// Refused for now, or it never left: nothing was done.
    NotNow(String),
    /// Nobody knows.
    InDoubt(String),
}

/// The client. All relays share one token, which lies on the shelf `S`.
pub struct Daraja<S> {
    http: Client,
    base_url: String,
    merchant: Merchant,
    initiator: Option<Initiator>,
    c2b_default: c2b::ResponseType,
    tokens: Tokens<S>,
}

/// Why there is no answer.
enum NoAnswer {
    /// The request never left.
    Unsent(String),
    /// It may have arrived.
    Lost(String),
}

struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl<S: TokenShelf> Daraja<S> {
    /// A client that has not called yet; `holder` is this relay's name on the shelf.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn new(credentials: &Credentials, shelf: S, holder: &str) -> anyhow::Result<Self> {
        let http = https::client("Daraja", TIMEOUT)?;
        let authorization = wire::basic(&credentials.consumer_key, credentials.consumer_secret.reveal());
        let tokens =
            Tokens::new(http.clone(), &credentials.base_url, authorization, credentials.consumer_key.clone(), holder.to_owned(), shelf);
        Ok(Self {
            http,
            base_url: credentials.base_url.clone(),
            merchant: credentials.merchant.clone(),
            initiator: credentials.initiator.clone(),
            c2b_default: credentials.c2b_default,
            tokens,
        })
    }

    /// Whether a shortcode is ours.
    #[must_use]
    pub fn is_our_shortcode(&self, shortcode: &str) -> bool {
        self.merchant.is(shortcode)
    }

    /// Sees to it that there is a token, so that what is sent next need not wait for one; or has tried to.
    pub async fn prepare(&self) {
        if let Err(why) = self.tokens.get().await {
            log::warn!("daraja: {why}");
        }
    }

    /// Sends a prompt to a customer's phone, once.
    pub async fn push(&self, push: &Push) -> PushAnswer {
        let call = |now| self.merchant.push_body(push, now);
        match self.call("/mpesa/stkpush/v1/processrequest", call).await {
            Err(NoAnswer::Unsent(why)) => PushAnswer::Unsent(why),
            Err(NoAnswer::Lost(why)) => PushAnswer::InDoubt(why),
            Ok(Answer { status, body }) => match wire::read_push(&body) {
                PushReply::Accepted { checkout } if status.is_success() => PushAnswer::Accepted(checkout),
                PushReply::Accepted { .. } => PushAnswer::InDoubt(format!("HTTP {}", status.as_u16())),
                PushReply::NotAccepted { code, message } => result::push_refusal(status.as_u16(), &code, &message),
            },
        }
    }

    /// Asks what became of a prompt: its result code, or nothing where Daraja has no answer.
    pub async fn query(&self, checkout: &str) -> Option<String> {
        let call = |now| self.merchant.query_body(checkout, now);
        match self.call("/mpesa/stkpushquery/v1/query", call).await {
            Err(NoAnswer::Unsent(why) | NoAnswer::Lost(why)) => {
                log::warn!("daraja: a query got no answer: {why}");
                None
            }
            Ok(answer) => match wire::read_query(&answer.body) {
                QueryReply::Result(code) if answer.status.is_success() => Some(code),
                QueryReply::Result(_) => None,
                QueryReply::Nothing(code) => {
                    log::info!("daraja: a query has no result yet (HTTP {} {code})", answer.status.as_u16());
                    None
                }
            },
        }
    }

    /// Has Safaricom send payments by hand to these addresses.
    pub async fn register_c2b(&self, confirmation: &str, validation: &str) -> Later {
        let body = |_| c2b::register_body(&self.merchant.shortcode, self.c2b_default, confirmation, validation);
        self.later("/mpesa/c2b/v2/registerurl", body).await
    }

    /// Whether there is an initiator, so that receipts can be asked about and payments reversed.
    #[must_use]
    pub const fn has_initiator(&self) -> bool {
        self.initiator.is_some()
    }

    /// Asks what Safaricom knows of a receipt; it is told later. Nothing where there is no initiator.
    pub async fn transaction_status(&self, receipt: &Receipt, reply: &ReplyTo) -> Option<Later> {
        let initiator = self.initiator.as_ref()?;
        let body = |_| org::status_body(initiator, &self.merchant.shortcode, receipt, reply);
        Some(self.later("/mpesa/transactionstatus/v1/query", body).await)
    }

    /// Sends money back to its payer, once; how that ends is told later. Nothing where there is no initiator.
    pub async fn reverse(&self, receipt: &Receipt, amount: Shillings, reply: &ReplyTo) -> Option<Later> {
        let initiator = self.initiator.as_ref()?;
        let body = |_| org::reversal_body(initiator, &self.merchant.shortcode, receipt, amount, reply);
        Some(self.later("/mpesa/reversal/v1/request", body).await)
    }

    async fn later(&self, path: &str, body: impl Fn(lango_core::time::Wall) -> Vec<u8>) -> Later {
        match self.call(path, body).await {
            Err(NoAnswer::Unsent(why)) => Later::NotNow(why),
            Err(NoAnswer::Lost(why)) => Later::InDoubt(why),
            Ok(Answer { status, body }) => result::later(status.as_u16(), &body),
        }
    }

    /// One request, with a token; with a new token once more where the first is refused.
    async fn call(&self, path: &str, body: impl Fn(lango_core::time::Wall) -> Vec<u8>) -> Result<Answer, NoAnswer> {
        let mut token = self.tokens.get().await.map_err(NoAnswer::Unsent)?;
        let answer = self.send(path, &token, body(clock::now())).await?;
        if !refuses_token(&answer) {
            return Ok(answer);
        }
        // Refused before anything was done with it: the same request may be sent again.
        self.tokens.forget(&token).await;
        token = self.tokens.get().await.map_err(NoAnswer::Unsent)?;
        self.send(path, &token, body(clock::now())).await
    }

    async fn send(&self, path: &str, token: &str, body: Vec<u8>) -> Result<Answer, NoAnswer> {
        let request =
            self.http.post(format!("{}{path}", self.base_url)).bearer_auth(token).header("content-type", "application/json").body(body);
        let response = request
            .send()
            .await
            .map_err(|error| if error.is_connect() { NoAnswer::Unsent(told(error)) } else { NoAnswer::Lost(told(error)) })?;
        read(response).await.map_err(NoAnswer::Lost)
    }
}

fn refuses_token(answer: &Answer) -> bool {
    if answer.status.is_success() {
        return false;
    }
    let PushReply::NotAccepted { code, .. } = wire::read_push(&answer.body) else { return false };
    result::token_refused(answer.status.as_u16(), &code)
}

async fn read(mut response: reqwest::Response) -> Result<Answer, String> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return Err("the answer is too long to be Daraja's".to_owned());
        }
    }
    Ok(Answer { status, body })
}

/// What went wrong, down to its cause and without the address.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
