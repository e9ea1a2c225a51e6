//! What the phones do: each pays for its wishes one after the other, as a person does who sees the page.

use crate::plan::{KINDS, Wish};
use lango_lab::phone::Phone;
use lango_lab::safaricom::Safaricom;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a customer looks at the page of one payment before the next wish.
const LOOKS: Duration = Duration::from_secs(12);
/// How long a customer waits before pressing again.
const AGAIN: Duration = Duration::from_millis(700);

/// What a wish came to, as its customer saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The wish.
    pub wish: Wish,
    /// The orders that were taken for it: two where the first had failed by the time that the customer pressed again.
    pub orders: Vec<String>,
    /// What the page said last.
    pub last: String,
    /// What was answered to presses that did not succeed.
    pub refused: Vec<String>,
}

/// Lives a phone's day. `over`: no new wish is begun any more, and no press repeated.
pub fn live(phone: &Phone, wishes: &[Wish], safaricom: &Safaricom, start: Instant, over: &AtomicBool) -> Vec<Seen> {
    wishes.iter().map(|wish| one(phone, *wish, safaricom, start, over)).collect()
}

fn one(phone: &Phone, wish: Wish, safaricom: &Safaricom, start: Instant, over: &AtomicBool) -> Seen {
    let kind = KINDS[wish.kind];
    let mut seen = Seen { wish, orders: Vec::new(), last: "never asked".to_owned(), refused: Vec::new() };
    // The plan's moment; a wish before it may have taken longer.
    std::thread::sleep((start + Duration::from_millis(wish.at)).saturating_duration_since(Instant::now()));
    safaricom.customer(&wish.msisdn(), kind.customer);
    let body = json!({"package": wish.package, "phone": wish.msisdn()});
    while seen.orders.is_empty() {
        if over.load(Ordering::Relaxed) {
            return seen;
        }
        match phone.try_portal("POST", "/api/payments", Some(&body)) {
            Ok(answer) if answer.status == 202 => {
                let order = answer.value()["payment"].as_str().unwrap_or_default().to_owned();
                seen.orders.push(order);
            }
            Ok(answer) => {
                let code = answer.value()["error"]["code"].as_str().unwrap_or("?").to_owned();
                note(&mut seen.refused, code);
                std::thread::sleep(AGAIN); // a person's pace
            }
            Err(error) => {
                note(&mut seen.refused, format!("{:#}", error).chars().take(60).collect());
                std::thread::sleep(AGAIN);
            }
        }
    }
    if kind.leaves {
        phone.leave();
        std::thread::sleep(Duration::from_secs(3)); // how long it is away
        rejoin(phone);
    }
    let order = seen.orders[0].clone();
    let looking = Instant::now();
    while looking.elapsed() < LOOKS {
        if let Ok(answer) = phone.try_portal("GET", &format!("/api/payments/{order}/status"), None)
            && answer.status == 200
        {
            seen.last = answer.value()["status"].as_str().unwrap_or("?").to_owned();
            if seen.last != "pending" {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(500)); // the page's pace
    }
    seen
}

fn rejoin(phone: &Phone) {
    for _ in 0..5 {
        if phone.try_join().is_ok() {
            return;
        }
    }
    panic!("{} finds no way back into its Wi-Fi", phone.name);
}

fn note(list: &mut Vec<String>, what: String) {
    if list.last() != Some(&what) {
        list.push(what);
    }
}
