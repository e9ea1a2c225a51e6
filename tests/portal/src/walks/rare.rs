//! The pages that few customers meet: what M-Pesa may say besides, nothing at all from it, too many tries, money that waits its turn, and
//! what another site, a voucher that is good no more, money of an odd amount or a router without packages leads to.

use super::{Look, SITE, SOON, Walk};
use crate::browser::Browser;
use crate::tab::Tab;
use lango_lab::phone::Phone;
use lango_lab::router::NAME;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::until_true;
use lango_lab::world::PORTAL;
use serde_json::Value;
use std::time::Duration;

/// The router waits three minutes for M-Pesa's word.
const FORGOTTEN: Duration = Duration::from_secs(240);
/// How long a voucher lives on that has to reach the router before its end: it takes none that is past it.
const RUNS: Duration = Duration::from_secs(45);
const DAY: Duration = Duration::from_secs(86_400);
/// More tries than any limit lets through at once.
const TRIES: usize = 12;

/// Somebody who asked for a prompt and never answered it, and the payment.
pub struct Forgotten(Phone, String);

impl Walk<'_> {
    /// A text up to what is filled into it.
    fn begins(&self, key: &str) -> &str {
        self.t(key).split('{').next().unwrap_or_default()
    }

    /// Asks for a prompt that nobody answers, and of which M-Pesa says nothing. Before everything else: it takes minutes.
    #[must_use]
    pub fn forget(&self) -> Forgotten {
        let (phone, number) = (self.lab.joined_phone(), self.number(5));
        self.lab.safaricom.customer(&number, Customer::manual());
        let payment = phone.pay("hour", &number);
        Forgotten(phone, payment)
    }

    /// What becomes of that.
    pub fn expired(&self, forgotten: &Forgotten, look: Look<'_>) {
        let Forgotten(phone, payment) = forgotten;
        until_true("the router to wait no longer", FORGOTTEN, || phone.payment(payment)["status"] == "expired")
            .unwrap_or_else(|e| panic!("{e:#}"));
        let browser = Browser::start(phone, &self.lab.world.folder).unwrap_or_else(|e| panic!("{e:#}"));
        let tab = self.tab(&browser);
        tab.go(SITE);
        tab.arrive("/");
        tab.see(self.t("payment_expired"));
        look("packages-after-silence", &tab);
        tab.follow(self.t("payment_expired_link"));
        tab.arrive("/pay/");
        for key in ["expired_title", "reason_expired", "advice_expired", "check_again"] {
            tab.see(self.t(key));
        }
        look("failed-expired", &tab);
    }

    /// Each reason that M-Pesa may have; and then too many payments, and too many passwords.
    pub fn reasons(&self, look: Look<'_>) {
        let (phone, browser) = self.phone();
        let tab = self.tab(&browser);
        let number = self.number(6);
        let again = self.texts.with("try_again", "phone", &Self::written(&number));
        let refuses = |answer| self.lab.safaricom.customer(&number, Customer::who(answer));
        self.pays(&tab, "hour", 10, &number, Customer::who(Answer::NoMoney));
        self.failed(&tab, "insufficient_balance", look);
        for (code, reason) in [(17, "limit"), (26, "busy"), (2028, "other")] {
            refuses(Answer::Code(code));
            tab.follow(&again);
            self.failed(&tab, reason, look);
        }
        refuses(Answer::Cancels);
        let many = self.begins("error_too_many_requests");
        let told = (0..TRIES).any(|_| {
            tab.follow(&again);
            tab.see_one_of(&[self.t("reason_cancelled"), many]) == 1
        });
        assert!(told, "nobody stops who asks for payment after payment\n{}", tab.shown());
        look("buy-too-many", &tab);
        tab.portal("/login");
        let told = (0..TRIES).any(|_| {
            self.log_in(&tab, "nobody1", "nothing1", self.t("log_in"));
            tab.see_one_of(&[self.t("error_bad_credentials"), many]) == 1
        });
        assert!(told, "nobody stops who tries password after password\n{}", tab.shown());
        look("login-too-many", &tab);
        assert!(phone.session().is_none(), "nobody has paid");
    }

    /// A payment that waits while the customer looks around; a second package that waits for the first one's end; money that arrived on a
    /// device that is not online; vouchers that were taken back or have run out; and another site that sends a form.
    pub fn besides(&self, look: Look<'_>) {
        let runs_out = self.running_out();
        let (phone, browser) = self.phone();
        let tab = self.tab(&browser);
        let number = self.number(7);
        self.pays(&tab, "hour", 10, &number, Customer::manual());
        tab.see(self.t("wait_title"));
        tab.portal("/?all=1");
        tab.see(self.t("payment_pending"));
        tab.see(self.t("packages_title"));
        look("packages-pending", &tab);
        tab.follow(self.t("payment_pending_link"));
        tab.arrive("/pay/");
        tab.see(self.t("wait_title"));
        self.answers(&number, Answer::Pays);
        tab.see(self.t("done_online"));
        let paid = tab.path();

        self.pays(&tab, "day", 50, &number, Customer::who(Answer::Pays));
        tab.arrive("/pay/");
        let day = tab.path();
        phone.await_paid(day.trim_start_matches("/pay/").split('?').next().unwrap_or_default());
        // The page that waited goes on by itself; it must not do so in the middle of the next.
        tab.wait("the page to go on", "document.readyState === 'complete' && !document.querySelector('[data-follow]')");
        tab.portal("/account");
        tab.see(self.t("queued_title"));
        tab.see(self.t("queued_text"));
        look("account-queued", &tab);

        self.other_site(&tab, &phone, look);

        for (code, error, name) in [
            (self.taken_back(), "error_voucher_revoked", "voucher-revoked"),
            (self.run_out(runs_out), "error_voucher_expired", "voucher-expired"),
        ] {
            tab.portal("/login");
            tab.fill("code", &code);
            tab.follow(self.t("voucher_go"));
            tab.see(self.t(error));
            look(name, &tab);
        }

        tab.portal("/account");
        tab.follow(self.t("log_out"));
        tab.see(self.t("packages_title"));
        tab.portal(&paid);
        tab.see(self.t("done_not_online"));
        look("done-not-online", &tab);
    }

    /// A page of another site sends the customer's browser off with a form that would log it out.
    fn other_site(&self, tab: &Tab<'_>, phone: &Phone, look: Look<'_>) {
        tab.go(SITE);
        tab.see("You are on the internet");
        tab.leaving(|| {
            let _ = tab.eval(&format!(
                "(() => {{ const f = document.createElement('form'); f.method = 'post'; f.action = '{PORTAL}/logout?lang={}'; document.body.append(f); f.submit(); }})()",
                self.texts.language
            ));
        });
        tab.see(self.t("error_cross_site"));
        look("error-cross-site", tab);
        assert!(phone.session().is_some(), "another site took it offline");
    }

    /// The code of a voucher that the operator took back.
    fn taken_back(&self) -> String {
        let told = |args: &[&str]| -> Value {
            let text = self.lab.lango.command(args).unwrap_or_else(|e| panic!("{e:#}"));
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
        };
        let made = told(&["vouchers", "create", "hour", "1", "--json"]);
        let batch = made["batch"].as_str().unwrap_or_else(|| panic!("no batch in {made}"));
        self.lab.lango.command(&["vouchers", "revoke", batch]).unwrap_or_else(|e| panic!("{e:#}"));
        made["vouchers"][0]["code"].as_str().expect("a code").to_owned()
    }

    /// The batch and the code of a voucher that was made almost a day ago, for a day.
    fn running_out(&self) -> (String, String) {
        let ago = DAY.saturating_sub(RUNS);
        let made = self.lab.relay.command_earlier(ago, &["vouchers", "create", NAME, "hour", "1", "--days", "1", "--json"]);
        let made: Value = made.and_then(|text| Ok(serde_json::from_str(&text)?)).unwrap_or_else(|e| panic!("{e:#}"));
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no batch and no code in {made}")).to_owned();
        (text(&made["batch"]), text(&made["vouchers"][0]["code"]))
    }

    /// Waits until it has run out, and gives back its code.
    fn run_out(&self, (batch, code): (String, String)) -> String {
        let over = || {
            let list = self.lab.lango.command(&["vouchers", "list"]).unwrap_or_default();
            list.lines().any(|line| line.contains(&batch) && line.contains("expired"))
        };
        until_true("the voucher to run out", RUNS + SOON, over).unwrap_or_else(|e| panic!("{e:#}"));
        code
    }

    /// Money that arrived by hand, and is the price of nothing that is sold: the customer brings the receipt, and reads who can help.
    pub fn odd_money(&self, look: Look<'_>) {
        let (phone, browser) = self.phone();
        let tab = self.tab(&browser);
        let number = self.number(9);
        let paid = self.lab.safaricom.pays_by_hand(&number, NAME, 7).paid.expect("Safaricom takes it");
        tab.portal("/receipt");
        // It may reach the router later than the customer's question.
        for _ in 0..4 {
            self.reclaim(&tab, &paid.receipt, &number);
            if tab.see_one_of(&[self.t("error_not_served"), self.t("error_unknown_receipt"), self.t("error_no_answer")]) == 0 {
                break;
            }
        }
        tab.see(self.t("error_not_served"));
        assert_eq!(tab.field("receipt"), paid.receipt, "what was typed is there to be shown to whoever helps");
        look("receipt-not-served", &tab);
        assert!(phone.session().is_none(), "no package costs that much");
    }

    /// On a router that sells nothing, and whose login server does not answer.
    pub fn nothing_sold(&self, look: Look<'_>) {
        let (phone, browser) = self.phone();
        let tab = self.tab(&browser);
        tab.go(SITE);
        tab.see(self.t("packages_none"));
        // There is nothing to choose and pay, and the page says what can be done instead.
        assert!(!tab.text().contains(self.t("packages_lead")), "{}", tab.shown());
        for link in ["log_in", "have_voucher", "receipt_link"] {
            tab.see(self.t(link));
        }
        look("packages-none", &tab);
        tab.portal("/login");
        self.log_in(&tab, "somebody", "secret1", self.t("log_in"));
        tab.see(self.t("error_login_offline"));
        look("login-offline", &tab);
        assert!(phone.session().is_none());
    }
}
