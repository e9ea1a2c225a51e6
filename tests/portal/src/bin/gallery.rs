//! `make gallery`: a picture of every page, in every language, light and dark, at a cheap phone's size; somebody looks at them.

use anyhow::{Context, Result};
use lango_lab::Lab;
use lango_lab::wait::until_true;
use lango_portal_tests::tab::Tab;
use lango_portal_tests::texts::Texts;
use lango_portal_tests::walks::{PACKAGES, Walk};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A page in the gallery: its name, and its pictures' names without the end.
struct Hung {
    page: String,
    pictures: Vec<String>,
}

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("say into which folder: lango-gallery out/gallery")?);
    std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    let lab = Lab::selling(PACKAGES);
    lab.safaricom.prompts_live(Duration::from_secs(600));
    let mut walls = Vec::new();
    for (n, texts) in Texts::all().iter().enumerate() {
        let mut wall = Vec::new();
        Walk::new(&lab, texts, true, n as u8).all(&mut |name, tab| wall.push(hang(&folder, texts.language, name, tab)));
        walls.push((texts.language, wall));
    }
    lab.broker.program.kill9();
    until_true("payments to be off", Duration::from_secs(40), || lab.lango.status().is_ok_and(|status| status["payments"] == false))?;
    for (texts, (_, wall)) in Texts::all().iter().zip(&mut walls) {
        Walk::new(&lab, texts, true, 9).offline(&mut |name, tab| wall.push(hang(&folder, texts.language, name, tab)));
    }
    let index = folder.join("index.html");
    std::fs::write(&index, page(&walls)).with_context(|| format!("{}", index.display()))?;
    println!("{}: {} pictures", index.display(), walls.iter().flat_map(|(_, wall)| wall).map(|hung| hung.pictures.len()).sum::<usize>());
    Ok(())
}

fn hang(folder: &Path, language: &str, name: &str, tab: &Tab<'_>) -> Hung {
    let mut pictures = Vec::new();
    for (dark, kind) in [(false, "light"), (true, "dark")] {
        tab.dark(dark);
        let picture = format!("{language}-{name}-{kind}");
        let path = folder.join(format!("{picture}.png"));
        std::fs::write(&path, tab.picture()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
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
