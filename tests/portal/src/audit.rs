//! What is asked of every page: axe-core finds nothing in light and dark, nothing is cut off, nothing scrolls sideways, the
//! console is silent, one request brings it, it is light, and nothing is left in the browser's memory.

use crate::tab::{PHONE, Tab};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Names axe-core's script; where it is not set, the script is looked for where tools/setup.sh puts it.
const VARIABLE: &str = "LANGO_AXE";
/// The rules: the Web Content Accessibility Guidelines 2.2, levels A and AA, and all that came before; and what axe-core's authors advise.
const RULES: [&str; 6] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
/// What it must be able to judge: where it says that it cannot, a person would have to look.
const JUDGED: &str = "color-contrast";
/// What a page may weigh as it comes over the air, in bytes: one window of TCP.
const PAGE: u64 = 14 * 1024;

/// axe-core's script.
///
/// # Errors
/// When it is not installed: the message says what to do.
pub fn axe() -> Result<&'static str> {
    static SCRIPT: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let script = SCRIPT.get_or_init(|| {
        let usual = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/lango/tools/axe-core/axe.min.js");
        let path = std::env::var_os(VARIABLE).map_or_else(usual, PathBuf::from);
        std::fs::read_to_string(&path)
            .map_err(|e| format!("{}: {e}; run tools/setup.sh browser, and name it by {VARIABLE}", path.display()))
    });
    script.as_deref().map_err(|e| anyhow::anyhow!("{e}"))
}

/// Everything that is asked of a page. `name` is for the messages. Gives back what the page weighed as it came, compressed and without
/// its headers, in bytes; 0 where it was looked at before.
pub fn audit(name: &str, tab: &Tab<'_>) -> u64 {
    let page = format!("{name} ({})", tab.path());
    try_audit(tab).with_context(|| page).unwrap_or_else(|e| panic!("{e:#}\n{}", tab.shown()))
}

/// The same, for a page of which something is wrong.
///
/// # Errors
/// When something is wrong.
pub fn try_audit(tab: &Tab<'_>) -> Result<u64> {
    let weight = light(tab)?;
    // A page that loads itself again may do so in the middle of it, and what is wrong then is nobody's fault.
    tab.wait("the whole page", "document.readyState === 'complete'");
    let _ = tab.eval("document.documentElement.dataset.looked = 'at'");
    let same = || tab.try_eval("document.documentElement.dataset.looked === 'at'").is_ok_and(|same| same == true);
    looks_right(tab).or_else(|e| {
        if same() {
            return Err(e);
        }
        tab.wait("the page to be there again", "document.readyState === 'complete'");
        looks_right(tab)
    })?;
    Ok(weight)
}

fn looks_right(tab: &Tab<'_>) -> Result<()> {
    keeps_nothing(tab)?;
    // axe-core's timers need script: a page that is seen without is examined by what it shows.
    let copy = if tab.script { None } else { Some(tab.copy()?) };
    let shown = copy.as_ref().unwrap_or(tab);
    for dark in [false, true] {
        shown.dark(dark);
        accessible(shown).with_context(|| if dark { "dark" } else { "light" })?;
    }
    drop(copy);
    tab.dark(false);
    for (width, height, text) in [(320, 480, 100), (PHONE.0, PHONE.1, 200), (PHONE.0, PHONE.1, 100)] {
        tab.screen(width, height);
        tab.try_eval(&format!("document.documentElement.style.fontSize = '{text}%'"))?;
        fits(tab).with_context(|| format!("{width} pixels wide, text at {text} %"))?;
    }
    tab.try_eval("document.documentElement.removeAttribute('style')")?;
    Ok(())
}

/// Nothing of the portal's is in the browser's memory: captive sheets forget it, or refuse it. Another site's pages are that site's business.
fn keeps_nothing(tab: &Tab<'_>) -> Result<()> {
    let kept = tab.try_eval("[document.cookie, localStorage.length, sessionStorage.length].join()")?;
    if kept != ",0,0" {
        bail!("cookies, local and session storage: {kept}");
    }
    Ok(())
}

/// axe-core's findings.
fn accessible(tab: &Tab<'_>) -> Result<()> {
    if tab.try_eval("typeof axe === 'undefined'")? == true {
        tab.try_eval(&format!("{}; true", axe()?))?;
    }
    let rules = json!({"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations", "incomplete"]});
    let found = tab.try_eval(&format!(
        "axe.run(document, {rules}).then((r) => ({{violations: r.violations.concat(r.incomplete.filter((i) => i.id === '{JUDGED}')), passes: r.passes.length}}))"
    ))?;
    if found["passes"].as_u64().is_none_or(|passes| passes < 10) {
        bail!("axe-core looked at nothing: {found}");
    }
    let violations = found["violations"].as_array().context("axe-core said nothing")?;
    if !violations.is_empty() {
        let lines: Vec<String> = violations.iter().map(|v| format!("{}: {}\n  {}", v["id"], v["help"], nodes(v))).collect();
        bail!("axe-core found:\n{}", lines.join("\n"));
    }
    Ok(())
}

fn nodes(violation: &Value) -> String {
    let all = violation["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|node| format!("{} {}", node["html"], node["failureSummary"])).collect::<Vec<_>>().join("\n  ")
}

/// Nothing scrolls sideways, and no text is cut off by what it is in.
fn fits(tab: &Tab<'_>) -> Result<()> {
    let wide = tab.try_eval(
        "(() => { const w = document.documentElement.clientWidth;
          return [...document.querySelectorAll('body *')].filter((e) => !e.closest('.skip, svg')).map((e) => [e, e.getBoundingClientRect()])
            .filter(([e, box]) => box.width && (box.right > w + 0.5 || box.left < -0.5 || e.scrollWidth > e.clientWidth + 1 && e.clientWidth && getComputedStyle(e).overflowX !== 'visible' && e.tagName !== 'INPUT'))
            .map(([e, box]) => e.outerHTML.slice(0, 120) + ' ' + box.left + '..' + box.right); })()",
    )?;
    let scrolls = tab.try_eval("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")?;
    if wide.as_array().is_none_or(|wide| !wide.is_empty()) || scrolls.as_u64().is_none_or(|width| width > u64::from(tab.width())) {
        bail!("it scrolls sideways: {scrolls} pixels wide: {wide}");
    }
    Ok(())
}

fn has(headers: &Value, name: &str) -> bool {
    headers.as_object().is_some_and(|headers| headers.keys().any(|key| key.eq_ignore_ascii_case(name)))
}

/// One request brought the page, light enough; and nothing was refused by its own policy or by the network. Calls of the script
/// to the portal are not part of it.
fn light(tab: &Tab<'_>) -> Result<u64> {
    let (mut document, mut headers, mut weight) = (None, 0, 0);
    for event in tab.events() {
        let params = &event.params;
        match event.method.as_str() {
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str().unwrap_or_default().to_owned();
                match params["type"].as_str().unwrap_or_default() {
                    "Document" => document = Some((params["requestId"].clone(), url)),
                    "XHR" | "EventSource" | "Fetch" => {}
                    // The operator's own picture, where there is one; it is kept, so that no second page waits for it.
                    "Image" if url.starts_with(&format!("{}/logo/", lango_lab::world::PORTAL)) => {}
                    // Another site's pages are that site's business.
                    _ if !url.starts_with(lango_lab::world::PORTAL) => {}
                    other => bail!("the page asks for more: {other} {url}"),
                }
            }
            "Network.responseReceivedExtraInfo" if has(&params["headers"], "set-cookie") => bail!("a cookie is set: {params}"),
            "Network.responseReceived" if document.as_ref().is_some_and(|(id, _)| *id == params["requestId"]) => {
                headers = params["response"]["encodedDataLength"].as_f64().unwrap_or_default() as u64;
            }
            "Network.loadingFinished" if document.as_ref().is_some_and(|(id, _)| *id == params["requestId"]) => {
                let bytes = params["encodedDataLength"].as_f64().unwrap_or(f64::MAX) as u64;
                if bytes > PAGE {
                    bail!("{bytes} bytes come for {document:?}: more than {PAGE}");
                }
                weight = bytes.saturating_sub(headers);
            }
            "Log.entryAdded" => {
                let entry = &params["entry"];
                // What a page answers to a mistake of the customer's has a status that says so.
                if entry["level"] == "error" && entry["source"] != "network" {
                    bail!("the console: {entry}");
                }
            }
            _ => {}
        }
    }
    Ok(weight)
}
