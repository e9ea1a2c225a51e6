//! Carries out what the payment's rules say: reads the payment, asks the rules, stores the new state together with the
//! money and the message that follow from it, and only then acts outside.

use crate::clock;
use crate::daraja::Daraja;
use crate::daraja::wire::{Push, description, read_callback, reference};
use crate::ledger::{Change, Heard, Key, Ledger, Message, Sequences, Stage, StoredCallback, is_collision};
use crate::mqtt::{Publisher, down_topic};
use crate::payment::till::{self, Told};
use crate::payment::{Action, Callback, Event, Payment, PushAnswer, RECEIPT_TAKEN, SECOND_RECEIPT, State, Step, Verdict};
use crate::radius::Radius;
use crate::secret;
use crate::signer::Signer;
use crate::sms::Sms;
use anyhow::{Context, bail};
use lango_core::message::{Down, DownBody, Outcome, VERSION};
use lango_core::time::Wall;
use lango_core::units::RouterName;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Pushes under way at once. Also the number of permits that a clean stop waits for.
pub const PUSHES: u32 = 32;
/// Queries under way at once: after an outage all open payments are asked for, and Daraja limits the pace.
const QUERIES: usize = 4;
/// How often a change is tried anew because another writer was quicker.
const ATTEMPTS: usize = 10;

/// What the relay is made of.
pub struct Engine {
    /// The books.
    pub ledger: Ledger,
    /// Safaricom.
    pub daraja: Daraja<Ledger>,
    /// The routers.
    pub publisher: Publisher,
    /// What makes them believe us.
    pub signer: Signer,
    /// The base of callback addresses.
    pub public_url: String,
    /// When this process began to receive callbacks.
    pub started_at: Wall,
    /// Numbers of messages.
    pub sequences: Sequences,
    /// Set when something that a router said could not be stored: it is asked to say it again once that can be done.
    pub missed: AtomicBool,
    /// Tells the timer that something is due earlier than it knew.
    pub timer: Notify,
    /// Set when the program stops: no push begins after that.
    pub stopping: AtomicBool,
    /// Payments whose prompt waits for a token or for room; and its permit, once it has one.
    pub preparing: Mutex<HashMap<Key, Option<OwnedSemaphorePermit>>>,
    /// One permit a push.
    pub pushes: Arc<Semaphore>,
    /// One permit a query.
    pub queries: Semaphore,
    /// Texts to customers, where they are sent.
    pub sms: Option<Sms>,
    /// The tables of the RADIUS server, where there is one.
    pub radius: Option<Radius>,
}

impl Engine {
    /// An engine that does nothing yet.
    #[must_use]
    pub fn new(ledger: Ledger, daraja: Daraja<Ledger>, publisher: Publisher, signer: Signer, public_url: String) -> Self {
        Self {
            ledger,
            daraja,
            publisher,
            signer,
            public_url,
            started_at: clock::now(),
            sequences: Sequences::default(),
            missed: AtomicBool::new(false),
            timer: Notify::new(),
            stopping: AtomicBool::new(false),
            preparing: Mutex::default(),
            pushes: Arc::new(Semaphore::new(PUSHES as usize)),
            queries: Semaphore::new(QUERIES),
            sms: None,
            radius: None,
        }
    }

    /// Lets one event happen to one payment. `stored` is the id of the stored callback that it comes from.
    ///
    /// # Errors
    /// When the ledger could not store it; then nothing of it happened.
    pub async fn apply(self: &Arc<Self>, key: &Key, event: Event, stored: Option<&str>) -> anyhow::Result<Verdict> {
        for _ in 0..ATTEMPTS {
            match self.attempt(key, event.clone(), stored).await {
                Ok(Some(verdict)) => return Ok(verdict),
                Ok(None) => {}
                Err(error) if is_collision(&error) => {}
                Err(error) => return Err(error),
            }
        }
        bail!("payment {key}: others kept changing it")
    }

    /// Nothing: somebody else was quicker, and it is to be tried again.
    async fn attempt(self: &Arc<Self>, key: &Key, mut event: Event, stored: Option<&str>) -> anyhow::Result<Option<Verdict>> {
        self.sequences.ensure(&self.ledger, &key.router).await?;
        let now = clock::now();
        let mut change = self.ledger.begin().await?;
        let (before, revision) = change.payment(key).await?;
        if let Some(id) = stored
            && !change.take_callback(id).await?
        {
            return Ok(Some(Verdict::Known));
        }
        // Money by hand whose prompt this may turn out to be.
        let mut by_hand = None;
        if let Event::Confirmation(confirmation) = &mut event {
            confirmation.receipt_taken = change.receipt_in_books(&confirmation.receipt).await?;
        }
        if let Event::Callback(callback) = &mut event {
            if let Some(receipt) = &callback.receipt {
                callback.receipt_taken = change.receipt_taken(receipt, key).await?;
                if let Some(deposit) = change.deposit(receipt).await? {
                    match deposit.stage {
                        Stage::Given if deposit.router.as_ref() != Some(&key.router) => callback.receipt_taken = true,
                        Stage::Given if deposit.order.as_ref().is_some_and(|order| *order != key.order) => callback.receipt_taken = true,
                        Stage::Given | Stage::Waiting => {
                            callback.deposited = true;
                            by_hand = Some(deposit);
                        }
                        Stage::Held | Stage::Payment => {}
                    }
                }
            }
            callback.request_taken = change.request_taken(&callback.checkout, key).await?;
        }
        let mut step = before.on(&event, now);
        if step.payment.state == State::Paid && step.payment.mpesa_receipt.is_none() && before.state != State::Paid {
            // A query's word alone, under a stand-in: what came by hand may be the same money.
            let near = change.free_deposits(before.amount, before.prompted_at.unwrap_or(before.received_at)).await?;
            match till::by_query(&before, &near) {
                Told::Alone => {}
                Told::As(deposit) => {
                    step = before.paid_with(deposit.receipt.clone(), deposit.amount, now);
                    by_hand = Some(deposit.clone());
                }
                Told::InDoubt(why) => step = before.in_doubt(why, now),
            }
        }
        if let Some(deposit) = &by_hand
            && step.payment.state == State::Paid
            && before.state != State::Paid
            && change.is_reversed(&deposit.receipt).await?
        {
            step = before.in_doubt("its money came as paid by hand, and went back to its payer", now);
        }
        if let Event::Callback(callback) = &event {
            match step.verdict {
                Verdict::Mismatch(SECOND_RECEIPT) if hold_apart(&mut change, callback, &before, now).await? => {
                    step = Step::nothing(&before, Verdict::Taken);
                }
                Verdict::Mismatch(RECEIPT_TAKEN) => {
                    let whose = whose_receipt(&mut change, callback).await?;
                    step.payment.flag = step.payment.flag.map(|flag| format!("{flag}: {whose}"));
                }
                _ => {}
            }
        }
        // What was heard is in the history even where it changes nothing; that a time came is nobody's word.
        if step.payment != before || event != Event::Due {
            if !change.save(&step.payment, revision).await? {
                return Ok(None);
            }
            let heard = Heard { event: name(&event), said: said(&event), callback: stored, verdict: told(step.verdict) };
            change.record(&step.payment, revision + 1, heard, now).await?;
        }
        if let Some(checkout) = step.payment.checkout.as_ref().filter(|_| before.checkout.is_none()) {
            change.name_request(checkout, key, now).await?;
        }
        if let Some(mut deposit) = by_hand.filter(|_| step.payment.state == State::Paid && before.state != State::Paid) {
            // The payment's own message tells its router, which serves one receipt once.
            deposit.stage = Stage::Given;
            deposit.router = Some(key.router.clone());
            deposit.order = Some(key.order.clone());
            deposit.note = Some(format!("the money of payment {key}"));
            change.settle_deposit(&deposit).await?;
        }
        let heard = !change.router_is_revoked(&key.router).await?;
        let mut messages = Vec::new();
        for action in &step.actions {
            match action {
                Action::Book(receipt) => change.book(&step.payment, receipt, completed_at(&event, &step.payment, now), now).await?,
                Action::NameReceipt(receipt) => {
                    let entry = step.payment.receipt.as_ref().context("a paid payment without a receipt")?;
                    change.name_receipt(receipt, entry, completed_at(&event, &step.payment, now), now).await?;
                }
                Action::Tell(outcome) => {
                    let seq = self.sequences.take(&key.router).context("a block of numbers was used up at once")?;
                    let message = self.message(&step.payment, outcome, seq, now)?;
                    // Without a broker it is left to a relay that has one.
                    change.post(&message, heard && self.publisher.is_connected()).await?;
                    messages.push(message);
                }
                Action::Push | Action::Query(_) => {}
            }
        }
        change.commit().await?;
        for message in messages.iter().filter(|_| heard) {
            self.publisher.publish(&message.topic, message.payload.as_bytes());
        }
        log_change(key, &before, &step.payment, step.verdict);
        if step.payment.due.is_some_and(|due| before.due.is_none_or(|before| due < before)) {
            self.timer.notify_one();
        }
        self.act(&step.payment, &step.actions);
        Ok(Some(step.verdict))
    }

    fn message(&self, payment: &Payment, outcome: &Outcome, seq: u64, now: Wall) -> anyhow::Result<Message> {
        let body = DownBody::Payment(payment.update(outcome.clone()));
        let topic = down_topic(&payment.router, body.topic());
        let down = Down { v: VERSION, id: secret::message_id()?, seq, router: payment.router.clone(), at: now, body };
        let payload = String::from_utf8(self.signer.seal(&down).to_json())?;
        Ok(Message { id: down.id, router: down.router, order: payment.order.clone(), seq, topic, payload, made_at: now })
    }

    /// Says something that need not arrive.
    pub async fn say(&self, router: &RouterName, body: DownBody) {
        let sealed = async {
            let seq = self.sequences.next(&self.ledger, router).await?;
            let topic = down_topic(router, body.topic());
            let down = Down { v: VERSION, id: secret::message_id()?, seq, router: router.clone(), at: clock::now(), body };
            anyhow::Ok((topic, self.signer.seal(&down).to_json()))
        };
        match sealed.await {
            Ok((topic, payload)) => self.publisher.publish(&topic, payload),
            Err(error) => log::error!("router {router}: it could not be answered: {error:#}"),
        }
    }

    /// What follows from a step and is durable already.
    fn act(self: &Arc<Self>, payment: &Payment, actions: &[Action]) {
        for action in actions {
            let (engine, payment) = (Arc::clone(self), payment.clone());
            match action {
                Action::Push => {
                    let permit = self.preparing().get_mut(&payment.key()).and_then(Option::take);
                    drop(tokio::spawn(async move { engine.push(&payment, permit).await }));
                }
                Action::Query(checkout) => {
                    let checkout = checkout.clone();
                    drop(tokio::spawn(async move { engine.query(&payment, &checkout).await }));
                }
                Action::Tell(_) | Action::Book(_) | Action::NameReceipt(_) => {}
            }
        }
    }

    async fn push(self: &Arc<Self>, payment: &Payment, permit: Option<OwnedSemaphorePermit>) {
        // The permit is held until the answer is stored: a clean stop waits for it.
        let _permit = match permit {
            Some(permit) => permit,
            None => match Arc::clone(&self.pushes).acquire_owned().await {
                Ok(permit) => permit,
                Err(_) => return,
            },
        };
        let key = payment.key();
        let answer = if self.stopping.load(Ordering::Acquire) || clock::now() > payment.fresh_until() {
            PushAnswer::Unsent("it came to no push in time".to_owned())
        } else {
            match self.ledger.secret(&key).await {
                Ok(secret) => {
                    let push = Push {
                        amount: payment.amount,
                        phone: payment.phone,
                        callback_url: format!("{}/callback/{}", self.public_url, secret.reveal()),
                        reference: reference(payment.order.as_str()),
                        description: description(&payment.label),
                    };
                    self.daraja.push(&push).await
                }
                Err(error) => PushAnswer::Unsent(format!("{error:#}")),
            }
        };
        if let PushAnswer::Busy(why) | PushAnswer::Unsent(why) | PushAnswer::InDoubt(why) | PushAnswer::Refused(_, why) = &answer {
            log::warn!("payment {key}: the push was not accepted: {why}");
        }
        self.happened(&key, Event::Push(answer)).await;
    }

    async fn query(self: &Arc<Self>, payment: &Payment, checkout: &str) {
        let Ok(_permit) = self.queries.acquire().await else { return };
        // Where relays stand beside this one a callback may be on its way to any of them: it gets its moment.
        let missed = !self.ledger.is_shared() && payment.prompted_at.is_none_or(|prompted| prompted < self.started_at);
        let code = self.daraja.query(checkout).await;
        self.happened(&payment.key(), Event::Query { code, missed }).await;
    }

    /// Prompts a customer, as soon as there is a token and room. Only then is the prompt claimed: a relay that dies while it
    /// waits leaves the payment to another, and nobody in doubt.
    pub fn prompt(self: &Arc<Self>, key: &Key) {
        if self.preparing().contains_key(key) {
            return;
        }
        self.preparing().insert(key.clone(), None);
        let (engine, key) = (Arc::clone(self), key.clone());
        drop(tokio::spawn(async move {
            engine.daraja.prepare().await;
            if let Ok(permit) = Arc::clone(&engine.pushes).acquire_owned().await
                && !engine.stopping.load(Ordering::Acquire)
            {
                engine.preparing().insert(key.clone(), Some(permit));
                engine.happened(&key, Event::Due).await;
            }
            engine.preparing().remove(&key);
        }));
    }

    fn preparing(&self) -> MutexGuard<'_, HashMap<Key, Option<OwnedSemaphorePermit>>> {
        self.preparing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Engine::apply`]; what cannot be stored is logged, and comes again by the payment's own timer.
    pub async fn happened(self: &Arc<Self>, key: &Key, event: Event) {
        if let Err(error) = self.apply(key, event, None).await {
            log::error!("payment {key}: what happened could not be stored: {error:#}");
        }
    }

    /// Works on a stored callback.
    ///
    /// # Errors
    /// When the outcome could not be stored: it is worked on again later.
    pub async fn work_on(self: &Arc<Self>, stored: &StoredCallback) -> anyhow::Result<Verdict> {
        let foreign = stored.shortcode.as_deref().is_some_and(|shortcode| !self.daraja.is_our_shortcode(shortcode));
        let event = callback_event(&stored.body, foreign);
        self.apply(&stored.key, event, Some(&stored.id)).await
    }
}

/// Whose the receipt is that a callback named for another payment, for the operator.
async fn whose_receipt(change: &mut Change, callback: &Callback) -> anyhow::Result<String> {
    let Some(receipt) = &callback.receipt else { return Ok("nobody's".to_owned()) };
    if let Some(owner) = change.receipt_owner(receipt).await? {
        return Ok(format!("it is payment {owner}"));
    }
    let deposit = change.deposit(receipt).await?;
    Ok(match deposit.and_then(|deposit| deposit.router.map(|router| (router, deposit.order))) {
        Some((router, Some(order))) => format!("it is payment {router}/{order}"),
        Some((router, None)) => format!("router {router} has it as paid by hand"),
        None => "it is money by hand".to_owned(),
    })
}

/// Money under a receipt that is not the one its payment has. Where the payment got that one by number, amount and time, that was other
/// money, and this is still to be placed: `true`. Else it waits for the operator.
async fn hold_apart(change: &mut Change, callback: &Callback, payment: &Payment, now: Wall) -> anyhow::Result<bool> {
    let (Some(receipt), Some(amount)) = (callback.receipt.clone(), callback.amount) else { return Ok(false) };
    if change.receipt_in_books(&receipt).await? {
        return Ok(false);
    }
    let by_hand = match &payment.mpesa_receipt {
        Some(known) => change.deposit(known).await?.is_some_and(|deposit| deposit.order.as_ref() == Some(&payment.order)),
        None => false,
    };
    let placed = by_hand || change.was_confirmed(&payment.key()).await?;
    if change.deposit(&receipt).await?.is_none() {
        let mut deposit = till::more_money(payment, receipt, amount, callback.completed_at, now);
        if !placed {
            deposit.stage = Stage::Waiting;
            deposit.due = None;
            deposit.note = Some(format!("a second receipt for payment {}, which is paid", payment.key()));
        }
        change.add_deposit(&deposit).await?;
        if !placed {
            change.book_deposit(&deposit, now).await?;
        }
    }
    Ok(placed)
}

/// The event's name in the history.
fn name(event: &Event) -> &'static str {
    match event {
        Event::Due => "due",
        Event::Push(_) => "push",
        Event::Callback(_) => "callback",
        Event::Confirmation(_) => "confirmation",
        Event::Unreadable => "unreadable callback",
        Event::Query { .. } => "query",
        Event::Retry => "retry",
    }
}

/// What it said, for the history.
fn said(event: &Event) -> Option<String> {
    match event {
        Event::Push(PushAnswer::Accepted(checkout)) => Some(format!("accepted: {checkout}")),
        Event::Push(PushAnswer::Busy(why)) => Some(format!("busy: {why}")),
        Event::Push(PushAnswer::Unsent(why)) => Some(format!("unsent: {why}")),
        Event::Push(PushAnswer::Refused(_, why)) => Some(format!("refused: {why}")),
        Event::Push(PushAnswer::InDoubt(why)) => Some(format!("in doubt: {why}")),
        Event::Callback(callback) => Some(callback.code.clone()),
        Event::Query { code, .. } => Some(code.clone().unwrap_or_else(|| "no answer".to_owned())),
        Event::Confirmation(_) | Event::Due | Event::Unreadable | Event::Retry => None,
    }
}

/// When M-Pesa completed what a callback tells of. Days are counted by it, so a date that cannot be is none: money does not
/// move before its prompt, nor in the future. Clocks may differ a little.
fn completed_at(event: &Event, payment: &Payment, now: Wall) -> Option<Wall> {
    const SLACK: u64 = 10 * 60_000;
    let said = match event {
        Event::Callback(callback) => callback.completed_at,
        Event::Confirmation(confirmation) => confirmation.completed_at,
        _ => None,
    };
    let prompted = payment.prompted_at?;
    said.filter(|at| at.0.saturating_add(SLACK) >= prompted.0 && at.0 <= now.0.saturating_add(SLACK))
}

fn told(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Taken => "taken",
        Verdict::Known => "known already",
        Verdict::Undecided => "its code is not known",
        Verdict::Mismatch(what) => what,
    }
}

fn log_change(key: &Key, before: &Payment, after: &Payment, verdict: Verdict) {
    if let Verdict::Mismatch(what) = verdict {
        log::warn!("payment {key}: a callback is not believed: {what}; see `lango-relay payments`");
    }
    if before.state == after.state {
        return;
    }
    let code = after.code.as_deref().unwrap_or("no answer");
    match after.state {
        State::Failed(reason) => log::info!("payment {key}: failed, {reason:?} ({code})"),
        State::NeedsReview => log::warn!("payment {key}: needs review ({code}); see `lango-relay payments`"),
        State::Paid if after.mpesa_receipt.is_none() => {
            log::warn!("payment {key}: paid, as a query says; its callback with the receipt did not come")
        }
        _ => log::info!("payment {key}: {}", after.state_name()),
    }
}

/// What a callback's body tells the rules, before anything is looked up in the books. `foreign_shortcode`: it named one that is
/// not ours.
#[must_use]
pub fn callback_event(body: &[u8], foreign_shortcode: bool) -> Event {
    match read_callback(body) {
        Ok(callback) => Event::Callback(Callback {
            checkout: callback.checkout,
            code: callback.code,
            amount: callback.amount,
            receipt: callback.receipt,
            completed_at: callback.completed_at,
            receipt_taken: false,
            deposited: false,
            request_taken: false,
            foreign_shortcode,
        }),
        Err(_) => Event::Unreadable,
    }
}
