//! `make gallery`: a picture of every page, in every language, light and dark, at a cheap phone's size; somebody looks at them.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lango_lab::Lab;
use lango_lab::wait::until_true;
use lango_portal_tests::browser::Browser;
use lango_portal_tests::own::{brand, sell_nothing};
use lango_portal_tests::tab::Tab;
use lango_portal_tests::texts::Texts;
use lango_portal_tests::walks::{PACKAGES, TASTE, Walk};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The pages that are shown as they are without script, too.
const WITHOUT_SCRIPT: [&str; 8] = ["packages", "buy", "buy-bad-number", "wait", "done", "account", "login", "receipt"];

/// A page in the gallery: its name, and its pictures' names without the end.
struct Hung {
    page: String,
    pictures: Vec<String>,
}

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("say into which folder: lango-gallery out/gallery")?);
    std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    // `own`: what few customers meet and the operator's own alone, in a few minutes.
    let only_own = std::env::args().nth(2).is_some_and(|what| what == "own");
    let mut walls = Texts::all().map(|texts| (texts.language, Vec::new()));
    if !only_own {
        every_way(&folder, &mut walls)?;
    }
    own(&folder, &mut walls)?;
    let index = folder.join("index.html");
    std::fs::write(&index, page(&walls)).with_context(|| format!("{}", index.display()))?;
    println!("{}: {} pictures", index.display(), walls.iter().flat_map(|(_, wall)| wall).map(|hung| hung.pictures.len()).sum::<usize>());
    Ok(())
}

/// The ways that customers go, and what they meet while no payment can be had.
fn every_way(folder: &Path, walls: &mut [(&str, Vec<Hung>)]) -> Result<()> {
    let lab = Lab::selling(PACKAGES);
    lab.safaricom.prompts_live(Duration::from_secs(600));
    for (n, (texts, (_, wall))) in Texts::all().iter().zip(walls.iter_mut()).enumerate() {
        Walk::new(&lab, texts, true, n as u8).all(&mut |name, tab| wall.push(hang(folder, texts.language, name, tab)));
        Walk::new(&lab, texts, false, 2 + n as u8).all(&mut |name, tab| {
            if WITHOUT_SCRIPT.contains(&name) {
                wall.push(hang(folder, texts.language, &format!("{name}-without-script"), tab));
            }
        });
    }
    lab.broker.program.kill9();
    until_true("payments to be off", Duration::from_secs(40), || lab.lango.status().is_ok_and(|status| status["payments"] == false))?;
    for (texts, (_, wall)) in Texts::all().iter().zip(walls) {
        Walk::new(&lab, texts, true, 9).offline(&mut |name, tab| wall.push(hang(folder, texts.language, name, tab)));
    }
    Ok(())
}

/// What few customers meet, and a portal that an operator made their own; and the picture of docs/branding.md: one page, plain and branded.
fn own(folder: &Path, walls: &mut [(&str, Vec<Hung>)]) -> Result<()> {
    let lab = Lab::selling(&[PACKAGES, TASTE].concat());
    lab.safaricom.prompts_live(Duration::from_secs(600));
    let texts = Texts::all();
    let forgotten: Vec<_> = texts.iter().enumerate().map(|(n, texts)| Walk::new(&lab, texts, true, n as u8).forget()).collect();
    for (n, (texts, (_, wall))) in Texts::all().iter().zip(walls.iter_mut()).enumerate() {
        let walk = Walk::new(&lab, texts, true, n as u8);
        walk.used_up(&mut |name, tab| wall.push(hang(folder, texts.language, name, tab)));
        walk.unknown(&mut |name, tab| wall.push(hang(folder, texts.language, name, tab)));
        walk.reasons(&mut |name, tab| wall.push(hang(folder, texts.language, name, tab)));
        walk.besides(&mut |name, tab| wall.push(hang(folder, texts.language, name, tab)));
    }
    for (n, (forgotten, (texts, (_, wall)))) in forgotten.iter().zip(Texts::all().iter().zip(walls.iter_mut())).enumerate() {
        let walk = Walk::new(&lab, texts, true, n as u8);
        walk.expired(forgotten, &mut |name, tab| wall.push(hang(folder, texts.language, name, tab)));
    }
    lab.relay.command(&["c2b", "register"])?;
    for (n, (texts, (_, wall))) in Texts::all().iter().zip(walls.iter_mut()).enumerate() {
        Walk::new(&lab, texts, true, n as u8).odd_money(&mut |name, tab| wall.push(hang(folder, texts.language, name, tab)));
    }
    let whole = sell_nothing(&lab)?;
    for (n, (texts, (_, wall))) in Texts::all().iter().zip(walls.iter_mut()).enumerate() {
        Walk::new(&lab, texts, true, n as u8).nothing_sold(&mut |name, tab| wall.push(hang(folder, texts.language, name, tab)));
    }
    whole.back(&lab)?;
    let phone = lab.joined_phone();
    let browser = Browser::start(&phone, &lab.world.folder)?;
    let tab = browser.tab("en", true)?;
    let mut pictures = Vec::new();
    for branded in [false, true] {
        if branded {
            brand(&lab)?;
        }
        tab.portal("/");
        tab.wait("every picture", "[...document.images].every((image) => image.complete)");
        pictures.push(STANDARD.encode(tab.picture()));
    }
    let [plain, branded] = pictures.as_slice() else { anyhow::bail!("two pictures were taken") };
    // The upper half of both on one sheet, as small as it can be read: it lies in the repository.
    tab.screen(520, 340);
    let sheet = format!(
        "document.open(); document.write('<body style=\"margin:0;display:flex;gap:20px;height:340px;overflow:hidden;align-items:start;background:#fff\"><img width=250 src=data:image/png;base64,{plain}><img width=250 src=data:image/png;base64,{branded}>'); document.close()"
    );
    tab.go("data:text/html,<p>");
    let _ = tab.eval(&sheet);
    tab.wait(
        "both pictures",
        "[...document.images].length === 2 && [...document.images].every((image) => image.complete && image.naturalWidth)",
    );
    let path = folder.join("branding.png");
    std::fs::write(&path, tab.picture_at(0.5)).with_context(|| format!("{}", path.display()))?;
    drop(tab);
    drop(browser);
    for (n, (texts, (_, wall))) in Texts::all().iter().zip(walls).enumerate() {
        Walk::new(&lab, texts, true, n as u8).own(&mut |name, tab| wall.push(hang(folder, texts.language, name, tab)));
    }
    Ok(())
}

fn hang(folder: &Path, language: &str, name: &str, tab: &Tab<'_>) -> Hung {
    let mut pictures = Vec::new();
    for (dark, kind) in [(false, "light"), (true, "dark")] {
        tab.dark(dark);
        let picture = format!("{language}-{name}-{kind}");
        let path = folder.join(format!("{picture}.png"));
        std::fs::write(&path, tab.picture_at(0.5)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        pictures.push(picture);
    }
    tab.dark(false);
    Hung { page: name.to_owned(), pictures }
}

/// The page that shows them all: our own names only, so nothing has to be escaped.
fn page(walls: &[(&str, Vec<Hung>)]) -> String {
    let mut html = String::from(
        "<!doctype html><meta charset=utf-8><title>The portal's pages</title>\n\
         <style>body{font:16px/1.4 sans-serif;margin:1rem;background:#ddd}div{display:flex;gap:1rem;overflow-x:auto;align-items:start}\
         figure{margin:0}img{width:360px;border:1px solid #888}</style>\n<h1>The portal's pages</h1>\n",
    );
    for (language, wall) in walls {
        let _ = writeln!(html, "<h2>{language}</h2>");
        for Hung { page, pictures } in wall {
            let _ = writeln!(html, "<h3 id={language}-{page}>{page}</h3><div>");
            for picture in pictures {
                let _ = writeln!(html, "<figure><img src={picture}.png alt={picture} loading=lazy></figure>");
            }
            html.push_str("</div>\n");
        }
    }
    html
}
