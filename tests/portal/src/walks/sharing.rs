//! What one has paid for on another phone: by its receipt, by its credentials, on an account for several, and on one that is full.

use super::{Look, SOON, Walk};
use crate::tab::Tab;
use lango_lab::phone::Phone;
use lango_lab::safaricom::customer::{Answer, Customer};

impl Walk<'_> {
    pub(super) fn receipts(&self, tab: &Tab<'_>, look: Look<'_>) {
        tab.follow(self.t("receipt_link"));
        tab.arrive("/receipt");
        look("receipt", tab);
        // Safaricom may take longer to say so than a page waits: then the page says what to do, and the customer does it.
        let (unknown, no_answer) = (self.t("error_unknown_receipt"), self.t("error_no_answer"));
        for _ in 0..4 {
            self.reclaim(tab, &format!("NLJ7RT6{}SV", self.digit), &self.number(1));
            if tab.see_one_of(&[unknown, no_answer]) == 0 {
                break;
            }
        }
        tab.see(unknown);
        look("receipt-wrong", tab);
    }

    pub(super) fn reclaim(&self, tab: &Tab<'_>, receipt: &str, number: &str) {
        tab.fill("receipt", receipt);
        tab.fill("phone", number);
        tab.follow(self.t("receipt_go"));
    }

    pub(super) fn log_in(&self, tab: &Tab<'_>, username: &str, password: &str, button: &str) {
        tab.fill("username", username);
        tab.fill("password", password);
        tab.follow(button);
    }

    /// Credentials of a full account: another phone gives way; with the receipt it comes back.
    pub(super) fn full(&self, first: &Tab<'_>, first_phone: &Phone, second: &Tab<'_>, second_phone: &Phone, receipt: &str, look: Look<'_>) {
        first.portal("/");
        first.follow(self.t("payment_paid_link"));
        let keys = first.eval("[...document.querySelectorAll('.keys')].map((e) => e.innerText)");
        let (username, password) = (keys[0].as_str().expect("a user name"), keys[1].as_str().expect("a password"));
        first.follow(self.t("my_account"));
        first.arrive("/account");
        first.see(&format!("…{}", &receipt[receipt.len() - 4..]));
        look("account", first);

        second.portal("/login");
        self.log_in(second, username, "nothing1", self.t("log_in"));
        second.see(self.t("error_bad_credentials"));
        assert_eq!((second.field("username").as_str(), second.field("password").as_str()), (username, ""));
        look("login-wrong", second);
        if self.script {
            self.crowd(second, username, password);
            second.portal("/login");
        }
        self.log_in(second, username, password, self.t("log_in"));
        second.see(self.t("error_device_limit"));
        look("login-full", second);
        self.log_in(second, username, password, self.t("login_replace"));
        second.arrive("/account");
        assert!(second_phone.session().is_some() && first_phone.session().is_none());
        if !self.script {
            first.portal("/account");
        }
        first.arrive("/");
        first.see(self.t("packages_title"));

        first.portal("/receipt");
        self.reclaim(first, receipt, &self.number(1));
        first.arrive("/account");
        assert!(first_phone.session().is_some() && second_phone.session().is_none());
    }

    /// While many log in the page comes again by itself, with the button that was pressed; not where the router says ten seconds; and not
    /// once the customer wants something else.
    pub(super) fn crowd(&self, tab: &Tab<'_>, username: &str, password: &str) {
        let press = |button: &str| {
            tab.fill("username", username);
            tab.fill("password", password);
            tab.press(button);
            tab.held()
        };
        tab.hold(&["/login"]);
        let first = press(self.t("log_in"));
        assert!(first.body.contains(username) && !first.body.contains("replace"), "{first:?}");
        tab.come_again(&first, 1, "not to be seen");
        let again = tab.held();
        assert_eq!(again.body, first.body);
        tab.let_go(&again);
        tab.see(self.t("error_device_limit"));

        let first = press(self.t("login_replace"));
        assert!(first.body.contains("replace=1"), "the button is not in {first:?}");
        tab.come_again(&first, 1, "not to be seen");
        let again = tab.held();
        assert_eq!(again.body, first.body);
        tab.come_again(&again, 10, "<p>in ten seconds");
        tab.see("in ten seconds");
        tab.hold_nothing();

        tab.portal("/login");
        tab.hold(&["/login", "/voucher"]);
        let first = press(self.t("log_in"));
        tab.fill("code", "ABCD-EFGH-JKMN");
        tab.come_again(&first, 3, "not to be seen");
        // The login would come again in four seconds at most, by the page's own clock; nothing can be asked of a page that is being left.
        let _ = tab.eval("setTimeout(() => { const x = new XMLHttpRequest(); x.open('GET', '/login?later'); x.send(); }, 5000)");
        tab.press(self.t("voucher_go"));
        let voucher = tab.held();
        assert!(voucher.url.contains("/voucher"), "{voucher:?}");
        let later = tab.held();
        assert!(later.url.contains("later"), "{later:?} was sent in the voucher's place");
        tab.let_go(&voucher);
        tab.see(self.t("error_unknown_voucher"));
        tab.hold_nothing();
    }

    /// A package for three: paid with the page open, which follows by itself; two phones on it; one puts the other offline.
    pub(super) fn family(&self, first: &Tab<'_>, first_phone: &Phone, second: &Tab<'_>, second_phone: &Phone, look: Look<'_>) {
        let number = self.number(2);
        self.lab.safaricom.customer(&number, Customer::manual());
        second.portal("/");
        second.follow(&self.texts.pay(80));
        second.fill("phone", &format!("+254 {}", &number[1..]));
        second.follow(&self.texts.pay(80));
        second.see(self.t("wait_title"));
        self.answers(&number, Answer::Pays);
        second.see(self.t("done_online"));
        look("done", second);
        assert!(second_phone.udp_echo((lango_lab::internet::HOST4, lango_lab::internet::ECHO).into(), SOON));
        let keys = second.eval("[...document.querySelectorAll('.keys')].map((e) => e.innerText)");

        first.portal("/account");
        first.follow(self.t("log_out"));
        first.see(self.t("packages_title"));
        look("packages-logged-out", first);
        first.portal("/login");
        self.log_in(first, keys[0].as_str().unwrap_or_default(), keys[1].as_str().unwrap_or_default(), self.t("log_in"));
        first.arrive("/account");
        first.see(self.t("others_title"));
        first.see(&format!("{} (…{})", second_phone.name, &second_phone.mac[9..]));
        look("account-others", first);
        first.follow(self.t("log_out_other"));
        first.arrive("/account");
        first.see(self.t("online_title"));
        first.see(self.t("said_device_out"));
        assert!(!first.text().contains(self.t("others_title")));
        assert!(second_phone.session().is_none() && first_phone.session().is_some());
        first.follow(self.t("buy_more"));
        first.arrive("/");
        first.see(&self.texts.pay(10));
        first.portal("/account");
        first.follow(self.t("log_out"));
    }
}
