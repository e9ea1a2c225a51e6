//! The portal of an operator's own in a real browser, and what becomes of a folder with mistakes; and the pages that few customers meet:
//! everything used up, and an address that nobody knows.

use lango_lab::Lab;
use lango_portal_tests::audit::audit;
use lango_portal_tests::own::{brand, reload};
use lango_portal_tests::texts::Texts;
use lango_portal_tests::walks::{PACKAGES, TASTE, Walk};
use std::fs;

#[test]
fn the_operator_s_own_portal_and_the_pages_of_those_who_come_back() {
    lango_portal_tests::audit::axe().unwrap_or_else(|e| panic!("{e:#}"));
    let lab = Lab::selling(&[PACKAGES, TASTE].concat());
    let texts = Texts::all();
    for (n, texts) in texts.iter().enumerate() {
        for script in [true, false] {
            let walk = Walk::new(&lab, texts, script, 2 * n as u8 + u8::from(script));
            let mut look = |name: &str, tab: &lango_portal_tests::tab::Tab<'_>| {
                audit(&format!("{} {name}", texts.language), tab);
            };
            walk.used_up(&mut look);
            walk.unknown(&mut look);
        }
    }
    lab.money_is_service();

    let folder = brand(&lab).unwrap_or_else(|e| panic!("{e:#}"));
    for (n, texts) in texts.iter().enumerate() {
        for script in [true, false] {
            let walk = Walk::new(&lab, texts, script, 2 * n as u8 + u8::from(script));
            walk.own(&mut |name, tab| {
                let weight = audit(&format!("{} {name}", texts.language), tab);
                lango_lab::lab::figure(&format!("{} {name}: {weight} bytes", texts.language));
            });
        }
    }

    // A mistake is told by its line, and what was in force stays.
    let phone = lab.joined_phone();
    let shown = phone.get("/").text();
    assert!(shown.contains("Welcome to Mama Achieng"));
    let facts = folder.join("templates/pages/facts.html");
    let good = fs::read_to_string(&facts).unwrap();
    fs::write(&facts, "<dl>\n{{#facts}}<dd>{{valeu}}</dd>{{/facts}}</dl>\n").unwrap();
    let told = format!("{}:2: no page gives the value 'valeu'; did you mean 'value'?", facts.display());
    let check = lab.lango.output(&["check"]).unwrap();
    assert_eq!((check.status.code(), String::from_utf8_lossy(&check.stdout).trim()), (Some(78), told.as_str()));
    reload(&lab, "config: it is refused, the one in force stays").unwrap_or_else(|e| panic!("{e:#}"));
    assert!(lab.lango.program.log().contains(&told));
    assert_eq!(phone.get("/").text(), shown);

    // As editors on Windows save them: browsers make one kind of line end of all before they look at the policy's hashes.
    let web = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web"));
    // A script of one's own stands in the place of all of ours, on every page. Without our comments: an operator's has none of them.
    let scripts = ["script.js", "login.js", "follow.js", "live.js"].map(|name| fs::read_to_string(web.join(name)).unwrap());
    let scripts = scripts.map(|text| {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    });
    for (name, built) in [("more.css", String::new()), ("script.js", scripts.concat())] {
        let own = folder.join("templates").join(name);
        let text = fs::read_to_string(&own).unwrap_or(built);
        fs::write(&own, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
    }
    fs::write(&facts, good.replace("<b>", "<b class=\"mended\">")).unwrap();
    reload(&lab, "config: read again and in force").unwrap_or_else(|e| panic!("{e:#}"));
    assert!(phone.get("/").text().contains("<b class=\"mended\">"));
    let walk = Walk::new(&lab, &texts[0], true, 1);
    walk.own(&mut |name, tab| {
        audit(&format!("saved on Windows, {name}"), tab);
    });
    // Without the folder the portal's own pages are back.
    lab.lango
        .configure(|config| config.lines().filter(|line| !line.contains("option templates")).map(|line| format!("{line}\n")).collect())
        .unwrap();
    reload(&lab, "config: read again and in force").unwrap_or_else(|e| panic!("{e:#}"));
    let plain = phone.get("/").text();
    assert!(plain.contains("<dl>") && !plain.contains("Welcome to Mama") && plain.contains("Mama Achieng Wi-Fi"));
}
