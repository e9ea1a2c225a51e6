//! What the pages' script does, and what nothing of theirs does: the payment is followed where events do not get through, a number is checked
//! key by key, whoever has no finger sees where they are, and nothing is kept in the browser.

use lango_lab::Lab;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_portal_tests::browser::Browser;
use lango_portal_tests::tab::Tab;
use lango_portal_tests::texts::Texts;
use lango_portal_tests::walks::PACKAGES;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(40);
/// How often the page asks where its payment stands, in seconds, as the first system did; and what the answer's way and a busy
/// machine may add.
const POLL: (f64, f64) = (1.0, 0.7);

/// The page of a payment that waits for its PIN, its requests of these kinds held up.
fn wait_for_pin(lab: &Lab, tab: &Tab<'_>, texts: &Texts, number: &str, held: &[&str]) {
    lab.safaricom.customer(number, Customer::manual());
    tab.portal("/buy/hour");
    tab.hold(held);
    tab.fill("phone", number);
    tab.follow(&texts.pay(10));
    tab.see(texts.of("wait_title"));
}

/// A page of a waiting payment on a phone of its own, whose events meet this fate.
fn waiting_without_events(lab: &Lab, texts: &Texts, number: &str, fate: impl Fn(&Tab<'_>, &lango_portal_tests::tab::Held)) {
    let phone = lab.joined_phone();
    let browser = Browser::start(&phone, &lab.world.folder).unwrap_or_else(|e| panic!("{e:#}"));
    let tab = browser.tab(texts.language, true).unwrap_or_else(|e| panic!("{e:#}"));
    wait_for_pin(lab, &tab, texts, number, &["/events"]);
    let events = tab.held();
    assert!(events.url.ends_with("/events"), "{events:?}");
    fate(&tab, &events);

    // When it was asked, by the browser's own clock.
    let mut asked: Vec<f64> = Vec::new();
    lango_lab::wait::until_true("the page to ask six times", SOON, || {
        let sent = tab.events().into_iter().filter(|event| event.method == "Network.requestWillBeSent");
        let status = |params: &Value| params["request"]["url"].as_str().is_some_and(|url| url.ends_with("/status"));
        asked.extend(sent.filter(|event| status(&event.params)).filter_map(|event| event.params["timestamp"].as_f64()));
        asked.len() >= 6
    })
    .unwrap_or_else(|e| panic!("{e:#}\n{}", tab.shown()));
    let mut gaps: Vec<f64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    let (least, usual) = (gaps[0], gaps[gaps.len() / 2]);
    assert!(least >= POLL.0 - 0.05 && usual <= POLL.0 + POLL.1, "it asks each second, and here after {gaps:?} s");
    assert!(tab.held_now().is_none(), "it does not try events again beside it");

    lab.safaricom.await_prompt(number, SOON).unwrap_or_else(|e| panic!("{e:#}"));
    lab.safaricom.answer(number, Answer::Pays).unwrap_or_else(|e| panic!("{e:#}"));
    tab.see(texts.of("done_online"));
    assert!(phone.session().is_some());
}

#[test]
fn where_events_do_not_get_through_the_page_asks_each_second_until_it_is_paid() {
    let lab = Lab::selling(PACKAGES);
    let texts = Texts::all();
    waiting_without_events(&lab, &texts[0], "0712000001", |tab, held| tab.refuse(held, 503));
    waiting_without_events(&lab, &texts[1], "0712000002", |tab, held| tab.break_off(held));
    // The connection stands, and nothing ever comes on it.
    waiting_without_events(&lab, &texts[0], "0712000003", |_, _| {});
    waiting_without_events(&lab, &texts[1], "0712000004", |_, _| {});
    lab.money_is_service();
}

#[test]
fn the_waiting_page_gives_up_only_where_it_is_refused_three_times_in_a_row() {
    let lab = Lab::selling(PACKAGES);
    let phone = lab.joined_phone();
    let browser = Browser::start(&phone, &lab.world.folder).unwrap_or_else(|e| panic!("{e:#}"));
    let texts = &Texts::all()[0];
    let tab = browser.tab(texts.language, true).unwrap_or_else(|e| panic!("{e:#}"));
    wait_for_pin(&lab, &tab, texts, "0712000001", &["/events", "/status"]);
    let events = tab.held();
    assert!(events.url.ends_with("/events"), "{events:?}");
    tab.refuse(&events, 403);
    let _ = tab.eval("window.here = true");
    let ask = |status: Option<u16>| {
        let held = tab.held();
        assert!(held.url.ends_with("/status"), "{held:?}");
        match status {
            Some(status) => tab.refuse(&held, status),
            None => tab.let_go(&held),
        }
    };
    for status in [Some(403), Some(403), None, Some(404), Some(403), None, Some(403), Some(403)] {
        ask(status);
    }
    // The next question shows that the page is still there after those answers.
    let last = tab.held();
    assert_eq!(tab.eval("window.here"), true, "it gave up too early\n{}", tab.shown());
    tab.refuse(&last, 403);
    tab.wait("the page to come anew", "window.here === undefined && document.readyState === 'complete'");
    tab.hold_nothing();
    tab.see(texts.of("wait_title"));
}

/// One that is used up by a download, and one without a limit of time, which comes behind it.
const SIP_AND_BUNDLE: &str = "
config package 'sip'
	option label 'A sip'
	option price '5'
	option minutes '60'
	option megabytes '1'

config package 'bundle'
	option label 'Bundle'
	option price '20'
	option megabytes '300'
";

#[test]
fn what_takes_over_while_the_account_page_is_open_is_shown() {
    let lab = Lab::selling(SIP_AND_BUNDLE);
    for (texts, number) in Texts::all().iter().zip(["0712000001", "0712000002"]) {
        let phone = lab.joined_phone();
        let browser = Browser::start(&phone, &lab.world.folder).unwrap_or_else(|e| panic!("{e:#}"));
        let tab = browser.tab(texts.language, true).unwrap_or_else(|e| panic!("{e:#}"));
        lab.safaricom.customer(number, Customer::who(Answer::Pays));
        for package in ["sip", "bundle"] {
            phone.await_paid(&phone.pay(package, number));
        }
        tab.portal("/account");
        tab.see(&texts.with("package_is", "label", "A sip"));
        tab.see(texts.of("queued_title"));
        let _ = phone.download(2_000_000, SOON);
        // Nobody touches the page.
        tab.see(&texts.with("package_is", "label", "Bundle"));
        assert_eq!(tab.eval("document.querySelector('[data-time]').innerText"), texts.of("unlimited"), "{}", tab.shown());
        assert!(!tab.text().contains(texts.of("queued_title")), "nothing waits any more\n{}", tab.shown());
        stays(&tab, "what took over");
    }
    lab.money_is_service();
}

/// Makes the page ask the router where it stands, as it does each ten seconds, and when it comes into sight.
const COME_INTO_SIGHT: &str = "document.dispatchEvent(new Event('visibilitychange'))";

/// It is the same page after the router's answers.
fn stays(tab: &Tab<'_>, which: &str) {
    let _ = tab.eval("window.here = true");
    tab.hold(&["check-session"]);
    for _ in 0..3 {
        let asked = lango_lab::wait::until("the page to ask", SOON, || {
            let _ = tab.try_eval(COME_INTO_SIGHT);
            tab.held_now()
        });
        let asked = asked.unwrap_or_else(|e| panic!("{which}: {e:#}\n{}", tab.shown()));
        assert_eq!(tab.eval("window.here"), true, "{which}: the page comes anew without need\n{}", tab.shown());
        tab.let_go(&asked);
    }
    tab.hold_nothing();
}

/// Minutes from midnight of a moment as pages write it, which ends with its time.
fn minutes(moment: &str) -> u32 {
    let time = moment.rsplit(' ').next().unwrap_or_default();
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok()).unwrap_or_else(|| panic!("no time in {moment:?}"));
    let mut parts = time.split(':');
    number(parts.next()) * 60 + number(parts.next())
}

#[test]
fn the_end_is_told_by_the_router_s_clock_and_in_east_africa_s_time_wherever_the_phone_thinks_it_is() {
    let lab = Lab::selling(PACKAGES);
    for ((package, leap), texts) in [("hour", 7_200_000), ("day", -7_200_000)].into_iter().zip(&Texts::all()) {
        let phone = lab.joined_phone();
        let browser = Browser::start(&phone, &lab.world.folder).unwrap_or_else(|e| panic!("{e:#}"));
        lab.safaricom.customer("0712000001", Customer::who(Answer::Pays));
        phone.await_paid(&phone.pay(package, "0712000001"));
        let tab = browser.tab(texts.language, true).unwrap_or_else(|e| panic!("{e:#}"));
        tab.zone("America/New_York");
        let shown = || tab.eval("document.querySelector('[data-until]').innerText").as_str().unwrap_or_default().to_owned();
        tab.portal("/account");
        let told = shown();
        assert!(told.contains(':'), "{}", tab.shown());
        assert_eq!(told.contains(' '), package == "day", "what ends tomorrow says so: {told}");
        // The phone's clock is put right by hours, as it happens once a phone is online. What the router has answered is held against it.
        let _ = tab.eval(
            "(() => { window.answers = 0; const ask = lango.ask; \
             lango.ask = (how, what, then) => ask(how, what, (v, s) => { then(v, s); window.answers += 1; }); })()",
        );
        tab.wait("an answer", &format!("{COME_INTO_SIGHT} && window.answers > 0"));
        let _ = tab.eval(&format!("(() => {{ window.here = true; const real = Date.now; Date.now = () => real() + {leap}; }})()"));
        tab.wait("the page to come anew", "window.here === undefined && document.readyState === 'complete'");
        stays(&tab, "after the leap");
        assert!((minutes(&shown()) + 1_441 - minutes(&told)) % 1_440 <= 2, "{} instead of {told}", shown());

        // A router whose clock is not set says no moment, and names days and months for the script.
        let page = phone.get(&format!("/account?lang={}", texts.language)).text();
        let told = page.split("<b data-until>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default().to_owned();
        let names = serde_json::json!({"days": texts.of("days"), "months": texts.of("months")}).to_string();
        let names = names.trim_start_matches('{').trim_end_matches('}').replace('"', "&quot;");
        let until = |hidden: &str, moment: &str| format!("<p class=\"soft\"{hidden}>{} <b data-until>{moment}</b>", texts.of("until"));
        let unset = page.replace(&until("", &told), &until(" hidden", "")).replace("data-units=\"{", &format!("data-units=\"{{{names},"));
        assert!(unset.contains(&until(" hidden", "")) && unset.contains("&quot;months&quot;"), "{unset}");
        tab.hold(&["unset"]);
        tab.leaving(|| {
            let _ = tab.eval("setTimeout(() => location.assign('/account?unset'), 0)");
            let asked = tab.held();
            tab.answer(&asked, &unset);
        });
        tab.hold_nothing();
        tab.wait("the end to be told", "document.querySelector('[data-until]')?.innerText.includes(':')");
        assert!((minutes(&shown()) + 1_441 - minutes(&told)) % 1_440 <= 2, "{} instead of {told}", shown());
        assert_eq!(shown().rsplit_once(' ').map(|(day, _)| day), told.rsplit_once(' ').map(|(day, _)| day));
        assert!(tab.text().contains(&format!("{} {}", texts.of("until"), shown())), "it is there to be seen\n{}", tab.shown());
    }
    lab.money_is_service();
}

#[test]
fn the_page_does_not_come_anew_for_what_it_would_say_again() {
    let lab = Lab::selling(PACKAGES);
    let phone = lab.joined_phone();
    let browser = Browser::start(&phone, &lab.world.folder).unwrap_or_else(|e| panic!("{e:#}"));
    lab.safaricom.customer("0712000001", Customer::who(Answer::Pays));
    phone.await_paid(&phone.pay("hour", "0712000001"));
    let tab = browser.tab("en", true).unwrap_or_else(|e| panic!("{e:#}"));
    // The page as it is, what is left a number, its words an object; and that it was altered is to be seen in it.
    let altered = |change: &str| {
        tab.alter(&format!(
            "const e = document.querySelector('[data-units]'), left = +e.dataset.seconds, u = JSON.parse(e.dataset.units); \
             {change}; e.dataset.altered = 'yes';"
        ))
    };
    let seen = || assert!(tab.has("[data-units][data-altered]"), "{}", tab.shown());
    for (which, change) in [
        ("a page that was long on its way", "e.dataset.seconds = left + 20"),
        ("an operator's own words", "delete u.package; delete u.bytes; e.dataset.units = JSON.stringify(u)"),
        ("an operator's own page, which does not say what is left", "delete e.dataset.seconds"),
    ] {
        let name = altered(change);
        tab.portal("/account");
        seen();
        stays(&tab, which);
        tab.leave_as_it_is(&name);
    }
    // More than there was is by no clock.
    let name = altered("e.dataset.seconds = left - 300");
    tab.portal("/account");
    seen();
    tab.leave_as_it_is(&name);
    let _ = tab.eval("window.here = true");
    tab.wait("the page to come anew", "window.here === undefined && document.readyState === 'complete'");
    lab.money_is_service();
}

#[test]
fn a_number_is_checked_as_it_is_typed_and_the_keyboard_shows_where_it_is() {
    let lab = Lab::selling(PACKAGES);
    let phone = lab.joined_phone();
    let browser = Browser::start(&phone, &lab.world.folder).unwrap_or_else(|e| panic!("{e:#}"));
    let mut unseen = Vec::new();
    for texts in &Texts::all() {
        let tab = browser.tab(texts.language, true).unwrap_or_else(|e| panic!("{e:#}"));
        tab.portal("/buy/hour");
        let complains = || {
            let marked = tab.eval("document.getElementById('phone').getAttribute('aria-invalid') === 'true'") == true;
            assert_eq!(marked, tab.text().contains(texts.of("bad_phone")), "who sees it and who hears it are told the same");
            marked
        };
        // An eight in the third place: no number of a mobile in Kenya begins so. Nine digits may still become one.
        tab.type_keys("phone", "081234567");
        assert!(!complains(), "it is not finished yet");
        tab.type_keys("phone", "8");
        assert_eq!(tab.field("phone"), "0812345678");
        assert!(complains(), "nothing is said of a number that cannot be\n{}", tab.shown());
        for _ in 0..10 {
            tab.key("Backspace", 8, None);
        }
        assert!(!complains());
        tab.type_keys("phone", "0712 345 678");
        assert!(!complains(), "{}", tab.shown());
        assert_eq!(tab.path(), "/buy/hour", "nobody pressed Pay");

        for page in ["/", "/buy/hour", "/login", "/receipt"] {
            for dark in [false, true] {
                tab.portal(page);
                tab.dark(dark);
                let how = if dark { "dark" } else { "light" };
                unseen.extend(rings_unseen(&tab, page).into_iter().map(|at| format!("{page}, {how}: {at}")));
            }
        }
    }
    assert!(unseen.is_empty(), "who goes by the keyboard does not see where:\n{}", unseen.join("\n"));
    assert!(lab.safaricom.prompts().is_empty());
}

/// Tab by tab through the page: what has the focus has a ring that can be told from what it lies on (WCAG 2.2: 2.4.7, 1.4.11). Gives back
/// what has none.
fn rings_unseen(tab: &Tab<'_>, page: &str) -> Vec<String> {
    // The ring lies two pixels beside its element: what is under it there is what is on top at that place, the element itself left out.
    const RING: &str = "(() => {
      const e = document.activeElement;
      if (!e || e === document.body) { return null; }
      const style = getComputedStyle(e), box = e.getBoundingClientRect(), numbers = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
      const light = (c) => { const [r, g, b] = numbers(c).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const width = parseFloat(style.outlineWidth), off = parseFloat(style.outlineOffset) + width / 2;
      const places = [[box.left - off, box.top + box.height / 2], [box.left + box.width / 2, box.bottom + off]];
      const solid = (c) => { const n = numbers(c); return n.length === 3 || n[3] === 1; };
      const under = places.map(([x, y]) => document.elementsFromPoint(x, y).filter((o) => o !== e && !e.contains(o))
        .map((o) => getComputedStyle(o).backgroundColor).find(solid)).filter(Boolean);
      const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
      return {what: e.outerHTML.slice(0, 90), ring: style.outlineStyle, width, color: style.outlineColor, under,
        least: under.length ? Math.min(...under.map((c) => ratio(style.outlineColor, c))) : 0}; })()";
    let mut seen: Vec<Value> = Vec::new();
    for _ in 0..60 {
        tab.key("Tab", 9, None);
        let here = tab.eval(RING);
        if here.is_null() || seen.first().is_some_and(|first| first["what"] == here["what"]) {
            break;
        }
        seen.push(here);
    }
    assert!(seen.len() >= 5, "{page}: the keyboard gets nowhere: {seen:?}");
    let poor = |at: &&Value| at["ring"] == "none" || at["width"].as_f64() < Some(2.0) || at["least"].as_f64() < Some(3.0);
    seen.iter().filter(poor).map(Value::to_string).collect()
}

#[test]
fn nothing_of_the_pages_knows_of_cookies_or_storage() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    let all = [web.clone(), web.join("pages")].into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let files: Vec<_> =
        all.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "js" || e == "html")).collect();
    assert!(files.iter().any(|path| path.ends_with("web/script.js")), "{files:?}");
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap().to_ascii_lowercase();
        for word in ["cookie", "localstorage", "sessionstorage", "indexeddb", "serviceworker", "caches"] {
            assert!(
                !text.contains(word),
                "{} speaks of {word}: captive sheets forget it between two openings, or refuse it",
                file.display()
            );
        }
    }
}
