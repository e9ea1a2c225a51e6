//! What an operator types beside the running daemon. All of it works on the ledger itself.

use crate::clock;
use crate::config::Config;
use crate::daraja::c2b::plain;
use crate::ledger::{Deposit, Heard, Ledger, Reversal, Router, Stage};
use crate::nairobi;
use crate::payment::{Event, Payment, State};
use crate::secret;
use crate::signer::Signer;
use anyhow::bail;
use lango_core::time::Wall;
use lango_core::units::{Receipt, RouterName};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What was asked for does not exist, or exists already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misused(pub(crate) String);

/// `retry` waits so long for the running daemon.
const RETRY_WAITS: Duration = Duration::from_secs(15);

/// The ledger of a relay that ran, or had a router added, before: looking at it must not make one.
pub(crate) async fn existing(config: &Config) -> anyhow::Result<Ledger> {
    match Ledger::open_existing(&config.database).await? {
        Some(ledger) => Ok(ledger),
        None => bail!("there is no ledger {} yet: `lango-relay router add NAME` makes it", config.database),
    }
}

/// Has the ledger take this machine's signing key, too: the operator gives every router the new `relay_key`.
///
/// # Errors
/// When there is no ledger, or it could not be stored.
pub async fn key_accept(config: &Config) -> anyhow::Result<()> {
    let signer = Signer::open(&config.signing_key)?;
    existing(config).await?.accept_key(&signer.public_key(), clock::now()).await?;
    println!("relay_key of every router is to be: {}", signer.public_key());
    Ok(())
}

/// Adds a router and prints what to put where.
///
/// # Errors
/// When there is one of that name, or it cannot be stored.
pub async fn router_add(config: &Config, name: &RouterName) -> anyhow::Result<()> {
    let signer = Signer::open(&config.signing_key)?;
    let ledger = Ledger::open(&config.database).await?;
    ledger.expect_key(&signer.public_key(), clock::now()).await?;
    // People type these on a phone, without dashes and capitals.
    let like = |router: &Router| router.name != *name && plain(router.name.as_str()) == plain(name.as_str());
    if let Some(other) = ledger.routers().await?.iter().find(|router| like(router)) {
        return Err(Misused(format!(
            "{name} is too much like router {}: as account numbers both are {}",
            other.name,
            plain(name.as_str())
        ))
        .into());
    }
    if !ledger.add_router(name, &secret::password()?, clock::now()).await? {
        return Err(Misused(format!("there is a router {name} already: `lango-relay router show {name}` prints its section again")).into());
    }
    print_router(config, &signer, &ledger, name).await
}

/// Makes a router's keys good for nothing, here at once; prints what is to be done at the broker.
///
/// # Errors
/// When there is none of that name with good keys, or it cannot be stored.
pub async fn router_revoke(config: &Config, name: &RouterName) -> anyhow::Result<()> {
    let ledger = existing(config).await?;
    if !ledger.revoke_router(name, clock::now()).await? {
        return Err(Misused(format!("there is no router {name} whose keys could be revoked: `lango-relay router list` shows them")).into());
    }
    ledger.close().await;
    print!(
        "Router {name} is neither heard nor told anything from now on. What it is owed waits, and goes to who is added under its name.\n\
         # At the broker, now, so that it cannot listen there, either; the reload ends its connection:\n\
         #   mosquitto_passwd -D /etc/mosquitto/passwd {name}\n\
         #   lango-relay router acl > /etc/mosquitto/acl\n\
         #   systemctl reload mosquitto\n\
         # A router that takes its place: lango-relay router add {name}\n"
    );
    Ok(())
}

/// Prints a router's section again.
///
/// # Errors
/// When there is none of that name.
pub async fn router_show(config: &Config, name: &RouterName) -> anyhow::Result<()> {
    let signer = Signer::open(&config.signing_key)?;
    let ledger = existing(config).await?;
    ledger.expect_key(&signer.public_key(), clock::now()).await?;
    print_router(config, &signer, &ledger, name).await
}

async fn print_router(config: &Config, signer: &Signer, ledger: &Ledger, name: &RouterName) -> anyhow::Result<()> {
    let Some(router) = ledger.router(name).await?.filter(|router| router.revoked_at.is_none()) else {
        return Err(Misused(format!("there is no router {name}: `lango-relay router add {name}` adds it")).into());
    };
    // Not on standard output: what goes into a file there is the router's, and is added to its configuration as it is.
    eprint!("{}", for_the_broker(name));
    print!("{}", section(&config.public_broker, &router, &signer.public_key()));
    ledger.close().await;
    Ok(())
}

/// What is to be done besides the section. Without the password: a command line is in the shell's history and in the list of processes.
fn for_the_broker(name: &RouterName) -> String {
    let acl: String = acl(name).lines().map(|line| format!("#   {line}\n")).collect();
    format!(
        "# At the broker, once: its user (it asks for a password: the one of the section), and what it may do (mosquitto's acl_file);\n\
         # then reload mosquitto:\n\
         #   mosquitto_passwd /etc/mosquitto/passwd {name}\n\
         {acl}\
         # On the router, in /etc/config/lango, the section:\n"
    )
}

/// The UCI section, and nothing else.
fn section(broker: &str, router: &Router, relay_key: &str) -> String {
    let (name, password) = (&router.name, router.password.reveal());
    format!(
        "config relay 'relay'\n\
         \toption broker '{broker}'\n\
         \toption username '{name}'\n\
         \toption password '{password}'\n\
         \toption relay_key '{relay_key}'\n"
    )
}

/// What a router may do at the broker: speak under its own name, hear what is for it, and see whether the relay is there.
fn acl(name: &RouterName) -> String {
    format!("user {name}\ntopic write lango/v1/{name}/up/#\ntopic read lango/v1/{name}/down/#\ntopic read lango/v1/relay/presence\n")
}

/// Prints the broker's whole access list: the relay's own, and every router's.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn router_acl(config: &Config) -> anyhow::Result<()> {
    let relay = &config.broker.username;
    println!("user {relay}\ntopic read lango/v1/+/up/#\ntopic write lango/v1/+/down/#\ntopic readwrite lango/v1/relay/presence");
    for router in existing(config).await?.routers().await?.into_iter().filter(|router| router.revoked_at.is_none()) {
        print!("\n{}", acl(&router.name));
    }
    Ok(())
}

/// Lists the routers.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn router_list(config: &Config, as_json: bool) -> anyhow::Result<()> {
    let routers = existing(config).await?.routers().await?;
    let time = |wall: Option<Wall>| wall.map(Wall::to_rfc3339);
    if as_json {
        let all: Vec<Value> = routers
            .iter()
            .map(|router| {
                json!({
                    "router": router.name,
                    "added_at": time(Some(router.added_at)),
                    "online": router.online,
                    "online_at": time(router.online_at),
                    "hello_at": time(router.hello_at),
                    "version": router.version,
                    "revoked_at": time(router.revoked_at),
                    "account": plain(router.name.as_str()),
                })
            })
            .collect();
        println!("{}", Value::from(all));
        return Ok(());
    }
    let rows = routers.iter().map(|router| {
        let state = match (router.online, router.online_at.map(nairobi::text)) {
            _ if router.revoked_at.is_some() => format!("revoked since {}", router.revoked_at.map(nairobi::text).unwrap_or_default()),
            (Some(true), Some(since)) => format!("online since {since}"),
            (Some(false), Some(since)) => format!("offline since {since}"),
            _ => "never seen".to_owned(),
        };
        [router.name.to_string(), nairobi::text(router.added_at), state, router.version.clone().unwrap_or_else(|| "-".to_owned())]
    });
    print!("{}", table(["ROUTER", "ADDED", "STATE", "VERSION"], rows));
    Ok(())
}

/// For people and programs: whether it is open, and how it ended.
pub(crate) fn status(state: State) -> &'static str {
    match state {
        State::Requested | State::Prompting | State::Prompted | State::Confirmed => "pending",
        State::Paid => "paid",
        State::Failed(_) => "failed",
        State::NeedsReview => "needs_review",
    }
}

/// Lists the payments.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn payments(config: &Config, as_json: bool) -> anyhow::Result<()> {
    let ledger = existing(config).await?;
    let (payments, deposits, reversals) = (ledger.payments().await?, ledger.deposits().await?, ledger.reversals().await?);
    if as_json {
        let mut all: Vec<(Wall, Value)> =
            payments.iter().map(|payment| (payment.received_at, with_reversal(as_object(payment), &reversals))).collect();
        all.extend(deposits.iter().map(|deposit| (deposit.at, with_reversal(deposit_object(deposit), &reversals))));
        all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        println!("{}", Value::from(all.into_iter().map(|(_, object)| object).collect::<Vec<_>>()));
        return Ok(());
    }
    let mut rows: Vec<(Wall, [String; 9])> = Vec::new();
    rows.extend(deposits.iter().map(|deposit| {
        let router = deposit.router.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let row = [
            nairobi::text(deposit.at),
            router,
            format!("by hand: {}", if deposit.account.is_empty() { "-" } else { &deposit.account }),
            deposit.word.clone().unwrap_or_else(|| "-".to_owned()),
            deposit.amount.to_string(),
            deposit.payer.text(),
            deposit_status(deposit.stage).to_owned(),
            deposit.receipt.to_string(),
            noted(deposit.note.clone().unwrap_or_default(), Some(&deposit.receipt), &reversals),
        ];
        (deposit.at, row)
    }));
    rows.extend(payments.iter().map(|payment| {
        let text = |receipt: &Option<Receipt>| receipt.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let mut note = payment.reason_name().unwrap_or_default();
        if let Some(flag) = &payment.flag {
            note = format!("{note} look at it: {flag}").trim().to_owned();
        }
        let row = [
            nairobi::text(payment.received_at),
            payment.router.to_string(),
            payment.order.to_string(),
            payment.package.to_string(),
            payment.arrived().to_string(),
            payment.phone.digits(),
            status(payment.state).to_owned(),
            text(&payment.receipt),
            noted(note, payment.mpesa_receipt.as_ref(), &reversals),
        ];
        (payment.received_at, row)
    }));
    rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let head = ["ASKED", "ROUTER", "PAYMENT", "PACKAGE", "KSH", "PHONE", "STATUS", "RECEIPT", "NOTE"];
    print!("{}", table(head, rows.into_iter().map(|(_, row)| row)));
    let unread = crate::posts::unread(&ledger).await?.len();
    if unread > 0 {
        println!("\n{unread} of what Safaricom told of money could not be read, and may be payments: `lango-relay posts`");
    }
    Ok(())
}

/// For people and programs: whether money by hand has found its router.
pub(crate) fn deposit_status(stage: Stage) -> &'static str {
    match stage {
        Stage::Held => "pending",
        Stage::Waiting => "waiting",
        Stage::Payment | Stage::Given => "paid",
    }
}

fn reversal_of<'a>(receipt: Option<&Receipt>, reversals: &'a [Reversal]) -> Option<&'a Reversal> {
    reversals.iter().find(|reversal| Some(&reversal.receipt) == receipt)
}

/// A note, and how the reversal stands.
pub(crate) fn noted(note: String, receipt: Option<&Receipt>, reversals: &[Reversal]) -> String {
    let Some(reversal) = reversal_of(receipt, reversals) else { return note };
    let code = reversal.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
    format!("{note} reversal {}{code}", reversal.state).trim().to_owned()
}

fn with_reversal(mut object: Value, reversals: &[Reversal]) -> Value {
    let receipt = object["mpesa_receipt"].as_str().and_then(|text| text.parse::<Receipt>().ok());
    object["reversal"] = reversal_of(receipt.as_ref(), reversals).map_or(Value::Null, |reversal| {
        json!({
            "state": reversal.state,
            "code": reversal.code,
            "receipt": reversal.reversal_receipt,
            "served": reversal.served,
            "at": reversal.at.to_rfc3339(),
            "decided_at": reversal.decided_at.map(Wall::to_rfc3339),
        })
    });
    object
}

pub(crate) fn deposit_object(deposit: &Deposit) -> Value {
    json!({
        "payment": deposit.receipt.as_str().to_ascii_lowercase(),
        "channel": deposit.channel,
        "router": deposit.router,
        "account": deposit.account,
        "word": deposit.word,
        "amount": deposit.amount,
        "phone": deposit.payer,
        "status": deposit_status(deposit.stage),
        "state": deposit.stage.name(),
        "receipt": deposit.receipt,
        "mpesa_receipt": deposit.receipt,
        "received_at": deposit.at.to_rfc3339(),
        "decided_at": deposit.completed_at.map(Wall::to_rfc3339),
        "look_at": deposit.note,
    })
}

pub(crate) fn as_object(payment: &Payment) -> Value {
    let time = |wall: Option<Wall>| wall.map(Wall::to_rfc3339);
    json!({
        "payment": payment.order,
        "channel": "prompt",
        "router": payment.router,
        "package": payment.package,
        "amount": payment.arrived(),
        "asked_for": payment.amount,
        "phone": payment.phone,
        "device": payment.device,
        "status": status(payment.state),
        "state": payment.state_name(),
        "reason": payment.reason_name(),
        "code": payment.code,
        "receipt": payment.receipt,
        "mpesa_receipt": payment.mpesa_receipt,
        "checkout_request_id": payment.checkout,
        "asked_at": time(Some(payment.asked_at)),
        "received_at": time(Some(payment.received_at)),
        "prompted_at": time(payment.prompted_at),
        "decided_at": time(payment.decided_at),
        "look_at": payment.flag,
    })
}

/// Asks Safaricom about a payment now: the running daemon does, which has the one token.
///
/// # Errors
/// When there is no such payment, nothing to ask, or no daemon that asks.
pub async fn retry(config: &Config, text: &str) -> anyhow::Result<()> {
    if crate::sms::commands::is_text(text) {
        return crate::sms::commands::retry(config, text).await;
    }
    let ledger = existing(config).await?;
    let (router, order) = text.split_once('/').map_or((None, text), |(router, order)| (Some(router), order));
    let mut found = ledger.payments_of_order(order).await?;
    found.retain(|payment| router.is_none_or(|router| payment.router.as_str() == router));
    let payment = match &*found {
        [] => return Err(Misused(format!("there is no payment {text}: `lango-relay payments` shows them")).into()),
        [payment] => payment,
        _ => return Err(Misused(format!("several routers have a payment {order}: write ROUTER/{order}")).into()),
    };
    if payment.state == State::Paid {
        println!("{text} is paid, receipt {}; there is nothing to ask.", payment.receipt.as_ref().map_or("unknown", Receipt::as_str));
        return Ok(());
    }
    if payment.checkout.is_none() {
        bail!(
            "{text}: Safaricom never confirmed a prompt for it, so there is nothing to ask about; look for the money in M-Pesa's own statement"
        );
    }
    let key = payment.key();
    let due = loop {
        let mut change = ledger.begin().await?;
        let (payment, revision) = change.payment(&key).await?;
        let now = clock::now();
        let step = payment.on(&Event::Retry, now);
        if change.save(&step.payment, revision).await? {
            let heard = Heard { event: "retry", said: None, callback: None, verdict: "taken" };
            change.record(&step.payment, revision + 1, heard, now).await?;
            change.commit().await?;
            break step.payment.due;
        }
    };
    let asked = Instant::now();
    let latest = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut now = ledger.payments_of_order(order).await?;
        now.retain(|payment| payment.key() == key);
        let Some(latest) = now.pop() else { bail!("payment {text} is gone") };
        if latest.state != payment.state || asked.elapsed() > RETRY_WAITS {
            break latest;
        }
    };
    if latest.due == due {
        bail!("no running lango-relay took it up; Safaricom is asked as soon as one runs");
    }
    println!("{text}: {}", status(latest.state));
    Ok(())
}

/// Columns as wide as they need to be, two spaces between them.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows);
    let widths: Vec<usize> = (0..N).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::units::Password;

    #[test]
    fn what_a_router_is_given() {
        let router = Router {
            name: "kibera-7".parse().unwrap(),
            password: Password::new("k7m2p9").unwrap(),
            added_at: Wall::EARLIEST,
            hello_at: None,
            version: None,
            online: None,
            online_at: None,
            revoked_at: None,
        };
        assert_eq!(
            section("mqtts://mqtt.example.org:8883", &router, "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
            "config relay 'relay'\n\
             \toption broker 'mqtts://mqtt.example.org:8883'\n\
             \toption username 'kibera-7'\n\
             \toption password 'k7m2p9'\n\
             \toption relay_key '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='\n"
        );
        assert_eq!(
            for_the_broker(&router.name),
            "# At the broker, once: its user (it asks for a password: the one of the section), and what it may do (mosquitto's acl_file);\n\
             # then reload mosquitto:\n\
             #   mosquitto_passwd /etc/mosquitto/passwd kibera-7\n\
             #   user kibera-7\n\
             #   topic write lango/v1/kibera-7/up/#\n\
             #   topic read lango/v1/kibera-7/down/#\n\
             #   topic read lango/v1/relay/presence\n\
             # On the router, in /etc/config/lango, the section:\n"
        );
    }

    #[test]
    fn tables_line_up() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long name".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "N"], rows.into_iter()), "NAME       N\na          1\nlong name\n");
    }
}
