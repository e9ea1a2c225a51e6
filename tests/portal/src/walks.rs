//! The ways that customers go through the portal. `look` is called at every page on the way: the tests examine it, the gallery
//! takes its picture. Without script the same pages come by themselves or are asked for again.

mod rare;
mod sharing;

use crate::browser::Browser;
use crate::tab::Tab;
use crate::texts::Texts;
use lango_lab::Lab;
use lango_lab::phone::Phone;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::until_true;
use serde_json::Value;
use std::time::Duration;

/// What the router sells: one package of each kind.
pub const PACKAGES: &str = "
config package 'hour'
	option label '1 hour'
	option price '10'
	option minutes '60'
	option megabytes '500'
	option down_kbps '5000'
	option up_kbps '2000'

config package 'day'
	option label '1 day'
	option price '50'
	option minutes '1440'

config package 'family'
	option label 'Family day'
	option price '80'
	option minutes '1440'
	option megabytes '3000'
	option devices '3'
";

/// A package that is used up by one download.
pub const TASTE: &str = "
config package 'taste'
	option label 'A taste'
	option price '5'
	option megabytes '1'
";

const SOON: Duration = Duration::from_secs(40);
/// A site that is not the portal.
const SITE: &str = "http://internet.test/";

pub use rare::Forgotten;

/// Called at each page, with the page's name.
pub type Look<'a> = &'a mut dyn FnMut(&str, &Tab<'_>);

/// Two customers of one language, with script or without.
pub struct Walk<'a> {
    lab: &'a Lab,
    texts: &'a Texts,
    script: bool,
    /// Their M-Pesa numbers: those with this digit.
    digit: u8,
}

impl<'a> Walk<'a> {
    /// Customers whose numbers have this digit, so that several walks go beside each other in one lab.
    #[must_use]
    pub fn new(lab: &'a Lab, texts: &'a Texts, script: bool, digit: u8) -> Self {
        Self { lab, texts, script, digit }
    }

    /// In each language, without script and with it.
    pub fn each(lab: &'a Lab, texts: &'a [Texts; 2]) -> impl Iterator<Item = Self> {
        let ways =
            texts.iter().zip([0, 2]).flat_map(|(texts, digit)| [false, true].map(|script| (texts, script, digit + u8::from(script))));
        ways.map(move |(texts, script, digit)| Self::new(lab, texts, script, digit))
    }

    /// As `sw`.
    #[must_use]
    pub fn language(&self) -> &'static str {
        self.texts.language
    }

    fn t(&self, key: &str) -> &'a str {
        self.texts.of(key)
    }

    fn number(&self, n: u8) -> String {
        format!("07120{}000{n}", self.digit)
    }

    /// As pages write it.
    fn written(number: &str) -> String {
        format!("{}\u{a0}{}\u{a0}{}", &number[..4], &number[4..7], &number[7..])
    }

    fn phone(&self) -> (Phone, Browser) {
        let phone = self.lab.joined_phone();
        let browser = Browser::start(&phone, &self.lab.world.folder).unwrap_or_else(|e| panic!("{e:#}"));
        (phone, browser)
    }

    fn tab<'b>(&self, browser: &'b Browser) -> Tab<'b> {
        browser.tab(self.texts.language, self.script).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// On the page of a package: types the number and pays.
    fn pays(&self, tab: &Tab<'_>, package: &str, price: u32, number: &str, customer: Customer) {
        self.lab.safaricom.customer(number, customer);
        tab.portal(&format!("/buy/{package}"));
        tab.fill("phone", number);
        tab.follow(&self.texts.pay(price));
    }

    fn answers(&self, number: &str, answer: Answer) {
        self.lab.safaricom.await_prompt(number, SOON).unwrap_or_else(|e| panic!("{e:#}"));
        self.lab.safaricom.answer(number, answer).unwrap_or_else(|e| panic!("{e:#}"));
    }

    /// All of it, but what needs the broker to be dead.
    pub fn all(&self, look: Look<'_>) {
        let (first_phone, first_browser) = self.phone();
        let (second_phone, second_browser) = self.phone();
        let first = self.tab(&first_browser);
        self.fails(&first, &first_phone, look);
        let (first, receipt) = self.wrong_number(first, &first_browser, &first_phone, look);
        let second = self.tab(&second_browser);
        self.voucher(&second, &second_phone, look);
        self.receipts(&second, look);
        self.full(&first, &first_phone, &second, &second_phone, &receipt, look);
        self.family(&first, &first_phone, &second, &second_phone, look);
        self.errors(&first, look);
    }

    /// Any site leads to the portal; then everything goes wrong that can, each with its reason and one tap to try again.
    fn fails(&self, tab: &Tab<'_>, phone: &Phone, look: Look<'_>) {
        tab.go(SITE);
        tab.arrive("/");
        tab.see(self.t("packages_title"));
        assert_eq!(tab.eval("location.host"), "portal.lan:8088");
        assert_eq!(tab.eval("document.documentElement.lang"), self.texts.language);
        look("packages", tab);
        tab.follow(&self.texts.pay(10));
        tab.arrive("/buy/hour");
        look("buy", tab);

        let number = self.number(1);
        tab.fill("phone", "0712 34");
        if self.script {
            tab.press(&self.texts.pay(10));
        } else {
            tab.follow(&self.texts.pay(10));
        }
        tab.see(self.t("bad_phone"));
        assert_eq!(tab.field("phone"), "0712 34", "what was typed is there to be put right");
        look("buy-bad-number", tab);

        self.lab.safaricom.customer(&number, Customer::manual());
        tab.fill("phone", &number);
        tab.follow(&self.texts.pay(10));
        tab.arrive("/pay/");
        tab.see(self.t("wait_title"));
        tab.see(&Self::written(&number));
        look("wait", tab);
        if self.script {
            let _ = tab.eval("document.querySelector('[data-late]').hidden = false");
            look("wait-late", tab);
        }
        self.answers(&number, Answer::Cancels);
        self.failed(tab, "cancelled", look);

        tab.portal("/");
        tab.see(&self.texts.with("payment_failed", "reason", self.t("reason_cancelled")));
        look("packages-after-failure", tab);
        tab.follow(self.t("payment_failed_link"));
        tab.arrive("/pay/");
        for (answer, reason) in [(Answer::WrongPin, "wrong_pin"), (Answer::Code(1037), "no_response")] {
            self.lab.safaricom.customer(&number, Customer::who(answer));
            tab.follow(&self.texts.with("try_again", "phone", &Self::written(&number)));
            self.failed(tab, reason, look);
        }
        assert!(phone.session().is_none(), "nobody has paid");
    }

    fn failed(&self, tab: &Tab<'_>, reason: &str, look: Look<'_>) {
        tab.see(self.t(&format!("reason_{reason}")));
        tab.see(self.t(&format!("advice_{reason}")));
        look(&format!("failed-{}", reason.replace('_', "-")), tab);
    }

    /// A mistyped number is put right at once. The page is closed at the PIN prompt, opened again, closed again; the payment comes; the phone
    /// finds itself online. Gives back the tab that is open then, and the receipt.
    fn wrong_number<'b>(&self, tab: Tab<'b>, browser: &'b Browser, phone: &Phone, look: Look<'_>) -> (Tab<'b>, String) {
        let (wrong, right) = (self.number(8), self.number(1));
        self.lab.safaricom.customer(&wrong, Customer::manual());
        self.lab.safaricom.customer(&right, Customer::manual());
        tab.follow(self.t("other_package"));
        tab.arrive("/");
        tab.follow(&self.texts.pay(50));
        tab.fill("phone", &wrong);
        tab.follow(&self.texts.pay(50));
        tab.see(&Self::written(&wrong));
        let mistyped = tab.path();
        tab.follow(self.t("wrong_number"));
        tab.arrive("/buy/day");
        look("buy-after-wrong-number", &tab);
        tab.portal("/");
        tab.see(self.t("packages_title"));
        assert!(!tab.text().contains(self.t("payment_expired")), "who gave it up knows\n{}", tab.shown());
        tab.follow(&self.texts.pay(50));
        tab.arrive("/buy/day");
        tab.fill("phone", &right);
        tab.follow(&self.texts.pay(50));
        tab.see(&Self::written(&right));
        tab.portal(&mistyped);
        tab.see(&self.texts.with("reason_given_up", "phone", &Self::written(&wrong)));
        assert_eq!(tab.eval("document.querySelector('main .button').innerText"), self.t("other_number"));
        look("given-up", &tab);
        tab.close();

        let tab = self.tab(browser);
        tab.go(SITE);
        tab.arrive("/pay/");
        tab.see(&Self::written(&right));
        tab.close();

        self.answers(&right, Answer::Pays);
        until_true("the phone to be online", SOON, || phone.session().is_some()).unwrap_or_else(|e| panic!("{e:#}"));
        let tab = self.tab(browser);
        tab.go(SITE);
        tab.see("You are on the internet");
        tab.portal("/");
        tab.see(self.t("online_title"));
        look("packages-online", &tab);
        tab.follow(self.t("payment_paid_link"));
        tab.see(self.t("done_online"));
        let receipt = self.receipt_of(&right);
        tab.see(&receipt);
        look("done-again", &tab);

        // Who owns the mistyped number pays all the same: it is money that arrived.
        let before = seconds(phone);
        self.answers(&wrong, Answer::Pays);
        until_true("the late money to be service", SOON, || seconds(phone) > before + 80_000).unwrap_or_else(|e| panic!("{e:#}"));
        (tab, receipt)
    }

    fn receipt_of(&self, number: &str) -> String {
        let digits = format!("254{}", &number[1..]);
        let money = self.lab.safaricom.money();
        money.iter().rev().find(|paid| paid.phone == digits).unwrap_or_else(|| panic!("{digits} has paid nothing")).receipt.clone()
    }

    /// Vouchers: wrong, right, used; what is left counts down.
    fn voucher(&self, tab: &Tab<'_>, phone: &Phone, look: Look<'_>) {
        let printed = self.lab.lango.command(&["vouchers", "create", "hour", "1", "--json"]).unwrap_or_else(|e| panic!("{e:#}"));
        let batch: Value = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}"));
        let code = batch["vouchers"][0]["code"].as_str().expect("a code").to_owned();
        tab.portal("/");
        tab.follow(self.t("have_voucher"));
        tab.arrive("/login");
        look("login", tab);
        tab.fill("code", "ABCD-EFGH-JKMN");
        tab.follow(self.t("voucher_go"));
        tab.see(self.t("error_unknown_voucher"));
        look("voucher-wrong", tab);
        tab.fill("code", &code.to_lowercase());
        tab.follow(self.t("voucher_go"));
        tab.arrive("/account");
        tab.see(self.t("keys_title"));
        look("account-keys", tab);
        let left = || tab.eval("document.querySelector('[data-time]').innerText");
        let (before, data) = (left(), tab.eval("document.querySelector('[data-data]').innerText"));
        phone.download(2_500_000, SOON).unwrap_or_else(|e| panic!("{e:#}"));
        if !self.script {
            tab.portal("/account");
        }
        tab.wait("the time to go down", &format!("document.querySelector('[data-time]').innerText !== {before}"));
        tab.wait("the data to go down", &format!("document.querySelector('[data-data]').innerText !== {data}"));
        tab.follow(self.t("log_out"));
        tab.arrive("/");
        tab.see(self.t("packages_title"));
        tab.see(self.t("said_out"));
        assert!(phone.session().is_none());
        tab.portal("/login");
        tab.fill("code", &code);
        tab.enter();
        tab.see(self.t("error_voucher_used"));
        look("voucher-used", tab);
    }

    fn errors(&self, tab: &Tab<'_>, look: Look<'_>) {
        tab.portal("/pay/00000000000000000000000001");
        tab.see(self.t("error_unknown_payment"));
        look("error", tab);
        tab.follow(self.t("to_start"));
        tab.see(self.t("packages_title"));
        tab.portal("/buy/nothing");
        tab.see(self.t("error_unknown_package"));
        look("error-package", tab);
        // The other language is one tap away, and stays.
        let [english, swahili] = Texts::all();
        let other = if self.texts.language == "en" { swahili } else { english };
        tab.follow(self.t("to_start"));
        tab.follow(other.of("language_name"));
        tab.see(other.of("packages_title"));
        tab.follow(&other.pay(10));
        tab.see(other.of("phone_hint"));
    }

    /// A package that ends while the page is open, and the customer who comes back: it says so, and one tap buys it again.
    pub fn used_up(&self, look: Look<'_>) {
        let (phone, browser) = self.phone();
        let tab = self.tab(&browser);
        let number = self.number(3);
        tab.go(SITE);
        tab.see(self.t("packages_title"));
        assert!(!tab.text().contains(self.t("error_expired")), "it had nothing that could be used up");
        self.pays(&tab, "taste", 5, &number, Customer::who(Answer::Pays));
        tab.see(self.t("done_online"));
        tab.portal("/account");
        tab.see(self.t("online_title"));
        // More than there is: it ends in the middle.
        let _ = phone.download(2_000_000, SOON);
        until_true("the data to be used up", SOON, || phone.session().is_none()).unwrap_or_else(|e| panic!("{e:#}"));
        if self.script {
            tab.arrive("/");
            tab.see(self.t("error_expired"));
        }
        tab.go(SITE);
        tab.arrive("/");
        tab.see(self.t("error_expired"));
        look("used-up", &tab);
        tab.follow(&self.texts.with("buy_again", "label", "A taste"));
        tab.arrive("/buy/taste");
        tab.see(&self.texts.pay(5));
    }

    /// Somebody whose address is none of the Wi-Fi's: another router behind this one, or an address set by hand.
    pub fn unknown(&self, look: Look<'_>) {
        let (phone, browser) = self.phone();
        self.hide(&phone).unwrap_or_else(|e| panic!("{e:#}"));
        let tab = self.tab(&browser);
        tab.portal("/");
        tab.see(self.t("unknown_device"));
        assert!(!tab.text().contains(&self.texts.pay(10)), "there is nothing to press that cannot work");
        look("packages-unknown-device", &tab);
        tab.portal("/buy/hour");
        tab.see(self.t("unknown_device"));
        tab.see(self.t("error_title"));
        look("error-unknown-device", &tab);
        tab.follow(self.t("to_start"));
        tab.see(self.t("packages_title"));
    }

    /// Gives the phone an address that it is reached at, and that is nobody's neighbour: it lies behind another one.
    fn hide(&self, phone: &Phone) -> anyhow::Result<()> {
        let (lease, router) = (phone.lease(), &self.lab.world.router);
        let hidden = format!("10.99.0.{}", 10 * self.digit + if self.script { 1 } else { 2 });
        let ip = |args: &[&str]| phone.namespace.ip(args);
        phone.namespace.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1")?;
        // The way to the router is known from now on: asked for once more with the new address, the router would know that.
        let gate = lease.router.to_string();
        let _ = phone.get("/api/packages");
        let known = ip(&["neigh", "show", &gate])?;
        let mac = known.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).unwrap_or_default().to_owned();
        ip(&["neigh", "replace", &gate, "lladdr", &mac, "dev", "eth0", "nud", "permanent"])?;
        ip(&["addr", "add", &format!("{hidden}/32"), "dev", "eth0"])?;
        ip(&["route", "replace", &format!("{gate}/32"), "dev", "eth0", "src", &hidden])?;
        router.ip(&["route", "replace", &format!("{hidden}/32"), "via", &lease.address.to_string()]).map(drop)
    }

    /// A portal that an operator has made their own, as docs/examples/portal does: name, colour, logo, number, terms, a template, a text.
    pub fn own(&self, look: Look<'_>) {
        let (_phone, browser) = self.phone();
        let tab = self.tab(&browser);
        let welcome = if self.texts.language == "sw" { "Karibu kwa Mama Achieng" } else { "Welcome to Mama Achieng's" };
        let call = self.texts.with("help_call", "phone", "0712 345 678");
        let called = |tab: &Tab<'_>, place: &str| assert!(tab.has(&format!("{place} a[href='tel:0712345678']")), "{}", tab.shown());
        tab.go(SITE);
        tab.see(welcome);
        tab.see("Mama Achieng Wi-Fi");
        tab.see(&call);
        called(&tab, "footer");
        tab.wait(
            "the logo",
            "(() => { const logo = document.querySelector('.home img'); return logo.complete && logo.naturalWidth > 0; })()",
        );
        assert_eq!(tab.eval("getComputedStyle(document.querySelector('header')).backgroundColor"), "rgb(122, 31, 92)");
        assert_eq!(tab.eval("getComputedStyle(document.querySelector('.price')).color"), "rgb(122, 31, 92)", "more.css is in force");
        assert!(!tab.has("main dl") && tab.has("main .soft b"), "the operator's template is what is served\n{}", tab.shown());
        look("own-packages", &tab);
        tab.follow(&self.texts.pay(10));
        tab.arrive("/buy/hour");
        look("own-buy", &tab);
        tab.follow(self.t("terms_accept"));
        tab.arrive("/terms");
        tab.see(if self.texts.language == "sw" { "Kibera.\nKifurushi" } else { "Kibera.\nA package" });
        look("own-terms", &tab);
        tab.follow(self.t("to_start"));
        tab.follow(self.t("terms"));
        tab.arrive("/terms");

        let number = self.number(4);
        self.pays(&tab, "hour", 10, &number, Customer::who(Answer::Cancels));
        tab.see(self.t("reason_cancelled"));
        tab.see(&call);
        called(&tab, "main");
        look("own-failed", &tab);
        tab.portal("/pay/00000000000000000000000001");
        tab.see(self.t("error_unknown_payment"));
        called(&tab, "main");
        look("own-error", &tab);
        tab.portal("/login");
        tab.see(self.t("login_title"));
        look("own-login", &tab);
    }

    /// With the broker dead: no payment can be had, and the pages say so before anybody tries.
    pub fn offline(&self, look: Look<'_>) {
        let (_phone, browser) = self.phone();
        let tab = self.tab(&browser);
        tab.go(SITE);
        tab.see(self.t("offline_title"));
        assert!(!tab.text().contains(&self.texts.pay(10)), "there is nothing to press that cannot work");
        look("packages-offline", &tab);
        tab.portal("/buy/hour");
        tab.see(self.t("offline_title"));
        look("buy-offline", &tab);
    }
}

fn seconds(phone: &Phone) -> u64 {
    phone.session().and_then(|session| session["seconds_remaining"].as_u64()).unwrap_or_default()
}
