//! Where Safaricom's results arrive: stored as they are, answered with 200, and handed to the worker. Nothing is judged here.

use crate::clock;
use crate::engine::Engine;
use crate::ledger::StoredCallback;
use crate::secret::{self, CallbackSecret};
use crate::sms;
use crate::sources::Sources;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A callback has well under 1 KB.
const MAX_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);
const FORWARDED_HEADER: &str = "x-forwarded-for";
const SHORTCODE_HEADER: &str = "businessshortcode";

/// What the server needs.
#[derive(Clone)]
pub struct Receiver {
    /// Whose ledger.
    pub engine: Arc<Engine>,
    /// Where stored callbacks go.
    pub worker: mpsc::Sender<StoredCallback>,
    /// Who may call back.
    pub sources: Arc<Sources>,
}

/// The server's routes.
pub fn routes(receiver: Receiver) -> axum::Router {
    axum::Router::new()
        .route("/callback/{secret}", post(callback))
        .route("/callback/sms/{secret}", post(sms::reports::report))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(receiver)
}

async fn callback(
    State(receiver): State<Receiver>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(secret): Path<String>,
    request: Request,
) -> Response {
    let forwarded: Vec<&str> = request
        .headers()
        .get_all(FORWARDED_HEADER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .collect();
    if !receiver.sources.admit(peer.ip(), &forwarded) {
        log::warn!("callback: from an address that is not among the sources in [callbacks]");
        return StatusCode::FORBIDDEN.into_response();
    }
    let key = match CallbackSecret::parse(&secret) {
        Some(secret) => receiver.engine.ledger.by_secret(&secret).await,
        None => Ok(None),
    };
    let key = match key {
        Ok(Some(key)) => key,
        Ok(None) => {
            log::warn!("callback: to an address that belongs to no payment");
            return StatusCode::NOT_FOUND.into_response();
        }
        Err(error) => {
            log::error!("callback: the ledger cannot be read: {error:#}");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let header = request.headers().get(SHORTCODE_HEADER).and_then(|value| value.to_str().ok());
    let shortcode = header.map(|text| text.trim().chars().take(16).collect());
    let body = match tokio::time::timeout(BODY_WITHIN, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body.to_vec(),
        Ok(Err(rejection)) => return rejection.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let id = match secret::row_id() {
        Ok(id) => id,
        Err(error) => {
            log::error!("callback: {error:#}");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let stored = StoredCallback { id, key, shortcode, body };
    if let Err(error) = receiver.engine.ledger.keep_callback(&stored, clock::now()).await {
        log::error!("payment {}: a callback could not be stored: {error:#}", stored.key);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    // No room: the sweep finds it in the ledger.
    let _ = receiver.worker.try_send(stored);
    ([(header::CONTENT_TYPE, "application/json")], r#"{"ResultCode":0,"ResultDesc":"Accepted"}"#).into_response()
}
