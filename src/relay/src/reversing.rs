//! Reversals whose end nobody told: what Safaricom says became of the money, and the operator's own word. Nothing here sends
//! money.

use crate::clock;
use crate::commands::Misused;
use crate::config::Config;
use crate::daraja::{Daraja, Later};
use crate::ledger::{Ledger, Reversal, is_collision};
use crate::receipts::reply_to;
use anyhow::bail;
use lango_core::units::Receipt;
use std::time::{Duration, Instant};

/// Safaricom's answer is waited for so long; the running daemon receives it.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// What is known of a reversal between the question and the answer.
const ASKED: &str = "Safaricom was asked what became of it";
/// A reversal that was claimed is left to the program that claimed it for so long, in milliseconds.
const LEFT_ALONE: u64 = 10 * 60_000;

/// What the operator says became of a reversal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The statement has it.
    Done,
    /// The statement does not have it.
    Forget,
}

/// Whether nobody knows yet how it ended.
pub(crate) fn is_open(reversal: &Reversal) -> bool {
    !matches!(reversal.state.as_str(), "done" | "failed")
}

/// Asks Safaricom what became of the money of a reversal that is open, and says it. Sends nothing.
///
/// # Errors
/// When it is not known to be back at its payer.
pub(crate) async fn ask(config: &Config, ledger: &Ledger, daraja: &Daraja<Ledger>, receipt: &Receipt) -> anyhow::Result<()> {
    let secret = ledger.secret_about_reversal(receipt, clock::now()).await?;
    // An answer like the one before is an answer, too.
    ledger.said_of_reversed(receipt, ASKED).await?;
    let Some(before) = ledger.reversal_of(receipt).await? else { bail!("the reversal of {receipt} is gone") };
    let begin = Instant::now();
    match daraja.transaction_status(receipt, &reply_to(&config.public_url, &secret)).await {
        None => bail!("no initiator"),
        Some(Later::Refused(why) | Later::NotNow(why)) => {
            bail!("{receipt}: its reversal is {}, and Safaricom cannot be asked now: {why}", before.state)
        }
        Some(Later::Accepted | Later::InDoubt(_)) => {}
    }
    loop {
        if let Some(now) = ledger.reversal_of(receipt).await?.filter(|now| now.state != before.state || now.code != before.code) {
            return told(&now);
        }
        if begin.elapsed() > ANSWER_WITHIN {
            bail!(
                "{receipt}: its reversal is {}. It was not sent again. Safaricom was asked what became of the money and has not answered yet; \
                 `lango-relay payments` shows the answer, if the daemon runs",
                before.state
            );
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn told(reversal: &Reversal) -> anyhow::Result<()> {
    let Reversal { receipt, amount, state, code, .. } = reversal;
    let code = code.as_deref().unwrap_or("nothing");
    match state.as_str() {
        "done" => {
            println!("{receipt}: KSh {amount} is back at who paid it ({code}).");
            Ok(())
        }
        "failed" => bail!("{receipt}: no money moved ({code})"),
        state => bail!(
            "{receipt}: its reversal is {state}, and it was not sent again. Safaricom says of the payment: {code}. That does not show whether it is on \
             its way back; M-Pesa's statement does (`lango-relay reconcile`). If the statement has the reversal, say `lango-relay reverse {receipt} \
             --done --yes`. If it has none a day later, say `lango-relay reverse {receipt} --forget --yes`: then the money counts as here, its router \
             is told of it again, and it can be sent back anew"
        ),
    }
}

/// Takes the operator's word for how an open reversal ended.
///
/// # Errors
/// When there is none that is open, or it is not meant, or too early.
pub(crate) async fn settle(ledger: &Ledger, receipt: &Receipt, word: Word, yes: bool) -> anyhow::Result<()> {
    let now = clock::now();
    let Some(reversal) = ledger.reversal_of(receipt).await?.filter(is_open) else {
        return Err(Misused(format!("{receipt} has no reversal that is open: `lango-relay payments` shows how it stands")).into());
    };
    if now.0.saturating_sub(reversal.at.0) < LEFT_ALONE {
        bail!("{receipt}: its reversal is not ten minutes old, and may be under way at this moment; ask again later");
    }
    let risk = match word {
        Word::Done => {
            format!("KSh {} would count as back at who paid it. If it is not, its payer has neither the money nor service", reversal.amount)
        }
        Word::Forget => format!(
            "KSh {} would count as not sent back, and its router as to be told of it. If it was sent back after all, its payer gets the service and \
             the money, and if it is reversed anew, perhaps the money twice",
            reversal.amount
        ),
    };
    if !yes {
        return Err(Misused(format!("{receipt}: {risk}. Look into M-Pesa's statement first, then say --yes")).into());
    }
    let state = if word == Word::Done { "done" } else { "failed" };
    ledger.settle_reversal(receipt, state, "the operator's word", now).await?;
    match word {
        Word::Done => println!("{receipt}: its reversal is done, by your word."),
        Word::Forget => {
            println!("{receipt}: its reversal is forgotten, by your word. `lango-relay payments` shows the money as it stands.")
        }
    }
    Ok(())
}

/// How a result ends a reversal: `state` and what to say of it, where Safaricom speaks of the payment and not of the reversal.
#[must_use]
pub fn read_status(status: Option<&str>, code: &str, at: &str) -> (bool, String) {
    match status {
        // Only this is a proof: nobody has written down what else Safaricom says of money that went back.
        Some(status) if status.to_ascii_lowercase().contains("reversed") => (true, format!("{status}, asked {at}")),
        Some(status) => (false, format!("{status}, asked {at}")),
        None => (false, format!("code {code}, asked {at}")),
    }
}

/// Stores a reversal's end. One that was given up by the operator's word, and then anew claimed, has two: that is said.
pub(crate) async fn ended(ledger: &Ledger, secret: &str, state: &str, code: Option<&str>, own: Option<&str>) -> anyhow::Result<()> {
    match ledger.reversal_is(secret, state, code, own, clock::now()).await {
        Err(error) if is_collision(&error) => {
            log::error!(
                "a reversal that was forgotten is done after all, and another one of the same money was claimed: look at `lango-relay payments`"
            );
            ledger.note_on_reversal(secret, "done after it was forgotten").await
        }
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_safaricom_says_of_a_payment_proves_a_reversal_only_where_it_says_so() {
        for (status, code, done, said) in [
            (Some("Completed"), "0", false, "Completed, asked T"),
            (Some("Reversed"), "0", true, "Reversed, asked T"),
            (Some("Declined"), "0", false, "Declined, asked T"),
            (None, "R000002", false, "code R000002, asked T"),
            (None, "0", false, "code 0, asked T"),
        ] {
            assert_eq!(read_status(status, code, "T"), (done, said.to_owned()));
        }
    }
}
