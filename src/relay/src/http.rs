//! Where Safaricom's results arrive: stored as they are, answered with 200, and handed to the worker. Nothing is judged here.

use crate::clock;
use crate::daemon;
use crate::daraja::c2b;
use crate::engine::Engine;
use crate::ledger::{PostKind, StoredCallback, StoredPost};
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
        // No word in them that Safaricom refuses, and nothing that a secret could make one.
        .route("/c2b/{secret}/validation", post(validation))
        .route("/c2b/{secret}/confirmation", post(confirmation))
        .route("/result/{secret}", post(result))
        .route("/timeout/{secret}", post(timeout))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(receiver)
}

async fn callback(
    State(receiver): State<Receiver>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(secret): Path<String>,
    request: Request,
) -> Response {
    if !admitted(&receiver, peer, &request) {
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
    let body = match body(request).await {
        Ok(body) => body,
        Err(response) => return response,
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

fn admitted(receiver: &Receiver, peer: SocketAddr, request: &Request) -> bool {
    let forwarded: Vec<&str> = request
        .headers()
        .get_all(FORWARDED_HEADER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .collect();
    let admitted = receiver.sources.admit(peer.ip(), &forwarded);
    if !admitted {
        log::warn!("callback: from an address that is not among the sources in [callbacks]");
    }
    admitted
}

async fn body(request: Request) -> Result<Vec<u8>, Response> {
    match tokio::time::timeout(BODY_WITHIN, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body.to_vec()),
        Ok(Err(rejection)) => Err(rejection.into_response()),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}

/// The body of what came to one of the addresses of payments by hand, if it came to the right one.
async fn by_hand(receiver: &Receiver, peer: SocketAddr, secret: &str, request: Request) -> Result<Vec<u8>, Response> {
    if !admitted(receiver, peer, &request) {
        return Err(StatusCode::FORBIDDEN.into_response());
    }
    let known = match CallbackSecret::parse(secret) {
        Some(secret) => receiver.engine.ledger.is_c2b_secret(&secret).await,
        None => Ok(false),
    };
    match known {
        Ok(true) => body(request).await,
        Ok(false) => {
            log::warn!("c2b: to an address that is not ours");
            Err(StatusCode::NOT_FOUND.into_response())
        }
        Err(error) => {
            log::error!("c2b: the ledger cannot be read: {error:#}");
            Err(StatusCode::SERVICE_UNAVAILABLE.into_response())
        }
    }
}

fn json(text: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.into()).into_response()
}

/// Safaricom asks whether a payment by hand is to be taken, and goes its default way after eight seconds.
async fn validation(
    State(receiver): State<Receiver>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(secret): Path<String>,
    request: Request,
) -> Response {
    const WITHIN: Duration = Duration::from_secs(5);
    let body = match by_hand(&receiver, peer, &secret, request).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let rejection = match tokio::time::timeout(WITHIN, receiver.engine.judge(&body)).await {
        Ok(Ok(rejection)) => rejection,
        // Taken: what nobody can be found for waits visibly.
        Ok(Err(error)) => {
            log::error!("c2b: a payment could not be judged, and is taken: {error:#}");
            None
        }
        Err(_) => None,
    };
    if let Some(why) = rejection {
        log::info!("c2b: a payment is turned away ({})", why.code());
    }
    json(c2b::validation_answer(rejection))
}

/// A payment by hand was made.
async fn confirmation(
    State(receiver): State<Receiver>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(secret): Path<String>,
    request: Request,
) -> Response {
    match by_hand(&receiver, peer, &secret, request).await {
        Ok(body) => keep(&receiver, PostKind::Confirmation, String::new(), body).await,
        Err(response) => response,
    }
}

/// What was asked for is done.
async fn result(
    State(receiver): State<Receiver>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(secret): Path<String>,
    request: Request,
) -> Response {
    answer_to(&receiver, peer, &secret, request, false).await
}

/// Safaricom did not come to it.
async fn timeout(
    State(receiver): State<Receiver>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(secret): Path<String>,
    request: Request,
) -> Response {
    answer_to(&receiver, peer, &secret, request, true).await
}

async fn answer_to(receiver: &Receiver, peer: SocketAddr, secret: &str, request: Request, timed_out: bool) -> Response {
    if !admitted(receiver, peer, &request) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let asked = match CallbackSecret::parse(secret) {
        Some(secret) => receiver.engine.ledger.asked_with(&secret).await,
        None => Ok(None),
    };
    let kind = match asked {
        Ok(Some(kind)) => kind,
        Ok(None) => {
            log::warn!("callback: to an address that belongs to no question");
            return StatusCode::NOT_FOUND.into_response();
        }
        Err(error) => {
            log::error!("callback: the ledger cannot be read: {error:#}");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    match body(request).await {
        Ok(body) => keep(receiver, if timed_out { PostKind::Timeout } else { kind }, secret.to_owned(), body).await,
        Err(response) => response,
    }
}

/// Stores it, answers, and has it worked on.
async fn keep(receiver: &Receiver, kind: PostKind, subject: String, body: Vec<u8>) -> Response {
    let stored = async {
        let post = StoredPost { id: secret::row_id()?, kind, subject, body };
        receiver.engine.ledger.keep_post(&post, clock::now()).await?;
        anyhow::Ok(post)
    };
    match stored.await {
        Ok(post) => {
            let engine = Arc::clone(&receiver.engine);
            drop(tokio::spawn(async move { daemon::work_post(&engine, &post).await }));
            json(c2b::CONFIRMED)
        }
        Err(error) => {
            log::error!("what Safaricom posted could not be stored: {error:#}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}
