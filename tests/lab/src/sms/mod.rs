//! A simulated SMS gateway, Africa's Talking or Twilio: it takes texts strictly, does with each what a test scripted, and
//! knows what really reached which phone.

pub mod forms;

use crate::http::{self, Reply, Response, Server};
use crate::net::Namespace;
use crate::safaricom::random_text;
use crate::wait::until;
use anyhow::{Context, Result};
pub use forms::Provider;
use forms::{Handed, Said};
use lango_core::units::Msisdn;
use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the gateway waits for the receiver of a report.
const REPORT: Duration = Duration::from_secs(10);

/// What becomes of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It reaches the phone, and a report says so.
    Delivered,
    /// It reaches the phone, and no report ever comes.
    Unreported,
    /// It is taken, the phone does not get it, and a report says so with this code.
    Undelivered(&'static str),
    /// It reaches the phone, but the connection breaks before the answer.
    Lost,
    /// It is refused, with the gateway's code.
    Refused(u32),
    /// HTTP 500; the phone gets nothing.
    Broken,
}

/// A text on a phone.
#[derive(Debug, Clone)]
pub struct Received {
    /// The phone's number, in digits.
    pub to: String,
    /// The words.
    pub body: String,
    /// When.
    pub at: Instant,
}

impl Received {
    /// The user name and the password that it tells.
    ///
    /// # Panics
    /// When it tells none.
    #[must_use]
    pub fn credentials(&self) -> (String, String) {
        let after = |words: [&str; 2]| {
            let rest = words.iter().find_map(|word| self.body.split_once(word)).map(|(_, rest)| rest);
            let rest = rest.unwrap_or_else(|| panic!("no {words:?} in {:?}", self.body));
            rest.chars().take_while(char::is_ascii_alphanumeric).collect::<String>()
        };
        (after(["user name ", "jina "]), after(["password ", "nenosiri "]))
    }
}

#[derive(Default)]
struct State {
    scripts: HashMap<String, VecDeque<Outcome>>,
    everybody: Option<Outcome>,
    handed: Vec<Handed>,
    received: Vec<Received>,
    refusals: Vec<String>,
    reports_to: Option<String>,
    reports: Vec<std::result::Result<u16, String>>,
}

struct Inner {
    provider: Provider,
    place: Namespace,
    state: Mutex<State>,
}

/// The simulated gateway; it ends when dropped.
pub struct SmsGateway {
    inner: Arc<Inner>,
    address: SocketAddr,
    server: Mutex<Option<Server>>,
}

impl SmsGateway {
    /// Prepares it. [`SmsGateway::start`] starts it.
    #[must_use]
    pub fn new(place: &Namespace, address: SocketAddr, provider: Provider) -> Self {
        let inner = Arc::new(Inner { provider, place: place.clone(), state: Mutex::default() });
        Self { inner, address, server: Mutex::new(None) }
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start(&self) -> Result<()> {
        let (inner, address) = (self.inner.clone(), self.address);
        let listener = inner.place.run(|| TcpListener::bind(address)).with_context(|| format!("the SMS gateway at {address}"))?;
        let server = http::serve(listener, move |request| answer(&inner, request));
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        Ok(())
    }

    /// Ends it: nobody listens any more.
    pub fn stop(&self) {
        drop(self.server.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The section `[sms]` of a relay that uses it.
    #[must_use]
    pub fn section(&self) -> String {
        let (name, username, key) = match self.inner.provider {
            Provider::AfricasTalking => ("africastalking", forms::USERNAME, forms::API_KEY),
            Provider::Twilio => ("twilio", forms::ACCOUNT, forms::TOKEN),
        };
        let (address, sender) = (self.address.ip(), forms::SENDER);
        format!(
            "provider = \"{name}\"\nbase_url = \"http://{address}\"\nusername = \"{username}\"\napi_key = \"{key}\"\nsender = \"{sender}\"\n"
        )
    }

    /// Where reports go, as it is told on Africa's Talking's own page. Twilio is told with each text.
    pub fn reports_to(&self, url: &str) {
        self.inner.lock().reports_to = Some(url.to_owned());
    }

    /// What becomes of the next texts to this number; after them, all are delivered.
    ///
    /// # Panics
    /// When it is no phone number.
    pub fn script(&self, phone: &str, outcomes: impl IntoIterator<Item = Outcome>) {
        self.inner.lock().scripts.entry(digits(phone)).or_default().extend(outcomes);
    }

    /// What becomes of all texts that have no script, from now on.
    pub fn everybody(&self, outcome: Outcome) {
        self.inner.lock().everybody = Some(outcome);
    }

    /// How often a text to this number was handed over, whatever became of it.
    #[must_use]
    pub fn handed(&self, phone: &str) -> usize {
        let digits = digits(phone);
        self.inner.lock().handed.iter().filter(|text| text.to == digits).count()
    }

    /// The texts on this number's phone, oldest first.
    #[must_use]
    pub fn on_phone(&self, phone: &str) -> Vec<Received> {
        let digits = digits(phone);
        self.inner.lock().received.iter().filter(|text| text.to == digits).cloned().collect()
    }

    /// Waits for the first text on this number's phone.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn await_text(&self, phone: &str, limit: Duration) -> Result<Received> {
        until("a text on the phone", limit, || self.on_phone(phone).into_iter().next())
    }

    /// What was refused for its form or its account. In a good run: nothing.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        self.inner.lock().refusals.clone()
    }

    /// The receiver's answers to the reports so far.
    #[must_use]
    pub fn reports(&self) -> Vec<std::result::Result<u16, String>> {
        self.inner.lock().reports.clone()
    }

    /// Posts a report as anybody could; gives back the receiver's status.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn forge_report(&self, url: &str, body: &str) -> Result<u16> {
        post(&self.inner.place, url, body, None)
    }
}

fn digits(phone: &str) -> String {
    phone.parse::<Msisdn>().unwrap_or_else(|e| panic!("{phone:?}: {e}")).digits()
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(inner: &Arc<Inner>, request: &http::Request) -> Reply {
    let handed = match forms::read(inner.provider, request) {
        Ok(handed) => handed,
        Err(refusal) => {
            inner.lock().refusals.push(format!("{} {}: {} {}", request.method, request.target, refusal.status, refusal.text()));
            return closing(refusal);
        }
    };
    let id = match inner.provider {
        Provider::AfricasTalking => format!("ATPid_{}", random_text(32)),
        Provider::Twilio => format!("SM{}", random_text(32)),
    };
    let outcome = {
        let mut state = inner.lock();
        let scripted = state.scripts.get_mut(&handed.to).and_then(VecDeque::pop_front);
        let outcome = scripted.or_else(|| state.everybody.clone()).unwrap_or(Outcome::Delivered);
        state.handed.push(handed.clone());
        if matches!(outcome, Outcome::Delivered | Outcome::Unreported | Outcome::Lost) {
            state.received.push(Received { to: handed.to.clone(), body: handed.body.clone(), at: Instant::now() });
        }
        outcome
    };
    let said = match outcome {
        Outcome::Lost => return Reply::HangUp,
        Outcome::Refused(code) => Said::Code(code),
        Outcome::Broken => Said::Broken,
        Outcome::Delivered | Outcome::Unreported | Outcome::Undelivered(_) => Said::Taken,
    };
    let failed = match outcome {
        Outcome::Delivered => Some(None),
        Outcome::Undelivered(code) => Some(Some(code)),
        _ => None,
    };
    if let Some(failed) = failed {
        let (inner, id, handed) = (inner.clone(), id.clone(), handed.clone());
        // At once: a report may well overtake the answer.
        std::thread::spawn(move || report(&inner, &handed, &id, failed));
    }
    closing(forms::answer(inner.provider, &handed.to, said, &id))
}

/// One request a connection: a gateway that is stopped is gone for everybody.
fn closing(mut response: Response) -> Reply {
    response.headers.push(("connection".to_owned(), "close".to_owned()));
    Reply::Answer(response)
}

fn report(inner: &Inner, handed: &Handed, id: &str, failed: Option<&str>) {
    let Some(url) = handed.report_to.clone().or_else(|| inner.lock().reports_to.clone()) else { return };
    let body = forms::report(inner.provider, &handed.to, id, failed);
    let signature = (inner.provider == Provider::Twilio).then(|| forms::signature(&url, &body));
    let answered = post(&inner.place, &url, &body, signature.as_deref()).map_err(|e| format!("{e:#}"));
    inner.lock().reports.push(answered);
}

fn post(place: &Namespace, url: &str, body: &str, signature: Option<&str>) -> Result<u16> {
    let rest = url.strip_prefix("http://").context("the lab has no certificates: it reports over http only")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let address = authority.to_socket_addrs()?.next().with_context(|| format!("{authority} has no address"))?;
    let stream = place.run(|| TcpStream::connect_timeout(&address, REPORT))?;
    stream.set_read_timeout(Some(REPORT))?;
    let mut headers = vec![("host", authority), ("content-type", "application/x-www-form-urlencoded"), ("connection", "close")];
    headers.extend(signature.map(|signature| ("x-twilio-signature", signature)));
    Ok(http::exchange(stream, &http::request("POST", path, &headers, body.as_bytes()), false)?.status)
}
