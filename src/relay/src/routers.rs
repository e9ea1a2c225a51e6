//! What routers say, and what they are answered (docs/protocol.md).

use crate::clock;
use crate::engine::Engine;
use crate::ledger::{Key, NewRequest, Which};
use crate::secret::CallbackSecret;
use crate::vouchers::revoked_said;
use lango_core::message::{DownBody, PaymentRequest, REQUEST_FRESH_FOR, Up, UpBody, VouchersRevoked};
use lango_core::time::Wall;
use lango_core::units::{MessageId, RouterName};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What is kept of a router's word for its version.
const VERSION_MAX: usize = 32;

/// When a request was asked, if somebody may still be prompted for it: not longer ago than [`REQUEST_FRESH_FOR`], and not
/// that far in the future, where only a wrong clock can put it.
#[must_use]
pub fn fresh(asked_at: Option<Wall>, now: Wall) -> Option<Wall> {
    asked_at.filter(|asked| asked.0.abs_diff(now.0) <= REQUEST_FRESH_FOR)
}

impl Engine {
    /// A router published. `router` is the topic's, which the broker's ACL vouches for.
    pub async fn router_says(self: &Arc<Self>, router: &RouterName, payload: &[u8]) {
        let up = match Up::from_json(payload) {
            Ok(up) => up,
            Err(error) => return log::warn!("router {router}: {error}"),
        };
        match self.ledger.router(router).await {
            Ok(Some(known)) if known.revoked_at.is_none() => {}
            Ok(Some(_)) => return log::warn!("router {router}: its keys are revoked, and it is not answered"),
            Ok(None) => {
                return log::warn!("router {router}: it was never added here, and is not answered (`lango-relay router add {router}`)");
            }
            Err(error) => {
                self.missed.store(true, Ordering::Release);
                return log::error!("router {router}: {error:#}");
            }
        }
        match up.body {
            UpBody::Hello { nonce, version } => self.hello(router, nonce, &version).await,
            UpBody::PaymentRequest(request) => self.payment_request(router, up.id, &request).await,
            ref body @ (UpBody::Account(_) | UpBody::Expiring(_) | UpBody::Ended(_)) => self.notice(router, up.id, body).await,
            UpBody::VouchersRevoked(VouchersRevoked { of, revoked, used }) => {
                log::info!("router {router}: of the vouchers that were to be revoked {revoked} are, and {used} were used before");
                if let Err(error) = self.ledger.answered(router, &of, &revoked_said(revoked, used), clock::now()).await {
                    log::error!("router {router}: an answer could not be stored: {error:#}");
                }
            }
            UpBody::Update(report) => self.update_said(router, up.id, &report).await,
            UpBody::ReceiptQuery(query) => self.receipt_asked(router, query).await,
            UpBody::Ack { of } => {
                if let Err(error) = self.ledger.acknowledged(router, &of, clock::now()).await {
                    log::error!("router {router}: an acknowledgement could not be stored: {error:#}");
                }
            }
        }
    }

    /// The broker says that a router came or went: the router's own word, or its last will. A retained word is heard at each
    /// connection again; what is known already is no news.
    pub async fn router_is(&self, router: &RouterName, online: bool) {
        match self.ledger.router_is(router, online, clock::now()).await {
            Ok(true) => log::info!("router {router}: {}", if online { "online" } else { "offline" }),
            Ok(false) => {}
            Err(error) => log::error!("router {router}: whether it is online could not be stored: {error:#}"),
        }
    }

    async fn hello(&self, router: &RouterName, nonce: MessageId, version: &str) {
        self.say(router, DownBody::Welcome { nonce }).await;
        let version: String = version.chars().filter(char::is_ascii_graphic).take(VERSION_MAX).collect();
        log::info!("router {router}: hello (lango {version})");
        if let Err(error) = self.ledger.router_said_hello(router, &version, clock::now()).await {
            log::error!("router {router}: its hello could not be stored: {error:#}");
        }
        self.send_again(Which::Of(router.clone())).await;
    }

    async fn payment_request(self: &Arc<Self>, router: &RouterName, id: MessageId, request: &PaymentRequest) {
        let key = Key { router: router.clone(), order: request.order.clone() };
        match self.store(&key, request).await {
            Ok(Stored::New) => {
                self.say(router, DownBody::Ack { of: vec![id] }).await;
                log::info!("payment {key}: asked for {}", request.package);
                self.prompt(&key);
            }
            Ok(Stored::Known) => self.say(router, DownBody::Ack { of: vec![id] }).await,
            Ok(Stored::Stale) => {
                log::info!("payment {key}: asked too late, or without a time; nobody is prompted");
                self.say(router, DownBody::Stale { order: key.order }).await;
            }
            // Not acknowledged: the router sends it again.
            Err(error) => {
                self.missed.store(true, Ordering::Release);
                log::error!("payment {key}: the request could not be stored: {error:#}");
            }
        }
    }

    async fn store(&self, key: &Key, request: &PaymentRequest) -> anyhow::Result<Stored> {
        // Known before stale: a request that was taken, and whose acknowledgement was lost, is not refused afterwards.
        if self.ledger.has_request(key).await? {
            return Ok(Stored::Known);
        }
        let now = clock::now();
        let Some(asked_at) = fresh(request.asked_at, now) else { return Ok(Stored::Stale) };
        let secret = CallbackSecret::new()?;
        let new = self.ledger.add_request(NewRequest { key, request, asked_at, secret: &secret }, now).await?;
        Ok(if new { Stored::New } else { Stored::Known })
    }
}

enum Stored {
    New,
    Known,
    Stale,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness() {
        let now = Wall(Wall::EARLIEST.0);
        let at = |offset: i64| now.0.checked_add_signed(offset).map(Wall);
        for (asked_at, holds) in [
            (at(0), true),
            (at(-90_000), true),
            (at(-90_001), false),
            (at(90_000), true),
            (at(90_001), false),
            (Some(Wall(0)), false),
            (Some(Wall(u64::MAX)), false),
            (None, false),
        ] {
            assert_eq!(fresh(asked_at, now), asked_at.filter(|_| holds), "{asked_at:?}");
        }
    }
}
