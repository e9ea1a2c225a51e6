//! Safaricom's HTTP: requests in, callbacks out.

use super::customer::PushAnswer;
use super::daraja::{self, Refusal};
use super::{Inner, now_unix, org};
use crate::http::{self, Reply, Request, Response, Server};
use crate::net::Namespace;
use anyhow::{Context, Result};
use serde_json::json;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// How long Safaricom waits for the receiver of a callback.
const CALLBACK: Duration = Duration::from_secs(10);

pub(super) fn serve(inner: Arc<Inner>, address: SocketAddr) -> Result<Server> {
    let bind = || TcpListener::bind(address);
    let listener = inner.place.as_ref().map_or_else(bind, |place| place.run(bind)).with_context(|| format!("Safaricom at {address}"))?;
    Ok(http::serve(listener, move |request| match answer(&inner, request) {
        Ok(reply) => reply,
        Err(refusal) => {
            let response = Response::json(refusal.status, &refusal.json(&request_id()));
            inner.lock().refusals.push(refusal);
            Reply::Answer(response)
        }
    }))
}

fn answer(inner: &Arc<Inner>, request: &Request) -> Result<Reply, Refusal> {
    match request.path() {
        "/oauth/v1/generate" => token(inner, request),
        "/mpesa/stkpush/v1/processrequest" => push(inner, request),
        "/mpesa/stkpushquery/v1/query" => query(inner, request),
        "/mpesa/c2b/v2/registerurl" => check_call(inner, request).and_then(|()| org::register(inner, request)),
        "/mpesa/transactionstatus/v1/query" => check_call(inner, request).and_then(|()| org::status(inner, request)),
        "/mpesa/reversal/v1/request" => check_call(inner, request).and_then(|()| org::reversal(inner, request)),
        _ => Err(Refusal::not_found()),
    }
}

fn token(inner: &Inner, request: &Request) -> Result<Reply, Refusal> {
    if request.method != "GET" {
        return Err(Refusal::method(&request.method));
    }
    if request.header("authorization") != Some(&inner.merchant.basic()) {
        return Err(Refusal::authentication());
    }
    if request.target.split_once('?').map(|(_, query)| query) != Some("grant_type=client_credentials") {
        return Err(Refusal::grant_type());
    }
    // The number is a text in the real answer, though the portal shows a number.
    Ok(Reply::Answer(Response::json(200, &json!({"access_token": inner.new_token(), "expires_in": "3599"}))))
}

fn check_call(inner: &Inner, request: &Request) -> Result<(), Refusal> {
    if request.method != "POST" {
        return Err(Refusal::method(&request.method));
    }
    if !inner.token_holds(request.header("authorization")) {
        return Err(Refusal::token());
    }
    Ok(())
}

fn push(inner: &Arc<Inner>, request: &Request) -> Result<Reply, Refusal> {
    check_call(inner, request)?;
    let push = daraja::check_push(&inner.merchant, &request.body, now_unix())?;
    {
        let mut state = inner.lock();
        if let Some(times) = state.busy.get_mut(&push.phone).filter(|times| **times > 0) {
            *times -= 1;
            return Err(Refusal::busy());
        }
        if state.prompts.iter().any(|prompt| prompt.code.is_none() && prompt.push.phone == push.phone) {
            return Err(Refusal::locked());
        }
    }
    let prompt = inner.prompt(push);
    if prompt.script.push == PushAnswer::Lost {
        return Ok(Reply::HangUp);
    }
    Ok(Reply::Answer(Response::json(
        200,
        &json!({
            "MerchantRequestID": prompt.merchant_request,
            "CheckoutRequestID": prompt.checkout_request,
            "ResponseCode": "0",
            "ResponseDescription": "Success. Request accepted for processing",
            "CustomerMessage": "Success. Request accepted for processing",
        }),
    )))
}

fn query(inner: &Inner, request: &Request) -> Result<Reply, Refusal> {
    check_call(inner, request)?;
    let id = daraja::check_query(&inner.merchant, &request.body, now_unix())?;
    let found = {
        let mut state = inner.lock();
        state.queries += 1;
        if state.silent_queries > 0 {
            state.silent_queries -= 1;
            return Err(Refusal::no_answer());
        }
        let say = state.queries_say;
        state.prompts.iter().find(|prompt| prompt.checkout_request == id).cloned().map(|prompt| (say, prompt))
    };
    let (say, prompt) = found.ok_or_else(Refusal::no_answer)?;
    let code = say.or(prompt.code).unwrap_or(4999);
    Ok(Reply::Answer(Response::json(
        200,
        &json!({
            "ResponseCode": "0",
            "ResponseDescription": "The service request has been accepted successfully",
            "MerchantRequestID": prompt.merchant_request,
            "CheckoutRequestID": prompt.checkout_request,
            "ResultCode": code.to_string(),
            "ResultDesc": daraja::result_words(code, true),
        }),
    )))
}

/// Posts a callback and gives back the receiver's status.
pub(super) fn post(place: Option<&Namespace>, url: &str, shortcode: &str, body: &[u8]) -> Result<u16> {
    post_and_read(place, url, shortcode, body).map(|(status, _)| status)
}

/// The same, with the answer's body.
pub(super) fn post_and_read(place: Option<&Namespace>, url: &str, shortcode: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
    let rest = url.strip_prefix("http://").context("the lab has no certificates: it calls back over http only")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let with_port = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let address = with_port.to_socket_addrs()?.next().with_context(|| format!("{authority} has no address"))?;
    let connect = || TcpStream::connect_timeout(&address, CALLBACK);
    let stream = place.map_or_else(connect, |place| place.run(connect))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CALLBACK))?;
    let headers = [("host", authority), ("content-type", "application/json"), ("businessshortcode", shortcode), ("connection", "close")];
    let answer = http::exchange(stream, &http::request("POST", path, &headers, body), false)?;
    Ok((answer.status, answer.body))
}

/// So many random digits and letters.
pub(crate) fn random_text(length: usize) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    random(length).iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("randomness");
    bytes
}

/// As `2654-4b64-97ff-b827b542881d3130`.
pub(super) fn request_id() -> String {
    let hex: String = random(14).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}", &hex[..4], &hex[4..8], &hex[8..12], &hex[12..])
}

/// As `NLJ7RT61SV`.
pub(super) fn receipt() -> String {
    random_text(10).to_uppercase()
}
