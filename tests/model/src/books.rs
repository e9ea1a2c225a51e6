//! The relay's ledger as the model has it: the same transactions as the real one, on maps. With a mirror each of them is made in
//! the real one (SQLite), too, and any difference stops the run.

use crate::mirror::Mirror;
use lango_core::message::{Outcome, PaymentRequest};
use lango_core::time::Wall;
use lango_core::units::{MessageId, Receipt, RouterName, Shillings};
use lango_relay::daraja::c2b::C2b;
use lango_relay::engine::callback_event;
use lango_relay::ledger::{Deposit, Key, Message, Stage, StoredCallback, Which};
use lango_relay::payment::till::{self, Told};
use lango_relay::payment::{Action, Event, Payment, SECOND_RECEIPT, State, Step, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// What the ledger does with a message: as in the relay's outbox.
const AGAIN: u64 = 30_000;
const OFTEN: u64 = 20;
const SELDOM: u64 = 3_600_000;

/// Money in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which payment's; nothing where it came without a prompt.
    pub key: Option<Key>,
    /// Which router's; nothing where nobody knows yet.
    pub router: Option<RouterName>,
    /// How much.
    pub amount: Shillings,
}

struct Waiting {
    message: Message,
    times: u64,
    due: u64,
}

/// The books.
pub struct Books {
    payments: BTreeMap<Key, (Payment, i64)>,
    /// By the receipt that the router is told.
    pub money: BTreeMap<Receipt, Entry>,
    /// M-Pesa's receipts, and the entry of each.
    receipts: BTreeMap<Receipt, Receipt>,
    requests: BTreeMap<String, Key>,
    open: BTreeMap<String, (u64, Key, Vec<u8>)>,
    outbox: BTreeMap<MessageId, Waiting>,
    deposits: BTreeMap<Receipt, Deposit>,
    posts: BTreeMap<String, (u64, Post)>,
    /// Payments whose money was told of by a confirmation.
    confirmed: BTreeSet<Key>,
    template: Payment,
    mirror: Option<Mirror>,
}

/// What Safaricom posted of money without a prompt.
#[derive(Debug, Clone)]
pub enum Post {
    /// A confirmation, as it came.
    Confirmation(Vec<u8>),
    /// What it says of a receipt, for a customer of this router, where that one paid it.
    Status(C2b, Option<RouterName>),
}

/// One change as it was made.
pub struct Applied {
    /// The payment before it.
    pub before: Payment,
    /// The payment after it.
    pub after: Payment,
    /// What is to be done outside.
    pub actions: Vec<Action>,
    /// What is to be sent.
    pub messages: Vec<Message>,
}

impl Books {
    /// Empty books. `template` is any payment as the real ledger makes it.
    #[must_use]
    pub fn new(template: Payment, mirror: Option<Mirror>) -> Self {
        Self {
            payments: BTreeMap::new(),
            money: BTreeMap::new(),
            receipts: BTreeMap::new(),
            requests: BTreeMap::new(),
            open: BTreeMap::new(),
            outbox: BTreeMap::new(),
            deposits: BTreeMap::new(),
            posts: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            template,
            mirror,
        }
    }

    /// All payments.
    pub fn payments(&self) -> impl Iterator<Item = &Payment> {
        self.payments.values().map(|(payment, _)| payment)
    }

    /// One payment.
    #[must_use]
    pub fn payment(&self, key: &Key) -> Option<&Payment> {
        self.payments.get(key).map(|(payment, _)| payment)
    }

    /// How many messages wait to be acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.outbox.len()
    }

    /// As `Ledger::has_request` and `Ledger::add_request`: false where it was known.
    pub fn add_request(&mut self, key: &Key, request: &PaymentRequest, asked_at: Wall, now: Wall) -> bool {
        let new = !self.payments.contains_key(key);
        if new {
            let payment = Payment {
                router: key.router.clone(),
                order: key.order.clone(),
                package: request.package.clone(),
                label: request.label.clone(),
                amount: request.amount,
                phone: request.phone,
                device: request.device,
                asked_at,
                received_at: now,
                due: Some(now),
                ..self.template.clone()
            };
            self.payments.insert(key.clone(), (payment, 0));
        }
        if let Some(mirror) = &mut self.mirror {
            mirror.add_request(key, request, asked_at, now, new);
        }
        new
    }

    /// As `Engine::attempt`, up to its commit. Nothing: the callback was worked on already.
    ///
    /// # Errors
    /// When the real ledger would refuse it.
    pub fn apply(
        &mut self,
        key: &Key,
        event: Event,
        stored: Option<&str>,
        now: Wall,
        claimed: bool,
        make: &mut dyn FnMut(&Payment, &Outcome) -> Message,
    ) -> Result<Option<Applied>, String> {
        if let Some(id) = stored
            && self.open.remove(id).is_none()
        {
            return Ok(None);
        }
        let mut event = event;
        let (mut by_hand, mut held_apart, mut settled) = (None, None, None);
        if let Event::Confirmation(confirmation) = &mut event {
            confirmation.receipt_taken = self.receipts.contains_key(&confirmation.receipt);
        }
        if let Event::Callback(callback) = &mut event {
            let owner = callback.receipt.as_ref().and_then(|receipt| self.money.get(self.receipts.get(receipt)?)?.key.as_ref());
            callback.receipt_taken = owner.is_some_and(|owner| owner != key);
            if let Some(deposit) = callback.receipt.as_ref().and_then(|receipt| self.deposits.get(receipt)) {
                match deposit.stage {
                    Stage::Given if deposit.router.as_ref() != Some(&key.router) => callback.receipt_taken = true,
                    Stage::Given if deposit.order.as_ref().is_some_and(|order| *order != key.order) => callback.receipt_taken = true,
                    Stage::Given | Stage::Waiting => {
                        callback.deposited = true;
                        by_hand = Some(deposit.clone());
                    }
                    Stage::Held | Stage::Payment => {}
                }
            }
            callback.request_taken = self.requests.get(&callback.checkout).is_some_and(|owner| owner != key);
        }
        let Some((before, revision)) = self.payments.get(key).cloned() else { return Err(format!("no payment {key}")) };
        let mut step = before.on(&event, now);
        if step.payment.state == State::Paid && step.payment.mpesa_receipt.is_none() && before.state != State::Paid {
            let since = before.prompted_at.unwrap_or(before.received_at);
            let free = |deposit: &&Deposit| {
                matches!(deposit.stage, Stage::Waiting | Stage::Given) && deposit.order.is_none() && deposit.amount == before.amount
            };
            let near = self.deposits.values().filter(free).filter(|deposit| deposit.at >= since);
            let near: Vec<(Deposit, bool)> = near.map(|deposit| (deposit.clone(), false)).collect();
            match till::by_query(&before, &near) {
                Told::Alone => {}
                Told::As(deposit) => {
                    step = before.paid_with(deposit.receipt.clone(), deposit.amount, now);
                    by_hand = Some(deposit.clone());
                }
                Told::InDoubt(why) => step = before.in_doubt(why, now),
            }
        }
        if step.verdict == Verdict::Mismatch(SECOND_RECEIPT)
            && let Event::Callback(callback) = &event
            && self.hold_apart(callback.receipt.as_ref(), &before, now)
        {
            held_apart = callback.receipt.as_ref().and_then(|receipt| self.deposits.get(receipt)).cloned();
            step = Step::nothing(&before, Verdict::Taken);
        }
        if matches!(event, Event::Confirmation(_)) && step.verdict == Verdict::Taken {
            self.confirmed.insert(key.clone());
        }
        if let Some(deposit) = by_hand.filter(|_| step.payment.state == State::Paid && before.state != State::Paid) {
            let (router, order) = (Some(key.router.clone()), Some(key.order.clone()));
            if let Some(entry) = self.money.get_mut(&deposit.receipt) {
                entry.router.clone_from(&router);
            }
            let note = Some(format!("the money of payment {key}"));
            let deposit = Deposit { stage: Stage::Given, router, order, note, ..deposit };
            self.deposits.insert(deposit.receipt.clone(), deposit.clone());
            settled = Some(deposit);
        }
        let saved = step.payment != before || event != Event::Due;
        let after = step.payment.clone();
        let mut messages = Vec::new();
        for action in &step.actions {
            match action {
                Action::Book(receipt) => {
                    let entry = Entry { key: Some(key.clone()), router: Some(key.router.clone()), amount: after.arrived() };
                    if self.money.insert(receipt.clone(), entry).is_some() {
                        return Err(format!("{key}: money that is in the books already"));
                    }
                    if after.mpesa_receipt.is_some() && self.receipts.insert(receipt.clone(), receipt.clone()).is_some() {
                        return Err(format!("{key}: a receipt that is in the books already"));
                    }
                }
                Action::NameReceipt(receipt) => {
                    let entry = after.receipt.clone().ok_or("a paid payment without a receipt")?;
                    if self.receipts.insert(receipt.clone(), entry).is_some() {
                        return Err(format!("{key}: a receipt that is in the books already"));
                    }
                }
                Action::Tell(outcome) => messages.push(make(&after, outcome)),
                _ => {}
            }
        }
        for message in &messages {
            self.outbox.retain(|_, other| (&other.message.router, &other.message.order) != (&message.router, &message.order));
            let due = now.0 + if claimed { AGAIN } else { 0 };
            self.outbox.insert(message.id.clone(), Waiting { message: message.clone(), times: 1, due });
        }
        if let Some(checkout) = after.checkout.as_ref().filter(|_| before.checkout.is_none()) {
            self.requests.entry(checkout.clone()).or_insert_with(|| key.clone());
        }
        if saved {
            self.payments.insert(key.clone(), (after.clone(), revision + 1));
        }
        if let Some(mirror) = &mut self.mirror {
            mirror.apply(key, &event, stored, now, claimed, &before, &step, &messages, held_apart.as_ref().or(settled.as_ref()));
        }
        Ok(Some(Applied { before, after, actions: step.actions, messages }))
    }

    /// As the engine's `hold_apart`: a second receipt of a payment that was confirmed by hand is looked at as money of its own.
    fn hold_apart(&mut self, receipt: Option<&Receipt>, payment: &Payment, now: Wall) -> bool {
        let Some(receipt) = receipt.filter(|receipt| !self.receipts.contains_key(receipt)).cloned() else { return false };
        let own = payment.mpesa_receipt.as_ref().and_then(|known| self.deposits.get(known));
        let by_hand = own.is_some_and(|deposit| deposit.order.as_ref() == Some(&payment.order));
        if !by_hand && !self.confirmed.contains(&payment.key()) {
            return false;
        }
        self.deposits.entry(receipt.clone()).or_insert_with(|| till::more_money(payment, receipt, payment.amount, None, now));
        true
    }

    /// Money without a prompt.
    #[must_use]
    pub fn deposit(&self, receipt: &Receipt) -> Option<&Deposit> {
        self.deposits.get(receipt)
    }

    /// All of it.
    pub fn deposits(&self) -> impl Iterator<Item = &Deposit> {
        self.deposits.values()
    }

    /// As `Ledger::receipt_is_booked`.
    #[must_use]
    pub fn is_booked(&self, receipt: &Receipt) -> bool {
        self.receipts.contains_key(receipt)
    }

    /// As `Ledger::payment_with_receipt`.
    #[must_use]
    pub fn payment_with_receipt(&self, receipt: &Receipt) -> Option<&Payment> {
        self.payments().find(|payment| payment.receipt.as_ref() == Some(receipt) || payment.mpesa_receipt.as_ref() == Some(receipt))
    }

    /// As the change of a deposit in `Engine::place` and `give`: where it stands, whether its money is entered, what its router
    /// is told.
    ///
    /// # Errors
    /// When the real ledger would refuse it.
    pub fn settle(&mut self, deposit: &Deposit, message: Option<(&Message, bool)>) -> Result<(), String> {
        let receipt = &deposit.receipt;
        let before = self.deposits.insert(receipt.clone(), deposit.clone());
        let was = before.as_ref().map(|before| before.stage);
        if matches!(deposit.stage, Stage::Given | Stage::Waiting) {
            if !matches!(was, Some(Stage::Given | Stage::Waiting)) && self.receipts.insert(receipt.clone(), receipt.clone()).is_some() {
                return Err(format!("{receipt}: a receipt that is in the books already"));
            }
            let entry = Entry { key: None, router: deposit.router.clone(), amount: deposit.amount };
            self.money.insert(receipt.clone(), entry);
        }
        if let Some((message, claimed)) = message {
            let due = message.made_at.0 + if claimed { AGAIN } else { 0 };
            self.outbox.insert(message.id.clone(), Waiting { message: message.clone(), times: 1, due });
        }
        if let Some(mirror) = &mut self.mirror {
            mirror.settle(was, deposit, message);
        }
        Ok(())
    }

    /// As `Ledger::held`.
    #[must_use]
    pub fn held(&self, now: Wall) -> Vec<Deposit> {
        let mut held: Vec<_> =
            self.deposits.values().filter(|one| one.stage == Stage::Held && one.due.is_some_and(|due| due <= now)).cloned().collect();
        held.sort_by_key(|deposit| deposit.due);
        held
    }

    /// When a deposit that is held is looked at again next, and when the first post that is open came.
    #[must_use]
    pub fn next_of_hand(&self) -> (Option<u64>, Option<u64>) {
        let held = self.deposits.values().filter(|deposit| deposit.stage == Stage::Held).filter_map(|deposit| deposit.due);
        (held.map(|due| due.0).min(), self.posts.values().map(|(at, _)| *at).min())
    }

    /// As `Ledger::keep_post`.
    pub fn keep_post(&mut self, id: &str, post: Post, now: Wall) {
        self.posts.insert(id.to_owned(), (now.0, post));
    }

    /// As `Ledger::open_posts`.
    #[must_use]
    pub fn open_posts(&self, until: Wall) -> Vec<String> {
        self.posts.iter().filter(|(_, (at, _))| *at <= until.0).map(|(id, _)| id.clone()).collect()
    }

    /// One open post.
    #[must_use]
    pub fn open_post(&self, id: &str) -> Option<Post> {
        self.posts.get(id).map(|(_, post)| post.clone())
    }

    /// As `Ledger::post_is_done`.
    pub fn post_is_done(&mut self, id: &str) {
        self.posts.remove(id);
    }

    /// Messages that are kept for a router and sent by whoever has a broker, as `vouchers create` leaves them.
    pub fn post(&mut self, message: Message, now: Wall) {
        if let Some(mirror) = &mut self.mirror {
            mirror.post(&message);
        }
        self.outbox.insert(message.id.clone(), Waiting { message, times: 1, due: now.0 });
    }

    /// As `Ledger::keep_callback`.
    pub fn keep_callback(&mut self, id: &str, key: &Key, body: Vec<u8>, now: Wall) {
        if let Some(mirror) = &mut self.mirror {
            let stored = StoredCallback { id: id.to_owned(), key: key.clone(), shortcode: None, body: body.clone() };
            mirror.keep_callback(&stored, now);
        }
        self.open.insert(id.to_owned(), (now.0, key.clone(), body));
    }

    /// As `Ledger::open_callbacks`: ids, whose they are, and what they say.
    pub fn open_callbacks(&mut self, until: Wall) -> Vec<(String, Key, Event)> {
        let mut open: Vec<_> = self.open.iter().filter(|(_, (at, ..))| *at <= until.0).collect();
        open.sort_by_key(|(id, (at, ..))| (*at, (*id).clone()));
        let open: Vec<_> = open.into_iter().map(|(id, (_, key, body))| (id.clone(), key.clone(), callback_event(body, false))).collect();
        if let Some(mirror) = &mut self.mirror {
            mirror.open_callbacks(until, &open);
        }
        open
    }

    /// One open callback.
    #[must_use]
    pub fn open_callback(&self, id: &str) -> Option<(Key, Event)> {
        self.open.get(id).map(|(_, key, body)| (key.clone(), callback_event(body, false)))
    }

    /// When the first callback that is open came.
    #[must_use]
    pub fn oldest_open(&self) -> Option<u64> {
        self.open.values().map(|(at, ..)| *at).min()
    }

    /// As `Ledger::due`.
    pub fn due(&mut self, now: Wall) -> Vec<(Key, bool)> {
        let mut due: Vec<_> = self
            .payments
            .iter()
            .filter_map(|(key, (payment, _))| Some((payment.due?, key.clone(), payment.state == State::Requested)))
            .filter(|(due, ..)| *due <= now)
            .collect();
        due.sort();
        let due: Vec<_> = due.into_iter().map(|(_, key, is_prompt)| (key, is_prompt)).collect();
        if let Some(mirror) = &mut self.mirror {
            mirror.due(now, &due);
        }
        due
    }

    /// When something is due next, but for these payments.
    #[must_use]
    pub fn next_due(&self, but: impl Fn(&Key) -> bool) -> Option<u64> {
        self.payments.iter().filter(|(key, _)| !but(key)).filter_map(|(_, (payment, _))| payment.due.map(|due| due.0)).min()
    }

    /// When a message is to be sent again next.
    #[must_use]
    pub fn next_message(&self) -> Option<u64> {
        self.outbox.values().map(|waiting| waiting.due).min()
    }

    /// As `Ledger::ask_for_all_open`.
    pub fn ask_for_all_open(&mut self, now: Wall) {
        let mut count = 0;
        for (payment, _) in self.payments.values_mut() {
            if matches!(payment.state, State::Prompted | State::Confirmed) {
                payment.due = Some(now);
                count += 1;
            }
        }
        if let Some(mirror) = &mut self.mirror {
            mirror.ask_for_all_open(now, count);
        }
    }

    /// As `Ledger::claim`.
    pub fn claim(&mut self, which: &Which, now: Wall) -> Vec<Message> {
        let mut claimed = Vec::new();
        for waiting in self.outbox.values_mut() {
            let wanted = match which {
                Which::All => true,
                Which::Of(router) => waiting.message.router == *router,
                Which::Due => waiting.due <= now.0,
            };
            if wanted {
                waiting.times = if matches!(which, Which::Of(_)) { 1 } else { waiting.times + 1 };
                waiting.due = now.0 + if waiting.times < OFTEN { AGAIN } else { SELDOM };
                claimed.push(waiting.message.clone());
            }
        }
        claimed.sort_by(|a, b| (a.made_at, &a.router, a.seq).cmp(&(b.made_at, &b.router, b.seq)));
        if let Some(mirror) = &mut self.mirror {
            mirror.claim(which, now, &claimed);
        }
        claimed
    }

    /// As `Ledger::acknowledged`.
    pub fn acknowledged(&mut self, router: &RouterName, ids: &[MessageId], now: Wall) {
        for id in ids {
            if self.outbox.get(id).is_some_and(|waiting| waiting.message.router == *router) {
                self.outbox.remove(id);
            }
        }
        if let Some(mirror) = &mut self.mirror {
            mirror.acknowledged(router, ids, now, self.outbox.len());
        }
    }

    /// Holds the mirror's payments and money against these.
    pub fn compare(&mut self) {
        if let Some(mirror) = &mut self.mirror {
            mirror.compare(self.payments.values().map(|(payment, _)| payment.clone()).collect(), &self.money);
        }
    }
}
