//! The portal over HTTPS in a real browser that trusts the authority of the router's certificate: a payment and a voucher, with all that
//! a browser does differently there (mixed content, the forms' Origin, events, the policy).

use lango_lab::Lab;
use lango_lab::authority::Authority;
use lango_lab::dnsmasq;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::world::{ROUTER4, ROUTER6};
use lango_portal_tests::audit::audit;
use lango_portal_tests::browser::Browser;
use lango_portal_tests::texts::Texts;
use lango_portal_tests::walks::PACKAGES;
use serde_json::Value;
use std::time::Duration;

const NAME: &str = "kibera-7.hs.example.org";
const PORT: u16 = 8443;
const SOON: Duration = Duration::from_secs(40);
/// A site that is not the portal.
const SITE: &str = "http://internet.test/";

/// Gives the lab's router a certificate, as docs/https.md does.
fn certify(lab: &Lab) {
    let folder = lab.world.folder.display().to_string();
    let section = format!(
        "\nconfig https 'https'\n\toption name '{NAME}'\n\toption port '{PORT}'\n\toption cert '{folder}/https.pem'\n\toption key '{folder}/https.key'\n"
    );
    lab.lango.configure(|text| text.to_owned() + &section).unwrap();
    let request = lab.lango.command(&["certificate", "request"]).unwrap();
    let authority = Authority::new("The lab's authority").unwrap();
    std::fs::write(lab.world.folder.join("https.pem"), authority.sign(&request, 90, &lab.world.folder).unwrap()).unwrap();
    lab.lango.program.terminate().unwrap();
    lab.lango.start().unwrap();
    lab.lango.await_payments().unwrap();
    let lines = format!("address=/{NAME}/{ROUTER4}\naddress=/{NAME}/{ROUTER6}\n");
    std::fs::write(dnsmasq::more(&lab.world.folder).join("https.conf"), lines).unwrap();
    lab.world.dnsmasq.terminate().unwrap();
    dnsmasq::run(&lab.world.dnsmasq, &lab.world.router).unwrap();
}

#[test]
fn a_payment_and_a_voucher_over_https() {
    let lab = Lab::selling(PACKAGES);
    certify(&lab);
    let portal = format!("https://{NAME}:{PORT}");
    let ca = lab.world.folder.join("ca.pem");
    for (n, texts) in Texts::all().iter().enumerate() {
        for script in [true, false] {
            let phone = lab.joined_phone();
            let browser = Browser::trusting(&phone, &lab.world.folder, &ca).unwrap_or_else(|e| panic!("{e:#}"));
            let tab = browser.tab(texts.language, script).unwrap_or_else(|e| panic!("{e:#}"));
            let number = format!("07120{n}000{}", u8::from(script));
            let here = || assert_eq!(tab.eval("location.origin"), portal, "it stays where it is safe\n{}", tab.shown());
            lab.safaricom.customer(&number, Customer::manual());
            tab.go(&format!("{portal}/"));
            tab.see(texts.of("packages_title"));
            assert_eq!(tab.eval("isSecureContext"), true, "the certificate is believed");
            audit("packages over HTTPS", &tab);
            tab.follow(&texts.pay(10));
            tab.arrive("/buy/hour");
            here();
            tab.fill("phone", &number);
            tab.follow(&texts.pay(10));
            tab.see(texts.of("wait_title"));
            here();
            if script {
                let followed = lango_lab::wait::until("the page to follow by events", SOON, || {
                    tab.events()
                        .into_iter()
                        .find(|event| event.method == "Network.responseReceived" && event.params["type"] == "EventSource")
                });
                let followed = followed.unwrap_or_else(|e| panic!("{e:#}\n{}", tab.shown())).params["response"].clone();
                assert_eq!((&followed["status"], &followed["mimeType"]), (&200.into(), &"text/event-stream".into()), "{followed}");
                assert!(followed["url"].as_str().is_some_and(|url| url.starts_with(&portal)), "{followed}");
            }
            lab.safaricom.await_prompt(&number, SOON).unwrap_or_else(|e| panic!("{e:#}"));
            lab.safaricom.answer(&number, Answer::Pays).unwrap_or_else(|e| panic!("{e:#}"));
            tab.see(texts.of("done_online"));
            here();
            audit("done over HTTPS", &tab);

            let printed = lab.lango.command(&["vouchers", "create", "hour", "1", "--json"]).unwrap();
            let made: Value = serde_json::from_str(&printed).unwrap();
            let before = phone.session().unwrap()["seconds_remaining"].as_u64().unwrap();
            tab.go(&format!("{portal}/login"));
            tab.fill("code", made["vouchers"][0]["code"].as_str().unwrap());
            tab.follow(texts.of("voucher_go"));
            tab.arrive("/account");
            here();
            let after = phone.session().unwrap()["seconds_remaining"].as_u64().unwrap();
            assert!(after > before + 3_000, "an hour more: {before} and then {after}");

            // The policy is in force: what the page did not bring with it is not asked for.
            if script {
                let refused =
                    "new Promise((seen) => { document.addEventListener('securitypolicyviolation', (e) => seen(e.effectiveDirective));
                    document.body.append(Object.assign(new Image(), {alt: '', src: '/picture.png'})); })";
                assert_eq!(tab.eval(refused), "img-src");
            }
            // And another site's form is refused, whose origin the browser says.
            tab.go(SITE);
            tab.see("You are on the internet");
            tab.leaving(|| {
                let _ = tab.eval(&format!(
                    "(() => {{ const f = document.createElement('form'); f.method = 'post'; f.action = '{portal}/logout?lang={}'; document.body.append(f); f.submit(); }})()",
                    texts.language
                ));
            });
            tab.see(texts.of("error_cross_site"));
            assert!(phone.session().is_some(), "another site took it offline");
        }
    }
    lab.money_is_service();

    // A browser that does not know the authority shows no page of ours: the trust above is real.
    let phone = lab.joined_phone();
    let browser = Browser::start(&phone, &lab.world.folder).unwrap_or_else(|e| panic!("{e:#}"));
    let tab = browser.tab("en", true).unwrap_or_else(|e| panic!("{e:#}"));
    tab.go(&format!("{portal}/"));
    assert_eq!(tab.eval("location.protocol"), "chrome-error:");
}
