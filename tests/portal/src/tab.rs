//! A tab: what a customer does on a page, and what the page looks like. Everything is waited for by what is to be seen.

use crate::browser::Browser;
use crate::pipe::Event;
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lango_lab::wait::{until, until_true};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

/// How long a customer of the tests waits for what should be seen. Machines that build at the same time are slow.
const SOON: Duration = Duration::from_secs(40);
/// After so long a tap on a page that loads itself again was lost with the page that it met.
const TAKEN: Duration = Duration::from_secs(5);
/// The size of a cheap phone's screen, in CSS pixels.
pub const PHONE: (u32, u32) = (360, 640);

/// What a press meets: where the thing is, or why it cannot be pressed.
const FIND: &str = "(label) => {
  const clean = (text) => text.trim().replace(/\\s+/g, ' ');
  const all = [...document.querySelectorAll('a, button, summary')].filter((e) => clean(e.innerText) === clean(label) && e.getClientRects().length);
  if (!all.length) { return null; }
  const element = all[0];
  if (element.disabled) { return null; }
  element.scrollIntoView({block: 'center', behavior: 'instant'});
  const box = element.getClientRects()[0], x = box.x + box.width / 2, y = box.y + box.height / 2;
  const hit = document.elementFromPoint(x, y);
  return {x, y, covered: !(hit && element.contains(hit)), width: box.width, height: box.height};
}";

/// Something that a page sent, and that the router has not got yet.
#[derive(Debug)]
pub struct Held {
    id: String,
    /// Where it goes.
    pub url: String,
    /// Its form.
    pub body: String,
}

/// A tab.
pub struct Tab<'a> {
    browser: &'a Browser,
    session: String,
    target: String,
    width: Cell<u32>,
    /// What is held up on its way to the portal.
    held: RefCell<VecDeque<Value>>,
    /// Whether its pages' scripts run.
    pub script: bool,
}

impl<'a> Tab<'a> {
    pub(crate) fn open(browser: &'a Browser, language: &str, script: bool) -> Result<Self> {
        let target = text(&browser.pipe().call(None, "Target.createTarget", json!({"url": "about:blank"}))?["targetId"])?;
        let attached = browser.pipe().call(None, "Target.attachToTarget", json!({"targetId": target, "flatten": true}))?;
        let tab =
            Self { browser, session: text(&attached["sessionId"])?, target, width: Cell::new(PHONE.0), held: RefCell::default(), script };
        tab.call("Page.enable", json!({}))?;
        tab.call("Network.enable", json!({}))?;
        tab.call("Log.enable", json!({}))?;
        let agent = "Mozilla/5.0 (Linux; Android 14; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36";
        let languages = if language == "en" { "en-KE,en".to_owned() } else { format!("{language}-KE,{language},en") };
        tab.call("Emulation.setUserAgentOverride", json!({"userAgent": agent, "acceptLanguage": languages}))?;
        tab.call("Emulation.setTouchEmulationEnabled", json!({"enabled": true}))?;
        tab.call("Emulation.setScriptExecutionDisabled", json!({"value": !script}))?;
        tab.screen(PHONE.0, PHONE.1);
        Ok(tab)
    }

    fn call(&self, method: &str, params: Value) -> Result<Value> {
        self.browser.pipe().call(Some(&self.session), method, params)
    }

    /// As [`Tab::call`]; stops the test where it fails.
    fn must(&self, method: &str, params: Value) -> Value {
        self.call(method, params).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// What an expression gives.
    ///
    /// # Errors
    /// When it throws, or the page goes away meanwhile.
    pub fn try_eval(&self, expression: &str) -> Result<Value> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", params)?;
        if !answer["exceptionDetails"].is_null() {
            bail!("{expression}: {}", answer["exceptionDetails"]);
        }
        Ok(answer["result"]["value"].take())
    }

    /// The same; stops the test where it fails. A page that loads itself again meanwhile is asked once more.
    #[must_use]
    pub fn eval(&self, expression: &str) -> Value {
        let again = |e| if is_gone(&e) { self.try_eval(expression) } else { Err(e) };
        self.try_eval(expression).or_else(again).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Waits until an expression is true.
    pub fn wait(&self, what: &str, expression: &str) {
        let held = until_true(what, SOON, || self.try_eval(expression).is_ok_and(|value| value == true));
        held.with_context(|| self.shown()).unwrap_or_else(|e| panic!("{e:#}"));
    }

    /// What is on the screen, for a failure's message.
    #[must_use]
    pub fn shown(&self) -> String {
        let text = self.try_eval("location.href + '\\n' + document.body.innerText").unwrap_or_default();
        let asked: Vec<String> = self.events().iter().filter_map(requested).collect();
        format!("--- the page ---\n{}\n--- what it asked for ---\n{}\n", text.as_str().unwrap_or("(none)"), asked.join("\n"))
    }

    /// The text that a customer sees.
    #[must_use]
    pub fn text(&self) -> String {
        self.eval("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Where it is: path and query.
    #[must_use]
    pub fn path(&self) -> String {
        self.eval("location.pathname + location.search").as_str().unwrap_or_default().to_owned()
    }

    /// Types an address and waits for a page.
    pub fn go(&self, url: &str) {
        self.must("Page.navigate", json!({"url": url}));
        self.wait("the page to be there", "document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// Goes to a page of the portal.
    pub fn portal(&self, path: &str) {
        self.go(&format!("{}{path}", lango_lab::world::PORTAL));
    }

    /// Waits until this text is to be seen.
    pub fn see(&self, text: &str) {
        self.see_one_of(&[text]);
    }

    /// Waits until one of these texts is to be seen, and says which.
    pub fn see_one_of(&self, texts: &[&str]) -> usize {
        const SEEN: &str = "(texts) => {
          const clean = (text) => text.replace(/\\s+/g, ' '), page = clean(document.body.innerText);
          return document.readyState === 'complete' ? texts.findIndex((text) => page.includes(clean(text))) : -1;
        }";
        let seen = format!("({SEEN})({})", json!(texts));
        let which = until(&format!("{texts:?} to be seen"), SOON, || {
            self.try_eval(&seen).ok()?.as_u64().and_then(|which| usize::try_from(which).ok())
        });
        which.with_context(|| self.shown()).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Waits for a page with this path, whatever is behind it.
    pub fn arrive(&self, path: &str) {
        let quoted = json!(path);
        self.wait(&format!("the page {path}"), &format!("document.readyState === 'complete' && location.pathname.startsWith({quoted})"));
    }

    /// Whether something is on the page, visible or not.
    #[must_use]
    pub fn has(&self, selector: &str) -> bool {
        self.eval(&format!("document.querySelector({}) !== null", json!(selector))) == true
    }

    /// Taps on the link or the button with this text.
    pub fn press(&self, label: &str) {
        let place = until(&format!("{label:?} to be there to press"), SOON, || self.place(label));
        let place = place.with_context(|| self.shown()).unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!(place["covered"], false, "{label:?} cannot be touched: something lies over it\n{}", self.shown());
        self.tap(&place).unwrap_or_else(|e| panic!("{e:#}"));
    }

    fn place(&self, label: &str) -> Option<Value> {
        self.try_eval(&format!("({FIND})({})", json!(label))).ok().filter(|place| !place.is_null())
    }

    fn tap(&self, place: &Value) -> Result<()> {
        let (x, y) = (&place["x"], &place["y"]);
        self.call("Input.dispatchTouchEvent", json!({"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}))?;
        self.call("Input.dispatchTouchEvent", json!({"type": "touchEnd", "touchPoints": []}))?;
        Ok(())
    }

    /// Taps, and waits until another page is there.
    pub fn follow(&self, label: &str) {
        self.wait("the whole page", "document.readyState === 'complete'");
        if self.has("meta[http-equiv=refresh]") {
            return self.follow_from_one_that_reloads(label);
        }
        self.leaving(|| self.press(label));
    }

    /// A page that loads itself again, as that without script which waits for the PIN does every three seconds, takes a tap with it that
    /// comes in that moment, and shows nothing new by coming again: what was tapped on leads to another path, and a customer taps
    /// again.
    fn follow_from_one_that_reloads(&self, label: &str) {
        let left = format!("location.pathname !== {} && document.readyState === 'complete'", json!(self.eval("location.pathname")));
        let gone = until_true(&format!("{label:?} to lead to another page"), SOON, || {
            let Some(place) = self.place(label) else { return self.try_eval(&left).is_ok_and(|left| left == true) };
            assert_eq!(place["covered"], false, "{label:?} cannot be touched: something lies over it");
            self.tap(&place).is_ok()
                && until_true("the tap to be taken", TAKEN, || self.try_eval(&left).is_ok_and(|left| left == true)).is_ok()
        });
        gone.with_context(|| self.shown()).unwrap_or_else(|e| panic!("{e:#}"));
    }

    /// Does something that leads to another page, and waits for that. The mark is on the document and not on the window: a refused login is
    /// written into the same window.
    pub fn leaving(&self, act: impl FnOnce()) {
        let _ = self.eval("document.documentElement.dataset.before = 'here'");
        act();
        self.wait("another page", "document.readyState === 'complete' && !document.documentElement.dataset.before");
    }

    /// Types into a field, in place of what is there.
    pub fn fill(&self, field: &str, text: &str) {
        let quoted = json!(field);
        self.wait(&format!("the field {field}"), &format!("document.getElementById({quoted}) !== null"));
        let _ = self.eval(&format!("(() => {{ const e = document.getElementById({quoted}); e.focus(); e.select(); }})()"));
        self.must("Input.insertText", json!({"text": text}));
    }

    /// What is in a field.
    #[must_use]
    pub fn field(&self, field: &str) -> String {
        self.eval(&format!("document.getElementById({}).value", json!(field))).as_str().unwrap_or_default().to_owned()
    }

    /// Types into a field key by key, behind what is there, as a person does.
    pub fn type_keys(&self, field: &str, text: &str) {
        let quoted = json!(field);
        self.wait(&format!("the field {field}"), &format!("document.getElementById({quoted}) !== null"));
        let _ = self.eval(&format!("document.getElementById({quoted}).focus()"));
        for letter in text.chars() {
            let letter = letter.to_string();
            self.must("Input.dispatchKeyEvent", json!({"type": "keyDown", "key": letter, "text": letter}));
            self.must("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": letter}));
        }
    }

    /// Presses Enter.
    pub fn enter(&self) {
        self.key("Enter", 13, Some("\r"));
    }

    /// Presses a key by its name and its number; `text` is what it types, if anything.
    pub fn key(&self, name: &str, number: u32, text: Option<&str>) {
        for kind in ["keyDown", "keyUp"] {
            let mut press = json!({"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": number});
            if let Some(text) = text {
                press["text"] = text.into();
            }
            self.must("Input.dispatchKeyEvent", press);
        }
    }

    /// Another size of the screen, in CSS pixels.
    pub fn screen(&self, width: u32, height: u32) {
        self.width.set(width);
        self.must("Emulation.setDeviceMetricsOverride", json!({"width": width, "height": height, "deviceScaleFactor": 2, "mobile": true}));
    }

    /// How wide the screen is, in CSS pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width.get()
    }

    /// Light, or dark as many phones are.
    pub fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        // Reduced motion: a picture of a wheel that turns is never the same twice.
        let features = json!([{"name": "prefers-color-scheme", "value": value}, {"name": "prefers-reduced-motion", "value": "reduce"}]);
        self.must("Emulation.setEmulatedMedia", json!({"media": "screen", "features": features}));
    }

    /// The phone is in another part of the world, as `America/New_York`.
    pub fn zone(&self, name: &str) {
        self.must("Emulation.setTimezoneOverride", json!({"timezoneId": name}));
    }

    /// What the network and the console told since it was asked last.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.browser.pipe().events(&self.session)
    }

    /// Does this to each page from now on, once it is there and before its own script looks at it. A page that a test answered in the
    /// router's place ([`Tab::answer`]) is no way to do that: what such a one asks the router gets no answer.
    #[must_use]
    pub fn alter(&self, statements: &str) -> String {
        let source = format!("document.addEventListener('DOMContentLoaded', () => {{ {statements} }})");
        let added = self.must("Page.addScriptToEvaluateOnNewDocument", json!({"source": source}));
        added["identifier"].as_str().unwrap_or_default().to_owned()
    }

    /// No longer does what [`Tab::alter`] gave this name.
    pub fn leave_as_it_is(&self, name: &str) {
        self.must("Page.removeScriptToEvaluateOnNewDocument", json!({"identifier": name}));
    }

    /// From now on holds up what the page sends to these paths: the test answers in the router's place, or lets it go.
    pub fn hold(&self, paths: &[&str]) {
        let patterns: Vec<Value> = paths.iter().map(|path| json!({"urlPattern": format!("*{path}*")})).collect();
        self.must("Fetch.enable", json!({"patterns": patterns}));
    }

    /// Lets everything through again.
    pub fn hold_nothing(&self) {
        self.must("Fetch.disable", json!({}));
        self.held.borrow_mut().clear();
    }

    /// What is held up and was not taken yet, if anything is.
    #[must_use]
    pub fn held_now(&self) -> Option<Held> {
        let held = self.events().into_iter().filter(|event| event.method == "Fetch.requestPaused").map(|event| event.params);
        self.held.borrow_mut().extend(held);
        let params = self.held.borrow_mut().pop_front()?;
        let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(Held { id: part(&params["requestId"]), url: part(&params["request"]["url"]), body: part(&params["request"]["postData"]) })
    }

    /// Waits for the next that is held up.
    #[must_use]
    pub fn held(&self) -> Held {
        until("the page to send something", SOON, || self.held_now()).with_context(|| self.shown()).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Answers it: come again in so many seconds, with this page.
    pub fn come_again(&self, held: &Held, seconds: u32, page: &str) {
        let headers = json!([{"name": "Retry-After", "value": seconds.to_string()}, {"name": "Content-Type", "value": "text/html"}]);
        let answer = json!({"requestId": held.id, "responseCode": 429, "responseHeaders": headers, "body": STANDARD.encode(page)});
        self.must("Fetch.fulfillRequest", answer);
    }

    /// Answers it with this page.
    pub fn answer(&self, held: &Held, page: &str) {
        let headers = json!([{"name": "Content-Type", "value": "text/html; charset=utf-8"}]);
        let answer = json!({"requestId": held.id, "responseCode": 200, "responseHeaders": headers, "body": STANDARD.encode(page)});
        self.must("Fetch.fulfillRequest", answer);
    }

    /// Answers it with this status and nothing else.
    pub fn refuse(&self, held: &Held, status: u16) {
        self.must("Fetch.fulfillRequest", json!({"requestId": held.id, "responseCode": status}));
    }

    /// Its connection breaks.
    pub fn break_off(&self, held: &Held) {
        self.must("Fetch.failRequest", json!({"requestId": held.id, "errorReason": "ConnectionReset"}));
    }

    /// A tab with script that shows the same, with none of the page's own script: what a page that is seen without script is examined by.
    /// `<noscript>` shows what is in it. A page that loads itself again does not: it would be another one in the middle of it.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn copy(&self) -> Result<Tab<'a>> {
        const MARKUP: &str = "(() => { const copy = document.documentElement.cloneNode(true);
          copy.querySelectorAll('script, meta[http-equiv=refresh]').forEach((e) => e.remove());
          copy.querySelectorAll('noscript').forEach((e) => e.replaceWith(...e.childNodes));
          return '<!doctype html>' + copy.outerHTML; })()";
        let markup = self.try_eval(MARKUP)?;
        let tab = Tab::open(self.browser, "en", true)?;
        let frame = tab.call("Page.getFrameTree", json!({}))?["frameTree"]["frame"]["id"].clone();
        tab.call("Page.setDocumentContent", json!({"frameId": frame, "html": markup}))?;
        Ok(tab)
    }

    /// Lets it go to the router.
    pub fn let_go(&self, held: &Held) {
        self.must("Fetch.continueRequest", json!({"requestId": held.id}));
    }

    /// A picture (PNG) of the whole page.
    #[must_use]
    pub fn picture(&self) -> Vec<u8> {
        self.picture_at(1.0)
    }

    /// The same, larger or smaller.
    #[must_use]
    pub fn picture_at(&self, scale: f64) -> Vec<u8> {
        let height = self.eval("Math.max(document.documentElement.scrollHeight, window.innerHeight)");
        let clip = json!({"x": 0, "y": 0, "width": self.width(), "height": height, "scale": scale});
        let shot = self.must("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true, "clip": clip}));
        STANDARD.decode(shot["data"].as_str().unwrap_or_default()).expect("a picture in base64")
    }

    /// Closes it, as a phone's sheet is closed.
    pub fn close(self) {}
}

impl Drop for Tab<'_> {
    fn drop(&mut self) {
        let _ = self.browser.pipe().call(None, "Target.closeTarget", json!({"targetId": self.target}));
    }
}

/// A line about a request that was answered.
fn requested(event: &Event) -> Option<String> {
    let answer = match event.method.as_str() {
        "Network.responseReceived" => &event.params["response"],
        "Network.requestWillBeSent" => &event.params["redirectResponse"],
        _ => return None,
    };
    let reused = if answer["connectionReused"] == true { ", on a connection that was there" } else { "" };
    Some(format!("{} {} from {}{reused}", answer["status"].as_u64()?, answer["url"].as_str()?, answer["remoteIPAddress"]))
}

/// Whether the page went away while it was asked: it says nothing of the page.
fn is_gone(error: &anyhow::Error) -> bool {
    let said = format!("{error:#}");
    ["context was destroyed", "Cannot find context", "Cannot find default execution context", "navigated or closed"]
        .iter()
        .any(|gone| said.contains(gone))
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).context("the browser did not say what it was asked")
}
