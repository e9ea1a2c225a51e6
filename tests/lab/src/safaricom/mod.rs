//! A simulated Safaricom: it speaks Daraja strictly, has scripted customers, and keeps a ledger of what it really moved.

pub mod customer;
pub mod daraja;
pub mod org;
mod server;

pub(crate) use server::random_text;

use crate::http::Server;
use crate::net::Namespace;
use crate::wait::until;
use anyhow::{Result, bail};
use customer::{Answer, Customer, Delivery, When};
use daraja::{Merchant, Paid, Push, Refusal};
use lango_core::units::Msisdn;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a prompt stays on the phone, unless a test says otherwise.
const PROMPT_LIVES: Duration = Duration::from_secs(60);
/// How long a token holds (its `expires_in`).
const TOKEN_LIVES: Duration = Duration::from_secs(3599);

/// One try to deliver a callback.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Just before the connection was opened.
    pub sent: Instant,
    /// The receiver's status, or why there was none.
    pub outcome: std::result::Result<u16, String>,
}

/// A prompt on a subscriber's phone.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Its `MerchantRequestID`.
    pub merchant_request: String,
    /// Its `CheckoutRequestID`.
    pub checkout_request: String,
    /// What was asked.
    pub push: Push,
    /// When it came.
    pub made: Instant,
    /// Safaricom's result code, once it is decided.
    pub code: Option<u32>,
    /// The money, where it moved.
    pub paid: Option<Paid>,
    /// The callbacks sent so far.
    pub callbacks: Vec<Attempt>,
    /// Whether no callback will be sent any more.
    pub done: bool,
    answered: Option<Answer>,
    script: Customer,
}

#[derive(Default)]
struct State {
    token: Option<(String, Instant)>,
    token_requests: u64,
    queries: u64,
    silent_queries: u32,
    queries_say: Option<u32>,
    customers: HashMap<String, Customer>,
    busy: HashMap<String, u32>,
    prompts: Vec<Prompt>,
    refusals: Vec<Refusal>,
    last_id: u64,
    released: u64,
    organisation: org::Organisation,
    over: bool,
}

struct Inner {
    merchant: Merchant,
    place: Option<Namespace>,
    state: Mutex<State>,
    changed: Condvar,
    prompt_lives: Mutex<Duration>,
    everybody: Mutex<Customer>,
}

/// The simulated Safaricom; it ends when dropped.
pub struct Safaricom {
    inner: Arc<Inner>,
    _server: Server,
}

impl Safaricom {
    /// Starts it at that address; in a namespace, or on the machine itself.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start(place: Option<&Namespace>, address: SocketAddr, merchant: Merchant) -> Result<Self> {
        let inner = Arc::new(Inner {
            merchant,
            place: place.cloned(),
            state: Mutex::default(),
            changed: Condvar::new(),
            prompt_lives: Mutex::new(PROMPT_LIVES),
            everybody: Mutex::new(Customer::pays_after(Duration::ZERO)),
        });
        let server = server::serve(inner.clone(), address)?;
        Ok(Self { inner, _server: server })
    }

    /// What everybody does who has no script.
    pub fn everybody(&self, customer: Customer) {
        *self.inner.everybody.lock().unwrap_or_else(PoisonError::into_inner) = customer;
    }

    /// What the subscriber with this number does from now on.
    ///
    /// # Panics
    /// When it is no phone number.
    pub fn customer(&self, phone: &str, customer: Customer) {
        let digits = msisdn(phone);
        let mut state = self.inner.lock();
        if let customer::PushAnswer::BusyTimes(times) = customer.push {
            state.busy.insert(digits.clone(), times);
        }
        state.customers.insert(digits, customer);
    }

    /// How long prompts made from now on stay on a phone that nobody answers.
    pub fn prompts_live(&self, time: Duration) {
        *self.inner.prompt_lives.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// The next queries get "no answer", as real ones sometimes do.
    pub fn silence_queries(&self, times: u32) {
        self.inner.lock().silent_queries = times;
    }

    /// All queries from now on have this result, whatever became of the prompt.
    pub fn queries_say(&self, code: u32) {
        self.inner.lock().queries_say = Some(code);
    }

    /// Makes the present token invalid, as another program's token request would.
    pub fn forget_token(&self) {
        self.inner.lock().token = None;
    }

    /// All prompts that were ever made, oldest first.
    #[must_use]
    pub fn prompts(&self) -> Vec<Prompt> {
        self.inner.lock().prompts.clone()
    }

    /// The prompt that waits on this phone (on any phone, for an empty number).
    #[must_use]
    pub fn open_prompt(&self, phone: &str) -> Option<Prompt> {
        let digits = if phone.is_empty() { String::new() } else { msisdn(phone) };
        let open = |p: &&Prompt| p.code.is_none() && p.answered.is_none() && (digits.is_empty() || p.push.phone == digits);
        self.inner.lock().prompts.iter().rev().find(open).cloned()
    }

    /// Waits for a prompt on this phone.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn await_prompt(&self, phone: &str, limit: Duration) -> Result<Prompt> {
        until("a prompt on the phone", limit, || self.open_prompt(phone))
    }

    /// The newest prompt of this number, whatever became of it.
    #[must_use]
    pub fn last_prompt(&self, phone: &str) -> Option<Prompt> {
        let digits = msisdn(phone);
        self.inner.lock().prompts.iter().rev().find(|p| p.push.phone == digits).cloned()
    }

    /// The subscriber answers the prompt that is open.
    ///
    /// # Errors
    /// When there is none.
    pub fn answer(&self, phone: &str, answer: Answer) -> Result<()> {
        let Some(open) = self.open_prompt(phone) else { bail!("there is no prompt on that phone") };
        for prompt in &mut self.inner.lock().prompts {
            if prompt.checkout_request == open.checkout_request {
                prompt.answered = Some(answer);
            }
        }
        self.inner.changed.notify_all();
        Ok(())
    }

    /// Lets all callbacks go that are held now.
    pub fn release_callbacks(&self) {
        self.inner.lock().released += 1;
        self.inner.changed.notify_all();
    }

    /// What really moved, oldest first: the truth that service is compared with.
    #[must_use]
    pub fn money(&self) -> Vec<Paid> {
        let state = self.inner.lock();
        let by_hand = state.organisation.by_hand.iter().filter_map(|one| one.paid.clone());
        let mut money: Vec<Paid> = state.prompts.iter().filter_map(|p| p.paid.clone()).chain(by_hand).collect();
        money.sort_by_key(|paid| paid.at);
        money
    }

    /// What was refused, oldest first. In a good run: nothing.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.inner.lock().refusals.clone()
    }

    /// How many tokens were asked for.
    #[must_use]
    pub fn token_requests(&self) -> u64 {
        self.inner.lock().token_requests
    }

    /// How many queries were asked.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.inner.lock().queries
    }
}

impl Drop for Safaricom {
    fn drop(&mut self) {
        self.inner.lock().over = true;
        self.inner.changed.notify_all();
    }
}

fn msisdn(phone: &str) -> String {
    phone.parse::<Msisdn>().unwrap_or_else(|e| panic!("{phone:?}: {e}")).digits()
}

fn now_unix() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis()).expect("it fits")
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a prompt on the phone and lets the customer answer on a thread of its own.
    fn prompt(self: &Arc<Self>, push: Push) -> Prompt {
        let mut state = self.lock();
        // The id holds the moment in milliseconds: no two prompts in one.
        let at = now_unix().max(state.last_id + 1);
        state.last_id = at;
        let everybody = *self.everybody.lock().unwrap_or_else(PoisonError::into_inner);
        let prompt = Prompt {
            merchant_request: server::request_id(),
            checkout_request: daraja::checkout_request_id(at, &push.phone),
            script: state.customers.get(&push.phone).copied().unwrap_or(everybody),
            push,
            made: Instant::now(),
            code: None,
            paid: None,
            callbacks: Vec::new(),
            done: false,
            answered: None,
        };
        let number = state.prompts.len();
        state.prompts.push(prompt.clone());
        drop(state);
        self.changed.notify_all();
        let inner = self.clone();
        let lives = *self.prompt_lives.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::spawn(move || inner.follow(number, lives));
        prompt
    }

    /// Waits on the lock until `deadline`, or until `condition` gives something; nothing too when all is over.
    fn wait<T>(&self, deadline: Option<Instant>, mut condition: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.over {
                return None;
            }
            if let Some(found) = condition(&state) {
                return Some(found);
            }
            let left = deadline.map_or(Duration::from_secs(3600), |d| d.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A prompt's life: the answer, the money, the callback.
    fn follow(&self, number: usize, lives: Duration) {
        let prompt = self.lock().prompts[number].clone();
        let (script, expires) = (prompt.script, prompt.made + lives);
        let acts = match script.when {
            When::After(time) if script.answer != Answer::NeverAnswers => prompt.made + time,
            _ => expires,
        };
        let answered = self.wait(Some(acts.min(expires)), |state| state.prompts[number].answered);
        let answer = match (answered, script.when) {
            (Some(answer), _) => answer,
            (None, When::After(_)) if acts < expires => script.answer,
            (None, _) => Answer::NeverAnswers,
        };
        let released = {
            let mut state = self.lock();
            if state.over {
                return;
            }
            let receipt = (answer == Answer::Pays).then(server::receipt);
            let prompt = &mut state.prompts[number];
            prompt.code = Some(answer.code());
            prompt.paid =
                receipt.map(|receipt| Paid { receipt, amount: prompt.push.amount, phone: prompt.push.phone.clone(), at: now_unix() });
            state.released
        };
        self.changed.notify_all();
        let times = match script.delivery {
            Delivery::Once => 1,
            Delivery::Lost => 0,
            Delivery::Twice => 2,
            Delivery::Delayed(time) => {
                let _: Option<()> = self.wait(Some(Instant::now() + time), |_| None);
                1
            }
            Delivery::Held => u32::from(self.wait(None, |state| (state.released > released).then_some(())).is_some()),
        };
        for _ in 0..times {
            if self.lock().over {
                return;
            }
            self.deliver(number);
        }
        self.lock().prompts[number].done = true;
    }

    fn deliver(&self, number: usize) {
        let prompt = self.lock().prompts[number].clone();
        let body = daraja::callback(&prompt.merchant_request, &prompt.checkout_request, prompt.code.unwrap_or(0), prompt.paid.as_ref());
        let sent = Instant::now();
        // Noted before it is sent: whoever reacts to it must find it here.
        self.lock().prompts[number].callbacks.push(Attempt { sent, outcome: Err("under way".to_owned()) });
        let outcome = server::post(self.place.as_ref(), &prompt.push.callback_url, &self.merchant.shortcode, body.as_bytes());
        if let Some(attempt) = self.lock().prompts[number].callbacks.last_mut() {
            attempt.outcome = outcome.map_err(|e| format!("{e:#}"));
        }
        self.changed.notify_all();
    }

    /// Issues a token; it makes the one before it invalid.
    fn new_token(&self) -> String {
        let token = server::random_text(28);
        let mut state = self.lock();
        state.token_requests += 1;
        state.token = Some((token.clone(), Instant::now()));
        token
    }

    fn token_holds(&self, authorization: Option<&str>) -> bool {
        let state = self.lock();
        let given = authorization.and_then(|text| text.strip_prefix("Bearer "));
        state.token.as_ref().is_some_and(|(token, made)| Some(token.as_str()) == given && made.elapsed() < TOKEN_LIVES)
    }
}
