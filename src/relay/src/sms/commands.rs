//! What an operator types about texts.

use super::report_url;
use crate::clock;
use crate::commands::{Misused, existing, table};
use crate::config::Config;
use crate::ledger::Text;
use crate::nairobi;
use crate::signer::Signer;
use anyhow::bail;
use lango_core::time::Wall;
use lango_core::units::Password;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// `retry` waits so long for the running daemon.
const RETRY_WAITS: Duration = Duration::from_secs(30);

/// Whether what `retry` was given is a text's id, and no payment's.
#[must_use]
pub fn is_text(id: &str) -> bool {
    id.starts_with("sms-") && !id.contains('/')
}

/// Lists the texts; what keeps the gateway from sending any is said beside them.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn list(config: &Config, as_json: bool) -> anyhow::Result<()> {
    let ledger = existing(config).await?;
    for (alert, since, code) in ledger.alerts().await? {
        let line = format!("since {} {} ({code})", nairobi::text(since), alert.words());
        // A program reads the list alone, and there what each text waits for.
        if as_json { eprintln!("lango-relay: {line}") } else { println!("{line}\n") }
    }
    let texts = ledger.texts().await?;
    if as_json {
        println!("{}", Value::from(texts.iter().map(as_object).collect::<Vec<_>>()));
        return Ok(());
    }
    let rows = texts.iter().map(|text| {
        let note = match (&text.code, &text.note) {
            (Some(code), Some(note)) => format!("{note} ({code})"),
            _ => String::new(),
        };
        [
            nairobi::text(text.made_at),
            text.router.to_string(),
            text.id.clone(),
            text.kind.name().to_owned(),
            text.phone.digits(),
            text.username.to_string(),
            text.state.clone(),
            text.tries.to_string(),
            note,
        ]
    });
    print!("{}", table(["MADE", "ROUTER", "SMS", "ABOUT", "PHONE", "ACCOUNT", "STATUS", "TRIES", "NOTE"], rows));
    Ok(())
}

fn as_object(text: &Text) -> Value {
    let time = |wall: Option<Wall>| wall.map(Wall::to_rfc3339);
    json!({
        "sms": text.id,
        "router": text.router,
        "about": text.kind.name(),
        "phone": text.phone,
        "username": text.username,
        "language": text.language,
        "payment": text.order,
        "receipt": text.receipt,
        "status": text.state,
        "code": text.code,
        "reason": text.note,
        "tries": text.tries,
        "made_at": time(Some(text.made_at)),
        "sent_at": time(text.sent_at),
        "decided_at": time(text.decided_at),
        "next_try_at": time(text.due),
    })
}

/// Prints the address at which the gateway's delivery reports are to arrive.
///
/// # Errors
/// When there is no signing key to be had, or no SMS.
pub fn reports(config: &Config) -> anyhow::Result<()> {
    if config.sms.is_none() {
        return Err(Misused("no SMS is sent: [sms] names no provider".to_owned()).into());
    }
    let secret = Password::new(&Signer::open(&config.signing_key)?.secret_for("sms reports"))?;
    println!("{}", report_url(&config.public_url, &secret));
    Ok(())
}

/// Sends a text again now: the running daemon does.
///
/// # Errors
/// When there is no such text, its words are forgotten, or there is no daemon that sends it.
pub async fn retry(config: &Config, id: &str) -> anyhow::Result<()> {
    let ledger = existing(config).await?;
    let Some(before) = ledger.text(id).await? else {
        return Err(Misused(format!("there is no SMS {id}: `lango-relay sms` shows them")).into());
    };
    if before.state == "delivered" {
        println!("{id} is delivered; there is nothing to send.");
        return Ok(());
    }
    if config.sms.is_none() {
        return Err(Misused("no SMS is sent: [sms] names no provider".to_owned()).into());
    }
    if !ledger.send_text_again(id, clock::now()).await? {
        bail!("{id}: its words, which hold a password, were forgotten after a week; `lango accounts` on the router has the account");
    }
    let asked = Instant::now();
    let text = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Some(text) = ledger.text(id).await? else { bail!("SMS {id} is gone") };
        if text.state != "queued" || text.code.is_some() || asked.elapsed() > RETRY_WAITS {
            break text;
        }
    };
    if text.tries == before.tries {
        bail!("no running lango-relay took it up; it is sent as soon as one runs");
    }
    match (&text.note, &text.code) {
        (Some(note), Some(code)) => println!("{id}: {}: {note} ({code})", text.state),
        _ => println!("{id}: {}", text.state),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_s_id_is_no_payment_s() {
        for (id, expected) in [
            (&*crate::secret::text_id().unwrap(), true),
            ("sms-1/0kq3v9x1c7mzp2w8tdl5hb6ny4", false),
            ("0kq3v9x1c7mzp2w8tdl5hb6ny4", false),
            ("sms", false),
        ] {
            assert_eq!(is_text(id), expected, "{id}");
        }
    }
}
