//! What the relays do: the engine, the timer and the connection of `lango-relay`, one thing at a time.

use super::{CALL, GONE_AFTER, LEFT_AFTER, Packet, World};
use crate::books::Applied;
use crate::input::{Answer, Fate, Trouble};
use crate::lies::Lie;
use crate::relay::{Relay, Task};
use crate::router::DAWN;
use crate::safaricom::{Call, Script};
use lango_core::message::{Down, DownBody, Outcome, PaymentRequest, Up, UpBody, VERSION};
use lango_core::time::Wall;
use lango_core::units::{MessageId, RouterName};
use lango_relay::ledger::{Key, Message, Which};
use lango_relay::payment::{Action, Event, Payment, PushAnswer};

impl World {
    pub(super) fn kill_relay(&mut self, number: usize) {
        if !self.relays[number].runs {
            return;
        }
        self.link_relay(number, false);
        let asked = false;
        self.relays[number] = Relay { died_at: Some(self.now), asked, ..Relay::default() };
    }

    pub(super) fn start_relay(&mut self, number: usize) {
        if self.relays[number].runs {
            return;
        }
        let relay = &mut self.relays[number];
        (relay.runs, relay.started_at) = (true, self.now);
        self.ask_for_all_open(number);
        for (id, ..) in self.books.open_callbacks(self.wall()) {
            self.begin(number, Task::Callback(id));
        }
        for id in self.books.open_posts(self.wall()) {
            self.begin(number, Task::Post(id));
        }
        self.link_relay(number, true);
    }

    /// As `Place::look`.
    pub(super) fn ask_for_all_open(&mut self, number: usize) {
        let others = self
            .relays
            .iter()
            .enumerate()
            .any(|(other, relay)| other != number && (relay.runs || relay.died_at.is_some_and(|died| self.now < died + GONE_AFTER)));
        let own = self.relays[number].died_at.is_some_and(|died| self.now < died + GONE_AFTER) && self.is_shared();
        if !self.relays[number].asked && !others && !own {
            self.books.ask_for_all_open(self.wall());
            self.relays[number].asked = true;
        }
        if self.now >= self.relays[number].started_at + GONE_AFTER {
            self.relays[number].asked = true;
        }
    }

    pub(super) fn link_relay(&mut self, number: usize, connected: bool) {
        let relay = &mut self.relays[number];
        if !relay.runs {
            return;
        }
        if relay.connected {
            relay.connected = false;
            self.presence(false);
            if self.is_present() {
                self.presence(true);
            }
        }
        if connected {
            self.relays[number].connected = true;
            self.presence(true);
            self.send_again(number, &Which::All);
        }
    }

    pub(super) fn begin(&mut self, number: usize, task: Task) {
        self.relays[number].tasks.push((self.now, task));
    }

    pub(super) fn prompt(&mut self, number: usize, key: &Key) {
        if self.relays[number].preparing.insert(key.clone()) {
            self.begin(number, Task::Prompt(key.clone()));
        }
    }

    /// The relay's timer.
    pub(super) fn look(&mut self, number: usize) -> Result<(), String> {
        if self.liar.tells(Lie::DueForEver) {
            return Ok(());
        }
        if !self.relays[number].asked && self.now >= self.relays[number].started_at + GONE_AFTER {
            self.ask_for_all_open(number);
        }
        if self.relays[number].missed.is_some_and(|at| at + 2_000 <= self.now) {
            self.relays[number].missed = None;
            if self.relays[number].connected {
                self.presence(false);
                self.presence(true);
            }
        }
        while let Some(place) = self.relays[number].tasks.iter().position(|(at, _)| at + CALL <= self.now) {
            self.work(number, place, Answer::Given)?;
        }
        let until = Wall(self.wall().0.saturating_sub(LEFT_AFTER));
        for (id, key, event) in self.books.open_callbacks(until) {
            self.apply(number, &key, event, Some(&id))?;
        }
        for id in self.books.open_posts(until) {
            self.work_on_post(number, &id)?;
            while let Some(place) = self.relays[number].tasks.iter().position(|(_, task)| matches!(task, Task::PostDone(_))) {
                self.work(number, place, Answer::Given)?;
            }
        }
        for deposit in self.books.held(self.wall()) {
            self.place(number, deposit, None)?;
        }
        for (key, is_prompt) in self.books.due(self.wall()) {
            if !self.relays[number].runs {
                return Ok(());
            }
            if is_prompt {
                self.prompt(number, &key);
            } else {
                self.apply(number, &key, Event::Due, None)?;
            }
        }
        self.send_again(number, &Which::Due);
        Ok(())
    }

    pub(super) fn send_again(&mut self, number: usize, which: &Which) {
        if !self.relays[number].connected || !self.ledger_works(number) {
            return;
        }
        for message in self.books.claim(which, self.wall()) {
            self.publish(&message);
        }
    }

    pub(super) fn publish(&mut self, message: &Message) {
        let down: Down = serde_json::from_str(&message.payload).expect("what the model wrote");
        let router = self.routers.iter().position(|router| router.name == message.router).expect("a router of the model");
        self.send(Packet::Down(router, down));
    }

    pub(super) fn say(&mut self, number: usize, router: usize, body: DownBody) {
        let silent = matches!(body, DownBody::Ack { .. }) && self.liar.tells(Lie::RequestsUnanswered);
        if self.relays[number].connected && !silent {
            let down = self.down(&self.routers[router].name.clone(), body);
            self.send(Packet::Down(router, down));
        }
    }

    pub(super) fn down(&mut self, router: &RouterName, body: DownBody) -> Down {
        self.ids += 1;
        let id: MessageId = format!("m-{:08}", self.ids).parse().unwrap();
        Down { v: VERSION, id, seq: self.ids, router: router.clone(), at: self.wall(), body }
    }

    /// Whether a read, or a change of one statement, gets through. What it meets is used up.
    pub(super) fn ledger_works(&mut self, number: usize) -> bool {
        match self.relays[number].trouble.take() {
            None => true,
            Some(Trouble::Gone | Trouble::Unheard) => false,
            Some(Trouble::DiesBefore | Trouble::DiesAfter) => {
                self.kill_relay(number);
                false
            }
        }
    }

    /// As `Engine::router_says`.
    pub(super) fn router_says(&mut self, number: usize, router: usize, up: Up) -> Result<(), String> {
        // Through its bytes, as on the wire.
        let up = Up::from_json(&up.to_json()).map_err(|error| format!("a router says what the relay cannot read: {error}"))?;
        let name = self.routers[router].name.clone();
        match up.body {
            UpBody::Hello { nonce, .. } => {
                self.say(number, router, DownBody::Welcome { nonce });
                self.send_again(number, &Which::Of(name));
            }
            UpBody::PaymentRequest(request) => self.payment_request(number, router, up.id, &request),
            // Texts are not money: without a gateway for them the relay takes note, and that is all.
            UpBody::Account(_) | UpBody::Expiring(_) | UpBody::Ended(_) => self.say(number, router, DownBody::Ack { of: vec![up.id] }),
            UpBody::ReceiptQuery(query) => self.receipt_asked(number, router, query)?,
            UpBody::VouchersRevoked(_) => return Err("nobody revokes vouchers here".to_owned()),
            UpBody::Update(_) => return Err("nobody offers updates here".to_owned()),
            UpBody::Ack { .. } if self.liar.tells(Lie::ResultsUnheard) => {}
            UpBody::Ack { of } => {
                let (before, after) = self.trouble(number);
                if before {
                    self.books.acknowledged(&name, &of, self.wall());
                }
                after(self);
            }
        }
        Ok(())
    }

    pub(super) fn payment_request(&mut self, number: usize, router: usize, id: MessageId, request: &PaymentRequest) {
        let key = Key { router: self.routers[router].name.clone(), order: request.order.clone() };
        if self.books.payment(&key).is_some() {
            return self.say(number, router, DownBody::Ack { of: vec![id] });
        }
        let Some(asked_at) = lango_relay::routers::fresh(request.asked_at, self.wall()) else {
            return self.say(number, router, DownBody::Stale { order: key.order });
        };
        let heard = self.relays[number].trouble.is_none();
        let (before, after) = self.trouble(number);
        if before {
            self.books.add_request(&key, request, asked_at, self.wall());
        }
        after(self);
        if heard {
            self.say(number, router, DownBody::Ack { of: vec![id] });
            self.prompt(number, &key);
        } else if self.relays[number].runs {
            self.relays[number].missed.get_or_insert(self.now);
        }
    }

    /// What the next change of the ledger meets: whether it is made, and what happens after that.
    #[allow(clippy::type_complexity)]
    pub(super) fn trouble(&mut self, number: usize) -> (bool, Box<dyn Fn(&mut Self)>) {
        match self.relays[number].trouble.take() {
            None => (true, Box::new(|_| {})),
            Some(Trouble::Gone) => (false, Box::new(|_| {})),
            Some(Trouble::Unheard) => (true, Box::new(|_| {})),
            Some(Trouble::DiesBefore) => (false, Box::new(move |world| world.kill_relay(number))),
            Some(Trouble::DiesAfter) => (true, Box::new(move |world| world.kill_relay(number))),
        }
    }

    /// As `Engine::attempt`.
    pub(super) fn apply(&mut self, number: usize, key: &Key, event: Event, stored: Option<&str>) -> Result<(), String> {
        if !self.relays[number].runs {
            return Ok(());
        }
        self.steps += 1;
        let heard = self.relays[number].trouble.is_none();
        let (before, after) = self.trouble(number);
        let mut applied = None;
        if before {
            let (now, connected) = (self.wall(), self.relays[number].connected);
            let mut ids = self.ids;
            let mut make = |payment: &Payment, outcome: &Outcome| {
                ids += 1;
                let id: MessageId = format!("m-{ids:08}").parse().unwrap();
                let body = DownBody::Payment(payment.update(outcome.clone()));
                let down = Down { v: VERSION, id: id.clone(), seq: ids, router: payment.router.clone(), at: now, body };
                Message {
                    id,
                    router: payment.router.clone(),
                    order: payment.order.clone(),
                    seq: ids,
                    topic: format!("lango/v1/{}/down/payment", payment.router),
                    payload: down.to_json(),
                    made_at: now,
                }
            };
            applied = self.books.apply(key, event, stored, now, connected, &mut make)?;
            self.ids = ids;
        }
        after(self);
        if let Some(Applied { after, actions, messages, .. }) = applied.filter(|_| heard) {
            if self.relays[number].connected {
                messages.iter().for_each(|message| self.publish(message));
            }
            for action in actions {
                match action {
                    Action::Push => self.begin(number, Task::Push(key.clone())),
                    Action::Query(checkout) => {
                        let started = Wall(DAWN + self.relays[number].started_at);
                        let missed = !self.is_shared() && after.prompted_at.is_none_or(|prompted| prompted < started);
                        self.begin(number, Task::Query(key.clone(), checkout, missed));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// A relay goes on with something that it has begun.
    pub(super) fn work(&mut self, number: usize, n: usize, answer: Answer) -> Result<(), String> {
        let count = self.relays[number].tasks.len();
        if count == 0 {
            return Ok(());
        }
        self.steps += 1;
        let (_, task) = self.relays[number].tasks.remove(n % count);
        match task {
            Task::Prompt(key) => {
                self.apply(number, &key, Event::Due, None)?;
                self.relays[number].preparing.remove(&key);
            }
            Task::Push(key) => {
                let answer = self.push(&key, answer);
                self.begin(number, Task::Pushed(key, answer));
            }
            Task::Pushed(key, answer) => self.apply(number, &key, Event::Push(answer), None)?,
            Task::Query(key, checkout, missed) => {
                let code = self.safaricom.query(&checkout).filter(|_| answer == Answer::Given).map(str::to_owned);
                self.begin(number, Task::Queried(key, code, missed));
            }
            Task::Queried(key, code, missed) => self.apply(number, &key, Event::Query { code, missed }, None)?,
            Task::Post(id) => self.work_on_post(number, &id)?,
            Task::PostDone(id) => {
                let (before, after) = self.trouble(number);
                if before {
                    self.books.post_is_done(&id);
                }
                after(self);
            }
            Task::Status(receipt, router, phone) => self.status(number, &receipt, &router, phone, answer),
            Task::Callback(id) => {
                if let Some((key, event)) = self.books.open_callback(&id) {
                    self.apply(number, &key, event, Some(&id))?;
                }
            }
        }
        Ok(())
    }

    /// As `Engine::push`, and Safaricom's side of it.
    pub(super) fn push(&mut self, key: &Key, answer: Answer) -> PushAnswer {
        let payment = self.books.payment(key).expect("a payment that was stored").clone();
        if self.wall() > payment.fresh_until() || answer == Answer::Unsent {
            return PushAnswer::Unsent("unsent".to_owned());
        }
        let locked = self.safaricom.is_locked(payment.phone);
        if answer == Answer::Busy || (locked && answer == Answer::Given) {
            return PushAnswer::Busy("busy".to_owned());
        }
        if locked {
            return PushAnswer::InDoubt("lost".to_owned());
        }
        let script = self.scripts.get(&key.order).cloned().unwrap_or(Script { code: "0", after: 0, callback: Fate::Once });
        if self.liar.tells(Lie::PromptedTwice) {
            self.safaricom.prompt(key, payment.phone, payment.amount, script.clone(), self.now);
        }
        let checkout = self.safaricom.prompt(key, payment.phone, payment.amount, script, self.now);
        if answer == Answer::Lost { PushAnswer::InDoubt("lost".to_owned()) } else { PushAnswer::Accepted(checkout) }
    }

    /// Safaricom posts a callback, once: where nobody stores it, it is lost.
    pub(super) fn call_back(&mut self, call: &Call, number: usize) -> Result<(), String> {
        if !self.relays[number].runs {
            return Ok(());
        }
        self.ids += 1;
        let id = format!("c-{:08}", self.ids);
        let prompt = &self.safaricom.prompts[call.prompt];
        let metadata = match (call.code, &prompt.receipt) {
            ("0", Some(receipt)) => format!(
                r#","CallbackMetadata":{{"Item":[{{"Name":"Amount","Value":{}.00}},{{"Name":"MpesaReceiptNumber","Value":"{receipt}"}}]}}"#,
                prompt.amount
            ),
            _ => String::new(),
        };
        let body = format!(
            r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"m","CheckoutRequestID":"{}","ResultCode":{},"ResultDesc":"d"{metadata}}}}}}}"#,
            prompt.checkout, call.code
        );
        let key = prompt.key.clone();
        let heard = self.relays[number].trouble.is_none();
        let (before, after) = self.trouble(number);
        if before {
            self.books.keep_callback(&id, &key, body.into_bytes(), self.wall());
        }
        after(self);
        if heard {
            self.begin(number, Task::Callback(id));
        }
        Ok(())
    }
}
