//! What the phones do: each pays for its wishes one after the other, as a person does who sees the page.

use crate::cloud::Cloud;
use crate::plan::{KINDS, Way, Wish};
use crate::street::{self, Router};
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::phone::Phone;
use serde_json::{Value, json};
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
    /// The voucher that was redeemed, or the receipt that was brought: whether the portal said so.
    pub taken: bool,
    /// What was answered to presses that did not succeed.
    pub refused: Vec<String>,
}

/// How long a customer waits before trying a code or a receipt again: the portal lets nobody try often.
const TRY_AGAIN: Duration = Duration::from_secs(6);

/// Lives a phone's day. `over`: no new wish is begun any more, and no press repeated.
pub fn live(phone: &Phone, wishes: &[Wish], router: &Router, cloud: &Cloud, start: Instant, over: &AtomicBool) -> Vec<Seen> {
    wishes.iter().map(|wish| one(phone, *wish, router, cloud, start, over)).collect()
}

fn one(phone: &Phone, wish: Wish, router: &Router, cloud: &Cloud, start: Instant, over: &AtomicBool) -> Seen {
    let kind = KINDS[wish.kind];
    let mut seen = Seen { wish, orders: Vec::new(), last: "never asked".to_owned(), taken: false, refused: Vec::new() };
    // The plan's moment; a wish before it may have taken longer.
    std::thread::sleep((start + Duration::from_millis(wish.at)).saturating_duration_since(Instant::now()));
    match kind.way {
        Way::Prompt => {}
        Way::ByHand { told, named } => return by_hand(phone, seen, told, named, router, cloud, over),
        Way::Voucher | Way::CloudVoucher => return voucher(phone, seen, kind.way, router, cloud, over),
    }
    cloud.safaricom.customer(&wish.msisdn(), kind.customer);
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

/// Pays by hand, and brings the receipt to the portal until that knows it.
fn by_hand(phone: &Phone, mut seen: Seen, told: u8, named: bool, router: &Router, cloud: &Cloud, over: &AtomicBool) -> Seen {
    let (wish, name) = (seen.wish, &router.name);
    let account = if named { format!("{name} {}", wish.package) } else { "somewhere".to_owned() };
    let Some(paid) = cloud.safaricom.pays_by_hand(&wish.msisdn(), &account, street::price(wish.package)).paid else { return seen };
    for _ in 1..told {
        cloud.safaricom.confirms(&paid.receipt);
    }
    seen.orders.push(paid.receipt.to_ascii_lowercase());
    let body = json!({"receipt": paid.receipt, "phone": wish.msisdn()});
    insist(phone, &mut seen, "/api/payments/reclaim", &body, &[], over);
    seen
}

/// Has a voucher made, and redeems it until the portal takes it.
fn voucher(phone: &Phone, mut seen: Seen, way: Way, router: &Router, cloud: &Cloud, over: &AtomicBool) -> Seen {
    let package = seen.wish.package;
    let code = loop {
        if over.load(Ordering::Relaxed) {
            return seen;
        }
        // Where that fails after all was stored there is a voucher that nobody has; that harms nobody.
        let printed = match way {
            Way::CloudVoucher => {
                let relay = &cloud.relays[usize::try_from(seen.wish.number).unwrap_or(0) % cloud.relays.len()];
                relay.command(&["vouchers", "create", &router.name, package, "1", "--json"])
            }
            _ => router.lango.command(&["vouchers", "create", package, "1", "--json"]),
        };
        let made = printed.ok().and_then(|printed| serde_json::from_str::<Value>(&printed).ok());
        match made.and_then(|made| made["vouchers"][0]["code"].as_str().map(str::to_owned)) {
            Some(code) => break code,
            None => {
                note(&mut seen.refused, "no voucher could be made".to_owned());
                std::thread::sleep(AGAIN); // the operator's pace
            }
        }
    };
    seen.orders.push("voucher".to_owned());
    // An answer that was lost: the next one says that it is used.
    insist(phone, &mut seen, "/api/vouchers/redeem", &json!({"code": code}), &["voucher_used"], over);
    if seen.taken {
        let _ = phone.udp_echo((HOST4, ECHO).into(), Duration::from_millis(300));
    }
    seen
}

/// Asks until it is granted, or until the day is over.
fn insist(phone: &Phone, seen: &mut Seen, call: &str, body: &Value, as_good: &[&str], over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let code = match phone.try_portal("POST", call, Some(body)) {
            Ok(answer) if answer.status == 200 => String::new(),
            Ok(answer) => answer.value()["error"]["code"].as_str().unwrap_or("?").to_owned(),
            Err(error) => format!("{error:#}").chars().take(60).collect(),
        };
        if code.is_empty() || as_good.contains(&code.as_str()) {
            (seen.taken, seen.last) = (true, "paid".to_owned());
            return;
        }
        note(&mut seen.refused, code);
        std::thread::sleep(TRY_AGAIN); // a person's pace
    }
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
