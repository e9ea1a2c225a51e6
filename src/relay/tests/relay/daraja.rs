//! A Daraja that does what a test says: it takes pushes and queries, and remembers them. It is strict about tokens: each
//! new one makes the earlier useless.

use super::until;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// How a push is answered.
#[derive(Clone)]
pub enum Answer {
    /// A prompt is made.
    Accept,
    /// A prompt is made; the answer waits for [`Daraja::release`].
    Hold,
    /// A prompt is made; the connection breaks before the answer.
    Lose,
    /// No prompt is made.
    Refuse(u16, &'static str, &'static str),
}

/// A push as it came.
#[derive(Clone)]
pub struct Push {
    pub body: Value,
    pub checkout: String,
    pub callback: String,
}

#[derive(Default)]
struct Inner {
    answers: VecDeque<Answer>,
    pushes: Vec<Push>,
    taken: usize,
    results: Vec<(String, Value)>,
    queries: Vec<String>,
    token: Option<String>,
    tokens: usize,
    refused_tokens: usize,
    slowness: std::time::Duration,
}

#[derive(Clone, Default)]
struct Shared {
    inner: Arc<Mutex<Inner>>,
    release: Arc<Notify>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

pub struct Daraja {
    pub url: String,
    shared: Shared,
}

impl Daraja {
    pub async fn start() -> Self {
        let shared = Shared::default();
        let routes = axum::Router::new()
            .route("/oauth/v1/generate", get(token))
            .route("/mpesa/stkpush/v1/processrequest", post(push))
            .route("/mpesa/stkpushquery/v1/query", post(query))
            .with_state(shared.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, shared }
    }

    /// How the next pushes are answered; after them, all are accepted.
    pub fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.lock().answers.extend(answers);
    }

    /// Lets the answer that was held go.
    pub fn release(&self) {
        self.shared.release.notify_one();
    }

    /// How long it takes from now on from a prompt to the answer that tells of it.
    #[allow(dead_code)] // for the tests with several relays
    pub fn is_slow(&self, time: std::time::Duration) {
        self.shared.lock().slowness = time;
    }

    /// What a query about this request says from now on; before, it says that it is being processed.
    pub fn result(&self, checkout: &str, code: impl Into<Value>) {
        self.shared.lock().results.push((checkout.to_owned(), code.into()));
    }

    /// Makes the present token useless, as another program's request for one does.
    pub fn revoke_token(&self) {
        self.shared.lock().token = None;
    }

    /// Waits for the next push that nobody has taken yet.
    pub async fn next_push(&self) -> Push {
        until("a push", async || {
            let mut inner = self.shared.lock();
            let push = inner.pushes.get(inner.taken).cloned()?;
            inner.taken += 1;
            Some(push)
        })
        .await
    }

    pub fn pushes(&self) -> usize {
        self.shared.lock().pushes.len()
    }

    pub fn queries(&self) -> Vec<String> {
        self.shared.lock().queries.clone()
    }

    /// Tokens given, and requests refused for theirs.
    pub fn tokens(&self) -> (usize, usize) {
        let inner = self.shared.lock();
        (inner.tokens, inner.refused_tokens)
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Response {
    let body = json!({"requestId": "1c5b-4ba8-815c-ac45c57a3db01495926", "errorCode": code, "errorMessage": message});
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

async fn token(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    // key:secret
    if headers.get("authorization").is_none_or(|value| value != "Basic a2V5OnNlY3JldA==") {
        return refusal(400, "400.008.01", "Invalid authentication type passed");
    }
    let mut inner = shared.lock();
    inner.tokens += 1;
    let token = format!("token{}", inner.tokens);
    inner.token = Some(token.clone());
    Json(json!({"access_token": token, "expires_in": "3599"})).into_response()
}

/// Nothing where the token is good.
fn bad_token(inner: &mut Inner, headers: &HeaderMap) -> Option<Response> {
    let given = headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ");
    if given.is_some() && given == inner.token.as_deref() {
        return None;
    }
    inner.refused_tokens += 1;
    Some(refusal(404, "404.001.03", "Invalid Access Token"))
}

async fn push(State(shared): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let (answer, checkout, slowness) = {
        let mut inner = shared.lock();
        if let Some(refused) = bad_token(&mut inner, &headers) {
            return refused;
        }
        let answer = inner.answers.pop_front().unwrap_or(Answer::Accept);
        if let Answer::Refuse(status, code, message) = answer {
            return refusal(status, code, message);
        }
        let checkout = format!("ws_CO_{:018}{}", inner.pushes.len() + 1, body["PhoneNumber"].as_str().unwrap());
        let callback = body["CallBackURL"].as_str().unwrap().to_owned();
        inner.pushes.push(Push { body, checkout: checkout.clone(), callback });
        (answer, checkout, inner.slowness)
    };
    tokio::time::sleep(slowness).await;
    match answer {
        Answer::Hold => shared.release.notified().await,
        // A body that breaks off: to the client the connection is gone before the answer's end.
        Answer::Lose => {
            let broken = futures_broken();
            return (StatusCode::OK, broken).into_response();
        }
        Answer::Accept | Answer::Refuse(..) => {}
    }
    Json(json!({
        "MerchantRequestID": "2654-4b64-97ff-b827b542881d3130", "CheckoutRequestID": checkout, "ResponseCode": "0",
        "ResponseDescription": "Success. Request accepted for processing", "CustomerMessage": "Success. Request accepted for processing"
    }))
    .into_response()
}

/// A body that ends in an error.
fn futures_broken() -> axum::body::Body {
    struct Broken;
    impl axum::body::HttpBody for Broken {
        type Data = axum::body::Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into())))
        }
    }
    axum::body::Body::new(Broken)
}

async fn query(State(shared): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut inner = shared.lock();
    if let Some(refused) = bad_token(&mut inner, &headers) {
        return refused;
    }
    let checkout = body["CheckoutRequestID"].as_str().unwrap().to_owned();
    inner.queries.push(checkout.clone());
    match inner.results.iter().rev().find(|(known, _)| *known == checkout) {
        Some((_, code)) => {
            Json(json!({"ResponseCode": "0", "CheckoutRequestID": checkout, "ResultCode": code, "ResultDesc": "…"})).into_response()
        }
        None => refusal(500, "500.001.1001", "The transaction is being processed"),
    }
}
