//! The pages and their forms. A form that did what it was asked answers with a redirect, so that a reload repeats nothing.

use super::Backend;
use super::api;
use super::desk::Desk;
use super::head::{Head, field};
use super::kept::Sight;
use super::reply::{Problem, Reply};
use super::route::{Form, Page};
use super::site::Visit;
use super::view;
use lango_core::language::Language as Spoken;
use lango_core::package::Package;
use lango_core::request::{PaymentStatus, PaymentView, Refusal, Request, StartView};
use lango_core::tree::BTreeMap;
use lango_core::units::{Mac, Msisdn, OrderId, PackageId};
use serde_json::json;
use std::net::IpAddr;
use std::rc::Rc;

impl<B: Backend> Desk<B> {
    /// How this request wants its pages; `here` is the path of the page, made by us.
    pub(super) fn visit(&self, head: &Head, here: &str) -> Visit {
        let asked = head.asked("lang");
        let (site, name) = (self.config().site.clone(), self.config().name.clone());
        Visit::new(site, asked.as_deref(), head.accept_language.as_deref(), head.gzip, name, here.to_owned())
    }

    /// What the customer reads: as the pages are shown, chosen by a link or by the phone. Texts to the phone are in it, too.
    pub(super) fn spoken(&self, head: &Head) -> Option<Spoken> {
        self.visit(head, "/").language().code.parse().ok()
    }

    pub(super) async fn page(&self, page: Page, head: &Head, peer: IpAddr) -> Reply {
        let shown = match page {
            Page::Home => self.home(head, peer).await,
            Page::Buy { package } => self.buy(head, peer, &package).await,
            Page::Payment { order } => self.payment_page(head, peer, &order).await,
            Page::Login => Ok(self.login_page(&self.visit(head, "/login"), None, None)),
            // The login page holds its form.
            Page::Voucher => Ok(after_form(self.visit(head, "/").link("/login"))),
            Page::Receipt => Ok(self.receipt_page(&self.visit(head, "/receipt"), "", "", None)),
            Page::Account => self.account(head, peer).await,
            Page::Terms => {
                let visit = self.visit(head, "/terms");
                Ok(visit.terms_page().unwrap_or_else(|| after_form(visit.link("/"))))
            }
        };
        shown.unwrap_or_else(|problem| self.visit(head, "/").problem(&problem))
    }

    pub(super) async fn form(&self, form: Form, head: &Head, body: &[u8], peer: IpAddr) -> Reply {
        let done = match form {
            Form::Buy { package } => self.buy_form(head, body, peer, &package).await,
            Form::Again { order } => self.again(head, peer, &order).await,
            Form::GiveUp { order } => self.give_up(head, peer, &order).await,
            Form::Login => self.login_form(head, body, peer).await,
            Form::Receipt => self.receipt_form(head, body, peer).await,
            Form::Voucher => self.voucher_form(head, body, peer).await,
            Form::LogoutOther => self.logout_other_form(head, body, peer).await,
            Form::Logout => self.logout_form(head, peer).await,
        };
        done.unwrap_or_else(|problem| self.visit(head, "/").problem(&problem))
    }

    async fn home(&self, head: &Head, peer: IpAddr) -> Result<Reply, Problem> {
        let device = self.device(peer).await.ok();
        let start = self.start(device).await?;
        Ok(start_page(&self.visit_start(head), head, device.is_some(), &start))
    }

    fn visit_start(&self, head: &Head) -> Visit {
        self.visit(head, if wants_all(head) { "/?all=1" } else { "/" })
    }

    /// The start page as it is sent, where it was made before for whoever sees it in the same way, and shows nothing of anybody's own. It is
    /// what phones ask for most. Where what was heard of the device is a moment old, it is the device's own that is missing for that moment.
    pub(super) fn kept_start(&self, head: &Head, spoken: (usize, bool), peer: IpAddr, close: bool) -> Option<Rc<[u8]>> {
        if said(head, false).is_some() {
            return None;
        }
        let device = self.backend.device_heard(peer)?;
        let sight = sight(head, spoken, true, close);
        self.backend.common_start(device, |packages, payments| self.kept().page(sight, packages, payments))?
    }

    /// In which language somebody reads, with the config as it is now: its place, and whether a link chose it.
    pub(super) fn spoken_by(&self, head: &Head) -> (usize, bool) {
        self.config().site.spoken(head.asked("lang").as_deref(), head.accept_language.as_deref())
    }

    /// The start page as it is sent, to whoever has the address now.
    pub(super) async fn sent_start(&self, head: &Head, peer: IpAddr, close: bool) -> Rc<[u8]> {
        let device = self.device(peer).await.ok();
        let start = match self.start(device).await {
            Ok(start) => start,
            Err(problem) => return self.visit(head, "/").problem(&problem).wire(close).into(),
        };
        // Nothing is waited for from here on: what is kept is of the config that the page was made with.
        let sight = sight(head, self.spoken_by(head), device.is_some(), close);
        let common = start.is_common() && said(head, false).is_none();
        if let (true, Some(page)) = (common, self.kept().page(sight, &start.packages, start.payments)) {
            return page;
        }
        let page: Rc<[u8]> = start_page(&self.visit_start(head), head, device.is_some(), &start).wire(close).into();
        if common {
            self.kept().keep(sight, start.packages, start.payments, page.clone());
        }
        page
    }

    async fn account(&self, head: &Head, peer: IpAddr) -> Result<Reply, Problem> {
        let visit = self.visit(head, "/account");
        let device = self.device(peer).await?;
        let Some(account) = self.my_account(device).await? else { return Ok(after_form(visit.link("/"))) };
        let (session, packages) = (&account.session, self.packages().await?);
        let alone = account.devices.iter().all(|device| device.this);
        let names = if alone { BTreeMap::new() } else { self.backend.names().await };
        let values = json!({
            "session": view::session(&visit, session, &packages),
            "account_text": visit.language().fill("account_is", &[("username", session.username.as_str())]),
            "keys": account.password.as_ref().map(|password| json!({"username": session.username, "password": password})),
            "queued": view::queued(visit.language(), &account, &packages),
            "receipts": view::receipts(visit.language(), &account),
            "said": said(head, true).map(|key| visit.language().text(key)),
            "others": view::others(&visit, &account, &names),
        });
        Ok(visit.page(200, "account", visit.language().text("my_account"), values))
    }

    async fn buy(&self, head: &Head, peer: IpAddr, package: &str) -> Result<Reply, Problem> {
        let device = self.device(peer).await?;
        let package = self.find(package).await?;
        Ok(self.buy_page(head, device, &package, None, None).await)
    }

    async fn find(&self, id: &str) -> Result<Package, Problem> {
        self.packages().await?.into_iter().find(|package| package.id.as_str() == id).ok_or_else(|| Refusal::UnknownPackage.into())
    }

    /// The number is what was typed; otherwise the one that the device asked to pay from last ([decision 50](docs/decisions/0050-remembered-number.md)).
    async fn buy_page(&self, head: &Head, device: Mac, package: &Package, typed: Option<&str>, problem: Option<Problem>) -> Reply {
        let path = format!("/buy/{}", package.id);
        let visit = self.visit(head, &path);
        let bad_phone = problem == Some(Problem::BAD_PHONE);
        let (payments, known) = self.start(Some(device)).await.map_or((false, None), |start| (start.payments, start.phone));
        let known = || known.map(|phone| view::phone(phone).replace('\u{a0}', " ")).unwrap_or_default();
        let values = json!({
            "package": view::package(visit.language(), package, None),
            "action": visit.link(&path),
            "offline": !payments,
            // Long enough for any number, and no more of what was sent is sent back.
            "phone": typed.map_or_else(known, |typed| typed.chars().take(20).collect()),
            "bad_phone": bad_phone,
            "problem": problem.as_ref().filter(|problem| !bad_phone && problem.code != "payments_offline").map(|problem| view::problem(visit.language(), problem)),
            "login_link": true,
        });
        let reply = visit.page(problem.as_ref().map_or(200, |problem| problem.status), "buy", visit.language().text("buy_title"), values);
        with_retry(reply, problem)
    }

    async fn buy_form(&self, head: &Head, body: &[u8], peer: IpAddr, package: &str) -> Result<Reply, Problem> {
        let device = self.device(peer).await?;
        let package = self.find(package).await?;
        let typed = field(body, "phone").unwrap_or_default();
        let paid = match typed.parse::<Msisdn>() {
            Ok(phone) => {
                let request = Request::Pay { device, package: package.id.clone(), phone, language: self.spoken(head) };
                self.money(request).await
            }
            Err(_) => Err(Problem::BAD_PHONE),
        };
        Ok(match paid {
            Ok(payment) => after_form(self.visit(head, "/").link(&format!("/pay/{}", payment.payment))),
            Err(problem) => self.buy_page(head, device, &package, Some(&typed), Some(problem)).await,
        })
    }

    /// The number is taken from the payment, so that it need not be in the page.
    async fn again(&self, head: &Head, peer: IpAddr, order: &str) -> Result<Reply, Problem> {
        let (device, old) = self.own_payment(peer, order).await?;
        let (Some(package), Some(phone)) = (old.package, old.phone) else { return Err(Refusal::UnknownPayment.into()) };
        let request = Request::Pay { device, package: PackageId::clone(&package.id), phone, language: self.spoken(head) };
        Ok(match self.money(request).await {
            Ok(payment) => after_form(self.visit(head, "/").link(&format!("/pay/{}", payment.payment))),
            Err(problem) => self.buy_page(head, device, &package, None, Some(problem)).await,
        })
    }

    /// Back to the form for the number; to the payment, where it was decided in the meantime.
    async fn give_up(&self, head: &Head, peer: IpAddr, order: &str) -> Result<Reply, Problem> {
        let (device, order) = (self.device(peer).await?, order.parse::<OrderId>().map_err(|_| Refusal::UnknownPayment)?);
        let payment = self.money(Request::GiveUp { device, order }).await?;
        let path = match &payment.package {
            Some(package) if payment.status == PaymentStatus::Expired => format!("/buy/{}", package.id),
            _ => format!("/pay/{}", payment.payment),
        };
        Ok(after_form(self.visit(head, "/").link(&path)))
    }

    async fn own_payment(&self, peer: IpAddr, order: &str) -> Result<(Mac, PaymentView), Problem> {
        let device = self.device(peer).await?;
        let order = order.parse::<OrderId>().map_err(|_| Refusal::UnknownPayment)?;
        Ok((device, self.payment(device, order).await?))
    }

    async fn payment_page(&self, head: &Head, peer: IpAddr, order: &str) -> Result<Reply, Problem> {
        let (device, payment) = self.own_payment(peer, order).await?;
        let visit = self.visit(head, &format!("/pay/{}", payment.payment));
        let language = visit.language();
        let package = payment.package.as_ref().map(|package| view::package(language, package, None));
        Ok(match payment.status {
            PaymentStatus::Pending => {
                let what = payment
                    .package
                    .as_ref()
                    .map(|package| language.fill("wait_what", &[("label", &package.label), ("price", &language.money(package.price))]));
                let prompt = match payment.phone {
                    // Whole, so that a mistyped number is seen: only the device that typed it gets this page.
                    Some(phone) => language.fill("wait_prompt", &[("phone", &view::phone(phone))]),
                    None => language.text("wait_prompt_any").to_owned(),
                };
                let values = json!({
                    "refresh": true,
                    "id": payment.payment,
                    "what": what,
                    "step_prompt": prompt,
                    "action": visit.link(&format!("/pay/{}/wrong-number", payment.payment)),
                });
                visit.page(200, "wait", language.text("wait_title"), values)
            }
            PaymentStatus::Paid => {
                // Only of what was paid for: what comes before it is something else, at another price.
                let session = if payment.before == Some(0) { self.session(device).await? } else { None };
                let keys = match (&payment.username, &payment.password) {
                    (Some(username), Some(password)) => Some(json!({"username": username, "password": password})),
                    _ => None,
                };
                let values = json!({
                    "online": payment.connected,
                    "next_step": language.text(if keys.is_some() { "done_log_in" } else { "done_ask" }),
                    "package": package,
                    "left": session.as_ref().map(|session| view::left(&visit, session)),
                    "waits": payment.before.is_some_and(|before| before > 0),
                    "receipt": payment.receipt,
                    "keys": keys,
                });
                visit.page(200, "done", language.text("done_title"), values)
            }
            PaymentStatus::Failed | PaymentStatus::Expired => {
                let expired = payment.status == PaymentStatus::Expired;
                let phone = payment.phone.map(view::phone);
                let with_phone = |key: &str| phone.as_ref().map(|phone| language.fill(key, &[("phone", phone)]));
                let (reason, advice) = match (expired, payment.given_up) {
                    (true, true) => (with_phone("reason_given_up"), language.text("advice_expired")),
                    (true, false) => (Some(language.text("reason_expired").to_owned()), language.text("advice_expired")),
                    (false, _) => {
                        let (reason, advice) = view::reason(language, payment.reason);
                        (Some(reason.to_owned()), advice)
                    }
                };
                let other_number = payment
                    .package
                    .as_ref()
                    .map(|package| view::package(language, package, Some(visit.link(&format!("/buy/{}", package.id)))));
                let heading = language.text(match (expired, payment.given_up) {
                    (true, true) => "given_up_title",
                    (true, false) => "expired_title",
                    (false, _) => "failed_title",
                });
                let values = json!({
                    "heading": heading,
                    "kind": if expired { "" } else { " bad" },
                    // Money may still be on its way: to look again comes before paying again.
                    "check_first": expired,
                    // A number that was mistyped is not what comes first to hand.
                    "given_up": payment.given_up,
                    "plain": if expired || payment.given_up { " plain" } else { "" },
                    "again": with_phone("try_again"),
                    "reason": reason,
                    "advice": advice,
                    "package": other_number,
                    "action": visit.link(&format!("/pay/{}/again", payment.payment)),
                    "login_link": true,
                });
                visit.page(200, "failed", heading, values)
            }
        })
    }

    /// The page with both ways in that cost no money here: credentials and a voucher. What was tried comes with what was wrong, and with
    /// whether it was to take another device's place.
    fn login_page(&self, visit: &Visit, tried: Option<(&str, Problem, bool)>, code: Option<(&str, Problem)>) -> Reply {
        let replaces = tried.as_ref().is_some_and(|(_, _, replaces)| *replaces);
        let (username, problem) = tried.map(|(username, problem, _)| (username, problem)).unzip();
        let (typed, bad_code) = code.unzip();
        // Who stood in the crowd to take a place wants it still.
        let full = problem.as_ref().is_some_and(|problem| problem.code == "device_limit" || (replaces && problem.crowded));
        let values = json!({
            "username": username.map(|username| username.chars().take(63).collect::<String>()),
            // The password is typed again: a page never holds one that was typed.
            "full": full,
            "problem": problem.as_ref().map(|problem| view::problem(visit.language(), problem)),
            "code": typed.map(|typed| typed.chars().take(20).collect::<String>()),
            "bad_code": bad_code.as_ref().map(|problem| view::problem(visit.language(), problem)),
        });
        let problem = problem.or(bad_code);
        let reply =
            visit.page(problem.as_ref().map_or(200, |problem| problem.status), "login", visit.language().text("login_title"), values);
        with_retry(reply, problem)
    }

    async fn login_form(&self, head: &Head, body: &[u8], peer: IpAddr) -> Result<Reply, Problem> {
        let visit = self.visit(head, "/login");
        let device = self.device(peer).await?;
        let username = field(body, "username").unwrap_or_default();
        let password = field(body, "password").unwrap_or_default();
        let replace = field(body, "replace").is_some();
        Ok(match self.entry(api::login(device, &username, &password, replace)).await {
            Ok(_) => after_form(visit.link("/account")),
            Err(problem) => self.login_page(&visit, Some((&username, problem, replace)), None),
        })
    }

    fn receipt_page(&self, visit: &Visit, receipt: &str, phone: &str, problem: Option<Problem>) -> Reply {
        let values = json!({
            "receipt": receipt.chars().take(12).collect::<String>(),
            "phone": phone.chars().take(20).collect::<String>(),
            "problem": problem.as_ref().map(|problem| view::problem(visit.language(), problem)),
        });
        let title = visit.language().text("receipt_title");
        let reply = visit.page(problem.as_ref().map_or(200, |problem| problem.status), "receipt", title, values);
        with_retry(reply, problem)
    }

    async fn receipt_form(&self, head: &Head, body: &[u8], peer: IpAddr) -> Result<Reply, Problem> {
        let visit = self.visit(head, "/receipt");
        let device = self.device(peer).await?;
        let (receipt, phone) = (field(body, "receipt").unwrap_or_default(), field(body, "phone").unwrap_or_default());
        let entered = match api::reclaim(device, &receipt, &phone) {
            Ok(request) => self.entry(request).await,
            Err(problem) => Err(problem),
        };
        Ok(match entered {
            Ok(_) => after_form(visit.link("/account")),
            Err(problem) => self.receipt_page(&visit, &receipt, &phone, Some(problem)),
        })
    }

    /// The account's page says how long, and for a while the credentials.
    async fn voucher_form(&self, head: &Head, body: &[u8], peer: IpAddr) -> Result<Reply, Problem> {
        let visit = self.visit(head, "/login");
        let device = self.device(peer).await?;
        let typed = field(body, "code").unwrap_or_default();
        let before = self.session(device).await?.map(|session| session.username);
        Ok(match self.redeemed(device, &typed).await {
            // It may be another account that it went to, as where somebody is online by RADIUS.
            Ok(view) => after_form(visit.link(if before == Some(view.session.username) { "/account?said=voucher" } else { "/account" })),
            Err(problem) => self.login_page(&visit, None, Some((&typed, problem))),
        })
    }

    async fn logout_other_form(&self, head: &Head, body: &[u8], peer: IpAddr) -> Result<Reply, Problem> {
        let device = self.device(peer).await?;
        match self.leave_for(device, &field(body, "device").unwrap_or_default()).await {
            // One that left by itself meanwhile is what was wanted.
            Ok(()) => {}
            Err(problem) if problem.code == "not_online" => {}
            Err(problem) => return Err(problem),
        }
        Ok(after_form(self.visit(head, "/").link("/account?said=device_out")))
    }

    async fn logout_form(&self, head: &Head, peer: IpAddr) -> Result<Reply, Problem> {
        let device = self.device(peer).await?;
        self.leave(device).await?;
        Ok(after_form(self.visit(head, "/").link("/?all=1&said=out")))
    }
}

/// The text on what a form did, by the key that it put into the path of the page that it leads to. Only where it can be true: such a path can
/// be kept, or sent by somebody else.
fn said(head: &Head, online: bool) -> Option<&'static str> {
    match (head.asked("said")?.as_str(), online) {
        ("out", false) => Some("said_out"),
        ("device_out", true) => Some("said_device_out"),
        ("voucher", true) => Some("said_voucher"),
        _ => None,
    }
}

/// The way in which a start page is seen.
fn sight(head: &Head, (place, chosen): (usize, bool), known: bool, close: bool) -> Sight {
    Sight { way: (place, chosen, head.gzip), all: wants_all(head), close, known }
}

/// Whether the packages are to be shown, whatever else there is to see.
fn wants_all(head: &Head) -> bool {
    head.asked("all").is_some()
}

/// The packages, with what else there is for a device to see; `known` is whether it is one of the LAN.
fn start_page(visit: &Visit, head: &Head, known: bool, start: &StartView) -> Reply {
    let StartView { session, latest, used_up, packages, payments, .. } = start;
    // A sheet that was closed at the PIN prompt and comes back finds its payment.
    if let Some(payment) = latest.as_ref().filter(|payment| payment.status == PaymentStatus::Pending && !wants_all(head)) {
        return after_form(visit.link(&format!("/pay/{}", payment.payment)));
    }
    let buyable = known && *payments;
    let listed: Vec<_> = packages
        .iter()
        .map(|package| view::package(visit.language(), package, buyable.then(|| visit.link(&format!("/buy/{}", package.id)))))
        .collect();
    let used_up = used_up.as_ref().filter(|_| session.is_none()).map(|id| {
        // What is not sold any more, or cannot be paid for now, is not offered again.
        let again = packages.iter().find(|package| package.id == *id && buyable);
        json!({
            "again": again.map(|package| visit.language().fill("buy_again", &[("label", &package.label)])),
            "href": again.map(|package| visit.link(&format!("/buy/{}", package.id))),
        })
    });
    let told = latest.as_ref().filter(|payment| used_up.is_none() || payment.status != PaymentStatus::Paid);
    let title = visit.language().text(if session.is_some() { "online_title" } else { "packages_title" });
    let values = json!({
        "said": said(head, session.is_some()).map(|key| visit.language().text(key)),
        "unknown_device": !known,
        "offline": !payments,
        "used_up": used_up,
        "payment": told.and_then(|payment| view::latest(visit, payment, session.is_some())),
        "session": session.as_ref().map(|session| view::session(visit, session, packages)),
        "none": packages.is_empty(),
        "packages": listed,
        "login_link": session.is_none(),
        "account_link": session.is_some(),
    });
    visit.page(200, "packages", title, values)
}

/// See Other: whatever the method was, the next one is GET (RFC 9110 section 15.4.4).
fn after_form(location: String) -> Reply {
    Reply::redirect(303, location)
}

fn with_retry(reply: Reply, problem: Option<Problem>) -> Reply {
    match problem.and_then(|problem| problem.retry_after) {
        Some(seconds) => reply.with("Retry-After", seconds.to_string()),
        None => reply,
    }
}
