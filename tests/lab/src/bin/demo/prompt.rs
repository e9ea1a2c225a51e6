//! The simulated phone's own screen: the M-PESA prompt, and what the phone can do on the internet.

use crate::tell;
use lango_lab::Lab;
use lango_lab::http::{Reply, Request, Response};
use lango_lab::phone::Phone;
use lango_lab::safaricom::Prompt;
use lango_lab::safaricom::customer::Answer;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How much the page's button downloads.
const DOWNLOAD: usize = 1_000_000;

#[derive(Clone)]
pub struct Screen {
    lab: Arc<Lab>,
    phone: Arc<Phone>,
}

fn question(prompt: &Prompt) -> String {
    format!("Pay KSh {} to {} for {}? Enter M-PESA PIN", prompt.push.amount, prompt.push.reference, prompt.push.description)
}

impl Screen {
    pub fn new(lab: Arc<Lab>, phone: Arc<Phone>) -> Self {
        Self { lab, phone }
    }

    fn act(&self, answer: Answer) -> bool {
        self.lab.safaricom.answer("", answer).is_ok()
    }

    /// Tells of a prompt that was not told of before.
    pub fn announce(&self, shown: &mut String) {
        if let Some(prompt) = self.lab.safaricom.open_prompt("").filter(|prompt| prompt.checkout_request != *shown) {
            tell::say(&format!("The phone shows: {} (p pays, c cancels, w types a wrong one)", question(&prompt)));
            *shown = prompt.checkout_request;
        }
    }

    /// Acts on a key; false when it is over.
    pub fn key(&self, key: char) -> bool {
        let (answer, done) = match key.to_ascii_lowercase() {
            'p' => (Answer::Pays, "paid"),
            'c' => (Answer::Cancels, "cancelled"),
            'w' => (Answer::WrongPin, "a wrong PIN typed"),
            'q' => return false,
            _ => return true,
        };
        tell::say(if self.act(answer) { done } else { "there is no prompt on the phone: buy a package in the browser first" });
        true
    }

    pub fn answer(&self, request: &Request) -> Reply {
        Reply::Answer(match (request.method.as_str(), request.path()) {
            ("GET", "/") => Response::new(200, "text/html; charset=utf-8", include_str!("prompt.html")),
            ("GET", "/state") => Response::json(200, &self.state()),
            ("POST", "/pay") => self.done(Answer::Pays),
            ("POST", "/cancel") => self.done(Answer::Cancels),
            ("POST", "/wrong-pin") => self.done(Answer::WrongPin),
            ("POST", "/download") => match self.phone.download(DOWNLOAD, Duration::from_secs(5)) {
                Ok(bytes) => Response::json(200, &json!({"said": format!("{bytes} of {DOWNLOAD} bytes came")})),
                Err(error) => Response::json(200, &json!({"said": format!("no connection: {error}")})),
            },
            _ => Response::new(404, "text/plain", "no such page\n"),
        })
    }

    fn done(&self, answer: Answer) -> Response {
        let status = if self.act(answer) { 200 } else { 409 };
        Response::json(status, &json!({"said": if status == 200 { "done" } else { "there is no prompt" }}))
    }

    fn state(&self) -> Value {
        let session = self.phone.try_portal("POST", "/api/hotspot/check-session", Some(&json!({}))).ok();
        json!({
            "prompt": self.lab.safaricom.open_prompt("").map(|prompt| question(&prompt)),
            "address": self.phone.lease().address.to_string(),
            "session": session.and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok()),
        })
    }
}
