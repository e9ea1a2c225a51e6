//! `lango-relay vouchers create`: makes codes, puts their hashes into the outbox for the router, and prints the codes. They are
//! nowhere else. `vouchers revoke` has the router take back what is not used.

use crate::clock;
use crate::commands::{Misused, existing};
use crate::config::Config;
use crate::ledger::{Ledger, Message, Sequences};
use crate::mqtt::down_topic;
use crate::secret;
use crate::signer::Signer;
use anyhow::{Context, bail};
use lango_core::message::{Down, DownBody, VERSION};
use lango_core::time::Wall;
use lango_core::units::{MessageId, OrderId, PackageId, RouterName};
use lango_core::voucher::{BatchId, MOST_IN_A_MESSAGE, NewVouchers, VoucherCode, Which, slips};
use serde_json::json;
use std::time::{Duration, Instant};

/// So long the router is waited for, so that it can be said whether it has them.
const ROUTER_ANSWERS: Duration = Duration::from_secs(10);

/// Which vouchers are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where they can be redeemed.
    pub router: RouterName,
    /// What each is good for; the router knows what that is.
    pub package: PackageId,
    /// How many.
    pub count: u16,
    /// For how many days they can be redeemed.
    pub days: u16,
}

/// Makes vouchers and prints them.
///
/// # Errors
/// When there is no such router, or the ledger cannot be written; then none was made.
pub async fn create(config: &Config, wanted: &Wanted, as_json: bool) -> anyhow::Result<()> {
    let signer = Signer::open(&config.signing_key)?;
    let ledger = existing(config).await?;
    ledger.expect_key(&signer.public_key(), clock::now()).await?;
    if ledger.router(&wanted.router).await?.is_none() {
        let name = &wanted.router;
        return Err(Misused(format!("there is no router {name}: `lango-relay router list` lists them")).into());
    }
    let now = clock::now();
    let batch = BatchId::from_entropy(&secret::entropy()?);
    let expires = Wall(now.0.saturating_add(u64::from(wanted.days) * 86_400_000));
    let codes = (0..wanted.count)
        .map(|_| VoucherCode::from_entropy(&secret::entropy()?).context("the system gives odd random numbers"))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let sequences = Sequences::default();
    let mut messages = Vec::new();
    for (first, codes) in (1..).step_by(usize::from(MOST_IN_A_MESSAGE)).zip(codes.chunks(usize::from(MOST_IN_A_MESSAGE))) {
        let new = NewVouchers {
            batch,
            package: wanted.package.clone(),
            salt: wanted.router.clone(),
            expires: Some(expires),
            first,
            hashes: codes.iter().map(|code| code.hash(&wanted.router)).collect(),
        };
        let seq = sequences.next(&ledger, &wanted.router).await?;
        messages.push(message(&signer, &wanted.router, new, seq, now)?);
    }
    let mut change = ledger.begin().await?;
    for message in &messages {
        // Not ours to send: the running daemon does, within seconds.
        change.post(message, false).await?;
    }
    change.commit().await?;
    // Stored, so they will be good: only now may anybody see the codes.
    if as_json {
        let vouchers: Vec<_> = (1..).zip(&codes).map(|(number, code): (u16, _)| json!({"number": number, "code": code.reveal()})).collect();
        let (package, router, expires_at) = (&wanted.package, &wanted.router, expires.to_rfc3339());
        println!("{:#}", json!({"batch": batch, "router": router, "package": package, "expires_at": expires_at, "vouchers": vouchers}));
    } else {
        print!("{}", slips(&format!("Wi-Fi {}: {}", wanted.router, wanted.package), batch, 1, Some(expires), &codes));
    }
    if all_taken(&ledger, &messages).await? {
        eprintln!("lango-relay: router {} has them: they can be redeemed", wanted.router);
    } else {
        eprintln!("lango-relay: router {} has not said yet that it has them; it gets them as soon as it is online", wanted.router);
    }
    ledger.close().await;
    Ok(())
}

/// Has a router take back vouchers that are not used, and says how many were.
///
/// # Errors
/// When there is no such router, it has not taken the vouchers yet, or the ledger cannot be written; then nothing was changed.
pub async fn revoke(config: &Config, router: &RouterName, which: Which) -> anyhow::Result<()> {
    let signer = Signer::open(&config.signing_key)?;
    let ledger = existing(config).await?;
    ledger.expect_key(&signer.public_key(), clock::now()).await?;
    if ledger.router(router).await?.is_none() {
        return Err(Misused(format!("there is no router {router}: `lango-relay router list` lists them")).into());
    }
    // What it is told in this order it may hear in the other: the vouchers would come after their end, and be good.
    if ledger.any_open(router, &format!("vouchers{}", which.batch)).await? {
        bail!(
            "router {router} has not said yet that it has all of batch {}: revoke it once it was online. Until then nobody can redeem what it has not",
            which.batch
        );
    }
    let seq = Sequences::default().next(&ledger, router).await?;
    // One word about the same vouchers supersedes the one before.
    let order = format!("revoke{}{:05}", which.batch, which.number.unwrap_or(0)).parse()?;
    let message = sealed(&signer, router, order, DownBody::RevokeVouchers(which), seq, clock::now())?;
    let mut change = ledger.begin().await?;
    change.post(&message, false).await?;
    change.commit().await?;
    if all_taken(&ledger, std::slice::from_ref(&message)).await? {
        let said = ledger.end_of_message(&message.id).await?.unwrap_or_default();
        println!("router {router}: {said}");
    } else {
        println!(
            "router {router} has not answered yet. It takes them back as soon as it is online, and until then they can be redeemed there; \
             the same command asks again how many were used"
        );
    }
    ledger.close().await;
    Ok(())
}

/// What a router's answer is in the ledger, and for people.
pub(crate) fn revoked_said(revoked: u16, used: u16) -> String {
    match (revoked, used) {
        (0, 0) => "it knows no such vouchers".to_owned(),
        (revoked, used) => format!("{revoked} revoked; {used} were used before, and what they became stays"),
    }
}

fn message(signer: &Signer, router: &RouterName, new: NewVouchers, seq: u64, now: Wall) -> anyhow::Result<Message> {
    // In the place of a payment's id: each part of a batch is one of its own, and supersedes none.
    let order = format!("vouchers{}{:05}", new.batch, new.first).parse()?;
    sealed(signer, router, order, DownBody::Vouchers(new), seq, now)
}

fn sealed(signer: &Signer, router: &RouterName, order: OrderId, body: DownBody, seq: u64, now: Wall) -> anyhow::Result<Message> {
    let topic = down_topic(router, body.topic());
    let down = Down { v: VERSION, id: secret::message_id()?, seq, router: router.clone(), at: now, body };
    let sealed = signer.seal(&down).to_json();
    if sealed.len() > lango_core::message::MAX_PAYLOAD {
        bail!("a message of vouchers has {} bytes, which no router reads", sealed.len());
    }
    Ok(Message { id: down.id, router: down.router, order, seq, topic, payload: String::from_utf8(sealed)?, made_at: now })
}

async fn all_taken(ledger: &Ledger, messages: &[Message]) -> anyhow::Result<bool> {
    let asked = Instant::now();
    let ids: Vec<&MessageId> = messages.iter().map(|message| &message.id).collect();
    loop {
        if !ledger.any_unacknowledged(&ids).await? {
            return Ok(true);
        }
        if asked.elapsed() > ROUTER_ANSWERS {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
