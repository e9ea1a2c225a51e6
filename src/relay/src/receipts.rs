//! A router's customer came with a receipt that the router does not know: what the books say of it, and, where they say nothing,
//! a question to Safaricom.

use crate::clock;
use crate::daraja::Later;
use crate::daraja::org::ReplyTo;
use crate::deposits::{give, told};
use crate::engine::Engine;
use crate::ledger::{Stage, StatusAsk};
use crate::payment::State;
use crate::payment::till::may_be_of;
use crate::secret::CallbackSecret;
use lango_core::message::{DownBody, Found, PaidOrder, ReceiptAnswer, ReceiptQuery};
use lango_core::time::Wall;
use lango_core::units::{Receipt, RouterName};
use std::sync::Arc;

/// A router forgets what was served 92 days after its last change. What is older than this is not served again by a receipt,
/// because that router may know better and have forgotten; milliseconds.
const SERVED_AGAIN: u64 = 60 * 24 * 3_600_000;
/// One receipt is asked about once in so long, in milliseconds: its answer comes in seconds, and a wrong one stays wrong.
const ASK_AGAIN: u64 = 60_000;
/// One router's customers have so many questions in ten minutes: Safaricom limits the pace for all.
const ASKS: u64 = 20;
/// M-Pesa's receipts have ten characters.
const RECEIPT: usize = 10;

/// Where Safaricom is to answer.
pub(crate) fn reply_to(public_url: &str, secret: &CallbackSecret) -> ReplyTo {
    let secret = secret.reveal();
    ReplyTo { result: format!("{public_url}/result/{secret}"), timeout: format!("{public_url}/timeout/{secret}") }
}

impl Engine {
    pub(crate) async fn receipt_asked(self: &Arc<Self>, router: &RouterName, query: ReceiptQuery) {
        match self.what_is_known(router, &query).await {
            Ok(found) => self.say(router, DownBody::Receipt(ReceiptAnswer { query: query.query, found })).await,
            // Without an answer the customer is told that it could not be checked.
            Err(error) => log::error!("router {router}: a receipt could not be looked up: {error:#}"),
        }
    }

    async fn what_is_known(self: &Arc<Self>, router: &RouterName, query: &ReceiptQuery) -> anyhow::Result<Found> {
        let now = clock::now();
        if self.ledger.reversal_of(&query.receipt).await?.is_some_and(|reversal| reversal.state != "failed") {
            return Ok(Found::Unknown);
        }
        if let Some(payment) = self.ledger.payment_with_receipt(&query.receipt).await? {
            let lately = payment.decided_at.is_some_and(|at| now.0.saturating_sub(at.0) <= SERVED_AGAIN);
            let mine = payment.router == *router && payment.phone == query.phone && payment.state == State::Paid && lately;
            let amount = payment.arrived();
            return Ok(match payment.receipt.filter(|_| mine) {
                Some(receipt) => Found::Payment(PaidOrder {
                    order: payment.order,
                    package: payment.package,
                    device: payment.device,
                    phone: payment.phone,
                    receipt,
                    amount,
                }),
                None => Found::Unknown,
            });
        }
        if let Some(deposit) = self.ledger.deposit(&query.receipt).await? {
            if !may_be_of(&deposit, query.phone) {
                return Ok(Found::Unknown);
            }
            return Ok(match deposit.stage {
                Stage::Held | Stage::Payment => Found::Asking,
                Stage::Given if deposit.router.as_ref() == Some(router) && lately(deposit.at, now) => Found::Deposit(told(&deposit)),
                Stage::Given => Found::Unknown,
                // It waited for somebody to know for which router it is.
                Stage::Waiting => {
                    let known = (&self.ledger, &self.signer, &self.sequences);
                    match give(known, deposit.clone(), router, self.publisher.is_connected()).await? {
                        Some((message, heard)) => {
                            log::info!("router {router}: money paid by hand is its own, says a receipt");
                            if heard {
                                self.publisher.publish(&message.topic, message.payload.as_bytes());
                            }
                            Found::Deposit(told(&deposit))
                        }
                        None => Found::Unknown,
                    }
                }
            });
        }
        self.ask_safaricom(router, query, now).await
    }

    async fn ask_safaricom(self: &Arc<Self>, router: &RouterName, query: &ReceiptQuery, now: Wall) -> anyhow::Result<Found> {
        if !self.daraja.has_initiator() || query.receipt.as_str().len() != RECEIPT {
            return Ok(Found::Unknown);
        }
        let secret = CallbackSecret::new()?;
        let ask = StatusAsk { receipt: query.receipt.clone(), router: router.clone(), phone: query.phone };
        if !self.ledger.ask_status(&ask, &secret, ASK_AGAIN, ASKS, now).await? {
            let awaited = self.ledger.status_is_asked(&query.receipt, ASK_AGAIN, now).await?;
            return Ok(if awaited { Found::Asking } else { Found::Unknown });
        }
        let (engine, router, receipt) = (Arc::clone(self), router.clone(), query.receipt.clone());
        drop(tokio::spawn(async move { engine.ask_status(&router, &receipt, &secret).await }));
        Ok(Found::Asking)
    }

    async fn ask_status(&self, router: &RouterName, receipt: &Receipt, secret: &CallbackSecret) {
        let Ok(_permit) = self.queries.acquire().await else { return };
        let why = match self.daraja.transaction_status(receipt, &reply_to(&self.public_url, secret)).await {
            Some(Later::Refused(why) | Later::NotNow(why)) => why,
            // What is in doubt may still be answered.
            None | Some(Later::Accepted | Later::InDoubt(_)) => return,
        };
        log::warn!("router {router}: Safaricom does not say what became of a receipt: {why}");
        if let Err(error) = self.ledger.status_is(secret.reveal(), "refused", Some(&why), clock::now()).await {
            log::error!("router {router}: how a question ended could not be stored: {error:#}");
        }
    }
}

fn lately(at: Wall, now: Wall) -> bool {
    now.0.saturating_sub(at.0) <= SERVED_AGAIN
}
