//! Where delivery reports arrive. Africa's Talking signs nothing: what proves a report is the secret in its address. Twilio's
//! are signed, too.

use super::gateway::Provider;
use super::{africastalking, twilio};
use crate::clock;
use crate::http::Receiver;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use lango_core::units::Password;
use std::time::Duration;

/// A report may come before the gateway's own answer is stored.
const LOOKS: u32 = 4;
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Takes one.
pub async fn report(State(receiver): State<Receiver>, Path(secret): Path<String>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let engine = &receiver.engine;
    let known = |sms: &&super::Sms| Password::new(&secret).is_ok_and(|secret| secret.matches(&sms.report_secret));
    let Some(sms) = engine.sms.as_ref().filter(known) else {
        log::warn!("sms: a report to an address that is not ours");
        return StatusCode::NOT_FOUND;
    };
    let config = &sms.gateway.config;
    let read = match config.provider {
        Provider::AfricasTalking => africastalking::read_report(&body),
        Provider::Twilio => {
            let signature = headers.get("x-twilio-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
            if !twilio::is_signed(config.api_key.reveal(), &sms.gateway.report_url, &body, signature) {
                log::warn!("sms: a report without Twilio's signature is not believed");
                return StatusCode::FORBIDDEN;
            }
            twilio::read_report(&body)
        }
    };
    let Some((gateway_id, report)) = read else {
        log::warn!("sms: a report that cannot be read");
        return StatusCode::BAD_REQUEST;
    };
    for look in 1..=LOOKS {
        match engine.ledger.text_reported(&gateway_id, &report, clock::now()).await {
            Ok(true) => return StatusCode::OK,
            Ok(false) if look < LOOKS => tokio::time::sleep(LOOK_AGAIN).await,
            // Not one of ours, or of one that was sent a second time: nothing would come of saying it again.
            Ok(false) => break,
            Err(error) => {
                log::error!("sms: a report could not be stored: {error:#}");
                return StatusCode::SERVICE_UNAVAILABLE;
            }
        }
    }
    log::info!("sms: a report of a text that is not known here");
    StatusCode::OK
}
