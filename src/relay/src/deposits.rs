//! Money that comes without a prompt of ours: told by Safaricom (C2B), or found by its receipt. It is a prompt's money after all,
//! or a router's, or it waits where the operator sees it.
//!
//! Each step here is one transaction that changes nothing when it is done twice: a post is worked on until all of it is stored.

use crate::clock;
use crate::daraja::c2b::{self, C2b, Named, Rejection};
use crate::daraja::org::{self, Reversed};
use crate::daraja::wire::reference;
use crate::engine::Engine;
use crate::ledger::{Change, Deposit, Key, Ledger, Message, PostKind, Router, Sequences, Stage, StoredPost, is_collision};
use crate::mqtt::down_topic;
use crate::nairobi;
use crate::payment::till::{Whose, is_hash_of, is_later_money, may_be_of, names_nothing, prompted_within, whose};
use crate::payment::{Confirmation, Event, Payment, State, schedule};
use crate::reversing;
use crate::secret;
use crate::signer::Signer;
use anyhow::{Context, bail};
use lango_core::message::{self, Down, DownBody, VERSION};
use lango_core::time::Wall;
use lango_core::units::{OrderId, Receipt, RouterName};
use std::sync::Arc;

/// How often a step is tried anew because another writer was quicker.
const ATTEMPTS: usize = 10;
/// A deposit that may be an open prompt's money is looked at again after so long.
const LOOK_AGAIN: u64 = 2_000;
/// What is not readable is read again after so long, in milliseconds: the program may be another by then.
const READ_AGAIN: u64 = 24 * 3_600_000;

/// What a deposit has to do with our prompts.
enum Prompt {
    /// It is this payment's money.
    Is(Key),
    /// It may be an open one's: that one's own result is waited for.
    Perhaps,
    /// Nothing; but its account number is that of a payment of this router's.
    Of(RouterName),
    /// Nothing.
    None,
}

/// While it was decided that money is nobody's prompt's, a prompt came by whose it may be.
#[derive(Debug, thiserror::Error)]
#[error("a prompt came by while a deposit was placed")]
struct Overtaken;

/// Whether prompts that are open may still be waited for.
fn is_patient(deposit: &Deposit, now: Wall) -> bool {
    schedule::window_end(deposit.at) > now
}

/// Sees to it that no prompt has been paid meanwhile whose money this may be: from here on none is, until the change ends.
async fn still_by_hand(change: &mut Change, deposit: &Deposit) -> anyhow::Result<()> {
    if !names_nothing(deposit) || deposit.is_foreign() {
        return Ok(());
    }
    let near = change.payments_prompted(deposit.amount, prompted_within(deposit)).await?;
    match whose(deposit, &near, is_patient(deposit, clock::now())) {
        Whose::Router(_) | Whose::Nobody => Ok(()),
        Whose::Payment(_) | Whose::Perhaps => Err(Overtaken.into()),
    }
}

/// Under which id a deposit's messages are kept.
pub(crate) fn id_of(receipt: &Receipt) -> anyhow::Result<OrderId> {
    Ok(receipt.as_str().to_ascii_lowercase().parse()?)
}

/// As the router is told.
pub(crate) fn told(deposit: &Deposit) -> message::Deposit {
    message::Deposit {
        receipt: deposit.receipt.clone(),
        amount: deposit.amount,
        payer: deposit.payer,
        word: deposit.word.clone(),
        paid_at: deposit.completed_at,
    }
}

/// Gives a deposit to a router and keeps the message for it, both or neither. `new`: it is not in the books yet. `Ok(None)`: it is
/// somebody's already, or on its way back to its payer.
///
/// # Errors
/// When it could not be stored; then nothing of it happened.
pub(crate) async fn give(
    (ledger, signer, sequences): (&Ledger, &Signer, &Sequences),
    mut deposit: Deposit,
    router: &RouterName,
    claimed: bool,
) -> anyhow::Result<Option<(Message, bool)>> {
    sequences.ensure(ledger, router).await?;
    let now = clock::now();
    let mut change = ledger.begin().await?;
    if deposit.stage == Stage::Held {
        // Prompts are locked before deposits, here as where a prompt is paid.
        still_by_hand(&mut change, &deposit).await?;
    }
    let before = change.deposit(&deposit.receipt).await?;
    let booked = match before.as_ref().map(|before| before.stage) {
        None | Some(Stage::Held) => false,
        Some(Stage::Waiting) => true,
        Some(Stage::Given | Stage::Payment) => return Ok(None),
    };
    if change.is_reversed(&deposit.receipt).await? {
        return Ok(None);
    }
    deposit.stage = Stage::Given;
    deposit.router = Some(router.clone());
    deposit.due = None;
    match before {
        None => change.add_deposit(&deposit).await?,
        Some(_) => change.settle_deposit(&deposit).await?,
    }
    if !booked {
        change.book_deposit(&deposit, now).await?;
    }
    let body = DownBody::Deposit(told(&deposit));
    let topic = down_topic(router, body.topic());
    let seq = sequences.take(router).context("a block of numbers was used up at once")?;
    let down = Down { v: VERSION, id: secret::message_id()?, seq, router: router.clone(), at: now, body };
    let payload = String::from_utf8(signer.seal(&down).to_json())?;
    let message = Message { id: down.id, router: down.router, order: id_of(&deposit.receipt)?, seq, topic, payload, made_at: now };
    let heard = !change.router_is_revoked(router).await?;
    change.post(&message, claimed && heard).await?;
    change.commit().await?;
    Ok(Some((message, heard)))
}

impl Engine {
    /// Works on a stored post.
    ///
    /// # Errors
    /// When what follows from it could not be stored: it is worked on again later.
    pub async fn work_on_post(self: &Arc<Self>, post: &StoredPost) -> anyhow::Result<()> {
        match post.kind {
            PostKind::Confirmation => match c2b::read(&post.body) {
                Ok(paid) => self.paid_by_hand(&paid, "c2b", None).await?,
                Err(why) => {
                    log::error!("c2b: a confirmation is not readable, and kept as post {}; see `lango-relay posts`: {why}", post.id);
                    // A newer program may read it.
                    return self.ledger.post_waits(&post.id, Wall(clock::now().0.saturating_add(READ_AGAIN))).await;
                }
            },
            PostKind::Status => self.status_told(&post.subject, &post.body).await?,
            PostKind::Reversal => self.reversal_told(&post.subject, &post.body).await?,
            PostKind::AboutReversal => self.told_of_reversed(&post.subject, &post.body).await?,
            PostKind::Timeout => self.not_come_to(&post.subject).await?,
        }
        self.ledger.post_is_done(&post.id).await
    }

    /// Whether a payment by hand is taken, before it is made. Where that cannot be judged it is: it then waits visibly.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn judge(&self, body: &[u8]) -> anyhow::Result<Option<Rejection>> {
        let Ok(paid) = c2b::read(body) else { return Ok(Some(Rejection::Other)) };
        if paid.shortcode.as_deref().is_some_and(|shortcode| !self.daraja.is_our_shortcode(shortcode)) {
            return Ok(Some(Rejection::Shortcode));
        }
        if paid.cents || paid.amount.is_zero() {
            return Ok(Some(Rejection::Amount));
        }
        let routers = self.routers_in_service().await?;
        if routers.len() <= 1 || paid.account.trim().is_empty() {
            return Ok(None);
        }
        let known = !matches!(c2b::named(&paid.account, &routers, |router| router.name.to_string()), Named::Nobody)
            || !self.ledger.payments_by_reference(&c2b::plain(&paid.account)).await?.is_empty();
        Ok((!known).then_some(Rejection::Account))
    }

    async fn routers_in_service(&self) -> anyhow::Result<Vec<Router>> {
        let mut routers = self.ledger.routers().await?;
        routers.retain(|router| router.revoked_at.is_none());
        Ok(routers)
    }

    /// Money came. `at` is the router whose customer came with its receipt.
    async fn paid_by_hand(self: &Arc<Self>, paid: &C2b, channel: &str, at: Option<&RouterName>) -> anyhow::Result<()> {
        let foreign = paid.shortcode.as_deref().filter(|shortcode| !self.daraja.is_our_shortcode(shortcode));
        let mut note = foreign.map(Deposit::foreign_note);
        if paid.cents && note.is_none() {
            note = Some("its cents are left out".to_owned());
        }
        let mut payer = paid.payer;
        if let Some(hashed) = &paid.hash {
            // Whoever was ever asked to pay is known by this.
            payer = self.ledger.phones().await?.into_iter().find(|phone| is_hash_of(hashed, *phone)).map_or(payer, Into::into);
        }
        let deposit = Deposit {
            receipt: paid.receipt.clone(),
            stage: Stage::Held,
            router: None,
            account: paid.account.clone(),
            word: None,
            payer,
            hash: paid.hash.clone(),
            amount: paid.amount,
            channel: channel.to_owned(),
            completed_at: paid.completed_at.filter(|at| at.0 <= clock::now().0.saturating_add(600_000)),
            at: clock::now(),
            due: None,
            order: None,
            note,
        };
        self.place_again(deposit, at).await
    }

    async fn place_again(self: &Arc<Self>, deposit: Deposit, at: Option<&RouterName>) -> anyhow::Result<()> {
        for _ in 0..ATTEMPTS {
            match self.place(deposit.clone(), at).await {
                Err(error) if is_collision(&error) || error.is::<Overtaken>() => {}
                other => return other,
            }
        }
        bail!("a deposit: others kept changing it")
    }

    /// Looks again at deposits that may be a prompt's money.
    pub async fn look_at_held(self: &Arc<Self>) -> anyhow::Result<()> {
        for deposit in self.ledger.held(clock::now()).await? {
            if let Err(error) = self.place_again(deposit, None).await {
                log::error!("a deposit could not be moved on: {error:#}");
            }
        }
        Ok(())
    }

    async fn place(self: &Arc<Self>, mut deposit: Deposit, at: Option<&RouterName>) -> anyhow::Result<()> {
        let foreign = deposit.is_foreign();
        let stored = self.ledger.deposit(&deposit.receipt).await?;
        if stored.as_ref().is_some_and(|stored| stored.stage != Stage::Held) {
            return Ok(());
        }
        if self.ledger.receipt_is_booked(&deposit.receipt).await? {
            // It came by the prompt's own way.
            return if stored.is_some() { self.is_a_payments(deposit).await } else { Ok(()) };
        }
        let mut hint = None;
        match if foreign { Prompt::None } else { self.prompt_of(&deposit).await? } {
            Prompt::Is(key) => {
                let told = Confirmation {
                    receipt: deposit.receipt.clone(),
                    amount: deposit.amount,
                    completed_at: deposit.completed_at,
                    receipt_taken: false,
                };
                self.apply(&key, Event::Confirmation(told), None).await?;
                if self.ledger.receipt_is_booked(&deposit.receipt).await? {
                    deposit.order = Some(key.order);
                    return if stored.is_some() { self.is_a_payments(deposit).await } else { Ok(()) };
                }
                // Another receipt was quicker: this is more money, and perhaps another prompt's.
                return Err(Overtaken.into());
            }
            Prompt::Perhaps => {
                deposit.due = Some(Wall(clock::now().0.saturating_add(LOOK_AGAIN)));
                let mut change = self.ledger.begin().await?;
                match stored {
                    Some(_) => change.settle_deposit(&deposit).await?,
                    None => change.add_deposit(&deposit).await?,
                }
                return change.commit().await;
            }
            Prompt::Of(router) => hint = Some(router),
            Prompt::None => {}
        }
        if !foreign && let Some(router) = self.router_for(&mut deposit, hint, at).await? {
            let given = give((&self.ledger, &self.signer, &self.sequences), deposit, &router, self.publisher.is_connected()).await?;
            if let Some((message, heard)) = given {
                log::info!("router {router}: money paid by hand is its own");
                if heard {
                    self.publisher.publish(&message.topic, message.payload.as_bytes());
                }
            }
            return Ok(());
        }
        deposit.stage = Stage::Waiting;
        deposit.due = None;
        let mut change = self.ledger.begin().await?;
        still_by_hand(&mut change, &deposit).await?;
        match stored {
            Some(_) => change.settle_deposit(&deposit).await?,
            None => change.add_deposit(&deposit).await?,
        }
        change.book_deposit(&deposit, clock::now()).await?;
        change.commit().await?;
        log::warn!("money paid by hand waits: nobody knows for which router; see `lango-relay payments`");
        Ok(())
    }

    async fn is_a_payments(&self, mut deposit: Deposit) -> anyhow::Result<()> {
        deposit.stage = Stage::Payment;
        deposit.due = None;
        let mut change = self.ledger.begin().await?;
        change.settle_deposit(&deposit).await?;
        change.commit().await
    }

    async fn prompt_of(&self, deposit: &Deposit) -> anyhow::Result<Prompt> {
        // What a query settled has had its money: a payment by hand much later, by its old reference, is other money.
        let open = |payment: &&Payment| {
            let has_money = payment.state == State::Paid && (payment.mpesa_receipt.is_some() || is_later_money(deposit, payment));
            payment.prompted_at.is_some() && !has_money
        };
        let reckoned = c2b::plain(&deposit.account);
        let named = self.ledger.payments_by_reference(&reckoned).await?;
        let named: Vec<&Payment> = named.iter().filter(|payment| reference(payment.order.as_str()) == reckoned).collect();
        if let Some(first) = named.first() {
            let nameless = deposit.payer.is_unknown() && deposit.hash.is_none();
            let fits =
                |payment: &&&Payment| open(payment) && payment.amount == deposit.amount && (nameless || may_be_of(deposit, payment.phone));
            let mut fitting = named.iter().filter(fits);
            return Ok(match (fitting.next(), fitting.next()) {
                (Some(payment), None) => Prompt::Is(payment.key()),
                // An old reference, typed off a message by hand.
                _ => Prompt::Of(first.router.clone()),
            });
        }
        // A till's payments have no reference, and what Safaricom says of a receipt has none either.
        if !names_nothing(deposit) {
            return Ok(Prompt::None);
        }
        let near = self.ledger.payments_prompted(deposit.amount, prompted_within(deposit)).await?;
        Ok(match whose(deposit, &near, is_patient(deposit, clock::now())) {
            Whose::Payment(payment) => Prompt::Is(payment.key()),
            Whose::Perhaps => Prompt::Perhaps,
            Whose::Router(router) => Prompt::Of(router.clone()),
            Whose::Nobody => Prompt::None,
        })
    }

    /// Whose it is: of the one where somebody came with the receipt; of the one that the account number names; of the only one; of
    /// the one where that number was asked to pay last.
    async fn router_for(
        &self,
        deposit: &mut Deposit,
        hint: Option<RouterName>,
        at: Option<&RouterName>,
    ) -> anyhow::Result<Option<RouterName>> {
        let routers = self.routers_in_service().await?;
        match c2b::named(&deposit.account, &routers, |router| router.name.to_string()) {
            Named::One(router, word) => {
                deposit.word = word;
                return Ok(Some(router.name.clone()));
            }
            Named::Several => deposit.note = Some("several routers' names are like this account number".to_owned()),
            Named::Nobody if deposit.account.trim().is_empty() => deposit.note = Some("it has no account number".to_owned()),
            Named::Nobody => deposit.note = Some("its account number is no router's name".to_owned()),
        }
        let served = |name: &RouterName| routers.iter().any(|router| router.name == *name);
        let mut found = hint.filter(served).or_else(|| at.cloned());
        if found.is_none()
            && let [only] = &*routers
        {
            deposit.word = Some(c2b::plain(&deposit.account)).filter(|word| !word.is_empty());
            found = Some(only.name.clone());
        }
        if found.is_none()
            && let Some(phone) = deposit.payer.phone()
        {
            found = self.ledger.router_of_phone(phone).await?.filter(served);
        }
        if found.is_some() {
            deposit.note = None;
        }
        Ok(found)
    }

    async fn status_told(self: &Arc<Self>, subject: &str, body: &[u8]) -> anyhow::Result<()> {
        let Some(ask) = self.ledger.status_ask(subject).await? else { return Ok(()) };
        let now = clock::now();
        let result = match org::read_result(body) {
            Ok(result) => result,
            Err(why) => {
                log::error!("router {}: what Safaricom says of a receipt is not readable: {why}", ask.router);
                return self.ledger.status_is(subject, "unreadable", None, now).await;
            }
        };
        let ours = |described: &org::Described| described.receipt == ask.receipt && self.daraja.is_our_shortcode(&described.receiver);
        let Some(described) = result.described().filter(ours) else {
            log::info!("router {}: Safaricom knows no money of ours with a receipt (code {})", ask.router, result.code);
            return self.ledger.status_is(subject, "unknown", Some(&result.code), now).await;
        };
        // Money is booked whoever asked; only who paid it is served at that router.
        let at = described.payer.matches(ask.phone).then_some(&ask.router);
        let paid = C2b {
            receipt: described.receipt,
            amount: described.amount,
            cents: described.cents,
            account: String::new(),
            payer: described.payer,
            hash: None,
            shortcode: Some(described.receiver),
            completed_at: described.completed_at,
        };
        self.paid_by_hand(&paid, "status", at).await?;
        self.ledger.status_is(subject, "found", Some(&result.code), now).await
    }

    async fn reversal_told(&self, subject: &str, body: &[u8]) -> anyhow::Result<()> {
        let (state, code, own) = match org::read_result(body) {
            Ok(result) => {
                let state = match org::reversed(&result.code) {
                    Reversed::Done => "done",
                    Reversed::Failed => "failed",
                    Reversed::Doubt => "doubt",
                };
                (state, Some(result.code), result.transaction.filter(|_| state == "done"))
            }
            Err(_) => ("doubt", Some("unreadable".to_owned()), None),
        };
        log::info!("a reversal: {state} ({})", code.as_deref().unwrap_or_default());
        reversing::ended(&self.ledger, subject, state, code.as_deref(), own.as_deref()).await
    }

    async fn told_of_reversed(&self, subject: &str, body: &[u8]) -> anyhow::Result<()> {
        let Some(receipt) = self.ledger.reversal_asked_about(subject).await? else { return Ok(()) };
        let now = clock::now();
        let (done, said) = match org::read_result(body) {
            Ok(result) => reversing::read_status(result.status(), &result.code, &nairobi::text(now)),
            Err(_) => (false, format!("what is not readable, asked {}", nairobi::text(now))),
        };
        log::info!(
            "a reversal: Safaricom was asked what became of the money; {}",
            if done { "it went back" } else { "that does not settle it" }
        );
        if done {
            return self.ledger.settle_reversal(&receipt, "done", &said, now).await;
        }
        self.ledger.said_of_reversed(&receipt, &said).await
    }

    /// Safaricom's queue was too long. A question may be asked again; a reversal is in doubt, and is not.
    async fn not_come_to(&self, subject: &str) -> anyhow::Result<()> {
        if self.ledger.status_ask(subject).await?.is_some() {
            return self.ledger.status_is(subject, "timeout", None, clock::now()).await;
        }
        self.ledger.reversal_is(subject, "doubt", Some("timeout"), None, clock::now()).await?;
        Ok(())
    }
}
