//! What routers say of accounts, made into texts and handed to the RADIUS server's writer: stored, and only then acknowledged.

use super::rule::{Kind, Why};
use super::{Sms, words};
use crate::clock;
use crate::engine::Engine;
use crate::ledger::NewText;
use crate::radius;
use crate::secret;
use lango_core::language::Language;
use lango_core::message::{DownBody, UpBody};
use lango_core::notice::AccountNotice;
use lango_core::time::Wall;
use lango_core::units::{MessageId, Msisdn, RouterName, Username};
use std::sync::atomic::Ordering;

/// An end that was so long ago, in milliseconds, is told nobody any more; nor one that is so far in the future.
const FRESH_FOR: u64 = 10 * 60_000;
const DAY: u64 = 24 * 3_600_000;

impl Engine {
    /// A router says something of an account.
    pub async fn notice(&self, router: &RouterName, id: MessageId, body: &UpBody) {
        let stored = match &self.sms {
            Some(sms) => self.store_text(sms, router, &id, body).await,
            None => Ok(()),
        };
        let known = match (stored, body) {
            // The text does not wait for the RADIUS server; the router's leave to forget the purchase does.
            (Ok(()), UpBody::Account(notice)) => self.for_radius(router, &id, notice).await,
            (stored, _) => stored.map(|()| true),
        };
        match known {
            Ok(false) => {}
            Ok(true) => self.say(router, DownBody::Ack { of: vec![id] }).await,
            // Not acknowledged: the router sends it again.
            Err(error) => {
                self.missed.store(true, Ordering::Release);
                log::error!("router {router}: what it says of an account could not be stored: {error:#}");
            }
        }
    }

    async fn store_text(&self, sms: &Sms, router: &RouterName, id: &MessageId, body: &UpBody) -> anyhow::Result<()> {
        let now = clock::now();
        let fresh = |at: Wall| at.0.abs_diff(now.0) <= FRESH_FOR;
        let (kind, username, phone, notice) = match body {
            UpBody::Account(notice) => match notice.phone {
                Some(phone) if !(notice.online && sms.gateway.config.only_waiting) => {
                    (Kind::Credentials, &notice.username, phone, Some(notice))
                }
                _ => return Ok(()),
            },
            UpBody::Expiring(expiring) if fresh(expiring.at) => (Kind::Expiring, &expiring.username, expiring.phone, None),
            UpBody::Ended(ended) if fresh(ended.at) => (Kind::Ended, &ended.username, ended.phone, None),
            _ => return Ok(()),
        };
        let language = self.language(sms, router, username, notice).await?;
        let body = match body {
            UpBody::Account(notice) => words::credentials(notice, language),
            UpBody::Expiring(expiring) => words::expiring(username, expiring.seconds_left, language),
            UpBody::Ended(ended) => words::ended(username, ended.by, language),
            UpBody::Hello { .. } | UpBody::PaymentRequest(_) | UpBody::Ack { .. } => return Ok(()),
            UpBody::ReceiptQuery(_) | UpBody::VouchersRevoked(_) | UpBody::Update(_) => return Ok(()),
        };
        self.add(sms, router, &cause(id, username, notice), kind, username, phone, language, notice, &body, now).await
    }

    /// As the customer's portal was; else as this account was told something before.
    async fn language(
        &self,
        sms: &Sms,
        router: &RouterName,
        username: &Username,
        notice: Option<&AccountNotice>,
    ) -> anyhow::Result<Language> {
        if let Some(language) = notice.and_then(|notice| notice.language) {
            return Ok(language);
        }
        Ok(self.ledger.language_of(router, username).await?.unwrap_or(sms.gateway.config.language))
    }

    #[allow(clippy::too_many_arguments)] // each is a column
    async fn add(
        &self,
        sms: &Sms,
        router: &RouterName,
        cause: &str,
        kind: Kind,
        username: &Username,
        phone: Msisdn,
        language: Language,
        notice: Option<&AccountNotice>,
        body: &str,
        now: Wall,
    ) -> anyhow::Result<()> {
        let id = secret::text_id()?;
        let held = self.too_many(sms, router, now).await?;
        let (order, receipt) = (notice.and_then(|n| n.order.as_ref()), notice.and_then(|n| n.receipt.as_ref()));
        let new = NewText { id: &id, router, cause, kind, username, phone, language, order, receipt, body, held };
        match (self.ledger.add_text(&new, now).await?, &new.held) {
            (true, None) => {
                log::info!("sms {id}: {} for {username} of {router}", kind.name());
                sms.new.notify_one();
            }
            (true, Some(why)) => log::error!("sms {id}: held: {}; is router {router} still yours?", why.words),
            (false, _) => {}
        }
        Ok(())
    }

    /// A router whose key was stolen must not be able to text the whole country at the operator's cost.
    async fn too_many(&self, sms: &Sms, router: &RouterName, now: Wall) -> anyhow::Result<Option<Why>> {
        let limit = sms.gateway.config.daily;
        let told = self.ledger.texts_since(router, Wall(now.0.saturating_sub(DAY))).await?;
        Ok((told >= limit).then(|| Why::new("daily", format!("the router had {limit} texts sent within a day (`daily` in [sms])"))))
    }
}

/// What a text is told for: a purchase once, whatever the message is called.
fn cause(id: &MessageId, username: &Username, notice: Option<&AccountNotice>) -> String {
    notice.map_or_else(|| format!("{id} {username}"), |notice| radius::cause(id, notice))
}
