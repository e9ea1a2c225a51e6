//! The portal's desk: knows who asks, asks the backend for them, and sends each request to its call or page.

use super::crowd::Crowd;
use super::head::{Head, Origin};
use super::kept::Kept;
use super::reply::{Problem, Reply};
use super::route::Route;
use super::{Backend, PortalConfig, events};
use lango_core::package::Package;
use lango_core::request::{Answer, MyAccountView, PaymentView, RedeemedView, Refusal, Request, SessionView, StartView, Typed};
use lango_core::units::{Mac, OrderId};
use lango_core::voucher::VoucherCode;
use std::cell::{RefCell, RefMut};
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use tokio::sync::watch;

/// One for all connections.
pub struct Desk<B> {
    pub(super) backend: B,
    config: watch::Receiver<PortalConfig>,
    stopping: watch::Receiver<bool>,
    crowd: Crowd,
    kept: RefCell<Kept>,
    /// The config, too: tells when what is kept is not right any more.
    news: RefCell<watch::Receiver<PortalConfig>>,
}

/// What a request led to.
pub enum Outcome {
    /// An answer.
    Reply(Reply),
    /// A stream of events.
    Events(Box<events::Watch>),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl<B: Backend> Desk<B> {
    pub(super) fn new(backend: B, config: watch::Receiver<PortalConfig>, stopping: watch::Receiver<bool>, crowd: Crowd) -> Self {
        let news = RefCell::new(config.clone());
        Self { backend, config, stopping, crowd, kept: RefCell::default(), news }
    }

    /// The config as it is now.
    pub fn config(&self) -> watch::Ref<'_, PortalConfig> {
        self.config.borrow()
    }

    /// Waits for the portal to stop.
    pub fn stopping(&self) -> impl Future<Output = ()> + 'static {
        let mut stopping = self.stopping.clone();
        async move {
            // An error means that the sender is gone: the portal has stopped.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    /// Whether more than half of the places are taken: then nobody keeps one between two requests.
    pub fn crowded(&self) -> bool {
        self.crowd.is_half_full()
    }

    /// The answer to whoever asks for another host.
    pub fn redirect(&self, secure: bool, bodiless: bool, close: bool) -> Rc<[u8]> {
        self.kept().redirect(&self.config(), secure, bodiless, close)
    }

    /// Answers that were made with the config as it is now.
    pub(super) fn kept(&self) -> RefMut<'_, Kept> {
        let mut kept = self.kept.borrow_mut();
        if self.news.borrow_mut().borrow_and_update().has_changed() {
            *kept = Kept::default();
        }
        kept
    }

    /// Whether the portal is stopping.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Answers a request from `peer` that is meant for this portal.
    pub async fn answer(&self, head: &Head, body: &[u8], peer: IpAddr) -> Outcome {
        match Route::find(&head.method, &head.path) {
            Route::Call(_) if head.method == "POST" && head.origin == Origin::Foreign => Reply::problem(Problem::CROSS_SITE).into(),
            Route::Call(call) => self.call(call, head, body, peer).await,
            Route::Page(page) => self.page(page, head, peer).await.into(),
            Route::Form(_) if head.origin == Origin::Foreign => self.visit(head, "/").problem(&Problem::CROSS_SITE).into(),
            Route::Form(form) => self.form(form, head, body, peer).await.into(),
            Route::Logo { hash } => {
                let logo = self.config().site.logo().map(|logo| logo.reply(&hash, head.known.as_deref()));
                logo.unwrap_or_else(|| Reply::redirect(302, self.config().url_of(head.secure))).into()
            }
            Route::WrongMethod(allowed) => Reply::wrong_method(allowed).into(),
            Route::NoCall => Reply::problem(Problem::NOT_FOUND).into(),
            Route::Elsewhere => Reply::redirect(302, self.config().url_of(head.secure)).into(),
        }
    }

    /// Whether the device at an address is online.
    pub async fn is_online(&self, peer: IpAddr) -> bool {
        let Ok(device) = self.device(peer).await else { return false };
        self.session(device).await.is_ok_and(|session| session.is_some())
    }

    /// Whether it is known without asking that the device at an address has nothing of its own: no session, no payment under way.
    pub fn has_nothing(&self, peer: IpAddr) -> bool {
        self.backend.device_heard(peer).is_some_and(|device| self.backend.common_start(device, |_, _| ()).is_some())
    }

    /// The device at an address.
    pub(super) async fn device(&self, peer: IpAddr) -> Result<Mac, Problem> {
        self.backend.device_of(peer).await.ok_or(Problem::UNKNOWN_DEVICE)
    }

    pub(super) async fn packages(&self) -> Result<Vec<Package>, Problem> {
        match self.backend.ask(Request::Packages).await {
            Answer::Packages(packages) => Ok(packages),
            other => Err(refused("packages", other)),
        }
    }

    /// What the start page shows to a device.
    pub(super) async fn start(&self, device: Option<Mac>) -> Result<StartView, Problem> {
        match self.backend.ask(Request::Start { device }).await {
            Answer::Start(view) => Ok(*view),
            other => Err(refused("start", other)),
        }
    }

    pub(super) async fn payment(&self, device: Mac, order: OrderId) -> Result<PaymentView, Problem> {
        self.money(Request::PaymentStatus { device, order }).await
    }

    /// For the requests that are answered with a payment.
    pub(super) async fn money(&self, request: Request) -> Result<PaymentView, Problem> {
        match self.backend.ask(request).await {
            Answer::Payment(view) => Ok(view),
            other => Err(refused("payment", other)),
        }
    }

    pub(super) async fn session(&self, device: Mac) -> Result<Option<SessionView>, Problem> {
        match self.backend.ask(Request::CheckSession { device }).await {
            Answer::CheckSession(view) => Ok(view),
            other => Err(refused("session", other)),
        }
    }

    /// For the requests that are answered with a session.
    pub(super) async fn entry(&self, request: Request) -> Result<SessionView, Problem> {
        match self.backend.ask(request).await {
            Answer::Session(view) => Ok(view),
            other => Err(refused("login", other)),
        }
    }

    /// Goes online with a voucher.
    pub(super) async fn redeemed(&self, device: Mac, typed: &str) -> Result<RedeemedView, Problem> {
        let request = match typed.parse::<VoucherCode>() {
            Ok(code) => Request::Redeem { device, code },
            Err(_) => Request::Mistyped { device, what: Typed::Voucher },
        };
        match self.backend.ask(request).await {
            Answer::Redeemed(view) => Ok(view),
            other => Err(refused("voucher", other)),
        }
    }

    pub(super) async fn my_account(&self, device: Mac) -> Result<Option<MyAccountView>, Problem> {
        match self.backend.ask(Request::MyAccount { device }).await {
            Answer::MyAccount(view) => Ok(view),
            other => Err(refused("account", other)),
        }
    }

    /// Takes another device of the same account offline.
    pub(super) async fn leave_for(&self, device: Mac, other: &str) -> Result<(), Problem> {
        let other = other.parse::<Mac>().map_err(|_| Refusal::NotOnline)?;
        match self.backend.ask(Request::LogoutOther { device, other }).await {
            Answer::Done => Ok(()),
            other => Err(refused("device", other)),
        }
    }

    /// Makes the device offline. One that was offline already is what it wants to be.
    pub(super) async fn leave(&self, device: Mac) -> Result<(), Problem> {
        match self.backend.ask(Request::Logout { device }).await {
            Answer::Done | Answer::Refused(Refusal::NotOnline) => Ok(()),
            other => Err(refused("logout", other)),
        }
    }
}

/// The answer itself is not logged: it may hold what no log may.
fn refused(what: &str, answer: Answer) -> Problem {
    match answer {
        Answer::Refused(refusal) => refusal.into(),
        Answer::Denied(words) => Problem::denied(words),
        _ => {
            log::error!("portal: a request for a {what} was answered with something else");
            Problem::INTERNAL
        }
    }
}
