//! What an operator does about money that goes no usual way: has payments by hand sent here, says whose they are, sends money
//! back. All of it works on the ledger itself, beside the running daemon.

use crate::clock;
use crate::commands::{Misused, existing};
use crate::config::Config;
use crate::daraja::{Daraja, Later};
use crate::deposits::{give, id_of};
use crate::ledger::{Key, Ledger, Reversal, Sequences, Stage};
use crate::receipts::reply_to;
use crate::reversing::{self, Word};
use crate::secret::{self, CallbackSecret};
use crate::signer::Signer;
use anyhow::{Context, bail};
use lango_core::units::{Receipt, RouterName, Shillings};
use std::time::{Duration, Instant};

/// `reverse` waits so long for Safaricom's result, which the running daemon receives.
const RESULT_WITHIN: Duration = Duration::from_secs(30);

fn daraja(config: &Config, ledger: &Ledger) -> anyhow::Result<Daraja<Ledger>> {
    let id: String = secret::row_id()?.chars().take(12).collect();
    Daraja::new(&config.mpesa, ledger.clone(), &id)
}

/// Has Safaricom send payments by hand to this relay.
///
/// # Errors
/// When Safaricom does not take it.
pub async fn c2b_register(config: &Config) -> anyhow::Result<()> {
    let ledger = Ledger::open(&config.database).await?;
    let secret = ledger.c2b_secret(clock::now()).await?;
    let base = format!("{}/c2b/{}", config.public_url, secret.reveal());
    let (confirmation, validation) = (format!("{base}/confirmation"), format!("{base}/validation"));
    let told = daraja(config, &ledger)?.register_c2b(&confirmation, &validation).await;
    ledger.close().await;
    match told {
        Later::Accepted => {
            println!(
                "Safaricom sends payments by hand to {}/c2b/… from now on. Without our answer to a validation a payment is {}.",
                config.public_url,
                config.mpesa.c2b_default.name().to_ascii_lowercase()
            );
            Ok(())
        }
        Later::Refused(why) if why.to_ascii_lowercase().contains("already registered") => bail!(
            "{why} Safaricom keeps the addresses that a shortcode has: delete them on the Daraja portal (Self Services, URL Management; two \
             operators must agree), then run this again"
        ),
        Later::Refused(why) => bail!("Safaricom does not take it: {why}"),
        Later::NotNow(why) => bail!("not now, nothing was changed: {why}; try again in some minutes"),
        Later::InDoubt(why) => {
            bail!("nobody knows whether Safaricom took it: {why}; run it again: \"already registered\" means that it did")
        }
    }
}

fn receipt(text: &str) -> anyhow::Result<Receipt> {
    text.trim().to_ascii_uppercase().parse().map_err(|invalid| Misused(format!("{text}: {invalid}")).into())
}

/// Says for which router money is that waits.
///
/// # Errors
/// When there is no such money or router, or it could not be stored.
pub async fn assign(config: &Config, text: &str, router: &RouterName) -> anyhow::Result<()> {
    let signer = Signer::open(&config.signing_key)?;
    let ledger = existing(config).await?;
    ledger.expect_key(&signer.public_key(), clock::now()).await?;
    if ledger.router(router).await?.is_none_or(|router| router.revoked_at.is_some()) {
        return Err(Misused(format!("there is no router {router} that is served: `lango-relay router list` shows them")).into());
    }
    let receipt = receipt(text)?;
    let Some(mut deposit) = ledger.deposit(&receipt).await? else {
        return Err(Misused(format!("no money by hand has the receipt {receipt}: `lango-relay payments` shows it")).into());
    };
    if deposit.stage != Stage::Waiting {
        let whose = deposit.router.map_or_else(|| deposit.stage.name().to_owned(), |router| format!("it is {router}'s"));
        return Err(Misused(format!("{receipt} does not wait: {whose}")).into());
    }
    if !deposit.is_foreign() {
        // Why it waited is over.
        deposit.note = Some("assigned by the operator".to_owned());
    }
    // The running daemon sends it.
    match give((&ledger, &signer, &Sequences::default()), deposit, router, false).await? {
        Some(_) => println!("{receipt} is {router}'s; it is told as soon as it is there."),
        None => bail!("{receipt}: somebody else was quicker, or it is on its way back to its payer; see `lango-relay payments`"),
    }
    ledger.close().await;
    Ok(())
}

/// What is to be sent back.
struct Money {
    amount: Shillings,
    /// The router that has it, and under which id it was told; nothing where it waits.
    told: Option<Key>,
}

async fn money(ledger: &Ledger, receipt: &Receipt) -> anyhow::Result<Money> {
    if let Some(payment) = ledger.payment_with_receipt(receipt).await? {
        if payment.mpesa_receipt.as_ref() != Some(receipt) {
            let known = payment.mpesa_receipt.map_or_else(|| "M-Pesa's own statement has it".to_owned(), |known| format!("it is {known}"));
            return Err(Misused(format!("{receipt} is a stand-in, which M-Pesa does not know: give M-Pesa's own receipt ({known})")).into());
        }
        return Ok(Money { amount: payment.arrived(), told: Some(Key { router: payment.router, order: payment.order }) });
    }
    match ledger.deposit(receipt).await? {
        Some(deposit) if deposit.stage == Stage::Held => {
            bail!("{receipt} may be the money of a prompt that is open: wait until that is decided")
        }
        Some(deposit) => {
            let told = match deposit.router {
                Some(router) => Some(Key { router, order: id_of(receipt)? }),
                None => None,
            };
            Ok(Money { amount: deposit.amount, told })
        }
        None => {
            Err(Misused(format!("the ledger has no money with the receipt {receipt}: `lango-relay payments` shows what it has")).into())
        }
    }
}

/// Sends money back to its payer: all of it, once. Nothing else in this program ever does.
///
/// # Errors
/// When it must not be done, was not taken, or did not end well.
pub async fn reverse(config: &Config, text: &str, yes: bool, served: bool, word: Option<Word>) -> anyhow::Result<()> {
    let ledger = existing(config).await?;
    let receipt = receipt(text)?;
    if let Some(word) = word {
        return reversing::settle(&ledger, &receipt, word, yes).await;
    }
    let daraja = daraja(config, &ledger)?;
    if !daraja.has_initiator() {
        return Err(Misused("a reversal needs initiator and security_credential in [mpesa] (docs/relay.md)".to_owned()).into());
    }
    if ledger.reversal_of(&receipt).await?.as_ref().is_some_and(reversing::is_open) {
        return reversing::ask(config, &ledger, &daraja, &receipt).await;
    }
    if ledger.reversal_of(&receipt).await?.is_some_and(|reversal| reversal.state == "done") {
        return Err(Misused(format!("{receipt} is back at who paid it already, and is never sent twice")).into());
    }
    let Money { amount, told } = money(&ledger, &receipt).await?;
    if let Some(Key { router, .. }) = told.as_ref().filter(|_| !served) {
        return Err(Misused(format!(
            "{receipt}: router {router} was told of this money, and may have served it. What was served cannot be called back: the customer would \
             have both. End what is left there first (`lango kick` on {router}), then say --served"
        ))
        .into());
    }
    if !yes {
        return Err(
            Misused(format!("{receipt}: KSh {amount} would go back to who paid it, and nothing brings it here again: say --yes")).into()
        );
    }
    let secret = CallbackSecret::new()?;
    let now = clock::now();
    let mut change = ledger.begin().await?;
    if let Some(deposit) = change.deposit(&receipt).await?
        && deposit.router.as_ref() != told.as_ref().map(|told| &told.router)
    {
        bail!("{receipt}: a router got it just now; see `lango-relay payments`");
    }
    if !change.claim_reversal(&receipt, amount, told.is_some(), &secret, now).await? {
        return Err(Misused(format!(
            "{receipt} is reversed by somebody else at this moment: `lango-relay payments` shows how that stands. It is never sent twice"
        ))
        .into());
    }
    if let Some(Key { router, order }) = &told {
        // What the router has not acknowledged it shall not serve any more.
        change.take_back(router, order, now).await?;
        // Under this id it was told where it came by hand, and then turned out to be that payment's.
        change.take_back(router, &id_of(&receipt)?, now).await?;
    }
    // From here on nobody else sends it, whatever happens to this program.
    change.commit().await?;
    let reply = reply_to(&config.public_url, &secret);
    let answer = daraja.reverse(&receipt, amount, &reply).await.context("no initiator")?;
    let (state, code) = match &answer {
        Later::Accepted => ("accepted", None),
        Later::Refused(why) | Later::NotNow(why) => ("failed", Some(why.as_str())),
        Later::InDoubt(why) => ("doubt", Some(why.as_str())),
    };
    ledger.reversal_is(secret.reveal(), state, code, None, clock::now()).await?;
    match answer {
        Later::Refused(why) | Later::NotNow(why) => bail!("{receipt}: Safaricom did not take it, and no money moved: {why}"),
        Later::InDoubt(why) => {
            bail!(
                "{receipt}: nobody knows whether Safaricom took it ({why}). It is not sent again: `lango-relay reverse {receipt}` asks what became of it, \
                 and M-Pesa's statement tells (`reconcile`)"
            )
        }
        Later::Accepted => {}
    }
    let begin = Instant::now();
    while begin.elapsed() < RESULT_WITHIN {
        if let Some(reversal) = ledger.reversal_of(&receipt).await?.filter(|reversal| reversal.state != "accepted") {
            return ended(&reversal);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{receipt}: Safaricom has taken it; its result is awaited. `lango-relay payments` shows it, if the daemon runs.");
    Ok(())
}

fn ended(reversal: &Reversal) -> anyhow::Result<()> {
    let code = reversal.code.as_deref().unwrap_or("no code");
    match reversal.state.as_str() {
        "done" => {
            println!("{}: KSh {} is back at who paid it.", reversal.receipt, reversal.amount);
            Ok(())
        }
        "failed" => bail!("{}: no money moved (Safaricom's code {code})", reversal.receipt),
        _ => bail!(
            "{receipt}: in doubt (Safaricom's code {code}). It is not sent again: `lango-relay reverse {receipt}` asks what became of it, and \
             M-Pesa's statement tells (`reconcile`)",
            receipt = reversal.receipt
        ),
    }
}
