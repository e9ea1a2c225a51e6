//! Money without a prompt, and receipts that are brought to a router: Safaricom's side, and what the relay's engine does with it
//! (`deposits.rs` and `receipts.rs` of `lango-relay`), one change of the ledger at a time.

use super::World;
use crate::books::Post;
use crate::input::Answer;
use crate::lies::Lie;
use crate::relay::Task;
use crate::router::DAWN;
use crate::safaricom::Hand;
use crate::sold::PACKAGES;
use lango_core::message::{self, Down, DownBody, Found, PaidOrder, ReceiptAnswer, ReceiptQuery, VERSION};
use lango_core::payer::Payer;
use lango_core::request::{self, Request};
use lango_core::time::Wall;
use lango_core::units::{MessageId, Msisdn, Receipt, RouterName, Shillings};
use lango_relay::daraja::c2b::{self, C2b, Named};
use lango_relay::daraja::wire::reference;
use lango_relay::ledger::{Deposit, Message, Stage};
use lango_relay::payment::till::{Whose, may_be_of, names_nothing, prompted_within, whose};
use lango_relay::payment::{Confirmation, Event, Payment, State, schedule};

/// A deposit that may be an open prompt's money is looked at again after so long.
const LOOK_AGAIN: u64 = 2_000;
/// How often a change is tried anew because something else came by.
const ATTEMPTS: usize = 10;

impl World {
    /// Somebody pays by hand: the money moves, and then Safaricom has something to tell.
    pub(super) fn pay_by_hand(&mut self, router: usize, amount: u8, phone: u8, account: u8, shown: u8, untold: bool) {
        let name = self.routers[router].name.to_string();
        let account = match account {
            _ if self.till => String::new(),
            0 | 1 => name,
            2 => format!("{} {}", name.to_uppercase().replace('-', ""), PACKAGES[usize::from(amount) % PACKAGES.len()]),
            3 => String::new(),
            4 => "nobody".to_owned(),
            5 => format!("{name} {}", PACKAGES[0]),
            _ => self.safaricom.prompts.last().map_or(name, |prompt| reference(prompt.key.order.as_str())),
        };
        let amount = if usize::from(amount) < PACKAGES.len() { 10 * (u64::from(amount) + 1) } else { 35 };
        let receipt = format!("H{:09}", self.safaricom.hands.len()).parse().unwrap();
        let phone = format!("07123456{:02}", 10 + phone % 90).parse().unwrap();
        let hand = Hand { receipt, phone, amount: Shillings(amount), at: self.wall(), account, shown, told: false };
        self.safaricom.hands.push(hand.clone());
        if !untold {
            self.safaricom.tells.push(hand);
        }
    }

    /// Safaricom tells of it, once: where nobody stores it, it is lost.
    pub(super) fn tell(&mut self, hand: &Hand, number: usize) {
        if self.relays[number].runs {
            self.post(number, Post::Confirmation(hand.body()), &hand.receipt);
        }
    }

    fn post(&mut self, number: usize, post: Post, receipt: &Receipt) {
        self.ids += 1;
        let id = format!("p-{:08}", self.ids);
        let heard = self.relays[number].trouble.is_none();
        let (before, after) = self.trouble(number);
        if before {
            if !self.liar.tells_once(Lie::ConfirmationLost) {
                self.books.keep_post(&id, post, self.wall());
            }
            self.safaricom.hands.iter_mut().filter(|hand| hand.receipt == *receipt).for_each(|hand| hand.told = true);
        }
        after(self);
        if heard {
            self.begin(number, Task::Post(id));
        }
    }

    /// As `Engine::work_on_post`.
    pub(super) fn work_on_post(&mut self, number: usize, id: &str) -> Result<(), String> {
        if !self.relays[number].runs {
            return Ok(());
        }
        let (paid, channel, at) = match self.books.open_post(id) {
            None => return Ok(()),
            Some(Post::Confirmation(body)) => (c2b::read(&body).map_err(|why| format!("a confirmation is not read: {why}"))?, "c2b", None),
            Some(Post::Status(paid, at)) => (paid, "status", at),
        };
        let deposit = Deposit {
            receipt: paid.receipt,
            stage: Stage::Held,
            router: None,
            account: paid.account,
            word: None,
            payer: paid.payer,
            hash: None,
            amount: paid.amount,
            channel: channel.to_owned(),
            completed_at: paid.completed_at,
            at: self.wall(),
            due: None,
            order: None,
            note: None,
        };
        if self.place(number, deposit, at.as_ref())? {
            // Until this is stored, too, all of it is done again after a crash, and changes nothing twice.
            self.begin(number, Task::PostDone(id.to_owned()));
        }
        Ok(())
    }

    /// As `Engine::place_again`. False: it could not be stored, and is done again later.
    pub(super) fn place(&mut self, number: usize, deposit: Deposit, at: Option<&RouterName>) -> Result<bool, String> {
        for _ in 0..ATTEMPTS {
            if let Some(done) = self.place_once(number, deposit.clone(), at)? {
                return Ok(done);
            }
        }
        Err(format!("{}: a deposit finds no place", deposit.receipt))
    }

    fn place_once(&mut self, number: usize, mut deposit: Deposit, at: Option<&RouterName>) -> Result<Option<bool>, String> {
        let stored = self.books.deposit(&deposit.receipt).cloned();
        if stored.as_ref().is_some_and(|stored| stored.stage != Stage::Held) {
            return Ok(Some(true));
        }
        if self.books.is_booked(&deposit.receipt) {
            return self.is_a_payments(number, deposit, stored.is_some());
        }
        let mut hint = None;
        match self.prompt_of(&deposit) {
            Prompt::Is(key) => {
                let Deposit { receipt, amount, completed_at, .. } = deposit.clone();
                let heard = self.relays[number].trouble.is_none();
                let told = Confirmation { receipt, amount, completed_at, receipt_taken: false };
                self.apply(number, &key, Event::Confirmation(told), None)?;
                if !heard {
                    return Ok(Some(false));
                }
                if !self.books.is_booked(&deposit.receipt) {
                    return Ok(None); // another receipt was quicker
                }
                deposit.order = Some(key.order);
                return self.is_a_payments(number, deposit, stored.is_some());
            }
            Prompt::Perhaps => {
                deposit.due = Some(Wall(self.wall().0 + LOOK_AGAIN));
                return self.settle_deposit(number, &deposit, None).map(Some);
            }
            Prompt::Of(router) => hint = Some(router),
            Prompt::None => {}
        }
        if let Some(router) = self.router_for(&mut deposit, hint, at) {
            return self.give(number, deposit, &router).map(|given| Some(given.is_some()));
        }
        (deposit.stage, deposit.due) = (Stage::Waiting, None);
        self.settle_deposit(number, &deposit, None).map(Some)
    }

    fn is_a_payments(&mut self, number: usize, deposit: Deposit, stored: bool) -> Result<Option<bool>, String> {
        if !stored {
            return Ok(Some(true));
        }
        let deposit = Deposit { stage: Stage::Payment, due: None, ..deposit };
        self.settle_deposit(number, &deposit, None).map(Some)
    }

    fn settle_deposit(&mut self, number: usize, deposit: &Deposit, message: Option<(&Message, bool)>) -> Result<bool, String> {
        let heard = self.relays[number].trouble.is_none();
        let (before, after) = self.trouble(number);
        if before {
            self.books.settle(deposit, message)?;
        }
        after(self);
        Ok(heard)
    }

    /// As `deposits::give`. Nothing where it could not be stored.
    fn give(&mut self, number: usize, mut deposit: Deposit, router: &RouterName) -> Result<Option<()>, String> {
        (deposit.stage, deposit.router, deposit.due) = (Stage::Given, Some(router.clone()), None);
        self.ids += 1;
        let id: MessageId = format!("m-{:08}", self.ids).parse().unwrap();
        let (seq, made_at) = (self.ids, self.wall());
        let down = Down { v: VERSION, id: id.clone(), seq, router: router.clone(), at: made_at, body: DownBody::Deposit(told(&deposit)) };
        let order = deposit.receipt.as_str().to_ascii_lowercase().parse().unwrap();
        let topic = format!("lango/v1/{router}/down/deposit");
        let message = Message { id, router: router.clone(), order, seq, topic, payload: down.to_json(), made_at };
        let connected = self.relays[number].connected;
        if !self.settle_deposit(number, &deposit, Some((&message, connected)))? {
            return Ok(None);
        }
        if connected {
            self.publish(&message);
        }
        Ok(Some(()))
    }

    /// As `Engine::prompt_of`.
    fn prompt_of(&self, deposit: &Deposit) -> Prompt {
        let open = |payment: &&Payment| payment.prompted_at.is_some() && (payment.state != State::Paid || payment.mpesa_receipt.is_none());
        let reckoned = c2b::plain(&deposit.account);
        let mut named: Vec<&Payment> = self.books.payments().filter(|payment| reference(payment.order.as_str()) == reckoned).collect();
        named.sort_by_key(|payment| std::cmp::Reverse(payment.received_at));
        if let Some(first) = named.first() {
            let nameless = deposit.payer.is_unknown() && deposit.hash.is_none();
            let fits =
                |payment: &&&Payment| open(payment) && payment.amount == deposit.amount && (nameless || may_be_of(deposit, payment.phone));
            let mut fitting = named.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(payment), None) => Prompt::Is(payment.key()),
                _ => Prompt::Of(first.router.clone()),
            };
        }
        if !names_nothing(deposit) {
            return Prompt::None;
        }
        let (from, to) = prompted_within(deposit);
        let near = |payment: &&Payment| {
            payment.amount == deposit.amount && payment.prompted_at.is_some_and(|prompted| from <= prompted && prompted <= to)
        };
        let near: Vec<Payment> = self.books.payments().filter(near).cloned().collect();
        match whose(deposit, &near, schedule::window_end(deposit.at) > self.wall()) {
            Whose::Payment(payment) => Prompt::Is(payment.key()),
            Whose::Perhaps => Prompt::Perhaps,
            Whose::Router(router) => Prompt::Of(router.clone()),
            Whose::Nobody => Prompt::None,
        }
    }

    /// As `Engine::router_for`.
    fn router_for(&self, deposit: &mut Deposit, hint: Option<RouterName>, at: Option<&RouterName>) -> Option<RouterName> {
        let routers: Vec<RouterName> = self.routers.iter().map(|router| router.name.clone()).collect();
        match c2b::named(&deposit.account, &routers, ToString::to_string) {
            Named::One(router, word) => {
                deposit.word = word;
                return Some(router.clone());
            }
            Named::Several | Named::Nobody => {}
        }
        let prompted = || {
            let phone = deposit.payer.phone()?;
            let asked = self.books.payments().filter(|payment| payment.phone == phone);
            asked.max_by_key(|payment| payment.received_at).map(|payment| payment.router.clone())
        };
        hint.or_else(|| at.cloned()).or_else(prompted)
    }

    // Receipts.

    /// As `Engine::receipt_asked`.
    pub(super) fn receipt_asked(&mut self, number: usize, router: usize, query: ReceiptQuery) -> Result<(), String> {
        if !self.ledger_works(number) {
            return Ok(());
        }
        let name = self.routers[router].name.clone();
        let found = if let Some(payment) = self.books.payment_with_receipt(&query.receipt).cloned() {
            let mine = payment.router == name && payment.phone == query.phone && payment.state == State::Paid;
            let Payment { order, package, device, phone, amount, receipt, .. } = payment;
            let receipt = receipt.filter(|_| mine);
            receipt.map_or(Found::Unknown, |receipt| Found::Payment(PaidOrder { order, package, device, phone, receipt, amount }))
        } else if let Some(deposit) = self.books.deposit(&query.receipt).cloned() {
            match deposit.stage {
                _ if !may_be_of(&deposit, query.phone) => Found::Unknown,
                Stage::Held | Stage::Payment => Found::Asking,
                Stage::Given if deposit.router.as_ref() == Some(&name) => Found::Deposit(told(&deposit)),
                Stage::Given => Found::Unknown,
                Stage::Waiting => match self.give(number, deposit.clone(), &name)? {
                    Some(()) => Found::Deposit(told(&deposit)),
                    None => return Ok(()),
                },
            }
        } else {
            self.begin(number, Task::Status(query.receipt, name, query.phone));
            Found::Asking
        };
        if self.relays[number].runs {
            self.say(number, router, DownBody::Receipt(ReceiptAnswer { query: query.query, found }));
        }
        Ok(())
    }

    /// Safaricom is asked what became of a receipt, and posts what it knows.
    pub(super) fn status(&mut self, number: usize, receipt: &Receipt, router: &RouterName, phone: Msisdn, answer: Answer) {
        let prompt = self.safaricom.prompts.iter().find(|prompt| prompt.receipt.as_ref() == Some(receipt));
        let hand = self.safaricom.hands.iter().find(|hand| hand.receipt == *receipt);
        let prompted = prompt.map(|prompt| (prompt.phone, prompt.amount, Wall(DAWN + prompt.ended_at)));
        let paid = prompted.or(hand.map(|hand| (hand.phone, hand.amount, hand.at)));
        let Some((payer, amount, at)) = paid.filter(|_| answer == Answer::Given) else { return };
        let (account, payer): (_, Payer) = (String::new(), payer.into());
        let completed_at = Some(at);
        let paid = C2b { receipt: receipt.clone(), amount, cents: false, account, payer, hash: None, shortcode: None, completed_at };
        let at = payer.matches(phone).then(|| router.clone());
        self.post(number, Post::Status(paid, at), receipt);
    }

    /// Somebody comes to a router with a receipt.
    pub(super) fn reclaim(&mut self, number: usize, device: u8, n: usize, right: bool) {
        let prompts = self.safaricom.prompts.iter().filter_map(|prompt| Some((prompt.receipt.clone()?, prompt.phone)));
        let mut all: Vec<(Receipt, Msisdn)> =
            prompts.chain(self.safaricom.hands.iter().map(|hand| (hand.receipt.clone(), hand.phone))).collect();
        if all.is_empty() {
            return;
        }
        let (receipt, payer) = all.swap_remove(n % all.len());
        let phone = if right || self.liar.tells(Lie::StrangersReceipt) { payer } else { "0712345699".parse().unwrap() };
        let router = &mut self.routers[number];
        let device = router.mac(device);
        router.ask(Request::Reclaim { device, receipt, phone }, self.now);
        let ask = router.last_ask();
        self.reclaims.insert((number, ask), right);
    }

    /// A receipt opens a session for who knows its number, and for nobody else.
    pub(super) fn look_at_answers(&mut self) -> Result<(), String> {
        for (number, router) in self.routers.iter_mut().enumerate() {
            for (ask, answer) in std::mem::take(&mut router.answers) {
                let Some(right) = self.reclaims.remove(&(number, ask)) else { continue };
                if !right && matches!(answer, request::Answer::Session(_)) {
                    return Err(format!("{}: a receipt opened a session for somebody who never paid", router.name));
                }
            }
        }
        Ok(())
    }

    /// The operator serves money that waits.
    pub(super) fn serve(&mut self, number: usize, n: usize, package: u8) {
        let router = &mut self.routers[number];
        let waiting: Vec<Receipt> = router.money().filter(|entry| entry.account.is_none()).map(|entry| entry.receipt.clone()).collect();
        if let Some(receipt) = waiting.get(n % waiting.len().max(1)).cloned() {
            let package = PACKAGES[usize::from(package) % PACKAGES.len()].parse().ok();
            router.ask(Request::Serve { receipt, package, device: None }, self.now);
        }
    }
}

/// What a deposit has to do with prompts.
enum Prompt {
    Is(lango_relay::ledger::Key),
    Perhaps,
    Of(RouterName),
    None,
}

fn told(deposit: &Deposit) -> message::Deposit {
    let Deposit { receipt, amount, payer, word, completed_at, .. } = deposit.clone();
    message::Deposit { receipt, amount, payer, word, paid_at: completed_at }
}
